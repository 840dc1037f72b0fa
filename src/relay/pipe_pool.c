#include "relay/pipe_pool.h"

#include <fcntl.h>
#include <stdbool.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/mem.h"
#include "os/fd.h"

static void class_init(struct pipe_class *class, size_t size, size_t max)
{
	*class = (struct pipe_class){ .size = size, .max = max };
	list_init(&class->free);
}

void pipe_pool_init(struct pipe_pool *pool, size_t max_large, size_t max_small)
{
	class_init(&pool->classes[0], PIPE_LARGE, max_large);
	class_init(&pool->classes[1], PIPE_SMALL, max_small);
}

void pipe_drop(struct pipe *pipe)
{
	pipe->class->n--;
	fd_close(pipe->read);
	fd_close(pipe->write);
	mem_free(pipe);
}

void pipe_give(struct pipe *pipe)
{
	list_append(&pipe->class->free, &pipe->node);
}

void pipe_pool_done(struct pipe_pool *pool)
{
	for (int i = 0; i < 2; i++)
		LIST_EACH(node, &pool->classes[i].free)
			pipe_drop(LIST_ENTRY(node, struct pipe, node));
}

size_t pipe_pool_count(const struct pipe_pool *pool)
{
	return pool->classes[0].n + pool->classes[1].n;
}

/* The size that the kernel really gives: it refuses larger ones to an ordinary user who has many, and makes new ones smaller. */
static size_t pipe_resize(int fd, size_t size)
{
	if (!fault_hit())
		fcntl(fd, F_SETPIPE_SZ, (int)size);
	int given = fcntl(fd, F_GETPIPE_SZ);
	return given > 0 ? (size_t)given : 0;
}

static struct pipe *pipe_new(struct pipe_class *class)
{
	int ends[2];
	struct pipe *pipe = mem_alloc(sizeof *pipe);
	if (!pipe || fault_hit() || pipe2(ends, O_NONBLOCK | O_CLOEXEC) < 0)
		return mem_free(pipe);
	*pipe = (struct pipe){ .class = class, .read = ends[0], .write = ends[1], .size = pipe_resize(ends[1], class->size) };
	list_init(&pipe->node);
	class->n++;
	if (pipe->size >= class->size)
		return pipe;
	pipe_drop(pipe);
	class->max = class->n; /* there are no more of this size: do not ask for each wake-up */
	return NULL;
}

struct pipe *pipe_take(struct pipe_pool *pool)
{
	struct pipe *pipe = NULL;
	for (struct pipe_class *class = pool->classes; !pipe && class < pool->classes + 2; class ++)
		if (!list_empty(&class->free)) {
			pipe = LIST_ENTRY(class->free.prev, struct pipe, node); /* the last one used is warm in the cache */
			list_remove(&pipe->node);
		} else if (class->n < class->max) {
			pipe = pipe_new(class);
		}
	return pipe;
}
