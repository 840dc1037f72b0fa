/* tunnel/pump.h: moves bytes both ways between two open streams until both directions have ended.
 *
 * A clean end of one side is passed on as a half-close; any break resets the other side, so that truncated data never looks complete.
 * Bytes pass through the loop's scratch buffer; only what the other side does not take is kept (at most IO_SCRATCH a direction, whose
 * side is not read meanwhile). */
#ifndef TUNNEL_PUMP_H
#define TUNNEL_PUMP_H
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct io_loop;
struct rate;
struct stream;
struct pump;

/* Owns both streams from here.  first: bytes that a already sent (behind a CONNECT's head), at most IO_SCRATCH.  ended: once, then free it; err 0 = both
 * directions ended cleanly.  NULL when memory is short: both streams are then freed. */
struct pump *pump_new(struct io_loop *loop, struct stream *a, struct stream *b, struct str first, void (*ended)(void *ctx, int err),
                      void *ctx);
struct pump *pump_free(struct pump *pump); /* resets what is open */
/* Reads no faster than that (tunnel/rate.h), both directions together; borrowed.  Returns 0 or -E_NO_MEMORY. */
int pump_limit(struct pump *pump, struct rate *rate);
uint64_t pump_bytes(const struct pump *pump); /* both directions */
#endif
