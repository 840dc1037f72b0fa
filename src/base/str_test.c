#include "base/err.h"
#include "base/str.h"
#include "base/test.h"

#define assert_str(s, text) assert_true(str_is(s, text))

static void test_compares(void **state)
{
	(void)state;
	struct str none = { 0 };
	assert_true(str_equal(none, str_from("")));
	assert_true(str_equal(str_from(NULL), none));
	assert_true(str_equal(STR("abc"), str_from("abc")));
	assert_false(str_equal(STR("abc"), STR("abd")));
	assert_false(str_equal(STR("abc"), STR("ab")));
	assert_false(str_equal(STR("a\0b"), STR("a\0c")));
	assert_true(str_equal_nocase(STR("Content-Length"), STR("content-lengtH")));
	assert_true(str_equal_nocase(none, none));
	assert_false(str_equal_nocase(STR("a"), STR("b")));
	assert_false(str_equal_nocase(STR("a"), STR("aa")));
	assert_true(str_starts(STR("abc"), STR("ab")));
	assert_true(str_starts(STR("abc"), none));
	assert_false(str_starts(STR("ab"), STR("abc")));
	assert_false(str_starts(STR("abc"), STR("b")));
	assert_true(str_has(STR("a\0b"), 0));
	assert_false(str_has(STR("ab"), 0));
	assert_false(str_has(none, 'a'));
}

static void test_cuts(void **state)
{
	(void)state;
	struct str rest;
	assert_str(str_skip(STR("abc"), 1), "bc");
	assert_str(str_skip(STR("abc"), 9), "");
	assert_str(str_trim(STR(" \t a b\t ")), "a b");
	assert_str(str_trim(STR(" \t ")), "");
	assert_str(str_trim(STR("\na")), "\na");
	assert_str(str_cut(STR("a:b:c"), ':', &rest), "a");
	assert_str(rest, "b:c");
	assert_str(str_cut(STR("abc"), ':', &rest), "abc");
	assert_str(rest, "");
	assert_str(str_cut(STR("abc:"), ':', &rest), "abc");
	assert_str(rest, "");
	assert_str(str_cut(STR(""), ':', &rest), "");
	assert_str(str_cut_last(STR("a:b:c"), ':', &rest), "a:b");
	assert_str(rest, "c");
	assert_str(str_cut_last(STR("abc"), ':', &rest), "");
	assert_str(rest, "abc");
	assert_str(str_cut_last(STR(":abc"), ':', &rest), "");
	assert_str(rest, "abc");
}

static void test_numbers(void **state)
{
	static const struct {
		const char *text;
		uint64_t max, value;
	} good[] = {
		{ "0", 0, 0 }, { "65535", 65535, 65535 }, { "007", 10, 7 }, { "18446744073709551615", UINT64_MAX, UINT64_MAX }
	};
	static const struct {
		const char *text;
		uint64_t max;
	} bad[] = { { "", 9 },
		    { "-1", 9 },
		    { "+1", 9 },
		    { " 1", 9 },
		    { "1 ", 9 },
		    { "0x1", 99 },
		    { "1\xb2", 999 },
		    { "10", 9 },
		    { "1.0", 99 },
		    { "/", 99 },
		    { ":", 99 },
		    { "18446744073709551616", UINT64_MAX },
		    { "99999999999999999999", UINT64_MAX } };
	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		uint64_t value = 99;
		assert_int_equal(str_to_u64(str_from(good[i].text), good[i].max, &value), 0);
		assert_true(value == good[i].value);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		uint64_t value = 77;
		assert_int_equal(str_to_u64(str_from(bad[i].text), bad[i].max, &value), -E_NUMBER);
		assert_true(value == 77);
	}
}

static void test_durations(void **state)
{
	static const struct {
		const char *text;
		uint64_t ms;
	} good[] = { { "0s", 0 },
		     { "250ms", 250 },
		     { "90s", 90000 },
		     { "15m", 900000 },
		     { "12h", 43200000 },
		     { "7d", 604800000 },
		     { "3650d", 3650 * 86400000ull } };
	static const char *const bad[] = {
		"", "5", "s", "ms", "-5s", "5 s", "5S", "1.5h", "5sm", "5mss", "3651d", "87601h", "99999999999999999999ms", "5w"
	};
	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		uint64_t ms = 99;
		assert_int_equal(str_to_duration_ms(str_from(good[i].text), &ms), 0);
		assert_true(ms == good[i].ms);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		uint64_t ms = 77;
		assert_int_equal(str_to_duration_ms(str_from(bad[i]), &ms), -E_DURATION);
		assert_true(ms == 77);
	}
}

static void test_copies(void **state)
{
	(void)state;
	char out[4] = "xyz";
	assert_int_equal(str_copy(STR("abc"), out, sizeof out), 0);
	assert_string_equal(out, "abc");
	assert_int_equal(str_copy(STR("abcd"), out, sizeof out), -E_TOO_LONG);
	assert_string_equal(out, "");
	assert_int_equal(str_copy((struct str){ 0 }, out, sizeof out), 0);
	assert_string_equal(out, "");
	assert_int_equal(str_copy(STR("a"), out, 0), -E_TOO_LONG);
}

static void test_settings(void **state)
{
	(void)state;
	struct str lines = STR("name=web01\njoin=host:1#MM1-a=b\nempty=\nalone\n=nameless\nname=second\nlast=end");
	assert_true(str_is(str_setting(lines, "name"), "web01"));
	assert_true(str_is(str_setting(lines, "join"), "host:1#MM1-a=b"));
	assert_true(str_is(str_setting(lines, "last"), "end"));
	static const char *const missing[] = { "empty", "alone", "nam", "names", "ame", "NAME", "web01", "host:1#MM1-a", "b" };
	for (size_t i = 0; i < sizeof missing / sizeof *missing; i++)
		assert_int_equal(str_setting(lines, missing[i]).len, 0);
	assert_int_equal(str_setting(STR(""), "name").len, 0);
	assert_int_equal(str_setting(STR("\n\n"), "name").len, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_compares),  cmocka_unit_test(test_cuts),   cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_durations), cmocka_unit_test(test_copies), cmocka_unit_test(test_settings),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
