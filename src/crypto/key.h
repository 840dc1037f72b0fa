/* crypto/key.h: keys, signatures and hashes.  Keys are P-256 (ECDSA with SHA-256, signatures DER as RFC 3279 has them).
 * Functions return 0 or a negative code and write their ret_ parameter only on success. */
#ifndef CRYPTO_KEY_H
#define CRYPTO_KEY_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct buf;
struct key; /* a private key, or a public one alone */

#define HASH_SIZE         32 /* SHA-256 */
#define HASH_SHA1_SIZE    20
#define KEY_PUBLIC_MAX    128 /* SubjectPublicKeyInfo, DER (RFC 5280 section 4.1.2.7) */
#define KEY_SIGNATURE_MAX 80

struct key *key_generate(void); /* NULL when memory is short */
struct key *key_free(struct key *key);
/* PKCS #8 in PEM (RFC 7468), not encrypted: the file's mode protects it. */
int key_private_read(struct str pem, struct key **ret);
int key_private_write(const struct key *key, struct buf *out);
/* Public key as SubjectPublicKeyInfo.  Reading refuses every other curve or algorithm, and trailing bytes (-E_ENCODING). */
int key_public_write(const struct key *key, uint8_t out[KEY_PUBLIC_MAX], size_t *ret_len);
int key_public_read(const uint8_t *der, size_t len, struct key **ret);
/* Has it the one form that key_public_write() gives?  By comparison: for those who parse nothing, and pass it on. */
bool key_public_is_plain(const uint8_t *der, size_t len);
int key_public_hash(const struct key *key, uint8_t ret_hash[HASH_SIZE]); /* SHA-256 of the SubjectPublicKeyInfo */

/* Signs context || 0x00 || bytes: a signature made for one purpose never fits another.  context is a literal such as "murmesh grant 1". */
int key_sign(const struct key *key, struct str context, const void *bytes, size_t len, uint8_t out[KEY_SIGNATURE_MAX],
             size_t *ret_len);
/* 0, or -E_SIGNATURE. */
int key_verify(const struct key *key, struct str context, const void *bytes, size_t len, const uint8_t *signature,
               size_t signature_len);

/* Hashes fail only when memory is short, and then end the process. */
void hash_sha256(const void *bytes, size_t len, uint8_t ret_hash[HASH_SIZE]);
/* SHA-256 of what comes piece by piece. */
struct digest;
struct digest *digest_new(void); /* NULL when memory is short */
void digest_add(struct digest *digest, const void *bytes, size_t len);
void digest_read(const struct digest *digest, uint8_t ret_hash[HASH_SIZE]); /* of all so far */
struct digest *digest_free(struct digest *digest);
/* HMAC-SHA256 (RFC 2104) over two pieces one after the other (b may be empty). */
void hash_hmac(const uint8_t *key, size_t key_len, struct str a, struct str b, uint8_t ret_mac[HASH_SIZE]);
/* HKDF-SHA256 (RFC 5869) without salt, 32 bytes out. */
void hash_hkdf(const uint8_t *secret, size_t len, struct str info, uint8_t ret_key[HASH_SIZE]);
void hash_sha1(const void *bytes, size_t len, uint8_t ret_hash[HASH_SHA1_SIZE]); /* for RFC 6455, which proves nothing by it */
bool hash_equal(const uint8_t a[HASH_SIZE], const uint8_t b[HASH_SIZE]);         /* in constant time */

/* The contexts in use. */
#define CONTEXT_POLICY     STR("murmesh policy 1")       /* by the mesh root key */
#define CONTEXT_GRANT      STR("murmesh grant 1")        /* by the grant key */
#define CONTEXT_ORDER      STR("murmesh order 1")        /* by the grant key */
#define CONTEXT_TIME       STR("murmesh time 1")         /* by the grant key */
#define CONTEXT_MOVE       STR("murmesh move 1")         /* by the grant key */
#define CONTEXT_RELAY      STR("murmesh relay 1")        /* by the grant key */
#define CONTEXT_RELAY_KEY  STR("murmesh relay key 1")    /* by a device's own key */
#define CONTEXT_ENDED      STR("murmesh relays ended 1") /* by the grant key */
#define CONTEXT_USER_GRANT STR("murmesh user grant 1")   /* the same document, by an approver's key */
#define CONTEXT_USER_ORDER STR("murmesh user order 1")
#define CONTEXT_INVENTORY  STR("murmesh inventory 1") /* by a device's manager key */
#define CONTEXT_RESULT     STR("murmesh result 1")    /* by a device's manager key */
#define CONTEXT_RECORD     STR("murmesh record 1")    /* by a device's manager key */
#endif
