#include "tunnel/once.h"

#include "base/err.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"

struct once {
	struct map *known;
	struct list oldest; /* first */
	size_t n;
	uint64_t unsure_until_ms; /* some were forgotten early */
};

struct entry {
	struct list node;
	struct id id;
	uint64_t taken_ms;
};

struct once *once_new(const uint8_t seed[16])
{
	struct once *once = mem_alloc(sizeof *once);
	if (!once)
		return NULL;
	once->known = map_new(seed, ONCE_MAX);
	if (!once->known)
		return mem_free(once);
	list_init(&once->oldest);
	return once;
}

static void forget(struct once *once, struct entry *entry)
{
	map_remove(once->known, entry->id.bytes, sizeof entry->id.bytes);
	list_remove(&entry->node);
	once->n--;
	mem_free(entry);
}

struct once *once_free(struct once *once)
{
	if (!once)
		return NULL;
	LIST_EACH(at, &once->oldest)
		forget(once, LIST_ENTRY(at, struct entry, node));
	map_free(once->known);
	return mem_free(once);
}

static void forget_old(struct once *once, uint64_t now_ms)
{
	LIST_EACH(at, &once->oldest) {
		struct entry *entry = LIST_ENTRY(at, struct entry, node);
		if (now_ms - entry->taken_ms < ONCE_MS)
			return;
		forget(once, entry);
	}
}

static void room_make(struct once *once)
{
	struct entry *entry = LIST_ENTRY(once->oldest.next, struct entry, node);
	if (once->n < ONCE_MAX)
		return;
	once->unsure_until_ms = entry->taken_ms + ONCE_MS;
	forget(once, entry);
}

int once_take(struct once *once, const struct id *id, bool again, uint64_t now_ms)
{
	forget_old(once, now_ms);
	if (map_get(once->known, id->bytes, sizeof id->bytes) || (again && now_ms < once->unsure_until_ms))
		return -E_OPEN_ID_SEEN;
	room_make(once);
	struct entry *entry = mem_alloc(sizeof *entry);
	int err = entry ? map_put(once->known, id->bytes, sizeof id->bytes, entry) : -E_NO_MEMORY;
	if (err < 0) {
		mem_free(entry);
		return err;
	}
	entry->id = *id;
	entry->taken_ms = now_ms;
	list_append(&once->oldest, &entry->node);
	once->n++;
	return 0;
}
