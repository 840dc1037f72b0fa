#include "viz/view.h"

#include "base/err.h"
#include "base/map.h"
#include "base/test.h"

static const struct id id_a = { { 0xaa } }, id_b = { { 0xbb } }, id_c = { { 0xcc } };
#define TEXT_A "aa000000000000000000000000000000"

struct world {
	struct state state;
	struct device *a, *b;
	struct scope scope;
	struct view view;
	uint64_t now_ms;
};

static struct world *world_make(const struct id *devices, size_t n)
{
	static struct world world;
	memset(&world, 0, sizeof world);
	assert_int_equal(state_init(&world.state), 0);
	assert_int_equal(scope_init(&world.scope, n == 0, devices, n), 0);
	assert_int_equal(view_init(&world.view, n != 1, world.state.seed), 0);
	world.a = state_device(&world.state, &id_a);
	world.b = state_device(&world.state, &id_b);
	world.now_ms = 1000;
	return &world;
}

static void world_done(struct world *world)
{
	view_done(&world->view);
	scope_done(&world->scope);
	state_done(&world->state);
}

static void build(struct world *world)
{
	world->now_ms += 100;
	view_build(&world->view, &world->state, &world->scope, world->now_ms);
	size_t nodes = 0, edges = 0;
	LIST_EACH(at, &world->view.nodes)
		nodes += !LIST_ENTRY(at, struct view_node, list)->dead;
	LIST_EACH(at, &world->view.edges)
		edges += !LIST_ENTRY(at, struct view_edge, list)->dead;
	assert_int_equal(nodes, world->view.n_nodes);
	assert_int_equal(edges, world->view.n_edges);
	assert_true(nodes <= VIEW_NODES_MAX && edges <= VIEW_EDGES_MAX);
}

static struct view_node *node(struct world *world, const char *id)
{
	struct view_node *found = map_get(world->view.by_id, id, strlen(id));
	return found && !found->dead ? found : NULL;
}

static struct view_edge *edge(struct world *world, const char *from, const char *to)
{
	LIST_EACH(at, &world->view.edges) {
		struct view_edge *edge = LIST_ENTRY(at, struct view_edge, list);
		if (!edge->dead && strcmp(edge->from->live.id, from) == 0 && strcmp(edge->to->live.id, to) == 0)
			return edge;
	}
	return NULL;
}

/* As if he had been told all. */
static void told(struct world *world)
{
	LIST_EACH(at, &world->view.edges) {
		struct view_edge *edge = LIST_ENTRY(at, struct view_edge, list);
		edge->sent = true;
		edge->dirty = false;
		if (edge->dead)
			view_edge_forget(&world->view, edge);
	}
	LIST_EACH(at, &world->view.nodes) {
		struct view_node *node = LIST_ENTRY(at, struct view_node, list);
		node->sent = true;
		node->dirty = false;
		if (node->dead)
			view_node_forget(&world->view, node);
	}
}

static void process(struct world *world, unsigned pid, unsigned parent, const char *name)
{
	char id[64], parent_id[64], tie[96];
	snprintf(id, sizeof id, "proc/" STATE_OWN "/%u-1", pid);
	snprintf(parent_id, sizeof parent_id, "proc/" STATE_OWN "/%u-1", parent);
	snprintf(tie, sizeof tie, "child/%u-%u", parent, pid);
	const struct state_thing thing = { id, "process", name, "argv", pid, 1, false };
	state_thing(&world->state, world->a, &thing);
	if (parent)
		state_tie(&world->state, world->a, tie, "child", parent_id, id, 1);
}

static void process_end(struct world *world, unsigned pid)
{
	char id[64];
	snprintf(id, sizeof id, "proc/" STATE_OWN "/%u-1", pid);
	state_thing_end(&world->state, world->a, id, world->now_ms);
	world->now_ms += STATE_LINGER_MS;
	state_sweep(&world->state, world->a, world->now_ms);
}

static void connect(struct world *world, struct device *device, unsigned pid, const char *flow, const char *remote)
{
	char from[64], id[128], to[64];
	snprintf(from, sizeof from, pid ? "proc/" STATE_OWN "/%u-1" : STATE_OWN, pid);
	snprintf(id, sizeof id, "c/" STATE_OWN "/%s", flow);
	snprintf(to, sizeof to, "n/%s", remote);
	const struct state_thing thing = { to, "address", remote, "", 0, 0, true };
	state_thing(&world->state, device, &thing);
	state_tie(&world->state, device, id, "connection", from, to, 0);
}

static void bytes(struct world *world, const char *flow, uint64_t more)
{
	char id[128];
	snprintf(id, sizeof id, "c/" STATE_OWN "/%s", flow);
	state_tie_bytes(&world->state, world->a, id, 0, more, false);
}

static void of_one_device(void **state)
{
	struct world *world = world_make(&id_a, 1);
	(void)state;
	process(world, 1, 0, "init");
	process(world, 2, 1, "sshd");
	process(world, 3, 99, "odd"); /* whose parent nobody told */
	connect(world, world->a, 2, "10.0.0.1-22-10.0.0.9-4711", "10.0.0.9");
	connect(world, world->a, 0, "10.0.0.1-53-10.0.0.8-4711", "10.0.0.8");
	connect(world, world->b, 0, "x", "9.9.9.9"); /* another device's */
	build(world);
	struct view_node *init = node(world, "proc/" TEXT_A "/1-1");
	assert_non_null(init);
	assert_string_equal(init->live.kind, "process");
	assert_string_equal(init->live.label, "init");
	assert_string_equal(init->live.detail, "argv");
	assert_int_equal(init->live.pid, 1);
	assert_memory_equal(init->live.device.bytes, id_a.bytes, 16);
	assert_string_equal(node(world, TEXT_A)->live.kind, "device");
	assert_string_equal(node(world, "n/10.0.0.9")->live.kind, "address");
	assert_null(node(world, "n/9.9.9.9"));
	assert_int_equal(world->view.n_nodes, 6);
	assert_string_equal(edge(world, TEXT_A, "proc/" TEXT_A "/1-1")->kind, "child");
	assert_non_null(edge(world, "proc/" TEXT_A "/1-1", "proc/" TEXT_A "/2-1"));
	assert_non_null(edge(world, TEXT_A, "proc/" TEXT_A "/3-1"));
	assert_string_equal(edge(world, "proc/" TEXT_A "/2-1", "n/10.0.0.9")->kind, "connection");
	assert_non_null(edge(world, TEXT_A, "n/10.0.0.8"));
	assert_int_equal(world->view.n_edges, 5);
	world_done(world);
}

static void unknown_device(void **state)
{
	struct world *world = world_make(&id_c, 1);
	(void)state;
	build(world);
	assert_int_equal(world->view.n_nodes, 1);
	world_done(world);
}

/* A node that was told stays until he is told that it is gone; one that was not is forgotten at once. */
static void gone_and_back(void **state)
{
	struct world *world = world_make(&id_a, 1);
	(void)state;
	process(world, 1, 0, "init");
	process(world, 2, 1, "ls");
	build(world);
	told(world);
	process_end(world, 2);
	build(world);
	process(world, 9, 1, "other");
	build(world); /* while it is still to be told */
	process_end(world, 9);
	struct view_node *ls = map_get(world->view.by_id, "proc/" TEXT_A "/2-1", strlen("proc/" TEXT_A "/2-1"));
	assert_true(ls->dead);
	process(world, 2, 1, "ls");
	build(world);
	assert_ptr_equal(node(world, "proc/" TEXT_A "/2-1"), ls);
	assert_true(ls->dirty);
	assert_true(edge(world, "proc/" TEXT_A "/1-1", "proc/" TEXT_A "/2-1")->dirty);
	told(world);
	process(world, 3, 1, "cat");
	build(world);
	process_end(world, 3); /* nobody was told */
	build(world);
	assert_null(map_get(world->view.by_id, "proc/" TEXT_A "/3-1", strlen("proc/" TEXT_A "/3-1")));
	process_end(world, 2);
	build(world);
	told(world);
	assert_int_equal(map_count(world->view.by_id), 2);
	assert_int_equal(map_count(world->view.by_ends), 1);
	world_done(world);
}

static void only_changes_are_dirty(void **state)
{
	struct world *world = world_make(&id_a, 1);
	(void)state;
	process(world, 1, 0, "init");
	process(world, 2, 1, "sh");
	build(world);
	told(world);
	process(world, 2, 1, "ls");
	build(world);
	assert_false(node(world, "proc/" TEXT_A "/1-1")->dirty);
	assert_true(node(world, "proc/" TEXT_A "/2-1")->dirty);
	assert_string_equal(node(world, "proc/" TEXT_A "/2-1")->live.label, "ls");
	world_done(world);
}

static void rates(void **state)
{
	struct world *world = world_make(&id_a, 1);
	(void)state;
	connect(world, world->a, 0, "10.0.0.1-1-10.0.0.9-80", "10.0.0.9");
	connect(world, world->a, 0, "10.0.0.1-2-10.0.0.9-80", "10.0.0.9");
	bytes(world, "10.0.0.1-1-10.0.0.9-80", 1 << 20); /* before anybody looked: no rate */
	build(world);
	struct view_edge *both = edge(world, TEXT_A, "n/10.0.0.9");
	assert_int_equal(both->bytes, 1 << 20);
	told(world);
	bytes(world, "10.0.0.1-1-10.0.0.9-80", 3000);
	bytes(world, "10.0.0.1-2-10.0.0.9-80", 1000);
	world->now_ms += 1900; /* 2 s with the build's own step */
	build(world);
	assert_int_equal(both->bytes, (1 << 20) + 4000);
	assert_int_equal(both->rate, 2000);
	assert_true(both->dirty && world->view.flowing);
	told(world);
	world->now_ms += 900;
	build(world);
	assert_int_equal(both->rate, 0);
	assert_true(both->dirty && !world->view.flowing);
	told(world);
	world->now_ms += 900;
	build(world);
	assert_false(both->dirty);
	world_done(world);
}

static void more(struct world *world, const char *id, const char *label, unsigned count)
{
	struct view_node *found = node(world, id);
	assert_non_null(found);
	assert_string_equal(found->live.kind, "more");
	assert_string_equal(found->live.label, label);
	assert_int_equal(found->live.count, count);
}

static void too_many_processes(void **state)
{
	struct world *world = world_make(&id_a, 1);
	(void)state;
	process(world, 1, 0, "init");
	for (unsigned i = 0; i < 400; i++)
		process(world, 1000 + i, 1, "php-fpm");
	for (unsigned i = 0; i < 300; i++)
		process(world, 2000 + i, 1000, "worker");
	connect(world, world->a, 1000, "10.0.0.1-1-10.0.0.9-80", "10.0.0.9");
	build(world);
	more(world, "more/process/php-fpm", "php-fpm", 400);
	assert_int_equal(world->view.n_nodes, 1 + 1 + 1 + 300 + 1);
	assert_non_null(edge(world, "proc/" TEXT_A "/1-1", "more/process/php-fpm"));
	assert_non_null(edge(world, "more/process/php-fpm", "n/10.0.0.9"));
	assert_non_null(edge(world, "more/process/php-fpm", "proc/" TEXT_A "/2000-1"));
	world_done(world);
}

static void too_many_addresses(void **state)
{
	struct world *world = world_make(&id_a, 1);
	char flow[64], remote[32];
	(void)state;
	process(world, 1, 0, "nginx");
	for (unsigned i = 0; i < 1500; i++) { /* 200 of one subnet, then each alone in its own, and in the larger one above it */
		if (i < 200)
			snprintf(remote, sizeof remote, "10.1.2.%u", i);
		else
			snprintf(remote, sizeof remote, "%u.%u.0.1", 11 + i % 200, i / 200);
		snprintf(flow, sizeof flow, "10.0.0.1-%u-%s-%u", 1000 + i, remote, i % 2 ? 443 : 80);
		connect(world, world->a, 1, flow, remote);
	}
	for (unsigned i = 0; i < 3; i++) {
		snprintf(remote, sizeof remote, "2001:db8:1:%u::%u", i / 2, i);
		snprintf(flow, sizeof flow, "::1-%u-%s-443", i, remote);
		connect(world, world->a, 1, flow, remote);
	}
	build(world);
	more(world, "more/net/10.1.2.0/24", "10.1.2.0/24", 200);
	more(world, "more/net/2001:db8:1::/64", "2001:db8:1::/64", 2);
	assert_int_equal(world->view.n_nodes, VIEW_NODES_MAX);
	assert_non_null(node(world, "proc/" TEXT_A "/1-1"));
	assert_non_null(edge(world, "proc/" TEXT_A "/1-1", "more/net/10.1.2.0/24"));
	assert_true(node(world, "more/port/443") || node(world, "more/port/80"));
	world_done(world);
}

/* Many of both: neither crowds the other out. */
static void too_many_of_all(void **state)
{
	struct world *world = world_make(&id_a, 1);
	char text[64], flow[64];
	size_t processes = 0, addresses = 0;
	(void)state;
	for (unsigned i = 0; i < 5000; i++) {
		snprintf(text, sizeof text, "p%u", i);
		process(world, i + 1, 0, text);
		snprintf(text, sizeof text, "%u.%u.0.1", 1 + i % 200, i / 200);
		snprintf(flow, sizeof flow, "1-%u-2-%u", i, i);
		connect(world, world->a, i + 1, flow, text);
	}
	build(world);
	LIST_EACH(at, &world->view.nodes) {
		const char *kind = LIST_ENTRY(at, struct view_node, list)->live.kind;
		processes += strcmp(kind, "process") == 0;
		addresses += strcmp(kind, "address") == 0 || strcmp(kind, "more") == 0;
	}
	more(world, "more/process", "other process", 5000 - 299);
	assert_true(addresses == 200 && processes == 299);
	world_done(world);
}

static void of_several(void **state)
{
	struct world *world = world_make(NULL, 0);
	(void)state;
	process(world, 1, 0, "init");
	connect(world, world->a, 1, "10.0.0.1-40000-10.0.0.2-80", "10.0.0.2");
	connect(world, world->b, 0, "10.0.0.1-40000-10.0.0.2-80", "10.0.0.1"); /* both say so */
	connect(world, world->a, 1, "10.0.0.1-40001-8.8.8.8-53", "8.8.8.8");
	connect(world, world->b, 0, "10.0.0.2-40001-8.8.8.8-53", "8.8.8.8");
	connect(world, world->a, 1, "127.0.0.1-1-127.0.0.1-2", "127.0.0.1@" STATE_OWN);
	bytes(world, "10.0.0.1-40000-10.0.0.2-80", 500);
	build(world);
	assert_int_equal(world->view.n_nodes, 3);
	assert_non_null(node(world, "n/8.8.8.8"));
	char b[ID_TEXT_SIZE];
	id_format(&id_b, b);
	assert_int_equal(edge(world, TEXT_A, b)->bytes, 500);
	assert_null(edge(world, b, TEXT_A));
	assert_non_null(edge(world, TEXT_A, "n/8.8.8.8"));
	assert_non_null(edge(world, b, "n/8.8.8.8"));
	state_device_remove(&world->state, world->b);
	build(world); /* nobody else says what is at 10.0.0.2 now */
	assert_non_null(edge(world, TEXT_A, "n/10.0.0.2"));
	assert_null(node(world, b));
	world_done(world);
}

/* Who may not watch a device does not learn that an address is it. */
static void of_some(void **state)
{
	const struct id devices[] = { id_a, id_c };
	struct world *world = world_make(devices, 2);
	(void)state;
	connect(world, world->a, 0, "10.0.0.1-40000-10.0.0.2-80", "10.0.0.2");
	connect(world, world->b, 0, "10.0.0.1-40000-10.0.0.2-80", "10.0.0.1");
	build(world);
	assert_int_equal(world->view.n_nodes, 2);
	assert_non_null(edge(world, TEXT_A, "n/10.0.0.2"));
	world_done(world);
}

static void many_devices(void **state)
{
	struct world *world = world_make(NULL, 0);
	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		const struct id id = { { 1, (uint8_t)(i >> 8), (uint8_t)i } };
		connect(world, state_device(&world->state, &id), 0, "1-2-3-4", "8.8.8.8");
	}
	build(world);
	more(world, "more/device", "other device", 1002 - 497);
	assert_non_null(edge(world, "more/device", "n/8.8.8.8"));
	world_done(world);
}

static float moved(const struct view_node *node, const struct layout_body *before)
{
	float x = node->body.x - before->x, y = node->body.y - before->y;
	return x * x + y * y;
}

static void places(void **state)
{
	struct world *world = world_make(&id_a, 1);
	(void)state;
	process(world, 1, 0, "init");
	for (unsigned i = 2; i < 60; i++)
		process(world, i, 1 + i / 10, "worker");
	build(world);
	assert_true(view_move(&world->view, 1000));
	assert_false(view_move(&world->view, 1));
	struct view_node *init = node(world, "proc/" TEXT_A "/1-1"), *far = node(world, "proc/" TEXT_A "/45-1");
	struct layout_body before = init->body, far_before = far->body;
	assert_true(init->live.x == before.x && init->live.y == before.y); /* at rest he is told exactly where */
	told(world);
	process(world, 100, 7, "new");
	build(world);
	while (view_move(&world->view, 1))
		;
	struct view_node *new = node(world, "proc/" TEXT_A "/100-1");
	assert_true(moved(init, &before) == 0 && !init->dirty);
	assert_true(moved(far, &far_before) == 0);
	assert_true(moved(new, &node(world, "proc/" TEXT_A "/7-1")->body) < 0.3f);
	world_done(world);
}

/* Twice as many: all make room. */
static void growth_heats_all(void **state)
{
	struct world *world = world_make(&id_a, 1);
	(void)state;
	for (unsigned i = 1; i < 40; i++)
		process(world, i, 0, "worker");
	build(world);
	view_move(&world->view, 1000);
	for (unsigned i = 40; i < 80; i++)
		process(world, i, 0, "worker");
	build(world);
	assert_true(node(world, "proc/" TEXT_A "/20-1")->body.heat > 0);
	world_done(world);
}

static int short_memory(void *ctx)
{
	struct world *world = ctx;
	struct view view;
	int err = view_init(&view, false, world->state.seed);
	if (err < 0)
		return err;
	view_build(&view, &world->state, &world->scope, 1);
	err = view.n_nodes == 4 && view.n_edges == 3 ? 0 : -E_NO_MEMORY;
	view_done(&view);
	return err;
}

static void memory_is_short(void **state)
{
	struct world *world = world_make(&id_a, 1);
	(void)state;
	process(world, 1, 0, "init");
	process(world, 2, 1, "sh");
	connect(world, world->a, 2, "10.0.0.1-40000-10.0.0.2-80", "10.0.0.2");
	assert_true(test_each_fault(short_memory, world) > 10);
	world_done(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(of_one_device),
		cmocka_unit_test(unknown_device),
		cmocka_unit_test(gone_and_back),
		cmocka_unit_test(only_changes_are_dirty),
		cmocka_unit_test(rates),
		cmocka_unit_test(too_many_processes),
		cmocka_unit_test(too_many_addresses),
		cmocka_unit_test(too_many_of_all),
		cmocka_unit_test(of_several),
		cmocka_unit_test(of_some),
		cmocka_unit_test(many_devices),
		cmocka_unit_test(places),
		cmocka_unit_test(growth_heats_all),
		cmocka_unit_test(memory_is_short),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
