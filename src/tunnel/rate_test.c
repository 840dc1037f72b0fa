#include "tunnel/rate.h"

#include "base/test.h"

/* Whoever moves as much as it may, for so long. */
static uint64_t moved_in(struct rate *rate, uint64_t from_ms, uint64_t until_ms, size_t size)
{
	uint64_t moved = 0, now = from_ms;
	while (now < until_ms) {
		uint64_t wait = rate_wait_ms(rate, now);
		if (wait) {
			now += wait;
			continue;
		}
		size_t n = rate_piece(rate, size);
		rate_moved(rate, now, n);
		moved += n;
	}
	return moved;
}

static void test_speed(void **state)
{
	static const uint64_t speeds[] = { RATE_LEAST, 10000, 1000000, 10000000, 1000000000 };
	static const size_t sizes[] = { 1200, 65507, 256 << 10 };
	(void)state;
	for (size_t i = 0; i < sizeof speeds / sizeof *speeds; i++)
		for (size_t j = 0; j < sizeof sizes / sizeof *sizes; j++) {
			struct rate rate = { .bytes_per_s = speeds[i] };
			uint64_t moved = moved_in(&rate, 5000, 15000, sizes[j]);
			assert_in_range(moved, speeds[i] * 99 / 10, speeds[i] * 101 / 10 + 2 * sizes[j]);
			/* what was not used meanwhile is not saved */
			moved = moved_in(&rate, 1000000, 1001000, sizes[j]);
			assert_in_range(moved, speeds[i] * 99 / 100, speeds[i] * 110 / 100 + 2 * sizes[j]);
		}
}

static void test_shared(void **state)
{
	struct rate rate = { .bytes_per_s = 1000 };
	(void)state;
	assert_int_equal(rate_wait_ms(&rate, 7), 0);
	rate_moved(&rate, 7, 100);
	uint64_t wait = rate_wait_ms(&rate, 7);
	assert_in_range(wait, 70, 100);
	assert_int_equal(rate_wait_ms(&rate, 7 + wait), 0);
	rate_moved(&rate, 7 + wait, 100); /* another one */
	assert_true(rate_wait_ms(&rate, 7 + wait) > wait);
}

static void test_none(void **state)
{
	struct rate rate = { 0 };
	(void)state;
	rate_moved(&rate, 7, (size_t)1 << 30);
	assert_int_equal(rate_wait_ms(&rate, 7), 0);
	assert_int_equal(rate_piece(&rate, 12345), 12345);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_speed), cmocka_unit_test(test_shared),
		                            cmocka_unit_test(test_none) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
