/* viz/viz.h: from the events of devices to what a browser draws: state, a graph for each watcher, tickets for who may watch what.
 *
 * Takes batches and gives messages; no sockets, no clock: now_ms is the caller's monotonic one.  Logging: none; callers read the counters.
 * Threads: one. */
#ifndef VIZ_VIZ_H
#define VIZ_VIZ_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/id.h"
#include "glouglou/glouglou.h"
#include "live.pb.h"

#define VIZ_WATCHES_MAX 256
#define VIZ_WATCHES_OF  64    /* one user's */
#define VIZ_TICK_MS     100   /* how often a watcher is told what has changed */
#define VIZ_ROWS        200   /* for the table of one watcher a second; the others are counted */
#define VIZ_STALE_MS    60000 /* after the source of events began anew, a device may be silent so long */

struct viz_counters {
	uint64_t batches, datagrams, records, rows;
	uint64_t unknown;      /* records of types that no module has */
	uint64_t bad[GG_BADS]; /* datagrams and records that were refused, by reason */
	uint64_t missed;       /* batches that the source had no more */
	uint64_t no_room;      /* batches of devices beyond the most that are kept */
	size_t devices, watches, bytes;
};

struct viz;
struct viz *viz_new(void); /* NULL: memory is short */
struct viz *viz_free(struct viz *viz);
const struct viz_counters *viz_counters(struct viz *viz);

/* ---- in ---- */
void viz_batch(struct viz *viz, const murmesh_EventBatch *batch, uint64_t now_ms);
/* Events come from a new store, whose devices will tell all again; those that do not are forgotten. */
void viz_source_new(struct viz *viz, uint64_t now_ms);

/* ---- out ---- */
/* -E_EXISTS, -E_FULL, -E_NO_MEMORY, -E_MESSAGE: not 16 bytes where there have to be. */
int viz_announce(struct viz *viz, const murmesh_WatchAnnouncement *announcement, uint64_t now_ms);

/* Who watches.  send: an error means that nothing reaches him any more; the owner will close the watch. */
struct viz_sink {
	bool (*crowded)(void *ctx); /* he does not read fast enough: he will get the latest later */
	int (*send)(void *ctx, const murmesh_LiveBatch *batch);
};
struct viz_watch;
/* -E_TICKET, -E_LIMIT: too many watch, -E_NO_MEMORY.  sink and ctx are kept until viz_watch_close().  What there is comes with the next ticks. */
int viz_watch_open(struct viz *viz, const uint8_t ticket[16], const struct viz_sink *sink, void *ctx, uint64_t now_ms,
                   struct viz_watch **ret);
/* Whether it is among those that end; its owner closes it. */
bool viz_watch_ends(const struct viz_watch *watch, const murmesh_WatchesEnd *end);
void viz_tickets_end(struct viz *viz, const murmesh_WatchesEnd *end); /* those that nobody has shown yet */
struct viz_watch *viz_watch_close(struct viz_watch *watch);
/* To be called every VIZ_TICK_MS while somebody watches. */
void viz_tick(struct viz *viz, uint64_t now_ms);
#endif
