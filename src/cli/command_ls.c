#include "base/err.h"
#include "cli/devices.h"

static int run(const struct cli *cli)
{
	murmesh_ListRequest request = murmesh_ListRequest_init_zero;
	struct session session;
	struct cli_table table;
	if (cli->n_operands && str_copy(str_from(cli->operands[0]), request.selector, sizeof request.selector) < 0)
		return cli_fail(-E_TOO_LONG, "the query cannot be used");
	int code = session_begin(&session, cli);
	if (code)
		return code;
	cli_table_begin(&table, cli, device_columns);
	int err = session_stream(&session, &rpc_Fleet_ListDevices, &request, device_row, &table);
	size_t n = table.n_rows;
	int ended = cli_table_end(&table);
	if (err == 0)
		err = ended;
	if (err < 0)
		code = session_fail(&session, err, "the devices cannot be listed");
	else if (!n)
		cli_note(cli, cli->n_operands ? "no device matches"
		                              : "no devices yet: `murmesh key new` prints the line that joins one");
	session_close(&session);
	return code;
}

static const struct cli_example examples[] = {
	{ "murmesh ls", "all devices" },
	{ "murmesh ls web01 --json", "one device, for a script" },
	{ "murmesh ls 'tag:web and not os:alpine'", "those of a query" },
	{ "murmesh ls 'online:no seen:>7d'", "those that nobody has seen for a week" },
	{ 0 },
};

const struct cli_command command_ls = {
	.name = "ls",
	.summary = "list the devices of the mesh",
	.usage = "[QUERY]",
	.examples = examples,
	.run = run,
	.operands_most = 1,
};
