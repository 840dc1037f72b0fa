#include "account/account.h"

#include "base/err.h"
#include "base/utf8.h"
#include "os/random.h"
#include "store/store.h"

#define COLUMNS "id, name, role, created, disabled, last_login, all_groups, groups"

static const char *const role_names[] = {
	[ACCOUNT_VIEWER] = "viewer",
	[ACCOUNT_OPERATOR] = "operator",
	[ACCOUNT_ADMINISTRATOR] = "administrator",
};
#define N_ROLES (sizeof role_names / sizeof *role_names)

static const struct {
	enum account_role least;
	bool everywhere; /* only for those whose role holds in all groups */
} actions[] = {
	[ACCOUNT_LIST] = { ACCOUNT_VIEWER, false },
	[ACCOUNT_TUNNEL] = { ACCOUNT_OPERATOR, false },
	[ACCOUNT_RUN] = { ACCOUNT_OPERATOR, false },
	[ACCOUNT_LABEL] = { ACCOUNT_ADMINISTRATOR, false },
	[ACCOUNT_RETIRE] = { ACCOUNT_ADMINISTRATOR, false },
	[ACCOUNT_KEY_NEW] = { ACCOUNT_ADMINISTRATOR, false },
	[ACCOUNT_AUDIT_READ] = { ACCOUNT_ADMINISTRATOR, true },
	[ACCOUNT_USERS] = { ACCOUNT_ADMINISTRATOR, true },
	[ACCOUNT_COMPONENTS] = { ACCOUNT_ADMINISTRATOR, true },
};

bool account_may(const struct user *user, enum account_action action)
{
	return !user->disabled && (size_t)user->role < N_ROLES && (size_t)action < sizeof actions / sizeof *actions &&
	       user->role >= actions[action].least && (user->all_groups || !actions[action].everywhere);
}

bool account_reaches(const struct user *user, const char *group)
{
	struct str rest = str_from(user->groups);
	if (user->all_groups)
		return true;
	while (rest.len)
		if (str_is(str_cut(rest, ' ', &rest), group))
			return true;
	return false;
}

int account_groups_add(struct user *user, struct str group)
{
	struct str rest = str_from(user->groups);
	size_t n = 0, len = rest.len;
	if (!name_valid(group))
		return -E_NAME;
	for (; rest.len; n++)
		if (str_equal(str_cut(rest, ' ', &rest), group))
			return 0;
	if (n == ACCOUNT_GROUPS_MAX)
		return -E_LIMIT;
	snprintf(user->groups + len, sizeof user->groups - len, "%s%.*s", len ? " " : "", STR_ARG(group));
	return 0;
}

const char *account_role_name(enum account_role role)
{
	return role_names[role];
}

int account_role_parse(struct str name, enum account_role *ret)
{
	for (size_t i = 0; i < N_ROLES; i++)
		if (str_is(name, role_names[i])) {
			*ret = (enum account_role)i;
			return 0;
		}
	return -E_NOT_FOUND;
}

int account_add(struct store_tx *tx, const struct user *user)
{
	if (!name_valid(str_from(user->name)))
		return -E_NAME;
	struct store_query *query = store_query(tx, "INSERT INTO users (" COLUMNS ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8)");
	store_bind_id(query, 1, &user->id);
	store_bind_text(query, 2, str_from(user->name));
	store_bind_text(query, 3, str_from(account_role_name(user->role)));
	store_bind_integer(query, 4, user->created);
	store_bind_integer(query, 5, user->disabled);
	store_bind_integer(query, 6, user->last_login);
	store_bind_integer(query, 7, user->all_groups);
	store_bind_text(query, 8, str_from(user->groups));
	return store_exec(query);
}

/* 1: a user; 0: no more. */
static int user_next(struct store_query *query, struct user *ret)
{
	struct user user = { 0 };
	char role[16];
	int rows = store_step(query);
	if (rows <= 0)
		return rows;
	store_id(query, 0, &user.id);
	store_text(query, 1, user.name, sizeof user.name);
	store_text(query, 2, role, sizeof role);
	user.created = store_integer(query, 3);
	user.disabled = store_integer(query, 4);
	user.last_login = store_integer(query, 5);
	user.all_groups = store_integer(query, 6) == 1;
	store_text(query, 7, user.groups, sizeof user.groups);
	int err = store_error(query);
	if (err == 0 && account_role_parse(str_from(role), &user.role) < 0)
		err = -E_CHECKSUM;
	if (err == 0)
		*ret = user;
	return err < 0 ? err : 1;
}

static int user_read(struct store_query *query, struct user *ret)
{
	int rows = user_next(query, ret);
	return rows > 0 ? 0 : rows < 0 ? rows : -E_NOT_FOUND;
}

int account_get(struct store_tx *tx, const struct id *id, struct user *ret)
{
	struct store_query *query = store_query(tx, "SELECT " COLUMNS " FROM users WHERE id = $1");
	store_bind_id(query, 1, id);
	return user_read(query, ret);
}

int account_find(struct store_tx *tx, struct str text, struct user *ret)
{
	struct id id;
	int err = id_parse(text, &id) == 0 ? account_get(tx, &id, ret) : -E_NOT_FOUND;
	if (err != -E_NOT_FOUND || !name_valid(text))
		return err;
	struct store_query *query = store_query(tx, "SELECT " COLUMNS " FROM users WHERE lower(name) = lower($1)");
	store_bind_text(query, 1, text);
	return user_read(query, ret);
}

int account_ensure_local(struct store_tx *tx, int64_t now, struct user *ret)
{
	struct user user = { .name = "local", .role = ACCOUNT_ADMINISTRATOR, .created = now, .all_groups = true };
	int err = account_find(tx, STR("local"), ret);
	if (err != -E_NOT_FOUND)
		return err;
	random_id(&user.id);
	err = account_add(tx, &user);
	if (err == 0)
		*ret = user;
	return err;
}

int account_list(struct store_tx *tx, int (*each)(void *ctx, const struct user *user), void *ctx)
{
	int rows;
	struct user user;
	struct store_query *query = store_query(tx, "SELECT " COLUMNS " FROM users ORDER BY lower(name)");
	while ((rows = user_next(query, &user)) > 0) {
		int err = each(ctx, &user);
		if (err < 0)
			return err;
	}
	return rows;
}

/* Besides this one. */
static int others_administrate(struct store_tx *tx, const struct id *id, bool *ret)
{
	struct store_query *query =
	        store_query(tx, "SELECT 1 FROM users WHERE id <> $1 AND role = 'administrator' AND all_groups = 1 AND disabled = 0"
	                        " AND (name = 'local' OR EXISTS (SELECT 1 FROM proofs WHERE proofs.user = users.id)) LIMIT 1");
	store_bind_id(query, 1, id);
	int rows = store_step(query);
	*ret = rows > 0;
	return rows < 0 ? rows : 0;
}

int account_update(struct store_tx *tx, const struct user *user)
{
	bool others = true;
	int err = account_may(user, ACCOUNT_USERS) ? 0 : others_administrate(tx, &user->id, &others);
	if (err < 0 || !others)
		return err < 0 ? err : -E_LAST_ADMINISTRATOR;
	struct store_query *query =
	        store_query(tx, "UPDATE users SET role = $1, all_groups = $2, groups = $3, disabled = $4 WHERE id = $5");
	store_bind_text(query, 1, str_from(account_role_name(user->role)));
	store_bind_integer(query, 2, user->all_groups);
	store_bind_text(query, 3, str_from(user->groups));
	store_bind_integer(query, 4, user->disabled);
	store_bind_id(query, 5, &user->id);
	err = store_exec(query);
	return err < 0 ? err : store_changed(tx) ? 0 : -E_NOT_FOUND;
}

int account_logged_in(struct store_tx *tx, const struct id *id, int64_t now)
{
	struct store_query *query = store_query(tx, "UPDATE users SET last_login = $1 WHERE id = $2");
	store_bind_integer(query, 1, now);
	store_bind_id(query, 2, id);
	return store_exec(query);
}
