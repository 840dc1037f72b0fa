#include "base/err.h"
#include "cli/cli.h"

static int unknown(const char *name)
{
	const char *nearest = cli_command_nearest(name);
	char remedy[128] = "see `murmesh help` for the commands";
	if (nearest)
		snprintf(remedy, sizeof remedy, "did you mean `murmesh help %s`?", nearest);
	return cli_fail_because(-E_NOT_FOUND, "there is no command of this name", remedy, "no help for \"%s\"", name);
}

static int run(const struct cli *cli)
{
	const struct cli_command *command = cli->n_operands ? cli_command_find(cli->operands[0]) : NULL;
	if (cli->n_operands && !command)
		return unknown(cli->operands[0]);
	if (cli_flag(cli, "reference"))
		cli_manual_markdown(cli->out);
	else if (cli_flag(cli, "man"))
		cli_manual_troff(cli->out);
	else if (command)
		cli_help_command(cli->out, command);
	else
		cli_help_overview(cli->out);
	return CLI_OK;
}

static const struct cli_option options[] = {
	{ "reference", 0, NULL, CLI_FLAG, "print the reference of all commands as Markdown" },
	{ "man", 0, NULL, CLI_FLAG, "print the manual page, for man(1)" },
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "murmesh help", "the list of commands" },
	{ "murmesh help explain", "what one command does, its options, and examples" },
	{ "murmesh help --man > murmesh.1", "write the manual page" },
	{ 0 },
};

const struct cli_command command_help = { "help", "show what a command does", "[COMMAND]", options, examples, run, 0, 1 };
