#include "rpc/test_world.h"

void world_check(struct world *world)
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

const struct rpc_method raw_method = { .path = "/test.Test/Talk", .client_streams = true, .server_streams = true };

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

void talk_produce(struct talk *talk)
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
	world_check(talk->world);
}

static void talk_half_closed(void *ctx)
{
	struct talk *talk = ctx;
	talk->half_closed++;
	if (talk->echo)
		rpc_call_finish(talk->call, talk->finish, talk->finish_why);
	die(talk->world, talk->client, HALF_CLOSED);
	world_check(talk->world);
}

static void talk_writable(void *ctx)
{
	struct talk *talk = ctx;
	talk->writable++;
	if (talk->echo)
		rpc_call_pause(talk->call, false);
	talk_produce(talk);
	die(talk->world, talk->client, WRITABLE);
	world_check(talk->world);
}

static void talk_closed(void *ctx, int err, const char *why)
{
	struct talk *talk = ctx;
	talk->closed++;
	talk->err = err;
	snprintf(talk->why, sizeof talk->why, "%s", why);
	die(talk->world, talk->client, CLOSED);
	world_check(talk->world);
}

const struct rpc_call_events talk_events = { talk_message, talk_half_closed, talk_writable, talk_closed };

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
	talk_produce(talk);
	world_check(world);
	return 0;
}

bool talk_open(struct world *world, struct talk *talk, struct talk script)
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
	world->has_origin = rpc_call_origin(call) != NULL;
	if (world->has_origin)
		world->origin = *rpc_call_origin(call);
	if (str_is(str_from(request->host), "later")) {
		world->waiting = rpc_call_ref(call);
		return world_check(world);
	}
	if (str_is(str_from(request->host), "never"))
		return world_check(world);
	if (str_starts(str_from(request->host), STR("E")))
		return rpc_call_finish(call, -err_from_name(request->host), "because: 100 % \xc3\xa4\n");
	if (str_is(str_from(request->host), "errno"))
		return rpc_call_finish(call, -2, NULL);
	reply.addresses_count = 1;
	snprintf(reply.addresses[0], sizeof reply.addresses[0], "%.40s!", request->host);
	rpc_call_reply(call, &reply);
}

static const struct rpc_service services[] = { { &rpc_Resolve_Lookup, 0, lookup, NULL } };

int world_on_open(void *ctx, struct rpc_call *call)
{
	struct world *world = ctx;
	die(world, false, OPEN);
	if (!world->server && !world->target)
		return -E_DENIED;
	if (str_is(rpc_call_path(call), raw_method.path)) {
		if (!world->ignores)
			return talk_serve(world, call);
		rpc_call_accept(call, &raw_method, NULL, NULL);
		return 0;
	}
	const struct rpc_service *row = rpc_service_find(services, 1, rpc_call_path(call));
	return row ? rpc_serve(row, call, world) : -E_UNSUPPORTED;
}

void world_on_answer(void *ctx, int err, const char *why, const void *response)
{
	struct world *world = ctx;
	const murmesh_LookupReply *reply = response;
	assert_true((err == 0) == (response != NULL));
	world->answers++;
	world->answer_err = err;
	snprintf(world->answer_why, sizeof world->answer_why, "%s", why);
	snprintf(world->answer, sizeof world->answer, "%s", reply && reply->addresses_count ? reply->addresses[0] : "");
	die(world, true, DONE);
	world_check(world);
}

int world_ask(struct world *world, const char *host, unsigned timeout_ms)
{
	murmesh_LookupRequest request = murmesh_LookupRequest_init_zero;
	snprintf(request.host, sizeof request.host, "%s", host);
	return rpc_unary(world->client, &rpc_Resolve_Lookup, &request, timeout_ms, world_on_answer, world);
}

/* ---- the world ---- */

static void on_ready(void *ctx)
{
	struct world *world = ctx;
	world->ready++;
	die(world, true, READY);
	world_check(world);
}

static void on_client_lost(void *ctx, int err)
{
	struct world *world = ctx;
	world->client_lost++;
	world->client_err = err;
	die(world, true, LOST);
	world_check(world);
}

void world_on_server_lost(void *ctx, int err)
{
	struct world *world = ctx;
	world->server_lost++;
	world->server_err = err;
	die(world, false, LOST);
	world_check(world);
}

const struct rpc_connection_events client_events = { NULL, on_ready, on_client_lost };
const struct rpc_connection_events server_events = { world_on_open, NULL, world_on_server_lost };

static void on_watchdog(void *ctx)
{
	struct world *world = ctx;
	world->hung = true;
	io_loop_stop(world->loop);
}

int world_init(struct world *world)
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

int world_connect(struct world *world, const struct rpc_connection_settings *settings)
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

void world_open(struct world *world)
{
	assert_int_equal(world_init(world), 0);
	assert_int_equal(world_connect(world, NULL), 0);
}

void world_close(struct world *world)
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

void world_run(struct world *world, bool (*done)(struct world *world))
{
	world->done = done;
	while (!done(world) && !world->hung)
		io_loop_run(world->loop);
	world->done = NULL;
	assert_false(world->hung);
}

bool answered(struct world *world)
{
	return world->answers > 0;
}

bool talk_over(struct world *world)
{
	return world->talk->closed;
}

bool both_over(struct world *world)
{
	return world->talk->closed && world->n_served && world->served[0]->closed;
}

bool lost(struct world *world)
{
	return world->client_lost;
}

bool served_heard(struct world *world)
{
	return world->n_served && world->served[0]->received;
}

bool server_lost(struct world *world)
{
	return world->server_lost;
}

bool served(struct world *world)
{
	return world->n_served;
}
