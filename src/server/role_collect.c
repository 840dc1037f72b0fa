/* The collect role: takes what devices report through link, and gives it to viz. */
#include <malloc.h>
#include <string.h>

#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"
#include "collect/collect.h"
#include "io/io.h"
#include "os/fd.h"
#include "os/log.h"
#include "rpc/rpc.h"
#include "server/server.h"
#include "services.h"

#define FOLLOWERS_MAX 4

struct collect_role {
	struct priv_child *child;
	struct io_loop *loop;
	struct collect *collect;
	struct rpc_connection *link, *viz;
	struct io_timer *tick;
	struct io_task pump; /* of all followers, once an iteration */
	struct list followers;
	size_t n_followers;
	uint64_t refused, left_out; /* as of the last line in the log */
};

/* ---- devices ---- */

struct report_stream {
	struct collect_role *role;
	struct rpc_call *call;
	struct collect_device *device; /* NULL: another stream is the device's */
};

static void on_report(void *ctx, const void *message)
{
	struct report_stream *stream = ctx;
	const murmesh_Report *report = message;
	if (stream->device)
		collect_report(stream->device, (struct str){ (const char *)report->datagrams.bytes, report->datagrams.size },
		               io_loop_now_ms(stream->role->loop));
}

static void on_report_end(void *ctx)
{
	rpc_call_finish(((struct report_stream *)ctx)->call, 0, NULL);
}

static void on_report_closed(void *ctx, int err, const char *why)
{
	struct report_stream *stream = ctx;
	(void)err, (void)why;
	if (stream->device)
		collect_close(stream->device, io_loop_now_ms(stream->role->loop));
	mem_free(stream);
}

static int on_send_open(void *ctx, struct rpc_call *call)
{
	static const struct rpc_call_events events = { on_report, on_report_end, NULL, on_report_closed };
	struct collect_role *role = ctx;
	const struct identity *peer = rpc_call_peer(call);
	if (!peer || peer->kind != IDENTITY_NODE)
		return -E_DENIED;
	struct report_stream *stream = mem_alloc(sizeof *stream);
	if (!stream)
		return -E_NO_MEMORY;
	stream->role = role;
	stream->call = call;
	int err = collect_open(role->collect, &peer->id, stream, io_loop_now_ms(role->loop), &stream->device);
	if (err < 0)
		mem_free(stream);
	else
		rpc_call_accept(call, &rpc_Reports_Send, &events, stream);
	return err;
}

static void on_send(void *ctx, struct str datagrams)
{
	static murmesh_Report report;
	struct report_stream *stream = ctx;
	report.datagrams.size = (pb_size_t)datagrams.len;
	memcpy(report.datagrams.bytes, datagrams.ptr, datagrams.len);
	if (rpc_call_send(stream->call, &report) < 0)
		log_debug("a device does not read what it is asked for");
}

static void on_superseded(void *ctx)
{
	struct report_stream *stream = ctx;
	stream->device = NULL;
	rpc_call_finish(stream->call, -E_CLOSED, "another link of this device reports");
}

static void on_appended(void *ctx)
{
	struct collect_role *role = ctx;
	io_task_schedule(role->loop, &role->pump);
}

/* ---- who follows ---- */

struct follower {
	struct list node;
	struct collect_role *role;
	struct rpc_call *call;
	struct events_cursor cursor;
	bool asked; /* where to begin is known */
};

static int batch_send(struct follower *follower, const struct events_batch *batch)
{
	static murmesh_EventBatch message;
	message.sequence = batch->sequence;
	message.missed = batch->missed;
	memcpy(message.device, batch->device.bytes, sizeof message.device);
	message.datagrams.size = (pb_size_t)batch->datagrams.len;
	memcpy(message.datagrams.bytes, batch->datagrams.ptr, batch->datagrams.len);
	message.gone = batch->gone;
	message.left_out = batch->left_out;
	message.left_out_datagrams = batch->left_out_datagrams;
	return rpc_call_send(follower->call, &message);
}

/* Not more than the follower reads; what the store forgets meanwhile is told as missed, and made good by keyframes. */
static void follower_pump(struct follower *follower)
{
	struct collect *collect = follower->role->collect;
	struct events_batch batch;
	while (follower->asked && !rpc_call_crowded(follower->call) &&
	       events_next(collect_store(collect), &follower->cursor, &batch)) {
		if (batch_send(follower, &batch) < 0)
			return rpc_call_cancel(follower->call);
		if (batch.missed)
			collect_ask_all(collect);
	}
}

static void on_pump(void *ctx)
{
	struct collect_role *role = ctx;
	LIST_EACH(at, &role->followers)
		follower_pump(LIST_ENTRY(at, struct follower, node));
}

static void on_follow_request(void *ctx, const void *message)
{
	struct follower *follower = ctx;
	const murmesh_FollowRequest *request = message;
	bool known = request->since && request->since <= events_last(collect_store(follower->role->collect));
	follower->cursor = (struct events_cursor){ .after = known ? request->since : 0 };
	follower->asked = true;
	if (!known)
		collect_ask_all(follower->role->collect);
	follower_pump(follower);
}

static void on_follow_writable(void *ctx)
{
	follower_pump(ctx);
}

static void on_follow_closed(void *ctx, int err, const char *why)
{
	struct follower *follower = ctx;
	(void)err, (void)why;
	list_remove(&follower->node);
	follower->role->n_followers--;
	mem_free(follower);
}

static int on_follow_open(void *ctx, struct rpc_call *call)
{
	static const struct rpc_call_events events = { on_follow_request, NULL, on_follow_writable, on_follow_closed };
	struct collect_role *role = ctx;
	if (role->n_followers >= FOLLOWERS_MAX) /* the newest is one that lives */
		rpc_call_finish(LIST_ENTRY(role->followers.next, struct follower, node)->call, -E_LIMIT, NULL);
	struct follower *follower = mem_alloc(sizeof *follower);
	if (!follower)
		return -E_NO_MEMORY;
	follower->role = role;
	follower->call = call;
	list_append(&role->followers, &follower->node);
	role->n_followers++;
	rpc_call_accept(call, &rpc_Events_Follow, &events, follower);
	return 0;
}

/* ---- the role ---- */

static const struct rpc_service of_link[] = { { &rpc_Reports_Send, 0, NULL, on_send_open } };
static const struct rpc_service of_viz[] = { { &rpc_Events_Follow, 0, NULL, on_follow_open } };

static int on_link_open(void *ctx, struct rpc_call *call)
{
	const struct rpc_service *row = rpc_service_find(of_link, 1, rpc_call_path(call));
	return row ? rpc_serve(row, call, ctx) : -E_UNSUPPORTED;
}

static int on_viz_open(void *ctx, struct rpc_call *call)
{
	const struct rpc_service *row = rpc_service_find(of_viz, 1, rpc_call_path(call));
	return row ? rpc_serve(row, call, ctx) : -E_UNSUPPORTED;
}

/* Core's machine, elsewhere: its link and its viz. */
static int on_uplink_open(void *ctx, struct rpc_call *call)
{
	int err = on_link_open(ctx, call);
	return err == -E_UNSUPPORTED ? on_viz_open(ctx, call) : err;
}

static void on_descriptor(void *ctx, const char *name, int fd)
{
	static const struct rpc_connection_events link_events = { on_link_open, NULL, NULL };
	static const struct rpc_connection_events uplink_events = { on_uplink_open, NULL, NULL };
	static const struct rpc_connection_events viz_events = { on_viz_open, NULL, NULL };
	static const struct rpc_connection_settings from_link = { .server = true,
		                                                  .trusted_metadata = true,
		                                                  .max_streams = COLLECT_DEVICES_MAX };
	static const struct rpc_connection_settings from_uplink = { .server = true,
		                                                    .trusted_metadata = true,
		                                                    .max_streams = COLLECT_DEVICES_MAX + 2 * FOLLOWERS_MAX };
	static const struct rpc_connection_settings from_viz = { .server = true };
	struct collect_role *role = ctx;
	if (str_is(str_from(name), "rpc-from:link")) {
		rpc_connection_replace(&role->link, role->loop, fd, &from_link, &link_events, role);
	} else if (str_is(str_from(name), "rpc-from:uplink")) {
		rpc_connection_replace(&role->link, role->loop, fd, &from_uplink, &uplink_events, role);
	} else if (str_is(str_from(name), "rpc-from:viz")) {
		rpc_connection_replace(&role->viz, role->loop, fd, &from_viz, &viz_events, role);
	} else
		fd_close(fd);
}

/* What is wrong with a device is said once, not once a datagram. */
static void refusals_log(struct collect_role *role)
{
	const struct collect_counters *counters = collect_counters(role->collect);
	enum gg_bad most = GG_OK;
	uint64_t refused = 0;
	for (enum gg_bad bad = 0; bad < GG_BADS; bad++) {
		refused += counters->bad[bad];
		most = counters->bad[bad] > counters->bad[most] ? bad : most;
	}
	if (refused > role->refused)
		log_info("%llu datagrams of devices were refused, most for: %s", (unsigned long long)(refused - role->refused),
		         gg_bad_name(most));
	if (counters->left_out > role->left_out)
		log_info("%llu datagrams were left out: a device sends more than it may",
		         (unsigned long long)(counters->left_out - role->left_out));
	role->refused = refused;
	role->left_out = counters->left_out;
}

static void on_tick(void *ctx)
{
	struct collect_role *role = ctx;
	collect_tick(role->collect, io_loop_now_ms(role->loop));
	refusals_log(role);
}

int server_collect_main(struct priv_child *child)
{
	static const struct priv_child_events events = { on_descriptor, NULL, NULL };
	static const struct collect_events collect_events = { on_send, on_superseded, on_appended };
	struct collect_role role = { .child = child, .loop = priv_child_loop(child) };
	mallopt(M_MMAP_THRESHOLD, 128 << 10); /* fixed, so that what the store forgets goes back to the system */
	list_init(&role.followers);
	io_task_init(&role.pump, on_pump, &role);
	role.collect = collect_new(&events_settings_default, &collect_events, &role);
	role.tick = io_timer_new(role.loop, on_tick, &role);
	if (!role.collect || !role.tick)
		return 75;
	priv_child_listen(child, &events, &role);
	if (priv_child_confine(child) < 0)
		return 77;
	priv_child_ready(child);
	io_timer_start(role.tick, COLLECT_TICK_MS, COLLECT_TICK_MS);
	int code = priv_child_run(child);
	rpc_connection_drop(&role.viz);
	rpc_connection_drop(&role.link);
	io_task_cancel(&role.pump);
	io_timer_free(role.tick);
	collect_free(role.collect);
	return code;
}
