#include <errno.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/test.h"
#include "h1/h1.h"

#define START "GET / HTTP/1.1\r\n"
#define HOST  "Host: a\r\n"
#define END   "\r\n\r\n"
#define X10   "xxxxxxxxxx"
#define X64   X10 X10 X10 X10 X10 X10 "xxxx"

static int parse(struct str bytes, struct h1_request *ret, size_t *ret_len)
{
	/* A copy of the exact size, so that a sanitizer sees a read past the end. */
	static char *copy;
	free(copy);
	copy = malloc(bytes.len + !bytes.len);
	assert_non_null(copy);
	memcpy(copy, bytes.ptr, bytes.len);
	return h1_request_parse((struct str){ copy, bytes.len }, ret, ret_len);
}

/* Every proper prefix is incomplete, and the whole is taken, whatever follows it. */
static struct h1_request good(struct str head)
{
	struct h1_request request;
	struct buf longer;
	size_t len = 0;
	for (size_t n = 0; n < head.len; n++)
		assert_int_equal(parse((struct str){ head.ptr, n }, &request, &len), -EAGAIN);
	assert_int_equal(len, 0);
	buf_init(&longer, 1 << 16);
	assert_int_equal(buf_append_str(&longer, head), 0);
	assert_int_equal(buf_append(&longer, "\0\r\n\n\xff more", 10), 0);
	assert_int_equal(parse(buf_str(&longer), &request, &len), 0);
	assert_int_equal(len, head.len);
	buf_done(&longer);
	assert_int_equal(parse(head, &request, &len), 0);
	assert_int_equal(len, head.len);
	return request;
}

/* An error found in a prefix stays the same however it goes on. */
static void bad(struct str head, int expected)
{
	struct h1_request request = { .port = 7 };
	size_t len = 99;
	int err = parse(head, &request, &len);
	if (err != -expected)
		fail_msg("%s instead of %s: %.*s", err_name(err), err_name(expected), STR_ARG(head));
	assert_int_equal(len, 99);
	assert_int_equal(request.port, 7);
	int before = -EAGAIN;
	for (size_t n = 0; n <= head.len; n++) {
		err = parse((struct str){ head.ptr, n }, &request, &len);
		assert_true(err == before || before == -EAGAIN);
		before = err;
	}
}

static void test_origin_form(void **state)
{
	(void)state;
	struct str value;
	struct h1_request request =
	        good(STR("POST /a%2e/b?c=%00 HTTP/1.1\r\nHost: web01.example:8443\r\nX-Empty:\r\n"
	                 "x-blanks: \t two  words\t \r\nCookie: \xc3\xa9\r\nCookie: second\r\nCONTENT-length: 12\r\n\r\n"));
	assert_true(str_is(request.method, "POST"));
	assert_true(str_is(request.target, "/a%2e/b?c=%00"));
	assert_int_equal(request.form, H1_TARGET_ORIGIN);
	assert_int_equal(request.host.len, 0);
	assert_int_equal(request.port, 0);
	assert_int_equal(request.fields.count, 6);
	assert_true(request.fields.has_content_length);
	assert_int_equal(request.fields.content_length, 12);
	assert_false(request.fields.has_transfer_encoding);

	assert_int_equal(h1_field(&request.fields, "X-Blanks", &value), 1);
	assert_true(str_is(value, "two  words"));
	assert_int_equal(h1_field(&request.fields, "x-empty", &value), 1);
	assert_int_equal(value.len, 0);
	assert_int_equal(h1_field(&request.fields, "cookie", &value), 2);
	assert_true(str_is(value, "\xc3\xa9"));
	assert_int_equal(h1_field(&request.fields, "Cooki", &value), 0);
	assert_int_equal(value.len, 0);
	assert_int_equal(h1_field_once(&request.fields, "HOST", &value), 0);
	assert_true(str_is(value, "web01.example:8443"));
	assert_int_equal(h1_field_once(&request.fields, "Cookie", &value), -E_HTTP_HEAD);
	assert_int_equal(h1_field_once(&request.fields, "Range", &value), -E_NOT_FOUND);
}

static void test_authority_form(void **state)
{
	(void)state;
	static const struct {
		const char *target, *host;
		uint16_t port;
	} rows[] = {
		{ "127.0.0.1:80", "127.0.0.1", 80 },
		{ "255.255.255.255:65535", "255.255.255.255", 65535 },
		{ "localhost:1", "localhost", 1 },
		{ "db_1.my-net.example:5432", "db_1.my-net.example", 5432 },
		{ "1and1.example:443", "1and1.example", 443 },
		{ "0x7f.example:443", "0x7f.example", 443 },
		{ "[::1]:22", "::1", 22 },
		{ "[fe80::1:2]:8080", "fe80::1:2", 8080 },
		{ "[::ffff:10.0.0.1]:80", "::ffff:10.0.0.1", 80 },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct buf head;
		buf_init(&head, 1024);
		assert_int_equal(buf_printf(&head, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", rows[i].target, rows[i].target), 0);
		struct h1_request request = good(buf_str(&head));
		assert_int_equal(request.form, H1_TARGET_AUTHORITY);
		assert_true(str_is(request.target, rows[i].target));
		assert_true(str_is(request.host, rows[i].host));
		assert_int_equal(request.port, rows[i].port);
		buf_done(&head);
	}
}

static void test_long_names(void **state)
{
	(void)state;
	struct str host;
	uint16_t port;
	char text[300];
	/* 63 + 1 + 63 + 1 + 63 + 1 + 61 = 253 */
	int len = snprintf(text, sizeof text, "%.63s.%.63s.%.63s.%.61s:80", X64, X64, X64, X64);
	assert_int_equal(h1_authority_parse((struct str){ text, (size_t)len }, &host, &port), 0);
	assert_int_equal(host.len, 253);
	len = snprintf(text, sizeof text, "%.63s.%.63s.%.63s.%.62s:80", X64, X64, X64, X64);
	assert_int_equal(h1_authority_parse((struct str){ text, (size_t)len }, &host, &port), -E_HTTP_HEAD);
	assert_int_equal(h1_authority_parse(STR(X64 ":80"), &host, &port), -E_HTTP_HEAD);
	assert_int_equal(host.len, 253);
}

static void test_absolute_form(void **state)
{
	(void)state;
	struct h1_request request = good(STR("GET http://127.0.0.1:8000/ HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n\r\n"));
	assert_int_equal(request.form, H1_TARGET_ABSOLUTE);
	assert_true(str_is(request.target, "http://127.0.0.1:8000/"));
	assert_int_equal(request.host.len, 0);
	assert_int_equal(h1_status(-E_HTTP_METHOD), 405);
	assert_non_null(strstr(err_try(E_HTTP_METHOD), "-p"));
}

static void test_alphabets(void **state)
{
	(void)state;
	struct h1_request request = good(STR("AZ /azAZ09?!$&'()*+,;=:@-._~%[]{}|^`\"<>\\ HTTP/1.1\r\n"
	                                     "azAZ09!#$%&'*+-.^_`|~: \t !azAZ~\x80\xff\r\nHost: [::1]\r\n\r\n"));
	assert_true(str_is(request.method, "AZ"));
	assert_true(str_is(request.fields.at[0].name, "azAZ09!#$%&'*+-.^_`|~"));
	assert_true(str_is(request.fields.at[0].value, "!azAZ~\x80\xff"));
	assert_int_equal(good(STR("GET azAZ09+-.://x HTTP/1.1\r\nHost: azAZ09.z-a_:65535\r\n\r\n")).form, H1_TARGET_ABSOLUTE);
	assert_int_equal(good(STR("GET ZzAa://x HTTP/1.1\r\nHost: 0.0.0.0\r\n\r\n")).form, H1_TARGET_ABSOLUTE);
}

static void test_transfer_encoding_is_reported(void **state)
{
	(void)state;
	struct h1_request request =
	        good(STR("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n"));
	assert_true(request.fields.has_transfer_encoding);
	request = good(STR("POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding:\r\ntransfer-encoding: x\r\n\r\n"));
	assert_true(request.fields.has_transfer_encoding);
	assert_false(request.fields.has_content_length);
}

static void test_bad_heads(void **state)
{
	(void)state;
	static const struct {
		struct str head;
		int err;
	} rows[] = {
		/* the first line */
		{ STR("\r\n" START HOST "\r\n"), E_HTTP_HEAD },
		{ STR(" " START HOST "\r\n"), E_HTTP_HEAD },
		{ STR("GET\r\n" HOST "\r\n"), E_HTTP_HEAD },
		{ STR("GET /\r\n" HOST "\r\n"), E_HTTP_HEAD },
		{ STR("GET / \r\n" HOST "\r\n"), E_HTTP_HEAD },
		{ STR("GET  / HTTP/1.1\r\n" HOST "\r\n"), E_HTTP_HEAD },
		{ STR("GET /  HTTP/1.1\r\n" HOST "\r\n"), E_HTTP_HEAD },
		{ STR("GET / HTTP/1.1 \r\n" HOST "\r\n"), E_HTTP_HEAD },
		{ STR("GET\t/ HTTP/1.1\r\n" HOST "\r\n"), E_HTTP_HEAD },
		{ STR("GET /\tHTTP/1.1\r\n" HOST "\r\n"), E_HTTP_HEAD },
		{ STR("GET / x HTTP/1.1\r\n" HOST "\r\n"), E_HTTP_HEAD },
		{ STR("G@T / HTTP/1.1\r\n" HOST "\r\n"), E_HTTP_HEAD },
		{ STR("G\xc3\x89T / HTTP/1.1\r\n" HOST "\r\n"), E_HTTP_HEAD },
		{ STR("get / HTTP/1.1\r\n" HOST "\r\n"), E_HTTP_METHOD },
		{ STR("Get / HTTP/1.1\r\n" HOST "\r\n"), E_HTTP_METHOD },
		{ STR("G-T / HTTP/1.1\r\n" HOST "\r\n"), E_HTTP_METHOD },
		{ STR("connect a:1 HTTP/1.1\r\n" HOST "\r\n"), E_HTTP_METHOD },
		/* the version */
		{ STR("GET / HTTP/1.0\r\n" HOST "\r\n"), E_HTTP_VERSION },
		{ STR("GET / HTTP/0.9\r\n" HOST "\r\n"), E_HTTP_VERSION },
		{ STR("GET / HTTP/2.0\r\n" HOST "\r\n"), E_HTTP_VERSION },
		{ STR("GET / HTTP/2.7\r\n" HOST "\r\n"), E_HTTP_VERSION },
		{ STR("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), E_HTTP_VERSION },
		{ STR("GET / http/1.1\r\n" HOST "\r\n"), E_HTTP_HEAD },
		{ STR("GET / HTTP/1.10\r\n" HOST "\r\n"), E_HTTP_HEAD },
		{ STR("GET / HTTP/11\r\n" HOST "\r\n"), E_HTTP_HEAD },
		{ STR("GET / HTTP/1,1\r\n" HOST "\r\n"), E_HTTP_HEAD },
		{ STR("GET / HTTP/x.1\r\n" HOST "\r\n"), E_HTTP_HEAD },
		{ STR("GET / HTTP/1.x\r\n" HOST "\r\n"), E_HTTP_HEAD },
		{ STR("GET / ICY/1.1\r\n" HOST "\r\n"), E_HTTP_HEAD },
		/* line ends and control characters */
		{ STR("GET / HTTP/1.1\n" HOST "\r\n"), E_HTTP_HEAD },
		{ STR("GET / HTTP/1.1\r" HOST "\r\n"), E_HTTP_HEAD },
		{ STR("GET / HTTP/1.1\r\r\n" HOST "\r\n"), E_HTTP_HEAD },
		{ STR("\n\n"), E_HTTP_HEAD },
		{ STR("GET /\0 HTTP/1.1\r\n" HOST "\r\n"), E_HTTP_HEAD },
		{ STR("GET /\x01 HTTP/1.1\r\n" HOST "\r\n"), E_HTTP_HEAD },
		{ STR("GET /\x7f HTTP/1.1\r\n" HOST "\r\n"), E_HTTP_HEAD },
		{ STR("\x16\x03\x01\x02"), E_HTTP_HEAD },
		{ STR(START "Host: a\n\r\n"), E_HTTP_HEAD },
		{ STR(START HOST "\n"), E_HTTP_HEAD },
		{ STR(START HOST "X: a\rb\r\n\r\n"), E_HTTP_HEAD },
		{ STR(START HOST "X: a\0b\r\n\r\n"), E_HTTP_HEAD },
		{ STR(START HOST "X: a\x1b[31m\r\n\r\n"), E_HTTP_HEAD },
		{ STR(START HOST "X: \x7f\r\n\r\n"), E_HTTP_HEAD },
		{ STR(START HOST "X\0: a\r\n\r\n"), E_HTTP_HEAD },
		/* fields */
		{ STR(START HOST " folded\r\n\r\n"), E_HTTP_HEAD },
		{ STR(START HOST "X: a\r\n\tb: c\r\n\r\n"), E_HTTP_HEAD },
		{ STR(START " Host: a\r\n\r\n"), E_HTTP_HEAD },
		{ STR(START HOST "X : a\r\n\r\n"), E_HTTP_HEAD },
		{ STR(START HOST "X\t: a\r\n\r\n"), E_HTTP_HEAD },
		{ STR(START HOST ": a\r\n\r\n"), E_HTTP_HEAD },
		{ STR(START HOST "X\r\n\r\n"), E_HTTP_HEAD },
		{ STR(START HOST "X Y: a\r\n\r\n"), E_HTTP_HEAD },
		{ STR(START HOST "X(y): a\r\n\r\n"), E_HTTP_HEAD },
		{ STR(START HOST "X\xc3\xa9: a\r\n\r\n"), E_HTTP_HEAD },
		{ STR(START HOST "\"X\": a\r\n\r\n"), E_HTTP_HEAD },
		{ STR(START HOST "Transfer-Encoding : chunked\r\n\r\n"), E_HTTP_HEAD },
		/* Host */
		{ STR(START "\r\n"), E_HTTP_HEAD },
		{ STR(START "Xost: a\r\n\r\n"), E_HTTP_HEAD },
		{ STR(START HOST HOST "\r\n"), E_HTTP_HEAD },
		{ STR(START HOST "hOST: b\r\n\r\n"), E_HTTP_HEAD },
		{ STR(START "Host:\r\n\r\n"), E_HTTP_HEAD },
		{ STR(START "Host: a, b\r\n\r\n"), E_HTTP_HEAD },
		{ STR(START "Host: a:b\r\n\r\n"), E_HTTP_HEAD },
		{ STR(START "Host: a:\r\n\r\n"), E_HTTP_HEAD },
		{ STR(START "Host: user@a\r\n\r\n"), E_HTTP_HEAD },
		{ STR(START "Host: http://a\r\n\r\n"), E_HTTP_HEAD },
		{ STR(START "Host: ::1\r\n\r\n"), E_HTTP_HEAD },
		{ STR(START "Host: [::1\r\n\r\n"), E_HTTP_HEAD },
		{ STR("G[T / HTTP/1.1\r\n" HOST "\r\n"), E_HTTP_HEAD },
		{ STR("CONNECT a:1 HTTP/1.1\r\n\r\n"), E_HTTP_HEAD },
		{ STR("GET http://a/ HTTP/1.1\r\n\r\n"), E_HTTP_HEAD },
		/* Content-Length */
		{ STR(START HOST "Content-Length: 1\r\nContent-Length: 1" END), E_HTTP_HEAD },
		{ STR(START HOST "Content-Length: 1\r\ncontent-length: 2" END), E_HTTP_HEAD },
		{ STR(START HOST "Content-Length: 1, 1" END), E_HTTP_HEAD },
		{ STR(START HOST "Content-Length:" END), E_HTTP_HEAD },
		{ STR(START HOST "Content-Length: +1" END), E_HTTP_HEAD },
		{ STR(START HOST "Content-Length: -1" END), E_HTTP_HEAD },
		{ STR(START HOST "Content-Length: 0x1" END), E_HTTP_HEAD },
		{ STR(START HOST "Content-Length: 1 1" END), E_HTTP_HEAD },
		{ STR(START HOST "Content-Length: 1.0" END), E_HTTP_HEAD },
		{ STR(START HOST "Content-Length: 9223372036854775808" END), E_HTTP_HEAD },
		{ STR(START HOST "Content-Length: 99999999999999999999" END), E_HTTP_HEAD },
		/* targets */
		{ STR("GET * HTTP/1.1\r\n" HOST "\r\n"), E_HTTP_HEAD },
		{ STR("OPTIONS * HTTP/1.1\r\n" HOST "\r\n"), E_HTTP_HEAD },
		{ STR("GET a:80 HTTP/1.1\r\n" HOST "\r\n"), E_HTTP_HEAD },
		{ STR("GET index HTTP/1.1\r\n" HOST "\r\n"), E_HTTP_HEAD },
		{ STR("GET /a#b HTTP/1.1\r\n" HOST "\r\n"), E_HTTP_HEAD },
		{ STR("GET /\xc3\xa9 HTTP/1.1\r\n" HOST "\r\n"), E_HTTP_HEAD },
		{ STR("GET :// HTTP/1.1\r\n" HOST "\r\n"), E_HTTP_HEAD },
		{ STR("GET http:// HTTP/1.1\r\n" HOST "\r\n"), E_HTTP_HEAD },
		{ STR("GET http:/a HTTP/1.1\r\n" HOST "\r\n"), E_HTTP_HEAD },
		{ STR("GET 1http://a HTTP/1.1\r\n" HOST "\r\n"), E_HTTP_HEAD },
		{ STR("GET ht~tp://a HTTP/1.1\r\n" HOST "\r\n"), E_HTTP_HEAD },
		{ STR("GET http://a/\xff HTTP/1.1\r\n" HOST "\r\n"), E_HTTP_HEAD },
		{ STR("CONNECT / HTTP/1.1\r\n" HOST "\r\n"), E_HTTP_HEAD },
		{ STR("CONNECT http://a/ HTTP/1.1\r\n" HOST "\r\n"), E_HTTP_HEAD },
		{ STR("CONNECT  HTTP/1.1\r\n" HOST "\r\n"), E_HTTP_HEAD },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		bad(rows[i].head, rows[i].err);
}

static void test_bad_authorities(void **state)
{
	(void)state;
	static const struct str rows[] = {
		STR(""),
		STR(":80"),
		STR("a"),
		STR("a:"),
		STR("a:0"),
		STR("a:65536"),
		STR("a:080"),
		STR("a:+80"),
		STR("a:80 "),
		STR("a:8o"),
		STR("a:80:80"),
		STR("a:99999999999999999999"),
		STR("a b:80"),
		STR("a/b:80"),
		STR("u@a:80"),
		STR("a..b:80"),
		STR(".a:80"),
		STR("a.:80"),
		STR("-a:80"),
		STR("a-:80"),
		STR("a.-b.c:80"),
		STR("a%2eb:80"),
		STR("a\0b:80"),
		STR("\xc3\xa9:80"),
		STR("*:80"),
		STR("1.2.3:80"),
		STR("1.2.3.4.5:80"),
		STR("1.2.3.256:80"),
		STR("1.2.3.04:80"),
		STR("127.1:80"),
		STR("2130706433:80"),
		STR("0x7f000001:80"),
		STR("127.0.0.0x1:80"),
		STR("a.0x09af:80"),
		STR("a.0xAF:80"),
		STR("a.0X1:80"),
		STR("a.1:80"),
		STR("1.2.3.4.:80"),
		STR("::1:80"),
		STR("[::1]"),
		STR("[::1]:"),
		STR("[::1]80"),
		STR("[::1:80"),
		STR("::1]:80"),
		STR("[]:80"),
		STR("[::g]:80"),
		STR("[1.2.3.4]:80"),
		STR("[a]:80"),
		STR("[fe80::1%eth0]:80"),
		STR("[::1]]:80"),
		STR("[[::1]]:80"),
		STR("[::1\0]:80"),
		STR("[" X64 "]:80"),
		STR("x[::1]:80"),
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct str host = STR("before");
		uint16_t port = 7;
		if (h1_authority_parse(rows[i], &host, &port) != -E_HTTP_HEAD)
			fail_msg("taken: %.*s", STR_ARG(rows[i]));
		assert_true(str_is(host, "before"));
		assert_int_equal(port, 7);
	}
}

/* A head of exactly len bytes, ended or not. */
static void head_of(struct buf *head, size_t len, bool ended)
{
	buf_init(head, 1 << 14);
	assert_int_equal(buf_append_str(head, STR(START HOST "X: ")), 0);
	while (buf_len(head) < len - (ended ? 4 : 0))
		assert_int_equal(buf_append_u8(head, 'x'), 0);
	if (ended)
		assert_int_equal(buf_append_str(head, STR(END)), 0);
}

static void test_length_limit(void **state)
{
	(void)state;
	struct h1_request request;
	struct buf head;
	size_t len;
	head_of(&head, H1_HEAD_MAX, true);
	good(buf_str(&head));
	buf_done(&head);
	head_of(&head, H1_HEAD_MAX + 1, true);
	assert_int_equal(parse(buf_str(&head), &request, &len), -E_TOO_LONG);
	buf_done(&head);
	head_of(&head, H1_HEAD_MAX - 1, false);
	assert_int_equal(parse(buf_str(&head), &request, &len), -EAGAIN);
	buf_done(&head);
	head_of(&head, H1_HEAD_MAX, false);
	assert_int_equal(parse(buf_str(&head), &request, &len), -E_TOO_LONG);
	buf_done(&head);
}

static void test_field_limit(void **state)
{
	(void)state;
	struct h1_request request;
	struct buf head;
	size_t len;
	buf_init(&head, 1 << 14);
	assert_int_equal(buf_append_str(&head, STR(START HOST)), 0);
	for (unsigned i = 1; i < H1_FIELDS_MAX; i++)
		assert_int_equal(buf_printf(&head, "X: %u\r\n", i), 0);
	size_t so_far = buf_len(&head);
	assert_int_equal(buf_append_str(&head, STR("\r\n")), 0);
	request = good(buf_str(&head));
	assert_int_equal(request.fields.count, H1_FIELDS_MAX);
	head.end = head.start + so_far;
	assert_int_equal(buf_append_str(&head, STR("X: one more\r\n")), 0);
	assert_int_equal(parse(buf_str(&head), &request, &len), -E_TOO_LONG);
	buf_done(&head);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_origin_form),  cmocka_unit_test(test_authority_form),
		cmocka_unit_test(test_long_names),   cmocka_unit_test(test_absolute_form),
		cmocka_unit_test(test_alphabets),    cmocka_unit_test(test_transfer_encoding_is_reported),
		cmocka_unit_test(test_bad_heads),    cmocka_unit_test(test_bad_authorities),
		cmocka_unit_test(test_length_limit), cmocka_unit_test(test_field_limit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
