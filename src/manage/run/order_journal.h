/* manage/run/order_journal.h: the run orders that this agent has started, so that none is carried out twice.
 *
 * A row stands in the database, synced, before its command starts; a row that is still `started` when the agent starts belongs to a command that
 * was cut short.  All functions run inside a job (store/store.h) and return the store's errors besides those named.
 * Times are seconds since 1970 UTC, trusted time. */
#ifndef MANAGE_RUN_ORDER_JOURNAL_H
#define MANAGE_RUN_ORDER_JOURNAL_H
#include <stdint.h>

#include "base/id.h"
#include "base/str.h"

struct store_tx;

#define ORDER_COMMAND_SIZE 4096  /* with the NUL; a longer command is cut in the journal */
#define ORDER_KEPT_SECONDS 86400 /* after its until, and at least as long as no later order came */

enum order_state { ORDER_STARTED, ORDER_FINISHED, ORDER_INTERRUPTED };

struct order {
	struct id nonce;
	int64_t until, started;
	enum order_state state;
	int exit_code; /* of a finished one */
	char command[ORDER_COMMAND_SIZE];
};

/* -E_ORDER_USED when the nonce exists; -E_GRANT_EXPIRED from the second `until` on, or when the clock went back by more than a day since the
 * latest order, so that what was forgotten cannot come again; -E_GRANT when `until` is more than a day ahead. */
int order_journal_start(struct store_tx *tx, const struct id *nonce, int64_t until, int64_t now, struct str command);
int order_journal_finish(struct store_tx *tx, const struct id *nonce, int exit_code); /* -E_NOT_FOUND unless it is started */
/* At start-up: all `started` become `interrupted`. */
int order_journal_interrupt(struct store_tx *tx);
int order_journal_get(struct store_tx *tx, const struct id *nonce, struct order *ret); /* -E_NOT_FOUND */
int order_journal_prune(struct store_tx *tx, int64_t now);
#endif
