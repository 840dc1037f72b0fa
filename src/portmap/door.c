#include "portmap/door.h"

#include <errno.h>

#include "base/err.h"
#include "base/mem.h"
#include "io/io.h"
#include "stream/stream.h"

#define ASK_MS    10000
#define REFUSE_MS 2000

struct door {
	struct stream *stream;
	struct io_timer *deadline;
	const struct door_events *events;
	void *ctx;
	struct buf in;
	enum { GREETING, REQUEST, ASKED, REFUSED } state;
	int err; /* what `ended` says */
};

static void end(struct door *door, int err)
{
	stream_want(door->stream, 0);
	io_timer_stop(door->deadline);
	door->events->ended(door->ctx, err);
}

/* An empty socket takes so little whole. */
static bool say(struct door *door, const uint8_t *bytes, size_t len)
{
	return stream_write(door->stream, bytes, len) == (ssize_t)len;
}

/* Waits until the client has the answer: closing earlier, with bytes of its unread, would take the answer back. */
static void refuse(struct door *door, const uint8_t *answer, size_t len, int err)
{
	door->state = REFUSED;
	door->err = err;
	stream_reset_not(door->stream);
	bool said = say(door, answer, len) && stream_close_write(door->stream) == 0;
	stream_want(door->stream, said ? STREAM_READ : 0u);
	io_timer_start(door->deadline, said ? REFUSE_MS : 0, 0);
}

static void refuse_request(struct door *door, enum socks_reply code, int err)
{
	uint8_t reply[SOCKS_REPLY_SIZE];
	socks_reply_write(code, reply);
	refuse(door, reply, sizeof reply, err);
}

/* Returns whether there may be more to do. */
static bool greeting_take(struct door *door)
{
	static const uint8_t none[] = { 5, SOCKS_NO_METHOD }, good[] = { 5, 0 };
	size_t len;
	int err = socks_greeting_parse(buf_str(&door->in), &len);
	if (err == -EAGAIN)
		return false;
	if (err < 0) {
		refuse(door, none, sizeof none, err);
		return false;
	}
	buf_consume(&door->in, len);
	door->state = REQUEST;
	if (say(door, good, sizeof good))
		return true;
	end(door, -E_CLOSED);
	return false;
}

static void request_take(struct door *door)
{
	struct socks_request request;
	enum socks_reply code;
	size_t len;
	int err = socks_request_parse(buf_str(&door->in), &request, &len, &code);
	if (err == -EAGAIN)
		return;
	if (err < 0)
		return refuse_request(door, code, err);
	buf_consume(&door->in, len);
	door->state = ASKED;
	stream_want(door->stream, 0);
	io_timer_stop(door->deadline);
	door->events->asked(door->ctx, &request);
}

static void on_refused_readable(struct door *door)
{
	uint8_t rest[512];
	ssize_t n = stream_read(door->stream, rest, sizeof rest);
	if (n <= 0 && n != -EAGAIN)
		end(door, door->err);
}

static void on_readable(void *ctx)
{
	struct door *door = ctx;
	uint8_t *room;
	size_t size = door->in.max - buf_len(&door->in); /* never 0: a whole message has been taken out before */
	if (door->state == REFUSED)
		return on_refused_readable(door);
	int err = buf_reserve(&door->in, size, &room);
	ssize_t n = err < 0 ? err : stream_read(door->stream, room, size);
	if (n == -EAGAIN)
		return;
	if (n <= 0)
		return end(door, n == 0 ? -E_CLOSED : (int)n);
	buf_commit(&door->in, (size_t)n);
	if (door->state == REQUEST || greeting_take(door))
		request_take(door);
}

static void on_failed(void *ctx, int err)
{
	end(ctx, err);
}

static void on_deadline(void *ctx)
{
	struct door *door = ctx;
	end(door, door->state == REFUSED ? door->err : -E_TIMEOUT);
}

struct door *door_new(struct io_loop *loop, struct stream *stream, const struct door_events *events, void *ctx)
{
	static const struct stream_events stream_events = { NULL, on_readable, NULL, on_failed };
	struct door *door = mem_alloc(sizeof *door);
	if (!door) {
		stream_free(stream);
		return NULL;
	}
	*door = (struct door){ .stream = stream, .events = events, .ctx = ctx };
	buf_init(&door->in, SOCKS_MESSAGE_MAX);
	door->deadline = io_timer_new(loop, on_deadline, door);
	if (!door->deadline)
		return door_free(door);
	stream_set_events(stream, &stream_events, door);
	stream_want(stream, STREAM_READ);
	io_timer_start(door->deadline, ASK_MS, 0);
	return door;
}

struct door *door_free(struct door *door)
{
	if (!door)
		return NULL;
	stream_free(door->stream);
	io_timer_free(door->deadline);
	buf_done(&door->in);
	return mem_free(door);
}

struct stream *door_open(struct door *door, struct str *ret_first)
{
	uint8_t reply[SOCKS_REPLY_SIZE];
	struct stream *stream = door->stream;
	socks_reply_write(SOCKS_DONE, reply);
	if (!say(door, reply, sizeof reply))
		return NULL;
	door->stream = NULL;
	*ret_first = buf_str(&door->in);
	return stream;
}

void door_refuse(struct door *door, int err)
{
	refuse_request(door, socks_reply_for(err), 0);
}
