/* ca/approvals.h: machines that wait for somebody to approve them, as the server's database keeps them.
 *
 * A machine that comes with a join key made to approve (ca/records.h) has its enrolment completed, which uses the key once and gives it its id;
 * its certificate is issued, and the device exists, only when its row here says `approved`.
 * All functions run inside a job (store/store.h) and return the store's errors besides those named.  Times are seconds since 1970 UTC. */
#ifndef CA_APPROVALS_H
#define CA_APPROVALS_H
#include "ca/records.h"

#define CA_APPROVALS_WAITING 10000 /* of all keys together */

enum approval_state { APPROVAL_WAITING, APPROVAL_APPROVED, APPROVAL_REJECTED };

struct approval {
	struct id device;
	struct id token; /* of the enrolment */
	char name[64];
	int64_t number; /* behind the name */
	char group[CA_GROUP_SIZE];
	char os[128], arch[32], version[32]; /* what the machine says of itself */
	uint8_t key_hash[HASH_SIZE];         /* SHA-256 of its SubjectPublicKeyInfo: the fingerprint that it shows */
	char address[64];                    /* that it asked from; "" = not known */
	int64_t asked;
	enum approval_state state;
};

int ca_approval_add(struct store_tx *tx, const struct approval *approval);               /* -E_EXISTS; -E_LIMIT */
int ca_approval_get(struct store_tx *tx, const struct id *device, struct approval *ret); /* -E_NOT_FOUND */
/* Those that wait, oldest first.  A negative answer ends the walk and is its result. */
int ca_approval_each(struct store_tx *tx, int (*each)(void *ctx, const struct approval *approval), void *ctx);
/* Of one that waits: -E_NOT_FOUND. */
int ca_approval_decide(struct store_tx *tx, const struct id *device, enum approval_state state);
/* Forgets those whose enrolment is forgotten. */
int ca_approval_prune(struct store_tx *tx);
#endif
