/* crypto/certificate.h: X.509 certificates (RFC 5280) of a mesh: one root, one online intermediate, leaves of four kinds.
 *
 * Identity: exactly one URI in the subject alternative names, `murmesh://<mesh id>/<kind>/<id>`; DNS and IP names may stand beside it
 * for stock clients and never identify; the common name is for people.  A second URI, none, or an odd one is refused. */
#ifndef CRYPTO_CERTIFICATE_H
#define CRYPTO_CERTIFICATE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/id.h"
#include "base/str.h"
#include "crypto/key.h"

struct buf;

/* relay: a node that other agents link to; users never take it for the server. */
enum identity_kind { IDENTITY_NODE, IDENTITY_MANAGER, IDENTITY_USER, IDENTITY_COMPONENT, IDENTITY_RELAY };
struct identity {
	struct id mesh;
	enum identity_kind kind;
	struct id id;
};
#define IDENTITY_TEXT_SIZE 96
const char *identity_kind_name(enum identity_kind kind); /* "node" ... */
void identity_format(const struct identity *identity, char text[IDENTITY_TEXT_SIZE]);
int identity_parse(struct str uri, struct identity *ret); /* exact form only; -E_CERTIFICATE_IDENTITY */
bool identity_equal(const struct identity *a, const struct identity *b);

struct certificate;          /* immutable */
#define CERTIFICATE_MAX 4096 /* bytes of one in DER */
struct certificate *certificate_free(struct certificate *certificate);
/* DER; refuses trailing bytes, any other encoding (-E_ENCODING) and more than CERTIFICATE_MAX (-E_TOO_LONG). */
int certificate_read(const uint8_t *der, size_t len, struct certificate **ret);
int certificate_write(const struct certificate *certificate, struct buf *out);
int certificate_put(const struct certificate *certificate, uint8_t *out, size_t size,
                    uint16_t *ret_len); /* the same into an array; -E_TOO_LONG */
/* PEM files: the certificates one after the other; returns their number.  -E_ENCODING when there is none or something else beside them,
 * -E_TOO_LONG when there are more than max. */
int certificate_read_pem(struct str pem, struct certificate **ret, size_t max);
int certificate_write_pem(const struct certificate *certificate, struct buf *out);

#define CERTIFICATE_SERIAL_SIZE 20
#define CERTIFICATE_NAME_SIZE   65
struct certificate_info {
	bool has_identity; /* false for root and intermediate */
	struct identity identity;
	uint8_t serial[CERTIFICATE_SERIAL_SIZE]; /* big-endian, right-aligned */
	int64_t not_before, not_after;           /* seconds since 1970 */
	uint8_t key_hash[HASH_SIZE];
	char common_name[CERTIFICATE_NAME_SIZE]; /* cleaned for people (base/utf8.h) */
};
/* -E_CERTIFICATE, or -E_CERTIFICATE_IDENTITY of a leaf. */
int certificate_inspect(const struct certificate *certificate, struct certificate_info *ret);
struct key *
certificate_key(const struct certificate *certificate); /* a new public key; NULL when it is not P-256; the caller frees it */

/* PKCS #10 (RFC 2986).  Reading checks the signature and takes only the public key: whatever else is asked for is ignored.
 * -E_TOO_LONG, -E_ENCODING (also another kind of key), -E_SIGNATURE. */
#define CERTIFICATE_REQUEST_MAX 2048
int certificate_request_write(const struct key *key, struct buf *out);
int certificate_request_read(const uint8_t *der, size_t len, uint8_t ret_public[KEY_PUBLIC_MAX], size_t *ret_len);

enum certificate_profile { CERTIFICATE_ROOT, CERTIFICATE_INTERMEDIATE, CERTIFICATE_LEAF };
/* Of TLS, for leaves that are not to have what their kind has. */
enum certificate_usage { CERTIFICATE_BY_KIND, CERTIFICATE_CLIENT, CERTIFICATE_SERVER };
struct certificate_order {
	enum certificate_profile profile;
	struct identity identity; /* leaf */
	struct str common_name;   /* at most 64 bytes of UTF-8; needed by root and intermediate */
	const struct str *names;  /* leaf: DNS names and IP literals for stock clients; each checked, else -E_NAME */
	size_t n_names;           /* at most 16 */
	int64_t not_before, not_after;
	enum certificate_usage usage;
};
/* Usage of leaves by kind: node and component: TLS server and client; manager: client (signing); user: client.  Root: path length 1, intermediate: 0.
 * issuer is NULL for the root (self-signed).  -E_INTERNAL when issuer is none or issuer_key is not its key. */
int certificate_issue(const struct certificate_order *order, const struct key *subject, const struct certificate *issuer,
                      const struct key *issuer_key, struct certificate **ret);

#define CERTIFICATE_ANY_TIME INT64_MIN
/* Does leaf chain to root through intermediate at that moment (CERTIFICATE_ANY_TIME: whether or not all are in force), is it of one of these kinds,
 * of that mesh?
 * intermediate NULL: the root issued it.  kinds: bits 1 << enum identity_kind.  0, -E_CERTIFICATE, _EXPIRED, _FOREIGN, _IDENTITY, _USAGE. */
int certificate_verify(const struct certificate *leaf, const struct certificate *intermediate, const struct certificate *root,
                       const struct id *mesh, unsigned kinds, int64_t now, struct identity *ret);
/* Is it an intermediate by that root?  Whatever its time.  -E_CERTIFICATE. */
int certificate_check_intermediate(const struct certificate *intermediate, const struct certificate *root);
#endif
