#include "base/err.h"
#include "cli/devices.h"

#define TAGS_MAX (sizeof(((murmesh_DeviceChange *)0)->add_tags) / sizeof(*((murmesh_DeviceChange *)0)->add_tags))

static int tag_take(murmesh_DeviceChange *message, const char *word)
{
	bool add = word[0] == '+';
	pb_size_t *count = add ? &message->add_tags_count : &message->remove_tags_count;
	char(*tags)[sizeof *message->add_tags] = add ? message->add_tags : message->remove_tags;
	if ((!add && word[0] != '-') || !word[1])
		return -E_USAGE;
	if (*count == TAGS_MAX)
		return -E_LIMIT;
	return str_copy(str_from(word + 1), tags[(*count)++], sizeof *tags);
}

static int run(const struct cli *cli)
{
	struct devices_change change = { .done = "tagged" };
	for (size_t i = 1; i < cli->n_operands; i++) {
		int err = tag_take(&change.message, cli->operands[i]);
		if (err < 0)
			return cli_fail_because(err, NULL, err == -E_USAGE ? "write +web to add a tag, -web to take it away" : NULL,
			                        "the tag %s cannot be used", cli->operands[i]);
	}
	return devices_change(cli, cli->operands[0], &change);
}

static const struct cli_example examples[] = {
	{ "murmesh tag web02 +web -old", "adds web, takes old away" },
	{ "murmesh tag 'os:debian' +apt", "all devices of a query" },
	{ 0 },
};

const struct cli_command command_tag = {
	.name = "tag",
	.summary = "add tags to devices, take tags away",
	.usage = "QUERY +TAG|-TAG...",
	.examples = examples,
	.run = run,
	.operands_least = 2,
	.operands_most = 33,
	.dashed_operands = true,
};
