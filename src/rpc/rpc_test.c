<<<<<<< HEAD
#include "rpc/rpc.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/test.h"
#include "crypto/test_mesh.h"
#include "crypto/tls.h"
#include "h2/grpc.h"
#include "h2/h2.h"
#include "io/io.h"
#include "os/fd.h"
#include "os/socket.h"
#include "services.h"
#include "stream/stream.h"

struct world;

/* One side of one call, as its owner sees it.  Messages carry their number and a pattern. */
struct talk {
	struct world *world;
	struct rpc_call *call;
	unsigned to_send, sent, received, half_closed, writable, closed;
	size_t size; /* of the messages it sends */
	bool client, echo, ended, bad, sulks /* pauses at its first message */;
	int err, finish; /* finish: what it ends with */
	char why[600], finish_why[600];
};

enum event { NEVER, OPEN, READY, MESSAGE, HALF_CLOSED, WRITABLE, CLOSED, DONE, LOST };

/* A client and a server on one loop, with another server behind it in the tests of the proxy. */
struct world {
	struct io_loop *loop;
	struct io_timer *watchdog;
	struct rpc_connection *client, *server, *near_target, *target;
	unsigned ready, client_lost, server_lost;
	int client_err, server_err;
	struct talk *served[64];
	size_t n_served;
	struct talk script; /* what the next served call is like */
	bool (*done)(struct world *world);
	enum event client_dies, server_dies; /* where the side frees its connection */
	struct rpc_call *waiting;            /* a unary call that is answered later */
	struct talk *talk;                   /* the test's own */
	char peer[IDENTITY_TEXT_SIZE];       /* whom the target saw */
	unsigned answers;
	int answer_err;
	char answer_why[600], answer[64];
	int peer_fd;
	struct io_watch *peer_watch;
	bool hung;
};

static void check(struct world *world)
{
	if (world->done && world->done(world))
		io_loop_stop(world->loop);
}

static void die(struct world *world, bool client, enum event event)
{
	if (client && world->client_dies == event)
		world->client = rpc_connection_free(world->client);
	if (!client && world->server_dies == event)
		world->server = rpc_connection_free(world->server);
}

/* ---- streams of messages ---- */

static const struct rpc_method raw_method = { .path = "/test.Test/Talk", .client_streams = true, .server_streams = true };

static void message_fill(uint8_t *out, size_t size, unsigned number)
{
	for (size_t i = 0; i < size; i++)
		out[i] = i < 4 ? (uint8_t)(number >> (8 * i)) : (uint8_t)(number * 13 + i * 7 + i / 256);
}

static bool message_is(struct str message, unsigned number)
{
	static uint8_t wanted[RPC_MESSAGE_MAX];
	message_fill(wanted, message.len, number);
	return memcmp(wanted, message.ptr, message.len) == 0;
}

static void produce(struct talk *talk)
{
	static uint8_t bytes[RPC_MESSAGE_MAX];
	while (talk->sent < talk->to_send && !rpc_call_crowded(talk->call)) {
		message_fill(bytes, talk->size, talk->sent);
		if (rpc_call_send(talk->call, &(struct str){ (char *)bytes, talk->size }) < 0)
			return rpc_call_cancel(talk->call);
		talk->sent++;
	}
	if (talk->sent < talk->to_send || talk->ended || talk->echo)
		return;
	talk->ended = true;
	if (talk->client)
		rpc_call_half_close(talk->call);
	else
		rpc_call_finish(talk->call, talk->finish, talk->finish_why);
}

static void talk_message(void *ctx, const void *bytes)
{
	struct talk *talk = ctx;
	const struct str *message = bytes;
	talk->bad |= !message_is(*message, talk->received);
	talk->received++;
	if (talk->sulks) {
		talk->sulks = false;
		rpc_call_pause(talk->call, true);
	}
	if (talk->echo) {
		if (rpc_call_send(talk->call, message) < 0)
			rpc_call_cancel(talk->call);
		if (rpc_call_crowded(talk->call))
			rpc_call_pause(talk->call, true);
	}
	die(talk->world, talk->client, MESSAGE);
	check(talk->world);
}

static void talk_half_closed(void *ctx)
{
	struct talk *talk = ctx;
	talk->half_closed++;
	if (talk->echo)
		rpc_call_finish(talk->call, talk->finish, talk->finish_why);
	die(talk->world, talk->client, HALF_CLOSED);
	check(talk->world);
}

static void talk_writable(void *ctx)
{
	struct talk *talk = ctx;
	talk->writable++;
	if (talk->echo)
		rpc_call_pause(talk->call, false);
	produce(talk);
	die(talk->world, talk->client, WRITABLE);
	check(talk->world);
}

static void talk_closed(void *ctx, int err, const char *why)
{
	struct talk *talk = ctx;
	talk->closed++;
	talk->err = err;
	snprintf(talk->why, sizeof talk->why, "%s", why);
	die(talk->world, talk->client, CLOSED);
	check(talk->world);
}

static const struct rpc_call_events talk_events = { talk_message, talk_half_closed, talk_writable, talk_closed };

static int talk_serve(struct world *world, struct rpc_call *call)
{
	struct talk *talk = world->n_served < 64 ? mem_alloc(sizeof *talk) : NULL;
	if (!talk)
		return -E_NO_MEMORY;
	*talk = world->script;
	talk->world = world;
	talk->call = call;
	world->served[world->n_served++] = talk;
	rpc_call_accept(call, &raw_method, &talk_events, talk);
	produce(talk);
	check(world);
	return 0;
}

static bool talk_open(struct world *world, struct talk *talk, struct talk script)
{
	*talk = script;
	talk->world = world;
	talk->client = true;
	talk->call = rpc_call_open(world->client, &raw_method, NULL, 0, &talk_events, talk);
	return talk->call != NULL;
}

/* ---- unary calls ---- */

static void lookup(void *ctx, struct rpc_call *call, const void *message)
{
	struct world *world = ctx;
	const murmesh_LookupRequest *request = message;
	static murmesh_LookupReply reply;
	reply = (murmesh_LookupReply)murmesh_LookupReply_init_zero;
	if (rpc_call_peer(call))
		identity_format(rpc_call_peer(call), world->peer);
	if (str_is(str_from(request->host), "later")) {
		world->waiting = rpc_call_ref(call);
		return check(world);
	}
	if (str_is(str_from(request->host), "never"))
		return check(world);
	if (str_starts(str_from(request->host), STR("E")))
		return rpc_call_finish(call, -err_from_name(request->host), "because: 100 % \xc3\xa4\n");
	if (str_is(str_from(request->host), "errno"))
		return rpc_call_finish(call, -2, NULL);
	reply.addresses_count = 1;
	snprintf(reply.addresses[0], sizeof reply.addresses[0], "%.40s!", request->host);
	rpc_call_reply(call, &reply);
}

static const struct rpc_service services[] = { { &rpc_Resolve_Lookup, 0, lookup, NULL } };

static int on_open(void *ctx, struct rpc_call *call)
{
	struct world *world = ctx;
	die(world, false, OPEN);
	if (!world->server && !world->target)
		return -E_DENIED;
	if (str_is(rpc_call_path(call), raw_method.path))
		return talk_serve(world, call);
	const struct rpc_service *row = rpc_service_find(services, 1, rpc_call_path(call));
	return row ? rpc_serve(row, call, world) : -E_UNSUPPORTED;
}

static void on_answer(void *ctx, int err, const char *why, const void *response)
{
	struct world *world = ctx;
	const murmesh_LookupReply *reply = response;
	assert_true((err == 0) == (response != NULL));
	world->answers++;
	world->answer_err = err;
	snprintf(world->answer_why, sizeof world->answer_why, "%s", why);
	snprintf(world->answer, sizeof world->answer, "%s", reply && reply->addresses_count ? reply->addresses[0] : "");
	die(world, true, DONE);
	check(world);
}

static int ask(struct world *world, const char *host, unsigned timeout_ms)
{
	murmesh_LookupRequest request = murmesh_LookupRequest_init_zero;
	snprintf(request.host, sizeof request.host, "%s", host);
	return rpc_unary(world->client, &rpc_Resolve_Lookup, &request, timeout_ms, on_answer, world);
}

/* ---- the world ---- */

static void on_ready(void *ctx)
{
	struct world *world = ctx;
	world->ready++;
	die(world, true, READY);
	check(world);
}

static void on_client_lost(void *ctx, int err)
{
	struct world *world = ctx;
	world->client_lost++;
	world->client_err = err;
	die(world, true, LOST);
	check(world);
}

static void on_server_lost(void *ctx, int err)
{
	struct world *world = ctx;
	world->server_lost++;
	world->server_err = err;
	die(world, false, LOST);
	check(world);
}

static const struct rpc_connection_events client_events = { NULL, on_ready, on_client_lost };
static const struct rpc_connection_events server_events = { on_open, NULL, on_server_lost };

static void on_watchdog(void *ctx)
{
	struct world *world = ctx;
	world->hung = true;
	io_loop_stop(world->loop);
}

static int world_init(struct world *world)
{
	*world = (struct world){ 0 };
	world->loop = io_loop_new();
	if (!world->loop)
		return -E_NO_MEMORY;
	world->watchdog = io_timer_new(world->loop, on_watchdog, world);
	if (!world->watchdog)
		return -E_NO_MEMORY;
	io_timer_start(world->watchdog, 20000, 0);
	return 0;
}

static int world_connect(struct world *world, const struct rpc_connection_settings *settings)
{
	static const struct rpc_connection_settings none;
	struct rpc_connection_settings server = settings ? *settings : none;
	int pair[2], err = fd_pair_stream(pair);
	if (err < 0)
		return err;
	server.server = true;
	world->client = rpc_connection_plain(world->loop, pair[0], &none, &client_events, world);
	world->server = rpc_connection_plain(world->loop, pair[1], &server, &server_events, world);
	return world->client && world->server ? 0 : -E_NO_MEMORY;
}

static void world_open(struct world *world)
{
	assert_int_equal(world_init(world), 0);
	assert_int_equal(world_connect(world, NULL), 0);
}

static void world_close(struct world *world)
{
	world->done = NULL;
	world->client_dies = world->server_dies = NEVER;
	rpc_connection_free(world->client);
	rpc_connection_free(world->server);
	rpc_connection_free(world->near_target);
	rpc_connection_free(world->target);
	rpc_call_unref(world->waiting);
	io_timer_free(world->watchdog);
	io_loop_free(world->loop);
	for (size_t i = 0; i < world->n_served; i++) {
		assert_int_equal(world->served[i]->closed, 1);
		mem_free(world->served[i]);
	}
}

static void run(struct world *world, bool (*done)(struct world *world))
{
	world->done = done;
	while (!done(world) && !world->hung)
		io_loop_run(world->loop);
	world->done = NULL;
	assert_false(world->hung);
}

static bool answered(struct world *world)
{
	return world->answers > 0;
}

static bool talk_over(struct world *world)
{
	return world->talk->closed;
}

static bool both_over(struct world *world)
{
	return world->talk->closed && world->n_served && world->served[0]->closed;
}

static bool lost(struct world *world)
{
	return world->client_lost;
}

static bool served_heard(struct world *world)
{
	return world->n_served && world->served[0]->received;
}

/* ---- tests ---- */
=======
/* Calls, and how they and their connections end. */
#include "rpc/test_world.h"
>>>>>>> main

static void test_unary(void **state)
{
	(void)state;
	struct world w;
	world_open(&w);
	assert_int_equal(world_ask(&w, "web01", 0), 0);
	assert_int_equal(rpc_connection_calls(w.client), 1);
	world_run(&w, answered);
	assert_int_equal(w.answer_err, 0);
	assert_string_equal(w.answer, "web01!");
	assert_string_equal(w.answer_why, "");
	assert_int_equal(w.ready, 1);
	assert_int_equal(rpc_connection_calls(w.client), 0);
	assert_string_equal(w.peer, "");
	assert_non_null(rpc_connection_stream(w.client));
	world_close(&w);
}

static bool answered_100(struct world *world)
{
	return world->answers == 100;
}

static void test_many_unary(void **state)
{
	(void)state;
	struct world w;
	world_open(&w);
	for (int i = 0; i < 100; i++)
		assert_int_equal(world_ask(&w, "x", 0), 0);
	world_run(&w, answered_100);
	assert_int_equal(w.answer_err, 0);
	world_close(&w);
}

static bool waits(struct world *world)
{
	return world->waiting;
}

static void test_answer_later(void **state)
{
	(void)state;
	struct world w;
	static murmesh_LookupReply reply;
	world_open(&w);
	assert_int_equal(world_ask(&w, "later", 0), 0);
	world_run(&w, waits);
	assert_int_equal(w.answers, 0);
	assert_true(rpc_call_alive(w.waiting));
	rpc_call_reply(w.waiting, &reply);
	rpc_call_reply(w.waiting, &reply); /* once is enough */
	world_run(&w, answered);
	assert_int_equal(w.answer_err, 0);
	/* The call is over, but the reference still good for nothing. */
	assert_false(rpc_call_alive(w.waiting));
	assert_int_equal(rpc_call_send(w.waiting, &reply), -E_CLOSED);
	rpc_call_finish(w.waiting, -E_DENIED, NULL);
	rpc_call_cancel(w.waiting);
	rpc_call_pause(w.waiting, true);
	rpc_call_pause(w.waiting, false);
	assert_false(rpc_call_crowded(w.waiting));
	assert_int_equal(rpc_call_half_close(w.waiting), -E_CLOSED);
	rpc_call_unref(w.waiting);
	/* One whose connection goes while its owner holds it. */
	w.waiting = NULL;
	w.answers = 0;
	assert_int_equal(world_ask(&w, "later", 0), 0);
	world_run(&w, waits);
	w.server = rpc_connection_free(w.server);
	rpc_call_reply(w.waiting, &reply);
	world_run(&w, lost);
	w.client = rpc_connection_free(w.client);
	assert_int_equal(w.answers, 1);
	assert_int_equal(w.answer_err, -E_CLOSED);
	world_close(&w);
}

static void test_errors_across(void **state)
{
	(void)state;
	static const char *const names[] = { "E1001", "E1004", "E1014", "E1015", "E1016", "E1017", "E1018", "E1019",
		                             "E1020", "E1022", "E1103", "E1201", "E1210", "E1215", "E1300", "E1500" };
	struct world w;
	world_open(&w);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		w.answers = 0;
		assert_int_equal(world_ask(&w, names[i], 0), 0);
		world_run(&w, answered);
		assert_int_equal(w.answer_err, -err_from_name(names[i]));
		assert_string_equal(w.answer_why,
		                    "because: 100 % \xc3\xa4\xef\xbf\xbd"); /* no control characters in texts for people */
	}
	w.answers = 0;
	assert_int_equal(world_ask(&w, "errno", 0), 0);
	world_run(&w, answered);
	assert_int_equal(w.answer_err, -E_INTERNAL);
	assert_string_equal(w.answer_why, "No such file or directory");
	/* a method that is not there */
	static const struct rpc_method unknown = { "/test.Test/Unknown",
		                                   &murmesh_LookupRequest_msg,
		                                   sizeof(murmesh_LookupRequest),
		                                   &murmesh_LookupReply_msg,
		                                   sizeof(murmesh_LookupReply),
		                                   false,
		                                   false };
	murmesh_LookupRequest request = murmesh_LookupRequest_init_zero;
	w.answers = 0;
	assert_int_equal(rpc_unary(w.client, &unknown, &request, 0, world_on_answer, &w), 0);
	world_run(&w, answered);
	assert_int_equal(w.answer_err, -E_UNSUPPORTED);
	world_close(&w);
}

static void test_server_streaming(void **state)
{
	(void)state;
	struct world w;
	struct talk talk;
	world_open(&w);
	w.talk = &talk;
	w.script = (struct talk){ .to_send = 10000, .size = 100 };
	assert_true(talk_open(&w, &talk, (struct talk){ .to_send = 1, .size = 10 }));
	talk_produce(&talk);
	world_run(&w, both_over);
	assert_int_equal(talk.received, 10000);
	assert_false(talk.bad);
	assert_int_equal(talk.err, 0);
	assert_int_equal(w.served[0]->err, 0);
	world_close(&w);
}

static void bidi(unsigned n, size_t size)
{
	struct world w;
	struct talk talk;
	world_open(&w);
	w.talk = &talk;
	w.script = (struct talk){ .echo = true, .finish = -E_LIMIT, .finish_why = "enough" };
	assert_true(talk_open(&w, &talk, (struct talk){ .to_send = n, .size = size }));
	talk_produce(&talk);
	world_run(&w, both_over);
	assert_int_equal(w.served[0]->received, n);
	assert_int_equal(w.served[0]->half_closed, 1);
	assert_int_equal(w.served[0]->err, -E_LIMIT);
	assert_false(w.served[0]->bad);
	assert_int_equal(talk.received, n);
	assert_false(talk.bad);
	assert_int_equal(talk.err, -E_LIMIT);
	assert_string_equal(talk.why, "enough");
	world_close(&w);
}

static void test_bidi(void **state)
{
	(void)state;
	bidi(0, 0);
	bidi(10, 0);
	bidi(10000, 64);
	bidi(500, 60 << 10);
	bidi(20, RPC_MESSAGE_MAX);
}

static void test_too_long(void **state)
{
	(void)state;
	static char bytes[RPC_MESSAGE_MAX + 1];
	struct world w;
	struct talk talk;
	world_open(&w);
	assert_true(talk_open(&w, &talk, (struct talk){ .to_send = 1 }));
	assert_int_equal(rpc_call_send(talk.call, &(struct str){ bytes, sizeof bytes }), -E_TOO_LONG);
	world_close(&w);
}

static bool served_half_closed(struct world *world)
{
	return world->served[0]->half_closed;
}

/* A receiver that pauses stops its sender, and nobody else. */
static void test_pause(void **state)
{
	(void)state;
	enum { N = 8 };
	struct world w;
	struct talk talks[N];
	world_open(&w);
	for (int i = 0; i < N; i++) {
		w.n_served = 0;
		w.talk = &talks[i];
		w.script = (struct talk){ .sulks = true, .ended = true };
		assert_true(talk_open(&w, &talks[i], (struct talk){ .to_send = 100, .size = 60000 }));
		talk_produce(&talks[i]);
		world_run(&w, served_heard);
		if (i < N - 1) { /* forgotten, but freed with the connection */
			rpc_call_set_events(w.served[0]->call, NULL, NULL);
			mem_free(w.served[0]);
		}
	}
	/* Others are served meanwhile, until nothing moves any more. */
	for (int i = 0; i < 50; i++) {
		w.answers = 0;
		assert_int_equal(world_ask(&w, "web01", 0), 0);
		world_run(&w, answered);
		assert_int_equal(w.answer_err, 0);
	}
	unsigned stopped = w.served[0]->received;
	assert_true(stopped < 10);
	assert_true(talks[N - 1].sent < 30);
	assert_true(rpc_call_crowded(talks[N - 1].call));
	assert_int_equal(w.served[0]->half_closed, 0);
	rpc_call_pause(w.served[0]->call, false);
	world_run(&w, served_half_closed);
	assert_int_equal(w.served[0]->received, 100);
	assert_false(w.served[0]->bad);
	assert_true(talks[N - 1].writable > 0);
	world_close(&w);
	for (int i = 0; i < N; i++) {
		assert_int_equal(talks[i].closed, 1);
		assert_int_equal(talks[i].err, -E_CLOSED);
	}
}

static void test_full(void **state)
{
	(void)state;
	static char bytes[RPC_MESSAGE_MAX];
	struct world w;
	struct talk talk;
	int err;
	unsigned n = 0;
	world_open(&w);
	w.script = (struct talk){ .sulks = true, .ended = true };
	assert_true(talk_open(&w, &talk, (struct talk){ .ended = true }));
	while ((err = rpc_call_send(talk.call, &(struct str){ bytes, sizeof bytes })) == 0)
		n++;
	assert_int_equal(err, -E_FULL);
	assert_true(n >= 8);
	world_close(&w);
}

static void test_cancel(void **state)
{
	(void)state;
	for (int by_server = 0; by_server < 2; by_server++) {
		struct world w;
		struct talk talk;
		world_open(&w);
		w.talk = &talk;
		w.script = (struct talk){ .ended = true };
		assert_true(talk_open(&w, &talk, (struct talk){ .to_send = 1, .size = 5, .ended = true }));
		talk_produce(&talk);
		world_run(&w, served_heard);
		rpc_call_cancel(by_server ? w.served[0]->call : talk.call);
		rpc_call_cancel(by_server ? w.served[0]->call : talk.call);
		assert_int_equal(talk.closed, 0);
		assert_int_equal(rpc_call_send(by_server ? w.served[0]->call : talk.call, &STR("x")), -E_CLOSED);
		world_run(&w, both_over);
		assert_int_equal(talk.err, -E_CANCELLED);
		assert_int_equal(w.served[0]->err, -E_CANCELLED);
		assert_int_equal(talk.closed, 1);
		assert_int_equal(rpc_connection_calls(w.client), 0);
		assert_int_equal(rpc_connection_calls(w.server), 0);
		/* The connection goes on. */
		assert_int_equal(world_ask(&w, "web01", 0), 0);
		world_run(&w, answered);
		assert_int_equal(w.answer_err, 0);
		world_close(&w);
	}
}

static bool talk_heard(struct world *world)
{
	return world->talk->received;
}

/* The server has ended the call, but the client did not wait for that. */
static void test_answer_not_taken(void **state)
{
	(void)state;
	struct world w;
	struct talk talk;
	world_open(&w);
	w.talk = &talk;
	w.script = (struct talk){ .to_send = 8, .size = 60000 }; /* more than the window */
	assert_true(talk_open(&w, &talk, (struct talk){ .sulks = true, .ended = true }));
	world_run(&w, talk_heard);
	assert_true(w.served[0]->ended);
	assert_int_equal(w.served[0]->closed, 0);
	rpc_call_cancel(talk.call);
	world_run(&w, both_over);
	assert_int_equal(w.served[0]->err, -E_CANCELLED);
	world_close(&w);
}

/* A server that has said all is not kept by a client that goes on talking, and the client hears the answer. */
static void test_early_answer(void **state)
{
	(void)state;
	struct world w;
	struct talk talk;
	world_open(&w);
	w.talk = &talk;
	w.script = (struct talk){ .to_send = 0, .finish = -E_DENIED, .finish_why = "not today" };
	assert_true(talk_open(&w, &talk, (struct talk){ .to_send = 1000, .size = 60000 }));
	talk_produce(&talk);
	world_run(&w, both_over);
	assert_int_equal(talk.err, -E_DENIED);
	assert_string_equal(talk.why, "not today");
	assert_int_equal(w.served[0]->err, -E_DENIED);
	assert_int_equal(w.served[0]->received, 0);
	assert_true(talk.sent < 1000);
	assert_int_equal(world_ask(&w, "web01", 0), 0);
	world_run(&w, answered);
	assert_int_equal(w.answer_err, 0);
	world_close(&w);
}

static bool answered_twice(struct world *world)
{
	return world->answers == 2;
}

static void test_deadline(void **state)
{
	(void)state;
	struct world w;
	world_open(&w);
	assert_int_equal(world_ask(&w, "never", 20), 0);
	world_run(&w, answered);
	assert_int_equal(w.answer_err, -E_TIMEOUT);
	w.answers = 0;
	assert_int_equal(world_ask(&w, "web01", 0), 0);
	world_run(&w, answered);
	assert_int_equal(w.answer_err, 0);
	assert_int_equal(w.answers, 1);
	assert_int_equal(rpc_connection_calls(w.client), 0);
	world_close(&w);
	/* The server takes one call at a time: the other waits, and not for ever. */
	assert_int_equal(world_init(&w), 0);
	assert_int_equal(world_connect(&w, &(struct rpc_connection_settings){ .max_streams = 1 }), 0);
	assert_int_equal(world_ask(&w, "web01", 0), 0);
	world_run(&w, answered);
	assert_int_equal(world_ask(&w, "later", 0), 0);
	world_run(&w, waits);
	w.answers = 0;
	assert_int_equal(world_ask(&w, "web02", 20), 0);
	world_run(&w, answered);
	assert_int_equal(w.answer_err, -E_TIMEOUT);
	w.answers = 0;
	assert_int_equal(world_ask(&w, "web03", 0), 0);
	static murmesh_LookupReply reply;
	rpc_call_reply(w.waiting, &reply);
	world_run(&w, answered_twice);
	assert_int_equal(w.answer_err, 0);
	assert_string_equal(w.answer, "web03!");
	world_close(&w);
}

/* A peer that takes nothing any more: what waits for it can be given up. */
static void test_stalled(void **state)
{
	(void)state;
	struct world w;
	struct talk talk;
	int pair[2];
	static const struct rpc_connection_settings settings;
	assert_int_equal(world_init(&w), 0);
	assert_int_equal(fd_pair_stream(pair), 0);
	static uint8_t junk[65536];
	w.client = rpc_connection_plain(w.loop, pair[0], &settings, &client_events, &w);
	while (fd_write(pair[0], junk, sizeof junk) > 0)
		;
	assert_true(talk_open(&w, &talk, (struct talk){ .to_send = 1, .size = 60000 }));
	talk_produce(&talk);
	assert_int_equal(world_ask(&w, "web01", 20), 0);
	world_run(&w, answered);
	assert_int_equal(w.answer_err, -E_TIMEOUT);
	w.talk = &talk;
	rpc_call_cancel(talk.call);
	world_run(&w, talk_over);
	assert_int_equal(talk.err, -E_CANCELLED);
	fd_close(pair[1]);
	world_run(&w, lost);
	world_close(&w);
}

static void test_loss(void **state)
{
	(void)state;
	for (int server_goes = 0; server_goes < 2; server_goes++) {
		struct world w;
		struct talk talk;
		world_open(&w);
		w.talk = &talk;
		w.script = (struct talk){ .ended = true };
		assert_true(talk_open(&w, &talk, (struct talk){ .to_send = 1, .size = 5, .ended = true }));
		talk_produce(&talk);
		assert_int_equal(world_ask(&w, "never", 0), 0);
		world_run(&w, served_heard);
		if (server_goes) {
			w.server = rpc_connection_free(w.server);
			assert_int_equal(w.served[0]->err, -E_CLOSED);
			world_run(&w, lost);
			assert_int_equal(w.client_err, -E_CLOSED);
			assert_int_equal(world_ask(&w, "web01", 0), -E_CLOSED);
			struct talk late;
			assert_false(talk_open(&w, &late, (struct talk){ 0 }));
			w.client = rpc_connection_free(w.client);
		} else {
			w.client = rpc_connection_free(w.client);
			world_run(&w, server_lost);
			assert_int_equal(w.server_err, -E_CLOSED);
			w.server = rpc_connection_free(w.server);
		}
		assert_int_equal(w.answers, 1);
		assert_int_equal(w.answer_err, -E_CLOSED);
		assert_int_equal(talk.closed, 1);
		assert_int_equal(talk.err, -E_CLOSED);
		assert_int_equal(w.served[0]->err, -E_CLOSED);
		assert_int_equal(w.client_lost + w.server_lost, 1);
		world_close(&w);
	}
}

static bool one_gone(struct world *world)
{
	return !world->client || !world->server;
}

static void test_free_inside(void **state)
{
	(void)state;
	for (int client = 0; client < 2; client++)
		for (enum event event = OPEN; event <= LOST; event++) {
			if (client ? event == OPEN || event == HALF_CLOSED : event == READY || event == DONE)
				continue;
			struct world w;
			struct talk talk;
			world_open(&w);
			w.talk = &talk;
			*(client ? &w.client_dies : &w.server_dies) = event;
			w.script = (struct talk){ .echo = true };
			if (!client && event == WRITABLE)
				w.script = (struct talk){ .to_send = 100, .size = 60000 };
			assert_true(talk_open(&w, &talk, (struct talk){ .to_send = 50, .size = 60000 }));
			talk_produce(&talk);
			if (event == DONE)
				assert_int_equal(world_ask(&w, "web01", 0), 0);
			if (event == LOST) {
				world_run(&w, served_heard);
				*(client ? &w.server : &w.client) = rpc_connection_free(client ? w.server : w.client);
				assert_int_equal(client ? w.client_lost : w.server_lost, 0);
				world_run(&w, client ? lost : server_lost);
			} else
				world_run(&w, one_gone);
			assert_int_equal(client ? !w.client : !w.server, 1);
			if (client)
				assert_int_equal(talk.closed, 1);
			world_close(&w);
			assert_int_equal(talk.closed, 1);
		}
	assert_null(rpc_connection_free(NULL));
	rpc_call_unref(NULL);
}

static bool both_lost(struct world *world)
{
	return world->client_lost && world->server_lost;
}

static void test_goaway(void **state)
{
	(void)state;
	for (int by_client = 0; by_client < 2; by_client++) {
		struct world w;
		struct talk talk, late;
		world_open(&w);
		w.talk = &talk;
		w.script = (struct talk){ .echo = true };
		assert_true(talk_open(&w, &talk, (struct talk){ .to_send = 100, .size = 10000 }));
		world_run(&w, served);
		w.client_dies = w.server_dies = LOST;
		rpc_connection_goaway(by_client ? w.client : w.server);
		talk_produce(&talk);
		world_run(&w, both_over);
		assert_int_equal(talk.err, 0);
		assert_int_equal(talk.received, 100);
		assert_false(talk.bad);
		assert_int_equal(w.served[0]->err, 0);
		assert_false(w.client && talk_open(&w, &late, (struct talk){ 0 }));
		world_run(&w, both_lost);
		assert_int_equal(w.client_err, -E_CLOSED);
		assert_int_equal(w.server_err, -E_CLOSED);
		world_close(&w);
	}
}

/* A peer that does not close after the last call is not waited for for ever. */
static void test_linger(void **state)
{
	(void)state;
	struct world w;
	int pair[2];
	static const struct rpc_connection_settings settings = { .server = true };
	assert_int_equal(world_init(&w), 0);
	assert_int_equal(fd_pair_stream(pair), 0);
	w.server = rpc_connection_plain(w.loop, pair[0], &settings, &server_events, &w);
	rpc_connection_goaway(w.server);
	world_run(&w, server_lost);
	assert_int_equal(w.server_err, -E_CLOSED);
	fd_close(pair[1]);
	world_close(&w);
}

static bool answered_or_lost(struct world *world)
{
	return world->answers || world->client_lost;
}

/* Clients that open calls only to reset them are sent away, but a role that passes on what many clients do is not. */
static void test_many_resets(void **state)
{
	(void)state;
	enum { AT_ONCE = 50, ROUNDS = 40 };
	for (int trusted = 0; trusted < 2; trusted++) {
		struct world w;
		assert_int_equal(world_init(&w), 0);
		assert_int_equal(world_connect(&w, &(struct rpc_connection_settings){ .trusted_metadata = trusted }), 0);
		w.ignores = true;
		for (int i = 0; i < ROUNDS && !w.client_lost; i++) {
			struct rpc_call *calls[AT_ONCE];
			for (int j = 0; j < AT_ONCE; j++) {
				calls[j] = rpc_call_open(w.client, &raw_method, NULL, 0, NULL, NULL);
				assert_non_null(calls[j]);
			}
			w.answers = 0;
			assert_int_equal(world_ask(&w, "web01", 0), 0);
			world_run(&w, answered_or_lost);
			for (int j = 0; j < AT_ONCE && !w.client_lost; j++)
				rpc_call_cancel(calls[j]);
			w.answers = 0;
			if (!w.client_lost)
				assert_int_equal(world_ask(&w, "web01", 0), 0);
			world_run(&w, answered_or_lost);
		}
		assert_int_equal(w.client_lost, !trusted);
		assert_int_equal(w.client_err, trusted ? 0 : -E_PROTOCOL);
		world_close(&w);
	}
}

static bool answered_50(struct world *world)
{
	if (world->answers < 50)
		world_ask(world, "web01", 0);
	return world->answers >= 50 || world->server_lost;
}

static void test_keepalive(void **state)
{
	(void)state;
	struct world w;
	int pair[2];
	assert_int_equal(world_init(&w), 0);
	assert_int_equal(fd_pair_stream(pair), 0);
	const struct rpc_connection_settings settings = { .server = true, .ping_ms = 5, .quiet_ms = 30 };
	w.server = rpc_connection_plain(w.loop, pair[0], &settings, &server_events, &w);
	world_run(&w, server_lost);
	assert_int_equal(w.server_err, -E_TIMEOUT);
	fd_close(pair[1]);
	world_close(&w);
	/* Pings alone do not end a connection, nor does quiet where no limit is set. */
	assert_int_equal(world_init(&w), 0);
	assert_int_equal(world_connect(&w, &(struct rpc_connection_settings){ .ping_ms = 1 }), 0);
	assert_int_equal(world_ask(&w, "never", 50), 0);
	world_run(&w, answered);
	assert_int_equal(w.server_lost, 0);
	world_run(&w, answered_50);
	assert_int_equal(w.answer_err, 0);
	assert_int_equal(w.server_lost, 0);
	world_close(&w);
}

/* Without a `closed` event the connection goes by itself. */
static void test_kept_by_nobody(void **state)
{
	(void)state;
	struct world w;
	struct talk talk;
	static const struct rpc_connection_events silent;
	static const struct rpc_connection_settings settings;
	int pair[2];
	assert_int_equal(world_init(&w), 0);
	assert_int_equal(fd_pair_stream(pair), 0);
	w.client = rpc_connection_plain(w.loop, pair[0], &settings, &silent, &w);
	w.talk = &talk;
	assert_true(talk_open(&w, &talk, (struct talk){ 0 }));
	fd_close(pair[1]);
	world_run(&w, talk_over);
	assert_int_equal(talk.err, -E_CLOSED);
	w.client = NULL;
	world_close(&w);
}

<<<<<<< HEAD
/* ---- peers that are not ours: one HTTP/2 stream, said and heard without rpc ---- */

struct wire {
	struct world *world;
	struct h2_session *session;
	struct h2_stream *stream;
	struct io_watch *watch;
	struct buf out, heads, data;
	struct h2_head answer, trailers; /* of a server */
	struct str answer_data;
	int fd;
	unsigned closed;
	uint32_t error;
};

static void wire_keep(void *ctx, const struct h2_head *head)
{
	struct wire *wire = ctx;
	for (size_t i = 0; i < head->n; i++)
		buf_printf(&wire->heads, "%.*s=%.*s;", STR_ARG(head->fields[i].name), STR_ARG(head->fields[i].value));
}

static void wire_data(void *ctx, const uint8_t *bytes, size_t len)
{
	struct wire *wire = ctx;
	buf_append(&wire->data, bytes, len);
	h2_stream_consume(wire->stream, len);
}

static void wire_closed(void *ctx, uint32_t error)
{
	struct wire *wire = ctx;
	wire->closed++;
	wire->error = error;
	wire->stream = NULL;
	check(wire->world);
}

static const struct h2_stream_events wire_stream_events = {
	.response = wire_keep, .data = wire_data, .trailers = wire_keep, .closed = wire_closed
};

static int wire_request(void *ctx, struct h2_stream *stream, const struct h2_head *head)
{
	struct wire *wire = ctx;
	wire->stream = stream;
	wire_keep(wire, head);
	h2_stream_set_events(stream, &wire_stream_events, wire);
	if (wire->answer.n)
		h2_stream_respond(stream, &wire->answer, !wire->trailers.n && !wire->answer_data.len);
	if (wire->answer_data.len)
		h2_stream_send(stream, wire->answer_data.ptr, wire->answer_data.len);
	if (wire->trailers.n || wire->answer_data.len)
		h2_stream_end(stream, wire->trailers.n ? &wire->trailers : NULL);
	return 0;
}

static void wire_flush(struct wire *wire)
{
	assert_int_equal(h2_pull(wire->session, 1 << 20, &wire->out), 0);
	assert_int_equal(fd_write(wire->fd, buf_head(&wire->out), buf_len(&wire->out)), buf_len(&wire->out));
	buf_done(&wire->out);
}

static void wire_wants_pull(void *ctx)
{
	(void)ctx;
}

static const struct h2_session_events wire_events = { wire_request, wire_wants_pull, NULL };

static void wire_readable(void *ctx, unsigned events)
{
	struct wire *wire = ctx;
	uint8_t bytes[65536];
	(void)events;
	ssize_t n = fd_read(wire->fd, bytes, sizeof bytes);
	if (n <= 0) {
		io_watch_set(wire->watch, 0);
		return;
	}
	assert_int_equal(h2_receive(wire->session, bytes, (size_t)n), 0);
	wire_flush(wire);
}

static void wire_open(struct wire *wire, struct world *world, bool server)
{
	const struct h2_settings settings = {
		.server = server, .max_streams = 10, .stream_window = 65535, .connection_window = 65535, .queue_max = 1 << 20
	};
	static const struct rpc_connection_settings ours = { .server = true }, client;
	int pair[2];
	*wire = (struct wire){ .world = world };
	assert_int_equal(world_init(world), 0);
	assert_int_equal(fd_pair_stream(pair), 0);
	wire->fd = pair[0];
	buf_init(&wire->out, 1 << 20);
	buf_init(&wire->heads, 1 << 20);
	buf_init(&wire->data, 1 << 20);
	wire->session = h2_session_new(&settings, &wire_events, wire);
	wire->watch = io_watch_new(world->loop, wire->fd, wire_readable, wire);
	io_watch_set(wire->watch, IO_READABLE);
	if (server)
		world->client = rpc_connection_plain(world->loop, pair[1], &client, &client_events, world);
	else
		world->server = rpc_connection_plain(world->loop, pair[1], &ours, &server_events, world);
}

static void wire_done(struct wire *wire)
{
	wire->world->done = NULL;
	h2_session_free(wire->session);
	io_watch_free(wire->watch);
	fd_close(wire->fd);
	buf_done(&wire->heads);
	buf_done(&wire->data);
	world_close(wire->world);
}

static struct wire *wire_now;

static bool wire_over(struct world *world)
{
	(void)world;
	return wire_now->closed;
}

/* One request to our server; what it answers is in wire->heads. */
static void wire_ask(struct wire *wire, struct world *world, const char *method, const char *path, const char *type,
                     const void *data, size_t len, bool end)
{
	struct h2_head head = { .n = 0 };
	wire_open(wire, world, false);
	h2_head_add(&head, STR(":method"), str_from(method));
	h2_head_add(&head, STR(":scheme"), STR("http"));
	h2_head_add(&head, STR(":path"), str_from(path));
	h2_head_add(&head, STR(":authority"), STR("test"));
	h2_head_add(&head, STR("te"), STR("trailers"));
	h2_head_add(&head, STR("murmesh-peer"),
	            STR("murmesh://00000000000000000000000000000000/user/00000000000000000000000000000001"));
	if (type)
		h2_head_add(&head, STR("content-type"), str_from(type));
	wire->stream = h2_request(wire->session, &head, &wire_stream_events, wire);
	assert_non_null(wire->stream);
	if (len)
		assert_int_equal(h2_stream_send(wire->stream, data, len), 0);
	if (end)
		assert_int_equal(h2_stream_end(wire->stream, NULL), 0);
	wire_flush(wire);
	wire_now = wire;
	run(world, wire_over);
}

static void test_odd_requests(void **state)
{
	(void)state;
	static const struct {
		const char *bytes;
		size_t len;
		bool end;
		const char *answer;
	} rows[] = {
		{ "\1\0\0\0\0", 5, true, "grpc-status=12;" },
		{ "\0\0\1\0\1", 5, false, "murmesh-error=E1002;" },
		{ "\0\0\0\0\4junk", 9, true, "murmesh-error=E1103;" },
		{ "", 0, true, "murmesh-error=E1100;" },
		{ "\0\0\0\0\5\x0a\x03web\0\0\0\0\0", 15, true, "grpc-status=0;" },
		{ "\0\0\0\0\7\x0a\x05never\0\0\0\0\0", 17, false, "murmesh-error=E1100;" },
		{ "\0\0\0\0\7\x0a\x05", 7, true, NULL },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct world w;
		struct wire wire;
		wire_ask(&wire, &w, "POST", "/murmesh.Resolve/Lookup", "application/grpc", rows[i].bytes, rows[i].len, rows[i].end);
		buf_append_u8(&wire.heads, 0);
		if (rows[i].answer && !strstr((const char *)buf_head(&wire.heads), rows[i].answer))
			fail_msg("row %zu: %s", i, (const char *)buf_head(&wire.heads));
		if (!rows[i].answer)
			assert_non_null(strstr((const char *)buf_head(&wire.heads), "murmesh-error=E1100;"));
		assert_int_equal(wire.error, H2_NO_ERROR);
		assert_string_equal(w.peer, ""); /* nobody says who calls but its certificate */
		wire_done(&wire);
	}
	struct world w;
	struct wire wire;
	wire_ask(&wire, &w, "GET", "/murmesh.Resolve/Lookup", "application/grpc", "", 0, true);
	assert_int_equal(wire.error, H2_PROTOCOL_ERROR);
	wire_done(&wire);
	wire_ask(&wire, &w, "POST", "/murmesh.Resolve/Lookup", "text/html", "", 0, true);
	assert_int_equal(wire.error, H2_PROTOCOL_ERROR);
	wire_done(&wire);
	wire_ask(&wire, &w, "POST", "/murmesh.Resolve/Lookup", NULL, "", 0, true);
	assert_int_equal(wire.error, H2_PROTOCOL_ERROR);
	wire_done(&wire);
}

static void test_odd_answers(void **state)
{
	(void)state;
	static const struct {
		const char *status, *type, *data;
		size_t len;
		const char *name, *value, *name2, *value2;
		int err;
		const char *why;
	} rows[] = {
		{ "200", "application/grpc", "", 0, "grpc-status", "0", NULL, NULL, -E_PROTOCOL, "" },
		{ "404", "application/grpc", "", 0, "grpc-status", "0", NULL, NULL, -E_PROTOCOL, "" },
		{ "200", "text/html", "hello", 5, NULL, NULL, NULL, NULL, -E_PROTOCOL, "" },
		{ "200", "application/grpc", "\0\0\0\0\0", 5, "grpc-status", "0", NULL, NULL, 0, "" },
		{ "200", "application/grpc", "\0\0\0\0\0", 5, NULL, NULL, NULL, NULL, -E_CLOSED, "" },
		{ "200", "application/grpc", "\0\0\0\0\0", 5, "grpc-status", "ten", NULL, NULL, -E_PROTOCOL, "" },
		{ "200", "application/grpc", "\0\0\0\0\0", 5, "grpc-status", "17", NULL, NULL, -E_PROTOCOL, "" },
		{ "200", "application/grpc", "\0\0\0\0\0", 5, "grpc-status", "7", "grpc-message", "no%20way%", -E_DENIED,
		  "no way%" },
		{ "200", "application/grpc", "\0\0\0\0\0", 5, "grpc-status", "7", "murmesh-error", "E1206", -E_REVOKED, "" },
		{ "200", "application/grpc", "\0\0\0\0\0", 5, "grpc-status", "7", "murmesh-error", "E9999", -E_DENIED, "" },
		{ "200", "application/grpc", "\0\0\0\0\4junk", 9, "grpc-status", "0", NULL, NULL, -E_MESSAGE, "" },
		{ "200", "application/grpc", "\1\0\0\0\0", 5, "grpc-status", "0", NULL, NULL, -E_UNSUPPORTED, "" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct world w;
		struct wire wire;
		wire_open(&wire, &w, true);
		h2_head_add(&wire.answer, STR(":status"), str_from(rows[i].status));
		h2_head_add(&wire.answer, STR("content-type"), str_from(rows[i].type));
		wire.answer_data = (struct str){ rows[i].data, rows[i].len };
		if (rows[i].name)
			h2_head_add(&wire.trailers, str_from(rows[i].name), str_from(rows[i].value));
		if (rows[i].name2)
			h2_head_add(&wire.trailers, str_from(rows[i].name2), str_from(rows[i].value2));
		assert_int_equal(ask(&w, "web01", 0), 0);
		run(&w, answered);
		if (w.answer_err != rows[i].err || strcmp(w.answer_why, rows[i].why) != 0)
			fail_msg("row %zu: %d %s", i, w.answer_err, w.answer_why);
		wire_done(&wire);
	}
}

static void test_request_head(void **state)
{
	(void)state;
	struct world w;
	struct wire wire;
	wire_open(&wire, &w, true);
	h2_head_add(&wire.answer, STR(":status"), STR("200"));
	h2_head_add(&wire.answer, STR("content-type"), STR("application/grpc"));
	h2_head_add(&wire.answer, STR("grpc-status"), STR("5"));
	assert_int_equal(ask(&w, "web01", 0), 0);
	run(&w, answered);
	assert_int_equal(w.answer_err, -E_NOT_FOUND); /* trailers only */
	assert_true(str_is(buf_str(&wire.heads), ":method=POST;:scheme=http;:path=/murmesh.Resolve/Lookup;:authority=murmesh;"
	                                         "content-type=application/grpc+proto;te=trailers;"));
	wire_done(&wire);
}

/* A peer that closes when the other side has. */
static void hang_up(void *ctx, unsigned events)
{
	struct world *world = ctx;
	uint8_t bytes[1000];
	(void)events;
	if (fd_read(world->peer_fd, bytes, sizeof bytes) == 0) {
		io_watch_set(world->peer_watch, 0);
		socket_shutdown_write(world->peer_fd);
	}
}

static void test_not_http2(void **state)
{
	(void)state;
	struct world w;
	int pair[2];
	static const struct rpc_connection_settings settings = { .server = true };
	assert_int_equal(world_init(&w), 0);
	assert_int_equal(fd_pair_stream(pair), 0);
	w.server = rpc_connection_plain(w.loop, pair[0], &settings, &server_events, &w);
	assert_int_equal(fd_write(pair[1], "SSH-2.0-OpenSSH_9.2\r\n\r\n\r\n", 24), 24);
	run(&w, server_lost);
	assert_int_equal(w.server_err, -E_PROTOCOL);
	fd_close(pair[1]);
	world_close(&w);
	/* a frame that may not be; the peer hears why and closes */
	assert_int_equal(world_init(&w), 0);
	assert_int_equal(fd_pair_stream(pair), 0);
	w.server = rpc_connection_plain(w.loop, pair[0], &settings, &server_events, &w);
	static const char bytes[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0\0\0\1\0\0\0\0\0\1x";
	assert_int_equal(fd_write(pair[1], bytes, sizeof bytes - 1), sizeof bytes - 1);
	w.peer_fd = pair[1];
	w.peer_watch = io_watch_new(w.loop, pair[1], hang_up, &w);
	io_watch_set(w.peer_watch, IO_READABLE);
	run(&w, server_lost);
	assert_int_equal(w.server_err, -E_PROTOCOL);
	io_watch_free(w.peer_watch);
	fd_close(pair[1]);
	world_close(&w);
}

/* ---- TLS and the proxy ---- */

static struct test_mesh mesh;
static struct test_leaf server_leaf, client_leaf;
static struct tls_context *server_tls, *client_tls;

static int64_t test_now(void)
{
	return TEST_NOW;
}

static int on_proxy_open(void *ctx, struct rpc_call *call)
{
	struct world *world = ctx;
	return world->near_target ? rpc_proxy(call, world->near_target) : -E_OFFLINE;
}

static void on_target_lost(void *ctx, int err)
{
	struct world *world = ctx;
	(void)err;
	world->near_target = rpc_connection_free(world->near_target);
}

static void on_target_gone(void *ctx, int err)
{
	struct world *world = ctx;
	(void)err;
	world->target = rpc_connection_free(world->target);
}

/* client == TLS ==> server, which passes on to ==> target */
static int world_connect_proxy(struct world *world)
{
	static const struct rpc_connection_events proxy_events = { on_proxy_open, NULL, on_server_lost };
	static const struct rpc_connection_events near_events = { NULL, NULL, on_target_lost };
	static const struct rpc_connection_events target_events = { on_open, NULL, on_target_gone };
	static const struct rpc_connection_settings client = { 0 }, server = { .server = true },
	                                            trusting = { .server = true, .trusted_metadata = true };
	int pair[2], target[2];
	int err = fd_pair_stream(pair);
	if (err < 0)
		return err;
	const struct stream_settings near = { .fd = pair[0], .tls = client_tls, .expect = &server_leaf.identity },
	                             far = { .fd = pair[1], .tls = server_tls };
	static const struct stream_events none;
	struct stream *stream = stream_new(world->loop, &near, &none, NULL);
	world->client = stream ? rpc_connection_new(world->loop, stream, &client, &client_events, world) : NULL;
	stream = stream_new(world->loop, &far, &none, NULL);
	world->server = stream ? rpc_connection_new(world->loop, stream, &server, &proxy_events, world) : NULL;
	err = fd_pair_stream(target);
	if (err < 0)
		return err;
	world->near_target = rpc_connection_plain(world->loop, target[0], &client, &near_events, world);
	world->target = rpc_connection_plain(world->loop, target[1], &trusting, &target_events, world);
	return world->client && world->server && world->near_target && world->target ? 0 : -E_NO_MEMORY;
}

static void world_open_proxy(struct world *world)
{
	assert_int_equal(world_init(world), 0);
	assert_int_equal(world_connect_proxy(world), 0);
}

static void test_proxy_unary(void **state)
{
	(void)state;
	struct world w;
	char identity[IDENTITY_TEXT_SIZE];
	world_open_proxy(&w);
	identity_format(&client_leaf.identity, identity);
	assert_int_equal(ask(&w, "web01", 0), 0);
	run(&w, answered);
	assert_int_equal(w.answer_err, 0);
	assert_string_equal(w.answer, "web01!");
	assert_string_equal(w.peer, identity);
	assert_int_equal(w.ready, 1);
	w.answers = 0;
	assert_int_equal(ask(&w, "E1210", 0), 0);
	run(&w, answered);
	assert_int_equal(w.answer_err, -E_KEY_UNKNOWN);
	assert_string_equal(w.answer_why, "because: 100 % \xc3\xa4\xef\xbf\xbd");
	/* a path longer than any of ours */
	char path[200] = "/test.Test/";
	memset(path + 11, 'x', 150);
	const struct rpc_method longer = { path,
		                           &murmesh_LookupRequest_msg,
		                           sizeof(murmesh_LookupRequest),
		                           &murmesh_LookupReply_msg,
		                           sizeof(murmesh_LookupReply),
		                           false,
		                           false };
	murmesh_LookupRequest request = murmesh_LookupRequest_init_zero;
	w.answers = 0;
	assert_int_equal(rpc_unary(w.client, &longer, &request, 0, on_answer, &w), 0);
	run(&w, answered);
	assert_int_equal(w.answer_err, -E_UNSUPPORTED);
	world_close(&w);
}

static void test_proxy_streams(void **state)
{
	(void)state;
	static const struct {
		unsigned n;
		size_t size;
	} rows[] = { { 0, 0 }, { 5000, 100 }, { 300, 60 << 10 } };
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct world w;
		struct talk talk;
		world_open_proxy(&w);
		w.talk = &talk;
		w.script = (struct talk){ .echo = true, .finish = -E_LIMIT, .finish_why = "enough" };
		assert_true(talk_open(&w, &talk, (struct talk){ .to_send = rows[i].n, .size = rows[i].size }));
		produce(&talk);
		run(&w, both_over);
		assert_int_equal(talk.received, rows[i].n);
		assert_false(talk.bad);
		assert_false(w.served[0]->bad);
		assert_int_equal(talk.err, -E_LIMIT);
		assert_string_equal(talk.why, "enough");
		assert_int_equal(w.served[0]->err, -E_LIMIT);
		world_close(&w);
	}
}

static bool all_heard(struct world *world)
{
	return world->talk->received == 200 || world->served[0]->received == 200;
}

/* Whoever is slow, the other end is stopped, and nothing is lost when it goes on. */
static void test_proxy_back_pressure(void **state)
{
	(void)state;
	for (int client_slow = 0; client_slow < 2; client_slow++) {
		struct world w;
		struct talk talk, *slow, *quick;
		world_open_proxy(&w);
		w.talk = &talk;
		w.script = client_slow ? (struct talk){ .to_send = 200, .size = 65000 }
		                       : (struct talk){ .sulks = true, .ended = true };
		assert_true(talk_open(&w, &talk,
		                      client_slow ? (struct talk){ .sulks = true, .ended = true }
		                                  : (struct talk){ .to_send = 200, .size = 65000 }));
		produce(&talk);
		run(&w, served);
		slow = client_slow ? &talk : w.served[0];
		quick = client_slow ? w.served[0] : &talk;
		unsigned sent;
		do {
			sent = quick->sent;
			for (int i = 0; i < 20; i++) {
				w.answers = 0;
				assert_int_equal(ask(&w, "web01", 0), 0);
				run(&w, answered);
				assert_int_equal(w.answer_err, 0);
			}
		} while (quick->sent != sent || !slow->received);
		assert_true(sent < 60);
		rpc_call_pause(slow->call, false);
		run(&w, all_heard);
		assert_false(slow->bad);
		if (client_slow)
			run(&w, both_over);
		world_close(&w);
		assert_int_equal(talk.err, client_slow ? 0 : -E_CLOSED);
	}
}

static bool target_heard(struct world *world)
{
	return world->n_served && world->served[0]->received;
}

static void test_proxy_ends(void **state)
{
	(void)state;
	for (int who = 0; who < 4; who++) {
		struct world w;
		struct talk talk;
		world_open_proxy(&w);
		w.talk = &talk;
		w.script = (struct talk){ .ended = true };
		assert_true(talk_open(&w, &talk, (struct talk){ .to_send = 1, .size = 5, .ended = true }));
		produce(&talk);
		run(&w, target_heard);
		if (who == 0)
			rpc_call_cancel(talk.call);
		else if (who == 1)
			rpc_call_cancel(w.served[0]->call);
		else if (who == 2)
			w.target = rpc_connection_free(w.target);
		else {
			w.server_dies = LOST;
			w.client = rpc_connection_free(w.client);
		}
		run(&w, both_over);
		assert_int_equal(talk.err, who < 2 ? -E_CANCELLED : -E_CLOSED);
		assert_int_equal(w.served[0]->err, who == 2 ? -E_CLOSED : -E_CANCELLED);
		if (who == 2) { /* the caller hears the same of those that come later */
			assert_int_equal(ask(&w, "web01", 0), 0);
			run(&w, answered);
			assert_true(w.answer_err == -E_OFFLINE || w.answer_err == -E_BUSY);
		}
		world_close(&w);
	}
}

static void context(struct tls_context **ret, bool server, const struct test_leaf *leaf)
{
	static const char *const alpn[] = { "h2", NULL };
	const struct tls_settings settings = { .server = server,
		                               .verify = TLS_VERIFY_REQUIRED,
		                               .leaf = leaf->certificate,
		                               .key = leaf->key,
		                               .intermediate = mesh.intermediate,
		                               .root = mesh.root,
		                               .mesh = mesh.id,
		                               .kinds = server ? 1u << IDENTITY_NODE : 1u << IDENTITY_COMPONENT,
		                               .alpn = alpn,
		                               .now = test_now };
	assert_int_equal(tls_context_new(&settings, ret), 0);
}

static int set_up(void **state)
{
	(void)state;
	mesh = test_mesh_new(1);
	server_leaf = test_leaf_new(&mesh, IDENTITY_COMPONENT, 2);
	client_leaf = test_leaf_new(&mesh, IDENTITY_NODE, 3);
	context(&server_tls, true, &server_leaf);
	context(&client_tls, false, &client_leaf);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	tls_context_free(server_tls);
	tls_context_free(client_tls);
	test_leaf_done(&server_leaf);
	test_leaf_done(&client_leaf);
	test_mesh_done(&mesh);
	return 0;
}

/* ---- faults ---- */

static bool settled(struct world *world)
{
	return world->client_lost || world->server_lost || world->hung || (world->answers && world->talk->closed);
}

/* A unary call and a stream, through the proxy or not.  Each ends, with an answer or an error, whatever fails. */
static int calls(bool proxy)
{
	struct world w;
	struct talk talk = { 0 };
	int err = world_init(&w);
	if (err == 0)
		err = proxy ? world_connect_proxy(&w) : world_connect(&w, NULL);
	w.talk = &talk;
	w.script = (struct talk){ .echo = true };
	bool asked = err == 0 && ask(&w, "web01", 0) == 0;
	bool opened = err == 0 && talk_open(&w, &talk, (struct talk){ .to_send = 20, .size = 1000 });
	if (opened)
		produce(&talk);
	if (asked && opened) {
		w.done = settled;
		io_loop_run(w.loop);
	}
	assert_false(w.hung);
	bool good = asked && opened && w.answers == 1 && w.answer_err == 0 && talk.received == 20 && !talk.bad && talk.err == 0;
	world_close(&w);
	assert_int_equal(w.answers, asked);
	assert_int_equal(talk.closed, opened);
	return good ? 0 : -E_CLOSED;
}

static void test_faults(void **state)
{
	(void)state;
	for (int proxy = 0; proxy < 2; proxy++) {
		bool passed = false;
		long n;
		for (n = 1; !passed; n++) {
			size_t before = test_descriptors();
			fault_arm(n);
			int result = calls(proxy);
			passed = fault_armed();
			fault_arm(0);
			assert_int_equal(test_descriptors(), before);
			if (passed)
				assert_int_equal(result, 0);
		}
		assert_true(n > 100);
	}
}

=======
>>>>>>> main
int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_unary),
		cmocka_unit_test(test_many_unary),
		cmocka_unit_test(test_answer_later),
		cmocka_unit_test(test_errors_across),
		cmocka_unit_test(test_server_streaming),
		cmocka_unit_test(test_bidi),
		cmocka_unit_test(test_too_long),
		cmocka_unit_test(test_pause),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_answer_not_taken),
		cmocka_unit_test(test_early_answer),
		cmocka_unit_test(test_deadline),
		cmocka_unit_test(test_stalled),
		cmocka_unit_test(test_loss),
		cmocka_unit_test(test_free_inside),
		cmocka_unit_test(test_goaway),
		cmocka_unit_test(test_linger),
		cmocka_unit_test(test_many_resets),
		cmocka_unit_test(test_keepalive),
		cmocka_unit_test(test_kept_by_nobody),
<<<<<<< HEAD
		cmocka_unit_test(test_odd_requests),
		cmocka_unit_test(test_odd_answers),
		cmocka_unit_test(test_request_head),
		cmocka_unit_test(test_not_http2),
		cmocka_unit_test(test_proxy_unary),
		cmocka_unit_test(test_proxy_streams),
		cmocka_unit_test(test_proxy_back_pressure),
		cmocka_unit_test(test_proxy_ends),
		cmocka_unit_test(test_faults),
=======
>>>>>>> main
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
