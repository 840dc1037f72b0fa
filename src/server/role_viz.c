/* The viz role: makes of the events of devices what browsers draw, for those whose tickets core announced. */
#include <malloc.h>

#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"
#include "io/io.h"
#include "os/fd.h"
#include "os/log.h"
#include "rpc/rpc.h"
#include "server/server.h"
#include "services.h"
#include "viz/viz.h"

#define FOLLOW_RETRY_MS 1000
#define WATCHERS_MAX    (VIZ_WATCHES_MAX + 64)

struct viz_role {
	struct priv_child *child;
	struct io_loop *loop;
	struct viz *viz;
	struct rpc_connection *core, *web, *link, *collect;
	struct io_timer *tick, *again; /* again: follows once more */
	uint64_t since;                /* the last batch */
	struct list watchers;          /* the oldest first */
	size_t n_watchers;
	bool ticking;
};

static uint64_t now_ms(const struct viz_role *role)
{
	return io_loop_now_ms(role->loop);
}

/* ---- collect ---- */

static void on_batch(void *ctx, const void *message)
{
	struct viz_role *role = ctx;
	const murmesh_EventBatch *batch = message;
	role->since = batch->sequence;
	viz_batch(role->viz, batch, now_ms(role));
}

static void on_follow_closed(void *ctx, int err, const char *why)
{
	struct viz_role *role = ctx;
	if (role->since) /* what comes next may be another collect: its store begins anew */
		viz_source_new(role->viz, now_ms(role));
	role->since = 0;
	if (err < 0 && err != -E_CLOSED)
		log_limited(LOG_WARNING, "no events: %s %s", err_text(err), why);
	if (role->collect)
		io_timer_start(role->again, FOLLOW_RETRY_MS, 0);
}

static void follow(void *ctx)
{
	static const struct rpc_call_events events = { on_batch, NULL, NULL, on_follow_closed };
	struct viz_role *role = ctx;
	const murmesh_FollowRequest request = { .since = role->since };
	if (!role->collect)
		return;
	struct rpc_call *call = rpc_call_open(role->collect, &rpc_Events_Follow, NULL, 0, &events, role);
	if (!call || rpc_call_send(call, &request) < 0 || rpc_call_half_close(call) < 0) {
		log_limited(LOG_WARNING, "collect cannot be followed");
		if (call)
			rpc_call_cancel(call);
		else
			io_timer_start(role->again, FOLLOW_RETRY_MS, 0);
	}
}

/* ---- core ---- */

static void on_announce(void *ctx, struct rpc_call *call, const void *request)
{
	struct viz_role *role = ctx;
	const murmesh_Announced reply = murmesh_Announced_init_zero;
	int err = viz_announce(role->viz, request, now_ms(role));
	if (err < 0)
		rpc_call_finish(call, err, NULL);
	else
		rpc_call_reply(call, &reply);
}

struct watcher {
	struct list node; /* in role->watchers */
	struct viz_role *role;
	struct rpc_call *call;
	struct viz_watch *watch;
};

static void on_end_watches(void *ctx, struct rpc_call *call, const void *message)
{
	struct viz_role *role = ctx;
	const murmesh_WatchesEnd *request = message;
	const murmesh_Announced reply = murmesh_Announced_init_zero;
	if (request->user.size && request->user.size != sizeof((struct id *)0)->bytes)
		return rpc_call_finish(call, -E_MESSAGE, NULL);
	viz_tickets_end(role->viz, request);
	LIST_EACH(at, &role->watchers) {
		struct watcher *watcher = LIST_ENTRY(at, struct watcher, node);
		if (watcher->watch && viz_watch_ends(watcher->watch, request))
			rpc_call_finish(watcher->call, -E_FLOW, "what may be watched has changed");
	}
	rpc_call_reply(call, &reply);
}

/* ---- web ---- */

static bool watcher_crowded(void *ctx)
{
	return rpc_call_crowded(((struct watcher *)ctx)->call);
}

static int watcher_send(void *ctx, const murmesh_LiveBatch *batch)
{
	return rpc_call_send(((struct watcher *)ctx)->call, batch);
}

static void ticking_update(struct viz_role *role)
{
	bool wanted = viz_counters(role->viz)->watches > 0;
	if (wanted && !role->ticking)
		io_timer_start(role->tick, 0, VIZ_TICK_MS);
	else if (!wanted)
		io_timer_stop(role->tick);
	role->ticking = wanted;
}

static void on_ticket(void *ctx, const void *message)
{
	static const struct viz_sink sink = { watcher_crowded, watcher_send };
	struct watcher *watcher = ctx;
	const murmesh_WatchTicket *ticket = message;
	if (watcher->watch)
		return rpc_call_finish(watcher->call, -E_PROTOCOL, NULL);
	int err = viz_watch_open(watcher->role->viz, ticket->ticket, &sink, watcher, now_ms(watcher->role), &watcher->watch);
	if (err < 0)
		return rpc_call_finish(watcher->call, err, NULL);
	ticking_update(watcher->role);
}

static void on_ticket_end(void *ctx)
{
	struct watcher *watcher = ctx;
	if (!watcher->watch)
		rpc_call_finish(watcher->call, -E_TICKET, NULL);
}

static void on_watch_closed(void *ctx, int err, const char *why)
{
	struct watcher *watcher = ctx;
	(void)err, (void)why;
	list_remove(&watcher->node);
	watcher->role->n_watchers--;
	viz_watch_close(watcher->watch);
	ticking_update(watcher->role);
	mem_free(watcher);
}

/* Who has shown no ticket yet keeps nobody out. */
static bool watcher_room(const struct viz_role *role)
{
	if (role->n_watchers < WATCHERS_MAX)
		return true;
	LIST_EACH(at, &role->watchers) {
		struct watcher *watcher = LIST_ENTRY(at, struct watcher, node);
		if (!watcher->watch && rpc_call_alive(watcher->call)) {
			rpc_call_finish(watcher->call, -E_LIMIT, NULL);
			return true;
		}
	}
	return false;
}

static int on_watch_open(void *ctx, struct rpc_call *call)
{
	static const struct rpc_call_events events = { on_ticket, on_ticket_end, NULL, on_watch_closed };
	if (!watcher_room(ctx))
		return -E_LIMIT;
	struct watcher *watcher = mem_alloc(sizeof *watcher);
	if (!watcher)
		return -E_NO_MEMORY;
	watcher->role = ctx;
	watcher->call = call;
	list_append(&watcher->role->watchers, &watcher->node);
	watcher->role->n_watchers++;
	rpc_call_accept(call, &rpc_Viz_Watch, &events, watcher);
	return 0;
}

static void on_tick(void *ctx)
{
	struct viz_role *role = ctx;
	viz_tick(role->viz, now_ms(role));
}

/* ---- the role ---- */

static const struct rpc_service of_core[] = { { &rpc_Viz_Announce, 0, on_announce, NULL },
	                                      { &rpc_Viz_EndWatches, 0, on_end_watches, NULL } };
static const struct rpc_service of_web[] = { { &rpc_Viz_Watch, 0, NULL, on_watch_open } };

static int on_core_open(void *ctx, struct rpc_call *call)
{
	const struct rpc_service *row = rpc_service_find(of_core, sizeof of_core / sizeof *of_core, rpc_call_path(call));
	return row ? rpc_serve(row, call, ctx) : -E_UNSUPPORTED;
}

static int on_web_open(void *ctx, struct rpc_call *call)
{
	const struct rpc_service *row = rpc_service_find(of_web, 1, rpc_call_path(call));
	return row ? rpc_serve(row, call, ctx) : -E_UNSUPPORTED;
}

/* Core's machine, elsewhere: its core and its webs. */
static int on_uplink_open(void *ctx, struct rpc_call *call)
{
	int err = on_core_open(ctx, call);
	return err == -E_UNSUPPORTED ? on_web_open(ctx, call) : err;
}

static void on_descriptor(void *ctx, const char *name, int fd)
{
	static const struct rpc_connection_events core_events = { on_core_open, NULL, NULL };
	static const struct rpc_connection_events uplink_events = { on_uplink_open, NULL, NULL };
	static const struct rpc_connection_events web_events = { on_web_open, NULL, NULL };
	static const struct rpc_connection_events link_events = { on_web_open, NULL, NULL }; /* of webs elsewhere */
	static const struct rpc_connection_events collect_events = { NULL, NULL, NULL };
	static const struct rpc_connection_settings from_core = { .server = true };
	static const struct rpc_connection_settings from_web = { .server = true, .max_streams = 2 * WATCHERS_MAX };
	static const struct rpc_connection_settings to_collect = { .server = false };
	struct viz_role *role = ctx;
	struct str what = str_from(name);
	if (str_is(what, "rpc-from:core")) {
		rpc_connection_replace(&role->core, role->loop, fd, &from_core, &core_events, role);
	} else if (str_is(what, "rpc-from:uplink")) {
		rpc_connection_replace(&role->core, role->loop, fd, &from_web, &uplink_events, role);
	} else if (str_is(what, "rpc-from:web")) {
		rpc_connection_replace(&role->web, role->loop, fd, &from_web, &web_events, role);
	} else if (str_is(what, "rpc-from:link")) {
		rpc_connection_replace(&role->link, role->loop, fd, &from_web, &link_events, role);
	} else if (str_is(what, "rpc-to:collect")) {
		rpc_connection_replace(&role->collect, role->loop, fd, &to_collect, &collect_events, role);
		role->since = 0; /* another collect: its store begins anew */
		viz_source_new(role->viz, now_ms(role));
		follow(role);
	} else
		fd_close(fd);
}

int server_viz_main(struct priv_child *child)
{
	static const struct priv_child_events events = { on_descriptor, NULL, NULL };
	struct viz_role role = { .child = child, .loop = priv_child_loop(child) };
	list_init(&role.watchers);
	mallopt(M_MMAP_THRESHOLD, 128 << 10); /* fixed, so that a large graph's memory goes back to the system */
	role.viz = viz_new();
	role.tick = io_timer_new(role.loop, on_tick, &role);
	role.again = io_timer_new(role.loop, follow, &role);
	if (!role.viz || !role.tick || !role.again)
		return 75;
	priv_child_listen(child, &events, &role);
	if (priv_child_confine(child) < 0)
		return 77;
	priv_child_ready(child);
	int code = priv_child_run(child);
	rpc_connection_drop(&role.web);
	rpc_connection_drop(&role.link);
	rpc_connection_drop(&role.core);
	rpc_connection_drop(&role.collect);
	io_timer_free(role.again);
	io_timer_free(role.tick);
	viz_free(role.viz);
	return code;
}
