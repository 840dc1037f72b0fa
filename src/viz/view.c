#include "viz/view.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/map.h"
#include "base/mem.h"
#include "viz/graph.h"

#define PLACE_ROUNDS 8
#define PLACE_NEAR   0.12f
#define RATE_MS      1000
#define MOVE_TOLD    0.01f /* who moved less is told when it rests */

int view_init(struct view *view, bool fleet, const uint8_t seed[16])
{
	*view = (struct view){ .fleet = fleet };
	list_init(&view->nodes);
	list_init(&view->edges);
	view->by_id = map_new(seed, (size_t)3 * VIEW_NODES_MAX);
	view->by_ends = map_new(seed, (size_t)3 * VIEW_EDGES_MAX);
	if (view->by_id && view->by_ends)
		return 0;
	view_done(view);
	return -E_NO_MEMORY;
}

void view_done(struct view *view)
{
	LIST_EACH(at, &view->edges)
		mem_free(LIST_ENTRY(at, struct view_edge, list));
	LIST_EACH(at, &view->nodes)
		mem_free(LIST_ENTRY(at, struct view_node, list));
	view->by_id = map_free(view->by_id);
	view->by_ends = map_free(view->by_ends);
}

/* ---- nodes ---- */

static bool live_equal(const murmesh_LiveNode *a, const murmesh_LiveNode *b)
{
	return a->count == b->count && a->pid == b->pid && strcmp(a->label, b->label) == 0 && strcmp(a->detail, b->detail) == 0;
}

static struct view_node *node_make(struct view *view, const murmesh_LiveNode *live)
{
	struct view_node *node = mem_alloc(sizeof *node);
	if (!node || map_put(view->by_id, live->id, strlen(live->id), node) < 0) {
		mem_free(node);
		return NULL;
	}
	node->live = *live;
	node->dirty = true;
	view->n_nodes++;
	list_append(&view->nodes, &node->list);
	return node;
}

struct view_node *graph_node(struct view *view, const murmesh_LiveNode *live)
{
	struct view_node *node = map_get(view->by_id, live->id, strlen(live->id));
	if (!node)
		node = node_make(view, live);
	if (!node)
		return NULL;
	node->pass = view->pass;
	if (node->dead || !live_equal(&node->live, live)) {
		view->n_nodes += node->dead;
		node->dead = false;
		node->live = *live;
		node->live.x = node->body.x;
		node->live.y = node->body.y;
		node->dirty = true;
	}
	return node;
}

void view_node_forget(struct view *view, struct view_node *node)
{
	map_remove(view->by_id, node->live.id, strlen(node->live.id));
	list_remove(&node->list);
	mem_free(node);
}

/* ---- edges ---- */

struct ends {
	const struct view_node *from, *to;
};

static struct view_edge *edge_make(struct view *view, const struct ends *ends, struct view_node *from, struct view_node *to,
                                   const char *kind)
{
	struct view_edge *edge = view->n_edges < VIEW_EDGES_MAX ? mem_alloc(sizeof *edge) : NULL;
	if (!edge || map_put(view->by_ends, ends, sizeof *ends, edge) < 0) {
		mem_free(edge);
		return NULL;
	}
	*edge = (struct view_edge){ .from = from, .to = to, .kind = kind, .dirty = true };
	from->n_edges++;
	to->n_edges++;
	view->n_edges++;
	list_append(&view->edges, &edge->list);
	return edge;
}

static void warm(struct view_node *node)
{
	if (node->body.heat < LAYOUT_WARM)
		node->body.heat = LAYOUT_WARM;
}

void graph_edge(struct view *view, struct view_node *from, struct view_node *to, const char *kind, uint64_t bytes)
{
	const struct ends ends = { from, to };
	if (!from || !to || from == to)
		return;
	struct view_edge *edge = map_get(view->by_ends, &ends, sizeof ends);
	bool new = !edge || edge->dead;
	if (!edge)
		edge = edge_make(view, &ends, from, to, kind);
	if (!edge)
		return;
	if (new) {
		warm(from);
		warm(to);
		view->n_edges += edge->dead;
		edge->dead = false;
		edge->dirty = true;
	}
	if (edge->pass != view->pass)
		edge->bytes = 0;
	edge->pass = view->pass;
	edge->bytes = edge->bytes + bytes < bytes ? UINT64_MAX : edge->bytes + bytes;
	if (new)
		edge->bytes_then = edge->bytes;
}

void view_edge_forget(struct view *view, struct view_edge *edge)
{
	const struct ends ends = { edge->from, edge->to };
	edge->from->n_edges--;
	edge->to->n_edges--;
	map_remove(view->by_ends, &ends, sizeof ends);
	list_remove(&edge->list);
	mem_free(edge);
}

/* ---- what a build leaves behind ---- */

static void sweep(struct view *view)
{
	LIST_EACH(at, &view->edges) {
		struct view_edge *edge = LIST_ENTRY(at, struct view_edge, list);
		if (edge->pass == view->pass || edge->dead)
			continue;
		view->n_edges--;
		edge->dead = true;
		if (!edge->sent)
			view_edge_forget(view, edge);
	}
	LIST_EACH(at, &view->nodes) {
		struct view_node *node = LIST_ENTRY(at, struct view_node, list);
		if (node->pass == view->pass || node->dead)
			continue;
		view->n_nodes--;
		node->dead = true;
		if (!node->sent && node->n_edges == 0)
			view_node_forget(view, node);
	}
}

static void take_rates(struct view *view, uint64_t now_ms)
{
	uint64_t passed = now_ms - view->rate_ms;
	if (passed < RATE_MS)
		return;
	view->rate_ms = now_ms;
	view->flowing = false;
	LIST_EACH(at, &view->edges) {
		struct view_edge *edge = LIST_ENTRY(at, struct view_edge, list);
		uint64_t more = edge->bytes > edge->bytes_then ? edge->bytes - edge->bytes_then : 0;
		uint64_t rate = more > UINT64_MAX / 1000 ? more : more * 1000 / passed;
		edge->dirty |= rate != edge->rate || edge->bytes != edge->bytes_then;
		edge->rate = rate;
		view->flowing |= rate > 0;
		edge->bytes_then = edge->bytes;
	}
}

static void place(struct view_node *node, const struct view_node *near, float spread)
{
	uint32_t seed = 2166136261u; /* FNV-1a: another direction for each name, the same one whenever it comes */
	for (const char *c = node->live.id; *c; c++)
		seed = (seed ^ (uint8_t)*c) * 16777619u;
	layout_place(&node->body, near ? near->body.x : 0, near ? near->body.y : 0, spread, seed);
	node->placed = true;
}

static void place_all(struct view *view, bool devices_only, float spread)
{
	LIST_EACH(at, &view->nodes) {
		struct view_node *node = LIST_ENTRY(at, struct view_node, list);
		if (!node->placed && (!devices_only || strcmp(node->live.kind, "device") == 0))
			place(node, NULL, spread);
	}
}

/* New nodes begin beside one that they are linked to. */
static void place_new(struct view *view)
{
	bool more = true;
	place_all(view, true, view->fleet ? 0.9f : 0.01f);
	for (unsigned round = 0; more && round < PLACE_ROUNDS; round++) {
		more = false;
		LIST_EACH(at, &view->edges) {
			struct view_edge *edge = LIST_ENTRY(at, struct view_edge, list);
			if (edge->from->placed == edge->to->placed)
				continue;
			if (edge->from->placed)
				place(edge->to, edge->from, PLACE_NEAR);
			else
				place(edge->from, edge->to, PLACE_NEAR);
			more = true;
		}
	}
	place_all(view, false, 0.9f);
}

/* When the graph has become much larger or smaller, everything has to make room for the rest. */
static void heat_all(struct view *view)
{
	size_t now = view->n_nodes, then = view->n_heated;
	if (now * 4 <= then * 5 && now * 5 >= then * 4)
		return;
	view->n_heated = now;
	LIST_EACH(at, &view->nodes) {
		struct view_node *node = LIST_ENTRY(at, struct view_node, list);
		if (node->body.heat < LAYOUT_HOT / 2)
			node->body.heat = LAYOUT_HOT / 2;
	}
}

void graph_begin(struct view *view)
{
	view->pass++;
}

void graph_end(struct view *view, uint64_t now_ms)
{
	sweep(view);
	place_new(view);
	heat_all(view);
	take_rates(view, now_ms);
}

/* ---- layout ---- */

static size_t bodies_take(struct view *view, struct layout_body *bodies)
{
	uint32_t n = 0;
	LIST_EACH(at, &view->nodes) {
		struct view_node *node = LIST_ENTRY(at, struct view_node, list);
		if (node->dead)
			continue;
		node->index = n;
		bodies[n++] = node->body;
	}
	return n;
}

static size_t links_take(struct view *view, struct layout_link *links)
{
	size_t n = 0;
	LIST_EACH(at, &view->edges) {
		struct view_edge *edge = LIST_ENTRY(at, struct view_edge, list);
		if (!edge->dead)
			links[n++] = (struct layout_link){ edge->from->index, edge->to->index };
	}
	return n;
}

static void bodies_give(struct view *view, const struct layout_body *bodies)
{
	LIST_EACH(at, &view->nodes) {
		struct view_node *node = LIST_ENTRY(at, struct view_node, list);
		if (node->dead)
			continue;
		node->body = bodies[node->index];
		float x = node->body.x - node->live.x, y = node->body.y - node->live.y;
		bool far = x * x + y * y > MOVE_TOLD * MOVE_TOLD, rests = node->body.heat == 0 && (x != 0 || y != 0);
		if (!far && !rests)
			continue;
		node->live.x = node->body.x;
		node->live.y = node->body.y;
		node->dirty = true;
	}
}

bool view_move(struct view *view, unsigned steps)
{
	static struct layout_body bodies[VIEW_NODES_MAX];
	static struct layout_link links[VIEW_EDGES_MAX];
	size_t n_bodies = bodies_take(view, bodies), n_links = links_take(view, links);
	bool moved = false;
	for (unsigned i = 0; i < steps && layout_step(bodies, n_bodies, links, n_links); i++)
		moved = true;
	bodies_give(view, bodies);
	return moved;
}
