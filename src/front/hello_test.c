#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants those first */
#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"
#include "front/front.h"

/* A ClientHello as RFC 8446 section 4.1.2 has it; alpn: names with their length bytes, NULL = no such extension. */
struct hello {
	const char *alpn;
	size_t session, padding; /* bytes of the session id; of an extension in front of ALPN */
	bool alpn_twice, no_extensions;
	size_t record; /* bytes in each record; 0 = one record */
};

static void extension(struct buf *out, uint16_t type, const void *body, size_t len)
{
	buf_append_be16(out, type);
	buf_append_be16(out, (uint16_t)len);
	buf_append(out, body, len);
}

static void alpn(struct buf *out, const char *names)
{
	uint8_t body[256] = { 0, (uint8_t)strlen(names) };
	memcpy(body + 2, names, strlen(names));
	extension(out, 16, body, strlen(names) + 2);
}

static void hello_body(struct buf *out, const struct hello *h)
{
	static const uint8_t zeros[FRONT_PEEK_MAX];
	struct buf extensions;
	buf_init(&extensions, 2 * FRONT_PEEK_MAX);
	extension(&extensions, 21, zeros, h->padding);
	if (h->alpn)
		alpn(&extensions, h->alpn);
	if (h->alpn_twice)
		alpn(&extensions, h->alpn);
	extension(&extensions, 0x0a0a, "", 0);

	buf_append_be16(out, 0x0303);
	buf_append(out, zeros, 32);
	buf_append_u8(out, (uint8_t)h->session);
	buf_append(out, zeros, h->session);
	buf_append(out, "\0\2\x13\1\1\0", 6);
	if (!h->no_extensions) {
		buf_append_be16(out, (uint16_t)buf_len(&extensions));
		buf_append_str(out, buf_str(&extensions));
	}
	buf_done(&extensions);
}

static void hello_write(struct buf *out, const struct hello *h)
{
	struct buf body, message;
	buf_init(&body, 2 * FRONT_PEEK_MAX);
	buf_init(&message, 2 * FRONT_PEEK_MAX);
	hello_body(&body, h);
	buf_append_be32(&message, 1u << 24 | (uint32_t)buf_len(&body));
	buf_append_str(&message, buf_str(&body));
	while (buf_len(&message) > 0) {
		size_t n = h->record && h->record < buf_len(&message) ? h->record : buf_len(&message);
		buf_append(out, "\x16\3\1", 3);
		buf_append_be16(out, (uint16_t)n);
		buf_append(out, buf_head(&message), n);
		buf_consume(&message, n);
	}
	buf_done(&body);
	buf_done(&message);
}

static int classify(struct str bytes)
{
	enum front_kind kind;
	size_t need = 0;
	/* A copy of the exact size, so that a sanitizer sees a read past the end. */
	char *copy = malloc(bytes.len + 1);
	memcpy(copy + 1, bytes.ptr, bytes.len);
	int err = front_classify((struct str){ copy + 1, bytes.len }, &kind, &need);
	free(copy);
	if (err == -EAGAIN)
		assert_in_range(need, bytes.len + 1, FRONT_PEEK_MAX);
	return err ? err : (int)kind;
}

static int classify_hello(struct hello h)
{
	struct buf bytes;
	buf_init(&bytes, 8 * FRONT_PEEK_MAX);
	hello_write(&bytes, &h);
	int result = classify(buf_str(&bytes));
	buf_done(&bytes);
	return result;
}

static void alpn_decides(void **state)
{
	(void)state;
	assert_int_equal(classify_hello((struct hello){ 0 }), FRONT_WEB);
	assert_int_equal(classify_hello((struct hello){ .no_extensions = true }), FRONT_WEB);
	assert_int_equal(classify_hello((struct hello){ .alpn = "\10http/1.1" }), FRONT_WEB);
	assert_int_equal(classify_hello((struct hello){ .alpn = "\2h2\10http/1.1" }), FRONT_WEB);
	assert_int_equal(classify_hello((struct hello){ .alpn = "\10http/1.1\2h2" }), FRONT_WEB);
	assert_int_equal(classify_hello((struct hello){ .alpn = "\2h2" }), FRONT_LINK);
	assert_int_equal(classify_hello((struct hello){ .alpn = "\10grpc-exp\2h2" }), FRONT_LINK);
	assert_int_equal(classify_hello((struct hello){ .alpn = "\17murmesh-relay/1" }), FRONT_LINK);
	assert_int_equal(classify_hello((struct hello){ .alpn = "\17murmesh-serve/1" }), FRONT_SERVE);
	assert_int_equal(classify_hello((struct hello){ .alpn = "\17murmesh-serve/1\2h2" }), FRONT_LINK);
	assert_int_equal(classify_hello((struct hello){ .alpn = "\4smtp" }), -E_UNSUPPORTED);
	assert_int_equal(classify_hello((struct hello){ .alpn = "\10http/1.0\2h3" }), -E_UNSUPPORTED);
}

static void malformed_hello_is_refused(void **state)
{
	(void)state;
	assert_int_equal(classify_hello((struct hello){ .alpn = "" }), -E_PROTOCOL);
	assert_int_equal(classify_hello((struct hello){ .alpn = "\0\2h2" }), -E_PROTOCOL);
	assert_int_equal(classify_hello((struct hello){ .alpn = "\2h2\5x" }), -E_PROTOCOL);
	assert_int_equal(classify_hello((struct hello){ .alpn = "\2h2", .alpn_twice = true }), -E_PROTOCOL);
	assert_int_equal(classify(STR("\x16\2\1\0\4")), -E_PROTOCOL);             /* record version */
	assert_int_equal(classify(STR("\x16\3\1\0\0")), -E_PROTOCOL);             /* empty record */
	assert_int_equal(classify(STR("\x16\3\1\x40\1")), -E_PROTOCOL);           /* record longer than 2^14 */
	assert_int_equal(classify(STR("\x16\3\1\0\4\2\0\0\0")), -E_PROTOCOL);     /* ServerHello */
	assert_int_equal(classify(STR("\x16\3\1\0\4\1\0\0\0")), -E_PROTOCOL);     /* nothing in it */
	assert_int_equal(classify(STR("\x16\3\1\0\4\1\1\0\0")), -E_TOO_LONG);     /* 64 KiB announced */
	assert_int_equal(classify(STR("\x16\3\1\0\2\1\0\x15\3\1")), -E_PROTOCOL); /* an alert between two pieces */
	assert_int_equal(classify(STR("\x16\3\1\x40\0")), -E_TOO_LONG);
	assert_int_equal(classify_hello((struct hello){ .alpn = "\2h2", .padding = FRONT_PEEK_MAX, .record = 1000 }), -E_TOO_LONG);
}

static void each_byte_missing_or_changed(void **state)
{
	(void)state;
	struct buf bytes;
	struct hello h = { .alpn = "\2h2\4test", .session = 32 };
	buf_init(&bytes, FRONT_PEEK_MAX);
	hello_write(&bytes, &h);
	for (size_t n = 0; n < buf_len(&bytes); n++)
		assert_int_equal(classify((struct str){ (const char *)buf_head(&bytes), n }), -EAGAIN);
	/* Each length is checked against what stands around it: one more or less is never accepted as the same. */
	static const size_t lengths[] = { 43, 77, 80, 83, 91, 93, 94 }; /* session, suites, ..., first ALPN name */
	size_t refused = 0;
	for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
		for (int by = -1; by <= 1; by += 2) {
			bytes.data[lengths[i]] = (uint8_t)(bytes.data[lengths[i]] + by);
			refused += classify(buf_str(&bytes)) < 0;
			bytes.data[lengths[i]] = (uint8_t)(bytes.data[lengths[i]] - by);
		}
	assert_int_equal(refused, 2 * sizeof lengths / sizeof *lengths);
	assert_int_equal(classify(buf_str(&bytes)), FRONT_LINK);
	buf_done(&bytes);
}

static void tiny_records_are_joined(void **state)
{
	(void)state;
	for (size_t record = 1; record < 300; record = record * 3 / 2 + 1) {
		assert_int_equal(classify_hello((struct hello){ .alpn = "\2h2", .padding = 1900, .record = record }), FRONT_LINK);
		assert_int_equal(classify_hello((struct hello){ .padding = 1900, .record = record }), FRONT_WEB);
	}
}

/* As a client that sends exactly what is asked for: how often does the front wake up? */
static unsigned rounds(struct hello h)
{
	struct buf bytes;
	enum front_kind kind;
	size_t need = 1;
	unsigned n = 0;
	buf_init(&bytes, FRONT_PEEK_MAX);
	hello_write(&bytes, &h);
	while (front_classify((struct str){ (const char *)buf_head(&bytes), need }, &kind, &need) == -EAGAIN) {
		assert_in_range(need, 1, buf_len(&bytes)); /* never waits for bytes that a valid client does not send */
		n++;
	}
	assert_int_equal(kind, FRONT_LINK);
	buf_done(&bytes);
	return n;
}

static void few_wake_ups(void **state)
{
	(void)state;
	assert_in_range(rounds((struct hello){ .alpn = "\2h2", .padding = 1900 }), 1, 3);
	assert_in_range(rounds((struct hello){ .alpn = "\2h2", .padding = 1900, .record = 100 }), 1, 12);
	assert_in_range(rounds((struct hello){ .alpn = "\2h2", .padding = 1900, .record = 1 }), 1, 80);
}

static void first_bytes_decide(void **state)
{
	(void)state;
	assert_int_equal(classify(STR("MMR1\1\1")), FRONT_RELAY);
	assert_int_equal(classify(STR("SSH-2.0-x")), FRONT_CLOUD);
	assert_int_equal(classify(STR("GET / HTTP/1.1\r\n")), FRONT_REDIRECT);
	assert_int_equal(classify(STR("")), -EAGAIN);
	assert_int_equal(classify(STR("MMR")), -EAGAIN);
	assert_int_equal(classify(STR("SSH-2.")), -EAGAIN);
	assert_int_equal(classify(STR("GET")), -EAGAIN);
	assert_int_equal(classify(STR("MMR2")), -E_NOT_TLS);
	assert_int_equal(classify(STR("SSH-1.99-x")), -E_NOT_TLS);
	assert_int_equal(classify(STR("GETX")), -E_NOT_TLS);
	assert_int_equal(classify(STR("POST / HTTP/1.1\r\n")), -E_NOT_TLS);
	assert_int_equal(classify(STR("\x80\x2e\1\3\1")), -E_NOT_TLS);
	assert_int_equal(classify(STR("\0")), -E_NOT_TLS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(alpn_decides),
		cmocka_unit_test(malformed_hello_is_refused),
		cmocka_unit_test(each_byte_missing_or_changed),
		cmocka_unit_test(tiny_records_are_joined),
		cmocka_unit_test(few_wake_ups),
		cmocka_unit_test(first_bytes_decide),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
