/* Calls over TLS that are passed on to another connection, and faults in all that. */
#include "crypto/test_mesh.h"
#include "crypto/tls.h"
#include "rpc/test_world.h"
#include "stream/stream.h"

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
	if (world->believes && rpc_call_origin(call) && rpc_call_set_origin(call, rpc_call_origin(call)) < 0)
		return -E_NO_MEMORY;
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
	static const struct rpc_connection_events proxy_events = { on_proxy_open, NULL, world_on_server_lost };
	static const struct rpc_connection_events near_events = { NULL, NULL, on_target_lost };
	static const struct rpc_connection_events target_events = { world_on_open, NULL, on_target_gone };
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
	assert_int_equal(world_ask(&w, "web01", 0), 0);
	world_run(&w, answered);
	assert_int_equal(w.answer_err, 0);
	assert_string_equal(w.answer, "web01!");
	assert_string_equal(w.peer, identity);
	assert_int_equal(w.ready, 1);
	w.answers = 0;
	assert_int_equal(world_ask(&w, "E1210", 0), 0);
	world_run(&w, answered);
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
	assert_int_equal(rpc_unary(w.client, &longer, &request, 0, world_on_answer, &w), 0);
	world_run(&w, answered);
	assert_int_equal(w.answer_err, -E_UNSUPPORTED);
	world_close(&w);
}

/* ---- where a call has come from ---- */

static bool origin_over(struct world *world)
{
	return world->answers > 0;
}

static void on_origin_answer(void *ctx, const void *message)
{
	(void)message;
	((struct world *)ctx)->answer_err = 0;
}

static void on_origin_closed(void *ctx, int err, const char *why)
{
	struct world *world = ctx;
	(void)why;
	world->answers++;
	world->answer_err = err;
	world_check(world);
}

/* Of one call with that metadata; NULL = left out. */
static int origin_ask(struct world *w, const char *peer, const char *address, const char *via)
{
	static const struct rpc_call_events events = { on_origin_answer, NULL, NULL, on_origin_closed };
	const char *const values[] = { peer, address, via };
	const struct str names[] = { STR("murmesh-peer"), STR("murmesh-address"), STR("murmesh-via") };
	const murmesh_LookupRequest request = { .host = "web01" };
	struct rpc_metadata metadata[3];
	size_t n = 0;
	for (size_t i = 0; i < 3; i++)
		if (values[i])
			metadata[n++] = (struct rpc_metadata){ names[i], str_from(values[i]) };
	w->answers = 0;
	struct rpc_call *call = rpc_call_open(w->client, &rpc_Resolve_Lookup, metadata, n, &events, w);
	assert_non_null(call);
	assert_int_equal(rpc_call_send(call, &request), 0);
	assert_int_equal(rpc_call_half_close(call), 0);
	world_run(w, origin_over);
	return w->answer_err;
}

#define VIA_ONE "11111111111111111111111111111111"
#define VIA_TWO "22222222222222222222222222222222"

/* A client may say anything; who does not believe it passes on the certificate that it has shown, and nothing else. */
static void test_origin(void **state)
{
	(void)state;
	struct world w;
	char client[IDENTITY_TEXT_SIZE], other[IDENTITY_TEXT_SIZE];
	struct identity named = client_leaf.identity;
	named.id.bytes[0] ^= 1;
	identity_format(&client_leaf.identity, client);
	identity_format(&named, other);
	world_open_proxy(&w);
	assert_int_equal(origin_ask(&w, other, "192.0.2.1", VIA_ONE), 0);
	assert_string_equal(w.peer, client);
	assert_false(w.has_origin);
	w.believes = true;
	assert_int_equal(origin_ask(&w, other, "192.0.2.1", VIA_ONE "," VIA_TWO), 0);
	assert_string_equal(w.peer, other);
	assert_true(w.has_origin);
	assert_string_equal(w.origin.address, "192.0.2.1");
	assert_int_equal(w.origin.n_via, 2);
	assert_int_equal(w.origin.via[0].bytes[0], 0x11);
	assert_int_equal(w.origin.via[1].bytes[15], 0x22);
	w.peer[0] = 0;
	assert_int_equal(origin_ask(&w, NULL, "2001:db8::1", NULL), 0); /* of somebody without a certificate */
	assert_string_equal(w.peer, "");
	assert_true(w.has_origin);
	assert_int_equal(origin_ask(&w, other, NULL, NULL), 0); /* no relay stands between */
	assert_string_equal(w.peer, client);
	static const char nine[] =
	        VIA_ONE "," VIA_ONE "," VIA_ONE "," VIA_ONE "," VIA_ONE "," VIA_ONE "," VIA_ONE "," VIA_ONE "," VIA_ONE;
	static const char *const rows[][3] = {
		{ NULL, "<b>", VIA_ONE },
		{ NULL, "192.0.2.1", "x" },
		{ NULL, "192.0.2.1", VIA_ONE ",," VIA_TWO },
		{ NULL, "192.0.2.1", nine },
		{ "nobody", "192.0.2.1", VIA_ONE },
		{ NULL, "1111111111111111111111111111111111111111111111111111111111111111", VIA_ONE },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		assert_true(origin_ask(&w, rows[i][0], rows[i][1], rows[i][2]) < 0);
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
		talk_produce(&talk);
		world_run(&w, both_over);
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
		talk_produce(&talk);
		world_run(&w, served);
		slow = client_slow ? &talk : w.served[0];
		quick = client_slow ? w.served[0] : &talk;
		unsigned sent;
		do {
			sent = quick->sent;
			for (int i = 0; i < 20; i++) {
				w.answers = 0;
				assert_int_equal(world_ask(&w, "web01", 0), 0);
				world_run(&w, answered);
				assert_int_equal(w.answer_err, 0);
			}
		} while (quick->sent != sent || !slow->received);
		assert_true(sent < 60);
		rpc_call_pause(slow->call, false);
		world_run(&w, all_heard);
		assert_false(slow->bad);
		if (client_slow)
			world_run(&w, both_over);
		world_close(&w);
		assert_int_equal(talk.err, client_slow ? 0 : -E_CLOSED);
	}
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
		talk_produce(&talk);
		world_run(&w, served_heard);
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
		world_run(&w, both_over);
		assert_int_equal(talk.err, who < 2 ? -E_CANCELLED : -E_CLOSED);
		assert_int_equal(w.served[0]->err, who == 2 ? -E_CLOSED : -E_CANCELLED);
		if (who == 2) { /* the caller hears the same of those that come later */
			assert_int_equal(world_ask(&w, "web01", 0), 0);
			world_run(&w, answered);
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
	bool asked = err == 0 && world_ask(&w, "web01", 0) == 0;
	bool opened = err == 0 && talk_open(&w, &talk, (struct talk){ .to_send = 20, .size = 1000 });
	if (opened)
		talk_produce(&talk);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_proxy_unary),         cmocka_unit_test(test_origin),     cmocka_unit_test(test_proxy_streams),
		cmocka_unit_test(test_proxy_back_pressure), cmocka_unit_test(test_proxy_ends), cmocka_unit_test(test_faults),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
