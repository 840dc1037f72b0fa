#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "priv/restart.h"

static void test_at_once(void **state)
{
	struct restart restart = { 0 };
	(void)state;
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(restart_pause(&restart, 1000 + i, 1), 0);
}

static void test_grows(void **state)
{
	static const uint64_t pauses[] = { 0, 0, 0, 0, 0, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000 };
	struct restart restart = { 0 };
	uint64_t now = 500000;
	(void)state;
	for (size_t i = 0; i < sizeof pauses / sizeof *pauses; i++) {
		assert_int_equal(restart_pause(&restart, now, 10), pauses[i]);
		now += 10 + pauses[i];
	}
	/* a long life ends it */
	assert_int_equal(restart_pause(&restart, now + 60000, 60000), 0);
}

static void test_rare_deaths(void **state)
{
	struct restart restart = { 0 };
	(void)state;
	for (uint64_t now = 0; now < 2000000; now += 12000)
		assert_int_equal(restart_pause(&restart, now, 12000), 0);
	struct restart often = { 0 };
	for (uint64_t i = 0; i < 5; i++)
		assert_int_equal(restart_pause(&often, i * 11999, 11999), 0);
	assert_int_equal(restart_pause(&often, 5 * 11999, 11999), 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_at_once),
		cmocka_unit_test(test_grows),
		cmocka_unit_test(test_rare_deaths),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
