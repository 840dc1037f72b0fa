#include "account/password.h"

#include "base/err.h"
#include "base/test.h"

static void test_make_and_verify(void **state)
{
	(void)state;
	char one[PASSWORD_ENCODED_SIZE], two[PASSWORD_ENCODED_SIZE];
	bool matches = false;
	assert_int_equal(password_make(STR("correct horse"), one), 0);
	assert_int_equal(password_make(STR("correct horse"), two), 0);
	assert_string_not_equal(one, two);
	assert_true(str_starts(str_from(one), STR("$argon2id$v=19$m=19456,t=2,p=1$")));
	assert_int_equal(password_verify(one, STR("correct horse"), &matches), 0);
	assert_true(matches);
	assert_int_equal(password_verify(one, STR("correct horsf"), &matches), 0);
	assert_false(matches);
	matches = true;
	assert_int_equal(password_verify("", STR("correct horse"), &matches), 0);
	assert_false(matches);
	assert_int_equal(password_verify("$argon2id$v=19$m=19456", STR("correct horse"), &matches), -E_CHECKSUM);
}

static void test_acceptable(void **state)
{
	(void)state;
	static const struct {
		const char *password;
		bool good;
	} cases[] = {
		{ "", false },
		{ "123456789", false },
		{ "1234567890", true },
		{ "\xc3\xa4\xc3\xb6\xc3\xbc\xc3\x9f\xc3\xa9", false },
		{ "ADMINISTRATOR", false },
		{ "administrator1", true },
		{ "0123456789\xff", false },
	};
	char longest[PASSWORD_MOST + 2];
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		assert_int_equal(password_acceptable(str_from(cases[i].password), STR("administrator")), cases[i].good);
	memset(longest, 'a', sizeof longest);
	assert_true(password_acceptable((struct str){ longest, PASSWORD_MOST }, STR("x")));
	assert_false(password_acceptable((struct str){ longest, PASSWORD_MOST + 1 }, STR("x")));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_make_and_verify), cmocka_unit_test(test_acceptable) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
