/* Destinations: their queues, and what goes to them. */
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "route/route_own.h"

static struct destination *destination_find(const struct route *route, const struct id *id)
{
	return map_get(route->by_id, id->bytes, sizeof id->bytes);
}

int destination_get(struct route *route, const struct id *id, struct destination **ret)
{
	struct destination *destination = destination_find(route, id);
	if (destination) {
		*ret = destination;
		return 0;
	}
	if (map_count(route->by_id) == route->settings.destinations_max)
		return -E_LIMIT;
	destination = mem_alloc(sizeof *destination);
	if (!destination || map_put(route->by_id, id->bytes, sizeof id->bytes, destination) < 0) {
		mem_free(destination);
		return -E_NO_MEMORY;
	}
	destination->id = *id;
	for (int rank = 0; rank < RANKS; rank++)
		list_init(&destination->queue[rank]);
	list_init(&destination->sent);
	list_init(&destination->waking);
	list_append(&route->destinations, &destination->node);
	*ret = destination;
	return 0;
}

void destination_free(struct route *route, struct destination *destination)
{
	map_remove(route->by_id, destination->id.bytes, sizeof destination->id.bytes);
	list_remove(&destination->node);
	list_remove(&destination->waking);
	mem_free(destination);
}

void destination_idle(struct route *route, struct destination *destination)
{
	if (!destination->attached && !destination->retired && !destination->n && !destination->n_coming &&
	    !destination->counted_in)
		destination_free(route, destination);
}

uint64_t destination_gap(const struct destination *destination)
{
	return destination->dead[ROUTE_EXPIRED] + destination->dead[ROUTE_LIMIT] + destination->dead[ROUTE_DAMAGED];
}

static bool gap_waits(const struct destination *destination)
{
	return !destination->gap_under_way && !destination->retired && destination_gap(destination) > destination->gap_told;
}

/* ---- queues ---- */

static bool queue_empty(const struct destination *destination)
{
	for (int rank = 0; rank < RANKS; rank++)
		if (!list_empty(&destination->queue[rank]))
			return false;
	return true;
}

static bool may_send(const struct route *route, const struct destination *destination)
{
	return destination->attached && destination->credit && destination->paused_until_ms <= route->now_ms;
}

void destination_ready(struct route *route, struct destination *destination)
{
	if (destination->told || !may_send(route, destination) || (queue_empty(destination) && !gap_waits(destination)))
		return;
	destination->told = true;
	route->events->ready(route->ctx, &destination->id);
}

void destinations_wake(struct route *route)
{
	while (!list_empty(&route->waking)) {
		struct destination *destination = LIST_ENTRY(route->waking.next, struct destination, waking);
		list_remove(&destination->waking);
		destination_ready(route, destination);
	}
}

void queue_remove(struct item *item)
{
	struct destination *destination = item->destination;
	list_remove(&item->node);
	destination->n--;
	destination->n_sent -= item->sent;
	destination->bytes -= item->record.len;
	item->sent = false;
}

static struct item *first_of(struct list *list)
{
	return list_empty(list) ? NULL : LIST_ENTRY(list->next, struct item, node);
}

/* Whoever goes first where there is too much. */
static struct item *least_wanted(struct destination *destination)
{
	for (int rank = RANKS; rank-- > 0;)
		if (!list_empty(&destination->queue[rank]))
			return first_of(&destination->queue[rank]);
	return NULL;
}

static void limits_keep(struct route *route, struct destination *destination)
{
	const struct route_limits *limits = &route->settings.limits;
	struct item *item;
	while ((destination->n > limits->count || destination->bytes > limits->bytes) && (item = least_wanted(destination)))
		route_item_dead(route, item, ROUTE_LIMIT);
}

static void item_replaced(struct route *route, struct item *item)
{
	const struct id id = item->id;
	struct destination *destination = item->destination;
	destination->replaced++;
	route_item_done(route, item, STR(""));
	if (route->events->replaced)
		route->events->replaced(route->ctx, &destination->id, &id);
}

/* True: it waits as the newest of its state, and the one before is dropped; false: a newer one waits. */
static bool state_take(struct route *route, struct item *item)
{
	struct item *other = map_get(route->states, item->state, item->state_len);
	if (other && !other->sent && other->created_ms > item->created_ms)
		return false;
	if (map_put(route->states, item->state, item->state_len, item) < 0 || !other || other->sent)
		return true;
	item_replaced(route, other);
	return true;
}

void queue_add(struct route *route, struct item *item)
{
	struct destination *destination = item->destination;
	list_append(&destination->queue[item->rank], &item->node);
	destination->n++;
	destination->bytes += item->record.len;
	if (destination->retired)
		return route_item_dead(route, item, ROUTE_RETIRED);
	if (item->state && !state_take(route, item))
		return item_replaced(route, item);
	limits_keep(route, destination);
	if (list_empty(&destination->waking))
		list_append(&route->waking, &destination->waking);
}

/* In front of those that came later. */
static void queue_return(struct route *route, struct item *item)
{
	struct destination *destination = item->destination;
	struct list *at = destination->queue[item->rank].next;
	list_remove(&item->node);
	destination->n_sent--;
	item->sent = false;
	while (at != &destination->queue[item->rank] && LIST_ENTRY(at, struct item, node)->record.sequence < item->record.sequence)
		at = at->next;
	list_append(at, &item->node);
	if (item->state && map_get(route->states, item->state, item->state_len) != item)
		item_replaced(route, item);
}

/* ---- a destination's link ---- */

int route_attach(struct route *route, const struct id *id)
{
	struct destination *destination;
	int err = destination_get(route, id, &destination);
	if (err == 0 && destination->retired)
		err = -E_ENVELOPE_RETIRED;
	if (err < 0)
		return err;
	route_detach(route, id);
	err = destination_get(route, id, &destination);
	if (err == 0)
		destination->attached = true;
	return err;
}

void route_detach(struct route *route, const struct id *id)
{
	struct destination *destination = destination_find(route, id);
	if (!destination)
		return;
	destination->attached = destination->told = destination->gap_under_way = false;
	destination->credit = 0;
	destination->paused_until_ms = 0;
	while (!list_empty(&destination->sent))
		queue_return(route, LIST_ENTRY(destination->sent.prev, struct item, node));
	destination_idle(route, destination);
}

void route_credit(struct route *route, const struct id *id, uint32_t envelopes)
{
	struct destination *destination = destination_find(route, id);
	if (!destination || !destination->attached)
		return;
	destination->credit = envelopes > UINT32_MAX - destination->credit ? UINT32_MAX : destination->credit + envelopes;
	destination_ready(route, destination);
}

/* ---- what it has missed ---- */

static int gap_write(struct route *route, struct destination *destination, struct buf *out)
{
	murmesh_Envelope envelope = { .which_to = murmesh_Envelope_node_tag,
		                      .type = ROUTE_GAP_TYPE,
		                      .key = ROUTE_GAP_TYPE,
		                      .priority = murmesh_Priority_HIGH,
		                      .created_ms = route->now_ms > 0 ? route->now_ms : 1 };
	const uint64_t *dead = destination->dead;
	char body[128];
	int len = snprintf(body, sizeof body, "{\"expired\":%llu,\"limit\":%llu,\"damaged\":%llu}",
	                   (unsigned long long)dead[ROUTE_EXPIRED], (unsigned long long)dead[ROUTE_LIMIT],
	                   (unsigned long long)dead[ROUTE_DAMAGED]);
	route->settings.random(destination->gap.bytes, sizeof destination->gap.bytes);
	memcpy(envelope.id, destination->gap.bytes, sizeof envelope.id);
	if (!id_is_zero(&route->settings.self)) {
		envelope.from.size = sizeof route->settings.self;
		memcpy(envelope.from.bytes, route->settings.self.bytes, sizeof route->settings.self);
	}
	if (id_is_zero(&destination->id)) {
		envelope.which_to = murmesh_Envelope_server_tag;
		envelope.to.server = true;
	} else
		memcpy(envelope.to.node, destination->id.bytes, sizeof envelope.to.node);
	return envelope_write(&envelope, (struct str){ body, (size_t)len }, out);
}

static int gap_send(struct route *route, struct destination *destination, struct buf *out)
{
	size_t before = buf_len(out);
	int err = gap_write(route, destination, out);
	if (err == 0)
		err = envelope_hop_append(out, &route->settings.self);
	if (err < 0) {
		out->end = out->start + before;
		return err;
	}
	destination->gap_under_way = true;
	destination->gap_sent = destination_gap(destination);
	destination->credit--;
	return 1;
}

static bool gap_answered(struct route *route, struct destination *destination, const struct id *id)
{
	if (!destination->gap_under_way || !id_equal(&destination->gap, id))
		return false;
	destination->gap_under_way = false;
	destination->gap_told = destination->gap_sent;
	note_counters_write(route, destination);
	return true;
}

/* ---- the next one ---- */

/* 1: it goes; 0: it does not. */
static int item_send(struct route *route, struct item *item, struct buf *out)
{
	struct destination *destination = item->destination;
	size_t before = buf_len(out);
	if (item->expires_ms <= route->now_ms) {
		route_item_dead(route, item, ROUTE_EXPIRED);
		return 0;
	}
	int err = route_item_read(route, item, out);
	if (err == 0)
		err = envelope_hop_append(out, &route->settings.self);
	if (err < 0)
		out->end = out->start + before;
	if (err == -E_NO_MEMORY || err == -E_TOO_LONG)
		return err;
	if (err < 0) {
		route_item_dead(route, item, ROUTE_DAMAGED);
		return 0;
	}
	list_remove(&item->node);
	list_append(&destination->sent, &item->node);
	item->sent = true;
	destination->n_sent++;
	destination->credit--;
	return 1;
}

int route_next(struct route *route, const struct id *id, int64_t now_ms, struct buf *out)
{
	struct destination *destination = destination_find(route, id);
	struct item *item;
	route->now_ms = now_ms;
	if (!destination)
		return 0;
	if (!may_send(route, destination)) {
		destination->told = false;
		return 0;
	}
	if (gap_waits(destination))
		return gap_send(route, destination, out);
	for (int rank = 0; rank < RANKS; rank++)
		while ((item = first_of(&destination->queue[rank]))) {
			int sent = item_send(route, item, out);
			if (sent)
				return sent;
		}
	destination->told = false;
	return 0;
}

static struct item *sent_find(const struct destination *destination, const struct id *id)
{
	LIST_EACH(at, &destination->sent)
		if (id_equal(&LIST_ENTRY(at, struct item, node)->id, id))
			return LIST_ENTRY(at, struct item, node);
	return NULL;
}

void route_delivered(struct route *route, const struct id *id, const struct id *envelope, int64_t now_ms)
{
	struct destination *destination = destination_find(route, id);
	route->now_ms = now_ms;
	struct item *item = destination ? sent_find(destination, envelope) : NULL;
	if (item) {
		route_item_done(route, item, STR(""));
		if (route->events->delivered)
			route->events->delivered(route->ctx, id, envelope);
	} else if (destination)
		gap_answered(route, destination, envelope);
}

void route_refused(struct route *route, const struct id *id, const struct id *envelope, uint64_t retry_ms, int64_t now_ms)
{
	struct destination *destination = destination_find(route, id);
	route->now_ms = now_ms;
	struct item *item = destination ? sent_find(destination, envelope) : NULL;
	if (!destination || (!item && (retry_ms == 0 && gap_answered(route, destination, envelope))))
		return;
	if (item && retry_ms == 0)
		return route_item_dead(route, item, ROUTE_REFUSED);
	if (item)
		queue_return(route, item);
	else if (destination->gap_under_way && id_equal(&destination->gap, envelope))
		destination->gap_under_way = false;
	destination->paused_until_ms = now_ms + (int64_t)(retry_ms < ROUTE_PAUSE_MAX_MS ? retry_ms : ROUTE_PAUSE_MAX_MS);
}

/* ---- out of the mesh ---- */

static void list_drop(struct route *route, struct list *list)
{
	struct item *item;
	while ((item = first_of(list)))
		route_item_dead(route, item, ROUTE_RETIRED);
}

void route_retire(struct route *route, const struct id *id, int64_t now_ms)
{
	struct destination *destination;
	route->now_ms = now_ms;
	if (destination_get(route, id, &destination) < 0)
		return;
	destination->retired = true;
	for (int rank = 0; rank < RANKS; rank++)
		list_drop(route, &destination->queue[rank]);
	list_drop(route, &destination->sent);
	destination->attached = false;
	destination->credit = 0;
}

/* ---- for people ---- */

static int64_t oldest_of(const struct destination *destination)
{
	int64_t oldest = 0;
	for (int rank = 0; rank <= RANKS; rank++) {
		const struct list *list = rank == RANKS ? &destination->sent : &destination->queue[rank];
		if (list_empty(list))
			continue;
		const struct item *item = LIST_ENTRY(list->next, struct item, node);
		if (!oldest || item->came_ms < oldest)
			oldest = item->came_ms;
	}
	return oldest;
}

static void queue_fill(const struct destination *destination, struct route_queue *ret)
{
	*ret = (struct route_queue){ .destination = destination->id,
		                     .waiting = destination->n,
		                     .sent = destination->n_sent,
		                     .bytes = destination->bytes,
		                     .oldest_ms = oldest_of(destination),
		                     .attached = destination->attached,
		                     .retired = destination->retired,
		                     .replaced = destination->replaced,
		                     .dead_last_ms = destination->dead_last_ms };
	memcpy(ret->dead, destination->dead, sizeof ret->dead);
}

bool route_queue_next(const struct route *route, const void **at, struct route_queue *ret)
{
	const struct list *node = *at ? ((const struct list *)*at)->next : route->destinations.next;
	for (; node != &route->destinations; node = node->next) {
		const struct destination *destination = LIST_ENTRY(node, struct destination, node);
		if (!destination->n && !destination->counted_in)
			continue;
		queue_fill(destination, ret);
		*at = node;
		return true;
	}
	return false;
}

bool route_queue_of(const struct route *route, const struct id *id, struct route_queue *ret)
{
	const struct destination *destination = destination_find(route, id);
	if (destination)
		queue_fill(destination, ret);
	return destination != NULL;
}

size_t route_queue_list(const struct route *route, const struct id *id, struct route_waiting *ret, size_t n)
{
	static const enum _murmesh_Priority priorities[RANKS] = { murmesh_Priority_HIGH, murmesh_Priority_NORMAL,
		                                                  murmesh_Priority_LOW };
	const struct destination *destination = destination_find(route, id);
	size_t filled = 0;
	for (int rank = -1; destination && rank < RANKS; rank++) {
		const struct list *list = rank < 0 ? &destination->sent : &destination->queue[rank];
		for (const struct list *at = list->next; at != list && filled < n; at = at->next) {
			const struct item *item = LIST_ENTRY(at, struct item, node);
			ret[filled++] = (struct route_waiting){ .id = item->id,
				                                .priority = priorities[item->rank],
				                                .came_ms = item->came_ms,
				                                .expires_ms = item->expires_ms,
				                                .bytes = item->record.len,
				                                .sent = item->sent };
		}
	}
	return filled;
}
