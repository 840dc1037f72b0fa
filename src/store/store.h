/* store/store.h: the database of a server or an agent: one file, transactions, a worker thread that commits for many at once.
 *
 * Threads: store_open() and store_run() on the thread that starts the program; after store_start_worker() only the worker touches the
 * database, and all other calls are made on the loop's thread.  Order at start: store_warm_up(), sandbox without seccomp filter, store_open(),
 * store_start_worker(), seccomp filter.  After store_open() no further file is opened.
 * Errors: -E_EXISTS (a unique key is taken), -E_CHECKSUM (the file is damaged), -E_BUSY (another program holds the file, or the queue is
 * full), -E_NO_MEMORY, -E_STORE (anything else); what the database said stands in the job's detail, for the caller's log. */
#ifndef STORE_STORE_H
#define STORE_STORE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/id.h"
#include "base/list.h"
#include "base/str.h"

struct io_loop;
struct store;
struct store_tx;    /* a transaction, valid inside a job's run() */
struct store_query; /* a statement of it */

/* What a database contains.  Migration i brings it from version i to i + 1; the list only ever grows. */
struct store_schema {
	uint32_t application; /* marks the file, so that nobody opens another program's */
	size_t n_migrations;
	const char *const *migrations;
};
extern const struct store_schema store_schema_server, store_schema_agent;

/* Takes the database's random seed from the system: before a chroot, where there is no /dev/urandom. */
void store_warm_up(void);

#define STORE_DETAIL_SIZE 128
#define STORE_QUEUE_MAX   10000 /* jobs submitted and not yet done */

/* Makes the file (mode 0600) when it is missing and migrates it.  -E_STORE_NEWER when a later version wrote it; nothing is changed then. */
int store_open(const char *path, const struct store_schema *schema, struct store **ret, char detail[STORE_DETAIL_SIZE]);
/* Carries out what is queued, calls all done(), ends the worker.  Not from inside done(). */
struct store *store_free(struct store *store);

/* A piece of work, embedded in its owner, who keeps it alive until done().  run() is called on the worker thread: it must not touch anything
 * but the job and what hangs on it.  When it returns an error, its own changes are taken back and those of other jobs stay.
 * done() is called on the loop's thread, in the order of submission, after the changes are on disk (err 0) or gone (err < 0). */
struct store_job {
	int (*run)(struct store_tx *tx, struct store_job *job);
	void (*done)(struct store_job *job, int err);
	char detail[STORE_DETAIL_SIZE]; /* with an error: the database's words, or "" */
	struct list node;               /* the store's, as are the next */
	int err;
	bool begun;
};

int store_start_worker(struct store *store, struct io_loop *loop);
/* 0; -E_BUSY when STORE_QUEUE_MAX jobs wait; -E_CLOSED in store_free(): done() is then not called. */
int store_submit(struct store *store, struct store_job *job);
/* Takes back a job that was submitted and has not begun: 0, and done() is not called.  -E_RUNNING: it has, or it is done. */
int store_withdraw(struct store *store, struct store_job *job);
/* Runs one job at once; done() is not called.  Only before store_start_worker(). */
int store_run(struct store *store, struct store_job *job);

struct store_stats {
	uint64_t jobs, commits;
	size_t waiting;    /* submitted and not yet done */
	uint64_t stuck_us; /* microseconds for which the worker has had something to do and has done nothing */
};
void store_stats(struct store *store, struct store_stats *ret);

/* A statement ready for binding.  sql is a literal: statements are kept by its address.  Parameters are written $1, $2, ... and appear
 * in this order.  Never NULL: an error made here or while binding is kept and returned by store_step() and store_exec().
 * The same sql must not be used again while its rows are being read. */
struct store_query *store_query(struct store_tx *tx, const char *sql);
void store_bind_integer(struct store_query *query, int position, int64_t value); /* positions from 1; what is not bound is NULL */
void store_bind_text(struct store_query *query, int position, struct str text);  /* copies */
void store_bind_blob(struct store_query *query, int position, const void *bytes, size_t len); /* copies */
void store_bind_id(struct store_query *query, int position, const struct id *id);

/* 1: a row can be read; 0: no more; or an error. */
int store_step(struct store_query *query);
/* Runs it to its end; store_changed() tells how many rows it inserted, updated or deleted. */
int store_exec(struct store_query *query);
int64_t store_changed(const struct store_tx *tx);

/* Columns from 0.  A value of another type or length than asked for is damage: it is read as zero or "", and store_error() says so. */
bool store_is_null(struct store_query *query, int column);
int64_t store_integer(struct store_query *query, int column);
void store_text(struct store_query *query, int column, char *out, size_t size);    /* UTF-8, less than size bytes, no NUL inside */
void store_blob(struct store_query *query, int column, void *out, size_t len);     /* exactly len bytes */
size_t store_bytes(struct store_query *query, int column, void *out, size_t size); /* at most size bytes; how many */
void store_id(struct store_query *query, int column, struct id *ret);
/* 0, or the first error of this query: ask before using what was read. */
int store_error(const struct store_query *query);

/* Reads the whole database and checks it (seconds when it is large): 0 or -E_CHECKSUM. */
int store_check(struct store_tx *tx);
#endif
