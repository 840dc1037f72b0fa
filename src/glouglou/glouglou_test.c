#include "base/test.h"

#include <jansson.h>

#include "base/buf.h"
#include "base/encode.h"
#include "base/err.h"
#include "gg_modules.h"

#define NOW    1700000000000000000ull
#define DEVICE "000102030405060708090a0b0c0d0e0f"

/* What was sent. */
struct sent {
	uint8_t bytes[64][GG_DATAGRAM_TOP];
	size_t len[64], n;
	unsigned records;
	uint64_t sequence;
};

static void on_send(void *ctx, struct str datagram, unsigned records)
{
	struct sent *sent = ctx;
	assert_true(sent->n < 64 && datagram.len <= GG_DATAGRAM_MAX);
	memcpy(sent->bytes[sent->n], datagram.ptr, datagram.len);
	gg_datagram_number(sent->bytes[sent->n], ++sent->sequence);
	sent->len[sent->n++] = datagram.len;
	sent->records += records;
}

static struct str sent_at(const struct sent *sent, size_t i)
{
	return (struct str){ (const char *)sent->bytes[i], sent->len[i] };
}

struct world {
	struct sent sent;
	struct gg_source source;
	struct gg_writer writer;
};

static struct world *world_make(uint8_t module)
{
	static struct world world;
	memset(&world, 0, sizeof world);
	world.source = (struct gg_source){ .probe = 0, .session = 0xabad1dea, .send = on_send, .ctx = &world.sent };
	gg_writer_init(&world.writer, &world.source, module);
	return &world;
}

/* The only record of the i-th datagram, read. */
static const struct gg_record_type *read_one(const struct world *world, size_t i, union gg_any *any, struct gg_record *record)
{
	struct gg_datagram datagram;
	size_t at = 0;
	assert_int_equal(gg_datagram_read(sent_at(&world->sent, i), &datagram), GG_OK);
	assert_true(gg_record_next(&datagram, &at, record));
	const struct gg_record_type *type = gg_record_find(gg_module_find(datagram.module), record->type);
	assert_non_null(type);
	memset(any, 0xee, sizeof *any);
	assert_int_equal(gg_record_read(type, record, any), GG_OK);
	assert_false(gg_record_next(&datagram, &at, record));
	return type;
}

static const struct gg_flow flow4 = {
	.protocol = 6,
	.source = { { 10, 0, 0, 1 }, false },
	.source_port = 1234,
	.destination = { { 10, 0, 0, 2 }, false },
	.destination_port = 80,
};

static void test_exec_round_trip(void **state)
{
	struct world *world = world_make(GG_MODULE_PROCESS);
	const struct gg_process_exec exec = { .process = { 4711, 1700000000123 },
		                              .uid = 1000,
		                              .exe = STR("/usr/bin/curl"),
		                              .argv = STR("curl -s https://example.org/"),
		                              .parent = { 42, 1690000000000 },
		                              .command = STR("curl") };
	union gg_any any;
	struct gg_record record;
	(void)state;
	assert_int_equal(gg_process_exec_write(&world->writer, NOW, &exec), 0);
	assert_int_equal(world->sent.n, 0);
	gg_writer_flush(&world->writer);
	gg_writer_flush(&world->writer);
	assert_int_equal(world->sent.n, 1);
	const struct gg_record_type *type = read_one(world, 0, &any, &record);
	assert_ptr_equal(type, gg_process_exec_type);
	assert_int_equal(record.time_ns, NOW);
	assert_int_equal(any.process_exec.process.pid, 4711);
	assert_int_equal(any.process_exec.process.start, 1700000000123);
	assert_int_equal(any.process_exec.uid, 1000);
	assert_true(str_is(any.process_exec.exe, "/usr/bin/curl"));
	assert_true(str_is(any.process_exec.argv, "curl -s https://example.org/"));
	assert_int_equal(any.process_exec.parent.pid, 42);
	assert_true(str_is(any.process_exec.command, "curl"));
}

static void test_optional_members(void **state)
{
	struct world *world = world_make(GG_MODULE_NETWORK);
	struct gg_network_newconn conn = { .flow = flow4, .owner = true, .process = { 4711, 5 }, .command = STR("curl") };
	union gg_any any;
	struct gg_record record;
	(void)state;
	gg_network_newconn_write(&world->writer, NOW, &conn);
	gg_writer_flush(&world->writer);
	conn.owner = false;
	conn.flow.incoming = true;
	gg_network_newconn_write(&world->writer, NOW, &conn);
	gg_writer_flush(&world->writer);
	read_one(world, 0, &any, &record);
	assert_true(any.network_newconn.owner && !any.network_newconn.flow.incoming);
	assert_int_equal(any.network_newconn.process.pid, 4711);
	read_one(world, 1, &any, &record);
	assert_false(any.network_newconn.owner);
	assert_true(any.network_newconn.flow.incoming);
	assert_int_equal(any.network_newconn.process.pid, 0);
	assert_int_equal(any.network_newconn.command.len, 0);
	assert_true(world->sent.len[1] < world->sent.len[0]);
}

static void test_ipv6_and_mixed(void **state)
{
	struct world *world = world_make(GG_MODULE_NETWORK);
	struct gg_network_trace trace = { .target = { { 0x20, 1, 0xd, 0xb8, [15] = 1 }, true }, .hops.n = 2 };
	union gg_any any;
	struct gg_record record;
	(void)state;
	trace.hops.hop[0] = (struct gg_hop){ { { 192, 168, 1, 254 }, false }, 700 };
	trace.hops.hop[1] = (struct gg_hop){ { { 0xfe, 0x80, [15] = 2 }, true }, 90000 };
	gg_network_trace_write(&world->writer, NOW, &trace);
	gg_writer_flush(&world->writer);
	read_one(world, 0, &any, &record);
	assert_int_equal(record.flags, GG_IPV6);
	assert_true(any.network_trace.target.v6);
	assert_int_equal(any.network_trace.hops.n, 2);
	assert_false(any.network_trace.hops.hop[0].address.v6);
	assert_memory_equal(any.network_trace.hops.hop[0].address.bytes, trace.hops.hop[0].address.bytes, 16);
	assert_int_equal(any.network_trace.hops.hop[1].rtt_us, 90000);
}

static void test_strings_are_cut_at_a_character(void **state)
{
	struct world *world = world_make(GG_MODULE_PROCESS);
	char argv[500];
	struct gg_process_exec exec = { .argv = { argv, sizeof argv }, .exe = STR("/x"), .command = STR("x") };
	union gg_any any;
	struct gg_record record;
	(void)state;
	for (size_t i = 0; i + 1 < sizeof argv; i += 2) /* 400 falls into the middle of a character */
		memcpy(argv + i, "\xc3\xa9", 2);
	exec.argv = (struct str){ argv + 1, 450 };
	argv[1] = 'a';
	assert_int_equal(gg_process_exec_write(&world->writer, NOW, &exec), 0);
	gg_writer_flush(&world->writer);
	read_one(world, 0, &any, &record);
	assert_int_equal(any.process_exec.argv.len, 399);
	exec.argv = STR("\xff\xfe");
	assert_int_equal(gg_process_exec_write(&world->writer, NOW, &exec), -E_UTF8);
	exec.argv = (struct str){ "a\0b", 3 };
	assert_int_equal(gg_process_exec_write(&world->writer, NOW, &exec), -E_UTF8);
}

static void test_full_datagrams_go(void **state)
{
	struct world *world = world_make(GG_MODULE_PROCESS);
	unsigned read = 0;
	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		const struct gg_process_exit ended = { .process = { i + 1, NOW / 1000000 }, .code = 1, .command = STR("sh") };
		assert_int_equal(gg_process_exit_write(&world->writer, NOW + i * 1000000ull, &ended), 0);
	}
	gg_writer_flush(&world->writer);
	assert_int_equal(world->sent.records, 1000);
	for (size_t i = 0; i < world->sent.n; i++) {
		struct gg_datagram datagram;
		struct gg_record record;
		union gg_any any;
		size_t at = 0;
		assert_int_equal(gg_datagram_read(sent_at(&world->sent, i), &datagram), GG_OK);
		assert_int_equal(datagram.sequence, i + 1);
		assert_true(i + 1 == world->sent.n || world->sent.len[i] > 1100);
		for (; gg_record_next(&datagram, &at, &record); read++) {
			assert_int_equal(gg_record_read(gg_process_exit_type, &record, &any), GG_OK);
			assert_int_equal(any.process_exit.process.pid, read + 1);
			assert_int_equal(record.time_ns, NOW + read * 1000000ull);
		}
	}
	assert_int_equal(read, 1000);
}

/* A record a little older than the datagram keeps its time; one from long after begins another datagram. */
static void test_times(void **state)
{
	struct world *world = world_make(GG_MODULE_PROCESS);
	const struct gg_process_exit ended = { .process = { 1, 1 } };
	struct gg_datagram datagram;
	struct gg_record record;
	size_t at = 0;
	(void)state;
	gg_process_exit_write(&world->writer, NOW, &ended);
	gg_process_exit_write(&world->writer, NOW - 900000000, &ended);
	gg_process_exit_write(&world->writer, NOW + 4000ull * 1000000000, &ended);
	gg_writer_flush(&world->writer);
	assert_int_equal(world->sent.n, 2);
	assert_int_equal(gg_datagram_read(sent_at(&world->sent, 0), &datagram), GG_OK);
	assert_int_equal(datagram.records, 2);
	assert_true(gg_record_next(&datagram, &at, &record) && record.time_ns == NOW);
	assert_true(gg_record_next(&datagram, &at, &record) && record.time_ns == NOW - 900000000);
	assert_int_equal(gg_datagram_read(sent_at(&world->sent, 1), &datagram), GG_OK);
	at = 0;
	assert_true(gg_record_next(&datagram, &at, &record) && record.time_ns == NOW + 4000ull * 1000000000);
}

/* ---- hostile bytes ---- */

static enum gg_bad read_all(struct str bytes)
{
	struct gg_datagram datagram;
	struct gg_record record;
	union gg_any any;
	size_t at = 0;
	uint8_t *copy = malloc(bytes.len ? bytes.len : 1); /* of exactly this length: reading beyond it is found by a sanitizer */
	memcpy(copy, bytes.ptr, bytes.len);
	enum gg_bad bad = gg_datagram_read((struct str){ (const char *)copy, bytes.len }, &datagram);
	while (bad == GG_OK && gg_record_next(&datagram, &at, &record)) {
		const struct gg_module *module = datagram.module == GG_CONTROL ? &gg_control : gg_module_find(datagram.module);
		const struct gg_record_type *type = gg_record_find(module, record.type);
		bad = type ? gg_record_read(type, &record, &any) : GG_BAD_TYPE;
	}
	free(copy);
	return bad;
}

static struct world *world_of_one(void)
{
	struct world *world = world_make(GG_MODULE_NETWORK);
	const struct gg_network_newconn conn = { .flow = flow4, .owner = true, .process = { 4711, 1 }, .command = STR("curl") };
	gg_network_newconn_write(&world->writer, NOW, &conn);
	gg_writer_flush(&world->writer);
	return world;
}

static void test_cut_and_longer(void **state)
{
	struct world *world = world_of_one();
	struct str whole = sent_at(&world->sent, 0);
	(void)state;
	assert_int_equal(read_all(whole), GG_OK);
	for (size_t len = 0; len < whole.len; len++)
		assert_int_equal(read_all((struct str){ whole.ptr, len }), len < GG_HEADER ? GG_BAD_SHORT : GG_BAD_LENGTH);
	assert_int_equal(read_all((struct str){ whole.ptr, whole.len + 1 }), GG_BAD_TRAILING);
	assert_int_equal(read_all((struct str){ whole.ptr, GG_DATAGRAM_TOP + 1 }), GG_BAD_LONG);
}

static void test_each_wrong_field(void **state)
{
	static const struct {
		size_t at;
		uint8_t byte;
		enum gg_bad bad;
	} rows[] = {
		{ 0, 2, GG_BAD_VERSION },
		{ 0, 0, GG_BAD_VERSION },
		{ 1, 0x77, GG_BAD_MODULE },
		{ 2, GG_TAG, GG_BAD_FLAGS },
		{ 2, GG_RELAYED, GG_BAD_FLAGS },
		{ 2, 0x80, GG_BAD_FLAGS },
		{ 3, 7, GG_BAD_HEADER },
		{ 3, 17, GG_BAD_HEADER },
		{ 3, 0, GG_BAD_HEADER },
		{ 3, 9, GG_BAD_LENGTH },
		{ 28, 1, GG_BAD_RECORDS },
		{ 29, 0, GG_BAD_RECORDS },
		{ 29, 2, GG_BAD_RECORDS },
		{ 30, 1, GG_BAD_LENGTH },
		{ 31, 0, GG_BAD_TRAILING },
		{ 32, 0x70, GG_BAD_TYPE },
		{ 33, 0x20, GG_BAD_FLAGS },
		{ 33, GG_OWNER | GG_INDEX, GG_BAD_INDEX },
		{ 33, GG_COMPRESSED, GG_BAD_COMPRESSED },
		{ 34, 0xff, GG_BAD_LENGTH },
		{ 35, 0, GG_BAD_VARINT },
		{ 33, GG_OWNER | GG_IPV6, GG_BAD_BODY },
	};
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct world *world = world_of_one();
		world->sent.bytes[0][rows[i].at] = rows[i].byte;
		assert_int_equal(read_all(sent_at(&world->sent, 0)), rows[i].bad);
	}
	struct world *world = world_of_one();
	memset(world->sent.bytes[0] + 8, 0, 4);
	assert_int_equal(read_all(sent_at(&world->sent, 0)), GG_BAD_SESSION);
	gg_datagram_number(world_of_one()->sent.bytes[0], 0);
	assert_int_equal(read_all(sent_at(&world->sent, 0)), GG_BAD_SESSION);
}

/* Any byte of a good datagram changed to any value: it is read or refused, never read beyond its end. */
static void test_mutations(void **state)
{
	(void)state;
	for (size_t at = 0; at < world_of_one()->sent.len[0]; at++) {
		struct world *world = world_of_one();
		for (unsigned byte = 0; byte < 256; byte++) {
			world->sent.bytes[0][at] = (uint8_t)byte;
			assert_true(read_all(sent_at(&world->sent, 0)) < GG_BADS);
		}
	}
}

/* ---- order ---- */

static enum gg_bad order_take(struct gg_order *order, uint64_t sequence)
{
	enum gg_bad bad = gg_order_check(order, sequence);
	if (bad == GG_OK)
		gg_order_commit(order, sequence);
	return bad;
}

static void test_order(void **state)
{
	static struct gg_order order;
	(void)state;
	assert_int_equal(gg_order_lost(&order), 0);
	assert_int_equal(order_take(&order, 500), GG_OK);
	assert_int_equal(order_take(&order, 500), GG_BAD_REPLAY);
	assert_int_equal(order_take(&order, 503), GG_OK);
	assert_int_equal(gg_order_lost(&order), 2);
	assert_int_equal(order_take(&order, 501), GG_OK);
	assert_int_equal(order_take(&order, 501), GG_BAD_REPLAY);
	assert_int_equal(gg_order_lost(&order), 1);
	assert_int_equal(order_take(&order, 503 + GG_WINDOW), GG_OK);
	assert_int_equal(order_take(&order, 503), GG_BAD_OLD);
	assert_int_equal(order_take(&order, 504), GG_OK);
	assert_int_equal(gg_order_lost(&order), 1 + GG_WINDOW - 2);
	assert_int_equal(order_take(&order, UINT64_MAX), GG_OK);
	assert_int_equal(order_take(&order, UINT64_MAX - 1), GG_OK);
	assert_int_equal(order_take(&order, UINT64_MAX), GG_BAD_REPLAY);
	assert_int_equal(order_take(&order, 0), GG_BAD_OLD);
}

/* ---- keyframes ---- */

static struct world *world_keyframe(unsigned records)
{
	struct world *world = world_make(GG_MODULE_PROCESS);
	gg_writer_keyframe_begin(&world->writer, NOW);
	for (unsigned i = 0; i < records; i++) {
		const struct gg_process_exec exec = {
			.process = { i + 1, 1 }, .exe = STR("/bin/sh"), .argv = STR("sh -c true"), .command = STR("sh")
		};
		gg_process_exec_write(&world->writer, NOW, &exec);
	}
	gg_writer_keyframe_end(&world->writer);
	return world;
}

static enum gg_bad frame_take(struct gg_frame *frame, const struct world *world, size_t i, bool *begins, bool *ends)
{
	struct gg_datagram datagram;
	assert_int_equal(gg_datagram_read(sent_at(&world->sent, i), &datagram), GG_OK);
	assert_true(datagram.flags & GG_IN_KEYFRAME);
	return gg_frame_take(frame, &datagram, begins, ends);
}

static void test_keyframe(void **state)
{
	static struct gg_frame frame;
	struct world *world = world_keyframe(200);
	bool begins, ends;
	(void)state;
	assert_true(world->sent.n > 3);
	assert_int_equal(world->sent.records, 200);
	for (size_t i = 0; i < world->sent.n; i++) { /* in reverse: any order serves */
		assert_int_equal(frame_take(&frame, world, world->sent.n - 1 - i, &begins, &ends), GG_OK);
		assert_int_equal(begins, i == 0);
		assert_int_equal(ends, i == world->sent.n - 1);
	}
	for (size_t i = 0; i < world->sent.n; i++)
		assert_int_equal(frame_take(&frame, world, i, &begins, &ends), GG_BAD_KEYFRAME);
	gg_writer_keyframe_begin(&world->writer, NOW); /* an empty one */
	gg_writer_keyframe_end(&world->writer);
	assert_int_equal(frame_take(&frame, world, world->sent.n - 1, &begins, &ends), GG_OK);
	assert_true(begins && ends);
	const struct gg_process_exit ended = { .process = { 1, 1 } };
	gg_process_exit_write(&world->writer, NOW, &ended);
	gg_writer_flush(&world->writer);
	assert_int_equal(world->sent.bytes[world->sent.n - 1][2], 0);
}

/* Events between two parts are none of it. */
static void test_keyframe_with_pause(void **state)
{
	static struct gg_frame frame;
	struct world *world = world_make(GG_MODULE_PROCESS);
	const struct gg_process_exit ended = { .process = { 1, 1 } };
	const uint8_t flags[] = { GG_IN_KEYFRAME, 0, GG_IN_KEYFRAME, 0, GG_IN_KEYFRAME };
	bool begins, ends;
	(void)state;
	gg_writer_keyframe_begin(&world->writer, NOW);
	for (unsigned i = 0; i < 2; i++) {
		gg_writer_keyframe_pause(&world->writer, true);
		gg_process_exit_write(&world->writer, NOW, &ended);
		gg_writer_keyframe_pause(&world->writer, false);
		const struct gg_process_exec exec = { .process = { i + 1, 1 } };
		gg_process_exec_write(&world->writer, NOW, &exec);
	}
	gg_writer_keyframe_end(&world->writer);
	assert_int_equal(world->sent.n, sizeof flags);
	assert_int_equal(world->sent.records, 4);
	for (size_t i = 0; i < sizeof flags; i++) {
		assert_int_equal(world->sent.bytes[i][2], flags[i]);
		if (!flags[i])
			continue;
		assert_int_equal(frame_take(&frame, world, i, &begins, &ends), GG_OK);
		assert_int_equal(begins, i == 0);
		assert_int_equal(ends, i == sizeof flags - 1);
	}
}

static void test_keyframe_superseded(void **state)
{
	static struct gg_frame frame;
	struct world *world = world_keyframe(60);
	size_t first = world->sent.n;
	bool begins, ends;
	(void)state;
	assert_true(first > 1);
	gg_writer_keyframe_begin(&world->writer, NOW);
	gg_writer_keyframe_end(&world->writer);
	assert_int_equal(frame_take(&frame, world, 0, &begins, &ends), GG_OK);
	assert_true(begins && !ends);
	assert_int_equal(frame_take(&frame, world, first, &begins, &ends), GG_OK);
	assert_true(begins && ends);
	assert_int_equal(frame_take(&frame, world, 1, &begins, &ends), GG_BAD_KEYFRAME);
}

/* ---- templates ---- */

static const struct gg_step *step_of(const struct gg_record_type *type, const void *record, enum gg_step_kind kind)
{
	for (size_t i = 0; i < type->n_steps; i++)
		if (type->steps[i].kind == kind && gg_step_applies(&type->steps[i], type, record))
			return &type->steps[i];
	return NULL;
}

static void assert_text(const struct gg_template *text, const struct gg_record_type *type, const void *record, const char *expected)
{
	char out[GG_TEXT_SIZE];
	assert_string_equal(gg_text(text, type, record, DEVICE, out, sizeof out), expected);
}

static void test_steps_of_a_connection(void **state)
{
	struct gg_network_newconn conn = { .flow = flow4, .owner = true, .process = { 4711, 99 }, .command = STR("curl") };
	const struct gg_record_type *type = gg_network_newconn_type;
	(void)state;
	const struct gg_step *node = step_of(type, &conn, GG_STEP_NODE), *edge = step_of(type, &conn, GG_STEP_EDGE);
	assert_text(&node->id, type, &conn, "n/10.0.0.2");
	assert_string_equal(node->class, "address");
	assert_true(node->shared);
	assert_text(&edge->id, type, &conn, "c/" DEVICE "/10.0.0.1-1234-10.0.0.2-80");
	assert_text(&edge->from, type, &conn, "proc/" DEVICE "/4711-99");
	assert_text(&edge->to, type, &conn, "n/10.0.0.2");
	const struct gg_step *row = step_of(type, &conn, GG_STEP_ROW);
	assert_text(&row->subject, type, &conn, "curl (4711)");
	assert_text(&row->object, type, &conn, "to 10.0.0.2:80");
	assert_int_equal(gg_number(&row->pid, type, &conn), 4711);
	assert_int_equal(gg_number(&row->bytes, type, &conn), 0);

	conn.owner = false;
	conn.flow.incoming = true;
	conn.flow.protocol = 17;
	conn.flow.source = (struct gg_address){ { [15] = 1 }, true };
	conn.flow.destination = conn.flow.source;
	edge = step_of(type, &conn, GG_STEP_EDGE);
	row = step_of(type, &conn, GG_STEP_ROW);
	assert_text(&edge->id, type, &conn, "c/" DEVICE "/::1-1234-::1-80-udp");
	assert_text(&edge->from, type, &conn, DEVICE);
	assert_text(&edge->to, type, &conn, "n/::1@" DEVICE);
	assert_text(&row->object, type, &conn, "from [::1]:1234");
	char small[8];
	assert_string_equal(gg_text(&edge->id, type, &conn, DEVICE, small, sizeof small), "c/00010");
}

static void test_steps_of_a_process(void **state)
{
	struct gg_process_exit ended = { .process = { 7, 8 }, .known = 1, .code = 3, .command = STR("sh") };
	struct gg_process_exec exec = { .process = { 7, 8 }, .command = STR("sh") };
	(void)state;
	const struct gg_step *row = step_of(gg_process_exit_type, &ended, GG_STEP_ROW);
	assert_text(&row->object, gg_process_exit_type, &ended, "code 3");
	ended.signal = 9;
	row = step_of(gg_process_exit_type, &ended, GG_STEP_ROW);
	assert_text(&row->object, gg_process_exit_type, &ended, "signal 9");
	assert_text(&step_of(gg_process_exit_type, &ended, GG_STEP_GONE)->id, gg_process_exit_type, &ended, "proc/" DEVICE "/7-8");
	assert_null(step_of(gg_process_exec_type, &exec, GG_STEP_EDGE));
	exec.parent.pid = 1;
	assert_text(&step_of(gg_process_exec_type, &exec, GG_STEP_EDGE)->from, gg_process_exec_type, &exec, "proc/" DEVICE "/1-0");
}

static void test_control(void **state)
{
	struct world *world = world_make(GG_CONTROL);
	const struct gg_lost lost = { GG_MODULE_PROCESS, GG_LOST_QUEUE, 123456 };
	const struct gg_notice notice = { GG_MODULE_NETWORK, GG_NOTICE_SOURCE, STR("sock_diag, 1 s") };
	struct gg_datagram datagram;
	struct gg_record record;
	struct gg_lost lost_read;
	struct gg_notice notice_read;
	size_t at = 0;
	(void)state;
	assert_int_equal(gg_record_write(&world->writer, gg_record_find(&gg_control, GG_LOST), NOW, &lost), 0);
	assert_int_equal(gg_record_write(&world->writer, gg_record_find(&gg_control, GG_NOTICE), NOW, &notice), 0);
	gg_writer_flush(&world->writer);
	assert_int_equal(gg_datagram_read(sent_at(&world->sent, 0), &datagram), GG_OK);
	assert_true(gg_record_next(&datagram, &at, &record));
	assert_int_equal(gg_record_read(gg_record_find(&gg_control, record.type), &record, &lost_read), GG_OK);
	assert_int_equal(lost_read.count, 123456);
	assert_true(gg_record_next(&datagram, &at, &record));
	assert_int_equal(gg_record_read(gg_record_find(&gg_control, record.type), &record, &notice_read), GG_OK);
	assert_true(str_is(notice_read.text, "sock_diag, 1 s"));
}

static void test_link_form(void **state)
{
	struct str rest = STR("\0\3abc\0\0\0\2de\0\3f"), one;
	(void)state;
	assert_true(gg_link_next(&rest, &one) && str_is(one, "abc"));
	assert_true(gg_link_next(&rest, &one) && one.len == 0);
	assert_true(gg_link_next(&rest, &one) && str_is(one, "de"));
	assert_false(gg_link_next(&rest, &one));
	assert_int_equal(rest.len, 3);
	rest.len = 0;
	assert_false(gg_link_next(&rest, &one));
}

/* ---- vectors ---- */

static json_t *vectors_load(void)
{
	char path[512];
	snprintf(path, sizeof path, "%.*s../../tests/vectors/glouglou.json", (int)(sizeof __FILE__ - sizeof "glouglou_test.c"),
	         __FILE__);
	json_t *vectors = json_load_file(path, 0, NULL);
	assert_non_null(vectors);
	return vectors;
}

/* Reads the datagram and tells it as the vectors do: one line for each record. */
static void describe(struct str bytes, struct buf *out)
{
	struct gg_datagram datagram;
	struct gg_record record;
	union gg_any any;
	size_t at = 0;
	enum gg_bad bad = gg_datagram_read(bytes, &datagram);
	if (bad != GG_OK) {
		buf_printf(out, "%s", gg_bad_name(bad));
		return;
	}
	while (gg_record_next(&datagram, &at, &record)) {
		const struct gg_record_type *type = gg_record_find(gg_module_find(datagram.module), record.type);
		bad = type ? gg_record_read(type, &record, &any) : GG_BAD_TYPE;
		buf_printf(out, "%s%s", buf_len(out) ? "; " : "", type ? type->name : gg_bad_name(bad));
		if (type && bad != GG_OK)
			buf_printf(out, " %s", gg_bad_name(bad));
		for (size_t i = 0; bad == GG_OK && i < type->n_fields; i++) {
			char text[GG_TEXT_SIZE];
			const struct gg_piece piece = { NULL, (uint8_t)i, GG_PART_WHOLE };
			const struct gg_template one = { &piece, 1 };
			if (type->fields[i].type != GG_TYPE_HOPS)
				buf_printf(out, " %s=%s", type->fields[i].name,
				           gg_text(&one, type, &any, DEVICE, text, sizeof text));
		}
	}
}

static void test_vectors(void **state)
{
	json_t *vectors = vectors_load(), *row;
	size_t i;
	(void)state;
	assert_true(json_array_size(json_object_get(vectors, "datagrams")) >= 12);
	json_array_foreach(json_object_get(vectors, "datagrams"), i, row)
	{
		uint8_t bytes[2048];
		struct buf out;
		ssize_t len = hex_decode(str_from(json_string_value(json_object_get(row, "hex"))), bytes, sizeof bytes);
		assert_true(len >= 0);
		buf_init(&out, 4096);
		describe((struct str){ (const char *)bytes, (size_t)len }, &out);
		buf_append_u8(&out, 0);
		assert_string_equal((const char *)buf_head(&out), json_string_value(json_object_get(row, "is")));
		buf_done(&out);
	}
	json_decref(vectors);
}

/* The writer makes the first vector byte for byte. */
static void test_vector_written(void **state)
{
	json_t *vectors = vectors_load();
	struct world *world = world_make(GG_MODULE_PROCESS);
	char hex[HEX_SIZE(GG_DATAGRAM_MAX)];
	const struct gg_process_exec exec = { .process = { 4711, 1700000000123 },
		                              .uid = 1000,
		                              .exe = STR("/usr/bin/curl"),
		                              .argv = STR("curl -s https://example.org/"),
		                              .parent = { 42, 1690000000000 },
		                              .command = STR("curl") };
	const struct gg_process_exit ended = { .process = { 4711, 1700000000123 }, .known = 1, .code = 6, .command = STR("curl") };
	(void)state;
	gg_process_exec_write(&world->writer, NOW, &exec);
	gg_process_exit_write(&world->writer, NOW + 250000000, &ended);
	gg_writer_flush(&world->writer);
	gg_datagram_number(world->sent.bytes[0], 0);
	hex_encode(world->sent.bytes[0], world->sent.len[0], hex);
	assert_string_equal(hex,
	                    json_string_value(json_object_get(json_array_get(json_object_get(vectors, "datagrams"), 0), "hex")));
	json_decref(vectors);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exec_round_trip),
		cmocka_unit_test(test_optional_members),
		cmocka_unit_test(test_ipv6_and_mixed),
		cmocka_unit_test(test_strings_are_cut_at_a_character),
		cmocka_unit_test(test_full_datagrams_go),
		cmocka_unit_test(test_times),
		cmocka_unit_test(test_cut_and_longer),
		cmocka_unit_test(test_each_wrong_field),
		cmocka_unit_test(test_mutations),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_keyframe),
		cmocka_unit_test(test_keyframe_superseded),
		cmocka_unit_test(test_keyframe_with_pause),
		cmocka_unit_test(test_steps_of_a_connection),
		cmocka_unit_test(test_steps_of_a_process),
		cmocka_unit_test(test_control),
		cmocka_unit_test(test_link_form),
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_vector_written),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
