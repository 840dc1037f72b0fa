#include "viz/viz.h"

#include "base/encode.h"
#include "base/err.h"
#include "base/id.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/test.h"
#include "glouglou/test_probe.h"

#define DEVICE_A "aa000000000000000000000000000000"

static const struct id id_a = { { 0xaa } }, id_b = { { 0xbb } };

/* What one watcher knows: as a browser would keep it. */
struct browser {
	struct viz_watch *watch;
	struct map *nodes, *edges; /* by id: LiveNode, LiveEdge */
	murmesh_LiveRow rows[1000];
	size_t n_rows;
	uint64_t sequence, missing, not_shown;
	unsigned completes, batches, changes;
	char source[128];
	bool stalled, dead;
	unsigned reads; /* batches until it stalls by itself; 0 = never */
};

struct world {
	uint8_t user;
	struct viz *viz;
	struct test_probe probe;
	uint64_t now_ms;
	struct browser browser;
};

static bool crowded(void *ctx)
{
	struct browser *browser = ctx;
	return browser->stalled;
}

static void put(struct map *map, const char *id, const void *value, size_t size)
{
	void *copy = mem_alloc(size);
	memcpy(copy, value, size);
	mem_free(map_get(map, id, strlen(id)));
	assert_int_equal(map_put(map, id, strlen(id), copy), 0);
}

static void drop(struct map *map, const char *id)
{
	void *old = map_remove(map, id, strlen(id));
	assert_non_null(old); /* nothing is removed that was not there */
	mem_free(old);
}

static void edge_check(const struct browser *browser, const murmesh_LiveEdge *edge)
{
	assert_non_null(map_get(browser->nodes, edge->from, strlen(edge->from)));
	assert_non_null(map_get(browser->nodes, edge->to, strlen(edge->to)));
}

static int send_batch(void *ctx, const murmesh_LiveBatch *batch)
{
	struct browser *browser = ctx;
	if (browser->dead)
		return -E_CLOSED;
	assert_false(browser->stalled);
	assert_in_range(batch->changes_count, 1, 32);
	browser->batches++;
	for (size_t i = 0; i < batch->changes_count; i++) {
		const murmesh_LiveChange *change = &batch->changes[i];
		assert_int_equal(change->sequence, ++browser->sequence);
		browser->changes++;
		switch (change->which_body) {
		case murmesh_LiveChange_node_tag:
			put(browser->nodes, change->body.node.id, &change->body.node, sizeof change->body.node);
			break;
		case murmesh_LiveChange_node_removed_tag:
			drop(browser->nodes, change->body.node_removed);
			break;
		case murmesh_LiveChange_edge_tag:
			edge_check(browser, &change->body.edge);
			put(browser->edges, change->body.edge.id, &change->body.edge, sizeof change->body.edge);
			break;
		case murmesh_LiveChange_edge_removed_tag:
			drop(browser->edges, change->body.edge_removed);
			break;
		case murmesh_LiveChange_row_tag:
			assert_true(browser->completes);
			browser->rows[browser->n_rows++ % 1000] = change->body.row;
			break;
		case murmesh_LiveChange_missing_tag:
			if (change->body.missing.not_shown)
				browser->not_shown = change->body.missing.events;
			else
				browser->missing = change->body.missing.events;
			break;
		case murmesh_LiveChange_source_tag:
			snprintf(browser->source, sizeof browser->source, "%s: %s", change->body.source.module,
			         change->body.source.text);
			break;
		case murmesh_LiveChange_complete_tag:
			assert_true(change->body.complete);
			browser->completes++;
			break;
		default:
			fail();
		}
	}
	if (browser->reads && --browser->reads == 0)
		browser->stalled = true;
	return 0;
}

static const struct viz_sink sink = { crowded, send_batch };

static struct world *world_make(void)
{
	static struct world world;
	memset(&world, 0, sizeof world);
	world.viz = viz_new();
	assert_non_null(world.viz);
	world.now_ms = 1000;
	test_probe_init(&world.probe, 77);
	return &world;
}

static void browser_close(struct browser *browser)
{
	void *entry;
	viz_watch_close(browser->watch);
	for (size_t at = 0; browser->nodes && (entry = map_next(browser->nodes, &at));)
		mem_free(entry);
	for (size_t at = 0; browser->edges && (entry = map_next(browser->edges, &at));)
		mem_free(entry);
	map_free(browser->nodes);
	map_free(browser->edges);
}

static void world_done(struct world *world)
{
	browser_close(&world->browser);
	viz_free(world->viz);
}

static void batch_put(struct world *world, const struct id *device, struct str datagrams, const murmesh_EventBatch *as)
{
	static murmesh_EventBatch batch;
	batch = as ? *as : (murmesh_EventBatch)murmesh_EventBatch_init_zero;
	memcpy(batch.device, device->bytes, sizeof batch.device);
	batch.datagrams.size = (pb_size_t)datagrams.len;
	if (datagrams.len)
		memcpy(batch.datagrams.bytes, datagrams.ptr, datagrams.len);
	viz_batch(world->viz, &batch, world->now_ms);
}

/* What the probe wrote reaches viz. */
static void report(struct world *world)
{
	batch_put(world, &id_a, test_probe_report(&world->probe), NULL);
}

static int announce(struct world *world, uint8_t name, bool all, const struct id *devices, size_t n)
{
	static murmesh_WatchAnnouncement announcement;
	announcement = (murmesh_WatchAnnouncement)murmesh_WatchAnnouncement_init_zero;
	announcement.ticket[0] = name;
	announcement.user[0] = world->user;
	announcement.all = all;
	announcement.devices_count = (pb_size_t)n;
	for (size_t i = 0; i < n; i++) {
		announcement.devices[i].size = 16;
		memcpy(announcement.devices[i].bytes, devices[i].bytes, 16);
	}
	return viz_announce(world->viz, &announcement, world->now_ms);
}

static int watch(struct world *world, uint8_t name, struct browser *browser)
{
	const uint8_t ticket[16] = { name };
	const uint8_t seed[16] = { 1 };
	browser->nodes = map_new(seed, 10000);
	browser->edges = map_new(seed, 10000);
	return viz_watch_open(world->viz, ticket, &sink, browser, world->now_ms, &browser->watch);
}

static void tick(struct world *world, unsigned n)
{
	while (n--) {
		world->now_ms += VIZ_TICK_MS;
		viz_tick(world->viz, world->now_ms);
	}
}

static void watch_device(struct world *world)
{
	assert_int_equal(announce(world, 1, false, &id_a, 1), 0);
	assert_int_equal(watch(world, 1, &world->browser), 0);
	tick(world, 1);
	assert_int_equal(world->browser.completes, 1);
}

static const murmesh_LiveNode *node(const struct world *world, const char *id)
{
	return map_get(world->browser.nodes, id, strlen(id));
}

static const murmesh_LiveEdge *edge(const struct world *world, const char *id)
{
	return map_get(world->browser.edges, id, strlen(id));
}

static const murmesh_LiveRow *row(const struct world *world, size_t i)
{
	assert_true(i < world->browser.n_rows);
	return &world->browser.rows[i];
}

static void snapshot(void **state)
{
	struct world *world = world_make();
	(void)state;
	test_probe_exec(&world->probe, 1, 0, "init");
	test_probe_exec(&world->probe, 2, 1, "curl");
	test_probe_connect(&world->probe, 4711, 2, "curl");
	test_probe_bytes(&world->probe, 4711, 1234);
	test_probe_notice(&world->probe, GG_NOTICE_SOURCE, "proc connector");
	report(world);
	watch_device(world);
	assert_int_equal(world->browser.n_rows, 0); /* what was before is no row */
	assert_string_equal(node(world, "proc/" DEVICE_A "/2-1000")->label, "curl");
	assert_string_equal(node(world, "n/10.0.0.2")->kind, "address");
	assert_int_equal(edge(world, "proc/" DEVICE_A "/2-1000|n/10.0.0.2")->bytes, 1234);
	assert_string_equal(edge(world, "proc/" DEVICE_A "/1-1000|proc/" DEVICE_A "/2-1000")->kind, "child");
	assert_string_equal(world->browser.source, "process: proc connector");
	assert_int_equal(map_count(world->browser.nodes), 4);
	world_done(world);
}

static void life_of_a_process(void **state)
{
	struct world *world = world_make();
	(void)state;
	watch_device(world);
	test_probe_exec(&world->probe, 2, 0, "curl");
	test_probe_connect(&world->probe, 4711, 2, "curl");
	report(world);
	tick(world, 1);
	assert_non_null(node(world, "proc/" DEVICE_A "/2-1000"));
	assert_int_equal(row(world, 0)->pid + row(world, 1)->pid, 4);
	test_probe_disconnect(&world->probe, 4711, 777);
	report(world);
	test_probe_exit(&world->probe, 2, "curl");
	report(world);
	tick(world, 1);
	assert_int_equal(world->browser.n_rows, 4);
	assert_string_equal(row(world, 2)->event, "delconn");
	assert_string_equal(row(world, 2)->module, "network");
	assert_int_equal(row(world, 2)->bytes, 777);
	assert_string_equal(row(world, 2)->object, "to 10.0.0.2:80");
	assert_string_equal(row(world, 3)->event, "exit");
	assert_string_equal(row(world, 3)->subject, "curl (2)");
	assert_int_equal(row(world, 3)->time_us, 1700000000000000);
	assert_memory_equal(row(world, 3)->device.bytes, id_a.bytes, 16);
	tick(world, 10);
	assert_non_null(node(world, "proc/" DEVICE_A "/2-1000")); /* shown a little longer */
	tick(world, 15);
	assert_null(node(world, "proc/" DEVICE_A "/2-1000"));
	assert_int_equal(map_count(world->browser.nodes), 1);
	assert_int_equal(map_count(world->browser.edges), 0);
	world_done(world);
}

static void keyframe_of(struct world *world, const unsigned *pids, size_t n)
{
	gg_writer_keyframe_begin(&world->probe.process, world->probe.time_ns);
	for (size_t i = 0; i < n; i++)
		test_probe_exec(&world->probe, pids[i], 0, "p");
	gg_writer_keyframe_end(&world->probe.process);
	report(world);
}

static void keyframes(void **state)
{
	struct world *world = world_make();
	const unsigned first[] = { 1, 2, 3 }, second[] = { 1, 3, 4 };
	(void)state;
	watch_device(world);
	keyframe_of(world, first, 3);
	tick(world, 1);
	assert_int_equal(map_count(world->browser.nodes), 4);
	keyframe_of(world, second, 3);
	tick(world, 25);
	assert_null(node(world, "proc/" DEVICE_A "/2-1000"));
	assert_non_null(node(world, "proc/" DEVICE_A "/4-1000"));
	assert_int_equal(map_count(world->browser.nodes), 4);
	assert_int_equal(world->browser.n_rows, 0); /* a state is no event */
	/* A probe that began anew counts from 1 again; its keyframe is as good. */
	test_probe_init(&world->probe, 78);
	keyframe_of(world, second, 1);
	tick(world, 25);
	assert_int_equal(map_count(world->browser.nodes), 2);
	assert_int_equal(world->browser.missing, 0);
	world_done(world);
}

static void keyframe_with_a_hole(void **state)
{
	struct world *world = world_make();
	static unsigned pids[200];
	(void)state;
	for (unsigned i = 0; i < 200; i++)
		pids[i] = i + 1;
	watch_device(world);
	keyframe_of(world, pids, 200);
	gg_writer_keyframe_begin(&world->probe.process, world->probe.time_ns);
	for (unsigned i = 0; i < 100; i++) {
		world->probe.loses = i > 50;
		test_probe_exec(&world->probe, pids[i], 0, "p");
	}
	world->probe.loses = false;
	gg_writer_keyframe_end(&world->probe.process);
	report(world);
	tick(world, 25);
	assert_int_equal(map_count(world->browser.nodes), 201); /* not whole: nothing goes */
	assert_true(world->browser.missing > 0);
	world_done(world);
}

static void what_is_missing(void **state)
{
	struct world *world = world_make();
	murmesh_EventBatch as = murmesh_EventBatch_init_zero;
	(void)state;
	watch_device(world);
	world->probe.sequence = 100; /* the first that is heard: what came before is not known */
	test_probe_exec(&world->probe, 1, 0, "p");
	report(world);
	tick(world, 1);
	assert_int_equal(world->browser.missing, 0);
	test_probe_lost(&world->probe, 12);
	report(world);
	tick(world, 1);
	assert_int_equal(world->browser.missing, 12);
	world->probe.sequence += 5;
	test_probe_exec(&world->probe, 2, 0, "p");
	report(world);
	tick(world, 1);
	assert_int_equal(world->browser.missing, 17);
	/* What collect left out is told with its events; the hole in the numbers is the same one. */
	world->probe.sequence += 3;
	as.left_out = 40;
	as.left_out_datagrams = 2;
	test_probe_exec(&world->probe, 3, 0, "p");
	batch_put(world, &id_a, test_probe_report(&world->probe), &as);
	tick(world, 1);
	assert_int_equal(world->browser.missing, 17 + 40 + 1);
	/* Of a new session the first has the number 1. */
	test_probe_init(&world->probe, 78);
	world->probe.sequence = 2;
	test_probe_exec(&world->probe, 3, 0, "p");
	report(world);
	tick(world, 1);
	assert_int_equal(world->browser.missing, 17 + 40 + 1 + 2);
	world_done(world);
}

static void rows_beyond_the_rate(void **state)
{
	struct world *world = world_make();
	(void)state;
	watch_device(world);
	for (unsigned i = 0; i < 500; i++) {
		test_probe_exec(&world->probe, 1 + i % 9, 0, "p");
		if (i % 20 == 19)
			report(world);
	}
	report(world);
	tick(world, 1);
	assert_int_equal(world->browser.n_rows, VIZ_ROWS);
	assert_int_equal(world->browser.not_shown, 500 - VIZ_ROWS);
	assert_int_equal(world->browser.missing, 0); /* nothing was lost */
	tick(world, 5);
	for (unsigned i = 0; i < 500; i++)
		test_probe_exec(&world->probe, 1 + i % 9, 0, "p");
	report(world);
	tick(world, 1);
	assert_int_equal(world->browser.n_rows, VIZ_ROWS + VIZ_ROWS * 6 / 10);
	assert_int_equal(world->browser.not_shown + world->browser.n_rows, 1000);
	world_done(world);
}

/* Who does not read for a minute gets what is, not what was; and what was is not kept for him. */
static void slow_watcher(void **state)
{
	struct world *world = world_make();
	(void)state;
	for (unsigned i = 0; i < 100; i++)
		test_probe_exec(&world->probe, 1 + i, 0, "old");
	report(world);
	assert_int_equal(announce(world, 1, false, &id_a, 1), 0);
	world->browser.reads = 2; /* stalls within the snapshot */
	assert_int_equal(watch(world, 1, &world->browser), 0);
	tick(world, 3);
	assert_int_equal(world->browser.changes, 64);
	assert_int_equal(world->browser.completes, 0);
	for (unsigned round = 0; round < 60; round++) {
		for (unsigned i = 0; i < 100; i++) {
			test_probe_exec(&world->probe, 1000 + round * 100 + i, 0, "young");
			test_probe_exit(&world->probe, round ? 900 + round * 100 + i : 1 + i, "gone");
		}
		report(world);
		tick(world, 10);
	}
	assert_int_equal(world->browser.changes, 64);
	world->browser.stalled = false;
	tick(world, 30);
	assert_int_equal(world->browser.completes, 1);
	assert_int_equal(map_count(world->browser.nodes), 101);
	assert_non_null(node(world, "proc/" DEVICE_A "/6900-1000"));
	assert_int_equal(map_count(world->browser.edges), 100);
	assert_int_equal(world->browser.n_rows, VIZ_ROWS);
	assert_int_equal(world->browser.n_rows + world->browser.not_shown, 12000);
	world_done(world);
}

/* Whatever happens, in the end the browser has what viz has. */
static void converges(void **state)
{
	struct world *world = world_make();
	uint32_t random = 12345;
	(void)state;
	watch_device(world);
	for (unsigned i = 0; i < 3000; i++) {
		random = random * 1664525 + 1013904223;
		uint64_t pid = 1 + random / 1024 % 40;
		uint16_t port = (uint16_t)(1 + random / 65536 % 40);
		switch (random / 7 % 7) {
		case 0:
		case 1:
			test_probe_exec(&world->probe, pid, random / 3 % 40, "p");
			break;
		case 2:
			test_probe_exit(&world->probe, pid, "p");
			break;
		case 3:
			test_probe_connect(&world->probe, port, pid, "p");
			break;
		case 4:
			test_probe_disconnect(&world->probe, port, 1);
			break;
		case 5:
			world->browser.stalled = random / 1000 % 2;
			break;
		default:
			report(world);
			tick(world, 1);
		}
		if (i % 500 == 499) {
			batch_put(world, &id_a, (struct str){ 0 }, &(murmesh_EventBatch){ .gone = true });
			tick(world, 1);
		}
	}
	world->browser.stalled = false;
	tick(world, 40);
	struct browser fresh = { .watch = NULL };
	assert_int_equal(announce(world, 2, false, &id_a, 1), 0);
	assert_int_equal(watch(world, 2, &fresh), 0);
	tick(world, 40);
	assert_int_equal(map_count(fresh.nodes), map_count(world->browser.nodes));
	assert_int_equal(map_count(fresh.edges), map_count(world->browser.edges));
	const murmesh_LiveNode *known;
	for (size_t at = 0; (known = map_next(fresh.nodes, &at));)
		assert_non_null(node(world, known->id));
	browser_close(&fresh);
	world_done(world);
}

static void hostile(void **state)
{
	struct world *world = world_make();
	const struct viz_counters *counters = viz_counters(world->viz);
	(void)state;
	watch_device(world);
	test_probe_exec(&world->probe, 1, 0,
	                "\x1b]0;evil\x07<script>\xe2\x80\xae"
	                "exe");
	struct str good = test_probe_report(&world->probe);
	char bytes[16384];
	memcpy(bytes, good.ptr, good.len);
	for (size_t len = 0; len < good.len; len++) /* cut anywhere */
		batch_put(world, &id_a, (struct str){ bytes, len }, NULL);
	for (size_t i = 2; i < 34; i++) /* each byte of the header otherwise */
		for (unsigned v = 1; v < 256; v += 50) {
			bytes[i] = (char)(good.ptr[i] ^ (char)v);
			batch_put(world, &id_b, (struct str){ bytes, good.len }, NULL);
			bytes[i] = good.ptr[i];
		}
	assert_true(counters->bad[GG_BAD_LENGTH] && counters->bad[GG_BAD_VERSION] && counters->bad[GG_BAD_MODULE]);
	batch_put(world, &id_a, (struct str){ bytes, good.len }, NULL);
	tick(world, 1);
	assert_string_equal(node(world, "proc/" DEVICE_A "/1-1000")->label, "\xef\xbf\xbd]0;evil\xef\xbf\xbd<script>\xef\xbf\xbd"
	                                                                    "exe"); /* the page shows it as text */
	assert_int_equal(map_count(world->browser.nodes), 2);
	world_done(world);
}

static void gone_and_stale(void **state)
{
	struct world *world = world_make();
	(void)state;
	assert_int_equal(announce(world, 1, true, NULL, 0), 0);
	assert_int_equal(watch(world, 1, &world->browser), 0);
	batch_put(world, &id_a, (struct str){ 0 }, NULL);
	batch_put(world, &id_b, (struct str){ 0 }, NULL);
	tick(world, 1);
	assert_int_equal(map_count(world->browser.nodes), 2);
	batch_put(world, &id_b, (struct str){ 0 }, &(murmesh_EventBatch){ .gone = true });
	batch_put(world, &id_b, (struct str){ 0 }, &(murmesh_EventBatch){ .gone = true }); /* not known any more */
	tick(world, 1);
	assert_int_equal(map_count(world->browser.nodes), 1);
	batch_put(world, &id_b, (struct str){ 0 }, NULL);
	world->now_ms += 1000;
	viz_source_new(world->viz, world->now_ms);
	world->now_ms += 1000;
	batch_put(world, &id_b, (struct str){ 0 }, NULL); /* one tells all again, the other does not */
	world->now_ms += VIZ_STALE_MS;
	tick(world, 1);
	assert_int_equal(map_count(world->browser.nodes), 1);
	assert_int_equal(viz_counters(world->viz)->devices, 1);
	assert_null(node(world, DEVICE_A));
	world_done(world);
}

/* Rows, losses and sources of others are not for him. */
static void scopes(void **state)
{
	struct world *world = world_make();
	(void)state;
	watch_device(world);
	test_probe_exec(&world->probe, 1, 0, "p");
	test_probe_lost(&world->probe, 5);
	test_probe_notice(&world->probe, GG_NOTICE_SOURCE, "x");
	test_probe_notice(&world->probe, GG_NOTICE_WARNING, "y");
	batch_put(world, &id_b, test_probe_report(&world->probe), NULL);
	tick(world, 3);
	assert_int_equal(world->browser.n_rows + world->browser.missing + strlen(world->browser.source), 0);
	assert_int_equal(map_count(world->browser.nodes), 1);
	world_done(world);
}

/* One device, but of a fleet: no processes. */
static void fleet_of_one_and_none(void **state)
{
	struct world *world = world_make();
	static murmesh_WatchAnnouncement announcement;
	struct browser none = { .watch = NULL };
	(void)state;
	announcement =
	        (murmesh_WatchAnnouncement){ .ticket = { 9 }, .fleet = true, .devices_count = 1, .devices = { { .size = 16 } } };
	memcpy(announcement.devices[0].bytes, &id_a, 16);
	assert_int_equal(viz_announce(world->viz, &announcement, world->now_ms), 0);
	assert_int_equal(watch(world, 9, &world->browser), 0);
	announcement = (murmesh_WatchAnnouncement){ .ticket = { 8 } };
	assert_int_equal(viz_announce(world->viz, &announcement, world->now_ms), 0);
	assert_int_equal(watch(world, 8, &none), 0);
	test_probe_exec(&world->probe, 1, 0, "p");
	test_probe_connect(&world->probe, 4711, 1, "p");
	report(world);
	tick(world, 2);
	assert_int_equal(map_count(world->browser.nodes), 2);
	assert_non_null(edge(world, DEVICE_A "|n/10.0.0.2"));
	assert_int_equal(none.completes, 1);
	assert_int_equal(map_count(none.nodes) + none.n_rows, 0);
	browser_close(&none);
	world_done(world);
}

static void tickets(void **state)
{
	struct world *world = world_make();
	static struct browser browsers[VIZ_WATCHES_MAX + 1];
	murmesh_WatchAnnouncement odd = { .devices_count = 1, .devices = { { .size = 15 } } };
	(void)state;
	memset(browsers, 0, sizeof browsers);
	assert_int_equal(viz_announce(world->viz, &odd, world->now_ms), -E_MESSAGE);
	assert_int_equal(watch(world, 1, &browsers[0]), -E_TICKET);
	browser_close(&browsers[0]);
	for (unsigned i = 0; i <= VIZ_WATCHES_MAX; i++) {
		world->user = (uint8_t)(i / VIZ_WATCHES_OF);
		assert_int_equal(announce(world, (uint8_t)i, true, NULL, 0), 0);
		assert_int_equal(watch(world, (uint8_t)i, &browsers[i]), i < VIZ_WATCHES_MAX ? 0 : -E_LIMIT);
	}
	assert_int_equal(viz_counters(world->viz)->watches, VIZ_WATCHES_MAX);
	browser_close(&browsers[VIZ_WATCHES_MAX]);
	browser_close(&browsers[VIZ_WATCHES_MAX - 1]);
	world->user = 0; /* has as many as one may have, though there is room */
	assert_int_equal(announce(world, 1, true, NULL, 0), 0);
	assert_int_equal(watch(world, 1, &browsers[VIZ_WATCHES_MAX]), -E_LIMIT);
	browsers[3].dead = true; /* one that breaks does not disturb the others */
	tick(world, 2);
	assert_int_equal(browsers[4].completes, 1);
	for (unsigned i = 0; i <= VIZ_WATCHES_MAX; i++)
		if (i != VIZ_WATCHES_MAX - 1)
			browser_close(&browsers[i]);
	assert_int_equal(viz_counters(world->viz)->watches, 0);
	world_done(world);
}

/* A graph that does not change costs no message, once everything has found its place. */
static void rest(void **state)
{
	struct world *world = world_make();
	(void)state;
	for (unsigned i = 0; i < 30; i++)
		test_probe_exec(&world->probe, 1 + i, i / 3, "p");
	report(world);
	watch_device(world);
	tick(world, 100);
	unsigned changes = world->browser.changes;
	tick(world, 100);
	assert_int_equal(world->browser.changes, changes);
	world_done(world);
}

static int short_memory(void *ctx)
{
	struct world *world = ctx;
	struct browser browser = { .watch = NULL };
	uint8_t name = 1;
	(void)name;
	world->viz = viz_new();
	if (!world->viz)
		return -E_NO_MEMORY;
	int err = announce(world, 1, false, &id_a, 1);
	const uint8_t ticket[16] = { 1 };
	if (err == 0)
		err = viz_watch_open(world->viz, ticket, &sink, &browser, world->now_ms, &browser.watch);
	viz_watch_close(browser.watch);
	viz_free(world->viz);
	return err;
}

static void memory_is_short(void **state)
{
	static struct world world;
	(void)state;
	assert_true(test_each_fault(short_memory, &world) > 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(snapshot),        cmocka_unit_test(life_of_a_process),
		cmocka_unit_test(keyframes),       cmocka_unit_test(keyframe_with_a_hole),
		cmocka_unit_test(what_is_missing), cmocka_unit_test(rows_beyond_the_rate),
		cmocka_unit_test(slow_watcher),    cmocka_unit_test(converges),
		cmocka_unit_test(hostile),         cmocka_unit_test(gone_and_stale),
		cmocka_unit_test(scopes),          cmocka_unit_test(fleet_of_one_and_none),
		cmocka_unit_test(tickets),         cmocka_unit_test(rest),
		cmocka_unit_test(memory_is_short),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
