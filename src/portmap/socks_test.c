#include "portmap/socks.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/err.h"

static void greetings(void **state)
{
	static const struct {
		struct str bytes;
		int err;
		size_t len;
	} rows[] = {
		{ STR("\5\1\0"), 0, 3 },
		{ STR("\5\3\2\0\1\5\1"), 0, 5 },
		{ STR(""), -EAGAIN, 0 },
		{ STR("\5"), -EAGAIN, 0 },
		{ STR("\5\2\0"), -EAGAIN, 0 },
		{ STR("\4"), -E_SOCKS, 0 },
		{ STR("GET / HTTP/1.1\r\n"), -E_SOCKS, 0 },
		{ STR("\5\0"), -E_SOCKS, 0 },
		{ STR("\5\2\1\2"), -E_SOCKS, 0 },
	};
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		size_t len = 0;
		print_message("row %zu\n", i);
		assert_int_equal(socks_greeting_parse(rows[i].bytes, &len), rows[i].err);
		assert_int_equal(len, rows[i].len);
	}
}

#define NAME_253                                                                                                                   \
	"a23456789012345678901234567890123456789012345678901234567890123."                                                         \
	"a23456789012345678901234567890123456789012345678901234567890123."                                                         \
	"a23456789012345678901234567890123456789012345678901234567890123."                                                         \
	"a234567890123456789012345678901234567890123456789012345678901"

static void requests(void **state)
{
	static const struct {
		struct str bytes;
		const char *host;
		uint16_t port;
		size_t len;
	} rows[] = {
		{ STR("\5\1\0\1\12\0\0\1\0\120"), "10.0.0.1", 80, 10 },
		{ STR("\5\1\0\1\12\0\0\1\0\120GET /"), "10.0.0.1", 80, 10 },
		{ STR("\5\1\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\1\273"), "::1", 443, 22 },
		{ STR("\5\1\0\3\3nas\0\26"), "nas", 22, 10 },
		{ STR("\5\1\1\3\3::1\0\26"), "::1", 22, 10 },
		{ STR("\5\1\0\3\375" NAME_253 "\377\377"), NAME_253, 65535, 260 },
	};
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct socks_request request = { .port = 0 };
		enum socks_reply code = SOCKS_DONE;
		size_t len = 0;
		print_message("row %zu\n", i);
		assert_int_equal(socks_request_parse(rows[i].bytes, &request, &len, &code), 0);
		assert_string_equal(request.host, rows[i].host);
		assert_int_equal(request.port, rows[i].port);
		assert_int_equal(len, rows[i].len);
		for (size_t cut = 0; cut < rows[i].len; cut++) /* comes in pieces */
			assert_int_equal(socks_request_parse((struct str){ rows[i].bytes.ptr, cut }, &request, &len, &code),
			                 -EAGAIN);
		assert_int_equal(code, SOCKS_DONE);
	}
}

static void wrong_requests(void **state)
{
	static const struct {
		struct str bytes;
		enum socks_reply code;
	} rows[] = {
		{ STR("\4"), SOCKS_FAILED },
		{ STR("\5\2\0\1"), SOCKS_NO_COMMAND },
		{ STR("\5\3\0\1\12\0\0\1\0\120"), SOCKS_NO_COMMAND },
		{ STR("\5\1\0\2\12\0\0\1\0\120"), SOCKS_NO_ADDRESS_TYPE },
		{ STR("\5\1\0\1\12\0\0\1\0\0"), SOCKS_FAILED },
		{ STR("\5\1\0\3\0\0\120"), SOCKS_FAILED },
		{ STR("\5\1\0\3\3a b\0\120"), SOCKS_FAILED },
		{ STR("\5\1\0\3\3a\0b\0\120"), SOCKS_FAILED },
		{ STR("\5\1\0\3\4a:80\0\120"), SOCKS_FAILED },
		{ STR("\5\1\0\3\11"
		      "300.1.1.1\0\120"),
		  SOCKS_FAILED },
		{ STR("\5\1\0\3\3\r\nx\0\120"), SOCKS_FAILED },
		{ STR("\5\1\0\3\377" NAME_253 ".a\0\120"), SOCKS_FAILED },
	};
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct socks_request request = { .port = 4711 };
		enum socks_reply code = SOCKS_DONE;
		size_t len = 4711;
		print_message("row %zu\n", i);
		assert_int_equal(socks_request_parse(rows[i].bytes, &request, &len, &code), -E_SOCKS);
		assert_int_equal(code, rows[i].code);
		assert_true(request.port == 4711 && len == 4711);
	}
}

static void replies(void **state)
{
	static const uint8_t refused[] = { 5, 5, 0, 1, 0, 0, 0, 0, 0, 0 };
	uint8_t reply[SOCKS_REPLY_SIZE];
	(void)state;
	socks_reply_write(socks_reply_for(-E_TARGET_REFUSED), reply);
	assert_memory_equal(reply, refused, sizeof refused);
	assert_int_equal(socks_reply_for(0), SOCKS_DONE);
	assert_int_equal(socks_reply_for(-E_GRANT), SOCKS_NOT_ALLOWED);
	assert_int_equal(socks_reply_for(-E_OFFLINE), SOCKS_NETWORK_UNREACHABLE);
	assert_int_equal(socks_reply_for(-E_TARGET_NAME), SOCKS_HOST_UNREACHABLE);
	assert_int_equal(socks_reply_for(E_TARGET_TIMEOUT), SOCKS_TIMEOUT);
	assert_int_equal(socks_reply_for(-E_NO_MEMORY), SOCKS_FAILED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(greetings),
		cmocka_unit_test(requests),
		cmocka_unit_test(wrong_requests),
		cmocka_unit_test(replies),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
