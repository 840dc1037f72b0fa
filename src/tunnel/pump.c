#include "tunnel/pump.h"

#include <errno.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "io/io.h"
#include "stream/stream.h"
#include "tunnel/rate.h"

#define ROUNDS 8 /* reads a turn: others want the loop too */

struct side {
	struct pump *pump;
	struct stream *stream;
	struct buf waiting; /* came from the other side, not yet taken by this one */
	bool eof;           /* this side sends no more */
	bool closed;        /* the other side's end was passed on to this one */
};

struct pump {
	struct io_loop *loop;
	struct side sides[2];
	void (*ended)(void *ctx, int err);
	void *ctx;
	uint64_t bytes;
	struct rate *rate;      /* NULL: as fast as it goes */
	struct io_timer *later; /* of a rate: until what was moved is paid for */
	bool waits, over;
};

static struct side *other(const struct side *side)
{
	return &side->pump->sides[side == &side->pump->sides[0]];
}

/* Reading on would only copy: TLS, too, keeps what the socket does not take. */
static bool full(const struct side *side)
{
	return buf_len(&side->waiting) || stream_unsent(side->stream);
}

static void want(struct side *side)
{
	bool reads = !side->eof && !side->pump->waits && !full(other(side));
	stream_want(side->stream, (reads ? STREAM_READ : 0u) | (full(side) ? STREAM_WRITE : 0u));
}

static void end(struct pump *pump, int err)
{
	if (pump->over)
		return;
	pump->over = true;
	for (int i = 0; i < 2; i++) {
		stream_want(pump->sides[i].stream, 0);
		if (err == 0)
			stream_reset_not(pump->sides[i].stream);
	}
	pump->ended(pump->ctx, err);
}

/* Passes a clean end on when all bytes before it are gone. */
static int pass_end(struct side *from)
{
	struct side *to = other(from);
	if (!from->eof || to->closed || buf_len(&to->waiting))
		return 0;
	to->closed = true;
	return stream_close_write(to->stream);
}

static int deliver(struct side *to, const uint8_t *bytes, size_t len)
{
	while (len) {
		ssize_t n = stream_write(to->stream, bytes, len);
		if (n == -EAGAIN)
			return buf_append(&to->waiting, bytes, len);
		if (n < 0)
			return (int)n;
		bytes += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Is nothing to be read now? */
static bool waits(struct pump *pump)
{
	uint64_t wait = pump->rate ? rate_wait_ms(pump->rate, io_loop_now_ms(pump->loop)) : 0;
	if (wait && !pump->waits)
		io_timer_start(pump->later, wait, 0);
	pump->waits |= wait > 0;
	return pump->waits;
}

static int move(struct side *from)
{
	struct side *to = other(from);
	struct pump *pump = from->pump;
	uint8_t *scratch = io_loop_scratch(pump->loop);
	for (int i = 0; i < ROUNDS && !from->eof && !full(to) && !waits(pump); i++) {
		ssize_t n = stream_read(from->stream, scratch, pump->rate ? rate_piece(pump->rate, IO_SCRATCH) : IO_SCRATCH);
		if (n == -EAGAIN)
			break;
		if (n < 0)
			return (int)n;
		from->eof = n == 0;
		pump->bytes += (uint64_t)n;
		if (pump->rate)
			rate_moved(pump->rate, io_loop_now_ms(pump->loop), (size_t)n);
		int err = deliver(to, scratch, (size_t)n);
		if (err < 0)
			return err;
	}
	return pass_end(from);
}

static void settle(struct pump *pump, int err)
{
	if (err < 0)
		return end(pump, err);
	if (pump->sides[0].closed && pump->sides[1].closed && !stream_unsent(pump->sides[0].stream) &&
	    !stream_unsent(pump->sides[1].stream))
		return end(pump, 0);
	want(&pump->sides[0]);
	want(&pump->sides[1]);
}

static void on_readable(void *ctx)
{
	struct side *side = ctx;
	settle(side->pump, move(side));
}

static void on_writable(void *ctx)
{
	struct side *to = ctx;
	int err = 0;
	while (err == 0 && buf_len(&to->waiting)) {
		ssize_t n = stream_write(to->stream, buf_head(&to->waiting), buf_len(&to->waiting));
		if (n > 0)
			buf_consume(&to->waiting, (size_t)n);
		else
			err = (int)n;
	}
	buf_trim(&to->waiting);
	if (err == 0)
		err = move(other(to));
	settle(to->pump, err == -EAGAIN ? 0 : err);
}

static void on_failed(void *ctx, int err)
{
	end(((struct side *)ctx)->pump, err);
}

static const struct stream_events events = { NULL, on_readable, on_writable, on_failed };

struct pump *pump_new(struct io_loop *loop, struct stream *a, struct stream *b, struct str first, void (*ended)(void *ctx, int err),
                      void *ctx)
{
	struct pump *pump = mem_alloc(sizeof *pump);
	if (!pump) {
		stream_free(a);
		stream_free(b);
		return NULL;
	}
	*pump = (struct pump){ .loop = loop, .ended = ended, .ctx = ctx };
	for (int i = 0; i < 2; i++) {
		pump->sides[i] = (struct side){ .pump = pump, .stream = i ? b : a };
		buf_init(&pump->sides[i].waiting, IO_SCRATCH);
		stream_set_events(pump->sides[i].stream, &events, &pump->sides[i]);
		stream_reset(pump->sides[i].stream); /* until both ends have come: also should this process die */
	}
	if (buf_append_str(&pump->sides[1].waiting, first) < 0)
		return pump_free(pump);
	pump->bytes = first.len;
	want(&pump->sides[0]);
	want(&pump->sides[1]);
	return pump;
}

static void on_later(void *ctx)
{
	struct pump *pump = ctx;
	pump->waits = false;
	if (pump->over)
		return;
	want(&pump->sides[0]);
	want(&pump->sides[1]);
}

int pump_limit(struct pump *pump, struct rate *rate)
{
	pump->later = io_timer_new(pump->loop, on_later, pump);
	if (!pump->later)
		return -E_NO_MEMORY;
	pump->rate = rate;
	return 0;
}

struct pump *pump_free(struct pump *pump)
{
	if (!pump)
		return NULL;
	io_timer_free(pump->later);
	for (int i = 0; i < 2; i++) {
		stream_free(pump->sides[i].stream);
		buf_done(&pump->sides[i].waiting);
	}
	return mem_free(pump);
}

uint64_t pump_bytes(const struct pump *pump)
{
	return pump->bytes;
}
