#include "viz/state.h"

#include "base/err.h"
#include "base/map.h"
#include "base/test.h"

#define NETWORK 0
#define PROCESS 1

static const struct id id_a = { { 1 } }, id_b = { { 2 } }, id_c = { { 3 } };

struct world {
	struct state state;
	struct device *a, *b, *c;
};

static struct world *world_make(void)
{
	static struct world world;
	assert_int_equal(state_init(&world.state), 0);
	world.a = state_device(&world.state, &id_a);
	world.b = state_device(&world.state, &id_b);
	world.c = state_device(&world.state, &id_c);
	return &world;
}

static void world_done(struct world *world)
{
	state_done(&world->state);
	assert_int_equal(world->state.bytes, 0); /* whatever was taken was given back */
	assert_int_equal(world->state.n_devices, 0);
}

static void process(struct world *world, const char *id, const char *label, const char *detail)
{
	const struct state_thing thing = { id, "process", label, detail, 7, PROCESS, false };
	state_thing(&world->state, world->a, &thing);
}

static void address(struct world *world, struct device *device, const char *id)
{
	const struct state_thing thing = { id, "address", id, "", 0, NETWORK, true };
	state_thing(&world->state, device, &thing);
}

static void connect(struct world *world, struct device *device, const char *id, const char *from, const char *to)
{
	address(world, device, to);
	state_tie(&world->state, device, id, "connection", from, to, NETWORK);
}

static void things(void **state)
{
	struct world *world = world_make();
	(void)state;
	process(world, "p/1", "sh", "sh -c x");
	struct thing *thing = state_thing_find(world->a, "p/1");
	assert_string_equal(thing->label, "sh");
	assert_string_equal(thing->detail, "sh -c x");
	assert_int_equal(thing->pid, 7);
	assert_int_equal(world->a->n_own, 1);
	assert_null(state_thing_find(world->b, "p/1"));
	uint64_t version = world->a->changed;
	process(world, "p/1", "sh", "");
	assert_int_equal(world->a->changed, version); /* nothing new */
	assert_string_equal(thing->detail, "sh -c x");
	process(world, "p/1", "c\x1b[31m\xff", "curl");
	assert_true(world->a->changed > version);
	assert_string_equal(thing->label, "c\xef\xbf\xbd[31m\xef\xbf\xbd"); /* cleaned */
	assert_string_equal(thing->detail, "curl");
	world_done(world);
}

static void lingers_then_goes(void **state)
{
	struct world *world = world_make();
	(void)state;
	process(world, "p/1", "sh", "");
	process(world, "p/2", "ls", "");
	state_tie(&world->state, world->a, "t/1", "child", "p/1", "p/2", PROCESS);
	state_thing_end(&world->state, world->a, "p/2", 1000);
	state_thing_end(&world->state, world->a, "p/2", 2000); /* once is enough */
	state_sweep(&world->state, world->a, 1000 + STATE_LINGER_MS - 1);
	assert_non_null(state_tie_find(world->a, "t/1"));
	state_sweep(&world->state, world->a, 1000 + STATE_LINGER_MS);
	assert_null(state_thing_find(world->a, "p/2"));
	assert_null(state_tie_find(world->a, "t/1"));
	assert_non_null(state_thing_find(world->a, "p/1"));
	assert_int_equal(world->a->n_own, 1);
	world_done(world);
}

static void comes_back(void **state)
{
	struct world *world = world_make();
	(void)state;
	process(world, "p/1", "sh", "");
	connect(world, world->a, "c/1", "p/1", "n/1");
	state_thing_end(&world->state, world->a, "p/1", 1000);
	state_tie_end(&world->state, world->a, "c/1", 1000);
	process(world, "p/1", "sh", "");
	connect(world, world->a, "c/1", "p/1", "n/1");
	state_sweep(&world->state, world->a, 10000);
	assert_non_null(state_thing_find(world->a, "p/1"));
	assert_non_null(state_tie_find(world->a, "c/1"));
	assert_int_equal(world->a->n_ended_things + world->a->n_ended_ties, 0);
	world_done(world);
}

static void many_do_not_linger(void **state)
{
	struct world *world = world_make();
	char id[16];
	(void)state;
	for (unsigned i = 0; i < 200; i++) {
		snprintf(id, sizeof id, "p/%u", i);
		process(world, id, "sh", "");
		state_thing_end(&world->state, world->a, id, 1000);
		connect(world, world->a, id, STATE_OWN, "n/1");
		state_tie_end(&world->state, world->a, id, 1000);
	}
	assert_int_equal(world->a->n_ended_things, STATE_LINGER_MAX);
	assert_int_equal(world->a->n_own, STATE_LINGER_MAX);
	assert_int_equal(map_count(world->a->ties), STATE_LINGER_MAX);
	world_done(world);
}

static void shared_goes_with_its_last_tie(void **state)
{
	struct world *world = world_make();
	(void)state;
	connect(world, world->a, "c/1", STATE_OWN, "n/1");
	connect(world, world->a, "c/2", STATE_OWN, "n/1");
	state_thing_end(&world->state, world->a, "n/1", 1); /* is not asked */
	state_tie_end(&world->state, world->a, "c/1", 1);
	state_sweep(&world->state, world->a, 5000);
	assert_non_null(state_thing_find(world->a, "n/1"));
	state_tie_end(&world->state, world->a, "c/2", 5000);
	state_sweep(&world->state, world->a, 10000);
	assert_null(state_thing_find(world->a, "n/1"));
	world_done(world);
}

/* A tie may name what comes only later. */
static void parent_comes_later(void **state)
{
	struct world *world = world_make();
	(void)state;
	process(world, "p/2", "ls", "");
	state_tie(&world->state, world->a, "t/1", "child", "p/1", "p/2", PROCESS);
	assert_null(state_thing_find(world->a, "p/1")->kind);
	process(world, "p/1", "sh", "");
	assert_string_equal(state_thing_find(world->a, "p/1")->kind, "process");
	assert_ptr_equal(state_tie_find(world->a, "t/1")->from, state_thing_find(world->a, "p/1"));
	assert_int_equal(world->a->n_own, 2);
	process(world, "p/4", "ls", "");
	state_tie(&world->state, world->a, "t/2", "child", "p/3", "p/4", PROCESS); /* one that never comes */
	state_thing_end(&world->state, world->a, "p/4", 1);
	state_sweep(&world->state, world->a, 10000);
	assert_null(state_thing_find(world->a, "p/3"));
	world_done(world);
}

static void tie_with_other_ends(void **state)
{
	struct world *world = world_make();
	(void)state;
	process(world, "p/1", "sh", "");
	connect(world, world->a, "c/1", STATE_OWN, "n/1");
	connect(world, world->a, "c/1", "p/1", "n/1"); /* now its owner is known */
	assert_ptr_equal(state_tie_find(world->a, "c/1")->from, state_thing_find(world->a, "p/1"));
	connect(world, world->a, "c/1", "p/1", "n/2");
	assert_null(state_thing_find(world->a, "n/1"));
	state_tie(&world->state, world->a, "c/1", "connection", "n/2", "n/2", NETWORK); /* a loop */
	assert_non_null(state_thing_find(world->a, "n/2"));
	state_tie_end(&world->state, world->a, "c/1", 1);
	state_sweep(&world->state, world->a, 10000);
	assert_null(state_thing_find(world->a, "n/2"));
	world_done(world);
}

static void bytes(void **state)
{
	struct world *world = world_make();
	(void)state;
	connect(world, world->a, "c/1", STATE_OWN, "n/1");
	struct tie *tie = state_tie_find(world->a, "c/1");
	uint64_t changed = world->a->changed;
	state_tie_bytes(&world->state, world->a, "c/1", 0, 100, false);
	state_tie_bytes(&world->state, world->a, "c/1", 0, 20, false);
	state_tie_bytes(&world->state, world->a, "c/1", 1, 5, false);
	assert_int_equal(tie->bytes[0], 120);
	assert_int_equal(tie->bytes[1], 5);
	state_tie_bytes(&world->state, world->a, "c/1", 0, 1000, true);
	assert_int_equal(tie->bytes[0], 1000);
	state_tie_bytes(&world->state, world->a, "c/1", 3, UINT64_MAX, false);
	assert_true(tie->bytes[1] == UINT64_MAX);
	state_tie_bytes(&world->state, world->a, "c/9", 0, 1, false); /* not known: nothing */
	assert_true(world->a->traffic > changed && world->a->changed == changed);
	world_done(world);
}

static void port_of_the_service(void **state)
{
	struct world *world = world_make();
	(void)state;
	connect(world, world->a, "c/\x1f/10.0.0.1-40000-10.0.0.2-443", STATE_OWN, "n/10.0.0.2");
	connect(world, world->a, "c/\x1f/fe80::1-40000-fe80::2-53-udp", STATE_OWN, "n/fe80::2");
	connect(world, world->a, "c/\x1f/odd", STATE_OWN, "n/x");
	assert_int_equal(state_thing_find(world->a, "n/10.0.0.2")->port, 443);
	assert_int_equal(state_thing_find(world->a, "n/fe80::2")->port, 53);
	assert_int_equal(state_thing_find(world->a, "n/x")->port, 0);
	world_done(world);
}

/* A tie of two devices is between them; of three it is nobody's. */
static void peers(void **state)
{
	struct world *world = world_make();
	(void)state;
	connect(world, world->a, "c/1", STATE_OWN, "n/b");
	struct tie *tie = state_tie_find(world->a, "c/1");
	assert_null(state_tie_peer(&world->state, world->a, tie));
	connect(world, world->b, "c/1", STATE_OWN, "n/a");
	assert_ptr_equal(state_tie_peer(&world->state, world->a, tie), world->b);
	assert_ptr_equal(state_tie_peer(&world->state, world->b, state_tie_find(world->b, "c/1")), world->a);
	connect(world, world->c, "c/1", STATE_OWN, "n/a");
	assert_null(state_tie_peer(&world->state, world->a, tie));
	state_device_remove(&world->state, world->c);
	assert_ptr_equal(state_tie_peer(&world->state, world->a, tie), world->b);
	state_tie_end(&world->state, world->b, "c/1", 1);
	state_sweep(&world->state, world->b, 10000);
	assert_null(state_tie_peer(&world->state, world->a, tie));
	/* What means another machine on each device is nobody's end. */
	connect(world, world->a, "c/2", STATE_OWN, "n/127.0.0.1@" STATE_OWN);
	connect(world, world->b, "c/2", STATE_OWN, "n/127.0.0.1@" STATE_OWN);
	assert_null(state_tie_peer(&world->state, world->a, state_tie_find(world->a, "c/2")));
	world_done(world);
}

static void keyframe(void **state)
{
	struct world *world = world_make();
	struct keyframe keyframe = { .stamp = 0 };
	(void)state;
	process(world, "p/1", "sh", "");
	process(world, "p/2", "ls", "");
	process(world, "p/3", "cat", "");
	connect(world, world->a, "c/1", "p/1", "n/1");
	state_keyframe_begin(world->a, &keyframe);
	process(world, "p/1", "sh", "");  /* named by the keyframe */
	process(world, "p/9", "new", ""); /* an event meanwhile */
	state_keyframe_end(&world->state, world->a, &keyframe, PROCESS, 1000);
	state_sweep(&world->state, world->a, 10000);
	assert_non_null(state_thing_find(world->a, "p/1"));
	assert_non_null(state_thing_find(world->a, "p/9"));
	assert_null(state_thing_find(world->a, "p/2"));
	assert_null(state_thing_find(world->a, "p/3"));
	assert_non_null(state_tie_find(world->a, "c/1")); /* of another module */
	state_keyframe_begin(world->a, &keyframe);
	connect(world, world->a, "c/1", "p/1", "n/1");
	connect(world, world->a, "c/2", "p/1", "n/1");
	state_keyframe_end(&world->state, world->a, &keyframe, NETWORK, 10000);
	state_sweep(&world->state, world->a, 20000);
	assert_non_null(state_tie_find(world->a, "c/1"));
	state_keyframe_begin(world->a, &keyframe);
	state_tie_bytes(&world->state, world->a, "c/2", 0, 5, true); /* its bytes name it too */
	state_keyframe_end(&world->state, world->a, &keyframe, NETWORK, 20000);
	state_sweep(&world->state, world->a, 30000);
	assert_null(state_tie_find(world->a, "c/1"));
	assert_non_null(state_tie_find(world->a, "c/2"));
	state_keyframe_begin(world->a, &keyframe);
	state_keyframe_end(&world->state, world->a, &keyframe, NETWORK, 31000);
	state_sweep(&world->state, world->a, 40000);
	assert_null(state_tie_find(world->a, "c/2"));
	assert_int_equal(map_count(world->a->things), 2);
	world_done(world);
}

/* So many end at once that they do not linger: those that go take others with them. */
static void keyframe_of_nothing(void **state)
{
	struct world *world = world_make();
	struct keyframe keyframe = { .stamp = 0 };
	char id[32], tie[32];
	(void)state;
	for (unsigned i = 0; i < 500; i++) {
		snprintf(id, sizeof id, "p/%u", i);
		process(world, id, "sh", "");
		snprintf(tie, sizeof tie, "t/%u", i);
		state_tie(&world->state, world->a, tie, "child", "p/0", id, PROCESS);
	}
	state_keyframe_begin(world->a, &keyframe);
	state_keyframe_end(&world->state, world->a, &keyframe, PROCESS, 1000);
	state_sweep(&world->state, world->a, 10000);
	assert_int_equal(map_count(world->a->things), 0);
	assert_int_equal(map_count(world->a->ties), 0);
	world_done(world);
}

static void bounded(void **state)
{
	struct world *world = world_make();
	char id[32];
	(void)state;
	for (unsigned i = 0; i < STATE_OWN_MAX + 10; i++) {
		snprintf(id, sizeof id, "p/%u", i);
		process(world, id, "sh", "");
	}
	assert_int_equal(world->a->n_own, STATE_OWN_MAX);
	assert_int_equal(world->a->missing, 10);
	for (unsigned i = 0; i < STATE_TIES_MAX + 5; i++) {
		snprintf(id, sizeof id, "c/%u", i);
		connect(world, world->a, id, STATE_OWN, "n/1");
	}
	assert_int_equal(map_count(world->a->ties), STATE_TIES_MAX);
	assert_int_equal(world->a->missing, 15);
	assert_int_equal(map_count(world->a->things), STATE_OWN_MAX + 1);
	world_done(world);
}

static void losses_and_sources(void **state)
{
	struct world *world = world_make();
	(void)state;
	state_missing(&world->state, world->a, 0);
	assert_int_equal(world->a->missing_changed, 0);
	world->a->now_us = 77;
	state_missing(&world->state, world->a, 5);
	world->a->now_us = 99;
	state_missing(&world->state, world->a, 2);
	assert_int_equal(world->a->missing, 7);
	assert_int_equal(world->a->missing_since_us, 77);
	state_missing(&world->state, world->a, UINT64_MAX);
	assert_true(world->a->missing == UINT64_MAX);
	for (unsigned i = 0; i < 6; i++) {
		char module[8];
		snprintf(module, sizeof module, "m%u", i);
		state_source(&world->state, world->a, module, STR("one"));
	}
	state_source(&world->state, world->a, "m1", STR("t\nwo"));
	assert_string_equal(world->a->sources[1].text, "t\xef\xbf\xbdwo");
	assert_string_equal(world->a->sources[3].module, "m3");
	world_done(world);
}

static int short_memory(void *ctx)
{
	struct world *world = ctx;
	int err = state_init(&world->state);
	if (err < 0)
		return err;
	world->a = state_device(&world->state, &id_a);
	if (world->a) {
		process(world, "p/1", "sh", "x");
		connect(world, world->a, "c/1", "p/1", "n/1");
		err = world->a->missing || !state_tie_find(world->a, "c/1") || !state_tie_find(world->a, "c/1")->claimed
		              ? -E_NO_MEMORY
		              : 0;
	}
	err = world->a ? err : -E_NO_MEMORY;
	world_done(world);
	return err;
}

static void memory_is_short(void **state)
{
	struct world world;
	(void)state;
	assert_true(test_each_fault(short_memory, &world) > 15);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(things),
		cmocka_unit_test(lingers_then_goes),
		cmocka_unit_test(comes_back),
		cmocka_unit_test(many_do_not_linger),
		cmocka_unit_test(shared_goes_with_its_last_tie),
		cmocka_unit_test(parent_comes_later),
		cmocka_unit_test(tie_with_other_ends),
		cmocka_unit_test(bytes),
		cmocka_unit_test(port_of_the_service),
		cmocka_unit_test(peers),
		cmocka_unit_test(keyframe),
		cmocka_unit_test(keyframe_of_nothing),
		cmocka_unit_test(bounded),
		cmocka_unit_test(losses_and_sources),
		cmocka_unit_test(memory_is_short),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
