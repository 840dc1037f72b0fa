/* Dynamic maps with real local clients that speak SOCKS; the leg behind each is one end of a connection whose other end the test holds. */
#include <errno.h>

#include "base/err.h"
#include "base/test.h"
#include "portmap/map.h"
#include "portmap/socks.h"
#include "tunnel/test_end.h"

struct world {
	struct test_loop t;
	struct map_listener *map;
	struct map_connection *opening;
	struct socks_request asked;
	unsigned opened, answered, failures;
	int failed_err;
	struct socks_request failed_request;
	bool closes; /* the map, inside `failed` */
	struct test_end local, remote;
};

static void on_open(void *ctx, struct map_connection *connection)
{
	struct world *world = ctx;
	world->opening = connection;
	world->asked = *map_connection_request(connection);
	world->opened++;
}

static void on_failed(void *ctx, int err, const char *details, const struct socks_request *request)
{
	struct world *world = ctx;
	(void)details;
	world->failures++;
	world->failed_err = err;
	world->failed_request = request ? *request : (struct socks_request){ .port = 0 };
	if (world->closes)
		world->map = map_close(world->map);
}

static int world_open(struct world *world)
{
	const struct map_settings settings = { .dynamic = true, .open = on_open, .failed = on_failed, .ctx = world };
	struct socket_address address;
	*world = (struct world){ .opened = 0 };
	int err = test_loop_open(&world->t);
	if (err == 0)
		err = map_open(world->t.loop, &settings, &world->map);
	if (err == 0)
		err = socket_address_parse(STR("127.0.0.1"), map_port(world->map), &address);
	if (err == 0)
		err = test_end_connect(&world->local, &world->t, &address);
	world->local.keeps = true;
	return err;
}

static void world_close(struct world *world)
{
	world->map = map_close(world->map);
	if (world->answered < world->opened) /* each is answered once, also after the map was closed */
		map_connection_open(world->opening, NULL, 0, -E_CLOSED, "");
	if (world->local.stream)
		test_end_done(&world->local);
	if (world->remote.stream)
		test_end_done(&world->remote);
	if (world->t.loop)
		test_loop_close(&world->t);
}

static void world_start(struct world *world)
{
	assert_int_equal(world_open(world), 0);
	WAIT(&world->t, world->local.ready);
}

static void say(struct world *world, struct str bytes)
{
	assert_int_equal(stream_write(world->local.stream, bytes.ptr, bytes.len), bytes.len);
}

static bool heard(const struct world *world, struct str bytes)
{
	return str_equal(buf_str(&world->local.kept), bytes);
}

static void answer_well(struct world *world)
{
	static const struct stream_events none = { 0 };
	int pair[2];
	assert_int_equal(test_pair(pair), 0);
	const struct stream_settings far = { .fd = pair[0], .connecting = true }, near = { .fd = pair[1] };
	assert_int_equal(test_end_open(&world->remote, &world->t, &far), 0);
	world->remote.keeps = true;
	struct stream *leg = stream_new(world->t.loop, &near, &none, NULL);
	assert_non_null(leg);
	world->answered++;
	map_connection_open(world->opening, leg, 0, 0, "");
}

#define GREETING "\5\1\0"
#define NAS      "\5\1\0\3\3nas\0\120"
#define GOOD     "\5\0\5\0\0\1\0\0\0\0\0\0"

/* All at once, with bytes for the target behind it; then byte by byte. */
static void test_connects(void **state)
{
	static const struct str words = STR(GREETING NAS "hello");
	(void)state;
	for (int pieces = 0; pieces < 2; pieces++) {
		struct world world;
		world_start(&world);
		for (size_t i = 0; pieces && i < words.len; i++) {
			say(&world, (struct str){ words.ptr + i, 1 });
			test_loop_turn(&world.t, "a turn");
		}
		if (!pieces)
			say(&world, words);
		WAIT(&world.t, world.opened);
		assert_string_equal(world.asked.host, "nas");
		assert_int_equal(world.asked.port, 80);
		WAIT(&world.t, heard(&world, STR("\5\0"))); /* that there is a connection is not said before there is one */
		answer_well(&world);
		WAIT(&world.t, heard(&world, STR(GOOD)) && str_is(buf_str(&world.remote.kept), "hello"));
		test_end_text(&world.remote, "hi");
		WAIT(&world.t, heard(&world, STR(GOOD "hi")));
		assert_int_equal(world.failures, 0);
		assert_int_equal(map_connections(world.map), 1);
		world_close(&world);
	}
}

/* The client reads why, and then the end: also when bytes for the target stood behind its request. */
static void test_refused_target(void **state)
{
	(void)state;
	for (int closes = 0; closes < 2; closes++) {
		struct world world;
		world_start(&world);
		world.closes = closes;
		say(&world, STR(GREETING NAS "hello"));
		WAIT(&world.t, world.opened);
		world.answered++;
		map_connection_open(world.opening, NULL, 0, -E_TARGET_REFUSED, "");
		assert_int_equal(world.failures, 1);
		assert_int_equal(world.failed_err, -E_TARGET_REFUSED);
		assert_string_equal(world.failed_request.host, "nas");
		WAIT(&world.t, world.local.eof || world.local.err);
		if (!closes) {
			assert_true(heard(&world, STR("\5\0\5\5\0\1\0\0\0\0\0\0")));
			assert_int_equal(world.local.err, 0);
			test_end_done(&world.local);
			WAIT(&world.t, map_connections(world.map) == 0);
			assert_int_equal(world.failures, 1);
		}
		world_close(&world);
	}
}

static void test_wrong_words(void **state)
{
	static const struct {
		struct str says, hears;
	} rows[] = {
		{ STR("GET / HTTP/1.1\r\n\r\n"), STR("\5\377") },
		{ STR("\4\1\0\120\12\0\0\1\0"), STR("\5\377") },
		{ STR("\5\1\2"), STR("\5\377") },
		{ STR(GREETING "\5\2\0\1\12\0\0\1\0\120"), STR("\5\0\5\7\0\1\0\0\0\0\0\0") },
		{ STR(GREETING "\5\1\0\3\3a b\0\120"), STR("\5\0\5\1\0\1\0\0\0\0\0\0") },
	};
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct world world;
		print_message("row %zu\n", i);
		world_start(&world);
		say(&world, rows[i].says);
		WAIT(&world.t, world.local.eof || world.local.err);
		assert_int_equal(world.local.err, 0);
		assert_true(heard(&world, rows[i].hears));
		test_end_done(&world.local);
		WAIT(&world.t, world.failures);
		assert_int_equal(world.failed_err, -E_SOCKS);
		assert_int_equal(world.failed_request.port, 0);
		assert_int_equal(map_connections(world.map), 0);
		assert_int_equal(world.opened, 0);
		world_close(&world);
	}
}

/* One that leaves half-way is no failure; neither is one that is there when the map is closed. */
static void test_leaves(void **state)
{
	static const struct str words[] = { STR(""), STR("\5"), STR(GREETING "\5\1"), STR(GREETING NAS) };
	(void)state;
	for (int i = 0; i < 8; i++) {
		struct world world;
		world_start(&world);
		WAIT(&world.t, map_connections(world.map) == 1);
		if (words[i / 2].len)
			say(&world, words[i / 2]);
		if (i / 2 == 3)
			WAIT(&world.t, world.opened);
		if (i % 2 == 0) {
			world.map = map_close(world.map);
			WAIT(&world.t, world.local.err || world.local.eof);
			assert_int_equal(world.local.err, -ECONNRESET);
		} else {
			test_end_done(&world.local);
			if (i / 2 == 3)
				answer_well(&world);
			else
				WAIT(&world.t, map_connections(world.map) == 0);
		}
		assert_int_equal(world.failures, 0);
		world_close(&world);
	}
}

static int exchange(void *ctx)
{
	struct world world;
	(void)ctx;
	int err = world_open(&world);
	while (err == 0 && !world.local.ready && !world.local.err)
		test_loop_turn(&world.t, "connected");
	if (err == 0 && world.local.ready && stream_write(world.local.stream, GREETING NAS, sizeof GREETING NAS - 1) < 0)
		err = -E_CLOSED;
	while (err == 0 && !world.opened && !world.local.err && !world.local.eof && !world.failures)
		test_loop_turn(&world.t, "asked");
	if (world.opened) {
		world.answered++;
		map_connection_open(world.opening, NULL, 0, -E_OFFLINE, "");
		while (!world.local.eof && !world.local.err)
			test_loop_turn(&world.t, "answered");
	}
	bool good = err == 0 && heard(&world, STR("\5\0\5\3\0\1\0\0\0\0\0\0"));
	world_close(&world);
	return good && fault_armed() ? 0 : -E_CLOSED;
}

static void test_faults(void **state)
{
	(void)state;
	assert_true(test_each_fault(exchange, NULL) > 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_connects), cmocka_unit_test(test_refused_target), cmocka_unit_test(test_wrong_words),
		cmocka_unit_test(test_leaves),   cmocka_unit_test(test_faults),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
