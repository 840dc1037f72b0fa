#include <time.h>

#include "base/test.h"
#include "os/clock.h"

static void test_moves_on(void **state)
{
	(void)state;
	uint64_t before = clock_monotonic_us();
	assert_true(before > 0);
	while (clock_monotonic_us() == before)
		;
	assert_true(clock_monotonic_us() > before);
	int64_t first = time(NULL), ours = clock_wall_s(), in_ms = clock_wall_ms();
	assert_true(first <= ours && ours <= time(NULL) + 1);
	assert_true(ours <= in_ms / 1000 && in_ms / 1000 <= time(NULL) + 1);
}

static void test_format(void **state)
{
	static const struct {
		int64_t wall_s;
		const char *text;
	} rows[] = {
		{ 0, "1970-01-01T00:00:00Z" },
		{ 1795307974, "2026-11-22T00:39:34Z" },
		{ 951782399, "2000-02-28T23:59:59Z" },
		{ 951782400, "2000-02-29T00:00:00Z" },
		{ 951868800, "2000-03-01T00:00:00Z" },
		{ 4107542400, "2100-03-01T00:00:00Z" },
		{ -1, "1969-12-31T23:59:59Z" },
		{ -62167219200, "0000-01-01T00:00:00Z" },
		{ 253402300799, "9999-12-31T23:59:59Z" },
		{ 253402300800, "9999-12-31T23:59:59Z" },
		{ INT64_MAX, "9999-12-31T23:59:59Z" },
		{ INT64_MIN, "0000-01-01T00:00:00Z" },
	};
	(void)state;
	char text[CLOCK_TEXT_SIZE];
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		clock_format(rows[i].wall_s, text);
		assert_string_equal(text, rows[i].text);
	}
}

static void test_format_as_the_library(void **state)
{
	(void)state;
	for (time_t t = -62167219200; t < 253402300799; t += 86399 * 89) {
		char ours[CLOCK_TEXT_SIZE], theirs[64];
		struct tm parts;
		gmtime_r(&t, &parts);
		snprintf(theirs, sizeof theirs, "%04d-%02d-%02dT%02d:%02d:%02dZ", parts.tm_year + 1900, parts.tm_mon + 1,
		         parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec);
		clock_format(t, ours);
		assert_string_equal(ours, theirs);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_moves_on),
		cmocka_unit_test(test_format),
		cmocka_unit_test(test_format_as_the_library),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
