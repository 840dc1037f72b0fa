#include "base/test.h"

#include "glouglou/glouglou.h"
#include "probe/queue.h"

struct drops {
	unsigned datagrams, records, keyframes;
	uint8_t module;
};

static void on_dropped(void *ctx, uint8_t module, bool keyframe, unsigned records)
{
	struct drops *drops = ctx;
	drops->datagrams++;
	drops->records += records;
	drops->keyframes += keyframe;
	drops->module = module;
}

static void push(struct queue *queue, uint8_t module, uint8_t flags, uint8_t mark, size_t len, unsigned records)
{
	uint8_t datagram[GG_DATAGRAM_MAX] = { GG_VERSION, module, flags };
	datagram[GG_HEADER] = mark;
	queue_push(queue, (struct str){ (const char *)datagram, len }, records);
}

static void test_order_and_numbers(void **state)
{
	struct drops drops = { 0 };
	struct queue queue;
	uint8_t out[2500];
	uint64_t sequence = 41;
	(void)state;
	queue_init(&queue, 10000, on_dropped, &drops);
	for (uint8_t i = 0; i < 5; i++)
		push(&queue, 1, 0, i, 1000, 1);
	for (uint8_t i = 0, n; i < 5; i += n) {
		size_t len = queue_take(&queue, &sequence, out, sizeof out);
		n = (uint8_t)(len / 1002);
		assert_int_equal(n, i < 4 ? 2 : 1); /* as many as fit */
		for (uint8_t k = 0; k < n; k++) {
			const uint8_t *at = out + k * 1002;
			assert_int_equal(at[0] << 8 | at[1], 1000);
			assert_int_equal(at[2 + 19], 42 + i + k);
			assert_int_equal(at[2 + GG_HEADER], i + k);
		}
	}
	assert_int_equal(queue_take(&queue, &sequence, out, sizeof out), 0);
	assert_int_equal(sequence, 46);
	assert_int_equal(drops.datagrams, 0);
	queue_done(&queue);
}

static void test_oldest_go_and_are_counted(void **state)
{
	struct drops drops = { 0 };
	struct queue queue;
	uint8_t out[1100];
	uint64_t sequence = 0;
	(void)state;
	queue_init(&queue, 10 * 1004, on_dropped, &drops);
	for (uint8_t i = 0; i < 25; i++)
		push(&queue, 1, i < 3 ? GG_IN_KEYFRAME : 0, i, 1000, i);
	assert_int_equal(drops.datagrams, 15);
	assert_int_equal(drops.records, 14 * 15 / 2);
	assert_int_equal(drops.keyframes, 3);
	assert_int_equal(drops.module, 1);
	queue_limit(&queue, 4 * 1004);
	assert_int_equal(drops.datagrams, 21);
	assert_int_equal(queue_take(&queue, &sequence, out, sizeof out), 1002);
	assert_int_equal(out[2 + GG_HEADER], 21); /* the others are newer; numbers have no gap */
	assert_int_equal(sequence, 1);
	queue_limit(&queue, 0);
	assert_int_equal(drops.datagrams, 24);
	queue_done(&queue);
}

static void test_memory_short(void **state)
{
	struct drops drops = { 0 };
	struct queue queue;
	(void)state;
	queue_init(&queue, 10000, on_dropped, &drops);
	fault_arm(1);
	push(&queue, 0, 0, 0, 100, 7);
	fault_arm(0);
	assert_int_equal(drops.records, 7);
	push(&queue, 0, 0, 0, 100, 7);
	assert_int_equal(drops.records, 7);
	queue_done(&queue);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order_and_numbers),
		cmocka_unit_test(test_oldest_go_and_are_counted),
		cmocka_unit_test(test_memory_short),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
