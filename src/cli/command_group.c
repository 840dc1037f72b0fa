#include "base/err.h"
#include "cli/devices.h"

static int run(const struct cli *cli)
{
	struct devices_change change = { .message.set_group = true, .done = "moved" };
	const char *group = cli->operands[1];
	bool none = str_is(str_from(group), "-");
	if (!*group || (!none && str_copy(str_from(group), change.message.group, sizeof change.message.group) < 0))
		return cli_fail(-E_NAME, "the group %s cannot be used", group);
	return devices_change(cli, cli->operands[0], &change);
}

static const struct cli_example examples[] = {
	{ "murmesh group web02 shop", "one device; rights are given by group" },
	{ "murmesh group 'name:lab*' -", "out of their groups" },
	{ 0 },
};

const struct cli_command command_group = {
	.name = "group",
	.summary = "put devices into a group",
	.usage = "QUERY GROUP|-",
	.examples = examples,
	.run = run,
	.operands_least = 2,
	.operands_most = 2,
};
