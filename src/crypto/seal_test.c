#include "crypto/seal.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/test.h"

static const uint8_t key[SEAL_KEY_SIZE] = { 1, 2, 3 };

static int open_result(const uint8_t with[SEAL_KEY_SIZE], struct str context, struct str from)
{
	struct buf out;
	buf_init(&out, 1000);
	int err = seal_open(with, context, from, &out);
	if (err < 0)
		assert_int_equal(buf_len(&out), 0);
	else
		assert_true(str_is(buf_str(&out), "a secret"));
	buf_done(&out);
	return err;
}

static void test_life(void **state)
{
	(void)state;
	struct buf sealed, again;
	uint8_t other[SEAL_KEY_SIZE] = { 1, 2, 4 };
	char bytes[100];
	buf_init(&sealed, 1000);
	buf_init(&again, 1000);
	assert_int_equal(seal_make(key, STR("test 1"), STR("a secret"), &sealed), 0);
	assert_int_equal(seal_make(key, STR("test 1"), STR("a secret"), &again), 0);
	assert_int_equal(buf_len(&sealed), 8 + SEAL_OVERHEAD);
	assert_memory_not_equal(buf_head(&sealed), buf_head(&again), buf_len(&sealed)); /* a nonce of its own */
	assert_int_equal(open_result(key, STR("test 1"), buf_str(&sealed)), 0);
	assert_int_equal(open_result(key, STR("test 1"), buf_str(&again)), 0);
	assert_int_equal(open_result(other, STR("test 1"), buf_str(&sealed)), -E_SIGNATURE);
	assert_int_equal(open_result(key, STR("test 2"), buf_str(&sealed)), -E_SIGNATURE);
	memcpy(bytes, buf_head(&sealed), buf_len(&sealed));
	for (size_t i = 0; i < buf_len(&sealed); i++) {
		assert_int_equal(open_result(key, STR("test 1"), (struct str){ bytes, i }), -E_SIGNATURE);
		bytes[i] ^= 1;
		assert_int_equal(open_result(key, STR("test 1"), (struct str){ bytes, buf_len(&sealed) }), -E_SIGNATURE);
		bytes[i] ^= 1;
	}
	buf_done(&sealed);
	buf_done(&again);
}

static void test_room(void **state)
{
	(void)state;
	struct buf out;
	buf_init(&out, SEAL_OVERHEAD + 3);
	assert_int_equal(seal_make(key, STR("test 1"), STR("four"), &out), -E_TOO_LONG);
	assert_int_equal(seal_make(key, STR("test 1"), STR(""), &out), 0);
	assert_int_equal(buf_len(&out), SEAL_OVERHEAD);
	buf_done(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_life), cmocka_unit_test(test_room) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
