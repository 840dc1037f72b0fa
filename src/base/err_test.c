#include <errno.h>
#include <limits.h>

#include "base/err.h"
#include "base/test.h"

static void test_rows(void **state)
{
	(void)state;
	int n = 0, last = 0;
	for (int err = err_next(0); err; err = err_next(err), n++) {
		assert_true(err > last); /* in order, so no number twice */
		assert_true(err > E_FIRST && err < 10000);
		assert_true(err_known(err) && err_known(-err));
		assert_ptr_equal(err_text(err), err_text(-err));
		assert_true(strlen(err_text(err)) > 5 && !strchr(err_text(err), '\n'));
		assert_int_not_equal(err_text(err)[strlen(err_text(err)) - 1], '.');
		assert_true(strlen(err_try(err)) > 5);
		assert_int_equal(err_from_name(err_name(err)), err);
		last = err;
	}
	assert_true(n > 50);
	assert_int_equal(err_next(E_FIRST), 0);
	assert_int_equal(err_next(9999), 0);
}

static void test_names(void **state)
{
	(void)state;
	assert_string_equal(err_name(-E_SHORT), "E1003");
	assert_string_equal(err_name(ENOENT), "ENOENT");
	assert_string_equal(err_name(-ENOENT), "ENOENT");
	assert_string_equal(err_text(-ENOENT), "No such file or directory");
	assert_null(err_try(-ENOENT));
	assert_int_equal(err_from_name("E1003"), E_SHORT);
	assert_int_equal(err_from_name("e1003"), E_SHORT);
	assert_int_equal(err_from_name("1003"), E_SHORT);
	static const char *const bad[] = { "", "E", "E1000", "EE1003", "E10030", "E-1003", "ENOENT", "0", "E0", " 1003" };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(err_from_name(bad[i]), 0);
}

/* A peer may send any number. */
static void test_any_number(void **state)
{
	static const int numbers[] = { INT_MIN, INT_MIN + 1, INT_MAX, -99999, 999, 1000, -1000 };
	(void)state;
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
		assert_false(err_known(numbers[i]));
		assert_string_equal(err_name(numbers[i]), "E1011");
		assert_string_equal(err_text(numbers[i]), "unknown error");
		assert_null(err_try(numbers[i]));
	}
	assert_false(err_known(0));
	assert_false(err_known(ENOENT));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_any_number),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
