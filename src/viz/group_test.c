#include "viz/group.h"

#include "base/err.h"
#include "base/test.h"

/* Things are numbers: level 0 joins those with the same hundreds, level 1 with the same thousands, level 2 all. */
static void number_key(const void *thing, unsigned level, char out[GROUP_KEY_SIZE])
{
	unsigned number = *(const unsigned *)thing;
	if (level == 2)
		snprintf(out, GROUP_KEY_SIZE, "all");
	else
		snprintf(out, GROUP_KEY_SIZE, "%u/%u", level, number / (level ? 1000 : 100));
}

static const char *before;

static bool was(void *ctx, const char *key)
{
	(void)ctx;
	return before && strcmp(key, before) == 0;
}

static const struct group_rule rule = { 3, number_key, was, NULL };

struct world {
	unsigned numbers[5000];
	struct group_item items[5000];
	struct group groups[500];
	size_t n;
};

static struct world *world_make(void **state)
{
	static struct world world;
	(void)state;
	memset(&world, 0, sizeof world);
	before = NULL;
	return &world;
}

static void add(struct world *world, unsigned from, unsigned n, unsigned step)
{
	for (unsigned i = 0; i < n; i++) {
		world->numbers[world->n] = from + i * step;
		world->items[world->n].thing = &world->numbers[world->n];
		world->n++;
	}
}

/* Joins and checks the sums; returns how many would be drawn. */
static size_t join(struct world *world, size_t budget, int *ret_groups)
{
	uint32_t members[500] = { 0 };
	size_t drawn = 0;
	*ret_groups = group_items(world->items, world->n, budget, &rule, world->groups);
	assert_in_range(*ret_groups, 0, budget);
	for (size_t i = 0; i < world->n; i++)
		if (world->items[i].group == GROUP_NONE)
			drawn++;
		else
			members[world->items[i].group]++;
	for (int i = 0; i < *ret_groups; i++) {
		assert_int_equal(world->groups[i].count, members[i]);
		assert_true(members[i] > 1);
	}
	assert_true(drawn + (size_t)*ret_groups <= budget);
	return drawn + (size_t)*ret_groups;
}

static void few_stay_single(void **state)
{
	struct world *world = world_make(state);
	int groups;
	add(world, 0, 50, 1);
	assert_int_equal(join(world, 50, &groups), 50);
	assert_int_equal(groups, 0);
}

/* The largest group is enough: the others stay single. */
static void largest_first(void **state)
{
	struct world *world = world_make(state);
	int groups;
	add(world, 100, 30, 1);
	add(world, 200, 60, 1);
	add(world, 300, 20, 1);
	assert_int_equal(join(world, 60, &groups), 51);
	assert_int_equal(groups, 1);
	assert_string_equal(world->groups[0].key, "0/2");
	assert_int_equal(world->groups[0].count, 60);
	assert_int_equal(world->groups[0].level, 0);
}

static void next_level_when_needed(void **state)
{
	struct world *world = world_make(state);
	int groups;
	add(world, 0, 100, 100); /* no two of a hundred, ten of each thousand */
	assert_int_equal(join(world, 20, &groups), 20);
	assert_int_equal(groups, 9);
	assert_int_equal(world->groups[0].level, 1);
	assert_string_equal(world->groups[0].key, "1/0");
	assert_int_equal(world->groups[0].count, 10);
	assert_int_equal(world->groups[8].count, 9); /* the last one as far as needed */
}

static void all_in_one_when_nothing_else_helps(void **state)
{
	struct world *world = world_make(state);
	int groups;
	add(world, 0, 100, 1000);
	assert_int_equal(join(world, 20, &groups), 20);
	assert_string_equal(world->groups[0].key, "all");
	assert_int_equal(world->groups[0].count, 81);
	assert_int_equal(world->items[99].group, GROUP_NONE); /* always the same ones */
	assert_int_equal(world->items[80].group, 0);
}

/* More groups than may be drawn: the rest of them is one. */
static void more_groups_than_budget(void **state)
{
	struct world *world = world_make(state);
	int groups;
	for (unsigned i = 0; i < 500; i++)
		add(world, i * 100000, 5, 1);
	assert_int_equal(join(world, 10, &groups), 10);
	assert_string_equal(world->groups[9].key, "all");
	assert_int_equal(world->groups[9].count, 2500 - 9 * 5);
	assert_int_equal(join(world, 1, &groups), 1);
	assert_int_equal(world->groups[0].count, 2500);
}

/* At the limit what was a group stays one until there is clearly room. */
static void keeps_what_was(void **state)
{
	struct world *world = world_make(state);
	int groups;
	add(world, 100, 5, 1);
	add(world, 1000, 93, 1000);
	before = "0/1";
	assert_int_equal(join(world, 100, &groups), 94);
	assert_string_equal(world->groups[0].key, "0/1");
	before = NULL;
	assert_int_equal(join(world, 100, &groups), 98);
	before = "0/1";
	world->n -= 10;
	assert_int_equal(join(world, 100, &groups), 88);
	assert_int_equal(groups, 0);
}

/* A larger group does not push out one that was there before. */
static void old_before_large(void **state)
{
	struct world *world = world_make(state);
	int groups;
	add(world, 100, 30, 1);
	add(world, 200, 60, 1);
	before = "0/1";
	assert_int_equal(join(world, 70, &groups), 61);
	assert_int_equal(groups, 1);
	assert_string_equal(world->groups[0].key, "0/1");
}

static int join_short(void *ctx)
{
	struct world *world = ctx;
	return group_items(world->items, world->n, 10, &rule, world->groups);
}

static void memory_is_short(void **state)
{
	struct world *world = world_make(state);
	add(world, 0, 100, 1);
	assert_int_equal(test_each_fault(join_short, world), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(few_stay_single),         cmocka_unit_test(largest_first),
		cmocka_unit_test(next_level_when_needed),  cmocka_unit_test(all_in_one_when_nothing_else_helps),
		cmocka_unit_test(more_groups_than_budget), cmocka_unit_test(keeps_what_was),
		cmocka_unit_test(old_before_large),        cmocka_unit_test(memory_is_short),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
