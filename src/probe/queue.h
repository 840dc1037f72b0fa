/* probe/queue.h: datagrams on their way to the server: bounded in bytes, the oldest go first. */
#ifndef PROBE_QUEUE_H
#define PROBE_QUEUE_H
#include "base/buf.h"

#define QUEUE_MAX ((size_t)1 << 20)

struct queue {
	struct buf bytes; /* of each datagram: its length and records, 16 bits each, and itself */
	size_t limit;
	/* A datagram of this module did not stay: its records are lost. */
	void (*dropped)(void *ctx, uint8_t module, bool keyframe, unsigned records);
	void *ctx;
};

void queue_init(struct queue *queue, size_t limit, void (*dropped)(void *ctx, uint8_t module, bool keyframe, unsigned records),
                void *ctx);
void queue_done(struct queue *queue);
void queue_limit(struct queue *queue, size_t limit); /* at most QUEUE_MAX */
/* A datagram without a number. */
void queue_push(struct queue *queue, struct str datagram, unsigned records);
/* Moves datagrams, each behind its length, into out, and gives them their numbers.  Returns the bytes. */
size_t queue_take(struct queue *queue, uint64_t *sequence, uint8_t *out, size_t size);
#endif
