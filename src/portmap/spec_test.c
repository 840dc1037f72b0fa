#include "portmap/spec.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/err.h"

#define NAME_63 "a23456789012345678901234567890123456789012345678901234567890123"

static void accepts(void **state)
{
	static const struct {
		const char *text;
		struct map_spec spec;
	} rows[] = {
		/* the three of seed 003 */
		{ "TCP:0:\"MyComputer\":HTTP:80", { MAP_TCP, 0, "MyComputer", "HTTP", "", 80, 1 } },
		{ "UDP:1235:\"MyComputer\"::1234", { MAP_UDP, 1235, "MyComputer", "", "", 1234, 1 } },
		{ "TCP:555:\"MyComputer\":HTTP:192.168.1.1:80", { MAP_TCP, 555, "MyComputer", "HTTP", "192.168.1.1", 80, 1 } },

		{ "TCP:0:web02:HTTP:8000", { MAP_TCP, 0, "web02", "HTTP", "", 8000, 1 } },
		{ "tcp:65535:web02:putty:65535", { MAP_TCP, 65535, "web02", "PuTTY", "", 65535, 1 } },
		{ "TCP:1:web02-17:HTTPS:1", { MAP_TCP, 1, "web02-17", "HTTPS", "", 1, 1 } },
		{ "TCP:1:w:rdp:3389", { MAP_TCP, 1, "w", "RDP", "", 3389, 1 } },
		{ "TCP:1:w:WINSCP:22", { MAP_TCP, 1, "w", "WinSCP", "", 22, 1 } },
		{ "TCP:1:w:my app:22", { MAP_TCP, 1, "w", "my app", "", 22, 1 } },
		{ "TCP:1:w:12345678901234567890123456789012:22",
		  { MAP_TCP, 1, "w", "12345678901234567890123456789012", "", 22, 1 } },
		{ "TCP:0:Front desk::80", { MAP_TCP, 0, "Front desk", "", "", 80, 1 } },
		{ "TCP:0:\"a:b\"::80", { MAP_TCP, 0, "a:b", "", "", 80, 1 } },
		{ "TCP:0:b\xc3\xbcro::80", { MAP_TCP, 0, "b\xc3\xbcro", "", "", 80, 1 } },
		{ "TCP:0:" NAME_63 "-12345::80", { MAP_TCP, 0, NAME_63 "-12345", "", "", 80, 1 } },
		{ "UDP:53:w::10.0.0.1:53", { MAP_UDP, 53, "w", "", "10.0.0.1", 53, 1 } },
		{ "TCP:0:w::[fe80::1]:22", { MAP_TCP, 0, "w", "", "fe80::1", 22, 1 } },
		{ "TCP:0:\"w\":RDP:[2001:db8::7]:3389", { MAP_TCP, 0, "w", "RDP", "2001:db8::7", 3389, 1 } },
		{ "TCP:0:w::db.example.org:5432", { MAP_TCP, 0, "w", "", "db.example.org", 5432, 1 } },
		{ "TCP:0:w::db.example.org.:5432", { MAP_TCP, 0, "w", "", "db.example.org.", 5432, 1 } },
		{ "TCP:0:w::nas_2:5432", { MAP_TCP, 0, "w", "", "nas_2", 5432, 1 } },
		{ "TCP:0:w::" NAME_63 ".org:5432", { MAP_TCP, 0, "w", "", NAME_63 ".org", 5432, 1 } },

		{ "RDP:0:web02", { MAP_BOTH, 0, "web02", "RDP", "", 3389, 1 } },
		{ "rdp:3390:\"a:b\"", { MAP_BOTH, 3390, "a:b", "RDP", "", 3389, 1 } },
		{ "RDP:0:web02:3390", { MAP_BOTH, 0, "web02", "RDP", "", 3390, 1 } },
		{ "RDP:0:\"web02\":10.0.0.7:3389", { MAP_BOTH, 0, "web02", "RDP", "10.0.0.7", 3389, 1 } },
		{ "RDP:0:w:[fe80::1]:3389-3390", { MAP_BOTH, 0, "w", "RDP", "fe80::1", 3389, 2 } },

		{ "TCP:8000-8003:w:HTTP:9000-9003", { MAP_TCP, 8000, "w", "HTTP", "", 9000, 4 } },
		{ "TCP:1-1:w::65535-65535", { MAP_TCP, 1, "w", "", "", 65535, 1 } },
		{ "TCP:80:w::90-90", { MAP_TCP, 80, "w", "", "", 90, 1 } },
		{ "TCP:0:w::[::1]:90-91", { MAP_TCP, 0, "w", "", "::1", 90, 2 } },
		{ "TCP:1024-2047:w::nas:1-1024", { MAP_TCP, 1024, "w", "", "nas", 1, 1024 } },
	};
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct map_spec spec;
		unsigned column = 0;
		const char *reason = "";
		print_message("row %zu\n", i);
		assert_int_equal(map_spec_parse(str_from(rows[i].text), true, &spec, &column, &reason), 0);
		assert_int_equal(spec.protocol, rows[i].spec.protocol);
		assert_int_equal(spec.local_port, rows[i].spec.local_port);
		assert_string_equal(spec.device, rows[i].spec.device);
		assert_string_equal(spec.app, rows[i].spec.app);
		assert_string_equal(spec.host, rows[i].spec.host);
		assert_int_equal(spec.port, rows[i].spec.port);
		assert_int_equal(spec.count, rows[i].spec.count);
	}
}

static void refuses(void **state)
{
	static const struct {
		const char *text;
		unsigned column;
		const char *reason;
	} rows[] = {
		{ "", 1, "TCP, UDP or RDP" },
		{ ":", 1, "TCP, UDP or RDP" },
		{ "SCTP:0:w::80", 1, "TCP, UDP or RDP" },
		{ " TCP:0:w::80", 1, "TCP, UDP or RDP" },
		{ "TCP", 4, "local port is missing" },
		{ "TCP:", 5, "local port must be" },
		{ "TCP::w::80", 5, "local port must be" },
		{ "TCP:65536:w::80", 5, "local port must be" },
		{ "TCP:-1:w::80", 5, "local port must be" },
		{ "TCP:80x:w::80", 5, "local port must be" },
		{ "TCP:99999999999999999999999:w::80", 5, "local port must be" },
		{ "TCP:0", 6, "device is missing" },
		{ "TCP:0:", 7, "app is missing" },
		{ "TCP:0:::80", 7, "no name" },
		{ "TCP:0:\"\"::80", 7, "no name" },
		{ "TCP:0:\"w::80", 7, "closing quote" },
		{ "TCP:0:\"", 7, "closing quote" },
		{ "TCP:0:\"w\"x::80", 10, "colon must follow" },
		{ "TCP:0:\"w\"", 10, "app is missing" },
		{ "TCP:0:w\"x::80", 8, "character" },
		{ "TCP:0:w\033[2J::80", 8, "character" },
		{ "TCP:0:w\x7f::80", 8, "character" },
		{ "TCP:0:w\xff::80", 7, "UTF-8" },
		{ "TCP:0:" NAME_63 NAME_63 "::80", 7, "too long" },
		{ "TCP:0:w", 8, "app is missing" },
		{ "TCP:0:w:", 9, "remote port is missing" },
		{ "TCP:0:w:HTTP", 13, "remote port is missing" },
		{ "TCP:0:w:HT\nTP:80", 11, "character" },
		{ "TCP:0:w:123456789012345678901234567890123:80", 9, "too long" },
		{ "UDP:0:w:HTTP:80", 9, "no app" },
		{ "RDP:0:", 7, "no name" },
		{ "RDP:0:\"\"", 7, "no name" },
		{ "RDP:0:\"w", 7, "closing quote" },
		{ "RDP:0:w\"", 8, "character" },
		{ "RDP:0:w:", 9, "remote port must be" },
		{ "RDP:8000-8003:w", 16, "remote ports are missing" },
		{ "RDP:0:" NAME_63 NAME_63, 7, "too long" },
		{ "TCP:0:w::", 10, "remote port must be" },
		{ "TCP:0:w::0", 10, "remote port must be" },
		{ "TCP:0:w::65536", 10, "remote port must be" },
		{ "TCP:0:w::80 ", 10, "remote port must be" },
		{ "TCP:0:w::host:", 15, "remote port must be" },
		{ "TCP:0:w::host:0", 15, "remote port must be" },
		{ "TCP:0:w::host:80:90", 10, "too many fields" },
		{ "TCP:0:w::fe80::1:80", 10, "too many fields" },
		{ "TCP:0:w:::80", 10, "remote host must be" },
		{ "TCP:0:w::a b:80", 10, "remote host must be" },
		{ "TCP:0:w::a..b:80", 10, "remote host must be" },
		{ "TCP:0:w::-a:80", 10, "remote host must be" },
		{ "TCP:0:w::a-:80", 10, "remote host must be" },
		{ "TCP:0:w::300.1.1.1:80", 10, "remote host must be" },
		{ "TCP:0:w::80:90", 10, "remote host must be" },
		{ "TCP:0:w::a" NAME_63 ":80", 10, "remote host must be" },
		{ "TCP:0:w::" NAME_63 "." NAME_63 "." NAME_63 "." NAME_63 ".o:80", 10, "too long" },
		{ "TCP:0:w::[fe80::1:80", 10, "closing bracket" },
		{ "TCP:0:w::[", 10, "closing bracket" },
		{ "TCP:0:w::[]:80", 11, "not an IPv6 address" },
		{ "TCP:0:w::[10.0.0.1]:80", 11, "not an IPv6 address" },
		{ "TCP:0:w::[fe80::g]:80", 11, "not an IPv6 address" },
		{ "TCP:0:w::[::1]80", 15, "colon must follow" },
		{ "TCP:0:w::[::1]", 15, "remote port is missing" },
		{ "TCP:0:w::[::1]:x", 16, "remote port must be" },

		{ "TCP:8000-8003:w:HTTP:9000-9002", 22, "same length" },
		{ "TCP:8000-8003:w:HTTP:9000", 22, "same length" },
		{ "TCP:8000:w:HTTP:9000-9001", 17, "same length" },
		{ "TCP:8003-8000:w::9000", 10, "highest" },
		{ "TCP:8000-:w::9000", 10, "local port must be" },
		{ "TCP:8000-x:w::9000", 10, "local port must be" },
		{ "TCP:8000-65536:w::9000", 10, "local port must be" },
		{ "TCP:0-3:w::9000-9003", 5, "local port must be" },
		{ "TCP:1-2-3:w::9000-9002", 7, "local port must be" },
		{ "TCP:0:w::0-3", 10, "remote port must be" },
		{ "TCP:0:w::9-", 12, "remote port must be" },
		{ "TCP:0:w::nas:1-1025", 14, "at most 1024" },
	};
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct map_spec spec = { .port = 4711 };
		unsigned column = 0;
		const char *reason = NULL;
		print_message("row %zu\n", i);
		assert_int_equal(map_spec_parse(str_from(rows[i].text), true, &spec, &column, &reason), -E_MAP_SPEC);
		assert_non_null(strstr(reason, rows[i].reason));
		assert_int_equal(column, rows[i].column);
		assert_int_equal(spec.port, 4711);
	}
}

static void relay_only_where_allowed(void **state)
{
	struct map_spec spec;
	unsigned column = 0;
	const char *reason = NULL;
	(void)state;
	assert_int_equal(map_spec_parse(STR("TCP:0:w::10.0.0.1:80"), false, &spec, &column, &reason), -E_MAP_SPEC);
	assert_int_equal(column, 10);
	assert_non_null(strstr(reason, "only a relay map"));
	assert_int_equal(map_spec_parse(STR("TCP:0:w::[::1]:80"), false, &spec, &column, &reason), -E_MAP_SPEC);
	assert_int_equal(map_spec_parse(STR("TCP:0:w::80"), false, &spec, &column, &reason), 0);
}

static void targets(void **state)
{
	static const struct {
		const char *text, *host;
		uint16_t port;
		unsigned column;
	} rows[] = {
		{ "22", "", 22, 0 },          { "nas:80", "nas", 80, 0 }, { "[::1]:443", "::1", 443, 0 }, { "", NULL, 0, 1 },
		{ "0", NULL, 0, 1 },          { "1-2", NULL, 0, 1 },      { "nas:1-2", NULL, 0, 5 },      { ":80", NULL, 0, 1 },
		{ "fe80::1:80", NULL, 0, 1 }, { "nas:", NULL, 0, 5 },     { "http", NULL, 0, 1 },         { "[::1]", NULL, 0, 6 },
	};
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char host[MAP_HOST_SIZE];
		uint16_t port = 0;
		unsigned column = 0;
		const char *reason = NULL;
		print_message("row %zu\n", i);
		int err = map_target_parse(str_from(rows[i].text), host, &port, &column, &reason);
		assert_int_equal(err, rows[i].host ? 0 : -E_MAP_SPEC);
		assert_int_equal(column, rows[i].column);
		assert_int_equal(port, rows[i].port);
		if (rows[i].host)
			assert_string_equal(host, rows[i].host);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accepts),
		cmocka_unit_test(refuses),
		cmocka_unit_test(relay_only_where_allowed),
		cmocka_unit_test(targets),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
