/* Messages of devices that are CORBA clients: the test is the orb role. */
#include <ftw.h>

#include "base/err.h"
#include "ca/continuity.h"
#include "os/clock.h"
#include "os/fd.h"
#include "route/route.h"
#include "server/test_core.h"

static char spool[32];

struct client {
	struct test_core *f;
	struct rpc_call *call;
	struct buf bytes; /* of the last one */
	unsigned n, empty;
	int err; /* 1 = it is open */
};

static struct {
	struct rpc_connection *core; /* its end */
	struct rpc_connection *ours;
} orb;

static int setup(void **state)
{
	static const struct rpc_connection_events serving = { core_orb_open, NULL, NULL }, quiet = { NULL, NULL, NULL };
	static const struct rpc_connection_settings serve = { .server = true, .trusted_metadata = true, .max_streams = 1000 },
	                                            call = { .server = false };
	int fds[2];
	test_core_setup(state);
	struct test_core *f = *state;
	str_copy(STR("/tmp/murmesh-test-XXXXXX"), spool, sizeof spool);
	assert_non_null(mkdtemp(spool));
	core_router_open(&f->core, spool);
	assert_non_null(f->core.router);
	assert_int_equal(fd_pair_stream(fds), 0);
	orb.core = rpc_connection_plain(f->core.loop, fds[0], &serve, &serving, &f->core);
	orb.ours = rpc_connection_plain(f->core.loop, fds[1], &call, &quiet, NULL);
	assert_true(orb.core && orb.ours);
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	(void)st, (void)kind, (void)at;
	return remove(path);
}

static int teardown(void **state)
{
	rpc_connection_free(orb.ours);
	rpc_connection_free(orb.core);
	int err = test_core_teardown(state);
	return nftw(spool, remove_one, 8, FTW_DEPTH | FTW_PHYS) < 0 ? -1 : err;
}

/* ---- calls ---- */

static void on_given(void *ctx, const void *message)
{
	struct client *client = ctx;
	const murmesh_Given *given = message;
	assert_int_equal(buf_append(&client->bytes, given->data.bytes, given->data.size), 0);
	if (!given->last)
		return;
	if (buf_len(&client->bytes))
		client->n++;
	else
		client->empty++;
	io_loop_stop(client->f->core.loop);
}

static void on_closed(void *ctx, int err, const char *why)
{
	struct client *client = ctx;
	(void)why;
	client->err = err;
	client->call = NULL;
	io_loop_stop(client->f->core.loop);
}

static const struct rpc_call_events events = { on_given, NULL, NULL, on_closed };

static struct identity device_of(const struct test_core *f, uint8_t number)
{
	return (struct identity){ .mesh = f->core.mesh_id, .kind = IDENTITY_NODE, .id = { { number } } };
}

/* peer: NULL: names nobody. */
static void client_open(struct client *client, struct test_core *f, const struct rpc_method *method, const struct identity *peer)
{
	char text[IDENTITY_TEXT_SIZE] = "";
	if (peer)
		identity_format(peer, text);
	const struct rpc_metadata metadata = { STR("murmesh-peer"), str_from(text) };
	*client = (struct client){ .f = f, .err = 1 };
	buf_init(&client->bytes, ENVELOPE_MAX);
	client->call = rpc_call_open(orb.ours, method, &metadata, peer ? 1 : 0, &events, client);
	assert_non_null(client->call);
}

static void receiver_open(struct client *client, struct test_core *f, uint8_t number)
{
	const struct identity peer = device_of(f, number);
	client_open(client, f, &rpc_Core_Receive, &peer);
}

static void client_close(struct client *client)
{
	while (client->call) {
		rpc_call_cancel(client->call);
		io_loop_run(client->f->core.loop);
	}
	buf_done(&client->bytes);
}

static struct id id_of(uint8_t number)
{
	return (struct id){ { number, 0xee } };
}

/* kept: numbers of messages, up to a zero. */
static void want(struct client *client, const char *kept, bool next, bool wait)
{
	murmesh_Wanted wanted = { .next = next, .wait = wait };
	for (; *kept; kept++, wanted.kept.size += 16) {
		const struct id id = id_of((uint8_t)*kept);
		memcpy(wanted.kept.bytes + wanted.kept.size, id.bytes, 16);
	}
	buf_clear(&client->bytes);
	rpc_call_send(client->call, &wanted);
}

/* The number of the message that came; 0 = that there is none; less than 0: the end. */
static int answer(struct client *client)
{
	static murmesh_Envelope envelope;
	unsigned n = client->n + client->empty;
	struct str body;
	while (client->n + client->empty == n && client->err == 1)
		io_loop_run(client->f->core.loop);
	if (client->err < 1)
		return client->err;
	if (!buf_len(&client->bytes))
		return 0;
	assert_int_equal(envelope_read(buf_str(&client->bytes), &envelope, &body), 0);
	assert_int_equal(envelope.id[1], 0xee);
	assert_true(body.len > 0 && body.ptr[0] == (char)envelope.id[0] && body.ptr[body.len - 1] == (char)envelope.id[0]);
	return envelope.id[0];
}

static int next(struct client *client, const char *kept)
{
	want(client, kept, true, false);
	return answer(client);
}

/* A user sends one, whose body is that often its number. */
static void send_to(struct test_core *f, const char *name, uint8_t number, size_t len)
{
	static murmesh_SendPiece piece;
	struct rpc_call *call;
	size_t sent = 0;
	piece = (murmesh_SendPiece){ .has_head = true, .head.type = "test" };
	memcpy(piece.head.id, id_of(number).bytes, sizeof piece.head.id);
	str_copy(str_from(name), piece.head.selector, sizeof piece.head.selector);
	struct identity local = { .mesh = f->core.mesh_id, .kind = IDENTITY_USER, .id = f->core.local_user };
	char text[IDENTITY_TEXT_SIZE];
	identity_format(&local, text);
	const struct rpc_metadata metadata = { STR("murmesh-peer"), str_from(text) };
	struct client user = { .f = f, .err = 1 };
	static const struct rpc_call_events ends = { NULL, NULL, NULL, on_closed };
	call = user.call = rpc_call_open(f->link, &rpc_Messages_Send, &metadata, 1, &ends, &user);
	while (sent < len) {
		size_t n = len - sent < sizeof piece.body.bytes ? len - sent : sizeof piece.body.bytes;
		memset(piece.body.bytes, number, n);
		piece.body.size = (pb_size_t)n;
		assert_int_equal(rpc_call_send(call, &piece), 0);
		piece.has_head = false;
		sent += n;
	}
	rpc_call_half_close(call);
	while (user.err == 1)
		io_loop_run(f->core.loop);
	assert_int_equal(user.err, 0);
}

static struct route_queue queue_of(struct test_core *f, uint8_t number)
{
	const struct id device = { { number } };
	struct route_queue queue = { 0 };
	route_queue_of(core_route(&f->core), &device, &queue);
	return queue;
}

/* ---- receiving ---- */

static void test_comes_until_it_is_kept(void **state)
{
	struct test_core *f = *state;
	struct client client;
	send_to(f, "web01", 1, 10);
	send_to(f, "web01", 2, ENVELOPE_BODY_MAX);
	receiver_open(&client, f, 7);
	assert_int_equal(next(&client, "\2"), 1); /* which it was not given yet */
	assert_int_equal(next(&client, ""), 2);
	assert_int_equal(next(&client, ""), 0);
	assert_int_equal(queue_of(f, 7).sent, 2);
	client_close(&client);
	receiver_open(&client, f, 7);
	assert_int_equal(next(&client, ""), 1);
	assert_int_equal(next(&client, "\1\3"), 2);
	client_close(&client);
	receiver_open(&client, f, 7);
	assert_int_equal(next(&client, ""), 2);
	want(&client, "\2", false, false);
	assert_int_equal(answer(&client), 0);
	assert_int_equal(queue_of(f, 7).waiting, 0);
	client_close(&client);
	assert_int_equal(queue_of(f, 7).attached, false);
}

static void test_comes_when_it_is_asked_for(void **state)
{
	struct test_core *f = *state;
	struct client client;
	receiver_open(&client, f, 7);
	assert_int_equal(next(&client, ""), 0);
	send_to(f, "web01", 1, 1);
	assert_int_equal(client.n, 0);
	want(&client, "", true, true);
	assert_int_equal(answer(&client), 1);
	want(&client, "\1", true, true);
	send_to(f, "web01", 2, 1);
	send_to(f, "web01", 3, 1);
	while (client.n < 2)
		io_loop_run(f->core.loop);
	assert_int_equal(queue_of(f, 7).sent, 1);
	assert_int_equal(next(&client, "\2"), 3);
	want(&client, "", true, true);
	assert_int_equal(next(&client, ""), -E_PROTOCOL); /* one after the other */
	client_close(&client);
	assert_int_equal(queue_of(f, 7).waiting, 1);
}

static void test_the_newest_takes_over(void **state)
{
	struct test_core *f = *state;
	struct client older, newer;
	send_to(f, "web01", 1, 1);
	receiver_open(&older, f, 7);
	assert_int_equal(next(&older, ""), 1);
	receiver_open(&newer, f, 7);
	assert_int_equal(next(&newer, ""), 1);
	assert_int_equal(answer(&older), -E_CLOSED);
	assert_int_equal(next(&newer, ""), 0);
	assert_int_equal(queue_of(f, 7).sent, 1);
	assert_int_equal(next(&newer, "\1"), 0);
	assert_int_equal(queue_of(f, 7).waiting, 0);
	client_close(&older);
	client_close(&newer);
}

/* ---- submitting ---- */

static void bytes_submit(struct client *client, struct test_core *f, const struct identity *peer, struct str bytes)
{
	static murmesh_EnvelopeBytes piece;
	client_open(client, f, &rpc_Core_Submit, peer);
	while (bytes.len) {
		size_t n = bytes.len < sizeof piece.data.bytes ? bytes.len : sizeof piece.data.bytes;
		memcpy(piece.data.bytes, bytes.ptr, n);
		piece.data.size = (pb_size_t)n;
		bytes = str_skip(bytes, n);
		rpc_call_send(client->call, &piece);
	}
}

static int submit_end(struct client *client)
{
	if (client->call)
		rpc_call_half_close(client->call);
	while (client->err == 1)
		io_loop_run(client->f->core.loop);
	client_close(client);
	return client->err;
}

static void envelope_make(struct buf *out, const char *type, bool to_server)
{
	murmesh_Envelope envelope = { .id = { 9 }, .which_to = murmesh_Envelope_server_tag, .to.server = true, .created_ms = 1 };
	if (!to_server) {
		envelope.which_to = murmesh_Envelope_node_tag;
		envelope.to.node[0] = 7;
	}
	str_copy(str_from(type), envelope.type, sizeof envelope.type);
	buf_init(out, ENVELOPE_MAX);
	assert_int_equal(envelope_write(&envelope, STR("{}"), out), 0);
}

static int submit(struct test_core *f, const struct identity *peer, const char *type, bool to_server)
{
	struct client client;
	struct buf bytes;
	envelope_make(&bytes, type, to_server);
	bytes_submit(&client, f, peer, buf_str(&bytes));
	buf_done(&bytes);
	return submit_end(&client);
}

static void test_submit(void **state)
{
	static char zeros[ENVELOPE_MAX + 1];
	struct test_core *f = *state;
	const struct identity peer = device_of(f, 7);
	struct client client;
	assert_int_equal(submit(f, &peer, ROUTE_GAP_TYPE, true), 0);
	assert_int_equal(submit(f, &peer, "test", true), -E_ENVELOPE_TYPE);
	assert_int_equal(submit(f, &peer, ROUTE_GAP_TYPE, false), -E_DENIED); /* not even to itself */
	bytes_submit(&client, f, &peer, STR("no envelope"));
	assert_int_equal(submit_end(&client), -E_MESSAGE);
	bytes_submit(&client, f, &peer, (struct str){ zeros, sizeof zeros });
	assert_int_equal(submit_end(&client), -E_TOO_LONG);
	bytes_submit(&client, f, &peer, STR(""));
	client_close(&client); /* it thought better of it */
	assert_int_equal(submit(f, &peer, ROUTE_GAP_TYPE, true), 0);
	assert_int_equal(f->core.n_submissions, 0);
}

static void test_many_at_once(void **state)
{
	static struct client clients[65];
	struct test_core *f = *state;
	const struct identity peer = device_of(f, 7);
	for (int i = 0; i < 65; i++)
		bytes_submit(&clients[i], f, &peer, STR("x"));
	assert_int_equal(submit_end(&clients[64]), -E_BUSY);
	for (int i = 0; i < 64; i++)
		assert_int_equal(submit_end(&clients[i]), -E_MESSAGE);
	assert_int_equal(submit(f, &peer, ROUTE_GAP_TYPE, true), 0);
}

/* ---- who may ---- */

static int retire_body(struct store_tx *tx, void *ctx)
{
	return fleet_device_retire(tx, ctx, clock_wall_s());
}

static int freeze_body(struct store_tx *tx, void *ctx)
{
	uint64_t number;
	bool now;
	assert_int_equal(ca_continuity_next(tx, ctx, 5, &number), 0);
	return ca_continuity_check(tx, ctx, 1, 100, &now) == -E_FROZEN ? 0 : -E_INTERNAL;
}

static void refused(struct test_core *f, const struct identity *peer, int err)
{
	struct client client;
	client_open(&client, f, &rpc_Core_Receive, peer);
	assert_int_equal(next(&client, ""), err);
	client_close(&client);
	assert_int_equal(submit(f, peer, ROUTE_GAP_TYPE, true), err);
}

static void test_who_may(void **state)
{
	struct test_core *f = *state;
	struct identity peer = device_of(f, 7);
	struct id deleted = { { 8 } }, frozen = { { 9 } };
	test_device_add(f, 8, "web08", "", "");
	test_device_add(f, 9, "web09", "", "");
	test_device_add(f, 10, "web10", "", "");
	test_directly(f, retire_body, &deleted);
	test_directly(f, freeze_body, &frozen);
	test_device_link(f, 10);
	refused(f, NULL, -E_DENIED);
	peer.kind = IDENTITY_USER;
	refused(f, &peer, -E_DENIED);
	peer = device_of(f, 7);
	peer.mesh.bytes[3] ^= 1;
	refused(f, &peer, -E_DENIED);
	static const struct {
		uint8_t number;
		int err;
	} rows[] = { { 77, -E_REVOKED }, { 8, -E_REVOKED }, { 9, -E_FROZEN }, { 10, -E_HAS_AGENT } };
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		peer = device_of(f, rows[i].number);
		refused(f, &peer, rows[i].err);
	}
	assert_true(queue_of(f, 10).attached); /* its agent's */
}

/* Whoever has no right to it any more gets nothing more. */
static void test_ends(void **state)
{
	struct test_core *f = *state;
	murmesh_DeviceChange change = { .selector = "web08", .retire = true, .count = 1 };
	struct client client;
	test_device_add(f, 8, "web08", "", "");
	send_to(f, "web01", 1, 1);
	send_to(f, "web08", 2, 1);
	receiver_open(&client, f, 7);
	assert_int_equal(next(&client, ""), 1);
	test_device_link(f, 7);
	assert_int_equal(answer(&client), -E_HAS_AGENT);
	route_credit(core_route(&f->core), &(struct id){ { 7 } }, 1); /* as the agent does */
	assert_int_equal(queue_of(f, 7).sent, 1);
	client_close(&client);
	receiver_open(&client, f, 8);
	assert_int_equal(next(&client, ""), 2);
	assert_int_equal(test_ask_as(f, &f->core.local_user, &rpc_Fleet_ChangeDevices, &change), 0);
	assert_int_equal(answer(&client), -E_REVOKED);
	assert_int_equal(queue_of(f, 8).waiting, 0);
	client_close(&client);
}

static void test_without_a_spool(void **state)
{
	struct test_core *f = *state;
	struct core_router *router = f->core.router;
	struct client client;
	f->core.router = NULL;
	receiver_open(&client, f, 7);
	assert_int_equal(next(&client, ""), -E_SPOOL);
	client_close(&client);
	f->core.router = router;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_comes_until_it_is_kept),
		TEST(test_comes_when_it_is_asked_for),
		TEST(test_the_newest_takes_over),
		TEST(test_submit),
		TEST(test_many_at_once),
		TEST(test_who_may),
		TEST(test_ends),
		TEST(test_without_a_spool),
	};
	return cmocka_run_group_tests_name("server/orb", tests, NULL, NULL);
}
