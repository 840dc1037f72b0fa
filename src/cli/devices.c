#include "cli/devices.h"

#include <errno.h>

#include "base/err.h"
#include "base/utf8.h"

enum { SHOWN = 5 }; /* names in a question */

/* ---- which ---- */

bool devices_is_query(struct str selector)
{
	return !name_valid(selector);
}

bool devices_has_name(const murmesh_Device *device, struct str name)
{
	struct id id;
	char text[ID_TEXT_SIZE];
	memcpy(id.bytes, device->id, sizeof id.bytes);
	id_format(&id, text);
	return str_equal_nocase(name, str_from(device->name)) || str_equal_nocase(name, str_from(device->full_name)) ||
	       str_equal_nocase(name, str_from(text));
}

struct walk {
	struct str name; /* empty: all */
	int (*each)(void *ctx, const murmesh_Device *device);
	void *ctx;
	size_t n;
	int err;
};

static void on_device(void *ctx, const void *message)
{
	struct walk *walk = ctx;
	if (walk->err < 0 || (walk->name.len && !devices_has_name(message, walk->name)))
		return;
	if (walk->name.len && walk->n)
		walk->err = -E_AMBIGUOUS;
	else
		walk->err = walk->each(walk->ctx, message);
	walk->n++;
}

int devices_each(struct session *session, struct str selector, int (*each)(void *ctx, const murmesh_Device *device), void *ctx)
{
	murmesh_ListRequest request = murmesh_ListRequest_init_zero;
	struct walk walk = { .each = each, .ctx = ctx };
	session->why[0] = 0;
	if (!str_trim(selector).len) { /* a script's empty variable */
		snprintf(session->why, sizeof session->why, "the query is empty; name:* is for all devices");
		return -E_QUERY;
	}
	if (!devices_is_query(selector))
		walk.name = selector;
	int err = str_copy(selector, request.selector, sizeof request.selector);
	if (err == 0)
		err = session_stream(session, &rpc_Fleet_ListDevices, &request, on_device, &walk);
	if (err == 0)
		err = walk.err;
	return err < 0 ? err : walk.n ? 0 : -E_NOT_FOUND;
}

static int device_keep(void *ctx, const murmesh_Device *device)
{
	*(murmesh_Device *)ctx = *device;
	return 0;
}

int session_device(struct session *session, const char *name, murmesh_Device *ret)
{
	murmesh_Device device;
	if (devices_is_query(str_from(name)))
		return -E_NAME;
	int err = devices_each(session, str_from(name), device_keep, &device);
	if (err == 0)
		*ret = device;
	return err;
}

int devices_fail(const struct session *session, int err, struct str selector)
{
	char hint[128];
	snprintf(hint, sizeof hint, "a word alone names one device; write name:%.*s for all that have it in their names",
	         selector.len < 64 ? (int)selector.len : 64, selector.ptr);
	bool unknown = err == -E_NOT_FOUND && !devices_is_query(selector);
	return cli_fail_because(err, session->why[0] ? session->why : NULL, unknown ? hint : NULL, "no device is meant by %.*s",
	                        STR_ARG(selector));
}

/* ---- changing ---- */

struct shown {
	uint32_t n;
	struct id first;
	char text[700]; /* "3 devices (web01-1, web02-1, db-1)" behind the number */
	size_t len;
};

static int device_shown(void *ctx, const murmesh_Device *device)
{
	struct shown *shown = ctx;
	if (shown->n == 0)
		memcpy(shown->first.bytes, device->id, sizeof shown->first.bytes);
	if (shown->n < SHOWN)
		shown->len += (size_t)snprintf(shown->text + shown->len, sizeof shown->text - shown->len, "%s%s",
		                               shown->n ? ", " : "", device->full_name);
	shown->n++;
	return 0;
}

static void shown_text(const struct shown *shown, char *out, size_t size)
{
	if (shown->n == 1)
		snprintf(out, size, "%s", shown->text);
	else
		snprintf(out, size, "%u devices (%s%s)", shown->n, shown->text, shown->n > SHOWN ? ", ..." : "");
}

static int question_ask(const struct cli *cli, const struct devices_change *change, const char *devices)
{
	char question[1200], clean[1000];
	if (!change->question)
		return CLI_OK;
	utf8_clean(str_from(devices), clean, sizeof clean);
	snprintf(question, sizeof question, "%s: %s? [y/N] ", change->question, clean);
	return cli_confirm(cli, question, "look at them with `murmesh ls`, then add --yes");
}

static int change_print(const struct cli *cli, const struct devices_change *change, uint32_t count, const char *devices)
{
	if (cli_format(cli) >= CLI_JSON)
		return cli_json_line(cli, json_pack("{s:I}", "count", (json_int_t)count)) < 0 ? CLI_FAILED : CLI_OK;
	cli_note(cli, "%s: %s", change->done, devices);
	return CLI_OK;
}

static int relay_is(void *ctx, const murmesh_Device *device)
{
	return device->relay == *(const bool *)ctx ? 0 : -E_UNSUPPORTED;
}

/* An older server takes a change that it does not know for none, and says that all is well. */
static int relay_check(struct session *session, const murmesh_DeviceChange *message)
{
	bool wanted = message->relay;
	return message->set_relay ? devices_each(session, str_from(message->selector), relay_is, &wanted) : 0;
}

/* The same of moving, which shows in nothing: servers that know of it know this question, too. */
static int move_check(struct session *session, const murmesh_DeviceChange *message)
{
	const murmesh_DeviceName nobody = murmesh_DeviceName_init_zero;
	murmesh_Path reply;
	return message->move ? session_unary(session, &rpc_Fleet_Ping, &nobody, &reply, sizeof reply) : 0;
}

static int change_make(struct session *session, const struct cli *cli, struct str selector, struct devices_change *change)
{
	murmesh_DevicesChanged reply;
	struct shown shown = { 0 };
	char devices[1000], id[ID_TEXT_SIZE];
	int err = devices_each(session, selector, device_shown, &shown);
	if (err < 0)
		return devices_fail(session, err, selector);
	shown_text(&shown, devices, sizeof devices);
	int code = question_ask(cli, change, devices);
	if (code)
		return code;
	if (move_check(session, &change->message) == -E_UNSUPPORTED)
		return cli_fail_because(-E_UNSUPPORTED, "this server is too old to move devices", "update the server",
		                        "nothing was changed");
	id_format(&shown.first, id); /* what a name means may change meanwhile, an id not */
	change->message.count = shown.n;
	err = str_copy(devices_is_query(selector) ? selector : str_from(id), change->message.selector,
	               sizeof change->message.selector);
	if (err == 0)
		err = session_unary(session, &rpc_Fleet_ChangeDevices, &change->message, &reply, sizeof reply);
	if (err < 0)
		return session_fail(session, err, "nothing was changed");
	err = relay_check(session, &change->message);
	if (err == -E_UNSUPPORTED)
		return cli_fail_because(err, "this server is too old for relays", "update the server", "nothing was changed");
	if (err < 0)
		return session_fail(session, err, "it is not known whether that was done");
	return change_print(cli, change, reply.count, devices);
}

int devices_change(const struct cli *cli, const char *selector, struct devices_change *change)
{
	struct session session;
	int code = session_begin(&session, cli);
	if (code)
		return code;
	code = change_make(&session, cli, str_from(selector), change);
	session_close(&session);
	return code;
}

/* ---- relays ---- */

static int address_take(void *ctx, const murmesh_Device *device)
{
	bool usable = device->relay && device->relay_address[0];
	return usable ? str_copy(str_from(device->relay_address), ctx, sizeof device->relay_address) : -E_NOT_RELAY;
}

int devices_relay(struct session *session, const char *name, char ret_address[128])
{
	int err = devices_each(session, str_from(name), address_take, ret_address);
	if (err == -E_NOT_RELAY)
		return cli_fail_because(err, NULL, "make it one with `murmesh relay enable`, and wait until it is online",
		                        "nothing can link to %s", name);
	return err < 0 ? devices_fail(session, err, str_from(name)) : CLI_OK;
}

/* ---- listing ---- */

const struct cli_column device_columns[] = {
	{ "id", CLI_COLUMN_VALUE, true },        { "name", CLI_COLUMN_VALUE, false },
	{ "full_name", CLI_COLUMN_VALUE, true }, { "online", CLI_COLUMN_VALUE, false },
	{ "group", CLI_COLUMN_VALUE, false },    { "tags", CLI_COLUMN_VALUE, false },
	{ "relay", CLI_COLUMN_VALUE, true },     { "os", CLI_COLUMN_VALUE, false },
	{ "arch", CLI_COLUMN_VALUE, false },     { "parent", CLI_COLUMN_VALUE, false },
	{ "version", CLI_COLUMN_VALUE, false },  { "last_seen", CLI_COLUMN_TIME, false },
	{ "signs", CLI_COLUMN_VALUE, true },     { 0 },
};

json_t *device_json(const murmesh_Device *device)
{
	struct id id;
	char text[ID_TEXT_SIZE];
	json_t *tags = json_array();
	const char *parent = device->component[0] ? device->component : device->parent;
	memcpy(id.bytes, device->id, sizeof id.bytes);
	id_format(&id, text);
	for (pb_size_t i = 0; i < device->tags_count; i++)
		json_array_append_new(tags, cli_json_text(str_from(device->tags[i])));
	return json_pack("{s:s, s:o, s:o, s:b, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b}", "id", text, "name",
	                 cli_json_text(str_from(device->name)), "full_name", cli_json_text(str_from(device->full_name)), "online",
	                 device->online, "relay", device->relay, "group", cli_json_text(str_from(device->group)), "tags", tags,
	                 "os", cli_json_text(str_from(device->os)), "arch", cli_json_text(str_from(device->arch)), "parent",
	                 cli_json_text(str_from(parent)), "version", cli_json_text(str_from(device->version)), "last_seen",
	                 device->last_seen ? json_integer(device->last_seen) : json_null(), "signs", device->signs);
}

void device_row(void *table, const void *device)
{
	cli_table_row(table, device_json(device));
}
