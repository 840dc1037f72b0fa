#include "viz/group.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

struct keyed {
	char key[GROUP_KEY_SIZE];
	struct group_item *item;
};

struct run {
	size_t first, n;
	bool was;
	const char *key;
};

struct work {
	const struct group_rule *rule;
	size_t budget, left; /* left: items and groups that would be drawn */
	struct keyed *keyed;
	struct run *runs;
	struct group *groups;
	size_t n_groups;
};

/* Of one key always in the same order: who is drawn singly stays so. */
static int keyed_compare(const void *a, const void *b)
{
	const struct keyed *x = a, *y = b;
	int order = strcmp(x->key, y->key);
	return order ? order : (x->item->thing > y->item->thing) - (x->item->thing < y->item->thing);
}

/* Those that were there first, then the largest. */
static int run_compare(const void *a, const void *b)
{
	const struct run *x = a, *y = b;
	if (x->was != y->was)
		return x->was ? -1 : 1;
	if (x->n != y->n)
		return x->n > y->n ? -1 : 1;
	return strcmp(x->key, y->key);
}

static size_t runs_find(struct work *work, struct group_item *items, size_t n, unsigned level)
{
	size_t n_keyed = 0, n_runs = 0;
	for (size_t i = 0; i < n; i++)
		if (items[i].group == GROUP_NONE) {
			work->rule->key(items[i].thing, level, work->keyed[n_keyed].key);
			work->keyed[n_keyed++].item = &items[i];
		}
	qsort(work->keyed, n_keyed, sizeof *work->keyed, keyed_compare);
	for (size_t i = 0, next; i < n_keyed; i = next) {
		for (next = i + 1; next < n_keyed && strcmp(work->keyed[next].key, work->keyed[i].key) == 0;)
			next++;
		if (next - i > 1)
			work->runs[n_runs++] = (struct run){ i, next - i, work->rule->was(work->rule->ctx, work->keyed[i].key),
				                             work->keyed[i].key };
	}
	qsort(work->runs, n_runs, sizeof *work->runs, run_compare);
	return n_runs;
}

static void run_join(struct work *work, const struct run *run, size_t n, unsigned level)
{
	struct group *group = &work->groups[work->n_groups];
	*group = (struct group){ .level = level, .count = (uint32_t)n };
	memcpy(group->key, run->key, sizeof group->key);
	for (size_t i = 0; i < n; i++)
		work->keyed[run->first + i].item->group = (uint32_t)work->n_groups;
	work->n_groups++;
	work->left -= n - 1;
}

/* What belongs together becomes one; on the levels above, and the last, only as many as have to. */
static void level_join(struct work *work, struct group_item *items, size_t n, unsigned level)
{
	size_t n_runs = runs_find(work, items, n, level);
	bool last = level + 1 == work->rule->levels;
	for (size_t i = 0; i < n_runs; i++) {
		const struct run *run = &work->runs[i];
		size_t most = run->was ? work->budget - work->budget / 10 : work->budget;
		/* One place is kept for the last level, where all that is left becomes one. */
		if (work->left <= most || (!last && work->n_groups + 1 >= work->budget))
			continue;
		size_t needed = work->left - most + 1;
		run_join(work, run, (level || last) && needed < run->n ? needed : run->n, level);
	}
}

int group_items(struct group_item *items, size_t n, size_t budget, const struct group_rule *rule, struct group *groups)
{
	struct work work = { .rule = rule, .budget = budget, .left = n, .groups = groups };
	for (size_t i = 0; i < n; i++)
		items[i].group = GROUP_NONE;
	if (n <= budget - budget / 10)
		return 0;
	work.keyed = mem_alloc_array(n, sizeof *work.keyed);
	work.runs = mem_alloc_array(n / 2 + 1, sizeof *work.runs);
	bool memory = work.keyed && work.runs;
	for (unsigned level = 0; memory && level < rule->levels; level++)
		level_join(&work, items, n, level);
	mem_free(work.keyed);
	mem_free(work.runs);
	return memory ? (int)work.n_groups : -E_NO_MEMORY;
}
