#include "base/err.h"
#include "cli/cli.h"

static const struct cli_column columns[] = {
	{ "code" },
	{ "text" },
	{ "remedy" },
	{ 0 },
};

static void row_add(struct cli_table *table, int err)
{
	cli_table_row(table, json_pack("{s:s, s:s, s:s}", "code", err_name(err), "text", err_text(err), "remedy", err_try(err)));
}

static int run(const struct cli *cli)
{
	struct cli_table table;
	int err = cli->n_operands ? err_from_name(cli->operands[0]) : 0;
	if (cli->n_operands && !err)
		return cli_fail_because(-E_NOT_FOUND, "no error has this code", "`murmesh explain` lists all codes",
		                        "cannot explain \"%s\"", cli->operands[0]);
	if (err && cli_format(cli) == CLI_TERMINAL) {
		fprintf(cli->out, "%s: %s\ntry:   %s\n", err_name(err), err_text(err), err_try(err));
		return CLI_OK;
	}
	cli_table_begin(&table, cli, columns);
	if (err)
		row_add(&table, err);
	else
		while ((err = err_next(err)))
			row_add(&table, err);
	err = cli_table_end(&table);
	return err ? cli_fail(err, "the list of codes cannot be printed") : CLI_OK;
}

static const struct cli_example examples[] = {
	{ "murmesh explain E1029", "what this code means and what to do" },
	{ "murmesh explain --json", "all codes" },
	{ 0 },
};

const struct cli_command command_explain = {
	"explain", "say what an error code means and what to do", "[CODE]", NULL, examples, run, 0, 1
};
