/* Users: who they are, what they may do and where. */
#include "account/login.h"
#include "account/session.h"
#include "base/err.h"
#include "base/mem.h"
#include "ca/records.h"
#include "os/clock.h"
#include "os/random.h"
#include "server/core.h"

static int user_fill(struct store_tx *tx, const struct user *user, murmesh_User *ret)
{
	struct account_proofs proofs = { 0 };
	int err = account_proofs(tx, &user->id, &proofs);
	*ret = (murmesh_User){ .all_groups = user->all_groups,
		               .totp = proofs.totp,
		               .password = proofs.password,
		               .created = user->created,
		               .disabled = user->disabled,
		               .last_login = user->last_login };
	memcpy(ret->id, user->id.bytes, sizeof ret->id);
	str_copy(str_from(user->name), ret->name, sizeof ret->name);
	str_copy(str_from(account_role_name(user->role)), ret->role, sizeof ret->role);
	for (struct str rest = str_from(user->groups); rest.len && ret->groups_count < ACCOUNT_GROUPS_MAX;)
		str_copy(str_cut(rest, ' ', &rest), ret->groups[ret->groups_count++], sizeof *ret->groups);
	return err;
}

/* ---- ListUsers ---- */

static int user_add(void *ctx, const struct user *user)
{
	return core_rows_add(ctx, user, sizeof *user);
}

int core_users_run(struct store_tx *tx, struct core_request *request)
{
	struct core_rows users = { 0 };
	struct user user;
	murmesh_User row;
	size_t at = 0;
	int err = core_caller_check(tx, &request->caller, ACCOUNT_USERS, &user);
	if (err == 0)
		err = account_list(tx, user_add, &users);
	while (err == 0 && core_rows_next(&users, &at, &user, sizeof user)) {
		err = user_fill(tx, &user, &row);
		if (err == 0)
			err = core_rows_add(&request->rows, &row, sizeof row);
	}
	core_rows_done(&users);
	return err;
}

/* ---- changes ---- */

static int may_change(struct store_tx *tx, struct core_request *request, struct user *ret)
{
	int err = core_caller_check(tx, &request->caller, ACCOUNT_USERS, ret);
	return err < 0 ? err : core_caller_proved(&request->caller);
}

static int role_set(struct core_request *request, const murmesh_UserChange *change, struct user *user)
{
	if (change->role[0] && account_role_parse(str_from(change->role), &user->role) < 0) {
		snprintf(request->base.why, sizeof request->base.why, "a role is viewer, operator or administrator");
		return -E_USAGE;
	}
	return 0;
}

static int groups_set(const murmesh_UserChange *change, struct user *user)
{
	char group[FLEET_GROUP_SIZE];
	int err = 0;
	user->all_groups = change->all_groups;
	memset(user->groups, 0, sizeof user->groups);
	for (pb_size_t i = 0; err == 0 && i < change->groups_count; i++) {
		err = fleet_group_parse(str_from(change->groups[i]), group);
		if (err == 0)
			err = account_groups_add(user, str_from(group));
	}
	return err;
}

static void describe(const struct user *user, char *out, size_t size)
{
	snprintf(out, size, "%s%s in %s", user->disabled ? "disabled, " : "", account_role_name(user->role),
	         user->all_groups  ? "all groups"
	         : user->groups[0] ? user->groups
	                           : "no group");
}

static int link_add(struct store_tx *tx, struct core_request *request, const struct user *user)
{
	murmesh_UserLink *reply = request->reply;
	char token[ACCOUNT_LINK_SIZE];
	int err = account_link_make(tx, &user->id, clock_wall_s(), token);
	if (err == 0)
		core_login_url(request->base.core, token, reply->login, sizeof reply->login);
	mem_wipe(token, sizeof token);
	reply->has_user = true;
	return err < 0 ? err : user_fill(tx, user, &reply->user);
}

int core_user_add_run(struct store_tx *tx, struct core_request *request)
{
	const murmesh_UserChange *change = request->message;
	struct user actor, user = { .role = ACCOUNT_VIEWER, .created = clock_wall_s() };
	char detail[1200];
	int err = may_change(tx, request, &actor);
	if (err == 0)
		err = role_set(request, change, &user);
	if (err == 0)
		err = groups_set(change, &user);
	random_id(&user.id);
	if (err == 0)
		err = str_copy(str_from(change->name), user.name, sizeof user.name);
	if (err == 0)
		err = account_add(tx, &user);
	if (err == 0)
		err = link_add(tx, request, &user);
	describe(&user, detail, sizeof detail);
	return err < 0 ? err : core_audit(tx, actor.name, "user added", user.name, detail);
}

static int user_find(struct store_tx *tx, const murmesh_UserChange *change, struct user *ret)
{
	struct id id;
	if (change->id.size != sizeof id.bytes)
		return change->id.size ? -E_ID : account_find(tx, str_from(change->name), ret);
	memcpy(id.bytes, change->id.bytes, sizeof id.bytes);
	return account_get(tx, &id, ret);
}

/* Nothing that was given to him goes on. */
static int shut_out(struct store_tx *tx, const struct user *user)
{
	int err = account_sessions_end(tx, &user->id, NULL);
	if (err == 0)
		err = ca_certificate_revoke(tx, &user->id, clock_wall_s());
	return err == -E_NOT_FOUND ? 0 : err;
}

/* The row is the user as he is then, for done(). */
int core_user_change_run(struct store_tx *tx, struct core_request *request)
{
	const murmesh_UserChange *change = request->message;
	struct user actor, user;
	char detail[1200];
	int err = change->disable && change->enable ? -E_USAGE : may_change(tx, request, &actor);
	if (err == 0)
		err = user_find(tx, change, &user);
	if (err == 0)
		err = role_set(request, change, &user);
	if (err == 0 && change->set_groups)
		err = groups_set(change, &user);
	if (err < 0)
		return err;
	if (change->disable)
		user.disabled = clock_wall_s();
	else if (change->enable)
		user.disabled = 0;
	err = account_update(tx, &user);
	if (err == 0 && change->disable)
		err = shut_out(tx, &user);
	if (err == 0 && change->forget_totp)
		err = account_totp_forget(tx, &user.id);
	if (err == 0)
		err = user_fill(tx, &user, request->reply);
	if (err == 0)
		err = core_rows_add(&request->rows, &user, sizeof user);
	describe(&user, detail, sizeof detail);
	if (change->forget_totp)
		str_copy(STR("TOTP forgotten"), detail, sizeof detail);
	return err < 0 ? err : core_audit(tx, actor.name, "user changed", user.name, detail);
}

void core_user_change_done(struct core_request *request)
{
	const murmesh_UserChange *change = request->message;
	struct core *core = request->base.core;
	struct user user;
	size_t at = 0;
	core_rows_next(&request->rows, &at, &user, sizeof user);
	if (change->role[0] || change->set_groups || change->disable) {
		core_watch_end(core, NULL, &user.id, user.disabled ? -E_SESSION : -E_FLOW); /* to begin again */
		core_pairs_close(core, &user.id, NULL);
		core_live_end(core, &user.id);
	}
	if (change->disable)
		core_revoke_tell(core);
	core_request_answer(request);
}

/* ---- another link ---- */

static int link_run(struct store_tx *tx, struct core_request *request, const murmesh_UserChange *whose)
{
	struct user actor, user;
	int err = may_change(tx, request, &actor);
	if (err == 0)
		err = user_find(tx, whose, &user);
	if (err == 0 && (user.disabled || id_equal(&user.id, &request->base.core->local_user))) {
		snprintf(request->base.why, sizeof request->base.why, "%s",
		         user.disabled ? "this user is disabled"
		                       : "links for `local` are made on the server: `murmesh login-link`");
		err = -E_DENIED;
	}
	if (err == 0)
		err = link_add(tx, request, &user);
	return err < 0 ? err : core_audit(tx, actor.name, "login link made", user.name, "");
}

int core_user_link_run(struct store_tx *tx, struct core_request *request)
{
	return link_run(tx, request, request->message);
}

int core_user_link_named_run(struct store_tx *tx, struct core_request *request)
{
	const murmesh_UserName *message = request->message;
	murmesh_UserChange whose = murmesh_UserChange_init_zero;
	str_copy(str_from(message->name), whose.name, sizeof whose.name);
	return link_run(tx, request, &whose);
}
