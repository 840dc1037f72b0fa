/* tunnel/once.h: ids of connections that were opened lately, so that one which its user tries again is not opened twice.
 *
 * An id counts for ONCE_MS.  Pure: the caller has the clock.  At most ONCE_MAX ids; then none is taken until the oldest has had its time. */
#ifndef TUNNEL_ONCE_H
#define TUNNEL_ONCE_H
#include <stdint.h>

#include "base/id.h"

#define ONCE_MS  60000
#define ONCE_MAX 16384

struct once;
struct once *once_new(const uint8_t seed[16]); /* seed: random */
struct once *once_free(struct once *once);
/* May it be opened?  Returns 0 and knows it from then on; -E_OPEN_ID_SEEN: it was opened; -E_BUSY; -E_NO_MEMORY.  now_ms: monotonic. */
int once_take(struct once *once, const struct id *id, uint64_t now_ms);
#endif
