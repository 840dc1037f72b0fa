#include "base/test.h"

#include "base/buf.h"
#include "base/encode.h"
#include "base/err.h"
#include "orb/ior.h"

/* Made by omniORB's genior for IDL:research.local/MR/Router:1.0 at 127.0.0.1:8193, key Router. */
#define STOCK                                                                                                                      \
	"IOR:"                                                                                                                     \
	"010000002100000049444c3a72657365617263682e6c6f63616c2f4d522f526f757465723a312e30000000000100000000000000580000000101020"  \
	"00a0000003132372e302e302e3100012006000000526f7574657200000200000000000000080000000100000000545441010000001c0000000100000" \
	"0010001"                                                                                                                  \
	"000100000001000105090101000100000009010100"

static const struct ior whole = {
	.type = "IDL:murmesh/Router:1.0",
	.address = { "mesh.example.org", 0 },
	.tls_port = 8194,
	.others = { { "192.0.2.7", 8194 }, { "2001:db8::1", 8194 } },
	.n_others = 2,
	.key = "Router",
	.key_len = 6,
};

static void same(const struct ior *a, const struct ior *b)
{
	assert_string_equal(a->type, b->type);
	assert_string_equal(a->address.host, b->address.host);
	assert_int_equal(a->address.port, b->address.port);
	assert_int_equal(a->tls_port, b->tls_port);
	assert_int_equal(a->n_others, b->n_others);
	for (size_t i = 0; i < a->n_others; i++) {
		assert_string_equal(a->others[i].host, b->others[i].host);
		assert_int_equal(a->others[i].port, b->others[i].port);
	}
	assert_int_equal(a->key_len, b->key_len);
	assert_memory_equal(a->key, b->key, a->key_len);
}

static void test_round_trip(void **state)
{
	(void)state;
	struct ior ior = whole, ret;
	for (int i = 0; i < 3; i++) {
		struct buf text;
		buf_init(&text, 1 << 16);
		assert_int_equal(ior_write(&ior, &text), 0);
		assert_int_equal(ior_read(buf_str(&text), &ret), 0);
		same(&ior, &ret);
		buf_append_str(&text, STR(" \r\n"));
		assert_int_equal(ior_read(buf_str(&text), &ret), 0);
		buf_done(&text);
		ior.n_others = (size_t)i;
		ior.tls_port = 0;
		ior.address.port = 8193;
	}
}

static void test_stock(void **state)
{
	(void)state;
	struct ior ior;
	assert_int_equal(ior_read(STR(STOCK), &ior), 0);
	assert_string_equal(ior.type, "IDL:research.local/MR/Router:1.0");
	assert_string_equal(ior.address.host, "127.0.0.1");
	assert_int_equal(ior.address.port, 8193);
	assert_int_equal(ior.tls_port, 0);
	assert_int_equal(ior.n_others, 0);
	assert_int_equal(ior.key_len, 6);
	assert_memory_equal(ior.key, "Router", 6);
}

/* Big-endian outside, a profile of another kind first, then IIOP 1.0, little-endian inside. */
static void test_other_order_and_profiles(void **state)
{
	(void)state;
	static const uint8_t bytes[] = { 0, 0,    0, 0, 0, 0, 0,   4, 'I',  'D', 'L', 0, 0, 0, 0,   2,   0,  0, 0,
		                         1, 0,    0, 0, 3, 1, 2,   3, 0xee, 0,   0,   0, 0, 0, 0,   0,   19, 1, 1,
		                         0, 0xee, 2, 0, 0, 0, 'h', 0, 0x39, 5,   3,   0, 0, 0, 'k', 'e', 'y' };
	char text[4 + HEX_SIZE(sizeof bytes)] = "IOR:";
	struct ior ior;
	hex_encode(bytes, sizeof bytes, text + 4);
	assert_int_equal(ior_read(str_from(text), &ior), 0);
	assert_string_equal(ior.type, "IDL");
	assert_string_equal(ior.address.host, "h");
	assert_int_equal(ior.address.port, 1337);
	assert_memory_equal(ior.key, "key", 3);
}

static void test_every_truncation(void **state)
{
	(void)state;
	struct str text = STR(STOCK);
	struct ior ior;
	for (size_t len = 0; len < text.len; len++)
		assert_int_equal(ior_read((struct str){ text.ptr, len }, &ior), -E_IOR);
}

/* Each byte of it changed in turn: it is read or refused, and what is read fits. */
static void test_every_change(void **state)
{
	(void)state;
	static const uint8_t values[] = { 0, 1, 0x7f, 0x80, 0xff };
	struct buf text;
	uint8_t bytes[512];
	char changed[4 + HEX_SIZE(sizeof bytes)] = "IOR:";
	buf_init(&text, 1 << 16);
	assert_int_equal(ior_write(&whole, &text), 0);
	ssize_t len = hex_decode(str_skip(buf_str(&text), 4), bytes, sizeof bytes);
	assert_true(len > 0);
	for (ssize_t i = 0; i < len; i++)
		for (size_t v = 0; v < sizeof values; v++) {
			struct ior ior;
			uint8_t before = bytes[i];
			bytes[i] = values[v];
			hex_encode(bytes, (size_t)len, changed + 4);
			if (ior_read(str_from(changed), &ior) == 0) {
				assert_true(ior.key_len <= IOR_KEY_MAX && ior.n_others <= IOR_OTHERS_MAX);
				assert_true(strlen(ior.address.host) < IOR_HOST_SIZE);
			}
			bytes[i] = before;
		}
	buf_done(&text);
}

static void test_limits(void **state)
{
	(void)state;
	struct ior ior = whole;
	struct buf text;
	buf_init(&text, 100);
	assert_int_equal(ior_write(&ior, &text), -E_TOO_LONG);
	assert_int_equal(buf_len(&text), 0);
	buf_done(&text);

	char *long_text = malloc(20000);
	memset(long_text, '0', 20000);
	memcpy(long_text, "IOR:", 4);
	assert_int_equal(ior_read((struct str){ long_text, 20000 }, &ior), -E_IOR);
	assert_int_equal(ior_read(STR("IOR:0"), &ior), -E_IOR);
	assert_int_equal(ior_read(STR("IOR:zz"), &ior), -E_IOR);
	assert_int_equal(ior_read(STR("corbaloc::a/b"), &ior), -E_IOR);
	free(long_text);
}

static int write_and_read(void *ctx)
{
	struct buf text;
	struct ior ior;
	(void)ctx;
	buf_init(&text, 1 << 16);
	int err = ior_write(&whole, &text);
	if (err == 0)
		err = ior_read(buf_str(&text), &ior);
	buf_done(&text);
	return err;
}

static void test_no_memory(void **state)
{
	(void)state;
	assert_true(test_each_fault(write_and_read, NULL) >= 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_stock),
		cmocka_unit_test(test_other_order_and_profiles),
		cmocka_unit_test(test_every_truncation),
		cmocka_unit_test(test_every_change),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_no_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
