/* Sessions of the console, and what a user sets about himself without a password. */
#include "account/session.h"

#include "account/login.h"
#include "base/err.h"
#include "base/mem.h"
#include "os/clock.h"
#include "server/core.h"

int core_caller_own(struct store_tx *tx, struct core_caller *caller, struct user *ret)
{
	struct account_session session;
	int err = account_session_use(tx, caller->session, clock_wall_s(), ret, &session);
	if (err < 0)
		return err;
	caller->user = ret->id;
	caller->proved_until = session.proved_until;
	return 0;
}

int core_account_fill(struct store_tx *tx, const struct core *core, const struct core_caller *caller, murmesh_Account *ret)
{
	struct account_session session;
	struct account_proofs proofs = { 0 };
	struct user user;
	bool administrated = false;
	int err = account_session_get(tx, caller->session, clock_wall_s(), &user, &session);
	if (err == 0)
		err = account_proofs(tx, &user.id, &proofs);
	if (err == 0 && id_equal(&user.id, &core->local_user))
		err = account_administrated(tx, &administrated);
	if (err < 0)
		return err;
	*ret = (murmesh_Account){ .setup_wanted = session.by_link && !administrated,
		                  .totp = proofs.totp,
		                  .all_groups = user.all_groups,
		                  .proved_until = session.proved_until };
	memcpy(ret->id, user.id.bytes, sizeof ret->id);
	str_copy(str_from(user.name), ret->name, sizeof ret->name);
	str_copy(str_from(account_role_name(user.role)), ret->role, sizeof ret->role);
	for (struct str rest = str_from(user.groups); rest.len && ret->groups_count < ACCOUNT_GROUPS_MAX;)
		str_copy(str_cut(rest, ' ', &rest), ret->groups[ret->groups_count++], sizeof *ret->groups);
	return 0;
}

int core_me_run(struct store_tx *tx, struct core_request *request)
{
	struct user user;
	int err = core_caller_own(tx, &request->caller, &user);
	return err < 0 ? err : core_account_fill(tx, request->base.core, &request->caller, request->reply);
}

/* ---- ends ---- */

int core_logout_run(struct store_tx *tx, struct core_request *request)
{
	struct user user;
	int err = core_caller_own(tx, &request->caller, &user);
	if (err == 0)
		err = account_session_end(tx, request->caller.session);
	return err < 0 ? err : core_audit(tx, user.name, "console logout", user.name, "");
}

void core_logout_done(struct core_request *request)
{
	core_watch_end(request->base.core, request->caller.session, NULL, -E_SESSION);
	core_request_answer(request);
}

struct listing {
	struct core_rows *rows;
	uint8_t own[16];
};

static int session_add(void *ctx, const struct account_session *session)
{
	const struct listing *listing = ctx;
	murmesh_SessionRow row = { .created = session->created, .expires = session->expires, .seen = session->seen };
	memcpy(row.id, session->id, sizeof row.id);
	row.own = memcmp(session->id, listing->own, sizeof row.id) == 0;
	str_copy(str_from(session->address), row.address, sizeof row.address);
	return core_rows_add(listing->rows, &row, sizeof row);
}

int core_sessions_run(struct store_tx *tx, struct core_request *request)
{
	struct listing listing = { .rows = &request->rows };
	struct user user;
	int err = core_caller_own(tx, &request->caller, &user);
	account_session_id(request->caller.session, listing.own);
	return err < 0 ? err : account_session_list(tx, &user.id, clock_wall_s(), session_add, &listing);
}

int core_session_end_run(struct store_tx *tx, struct core_request *request)
{
	const murmesh_SessionEnd *message = request->message;
	struct user user;
	int err = core_caller_own(tx, &request->caller, &user);
	if (err == 0)
		err = account_session_end_named(tx, &user.id, message->id);
	return err < 0 ? err : core_audit(tx, user.name, "console session ended", user.name, "");
}

void core_session_end_done(struct core_request *request)
{
	core_watch_check(request->base.core); /* whose session it was */
	core_request_answer(request);
}

/* ---- TOTP ---- */

int core_totp_begin_run(struct store_tx *tx, struct core_request *request)
{
	murmesh_TotpSecret *reply = request->reply;
	uint8_t secret[TOTP_SECRET_SIZE];
	struct user user;
	int err = core_caller_own(tx, &request->caller, &user);
	if (err == 0)
		err = account_totp_begin(tx, &user.id, secret);
	if (err == -E_DENIED)
		snprintf(request->base.why, sizeof request->base.why, "this account has no password yet");
	if (err < 0)
		return err;
	totp_text(secret, reply->secret);
	totp_uri(secret, user.name, reply->uri);
	mem_wipe(secret, sizeof secret);
	return 0;
}

int core_totp_confirm_run(struct store_tx *tx, struct core_request *request)
{
	const murmesh_TotpCode *message = request->message;
	struct user user;
	int err = core_caller_own(tx, &request->caller, &user);
	if (err == 0)
		err = account_totp_confirm(tx, &user.id, str_from(message->code), clock_wall_s());
	if (err == 0)
		err = core_account_fill(tx, request->base.core, &request->caller, request->reply);
	return err < 0 ? err : core_audit(tx, user.name, "TOTP turned on", user.name, "");
}

/* ---- a link, for those whom core.sock lets in ---- */

struct link_job {
	struct core_job base;
	char token[ACCOUNT_LINK_SIZE];
};

static int link_run(struct store_tx *tx, struct core_job *base)
{
	struct link_job *job = (struct link_job *)base;
	struct user user;
	int err = account_get(tx, &base->core->local_user, &user);
	if (err == 0 && user.disabled)
		err = -E_DENIED;
	if (err == 0)
		err = account_link_make(tx, &user.id, clock_wall_s(), job->token);
	return err < 0 ? err : core_audit(tx, user.name, "login link made", user.name, "");
}

void core_login_url(const struct core *core, const char *token, char *out, size_t size)
{
	snprintf(out, size, "https://%s/login#token=%s", core->address, token);
}

static void link_done(struct core_job *base)
{
	murmesh_LoginLinkReply reply;
	core_login_url(base->core, ((struct link_job *)base)->token, reply.login, sizeof reply.login);
	rpc_call_reply(base->call, &reply);
	mem_wipe(&reply, sizeof reply);
	core_job_free(base);
}

static void link_ended(struct core_job *base)
{
	mem_wipe(((struct link_job *)base)->token, ACCOUNT_LINK_SIZE);
}

void core_console_login_link(void *ctx, struct rpc_call *call, const void *request)
{
	struct link_job *job = core_job_new(ctx, call, sizeof *job);
	(void)request;
	if (!job)
		return;
	job->base.run = link_run;
	job->base.done = link_done;
	job->base.ended = link_ended;
	core_job_submit(&job->base);
}
