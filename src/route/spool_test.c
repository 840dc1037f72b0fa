#include "route/spool.h"

#include <errno.h>
#include <fcntl.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/test.h"
#include "route/segment.h"
#include "route/test_disk.h"

enum { ITEMS = 3000 };

struct item {
	struct spool_record record;
	unsigned number;
	bool used, kept;
	int refused;
};

/* What the spool is told: items by the number that is their payload's beginning. */
struct keeper {
	struct test_disk disk;
	struct spool_settings settings;
	struct spool *spool;
	struct item items[ITEMS];
	unsigned found, over, damaged, torn, lost, carried;
	struct spool_damage damage; /* the last one */
	char notes[4096];
	bool no_memory;
};

static struct spool_record *on_found(void *ctx, uint64_t segment, uint64_t sequence, struct str payload)
{
	struct keeper *keeper = ctx;
	unsigned number = (unsigned)strtoul(payload.ptr, NULL, 10);
	assert_true(segment > 0 && sequence > 0 && number < ITEMS);
	if (keeper->no_memory)
		return NULL;
	assert_false(keeper->items[number].used);
	keeper->items[number] = (struct item){ .number = number, .used = true, .kept = true };
	keeper->found++;
	return &keeper->items[number].record;
}

static void on_over(void *ctx, struct spool_record *record)
{
	struct keeper *keeper = ctx;
	LIST_ENTRY(record, struct item, record)->used = false;
	keeper->over++;
}

static int on_note(void *ctx, uint64_t segment, struct str note)
{
	struct keeper *keeper = ctx;
	assert_true(segment > 0 && strlen(keeper->notes) + note.len + 2 < sizeof keeper->notes);
	strncat(keeper->notes, note.ptr, note.len);
	strncat(keeper->notes, " ", 2);
	return keeper->no_memory ? -E_NO_MEMORY : 0;
}

static int on_nothing(void *ctx, uint64_t segment, struct str note)
{
	(void)ctx;
	(void)segment;
	(void)note;
	return 0;
}

static void on_kept(void *ctx, struct spool_record *record)
{
	(void)ctx;
	LIST_ENTRY(record, struct item, record)->kept = true;
}

static void on_refused(void *ctx, struct spool_record *record, int err)
{
	(void)ctx;
	struct item *item = LIST_ENTRY(record, struct item, record);
	item->refused = err;
	item->used = false;
}

static void on_damaged(void *ctx, const struct spool_damage *damage)
{
	struct keeper *keeper = ctx;
	keeper->damaged++;
	keeper->torn += damage->torn;
	keeper->damage = *damage;
}

static void on_lost(void *ctx, struct spool_record *record)
{
	struct keeper *keeper = ctx;
	keeper->lost++;
	LIST_ENTRY(record, struct item, record)->used = false;
	spool_done(keeper->spool, record, STR("lost"));
}

static void on_carry(void *ctx, uint64_t segment)
{
	struct keeper *keeper = ctx;
	assert_true(segment < spool_segment_now(keeper->spool));
	keeper->carried++;
	spool_note(keeper->spool, STR("carried"));
}

static const struct spool_events events = { on_found, on_over, on_note, on_kept, on_refused, on_damaged, on_lost, on_carry };

static struct keeper *keeper_new(void)
{
	struct keeper *keeper = calloc(1, sizeof *keeper);
	assert_non_null(keeper);
	test_disk_init(&keeper->disk, &keeper->settings.disk);
	keeper->settings.bytes_max = 100000;
	keeper->settings.segment_max = 4096;
	keeper->settings.unsynced_max = 8192;
	keeper->settings.seed[0] = 1;
	return keeper;
}

static int start(struct keeper *keeper)
{
	memset(keeper->items, 0, sizeof keeper->items);
	keeper->found = keeper->over = keeper->damaged = keeper->torn = keeper->lost = keeper->carried = 0;
	keeper->notes[0] = 0;
	return spool_open(&keeper->settings, &events, keeper, &keeper->spool);
}

static void restart(struct keeper *keeper)
{
	keeper->spool = spool_free(keeper->spool);
	assert_int_equal(start(keeper), 0);
}

static void stop(struct keeper *keeper)
{
	spool_free(keeper->spool);
	test_disk_done(&keeper->disk);
	free(keeper);
}

static int put(struct keeper *keeper, unsigned number, size_t len)
{
	char head[16], body[5000];
	struct item *item = &keeper->items[number];
	assert_false(item->used);
	memset(body, 'b', len);
	snprintf(head, sizeof head, "%u ", number);
	*item = (struct item){ .number = number };
	int err = spool_put(keeper->spool, &item->record, str_from(head), (struct str){ body, len });
	item->used = err == 0;
	return err;
}

static void done(struct keeper *keeper, unsigned number)
{
	assert_true(keeper->items[number].kept);
	assert_int_equal(spool_done(keeper->spool, &keeper->items[number].record, STR("")), 0);
	keeper->items[number].used = false;
}

static int sync_once(struct keeper *keeper)
{
	struct spool_sync *sync = spool_sync_begin(keeper->spool);
	if (!sync)
		return 0;
	assert_true(spool_syncing(keeper->spool));
	assert_null(spool_sync_begin(keeper->spool));
	spool_sync_run(sync);
	return spool_sync_end(keeper->spool);
}

static void settle(struct keeper *keeper)
{
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(sync_once(keeper), 0);
		spool_compact(keeper->spool);
		if (!spool_dirty(keeper->spool))
			return;
	}
	fail();
}

static void assert_readable(struct keeper *keeper, unsigned number, size_t len)
{
	char head[16];
	struct buf room;
	struct str payload;
	buf_init(&room, 10000);
	snprintf(head, sizeof head, "%u ", number);
	assert_true(keeper->items[number].used && keeper->items[number].kept);
	assert_int_equal(spool_read(keeper->spool, &keeper->items[number].record, &room, &payload), 0);
	assert_int_equal(payload.len, strlen(head) + len);
	assert_memory_equal(payload.ptr, head, strlen(head));
	for (size_t i = strlen(head); i < payload.len; i++)
		assert_int_equal(payload.ptr[i], 'b');
	buf_done(&room);
}

static void test_kept(void **state)
{
	(void)state;
	struct keeper *keeper = keeper_new();
	assert_int_equal(start(keeper), 0);
	assert_false(spool_dirty(keeper->spool));
	assert_null(spool_sync_begin(keeper->spool));
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(put(keeper, i, 10 * i), 0);
	assert_false(keeper->items[0].kept);
	assert_true(spool_dirty(keeper->spool));
	struct spool_sync *sync = spool_sync_begin(keeper->spool);
	assert_int_equal(put(keeper, 5, 9), 0); /* for the next one */
	spool_sync_run(sync);
	assert_int_equal(spool_sync_end(keeper->spool), 0);
	assert_true(keeper->items[4].kept);
	assert_false(keeper->items[5].kept);
	assert_int_equal(sync_once(keeper), 0);
	for (unsigned i = 0; i < 6; i++)
		assert_readable(keeper, i, i < 5 ? 10 * i : 9);
	done(keeper, 1);
	done(keeper, 3);
	assert_int_equal(spool_note(keeper->spool, STR("a")), 0);
	assert_int_equal(spool_done(keeper->spool, &keeper->items[5].record, STR("b")), 0);
	assert_int_equal(sync_once(keeper), 0);
	assert_int_equal(put(keeper, 7, 1), 0); /* never synced */
	restart(keeper);
	assert_int_equal(keeper->found, 6);
	assert_int_equal(keeper->over, 3);
	assert_string_equal(keeper->notes, "a b ");
	assert_readable(keeper, 0, 0);
	assert_readable(keeper, 2, 20);
	assert_readable(keeper, 4, 40);
	assert_false(keeper->items[7].used);
	uint64_t before = keeper->items[4].record.sequence;
	assert_int_equal(put(keeper, 8, 1), 0);
	assert_true(keeper->items[8].record.sequence > before + 1);
	assert_int_equal(sync_once(keeper), 0);
	assert_int_equal(test_disk_count(&keeper->disk, ".log"), 1);
	stop(keeper);
}

static void test_limits(void **state)
{
	(void)state;
	static char large[(1 << 20) + 1];
	struct keeper *keeper = keeper_new();
	struct spool_record record;
	struct spool_stats stats;
	assert_int_equal(start(keeper), 0);
	assert_int_equal(spool_put(keeper->spool, &record, STR(""), (struct str){ large, sizeof large }), -E_TOO_LONG);
	unsigned n = 0;
	int err;
	while ((err = put(keeper, n, 1000)) == 0)
		n++;
	assert_int_equal(err, -E_BUSY); /* until a sync has begun */
	assert_int_equal(n, 7);
	while (err != -E_SPOOL_FULL) {
		assert_int_equal(sync_once(keeper), 0);
		while ((err = put(keeper, n, 1000)) == 0)
			n++;
	}
	assert_int_equal(sync_once(keeper), 0);
	spool_stats(keeper->spool, &stats);
	assert_true(stats.full && stats.bytes <= 100000 && stats.bytes > 98000);
	/* What is there is served, and can be done; below nine tenths it is taken again. */
	assert_readable(keeper, 0, 1000);
	unsigned first = 0;
	for (; stats.full; first++) {
		assert_int_equal(put(keeper, n, 1), -E_SPOOL_FULL);
		assert_true(first < n);
		done(keeper, first);
		settle(keeper);
		spool_check_room(keeper->spool);
		spool_stats(keeper->spool, &stats);
	}
	assert_true(stats.bytes < 90000 && stats.bytes > 70000);
	assert_int_equal(put(keeper, n, 1), 0);
	settle(keeper);
	restart(keeper);
	for (; first <= n; first++)
		assert_readable(keeper, first, first < n ? 1000 : 1);
	stop(keeper);
}

/* ENOSPC in the middle: what was put since the sync before is refused, all else stays. */
static void test_disk_full(void **state)
{
	(void)state;
	struct keeper *keeper = keeper_new();
	struct spool_stats stats;
	keeper->disk.capacity = 20000;
	assert_int_equal(start(keeper), 0);
	unsigned n = 0;
	for (; put(keeper, n, 1000) == 0 && sync_once(keeper) == 0; n++)
		;
	assert_true(n > 15);
	assert_int_equal(keeper->items[n].refused, -E_SPOOL_FULL);
	assert_int_equal(put(keeper, n, 1), -E_SPOOL_FULL);
	spool_check_room(keeper->spool);
	assert_int_equal(put(keeper, n, 1), -E_SPOOL_FULL);
	for (unsigned i = 0; i < n; i++) {
		assert_readable(keeper, i, 1000);
		done(keeper, i);
		sync_once(keeper); /* may fail: what is done is done all the same */
		spool_compact(keeper->spool);
		sync_once(keeper);
		spool_check_room(keeper->spool);
	}
	settle(keeper);
	spool_check_room(keeper->spool);
	spool_stats(keeper->spool, &stats);
	assert_false(stats.full);
	assert_int_equal(stats.live, 0);
	assert_int_equal(put(keeper, n, 1000), 0);
	settle(keeper);
	restart(keeper);
	assert_int_equal(keeper->damaged, 0);
	assert_int_equal(keeper->found - keeper->over, 1);
	assert_readable(keeper, n, 1000);
	stop(keeper);
}

/* Each step of the disk fails once: what was put before is there, what is told to be kept is, and the next try works. */
static void test_disk_fails(void **state)
{
	(void)state;
	for (long at = 1;; at++) {
		struct keeper *keeper = keeper_new();
		assert_int_equal(start(keeper), 0);
		assert_int_equal(put(keeper, 0, 100), 0);
		assert_int_equal(sync_once(keeper), 0);
		long before = keeper->disk.steps;
		keeper->disk.fail_at = before + at;
		keeper->disk.fail_err = -EIO;
		done(keeper, 0);
		assert_int_equal(spool_note(keeper->spool, STR("note")), 0);
		for (unsigned i = 1; i < 10; i++)
			assert_int_equal(put(keeper, i, 500), 0);
		struct spool_sync *sync = spool_sync_begin(keeper->spool);
		assert_int_equal(put(keeper, 20, 5), 0);
		spool_sync_run(sync);
		int err = spool_sync_end(keeper->spool);
		bool failed = keeper->disk.steps >= before + at;
		keeper->disk.fail_at = 0;
		assert_int_equal(err, failed ? -EIO : 0);
		for (unsigned i = 1; i < 10; i++) {
			assert_int_equal(keeper->items[i].kept, !failed);
			assert_int_equal(keeper->items[i].refused, failed ? -EIO : 0);
			if (failed)
				assert_int_equal(put(keeper, i, 500), 0);
		}
		if (failed) { /* a disk that goes on failing is asked once a second */
			assert_true(spool_dirty(keeper->spool));
			assert_null(spool_sync_begin(keeper->spool));
			spool_check_room(keeper->spool);
		}
		assert_int_equal(sync_once(keeper), 0);
		restart(keeper);
		assert_string_equal(keeper->notes, "note ");
		assert_int_equal(keeper->damaged, 0);
		assert_false(keeper->items[0].used);
		for (unsigned i = 1; i < 10; i++)
			assert_readable(keeper, i, 500);
		assert_readable(keeper, 20, 5);
		stop(keeper);
		if (!failed) {
			assert_true(at > 2);
			break;
		}
	}
}

/* What is done makes room; what is not moves, as often as it takes, and stays in order. */
static void test_compaction(void **state)
{
	(void)state;
	struct keeper *keeper = keeper_new();
	struct spool_stats stats;
	assert_int_equal(start(keeper), 0);
	for (unsigned i = 0; i < ITEMS; i++) {
		assert_int_equal(put(keeper, i, 200), 0);
		assert_int_equal(sync_once(keeper), 0);
		if (i % 100)
			done(keeper, i);
		spool_compact(keeper->spool);
	}
	settle(keeper);
	spool_stats(keeper->spool, &stats);
	assert_true(stats.bytes < 30000);
	assert_true(keeper->carried > 50);
	assert_int_equal(test_disk_count(&keeper->disk, ".log"), stats.segments);
	restart(keeper);
	assert_int_equal(keeper->damaged, 0);
	uint64_t before = 0;
	for (unsigned i = 0; i < ITEMS; i++) {
		assert_int_equal(keeper->items[i].used, i % 100 == 0);
		if (i % 100)
			continue;
		assert_readable(keeper, i, 200);
		assert_true(keeper->items[i].record.sequence > before);
		before = keeper->items[i].record.sequence;
	}
	stop(keeper);
}

/* Also when nothing is left of those that had the last ones. */
static void test_sequence_goes_on(void **state)
{
	(void)state;
	struct keeper *keeper = keeper_new();
	assert_int_equal(start(keeper), 0);
	for (unsigned i = 0; i < 80; i++) {
		assert_int_equal(put(keeper, i, 1000), 0);
		assert_int_equal(sync_once(keeper), 0);
	}
	for (unsigned i = 0; i < 80; i++)
		done(keeper, i);
	settle(keeper);
	for (unsigned i = 0; i < 2000; i++) {
		assert_int_equal(spool_note(keeper->spool, STR("n")), 0);
		settle(keeper);
	}
	assert_int_equal(spool_sequence_next(keeper->spool), 81);
	keeper->spool = spool_free(keeper->spool);
	static const struct spool_events silent = { on_found,   on_over,    on_nothing, on_kept,
		                                    on_refused, on_damaged, on_lost,    on_carry };
	assert_int_equal(spool_open(&keeper->settings, &silent, keeper, &keeper->spool), 0);
	assert_int_equal(keeper->found, 0);
	assert_int_equal(spool_sequence_next(keeper->spool), 81);
	stop(keeper);
}

static struct keeper *with_three(void)
{
	struct keeper *keeper = keeper_new();
	assert_int_equal(start(keeper), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(put(keeper, i, 20), 0);
	assert_int_equal(sync_once(keeper), 0);
	keeper->spool = spool_free(keeper->spool);
	return keeper;
}

static unsigned readable(struct keeper *keeper)
{
	unsigned n = 0;
	for (unsigned i = 0; i < 3; i++)
		if (keeper->items[i].used) {
			assert_readable(keeper, i, 20);
			n++;
		}
	return n;
}

static void test_every_bit(void **state)
{
	(void)state;
	struct keeper *keeper = with_three();
	size_t size = test_disk_file(&keeper->disk, ".log")->size;
	stop(keeper);
	for (size_t bit = 0; bit < 8 * size; bit += 3) {
		keeper = with_three();
		test_disk_file(&keeper->disk, ".log")->bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(start(keeper), 0);
		bool header = bit / 8 < SEGMENT_HEADER;
		assert_int_equal(keeper->damaged, 1);
		assert_int_equal(keeper->damage.saved, !header);
		assert_int_equal(readable(keeper), header ? 3 : 2);
		assert_int_equal(test_disk_count(&keeper->disk, ".bad"), header ? 0 : 1);
		/* Once, and more can be put. */
		restart(keeper);
		assert_int_equal(keeper->damaged, 0);
		assert_int_equal(readable(keeper), header ? 3 : 2);
		assert_int_equal(put(keeper, 9, 30), 0);
		assert_int_equal(sync_once(keeper), 0);
		restart(keeper);
		assert_readable(keeper, 9, 30);
		assert_int_equal(keeper->damaged, 0);
		stop(keeper);
	}
}

static void test_every_length(void **state)
{
	(void)state;
	struct keeper *keeper = with_three();
	size_t size = test_disk_file(&keeper->disk, ".log")->size, each = (size - SEGMENT_HEADER) / 3;
	stop(keeper);
	for (size_t len = 0; len < size; len++) {
		keeper = with_three();
		test_disk_file(&keeper->disk, ".log")->size = len;
		assert_int_equal(start(keeper), 0);
		bool clean = len == 0 || (len >= SEGMENT_HEADER && (len - SEGMENT_HEADER) % each == 0);
		assert_int_equal(keeper->damaged, clean ? 0 : 1);
		assert_int_equal(keeper->torn, keeper->damaged);
		assert_int_equal(readable(keeper), len < SEGMENT_HEADER ? 0 : (len - SEGMENT_HEADER) / each);
		restart(keeper);
		assert_int_equal(keeper->damaged, 0);
		assert_int_equal(put(keeper, 9, 30), 0);
		assert_int_equal(sync_once(keeper), 0);
		restart(keeper);
		assert_readable(keeper, 9, 30);
		assert_int_equal(keeper->damaged, 0);
		stop(keeper);
	}
}

/* What the last sync has kept comes out of memory, all else off the disk. */
static void test_recent(void **state)
{
	(void)state;
	struct keeper *keeper = keeper_new();
	assert_int_equal(start(keeper), 0);
	for (unsigned i = 0; i < 6; i += 2) {
		assert_int_equal(put(keeper, i, 200), 0);
		assert_int_equal(put(keeper, i + 1, 300), 0);
		assert_int_equal(sync_once(keeper), 0);
		long steps = keeper->disk.steps;
		assert_readable(keeper, i, 200);
		assert_readable(keeper, i + 1, 300);
		assert_int_equal(keeper->disk.steps, steps);
		if (i) {
			assert_readable(keeper, i - 2, 200);
			assert_true(keeper->disk.steps > steps);
		}
	}
	assert_int_equal(put(keeper, 6, 100), 0);
	struct spool_sync *sync = spool_sync_begin(keeper->spool); /* from now on that memory is another's */
	assert_readable(keeper, 5, 300);
	spool_sync_run(sync);
	assert_int_equal(spool_sync_end(keeper->spool), 0);
	assert_readable(keeper, 6, 100);
	stop(keeper);
}

/* A record that goes bad while the spool is open: it is named when it is read, or has to move. */
static void test_damaged_later(void **state)
{
	(void)state;
	struct keeper *keeper = keeper_new();
	struct buf room;
	struct str payload;
	buf_init(&room, 10000);
	assert_int_equal(start(keeper), 0);
	for (unsigned i = 0; i < 200; i++) {
		assert_int_equal(put(keeper, i, 200), 0);
		assert_int_equal(sync_once(keeper), 0);
	}
	test_disk_file(&keeper->disk, "1.log")->bytes[keeper->items[3].record.at + 50] ^= 1;
	assert_int_equal(spool_read(keeper->spool, &keeper->items[3].record, &room, &payload), -E_CHECKSUM);
	assert_int_equal(keeper->damaged, 1);
	assert_int_equal(keeper->damage.sequence, keeper->items[3].record.sequence);
	assert_true(keeper->damage.saved);
	for (unsigned i = 5; i < 190; i++)
		done(keeper, i);
	settle(keeper);
	assert_int_equal(keeper->lost, 1);
	assert_readable(keeper, 2, 200);
	assert_readable(keeper, 4, 200);
	restart(keeper);
	assert_int_equal(keeper->found - keeper->over, 4 + 10);
	buf_done(&room);
	stop(keeper);
}

/* A whole segment without a readable header, files that are none of ours, a segment that is too long. */
static void test_strange_files(void **state)
{
	(void)state;
	struct keeper *keeper = with_three();
	struct test_file *file = test_disk_file(&keeper->disk, ".log");
	file->bytes[0] ^= 1;
	file->bytes[40] ^= 1;
	const struct spool_disk *disk = &keeper->settings.disk;
	assert_true(disk->create(disk->ctx, "notes.txt") >= 0);
	assert_true(disk->create(disk->ctx, "1.log") >= 0);
	assert_true(disk->create(disk->ctx, "0000000000000000.log") >= 0);
	int large = disk->create(disk->ctx, "0000000000000003.log");
	assert_int_equal(disk->write(disk->ctx, large, (16 << 20), "x", 1), 0);
	assert_int_equal(start(keeper), 0);
	assert_int_equal(keeper->damaged, 2);
	assert_int_equal(keeper->found, 0);
	assert_non_null(test_disk_file(&keeper->disk, "1-00000000.bad"));
	assert_null(test_disk_file(&keeper->disk, "0000000000000001.log"));
	assert_int_equal(put(keeper, 1, 10), 0);
	assert_int_equal(sync_once(keeper), 0);
	assert_non_null(test_disk_file(&keeper->disk, "0000000000000004.log"));
	restart(keeper);
	assert_readable(keeper, 1, 10);
	stop(keeper);
}

/* Where what cannot be read cannot be saved either, it stays, and is saved at the next start, once, whatever the first try has left. */
static void test_saved_later(void **state)
{
	(void)state;
	for (int left = 0; left < 2; left++) {
		struct keeper *keeper = with_three();
		const struct spool_disk *disk = &keeper->settings.disk;
		struct test_file *file = test_disk_file(&keeper->disk, ".log");
		file->bytes[0] ^= 1;
		file->bytes[40] ^= 1;
		keeper->disk.capacity = 1;
		assert_int_equal(start(keeper), 0);
		assert_int_equal(keeper->damaged, 1);
		assert_false(keeper->damage.saved);
		assert_int_equal(test_disk_count(&keeper->disk, ".bad"), 0);
		if (left)
			assert_true(disk->create(disk->ctx, "0000000000000001-00000000.bad") >= 0);
		keeper->disk.capacity = 0;
		restart(keeper);
		assert_int_equal(keeper->damaged, 1);
		assert_true(keeper->damage.saved);
		assert_int_equal(test_disk_file(&keeper->disk, ".bad")->size, file->size);
		restart(keeper);
		assert_int_equal(keeper->damaged, 0);
		stop(keeper);
	}
}

static void test_open_fails(void **state)
{
	(void)state;
	struct keeper *keeper = with_three();
	keeper->no_memory = true;
	assert_int_equal(start(keeper), -E_NO_MEMORY);
	keeper->no_memory = false;
	/* Each step fails: it opens with all of it, or says that something is wrong. */
	for (long at = 1;; at++) {
		keeper->disk.fail_at = keeper->disk.steps + at;
		keeper->disk.fail_err = -EIO;
		int err = start(keeper);
		bool failed = keeper->disk.steps >= keeper->disk.fail_at;
		keeper->disk.fail_at = 0;
		assert_true(!failed || err == -EIO || keeper->damaged);
		if (err == 0)
			keeper->spool = spool_free(keeper->spool);
		if (!failed)
			break;
	}
	assert_int_equal(start(keeper), 0);
	assert_int_equal(readable(keeper), 3);
	stop(keeper);
}

/* ---- the real disk ---- */

static int name_count(void *ctx, const char *name)
{
	(void)name;
	++*(int *)ctx;
	return 0;
}

static int real_disk(void *ctx)
{
	struct spool_disk disk = { 0 };
	char directory[600], back[5];
	uint64_t size, available;
	int names = 0, file = -1;
	snprintf(directory, sizeof directory, "%s/spool", (const char *)ctx);
	int err = spool_disk_open(directory, &disk);
	if (err == 0)
		err = file = disk.create(disk.ctx, "a");
	if (err >= 0)
		err = disk.write(disk.ctx, file, 3, "hello", 5);
	if (err == 0)
		err = disk.sync(disk.ctx, file);
	if (err == 0)
		err = disk.truncate(disk.ctx, file, 7);
	if (err == 0)
		err = disk.sync_names(disk.ctx);
	if (file >= 0)
		disk.close(disk.ctx, file);
	file = -1;
	if (err == 0)
		err = file = disk.open(disk.ctx, "a", &size);
	if (err >= 0)
		err = disk.read(disk.ctx, file, 3, back, 4);
	if (err == 0) {
		assert_int_equal(size, 7);
		assert_memory_equal(back, "hell", 4);
		err = disk.available(disk.ctx, &available);
	}
	if (err == 0)
		err = disk.names(disk.ctx, name_count, &names);
	if (err == 0)
		assert_int_equal(names, 1);
	if (file >= 0)
		disk.close(disk.ctx, file);
	int removed = disk.names ? disk.remove(disk.ctx, "a") : 0;
	if (err == 0)
		err = removed;
	if (removed < 0 && disk.names)
		disk.remove(disk.ctx, "a");
	spool_disk_close(&disk);
	spool_disk_close(&disk);
	rmdir(directory);
	return err;
}

static void test_real_disk(void **state)
{
	struct spool_disk disk;
	char path[600], back[10];
	uint64_t size;
	assert_true(test_each_fault(real_disk, *state) > 10);
	assert_int_equal(spool_disk_open(*state, &disk), 0);
	assert_int_equal(disk.open(disk.ctx, "missing", &size), -ENOENT);
	int file = disk.create(disk.ctx, "x");
	assert_true(file >= 0);
	assert_int_equal(disk.create(disk.ctx, "x"), -EEXIST);
	assert_int_equal(disk.read(disk.ctx, file, 0, back, 1), -E_SHORT);
	disk.close(disk.ctx, file);
	snprintf(path, sizeof path, "%s/fifo", (const char *)*state);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(disk.open(disk.ctx, "fifo", &size), -E_FILE);
	spool_disk_close(&disk);
	snprintf(path, sizeof path, "%s/x", (const char *)*state);
	assert_int_equal(spool_disk_open(path, &disk), -E_FILE);
}

/* A whole life on the real disk with each of its points failing: what was told to be kept is there. */
static void test_faults(void **state)
{
	for (long at = 1;; at++) {
		struct keeper *keeper = keeper_new();
		char directory[600];
		snprintf(directory, sizeof directory, "%s/%ld", (const char *)*state, at);
		assert_int_equal(spool_disk_open(directory, &keeper->settings.disk), 0);
		size_t before = test_descriptors();
		fault_arm(at);
		bool opened = start(keeper) == 0;
		for (unsigned i = 0; opened && i < 30; i++) {
			put(keeper, i, 700);
			sync_once(keeper);
			if (i % 3 && keeper->items[i].used && keeper->items[i].kept) {
				spool_done(keeper->spool, &keeper->items[i].record, STR(""));
				keeper->items[i].used = false;
			}
			spool_compact(keeper->spool);
		}
		bool passed = fault_armed();
		fault_arm(0);
		bool kept[30];
		for (unsigned i = 0; i < 30; i++)
			kept[i] = opened && keeper->items[i].used && keeper->items[i].kept;
		if (opened)
			keeper->spool = spool_free(keeper->spool);
		assert_int_equal(test_descriptors(), before);
		assert_int_equal(start(keeper), 0);
		for (unsigned i = 0; i < 30; i++)
			if (kept[i])
				assert_readable(keeper, i, 700);
		keeper->spool = spool_free(keeper->spool);
		spool_disk_close(&keeper->settings.disk);
		stop(keeper);
		if (passed) {
			assert_true(at > 30);
			break;
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kept),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_disk_full),
		cmocka_unit_test(test_disk_fails),
		cmocka_unit_test(test_compaction),
		cmocka_unit_test(test_sequence_goes_on),
		cmocka_unit_test(test_every_bit),
		cmocka_unit_test(test_every_length),
		cmocka_unit_test(test_recent),
		cmocka_unit_test(test_damaged_later),
		cmocka_unit_test(test_strange_files),
		cmocka_unit_test(test_saved_later),
		cmocka_unit_test(test_open_fails),
		cmocka_unit_test_setup_teardown(test_real_disk, test_directory_make, test_directory_remove),
		cmocka_unit_test_setup_teardown(test_faults, test_directory_make, test_directory_remove),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
