#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "ca/join_line.h"
#include "cli/cli.h"
#include "cli/program.h"
#include "os/fd.h"
#include "os/file.h"
#include "os/proc.h"

static int line_read(const struct cli *cli, struct buf *out)
{
	const char *operand = cli->operands[0], *path = cli_text(cli, "file");
	uint8_t *room;
	ssize_t n = 0;
	if (path)
		return file_read(path, out);
	if (operand && !str_is(str_from(operand), "-"))
		return buf_append_str(out, str_from(operand));
	while (buf_reserve(out, 64, &room) == 0 && (n = fd_read(STDIN_FILENO, room, 64)) > 0)
		buf_commit(out, (size_t)n);
	return n < 0 ? (int)n : 0;
}

static int line_check(struct buf *text, char line[JOIN_LINE_SIZE])
{
	struct join_line parsed;
	struct str rest, first = str_trim(str_cut(buf_str(text), '\n', &rest));
	if (first.len && first.ptr[first.len - 1] == '\r')
		first.len--;
	int err = join_line_parse(first, &parsed);
	return err < 0 ? err : str_copy(first, line, JOIN_LINE_SIZE);
}

/* The line in the arguments: others could see it.  The agent warns when it has served: a refusal has three lines and no more. */
static bool line_shown(const struct cli *cli)
{
	return cli->n_operands && !cli_given(cli, "file") && !str_is(str_from(cli->operands[0]), "-");
}

static int become_agent(const struct cli *cli, const char *line)
{
	char path[4096], directory[4096], fd_text[16];
	size_t n = 5;
	char *argv[10] = { path, (char *)(uintptr_t) "--dir", directory, (char *)(uintptr_t) "--join-fd", fd_text };
	int err = program_path("murmesh-agent", path, sizeof path);
	if (err < 0)
		return cli_fail_because(err, "murmesh-agent does not stand beside this program", NULL,
		                        "the agent cannot be started");
	err = cli_directory(cli, directory, sizeof directory);
	int fd = err < 0 ? err : program_secret(line);
	if (fd >= 0)
		err = fd_set_inherit(fd, true);
	snprintf(fd_text, sizeof fd_text, "%d", fd);
	if (cli_text(cli, "name")) {
		argv[n++] = (char *)(uintptr_t) "--name";
		argv[n++] = (char *)(uintptr_t)cli_text(cli, "name");
	}
	if (line_shown(cli))
		argv[n++] = (char *)(uintptr_t) "--line-shown";
	if (fd >= 0 && err == 0)
		err = proc_replace(path, argv);
	return cli_fail(fd < 0 ? fd : err, "the agent cannot be started");
}

static int run(const struct cli *cli)
{
	char line[JOIN_LINE_SIZE];
	struct buf text;
	buf_init(&text, 4096);
	int err = line_read(cli, &text);
	if (err == 0)
		err = line_check(&text, line);
	buf_wipe(&text);
	if (err < 0)
		return cli_fail(err == -E_TOO_LONG ? -E_KEY_LINE : err, "this machine was not enrolled");
	return become_agent(cli, line);
}

static const struct cli_option options[] = {
	{ "name", 0, "NAME", CLI_TEXT, "what this machine is called (else its host name)", NULL, 0 },
	{ "file", 0, "FILE", CLI_FILE, "read the line from this file", NULL, 0 },
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "murmesh join 192.0.2.7:8443#MM1-...-...", "enrol this machine and run its agent in the foreground" },
	{ "murmesh join --file line.txt --name web02", "the line from a file; - reads standard input" },
	{ 0 },
};

const struct cli_command command_join = {
	.name = "join",
	.summary = "enrol this machine and run its agent",
	.usage = "[LINE|-]",
	.options = options,
	.examples = examples,
	.run = run,
	.operands_most = 1,
};
