/* UDP maps with real local senders and a real target; between them the map, a leg over loopback TCP, and the agent's end (tunnel/udp_end.h). */
#include "portmap/udp_map.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>

#include "base/err.h"
#include "base/test.h"
#include "os/datagram.h"
#include "os/fd.h"
#include "rpc/rpc.h"
#include "tunnel/rate.h"
#include "tunnel/test_end.h"
#include "tunnel/test_grant.h"
#include "tunnel/udp_end.h"
#include "tunnel/udp_flow.h"

#define SENDERS 50

enum agent { GOOD, OLD, ODD }; /* ODD: answers by hand, world->odd */

struct world {
	struct test_loop t;
	struct udp_map *map;
	/* what the map's owner does */
	struct udp_leg *asked; /* not yet answered */
	unsigned opened, failures;
	int failed_err, refuse; /* refuse: instead of a leg */
	char failed_details[300];
	bool keeps, closes, closes_at_once; /* does not answer; closes the map inside `failed`, inside `open` */
	/* the agent */
	enum agent agent;
	struct rpc_connection *server;
	struct udp_end *end;
	size_t n_flows;
	struct h2_stream *odd;
	unsigned refusals;
	int refused_err;
	char refused_target[300];
	char name[256];
	agent_end_addresses answer;
	void *answer_ctx;
	/* the target */
	int target;
	struct io_watch *watch;
	uint16_t port;
	unsigned heard;
	uint16_t from; /* of the last one */
	bool mute;
	int senders[SENDERS];
	size_t n_senders;
};

static struct test_trust *trust;
static char grant[GRANT_TEXT_SIZE];

static void grant_for(const char *target)
{
	static murmesh_SignedDocument document;
	murmesh_Grant content = test_grant(trust, target);
	test_sign_grant(trust, &content, &document);
	assert_int_equal(grant_text_write(&document, grant), 0);
}

/* ---- the target ---- */

static void on_target(void *ctx, unsigned events)
{
	struct world *world = ctx;
	static uint8_t bytes[70000];
	struct datagram_peer peer;
	ssize_t n;
	(void)events;
	while ((n = datagram_receive_from(world->target, bytes, sizeof bytes, &peer)) >= 0) {
		world->heard++;
		world->from = socket_address_port(&peer.address);
		if (!world->mute)
			datagram_send_to(world->target, bytes, (size_t)n, &peer);
	}
}

static int target_open(struct world *world, uint16_t port)
{
	struct socket_address address;
	assert_int_equal(socket_address_parse(STR("127.0.0.1"), port, &address), 0);
	world->target = datagram_listen(&address);
	if (world->target < 0)
		return world->target;
	assert_int_equal(socket_local(world->target, &address), 0);
	world->port = socket_address_port(&address);
	world->watch = io_watch_new(world->t.loop, world->target, on_target, world);
	return world->watch ? io_watch_set(world->watch, IO_READABLE) : -E_NO_MEMORY;
}

static void target_close(struct world *world)
{
	world->watch = io_watch_free(world->watch);
	world->target = fd_close(world->target);
}

/* ---- the agent ---- */

static const struct trust *trust_now(void *ctx)
{
	(void)ctx;
	return trust->trust;
}

static int64_t test_now(void)
{
	return TEST_NOW;
}

static int on_resolve(void *ctx, struct str host, agent_end_addresses done, void *done_ctx)
{
	struct world *world = ctx;
	assert_int_equal(str_copy(host, world->name, sizeof world->name), 0);
	if (str_is(host, "busy.example"))
		return -E_BUSY;
	world->answer = done;
	world->answer_ctx = done_ctx;
	return 0;
}

static void on_refused(void *ctx, int err, const char *target)
{
	struct world *world = ctx;
	world->refusals++;
	world->refused_err = err;
	snprintf(world->refused_target, sizeof world->refused_target, "%s", target);
}

static void agent_end(struct world *world)
{
	world->end = udp_end_free(world->end);
	world->odd = NULL;
	rpc_connection_drop(&world->server);
}

static void on_server_closed(void *ctx, int err)
{
	(void)err;
	agent_end(ctx);
}

static int on_connect(void *ctx, struct h2_stream *stream, const struct h2_head *head)
{
	struct world *world = ctx;
	const struct udp_end_settings settings = { .user = trust->user.identity,
		                                   .trust = trust_now,
		                                   .now = test_now,
		                                   .resolve = on_resolve,
		                                   .refused = on_refused,
		                                   .n_flows = &world->n_flows,
		                                   .ctx = world };
	if (world->agent == ODD) {
		world->odd = stream;
		return 0;
	}
	if (!world->end)
		world->end = udp_end_new(world->t.loop, &settings);
	return world->end ? udp_end_request(world->end, stream, head) : -E_NO_MEMORY;
}

static int agent_begin(struct world *world, int fd)
{
	static const struct rpc_connection_events good = { .closed = on_server_closed, .connect = on_connect },
	                                          old = { .closed = on_server_closed };
	static const struct rpc_connection_settings settings = { .server = true, .max_streams = UDP_FLOWS_MAX };
	agent_end(world);
	world->server = rpc_connection_plain(world->t.loop, fd, &settings, world->agent == OLD ? &old : &good, world);
	return world->server ? 0 : -E_NO_MEMORY;
}

/* ---- the map's owner ---- */

static void leg_answer(struct world *world)
{
	static const struct stream_events none = { 0 };
	struct udp_leg *leg = world->asked;
	int pair[2];
	world->asked = NULL;
	int err = world->refuse ? world->refuse : test_pair(pair);
	if (err < 0)
		return udp_map_leg(leg, NULL, "", err, world->refuse ? "the details" : "");
	const struct stream_settings near = { .fd = pair[0], .connecting = true };
	struct stream *stream = stream_new(world->t.loop, &near, &none, NULL);
	err = agent_begin(world, pair[1]);
	if (err < 0 || !stream)
		stream = stream_free(stream);
	udp_map_leg(leg, stream, grant, stream ? 0 : -E_NO_MEMORY, "");
}

static void on_open(void *ctx, struct udp_leg *leg)
{
	struct world *world = ctx;
	world->opened++;
	assert_null(world->asked);
	world->asked = leg;
	if (world->closes_at_once)
		world->map = udp_map_close(world->map);
	else if (!world->keeps)
		leg_answer(world);
}

static void on_failed(void *ctx, int err, const char *details)
{
	struct world *world = ctx;
	world->failures++;
	world->failed_err = err;
	snprintf(world->failed_details, sizeof world->failed_details, "%s", details);
	if (world->closes)
		world->map = udp_map_close(world->map);
}

/* ---- a world ---- */

static int map_start(struct world *world, struct udp_map_settings settings)
{
	settings.port = world->port;
	settings.open = on_open;
	settings.failed = on_failed;
	settings.ctx = world;
	return udp_map_open(world->t.loop, &settings, &world->map);
}

static int sender_new(struct world *world)
{
	struct socket_address address;
	assert_int_equal(socket_address_parse(STR("127.0.0.1"), udp_map_port(world->map), &address), 0);
	int fd = datagram_connect(&address);
	assert_true(fd >= 0);
	world->senders[world->n_senders++] = fd;
	return fd;
}

static void base_open(struct world *world)
{
	*world = (struct world){ .target = -1 };
	assert_int_equal(test_loop_open(&world->t), 0);
	assert_int_equal(target_open(world, 0), 0);
}

/* The grant is for the target's port on the device itself. */
static void world_open_with(struct world *world, struct udp_map_settings settings)
{
	char target[64];
	base_open(world);
	snprintf(target, sizeof target, ":%u/udp", world->port);
	grant_for(target);
	assert_int_equal(map_start(world, settings), 0);
}

static void world_open(struct world *world)
{
	world_open_with(world, (struct udp_map_settings){ .local_port = 0 });
}

static void world_close(struct world *world)
{
	world->map = udp_map_close(world->map);
	if (world->asked)
		udp_map_leg(world->asked, NULL, "", -E_CANCELLED, "");
	agent_end(world);
	if (world->answer)
		world->answer(world->answer_ctx, -E_TARGET_NAME, NULL, 0);
	target_close(world);
	for (size_t i = 0; i < world->n_senders; i++)
		fd_close(world->senders[i]);
	test_loop_close(&world->t);
}

static size_t flows(const struct world *world)
{
	return world->n_flows;
}

static void say(int fd, const char *text)
{
	assert_int_equal(datagram_send(fd, text, strlen(text)), 0);
}

static void assert_hears(struct world *world, int fd, const char *text)
{
	char bytes[100];
	ssize_t n;
	while ((n = datagram_receive(fd, bytes, sizeof bytes)) == -EAGAIN)
		test_loop_turn(&world->t, text);
	assert_int_equal(n, strlen(text));
	assert_memory_equal(bytes, text, (size_t)n);
}

/* ---- */

static void test_boundaries(void **state)
{
	static const size_t lengths[] = { 0, 1, 1200, 16384, 0, 65506, 65507 };
	static uint8_t sent[65507], got[70000];
	struct world world;
	(void)state;
	world_open(&world);
	int fd = sender_new(&world);
	for (size_t i = 0; i < sizeof sent; i++)
		sent[i] = (uint8_t)(i * 5 + i / 256);
	for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
		ssize_t n;
		assert_int_equal(datagram_send(fd, sent, lengths[i]), 0);
		while ((n = datagram_receive(fd, got, sizeof got)) == -EAGAIN)
			test_loop_turn(&world.t, "the same datagram");
		assert_int_equal(n, lengths[i]);
		assert_memory_equal(got, sent, lengths[i]);
	}
	for (int i = 0; i < 40; i++)
		assert_int_equal(datagram_send(fd, sent, (size_t)i * 10), 0);
	for (int i = 0; i < 40; i++) {
		ssize_t n;
		while ((n = datagram_receive(fd, got, sizeof got)) == -EAGAIN)
			test_loop_turn(&world.t, "all that was sent, in its order");
		assert_int_equal(n, i * 10);
	}
	assert_int_equal(world.opened, 1);
	assert_int_equal(udp_map_flows(world.map), 1);
	assert_int_equal(flows(&world), 1);
	assert_int_equal(world.failures + world.refusals, 0);
	assert_int_equal(udp_map_lost(world.map) + udp_end_lost(world.end), 0);
	world_close(&world);
}

/* Each source is a source of its own for the target too, and hears its own answers alone. */
static void test_many_sources(void **state)
{
	struct world world;
	char text[32];
	(void)state;
	world_open(&world);
	for (int i = 0; i < SENDERS; i++) {
		snprintf(text, sizeof text, "from %d", i);
		say(sender_new(&world), text);
	}
	for (int i = SENDERS - 1; i >= 0; i--) {
		snprintf(text, sizeof text, "from %d", i);
		assert_hears(&world, world.senders[i], text);
	}
	assert_int_equal(world.opened, 1);
	assert_int_equal(udp_map_flows(world.map), SENDERS);
	assert_int_equal(flows(&world), SENDERS);
	say(world.senders[0], "x");
	assert_hears(&world, world.senders[0], "x");
	uint16_t first = world.from;
	say(world.senders[1], "x");
	assert_hears(&world, world.senders[1], "x");
	assert_int_not_equal(world.from, first);
	assert_int_equal(flows(&world), SENDERS);
	for (int i = 0; i < SENDERS; i++)
		assert_int_equal(datagram_receive(world.senders[i], text, sizeof text), -EAGAIN);
	world_close(&world);
}

/* A refusal closes the flow; the next datagram begins a new one. */
static void test_nobody_there(void **state)
{
	struct world world;
	(void)state;
	world_open(&world);
	int fd = sender_new(&world);
	uint16_t port = world.port;
	target_close(&world);
	say(fd, "x");
	WAIT(&world.t, world.failures);
	assert_int_equal(world.failed_err, -E_TARGET_REFUSED);
	assert_int_equal(world.refused_err, -E_TARGET_REFUSED);
	WAIT(&world.t, udp_map_flows(world.map) == 0 && flows(&world) == 0);
	assert_int_equal(target_open(&world, port), 0);
	say(fd, "y");
	assert_hears(&world, fd, "y");
	assert_int_equal(world.opened, 1);
	world_close(&world);
}

/* What the grant does not name is refused by the agent: another port, the same port of TCP. */
static void test_grants(void **state)
{
	struct world world;
	char target[64];
	(void)state;
	for (int i = 0; i < 4; i++) {
		world_open(&world);
		snprintf(target, sizeof target,
		         i == 0   ? ":%u"
		         : i == 1 ? "127.0.0.1:%u"
		         : i == 2 ? "10.0.0.1:%u/udp"
		                  : "%u",
		         world.port);
		grant_for(target);
		if (i == 3)
			str_copy(STR("no-grant"), grant, sizeof grant);
		say(sender_new(&world), "x");
		WAIT(&world.t, world.failures);
		assert_int_equal(world.failed_err, -E_GRANT);
		assert_string_equal(world.failed_details, err_text(-E_GRANT));
		assert_int_equal(world.refused_err, -E_GRANT);
		snprintf(target, sizeof target, "localhost:%u/udp", world.port);
		assert_string_equal(world.refused_target, target);
		WAIT(&world.t, udp_map_flows(world.map) == 0 && flows(&world) == 0);
		assert_int_equal(world.heard, 0);
		world_close(&world);
	}
}

static void test_expired_grant(void **state)
{
	struct world world;
	static murmesh_SignedDocument document;
	char target[64];
	(void)state;
	world_open(&world);
	snprintf(target, sizeof target, ":%u/udp", world.port);
	murmesh_Grant content = test_grant(trust, target);
	content.until = TEST_NOW - 1000;
	test_sign_grant(trust, &content, &document);
	assert_int_equal(grant_text_write(&document, grant), 0);
	say(sender_new(&world), "x");
	WAIT(&world.t, world.failures);
	assert_int_equal(world.failed_err, -E_GRANT_EXPIRED);
	world_close(&world);
}

/* A leg that cannot be had: told; not asked for again at once, then again. */
static void test_no_leg(void **state)
{
	(void)state;
	for (int closes = 0; closes < 2; closes++) {
		struct world world;
		world_open(&world);
		world.refuse = -E_OFFLINE;
		world.closes = closes;
		int fd = sender_new(&world);
		say(fd, "x");
		WAIT(&world.t, world.failures);
		assert_int_equal(world.failed_err, -E_OFFLINE);
		assert_string_equal(world.failed_details, "the details");
		if (!closes) {
			assert_int_equal(udp_map_flows(world.map), 0);
			world.refuse = 0;
			say(fd, "too early");
			WAIT(&world.t, udp_map_lost(world.map));
			assert_int_equal(world.opened, 1);
			while (world.opened == 1) {
				say(fd, "y");
				test_loop_turn(&world.t, "another leg");
			}
			assert_hears(&world, fd, "y");
		}
		world_close(&world);
	}
}

static void test_old_device(void **state)
{
	struct world world;
	(void)state;
	world_open(&world);
	world.agent = OLD;
	say(sender_new(&world), "x");
	WAIT(&world.t, world.failures);
	assert_int_equal(world.failed_err, -E_UDP_OLD);
	assert_int_equal(udp_map_flows(world.map) + udp_map_legs(world.map), 0);
	world_close(&world);
}

/* What comes while a leg is opened waits, the newest of it. */
static void test_waits_for_a_leg(void **state)
{
	static char bytes[50000];
	struct world world;
	(void)state;
	world_open(&world);
	world.keeps = true;
	int fd = sender_new(&world);
	for (int i = 0; i < 6; i++) {
		bytes[0] = (char)('a' + i);
		assert_int_equal(datagram_send(fd, bytes, sizeof bytes), 0);
		WAIT(&world.t, world.asked && udp_map_lost(world.map) == (i < 2 ? 0 : (uint64_t)i - 1));
	}
	leg_answer(&world);
	for (int i = 4; i < 6; i++) {
		while (datagram_receive(fd, bytes, sizeof bytes) == -EAGAIN)
			test_loop_turn(&world.t, "what waited");
		assert_int_equal(bytes[0], 'a' + i);
	}
	assert_int_equal(world.heard, 2);
	assert_int_equal(udp_map_lost(world.map), 4);
	world_close(&world);
}

static void test_closed_while_it_opens(void **state)
{
	(void)state;
	for (int at_once = 0; at_once < 2; at_once++) {
		struct world world;
		world_open(&world);
		world.keeps = true;
		world.closes_at_once = at_once;
		say(sender_new(&world), "x");
		WAIT(&world.t, world.opened);
		world.map = udp_map_close(world.map);
		leg_answer(&world);
		WAIT(&world.t, !world.server);
		world_close(&world);
	}
}

/* Flows that nobody uses are closed at both ends, and then their leg. */
static void test_idle(void **state)
{
	struct world world;
	(void)state;
	world_open_with(&world, (struct udp_map_settings){ .idle_ms = 40 });
	int fd = sender_new(&world);
	for (unsigned i = 1; i < 3; i++) {
		say(fd, "x");
		assert_hears(&world, fd, "x");
		WAIT(&world.t, udp_map_flows(world.map) == 0 && udp_map_legs(world.map) == 0 && !world.server);
		assert_int_equal(world.opened, i);
	}
	assert_int_equal(world.failures + world.refusals, 0);
	world_close(&world);
}

/* An answer is use too. */
static void test_leg_breaks(void **state)
{
	struct world world;
	(void)state;
	world_open(&world);
	int fd = sender_new(&world);
	say(fd, "x");
	assert_hears(&world, fd, "x");
	agent_end(&world);
	WAIT(&world.t, udp_map_flows(world.map) == 0 && udp_map_legs(world.map) == 0);
	say(fd, "y");
	assert_hears(&world, fd, "y");
	assert_int_equal(world.opened, 2);
	assert_int_equal(world.failures, 0);
	world_close(&world);
}

/* A grant grows old: flows begin on another leg, those that are there go on where they are. */
static void test_next_leg(void **state)
{
	struct world world;
	(void)state;
	world_open_with(&world, (struct udp_map_settings){ .renew_ms = 1 });
	int first = sender_new(&world), second = sender_new(&world);
	say(first, "a");
	assert_hears(&world, first, "a");
	struct rpc_connection *server = world.server;
	struct udp_end *end = world.end;
	world.server = NULL;
	world.end = NULL;
	say(second, "b");
	assert_hears(&world, second, "b");
	assert_int_equal(world.opened, 2);
	assert_int_equal(udp_map_legs(world.map), 2);
	say(first, "c");
	assert_hears(&world, first, "c");
	assert_int_equal(flows(&world), 2);
	udp_end_free(end);
	rpc_connection_free(server);
	world_close(&world);
}

static void test_foreign_sources(void **state)
{
	(void)state;
	for (int closes = 0; closes < 2; closes++) {
		struct world world;
		world_open_with(&world, (struct udp_map_settings){ .allow = "127.0.0.9" });
		world.closes = closes;
		say(sender_new(&world), "x");
		WAIT(&world.t, world.failures);
		assert_int_equal(world.failed_err, -E_MAP_SOURCE);
		assert_string_equal(world.failed_details, "127.0.0.1");
		assert_int_equal(world.opened, 0);
		world_close(&world);
	}
}

/* ---- names ---- */

static void name_map(struct world *world, const char *name)
{
	char target[64];
	base_open(world);
	snprintf(target, sizeof target, "%s:%u/udp", name, world->port);
	grant_for(target);
	assert_int_equal(map_start(world, (struct udp_map_settings){ .host = str_from(name) }), 0);
}

static void test_name(void **state)
{
	static const struct str found[] = { STR("odd"), STR("255.255.255.255"),
		                            STR("127.0.0.1") }; /* a broadcast is refused by the kernel */
	struct world world;
	(void)state;
	name_map(&world, "known.example");
	int fd = sender_new(&world);
	say(fd, "a");
	say(fd, "b");
	WAIT(&world.t, world.answer);
	assert_string_equal(world.name, "known.example");
	agent_end_addresses answer = world.answer;
	world.answer = NULL;
	answer(world.answer_ctx, 0, found, 3);
	assert_hears(&world, fd, "a");
	assert_hears(&world, fd, "b");
	world_close(&world);
}

static void test_unknown_names(void **state)
{
	static const struct str odd = STR("odd");
	(void)state;
	for (int i = 0; i < 3; i++) {
		struct world world;
		name_map(&world, i == 2 ? "busy.example" : "unknown.example");
		say(sender_new(&world), "x");
		if (i < 2) {
			WAIT(&world.t, world.answer);
			agent_end_addresses answer = world.answer;
			world.answer = NULL;
			answer(world.answer_ctx, i ? 0 : -E_TARGET_NAME, &odd, i ? 1 : 0);
		}
		WAIT(&world.t, world.failures);
		assert_int_equal(world.failed_err, i == 2 ? -E_BUSY : -E_TARGET_NAME);
		world_close(&world);
	}
}

/* The flow is over before its name is found. */
static void test_late_name(void **state)
{
	struct world world;
	(void)state;
	name_map(&world, "slow.example");
	say(sender_new(&world), "x");
	WAIT(&world.t, world.answer);
	world.map = udp_map_close(world.map);
	WAIT(&world.t, !world.server);
	world_close(&world); /* where the answer comes */
}

/* ---- more than the way takes ---- */

/* The agent reads nothing: what is held is bounded, and all goes on when it reads again. */
static void test_slow_leg(void **state)
{
	static char bytes[30000];
	struct world world;
	(void)state;
	world_open(&world);
	int fd = sender_new(&world);
	say(fd, "x");
	assert_hears(&world, fd, "x");
	stream_want(rpc_connection_stream(world.server), 0);
	for (unsigned sent = 0; udp_map_lost(world.map) < 10; sent++) {
		assert_true(sent < 100); /* 3 MB */
		assert_int_equal(datagram_send(fd, bytes, sizeof bytes), 0);
		test_loop_turn(&world.t, "loss");
	}
	stream_want(rpc_connection_stream(world.server), STREAM_READ);
	while (datagram_receive(fd, bytes, sizeof bytes) != 1) {
		say(fd, "y");
		test_loop_turn(&world.t, "an answer");
	}
	assert_int_equal(bytes[0], 'y');
	world_close(&world);
}

/* Both directions together take as long as they have to, and nothing is lost; more than a stream's window comes back. */
static void test_rate(void **state)
{
	static char bytes[10000], got[10000];
	struct rate rate = { .bytes_per_s = 4000000 };
	struct world world;
	(void)state;
	world_open_with(&world, (struct udp_map_settings){ .rate = &rate });
	int fd = sender_new(&world);
	uint64_t start = io_loop_now_ms(world.t.loop);
	for (int i = 0; i < 40; i++) {
		assert_int_equal(datagram_send(fd, bytes, sizeof bytes), 0);
		while (datagram_receive(fd, got, sizeof got) == -EAGAIN)
			test_loop_turn(&world.t, "an answer");
	}
	assert_true(io_loop_now_ms(world.t.loop) - start >= 150); /* 200 without what may be moved ahead */
	assert_int_equal(udp_map_lost(world.map), 0);
	world_close(&world);
}

/* One source more than there may be: the one that was quiet longest goes. */
static void test_most_flows(void **state)
{
	struct world world;
	struct socket_address to;
	(void)state;
	world_open(&world);
	world.keeps = true;
	assert_int_equal(socket_address_parse(STR("127.0.0.1"), udp_map_port(world.map), &to), 0);
	for (unsigned i = 0; i < UDP_FLOWS_MAX + 5; i++) {
		struct sockaddr_in from = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f010001 + i) };
		int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		assert_true(fd >= 0 && bind(fd, (struct sockaddr *)&from, sizeof from) == 0);
		assert_int_equal(sendto(fd, "x", 1, 0, (struct sockaddr *)&to.storage, to.len), 1);
		close(fd);
		if (i % 64 == 63)
			WAIT(&world.t, udp_map_flows(world.map) == i + 1 || udp_map_flows(world.map) == UDP_FLOWS_MAX);
	}
	WAIT(&world.t, udp_map_flows(world.map) == UDP_FLOWS_MAX);
	assert_int_equal(udp_map_lost(world.map), 0);
	world_close(&world);
}

/* An agent has as many flows as it may: others are told. */
static void test_full_agent(void **state)
{
	struct world world;
	(void)state;
	world_open(&world);
	world.n_flows = UDP_FLOWS_MAX;
	say(sender_new(&world), "x");
	WAIT(&world.t, world.failures);
	assert_int_equal(world.failed_err, -E_LIMIT);
	WAIT(&world.t, world.n_flows == UDP_FLOWS_MAX);
	assert_int_equal(world.heard, 0);
	world_close(&world);
}

/* ---- hostile ends ---- */

static void odd_answer(struct world *world, const char *status)
{
	struct h2_head head = { .n = 0 };
	h2_head_add(&head, STR(":status"), str_from(status));
	assert_int_equal(h2_stream_respond(world->odd, &head, false), 0);
}

static void test_odd_agents(void **state)
{
	static const struct {
		const char *status;
		struct str bytes;
		int err; /* 0: nothing is told */
	} rows[] = {
		{ "200", STR("\x00\x80\x01\x00\x00"), 0 }, { "200", STR("\x00\x00"), 0 },        { "404", STR(""), -E_PROTOCOL },
		{ "204", STR("x"), -E_PROTOCOL },          { NULL, STR(""), -E_TARGET_REFUSED }, { "200", STR(""), 0 },
	};
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct world world;
		world_open(&world);
		world.agent = ODD;
		int fd = sender_new(&world);
		say(fd, "x");
		WAIT(&world.t, world.odd);
		if (rows[i].status)
			odd_answer(&world, rows[i].status);
		else
			h2_stream_reset(world.odd, H2_CONNECT_ERROR);
		if (rows[i].bytes.len)
			assert_int_equal(h2_stream_send(world.odd, rows[i].bytes.ptr, rows[i].bytes.len), 0);
		else if (rows[i].status)
			assert_int_equal(h2_stream_end(world.odd, NULL), 0);
		WAIT(&world.t, udp_map_flows(world.map) == 0);
		assert_int_equal(world.failures, rows[i].err != 0);
		assert_int_equal(world.failed_err, rows[i].err);
		world_close(&world);
	}
}

/* A user's end by hand. */
struct user {
	struct world *world;
	struct rpc_connection *connection;
	struct h2_stream *stream;
	char status[8], reason[300];
	bool settings, ended, closed;
	uint32_t error;
	unsigned datagrams;
};

static void on_user_settings(void *ctx)
{
	((struct user *)ctx)->settings = true;
}

static void on_user_response(void *ctx, const struct h2_head *head)
{
	struct user *user = ctx;
	assert_int_equal(str_copy(h2_head_get(head, ":status"), user->status, sizeof user->status), 0);
	assert_int_equal(str_copy(h2_head_get(head, "proxy-status"), user->reason, sizeof user->reason), 0);
}

static void on_user_data(void *ctx, const uint8_t *bytes, size_t len)
{
	struct user *user = ctx;
	(void)bytes;
	user->datagrams++;
	h2_stream_consume(user->stream, len);
}

static void on_user_end(void *ctx)
{
	((struct user *)ctx)->ended = true;
}

static void on_user_closed(void *ctx, uint32_t error)
{
	struct user *user = ctx;
	user->closed = true;
	user->error = error;
	user->stream = NULL;
}

static void user_open(struct user *user, struct world *world)
{
	static const struct rpc_connection_events events = { .settings = on_user_settings };
	static const struct rpc_connection_settings settings = { .server = false };
	int pair[2];
	*user = (struct user){ .world = world };
	assert_int_equal(test_pair(pair), 0);
	user->connection = rpc_connection_plain(world->t.loop, pair[0], &settings, &events, user);
	assert_non_null(user->connection);
	assert_int_equal(agent_begin(world, pair[1]), 0);
	WAIT(&world->t, user->settings);
	assert_true(h2_connects(rpc_connection_session(user->connection)));
}

static void user_ask(struct user *user, const char *protocol, const char *path)
{
	static const struct h2_stream_events events = { on_user_response, on_user_data, NULL, on_user_end, NULL, NULL,
		                                        on_user_closed };
	struct h2_head head = { .n = 0 };
	h2_head_add(&head, STR(":method"), STR("CONNECT"));
	h2_head_add(&head, STR(":protocol"), str_from(protocol));
	h2_head_add(&head, STR(":scheme"), STR("https"));
	h2_head_add(&head, STR(":authority"), STR("any"));
	h2_head_add(&head, STR(":path"), str_from(path));
	h2_head_add(&head, STR("murmesh-grant"), str_from(grant));
	user->closed = user->ended = false;
	user->status[0] = user->reason[0] = 0;
	user->stream = h2_request(rpc_connection_session(user->connection), &head, &events, user);
	assert_non_null(user->stream);
}

static void user_close(struct user *user)
{
	if (user->stream)
		h2_stream_set_events(user->stream, NULL, NULL);
	rpc_connection_free(user->connection);
}

static void test_odd_requests(void **state)
{
	static const struct {
		const char *protocol, *path, *status, *code;
	} rows[] = {
		{ "websocket", "/.well-known/masque/udp/localhost/1/", "501", "E1016" },
		{ "connect-udp", "/", "400", "E1101" },
		{ "connect-udp", "/.well-known/masque/udp/localhost/1/", "403", "E1215" },
	};
	struct world world;
	struct user user;
	(void)state;
	world_open(&world);
	user_open(&user, &world);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		user_ask(&user, rows[i].protocol, rows[i].path);
		assert_int_equal(h2_stream_send(user.stream, "\xff\xff\xff", 3), 0); /* behind a refusal: never looked at */
		WAIT(&world.t, user.closed);
		assert_string_equal(user.status, rows[i].status);
		assert_non_null(strstr(user.reason, rows[i].code));
		assert_true(user.ended);
		assert_int_equal(user.error, H2_NO_ERROR);
		WAIT(&world.t, flows(&world) == 0);
	}
	user_close(&user);
	world_close(&world);
}

static void test_odd_capsules(void **state)
{
	struct world world;
	struct user user;
	char path[UDP_PATH_MAX];
	(void)state;
	world_open(&world);
	user_open(&user, &world);
	assert_int_equal(udp_path_write(STR("127.0.0.1"), world.port, path), 0);
	user_ask(&user, "connect-udp", path);
	/* other types and contexts, and pieces: what is right is heard */
	assert_int_equal(h2_stream_send(user.stream, "\x30\x02xx\x00\x02\x04y\x00\x03\x00z", 12), 0);
	WAIT(&world.t, user.status[0]);
	assert_string_equal(user.status, "200");
	assert_int_equal(h2_stream_send(user.stream, "z", 1), 0);
	WAIT(&world.t, user.datagrams == 1);
	assert_int_equal(world.heard, 1);
	/* longer than any datagram: the stream ends, others go on */
	assert_int_equal(h2_stream_send(user.stream, "\x00\x80\x01\x00\x00", 5), 0);
	WAIT(&world.t, user.closed);
	assert_int_equal(user.error, H2_PROTOCOL_ERROR);
	assert_int_equal(flows(&world), 0);
	user_ask(&user, "connect-udp", path);
	assert_int_equal(h2_stream_send(user.stream, "\x00\x02\x00y", 4), 0);
	WAIT(&world.t, user.datagrams == 2);
	assert_int_equal(h2_stream_end(user.stream, NULL), 0);
	WAIT(&world.t, user.closed && flows(&world) == 0);
	assert_int_equal(user.error, H2_NO_ERROR);
	user_close(&user);
	world_close(&world);
}

/* ---- */

static int once(struct world *world)
{
	int fd, err = map_start(world, (struct udp_map_settings){ .local_port = 0 });
	char byte;
	if (err < 0)
		return err;
	long armed = fault_countdown;
	fault_arm(0);
	fd = sender_new(world);
	fault_arm(armed);
	for (;;) { /* what a fault loses is sent again */
		if (send(fd, "x", 1, MSG_DONTWAIT) < 0 || recv(fd, &byte, 1, MSG_DONTWAIT) == 1)
			return 0;
		if (world->failures)
			return world->failed_err;
		test_loop_turn(&world->t, "an answer");
	}
}

/* Whatever fails, nothing is left behind, and it is told or goes on. */
static void test_faults(void **state)
{
	(void)state;
	for (long n = 1;; n++) {
		struct world world;
		char target[64];
		size_t before = test_descriptors();
		base_open(&world);
		snprintf(target, sizeof target, ":%u/udp", world.port);
		grant_for(target);
		fault_arm(n);
		int err = once(&world);
		bool passed = fault_armed();
		fault_arm(0);
		world_close(&world);
		assert_int_equal(test_descriptors(), before);
		if (passed) {
			assert_int_equal(err, 0);
			assert_true(n > 30);
			return;
		}
	}
}

static int trust_start(void **state)
{
	(void)state;
	trust = test_trust_new(3);
	return 0;
}

static int trust_end(void **state)
{
	(void)state;
	trust = test_trust_free(trust);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_boundaries),
		cmocka_unit_test(test_many_sources),
		cmocka_unit_test(test_nobody_there),
		cmocka_unit_test(test_grants),
		cmocka_unit_test(test_expired_grant),
		cmocka_unit_test(test_no_leg),
		cmocka_unit_test(test_old_device),
		cmocka_unit_test(test_waits_for_a_leg),
		cmocka_unit_test(test_closed_while_it_opens),
		cmocka_unit_test(test_idle),
		cmocka_unit_test(test_leg_breaks),
		cmocka_unit_test(test_next_leg),
		cmocka_unit_test(test_foreign_sources),
		cmocka_unit_test(test_name),
		cmocka_unit_test(test_unknown_names),
		cmocka_unit_test(test_late_name),
		cmocka_unit_test(test_slow_leg),
		cmocka_unit_test(test_rate),
		cmocka_unit_test(test_most_flows),
		cmocka_unit_test(test_full_agent),
		cmocka_unit_test(test_odd_agents),
		cmocka_unit_test(test_odd_requests),
		cmocka_unit_test(test_odd_capsules),
		cmocka_unit_test(test_faults),
	};
	return cmocka_run_group_tests(tests, trust_start, trust_end);
}
