#include "probe/queue.h"

#include <string.h>

#include "base/mem.h"
#include "glouglou/glouglou.h"

struct item {
	struct list node;
	uint16_t len, records;
	uint8_t bytes[];
};

void queue_init(struct queue *queue, size_t max, void (*dropped)(void *ctx, uint8_t module, bool keyframe, unsigned records),
                void *ctx)
{
	list_init(&queue->items);
	queue->bytes = 0;
	queue->max = max;
	queue->dropped = dropped;
	queue->ctx = ctx;
}

static void item_free(struct queue *queue, struct item *item)
{
	list_remove(&item->node);
	queue->bytes -= sizeof *item + item->len;
	mem_free(item);
}

void queue_done(struct queue *queue)
{
	LIST_EACH(at, &queue->items)
		item_free(queue, LIST_ENTRY(at, struct item, node));
}

static void drop(struct queue *queue, const uint8_t *datagram, unsigned records)
{
	queue->dropped(queue->ctx, datagram[1], datagram[2] & GG_IN_KEYFRAME, records);
}

void queue_limit(struct queue *queue, size_t max)
{
	queue->max = max;
	while (queue->bytes > max) {
		struct item *oldest = LIST_ENTRY(queue->items.next, struct item, node);
		drop(queue, oldest->bytes, oldest->records);
		item_free(queue, oldest);
	}
}

void queue_push(struct queue *queue, struct str datagram, unsigned records, bool first)
{
	struct item *item = mem_alloc(sizeof *item + datagram.len);
	if (!item)
		return drop(queue, (const uint8_t *)datagram.ptr, records);
	item->len = (uint16_t)datagram.len;
	item->records = (uint16_t)records;
	memcpy(item->bytes, datagram.ptr, datagram.len);
	list_append(first ? queue->items.next : &queue->items, &item->node);
	queue->bytes += sizeof *item + item->len;
	queue_limit(queue, first ? queue->bytes : queue->max);
}

size_t queue_take(struct queue *queue, uint64_t *sequence, uint8_t *out, size_t size)
{
	size_t len = 0;
	LIST_EACH(at, &queue->items) {
		struct item *item = LIST_ENTRY(at, struct item, node);
		if (len + 2 + item->len > size)
			break;
		gg_datagram_number(item->bytes, ++*sequence);
		out[len] = (uint8_t)(item->len >> 8);
		out[len + 1] = (uint8_t)item->len;
		memcpy(out + len + 2, item->bytes, item->len);
		len += 2u + item->len;
		item_free(queue, item);
	}
	return len;
}
