#include "base/err.h"
#include "cli/session.h"

static const struct cli_column columns[] = {
	{ "id", CLI_COLUMN_VALUE, true },        { "name", CLI_COLUMN_VALUE, false },
	{ "full_name", CLI_COLUMN_VALUE, true }, { "online", CLI_COLUMN_VALUE, false },
	{ "os", CLI_COLUMN_VALUE, false },       { "arch", CLI_COLUMN_VALUE, false },
	{ "parent", CLI_COLUMN_VALUE, false },   { "version", CLI_COLUMN_VALUE, false },
	{ "last_seen", CLI_COLUMN_TIME, false }, { 0 },
};

static void on_device(void *ctx, const void *message)
{
	const murmesh_Device *device = message;
	struct id id;
	char id_text[ID_TEXT_SIZE];
	memcpy(id.bytes, device->id, sizeof id.bytes);
	id_format(&id, id_text);
	cli_table_row(ctx, json_pack("{s:s, s:o, s:o, s:b, s:o, s:o, s:o, s:o, s:o}", "id", id_text, "name",
	                             cli_json_text(str_from(device->name)), "full_name", cli_json_text(str_from(device->full_name)),
	                             "online", device->online, "os", cli_json_text(str_from(device->os)), "arch",
	                             cli_json_text(str_from(device->arch)), "parent", cli_json_text(str_from(device->parent)),
	                             "version", cli_json_text(str_from(device->version)), "last_seen",
	                             device->last_seen ? json_integer(device->last_seen) : json_null()));
}

static int run(const struct cli *cli)
{
	murmesh_ListRequest request = murmesh_ListRequest_init_zero;
	struct session session;
	struct cli_table table;
	if (cli->n_operands && str_copy(str_from(cli->operands[0]), request.selector, sizeof request.selector) < 0)
		return cli_fail(-E_TOO_LONG, "the selector cannot be used");
	int code = session_begin(&session, cli);
	if (code)
		return code;
	cli_table_begin(&table, cli, columns);
	int err = session_stream(&session, &rpc_Fleet_ListDevices, &request, on_device, &table);
	size_t n = table.n_rows;
	int ended = cli_table_end(&table);
	if (err == 0)
		err = ended;
	if (err < 0)
		code = session_fail(&session, err, "the devices cannot be listed");
	else if (!n)
		cli_note(cli, "no devices yet: `murmesh key new` prints the line that joins one");
	session_close(&session);
	return code;
}

static const struct cli_example examples[] = {
	{ "murmesh ls", "all devices" },
	{ "murmesh ls web01 --json", "one device, for a script" },
	{ 0 },
};

const struct cli_command command_ls = {
	.name = "ls",
	.summary = "list the devices of the mesh",
	.usage = "[DEVICE]",
	.examples = examples,
	.run = run,
	.operands_most = 1,
};
