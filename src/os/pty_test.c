/* Real shells on real pseudo terminals, and a pseudo terminal as this program's own. */
#include "os/pty.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>

#include "base/err.h"
#include "base/str.h"
#include "base/test.h"
#include "os/fd.h"
#include "os/proc.h"
#include "os/user.h"

#define HANG_MS 20000

static const struct pty_size size = { 101, 37 };
static const struct user_login login = { .name = "tester", .home = "/usr", .shell = "/bin/bash" };

struct shell {
	pid_t pid;
	int fd;
	char said[65536];
	size_t len;
};

static void shell_start(struct shell *shell)
{
	*shell = (struct shell){ .fd = -1 };
	shell->pid = pty_start_shell(&login, &size, "vt100", &shell->fd);
	assert_true(shell->pid > 0);
}

/* Reads until the text comes; false at the end. */
static bool shell_says(struct shell *shell, const char *text)
{
	for (;;) {
		shell->said[shell->len] = 0;
		if (strstr(shell->said, text))
			return true;
		struct pollfd wait = { .fd = shell->fd, .events = POLLIN };
		if (poll(&wait, 1, HANG_MS) != 1)
			fail_msg("waiting for %s after: %s", text, shell->said);
		ssize_t n = fd_read(shell->fd, shell->said + shell->len, sizeof shell->said - 1 - shell->len);
		if (n == -EIO)
			return false;
		if (n != -EAGAIN)
			assert_true(n > 0);
		for (ssize_t i = 0; i < n; i++, shell->len++)
			if (!shell->said[shell->len]) /* an old terminal's padding */
				shell->said[shell->len] = ' ';
	}
}

/* The command's words must not be in the echo of what is typed. */
static void shell_type(struct shell *shell, const char *text)
{
	shell->len = 0;
	assert_int_equal(fd_write_all(shell->fd, text, strlen(text)), 0);
}

/* What stands between [ and ] in the answer to an echo. */
static const char *shell_asked(struct shell *shell, const char *expression)
{
	static char answer[600];
	char line[700];
	snprintf(line, sizeof line, "printf '\\133%%s\\135\\n' \"%s\"\n", expression);
	shell_type(shell, line);
	assert_true(shell_says(shell, "]\r\n"));
	const char *start = strchr(shell->said, '['), *end = strstr(shell->said, "]\r\n");
	for (const char *at; (at = strchr(start + 1, '[')) && at < end;)
		start = at;
	snprintf(answer, sizeof answer, "%.*s", (int)(end - start - 1), start + 1);
	return answer;
}

static int shell_end(struct shell *shell)
{
	int status;
	fd_close(shell->fd);
	assert_int_equal(waitpid(shell->pid, &status, 0), shell->pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void test_login_shell(void **state)
{
	(void)state;
	struct shell shell;
	setenv("MURMESH_TEST_SECRET", "seen", 1);
	shell_start(&shell);
	assert_string_equal(shell_asked(&shell, "$TERM"), "vt100");
	assert_string_equal(shell_asked(&shell, "$HOME"), "/usr");
	assert_string_equal(shell_asked(&shell, "$USER"), "tester");
	assert_string_equal(shell_asked(&shell, "$0 $SHELL"), "-bash /bin/bash");
	assert_string_equal(shell_asked(&shell, "$PWD"), "/usr");
	assert_string_equal(shell_asked(&shell, "no$MURMESH_TEST_SECRET"), "no");
	assert_string_equal(shell_asked(&shell, "$(stty size)"), "37 101");
	assert_string_equal(shell_asked(&shell, "$(ls /proc/$$/fd | tr -d '\\n' | tr -d 3-9 | cut -c 1-3)"), "012");
	/* Before it prompts, readline reads the size and sets it again: one that is set in between is lost. */
	shell_type(&shell, "PS1=re''ady:\n");
	assert_true(shell_says(&shell, "ready:"));
	const struct pty_size larger = { 1000, 22 };
	assert_int_equal(pty_resize(shell.fd, &larger), 0);
	assert_string_equal(shell_asked(&shell, "$(stty size)"), "22 1000");
	shell_type(&shell, "exit 7\n");
	assert_false(shell_says(&shell, "never said"));
	assert_int_equal(shell_end(&shell), 7);
	unsetenv("MURMESH_TEST_SECRET");
}

static void test_controlling_terminal(void **state)
{
	(void)state;
	struct shell shell;
	shell_start(&shell);
	assert_int_equal(getsid(shell.pid), shell.pid);
	/* the interrupt key reaches the program in the foreground, and that alone */
	shell_type(&shell, "sh -c 'echo st\"\"arted; exec sleep 1000'\n");
	assert_true(shell_says(&shell, "started\r\n"));
	shell_type(&shell, "\003");
	shell_type(&shell, "echo $?-still\n");
	assert_true(shell_says(&shell, "130-still\r\n"));
	assert_true(shell_end(&shell) != 0);
}

/* Closing our end ends the shell and what runs in it. */
static void test_hang_up(void **state)
{
	(void)state;
	struct shell shell;
	char path[64];
	uint64_t pid;
	shell_start(&shell);
	shell_type(&shell, "sh -c 'echo pid-$$-; exec sleep 1000'\n");
	assert_true(shell_says(&shell, "-\r\n"));
	const char *said = shell.said;
	for (const char *next; (next = strstr(said, "pid-"));)
		said = next + 4;
	struct str rest, number = str_cut(str_from(said), '-', &rest);
	assert_int_equal(str_to_u64(number, INT32_MAX, &pid), 0);
	assert_true(shell_end(&shell) != 0);
	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	for (int state_of = 'S', fd; state_of != 'Z' && (fd = open(path, O_RDONLY | O_CLOEXEC)) >= 0; fd_close(fd)) {
		char text[512] = "";
		ssize_t n = read(fd, text, sizeof text - 1);
		const char *behind = n > 0 ? strrchr(text, ')') : NULL;
		state_of = behind ? behind[2] : 'Z';
	}
}

static void test_poor_logins(void **state)
{
	(void)state;
	const struct user_login homeless = { .name = "tester", .home = "/no/such/folder" },
	                        no_shell = { .shell = "/no/such/shell" };
	struct shell shell = { .fd = -1 };
	shell.pid = pty_start_shell(&homeless, &size, "vt100", &shell.fd);
	assert_true(shell.pid > 0);
	assert_string_equal(shell_asked(&shell, "$PWD $SHELL"), "/ /bin/sh");
	assert_true(shell_end(&shell) != 0);
	assert_int_equal(pty_start_shell(&no_shell, &size, "vt100", &shell.fd), -ENOENT);
}

static void test_sizes(void **state)
{
	(void)state;
	static const struct pty_size bad[] = { { 0, 24 }, { 80, 0 }, { 1001, 24 }, { 80, 1001 }, { UINT32_MAX, UINT32_MAX } };
	int fd = -1;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(pty_start_shell(&login, &bad[i], "vt100", &fd), -E_NUMBER);
	assert_int_equal(fd, -1);
}

static int start_and_end(void *ctx)
{
	int fd;
	(void)ctx;
	pid_t pid = pty_start_shell(&login, &size, "vt100", &fd);
	if (pid < 0)
		return pid;
	fd_close(fd);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return 0;
}

static void test_faults(void **state)
{
	(void)state;
	assert_true(test_each_fault(start_and_end, NULL) >= 10);
}

/* ---- processes of a session ---- */

static void test_session_killed(void **state)
{
	(void)state;
	struct shell shell;
	int status;
	shell_start(&shell);
	shell_type(&shell,
	           "trap '' HUP; nohup sleep 1000 >/dev/null 2>&1 & sleep 1000 & (sleep 1000 & sleep 1000) & echo re\"\"ady\n");
	assert_true(shell_says(&shell, "ready\r\n"));
	while (proc_signal_session(shell.pid, 0) < 6)
		;
	assert_true(proc_signal_session(shell.pid, SIGKILL) >= 6);
	siginfo_t info;
	assert_int_equal(waitid(P_PID, (id_t)shell.pid, &info, WEXITED | WNOWAIT), 0);
	while (proc_signal_session(shell.pid, 0) > 0)
		;
	assert_int_equal(waitpid(shell.pid, &status, 0), shell.pid);
	assert_int_equal(WTERMSIG(status), SIGKILL);
	fd_close(shell.fd);
}

static int signal_nobody(void *ctx)
{
	(void)ctx;
	return proc_signal_session(INT32_MAX, 0); /* no process has this number */
}

static void test_session_of_nobody(void **state)
{
	(void)state;
	assert_int_equal(signal_nobody(NULL), 0);
	fault_arm(1);
	assert_int_equal(signal_nobody(NULL), -E_NOT_FOUND);
	fault_arm(0);
}

/* ---- the own terminal ---- */

struct own {
	int ours, theirs;
	struct termios before;
	int end; /* how the child ends: a signal, or 0 */
};

static void own_open(struct own *own)
{
	own->ours = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(own->ours >= 0);
	assert_int_equal(unlockpt(own->ours), 0);
	own->theirs = ioctl(own->ours, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(own->theirs >= 0);
	assert_int_equal(tcgetattr(own->theirs, &own->before), 0);
}

static void assert_cooked(const struct own *own)
{
	struct termios now;
	assert_int_equal(tcgetattr(own->theirs, &now), 0);
	assert_int_equal(now.c_lflag, own->before.c_lflag);
	assert_int_equal(now.c_iflag, own->before.c_iflag);
	assert_int_equal(now.c_oflag, own->before.c_oflag);
}

static void own_close(struct own *own)
{
	fd_close(own->ours);
	fd_close(own->theirs);
}

static void test_raw(void **state)
{
	(void)state;
	struct own own;
	struct termios raw;
	int file = open("/dev/null", O_RDWR | O_CLOEXEC);
	own_open(&own);
	assert_int_equal(pty_raw(file), -ENOTTY);
	assert_int_equal(pty_raw(own.theirs), 0);
	assert_int_equal(pty_raw(own.theirs), 0);
	assert_int_equal(tcgetattr(own.theirs, &raw), 0);
	assert_false(raw.c_lflag & (ECHO | ICANON | ISIG));
	pty_cook();
	pty_cook();
	assert_cooked(&own);
	fd_close(file);
	own_close(&own);
}

static int end_raw(void *ctx)
{
	const struct own *own = ctx;
	if (pty_raw(own->theirs) < 0)
		return 1;
	if (own->end)
		raise(own->end);
	return 42;
}

/* However the process ends, but for SIGKILL. */
static void test_cooked_at_the_end(void **state)
{
	(void)state;
	static const int ends[] = { 0, SIGTERM, SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGALRM };
	for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
		struct own own = { .end = ends[i] };
		own_open(&own);
		assert_int_equal(test_in_child(end_raw, &own), ends[i] ? -1 : 42);
		assert_cooked(&own);
		own_close(&own);
	}
}

static void test_own_size(void **state)
{
	(void)state;
	struct own own;
	struct pty_size now;
	int file = open("/dev/null", O_RDWR | O_CLOEXEC);
	own_open(&own);
	assert_int_equal(pty_size(own.theirs, &now), 0); /* nobody has said one */
	assert_true(now.columns == 80 && now.rows == 24);
	assert_int_equal(pty_resize(own.ours, &size), 0);
	assert_int_equal(pty_size(own.theirs, &now), 0);
	assert_true(now.columns == 101 && now.rows == 37);
	const struct winsize giant = { .ws_col = 65535, .ws_row = 65535 };
	assert_int_equal(ioctl(own.ours, TIOCSWINSZ, &giant), 0);
	assert_int_equal(pty_size(own.theirs, &now), 0);
	assert_true(now.columns == PTY_SIDE_MAX && now.rows == PTY_SIDE_MAX);
	assert_int_equal(pty_size(file, &now), -ENOTTY);
	fd_close(file);
	own_close(&own);
}

static void test_reopened(void **state)
{
	(void)state;
	struct own own;
	char bytes[8];
	own_open(&own);
	int file = open("/dev/null", O_RDWR | O_CLOEXEC), fd = pty_reopen(own.theirs);
	assert_int_equal(pty_reopen(file), -ENOTTY);
	fd_close(file);
	assert_true(fd >= 0);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_false(fcntl(own.theirs, F_GETFL) & O_NONBLOCK);
	assert_int_equal(fd_write(fd, "same", 4), 4);
	assert_int_equal(fd_read(own.ours, bytes, sizeof bytes), 4);
	fd_close(fd);
	own_close(&own);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_login_shell),
		cmocka_unit_test(test_controlling_terminal),
		cmocka_unit_test(test_poor_logins),
		cmocka_unit_test(test_hang_up),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_session_killed),
		cmocka_unit_test(test_session_of_nobody),
		cmocka_unit_test(test_raw),
		cmocka_unit_test(test_cooked_at_the_end),
		cmocka_unit_test(test_own_size),
		cmocka_unit_test(test_reopened),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
