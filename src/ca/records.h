/* ca/records.h: join keys, enrolments and certificates as the server's database keeps them.
 *
 * All functions run inside a job (store/store.h) and return the store's errors besides those named.  Times are seconds since 1970 UTC. */
#ifndef CA_RECORDS_H
#define CA_RECORDS_H
#include <stdbool.h>
#include <stdint.h>

#include "base/id.h"
#include "base/str.h"
#include "crypto/certificate.h"
#include "crypto/key.h"
#include "os/network.h"

struct store_tx;

/* Join keys */

#define CA_USES_MAX   100000
#define CA_GROUP_SIZE 64 /* with the NUL */

struct join_key {
	struct id id;
	uint8_t secret_key[HASH_SIZE]; /* join_secret_key() of the secret, which itself is not kept */
	int64_t created, expires;
	int64_t uses_left; /* 1 to CA_USES_MAX when added */
	char group[CA_GROUP_SIZE];
	struct id created_by;              /* user, or device: for a copy of it */
	char network[NETWORK_RANGES_SIZE]; /* ranges that it works from (os/network.h); "" = everywhere */
	bool approve;                      /* who comes with it waits until somebody approves (ca/approvals.h) */
	unsigned components; /* bits (ca/components.h): it is for a component with these roles, not for a device; else 0 */
};

int ca_join_key_add(struct store_tx *tx, const struct join_key *key); /* -E_EXISTS, -E_LIMIT */
/* Whatever its state (its secret still proves a repeated request).  -E_KEY_UNKNOWN. */
int ca_join_key_get(struct store_tx *tx, const struct id *id, struct join_key *ret);
/* A key that can be used now: -E_KEY_UNKNOWN, -E_KEY_EXPIRED (from the second `expires` on), -E_KEY_USED. */
int ca_join_key_find(struct store_tx *tx, const struct id *id, int64_t now, struct join_key *ret);
/* Uses it once; errors as above. */
int ca_join_key_use(struct store_tx *tx, const struct id *id, int64_t now);
/* How many this user or device made since then. */
int ca_join_key_count(struct store_tx *tx, const struct id *created_by, int64_t since, int64_t *ret_count);
/* Oldest first, used up and expired ones too.  A negative answer ends the walk and is its result. */
int ca_join_key_list(struct store_tx *tx, int (*each)(void *ctx, const struct join_key *key), void *ctx);
/* Forgets keys, with their enrolments, that expired a week ago, and enrolments that did not go on for an hour. */
int ca_join_prune(struct store_tx *tx, int64_t now);

/* Enrolments: RequestToken makes one, RequestCertificate completes it. */

#define CA_ENROLMENT_SECONDS  3600
#define CA_ENROLMENTS_PENDING 10000 /* of one key */

struct enrolment {
	struct id token; /* random; goes into the proof */
	struct id key;
	char name[64];
	int64_t number; /* behind the computer's name */
	int64_t created;
	struct id device; /* once complete */
};

/* ret->token is made here.  Checks the key but does not use it: -E_KEY_..., -E_NAME, -E_LIMIT. */
int ca_enrolment_begin(struct store_tx *tx, const struct id *key, struct str name, int64_t number, int64_t now,
                       struct enrolment *ret);
/* The enrolment of a token, for checking the proof before it is completed.  -E_NOT_FOUND. */
int ca_enrolment_get(struct store_tx *tx, const struct id *token, struct enrolment *ret);
/* Completes it: uses the key once and gives the device its id.  When the same request (CSR hash) under the same key was completed before,
 * with this token or an earlier one, because the answer was lost: the same device and name again, no further use, *ret_again true, also when
 * the key has no uses left; whether the device was retired since is the caller's to ask.
 * -E_NOT_FOUND (token unknown or older than CA_ENROLMENT_SECONDS), -E_EXISTS (completed for another CSR), -E_KEY_... */
int ca_enrolment_complete(struct store_tx *tx, const struct id *token, const uint8_t csr_hash[HASH_SIZE], const struct id *device,
                          int64_t now, struct enrolment *ret, bool *ret_again);

/* Certificates */

struct certificate_record {
	uint8_t serial[CERTIFICATE_SERIAL_SIZE];
	enum identity_kind kind;
	struct id subject;
	uint8_t key_hash[HASH_SIZE];
	int64_t not_before, not_after;
};

int ca_certificate_add(struct store_tx *tx,
                       const struct certificate_record *record); /* -E_EXISTS; -E_REVOKED when its key was revoked */
/* Whether one of that kind was given to the subject for another key than this. */
int ca_certificate_has_other_key(struct store_tx *tx, const struct certificate_record *record, bool *ret_other);
/* Whether one of that kind was given to the subject for this key, whose certificates are not revoked; whatever its time. */
int ca_certificate_has_key(struct store_tx *tx, const struct certificate_record *record, bool *ret_has);
/* How many of the subject and kind begin after that time. */
int ca_certificate_count(struct store_tx *tx, const struct id *subject, enum identity_kind kind, int64_t after, int64_t *ret_count);
/* All certificates of a device or user that are not yet revoked.  -E_NOT_FOUND when there is none. */
int ca_certificate_revoke(struct store_tx *tx, const struct id *subject, int64_t now);
/* Those of one kind alone. */
int ca_certificate_revoke_kind(struct store_tx *tx, const struct id *subject, enum identity_kind kind, int64_t now);
/* When the last of its certificates of that kind that is not revoked expires; 0 = there is none. */
int ca_certificate_expires(struct store_tx *tx, const struct id *subject, enum identity_kind kind, int64_t *ret_expires);
/* The key hashes of revoked certificates that would still be good, of those revoked at or after that time. */
int ca_certificate_each_revoked(struct store_tx *tx, int64_t since, int64_t now,
                                int (*each)(void *ctx, enum identity_kind kind, const uint8_t key_hash[HASH_SIZE]), void *ctx);
/* Whether this certificate, or any with the same key, was revoked. */
int ca_certificate_is_revoked(struct store_tx *tx, const uint8_t serial[CERTIFICATE_SERIAL_SIZE], const uint8_t key_hash[HASH_SIZE],
                              bool *ret_revoked);
/* Forgets certificates that are of no use any more: of machines when expired for 90 days, but the last of each kind, which says what its key is;
 * of users and components when expired.  Revoked ones stay: their keys never come back. */
#define CA_RENEWAL_SECONDS ((int64_t)90 * 86400)
int ca_certificate_prune(struct store_tx *tx, int64_t now);
#endif
