/* ca/authority.h: the keys and certificates of a mesh's certification manager, in one directory:
 * root.key root.crt (the mesh root, may be taken away once the rest exists), intermediate.key intermediate.crt (online),
 * grant.key (signs grants and orders in mode "server"), policy (signed by the root). */
#ifndef CA_AUTHORITY_H
#define CA_AUTHORITY_H
#include "crypto/certificate.h"
#include "enrol.pb.h"

struct authority;

#define AUTHORITY_LEAF_S (7 * 86400)
#define AUTHORITY_USER_S (12 * 3600)

/* Reads the directory; makes what is missing at the first start (*ret_created is then true).  A damaged file, or one that
 * does not belong to the others, is an error, never made anew. */
int authority_open(const char *directory, struct authority **ret, bool *ret_created);
struct authority *authority_free(struct authority *authority);

const struct id *authority_mesh(const struct authority *authority);
const struct certificate *authority_root(const struct authority *authority);
const struct certificate *authority_intermediate(const struct authority *authority);
/* Intermediates before this one whose leaves may still be shown (folder.h). */
size_t authority_formers(const struct authority *authority, const struct certificate *const **ret);
const murmesh_SignedDocument *authority_policy(const struct authority *authority);

/* A leaf by the intermediate for a bare public key (SubjectPublicKeyInfo).  Who asks decides for whom, but not for how long: -E_DENIED for more than
 * AUTHORITY_USER_S or AUTHORITY_LEAF_S from now, or a start more than an hour ago. */
int authority_issue(const struct authority *authority, const struct certificate_order *order, const uint8_t *key, size_t key_len,
                    struct certificate **ret);

/* Signs a grant, an order or the time by the grant key. */
enum authority_purpose {
	AUTHORITY_GRANT = 1,
	AUTHORITY_ORDER = 2,
	AUTHORITY_TIME = 3,
	AUTHORITY_MOVE = 4,
	AUTHORITY_RELAY = 5,
	AUTHORITY_RELAYS_ENDED = 6
};
int authority_sign(const struct authority *authority, enum authority_purpose purpose, const void *bytes, size_t len,
                   uint8_t out[KEY_SIGNATURE_MAX], size_t *ret_len);
#endif
