#include "web/task_text.h"

#include "base/test.h"
#include "base/utf8.h"

#define HIDDEN "\xef\xbf\xbd"

static void test_texts(void **state)
{
	(void)state;
	static const struct {
		const char *from, *to;
	} rows[] = {
		{ "", "" },
		{ "one\ntwo\tthree\n", "one\ntwo\tthree\n" },
		{ "one\r\ntwo\r\n", "one\ntwo\n" },
		{ "\033[1;31mred\033[0m", "red" },
		{ "\033]0;title\aa\033]2;x\033\\b\033(Bc", "aabc" + 1 },
		{ "cut \033[12", "cut " },
		{ "cut \033", "cut " },
		{ "cut \033]0;title", "cut " },
		{ "a\001b\x7f"
		  "c\xff",
		  "a" HIDDEN "b" HIDDEN "c" HIDDEN },
		{ "\x84\x84gr\xc3\xbc\xc3\x9f"
		  "e",
		  "gr\xc3\xbc\xc3\x9f"
		  "e" },
		{ "\xe2\x80\xae"
		  "x",
		  HIDDEN "x" },
	};
	char out[200];
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		task_text(str_from(rows[i].from), out, sizeof out);
		assert_string_equal(out, rows[i].to);
	}
}

/* The end is what matters. */
static void test_cut(void **state)
{
	(void)state;
	static char text[3 * TASK_TAIL], out[TASK_TAIL];
	char small[8];
	for (size_t i = 0; i < sizeof text; i++)
		text[i] = (char)('a' + i % 23);
	task_text((struct str){ text, sizeof text }, out, sizeof out);
	assert_int_equal(strlen(out), sizeof out - 1);
	assert_memory_equal(out, text + sizeof text - sizeof out + 1, sizeof out - 1);
	memset(text, 0xff, sizeof text); /* each becomes three bytes */
	task_text((struct str){ text, sizeof text }, out, sizeof out);
	assert_true(strlen(out) > sizeof out - 4 && utf8_valid(str_from(out)));
	for (size_t n = 0; n < 20; n++) {
		task_text((struct str){ "\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc", n },
		          small, sizeof small);
		assert_true(strlen(small) < sizeof small && utf8_valid(str_from(small)));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_texts), cmocka_unit_test(test_cut) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
