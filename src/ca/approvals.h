/* ca/approvals.h: what waits for somebody to approve it, as the server's database keeps it.
 *
 * A machine that comes with a join key made to approve (ca/records.h) has its enrolment completed, which uses the key once and gives it its id;
 * its certificate is issued, and the device exists, only when its row here says `approved`.  One whose certificate expired longer ago than
 * CA_RENEWAL_SECONDS waits for its renewal, and one that is frozen (ca/continuity.h) for what becomes of the copy.
 * All functions run inside a job (store/store.h) and return the store's errors besides those named.  Times are seconds since 1970 UTC. */
#ifndef CA_APPROVALS_H
#define CA_APPROVALS_H
#include "ca/records.h"

#define CA_APPROVALS_WAITING 10000 /* of all keys together */

#define CA_APPROVAL_SECONDS ((int64_t)30 * 86400) /* of a renewal or copy: then it asks again */

enum approval_state { APPROVAL_WAITING, APPROVAL_APPROVED, APPROVAL_REJECTED };
enum approval_kind { APPROVAL_NEW, APPROVAL_RENEWAL, APPROVAL_COPY };
const char *ca_approval_kind_name(enum approval_kind kind); /* "new", "renewal", "copy" */

struct approval {
	struct id device;
	enum approval_kind kind;
	struct id token; /* of the enrolment of a new one */
	char name[64];
	int64_t number; /* behind the name */
	char group[CA_GROUP_SIZE];
	char os[128], arch[32], version[32]; /* what the machine says of itself */
	uint8_t key_hash[HASH_SIZE];         /* SHA-256 of its SubjectPublicKeyInfo: the fingerprint that it shows */
	char address[64];                    /* that it asked from; "" = not known */
	unsigned components; /* of a new one: it will be a component with these roles (ca/components.h); 0 = a device */
	char reach[128];     /* of a component: host:port where others will find it */
	int64_t asked;
	enum approval_state state;
};

/* Instead of an older one of the kind, except of a new machine: -E_EXISTS; -E_LIMIT. */
int ca_approval_add(struct store_tx *tx, const struct approval *approval);
int ca_approval_get(struct store_tx *tx, const struct id *device, enum approval_kind kind, struct approval *ret); /* -E_NOT_FOUND */
/* Those that wait, oldest first.  A negative answer ends the walk and is its result. */
int ca_approval_each(struct store_tx *tx, int (*each)(void *ctx, const struct approval *approval), void *ctx);
/* Of one that waits: -E_NOT_FOUND. */
int ca_approval_decide(struct store_tx *tx, const struct id *device, enum approval_kind kind, enum approval_state state);
int ca_approval_forget(struct store_tx *tx, const struct id *device, enum approval_kind kind);
/* Forgets new ones whose enrolment is forgotten, and others that are too old. */
int ca_approval_prune(struct store_tx *tx, int64_t now);
#endif
