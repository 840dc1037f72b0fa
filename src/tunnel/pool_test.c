/* A pool against a real agent's end: each leg is a client's TLS, a wire that the test can hold and cut, and the agent's end. */
#include "tunnel/pool.h"

#include <errno.h>

#include "base/err.h"
#include "base/test.h"
#include "os/fd.h"
#include "tunnel/agent_end.h"
#include "tunnel/connect.h"
#include "tunnel/test_end.h"
#include "tunnel/test_grant.h"

#define WIRES   100
#define CLIENTS 20

struct wire {
	struct world *world;
	struct pool_leg *leg; /* until it is answered */
	struct stream *near;
	struct io_watch *watches[2];
	int fds[2]; /* towards the client, towards the agent */
	bool deaf;  /* what the client sends is lost */
	bool mute;  /* what the agent sends is lost */
};

struct client {
	struct world *world;
	struct pool_use *use;
	const char *says; /* so far */
	struct stream *stream;
	struct test_end end;
	size_t sent;
	unsigned opened;
	int err;
	char details[256];
};

struct world {
	struct test_loop t;
	int err;
	struct agent_end *agent;
	unsigned refusals;
	int refused_err;
	struct wire wires[WIRES];
	size_t n_wires, n_wanted;
	int open_err; /* no leg can be made: why */
	bool late;    /* a leg that is wanted is answered by the test */
	struct pool_leg *wanted;
	bool stale; /* grants are good no more when they are used */
	bool deaf, mute;
	uint16_t port;
	int target;
	struct io_watch *target_watch;
	struct test_end far[CLIENTS];
	unsigned accepted;
	struct pool_total total;
	struct pool *pool;
	struct client clients[CLIENTS];
};

static struct test_trust *trust;
static struct tls_context *agent_tls, *client_tls;

static int64_t test_now(void)
{
	return TEST_NOW;
}

/* ---- wires ---- */

static void wire_cut(struct wire *wire)
{
	for (int i = 0; i < 2; i++) {
		wire->watches[i] = io_watch_free(wire->watches[i]);
		wire->fds[i] = fd_close(wire->fds[i]);
	}
}

static void on_wire(void *ctx, unsigned events)
{
	struct wire *wire = ctx;
	static uint8_t bytes[65536];
	(void)events;
	for (int i = 0; i < 2; i++) {
		ssize_t n = fd_read(wire->fds[i], bytes, sizeof bytes);
		if (n == -EAGAIN)
			continue;
		bool lost = i ? wire->mute : wire->deaf;
		if (n <= 0 || (!lost && fd_write(wire->fds[!i], bytes, (size_t)n) != n))
			return wire_cut(wire);
	}
}

static void on_near_ready(void *ctx)
{
	struct wire *wire = ctx;
	struct stream *near = wire->near;
	wire->near = NULL;
	wire->deaf = wire->world->deaf;
	wire->mute = wire->world->mute;
	pool_leg_open(wire->leg, near, 0, "");
}

static void on_near_failed(void *ctx, int err)
{
	struct wire *wire = ctx;
	wire->near = stream_free(wire->near);
	pool_leg_open(wire->leg, NULL, err, "");
}

static int wire_open(struct wire *wire)
{
	static const struct stream_events events = { on_near_ready, NULL, NULL, on_near_failed };
	static const struct id pair_name = { { 7 } };
	struct world *world = wire->world;
	int near[2], far[2];
	int err = test_pair(near);
	if (err < 0)
		return err;
	wire->fds[0] = near[1];
	const struct stream_settings settings = {
		.fd = near[0], .connecting = true, .tls = client_tls, .expect = &trust->device.identity
	};
	wire->near = stream_new(world->t.loop, &settings, &events, wire);
	err = wire->near ? test_pair(far) : -E_NO_MEMORY;
	if (err < 0)
		return err;
	wire->fds[1] = far[1];
	err = agent_end_leg(world->agent, far[0], STR(""), &pair_name);
	for (int i = 0; i < 2 && err == 0; i++) {
		wire->watches[i] = io_watch_new(world->t.loop, wire->fds[i], on_wire, wire);
		err = wire->watches[i] ? io_watch_set(wire->watches[i], IO_READABLE) : -E_NO_MEMORY;
	}
	return err;
}

static int head_make(struct world *world, struct buf *head)
{
	char target[32];
	static murmesh_SignedDocument document;
	long countdown = fault_countdown;
	snprintf(target, sizeof target, ":%u", world->port);
	murmesh_Grant grant = test_grant(trust, target);
	if (world->stale)
		grant.until = TEST_NOW - 61;
	fault_arm(0); /* the server's work */
	test_sign_grant(trust, &grant, &document);
	fault_arm(countdown);
	return connect_head_write(head, &document, STR(""), world->port);
}

static void wire_start(struct world *world, struct pool_leg *leg)
{
	assert_true(world->n_wires < WIRES);
	struct wire *wire = &world->wires[world->n_wires++];
	*wire = (struct wire){ .world = world, .leg = leg, .fds = { -1, -1 } };
	int err = head_make(world, pool_leg_head(leg));
	if (err == 0)
		err = wire_open(wire);
	if (err == 0)
		return;
	wire_cut(wire);
	wire->near = stream_free(wire->near);
	pool_leg_open(leg, NULL, err, "");
}

static void on_wanted(void *ctx, struct pool_leg *leg)
{
	struct world *world = ctx;
	world->n_wanted++;
	if (world->open_err)
		return pool_leg_open(leg, NULL, world->open_err, "not now");
	if (!world->late)
		return wire_start(world, leg);
	assert_null(world->wanted);
	world->wanted = leg;
}

/* ---- the agent and its target ---- */

static int on_resolve(void *ctx, struct str host, agent_end_addresses done, void *done_ctx)
{
	(void)ctx, (void)host, (void)done, (void)done_ctx;
	return -E_TARGET_NAME;
}

static void on_refused(void *ctx, int err, const char *target, const struct id *pair)
{
	struct world *world = ctx;
	(void)target, (void)pair;
	world->refusals++;
	world->refused_err = err;
}

static void on_target(void *ctx, unsigned events)
{
	struct world *world = ctx;
	(void)events;
	const struct stream_settings settings = { .fd = socket_accept(world->target) };
	if (settings.fd == -EAGAIN)
		return;
	assert_true(settings.fd < 0 || world->accepted < CLIENTS);
	struct test_end *far = &world->far[world->accepted];
	far->keeps = true;
	int err = settings.fd < 0 ? settings.fd : test_end_open(far, &world->t, &settings);
	if (err < 0)
		world->err = err;
	else
		world->accepted++;
}

static int agent_open(struct world *world)
{
	const struct agent_end_settings settings = { .tls = agent_tls,
		                                     .trust = trust->trust,
		                                     .now = test_now,
		                                     .resolve = on_resolve,
		                                     .refused = on_refused,
		                                     .head_ms = 50,
		                                     .ctx = world };
	world->agent = agent_end_new(world->t.loop, &settings);
	return world->agent ? 0 : -E_NO_MEMORY;
}

static int world_open_with(struct world *world, uint64_t unused_ms)
{
	struct socket_address address;
	*world = (struct world){ .target = -1 };
	int err = test_loop_open(&world->t);
	if (err == 0)
		err = agent_open(world);
	if (err == 0)
		err = world->target = test_listen("127.0.0.1", &address);
	if (err < 0)
		return err;
	world->port = socket_address_port(&address);
	world->target_watch = io_watch_new(world->t.loop, world->target, on_target, world);
	if (!world->target_watch || io_watch_set(world->target_watch, IO_READABLE) < 0)
		return -E_NO_MEMORY;
	const struct pool_settings settings = { .total = &world->total, .unused_ms = unused_ms, .open = on_wanted, .ctx = world };
	world->pool = pool_new(world->t.loop, &settings);
	return world->pool ? 0 : -E_NO_MEMORY;
}

static int world_open(struct world *world)
{
	return world_open_with(world, 0);
}

static void world_close(struct world *world)
{
	world->pool = pool_free(world->pool);
	if (world->wanted)
		pool_leg_open(world->wanted, NULL, -E_CANCELLED, "");
	assert_int_equal(world->total.legs, 0);
	world->agent = agent_end_free(world->agent);
	for (size_t i = 0; i < world->n_wires; i++) {
		struct wire *wire = &world->wires[i];
		wire_cut(wire);
		if (wire->near) {
			wire->near = stream_free(wire->near);
			pool_leg_open(wire->leg, NULL, -E_CANCELLED, "");
		}
	}
	for (int i = 0; i < CLIENTS; i++) {
		if (world->clients[i].end.stream)
			test_end_done(&world->clients[i].end);
		if (world->far[i].stream)
			test_end_done(&world->far[i]);
	}
	io_watch_free(world->target_watch);
	fd_close(world->target);
	if (world->t.loop)
		test_loop_close(&world->t);
}

static void world_start(struct world *world)
{
	assert_int_equal(world_open(world), 0);
	WAIT(&world->t, pool_ready(world->pool) == 1 && agent_end_legs(world->agent) == 1);
}

/* ---- clients ---- */

static struct str on_early(void *ctx)
{
	return str_from(((struct client *)ctx)->says);
}

static void on_opened(void *ctx, struct stream *stream, size_t sent, int err, const char *details)
{
	struct client *client = ctx;
	client->opened++;
	client->use = NULL;
	client->err = err;
	client->sent = sent;
	assert_int_equal(str_copy(str_from(details), client->details, sizeof client->details), 0);
	assert_int_equal(err == 0, stream != NULL);
	if (stream) {
		client->end.keeps = true;
		test_end_take(&client->end, &client->world->t, stream);
	}
	io_loop_stop(client->world->t.loop);
}

static struct client *client_connect(struct world *world, int i, const char *says)
{
	static const struct pool_events events = { on_early, on_opened };
	struct client *client = &world->clients[i];
	*client = (struct client){ .world = world, .says = says };
	struct pool_use *use = pool_connect(world->pool, &events, client);
	assert_int_equal(use == NULL, client->opened == 1);
	client->use = use;
	return client;
}

static int client_result(struct world *world, int i, const char *says)
{
	struct client *client = client_connect(world, i, says);
	WAIT(&world->t, client->opened);
	assert_int_equal(client->opened, 1);
	return client->err;
}

static void wait_heard(struct world *world, unsigned i, const char *text)
{
	WAIT(&world->t, world->accepted > i && buf_len(&world->far[i].kept) >= strlen(text));
	assert_true(str_is(buf_str(&world->far[i].kept), text));
}

static void wait_ready(struct world *world, size_t n)
{
	WAIT(&world->t, pool_ready(world->pool) == n);
}

/* ---- what is kept ready ---- */

static void test_a_leg_is_ready(void **state)
{
	(void)state;
	struct world world;
	world_start(&world);
	for (int i = 0; i < 3; i++) {
		size_t wanted = world.n_wanted;
		struct client *client = client_connect(&world, i, "POST / HTTP/1.1\r\n\r\n");
		assert_int_equal(pool_ready(world.pool), 0);
		WAIT(&world.t, client->opened);
		assert_int_equal(client->err, 0);
		assert_int_equal(client->sent, strlen(client->says));
		assert_int_equal(world.n_wanted, wanted); /* it waited for nothing */
		wait_heard(&world, (unsigned)i, client->says);
		test_end_text(&world.far[i], "answer");
		WAIT(&world.t, client->end.received == 6);
		wait_ready(&world, 1);
	}
	assert_int_equal(world.total.legs, 1);
	assert_int_equal(world.refusals, 0);
	world_close(&world);
	assert_null(pool_free(NULL));
}

/* What comes while the answer is on its way does not wait for it. */
static void test_more(void **state)
{
	(void)state;
	struct world world;
	assert_int_equal(world_open(&world), 0);
	world.mute = true; /* the answer is lost */
	wait_ready(&world, 1);
	struct client *client = client_connect(&world, 0, "");
	WAIT(&world.t, world.accepted == 1);
	client->says = "one";
	pool_more(client->use);
	wait_heard(&world, 0, "one");
	client->says = "one, two";
	pool_more(client->use);
	wait_heard(&world, 0, "one, two");
	assert_int_equal(client->opened, 0);
	world_close(&world);
	assert_int_equal(client->opened, 1);
	assert_int_equal(client->err, -E_CANCELLED);
}

/* Those that find nothing ready have theirs made, and more are kept from then on. */
static void test_burst(void **state)
{
	(void)state;
	struct world world;
	assert_int_equal(world_open(&world), 0);
	WAIT(&world.t, world.n_wanted == 1);
	for (int i = 0; i < 6; i++)
		client_connect(&world, i, "x");
	assert_int_equal(world.n_wanted, 7);
	for (int i = 0; i < 6; i++) {
		WAIT(&world.t, world.clients[i].opened);
		assert_int_equal(world.clients[i].err, 0);
	}
	wait_ready(&world, POOL_LEGS_MAX);
	assert_int_equal(world.n_wanted, 6 + POOL_LEGS_MAX);
	WAIT(&world.t, agent_end_legs(world.agent) == 6 + POOL_LEGS_MAX);
	WAIT(&world.t, world.accepted == 6);
	world_close(&world);
}

/* A leg is what comes first: one that is stuck holds nobody up. */
static void test_stuck(void **state)
{
	(void)state;
	for (int own = 0; own < 2; own++) {
		struct world world;
		struct pool_leg *legs[2]; /* to be kept, and the connection's own */
		assert_int_equal(world_open(&world), 0);
		world.late = true;
		for (int i = 0; i < 2; i++) {
			if (i)
				client_connect(&world, 0, "x");
			WAIT(&world.t, world.wanted);
			legs[i] = world.wanted;
			world.wanted = NULL;
		}
		wire_start(&world, legs[own]);
		WAIT(&world.t, world.clients[0].opened);
		assert_int_equal(world.clients[0].err, 0);
		wait_heard(&world, 0, "x");
		assert_int_equal(pool_ready(world.pool), 0);
		world.late = false;
		wire_start(&world, legs[!own]);
		wait_ready(&world, 2);
		assert_int_equal(world.total.legs, 2);
		world_close(&world);
	}
}

/* They are made one by one, also by several pools together, and not more than the total. */
static void test_total(void **state)
{
	(void)state;
	struct world world;
	assert_int_equal(world_open(&world), 0);
	const struct pool_settings settings = { .total = &world.total, .open = on_wanted, .ctx = &world };
	struct pool *other = pool_new(world.t.loop, &settings);
	world.late = true; /* asserts that none is wanted while another one is */
	for (int i = 0; i < 2; i++) {
		WAIT(&world.t, world.wanted);
		struct pool_leg *leg = world.wanted;
		world.wanted = NULL;
		pool_leg_open(leg, NULL, -E_OFFLINE, "");
	}
	world.late = false;
	world.total.legs = POOL_TOTAL_MAX;
	assert_int_equal(client_result(&world, 0, "x"), 0); /* its own does not count */
	wait_heard(&world, 0, "x");
	assert_int_equal(world.n_wanted, 3);
	world.total.legs = 0;
	assert_int_equal(client_result(&world, 1, "x"), 0);
	wait_ready(&world, 4);
	pool_free(other);
	world_close(&world);
}

/* Not used for so long, it keeps none; the next connection warms it again. */
static void test_unused(void **state)
{
	(void)state;
	struct world world;
	assert_int_equal(world_open_with(&world, 300), 0);
	for (int i = 0; i < 2; i++) {
		wait_ready(&world, (size_t)(i ? 2 : 1));
		wait_ready(&world, 0);
		WAIT(&world.t, agent_end_legs(world.agent) == 0);
		assert_int_equal(client_result(&world, i, "x"), 0);
		wait_heard(&world, (unsigned)i, "x");
		test_end_reset(&world.clients[i].end);
	}
	world_close(&world);
}

/* A leg that somebody ended is not made anew until it is needed: he might go on and on. */
static void test_ended_while_ready(void **state)
{
	(void)state;
	struct world world;
	assert_int_equal(world_open_with(&world, 2000), 0);
	WAIT(&world.t, pool_ready(world.pool) == 1 && agent_end_legs(world.agent) == 1);
	world.agent = agent_end_free(world.agent);
	wait_ready(&world, 0);
	assert_int_equal(agent_open(&world), 0);
	for (int i = 0; i < 150; i++) /* the pool looks at its legs meanwhile */
		test_loop_turn(&world.t, "nothing");
	assert_int_equal(world.n_wanted, 1);
	assert_int_equal(client_result(&world, 0, "x"), 0);
	wait_ready(&world, 2);
	world_close(&world);
}

static void test_leg_that_cannot_be_made(void **state)
{
	(void)state;
	struct world world;
	assert_int_equal(world_open(&world), 0);
	world.open_err = -E_OFFLINE;
	WAIT(&world.t, world.n_wanted == 1);
	assert_int_equal(client_result(&world, 0, "x"), -E_OFFLINE);
	assert_string_equal(world.clients[0].details, "not now");
	world.open_err = 0;
	assert_int_equal(client_result(&world, 1, "x"), 0);
	world_close(&world);
}

/* ---- the agent's side of it ---- */

/* Of one user so many may wait for long; the next ones have to go, those that are there stay. */
static void test_kept_by_the_agent(void **state)
{
	(void)state;
	struct world world;
	assert_int_equal(world_open(&world), 0);
	wait_ready(&world, 1);
	struct wire *wires = world.wires;
	for (int i = 1; i < AGENT_END_KEPT_USER + 3; i++) {
		struct wire *wire = &wires[world.n_wires++];
		*wire = (struct wire){ .world = &world, .fds = { -1, -1 } };
		static const struct stream_events none = { 0 };
		assert_int_equal(wire_open(wire), 0);
		stream_set_events(wire->near, &none, NULL);
	}
	WAIT(&world.t, agent_end_legs(world.agent) == AGENT_END_KEPT_USER + 3);
	WAIT(&world.t, agent_end_legs(world.agent) == AGENT_END_KEPT_USER);
	assert_int_equal(pool_ready(world.pool), 1);
	assert_int_equal(client_result(&world, 0, "x"), 0);
	for (size_t i = 1; i < world.n_wires; i++) /* no legs of a pool */
		if (!wires[i].leg)
			wires[i].near = stream_free(wires[i].near);
	world_close(&world);
}

static void test_revoked_while_ready(void **state)
{
	(void)state;
	struct world world;
	uint8_t user[HASH_SIZE];
	world_start(&world);
	assert_int_equal(key_public_hash(trust->user.key, user), 0);
	WAIT(&world.t, (agent_end_revoke(world.agent, user), agent_end_legs(world.agent) == 0)); /* its handshake may not be done */
	wait_ready(&world, 0);
	world_close(&world);
}

/* ---- legs that are of no use ---- */

/* Nobody hears of a grant that has ended while it waited. */
static void test_stale_grant(void **state)
{
	(void)state;
	struct world world;
	assert_int_equal(world_open(&world), 0);
	world.stale = true;
	wait_ready(&world, 1);
	world.stale = false;
	assert_int_equal(client_result(&world, 0, "POST"), 0);
	assert_int_equal(world.refusals, 1);
	assert_int_equal(world.refused_err, -E_GRANT_EXPIRED);
	wait_heard(&world, 0, "POST");
	assert_int_equal(world.accepted, 1);
	world_close(&world);

	assert_int_equal(world_open(&world), 0);
	world.stale = true; /* the fresh one too: now it is said */
	wait_ready(&world, 1);
	assert_int_equal(client_result(&world, 0, "POST"), -E_GRANT_EXPIRED);
	assert_int_equal(world.accepted, 0);
	world_close(&world);
}

static void test_refused_target(void **state)
{
	(void)state;
	struct world world;
	world_start(&world);
	world.target_watch = io_watch_free(world.target_watch);
	world.target = fd_close(world.target);
	assert_int_equal(client_result(&world, 0, "POST"), -E_TARGET_REFUSED);
	assert_string_equal(world.clients[0].details, err_text(E_TARGET_REFUSED));
	assert_int_equal(world.refusals, 1);
	world_close(&world);
}

/* The next ready leg loses what the client or the agent sends, once the pool has heard (or not) which agent it is. */
static void world_start_losing(struct world *world, bool deaf, bool mute, bool heard)
{
	world_start(world);
	world->deaf = deaf;
	world->mute = mute;
	if (heard)
		assert_int_equal(client_result(world, 0, "GET"), 0);
	else { /* in its place */
		world->pool = pool_free(world->pool);
		WAIT(&world->t, agent_end_legs(world->agent) == 0);
		const struct pool_settings settings = { .total = &world->total, .open = on_wanted, .ctx = world };
		world->pool = pool_new(world->t.loop, &settings);
	}
	wait_ready(world, 1);
	world->deaf = world->mute = false;
}

static struct wire *last_wire(struct world *world)
{
	return &world->wires[world->n_wires - 1];
}

/* A ready leg is killed under a POST before the agent has heard of it: a fresh one brings it. */
static void test_killed_before(void **state)
{
	(void)state;
	for (int heard = 0; heard < 2; heard++) {
		struct world world;
		world_start_losing(&world, true, false, heard);
		struct wire *wire = last_wire(&world);
		struct client *client = client_connect(&world, 1, "POST");
		for (int i = 0; i < 5; i++)
			test_loop_turn(&world.t, "nothing");
		assert_int_equal(client->opened, 0);
		wire_cut(wire);
		WAIT(&world.t, client->opened);
		if (heard) {
			assert_int_equal(client->err, 0);
			wait_heard(&world, 1, "POST");
			assert_int_equal(world.accepted, 2);
		} else { /* who knows what an older agent has done with it? */
			assert_true(client->err == -E_CLOSED || client->err == -ECONNRESET);
			assert_int_equal(world.accepted, 0);
		}
		world_close(&world);
	}
}

/* The same when the target has it already: it sees it once. */
static void test_killed_behind(void **state)
{
	(void)state;
	for (int restarts = 0; restarts < 2; restarts++) {
		struct world world;
		world_start_losing(&world, false, true, true);
		struct wire *wire = last_wire(&world);
		struct client *client = client_connect(&world, 1, "POST");
		wait_heard(&world, 1, "POST");
		assert_int_equal(client->opened, 0);
		if (restarts) { /* the next agent does not know what this one has opened */
			agent_end_free(world.agent);
			assert_int_equal(agent_open(&world), 0);
		} else
			wire_cut(wire);
		WAIT(&world.t, client->opened);
		assert_int_equal(client->err, -E_OPEN_ID_SEEN);
		assert_int_equal(world.accepted, 2);
		assert_true(str_is(buf_str(&world.far[1].kept), "POST"));
		world_close(&world);
	}
}

/* Nothing was sent behind it: it may be opened again, by any agent. */
static void test_killed_without_bytes(void **state)
{
	(void)state;
	struct world world;
	world_start_losing(&world, true, false, false);
	struct client *client = client_connect(&world, 0, "");
	wire_cut(last_wire(&world));
	WAIT(&world.t, client->opened);
	assert_int_equal(client->err, 0);
	WAIT(&world.t, world.accepted == 1);
	world_close(&world);
}

/* ---- the end ---- */

static void test_freed_meanwhile(void **state)
{
	(void)state;
	struct world world;
	for (int made = 0; made < 2; made++) {
		assert_int_equal(world_open(&world), 0);
		world.late = true;
		WAIT(&world.t, world.wanted);
		struct pool_leg *leg = world.wanted;
		world.wanted = NULL;
		if (made)
			client_connect(&world, 0, "x");
		world.pool = pool_free(world.pool);
		assert_int_equal(world.clients[0].opened, made);
		assert_int_equal(world.total.legs, 0);
		pool_leg_open(leg, NULL, -E_CANCELLED, "");
		world_close(&world);
	}
}

static int exchange(void *ctx)
{
	struct world world;
	(void)ctx;
	int err = world_open(&world);
	if (err == 0) {
		WAIT(&world.t, pool_ready(world.pool) || (!fault_armed() && !world.total.legs));
		struct client *client = client_connect(&world, 0, "POST");
		WAIT(&world.t, client->opened);
		err = client->err;
	}
	if (err == 0)
		WAIT(&world.t, world.err || world.clients[0].end.err || world.clients[0].end.eof || world.far[0].received == 4 ||
		                       world.far[0].err || world.far[0].eof);
	bool good = err == 0 && !world.err && world.far[0].received == 4 && !world.clients[0].end.err && !world.clients[0].end.eof;
	world_close(&world);
	/* a leg that could not be kept ready is no failure */
	return good && fault_armed() ? 0 : -E_CLOSED;
}

static void test_faults(void **state)
{
	(void)state;
	assert_true(test_each_fault(exchange, NULL) > 50);
}

/* ---- */

static struct tls_context *context(bool server, const struct test_leaf *leaf)
{
	static const char *const alpn[] = { "http/1.1", NULL };
	struct tls_context *made = NULL;
	const struct tls_settings settings = { .server = server,
		                               .leaf = leaf->certificate,
		                               .key = leaf->key,
		                               .intermediate = trust->mesh.intermediate,
		                               .root = trust->mesh.root,
		                               .mesh = trust->mesh.id,
		                               .kinds = server ? 1u << IDENTITY_USER : 1u << IDENTITY_NODE,
		                               .alpn = alpn,
		                               .now = test_now };
	assert_int_equal(tls_context_new(&settings, &made), 0);
	return made;
}

static int set_up(void **state)
{
	(void)state;
	trust = test_trust_new(1);
	agent_tls = context(true, &trust->device);
	client_tls = context(false, &trust->user);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	tls_context_free(agent_tls);
	tls_context_free(client_tls);
	trust = test_trust_free(trust);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_leg_is_ready),
		cmocka_unit_test(test_more),
		cmocka_unit_test(test_burst),
		cmocka_unit_test(test_stuck),
		cmocka_unit_test(test_total),
		cmocka_unit_test(test_unused),
		cmocka_unit_test(test_ended_while_ready),
		cmocka_unit_test(test_leg_that_cannot_be_made),
		cmocka_unit_test(test_kept_by_the_agent),
		cmocka_unit_test(test_revoked_while_ready),
		cmocka_unit_test(test_stale_grant),
		cmocka_unit_test(test_refused_target),
		cmocka_unit_test(test_killed_before),
		cmocka_unit_test(test_killed_behind),
		cmocka_unit_test(test_killed_without_bytes),
		cmocka_unit_test(test_freed_meanwhile),
		cmocka_unit_test(test_faults),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
