/* events/events.h: the store of what devices reported: batches of datagrams under growing sequence numbers, for those who follow.
 *
 * Kept in memory, bounded by bytes and by age: the oldest batches go first, and who comes too late for them is told how many.
 * Times are milliseconds of the caller's monotonic clock.  Logging: none.  Threads: one. */
#ifndef EVENTS_EVENTS_H
#define EVENTS_EVENTS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/id.h"
#include "base/str.h"

#define EVENTS_CHUNK     ((size_t)256 << 10) /* memory is taken and given back in pieces of this size */
#define EVENTS_BATCH_MAX ((size_t)16 << 10)  /* bytes of one batch's datagrams */

struct events_settings {
	size_t max_bytes;    /* at least two chunks */
	uint64_t max_age_ms; /* a batch goes when it is older, at the latest an eighth later */
};
/* 32 MiB, 10 minutes. */
extern const struct events_settings events_settings_default;

struct events_batch {
	uint64_t sequence; /* grows by one with each batch, from 1 */
	uint64_t missed;   /* batches that were to come before this one, and are not kept any more */
	struct id device;
	uint64_t left_out; /* events of this device that were not taken in front of these */
	uint32_t left_out_datagrams;
	bool gone; /* the device's link has ended */
	struct str datagrams;
};

/* Where somebody who follows stands; { .after = N } = behind batch N, 0 = at the oldest. */
struct events_cursor {
	uint64_t after;
	uint64_t chunk; /* the store's own */
	size_t offset;
};

struct events;
struct events *events_new(const struct events_settings *settings); /* NULL: memory is short */
struct events *events_free(struct events *events);
/* Keeps a copy; sequence and missed are not looked at.  -E_TOO_LONG, -E_NO_MEMORY. */
int events_append(struct events *events, uint64_t now_ms, const struct events_batch *batch);
/* Forgets what is too old.  To be called now and then, also when nothing is appended. */
void events_expire(struct events *events, uint64_t now_ms);
/* The next batch, or false.  Its datagrams are valid until the store changes. */
bool events_next(const struct events *events, struct events_cursor *cursor, struct events_batch *ret);
uint64_t events_last(const struct events *events); /* sequence of the newest; 0 = there was none */
size_t events_bytes(const struct events *events);  /* of memory held */
#endif
