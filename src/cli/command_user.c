#include "base/err.h"
#include "cli/session.h"

static const struct cli_column columns[] = {
	{ "id", CLI_COLUMN_VALUE, true },
	{ "name" },
	{ "role" },
	{ "groups" },
	{ "all_groups", CLI_COLUMN_VALUE, true },
	{ "password" },
	{ "totp" },
	{ "disabled", CLI_COLUMN_TIME },
	{ "last_login", CLI_COLUMN_TIME },
	{ "created", CLI_COLUMN_TIME, true },
	{ 0 },
};

static json_t *time_json(int64_t at)
{
	return at ? json_integer(at) : json_null();
}

static void on_user(void *table, const void *message)
{
	const murmesh_User *user = message;
	struct id id;
	char text[ID_TEXT_SIZE];
	json_t *groups = json_array();
	memcpy(id.bytes, user->id, sizeof id.bytes);
	id_format(&id, text);
	for (pb_size_t i = 0; i < user->groups_count; i++)
		json_array_append_new(groups, cli_json_text(str_from(user->groups[i])));
	if (user->all_groups)
		json_array_append_new(groups, json_string("*"));
	cli_table_row(table, json_pack("{s:s, s:o, s:o, s:o, s:b, s:b, s:b, s:o, s:o, s:o}", "id", text, "name",
	                               cli_json_text(str_from(user->name)), "role", cli_json_text(str_from(user->role)), "groups",
	                               groups, "all_groups", user->all_groups, "password", user->password, "totp", user->totp,
	                               "disabled", time_json(user->disabled), "last_login", time_json(user->last_login), "created",
	                               time_json(user->created)));
}

/* ---- operations ---- */

static int users_list(struct session *session, const struct cli *cli)
{
	murmesh_UserListRequest request = murmesh_UserListRequest_init_zero;
	struct cli_table table;
	cli_table_begin(&table, cli, columns);
	int err = session_stream(session, &rpc_People_ListUsers, &request, on_user, &table);
	int ended = cli_table_end(&table);
	if (err == 0)
		err = ended;
	return err < 0 ? session_fail(session, err, "the users cannot be listed") : CLI_OK;
}

static int link_print(const struct cli *cli, const murmesh_UserLink *link)
{
	if (cli_format(cli) >= CLI_JSON)
		return cli_json_line(cli, json_pack("{s:o, s:s}", "name", cli_json_text(str_from(link->user.name)), "login",
		                                    link->login)) < 0;
	fprintf(cli->out, "%s\n", link->login);
	cli_note(cli, "for %s, good once, for 15 minutes: who opens it in a browser chooses the password", link->user.name);
	return CLI_OK;
}

/* "a,b", or "*" for all. */
static int groups_take(struct str rest, murmesh_UserChange *change)
{
	const size_t most = sizeof change->groups / sizeof *change->groups;
	change->set_groups = true;
	change->all_groups = str_is(rest, "*");
	while (rest.len && !change->all_groups) {
		struct str group = str_trim(str_cut(rest, ',', &rest));
		int err = change->groups_count < most
		                  ? str_copy(group, change->groups[change->groups_count++], sizeof *change->groups)
		                  : -E_LIMIT;
		if (err < 0)
			return err;
	}
	return 0;
}

static int user_add(struct session *session, const struct cli *cli)
{
	murmesh_UserChange change = murmesh_UserChange_init_zero;
	murmesh_UserLink reply;
	int err = str_copy(str_from(cli->operands[1]), change.name, sizeof change.name);
	if (err == 0)
		err = str_copy(str_from(cli_given(cli, "role") ? cli_text(cli, "role") : "viewer"), change.role,
		               sizeof change.role);
	if (err == 0)
		err = groups_take(str_from(cli_given(cli, "groups") ? cli_text(cli, "groups") : "*"), &change);
	if (err == 0)
		err = session_unary(session, &rpc_People_AddUser, &change, &reply, sizeof reply);
	return err < 0 ? session_fail(session, err, "the user was not added") : link_print(cli, &reply);
}

static int user_link(struct session *session, const struct cli *cli)
{
	murmesh_UserName request = murmesh_UserName_init_zero;
	murmesh_UserLink reply;
	int err = str_copy(str_from(cli->operands[1]), request.name, sizeof request.name);
	if (err == 0)
		err = session_unary(session, &rpc_People_NewUserLink, &request, &reply, sizeof reply);
	return err < 0 ? session_fail(session, err, "no login link was made") : link_print(cli, &reply);
}

struct search {
	struct str name;
	uint8_t id[16];
	bool found;
};

static void on_searched(void *ctx, const void *message)
{
	struct search *search = ctx;
	const murmesh_User *user = message;
	if (!str_equal_nocase(search->name, str_from(user->name)))
		return;
	memcpy(search->id, user->id, sizeof search->id);
	search->found = true;
}

static int user_change(struct session *session, const struct cli *cli, murmesh_UserChange *change, const char *done)
{
	murmesh_UserListRequest request = murmesh_UserListRequest_init_zero;
	murmesh_User reply;
	struct search search = { .name = str_from(cli->operands[1]) };
	int err = session_stream(session, &rpc_People_ListUsers, &request, on_searched, &search);
	if (err == 0 && !search.found)
		err = -E_NOT_FOUND;
	if (err == 0) {
		change->id.size = sizeof search.id;
		memcpy(change->id.bytes, search.id, sizeof search.id);
		err = session_unary(session, &rpc_People_ChangeUser, change, &reply, sizeof reply);
	}
	if (err < 0)
		return err == -E_NOT_FOUND && !search.found
		               ? cli_fail_because(err, "there is no such user", "see `murmesh user ls`", "the user was not changed")
		               : session_fail(session, err, "the user was not changed");
	if (cli_format(cli) < CLI_JSON) {
		cli_note(cli, "%s: %s", reply.name, done);
		return CLI_OK;
	}
	struct cli_table table;
	cli_table_begin(&table, cli, columns);
	on_user(&table, &reply);
	return cli_table_end(&table) < 0 ? CLI_FAILED : CLI_OK;
}

static int user_role(struct session *session, const struct cli *cli)
{
	murmesh_UserChange change = murmesh_UserChange_init_zero;
	int err = str_copy(str_from(cli->operands[2]), change.role, sizeof change.role);
	if (err == 0 && cli_given(cli, "groups"))
		err = groups_take(str_from(cli_text(cli, "groups")), &change);
	return err < 0 ? cli_fail(err, "the user was not changed") : user_change(session, cli, &change, change.role);
}

static int user_disable(struct session *session, const struct cli *cli)
{
	murmesh_UserChange change = { .disable = true };
	return user_change(session, cli, &change, "disabled");
}

static int user_enable(struct session *session, const struct cli *cli)
{
	murmesh_UserChange change = { .enable = true };
	return user_change(session, cli, &change, "enabled");
}

static int user_forget_totp(struct session *session, const struct cli *cli)
{
	murmesh_UserChange change = { .forget_totp = true };
	return user_change(session, cli, &change, "needs no code of an authenticator any more");
}

/* ---- the command ---- */

static int run(const struct cli *cli)
{
	static const struct {
		const char *name;
		size_t operands;
		int (*run)(struct session *session, const struct cli *cli);
	} operations[] = { { "ls", 1, users_list },
		           { "add", 2, user_add },
		           { "role", 3, user_role },
		           { "disable", 2, user_disable },
		           { "enable", 2, user_enable },
		           { "link", 2, user_link },
		           { "forget-totp", 2, user_forget_totp } };
	struct session session;
	for (size_t i = 0; i < sizeof operations / sizeof *operations; i++) {
		if (!str_is(str_from(cli->operands[0]), operations[i].name))
			continue;
		if (cli->n_operands != operations[i].operands)
			return cli_fail_because(-E_USAGE, NULL, "see `murmesh help user`", "user %s: too many or too few words",
			                        operations[i].name);
		int code = session_begin(&session, cli);
		if (code)
			return code;
		code = operations[i].run(&session, cli);
		session_close(&session);
		return code;
	}
	return cli_fail_because(-E_USAGE, NULL, "see `murmesh help user`", "unknown operation %s", cli->operands[0]);
}

static const struct cli_option options[] = {
	{ "role", 0, "ROLE", CLI_TEXT, "add: viewer, operator or administrator (else viewer)", NULL, 0 },
	{ "groups", 0, "A,B", CLI_TEXT,
	  "add, role: the role holds for devices of these groups only; * for all (add: else for all, role: else as it is)", NULL,
	  0 },
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "murmesh user ls", "who may use the mesh" },
	{ "murmesh user add anna --role operator --groups shop,lab", "prints the link with which anna chooses a password" },
	{ "murmesh user role anna viewer", "another role" },
	{ "murmesh user disable anna", "what anna has open ends; `enable` takes it back" },
	{ "murmesh user link anna", "a new link, when the password is forgotten" },
	{ "murmesh user forget-totp anna", "when the authenticator is lost" },
	{ 0 },
};

const struct cli_command command_user = {
	.name = "user",
	.summary = "list, add and change users",
	.usage = "ls|add|role|disable|enable|link|forget-totp [NAME [ROLE]]",
	.options = options,
	.examples = examples,
	.run = run,
	.operands_least = 1,
	.operands_most = 3,
};
