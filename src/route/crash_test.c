/* Two routers one after the other, as a server and a device: whichever dies at whatever step of its disk, and however much of what was not
 * synced is gone, all that was acknowledged arrives, and once. */
#include <errno.h>
#include <signal.h>

#include "base/err.h"
#include "base/test.h"
#include "os/fd.h"
#include "route/route.h"
#include "route/test_disk.h"

enum { ENVELOPES = 112, WINDOW = 5, CREDIT = 6, ROUNDS = 400 };
static const struct id device = { { 7 } };
static const int64_t start_ms = 1800000000000;

static void random_test(void *out, size_t len)
{
	static uint64_t state = 1;
	for (size_t i = 0; i < len; i++)
		((uint8_t *)out)[i] = (uint8_t)((state = state * 6364136223846793005u + 1442695040888963407u) >> 56);
}

struct node {
	struct test_disk disk;
	struct route_settings settings;
	struct route *route;
	bool linked;
};

struct world {
	struct node near, far;
	bool offered[ENVELOPES]; /* waits for its answer */
	bool kept[ENVELOPES];
	unsigned arrived[ENVELOPES];
	bool unsynced[ENVELOPES];   /* it arrived, and the device's log does not say so yet */
	bool may_repeat[ENVELOPES]; /* the device died meanwhile */
	int64_t now_ms;
	unsigned crashes;
	unsigned damaged;
};

/* ---- the sender: offers again what was not acknowledged ---- */

static void envelope_make(size_t number, struct buf *out)
{
	murmesh_Envelope envelope = { .which_to = murmesh_Envelope_node_tag, .type = "test", .created_ms = start_ms };
	char body[200];
	memset(body, 'a' + (int)(number % 26), sizeof body);
	envelope.id[0] = 1;
	envelope.id[15] = (uint8_t)number;
	envelope.priority = (murmesh_Priority)(number % 3);
	memcpy(envelope.to.node, device.bytes, sizeof envelope.to.node);
	assert_int_equal(envelope_write(&envelope, (struct str){ body, 50 + number % 100 }, out), 0);
}

static void on_near_accepted(void *ctx, void *token, int err)
{
	struct world *world = ctx;
	size_t number = (size_t)token - 1;
	world->offered[number] = false;
	if (err == 0)
		world->kept[number] = true;
}

static void offer(struct world *world)
{
	size_t under_way = 0;
	for (size_t i = 0; i < ENVELOPES && under_way < WINDOW; i++) {
		struct buf bytes;
		if (world->kept[i])
			continue;
		under_way++;
		if (world->offered[i])
			continue;
		buf_init(&bytes, ENVELOPE_MAX);
		envelope_make(i, &bytes);
		world->offered[i] = true;
		int err = route_accept(world->near.route, &device, buf_str(&bytes), world->now_ms, (void *)(i + 1));
		if (err < 0) {
			world->offered[i] = false;
			world->kept[i] = err == -E_EXISTS;
			assert_true(err == -E_EXISTS || !route_refused_for_good(err));
		}
		buf_done(&bytes);
	}
}

/* ---- the link between, and the consumer ---- */

static struct id id_of(struct str bytes)
{
	static murmesh_Envelope envelope;
	struct str body;
	struct id id;
	assert_int_equal(envelope_read(bytes, &envelope, &body), 0);
	memcpy(id.bytes, envelope.id, sizeof id.bytes);
	size_t number = envelope.id[15];
	assert_int_equal(body.len, 50 + number % 100);
	for (size_t i = 0; i < body.len; i++)
		assert_int_equal(body.ptr[i], 'a' + (int)(number % 26));
	return id;
}

static void on_far_accepted(void *ctx, void *token, int err)
{
	struct world *world = ctx;
	struct id id = { { 1 } };
	id.bytes[15] = (uint8_t)((size_t)token - 1);
	if (!world->near.route || !world->near.linked)
		return;
	if (err == 0)
		route_delivered(world->near.route, &device, &id, world->now_ms);
	else
		route_refused(world->near.route, &device, &id, 1000, world->now_ms);
}

static void link_run(struct world *world)
{
	struct buf bytes;
	buf_init(&bytes, ENVELOPE_MAX);
	if (!world->near.linked) {
		if (route_attach(world->near.route, &device) < 0)
			return;
		world->near.linked = true;
		route_credit(world->near.route, &device, CREDIT);
	}
	while (route_next(world->near.route, &device, world->now_ms, &bytes) == 1) {
		struct id id = id_of(buf_str(&bytes));
		int err =
		        route_accept(world->far.route, &device, buf_str(&bytes), world->now_ms, (void *)(size_t)(id.bytes[15] + 1));
		if (err == -E_EXISTS)
			route_delivered(world->near.route, &device, &id, world->now_ms);
		else if (err < 0)
			route_refused(world->near.route, &device, &id, 1000, world->now_ms);
		route_credit(world->near.route, &device, 1);
		buf_clear(&bytes);
	}
	buf_done(&bytes);
}

static void consumer_run(struct world *world)
{
	struct buf bytes;
	buf_init(&bytes, ENVELOPE_MAX);
	if (!world->far.linked) {
		if (route_attach(world->far.route, &device) < 0)
			return;
		world->far.linked = true;
	}
	route_credit(world->far.route, &device, 2);
	while (!world->far.disk.crashed && route_next(world->far.route, &device, world->now_ms, &bytes) == 1) {
		struct id id = id_of(buf_str(&bytes));
		world->arrived[id.bytes[15]]++;
		world->unsynced[id.bytes[15]] = true;
		route_delivered(world->far.route, &device, &id, world->now_ms);
		buf_clear(&bytes);
	}
	buf_done(&bytes);
}

/* ---- nodes ---- */

static void on_ready(void *ctx, const struct id *destination)
{
	(void)ctx;
	(void)destination;
}

static void on_damaged(void *ctx, const struct spool_damage *damage)
{
	struct world *world = ctx;
	world->damaged += damage->err == 0; /* not where the disk has just died */
}

static const struct route_events near_events = { on_near_accepted, on_ready, NULL, NULL, on_damaged };
static const struct route_events far_events = { on_far_accepted, on_ready, NULL, NULL, on_damaged };

static void settings_small(struct route_settings *settings)
{
	*settings = route_settings_device;
	settings->spool.segment_max = 2048;
	settings->spool.unsynced_max = 4096;
	settings->spool.bytes_max = 65536;
	settings->seen_max = 100;
	settings->random = random_test;
}

static void node_init(struct node *node, uint8_t self)
{
	settings_small(&node->settings);
	node->settings.self.bytes[0] = self;
	test_disk_init(&node->disk, &node->settings.spool.disk);
}

static void node_start(struct world *world, struct node *node)
{
	const struct route_events *events = node == &world->near ? &near_events : &far_events;
	assert_int_equal(route_open(&node->settings, events, world, world->now_ms, &node->route), 0);
}

static void node_sync(struct world *world, struct node *node)
{
	struct spool_sync *sync = route_sync_begin(node->route);
	if (!sync)
		return;
	spool_sync_run(sync);
	if (node->disk.crashed)
		return; /* who is dead acknowledges nothing */
	if (node == &world->far)
		memset(world->unsynced, 0, sizeof world->unsynced);
	route_sync_end(node->route, world->now_ms);
}

/* A dead node's sender and receiver see their links end. */
static bool node_check(struct world *world, struct node *node, enum test_crash how)
{
	if (!node->disk.crashed)
		return false;
	world->crashes++;
	node->route = route_free(node->route);
	node->linked = false;
	test_disk_recover(&node->disk, how);
	node_start(world, node);
	if (node == &world->near) {
		memset(world->offered, 0, sizeof world->offered);
	} else {
		memcpy(world->may_repeat, world->unsynced, sizeof world->may_repeat);
		route_detach(world->near.route, &device);
		world->near.linked = false;
	}
	return true;
}

static bool finished(const struct world *world)
{
	struct route_queue near, far;
	for (size_t i = 0; i < ENVELOPES; i++)
		if (!world->kept[i])
			return false;
	bool near_known = route_queue_of(world->near.route, &device, &near),
	     far_known = route_queue_of(world->far.route, &device, &far);
	return (!near_known || !near.waiting) && (!far_known || !far.waiting);
}

static void one_round(struct world *world, enum test_crash how)
{
	world->now_ms += 100;
	offer(world);
	node_sync(world, &world->near);
	if (node_check(world, &world->near, how))
		return;
	link_run(world);
	if (node_check(world, &world->near, how))
		return;
	node_sync(world, &world->far);
	if (node_check(world, &world->far, how))
		return;
	consumer_run(world);
	if (node_check(world, &world->far, how))
		return;
	route_tick(world->near.route, world->now_ms);
	if (node_check(world, &world->near, how))
		return;
	route_tick(world->far.route, world->now_ms);
	node_check(world, &world->far, how);
}

/* Returns the steps of the disk that crashed. */
static long world_run(bool far, long crash_at, enum test_crash how)
{
	static struct world world;
	unsigned rounds = 0;
	world = (struct world){ .now_ms = start_ms };
	node_init(&world.near, 1);
	node_init(&world.far, 2);
	node_start(&world, &world.near);
	node_start(&world, &world.far);
	struct node *victim = far ? &world.far : &world.near;
	victim->disk.steps = 0;
	victim->disk.crash_at = crash_at;
	while (!finished(&world) && rounds++ < ROUNDS)
		one_round(&world, how);
	assert_true(finished(&world));
	for (size_t i = 0; i < ENVELOPES; i++)
		assert_true(world.arrived[i] == 1 || (world.may_repeat[i] && world.arrived[i] == 2));
	assert_int_equal(world.crashes, crash_at ? 1 : 0);
	assert_true(how != TEST_POWER || world.damaged == 0);
	long steps = victim->disk.steps;
	world.near.route = route_free(world.near.route);
	world.far.route = route_free(world.far.route);
	test_disk_done(&world.near.disk);
	test_disk_done(&world.far.disk);
	return steps;
}

static void test_every_step(void **state)
{
	(void)state;
	for (int far = 0; far < 2; far++) {
		long steps = world_run(far, 0, TEST_KILLED);
		assert_true(steps > 100);
		for (enum test_crash how = 0; how < TEST_CRASHES; how++)
			for (long at = 1; at <= steps; at++)
				world_run(far, at, how);
	}
}

/* ---- the real disk, and kill -9 ---- */

struct killing {
	struct spool_disk disk;
	long left; /* steps to live; 0 = for ever */
};
static struct killing killing;

static void count_down(void)
{
	if (killing.left && --killing.left == 0)
		kill(getpid(), SIGKILL);
}
static int killing_names(void *ctx, int (*each)(void *each_ctx, const char *name), void *each_ctx)
{
	count_down();
	return killing.disk.names(ctx, each, each_ctx);
}
static int killing_create(void *ctx, const char *name)
{
	count_down();
	return killing.disk.create(ctx, name);
}
static int killing_write(void *ctx, int file, uint64_t at, const void *bytes, size_t len)
{
	if (killing.left == 1)
		killing.disk.write(ctx, file, at, bytes, len / 2);
	count_down();
	return killing.disk.write(ctx, file, at, bytes, len);
}
static int killing_sync(void *ctx, int file)
{
	count_down();
	return killing.disk.sync(ctx, file);
}
static int killing_sync_names(void *ctx)
{
	count_down();
	return killing.disk.sync_names(ctx);
}
static int killing_truncate(void *ctx, int file, uint64_t size)
{
	count_down();
	return killing.disk.truncate(ctx, file, size);
}
static int killing_remove(void *ctx, const char *name)
{
	count_down();
	return killing.disk.remove(ctx, name);
}

struct life {
	const char *directory;
	int out; /* "k" or "d" and a number for each that was kept, or delivered */
	long steps;
	size_t next; /* the first that is not known to be kept */
};

static void say(int fd, char what, size_t number)
{
	const uint8_t line[2] = { (uint8_t)what, (uint8_t)number };
	fd_write_all(fd, line, sizeof line);
}

static void on_life_accepted(void *ctx, void *token, int err)
{
	const struct life *life = ctx;
	if (err == 0)
		say(life->out, 'k', (size_t)token - 1);
}

static void on_life_damaged(void *ctx, const struct spool_damage *damage)
{
	const struct life *life = ctx;
	say(life->out, damage->torn ? 't' : 'x', 0);
}

static void life_sync(struct route *route)
{
	for (struct spool_sync *sync; (sync = route_sync_begin(route));) {
		spool_sync_run(sync);
		route_sync_end(route, start_ms);
	}
}

static void life_deliver(const struct life *life, struct route *route)
{
	struct buf bytes;
	buf_init(&bytes, ENVELOPE_MAX);
	while (route_next(route, &device, start_ms, &bytes) == 1) {
		struct id id = id_of(buf_str(&bytes));
		say(life->out, 'd', id.bytes[15]);
		route_delivered(route, &device, &id, start_ms);
		buf_clear(&bytes);
	}
	buf_done(&bytes);
}

static int live(void *ctx)
{
	static const struct route_events events = { on_life_accepted, on_ready, NULL, NULL, on_life_damaged };
	struct life *life = ctx;
	struct route_settings settings;
	struct route *route;
	settings_small(&settings);
	if (spool_disk_open(life->directory, &killing.disk) < 0)
		return 2;
	killing.left = life->steps;
	settings.spool.disk = killing.disk;
	settings.spool.disk.names = killing_names;
	settings.spool.disk.create = killing_create;
	settings.spool.disk.write = killing_write;
	settings.spool.disk.sync = killing_sync;
	settings.spool.disk.sync_names = killing_sync_names;
	settings.spool.disk.truncate = killing_truncate;
	settings.spool.disk.remove = killing_remove;
	if (route_open(&settings, &events, life, start_ms, &route) < 0 || route_attach(route, &device) < 0)
		return 3;
	route_credit(route, &device, UINT32_MAX);
	for (size_t i = life->next; i < ENVELOPES; i++) {
		struct buf bytes;
		buf_init(&bytes, ENVELOPE_MAX);
		envelope_make(i, &bytes);
		if (route_accept(route, &device, buf_str(&bytes), start_ms, (void *)(i + 1)) == -E_EXISTS)
			say(life->out, 'k', i);
		buf_done(&bytes);
		if (i % 3 == 2)
			life_sync(route);
		if (i % 5 == 4)
			life_deliver(life, route);
	}
	life_sync(route);
	life_deliver(life, route);
	route_free(route);
	spool_disk_close(&killing.disk);
	return 0;
}

struct seen_by_parent {
	bool kept[ENVELOPES];
	unsigned delivered[ENVELOPES], torn;
};

static void parent_read(int fd, struct seen_by_parent *seen)
{
	uint8_t line[2];
	while (fd_read(fd, line, 2) == 2) {
		assert_true(line[0] != 'x' && line[1] < ENVELOPES);
		if (line[0] == 'k')
			seen->kept[line[1]] = true;
		else if (line[0] == 'd')
			seen->delivered[line[1]]++;
		else
			seen->torn++;
	}
}

/* One life: -1 when it was killed, else its exit code. */
static int live_once(const char *directory, long steps, struct seen_by_parent *seen)
{
	int ends[2];
	struct life life = { .directory = directory, .steps = steps };
	assert_int_equal(pipe(ends), 0);
	life.out = ends[1];
	while (life.next < ENVELOPES && seen->kept[life.next])
		life.next++;
	int code = test_in_child(live, &life);
	fd_close(ends[1]);
	parent_read(ends[0], seen);
	fd_close(ends[0]);
	return code;
}

static void test_killed(void **state)
{
	char directory[600];
	uint64_t total = 0, wanted = test_kills();
	for (long round = 0; round < 25 || total < wanted; round++) {
		struct seen_by_parent seen = { 0 };
		unsigned kills = 0;
		long steps = 1 + round % 40;
		int code;
		snprintf(directory, sizeof directory, "%s/%ld", (const char *)*state, round);
		/* The same number of steps again and again, growing, until a life is long enough. */
		for (long more = steps; (code = live_once(directory, more, &seen)) == -1; more += steps)
			assert_true(++kills < 200);
		assert_int_equal(code, 0);
		assert_true(kills > 0);
		total += kills;
		for (size_t i = 0; i < ENVELOPES; i++) {
			assert_true(seen.kept[i]);
			assert_true(seen.delivered[i] >= 1);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_step),
		cmocka_unit_test_setup_teardown(test_killed, test_directory_make, test_directory_remove),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
