/* What the router keeps in the log beside envelopes: which came before, and how many did not arrive.
 *
 *   'D' destination (16) why (1) when (8): one more dead letter
 *   'C' destination (16) when of the last (8) gap told (8) dead letters by reason (8 each): all numbers of it, instead of those before
 *   'S' { id (16) destination (16) order (8) }...: came before */
#include <string.h>

#include "base/err.h"
#include "route/route_own.h"

#define NOTE_SEEN_MOST     512
#define NOTE_SEEN_SIZE     (sizeof(struct seen_key) + 8)
#define NOTE_COUNTERS_SIZE (1 + 16 + 8 + 8 + 8 * ROUTE_DEADS)

static uint8_t *be64_write(uint8_t *at, uint64_t v)
{
	for (int i = 0; i < 8; i++)
		at[i] = (uint8_t)(v >> (56 - 8 * i));
	return at + 8;
}

struct str destination_count(struct route *route, struct destination *destination, enum route_dead why, uint8_t out[NOTE_DEAD_SIZE])
{
	destination->dead[why]++;
	destination->dead_last_ms = route->now_ms;
	if (!destination->counted_in)
		destination->counted_in = spool_segment_now(route->spool);
	out[0] = 'D';
	memcpy(out + 1, destination->id.bytes, 16);
	out[17] = (uint8_t)why;
	be64_write(out + 18, (uint64_t)route->now_ms);
	return (struct str){ (const char *)out, NOTE_DEAD_SIZE };
}

int note_counters_write(struct route *route, struct destination *destination)
{
	uint8_t note[NOTE_COUNTERS_SIZE] = { 'C' }, *at = note + 17;
	memcpy(note + 1, destination->id.bytes, 16);
	at = be64_write(at, (uint64_t)destination->dead_last_ms);
	at = be64_write(at, destination->gap_told);
	for (int i = 0; i < ROUTE_DEADS; i++)
		at = be64_write(at, destination->dead[i]);
	destination->counted_in = spool_segment_now(route->spool);
	return spool_note(route->spool, (struct str){ (const char *)note, sizeof note });
}

static void dead_take(uint64_t segment, struct reader *reader, struct destination *destination)
{
	uint8_t why;
	uint64_t when;
	if (reader_u8(reader, &why) < 0 || reader_be64(reader, &when) < 0 || why >= ROUTE_DEADS)
		return; /* of a newer version */
	destination->dead[why]++;
	destination->dead_last_ms = (int64_t)when;
	if (!destination->counted_in)
		destination->counted_in = segment;
}

static void counters_take(uint64_t segment, struct reader *reader, struct destination *destination)
{
	uint64_t when = 0;
	reader_be64(reader, &when);
	destination->dead_last_ms = (int64_t)when;
	reader_be64(reader, &destination->gap_told);
	for (int i = 0; i < ROUTE_DEADS; i++)
		reader_be64(reader, &destination->dead[i]);
	destination->counted_in = segment;
}

static void seen_take(struct route *route, uint64_t segment, struct reader *reader)
{
	struct seen_entry entry = { .segment = segment };
	const uint8_t *bytes;
	while (reader_bytes(reader, sizeof entry.key, &bytes) == 0 && reader_be64(reader, &entry.order) == 0) {
		memcpy(&entry.key, bytes, sizeof entry.key);
		seen_add(route->seen, &entry);
	}
}

int note_take(struct route *route, uint64_t segment, struct str note)
{
	struct reader reader = { (const uint8_t *)note.ptr, note.len };
	struct destination *destination;
	const uint8_t *bytes;
	struct id id;
	uint8_t kind;
	if (reader_u8(&reader, &kind) < 0)
		return 0;
	if (kind == 'S') {
		seen_take(route, segment, &reader);
		return 0;
	}
	if ((kind != 'D' && kind != 'C') || reader_bytes(&reader, sizeof id, &bytes) < 0)
		return 0; /* of a newer version */
	memcpy(id.bytes, bytes, sizeof id.bytes);
	int err = destination_get(route, &id, &destination);
	if (err < 0)
		return err == -E_LIMIT ? 0 : err;
	if (kind == 'D')
		dead_take(segment, &reader, destination);
	else
		counters_take(segment, &reader, destination);
	return 0;
}

static void seen_carry(struct route *route, uint64_t segment)
{
	static uint8_t note[1 + NOTE_SEEN_MOST * NOTE_SEEN_SIZE] = { 'S' };
	const uint64_t now = spool_segment_now(route->spool);
	size_t at = 0, n = 0;
	struct seen_entry *entry;
	do {
		entry = seen_next(route->seen, &at, segment);
		if (entry) {
			uint8_t *to = note + 1 + n++ * NOTE_SEEN_SIZE;
			memcpy(to, &entry->key, sizeof entry->key);
			be64_write(to + sizeof entry->key, entry->order);
			entry->segment = now;
		}
		if (n == NOTE_SEEN_MOST || (n && !entry)) {
			spool_note(route->spool, (struct str){ (const char *)note, 1 + n * NOTE_SEEN_SIZE });
			n = 0;
		}
	} while (entry);
}

void notes_carry(struct route *route, uint64_t segment)
{
	LIST_EACH(at, &route->destinations) {
		struct destination *destination = LIST_ENTRY(at, struct destination, node);
		if (destination->counted_in && destination->counted_in <= segment)
			note_counters_write(route, destination);
	}
	seen_carry(route, segment);
}
