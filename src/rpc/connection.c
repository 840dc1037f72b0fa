#include "rpc/connection.h"

#include <errno.h>

#include "base/err.h"
#include "base/mem.h"
#include "stream/stream.h"

#define PULL_BUDGET       ((size_t)128 << 10) /* data bytes taken out of the session at once */
#define UNSENT_MAX        ((size_t)1 << 20)
#define ROUNDS_MAX        4                   /* pulls, or reads of a scratch buffer, before others have their turn */
#define READ_MUCH         ((ssize_t)16 << 10) /* where less came there is mostly no more, and else the loop comes back */
#define STREAM_WINDOW     (256u << 10)
#define CONNECTION_WINDOW (1u << 20)
#define LINGER_MS         2000 /* for the peer to take what was sent last */

static void connection_done(struct rpc_connection *connection)
{
	io_task_cancel(&connection->flush);
	io_timer_free(connection->timer);
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

static void calls_close(struct list *calls)
{
	while (!list_empty(calls))
		call_closed(LIST_ENTRY(calls->next, struct rpc_call, node));
}

struct rpc_connection *rpc_connection_free(struct rpc_connection *connection)
{
	if (!connection || connection->dying)
		return NULL;
	connection->dying = true;
	connection->inside++;
	LIST_EACH(at, &connection->calls) {
		struct rpc_call *call = LIST_ENTRY(at, struct rpc_call, node);
		h2_stream_set_events(call->stream, NULL, NULL);
		call->stream = NULL;
		call->status = -E_CLOSED;
	}
	calls_close(&connection->calls);
	calls_close(&connection->abandoned);
	leave(connection);
	return NULL;
}

/* The end, told once; nothing is done with the stream afterwards. */
static void fail(struct rpc_connection *connection, int err)
{
	if (connection->dying || connection->failed)
		return;
	if (err == -ECONNRESET || err == -EPIPE)
		err = -E_CLOSED;
	if (err == -E_CLOSED && h2_error(connection->session))
		err = h2_error(connection->session);
	connection->failed = true;
	io_task_cancel(&connection->flush);
	if (connection->timer)
		io_timer_stop(connection->timer);
	stream_want(connection->stream, 0);
	if (connection->events->closed)
		connection->events->closed(connection->ctx, err);
	else if (connection->at)
		rpc_connection_drop(connection->at);
	else
		rpc_connection_free(connection);
}

static void on_timer(void *ctx);

/* Both sides are done.  Closing at once could make the kernel throw away what was sent last: the peer closes first, or time does. */
static void finish(struct rpc_connection *connection)
{
	if (connection->finished)
		return;
	connection->finished = true;
	if (!connection->timer)
		connection->timer = io_timer_new(connection->loop, on_timer, connection);
	if (!connection->timer || stream_close_write(connection->stream) < 0)
		return fail(connection, -E_CLOSED);
	io_timer_start(connection->timer, LINGER_MS, 0);
	stream_want(connection->stream, STREAM_READ);
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

/* 0: all is sent; -EAGAIN: the rest goes on when the stream is writable. */
static int flush(struct rpc_connection *connection)
{
	int err = send_unsent(connection);
	for (unsigned rounds = 0; err == 0 && !connection->dying && h2_wants_pull(connection->session); rounds++) {
		if (rounds == ROUNDS_MAX)
			return -EAGAIN;
		err = h2_pull(connection->session, PULL_BUDGET, &connection->unsent);
		if (err == 0 && !buf_len(&connection->unsent))
			break; /* the windows are used up */
		if (err == 0)
			err = send_unsent(connection);
	}
	return err;
}

static void on_flush(void *ctx)
{
	struct rpc_connection *connection = ctx;
	connection->inside++;
	calls_close(&connection->abandoned);
	int err = connection->dying || connection->failed || connection->finished ? 0 : flush(connection);
	buf_trim(&connection->unsent);
	if (err == -EAGAIN && !connection->dying)
		stream_want(connection->stream, STREAM_READ | STREAM_WRITE);
	else if (err < 0)
		fail(connection, err);
	else if (!connection->dying && h2_finished(connection->session))
		finish(connection);
	leave(connection);
}

/* Returns why it stopped reading: -EAGAIN, an error, -E_CLOSED at the end. */
static int receive(struct rpc_connection *connection)
{
	uint8_t *scratch = io_loop_scratch(connection->loop);
	int err = 0;
	for (unsigned rounds = 0; err == 0; rounds++) {
		ssize_t n =
		        rounds < ROUNDS_MAX && !connection->dying ? stream_read(connection->stream, scratch, IO_SCRATCH) : -EAGAIN;
		if (n <= 0)
			return n == 0 ? -E_CLOSED : (int)n;
		if (!connection->finished)
			err = h2_receive(connection->session, scratch, (size_t)n);
		if (err == 0 && n < READ_MUCH)
			return -EAGAIN;
	}
	if (err == -E_PROTOCOL && h2_pull(connection->session, 0, &connection->unsent) == 0)
		send_unsent(connection); /* a GOAWAY that says why */
	return err;
}

static void on_readable(void *ctx)
{
	struct rpc_connection *connection = ctx;
	connection->inside++;
	connection->heard_ms = io_loop_now_ms(connection->loop);
	int err = receive(connection);
	if (err == -EAGAIN && !connection->dying)
		stream_want(connection->stream, STREAM_READ | (buf_len(&connection->unsent) ? STREAM_WRITE : 0u));
	else if (err < 0)
		fail(connection, err);
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

static void on_timer(void *ctx)
{
	struct rpc_connection *connection = ctx;
	if (connection->finished)
		fail(connection, -E_CLOSED);
	else if (connection->quiet_ms && io_loop_now_ms(connection->loop) - connection->heard_ms >= connection->quiet_ms)
		fail(connection, -E_TIMEOUT);
	else
		h2_ping(connection->session);
}

static int on_request(void *ctx, struct h2_stream *stream, const struct h2_head *head)
{
	struct rpc_connection *connection = ctx;
	if (connection->events->connect && !connection->dying && str_is(h2_head_get(head, ":method"), "CONNECT"))
		return connection->events->connect(connection->ctx, stream, head);
	return call_from_request(connection, stream, head);
}

static void on_settings(void *ctx)
{
	struct rpc_connection *connection = ctx;
	if (connection->events->settings && !connection->dying && !connection->failed)
		connection->events->settings(connection->ctx);
}

static void on_wants_pull(void *ctx)
{
	struct rpc_connection *connection = ctx;
	if (!connection->dying && !connection->failed)
		io_task_schedule(connection->loop, &connection->flush);
}

static const struct h2_session_events session_events = { on_request, on_wants_pull, NULL, on_settings };

struct rpc_connection *rpc_connection_new(struct io_loop *loop, struct stream *stream,
                                          const struct rpc_connection_settings *settings,
                                          const struct rpc_connection_events *events, void *ctx)
{
	struct rpc_connection *connection = mem_alloc(sizeof *connection);
	const struct h2_settings h2 = { .server = settings->server,
		                        .trusted = settings->trusted_metadata,
		                        .connects = settings->server && events->connect,
		                        .max_streams = settings->max_streams ? settings->max_streams : 100,
		                        .stream_window = STREAM_WINDOW,
		                        .connection_window = CONNECTION_WINDOW,
		                        .queue_max = RPC_QUEUE_MAX };
	if (!connection) {
		stream_free(stream);
		return NULL;
	}
	*connection = (struct rpc_connection){ .loop = loop,
		                               .stream = stream,
		                               .events = events,
		                               .ctx = ctx,
		                               .quiet_ms = settings->quiet_ms,
		                               .queued_max = settings->queued_max,
		                               .server = settings->server,
		                               .trusted_metadata = settings->trusted_metadata };
	list_init(&connection->calls);
	list_init(&connection->abandoned);
	io_task_init(&connection->flush, on_flush, connection);
	buf_init(&connection->unsent, UNSENT_MAX);
	connection->session = h2_session_new(&h2, &session_events, connection);
	if (settings->ping_ms)
		connection->timer = io_timer_new(loop, on_timer, connection);
	if (!connection->session || (settings->ping_ms && !connection->timer)) {
		connection_done(connection);
		return NULL;
	}
	connection->heard_ms = io_loop_now_ms(loop);
	if (connection->timer)
		io_timer_start(connection->timer, settings->ping_ms, settings->ping_ms);
	stream_set_events(stream, &stream_events, connection);
	stream_want(stream, STREAM_READ);
	io_task_schedule(loop, &connection->flush);
	return connection;
}

void rpc_connection_drop(struct rpc_connection **at)
{
	struct rpc_connection *connection = *at;
	*at = NULL;
	rpc_connection_free(connection);
}

struct rpc_connection *rpc_connection_plain(struct io_loop *loop, int fd, const struct rpc_connection_settings *settings,
                                            const struct rpc_connection_events *events, void *ctx)
{
	const struct stream_settings plain = { .fd = fd };
	struct stream *stream = stream_new(loop, &plain, &stream_events, NULL);
	return stream ? rpc_connection_new(loop, stream, settings, events, ctx) : NULL;
}

void rpc_connection_replace(struct rpc_connection **at, struct io_loop *loop, int fd,
                            const struct rpc_connection_settings *settings, const struct rpc_connection_events *events, void *ctx)
{
	rpc_connection_drop(at);
	*at = rpc_connection_plain(loop, fd, settings, events, ctx);
	if (*at)
		(*at)->at = at;
}

struct stream *rpc_connection_stream(const struct rpc_connection *connection)
{
	return connection->stream;
}

struct h2_session *rpc_connection_session(const struct rpc_connection *connection)
{
	return connection->session;
}

void rpc_connection_allow(struct rpc_connection *connection, uint32_t max_streams)
{
	h2_allow(connection->session, max_streams);
}

void rpc_connection_goaway(struct rpc_connection *connection)
{
	h2_goaway(connection->session);
}

bool rpc_connection_has_room(const struct rpc_connection *connection)
{
	return h2_has_room(connection->session);
}

size_t rpc_connection_calls(const struct rpc_connection *connection)
{
	return connection->n_calls;
}
