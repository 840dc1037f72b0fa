#include "tunnel/test_end.h"

#include <errno.h>

#include "base/err.h"
#include "base/test.h"
#include "os/fd.h"

#define WATCHDOG_MS 25000 /* less than what ends a leg that says nothing */
#define TICK_MS     2
#define PATTERN     ((size_t)1000003)
#define PIECE       ((size_t)256 << 10)

static uint8_t pattern[PATTERN + PIECE]; /* goes on behind its end as at its start */

static void pattern_make(void)
{
	uint32_t x = 1;
	if (pattern[0])
		return;
	for (size_t i = 0; i < PATTERN; i++)
		pattern[i] = (uint8_t)((x = x * 1664525 + 1013904223) >> 24);
	pattern[0] |= 1;
	memcpy(pattern + PATTERN, pattern, PIECE);
}

static void on_watchdog(void *ctx)
{
	struct test_loop *t = ctx;
	t->hung = true;
	io_loop_stop(t->loop);
}

static void on_tick(void *ctx)
{
	io_loop_stop(((struct test_loop *)ctx)->loop);
}

int test_loop_open(struct test_loop *t)
{
	pattern_make();
	*t = (struct test_loop){ .loop = io_loop_new() };
	if (!t->loop)
		return -E_NO_MEMORY;
	t->watchdog = io_timer_new(t->loop, on_watchdog, t);
	t->tick = io_timer_new(t->loop, on_tick, t);
	if (!t->watchdog || !t->tick) {
		test_loop_close(t);
		return -E_NO_MEMORY;
	}
	io_timer_start(t->watchdog, WATCHDOG_MS, 0);
	io_timer_start(t->tick, TICK_MS, TICK_MS);
	return 0;
}

void test_loop_close(struct test_loop *t)
{
	io_timer_free(t->watchdog);
	io_timer_free(t->tick);
	*t = (struct test_loop){ .loop = t->loop ? io_loop_free(t->loop) : NULL };
}

void test_loop_turn(struct test_loop *t, const char *waiting_for)
{
	io_loop_run(t->loop);
	if (t->hung)
		fail_msg("never came: %s", waiting_for);
}

int test_listen(const char *host, struct socket_address *ret_address)
{
	int err = socket_address_parse(str_from(host), 0, ret_address);
	int fd = err < 0 ? err : socket_listen(ret_address);
	if (fd < 0)
		return fd;
	err = socket_local(fd, ret_address);
	if (err < 0)
		fd_close(fd);
	return err < 0 ? err : fd;
}

struct socket_address test_closed_port(void)
{
	struct socket_address address;
	int fd = test_listen("127.0.0.1", &address);
	assert_true(fd >= 0);
	fd_close(fd);
	return address;
}

int test_pair(int ret_pair[2])
{
	struct socket_address address;
	int listener = test_listen("127.0.0.1", &address);
	if (listener < 0)
		return listener;
	ret_pair[0] = socket_connect(&address);
	ret_pair[1] = ret_pair[0] < 0 ? ret_pair[0] : socket_accept(listener);
	fd_close(listener);
	if (ret_pair[1] < 0) {
		fd_close(ret_pair[0]);
		return ret_pair[1];
	}
	for (int i = 0; i < 2; i++) {
		setsockopt(ret_pair[i], SOL_SOCKET, SO_SNDBUF, &(int){ 65536 }, sizeof(int));
		setsockopt(ret_pair[i], SOL_SOCKET, SO_RCVBUF, &(int){ 65536 }, sizeof(int));
	}
	return 0;
}

/* ---- ends ---- */

static size_t at_most(const struct test_end *end, size_t n)
{
	size_t most = end->piece ? end->piece : PIECE;
	return n < most ? n : most;
}

static void end_write(struct test_end *end)
{
	ssize_t n = 0;
	while (end->sent < end->to_send && !end->err) {
		n = stream_write(end->stream, pattern + (end->sends_from + end->sent) % PATTERN,
		                 at_most(end, end->to_send - end->sent));
		if (n < 0)
			break;
		end->sent += (size_t)n;
	}
	if (n < 0 && n != -EAGAIN)
		end->err = (int)n;
	if (end->closes && !end->closed && end->sent == end->to_send && !end->err) {
		end->closed = true;
		end->err = stream_close_write(end->stream);
	}
}

static void take(struct test_end *end, const uint8_t *bytes, size_t len)
{
	if (end->keeps)
		end->wrong |= buf_append(&end->kept, bytes, len) < 0;
	else
		end->wrong |= memcmp(bytes, pattern + (end->expects_from + end->received) % PATTERN, len) != 0;
	end->received += len;
}

static void end_want(struct test_end *end)
{
	bool more = end->sent < end->to_send && !end->err;
	stream_want(end->stream, (end->paused || end->eof || end->err ? 0u : STREAM_READ) | (more ? (unsigned)STREAM_WRITE : 0u));
}

void test_end_go(struct test_end *end)
{
	end_write(end);
	end_want(end);
}

static void on_ready(void *ctx)
{
	struct test_end *end = ctx;
	end->ready = true;
	test_end_go(end);
	io_loop_stop(end->t->loop);
}

/* One piece a turn, so that pauses and other ends come in between. */
static void on_readable(void *ctx)
{
	struct test_end *end = ctx;
	static uint8_t bytes[PIECE];
	ssize_t n = stream_read(end->stream, bytes, at_most(end, sizeof bytes));
	if (n > 0)
		take(end, bytes, (size_t)n);
	end->eof |= n == 0;
	if (n < 0 && n != -EAGAIN)
		end->err = (int)n;
	end_want(end);
	io_loop_stop(end->t->loop);
}

static void on_writable(void *ctx)
{
	struct test_end *end = ctx;
	test_end_go(end);
	io_loop_stop(end->t->loop);
}

static void on_failed(void *ctx, int err)
{
	struct test_end *end = ctx;
	end->err = err;
	io_loop_stop(end->t->loop);
}

static const struct stream_events events = { on_ready, on_readable, on_writable, on_failed };

int test_end_open(struct test_end *end, struct test_loop *t, const struct stream_settings *settings)
{
	end->t = t;
	buf_init(&end->kept, (size_t)1 << 20);
	end->stream = stream_new(t->loop, settings, &events, end);
	return end->stream ? 0 : -E_NO_MEMORY;
}

void test_end_take(struct test_end *end, struct test_loop *t, struct stream *stream)
{
	end->t = t;
	buf_init(&end->kept, (size_t)1 << 20);
	end->stream = stream;
	end->ready = true;
	stream_set_events(stream, &events, end);
	test_end_go(end);
}

int test_end_connect(struct test_end *end, struct test_loop *t, const struct socket_address *address)
{
	const struct stream_settings settings = { .fd = socket_connect(address), .connecting = true };
	return settings.fd < 0 ? settings.fd : test_end_open(end, t, &settings);
}

void test_end_text(struct test_end *end, const char *text)
{
	assert_int_equal(stream_write(end->stream, text, strlen(text)), strlen(text));
}

void test_end_done(struct test_end *end)
{
	end->stream = stream_free(end->stream);
	buf_done(&end->kept);
}

void test_end_reset(struct test_end *end)
{
	stream_reset(end->stream);
	test_end_done(end);
}

bool test_end_received(const struct test_end *end, size_t n)
{
	return !end->wrong && end->received == n;
}
