#include "web/test_web.h"

#include <errno.h>
#include <signal.h>

#include "os/log.h"

/* ---- core ---- */

static void note(struct test_web *f, const char *path, const void *request)
{
	f->asked++;
	memcpy(f->session, request, sizeof f->session);
	str_copy(str_from(path), f->last, sizeof f->last);
}

static void answer(struct test_web *f, struct rpc_call *call, const void *reply)
{
	if (f->silent)
		return;
	if (f->err < 0)
		rpc_call_finish(call, f->err, f->why);
	else
		rpc_call_reply(call, reply);
}

static void on_login(void *ctx, struct rpc_call *call, const void *request)
{
	murmesh_SessionReply reply = {
		.session = { 1 }, .expires = INT32_MAX, .has_account = true, .account = { .name = "root", .role = "viewer" }
	};
	note(ctx, "login", request);
	reply.code_wanted = str_is(str_from(((const murmesh_PasswordLogin *)request)->name), "code");
	answer(ctx, call, &reply);
}

static void on_account(void *ctx, struct rpc_call *call, const void *request)
{
	const murmesh_Account reply = { .name = "ro\"<ot", .role = "operator" };
	note(ctx, "me", request);
	answer(ctx, call, &reply);
}

static void on_done(void *ctx, struct rpc_call *call, const void *request)
{
	const murmesh_Done reply = murmesh_Done_init_zero;
	note(ctx, "done", request);
	answer(ctx, call, &reply);
}

static void on_device(void *ctx, struct rpc_call *call, const void *request)
{
	const murmesh_DeviceDetail reply = { .has_device = true,
		                             .device = { .name = "web01",
		                                         .online = ((const murmesh_DeviceRequest *)request)->device[0] != 9 } };
	note(ctx, "device", request);
	answer(ctx, call, &reply);
}

static void on_change(void *ctx, struct rpc_call *call, const void *request)
{
	const murmesh_DevicesChanged reply = { .count = 1 };
	struct test_web *f = ctx;
	note(f, "change", request);
	f->change = ((const murmesh_ConsoleDeviceChange *)request)->change;
	answer(f, call, &reply);
}

static void on_task(void *ctx, struct rpc_call *call, const void *request)
{
	const murmesh_Task reply = { .title = "uptime", .state = "running" };
	note(ctx, "task", request);
	answer(ctx, call, &reply);
}

static void on_list_request(void *ctx, const void *request)
{
	struct test_web *f = ctx;
	const murmesh_SessionRow row = { .address = "192.0.2.1" };
	struct rpc_call *call = f->streams[f->n_streams - 1];
	note(f, "sessions", request);
	int err = f->err;
	for (size_t i = 0; err == 0 && i < f->rows; i++)
		err = rpc_call_send(call, &row);
	if (!f->silent)
		rpc_call_finish(call, err, f->why);
}

static void stream_keep(struct test_web *f, struct rpc_call *call)
{
	assert_true(f->n_streams < 16);
	f->streams[f->n_streams++] = rpc_call_ref(call);
	f->stream = call;
}

static int on_list(void *ctx, struct rpc_call *call)
{
	static const struct rpc_call_events events = { on_list_request, NULL, NULL, NULL };
	stream_keep(ctx, call);
	rpc_call_accept(call, &rpc_Console_ListSessions, &events, ctx);
	return 0;
}

static void on_watch_request(void *ctx, const void *request)
{
	note(ctx, "watch", request);
}

static int on_watch(struct test_web *f, struct rpc_call *call, const struct rpc_method *method)
{
	static const struct rpc_call_events events = { on_watch_request, NULL, NULL, NULL };
	if (f->err < 0)
		return f->err;
	stream_keep(f, call);
	rpc_call_accept(call, method, &events, f);
	return 0;
}

static int on_watch_fleet(void *ctx, struct rpc_call *call)
{
	return on_watch(ctx, call, &rpc_Console_WatchFleet);
}

static int on_watch_tasks(void *ctx, struct rpc_call *call)
{
	return on_watch(ctx, call, &rpc_Console_WatchTasks);
}

static int on_watch_session(void *ctx, struct rpc_call *call)
{
	return on_watch(ctx, call, &rpc_Console_WatchSession);
}

static int on_viz_watch(void *ctx, struct rpc_call *call)
{
	return on_watch(ctx, call, &rpc_Viz_Watch);
}

static void on_watch_live(void *ctx, struct rpc_call *call, const void *request)
{
	const murmesh_LiveTicket reply = { .ticket = { 5 } };
	note(ctx, "live", request);
	answer(ctx, call, &reply);
}

static const struct rpc_service services[] = {
	{ &rpc_Console_LoginByLink, 0, on_login, NULL },
	{ &rpc_Console_LoginByPassword, 0, on_login, NULL },
	{ &rpc_Console_Me, 0, on_account, NULL },
	{ &rpc_Console_Logout, 0, on_done, NULL },
	{ &rpc_Console_GetDevice, 0, on_device, NULL },
	{ &rpc_Console_ChangeDevices, 0, on_change, NULL },
	{ &rpc_Console_StartTask, 0, on_task, NULL },
	{ &rpc_Console_CancelTask, 0, on_task, NULL },
	{ &rpc_Console_ListSessions, 0, NULL, on_list },
	{ &rpc_Console_WatchFleet, 0, NULL, on_watch_fleet },
	{ &rpc_Console_WatchTasks, 0, NULL, on_watch_tasks },
	{ &rpc_Console_WatchSession, 0, NULL, on_watch_session },
	{ &rpc_Console_WatchLive, 0, on_watch_live, NULL },
	{ &rpc_Viz_Watch, 0, NULL, on_viz_watch },
};

static int on_open(void *ctx, struct rpc_call *call)
{
	const struct rpc_service *row = rpc_service_find(services, sizeof services / sizeof *services, rpc_call_path(call));
	return row ? rpc_serve(row, call, ctx) : -E_UNSUPPORTED;
}

/* ---- set-up ---- */

static void check(struct test_web *f)
{
	if (f->done && f->done(f))
		io_loop_stop(f->loop);
}

static void on_tick(void *ctx)
{
	check(ctx);
}

static void on_watchdog(void *ctx)
{
	(void)ctx;
	fail_msg("it takes too long");
}

static void streams_drop(struct test_web *f)
{
	for (size_t i = 0; i < f->n_streams; i++)
		rpc_call_unref(f->streams[i]);
	f->n_streams = 0;
	f->stream = NULL;
}

void test_web_core_gone(struct test_web *f)
{
	if (f->web) {
		web_set_core(f->web, NULL);
		web_set_viz(f->web, NULL);
	}
	f->near = rpc_connection_free(f->near);
	f->core = rpc_connection_free(f->core);
	streams_drop(f);
}

static void on_near_closed(void *ctx, int err)
{
	struct test_web *f = ctx;
	struct rpc_connection *near = f->near;
	(void)err;
	web_set_core(f->web, NULL);
	web_set_viz(f->web, NULL);
	f->near = NULL;
	rpc_connection_free(near);
}

static void on_core_closed(void *ctx, int err)
{
	struct test_web *f = ctx;
	struct rpc_connection *core = f->core;
	(void)err;
	f->core = NULL;
	rpc_connection_free(core);
}

void test_web_core(struct test_web *f)
{
	static const struct rpc_connection_events core = { on_open, NULL, on_core_closed }, near = { NULL, NULL, on_near_closed };
	static const struct rpc_connection_settings serve = { .server = true, .max_streams = 1000 }, call = { .server = false };
	int fds[2];
	if (fd_pair_stream(fds) < 0)
		return;
	f->core = rpc_connection_plain(f->loop, fds[0], &serve, &core, f);
	f->near = rpc_connection_plain(f->loop, fds[1], &call, &near, f);
	if (f->near && f->core) {
		web_set_viz(f->web, f->near);
		web_set_core(f->web, f->near);
	}
}

int test_web_open(struct test_web *f)
{
	const struct web_settings settings = { STR("a:1"), STR(""), 1 };
	signal(SIGPIPE, SIG_IGN);
	setenv("MURMESH_LOG", "error", 1); /* failures are the point here */
	log_init("test");
	*f = (struct test_web){ .loop = io_loop_new() };
	f->watchdog = f->loop ? io_timer_new(f->loop, on_watchdog, f) : NULL;
	f->tick = f->loop ? io_timer_new(f->loop, on_tick, f) : NULL;
	f->web = f->loop ? web_new(f->loop, &settings) : NULL;
	if (!f->web || !f->watchdog || !f->tick)
		return -E_NO_MEMORY;
	test_web_core(f);
	return f->near && f->core ? 0 : -E_NO_MEMORY;
}

void test_web_close(struct test_web *f)
{
	f->web = web_free(f->web);
	test_web_core_gone(f);
	io_timer_free(f->watchdog);
	io_timer_free(f->tick);
	if (f->loop)
		io_loop_free(f->loop);
}

int test_web_setup(void **state)
{
	struct test_web *f = calloc(1, sizeof *f);
	*state = f;
	return test_web_open(f);
}

int test_web_teardown(void **state)
{
	test_web_close(*state);
	free(*state);
	return 0;
}

void test_web_run(struct test_web *f, bool (*done)(struct test_web *f))
{
	f->done = done;
	io_timer_start(f->watchdog, 30000, 0);
	io_timer_start(f->tick, 0, 1);
	if (!done(f))
		io_loop_run(f->loop);
	io_timer_stop(f->watchdog);
	io_timer_stop(f->tick);
	f->done = NULL;
}

/* ---- a client ---- */

static void on_client(void *ctx, unsigned events)
{
	struct test_client *c = ctx;
	char bytes[65536];
	ssize_t n;
	(void)events;
	while ((n = read(c->fd, bytes, sizeof bytes)) > 0) {
		c->in = realloc(c->in, c->len + (size_t)n);
		memcpy(c->in + c->len, bytes, (size_t)n);
		c->len += (size_t)n;
	}
	if (n == 0 || errno != EAGAIN) {
		c->ended = true;
		io_watch_set(c->watch, 0);
	}
	check(c->web);
}

int test_client_open(struct test_web *f, struct test_client *c)
{
	int fds[2];
	*c = (struct test_client){ .web = f, .fd = -1 };
	int err = fd_pair_stream(fds);
	if (err < 0)
		return err;
	c->fd = fds[0];
	c->watch = io_watch_new(f->loop, c->fd, on_client, c);
	if (!c->watch || io_watch_set(c->watch, IO_READABLE) < 0) {
		fd_close(fds[1]);
		return -E_NO_MEMORY;
	}
	http_accept(f->web, fds[1]);
	return 0;
}

void test_client_close(struct test_client *c)
{
	io_watch_free(c->watch);
	free(c->in);
	fd_close(c->fd);
	*c = (struct test_client){ .fd = -1 };
}

void test_client_send(struct test_client *c, const char *text)
{
	ssize_t n = write(c->fd, text, strlen(text)); /* it may be closed */
	(void)n;
}

/* Of a whole answer; 0 when there is none. */
static size_t answer_len(const struct test_client *c)
{
	struct h1_response response;
	size_t len;
	if (h1_response_parse((struct str){ c->in, c->len }, &response, &len) < 0)
		return 0;
	len += (size_t)response.fields.content_length;
	return c->len >= len ? len : 0;
}

static bool answered(struct test_web *f)
{
	return f->client->ended || answer_len(f->client);
}

void test_client_take(struct test_client *c, char *out, size_t len)
{
	if (len)
		memcpy(out, c->in, len);
	c->len -= len;
	if (c->len)
		memmove(c->in, c->in + len, c->len);
}

const char *test_ask(struct test_client *c, const char *text)
{
	static char answer_text[8 << 20];
	c->web->client = c;
	test_client_send(c, text);
	test_web_run(c->web, answered);
	size_t len = answer_len(c) ? answer_len(c) : c->len;
	assert_true(len < sizeof answer_text);
	test_client_take(c, answer_text, len);
	answer_text[len] = 0;
	return answer_text;
}

unsigned test_status(const char *answer_text)
{
	return strncmp(answer_text, "HTTP/1.1 ", 9) == 0 ? (unsigned)strtoul(answer_text + 9, NULL, 10) : 0;
}

const char *test_send(const char *method, const char *path, const char *body)
{
	static char text[8192];
	int len = snprintf(text, sizeof text,
	                   "%s %s HTTP/1.1\r\nHost: a:1\r\nOrigin: https://a:1\r\nx-murmesh: 1\r\n" TEST_COOKIE
	                   "Content-Length: %zu\r\n\r\n%s",
	                   method, path, strlen(body), body);
	assert_in_range(len, 1, sizeof text - 1);
	return text;
}
