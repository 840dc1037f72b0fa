#include "relay/flow.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#include "base/fault.h"
#include "os/socket.h"
#include "relay/pipe_pool.h"

enum { ROUNDS = 4 /* of at most a pipe's size in one wake-up: others want their turn */ };

/* The kernel's answer, or -errno. */
static ssize_t result_of(ssize_t n)
{
	return n < 0 ? -errno : n;
}

static ssize_t splice_some(int from, int to, size_t len)
{
	if (fault_hit())
		return -EIO;
	return result_of(splice(from, NULL, to, NULL, len, SPLICE_F_MOVE | SPLICE_F_NONBLOCK));
}

/* What was moved came to its end, stays in front of a full socket, or left room for more. */
static void flow_moved(struct flow *flow, ssize_t sent, size_t left)
{
	flow->bytes += (uint64_t)sent;
	flow->blocked = left > 0;
}

/* Each step reads only when nothing is held: a pipe with bytes and EAGAIN would not tell which side is in the way. */
static ssize_t flow_step_pipe(struct flow *flow)
{
	ssize_t n;
	if (flow->held == 0) {
		n = splice_some(flow->from, flow->pipe->write, flow->pipe->size);
		if (n <= 0)
			return n;
		flow->held = (size_t)n;
	}
	n = splice_some(flow->pipe->read, flow->to, flow->held);
	if (n < 0 && n != -EAGAIN)
		return n;
	n = n < 0 ? 0 : n;
	flow->held -= (size_t)n;
	flow_moved(flow, n, flow->held);
	return 1;
}

/* Takes from the source only what the other side took: nothing has to be kept between two wake-ups. */
static ssize_t flow_step_buffer(struct flow *flow, uint8_t *buffer, size_t size)
{
	ssize_t n = fault_hit() ? -EIO : result_of(recv(flow->from, buffer, size, MSG_PEEK | MSG_DONTWAIT));
	if (n <= 0)
		return n;
	ssize_t sent = fault_hit() ? -EIO : result_of(send(flow->to, buffer, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT));
	if (sent < 0 && sent != -EAGAIN)
		return sent;
	sent = sent < 0 ? 0 : sent;
	for (ssize_t taken = 0; taken < sent;) {
		/* MSG_TRUNC: TCP drops them without a copy; other sockets copy once more. */
		ssize_t m = result_of(recv(flow->from, buffer, (size_t)(sent - taken), MSG_TRUNC | MSG_DONTWAIT));
		if (m <= 0)
			return m < 0 ? m : -EIO;
		taken += m;
	}
	flow_moved(flow, sent, (size_t)(n - sent));
	return 1;
}

static void pipe_settle(struct flow *flow)
{
	if (!flow->pipe || flow->held > 0)
		return;
	pipe_give(flow->pipe);
	flow->pipe = NULL;
}

int flow_run(struct flow *flow, struct pipe_pool *pool, uint8_t *buffer, size_t size)
{
	ssize_t n = 1;
	if (flow->ended && flow->held == 0)
		return 0;
	if (!flow->pipe)
		flow->pipe = pipe_take(pool);
	flow->blocked = false;
	for (int round = 0; round < ROUNDS && n > 0 && !flow->blocked && !flow->ended; round++) {
		n = flow->pipe ? flow_step_pipe(flow) : flow_step_buffer(flow, buffer, size);
		flow->ended = n == 0;
	}
	pipe_settle(flow);
	if (n < 0 && n != -EAGAIN)
		return (int)n;
	if (!flow->ended || flow->finished)
		return 0;
	flow->finished = true;
	return socket_shutdown_write(flow->to);
}

void flow_done(struct flow *flow)
{
	if (flow->pipe && flow->held > 0)
		pipe_drop(flow->pipe);
	else if (flow->pipe)
		pipe_give(flow->pipe);
	flow->pipe = NULL;
}
