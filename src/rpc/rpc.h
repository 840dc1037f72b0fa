/* rpc/rpc.h: gRPC calls (grpc/doc/PROTOCOL-HTTP2.md) over one stream: TLS between machines, plain on UNIX sockets between roles.
 *
 * Connections and calls live on one loop.  Events come from the loop only.  rpc_connection_free() may be called inside any
 * event; it first ends all calls (`closed` with -E_CLOSED).  A call is freed by the connection after its `closed`, unless its owner
 * holds a reference.  A message given to an event is valid during that event only.
 * Errors travel as grpc-status, with our own code in the trailer `murmesh-error` ("E1210") and the cause in grpc-message. */
#ifndef RPC_RPC_H
#define RPC_RPC_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "crypto/certificate.h"
#include "rpc/method.h"

struct io_loop;
struct stream;
struct rpc_connection;
struct rpc_call;
struct h2_session;
struct h2_stream;
struct h2_head;

#define RPC_MESSAGE_MAX ((size_t)64 << 10) /* bytes of one encoded message */

struct rpc_connection_events {
	/* Server: a call came.  Accept it with rpc_call_accept() or rpc_serve() and return 0, or a negative code, which is its answer. */
	int (*open)(void *ctx, struct rpc_call *call);
	void (*ready)(void *ctx); /* connected, TLS done (not when the stream was so before it came here); may be NULL */
	/* Once: connecting failed, or the connection ended (-E_CLOSED, also by a reset; -E_PROTOCOL; -E_TIMEOUT: keepalive).  Its calls
	 * end when it is freed, which is the owner's to do; NULL: it frees itself. */
	void (*closed)(void *ctx, int err);
	/* Server: a request that is no call but an extended CONNECT (RFC 8441), as in h2_session_events; NULL: none is taken. */
	int (*connect)(void *ctx, struct h2_stream *stream, const struct h2_head *head);
	void (*settings)(void *ctx); /* the peer has said what it takes: h2_connects(), h2_has_room(); may be NULL */
};
/* Keepalive between machines: a dead peer is noticed after RPC_QUIET_MS, at the next ping, i.e. within 45 s. */
#define RPC_PING_MS  15000
#define RPC_QUIET_MS 30000
struct rpc_connection_settings {
	bool server;
	bool trusted_metadata; /* the other side is the link role: believe its murmesh-peer */
	uint32_t max_streams;  /* server; 0 = 100 */
	size_t queued_max; /* bytes of all calls that wait for the peer to read: what comes behind is refused; 0 = no bound but that of each call */
	unsigned ping_ms, quiet_ms; /* keepalive: ping every, give up when nothing came for; 0 = none */
};
/* Takes the stream over, also when it fails (NULL). */
struct rpc_connection *rpc_connection_new(struct io_loop *loop, struct stream *stream,
                                          const struct rpc_connection_settings *settings,
                                          const struct rpc_connection_events *events, void *ctx);
struct rpc_connection *rpc_connection_free(struct rpc_connection *connection);
/* Frees the one that stands there, where nobody finds it from now on, nor its calls in their `closed`. */
void rpc_connection_drop(struct rpc_connection **at);
/* For a descriptor without TLS, e.g. a role's "rpc-to:NAME".  Takes it over. */
struct rpc_connection *rpc_connection_plain(struct io_loop *loop, int fd, const struct rpc_connection_settings *settings,
                                            const struct rpc_connection_events *events, void *ctx);
/* The same in the place of one that is dropped; NULL there when memory is short.  Without a `closed` it is dropped there when it ends; the place has to
 * stay as long as it lives. */
void rpc_connection_replace(struct rpc_connection **at, struct io_loop *loop, int fd,
                            const struct rpc_connection_settings *settings, const struct rpc_connection_events *events, void *ctx);
struct stream *rpc_connection_stream(const struct rpc_connection *connection);
/* For streams beside the calls; its owner takes their events away before it frees the connection. */
struct h2_session *rpc_connection_session(const struct rpc_connection *connection);
/* From now on the peer may have so many calls open at once. */
void rpc_connection_allow(struct rpc_connection *connection, uint32_t max_streams);
void rpc_connection_goaway(struct rpc_connection *connection);         /* no new calls; the running ones go on */
bool rpc_connection_has_room(const struct rpc_connection *connection); /* the peer takes another call now */
size_t rpc_connection_calls(const struct rpc_connection *connection);

struct rpc_call_events {
	void (*message)(void *ctx, const void *message); /* decoded struct; const struct str * in raw calls */
	void (*half_closed)(void *ctx);                  /* the peer sends no more messages; may be NULL */
	void (*writable)(void *ctx);                     /* after -E_FULL there is room again; may be NULL */
	void (*closed)(void *ctx, int err,
	               const char *why); /* last; 0 = ended well; why: text for people, "" when none; may be NULL */
};
#define RPC_METADATA_MAX 4
struct rpc_metadata {
	struct str name, value;
};

/* ---- client ---- */
/* Opens a call; NULL when the connection cannot (memory, closed).  method->request == NULL: raw, messages are struct str. */
struct rpc_call *rpc_call_open(struct rpc_connection *connection, const struct rpc_method *method,
                               const struct rpc_metadata *metadata, size_t n_metadata, const struct rpc_call_events *events,
                               void *ctx);
int rpc_call_half_close(struct rpc_call *call);
/* Unary: done comes exactly once, from the loop or at once inside rpc_connection_free(); response is NULL unless err is 0. */
typedef void (*rpc_unary_done)(void *ctx, int err, const char *why, const void *response);
int rpc_unary(struct rpc_connection *connection, const struct rpc_method *method, const void *request, unsigned timeout_ms,
              rpc_unary_done done, void *ctx);

/* ---- server ---- */
struct str rpc_call_path(const struct rpc_call *call); /* inside `open` only */
void rpc_call_accept(struct rpc_call *call, const struct rpc_method *method, const struct rpc_call_events *events, void *ctx);
/* Who calls: from the TLS certificate, or as the link role says; NULL when nobody showed one. */
const struct identity *rpc_call_peer(const struct rpc_call *call);
/* Where a call has come from, when relays or a component stand between: as the last of them says.  On a connection with trusted_metadata that was checked by whoever
 * passed it on; on others it is the owner's to believe or refuse, and rpc_call_peer() is the relay itself. */
#define RPC_VIA_MAX 8
struct rpc_origin {
	struct identity peer;       /* whom they speak for */
	bool has_peer;              /* else: somebody who has no certificate */
	char address[64];           /* his, as the first relay saw it; "" = not told */
	struct id via[RPC_VIA_MAX]; /* relays, the one nearest to him first */
	size_t n_via;
	struct id
	        component; /* another machine of the server that it came in at: never believed of who calls; set by whoever knows his certificate */
	bool has_component;
};
const struct rpc_origin *rpc_call_origin(const struct rpc_call *call); /* NULL: it came directly */
/* Believes it: its peer is who calls, and rpc_proxy() passes it on.  -E_NO_MEMORY. */
int rpc_call_set_origin(struct rpc_call *call, const struct rpc_origin *origin);
/* Ends the call: 0 or a negative code with a cause ("" or NULL: none).  What is queued goes first; what the client still says is
 * not heard.  `closed` comes later: err as given here, or -E_CANCELLED when the client did not wait for it. */
void rpc_call_finish(struct rpc_call *call, int err, const char *why);
/* One message and a good end. */
void rpc_call_reply(struct rpc_call *call, const void *response);

/* A row of a service table.  unary: called with the one request; answers now or later (with a reference) by rpc_call_reply() or
 * rpc_call_finish().  open: for streaming methods, does rpc_call_accept() itself. */
struct rpc_service {
	const struct rpc_method *method;
	unsigned access; /* the owner's own meaning */
	void (*unary)(void *ctx, struct rpc_call *call, const void *request);
	int (*open)(void *ctx, struct rpc_call *call);
};
const struct rpc_service *rpc_service_find(const struct rpc_service *rows, size_t n, struct str path);
int rpc_serve(const struct rpc_service *row, struct rpc_call *call, void *ctx);

/* ---- both ---- */
/* Encodes and queues; -E_FULL when the queue is full, -E_CLOSED when the call is over, -E_MESSAGE when it does not encode,
 * -E_TOO_LONG (raw) beyond RPC_MESSAGE_MAX. */
int rpc_call_send(struct rpc_call *call, const void *message);
bool rpc_call_alive(const struct rpc_call *call);        /* false once it was cancelled or closed: for those who hold a reference */
bool rpc_call_crowded(const struct rpc_call *call);      /* more than half of the queue is taken: stop producing until `writable` */
void rpc_call_pause(struct rpc_call *call, bool paused); /* give no more window to the peer: it stops soon */
void rpc_call_cancel(struct rpc_call *call);             /* `closed` comes from the loop, whatever the peer does */
void rpc_call_set_events(struct rpc_call *call, const struct rpc_call_events *events, void *ctx);
struct rpc_call *rpc_call_ref(struct rpc_call *call);
void rpc_call_unref(struct rpc_call *call);

/* Passes a call on as it is: `call` (server side, not yet accepted) to a new call on `target` with the peer's identity and the
 * origin in its metadata; messages, ends and back-pressure both ways. */
int rpc_proxy(struct rpc_call *call, struct rpc_connection *target);
#endif
