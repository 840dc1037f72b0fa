#include "route/route.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "route/route_own.h"

#define MIB         ((uint64_t)1 << 20)
#define TICK_ITEMS  20000 /* looked at in one tick */
#define HEAD_SIZE   32    /* in front of an envelope in the spool: destination, when it came, when it expires */
#define RECORD_MAX  (64 + HEAD_SIZE + ENVELOPE_MAX)
#define STATE_SIZE  (16 + 16 + 64)
#define IDLE_MEMORY ((size_t)64 << 10)
#define DAY_MS      ((int64_t)86400000)

const struct route_settings route_settings_device = {
	.spool = { .bytes_max = 64 * MIB, .segment_max = MIB, .unsynced_max = MIB },
	.limits = { .count = 100000, .bytes = 40 * MIB, .age_ms = 14 * DAY_MS },
	.destinations_max = 1000,
	.seen_max = 16384,
};
const struct route_settings route_settings_server = {
	.spool = { .bytes_max = 1024 * MIB, .segment_max = 8 * MIB, .unsynced_max = 4 * MIB },
	.limits = { .count = 10000, .bytes = 16 * MIB, .age_ms = 14 * DAY_MS },
	.destinations_max = 100000,
	.seen_max = 131072,
};

const char *route_dead_name(enum route_dead dead)
{
	static const char *const names[ROUTE_DEADS] = { "expired", "limit", "damaged", "refused", "retired", "loop" };
	return dead < ROUTE_DEADS ? names[dead] : "unknown";
}

bool route_refused_for_good(int err)
{
	return err == -E_MESSAGE || err == -E_TOO_LONG || err == -E_ENVELOPE_EXPIRED || err == -E_ENVELOPE_LOOP ||
	       err == -E_ENVELOPE_RETIRED || err == -E_LIMIT;
}

/* ---- items ---- */

void route_item_free(struct route *route, struct item *item)
{
	if (item->state && map_get(route->states, item->state, item->state_len) == item)
		map_remove(route->states, item->state, item->state_len);
	if (!list_empty(&item->aging)) {
		list_remove(&item->aging);
		route->n_items--;
	}
	mem_free(item->state);
	mem_free(item);
}

void route_item_done(struct route *route, struct item *item, struct str note)
{
	queue_remove(item);
	spool_done(route->spool, &item->record, note);
	route_item_free(route, item);
}

void route_item_dead(struct route *route, struct item *item, enum route_dead why)
{
	uint8_t note[NOTE_DEAD_SIZE];
	struct destination *destination = item->destination;
	const struct id id = item->id;
	route_item_done(route, item, destination_count(route, destination, why, note));
	if (route->events->dead)
		route->events->dead(route->ctx, &destination->id, &id, why);
}

int route_item_read(struct route *route, struct item *item, struct buf *out)
{
	struct str payload;
	int err = spool_read(route->spool, &item->record, &route->room, &payload);
	if (err == 0)
		err = buf_append_str(out, str_skip(payload, HEAD_SIZE));
	if (route->room.capacity > IDLE_MEMORY)
		buf_done(&route->room);
	return err;
}

static enum rank rank_of(const murmesh_Envelope *envelope)
{
	return envelope->priority == murmesh_Priority_HIGH  ? RANK_HIGH
	       : envelope->priority == murmesh_Priority_LOW ? RANK_LOW
	                                                    : RANK_NORMAL;
}

/* Destination, sender, key. */
static int state_set(struct item *item, const struct id *destination, const murmesh_Envelope *envelope)
{
	size_t key_len = strlen(envelope->key);
	if (!key_len)
		return 0;
	item->state = mem_alloc(STATE_SIZE);
	if (!item->state)
		return -E_NO_MEMORY;
	memcpy(item->state, destination->bytes, 16);
	memcpy(item->state + 16, envelope->from.bytes, envelope->from.size);
	memcpy(item->state + 32, envelope->key, key_len);
	item->state_len = (uint8_t)(32 + key_len);
	return 0;
}

static struct item *item_new(struct route *route, const struct id *destination_id, const murmesh_Envelope *envelope)
{
	struct item *item = mem_alloc(sizeof *item);
	if (!item)
		return NULL;
	list_init(&item->node);
	list_init(&item->aging);
	memcpy(item->id.bytes, envelope->id, sizeof item->id.bytes);
	item->created_ms = envelope->created_ms;
	item->rank = (uint8_t)rank_of(envelope);
	if (state_set(item, destination_id, envelope) < 0 || destination_get(route, destination_id, &item->destination) < 0) {
		mem_free(item->state);
		return mem_free(item);
	}
	return item;
}

/* ---- what the spool tells ---- */

static void head_write(const struct item *item, uint8_t out[HEAD_SIZE])
{
	memcpy(out, item->destination->id.bytes, 16);
	for (int i = 0; i < 8; i++) {
		out[16 + i] = (uint8_t)((uint64_t)item->came_ms >> (56 - 8 * i));
		out[24 + i] = (uint8_t)((uint64_t)item->expires_ms >> (56 - 8 * i));
	}
}

/* A sync failed that had brought it to the disk all the same; its sender was told so, and has sent it again. */
static void again_mark(struct route *route, const struct seen_key *key)
{
	for (const struct list *at = route->items.prev; at != &route->items; at = at->prev) {
		struct item *item = LIST_ENTRY(at, struct item, aging);
		if (!id_equal(&item->id, &key->id) || !id_equal(&item->destination->id, &key->destination))
			continue;
		item->again = true;
		return;
	}
}

/* At the start: it waits until all of the log is read. */
static struct spool_record *on_found(void *ctx, uint64_t segment, uint64_t sequence, struct str payload)
{
	static murmesh_Envelope envelope;
	struct route *route = ctx;
	struct reader reader = { (const uint8_t *)payload.ptr, payload.len };
	struct seen_entry seen = { .order = sequence, .segment = segment };
	const uint8_t *destination;
	uint64_t came = 0, expires = 0;
	struct str body;
	if (reader_bytes(&reader, 16, &destination) == 0 && reader_be64(&reader, &came) == 0 && reader_be64(&reader, &expires) == 0)
		memcpy(seen.key.destination.bytes, destination, 16);
	if (envelope_read((struct str){ (const char *)reader.ptr, reader.len }, &envelope, &body) < 0) {
		envelope = (murmesh_Envelope){ 0 }; /* as it is in the log it came from a newer version: it is a dead letter */
		expires = 0;
	}
	struct item *item = item_new(route, &seen.key.destination, &envelope);
	if (!item)
		return NULL;
	item->came_ms = (int64_t)came;
	item->expires_ms = (int64_t)expires;
	seen.key.id = item->id;
	if (seen_has(route->seen, &seen.key))
		again_mark(route, &seen.key);
	seen_add(route->seen, &seen);
	list_append(&route->items, &item->aging);
	route->n_items++;
	return &item->record;
}

static struct item *item_of(struct spool_record *record)
{
	return LIST_ENTRY(record, struct item, record);
}

static void on_over(void *ctx, struct spool_record *record)
{
	route_item_free(ctx, item_of(record));
}

static int on_note(void *ctx, uint64_t segment, struct str note)
{
	return note_take(ctx, segment, note);
}

static void on_kept(void *ctx, struct spool_record *record)
{
	struct route *route = ctx;
	struct item *item = item_of(record);
	list_remove(&item->node);
	item->destination->n_coming--;
	route->events->accepted(route->ctx, item->token, 0);
	list_append(&route->items, &item->aging);
	route->n_items++;
	queue_add(route, item);
}

static void on_refused(void *ctx, struct spool_record *record, int err)
{
	struct route *route = ctx;
	struct item *item = item_of(record);
	struct destination *destination = item->destination;
	const struct seen_key key = { item->id, destination->id };
	seen_remove(route->seen, &key);
	list_remove(&item->node);
	route->events->accepted(route->ctx, item->token, err);
	route_item_free(route, item);
	destination->n_coming--;
	destination_idle(route, destination);
}

static void on_damaged(void *ctx, const struct spool_damage *damage)
{
	struct route *route = ctx;
	route->events->damaged(route->ctx, damage);
}

static void on_lost(void *ctx, struct spool_record *record)
{
	route_item_dead(ctx, item_of(record), ROUTE_DAMAGED);
}

static void on_carry(void *ctx, uint64_t segment)
{
	notes_carry(ctx, segment);
}

static const struct spool_events spool_events = { on_found, on_over, on_note, on_kept, on_refused, on_damaged, on_lost, on_carry };

/* ---- beginning and end ---- */

static int sequence_compare(const void *a, const void *b)
{
	uint64_t left = (*(struct item *const *)a)->record.sequence, right = (*(struct item *const *)b)->record.sequence;
	return left < right ? -1 : left > right;
}

/* What was found waits again, in its old order (what has moved stands further behind in the log). */
static int queues_fill(struct route *route)
{
	size_t n = 0, count = route->n_items;
	struct item **items = mem_alloc_array(count, sizeof *items);
	if (!items)
		return -E_NO_MEMORY;
	LIST_EACH(at, &route->items)
		items[n++] = LIST_ENTRY(at, struct item, aging);
	qsort(items, n, sizeof *items, sequence_compare);
	for (size_t i = 0; i < n; i++)
		if (!items[i]->again) {
			queue_add(route, items[i]);
		} else {
			spool_done(route->spool, &items[i]->record, STR(""));
			route_item_free(route, items[i]);
		}
	mem_free(items);
	return 0;
}

int route_open(const struct route_settings *settings, const struct route_events *events, void *ctx, int64_t now_ms,
               struct route **ret)
{
	struct route *route = mem_alloc(sizeof *route);
	if (!route)
		return -E_NO_MEMORY;
	route->settings = *settings;
	route->events = events;
	route->ctx = ctx;
	route->now_ms = now_ms;
	list_init(&route->destinations);
	list_init(&route->waking);
	list_init(&route->items);
	list_init(&route->again);
	list_init(&route->again_syncing);
	list_init(&route->coming);
	buf_init(&route->room, RECORD_MAX);
	const uint8_t *seed = settings->spool.seed;
	route->by_id = map_new(seed, settings->destinations_max);
	route->states = map_new(seed, SIZE_MAX);
	route->seen = seen_new(seed, settings->seen_max);
	int err = route->by_id && route->states && route->seen ? 0 : -E_NO_MEMORY;
	if (err == 0)
		err = spool_open(&settings->spool, &spool_events, route, &route->spool);
	if (err == 0)
		err = queues_fill(route);
	if (err < 0)
		route_free(route);
	else
		*ret = route;
	return err;
}

struct route *route_free(struct route *route)
{
	if (!route)
		return NULL;
	spool_free(route->spool);
	LIST_EACH(at, &route->items)
		route_item_free(route, LIST_ENTRY(at, struct item, aging));
	LIST_EACH(at, &route->coming) {
		struct item *item = LIST_ENTRY(at, struct item, node);
		route->events->accepted(route->ctx, item->token, -E_CANCELLED);
		route_item_free(route, item);
	}
	LIST_EACH(at, &route->destinations)
		destination_free(route, LIST_ENTRY(at, struct destination, node));
	list_move(&route->again, &route->again_syncing);
	LIST_EACH(at, &route->again) {
		struct again *again = LIST_ENTRY(at, struct again, node);
		route->events->accepted(route->ctx, again->token, -E_CANCELLED);
		mem_free(again);
	}
	seen_free(route->seen);
	map_free(route->states);
	map_free(route->by_id);
	buf_done(&route->room);
	return mem_free(route);
}

/* ---- taking envelopes ---- */

/* It is here, or was: acknowledged when the sync that keeps it has ended. */
static int again_take(struct route *route, void *token)
{
	bool dirty = spool_dirty(route->spool);
	if (!dirty && !spool_syncing(route->spool))
		return -E_EXISTS;
	struct again *again = mem_alloc(sizeof *again);
	if (!again)
		return -E_NO_MEMORY;
	again->token = token;
	list_append(dirty ? &route->again : &route->again_syncing, &again->node);
	return 0;
}

static int refuse_dead(struct route *route, struct destination *destination, const murmesh_Envelope *envelope, enum route_dead why)
{
	uint8_t note[NOTE_DEAD_SIZE];
	struct id id;
	memcpy(id.bytes, envelope->id, sizeof id.bytes);
	spool_note(route->spool, destination_count(route, destination, why, note));
	if (route->events->dead)
		route->events->dead(route->ctx, &destination->id, &id, why);
	destination_ready(route, destination);
	return why == ROUTE_LOOP ? -E_ENVELOPE_LOOP : -E_ENVELOPE_EXPIRED;
}

/* A clock that is ahead does not make envelopes live longer. */
static int64_t expires_ms(const struct route *route, const murmesh_Envelope *envelope)
{
	int64_t created = envelope->created_ms < route->now_ms ? envelope->created_ms : route->now_ms;
	int64_t expires = created + envelope_lifetime_ms(envelope), aged = route->now_ms + route->settings.limits.age_ms;
	return expires < aged ? expires : aged;
}

static int item_put(struct route *route, struct item *item, struct str envelope)
{
	uint8_t head[HEAD_SIZE];
	const struct seen_entry seen = { { item->id, item->destination->id },
		                         spool_sequence_next(route->spool),
		                         spool_segment_now(route->spool) };
	head_write(item, head);
	int err = spool_put(route->spool, &item->record, (struct str){ (const char *)head, sizeof head }, envelope);
	if (err == 0)
		seen_add(route->seen, &seen);
	return err;
}

static int envelope_take(struct route *route, struct destination *destination, const murmesh_Envelope *envelope, struct str bytes,
                         void *token)
{
	int64_t expires = expires_ms(route, envelope);
	if (destination->retired)
		return -E_ENVELOPE_RETIRED;
	if (envelope_passed(envelope, &route->settings.self) || envelope->hops_count == ENVELOPE_HOPS_MAX)
		return refuse_dead(route, destination, envelope, ROUTE_LOOP);
	if (expires <= route->now_ms)
		return refuse_dead(route, destination, envelope, ROUTE_EXPIRED);
	struct item *item = item_new(route, &destination->id, envelope);
	if (!item)
		return -E_NO_MEMORY;
	item->came_ms = route->now_ms;
	item->expires_ms = expires;
	item->token = token;
	int err = item_put(route, item, bytes);
	if (err < 0) {
		route_item_free(route, item);
		return err;
	}
	list_append(&route->coming, &item->node);
	destination->n_coming++;
	return 0;
}

int route_accept_read(struct route *route, const struct id *id, const murmesh_Envelope *envelope, struct str bytes, int64_t now_ms,
                      void *token)
{
	struct destination *destination;
	struct seen_key key = { .destination = *id };
	route->now_ms = now_ms;
	memcpy(key.id.bytes, envelope->id, sizeof key.id.bytes);
	if (seen_has(route->seen, &key))
		return again_take(route, token);
	int err = destination_get(route, id, &destination);
	if (err < 0)
		return err;
	err = envelope_take(route, destination, envelope, bytes, token);
	if (err < 0)
		destination_idle(route, destination);
	return err;
}

int route_accept(struct route *route, const struct id *id, struct str bytes, int64_t now_ms, void *token)
{
	static murmesh_Envelope envelope;
	struct str body;
	int err = envelope_read(bytes, &envelope, &body);
	return err < 0 ? err : route_accept_read(route, id, &envelope, bytes, now_ms, token);
}

/* ---- syncing ---- */

struct spool_sync *route_sync_begin(struct route *route)
{
	struct spool_sync *sync = spool_sync_begin(route->spool);
	if (sync)
		list_move(&route->again_syncing, &route->again);
	return sync;
}

void route_sync_end(struct route *route, int64_t now_ms)
{
	struct list again;
	list_init(&again);
	list_move(&again, &route->again_syncing);
	route->now_ms = now_ms;
	int err = spool_sync_end(route->spool);
	destinations_wake(route);
	LIST_EACH(at, &again) {
		struct again *each = LIST_ENTRY(at, struct again, node);
		list_remove(at);
		route->events->accepted(route->ctx, each->token, err);
		mem_free(each);
	}
	spool_compact(route->spool);
}

/* ---- time ---- */

/* Each tick some, those first that were not looked at for longest. */
static void items_expire(struct route *route)
{
	size_t n = route->n_items < TICK_ITEMS ? route->n_items : TICK_ITEMS;
	for (; n-- && !list_empty(&route->items);) {
		struct item *item = LIST_ENTRY(route->items.next, struct item, aging);
		list_remove(&item->aging);
		list_append(&route->items, &item->aging);
		if (!item->sent && item->expires_ms <= route->now_ms)
			route_item_dead(route, item, ROUTE_EXPIRED);
	}
}

void route_tick(struct route *route, int64_t now_ms)
{
	route->now_ms = now_ms;
	items_expire(route);
	LIST_EACH(at, &route->destinations) {
		struct destination *destination = LIST_ENTRY(at, struct destination, node);
		if (destination->paused_until_ms > now_ms + ROUTE_PAUSE_MAX_MS) /* the clock was set back */
			destination->paused_until_ms = 0;
		destination_ready(route, destination);
	}
	spool_check_room(route->spool);
	spool_compact(route->spool);
}

void route_spool_stats(const struct route *route, struct spool_stats *ret)
{
	spool_stats(route->spool, ret);
}
