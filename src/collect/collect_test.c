#include "collect/collect.h"

#include "base/err.h"
#include "base/test.h"
#include "glouglou/test_probe.h"

static const struct id id_a = { { 0xaa } }, id_b = { { 0xbb } };

struct world {
	struct collect *collect;
	struct test_probe probe;
	struct events_cursor cursor;
	uint64_t now_ms;
	unsigned appended, superseded, sent;
	void *superseded_stream, *sent_stream;
	char request[64];
	size_t request_len;
};

static struct world world;

static void on_send(void *stream, struct str datagrams)
{
	world.sent++;
	world.sent_stream = stream;
	world.request_len = datagrams.len;
	assert_true(datagrams.len <= sizeof world.request);
	memcpy(world.request, datagrams.ptr, datagrams.len);
}

static void on_superseded(void *stream)
{
	world.superseded++;
	world.superseded_stream = stream;
}

static void on_appended(void *ctx)
{
	assert_ptr_equal(ctx, &world);
	world.appended++;
}

static const struct collect_events events = { on_send, on_superseded, on_appended };

static void world_make(void)
{
	memset(&world, 0, sizeof world);
	world.collect = collect_new(&events_settings_default, &events, &world);
	assert_non_null(world.collect);
	world.now_ms = 1000;
	test_probe_init(&world.probe, 77);
}

static void world_done(void)
{
	collect_free(world.collect);
}

static struct collect_device *open_device(const struct id *id, void *stream)
{
	struct collect_device *device = NULL;
	assert_int_equal(collect_open(world.collect, id, stream, world.now_ms, &device), 0);
	return device;
}

static void report(struct collect_device *device)
{
	collect_report(device, test_probe_report(&world.probe), world.now_ms);
}

static bool next(struct events_batch *ret)
{
	return events_next(collect_store(world.collect), &world.cursor, ret);
}

static const struct collect_counters *counters(void)
{
	return collect_counters(world.collect);
}

/* The request for a keyframe, as a probe reads it. */
static uint64_t request_number(void)
{
	struct str rest = { world.request, world.request_len }, bytes;
	struct gg_datagram datagram;
	struct gg_record record;
	struct gg_keyframe_wanted wanted;
	size_t at = 0;
	assert_true(gg_link_next(&rest, &bytes) && rest.len == 0);
	assert_int_equal(gg_datagram_read(bytes, &datagram), GG_OK);
	assert_int_equal(datagram.module, GG_CONTROL);
	assert_true(gg_record_next(&datagram, &at, &record));
	assert_int_equal(record.type, GG_KEYFRAME_WANTED);
	assert_int_equal(gg_record_read(gg_record_find(&gg_control, record.type), &record, &wanted), GG_OK);
	assert_int_equal(wanted.module, 0xff);
	return datagram.sequence;
}

static void keeps_what_is_good(void **state)
{
	struct events_batch batch;
	(void)state;
	world_make();
	struct collect_device *device = open_device(&id_a, &world);
	test_probe_exec(&world.probe, 1, 0, "sh");
	test_probe_connect(&world.probe, 4711, 1, "sh");
	struct str all = test_probe_report(&world.probe);
	collect_report(device, all, world.now_ms);
	assert_true(next(&batch));
	assert_memory_equal(&batch.device, &id_a, sizeof id_a);
	assert_int_equal(batch.datagrams.len, all.len);
	assert_memory_equal(batch.datagrams.ptr, all.ptr, all.len);
	assert_false(batch.gone);
	assert_false(next(&batch));
	assert_int_equal(world.appended, 1);
	assert_int_equal(counters()->datagrams, 2);
	assert_int_equal(counters()->records, 2);
	assert_int_equal(counters()->devices, 1);
	assert_int_equal(world.sent, 0); /* it began with number 1: its keyframe comes by itself */
	world_done();
}

static void refuses_by_reason(void **state)
{
	struct events_batch batch;
	char bytes[4096];
	(void)state;
	world_make();
	struct collect_device *device = open_device(&id_a, &world);
	test_probe_exec(&world.probe, 1, 0, "sh");
	struct str good = test_probe_report(&world.probe);
	static const struct {
		size_t at;
		char value;
		enum gg_bad bad;
	} cases[] = {
		{ 2, 4, GG_BAD_VERSION },  { 3, 9, GG_BAD_MODULE },    { 4, 1, GG_BAD_FLAGS },
		{ 4, 4, GG_BAD_FLAGS },    { 5, 7, GG_BAD_HEADER },    { 9, 1, GG_BAD_HEADER },
		{ 31, 2, GG_BAD_RECORDS }, { 33, 1, GG_BAD_TRAILING }, { 35, 32, GG_BAD_FLAGS },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		uint64_t before = counters()->bad[cases[i].bad];
		memcpy(bytes, good.ptr, good.len);
		bytes[cases[i].at] = cases[i].value;
		collect_report(device, (struct str){ bytes, good.len }, world.now_ms);
		assert_int_equal(counters()->bad[cases[i].bad], before + 1);
	}
	for (size_t len = 1; len < good.len; len++)
		collect_report(device, (struct str){ good.ptr, len }, world.now_ms);
	assert_int_equal(counters()->bad[GG_BAD_LENGTH], good.len - 1);
	assert_false(next(&batch));
	collect_report(device, good, world.now_ms); /* and the session is as it was */
	assert_true(next(&batch));
	collect_report(device, good, world.now_ms);
	assert_int_equal(counters()->bad[GG_BAD_REPLAY], 1);
	assert_false(next(&batch));
	world_done();
}

/* What is bad in a report does not take the good with it. */
static void good_beside_bad(void **state)
{
	struct events_batch batch;
	char bytes[4096];
	(void)state;
	world_make();
	struct collect_device *device = open_device(&id_a, &world);
	test_probe_exec(&world.probe, 1, 0, "sh");
	struct str one = test_probe_report(&world.probe);
	size_t len = one.len;
	memcpy(bytes, one.ptr, len);
	test_probe_exec(&world.probe, 2, 0, "sh");
	one = test_probe_report(&world.probe);
	memcpy(bytes + len, one.ptr, one.len);
	bytes[2] = 9;
	collect_report(device, (struct str){ bytes, len + one.len }, world.now_ms);
	assert_true(next(&batch));
	assert_int_equal(batch.datagrams.len, one.len);
	assert_memory_equal(batch.datagrams.ptr, one.ptr, one.len);
	world_done();
}

static void asks_after_a_gap(void **state)
{
	(void)state;
	world_make();
	struct collect_device *device = open_device(&id_a, &world);
	test_probe_exec(&world.probe, 1, 0, "sh");
	report(device);
	world.probe.sequence += 3;
	test_probe_exec(&world.probe, 2, 0, "sh");
	report(device);
	assert_int_equal(world.sent, 1);
	assert_ptr_equal(world.sent_stream, &world);
	assert_int_equal(request_number(), 1);
	assert_int_equal(counters()->lost, 3);
	world.probe.sequence += 3;
	test_probe_exec(&world.probe, 2, 0, "sh");
	report(device); /* too soon */
	world.now_ms += COLLECT_ASK_MS - 1;
	collect_tick(world.collect, world.now_ms);
	assert_int_equal(world.sent, 1);
	world.now_ms += 1;
	collect_tick(world.collect, world.now_ms);
	assert_int_equal(world.sent, 2);
	assert_int_equal(request_number(), 2);
	world.now_ms += 100000;
	collect_tick(world.collect, world.now_ms);
	assert_int_equal(world.sent, 2); /* once was enough */
	assert_int_equal(counters()->asked, 2);
	world_done();
}

static void asks_in_the_middle_of_a_session(void **state)
{
	(void)state;
	world_make();
	struct collect_device *device = open_device(&id_a, &world);
	world.probe.sequence = 50;
	test_probe_exec(&world.probe, 1, 0, "sh");
	report(device);
	assert_int_equal(world.sent, 1);
	assert_int_equal(counters()->lost, 0);
	world_done();
}

static void asks_all(void **state)
{
	(void)state;
	world_make();
	open_device(&id_a, &world);
	struct collect_device *b = open_device(&id_b, &world.probe);
	collect_close(b, world.now_ms);
	collect_ask_all(world.collect);
	collect_tick(world.collect, world.now_ms);
	assert_int_equal(world.sent, 1); /* who has no link is not asked */
	open_device(&id_b, &world.probe);
	collect_tick(world.collect, world.now_ms);
	assert_int_equal(world.sent, 2);
	assert_ptr_equal(world.sent_stream, &world.probe);
	world_done();
}

static void gone_after_a_while(void **state)
{
	struct events_batch batch;
	(void)state;
	world_make();
	struct collect_device *device = open_device(&id_a, &world);
	test_probe_exec(&world.probe, 1, 0, "sh");
	report(device);
	assert_true(next(&batch));
	collect_close(device, world.now_ms);
	world.now_ms += COLLECT_GRACE_MS - 1;
	collect_tick(world.collect, world.now_ms);
	assert_false(next(&batch));
	device = open_device(&id_a, &world); /* back in time: its numbers go on */
	world.probe.sequence++;
	test_probe_exec(&world.probe, 1, 0, "sh");
	report(device);
	assert_int_equal(counters()->lost, 1);
	assert_true(next(&batch));
	collect_close(device, world.now_ms);
	world.now_ms += COLLECT_GRACE_MS;
	collect_tick(world.collect, world.now_ms);
	assert_true(next(&batch));
	assert_true(batch.gone);
	assert_memory_equal(&batch.device, &id_a, sizeof id_a);
	assert_int_equal(counters()->devices, 0);
	world_done();
}

static void newest_stream_wins(void **state)
{
	int first, second;
	(void)state;
	world_make();
	open_device(&id_a, &first);
	struct collect_device *device = open_device(&id_a, &second);
	assert_int_equal(world.superseded, 1);
	assert_ptr_equal(world.superseded_stream, &first);
	assert_int_equal(counters()->superseded, 1);
	collect_ask_all(world.collect);
	collect_tick(world.collect, world.now_ms);
	assert_ptr_equal(world.sent_stream, &second);
	collect_close(device, world.now_ms);
	world_done();
}

/* More than a device may send is left out and counted, event by event. */
static void budget(void **state)
{
	struct events_batch batch;
	uint64_t kept = 0, left_out = 0, datagrams = 0, sent = 0;
	(void)state;
	world_make();
	struct collect_device *device = open_device(&id_a, &world);
	for (unsigned i = 0; counters()->left_out < 100; i++) {
		for (unsigned k = 0; k < 50; k++)
			test_probe_exec(&world.probe, 1 + k, 0, "a name of some length that makes the record larger");
		sent += 50;
		report(device);
		assert_true(i < 100000);
		while (next(&batch))
			left_out += batch.left_out;
	}
	assert_true(counters()->bytes > COLLECT_BURST / 3);
	world.now_ms += 1000; /* a second later there is room again */
	test_probe_exec(&world.probe, 1, 0, "sh");
	sent++;
	report(device);
	assert_true(next(&batch));
	left_out += batch.left_out;
	datagrams = batch.left_out_datagrams;
	kept = counters()->records;
	assert_int_equal(kept + left_out, sent);
	assert_in_range(datagrams, 1, 200);
	assert_true(world.sent > 0);
	struct collect_device *other = open_device(&id_b, &world.probe); /* another one's budget is its own */
	test_probe_init(&world.probe, 78);
	test_probe_exec(&world.probe, 1, 0, "sh");
	report(other);
	assert_true(next(&batch));
	assert_int_equal(batch.left_out, 0);
	world_done();
}

static void large_reports(void **state)
{
	static char bytes[60000];
	struct events_batch batch;
	size_t len = 0, got = 0;
	(void)state;
	world_make();
	struct collect_device *device = open_device(&id_a, &world);
	while (len < 50000) {
		for (unsigned k = 0; k < 50; k++)
			test_probe_exec(&world.probe, 1 + k, 0, "a name of some length that makes the record larger");
		struct str one = test_probe_report(&world.probe);
		memcpy(bytes + len, one.ptr, one.len);
		len += one.len;
	}
	collect_report(device, (struct str){ bytes, len }, world.now_ms);
	while (next(&batch)) {
		assert_true(batch.datagrams.len <= EVENTS_BATCH_MAX);
		assert_memory_equal(batch.datagrams.ptr, bytes + got, batch.datagrams.len);
		got += batch.datagrams.len;
	}
	assert_int_equal(got, len);
	world_done();
}

static void bounded(void **state)
{
	struct collect_device *device;
	(void)state;
	world_make();
	for (uint32_t i = 0; i < COLLECT_DEVICES_MAX; i++) {
		struct id id = { { 1 } };
		memcpy(id.bytes + 4, &i, sizeof i);
		open_device(&id, &world);
	}
	assert_int_equal(collect_open(world.collect, &id_a, &world, world.now_ms, &device), -E_LIMIT);
	collect_ask_all(world.collect);
	collect_tick(world.collect, world.now_ms);
	assert_int_equal(world.sent, COLLECT_ASKS_MAX);
	collect_tick(world.collect, world.now_ms);
	assert_int_equal(world.sent, 2 * COLLECT_ASKS_MAX);
	world_done();
}

static int short_memory(void *ctx)
{
	struct collect_device *device = NULL;
	(void)ctx;
	memset(&world, 0, sizeof world);
	test_probe_init(&world.probe, 77);
	world.collect = collect_new(&events_settings_default, &events, &world);
	if (!world.collect)
		return -E_NO_MEMORY;
	int err = collect_open(world.collect, &id_a, &world, 1, &device);
	if (err == 0) {
		test_probe_exec(&world.probe, 1, 0, "sh");
		report(device);
		err = counters()->not_stored ? -E_NO_MEMORY : 0;
		assert_int_equal(world.sent, err ? 1 : 0); /* what could not be kept is asked for */
	}
	world_done();
	return err;
}

static void memory_is_short(void **state)
{
	(void)state;
	assert_true(test_each_fault(short_memory, NULL) > 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_what_is_good),
		cmocka_unit_test(refuses_by_reason),
		cmocka_unit_test(good_beside_bad),
		cmocka_unit_test(asks_after_a_gap),
		cmocka_unit_test(asks_in_the_middle_of_a_session),
		cmocka_unit_test(asks_all),
		cmocka_unit_test(gone_after_a_while),
		cmocka_unit_test(newest_stream_wins),
		cmocka_unit_test(budget),
		cmocka_unit_test(large_reports),
		cmocka_unit_test(bounded),
		cmocka_unit_test(memory_is_short),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
