/* rpc/connection.h: what connection.c and call.c share. */
#ifndef RPC_CONNECTION_H
#define RPC_CONNECTION_H
#include "base/list.h"
#include "h2/grpc.h"
#include "h2/h2.h"
#include "io/io.h"
#include "rpc/rpc.h"

/* Bytes of one call that wait for the peer's window.  A proxy stops its source at half of it; what may come nevertheless are
 * one window and the messages of which parts had come: they must fit into the other half. */
#define RPC_QUEUE_MAX ((size_t)1 << 20)

struct rpc_connection {
	struct io_loop *loop;
	struct stream *stream;
	struct h2_session *session;
	const struct rpc_connection_events *events;
	void *ctx;
	struct rpc_connection **at; /* where it stands, of rpc_connection_replace(); NULL: its owner knows */
	struct io_timer *timer;     /* keepalive; at last, for the peer to close */
	struct io_task flush;
	struct list calls;
	struct list abandoned; /* calls whose `closed` is still to be told */
	struct buf unsent;     /* pulled from the session, not yet taken by the stream */
	uint64_t heard_ms;
	size_t n_calls, queued_max;
	unsigned quiet_ms, inside; /* inside: depth of h2 calls, during which the session must live */
	bool server, trusted_metadata, dying, failed, finished;
};

struct rpc_call {
	struct list node;
	struct rpc_connection *connection; /* NULL once closed */
	struct h2_stream *stream;          /* NULL once it is of no more use */
	const struct h2_head *head;        /* inside `open` only */
	const struct rpc_method *method;
	const struct rpc_call_events *events;
	void *ctx;
	struct grpc_reader reader;
	size_t held; /* bytes whose window is not given back */
	char *why;
	int status; /* what the peer's trailers (client) or our finish (server) said, then what `closed` says; 1 = nothing yet */
	unsigned refs;
	struct identity peer;
	struct rpc_origin *origin; /* NULL: none */
	bool has_peer, believed /* the origin */, paused, head_sent, finished, end_sent, peer_ended;
};

/* ---- origin.c ---- */
struct origin_text {
	char peer[IDENTITY_TEXT_SIZE], via[RPC_VIA_MAX * ID_TEXT_SIZE], component[ID_TEXT_SIZE];
};
/* NULL when the head names none.  -E_PROTOCOL, -E_ID, -E_LIMIT, -E_CERTIFICATE_IDENTITY, -E_NO_MEMORY. */
int origin_read(const struct h2_head *head, struct rpc_origin **ret);
/* What a proxy passes on; the metadata points into text.  Returns their number. */
size_t origin_write(const struct rpc_call *call, struct origin_text *text, struct rpc_metadata metadata[RPC_METADATA_MAX]);

int call_from_request(struct rpc_connection *connection, struct h2_stream *stream, const struct h2_head *head);
void call_closed(struct rpc_call *call); /* takes it from its connection, tells the owner, drops the connection's reference */
#endif
