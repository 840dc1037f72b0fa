#include "os/pty.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/err.h"
#include "base/str.h"
#include "os/call.h"
#include "os/fd.h"
#include "os/proc.h"
#include "os/user.h"

/* ---- shells ---- */

int pty_resize(int fd, const struct pty_size *size)
{
	if (size->columns < 1 || size->columns > PTY_SIDE_MAX || size->rows < 1 || size->rows > PTY_SIDE_MAX)
		return -E_NUMBER;
	const struct winsize window = { .ws_col = (unsigned short)size->columns, .ws_row = (unsigned short)size->rows };
	return OS_CALL(EIO, ioctl(fd, TIOCSWINSZ, &window));
}

/* Erasing a character in a line takes all its bytes away. */
static int speak_utf8(int fd)
{
	struct termios mode;
	int err = OS_CALL(EIO, tcgetattr(fd, &mode));
	if (err < 0)
		return err;
	mode.c_iflag |= IUTF8;
	return OS_CALL(EIO, tcsetattr(fd, TCSANOW, &mode));
}

/* Our end and the shell's. */
static int pty_open(const struct pty_size *size, int *ret_ours, int *ret_shells)
{
	int theirs = -1, ours = OS_CALL(EMFILE, posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
	if (ours < 0)
		return ours;
	int err = pty_resize(ours, size);
	if (err == 0)
		err = OS_CALL(EIO, unlockpt(ours));
	if (err == 0)
		err = theirs = OS_CALL(EMFILE, ioctl(ours, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
	if (err >= 0)
		err = speak_utf8(theirs);
	if (err == 0)
		err = fd_set_nonblocking(ours);
	if (err < 0) {
		fd_close(theirs);
		fd_close(ours);
		return err;
	}
	*ret_ours = ours;
	*ret_shells = theirs;
	return 0;
}

static pid_t shell_spawn(const struct user_login *login, const char *term, int terminal)
{
	char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", lang[] = "LANG=C.UTF-8";
	char kind[64], home[300], user[100], shell[300], name[300];
	char *environment[] = { kind, home, user, shell, path, lang, NULL }, *argv[] = { name, NULL };
	const char *program = login->shell[0] ? login->shell : "/bin/sh", *slash = strrchr(program, '/');
	snprintf(kind, sizeof kind, "TERM=%.50s", term);
	snprintf(home, sizeof home, "HOME=%s", login->home);
	snprintf(user, sizeof user, "USER=%s", login->name);
	snprintf(shell, sizeof shell, "SHELL=%s", program);
	snprintf(name, sizeof name, "-%s", slash ? slash + 1 : program); /* what makes it a login shell */
	const struct proc_spawn spawn = { .path = program,
		                          .argv = argv,
		                          .environment = environment,
		                          .directory = access(login->home, X_OK) == 0 ? login->home : "/",
		                          .standard = { terminal, terminal, terminal },
		                          .new_session = 1 };
	return proc_spawn(&spawn);
}

pid_t pty_start_shell(const struct user_login *login, const struct pty_size *size, const char *term, int *ret_fd)
{
	int ours = -1, theirs = -1, err = pty_open(size, &ours, &theirs);
	if (err < 0)
		return err;
	pid_t pid = shell_spawn(login, term, theirs);
	fd_close(theirs);
	if (pid < 0)
		fd_close(ours);
	else
		*ret_fd = ours;
	return pid;
}

/* ---- the user's own terminal ---- */

static struct termios cooked;
static volatile sig_atomic_t raw_fd = -1;

void pty_cook(void)
{
	int fd = raw_fd;
	raw_fd = -1;
	if (fd >= 0)
		tcsetattr(fd, TCSANOW, &cooked);
}

/* Its own end was taken by SA_RESETHAND: the process ends of the same signal. */
static void on_deadly(int number)
{
	pty_cook();
	raise(number);
}

/* What would end this process without a word. */
static void cook_at_end(void)
{
	static const int deadly[] = { SIGHUP,  SIGINT,  SIGQUIT, SIGILL,  SIGTRAP, SIGABRT, SIGBUS,  SIGFPE,
		                      SIGUSR1, SIGSEGV, SIGUSR2, SIGALRM, SIGTERM, SIGXCPU, SIGXFSZ, SIGSYS };
	static bool done;
	const struct sigaction action = { .sa_handler = on_deadly, .sa_flags = (int)(SA_RESETHAND | SA_NODEFER) };
	struct sigaction before;
	for (size_t i = 0; i < sizeof deadly / sizeof *deadly && !done; i++)
		if (sigaction(deadly[i], NULL, &before) == 0 && !(before.sa_flags & SA_SIGINFO) && before.sa_handler == SIG_DFL)
			sigaction(deadly[i], &action, NULL);
	if (!done)
		atexit(pty_cook);
	done = true;
}

int pty_raw(int fd)
{
	struct termios mode;
	if (raw_fd >= 0)
		return 0;
	int err = OS_CALL(ENOTTY, tcgetattr(fd, &mode));
	if (err < 0)
		return err;
	cook_at_end();
	cooked = mode;
	cfmakeraw(&mode);
	raw_fd = fd;
	err = OS_CALL(EIO, tcsetattr(fd, TCSANOW, &mode));
	if (err < 0)
		raw_fd = -1;
	return err;
}

int pty_size(int fd, struct pty_size *ret)
{
	struct winsize window;
	int err = OS_CALL(ENOTTY, ioctl(fd, TIOCGWINSZ, &window));
	if (err < 0)
		return err;
	*ret = (struct pty_size){ window.ws_col ? window.ws_col : 80, window.ws_row ? window.ws_row : 24 };
	if (ret->columns > PTY_SIDE_MAX)
		ret->columns = PTY_SIDE_MAX;
	if (ret->rows > PTY_SIDE_MAX)
		ret->rows = PTY_SIDE_MAX;
	return 0;
}

int pty_reopen(int fd)
{
	const int flags = O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
	char path[64];
	if (!isatty(fd))
		return -ENOTTY; /* a file would be written from its start */
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	int again = OS_CALL(EIO, open(path, flags));
	return again < 0 ? OS_CALL(EIO, open("/dev/tty", flags)) : again; /* somebody else's, as behind su */
}
