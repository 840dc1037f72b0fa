/* web/own.h: what the files of this folder share. */
#ifndef WEB_OWN_H
#define WEB_OWN_H
#include "account/session.h"
#include "base/id.h"
#include "base/list.h"
#include "crypto/key.h"
#include "io/io.h"
#include "rpc/rpc.h"
#include "web/origin.h"
#include "web/ticket.h"
#include "web/web.h"

struct download {          /* download.c */
	int fd;            /* -1: there is none */
	uint64_t size, at; /* of the file; up to where it is hashed */
	struct digest *digest;
	struct io_task task;
	struct io_loop *loop;
	char hash[2 * HASH_SIZE + 1]; /* "": not known yet */
};

struct web {
	struct io_loop *loop;
	struct rpc_connection *core, *viz; /* NULL while they are away */
	struct tls_context *tls;
	int relay; /* PASS socket for legs; -1 = none */
	struct origin origin;
	struct tickets tickets;
	struct download download;
	struct attempts *attempts;
	struct list arriving, idle,
	        busy; /* HTTP connections: with a request on its way; between requests; others, and WebSockets */
	size_t n_connections;
	struct sources *sources;
	struct list sockets, guards;
	struct list passports; /* of sessions, with their legs (leg.h) */
	size_t n_legs, n_passports;
	struct list task_runs;
	struct list watching; /* subscriptions that browsers look at */
	struct list orphans;  /* those whose socket went: it may come back; oldest first */
	size_t n_subscriptions;
	int64_t refusals_since; /* minute in which core was told of `refusals` */
	unsigned refusals, refusals_left_out;
	struct io_timer *again; /* subscriptions that have to be opened once more, and orphans that have waited long enough */
};

/* Browsers are told nothing of a session but that it is theirs. */
static inline bool session_equal(const uint8_t a[ACCOUNT_SESSION_SIZE], const uint8_t b[ACCOUNT_SESSION_SIZE])
{
	return memcmp(a, b, ACCOUNT_SESSION_SIZE) == 0;
}

/* ---- terminal.c: one terminal of a device on a socket of its own ---- */
struct web_socket;
/* The upgrade is done, the ticket spent.  From here the socket is the terminal's, who sets its events (web/socket.h). */
void web_terminal_open(struct web *web, struct web_socket *socket, const struct ticket *ticket);

/* ---- task_runner.c: a command on many devices ---- */
struct _murmesh_TaskStart;
struct _murmesh_Task;
/* Core has started this task: runs it (TaskDevices, orders, legs) and tells core by ReportTask.  start: as the browser asked for it, with its
 * session; of a task that is repeated its argv is empty.  All is copied. */
void web_task_run(struct web *web, const struct _murmesh_TaskStart *start, const struct _murmesh_Task *task);
/* Core has marked it as cancelled: what is under way is stopped. */
void web_task_cancel(struct web *web, const struct id *task);
void tasks_stop(struct web *web); /* all: core is away, or this role ends */
#endif
