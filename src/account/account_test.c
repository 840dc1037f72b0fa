#include "store/testing.h"

#include "account/account.h"
#include "account/login.h"

static void test_may(void **state)
{
	(void)state;
	static const struct {
		enum account_action action;
		bool viewer, operator, administrator, limited; /* limited: an administrator of some groups */
	} expected[] = {
		{ ACCOUNT_LIST, true, true, true, true },
		{ ACCOUNT_TUNNEL, false, true, true, true },
		{ ACCOUNT_RUN, false, true, true, true },
		{ ACCOUNT_AUDIT_READ, false, false, true, false },
		{ ACCOUNT_KEY_NEW, false, false, true, true },
		{ ACCOUNT_RETIRE, false, false, true, true },
		{ ACCOUNT_USERS, false, false, true, false },
		{ ACCOUNT_LABEL, false, false, true, true },
		{ ACCOUNT_COMPONENTS, false, false, true, false },
		{ ACCOUNT_COMPONENTS + 1, false, false, false, false },
		{ (enum account_action) - 1, false, false, false, false },
	};
	for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
		struct user user = { .role = ACCOUNT_VIEWER, .all_groups = true };
		assert_int_equal(account_may(&user, expected[i].action), expected[i].viewer);
		user.role = ACCOUNT_OPERATOR;
		assert_int_equal(account_may(&user, expected[i].action), expected[i].operator);
		user.role = ACCOUNT_ADMINISTRATOR;
		assert_int_equal(account_may(&user, expected[i].action), expected[i].administrator);
		user.all_groups = false;
		assert_int_equal(account_may(&user, expected[i].action), expected[i].limited);
		user.all_groups = true;
		user.disabled = 1;
		assert_false(account_may(&user, expected[i].action));
		user = (struct user){ .role = ACCOUNT_ADMINISTRATOR + 1, .all_groups = true };
		assert_false(account_may(&user, expected[i].action));
		user.role = (enum account_role) - 1;
		assert_false(account_may(&user, expected[i].action));
	}
}

static void test_groups(void **state)
{
	(void)state;
	struct user user = { .role = ACCOUNT_VIEWER };
	char name[ACCOUNT_GROUP_SIZE];
	assert_false(account_reaches(&user, ""));
	assert_int_equal(account_groups_add(&user, STR("web")), 0);
	assert_int_equal(account_groups_add(&user, STR("lab-1")), 0);
	assert_int_equal(account_groups_add(&user, STR("web")), 0);
	assert_string_equal(user.groups, "web lab-1");
	assert_true(account_reaches(&user, "web"));
	assert_true(account_reaches(&user, "lab-1"));
	assert_false(account_reaches(&user, "we"));
	assert_false(account_reaches(&user, "web "));
	assert_false(account_reaches(&user, "lab"));
	assert_false(account_reaches(&user, "web lab-1"));
	assert_false(account_reaches(&user, ""));
	assert_int_equal(account_groups_add(&user, STR("")), -E_NAME);
	assert_int_equal(account_groups_add(&user, STR("a b")), -E_NAME);
	user.groups[0] = 0;
	for (int i = 0; i <= ACCOUNT_GROUPS_MAX; i++) {
		memset(name, 'a' + i, sizeof name);
		assert_int_equal(account_groups_add(&user, (struct str){ name, 63 }), i < ACCOUNT_GROUPS_MAX ? 0 : -E_LIMIT);
	}
	name[0] = 0;
	user.all_groups = true;
	assert_true(account_reaches(&user, "web"));
	assert_true(account_reaches(&user, ""));
}

static int ensure(struct store_tx *tx, void *ctx)
{
	return account_ensure_local(tx, 1000, ctx);
}

static void test_local_is_made_once(void **state)
{
	struct test_store *test = *state;
	struct user first, again;
	assert_int_equal(test_run(test, ensure, &first), 0);
	assert_string_equal(first.name, "local");
	assert_int_equal(first.role, ACCOUNT_ADMINISTRATOR);
	assert_int_equal(first.created, 1000);
	assert_false(id_is_zero(&first.id));
	assert_int_equal(test_store_reopen(test), 0);
	assert_int_equal(test_run(test, ensure, &again), 0);
	assert_true(id_equal(&first.id, &again.id));
}

static int users(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	struct user local, got, eve = { .id = { { 1 } }, .name = "Eve", .role = ACCOUNT_VIEWER, .created = 5 }, bad = eve;
	char id[ID_TEXT_SIZE];
	assert_int_equal(account_ensure_local(tx, 1000, &local), 0);
	assert_int_equal(account_add(tx, &eve), 0);
	assert_int_equal(account_add(tx, &eve), -E_EXISTS);
	bad.id.bytes[0] = 2;
	str_copy(STR("eVE"), bad.name, sizeof bad.name);
	assert_int_equal(account_add(tx, &bad), -E_EXISTS);
	str_copy(STR("e v e"), bad.name, sizeof bad.name);
	assert_int_equal(account_add(tx, &bad), -E_NAME);

	assert_int_equal(account_get(tx, &eve.id, &got), 0);
	assert_string_equal(got.name, "Eve");
	assert_int_equal(got.role, ACCOUNT_VIEWER);
	assert_int_equal(account_get(tx, &bad.id, &got), -E_NOT_FOUND);
	assert_int_equal(account_find(tx, STR("eve"), &got), 0);
	assert_true(id_equal(&got.id, &eve.id));
	id_format(&local.id, id);
	assert_int_equal(account_find(tx, str_from(id), &got), 0);
	assert_string_equal(got.name, "local");
	assert_int_equal(account_find(tx, STR("00000000000000000000000000000000"), &got), -E_NOT_FOUND);
	assert_int_equal(account_find(tx, STR(""), &got), -E_NOT_FOUND);
	assert_int_equal(account_find(tx, STR("nobody"), &got), -E_NOT_FOUND);

	/* Somebody who calls himself as another's id is not taken for him. */
	str_copy(str_from(id), bad.name, sizeof bad.name);
	assert_int_equal(account_add(tx, &bad), 0);
	assert_int_equal(account_find(tx, str_from(id), &got), 0);
	assert_string_equal(got.name, "local");
	return 0;
}

static int name_add(void *ctx, const struct user *user)
{
	char *names = ctx;
	size_t len = strlen(names);
	snprintf(names + len, 128 - len, "%s ", user->name);
	return 0;
}

static int update(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	char names[128] = "";
	struct user local, got, eve = { .id = { { 1 } }, .name = "Eve", .role = ACCOUNT_ADMINISTRATOR, .all_groups = true };
	struct user unknown = { .id = { { 7 } }, .role = ACCOUNT_ADMINISTRATOR, .all_groups = true };
	assert_int_equal(account_ensure_local(tx, 1000, &local), 0);
	assert_true(local.all_groups);

	/* somebody always administrates all groups, and can log in */
	assert_int_equal(account_add(tx, &eve), 0);
	local.disabled = 2000;
	assert_int_equal(account_update(tx, &local), -E_LAST_ADMINISTRATOR);
	assert_int_equal(account_password_set(tx, &eve.id, "x"), 0);
	assert_int_equal(account_update(tx, &local), 0);
	eve.role = ACCOUNT_OPERATOR;
	assert_int_equal(account_update(tx, &eve), -E_LAST_ADMINISTRATOR);
	eve.role = ACCOUNT_ADMINISTRATOR;
	eve.all_groups = false;
	assert_int_equal(account_groups_add(&eve, STR("web")), 0);
	assert_int_equal(account_update(tx, &eve), -E_LAST_ADMINISTRATOR);
	eve.all_groups = true;
	eve.disabled = 1;
	assert_int_equal(account_update(tx, &eve), -E_LAST_ADMINISTRATOR);

	/* disabled by somebody, it stays so; and back */
	assert_int_equal(account_ensure_local(tx, 4000, &got), 0);
	assert_int_equal(got.disabled, 2000);
	local.disabled = 0;
	assert_int_equal(account_update(tx, &local), 0);
	eve.all_groups = false;
	eve.disabled = 0;
	eve.role = ACCOUNT_VIEWER;
	assert_int_equal(account_update(tx, &eve), 0);
	assert_int_equal(account_get(tx, &eve.id, &got), 0);
	assert_int_equal(got.role, ACCOUNT_VIEWER);
	assert_false(got.all_groups);
	assert_string_equal(got.groups, "web");
	assert_int_equal(account_logged_in(tx, &eve.id, 77), 0);
	assert_int_equal(account_get(tx, &eve.id, &got), 0);
	assert_int_equal(got.last_login, 77);
	assert_int_equal(account_update(tx, &unknown), -E_NOT_FOUND);
	assert_int_equal(account_list(tx, name_add, names), 0);
	assert_string_equal(names, "Eve local ");

	/* A role that this version does not know is no role. */
	assert_int_equal(store_exec(store_query(tx, "PRAGMA ignore_check_constraints = ON")), 0);
	assert_int_equal(store_exec(store_query(tx, "UPDATE users SET role = 'god'")), 0);
	assert_int_equal(account_get(tx, &local.id, &got), -E_CHECKSUM);
	assert_int_equal(account_list(tx, name_add, names), -E_CHECKSUM);
	return 0;
}

static void test_users(void **state)
{
	assert_int_equal(test_run(*state, users, NULL), 0);
}

static void test_update(void **state)
{
	assert_int_equal(test_run(*state, update, NULL), 0);
}

static int everything(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	struct user user, eve = { .id = { { 1 } }, .name = "Eve", .role = ACCOUNT_ADMINISTRATOR, .all_groups = true };
	int err = account_ensure_local(tx, 1000, &user);
	if (err == 0)
		err = account_add(tx, &eve);
	eve.role = ACCOUNT_VIEWER;
	return err < 0 ? err : account_update(tx, &eve);
}

static void test_faults_everywhere(void **state)
{
	(void)state;
	test_faults(&store_schema_server, NULL, everything, NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, test_store_setup, test_store_teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_may), TEST(test_local_is_made_once), TEST(test_users),
		TEST(test_update),          TEST(test_faults_everywhere),  cmocka_unit_test(test_groups),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
