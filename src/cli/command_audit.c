#include <inttypes.h>

#include "base/err.h"
#include "cli/audit_local.h"
#include "cli/session.h"

enum { PAGE = 1000 }; /* what the server gives at once */

const struct cli_column audit_columns[] = {
	{ "sequence", CLI_COLUMN_NUMBER },
	{ "time", CLI_COLUMN_TIME },
	{ "actor" },
	{ "action" },
	{ "object" },
	{ "detail" },
	{ 0 },
};

struct listing {
	struct cli_table table;
	int64_t last; /* sequence */
	uint64_t n;   /* of this page */
};

static void on_row(void *ctx, const void *message)
{
	struct listing *listing = ctx;
	const murmesh_AuditRow *row = message;
	listing->last = row->sequence;
	listing->n++;
	cli_table_row(&listing->table,
	              json_pack("{s:I, s:I, s:o, s:o, s:o, s:o}", "sequence", (json_int_t)row->sequence, "time",
	                        (json_int_t)row->time, "actor", cli_json_text(str_from(row->actor)), "action",
	                        cli_json_text(str_from(row->action)), "object", cli_json_text(str_from(row->object)), "detail",
	                        cli_json_text(str_from(row->detail))));
}

/* The newest first, as many pages as --limit wants. */
static int rows_list(struct session *session, const struct cli *cli, struct listing *listing)
{
	murmesh_AuditQuery query = murmesh_AuditQuery_init_zero;
	uint64_t left = cli_number(cli, "limit");
	int err = str_copy(str_from(cli_text(cli, "text")), query.text, sizeof query.text);
	while (err == 0 && left) {
		query.limit = left < PAGE ? (uint32_t)left : PAGE;
		query.before = listing->last;
		listing->n = 0;
		err = session_stream(session, &rpc_People_ListAudit, &query, on_row, listing);
		if (listing->n < query.limit)
			break;
		left -= listing->n < left ? listing->n : left;
	}
	return err;
}

static int audit_list(struct session *session, const struct cli *cli)
{
	struct listing listing = { .last = 0 };
	cli_table_begin(&listing.table, cli, audit_columns);
	int err = rows_list(session, cli, &listing), ended = cli_table_end(&listing.table);
	if (err == 0)
		err = ended;
	return err < 0 ? session_fail(session, err, "the audit log cannot be listed") : CLI_OK;
}

static int audit_verify(struct session *session, const struct cli *cli)
{
	murmesh_AuditVerify request = murmesh_AuditVerify_init_zero;
	murmesh_AuditVerdict verdict;
	int err = session_unary(session, &rpc_People_VerifyAudit, &request, &verdict, sizeof verdict);
	if (err < 0)
		return session_fail(session, err, "the audit log cannot be verified");
	if (cli_format(cli) >= CLI_JSON) {
		err = cli_json_line(cli, json_pack("{s:I, s:o}", "records", (json_int_t)verdict.records, "first_bad",
		                                   verdict.first_bad ? json_integer(verdict.first_bad) : json_null()));
		return err < 0 || verdict.first_bad ? CLI_FAILED : CLI_OK;
	}
	if (verdict.first_bad)
		return cli_fail(-E_AUDIT_CHAIN, "record %" PRId64 " of the audit log is not what was written", verdict.first_bad);
	fprintf(cli->out, "%" PRId64 " records, all as they were written\n", verdict.records);
	return CLI_OK;
}

static int run(const struct cli *cli)
{
	char database[4096];
	struct session session;
	bool list = str_is(str_from(cli->operands[0]), "ls");
	if (!list && !str_is(str_from(cli->operands[0]), "verify"))
		return cli_fail_because(-E_USAGE, "there are `audit ls` and `audit verify`", NULL, "unknown operation %s",
		                        cli->operands[0]);
	if (audit_is_local(cli, database))
		return audit_local(cli, database, list);
	int code = session_begin(&session, cli);
	if (code)
		return code;
	code = list ? audit_list(&session, cli) : audit_verify(&session, cli);
	session_close(&session);
	return code;
}

static const struct cli_option options[] = {
	{ "limit", 'n', "N", CLI_NUMBER, "ls: at most so many, the newest", "200", 1000000 },
	{ "text", 0, "TEXT", CLI_TEXT, "ls: with this in who, what or on what", NULL, 0 },
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "murmesh audit ls", "the last 200 things that somebody did" },
	{ "murmesh audit ls --text anna --limit 5000 --json", "for a program" },
	{ "murmesh audit verify", "whether somebody has changed a record: names the first, and exits with 1" },
	{ "murmesh audit verify --dir /var/lib/murmesh",
	  "on a device: what it was ordered to do, as its management part signed it" },
	{ 0 },
};

const struct cli_command command_audit = {
	.name = "audit",
	.summary = "show who did what, and whether the log was changed",
	.usage = "ls|verify",
	.options = options,
	.examples = examples,
	.run = run,
	.operands_least = 1,
	.operands_most = 1,
};
