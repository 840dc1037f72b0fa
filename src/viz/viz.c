#include "viz/viz.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "viz/intake.h"
#include "viz/watch.h"

struct viz {
	struct state state;
	struct tickets *tickets;
	struct list watches;
	size_t n_watches;
	uint64_t source_ms, stale_ms; /* when the source began; when the silent ones are forgotten, 0 = not */
	struct viz_counters counters;
};

struct viz *viz_new(void)
{
	struct viz *viz = mem_alloc(sizeof *viz);
	if (!viz)
		return NULL;
	list_init(&viz->watches);
	viz->tickets = tickets_new();
	if (viz->tickets && state_init(&viz->state) == 0)
		return viz;
	tickets_free(viz->tickets);
	return mem_free(viz);
}

struct viz *viz_free(struct viz *viz)
{
	if (!viz)
		return NULL;
	LIST_EACH(at, &viz->watches)
		viz_watch_close(LIST_ENTRY(at, struct viz_watch, node));
	tickets_free(viz->tickets);
	state_done(&viz->state);
	return mem_free(viz);
}

const struct viz_counters *viz_counters(struct viz *viz)
{
	viz->counters.devices = viz->state.n_devices;
	viz->counters.watches = viz->n_watches;
	viz->counters.bytes = viz->state.bytes;
	return &viz->counters;
}

/* ---- in ---- */

static void on_row(void *ctx, const struct device *device, const murmesh_LiveRow *row)
{
	struct viz *viz = ctx;
	LIST_EACH(at, &viz->watches) {
		struct viz_watch *watch = LIST_ENTRY(at, struct viz_watch, node);
		if (scope_has(&watch->scope, &device->id))
			watch_row(watch, row);
	}
}

static void stale_forget(struct viz *viz, uint64_t now_ms)
{
	if (!viz->stale_ms || now_ms < viz->stale_ms)
		return;
	viz->stale_ms = 0;
	LIST_EACH(at, &viz->state.list) {
		struct device *device = LIST_ENTRY(at, struct device, node);
		if (device->heard_ms < viz->source_ms)
			state_device_remove(&viz->state, device);
	}
}

void viz_source_new(struct viz *viz, uint64_t now_ms)
{
	viz->source_ms = now_ms;
	viz->stale_ms = now_ms + VIZ_STALE_MS;
}

void viz_batch(struct viz *viz, const murmesh_EventBatch *batch, uint64_t now_ms)
{
	const struct intake intake = { &viz->state, &viz->counters, on_row, viz };
	struct id id;
	memcpy(id.bytes, batch->device, sizeof id.bytes);
	viz->counters.batches++;
	viz->counters.missed += batch->missed;
	stale_forget(viz, now_ms);
	struct device *device = batch->gone ? state_device_find(&viz->state, &id) : state_device(&viz->state, &id);
	if (!device) {
		viz->counters.no_room += !batch->gone;
		return;
	}
	device->heard_ms = now_ms;
	state_sweep(&viz->state, device, now_ms);
	state_missing(&viz->state, device, batch->left_out);
	intake_datagrams(&intake, device, (struct str){ (const char *)batch->datagrams.bytes, batch->datagrams.size },
	                 batch->left_out_datagrams, now_ms);
	if (batch->gone)
		state_device_remove(&viz->state, device);
}

/* ---- out ---- */

int viz_announce(struct viz *viz, const murmesh_WatchAnnouncement *announcement, uint64_t now_ms)
{
	static struct id devices[sizeof announcement->devices / sizeof *announcement->devices];
	struct scope scope;
	for (size_t i = 0; i < announcement->devices_count; i++) {
		if (announcement->devices[i].size != sizeof devices[i].bytes)
			return -E_MESSAGE;
		memcpy(devices[i].bytes, announcement->devices[i].bytes, sizeof devices[i].bytes);
	}
	int err = scope_init(&scope, announcement->all, devices, announcement->devices_count);
	if (err < 0)
		return err;
	scope.fleet |= announcement->fleet;
	memcpy(scope.user.bytes, announcement->user, sizeof scope.user.bytes);
	return tickets_add(viz->tickets, announcement->ticket, &scope, now_ms);
}

bool viz_watch_ends(const struct viz_watch *watch, const murmesh_WatchesEnd *end)
{
	return scope_ends(&watch->scope, end);
}

void viz_tickets_end(struct viz *viz, const murmesh_WatchesEnd *end)
{
	tickets_end(viz->tickets, end);
}

static size_t watches_of(const struct viz *viz, const struct id *user)
{
	size_t n = 0;
	LIST_EACH(at, &viz->watches)
		n += id_equal(&LIST_ENTRY(at, struct viz_watch, node)->scope.user, user);
	return n;
}

int viz_watch_open(struct viz *viz, const uint8_t ticket[16], const struct viz_sink *sink, void *ctx, uint64_t now_ms,
                   struct viz_watch **ret)
{
	struct scope scope = { 0 };
	int err = tickets_redeem(viz->tickets, ticket, now_ms, &scope);
	if (err == 0 && (viz->n_watches == VIZ_WATCHES_MAX || watches_of(viz, &scope.user) == VIZ_WATCHES_OF))
		err = -E_LIMIT;
	struct viz_watch *watch = err == 0 ? mem_alloc(sizeof *watch) : NULL;
	if (!watch) {
		scope_done(&scope);
		return err < 0 ? err : -E_NO_MEMORY;
	}
	watch->viz = viz;
	watch->scope = scope;
	watch->sink = sink;
	watch->ctx = ctx;
	list_append(&viz->watches, &watch->node);
	viz->n_watches++;
	err = watch_init(watch, viz->state.seed, now_ms);
	if (err < 0)
		viz_watch_close(watch);
	else
		*ret = watch;
	return err;
}

struct viz_watch *viz_watch_close(struct viz_watch *watch)
{
	if (!watch)
		return NULL;
	list_remove(&watch->node);
	watch->viz->n_watches--;
	watch_done(watch);
	return mem_free(watch);
}

void viz_tick(struct viz *viz, uint64_t now_ms)
{
	stale_forget(viz, now_ms);
	LIST_EACH(at, &viz->state.list)
		state_sweep(&viz->state, LIST_ENTRY(at, struct device, node), now_ms);
	LIST_EACH(at, &viz->watches)
		watch_tick(LIST_ENTRY(at, struct viz_watch, node), &viz->state, viz->n_watches, now_ms);
}
