/* viz/view.h: the graph that one watcher sees: at most VIEW_NODES_MAX nodes of what the state holds, the rest aggregated; where
 * they are drawn; and what of it he has been told.
 *
 * Of one device: device, processes, remote addresses.  Of several: devices and addresses.
 * A node or edge that is gone stays until he was told (dead), and lives again when it comes back before: so the memory of a view is bounded by
 * its graph, however long he does not read. */
#ifndef VIZ_VIEW_H
#define VIZ_VIEW_H
#include "live.pb.h"
#include "viz/layout.h"
#include "viz/state.h"
#include "viz/ticket.h"

#define VIEW_NODES_MAX 500
#define VIEW_EDGES_MAX 2000

struct view_node {
	struct list list; /* in view.nodes */
	murmesh_LiveNode live;
	struct layout_body body; /* where it is; live has where he was told it is */
	uint64_t pass;           /* the last build that had it */
	uint32_t index;          /* inside a step of the layout */
	unsigned n_edges;
	bool placed, sent, dirty, dead;
};

struct view_edge {
	struct list list;
	struct view_node *from, *to;
	uint64_t bytes, rate, bytes_then; /* then: when the rate was last taken */
	uint64_t pass;
	const char *kind;
	bool sent, dirty, dead;
};

struct view {
	bool fleet;
	struct list nodes, edges;
	struct map *by_id, *by_ends;
	size_t n_nodes, n_edges; /* those that live */
	size_t n_heated;         /* nodes there were when all were last heated */
	uint64_t pass, version;  /* version: of the state, when it was built */
	uint64_t rate_ms;        /* when rates were last taken */
	bool flowing;            /* some edge had a rate then */
	size_t cost;             /* entries of the state that the last build looked at */
};

int view_init(struct view *view, bool fleet, const uint8_t seed[16]);
void view_done(struct view *view);
/* Makes it what the state is now.  A part that finds no memory is left out until the next build. */
void view_build(struct view *view, struct state *state, const struct scope *scope, uint64_t now_ms);
/* Moves nodes; false when all have found their place. */
bool view_move(struct view *view, unsigned steps);
/* He was told that it is gone. */
void view_edge_forget(struct view *view, struct view_edge *edge);
void view_node_forget(struct view *view, struct view_node *node);
#endif
