/* `murmesh approve` and `murmesh reject`: machines that wait until somebody lets them in. */
#include "base/encode.h"
#include "base/err.h"
#include "cli/session.h"

static const struct cli_column columns[] = {
	{ "id", CLI_COLUMN_VALUE, true },
	{ "name", CLI_COLUMN_VALUE, true },
	{ "full_name" },
	{ "kind" },
	{ "fingerprint" },
	{ "address" },
	{ "roles" },
	{ "reach" },
	{ "group" },
	{ "os" },
	{ "arch" },
	{ "version", CLI_COLUMN_VALUE, true },
	{ "asked", CLI_COLUMN_TIME },
	{ 0 },
};

static json_t *approval_json(const murmesh_Approval *approval)
{
	char id[ID_TEXT_SIZE];
	hex_encode(approval->device, sizeof approval->device, id);
	const char *kind = approval->kind[0] ? approval->kind : "new";
	return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I}", "id", id, "name",
	                 cli_json_text(str_from(approval->name)), "full_name", cli_json_text(str_from(approval->full_name)), "kind",
	                 cli_json_text(str_from(kind)), "fingerprint", cli_json_text(str_from(approval->fingerprint)), "address",
	                 cli_json_text(str_from(approval->address)), "roles", cli_json_text(str_from(approval->roles)), "reach",
	                 cli_json_text(str_from(approval->reach)), "group", cli_json_text(str_from(approval->group)), "os",
	                 cli_json_text(str_from(approval->os)), "arch", cli_json_text(str_from(approval->arch)), "version",
	                 cli_json_text(str_from(approval->version)), "asked", (json_int_t)approval->asked);
}

static void on_approval(void *table, const void *message)
{
	cli_table_row(table, approval_json(message));
}

static int list(struct session *session, const struct cli *cli)
{
	murmesh_ApprovalList request = murmesh_ApprovalList_init_zero;
	struct cli_table table;
	cli_table_begin(&table, cli, columns);
	int err = session_stream(session, &rpc_Fleet_ListApprovals, &request, on_approval, &table);
	size_t n = table.n_rows;
	int ended = cli_table_end(&table);
	if (err == 0)
		err = ended;
	if (err < 0)
		return session_fail(session, err, "what waits cannot be listed");
	if (!n)
		cli_note(cli, "no machine waits for approval");
	return CLI_OK;
}

static const char *outcome(const murmesh_Approval *approval, const murmesh_ApprovalDecision *decision)
{
	if (!str_is(str_from(approval->kind), "copy"))
		return decision->approve ? "is approved; it is online within half a minute" : "is rejected";
	if (decision->same)
		return "goes on as one machine; it is online within half a minute";
	return decision->approve ? "goes on, and its copy becomes a machine of its own within half a minute"
	                         : "goes on, and its copy is shut out";
}

static int decide(struct session *session, const struct cli *cli, const char *selector, bool approve)
{
	murmesh_ApprovalDecision request = { .approve = approve, .same = approve && cli_given(cli, "same") };
	murmesh_Approval reply;
	int err = str_copy(str_from(selector), request.selector, sizeof request.selector);
	if (err == 0)
		err = session_unary(session, &rpc_Fleet_DecideApproval, &request, &reply, sizeof reply);
	if (err == -E_NOT_FOUND)
		return cli_fail_because(err, "see who waits with `murmesh approve`", NULL, "no machine %s waits for approval",
		                        selector);
	if (err < 0)
		return session_fail(session, err, approve ? "the machine was not approved" : "the machine was not rejected");
	if (cli_format(cli) >= CLI_JSON)
		return cli_json_line(cli, approval_json(&reply)) < 0;
	cli_note(cli, "%s %s", reply.full_name, outcome(&reply, &request));
	return CLI_OK;
}

static int decide_all(const struct cli *cli, bool approve)
{
	struct session session;
	int code = session_begin(&session, cli);
	if (code)
		return code;
	if (!cli->n_operands)
		code = list(&session, cli);
	for (size_t i = 0; i < cli->n_operands && code == CLI_OK; i++)
		code = decide(&session, cli, cli->operands[i], approve);
	session_close(&session);
	return code;
}

static int run_approve(const struct cli *cli)
{
	return decide_all(cli, true);
}

static int run_reject(const struct cli *cli)
{
	return decide_all(cli, false);
}

static const struct cli_option approve_options[] = {
	{ "same", 0, NULL, CLI_FLAG, "of a copy: there is one machine only, whose disk was put back to an earlier state", NULL, 0 },
	{ 0 },
};

static const struct cli_example approve_examples[] = {
	{ "murmesh approve", "who waits, from which address, with the fingerprint that the machine shows too" },
	{ "murmesh approve web02", "lets it in" },
	{ "murmesh approve 9f86d081884c7d65", "the one with that fingerprint" },
	{ "murmesh approve web03", "kind copy, two machines show one identity: the copy becomes a machine of its own" },
	{ "murmesh approve --same web03", "kind copy, but it is one machine that was restored from a snapshot" },
	{ 0 },
};

const struct cli_command command_approve = {
	.name = "approve",
	.summary = "let machines in that wait for it; without a name, list them",
	.usage = "[NAME|FINGERPRINT]...",
	.options = approve_options,
	.examples = approve_examples,
	.run = run_approve,
	.operands_most = 100,
};

static const struct cli_example reject_examples[] = {
	{ "murmesh reject web02", "its join key's use is spent; it needs another line" },
	{ "murmesh reject web03", "kind copy: the copy is shut out, the machine itself goes on" },
	{ 0 },
};

const struct cli_command command_reject = {
	.name = "reject",
	.summary = "refuse machines that wait for approval",
	.usage = "NAME|FINGERPRINT...",
	.examples = reject_examples,
	.run = run_reject,
	.operands_least = 1,
	.operands_most = 100,
};
