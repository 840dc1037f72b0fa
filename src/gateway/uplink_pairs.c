/* What the relay here tells of its tunnels (Relay.Watch) goes to core, as long as this machine is attached. */
#include "base/err.h"
#include "gateway/uplink.h"

#define RETRY_MS 1000

void uplink_pairs_end(struct uplink *uplink)
{
	static const struct rpc_call_events none;
	struct rpc_call *call = uplink->pairs;
	uplink->pairs = NULL;
	if (uplink->pairs_retry)
		io_timer_stop(uplink->pairs_retry);
	if (!call)
		return;
	rpc_call_set_events(call, &none, NULL);
	rpc_call_cancel(call);
	rpc_call_unref(call);
}

static void later(struct uplink *uplink)
{
	uplink_pairs_end(uplink);
	if (uplink->pairs_retry && uplink->relay)
		io_timer_start(uplink->pairs_retry, RETRY_MS, 0);
}

/* What core does not take now it is told by the beginning of another watch. */
static void on_reports(void *ctx, const void *message)
{
	struct uplink *uplink = ctx;
	murmesh_ComponentReport report = { .which_body = murmesh_ComponentReport_pairs_tag,
		                           .body.pairs = *(const murmesh_PairReports *)message };
	if (!uplink->attached || rpc_call_send(uplink->attached, &report) < 0)
		later(uplink);
}

static void on_closed(void *ctx, int err, const char *why)
{
	struct uplink *uplink = ctx;
	(void)err;
	(void)why;
	rpc_call_unref(uplink->pairs);
	uplink->pairs = NULL;
	later(uplink);
}

static void on_retry(void *ctx)
{
	uplink_pairs(ctx);
}

void uplink_pairs(struct uplink *uplink)
{
	static const struct rpc_call_events events = { on_reports, NULL, NULL, on_closed };
	const murmesh_PairsWatch request = murmesh_PairsWatch_init_zero;
	uplink_pairs_end(uplink);
	if (!uplink->online || !uplink->relay)
		return;
	if (!uplink->pairs_retry)
		uplink->pairs_retry = io_timer_new(uplink->loop, on_retry, uplink);
	struct rpc_call *call = rpc_call_open(uplink->relay, &rpc_Relay_Watch, NULL, 0, &events, uplink);
	if (!call)
		return later(uplink);
	uplink->pairs = rpc_call_ref(call);
	if (rpc_call_send(call, &request) < 0 || rpc_call_half_close(call) < 0)
		later(uplink);
}
