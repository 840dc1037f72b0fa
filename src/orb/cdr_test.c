#include "base/test.h"

#include "base/err.h"
#include "orb/cdr.h"

static void put_all(struct cdr_writer *w)
{
	cdr_put_u8(w, 0x11);
	cdr_put_u16(w, 0x2233);
	cdr_put_u8(w, 0x44);
	cdr_put_u32(w, 0x55667788);
	cdr_put_u64(w, 0x0102030405060708);
	cdr_put_string(w, STR("ab"));
	cdr_put_sequence(w, STR("xyz"));
	cdr_put_u8(w, 0x99);
}

/* Written down by hand after section 9.3 of the specification. */
static const uint8_t big[] = { 0x11, 0, 0x22, 0x33, 0x44, 0, 0, 0, 0x55, 0x66, 0x77, 0x88, 0, 0, 0, 0, 1,   2,   3,   4,
	                       5,    6, 7,    8,    0,    0, 0, 3, 'a',  'b',  0,    0,    0, 0, 0, 3, 'x', 'y', 'z', 0x99 };
static const uint8_t little[] = { 0x11, 0, 0x33, 0x22, 0x44, 0, 0, 0, 0x88, 0x77, 0x66, 0x55, 0, 0, 0, 0, 8,   7,   6,   5,
	                          4,    3, 2,    1,    3,    0, 0, 0, 'a',  'b',  0,    0,    3, 0, 0, 0, 'x', 'y', 'z', 0x99 };

static void test_write(void **state)
{
	(void)state;
	for (int order = 0; order < 2; order++) {
		struct buf out;
		buf_init(&out, 100);
		buf_append(&out, "before", 6); /* does not count for alignment */
		struct cdr_writer w = cdr_writer(&out, order);
		put_all(&w);
		assert_int_equal(w.err, 0);
		assert_int_equal(buf_len(&out), 6 + sizeof big);
		assert_memory_equal(buf_head(&out) + 6, order ? little : big, sizeof big);
		cdr_put_u32_at(&w, 8, 0x01020304);
		assert_int_equal(buf_head(&out)[6 + 8], order ? 4 : 1);
		buf_done(&out);
	}
}

static void test_write_nowhere_and_too_much(void **state)
{
	(void)state;
	struct buf out;
	struct cdr_writer w = cdr_writer(NULL, true);
	put_all(&w);
	cdr_put_u32_at(&w, 0, 1);
	assert_int_equal(w.err, 0);
	buf_init(&out, 20);
	w = cdr_writer(&out, true);
	put_all(&w);
	assert_int_equal(w.err, -E_TOO_LONG);
	cdr_put_u32_at(&w, 100, 1);
	assert_true(buf_len(&out) <= 20);
	buf_done(&out);
}

static bool read_all(struct cdr_reader *r)
{
	bool same = cdr_u8(r) == 0x11;
	same = cdr_u16(r) == 0x2233 && same;
	same = cdr_u8(r) == 0x44 && same;
	same = cdr_u32(r) == 0x55667788 && same;
	same = cdr_u64(r) == 0x0102030405060708 && same;
	same = str_is(cdr_string(r), "ab") && same;
	same = str_is(cdr_sequence(r), "xyz") && same;
	same = cdr_u8(r) == 0x99 && same;
	return same;
}

static void test_read(void **state)
{
	(void)state;
	for (int order = 0; order < 2; order++)
		for (size_t len = 0; len <= sizeof big; len++) {
			uint8_t *bytes = malloc(len + 1); /* so that a byte too much is seen by a sanitizer */
			memcpy(bytes, order ? little : big, len);
			bytes = realloc(bytes, len ? len : 1);
			struct cdr_reader r = cdr_reader(bytes, len, order);
			bool same = read_all(&r);
			assert_int_equal(r.bad, len < sizeof big);
			assert_int_equal(same, len == sizeof big);
			assert_true(r.at <= len);
			free(bytes);
		}
}

static void test_padding_is_not_read(void **state)
{
	(void)state;
	static const uint8_t bytes[] = { 1, 0xee, 0xee, 0xee, 0, 0, 0, 7 };
	struct cdr_reader r = cdr_reader(bytes, sizeof bytes, false);
	assert_int_equal(cdr_u8(&r), 1);
	assert_int_equal(cdr_u32(&r), 7);
	assert_false(r.bad);
}

static void test_bad_strings(void **state)
{
	(void)state;
	static const struct str bad[] = { STR("\0\0\0\0"),     STR("\0\0\0\2ab"),           STR("\0\0\0\3a\0\0"),
		                          STR("\0\0\0\4ab\0"), STR("\377\377\377\377ab\0"), STR("\177\377\377\377"),
		                          STR("\0\0\0\1") };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct cdr_reader r = cdr_reader(bad[i].ptr, bad[i].len, false);
		assert_int_equal(cdr_string(&r).len, 0);
		assert_true(r.bad);
		assert_int_equal(cdr_u8(&r), 0); /* and stays so */
	}
	struct cdr_reader r = cdr_reader("\0\0\0\1", 5, false);
	assert_int_equal(cdr_string(&r).len, 0);
	assert_false(r.bad);
}

static void test_encapsulation(void **state)
{
	(void)state;
	struct buf out;
	buf_init(&out, 100);
	for (int order = 0; order < 2; order++) {
		buf_append(&out, "x", 1);
		struct cdr_writer w = cdr_writer_encapsulation(&out, order);
		cdr_put_u16(&w, 513);
		struct str made = str_skip(buf_str(&out), 1);
		struct cdr_reader r = cdr_reader_encapsulation(made);
		assert_int_equal(made.ptr[0], order);
		assert_int_equal(cdr_u16(&r), 513);
		assert_false(r.bad);
		buf_clear(&out);
	}
	assert_true(cdr_reader_encapsulation(STR("")).bad);
	assert_true(cdr_reader_encapsulation(STR("\2\0")).bad);
	buf_done(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_write),       cmocka_unit_test(test_write_nowhere_and_too_much),
		cmocka_unit_test(test_read),        cmocka_unit_test(test_padding_is_not_read),
		cmocka_unit_test(test_bad_strings), cmocka_unit_test(test_encapsulation),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
