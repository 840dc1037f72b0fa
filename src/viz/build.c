/* A view's graph out of the state: which things there are, which of them are drawn as one, and what ties them. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "viz/graph.h"
#include "viz/group.h"
#include "viz/view.h"

#define OWN_MIN   300 /* own things, or devices, that are drawn singly at least when there is much else too */
#define SLOT_NONE UINT32_MAX

struct build {
	struct view *view;
	struct state *state;
	const struct scope *scope;
	struct device *device;           /* of which the view is, when it is of one */
	struct view_node *centre;        /* its node */
	struct group_item *own, *shared; /* own: its things, or the devices; shared: what is out there */
	size_t n_own, n_shared;
	struct map *by_id; /* of several devices: shared items, each once */
	struct group own_groups[VIEW_NODES_MAX], shared_groups[VIEW_NODES_MAX];
};

/* The devices of the scope that are known; start with *at = 0. */
static struct device *device_next(const struct build *build, size_t *at)
{
	if (!build->view->fleet)
		return (*at)++ == 0 ? build->device : NULL;
	if (build->scope->all)
		return map_next(build->state->devices, at);
	while (*at < build->scope->n_devices) {
		struct device *device = state_device_find(build->state, &build->scope->devices[(*at)++]);
		if (device)
			return device;
	}
	return NULL;
}

/* ---- what there is ---- */

static int items_alloc(struct build *build)
{
	size_t n = 0, at = 0;
	for (struct device *device; (device = device_next(build, &at));) {
		n += 1 + map_count(device->things);
		build->view->cost += 1 + map_count(device->things) + map_count(device->ties);
	}
	build->own = mem_alloc_array(n + 1, sizeof *build->own);
	build->shared = mem_alloc_array(n + 1, sizeof *build->shared);
	if (build->view->fleet)
		build->by_id = map_new(build->state->seed, n + 1);
	return build->own && build->shared && (build->by_id || !build->view->fleet) ? 0 : -E_NO_MEMORY;
}

/* Of a tie that two devices of the scope have: the other one. */
static struct device *peer_of(const struct build *build, const struct device *device, const struct tie *tie)
{
	struct device *peer = build->view->fleet ? state_tie_peer(build->state, device, tie) : NULL;
	return peer && scope_has(build->scope, &peer->id) ? peer : NULL;
}

/* Not when all its ties are with other devices, which are drawn instead. */
static bool is_drawn(const struct build *build, const struct device *device, const struct thing *thing)
{
	if (!build->view->fleet)
		return thing->kind != NULL;
	if (!thing->kind || !thing->shared || state_is_own(thing->id))
		return false;
	LIST_EACH(at, &thing->in)
		if (!peer_of(build, device, LIST_ENTRY(at, struct tie, at_to)))
			return true;
	return false;
}

static uint32_t item_add(struct group_item *items, size_t *n, const void *thing)
{
	items[*n].thing = thing;
	return (uint32_t)(*n)++;
}

static uint32_t shared_add(struct build *build, const struct thing *thing)
{
	struct group_item *item = build->by_id ? map_get(build->by_id, thing->id, strlen(thing->id)) : NULL;
	if (item)
		return (uint32_t)(item - build->shared);
	if (build->by_id && map_put(build->by_id, thing->id, strlen(thing->id), &build->shared[build->n_shared]) < 0)
		return SLOT_NONE;
	return item_add(build->shared, &build->n_shared, thing);
}

static void things_list(struct build *build)
{
	size_t at_device = 0;
	struct device *device;
	struct thing *thing;
	while ((device = device_next(build, &at_device))) {
		if (build->view->fleet)
			device->slot = item_add(build->own, &build->n_own, device);
		for (size_t at = 0; (thing = map_next(device->things, &at));) {
			thing->slot = SLOT_NONE;
			if (!is_drawn(build, device, thing))
				continue;
			thing->slot = thing->shared ? shared_add(build, thing) : item_add(build->own, &build->n_own, thing);
		}
	}
}

/* ---- which are drawn as one ---- */

static void own_key(const void *item, unsigned level, char out[GROUP_KEY_SIZE])
{
	const struct thing *thing = item;
	char label[GROUP_KEY_SIZE - 24];
	utf8_clean(str_from(thing->label), label, sizeof label);
	if (level == 0)
		snprintf(out, GROUP_KEY_SIZE, "%.15s/%s", thing->kind, label);
	else
		snprintf(out, GROUP_KEY_SIZE, "%.15s", thing->kind);
}

static void device_key(const void *item, unsigned level, char out[GROUP_KEY_SIZE])
{
	(void)item, (void)level;
	snprintf(out, GROUP_KEY_SIZE, "device");
}

static bool subnet_key(const char *address, unsigned v4_bytes, unsigned v6_bytes, char out[GROUP_KEY_SIZE])
{
	uint8_t bytes[16];
	char text[INET6_ADDRSTRLEN];
	bool v4 = inet_pton(AF_INET, address, bytes) == 1;
	unsigned kept = v4 ? v4_bytes : v6_bytes;
	if (!v4 && inet_pton(AF_INET6, address, bytes) != 1)
		return false;
	memset(bytes + kept, 0, sizeof bytes - kept);
	inet_ntop(v4 ? AF_INET : AF_INET6, bytes, text, sizeof text);
	snprintf(out, GROUP_KEY_SIZE, "net/%s/%u", text, 8 * kept);
	return true;
}

static void shared_key(const void *item, unsigned level, char out[GROUP_KEY_SIZE])
{
	const struct thing *thing = item;
	if (level == 0 && subnet_key(thing->label, 3, 8, out))
		return;
	if (level == 1 && subnet_key(thing->label, 2, 6, out))
		return;
	if (level < 3)
		snprintf(out, GROUP_KEY_SIZE, "port/%u", thing->port);
	else
		snprintf(out, GROUP_KEY_SIZE, "address");
}

static void more_id(const char *key, char id[96])
{
	snprintf(id, 96, "more/%s", key);
}

static bool was_group(void *ctx, const char *key)
{
	const struct view *view = ctx;
	char id[96];
	more_id(key, id);
	const struct view_node *node = map_get(view->by_id, id, strlen(id));
	return node && !node->dead;
}

/* Each sort gets what the other leaves; when both want more than there is, each its share. */
static size_t own_budget(const struct build *build)
{
	size_t most = VIEW_NODES_MAX - 1;
	if (build->n_shared < most - OWN_MIN)
		return most - build->n_shared;
	if (build->n_own < OWN_MIN)
		return build->n_own ? build->n_own : 1;
	return OWN_MIN;
}

static int groups_make(struct build *build, int *ret_own, int *ret_shared)
{
	const struct group_rule own = { 2, own_key, was_group, build->view }, devices = { 1, device_key, was_group, build->view };
	const struct group_rule shared = { 4, shared_key, was_group, build->view };
	size_t budget = own_budget(build);
	*ret_own = group_items(build->own, build->n_own, budget, build->view->fleet ? &devices : &own, build->own_groups);
	*ret_shared = group_items(build->shared, build->n_shared, VIEW_NODES_MAX - 1 - budget, &shared, build->shared_groups);
	return *ret_own < 0 || *ret_shared < 0 ? -E_NO_MEMORY : 0;
}

/* ---- nodes ---- */

static void node_of(murmesh_LiveNode *live, const struct id *device)
{
	live->device.size = sizeof device->bytes;
	memcpy(live->device.bytes, device->bytes, sizeof device->bytes);
}

static struct view_node *device_node(struct view *view, const struct id *id)
{
	murmesh_LiveNode live = { .kind = "device" };
	node_of(&live, id);
	id_format(id, live.id);
	memcpy(live.label, live.id, 8);
	return graph_node(view, &live);
}

/* The id with the device's in place of its mark. */
static void whole_id(const char *id, const char *device, char out[96])
{
	struct str rest, head = str_cut(str_from(id), STATE_OWN[0], &rest);
	char text[STATE_ID_SIZE + ID_TEXT_SIZE];
	snprintf(text, sizeof text, "%.*s%s%.*s", STR_ARG(head), state_is_own(id) ? device : "", STR_ARG(rest));
	utf8_clean(str_from(text), out, 96);
}

static struct view_node *thing_node(struct build *build, const struct thing *thing)
{
	murmesh_LiveNode live = { .pid = thing->pid };
	if (build->device)
		node_of(&live, &build->device->id);
	whole_id(thing->id, build->device ? build->device->text : "", live.id);
	snprintf(live.kind, sizeof live.kind, "%.15s", thing->kind);
	snprintf(live.label, sizeof live.label, "%s", thing->label);
	snprintf(live.detail, sizeof live.detail, "%s", thing->detail);
	return graph_node(build->view, &live);
}

/* "php-fpm", "10.1.2.0/24", "port 443", "other address": the page adds how many. */
static void more_label(const char *key, char out[96])
{
	struct str rest, kind = str_cut(str_from(key), '/', &rest);
	if (str_is(kind, "port"))
		snprintf(out, 96, "port %.*s", STR_ARG(rest));
	else if (rest.len)
		snprintf(out, 96, "%.*s", STR_ARG(rest));
	else
		snprintf(out, 96, "other %.*s", STR_ARG(kind));
}

static struct view_node *more_node(struct build *build, const struct group *group)
{
	murmesh_LiveNode live = { .kind = "more", .count = group->count };
	if (build->device)
		node_of(&live, &build->device->id);
	more_id(group->key, live.id);
	more_label(group->key, live.label);
	return graph_node(build->view, &live);
}

static struct view_node *own_node(struct build *build, const struct group_item *item)
{
	if (build->view->fleet)
		return device_node(build->view, &((const struct device *)item->thing)->id);
	return thing_node(build, item->thing);
}

static void nodes_make(struct build *build, int n_own_groups, int n_shared_groups)
{
	for (int i = 0; i < n_own_groups; i++)
		build->own_groups[i].node = more_node(build, &build->own_groups[i]);
	for (int i = 0; i < n_shared_groups; i++)
		build->shared_groups[i].node = more_node(build, &build->shared_groups[i]);
	for (size_t i = 0; i < build->n_own; i++) {
		struct group_item *item = &build->own[i];
		item->node = item->group == GROUP_NONE ? own_node(build, item) : build->own_groups[item->group].node;
	}
	for (size_t i = 0; i < build->n_shared; i++) {
		struct group_item *item = &build->shared[i];
		item->node = item->group == GROUP_NONE ? thing_node(build, item->thing) : build->shared_groups[item->group].node;
	}
}

/* ---- edges ---- */

static struct view_node *end_node(const struct build *build, const struct thing *thing)
{
	if (!thing || (!thing->kind && !build->view->fleet))
		return build->centre;
	if (thing->slot == SLOT_NONE)
		return NULL;
	return thing->shared ? build->shared[thing->slot].node : build->own[thing->slot].node;
}

static void tie_draw(struct build *build, struct device *device, const struct tie *tie)
{
	uint64_t bytes = tie->bytes[0] + tie->bytes[1];
	struct device *peer = peer_of(build, device, tie);
	if (!build->view->fleet)
		graph_edge(build->view, end_node(build, tie->from), end_node(build, tie->to), tie->kind, bytes);
	else if (!peer && tie->to)
		graph_edge(build->view, build->own[device->slot].node, end_node(build, tie->to), tie->kind, bytes);
	else if (peer && memcmp(&device->id, &peer->id, sizeof device->id) < 0) /* both have it: it is drawn once */
		graph_edge(build->view, build->own[device->slot].node, build->own[peer->slot].node, tie->kind, bytes);
}

static void ties_draw(struct build *build)
{
	size_t at_device = 0;
	struct device *device;
	struct tie *tie;
	while ((device = device_next(build, &at_device)))
		for (size_t at = 0; (tie = map_next(device->ties, &at));)
			tie_draw(build, device, tie);
	for (size_t i = 0; build->device && i < build->n_own; i++) /* whose parent is not known */
		if (list_empty(&((const struct thing *)build->own[i].thing)->in))
			graph_edge(build->view, build->centre, build->own[i].node, "child", 0);
}

void view_build(struct view *view, struct state *state, const struct scope *scope, uint64_t now_ms)
{
	static struct build build;
	int n_own, n_shared;
	build = (struct build){ .view = view, .state = state, .scope = scope };
	view->cost = 0;
	view->version = state->version;
	if (!view->fleet)
		build.device = state_device_find(state, &scope->devices[0]);
	if (items_alloc(&build) < 0)
		goto out;
	things_list(&build);
	if (groups_make(&build, &n_own, &n_shared) < 0)
		goto out;
	graph_begin(view);
	if (!view->fleet)
		build.centre = device_node(view, &scope->devices[0]);
	nodes_make(&build, n_own, n_shared);
	ties_draw(&build);
	graph_end(view, now_ms);
out:
	mem_free(build.own);
	mem_free(build.shared);
	map_free(build.by_id);
}
