#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "events/events.h"

const struct events_settings events_settings_default = { (size_t)32 << 20, 600000 };

/* Stands before each batch's datagrams, unaligned. */
struct entry {
	struct id device;
	uint64_t left_out;
	uint32_t left_out_datagrams, len;
	bool gone;
};

struct chunk {
	uint64_t first;               /* sequence of its first batch */
	uint64_t begun_ms, newest_ms; /* of its first and last batch */
	size_t used;
	uint8_t bytes[EVENTS_CHUNK];
};

/* Chunks have numbers, which only grow; number n is in chunks[n % max]. */
struct events {
	struct chunk **chunks;
	size_t max;
	uint64_t oldest, next; /* numbers of chunks: those in [oldest, next) are there */
	uint64_t last;         /* sequence of the newest batch */
	uint64_t max_age_ms;
};

struct events *events_new(const struct events_settings *settings)
{
	struct events *events = mem_alloc(sizeof *events);
	if (!events)
		return NULL;
	events->max = settings->max_bytes / EVENTS_CHUNK;
	events->max_age_ms = settings->max_age_ms;
	events->chunks = mem_alloc_array(events->max, sizeof *events->chunks);
	return events->chunks ? events : events_free(events);
}

static struct chunk *chunk_at(const struct events *events, uint64_t number)
{
	return events->chunks[number % events->max];
}

static void oldest_drop(struct events *events)
{
	struct chunk **oldest = &events->chunks[events->oldest++ % events->max];
	*oldest = mem_free(*oldest);
}

struct events *events_free(struct events *events)
{
	if (!events)
		return NULL;
	while (events->oldest < events->next)
		oldest_drop(events);
	mem_free(events->chunks);
	return mem_free(events);
}

void events_expire(struct events *events, uint64_t now_ms)
{
	while (events->oldest < events->next && now_ms - chunk_at(events, events->oldest)->newest_ms > events->max_age_ms)
		oldest_drop(events);
}

/* The chunk that has room for size bytes.  An old one is not added to, so that what is in it can go in time. */
static struct chunk *chunk_for(struct events *events, size_t size, uint64_t now_ms)
{
	struct chunk *chunk = events->oldest < events->next ? chunk_at(events, events->next - 1) : NULL;
	if (chunk && size <= sizeof chunk->bytes - chunk->used && now_ms - chunk->begun_ms <= events->max_age_ms / 8)
		return chunk;
	if (events->next - events->oldest == events->max)
		oldest_drop(events);
	chunk = mem_alloc(sizeof *chunk);
	if (!chunk)
		return NULL;
	chunk->first = events->last + 1;
	chunk->begun_ms = now_ms;
	events->chunks[events->next++ % events->max] = chunk;
	return chunk;
}

int events_append(struct events *events, uint64_t now_ms, const struct events_batch *batch)
{
	const struct entry entry = { .device = batch->device,
		                     .left_out = batch->left_out,
		                     .left_out_datagrams = batch->left_out_datagrams,
		                     .len = (uint32_t)batch->datagrams.len,
		                     .gone = batch->gone };
	if (batch->datagrams.len > EVENTS_BATCH_MAX)
		return -E_TOO_LONG;
	struct chunk *chunk = chunk_for(events, sizeof entry + entry.len, now_ms);
	if (!chunk)
		return -E_NO_MEMORY;
	memcpy(chunk->bytes + chunk->used, &entry, sizeof entry);
	if (entry.len)
		memcpy(chunk->bytes + chunk->used + sizeof entry, batch->datagrams.ptr, entry.len);
	chunk->used += sizeof entry + entry.len;
	chunk->newest_ms = now_ms;
	events->last++;
	return 0;
}

static uint64_t first_kept(const struct events *events)
{
	return events->oldest < events->next ? chunk_at(events, events->oldest)->first : events->last + 1;
}

static size_t entry_read(const struct chunk *chunk, size_t offset, struct entry *ret)
{
	memcpy(ret, chunk->bytes + offset, sizeof *ret);
	return offset + sizeof *ret + ret->len;
}

/* The cursor knows only a sequence: finds its chunk and its place inside. */
static void cursor_seek(const struct events *events, struct events_cursor *cursor)
{
	struct entry entry;
	cursor->chunk = events->next - 1;
	while (chunk_at(events, cursor->chunk)->first > cursor->after + 1)
		cursor->chunk--;
	cursor->offset = 0;
	for (uint64_t at = chunk_at(events, cursor->chunk)->first; at <= cursor->after; at++)
		cursor->offset = entry_read(chunk_at(events, cursor->chunk), cursor->offset, &entry);
}

bool events_next(const struct events *events, struct events_cursor *cursor, struct events_batch *ret)
{
	uint64_t first = first_kept(events), missed = 0;
	struct entry entry;
	if (cursor->after >= events->last || first > events->last)
		return false; /* what is missing is told with the next batch that there is */
	if (cursor->after + 1 < first) {
		missed = first - cursor->after - 1;
		cursor->after = first - 1;
	}
	if (cursor->offset == 0 || cursor->chunk < events->oldest || missed)
		cursor_seek(events, cursor);
	if (cursor->offset == chunk_at(events, cursor->chunk)->used) {
		cursor->chunk++;
		cursor->offset = 0;
	}
	const struct chunk *chunk = chunk_at(events, cursor->chunk);
	size_t end = entry_read(chunk, cursor->offset, &entry);
	*ret = (struct events_batch){ .sequence = ++cursor->after,
		                      .missed = missed,
		                      .device = entry.device,
		                      .left_out = entry.left_out,
		                      .left_out_datagrams = entry.left_out_datagrams,
		                      .gone = entry.gone,
		                      .datagrams = { (const char *)chunk->bytes + cursor->offset + sizeof entry, entry.len } };
	cursor->offset = end;
	return true;
}

uint64_t events_last(const struct events *events)
{
	return events->last;
}

size_t events_bytes(const struct events *events)
{
	return (size_t)(events->next - events->oldest) * sizeof(struct chunk);
}
