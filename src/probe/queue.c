#include "probe/queue.h"

#include <string.h>

#include "glouglou/glouglou.h"

#define HEAD 4

void queue_init(struct queue *queue, size_t limit, void (*dropped)(void *ctx, uint8_t module, bool keyframe, unsigned records),
                void *ctx)
{
	buf_init(&queue->bytes, QUEUE_MAX + QUEUE_MAX / 4); /* what is taken off the front is not moved at once */
	queue->limit = limit;
	queue->dropped = dropped;
	queue->ctx = ctx;
}

void queue_done(struct queue *queue)
{
	buf_done(&queue->bytes);
}

static void drop(struct queue *queue, const uint8_t *datagram, unsigned records)
{
	queue->dropped(queue->ctx, datagram[1], datagram[2] & GG_IN_KEYFRAME, records);
}

/* The oldest one; NULL when there is none. */
static const uint8_t *oldest(const struct queue *queue, uint16_t *ret_len, uint16_t *ret_records)
{
	if (!buf_len(&queue->bytes))
		return NULL;
	struct reader r = { buf_head(&queue->bytes), buf_len(&queue->bytes) };
	if (reader_be16(&r, ret_len) < 0 || reader_be16(&r, ret_records) < 0)
		return NULL;
	return r.ptr;
}

static void oldest_forget(struct queue *queue, size_t len)
{
	buf_consume(&queue->bytes, HEAD + len);
	buf_trim(&queue->bytes);
}

static void make_room(struct queue *queue, size_t wanted)
{
	uint16_t len, records;
	const uint8_t *datagram;
	while (buf_len(&queue->bytes) + wanted > queue->limit && (datagram = oldest(queue, &len, &records))) {
		drop(queue, datagram, records);
		oldest_forget(queue, len);
	}
}

void queue_limit(struct queue *queue, size_t limit)
{
	queue->limit = limit;
	make_room(queue, 0);
}

void queue_push(struct queue *queue, struct str datagram, unsigned records)
{
	uint8_t *room;
	make_room(queue, HEAD + datagram.len);
	if (buf_reserve(&queue->bytes, HEAD + datagram.len, &room) < 0)
		return drop(queue, (const uint8_t *)datagram.ptr, records);
	buf_append_be16(&queue->bytes, (uint16_t)datagram.len);
	buf_append_be16(&queue->bytes, (uint16_t)records);
	buf_append(&queue->bytes, datagram.ptr, datagram.len);
}

size_t queue_take(struct queue *queue, uint64_t *sequence, uint8_t *out, size_t size)
{
	uint16_t len, records;
	const uint8_t *datagram;
	size_t at = 0;
	while ((datagram = oldest(queue, &len, &records)) && at + 2 + len <= size) {
		out[at] = (uint8_t)(len >> 8);
		out[at + 1] = (uint8_t)len;
		memcpy(out + at + 2, datagram, len);
		gg_datagram_number(out + at + 2, ++*sequence);
		at += 2u + len;
		oldest_forget(queue, len);
	}
	return at;
}
