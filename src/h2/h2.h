/* h2/h2.h: one HTTP/2 session (RFC 9113) on bytes in memory: no sockets, no clocks, no logging.  nghttp2 does the protocol.
 *
 * Bytes that came go into h2_receive(), bytes to send come out of h2_pull(); callbacks run inside h2_receive() and h2_pull() only.
 * Inside a callback no session may be freed; streams are freed by the session after their `closed`.
 * Memory: a session lends its 16 KiB frame buffer from one buffer of the process (see lend.c), hence one thread only. */
#ifndef H2_H2_H
#define H2_H2_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/str.h"

struct h2_session;
struct h2_stream;

#define H2_HEAD_MAX   8192 /* bytes of one header block, names and values */
#define H2_FIELDS_MAX 32

struct h2_field {
	struct str name, value; /* names in lower case; pseudo fields with their colon */
};
struct h2_head {
	struct h2_field fields[H2_FIELDS_MAX];
	size_t n;
};
/* The value, or the empty view with ptr == NULL when there is none. */
struct str h2_head_get(const struct h2_head *head, const char *name);
int h2_head_add(struct h2_head *head, struct str name, struct str value); /* -E_FULL; borrows */

struct h2_session_events {
	/* Server: a request came.  Sets events with h2_stream_set_events() and returns 0, or a negative code: the stream is reset
	 * (-E_NO_MEMORY: with REFUSED_STREAM, so that the peer may try again). */
	int (*request)(void *ctx, struct h2_stream *stream, const struct h2_head *head);
	void (*wants_pull)(void *ctx); /* there is something to send; called often, cheap to repeat */
	void (*pong)(void *ctx);       /* the answer to h2_ping() */
	void (*settings)(void *ctx);   /* the peer has said its own, also when it says them anew; may be NULL */
};
struct h2_stream_events {
	void (*response)(void *ctx, const struct h2_head *head);   /* client; NULL in a server */
	void (*data)(void *ctx, const uint8_t *bytes, size_t len); /* give the window back with h2_stream_consume() */
	void (*trailers)(void *ctx, const struct h2_head *head);
	void (*end)(void *ctx);                    /* the peer sends no more */
	void (*sent)(void *ctx);                   /* our own end has gone out */
	void (*drained)(void *ctx);                /* the outgoing queue fell below half of its maximum */
	void (*closed)(void *ctx, uint32_t error); /* last event; HTTP/2 error code, 0 = NO_ERROR */
};

struct h2_settings {
	bool server;
	bool trusted;               /* server: the peer may reset any number of streams; others 1,000 and then 33 a second */
	bool connects;              /* server: takes extended CONNECT, requests with :protocol (RFC 8441), and says so */
	uint32_t max_streams;       /* that the peer may open at once */
	uint32_t stream_window;     /* bytes a peer may send ahead on one stream, until consumed */
	uint32_t connection_window; /* and on all together, until h2_receive() has taken them */
	size_t queue_max;           /* bytes queued for sending on one stream */
};
struct h2_session *h2_session_new(const struct h2_settings *settings, const struct h2_session_events *events, void *ctx);
struct h2_session *h2_session_free(struct h2_session *session); /* closes its streams first (`closed` comes with CANCEL) */

/* 0, or a negative code: the session is broken; pull once more (it may hold a GOAWAY), then close. */
int h2_receive(struct h2_session *session, const uint8_t *bytes, size_t len);
/* Appends what is to be sent, roughly up to budget bytes of data (control frames are never held back).  Returns 0 or a negative code. */
int h2_pull(struct h2_session *session, size_t budget, struct buf *out);
bool h2_wants_pull(const struct h2_session *session);
bool h2_finished(const struct h2_session *session);             /* GOAWAY was exchanged and no stream is left */
int h2_error(const struct h2_session *session);                 /* 0, or -E_PROTOCOL: one side ended the session with an error */
size_t h2_queued(const struct h2_session *session);             /* bytes of all streams that wait for the peer's windows */
bool h2_has_room(const struct h2_session *session);             /* does the peer take another stream now? */
int h2_allow(struct h2_session *session, uint32_t max_streams); /* that the peer may open at once, from now on */
bool h2_connects(const struct h2_session *session);             /* has the peer said that it takes extended CONNECT? */
int h2_ping(struct h2_session *session);
void h2_goaway(struct h2_session *session); /* no new streams; open ones go on */

/* Client: opens a stream; it waits while the peer allows no more.  NULL when it cannot (memory, no ids, GOAWAY, head too long). */
struct h2_stream *h2_request(struct h2_session *session, const struct h2_head *head, const struct h2_stream_events *events,
                             void *ctx);
void h2_stream_set_events(struct h2_stream *stream, const struct h2_stream_events *events, void *ctx);
/* Server: response head.  With `last` the stream ends there (gRPC's trailers-only). */
int h2_stream_respond(struct h2_stream *stream, const struct h2_head *head, bool last);
/* Queues bytes; -E_FULL when the queue's maximum would be passed (nothing is queued then), -E_CLOSED after h2_stream_end(). */
int h2_stream_send(struct h2_stream *stream, const void *bytes, size_t len);
/* Queues two pieces as one. */
int h2_stream_send2(struct h2_stream *stream, const void *a, size_t a_len, const void *b, size_t b_len);
size_t h2_stream_room(const struct h2_stream *stream);            /* bytes that still fit */
void h2_stream_limit(struct h2_stream *stream, size_t queue_max); /* instead of the session's; before anything is queued */
/* Ends our side after what is queued: with trailers (server) or without (NULL). */
int h2_stream_end(struct h2_stream *stream, const struct h2_head *trailers);
void h2_stream_consume(struct h2_stream *stream, size_t len); /* the owner is done with that many bytes */
void h2_stream_reset(struct h2_stream *stream, uint32_t error);
struct h2_session *h2_stream_session(const struct h2_stream *stream);

#define H2_NO_ERROR       0x0
#define H2_PROTOCOL_ERROR 0x1
#define H2_INTERNAL_ERROR 0x2
#define H2_REFUSED_STREAM 0x7
#define H2_CANCEL         0x8
#define H2_CONNECT_ERROR  0xa
#endif
