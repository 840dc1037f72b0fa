/* tunnel/test_end.h: a loop that tests wait on, connected sockets, and ends of streams that send a pattern and check what comes. */
#ifndef TUNNEL_TEST_END_H
#define TUNNEL_TEST_END_H
#include "base/buf.h"
#include "io/io.h"
#include "os/socket.h"
#include "stream/stream.h"

struct test_loop {
	struct io_loop *loop;
	struct io_timer *watchdog, *tick;
	bool hung;
};
int test_loop_open(struct test_loop *t); /* 0, or a negative code under injected faults */
void test_loop_close(struct test_loop *t);
/* Goes on until something has happened, or a few milliseconds have passed; fails when the test hangs. */
void test_loop_turn(struct test_loop *t, const char *waiting_for);
#define WAIT(t, condition)                                                                                                         \
	while (!(condition))                                                                                                       \
	test_loop_turn(t, #condition)

/* Over TCP on the loopback, with small buffers; the first still connecting, both non-blocking.  0 or a negative code. */
int test_pair(int ret_pair[2]);
/* A listener on a free port of a loopback address ("127.0.0.1", "::1"). */
int test_listen(const char *host, struct socket_address *ret_address);
/* The address of a port that was free a moment ago: nobody listens there. */
struct socket_address test_closed_port(void);

/* The byte of the pattern with that number; each end sends one of its own. */
struct test_end {
	struct test_loop *t;
	struct stream *stream;
	size_t to_send, sent, received;  /* bytes of the pattern */
	size_t sends_from, expects_from; /* where in the pattern it starts */
	size_t piece;                    /* most that is read and written at once; 0 = all */
	struct buf kept;                 /* what came, instead of comparing it, once it `keeps` */
	bool keeps, closes, paused;      /* closes: ends when all is sent; paused: reads nothing */
	bool ready, eof, closed, wrong;  /* wrong: other bytes came than expected */
	int err;                         /* of connecting, reading or writing */
};
/* settings as for stream_new(). */
int test_end_open(struct test_end *end, struct test_loop *t, const struct stream_settings *settings);
void test_end_take(struct test_end *end, struct test_loop *t, struct stream *stream); /* an open one */
/* The same with a socket to that address, or of that listener. */
int test_end_connect(struct test_end *end, struct test_loop *t, const struct socket_address *address);
void test_end_go(struct test_end *end); /* after a change of to_send, closes, paused */
void test_end_text(struct test_end *end, const char *text);
void test_end_done(struct test_end *end);                     /* closes without ceremony */
void test_end_reset(struct test_end *end);                    /* closes with RST */
bool test_end_received(const struct test_end *end, size_t n); /* exactly n right bytes */
#endif
