/* Machines that run roles of the server: what core lets them call, and where the legs of tunnels meet. */
#include "ca/components.h"
#include "ca/join_line.h"
#include "os/clock.h"
#include "server/test_core.h"

#define EDGE  0xe1 /* link and relay */
#define WAY   0xe2 /* relay */
#define OTHER 0xe3 /* as EDGE */
#define PAGE  0xe4 /* web */
#define LINK  murmesh_ComponentRole_COMPONENT_LINK
#define RELAY murmesh_ComponentRole_COMPONENT_RELAY

static struct id id_of(uint8_t number)
{
	return (struct id){ { number } };
}

/* ---- one that is attached ---- */

struct machine {
	struct test_core *f;
	struct rpc_call *call;
	murmesh_ComponentTask tasks[4]; /* without the welcome */
	unsigned n_tasks, welcomes;
	uint32_t answer; /* an error; UINT32_MAX: none */
	int err;         /* 1 = it is open */
};

static void on_task(void *ctx, const void *message)
{
	struct machine *machine = ctx;
	const murmesh_ComponentTask *task = message;
	const murmesh_ComponentReport report = { .which_body = murmesh_ComponentReport_done_tag,
		                                 .body.done = { .number = task->number, .error = machine->answer } };
	if (task->which_body == murmesh_ComponentTask_welcome_tag)
		machine->welcomes++;
	else {
		assert_true(machine->n_tasks < 4);
		machine->tasks[machine->n_tasks++] = *task;
		if (machine->answer != UINT32_MAX)
			rpc_call_send(machine->call, &report);
	}
	io_loop_stop(machine->f->core.loop);
}

static void on_ended(void *ctx, int err, const char *why)
{
	struct machine *machine = ctx;
	(void)why;
	machine->err = err;
	io_loop_stop(machine->f->core.loop);
}

/* The call alone. */
static void attach_begin(struct test_core *f, struct machine *machine, enum identity_kind kind, uint8_t number)
{
	static const struct rpc_call_events events = { on_task, NULL, NULL, on_ended };
	const struct identity peer = { .mesh = f->core.mesh_id, .kind = kind, .id = id_of(number) };
	char text[IDENTITY_TEXT_SIZE];
	identity_format(&peer, text);
	const struct rpc_metadata metadata = { STR("murmesh-peer"), str_from(text) };
	*machine = (struct machine){ .f = f, .err = 1 };
	machine->call = rpc_call_open(f->link, &rpc_Components_Attach, &metadata, 1, &events, machine);
	assert_non_null(machine->call);
}

static void attach_as(struct test_core *f, struct machine *machine, enum identity_kind kind, uint8_t number, uint32_t roles,
                      const char *address)
{
	murmesh_ComponentReport hello = { .which_body = murmesh_ComponentReport_hello_tag,
		                          .body.hello = { .version = "1", .roles = roles } };
	str_copy(str_from(address), hello.body.hello.address, sizeof hello.body.hello.address);
	attach_begin(f, machine, kind, number);
	assert_int_equal(rpc_call_send(machine->call, &hello), 0);
	while (!machine->welcomes && machine->err == 1)
		io_loop_run(f->core.loop);
}

static void attach_at(struct test_core *f, struct machine *machine, uint8_t number, uint32_t roles, const char *address)
{
	attach_as(f, machine, IDENTITY_COMPONENT, number, roles, address);
	assert_int_equal(machine->welcomes, 1);
}

static void attach(struct test_core *f, struct machine *machine, uint8_t number, uint32_t roles)
{
	attach_at(f, machine, number, roles, "edge:1");
}

static void end(struct machine *machine)
{
	if (machine->err == 1)
		rpc_call_cancel(machine->call);
	while (machine->err == 1)
		io_loop_run(machine->f->core.loop);
}

/* ---- calls with any metadata ---- */

struct asked {
	struct test_core *f;
	union {
		murmesh_Tunnel tunnel;
		uint8_t bytes[65536];
	} reply;
	size_t size;
	char why[200];
	int err; /* 1 = not yet */
};

static void on_answer(void *ctx, const void *message)
{
	struct asked *asked = ctx;
	memcpy(&asked->reply, message, asked->size);
}

static void on_answered(void *ctx, int err, const char *why)
{
	struct asked *asked = ctx;
	asked->err = err;
	str_copy(str_from(why), asked->why, sizeof asked->why);
	io_loop_stop(asked->f->core.loop);
}

struct from {
	enum identity_kind kind;
	uint8_t peer;      /* 0 = nobody */
	uint8_t component; /* through it; 0 = none */
	struct id user;    /* in place of peer */
};

static struct rpc_call *open_from(struct test_core *f, const struct from *from, const struct rpc_method *method,
                                  const struct rpc_call_events *events, void *ctx)
{
	const struct identity peer = { .mesh = f->core.mesh_id,
		                       .kind = from->kind,
		                       .id = from->peer ? id_of(from->peer) : from->user };
	const struct id component = id_of(from->component);
	char text[IDENTITY_TEXT_SIZE], through[ID_TEXT_SIZE];
	struct rpc_metadata metadata[3];
	size_t n = 0;
	identity_format(&peer, text);
	id_format(&component, through);
	if (!id_is_zero(&peer.id))
		metadata[n++] = (struct rpc_metadata){ STR("murmesh-peer"), str_from(text) };
	if (from->component) {
		metadata[n++] = (struct rpc_metadata){ STR("murmesh-address"), STR("192.0.2.1") };
		metadata[n++] = (struct rpc_metadata){ STR("murmesh-component"), str_from(through) };
	}
	struct rpc_call *call = rpc_call_open(f->link, method, metadata, n, events, ctx);
	assert_non_null(call);
	return call;
}

static int ask(struct test_core *f, struct asked *asked, struct from from, const struct rpc_method *method, const void *request)
{
	static const struct rpc_call_events events = { on_answer, NULL, NULL, on_answered };
	*asked = (struct asked){ .f = f, .err = 1, .size = method->response_size };
	struct rpc_call *call = open_from(f, &from, method, &events, asked);
	assert_int_equal(rpc_call_send(call, request), 0);
	if (!method->client_streams)
		rpc_call_half_close(call);
	while (asked->err == 1)
		io_loop_run(f->core.loop);
	return asked->err;
}

/* ---- set-up ---- */

static struct component_record records[] = {
	{ .id = { { EDGE } }, .name = "edge", .number = 1, .roles = LINK | RELAY, .address = "edge:1", .created = 1 },
	{ .id = { { OTHER } }, .name = "other", .number = 1, .roles = LINK | RELAY, .address = "other:1", .created = 1 },
	{ .id = { { WAY } }, .name = "way", .number = 1, .roles = RELAY, .address = "way:1", .created = 1 },
	{ .id = { { PAGE } },
	  .name = "page",
	  .number = 1,
	  .roles = murmesh_ComponentRole_COMPONENT_WEB,
	  .address = "page:1",
	  .created = 1 },
};
#define N_RECORDS (sizeof records / sizeof *records)

static int components_body(struct store_tx *tx, void *ctx)
{
	int err = 0;
	(void)ctx;
	for (size_t i = 0; err == 0 && i < N_RECORDS; i++)
		err = ca_component_add(tx, &records[i]);
	return err;
}

static int components_setup(void **state)
{
	test_core_setup(state);
	struct test_core *f = *state;
	test_core_roles(f);
	test_directly(f, components_body, NULL);
	for (size_t i = 0; i < N_RECORDS; i++)
		core_component_joined(&f->core, &records[i]);
	return 0;
}

/* ---- who may call what ---- */

static void test_calls(void **state)
{
	struct test_core *f = *state;
	const struct from user = { .kind = IDENTITY_USER, .user = f->core.local_user };
	const murmesh_DeviceName name = { "web01" };
	const murmesh_RevocationsRequest none = murmesh_RevocationsRequest_init_zero;
	const murmesh_ComponentList list = murmesh_ComponentList_init_zero;
	struct asked asked;
	struct from from = user;
	assert_int_equal(ask(f, &asked, from, &rpc_Fleet_GetDevice, &name), 0);
	from.component = EDGE;
	assert_int_equal(ask(f, &asked, from, &rpc_Fleet_GetDevice, &name), 0);
	from.component = WAY; /* it has not the role link */
	assert_int_equal(ask(f, &asked, from, &rpc_Fleet_GetDevice, &name), -E_DENIED);
	from.component = 0x77; /* nobody */
	assert_int_equal(ask(f, &asked, from, &rpc_Fleet_GetDevice, &name), -E_DENIED);
	from = (struct from){ .component = WAY };
	const murmesh_TokenRequest token = { .name = "x" };
	assert_int_equal(ask(f, &asked, from, &rpc_CertificationManager_RequestToken, &token), -E_DENIED);
	from.component = EDGE;
	assert_int_equal(ask(f, &asked, from, &rpc_CertificationManager_RequestToken, &token), -E_KEY_UNKNOWN);
	/* for themselves */
	for (int way = 0; way < 2; way++) {
		from = (struct from){ .kind = IDENTITY_COMPONENT, .peer = way ? WAY : 0x77 };
		assert_int_equal(ask(f, &asked, from, &rpc_Core_Revocations, &none), -E_DENIED);
		assert_int_equal(ask(f, &asked, from, &rpc_Core_CaChanges, &none), -E_DENIED);
		assert_int_equal(ask(f, &asked, from, &rpc_Fleet_ListComponents, &list), -E_DENIED);
	}
}

/* The console's calls: of one that may be a web, for itself, and of nobody else. */
static void test_console(void **state)
{
	struct test_core *f = *state;
	const murmesh_SessionRequest nobody = { .session = { 1 } };
	struct asked asked;
	const struct {
		struct from from;
		int err;
	} rows[] = {
		{ { .kind = IDENTITY_COMPONENT, .peer = PAGE }, -E_SESSION },
		{ { .kind = IDENTITY_COMPONENT, .peer = EDGE }, -E_DENIED },
		{ { .kind = IDENTITY_COMPONENT, .peer = WAY }, -E_DENIED },
		{ { .kind = IDENTITY_COMPONENT, .peer = 0x77 }, -E_DENIED },
		{ { .kind = IDENTITY_COMPONENT, .peer = PAGE, .component = PAGE }, -E_DENIED }, /* in somebody's name */
		{ { .kind = IDENTITY_COMPONENT, .peer = PAGE, .component = EDGE }, -E_DENIED },
		{ { .kind = IDENTITY_NODE, .peer = PAGE }, -E_DENIED },
		{ { .kind = IDENTITY_USER, .user = f->core.local_user }, -E_DENIED },
		{ { .kind = IDENTITY_USER }, -E_DENIED },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		assert_int_equal(ask(f, &asked, rows[i].from, &rpc_Console_Me, &nobody), rows[i].err);
	const murmesh_SessionKey key = { .key = { .size = 91 } };
	assert_int_equal(ask(f, &asked, rows[0].from, &rpc_Console_UserCertificate, &key), -E_ENCODING);
	const murmesh_RevocationsRequest none = murmesh_RevocationsRequest_init_zero;
	assert_int_equal(ask(f, &asked, (struct from){ .kind = IDENTITY_COMPONENT, .peer = PAGE, .component = PAGE },
	                     &rpc_Core_Revocations, &none),
	                 -E_DENIED);
}

static void test_attach(void **state)
{
	struct test_core *f = *state;
	struct machine machine, newer;
	const struct {
		enum identity_kind kind;
		uint8_t number;
		uint32_t roles;
	} refused[] = { { IDENTITY_NODE, WAY, RELAY },         { IDENTITY_USER, WAY, RELAY },
		        { IDENTITY_COMPONENT, 0x77, RELAY },   { IDENTITY_COMPONENT, WAY, LINK },
		        { IDENTITY_COMPONENT, WAY, 0 },        { IDENTITY_COMPONENT, WAY, LINK | RELAY },
		        { IDENTITY_COMPONENT, EDGE, 1u << 31 } };
	for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
		attach_as(f, &machine, refused[i].kind, refused[i].number, refused[i].roles, "");
		assert_int_equal(machine.err, -E_DENIED);
	}
	attach(f, &machine, EDGE, RELAY);
	attach(f, &newer, EDGE, LINK | RELAY);
	end(&machine);
	assert_int_equal(machine.err, -E_EXISTS);
	const murmesh_ComponentName name = { "edge-1" };
	assert_int_equal(test_ask_as(f, &f->core.local_user, &rpc_Fleet_RevokeComponent, &name), 0);
	end(&newer);
	assert_int_equal(newer.err, -E_REVOKED);
	attach_as(f, &newer, IDENTITY_COMPONENT, EDGE, RELAY, "");
	assert_int_equal(newer.err, -E_DENIED); /* link tells it that its certificate was revoked */
	assert_int_equal(test_ask_as(f, &f->core.local_user, &rpc_Fleet_RevokeComponent, &name), -E_NOT_FOUND);
}

/* Each that comes is a job: no component makes so many that others wait. */
static void test_attaches_have_a_limit(void **state)
{
	struct test_core *f = *state;
	struct machine many[5], other;
	for (size_t i = 0; i < 4; i++) { /* at once: they stay open as long as they say nothing */
		attach_begin(f, &many[i], IDENTITY_COMPONENT, EDGE);
		assert_int_equal(many[i].err, 1);
	}
	attach_begin(f, &many[4], IDENTITY_COMPONENT, EDGE);
	while (many[4].err == 1)
		io_loop_run(f->core.loop);
	assert_int_equal(many[4].err, -E_LIMIT);
	for (size_t i = 0; i < 4; i++)
		end(&many[i]);
	unsigned n = 0, most = 100; /* in a minute, or two when the test runs over the end of one */
	for (many[0].err = -E_CANCELLED; n < most && many[0].err != -E_LIMIT; n++) {
		attach_as(f, &many[0], IDENTITY_COMPONENT, EDGE, LINK, "edge:1");
		end(&many[0]);
	}
	assert_in_range(n, 20, 61);
	attach(f, &other, OTHER, LINK); /* another one's are counted apart */
	end(&other);
}

/* ---- where legs meet ---- */

struct linked {
	struct test_core *f;
	struct rpc_call *call;
	bool welcome;
	murmesh_TunnelOffer offer;
	murmesh_TunnelOver over; /* the last */
	unsigned n_offers, n_over;
	int err;
};

static void on_frame(void *ctx, const void *message)
{
	struct linked *device = ctx;
	const murmesh_Frame *frame = message;
	device->welcome |= frame->which_body == murmesh_Frame_welcome_tag;
	if (frame->which_body == murmesh_Frame_offer_tag) {
		device->offer = frame->body.offer;
		device->n_offers++;
	}
	if (frame->which_body == murmesh_Frame_over_tag) {
		device->over = frame->body.over;
		device->n_over++;
	}
	io_loop_stop(device->f->core.loop);
}

static void on_device_ended(void *ctx, int err, const char *why)
{
	struct linked *device = ctx;
	(void)why;
	device->err = err;
	io_loop_stop(device->f->core.loop);
}

/* web01, which comes in there. */
static void link_at(struct test_core *f, struct linked *device, uint8_t component)
{
	static const struct rpc_call_events events = { on_frame, NULL, NULL, on_device_ended };
	const struct from from = { .kind = IDENTITY_NODE, .peer = 7, .component = component };
	const murmesh_Frame hello = { .which_body = murmesh_Frame_hello_tag };
	*device = (struct linked){ .f = f, .err = 1 };
	device->call = open_from(f, &from, &rpc_MessageRouter_Link, &events, device);
	assert_int_equal(rpc_call_send(device->call, &hello), 0);
	while (!device->welcome && device->err == 1)
		io_loop_run(f->core.loop);
	assert_true(device->welcome);
}

static void unlink_device(struct linked *device)
{
	rpc_call_cancel(device->call);
	while (device->err == 1)
		io_loop_run(device->f->core.loop);
}

static int tunnel(struct test_core *f, struct asked *asked, uint8_t component)
{
	const struct from from = { .kind = IDENTITY_USER, .user = f->core.local_user, .component = component };
	murmesh_TunnelRequest request = {
		.device = { 7 }, .rights = murmesh_Right_CONNECT, .targets_count = 1, .targets = { ":80" }
	};
	memset(&f->told.pair, 0, sizeof f->told.pair);
	return ask(f, asked, from, &rpc_Tunnels_Open, &request);
}

static bool is_hash_of(const uint8_t hash[HASH_SIZE], const uint8_t ticket[32])
{
	uint8_t own[HASH_SIZE];
	hash_sha256(ticket, 32, own);
	return memcmp(own, hash, sizeof own) == 0;
}

static bool told_here(const struct test_core *f)
{
	static const uint8_t none[16];
	return memcmp(f->told.pair.pair, none, sizeof none) != 0;
}

static void offered(struct linked *device, unsigned n)
{
	while (device->n_offers < n)
		io_loop_run(device->f->core.loop);
}

/* Client and device each come in at core's machine (0) or at the edge. */
static void test_meeting(void **state)
{
	struct test_core *f = *state;
	struct machine edge;
	struct asked asked;
	struct linked device;
	attach(f, &edge, EDGE, LINK | RELAY);
	for (int way = 0; way < 4; way++) {
		bool client = way & 1, agent = way & 2;
		link_at(f, &device, agent ? EDGE : 0);
		edge.n_tasks = 0;
		assert_int_equal(tunnel(f, &asked, client ? EDGE : 0), 0);
		offered(&device, 1);
		assert_int_equal(told_here(f), !(client && agent));
		assert_int_equal(edge.n_tasks, client || agent);
		if (client && agent) {
			const murmesh_Announcement *announced = &edge.tasks[0].body.announce;
			assert_int_equal(edge.tasks[0].which_body, murmesh_ComponentTask_announce_tag);
			assert_memory_equal(announced->pair, asked.reply.tunnel.pair, 16);
			assert_true(is_hash_of(announced->client_hash, asked.reply.tunnel.ticket));
			assert_true(is_hash_of(announced->agent_hash, device.offer.ticket));
			assert_int_equal(announced->lifetime_s, 30);
		} else if (client || agent) {
			const murmesh_Forwarding *forwarding = &edge.tasks[0].body.forward;
			assert_int_equal(edge.tasks[0].which_body, murmesh_ComponentTask_forward_tag);
			assert_int_equal(forwarding->client, client);
			assert_memory_equal(forwarding->pair, f->told.pair.pair, 16);
			assert_true(is_hash_of(forwarding->agent_hash, client ? asked.reply.tunnel.ticket : device.offer.ticket));
			assert_int_equal(forwarding->address[0], 0);
		}
		unlink_device(&device);
	}
	end(&edge);
}

/* Each end comes in at another machine; who else is there; where they meet. */
static void test_meeting_elsewhere(void **state)
{
	struct test_core *f = *state;
	const struct {
		uint32_t client_roles, agent_roles;
		const char *client_address, *way_address; /* of a relay that neither comes in at; NULL = it is not there */
		uint8_t at;                               /* 0 = core's machine */
	} rows[] = {
		{ LINK | RELAY, LINK | RELAY, "edge:7", "way:9", EDGE },
		{ LINK, LINK | RELAY, "edge:7", "way:9", OTHER },
		{ LINK, LINK, "edge:7", "way:9", WAY },
		{ LINK, LINK, "edge:7", NULL, 0 },
		{ LINK | RELAY, LINK, "elsewhere:7", NULL, 0 },
		{ LINK, LINK, "edge:7", "elsewhere:9", 0 },
		{ LINK | RELAY, LINK, "edge", NULL, 0 },
		{ LINK | RELAY, LINK, "", "way:9", WAY },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct machine edge, other, way = { .err = 0 };
		struct asked asked;
		struct linked device;
		attach_at(f, &edge, EDGE, rows[i].client_roles, rows[i].client_address);
		attach_at(f, &other, OTHER, rows[i].agent_roles, "other:8");
		if (rows[i].way_address)
			attach_at(f, &way, WAY, RELAY, rows[i].way_address);
		link_at(f, &device, OTHER);
		assert_int_equal(tunnel(f, &asked, EDGE), 0);
		offered(&device, 1);
		assert_int_equal(told_here(f), rows[i].at == 0);
		assert_int_equal(edge.n_tasks, 1);
		assert_int_equal(other.n_tasks, 1);
		assert_int_equal(way.n_tasks, rows[i].at == WAY);
		const murmesh_Forwarding *forwarding =
		        rows[i].at == EDGE ? &other.tasks[0].body.forward : &edge.tasks[0].body.forward;
		assert_int_equal(edge.tasks[0].which_body,
		                 rows[i].at == EDGE ? murmesh_ComponentTask_announce_tag : murmesh_ComponentTask_forward_tag);
		assert_int_equal(other.tasks[0].which_body,
		                 rows[i].at == OTHER ? murmesh_ComponentTask_announce_tag : murmesh_ComponentTask_forward_tag);
		assert_string_equal(forwarding->address, rows[i].at == EDGE    ? "edge"
		                                         : rows[i].at == OTHER ? "other"
		                                         : rows[i].at == WAY   ? "way"
		                                                               : "");
		assert_int_equal(forwarding->port, rows[i].at == EDGE ? 7 : rows[i].at == OTHER ? 8 : rows[i].at == WAY ? 9 : 0);
		unlink_device(&device);
		end(&edge);
		end(&other);
		if (rows[i].way_address)
			end(&way);
	}
}

/* A relay that is not there, or does not do it, is no silent loss: who asks hears it, and the device no offer. */
static void test_no_meeting(void **state)
{
	struct test_core *f = *state;
	struct machine edge;
	struct asked asked;
	struct linked device;
	link_at(f, &device, EDGE);
	assert_int_equal(tunnel(f, &asked, EDGE), -E_BUSY);
	assert_int_equal(tunnel(f, &asked, 0), -E_BUSY);
	assert_non_null(strstr(asked.why, "relay"));
	attach(f, &edge, EDGE, LINK | RELAY);
	const struct {
		uint32_t answer;
		int err;
	} rows[] = { { E_LIMIT, -E_LIMIT }, { 999999, -E_INTERNAL }, { UINT32_MAX - 1, -E_INTERNAL }, { 1, -E_INTERNAL } };
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		edge.n_tasks = 0;
		edge.answer = rows[i].answer;
		assert_int_equal(tunnel(f, &asked, EDGE), rows[i].err);
		assert_int_equal(tunnel(f, &asked, 0), rows[i].err);
	}
	assert_int_equal(device.n_offers, 0);
	unlink_device(&device);
	end(&edge);
}

/* It ends while it is asked. */
static void on_gone(void *ctx)
{
	struct machine *machine = ctx;
	if (!machine->n_tasks)
		return;
	machine->n_tasks = 0; /* the timer goes on */
	rpc_call_cancel(machine->call);
}

static void test_gone_meanwhile(void **state)
{
	struct test_core *f = *state;
	struct machine edge;
	struct asked asked;
	struct linked device;
	link_at(f, &device, EDGE);
	attach(f, &edge, EDGE, LINK | RELAY);
	edge.answer = UINT32_MAX;
	struct io_timer *timer = io_timer_new(f->core.loop, on_gone, &edge);
	io_timer_start(timer, 1, 1);
	assert_int_equal(tunnel(f, &asked, EDGE), -E_BUSY);
	io_timer_free(timer);
	end(&edge);
	unlink_device(&device);
}

/* A user who is shut out: his tunnels end wherever they meet. */
static void test_closed(void **state)
{
	struct test_core *f = *state;
	struct machine edge, way;
	struct asked asked;
	struct linked device;
	const struct id web01 = id_of(7);
	attach(f, &edge, EDGE, LINK | RELAY);
	attach(f, &way, WAY, RELAY);
	link_at(f, &device, EDGE);
	assert_int_equal(tunnel(f, &asked, EDGE), 0);
	edge.n_tasks = 0;
	core_pairs_close(&f->core, NULL, &web01);
	while (!edge.n_tasks || !way.n_tasks || !f->told.n_closed)
		io_loop_run(f->core.loop);
	assert_int_equal(edge.tasks[0].which_body, murmesh_ComponentTask_close_tag);
	assert_memory_equal(edge.tasks[0].body.close.pair, asked.reply.tunnel.pair, 16);
	unlink_device(&device);
	end(&edge);
	end(&way);
}

static size_t maps_listed(struct test_core *f)
{
	const murmesh_MapList request = murmesh_MapList_init_zero;
	test_stream_as(f, &f->core.local_user, &rpc_Tunnels_List, &request);
	assert_int_equal(test_end_await(f), 0);
	return f->n_rows;
}

static void pair_tell(struct machine *machine, const struct asked *asked, bool ended)
{
	murmesh_ComponentReport report = { .which_body = murmesh_ComponentReport_pairs_tag,
		                           .body.pairs = { .pairs_count = 1, .pairs = { { .from_client = 5, .ended = ended } } } };
	memcpy(report.body.pairs.pairs[0].pair, asked->reply.tunnel.pair, 16);
	assert_int_equal(rpc_call_send(machine->call, &report), 0);
	for (int i = 0; i < 3; i++) /* until core has heard it */
		maps_listed(machine->f);
}

/* Of the tunnels that meet there its relay alone tells.  What it says to be over is hidden, and ended all the same when that has to be. */
static void test_told_of(void **state)
{
	struct test_core *f = *state;
	struct machine edge, other;
	struct asked asked;
	struct linked device;
	const struct id web01 = id_of(7);
	attach(f, &edge, EDGE, LINK | RELAY);
	attach_at(f, &other, OTHER, LINK | RELAY, "other:8");
	link_at(f, &device, EDGE);
	assert_int_equal(tunnel(f, &asked, EDGE), 0);
	pair_tell(&other, &asked, false);
	assert_int_equal(maps_listed(f), 0);
	pair_tell(&edge, &asked, false);
	assert_int_equal(maps_listed(f), 1);
	const murmesh_Map *map = (const void *)f->rows[0];
	assert_int_equal(map->sent, 5);
	assert_int_equal(map->path_count, 1);
	assert_string_equal(map->path[0], "edge-1");
	pair_tell(&other, &asked, true);
	assert_int_equal(maps_listed(f), 1);
	pair_tell(&edge, &asked, true);
	assert_int_equal(maps_listed(f), 0);
	pair_tell(&edge, &asked, false);
	assert_int_equal(maps_listed(f), 1);
	end(&edge);
	assert_int_equal(maps_listed(f), 0); /* nobody tells */
	core_pairs_close(&f->core, NULL, &web01);
	while (!f->told.n_closed)
		io_loop_run(f->core.loop);
	assert_memory_equal(f->told.closed.pair, asked.reply.tunnel.pair, 16);
	unlink_device(&device);
	end(&other);
}

static void over(struct linked *device, const struct asked *asked)
{
	while (!device->n_over)
		io_loop_run(device->f->core.loop);
	assert_int_equal(device->n_over, 1);
	assert_memory_equal(device->over.pair, asked->reply.tunnel.pair, 16);
}

/* A component that is shut out may not end what goes through it: the device does, which hears it at once, or when it has come elsewhere. */
static void test_shut_out(void **state)
{
	struct test_core *f = *state;
	struct machine edge, other;
	struct asked first, second, without;
	struct linked device;
	const murmesh_ComponentName name = { "edge-1" }, next = { "other-1" };
	attach(f, &edge, EDGE, LINK | RELAY);
	attach_at(f, &other, OTHER, LINK | RELAY, "other:8");
	link_at(f, &device, 0);
	assert_int_equal(tunnel(f, &without, 0), 0);
	assert_int_equal(tunnel(f, &first, EDGE), 0);
	other.n_tasks = 0;
	assert_int_equal(test_ask_as(f, &f->core.local_user, &rpc_Fleet_RevokeComponent, &name), 0);
	over(&device, &first);
	while (!other.n_tasks || !f->told.n_closed)
		io_loop_run(f->core.loop);
	assert_int_equal(other.tasks[0].which_body, murmesh_ComponentTask_close_tag);
	assert_memory_equal(other.tasks[0].body.close.pair, first.reply.tunnel.pair, 16);
	unlink_device(&device);

	link_at(f, &device, OTHER);
	assert_int_equal(tunnel(f, &second, 0), 0);
	assert_int_equal(test_ask_as(f, &f->core.local_user, &rpc_Fleet_RevokeComponent, &next), 0);
	assert_int_equal(device.n_over, 0); /* that one would not pass it on */
	unlink_device(&device);
	link_at(f, &device, 0);
	over(&device, &second);
	unlink_device(&device);
	link_at(f, &device, 0);
	assert_int_equal(tunnel(f, &without, 0), 0); /* what comes behind the welcome is there */
	offered(&device, 1);
	assert_int_equal(device.n_over, 0);
	unlink_device(&device);
	end(&edge);
	end(&other);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, components_setup, test_core_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_calls),      TEST(test_attaches_have_a_limit),
		TEST(test_console),    TEST(test_attach),
		TEST(test_meeting),    TEST(test_meeting_elsewhere),
		TEST(test_no_meeting), TEST(test_gone_meanwhile),
		TEST(test_closed),     TEST(test_shut_out),
		TEST(test_told_of),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
