#include "tunnel/capsule.h"

#include "base/err.h"
#include "base/test.h"

#define ROOM ((size_t)200000)

/* What came out: each datagram behind its length. */
struct heard {
	struct buf bytes;
	unsigned n;
	int answer;
};

static int on_datagram(void *ctx, struct str datagram)
{
	struct heard *heard = ctx;
	assert_int_equal(buf_append_be16(&heard->bytes, (uint16_t)datagram.len), 0);
	assert_int_equal(buf_append_str(&heard->bytes, datagram), 0);
	heard->n++;
	return heard->answer;
}

struct fixture {
	struct capsule_reader reader;
	struct heard heard;
	struct buf wire;
	size_t room;
	uint64_t lost;
};

static void fixture_init(struct fixture *f)
{
	*f = (struct fixture){ .room = ROOM };
	capsule_reader_init(&f->reader, &f->room);
	buf_init(&f->heard.bytes, (size_t)1 << 20);
	buf_init(&f->wire, (size_t)1 << 20);
}

static void fixture_done(struct fixture *f)
{
	capsule_reader_done(&f->reader);
	assert_int_equal(f->room, ROOM);
	buf_done(&f->heard.bytes);
	buf_done(&f->wire);
}

static int feed(struct fixture *f, struct str bytes)
{
	return capsule_reader_feed(&f->reader, bytes, &f->lost, on_datagram, &f->heard);
}

static void wire_add(struct fixture *f, const void *datagram, size_t len)
{
	uint8_t head[CAPSULE_HEAD_MAX];
	size_t head_len = capsule_head_write(head, len);
	assert_true(head_len <= sizeof head);
	assert_int_equal(buf_append(&f->wire, head, head_len), 0);
	assert_int_equal(buf_append(&f->wire, datagram, len), 0);
}

static const size_t lengths[] = { 0, 1, 62, 63, 64, 1200, 16381, 16382, 16383, 16384, 65507, 65527 };
enum { LENGTHS = sizeof lengths / sizeof *lengths };

static void test_all_lengths_in_all_pieces(void **state)
{
	static const size_t pieces[] = { 1, 2, 3, 7, 1000, 16384, (size_t)1 << 20 };
	static uint8_t bytes[65527 + LENGTHS];
	(void)state;
	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (uint8_t)(i * 7 + i / 256);
	for (size_t p = 0; p < sizeof pieces / sizeof *pieces; p++) {
		struct fixture f;
		struct buf wanted;
		fixture_init(&f);
		buf_init(&wanted, (size_t)1 << 20);
		for (size_t i = 0; i < LENGTHS; i++) {
			wire_add(&f, bytes + i, lengths[i]);
			assert_int_equal(buf_append_be16(&wanted, (uint16_t)lengths[i]), 0);
			assert_int_equal(buf_append(&wanted, bytes + i, lengths[i]), 0);
		}
		for (struct str rest = buf_str(&f.wire); rest.len;) {
			struct str piece = { rest.ptr, rest.len < pieces[p] ? rest.len : pieces[p] };
			assert_int_equal(feed(&f, piece), 0);
			rest = str_skip(rest, piece.len);
		}
		assert_int_equal(f.heard.n, LENGTHS);
		assert_true(str_equal(buf_str(&f.heard.bytes), buf_str(&wanted)));
		assert_int_equal(f.room, ROOM); /* nothing waits any more */
		assert_int_equal(f.lost, 0);
		buf_done(&wanted);
		fixture_done(&f);
	}
}

static void test_known_bytes(void **state)
{
	static const uint8_t rfc[] = { 0x00, 0x03, 0x00, 'h', 'i' };
	uint8_t head[CAPSULE_HEAD_MAX];
	(void)state;
	assert_int_equal(capsule_head_write(head, 2), 3);
	assert_memory_equal(head, rfc, 3);
	assert_int_equal(capsule_head_write(head, 65507), 6);
	assert_memory_equal(head, "\x00\x80\x00\xff\xe4\x00", 6);
}

/* Integers that are longer than they need be, other types, other contexts. */
static void test_passed_over(void **state)
{
	static const struct str wire = STR("\xc0\0\0\0\0\0\0\0\xc0\0\0\0\0\0\0\x03\x40\0a" /* context of two bytes: "a" */
	                                   "\x17\x05hello"                                 /* type 0x17 */
	                                   "\x17\x00"                                      /* and nothing in it */
	                                   "\xff\xff\xff\xff\xff\xff\xff\xff\x03xyz"       /* the highest type */
	                                   "\x00\x04\x02"
	                                   "odd" /* context 2 */
	                                   "\x00\x02\x00"
	                                   "b");
	(void)state;
	for (size_t piece = 1; piece <= wire.len; piece++) {
		struct fixture f;
		fixture_init(&f);
		for (struct str rest = wire; rest.len; rest = str_skip(rest, piece < rest.len ? piece : rest.len))
			assert_int_equal(feed(&f, (struct str){ rest.ptr, piece < rest.len ? piece : rest.len }), 0);
		assert_int_equal(f.heard.n, 2);
		assert_true(str_equal(buf_str(&f.heard.bytes), STR("\0\1a\0\1b")));
		assert_int_equal(f.lost, 0);
		fixture_done(&f);
	}
}

static void test_long_ones_of_other_types(void **state)
{
	static char bytes[65536];
	struct fixture f;
	(void)state;
	fixture_init(&f);
	assert_int_equal(feed(&f, STR("\x21\x80\x01\x00\x00")), 0); /* 65,536 */
	assert_int_equal(feed(&f, (struct str){ bytes, sizeof bytes }), 0);
	assert_int_equal(f.room, ROOM);
	assert_int_equal(feed(&f, STR("\x00\x02\x00x")), 0);
	assert_int_equal(f.heard.n, 1);
	fixture_done(&f);
}

static void test_refused(void **state)
{
	static const struct str bad[] = {
		STR("\x00\x00"),                             /* a datagram without a context */
		STR("\x00\x01\x40"),                         /* whose context is cut off */
		STR("\x00\x80\x01\x00\x00"),                 /* 65,536 bytes with it */
		STR("\x00\xc0\xff\xff\xff\xff\xff\xff\xff"), /* as long as can be said */
		STR("\x21\x80\x01\x00\x01"),                 /* another type, too long to be passed over */
		STR("\x21\xff\xff\xff\xff\xff\xff\xff\xff"),
	};
	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct fixture f;
		fixture_init(&f);
		assert_int_equal(feed(&f, bad[i]), -E_PROTOCOL);
		assert_int_equal(f.heard.n, 0);
		fixture_done(&f);
	}
}

/* Longer than any datagram, as its context takes one byte only: known when all has come. */
static void test_one_byte_too_long(void **state)
{
	static char bytes[65529];
	struct fixture f;
	(void)state;
	fixture_init(&f);
	assert_int_equal(feed(&f, STR("\x00\x80\x00\xff\xf9")), 0);
	assert_int_equal(feed(&f, (struct str){ bytes, 65528 }), 0);
	assert_int_equal(feed(&f, (struct str){ bytes, 1 }), -E_PROTOCOL);
	fixture_done(&f);
}

/* Of a datagram that is lost for want of room, or memory, nothing is left; the next one is heard. */
static void test_no_room(void **state)
{
	(void)state;
	for (int memory = 0; memory < 2; memory++) {
		struct fixture f;
		fixture_init(&f);
		f.room = memory ? ROOM : 5;
		assert_int_equal(feed(&f, STR("\x00\x07\x00"
		                              "lo")),
		                 0);
		if (memory) {
			capsule_reader_done(&f.reader);
			capsule_reader_init(&f.reader, &f.room);
			fault_arm(1);
			assert_int_equal(feed(&f, STR("\x00\x07\x00"
			                              "lo")),
			                 0);
			fault_arm(0);
		}
		assert_int_equal(feed(&f, STR("st..\x00\x03\x00"
		                              "ok")),
		                 0);
		assert_int_equal(f.lost, 1);
		assert_true(str_equal(buf_str(&f.heard.bytes), STR("\0\2ok")));
		f.room = ROOM;
		fixture_done(&f);
	}
}

/* What waits is paid for, and paid back whatever becomes of it. */
static void test_room_of_a_part(void **state)
{
	struct fixture f;
	(void)state;
	fixture_init(&f);
	assert_int_equal(feed(&f, STR("\x00\x07\x00"
	                              "lo")),
	                 0);
	assert_int_equal(f.room, ROOM - 7);
	fixture_done(&f);
}

static void test_owner_stops(void **state)
{
	struct fixture f;
	(void)state;
	fixture_init(&f);
	f.heard.answer = -E_CLOSED;
	assert_int_equal(feed(&f, STR("\x00\x02\x00"
	                              "a\x00\x02\x00"
	                              "b")),
	                 -E_CLOSED);
	assert_int_equal(f.heard.n, 1);
	fixture_done(&f);
}

/* ---- paths ---- */

static void test_paths(void **state)
{
	static const struct {
		const char *host;
		uint16_t port;
		const char *path, *parsed;
	} rows[] = {
		{ "", 53, "/.well-known/masque/udp/localhost/53/", "localhost" },
		{ "10.0.0.1", 65535, "/.well-known/masque/udp/10.0.0.1/65535/", "10.0.0.1" },
		{ "2001:db8::1", 1, "/.well-known/masque/udp/2001%3Adb8%3A%3A1/1/", "2001:db8::1" },
		{ "ns.example.org", 53, "/.well-known/masque/udp/ns.example.org/53/", "ns.example.org" },
	};
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char path[UDP_PATH_MAX], host[256];
		uint16_t port;
		assert_int_equal(udp_path_write(str_from(rows[i].host), rows[i].port, path), 0);
		assert_string_equal(path, rows[i].path);
		assert_int_equal(udp_path_parse(str_from(path), host, &port), 0);
		assert_string_equal(host, rows[i].parsed);
		assert_int_equal(port, rows[i].port);
	}
	char host[256], path[UDP_PATH_MAX], colons[300];
	uint16_t port;
	assert_int_equal(udp_path_parse(STR("/.well-known/masque/udp/%3a%3A1/1/"), host, &port), 0);
	assert_string_equal(host, "::1");
	memset(colons, ':', sizeof colons);
	assert_int_equal(udp_path_write((struct str){ colons, sizeof colons }, 1, path), -E_TOO_LONG);
}

static void test_other_paths(void **state)
{
	static const struct str bad[] = {
		STR(""),
		STR("/"),
		STR("/.well-known/masque/udp/"),
		STR("/.well-known/masque/udp/a"),
		STR("/.well-known/masque/udp/a/"),
		STR("/.well-known/masque/udp/a/53"),
		STR("/.well-known/masque/udp//53/"),
		STR("/.well-known/masque/udp/a/0/"),
		STR("/.well-known/masque/udp/a/65536/"),
		STR("/.well-known/masque/udp/a/x/"),
		STR("/.well-known/masque/udp/a/53/x"),
		STR("/.well-known/masque/udp/a/53//"),
		STR("/.well-known/masque/udp/a b/53/"),
		STR("/.well-known/masque/udp/a%2fb/53/"),
		STR("/.well-known/masque/udp/a%00/53/"),
		STR("/.well-known/masque/udp/%3A/53/"),
		STR("/.well-known/masque/udp/%3/53/"),
		STR("/.well-known/masque/udp/300.1.1.1/53/"),
		STR("/.well-known/masque/ip/a/53/"),
		STR("http://x/.well-known/masque/udp/a/53/"),
	};
	char host[256], text[700];
	uint16_t port;
	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (udp_path_parse(bad[i], host, &port) != -E_HTTP_HEAD)
			fail_msg("taken: %.*s", STR_ARG(bad[i]));
	snprintf(text, sizeof text, "/.well-known/masque/udp/%0600d/1/", 7);
	assert_int_equal(udp_path_parse(str_from(text), host, &port), -E_HTTP_HEAD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_lengths_in_all_pieces),
		cmocka_unit_test(test_known_bytes),
		cmocka_unit_test(test_passed_over),
		cmocka_unit_test(test_long_ones_of_other_types),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_one_byte_too_long),
		cmocka_unit_test(test_no_room),
		cmocka_unit_test(test_room_of_a_part),
		cmocka_unit_test(test_owner_stops),
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_other_paths),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
