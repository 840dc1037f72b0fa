#include "base/err.h"
#include "base/utf8.h"
#include "ca/components.h"
#include "cli/devices.h"

static const struct cli_column columns[] = {
	{ "id", CLI_COLUMN_VALUE, true },        { "name", CLI_COLUMN_VALUE, false },     { "full_name", CLI_COLUMN_VALUE, true },
	{ "roles", CLI_COLUMN_VALUE, false },    { "attached", CLI_COLUMN_VALUE, false }, { "address", CLI_COLUMN_VALUE, false },
	{ "enrolled", CLI_COLUMN_VALUE, false }, { "version", CLI_COLUMN_VALUE, false },  { "last_seen", CLI_COLUMN_TIME, false },
	{ "created", CLI_COLUMN_TIME, true },    { "revoked", CLI_COLUMN_TIME, false },   { 0 },
};

static json_t *time_json(int64_t seconds)
{
	return seconds ? json_integer(seconds) : json_null();
}

static json_t *component_json(const murmesh_Component *component)
{
	struct id id;
	char text[ID_TEXT_SIZE], roles[CA_COMPONENT_ROLES_SIZE];
	memcpy(id.bytes, component->id, sizeof id.bytes);
	id_format(&id, text);
	return json_pack("{s:s, s:o, s:o, s:s, s:b, s:o, s:o, s:o, s:o, s:o, s:o}", "id", text, "name",
	                 cli_json_text(str_from(component->name)), "full_name", cli_json_text(str_from(component->full_name)),
	                 "roles", ca_component_roles_format(component->roles, roles), "attached", component->attached, "address",
	                 cli_json_text(str_from(component->address)), "enrolled", cli_json_text(str_from(component->enrolled)),
	                 "version", cli_json_text(str_from(component->version)), "last_seen", time_json(component->last_seen),
	                 "created", time_json(component->created), "revoked", time_json(component->revoked));
}

struct listing {
	struct cli_table table;
	bool all;
	unsigned n;
};

static void on_row(void *ctx, const void *message)
{
	struct listing *listing = ctx;
	const murmesh_Component *component = message;
	if (component->revoked && !listing->all)
		return;
	cli_table_row(&listing->table, component_json(component));
	listing->n++;
}

static int list(struct session *session, const struct cli *cli)
{
	const murmesh_ComponentList request = murmesh_ComponentList_init_zero;
	struct listing listing = { .all = cli_flag(cli, "all") };
	cli_table_begin(&listing.table, cli, columns);
	int err = session_stream(session, &rpc_Fleet_ListComponents, &request, on_row, &listing);
	int ended = cli_table_end(&listing.table);
	if (err < 0)
		return session_fail(session, err, "the list could not be read");
	if (!listing.n)
		cli_note(cli, "all roles run on the server's own machine; `murmesh key new --component link,relay` is for another");
	return ended < 0 ? cli_fail(ended, "the list could not be printed") : CLI_OK;
}

static int revoke(struct session *session, const struct cli *cli)
{
	murmesh_ComponentName request = murmesh_ComponentName_init_zero;
	murmesh_Component reply;
	const char *name = cli->operands[1];
	int err = str_copy(str_from(name), request.selector, sizeof request.selector);
	if (err == 0)
		err = session_unary(session, &rpc_Fleet_RevokeComponent, &request, &reply, sizeof reply);
	if (err == -E_NOT_FOUND)
		return cli_fail_because(err, "no machine of that name runs roles of the server", "see `murmesh component`",
		                        "%s was not revoked", name);
	if (err < 0)
		return session_fail(session, err, "nothing was revoked");
	if (cli_format(cli) >= CLI_JSON)
		return cli_json_line(cli, component_json(&reply)) < 0;
	fprintf(cli->out, "%s is shut out\n", reply.full_name);
	return CLI_OK;
}

static int run(const struct cli *cli)
{
	bool revokes = cli->n_operands == 2 && str_is(str_from(cli->operands[0]), "revoke");
	struct session session;
	if (cli->n_operands && !revokes)
		return cli_fail(-E_USAGE, "it is `murmesh component` or `murmesh component revoke NAME`");
	int code = session_begin(&session, cli);
	if (code)
		return code;
	code = revokes ? revoke(&session, cli) : list(&session, cli);
	session_close(&session);
	return code;
}

static const struct cli_option options[] = {
	{ "all", 'a', NULL, CLI_FLAG, "also those that were revoked", NULL, 0 },
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "murmesh component", "which machines run roles of this server, whether they are attached, the address that each names "
	                       "now, and that it enrolled with" },
	{ "murmesh component revoke edge01", "shut one out: its certificates count no more, at once" },
	{ 0 },
};

const struct cli_command command_component = {
	.name = "component",
	.summary = "list machines that run roles of the server elsewhere, shut one out",
	.usage = "[revoke NAME]",
	.options = options,
	.examples = examples,
	.run = run,
	.operands_most = 2,
};
