#include "account/attempts.h"

#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"
#include "io/io.h"
#include "os/socket.h"

struct attempt {
	struct list node; /* asking or waiting */
	struct attempts *attempts;
	struct socket_source from;
	uint64_t until_ms; /* while it waits; else 0 */
	void (*over)(void *ctx);
	void *ctx;
};

struct attempts {
	struct io_loop *loop;
	struct attempts_limits limits;
	struct io_timer *timer;
	struct list asking, waiting; /* the oldest first */
	size_t n_asking, n_waiting;
};

static void answer_until(struct attempts *attempts, uint64_t now)
{
	while (!list_empty(&attempts->waiting)) {
		struct attempt *attempt = LIST_ENTRY(attempts->waiting.next, struct attempt, node);
		if (attempt->until_ms > now)
			return io_timer_start(attempts->timer, attempt->until_ms - now, 0);
		attempt->over(attempt->ctx);
	}
}

static void on_timer(void *ctx)
{
	struct attempts *attempts = ctx;
	answer_until(attempts, io_loop_now_ms(attempts->loop));
}

struct attempts *attempts_new(struct io_loop *loop, struct attempts_limits limits)
{
	struct attempts *attempts = mem_alloc(sizeof *attempts);
	if (!attempts)
		return NULL;
	attempts->loop = loop;
	attempts->limits = limits;
	list_init(&attempts->asking);
	list_init(&attempts->waiting);
	attempts->timer = io_timer_new(loop, on_timer, attempts);
	return attempts->timer ? attempts : attempts_free(attempts);
}

struct attempts *attempts_free(struct attempts *attempts)
{
	if (!attempts)
		return NULL;
	answer_until(attempts, UINT64_MAX);
	io_timer_free(attempts->timer);
	return mem_free(attempts);
}

static size_t of_client(const struct list *list, const struct socket_source *from)
{
	size_t n = 0;
	LIST_EACH(at, list)
		n += memcmp(LIST_ENTRY(at, struct attempt, node)->from.key, from->key, sizeof from->key) == 0;
	return n;
}

static bool room(const struct attempts *attempts, const struct socket_source *from)
{
	return of_client(&attempts->asking, from) + of_client(&attempts->waiting, from) < attempts->limits.each &&
	       attempts->n_asking < attempts->limits.asking && attempts->n_waiting < ATTEMPTS_WAITING;
}

int attempt_take(struct attempts *attempts, int fd, struct attempt **ret)
{
	struct socket_address peer;
	return socket_peer(fd, &peer) < 0 ? -E_CLOSED : attempt_take_of(attempts, &peer, ret);
}

int attempt_take_of(struct attempts *attempts, const struct socket_address *client, struct attempt **ret)
{
	struct socket_source from;
	socket_address_source(client, &from);
	if (!room(attempts, &from))
		return -E_BUSY;
	struct attempt *attempt = mem_alloc(sizeof *attempt);
	if (!attempt)
		return -E_NO_MEMORY;
	attempt->attempts = attempts;
	attempt->from = from;
	list_append(&attempts->asking, &attempt->node);
	attempts->n_asking++;
	*ret = attempt;
	return 0;
}

struct attempt *attempt_release(struct attempt *attempt)
{
	if (!attempt)
		return NULL;
	--*(attempt->until_ms ? &attempt->attempts->n_waiting : &attempt->attempts->n_asking);
	list_remove(&attempt->node);
	return mem_free(attempt);
}

void attempt_wait(struct attempt *attempt, void (*over)(void *ctx), void *ctx)
{
	struct attempts *attempts = attempt->attempts;
	attempt->over = over;
	attempt->ctx = ctx;
	attempt->until_ms = io_loop_now_ms(attempts->loop) + ATTEMPT_WAIT_MS;
	if (list_empty(&attempts->waiting))
		io_timer_start(attempts->timer, ATTEMPT_WAIT_MS, 0);
	list_remove(&attempt->node);
	list_append(&attempts->waiting, &attempt->node);
	attempts->n_asking--;
	attempts->n_waiting++;
}
