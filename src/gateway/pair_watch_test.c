/* What is told of a relay's tunnels, over a real connection, of a real relay with legs of the test's own. */
#include "gateway/pair_watch.h"

#include "base/err.h"
#include "base/test.h"
#include "crypto/key.h"
#include "os/fd.h"
#include "os/random.h"

#define EVERY_MS 5

struct world {
	struct io_loop *loop;
	struct rpc_connection *server, *client;
	struct pair_watch watch;
	struct relay *relay;
	struct rpc_call *call; /* of the watch that was begun last */
	int ended;             /* how it ended; 1 = it goes on */
	size_t n_messages, n_pairs, n_over, n_whole, n_begins;
	murmesh_PairReport last;
};

static void on_ended(void *ctx, const struct relay_report *report)
{
	pair_watch_ended(&((struct world *)ctx)->watch, report);
}

static void on_news(void *ctx)
{
	pair_watch_news(&((struct world *)ctx)->watch);
}

static int on_open(void *ctx, struct rpc_call *call)
{
	return pair_watch_open(&((struct world *)ctx)->watch, call);
}

static int setup(void **state)
{
	static const struct rpc_connection_events server = { on_open, NULL, NULL }, client = { NULL, NULL, NULL };
	static const struct relay_events events = { on_ended, on_news };
	struct world *world = calloc(1, sizeof *world);
	int ends[2];
	*state = world;
	world->loop = io_loop_new();
	assert_int_equal(pair_watch_init(&world->watch, world->loop, EVERY_MS), 0);
	world->relay = world->watch.relay = relay_new(world->loop, &relay_settings_default, &events, world);
	assert_int_equal(fd_pair_stream(ends), 0);
	world->server =
	        rpc_connection_plain(world->loop, ends[0], &(struct rpc_connection_settings){ .server = true }, &server, world);
	world->client =
	        rpc_connection_plain(world->loop, ends[1], &(struct rpc_connection_settings){ .server = false }, &client, world);
	return 0;
}

static int teardown(void **state)
{
	struct world *world = *state;
	rpc_connection_free(world->client);
	rpc_connection_free(world->server);
	relay_free(world->relay);
	pair_watch_done(&world->watch);
	io_loop_free(world->loop);
	free(world);
	return 0;
}

/* ---- who watches ---- */

static void on_reports(void *ctx, const void *message)
{
	struct world *world = ctx;
	const murmesh_PairReports *reports = message;
	world->n_messages++;
	world->n_begins += reports->begins;
	world->n_whole += reports->whole;
	for (pb_size_t i = 0; i < reports->pairs_count; i++) {
		world->last = reports->pairs[i];
		world->n_over += world->last.ended;
		world->n_pairs += !world->last.ended;
	}
	io_loop_stop(world->loop);
}

static void on_closed(void *ctx, int err, const char *why)
{
	struct world *world = ctx;
	(void)why;
	world->ended = err;
	world->call = NULL;
	io_loop_stop(world->loop);
}

static void watch_begin(struct world *world)
{
	static const struct rpc_call_events events = { on_reports, NULL, NULL, on_closed };
	const murmesh_PairsWatch request = murmesh_PairsWatch_init_zero;
	world->ended = 1;
	world->n_messages = world->n_pairs = world->n_over = world->n_whole = world->n_begins = 0;
	world->call = rpc_call_open(world->client, &rpc_Relay_Watch, NULL, 0, &events, world);
	assert_int_equal(rpc_call_send(world->call, &request), 0);
}

static void await(struct world *world, const size_t *number, size_t value)
{
	while (*number < value && world->ended == 1)
		io_loop_run(world->loop);
	assert_int_equal(*number, value);
}

/* ---- tunnels: pairs of local sockets ---- */

struct meeting {
	struct id pair;
	int ends[2];
};

static void announce(struct world *world, struct meeting *m, uint8_t tickets[2][RELAY_TICKET], uint32_t expiry_s)
{
	random_id(&m->pair);
	random_bytes(tickets, 2 * RELAY_TICKET);
	for (int side = 0; side < 2; side++) {
		struct relay_ticket ticket = { .pair = m->pair, .side = (enum relay_side)side, .expiry_s = expiry_s };
		hash_sha256(tickets[side], RELAY_TICKET, ticket.hash);
		assert_int_equal(relay_announce(world->relay, &ticket), 0);
		m->ends[side] = -1;
	}
}

static void come(struct world *world, struct meeting *m, int side, const uint8_t ticket[RELAY_TICKET])
{
	uint8_t preamble[RELAY_PREAMBLE];
	int ends[2];
	assert_int_equal(fd_pair_stream(ends), 0);
	relay_preamble_write((enum relay_side)side, ticket, preamble);
	assert_int_equal(write(ends[0], preamble, sizeof preamble), sizeof preamble);
	m->ends[side] = ends[0];
	relay_leg(world->relay, ends[1]);
}

static void meet(struct world *world, struct meeting *m)
{
	uint8_t tickets[2][RELAY_TICKET];
	announce(world, m, tickets, 30);
	come(world, m, 0, tickets[0]);
	come(world, m, 1, tickets[1]);
}

static void part(struct meeting *m)
{
	fd_close(m->ends[0]);
	fd_close(m->ends[1]);
}

/* ---- tests ---- */

static void test_tunnels(void **state)
{
	struct world *world = *state;
	struct meeting m, later;
	meet(world, &m);
	watch_begin(world);
	await(world, &world->n_whole, 1);
	assert_int_equal(world->n_messages, 1);
	assert_int_equal(world->n_begins, 1);
	assert_int_equal(world->n_pairs, 1);
	assert_memory_equal(world->last.pair, m.pair.bytes, 16);
	assert_false(world->last.ended);

	meet(world, &later);
	await(world, &world->n_pairs, 2);
	assert_memory_equal(world->last.pair, later.pair.bytes, 16);
	assert_int_equal(write(m.ends[0], "question", 8), 8);
	assert_int_equal(write(m.ends[1], "yes", 3), 3);
	while (world->last.from_client < 8 || world->last.from_agent < 3)
		io_loop_run(world->loop);
	assert_memory_equal(world->last.pair, m.pair.bytes, 16);
	assert_int_equal(world->n_whole + world->n_begins, 2);

	char unread[8];
	assert_int_equal(read(m.ends[1], unread, 8), 8);
	assert_int_equal(read(m.ends[0], unread, 8), 3);
	part(&m);
	await(world, &world->n_over, 1);
	assert_memory_equal(world->last.pair, m.pair.bytes, 16);
	assert_int_equal(world->last.error, 0);
	assert_int_equal(world->last.from_client, 8);
	relay_close_pair(world->relay, &later.pair);
	await(world, &world->n_over, 2);
	assert_int_equal(world->last.error, E_CANCELLED);
	part(&later);
}

/* A device that does not come is a failure; a client is one who did not want it after all. */
static void test_alone(void **state)
{
	struct world *world = *state;
	struct meeting m[2];
	uint8_t tickets[2][2][RELAY_TICKET];
	watch_begin(world);
	await(world, &world->n_whole, 1);
	assert_int_equal(world->n_pairs, 0);
	for (int side = 0; side < 2; side++) {
		announce(world, &m[side], tickets[side], 1);
		come(world, &m[side], side, tickets[side][side]);
	}
	await(world, &world->n_over, 2);
	assert_int_equal(world->n_pairs, 0);
	assert_int_equal(world->last.error, memcmp(world->last.pair, m[0].pair.bytes, 16) == 0 ? E_PEER_GONE : 0);
	part(&m[0]);
	part(&m[1]);
}

/* More than one message. */
static void test_many(void **state)
{
	struct world *world = *state;
	static struct meeting m[300];
	const size_t n = sizeof m / sizeof *m;
	fd_limit_raise();
	for (size_t i = 0; i < n; i++)
		meet(world, &m[i]);
	watch_begin(world);
	await(world, &world->n_whole, 1);
	assert_int_equal(world->n_pairs, n);
	assert_int_equal(world->n_messages, 3);
	for (size_t i = 0; i < n; i++)
		part(&m[i]);
	await(world, &world->n_over, n);
}

/* The newest watches. */
static void test_again(void **state)
{
	struct world *world = *state;
	struct meeting m;
	meet(world, &m);
	watch_begin(world);
	await(world, &world->n_pairs, 1);
	struct rpc_call *first = world->call;
	static const struct rpc_call_events quiet = { on_reports, NULL, NULL, NULL };
	rpc_call_set_events(first, &quiet, world);
	watch_begin(world);
	await(world, &world->n_whole, 1);
	assert_int_equal(world->n_pairs, 1);
	assert_int_equal(world->n_begins, 1);
	part(&m);
	await(world, &world->n_over, 1);
}

/* Who does not read is ended when more ends wait than one message takes, and nothing is kept for nobody. */
static void test_slow(void **state)
{
	struct world *world = *state;
	struct relay_report report = { .came = { true, true } };
	watch_begin(world);
	await(world, &world->n_whole, 1);
	rpc_call_pause(world->call, true);
	for (size_t i = 0; i < 1000000 && world->watch.call; i++)
		pair_watch_ended(&world->watch, &report);
	assert_null(world->watch.call);
	rpc_call_pause(world->call, false);
	while (world->ended == 1)
		io_loop_run(world->loop);
	assert_int_equal(world->ended, -E_FLOW);
	pair_watch_ended(&world->watch, &report);
	pair_watch_news(&world->watch);
	watch_begin(world);
	await(world, &world->n_whole, 1);
	assert_int_equal(world->n_over, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_tunnels), TEST(test_alone), TEST(test_many), TEST(test_again), TEST(test_slow),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
