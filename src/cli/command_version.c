#include "base/err.h"
#include "cli/cli.h"

static int run(const struct cli *cli)
{
	if (cli_format(cli) != CLI_JSON && cli_format(cli) != CLI_JSONL) {
		fprintf(cli->out, "murmesh " MURMESH_VERSION "\n");
		return CLI_OK;
	}
	int err = cli_json_line(cli, json_pack("{s:s}", "version", MURMESH_VERSION));
	return err ? cli_fail(err, "the version cannot be printed") : CLI_OK;
}

static const struct cli_example examples[] = {
	{ "murmesh version --json", "the version, for a program" },
	{ 0 },
};

const struct cli_command command_version = { "version", "show the version", "", NULL, examples, run, 0, 0 };
