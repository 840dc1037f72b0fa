/* tunnel/datagrams.h: datagrams that wait, in their order; when there is no room for another, the oldest go. */
#ifndef TUNNEL_DATAGRAMS_H
#define TUNNEL_DATAGRAMS_H
#include "base/buf.h"

struct datagrams {
	struct buf bytes; /* each one behind its length */
	size_t *room;     /* bytes that all readers and queues of a leg may still hold together; borrowed */
	uint64_t lost;
};
/* max: bytes, with 2 for each datagram. */
void datagrams_init(struct datagrams *datagrams, size_t max, size_t *room);
void datagrams_done(struct datagrams *datagrams);
/* Keeps a copy.  One that finds no room although no other is left is itself lost. */
void datagrams_add(struct datagrams *datagrams, struct str datagram);
/* The oldest, good until the next call; false: there is none. */
bool datagrams_first(const struct datagrams *datagrams, struct str *ret);
void datagrams_drop_first(struct datagrams *datagrams); /* it has gone on */
#endif
