#include "tunnel/once.h"

#include "base/err.h"
#include "base/test.h"

static const uint8_t seed[16] = { 1 };
static const struct id one = { { 1 } }, two = { { 2 } };

static void test_once(void **state)
{
	(void)state;
	struct once *once = once_new(seed);
	assert_int_equal(once_take(once, &one, false, 1000), 0);
	assert_int_equal(once_take(once, &two, false, 2000), 0);
	assert_int_equal(once_take(once, &one, false, 1000), -E_OPEN_ID_SEEN);
	assert_int_equal(once_take(once, &one, false, 1000 + ONCE_MS - 1), -E_OPEN_ID_SEEN);
	assert_int_equal(once_take(once, &one, false, 1000 + ONCE_MS), 0);
	assert_int_equal(once_take(once, &two, false, 1000 + ONCE_MS), -E_OPEN_ID_SEEN);
	assert_int_equal(once_take(once, &two, false, 2000 + ONCE_MS), 0);
	assert_int_equal(once_take(once, &one, false, 2000 + ONCE_MS), -E_OPEN_ID_SEEN);
	once_free(once);
	assert_null(once_free(NULL));
}

static void fill(struct once *once)
{
	struct id id = { { 0 } };
	for (uint32_t i = 0; i < ONCE_MAX; i++) {
		memcpy(id.bytes, &i, sizeof i);
		assert_int_equal(once_take(once, &id, false, i), 0);
	}
}

/* A full table takes what is new, but nothing that may have been opened by one that it has forgotten. */
static void test_full(void **state)
{
	(void)state;
	struct once *once = once_new(seed);
	const struct id first = { { 0 } }, second = { { 1 } }, more = { { 0, 0, 0, 0, 1 } }, other = { { 0, 0, 0, 0, 2 } };
	fill(once);
	assert_int_equal(once_take(once, &other, true, ONCE_MAX), 0); /* nothing was forgotten before this */
	assert_int_equal(once_take(once, &more, false, ONCE_MAX), 0);
	assert_int_equal(once_take(once, &second, true, ONCE_MAX), -E_OPEN_ID_SEEN);
	assert_int_equal(once_take(once, &first, true, ONCE_MS), -E_OPEN_ID_SEEN); /* the second was taken a moment later */
	assert_int_equal(once_take(once, &first, true, ONCE_MS + 1), 0);
	assert_int_equal(once_take(once, &more, false, ONCE_MS + 1), -E_OPEN_ID_SEEN);
	once_free(once);
}

static int takes(void *ctx)
{
	(void)ctx;
	struct once *once = once_new(seed);
	int err = once ? once_take(once, &one, false, 0) : -E_NO_MEMORY;
	if (once && err < 0) /* what was not taken is not known */
		assert_int_not_equal(once_take(once, &one, false, 0), -E_OPEN_ID_SEEN);
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
