#include "tunnel/datagrams.h"

#include "base/err.h"
#include "base/test.h"

static void add(struct datagrams *datagrams, char c, size_t len)
{
	char bytes[1000];
	memset(bytes, c, sizeof bytes);
	datagrams_add(datagrams, (struct str){ bytes, len });
}

static void assert_first(const struct datagrams *datagrams, char c, size_t len)
{
	struct str first;
	assert_true(datagrams_first(datagrams, &first));
	assert_int_equal(first.len, len);
	if (len)
		assert_true(first.ptr[0] == c && first.ptr[len - 1] == c);
}

static void test_order(void **state)
{
	struct datagrams datagrams;
	struct str first;
	size_t room = 5000;
	(void)state;
	datagrams_init(&datagrams, 1000, &room);
	assert_false(datagrams_first(&datagrams, &first));
	datagrams_drop_first(&datagrams);
	add(&datagrams, 'a', 300);
	add(&datagrams, 'b', 0);
	add(&datagrams, 'c', 1);
	assert_int_equal(room, 5000 - 307);
	assert_first(&datagrams, 'a', 300);
	datagrams_drop_first(&datagrams);
	assert_first(&datagrams, 'b', 0);
	datagrams_drop_first(&datagrams);
	assert_first(&datagrams, 'c', 1);
	datagrams_drop_first(&datagrams);
	assert_false(datagrams_first(&datagrams, &first));
	assert_int_equal(room, 5000);
	assert_int_equal(datagrams.lost, 0);
	datagrams_done(&datagrams);
}

static void test_oldest_go(void **state)
{
	struct datagrams datagrams;
	size_t room = 5000;
	(void)state;
	datagrams_init(&datagrams, 1000, &room);
	for (char c = 'a'; c <= 'e'; c++)
		add(&datagrams, c, 300); /* three fit */
	assert_int_equal(datagrams.lost, 2);
	assert_first(&datagrams, 'c', 300);
	add(&datagrams, 'f', 998); /* alone */
	assert_int_equal(datagrams.lost, 5);
	assert_first(&datagrams, 'f', 998);
	add(&datagrams, 'g', 999); /* never: and what waited for it has gone */
	assert_int_equal(datagrams.lost, 7);
	assert_int_equal(room, 5000);
	datagrams_done(&datagrams);
}

/* Others have the room: what waits here makes way, and without any the new one is lost. */
static void test_common_room(void **state)
{
	struct datagrams one, other;
	size_t room = 700;
	(void)state;
	datagrams_init(&one, 1000, &room);
	datagrams_init(&other, 1000, &room);
	add(&one, 'a', 300);
	add(&one, 'b', 300);
	add(&other, 'x', 300);
	assert_int_equal(other.lost, 1);
	assert_int_equal(one.lost, 0);
	add(&one, 'c', 300);
	assert_int_equal(one.lost, 1);
	assert_first(&one, 'b', 300);
	datagrams_done(&one);
	assert_int_equal(room, 700);
	add(&other, 'y', 300);
	assert_first(&other, 'y', 300);
	datagrams_done(&other);
	assert_int_equal(room, 700);
}

static void test_no_memory(void **state)
{
	struct datagrams datagrams;
	size_t room = 5000;
	(void)state;
	datagrams_init(&datagrams, 1000, &room);
	fault_arm(1);
	add(&datagrams, 'a', 300);
	fault_arm(0);
	assert_int_equal(datagrams.lost, 1);
	assert_int_equal(room, 5000);
	add(&datagrams, 'b', 300);
	assert_first(&datagrams, 'b', 300);
	datagrams_done(&datagrams);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_oldest_go),
		cmocka_unit_test(test_common_room),
		cmocka_unit_test(test_no_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
