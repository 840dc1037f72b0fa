#include "viz/state.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "os/random.h"

#define OVERHEAD 96 /* bytes that an entry costs beside its own: slot, allocator */

int state_init(struct state *state)
{
	*state = (struct state){ .version = 1 };
	list_init(&state->list);
	random_bytes(state->seed, sizeof state->seed);
	state->devices = map_new(state->seed, STATE_DEVICES_MAX);
	state->ends = map_new(state->seed, (size_t)1 << 22);
	if (state->devices && state->ends)
		return 0;
	state_done(state);
	return -E_NO_MEMORY;
}

void state_done(struct state *state)
{
	LIST_EACH(at, &state->list)
		state_device_remove(state, LIST_ENTRY(at, struct device, node));
	state->devices = map_free(state->devices);
	state->ends = map_free(state->ends);
}

/* Puts what was just allocated under its id, the last part of it; false: it was freed. */
static bool entry_put(struct state *state, struct map *map, const char *id, void *entry, size_t size)
{
	if (!entry || map_put(map, id, strlen(id), entry) < 0) {
		mem_free(entry);
		return false;
	}
	state->bytes += size + OVERHEAD;
	return true;
}

static void entry_remove(struct state *state, struct map *map, const char *id, void *entry, size_t size)
{
	map_remove(map, id, strlen(id));
	state->bytes -= size + OVERHEAD;
	mem_free(entry);
}

static void graph_changed(struct state *state, struct device *device)
{
	device->changed = state->changed = ++state->version;
}

bool state_is_own(const char *id)
{
	return strstr(id, STATE_OWN) != NULL;
}

/* ---- devices ---- */

struct device *state_device_find(const struct state *state, const struct id *id)
{
	return map_get(state->devices, id, sizeof *id);
}

static void device_free(struct device *device)
{
	for (size_t i = 0; i < STATE_FRAMES; i++)
		mem_free(device->keyframes[i]);
	map_free(device->things);
	map_free(device->ties);
	mem_free(device);
}

struct device *state_device(struct state *state, const struct id *id)
{
	struct device *device = state_device_find(state, id);
	if (device)
		return device;
	device = state->bytes < STATE_BYTES_MAX ? mem_alloc(sizeof *device) : NULL;
	if (!device)
		return NULL;
	device->id = *id;
	id_format(id, device->text);
	list_init(&device->ended_things);
	list_init(&device->ended_ties);
	device->things = map_new(state->seed, STATE_OWN_MAX + STATE_TIES_MAX);
	device->ties = map_new(state->seed, STATE_TIES_MAX);
	if (!device->things || !device->ties || map_put(state->devices, id, sizeof *id, device) < 0) {
		device_free(device);
		return NULL;
	}
	state->bytes += sizeof *device;
	state->n_devices++;
	list_append(&state->list, &device->node);
	graph_changed(state, device);
	return device;
}

/* ---- things ---- */

struct thing *state_thing_find(const struct device *device, const char *id)
{
	return map_get(device->things, id, strlen(id));
}

static size_t thing_size(const struct thing *thing)
{
	return sizeof *thing + 2 * strlen(thing->id);
}

static size_t texts_size(const struct thing *thing)
{
	return thing->label ? strlen(thing->label) + strlen(thing->detail) + 2 : 0;
}

static void not_kept(struct state *state, struct device *device)
{
	state_missing(state, device, 1);
}

/* As ties name it: shared, until a record says what it is. */
static struct thing *thing_make(struct state *state, struct device *device, const char *id)
{
	size_t len = strlen(id);
	struct thing *thing = state->bytes < STATE_BYTES_MAX ? mem_alloc(sizeof *thing + len + 1) : NULL;
	if (!thing)
		return NULL;
	memcpy(thing->id, id, len + 1);
	thing->shared = true;
	list_init(&thing->ended);
	list_init(&thing->out);
	list_init(&thing->in);
	return entry_put(state, device->things, id, thing, thing_size(thing)) ? thing : NULL;
}

static void thing_free(struct state *state, struct device *device, struct thing *thing)
{
	device->n_own -= !thing->shared;
	device->n_ended_things -= thing->ended_ms > 0;
	list_remove(&thing->ended);
	state->bytes -= texts_size(thing);
	mem_free(thing->label);
	entry_remove(state, device->things, thing->id, thing, thing_size(thing));
}

static void tie_remove(struct state *state, struct device *device, struct tie *tie);

static void thing_remove(struct state *state, struct device *device, struct thing *thing)
{
	LIST_EACH(at, &thing->out)
		tie_remove(state, device, LIST_ENTRY(at, struct tie, at_from));
	LIST_EACH(at, &thing->in)
		tie_remove(state, device, LIST_ENTRY(at, struct tie, at_to));
	thing_free(state, device, thing);
	graph_changed(state, device);
}

/* Empty ones leave what was. */
static bool texts_set(struct state *state, struct thing *thing, const char *new_label, const char *new_detail)
{
	char label[STATE_LABEL_SIZE], detail[STATE_DETAIL_SIZE];
	utf8_clean(str_from(new_label[0] || !thing->label ? new_label : thing->label), label, sizeof label);
	utf8_clean(str_from(new_detail[0] || !thing->label ? new_detail : thing->detail), detail, sizeof detail);
	if (thing->label && strcmp(label, thing->label) == 0 && strcmp(detail, thing->detail) == 0)
		return false;
	size_t label_size = strlen(label) + 1, detail_size = strlen(detail) + 1;
	char *texts = mem_alloc(label_size + detail_size);
	if (!texts)
		return false;
	state->bytes -= texts_size(thing);
	mem_free(thing->label);
	thing->label = memcpy(texts, label, label_size);
	thing->detail = memcpy(texts + label_size, detail, detail_size);
	state->bytes += texts_size(thing);
	return true;
}

static void thing_revive(struct device *device, struct thing *thing)
{
	device->n_ended_things -= thing->ended_ms > 0;
	list_remove(&thing->ended);
	thing->ended_ms = 0;
	thing->stamp = device->stamp;
}

void state_thing(struct state *state, struct device *device, const struct state_thing *as)
{
	struct thing *thing = state_thing_find(device, as->id);
	bool owned = thing && !thing->shared;
	if (!as->shared && !owned && device->n_own == STATE_OWN_MAX)
		return not_kept(state, device);
	if (!thing)
		thing = thing_make(state, device, as->id);
	if (!thing)
		return not_kept(state, device);
	bool changed =
	        texts_set(state, thing, as->label, as->detail) || thing->kind != as->kind || (as->pid && thing->pid != as->pid);
	if (!thing->label) { /* no memory for them */
		if (list_empty(&thing->out) && list_empty(&thing->in))
			thing_free(state, device, thing);
		return not_kept(state, device);
	}
	device->n_own += !as->shared;
	device->n_own -= owned;
	thing->shared = as->shared;
	thing->kind = as->kind;
	thing->module = as->module;
	thing->pid = as->pid ? as->pid : thing->pid;
	thing_revive(device, thing);
	if (changed)
		graph_changed(state, device);
}

static void thing_end(struct state *state, struct device *device, struct thing *thing, uint64_t now_ms)
{
	if (thing->ended_ms)
		return;
	if (device->n_ended_things == STATE_LINGER_MAX)
		return thing_remove(state, device, thing);
	thing->ended_ms = now_ms;
	list_append(&device->ended_things, &thing->ended);
	device->n_ended_things++;
}

void state_thing_end(struct state *state, struct device *device, const char *id, uint64_t now_ms)
{
	struct thing *thing = state_thing_find(device, id);
	if (thing && !thing->shared)
		thing_end(state, device, thing, now_ms);
}

/* ---- ties ---- */

struct tie *state_tie_find(const struct device *device, const char *id)
{
	return map_get(device->ties, id, strlen(id));
}

static size_t tie_size(const struct tie *tie)
{
	return sizeof *tie + 2 * strlen(tie->id);
}

/* Who has a tie of this id to something that several devices can see. */
struct claim {
	size_t n;
	uintptr_t who; /* exclusive or of them all: so of two, from the one the other is known */
};

static bool claim_change(struct state *state, const char *id, struct device *device, bool add)
{
	struct claim *claim = map_get(state->ends, id, strlen(id));
	if (!claim) {
		claim = mem_alloc(sizeof *claim);
		if (!entry_put(state, state->ends, id, claim, sizeof *claim))
			return false;
	}
	claim->n += add ? 1 : (size_t)-1;
	claim->who ^= (uintptr_t)device;
	if (claim->n == 0)
		entry_remove(state, state->ends, id, claim, sizeof *claim);
	return true;
}

struct device *state_tie_peer(const struct state *state, const struct device *device, const struct tie *tie)
{
	struct claim *claim = tie->claimed ? map_get(state->ends, tie->id, strlen(tie->id)) : NULL;
	return claim && claim->n == 2 ? (struct device *)(claim->who ^ (uintptr_t)device) : NULL;
}

static void end_drop(struct state *state, struct device *device, struct thing *thing)
{
	if (thing && thing->shared && list_empty(&thing->out) && list_empty(&thing->in))
		thing_free(state, device, thing);
}

static void ends_drop(struct state *state, struct device *device, struct thing *from, struct thing *to)
{
	end_drop(state, device, from);
	if (to != from)
		end_drop(state, device, to);
}

static void tie_unlink(struct state *state, struct device *device, struct tie *tie)
{
	if (tie->claimed)
		claim_change(state, tie->id, device, false);
	tie->claimed = false;
	list_remove(&tie->at_from);
	list_remove(&tie->at_to);
}

static void tie_remove(struct state *state, struct device *device, struct tie *tie)
{
	tie_unlink(state, device, tie);
	ends_drop(state, device, tie->from, tie->to);
	device->n_ended_ties -= tie->ended_ms > 0;
	list_remove(&tie->ended);
	entry_remove(state, device->ties, tie->id, tie, tie_size(tie));
	graph_changed(state, device);
}

static bool end_take(struct state *state, struct device *device, const char *id, struct thing **ret)
{
	*ret = NULL;
	if (strcmp(id, STATE_OWN) == 0)
		return true;
	*ret = state_thing_find(device, id);
	if (!*ret)
		*ret = thing_make(state, device, id);
	return *ret != NULL;
}

/* "…/SOURCE-PORT-DESTINATION-PORT", as glouglou.md writes flows: the port of the side that was connected to. */
static uint16_t flow_port(const char *id)
{
	struct str rest = str_from(id);
	uint64_t port;
	for (unsigned i = 0; i < 3; i++)
		str_cut(rest, '-', &rest);
	return str_to_u64(str_cut(rest, '-', &rest), UINT16_MAX, &port) == 0 ? (uint16_t)port : 0;
}

static void tie_link(struct state *state, struct device *device, struct tie *tie, struct thing *from, struct thing *to)
{
	tie->from = from;
	tie->to = to;
	if (from)
		list_append(&from->out, &tie->at_from);
	if (to)
		list_append(&to->in, &tie->at_to);
	if (to && to->port == 0)
		to->port = flow_port(tie->id);
	if (to && to->kind && to->shared && !state_is_own(to->id))
		tie->claimed = claim_change(state, tie->id, device, true);
	graph_changed(state, device);
}

static struct tie *tie_make(struct state *state, struct device *device, const char *id)
{
	size_t len = strlen(id);
	struct tie *tie = state->bytes < STATE_BYTES_MAX ? mem_alloc(sizeof *tie + len + 1) : NULL;
	if (!tie)
		return NULL;
	memcpy(tie->id, id, len + 1);
	list_init(&tie->at_from);
	list_init(&tie->at_to);
	list_init(&tie->ended);
	return entry_put(state, device->ties, id, tie, tie_size(tie)) ? tie : NULL;
}

static void tie_revive(struct device *device, struct tie *tie)
{
	device->n_ended_ties -= tie->ended_ms > 0;
	list_remove(&tie->ended);
	tie->ended_ms = 0;
	tie->stamp = device->stamp;
}

void state_tie(struct state *state, struct device *device, const char *id, const char *kind, const char *from_id, const char *to_id,
               uint8_t module)
{
	struct thing *from, *to, *old_from = NULL, *old_to = NULL;
	struct tie *tie = state_tie_find(device, id);
	bool has_from = end_take(state, device, from_id, &from), has_to = end_take(state, device, to_id, &to);
	if (has_from && has_to && !tie)
		tie = tie_make(state, device, id);
	if (!has_from || !has_to || !tie) {
		ends_drop(state, device, from, to);
		return not_kept(state, device);
	}
	if (!tie->kind || tie->from != from || tie->to != to) {
		old_from = tie->from;
		old_to = tie->to;
		tie_unlink(state, device, tie);
		tie_link(state, device, tie, from, to);
		ends_drop(state, device, old_from, old_to);
	}
	tie->kind = kind;
	tie->module = module;
	tie_revive(device, tie);
}

static void tie_end(struct state *state, struct device *device, struct tie *tie, uint64_t now_ms)
{
	if (tie->ended_ms)
		return;
	if (device->n_ended_ties == STATE_LINGER_MAX)
		return tie_remove(state, device, tie);
	tie->ended_ms = now_ms;
	list_append(&device->ended_ties, &tie->ended);
	device->n_ended_ties++;
}

void state_tie_end(struct state *state, struct device *device, const char *id, uint64_t now_ms)
{
	struct tie *tie = state_tie_find(device, id);
	if (tie)
		tie_end(state, device, tie, now_ms);
}

void state_tie_bytes(struct state *state, struct device *device, const char *id, unsigned way, uint64_t bytes, bool total)
{
	struct tie *tie = state_tie_find(device, id);
	if (!tie)
		return;
	uint64_t *at = &tie->bytes[way & 1];
	*at = total ? bytes : *at + bytes < bytes ? UINT64_MAX : *at + bytes;
	tie->stamp = device->stamp;
	device->traffic = state->traffic = ++state->version;
}

/* ---- keyframes ---- */

void state_keyframe_begin(struct device *device, struct keyframe *keyframe)
{
	keyframe->stamp = ++device->stamp;
}

/* What ends may be removed at once, and others with it: it is looked up again by its id. */
void state_keyframe_end(struct state *state, struct device *device, const struct keyframe *keyframe, uint8_t module,
                        uint64_t now_ms)
{
	size_t n = 0;
	struct thing *thing;
	struct tie *tie;
	void **gone = mem_alloc_array(map_count(device->ties) + map_count(device->things) + 1, sizeof *gone);
	if (!gone)
		return; /* what is gone stays until the next one */
	for (size_t at = 0; (tie = map_next(device->ties, &at));)
		if (tie->module == module && tie->stamp < keyframe->stamp)
			gone[n++] = tie;
	for (size_t i = 0; i < n; i++)
		tie_end(state, device, gone[i], now_ms);
	n = 0;
	for (size_t at = 0; (thing = map_next(device->things, &at));)
		if (!thing->shared && thing->module == module && thing->stamp < keyframe->stamp)
			gone[n++] = thing;
	for (size_t i = 0; i < n; i++)
		thing_end(state, device, gone[i], now_ms);
	mem_free(gone);
}

/* ---- the rest ---- */

void state_missing(struct state *state, struct device *device, uint64_t events)
{
	if (events == 0)
		return;
	if (device->missing == 0)
		device->missing_since_us = device->now_us;
	device->missing = device->missing + events < events ? UINT64_MAX : device->missing + events;
	device->missing_changed = ++state->version;
}

void state_source(struct state *state, struct device *device, const char *module, struct str text)
{
	for (size_t i = 0; i < STATE_SOURCES; i++) {
		struct source *source = &device->sources[i];
		if (source->module[0] && strcmp(source->module, module) != 0)
			continue;
		snprintf(source->module, sizeof source->module, "%s", module);
		utf8_clean(text, source->text, sizeof source->text);
		source->changed = device->sources_changed = ++state->version;
		return;
	}
}

void state_sweep(struct state *state, struct device *device, uint64_t now_ms)
{
	while (!list_empty(&device->ended_ties)) {
		struct tie *tie = LIST_ENTRY(device->ended_ties.next, struct tie, ended);
		if (tie->ended_ms + STATE_LINGER_MS > now_ms)
			break;
		tie_remove(state, device, tie);
	}
	while (!list_empty(&device->ended_things)) {
		struct thing *thing = LIST_ENTRY(device->ended_things.next, struct thing, ended);
		if (thing->ended_ms + STATE_LINGER_MS > now_ms)
			break;
		thing_remove(state, device, thing);
	}
}

/* Entries are freed where they stand, and their maps with them: removing one by one would take far longer. */
void state_device_remove(struct state *state, struct device *device)
{
	struct thing *thing;
	struct tie *tie;
	for (size_t at = 0; (tie = map_next(device->ties, &at));) {
		if (tie->claimed)
			claim_change(state, tie->id, device, false);
		state->bytes -= tie_size(tie) + OVERHEAD;
		mem_free(tie);
	}
	for (size_t at = 0; (thing = map_next(device->things, &at));) {
		state->bytes -= thing_size(thing) + texts_size(thing) + OVERHEAD;
		mem_free(thing->label);
		mem_free(thing);
	}
	map_remove(state->devices, &device->id, sizeof device->id);
	list_remove(&device->node);
	state->n_devices--;
	state->bytes -= sizeof *device;
	state->changed = ++state->version;
	device_free(device);
}
