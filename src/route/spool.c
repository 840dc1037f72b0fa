#include "route/spool.h"

#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "route/crc32c.h"
#include "route/spool_own.h"

#define PAYLOAD_MAX    ((size_t)1 << 20)
#define NOTES_MAX      ((size_t)8 << 20) /* in tail, beside what is put */
#define MOVE_STEP      ((size_t)256 << 10)
#define SEGMENTS_LEAST 8
#define IDLE_MEMORY    ((size_t)1 << 20)

/* ---- segments ---- */

void segment_name(uint64_t number, char out[SEGMENT_NAME_SIZE])
{
	snprintf(out, SEGMENT_NAME_SIZE, "%016llx.log", (unsigned long long)number);
}

int segment_add(struct spool *spool, uint64_t number, int file, struct spool_segment **ret)
{
	struct spool_segment *segment = mem_alloc(sizeof *segment);
	if (!segment)
		return -E_NO_MEMORY;
	segment->number = number;
	segment->file = file;
	list_init(&segment->records);
	list_append(&spool->segments, &segment->node);
	spool->n_segments++;
	if (number >= spool->next_segment)
		spool->next_segment = number + 1;
	*ret = segment;
	return 0;
}

void segment_forget(struct spool *spool, struct spool_segment *segment)
{
	spool->settings.disk.close(spool->settings.disk.ctx, segment->file);
	spool->bytes -= segment->size;
	spool->n_segments--;
	list_remove(&segment->node);
	mem_free(segment);
}

static struct spool_segment *segment_oldest(const struct spool *spool)
{
	return LIST_ENTRY(spool->segments.next, struct spool_segment, node);
}

static struct spool_segment *segment_newest(const struct spool *spool)
{
	return LIST_ENTRY(spool->segments.prev, struct spool_segment, node);
}

/* A segment's own, and nobody's who does not know the seed. */
static uint32_t marker_make(const struct spool *spool, uint64_t number)
{
	uint32_t sum = crc32c(crc32c(0, spool->settings.seed, sizeof spool->settings.seed), &number, sizeof number);
	return sum | (uint32_t)1 << 31;
}

static int segment_create(struct spool *spool, struct spool_segment **ret)
{
	const struct spool_disk *disk = &spool->settings.disk;
	uint8_t header[SEGMENT_HEADER];
	char name[SEGMENT_NAME_SIZE];
	uint64_t number = spool->next_segment++;
	segment_name(number, name);
	int file = disk->create(disk->ctx, name);
	if (file < 0)
		return file;
	spool->names_changed = true;
	segment_header_write(number, marker_make(spool, number), spool->next_sequence, header);
	int err = disk->write(disk->ctx, file, 0, header, sizeof header);
	if (err == 0)
		err = segment_add(spool, number, file, ret);
	if (err < 0) {
		disk->close(disk->ctx, file);
		disk->remove(disk->ctx, name);
		return err;
	}
	(*ret)->marker = marker_make(spool, number);
	(*ret)->size = sizeof header;
	spool->bytes += sizeof header;
	return 0;
}

static int segment_for_append(struct spool *spool, struct spool_segment **ret)
{
	if (list_empty(&spool->segments) || segment_newest(spool)->closed ||
	    segment_newest(spool)->size >= spool->settings.segment_max)
		return segment_create(spool, ret);
	*ret = segment_newest(spool);
	return 0;
}

/* ---- the whole ---- */

int spool_open(const struct spool_settings *settings, const struct spool_events *events, void *ctx, struct spool **ret)
{
	struct spool *spool = mem_alloc(sizeof *spool);
	if (!spool)
		return -E_NO_MEMORY;
	spool->settings = *settings;
	spool->events = events;
	spool->ctx = ctx;
	spool->next_segment = spool->next_sequence = 1;
	list_init(&spool->segments);
	list_init(&spool->puts);
	list_init(&spool->moves);
	list_init(&spool->sync_puts);
	list_init(&spool->sync_moves);
	buf_init(&spool->tail, settings->unsynced_max + NOTES_MAX);
	buf_init(&spool->sync.bytes, settings->unsynced_max + NOTES_MAX);
	int err = spool_recover(spool);
	if (err < 0)
		spool_free(spool);
	else
		*ret = spool;
	return err;
}

struct spool *spool_free(struct spool *spool)
{
	if (!spool)
		return NULL;
	LIST_EACH(at, &spool->segments)
		segment_forget(spool, LIST_ENTRY(at, struct spool_segment, node));
	buf_done(&spool->tail);
	buf_done(&spool->sync.bytes);
	return mem_free(spool);
}

/* Instead of what an earlier try, which did not come to its end, left there. */
static int bad_save(struct spool *spool, const char *name, struct str bytes)
{
	const struct spool_disk *disk = &spool->settings.disk;
	if (disk->remove(disk->ctx, name) == 0)
		spool->n_bad--;
	int file = spool->n_bad < SPOOL_BAD_FILES_MAX ? disk->create(disk->ctx, name) : -E_LIMIT;
	if (file < 0)
		return file;
	int err = disk->write(disk->ctx, file, 0, bytes.ptr, bytes.len);
	if (err == 0)
		err = disk->sync(disk->ctx, file);
	disk->close(disk->ctx, file);
	spool->names_changed = true;
	if (err < 0)
		disk->remove(disk->ctx, name);
	else
		spool->n_bad++;
	return err;
}

void spool_damage(struct spool *spool, struct spool_damage *damage, struct str bytes)
{
	char name[BAD_NAME_SIZE];
	snprintf(name, sizeof name, "%016llx-%08llx.bad", (unsigned long long)damage->segment, (unsigned long long)damage->at);
	damage->saved = bytes.len && bad_save(spool, name, bytes) == 0;
	spool->events->damaged(spool->ctx, damage);
}

/* ---- appending ---- */

int spool_put(struct spool *spool, struct spool_record *record, struct str head, struct str body)
{
	size_t at = buf_len(&spool->tail), len = SEGMENT_RECORD + head.len + body.len;
	if (head.len + body.len > PAYLOAD_MAX)
		return -E_TOO_LONG;
	if (spool->bytes + (spool->syncing ? buf_len(&spool->sync.bytes) : 0) + at + len > spool->settings.bytes_max)
		spool->full = true;
	if (spool->full)
		return -E_SPOOL_FULL;
	if (at && at + len > spool->settings.unsynced_max)
		return -E_BUSY;
	int err = segment_record_write(&spool->tail, RECORD_PUT, spool->next_sequence, head, body);
	if (err < 0)
		return err;
	*record = (struct spool_record){ .sequence = spool->next_sequence++, .at = (uint32_t)at, .len = (uint32_t)len };
	list_init(&record->moving);
	list_append(&spool->puts, &record->node);
	return 0;
}

int spool_done(struct spool *spool, struct spool_record *record, struct str note)
{
	list_remove(&record->node);
	list_remove(&record->moving);
	spool->live -= record->len;
	return segment_record_write(&spool->tail, RECORD_DONE, record->sequence, note, STR(""));
}

int spool_note(struct spool *spool, struct str note)
{
	return segment_record_write(&spool->tail, RECORD_NOTE, 0, note, STR(""));
}

/* NULL: only on disk.  What a sync has brought there is in memory too until the next one begins, and mostly wanted at once. */
static const uint8_t *record_recent(const struct spool *spool, const struct spool_record *record)
{
	const struct spool_sync *sync = &spool->sync;
	if (record->segment != sync->segment || record->at < sync->at ||
	    record->at - sync->at + record->len > buf_len(&sync->bytes))
		return NULL;
	return buf_head(&sync->bytes) + (record->at - sync->at);
}

/* The whole record. */
static int record_read(struct spool *spool, const struct spool_record *record, struct buf *room, struct str *ret)
{
	const struct spool_disk *disk = &spool->settings.disk;
	struct spool_damage damage = {
		.segment = record->segment->number, .at = record->at, .len = record->len, .sequence = record->sequence
	};
	struct segment_record found;
	const uint8_t *recent = record_recent(spool, record);
	if (recent) {
		*ret = (struct str){ (const char *)recent, record->len };
		return 0;
	}
	uint8_t *at;
	int err = buf_reserve(room, record->len, &at);
	if (err < 0)
		return err;
	err = disk->read(disk->ctx, record->segment->file, record->at, at, record->len);
	struct str bytes = { (const char *)at, err < 0 ? 0 : record->len };
	if (err == 0 && segment_record_read(bytes, record->segment->marker, &found) && found.sequence == record->sequence) {
		*ret = bytes;
		return 0;
	}
	damage.err = err;
	spool_damage(spool, &damage, bytes);
	return err < 0 ? err : -E_CHECKSUM;
}

int spool_read(struct spool *spool, const struct spool_record *record, struct buf *room, struct str *ret_payload)
{
	struct str bytes;
	int err = record_read(spool, record, room, &bytes);
	if (err == 0)
		*ret_payload = str_skip(bytes, SEGMENT_RECORD);
	return err;
}

/* ---- syncing ---- */

bool spool_dirty(const struct spool *spool)
{
	return buf_len(&spool->tail) || spool->names_changed || spool->leaving == LEAVING_CARRIED;
}

bool spool_syncing(const struct spool *spool)
{
	return spool->syncing;
}

struct spool_sync *spool_sync_begin(struct spool *spool)
{
	struct spool_sync *sync = &spool->sync;
	if (spool->syncing || spool->failed || !spool_dirty(spool))
		return NULL;
	struct buf empty = sync->bytes; /* its memory is used again */
	buf_clear(&empty);
	spool->syncing = true;
	*sync = (struct spool_sync){ .disk = &spool->settings.disk, .bytes = spool->tail };
	spool->tail = empty;
	list_move(&spool->sync_puts, &spool->puts);
	list_move(&spool->sync_moves, &spool->moves);
	if (spool->leaving == LEAVING_CARRIED)
		spool->leaving = LEAVING_SYNCING;
	if (buf_len(&sync->bytes))
		sync->err = segment_for_append(spool, &sync->segment);
	sync->at = sync->segment ? sync->segment->size : 0;
	sync->names = spool->names_changed;
	spool->names_changed = false;
	segment_seal(sync->bytes.data + sync->bytes.start, buf_len(&sync->bytes), sync->segment ? sync->segment->marker : 0);
	return sync;
}

void spool_sync_run(struct spool_sync *sync)
{
	const struct spool_disk *disk = sync->disk;
	if (sync->err == 0 && sync->segment) {
		sync->err = disk->write(disk->ctx, sync->segment->file, sync->at, buf_head(&sync->bytes), buf_len(&sync->bytes));
		sync->written = sync->err == 0;
	}
	if (sync->err == 0 && sync->segment)
		sync->err = disk->sync(disk->ctx, sync->segment->file);
	if (sync->err == 0 && sync->names)
		sync->err = disk->sync_names(disk->ctx);
}

static void segment_remove(struct spool *spool, struct spool_segment *segment)
{
	const struct spool_disk *disk = &spool->settings.disk;
	char name[SEGMENT_NAME_SIZE];
	segment_name(segment->number, name);
	spool->leaving = LEAVING_NONE;
	if (disk->remove(disk->ctx, name) < 0)
		return; /* it is tried again when the next one is due */
	spool->names_changed = true;
	segment_forget(spool, segment);
}

static void sync_kept(struct spool *spool)
{
	struct spool_sync *sync = &spool->sync;
	struct list puts;
	list_init(&puts);
	list_move(&puts, &spool->sync_puts);
	if (sync->segment)
		sync->segment->size += buf_len(&sync->bytes);
	spool->bytes += buf_len(&sync->bytes);
	LIST_EACH(at, &spool->sync_moves) {
		struct spool_record *record = LIST_ENTRY(at, struct spool_record, moving);
		list_remove(&record->moving);
		list_remove(&record->node);
		record->segment = sync->segment;
		record->at = (uint32_t)sync->at + record->moved_at;
		list_append(&sync->segment->records, &record->node);
	}
	if (spool->leaving == LEAVING_SYNCING)
		spool->leaving = LEAVING_KEPT;
	if (spool->leaving == LEAVING_KEPT && list_empty(&segment_oldest(spool)->records))
		segment_remove(spool, segment_oldest(spool));
	uint64_t base = sync->at;
	struct spool_segment *segment = sync->segment;
	LIST_EACH(at, &puts) {
		struct spool_record *record = LIST_ENTRY(at, struct spool_record, node);
		list_remove(&record->node);
		record->segment = segment;
		record->at += (uint32_t)base;
		spool->live += record->len;
		list_append(&segment->records, &record->node);
		spool->events->kept(spool->ctx, record);
	}
}

/* What was not put stays, in front of what came meanwhile. */
static int notes_again(struct spool *spool)
{
	struct spool_sync *sync = &spool->sync;
	struct segment_reader reader = { .bytes = buf_str(&sync->bytes), .marker = sync->segment ? sync->segment->marker : 0 };
	struct segment_record record;
	struct buf again;
	int err = 0;
	buf_init(&again, spool->tail.max);
	while (err == 0 && segment_next(&reader, &record) == SEGMENT_RECORD_FOUND)
		if (record.kind != RECORD_PUT)
			err = segment_record_write(&again, record.kind, record.sequence, record.payload, STR(""));
	uint32_t shift = (uint32_t)buf_len(&again);
	if (err == 0)
		err = buf_append(&again, buf_head(&spool->tail), buf_len(&spool->tail));
	if (err < 0) {
		buf_done(&again);
		return err;
	}
	buf_done(&spool->tail);
	spool->tail = again;
	LIST_EACH(at, &spool->puts)
		LIST_ENTRY(at, struct spool_record, node)->at += shift;
	LIST_EACH(at, &spool->moves)
		LIST_ENTRY(at, struct spool_record, moving)->moved_at += shift;
	return 0;
}

/* After a failed sync nobody knows what the disk has: nothing is appended there any more. */
static void segment_cut(struct spool *spool)
{
	const struct spool_disk *disk = &spool->settings.disk;
	const struct spool_sync *sync = &spool->sync;
	if (!sync->segment)
		return;
	bool cut = disk->truncate(disk->ctx, sync->segment->file, sync->segment->size) == 0;
	if (!cut || sync->written)
		sync->segment->closed = true;
}

static void sync_failed(struct spool *spool, int err)
{
	struct list puts;
	list_init(&puts);
	list_move(&puts, &spool->sync_puts);
	segment_cut(spool);
	spool->failed = true;
	spool->full |= err == -ENOSPC || err == -EDQUOT || err == -EFBIG;
	spool->names_changed |= spool->sync.names;
	bool notes_lost = notes_again(spool) < 0;
	buf_clear(&spool->sync.bytes);
	LIST_EACH(at, &spool->sync_moves)
		list_remove(at);
	if (spool->leaving == LEAVING_SYNCING) /* where the disk is full and nothing has to move, room comes first */
		spool->leaving = notes_lost ? LEAVING_MOVING : LEAVING_CARRIED;
	if (spool->full && spool->leaving == LEAVING_CARRIED && list_empty(&segment_oldest(spool)->records))
		segment_remove(spool, segment_oldest(spool));
	LIST_EACH(at, &puts) {
		struct spool_record *record = LIST_ENTRY(at, struct spool_record, node);
		list_remove(at);
		spool->events->refused(spool->ctx, record, spool->full ? -E_SPOOL_FULL : err);
	}
}

int spool_sync_end(struct spool *spool)
{
	int err = spool->sync.err;
	spool->syncing = false;
	if (err < 0)
		sync_failed(spool, err);
	else
		sync_kept(spool);
	return err;
}

/* ---- compaction ---- */

static bool leaving_wanted(const struct spool *spool)
{
	const struct spool_settings *settings = &spool->settings;
	uint64_t dead = spool->bytes - spool->live, usual = 2 * (spool->bytes / settings->segment_max) + SEGMENTS_LEAST;
	if (spool->n_segments < 2)
		return false;
	return (dead > spool->bytes / 2 && spool->bytes > 4 * settings->segment_max) || spool->n_segments > usual ||
	       (spool->bytes > settings->bytes_max / 4 * 3 && dead > settings->bytes_max / 8) ||
	       (spool->full && list_empty(&segment_oldest(spool)->records));
}

static void record_move(struct spool *spool, struct spool_record *record)
{
	struct buf room;
	struct str bytes;
	buf_init(&room, record->len);
	int err = record_read(spool, record, &room, &bytes);
	size_t at = buf_len(&spool->tail);
	if (err == 0)
		err = buf_append_str(&spool->tail, bytes);
	if (err == 0) {
		record->moved_at = (uint32_t)at;
		list_append(&spool->moves, &record->moving);
	} else if (err != -E_NO_MEMORY && err != -E_TOO_LONG)
		spool->events->lost(spool->ctx, record);
	buf_done(&room);
}

/* True: nothing is left to be moved. */
static bool records_move(struct spool *spool, struct spool_segment *segment)
{
	size_t most = buf_len(&spool->tail) + MOVE_STEP;
	LIST_EACH(at, &segment->records) {
		struct spool_record *record = LIST_ENTRY(at, struct spool_record, node);
		if (!list_empty(&record->moving))
			continue;
		if (buf_len(&spool->tail) >= most || buf_len(&spool->tail) + record->len > spool->settings.unsynced_max)
			return false;
		record_move(spool, record);
	}
	return true;
}

void spool_compact(struct spool *spool)
{
	if (spool->leaving == LEAVING_NONE && leaving_wanted(spool))
		spool->leaving = LEAVING_MOVING;
	if (spool->leaving == LEAVING_NONE)
		return;
	struct spool_segment *oldest = segment_oldest(spool);
	if (spool->leaving == LEAVING_KEPT && list_empty(&oldest->records))
		return segment_remove(spool, oldest);
	if (records_move(spool, oldest) && spool->leaving == LEAVING_MOVING) {
		spool->leaving = LEAVING_CARRIED;
		spool->events->carry(spool->ctx, oldest->number);
	}
}

/* ---- room ---- */

/* Some of it is used again. */
static void memory_release(struct spool *spool)
{
	if (!spool->syncing && spool->sync.bytes.capacity > IDLE_MEMORY)
		buf_done(&spool->sync.bytes);
	if (spool->tail.capacity > IDLE_MEMORY)
		buf_trim(&spool->tail);
}

void spool_check_room(struct spool *spool)
{
	const struct spool_disk *disk = &spool->settings.disk;
	uint64_t available, room;
	spool->failed = false;
	memory_release(spool);
	if (!spool->full || disk->available(disk->ctx, &available) < 0)
		return;
	uint64_t left = spool->settings.bytes_max > spool->bytes ? spool->settings.bytes_max - spool->bytes : 0;
	room = spool->bytes + (available < left ? available : left);
	spool->full = spool->bytes >= room / 10 * 9;
}

uint64_t spool_sequence_next(const struct spool *spool)
{
	return spool->next_sequence;
}

uint64_t spool_segment_now(const struct spool *spool)
{
	return list_empty(&spool->segments) ? spool->next_segment : segment_newest(spool)->number;
}

void spool_stats(const struct spool *spool, struct spool_stats *ret)
{
	*ret = (struct spool_stats){ spool->bytes, spool->live, spool->n_segments, spool->full };
}
