/* Questions on a real pseudo terminal: a child asks, this program types and watches. */
#include <errno.h>
#include <pty.h>
#include <signal.h>
#include <termios.h>

#include "base/err.h"
#include "base/test.h"
#include "os/ask.h"

struct terminal {
	int master;
	pid_t child;
	char seen[4096];
	size_t len;
};

/* What the child does: asks twice, and shows the answers. */
static void child_main(bool hidden)
{
	char first[8], second[8];
	if (!ask_possible())
		exit(90);
	int err = ask_line("first? ", hidden, first, sizeof first);
	printf("err=%d <%s>\n", err, err < 0 ? "" : first);
	for (size_t i = 0; err < 0 && i < sizeof first; i++)
		if (first[i])
			exit(91); /* left something behind */
	if (err == -E_CANCELLED)
		exit(7);
	err = ask_line("second? ", false, second, sizeof second);
	printf("err=%d <%s>\n", err, err < 0 ? "" : second);
	exit(0);
}

static struct terminal terminal_open(bool hidden)
{
	struct terminal terminal = { .len = 0 };
	fflush(NULL);
	terminal.child = forkpty(&terminal.master, NULL, NULL, NULL);
	assert_true(terminal.child >= 0);
	if (terminal.child == 0)
		child_main(hidden);
	return terminal;
}

/* Reads until the text was shown, or all that there is (text NULL). */
static void wait_for(struct terminal *terminal, const char *text)
{
	while (!text || !strstr(terminal->seen, text)) {
		ssize_t n = read(terminal->master, terminal->seen + terminal->len, sizeof terminal->seen - 1 - terminal->len);
		if (n <= 0) {
			assert_null(text);
			return;
		}
		terminal->len += (size_t)n;
		terminal->seen[terminal->len] = 0;
	}
}

static void type(const struct terminal *terminal, const char *text)
{
	assert_int_equal(write(terminal->master, text, strlen(text)), strlen(text));
}

static int terminal_end(struct terminal *terminal)
{
	int status;
	wait_for(terminal, NULL);
	assert_int_equal(waitpid(terminal->child, &status, 0), terminal->child);
	close(terminal->master);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static bool echoes(const struct terminal *terminal)
{
	struct termios now;
	assert_int_equal(tcgetattr(terminal->master, &now), 0);
	return now.c_lflag & ECHO;
}

static void test_shown(void **state)
{
	struct terminal terminal = terminal_open(false);
	(void)state;
	wait_for(&terminal, "first? ");
	type(&terminal, "anna\n");
	wait_for(&terminal, "second? ");
	type(&terminal, "\n");
	assert_int_equal(terminal_end(&terminal), 0);
	assert_non_null(strstr(terminal.seen, "first? anna"));
	assert_non_null(strstr(terminal.seen, "err=0 <anna>"));
	assert_non_null(strstr(terminal.seen, "err=0 <>"));
}

static void test_hidden(void **state)
{
	struct terminal terminal = terminal_open(true);
	(void)state;
	wait_for(&terminal, "first? ");
	assert_false(echoes(&terminal));
	type(&terminal, "secret\n");
	wait_for(&terminal, "second? ");
	assert_true(echoes(&terminal));
	assert_null(strstr(terminal.seen, "first? secret"));
	type(&terminal, "x\n");
	assert_int_equal(terminal_end(&terminal), 0);
	assert_non_null(strstr(terminal.seen, "err=0 <secret>"));
}

/* The rest of a line that is too long is no answer to the next question. */
static void test_too_long(void **state)
{
	struct terminal terminal = terminal_open(true);
	(void)state;
	wait_for(&terminal, "first? ");
	type(&terminal, "12345678 and more\n");
	wait_for(&terminal, "second? ");
	type(&terminal, "1234567\n");
	assert_int_equal(terminal_end(&terminal), 0);
	char wanted[32];
	snprintf(wanted, sizeof wanted, "err=%d <>", -E_TOO_LONG);
	assert_non_null(strstr(terminal.seen, wanted));
	assert_non_null(strstr(terminal.seen, "err=0 <1234567>"));
}

static void test_interrupted(void **state)
{
	(void)state;
	static const char *const keys[] = { "\003", "\034", "\004" }; /* interrupt, quit, end of file */
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
		struct terminal terminal = terminal_open(true);
		wait_for(&terminal, "first? ");
		if (i < 2)
			type(&terminal, "half");
		type(&terminal, keys[i]);
		assert_int_equal(terminal_end(&terminal), 7);
		if (i == 0) {
			struct terminal other = terminal_open(true);
			wait_for(&other, "first? ");
			assert_int_equal(kill(other.child, SIGTERM), 0);
			wait_for(&other, "err=");
			assert_true(echoes(&other));
			assert_int_equal(terminal_end(&other), 7);
		}
	}
}

static int no_terminal(void *ctx)
{
	(void)ctx;
	close(0);
	return ask_possible();
}

static void test_no_terminal(void **state)
{
	(void)state;
	assert_int_equal(test_in_child(no_terminal, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shown),       cmocka_unit_test(test_hidden),      cmocka_unit_test(test_too_long),
		cmocka_unit_test(test_interrupted), cmocka_unit_test(test_no_terminal),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
