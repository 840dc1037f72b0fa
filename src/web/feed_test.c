/* Changes on their way to a browser, checked against what a browser would make of them. */
#include "web/feed.h"

#include "base/err.h"
#include "base/test.h"

static char taken[1 << 20];

/* What comes next, as text. */
static const char *take(struct feed *feed, size_t max, uint64_t *ret_last)
{
	struct buf out;
	buf_init(&out, sizeof taken - 1);
	assert_int_equal(feed_take(feed, max, &out, ret_last), 0);
	if (buf_len(&out))
		memcpy(taken, buf_head(&out), buf_len(&out));
	taken[buf_len(&out)] = 0;
	buf_done(&out);
	return taken;
}

static void push(struct feed *feed, const char *key, const char *json)
{
	assert_true(feed_push(feed, str_from(key), false, str_from(json)) >= 0);
}

static void test_order(void **state)
{
	struct feed *feed = feed_new();
	uint64_t last;
	(void)state;
	push(feed, "a", "a1");
	push(feed, "b", "b1");
	push(feed, "c", "c1");
	assert_int_equal(feed_waiting(feed), 6);
	assert_string_equal(take(feed, 5, &last), "a1,b1");
	assert_int_equal(last, 2);
	assert_string_equal(take(feed, 1, &last), "c1"); /* one at least */
	assert_int_equal(last, 3);
	assert_string_equal(take(feed, 100, &last), "");
	assert_int_equal(last, 3);
	assert_int_equal(feed_waiting(feed), 0);
	feed_free(feed);
}

static void test_latest_only(void **state)
{
	struct feed *feed = feed_new();
	uint64_t last;
	(void)state;
	push(feed, "node", "n1");
	push(feed, "edge", "e1");
	push(feed, "node", "n2"); /* in the place of n1: the edge needs its node */
	assert_string_equal(take(feed, 100, &last), "n2,e1");
	push(feed, "node", "n3");
	push(feed, "node", "n4");
	assert_string_equal(take(feed, 100, &last), "n4");
	assert_int_equal(last, 3);
	/* Rows: the newest, at the end. */
	assert_int_equal(feed_push(feed, STR("r0"), true, STR("x")), 0);
	assert_int_equal(feed_push(feed, STR("r1"), true, STR("y")), 0);
	assert_int_equal(feed_push(feed, STR("r0"), true, STR("z")), 1);
	assert_string_equal(take(feed, 100, &last), "y,z");
	feed_free(feed);
}

static void test_resume(void **state)
{
	struct feed *feed = feed_new();
	uint64_t last;
	(void)state;
	push(feed, "a", "a1");
	push(feed, "b", "b1");
	push(feed, "c", "c1");
	take(feed, 100, &last);
	push(feed, "a", "a2");
	take(feed, 100, &last);
	push(feed, "d", "d1");
	assert_int_equal(feed_resume(feed, 5), -E_NOT_FOUND); /* never sent */
	assert_int_equal(feed_resume(feed, 4), 0);
	assert_string_equal(take(feed, 100, &last), "d1");
	assert_int_equal(feed_resume(feed, 1), 0);
	assert_string_equal(take(feed, 100, &last), "b1,c1,a2,d1");
	assert_int_equal(last, 5);
	assert_int_equal(feed_resume(feed, 0), 0);
	push(feed, "b", "b2"); /* it waits again: in its place */
	assert_string_equal(take(feed, 100, &last), "b2,c1,a2,d1");
	feed_clear(feed);
	assert_int_equal(feed_resume(feed, 4), -E_NOT_FOUND);
	push(feed, "a", "a3");
	assert_string_equal(take(feed, 100, &last), "a3");
	assert_int_equal(last, 6);
	feed_free(feed);
}

static void test_forgets(void **state)
{
	struct feed *feed = feed_new();
	uint64_t last;
	char key[16];
	(void)state;
	for (int i = 0; i < FEED_KEPT + 10; i++) {
		snprintf(key, sizeof key, "%d", i);
		push(feed, key, "x");
		take(feed, 100, &last);
	}
	assert_int_equal(feed_resume(feed, 9), -E_NOT_FOUND);
	assert_int_equal(feed_resume(feed, 10), 0);
	take(feed, 1 << 19, &last);
	char *big = calloc(1, FEED_KEPT_BYTES + 1);
	memset(big, 'x', FEED_KEPT_BYTES);
	push(feed, "big", big);
	take(feed, 100, &last);
	push(feed, "small", "y");
	take(feed, 100, &last);
	assert_int_equal(feed_resume(feed, last - 2), -E_NOT_FOUND);
	assert_int_equal(feed_resume(feed, last - 1), 0);
	free(big);
	feed_free(feed);
}

/* A browser that is interrupted at random ends with the same things as one that never was. */
struct mirror {
	int value[50];
	uint64_t seen;
};

static void mirror_take(struct mirror *mirror, struct feed *feed, size_t max)
{
	uint64_t last;
	const char *at = take(feed, max, &last);
	while (*at) {
		char *end;
		long key = strtol(at, &end, 10);
		mirror->value[key] = (int)strtol(end + 1, &end, 10);
		at = *end ? end + 1 : end;
	}
	mirror->seen = last;
}

static void test_random(void **state)
{
	(void)state;
	srand(7);
	for (int round = 0; round < 50; round++) {
		struct feed *feed = feed_new();
		struct mirror mirror = { 0 };
		int value[50] = { 0 };
		char json[32], key[8];
		for (int i = 0; i < 300; i++) {
			int k = rand() % 50;
			value[k] = i + 1;
			snprintf(key, sizeof key, "%d", k);
			snprintf(json, sizeof json, "%d:%d", k, i + 1);
			push(feed, key, json);
			if (rand() % 5 == 0)
				mirror_take(&mirror, feed, (size_t)(rand() % 40));
			if (rand() % 20 == 0) { /* what was sent last did not arrive */
				struct mirror lost = mirror;
				mirror_take(&lost, feed, (size_t)(rand() % 100));
				assert_int_equal(feed_resume(feed, mirror.seen), 0);
			}
		}
		while (feed_waiting(feed))
			mirror_take(&mirror, feed, 30);
		assert_memory_equal(mirror.value, value, sizeof value);
		feed_free(feed);
	}
}

static int use_once(void *ctx)
{
	struct feed *feed = feed_new();
	struct buf out;
	uint64_t last;
	(void)ctx;
	if (!feed)
		return -E_NO_MEMORY;
	buf_init(&out, 100);
	int err = feed_push(feed, STR("a"), false, STR("1"));
	if (err >= 0)
		err = feed_push(feed, STR("a"), false, STR("2"));
	if (err >= 0)
		err = feed_push(feed, STR("b"), false, STR("3"));
	if (err >= 0)
		err = feed_take(feed, 100, &out, &last);
	buf_done(&out);
	feed_free(feed);
	return err;
}

static void test_memory(void **state)
{
	(void)state;
	assert_true(test_each_fault(use_once, NULL) > 5);
	struct feed *feed = feed_new();
	struct buf small;
	uint64_t last;
	char key[FEED_KEY_MAX + 2] = "";
	memset(key, 'k', FEED_KEY_MAX + 1);
	assert_int_equal(feed_push(feed, str_from(key), false, STR("1")), -E_TOO_LONG);
	push(feed, "a", "long enough");
	buf_init(&small, 3);
	assert_true(feed_take(feed, 100, &small, &last) < 0);
	buf_done(&small);
	assert_string_equal(take(feed, 100, &last), "long enough");
	feed_free(feed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),   cmocka_unit_test(test_latest_only), cmocka_unit_test(test_resume),
		cmocka_unit_test(test_forgets), cmocka_unit_test(test_random),      cmocka_unit_test(test_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
