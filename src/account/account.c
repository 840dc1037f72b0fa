#include "account/account.h"

#include "base/err.h"
#include "base/utf8.h"
#include "os/random.h"
#include "store/store.h"

static const char *const role_names[] = {
	[ACCOUNT_VIEWER] = "viewer",
	[ACCOUNT_OPERATOR] = "operator",
	[ACCOUNT_ADMINISTRATOR] = "administrator",
};
#define N_ROLES (sizeof role_names / sizeof *role_names)

static const enum account_role least_role[] = {
	[ACCOUNT_LIST] = ACCOUNT_VIEWER,           [ACCOUNT_TUNNEL] = ACCOUNT_OPERATOR,
	[ACCOUNT_RUN] = ACCOUNT_OPERATOR,          [ACCOUNT_AUDIT_READ] = ACCOUNT_ADMINISTRATOR,
	[ACCOUNT_KEY_NEW] = ACCOUNT_ADMINISTRATOR, [ACCOUNT_RETIRE] = ACCOUNT_ADMINISTRATOR,
	[ACCOUNT_RENAME] = ACCOUNT_ADMINISTRATOR,  [ACCOUNT_REVOKE] = ACCOUNT_ADMINISTRATOR,
	[ACCOUNT_USERS] = ACCOUNT_ADMINISTRATOR,
};

bool account_may(enum account_role role, enum account_action action)
{
	return (size_t)role < N_ROLES && (size_t)action < sizeof least_role / sizeof *least_role && role >= least_role[action];
}

const char *account_role_name(enum account_role role)
{
	return role_names[role];
}

int account_add(struct store_tx *tx, const struct user *user)
{
	if (!name_valid(str_from(user->name)))
		return -E_NAME;
	struct store_query *query =
	        store_query(tx, "INSERT INTO users (id, name, role, created, disabled) VALUES ($1, $2, $3, $4, $5)");
	store_bind_id(query, 1, &user->id);
	store_bind_text(query, 2, str_from(user->name));
	store_bind_text(query, 3, str_from(account_role_name(user->role)));
	store_bind_integer(query, 4, user->created);
	store_bind_integer(query, 5, user->disabled);
	return store_exec(query);
}

static int role_parse(const char *name, enum account_role *ret)
{
	for (size_t i = 0; i < N_ROLES; i++)
		if (str_is(str_from(name), role_names[i])) {
			*ret = (enum account_role)i;
			return 0;
		}
	return -E_CHECKSUM;
}

static int user_read(struct store_query *query, struct user *ret)
{
	struct user user;
	char role[16];
	int rows = store_step(query);
	if (rows <= 0)
		return rows < 0 ? rows : -E_NOT_FOUND;
	store_id(query, 0, &user.id);
	store_text(query, 1, user.name, sizeof user.name);
	store_text(query, 2, role, sizeof role);
	user.created = store_integer(query, 3);
	user.disabled = store_integer(query, 4);
	int err = store_error(query);
	if (err == 0)
		err = role_parse(role, &user.role);
	if (err == 0)
		*ret = user;
	return err;
}

int account_get(struct store_tx *tx, const struct id *id, struct user *ret)
{
	struct store_query *query = store_query(tx, "SELECT id, name, role, created, disabled FROM users WHERE id = $1");
	store_bind_id(query, 1, id);
	return user_read(query, ret);
}

int account_find(struct store_tx *tx, struct str text, struct user *ret)
{
	struct id id;
	int err = id_parse(text, &id) == 0 ? account_get(tx, &id, ret) : -E_NOT_FOUND;
	if (err != -E_NOT_FOUND || !name_valid(text))
		return err;
	struct store_query *query =
	        store_query(tx, "SELECT id, name, role, created, disabled FROM users WHERE lower(name) = lower($1)");
	store_bind_text(query, 1, text);
	return user_read(query, ret);
}

int account_ensure_local(struct store_tx *tx, int64_t now, struct user *ret)
{
	struct user user = { .name = "local", .role = ACCOUNT_ADMINISTRATOR, .created = now };
	int err = account_find(tx, STR("local"), ret);
	if (err != -E_NOT_FOUND)
		return err;
	random_id(&user.id);
	err = account_add(tx, &user);
	if (err == 0)
		*ret = user;
	return err;
}

int account_disable(struct store_tx *tx, const struct id *id, int64_t now)
{
	struct store_query *query = store_query(tx, "UPDATE users SET disabled = $1 WHERE id = $2 AND disabled = 0");
	store_bind_integer(query, 1, now);
	store_bind_id(query, 2, id);
	int err = store_exec(query);
	return err < 0 ? err : store_changed(tx) ? 0 : -E_NOT_FOUND;
}
