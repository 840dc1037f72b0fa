#include <pb_decode.h>

#include "base/err.h"
#include "base/test.h"
#include "route/envelope.h"

static char large[ENVELOPE_BODY_MAX + 1];

static murmesh_Envelope sample(void)
{
	murmesh_Envelope envelope = { .which_to = murmesh_Envelope_node_tag, .type = "note", .created_ms = 5, .lifetime_s = 60 };
	envelope.id[3] = 7;
	envelope.to.node[0] = 9;
	envelope.key[0] = 'k';
	return envelope;
}

static int write_read(const murmesh_Envelope *envelope, struct str body)
{
	static murmesh_Envelope again;
	struct str back;
	struct buf out;
	buf_init(&out, ENVELOPE_MAX + 10);
	int err = envelope_write(envelope, body, &out);
	if (err == 0)
		err = envelope_read(buf_str(&out), &again, &back);
	if (err == 0) {
		assert_true(str_equal(body, back));
		assert_memory_equal(again.id, envelope->id, sizeof again.id);
		assert_string_equal(again.type, envelope->type);
		assert_string_equal(again.key, envelope->key);
		assert_int_equal(again.which_to, envelope->which_to);
		assert_int_equal(again.created_ms, envelope->created_ms);
	}
	buf_done(&out);
	return err;
}

static void test_written_and_read(void **state)
{
	(void)state;
	murmesh_Envelope envelope = sample();
	assert_int_equal(write_read(&envelope, STR("hello")), 0);
	assert_int_equal(write_read(&envelope, STR("")), 0);
	assert_int_equal(write_read(&envelope, (struct str){ large, ENVELOPE_BODY_MAX }), 0);
	assert_int_equal(write_read(&envelope, (struct str){ large, ENVELOPE_BODY_MAX + 1 }), -E_TOO_LONG);
	assert_int_equal(envelope_lifetime_ms(&envelope), 60000);
	envelope.lifetime_s = 0;
	assert_int_equal(envelope_lifetime_ms(&envelope), 3 * 86400000LL);

	envelope.which_to = murmesh_Envelope_group_tag;
	snprintf(envelope.to.group, sizeof envelope.to.group, "lab");
	assert_int_equal(write_read(&envelope, STR("x")), 0);
	envelope.which_to = murmesh_Envelope_query_tag;
	memset(envelope.to.query, 'q', sizeof envelope.to.query - 1);
	envelope.to.query[sizeof envelope.to.query - 1] = 0;
	memset(envelope.type, 't', 64);
	memset(envelope.key, 'k', 64);
	envelope.from.size = 16;
	envelope.lifetime_s = ENVELOPE_LONGEST_S;
	envelope.priority = murmesh_Priority_HIGH;
	envelope.hops_count = ENVELOPE_HOPS_MAX;
	for (int i = 0; i < ENVELOPE_HOPS_MAX; i++)
		envelope.hops[i].size = 16;
	assert_int_equal(write_read(&envelope, (struct str){ large, ENVELOPE_BODY_MAX }), 0); /* the largest there is */
	envelope.which_to = murmesh_Envelope_server_tag;
	envelope.to.server = true;
	assert_int_equal(write_read(&envelope, STR("x")), 0);
}

static void test_refused(void **state)
{
	(void)state;
	const struct str body = STR("x");
	murmesh_Envelope e = sample();
	memset(e.id, 0, sizeof e.id);
	assert_int_equal(write_read(&e, body), -E_MESSAGE);
	e = sample();
	e.type[0] = 0;
	assert_int_equal(write_read(&e, body), -E_MESSAGE);
	e = sample();
	e.type[0] = (char)0xff;
	assert_int_equal(write_read(&e, body), -E_MESSAGE);
	e = sample();
	e.key[0] = (char)0xff;
	assert_int_equal(write_read(&e, body), -E_MESSAGE);
	e = sample();
	e.which_to = 0;
	assert_int_equal(write_read(&e, body), -E_MESSAGE);
	e = sample();
	e.which_to = murmesh_Envelope_group_tag;
	e.to.group[0] = 0;
	assert_int_equal(write_read(&e, body), -E_MESSAGE);
	e = sample();
	e.from.size = 15;
	assert_int_equal(write_read(&e, body), -E_MESSAGE);
	e = sample();
	e.lifetime_s = ENVELOPE_LONGEST_S + 1;
	assert_int_equal(write_read(&e, body), -E_MESSAGE);
	e = sample();
	e.created_ms = 0;
	assert_int_equal(write_read(&e, body), -E_MESSAGE);
	e = sample();
	e.priority = 3;
	assert_int_equal(write_read(&e, body), -E_MESSAGE);
	e = sample();
	e.hops_count = 1;
	e.hops[0].size = 3;
	assert_int_equal(write_read(&e, body), -E_MESSAGE);
	struct str back;
	assert_int_equal(envelope_read(STR("\x0a\xff"), &e, &back), -E_MESSAGE);
	assert_int_equal(envelope_read((struct str){ large, ENVELOPE_MAX + 1 }, &e, &back), -E_TOO_LONG);
	assert_int_equal(envelope_read(STR("\x0a\x10"
	                                   "0123456789abcdef"
	                                   "\x30\x01\x3a\x01t\x50\x05\x68\x07"),
	                               &e, &back),
	                 -E_MESSAGE); /* its body is a number */
	struct buf small;
	buf_init(&small, 10);
	e = sample();
	assert_int_equal(envelope_write(&e, body, &small), -E_TOO_LONG);
}

/* Whatever is changed in one: nanopb takes it where envelope_read() does, and reads the same. */
static int assert_as_nanopb(struct str bytes)
{
	static murmesh_Envelope ours, theirs;
	struct str body = { 0 };
	struct buf one, other;
	buf_init(&one, ENVELOPE_MAX);
	buf_init(&other, ENVELOPE_MAX);
	pb_istream_t in = pb_istream_from_buffer((const pb_byte_t *)bytes.ptr, bytes.len);
	theirs.body.funcs.decode = NULL; /* skipped */
	bool decoded = pb_decode(&in, murmesh_Envelope_fields, &theirs);
	int err = envelope_read(bytes, &ours, &body);
	if (err == 0)
		assert_true(decoded);
	if (decoded)
		assert_int_equal(envelope_write(&theirs, body, &other), err);
	if (err == 0) {
		assert_int_equal(envelope_write(&ours, body, &one), 0);
		assert_true(str_equal(buf_str(&one), buf_str(&other)));
	}
	buf_done(&one);
	buf_done(&other);
	return err;
}

static void test_changed(void **state)
{
	(void)state;
	static const uint8_t values[] = { 0, 1, 2, 5, 15, 16, 17, 64, 65, 127, 128, 255 };
	static const struct id hop = { { 3 } };
	static const pb_size_t to[] = { murmesh_Envelope_node_tag, murmesh_Envelope_group_tag, murmesh_Envelope_query_tag,
		                        murmesh_Envelope_server_tag };
	for (size_t kind = 0; kind < 4; kind++) {
		murmesh_Envelope envelope = sample();
		struct buf bytes;
		buf_init(&bytes, ENVELOPE_MAX);
		envelope.which_to = to[kind];
		memset(&envelope.to, 0, sizeof envelope.to);
		memcpy(&envelope.to, "\1ab", kind == 3 ? 1 : 4);
		envelope.from.size = sizeof envelope.from.bytes;
		envelope.priority = murmesh_Priority_LOW;
		assert_int_equal(envelope_write(&envelope, STR("body"), &bytes), 0);
		assert_int_equal(envelope_hop_append(&bytes, &hop), 0);
		assert_int_equal(buf_append(&bytes,
		                            "\x72\x01z\x79"
		                            "01234567"
		                            "\x85\x01"
		                            "0123"
		                            "\x88\x01\xff\x01",
		                            22),
		                 0); /* of a newer version */
		assert_int_equal(assert_as_nanopb(buf_str(&bytes)), 0);
		for (size_t at = 0; at < buf_len(&bytes); at++) {
			const uint8_t before = bytes.data[bytes.start + at];
			for (size_t i = 0; i < sizeof values; i++) {
				bytes.data[bytes.start + at] = values[i];
				assert_as_nanopb(buf_str(&bytes));
			}
			bytes.data[bytes.start + at] = before;
			assert_as_nanopb((struct str){ buf_str(&bytes).ptr, at });
		}
		buf_done(&bytes);
	}
}

/* Behind fields that are enough for an envelope: what is of a length or a size that does not fit. */
static void test_appended(void **state)
{
	(void)state;
	static const struct {
		char tag;
		size_t most;
	} texts[] = { { 0x22, 63 }, { 0x2a, 1023 }, { 0x3a, 64 }, { 0x5a, 64 } };
	static const struct {
		const char *bytes;
		size_t len;
		int err;
	} numbers[] = { { "\x30\x02", 2, 0 },
		        { "\x30\x00", 2, -E_MESSAGE },
		        { "\x40\x02", 2, 0 },
		        { "\x40\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11, -E_MESSAGE },
		        { "\x48\x81\x80\x80\x80\x10", 6, -E_MESSAGE },
		        { "\x50\x85\x80\x80\x80\x80\x80\x80\x80\x80\x00", 11, 0 },
		        { "\x50\x85\x80\x80\x80\x80\x80\x80\x80\x80\x01", 11, -E_MESSAGE },
		        { "\x50\x85\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00", 12, -E_MESSAGE } };
	const murmesh_Envelope envelope = sample();
	struct buf bytes;
	buf_init(&bytes, ENVELOPE_MAX);
	assert_int_equal(envelope_write(&envelope, STR("body"), &bytes), 0);
	const size_t end = bytes.end;
	for (size_t i = 0; i < 4; i++)
		for (size_t len = texts[i].most - 1; len <= texts[i].most + 1; len++) {
			const char head[] = { texts[i].tag, (char)(len % 128 + 128), (char)(len >> 7) };
			char text[1025];
			memset(text, 'a', sizeof text);
			assert_int_equal(buf_append(&bytes, head, sizeof head), 0);
			assert_int_equal(buf_append(&bytes, text, len), 0);
			assert_int_equal(assert_as_nanopb(buf_str(&bytes)), len > texts[i].most ? -E_MESSAGE : 0);
			bytes.end = end;
		}
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
		assert_int_equal(buf_append(&bytes, numbers[i].bytes, numbers[i].len), 0);
		assert_int_equal(assert_as_nanopb(buf_str(&bytes)), numbers[i].err);
		bytes.end = end;
	}
	buf_done(&bytes);
}

static void test_hops(void **state)
{
	(void)state;
	const struct id first = { { 1 } }, second = { { 2 } }, server = { { 0 } };
	murmesh_Envelope envelope = sample();
	struct str body;
	struct buf out;
	buf_init(&out, ENVELOPE_MAX);
	assert_int_equal(envelope_write(&envelope, STR("body"), &out), 0);
	assert_int_equal(envelope_hop_append(&out, &first), 0);
	assert_int_equal(envelope_hop_append(&out, &server), 0);
	assert_int_equal(envelope_read(buf_str(&out), &envelope, &body), 0);
	assert_int_equal(envelope.hops_count, 2);
	assert_true(str_is(body, "body"));
	assert_true(envelope_passed(&envelope, &first));
	assert_true(envelope_passed(&envelope, &server));
	assert_false(envelope_passed(&envelope, &second));
	for (int i = 2; i < ENVELOPE_HOPS_MAX; i++)
		assert_int_equal(envelope_hop_append(&out, &first), 0);
	assert_int_equal(envelope_read(buf_str(&out), &envelope, &body), 0);
	assert_int_equal(envelope_hop_append(&out, &first), 0);
	assert_int_equal(envelope_read(buf_str(&out), &envelope, &body), -E_MESSAGE);
	buf_done(&out);
}

/* ---- on a link ---- */

struct taken {
	struct buf all;
	unsigned n;
	int answer;
};

static int take(void *ctx, struct str envelope)
{
	struct taken *taken = ctx;
	taken->n++;
	if (taken->answer == 0) {
		assert_int_equal(buf_append_be32(&taken->all, (uint32_t)envelope.len), 0);
		assert_int_equal(buf_append_str(&taken->all, envelope), 0);
	}
	return taken->answer;
}

/* However it is cut, the same comes out. */
static void test_stream(void **state)
{
	(void)state;
	static const size_t lengths[] = { 1, 5, 0, 300, 2, 4000, 1 };
	struct buf sent;
	buf_init(&sent, 100000);
	for (size_t i = 0; i < 7; i++) {
		memset(large, 'a' + (int)i, lengths[i]);
		assert_int_equal(buf_append_be32(&sent, (uint32_t)lengths[i]), 0);
		assert_int_equal(buf_append(&sent, large, lengths[i]), 0);
	}
	for (size_t piece = 1; piece <= buf_len(&sent); piece++) {
		struct envelope_stream stream;
		struct taken taken = { 0 };
		buf_init(&taken.all, 100000);
		envelope_stream_init(&stream);
		for (size_t at = 0; at < buf_len(&sent); at += piece) {
			size_t left = buf_len(&sent) - at;
			struct str part = { (const char *)buf_head(&sent) + at, left < piece ? left : piece };
			assert_int_equal(envelope_stream_take(&stream, part, take, &taken), 0);
		}
		assert_int_equal(taken.n, 7);
		assert_true(str_equal(buf_str(&taken.all), buf_str(&sent)));
		envelope_stream_done(&stream);
		buf_done(&taken.all);
	}
	buf_done(&sent);
}

static void test_stream_refuses(void **state)
{
	(void)state;
	static const uint8_t too_long[] = { 0, 4, 0x10, 1 }, short_one[] = { 0, 0, 0, 1, 'x' };
	struct envelope_stream stream;
	struct taken taken = { .answer = -E_DENIED };
	envelope_stream_init(&stream);
	assert_int_equal(envelope_stream_take(&stream, (struct str){ (const char *)too_long, 4 }, take, &taken), -E_TOO_LONG);
	assert_int_equal(envelope_stream_take(&stream, (struct str){ (const char *)short_one, 5 }, take, &taken), -E_DENIED);
	/* Where the length comes in pieces. */
	assert_int_equal(envelope_stream_take(&stream, (struct str){ (const char *)too_long, 3 }, take, &taken), 0);
	assert_int_equal(envelope_stream_take(&stream, (struct str){ (const char *)too_long + 3, 1 }, take, &taken), 0);
	assert_int_equal(envelope_stream_take(&stream, STR("x"), take, &taken), -E_TOO_LONG);
	assert_int_equal(taken.n, 1);
	envelope_stream_done(&stream);
}

static int stream_once(void *ctx)
{
	struct envelope_stream stream;
	struct taken taken = { .answer = 1 };
	(void)ctx;
	envelope_stream_init(&stream);
	int err = envelope_stream_take(&stream, (struct str){ "\0\0\1\0x", 5 }, take, &taken);
	envelope_stream_done(&stream);
	return err;
}

static void test_faults(void **state)
{
	(void)state;
	assert_int_equal(test_each_fault(stream_once, NULL), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_written_and_read), cmocka_unit_test(test_refused), cmocka_unit_test(test_changed),
		cmocka_unit_test(test_appended),         cmocka_unit_test(test_hops),    cmocka_unit_test(test_stream),
		cmocka_unit_test(test_stream_refuses),   cmocka_unit_test(test_faults),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
