/* audit/audit.h: what happened, in a chain that shows every later change.
 *
 * The hash of an entry is SHA-256 over, in this order:
 *   "murmesh audit 1", one zero byte
 *   sequence number and time, 8 bytes each, big-endian (seconds since 1970 UTC, two's complement)
 *   actor, action, object, detail: each its length in 4 bytes, big-endian, then its bytes
 *   the hash of the entry before it, 32 bytes; zeros for the first
 * Sequence numbers are 1, 2, 3, ... without gaps.  Removing the newest entries leaves a shorter chain that is still good: whoever keeps an
 * older head (number and hash) finds that out by comparing.
 *
 * All functions run inside a job (store/store.h) and return the store's errors besides those named. */
#ifndef AUDIT_AUDIT_H
#define AUDIT_AUDIT_H
#include <stdint.h>

#include "base/str.h"
#include "crypto/key.h"

struct store_tx;

/* Sizes with the NUL. */
#define AUDIT_ACTOR_SIZE  128
#define AUDIT_ACTION_SIZE 64
#define AUDIT_OBJECT_SIZE 256
#define AUDIT_DETAIL_SIZE 1024
#define AUDIT_LIST_MAX    10000

struct audit_entry {
	int64_t seq, time;
	char actor[AUDIT_ACTOR_SIZE], action[AUDIT_ACTION_SIZE], object[AUDIT_OBJECT_SIZE], detail[AUDIT_DETAIL_SIZE];
	uint8_t previous_hash[HASH_SIZE], hash[HASH_SIZE];
};

struct audit_event {
	struct str actor, action, object, detail; /* cleaned (base/utf8.h) and cut when kept */
};
int audit_append(struct store_tx *tx, int64_t now, const struct audit_event *event);

/* Newest first, at most limit (and AUDIT_LIST_MAX): those with a number below before (0 = all) that have the text (of ASCII in any letter
 * case) in actor, action, object or detail.  A negative answer ends the walk and is its result. */
int audit_list(struct store_tx *tx, int64_t before, struct str text, unsigned limit,
               int (*each)(void *ctx, const struct audit_entry *entry), void *ctx);

struct audit_head {
	int64_t seq;
	uint8_t hash[HASH_SIZE];
};
int audit_head(struct store_tx *tx, struct audit_head *ret); /* the newest; zeros when there is none */

/* Walks the chain from *at (zeros: its start) for at most `entries` and moves *at to the last good one.  1: there are more; 0: the end is
 * reached and *at is the head; -E_AUDIT_CHAIN: at->seq is the first number whose entry was changed or is missing. */
int audit_verify(struct store_tx *tx, struct audit_head *at, unsigned entries);
#endif
