/* Starts real roles (test_role.c) and looks at them from outside.  Passes as root and as an ordinary user; under sanitizers, where the sandbox
 * only logs, what it would forbid is left out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fault.h"
#include "base/mem.h"
#include "io/io.h"
#include "os/fd.h"
#include "os/file.h"
#include "os/log.h"
#include "os/proc.h"
#include "os/socket.h"
#include "priv/control.h"
#include "priv/monitor.h"
#include "priv/sandbox.h"
#include "priv/test_role.h"

#define FIRST_UID   61000
#define ROLES_MAX   8
#define DEADLINE_MS 30000
#define IS_ROOT     (geteuid() == 0)

/* One program under test: a monitor, what its roles reported and what was logged. */
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

static struct trial t; /* of the test that runs */
static char directory[] = "/tmp/murmesh-priv-XXXXXX";
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

static const struct priv_monitor_events events = { on_ready, on_report, on_stopped };

/* ---- a trial ---- */

static const struct priv_role *role_named(const char *name)
{
	for (size_t i = 0; i < test_roles.n_roles; i++)
		if (strcmp(test_roles.roles[i].name, name) == 0)
			return &test_roles.roles[i];
	abort();
}

/* names: "plain other", at most ROLES_MAX */
static void trial_init(const char *names)
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

static void trial_start(const char *configuration)
{
	t.monitor = priv_monitor_new(t.loop, &t.program, str_from(configuration), NULL, 0, &events, NULL);
	assert_non_null(t.monitor);
	assert_int_equal(priv_monitor_start(t.monitor), 0);
}

static void wait_ready(void)
{
	while (!t.ready)
		io_loop_run(t.loop);
}

static void trial_done(void)
{
	t.monitor = priv_monitor_free(t.monitor);
	t.deadline = io_timer_free(t.deadline);
	t.loop = io_loop_free(t.loop);
	buf_done(&t.reports);
}

static void trial_stop(void)
{
	priv_monitor_stop(t.monitor);
	while (!t.stopped)
		io_loop_run(t.loop);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* nobody is left */
	assert_int_equal(errno, ECHILD);
	trial_done();
}

static bool line_take(const char *prefix)
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

/* Runs the loop until a report "ROLE TEXT" has come that starts with prefix; returns what stands behind prefix. */
static const char *wait_report(const char *prefix)
{
	while (!line_take(prefix))
		io_loop_run(t.loop);
	return t.line + strlen(prefix);
}

/* Waits for a role's (next) start.  Returns its process id. */
static pid_t wait_start(const char *role)
{
	char prefix[64];
	snprintf(prefix, sizeof prefix, "%s start ", role);
	return (pid_t)strtol(wait_report(prefix), NULL, 10);
}

static void tell(const char *role, const char *text)
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

static void proc_read(pid_t pid, const char *file, char *text, size_t size)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
	text_read(path, text, size);
}

static void assert_status(pid_t pid, const char *line)
{
	char text[8192], wanted[256];
	proc_read(pid, "status", text, sizeof text);
	snprintf(wanted, sizeof wanted, "\n%s\n", line);
	if (!strstr(text, wanted))
		fail_msg("\"%s\" is not in: %s", line, text);
}

static void log_begin(void)
{
	char path[] = "/tmp/murmesh-log-XXXXXX";
	log_file = mkstemp(path);
	assert_true(log_file >= 0);
	unlink(path);
	log_saved = dup(STDERR_FILENO);
	dup2(log_file, STDERR_FILENO);
}

static void log_end(char *text, size_t size)
{
	ssize_t len = pread(log_file, text, size - 1, 0);
	text[len < 0 ? 0 : len] = 0;
	dup2(log_saved, STDERR_FILENO);
	log_saved = fd_close(log_saved);
	log_file = fd_close(log_file);
	ssize_t written = write(STDERR_FILENO, text, strlen(text));
	(void)written;
}

static void assert_logged(const char *wanted)
{
	static char text[1 << 16];
	log_end(text, sizeof text);
	if (!strstr(text, wanted))
		fail_msg("\"%s\" is not in the log: %s", wanted, text);
}

static int descriptors_open(void)
{
	int n = 0;
	DIR *d = opendir("/proc/self/fd");
	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* ---- tests ---- */

static void assert_confined(const char *role, size_t index, const char *root)
{
	char line[128], path[64], link[256] = "";
	pid_t pid = wait_start(role);
	assert_status(pid, "NoNewPrivs:\t1");
	assert_status(pid, "Seccomp:\t2");
	assert_status(pid, "CapEff:\t0000000000000000");
	assert_status(pid, "CapPrm:\t0000000000000000");
	assert_status(pid, "CapInh:\t0000000000000000");
	if (!IS_ROOT)
		return;
	unsigned uid = FIRST_UID + (unsigned)index;
	assert_status(pid, "CapBnd:\t0000000000000000");
	snprintf(line, sizeof line, "Uid:\t%u\t%u\t%u\t%u", uid, uid, uid, uid);
	assert_status(pid, line);
	line[0] = 'G';
	assert_status(pid, "Groups:\t ");
	snprintf(path, sizeof path, "/proc/%d/root", (int)pid);
	assert_true(readlink(path, link, sizeof link - 1) > 0);
	snprintf(line, sizeof line, "%s%s", directory, root);
	if (!SANDBOX_LOGS)
		assert_string_equal(link, root[0] ? line : "/");
}

/* As root: what roles would inherit and have to drop. */
static void rights_add(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct rights[_LINUX_CAPABILITY_U32S_3];
	const gid_t group = 4242;
	assert_int_equal(syscall(SYS_capget, &header, rights), 0);
	rights[0].inheritable = rights[0].permitted;
	assert_int_equal(syscall(SYS_capset, &header, rights), 0);
	assert_int_equal(setgroups(1, &group), 0);
}

static void test_identity(void **state)
{
	(void)state;
	if (IS_ROOT)
		rights_add();
	trial_init("plain files net resolve every");
	trial_start("");
	wait_ready();
	assert_confined("plain", 0, "/run/empty");
	assert_confined("files", 1, "/store/files");
	assert_confined("net", 2, "/run/empty");
	assert_confined("resolve", 3, "");
	assert_confined("every", 4, "/every");
	trial_stop();
}

static void test_process(void **state)
{
	char text[4096];
	struct stat status;
	(void)state;
	trial_init("plain");
	trial_start("");
	pid_t pid = wait_start("plain");
	proc_read(pid, "cmdline", text, sizeof text);
	assert_string_equal(text, "priv-test: plain");
	proc_read(pid, "limits", text, sizeof text);
	assert_non_null(strstr(text, "Max core file size        0                    0 "));
	assert_int_equal(getpgid(pid), pid);
	snprintf(text, sizeof text, "/proc/%d/io", (int)pid); /* not readable for others: not dumpable, belongs to root */
	assert_int_equal(stat(text, &status), 0);
	if (!SANDBOX_LOGS)
		assert_int_equal(status.st_uid, 0);
	trial_stop();
}

static void test_directories(void **state)
{
	char wanted[600], path[256];
	struct stat status;
	(void)state;
	trial_init("plain files helper resolve");
	trial_start("the configuration");
	wait_ready();
	snprintf(wanted, sizeof wanted, "%s/store/files %s%s the configuration", directory, IS_ROOT ? "" : directory,
	         IS_ROOT ? "/" : "/store/files");
	wait_start("files");
	assert_string_equal(strchr(t.line + strlen("files start "), ' ') + 1, wanted);
	wait_start("plain");
	assert_non_null(strstr(t.line, " - - the configuration"));
	pid_t helper = wait_start("helper");
	snprintf(wanted, sizeof wanted, "%s/helper %s/helper the configuration", directory, directory);
	assert_non_null(strstr(t.line, wanted));
	assert_status(helper, "NoNewPrivs:\t0");
	assert_status(helper, "Seccomp:\t0");

	snprintf(path, sizeof path, "%s/store/files", directory);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode & 07777, 0700);
	assert_int_equal(status.st_uid, IS_ROOT ? FIRST_UID + 1 : geteuid());
	snprintf(path, sizeof path, "%s/helper", directory);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_uid, geteuid());
	if (IS_ROOT) {
		snprintf(path, sizeof path, "%s/run/empty", directory);
		assert_int_equal(stat(path, &status), 0);
		assert_int_equal(status.st_mode & 07777, 0555);
	}
	trial_stop();
}

/* A link in the place of a role's directory: its target keeps its owner. */
static void test_directory_link(void **state)
{
	char path[256], target[256];
	struct stat status;
	(void)state;
	if (!IS_ROOT)
		skip();
	assert_int_equal(file_path(path, sizeof path, directory, "every"), 0);
	assert_int_equal(file_path(target, sizeof target, directory, "elsewhere"), 0);
	assert_int_equal(file_make_directory(target, 0755), 0);
	assert_int_equal(symlink(target, path), 0);
	trial_init("every");
	t.monitor = priv_monitor_new(t.loop, &t.program, STR(""), NULL, 0, &events, NULL);
	int err = priv_monitor_start(t.monitor);
	trial_done();
	unlink(path);
	assert_int_equal(err, -ENOTDIR);
	assert_int_equal(stat(target, &status), 0);
	assert_int_equal(status.st_uid, 0);
	assert_int_equal(status.st_mode & 07777, 0755);
}

/* What a role tries, and what comes of it: an error's name, "ok", or the system call that ends it. */
struct attempt {
	const char *role, *call, *outcome;
};

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

static void attempt_run(const struct attempt *a)
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

#define NOT_ALLOWED(call) "system call " call " is not allowed"

static void test_allowed(void **state)
{
	static const struct attempt attempts[] = {
		{ "plain", "library", "ok" }, { "plain", "sigusr", "ok" },    { "files", "library", "ok" },
		{ "net", "tcp", "ok" },       { "worker", "thread", "ok" },   { "every", "thread", "ok" },
		{ "every", "library", "ok" }, { "every", "tcp", "ok" },       { "resolve", "open", "ok" },
		{ "resolve", "tcp", "ok" },   { "resolve", "resolve", "ok" }, { "helper", "open", "ok" },
		{ "helper", "fork", "ok" },
	};
	(void)state;
	for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++)
		attempt_run(&attempts[i]);
}

static void test_refused(void **state)
{
	static const struct attempt attempts[] = {
		{ "plain", "open", "EACCES" },  { "plain", "tcp", "EACCES" },    { "plain", "unix", "EACCES" },
		{ "resolve", "tmp", "EACCES" }, { "resolve", "unix", "EACCES" }, { "resolve", "execute-memory", "EACCES" },
	};
	(void)state;
	if (SANDBOX_LOGS)
		skip();
	for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++)
		attempt_run(&attempts[i]);
	/* chrooted there is no such file; else Landlock refuses it */
	attempt_run(&(struct attempt){ "files", "open", IS_ROOT ? "ENOENT" : "EACCES" });
	attempt_run(&(struct attempt){ "every", "open", IS_ROOT ? "ENOENT" : "EACCES" });
}

static void test_forbidden(void **state)
{
	static const struct attempt attempts[] = {
		{ "plain", "ptrace", NOT_ALLOWED("ptrace") },
		{ "plain", "exec", NOT_ALLOWED("execve") },
		{ "plain", "fork", NOT_ALLOWED("clone") },
		{ "plain", "thread", "signal 31" }, /* the library blocks signals there: no report */
		{ "worker", "fork", NOT_ALLOWED("clone") },
		{ "plain", "kill", NOT_ALLOWED("kill") },
		{ "plain", "terminal", NOT_ALLOWED("ioctl") },
		{ "plain", "execute-memory", NOT_ALLOWED("mmap") },
		{ "plain", "sigsys", "signal 31" },
		{ "plain", "sigsys-wide", "signal 31" },
		{ "net", "udp", NOT_ALLOWED("socket") },
		{ "net", "unix", NOT_ALLOWED("socket") },
		{ "net", "bind", NOT_ALLOWED("bind") },
		{ "net", "orphan", NOT_ALLOWED("prctl") },
		{ "resolve", "create", NOT_ALLOWED("openat") },
		{ "every", "exec", NOT_ALLOWED("execve") },
		{ "every", "ptrace", NOT_ALLOWED("ptrace") },
	};
	(void)state;
	if (SANDBOX_LOGS)
		skip();
	for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++)
		attempt_run(&attempts[i]);
}

static void test_ends(void **state)
{
	static const struct attempt attempts[] = {
		{ "plain", "abort", "signal 6 (Aborted)" },
		{ "plain", "unknown-kind", "sent what no role sends: killed" },
		{ "plain", "too-long", "its control channel broke: killed" },
	};
	(void)state;
	for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++)
		attempt_run(&attempts[i]);
}

/* What a role said before its end is heard. */
static void test_last_words(void **state)
{
	(void)state;
	trial_init("plain");
	trial_start("");
	siginfo_t ended;
	pid_t pid = wait_start("plain");
	tell("plain", "chatter");
	assert_int_equal(waitid(P_PID, (id_t)pid, &ended, WEXITED | WNOWAIT), 0); /* before the monitor hears the first */
	wait_start("plain");
	for (unsigned i = 0; i < 100; i++) {
		char text[32];
		snprintf(text, sizeof text, "plain chatters %u.", i);
		assert_true(line_take(text));
	}
	trial_stop();
}

/* A role in an attacker's hands talks nonsense to the monitor. */
static void test_hostile_role(void **state)
{
	(void)state;
	trial_init("plain");
	trial_start("");
	wait_ready();
	int before = descriptors_open();
	for (unsigned i = 0; i < 20; i++) {
		tell("plain", "try descriptors");
		wait_report("plain try descriptors ok");
	}
	assert_int_equal(descriptors_open(), before);
	tell("plain", "try short-violation");
	wait_report("plain try short-violation ok");
	log_begin();
	tell("plain", "try false-violation");
	wait_report("plain try false-violation ok");
	wait_start("plain");
	tell("plain", "exit 9");
	wait_start("plain");
	assert_logged("role plain: system call number 4294967295 is not allowed");
	tell("plain", "long");
	wait_report("plain long E1002");
	trial_stop();
}

static void test_files(void **state)
{
	(void)state;
	trial_init("files every");
	trial_start("");
	wait_ready();
	for (unsigned i = 0; i < 2; i++) {
		const char *role = i ? "every" : "files";
		char text[32];
		tell(role, "files");
		snprintf(text, sizeof text, "%s files ", role);
		assert_string_equal(wait_report(text), err_name(0));
	}
	trial_stop();
}

static void test_connect(void **state)
{
	struct socket_address address, local;
	char text[32];
	(void)state;
	assert_int_equal(socket_address_parse(STR("127.0.0.1"), 0, &address), 0);
	int listener = socket_listen(&address);
	assert_true(listener >= 0);
	assert_int_equal(socket_local(listener, &local), 0);
	snprintf(text, sizeof text, "connect %u", socket_address_port(&local));
	trial_init("net every");
	trial_start("");
	wait_ready();
	tell("net", text);
	assert_string_equal(wait_report("net connect "), "ok");
	tell("every", text);
	assert_string_equal(wait_report("every connect "), "ok");
	trial_stop();
	fd_close(listener);
}

static const struct priv_edge rpc_edge[] = { { "plain", "other", PRIV_EDGE_RPC } };

static void rpc_once(void)
{
	wait_report("plain got rpc-to:other");
	wait_report("other got rpc-from:plain");
	tell("plain", "write rpc-to:other hello");
	wait_report("plain wrote ok");
	wait_report("plain rpc-to:other hello");
}

static void test_rpc_edge(void **state)
{
	(void)state;
	trial_init("plain other");
	t.program.edges = rpc_edge;
	t.program.n_edges = 1;
	trial_start("");
	pid_t from = wait_start("plain"), to = wait_start("other");
	rpc_once();
	log_begin();
	assert_int_equal(kill(to, SIGKILL), 0);
	wait_report("plain rpc-to:other ended");
	rpc_once();
	assert_logged("role other: ended by signal 9 (Killed)\n");
	log_begin();
	assert_int_equal(kill(from, SIGKILL), 0);
	wait_report("other rpc-from:plain ended");
	rpc_once();
	assert_logged("role plain: ended by signal 9 (Killed)\n");
	trial_stop();
}

/* What is queued when the receiver is killed waits for its successor. */
static void test_pass_edge(void **state)
{
	static const struct priv_edge edges[] = { { "plain", "other", PRIV_EDGE_PASS } };
	(void)state;
	trial_init("plain other");
	t.program.edges = edges;
	t.program.n_edges = 1;
	trial_start("");
	wait_ready();
	pid_t receiver = wait_start("other");
	wait_report("plain got pass-to:other");
	tell("plain", "write pass-to:other one");
	wait_report("other pass-from:plain one");
	assert_int_equal(kill(receiver, SIGSTOP), 0);
	tell("plain", "write pass-to:other two");
	wait_report("plain wrote ok");
	wait_report("plain wrote ok");
	assert_int_equal(kill(receiver, SIGKILL), 0);
	assert_true(wait_start("other") != receiver);
	wait_report("other pass-from:plain two");
	trial_stop();
}

static void test_descriptors(void **state)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	const struct priv_descriptor descriptors[] = { { "listener", "plain", fd },
		                                       { "second", "plain", fd },
		                                       { "third", "other", fd } };
	(void)state;
	trial_init("plain other");
	t.monitor = priv_monitor_new(t.loop, &t.program, STR(""), descriptors, 3, &events, NULL);
	assert_int_equal(priv_monitor_start(t.monitor), 0);
	for (unsigned i = 0; i < 3; i++) {
		pid_t pid = wait_start("plain");
		wait_report("plain got listener");
		wait_report("plain got second");
		kill(pid, SIGKILL);
	}
	wait_report("other got third");
	assert_false(line_take("other got"));
	trial_stop();
	fd_close(fd);
}

static void test_tell(void **state)
{
	static char text[CONTROL_TEXT_MAX + 1];
	struct str longest = { text, CONTROL_TEXT_MAX };
	unsigned told = 0;
	char counted[64];
	(void)state;
	memset(text, ' ', sizeof text);
	memcpy(text, "count", 5);
	trial_init("plain");
	trial_start("");
	pid_t pid = wait_start("plain");
	wait_ready();
	assert_int_equal(priv_monitor_tell(t.monitor, "nobody", STR("x")), -E_NOT_FOUND);
	assert_int_equal(priv_monitor_tell(t.monitor, "plain", (struct str){ text, CONTROL_TEXT_MAX + 1 }), -E_TOO_LONG);
	assert_int_equal(kill(pid, SIGSTOP), 0);
	while (priv_monitor_tell(t.monitor, "plain", longest) == 0)
		told++;
	assert_true(told > 64); /* in the socket and in the monitor */
	assert_true(told < 1000);
	assert_int_equal(priv_monitor_tell(t.monitor, "plain", longest), -E_FULL);
	assert_int_equal(kill(pid, SIGCONT), 0);
	wait_report("plain passed 50");
	tell("plain", "counted");
	snprintf(counted, sizeof counted, "plain counted %u", told);
	wait_report(counted);
	trial_stop();
}

/* An edge's descriptor that a hanging role does not take: it is killed, and its successor gets a fresh one. */
static void test_descriptor_queue(void **state)
{
	(void)state;
	trial_init("plain other");
	t.program.edges = rpc_edge;
	t.program.n_edges = 1;
	trial_start("");
	pid_t hanging = wait_start("plain"), dying = wait_start("other");
	rpc_once();
	kill(hanging, SIGSTOP);
	static char text[CONTROL_TEXT_MAX];
	while (priv_monitor_tell(t.monitor, "plain", (struct str){ text, sizeof text }) == 0)
		;
	log_begin();
	kill(dying, SIGKILL);
	wait_start("plain");
	rpc_once();
	assert_logged("role plain: does not take its descriptors: killed\n");
	trial_stop();
}

/* The same with room in the queue: it comes once the role goes on. */
static void test_descriptor_waits(void **state)
{
	unsigned told = 0;
	(void)state;
	trial_init("plain other");
	t.program.edges = rpc_edge;
	t.program.n_edges = 1;
	trial_start("");
	pid_t hanging = wait_start("plain"), dying = wait_start("other");
	rpc_once();
	kill(hanging, SIGSTOP);
	int before = descriptors_open();
	for (; told < 60; told++) /* more than the socket takes */
		assert_int_equal(
		        priv_monitor_tell(t.monitor, "plain", (struct str){ (char[CONTROL_TEXT_MAX]){ 0 }, CONTROL_TEXT_MAX }), 0);
	kill(dying, SIGKILL);
	wait_report("other got rpc-from:plain");
	kill(hanging, SIGCONT);
	wait_report("plain got rpc-to:other");
	tell("plain", "write rpc-to:other late");
	wait_report("plain rpc-to:other late");
	assert_int_equal(descriptors_open(), before);
	trial_stop();
}

static void test_heartbeat(void **state)
{
	(void)state;
	monitor_heartbeat_ms = 50;
	trial_init("plain other");
	trial_start("");
	pid_t hanging = wait_start("plain"), healthy = wait_start("other");
	wait_ready();
	log_begin();
	kill(hanging, SIGSTOP);
	assert_true(wait_start("plain") != hanging);
	assert_logged("role plain: does not answer: killed\n");
	assert_int_equal(kill(healthy, 0), 0);
	assert_false(line_take("other start"));
	trial_stop();
	monitor_heartbeat_ms = 5000;
}

static void test_pauses(void **state)
{
	static char text[1 << 16];
	(void)state;
	trial_init("plain");
	trial_start("");
	log_begin();
	for (unsigned i = 0; i < 6; i++) {
		wait_start("plain");
		tell("plain", "exit 5");
	}
	wait_start("plain");
	log_end(text, sizeof text);
	char *first = strstr(text, "role plain: ended with code 5\n");
	char *paused = strstr(text, "role plain: ended with code 5; starts again in 1 s\n");
	assert_non_null(first);
	assert_non_null(paused);
	assert_true(first < paused);
	trial_stop();
}

static void test_never_ready(void **state)
{
	(void)state;
	trial_init("plain broken");
	trial_start("");
	wait_start("plain");
	for (unsigned i = 0; i < 3; i++)
		wait_report("broken unconfined E1501");
	assert_false(t.ready);
	trial_stop();
}

/* One role leaves, one is stopped, one does not come back to its loop. */
static void test_stop(void **state)
{
	static char text[1 << 16];
	(void)state;
	trial_init("plain other net broken");
	trial_start("");
	pid_t hanging = wait_start("plain");
	wait_start("other");
	for (unsigned i = 0; i < 6; i++)
		wait_report("broken unconfined");
	while (priv_monitor_tell(t.monitor, "broken", STR("x")) !=
	       -E_CLOSED) { /* until it is seen dead: its next start would be in 1 s */
		tell("other", "counted");
		wait_report("other counted");
	}
	log_begin();
	tell("net", "hang");
	wait_report("net hangs");
	kill(hanging, SIGSTOP);
	priv_monitor_stop(t.monitor);
	priv_monitor_stop(t.monitor);
	wait_report("other stopping");
	while (!t.stopped)
		io_loop_run(t.loop);
	assert_int_equal(priv_monitor_tell(t.monitor, "plain", STR("x")), -E_CLOSED);
	log_end(text, sizeof text);
	assert_non_null(strstr(text, "role plain: does not stop: killed\n"));
	assert_non_null(strstr(text, "role net: does not stop: killed\n"));
	assert_null(strstr(text, "role other"));
	assert_false(line_take("broken unconfined"));
	trial_done();
}

/* SIGTERM, as from an administrator: the role leaves in order, or is made to after 3 s. */
static void test_terminate(void **state)
{
	(void)state;
	trial_init("plain");
	trial_start("");
	log_begin();
	kill(wait_start("plain"), SIGTERM);
	wait_report("plain stopping");
	pid_t pid = wait_start("plain");
	assert_logged("role plain: ended with code 0\n");
	log_begin();
	tell("plain", "linger");
	wait_report("plain lingers");
	kill(pid, SIGTERM);
	kill(pid, SIGTERM);
	wait_start("plain");
	assert_logged("role plain: ended with code 75\n");
	trial_stop();
}

static void test_stop_while_pausing(void **state)
{
	(void)state;
	trial_init("broken");
	trial_start("");
	for (unsigned i = 0; i < 6; i++)
		wait_report("broken unconfined");
	trial_stop();
}

/* Freed while its roles live: they are gone when it returns. */
static void test_freed(void **state)
{
	(void)state;
	trial_init("plain helper");
	trial_start("");
	pid_t pid = wait_start("plain");
	trial_done();
	assert_int_equal(kill(pid, 0), -1);
	assert_int_equal(errno, ESRCH);
}

static void test_tables(void **state)
{
	static const struct priv_edge edges[] = { { "plain", "nobody", PRIV_EDGE_RPC } };
	const struct priv_descriptor stray = { "x", "nobody", 0 };
	static char text[CONTROL_CONFIGURATION_MAX + 1];
	(void)state;
	trial_init("plain");
	assert_null(priv_monitor_new(t.loop, &t.program, STR(""), &stray, 1, &events, NULL));
	assert_null(priv_monitor_new(t.loop, &t.program, (struct str){ text, sizeof text }, NULL, 0, &events, NULL));
	t.program.edges = edges;
	t.program.n_edges = 1;
	assert_null(priv_monitor_new(t.loop, &t.program, STR(""), NULL, 0, &events, NULL));
	trial_done();
}

static void test_longest_configuration(void **state)
{
	static char text[CONTROL_CONFIGURATION_MAX];
	(void)state;
	memset(text, 'c', sizeof text);
	trial_init("plain");
	t.monitor = priv_monitor_new(t.loop, &t.program, (struct str){ text, sizeof text }, NULL, 0, &events, NULL);
	assert_int_equal(priv_monitor_start(t.monitor), 0);
	wait_ready();
	trial_stop();
}

static void test_forbidden_call(void **state)
{
	(void)state;
	if (SANDBOX_LOGS)
		skip();
	setenv("MURMESH_TEST_FORBIDDEN_CALL", "other", 1);
	log_begin();
	trial_init("plain other");
	trial_start("");
	wait_ready();
	assert_logged("role other: " NOT_ALLOWED("ptrace") "\n");
	trial_stop();
	unsetenv("MURMESH_TEST_FORBIDDEN_CALL");
}

/* ---- by hand, and the monitor's end ---- */

static int program_run(char *const *argv)
{
	char path[256];
	int status;
	assert_int_equal(proc_self_path(path, sizeof path), 0);
	const struct proc_spawn spawn = { .path = path, .argv = argv, .standard = { -1, -1, -1 } };
	pid_t pid = proc_spawn(&spawn);
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void test_by_hand(void **state)
{
	char program[] = "test", option[] = "--role", plain[] = "plain", nobody[] = "nobody";
	(void)state;
	assert_int_equal(program_run((char *[]){ program, option, plain, NULL }), 64);
	assert_int_equal(program_run((char *[]){ program, option, nobody, NULL }), 64);
}

/* The other program of test_monitor_killed: a monitor that prints its roles' process ids. */
static int monitor_main(const char *path)
{
	snprintf(directory, sizeof directory, "%s", path);
	trial_init("plain helper");
	trial_start("");
	tell("helper", "try orphan"); /* the kernel does not kill it with its parent: it has to leave by itself */
	wait_report("helper try orphan ok");
	tell("plain", "hang"); /* this one only the kernel can end */
	wait_report("plain hangs");
	pid_t plain = wait_start("plain"), helper = wait_start("helper");
	printf("%d %d\n", (int)plain, (int)helper);
	fflush(stdout);
	while (io_loop_run(t.loop) >= 0)
		;
	return 1;
}

static void wait_end(int process)
{
	struct pollfd ended = { .fd = process, .events = POLLIN };
	assert_int_equal(poll(&ended, 1, DEADLINE_MS), 1);
	fd_close(process);
}

static void test_monitor_killed(void **state)
{
	char path[256], program[] = "test", option[] = "--monitor", text[64] = "", *end;
	char *argv[] = { program, option, directory, NULL };
	int output[2];
	(void)state;
	assert_int_equal(proc_self_path(path, sizeof path), 0);
	assert_int_equal(pipe(output), 0);
	const struct proc_spawn spawn = { .path = path, .argv = argv, .standard = { -1, output[1], -1 } };
	pid_t monitor = proc_spawn(&spawn);
	assert_true(monitor > 0);
	assert_true(read(output[0], text, sizeof text - 1) > 0);
	int plain = (int)syscall(SYS_pidfd_open, strtol(text, &end, 10), 0);
	int helper = (int)syscall(SYS_pidfd_open, strtol(end, NULL, 10), 0);
	assert_true(plain >= 0 && helper >= 0);
	assert_int_equal(kill(monitor, SIGKILL), 0);
	assert_int_equal(waitpid(monitor, NULL, 0), monitor);
	wait_end(plain);
	wait_end(helper);
	fd_close(output[0]);
	fd_close(output[1]);
}

/* ---- faults ---- */

/* Whatever single point fails, the monitor either says so or gets its roles ready nevertheless; nothing is left behind. */
static void test_faults(void **state)
{
	static const struct priv_edge edges[] = { { "plain", "other", PRIV_EDGE_RPC }, { "other", "plain", PRIV_EDGE_PASS } };
	const struct priv_descriptor descriptors[] = { { "null", "plain", STDOUT_FILENO } };
	bool beyond = false;
	(void)state;
	int before = descriptors_open();
	for (long n = 1; !beyond; n++) {
		trial_init("plain other");
		t.program.edges = edges;
		t.program.n_edges = 2;
		fault_arm(n);
		t.monitor = priv_monitor_new(t.loop, &t.program, STR("x"), descriptors, 1, &events, NULL);
		if (t.monitor && priv_monitor_start(t.monitor) == 0) {
			while (!t.ready && fault_armed())
				io_loop_run(t.loop);
			beyond = fault_armed();
			fault_arm(0);
			wait_ready();
		} else {
			assert_false(fault_armed());
		}
		fault_arm(0);
		trial_done();
		assert_int_equal(descriptors_open(), before);
	}
}

/* A role that died comes back, whatever single point fails meanwhile. */
static void test_restart_faults(void **state)
{
	bool beyond = false;
	(void)state;
	int before = descriptors_open();
	for (long n = 1; !beyond; n++) {
		trial_init("plain");
		trial_start("");
		pid_t pid = wait_start("plain");
		wait_ready();
		kill(pid, SIGKILL);
		fault_arm(n);
		wait_start("plain");
		beyond = fault_armed();
		fault_arm(0);
		trial_stop();
		assert_int_equal(descriptors_open(), before);
	}
}

/* A role whose sandbox is not complete leaves. */
static void test_confine_faults(void **state)
{
	(void)state;
	for (unsigned n = 1;; n++) {
		char configuration[32];
		snprintf(configuration, sizeof configuration, "fault %u", n);
		trial_init("plain");
		trial_start(configuration);
		bool beyond = strcmp(wait_report("plain confine "), "E1501") != 0;
		if (beyond)
			wait_ready();
		else
			assert_false(t.ready);
		trial_stop();
		if (beyond) {
			assert_true(n > 10);
			break;
		}
	}
}

/* After a test that failed. */
static int trial_give_up(void **state)
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

static int directory_remove(void **state)
{
	char program[] = "rm", option[] = "-rf", *argv[] = { program, option, directory, NULL };
	const struct proc_spawn spawn = { .path = "/bin/rm", .argv = argv, .standard = { -1, -1, -1 } };
	(void)state;
	pid_t pid = proc_spawn(&spawn);
	return pid > 0 && waitpid(pid, NULL, 0) == pid ? 0 : -1;
}

int main(int argc, char **argv)
{
	proc_title_init(argc, argv);
	if (argc == 3 && strcmp(argv[1], "--role") == 0)
		return priv_role_main(&test_roles, argv[2]);
	if (argc == 3 && strcmp(argv[1], "--monitor") == 0)
		return monitor_main(argv[2]);
	log_init("priv-test");
	if (!mkdtemp(directory))
		return 1;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_directory_link, trial_give_up), /* before a role has used its place */
		cmocka_unit_test_teardown(test_identity, trial_give_up),
		cmocka_unit_test_teardown(test_process, trial_give_up),
		cmocka_unit_test_teardown(test_directories, trial_give_up),
		cmocka_unit_test_teardown(test_allowed, trial_give_up),
		cmocka_unit_test_teardown(test_refused, trial_give_up),
		cmocka_unit_test_teardown(test_forbidden, trial_give_up),
		cmocka_unit_test_teardown(test_ends, trial_give_up),
		cmocka_unit_test_teardown(test_last_words, trial_give_up),
		cmocka_unit_test_teardown(test_hostile_role, trial_give_up),
		cmocka_unit_test_teardown(test_files, trial_give_up),
		cmocka_unit_test_teardown(test_connect, trial_give_up),
		cmocka_unit_test_teardown(test_rpc_edge, trial_give_up),
		cmocka_unit_test_teardown(test_pass_edge, trial_give_up),
		cmocka_unit_test_teardown(test_descriptors, trial_give_up),
		cmocka_unit_test_teardown(test_tell, trial_give_up),
		cmocka_unit_test_teardown(test_descriptor_queue, trial_give_up),
		cmocka_unit_test_teardown(test_descriptor_waits, trial_give_up),
		cmocka_unit_test_teardown(test_heartbeat, trial_give_up),
		cmocka_unit_test_teardown(test_pauses, trial_give_up),
		cmocka_unit_test_teardown(test_never_ready, trial_give_up),
		cmocka_unit_test_teardown(test_stop, trial_give_up),
		cmocka_unit_test_teardown(test_terminate, trial_give_up),
		cmocka_unit_test_teardown(test_stop_while_pausing, trial_give_up),
		cmocka_unit_test_teardown(test_freed, trial_give_up),
		cmocka_unit_test_teardown(test_tables, trial_give_up),
		cmocka_unit_test_teardown(test_longest_configuration, trial_give_up),
		cmocka_unit_test_teardown(test_forbidden_call, trial_give_up),
		cmocka_unit_test_teardown(test_by_hand, trial_give_up),
		cmocka_unit_test_teardown(test_monitor_killed, trial_give_up),
		cmocka_unit_test_teardown(test_faults, trial_give_up),
		cmocka_unit_test_teardown(test_restart_faults, trial_give_up),
		cmocka_unit_test_teardown(test_confine_faults, trial_give_up),
	};
	return cmocka_run_group_tests(tests, NULL, directory_remove);
}
