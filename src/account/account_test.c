#include "store/testing.h"

#include "account/account.h"

static int setup(void **state)
{
	static struct test_store test;
	test_store_make(&test, &store_schema_server);
	*state = &test;
	return 0;
}

static int teardown(void **state)
{
	test_store_remove(*state);
	return 0;
}

static void test_may(void **state)
{
	(void)state;
	static const struct {
		enum account_action action;
		bool viewer, operator, administrator;
	} expected[] = {
		{ ACCOUNT_LIST, true, true, true },
		{ ACCOUNT_TUNNEL, false, true, true },
		{ ACCOUNT_RUN, false, true, true },
		{ ACCOUNT_AUDIT_READ, false, false, true },
		{ ACCOUNT_KEY_NEW, false, false, true },
		{ ACCOUNT_RETIRE, false, false, true },
		{ ACCOUNT_REVOKE, false, false, true },
		{ ACCOUNT_USERS, false, false, true },
		{ ACCOUNT_RENAME, false, false, true },
		{ ACCOUNT_USERS + 1, false, false, false },
		{ (enum account_action) - 1, false, false, false },
	};
	for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
		assert_int_equal(account_may(ACCOUNT_VIEWER, expected[i].action), expected[i].viewer);
		assert_int_equal(account_may(ACCOUNT_OPERATOR, expected[i].action), expected[i].operator);
		assert_int_equal(account_may(ACCOUNT_ADMINISTRATOR, expected[i].action), expected[i].administrator);
		assert_false(account_may(ACCOUNT_ADMINISTRATOR + 1, expected[i].action));
		assert_false(account_may((enum account_role) - 1, expected[i].action));
	}
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

static int disable(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	struct user local, got;
	struct id unknown = { { 7 } };
	assert_int_equal(account_ensure_local(tx, 1000, &local), 0);
	assert_int_equal(account_disable(tx, &local.id, 2000), 0);
	assert_int_equal(account_disable(tx, &local.id, 3000), -E_NOT_FOUND);
	assert_int_equal(account_disable(tx, &unknown, 3000), -E_NOT_FOUND);
	assert_int_equal(account_ensure_local(tx, 4000, &got), 0);
	assert_int_equal(got.disabled, 2000);
	/* A role that this version does not know is no role. */
	assert_int_equal(store_exec(store_query(tx, "PRAGMA ignore_check_constraints = ON")), 0);
	assert_int_equal(store_exec(store_query(tx, "UPDATE users SET role = 'god'")), 0);
	assert_int_equal(account_get(tx, &local.id, &got), -E_CHECKSUM);
	return 0;
}

static void test_users(void **state)
{
	assert_int_equal(test_run(*state, users, NULL), 0);
}

static void test_disable(void **state)
{
	assert_int_equal(test_run(*state, disable, NULL), 0);
}

static int everything(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	struct user user;
	int err = account_ensure_local(tx, 1000, &user);
	return err < 0 ? err : account_disable(tx, &user.id, 2000);
}

static void test_faults_everywhere(void **state)
{
	(void)state;
	test_faults(&store_schema_server, NULL, everything, NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_may), TEST(test_local_is_made_once), TEST(test_users),
		TEST(test_disable),         TEST(test_faults_everywhere),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
