/* Clock, events, chance, and what is told of a run. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

#define STEPS_MOST 2000000 /* it goes in circles */

struct tally tally;

/* ---- chance: splitmix64 ---- */

static uint64_t chance_next(struct world *world)
{
	uint64_t v = world->random += 0x9e3779b97f4a7c15u;
	v = (v ^ v >> 30) * 0xbf58476d1ce4e5b9u;
	v = (v ^ v >> 27) * 0x94d049bb133111ebu;
	return v ^ v >> 31;
}

uint64_t chance_below(struct world *world, uint64_t limit)
{
	return chance_next(world) % limit;
}

bool chance(struct world *world, unsigned percent)
{
	return chance_below(world, 100) < percent;
}

int64_t between(struct world *world, int64_t least, int64_t most)
{
	return least + (int64_t)chance_below(world, (uint64_t)(most - least) + 1);
}

void chance_bytes(struct world *world, void *out, size_t len)
{
	for (size_t i = 0; i < len; i++)
		((uint8_t *)out)[i] = (uint8_t)chance_next(world);
}

/* ---- what is told ---- */

static void mix(struct world *world, uint64_t v)
{
	world->hash = (world->hash ^ v) * 0x100000001b3u;
	world->hash ^= world->hash >> 29;
}

static void print(const struct world *world, const struct node *node, const char *what, uint64_t a, uint64_t b)
{
	printf("%8" PRIu64 " %11.6f  ", world->step, (double)world->now_us / SECOND);
	if (node && node->index)
		printf("%s %-2u ", node_own(node) == &node->id ? "agent" : "copy ", node->index);
	else
		printf("%-9s", node ? "server" : "");
	for (; *what; what++)
		if (*what == '#' || *what == '$')
			printf("%" PRIu64, *what == '#' ? a : b);
		else
			putchar(*what);
	putchar('\n');
}

void trace(struct world *world, const struct node *node, const char *what, uint64_t a, uint64_t b)
{
	mix(world, node ? node->index : NODES_MAX);
	for (const char *at = what; *at; at++)
		mix(world, (uint8_t)*at);
	mix(world, a);
	mix(world, b);
	if (world->tracing)
		print(world, node, what, a, b);
}

void world_fail(struct world *world, const char *invariant, const char *format, ...)
{
	va_list args;
	fflush(stdout);
	fprintf(stderr, "FAILED seed %" PRIu64 ", step %" PRIu64 ", %.6f s: %s: ", world->seed, world->step,
	        (double)world->now_us / SECOND, invariant);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\nto see it again: %s --seed %" PRIu64 " --trace\n", world->program, world->seed);
	registry_close();
	exit(1);
}

/* ---- events: a heap ---- */

static bool event_before(const struct event *a, const struct event *b)
{
	return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void event_swap(struct event *a, struct event *b)
{
	struct event c = *a;
	*a = *b;
	*b = c;
}

void world_later(struct world *world, int64_t delay_us, void (*run)(void *subject, uint64_t argument), void *subject,
                 uint64_t argument)
{
	if (world->n_events == world->events_capacity) {
		world->events_capacity = world->events_capacity * 2 + 256;
		world->events = realloc(world->events, world->events_capacity * sizeof *world->events);
		if (!world->events)
			abort();
	}
	size_t at = world->n_events++;
	world->events[at] = (struct event){ world->now_us + delay_us, world->order++, run, subject, argument };
	for (; at && event_before(&world->events[at], &world->events[(at - 1) / 2]); at = (at - 1) / 2)
		event_swap(&world->events[at], &world->events[(at - 1) / 2]);
}

static struct event event_take(struct world *world)
{
	struct event first = world->events[0];
	world->events[0] = world->events[--world->n_events];
	for (size_t at = 0, least;; at = least) {
		least = at;
		for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < world->n_events; child++)
			if (event_before(&world->events[child], &world->events[least]))
				least = child;
		if (least == at)
			return first;
		event_swap(&world->events[at], &world->events[least]);
	}
}

/* ---- a run ---- */

void world_touch(struct world *world, const struct node *node)
{
	world->touched |= (uint64_t)1 << node->index;
}

static enum test_crash crash_kind(struct world *world)
{
	return (enum test_crash)chance_below(world, TEST_CRASHES);
}

static void step(struct world *world)
{
	struct event event = event_take(world);
	world->now_us = event.at_us;
	world->step++;
	world->touched = 0;
	event.run(event.subject, event.argument);
	for (unsigned i = 0; i < world->n_nodes; i++)
		if (world->nodes[i].up && world->nodes[i].disk.crashed)
			node_end(&world->nodes[i], crash_kind(world));
	messages_check(world);
}

static void world_begin(struct world *world, uint64_t seed)
{
	world->random = world->seed = seed;
	world->hash = 0xcbf29ce484222325u;
	list_init(&world->links);
	for (unsigned i = 0; i < NODES_MAX; i++)
		list_init(&world->owed[i]);
	faults_begin(world);
	registry_begin(world);
	messages_begin(world);
}

static void world_end(struct world *world)
{
	links_free(world);
	for (unsigned i = 0; i < world->n_nodes; i++)
		node_free(&world->nodes[i]);
	free(world->events);
}

uint64_t world_run(struct world *world, uint64_t seed, bool tracing, const char *program)
{
	memset(world, 0, sizeof *world);
	world->tracing = tracing;
	world->program = program;
	world_begin(world, seed);
	while (!world->over) {
		if (!world->n_events || world->step == STEPS_MOST)
			world_fail(world, "end", "it does not come to an end");
		step(world);
	}
	tally.steps += world->step;
	uint64_t hash = world->hash;
	world_end(world);
	return hash;
}
