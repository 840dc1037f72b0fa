/* priv/priv.h: one program, several processes: a privileged monitor that parses no network bytes, and confined roles.
 *
 * The process model of a program is one table of roles, one of edges.  The monitor forks and executes its own binary once a role
 * ("PROGRAM --role NAME", or as its option says), hands it descriptors over a control socket (fd 3, AF_UNIX SEQPACKET), starts it again when it
 * dies (within 200 ms; after more than 5 deaths in 60 s with growing pauses up to 30 s), and ends all when it is told to.
 * A role leaves at once when its control socket reaches the end of file, i.e. when the monitor is gone. */
#ifndef PRIV_PRIV_H
#define PRIV_PRIV_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct io_loop;

/* System calls that a confined role may make: always those every role needs (loop on existing descriptors), and these. */
enum priv_allow {
	PRIV_ALLOW_ACCEPT = 1,   /* accept4 */
	PRIV_ALLOW_SPLICE = 2,   /* splice, pipe2 */
	PRIV_ALLOW_FILES = 4,    /* what SQLite and file.h need, below the role's own directory only */
	PRIV_ALLOW_RESOLVE = 8,  /* what getaddrinfo needs; read-only /etc instead of the empty root; no directory */
	PRIV_ALLOW_CONNECT = 16, /* socket (INET, INET6 stream only), connect: the agent's net role */
	PRIV_ALLOW_DATAGRAM =
	        256, /* with PRIV_ALLOW_CONNECT: socket (INET, INET6) for UDP too; no bind: what is sent to is connected to */
	PRIV_ALLOW_SOCKETPAIR = 128, /* of AF_UNIX: of a pair, one end is passed to another role */
	PRIV_ALLOW_PROC = 64,        /* reading /proc through priv_child_proc(), as any user may; recvmmsg */
	PRIV_ALLOW_THREAD =
	        32, /* clone of threads only.  Make them after priv_child_confine(): Landlock holds for one thread and its children */
};

struct priv_child;

struct priv_role {
	const char *name;                      /* "link"; the process title is "PROGRAM: link" */
	int (*main)(struct priv_child *child); /* runs in the role's process; its result is the exit code */
	unsigned allow;                        /* enum priv_allow */
	const char *directory; /* below the program's directory: its root (mode 0700, own uid); NULL = an empty one */
	bool unconfined;       /* the agent's exec: keeps the monitor's user and rights, since commands inherit a filter */
};

/* RPC: the monitor makes a new stream pair whenever one of both starts, and sends "rpc-to:NAME" to `from` (the client side)
 * and "rpc-from:NAME" to `to`; the old one reaches its end of file.  PASS: a packet pair that the monitor keeps open, so that what is queued
 * survives a restart: "pass-to:NAME" and "pass-from:NAME". */
enum priv_edge_kind { PRIV_EDGE_RPC, PRIV_EDGE_PASS };
struct priv_edge {
	const char *from, *to;
	enum priv_edge_kind kind;
	const char *as; /* RPC: what `from` knows `to` by; NULL = its name */
};

/* A descriptor that the monitor opened (a listener) and a role gets as NAME (at most 63 bytes) at each of its starts. */
struct priv_descriptor {
	const char *name, *role;
	int fd;
};

struct priv_program {
	const char *name;              /* "murmesh-server" */
	const char *directory;         /* absolute; role directories stand below it */
	const struct priv_role *roles; /* as many as n_roles */
	size_t n_roles;
	const struct priv_edge *edges;
	size_t n_edges;
	uid_t first_uid;    /* role i runs as first_uid + i when started as root */
	const char *option; /* what stands before the role's name in its arguments; NULL = "--role" */
};

/* ---- monitor ---- */
struct priv_monitor;
struct priv_monitor_events {
	void (*ready)(void *ctx);                                     /* every role said it is ready (once) */
	void (*report)(void *ctx, const char *role, struct str text); /* a role's priv_report(); untrusted bytes, at most 4 KiB */
	void (*stopped)(void *ctx);                                   /* after priv_monitor_stop(): all roles are gone */
};
/* configuration: bytes given to every role at its start (at most 32 KiB); kept by reference, as are the tables.  NULL: memory is short, or
 * a table names a role that is not there. */
struct priv_monitor *priv_monitor_new(struct io_loop *loop, const struct priv_program *program, struct str configuration,
                                      const struct priv_descriptor *descriptors, size_t n_descriptors,
                                      const struct priv_monitor_events *events, void *ctx);
/* Makes the directories, starts all roles.  After an error free the monitor. */
int priv_monitor_start(struct priv_monitor *monitor);
/* SIGTERM to all roles, SIGKILL after 3 s, then `stopped`. */
void priv_monitor_stop(struct priv_monitor *monitor);
/* Bytes to one role (at most 4 KiB), which gets them by its `message` event.  -E_CLOSED: it is dead just now, -E_FULL: it does not read. */
int priv_monitor_tell(struct priv_monitor *monitor, const char *role, struct str text);
/* Kills what still runs.  Inside an event: only inside `stopped`. */
struct priv_monitor *priv_monitor_free(struct priv_monitor *monitor);

/* ---- role ---- */
struct priv_child_events {
	void (*descriptor)(void *ctx, const char *name, int fd); /* the role owns fd now */
	void (*message)(void *ctx, struct str text);             /* priv_monitor_tell() */
	void (*stop)(void *ctx);                                 /* SIGTERM or the monitor is gone: leave soon (3 s) */
};
/* Called by main() when argv says so: finds the role, runs its main, returns the exit code.  Of the program only its name and the roles are
 * looked at; what else a role needs the monitor sends.  A main that returns 0 has freed what it had on the loop. */
int priv_role_main(const struct priv_program *program, const char *role);

struct io_loop *priv_child_loop(struct priv_child *child); /* made before the sandbox */
struct str priv_child_configuration(const struct priv_child *child);
/* Directory in which the role's files are: a path for now ("/" after a chroot; else the full one); NULL when it has none. */
const char *priv_child_directory(const struct priv_child *child);
/* A descriptor of /proc for openat(), opened before the sandbox: with PRIV_ALLOW_PROC, else -1; priv's. */
int priv_child_proc(const struct priv_child *child);
void priv_child_listen(struct priv_child *child, const struct priv_child_events *events, void *ctx);
/* Enters the sandbox for good: call after opening and initialising everything.  Returns 0, or -E_SANDBOX (logged): leave then.
 * Order and lists: findings on the sandbox; default action SIGSYS, whose handler reports the call's name to the
 * monitor, which logs "role link: system call ptrace is not allowed". */
int priv_child_confine(struct priv_child *child);
/* The same; inside() is called when all but the system call filter holds: it opens the role's files with the role's rights alone, and
 * makes its threads (Landlock holds for them, the filter then covers them).  0 or a negative code. */
int priv_child_confine_with(struct priv_child *child, int (*inside)(void *ctx), void *ctx);
int priv_child_ready(struct priv_child *child);             /* tells the monitor; -E_SANDBOX when not confined */
int priv_report(struct priv_child *child, struct str text); /* at most 4 KiB */
/* Runs the loop until stop; then returns 0 (or a negative code when the monitor's messages cannot be received).  The process ends 3 s after stop in
 * any case; a role that has something to finish runs the loop again until then. */
int priv_child_run(struct priv_child *child);
#endif
