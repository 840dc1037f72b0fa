#include "account/login.h"

#include "store/testing.h"

#include <liboath/oath.h>

#define NOW 1000000

static struct user eve_add(struct store_tx *tx)
{
	struct user eve = { .id = { { 1 } }, .name = "Eve", .role = ACCOUNT_ADMINISTRATOR, .created = 1, .all_groups = true };
	assert_int_equal(account_add(tx, &eve), 0);
	assert_int_equal(account_password_set(tx, &eve.id, "encoded"), 0);
	return eve;
}

static int disable(struct store_tx *tx, struct user *user)
{
	struct user local;
	int err = account_ensure_local(tx, 1, &local);
	user->disabled = NOW;
	return err < 0 ? err : account_update(tx, user);
}

/* One attempt, its password already compared. */
static int attempt(struct store_tx *tx, struct str name, bool matches, struct str code, int64_t now)
{
	struct account_login login;
	struct user user;
	int64_t wait;
	int err = account_login_begin(tx, name, now, &login, &wait);
	return err < 0 ? err : account_login_finish(tx, &login, matches, code, now, &user);
}

static void test_delay(void **state)
{
	(void)state;
	static const int64_t expected[] = { 1, 2, 4, 8, 16, 32, 60, 60 };
	for (int64_t n = 0; n <= 10; n++)
		assert_int_equal(account_delay(n), 0);
	for (int64_t n = 0; n < 8; n++)
		assert_int_equal(account_delay(11 + n), expected[n]);
	assert_int_equal(account_delay(INT64_MAX), 60);
}

static int password(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	struct user eve = eve_add(tx), got;
	struct account_login login;
	struct account_proofs proofs;
	int64_t wait;
	char id[ID_TEXT_SIZE];
	assert_int_equal(account_login_begin(tx, STR("eVE"), NOW, &login, &wait), 0);
	assert_string_equal(login.encoded, "encoded");
	assert_int_equal(account_login_finish(tx, &login, false, STR(""), NOW, &got), -E_LOGIN);
	assert_int_equal(account_login_finish(tx, &login, true, STR(""), NOW, &got), 0);
	assert_true(id_equal(&got.id, &eve.id));
	assert_int_equal(account_proofs(tx, &eve.id, &proofs), 0);
	assert_true(proofs.password && !proofs.totp);

	/* the id is no name; neither is what nobody is called */
	id_format(&eve.id, id);
	static const char *const nobody[] = { NULL, "nobody", "", "e v e", "\xff" };
	for (size_t i = 0; i < sizeof nobody / sizeof *nobody; i++) {
		struct str name = str_from(i ? nobody[i] : id);
		assert_int_equal(account_login_begin(tx, name, NOW, &login, &wait), 0);
		assert_string_equal(login.encoded, "");
		assert_int_equal(account_login_finish(tx, &login, true, STR(""), NOW, &got), -E_LOGIN);
	}
	/* changed or disabled between the two */
	assert_int_equal(account_login_begin(tx, STR("eve"), NOW, &login, &wait), 0);
	assert_int_equal(account_password_set(tx, &eve.id, "another"), 0);
	assert_int_equal(account_login_finish(tx, &login, true, STR(""), NOW, &got), -E_LOGIN);
	assert_int_equal(account_login_begin(tx, STR("eve"), NOW, &login, &wait), 0);
	assert_int_equal(disable(tx, &eve), 0);
	assert_int_equal(account_login_finish(tx, &login, true, STR(""), NOW, &got), -E_LOGIN);
	assert_int_equal(account_login_begin(tx, STR("eve"), NOW, &login, &wait), 0);
	assert_string_equal(login.encoded, "");
	return 0;
}

static void exhaust(struct store_tx *tx, struct str name)
{
	for (int i = 0; i < 11; i++)
		assert_int_equal(attempt(tx, name, false, STR(""), NOW), -E_LOGIN);
}

static int delays(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	struct account_login login;
	int64_t wait = 0;
	eve_add(tx);
	static const char *const names[] = { "eve", "nobody" };
	for (int i = 0; i < 2; i++) {
		struct str name = str_from(names[i]);
		exhaust(tx, name);
		assert_int_equal(account_login_begin(tx, name, NOW, &login, &wait), -E_LOGIN_DELAY);
		assert_int_equal(wait, 1);
		assert_int_equal(attempt(tx, name, false, STR(""), NOW + 1), -E_LOGIN);
		/* what is refused does not count */
		for (int k = 0; k < 100; k++)
			assert_int_equal(account_login_begin(tx, name, NOW + 1, &login, &wait), -E_LOGIN_DELAY);
		assert_int_equal(wait, 2);
	}
	/* a clock that was set back locks nobody out */
	assert_int_equal(attempt(tx, STR("eve"), false, STR(""), NOW - 5000), -E_LOGIN);
	/* a good login forgets */
	assert_int_equal(attempt(tx, STR("EVE"), true, STR(""), NOW + 1000), 0);
	exhaust(tx, STR("eve"));
	/* and so does a day */
	assert_int_equal(account_login_begin(tx, STR("eve"), NOW, &login, &wait), -E_LOGIN_DELAY);
	for (int i = 0; i < 10; i++)
		assert_int_equal(attempt(tx, STR("eve"), false, STR(""), NOW + 86400), -E_LOGIN);
	return 0;
}

/* All attempts that were begun at the same time count before the first is finished. */
static int at_once(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	struct account_login login;
	int64_t wait;
	eve_add(tx);
	for (int i = 0; i < 11; i++)
		assert_int_equal(account_login_begin(tx, STR("eve"), NOW, &login, &wait), 0);
	assert_int_equal(account_login_begin(tx, STR("eve"), NOW, &login, &wait), -E_LOGIN_DELAY);
	return 0;
}

static int unknown_names(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	struct account_login login;
	char name[16];
	int64_t wait;
	eve_add(tx);
	exhaust(tx, STR("eve"));
	for (int i = 0; i < ACCOUNT_UNKNOWN_MAX + 10; i++) {
		snprintf(name, sizeof name, "n%d", i);
		assert_int_equal(account_login_begin(tx, str_from(name), NOW, &login, &wait), 0);
	}
	struct store_query *query = store_query(tx, "SELECT count(*) FROM login_failures");
	assert_int_equal(store_step(query), 1);
	assert_int_equal(store_integer(query, 0), ACCOUNT_UNKNOWN_MAX + 1);
	assert_int_equal(account_login_begin(tx, STR("eve"), NOW, &login, &wait), -E_LOGIN_DELAY);
	return 0;
}

static void code_of(const uint8_t *secret, int64_t now, char code[7])
{
	assert_int_equal(oath_totp_generate((const char *)secret, TOTP_SECRET_SIZE, now, 30, 0, 6, code), 0);
}

static int totp(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	struct user eve = eve_add(tx), local;
	struct account_proofs proofs;
	uint8_t secret[TOTP_SECRET_SIZE];
	char code[7];
	bool administrated;
	assert_int_equal(account_ensure_local(tx, 1, &local), 0);
	assert_int_equal(account_totp_begin(tx, &local.id, secret), -E_DENIED);
	assert_int_equal(account_totp_confirm(tx, &eve.id, STR("123456"), NOW), -E_LOGIN);
	assert_int_equal(account_totp_begin(tx, &eve.id, secret), 0);
	assert_int_equal(attempt(tx, STR("eve"), true, STR(""), NOW), 0); /* not yet */
	code_of(secret, NOW - 3600, code);
	assert_int_equal(account_totp_confirm(tx, &eve.id, str_from(code), NOW), -E_LOGIN);
	code_of(secret, NOW, code);
	assert_int_equal(account_totp_confirm(tx, &eve.id, str_from(code), NOW), 0);
	assert_int_equal(account_proofs(tx, &eve.id, &proofs), 0);
	assert_true(proofs.totp);
	assert_int_equal(account_totp_begin(tx, &eve.id, secret), -E_EXISTS);

	assert_int_equal(attempt(tx, STR("eve"), true, STR(""), NOW), -E_CODE_WANTED);
	assert_int_equal(attempt(tx, STR("eve"), true, str_from(code), NOW), -E_LOGIN); /* the code that turned it on was used */
	code_of(secret, NOW + 30, code);
	assert_int_equal(attempt(tx, STR("eve"), false, str_from(code), NOW + 30), -E_LOGIN);
	assert_int_equal(attempt(tx, STR("eve"), true, str_from(code), NOW + 30), 0);
	assert_int_equal(attempt(tx, STR("eve"), true, str_from(code), NOW + 31), -E_LOGIN);

	/* asking for the code neither counts nor forgets */
	for (int i = 0; i < 9; i++) {
		assert_int_equal(attempt(tx, STR("eve"), true, STR("000000"), NOW + 100), -E_LOGIN);
		assert_int_equal(attempt(tx, STR("eve"), true, STR(""), NOW + 100), -E_CODE_WANTED);
	}
	assert_int_equal(attempt(tx, STR("eve"), true, STR("000000"), NOW + 100), -E_LOGIN);
	assert_int_equal(attempt(tx, STR("eve"), true, STR("000000"), NOW + 100), -E_LOGIN_DELAY);

	assert_int_equal(account_totp_forget(tx, &eve.id), 0);
	assert_int_equal(attempt(tx, STR("eve"), true, STR(""), NOW + 200), 0);
	assert_int_equal(account_totp_confirm(tx, &eve.id, STR("000000"), NOW), -E_LOGIN);
	assert_int_equal(account_totp_forget(tx, &eve.id), 0);

	assert_int_equal(account_administrated(tx, &administrated), 0);
	assert_true(administrated);
	assert_int_equal(disable(tx, &eve), 0);
	assert_int_equal(account_administrated(tx, &administrated), 0);
	assert_false(administrated);
	return 0;
}

static int everything(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	struct user local;
	uint8_t secret[TOTP_SECRET_SIZE];
	char code[7];
	bool administrated;
	int err = account_ensure_local(tx, 1, &local);
	if (err == 0)
		err = account_password_set(tx, &local.id, "encoded");
	if (err == 0)
		err = attempt(tx, STR("local"), true, STR(""), NOW);
	if (err == 0)
		err = account_totp_begin(tx, &local.id, secret);
	if (err < 0)
		return err;
	code_of(secret, NOW, code);
	err = account_totp_confirm(tx, &local.id, str_from(code), NOW);
	code_of(secret, NOW + 30, code);
	if (err == 0 && (err = attempt(tx, STR("local"), true, STR(""), NOW + 30)) == -E_CODE_WANTED)
		err = attempt(tx, STR("local"), true, str_from(code), NOW + 30);
	if (err == 0)
		err = account_totp_forget(tx, &local.id);
	return err < 0 ? err : account_administrated(tx, &administrated);
}

#define IN_STORE(body)                                                                                                             \
	static void test_##body(void **state)                                                                                      \
	{                                                                                                                          \
		assert_int_equal(test_run(*state, body, NULL), 0);                                                                 \
	}
IN_STORE(password)
IN_STORE(delays)
IN_STORE(at_once)
IN_STORE(unknown_names)
IN_STORE(totp)

static void test_faults_everywhere(void **state)
{
	(void)state;
	test_faults(&store_schema_server, NULL, everything, NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, test_store_setup, test_store_teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_delay),
		TEST(test_password),
		TEST(test_delays),
		TEST(test_at_once),
		TEST(test_unknown_names),
		TEST(test_totp),
		cmocka_unit_test(test_faults_everywhere),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
