#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/test.h"

static void test_queue(void **state)
{
	(void)state;
	struct buf buf;
	buf_init(&buf, 1000);
	assert_int_equal(buf_len(&buf), 0);
	assert_null(buf.data);
	assert_int_equal(buf_append(&buf, NULL, 0), 0);
	assert_int_equal(buf_append(&buf, "hello ", 6), 0);
	assert_int_equal(buf_append_str(&buf, STR("world")), 0);
	assert_true(str_is(buf_str(&buf), "hello world"));
	buf_consume(&buf, 6);
	assert_memory_equal(buf_head(&buf), "world", 5);
	buf_trim(&buf);
	assert_non_null(buf.data);
	buf_consume(&buf, 5);
	assert_int_equal(buf_len(&buf), 0);
	buf_trim(&buf);
	assert_null(buf.data);
	assert_int_equal(buf_append(&buf, "again", 5), 0);
	buf_clear(&buf);
	assert_int_equal(buf_len(&buf), 0);
	assert_int_equal(buf_append(&buf, "more", 4), 0);
	buf_done(&buf);
	assert_int_equal(buf.max, 1000);
	assert_int_equal(buf_append(&buf, "usable", 6), 0);
	buf_wipe(&buf);
	buf_wipe(&buf);
	assert_null(buf.data);
}

/* A pattern pushed through in odd pieces comes out unchanged, and never takes more memory than max. */
static void test_moves_bytes_down(void **state)
{
	(void)state;
	struct buf buf;
	uint8_t piece[97], in = 0, out = 0;
	buf_init(&buf, 300);
	for (int round = 0; round < 5000; round++) {
		size_t put = 1 + (size_t)round * 7 % sizeof piece, take = 1 + (size_t)round * 5 % 113;
		if (put <= 300 - buf_len(&buf)) {
			for (size_t i = 0; i < put; i++)
				piece[i] = in++;
			assert_int_equal(buf_append(&buf, piece, put), 0);
		}
		if (take > buf_len(&buf))
			take = buf_len(&buf);
		for (size_t i = 0; i < take; i++)
			assert_int_equal(buf_head(&buf)[i], out++);
		buf_consume(&buf, take);
		assert_true(buf.capacity <= 300);
	}
	buf_done(&buf);
}

static void test_maximum(void **state)
{
	(void)state;
	struct buf buf;
	uint8_t *room;
	char text[300] = "";
	buf_init(&buf, 10);
	assert_int_equal(buf_append(&buf, "0123456789a", 11), -E_TOO_LONG);
	assert_int_equal(buf_append(&buf, "01234567", 8), 0);
	assert_int_equal(buf_append(&buf, "89a", 3), -E_TOO_LONG);
	assert_int_equal(buf_reserve(&buf, SIZE_MAX, &room), -E_TOO_LONG);
	assert_int_equal(buf_append(&buf, "89", 2), 0);
	assert_true(str_is(buf_str(&buf), "0123456789"));
	assert_int_equal(buf_append_u8(&buf, 1), -E_TOO_LONG);
	buf_consume(&buf, 3);
	assert_int_equal(buf_append(&buf, "abc", 3), 0);
	assert_true(str_is(buf_str(&buf), "3456789abc"));
	buf_done(&buf);

	buf_init(&buf, 1000);
	assert_int_equal(buf_append(&buf, text, sizeof text), 0);
	assert_int_equal(buf_reserve(&buf, 700, &room), 0);
	memset(room, 'x', 700);
	buf_commit(&buf, 700);
	assert_int_equal(buf_len(&buf), 1000);
	buf_done(&buf);
}

static void test_prints(void **state)
{
	(void)state;
	struct buf buf;
	buf_init(&buf, 8);
	assert_int_equal(buf_printf(&buf, "%s-%d", "ab", 12), 0);
	assert_true(str_is(buf_str(&buf), "ab-12"));
	assert_int_equal(buf_printf(&buf, "%d", 1000), -E_TOO_LONG);
	assert_true(str_is(buf_str(&buf), "ab-12"));
	assert_int_equal(buf_printf(&buf, "%d", 345), 0); /* fills it to the last byte */
	assert_true(str_is(buf_str(&buf), "ab-12345"));
	assert_int_equal(buf_printf(&buf, "%s", ""), 0);
	buf_done(&buf);
}

static void test_numbers_and_reader(void **state)
{
	(void)state;
	struct buf buf;
	uint8_t u8 = 7;
	uint16_t u16 = 7;
	uint32_t u32 = 7;
	uint64_t u64 = 7;
	const uint8_t *bytes = NULL;
	buf_init(&buf, 100);
	assert_int_equal(buf_append_u8(&buf, 0x01), 0);
	assert_int_equal(buf_append_be16(&buf, 0x0203), 0);
	assert_int_equal(buf_append_be32(&buf, 0x04050607), 0);
	assert_int_equal(buf_append_be64(&buf, 0x08090a0b0c0d0e0f), 0);
	for (size_t i = 0; i < 15; i++)
		assert_int_equal(buf_head(&buf)[i], i + 1);

	struct reader r = { buf_head(&buf), buf_len(&buf) };
	assert_int_equal(reader_u8(&r, &u8), 0);
	assert_int_equal(u8, 1);
	assert_int_equal(reader_be16(&r, &u16), 0);
	assert_int_equal(u16, 0x0203);
	assert_int_equal(reader_be32(&r, &u32), 0);
	assert_int_equal(u32, 0x04050607);
	struct reader before = r;
	assert_int_equal(reader_bytes(&r, 9, &bytes), -E_SHORT);
	assert_null(bytes);
	assert_memory_equal(&r, &before, sizeof r);
	assert_int_equal(reader_be64(&r, &u64), 0);
	assert_true(u64 == 0x08090a0b0c0d0e0f);
	assert_int_equal(r.len, 0);
	assert_int_equal(reader_bytes(&r, 0, &bytes), 0);
	assert_ptr_equal(bytes, buf_head(&buf) + 15);

	r = (struct reader){ buf_head(&buf), 7 };
	assert_int_equal(reader_be64(&r, &u64), -E_SHORT);
	r.len = 3;
	assert_int_equal(reader_be32(&r, &u32), -E_SHORT);
	r.len = 1;
	assert_int_equal(reader_be16(&r, &u16), -E_SHORT);
	r.len = 0;
	assert_int_equal(reader_u8(&r, &u8), -E_SHORT);
	assert_int_equal(u8, 1);
	assert_int_equal(u16, 0x0203);
	assert_int_equal(u32, 0x04050607);
	assert_ptr_equal(r.ptr, buf_head(&buf));
	buf_done(&buf);
}

static int fill(void *ctx)
{
	struct buf buf;
	char text[5000] = "";
	(void)ctx;
	buf_init(&buf, 10000);
	int err = buf_append(&buf, "abc", 3);
	if (err == 0)
		err = buf_append(&buf, text, sizeof text);
	size_t held = buf_len(&buf);
	if (err == 0)
		err = buf_printf(&buf, "%4900s", "");
	assert_true(err == 0 || err == -E_NO_MEMORY);
	assert_true(err == 0 || buf_len(&buf) == held);
	buf_done(&buf);
	return err;
}

static void test_memory_short(void **state)
{
	(void)state;
	assert_int_equal(test_each_fault(fill, NULL), 3);
}

static void test_memory_functions(void **state)
{
	(void)state;
	char *bytes = mem_alloc_array(10, 10);
	assert_int_equal(bytes[99], 0);
	mem_wipe(memset(bytes, 'x', 100), 100);
	assert_int_equal(bytes[0] | bytes[99], 0);
	assert_null(mem_free(bytes));
	assert_null(mem_free(NULL));
	volatile size_t many = SIZE_MAX / 2;
	assert_null(mem_alloc_array(many, 4));
	mem_free(mem_alloc(0));
	mem_free(mem_alloc_array(0, 0));
	char *copy = mem_copy_string("abcdef", 3);
	assert_string_equal(copy, "abc");
	mem_free(copy);
	copy = mem_copy_string(NULL, 0);
	assert_string_equal(copy, "");
	mem_free(copy);
	fault_arm(1);
	assert_null(mem_copy_string("a", 1));
	fault_arm(1);
	assert_null(mem_alloc_array(1, 1));
	assert_false(fault_armed());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_queue),
		cmocka_unit_test(test_moves_bytes_down),
		cmocka_unit_test(test_maximum),
		cmocka_unit_test(test_prints),
		cmocka_unit_test(test_numbers_and_reader),
		cmocka_unit_test(test_memory_short),
		cmocka_unit_test(test_memory_functions),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
