/* The audit log: kept, read, verified. */
#include "audit/audit.h"

#include "base/err.h"
#include "os/clock.h"
#include "server/core.h"

#define AUDIT_DEFAULT 200
#define AUDIT_MAX     1000
#define VERIFY_PIECE  5000 /* entries at once: others want the database too */

int core_audit(struct store_tx *tx, const char *actor, const char *action, const char *object, const char *detail)
{
	const struct audit_event event = { str_from(actor), str_from(action), str_from(object), str_from(detail) };
	return audit_append(tx, clock_wall_s(), &event);
}

static int entry_add(void *ctx, const struct audit_entry *entry)
{
	murmesh_AuditRow row = { .sequence = entry->seq, .time = entry->time };
	str_copy(str_from(entry->actor), row.actor, sizeof row.actor);
	str_copy(str_from(entry->action), row.action, sizeof row.action);
	str_copy(str_from(entry->object), row.object, sizeof row.object);
	str_copy(str_from(entry->detail), row.detail, sizeof row.detail);
	return core_rows_add(ctx, &row, sizeof row);
}

int core_audit_run(struct store_tx *tx, struct core_request *request)
{
	const murmesh_AuditQuery *query = request->message;
	struct user user;
	int err = core_caller_check(tx, &request->caller, ACCOUNT_AUDIT_READ, &user);
	unsigned limit = !query->limit ? AUDIT_DEFAULT : query->limit < AUDIT_MAX ? query->limit : AUDIT_MAX;
	return err < 0 ? err : audit_list(tx, query->before, str_from(query->text), limit, entry_add, &request->rows);
}

/* The row is how far it has come. */
int core_verify_run(struct store_tx *tx, struct core_request *request)
{
	murmesh_AuditVerdict *verdict = request->reply;
	struct audit_head head = { 0 };
	struct user user;
	size_t at = 0;
	int err = request->rows.n ? 0 : core_caller_check(tx, &request->caller, ACCOUNT_AUDIT_READ, &user);
	if (err < 0)
		return err;
	core_rows_next(&request->rows, &at, &head, sizeof head);
	core_rows_done(&request->rows);
	err = audit_verify(tx, &head, VERIFY_PIECE);
	if (err < 0 && err != -E_AUDIT_CHAIN)
		return err;
	verdict->records = err == 0 ? head.seq : head.seq - 1;
	if (err == -E_AUDIT_CHAIN)
		verdict->first_bad = head.seq;
	return err > 0 ? core_rows_add(&request->rows, &head, sizeof head) : 0;
}

void core_verify_done(struct core_request *request)
{
	if (request->rows.n)
		core_job_submit(&request->base);
	else
		core_request_answer(request);
}

/* ---- what web refused by itself ---- */

struct refusal_job {
	struct core_job base;
	murmesh_Refusal refusal;
};

static int refusal_run(struct store_tx *tx, struct core_job *base)
{
	const murmesh_Refusal *refusal = &((struct refusal_job *)base)->refusal;
	char detail[256];
	int len = snprintf(detail, sizeof detail, "%s, from %s", err_text((int)refusal->error), refusal->address);
	if (refusal->left_out)
		snprintf(detail + len, sizeof detail - (size_t)len, "; %u more were not written", (unsigned)refusal->left_out);
	return core_audit(tx, "somebody", "request refused", refusal->what, detail);
}

static void refusal_done(struct core_job *base)
{
	const murmesh_Done reply = murmesh_Done_init_zero;
	rpc_call_reply(base->call, &reply);
	core_job_free(base);
}

void core_audit_refused(void *ctx, struct rpc_call *call, const void *request)
{
	struct refusal_job *job = core_job_new(ctx, call, sizeof *job);
	if (!job)
		return;
	job->refusal = *(const murmesh_Refusal *)request;
	job->base.run = refusal_run;
	job->base.done = refusal_done;
	core_job_submit(&job->base);
}
