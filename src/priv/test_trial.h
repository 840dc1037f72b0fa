/* priv/test_trial.h: one program under test: a monitor in this process, real roles (test_role.c), what these reported, what was logged. */
#ifndef PRIV_TEST_TRIAL_H
#define PRIV_TEST_TRIAL_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/types.h>
#include <unistd.h>

#include "base/buf.h"
#include "priv/priv.h"

#define FIRST_UID   61000
#define ROLES_MAX   8
#define DEADLINE_MS 30000
#define IS_ROOT     (geteuid() == 0)

struct trial {
	struct priv_role roles[ROLES_MAX];
	struct priv_program program;
	struct io_loop *loop;
	struct io_timer *deadline;
	struct priv_monitor *monitor;
	struct buf reports; /* lines "ROLE TEXT" not yet waited for */
	char line[600];     /* the last one waited for */
	bool ready, stopped;
};

extern struct trial t; /* of the test that runs */
extern char directory[32];
extern const struct priv_monitor_events trial_events;

/* names: "plain other", at most ROLES_MAX */
void trial_init(const char *names);
void trial_start(const char *configuration);
void trial_stop(void); /* in order; nobody is left */
void trial_done(void); /* at once */

void wait_ready(void);
/* Runs the loop until a report "ROLE TEXT" has come that starts with prefix; returns what stands behind prefix. */
const char *wait_report(const char *prefix);
/* Waits for a role's (next) start.  Returns its process id. */
pid_t wait_start(const char *role);
/* True when such a report is there already; it is then used up. */
bool line_take(const char *prefix);
void tell(const char *role, const char *text);

void proc_read(pid_t pid, const char *file, char *text, size_t size);
void assert_status(pid_t pid, const char *line);
int descriptors_open(void);

void log_begin(void);
void log_end(char *text, size_t size);
void assert_logged(const char *wanted); /* ends it too */

/* What a role tries, and what comes of it: an error's name, "ok", or the system call that ends it. */
struct attempt {
	const char *role, *call, *outcome;
};

void attempt_run(const struct attempt *attempt);
#define NOT_ALLOWED(call) "system call " call " is not allowed"

#define trial_test(test) cmocka_unit_test_teardown(test, trial_give_up)
int trial_give_up(void **state); /* after a test that failed */
/* To be called by main() first, with a role's arguments never to return but its exit code (>= 0); -1 = these are the tests. */
int trial_main(int argc, char **argv);
int trial_directory_remove(void **state); /* of the whole group */
#endif
