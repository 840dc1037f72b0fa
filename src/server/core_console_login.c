/* The console: logins, sessions, and what a user sets about himself. */
#include "account/login.h"
#include "account/session.h"
#include "audit/audit.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "os/clock.h"
#include "os/random.h"
#include "server/core.h"

#define LOGINS_MAX            10 /* at a time: what the hash role holds */
#define BAD_LOGINS_PER_MINUTE 30 /* in the audit log, which a flood must not fill */
#define HASH_MS               30000

static int audit_user(struct store_tx *tx, const struct user *user, struct str action, struct str detail)
{
	const struct audit_event event = { str_from(user->name), action, str_from(user->name), detail };
	return audit_append(tx, clock_wall_s(), &event);
}

static int account_fill(struct store_tx *tx, const struct core *core, const struct user *user, murmesh_Account *ret)
{
	struct account_proofs proofs = { 0 };
	bool administrated;
	int err = account_proofs(tx, &user->id, &proofs);
	if (err == 0)
		err = account_administrated(tx, &administrated);
	if (err < 0)
		return err;
	str_copy(str_from(user->name), ret->name, sizeof ret->name);
	str_copy(str_from(account_role_name(user->role)), ret->role, sizeof ret->role);
	ret->setup_wanted = id_equal(&user->id, &core->local_user) && !administrated;
	ret->totp = proofs.totp;
	return 0;
}

/* ---- logins ---- */

struct login_job {
	struct core_job base;
	struct account_login login;
	murmesh_PasswordLogin password; /* its address also of a login by link */
	char token[ACCOUNT_LINK_SIZE + 8];
	murmesh_SessionReply reply;
	bool matches, counted;
	bool audited;       /* a failure goes into the audit log */
	unsigned unwritten; /* that did not before it */
	int verdict;
};

static void login_ended(struct core_job *base)
{
	struct login_job *job = (struct login_job *)base;
	if (job->counted)
		base->core->logins--;
	mem_wipe(&job->login, sizeof *job - offsetof(struct login_job, login));
}

static struct login_job *login_new(struct core *core, struct rpc_call *call, int (*run)(struct store_tx *tx, struct core_job *job),
                                   void (*done)(struct core_job *job))
{
	struct login_job *job = core_job_new(core, call, sizeof *job);
	if (!job)
		return NULL;
	job->base.run = run;
	job->base.done = done;
	job->base.ended = login_ended;
	return job;
}

/* Whether a failure may be written down; those that may not are counted and told of with the next. */
static void login_audit_prepare(struct core *core, struct login_job *job)
{
	int64_t minute = clock_wall_s() / 60;
	if (minute != core->bad_logins_since) {
		core->bad_logins_since = minute;
		core->bad_logins = 0;
	}
	job->audited = core->bad_logins < BAD_LOGINS_PER_MINUTE;
	if (job->audited)
		job->unwritten = core->bad_logins_unwritten;
}

static void login_audit_settle(struct core *core, const struct login_job *job)
{
	if (job->verdict == 0 || job->verdict == -E_CODE_WANTED)
		return;
	if (job->audited) {
		core->bad_logins++;
		core->bad_logins_unwritten -=
		        job->unwritten < core->bad_logins_unwritten ? job->unwritten : core->bad_logins_unwritten;
	} else
		core->bad_logins_unwritten++;
}

static int login_bad(struct store_tx *tx, const struct login_job *job, const char *object)
{
	char detail[160];
	int len = snprintf(detail, sizeof detail, "from %s", job->password.address);
	if (job->unwritten)
		snprintf(detail + len, sizeof detail - (size_t)len, "; %u more were not written", job->unwritten);
	const struct audit_event event = { STR("somebody"), STR("login failed"), str_from(object), str_from(detail) };
	return job->audited ? audit_append(tx, clock_wall_s(), &event) : 0;
}

static int login_good(struct store_tx *tx, struct login_job *job, const struct user *user, struct str how)
{
	char detail[160];
	int err = account_session_make(tx, &user->id, str_from(job->password.address), clock_wall_s(), job->reply.session,
	                               &job->reply.expires);
	job->reply.has_account = true;
	if (err == 0)
		err = account_fill(tx, job->base.core, user, &job->reply.account);
	snprintf(detail, sizeof detail, "%.*s, from %s", STR_ARG(how), job->password.address);
	return err < 0 ? err : audit_user(tx, user, STR("console login"), str_from(detail));
}

/* A wrong password is no error of the job: what it counted and wrote down has to stay. */
static int login_verdict(struct store_tx *tx, struct login_job *job, int err, const struct user *user, struct str how,
                         const char *object)
{
	job->verdict = err;
	switch (err) {
	case 0:
		return login_good(tx, job, user, how);
	case -E_CODE_WANTED:
		job->reply.code_wanted = true;
		return 0;
	case -E_LOGIN:
	case -E_LOGIN_LINK:
		return login_bad(tx, job, object);
	default:
		return err;
	}
}

static void login_done(struct core_job *base)
{
	struct login_job *job = (struct login_job *)base;
	login_audit_settle(base->core, job);
	if (job->verdict < 0 && job->verdict != -E_CODE_WANTED)
		return core_job_fail(base, job->verdict, NULL);
	rpc_call_reply(base->call, &job->reply);
	core_job_free(base);
}

static int link_run(struct store_tx *tx, struct core_job *base)
{
	struct login_job *job = (struct login_job *)base;
	struct user user;
	int err = account_link_use(tx, str_from(job->token), clock_wall_s(), &user);
	return login_verdict(tx, job, err, &user, STR("by link"), "");
}

void core_console_by_link(void *ctx, struct rpc_call *call, const void *message)
{
	const murmesh_LinkLogin *request = message;
	struct login_job *job = login_new(ctx, call, link_run, login_done);
	if (!job)
		return;
	str_copy(str_from(request->address), job->password.address, sizeof job->password.address);
	login_audit_prepare(ctx, job);
	if (str_copy(str_from(request->token), job->token, sizeof job->token) < 0)
		return core_job_fail(&job->base, -E_LOGIN_LINK, NULL);
	core_job_submit(&job->base);
}

static int finish_run(struct store_tx *tx, struct core_job *base)
{
	struct login_job *job = (struct login_job *)base;
	struct user user;
	int err = account_login_finish(tx, &job->login, job->matches, str_from(job->password.code), clock_wall_s(), &user);
	return login_verdict(tx, job, err, &user, STR("by password"), job->login.name);
}

static void on_verified(void *ctx, int err, const char *why, const void *response)
{
	struct login_job *job = ctx;
	if (err < 0)
		return core_job_fail(&job->base, err, why);
	job->matches = ((const murmesh_HashReply *)response)->matches;
	job->base.run = finish_run;
	job->base.done = login_done;
	login_audit_prepare(job->base.core, job);
	core_job_submit(&job->base);
}

static int begin_run(struct store_tx *tx, struct core_job *base)
{
	struct login_job *job = (struct login_job *)base;
	int64_t wait = 0;
	int err = account_login_begin(tx, str_from(job->password.name), clock_wall_s(), &job->login, &wait);
	if (err == -E_LOGIN_DELAY)
		snprintf(base->why, sizeof base->why, "the next attempt is possible in %lld s", (long long)wait);
	return err;
}

static void begin_done(struct core_job *base)
{
	struct login_job *job = (struct login_job *)base;
	murmesh_HashRequest request = murmesh_HashRequest_init_zero;
	str_copy(str_from(job->password.password), request.password, sizeof request.password);
	str_copy(str_from(job->login.encoded), request.encoded, sizeof request.encoded);
	int err = base->core->hash ? rpc_unary(base->core->hash, &rpc_Hash_Verify, &request, HASH_MS, on_verified, job) : -E_BUSY;
	mem_wipe(&request, sizeof request);
	if (err < 0)
		core_job_fail(base, err, NULL);
}

void core_console_by_password(void *ctx, struct rpc_call *call, const void *message)
{
	struct core *core = ctx;
	struct login_job *job = login_new(core, call, begin_run, begin_done);
	if (!job)
		return;
	if (core->logins >= LOGINS_MAX)
		return core_job_fail(&job->base, -E_BUSY, "too many people log in at the moment");
	core->logins++;
	job->counted = true;
	job->password = *(const murmesh_PasswordLogin *)message;
	core_job_submit(&job->base);
}

/* ---- a session ---- */

/* Whose session it is; everybody may see and change what is his own. */
static int own_user(struct store_tx *tx, struct console_job *job, struct user *ret)
{
	int err = account_session_use(tx, job->caller.session, clock_wall_s(), ret);
	if (err == 0)
		job->caller.user = ret->id;
	return err;
}

static int me_run(struct store_tx *tx, struct core_job *base)
{
	struct console_job *job = (struct console_job *)base;
	struct user user;
	int err = own_user(tx, job, &user);
	return err < 0 ? err : account_fill(tx, base->core, &user, &job->reply.account);
}

void core_console_me(void *ctx, struct rpc_call *call, const void *request)
{
	struct console_job *job = core_console_job(ctx, call, request, sizeof(murmesh_SessionRequest), me_run);
	if (job)
		core_job_submit(&job->base);
}

static int logout_run(struct store_tx *tx, struct core_job *base)
{
	struct console_job *job = (struct console_job *)base;
	struct user user;
	int err = own_user(tx, job, &user);
	if (err == 0)
		err = account_session_end(tx, job->caller.session);
	return err < 0 ? err : audit_user(tx, &user, STR("console logout"), STR(""));
}

static void logout_done(struct core_job *base)
{
	core_watch_end(base->core, ((struct console_job *)base)->caller.session);
	core_console_reply(base);
}

void core_console_logout(void *ctx, struct rpc_call *call, const void *request)
{
	struct console_job *job = core_console_job(ctx, call, request, sizeof(murmesh_SessionRequest), logout_run);
	if (!job)
		return;
	job->base.done = logout_done;
	core_job_submit(&job->base);
}

/* ---- the first administrator: `local` stays what core.sock lets in, and is nobody to log in as ---- */

static int setup_check(struct store_tx *tx, struct console_job *job, struct user *ret)
{
	struct user taken;
	struct str name = str_from(job->request.setup.name);
	int err = own_user(tx, job, ret);
	if (err < 0)
		return err;
	if (!id_equal(&ret->id, &job->base.core->local_user) || !account_may(ret->role, ACCOUNT_USERS))
		return -E_DENIED;
	if (!name_valid(name))
		return -E_NAME;
	if (!password_acceptable(str_from(job->request.setup.password), name))
		return -E_PASSWORD;
	err = account_find(tx, name, &taken);
	return err == 0 ? -E_EXISTS : err == -E_NOT_FOUND ? 0 : err;
}

static int setup_begin_run(struct store_tx *tx, struct core_job *base)
{
	struct user user;
	return setup_check(tx, (struct console_job *)base, &user);
}

static int setup_run(struct store_tx *tx, struct core_job *base)
{
	struct console_job *job = (struct console_job *)base;
	struct user local, user = { .role = ACCOUNT_ADMINISTRATOR, .created = clock_wall_s() };
	int err = setup_check(tx, job, &local);
	if (err < 0)
		return err;
	random_id(&user.id);
	str_copy(str_from(job->request.setup.name), user.name, sizeof user.name);
	err = account_add(tx, &user);
	if (err == 0)
		err = account_password_set(tx, &user.id, job->encoded);
	if (err == 0)
		err = account_session_give(tx, job->caller.session, &user.id);
	if (err == 0)
		err = account_fill(tx, base->core, &user, &job->reply.account);
	const struct audit_event event = { str_from(local.name), STR("administrator made"), str_from(user.name), STR("") };
	return err < 0 ? err : audit_append(tx, clock_wall_s(), &event);
}

static void on_made(void *ctx, int err, const char *why, const void *response)
{
	struct console_job *job = ctx;
	if (err < 0)
		return core_job_fail(&job->base, err, why);
	str_copy(str_from(((const murmesh_HashReply *)response)->encoded), job->encoded, sizeof job->encoded);
	job->base.run = setup_run;
	job->base.done = core_console_reply;
	core_job_submit(&job->base);
}

static void setup_begin_done(struct core_job *base)
{
	struct console_job *job = (struct console_job *)base;
	murmesh_HashRequest request = murmesh_HashRequest_init_zero;
	str_copy(str_from(job->request.setup.password), request.password, sizeof request.password);
	int err = base->core->hash ? rpc_unary(base->core->hash, &rpc_Hash_Make, &request, HASH_MS, on_made, job) : -E_BUSY;
	mem_wipe(&request, sizeof request);
	if (err < 0)
		core_job_fail(base, err, NULL);
}

void core_console_setup(void *ctx, struct rpc_call *call, const void *request)
{
	struct core *core = ctx;
	struct console_job *job = core_console_job(core, call, request, sizeof(murmesh_SetupRequest), setup_begin_run);
	if (!job)
		return;
	if (core->logins >= LOGINS_MAX)
		return core_job_fail(&job->base, -E_BUSY, "too many people log in at the moment");
	core->logins++;
	job->login = true;
	job->base.done = setup_begin_done;
	core_job_submit(&job->base);
}

/* ---- TOTP ---- */

static int totp_begin_run(struct store_tx *tx, struct core_job *base)
{
	struct console_job *job = (struct console_job *)base;
	uint8_t secret[TOTP_SECRET_SIZE];
	struct user user;
	int err = own_user(tx, job, &user);
	if (err == 0)
		err = account_totp_begin(tx, &user.id, secret);
	if (err == -E_DENIED)
		snprintf(base->why, sizeof base->why, "this account has no password yet");
	if (err < 0)
		return err;
	totp_text(secret, job->reply.totp.secret);
	totp_uri(secret, user.name, job->reply.totp.uri);
	mem_wipe(secret, sizeof secret);
	return 0;
}

void core_console_totp_begin(void *ctx, struct rpc_call *call, const void *request)
{
	struct console_job *job = core_console_job(ctx, call, request, sizeof(murmesh_SessionRequest), totp_begin_run);
	if (job)
		core_job_submit(&job->base);
}

static int totp_confirm_run(struct store_tx *tx, struct core_job *base)
{
	struct console_job *job = (struct console_job *)base;
	struct user user;
	int err = own_user(tx, job, &user);
	if (err == 0)
		err = account_totp_confirm(tx, &user.id, str_from(job->request.totp.code), clock_wall_s());
	if (err == 0)
		err = account_fill(tx, base->core, &user, &job->reply.account);
	return err < 0 ? err : audit_user(tx, &user, STR("TOTP turned on"), STR(""));
}

void core_console_totp_confirm(void *ctx, struct rpc_call *call, const void *request)
{
	struct console_job *job = core_console_job(ctx, call, request, sizeof(murmesh_TotpCode), totp_confirm_run);
	if (job)
		core_job_submit(&job->base);
}

/* ---- a link, for those whom core.sock lets in ---- */

struct link_job {
	struct core_job base;
	char token[ACCOUNT_LINK_SIZE];
};

static int link_make_run(struct store_tx *tx, struct core_job *base)
{
	struct link_job *job = (struct link_job *)base;
	struct user user;
	int err = account_get(tx, &base->core->local_user, &user);
	if (err == 0 && user.disabled)
		err = -E_DENIED;
	if (err == 0)
		err = account_link_make(tx, &user.id, clock_wall_s(), job->token);
	return err < 0 ? err : audit_user(tx, &user, STR("login link made"), STR(""));
}

static void link_make_done(struct core_job *base)
{
	struct link_job *job = (struct link_job *)base;
	murmesh_LoginLinkReply reply;
	snprintf(reply.login, sizeof reply.login, "https://%s/login#token=%s", base->core->address, job->token);
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
	job->base.run = link_make_run;
	job->base.done = link_make_done;
	job->base.ended = link_ended;
	core_job_submit(&job->base);
}
