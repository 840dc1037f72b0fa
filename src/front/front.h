/* front/front.h: the demultiplexer: accepts, looks at the first bytes without taking them, passes the descriptor on.
 *
 * The front never consumes a byte of a connection that it passes and never ends TLS.  A client that asks in clear HTTP gets a redirect
 * to https, everything else that is not for a role here is closed.
 *
 * Ownership: the listener and the targets stay the caller's, who frees the front before closing them.  Accepted descriptors are the
 *            front's until passed.  front_free() closes those that still wait.
 * Threads:   all calls on the loop's thread.  Logging: none; callers read the counters. */
#ifndef FRONT_FRONT_H
#define FRONT_FRONT_H
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct io_loop;
struct front;

/* Where a connection belongs; also the one byte that travels with its descriptor (fd_send() over a PASS socket). */
enum front_kind {
	FRONT_LINK,     /* TLS; ALPN offers h2 or murmesh-relay/1, and no http/1.1 */
	FRONT_RELAY,    /* a relay leg: its preamble starts with "MMR1" (relay/relay.h) */
	FRONT_WEB,      /* TLS; ALPN offers http/1.1, or there is none (RFC 7301) */
	FRONT_CLOUD,    /* "SSH-2.0" (RFC 4253 section 4.2) */
	FRONT_REDIRECT, /* "GET ": answered here, never passed */
	FRONT_SERVE,    /* TLS; ALPN offers murmesh-serve/1 alone: who comes serves HTTP/2 there, and is called */
	FRONT_KINDS,
};

/* No decision needs more bytes than this. */
#define FRONT_PEEK_MAX ((size_t)16 << 10)

/* Decides on the bytes seen so far.  0: *ret_kind is set.  -EAGAIN: *ret_need is how many bytes there have to be in all before asking
 * again makes sense (more than bytes.len, at most FRONT_PEEK_MAX).  Anything else: close.  -E_NOT_TLS: nothing that is served
 * here; -E_PROTOCOL: a malformed TLS ClientHello (RFC 8446 section 4.1.2); -E_UNSUPPORTED: no ALPN name of ours in its list;
 * -E_TOO_LONG: undecided within FRONT_PEEK_MAX. */
int front_classify(struct str bytes, enum front_kind *ret_kind, size_t *ret_need);

struct front_settings {
	int targets[FRONT_KINDS]; /* PASS socket of each kind; -1 = not served: such connections are closed */
	const char *
	        redirect_host; /* host[:port] of the https address; NULL = the local address of each connection; kept, not copied */
	uint64_t deadline_ms;  /* for a client to say who it is */
	uint64_t stuck_ms;     /* a target whose queue stays full for so long is not served until it reads again */
	size_t max_waiting;    /* connections undecided or not yet passed; beyond, the oldest undecided one is closed */
	size_t max_per_address; /* of these from one IPv4 address or IPv6 /64; beyond, the new one is closed */
	size_t max_loopback;    /* the same for each loopback address */
};
/* No targets; 10 s, 1 s, 8192, 256, 6000. */
extern const struct front_settings front_settings_default;

struct front_counters {
	uint64_t accepted;
	uint64_t passed[FRONT_KINDS];
	uint64_t redirected;
	uint64_t unserved;       /* closed: its kind has no target, or the target is gone or stuck */
	uint64_t unknown;        /* closed: front_classify() refused the bytes */
	uint64_t left;           /* the client closed before it could be decided */
	uint64_t expired;        /* closed: deadline */
	uint64_t evicted;        /* closed: max_waiting */
	uint64_t address_limit;  /* closed: max_per_address or max_loopback */
	uint64_t no_descriptors; /* closed at once: this process or machine has no descriptor left */
	uint64_t no_memory;      /* closed: no memory to wait for it */
	uint64_t queue_full;     /* times that a target's queue was found full and accepting paused */
	size_t waiting;          /* now */
};

/* Starts accepting.  NULL when memory or descriptors are short. */
struct front *front_new(struct io_loop *loop, int listener, const struct front_settings *settings);
struct front *front_free(struct front *front); /* accepts NULL, returns NULL */
const struct front_counters *front_counters(const struct front *front);
#endif
