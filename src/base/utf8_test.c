#include "base/test.h"
#include "base/utf8.h"

#define HIDDEN "\xef\xbf\xbd"

static void test_valid(void **state)
{
	static const struct str good[] = {
		STR(""),
		STR("plain\n"),
		STR("a\0b"),
		STR("\x7f"),
		STR("\xc2\x80"),
		STR("\xdf\xbf"),
		STR("\xe0\xa0\x80"),
		STR("\xed\x9f\xbf"),
		STR("\xee\x80\x80"),
		STR("\xef\xbf\xbf"),
		STR("\xf0\x90\x80\x80"),
		STR("\xf4\x8f\xbf\xbf"),
	};
	static const struct str bad[] = {
		STR("\x80"),
		STR("\xbf"),
		STR("\xc0\x80"),
		STR("\xc1\xbf"),
		STR("\xc2"),
		STR("\xc2\x41"),
		STR("\xe0\x80\x80"),
		STR("\xe0\x9f\xbf"),
		STR("\xed\xa0\x80"),
		STR("\xed\xbf\xbf"),
		STR("\xe2\x82"),
		STR("\xf0\x80\x80\x80"),
		STR("\xf0\x8f\xbf\xbf"),
		STR("\xf4\x90\x80\x80"),
		STR("\xf0\x90\x80"),
		STR("\xf8\x88\x80\x80\x80"),
		STR("\xff"),
		STR("\xfe"),
		STR("ok\xe2\x28\xa1"),
	};
	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++)
		assert_true(utf8_valid(good[i]));
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_false(utf8_valid(bad[i]));
}

static void test_cleans(void **state)
{
	static const struct {
		struct str from;
		const char *shown;
	} rows[] = {
		{ STR(""), "" },
		{ STR("Gr\xc3\xbc\xc3\x9f Gott \xf0\x9f\x91\x8b"), "Gr\xc3\xbc\xc3\x9f Gott \xf0\x9f\x91\x8b" },
		{ STR("a\x1b[31mb"), "a" HIDDEN "[31mb" },
		{ STR("a\r\nb\tc\0d\x7f"), "a" HIDDEN HIDDEN "b" HIDDEN "c" HIDDEN "d" HIDDEN },
		{ STR("\xc2\x9b\xc2\xa0"), HIDDEN "\xc2\xa0" },
		{ STR("\xe2\x80\x8e\xe2\x80\x8f\xe2\x80\xaa\xe2\x80\xae\xe2\x81\xa6\xe2\x81\xa9"),
		  HIDDEN HIDDEN HIDDEN HIDDEN HIDDEN HIDDEN },
		{ STR("\xe2\x80\x8d\xe2\x80\xa9\xe2\x80\xaf\xe2\x81\xaa"), "\xe2\x80\x8d" HIDDEN "\xe2\x80\xaf\xe2\x81\xaa" },
		{ STR("\xed\xa0\x80"), HIDDEN HIDDEN HIDDEN },
		{ STR("x\xe2\x82"), "x" HIDDEN HIDDEN },
	};
	(void)state;
	char out[64];
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		assert_ptr_equal(utf8_clean(rows[i].from, out, sizeof out), out);
		assert_string_equal(out, rows[i].shown);
	}
}

static void test_cuts_at_an_edge(void **state)
{
	(void)state;
	char out[8];
	const struct str text = STR("ab\xe2\x82\xac\xe2\x82\xac");
	static const char *const cut[] = { "ab", "ab", "ab\xe2\x82\xac", "ab\xe2\x82\xac", "ab\xe2\x82\xac" };
	for (size_t size = 4; size <= 8; size++) {
		memset(out, '#', sizeof out);
		assert_string_equal(utf8_clean(text, out, size), cut[size - 4]);
		assert_true(size == sizeof out || out[size] == '#');
	}
	assert_string_equal(utf8_clean(STR("\xff\xff"), out, 4), HIDDEN);
}

static void test_names(void **state)
{
	static const struct str good[] = { STR("a"), STR("Z9"), STR("web01-17"), STR("0.a_b"),
		                           STR("aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffff123") };
	static const struct str bad[] = { STR(""),
		                          STR("-a"),
		                          STR(".a"),
		                          STR("_a"),
		                          STR("a b"),
		                          STR("a/b"),
		                          STR("a\0b"),
		                          STR("a\0"),
		                          STR("\0"),
		                          STR("\xc3\xbc"),
		                          STR("a\xc3\xbc"),
		                          STR("a\n"),
		                          STR("aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffff1234") };
	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++)
		assert_true(name_valid(good[i]));
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_false(name_valid(bad[i]));
}

static void test_clean_lines(void **state)
{
	(void)state;
	static const struct {
		const char *from, *to;
	} rows[] = {
		{ "", "" },
		{ "one", "one" },
		{ "one\n\ttwo\n", "one\n\ttwo\n" },
		{ "\n\n", "\n\n" },
		{ "a\rb\033\nc", "a\xef\xbf\xbd"
		                 "b\xef\xbf\xbd\nc" },
		{ "\xff\n\xff", "\xef\xbf\xbd\n\xef\xbf\xbd" },
	};
	char out[64];
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		assert_ptr_equal(utf8_clean_lines(str_from(rows[i].from), out, sizeof out), out);
		assert_string_equal(out, rows[i].to);
	}
	/* it fits, whatever the size */
	for (size_t size = 4; size < 40; size++) {
		memset(out, 'x', sizeof out);
		utf8_clean_lines(STR("ab\nc\xff\n\n\tdefg\nhi"), out, size);
		assert_true(strlen(out) < size && utf8_valid(str_from(out)));
		assert_int_equal(out[size], 'x');
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_clean_lines),     cmocka_unit_test(test_valid), cmocka_unit_test(test_cleans),
		cmocka_unit_test(test_cuts_at_an_edge), cmocka_unit_test(test_names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
