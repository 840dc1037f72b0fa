/* Which world it is, and what befalls it. */
#include <errno.h>
#include <string.h>

#include "sim.h"

#define CALM_MOST (400 * SECOND) /* then all must have arrived */
#define BACK_MOST 240000         /* ms; agents believe no server whose clock is farther behind than SLACK_S of agent/net_time.c */

static struct node *any_agent(struct world *world)
{
	return &world->nodes[1 + chance_below(world, world->n_agents)];
}

static struct node *any_node(struct world *world)
{
	return chance(world, 30) ? &world->nodes[0] : any_agent(world);
}

static int64_t until_calm(const struct world *world, int64_t duration_us)
{
	int64_t left = world->calm_at - world->now_us;
	return duration_us < left ? duration_us : left;
}

/* ---- links ---- */

static void links_cut(struct world *world, int relay)
{
	LIST_EACH(at, &world->links) {
		struct link *link = LIST_ENTRY(at, struct link, node);
		if (link_over_relay(link, relay))
			link_cut(link, chance(world, 30));
	}
}

static void cut(struct world *world)
{
	const struct node *agent = any_agent(world);
	if (!agent->link)
		return;
	trace(world, agent, "loses what is under way on its link", 0, 0);
	tally.cuts++;
	link_cut(agent->link, chance(world, 40));
}

/* Both ways, or one; of an agent's access, or of all behind a relay. */
static void partition(struct world *world)
{
	struct node *agent = any_agent(world);
	int relay = world->n_relays && chance(world, 30) ? (int)chance_below(world, (uint64_t)world->n_relays) : -1;
	int64_t duration = chance(world, 80) ? between(world, SECOND / 10, 8 * SECOND) : between(world, 8 * SECOND, 90 * SECOND);
	int64_t *until = relay < 0 ? agent->blocked_until : world->relays[relay].blocked_until;
	uint64_t ways = 1 + chance_below(world, 3);
	duration = until_calm(world, duration);
	trace(world, relay < 0 ? agent : NULL, relay < 0 ? "is cut off for # ms, ways $" : "a relay is cut off for # ms, ways $",
	      (uint64_t)duration / 1000, ways);
	tally.partitions++;
	for (int side = 0; side < 2; side++)
		if (ways & (1u << side))
			until[side] = world->now_us + duration;
	LIST_EACH(at, &world->links) {
		struct link *link = LIST_ENTRY(at, struct link, node);
		if (relay < 0 ? link->agent == agent : link_over_relay(link, relay))
			link_starve(link, duration);
	}
}

static void on_relay_up(void *subject, uint64_t relay)
{
	struct world *world = subject;
	world->relays[relay].up = true;
}

static void relay_end(struct world *world)
{
	uint64_t relay = chance_below(world, (uint64_t)world->n_relays + 1);
	if ((int)relay == world->n_relays || !world->relays[relay].up)
		return;
	trace(world, NULL, "relay # dies", relay, 0);
	tally.relays++;
	world->relays[relay].up = false;
	links_cut(world, (int)relay);
	world_later(world, until_calm(world, between(world, SECOND / 2, 20 * SECOND)), on_relay_up, world, relay);
}

static void roam(struct world *world)
{
	struct node *agent = any_agent(world);
	agent_roam(agent, (unsigned)chance_below(world, agent->n_parents));
}

/* ---- nodes and disks ---- */

static void kill(struct world *world)
{
	struct node *node = any_node(world);
	if (node->up)
		node_end(node, (enum test_crash)chance_below(world, TEST_CRASHES));
}

/* At one of the next steps of its disk. */
static void disk_end(struct world *world)
{
	struct test_disk *disk = &any_node(world)->disk;
	disk->crash_at = disk->steps + (long)between(world, 1, 30);
}

static void disk_error(struct world *world)
{
	struct node *node = any_node(world);
	if (!node->route)
		return;
	node->disk.fail_at = node->disk.steps + (long)between(world, 1, 10);
	node->disk.fail_err = chance(world, 50) ? -EIO : -ENOSPC;
}

static void on_room(void *subject, uint64_t argument)
{
	(void)argument;
	((struct node *)subject)->disk.capacity = 0;
}

static void disk_full(struct world *world)
{
	struct node *node = any_node(world);
	trace(world, node, "has no room on its disk", 0, 0);
	tally.full++;
	node->disk.capacity = 1;
	world_later(world, until_calm(world, between(world, SECOND, 15 * SECOND)), on_room, node, 0);
}

static void sleep_long(struct world *world)
{
	struct node *node = any_node(world);
	node->asleep_until = world->now_us + until_calm(world, between(world, 3 * SECOND, 30 * SECOND));
}

/* ---- clocks: the server's; it tells the agents theirs ---- */

static void clock_jump(struct world *world)
{
	struct node *server = &world->nodes[0];
	uint64_t kind = chance_below(world, 5);
	int64_t least = world->most_ahead_ms - BACK_MOST, before = server->ahead_ms;
	server->ahead_ms += kind == 0   ? between(world, 86400000, 6 * (int64_t)86400000)
	                    : kind <= 2 ? between(world, 1000, 3600000)
	                                : -between(world, 1000, BACK_MOST);
	if (server->ahead_ms < least)
		server->ahead_ms = least;
	if (server->ahead_ms > world->most_ahead_ms)
		world->most_ahead_ms = server->ahead_ms;
	world->clock_jumped = true;
	world->clock_went_back |= server->ahead_ms < before;
	tally.jumps++;
	trace(world, server, server->ahead_ms < before ? "has its clock set back by # ms" : "has its clock set forward by # ms",
	      (uint64_t)(server->ahead_ms < before ? before - server->ahead_ms : server->ahead_ms - before), 0);
}

/* ---- copies of machines, and of the database ---- */

static void machine_copy(struct world *world)
{
	struct node *original = any_agent(world), *copy = &world->nodes[world->n_nodes];
	if (world->copied || original->retired || !original->kept.enrolled || id_is_zero(&original->id) || original->stopped)
		return;
	trace(world, original, "is copied", 0, 0);
	world->copied = original;
	node_init(world, world->n_nodes++);
	copy->kept = original->kept;
	copy->n_parents = original->n_parents;
	memcpy(copy->parents, original->parents, sizeof copy->parents);
	LIST_EACH(at, &world->owed[original->index])
		list_remove(at);
	node_start(copy);
}

static void device_delete(struct world *world)
{
	struct node *device = any_agent(world);
	if (!id_is_zero(&device->id) && world->copied != device)
		registry_retire(device);
}

static void database_back_up(struct world *world)
{
	trace(world, &world->nodes[0], "backs its database up", 0, 0);
	registry_back_up(world);
}

static void database_restore(struct world *world)
{
	struct node *server = &world->nodes[0];
	if (!server->up)
		return;
	trace(world, server, "is put back to its last backup", 0, 0);
	node_end(server, TEST_KILLED);
	registry_restore(world);
}

/* ---- when ---- */

static const struct fault {
	void (*strike)(struct world *world);
	unsigned every_s; /* on average, in a world where it happens */
	unsigned percent; /* of worlds */
} faults[] = {
	{ cut, 4, 70 },
	{ partition, 8, 60 },
	{ relay_end, 12, 60 },
	{ roam, 8, 50 },
	{ kill, 10, 60 },
	{ disk_end, 6, 60 },
	{ disk_error, 6, 25 },
	{ disk_full, 15, 20 },
	{ sleep_long, 10, 30 },
	{ clock_jump, 20, 25 },
	{ machine_copy, 15, 10 },
	{ database_back_up, 10, 15 },
	{ database_restore, 20, 15 },
	{ device_delete, 20, 15 },
};

static void on_strike(void *subject, uint64_t kind)
{
	struct world *world = subject;
	if (world->calm)
		return;
	faults[kind].strike(world);
	world_later(world, between(world, 0, 2 * faults[kind].every_s * SECOND), on_strike, world, kind);
}

/* ---- the end ---- */

static void on_settled(void *subject, uint64_t argument)
{
	struct world *world = subject;
	unsigned number;
	const char *why = messages_unsettled(world, &number);
	(void)argument;
	world->over = !why;
	if (why && world->now_us > world->calm_at + CALM_MOST)
		world_fail(world, "I1", "all faults are over, and %s: %u", why, number);
	world_later(world, SECOND / 2, on_settled, world, 0);
}

static void on_calm(void *subject, uint64_t argument)
{
	struct world *world = subject;
	(void)argument;
	trace(world, NULL, "all faults are over", 0, 0);
	world->calm = true;
	for (unsigned i = 0; i < world->n_nodes; i++) {
		struct node *node = &world->nodes[i];
		node->disk.crash_at = node->disk.fail_at = 0;
		node->disk.capacity = 0;
	}
	on_settled(world, 0);
}

/* ---- the beginning ---- */

static unsigned agents_choose(struct world *world)
{
	uint64_t kind = chance_below(world, 20);
	return (unsigned)(kind == 0 ? between(world, 31, AGENTS_MAX) : kind <= 4 ? between(world, 13, 30) : between(world, 5, 12));
}

static void relays_make(struct world *world)
{
	world->n_relays = (int)chance_below(world, RELAYS_MAX + 1);
	for (int i = 0; i < world->n_relays; i++) {
		world->relays[i].up = true;
		world->relays[i].parent = (int)chance_below(world, (uint64_t)i + 1) - 1;
	}
}

static void on_node_start(void *subject, uint64_t argument)
{
	(void)argument;
	node_start(subject);
}

static void agent_make(struct world *world, unsigned index)
{
	struct node *agent = &world->nodes[index];
	node_init(world, index);
	agent->n_parents = 1 + (unsigned)chance_below(world, PARENTS_MAX);
	for (unsigned i = 0; i < agent->n_parents; i++)
		agent->parents[i] = (int)chance_below(world, (uint64_t)world->n_relays + 1) - 1;
	world_later(world, between(world, MILLISECOND, 2 * SECOND), on_node_start, agent, 0);
}

void faults_begin(struct world *world)
{
	world->n_agents = agents_choose(world);
	world->n_nodes = 1 + world->n_agents;
	world->uses = chance(world, 10) ? world->n_agents - 1 : world->n_agents;
	world->small_queues = chance(world, 20);
	world->slow_disks = chance(world, 20);
	world->busy = chance(world, 6);
	world->message_us = world->busy ? SECOND / 50 : between(world, SECOND / 10, SECOND);
	world->calm_at = between(world, 15 * SECOND, 60 * SECOND);
	relays_make(world);
	node_init(world, 0);
	for (unsigned i = 1; i <= world->n_agents; i++)
		agent_make(world, i);
	node_start(&world->nodes[0]);
	for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
		if (chance(world, faults[i].percent))
			world_later(world, between(world, SECOND, 2 * faults[i].every_s * SECOND), on_strike, world, i);
	world_later(world, world->calm_at, on_calm, world, 0);
}
