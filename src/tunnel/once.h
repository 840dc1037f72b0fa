/* tunnel/once.h: ids of connections that were opened lately, so that one which its user tries again is not opened twice.
 *
 * An id counts for ONCE_MS.  Pure: the caller has the clock.  At most ONCE_MAX ids; then the oldest is forgotten, and nothing is opened again until
 * those that were forgotten early would have had their time. */
#ifndef TUNNEL_ONCE_H
#define TUNNEL_ONCE_H
#include <stdbool.h>
#include <stdint.h>

#include "base/id.h"

#define ONCE_MS  60000
#define ONCE_MAX 16384

struct once;
struct once *once_new(const uint8_t seed[16]); /* seed: random */
struct once *once_free(struct once *once);
/* May it be opened?  again: its user does not know whether it was.  Returns 0 and knows it from then on; -E_OPEN_ID_SEEN: it was opened, or may have
 * been; -E_NO_MEMORY.  now_ms: monotonic. */
int once_take(struct once *once, const struct id *id, bool again, uint64_t now_ms);
#endif
