/* route/seen.h: which envelopes came before: the newest `max`, by id and destination.  Where an envelope comes again after so many others, it is
 * taken for new. */
#ifndef ROUTE_SEEN_H
#define ROUTE_SEEN_H
#include "base/id.h"

struct seen_key {
	struct id id, destination;
};
struct seen_entry {
	struct seen_key key;
	uint64_t order;
	uint64_t segment; /* of the spool: in this one or a later one it stands */
};

struct seen;
struct seen *seen_new(const uint8_t seed[16], size_t max); /* NULL: memory is short */
struct seen *seen_free(struct seen *seen);
bool seen_has(const struct seen *seen, const struct seen_key *key);
/* Each has an order of its own, the next one that of the one before and one more; they may be added in any order (that of the log is another after
 * moves), and the newest stay.  One that is there gets the segment. */
void seen_add(struct seen *seen, const struct seen_entry *entry);
void seen_remove(struct seen *seen, const struct seen_key *key);
/* The next one whose segment is at most this; *at is 0 at first; NULL at the end. */
struct seen_entry *seen_next(struct seen *seen, size_t *at, uint64_t segment);
#endif
