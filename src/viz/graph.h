/* viz/graph.h: how a build changes a view's graph: begin, everything that is there, end; what was not named is gone then. */
#ifndef VIZ_GRAPH_H
#define VIZ_GRAPH_H
#include "viz/view.h"

void graph_begin(struct view *view);
/* By live->id; x and y are not looked at.  NULL: memory is short. */
struct view_node *graph_node(struct view *view, const murmesh_LiveNode *live);
/* Bytes of several edges with the same ends add up; nothing without two different ends, or beyond VIEW_EDGES_MAX. */
void graph_edge(struct view *view, struct view_node *from, struct view_node *to, const char *kind, uint64_t bytes);
void graph_end(struct view *view, uint64_t now_ms);
#endif
