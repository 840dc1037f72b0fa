#include <errno.h>

#include "base/err.h"
#include "base/test.h"
#include "h1/h1.h"

static struct h1_response good(struct str head)
{
	struct h1_response response;
	size_t len = 0;
	for (size_t n = 0; n < head.len; n++)
		assert_int_equal(h1_response_parse((struct str){ head.ptr, n }, &response, &len), -EAGAIN);
	assert_int_equal(h1_response_parse(head, &response, &len), 0);
	assert_int_equal(len, head.len);
	return response;
}

static void test_good_heads(void **state)
{
	(void)state;
	struct str value;
	struct h1_response response = good(STR("HTTP/1.1 200 Connection established\r\n\r\n"));
	assert_int_equal(response.status, 200);
	assert_true(str_is(response.reason, "Connection established"));
	assert_int_equal(response.fields.count, 0);

	response = good(STR("HTTP/1.1 502 \r\nProxy-Status: murmesh; error=dns_error\r\nContent-Length: 0\r\n\r\n"));
	assert_int_equal(response.status, 502);
	assert_int_equal(response.reason.len, 0);
	assert_true(response.fields.has_content_length);
	assert_int_equal(response.fields.content_length, 0);
	assert_int_equal(h1_field_once(&response.fields, "proxy-status", &value), 0);
	assert_true(str_is(value, "murmesh; error=dns_error"));

	assert_int_equal(good(STR("HTTP/1.1 100 \t\xe9\r\n\r\n")).status, 100);
	assert_int_equal(good(STR("HTTP/1.1 599 x\r\n\r\n")).status, 599);
	assert_true(good(STR("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")).fields.has_transfer_encoding);
}

static void test_what_follows_is_left(void **state)
{
	(void)state;
	struct str bytes = STR("HTTP/1.1 200 OK\r\n\r\nSSH-2.0-x\n\0");
	struct h1_response response;
	size_t len;
	assert_int_equal(h1_response_parse(bytes, &response, &len), 0);
	assert_true(str_starts(str_skip(bytes, len), STR("SSH-2.0-x\n")));
}

static void test_bad_heads(void **state)
{
	(void)state;
	static const struct {
		struct str head;
		int err;
	} rows[] = {
		{ STR("\r\nHTTP/1.1 200 OK\r\n\r\n"), E_HTTP_HEAD },
		{ STR("HTTP/1.1\r\n\r\n"), E_HTTP_HEAD },
		{ STR("HTTP/1.1 \r\n\r\n"), E_HTTP_HEAD },
		{ STR("HTTP/1.1 200\r\n\r\n"), E_HTTP_HEAD },
		{ STR("HTTP/1.1  200 OK\r\n\r\n"), E_HTTP_HEAD },
		{ STR("HTTP/1.1 20 OK\r\n\r\n"), E_HTTP_HEAD },
		{ STR("HTTP/1.1 2000 OK\r\n\r\n"), E_HTTP_HEAD },
		{ STR("HTTP/1.1 099 OK\r\n\r\n"), E_HTTP_HEAD },
		{ STR("HTTP/1.1 600 OK\r\n\r\n"), E_HTTP_HEAD },
		{ STR("HTTP/1.1 2x0 OK\r\n\r\n"), E_HTTP_HEAD },
		{ STR("HTTP/1.1 +20 OK\r\n\r\n"), E_HTTP_HEAD },
		{ STR("HTTP/1.1 200\tOK\r\n\r\n"), E_HTTP_HEAD },
		{ STR("HTTP/1.1 200 O\0K\r\n\r\n"), E_HTTP_HEAD },
		{ STR("HTTP/1.1 200 OK\n\n"), E_HTTP_HEAD },
		{ STR("HTTP/1.1 200 OK\r\r\n\r\n"), E_HTTP_HEAD },
		{ STR("HTTP/1.1 200 O\rK\r\n\r\n"), E_HTTP_HEAD },
		{ STR("HTTP/1.1 200 OK\r\nX : y\r\n\r\n"), E_HTTP_HEAD },
		{ STR("HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n"), E_HTTP_HEAD },
		{ STR("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n"), E_HTTP_HEAD },
		{ STR("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"), E_HTTP_HEAD },
		{ STR("HTTP/1.0 200 OK\r\n\r\n"), E_HTTP_VERSION },
		{ STR("HTTP/2.0 200 OK\r\n\r\n"), E_HTTP_VERSION },
		{ STR("http/1.1 200 OK\r\n\r\n"), E_HTTP_HEAD },
		{ STR("HTTP/1.1x 200 OK\r\n\r\n"), E_HTTP_HEAD },
		{ STR("SSH-2.0-OpenSSH_9.2\r\n"), E_HTTP_HEAD },
		{ STR("GET / HTTP/1.1\r\n\r\n"), E_HTTP_HEAD },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct h1_response response = { .status = 7 };
		size_t len = 99;
		int err = h1_response_parse(rows[i].head, &response, &len);
		if (err != -rows[i].err)
			fail_msg("%s: %.*s", err_name(err), STR_ARG(rows[i].head));
		assert_int_equal(response.status, 7);
		assert_int_equal(len, 99);
	}
}

static void test_length_limit(void **state)
{
	(void)state;
	static char endless[H1_HEAD_MAX];
	struct h1_response response;
	size_t len;
	memset(endless, 'x', sizeof endless);
	memcpy(endless, "HTTP/1.1 200 ", 13);
	assert_int_equal(h1_response_parse((struct str){ endless, sizeof endless - 1 }, &response, &len), -EAGAIN);
	assert_int_equal(h1_response_parse((struct str){ endless, sizeof endless }, &response, &len), -E_TOO_LONG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_heads),
		cmocka_unit_test(test_what_follows_is_left),
		cmocka_unit_test(test_bad_heads),
		cmocka_unit_test(test_length_limit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
