/* portmap/door.h: one client of a dynamic map, until it is known where it wants to go and whether it can.
 *
 * A client has 10 s for its greeting and request, of which no more than SOCKS_MESSAGE_MAX bytes are kept, and 2 s to take a refusal. */
#ifndef PORTMAP_DOOR_H
#define PORTMAP_DOOR_H
#include "base/buf.h"
#include "portmap/socks.h"

struct io_loop;
struct stream;
struct door;

/* Both come from the loop only. */
struct door_events {
	void (*asked)(void *ctx, const struct socks_request *request); /* once; answer by door_open() or door_refuse() */
	/* It is over, free it.  err: 0 after door_refuse(); -E_SOCKS: it spoke something else, -E_TIMEOUT, -E_CLOSED, or why it broke. */
	void (*ended)(void *ctx, int err);
};

/* Owns the stream from here, an open one; also on failure: NULL, memory is short. */
struct door *door_new(struct io_loop *loop, struct stream *stream, const struct door_events *events, void *ctx);
struct door *door_free(struct door *door);
/* Says that the connection is made, and gives the stream back; *ret_first: what the client sent behind its request, good until door_free().  NULL: it
 * is gone. */
struct stream *door_open(struct door *door, struct str *ret_first);
/* Says why not; `ended` comes when the client has taken it. */
void door_refuse(struct door *door, int err);
#endif
