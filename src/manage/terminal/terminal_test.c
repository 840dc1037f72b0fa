/* Real shells: a client's calls over a socket pair to the service, with real orders, checks, and a journal in a real database. */
#include "manage/terminal/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>

#include "base/test.h"
#include "manage/record.h"
#include "manage/run/order_journal.h"
#include "manage/terminal/scrollback.h"
#include "os/fd.h"
#include "os/file.h"
#include "os/proc.h"
#include "os/user.h"
#include "rpc/rpc.h"
#include "services.h"
#include "store/testing.h"
#include "tunnel/test_end.h"
#include "tunnel/test_grant.h"

#define SAID_MAX ((size_t)8 << 20)

struct world {
	struct test_loop t;
	struct test_store test;
	struct store *store; /* of the service, with its worker */
	struct terminal_service *service;
	struct rpc_connection *server, *client;
	uint64_t detached_ms;
	bool lost;
};

/* A call, as the user sees it. */
struct client {
	struct world *world;
	struct rpc_call *call; /* referenced */
	unsigned messages;
	bool opened, exited, closed;
	struct id id; /* of the terminal */
	murmesh_RunExit exit;
	struct result_streams streams; /* what came, where a test wants it */
	struct buf said;
	int err;
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

/* A shell that depends on nobody's own settings. */
static int on_login(void *ctx, struct user_login *ret)
{
	(void)ctx;
	*ret = (struct user_login){ .name = "tester", .home = "/", .shell = "/bin/bash" };
	return 0;
}

static int on_call(void *ctx, struct rpc_call *call)
{
	return terminal_open(((struct world *)ctx)->service, call);
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
	const struct terminal_settings settings = { .store = world->store,
		                                    .check = on_check,
		                                    .now = test_now,
		                                    .sign = test_sign_result,
		                                    .recorder = &recorder,
		                                    .login = on_login,
		                                    .ctx = trust,
		                                    .detached_ms = world->detached_ms };
	int pair[2];
	world->service = terminal_service_new(world->t.loop, &settings);
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
	*world = (struct world){ .detached_ms = TERMINAL_DETACHED_MS };
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
	world->service = terminal_service_free(world->service);
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
	char actions[4][AUDIT_ACTION_SIZE]; /* the newest first */
	size_t n;
	int verified;
};

static int take_entry(void *ctx, const struct audit_entry *entry)
{
	struct recorded *recorded = ctx;
	return str_copy(str_from(entry->action), recorded->actions[recorded->n++], AUDIT_ACTION_SIZE);
}

static int read_record(struct store_tx *tx, void *ctx)
{
	struct recorded *recorded = ctx;
	struct audit_head at = { 0 };
	recorded->verified = record_verify(tx, &recorder, &at, 1000);
	return audit_list(tx, 0, STR(""), 4, take_entry, recorded);
}

/* ---- a client ---- */

static void on_message(void *ctx, const void *message)
{
	struct client *client = ctx;
	const murmesh_TerminalOutput *output = message;
	assert_false(client->exited);
	assert_int_equal(client->messages++ == 0, output->which_body == murmesh_TerminalOutput_opened_tag);
	switch (output->which_body) {
	case murmesh_TerminalOutput_opened_tag:
		client->opened = true;
		memcpy(client->id.bytes, output->body.opened, sizeof client->id.bytes);
		break;
	case murmesh_TerminalOutput_data_tag:
		if (client->streams.out)
			digest_add(client->streams.out, output->body.data.bytes, output->body.data.size);
		buf_append(&client->said, output->body.data.bytes, output->body.data.size);
		break;
	case murmesh_TerminalOutput_exit_tag:
		client->exited = true;
		client->exit = output->body.exit;
		break;
	}
	io_loop_stop(client->world->t.loop);
}

static void on_closed(void *ctx, int err, const char *why)
{
	struct client *client = ctx;
	(void)why;
	client->closed = true;
	client->err = err;
	io_loop_stop(client->world->t.loop);
}

static const struct rpc_call_events client_events = { on_message, NULL, NULL, on_closed };

static int call_open_as(struct world *world, struct client *client, const struct identity *who)
{
	char bearer[IDENTITY_TEXT_SIZE];
	identity_format(who, bearer);
	*client = (struct client){ .world = world };
	buf_init(&client->said, SAID_MAX);
	struct rpc_call *call =
	        rpc_call_open(world->client, &rpc_Terminal_Open, &(struct rpc_metadata){ STR("murmesh-peer"), str_from(bearer) }, 1,
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

/* Each has a nonce of its own. */
static murmesh_Order terminal_order(void)
{
	murmesh_Order order = test_order(trust, "");
	memset(order.nonce, ++next_nonce, sizeof order.nonce);
	order.argv_count = 0;
	order.terminal = true;
	return order;
}

/* `again`: a terminal that was left, or NULL. */
static murmesh_TerminalInput *start_message(const murmesh_Order *order, const struct key *key, const struct id *again)
{
	static murmesh_TerminalInput input;
	murmesh_TerminalStart *start = &input.body.start;
	input = (murmesh_TerminalInput){ .which_body = murmesh_TerminalInput_start_tag };
	start->has_order = true;
	test_sign(key, CONTEXT_ORDER, murmesh_Order_fields, order, &start->order);
	start->devices.size = sizeof trust->device.identity.id.bytes;
	memcpy(start->devices.bytes, trust->device.identity.id.bytes, start->devices.size);
	if (again) {
		start->terminal.size = sizeof again->bytes;
		memcpy(start->terminal.bytes, again->bytes, sizeof again->bytes);
	}
	start->has_size = true;
	start->size = (murmesh_TerminalSize){ 100, 30 };
	return &input;
}

static void start_as(struct world *world, struct client *client, const murmesh_Order *order, const struct id *again)
{
	struct identity bearer = trust->user.identity;
	memcpy(bearer.id.bytes, order->user, sizeof bearer.id.bytes);
	assert_int_equal(call_open_as(world, client, &bearer), 0);
	assert_int_equal(rpc_call_send(client->call, start_message(order, trust->grant_key, again)), 0);
}

static void start(struct world *world, struct client *client, const struct id *again)
{
	const murmesh_Order order = terminal_order();
	start_as(world, client, &order, again);
}

static void type_bytes(struct client *client, const char *bytes, size_t len)
{
	static murmesh_TerminalInput input = { .which_body = murmesh_TerminalInput_data_tag };
	input.body.data.size = (pb_size_t)len;
	memcpy(input.body.data.bytes, bytes, len);
	assert_int_equal(rpc_call_send(client->call, &input), 0);
}

static void type(struct client *client, const char *text)
{
	type_bytes(client, text, strlen(text));
}

static void resize(struct client *client, uint32_t columns, uint32_t rows)
{
	murmesh_TerminalInput input = { .which_body = murmesh_TerminalInput_size_tag, .body.size = { columns, rows } };
	assert_int_equal(rpc_call_send(client->call, &input), 0);
}

static void hang_up(struct client *client)
{
	murmesh_TerminalInput input = { .which_body = murmesh_TerminalInput_end_tag, .body.end = true };
	assert_int_equal(rpc_call_send(client->call, &input), 0);
}

static const char *find(const struct client *client, const char *text)
{
	return buf_len(&client->said) ? memmem(buf_head(&client->said), buf_len(&client->said), text, strlen(text)) : NULL;
}

/* Waits for text that the shell says.  What is typed is said too, so that it must not stand there as it is. */
static void wait_said(struct client *client, const char *text)
{
	WAIT(&client->world->t, find(client, text) || client->closed);
	assert_non_null(find(client, text));
}

/* The number that a command in the terminal says. */
static pid_t wait_pid(struct client *client)
{
	uint64_t number;
	struct str rest;
	wait_said(client, "=\r\n");
	const char *at = find(client, "=\r\n");
	while (at[-1] != '=')
		at--;
	assert_int_equal(str_to_u64(str_cut((struct str){ at, 20 }, '=', &rest), INT32_MAX, &number), 0);
	buf_clear(&client->said);
	return (pid_t)number;
}
/* The command for that; the shell echoes it as well. */
#define SAY(number) "echo \"=\"=" number "\"=\""

static void wait_closed(struct client *client)
{
	WAIT(&client->world->t, client->closed);
}

static void client_done(struct client *client)
{
	if (client->call && !client->closed) {
		rpc_call_set_events(client->call, NULL, NULL);
		rpc_call_cancel(client->call);
	}
	rpc_call_unref(client->call);
	client->call = NULL;
	buf_done(&client->said);
}

/* Goes away without a word, as a browser does. */
static void leave(struct client *client)
{
	rpc_call_cancel(client->call);
	wait_closed(client);
	client_done(client);
}

static void assert_ended(struct client *client, unsigned code, unsigned by_signal)
{
	wait_closed(client);
	assert_int_equal(client->err, 0);
	assert_true(client->opened && client->exited && client->exit.has_proof);
	assert_int_equal(client->exit.code, code);
	assert_int_equal(client->exit.signal, by_signal);
}

static void assert_refused(struct client *client, int err)
{
	wait_closed(client);
	assert_int_equal(client->err, err);
	assert_int_equal(client->messages, 0);
	client_done(client);
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

/* ---- terminals ---- */

static void test_shell(void **state)
{
	(void)state;
	struct world world;
	struct client client;
	struct order order;
	world_start(&world);
	start(&world, &client, NULL);
	type(&client, "echo on$TERM; stty size; exit 7\n"); /* before it is open */
	assert_ended(&client, 7, 0);
	assert_non_null(find(&client, "onxterm-256color\r\n30 100\r\n"));
	assert_false(id_is_zero(&client.id));
	client_done(&client);
	assert_int_equal(journal(&world, next_nonce, &order), 0);
	assert_int_equal(order.state, ORDER_FINISHED);
	assert_int_equal(order.exit_code, 7);
	assert_string_equal(order.command, "(terminal)");
	world_close(&world);
}

static void test_killed_shell(void **state)
{
	(void)state;
	struct world world;
	struct client client;
	world_start(&world);
	start(&world, &client, NULL);
	type(&client, "kill -9 $$\n");
	assert_ended(&client, 137, 9);
	client_done(&client);
	world_close(&world);
}

static void test_refused_orders(void **state)
{
	(void)state;
	struct world world;
	struct client client;
	murmesh_Order good = terminal_order(), late = terminal_order(), command = test_order(trust, "true"),
	              other = terminal_order();
	murmesh_TerminalInput *input;
	struct order noted;
	world_start(&world);
	/* by another key; for another device; for a command; none */
	assert_int_equal(call_open(&world, &client), 0);
	assert_int_equal(rpc_call_send(client.call, start_message(&good, trust->mesh.root_key, NULL)), 0);
	assert_refused(&client, -E_SIGNATURE);
	assert_int_equal(call_open(&world, &client), 0);
	input = start_message(&other, trust->grant_key, NULL);
	input->body.start.devices.bytes[0] ^= 1;
	assert_int_equal(rpc_call_send(client.call, input), 0);
	assert_refused(&client, -E_GRANT);
	start_as(&world, &client, &command, NULL);
	assert_refused(&client, -E_GRANT);
	assert_int_equal(call_open(&world, &client), 0);
	input = start_message(&other, trust->grant_key, NULL);
	input->body.start.has_order = false;
	assert_int_equal(rpc_call_send(client.call, input), 0);
	assert_refused(&client, -E_GRANT);
	/* shown by another user */
	struct identity stranger = trust->user.identity;
	stranger.id.bytes[3] ^= 1;
	assert_int_equal(call_open_as(&world, &client, &stranger), 0);
	assert_int_equal(rpc_call_send(client.call, start_message(&good, trust->grant_key, NULL)), 0);
	assert_refused(&client, -E_GRANT);
	/* too late: to the check, and in the minute of difference that it allows */
	late.until = TEST_NOW - 61;
	start_as(&world, &client, &late, NULL);
	assert_refused(&client, -E_GRANT_EXPIRED);
	late.until = TEST_NOW;
	start_as(&world, &client, &late, NULL);
	assert_refused(&client, -E_GRANT_EXPIRED);
	/* a good one opens once, also for a terminal that was left */
	start_as(&world, &client, &good, NULL);
	WAIT(&world.t, client.opened);
	const struct id id = client.id;
	leave(&client);
	start_as(&world, &client, &good, NULL);
	assert_refused(&client, -E_ORDER_USED);
	start_as(&world, &client, &good, &id);
	assert_refused(&client, -E_ORDER_USED);
	assert_int_equal(journal(&world, late.nonce[0], &noted), -E_NOT_FOUND);
	assert_int_equal(journal(&world, good.nonce[0], &noted), 0);
	assert_int_equal(noted.state, ORDER_STARTED); /* cut short by the end of the role */
	world_close(&world);
}

static void test_refused_starts(void **state)
{
	(void)state;
	static const struct {
		uint32_t columns, rows;
		const char *term;
		pb_size_t id_size;
		int err;
	} rows[] = {
		{ 0, 30, "", 0, -E_NUMBER },         { 80, 0, "", 0, -E_NUMBER },    { 1001, 30, "", 0, -E_NUMBER },
		{ 80, 1001, "", 0, -E_NUMBER },      { 80, 24, "../x", 0, -E_NAME }, { 80, 24, "a b", 0, -E_NAME },
		{ 80, 24, "x\nPATH=/", 0, -E_NAME }, { 80, 24, "", 15, -E_ID },
	};
	struct world world;
	struct client client;
	world_start(&world);
	const murmesh_Order order = terminal_order();
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		assert_int_equal(call_open(&world, &client), 0);
		murmesh_TerminalInput *input = start_message(&order, trust->grant_key, NULL);
		input->body.start.size = (murmesh_TerminalSize){ rows[i].columns, rows[i].rows };
		assert_int_equal(str_copy(str_from(rows[i].term), input->body.start.term, sizeof input->body.start.term), 0);
		input->body.start.terminal.size = rows[i].id_size;
		assert_int_equal(rpc_call_send(client.call, input), 0);
		assert_refused(&client, rows[i].err);
	}
	/* none of this used the order up; twice in one call, and a size that is none */
	start_as(&world, &client, &order, NULL);
	assert_int_equal(rpc_call_send(client.call, start_message(&order, trust->grant_key, NULL)), 0);
	wait_closed(&client);
	assert_int_equal(client.err, -E_PROTOCOL);
	client_done(&client);
	start(&world, &client, NULL);
	WAIT(&world.t, client.opened);
	resize(&client, 0, 24);
	wait_closed(&client);
	assert_int_equal(client.err, -E_NUMBER);
	client_done(&client);
	world_close(&world);
}

static void test_keys_and_size(void **state)
{
	(void)state;
	struct world world;
	struct client client;
	world_start(&world);
	assert_int_equal(call_open(&world, &client), 0);
	const murmesh_Order order = terminal_order();
	murmesh_TerminalInput *input = start_message(&order, trust->grant_key, NULL);
	input->body.start.has_size = false;
	str_copy(STR("vt220"), input->body.start.term, sizeof input->body.start.term);
	assert_int_equal(rpc_call_send(client.call, input), 0);
	type(&client, "echo on$TERM; stty size\n");
	wait_said(&client, "onvt220\r\n24 80\r\n");
	resize(&client, 133, 55);
	type(&client, "stty size\n");
	wait_said(&client, "55 133\r\n");
	/* the program hears of it at once */
	type(&client, "bash -c 'trap \"stty size; exit\" WINCH; echo wai\"\"ting; while :; do sleep 0.01; done'\n");
	wait_said(&client, "waiting\r\n");
	resize(&client, 77, 22);
	wait_said(&client, "22 77\r\n");
	/* the interrupt key ends the program in the foreground, and no more */
	type(&client, "sh -c 'echo sle\"\"eps; exec sleep 1000'\n");
	wait_said(&client, "sleeps\r\n");
	type(&client, "\003");
	type(&client, "echo ended $?-\n");
	wait_said(&client, "ended 130-\r\n");
	type(&client, "exit 0\n");
	assert_ended(&client, 0, 0);
	client_done(&client);
	world_close(&world);
}

/* Nothing is lost to who is slow: the program waits. */
static void test_slow_reader(void **state)
{
	(void)state;
	struct world world;
	struct client client;
	char path[300], line[900];
	world_start(&world);
	snprintf(path, sizeof path, "%s/done", world.test.directory);
	start(&world, &client, NULL);
	type(&client, "PS1=; stty -echo; echo re\"\"ady\n");
	wait_said(&client, "ready\r\n");
	buf_clear(&client.said);
	rpc_call_pause(client.call, true);
	snprintf(line, sizeof line, "head -c 7000000 /dev/zero | tr '\\0' x; touch %s; exit\n", path);
	type(&client, line);
	WAIT(&world.t, buf_len(&client.said) >= (size_t)200 << 10); /* the window */
	for (int i = 0; i < 100; i++)
		test_loop_turn(&world.t, "a few turns");
	assert_false(file_exists(path));
	rpc_call_pause(client.call, false);
	assert_ended(&client, 0, 0);
	assert_true(file_exists(path));
	size_t n = 0;
	for (size_t i = 0; i < buf_len(&client.said); i++)
		n += buf_head(&client.said)[i] == 'x';
	assert_int_equal(n, 7000000);
	client_done(&client);
	world_close(&world);
}

/* Nothing is lost either when the shell ends before all is taken. */
static void test_slow_reader_of_last_words(void **state)
{
	(void)state;
	struct world world;
	struct client client;
	world_start(&world);
	start(&world, &client, NULL);
	type(&client, "PS1=; stty -echo; " SAY("$$") "\n");
	pid_t pid = wait_pid(&client);
	rpc_call_pause(client.call, true);
	type(&client, "head -c 900000 /dev/zero | tr '\\0' x; echo la\"\"st; exit\n");
	for (int turn = 0; !is_gone(pid) && turn < 500; turn++) /* it ends when the kernel has the rest */
		test_loop_turn(&world.t, "a few turns");
	rpc_call_pause(client.call, false);
	assert_ended(&client, 0, 0);
	assert_non_null(find(&client, "xlast\r\n"));
	size_t n = 0;
	for (size_t i = 0; i < buf_len(&client.said); i++)
		n += buf_head(&client.said)[i] == 'x';
	assert_int_equal(n, 900000);
	client_done(&client);
	world_close(&world);
}

/* Input that nobody reads stops its sender, and comes when it is read. */
static void test_slow_program(void **state)
{
	(void)state;
	static char letters[16384];
	struct world world;
	struct client client;
	size_t sent = 0;
	world_start(&world);
	start(&world, &client, NULL);
	type(&client,
	     "stty raw -echo; echo re\"\"ady; read -r -N 1 x </dev/null; sleep 0.2; head -c 1000000 | wc -c; stty sane; exit\n");
	wait_said(&client, "ready");
	memset(letters, 'y', sizeof letters);
	while (sent < 1000000)
		if (rpc_call_crowded(client.call))
			test_loop_turn(&world.t, "room");
		else {
			type_bytes(&client, letters, sent + sizeof letters < 1000000 ? sizeof letters : 1000000 - sent);
			sent += sizeof letters;
		}
	assert_ended(&client, 0, 0);
	assert_non_null(find(&client, "1000000"));
	client_done(&client);
	world_close(&world);
}

/* ---- leaving and coming back ---- */

static void test_comes_back(void **state)
{
	(void)state;
	struct world world;
	struct client client;
	world_start(&world);
	start(&world, &client, NULL);
	type(&client, "X=41; echo le\"\"ft\n");
	wait_said(&client, "left\r\n");
	const struct id id = client.id;
	leave(&client);
	/* it is his alone, and only by its id */
	murmesh_Order stranger = terminal_order();
	stranger.user[0] ^= 1;
	start_as(&world, &client, &stranger, &id);
	assert_refused(&client, -E_TERMINAL_GONE);
	struct id other = id;
	other.bytes[15] ^= 1;
	start(&world, &client, &other);
	assert_refused(&client, -E_TERMINAL_GONE);
	start(&world, &client, &id);
	wait_said(&client, "left\r\n"); /* what was said before */
	assert_true(id_equal(&client.id, &id));
	type(&client, "echo =$((X+1)); stty size\n");
	wait_said(&client, "=42\r\n30 100\r\n");
	type(&client, "exit 3\n");
	assert_ended(&client, 3, 0);
	client_done(&client);
	start(&world, &client, &id);
	assert_refused(&client, -E_TERMINAL_GONE);
	world_close(&world);
}

#define PTY_BYTES 65536 /* that a pseudo terminal holds, at most */

/* The program goes on; of what it says the end is kept, from the beginning of a line. */
static void test_says_much_meanwhile(void **state)
{
	(void)state;
	struct world world;
	struct client client;
	char path[300], line[900];
	world_start(&world);
	snprintf(path, sizeof path, "%s/go", world.test.directory);
	start(&world, &client, NULL);
	snprintf(line, sizeof line,
	         "PS1=; stty -echo; echo re\"\"ady; until [ -e %s ]; do sleep 0.01; done; seq 1 99999; touch %s2\n", path, path);
	type(&client, line);
	wait_said(&client, "ready\r\n");
	const struct id id = client.id;
	leave(&client);
	assert_int_equal(file_write(path, "", 0, 0600), 0);
	snprintf(line, sizeof line, "%s2", path);
	WAIT(&world.t, file_exists(line));
	start(&world, &client, &id);
	wait_said(&client, "\n99999\r\n");
	/* Of the last part not all may have been read when it came back: that comes behind what was kept. */
	assert_true(buf_len(&client.said) <= SCROLLBACK_SIZE + PTY_BYTES && buf_len(&client.said) > SCROLLBACK_SIZE - 1000);
	struct str rest = buf_str(&client.said);
	for (uint64_t number, next = 0; next != 100000; next = number + 1) {
		struct str word = str_cut(rest, '\n', &rest);
		assert_int_equal(str_to_u64((struct str){ word.ptr, word.len - 1 }, 99999, &number), 0);
		assert_true(next == 0 || number == next);
	}
	client_done(&client);
	world_close(&world);
}

static void test_taken_by_the_newer(void **state)
{
	(void)state;
	struct world world;
	struct client first, second;
	world_start(&world);
	start(&world, &first, NULL);
	type(&first, "echo he\"\"re\n");
	wait_said(&first, "here\r\n");
	start(&world, &second, &first.id);
	wait_closed(&first);
	assert_int_equal(first.err, -E_TERMINAL_TAKEN);
	assert_false(first.exited);
	client_done(&first);
	wait_said(&second, "here\r\n");
	type(&second, "echo st\"\"ill; exit 9\n");
	assert_ended(&second, 9, 0);
	client_done(&second);
	world_close(&world);
}

static void test_ends_while_nobody_is_there(void **state)
{
	(void)state;
	struct world world;
	struct client client;
	char path[300], line[900];
	world_start(&world);
	snprintf(path, sizeof path, "%s/go", world.test.directory);
	snprintf(line, sizeof line, SAY("$$") "; until [ -e %s ]; do sleep 0.01; done; echo la\"\"st words; exit 5\n", path);
	start(&world, &client, NULL);
	type(&client, line);
	pid_t pid = wait_pid(&client);
	const struct id id = client.id;
	leave(&client);
	assert_int_equal(file_write(path, "", 0, 0600), 0);
	WAIT(&world.t, is_gone(pid));
	start(&world, &client, &id);
	assert_ended(&client, 5, 0);
	assert_non_null(find(&client, "last words\r\n"));
	client_done(&client);
	start(&world, &client, &id); /* once told, it is gone */
	assert_refused(&client, -E_TERMINAL_GONE);
	world_close(&world);
}

static void test_nobody_comes(void **state)
{
	(void)state;
	struct world world;
	struct client client;
	struct order order;
	store_make(&world);
	world.detached_ms = 1;
	assert_int_equal(world_open(&world), 0);
	start(&world, &client, NULL);
	const uint8_t nonce = next_nonce;
	type(&client, SAY("$$") "\n");
	pid_t pid = wait_pid(&client);
	const struct id id = client.id;
	leave(&client);
	WAIT(&world.t, is_gone(pid));
	start(&world, &client, &id);
	assert_refused(&client, -E_TERMINAL_GONE);
	assert_int_equal(journal(&world, nonce, &order), 0);
	assert_int_equal(order.state, ORDER_FINISHED);
	world_close(&world);
}

/* ---- ends ---- */

static void test_hung_up(void **state)
{
	(void)state;
	struct world world;
	struct client client;
	char path[300], line[900];
	world_start(&world);
	snprintf(path, sizeof path, "%s/hup", world.test.directory);
	start(&world, &client, NULL);
	snprintf(line, sizeof line, "sh -c 'trap \"touch %s; exit\" HUP; echo re\"\"ady; while :; do sleep 0.01; done'\n", path);
	type(&client, SAY("$$") "\n");
	pid_t pid = wait_pid(&client);
	type(&client, line);
	wait_said(&client, "ready\r\n");
	const struct id id = client.id;
	hang_up(&client);
	wait_closed(&client);
	assert_int_equal(client.err, 0);
	assert_true(client.exited && client.exit.code != 0);
	assert_true(is_gone(pid));
	WAIT(&world.t, file_exists(path));
	client_done(&client);
	start(&world, &client, &id);
	assert_refused(&client, -E_TERMINAL_GONE);
	/* one that does not mind is killed, whether its user waits for that or not */
	for (int waits = 0; waits < 2; waits++) {
		start(&world, &client, NULL);
		type(&client, "trap '' HUP; " SAY("$$") "; while :; do sleep 0.1; done\n");
		pid = wait_pid(&client);
		hang_up(&client);
		if (waits)
			assert_ended(&client, 137, 9);
		else
			for (int i = 0; i < 10; i++)
				test_loop_turn(&world.t, "a few turns"); /* for the message to go */
		client_done(&client);
		WAIT(&world.t, is_gone(pid));
	}
	world_close(&world);
}

/* Hung up before it is open: it never opens. */
static void test_hung_up_at_once(void **state)
{
	(void)state;
	struct world world;
	struct client client;
	struct order order;
	world_start(&world);
	start(&world, &client, NULL);
	hang_up(&client);
	assert_refused(&client, -E_CANCELLED);
	assert_int_equal(journal(&world, next_nonce, &order), 0);
	assert_int_equal(order.exit_code, 127);
	world_close(&world);
}

/* With the role goes all that runs in its terminals, also what would outlive its shell. */
static void test_nothing_stays(void **state)
{
	(void)state;
	struct world world;
	struct client here, left;
	world_start(&world);
	start(&world, &here, NULL);
	type(&here, "trap '' HUP; nohup sleep 1000 >/dev/null 2>&1 & " SAY("$!") "\n");
	pid_t kept = wait_pid(&here);
	type(&here, SAY("$$") "\n");
	pid_t shell = wait_pid(&here);
	start(&world, &left, NULL);
	type(&left, "(trap '' HUP TERM INT; " SAY("$BASHPID") "; while :; do sleep 0.1; done)\n");
	pid_t below = wait_pid(&left);
	leave(&left);
	world_stop(&world);
	client_done(&here);
	assert_true(is_gone(kept));
	assert_true(is_gone(shell));
	assert_true(is_gone(below));
	world_close(&world);
}

/* ---- limits ---- */

static void test_at_most(void **state)
{
	(void)state;
	static struct client clients[TERMINALS_MAX + 1];
	struct world world;
	struct client client;
	pid_t first = 0;
	world_start(&world);
	for (int i = 0; i <= TERMINALS_MAX; i++) {
		murmesh_Order order = terminal_order();
		order.user[0] = (uint8_t)(i / TERMINALS_MAX_USER); /* 8 of one, 8 of another, one of a third */
		if (i == TERMINALS_MAX_USER) {
			murmesh_Order ninth = order;
			ninth.user[0] = 0;
			memset(ninth.nonce, ++next_nonce, sizeof ninth.nonce);
			start_as(&world, &client, &ninth, NULL);
			assert_refused(&client, -E_TERMINALS);
		}
		start_as(&world, &clients[i], &order, NULL);
		if (i == TERMINALS_MAX)
			assert_refused(&clients[i], -E_TERMINALS);
		else
			WAIT(&world.t, clients[i].opened);
		if (i == 0) {
			type(&clients[i], SAY("$$") "\n");
			first = wait_pid(&clients[i]);
		}
	}
	/* one that ended while nobody was there goes for a new one of its user's */
	const struct id id = clients[0].id;
	leave(&clients[0]);
	kill(first, SIGKILL);
	WAIT(&world.t, is_gone(first));
	murmesh_Order order = terminal_order();
	order.user[0] = 1;
	start_as(&world, &client, &order, NULL);
	assert_refused(&client, -E_TERMINALS);
	do {
		order = terminal_order();
		order.user[0] = 0;
		start_as(&world, &clients[0], &order, NULL);
		WAIT(&world.t, clients[0].opened || clients[0].closed);
		if (clients[0].closed)
			assert_refused(&clients[0], -E_TERMINALS); /* its end is still being noted */
	} while (!clients[0].call);
	order = terminal_order();
	order.user[0] = 0;
	start_as(&world, &client, &order, &id);
	assert_refused(&client, -E_TERMINAL_GONE);
	for (int i = 0; i < TERMINALS_MAX; i++)
		client_done(&clients[i]);
	world_close(&world);
}

/* Its end and all that it said to who is there; he came back, with another order, and is told anew what the terminal keeps. */
static void test_signed(void **state)
{
	(void)state;
	const murmesh_Order order = terminal_order(), back = terminal_order();
	struct world world;
	struct client first, client;
	world_start(&world);
	start_as(&world, &first, &order, NULL);
	type(&first, "echo fi\"\"rst\n");
	wait_said(&first, "first");
	struct id id = first.id;
	leave(&first);
	start_as(&world, &client, &back, &id);
	assert_int_equal(result_streams_init(&client.streams), 0);
	type(&client, "exit 4\n");
	assert_ended(&client, 4, 0);
	assert_int_equal(test_result_check(trust, &back, &client.exit, &client.streams), 0);
	result_streams_done(&client.streams);
	assert_int_equal(result_streams_init(&client.streams), 0);
	assert_int_equal(test_result_check(trust, &back, &client.exit, &client.streams),
	                 -E_UNVERIFIED); /* it said more than nothing */
	result_streams_done(&client.streams);
	client_done(&client);

	struct order noted;
	struct recorded recorded = { .n = 0 };
	assert_int_equal(journal(&world, next_nonce, &noted), 0);
	assert_int_equal(test_run(&world.test, read_record, &recorded), 0);
	assert_int_equal(recorded.verified, 0);
	assert_int_equal(recorded.n, 3);
	assert_string_equal(recorded.actions[2], "terminal opened");
	assert_string_equal(recorded.actions[1], "terminal taken up");
	assert_string_equal(recorded.actions[0], "terminal ended");
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
	const murmesh_Order order = terminal_order();
	size_t before = test_descriptors();
	world->lost = false;
	fault_arm(n);
	int err = world_open(world);
	if (err == 0)
		err = call_open(world, &client);
	if (err == 0) { /* orders are made elsewhere */
		long countdown = fault_countdown;
		fault_arm(0);
		const murmesh_TerminalInput *input = start_message(&order, trust->grant_key, NULL);
		fault_arm(countdown);
		err = rpc_call_send(client.call, input);
	}
	if (err == 0)
		WAIT(&world->t, client.opened || client.closed || world->lost);
	if (client.opened && !world->lost) {
		static murmesh_TerminalInput input = { .which_body = murmesh_TerminalInput_data_tag };
		input.body.data.size = 7;
		memcpy(input.body.data.bytes, "exit 6\n", 7);
		err = rpc_call_send(client.call, &input);
		if (err == 0)
			WAIT(&world->t, client.closed || world->lost);
	}
	bool reached = !fault_armed();
	fault_arm(0);
	assert_true(reached || (err == 0 && client.closed && client.err == 0 && client.exited && client.exit.code == 6));
	client_done(&client);
	world->client = rpc_connection_free(world->client);
	world->server = rpc_connection_free(world->server);
	WAIT(&world->t, store_idle(world));
	world->service = terminal_service_free(world->service);
	assert_int_equal(test_descriptors(), before);
	return reached;
}

/* Whatever fails: the client hears of it, and nothing stays. */
static void test_short_resources(void **state)
{
	(void)state;
	struct world world;
	long n = 1;
	store_make(&world);
	while (call_with_fault(&world, n))
		n++;
	assert_true(n > 30);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
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
		cmocka_unit_test(test_signed),
		cmocka_unit_test(test_shell),
		cmocka_unit_test(test_killed_shell),
		cmocka_unit_test(test_refused_orders),
		cmocka_unit_test(test_refused_starts),
		cmocka_unit_test(test_keys_and_size),
		cmocka_unit_test(test_slow_reader),
		cmocka_unit_test(test_slow_reader_of_last_words),
		cmocka_unit_test(test_slow_program),
		cmocka_unit_test(test_comes_back),
		cmocka_unit_test(test_says_much_meanwhile),
		cmocka_unit_test(test_taken_by_the_newer),
		cmocka_unit_test(test_ends_while_nobody_is_there),
		cmocka_unit_test(test_nobody_comes),
		cmocka_unit_test(test_hung_up),
		cmocka_unit_test(test_hung_up_at_once),
		cmocka_unit_test(test_nothing_stays),
		cmocka_unit_test(test_at_most),
		cmocka_unit_test(test_short_resources),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
