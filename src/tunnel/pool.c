#include "tunnel/pool.h"

#include <errno.h>

#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"
#include "io/io.h"
#include "os/random.h"
#include "stream/stream.h"
#include "tunnel/connect.h"

#define QUIET_MS     4     /* nobody wants the loop */
#define IMPATIENT_MS 250   /* then a leg is made in any case */
#define MAKING_MS    2000  /* is long for a leg: others are made meanwhile */
#define TURN_MS      25    /* until it is looked again whether another pool has made its leg */
#define AGAIN_MS     20000 /* after a CONNECT; the agent knows it for ONCE_MS */
#define LOOKS        10    /* for legs that are too old, in unused_ms */

struct pool {
	struct io_loop *loop;
	struct pool_settings settings;
	struct list ready, opening; /* legs; the oldest first */
	struct list uses;
	size_t n_ready, n_making, wanted;
	struct io_timer *refill, *look;
	uint64_t used_ms;        /* last connection, or its beginning */
	uint64_t refill_ms;      /* since when a leg is to be made */
	bool refilling, looking; /* the timers run */
	struct id agent;         /* its name, once it has said that it opens an id once; else zero */
	bool cold;               /* none is made until the next connection */
};

struct pool_leg {
	struct list node;
	struct pool *pool;    /* NULL: freed meanwhile */
	struct pool_use *use; /* it is opened for; NULL = to be kept */
	struct stream *stream;
	struct buf head;
	uint64_t made_ms;
};

struct pool_use {
	struct list node;
	struct pool *pool;
	const struct pool_events *events;
	void *ctx;
	struct connect *connect;
	struct connect_answer answer;
	struct id open_id;
	size_t sent;
	bool warm;  /* its leg was ready: another one may serve */
	bool again; /* what became of the first CONNECT is not known, which was sent at begun_ms, when the agent had this name */
	uint64_t begun_ms;
	struct id agent;
	bool *over; /* it has ended inside pool_connect() */
};

static void refill_soon(struct pool *pool);

/* ---- legs ---- */

static void leg_free(struct pool_leg *leg)
{
	list_remove(&leg->node);
	stream_free(leg->stream);
	buf_done(&leg->head);
	mem_free(leg);
}

static void ready_drop(struct pool_leg *leg)
{
	leg->pool->n_ready--;
	leg->pool->settings.total->legs--;
	leg_free(leg);
}

static void made(struct pool *pool)
{
	pool->n_making--;
	pool->settings.total->making_until_ms = 0;
}

/* Whoever has ended it may end the next one too. */
static void on_ready_failed(void *ctx, int err)
{
	struct pool_leg *leg = ctx;
	(void)err;
	leg->pool->cold = true;
	ready_drop(leg);
}

/* An agent says nothing before it is asked: this is the end of the leg, or no agent of ours. */
static void on_ready_readable(void *ctx)
{
	struct pool_leg *leg = ctx;
	uint8_t byte;
	ssize_t n = stream_read(leg->stream, &byte, 1);
	if (n != -EAGAIN)
		on_ready_failed(leg, (int)n);
}

static void leg_keep(struct pool_leg *leg)
{
	static const struct stream_events events = { NULL, on_ready_readable, NULL, on_ready_failed };
	struct pool *pool = leg->pool;
	made(pool);
	list_append(&pool->ready, &leg->node);
	pool->n_ready++;
	leg->made_ms = io_loop_now_ms(pool->loop);
	stream_set_events(leg->stream, &events, leg);
	stream_want(leg->stream, STREAM_READ);
	refill_soon(pool);
}

static struct pool_leg *leg_new(struct pool *pool, struct pool_use *use)
{
	struct pool_leg *leg = mem_alloc(sizeof *leg);
	if (!leg)
		return NULL;
	leg->pool = pool;
	leg->use = use;
	buf_init(&leg->head, CONNECT_HEAD_MAX);
	list_append(&pool->opening, &leg->node);
	return leg;
}

struct buf *pool_leg_head(struct pool_leg *leg)
{
	return &leg->head;
}

/* ---- making them ready ---- */

static bool wants_more(const struct pool *pool)
{
	return !pool->cold && pool->n_ready + pool->n_making < pool->wanted && pool->settings.total->legs < POOL_TOTAL_MAX;
}

/* A handshake now would take the processor from a connection that is being used. */
static bool is_idle(const struct pool *pool)
{
	return (list_empty(&pool->uses) && io_loop_quiet_ms(pool->loop) >= QUIET_MS) ||
	       io_loop_now_ms(pool->loop) - pool->refill_ms >= IMPATIENT_MS;
}

static void on_refill(void *ctx)
{
	struct pool *pool = ctx;
	struct pool_total *total = pool->settings.total;
	bool making = total->making_until_ms > io_loop_now_ms(pool->loop);
	uint64_t quiet = io_loop_quiet_ms(pool->loop);
	pool->refilling = wants_more(pool) && (making || !is_idle(pool));
	if (pool->refilling)
		return io_timer_start(pool->refill, making ? TURN_MS : quiet < QUIET_MS ? QUIET_MS - quiet : QUIET_MS, 0);
	struct pool_leg *leg = wants_more(pool) ? leg_new(pool, NULL) : NULL;
	if (!leg)
		return;
	total->legs++;
	total->making_until_ms = io_loop_now_ms(pool->loop) + MAKING_MS;
	pool->n_making++;
	pool->settings.open(pool->settings.ctx, leg);
}

static void refill_soon(struct pool *pool)
{
	if (pool->refilling || !wants_more(pool))
		return;
	pool->refilling = true;
	pool->refill_ms = io_loop_now_ms(pool->loop);
	io_timer_start(pool->refill, QUIET_MS, 0);
}

/* ---- connections ---- */

static void use_end(struct pool_use *use, struct stream *stream, int err, const char *details)
{
	const struct pool_use was = *use;
	if (use->over)
		*use->over = true;
	list_remove(&use->node);
	mem_free(use);
	refill_soon(was.pool);
	was.events->opened(was.ctx, stream, was.sent, err, details);
}

static void use_order(struct pool_use *use)
{
	struct pool *pool = use->pool;
	struct pool_leg *leg = leg_new(pool, use);
	if (!leg)
		return use_end(use, NULL, -E_NO_MEMORY, "");
	pool->settings.open(pool->settings.ctx, leg);
}

/* Has nothing been done yet, as far as can be known, or will it not be done twice? */
static bool may_come_again(const struct pool_use *use, int err)
{
	if (!use->warm)
		return false;
	if (use->answer.came)
		return err == -E_GRANT_EXPIRED || err == -E_SIGNATURE || err == -E_USER_SIGNATURE;
	return err != -E_TARGET_TIMEOUT && err != -E_HTTP_HEAD && (!use->sent || !id_is_zero(&use->agent));
}

static void use_again(struct pool_use *use)
{
	use->warm = false;
	use->again = !use->answer.came;
	if (!use->again)
		random_id(&use->open_id);
	use->sent = 0;
	use_order(use);
}

static void on_connected(void *ctx, struct stream *stream, int err, const char *details)
{
	struct pool_use *use = ctx;
	use->connect = NULL;
	if (stream)
		use->pool->agent = use->answer.once;
	if (!stream && may_come_again(use, err))
		use_again(use);
	else
		use_end(use, stream, err, details);
}

static void use_begin(struct pool_use *use, struct pool_leg *leg)
{
	struct pool *pool = use->pool;
	struct stream *stream = leg->stream;
	struct str early = use->events->early(use->ctx);
	uint64_t now = io_loop_now_ms(pool->loop);
	const struct connect_request request = { .head = buf_str(&leg->head),
		                                 .open_id = &use->open_id,
		                                 .again = use->again && !id_is_zero(&use->agent) ? &use->agent : NULL,
		                                 .first = early,
		                                 .answer = &use->answer };
	if (use->again && now - use->begun_ms > AGAIN_MS) {
		leg_free(leg);
		return use_end(use, NULL, -E_PEER_GONE, "");
	}
	if (!use->again)
		use->agent = pool->agent;
	leg->stream = NULL;
	use->answer = (struct connect_answer){ .came = false };
	use->sent = early.len;
	use->begun_ms = now;
	int err = connect_new(pool->loop, stream, &request, on_connected, use, &use->connect);
	leg_free(leg);
	if (err < 0)
		on_connected(use, NULL, err, "");
}

/* One that was to be kept serves a connection whose own is not there yet, which is kept then: either may be stuck. */
static void exchange(struct pool_leg *leg)
{
	LIST_EACH(at, &leg->pool->opening) {
		struct pool_leg *other = LIST_ENTRY(at, struct pool_leg, node);
		if (leg->use || !other->use)
			continue;
		leg->use = other->use;
		other->use = NULL;
	}
}

void pool_leg_open(struct pool_leg *leg, struct stream *stream, int err, const char *details)
{
	struct pool *pool = leg->pool;
	list_remove(&leg->node);
	leg->stream = stream;
	if (!pool)
		return leg_free(leg);
	if (stream)
		exchange(leg);
	struct pool_use *use = leg->use;
	if (use && stream)
		return use_begin(use, leg);
	if (stream)
		return leg_keep(leg);
	leg_free(leg);
	if (use)
		return use_end(use, NULL, err, details);
	made(pool);
	pool->settings.total->legs--;
	pool->cold = true;
}

/* Takes one that is ready, or orders one. */
static void use_start(struct pool_use *use)
{
	struct pool *pool = use->pool;
	if (pool->n_ready) {
		struct pool_leg *leg = LIST_ENTRY(pool->ready.next, struct pool_leg, node);
		pool->n_ready--;
		pool->settings.total->legs--;
		use->warm = true;
		refill_soon(pool);
		return use_begin(use, leg);
	}
	pool->wanted = pool->wanted * 2 < POOL_LEGS_MAX ? pool->wanted * 2 : POOL_LEGS_MAX;
	use_order(use);
}

static void look_on(struct pool *pool)
{
	uint64_t period = pool->settings.unused_ms / LOOKS + 1;
	pool->used_ms = io_loop_now_ms(pool->loop);
	pool->cold = false;
	if (!pool->looking)
		io_timer_start(pool->look, period, period);
	pool->looking = true;
}

struct pool_use *pool_connect(struct pool *pool, const struct pool_events *events, void *ctx)
{
	bool over = false;
	struct pool_use *use = mem_alloc(sizeof *use);
	if (!use) {
		events->opened(ctx, NULL, 0, -E_NO_MEMORY, "");
		return NULL;
	}
	*use = (struct pool_use){ .pool = pool, .events = events, .ctx = ctx, .over = &over };
	random_id(&use->open_id);
	list_append(&pool->uses, &use->node);
	look_on(pool);
	use_start(use);
	if (over)
		return NULL;
	use->over = NULL;
	return use;
}

void pool_more(struct pool_use *use)
{
	if (use->connect)
		use->sent += connect_send(use->connect, str_skip(use->events->early(use->ctx), use->sent));
}

/* ---- the pool ---- */

static void on_look(void *ctx)
{
	struct pool *pool = ctx;
	uint64_t now = io_loop_now_ms(pool->loop), unused_ms = pool->settings.unused_ms;
	LIST_EACH(at, &pool->ready) {
		struct pool_leg *leg = LIST_ENTRY(at, struct pool_leg, node);
		if (now - pool->used_ms >= unused_ms || now - leg->made_ms >= unused_ms)
			ready_drop(leg);
	}
	if (now - pool->used_ms >= unused_ms) {
		pool->cold = true;
		pool->wanted = 1;
		pool->looking = false;
		io_timer_stop(pool->look);
	}
	refill_soon(pool);
}

struct pool *pool_new(struct io_loop *loop, const struct pool_settings *settings)
{
	struct pool *pool = mem_alloc(sizeof *pool);
	if (!pool)
		return NULL;
	*pool = (struct pool){ .loop = loop, .settings = *settings, .wanted = 1 };
	if (!pool->settings.unused_ms)
		pool->settings.unused_ms = POOL_UNUSED_MS;
	list_init(&pool->ready);
	list_init(&pool->opening);
	list_init(&pool->uses);
	pool->refill = io_timer_new(loop, on_refill, pool);
	pool->look = io_timer_new(loop, on_look, pool);
	if (!pool->refill || !pool->look)
		return pool_free(pool);
	look_on(pool);
	refill_soon(pool);
	return pool;
}

struct pool *pool_free(struct pool *pool)
{
	if (!pool)
		return NULL;
	pool->cold = true;
	LIST_EACH(at, &pool->ready)
		ready_drop(LIST_ENTRY(at, struct pool_leg, node));
	LIST_EACH(at, &pool->opening) {
		struct pool_leg *leg = LIST_ENTRY(at, struct pool_leg, node);
		if (!leg->use) {
			made(pool);
			pool->settings.total->legs--;
		}
		list_remove(&leg->node);
		leg->pool = NULL;
		leg->use = NULL;
	}
	while (!list_empty(&pool->uses)) {
		struct pool_use *use = LIST_ENTRY(pool->uses.next, struct pool_use, node);
		use->connect = connect_free(use->connect);
		use_end(use, NULL, -E_CANCELLED, "");
	}
	io_timer_free(pool->refill);
	io_timer_free(pool->look);
	return mem_free(pool);
}

size_t pool_ready(const struct pool *pool)
{
	return pool->n_ready;
}
