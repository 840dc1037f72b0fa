/* Roles start, talk, die and come back. */
#include "priv/test_trial.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/err.h"
#include "base/fault.h"
#include "io/io.h"
#include "os/fd.h"
#include "os/proc.h"
#include "priv/control.h"
#include "priv/monitor.h"

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
	t.monitor = priv_monitor_new(t.loop, &t.program, STR(""), descriptors, 3, &trial_events, NULL);
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
	assert_null(priv_monitor_new(t.loop, &t.program, STR(""), &stray, 1, &trial_events, NULL));
	assert_null(priv_monitor_new(t.loop, &t.program, (struct str){ text, sizeof text }, NULL, 0, &trial_events, NULL));
	t.program.edges = edges;
	t.program.n_edges = 1;
	assert_null(priv_monitor_new(t.loop, &t.program, STR(""), NULL, 0, &trial_events, NULL));
	trial_done();
}

static void test_longest_configuration(void **state)
{
	static char text[CONTROL_CONFIGURATION_MAX];
	(void)state;
	memset(text, 'c', sizeof text);
	trial_init("plain");
	t.monitor = priv_monitor_new(t.loop, &t.program, (struct str){ text, sizeof text }, NULL, 0, &trial_events, NULL);
	assert_int_equal(priv_monitor_start(t.monitor), 0);
	wait_ready();
	trial_stop();
}

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
		t.monitor = priv_monitor_new(t.loop, &t.program, STR("x"), descriptors, 1, &trial_events, NULL);
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

int main(int argc, char **argv)
{
	int code = trial_main(argc, argv);
	if (code >= 0)
		return code;
	if (argc == 3 && strcmp(argv[1], "--monitor") == 0)
		return monitor_main(argv[2]);
	const struct CMUnitTest tests[] = {
		trial_test(test_ends),           trial_test(test_last_words),       trial_test(test_hostile_role),
		trial_test(test_rpc_edge),       trial_test(test_pass_edge),        trial_test(test_descriptors),
		trial_test(test_tell),           trial_test(test_descriptor_queue), trial_test(test_descriptor_waits),
		trial_test(test_heartbeat),      trial_test(test_pauses),           trial_test(test_never_ready),
		trial_test(test_stop),           trial_test(test_terminate),        trial_test(test_stop_while_pausing),
		trial_test(test_freed),          trial_test(test_tables),           trial_test(test_longest_configuration),
		trial_test(test_by_hand),        trial_test(test_monitor_killed),   trial_test(test_faults),
		trial_test(test_restart_faults),
	};
	return cmocka_run_group_tests(tests, NULL, trial_directory_remove);
}
