/* route/route_own.h: what route.c, route_queue.c and route_note.c share. */
#ifndef ROUTE_ROUTE_OWN_H
#define ROUTE_ROUTE_OWN_H
#include "base/map.h"
#include "route/route.h"
#include "route/seen.h"

enum rank { RANK_HIGH, RANK_NORMAL, RANK_LOW, RANKS };

struct destination;
/* An envelope that is kept, or about to be. */
struct item {
	struct spool_record record;
	struct list node;  /* of its destination's queue or `sent`; while it is not kept: of none */
	struct list aging; /* route->items */
	struct destination *destination;
	struct id id;
	int64_t came_ms, expires_ms, created_ms;
	void *token;    /* while it is not kept */
	uint8_t *state; /* key in route->states; NULL: it is no state */
	uint8_t state_len;
	uint8_t rank;
	bool sent;
	bool again; /* at the start: it was put a second time */
};

struct destination {
	struct list node;   /* route->destinations */
	struct list waking; /* route->waking */
	struct id id;
	struct list queue[RANKS], sent;
	size_t n, n_sent, n_coming; /* in queue and sent; in sent; not kept yet */
	uint64_t bytes;
	uint32_t credit;
	bool attached, told, retired; /* told: `ready`, and route_next() has had something ever since */
	int64_t paused_until_ms;
	/* dead letters */
	uint64_t dead[ROUTE_DEADS], replaced, gap_told;
	int64_t dead_last_ms;
	uint64_t counted_in; /* segment where all these numbers stand; 0 = they are zero */
	/* the gap envelope that was sent, and what it told */
	struct id gap;
	uint64_t gap_sent;
	bool gap_under_way;
};

/* Somebody who sent again what is not synced yet. */
struct again {
	struct list node;
	void *token;
};

struct route {
	struct route_settings settings;
	const struct route_events *events;
	void *ctx;
	struct spool *spool;
	struct map *by_id;  /* destinations */
	struct map *states; /* the newest item that waits for that destination, of that sender and key */
	struct seen *seen;
	struct list destinations, items, coming; /* coming: not kept yet */
	struct list waking;                      /* destinations for which something has come */
	size_t n_items;
	struct list again, again_syncing;
	struct buf room; /* for what is read from the disk */
	int64_t now_ms;  /* of the call under way */
};

/* ---- route.c ---- */
void route_item_free(struct route *route, struct item *item);
/* It is needed no more; note: for the log, "" = none. */
void route_item_done(struct route *route, struct item *item, struct str note);
/* It did not arrive. */
void route_item_dead(struct route *route, struct item *item, enum route_dead why);

/* Appends its envelope. */
int route_item_read(struct route *route, struct item *item, struct buf *out);

/* ---- route_queue.c ---- */
int destination_get(struct route *route, const struct id *id, struct destination **ret); /* made when missing */
void destination_free(struct route *route, struct destination *destination);
void destination_idle(struct route *route, struct destination *destination); /* frees it when nothing is to be known of it */
void destination_ready(struct route *route, struct destination *destination);
void destinations_wake(struct route *route);            /* after queue_add(): many envelopes, one `ready` */
void queue_add(struct route *route, struct item *item); /* within the limits; may drop it or others */
void queue_remove(struct item *item);
uint64_t destination_gap(const struct destination *destination); /* how many it has missed */

/* ---- route_note.c ---- */
#define NOTE_DEAD_SIZE 26
/* Counts it, and writes the note that says so. */
struct str destination_count(struct route *route, struct destination *destination, enum route_dead why,
                             uint8_t out[NOTE_DEAD_SIZE]);
int note_counters_write(struct route *route, struct destination *destination);
int note_take(struct route *route, uint64_t segment, struct str note); /* of the log */
void notes_carry(struct route *route, uint64_t segment);
#endif
