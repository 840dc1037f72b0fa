#include "server/test_core.h"

#include "base/mem.h"
#include "os/clock.h"
#include "os/fd.h"

/* ---- the hash role ---- */

static void on_hash(struct rpc_call *call, const void *message, bool make)
{
	const murmesh_HashRequest *request = message;
	murmesh_HashReply reply = murmesh_HashReply_init_zero;
	int err = make ? password_make(str_from(request->password), reply.encoded)
	               : password_verify(request->encoded, str_from(request->password), &reply.matches);
	assert_int_equal(err, 0);
	rpc_call_reply(call, &reply);
}

static void on_make(void *ctx, struct rpc_call *call, const void *request)
{
	(void)ctx;
	on_hash(call, request, true);
}

static void on_verify(void *ctx, struct rpc_call *call, const void *request)
{
	(void)ctx;
	on_hash(call, request, false);
}

static int on_hash_open(void *ctx, struct rpc_call *call)
{
	static const struct rpc_service rows[] = { { &rpc_Hash_Make, 0, on_make, NULL }, { &rpc_Hash_Verify, 0, on_verify, NULL } };
	return rpc_serve(rpc_service_find(rows, 2, rpc_call_path(call)), call, ctx);
}

/* ---- set-up ---- */

static int first_run(struct store_tx *tx, void *ctx)
{
	struct test_core *f = ctx;
	struct user local;
	struct device device = { .id = { { 7 } }, .name = "web01", .token = 1, .created = 1 };
	int64_t token;
	int err = account_ensure_local(tx, 1, &local);
	f->core.local_user = local.id;
	if (err == 0)
		err = fleet_token_next(tx, STR("web01"), &token);
	return err < 0 ? err : fleet_device_add(tx, &device);
}

static void connect_pair(struct test_core *f, const struct rpc_connection_events *events, void *ctx, struct rpc_connection **server,
                         struct rpc_connection **client)
{
	static const struct rpc_connection_events quiet = { NULL, NULL, NULL };
	static const struct rpc_connection_settings serve = { .server = true, .trusted_metadata = true },
	                                            call = { .server = false };
	int fds[2];
	assert_int_equal(fd_pair_stream(fds), 0);
	*server = rpc_connection_plain(f->core.loop, fds[0], &serve, events, ctx);
	*client = rpc_connection_plain(f->core.loop, fds[1], &call, &quiet, NULL);
	assert_true(*server && *client);
}

/* ---- other roles ---- */

static void on_sign(void *ctx, struct rpc_call *call, const void *message)
{
	static murmesh_SignedDocument reply;
	struct test_core *f = ctx;
	f->told.sign = *(const murmesh_SignRequest *)message;
	reply = (murmesh_SignedDocument){ .document.size = f->told.sign.document.size, .signature = { 1, { 7 } } };
	memcpy(reply.document.bytes, f->told.sign.document.bytes, f->told.sign.document.size);
	rpc_call_reply(call, &reply);
}

static void on_issue(void *ctx, struct rpc_call *call, const void *message)
{
	struct test_core *f = ctx;
	murmesh_Issued reply = { .leaf = { 1, { 9 } } };
	f->told.issue = *(const murmesh_IssueRequest *)message;
	memcpy(reply.serial, f->told.issue.key.bytes, 20);
	memcpy(reply.key_hash, f->told.issue.key.bytes, 32);
	rpc_call_reply(call, &reply);
}

static void announced(struct rpc_call *call)
{
	const murmesh_Announced reply = murmesh_Announced_init_zero;
	rpc_call_reply(call, &reply);
}

static void on_pair(void *ctx, struct rpc_call *call, const void *message)
{
	((struct test_core *)ctx)->told.pair = *(const murmesh_Announcement *)message;
	announced(call);
}

static void on_close_pair(void *ctx, struct rpc_call *call, const void *message)
{
	struct test_core *f = ctx;
	f->told.closed = *(const murmesh_PairName *)message;
	f->told.n_closed++;
	announced(call);
}

static void on_pairs_request(void *ctx, const void *message)
{
	(void)message;
	io_loop_stop(((struct test_core *)ctx)->core.loop);
}

static void on_pairs_closed(void *ctx, int err, const char *why)
{
	(void)err;
	(void)why;
	((struct test_core *)ctx)->told.pairs = NULL;
	io_loop_stop(((struct test_core *)ctx)->core.loop);
}

static int on_pairs(void *ctx, struct rpc_call *call)
{
	static const struct rpc_call_events events = { on_pairs_request, NULL, NULL, on_pairs_closed };
	((struct test_core *)ctx)->told.pairs = call;
	rpc_call_accept(call, &rpc_Relay_Watch, &events, ctx);
	return 0;
}

static void on_watch(void *ctx, struct rpc_call *call, const void *message)
{
	((struct test_core *)ctx)->told.watch = *(const murmesh_WatchAnnouncement *)message;
	announced(call);
}

static void on_end_watches(void *ctx, struct rpc_call *call, const void *message)
{
	struct test_core *f = ctx;
	f->told.ended = *(const murmesh_WatchesEnd *)message;
	f->told.n_ended++;
	if (f->told.n_refused) {
		f->told.n_refused--;
		rpc_call_finish(call, -E_OFFLINE, NULL);
	} else
		announced(call);
}

static int on_role_open(void *ctx, struct rpc_call *call)
{
	static const struct rpc_service rows[] = {
		{ &rpc_Ca_Sign, 0, on_sign, NULL },        { &rpc_Ca_Issue, 0, on_issue, NULL },
		{ &rpc_Relay_Announce, 0, on_pair, NULL }, { &rpc_Relay_ClosePair, 0, on_close_pair, NULL },
		{ &rpc_Viz_Announce, 0, on_watch, NULL },  { &rpc_Viz_EndWatches, 0, on_end_watches, NULL },
		{ &rpc_Relay_Watch, 0, NULL, on_pairs },
	};
	return rpc_serve(rpc_service_find(rows, sizeof rows / sizeof *rows, rpc_call_path(call)), call, ctx);
}

void test_core_roles(struct test_core *f)
{
	static const struct rpc_connection_events events = { on_role_open, NULL, NULL };
	connect_pair(f, &events, f, &f->told.ca, &f->core.ca);
	connect_pair(f, &events, f, &f->told.relay, &f->core.relay);
	connect_pair(f, &events, f, &f->told.viz, &f->core.viz);
	f->core.described = true;
}

int test_core_setup(void **state)
{
	static const struct rpc_connection_events console = { core_console_open, NULL, NULL },
	                                          network = { core_network_open, NULL, NULL },
	                                          hashing = { on_hash_open, NULL, NULL };
	static const uint8_t seed[16];
	struct test_core *f = calloc(1, sizeof *f);
	f->core.loop = io_loop_new();
	f->core.online = map_new(seed, 10);
	assert_int_equal(core_jobs_init(&f->core), 0);
	assert_int_equal(core_pairs_open(&f->core), 0);
	f->core.watches_again = io_timer_new(f->core.loop, core_live_end_again, &f->core);
	list_init(&f->core.watches);
	list_init(&f->core.pings);
	list_init(&f->core.followers);
	list_init(&f->core.ca_followers);
	list_init(&f->core.messages);
	list_init(&f->core.receivers);
	f->core.mesh_id = (struct id){ { 0x4d } };
	str_copy(STR("127.0.0.1:1"), f->core.address, sizeof f->core.address);
	test_store_make(&f->files, &store_schema_server);
	assert_int_equal(test_run(&f->files, first_run, f), 0);
	f->core.store = f->files.store;
	assert_int_equal(core_relays_open(&f->core), 0);
	assert_int_equal(core_components_open(&f->core), 0);
	assert_int_equal(store_start_worker(f->core.store, f->core.loop), 0);
	connect_pair(f, &console, &f->core, &f->core.web, &f->web);
	connect_pair(f, &network, &f->core, &f->core.link, &f->link);
	connect_pair(f, &hashing, f, &f->hash, &f->core.hash);
	*state = f;
	return 0;
}

int test_core_teardown(void **state)
{
	struct test_core *f = *state;
	rpc_connection_free(f->web);
	rpc_connection_free(f->core.web);
	rpc_connection_free(f->link);
	rpc_connection_free(f->core.link);
	rpc_connection_free(f->core.hash);
	rpc_connection_free(f->hash);
	rpc_connection_free(f->core.ca);
	rpc_connection_free(f->core.relay);
	rpc_connection_free(f->core.viz);
	rpc_connection_free(f->told.ca);
	rpc_connection_free(f->told.relay);
	rpc_connection_free(f->told.viz);
	assert_true(list_empty(&f->core.watches));
	assert_true(list_empty(&f->core.followers));
	assert_true(list_empty(&f->core.receivers));
	test_store_remove(&f->files);
	core_router_free(&f->core);
	assert_int_equal(f->core.n_watches, 0);
	assert_int_equal(f->core.logins, 0);
	assert_true(list_empty(&f->core.hurried));
	core_jobs_done(&f->core);
	io_timer_free(f->core.watches_again);
	map_free(f->core.online);
	core_relays_free(&f->core);
	core_components_free(&f->core);
	core_pairs_free(&f->core);
	io_loop_free(f->core.loop);
	free(f);
	return 0;
}

/* ---- calls ---- */

static struct rpc_call *call_open(struct test_core *f, const struct id *user, const struct rpc_method *method,
                                  const struct rpc_call_events *events, const void *request)
{
	struct identity peer = { .mesh = f->core.mesh_id, .kind = IDENTITY_USER };
	char text[IDENTITY_TEXT_SIZE];
	if (user)
		peer.id = *user;
	identity_format(&peer, text);
	const struct rpc_metadata metadata = { STR("murmesh-peer"), str_from(text) };
	struct rpc_call *call = rpc_call_open(user ? f->link : f->web, method, &metadata, user ? 1 : 0, events, f);
	assert_non_null(call);
	assert_int_equal(rpc_call_send(call, request), 0);
	rpc_call_half_close(call);
	return call;
}

static void on_reply(void *ctx, const void *message)
{
	struct test_core *f = ctx;
	memcpy(&f->reply, message, f->asked->response_size);
}

static void on_reply_end(void *ctx, int err, const char *why)
{
	struct test_core *f = ctx;
	f->err = err;
	f->done = true;
	str_copy(str_from(why), f->why, sizeof f->why);
	io_loop_stop(f->core.loop);
}

static int ask(struct test_core *f, const struct id *user, const struct rpc_method *method, const void *request)
{
	static const struct rpc_call_events events = { on_reply, NULL, NULL, on_reply_end };
	assert_true(method->response_size <= sizeof f->reply);
	memset(&f->reply, 0, sizeof f->reply);
	f->asked = method;
	f->done = false;
	call_open(f, user, method, &events, request);
	while (!f->done)
		io_loop_run(f->core.loop);
	return f->err;
}

int test_ask(struct test_core *f, const struct rpc_method *method, const void *request)
{
	return ask(f, NULL, method, request);
}

int test_ask_as(struct test_core *f, const struct id *user, const struct rpc_method *method, const void *request)
{
	return ask(f, user, method, request);
}

static void on_row(void *ctx, const void *message)
{
	struct test_core *f = ctx;
	size_t size = f->streamed->response_size;
	if (f->n_rows < TEST_ROWS_MAX)
		memcpy(f->rows[f->n_rows], message, size < TEST_ROW_SIZE ? size : TEST_ROW_SIZE);
	if (++f->n_rows == f->wanted)
		io_loop_stop(f->core.loop);
}

static void on_end(void *ctx, int err, const char *why)
{
	struct test_core *f = ctx;
	str_copy(str_from(why), f->end_why, sizeof f->end_why);
	f->end_err = err;
	f->over = true;
	io_loop_stop(f->core.loop);
}

static void stream(struct test_core *f, const struct id *user, const struct rpc_method *method, const void *request)
{
	static const struct rpc_call_events events = { on_row, NULL, NULL, on_end };
	f->over = false;
	f->n_rows = f->wanted = 0;
	f->streamed = method;
	f->stream = call_open(f, user, method, &events, request);
}

void test_stream(struct test_core *f, const struct rpc_method *method, const void *request)
{
	stream(f, NULL, method, request);
}

void test_stream_as(struct test_core *f, const struct id *user, const struct rpc_method *method, const void *request)
{
	stream(f, user, method, request);
}

void test_rows_await(struct test_core *f, size_t n)
{
	f->wanted = n;
	while (f->n_rows < n && !f->over)
		io_loop_run(f->core.loop);
	assert_int_equal(f->n_rows, n);
}

int test_end_await(struct test_core *f)
{
	while (!f->over)
		io_loop_run(f->core.loop);
	return f->end_err;
}

/* ---- the database ---- */

struct direct {
	struct store_job job;
	int (*body)(struct store_tx *tx, void *ctx);
	void *ctx;
	struct test_core *f;
	bool done;
};

static int direct_run(struct store_tx *tx, struct store_job *job)
{
	struct direct *direct = (struct direct *)job;
	return direct->body(tx, direct->ctx);
}

static void direct_done(struct store_job *job, int err)
{
	struct direct *direct = (struct direct *)job;
	assert_int_equal(err, 0);
	direct->done = true;
	io_loop_stop(direct->f->core.loop);
}

void test_directly(struct test_core *f, int (*body)(struct store_tx *tx, void *ctx), void *ctx)
{
	struct direct direct = { .job = { .run = direct_run, .done = direct_done }, .body = body, .ctx = ctx, .f = f };
	assert_int_equal(store_submit(f->core.store, &direct.job), 0);
	while (!direct.done)
		io_loop_run(f->core.loop);
}

struct link {
	struct user user;
	char token[ACCOUNT_LINK_SIZE];
};

static int link_body(struct store_tx *tx, void *ctx)
{
	struct link *link = ctx;
	return account_link_make(tx, &link->user.id, clock_wall_s(), link->token);
}

static int new_link_body(struct store_tx *tx, void *ctx)
{
	int err = account_add(tx, &((struct link *)ctx)->user);
	return err < 0 ? err : link_body(tx, ctx);
}

static void link_follow(struct test_core *f, const struct link *link, uint8_t ret_session[32])
{
	murmesh_LinkLogin request = { .address = "192.0.2.1" };
	str_copy(str_from(link->token), request.token, sizeof request.token);
	assert_int_equal(test_ask(f, &rpc_Console_LoginByLink, &request), 0);
	memcpy(ret_session, f->reply.session.session, 32);
}

void test_login_local(struct test_core *f, uint8_t ret_session[32])
{
	struct link link = { .user.id = f->core.local_user };
	test_directly(f, link_body, &link);
	link_follow(f, &link, ret_session);
	assert_string_equal(f->reply.session.account.name, "local");
}

void test_login_root(struct test_core *f, uint8_t ret_session[32])
{
	murmesh_SetupRequest request = { .name = "root", .password = "correct horse" };
	test_login_local(f, ret_session);
	memcpy(request.session, ret_session, 32);
	assert_int_equal(test_ask(f, &rpc_Console_Setup, &request), 0);
}

void test_login_new(struct test_core *f, const struct user *user, uint8_t ret_session[32])
{
	struct link link = { .user = *user };
	test_directly(f, new_link_body, &link);
	link_follow(f, &link, ret_session);
}

int test_step_up(struct test_core *f, const uint8_t session[32], const char *password)
{
	murmesh_StepUpRequest request = { .password = "" };
	memcpy(request.session, session, 32);
	str_copy(str_from(password), request.password, sizeof request.password);
	return test_ask(f, &rpc_Console_StepUp, &request);
}

static int device_body(struct store_tx *tx, void *ctx)
{
	struct device *device = ctx;
	int err = fleet_token_next(tx, str_from(device->name), &device->token);
	return err < 0 ? err : fleet_device_add(tx, device);
}

void test_device_add(struct test_core *f, uint8_t number, const char *name, const char *group, const char *tag)
{
	struct device device = { .id = { { number } }, .created = 1 };
	str_copy(str_from(name), device.name, sizeof device.name);
	str_copy(str_from(group), device.group, sizeof device.group);
	str_copy(str_from(tag), device.tags, sizeof device.tags);
	test_directly(f, device_body, &device);
}

/* ---- a device ---- */

static void on_frame(void *ctx, const void *message)
{
	struct test_core *f = ctx;
	f->frame = *(const murmesh_Frame *)message;
	f->welcome |= f->frame.which_body == murmesh_Frame_welcome_tag;
	io_loop_stop(f->core.loop);
}

static void on_link_end(void *ctx, int err, const char *why)
{
	struct test_core *f = ctx;
	(void)why;
	f->link_err = err;
	io_loop_stop(f->core.loop);
}

struct rpc_call *test_device_link(struct test_core *f, uint8_t number)
{
	static const struct rpc_call_events events = { on_frame, NULL, NULL, on_link_end };
	const struct identity peer = { .mesh = f->core.mesh_id, .kind = IDENTITY_NODE, .id = { { number } } };
	const murmesh_Frame hello = { .which_body = murmesh_Frame_hello_tag, .body.hello = { .os = "Debian", .arch = "x86_64" } };
	char text[IDENTITY_TEXT_SIZE];
	identity_format(&peer, text);
	const struct rpc_metadata metadata = { STR("murmesh-peer"), str_from(text) };
	f->welcome = false;
	f->link_err = 1;
	struct rpc_call *call = rpc_call_open(f->link, &rpc_MessageRouter_Link, &metadata, 1, &events, f);
	assert_non_null(call);
	assert_int_equal(rpc_call_send(call, &hello), 0);
	while (!f->welcome && f->link_err == 1)
		io_loop_run(f->core.loop);
	assert_true(f->welcome);
	return call;
}
