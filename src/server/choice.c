#include "server/choice.h"

#include <assert.h>

#include "base/str.h"

static bool is_there(const struct choice *choice, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (str_is(str_from(name), choice->roles[i].name))
			return true;
	return false;
}

void choice_make(struct priv_program *program, bool (*wanted)(void *ctx, const char *role), void *ctx, const char *passes_on,
                 struct choice *choice)
{
	size_t n_roles = 0, n_edges = 0;
	assert(program->n_roles <= sizeof choice->roles / sizeof *choice->roles);
	assert(program->n_edges <= sizeof choice->edges / sizeof *choice->edges);
	for (size_t i = 0; i < program->n_roles; i++)
		if (wanted(ctx, program->roles[i].name))
			choice->roles[n_roles++] = program->roles[i];
	for (size_t i = 0; i < program->n_edges; i++) {
		struct priv_edge edge = program->edges[i];
		bool there = is_there(choice, n_roles, edge.to);
		if (!there) {
			edge.as = edge.to;
			edge.to = passes_on;
		}
		if (is_there(choice, n_roles, edge.from) &&
		    (there || (edge.kind == PRIV_EDGE_RPC && !str_is(str_from(edge.from), passes_on))))
			choice->edges[n_edges++] = edge;
	}
	program->roles = choice->roles;
	program->n_roles = n_roles;
	program->edges = choice->edges;
	program->n_edges = n_edges;
}
