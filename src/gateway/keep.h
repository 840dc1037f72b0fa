/* gateway/keep.h: what a role keeps of its identity, in its own directory: NAME.key, NAME.crt (leaf, intermediate, root), policy; and while it enrols NAME.csr
 * and token, since a repeated request has to be the same one. */
#ifndef GATEWAY_KEEP_H
#define GATEWAY_KEEP_H
#include "crypto/certificate.h"
#include "enrol.pb.h"

struct buf;
struct host;
struct join_line;

struct keep {
	const char *directory, *name; /* "node", "manager" */
	struct key *key;
	struct certificate *leaf, *intermediate, *root;
	struct certificate_info info; /* of the leaf */
	murmesh_SignedDocument policy;
	int64_t (*now)(void); /* in seconds; NULL = the wall clock */
};
/* 1: a whole identity is there; 0: none yet (the key may be); or an error. */
int keep_load(struct keep *keep);
int keep_key(struct keep *keep); /* makes and keeps the key when it is missing */
/* Checks what a certification manager answered (chain, kind, mesh, our key, root hash if pin is not NULL, policy) and keeps it.  Where there
 * is an identity already, it has to be the same one under the same root, with the same policy or a later one. */
int keep_install(struct keep *keep, const murmesh_CertificateReply *reply, enum identity_kind kind, const uint8_t pin[HASH_SIZE]);
/* A newer policy, by the same mesh root, in place of the one that is kept.  -E_POLICY_OLD (the same, or an older one: never back), and what
 * trust_new() says. */
int keep_policy(struct keep *keep, const murmesh_SignedDocument *policy);
void keep_done(struct keep *keep);
int keep_file(const struct keep *keep, const char *name, char path[4096]);

/* ---- keep_enrol.c ---- */
/* The number of an enrolment that was begun with this join key: -ENOENT when there is none. */
int keep_token_load(const struct keep *keep, const struct id *key, murmesh_Token *ret);
int keep_token(const struct keep *keep, const struct id *key, const murmesh_Token *token);
int keep_csr(struct keep *keep, struct buf *out); /* for its key, which it makes when it is missing */
/* The request by that line and token; csr is not longer than CERTIFICATE_REQUEST_MAX. */
void keep_request(const struct join_line *line, const murmesh_Token *token, const struct host *host, murmesh_CertificateKind kind,
                  struct str csr, murmesh_CertificateRequest *ret);
#endif
