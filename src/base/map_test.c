#include "base/err.h"
#include "base/map.h"
#include "base/test.h"

#define KEYS 2000

static const uint8_t seed[16] = "0123456789abcdef";
static int values[KEYS];

/* Keys of many lengths, all different. */
static size_t key_make(size_t i, char key[256])
{
	size_t len = 8 + i % 240;
	memset(key, 'k', len);
	memcpy(key, &i, sizeof i);
	return len;
}

static void test_puts_gets_removes(void **state)
{
	(void)state;
	struct map *map = map_new(seed, 100);
	int one, two;
	assert_non_null(map);
	assert_null(map_get(map, "a", 1));
	assert_null(map_remove(map, "a", 1));
	assert_int_equal(map_put(map, "a", 1, &one), 0);
	assert_int_equal(map_put(map, "", 0, &two), 0);
	assert_ptr_equal(map_get(map, "a", 1), &one);
	assert_ptr_equal(map_get(map, "", 0), &two);
	assert_int_equal(map_put(map, "a", 1, &two), 0);
	assert_ptr_equal(map_get(map, "a", 1), &two);
	assert_int_equal(map_count(map), 2);
	assert_ptr_equal(map_remove(map, "a", 1), &two);
	assert_null(map_get(map, "a", 1));
	assert_int_equal(map_count(map), 1);
	assert_null(map_free(map));
	assert_null(map_free(NULL));
}

/* The same random puts and removes on the map and on a plain array. */
static void test_against_array(void **state)
{
	(void)state;
	char key[256];
	bool present[KEYS] = { false };
	size_t count = 0;
	uint32_t random = 1;
	struct map *map = map_new(seed, KEYS);
	for (int round = 0; round < 40000; round++) {
		random = random * 1103515245 + 12345;
		size_t i = (random >> 8) % KEYS, len = key_make(i, key);
		bool put = (random >> 4 & 7) < (round < 20000 ? 6u : 2u); /* first it grows, then it shrinks */
		if (put)
			assert_int_equal(map_put(map, key, len, &values[i]), 0);
		else
			assert_ptr_equal(map_remove(map, key, len), present[i] ? &values[i] : NULL);
		count += (size_t)put - present[i];
		present[i] = put;
		assert_int_equal(map_count(map), count);
	}
	for (size_t i = 0; i < KEYS; i++)
		assert_ptr_equal(map_get(map, key, key_make(i, key)), present[i] ? &values[i] : NULL);

	size_t at = 0;
	for (int *value; (value = map_next(map, &at)); count--) {
		assert_true(present[value - values]);
		present[value - values] = false; /* each comes once */
	}
	assert_int_equal(count, 0);
	map_free(map);
}

static void test_limits(void **state)
{
	(void)state;
	char key[256] = "";
	struct map *map = map_new(seed, 2);
	assert_int_equal(map_put(map, key, 255, &values[0]), 0);
	assert_int_equal(map_put(map, key, 256, &values[1]), -E_TOO_LONG);
	assert_null(map_get(map, key, 256));
	assert_int_equal(map_put(map, key, 254, &values[1]), 0);
	assert_int_equal(map_put(map, key, 253, &values[2]), -E_FULL);
	assert_int_equal(map_put(map, key, 254, &values[3]), 0); /* replacing takes no place */
	assert_ptr_equal(map_get(map, key, 254), &values[3]);
	assert_ptr_equal(map_get(map, key, 255), &values[0]);
	map_free(map);
}

static int fill(void *ctx)
{
	(void)ctx;
	struct map *map = map_new(seed, KEYS);
	int err = map ? 0 : -E_NO_MEMORY;
	size_t n = 0;
	for (; err == 0 && n < 30; n++)
		err = map_put(map, &n, sizeof n, &values[n]);
	if (map && err < 0)
		assert_int_equal(map_count(map), n - 1);
	for (size_t i = 0; map && i < map_count(map); i++)
		assert_ptr_equal(map_get(map, &i, sizeof i), &values[i]);
	map_free(map);
	return err;
}

static void test_memory_short(void **state)
{
	(void)state;
	assert_int_equal(test_each_fault(fill, NULL), 2 + 30 + 2); /* the map, the keys, growing twice */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_puts_gets_removes),
		cmocka_unit_test(test_against_array),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_memory_short),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
