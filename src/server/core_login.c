/* Logins and whatever else needs a password: what the hash role has to compute goes between two jobs. */
#include "account/login.h"
#include "account/session.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "os/clock.h"
#include "os/random.h"
#include "server/core.h"

#define LOGINS_MAX            10 /* at a time: what the hash role holds */
#define BAD_LOGINS_PER_MINUTE 30 /* in the audit log, which a flood must not fill */
#define HASH_MS               30000

/* begin_run, Hash.Verify, Hash.Make where there is a new password, finish_run: which calls good() when all is as it should be. */
struct login_job {
	struct core_job base;
	struct core_caller caller; /* by_session where there is one */
	struct account_login login;
	int (*good)(struct store_tx *tx, struct login_job *job, const struct user *user);
	void (*answer)(struct login_job *job); /* loop; ends with core_job_free() */
	char name[64], password[PASSWORD_MOST + 1], code[16], address[ACCOUNT_ADDRESS_SIZE];
	char chosen[PASSWORD_MOST + 1], encoded[PASSWORD_ENCODED_SIZE]; /* the new password */
	char token[ACCOUNT_LINK_SIZE + 8];
	uint8_t key[sizeof((murmesh_CheckedLogin *)0)->key.bytes];
	size_t key_len;
	union {
		murmesh_SessionReply session;
		murmesh_Account account;
	} reply;
	struct id user;  /* who it was */
	bool unverified; /* good() itself sees to it that no old password is needed */
	bool matches;
	bool counted;       /* in core->logins */
	bool audited;       /* a failure goes into the audit log */
	unsigned unwritten; /* that did not before it */
	int verdict;
};

static void login_ended(struct core_job *base)
{
	struct login_job *job = (struct login_job *)base;
	if (job->counted)
		base->core->logins--;
	mem_wipe(&job->caller, sizeof *job - offsetof(struct login_job, caller));
}

static void answer_account(struct login_job *job)
{
	rpc_call_reply(job->base.call, &job->reply.account);
	core_job_free(&job->base);
}

static void answer_session(struct login_job *job)
{
	rpc_call_reply(job->base.call, &job->reply.session);
	core_job_free(&job->base);
}

static struct login_job *login_new(struct core *core, struct rpc_call *call,
                                   int (*good)(struct store_tx *tx, struct login_job *job, const struct user *user),
                                   void (*answer)(struct login_job *job))
{
	struct login_job *job = core_job_new(core, call, sizeof *job);
	if (!job)
		return NULL;
	job->base.hurried = true;
	job->base.ended = login_ended;
	job->good = good;
	job->answer = answer;
	return job;
}

static void caller_set(struct login_job *job, const uint8_t session[32])
{
	job->caller.by_session = true;
	memcpy(job->caller.session, session, sizeof job->caller.session);
}

/* ---- what failed, in the audit log ---- */

/* Whether a failure may be written down; those that may not are counted and told of with the next. */
static void audit_prepare(struct core *core, struct login_job *job)
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

static void audit_settle(struct core *core, const struct login_job *job)
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

static int bad_audit(struct store_tx *tx, const struct login_job *job, const char *object)
{
	char detail[160];
	int len = snprintf(detail, sizeof detail, "%s%s", job->address[0] ? "from " : "", job->address);
	if (job->unwritten)
		snprintf(detail + len, sizeof detail - (size_t)len, "; %u more were not written", job->unwritten);
	if (!job->audited)
		return 0;
	return core_audit(tx, job->caller.by_session ? object : "somebody", "login failed", object, detail);
}

/* A wrong password is no error of the job: what it counted and wrote down has to stay. */
static int verdict(struct store_tx *tx, struct login_job *job, int err, const struct user *user, const char *object)
{
	job->verdict = err;
	switch (err) {
	case 0:
		job->user = user->id;
		return job->good(tx, job, user);
	case -E_CODE_WANTED:
		return 0;
	case -E_LOGIN:
	case -E_LOGIN_LINK:
		return bad_audit(tx, job, object);
	default:
		return err;
	}
}

static void finish_done(struct core_job *base)
{
	struct login_job *job = (struct login_job *)base;
	audit_settle(base->core, job);
	if (job->verdict == -E_CODE_WANTED && job->answer == answer_session)
		job->reply.session.code_wanted = true;
	else if (job->verdict < 0)
		return core_job_fail(base, job->verdict, NULL);
	job->answer(job);
}

/* ---- the way of a password ---- */

static int finish_run(struct store_tx *tx, struct core_job *base)
{
	struct login_job *job = (struct login_job *)base;
	struct user user;
	int err = job->unverified ? core_caller_own(tx, &job->caller, &user)
	                          : account_login_finish(tx, &job->login, job->matches, str_from(job->code), clock_wall_s(), &user);
	return verdict(tx, job, err, &user, job->login.name);
}

static void finish(struct login_job *job)
{
	job->base.run = finish_run;
	job->base.done = finish_done;
	audit_prepare(job->base.core, job);
	core_job_submit(&job->base);
}

static void hash_ask(struct login_job *job, const struct rpc_method *method, const char *password, const char *encoded,
                     rpc_unary_done done)
{
	murmesh_HashRequest request = murmesh_HashRequest_init_zero;
	struct core *core = job->base.core;
	str_copy(str_from(password), request.password, sizeof request.password);
	str_copy(str_from(encoded), request.encoded, sizeof request.encoded);
	int err = core->hash ? rpc_unary(core->hash, method, &request, HASH_MS, done, job) : -E_BUSY;
	mem_wipe(&request, sizeof request);
	if (err < 0)
		core_job_fail(&job->base, err, NULL);
}

static void on_made(void *ctx, int err, const char *why, const void *response)
{
	struct login_job *job = ctx;
	if (err < 0)
		return core_job_fail(&job->base, err, why);
	str_copy(str_from(((const murmesh_HashReply *)response)->encoded), job->encoded, sizeof job->encoded);
	finish(job);
}

static void on_verified(void *ctx, int err, const char *why, const void *response)
{
	struct login_job *job = ctx;
	if (err < 0)
		return core_job_fail(&job->base, err, why);
	job->matches = ((const murmesh_HashReply *)response)->matches;
	if (job->matches && job->chosen[0])
		hash_ask(job, &rpc_Hash_Make, job->chosen, "", on_made);
	else
		finish(job);
}

static void begin_done(struct core_job *base)
{
	struct login_job *job = (struct login_job *)base;
	if (job->unverified)
		hash_ask(job, &rpc_Hash_Make, job->chosen, "", on_made);
	else
		hash_ask(job, &rpc_Hash_Verify, job->password, job->login.encoded, on_verified);
}

/* Of one who is logged in: his own name. */
static int own_begin(struct store_tx *tx, struct login_job *job)
{
	struct account_proofs proofs = { 0 };
	struct user user;
	int err = core_caller_own(tx, &job->caller, &user);
	if (err == 0)
		err = account_proofs(tx, &user.id, &proofs);
	if (err == 0 && !proofs.password) {
		snprintf(job->base.why, sizeof job->base.why, "this account has no password: log in by a new link instead");
		err = -E_DENIED;
	}
	if (err == 0 && job->chosen[0] && !password_acceptable(str_from(job->chosen), str_from(user.name)))
		err = -E_PASSWORD;
	return err < 0 ? err : str_copy(str_from(user.name), job->name, sizeof job->name);
}

static int begin_run(struct store_tx *tx, struct core_job *base)
{
	struct login_job *job = (struct login_job *)base;
	int64_t wait = 0;
	int err = job->caller.by_session ? own_begin(tx, job) : 0;
	if (err == 0)
		err = account_login_begin(tx, str_from(job->name), clock_wall_s(), &job->login, &wait);
	if (err == -E_LOGIN_DELAY)
		snprintf(base->why, sizeof base->why, "the next attempt is possible in %lld s", (long long)wait);
	return err;
}

static void begin(struct login_job *job, int (*run)(struct store_tx *tx, struct core_job *base))
{
	struct core *core = job->base.core;
	if (core->logins >= LOGINS_MAX)
		return core_job_fail(&job->base, -E_BUSY, "too many people log in at the moment");
	core->logins++;
	job->counted = true;
	job->base.run = run;
	job->base.done = begin_done;
	core_job_submit(&job->base);
}

/* ---- a session, by link or password ---- */

static int good_session(struct store_tx *tx, struct login_job *job, const struct user *user)
{
	char detail[160];
	bool by_link = job->token[0];
	struct core_caller caller = { .by_session = true };
	int err = account_session_make(tx, &user->id, str_from(job->address), by_link, clock_wall_s(), job->reply.session.session,
	                               &job->reply.session.expires);
	memcpy(caller.session, job->reply.session.session, sizeof caller.session);
	job->reply.session.has_account = true;
	if (err == 0)
		err = core_account_fill(tx, job->base.core, &caller, &job->reply.session.account);
	mem_wipe(&caller, sizeof caller);
	snprintf(detail, sizeof detail, "by %s, from %s", by_link ? "link" : "password", job->address);
	return err < 0 ? err : core_audit(tx, user->name, "console login", user->name, detail);
}

static int link_run(struct store_tx *tx, struct core_job *base)
{
	struct login_job *job = (struct login_job *)base;
	struct user user;
	int err = account_link_use(tx, str_from(job->token), clock_wall_s(), &user);
	return verdict(tx, job, err, &user, "");
}

void core_console_by_link(void *ctx, struct rpc_call *call, const void *message)
{
	const murmesh_LinkLogin *request = message;
	struct login_job *job = login_new(ctx, call, good_session, answer_session);
	if (!job)
		return;
	job->base.run = link_run;
	job->base.done = finish_done;
	str_copy(str_from(request->address), job->address, sizeof job->address);
	audit_prepare(ctx, job);
	if (str_copy(str_from(request->token), job->token, sizeof job->token) < 0)
		return core_job_fail(&job->base, -E_LOGIN_LINK, NULL);
	core_job_submit(&job->base);
}

void core_console_by_password(void *ctx, struct rpc_call *call, const void *message)
{
	const murmesh_PasswordLogin *request = message;
	struct login_job *job = login_new(ctx, call, good_session, answer_session);
	if (!job)
		return;
	str_copy(str_from(request->name), job->name, sizeof job->name);
	str_copy(str_from(request->password), job->password, sizeof job->password);
	str_copy(str_from(request->code), job->code, sizeof job->code);
	str_copy(str_from(request->address), job->address, sizeof job->address);
	begin(job, begin_run);
}

/* ---- a certificate for a command line elsewhere ---- */

static int good_certificate(struct store_tx *tx, struct login_job *job, const struct user *user)
{
	char detail[160];
	int err = account_logged_in(tx, &user->id, clock_wall_s());
	snprintf(detail, sizeof detail, "from %s", job->address);
	return err < 0 ? err : core_audit(tx, user->name, "command line login", user->name, detail);
}

static void answer_certificate(struct login_job *job)
{
	core_enrol_user(job->base.core, job->base.call, &job->user, job->key, job->key_len);
	core_job_free(&job->base);
}

void core_user_login(void *ctx, struct rpc_call *call, const void *message)
{
	const murmesh_CheckedLogin *request = message;
	struct login_job *job = login_new(ctx, call, good_certificate, answer_certificate);
	if (!job)
		return;
	str_copy(str_from(request->proof.name), job->name, sizeof job->name);
	str_copy(str_from(request->proof.password), job->password, sizeof job->password);
	str_copy(str_from(request->proof.code), job->code, sizeof job->code);
	str_copy(str_from(request->address), job->address, sizeof job->address);
	memcpy(job->key, request->key.bytes, request->key.size);
	job->key_len = request->key.size;
	begin(job, begin_run);
}

/* ---- proofs of one who is logged in ---- */

static struct login_job *proof_new(struct core *core, struct rpc_call *call, const uint8_t session[32], const char *password,
                                   const char *code,
                                   int (*good)(struct store_tx *tx, struct login_job *job, const struct user *user),
                                   void (*answer)(struct login_job *job))
{
	struct login_job *job = login_new(core, call, good, answer);
	if (!job)
		return NULL;
	caller_set(job, session);
	str_copy(str_from(password), job->password, sizeof job->password);
	str_copy(str_from(code), job->code, sizeof job->code);
	return job;
}

static int good_step_up(struct store_tx *tx, struct login_job *job, const struct user *user)
{
	int err = account_session_prove(tx, job->caller.session, clock_wall_s());
	if (err == 0)
		err = core_account_fill(tx, job->base.core, &job->caller, &job->reply.account);
	return err < 0 ? err : core_audit(tx, user->name, "password given again", user->name, "");
}

void core_console_step_up(void *ctx, struct rpc_call *call, const void *message)
{
	const murmesh_StepUpRequest *request = message;
	struct login_job *job =
	        proof_new(ctx, call, request->session, request->password, request->code, good_step_up, answer_account);
	if (job)
		begin(job, begin_run);
}

static int good_totp_forget(struct store_tx *tx, struct login_job *job, const struct user *user)
{
	int err = account_totp_forget(tx, &user->id);
	if (err == 0)
		err = core_account_fill(tx, job->base.core, &job->caller, &job->reply.account);
	return err < 0 ? err : core_audit(tx, user->name, "TOTP turned off", user->name, "");
}

void core_console_totp_forget(void *ctx, struct rpc_call *call, const void *message)
{
	const murmesh_StepUpRequest *request = message;
	struct login_job *job =
	        proof_new(ctx, call, request->session, request->password, request->code, good_totp_forget, answer_account);
	if (job)
		begin(job, begin_run);
}

/* ---- a new password: other sessions end ---- */

static void answer_password(struct login_job *job)
{
	core_watch_check(job->base.core);
	answer_account(job);
}

static int password_keep(struct store_tx *tx, struct login_job *job, const struct user *user)
{
	int err = account_password_set(tx, &user->id, job->encoded);
	if (err == 0)
		err = account_sessions_end(tx, &user->id, job->caller.session);
	if (err == 0)
		err = core_account_fill(tx, job->base.core, &job->caller, &job->reply.account);
	return err;
}

static int good_password(struct store_tx *tx, struct login_job *job, const struct user *user)
{
	int err = password_keep(tx, job, user);
	return err < 0 ? err : core_audit(tx, user->name, "password changed", user->name, "");
}

void core_console_change_password(void *ctx, struct rpc_call *call, const void *message)
{
	const murmesh_PasswordChange *request = message;
	struct login_job *job =
	        proof_new(ctx, call, request->session, request->password, request->code, good_password, answer_password);
	if (!job)
		return;
	str_copy(str_from(request->chosen), job->chosen, sizeof job->chosen);
	if (!job->chosen[0])
		return core_job_fail(&job->base, -E_PASSWORD, NULL);
	begin(job, begin_run);
}

/* ---- after a link: the first administrator is made; somebody else chooses a password ---- */

static int setup_check(struct store_tx *tx, struct login_job *job, struct user *ret)
{
	struct account_session session;
	struct user taken;
	bool administrated = false;
	struct str name = str_from(job->name);
	int err = account_session_use(tx, job->caller.session, clock_wall_s(), ret, &session);
	if (err < 0)
		return err;
	job->caller.user = ret->id;
	bool first = id_equal(&ret->id, &job->base.core->local_user);
	if (first)
		err = account_administrated(tx, &administrated);
	if (err < 0)
		return err;
	if (!session.by_link || administrated || (!first && name.len && !str_is(name, ret->name)))
		return -E_DENIED;
	if (first && !name_valid(name))
		return -E_NAME;
	if (!password_acceptable(str_from(job->chosen), first ? name : str_from(ret->name)))
		return -E_PASSWORD;
	err = first ? account_find(tx, name, &taken) : -E_NOT_FOUND;
	return err == 0 ? -E_EXISTS : err == -E_NOT_FOUND ? 0 : err;
}

static int setup_begin_run(struct store_tx *tx, struct core_job *base)
{
	struct user user;
	return setup_check(tx, (struct login_job *)base, &user);
}

/* `local` stays what core.sock lets in, and is nobody to log in as. */
static int first_add(struct store_tx *tx, struct login_job *job, struct user *ret)
{
	struct user user = { .role = ACCOUNT_ADMINISTRATOR, .created = clock_wall_s(), .all_groups = true };
	random_id(&user.id);
	str_copy(str_from(job->name), user.name, sizeof user.name);
	int err = account_add(tx, &user);
	if (err == 0)
		err = account_logged_in(tx, &user.id, user.created);
	if (err == 0)
		*ret = user;
	return err;
}

static int good_setup(struct store_tx *tx, struct login_job *job, const struct user *user)
{
	struct user chooser;
	int err = setup_check(tx, job, &chooser); /* once more: others may have been faster */
	bool first = err == 0 && id_equal(&chooser.id, &job->base.core->local_user);
	if (first)
		err = first_add(tx, job, &chooser);
	if (err == 0)
		err = account_session_give(tx, job->caller.session, &chooser.id);
	if (err == 0)
		err = password_keep(tx, job, &chooser);
	if (err < 0)
		return err;
	return core_audit(tx, user->name, first ? "administrator made" : "password chosen", chooser.name, "");
}

void core_console_setup(void *ctx, struct rpc_call *call, const void *message)
{
	const murmesh_SetupRequest *request = message;
	struct login_job *job = login_new(ctx, call, good_setup, answer_password);
	if (!job)
		return;
	caller_set(job, request->session);
	job->unverified = true;
	str_copy(str_from(request->name), job->name, sizeof job->name);
	str_copy(str_from(request->password), job->chosen, sizeof job->chosen);
	begin(job, setup_begin_run);
}
