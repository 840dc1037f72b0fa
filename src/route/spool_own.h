/* route/spool_own.h: what spool.c and spool_open.c share. */
#ifndef ROUTE_SPOOL_OWN_H
#define ROUTE_SPOOL_OWN_H
#include "route/segment.h"
#include "route/spool.h"

#define SEGMENT_NAME_SIZE 24
#define SEGMENT_FILE_MAX  ((size_t)16 << 20) /* no segment is longer */
#define BAD_NAME_SIZE     64

struct spool_segment {
	struct list node;
	uint64_t number, size;
	uint32_t marker;
	int file;
	struct list records; /* that are not done */
	bool closed;         /* nothing is appended any more */
};

struct spool_sync {
	const struct spool_disk *disk;
	struct spool_segment *segment; /* NULL: nothing to write */
	uint64_t at;
	struct buf bytes;
	bool names, written;
	int err;
};

/* The oldest segment leaves: its records move to the end, then what only its notes say, then, when that is synced, it is removed. */
enum leaving {
	LEAVING_NONE,
	LEAVING_MOVING,
	LEAVING_CARRIED, /* in tail */
	LEAVING_SYNCING, /* in the sync under way */
	LEAVING_KEPT,
};

struct spool {
	struct spool_settings settings;
	const struct spool_events *events;
	void *ctx;
	struct list segments; /* the oldest first; the last is appended to */
	size_t n_segments, n_bad;
	uint64_t next_segment, next_sequence, bytes, live;
	struct buf tail;         /* for the next sync; `at` and `moved_at` of its records count from its start */
	struct list puts, moves; /* in tail */
	struct spool_sync sync;
	struct list sync_puts, sync_moves;
	bool syncing, names_changed, full;
	bool failed; /* the last sync; the next one begins after spool_check_room() */
	enum leaving leaving;
};

void segment_name(uint64_t number, char out[SEGMENT_NAME_SIZE]);
int segment_add(struct spool *spool, uint64_t number, int file, struct spool_segment **ret); /* at the end */
void segment_forget(struct spool *spool, struct spool_segment *segment);                     /* closes its file */
/* Saves damaged bytes beside the segment, and tells. */
void spool_damage(struct spool *spool, struct spool_damage *damage, struct str bytes);

int spool_recover(struct spool *spool);
#endif
