/* After Fruchterman and Reingold, "Graph drawing by force-directed placement" (1991), in its grid variant: only what is near repels. */
#include "viz/layout.h"

#include <math.h>
#include <string.h>

#define COOLING  0.96f
#define COLD     0.0008f
#define GRAVITY  0.4f /* to the middle, so that parts without a link do not drift away */
#define GRID_MAX 32
#define REACH    2.5f /* in ideal distances: beyond, nothing repels */

struct grid {
	int32_t heads[GRID_MAX * GRID_MAX], nexts[LAYOUT_BODIES_MAX];
	unsigned side;
	float cell;
};

static float unit(uint32_t seed)
{
	seed = (seed ^ seed >> 16) * 0x7feb352du;
	seed = (seed ^ seed >> 15) * 0x846ca68bu;
	return (float)((seed ^ seed >> 16) >> 8) / (float)(1u << 24);
}

static float clamp(float v, float low, float high)
{
	return v < low ? low : v > high ? high : v;
}

void layout_place(struct layout_body *body, float x, float y, float spread, uint32_t seed)
{
	float angle = unit(seed) * 6.2831853f, distance = spread * sqrtf(0.1f + 0.9f * unit(seed ^ 0x9e3779b9u));
	*body = (struct layout_body){ .x = clamp(x + distance * cosf(angle), -1, 1),
		                      .y = clamp(y + distance * sinf(angle), -1, 1),
		                      .heat = LAYOUT_HOT };
}

static unsigned grid_index(const struct grid *grid, float v)
{
	unsigned i = (unsigned)((v + 1) / grid->cell);
	return i < grid->side ? i : grid->side - 1;
}

static void grid_fill(struct grid *grid, const struct layout_body *bodies, size_t n, float reach)
{
	grid->side = (unsigned)clamp(2 / reach, 1, GRID_MAX);
	grid->cell = 2 / (float)grid->side;
	memset(grid->heads, -1, sizeof grid->heads);
	for (size_t i = 0; i < n; i++) {
		int32_t *head = &grid->heads[grid_index(grid, bodies[i].y) * grid->side + grid_index(grid, bodies[i].x)];
		grid->nexts[i] = *head;
		*head = (int32_t)i;
	}
}

static void repel(struct layout_body *a, struct layout_body *b, uint32_t seed, float ideal)
{
	float x = a->x - b->x, y = a->y - b->y, square = x * x + y * y;
	if (square > REACH * REACH * ideal * ideal)
		return;
	if (square < 1e-8f) { /* one on the other: apart, in any direction */
		x = (unit(seed) - 0.5f) * 1e-3f;
		y = (unit(seed + 1) - 0.5f) * 1e-3f;
		square = 1e-6f;
	}
	float force = ideal * ideal / square;
	a->dx += x * force;
	a->dy += y * force;
	b->dx -= x * force;
	b->dy -= y * force;
}

/* Each pair of near bodies once: those behind in the own cell, and all in half of the neighbour cells. */
static void repel_near(const struct grid *grid, struct layout_body *bodies, uint32_t i, float ideal)
{
	static const int around[][2] = { { 1, 0 }, { -1, 1 }, { 0, 1 }, { 1, 1 } };
	int column = (int)grid_index(grid, bodies[i].x), row = (int)grid_index(grid, bodies[i].y), side = (int)grid->side;
	for (int32_t k = grid->nexts[i]; k >= 0; k = grid->nexts[k])
		repel(&bodies[i], &bodies[k], i * LAYOUT_BODIES_MAX + (uint32_t)k, ideal);
	for (size_t n = 0; n < sizeof around / sizeof *around; n++) {
		int x = column + around[n][0], y = row + around[n][1];
		if (x < 0 || x >= side || y >= side)
			continue;
		for (int32_t k = grid->heads[y * side + x]; k >= 0; k = grid->nexts[k])
			repel(&bodies[i], &bodies[k], i * LAYOUT_BODIES_MAX + (uint32_t)k, ideal);
	}
}

static void attract(struct layout_body *a, struct layout_body *b, float ideal)
{
	float x = a->x - b->x, y = a->y - b->y, force = sqrtf(x * x + y * y) / ideal;
	a->dx -= x * force;
	a->dy -= y * force;
	b->dx += x * force;
	b->dy += y * force;
}

static void move(struct layout_body *body)
{
	float x = body->dx - GRAVITY * body->x, y = body->dy - GRAVITY * body->y, length = sqrtf(x * x + y * y);
	float scale = length > body->heat ? body->heat / length : 1;
	body->x = clamp(body->x + x * scale, -1, 1);
	body->y = clamp(body->y + y * scale, -1, 1);
	body->heat *= COOLING;
	if (body->heat < COLD)
		body->heat = 0;
}

static bool any_hot(const struct layout_body *bodies, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (bodies[i].heat > 0)
			return true;
	return false;
}

bool layout_step(struct layout_body *bodies, size_t n_bodies, const struct layout_link *links, size_t n_links)
{
	static struct grid grid;
	float ideal = 1.6f / sqrtf((float)n_bodies + 3);
	if (!any_hot(bodies, n_bodies))
		return false;
	for (size_t i = 0; i < n_bodies; i++)
		bodies[i].dx = bodies[i].dy = 0;
	grid_fill(&grid, bodies, n_bodies, REACH * ideal);
	for (size_t i = 0; i < n_bodies; i++)
		repel_near(&grid, bodies, (uint32_t)i, ideal);
	for (size_t i = 0; i < n_links; i++)
		attract(&bodies[links[i].a], &bodies[links[i].b], ideal);
	for (size_t i = 0; i < n_bodies; i++)
		if (bodies[i].heat > 0)
			move(&bodies[i]);
	return true;
}
