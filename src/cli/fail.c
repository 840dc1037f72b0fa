#include <errno.h>
#include <stdarg.h>
#include <unistd.h>

#include "base/err.h"
#include "base/utf8.h"
#include "cli/cli.h"

enum { LINE_SIZE = 1024 };

enum cli_exit cli_exit_code(int err)
{
	switch (err < 0 ? -err : err) {
	case 0:
		return CLI_OK;
	case E_USAGE:
	case E_NUMBER:
	case E_DURATION:
	case E_MAP_SPEC:
	case E_KEY_LINE:
	case E_QUERY:
		return CLI_USAGE;
	case E_NOT_FOUND:
	case E_AMBIGUOUS:
	case ENOENT:
		return CLI_NOT_FOUND;
	case E_DENIED:
	case E_GRANT:
	case E_GRANT_EXPIRED:
	case E_REVOKED:
	case E_KEY_UNKNOWN:
	case E_KEY_USED:
	case E_KEY_EXPIRED:
	case E_KEY_PROOF:
	case E_SESSION:
	case E_LOGIN:
	case E_LOGIN_DELAY:
	case E_CODE_WANTED:
	case E_NOT_PRIVATE:
	case E_WRONG_PIN:
	case E_USER_SIGNATURE:
	case E_SECOND_SIGNATURE:
	case E_NOT_AS_ASKED:
	case EACCES:
	case EPERM:
		return CLI_NOT_PERMITTED;
	case E_UNREACHABLE:
	case E_NO_SERVER:
	case ECONNREFUSED:
	case EHOSTUNREACH:
	case ENETUNREACH:
		return CLI_UNREACHABLE;
	case E_TIMEOUT:
	case E_TARGET_TIMEOUT:
	case ETIMEDOUT:
		return CLI_TIMEOUT;
	case E_SOME_FAILED:
		return CLI_SOME_FAILED;
	case E_CANCELLED:
	case EINTR:
		return CLI_INTERRUPTED;
	default:
		return CLI_FAILED;
	}
}

static bool colours_wanted(void)
{
	const char *no_color = getenv("NO_COLOR"), *terminal = getenv("TERM");
	return isatty(STDERR_FILENO) && !(no_color && *no_color) && !(terminal && strcmp(terminal, "dumb") == 0);
}

__attribute__((format(printf, 4, 0))) static int fail(int err, const char *why, const char *remedy, const char *format,
                                                      va_list arguments)
{
	char what[LINE_SIZE], line[LINE_SIZE];
	bool colours = colours_wanted();
	if (!why)
		why = err_text(err);
	if (!remedy)
		remedy = err_try(err);
	if (!remedy)
		remedy = "run it again with MURMESH_LOG=debug to see more; `murmesh doctor` checks this machine";
	vsnprintf(what, sizeof what, format, arguments);
	fprintf(stderr, "%serror:%s %s\n", colours ? "\033[1;31m" : "", colours ? "\033[0m" : "",
	        utf8_clean(str_from(what), line, sizeof line));
	fprintf(stderr, "why:   %s (%s)\n", utf8_clean(str_from(why), line, sizeof line), err_name(err));
	fprintf(stderr, "try:   %s\n", utf8_clean(str_from(remedy), line, sizeof line));
	return cli_exit_code(err);
}

int cli_fail(int err, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	int code = fail(err, NULL, NULL, format, arguments);
	va_end(arguments);
	return code;
}

int cli_fail_because(int err, const char *why, const char *remedy, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	int code = fail(err, why, remedy, format, arguments);
	va_end(arguments);
	return code;
}

void cli_note(const struct cli *cli, const char *format, ...)
{
	char text[LINE_SIZE], line[LINE_SIZE];
	va_list arguments;
	if (cli_flag(cli, "quiet"))
		return;
	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	fprintf(stderr, "%s\n", utf8_clean(str_from(text), line, sizeof line));
}
