#include "cli/program.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "cli/cli.h"
#include "os/fd.h"
#include "os/file.h"
#include "os/proc.h"

int program_path(const char *name, char *out, size_t size)
{
	char self[4096], folder[4096];
	struct str file;
	int err = proc_self_path(self, sizeof self);
	if (err == 0)
		err = str_copy(str_cut_last(str_from(self), '/', &file), folder, sizeof folder);
	if (err == 0)
		err = file_path(out, size, folder, name);
	return err < 0 ? err : file_exists(out) ? 0 : -E_NOT_FOUND;
}

void program_command(char *out, size_t size)
{
	struct str file, folder, rest = str_from(getenv("PATH"));
	if (proc_self_path(out, size) < 0) {
		str_copy(STR("murmesh"), out, size);
		return;
	}
	folder = str_cut_last(str_from(out), '/', &file);
	while (rest.len)
		if (str_equal(str_cut(rest, ':', &rest), folder)) {
			str_copy(STR("murmesh"), out, size);
			return;
		}
}

/* One word for a shell. */
static int word_append(struct buf *line, const char *word)
{
	bool plain = *word && strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/.:_-") == strlen(word);
	int err = strchr(word, '\n') ? -E_NAME : 0;
	if (err == 0 && buf_len(line))
		err = buf_append_u8(line, ' ');
	if (err == 0 && plain)
		return buf_append_str(line, str_from(word));
	for (err = err ? err : buf_append_u8(line, '\''); err == 0 && *word; word++)
		err = *word == '\'' ? buf_append_str(line, STR("'\\''")) : buf_append_u8(line, (uint8_t)*word);
	return err ? err : buf_append_u8(line, '\'');
}

static int server_append(struct buf *line, const struct cli *cli)
{
	char path[PATH_MAX];
	const char *server = cli_text(cli, "server"), *directory = cli_directory_named(cli);
	if (!server && !directory)
		return 0;
	if (!server && !realpath(directory, path))
		return -errno;
	int err = word_append(line, server ? "--server" : "--dir");
	return err < 0 ? err : word_append(line, server ? server : path);
}

int program_command_line(const struct cli *cli, char *out, size_t size)
{
	struct buf line;
	char program[4096];
	buf_init(&line, size - 1);
	program_command(program, sizeof program);
	int err = word_append(&line, program);
	if (err == 0)
		err = server_append(&line, cli);
	if (err == 0)
		err = str_copy(buf_str(&line), out, size);
	buf_done(&line);
	return err;
}

int program_secret(const char *text)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	int err = fd_write_all(ends[1], text, strlen(text));
	fd_close(ends[1]);
	if (err < 0)
		fd_close(ends[0]);
	return err < 0 ? err : ends[0];
}
