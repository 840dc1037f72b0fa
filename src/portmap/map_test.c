/* Maps with real local clients; the leg behind each is one end of a connection whose other end the test holds. */
#include "portmap/map.h"

#include <errno.h>
#include <sys/resource.h>

#include "base/err.h"
#include "base/test.h"
#include "os/fd.h"
#include "tunnel/test_end.h"

#define CLIENTS 4

struct world {
	struct test_loop t;
	struct map_listener *map;
	struct map_connection *opening[CLIENTS]; /* not yet answered */
	unsigned opened, answered, failures;
	int failed_err;
	char failed_details[64];
	bool closes, closes_at_once; /* inside `failed`, inside `open` */
	struct test_end local[CLIENTS], remote[CLIENTS];
};

static bool has_v6; /* this machine */

static void on_open(void *ctx, struct map_connection *connection)
{
	struct world *world = ctx;
	assert_true(world->opened < CLIENTS);
	world->opening[world->opened++] = connection;
	if (world->closes_at_once)
		world->map = map_close(world->map);
}

static void on_failed(void *ctx, int err, const char *details, const struct socks_request *request)
{
	struct world *world = ctx;
	assert_null(request);
	world->failures++;
	world->failed_err = err;
	snprintf(world->failed_details, sizeof world->failed_details, "%s", details);
	if (world->closes)
		world->map = map_close(world->map);
}

static int world_open_with(struct world *world, struct map_settings settings)
{
	*world = (struct world){ .opened = 0 };
	settings.open = on_open;
	settings.failed = on_failed;
	settings.ctx = world;
	int err = test_loop_open(&world->t);
	return err < 0 ? err : map_open(world->t.loop, &settings, &world->map);
}

static int world_open(struct world *world)
{
	return world_open_with(world, (struct map_settings){ .local_port = 0 });
}

static void world_close(struct world *world)
{
	world->map = map_close(world->map);
	while (world->answered < world->opened) /* each is answered once, also after the map was closed */
		map_connection_open(world->opening[world->answered++], NULL, 0, -E_CLOSED, "");
	for (int i = 0; i < CLIENTS; i++) {
		if (world->local[i].stream)
			test_end_done(&world->local[i]);
		if (world->remote[i].stream)
			test_end_done(&world->remote[i]);
	}
	if (world->t.loop)
		test_loop_close(&world->t);
}

static void world_start(struct world *world)
{
	assert_int_equal(world_open(world), 0);
	assert_int_not_equal(map_port(world->map), 0);
}

static int connect_to(struct world *world, int i, const char *host)
{
	struct socket_address address;
	assert_int_equal(socket_address_parse(str_from(host), map_port(world->map), &address), 0);
	return test_end_connect(&world->local[i], &world->t, &address);
}

static void wait_opened(struct world *world, unsigned n)
{
	WAIT(&world->t, world->opened == n && map_connections(world->map) == n);
}

/* A leg whose other end is world->remote[i]. */
static int leg_make(struct world *world, int i, struct stream **ret)
{
	static const struct stream_events none = { 0 };
	int pair[2];
	int err = test_pair(pair);
	if (err < 0)
		return err;
	const struct stream_settings far = { .fd = pair[0], .connecting = true }, near = { .fd = pair[1] };
	err = test_end_open(&world->remote[i], &world->t, &far);
	*ret = stream_new(world->t.loop, &near, &none, NULL);
	return err < 0 ? err : *ret ? 0 : -E_NO_MEMORY;
}

static void answer_well(struct world *world)
{
	struct stream *leg;
	unsigned i = world->answered++;
	assert_int_equal(leg_make(world, (int)i, &leg), 0);
	map_connection_open(world->opening[i], leg, 0, 0, "");
}

static void send_all(struct test_end *end, size_t n)
{
	end->to_send = n;
	end->closes = true;
	test_end_go(end);
}

static void test_both_families(void **state)
{
	(void)state;
	struct world world;
	world_start(&world);
	unsigned n = has_v6 ? 2 : 1;
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(connect_to(&world, (int)i, i ? "::1" : "127.0.0.1"), 0);
		wait_opened(&world, i + 1);
		answer_well(&world);
	}
	for (unsigned i = 0; i < n; i++) {
		send_all(&world.local[i], 500000);
		WAIT(&world.t, world.remote[i].eof);
		assert_true(test_end_received(&world.remote[i], 500000));
		send_all(&world.remote[i], 400000 + i);
		WAIT(&world.t, world.local[i].eof);
		assert_true(test_end_received(&world.local[i], 400000 + i));
	}
	WAIT(&world.t, map_connections(world.map) == 0);
	assert_int_equal(world.failures, 0);
	world_close(&world);
}

/* Bytes that a client sends at once wait until the leg is open. */
static void test_early_bytes(void **state)
{
	(void)state;
	struct world world;
	world_start(&world);
	assert_int_equal(connect_to(&world, 0, "127.0.0.1"), 0);
	send_all(&world.local[0], 30000);
	wait_opened(&world, 1);
	WAIT(&world.t, world.local[0].sent == 30000);
	answer_well(&world);
	WAIT(&world.t, world.remote[0].eof);
	assert_true(test_end_received(&world.remote[0], 30000));
	world_close(&world);
}

static void on_more(void *ctx)
{
	++*(unsigned *)ctx;
}

/* Who opens the leg may send them ahead: only the rest comes behind the answer. */
static void test_bytes_sent_ahead(void **state)
{
	(void)state;
	struct world world;
	struct stream *leg;
	unsigned more = 0;
	world_start(&world);
	assert_int_equal(connect_to(&world, 0, "127.0.0.1"), 0);
	wait_opened(&world, 1);
	map_connection_notify(world.opening[0], on_more, &more);
	world.local[0].to_send = 1000;
	test_end_go(&world.local[0]);
	WAIT(&world.t, map_connection_early(world.opening[0]).len == 1000);
	assert_true(more > 0);
	send_all(&world.local[0], 40000);
	WAIT(&world.t, map_connection_early(world.opening[0]).len == MAP_EARLY_MAX);
	assert_int_equal(leg_make(&world, 0, &leg), 0);
	world.remote[0].expects_from = 3000;
	map_connection_open(world.opening[world.answered++], leg, 3000, 0, "");
	WAIT(&world.t, world.remote[0].eof);
	assert_true(test_end_received(&world.remote[0], 37000));
	world_close(&world);
}

/* A refused target looks like one at once. */
static void test_refusal(void **state)
{
	(void)state;
	for (int closes = 0; closes < 2; closes++) {
		struct world world;
		world_start(&world);
		world.closes = closes;
		assert_int_equal(connect_to(&world, 0, "127.0.0.1"), 0);
		wait_opened(&world, 1);
		map_connection_open(world.opening[world.answered++], NULL, 0, -E_TARGET_REFUSED, "nobody there");
		assert_int_equal(world.failures, 1);
		assert_int_equal(world.failed_err, -E_TARGET_REFUSED);
		assert_string_equal(world.failed_details, "nobody there");
		WAIT(&world.t, world.local[0].err || world.local[0].eof);
		assert_int_equal(world.local[0].err, -ECONNRESET);
		if (!closes)
			assert_int_equal(map_connections(world.map), 0);
		world_close(&world);
	}
}

static void test_breaks(void **state)
{
	(void)state;
	for (int order = 0; order < 2; order++) {
		struct world world;
		world_start(&world);
		assert_int_equal(connect_to(&world, 0, "127.0.0.1"), 0);
		wait_opened(&world, 1);
		answer_well(&world);
		struct test_end *breaks = order ? &world.local[0] : &world.remote[0],
		                *other = order ? &world.remote[0] : &world.local[0];
		breaks->to_send = 1000;
		test_end_go(breaks);
		WAIT(&world.t, other->received == 1000);
		test_end_reset(breaks);
		WAIT(&world.t, other->err || other->eof);
		assert_int_equal(other->err, -ECONNRESET);
		assert_int_equal(map_connections(world.map), 0);
		world_close(&world);
	}
}

/* The map goes away: with a connection that is open, one that is still being opened, and later its answer, good or bad. */
static void test_close(void **state)
{
	(void)state;
	for (int good = 0; good < 2; good++) {
		struct world world;
		struct stream *leg = NULL;
		world_start(&world);
		assert_int_equal(connect_to(&world, 0, "127.0.0.1"), 0);
		wait_opened(&world, 1);
		answer_well(&world);
		assert_int_equal(connect_to(&world, 1, "127.0.0.1"), 0);
		wait_opened(&world, 2);
		uint16_t port = map_port(world.map);
		world.map = map_close(world.map);
		for (int i = 0; i < 2; i++) {
			WAIT(&world.t, world.local[i].err || world.local[i].eof);
			assert_int_equal(world.local[i].err, -ECONNRESET);
		}
		WAIT(&world.t, world.remote[0].err);
		assert_int_equal(world.remote[0].err, -ECONNRESET);
		if (good)
			assert_int_equal(leg_make(&world, 1, &leg), 0);
		map_connection_open(world.opening[world.answered++], leg, 0, good ? 0 : -E_OFFLINE, "late");
		assert_int_equal(world.failures, 0);
		if (good)
			WAIT(&world.t, world.remote[1].err || world.remote[1].eof);
		/* nobody listens there any more */
		struct socket_address address;
		socket_address_parse(STR("127.0.0.1"), port, &address);
		assert_int_equal(test_end_connect(&world.local[2], &world.t, &address), 0);
		WAIT(&world.t, world.local[2].err);
		assert_int_equal(world.local[2].err, -ECONNREFUSED);
		world_close(&world);
	}
	assert_null(map_close(NULL));
}

static void test_close_inside_open(void **state)
{
	(void)state;
	struct world world;
	world_start(&world);
	world.closes_at_once = true;
	assert_int_equal(connect_to(&world, 0, "127.0.0.1"), 0);
	WAIT(&world.t, world.local[0].err || world.local[0].eof);
	assert_int_equal(world.local[0].err, -ECONNRESET);
	assert_int_equal(world.opened, 1);
	world_close(&world);
}

/* The client goes away while its leg is being opened. */
static void test_client_leaves(void **state)
{
	(void)state;
	for (int resets = 0; resets < 2; resets++) {
		struct world world;
		world_start(&world);
		assert_int_equal(connect_to(&world, 0, "127.0.0.1"), 0);
		wait_opened(&world, 1);
		if (resets)
			test_end_reset(&world.local[0]);
		else
			test_end_done(&world.local[0]);
		answer_well(&world);
		WAIT(&world.t, world.remote[0].err || world.remote[0].eof);
		assert_int_equal(world.remote[0].eof, !resets);
		if (!resets)
			send_all(&world.remote[0], 0);
		WAIT(&world.t, map_connections(world.map) == 0);
		world_close(&world);
	}
}

/* It has been gone for a while when the leg opens: what was sent ahead on that may be no whole request. */
static void test_client_left_before(void **state)
{
	(void)state;
	struct world world;
	world_start(&world);
	assert_int_equal(connect_to(&world, 0, "127.0.0.1"), 0);
	wait_opened(&world, 1);
	test_end_reset(&world.local[0]);
	WAIT(&world.t, map_connections(world.map) == 0);
	answer_well(&world);
	WAIT(&world.t, world.remote[0].err || world.remote[0].eof);
	assert_int_equal(world.remote[0].err, -ECONNRESET);
	world_close(&world);
}

static void wait_reset(struct world *world, int i)
{
	WAIT(&world->t, world->local[i].err || world->local[i].eof);
	assert_int_equal(world->local[i].err, -ECONNRESET);
}

static void test_bind(void **state)
{
	(void)state;
	struct world world;
	assert_int_equal(world_open_with(&world, (struct map_settings){ .bind = MAP_BIND_ALL }), 0);
	const char *const hosts[] = { "127.0.0.1", "127.0.0.2", "::1" };
	for (int i = 0; i < (has_v6 ? 3 : 2); i++) {
		assert_int_equal(connect_to(&world, i, hosts[i]), 0);
		wait_opened(&world, (unsigned)i + 1);
	}
	world_close(&world);

	assert_int_equal(world_open_with(&world, (struct map_settings){ .bind = "127.0.0.2" }), 0);
	assert_int_equal(connect_to(&world, 0, "127.0.0.2"), 0);
	wait_opened(&world, 1);
	assert_int_equal(connect_to(&world, 1, "127.0.0.1"), 0);
	WAIT(&world.t, world.local[1].err);
	assert_int_equal(world.local[1].err, -ECONNREFUSED);
	world_close(&world);

	assert_int_equal(world_open_with(&world, (struct map_settings){ .bind = "192.0.2.1" }), -EADDRNOTAVAIL);
	world_close(&world);
	assert_int_equal(world_open_with(&world, (struct map_settings){ .bind = "localhost" }), -E_NOT_FOUND);
	world_close(&world);
}

static void test_allow(void **state)
{
	(void)state;
	struct world world;
	assert_int_equal(world_open_with(&world, (struct map_settings){ .bind = MAP_BIND_ALL, .allow = "::1,10.0.0.0/8" }), 0);
	assert_int_equal(connect_to(&world, 0, "127.0.0.1"), 0);
	wait_reset(&world, 0);
	assert_int_equal(world.failures, 1);
	assert_int_equal(world.failed_err, -E_MAP_SOURCE);
	assert_string_equal(world.failed_details, "127.0.0.1");
	assert_int_equal(world.opened, 0);
	if (has_v6) {
		assert_int_equal(connect_to(&world, 1, "::1"), 0);
		wait_opened(&world, 1);
	}
	world_close(&world);
	/* the owner may close the map in answer */
	assert_int_equal(world_open_with(&world, (struct map_settings){ .allow = "192.0.2.7" }), 0);
	world.closes = true;
	assert_int_equal(connect_to(&world, 0, "127.0.0.1"), 0);
	wait_reset(&world, 0);
	world_close(&world);
}

/* The silent one is reset at both ends; the one that is still being opened, and the one that moves, are not. */
static void test_idle(void **state)
{
	(void)state;
	struct world world;
	assert_int_equal(world_open_with(&world, (struct map_settings){ .idle_ms = 1000 }), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(connect_to(&world, i, "127.0.0.1"), 0);
		wait_opened(&world, (unsigned)i + 1);
		if (i < 2)
			answer_well(&world);
	}
	while (!world.local[0].err && !world.local[0].eof) {
		world.remote[1].to_send++; /* only the answers move */
		test_end_go(&world.remote[1]);
		test_loop_turn(&world.t, "the idle one is reset");
	}
	assert_int_equal(world.local[0].err, -ECONNRESET);
	WAIT(&world.t, world.remote[0].err);
	assert_int_equal(world.remote[0].err, -ECONNRESET);
	assert_int_equal(map_connections(world.map), 2);
	assert_true(world.local[1].received && !world.local[1].err);
	wait_reset(&world, 1); /* now that it rests as well */
	assert_int_equal(world.failures, 0);
	world_close(&world);
}

static int open_at(struct world *world, uint16_t port)
{
	const struct map_settings settings = { .local_port = port, .open = on_open, .failed = on_failed, .ctx = world };
	struct map_listener *map = NULL;
	int err = map_open(world->t.loop, &settings, &map);
	if (err == 0)
		assert_int_equal(map_port(map), port);
	assert_int_equal(map != NULL, err == 0);
	map_close(map);
	return err;
}

/* A port that is asked for by its number; taken by somebody else on either address. */
static void test_ports(void **state)
{
	(void)state;
	struct test_loop t;
	struct world world = { .opened = 0 };
	struct socket_address taken = test_closed_port();
	assert_int_equal(test_loop_open(&t), 0);
	world.t = t;
	assert_int_equal(open_at(&world, socket_address_port(&taken)), 0);
	assert_int_equal(open_at(&world, socket_address_port(&taken)), 0); /* free again at once */
	const char *const hosts[] = { "127.0.0.1", "::1" };
	for (int i = 0; i < (has_v6 ? 2 : 1); i++) {
		int fd = test_listen(hosts[i], &taken);
		assert_true(fd >= 0);
		assert_int_equal(open_at(&world, socket_address_port(&taken)), -E_PORT);
		fd_close(fd);
	}
	test_loop_close(&t);
}

/* Without descriptors a client waits; it is served when there are some again. */
static void test_no_descriptors(void **state)
{
	(void)state;
	struct world world;
	struct rlimit before, few;
	world_start(&world);
	assert_int_equal(connect_to(&world, 0, "127.0.0.1"), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	few = before;
	few.rlim_cur = 3;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	WAIT(&world.t, world.local[0].ready);
	for (int i = 0; i < 20; i++)
		test_loop_turn(&world.t, "a few turns");
	assert_int_equal(world.opened, 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	wait_opened(&world, 1);
	assert_int_equal(world.failures, 0);
	world_close(&world);
}

static bool over(const struct world *world, int i)
{
	return (world->local[i].eof && world->remote[i].eof) || world->local[i].err || world->remote[i].err || world->failures;
}

static int exchange(void *ctx)
{
	struct world world;
	(void)ctx;
	int err = world_open(&world);
	if (err == 0)
		err = connect_to(&world, 0, "127.0.0.1");
	if (err == 0) {
		WAIT(&world.t, world.opened || over(&world, 0));
		struct stream *leg = NULL;
		if (world.opened) {
			err = leg_make(&world, 0, &leg);
			world.answered++;
			map_connection_open(world.opening[0], err < 0 ? stream_free(leg) : leg, 0, err, "");
		}
		if (err == 0 && leg) {
			send_all(&world.local[0], 1000);
			send_all(&world.remote[0], 1000);
		}
		WAIT(&world.t, over(&world, 0));
	}
	bool good = err == 0 && world.local[0].eof && world.remote[0].eof && test_end_received(&world.local[0], 1000) &&
	            test_end_received(&world.remote[0], 1000);
	world_close(&world);
	/* a taken port or a lack of descriptors is overcome by trying again */
	return good && fault_armed() ? 0 : -E_CLOSED;
}

static void test_faults(void **state)
{
	(void)state;
	assert_true(test_each_fault(exchange, NULL) > 20);
}

static int set_up(void **state)
{
	(void)state;
	struct socket_address address;
	int fd = test_listen("::1", &address);
	has_v6 = fd >= 0;
	fd_close(fd < 0 ? -1 : fd);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both_families),
		cmocka_unit_test(test_early_bytes),
		cmocka_unit_test(test_refusal),
		cmocka_unit_test(test_breaks),
		cmocka_unit_test(test_close),
		cmocka_unit_test(test_close_inside_open),
		cmocka_unit_test(test_client_leaves),
		cmocka_unit_test(test_ports),
		cmocka_unit_test(test_no_descriptors),
		cmocka_unit_test(test_bind),
		cmocka_unit_test(test_allow),
		cmocka_unit_test(test_idle),
		cmocka_unit_test(test_bytes_sent_ahead),
		cmocka_unit_test(test_client_left_before),
		cmocka_unit_test(test_faults),
	};
	return cmocka_run_group_tests(tests, set_up, NULL);
}
