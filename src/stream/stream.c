#include "stream/stream.h"

#include <errno.h>

#include "base/err.h"
#include "base/mem.h"
#include "io/io.h"
#include "os/fd.h"
#include "os/socket.h"

enum state { CONNECTING, HANDSHAKE, OPEN, FAILED };

struct stream {
	struct io_loop *loop;
	struct io_watch *watch;
	struct io_timer *deadline; /* until the stream is open */
	struct io_task again;      /* `ready`; then `readable` for what TLS holds and the descriptor will not announce */
	struct tls *tls;
	const struct stream_events *events;
	void *ctx;
	int fd;
	unsigned want;
	enum state state;
	bool announced, closing_write, shut, blocked;
	uint8_t preamble_len;
	char preamble[STREAM_PREAMBLE_MAX];
};

static ssize_t transport_recv(void *ctx, void *out, size_t size)
{
	return fd_read(((struct stream *)ctx)->fd, out, size);
}

static ssize_t transport_send(void *ctx, const void *bytes, size_t len)
{
	struct stream *stream = ctx;
	ssize_t n = fd_write(stream->fd, bytes, len);
	stream->blocked = n != (ssize_t)len;
	return n;
}

static const struct tls_transport transport = { transport_recv, transport_send };

static void watch_update(struct stream *stream)
{
	unsigned events = 0;
	if (stream->state == CONNECTING)
		events = IO_WRITABLE;
	else if (stream->state == HANDSHAKE)
		events = IO_READABLE | (stream->blocked ? IO_WRITABLE : 0u);
	else if (stream->state == OPEN)
		events = (stream->want & STREAM_READ ? IO_READABLE : 0u) |
		         (stream->want & STREAM_WRITE || stream_unsent(stream) ? IO_WRITABLE : 0u);
	io_watch_set(stream->watch, events);
}

static void fail(struct stream *stream, int err)
{
	stream->state = FAILED;
	watch_update(stream);
	io_task_cancel(&stream->again);
	if (stream->deadline)
		io_timer_stop(stream->deadline);
	stream->events->failed(stream->ctx, err);
}

static int open_step(struct stream *stream)
{
	if (stream->state == CONNECTING) {
		int err = socket_error(stream->fd);
		if (err < 0)
			return err;
		stream->state = HANDSHAKE;
	}
	if (stream->preamble_len) { /* an empty socket buffer takes it whole */
		ssize_t n = fd_write(stream->fd, stream->preamble, stream->preamble_len);
		if (n != stream->preamble_len)
			return n < 0 ? (int)n : -E_CLOSED;
		stream->preamble_len = 0;
	}
	stream->blocked = false;
	int err = stream->tls ? tls_handshake(stream->tls) : 0;
	if (err == 0 && stream->tls)
		err = tls_flush(stream->tls);
	if (err == 0)
		stream->state = OPEN;
	return err;
}

/* Sends what TLS has kept, then the end when the owner has asked for it. */
static int flush_unsent(struct stream *stream)
{
	if (stream->tls && tls_flush(stream->tls) != -EAGAIN)
		stream->blocked = false;
	if (!stream->closing_write || stream_unsent(stream) || stream->shut)
		return 0;
	stream->shut = true;
	return socket_shutdown_write(stream->fd);
}

static void on_again(void *ctx)
{
	struct stream *stream = ctx;
	if (!stream->announced) {
		stream->announced = true;
		if (stream->tls && tls_pending(stream->tls))
			io_task_schedule(stream->loop, &stream->again);
		if (stream->events->ready)
			stream->events->ready(stream->ctx);
	} else if (stream->want & STREAM_READ)
		stream->events->readable(stream->ctx);
}

static void on_watch(void *ctx, unsigned events)
{
	struct stream *stream = ctx;
	if (stream->state < OPEN) {
		int err = open_step(stream);
		if (err < 0 && err != -EAGAIN)
			return fail(stream, err);
		watch_update(stream);
		if (stream->state != OPEN)
			return;
		stream->deadline = io_timer_free(stream->deadline);
		io_task_schedule(stream->loop, &stream->again);
		return;
	}
	if (events & IO_WRITABLE) {
		int err = flush_unsent(stream);
		if (err < 0)
			return fail(stream, err);
		watch_update(stream);
		if (stream->want & STREAM_WRITE && !stream_unsent(stream)) {
			if (events & IO_READABLE)
				io_task_schedule(stream->loop, &stream->again);
			stream->events->writable(stream->ctx);
			return; /* the owner may have freed it; reading goes on by the task */
		}
	}
	if (events & IO_READABLE && stream->want & STREAM_READ)
		stream->events->readable(stream->ctx);
}

static void on_deadline(void *ctx)
{
	fail(ctx, -E_TIMEOUT);
}

struct stream *stream_new(struct io_loop *loop, const struct stream_settings *settings, const struct stream_events *events,
                          void *ctx)
{
	struct stream *stream = mem_alloc(sizeof *stream);
	if (!stream || settings->preamble.len > STREAM_PREAMBLE_MAX) {
		mem_free(stream);
		fd_close(settings->fd);
		return NULL;
	}
	stream->loop = loop;
	stream->fd = settings->fd;
	stream->events = events;
	stream->ctx = ctx;
	stream->preamble_len = (uint8_t)settings->preamble.len;
	if (settings->preamble.len)
		memcpy(stream->preamble, settings->preamble.ptr, settings->preamble.len);
	stream->state = settings->connecting ? CONNECTING : settings->tls || settings->preamble.len ? HANDSHAKE : OPEN;
	io_task_init(&stream->again, on_again, stream);
	stream->watch = io_watch_new(loop, stream->fd, on_watch, stream);
	if (stream->state != OPEN)
		stream->deadline = io_timer_new(loop, on_deadline, stream);
	if (settings->tls)
		stream->tls = tls_new(settings->tls, &transport, stream, settings->expect);
	if (!stream->watch || (settings->tls && !stream->tls) || (stream->state != OPEN && !stream->deadline))
		return stream_free(stream);
	if (stream->state != OPEN)
		io_timer_start(stream->deadline, settings->handshake_ms ? settings->handshake_ms : 10000, 0);
	if (stream->state == OPEN)
		io_task_schedule(loop, &stream->again);
	if (stream->state == HANDSHAKE)
		stream->blocked = true; /* a client speaks first: the first writable event starts the handshake */
	watch_update(stream);
	return stream;
}

struct stream *stream_free(struct stream *stream)
{
	if (!stream)
		return NULL;
	io_task_cancel(&stream->again);
	io_timer_free(stream->deadline);
	io_watch_free(stream->watch);
	tls_free(stream->tls);
	fd_close(stream->fd);
	return mem_free(stream);
}

void stream_set_events(struct stream *stream, const struct stream_events *events, void *ctx)
{
	stream->events = events;
	stream->ctx = ctx;
}

void stream_want(struct stream *stream, unsigned want)
{
	stream->want = want;
	if (stream->state != OPEN)
		return;
	if (want & STREAM_READ && stream->tls && tls_pending(stream->tls))
		io_task_schedule(stream->loop, &stream->again);
	watch_update(stream);
}

ssize_t stream_read(struct stream *stream, void *out, size_t size)
{
	if (!stream->tls)
		return fd_read(stream->fd, out, size);
	ssize_t n = tls_read(stream->tls, out, size);
	if (stream->blocked)
		watch_update(stream); /* an answer of TLS itself waits */
	return n;
}

ssize_t stream_write(struct stream *stream, const void *bytes, size_t len)
{
	if (stream->state != OPEN)
		return stream->state == FAILED ? -E_CLOSED : -EAGAIN;
	ssize_t n = stream->tls ? tls_write(stream->tls, bytes, len) : fd_write(stream->fd, bytes, len);
	if (stream->tls && n > 0 && stream->blocked)
		watch_update(stream);
	return n;
}

bool stream_unsent(const struct stream *stream)
{
	return stream->tls && stream->blocked;
}

int stream_close_write(struct stream *stream)
{
	if (stream->state != OPEN)
		return -E_CLOSED;
	int err = stream->tls ? tls_close_write(stream->tls) : 0;
	stream->closing_write = true;
	int shut = flush_unsent(stream);
	watch_update(stream);
	return err < 0 && err != -EAGAIN ? err : shut;
}

void stream_reset(struct stream *stream)
{
	socket_reset(stream->fd);
}

void stream_reset_not(struct stream *stream)
{
	socket_reset_not(stream->fd);
}

const struct tls *stream_tls(const struct stream *stream)
{
	return stream->tls;
}

int stream_fd(const struct stream *stream)
{
	return stream->fd;
}
