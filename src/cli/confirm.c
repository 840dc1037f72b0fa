#include "base/err.h"
#include "cli/cli.h"
#include "os/ask.h"

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
