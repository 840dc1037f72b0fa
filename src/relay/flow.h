/* relay/flow.h: one direction of a pair: bytes from one socket to another without a copy through this process. */
#ifndef RELAY_FLOW_H
#define RELAY_FLOW_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pipe;
struct pipe_pool;

struct flow {
	int from, to;
	bool blocked;      /* `to` has to become writable; otherwise, until finished, `from` readable */
	bool ended;        /* `from` gave its last byte */
	bool finished;     /* and `to` knows */
	struct pipe *pipe; /* NULL while nothing is inside */
	size_t held;       /* bytes in the pipe */
	uint64_t bytes;    /* sent on */
};

/* Moves what is there, but at most a few MiB.  buffer of size bytes serves when the pool has no pipe.  Returns 0, or -errno: the
 * pair is then broken. */
int flow_run(struct flow *flow, struct pipe_pool *pool, uint8_t *buffer, size_t size);
/* Gives the pipe up. */
void flow_done(struct flow *flow);
#endif
