/* priv/daemon.h: what the monitors of all programs do alike: their directory and its lock, signals, configuration read again on SIGHUP, errors
 * of the start in three lines on standard error. */
#ifndef PRIV_DAEMON_H
#define PRIV_DAEMON_H
#include <limits.h>

#include "priv/priv.h"

struct conf;
struct conf_table;

/* Exit codes of daemons (sysexits.h has their names). */
enum daemon_exit {
	DAEMON_USAGE = 64,
	DAEMON_DATA = 65,
	DAEMON_UNAVAILABLE = 69,
	DAEMON_CANNOT_CREATE = 73,
	DAEMON_AGAIN = 75,
	DAEMON_DENIED = 77,
	DAEMON_CONFIG = 78,
};

struct daemon {
	struct io_loop *loop;
	struct priv_monitor *monitor;
	const char *program;
	struct conf *conf;
	const struct conf_table *table;
	char directory[PATH_MAX]; /* absolute */
	char file[PATH_MAX];      /* its configuration */
	int code;
	bool stopping;
	struct io_timer *timer; /* of the program, made on the loop once the roles are ready; freed with it.  NULL = none */
};

/* "error: what", "why: ...", "try: ..."; why NULL or "" = err's text; returns code. */
int daemon_fail(int code, int err, const char *what, const char *why);
/* Makes the directory if need be, locks <program>.lock in it, reads <program>.ini.  0, or the exit code (the reason is printed). */
int daemon_prepare(struct daemon *daemon, const char *program, const char *directory, const struct conf_table *table);
/* Starts the roles and stays until daemon_stop(), SIGTERM or SIGINT; returns the exit code.  events: `stopped` must be NULL. */
int daemon_run(struct daemon *daemon, const struct priv_program *program, struct str settings,
               const struct priv_descriptor *descriptors, size_t n_descriptors, const struct priv_monitor_events *events,
               void *ctx);
void daemon_stop(struct daemon *daemon, int code);
/* A line "STATE TEXT" for whoever started the program with --status-fd; fd -1: nobody asked. */
void daemon_status(int fd, const char *state, const char *text);
#endif
