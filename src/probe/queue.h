/* probe/queue.h: datagrams on their way to the server: bounded in bytes, the oldest go first. */
#ifndef PROBE_QUEUE_H
#define PROBE_QUEUE_H
#include "base/list.h"
#include "base/str.h"

struct queue {
	struct list items;
	size_t bytes, max;
	/* A datagram of this module did not stay: its records are lost. */
	void (*dropped)(void *ctx, uint8_t module, bool keyframe, unsigned records);
	void *ctx;
};

void queue_init(struct queue *queue, size_t max, void (*dropped)(void *ctx, uint8_t module, bool keyframe, unsigned records),
                void *ctx);
void queue_done(struct queue *queue);
void queue_limit(struct queue *queue, size_t max);
/* A datagram without a number.  first: in front of all others, and kept. */
void queue_push(struct queue *queue, struct str datagram, unsigned records, bool first);
/* Moves datagrams, each behind its length, into out, and gives them their numbers.  Returns the bytes. */
size_t queue_take(struct queue *queue, uint64_t *sequence, uint8_t *out, size_t size);
#endif
