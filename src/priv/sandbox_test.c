/* Roles are confined: looked at from outside, and by what they try.  Passes as root and as an ordinary user; under sanitizers, where the sandbox
 * only logs, what it would forbid is left out. */
#include "priv/test_trial.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/err.h"
#include "io/io.h"
#include "os/fd.h"
#include "os/file.h"
#include "os/socket.h"
#include "priv/sandbox.h"

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
	t.monitor = priv_monitor_new(t.loop, &t.program, STR(""), NULL, 0, &trial_events, NULL);
	int err = priv_monitor_start(t.monitor);
	trial_done();
	unlink(path);
	assert_int_equal(err, -ENOTDIR);
	assert_int_equal(stat(target, &status), 0);
	assert_int_equal(status.st_uid, 0);
	assert_int_equal(status.st_mode & 07777, 0755);
}

static void test_allowed(void **state)
{
	static const struct attempt attempts[] = {
		{ "plain", "library", "ok" }, { "plain", "sigusr", "ok" },    { "files", "library", "ok" },
		{ "net", "tcp", "ok" },       { "worker", "thread", "ok" },   { "every", "thread", "ok" },
		{ "every", "library", "ok" }, { "every", "tcp", "ok" },       { "resolve", "open", "ok" },
		{ "resolve", "tcp", "ok" },   { "resolve", "resolve", "ok" }, { "helper", "open", "ok" },
		{ "helper", "fork", "ok" },   { "proc", "proc", "ok" },       { "proc", "library", "ok" },
		{ "pairs", "pair", "ok" },    { "pairs", "library", "ok" },   { "datagrams", "udp", "ok" },
		{ "datagrams", "tcp", "ok" },
	};
	(void)state;
	for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++)
		attempt_run(&attempts[i]);
}

static void test_refused(void **state)
{
	static const struct attempt attempts[] = {
		{ "plain", "open", "EACCES" },       { "plain", "tcp", "EACCES" },    { "plain", "unix", "EACCES" },
		{ "resolve", "tmp", "EACCES" },      { "resolve", "unix", "EACCES" }, { "resolve", "execute-memory", "EACCES" },
		{ "proc", "beside-proc", "EACCES" }, { "proc", "tcp", "EACCES" },
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
		{ "plain", "pair", NOT_ALLOWED("socketpair") },
		{ "pairs", "pair-inet", NOT_ALLOWED("socketpair") },
		{ "plain", "kill", NOT_ALLOWED("kill") },
		{ "plain", "terminal", NOT_ALLOWED("ioctl") },
		{ "plain", "execute-memory", NOT_ALLOWED("mmap") },
		{ "plain", "sigsys", "signal 31" },
		{ "plain", "sigsys-wide", "signal 31" },
		{ "net", "udp", NOT_ALLOWED("socket") },
		{ "net", "unix", NOT_ALLOWED("socket") },
		{ "datagrams", "ping", NOT_ALLOWED("socket") },
		{ "datagrams", "unix", NOT_ALLOWED("socket") },
		{ "datagrams", "udp-bind", NOT_ALLOWED("bind") },
		{ "net", "bind", NOT_ALLOWED("bind") },
		{ "net", "orphan", NOT_ALLOWED("prctl") },
		{ "resolve", "create", NOT_ALLOWED("openat") },
		{ "proc", "proc-write", NOT_ALLOWED("openat") },
		{ "proc", "create", NOT_ALLOWED("openat") },
		{ "proc", "ptrace", NOT_ALLOWED("ptrace") },
		{ "every", "exec", NOT_ALLOWED("execve") },
		{ "every", "ptrace", NOT_ALLOWED("ptrace") },
	};
	(void)state;
	if (SANDBOX_LOGS)
		skip();
	for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++)
		attempt_run(&attempts[i]);
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

/* What stands between the sandbox and its filter: there already with the role's own rights and root. */
static void test_inside(void **state)
{
	(void)state;
	trial_init("files plain");
	trial_start("");
	wait_ready();
	assert_string_equal(wait_report("files inside ") + (IS_ROOT ? 0 : strlen(directory)), IS_ROOT ? "/" : "/store/files");
	trial_stop();
	log_begin();
	trial_init("plain");
	trial_start("inside fails");
	wait_report("plain inside");
	wait_report("plain inside"); /* it left, and was started again */
	assert_false(t.ready);
	trial_stop();
	assert_logged("role plain: ended with code 77\n");
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

/* A role whose sandbox is not complete leaves. */
static void test_confine_faults(void **state)
{
	(void)state;
	for (unsigned n = 1;; n++) {
		char configuration[32];
		snprintf(configuration, sizeof configuration, "fault %u", n);
		trial_init("plain");
		trial_start(configuration);
		char how[64];
		str_copy(str_from(wait_report("plain confine ")), how, sizeof how);
		bool beyond = strcmp(how, "E1501") != 0;
		if (beyond)
			wait_ready();
		else
			assert_false(t.ready);
		trial_stop();
		if (beyond) {
			if (n <= 10)
				fail_msg("point %u: %s", n, how);
			break;
		}
	}
}

int main(int argc, char **argv)
{
	int code = trial_main(argc, argv);
	if (code >= 0)
		return code;
	const struct CMUnitTest tests[] = {
		trial_test(test_directory_link), /* before a role has used its place */
		trial_test(test_identity),       trial_test(test_process),        trial_test(test_directories),
		trial_test(test_allowed),        trial_test(test_refused),        trial_test(test_forbidden),
		trial_test(test_files),          trial_test(test_connect),        trial_test(test_inside),
		trial_test(test_forbidden_call), trial_test(test_confine_faults),
	};
	return cmocka_run_group_tests(tests, NULL, trial_directory_remove);
}
