#include "rpc/connection.h"

#include <errno.h>

#include "base/err.h"
#include "base/mem.h"
#include "stream/stream.h"

#define PULL_BUDGET  ((size_t)128 << 10) /* data bytes taken out of the session at once */
#define UNSENT_MAX   ((size_t)1 << 20)
#define STREAM_WINDOW     (256u << 10)
#define CONNECTION_WINDOW (1u << 20)
#define QUEUE_MAX         ((size_t)512 << 10) /* more than a window, so that a proxy can always queue what it was sent */

static void connection_done(struct rpc_connection *connection)
{
	io_task_cancel(&connection->flush);
	io_timer_free(connection->ping);
	h2_session_free(connection->session);
	stream_free(connection->stream);
	buf_done(&connection->unsent);
	mem_free(connection);
}

static void leave(struct rpc_connection *connection)
{
	if (--connection->inside == 0 && connection->dying)
		connection_done(connection);
}

struct rpc_connection *rpc_connection_free(struct rpc_connection *connection)
{
	if (!connection || connection->dying)
		return NULL;
	connection->dying = true;
	connection->inside++;
	while (!list_empty(&connection->calls)) {
		struct rpc_call *call = LIST_ENTRY(connection->calls.next, struct rpc_call, node);
		h2_stream_set_events(call->stream, NULL, NULL);
		call_closed(call, -E_CLOSED);
	}
	leave(connection);
	return NULL;
}

static void fail(struct rpc_connection *connection, int err)
{
	if (connection->dying)
		return;
	if (connection->events->closed)
		connection->events->closed(connection->ctx, err);
	else
		rpc_connection_free(connection);
}

/* Sends what is pulled.  0 when all is taken. */
static int send_unsent(struct rpc_connection *connection)
{
	while (buf_len(&connection->unsent)) {
		ssize_t n = stream_write(connection->stream, buf_head(&connection->unsent), buf_len(&connection->unsent));
		if (n < 0)
			return (int)n;
		buf_consume(&connection->unsent, (size_t)n);
	}
	return 0;
}

static void on_flush(void *ctx)
{
	struct rpc_connection *connection = ctx;
	int err = send_unsent(connection);
	connection->inside++;
	while (err == 0 && !connection->dying && h2_wants_pull(connection->session)) {
		err = h2_pull(connection->session, PULL_BUDGET, &connection->unsent);
		size_t pulled = buf_len(&connection->unsent);
		if (err == 0)
			err = send_unsent(connection);
		if (!pulled)
			break;
	}
	buf_trim(&connection->unsent);
	if (err == -EAGAIN)
		stream_want(connection->stream, STREAM_READ | STREAM_WRITE);
	else if (err < 0)
		fail(connection, err);
	else if (!connection->dying && h2_finished(connection->session) && !stream_unsent(connection->stream))
		fail(connection, -E_CLOSED);
	leave(connection);
}

static void on_readable(void *ctx)
{
	struct rpc_connection *connection = ctx;
	uint8_t *scratch = io_loop_scratch(connection->loop);
	int err = 0;
	connection->inside++;
	connection->heard_ms = io_loop_now_ms(connection->loop);
	for (unsigned rounds = 0; !connection->dying; rounds++) {
		ssize_t n = rounds < 8 ? stream_read(connection->stream, scratch, IO_SCRATCH) : -EAGAIN;
		if (n <= 0) {
			err = n == 0 ? -E_CLOSED : (int)n;
			break;
		}
		err = h2_receive(connection->session, scratch, (size_t)n);
		if (err < 0)
			break;
	}
	if (err == -EAGAIN && !connection->dying)
		stream_want(connection->stream, STREAM_READ | (buf_len(&connection->unsent) ? STREAM_WRITE : 0u));
	else if (err < 0 && !connection->dying) {
		if (err == -E_PROTOCOL && h2_pull(connection->session, 0, &connection->unsent) == 0)
			send_unsent(connection); /* the GOAWAY that says why */
		fail(connection, err);
	}
	leave(connection);
}

static void on_writable(void *ctx)
{
	struct rpc_connection *connection = ctx;
	stream_want(connection->stream, STREAM_READ);
	on_flush(connection);
}

static void on_stream_ready(void *ctx)
{
	struct rpc_connection *connection = ctx;
	connection->heard_ms = io_loop_now_ms(connection->loop);
	io_task_schedule(connection->loop, &connection->flush);
	if (connection->events->ready)
		connection->events->ready(connection->ctx);
}

static void on_stream_failed(void *ctx, int err)
{
	fail(ctx, err);
}

static const struct stream_events stream_events = { on_stream_ready, on_readable, on_writable, on_stream_failed };

static void on_ping(void *ctx)
{
	struct rpc_connection *connection = ctx;
	if (io_loop_now_ms(connection->loop) - connection->heard_ms >= connection->quiet_ms)
		fail(connection, -E_TIMEOUT);
	else
		h2_ping(connection->session);
}

static int on_request(void *ctx, struct h2_stream *stream, const struct h2_head *head)
{
	return call_from_request(ctx, stream, head);
}

static void on_wants_pull(void *ctx)
{
	struct rpc_connection *connection = ctx;
	if (!connection->dying)
		io_task_schedule(connection->loop, &connection->flush);
}

static const struct h2_session_events session_events = { on_request, on_wants_pull, NULL };

struct rpc_connection *rpc_connection_new(struct io_loop *loop, struct stream *stream, const struct rpc_connection_settings *settings,
					  const struct rpc_connection_events *events, void *ctx)
{
	struct rpc_connection *connection = mem_alloc(sizeof *connection);
	const struct h2_settings h2 = { settings->server, settings->max_streams ? settings->max_streams : 100, STREAM_WINDOW,
					CONNECTION_WINDOW, QUEUE_MAX };
	if (!connection) {
		stream_free(stream);
		return NULL;
	}
	*connection = (struct rpc_connection){ .loop = loop,
					       .stream = stream,
					       .events = events,
					       .ctx = ctx,
					       .ping_ms = settings->ping_ms,
					       .quiet_ms = settings->quiet_ms,
					       .server = settings->server,
					       .trusted_metadata = settings->trusted_metadata };
	list_init(&connection->calls);
	io_task_init(&connection->flush, on_flush, connection);
	buf_init(&connection->unsent, UNSENT_MAX);
	connection->session = h2_session_new(&h2, &session_events, connection);
	if (connection->ping_ms)
		connection->ping = io_timer_new(loop, on_ping, connection);
	if (!connection->session || (connection->ping_ms && !connection->ping)) {
		connection_done(connection);
		return NULL;
	}
	connection->heard_ms = io_loop_now_ms(loop);
	if (connection->ping)
		io_timer_start(connection->ping, connection->ping_ms, connection->ping_ms);
	stream_set_events(stream, &stream_events, connection);
	stream_want(stream, STREAM_READ);
	io_task_schedule(loop, &connection->flush);
	return connection;
}

struct rpc_connection *rpc_connection_plain(struct io_loop *loop, int fd, const struct rpc_connection_settings *settings,
					    const struct rpc_connection_events *events, void *ctx)
{
	const struct stream_settings plain = { .fd = fd };
	struct stream *stream = stream_new(loop, &plain, &stream_events, NULL);
	return stream ? rpc_connection_new(loop, stream, settings, events, ctx) : NULL;
}

struct stream *rpc_connection_stream(const struct rpc_connection *connection)
{
	return connection->stream;
}

void rpc_connection_goaway(struct rpc_connection *connection)
{
	h2_goaway(connection->session);
}

size_t rpc_connection_calls(const struct rpc_connection *connection)
{
	return connection->n_calls;
}
