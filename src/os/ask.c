#include "os/ask.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "os/fd.h"

static const int ending[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
enum { ENDINGS = sizeof ending / sizeof *ending };

static volatile sig_atomic_t ended;

static void on_ending(int number)
{
	ended = number;
}

/* A line of any length is read to its end, so that its rest is no answer to the next question. */
static int line_read(char *out, size_t size)
{
	size_t len = 0;
	char c;
	for (;;) {
		ssize_t n = ended ? -1 : read(STDIN_FILENO, &c, 1);
		if (n < 0 && errno == EINTR && !ended)
			continue;
		if (n <= 0)
			return ended || n == 0 ? -E_CANCELLED : -errno;
		if (c == '\n')
			break;
		if (len < size)
			out[len] = c;
		len++;
	}
	if (len >= size)
		return -E_TOO_LONG;
	out[len] = 0;
	return 0;
}

bool ask_possible(void)
{
	return isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
}

int ask_line(const char *question, bool hidden, char *out, size_t size)
{
	struct sigaction before[ENDINGS], action = { .sa_handler = on_ending }; /* without SA_RESTART: read() shall end */
	struct termios shown, asking;
	bool terminal = tcgetattr(STDIN_FILENO, &shown) == 0;
	ended = 0;
	for (int i = 0; i < ENDINGS; i++)
		sigaction(ending[i], &action, &before[i]);
	if (terminal && hidden) {
		asking = shown;
		asking.c_lflag &= ~(tcflag_t)ECHO;
		asking.c_cc[VSUSP] = _POSIX_VDISABLE; /* else the shell gets a terminal without echo */
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &asking);
	}
	int err = fd_write_all(STDERR_FILENO, question, strlen(question));
	if (err == 0)
		err = line_read(out, size);
	if (err < 0)
		mem_wipe(out, size);
	if (terminal && hidden) {
		tcsetattr(STDIN_FILENO, TCSANOW, &shown);
		fd_write_all(STDERR_FILENO, "\n", 1); /* the one that was typed was not shown */
	}
	for (int i = 0; i < ENDINGS; i++)
		sigaction(ending[i], &before[i], NULL);
	return err;
}
