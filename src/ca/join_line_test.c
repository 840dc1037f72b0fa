#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/encode.h"
#include "base/err.h"
#include "ca/join_line.h"

/* Base32 of the bytes 0 to 31, and of 200 to 231. */
#define KEY  "aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwha5dypq"
#define ROOT "zde4vs6mzxhm7ugr2lj5jvow27mntww33to55x7a4hrohzhf43tq"

static void parses(const char *text, const char *host, unsigned port)
{
	struct join_line line;
	assert_int_equal(join_line_parse(str_from(text), &line), 0);
	assert_string_equal(line.host, host);
	assert_int_equal(line.port, port);
	for (unsigned i = 0; i < 16; i++) {
		assert_int_equal(line.key.bytes[i], i);
		assert_int_equal(line.secret[i], 16 + i);
	}
	for (unsigned i = 0; i < 32; i++)
		assert_int_equal(line.root_hash[i], 200 + i);
}

static void test_parse(void **state)
{
	(void)state;
	parses("web.example.org:8443#MM1-" KEY "-" ROOT, "web.example.org", 8443);
	parses("web:1#MM1-" KEY "-" ROOT, "web", 1);
	parses("3com.example:443#MM1-" KEY "-" ROOT, "3com.example", 443);
	parses("192.0.2.7:65535#MM1-" KEY "-" ROOT, "192.0.2.7", 65535);
	parses("[2001:db8::1]:8443#MM1-" KEY "-" ROOT, "2001:db8::1", 8443);
	parses("[::ffff:192.0.2.7]:8443#MM1-" KEY "-" ROOT, "::ffff:192.0.2.7", 8443);
	parses("web:1#MM1-AAAQEAYEAUDAOCAJBIFQYDIOB4IBCEQTCQKRMFYYDENBWHA5DYPQ-" ROOT, "web", 1);
}

static void test_refuse(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"",
		"#",
		"web:8443",
		"web:8443#",
		"web#MM1-" KEY "-" ROOT,
		":8443#MM1-" KEY "-" ROOT,
		"web:#MM1-" KEY "-" ROOT,
		"web:0#MM1-" KEY "-" ROOT,
		"web:08443#MM1-" KEY "-" ROOT,
		"web:65536#MM1-" KEY "-" ROOT,
		"web:-1#MM1-" KEY "-" ROOT,
		"web:8443#MM2-" KEY "-" ROOT,
		"web:8443#mm1-" KEY "-" ROOT,
		"web:8443#MM1" KEY "-" ROOT,
		"web:8443#MM1-" KEY,
		"web:8443#MM1-" KEY "-",
		"web:8443#MM1--" ROOT,
		"web:8443#MM1-" KEY "-" ROOT "-",
		"web:8443#MM1-" KEY "-" ROOT " ",
		"web:8443#MM1-" KEY "-" ROOT "\n",
		" web:8443#MM1-" KEY "-" ROOT,
		"web:8443#MM1-" KEY "a-" ROOT,
		"web:8443#MM1-" KEY "-" ROOT "a",
		"web:8443#MM1-1" KEY "-" ROOT,
		"web:8443#MM1-aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwha5dyp1-" ROOT,
		"web:8443#MM1-aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwha5dypr-" ROOT,
		"we b:8443#MM1-" KEY "-" ROOT,
		"web..org:8443#MM1-" KEY "-" ROOT,
		"web.:8443#MM1-" KEY "-" ROOT,
		".web:8443#MM1-" KEY "-" ROOT,
		"-web:8443#MM1-" KEY "-" ROOT,
		"web-:8443#MM1-" KEY "-" ROOT,
		"w\303\251b:8443#MM1-" KEY "-" ROOT,
		"http://web:8443#MM1-" KEY "-" ROOT,
		"192.0.2:8443#MM1-" KEY "-" ROOT,
		"192.0.2.256:8443#MM1-" KEY "-" ROOT,
		"::1:8443#MM1-" KEY "-" ROOT,
		"[::1:8443#MM1-" KEY "-" ROOT,
		"[]:8443#MM1-" KEY "-" ROOT,
		"[192.0.2.7]:8443#MM1-" KEY "-" ROOT,
		"[web]:8443#MM1-" KEY "-" ROOT,
		"[fe80::1%eth0]:8443#MM1-" KEY "-" ROOT,
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct join_line line = { .port = 7 };
		if (join_line_parse(str_from(bad[i]), &line) != -E_KEY_LINE)
			fail_msg("accepted: %s", bad[i]);
		assert_int_equal(line.port, 7);
	}
	struct str with_nul = STR("we\0b:8443#MM1-" KEY "-" ROOT);
	struct join_line line;
	assert_int_equal(join_line_parse(with_nul, &line), -E_KEY_LINE);
}

static void test_host_lengths(void **state)
{
	(void)state;
	char host[256], text[512];
	struct join_line line;
	for (size_t len = 1; len < sizeof host; len++) {
		for (size_t i = 0; i < len; i++)
			host[i] = i % 50 == 49 && i + 1 < len ? '.' : 'a';
		host[len] = 0;
		snprintf(text, sizeof text, "%s:8443#MM1-%s-%s", host, KEY, ROOT);
		int err = join_line_parse(str_from(text), &line);
		assert_int_equal(err, len < JOIN_HOST_SIZE ? 0 : -E_KEY_LINE);
		if (err == 0)
			assert_string_equal(line.host, host);
	}
	/* A label of 64. */
	snprintf(text, sizeof text, "%064d.org:8443#MM1-%s-%s", 1, KEY, ROOT);
	assert_int_equal(join_line_parse(str_from(text), &line), -E_KEY_LINE);
}

static void round_trip(const char *text)
{
	struct join_line line;
	char out[JOIN_LINE_SIZE];
	assert_int_equal(join_line_parse(str_from(text), &line), 0);
	assert_int_equal(join_line_format(&line, out), 0);
	assert_string_equal(out, text);
}

static void test_format(void **state)
{
	(void)state;
	round_trip("web.example.org:8443#MM1-" KEY "-" ROOT);
	round_trip("192.0.2.7:1#MM1-" KEY "-" ROOT);
	round_trip("[2001:db8::1]:65535#MM1-" KEY "-" ROOT);
	static const char *const bad[] = { "", "we b", "[::1]", "192.0.2", "a:b", "web:1#" };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct join_line line = { .port = 1 };
		char out[JOIN_LINE_SIZE] = "before";
		str_copy(str_from(bad[i]), line.host, sizeof line.host);
		assert_int_equal(join_line_format(&line, out), -E_KEY_LINE);
		assert_string_equal(out, "");
	}
	struct join_line line = { .host = "web", .port = 0 };
	char out[JOIN_LINE_SIZE];
	assert_int_equal(join_line_format(&line, out), -E_KEY_LINE);
}

static void assert_hex(const uint8_t *bytes, const char *expected)
{
	char hex[HEX_SIZE(HASH_SIZE)];
	hex_encode(bytes, HASH_SIZE, hex);
	assert_string_equal(hex, expected);
}

/* Computed with another implementation (hmac and hashlib of Python). */
static void test_proof(void **state)
{
	(void)state;
	uint8_t secret[JOIN_SECRET_SIZE], key[HASH_SIZE], csr_hash[HASH_SIZE], proof[HASH_SIZE];
	for (unsigned i = 0; i < sizeof secret; i++)
		secret[i] = (uint8_t)(16 + i);
	memset(csr_hash, 0xab, sizeof csr_hash);
	join_secret_key(secret, key);
	assert_hex(key, "80924e7a032cfa4070cf42a9869d3c80938af5de9e51a7b9d9f39d4d4fd2222e");
	join_proof(key, csr_hash, STR("0123456789abcdef"), proof);
	assert_hex(proof, "694019aa5bb451db10276f030b1c4d78859a10b099fcffc098ea200b747cff44");
	join_proof(key, csr_hash, STR("0123456789abcdeg"), proof);
	assert_hex(proof, "7d35e2812d211b1ca40506704458c2548f2374b2061575a48ed18e4696242608");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),  cmocka_unit_test(test_refuse), cmocka_unit_test(test_host_lengths),
		cmocka_unit_test(test_format), cmocka_unit_test(test_proof),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
