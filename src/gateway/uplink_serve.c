/* A second connection to core's machine, on which that one calls and this one serves: collect and viz, when they run here. */
#include "base/err.h"
#include "ca/components.h"
#include "gateway/uplink.h"
#include "os/log.h"
#include "os/socket.h"
#include "stream/stream.h"

#define DIAL_MS  10000
#define RETRY_MS 1000

/* For whom it is called says core's machine alone, whose certificate this is. */
static int on_open(void *ctx, struct rpc_call *call)
{
	return providers_ask(&((struct uplink *)ctx)->providers, call);
}

/* No call has come before. */
static void on_ready(void *ctx)
{
	struct uplink *uplink = ctx;
	if (uplink_is_core(uplink->serving))
		return;
	rpc_connection_drop(&uplink->serving);
	io_timer_start(uplink->serve_retry, RETRY_MS, 0);
}

static void on_closed(void *ctx, int err)
{
	struct uplink *uplink = ctx;
	rpc_connection_drop(&uplink->serving);
	log_debug("core's machine calls no more: %s", err_text(err));
	io_timer_start(uplink->serve_retry, RETRY_MS, 0);
}

static int connect_there(struct uplink *uplink)
{
	static const struct rpc_connection_events events = { on_open, on_ready, on_closed };
	static const struct rpc_connection_settings serve = { .server = true,
		                                              .trusted_metadata = true,
		                                              .max_streams = GATEWAY_RELAY_CALLS,
		                                              .ping_ms = RPC_PING_MS,
		                                              .quiet_ms = RPC_QUIET_MS };
	static const struct stream_events none;
	char host[SOCKET_ADDRESS_TEXT];
	struct socket_address to;
	socket_peer_host(stream_fd(rpc_connection_stream(uplink->core)), host);
	int fd = socket_address_parse(str_from(host), uplink->core_port, &to);
	if (fd == 0)
		fd = socket_connect(&to);
	if (fd < 0)
		return fd;
	const struct stream_settings settings = { .fd = fd, .connecting = true, .tls = uplink->serve_tls, .handshake_ms = DIAL_MS };
	struct stream *stream = stream_new(uplink->loop, &settings, &none, NULL);
	uplink->serving = stream ? rpc_connection_new(uplink->loop, stream, &serve, &events, uplink) : NULL;
	return uplink->serving ? 0 : -E_NO_MEMORY;
}

static void dial(void *ctx)
{
	struct uplink *uplink = ctx;
	if (uplink->core && !uplink->serving && connect_there(uplink) < 0)
		io_timer_start(uplink->serve_retry, RETRY_MS, 0);
}

void uplink_serve(struct uplink *uplink)
{
	struct str settings = priv_child_configuration(uplink->child);
	uint32_t roles = 0;
	ca_component_roles_parse(str_setting(settings, "roles"), &roles);
	if (!(roles & PROVIDER_ROLES) || uplink->serving)
		return;
	if (!uplink->serve_retry)
		uplink->serve_retry = io_timer_new(uplink->loop, dial, uplink);
	if (uplink->serve_retry)
		dial(uplink);
}
