/* The console's methods over a real connection, with a real database and its worker; the test is the web role and the hash role. */
#include "server/core.h"

#include "account/account.h"
#include "account/login.h"
#include "account/session.h"
#include "os/clock.h"
#include "os/fd.h"
#include "store/testing.h"

struct fixture {
	struct core core;
	struct test_store files;
	struct rpc_connection *web, *hash; /* our ends */
	/* the last answer */
	int err, end_err; /* of a unary call, of a stream */
	bool done;
	union {
		murmesh_SessionReply session;
		murmesh_Account account;
		murmesh_TotpSecret totp;
		murmesh_Done nothing;
	} reply;
	murmesh_FleetEvent events[16];
	size_t n_events, n_rows;
	size_t wanted, reply_size;
};

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
	struct fixture *f = ctx;
	struct user local;
	struct device device = { .id = { { 7 } }, .name = "web01", .token = 1, .created = 1 };
	int64_t token;
	int err = account_ensure_local(tx, 1, &local);
	f->core.local_user = local.id;
	if (err == 0)
		err = fleet_token_next(tx, STR("web01"), &token);
	return err < 0 ? err : fleet_device_add(tx, &device);
}

static void connect_pair(struct fixture *f, const struct rpc_connection_events *events, void *ctx, struct rpc_connection **server,
                         struct rpc_connection **client)
{
	static const struct rpc_connection_events quiet = { NULL, NULL, NULL };
	static const struct rpc_connection_settings serve = { .server = true }, call = { .server = false };
	int fds[2];
	assert_int_equal(fd_pair_stream(fds), 0);
	*server = rpc_connection_plain(f->core.loop, fds[0], &serve, events, ctx);
	*client = rpc_connection_plain(f->core.loop, fds[1], &call, &quiet, NULL);
	assert_true(*server && *client);
}

static int setup(void **state)
{
	static const struct rpc_connection_events console = { core_console_open, NULL, NULL },
	                                          hashing = { on_hash_open, NULL, NULL };
	static const uint8_t seed[16];
	struct fixture *f = calloc(1, sizeof *f);
	f->core.loop = io_loop_new();
	f->core.online = map_new(seed, 10);
	list_init(&f->core.watches);
	str_copy(STR("127.0.0.1:1"), f->core.address, sizeof f->core.address);
	test_store_make(&f->files, &store_schema_server);
	assert_int_equal(test_run(&f->files, first_run, f), 0);
	f->core.store = f->files.store;
	assert_int_equal(store_start_worker(f->core.store, f->core.loop), 0);
	connect_pair(f, &console, &f->core, &f->core.web, &f->web);
	connect_pair(f, &hashing, f, &f->hash, &f->core.hash);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	rpc_connection_free(f->web);
	rpc_connection_free(f->core.web);
	rpc_connection_free(f->core.hash);
	rpc_connection_free(f->hash);
	assert_true(list_empty(&f->core.watches));
	test_store_remove(&f->files);
	assert_int_equal(f->core.n_watches, 0);
	assert_int_equal(f->core.logins, 0);
	map_free(f->core.online);
	io_loop_free(f->core.loop);
	free(f);
	return 0;
}

/* ---- calls ---- */

static void on_reply(void *ctx, int err, const char *why, const void *response)
{
	struct fixture *f = ctx;
	(void)why;
	f->err = err;
	if (err == 0)
		memcpy(&f->reply, response, f->reply_size);
	io_loop_stop(f->core.loop);
}

static int ask(struct fixture *f, const struct rpc_method *method, const void *request)
{
	f->reply_size = method->response_size;
	memset(&f->reply, 0, sizeof f->reply);
	assert_int_equal(rpc_unary(f->web, method, request, 20000, on_reply, f), 0);
	io_loop_run(f->core.loop);
	return f->err;
}

static void on_event(void *ctx, const void *message)
{
	struct fixture *f = ctx;
	if (f->n_events < 16)
		f->events[f->n_events++] = *(const murmesh_FleetEvent *)message;
	if (f->n_events == f->wanted)
		io_loop_stop(f->core.loop);
}

static void on_row(void *ctx, const void *message)
{
	(void)message;
	((struct fixture *)ctx)->n_rows++;
}

static void on_end(void *ctx, int err, const char *why)
{
	struct fixture *f = ctx;
	(void)why;
	f->end_err = err;
	f->done = true;
	io_loop_stop(f->core.loop);
}

static void stream(struct fixture *f, const struct rpc_method *method, const struct rpc_call_events *events, const void *request)
{
	f->done = false;
	struct rpc_call *call = rpc_call_open(f->web, method, NULL, 0, events, f);
	assert_non_null(call);
	assert_int_equal(rpc_call_send(call, request), 0);
	rpc_call_half_close(call);
}

static const struct rpc_call_events watching = { on_event, NULL, NULL, on_end }, listing = { on_row, NULL, NULL, on_end };

/* Until so many events have come. */
static void events_await(struct fixture *f, size_t n)
{
	f->wanted = n;
	while (f->n_events < n && !f->done)
		io_loop_run(f->core.loop);
	assert_int_equal(f->n_events, n);
}

static void end_await(struct fixture *f)
{
	while (!f->done)
		io_loop_run(f->core.loop);
}

struct text {
	char text[ACCOUNT_LINK_SIZE];
	struct id user;
	enum account_role role;
};
struct direct {
	struct store_job job;
	int (*body)(struct store_tx *tx, void *ctx);
	void *ctx;
	struct fixture *f;
};

static int direct_run(struct store_tx *tx, struct store_job *job)
{
	struct direct *direct = (struct direct *)job;
	return direct->body(tx, direct->ctx);
}

static void direct_done(struct store_job *job, int err)
{
	assert_int_equal(err, 0);
	io_loop_stop(((struct direct *)job)->f->core.loop);
}

/* In the database itself. */
static void directly(struct fixture *f, int (*body)(struct store_tx *tx, void *ctx), void *ctx)
{
	struct direct direct = { .job = { .run = direct_run, .done = direct_done }, .body = body, .ctx = ctx, .f = f };
	assert_int_equal(store_submit(f->core.store, &direct.job), 0);
	io_loop_run(f->core.loop);
}

static int link_body(struct store_tx *tx, void *ctx)
{
	struct text *link = ctx;
	return account_link_make(tx, &link->user, clock_wall_s(), link->text);
}

/* A session of `local`, into session. */
static void login_local(struct fixture *f, uint8_t session[32])
{
	struct text link = { .user = f->core.local_user };
	murmesh_LinkLogin request = { .address = "192.0.2.1" };
	directly(f, link_body, &link);
	str_copy(str_from(link.text), request.token, sizeof request.token);
	assert_int_equal(ask(f, &rpc_Console_LoginByLink, &request), 0);
	assert_string_equal(f->reply.session.account.name, "local");
	memcpy(session, f->reply.session.session, 32);
	assert_int_equal(ask(f, &rpc_Console_LoginByLink, &request), -E_LOGIN_LINK);
}

static void setup_root(struct fixture *f, uint8_t session[32])
{
	murmesh_SetupRequest request = { .name = "root", .password = "correct horse" };
	login_local(f, session);
	memcpy(request.session, session, 32);
	assert_int_equal(ask(f, &rpc_Console_Setup, &request), 0);
}

/* ---- tests ---- */

static void test_first_login(void **state)
{
	struct fixture *f = *state;
	murmesh_SessionRequest me;
	murmesh_SetupRequest bad = { .name = "administrator", .password = "Administrator" };
	murmesh_PasswordLogin login = { .name = "ROOT", .password = "correct horse" };
	login_local(f, me.session);
	assert_int_equal(ask(f, &rpc_Console_Me, &me), 0);
	assert_true(f->reply.account.setup_wanted);
	assert_string_equal(f->reply.account.role, "administrator");
	memcpy(bad.session, me.session, 32);
	assert_int_equal(ask(f, &rpc_Console_Setup, &bad), -E_PASSWORD);
	str_copy(STR("a b"), bad.name, sizeof bad.name);
	assert_int_equal(ask(f, &rpc_Console_Setup, &bad), -E_NAME);
	str_copy(STR("LOCAL"), bad.name, sizeof bad.name);
	assert_int_equal(ask(f, &rpc_Console_Setup, &bad), -E_EXISTS);
	assert_int_equal(ask(f, &rpc_Console_LoginByPassword, &login), -E_LOGIN);

	setup_root(f, me.session);
	assert_string_equal(f->reply.account.name, "root");
	assert_false(f->reply.account.setup_wanted);
	assert_int_equal(ask(f, &rpc_Console_Setup, &bad), -E_EXISTS);
	memcpy(bad.session, me.session, 32); /* root's now */
	assert_int_equal(ask(f, &rpc_Console_Setup, &bad), -E_DENIED);

	assert_int_equal(ask(f, &rpc_Console_LoginByPassword, &login), 0);
	assert_string_equal(f->reply.session.account.name, "root");
	memcpy(me.session, f->reply.session.session, 32);
	assert_int_equal(ask(f, &rpc_Console_Logout, &me), 0);
	assert_int_equal(ask(f, &rpc_Console_Me, &me), -E_SESSION);
	assert_int_equal(ask(f, &rpc_Console_Logout, &me), -E_SESSION);
	str_copy(STR("correct hors"), login.password, sizeof login.password);
	assert_int_equal(ask(f, &rpc_Console_LoginByPassword, &login), -E_LOGIN);
}

static void test_no_hash_role(void **state)
{
	struct fixture *f = *state;
	murmesh_PasswordLogin login = { .name = "root", .password = "correct horse" };
	f->core.hash = rpc_connection_free(f->core.hash);
	f->hash = NULL; /* without an event for it, it goes by itself */
	assert_int_equal(ask(f, &rpc_Console_LoginByPassword, &login), -E_BUSY);
	f->core.logins = 10;
	assert_int_equal(ask(f, &rpc_Console_LoginByPassword, &login), -E_BUSY);
	f->core.logins = 0;
}

static void test_watch(void **state)
{
	struct fixture *f = *state;
	murmesh_SessionRequest me;
	murmesh_RenameRequest rename = { .device = { 7 }, .name = "db" };
	murmesh_DeviceRequest device = { .device = { 7 } };
	setup_root(f, me.session);
	memcpy(rename.session, me.session, 32);
	memcpy(device.session, me.session, 32);
	stream(f, &rpc_Console_WatchFleet, &watching, &me);
	events_await(f, 2);
	assert_string_equal(f->events[0].body.device.full_name, "web01-1");
	assert_false(f->events[0].body.device.online);
	assert_int_equal(f->events[1].which_body, murmesh_FleetEvent_complete_tag);
	assert_int_equal(f->events[1].sequence, 2);

	assert_int_equal(ask(f, &rpc_Console_RenameDevice, &rename), 0);
	events_await(f, 3);
	assert_int_equal(f->events[2].sequence, 3);
	assert_string_equal(f->events[2].body.device.full_name, "db-1");
	rename.device[0] = 8;
	assert_int_equal(ask(f, &rpc_Console_RenameDevice, &rename), -E_NOT_FOUND);

	assert_int_equal(ask(f, &rpc_Console_DeleteDevice, &device), 0);
	events_await(f, 4);
	assert_int_equal(f->events[3].which_body, murmesh_FleetEvent_removed_tag);
	assert_int_equal(f->events[3].body.removed[0], 7);
	assert_int_equal(ask(f, &rpc_Console_DeleteDevice, &device), -E_NOT_FOUND);

	assert_int_equal(ask(f, &rpc_Console_Logout, &me), 0);
	end_await(f);
	assert_int_equal(f->end_err, -E_SESSION);
	stream(f, &rpc_Console_WatchFleet, &watching, &me);
	end_await(f);
	assert_int_equal(f->end_err, -E_SESSION);
}

static int end_sessions(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	return store_exec(store_query(tx, "UPDATE sessions SET seen = 0"));
}

static void test_watch_ends_with_its_session(void **state)
{
	struct fixture *f = *state;
	murmesh_SessionRequest me;
	setup_root(f, me.session);
	stream(f, &rpc_Console_WatchFleet, &watching, &me);
	events_await(f, 2);
	core_watch_check(&f->core);
	directly(f, end_sessions, NULL);
	assert_false(f->done);
	core_watch_check(&f->core);
	end_await(f);
	assert_int_equal(f->end_err, -E_SESSION);
}

/* Nobody reads while the changes come. */
static void test_slow_watch(void **state)
{
	struct fixture *f = *state;
	murmesh_SessionRequest me;
	const struct device device = { .id = { { 9 } }, .name = "x", .token = 1 };
	setup_root(f, me.session);
	stream(f, &rpc_Console_WatchFleet, &watching, &me);
	events_await(f, 2);
	for (int i = 0; i < 100000 && !list_empty(&f->core.watches); i++)
		core_watch_device(&f->core, &device);
	assert_true(list_empty(&f->core.watches));
	f->wanted = 0;
	end_await(f);
	assert_int_equal(f->end_err, -E_FLOW);
}

static int viewer_body(struct store_tx *tx, void *ctx)
{
	struct text *link = ctx;
	struct user user = { .id = link->user, .name = "guest", .role = link->role, .created = 1 };
	int err = account_add(tx, &user);
	return err < 0 ? err : link_body(tx, ctx);
}

static void test_rights(void **state)
{
	struct fixture *f = *state;
	struct text link = { .user = { { 5 } }, .role = ACCOUNT_VIEWER };
	murmesh_LinkLogin login = { 0 };
	murmesh_SessionRequest me;
	murmesh_RenameRequest rename = { .device = { 7 }, .name = "db" };
	murmesh_DeviceRequest device = { .device = { 7 } };
	murmesh_AuditRequest audit = { 0 };
	murmesh_SetupRequest wish = { .name = "boss", .password = "correct horse" };
	directly(f, viewer_body, &link);
	str_copy(str_from(link.text), login.token, sizeof login.token);
	assert_int_equal(ask(f, &rpc_Console_LoginByLink, &login), 0);
	memcpy(me.session, f->reply.session.session, 32);
	memcpy(rename.session, me.session, 32);
	memcpy(device.session, me.session, 32);
	memcpy(audit.session, me.session, 32);
	memcpy(wish.session, me.session, 32);
	assert_int_equal(ask(f, &rpc_Console_Me, &me), 0);
	assert_false(f->reply.account.setup_wanted);
	assert_int_equal(ask(f, &rpc_Console_RenameDevice, &rename), -E_DENIED);
	assert_int_equal(ask(f, &rpc_Console_DeleteDevice, &device), -E_DENIED);
	assert_int_equal(ask(f, &rpc_Console_Setup, &wish), -E_DENIED);
	assert_int_equal(ask(f, &rpc_Console_TotpBegin, &me), -E_DENIED);
	stream(f, &rpc_Console_ListAudit, &listing, &audit);
	end_await(f);
	assert_int_equal(f->end_err, -E_DENIED);
	stream(f, &rpc_Console_WatchFleet, &watching, &me);
	events_await(f, 2);
}

static void test_audit(void **state)
{
	struct fixture *f = *state;
	murmesh_AuditRequest audit = { .limit = 0 };
	murmesh_PasswordLogin login = { .name = "nobody", .password = "x" };
	murmesh_LinkLogin link = { .token = "x" };
	setup_root(f, audit.session);
	f->core.bad_logins_since = 0;
	for (int i = 0; i < 40; i++)
		assert_int_equal(ask(f, &rpc_Console_LoginByLink, &link), -E_LOGIN_LINK);
	assert_int_equal(ask(f, &rpc_Console_LoginByPassword, &login), -E_LOGIN);
	stream(f, &rpc_Console_ListAudit, &listing, &audit);
	end_await(f);
	assert_int_equal(f->end_err, 0);
	/* login, its second use, setup, and of the failures at most 30 a minute */
	assert_in_range(f->n_rows, 32, 44);
	f->n_rows = 0;
	audit.limit = 2;
	stream(f, &rpc_Console_ListAudit, &listing, &audit);
	end_await(f);
	assert_int_equal(f->n_rows, 2);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_first_login), TEST(test_no_hash_role), TEST(test_watch), TEST(test_watch_ends_with_its_session),
		TEST(test_slow_watch),  TEST(test_rights),       TEST(test_audit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
