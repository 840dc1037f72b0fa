#include "web/watch.h"

#include <inttypes.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "os/random.h"
#include "services.h"
#include "web/api.h"
#include "web/feed.h"
#include "web/guard.h"
#include "web/socket.h"

#define BATCH_BYTES   ((size_t)32 << 10)
#define PAUSE_BYTES   ((size_t)256 << 10) /* of a snapshot that wait for the browser: core stops */
#define WAITING_BYTES ((size_t)8 << 20)   /* that wait after it: this browser does not keep up at all */
#define AGAIN_MS      1000

/* One browser's socket. */
struct watcher {
	struct web *web;
	struct web_socket *socket;
	struct io_task flush;
	struct list subscriptions;
	size_t n;
	uint8_t session[ACCOUNT_SESSION_SIZE];
};

struct subscription {
	struct list node;   /* of its watcher, or in web->orphans */
	struct list in_web; /* in web->watching */
	struct web *web;
	struct watcher *watcher; /* NULL = an orphan */
	struct rpc_call *call;   /* referenced; NULL = to be opened (again) */
	struct changes changes;
	enum watch_channel channel;
	bool has_device;
	struct id device;
	uint8_t session[ACCOUNT_SESSION_SIZE];
	uint8_t ticket[16]; /* for viz */
	uint64_t epoch;
	uint64_t until_ms; /* of an orphan */
	bool reset;        /* to be told with the next batch */
	bool has_ticket, paused;
};

static void timer_start(struct web *web)
{
	io_timer_start(web->again, AGAIN_MS, 0);
}

/* ---- its end ---- */

static void call_drop(struct subscription *s)
{
	static const struct rpc_call_events none;
	struct rpc_call *call = s->call;
	s->call = NULL;
	if (!call)
		return;
	rpc_call_set_events(call, &none, NULL);
	rpc_call_cancel(call);
	rpc_call_unref(call);
}

static void subscription_detach(struct subscription *s)
{
	list_remove(&s->node);
	if (s->watcher)
		s->watcher->n--;
	s->watcher = NULL;
}

static void subscription_free(struct subscription *s)
{
	call_drop(s);
	subscription_detach(s);
	list_remove(&s->in_web);
	s->web->n_subscriptions--;
	feed_free(s->changes.feed);
	mem_wipe(s, sizeof *s);
	mem_free(s);
}

static json_t *device_json(bool has_device, const struct id *device)
{
	char text[ID_TEXT_SIZE];
	if (!has_device)
		return json_null();
	id_format(device, text);
	return json_string(text);
}

/* Tells the browser that it does not get what it asked for. */
static void watcher_refuse(struct watcher *watcher, const struct watch_order *order, int err, const char *why)
{
	json_t *message =
	        json_pack("{s:s, s:o, s:o}", "channel", order ? watch_channel_name(order->channel) : "", "device",
	                  device_json(order && order->has_device, order ? &order->device : NULL), "error", api_error(err, why, ""));
	char *text = message ? json_dumps(message, JSON_COMPACT) : NULL;
	if (!text || web_socket_send(watcher->socket, true, str_from(text)) < 0)
		web_socket_close(watcher->socket, SOCKET_INTERNAL, "");
	if (err == -E_SESSION)
		web_socket_close(watcher->socket, SOCKET_POLICY, err_text(err));
	free(text);
	json_decref(message);
}

static void subscription_fail(struct subscription *s, int err, const char *why)
{
	const struct watch_order order = { .channel = s->channel, .has_device = s->has_device, .device = s->device };
	struct watcher *watcher = s->watcher;
	subscription_free(s);
	if (watcher)
		watcher_refuse(watcher, &order, err, why);
}

/* ---- changes come ---- */

static void subscription_changed(struct subscription *s, int err)
{
	size_t waiting = feed_waiting(s->changes.feed);
	if (err == 0 && !s->changes.complete && waiting > PAUSE_BYTES && !s->paused) {
		s->paused = true;
		rpc_call_pause(s->call, true);
	}
	if (err < 0 || (s->changes.complete && waiting > WAITING_BYTES)) {
		if (s->watcher)
			web_socket_close(s->watcher->socket, SOCKET_AGAIN, "too much waits");
		return subscription_free(s);
	}
	if (s->watcher)
		io_task_schedule(s->web->loop, &s->watcher->flush);
}

static void on_fleet(void *ctx, const void *message)
{
	struct subscription *s = ctx;
	subscription_changed(s, changes_fleet(&s->changes, message));
}

static void on_task(void *ctx, const void *message)
{
	struct subscription *s = ctx;
	subscription_changed(s, changes_task(&s->changes, message));
}

static void on_approval(void *ctx, const void *message)
{
	struct subscription *s = ctx;
	subscription_changed(s, changes_approval(&s->changes, message));
}

static void on_map(void *ctx, const void *message)
{
	struct subscription *s = ctx;
	subscription_changed(s, changes_map(&s->changes, message));
}

static void on_live(void *ctx, const void *message)
{
	struct subscription *s = ctx;
	subscription_changed(s, changes_live(&s->changes, message));
}

static void on_live_ticket(void *ctx, const void *message)
{
	struct subscription *s = ctx;
	memcpy(s->ticket, ((const murmesh_LiveTicket *)message)->ticket, sizeof s->ticket);
	s->has_ticket = true;
}

static bool is_final(int err)
{
	return err == -E_SESSION || err == -E_DENIED || err == -E_NOT_FOUND || err == -E_UNSUPPORTED;
}

static void on_closed(void *ctx, int err, const char *why)
{
	struct subscription *s = ctx;
	rpc_call_unref(s->call);
	s->call = NULL;
	if (is_final(err))
		return subscription_fail(s, err, why);
	if (!s->watcher)
		return subscription_free(s);
	timer_start(s->web); /* core or viz was away, or we were too slow: from the beginning */
}

static void stream_open(struct subscription *s, struct rpc_connection *target, const struct rpc_method *method,
                        const struct rpc_call_events *events, const void *request)
{
	struct rpc_call *call = target ? rpc_call_open(target, method, NULL, 0, events, s) : NULL;
	if (!call)
		return timer_start(s->web);
	s->call = rpc_call_ref(call);
	if (rpc_call_send(call, request) < 0 || rpc_call_half_close(call) < 0) {
		call_drop(s);
		timer_start(s->web);
	}
}

static void on_live_ticket_closed(void *ctx, int err, const char *why)
{
	static const struct rpc_call_events events = { on_live, NULL, NULL, on_closed };
	struct subscription *s = ctx;
	murmesh_WatchTicket request = murmesh_WatchTicket_init_zero;
	if (err < 0 || !s->has_ticket)
		return on_closed(s, err, why);
	rpc_call_unref(s->call);
	s->call = NULL;
	memcpy(request.ticket, s->ticket, sizeof request.ticket);
	stream_open(s, s->web->viz, &rpc_Viz_Watch, &events, &request);
}

/* From the beginning: the browser forgets what it had. */
static void subscription_open(struct subscription *s)
{
	static const struct rpc_call_events fleet = { on_fleet, NULL, NULL, on_closed }, tasks = { on_task, NULL, NULL, on_closed },
	                                    approvals = { on_approval, NULL, NULL, on_closed },
	                                    maps = { on_map, NULL, NULL, on_closed },
	                                    live = { on_live_ticket, NULL, NULL, on_live_ticket_closed };
	murmesh_SessionRequest me;
	murmesh_LiveRequest live_request = murmesh_LiveRequest_init_zero;
	feed_clear(s->changes.feed);
	s->changes.complete = s->has_ticket = s->paused = false;
	s->reset = true;
	random_bytes(&s->epoch, sizeof s->epoch);
	memcpy(me.session, s->session, sizeof me.session);
	memcpy(live_request.session, s->session, sizeof live_request.session);
	live_request.device.size = s->has_device ? sizeof s->device.bytes : 0;
	memcpy(live_request.device.bytes, s->device.bytes, live_request.device.size);
	if (s->channel == WATCH_FLEET)
		stream_open(s, s->web->core, &rpc_Console_WatchFleet, &fleet, &me);
	else if (s->channel == WATCH_TASKS)
		stream_open(s, s->web->core, &rpc_Console_WatchTasks, &tasks, &me);
	else if (s->channel == WATCH_APPROVALS)
		stream_open(s, s->web->core, &rpc_Console_WatchApprovals, &approvals, &me);
	else if (s->channel == WATCH_MAPS)
		stream_open(s, s->web->core, &rpc_Console_WatchMaps, &maps, &me);
	else
		stream_open(s, s->web->core, &rpc_Console_WatchLive, &live, &live_request);
	mem_wipe(&me, sizeof me);
	mem_wipe(&live_request, sizeof live_request);
}

/* ---- and go ---- */

static int batch_send(struct subscription *s)
{
	struct buf events, message;
	uint64_t last;
	char device[ID_TEXT_SIZE];
	buf_init(&events, SOCKET_QUEUE_MAX);
	buf_init(&message, SOCKET_QUEUE_MAX);
	int err = feed_take(s->changes.feed, BATCH_BYTES, &events, &last);
	if (err == 0)
		err = buf_printf(&message, "{\"channel\":\"%s\",", watch_channel_name(s->channel));
	id_format(&s->device, device);
	if (err == 0 && s->channel == WATCH_LIVE)
		err = s->has_device ? buf_printf(&message, "\"device\":\"%s\",", device) : buf_printf(&message, "\"device\":null,");
	if (err == 0)
		err = buf_printf(&message, "\"epoch\":\"%016" PRIx64 "\",\"seq\":%" PRIu64 ",%s\"events\":[", s->epoch, last,
		                 s->reset ? "\"reset\":true," : "");
	if (err == 0)
		err = buf_append_str(&message, buf_str(&events));
	if (err == 0)
		err = buf_append_str(&message, STR("]}"));
	if (err == 0)
		err = web_socket_send(s->watcher->socket, true, buf_str(&message));
	s->reset = s->reset && err < 0;
	buf_done(&events);
	buf_done(&message);
	return err;
}

static void on_flush(void *ctx)
{
	struct watcher *watcher = ctx;
	LIST_EACH(at, &watcher->subscriptions) {
		struct subscription *s = LIST_ENTRY(at, struct subscription, node);
		while (feed_waiting(s->changes.feed) && !web_socket_crowded(watcher->socket))
			if (batch_send(s) < 0)
				return web_socket_close(watcher->socket, SOCKET_INTERNAL, "");
		if (s->paused && feed_waiting(s->changes.feed) < PAUSE_BYTES / 2) {
			s->paused = false;
			if (s->call)
				rpc_call_pause(s->call, false);
		}
	}
}

/* ---- what browsers ask for ---- */

static struct subscription *orphan_oldest(struct web *web)
{
	return list_empty(&web->orphans) ? NULL : LIST_ENTRY(web->orphans.next, struct subscription, node);
}

static void subscription_attach(struct subscription *s, struct watcher *watcher)
{
	subscription_detach(s);
	s->watcher = watcher;
	watcher->n++;
	list_append(&watcher->subscriptions, &s->node);
	io_task_schedule(watcher->web->loop, &watcher->flush);
}

static bool fits(const struct subscription *s, const struct watch_order *order)
{
	return s->channel == order->channel && s->has_device == order->has_device && id_equal(&s->device, &order->device);
}

static struct subscription *subscription_of(struct watcher *watcher, const struct watch_order *order)
{
	LIST_EACH(at, &watcher->subscriptions) {
		struct subscription *s = LIST_ENTRY(at, struct subscription, node);
		if (fits(s, order))
			return s;
	}
	return NULL;
}

/* The one that this browser had before its socket went, or is about to go. */
static struct subscription *subscription_resume(struct watcher *watcher, const struct watch_order *order)
{
	LIST_EACH(at, &watcher->web->watching) {
		struct subscription *s = LIST_ENTRY(at, struct subscription, in_web);
		if (s->epoch == order->epoch && fits(s, order) && session_equal(s->session, watcher->session) && s->call)
			return feed_resume(s->changes.feed, order->since) == 0 ? s : NULL;
	}
	return NULL;
}

static int subscription_new(struct watcher *watcher, const struct watch_order *order)
{
	struct web *web = watcher->web;
	if (watcher->n >= WATCH_PER_SOCKET)
		return -E_LIMIT;
	if (web->n_subscriptions >= WATCH_MAX && orphan_oldest(web))
		subscription_free(orphan_oldest(web));
	if (web->n_subscriptions >= WATCH_MAX)
		return -E_BUSY;
	struct subscription *s = mem_alloc(sizeof *s);
	struct feed *feed = feed_new();
	if (!s || !feed) {
		mem_free(s);
		feed_free(feed);
		return -E_NO_MEMORY;
	}
	s->web = web;
	s->changes.feed = feed;
	s->channel = order->channel;
	s->has_device = order->has_device;
	s->device = order->device;
	memcpy(s->session, watcher->session, sizeof s->session);
	list_init(&s->node);
	list_append(&web->watching, &s->in_web);
	web->n_subscriptions++;
	subscription_attach(s, watcher);
	subscription_open(s);
	return 0;
}

static void on_message(void *ctx, bool text, struct str bytes)
{
	struct watcher *watcher = ctx;
	struct watch_order order;
	char why[JSON_WHY_SIZE] = "";
	if (!text)
		return web_socket_close(watcher->socket, SOCKET_UNSUPPORTED, "text is wanted");
	int err = watch_order_read(bytes, &order, why);
	if (err < 0)
		return watcher_refuse(watcher, NULL, err, why);
	struct subscription *kept = order.subscribe && order.has_since ? subscription_resume(watcher, &order) : NULL;
	struct subscription *old = subscription_of(watcher, &order);
	if (old && old != kept)
		subscription_free(old);
	if (kept)
		subscription_attach(kept, watcher);
	else if (order.subscribe)
		err = subscription_new(watcher, &order);
	if (err < 0)
		watcher_refuse(watcher, &order, err, NULL);
}

static void on_socket_writable(void *ctx)
{
	on_flush(ctx);
}

static void on_socket_closed(void *ctx, unsigned code)
{
	struct watcher *watcher = ctx;
	struct web *web = watcher->web;
	(void)code;
	io_task_cancel(&watcher->flush);
	LIST_EACH(at, &watcher->subscriptions) {
		struct subscription *s = LIST_ENTRY(at, struct subscription, node);
		if (!s->call || code == SOCKET_NORMAL) {
			subscription_free(s);
			continue;
		}
		subscription_detach(s);
		s->until_ms = io_loop_now_ms(web->loop) + WATCH_WAIT_MS;
		list_append(&web->orphans, &s->node);
		timer_start(web);
	}
	mem_wipe(watcher, sizeof *watcher);
	mem_free(watcher);
}

void watch_open(struct web *web, struct web_socket *socket, const uint8_t session[ACCOUNT_SESSION_SIZE])
{
	static const struct web_socket_events events = { on_message, on_socket_writable, on_socket_closed };
	struct watcher *watcher = mem_alloc(sizeof *watcher);
	if (!watcher)
		return web_socket_close(socket, SOCKET_INTERNAL, "");
	watcher->web = web;
	watcher->socket = socket;
	list_init(&watcher->subscriptions);
	io_task_init(&watcher->flush, on_flush, watcher);
	memcpy(watcher->session, session, sizeof watcher->session);
	web_socket_set_events(socket, &events, watcher);
}

/* ---- time ---- */

static void open_again(struct web *web)
{
	LIST_EACH(at, &web->watching) {
		struct subscription *s = LIST_ENTRY(at, struct subscription, in_web);
		if (!s->call)
			subscription_open(s);
	}
}

void watch_core_changed(struct web *web)
{
	open_again(web);
}

void watch_timer(void *ctx)
{
	struct web *web = ctx;
	struct subscription *s;
	while ((s = orphan_oldest(web)) && s->until_ms <= io_loop_now_ms(web->loop))
		subscription_free(s);
	if (s)
		timer_start(web);
	guard_core_changed(web);
	open_again(web);
}

void watch_free_all(struct web *web)
{
	LIST_EACH(at, &web->watching)
		subscription_free(LIST_ENTRY(at, struct subscription, in_web));
}
