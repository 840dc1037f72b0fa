/* murmesh: the command line program. */
#include <errno.h>
#include <unistd.h>

#include "base/err.h"
#include "cli/cli.h"
#include "os/fd.h"
#include "os/log.h"
#include "os/proc.h"

static int run(const struct cli *cli)
{
	if (cli_flag(cli, "version"))
		return cli_command_find("version")->run(cli);
	if (cli->command && cli_flag(cli, "help"))
		cli_help_command(cli->out, cli->command);
	else if (cli_flag(cli, "help"))
		cli_help_overview(cli->out);
	else if (cli->command)
		return cli->command->run(cli);
	else {
		cli_help_overview(stderr);
		return CLI_USAGE;
	}
	return CLI_OK;
}

int main(int argc, char **argv)
{
	struct cli cli;
	struct cli_problem problem;
	fd_standard_open();
	log_init("murmesh");
	proc_harden(); /* a user's key and join keys pass through here: none may stay behind in a core file */
	if (cli_parse(&cli, argc, argv, &problem) < 0)
		return cli_fail_because(-E_USAGE, NULL, *problem.remedy ? problem.remedy : NULL, "%s", problem.what);
	cli.out = stdout;
	cli.terminal = isatty(STDOUT_FILENO);
	int code = run(&cli);
	if (fflush(stdout) != 0 || ferror(stdout))
		return cli_fail(errno ? -errno : -EIO, "the output cannot be written");
	return code;
}
