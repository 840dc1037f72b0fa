#include "base/encode.h"
#include "base/err.h"
#include "base/test.h"

/* RFC 4648 section 10, without the padding. */
static const char *const vectors[][4] = {
	/* bytes, hex, base32, base64url */
	{ "", "", "", "" },
	{ "f", "66", "my", "Zg" },
	{ "fo", "666f", "mzxq", "Zm8" },
	{ "foo", "666f6f", "mzxw6", "Zm9v" },
	{ "foob", "666f6f62", "mzxw6yq", "Zm9vYg" },
	{ "fooba", "666f6f6261", "mzxw6ytb", "Zm9vYmE" },
	{ "foobar", "666f6f626172", "mzxw6ytboi", "Zm9vYmFy" },
};

typedef void (*encoder)(const uint8_t *bytes, size_t len, char *out);
typedef ssize_t (*decoder)(struct str text, uint8_t *out, size_t size);
static const encoder encoders[] = { hex_encode, base32_encode, base64url_encode };
static const decoder decoders[] = { hex_decode, base32_decode, base64url_decode };

static void test_vectors(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++)
		for (size_t kind = 0; kind < 3; kind++) {
			char text[32];
			uint8_t bytes[32];
			size_t len = strlen(vectors[i][0]);
			encoders[kind]((const uint8_t *)vectors[i][0], len, text);
			assert_string_equal(text, vectors[i][kind + 1]);
			assert_int_equal(decoders[kind](str_from(text), bytes, sizeof bytes), len);
			assert_memory_equal(bytes, vectors[i][0], len);
		}
}

static void test_round_trip_fills_exactly(void **state)
{
	(void)state;
	uint8_t bytes[64], back[64];
	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (uint8_t)(i * 37 + 200);
	for (size_t len = 0; len <= sizeof bytes; len++) {
		const size_t sizes[] = { HEX_SIZE(len), BASE32_SIZE(len), BASE64URL_SIZE(len) };
		for (size_t kind = 0; kind < 3; kind++) {
			char text[HEX_SIZE(sizeof bytes) + 1];
			memset(text, '#', sizeof text);
			encoders[kind](bytes, len, text);
			assert_int_equal(strlen(text) + 1, sizes[kind]);
			assert_int_equal(text[sizes[kind]], '#');
			assert_int_equal(decoders[kind](str_from(text), back, len), len);
			assert_memory_equal(back, bytes, len);
			if (len)
				assert_int_equal(decoders[kind](str_from(text), back, len - 1), -E_ENCODING);
		}
	}
}

static void test_strict(void **state)
{
	static const struct {
		decoder decode;
		struct str text;
	} bad[] = {
		{ hex_decode, STR("0") },
		{ base32_decode, STR("a") },
		{ base32_decode, STR("aaa") },
		{ base32_decode, STR("aaaaaa") },
		{ base64url_decode, STR("A") },
		{ base64url_decode, STR("AAAAA") },
		{ hex_decode, STR("6") },
		{ hex_decode, STR("6G") },
		{ hex_decode, STR("6F") },
		{ hex_decode, STR(" 6f") },
		{ hex_decode, STR("6\0") },
		{ base32_decode, STR("m") },
		{ base32_decode, STR("mzx") },
		{ base32_decode, STR("mzxw6y") },
		{ base32_decode, STR("mz") },
		{ base32_decode, STR("my======") },
		{ base32_decode, STR("m1") },
		{ base32_decode, STR("m\0") },
		{ base64url_decode, STR("Z") },
		{ base64url_decode, STR("Zh") },
		{ base64url_decode, STR("Zm9") },
		{ base64url_decode, STR("Zg==") },
		{ base64url_decode, STR("Zm+v") },
		{ base64url_decode, STR("Zm/v") },
		{ base64url_decode, STR("Zm9v\n") },
		{ base64url_decode, STR("Zm\x80v") },
	};
	(void)state;
	uint8_t out[16];
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(bad[i].decode(bad[i].text, out, sizeof out), -E_ENCODING);
	assert_int_equal(base32_decode(STR("MZxw6"), out, sizeof out), 3);
	assert_memory_equal(out, "foo", 3);
	assert_int_equal(base64url_decode(STR("-_-_"), out, sizeof out), 3);
	assert_memory_equal(out, "\xfb\xff\xbf", 3);
	char long_text[257];
	uint8_t long_out[257];
	memset(long_text, 'a', sizeof long_text);
	assert_int_equal(base32_decode((struct str){ long_text, 256 }, long_out, sizeof long_out), 160);
	assert_int_equal(base32_decode((struct str){ long_text, 257 }, long_out, sizeof long_out), -E_ENCODING);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_round_trip_fills_exactly),
		cmocka_unit_test(test_strict),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
