#include "base/err.h"
#include "base/utf8.h"
#include "cli/devices.h"

#define DEPTH_MAX 16 /* more than work: names that change meanwhile could make a circle */

static const struct cli_column columns[] = {
	{ "id", CLI_COLUMN_VALUE, true },        { "name", CLI_COLUMN_VALUE, false },
	{ "full_name", CLI_COLUMN_VALUE, true }, { "online", CLI_COLUMN_VALUE, false },
	{ "parent", CLI_COLUMN_VALUE, false },   { "address", CLI_COLUMN_VALUE, false },
	{ "devices", CLI_COLUMN_NUMBER },        { "devices_online", CLI_COLUMN_NUMBER },
	{ "depth", CLI_COLUMN_NUMBER, true },    { 0 },
};

struct tree {
	bool devices_too;
	json_t *nodes;            /* rows: relays, and devices where they are wanted */
	json_t *devices, *online; /* numbers, by the full name of the parent */
};

static void count(json_t *numbers, const char *parent)
{
	json_object_set_new(numbers, parent, json_integer(json_integer_value(json_object_get(numbers, parent)) + 1));
}

static int take(void *ctx, const murmesh_Device *device)
{
	struct tree *tree = ctx;
	count(tree->devices, device->parent);
	if (device->online)
		count(tree->online, device->parent);
	if (!device->relay && !tree->devices_too)
		return 0;
	json_t *row = device_json(device);
	json_object_set_new(row, "above", cli_json_text(str_from(device->parent))); /* parent may be a machine of the server */
	json_object_set_new(row, "address", cli_json_text(str_from(device->relay_address)));
	return json_array_append_new(tree->nodes, row) < 0 ? -E_NO_MEMORY : 0;
}

/* On a terminal the name shows by its indentation how deep it stands. */
static json_t *name_indented(const struct cli_table *table, const struct tree *tree, json_t *name, unsigned depth)
{
	char text[256];
	if (!tree->devices_too || table->format != CLI_TERMINAL)
		return json_incref(name);
	snprintf(text, sizeof text, "%*s%s", (int)depth * 2, "", json_string_value(name));
	return json_string(text);
}

/* Those below a parent, each followed by what is below it. */
static void below(struct cli_table *table, const struct tree *tree, const char *parent, unsigned depth)
{
	size_t i;
	json_t *relay;
	json_array_foreach(tree->nodes, i, relay)
	{
		const char *name = json_string_value(json_object_get(relay, "full_name"));
		if (!str_is(str_from(parent), json_string_value(json_object_get(relay, "above"))) || depth == DEPTH_MAX)
			continue;
		json_t *row = json_deep_copy(relay);
		json_object_del(row, "above");
		json_object_set_new(row, "devices", json_integer(json_integer_value(json_object_get(tree->devices, name))));
		json_object_set_new(row, "devices_online", json_integer(json_integer_value(json_object_get(tree->online, name))));
		json_object_set_new(row, "name", name_indented(table, tree, json_object_get(relay, "name"), depth));
		json_object_set_new(row, "depth", json_integer(depth));
		cli_table_row(table, row);
		below(table, tree, name, depth + 1);
	}
}

static int list(struct session *session, const struct cli *cli, bool devices_too)
{
	struct tree tree = { devices_too, json_array(), json_object(), json_object() };
	struct cli_table table;
	int err = devices_each(session, STR("name:*"), take, &tree);
	size_t n = json_array_size(tree.nodes);
	cli_table_begin(&table, cli, columns);
	if (err == 0)
		below(&table, &tree, "server", 0);
	int ended = cli_table_end(&table);
	json_decref(tree.nodes);
	json_decref(tree.devices);
	json_decref(tree.online);
	if (err == 0)
		err = ended;
	if (err < 0)
		return devices_fail(session, err, STR("name:*"));
	if (!n)
		cli_note(cli, "no device is a relay; `murmesh relay enable DEVICE` makes one");
	return CLI_OK;
}

static int show(const struct cli *cli, bool devices_too)
{
	struct session session;
	int code = session_begin(&session, cli);
	if (code)
		return code;
	code = list(&session, cli, devices_too);
	session_close(&session);
	return code;
}

static int parent_find(const struct cli *cli, const char *relay, murmesh_DeviceChange *message)
{
	struct session session;
	int code = session_begin(&session, cli);
	if (code)
		return code;
	code = devices_relay(&session, relay, message->parent);
	session_close(&session);
	return code;
}

static int move(const struct cli *cli)
{
	const char *parent = cli->operands[2];
	struct devices_change change = { .message.move = true,
		                         .message.fall_back_s = (uint32_t)(cli_duration_ms(cli, "fall-back") / 1000),
		                         .done = "told where to link to" };
	int code = CLI_OK;
	if (str_has(str_from(parent), ':') || str_is(str_from(parent), "server"))
		code = str_copy(str_from(parent), change.message.parent, sizeof change.message.parent) < 0 ? CLI_USAGE : CLI_OK;
	else if (!str_is(str_from(parent), "-"))
		code = parent_find(cli, parent, &change.message);
	return code ? code : devices_change(cli, cli->operands[1], &change);
}

static const struct cli_option options[] = {
	{ "fall-back", 0, "DURATION", CLI_DURATION, "move: go back when the new parent has not answered for so long", "10m", 0 },
	{ 0 },
};

static int run(const struct cli *cli)
{
	if (!cli->n_operands)
		return show(cli, false);
	if (cli->n_operands == 1 && str_is(str_from(cli->operands[0]), "tree"))
		return show(cli, true);
	bool enable = str_is(str_from(cli->operands[0]), "enable");
	if (cli->n_operands == 3 && str_is(str_from(cli->operands[0]), "move"))
		return move(cli);
	if (cli->n_operands != 2 || (!enable && !str_is(str_from(cli->operands[0]), "disable")))
		return cli_fail(-E_USAGE, "it is `murmesh relay`, `murmesh relay tree`, `murmesh relay enable|disable DEVICE` or "
		                          "`murmesh relay move QUERY PARENT`");
	struct devices_change change = { .message.set_relay = true,
		                         .message.relay = enable,
		                         .done = enable ? "told to be a relay" : "told to be no relay any more" };
	return devices_change(cli, cli->operands[1], &change);
}

static const struct cli_example examples[] = {
	{ "murmesh relay", "the relays, who is whose parent, and how many devices each has" },
	{ "murmesh relay tree", "all devices too, each below its parent" },
	{ "murmesh relay enable site7", "other agents can link to this device from now on, with its address in their join line" },
	{ "murmesh relay move 'tag:berlin' site7", "these devices link to it from now on; those that are offline are not told" },
	{ "murmesh relay move web02 -", "back to where it linked before it was moved" },
	{ "murmesh relay disable site7", "those below it find another parent, if they have one" },
	{ 0 },
};

const struct cli_command command_relay = {
	.name = "relay",
	.summary = "make a device a relay for others, list the relays, move devices to one",
	.usage = "[tree | enable|disable DEVICE | move QUERY RELAY|HOST:PORT|server|-]",
	.options = options,
	.examples = examples,
	.run = run,
	.operands_most = 3,
};
