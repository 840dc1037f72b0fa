#include "cli/application.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "cli/logins.h"
#include "os/fd.h"
#include "os/file.h"
#include "os/proc.h"

enum { WORDS = 32, FILE_MAX = 64 << 10, LINE_MAX_SIZE = 4096 };

static const char known[] = "HTTP = xdg-open http://%L:%P/\n"
                            "HTTPS = xdg-open https://%L:%P/\n"
                            "RDP = xfreerdp /v:%L:%P /t:%N\n"
                            "PuTTY = putty -ssh %L -P %P\n"
                            "WinSCP = xdg-open sftp://%L:%P/\n";

/* ---- which ---- */

/* The command behind "NAME ="; "" without. */
static struct str command_find(struct str lines, const char *app)
{
	while (lines.len) {
		struct str command, line = str_trim(str_cut(lines, '\n', &lines));
		struct str name = str_trim(str_cut(line, '=', &command));
		if (line.len && line.ptr[0] != '#' && str_equal_nocase(name, str_from(app)))
			return str_trim(command);
	}
	return STR("");
}

/* Copies the command into out: from the user's own file when it has one. */
static int command_get(const char *app, struct buf *out)
{
	char path[4096];
	struct buf text;
	buf_init(&text, FILE_MAX);
	int err = config_path("applications", path, sizeof path);
	if (err == 0)
		err = file_read(path, &text);
	struct str command = err == 0 ? command_find(buf_str(&text), app) : STR("");
	if (err == -ENOENT || err == -E_NOT_FOUND)
		err = 0;
	if (err == 0)
		err = buf_append_str(out, command.len ? command : command_find(str_from(known), app));
	buf_done(&text);
	return err < 0 ? err : buf_len(out) ? 0 : -E_NOT_FOUND;
}

/* ---- its words ---- */

static void address_text(const struct mapping *mapping, char *out, size_t size)
{
	const char *bind = mapping->bind;
	bool any = !bind || strcmp(bind, MAP_BIND_ALL) == 0;
	bool v6 = !any && strchr(bind, ':');
	snprintf(out, size, v6 ? "[%s]" : "%s", any ? "127.0.0.1" : bind);
}

static int placeholder_append(struct buf *words, char letter, const struct mapping *mapping)
{
	char text[MAP_DEVICE_SIZE];
	switch (letter) {
	case 'L':
		address_text(mapping, text, sizeof text);
		break;
	case 'P':
		snprintf(text, sizeof text, "%u", mapping_port(mapping));
		break;
	case 'N':
		str_copy(str_from(mapping->spec.device), text, sizeof text);
		break;
	case '%':
		str_copy(STR("%"), text, sizeof text);
		break;
	default:
		return -E_USAGE;
	}
	return buf_append_str(words, str_from(text));
}

/* One word, with a NUL behind it; moves on in *command. */
static int word_take(struct str *command, struct buf *words, const struct mapping *mapping)
{
	bool quoted = false;
	int err = 0;
	for (; err == 0 && command->len && (quoted || command->ptr[0] != ' '); *command = str_skip(*command, 1)) {
		char c = command->ptr[0];
		if (c == '"')
			quoted = !quoted;
		else if (c == '%' && command->len > 1) {
			*command = str_skip(*command, 1);
			err = placeholder_append(words, command->ptr[0], mapping);
		} else
			err = buf_append_u8(words, (uint8_t)c);
	}
	*command = str_trim(*command);
	return err < 0 ? err : quoted ? -E_USAGE : buf_append_u8(words, 0);
}

static int words_make(struct str command, struct buf *words, const struct mapping *mapping, char *argv[WORDS + 1])
{
	size_t starts[WORDS], n = 0;
	while (command.len) {
		if (n == WORDS)
			return -E_LIMIT;
		starts[n++] = buf_len(words);
		int err = word_take(&command, words, mapping);
		if (err < 0)
			return err;
	}
	for (size_t i = 0; i < n; i++)
		argv[i] = (char *)buf_head(words) + starts[i];
	argv[n] = NULL;
	return 0;
}

/* ---- starting ---- */

static int program_find(const char *name, char *out, size_t size)
{
	struct str rest = str_from(getenv("PATH"));
	if (strchr(name, '/'))
		return str_copy(str_from(name), out, size);
	while (rest.len) {
		struct str folder = str_cut(rest, ':', &rest);
		int len = snprintf(out, size, "%.*s/%s", STR_ARG(folder), name);
		if (folder.len && (size_t)len < size && access(out, X_OK) == 0)
			return 0;
	}
	return -ENOENT;
}

/* In the background of this terminal; what it prints is no data of ours. */
static int start(char *argv[])
{
	char path[4096];
	int err = program_find(argv[0], path, sizeof path);
	int null = err < 0 ? -1 : open("/dev/null", O_RDONLY | O_CLOEXEC);
	const struct proc_spawn spawn = {
		.path = path, .argv = argv, .standard = { null, STDERR_FILENO, STDERR_FILENO }, .new_group = 1
	};
	if (err == 0)
		err = proc_spawn(&spawn);
	fd_close(null);
	return err;
}

int application_open(const struct mapping *mapping)
{
	const char *app = mapping->spec.app;
	char *argv[WORDS + 1];
	struct buf command, words;
	if (!app[0])
		return CLI_OK;
	buf_init(&command, LINE_MAX_SIZE);
	buf_init(&words, LINE_MAX_SIZE);
	int err = command_get(app, &command), code = CLI_OK;
	bool unknown = err == -E_NOT_FOUND;
	if (err == 0)
		err = words_make(buf_str(&command), &words, mapping, argv);
	if (err == 0)
		err = start(argv);
	if (err < 0)
		code = cli_fail_because(
		        err,
		        unknown ? "it is none of HTTP, HTTPS, RDP, PuTTY, WinSCP, and not in ~/.config/murmesh/applications" : NULL,
		        "write `NAME = PROGRAM ARGUMENT...` with %L, %P and %N into ~/.config/murmesh/applications",
		        "the application %s of %s cannot be opened", app, mapping->target);
	buf_done(&command);
	buf_done(&words);
	return code;
}
