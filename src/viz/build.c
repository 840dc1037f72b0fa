/* A view's graph out of the state: which things there are, which of them are drawn as one, and what links them. */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "viz/graph.h"
#include "viz/group.h"
#include "viz/view.h"

#define THINGS_MIN  300 /* drawn singly at least, when there are many addresses too */
#define SLOT_NONE   UINT32_MAX
#define SLOT_THING  0x80000000u /* of a flow: its other end is this thing, else this address */
#define DETAIL_ARGV 232

struct build {
	struct view *view;
	struct state *state;
	const struct scope *scope;
	struct device *device;                 /* of which the view is, when it is of one */
	struct view_node *centre;              /* its node */
	struct group_item *things, *addresses; /* things: processes, or devices */
	size_t n_things, n_addresses, most_addresses;
	struct map *by_ip; /* of several devices: address items, for each address once */
	struct group thing_groups[VIEW_NODES_MAX], address_groups[VIEW_NODES_MAX];
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
	size_t n_things = 0, n_addresses = 0, at = 0;
	for (struct device *device; (device = device_next(build, &at));) {
		n_things += build->device ? map_count(device->processes) : 1;
		n_addresses += map_count(device->addresses);
		build->view->cost += 1 + map_count(device->processes) + map_count(device->flows);
	}
	build->things = mem_alloc_array(n_things + 1, sizeof *build->things);
	build->addresses = mem_alloc_array(n_addresses + 1, sizeof *build->addresses);
	build->most_addresses = n_addresses;
	if (!build->device)
		build->by_ip = map_new(build->state->seed, n_addresses + 1);
	return build->things && build->addresses && (build->device || build->by_ip) ? 0 : -E_NO_MEMORY;
}

static void thing_add(struct build *build, const void *thing, uint32_t *slot)
{
	*slot = (uint32_t)build->n_things;
	build->things[build->n_things++].thing = thing;
}

static void things_list(struct build *build)
{
	size_t at = 0;
	struct process *process;
	struct device *device;
	if (!build->device) {
		while ((device = device_next(build, &at)))
			thing_add(build, device, &device->slot);
		return;
	}
	while ((process = map_next(build->device->processes, &at)))
		thing_add(build, process, &process->slot);
}

static uint32_t address_slot(struct build *build, struct address *address)
{
	struct group_item *item =
	        address->slot == SLOT_NONE && build->by_ip ? map_get(build->by_ip, &address->ip, sizeof address->ip) : NULL;
	if (address->slot != SLOT_NONE)
		return address->slot;
	if (!item) {
		item = &build->addresses[build->n_addresses];
		item->thing = address;
		if (build->by_ip && map_put(build->by_ip, &address->ip, sizeof address->ip, item) < 0)
			return SLOT_NONE;
		build->n_addresses++;
	}
	return address->slot = (uint32_t)(item - build->addresses);
}

/* Of a connection between two that are both drawn only the side that opened it, which has the higher port. */
static bool opened(const struct flow *flow)
{
	return flow->key.local_port >= flow->key.remote_port;
}

/* What is at the other end. */
static uint32_t flow_slot(struct build *build, struct device *device, const struct flow *flow)
{
	struct device *other = device;
	struct flow *peer = state_flow_peer(build->state, flow, &other);
	if (build->device && other == device) {
		struct process *process = peer->pid ? state_process_find(device, peer->pid) : NULL;
		return process && opened(flow) ? process->slot | SLOT_THING : SLOT_NONE;
	}
	if (!build->device && other && other != device && scope_has(build->scope, &other->id))
		return opened(flow) ? other->slot | SLOT_THING : SLOT_NONE;
	if (other == device || ip_is_loopback(&flow->key.remote))
		return SLOT_NONE;
	return address_slot(build, flow->address);
}

static void flows_list(struct build *build)
{
	size_t at_device = 0;
	struct device *device;
	struct address *address;
	struct flow *flow;
	while ((device = device_next(build, &at_device))) {
		for (size_t at = 0; (address = map_next(device->addresses, &at));)
			address->slot = SLOT_NONE;
		for (size_t at = 0; (flow = map_next(device->flows, &at));)
			flow->slot = flow_slot(build, device, flow);
	}
}

/* ---- which are drawn as one ---- */

static void process_key(const void *thing, unsigned level, char out[GROUP_KEY_SIZE])
{
	const struct process *process = thing;
	char name[GROUP_KEY_SIZE - 8];
	utf8_clean(str_from(process->name), name, sizeof name);
	snprintf(out, GROUP_KEY_SIZE, "%s%s", level == 0 ? "name/" : "processes", level == 0 ? name : "");
}

static void device_key(const void *thing, unsigned level, char out[GROUP_KEY_SIZE])
{
	(void)thing, (void)level;
	snprintf(out, GROUP_KEY_SIZE, "devices");
}

static void subnet_key(const struct ip *address, unsigned v4_bytes, unsigned v6_bytes, char out[GROUP_KEY_SIZE])
{
	char text[IP_TEXT_SIZE];
	bool v4 = ip_is_v4(address);
	struct ip ip = *address;
	unsigned kept = v4 ? 12 + v4_bytes : v6_bytes;
	memset(ip.bytes + kept, 0, sizeof ip.bytes - kept);
	ip_format(&ip, text);
	snprintf(out, GROUP_KEY_SIZE, "net/%s/%u", text, 8 * (v4 ? v4_bytes : v6_bytes));
}

static void address_key(const void *thing, unsigned level, char out[GROUP_KEY_SIZE])
{
	const struct address *address = thing;
	if (level == 0)
		subnet_key(&address->ip, 3, 8, out);
	else if (level == 1)
		subnet_key(&address->ip, 2, 6, out);
	else if (level == 2)
		snprintf(out, GROUP_KEY_SIZE, "port/%u", address->port);
	else
		snprintf(out, GROUP_KEY_SIZE, "addresses");
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

static int groups_make(struct build *build, int *ret_things, int *ret_addresses)
{
	const struct group_rule processes = { 2, process_key, was_group, build->view };
	const struct group_rule devices = { 1, device_key, was_group, build->view };
	const struct group_rule addresses = { 4, address_key, was_group, build->view };
	size_t most = VIEW_NODES_MAX - 1, for_things = most;
	if (build->n_addresses < most - THINGS_MIN)
		for_things = most - build->n_addresses;
	else if (build->n_things < THINGS_MIN)
		for_things = build->n_things ? build->n_things : 1;
	else
		for_things = THINGS_MIN;
	*ret_things =
	        group_items(build->things, build->n_things, for_things, build->device ? &processes : &devices, build->thing_groups);
	*ret_addresses = group_items(build->addresses, build->n_addresses, most - for_things, &addresses, build->address_groups);
	return *ret_things < 0 || *ret_addresses < 0 ? -E_NO_MEMORY : 0;
}

/* ---- nodes ---- */

static void node_device(murmesh_LiveNode *live, const struct device *device)
{
	live->device.size = sizeof device->id.bytes;
	memcpy(live->device.bytes, device->id.bytes, sizeof device->id.bytes);
}

static struct view_node *device_node(struct view *view, const struct id *id)
{
	murmesh_LiveNode live = { .kind = "device" };
	const struct device device = { .id = *id };
	node_device(&live, &device);
	id_format(id, live.id);
	memcpy(live.label, live.id, 8);
	return graph_node(view, &live);
}

static struct view_node *process_node(struct build *build, const struct process *process)
{
	murmesh_LiveNode live = { .kind = "process", .pid = process->pid };
	char device[ID_TEXT_SIZE], argv[DETAIL_ARGV];
	id_format(&build->device->id, device);
	node_device(&live, build->device);
	snprintf(live.id, sizeof live.id, "proc/%s/%u-%llu", device, process->pid, (unsigned long long)process->start_ms);
	utf8_clean(str_from(process->name), live.label, sizeof live.label);
	utf8_clean(str_from(process->argv[0] ? process->argv : process->exe), argv, sizeof argv);
	snprintf(live.detail, sizeof live.detail, "%s (uid %u)", argv, process->uid);
	return graph_node(build->view, &live);
}

static struct view_node *address_node(struct build *build, const struct address *address)
{
	murmesh_LiveNode live = { .kind = "address" };
	if (build->device)
		node_device(&live, build->device);
	ip_format(&address->ip, live.id);
	memcpy(live.label, live.id, IP_TEXT_SIZE);
	return graph_node(build->view, &live);
}

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
		node_device(&live, build->device);
	more_id(group->key, live.id);
	more_label(group->key, live.label);
	return graph_node(build->view, &live);
}

static struct view_node *thing_node(struct build *build, const struct group_item *item)
{
	if (build->device)
		return process_node(build, item->thing);
	return device_node(build->view, &((const struct device *)item->thing)->id);
}

static void nodes_make(struct build *build, int n_thing_groups, int n_address_groups)
{
	for (int i = 0; i < n_thing_groups; i++)
		build->thing_groups[i].node = more_node(build, &build->thing_groups[i]);
	for (int i = 0; i < n_address_groups; i++)
		build->address_groups[i].node = more_node(build, &build->address_groups[i]);
	for (size_t i = 0; i < build->n_things; i++) {
		struct group_item *item = &build->things[i];
		item->node = item->group == GROUP_NONE ? thing_node(build, item) : build->thing_groups[item->group].node;
	}
	for (size_t i = 0; i < build->n_addresses; i++) {
		struct group_item *item = &build->addresses[i];
		item->node = item->group == GROUP_NONE ? address_node(build, item->thing) : build->address_groups[item->group].node;
	}
}

/* ---- edges ---- */

static struct view_node *process_home(const struct build *build, uint32_t pid)
{
	const struct process *process = pid ? state_process_find(build->device, pid) : NULL;
	return process ? build->things[process->slot].node : build->centre;
}

static void children_link(struct build *build)
{
	for (size_t i = 0; build->device && i < build->n_things; i++) {
		const struct process *process = build->things[i].thing;
		graph_edge(build->view, process_home(build, process->parent), build->things[i].node, false, 0);
	}
}

static void flows_link(struct build *build)
{
	size_t at_device = 0;
	struct device *device;
	struct flow *flow;
	while ((device = device_next(build, &at_device)))
		for (size_t at = 0; (flow = map_next(device->flows, &at));) {
			struct view_node *from = build->device ? process_home(build, flow->pid) : build->things[device->slot].node;
			if (flow->slot == SLOT_NONE)
				continue;
			const struct group_item *to =
			        flow->slot & SLOT_THING ? &build->things[flow->slot & ~SLOT_THING] : &build->addresses[flow->slot];
			graph_edge(build->view, from, to->node, true, flow->bytes[0] + flow->bytes[1]);
		}
}

void view_build(struct view *view, struct state *state, const struct scope *scope, uint64_t now_ms)
{
	static struct build build;
	int n_things, n_addresses;
	build = (struct build){ .view = view, .state = state, .scope = scope };
	view->cost = 0;
	view->version = state->version;
	if (!view->fleet)
		build.device = state_device_find(state, &scope->devices[0]);
	if (items_alloc(&build) < 0)
		goto out;
	things_list(&build);
	flows_list(&build);
	if (groups_make(&build, &n_things, &n_addresses) < 0)
		goto out;
	graph_begin(view);
	if (!view->fleet)
		build.centre = device_node(view, &scope->devices[0]);
	nodes_make(&build, n_things, n_addresses);
	children_link(&build);
	flows_link(&build);
	graph_end(view, now_ms);
out:
	mem_free(build.things);
	mem_free(build.addresses);
	map_free(build.by_ip);
}
