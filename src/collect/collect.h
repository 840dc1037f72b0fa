/* collect/collect.h: takes what devices report, checks it, and keeps it in the event store for those who follow.
 *
 * A device speaks of itself alone: whose events these are says its link's certificate, not a datagram.  Every datagram's frame is checked
 * (glouglou/glouglou.h) before it is kept; what is refused is counted by reason, and leaves a gap like any other loss.
 * Bytes in, bytes out; no sockets, no clock: now_ms is the caller's monotonic one.  Logging: none.  Threads: one. */
#ifndef COLLECT_COLLECT_H
#define COLLECT_COLLECT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/id.h"
#include "base/str.h"
#include "events/events.h"
#include "glouglou/glouglou.h"

#define COLLECT_DEVICES_MAX 15000
#define COLLECT_TICK_MS     1000
#define COLLECT_GRACE_MS    10000 /* a device whose link ended may come back before it is told to be gone */
#define COLLECT_ASK_MS      3000  /* between two requests for keyframes of one device */
#define COLLECT_ASKS_MAX    500   /* a tick */
/* What a device may send: cost is its bytes and COLLECT_RECORD_COST for each record.  The burst holds the largest keyframes. */
#define COLLECT_RATE        ((uint64_t)2 << 20) /* a second */
#define COLLECT_BURST       ((uint64_t)48 << 20)
#define COLLECT_RECORD_COST 64

struct collect_counters {
	uint64_t reports, datagrams, records, bytes;
	uint64_t bad[GG_BADS];      /* datagrams refused, by reason */
	uint64_t left_out;          /* datagrams beyond COLLECT_RATE */
	uint64_t lost;              /* datagrams that did not come, by their numbers */
	uint64_t asked, superseded; /* requests for keyframes; links that a newer one of the same device replaced */
	uint64_t not_stored;        /* reports for which there was no memory */
	size_t devices;
};

struct collect_events {
	void (*send)(void *stream, struct str datagrams); /* to the device: as in Report */
	void (*superseded)(void *stream);                 /* another stream is the device's now; this one is not known any more */
	void (*appended)(void *ctx);                      /* the store has something new */
};

struct collect;
struct collect_device;
struct collect *collect_new(const struct events_settings *settings, const struct collect_events *events, void *ctx);
struct collect *collect_free(struct collect *collect); /* without events */
const struct collect_counters *collect_counters(struct collect *collect);
struct events *collect_store(struct collect *collect);

/* A device's link is there; stream stands for it in events.  -E_LIMIT, -E_NO_MEMORY. */
int collect_open(struct collect *collect, const struct id *device, void *stream, uint64_t now_ms, struct collect_device **ret);
void collect_report(struct collect_device *device, struct str datagrams, uint64_t now_ms);
/* The stream has ended; not to be called for one that was superseded. */
void collect_close(struct collect_device *device, uint64_t now_ms);
/* Somebody follows who knows nothing: asks all devices for keyframes, some each tick. */
void collect_ask_all(struct collect *collect);
/* To be called every COLLECT_TICK_MS. */
void collect_tick(struct collect *collect, uint64_t now_ms);
#endif
