/* rpc/connection.h: what connection.c and call.c share. */
#ifndef RPC_CONNECTION_H
#define RPC_CONNECTION_H
#include "base/list.h"
#include "h2/grpc.h"
#include "h2/h2.h"
#include "io/io.h"
#include "rpc/rpc.h"

struct rpc_connection {
	struct io_loop *loop;
	struct stream *stream;
	struct h2_session *session;
	const struct rpc_connection_events *events;
	void *ctx;
	struct io_timer *ping;
	struct io_task flush;
	struct list calls;
	struct buf unsent; /* pulled from the session, not yet taken by the stream */
	uint64_t heard_ms;
	size_t n_calls;
	unsigned ping_ms, quiet_ms, inside; /* inside: depth of h2 calls, during which the session must live */
	bool server, trusted_metadata, dying;
};

struct rpc_call {
	struct list node;
	struct rpc_connection *connection; /* NULL once closed */
	struct h2_stream *stream;
	const struct h2_head *head;        /* inside `open` only */
	const struct rpc_method *method;
	const struct rpc_call_events *events;
	void *ctx;
	struct grpc_reader reader;
	size_t held; /* bytes whose window is not given back */
	char *why;
	int status;       /* what the peer's trailers (client) or our finish (server) said; 1 = nothing yet */
	unsigned refs;
	struct identity peer;
	bool has_peer, paused, head_sent, finished, got_head;
};

int call_from_request(struct rpc_connection *connection, struct h2_stream *stream, const struct h2_head *head);
void call_closed(struct rpc_call *call, int err); /* takes it from its connection, tells the owner, drops the connection's reference */
#endif
