#include "stream/stream.h"

#include <errno.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/test.h"
#include "crypto/test_mesh.h"
#include "io/io.h"
#include "os/fd.h"
#include "os/socket.h"

#define LARGE ((size_t)3 << 20)

/* One end of a connection: sends `out`, then ends if told so; keeps what comes. */
struct end {
	struct trial *trial;
	struct stream *stream;
	struct buf in;
	const uint8_t *out;
	size_t out_len, out_at, piece; /* piece: bytes read at a time, then the event is asked for again; 0 = all */
	unsigned ready, readable, writable;
	int failed, read_err, write_err;
	bool eof, closes, closed, paused;
	bool busy; /* asks for `writable` for ever */
	enum { NOWHERE, READY, READABLE, WRITABLE, FAILED } free_in;
};

struct trial {
	struct io_loop *loop;
	struct io_timer *watchdog;
	struct end near, far; /* far: the server */
	bool (*done)(struct trial *trial);
	bool hung;
};

static struct test_mesh mesh;
static struct test_leaf server_leaf, client_leaf, other_leaf;
static struct tls_context *server_tls, *client_tls, *stranger_tls;
static uint8_t large[LARGE];

static int64_t test_now(void)
{
	return TEST_NOW;
}

static void check(struct trial *trial)
{
	if (trial->done && trial->done(trial))
		io_loop_stop(trial->loop);
}

static bool freed_in(struct end *end, unsigned event)
{
	if (end->free_in != event)
		return false;
	end->stream = stream_free(end->stream);
	return true;
}

static void end_write(struct end *end)
{
	ssize_t n = 0;
	while (end->out_at < end->out_len &&
	       (n = stream_write(end->stream, end->out + end->out_at, end->out_len - end->out_at)) > 0)
		end->out_at += (size_t)n;
	if (n < 0 && n != -EAGAIN)
		end->write_err = (int)n;
	if (end->closes && !end->closed && end->out_at == end->out_len && !end->write_err) {
		end->closed = true;
		end->write_err = stream_close_write(end->stream);
	}
}

static void end_want(struct end *end)
{
	bool more = end->busy || (end->out_at < end->out_len && !end->write_err);
	stream_want(end->stream,
	            (end->paused || end->eof || end->read_err ? 0u : STREAM_READ) | (more ? (unsigned)STREAM_WRITE : 0u));
}

static void on_ready(void *ctx)
{
	struct end *end = ctx;
	end->ready++;
	if (!freed_in(end, READY)) {
		end_write(end);
		end_want(end);
	}
	check(end->trial);
}

static void on_readable(void *ctx)
{
	struct end *end = ctx;
	static uint8_t bytes[IO_SCRATCH];
	end->readable++;
	if (freed_in(end, READABLE))
		return check(end->trial);
	ssize_t n;
	do {
		n = stream_read(end->stream, bytes, end->piece ? end->piece : sizeof bytes);
		if (n > 0)
			buf_append(&end->in, bytes, (size_t)n);
	} while (n > 0 && !end->piece);
	end->eof |= n == 0;
	if (n < 0 && n != -EAGAIN)
		end->read_err = (int)n;
	stream_want(end->stream, 0);
	end_want(end);
	check(end->trial);
}

static void on_writable(void *ctx)
{
	struct end *end = ctx;
	end->writable++;
	if (freed_in(end, WRITABLE))
		return check(end->trial);
	end_write(end);
	end_want(end);
	check(end->trial);
}

static void on_failed(void *ctx, int err)
{
	struct end *end = ctx;
	end->failed = err;
	freed_in(end, FAILED);
	check(end->trial);
}

static const struct stream_events end_events = { on_ready, on_readable, on_writable, on_failed };

static void on_watchdog(void *ctx)
{
	struct trial *trial = ctx;
	trial->hung = true;
	io_loop_stop(trial->loop);
}

static int trial_open(struct trial *trial)
{
	*trial = (struct trial){ .near.trial = trial, .far.trial = trial };
	buf_init(&trial->near.in, 2 * LARGE);
	buf_init(&trial->far.in, 2 * LARGE);
	trial->loop = io_loop_new();
	if (!trial->loop)
		return -E_NO_MEMORY;
	trial->watchdog = io_timer_new(trial->loop, on_watchdog, trial);
	if (!trial->watchdog)
		return -E_NO_MEMORY;
	io_timer_start(trial->watchdog, 20000, 0);
	return 0;
}

static void trial_close(struct trial *trial)
{
	stream_free(trial->near.stream);
	stream_free(trial->far.stream);
	buf_done(&trial->near.in);
	buf_done(&trial->far.in);
	io_timer_free(trial->watchdog);
	io_loop_free(trial->loop);
}

static void run(struct trial *trial, bool (*done)(struct trial *trial))
{
	trial->done = done;
	if (!done(trial))
		io_loop_run(trial->loop);
	assert_false(trial->hung);
}

/* A connected pair over loopback, the first still connecting; -errno. */
static int pair_tcp(int ret_pair[2])
{
	struct socket_address any, bound;
	int err = socket_address_parse(STR("127.0.0.1"), 0, &any);
	int listener = err < 0 ? err : socket_listen(&any);
	if (listener < 0)
		return listener;
	err = socket_local(listener, &bound);
	ret_pair[0] = err < 0 ? err : socket_connect(&bound);
	ret_pair[1] = ret_pair[0] < 0 ? ret_pair[0] : socket_accept(listener);
	fd_close(listener);
	if (ret_pair[1] < 0)
		fd_close(ret_pair[0]);
	else
		for (int i = 0; i < 2; i++) { /* so that a large write does not fit into the kernel's buffers */
			setsockopt(ret_pair[i], SOL_SOCKET, SO_SNDBUF, &(int){ 65536 }, sizeof(int));
			setsockopt(ret_pair[i], SOL_SOCKET, SO_RCVBUF, &(int){ 65536 }, sizeof(int));
		}
	return ret_pair[1] < 0 ? ret_pair[1] : 0;
}

enum kind { PLAIN = 0, TLS = 1, TCP = 2 };

static int trial_connect(struct trial *trial, unsigned kind, const struct identity *expect)
{
	int pair[2];
	int err = kind & TCP ? pair_tcp(pair) : fd_pair_stream(pair);
	if (err < 0)
		return err;
	struct stream_settings settings = {
		.fd = pair[0], .connecting = kind & TCP, .tls = kind & TLS ? client_tls : NULL, .expect = expect
	};
	trial->near.stream = stream_new(trial->loop, &settings, &end_events, &trial->near);
	settings = (struct stream_settings){ .fd = pair[1], .tls = kind & TLS ? server_tls : NULL };
	trial->far.stream = stream_new(trial->loop, &settings, &end_events, &trial->far);
	return trial->near.stream && trial->far.stream ? 0 : -E_NO_MEMORY;
}

static void trial_start(struct trial *trial, unsigned kind)
{
	assert_int_equal(trial_open(trial), 0);
	assert_int_equal(trial_connect(trial, kind, NULL), 0);
}

static bool both_ready(struct trial *trial)
{
	return trial->near.ready && trial->far.ready;
}

static bool far_ended(struct trial *trial)
{
	return trial->far.eof || trial->far.read_err;
}

static bool both_ended(struct trial *trial)
{
	return far_ended(trial) && (trial->near.eof || trial->near.read_err);
}

static bool far_failed(struct trial *trial)
{
	return trial->far.failed;
}

static bool near_failed(struct trial *trial)
{
	return trial->near.failed;
}

static bool both_failed(struct trial *trial)
{
	return near_failed(trial) && far_failed(trial);
}

static bool is_large(const struct buf *buf, size_t len)
{
	return buf_len(buf) == len && memcmp(buf_head(buf), large, len) == 0;
}

/* One end says much and ends; only then the other answers with as much, and ends. */
static void test_half_close(void **state)
{
	(void)state;
	for (unsigned kind = 0; kind < 4; kind++) {
		struct trial t;
		trial_start(&t, kind);
		t.near.out = large;
		t.near.out_len = LARGE;
		t.near.closes = true;
		run(&t, far_ended);
		assert_true(t.far.eof);
		assert_true(is_large(&t.far.in, LARGE));
		assert_int_equal(buf_len(&t.near.in), 0);
		assert_false(t.near.eof);
		assert_int_equal(stream_write(t.near.stream, "x", 1), kind & TLS ? -E_CLOSED : -EPIPE);
		t.far.out = large;
		t.far.out_len = LARGE - 1;
		t.far.closes = true;
		end_write(&t.far);
		end_want(&t.far);
		run(&t, both_ended);
		assert_true(t.near.eof);
		assert_true(is_large(&t.near.in, LARGE - 1));
		assert_int_equal(t.near.ready, 1);
		assert_int_equal(t.far.ready, 1);
		trial_close(&t);
	}
}

static void test_both_ways(void **state)
{
	(void)state;
	for (unsigned kind = 0; kind < 4; kind++) {
		struct trial t;
		trial_start(&t, kind);
		t.near.out = t.far.out = large;
		t.near.out_len = t.far.out_len = LARGE;
		t.near.closes = t.far.closes = true;
		t.far.piece = 1000; /* asks to be called again and again: also for what TLS holds already */
		run(&t, both_ended);
		assert_true(is_large(&t.near.in, LARGE));
		assert_true(is_large(&t.far.in, LARGE));
		trial_close(&t);
	}
}

static bool far_heard(struct trial *trial)
{
	return buf_len(&trial->far.in) == trial->near.out_len;
}

/* What TLS has taken off the socket is announced, though nothing more comes. */
static void test_pieces(void **state)
{
	(void)state;
	for (unsigned kind = 0; kind < 4; kind++) {
		struct trial t;
		trial_start(&t, kind);
		t.near.out = large;
		t.near.out_len = 100000;
		t.far.piece = 700;
		run(&t, far_heard);
		assert_true(is_large(&t.far.in, 100000));
		trial_close(&t);
	}
}

/* Who always has something to write still gets to read. */
static void test_busy_writer(void **state)
{
	(void)state;
	for (unsigned kind = 0; kind < 4; kind++) {
		struct trial t;
		trial_start(&t, kind);
		t.far.busy = true;
		t.near.out = large;
		t.near.out_len = 100000;
		run(&t, far_heard);
		trial_close(&t);
	}
}

/* Small messages to and fro. */
static void chat(unsigned kind, unsigned rounds)
{
	struct trial t;
	trial_start(&t, kind);
	run(&t, both_ready);
	for (unsigned i = 0; i < rounds; i++) {
		struct end *from = i % 2 ? &t.far : &t.near, *to = i % 2 ? &t.near : &t.far;
		assert_int_equal(stream_write(from->stream, "hello", 5), 5);
		while (buf_len(&to->in) < 5)
			io_loop_run(t.loop);
		assert_true(str_is(buf_str(&to->in), "hello"));
		buf_clear(&to->in);
	}
	trial_close(&t);
}

static bool always(struct trial *trial)
{
	(void)trial;
	return true;
}

static void test_slow_reader(void **state)
{
	(void)state;
	for (unsigned kind = 0; kind < 4; kind++) {
		struct trial t, other;
		trial_start(&t, kind);
		t.far.paused = true;
		run(&t, both_ready);
		t.near.out = large;
		t.near.out_len = LARGE;
		t.near.closes = true;
		unsigned rounds;
		size_t before;
		t.near.paused = true;
		/* The writer is told nothing while there is no room: a second connection on the loop goes through many rounds. */
		assert_int_equal(fd_set_inherit(stream_fd(t.near.stream), false), 0);
		other = (struct trial){ .loop = t.loop, .near.trial = &other, .far.trial = &other, .done = always };
		buf_init(&other.near.in, 1000);
		buf_init(&other.far.in, 1000);
		assert_int_equal(trial_connect(&other, PLAIN, NULL), 0);
		stream_want(other.far.stream, STREAM_READ);
		do {
			before = t.near.out_at;
			end_write(&t.near);
			end_want(&t.near);
			for (unsigned i = 0; i < 3; i++) {
				buf_clear(&other.far.in);
				stream_write(other.near.stream, "x", 1);
				while (buf_len(&other.far.in) == 0)
					io_loop_run(t.loop);
			}
		} while (t.near.out_at != before);
		assert_true(t.near.out_at < LARGE);
		rounds = t.near.writable;
		for (unsigned i = 0; i < 20; i++) {
			buf_clear(&other.far.in);
			stream_write(other.near.stream, "x", 1);
			while (buf_len(&other.far.in) == 0)
				io_loop_run(t.loop);
		}
		assert_int_equal(t.near.writable, rounds);
		assert_int_equal(stream_unsent(t.near.stream), kind & TLS ? 1 : 0);
		stream_free(other.near.stream);
		stream_free(other.far.stream);
		buf_done(&other.near.in);
		buf_done(&other.far.in);
		t.far.paused = false;
		end_want(&t.far);
		run(&t, far_ended);
		assert_true(t.far.eof);
		assert_true(is_large(&t.far.in, LARGE));
		assert_false(stream_unsent(t.near.stream));
		trial_close(&t);
	}
}

/* The end of a half-close waits for what is unsent, without anybody asking. */
static void test_close_after_unsent(void **state)
{
	(void)state;
	struct trial t;
	trial_start(&t, TLS);
	t.far.paused = true;
	run(&t, both_ready);
	ssize_t n;
	size_t sent = 0;
	while ((n = stream_write(t.near.stream, large + sent, 100000)) > 0)
		sent += (size_t)n;
	assert_int_equal(n, -EAGAIN);
	stream_want(t.near.stream, 0);
	assert_int_equal(stream_close_write(t.near.stream), 0);
	assert_int_equal(stream_close_write(t.near.stream), -E_CLOSED);
	t.far.paused = false;
	end_want(&t.far);
	run(&t, far_ended);
	assert_true(t.far.eof);
	assert_true(is_large(&t.far.in, sent));
	trial_close(&t);
}

static void test_truncation(void **state)
{
	(void)state;
	for (unsigned kind = 0; kind < 4; kind++) {
		struct trial t;
		trial_start(&t, kind);
		run(&t, both_ready);
		assert_int_equal(stream_write(t.near.stream, "cut", 3), 3);
		t.near.stream = stream_free(t.near.stream);
		run(&t, far_ended);
		assert_true(str_is(buf_str(&t.far.in), "cut"));
		assert_int_equal(t.far.eof, !(kind & TLS));
		assert_int_equal(t.far.read_err, kind & TLS ? -E_CLOSED : 0);
		trial_close(&t);
	}
}

static bool near_write_broke(struct trial *trial)
{
	return trial->near.write_err;
}

/* A writer that waits for room hears of the other's death, also when it does not read. */
static void test_reset(void **state)
{
	(void)state;
	for (unsigned kind = TCP; kind < 4; kind++) {
		struct trial t;
		trial_start(&t, kind);
		t.far.paused = t.near.paused = true;
		run(&t, both_ready);
		t.near.out = large;
		t.near.out_len = LARGE;
		size_t before;
		do {
			before = t.near.out_at;
			end_write(&t.near);
		} while (before != t.near.out_at);
		end_want(&t.near);
		stream_reset(t.far.stream);
		t.far.stream = stream_free(t.far.stream);
		run(&t, near_write_broke);
		assert_true(t.near.write_err == -ECONNRESET || t.near.write_err == -EPIPE);
		trial_close(&t);
	}
}

static void test_failed_connect(void **state)
{
	(void)state;
	for (unsigned kind = TCP; kind < 4; kind++) {
		struct trial t;
		int pair[2];
		struct socket_address gone;
		assert_int_equal(trial_open(&t), 0);
		/* The address of a socket that listens no more. */
		assert_int_equal(socket_address_parse(STR("127.0.0.1"), 0, &gone), 0);
		pair[1] = socket_listen(&gone);
		assert_int_equal(socket_local(pair[1], &gone), 0);
		fd_close(pair[1]);
		pair[0] = socket_connect(&gone);
		assert_true(pair[0] >= 0);
		const struct stream_settings settings = { .fd = pair[0],
			                                  .connecting = true,
			                                  .tls = kind & TLS ? client_tls : NULL };
		t.near.stream = stream_new(t.loop, &settings, &end_events, &t.near);
		assert_non_null(t.near.stream);
		assert_int_equal(stream_write(t.near.stream, "x", 1), -EAGAIN);
		assert_int_equal(stream_close_write(t.near.stream), -E_CLOSED);
		run(&t, near_failed);
		assert_int_equal(t.near.failed, -ECONNREFUSED);
		assert_int_equal(t.near.ready, 0);
		assert_int_equal(stream_write(t.near.stream, "x", 1), -E_CLOSED);
		trial_close(&t);
	}
}

static void test_handshake_timeout(void **state)
{
	(void)state;
	for (int server = 0; server < 2; server++) {
		struct trial t;
		int pair[2];
		assert_int_equal(trial_open(&t), 0);
		assert_int_equal(fd_pair_stream(pair), 0);
		const struct stream_settings settings = { .fd = pair[0],
			                                  .tls = server ? server_tls : client_tls,
			                                  .handshake_ms = 20 };
		t.near.stream = stream_new(t.loop, &settings, &end_events, &t.near);
		run(&t, near_failed);
		assert_int_equal(t.near.failed, -E_TIMEOUT);
		fd_close(pair[1]);
		trial_close(&t);
	}
}

static void test_handshake_refused(void **state)
{
	(void)state;
	struct trial t;
	int pair[2];
	/* another server than the one asked for */
	assert_int_equal(trial_open(&t), 0);
	assert_int_equal(trial_connect(&t, TLS, &other_leaf.identity), 0);
	run(&t, both_failed);
	assert_int_equal(t.near.failed, -E_CERTIFICATE_PEER);
	assert_int_equal(t.far.failed, -E_TLS);
	trial_close(&t);
	/* the one asked for */
	assert_int_equal(trial_open(&t), 0);
	assert_int_equal(trial_connect(&t, TLS, &server_leaf.identity), 0);
	run(&t, both_ready);
	assert_true(identity_equal(&tls_peer(stream_tls(t.far.stream))->identity, &client_leaf.identity));
	trial_close(&t);
	/* a client without certificate */
	assert_int_equal(trial_open(&t), 0);
	assert_int_equal(fd_pair_stream(pair), 0);
	struct stream_settings settings = { .fd = pair[0], .tls = stranger_tls };
	t.near.stream = stream_new(t.loop, &settings, &end_events, &t.near);
	settings = (struct stream_settings){ .fd = pair[1], .tls = server_tls };
	t.far.stream = stream_new(t.loop, &settings, &end_events, &t.far);
	run(&t, far_failed);
	assert_int_equal(t.far.failed, -E_CERTIFICATE);
	trial_close(&t);
	/* no TLS at all; the end of file in the middle */
	for (int garbage = 0; garbage < 2; garbage++) {
		assert_int_equal(trial_open(&t), 0);
		assert_int_equal(fd_pair_stream(pair), 0);
		settings.fd = pair[1];
		t.far.stream = stream_new(t.loop, &settings, &end_events, &t.far);
		assert_int_equal(fd_write(pair[0], "GET / HTTP/1.1\r\n", garbage ? 16 : 0), garbage ? 16 : 0);
		fd_close(pair[0]);
		run(&t, far_failed);
		assert_int_equal(t.far.failed, garbage ? -E_NOT_TLS : -E_CLOSED);
		trial_close(&t);
	}
}

static bool one_freed(struct trial *trial)
{
	return !trial->near.stream;
}

static void test_free_inside(void **state)
{
	(void)state;
	for (unsigned kind = 0; kind < 4; kind++)
		for (unsigned event = READY; event <= WRITABLE; event++) {
			struct trial t;
			trial_start(&t, kind);
			t.near.free_in = event;
			t.far.out = large; /* so that it is readable and writable at once */
			t.far.out_len = 100000;
			t.near.out = large;
			t.near.out_len = LARGE;
			run(&t, one_freed);
			trial_close(&t);
		}
	struct trial t;
	assert_int_equal(trial_open(&t), 0);
	assert_int_equal(trial_connect(&t, TLS, &other_leaf.identity), 0);
	t.near.free_in = t.far.free_in = FAILED;
	run(&t, both_failed);
	trial_close(&t);
	assert_null(stream_free(NULL));
}

static void test_new_owner(void **state)
{
	(void)state;
	struct trial t;
	trial_start(&t, TLS);
	run(&t, both_ready);
	struct end heir = { .trial = &t, .stream = t.far.stream };
	buf_init(&heir.in, 1000);
	stream_set_events(t.far.stream, &end_events, &heir);
	assert_int_equal(stream_write(t.near.stream, "hello", 5), 5);
	t.done = always;
	while (buf_len(&heir.in) < 5)
		io_loop_run(t.loop);
	assert_int_equal(heir.ready, 0);
	assert_int_equal(t.far.readable, 0);
	assert_int_equal(buf_len(&t.far.in), 0);
	buf_done(&heir.in);
	trial_close(&t);
}

static void test_chat(void **state)
{
	(void)state;
	for (unsigned kind = 0; kind < 4; kind++)
		chat(kind, 100);
}

/* The other side's descriptor, until its preamble has come; then the stream behind it is opened. */
struct gate {
	struct trial *trial;
	struct io_watch *watch;
	char preamble[STREAM_PREAMBLE_MAX];
	size_t len, expected;
	int fd, err;
	bool tls;
};

static void on_gate(void *ctx, unsigned events)
{
	struct gate *gate = ctx;
	struct trial *trial = gate->trial;
	(void)events;
	ssize_t n = fd_read(gate->fd, gate->preamble + gate->len, gate->expected - gate->len);
	if (n == -EAGAIN)
		return;
	gate->len += n > 0 ? (size_t)n : 0;
	gate->err = n < 0 ? (int)n : n == 0 ? -E_CLOSED : 0;
	if (gate->err == 0 && gate->len < gate->expected)
		return;
	gate->watch = io_watch_free(gate->watch);
	if (gate->err == 0) {
		const struct stream_settings settings = { .fd = gate->fd, .tls = gate->tls ? server_tls : NULL };
		gate->fd = -1;
		trial->far.stream = stream_new(trial->loop, &settings, &end_events, &trial->far);
		gate->err = trial->far.stream ? 0 : -E_NO_MEMORY;
	}
	if (gate->err < 0)
		io_loop_stop(trial->loop);
}

static int gate_open(struct gate *gate, struct trial *trial, unsigned kind, size_t len)
{
	int pair[2];
	*gate = (struct gate){ .trial = trial, .expected = len, .fd = -1, .tls = kind & TLS };
	int err = kind & TCP ? pair_tcp(pair) : fd_pair_stream(pair);
	if (err < 0)
		return err;
	gate->fd = pair[1];
	const struct stream_settings settings = { .fd = pair[0],
		                                  .connecting = kind & TCP,
		                                  .tls = kind & TLS ? client_tls : NULL,
		                                  .preamble = { (const char *)large, len } };
	trial->near.stream = stream_new(trial->loop, &settings, &end_events, &trial->near);
	gate->watch = io_watch_new(trial->loop, gate->fd, on_gate, gate);
	if (!trial->near.stream || !gate->watch)
		return -E_NO_MEMORY;
	return io_watch_set(gate->watch, IO_READABLE);
}

static void gate_close(struct gate *gate)
{
	io_watch_free(gate->watch);
	fd_close(gate->fd);
}

/* In clear, before everything else, once. */
static void test_preamble(void **state)
{
	(void)state;
	for (unsigned kind = 0; kind < 4; kind++)
		for (size_t len = 1; len <= STREAM_PREAMBLE_MAX; len += 21) {
			struct trial t;
			struct gate gate;
			assert_int_equal(trial_open(&t), 0);
			assert_int_equal(gate_open(&gate, &t, kind, len), 0);
			t.near.out = t.far.out = large;
			t.near.out_len = t.far.out_len = 50000;
			t.near.closes = t.far.closes = true;
			run(&t, both_ended);
			assert_int_equal(gate.err, 0);
			assert_memory_equal(gate.preamble, large, len);
			assert_true(is_large(&t.far.in, 50000));
			assert_true(is_large(&t.near.in, 50000));
			assert_int_equal(t.near.ready, 1);
			gate_close(&gate);
			trial_close(&t);
		}
}

static void test_long_preamble(void **state)
{
	(void)state;
	struct trial t;
	struct gate gate;
	char byte;
	assert_int_equal(trial_open(&t), 0);
	assert_int_equal(gate_open(&gate, &t, TLS, STREAM_PREAMBLE_MAX + 1), -E_NO_MEMORY);
	assert_null(t.near.stream);
	assert_int_equal(fd_read(gate.fd, &byte, 1), 0); /* its descriptor is closed */
	gate_close(&gate);
	trial_close(&t);
}

/* ---- faults ---- */

static bool settled(struct trial *trial)
{
	return trial->hung || trial->near.failed || trial->far.failed || trial->near.write_err || trial->far.write_err ||
	       trial->near.read_err || trial->far.read_err || both_ended(trial);
}

static int exchange(void *ctx)
{
	struct trial t;
	int err = trial_open(&t);
	if (err == 0)
		err = trial_connect(&t, *(unsigned *)ctx, NULL);
	t.near.out = t.far.out = large;
	t.near.out_len = t.far.out_len = 50000;
	t.near.closes = t.far.closes = true;
	if (err == 0) {
		run(&t, settled);
		err = is_large(&t.near.in, 50000) && is_large(&t.far.in, 50000) && t.near.eof && t.far.eof ? 0 : -E_CLOSED;
	}
	trial_close(&t);
	return err;
}

static int preamble_once(void *ctx)
{
	struct trial t;
	struct gate gate = { .fd = -1 };
	int err = trial_open(&t);
	if (err == 0)
		err = gate_open(&gate, &t, *(unsigned *)ctx, 48);
	t.near.out = large;
	t.near.out_len = 100;
	t.near.closes = t.far.closes = true;
	while (err == 0 && !gate.err && !settled(&t)) {
		t.done = settled;
		io_loop_run(t.loop);
	}
	bool good = err == 0 && t.far.eof && t.near.eof && is_large(&t.far.in, 100) && memcmp(gate.preamble, large, 48) == 0;
	gate_close(&gate);
	trial_close(&t);
	return good ? 0 : -E_CLOSED;
}

static void test_faults(void **state)
{
	(void)state;
	for (unsigned kind = 0; kind < 4; kind++) {
		assert_true(test_each_fault(exchange, &kind) > 10);
		assert_true(test_each_fault(preamble_once, &kind) > 10);
	}
}

static void context(struct tls_context **ret, bool server, const struct test_leaf *leaf)
{
	static const char *const alpn[] = { "h2", NULL };
	const struct tls_settings settings = { .server = server,
		                               .verify = TLS_VERIFY_REQUIRED,
		                               .leaf = leaf ? leaf->certificate : NULL,
		                               .key = leaf ? leaf->key : NULL,
		                               .intermediate = mesh.intermediate,
		                               .root = mesh.root,
		                               .mesh = mesh.id,
		                               .kinds = server ? 1u << IDENTITY_NODE : 1u << IDENTITY_COMPONENT,
		                               .alpn = alpn,
		                               .now = test_now };
	assert_int_equal(tls_context_new(&settings, ret), 0);
}

static int set_up(void **state)
{
	(void)state;
	mesh = test_mesh_new(1);
	server_leaf = test_leaf_new(&mesh, IDENTITY_COMPONENT, 2);
	client_leaf = test_leaf_new(&mesh, IDENTITY_NODE, 3);
	other_leaf = test_leaf_new(&mesh, IDENTITY_COMPONENT, 4);
	context(&server_tls, true, &server_leaf);
	context(&client_tls, false, &client_leaf);
	context(&stranger_tls, false, NULL);
	for (size_t i = 0; i < LARGE; i++)
		large[i] = (uint8_t)(i * 7 + i / 253);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	tls_context_free(server_tls);
	tls_context_free(client_tls);
	tls_context_free(stranger_tls);
	test_leaf_done(&server_leaf);
	test_leaf_done(&client_leaf);
	test_leaf_done(&other_leaf);
	test_mesh_done(&mesh);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_half_close),
		cmocka_unit_test(test_both_ways),
		cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_busy_writer),
		cmocka_unit_test(test_chat),
		cmocka_unit_test(test_slow_reader),
		cmocka_unit_test(test_close_after_unsent),
		cmocka_unit_test(test_truncation),
		cmocka_unit_test(test_reset),
		cmocka_unit_test(test_failed_connect),
		cmocka_unit_test(test_handshake_timeout),
		cmocka_unit_test(test_handshake_refused),
		cmocka_unit_test(test_free_inside),
		cmocka_unit_test(test_new_owner),
		cmocka_unit_test(test_preamble),
		cmocka_unit_test(test_long_preamble),
		cmocka_unit_test(test_faults),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
