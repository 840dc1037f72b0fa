#include "cli/devices.h"

static int run(const struct cli *cli)
{
	struct devices_change change = { .message.retire = true, .done = "out of the mesh", .question = "take out of the mesh" };
	return devices_change(cli, cli->operands[0], &change);
}

static const struct cli_option options[] = {
	{ "yes", 'y', NULL, CLI_FLAG, "do not ask", NULL, 0 },
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "murmesh delete web02", "one device; asks first" },
	{ "murmesh delete 'group:lab seen:>30d' --yes", "for a script" },
	{ 0 },
};

const struct cli_command command_delete = {
	.name = "delete",
	.summary = "take devices out of the mesh",
	.usage = "QUERY",
	.options = options,
	.examples = examples,
	.run = run,
	.operands_least = 1,
	.operands_most = 1,
};
