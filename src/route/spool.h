/* route/spool.h: an append-only log of things to keep until they are done, in segments (segment.h) on a disk (disk.h).
 *
 * What is put is kept when a sync that began afterwards has ended well: append many, sync once, then acknowledge all.
 *   spool_sync_begin(), spool_sync_run() on any thread, spool_sync_end()
 * Meanwhile more may be appended: it is for the next sync.  When a sync fails, what was put since the one before is refused, all else stays,
 * and the next one waits for spool_check_room(): a disk that fails is not asked without a pause.
 * After a crash spool_open() finds all that was kept and not done; what is done may come back when the crash came before the next sync.
 * The oldest segment is removed when much of the log is needed no more: what still is moves to the end (spool_compact()).
 * What cannot be read is saved in a file `<segment>-<offset>.bad` and told; all else is served.
 * No clock, no log, no threads of its own; memory: the records are the owner's, and twice unsynced_max. */
#ifndef ROUTE_SPOOL_H
#define ROUTE_SPOOL_H
#include "base/list.h"
#include "base/str.h"
#include "route/disk.h"

#define SPOOL_BAD_FILES_MAX 100 /* more are told, but not saved */

struct spool_settings {
	struct spool_disk disk;
	uint64_t bytes_max;  /* on disk; beyond it nothing is taken.  At least 4 segments */
	size_t segment_max;  /* bytes; a segment is closed when it is larger.  At most 8 MiB */
	size_t unsynced_max; /* bytes that are put and not synced: more is refused.  At most 4 MiB */
	uint8_t seed[16];    /* random and secret */
};

struct spool_segment;
/* Something kept: embedded in what its owner knows of it, who keeps it until spool_done() or `refused`.  All is the spool's. */
struct spool_record {
	struct list node, moving;
	struct spool_segment *segment; /* NULL: not synced yet */
	uint64_t sequence;             /* grows with each that is put; stays the same over restarts */
	uint32_t at, len;              /* in the segment, with its header */
	uint32_t moved_at;
};

struct spool_damage {
	uint64_t segment;  /* number */
	uint64_t at, len;  /* bytes */
	uint64_t sequence; /* 0 = unknown */
	bool torn;         /* at a segment's end: what a crash leaves; cut off */
	bool saved;        /* as <segment>-<offset>.bad */
	int err;           /* 0 = -E_CHECKSUM; else the disk's */
};

struct spool_events {
	/* ---- inside spool_open(), in the order of the log; segment: the number of the one that is being read ---- */
	/* NULL: no memory; ends spool_open(). */
	struct spool_record *(*found)(void *ctx, uint64_t segment, uint64_t sequence, struct str payload);
	void (*over)(void *ctx, struct spool_record *record); /* that was found is done; it is the owner's again */
	int (*note)(void *ctx, uint64_t segment, struct str note);
	/* ---- inside spool_sync_end(), for each that was put, in this order ---- */
	void (*kept)(void *ctx, struct spool_record *record);
	void (*refused)(void *ctx, struct spool_record *record, int err);
	/* ---- at any time ---- */
	void (*damaged)(void *ctx, const struct spool_damage *damage);
	void (*lost)(void *ctx, struct spool_record *record); /* its payload cannot be read: to be given to spool_done() */
	/* The segment of that number is going to be removed: notes that only it may hold are to be written again. */
	void (*carry)(void *ctx, uint64_t segment);
};

struct spool_stats {
	uint64_t bytes, live; /* on disk; of records that are not done */
	size_t segments;
	bool full;
};

struct spool;
int spool_open(const struct spool_settings *settings, const struct spool_events *events, void *ctx, struct spool **ret);
struct spool *spool_free(struct spool *spool); /* what was not synced is gone; closes the files, not the disk */

/* The payload is head and body together, at most 1 MiB.  -E_SPOOL_FULL (no room on the disk), -E_BUSY (too much is not synced), -E_NO_MEMORY. */
int spool_put(struct spool *spool, struct spool_record *record, struct str head, struct str body);
/* Of one that is kept.  The note ("" = none) comes back as spool_note()'s.  An error means that it may come back after a restart. */
int spool_done(struct spool *spool, struct spool_record *record, struct str note);
int spool_note(struct spool *spool, struct str note);
/* The payload of one that is kept: a view, maybe into room, which is empty, until anything else is called.  -E_CHECKSUM (`damaged` was told), or
 * the disk's. */
struct buf;
int spool_read(struct spool *spool, const struct spool_record *record, struct buf *room, struct str *ret_payload);

struct spool_sync; /* valid until spool_sync_end() */
/* NULL: nothing is to be synced, or another sync has not ended, or one has failed since spool_check_room(). */
struct spool_sync *spool_sync_begin(struct spool *spool);
void spool_sync_run(struct spool_sync *sync);
int spool_sync_end(struct spool *spool);     /* how it went */
bool spool_dirty(const struct spool *spool); /* something is to be synced, and no sync has begun for it */
bool spool_syncing(const struct spool *spool);

/* A small step, where one is due: after each sync, or every second. */
void spool_compact(struct spool *spool);
/* Looks whether there is room again, lets a sync be tried again, and gives memory back.  To be called every second. */
void spool_check_room(struct spool *spool);
uint64_t spool_sequence_next(const struct spool *spool); /* of the next that is put */
uint64_t spool_segment_now(const struct spool *spool);   /* what is appended comes into this segment or a later one */
void spool_stats(const struct spool *spool, struct spool_stats *ret);
#endif
