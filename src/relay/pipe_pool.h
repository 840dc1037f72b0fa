/* relay/pipe_pool.h: pipes for splicing, shared by all flows: a flow has one only while bytes are inside, so that an idle pair
 * costs no pipe.  The kernel charges a pipe's whole capacity to the uid: a few large ones, more small ones, then none. */
#ifndef RELAY_PIPE_POOL_H
#define RELAY_PIPE_POOL_H
#include <stddef.h>

#include "base/list.h"

#define PIPE_LARGE ((size_t)1 << 20) /* bytes; a large pipe is worth 1.6 small ones in CPU */
#define PIPE_SMALL ((size_t)64 << 10)

struct pipe_class {
	struct list free;
	size_t size, n, max; /* n: free and taken ones */
};

struct pipe {
	struct list node;
	struct pipe_class *class;
	int read, write;
	size_t size; /* bytes, as the kernel gave it */
};

struct pipe_pool {
	struct pipe_class classes[2]; /* large, small */
};

void pipe_pool_init(struct pipe_pool *pool, size_t max_large, size_t max_small);
void pipe_pool_done(struct pipe_pool *pool);    /* all pipes are back */
struct pipe *pipe_take(struct pipe_pool *pool); /* NULL: none left, or the kernel refuses */
void pipe_give(struct pipe *pipe);              /* back, empty */
void pipe_drop(struct pipe *pipe);              /* with bytes inside */
size_t pipe_pool_count(const struct pipe_pool *pool);
#endif
