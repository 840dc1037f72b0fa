#include "viz/layout.h"

#include <math.h>

#include "base/test.h"

#define N 120

struct graph {
	struct layout_body bodies[LAYOUT_BODIES_MAX];
	struct layout_link links[2 * LAYOUT_BODIES_MAX];
	size_t n, n_links;
};

/* Stars: each tenth body has nine around it, and the centres are linked in a row. */
static struct graph *stars(size_t n)
{
	static struct graph graph;
	graph.n = n;
	graph.n_links = 0;
	for (uint32_t i = 0; i < n; i++) {
		layout_place(&graph.bodies[i], 0, 0, 0.9f, i * 7919);
		if (i % 10)
			graph.links[graph.n_links++] = (struct layout_link){ i / 10 * 10, i };
		else if (i)
			graph.links[graph.n_links++] = (struct layout_link){ i - 10, i };
	}
	return &graph;
}

static unsigned settle(struct graph *graph)
{
	unsigned steps = 0;
	while (steps < 1000 && layout_step(graph->bodies, graph->n, graph->links, graph->n_links))
		steps++;
	return steps;
}

static float distance(const struct layout_body *a, const struct layout_body *b)
{
	return hypotf(a->x - b->x, a->y - b->y);
}

static void check_inside(const struct graph *graph)
{
	for (size_t i = 0; i < graph->n; i++) {
		assert_true(graph->bodies[i].x >= -1 && graph->bodies[i].x <= 1);
		assert_true(graph->bodies[i].y >= -1 && graph->bodies[i].y <= 1);
	}
}

static void converges(void **state)
{
	struct graph *graph = stars(N);
	(void)state;
	unsigned steps = settle(graph);
	assert_in_range(steps, 20, 200);
	check_inside(graph);
	assert_false(layout_step(graph->bodies, graph->n, graph->links, graph->n_links));
}

/* What is linked stands nearer than what is not, and nothing on top of something else. */
static void linked_is_near(void **state)
{
	struct graph *graph = stars(N);
	float linked = 0, any = 0, nearest = 9;
	size_t n_any = 0;
	(void)state;
	settle(graph);
	for (size_t i = 0; i < graph->n_links; i++)
		linked += distance(&graph->bodies[graph->links[i].a], &graph->bodies[graph->links[i].b]);
	for (size_t i = 0; i < N; i++)
		for (size_t k = i + 1; k < N; k++, n_any++) {
			float d = distance(&graph->bodies[i], &graph->bodies[k]);
			any += d;
			nearest = d < nearest ? d : nearest;
		}
	assert_true(linked / (float)graph->n_links < 0.4f * any / (float)n_any);
	assert_true(nearest > 0.005f);
}

static void same_input_same_places(void **state)
{
	static struct graph first;
	(void)state;
	settle(stars(N));
	first = *stars(N);
	settle(&first);
	struct graph *again = stars(N);
	settle(again);
	assert_memory_equal(first.bodies, again->bodies, N * sizeof *first.bodies);
}

/* What stands where it is stays, and what is new comes near its neighbour. */
static void stable(void **state)
{
	static struct graph before;
	struct graph *graph = stars(N);
	(void)state;
	settle(graph);
	before = *graph;
	layout_place(&graph->bodies[N], graph->bodies[50].x, graph->bodies[50].y, 0.1f, 12345);
	graph->links[graph->n_links++] = (struct layout_link){ 50, N };
	graph->n++;
	graph->bodies[50].heat = LAYOUT_WARM;
	settle(graph);
	for (size_t i = 0; i < N; i++)
		if (i != 50)
			assert_true(distance(&before.bodies[i], &graph->bodies[i]) == 0);
	assert_true(distance(&before.bodies[50], &graph->bodies[50]) < 0.3f);
	assert_true(distance(&graph->bodies[50], &graph->bodies[N]) < 0.5f);
}

static void all_in_one_place(void **state)
{
	static struct graph graph;
	(void)state;
	graph = (struct graph){ .n = LAYOUT_BODIES_MAX };
	for (size_t i = 0; i < graph.n; i++)
		graph.bodies[i].heat = LAYOUT_HOT;
	settle(&graph);
	check_inside(&graph);
	assert_true(distance(&graph.bodies[0], &graph.bodies[1]) > 0);
	for (size_t i = 0; i < graph.n; i++)
		assert_true(isfinite(graph.bodies[i].x) && isfinite(graph.bodies[i].y));
}

static void none_and_one(void **state)
{
	struct layout_body one;
	(void)state;
	assert_false(layout_step(&one, 0, NULL, 0));
	layout_place(&one, 1, -1, 0.5f, 3);
	assert_true(one.x <= 1 && one.y >= -1);
	while (layout_step(&one, 1, NULL, 0))
		;
	assert_true(one.heat == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(converges), cmocka_unit_test(linked_is_near),   cmocka_unit_test(same_input_same_places),
		cmocka_unit_test(stable),    cmocka_unit_test(all_in_one_place), cmocka_unit_test(none_and_one),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
