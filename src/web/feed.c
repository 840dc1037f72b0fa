#include "web/feed.h"

#include "base/err.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "os/random.h"

#define THINGS_MAX 200000

struct change {
	struct list node;
	uint64_t number;
	struct str json;
	uint8_t key_len;
	char bytes[]; /* the key, then the JSON */
};

struct feed {
	struct map *by_key;
	struct list sent, waiting; /* by number */
	size_t n_sent, sent_bytes, waiting_bytes;
	uint64_t last;      /* number given */
	uint64_t forgotten; /* the highest number of those that were sent and are not kept */
	uint64_t reached;   /* the highest number sent */
};

struct feed *feed_new(void)
{
	uint8_t seed[16];
	struct feed *feed = mem_alloc(sizeof *feed);
	if (!feed)
		return NULL;
	random_bytes(seed, sizeof seed);
	list_init(&feed->sent);
	list_init(&feed->waiting);
	feed->by_key = map_new(seed, THINGS_MAX);
	return feed->by_key ? feed : feed_free(feed);
}

/* Not from the map. */
static void change_free(struct feed *feed, struct change *change, bool sent)
{
	list_remove(&change->node);
	*(sent ? &feed->sent_bytes : &feed->waiting_bytes) -= change->json.len;
	feed->n_sent -= sent;
	mem_free(change);
}

static void change_forget(struct feed *feed, struct change *change, bool sent)
{
	map_remove(feed->by_key, change->bytes, change->key_len);
	change_free(feed, change, sent);
}

void feed_clear(struct feed *feed)
{
	LIST_EACH(at, &feed->sent)
		change_forget(feed, LIST_ENTRY(at, struct change, node), true);
	LIST_EACH(at, &feed->waiting)
		change_forget(feed, LIST_ENTRY(at, struct change, node), false);
	feed->forgotten = feed->reached = feed->last;
}

struct feed *feed_free(struct feed *feed)
{
	if (!feed)
		return NULL;
	if (feed->by_key)
		feed_clear(feed);
	map_free(feed->by_key);
	return mem_free(feed);
}

static struct change *change_new(struct str key, struct str json)
{
	struct change *change = mem_alloc(sizeof *change + key.len + json.len);
	if (!change)
		return NULL;
	list_init(&change->node);
	change->key_len = (uint8_t)key.len;
	memcpy(change->bytes, key.ptr, key.len);
	memcpy(change->bytes + key.len, json.ptr, json.len);
	change->json = (struct str){ change->bytes + key.len, json.len };
	return change;
}

int feed_push(struct feed *feed, struct str key, bool last, struct str json)
{
	struct change *old = map_get(feed->by_key, key.ptr, key.len), *change = change_new(key, json);
	bool waits = old && old->number > feed->reached;
	int err = !change ? -E_NO_MEMORY : key.len > FEED_KEY_MAX ? -E_TOO_LONG : map_put(feed->by_key, key.ptr, key.len, change);
	if (err < 0) {
		mem_free(change);
		return err;
	}
	if (waits && !last) { /* in front of the old one, which then goes */
		change->number = old->number;
		list_append(&old->node, &change->node);
	} else {
		change->number = ++feed->last;
		list_append(&feed->waiting, &change->node);
	}
	feed->waiting_bytes += json.len;
	if (old)
		change_free(feed, old, !waits);
	return waits;
}

size_t feed_waiting(const struct feed *feed)
{
	return feed->waiting_bytes;
}

static void forget(struct feed *feed)
{
	while (feed->n_sent > FEED_KEPT || feed->sent_bytes > FEED_KEPT_BYTES) {
		struct change *oldest = LIST_ENTRY(feed->sent.next, struct change, node);
		feed->forgotten = oldest->number;
		change_forget(feed, oldest, true);
	}
}

int feed_take(struct feed *feed, size_t max, struct buf *out, uint64_t *ret_last)
{
	size_t before = buf_len(out);
	while (!list_empty(&feed->waiting)) {
		struct change *change = LIST_ENTRY(feed->waiting.next, struct change, node);
		size_t taken = buf_len(out) - before;
		if (taken && taken + 1 + change->json.len > max)
			break;
		int err = taken ? buf_append_u8(out, ',') : 0;
		if (err == 0)
			err = buf_append_str(out, change->json);
		if (err < 0)
			return err;
		list_remove(&change->node);
		list_append(&feed->sent, &change->node);
		feed->n_sent++;
		feed->sent_bytes += change->json.len;
		feed->waiting_bytes -= change->json.len;
		feed->reached = change->number;
	}
	*ret_last = feed->reached;
	forget(feed);
	return 0;
}

int feed_resume(struct feed *feed, uint64_t since)
{
	if (since < feed->forgotten || since > feed->reached)
		return -E_NOT_FOUND;
	while (!list_empty(&feed->sent)) {
		struct change *newest = LIST_ENTRY(feed->sent.prev, struct change, node);
		if (newest->number <= since)
			break;
		list_remove(&newest->node);
		list_append(feed->waiting.next, &newest->node); /* in front */
		feed->n_sent--;
		feed->sent_bytes -= newest->json.len;
		feed->waiting_bytes += newest->json.len;
	}
	feed->reached = since;
	return 0;
}
