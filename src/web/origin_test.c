/* Names of the server, origins, the session's cookie. */
#include "web/origin.h"

#include <errno.h>

#include "base/err.h"
#include "base/test.h"
#include "h1/h1.h"
#include "os/fd.h"
#include "os/socket.h"

static bool allowed(const char *address, const char *domain, uint16_t port, const char *host)
{
	struct origin origin;
	origin_init(&origin, str_from(address), str_from(domain), port);
	int err = origin_check_host(&origin, str_from(host), -1);
	assert_true(err == 0 || err == -E_HOST);
	return err == 0;
}

static void test_host(void **state)
{
	(void)state;
	assert_true(allowed("fleet.example.org:8443", "", 8443, "fleet.example.org:8443"));
	assert_true(allowed("fleet.example.org:8443", "", 8443, "FLEET.example.org:8443"));
	assert_true(allowed("fleet.example.org:8443", "", 8443, "localhost:8443"));
	assert_true(allowed("fleet.example.org:8443", "", 8443, "127.0.0.1:8443"));
	assert_true(allowed("fleet.example.org:8443", "", 8443, "[::1]:8443"));
	assert_true(allowed("[2001:db8::1]:8443", "", 8443, "[2001:db8::1]:8443"));
	assert_true(allowed("fleet.example.org:443", "", 443, "fleet.example.org"));
	assert_true(allowed("fleet.example.org:443", "", 443, "localhost"));
	assert_true(allowed("a.example:9000", "", 8443, "a.example:9000")); /* a forwarded port */
	assert_true(allowed("a.example:8443", "console.example.org", 8443, "console.example.org:8443"));
	assert_true(allowed("a.example:8443", "console.example.org", 8443, "console.example.org"));
	assert_true(allowed("a.example:8443", "console.example.org:9443", 8443, "console.example.org:9443"));
	assert_true(allowed("a.example:8443", "console.example.org:9443", 8443, "console.example.org"));

	assert_false(allowed("fleet.example.org:8443", "", 8443, "evil.example.com:8443"));
	assert_false(allowed("fleet.example.org:8443", "", 8443, "fleet.example.org"));
	assert_false(allowed("fleet.example.org:8443", "", 8443, "fleet.example.org:8444"));
	assert_false(allowed("fleet.example.org:8443", "", 8443, "fleet.example.org.:8443"));
	assert_false(allowed("fleet.example.org:8443", "", 8443, "xfleet.example.org:8443"));
	assert_false(allowed("fleet.example.org:8443", "", 8443, "localhost"));
	assert_false(allowed("fleet.example.org:8443", "", 8443, "127.0.0.1:80"));
	assert_false(allowed("fleet.example.org:8443", "", 8443, ""));
	assert_false(allowed("", "", 8443, ":8443"));
}

/* What the connection itself came to is a good name: an address of this machine. */
static void test_own_address(void **state)
{
	struct socket_address address;
	struct origin origin;
	char text[SOCKET_ADDRESS_TEXT], host[SOCKET_ADDRESS_TEXT];
	(void)state;
	origin_init(&origin, STR("a.example:1"), STR(""), 1);
	assert_int_equal(socket_address_parse(STR("127.0.0.2"), 0, &address), 0);
	int listener = socket_listen(&address);
	assert_true(listener >= 0);
	assert_int_equal(socket_local(listener, &address), 0);
	int client = socket_connect(&address);
	assert_true(client >= 0);
	int server;
	while ((server = socket_accept(listener)) == -EAGAIN)
		;
	assert_true(server >= 0);
	socket_address_format(&address, text);
	assert_int_equal(origin_check_host(&origin, str_from(text), server), 0);
	snprintf(host, sizeof host, "127.0.0.3:%u", socket_address_port(&address));
	assert_int_equal(origin_check_host(&origin, str_from(host), server), -E_HOST);
	assert_int_equal(origin_check_host(&origin, STR("127.0.0.2"), server), -E_HOST);
	fd_close(server);
	fd_close(client);
	fd_close(listener);
}

static const struct h1_fields *fields(const char *lines)
{
	static struct h1_request request;
	static char text[4096];
	size_t len;
	snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: a:1\r\n%s\r\n", lines);
	assert_int_equal(h1_request_parse(str_from(text), &request, &len), 0);
	return &request.fields;
}

static void test_source(void **state)
{
	(void)state;
	assert_int_equal(origin_check_source(fields("Origin: https://a:1\r\nx-murmesh: 1\r\n"), true), 0);
	assert_int_equal(origin_check_source(fields("Origin: https://a:1\r\n"), false), 0);
	static const char *const bad[] = {
		"",
		"x-murmesh: 1\r\n",
		"Origin: https://a:1\r\n",
		"Origin: null\r\nx-murmesh: 1\r\n",
		"Origin: http://a:1\r\nx-murmesh: 1\r\n",
		"Origin: https://a:1.evil.example\r\nx-murmesh: 1\r\n",
		"Origin: https://b:1\r\nx-murmesh: 1\r\n",
		"Origin: https://a:1/\r\nx-murmesh: 1\r\n",
		"Origin: https://a:1\r\nOrigin: https://a:1\r\nx-murmesh: 1\r\n",
		"Origin: https://a:1\r\nx-murmesh: 1\r\nx-murmesh: 1\r\n",
		"Origin: https://a:1\r\nx-murmesh: 0\r\n",
		"Origin: https://a:1\r\nx-murmesh:\r\n",
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(origin_check_source(fields(bad[i]), true), -E_ORIGIN);
}

static void test_session(void **state)
{
	uint8_t session[32] = { 0 };
	(void)state;
#define A32 "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	assert_int_equal(origin_session(fields("Cookie: a=b; __Host-session=" A32 ";c=d\r\n"), session), 0);
	assert_int_equal(session[0], 1);
	static const char *const bad[] = {
		"",
		"Cookie: session=" A32 "\r\n",
		"Cookie: __Host-session=\r\n",
		"Cookie: __Host-session=" A32 "A\r\n",
		"Cookie: __Host-session=" A32 "=\r\n",
		"Cookie: __Host-session=\"" A32 "\"\r\n",
		"Cookie: __Host-session=AQ\r\n",
		"Cookie: __Host-session=" A32 "; __Host-session=" A32 "\r\n",
		"Cookie: __Host-session=" A32 "\r\nCookie: a=b\r\n",
		"Cookie: x__Host-session=" A32 "\r\n",
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(origin_session(fields(bad[i]), session), -E_SESSION);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_host), cmocka_unit_test(test_own_address),
		                            cmocka_unit_test(test_source), cmocka_unit_test(test_session) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
