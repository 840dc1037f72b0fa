#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "cli/cli.h"
#include "os/ask.h"
#include "os/fd.h"

int cli_confirm(const struct cli *cli, const char *question, const char *look)
{
	char answer[8];
	if (cli_flag(cli, "yes"))
		return CLI_OK;
	if (!ask_possible())
		return cli_fail_because(-E_USAGE, "there is no terminal to ask at", look, "%s is not done unasked",
		                        cli->command->name);
	int err = ask_line(question, false, answer, sizeof answer);
	bool yes = err == 0 && (str_equal_nocase(str_from(answer), STR("y")) || str_equal_nocase(str_from(answer), STR("yes")));
	if (err == -E_TOO_LONG || (err == 0 && !yes))
		err = -E_CANCELLED;
	return err < 0 ? cli_fail_because(err, "the answer was not yes", NULL, "nothing was changed") : CLI_OK;
}

int cli_secret_read(const char *path, struct buf *out)
{
	uint8_t *room;
	ssize_t n = 0;
	bool standard = str_is(str_from(path), "-");
	int fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY); /* also a pipe of the shell's <(...) */
	if (fd < 0)
		return -errno;
	int err = 0;
	while (err == 0 && (err = buf_reserve(out, 64, &room)) == 0 && (n = fd_read(fd, room, 64)) > 0)
		buf_commit(out, (size_t)n);
	if (!standard)
		fd_close(fd);
	return n < 0 ? (int)n : err;
}
