#include "route/seen.h"

#include <string.h>

#include "base/hash.h"
#include "base/mem.h"

/* An entry stands in a ring, at its order modulo max, and in the chain of its key's hash.  One with segment 0 is empty. */
struct slot {
	struct seen_entry entry;
	uint32_t chain, next; /* next: its place in the ring and one more; 0 = the chain's end */
};

struct seen {
	struct slot *ring;
	uint32_t *chains; /* the first of each, as `next` */
	size_t max, n_chains;
	uint8_t seed[16];
};

struct seen *seen_new(const uint8_t seed[16], size_t max)
{
	struct seen *seen = mem_alloc(sizeof *seen);
	if (!seen)
		return NULL;
	memcpy(seen->seed, seed, sizeof seen->seed);
	seen->max = max;
	for (seen->n_chains = 1; seen->n_chains < 2 * max;)
		seen->n_chains *= 2;
	seen->ring = mem_alloc_array(max, sizeof *seen->ring); /* pages that are not touched cost nothing */
	seen->chains = mem_alloc_array(seen->n_chains, sizeof *seen->chains);
	return seen->ring && seen->chains ? seen : seen_free(seen);
}

struct seen *seen_free(struct seen *seen)
{
	if (!seen)
		return NULL;
	mem_free(seen->chains);
	mem_free(seen->ring);
	return mem_free(seen);
}

static uint32_t chain_of(const struct seen *seen, const struct seen_key *key)
{
	return (uint32_t)(hash_keyed(seen->seed, key, sizeof *key) & (seen->n_chains - 1));
}

static struct slot *find(const struct seen *seen, uint32_t chain, const struct seen_key *key)
{
	for (uint32_t at = seen->chains[chain]; at; at = seen->ring[at - 1].next)
		if (memcmp(&seen->ring[at - 1].entry.key, key, sizeof *key) == 0)
			return &seen->ring[at - 1];
	return NULL;
}

static void slot_empty(struct seen *seen, struct slot *slot)
{
	uint32_t *link = &seen->chains[slot->chain];
	while (&seen->ring[*link - 1] != slot)
		link = &seen->ring[*link - 1].next;
	*link = slot->next;
	slot->entry.segment = 0;
}

bool seen_has(const struct seen *seen, const struct seen_key *key)
{
	return find(seen, chain_of(seen, key), key) != NULL;
}

void seen_remove(struct seen *seen, const struct seen_key *key)
{
	struct slot *slot = find(seen, chain_of(seen, key), key);
	if (slot)
		slot_empty(seen, slot);
}

void seen_add(struct seen *seen, const struct seen_entry *new)
{
	const uint32_t chain = chain_of(seen, &new->key);
	struct slot *slot = find(seen, chain, &new->key);
	if (slot) {
		slot->entry.segment = new->segment;
		return;
	}
	slot = &seen->ring[new->order % seen->max];
	if (slot->entry.segment && slot->entry.order > new->order)
		return; /* too many came after it */
	if (slot->entry.segment)
		slot_empty(seen, slot);
	*slot = (struct slot){ *new, chain, seen->chains[chain] };
	seen->chains[chain] = (uint32_t)(slot - seen->ring) + 1;
}

struct seen_entry *seen_next(struct seen *seen, size_t *at, uint64_t segment)
{
	while (*at < seen->max) {
		struct seen_entry *entry = &seen->ring[(*at)++].entry;
		if (entry->segment && entry->segment <= segment)
			return entry;
	}
	return NULL;
}
