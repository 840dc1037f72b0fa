#include "cli/standard.h"

#include <errno.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "io/io.h"
#include "os/fd.h"
#include "os/pty.h"
#include "os/socket.h"
#include "stream/stream.h"

#define CHUNK ((size_t)64 << 10)

struct standard {
	struct io_loop *loop;
	struct stream *stream;
	int in_terminal, out_terminal; /* opened again: watching makes non-blocking; -1 = it is none */
	struct io_watch *in, *out;     /* NULL = a file, which never blocks */
	struct io_timer *again;        /* for an input that is a file: its next piece */
	struct buf to_stream, to_out;
	bool in_eof, stream_eof; /* what comes from there has ended */
	bool in_passed, out_passed;
	bool over;
	void (*ended)(void *ctx, int err);
	void *ctx;
};

static int in_fd(const struct standard *standard)
{
	return standard->in_terminal < 0 ? STDIN_FILENO : standard->in_terminal;
}

static int out_fd(const struct standard *standard)
{
	return standard->out_terminal < 0 ? STDOUT_FILENO : standard->out_terminal;
}

/* ---- ends ---- */

static void rest(struct standard *standard)
{
	standard->over = true;
	stream_want(standard->stream, 0);
	io_timer_stop(standard->again);
	standard->in = io_watch_free(standard->in);
	standard->out = io_watch_free(standard->out);
}

static void end(struct standard *standard, int err)
{
	if (standard->over)
		return;
	rest(standard);
	if (err == 0)
		stream_reset_not(standard->stream);
	standard->ended(standard->ctx, err);
}

/* The reader behind standard output sees its end also where input and output are one socket.  Something has to stand at its number. */
static void out_close(struct standard *standard)
{
	standard->out = io_watch_free(standard->out);
	socket_shutdown_write(STDOUT_FILENO);
	fd_close(STDOUT_FILENO);
	fd_standard_open();
}

static int ends_pass(struct standard *standard)
{
	if (standard->stream_eof && !standard->out_passed && !buf_len(&standard->to_out)) {
		standard->out_passed = true;
		out_close(standard);
	}
	if (!standard->in_eof || standard->in_passed || buf_len(&standard->to_stream))
		return 0;
	standard->in_passed = true;
	return stream_close_write(standard->stream);
}

static bool all_passed(const struct standard *standard)
{
	return standard->in_passed && standard->out_passed && !stream_unsent(standard->stream);
}

static void settle(struct standard *standard, int err)
{
	if (err == 0)
		err = ends_pass(standard);
	if (err < 0 || all_passed(standard))
		return end(standard, err);
	bool sending = buf_len(&standard->to_stream) || stream_unsent(standard->stream);
	bool showing = buf_len(&standard->to_out);
	bool wants_input = !standard->in_eof && !sending;
	stream_want(standard->stream, (standard->stream_eof || showing ? 0u : STREAM_READ) | (sending ? STREAM_WRITE : 0u));
	if (standard->out)
		io_watch_set(standard->out, showing ? IO_WRITABLE : 0u);
	if (standard->in)
		io_watch_set(standard->in, wants_input ? IO_READABLE : 0u);
	else if (wants_input)
		io_timer_start(standard->again, 0, 0);
}

/* ---- there ---- */

static int stream_send(struct standard *standard)
{
	ssize_t n = 0;
	while (buf_len(&standard->to_stream) &&
	       (n = stream_write(standard->stream, buf_head(&standard->to_stream), buf_len(&standard->to_stream))) > 0)
		buf_consume(&standard->to_stream, (size_t)n);
	return n < 0 && n != -EAGAIN ? (int)n : 0;
}

static int in_read(struct standard *standard)
{
	uint8_t *room;
	int err = buf_reserve(&standard->to_stream, CHUNK, &room);
	ssize_t n = err < 0 ? err : fd_read(in_fd(standard), room, CHUNK);
	if (n == -EAGAIN)
		return 0;
	if (n == -EIO && standard->in_terminal >= 0) /* it was hung up */
		n = 0;
	if (n < 0)
		return (int)n;
	standard->in_eof = n == 0;
	buf_commit(&standard->to_stream, (size_t)n);
	return stream_send(standard);
}

static void on_input(void *ctx, unsigned events)
{
	(void)events;
	settle(ctx, in_read(ctx));
}

static void on_again(void *ctx)
{
	settle(ctx, in_read(ctx));
}

static void on_stream_writable(void *ctx)
{
	settle(ctx, stream_send(ctx));
}

/* ---- back ---- */

static int out_write(struct standard *standard)
{
	ssize_t n = 0;
	while (buf_len(&standard->to_out) &&
	       (n = fd_write(out_fd(standard), buf_head(&standard->to_out), buf_len(&standard->to_out))) > 0)
		buf_consume(&standard->to_out, (size_t)n);
	return n < 0 && n != -EAGAIN ? (int)n : 0;
}

static void on_output(void *ctx, unsigned events)
{
	(void)events;
	settle(ctx, out_write(ctx));
}

static int stream_receive(struct standard *standard)
{
	uint8_t *room;
	int err = buf_reserve(&standard->to_out, CHUNK, &room);
	ssize_t n = err < 0 ? err : stream_read(standard->stream, room, CHUNK);
	if (n == -EAGAIN)
		return 0;
	if (n < 0)
		return (int)n;
	standard->stream_eof = n == 0;
	standard->in_eof |= n == 0 && standard->in_terminal >= 0; /* nobody is left to talk to */
	buf_commit(&standard->to_out, (size_t)n);
	return out_write(standard);
}

static void on_stream_readable(void *ctx)
{
	settle(ctx, stream_receive(ctx));
}

static void on_stream_failed(void *ctx, int err)
{
	end(ctx, err);
}

static const struct stream_events events = { NULL, on_stream_readable, on_stream_writable, on_stream_failed };

/* ---- the whole ---- */

struct standard *standard_new(struct io_loop *loop, struct stream *stream, void (*ended)(void *ctx, int err), void *ctx)
{
	struct standard *standard = mem_alloc(sizeof *standard);
	if (!standard) {
		stream_free(stream);
		return NULL;
	}
	*standard = (struct standard){ .loop = loop, .stream = stream, .ended = ended, .ctx = ctx };
	buf_init(&standard->to_stream, CHUNK);
	buf_init(&standard->to_out, CHUNK);
	standard->in_terminal = isatty(STDIN_FILENO) ? pty_reopen(STDIN_FILENO) : -1;
	standard->out_terminal = isatty(STDOUT_FILENO) ? pty_reopen(STDOUT_FILENO) : -1;
	standard->in = io_watch_new(loop, in_fd(standard), on_input, standard);
	standard->out = io_watch_new(loop, out_fd(standard), on_output, standard);
	standard->again = io_timer_new(loop, on_again, standard);
	if (!standard->again)
		return standard_free(standard);
	stream_set_events(stream, &events, standard);
	stream_reset(stream); /* until both ends have come: also should this process die */
	stream_want(stream, STREAM_READ);
	if (standard->in)
		io_watch_set(standard->in, IO_READABLE);
	else
		io_timer_start(standard->again, 0, 0);
	return standard;
}

struct standard *standard_free(struct standard *standard)
{
	if (!standard)
		return NULL;
	io_watch_free(standard->in);
	io_watch_free(standard->out);
	io_timer_free(standard->again);
	stream_free(standard->stream);
	fd_close(standard->in_terminal);
	fd_close(standard->out_terminal);
	buf_done(&standard->to_stream);
	buf_done(&standard->to_out);
	return mem_free(standard);
}
