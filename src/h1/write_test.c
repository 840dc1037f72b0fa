#include "base/buf.h"
#include "base/err.h"
#include "base/test.h"
#include "h1/h1.h"

static void test_request(void **state)
{
	(void)state;
	struct buf out;
	buf_init(&out, 1024);
	assert_int_equal(h1_write_request(&out, STR("GET"), STR("/a?b")), 0);
	assert_int_equal(h1_write_field(&out, STR("Host"), STR("a:80")), 0);
	assert_int_equal(h1_write_field(&out, STR("X-Empty"), STR("")), 0);
	assert_int_equal(h1_write_end(&out), 0);
	assert_true(str_is(buf_str(&out), "GET /a?b HTTP/1.1\r\nHost: a:80\r\nX-Empty: \r\n\r\n"));
	struct h1_request request;
	size_t len;
	assert_int_equal(h1_request_parse(buf_str(&out), &request, &len), 0);
	assert_int_equal(len, buf_len(&out));
	buf_clear(&out);
	assert_int_equal(h1_write_request(&out, STR("POST"), STR("http://a/b")), 0);
	assert_true(str_is(buf_str(&out), "POST http://a/b HTTP/1.1\r\n"));
	buf_done(&out);
}

static void test_connect(void **state)
{
	(void)state;
	static const struct {
		const char *host, *authority;
		uint16_t port;
	} rows[] = {
		{ "web01.example", "web01.example:8000", 8000 },
		{ "127.0.0.1", "127.0.0.1:1", 1 },
		{ "::1", "[::1]:65535", 65535 },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct h1_request request;
		struct str host;
		struct buf out;
		size_t len;
		buf_init(&out, 1024);
		assert_int_equal(h1_write_connect(&out, str_from(rows[i].host), rows[i].port), 0);
		assert_int_equal(h1_write_end(&out), 0);
		assert_int_equal(h1_request_parse(buf_str(&out), &request, &len), 0);
		assert_int_equal(len, buf_len(&out));
		assert_true(str_is(request.method, "CONNECT"));
		assert_true(str_is(request.target, rows[i].authority));
		assert_true(str_is(request.host, rows[i].host));
		assert_int_equal(request.port, rows[i].port);
		assert_int_equal(h1_field_once(&request.fields, "Host", &host), 0);
		assert_true(str_is(host, rows[i].authority));
		buf_done(&out);
	}
}

static void test_response(void **state)
{
	(void)state;
	struct h1_response response;
	struct buf out;
	size_t len;
	buf_init(&out, 1024);
	assert_int_equal(h1_write_response(&out, 404), 0);
	assert_int_equal(h1_write_end(&out), 0);
	assert_true(str_is(buf_str(&out), "HTTP/1.1 404 Not Found\r\n\r\n"));
	for (unsigned status = 100; status < 600; status++) {
		buf_clear(&out);
		assert_int_equal(h1_write_response(&out, status), 0);
		assert_int_equal(h1_write_end(&out), 0);
		assert_int_equal(h1_response_parse(buf_str(&out), &response, &len), 0);
		assert_int_equal(response.status, status);
	}
	buf_done(&out);
}

static void test_refused_and_unchanged(void **state)
{
	(void)state;
	struct buf out;
	buf_init(&out, 1024);
	assert_int_equal(buf_append_str(&out, STR("kept")), 0);

	static const struct {
		struct str method, target;
	} requests[] = {
		{ STR(""), STR("/") },          { STR("get"), STR("/") },
		{ STR("GET "), STR("/") },      { STR("G\r\nT"), STR("/") },
		{ STR("CONNECT"), STR("a:1") }, { STR("GET"), STR("") },
		{ STR("GET"), STR("a") },       { STR("GET"), STR("/ HTTP/1.1\r\nX: y") },
		{ STR("GET"), STR("/a b") },    { STR("GET"), STR("/\n") },
		{ STR("GET"), STR("/\0") },     { STR("GET"), STR("http://a/ b") },
	};
	for (size_t i = 0; i < sizeof requests / sizeof *requests; i++)
		assert_int_equal(h1_write_request(&out, requests[i].method, requests[i].target), -E_HTTP_HEAD);

	static const struct {
		struct str name, value;
	} fields[] = {
		{ STR(""), STR("a") },          { STR("X Y"), STR("a") },     { STR("X:"), STR("a") },
		{ STR("X\r\nY"), STR("a") },    { STR("X\0"), STR("a") },     { STR("\xc3\xa9"), STR("a") },
		{ STR("X"), STR("a\r\nY: b") }, { STR("X"), STR("a\nY: b") }, { STR("X"), STR("a\rb") },
		{ STR("X"), STR("a\0b") },      { STR("X"), STR("a\x1b") },   { STR("X"), STR("\x7f") },
	};
	for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
		assert_int_equal(h1_write_field(&out, fields[i].name, fields[i].value), -E_HTTP_HEAD);

	static const struct str hosts[] = { STR(""),      STR("a b"),         STR("a:1"),   STR("[::1]"),   STR("a\r\nX: y"),
		                            STR("127.1"), STR("a\0.example"), STR("::1\0"), STR("::1%eth0") };
	for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++)
		assert_int_equal(h1_write_connect(&out, hosts[i], 80), -E_HTTP_HEAD);
	assert_int_equal(h1_write_connect(&out, STR("a"), 0), -E_HTTP_HEAD);
	assert_int_equal(h1_write_response(&out, 99), -E_HTTP_HEAD);
	assert_int_equal(h1_write_response(&out, 600), -E_HTTP_HEAD);
	assert_true(str_is(buf_str(&out), "kept"));
	buf_done(&out);
}

static void test_limits_leave_nothing_behind(void **state)
{
	(void)state;
	struct buf out;
	for (size_t max = 0; max < 47; max++) {
		buf_init(&out, max);
		assert_int_equal(h1_write_connect(&out, STR("::1"), 8000), -E_TOO_LONG);
		assert_int_equal(buf_len(&out), 0);
		buf_done(&out);
	}
	buf_init(&out, 47);
	assert_int_equal(h1_write_connect(&out, STR("::1"), 8000), 0);
	assert_int_equal(buf_len(&out), 47);
	buf_done(&out);

	buf_init(&out, 1024);
	fault_arm(1);
	assert_int_equal(h1_write_field(&out, STR("X"), STR("y")), -E_NO_MEMORY);
	assert_int_equal(buf_len(&out), 0);
	fault_arm(0);
	buf_done(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_request),
		cmocka_unit_test(test_connect),
		cmocka_unit_test(test_response),
		cmocka_unit_test(test_refused_and_unchanged),
		cmocka_unit_test(test_limits_leave_nothing_behind),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
