/* Both ends of a leg against each other over loopback TCP, with a stand-in for the relay between them that reads both preambles and then
 * passes bytes on; and each end against strangers. */
#include <errno.h>
#include <pb_encode.h>

#include "base/encode.h"
#include "base/err.h"
#include "base/test.h"
#include "os/fd.h"
#include "tunnel/agent_end.h"
#include "tunnel/client_end.h"
#include "tunnel/pump.h"
#include "tunnel/test_end.h"
#include "tunnel/test_grant.h"

#define PREAMBLE 48
static const char client_preamble[PREAMBLE + 1] = "CCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCC";
static const struct id pair_name = { { 7 } };
static const char agent_preamble[PREAMBLE + 1] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

struct world;
struct arrival {
	struct world *world;
	struct io_watch *watch;
	char preamble[PREAMBLE];
	size_t got;
	int fd;
};

struct listener {
	int fd;
	struct socket_address address;
	struct io_watch *watch;
};

struct world {
	struct test_loop t;
	int err; /* of the stand-ins themselves, under injected faults */
	struct agent_end *agent;
	unsigned refusals;
	int refused_err;
	char refused_target[300];
	struct stream *rpc;
	/* a name that is being looked up */
	char name[256];
	agent_end_addresses answer;
	void *answer_ctx;
	struct io_timer *answer_later;
	/* the relay: the client's arrival, the agent's */
	struct listener relay;
	struct arrival arrivals[2];
	size_t n_arrivals;
	struct pump *pump;
	/* a target that anybody may connect to */
	struct listener target;
	unsigned accepted;
	struct test_end far;
	/* what the client's end said */
	struct client_end *client;
	unsigned opened;
	struct stream *stream;
	int result;
	char details[256];
	struct test_end near; /* the opened leg, or a client made by hand */
};

static struct test_trust *trust, *foreign;
static struct tls_context *agent_tls, *client_tls, *rpc_tls, *stranger_tls, *silent_tls;
static murmesh_SignedDocument document;

static int64_t test_now(void)
{
	return TEST_NOW;
}

/* ---- the relay's stand-in ---- */

static void on_pump_ended(void *ctx, int err)
{
	struct world *world = ctx;
	(void)err;
	world->pump = pump_free(world->pump);
}

static void relay_pump(struct world *world)
{
	static const struct stream_events none = { 0 };
	struct stream *streams[2];
	for (int i = 0; i < 2; i++) {
		const struct stream_settings settings = { .fd = world->arrivals[i].fd };
		world->arrivals[i].fd = -1;
		streams[i] = stream_new(world->t.loop, &settings, &none, NULL);
	}
	if (streams[0] && streams[1]) {
		world->pump = pump_new(world->t.loop, streams[0], streams[1], STR(""), on_pump_ended, world);
		if (!world->pump)
			world->err = -E_NO_MEMORY;
		return;
	}
	stream_free(streams[0]);
	stream_free(streams[1]);
	world->err = -E_NO_MEMORY;
}

static bool arrived(const struct arrival *arrival)
{
	return arrival->got == PREAMBLE;
}

static void on_preamble(void *ctx, unsigned events)
{
	struct arrival *arrival = ctx;
	struct world *world = arrival->world;
	(void)events;
	ssize_t n = fd_read(arrival->fd, arrival->preamble + arrival->got, PREAMBLE - arrival->got);
	if (n == -EAGAIN)
		return;
	if (n <= 0) {
		world->err = n < 0 ? (int)n : -E_CLOSED;
		io_watch_set(arrival->watch, 0);
		return;
	}
	arrival->got += (size_t)n;
	if (!arrived(arrival))
		return;
	arrival->watch = io_watch_free(arrival->watch);
	if (arrived(&world->arrivals[0]) && arrived(&world->arrivals[1]))
		relay_pump(world);
}

static void on_relay(void *ctx, unsigned events)
{
	struct world *world = ctx;
	(void)events;
	int fd = socket_accept(world->relay.fd);
	if (fd == -EAGAIN)
		return;
	struct arrival *arrival = &world->arrivals[world->n_arrivals];
	if (fd < 0 || world->n_arrivals++ == 2) {
		world->err = fd < 0 ? fd : -E_FULL;
		return;
	}
	*arrival = (struct arrival){ .world = world, .fd = fd, .watch = io_watch_new(world->t.loop, fd, on_preamble, arrival) };
	if (arrival->watch)
		io_watch_set(arrival->watch, IO_READABLE);
	else
		world->err = -E_NO_MEMORY;
}

/* ---- a target ---- */

static void on_target(void *ctx, unsigned events)
{
	struct world *world = ctx;
	(void)events;
	const struct stream_settings settings = { .fd = socket_accept(world->target.fd) };
	if (settings.fd == -EAGAIN)
		return;
	int err = settings.fd < 0 ? settings.fd : world->accepted++ ? -E_FULL : test_end_open(&world->far, &world->t, &settings);
	if (err < 0)
		world->err = err;
}

/* ---- the agent ---- */

static void on_answer_due(void *ctx)
{
	struct world *world = ctx;
	const struct str known[] = { STR("127.0.0.2"), STR("127.0.0.1") }, odd[] = { STR("x"), STR("") },
	                 mixed[] = { STR("127.0.0.2"), STR("255.255.255.255") };
	agent_end_addresses answer = world->answer;
	world->answer = NULL;
	if (strcmp(world->name, "known.example") == 0)
		answer(world->answer_ctx, 0, known, 2); /* the target listens on the second only */
	else if (strcmp(world->name, "odd.example") == 0)
		answer(world->answer_ctx, 0, odd, 2);
	else if (strcmp(world->name, "mixed.example") == 0)
		answer(world->answer_ctx, 0, mixed, 2);
	else if (strcmp(world->name, "many.example") == 0) {
		struct str many[20];
		for (size_t i = 0; i < 20; i++)
			many[i] = known[i == 19]; /* beyond what is tried */
		answer(world->answer_ctx, 0, many, 20);
	} else
		answer(world->answer_ctx, -E_TARGET_NAME, NULL, 0);
}

static int on_resolve(void *ctx, struct str host, agent_end_addresses done, void *done_ctx)
{
	struct world *world = ctx;
	assert_int_equal(str_copy(host, world->name, sizeof world->name), 0);
	if (strcmp(world->name, "busy.example") == 0)
		return -E_BUSY;
	assert_null(world->answer);
	world->answer = done;
	world->answer_ctx = done_ctx;
	if (strcmp(world->name, "slow.example") != 0)
		io_timer_start(world->answer_later, 0, 0);
	return 0;
}

static void on_rpc(void *ctx, struct stream *stream, const struct id *pair)
{
	struct world *world = ctx;
	assert_true(id_equal(pair, &pair_name));
	assert_null(world->rpc);
	world->rpc = stream;
	test_end_take(&world->far, &world->t, stream);
}

static void on_refused(void *ctx, int err, const char *target, const struct id *pair)
{
	assert_true(id_equal(pair, &pair_name));
	struct world *world = ctx;
	world->refusals++;
	world->refused_err = err;
	snprintf(world->refused_target, sizeof world->refused_target, "%s", target);
}

static bool shut_out;

static bool on_revoked(void *ctx, const uint8_t key_hash[HASH_SIZE])
{
	uint8_t user[HASH_SIZE];
	(void)ctx;
	assert_int_equal(key_public_hash(trust->user.key, user), 0);
	assert_memory_equal(key_hash, user, HASH_SIZE);
	return shut_out;
}

/* ---- a world ---- */

static int listen_on(struct world *world, struct listener *listener, io_watch_cb cb)
{
	listener->fd = test_listen("127.0.0.1", &listener->address);
	if (listener->fd < 0)
		return listener->fd;
	listener->watch = io_watch_new(world->t.loop, listener->fd, cb, world);
	if (!listener->watch)
		return -E_NO_MEMORY;
	return io_watch_set(listener->watch, IO_READABLE);
}

static int world_open(struct world *world)
{
	*world = (struct world){ .relay.fd = -1, .target.fd = -1, .arrivals = { { .fd = -1 }, { .fd = -1 } } };
	int err = test_loop_open(&world->t);
	if (err < 0)
		return err;
	const struct agent_end_settings settings = { .tls = agent_tls,
		                                     .trust = trust->trust,
		                                     .now = test_now,
		                                     .resolve = on_resolve,
		                                     .rpc = on_rpc,
		                                     .revoked = on_revoked,
		                                     .refused = on_refused,
		                                     .ctx = world };
	world->agent = agent_end_new(world->t.loop, &settings);
	world->answer_later = io_timer_new(world->t.loop, on_answer_due, world);
	if (!world->agent || !world->answer_later)
		return -E_NO_MEMORY;
	err = listen_on(world, &world->relay, on_relay);
	return err < 0 ? err : listen_on(world, &world->target, on_target);
}

static void listener_close(struct listener *listener)
{
	io_watch_free(listener->watch);
	fd_close(listener->fd);
}

static void world_close(struct world *world)
{
	world->agent = agent_end_free(world->agent);
	client_end_free(world->client);
	if (world->answer)
		on_answer_due(world); /* comes exactly once, also when nobody waits any more */
	stream_free(world->stream);
	test_end_done(&world->near);
	test_end_done(&world->far);
	pump_free(world->pump);
	for (int i = 0; i < 2; i++) {
		io_watch_free(world->arrivals[i].watch);
		fd_close(world->arrivals[i].fd);
	}
	listener_close(&world->relay);
	listener_close(&world->target);
	io_timer_free(world->answer_later);
	if (world->t.loop)
		test_loop_close(&world->t);
}

static void world_start(struct world *world)
{
	assert_int_equal(world_open(world), 0);
}

/* ---- legs ---- */

static int agent_leg(struct world *world)
{
	int fd = socket_connect(&world->relay.address);
	return fd < 0 ? fd : agent_end_leg(world->agent, fd, str_from(agent_preamble), &pair_name);
}

static void on_opened(void *ctx, struct stream *stream, int err, const char *details)
{
	struct world *world = ctx;
	world->client = NULL;
	world->opened++;
	world->stream = stream;
	world->result = err;
	assert_int_equal(str_copy(str_from(details), world->details, sizeof world->details), 0);
	assert_int_equal(err == 0, stream != NULL);
	io_loop_stop(world->t.loop);
}

static struct client_end_request request_of(const struct world *world, const char *host, uint16_t port)
{
	return (struct client_end_request){ .relay = world->relay.address,
		                            .preamble = str_from(client_preamble),
		                            .tls = client_tls,
		                            .device = trust->device.identity,
		                            .grant = &document,
		                            .host = str_from(host),
		                            .port = port };
}

static int client_leg(struct world *world, const struct client_end_request *request)
{
	world->client = client_end_new(world->t.loop, request, on_opened, world);
	return world->client ? 0 : -E_NO_MEMORY;
}

static int result_of(struct world *world, const struct client_end_request *request)
{
	assert_int_equal(client_leg(world, request), 0);
	assert_int_equal(agent_leg(world), 0);
	WAIT(&world->t, world->opened);
	assert_int_equal(world->opened, 1);
	assert_int_equal(world->err, 0);
	if (world->result < 0)
		WAIT(&world->t, agent_end_legs(world->agent) == 0);
	return world->result;
}

static uint16_t target_port(const struct world *world)
{
	return socket_address_port(&world->target.address);
}

/* A grant for that target; "" as host: the device itself. */
static void grant_for(const char *host, uint16_t port)
{
	char target[300];
	assert_int_equal(target_format(str_from(host), port, target, sizeof target), 0);
	murmesh_Grant grant = test_grant(trust, target);
	test_sign_grant(trust, &grant, &document);
}

static void world_connect(struct world *world)
{
	world_start(world);
	grant_for("", target_port(world));
	const struct client_end_request request = request_of(world, "", target_port(world));
	assert_int_equal(result_of(world, &request), 0);
	assert_string_equal(world->details, "");
	assert_memory_equal(world->arrivals[0].preamble, client_preamble, PREAMBLE);
	assert_memory_equal(world->arrivals[1].preamble, agent_preamble, PREAMBLE);
	test_end_take(&world->near, &world->t, world->stream);
	world->stream = NULL;
	WAIT(&world->t, world->far.stream);
	assert_int_equal(agent_end_legs(world->agent), 1);
}

static void send_all(struct test_end *end, size_t n)
{
	end->to_send = n;
	end->closes = true;
	test_end_go(end);
}

static void test_connect(void **state)
{
	(void)state;
	struct world world;
	world_connect(&world);
	send_all(&world.near, 1000000);
	WAIT(&world.t, world.far.eof);
	assert_true(test_end_received(&world.far, 1000000));
	assert_false(world.near.eof);
	send_all(&world.far, 1000001);
	WAIT(&world.t, world.near.eof && agent_end_legs(world.agent) == 0);
	assert_true(test_end_received(&world.near, 1000001));
	assert_int_equal(world.refusals, 0);
	world_close(&world);
}

static void test_target_speaks_first(void **state)
{
	(void)state;
	struct world world;
	world_connect(&world);
	send_all(&world.far, 100000);
	WAIT(&world.t, world.near.eof);
	assert_true(test_end_received(&world.near, 100000));
	world_close(&world);
}

/* Breaks reach the other side as breaks. */
static void test_breaks(void **state)
{
	(void)state;
	struct world world;
	world_connect(&world);
	test_end_reset(&world.far);
	WAIT(&world.t, world.near.eof || world.near.err);
	assert_true(world.near.err == -ECONNRESET || world.near.err == -E_CLOSED);
	assert_int_equal(agent_end_legs(world.agent), 0);
	world_close(&world);

	world_connect(&world);
	test_end_done(&world.near);
	WAIT(&world.t, world.far.eof || world.far.err);
	assert_int_equal(world.far.err, -ECONNRESET);
	world_close(&world);

	world_connect(&world);
	world.agent = agent_end_free(world.agent);
	WAIT(&world.t, (world.far.eof || world.far.err) && (world.near.eof || world.near.err));
	assert_int_equal(world.far.err, -ECONNRESET);
	assert_true(world.near.err < 0);
	world_close(&world);
}

/* What a grant has to allow, and what the client is told when it does not. */
static int grant_result(const murmesh_Grant *grant, const struct key *key)
{
	struct world world;
	world_start(&world);
	murmesh_Grant at = *grant;
	if (strcmp(at.targets[0], ":0") == 0)
		snprintf(at.targets[0], sizeof at.targets[0], ":%u", target_port(&world));
	test_sign(key, CONTEXT_GRANT, murmesh_Grant_fields, &at, &document);
	const struct client_end_request request = request_of(&world, "127.0.0.1", target_port(&world));
	int err = result_of(&world, &request);
	if (err < 0) {
		assert_string_equal(world.details, err_text(err));
		assert_int_equal(world.refusals, 1);
		assert_int_equal(world.refused_err, err);
		assert_true(str_starts(str_from(world.refused_target), STR("127.0.0.1:")));
		assert_int_equal(world.accepted, 0);
	}
	world_close(&world);
	return err;
}

static void test_grants(void **state)
{
	(void)state;
	murmesh_Grant grant = test_grant(trust, ":0"); /* the target's port */
	assert_int_equal(grant_result(&grant, trust->grant_key), 0);
	assert_int_equal(grant_result(&grant, foreign->grant_key), -E_SIGNATURE);
	grant.until = TEST_NOW - 61;
	assert_int_equal(grant_result(&grant, trust->grant_key), -E_GRANT_EXPIRED);
	grant = test_grant(trust, ":1");
	assert_int_equal(grant_result(&grant, trust->grant_key), -E_GRANT);
	grant = test_grant(trust, ":0");
	grant.rights = murmesh_Right_RUN;
	assert_int_equal(grant_result(&grant, trust->grant_key), -E_GRANT);
	grant = test_grant(trust, ":0");
	grant.user[0] ^= 1;
	assert_int_equal(grant_result(&grant, trust->grant_key), -E_GRANT);
	grant = test_grant(trust, ":0");
	grant.device[0] ^= 1;
	assert_int_equal(grant_result(&grant, trust->grant_key), -E_GRANT);
}

static void test_closed_target(void **state)
{
	(void)state;
	const char *const hosts[] = { "", "localhost", "127.0.0.1" };
	for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
		struct world world;
		struct socket_address closed = test_closed_port();
		uint16_t port = socket_address_port(&closed);
		world_start(&world);
		grant_for("", port);
		const struct client_end_request request = request_of(&world, hosts[i], port);
		assert_int_equal(result_of(&world, &request), -E_TARGET_REFUSED);
		assert_string_equal(world.details, err_text(E_TARGET_REFUSED));
		assert_int_equal(world.refused_err, -E_TARGET_REFUSED);
		world_close(&world);
	}
}

static int name_result(const char *host, unsigned *accepted)
{
	struct world world;
	world_start(&world);
	grant_for(host, target_port(&world));
	const struct client_end_request request = request_of(&world, host, target_port(&world));
	int err = result_of(&world, &request);
	assert_string_equal(world.name, host);
	assert_string_equal(world.details, err < 0 ? err_text(err) : "");
	if (err == 0)
		WAIT(&world.t, world.accepted);
	*accepted = world.accepted;
	world_close(&world);
	return err;
}

static void test_names(void **state)
{
	(void)state;
	unsigned accepted;
	assert_int_equal(name_result("known.example", &accepted), 0);
	assert_int_equal(accepted, 1);
	assert_int_equal(name_result("unknown.example", &accepted), -E_TARGET_NAME);
	assert_int_equal(name_result("odd.example", &accepted), -E_TARGET_NAME);
	assert_int_equal(name_result("busy.example", &accepted), -E_BUSY);
	assert_int_equal(name_result("many.example", &accepted), -E_TARGET_REFUSED);
	assert_int_equal(name_result("mixed.example", &accepted), -E_TARGET_REFUSED); /* the first one's reason */
	assert_int_equal(accepted, 0);
}

/* The kernel's other reasons reach the client as one of ours. */
static void test_unreachable_target(void **state)
{
	(void)state;
	struct world world;
	world_start(&world);
	grant_for("255.255.255.255", 9);
	const struct client_end_request request = request_of(&world, "255.255.255.255", 9);
	assert_int_equal(result_of(&world, &request), -E_TARGET_UNREACHABLE);
	world_close(&world);
}

/* Everybody goes away while a name is looked up; the answer comes later. */
static void test_gone_while_resolving(void **state)
{
	(void)state;
	for (int agent_too = 0; agent_too < 2; agent_too++) {
		struct world world;
		world_start(&world);
		grant_for("slow.example", 80);
		const struct client_end_request request = request_of(&world, "slow.example", 80);
		assert_int_equal(client_leg(&world, &request), 0);
		assert_int_equal(agent_leg(&world), 0);
		WAIT(&world.t, world.answer);
		world.client = client_end_free(world.client);
		if (agent_too)
			world.agent = agent_end_free(world.agent);
		on_answer_due(&world);
		if (!agent_too)
			WAIT(&world.t, agent_end_legs(world.agent) == 0);
		assert_int_equal(world.opened, 0);
		world_close(&world);
	}
	assert_null(agent_end_free(NULL));
	assert_null(client_end_free(NULL));
}

static void test_rpc_leg(void **state)
{
	(void)state;
	struct world world;
	world_start(&world);
	struct client_end_request request = request_of(&world, "", 0);
	request.tls = rpc_tls;
	request.bare = true;
	request.grant = NULL;
	assert_int_equal(result_of(&world, &request), 0);
	WAIT(&world.t, world.rpc);
	assert_int_equal(agent_end_legs(world.agent), 0); /* it is the owner's now */
	assert_true(identity_equal(&tls_peer(stream_tls(world.rpc))->identity, &trust->user.identity));
	test_end_take(&world.near, &world.t, world.stream);
	world.stream = NULL;
	send_all(&world.near, 50000);
	send_all(&world.far, 60000);
	WAIT(&world.t, world.near.eof && world.far.eof);
	assert_true(test_end_received(&world.far, 50000));
	assert_true(test_end_received(&world.near, 60000));
	world_close(&world);
}

/* Nobody but the device that was asked for may answer. */
static void test_wrong_device(void **state)
{
	(void)state;
	struct world world;
	world_start(&world);
	grant_for("", 80);
	struct client_end_request request = request_of(&world, "", 80);
	request.device.id.bytes[0] ^= 1;
	assert_int_equal(result_of(&world, &request), -E_CERTIFICATE_PEER);
	assert_int_equal(world.refusals, 1);
	assert_int_equal(world.refused_err, -E_TLS);
	assert_string_equal(world.refused_target, "");
	world_close(&world);
}

/* ---- a client made by hand: what it sends, what it is answered ---- */

static char *grant_text(void)
{
	static uint8_t bytes[4096];
	static char text[BASE64URL_SIZE(sizeof bytes)];
	pb_ostream_t out = pb_ostream_from_buffer(bytes, sizeof bytes);
	assert_true(pb_encode(&out, murmesh_SignedDocument_fields, &document));
	base64url_encode(bytes, out.bytes_written, text);
	return text;
}

/* The head of a CONNECT to the world's target, with a good grant. */
static char *good_head(const struct world *world)
{
	static char head[9000];
	unsigned port = target_port(world);
	grant_for("", target_port(world));
	snprintf(head, sizeof head, "CONNECT localhost:%u HTTP/1.1\r\nHost: localhost:%u\r\nMurmesh-Grant: %s\r\n\r\n", port, port,
	         grant_text());
	return head;
}

static void stranger_connect(struct world *world, struct tls_context *tls)
{
	world_start(world);
	const struct stream_settings settings = {
		.fd = socket_connect(&world->relay.address), .connecting = true, .tls = tls, .preamble = str_from(client_preamble)
	};
	world->near.keeps = true;
	assert_int_equal(test_end_open(&world->near, &world->t, &settings), 0);
	assert_int_equal(agent_leg(world), 0);
	WAIT(&world->t, world->near.ready || world->near.err);
}

static bool answer_has(const struct world *world, const char *part)
{
	struct str answer = buf_str(&world->near.kept);
	return answer.len && memmem(answer.ptr, answer.len, part, strlen(part));
}

static void assert_answer(struct world *world, const char *head, const char *code, const char *body)
{
	char part[300];
	WAIT(&world->t, world->near.eof || world->near.err);
	assert_true(world->near.eof);
	assert_true(str_starts(buf_str(&world->near.kept), str_from(head)));
	snprintf(part, sizeof part, "code=%s\r\n", code);
	assert_true(answer_has(world, part));
	snprintf(part, sizeof part, "content-length: %zu\r\n\r\n%s\n", strlen(body) + 1, body);
	assert_true(answer_has(world, part));
	assert_int_equal(world->accepted, 0);
	assert_int_equal(world->refusals, 1);
	test_end_done(&world->near);
	WAIT(&world->t, agent_end_legs(world->agent) == 0);
	world_close(world);
}

static void test_strange_requests(void **state)
{
	(void)state;
	static const struct {
		const char *request, *head, *code;
		int err;
	} rows[] = {
		{ "CONNECT localhost:80 HTTP/1.1\r\nHost: localhost:80\r\n\r\n", "HTTP/1.1 403 Forbidden\r\n", "E1215", E_GRANT },
		{ "CONNECT localhost:80 HTTP/1.1\r\nHost: localhost:80\r\nmurmesh-grant: \r\n\r\n", "HTTP/1.1 403 ", "E1215",
		  E_GRANT },
		{ "CONNECT localhost:80 HTTP/1.1\r\nHost: localhost:80\r\nmurmesh-grant: !\r\n\r\n", "HTTP/1.1 403 ", "E1215",
		  E_GRANT },
		{ "CONNECT localhost:80 HTTP/1.1\r\nHost: localhost:80\r\nmurmesh-grant: ____\r\n\r\n", "HTTP/1.1 403 ", "E1215",
		  E_GRANT },
		{ "CONNECT localhost:80 HTTP/1.1\r\nHost: localhost:80\r\nmurmesh-grant: CgA\r\nmurmesh-grant: CgA\r\n\r\n",
		  "HTTP/1.1 403 ", "E1215", E_GRANT },
		{ "CONNECT localhost:80 HTTP/1.1\r\nHost: localhost:80\r\nmurmesh-grant: CgA\r\n\r\n", "HTTP/1.1 403 ", "E1207",
		  E_SIGNATURE },
		{ "CONNECT localhost HTTP/1.1\r\nHost: localhost\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n", "E1101", E_HTTP_HEAD },
		{ "\r\n\r\n", "HTTP/1.1 400 ", "E1101", E_HTTP_HEAD },
		{ "connect localhost:80 HTTP/1.1\r\n", "HTTP/1.1 405 ", "E1102", E_HTTP_METHOD },
		{ "CONNECT localhost:80 HTTP/1.0\r\nHost: localhost:80\r\n\r\n", "HTTP/1.1 505 ", "E1106", E_HTTP_VERSION },
		{ "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "HTTP/1.1 405 Method Not Allowed\r\nallow: CONNECT\r\n", "E1102",
		  E_HTTP_METHOD },
		{ "GET http://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n", "HTTP/1.1 405 ", "E1102", E_HTTP_METHOD },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct world world;
		stranger_connect(&world, client_tls);
		test_end_text(&world.near, rows[i].request);
		const char *body =
		        rows[i].err == E_HTTP_METHOD ? "only CONNECT is served here (curl: add -p)" : err_text(rows[i].err);
		WAIT(&world.t, world.refusals);
		assert_int_equal(world.refused_err, -rows[i].err);
		assert_answer(&world, rows[i].head, rows[i].code, body);
	}
}

static void test_endless_head(void **state)
{
	(void)state;
	struct world world;
	stranger_connect(&world, client_tls);
	test_end_text(&world.near, "CONNECT localhost:80 HTTP/1.1\r\nHost: localhost:80\r\nx: ");
	char filler[9001];
	memset(filler, 'x', sizeof filler - 1);
	filler[9000] = 0;
	test_end_text(&world.near, filler);
	assert_answer(&world, "HTTP/1.1 431 ", "E1002", err_text(E_TOO_LONG));
}

/* A head in pieces of one byte, then bytes for the target in the same piece as its last one. */
static void test_early_bytes(void **state)
{
	(void)state;
	for (int whole = 0; whole < 2; whole++) {
		struct world world;
		stranger_connect(&world, client_tls);
		world.far.keeps = true;
		char *head = good_head(&world);
		size_t last = strlen(head) - 1;
		for (size_t i = 0; !whole && i < last; i++)
			test_end_text(&world.near, (char[]){ head[i], 0 });
		char text[10000];
		snprintf(text, sizeof text, "%searly bytes", whole ? head : head + last);
		test_end_text(&world.near, text);
		WAIT(&world.t, buf_len(&world.far.kept) == 11);
		assert_true(str_is(buf_str(&world.far.kept), "early bytes"));
		assert_int_equal(stream_close_write(world.near.stream), 0);
		WAIT(&world.t, world.far.eof);
		WAIT(&world.t, answer_has(&world, "\r\n\r\n"));
		assert_true(str_is(buf_str(&world.near.kept), "HTTP/1.1 200 OK\r\n\r\n"));
		world_close(&world);
	}
}

/* An id is answered with the name of the end that knows it; another end's name is refused, and what is no id. */
static void test_open_ids(void **state)
{
	(void)state;
	static const struct {
		const char *fields, *answer;
	} rows[] = {
		{ "murmesh-open-id: 000102030405060708090a0b0c0d0e0f\r\n", "HTTP/1.1 200 OK\r\nmurmesh-once: " },
		{ "", "HTTP/1.1 200 OK\r\n\r\n" },
		{ "murmesh-open-id: 000102030405060708090a0b0c0d0e0f\r\nmurmesh-open-again: 000102030405060708090a0b0c0d0e0f\r\n",
		  "HTTP/1.1 500 " },
		{ "murmesh-open-id: 0\r\n", "HTTP/1.1 400 " },
		{ "murmesh-open-again: 0\r\n", "HTTP/1.1 400 " },
		{ "murmesh-open-id: 000102030405060708090a0b0c0d0e0f\r\nmurmesh-open-id: 000102030405060708090a0b0c0d0e0f\r\n",
		  "HTTP/1.1 400 " },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct world world;
		stranger_connect(&world, client_tls);
		char *head = good_head(&world), text[10000];
		snprintf(text, sizeof text, "%.*s%s\r\n", (int)strlen(head) - 2, head, rows[i].fields);
		test_end_text(&world.near, text);
		WAIT(&world.t, answer_has(&world, "\r\n\r\n"));
		assert_true(str_starts(buf_str(&world.near.kept), str_from(rows[i].answer)));
		if (strstr(rows[i].answer, "500"))
			assert_int_equal(world.refused_err, -E_OPEN_ID_SEEN);
		world_close(&world);
	}
}

/* Many early bytes: what is not read with the head stays in the stream and follows. */
static void test_many_early_bytes(void **state)
{
	(void)state;
	struct world world;
	stranger_connect(&world, client_tls);
	test_end_text(&world.near, good_head(&world));
	send_all(&world.near, 3000000);
	WAIT(&world.t, world.far.eof);
	assert_true(test_end_received(&world.far, 3000000));
	world_close(&world);
}

/* Behind a refused CONNECT stands a good one, in the same piece and in later ones: nobody may look at it. */
static void test_bytes_behind_a_refusal(void **state)
{
	(void)state;
	struct world world;
	char text[10000];
	stranger_connect(&world, client_tls);
	snprintf(text, sizeof text, "CONNECT localhost:1 HTTP/1.1\r\nHost: localhost:1\r\n\r\n%s", good_head(&world));
	test_end_text(&world.near, text);
	WAIT(&world.t, world.refusals);
	for (int i = 0; i < 50; i++)
		test_end_text(&world.near, good_head(&world));
	assert_int_equal(stream_close_write(world.near.stream), 0);
	assert_answer(&world, "HTTP/1.1 403 ", "E1215", err_text(E_GRANT));
}

/* Who goes on sending after a refusal is not listened to for ever, but long enough to read the answer. */
static void test_endless_bytes_behind_a_refusal(void **state)
{
	(void)state;
	struct world world;
	stranger_connect(&world, client_tls);
	test_end_text(&world.near, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
	world.near.to_send = SIZE_MAX;
	test_end_go(&world.near);
	WAIT(&world.t, agent_end_legs(world.agent) == 0);
	assert_int_equal(world.accepted, 0);
	world_close(&world);
}

/* A client that leaves at each stage. */
static void test_client_leaves(void **state)
{
	(void)state;
	for (int stage = 0; stage < 3; stage++) {
		struct world world;
		stranger_connect(&world, client_tls);
		if (stage)
			test_end_text(&world.near, stage == 1 ? "CONNECT loc" : "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
		test_end_done(&world.near);
		WAIT(&world.t, agent_end_legs(world.agent) == 0);
		world_close(&world);
	}
}

/* No ALPN at all is as good as http/1.1; a user of another mesh, a device, or nobody never comes to a CONNECT. */
static void test_who_may_connect(void **state)
{
	(void)state;
	struct world world;
	stranger_connect(&world, silent_tls);
	test_end_text(&world.near, good_head(&world));
	WAIT(&world.t, answer_has(&world, "200 OK"));
	world_close(&world);
	stranger_connect(&world, stranger_tls);
	WAIT(&world.t, world.refusals && agent_end_legs(world.agent) == 0);
	assert_int_equal(world.refused_err, -E_CERTIFICATE);
	world_close(&world);
}

static void test_users_who_are_shut_out(void **state)
{
	(void)state;
	struct world world;
	uint8_t user[HASH_SIZE], other[HASH_SIZE] = { 1 };
	assert_int_equal(key_public_hash(trust->user.key, user), 0);
	world_connect(&world);
	agent_end_revoke(world.agent, other);
	assert_int_equal(agent_end_legs(world.agent), 1);
	agent_end_revoke(world.agent, user);
	assert_int_equal(agent_end_legs(world.agent), 0);
	WAIT(&world.t, (world.far.eof || world.far.err) && (world.near.eof || world.near.err));
	assert_int_equal(world.far.err, -ECONNRESET);
	assert_true(world.near.err < 0);
	world_close(&world);

	shut_out = true;
	stranger_connect(&world, client_tls);
	WAIT(&world.t, world.refusals && agent_end_legs(world.agent) == 0);
	assert_int_equal(world.refused_err, -E_REVOKED);
	assert_int_equal(world.accepted, 0);
	world_close(&world);
	shut_out = false;
}

static void test_tunnels_that_are_over(void **state)
{
	(void)state;
	struct world world;
	const struct id other = { { 8 } };
	world_connect(&world);
	agent_end_over(world.agent, &other);
	assert_int_equal(agent_end_legs(world.agent), 1);
	agent_end_over(world.agent, &pair_name);
	assert_int_equal(agent_end_legs(world.agent), 0);
	WAIT(&world.t, (world.far.eof || world.far.err) && (world.near.eof || world.near.err));
	assert_int_equal(world.far.err, -ECONNRESET);
	world_close(&world);
}

static void test_leg_that_never_connects(void **state)
{
	(void)state;
	struct world world;
	struct socket_address gone = test_closed_port();
	world_start(&world);
	int fd = socket_connect(&gone);
	assert_true(fd >= 0);
	assert_int_equal(agent_end_leg(world.agent, fd, str_from(agent_preamble), &pair_name), 0);
	WAIT(&world.t, agent_end_legs(world.agent) == 0);
	assert_int_equal(world.refused_err, -ECONNREFUSED);
	struct client_end_request request = request_of(&world, "", 80);
	request.relay = gone;
	assert_int_equal(client_leg(&world, &request), 0);
	WAIT(&world.t, world.opened);
	assert_int_equal(world.result, -ECONNREFUSED);
	/* what cannot even be begun is said at once, and never again */
	request.host = STR("no host");
	assert_int_equal(client_leg(&world, &request), -E_NO_MEMORY);
	request.host = STR("");
	request.preamble.len = STREAM_PREAMBLE_MAX + 1;
	assert_int_equal(client_leg(&world, &request), -E_NO_MEMORY);
	assert_int_equal(agent_end_leg(world.agent, socket_connect(&gone), request.preamble, &pair_name), -E_LIMIT);
	assert_int_equal(world.opened, 1);
	world_close(&world);
}

/* ---- an agent made by hand: how the client takes its answers ---- */

static void stranger_answers(struct world *world, const char *answer, size_t filler, bool ends)
{
	world_start(world);
	grant_for("", 80);
	const struct client_end_request request = request_of(world, "", 80);
	assert_int_equal(client_leg(world, &request), 0);
	const struct stream_settings settings = { .fd = socket_connect(&world->relay.address),
		                                  .connecting = true,
		                                  .tls = agent_tls,
		                                  .preamble = str_from(agent_preamble) };
	assert_int_equal(test_end_open(&world->far, &world->t, &settings), 0);
	world->far.keeps = true;
	WAIT(&world->t, buf_len(&world->far.kept) >= 100);
	assert_true(str_starts(buf_str(&world->far.kept), STR("CONNECT localhost:80 HTTP/1.1\r\nHost: localhost:80\r\n")));
	test_end_text(&world->far, answer);
	world->far.to_send = filler;
	world->far.closes = ends;
	test_end_go(&world->far);
	WAIT(&world->t, world->opened);
}

static void test_strange_answers(void **state)
{
	(void)state;
	static const struct {
		const char *answer;
		int result;
		const char *details;
	} rows[] = {
		{ "HTTP/1.1 403 Forbidden\r\nProxy-Status: murmesh; error=http_request_denied; code=E1215; details=\"go "
		  "away\"\r\n\r\n",
		  -E_GRANT, "go away" },
		{ "HTTP/1.1 502 Bad Gateway\r\nProxy-Status: other; error=dns_error\r\n\r\n", -E_TARGET_NAME, "" },
		{ "HTTP/1.1 500 Oops\r\n\r\n", -E_PROTOCOL, "" },
		{ "HTTP/1.1 500 Oops\r\nProxy-Status: \"\r\n\r\n", -E_PROTOCOL, "" },
		{ "HTTP/1.1 204 No Content\r\n\r\n", -E_PROTOCOL, "" },
		{ "HTTP/1.1 200 OK\r\nx\r\n\r\n", -E_HTTP_HEAD, "" },
		{ "\r\n\r\n", -E_HTTP_HEAD, "" },
		{ "HTTP/1.1 200 OK\r\n", -E_CLOSED, "" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct world world;
		stranger_answers(&world, rows[i].answer, 0, true);
		assert_int_equal(world.result, rows[i].result);
		assert_string_equal(world.details, rows[i].details);
		world_close(&world);
	}
	struct world world;
	stranger_answers(&world, "HTTP/1.1 200 OK\r\nx: ", 20000, false);
	assert_int_equal(world.result, -E_HTTP_HEAD);
	world_close(&world);
}

/* What follows the head is the tunnel's. */
static void test_bytes_behind_the_answer(void **state)
{
	(void)state;
	struct world world;
	stranger_answers(&world, "HTTP/1.1 200 OK\r\n\r\n", 100000, true);
	assert_int_equal(world.result, 0);
	test_end_take(&world.near, &world.t, world.stream);
	world.stream = NULL;
	WAIT(&world.t, world.near.eof);
	assert_true(test_end_received(&world.near, 100000));
	world_close(&world);
}

/* ---- faults ---- */

static bool exchange_over(const struct world *world)
{
	return world->err || (world->opened && world->result < 0) || world->near.err || world->far.err ||
	       (world->near.eof && world->far.eof);
}

/* It is the server's work. */
static void grant_without_faults(const char *host, uint16_t port)
{
	long countdown = fault_countdown;
	fault_arm(0);
	grant_for(host, port);
	fault_arm(countdown);
}

static int exchange(void *ctx)
{
	struct world world;
	const char *host = ctx;
	int err = world_open(&world);
	if (err == 0) {
		struct client_end_request request = request_of(&world, host, target_port(&world));
		grant_without_faults(host, target_port(&world));
		err = client_leg(&world, &request);
	}
	if (err == 0)
		err = agent_leg(&world);
	if (err == 0)
		WAIT(&world.t, world.opened || world.err);
	if (err == 0 && world.stream) {
		test_end_take(&world.near, &world.t, world.stream);
		world.stream = NULL;
		WAIT(&world.t, exchange_over(&world) || world.far.stream);
		send_all(&world.near, 30000);
		if (world.far.stream)
			send_all(&world.far, 30000);
		WAIT(&world.t, exchange_over(&world));
	}
	bool good = err == 0 && !world.err && world.near.eof && world.far.eof && test_end_received(&world.near, 30000) &&
	            test_end_received(&world.far, 30000) && !world.near.err && !world.far.err;
	world_close(&world);
	/* a FIN that fails behind the end of TLS has cut nothing off */
	return good && fault_armed() ? 0 : -E_CLOSED;
}

/* A refusal that cannot even be told is a broken leg: the client hears of it in any case. */
static int refusal(void *ctx)
{
	struct world world;
	const char *host = ctx;
	int err = world_open(&world);
	if (err == 0) {
		struct client_end_request request = request_of(&world, host, target_port(&world));
		grant_without_faults(host, target_port(&world));
		err = client_leg(&world, &request);
	}
	if (err == 0)
		err = agent_leg(&world);
	if (err == 0)
		WAIT(&world.t, world.opened || world.err);
	assert_null(world.stream);
	bool good = err == 0 && !world.err && world.result == -E_TARGET_REFUSED;
	world_close(&world);
	return good && fault_armed() ? 0 : -E_CLOSED;
}

static void test_faults(void **state)
{
	(void)state;
	static char self[] = "127.0.0.1", nobody[] = "many.example"; /* where nobody listens at any of its addresses */
	assert_true(test_each_fault(exchange, self) > 50);
	assert_true(test_each_fault(refusal, nobody) > 50);
}

/* ---- */

static struct tls_context *context(const struct tls_settings *settings)
{
	struct tls_context *made = NULL;
	struct tls_settings at = *settings;
	at.mesh = trust->mesh.id;
	at.intermediate = trust->mesh.intermediate;
	at.root = trust->mesh.root;
	at.now = test_now;
	at.kinds = at.server ? 1u << IDENTITY_USER : 1u << IDENTITY_NODE;
	assert_int_equal(tls_context_new(&at, &made), 0);
	return made;
}

static int set_up(void **state)
{
	(void)state;
	static const char *const both[] = { "http/1.1", "h2", NULL }, *const http[] = { "http/1.1", NULL },
	                         *const h2[] = { "h2", NULL };
	trust = test_trust_new(1);
	foreign = test_trust_new(2);
	struct tls_settings agent = {
		.server = true, .leaf = trust->device.certificate, .key = trust->device.key, .alpn = both, .alpn_optional = true
	};
	struct tls_settings client = { .leaf = trust->user.certificate, .key = trust->user.key, .alpn = http };
	agent_tls = context(&agent);
	client_tls = context(&client);
	client.alpn = h2;
	rpc_tls = context(&client);
	client.alpn = NULL;
	silent_tls = context(&client);
	client.leaf = NULL;
	client.key = NULL;
	stranger_tls = context(&client);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	tls_context_free(agent_tls);
	tls_context_free(client_tls);
	tls_context_free(rpc_tls);
	tls_context_free(silent_tls);
	tls_context_free(stranger_tls);
	trust = test_trust_free(trust);
	foreign = test_trust_free(foreign);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_connect),
		cmocka_unit_test(test_target_speaks_first),
		cmocka_unit_test(test_breaks),
		cmocka_unit_test(test_users_who_are_shut_out),
		cmocka_unit_test(test_tunnels_that_are_over),
		cmocka_unit_test(test_grants),
		cmocka_unit_test(test_closed_target),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_unreachable_target),
		cmocka_unit_test(test_gone_while_resolving),
		cmocka_unit_test(test_rpc_leg),
		cmocka_unit_test(test_wrong_device),
		cmocka_unit_test(test_strange_requests),
		cmocka_unit_test(test_endless_head),
		cmocka_unit_test(test_early_bytes),
		cmocka_unit_test(test_open_ids),
		cmocka_unit_test(test_many_early_bytes),
		cmocka_unit_test(test_bytes_behind_a_refusal),
		cmocka_unit_test(test_endless_bytes_behind_a_refusal),
		cmocka_unit_test(test_client_leaves),
		cmocka_unit_test(test_who_may_connect),
		cmocka_unit_test(test_leg_that_never_connects),
		cmocka_unit_test(test_strange_answers),
		cmocka_unit_test(test_bytes_behind_the_answer),
		cmocka_unit_test(test_faults),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
