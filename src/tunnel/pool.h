/* tunnel/pool.h: legs to one target that are kept ready, their handshake done and their CONNECT not sent, for the connections of one map.
 *
 * One at least, more (up to POOL_LEGS_MAX) when connections came faster than legs could be made; made one by one, while nothing is being opened and
 * the loop has had nothing else to do for a moment (or has been busy for long); none is kept for longer than POOL_UNUSED_MS, and none is made any more
 * when the pool was not used for so long, or one has ended unused, until the next connection.  A leg serves one connection.
 *
 * A connection whose ready leg turns out to be of no use (it has ended, its grant does not count any more) gets one fresh leg, without a word.  When
 * nobody knows what became of the first CONNECT, the second one has the same id: an agent that knows ids opens it once (tunnel/once.h); with an agent
 * that has not said so only a CONNECT without a byte behind it is sent twice. */
#ifndef TUNNEL_POOL_H
#define TUNNEL_POOL_H
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct io_loop;
struct stream;
struct pool;
struct pool_leg;
struct pool_use;

#define POOL_LEGS_MAX  16
#define POOL_TOTAL_MAX 64 /* of all pools with the same pool_total */
#define POOL_UNUSED_MS 300000

/* Zeroed at first; outlives its pools. */
struct pool_total {
	size_t legs;              /* ready, or being made to be */
	uint64_t making_until_ms; /* by the loop's time: one of them; later it does not hold others up any more */
};

struct pool_settings {
	struct pool_total *total;
	uint64_t unused_ms; /* 0 = POOL_UNUSED_MS */
	/* Opens a leg to the target, up to its CONNECT, whose head (tunnel/connect.h) goes into pool_leg_head(); answers by pool_leg_open(). */
	void (*open)(void *ctx, struct pool_leg *leg);
	void *ctx;
};
struct pool *pool_new(struct io_loop *loop, const struct pool_settings *settings);
/* What is being opened ends with -E_CANCELLED. */
struct pool *pool_free(struct pool *pool);
size_t pool_ready(const struct pool *pool);

struct buf *pool_leg_head(struct pool_leg *leg);
/* The answer to `open`: an open leg (taken over), or NULL with the reason.  Exactly once; also from inside `open`, and after the pool was freed. */
void pool_leg_open(struct pool_leg *leg, struct stream *stream, int err, const char *details);

struct pool_events {
	/* What the client has sent until now, from its first byte on: goes to the target at once. */
	struct str (*early)(void *ctx);
	/* stream: the target is connected, the first `sent` of the early bytes are on their way to it; the owner's from here.  Else NULL with the reason,
	 * as in tunnel/connect.h.  Exactly once, maybe from inside pool_connect(). */
	void (*opened)(void *ctx, struct stream *stream, size_t sent, int err, const char *details);
};
/* events are kept by reference.  The use is for pool_more(), until `opened`; NULL: it has come already. */
struct pool_use *pool_connect(struct pool *pool, const struct pool_events *events, void *ctx);
void pool_more(struct pool_use *use); /* early() has grown */
#endif
