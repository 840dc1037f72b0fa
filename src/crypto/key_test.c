#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include "base/buf.h"
#include "base/encode.h"
#include "base/err.h"
#include "base/fault.h"
#include "crypto/native.h"

static void assert_hash(const uint8_t hash[HASH_SIZE], const char *expected)
{
	char text[HEX_SIZE(HASH_SIZE)];
	hex_encode(hash, HASH_SIZE, text);
	assert_string_equal(text, expected);
}

static void test_hashes(void **state)
{
	uint8_t hash[HASH_SIZE], secret[22];
	(void)state;
	hash_sha256("abc", 3, hash); /* FIPS 180-2, appendix B.1 */
	assert_hash(hash, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	hash_hmac((const uint8_t *)"Jefe", 4, STR("what do ya want "), STR("for nothing?"), hash); /* RFC 4231, case 2 */
	assert_hash(hash, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	hash_hmac((const uint8_t *)"Jefe", 4, STR("what do ya want for nothing?"), (struct str){ 0 }, hash);
	assert_hash(hash, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	hash_hmac(NULL, 0, STR(""), STR(""), hash);
	assert_hash(hash, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
	memset(secret, 0x0b, sizeof secret);
	hash_hkdf(secret, sizeof secret, STR(""), hash); /* RFC 5869, case 3 */
	assert_hash(hash, "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d");
}

static void test_digest(void **state)
{
	uint8_t hash[HASH_SIZE];
	(void)state;
	struct digest *digest = digest_new();
	assert_non_null(digest);
	digest_add(digest, "a", 1);
	digest_read(digest, hash);
	assert_hash(hash, "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb");
	digest_add(digest, "", 0);
	digest_add(digest, "bc", 2);
	digest_read(digest, hash);
	assert_hash(hash, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	assert_null(digest_free(digest));
	assert_null(digest_free(NULL));
}

static void test_hash_equal(void **state)
{
	uint8_t a[HASH_SIZE] = { 1 }, b[HASH_SIZE] = { 1 };
	(void)state;
	assert_true(hash_equal(a, b));
	b[HASH_SIZE - 1] = 1;
	assert_false(hash_equal(a, b));
}

static void test_signatures(void **state)
{
	uint8_t signature[KEY_SIGNATURE_MAX + 1];
	size_t len = 0;
	struct key *key = key_generate(), *other = key_generate();
	struct str context = STR("murmesh test 1");
	(void)state;
	assert_int_equal(key_sign(key, context, "hello", 5, signature, &len), 0);
	assert_true(len > 60 && len <= KEY_SIGNATURE_MAX);
	assert_int_equal(key_verify(key, context, "hello", 5, signature, len), 0);
	assert_int_equal(key_verify(other, context, "hello", 5, signature, len), -E_SIGNATURE);
	assert_int_equal(key_verify(key, STR("murmesh test 2"), "hello", 5, signature, len), -E_SIGNATURE);
	assert_int_equal(key_verify(key, context, "hellO", 5, signature, len), -E_SIGNATURE);
	assert_int_equal(key_verify(key, context, "hello", 4, signature, len), -E_SIGNATURE);
	assert_int_equal(key_verify(key, context, "hello", 5, signature, len - 1), -E_SIGNATURE);
	assert_int_equal(key_verify(key, context, "hello", 5, signature, len + 1), -E_SIGNATURE);
	assert_int_equal(key_verify(key, context, "hello", 5, signature, 0), -E_SIGNATURE);
	/* The NUL between context and bytes keeps them apart. */
	assert_int_equal(key_sign(key, STR("ab"), "c", 1, signature, &len), 0);
	assert_int_equal(key_verify(key, STR("a"), "bc", 2, signature, len), -E_SIGNATURE);
	key_free(key);
	key_free(other);
}

static void test_public_form(void **state)
{
	uint8_t der[KEY_PUBLIC_MAX], again[KEY_PUBLIC_MAX], hash[HASH_SIZE], expected[HASH_SIZE];
	size_t len = 0, again_len = 0;
	struct key *key = key_generate(), *read = NULL;
	(void)state;
	assert_int_equal(key_public_write(key, der, &len), 0);
	assert_true(key_public_is_plain(der, len));
	assert_false(key_public_is_plain(der, len - 1));
	assert_int_equal(key_public_read(der, len, &read), 0);
	assert_int_equal(key_public_write(read, again, &again_len), 0);
	assert_int_equal(again_len, len);
	assert_memory_equal(again, der, len);
	hash_sha256(der, len, expected);
	assert_int_equal(key_public_hash(read, hash), 0);
	assert_memory_equal(hash, expected, HASH_SIZE);
	/* A public key alone signs nothing and has nothing private to write. */
	struct buf out;
	uint8_t signature[KEY_SIGNATURE_MAX];
	buf_init(&out, 4096);
	assert_int_equal(key_sign(read, STR("x"), "", 0, signature, &len), -E_INTERNAL);
	assert_int_equal(key_private_write(read, &out), -E_INTERNAL);
	assert_int_equal(buf_len(&out), 0);
	key_free(key);
	key_free(read);
}

static size_t info_of(EVP_PKEY *pkey, uint8_t *out)
{
	uint8_t *at = out;
	int len = i2d_PUBKEY(pkey, &at);
	assert_true(len > 0);
	EVP_PKEY_free(pkey);
	return (size_t)len;
}

static void test_public_refused(void **state)
{
	uint8_t der[1024];
	size_t len = 0;
	struct key *key = key_generate(), *read = NULL;
	(void)state;
	assert_int_equal(key_public_write(key, der, &len), 0);
	assert_int_equal(key_public_read(der, len + 1, &read), -E_ENCODING);
	assert_int_equal(key_public_read(der, len - 1, &read), -E_ENCODING);
	assert_int_equal(key_public_read(der, 0, &read), -E_ENCODING);
	for (size_t i = 0; i < len - 64; i++) {
		der[i] ^= 1;
		assert_false(key_public_is_plain(der, len));
		der[i] ^= 1;
	}
	der[len - 1] ^= 1; /* not on the curve */
	assert_int_equal(key_public_read(der, len, &read), -E_ENCODING);
	assert_int_equal(key_public_read(der, info_of(EVP_EC_gen("P-384"), der), &read), -E_ENCODING);
	assert_int_equal(key_public_read(der, info_of(EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), der), &read), -E_ENCODING);
	assert_int_equal(EVP_PKEY_set_utf8_string_param(key->pkey, "point-format", "compressed"), 1);
	EVP_PKEY_up_ref(key->pkey);
	assert_int_equal(key_public_read(der, info_of(key->pkey, der), &read), -E_ENCODING);
	assert_null(read);
	key_free(key);
}

static void test_private_form(void **state)
{
	struct buf pem, again;
	uint8_t a[HASH_SIZE], b[HASH_SIZE];
	struct key *key = key_generate(), *read = NULL;
	(void)state;
	buf_init(&pem, 4096);
	buf_init(&again, 4096);
	assert_int_equal(key_private_write(key, &pem), 0);
	assert_true(str_starts(buf_str(&pem), STR("-----BEGIN PRIVATE KEY-----\n")));
	assert_int_equal(key_private_read(buf_str(&pem), &read), 0);
	assert_int_equal(key_public_hash(key, a), 0);
	assert_int_equal(key_public_hash(read, b), 0);
	assert_memory_equal(a, b, HASH_SIZE);
	assert_int_equal(key_private_write(read, &again), 0);
	assert_true(str_equal(buf_str(&pem), buf_str(&again)));
	for (size_t len = 0; len < buf_len(&pem) - 1; len++) /* all but the last newline is needed */
		assert_int_equal(key_private_read((struct str){ (const char *)pem.data, len }, &read), -E_ENCODING);
	struct buf small;
	buf_init(&small, 10);
	assert_int_equal(key_private_write(key, &small), -E_TOO_LONG);
	buf_wipe(&pem);
	buf_wipe(&again);
	key_free(key);
	key_free(read);
}

static void assert_private_refused(BIO *bio, int made)
{
	char *text;
	struct key *read = NULL;
	assert_int_equal(made, 1);
	long len = BIO_get_mem_data(bio, &text);
	assert_int_equal(key_private_read((struct str){ text, (size_t)len }, &read), -E_ENCODING);
	assert_null(read);
	BIO_free(bio);
}

static void test_private_refused(void **state)
{
	struct key *key = key_generate(), *read = NULL;
	EVP_PKEY *other = EVP_EC_gen("P-384"), *ed25519 = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	char password[] = "secret";
	static const char long_text[5000];
	(void)state;
	BIO *bio = BIO_new(BIO_s_mem());
	assert_private_refused(bio, PEM_write_bio_PKCS8PrivateKey(bio, other, NULL, NULL, 0, NULL, NULL));
	bio = BIO_new(BIO_s_mem());
	assert_private_refused(bio, PEM_write_bio_PKCS8PrivateKey(bio, ed25519, NULL, NULL, 0, NULL, NULL));
	bio = BIO_new(BIO_s_mem());
	assert_private_refused(bio, PEM_write_bio_PrivateKey_traditional(bio, key->pkey, NULL, NULL, 0, NULL, NULL));
	/* Encrypted: nobody is asked for a password. */
	bio = BIO_new(BIO_s_mem());
	assert_private_refused(bio, PEM_write_bio_PKCS8PrivateKey(bio, key->pkey, EVP_aes_128_cbc(), password, 6, NULL, NULL));
	bio = BIO_new(BIO_s_mem());
	PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(key->pkey);
	assert_private_refused(bio, PEM_ASN1_write_bio((i2d_of_void *)i2d_PKCS8_PRIV_KEY_INFO, PEM_STRING_PKCS8INF, bio, info,
	                                               EVP_aes_128_cbc(), (unsigned char *)password, 6, NULL, NULL));
	PKCS8_PRIV_KEY_INFO_free(info);
	assert_int_equal(key_private_read((struct str){ long_text, sizeof long_text }, &read), -E_TOO_LONG);
	assert_int_equal(key_private_read((struct str){ 0 }, &read), -E_ENCODING);
	EVP_PKEY_free(other);
	EVP_PKEY_free(ed25519);
	key_free(key);
}

/* A file whose private and public halves do not belong together. */
static void test_private_mixed(void **state)
{
	struct key *a = key_generate(), *b = key_generate(), *read = NULL;
	uint8_t der[256], *at = der, public[KEY_PUBLIC_MAX];
	size_t public_len = 0;
	(void)state;
	PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(a->pkey);
	int len = i2d_PKCS8_PRIV_KEY_INFO(info, &at);
	assert_int_equal(key_public_write(b, public, &public_len), 0);
	memcpy(der + len - 64, public + public_len - 64, 64); /* the optional public key ends the structure (RFC 5915) */
	BIO *bio = BIO_new(BIO_s_mem());
	assert_true(PEM_write_bio(bio, PEM_STRING_PKCS8INF, "", der, len) > 0);
	char *text;
	long text_len = BIO_get_mem_data(bio, &text);
	assert_int_equal(key_private_read((struct str){ text, (size_t)text_len }, &read), -E_ENCODING);
	BIO_free(bio);
	PKCS8_PRIV_KEY_INFO_free(info);
	key_free(a);
	key_free(b);
}

static void test_no_memory(void **state)
{
	struct buf pem;
	uint8_t public[KEY_PUBLIC_MAX];
	size_t len = 0;
	struct key *key = key_generate(), *read = NULL;
	(void)state;
	buf_init(&pem, 4096);
	fault_arm(1);
	assert_null(key_generate());
	fault_arm(1);
	assert_int_equal(key_private_write(key, &pem), -E_NO_MEMORY);
	assert_int_equal(key_private_write(key, &pem), 0);
	fault_arm(1);
	assert_int_equal(key_private_read(buf_str(&pem), &read), -E_NO_MEMORY);
	assert_int_equal(key_public_write(key, public, &len), 0);
	fault_arm(1);
	assert_int_equal(key_public_read(public, len, &read), -E_NO_MEMORY);
	assert_null(read);
	fault_arm(0);
	assert_null(key_free(NULL));
	buf_wipe(&pem);
	key_free(key);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hashes),       cmocka_unit_test(test_digest),          cmocka_unit_test(test_hash_equal),
		cmocka_unit_test(test_signatures),   cmocka_unit_test(test_public_form),     cmocka_unit_test(test_public_refused),
		cmocka_unit_test(test_private_form), cmocka_unit_test(test_private_refused), cmocka_unit_test(test_private_mixed),
		cmocka_unit_test(test_no_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
