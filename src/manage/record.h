/* manage/record.h: what this device was ordered to do, as a chain of hashes (audit/audit.h) in the agent's database, each entry signed with the
 * manager key: nobody without that key changes one, or writes one, that is believed later.
 *
 * The signature is over the mesh's id, the device's id (16 bytes each), the number of the entry (8 bytes, big-endian) and its hash.  The oldest entries
 * go when there are more than RECORD_ENTRIES_MAX; removing the newest shows only to who keeps an older head.  All functions but record_signer_of()
 * run inside a job (store/store.h) and return the store's errors besides those named. */
#ifndef MANAGE_RECORD_H
#define MANAGE_RECORD_H
#include "audit/audit.h"
#include "crypto/certificate.h"
#include "fleet.pb.h"

struct store_tx;

#define RECORD_ENTRIES_MAX 50000
#define RECORD_PRUNED      1000 /* entries that go at once, behind that */

struct record_signer {
	const struct key *key; /* to verify: the public one */
	struct identity self;
};

/* An order was taken: whose, and the SHA-256 of its arguments, each with its NUL.  what: "command started", ... */
int record_order(struct store_tx *tx, const struct record_signer *signer, int64_t now, const char *what,
                 const murmesh_Order *order);
/* It has ended. */
int record_end(struct store_tx *tx, const struct record_signer *signer, int64_t now, const char *what, const struct id *nonce,
               int exit_code);
/* Anything else. */
int record_append(struct store_tx *tx, const struct record_signer *signer, int64_t now, const struct audit_event *event);

/* The next `entries` behind *at (zeros: from the oldest on).  1: there are more; 0: all is good, *at is the head; -E_AUDIT_CHAIN: at->seq was changed
 * or is missing; -E_SIGNATURE: this device's manager has not signed it. */
int record_verify(struct store_tx *tx, const struct record_signer *signer, struct audit_head *at, unsigned entries);
#endif
