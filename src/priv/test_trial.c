#include "priv/test_trial.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fault.h"
#include "io/io.h"
#include "os/fd.h"
#include "os/file.h"
#include "os/log.h"
#include "os/proc.h"
#include "priv/monitor.h"
#include "priv/test_role.h"

struct trial t;
char directory[32] = "/tmp/murmesh-priv-XXXXXX";
static int log_file = -1, log_saved = -1;

static void on_ready(void *ctx)
{
	(void)ctx;
	assert_false(t.ready);
	t.ready = true;
	io_loop_stop(t.loop);
}

static void on_report(void *ctx, const char *role, struct str text)
{
	(void)ctx;
	long countdown = fault_countdown;
	fault_arm(0); /* the points that a test counts are the monitor's */
	assert_int_equal(buf_printf(&t.reports, "%s %.*s\n", role, STR_ARG(text)), 0);
	fault_arm(countdown);
	io_loop_stop(t.loop);
}

static void on_stopped(void *ctx)
{
	(void)ctx;
	t.stopped = true;
	io_loop_stop(t.loop);
}

static void on_deadline(void *ctx)
{
	(void)ctx;
	fail_msg("nothing came; last \"%s\", not waited for: %.*s", t.line, STR_ARG(buf_str(&t.reports)));
}

const struct priv_monitor_events trial_events = { on_ready, on_report, on_stopped };

/* ---- a trial ---- */

static const struct priv_role *role_named(const char *name)
{
	for (size_t i = 0; i < test_roles.n_roles; i++)
		if (strcmp(test_roles.roles[i].name, name) == 0)
			return &test_roles.roles[i];
	abort();
}

void trial_init(const char *names)
{
	struct str name, rest = str_from(names);
	t = (struct trial){ .program = { .name = "priv-test", .directory = directory, .roles = t.roles, .first_uid = FIRST_UID } };
	while (name = str_cut(rest, ' ', &rest), name.len) {
		char text[32];
		assert_int_equal(str_copy(name, text, sizeof text), 0);
		t.roles[t.program.n_roles++] = *role_named(text);
	}
	buf_init(&t.reports, 1 << 20);
	t.loop = io_loop_new();
	t.deadline = io_timer_new(t.loop, on_deadline, NULL);
	io_timer_start(t.deadline, DEADLINE_MS, 0);
}

void trial_start(const char *configuration)
{
	t.monitor = priv_monitor_new(t.loop, &t.program, str_from(configuration), NULL, 0, &trial_events, NULL);
	assert_non_null(t.monitor);
	assert_int_equal(priv_monitor_start(t.monitor), 0);
}

void wait_ready(void)
{
	while (!t.ready)
		io_loop_run(t.loop);
}

void trial_done(void)
{
	t.monitor = priv_monitor_free(t.monitor);
	t.deadline = io_timer_free(t.deadline);
	t.loop = io_loop_free(t.loop);
	buf_done(&t.reports);
}

void trial_stop(void)
{
	priv_monitor_stop(t.monitor);
	while (!t.stopped)
		io_loop_run(t.loop);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* nobody is left */
	assert_int_equal(errno, ECHILD);
	trial_done();
}

bool line_take(const char *prefix)
{
	struct buf kept;
	struct str line, rest = buf_str(&t.reports);
	bool found = false;
	buf_init(&kept, 1 << 20);
	while (line = str_cut(rest, '\n', &rest), line.len) {
		if (!found && str_starts(line, str_from(prefix))) {
			found = str_copy(line, t.line, sizeof t.line) == 0;
			continue;
		}
		buf_printf(&kept, "%.*s\n", STR_ARG(line));
	}
	buf_done(&t.reports);
	t.reports = kept;
	return found;
}

const char *wait_report(const char *prefix)
{
	while (!line_take(prefix))
		io_loop_run(t.loop);
	return t.line + strlen(prefix);
}

pid_t wait_start(const char *role)
{
	char prefix[64];
	snprintf(prefix, sizeof prefix, "%s start ", role);
	return (pid_t)strtol(wait_report(prefix), NULL, 10);
}

void tell(const char *role, const char *text)
{
	assert_int_equal(priv_monitor_tell(t.monitor, role, str_from(text)), 0);
}

/* ---- what is seen from outside ---- */

static void text_read(const char *path, char *text, size_t size)
{
	struct buf content;
	buf_init(&content, size - 1);
	assert_int_equal(file_read(path, &content), 0);
	assert_int_equal(str_copy(buf_str(&content), text, size), 0);
	buf_done(&content);
}

void proc_read(pid_t pid, const char *file, char *text, size_t size)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
	text_read(path, text, size);
}

void assert_status(pid_t pid, const char *line)
{
	char text[8192], wanted[256];
	proc_read(pid, "status", text, sizeof text);
	snprintf(wanted, sizeof wanted, "\n%s\n", line);
	if (!strstr(text, wanted))
		fail_msg("\"%s\" is not in: %s", line, text);
}

void log_begin(void)
{
	char path[] = "/tmp/murmesh-log-XXXXXX";
	log_file = mkstemp(path);
	assert_true(log_file >= 0);
	unlink(path);
	log_saved = dup(STDERR_FILENO);
	dup2(log_file, STDERR_FILENO);
}

void log_end(char *text, size_t size)
{
	ssize_t len = pread(log_file, text, size - 1, 0);
	text[len < 0 ? 0 : len] = 0;
	dup2(log_saved, STDERR_FILENO);
	log_saved = fd_close(log_saved);
	log_file = fd_close(log_file);
	ssize_t written = write(STDERR_FILENO, text, strlen(text));
	(void)written;
}

void assert_logged(const char *wanted)
{
	static char text[1 << 16];
	log_end(text, sizeof text);
	if (!strstr(text, wanted))
		fail_msg("\"%s\" is not in the log: %s", wanted, text);
}

int descriptors_open(void)
{
	int n = 0;
	DIR *d = opendir("/proc/self/fd");
	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void assert_ends(const struct attempt *a)
{
	char wanted[128];
	if (strncmp(a->outcome, "signal", 6) == 0)
		snprintf(wanted, sizeof wanted, "role %s: ended by %s", a->role, a->outcome);
	else
		snprintf(wanted, sizeof wanted, "role %s: %s", a->role, a->outcome);
	wait_start(a->role); /* the next one */
	assert_logged(wanted);
}

void attempt_run(const struct attempt *a)
{
	char text[64];
	static char ignored[1 << 16];
	bool ends = strchr(a->outcome, ' ') != NULL;
	log_begin();
	trial_init(a->role);
	trial_start("");
	wait_start(a->role);
	snprintf(text, sizeof text, "try %s", a->call);
	tell(a->role, text);
	if (ends) {
		assert_ends(a);
	} else {
		log_end(ignored, sizeof ignored);
		snprintf(text, sizeof text, "%s try %s ", a->role, a->call);
		assert_string_equal(wait_report(text), a->outcome);
	}
	trial_stop();
}

int trial_give_up(void **state)
{
	static char text[1 << 16];
	(void)state;
	fault_arm(0);
	if (log_file >= 0)
		log_end(text, sizeof text);
	if (t.loop)
		trial_done();
	monitor_heartbeat_ms = 5000;
	return 0;
}

int trial_directory_remove(void **state)
{
	char program[] = "rm", option[] = "-rf", *argv[] = { program, option, directory, NULL };
	const struct proc_spawn spawn = { .path = "/bin/rm", .argv = argv, .standard = { -1, -1, -1 } };
	(void)state;
	pid_t pid = proc_spawn(&spawn);
	return pid > 0 && waitpid(pid, NULL, 0) == pid ? 0 : -1;
}

int trial_main(int argc, char **argv)
{
	proc_title_init(argc, argv);
	if (argc == 3 && strcmp(argv[1], "--role") == 0)
		return priv_role_main(&test_roles, argv[2]);
	if (argc > 1)
		return -1;
	log_init("priv-test");
	return mkdtemp(directory) ? -1 : 1;
}
