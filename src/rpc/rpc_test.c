/* Calls, and how they and their connections end. */
#include "rpc/test_world.h"

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

static bool client_lost(struct world *world)
{
	return world->client_lost;
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
			int n = 0;
			while (n < AT_ONCE && (calls[n] = rpc_call_open(w.client, &raw_method, NULL, 0, NULL, NULL)))
				n++;
			if (n < AT_ONCE) { /* it has heard that it has to go; the end comes behind that */
				world_run(&w, client_lost);
				break;
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

/* And takes itself out of the place where it was put. */
static void test_kept_in_its_place(void **state)
{
	(void)state;
	struct world w;
	struct talk talk;
	static const struct rpc_connection_events silent;
	static const struct rpc_connection_settings settings;
	int pair[2];
	assert_int_equal(world_init(&w), 0);
	assert_int_equal(fd_pair_stream(pair), 0);
	rpc_connection_replace(&w.client, w.loop, pair[0], &settings, &silent, &w);
	assert_non_null(w.client);
	w.talk = &talk;
	assert_true(talk_open(&w, &talk, (struct talk){ 0 }));
	fd_close(pair[1]);
	world_run(&w, talk_over);
	assert_int_equal(talk.err, -E_CLOSED);
	assert_null(w.client);
	world_close(&w);
}

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
		cmocka_unit_test(test_kept_in_its_place),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
