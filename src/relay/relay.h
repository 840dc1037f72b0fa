/* relay/relay.h: rendezvous of two legs by ticket, then splicing between them until both have ended.
 *
 * A leg is a connected stream socket whose first bytes are the preamble; behind it stands what belongs to the other end, untouched:
 *
 *   0  "MMR1"      4  u8 version, 1      5  u8 role: 0 client, 1 agent      6  u16 flags, 0
 *   8  ticket, 32 random bytes          40  8 bytes, zero                 48  the stream
 *
 * Integers are big-endian.  The relay answers nothing: a leg whose ticket is good becomes transparent, any other is reset.
 * A clean end of one direction is passed on as such; anything else (a reset, an expiry, a revocation, the relay's own end, even by
 * SIGKILL) reaches a TCP leg as a reset, so that truncated data never looks complete.
 *
 * Ownership: descriptors given to relay_leg() are the relay's from then on.  Logging: none; callers read the counters and events.
 * Threads:   all calls on the loop's thread.  SIGPIPE: relay_new() makes the process ignore it, since splice(2) knows no other way. */
#ifndef RELAY_RELAY_H
#define RELAY_RELAY_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/id.h"

struct io_loop;
struct relay;

#define RELAY_PREAMBLE 48 /* bytes */
#define RELAY_TICKET   32
enum relay_side { RELAY_CLIENT, RELAY_AGENT };

/* What somebody who opens a leg writes first. */
void relay_preamble_write(enum relay_side side, const uint8_t ticket[RELAY_TICKET], uint8_t out[RELAY_PREAMBLE]);

struct relay_settings {
	size_t max_pairs;    /* announced and spliced ones together */
	size_t max_arriving; /* legs that have not yet sent their preamble; beyond, the oldest is reset; at least 1 */
	size_t pipes_large;  /* of 1 MiB; for all processes of one uid together the kernel gives 64 (pipe-user-pages-soft) */
	size_t pipes_small;  /* of 64 KiB, when the large ones are in use; then a buffer of the loop serves */
	uint64_t arrival_ms; /* for a leg to send its preamble */
	size_t max_held;     /* agents' legs with a ticket that is not announced yet; beyond, the oldest is reset.  0: none waits */
	uint64_t held_ms;    /* for the announcement */
};
/* 8192, 4096, 48, 256, 10 s; 0. */
extern const struct relay_settings relay_settings_default;

struct relay_ticket {
	uint8_t hash[32]; /* SHA-256 of the ticket */
	struct id pair;
	enum relay_side side;
	uint32_t expiry_s; /* from now; 30 is usual, at most RELAY_EXPIRY_MAX */
};
#define RELAY_EXPIRY_MAX 3600

/* How a pair goes, or how one of which a leg had come has ended. */
struct relay_report {
	struct id pair;
	/* 0: it goes on, or both directions came to their end.  -E_PEER_GONE: the other leg did not come in time.  -E_CANCELLED: relay_close_pair().
	 * -errno: as the broken leg gave it.  All but 0 reset both legs. */
	int result;
	uint64_t bytes[2]; /* sent on, by side of their sender; the preamble is not counted */
	bool came[2];      /* whose legs have come */
};

struct relay_events {
	void (*ended)(void *ctx, const struct relay_report *report); /* may call anything here but relay_free() */
	void (*news)(void *ctx); /* relay_news() has something to tell; not again before that was called; NULL: nobody asks */
};

struct relay_counters {
	uint64_t legs, refused;       /* handed in; reset for their preamble or ticket */
	uint64_t late, evicted;       /* no preamble in time; max_arriving */
	uint64_t paired, finished;    /* both legs came; both directions ended cleanly */
	uint64_t broken, cancelled;   /* a leg failed; relay_close_pair() */
	uint64_t alone, unused;       /* one leg came in time; none did */
	uint64_t bytes;               /* sent on */
	size_t arriving, held, pairs; /* now */
	size_t pipes;                 /* now, free ones included */
};

/* events and ctx are kept by reference.  NULL when memory is short. */
struct relay *relay_new(struct io_loop *loop, const struct relay_settings *settings, const struct relay_events *events, void *ctx);
/* Resets all legs, without events.  Accepts NULL, returns NULL. */
struct relay *relay_free(struct relay *relay);

/* Expects a leg: once for each side of a pair, in any order, before both have come.  It may be held already: then `ended` may come before
 * it returns.  -E_EXISTS: this side or ticket was announced
 * before; -E_FULL: max_pairs; -E_NUMBER: side or expiry; -E_NO_MEMORY. */
int relay_announce(struct relay *relay, const struct relay_ticket *ticket);
/* The same for one leg alone: the other one this relay opens itself, to a relay further on, with the same preamble.  `to` is copied. */
struct socket_address;
int relay_forward(struct relay *relay, const struct relay_ticket *ticket, const struct socket_address *to);
/* fd: connected and non-blocking, at the first byte of its preamble.  May call `ended` before it returns. */
void relay_leg(struct relay *relay, int fd);
/* At once, whatever its state: its tickets are void, its legs are reset.  An unknown pair is no error. */
void relay_close_pair(struct relay *relay, const struct id *pair);
/* Tells of each pair whose second leg has come, or of which bytes were sent on, since it was told of; not of those that go on to a relay further on.
 * `tell` may call nothing here; false: not this one, and no more now.  Returns whether all was told. */
bool relay_news(struct relay *relay, bool (*tell)(void *ctx, const struct relay_report *report), void *ctx);
/* All that there are are news, also those that were told of. */
void relay_news_all(struct relay *relay);
const struct relay_counters *relay_counters(const struct relay *relay);
#endif
