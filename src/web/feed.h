/* web/feed.h: changes on their way to one browser: the latest of each thing, in the order in which they have to arrive.
 *
 * A change that overtakes one of the same thing that was not sent yet takes its place, so that what waits for a slow browser is bounded by
 * the number of things.  What was sent is kept for a while: a browser that comes back says what it has seen last. */
#ifndef WEB_FEED_H
#define WEB_FEED_H
#include "base/buf.h"
#include "base/str.h"

#define FEED_KEPT       1000 /* sent changes */
#define FEED_KEPT_BYTES ((size_t)256 << 10)
#define FEED_KEY_MAX    200

struct feed;
struct feed *feed_new(void); /* NULL when memory is short */
struct feed *feed_free(struct feed *feed);
/* Forgets everything; numbers go on. */
void feed_clear(struct feed *feed);

/* key: of the thing, at most FEED_KEY_MAX bytes.  last: a change that waits is not replaced in its place, but at the end: for rows of which only
 * the newest count.  Returns 0, 1 when a waiting change was replaced, -E_NO_MEMORY, -E_FULL. */
int feed_push(struct feed *feed, struct str key, bool last, struct str json);
size_t feed_waiting(const struct feed *feed); /* bytes that were not sent */
/* Appends waiting changes, with commas between, as far as max bytes hold them (at least one); they are sent now.  *ret_last: the number of
 * the last of them.  0, -E_NO_MEMORY. */
int feed_take(struct feed *feed, size_t max, struct buf *out, uint64_t *ret_last);
/* What came after that number waits again.  -E_NOT_FOUND: it is not known any more, or was never sent. */
int feed_resume(struct feed *feed, uint64_t since);
#endif
