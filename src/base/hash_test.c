#include "base/hash.h"

#include "base/test.h"

/* Key 0, 1, ... 15; of 0, 1, ... so many bytes. */
static void test_values(void **state)
{
	(void)state;
	static const struct {
		size_t len;
		uint64_t hash;
	} rows[] = { { 0, 0xabac0158050fc4dc },  { 1, 0xc9f49bf37d57ca93 },  { 7, 0xd3927d989bb11140 }, { 8, 0x369095118d299a8e },
		     { 15, 0xd320d86d2a519956 }, { 16, 0xcc4fdd1a7d908b66 }, { 32, 0x81157b6c16a7b60d } };
	uint8_t bytes[40];
	for (uint8_t i = 0; i < sizeof bytes; i++)
		bytes[i] = i;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		assert_int_equal(hash_keyed(bytes, bytes, rows[i].len), rows[i].hash);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_values) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
