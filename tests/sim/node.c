/* What server and agents have in common: a router on a disk that dies, its turns, and an inbox.  The turns are those of agent/net_envelope.c
 * (all at once) and server/core_envelope.c (the sync on another thread, while more comes in). */
#include <string.h>

#include "base/err.h"
#include "sim.h"

#define INBOX_TAKE 4
#define TURN_US    200
#define TURNS_MOST 2000 /* in a second */

static struct world *current; /* whose router asks for random bytes */

static void random_of_world(void *out, size_t len)
{
	chance_bytes(current, out, len);
}

bool node_is_server(const struct node *node)
{
	return node->index == 0;
}

bool node_dying(const struct node *node)
{
	return !node->up || node->disk.crashed;
}

struct node *node_device(const struct node *node)
{
	struct world *world = node->world;
	return node->index > world->n_agents ? world->copied : &world->nodes[node->index];
}

const struct id *node_own(const struct node *node)
{
	return &node_device(node)->id;
}

int64_t node_now_ms(const struct node *node)
{
	return START_MS + node->world->now_us / 1000 + node->ahead_ms;
}

bool node_step(struct node *node)
{
	struct test_disk *disk = &node->disk;
	disk->crashed |= ++disk->steps == disk->crash_at;
	return !disk->crashed;
}

/* ---- the inbox ---- */

static void one_deliver(struct node *node, struct str bytes)
{
	static murmesh_Envelope envelope;
	struct str body;
	struct id id;
	int err = envelope_read(bytes, &envelope, &body);
	if (err < 0)
		world_fail(node->world, "I1", "the router gives what is no envelope: %s", err_name(err));
	memcpy(id.bytes, envelope.id, sizeof id.bytes);
	if (!node_step(node))
		return;
	node->files++;
	node->files_known++;
	message_lay(node, &envelope, body);
	if (!node_step(node))
		return;
	route_delivered(node->route, node_own(node), &id, node_now_ms(node));
}

static void inbox_deliver(struct node *node)
{
	struct buf bytes;
	buf_init(&bytes, ENVELOPE_MAX);
	for (int i = 0; i < INBOX_TAKE && node->files_known < INBOX_MAX && !node->disk.crashed; i++) {
		route_credit(node->route, node_own(node), 1);
		if (route_next(node->route, node_own(node), node_now_ms(node), &bytes) != 1)
			break;
		if (!node->disk.crashed)
			one_deliver(node, buf_str(&bytes));
		buf_clear(&bytes);
	}
	buf_done(&bytes);
}

/* Programs of the machine take their messages away. */
static void on_consumer(void *subject, uint64_t argument)
{
	struct node *node = subject;
	struct world *world = node->world;
	(void)argument;
	if (world->now_us >= node->asleep_until)
		node->files = 0;
	world_later(world, between(world, 20 * MILLISECOND, 2 * SECOND), on_consumer, node, 0);
}

/* ---- turns of the loop ---- */

static void sync_begin(struct node *node)
{
	node->n_syncing = node->n_laid;
	node->failures = node->disk.failures;
	node->sync = route_sync_begin(node->route);
}

static void sync_ended(struct node *node)
{
	struct spool_sync *sync = node->sync;
	node->sync = NULL;
	if (!sync || node->disk.crashed)
		return;
	route_sync_end(node->route, node_now_ms(node));
	messages_synced(node);
	peers_answer(&node->peers);
	node_soon(node);
}

static void on_sync_end(void *subject, uint64_t life)
{
	struct node *node = subject;
	if (node->life != life)
		return;
	world_touch(node->world, node);
	sync_ended(node);
}

static void on_sync_run(void *subject, uint64_t life)
{
	struct node *node = subject;
	if (node->life != life)
		return;
	spool_sync_run(node->sync);
	world_later(node->world, between(node->world, 1, MILLISECOND), on_sync_end, node, life);
}

static int64_t sync_time(struct world *world)
{
	return world->slow_disks ? between(world, MILLISECOND, 400 * MILLISECOND) : between(world, 50, 10 * MILLISECOND);
}

static void server_turn(struct node *node)
{
	inbox_deliver(node);
	if (node->sync || node->disk.crashed)
		return; /* its end comes back here */
	sync_begin(node);
	if (!node->sync)
		return peers_answer(&node->peers);
	world_later(node->world, sync_time(node->world), on_sync_run, node, node->life);
}

static void agent_turn(struct node *node)
{
	inbox_deliver(node);
	if (node->disk.crashed)
		return;
	sync_begin(node);
	if (!node->sync)
		return peers_answer(&node->peers);
	spool_sync_run(node->sync);
	sync_ended(node);
}

static void on_turn(void *subject, uint64_t life)
{
	struct node *node = subject;
	if (node->life != life || !node->route)
		return;
	node->soon = false;
	if (++node->turns > TURNS_MOST)
		world_fail(node->world, "turns", "node %u goes in circles", node->index);
	world_touch(node->world, node);
	if (node_is_server(node))
		server_turn(node);
	else
		agent_turn(node);
}

void node_soon(struct node *node)
{
	if (node->soon || node_dying(node) || !node->route)
		return;
	node->soon = true;
	world_later(node->world, between(node->world, 1, TURN_US), on_turn, node, node->life);
}

static void on_tick(void *subject, uint64_t life)
{
	struct node *node = subject;
	if (node->life != life || !node->route)
		return;
	world_touch(node->world, node);
	if (node->files_known >= INBOX_MAX)
		node->files_known = node->files;
	node->turns = 0;
	route_tick(node->route, node_now_ms(node));
	node_soon(node);
	world_later(node->world, ROUTE_TICK_MS * MILLISECOND, on_tick, node, life);
}

/* ---- what the router tells ---- */

static void on_ready(void *ctx, const struct id *destination)
{
	struct node *node = ctx;
	if (node_dying(node))
		return;
	if (node_is_server(node) && !id_is_zero(destination))
		return server_ready(node->world, destination);
	if (!node_is_server(node) && id_is_zero(destination) && node->peer)
		peer_send(node->peer, node_now_ms(node));
	node_soon(node);
}

static void on_dead(void *ctx, const struct id *destination, const struct id *envelope, enum route_dead why)
{
	struct node *node = ctx;
	if (!node_dying(node))
		message_dead(node, destination, envelope, why);
}

static void on_replaced(void *ctx, const struct id *destination, const struct id *envelope)
{
	struct node *node = ctx;
	if (!node_dying(node))
		message_replaced(node, destination, envelope);
}

static void on_damaged(void *ctx, const struct spool_damage *damage)
{
	struct node *node = ctx;
	if (node->disk.crashed)
		return;
	trace(node->world, node, damage->torn ? "finds a torn end: segment #, at $" : "finds damage: segment #, at $",
	      damage->segment, damage->at);
	tally.torn += damage->torn;
	if (node->clean && damage->err == 0)
		world_fail(node->world, "spool", "node %u, segment %llu, at %llu: damage is found twice", node->index,
		           (unsigned long long)damage->segment, (unsigned long long)damage->at);
}

/* ---- life and death ---- */

/* Small, so that segments leave often.  `seen` is at most a fortieth of a segment's bytes. */
static void settings_choose(struct node *node)
{
	struct route_settings *settings = &node->settings;
	struct world *world = node->world;
	const struct spool_disk disk = settings->spool.disk;
	*settings = node_is_server(node) ? route_settings_server : route_settings_device;
	settings->spool.disk = disk;
	settings->spool.segment_max = node_is_server(node) || world->busy ? 16384 : (size_t)between(world, 3000, 16384);
	settings->spool.unsynced_max = chance(world, 50) ? 65536 : 8192;
	settings->spool.bytes_max = settings->spool.segment_max * (uint64_t)between(world, 12, 60);
	settings->seen_max = settings->spool.segment_max / 40;
	if (world->small_queues)
		settings->limits.count = (size_t)between(world, 4, 20);
	settings->random = random_of_world;
}

void node_init(struct world *world, unsigned index)
{
	struct node *node = &world->nodes[index];
	node->world = current = world;
	node->index = index;
	test_disk_init(&node->disk, &node->settings.spool.disk);
	settings_choose(node);
	world_later(world, between(world, 0, SECOND), on_consumer, node, 0);
}

static int route_begin(struct node *node)
{
	static const struct route_events events = { route_giver_tell, on_ready, on_dead, NULL, on_damaged, on_replaced };
	chance_bytes(node->world, node->settings.spool.seed, sizeof node->settings.spool.seed);
	node->settings.self = *node_own(node);
	int err = route_open(&node->settings, &events, node, node_now_ms(node), &node->route);
	return err < 0 && !node->disk.crashed ? err : 0;
}

/* It dies as soon as it has begun, and begins again: what is damaged was mended, and told, for good. */
static int route_begin_twice(struct node *node)
{
	struct world *world = node->world;
	unsigned failures = node->disk.failures;
	int err = route_begin(node);
	if (err < 0 || node->disk.crashed || !chance(world, 50))
		return err;
	node->route = route_free(node->route);
	test_disk_recover(&node->disk, chance(world, 50) ? TEST_POWER : TEST_KILLED);
	node->clean = node->disk.failures == failures;
	err = route_begin(node);
	node->clean = false;
	return err;
}

int node_open(struct node *node)
{
	struct world *world = node->world;
	node->files_known = node->files;
	int err = route_begin_twice(node);
	if (err < 0)
		world_fail(world, "start", "node %u cannot open its spool: %s", node->index, err_name(err));
	if (node->disk.crashed) { /* while it began */
		node->route = route_free(node->route);
		return -E_CLOSED;
	}
	if (route_attach(node->route, node_own(node)) < 0)
		world_fail(world, "start", "node %u cannot attach itself", node->index);
	peers_init(&node->peers, node->route);
	world_touch(world, node);
	if (node_is_server(node))
		server_began(world);
	world_later(world, 0, on_tick, node, node->life);
	node_soon(node);
	return 0;
}

void node_start(struct node *node)
{
	node->life++;
	node->up = true;
	if (node_is_server(node))
		node_open(node);
	else
		agent_start(node);
}

static void on_start(void *subject, uint64_t life)
{
	struct node *node = subject;
	if (node->life == life)
		node_start(node);
}

void node_end(struct node *node, enum test_crash how)
{
	static const char *const told[TEST_CRASHES] = { "is killed", "loses power", "loses power, and half of what it wrote" };
	struct world *world = node->world;
	trace(world, node, told[how], 0, 0);
	tally.ends[how]++;
	node->disk.crashed = true;
	links_of_node_end(node, how != TEST_KILLED);
	if (!node_is_server(node))
		agent_end(node);
	node->up = node->soon = false;
	node->life++;
	node->sync = NULL;
	node->route = route_free(node->route);
	messages_ended(node);
	node->disk.torn_part = (unsigned)chance_below(world, 257);
	node->disk.names_stay = chance(world, 50);
	test_disk_recover(&node->disk, how);
	if (!world->calm && chance(world, 15)) /* while it begins */
		node->disk.crash_at = node->disk.steps + (long)between(world, 1, 12);
	world_later(world, world->calm ? SECOND : between(world, 10 * MILLISECOND, 8 * SECOND), on_start, node, node->life);
}

void node_free(struct node *node)
{
	if (!node->world)
		return;
	node->up = false;
	peer_free(node->peer);
	route_free(node->route);
	test_disk_done(&node->disk);
}
