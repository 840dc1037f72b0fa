/* What a spool finds on its disk. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/map.h"
#include "base/mem.h"
#include "route/spool_own.h"

#define SEGMENTS_MAX 65536

struct recovery {
	struct spool *spool;
	struct map *by_sequence; /* records that are not done */
	uint64_t *numbers;
	size_t n, capacity;
	struct buf bytes; /* of one segment */
};

/* ---- which there are ---- */

static int number_add(struct recovery *recovery, uint64_t number)
{
	if (recovery->n == SEGMENTS_MAX)
		return -E_LIMIT;
	if (recovery->n == recovery->capacity) {
		size_t capacity = recovery->capacity ? recovery->capacity * 2 : 64;
		uint64_t *more = mem_resize(recovery->numbers, capacity * sizeof *more);
		if (!more)
			return -E_NO_MEMORY;
		recovery->numbers = more;
		recovery->capacity = capacity;
	}
	recovery->numbers[recovery->n++] = number;
	return 0;
}

/* As segment_name() writes it. */
static int name_take(void *ctx, const char *name)
{
	struct recovery *recovery = ctx;
	char *end, again[SEGMENT_NAME_SIZE];
	size_t len = strlen(name);
	if (len > 4 && strcmp(name + len - 4, ".bad") == 0)
		recovery->spool->n_bad++;
	uint64_t number = strtoull(name, &end, 16);
	segment_name(number, again);
	return number && strcmp(name, again) == 0 ? number_add(recovery, number) : 0;
}

static int number_compare(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
	return left < right ? -1 : left > right;
}

/* ---- one record ---- */

static int put_take(struct recovery *recovery, struct spool_segment *segment, const struct segment_record *found)
{
	struct spool *spool = recovery->spool;
	struct spool_record *record = map_get(recovery->by_sequence, &found->sequence, sizeof found->sequence);
	if (record) { /* it has moved; its old segment was not removed yet */
		list_remove(&record->node);
	} else {
		record = spool->events->found(spool->ctx, segment->number, found->sequence, found->payload);
		if (!record)
			return -E_NO_MEMORY;
		*record = (struct spool_record){ .sequence = found->sequence, .len = (uint32_t)found->len };
		list_init(&record->node);
		list_init(&record->moving);
		spool->live += found->len;
	}
	record->segment = segment;
	record->at = (uint32_t)found->at;
	list_append(&segment->records, &record->node);
	return map_put(recovery->by_sequence, &found->sequence, sizeof found->sequence, record);
}

static int done_take(struct recovery *recovery, const struct spool_segment *segment, const struct segment_record *found)
{
	struct spool *spool = recovery->spool;
	struct spool_record *record = map_remove(recovery->by_sequence, &found->sequence, sizeof found->sequence);
	if (record) {
		list_remove(&record->node);
		spool->live -= record->len;
		spool->events->over(spool->ctx, record);
	}
	return found->payload.len ? spool->events->note(spool->ctx, segment->number, found->payload) : 0;
}

static int record_take(struct recovery *recovery, struct spool_segment *segment, const struct segment_record *found)
{
	struct spool *spool = recovery->spool;
	if (found->sequence >= spool->next_sequence)
		spool->next_sequence = found->sequence + 1;
	switch (found->kind) {
	case RECORD_PUT:
		return put_take(recovery, segment, found);
	case RECORD_DONE:
		return done_take(recovery, segment, found);
	default:
		return spool->events->note(spool->ctx, segment->number, found->payload);
	}
}

/* ---- damage ---- */

/* So that it is told once: the bytes stand in a file of their own, and nobody reads them here again. */
static int damage_void(struct spool *spool, struct spool_segment *segment, const struct segment_record *damaged)
{
	const struct spool_disk *disk = &spool->settings.disk;
	uint8_t header[SEGMENT_RECORD];
	struct buf out;
	buf_init(&out, SEGMENT_FILE_MAX);
	int err = segment_record_write(&out, RECORD_VOID, 0, STR(""), str_skip(damaged->payload, SEGMENT_RECORD));
	if (err == 0) {
		segment_seal(out.data + out.start, buf_len(&out), segment->marker);
		memcpy(header, buf_head(&out), sizeof header);
		err = disk->write(disk->ctx, segment->file, damaged->at, header, sizeof header);
	}
	buf_done(&out);
	return err < 0 ? err : disk->sync(disk->ctx, segment->file);
}

static int torn_cut(struct spool *spool, struct spool_segment *segment, uint64_t at)
{
	const struct spool_disk *disk = &spool->settings.disk;
	int err = disk->truncate(disk->ctx, segment->file, at);
	if (err == 0)
		err = disk->sync(disk->ctx, segment->file);
	if (err < 0)
		return err;
	spool->bytes -= segment->size - at;
	segment->size = at;
	return 0;
}

static void damage_take(struct spool *spool, struct spool_segment *segment, const struct segment_record *damaged, bool torn)
{
	struct spool_damage damage = {
		.segment = segment->number, .at = damaged->at, .len = damaged->len, .sequence = damaged->sequence, .torn = torn
	};
	spool_damage(spool, &damage, damaged->payload);
	int err = torn ? torn_cut(spool, segment, damaged->at) : damage_void(spool, segment, damaged);
	if (err < 0)
		segment->closed = true; /* it is told again at the next start */
}

/* ---- one segment ---- */

static int records_take(struct recovery *recovery, struct spool_segment *segment, struct segment_reader *reader)
{
	struct segment_record record;
	int err = 0;
	while (err >= 0)
		switch (segment_next(reader, &record)) {
		case SEGMENT_END:
			return 0;
		case SEGMENT_RECORD_FOUND:
			err = record_take(recovery, segment, &record);
			break;
		case SEGMENT_DAMAGED:
			damage_take(recovery->spool, segment, &record, false);
			break;
		case SEGMENT_TORN:
			damage_take(recovery->spool, segment, &record, true);
			break;
		}
	return err;
}

static int header_repair(struct spool *spool, const struct spool_segment *segment, const struct segment_reader *reader)
{
	const struct spool_disk *disk = &spool->settings.disk;
	struct spool_damage damage = { .segment = segment->number, .len = SEGMENT_HEADER };
	uint8_t header[SEGMENT_HEADER];
	segment_header_write(reader->number, reader->marker, reader->sequence, header);
	spool_damage(spool, &damage, STR(""));
	int err = disk->write(disk->ctx, segment->file, 0, header, sizeof header);
	return err < 0 ? err : disk->sync(disk->ctx, segment->file);
}

/* Nothing of it can be read.  What is shorter than a header was just being made when a crash came. */
static void segment_unreadable(struct spool *spool, uint64_t number, int err, struct str bytes)
{
	const struct spool_disk *disk = &spool->settings.disk;
	struct spool_damage damage = {
		.segment = number, .len = bytes.len, .torn = !err && bytes.len < SEGMENT_HEADER, .err = err
	};
	char name[SEGMENT_NAME_SIZE];
	segment_name(number, name);
	if (number >= spool->next_segment)
		spool->next_segment = number + 1;
	if (err < 0 || bytes.len)
		spool_damage(spool, &damage, bytes);
	if (err == 0 && (damage.saved || damage.torn) && disk->remove(disk->ctx, name) == 0)
		spool->names_changed = true;
}

static int file_read(struct recovery *recovery, int file, uint64_t size)
{
	const struct spool_disk *disk = &recovery->spool->settings.disk;
	uint8_t *room;
	buf_clear(&recovery->bytes);
	int err = size > SEGMENT_FILE_MAX ? -E_TOO_LONG : buf_reserve(&recovery->bytes, size, &room);
	if (err == 0 && size)
		err = disk->read(disk->ctx, file, 0, room, size);
	if (err == 0)
		buf_commit(&recovery->bytes, size);
	return err;
}

static int segment_take(struct recovery *recovery, uint64_t number)
{
	struct spool *spool = recovery->spool;
	const struct spool_disk *disk = &spool->settings.disk;
	struct spool_segment *segment = NULL;
	struct segment_reader reader;
	char name[SEGMENT_NAME_SIZE];
	uint64_t size = 0;
	segment_name(number, name);
	int file = disk->open(disk->ctx, name, &size);
	int err = file < 0 ? file : file_read(recovery, file, size);
	if (err == -E_NO_MEMORY || err == -EMFILE) {
		if (file >= 0)
			disk->close(disk->ctx, file);
		return err;
	}
	struct str bytes = buf_str(&recovery->bytes);
	bool readable = err == 0 && segment_read(bytes, &reader) == 0 && reader.number == number;
	if (!readable)
		segment_unreadable(spool, number, err, err < 0 ? STR("") : bytes);
	else if ((err = segment_add(spool, number, file, &segment)) == 0) {
		segment->marker = reader.marker;
		segment->size = size;
		spool->bytes += size;
		if (reader.sequence > spool->next_sequence)
			spool->next_sequence = reader.sequence;
		if (reader.header_damaged && header_repair(spool, segment, &reader) < 0)
			segment->closed = true;
		return records_take(recovery, segment, &reader);
	}
	if (file >= 0)
		disk->close(disk->ctx, file);
	return readable ? err : 0;
}

/* What a process wrote before it was killed may not be on the disk yet, and is taken for kept from now on. */
static int all_sync(struct spool *spool)
{
	const struct spool_disk *disk = &spool->settings.disk;
	int err = 0;
	if (!list_empty(&spool->segments))
		err = disk->sync(disk->ctx, LIST_ENTRY(spool->segments.prev, struct spool_segment, node)->file);
	return err < 0 ? err : disk->sync_names(disk->ctx);
}

int spool_recover(struct spool *spool)
{
	struct recovery recovery = { .spool = spool };
	const struct spool_disk *disk = &spool->settings.disk;
	recovery.by_sequence = map_new(spool->settings.seed, SIZE_MAX);
	buf_init(&recovery.bytes, SEGMENT_FILE_MAX);
	int err = recovery.by_sequence ? disk->names(disk->ctx, name_take, &recovery) : -E_NO_MEMORY;
	if (err >= 0 && recovery.n)
		qsort(recovery.numbers, recovery.n, sizeof *recovery.numbers, number_compare);
	for (size_t i = 0; err >= 0 && i < recovery.n; i++)
		err = segment_take(&recovery, recovery.numbers[i]);
	if (err >= 0)
		err = all_sync(spool);
	mem_free(recovery.numbers);
	map_free(recovery.by_sequence);
	buf_done(&recovery.bytes);
	return err;
}
