/* route/route.h: the message router of a node: takes envelopes, keeps them in its spool, and gives each to its destination's link.
 *
 * At least once: an envelope is acknowledged when it is on disk, and kept until whoever comes next has acknowledged it.  The same id for the same
 * destination is taken once, as long as it waits, and for the newest `seen_max` that came, also over restarts.
 * A destination is a device, by its id; the server is the id of zeros.  Each has a queue of its own, with limits and credit: a slow one stops nobody.
 * Where a queue is over its limits its oldest of the lowest priority go, are counted, and the destination is told by an envelope of type
 * ROUTE_GAP_TYPE, state key the same, body {"expired":N,"limit":N,"damaged":N}: how many it has missed so far, ever.
 * Bytes, time and a disk in, bytes and events out: no clock, no log, no threads of its own, and random bytes only from the caller.
 * now_ms: trusted wall time, milliseconds since 1970. */
#ifndef ROUTE_ROUTE_H
#define ROUTE_ROUTE_H
#include "route/envelope.h"
#include "route/spool.h"

#define ROUTE_TICK_MS      1000
#define ROUTE_RETRY_S      5 /* what is told with -E_SPOOL_FULL and -E_BUSY */
#define ROUTE_PAUSE_MAX_MS 60000
#define ROUTE_GAP_TYPE     "murmesh.gap"

/* Why an envelope did not arrive. */
enum route_dead {
	ROUTE_EXPIRED, /* its lifetime, or the queue's age */
	ROUTE_LIMIT,   /* others took its place in the queue */
	ROUTE_DAMAGED, /* it could not be read from the disk any more */
	ROUTE_REFUSED, /* by the destination, for good */
	ROUTE_RETIRED, /* the destination was taken out of the mesh */
	ROUTE_LOOP,    /* it came around, or over too many hops */
	ROUTE_DEADS,
};
const char *route_dead_name(enum route_dead dead); /* "expired" */

struct route_limits { /* of one destination's queue */
	size_t count;
	uint64_t bytes;
	int64_t age_ms;
};

struct route_settings {
	struct spool_settings spool;
	struct id self; /* for hop lists; the server: zeros */
	struct route_limits limits;
	size_t destinations_max;
	size_t seen_max; /* at most a fortieth of a segment's bytes: they move from one to the next */
	void (*random)(void *out, size_t len);
};
/* For a device: spool of 64 MiB in 1 MiB segments; for a server: 1 GiB in 8 MiB segments.  disk, self, seed and random are the caller's. */
extern const struct route_settings route_settings_device, route_settings_server;

struct route_events {
	/* Inside route_sync_end(): what route_accept() was given is kept (0), or refused. */
	void (*accepted)(void *ctx, void *token, int err);
	/* Something waits for a destination that is attached and has credit: call route_next(), now or later, until it has no more. */
	void (*ready)(void *ctx, const struct id *destination);
	/* envelope: zero when not even that could be read.  May be NULL. */
	void (*dead)(void *ctx, const struct id *destination, const struct id *envelope, enum route_dead why);
	void (*delivered)(void *ctx, const struct id *destination, const struct id *envelope); /* may be NULL */
	void (*damaged)(void *ctx, const struct spool_damage *damage);                         /* for the log */
	/* A newer one of its state waits, or came before it.  May be NULL. */
	void (*replaced)(void *ctx, const struct id *destination, const struct id *envelope);
};

struct route;
int route_open(const struct route_settings *settings, const struct route_events *events, void *ctx, int64_t now_ms,
               struct route **ret);
struct route *route_free(struct route *route); /* who waits for `accepted` is told -E_CANCELLED; no other events */

/* Takes an encoded envelope for that destination.  0: `accepted` tells when it is kept.  -E_EXISTS: it is kept already, acknowledge it.
 * To be tried again: -E_SPOOL_FULL, -E_BUSY, -E_NO_MEMORY.  For good: -E_MESSAGE, -E_TOO_LONG, -E_ENVELOPE_EXPIRED, -E_ENVELOPE_LOOP,
 * -E_ENVELOPE_RETIRED, -E_LIMIT (too many destinations). */
int route_accept(struct route *route, const struct id *destination, struct str bytes, int64_t now_ms, void *token);
/* The same where envelope_read() has been asked already. */
int route_accept_read(struct route *route, const struct id *destination, const murmesh_Envelope *envelope, struct str bytes,
                      int64_t now_ms, void *token);
bool route_refused_for_good(int err);

/* As spool_sync_...(): begin and end on the router's thread, spool_sync_run() on any.  NULL: nothing to do, one is under way, or one has failed
 * since the last tick. */
struct spool_sync *route_sync_begin(struct route *route);
void route_sync_end(struct route *route, int64_t now_ms);

/* ---- a destination's link ---- */
int route_attach(struct route *route,
                 const struct id *destination); /* with no credit; -E_LIMIT, -E_NO_MEMORY, -E_ENVELOPE_RETIRED */
void route_credit(struct route *route, const struct id *destination, uint32_t envelopes);
/* What was sent and not acknowledged waits again. */
void route_detach(struct route *route, const struct id *destination);
/* 1: appended the next envelope, with this node as its last hop, and took one credit; 0: nothing, or no credit.  -E_NO_MEMORY. */
int route_next(struct route *route, const struct id *destination, int64_t now_ms, struct buf *out);
/* The destination's answer: it has it. */
void route_delivered(struct route *route, const struct id *destination, const struct id *envelope, int64_t now_ms);
/* It does not take it: retry_ms 0 = for good, a dead letter; else nothing is sent to it for so long. */
void route_refused(struct route *route, const struct id *destination, const struct id *envelope, uint64_t retry_ms, int64_t now_ms);

/* Out of the mesh: what waits for it is dropped, nothing more is taken until the next start (the caller knows better then). */
void route_retire(struct route *route, const struct id *destination, int64_t now_ms);

/* Every ROUTE_TICK_MS: expires, compacts, looks for room. */
void route_tick(struct route *route, int64_t now_ms);

/* ---- for people ---- */
struct route_queue {
	struct id destination;
	size_t waiting, sent; /* sent: of waiting, without an answer yet */
	uint64_t bytes;
	int64_t oldest_ms; /* when the oldest came, 0 = none waits */
	bool attached, retired;
	uint64_t dead[ROUTE_DEADS], replaced; /* replaced: states by newer ones, since the start */
	int64_t dead_last_ms;                 /* 0 = never */
};
/* All destinations for which something waits, or that have dead letters; *at is NULL at first.  Nothing must change between two calls. */
bool route_queue_next(const struct route *route, const void **at, struct route_queue *ret);
bool route_queue_of(const struct route *route, const struct id *destination, struct route_queue *ret);
/* The ids of what waits there, the next first; up to n.  Returns how many. */
struct route_waiting {
	struct id id;
	enum _murmesh_Priority priority;
	int64_t came_ms, expires_ms;
	size_t bytes;
	bool sent;
};
size_t route_queue_list(const struct route *route, const struct id *destination, struct route_waiting *ret, size_t n);
void route_spool_stats(const struct route *route, struct spool_stats *ret);
#endif
