/* store/engine.h: what the worker asks of a database engine (inside this folder). */
#ifndef STORE_ENGINE_H
#define STORE_ENGINE_H
#include "store/store.h"

int engine_open(const char *path, const struct store_schema *schema, struct store_tx **ret, char detail[STORE_DETAIL_SIZE]);
struct store_tx *engine_close(struct store_tx *tx);

int engine_begin(struct store_tx *tx);
/* On an error nothing of the transaction remains. */
int engine_commit(struct store_tx *tx);
/* Runs one job inside the transaction.  On an error the transaction is as it was before the job, or was given up as a whole. */
int engine_job(struct store_tx *tx, struct store_job *job);
bool engine_active(const struct store_tx *tx);
const char *engine_detail(const struct store_tx *tx);
#endif
