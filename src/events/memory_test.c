#include "base/err.h"
#include "base/test.h"
#include "events/events.h"

static const struct events_settings small = { 4 * EVENTS_CHUNK, 8000 }, large = { 16 * EVENTS_CHUNK, 8000 };
static const uint8_t bytes[EVENTS_BATCH_MAX + 1] = { 7 };

static int append(struct events *events, uint64_t now_ms, uint8_t device, size_t len)
{
	struct events_batch batch = { .device = { { device } },
		                      .left_out = device * 3u,
		                      .left_out_datagrams = device,
		                      .gone = device == 9,
		                      .datagrams = { (const char *)bytes, len } };
	return events_append(events, now_ms, &batch);
}

static void empty(void **state)
{
	struct events *events = events_new(&events_settings_default);
	struct events_cursor cursor = { 0 }, far = { .after = 100 };
	struct events_batch batch;
	(void)state;
	assert_false(events_next(events, &cursor, &batch));
	assert_false(events_next(events, &far, &batch));
	assert_int_equal(events_last(events), 0);
	assert_int_equal(events_bytes(events), 0);
	events_expire(events, 1);
	events_free(events);
	assert_null(events_free(NULL));
}

static void all_that_was_appended(void **state)
{
	struct events *events = events_new(&events_settings_default);
	struct events_cursor cursor = { 0 };
	struct events_batch batch;
	(void)state;
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(append(events, i, (uint8_t)(i % 10), i * 150), 0);
	for (unsigned i = 0; i < 100; i++) {
		assert_true(events_next(events, &cursor, &batch));
		assert_int_equal(batch.sequence, i + 1);
		assert_int_equal(batch.missed, 0);
		assert_int_equal(batch.device.bytes[0], i % 10);
		assert_int_equal(batch.left_out, i % 10 * 3);
		assert_int_equal(batch.left_out_datagrams, i % 10);
		assert_int_equal(batch.gone, i % 10 == 9);
		assert_int_equal(batch.datagrams.len, i * 150);
		assert_memory_equal(batch.datagrams.ptr, bytes, batch.datagrams.len);
	}
	assert_false(events_next(events, &cursor, &batch));
	assert_int_equal(append(events, 100, 1, 5), 0); /* a cursor at the end goes on */
	assert_true(events_next(events, &cursor, &batch));
	assert_int_equal(batch.sequence, 101);
	events_free(events);
}

static void resumes_behind_a_sequence(void **state)
{
	struct events *events = events_new(&events_settings_default);
	struct events_batch batch;
	(void)state;
	for (unsigned i = 0; i < 60; i++)
		append(events, 0, (uint8_t)i, 16000);
	for (uint64_t after = 0; after < 60; after++) {
		struct events_cursor cursor = { .after = after };
		assert_true(events_next(events, &cursor, &batch));
		assert_int_equal(batch.sequence, after + 1);
		assert_int_equal(batch.device.bytes[0], after);
		assert_int_equal(batch.missed, 0);
	}
	events_free(events);
}

static void bounded_by_bytes(void **state)
{
	struct events *events = events_new(&small);
	struct events_cursor cursor = { 0 }, late = { .after = 3 };
	struct events_batch batch;
	unsigned kept = 0;
	uint64_t missed = 0;
	(void)state;
	append(events, 0, 0, 10);
	assert_true(events_next(events, &cursor, &batch)); /* stands inside the first chunk, which will go */
	for (unsigned i = 1; i < 500; i++) {
		assert_int_equal(append(events, 0, (uint8_t)i, 16000), 0);
		assert_true(events_bytes(events) <= 4 * EVENTS_CHUNK + 4096);
	}
	while (events_next(events, &cursor, &batch)) {
		missed += batch.missed;
		assert_int_equal(batch.device.bytes[0], (uint8_t)(batch.sequence - 1));
		kept++;
	}
	assert_int_equal(batch.sequence, 500);
	assert_true(kept >= 36 && missed > 0);
	assert_int_equal(1 + missed + kept, 500); /* nothing is missing uncounted */
	assert_true(events_next(events, &late, &batch));
	assert_int_equal(batch.sequence, 3 + batch.missed + 1);
	events_free(events);
}

static void bounded_by_age(void **state)
{
	struct events *events = events_new(&large);
	struct events_cursor cursor = { 0 }, read = { 0 };
	struct events_batch batch;
	(void)state;
	for (unsigned i = 0; i < 10; i++)
		append(events, 1000 * i, (uint8_t)i, 100); /* small ones: a chunk closes because of its age */
	assert_true(events_next(events, &read, &batch));
	events_expire(events, 9000);
	assert_true(events_next(events, &cursor, &batch));
	assert_true(batch.sequence <= 2); /* the first was 9 s old; what is in its chunk may stay a little */
	events_expire(events, 12500);
	cursor = (struct events_cursor){ 0 };
	assert_true(events_next(events, &cursor, &batch));
	assert_int_equal(batch.missed, batch.sequence - 1);
	assert_in_range(batch.sequence, 4, 6);
	assert_true(events_next(events, &read, &batch)); /* one that stood in what is gone */
	assert_in_range(batch.missed, 1, 4);
	events_expire(events, 100000);
	assert_int_equal(events_bytes(events), 0);
	assert_false(events_next(events, &cursor, &batch));
	append(events, 100000, 1, 1);
	assert_true(events_next(events, &cursor, &batch)); /* it had read one of ten, then all was lost but the last */
	assert_int_equal(batch.sequence, 11);
	assert_in_range(batch.missed, 4, 6);
	events_free(events);
}

static void too_long(void **state)
{
	struct events *events = events_new(&small);
	struct events_cursor cursor = { 0 };
	struct events_batch batch;
	(void)state;
	assert_int_equal(append(events, 0, 1, EVENTS_BATCH_MAX + 1), -E_TOO_LONG);
	assert_int_equal(events_last(events), 0);
	assert_int_equal(append(events, 0, 1, EVENTS_BATCH_MAX), 0);
	assert_true(events_next(events, &cursor, &batch));
	assert_int_equal(batch.datagrams.len, EVENTS_BATCH_MAX);
	events_free(events);
}

static int short_memory(void *ctx)
{
	struct events *events = events_new(&small);
	int err = events ? append(events, 0, 1, 10) : -E_NO_MEMORY;
	(void)ctx;
	events_free(events);
	return err;
}

static void memory_is_short(void **state)
{
	(void)state;
	assert_int_equal(test_each_fault(short_memory, NULL), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty),
		cmocka_unit_test(all_that_was_appended),
		cmocka_unit_test(resumes_behind_a_sequence),
		cmocka_unit_test(bounded_by_bytes),
		cmocka_unit_test(bounded_by_age),
		cmocka_unit_test(too_long),
		cmocka_unit_test(memory_is_short),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
