#include "base/err.h"
#include "base/id.h"
#include "base/test.h"

static void test_text(void **state)
{
	(void)state;
	struct id id, same;
	char text[ID_TEXT_SIZE];
	assert_int_equal(id_parse(STR("00112233445566778899aabbccddeeff"), &id), 0);
	for (size_t i = 0; i < sizeof id.bytes; i++)
		assert_int_equal(id.bytes[i], i * 0x11);
	id_format(&id, text);
	assert_string_equal(text, "00112233445566778899aabbccddeeff");
	same = id;
	assert_true(id_equal(&id, &same));
	same.bytes[15] ^= 1;
	assert_false(id_equal(&id, &same));
}

static void test_zero(void **state)
{
	(void)state;
	struct id id = { { 0 } };
	assert_true(id_is_zero(&id));
	id.bytes[15] = 1;
	assert_false(id_is_zero(&id));
}

static void test_refuses(void **state)
{
	static const char *const bad[] = { "", "00112233445566778899aabbccddeef", "00112233445566778899aabbccddeeff0",
		                           "00112233445566778899AABBCCDDEEFF", "00112233-4455-6677-8899-aabbccddee" };
	(void)state;
	struct id id = { { 7 } };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(id_parse(str_from(bad[i]), &id), -E_ID);
	assert_int_equal(id.bytes[0], 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_zero),
		cmocka_unit_test(test_refuses),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
