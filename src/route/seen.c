#include "route/seen.h"

#include "base/err.h"
#include "base/map.h"
#include "base/mem.h"

/* A ring: an entry stands at its order modulo max.  One with segment 0 is empty. */
struct seen {
	struct map *map;
	struct seen_entry *ring;
	size_t max;
};

struct seen *seen_new(const uint8_t seed[16], size_t max)
{
	struct seen *seen = mem_alloc(sizeof *seen);
	if (!seen)
		return NULL;
	seen->max = max;
	seen->map = map_new(seed, max);
	seen->ring = mem_alloc_array(max, sizeof *seen->ring); /* pages that are not touched cost nothing */
	return seen->map && seen->ring ? seen : seen_free(seen);
}

struct seen *seen_free(struct seen *seen)
{
	if (!seen)
		return NULL;
	map_free(seen->map);
	mem_free(seen->ring);
	return mem_free(seen);
}

bool seen_has(const struct seen *seen, const struct seen_key *key)
{
	return map_get(seen->map, key, sizeof *key) != NULL;
}

void seen_remove(struct seen *seen, const struct seen_key *key)
{
	struct seen_entry *entry = map_remove(seen->map, key, sizeof *key);
	if (entry)
		entry->segment = 0;
}

int seen_add(struct seen *seen, const struct seen_entry *new)
{
	struct seen_entry *entry = map_get(seen->map, &new->key, sizeof new->key);
	if (entry) {
		entry->segment = new->segment;
		return 0;
	}
	entry = &seen->ring[new->order % seen->max];
	if (entry->segment && entry->order > new->order)
		return 0; /* too many came after it */
	if (entry->segment)
		seen_remove(seen, &entry->key);
	if (map_put(seen->map, &new->key, sizeof new->key, entry) < 0)
		return -E_NO_MEMORY;
	*entry = *new;
	return 0;
}

struct seen_entry *seen_next(struct seen *seen, size_t *at, uint64_t segment)
{
	while (*at < seen->max) {
		struct seen_entry *entry = &seen->ring[(*at)++];
		if (entry->segment && entry->segment <= segment)
			return entry;
	}
	return NULL;
}
