/* `murmesh maps`: open tunnels of all users, as far as one may see them. */
#include "base/encode.h"
#include "base/err.h"
#include "cli/session.h"

static const struct cli_column columns[] = {
	{ "id" },
	{ "user" },
	{ "device", CLI_COLUMN_VALUE, true },
	{ "full_name" },
	{ "target" },
	{ "sent", CLI_COLUMN_NUMBER },
	{ "received", CLI_COLUMN_NUMBER },
	{ "path" },
	{ "since", CLI_COLUMN_TIME },
	{ "ended", CLI_COLUMN_TIME },
	{ "why" },
	{ "error", CLI_COLUMN_VALUE, true },
	{ 0 },
};

static json_t *path_json(const murmesh_Map *map)
{
	json_t *path = json_array();
	for (pb_size_t i = 0; i < map->path_count; i++)
		json_array_append_new(path, cli_json_text(str_from(map->path[i])));
	return path;
}

static json_t *map_json(const murmesh_Map *map)
{
	char id[ID_TEXT_SIZE], device[ID_TEXT_SIZE];
	hex_encode(map->id, sizeof map->id, id);
	hex_encode(map->device, sizeof map->device, device);
	return json_pack("{s:s, s:o, s:s, s:o, s:o, s:I, s:I, s:o, s:I, s:o, s:o, s:o}", "id", id, "user",
	                 cli_json_text(str_from(map->user)), "device", device, "full_name", cli_json_text(str_from(map->full_name)),
	                 "target", cli_json_text(str_from(map->target[0] ? map->target : "commands")), "sent",
	                 (json_int_t)map->sent, "received", (json_int_t)map->received, "path", path_json(map), "since",
	                 (json_int_t)map->since, "ended", map->ended ? json_integer(map->ended) : json_null(), "why",
	                 cli_json_text(str_from(map->why)), "error",
	                 map->error ? json_string(err_name((int)(map->error & INT32_MAX))) : json_null());
}

static void on_map(void *table, const void *message)
{
	cli_table_row(table, map_json(message));
}

static int list(struct session *session, const struct cli *cli)
{
	const murmesh_MapList request = murmesh_MapList_init_zero;
	struct cli_table table;
	cli_table_begin(&table, cli, columns);
	int err = session_stream(session, &rpc_Tunnels_List, &request, on_map, &table);
	size_t n = table.n_rows;
	int ended = cli_table_end(&table);
	if (err == 0)
		err = ended;
	if (err < 0)
		return session_fail(session, err, "the open maps cannot be listed");
	if (!n)
		cli_note(cli, "nothing is open, and nothing failed lately");
	return CLI_OK;
}

static int end(struct session *session, const struct cli *cli, const char *text)
{
	murmesh_MapName request;
	murmesh_Map map;
	struct id id;
	if (id_parse(str_from(text), &id) < 0)
		return cli_fail(-E_ID, "%s was not ended", text);
	memcpy(request.id, id.bytes, sizeof request.id);
	int err = session_unary(session, &rpc_Tunnels_End, &request, &map, sizeof map);
	if (err == -E_NOT_FOUND)
		return cli_fail_because(err, "it is not open, or not yours to end", "see what is with `murmesh maps`",
		                        "%s was not ended", text);
	if (err < 0)
		return session_fail(session, err, "the map was not ended");
	if (cli_format(cli) >= CLI_JSON)
		return cli_json_line(cli, map_json(&map)) < 0;
	cli_note(cli, "ended: %s of %s on %s", map.target[0] ? map.target : "commands", map.user, map.full_name);
	return CLI_OK;
}

static int run(const struct cli *cli)
{
	struct session session;
	int code = session_begin(&session, cli);
	if (code)
		return code;
	code = cli_given(cli, "end") ? end(&session, cli, cli_text(cli, "end")) : list(&session, cli);
	session_close(&session);
	return code;
}

static const struct cli_option options[] = {
	{ "end", 0, "ID", CLI_TEXT, "end this one at once; its user may open another", NULL, 0 },
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "murmesh maps", "who is connected to which device, and what failed lately and why" },
	{ "murmesh maps --end ID", "ends the connection with that id" },
	{ 0 },
};

const struct cli_command command_maps = {
	.name = "maps",
	.summary = "show which maps and other tunnels are open, of all users; end one",
	.usage = "",
	.options = options,
	.examples = examples,
	.run = run,
};
