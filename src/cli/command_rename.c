#include "base/err.h"
#include "cli/devices.h"

static int run(const struct cli *cli)
{
	struct devices_change change = { .done = "renamed" };
	if (devices_is_query(str_from(cli->operands[0])))
		return cli_fail(-E_NAME, "the device %s cannot be renamed", cli->operands[0]);
	if (str_copy(str_from(cli->operands[1]), change.message.name, sizeof change.message.name) < 0 || !change.message.name[0])
		return cli_fail(-E_NAME, "the device cannot be named %s", cli->operands[1]);
	return devices_change(cli, cli->operands[0], &change);
}

static const struct cli_example examples[] = {
	{ "murmesh rename web02 shop", "its full name changes too: web02-7 is then shop-7" },
	{ 0 },
};

const struct cli_command command_rename = {
	.name = "rename",
	.summary = "give a device another name",
	.usage = "DEVICE NAME",
	.examples = examples,
	.run = run,
	.operands_least = 2,
	.operands_most = 2,
};
