#include "web/socket.h"

#include <errno.h>

#include "base/err.h"
#include "base/mem.h"
#include "stream/stream.h"
#include "web/guard.h"
#include "web/socket_own.h"

#define PING_MS    20000
#define QUIET_MS   45000
#define GOODBYE_MS 5000
#define CROWDED    ((size_t)64 << 10)
#define FRAMES_MAX 1000 /* pongs among them: who pings and does not read is not read any more */

static void socket_free(struct web_socket *socket)
{
	list_remove(&socket->node);
	io_task_cancel(&socket->flush);
	io_timer_free(socket->timer);
	if (socket->wslay)
		wslay_event_context_free(socket->wslay);
	stream_free(socket->stream);
	http_left(socket->place);
	guard_release(socket->guard);
	mem_free(socket);
}

/* Its owner hears of it; what still comes is thrown away, so that a reset does not overtake what was sent. */
static void socket_end(struct web_socket *socket)
{
	socket->ended = true;
	io_task_cancel(&socket->flush);
	if (socket->events->closed)
		socket->events->closed(socket->ctx, wslay_event_get_status_code_received(socket->wslay));
	if (socket->broken || stream_close_write(socket->stream) < 0)
		return socket_free(socket);
	io_timer_start(socket->timer, GOODBYE_MS, 0);
	stream_want(socket->stream, STREAM_READ);
}

static void socket_break(struct web_socket *socket)
{
	socket->broken = true;
	if (socket->ended)
		socket_free(socket);
	else
		socket_end(socket);
}

static bool full(const struct web_socket *socket)
{
	return wslay_event_get_queued_msg_length(socket->wslay) > SOCKET_QUEUE_MAX ||
	       wslay_event_get_queued_msg_count(socket->wslay) > FRAMES_MAX;
}

static void want_update(struct web_socket *socket)
{
	bool read = wslay_event_want_read(socket->wslay) && (!socket->paused || socket->closing) && !full(socket);
	bool write = wslay_event_want_write(socket->wslay) || (stream_unsent(socket->stream) && !read);
	stream_want(socket->stream, (read ? STREAM_READ : 0u) | (write ? STREAM_WRITE : 0u));
}

/* Both sides have said goodbye, or nothing more can be said. */
static bool over(const struct web_socket *socket)
{
	return socket->broken ||
	       (!wslay_event_want_read(socket->wslay) && !wslay_event_want_write(socket->wslay) && !stream_unsent(socket->stream));
}

/* ---- what wslay asks for ---- */

static ssize_t on_receive(wslay_event_context_ptr wslay, uint8_t *out, size_t size, int flags, void *ctx)
{
	struct web_socket *socket = ctx;
	(void)flags;
	bool deaf = (socket->paused && !socket->closing) || full(socket);
	ssize_t n = deaf ? -EAGAIN : stream_read(socket->stream, out, size);
	if (n > 0) {
		socket->heard_ms = io_loop_now_ms(socket->web->loop);
		return n;
	}
	wslay_event_set_error(wslay, n == -EAGAIN ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
	return -1;
}

static ssize_t on_send(wslay_event_context_ptr wslay, const uint8_t *bytes, size_t len, int flags, void *ctx)
{
	struct web_socket *socket = ctx;
	(void)flags;
	ssize_t n = stream_write(socket->stream, bytes, len);
	if (n >= 0)
		return n;
	wslay_event_set_error(wslay, n == -EAGAIN ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
	return -1;
}

static void on_message(wslay_event_context_ptr wslay, const struct wslay_event_on_msg_recv_arg *arg, void *ctx)
{
	struct web_socket *socket = ctx;
	(void)wslay;
	bool text = arg->opcode == WSLAY_TEXT_FRAME;
	if (socket->closing || wslay_is_ctrl_frame(arg->opcode))
		return;
	if (!text) /* somebody types */
		guard_used(socket->guard);
	if (socket->events->message)
		socket->events->message(socket->ctx, text, (struct str){ (const char *)arg->msg, arg->msg_length });
}

/* ---- events ---- */

static void on_flush(void *ctx)
{
	struct web_socket *socket = ctx;
	bool sent = wslay_event_send(socket->wslay) == 0;
	/* wslay sends a close frame ahead of messages, and nothing after it. */
	if (sent && socket->closing && wslay_event_get_queued_msg_count(socket->wslay) == 0 &&
	    !wslay_event_get_close_sent(socket->wslay)) {
		sent = wslay_event_queue_close(socket->wslay, socket->code, (uint8_t *)socket->reason, strlen(socket->reason)) ==
		               0 &&
		       wslay_event_send(socket->wslay) == 0;
	}
	if (!sent)
		return socket_break(socket);
	if (over(socket))
		return socket_end(socket);
	want_update(socket);
	if (socket->crowded && !web_socket_crowded(socket) && !socket->closing) {
		socket->crowded = false;
		if (socket->events->writable)
			socket->events->writable(socket->ctx);
	}
}

static void discard(struct web_socket *socket)
{
	ssize_t n;
	while ((n = stream_read(socket->stream, io_loop_scratch(socket->web->loop), IO_SCRATCH)) > 0)
		;
	if (n != -EAGAIN)
		socket_free(socket);
}

static void on_readable(void *ctx)
{
	struct web_socket *socket = ctx;
	if (socket->ended)
		return discard(socket);
	if (wslay_event_recv(socket->wslay) != 0)
		return socket_break(socket);
	on_flush(socket);
}

static void on_writable(void *ctx)
{
	struct web_socket *socket = ctx;
	if (!socket->ended)
		on_flush(socket);
}

static void on_failed(void *ctx, int err)
{
	(void)err;
	socket_break(ctx);
}

static void on_timer(void *ctx)
{
	struct web_socket *socket = ctx;
	const struct wslay_event_msg ping = { WSLAY_PING, NULL, 0 };
	if (socket->ended || socket->closing || io_loop_now_ms(socket->web->loop) - socket->heard_ms >= QUIET_MS)
		return socket_break(socket);
	wslay_event_queue_msg(socket->wslay, &ping);
	on_flush(socket);
}

/* ---- its owner ---- */

struct web_socket *socket_new(struct web *web, struct stream *stream, struct http_connection *place, struct guard *guard,
                              size_t message_max)
{
	static const struct stream_events stream_events = { NULL, on_readable, on_writable, on_failed };
	static const struct wslay_event_callbacks callbacks = { .recv_callback = on_receive,
		                                                .send_callback = on_send,
		                                                .on_msg_recv_callback = on_message };
	static const struct web_socket_events none;
	struct web_socket *socket = mem_alloc(sizeof *socket);
	if (!socket) {
		stream_free(stream);
		http_left(place);
		guard_release(guard);
		return NULL;
	}
	socket->web = web;
	socket->stream = stream;
	socket->place = place;
	socket->events = &none;
	socket->heard_ms = io_loop_now_ms(web->loop);
	socket->guard = guard;
	list_append(&web->sockets, &socket->node);
	io_task_init(&socket->flush, on_flush, socket);
	socket->timer = io_timer_new(web->loop, on_timer, socket);
	if (wslay_event_context_server_init(&socket->wslay, &callbacks, socket) != 0 || !socket->timer) {
		socket_free(socket);
		return NULL;
	}
	wslay_event_config_set_max_recv_msg_length(socket->wslay, message_max);
	stream_set_events(stream, &stream_events, socket);
	io_timer_start(socket->timer, PING_MS, PING_MS);
	want_update(socket);
	return socket;
}

void web_socket_set_events(struct web_socket *socket, const struct web_socket_events *events, void *ctx)
{
	socket->events = events;
	socket->ctx = ctx;
}

int web_socket_send(struct web_socket *socket, bool text, struct str bytes)
{
	const struct wslay_event_msg message = { text ? WSLAY_TEXT_FRAME : WSLAY_BINARY_FRAME, (const uint8_t *)bytes.ptr,
		                                 bytes.len };
	if (socket->closing || socket->ended)
		return -E_CLOSED;
	if (wslay_event_get_queued_msg_length(socket->wslay) + bytes.len > SOCKET_QUEUE_MAX)
		return -E_FULL;
	int err = wslay_event_queue_msg(socket->wslay, &message);
	if (err != 0)
		return err == WSLAY_ERR_NOMEM ? -E_NO_MEMORY : -E_CLOSED;
	io_task_schedule(socket->web->loop, &socket->flush);
	socket->crowded = socket->crowded || web_socket_crowded(socket);
	return 0;
}

bool web_socket_crowded(const struct web_socket *socket)
{
	return wslay_event_get_queued_msg_length(socket->wslay) > CROWDED;
}

void web_socket_pause(struct web_socket *socket, bool paused)
{
	socket->paused = paused;
	if (!socket->ended)
		want_update(socket);
}

void web_socket_close(struct web_socket *socket, enum web_socket_code code, const char *reason)
{
	if (socket->closing || socket->ended)
		return;
	socket->closing = true;
	socket->code = (uint16_t)code;
	str_copy(str_from(reason), socket->reason, sizeof socket->reason);
	io_timer_start(socket->timer, GOODBYE_MS, 0);
	io_task_schedule(socket->web->loop, &socket->flush);
}

void socket_free_all(struct web *web)
{
	LIST_EACH(at, &web->sockets)
		socket_break(LIST_ENTRY(at, struct web_socket, node));
}
