/* sim [--seed N [--trace]] [--from N]: without a seed the seeds 1, 2, ... as many as MURMESH_SEEDS says (1,000). */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/str.h"
#include "sim.h"

#define SEEDS       1000
#define TWICE_EVERY 50 /* is run a second time: it must be the same */

static struct world world;

struct options {
	uint64_t seed, from;
	bool one, tracing;
};

static int usage(const char *program)
{
	fprintf(stderr, "usage: %s [--seed N [--trace]] [--from N]\n", program);
	return 2;
}

static bool options_read(int argc, char **argv, struct options *ret)
{
	*ret = (struct options){ .from = 1 };
	for (int i = 1; i < argc; i++) {
		bool seed = strcmp(argv[i], "--seed") == 0, from = strcmp(argv[i], "--from") == 0;
		if (strcmp(argv[i], "--trace") == 0)
			ret->tracing = true;
		else if ((!seed && !from) || i + 1 == argc ||
		         str_to_u64(str_from(argv[++i]), UINT64_MAX, seed ? &ret->seed : &ret->from) < 0)
			return false;
		ret->one |= seed;
	}
	return true;
}

static uint64_t seeds_wanted(void)
{
	const char *wanted = getenv("MURMESH_SEEDS");
	uint64_t seeds = SEEDS;
	if (wanted && str_to_u64(str_from(wanted), UINT32_MAX, &seeds) < 0)
		exit(usage("MURMESH_SEEDS=N sim"));
	return seeds;
}

/* ---- what was tried ---- */

static const struct row {
	const char *name;
	const uint64_t *count;
} rows[] = {
	{ "steps", &tally.steps },
	{ "messages", &tally.messages },
	{ "acknowledged", &tally.acknowledged },
	{ "laid into an inbox", &tally.laid },
	{ "again after a crash", &tally.repeated },
	{ "gave way to newer ones", &tally.replaced },
	{ "dead: expired", &tally.dead[ROUTE_EXPIRED] },
	{ "dead: limit", &tally.dead[ROUTE_LIMIT] },
	{ "dead: refused", &tally.dead[ROUTE_REFUSED] },
	{ "dead: retired", &tally.dead[ROUTE_RETIRED] },
	{ "gaps told", &tally.gaps },
	{ "links", &tally.links },
	{ "links cut", &tally.cuts },
	{ "partitions", &tally.partitions },
	{ "relays died", &tally.relays },
	{ "moved to another parent", &tally.roamed },
	{ "killed", &tally.ends[TEST_KILLED] },
	{ "lost power", &tally.ends[TEST_POWER] },
	{ "wrote a torn end", &tally.ends[TEST_TORN] },
	{ "torn ends found", &tally.torn },
	{ "transactions lost", &tally.commits_lost },
	{ "disks full", &tally.full },
	{ "clocks set", &tally.jumps },
	{ "numbers given", &tally.tokens },
	{ "copies frozen", &tally.frozen },
	{ "devices deleted", &tally.retired },
};

/* A run over many seeds in which something never happens proves nothing about it. */
static int tally_print(uint64_t seeds)
{
	int missing = 0;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		printf("%12" PRIu64 "  %s\n", *rows[i].count, rows[i].name);
		missing += seeds >= SEEDS && !*rows[i].count;
	}
	if (missing)
		fprintf(stderr, "FAILED: what stands there with 0 has not been tried\n");
	return missing != 0;
}

/* ---- runs ---- */

static int one_run(const struct options *options, const char *program)
{
	uint64_t hash = world_run(&world, options->seed, options->tracing, program);
	printf("seed %" PRIu64 ": %" PRIu64 " steps, %016" PRIx64 "\n", options->seed, world.step, hash);
	return 0;
}

static int all_run(const struct options *options, uint64_t seeds, const char *program, volatile uint64_t *seed)
{
	for (uint64_t i = 0; i < seeds; i++) {
		*seed = options->from + i;
		uint64_t hash = world_run(&world, *seed, false, program);
		if (i % TWICE_EVERY == 0 && world_run(&world, *seed, false, program) != hash)
			world_fail(&world, "seed", "a second run of the seed is another");
	}
	printf("%" PRIu64 " seeds from %" PRIu64 "\n", seeds, options->from);
	return tally_print(seeds);
}

/* In a process of its own, so that whatever ends it, the seed is told. */
static int all_watch(const struct options *options, const char *program)
{
	volatile uint64_t *seed = mmap(NULL, sizeof *seed, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status;
	if (seed == MAP_FAILED)
		return 1;
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		registry_open();
		int failed = all_run(options, seeds_wanted(), program, seed);
		registry_close();
		exit(failed);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return 1;
	if (status != 0)
		fprintf(stderr, "it ended with status %#x in seed %" PRIu64 ": %s --seed %" PRIu64 " --trace\n", (unsigned)status,
		        *seed, program, *seed);
	return status != 0;
}

int main(int argc, char **argv)
{
	struct options options;
	if (!options_read(argc, argv, &options))
		return usage(argv[0]);
	if (!options.one)
		return all_watch(&options, argv[0]);
	registry_open();
	int failed = one_run(&options, argv[0]);
	registry_close();
	return failed;
}
