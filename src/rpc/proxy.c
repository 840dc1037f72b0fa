/* A call passed on as it is, between a client's connection and another role's. */
#include "base/err.h"
#include "base/mem.h"
#include "rpc/connection.h"

struct proxy {
	struct rpc_call *near, *far; /* far: towards the target; both referenced */
};

static void proxy_drop(struct proxy *proxy)
{
	if (proxy->near || proxy->far)
		return;
	mem_free(proxy);
}

static void pass(struct rpc_call *from, struct rpc_call *to, const void *message)
{
	int err = to ? rpc_call_send(to, message) : -E_CLOSED;
	if (err < 0 && err != -E_CLOSED && to)
		rpc_call_cancel(to);
	if (from && to && rpc_call_crowded(to))
		rpc_call_pause(from, true);
}

static void near_message(void *ctx, const void *message)
{
	struct proxy *proxy = ctx;
	pass(proxy->near, proxy->far, message);
}

static void near_half_closed(void *ctx)
{
	struct proxy *proxy = ctx;
	if (proxy->far)
		rpc_call_half_close(proxy->far);
}

static void near_writable(void *ctx)
{
	struct proxy *proxy = ctx;
	if (proxy->far)
		rpc_call_pause(proxy->far, false);
}

static void near_closed(void *ctx, int err, const char *why)
{
	struct proxy *proxy = ctx;
	(void)err;
	(void)why;
	proxy->near = NULL;
	if (proxy->far)
		rpc_call_cancel(proxy->far);
	proxy_drop(proxy);
}

static void far_message(void *ctx, const void *message)
{
	struct proxy *proxy = ctx;
	pass(proxy->far, proxy->near, message);
}

static void far_writable(void *ctx)
{
	struct proxy *proxy = ctx;
	if (proxy->near)
		rpc_call_pause(proxy->near, false);
}

static void far_closed(void *ctx, int err, const char *why)
{
	struct proxy *proxy = ctx;
	proxy->far = NULL;
	if (proxy->near)
		rpc_call_finish(proxy->near, err, why);
	proxy_drop(proxy);
}

int rpc_proxy(struct rpc_call *call, struct rpc_connection *target)
{
	static const struct rpc_call_events near_events = { near_message, near_half_closed, near_writable, near_closed };
	static const struct rpc_call_events far_events = { far_message, NULL, far_writable, far_closed };
	static const struct rpc_method raw;
	struct rpc_metadata metadata[RPC_METADATA_MAX];
	struct origin_text text;
	char path[128];
	const struct rpc_method named = { .path = path };
	if (str_copy(rpc_call_path(call), path, sizeof path) < 0)
		return -E_UNSUPPORTED;
	struct proxy *proxy = mem_alloc(sizeof *proxy);
	if (!proxy)
		return -E_NO_MEMORY;
	size_t n = origin_write(call, &text, metadata);
	proxy->far = rpc_call_open(target, &named, metadata, n, &far_events, proxy);
	if (!proxy->far) {
		mem_free(proxy);
		return -E_BUSY;
	}
	proxy->near = call;
	proxy->far->method = &raw; /* its path has gone */
	rpc_call_accept(call, &raw, &near_events, proxy);
	return 0;
}
