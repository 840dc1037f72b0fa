/* Real commands: a client's calls over a socket pair to the service, with real orders, checks, and a journal in a real database. */
#include "manage/run/run.h"

#include <errno.h>
#include <fcntl.h>
#include <pb_decode.h>
#include <pthread.h>
#include <signal.h>

#include "base/test.h"
#include "manage/record.h"
#include "manage/run/order_journal.h"
#include "os/fd.h"
#include "os/file.h"
#include "rpc/rpc.h"
#include "services.h"
#include "store/testing.h"
#include "tunnel/test_end.h"
#include "tunnel/test_grant.h"

#define OUTPUT_KEPT ((size_t)64 << 10)

struct world {
	struct test_loop t;
	struct test_store test;
	struct store *store; /* of the service, with its worker */
	struct run_service *service;
	struct rpc_connection *server, *client;
	bool lost;
};

/* A call, as the client sees it. */
struct client {
	struct world *world;
	struct rpc_call *call; /* referenced */
	unsigned messages;
	bool started, exited, closed;
	murmesh_RunExit exit;
	struct result_streams streams; /* what came, where a test wants it */
	struct buf out, err_out;       /* what came first */
	size_t out_len;
	int err;
	char why[600];
	size_t to_send, sent; /* of standard input: letters */
	bool ends;
};

static struct test_trust *trust;
static uint8_t next_nonce;
static struct record_signer recorder;

static int64_t test_now(void)
{
	return TEST_NOW;
}

/* ---- the service ---- */

static int on_check(void *ctx, const void *signed_order, const uint8_t *devices, size_t devices_len, void *ret)
{
	(void)ctx;
	return order_check(trust->trust, signed_order, devices, devices_len, TEST_NOW, ret);
}

static int on_call(void *ctx, struct rpc_call *call)
{
	return run_open(((struct world *)ctx)->service, call);
}

static void on_server_lost(void *ctx, int err)
{
	struct world *world = ctx;
	(void)err;
	world->lost = true;
	world->server = rpc_connection_free(world->server);
}

static void on_client_lost(void *ctx, int err)
{
	struct world *world = ctx;
	(void)err;
	world->lost = true;
	world->client = rpc_connection_free(world->client);
}

static int world_open(struct world *world)
{
	static const struct rpc_connection_events at_server = { on_call, NULL, on_server_lost },
	                                          at_client = { NULL, NULL, on_client_lost };
	static const struct rpc_connection_settings server = { .server = true, .trusted_metadata = true },
	                                            client = { .server = false };
	const struct run_settings settings = { .store = world->store,
		                               .check = on_check,
		                               .now = test_now,
		                               .sign = test_sign_result,
		                               .recorder = &recorder,
		                               .ctx = trust };
	int pair[2];
	world->service = run_service_new(world->t.loop, &settings);
	if (!world->service)
		return -E_NO_MEMORY;
	int err = fd_pair_stream(pair);
	if (err < 0)
		return err;
	world->server = rpc_connection_plain(world->t.loop, pair[0], &server, &at_server, world);
	world->client = rpc_connection_plain(world->t.loop, pair[1], &client, &at_client, world);
	return world->server && world->client ? 0 : -E_NO_MEMORY;
}

static void store_make(struct world *world)
{
	*world = (struct world){ .lost = false };
	assert_int_equal(test_loop_open(&world->t), 0);
	test_store_make(&world->test, &store_schema_agent);
	world->store = world->test.store;
	assert_int_equal(store_start_worker(world->store, world->t.loop), 0);
}

static void world_start(struct world *world)
{
	store_make(world);
	assert_int_equal(world_open(world), 0);
}

/* The order in which the role ends. */
static void world_stop(struct world *world)
{
	world->client = rpc_connection_free(world->client);
	world->server = rpc_connection_free(world->server);
	if (world->store)
		world->test.store = world->store = store_free(world->store);
	world->service = run_service_free(world->service);
}

static void world_close(struct world *world)
{
	world_stop(world);
	test_store_remove(&world->test);
	test_loop_close(&world->t);
}

struct asked {
	struct id nonce;
	struct order order;
};

static int read_order(struct store_tx *tx, void *ctx)
{
	struct asked *asked = ctx;
	return order_journal_get(tx, &asked->nonce, &asked->order);
}

/* What the journal says; ends the world but for its files. */
static int journal(struct world *world, uint8_t nonce, struct order *ret)
{
	struct asked asked;
	if (world->service)
		world_stop(world);
	if (!world->test.store)
		assert_int_equal(test_store_reopen(&world->test), 0);
	memset(asked.nonce.bytes, nonce, sizeof asked.nonce.bytes);
	int err = test_run(&world->test, read_order, &asked);
	*ret = asked.order;
	return err;
}

struct recorded {
	struct audit_entry newest[4];
	size_t n;
	int verified;
};

static int take_entry(void *ctx, const struct audit_entry *entry)
{
	struct recorded *recorded = ctx;
	recorded->newest[recorded->n++] = *entry;
	return 0;
}

static int read_record(struct store_tx *tx, void *ctx)
{
	struct recorded *recorded = ctx;
	struct audit_head at = { 0 };
	recorded->verified = record_verify(tx, &recorder, &at, 1000);
	return audit_list(tx, 0, STR(""), 4, take_entry, recorded);
}

/* ---- a client ---- */

static void keep(struct buf *buf, const uint8_t *bytes, size_t len)
{
	size_t room = OUTPUT_KEPT - buf_len(buf);
	buf_append(buf, bytes, len < room ? len : room);
}

static void on_message(void *ctx, const void *message)
{
	struct client *client = ctx;
	const murmesh_RunOutput *output = message;
	assert_false(client->exited);
	assert_int_equal(client->messages++ == 0, output->which_body == murmesh_RunOutput_started_tag);
	switch (output->which_body) {
	case murmesh_RunOutput_started_tag:
		client->started = true;
		break;
	case murmesh_RunOutput_stdout_tag:
		if (client->streams.out)
			digest_add(client->streams.out, output->body.stdout.bytes, output->body.stdout.size);
		client->out_len += output->body.stdout.size;
		keep(&client->out, output->body.stdout.bytes, output->body.stdout.size);
		break;
	case murmesh_RunOutput_stderr_tag:
		if (client->streams.err)
			digest_add(client->streams.err, output->body.stderr.bytes, output->body.stderr.size);
		keep(&client->err_out, output->body.stderr.bytes, output->body.stderr.size);
		break;
	case murmesh_RunOutput_exit_tag:
		client->exited = true;
		client->exit = output->body.exit;
		break;
	}
	io_loop_stop(client->world->t.loop);
}

static void send_input(struct client *client)
{
	static murmesh_RunInput input;
	input.which_body = murmesh_RunInput_stdin_tag;
	while (client->sent < client->to_send && !rpc_call_crowded(client->call)) {
		size_t n = client->to_send - client->sent, most = sizeof input.body.stdin.bytes;
		input.body.stdin.size = (pb_size_t)(n < most ? n : most);
		for (size_t i = 0; i < input.body.stdin.size; i++)
			input.body.stdin.bytes[i] = (uint8_t)('a' + (client->sent + i) % 23);
		if (rpc_call_send(client->call, &input) < 0)
			return;
		client->sent += input.body.stdin.size;
	}
	if (client->ends && client->sent == client->to_send) {
		client->ends = false;
		rpc_call_half_close(client->call);
	}
}

static void on_writable(void *ctx)
{
	send_input(ctx);
}

static void on_closed(void *ctx, int err, const char *why)
{
	struct client *client = ctx;
	client->closed = true;
	client->err = err;
	snprintf(client->why, sizeof client->why, "%s", why);
	io_loop_stop(client->world->t.loop);
}

static const struct rpc_call_events client_events = { on_message, NULL, on_writable, on_closed };

static int call_open_as(struct world *world, struct client *client, const struct identity *who)
{
	char bearer[IDENTITY_TEXT_SIZE];
	identity_format(who, bearer);
	*client = (struct client){ .world = world };
	buf_init(&client->out, OUTPUT_KEPT);
	buf_init(&client->err_out, OUTPUT_KEPT);
	struct rpc_call *call =
	        rpc_call_open(world->client, &rpc_Run_Start, &(struct rpc_metadata){ STR("murmesh-peer"), str_from(bearer) }, 1,
	                      &client_events, client);
	if (!call)
		return -E_CLOSED;
	client->call = rpc_call_ref(call);
	return 0;
}

static int call_open(struct world *world, struct client *client)
{
	return call_open_as(world, client, &trust->user.identity);
}

/* `sh -c script`; each has a nonce of its own. */
static murmesh_Order shell_order(const char *script)
{
	murmesh_Order order = test_order(trust, "sh");
	memset(order.nonce, ++next_nonce, sizeof order.nonce);
	order.argv_count = 3;
	str_copy(STR("-c"), order.argv[1], sizeof order.argv[1]);
	str_copy(str_from(script), order.argv[2], sizeof order.argv[2]);
	return order;
}

static int order_send(struct client *client, const murmesh_Order *order, const struct key *key, const struct id *device)
{
	static murmesh_RunInput input;
	input.which_body = murmesh_RunInput_start_tag;
	input.body.start.has_order = true;
	test_sign(key, CONTEXT_ORDER, murmesh_Order_fields, order, &input.body.start.order);
	input.body.start.devices.size = sizeof device->bytes;
	memcpy(input.body.start.devices.bytes, device->bytes, sizeof device->bytes);
	return rpc_call_send(client->call, &input);
}

static void start(struct world *world, struct client *client, const murmesh_Order *order)
{
	assert_int_equal(call_open(world, client), 0);
	assert_int_equal(order_send(client, order, trust->grant_key, &trust->device.identity.id), 0);
}

static void start_shell(struct world *world, struct client *client, const char *script)
{
	const murmesh_Order order = shell_order(script);
	start(world, client, &order);
}

static void signal_send(struct client *client, uint32_t number)
{
	static murmesh_RunInput input;
	input.which_body = murmesh_RunInput_signal_tag;
	input.body.signal = number;
	assert_int_equal(rpc_call_send(client->call, &input), 0);
}

static void client_done(struct client *client)
{
	if (client->call && !client->closed) {
		rpc_call_set_events(client->call, NULL, NULL);
		rpc_call_cancel(client->call);
	}
	rpc_call_unref(client->call);
	buf_done(&client->out);
	buf_done(&client->err_out);
}

static void wait_closed(struct client *client)
{
	WAIT(&client->world->t, client->closed);
}

static void assert_ended(struct client *client, unsigned code, unsigned by_signal)
{
	wait_closed(client);
	assert_int_equal(client->err, 0);
	assert_true(client->started && client->exited && client->exit.has_proof);
	assert_int_equal(client->exit.code, code);
	assert_int_equal(client->exit.signal, by_signal);
}

static void assert_refused(struct client *client, int err)
{
	wait_closed(client);
	assert_int_equal(client->err, err);
	assert_int_equal(client->messages, 0);
}

/* Neither runs nor waits to be reaped by somebody else. */
static bool is_gone(pid_t pid)
{
	char path[64], text[512];
	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
	fd_close(fd);
	text[n < 0 ? 0 : n] = 0;
	const char *state = strrchr(text, ')');
	return !state || state[2] == 'Z' || state[2] == 'X';
}

/* The number in the next line of output. */
static pid_t read_pid(struct client *client)
{
	uint64_t number;
	struct str rest;
	WAIT(&client->world->t, str_has(buf_str(&client->out), '\n') || client->closed);
	struct str line = str_cut(buf_str(&client->out), '\n', &rest);
	assert_int_equal(str_to_u64(line, INT32_MAX, &number), 0);
	buf_consume(&client->out, line.len + 1);
	return (pid_t)number;
}

static void wait_gone(struct world *world, pid_t pid)
{
	WAIT(&world->t, is_gone(pid));
}

/* ---- commands ---- */

static void test_command(void **state)
{
	(void)state;
	struct world world;
	struct client client;
	struct order order;
	world_start(&world);
	start_shell(&world, &client, "echo out; echo error >&2; pwd; exit 7");
	assert_ended(&client, 7, 0);
	assert_true(str_is(buf_str(&client.out), "out\n/\n"));
	assert_true(str_is(buf_str(&client.err_out), "error\n"));
	assert_int_equal(journal(&world, next_nonce, &order), 0);
	assert_int_equal(order.state, ORDER_FINISHED);
	assert_int_equal(order.exit_code, 7);
	assert_int_equal(order.started, TEST_NOW);
	assert_int_equal(order.until, TEST_NOW + 300);
	assert_string_equal(order.command, "sh -c echo out; echo error >&2; pwd; exit 7");
	static struct recorded recorded;
	assert_int_equal(test_run(&world.test, read_record, &recorded), 0);
	assert_int_equal(recorded.n, 2);
	assert_int_equal(recorded.verified, 0);
	assert_string_equal(recorded.newest[1].action, "command started");
	assert_string_equal(recorded.newest[0].action, "command ended");
	assert_string_equal(recorded.newest[0].detail, "exit 7");
	assert_string_equal(recorded.newest[0].object, recorded.newest[1].object);
	client_done(&client);
	world_close(&world);
}

/* What came is what the manager has signed, and nothing else is. */
static void test_signed(void **state)
{
	(void)state;
	static const char *const scripts[] = { "exit 3", "kill -9 $$", "echo out; echo error >&2",
		                               "head -c 300000 /dev/zero; head -c 100000 /dev/zero >&2" };
	struct world world;
	world_start(&world);
	for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++) {
		const murmesh_Order order = shell_order(scripts[i]);
		murmesh_Order other = order;
		struct client client;
		murmesh_Result result;
		start(&world, &client, &order);
		assert_int_equal(result_streams_init(&client.streams), 0);
		wait_closed(&client);
		assert_true(client.exit.has_proof);
		assert_int_equal(test_result_check(trust, &order, &client.exit, &client.streams), 0);
		result_streams_done(&client.streams);

		assert_int_equal(result_streams_init(&client.streams), 0);
		other.nonce[0] ^= 1;
		assert_int_equal(test_result_check(trust, &other, &client.exit, &client.streams), -E_UNVERIFIED);
		pb_istream_t in = pb_istream_from_buffer(client.exit.proof.result.bytes, client.exit.proof.result.size);
		assert_true(pb_decode(&in, murmesh_Result_fields, &result));
		assert_int_equal(result.started, TEST_NOW);
		assert_int_equal(result.ended, TEST_NOW);
		result_streams_done(&client.streams);
		client_done(&client);
	}
	world_close(&world);
}

static void test_exit_codes(void **state)
{
	(void)state;
	static const struct {
		const char *script;
		unsigned code, by_signal;
		const char *out;
	} rows[] = {
		{ "true", 0, 0, "" },
		{ "exit 255", 255, 0, "" },
		{ "kill -9 $$", 137, 9, "" },
		{ "kill -15 $$", 143, 15, "" },
		{ "env | grep -v '^PWD\\|^_\\|^SHLVL\\|^OLDPWD' | sort", 0, 0,
		  "HOME=/\nLANG=C.UTF-8\nPATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n" },
		{ "ls /proc/self/fd | tr '\\n' ' '", 0, 0, "0 1 2 3 " }, /* 3 is the folder itself */
		{ "trap", 0, 0, "" },
	};
	struct world world;
	world_start(&world);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct client client;
		start_shell(&world, &client, rows[i].script);
		assert_ended(&client, rows[i].code, rows[i].by_signal);
		assert_true(str_is(buf_str(&client.out), rows[i].out));
		client_done(&client);
	}
	world_close(&world);
}

static void test_refused_orders(void **state)
{
	(void)state;
	const struct id *device = &trust->device.identity.id;
	struct id other = *device;
	struct world world;
	struct client client;
	struct order order;
	other.bytes[0] ^= 1;
	world_start(&world);
	murmesh_Order good = shell_order("echo once"), late = shell_order("echo late");
	/* by another key, for another list of devices */
	assert_int_equal(call_open(&world, &client), 0);
	order_send(&client, &good, trust->mesh.root_key, device);
	assert_refused(&client, -E_SIGNATURE);
	client_done(&client);
	assert_int_equal(call_open(&world, &client), 0);
	order_send(&client, &good, trust->grant_key, &other);
	assert_refused(&client, -E_GRANT);
	client_done(&client);
	/* shown by another user, and by somebody who is none */
	struct identity stranger = trust->user.identity;
	for (int i = 0; i < 2; i++) {
		stranger.id.bytes[3] ^= 1;
		assert_int_equal(call_open_as(&world, &client, &stranger), 0);
		order_send(&client, &good, trust->grant_key, device);
		assert_refused(&client, -E_GRANT);
		client_done(&client);
		stranger.kind = IDENTITY_NODE;
	}
	/* for a terminal */
	murmesh_Order terminal = good;
	terminal.argv_count = 0;
	terminal.terminal = true;
	start(&world, &client, &terminal);
	assert_refused(&client, -E_GRANT);
	client_done(&client);
	/* too late: to the check, and in the minute of difference that it allows */
	late.until = TEST_NOW - 61;
	start(&world, &client, &late);
	assert_refused(&client, -E_GRANT_EXPIRED);
	client_done(&client);
	late.until = TEST_NOW;
	start(&world, &client, &late);
	assert_refused(&client, -E_GRANT_EXPIRED);
	client_done(&client);
	/* none of this used the order up; it runs once, and never again */
	start(&world, &client, &good);
	assert_ended(&client, 0, 0);
	client_done(&client);
	for (int i = 0; i < 2; i++) {
		start(&world, &client, &good);
		assert_refused(&client, -E_ORDER_USED);
		assert_int_equal(client.out_len, 0);
		client_done(&client);
	}
	/* nor after a restart */
	assert_int_equal(journal(&world, good.nonce[0], &order), 0);
	assert_int_equal(order.state, ORDER_FINISHED);
	assert_int_equal(journal(&world, late.nonce[0], &order), -E_NOT_FOUND);
	world.store = world.test.store;
	assert_int_equal(store_start_worker(world.store, world.t.loop), 0);
	assert_int_equal(world_open(&world), 0);
	start(&world, &client, &good);
	assert_refused(&client, -E_ORDER_USED);
	client_done(&client);
	world_close(&world);
}

static void test_broken_protocol(void **state)
{
	(void)state;
	static murmesh_RunInput empty;
	struct world world;
	struct client client;
	world_start(&world);
	/* a start without an order; nothing at all; no start at all */
	assert_int_equal(call_open(&world, &client), 0);
	empty.which_body = murmesh_RunInput_start_tag;
	assert_int_equal(rpc_call_send(client.call, &empty), 0);
	assert_refused(&client, -E_GRANT);
	client_done(&client);
	assert_int_equal(call_open(&world, &client), 0);
	empty.which_body = 0;
	assert_int_equal(rpc_call_send(client.call, &empty), 0);
	signal_send(&client, SIGKILL);
	client.ends = true;
	send_input(&client);
	for (int i = 0; i < 10; i++)
		test_loop_turn(&world.t, "a few turns");
	assert_false(client.closed);
	client_done(&client);
	/* a second start at once, and while the first runs */
	const murmesh_Order order = shell_order("read x"), second = shell_order("true");
	start(&world, &client, &order);
	order_send(&client, &second, trust->grant_key, &trust->device.identity.id);
	assert_refused(&client, -E_PROTOCOL);
	client_done(&client);
	start_shell(&world, &client, "echo $$; read x");
	pid_t pid = read_pid(&client);
	order_send(&client, &second, trust->grant_key, &trust->device.identity.id);
	wait_closed(&client);
	assert_int_equal(client.err, -E_PROTOCOL);
	assert_false(client.exited);
	wait_gone(&world, pid);
	client_done(&client);
	world_close(&world);
}

static void test_cannot_start(void **state)
{
	(void)state;
	static const char *const programs[] = { "no-such-program", "/no/such/program", "/etc/passwd", "/", "", "sh/../x" };
	struct world world;
	world_start(&world);
	for (size_t i = 0; i < sizeof programs / sizeof *programs; i++) {
		struct client client;
		murmesh_Order order = test_order(trust, programs[i]);
		memset(order.nonce, ++next_nonce, sizeof order.nonce);
		start(&world, &client, &order);
		assert_refused(&client, -E_COMMAND_START);
		assert_true(str_starts(str_from(client.why), str_from(programs[i])));
		client_done(&client);
	}
	struct order order;
	assert_int_equal(journal(&world, next_nonce, &order), 0);
	assert_int_equal(order.state, ORDER_FINISHED);
	assert_int_equal(order.exit_code, 127);
	world_close(&world);
}

/* A command whose words are longer than the journal keeps. */
static void test_long_command(void **state)
{
	(void)state;
	struct world world;
	struct client client;
	struct order noted;
	world_start(&world);
	murmesh_Order order = shell_order("printf %s \"$@\" | wc -c");
	for (int i = 3; i < 32; i++) {
		memset(order.argv[i], 'x', 1000);
		order.argv[i][1000] = 0;
	}
	order.argv_count = 32;
	start(&world, &client, &order);
	assert_ended(&client, 0, 0);
	assert_true(str_is(buf_str(&client.out), "28000\n")); /* $0 is not among them */
	assert_int_equal(journal(&world, next_nonce, &noted), 0);
	assert_int_equal(strlen(noted.command), ORDER_COMMAND_SIZE - 1);
	client_done(&client);
	world_close(&world);
}

/* ---- standard input ---- */

static void test_input(void **state)
{
	(void)state;
	for (int by_message = 0; by_message < 2; by_message++) {
		struct world world;
		struct client client;
		world_start(&world);
		start_shell(&world, &client, "tee /dev/stderr | wc -c");
		client.to_send = 3000000;
		client.ends = !by_message;
		send_input(&client);
		if (by_message) {
			static murmesh_RunInput end = { .which_body = murmesh_RunInput_stdin_end_tag, .body.stdin_end = true };
			WAIT(&world.t, client.sent == client.to_send);
			assert_int_equal(rpc_call_send(client.call, &end), 0);
		}
		assert_ended(&client, 0, 0);
		assert_true(str_is(buf_str(&client.out), "3000000\n"));
		for (size_t i = 0; i < OUTPUT_KEPT; i++)
			assert_int_equal(buf_head(&client.err_out)[i], 'a' + i % 23);
		client_done(&client);
		world_close(&world);
	}
}

/* A command that takes no input goes on for all that, and so does who sends it. */
static void test_input_that_nobody_reads(void **state)
{
	(void)state;
	struct world world;
	struct client client;
	world_start(&world);
	start_shell(&world, &client, "exec <&-; trap 'exit 5' USR1; echo closed; while :; do sleep 0.01; done");
	client.to_send = 8000000;
	send_input(&client);
	WAIT(&world.t, client.sent == client.to_send || client.closed);
	assert_false(client.closed);
	signal_send(&client, SIGUSR1);
	assert_ended(&client, 5, 0);
	client_done(&client);
	world_close(&world);
}

static void until_stuck(struct client *client)
{
	size_t before = SIZE_MAX;
	for (unsigned quiet = 0; quiet < 20; quiet = client->sent == before ? quiet + 1 : 0) {
		before = client->sent;
		test_loop_turn(&client->world->t, "stuck");
	}
}

/* A command that reads late stops its sender. */
static void test_input_that_waits(void **state)
{
	(void)state;
	struct world world;
	struct client client;
	char script[200], path[100];
	world_start(&world);
	snprintf(path, sizeof path, "%s/go", world.test.directory);
	snprintf(script, sizeof script, "while [ ! -e %s ]; do sleep 0.01; done; wc -c", path);
	start_shell(&world, &client, script);
	client.to_send = 20000000;
	client.ends = true;
	send_input(&client);
	until_stuck(&client);
	assert_true(client.sent < 4000000);
	assert_int_equal(file_write(path, "", 0, 0600), 0);
	assert_ended(&client, 0, 0);
	assert_true(str_is(buf_str(&client.out), "20000000\n"));
	client_done(&client);
	world_close(&world);
}

struct hold {
	struct store_job job;
	pthread_mutex_t lock;
};

static int hold_run(struct store_tx *tx, struct store_job *job)
{
	struct hold *hold = (struct hold *)job;
	(void)tx;
	pthread_mutex_lock(&hold->lock);
	pthread_mutex_unlock(&hold->lock);
	return 0;
}

static void hold_done(struct store_job *job, int err)
{
	(void)job, (void)err;
}

/* As a disk that takes its time over the journal. */
static void hold_journal(struct world *world, struct hold *hold)
{
	*hold = (struct hold){ .job = { .run = hold_run, .done = hold_done }, .lock = PTHREAD_MUTEX_INITIALIZER };
	pthread_mutex_lock(&hold->lock);
	assert_int_equal(store_submit(world->store, &hold->job), 0);
}

/* Input that comes before the command has started waits for it, whatever its length. */
static void test_input_before_the_start(void **state)
{
	(void)state;
	struct world world;
	struct client client;
	struct hold hold;
	world_start(&world);
	hold_journal(&world, &hold);
	start_shell(&world, &client, "wc -c");
	client.to_send = 5000000;
	client.ends = true;
	send_input(&client);
	until_stuck(&client);
	assert_false(client.closed || client.started);
	pthread_mutex_unlock(&hold.lock);
	assert_ended(&client, 0, 0);
	assert_true(str_is(buf_str(&client.out), "5000000\n"));
	client_done(&client);
	world_close(&world);
}

/* ---- output ---- */

static void test_slow_reader(void **state)
{
	(void)state;
	struct world world;
	struct client client;
	world_start(&world);
	start_shell(&world, &client, "echo $$; head -c 20000000 /dev/zero; echo end >&2; exit 4");
	WAIT(&world.t, client.started);
	rpc_call_pause(client.call, true);
	pid_t pid = read_pid(&client);
	size_t before = 0;
	for (unsigned quiet = 0; quiet < 50; quiet = client.out_len == before ? quiet + 1 : 0) {
		before = client.out_len;
		test_loop_turn(&world.t, "stuck");
	}
	assert_true(client.out_len < 1000000);
	assert_false(is_gone(pid)); /* its pipe is full */
	rpc_call_pause(client.call, false);
	assert_ended(&client, 4, 0);
	assert_true(client.out_len > 20000000 && client.out_len < 20000010);
	assert_true(str_is(buf_str(&client.err_out), "end\n"));
	client_done(&client);
	world_close(&world);
}

/* What a command wrote last is sent, although it has long ended when there is room again. */
static void test_output_after_the_end(void **state)
{
	(void)state;
	struct world world;
	struct client client;
	world_start(&world);
	start_shell(&world, &client, "echo $$; head -c 840000 /dev/zero");
	WAIT(&world.t, client.started);
	rpc_call_pause(client.call, true);
	pid_t pid = read_pid(&client);
	wait_gone(&world, pid);
	for (int i = 0; i < 10; i++)
		test_loop_turn(&world.t, "a few turns");
	assert_false(client.exited);
	rpc_call_pause(client.call, false);
	assert_ended(&client, 0, 0);
	assert_true(client.out_len > 840000 && client.out_len < 840010);
	client_done(&client);
	world_close(&world);
}

/* Nobody waits for what a command left behind with its output. */
static void test_left_behind(void **state)
{
	(void)state;
	struct world world;
	struct client client;
	world_start(&world);
	start_shell(&world, &client, "sleep 1000 & echo $!");
	assert_ended(&client, 0, 0);
	pid_t pid = read_pid(&client);
	assert_false(is_gone(pid));
	assert_int_equal(kill(pid, SIGKILL), 0);
	client_done(&client);
	world_close(&world);
}

/* ---- signals and ends ---- */

static void test_signals(void **state)
{
	(void)state;
	struct world world;
	struct client client;
	world_start(&world);
	start_shell(&world, &client, "trap 'echo got; exit 3' INT; echo ready; while :; do sleep 0.01; done");
	WAIT(&world.t, client.out_len);
	signal_send(&client, 0);
	signal_send(&client, 32);
	signal_send(&client, UINT32_MAX);
	signal_send(&client, SIGINT);
	assert_ended(&client, 3, 0);
	assert_true(str_is(buf_str(&client.out), "ready\ngot\n"));
	client_done(&client);
	/* to the whole group */
	start_shell(&world, &client, "sleep 1000 & echo $!; wait");
	pid_t pid = read_pid(&client);
	signal_send(&client, SIGTERM);
	assert_ended(&client, 143, SIGTERM);
	wait_gone(&world, pid);
	client_done(&client);
	world_close(&world);
}

enum end { CANCEL, CLIENT_GONE, SERVICE_GONE };

static void end_early(struct world *world, struct client *client, enum end end)
{
	switch (end) {
	case CANCEL:
		rpc_call_cancel(client->call);
		break;
	case CLIENT_GONE:
		world->client = rpc_connection_free(world->client);
		break;
	case SERVICE_GONE:
		world_stop(world);
		break;
	}
}

/* However a call ends, its command ends with it: politely, then not; also those that it started itself. */
static void test_stopped(void **state)
{
	(void)state;
	static const char *const scripts[] = {
		"sleep 1000 & echo $!; echo $$; wait", "trap '' TERM; sleep 1000 & echo $!; echo $$; while :; do sleep 1; done",
		"sh -c \"trap '' TERM; echo \\$\\$; exec sleep 1000\" & echo $$; exec sleep 1000", /* in either order */
	};
	for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++)
		for (enum end end = CANCEL; end <= SERVICE_GONE; end++) {
			struct world world;
			struct client client;
			struct order order;
			world_start(&world);
			start_shell(&world, &client, scripts[i]);
			pid_t child = read_pid(&client), leader = read_pid(&client);
			assert_false(is_gone(child) || is_gone(leader));
			end_early(&world, &client, end);
			wait_gone(&world, leader);
			wait_gone(&world, child);
			if (end != SERVICE_GONE) /* whose journal says that it was cut short */
				for (int turn = 0; turn < 10; turn++)
					test_loop_turn(&world.t, "a few turns");
			client_done(&client);
			assert_int_equal(journal(&world, next_nonce, &order), 0);
			assert_int_equal(order.state, end == SERVICE_GONE ? ORDER_STARTED : ORDER_FINISHED);
			world_close(&world);
		}
}

/* The call ends before the journal has the order: the command never starts. */
static void test_cancelled_before_the_start(void **state)
{
	(void)state;
	struct world world;
	struct client client;
	struct hold hold;
	char path[300];
	struct order order;
	world_start(&world);
	snprintf(path, sizeof path, "touch %s/started", world.test.directory);
	hold_journal(&world, &hold);
	start_shell(&world, &client, path);
	for (int i = 0; i < 10; i++)
		test_loop_turn(&world.t, "a few turns");
	rpc_call_cancel(client.call);
	wait_closed(&client);
	for (int i = 0; i < 10; i++)
		test_loop_turn(&world.t, "a few turns");
	pthread_mutex_unlock(&hold.lock);
	client_done(&client);
	assert_int_equal(journal(&world, next_nonce, &order), 0);
	assert_int_equal(order.state, ORDER_STARTED);
	assert_false(file_exists(path + 6));
	world_close(&world);
}

static void test_at_most(void **state)
{
	(void)state;
	static struct client clients[RUN_COMMANDS_MAX + 1];
	struct world world;
	world_start(&world);
	for (int i = 0; i <= RUN_COMMANDS_MAX; i++)
		assert_int_equal(call_open(&world, &clients[i]), 0);
	wait_closed(&clients[RUN_COMMANDS_MAX]);
	assert_int_equal(clients[RUN_COMMANDS_MAX].err, -E_LIMIT);
	client_done(&clients[RUN_COMMANDS_MAX]);
	/* with one gone there is room for one */
	client_done(&clients[0]);
	do {
		start_shell(&world, &clients[0], "true");
		wait_closed(&clients[0]);
		client_done(&clients[0]);
	} while (clients[0].err == -E_LIMIT);
	assert_int_equal(clients[0].err, 0);
	for (int i = 1; i < RUN_COMMANDS_MAX; i++)
		client_done(&clients[i]);
	world_close(&world);
}

/* ---- faults ---- */

static bool store_idle(const struct world *world)
{
	struct store_stats stats;
	store_stats(world->store, &stats);
	return stats.waiting == 0;
}

/* One whole call with the n-th fault point failing; false when it did not come so far. */
static bool call_with_fault(struct world *world, long n)
{
	struct client client = { 0 };
	const murmesh_Order order = shell_order("echo $$; read x; echo $x");
	size_t before = test_descriptors();
	world->lost = false;
	fault_arm(n);
	int err = world_open(world);
	if (err == 0)
		err = call_open(world, &client);
	if (err == 0) { /* orders are made elsewhere */
		long countdown = fault_countdown;
		fault_arm(0);
		err = order_send(&client, &order, trust->grant_key, &trust->device.identity.id);
		fault_arm(countdown);
	}
	if (err == 0) {
		client.to_send = 5;
		client.ends = true;
		send_input(&client);
		WAIT(&world->t, client.closed || world->lost);
	}
	bool reached = !fault_armed();
	fault_arm(0);
	assert_true(reached || (err == 0 && client.closed && client.err == 0 && client.exited));
	if (client.closed && client.err == 0)
		assert_int_equal(client.exit.code, 0);
	uint64_t pid = 0; /* the output may have been lost to the test's own short memory */
	struct str rest;
	str_to_u64(str_cut(buf_str(&client.out), '\n', &rest), INT32_MAX, &pid);
	client_done(&client);
	world->client = rpc_connection_free(world->client);
	world->server = rpc_connection_free(world->server);
	WAIT(&world->t, store_idle(world));
	world->service = run_service_free(world->service);
	if (pid)
		wait_gone(world, (pid_t)pid);
	assert_int_equal(test_descriptors(), before);
	return reached;
}

/* Whatever fails: the client hears of it, nothing that was cut off looks complete, and no process stays. */
static void test_short_resources(void **state)
{
	(void)state;
	struct world world;
	long n = 1;
	store_make(&world);
	while (call_with_fault(&world, n))
		n++;
	assert_true(n > 30);
	world_close(&world);
}

static int set_up(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	trust = test_trust_new(1);
	recorder = (struct record_signer){ trust->manager.key, trust->manager.identity };
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	trust = test_trust_free(trust);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_command),
		cmocka_unit_test(test_signed),
		cmocka_unit_test(test_exit_codes),
		cmocka_unit_test(test_refused_orders),
		cmocka_unit_test(test_broken_protocol),
		cmocka_unit_test(test_cannot_start),
		cmocka_unit_test(test_long_command),
		cmocka_unit_test(test_input),
		cmocka_unit_test(test_input_that_nobody_reads),
		cmocka_unit_test(test_input_that_waits),
		cmocka_unit_test(test_input_before_the_start),
		cmocka_unit_test(test_slow_reader),
		cmocka_unit_test(test_output_after_the_end),
		cmocka_unit_test(test_left_behind),
		cmocka_unit_test(test_signals),
		cmocka_unit_test(test_stopped),
		cmocka_unit_test(test_cancelled_before_the_start),
		cmocka_unit_test(test_at_most),
		cmocka_unit_test(test_short_resources),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
