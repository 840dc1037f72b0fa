#include "tunnel/once.h"

#include "base/err.h"
#include "base/test.h"

static const uint8_t seed[16] = { 1 };
static const struct id one = { { 1 } }, two = { { 2 } };

static void test_once(void **state)
{
	(void)state;
	struct once *once = once_new(seed);
	assert_int_equal(once_take(once, &one, 1000), 0);
	assert_int_equal(once_take(once, &two, 2000), 0);
	assert_int_equal(once_take(once, &one, 1000), -E_OPEN_ID_SEEN);
	assert_int_equal(once_take(once, &one, 1000 + ONCE_MS - 1), -E_OPEN_ID_SEEN);
	assert_int_equal(once_take(once, &one, 1000 + ONCE_MS), 0);
	assert_int_equal(once_take(once, &two, 1000 + ONCE_MS), -E_OPEN_ID_SEEN);
	assert_int_equal(once_take(once, &two, 2000 + ONCE_MS), 0);
	assert_int_equal(once_take(once, &one, 2000 + ONCE_MS), -E_OPEN_ID_SEEN);
	once_free(once);
	assert_null(once_free(NULL));
}

/* A full table forgets none before its time. */
static void test_full(void **state)
{
	(void)state;
	struct once *once = once_new(seed);
	struct id id = { { 0 } };
	for (uint32_t i = 0; i < ONCE_MAX; i++) {
		memcpy(id.bytes, &i, sizeof i);
		assert_int_equal(once_take(once, &id, i), 0);
	}
	const struct id more = { { 0, 0, 0, 0, 1 } };
	assert_int_equal(once_take(once, &more, ONCE_MAX), -E_BUSY);
	assert_int_equal(once_take(once, &id, ONCE_MAX), -E_OPEN_ID_SEEN);
	assert_int_equal(once_take(once, &more, ONCE_MS), 0); /* the first has gone */
	assert_int_equal(once_take(once, &id, ONCE_MS), -E_OPEN_ID_SEEN);
	once_free(once);
}

static int takes(void *ctx)
{
	(void)ctx;
	struct once *once = once_new(seed);
	int err = once ? once_take(once, &one, 0) : -E_NO_MEMORY;
	if (once && err < 0) /* what was not taken is not known */
		assert_int_not_equal(once_take(once, &one, 0), -E_OPEN_ID_SEEN);
	once_free(once);
	return err;
}

static void test_faults(void **state)
{
	(void)state;
	assert_true(test_each_fault(takes, NULL) >= 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_once),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_faults),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
