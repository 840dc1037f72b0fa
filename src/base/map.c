#include "base/map.h"

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"

/* Open addressing with linear probing and backward-shift deletion; at most 3/4 full. */
struct entry {
	uint8_t *key; /* length byte, then the bytes; NULL = empty */
	void *value;
	uint64_t hash;
};

struct map {
	struct entry *entries;
	size_t slots, count, max; /* slots: a power of two */
	uint8_t seed[16];
};

struct map *map_new(const uint8_t seed[16], size_t max)
{
	struct map *map = mem_alloc(sizeof *map);
	if (!map)
		return NULL;
	map->slots = 16;
	map->max = max;
	memcpy(map->seed, seed, sizeof map->seed);
	map->entries = mem_alloc_array(map->slots, sizeof *map->entries);
	return map->entries ? map : map_free(map);
}

struct map *map_free(struct map *map)
{
	if (!map)
		return NULL;
	for (size_t i = 0; map->entries && i < map->slots; i++)
		mem_free(map->entries[i].key);
	mem_free(map->entries);
	return mem_free(map);
}

size_t map_count(const struct map *map)
{
	return map->count;
}

/* The slot that holds the key, or the empty slot where it would stand. */
static size_t find(const struct map *map, uint64_t hash, const void *key, size_t len)
{
	size_t i = hash & (map->slots - 1);
	for (;; i = (i + 1) & (map->slots - 1)) {
		const struct entry *e = &map->entries[i];
		if (!e->key || (e->hash == hash && e->key[0] == len && memcmp(e->key + 1, key, len) == 0))
			return i;
	}
}

void *map_get(const struct map *map, const void *key, size_t len)
{
	return map->entries[find(map, hash_keyed(map->seed, key, len), key, len)].value;
}

static int grow(struct map *map)
{
	struct map bigger = *map;
	bigger.slots = map->slots * 2;
	bigger.entries = mem_alloc_array(bigger.slots, sizeof *bigger.entries);
	if (!bigger.entries)
		return -E_NO_MEMORY;
	for (size_t i = 0; i < map->slots; i++) {
		struct entry *e = &map->entries[i];
		if (e->key)
			bigger.entries[find(&bigger, e->hash, e->key + 1, e->key[0])] = *e;
	}
	mem_free(map->entries);
	*map = bigger;
	return 0;
}

int map_put(struct map *map, const void *key, size_t len, void *value)
{
	uint64_t hash = hash_keyed(map->seed, key, len);
	if (len > 255)
		return -E_TOO_LONG;
	struct entry *e = &map->entries[find(map, hash, key, len)];
	if (e->key) {
		e->value = value;
		return 0;
	}
	if (map->count == map->max)
		return -E_FULL;
	if ((map->count + 1) * 4 > map->slots * 3) {
		if (grow(map) < 0)
			return -E_NO_MEMORY;
		e = &map->entries[find(map, hash, key, len)];
	}
	uint8_t *copy = mem_alloc(len + 1);
	if (!copy)
		return -E_NO_MEMORY;
	copy[0] = (uint8_t)len;
	memcpy(copy + 1, key, len);
	*e = (struct entry){ copy, value, hash };
	map->count++;
	return 0;
}

void *map_remove(struct map *map, const void *key, size_t len)
{
	size_t mask = map->slots - 1, hole = find(map, hash_keyed(map->seed, key, len), key, len);
	void *value = map->entries[hole].value;
	if (!map->entries[hole].key)
		return NULL;
	mem_free(map->entries[hole].key);
	map->count--;
	for (size_t i = (hole + 1) & mask; map->entries[i].key; i = (i + 1) & mask)
		if (((i - map->entries[i].hash) & mask) >= ((i - hole) & mask)) {
			map->entries[hole] = map->entries[i];
			hole = i;
		}
	map->entries[hole] = (struct entry){ 0 };
	return value;
}

void *map_next(const struct map *map, size_t *at)
{
	while (*at < map->slots) {
		const struct entry *e = &map->entries[(*at)++];
		if (e->key)
			return e->value;
	}
	return NULL;
}
