#include "viz/watch.h"

#include <stdio.h>
#include <string.h>

#include "base/map.h"

#define STEPS       3    /* of the layout, a tick */
#define BUILD_MS    100  /* between two builds for a changed graph */
#define REFRESH_MS  1000 /* for bytes alone */
#define COST_PER_MS 200 /* entries of the state that all builds together may look at, a millisecond: about a tenth of a processor */
#define CHANGES_MAX (sizeof((murmesh_LiveBatch *)NULL)->changes / sizeof(murmesh_LiveChange))

int watch_init(struct viz_watch *watch, const uint8_t seed[16], uint64_t now_ms)
{
	watch->allowed = VIZ_ROWS;
	watch->allowed_ms = now_ms;
	return view_init(&watch->view, watch->scope.fleet, seed);
}

void watch_done(struct viz_watch *watch)
{
	view_done(&watch->view);
	scope_done(&watch->scope);
}

/* ---- sending ---- */

static bool batch_send(struct viz_watch *watch)
{
	if (watch->batch.changes_count && !watch->closed)
		watch->closed = watch->sink->send(watch->ctx, &watch->batch) < 0;
	watch->batch.changes_count = 0;
	return !watch->closed && !watch->sink->crowded(watch->ctx);
}

/* Room for one more change, or NULL: he does not read. */
static murmesh_LiveChange *change_new(struct viz_watch *watch, pb_size_t which)
{
	if (watch->batch.changes_count == CHANGES_MAX && !batch_send(watch))
		return NULL;
	murmesh_LiveChange *change = &watch->batch.changes[watch->batch.changes_count++];
	change->sequence = ++watch->sequence;
	change->which_body = which;
	return change;
}

static void edge_id(const struct view_edge *edge, char out[192])
{
	snprintf(out, 192, "%s|%s", edge->from->live.id, edge->to->live.id);
}

static bool tell_gone(struct viz_watch *watch)
{
	LIST_EACH(at, &watch->view.edges) {
		struct view_edge *edge = LIST_ENTRY(at, struct view_edge, list);
		if (!edge->dead)
			continue;
		murmesh_LiveChange *change = change_new(watch, murmesh_LiveChange_edge_removed_tag);
		if (!change)
			return false;
		edge_id(edge, change->body.edge_removed);
		view_edge_forget(&watch->view, edge);
	}
	LIST_EACH(at, &watch->view.nodes) {
		struct view_node *node = LIST_ENTRY(at, struct view_node, list);
		murmesh_LiveChange *change;
		if (!node->dead)
			continue;
		if (node->sent) {
			change = change_new(watch, murmesh_LiveChange_node_removed_tag);
			if (!change)
				return false;
			memcpy(change->body.node_removed, node->live.id, sizeof change->body.node_removed);
		}
		view_node_forget(&watch->view, node);
	}
	return true;
}

static bool tell_nodes(struct viz_watch *watch)
{
	LIST_EACH(at, &watch->view.nodes) {
		struct view_node *node = LIST_ENTRY(at, struct view_node, list);
		if (!node->dirty || node->dead)
			continue;
		murmesh_LiveChange *change = change_new(watch, murmesh_LiveChange_node_tag);
		if (!change)
			return false;
		change->body.node = node->live;
		node->dirty = false;
		node->sent = true;
	}
	return true;
}

static bool tell_edges(struct viz_watch *watch)
{
	LIST_EACH(at, &watch->view.edges) {
		struct view_edge *edge = LIST_ENTRY(at, struct view_edge, list);
		if (!edge->dirty || edge->dead)
			continue;
		murmesh_LiveChange *change = change_new(watch, murmesh_LiveChange_edge_tag);
		if (!change)
			return false;
		murmesh_LiveEdge *live = &change->body.edge;
		*live = (murmesh_LiveEdge){ .bytes = edge->bytes, .rate = edge->rate };
		edge_id(edge, live->id);
		memcpy(live->from, edge->from->live.id, sizeof live->from);
		memcpy(live->to, edge->to->live.id, sizeof live->to);
		snprintf(live->kind, sizeof live->kind, "%.15s", edge->kind);
		edge->dirty = false;
		edge->sent = true;
	}
	return true;
}

static bool tell_missing(struct viz_watch *watch, const struct device *device)
{
	murmesh_LiveChange *change = change_new(watch, murmesh_LiveChange_missing_tag);
	if (!change)
		return false;
	change->body.missing = (murmesh_LiveMissing){ .events = device->missing, .since_us = device->missing_since_us };
	change->body.missing.device.size = sizeof device->id.bytes;
	memcpy(change->body.missing.device.bytes, device->id.bytes, sizeof device->id.bytes);
	return true;
}

static bool tell_sources(struct viz_watch *watch, const struct device *device)
{
	for (size_t i = 0; i < STATE_SOURCES; i++) {
		const struct source *source = &device->sources[i];
		if (source->changed <= watch->told)
			continue;
		murmesh_LiveChange *change = change_new(watch, murmesh_LiveChange_source_tag);
		if (!change)
			return false;
		murmesh_LiveSource *live = &change->body.source;
		*live = (murmesh_LiveSource){ .device = { .size = sizeof device->id.bytes } };
		memcpy(live->device.bytes, device->id.bytes, sizeof device->id.bytes);
		memcpy(live->module, source->module, sizeof live->module);
		memcpy(live->text, source->text, sizeof live->text);
	}
	return true;
}

/* When it is cut short, all of it is told again: these are states, not events. */
static bool tell_devices(struct viz_watch *watch, const struct state *state)
{
	uint64_t now = state->version;
	LIST_EACH(at, &state->list) {
		const struct device *device = LIST_ENTRY(at, struct device, node);
		bool missing = device->missing_changed > watch->told, sources = device->sources_changed > watch->told;
		if ((!missing && !sources) || !scope_has(&watch->scope, &device->id))
			continue;
		if ((missing && !tell_missing(watch, device)) || (sources && !tell_sources(watch, device)))
			return false;
	}
	watch->told = now;
	return true;
}

static bool tell_complete(struct viz_watch *watch)
{
	if (watch->complete)
		return true;
	murmesh_LiveChange *change = change_new(watch, murmesh_LiveChange_complete_tag);
	if (!change)
		return false;
	change->body.complete = watch->complete = true;
	return true;
}

static bool tell_rows(struct viz_watch *watch)
{
	for (; watch->n_rows; watch->n_rows--) {
		murmesh_LiveChange *change = change_new(watch, murmesh_LiveChange_row_tag);
		if (!change)
			return false;
		change->body.row = watch->rows[watch->first];
		watch->first = (watch->first + 1) % VIZ_ROWS;
	}
	return true;
}

static bool tell_not_shown(struct viz_watch *watch)
{
	if (watch->not_shown == watch->not_shown_told)
		return true;
	murmesh_LiveChange *change = change_new(watch, murmesh_LiveChange_missing_tag);
	if (!change)
		return false;
	change->body.missing =
	        (murmesh_LiveMissing){ .events = watch->not_shown, .since_us = watch->not_shown_since_us, .not_shown = true };
	watch->not_shown_told = watch->not_shown;
	return true;
}

/* ---- rows ---- */

void watch_row(struct viz_watch *watch, const murmesh_LiveRow *row)
{
	if (watch->allowed && watch->n_rows < VIZ_ROWS) {
		watch->allowed--;
		watch->rows[(watch->first + watch->n_rows++) % VIZ_ROWS] = *row;
		return;
	}
	if (watch->not_shown++ == 0)
		watch->not_shown_since_us = row->time_us;
}

static void rows_allow(struct viz_watch *watch, uint64_t now_ms)
{
	uint64_t more = (now_ms - watch->allowed_ms) * VIZ_ROWS / 1000;
	if (more == 0)
		return;
	watch->allowed_ms = now_ms;
	watch->allowed = more > VIZ_ROWS - watch->allowed ? VIZ_ROWS : watch->allowed + (unsigned)more;
}

/* ---- building ---- */

static bool build_due(const struct viz_watch *watch, const struct state *state, uint64_t now_ms)
{
	const struct view *view = &watch->view;
	const struct device *device = view->fleet ? NULL : state_device_find(state, &watch->scope.devices[0]);
	uint64_t changed = device ? device->changed : state->changed, traffic = device ? device->traffic : state->traffic;
	if (view->pass == 0)
		return true;
	if (now_ms < watch->next_build_ms)
		return false;
	bool refresh = now_ms - watch->built_ms >= REFRESH_MS && (traffic > view->version || view->flowing);
	return changed > view->version || refresh;
}

void watch_tick(struct viz_watch *watch, struct state *state, size_t n_watches, uint64_t now_ms)
{
	rows_allow(watch, now_ms);
	if (build_due(watch, state, now_ms)) {
		view_build(&watch->view, state, &watch->scope, now_ms);
		uint64_t pause_ms = watch->view.cost * n_watches / COST_PER_MS;
		watch->built_ms = now_ms;
		watch->next_build_ms = now_ms + (pause_ms > BUILD_MS ? pause_ms : BUILD_MS);
	}
	view_move(&watch->view, STEPS);
	if (!watch->closed && !watch->sink->crowded(watch->ctx) && tell_gone(watch) && tell_nodes(watch) && tell_edges(watch) &&
	    tell_devices(watch, state) && tell_complete(watch) && tell_rows(watch))
		tell_not_shown(watch);
	batch_send(watch);
}
