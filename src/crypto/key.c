#include "crypto/key.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "crypto/native.h"

#define KEY_PEM_MAX 4096

/* What stands before the two coordinates in the SubjectPublicKeyInfo of an uncompressed P-256 point (RFC 5480): id-ecPublicKey,
 * prime256v1, BIT STRING, 0x04.  No other form is read, so that one key has one hash. */
static const uint8_t info_head[] = { 0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06,
	                             0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04 };
#define INFO_SIZE (sizeof info_head + 64)

int key_wrap(EVP_PKEY *pkey, struct key **ret)
{
	struct key *key = pkey ? mem_alloc(sizeof *key) : NULL;
	if (!key) {
		EVP_PKEY_free(pkey);
		return -E_NO_MEMORY;
	}
	key->pkey = pkey;
	*ret = key;
	return 0;
}

struct key *key_generate(void)
{
	struct key *key = NULL;
	key_wrap(EVP_EC_gen("P-256"), &key);
	return key;
}

struct key *key_free(struct key *key)
{
	if (key)
		EVP_PKEY_free(key->pkey);
	return mem_free(key);
}

static bool key_is_p256(const EVP_PKEY *pkey)
{
	char group[32];
	size_t len;
	return EVP_PKEY_is_a(pkey, "EC") && EVP_PKEY_get_group_name(pkey, group, sizeof group, &len) == 1 &&
	       str_is((struct str){ group, len }, "prime256v1");
}

/* Does the private key belong to the public one beside it? */
static bool key_is_whole(EVP_PKEY *pkey)
{
	EVP_PKEY_CTX *check = EVP_PKEY_CTX_new(pkey, NULL);
	bool whole = check && EVP_PKEY_pairwise_check(check) == 1;
	EVP_PKEY_CTX_free(check);
	return whole;
}

/* Without it OpenSSL would ask the terminal for the password of an encrypted file. */
static int no_password(char *out, int size, int writing, void *ctx)
{
	(void)out, (void)size, (void)writing, (void)ctx;
	return -1;
}

int key_private_read(struct str pem, struct key **ret)
{
	if (pem.len > KEY_PEM_MAX)
		return -E_TOO_LONG;
	BIO *bio = BIO_new_mem_buf(pem.ptr ? pem.ptr : "", (int)pem.len);
	PKCS8_PRIV_KEY_INFO *info = bio ? PEM_read_bio_PKCS8_PRIV_KEY_INFO(bio, NULL, no_password, NULL) : NULL;
	EVP_PKEY *pkey = info ? EVP_PKCS82PKEY(info) : NULL;
	PKCS8_PRIV_KEY_INFO_free(info);
	BIO_free(bio);
	ERR_clear_error();
	if (!pkey || !key_is_p256(pkey) || !key_is_whole(pkey)) {
		EVP_PKEY_free(pkey);
		return -E_ENCODING;
	}
	return key_wrap(pkey, ret);
}

int key_private_write(const struct key *key, struct buf *out)
{
	BIO *bio = BIO_new(BIO_s_mem());
	int err = -E_INTERNAL;
	if (bio && PEM_write_bio_PKCS8PrivateKey(bio, key->pkey, NULL, NULL, 0, NULL, NULL) == 1)
		err = bio_append_to(bio, out);
	BIO_free(bio);
	return err;
}

int bio_append_to(BIO *bio, struct buf *out)
{
	char *bytes;
	long len = BIO_get_mem_data(bio, &bytes);
	return buf_append(out, bytes, (size_t)len);
}

int key_public_write(const struct key *key, uint8_t out[KEY_PUBLIC_MAX], size_t *ret_len)
{
	uint8_t *at = out;
	if (i2d_PUBKEY(key->pkey, NULL) != INFO_SIZE || i2d_PUBKEY(key->pkey, &at) != INFO_SIZE)
		return -E_NO_MEMORY;
	*ret_len = INFO_SIZE;
	return 0;
}

bool key_public_is_plain(const uint8_t *der, size_t len)
{
	return len == INFO_SIZE && memcmp(der, info_head, sizeof info_head) == 0;
}

int key_public_read(const uint8_t *der, size_t len, struct key **ret)
{
	if (!key_public_is_plain(der, len))
		return -E_ENCODING;
	EVP_PKEY *pkey = d2i_PUBKEY(NULL, &der, (long)len);
	if (!pkey) {
		ERR_clear_error();
		return -E_ENCODING;
	}
	return key_wrap(pkey, ret);
}

int key_from_info(const X509_PUBKEY *info, struct key **ret)
{
	uint8_t *der = NULL;
	int len = i2d_X509_PUBKEY(info, &der);
	if (len < 0)
		return -E_ENCODING;
	int err = key_public_read(der, (size_t)len, ret);
	OPENSSL_free(der);
	return err;
}

int key_public_hash(const struct key *key, uint8_t ret_hash[HASH_SIZE])
{
	uint8_t der[KEY_PUBLIC_MAX];
	size_t len;
	int err = key_public_write(key, der, &len);
	if (err == 0)
		hash_sha256(der, len, ret_hash);
	return err;
}

int key_sign(const struct key *key, struct str context, const void *bytes, size_t len, uint8_t out[KEY_SIGNATURE_MAX],
             size_t *ret_len)
{
	EVP_MD_CTX *sign = EVP_MD_CTX_new();
	size_t size = KEY_SIGNATURE_MAX;
	bool made = sign && EVP_DigestSignInit(sign, NULL, EVP_sha256(), NULL, key->pkey) == 1 &&
	            EVP_DigestSignUpdate(sign, context.ptr, context.len) == 1 && EVP_DigestSignUpdate(sign, "", 1) == 1 &&
	            EVP_DigestSignUpdate(sign, bytes, len) == 1 && EVP_DigestSignFinal(sign, out, &size) == 1;
	EVP_MD_CTX_free(sign);
	ERR_clear_error();
	if (!made)
		return -E_INTERNAL;
	*ret_len = size;
	return 0;
}

int key_verify(const struct key *key, struct str context, const void *bytes, size_t len, const uint8_t *signature,
               size_t signature_len)
{
	EVP_MD_CTX *verify = EVP_MD_CTX_new();
	bool good = verify && EVP_DigestVerifyInit(verify, NULL, EVP_sha256(), NULL, key->pkey) == 1 &&
	            EVP_DigestVerifyUpdate(verify, context.ptr, context.len) == 1 && EVP_DigestVerifyUpdate(verify, "", 1) == 1 &&
	            EVP_DigestVerifyUpdate(verify, bytes, len) == 1 && EVP_DigestVerifyFinal(verify, signature, signature_len) == 1;
	EVP_MD_CTX_free(verify);
	ERR_clear_error();
	return good ? 0 : -E_SIGNATURE;
}

/* Callers of a hash have no way on without it: these fail only without memory. */
static void hash_require(bool made)
{
	if (!made)
		abort();
}

void hash_sha256(const void *bytes, size_t len, uint8_t ret_hash[HASH_SIZE])
{
	hash_require(EVP_Digest(bytes, len, ret_hash, NULL, EVP_sha256(), NULL) == 1);
}

struct digest {
	EVP_MD_CTX *context;
};

struct digest *digest_new(void)
{
	struct digest *digest = mem_alloc(sizeof *digest);
	if (!digest)
		return NULL;
	digest->context = EVP_MD_CTX_new();
	return digest->context && EVP_DigestInit_ex2(digest->context, EVP_sha256(), NULL) == 1 ? digest : digest_free(digest);
}

void digest_add(struct digest *digest, const void *bytes, size_t len)
{
	hash_require(EVP_DigestUpdate(digest->context, bytes, len) == 1);
}

void digest_read(const struct digest *digest, uint8_t ret_hash[HASH_SIZE])
{
	EVP_MD_CTX *copy = EVP_MD_CTX_new();
	hash_require(copy && EVP_MD_CTX_copy_ex(copy, digest->context) == 1 && EVP_DigestFinal_ex(copy, ret_hash, NULL) == 1);
	EVP_MD_CTX_free(copy);
}

struct digest *digest_free(struct digest *digest)
{
	if (digest)
		EVP_MD_CTX_free(digest->context);
	return mem_free(digest);
}

void hash_sha1(const void *bytes, size_t len, uint8_t ret_hash[HASH_SHA1_SIZE])
{
	hash_require(EVP_Digest(bytes, len, ret_hash, NULL, EVP_sha1(), NULL) == 1);
}

void hash_hmac(const uint8_t *key, size_t key_len, struct str a, struct str b, uint8_t ret_mac[HASH_SIZE])
{
	EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	EVP_MAC_CTX *mac = EVP_MAC_CTX_new(hmac);
	char digest[] = "SHA256";
	const OSSL_PARAM params[] = { OSSL_PARAM_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0), OSSL_PARAM_END };
	/* OpenSSL takes a NULL key for "as before". */
	hash_require(mac && EVP_MAC_init(mac, key_len ? key : (const uint8_t *)"", key_len, params) == 1 &&
	             EVP_MAC_update(mac, (const uint8_t *)a.ptr, a.len) == 1 &&
	             EVP_MAC_update(mac, (const uint8_t *)b.ptr, b.len) == 1 && EVP_MAC_final(mac, ret_mac, NULL, HASH_SIZE) == 1);
	EVP_MAC_CTX_free(mac);
	EVP_MAC_free(hmac);
}

void hash_hkdf(const uint8_t *secret, size_t len, struct str info, uint8_t ret_key[HASH_SIZE])
{
	static const uint8_t no_salt[HASH_SIZE];
	uint8_t pseudorandom[HASH_SIZE];
	hash_hmac(no_salt, sizeof no_salt, (struct str){ (const char *)secret, len }, STR(""), pseudorandom);
	hash_hmac(pseudorandom, sizeof pseudorandom, info, STR("\x01"), ret_key);
	mem_wipe(pseudorandom, sizeof pseudorandom);
}

bool hash_equal(const uint8_t a[HASH_SIZE], const uint8_t b[HASH_SIZE])
{
	return CRYPTO_memcmp(a, b, HASH_SIZE) == 0;
}
