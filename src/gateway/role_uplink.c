/* The uplink role: on another machine of the server it holds the connection to core's machine.  What link calls goes on there, in the name of those who
 * call, and what web calls, in the name of this machine; what core wants of relay comes over the same connection. */
#include <stdarg.h>

#include "base/err.h"
#include "base/mem.h"
#include "ca/components.h"
#include "crypto/tls.h"
#include "gateway/gateway.h"
#include "gateway/uplink.h"
#include "os/fd.h"
#include "os/log.h"
#include "os/random.h"
#include "os/socket.h"
#include "stream/stream.h"

#define DIAL_MS        10000 /* for a connection and its handshake */
#define LOOKUP_MS      15000
#define PAUSE_LEAST_MS 200
#define PAUSE_MOST_MS  15000

void uplink_report(struct uplink *uplink, const char *format, ...)
{
	char line[512];
	va_list args;
	va_start(args, format);
	vsnprintf(line, sizeof line, format, args);
	va_end(args);
	priv_report(uplink->child, str_from(line));
}

/* ---- the connection ---- */

static void tell(struct uplink *uplink, int err)
{
	void (*connected)(struct uplink * uplink, int err) = uplink->connected;
	uplink->connected = NULL;
	if (connected)
		connected(uplink, err);
}

bool uplink_is_core(const struct rpc_connection *connection)
{
	const struct certificate_info *peer = tls_peer(stream_tls(rpc_connection_stream(connection)));
	return peer && str_is(str_from(peer->common_name), GATEWAY_CORE_NAME);
}

static void on_core_ready(void *ctx)
{
	const struct uplink *uplink = ctx;
	tell(ctx, uplink_is_core(uplink->core) ? 0 : -E_CERTIFICATE_PEER);
}

/* Its calls are told by their own `closed`. */
static void on_core_closed(void *ctx, int err)
{
	struct uplink *uplink = ctx;
	rpc_connection_drop(&uplink->core);
	tell(uplink, err == -E_TIMEOUT || (err > -1000 && err < 0) ? -E_UNREACHABLE : err);
}

static int connect_to(struct uplink *uplink, struct str address, struct tls_context *tls)
{
	static const struct rpc_connection_events events = { NULL, on_core_ready, on_core_closed };
	static const struct rpc_connection_settings rpc = { .server = false, .ping_ms = RPC_PING_MS, .quiet_ms = RPC_QUIET_MS };
	static const struct stream_events none;
	struct socket_address to;
	int fd = socket_address_parse(address, uplink->core_port, &to);
	if (fd == 0)
		fd = socket_connect(&to);
	if (fd < 0)
		return -E_UNREACHABLE;
	const struct stream_settings settings = { .fd = fd, .connecting = true, .tls = tls, .handshake_ms = DIAL_MS };
	struct stream *stream = stream_new(uplink->loop, &settings, &none, NULL);
	uplink->core = stream ? rpc_connection_new(uplink->loop, stream, &rpc, &events, uplink) : NULL;
	return uplink->core ? 0 : -E_NO_MEMORY;
}

static void on_looked_up(void *ctx, int err, const char *why, const void *response)
{
	struct uplink *uplink = ctx;
	const murmesh_LookupReply *reply = response;
	struct tls_context *tls = uplink->dials;
	(void)why;
	uplink->dials = NULL;
	if (!tls) /* given up meanwhile */
		return;
	if (err == 0)
		err = reply->addresses_count ? connect_to(uplink, str_from(reply->addresses[0]), tls) : -E_NOT_FOUND;
	if (err < 0)
		tell(uplink, err);
}

static int look_up(struct uplink *uplink, struct tls_context *tls)
{
	murmesh_LookupRequest request = murmesh_LookupRequest_init_zero;
	str_copy(str_from(uplink->core_host), request.host, sizeof request.host);
	uplink->dials = tls;
	return uplink->resolve ? rpc_unary(uplink->resolve, &rpc_Resolve_Lookup, &request, LOOKUP_MS, on_looked_up, uplink)
	                       : -E_BUSY;
}

void uplink_dial(struct uplink *uplink, struct tls_context *tls, void (*connected)(struct uplink *uplink, int err))
{
	struct socket_address literal;
	struct str host = str_from(uplink->core_host);
	uplink->connected = connected;
	int err = socket_address_parse(host, 1, &literal) == 0 ? connect_to(uplink, host, tls) : look_up(uplink, tls);
	if (err < 0)
		tell(uplink, err);
}

void uplink_hang_up(struct uplink *uplink)
{
	uplink->online = false;
	uplink->connected = NULL;
	uplink->dials = NULL;
	uplink->attached = NULL;
	uplink_pairs_end(uplink);
	if (uplink->serve_retry)
		io_timer_stop(uplink->serve_retry);
	rpc_connection_drop(&uplink->serving);
	rpc_connection_drop(&uplink->core);
}

void uplink_later(struct uplink *uplink, int err, const char *why)
{
	if (uplink->online || err != uplink->told_err)
		uplink_report(uplink, "offline %s %s", err_name(err), why && *why ? why : err_text(err));
	if (uplink->online)
		uplink->pause_ms = PAUSE_LEAST_MS;
	uplink->told_err = err;
	uplink_hang_up(uplink);
	io_timer_start(uplink->retry, PAUSE_LEAST_MS / 2 + random_below(uplink->pause_ms), 0);
	uplink->pause_ms = uplink->pause_ms * 2 < PAUSE_MOST_MS ? uplink->pause_ms * 2 : PAUSE_MOST_MS;
}

/* ---- what link and web call ---- */

/* For itself. */
static bool is_own(struct str path)
{
	return str_is(path, rpc_CertificationManager_CertifyServer.path) || str_is(path, rpc_Core_Revocations.path) ||
	       str_is(path, rpc_Core_CaChanges.path);
}

static int on_open(void *ctx, struct rpc_call *call)
{
	const struct uplink *uplink = ctx;
	if (!uplink->online)
		return -E_CORE_OFFLINE;
	return rpc_call_origin(call) || is_own(rpc_call_path(call)) ? rpc_proxy(call, uplink->core) : -E_DENIED;
}

/* It says of nobody that he calls: its sessions do. */
static int on_web_open(void *ctx, struct rpc_call *call)
{
	const struct uplink *uplink = ctx;
	struct str path = rpc_call_path(call);
	bool may = str_starts(path, STR("/murmesh.Console/")) || str_is(path, rpc_Viz_Watch.path) ||
	           str_is(path, rpc_CertificationManager_CertifyServer.path) || str_is(path, rpc_Core_CaChanges.path);
	return !may ? -E_DENIED : uplink->online ? rpc_proxy(call, uplink->core) : -E_CORE_OFFLINE;
}

/* Without a collect here. */
static int on_viz_open(void *ctx, struct rpc_call *call)
{
	const struct uplink *uplink = ctx;
	bool may = str_is(rpc_call_path(call), rpc_Events_Follow.path);
	return !may ? -E_DENIED : uplink->online ? rpc_proxy(call, uplink->core) : -E_CORE_OFFLINE;
}

/* ---- the role ---- */

static void begin(struct uplink *uplink)
{
	uplink->begun = true;
	int err = uplink_load(uplink);
	if (err == 0 && !uplink->has_line)
		err = -E_KEY_LINE;
	if (err < 0)
		uplink_report(uplink, "refused %s %s", err_name(err),
		              err == -E_KEY_LINE ? "this machine is not enrolled, and there is no join line" : err_text(err));
	else if (err == 0)
		uplink_enrol(uplink);
	else
		uplink_link(uplink);
}

static void on_descriptor(void *ctx, const char *name, int fd)
{
	static const struct rpc_connection_events link_events = { on_open, NULL, NULL }, web_events = { on_web_open, NULL, NULL },
	                                          viz_events = { on_viz_open, NULL, NULL }, relay_events = { NULL, NULL, NULL },
	                                          resolve_events = { NULL, NULL, NULL };
	static const struct rpc_connection_settings serve = { .server = true,
		                                              .trusted_metadata = true,
		                                              .max_streams = GATEWAY_RELAY_CALLS },
	                                            serve_web = { .server = true, .max_streams = GATEWAY_RELAY_CALLS },
	                                            call = { .server = false };
	struct uplink *uplink = ctx;
	struct str what = str_from(name);
	if (str_is(what, "rpc-from:link")) {
		rpc_connection_replace(&uplink->link, uplink->loop, fd, &serve, &link_events, uplink);
	} else if (str_is(what, "rpc-from:web")) {
		rpc_connection_replace(&uplink->web, uplink->loop, fd, &serve_web, &web_events, uplink);
	} else if (str_is(what, "rpc-to:relay")) {
		uplink_pairs_end(uplink);
		rpc_connection_replace(&uplink->relay, uplink->loop, fd, &call, &relay_events, uplink);
		uplink_pairs(uplink);
	} else if (str_is(what, "rpc-to:resolve")) {
		rpc_connection_replace(&uplink->resolve, uplink->loop, fd, &call, &resolve_events, uplink);
	} else if (str_is(what, "rpc-from:viz")) {
		rpc_connection_replace(&uplink->viz, uplink->loop, fd, &serve_web, &viz_events, uplink);
	} else if (!providers_descriptor(&uplink->providers, name, fd))
		fd_close(fd);
	if (!uplink->begun && uplink->resolve)
		begin(uplink);
}

static int settings_read(struct uplink *uplink)
{
	struct str settings = priv_child_configuration(uplink->child);
	uplink->has_line = join_line_parse(str_setting(settings, "join"), &uplink->line) == 0;
	str_copy(str_setting(settings, "name"), uplink->name, sizeof uplink->name);
	return join_address_parse(str_setting(settings, "core"), uplink->core_host, &uplink->core_port);
}

int gateway_uplink_main(struct priv_child *child)
{
	static const struct priv_child_events events = { on_descriptor, NULL, NULL };
	static struct uplink uplink;
	uplink = (struct uplink){ .child = child, .loop = priv_child_loop(child), .pause_ms = PAUSE_LEAST_MS };
	uplink.keep = (struct keep){ .directory = priv_child_directory(child), .name = "component" };
	providers_init(&uplink.providers, uplink.loop);
	buf_init(&uplink.csr, CERTIFICATE_REQUEST_MAX);
	if (settings_read(&uplink) < 0)
		return 78;
	host_read(&uplink.host);
	tls_warm_up();
	priv_child_listen(child, &events, &uplink);
	if (priv_child_confine(child) < 0)
		return 77;
	uplink.keep.directory = priv_child_directory(child);
	int code = priv_child_run(child);
	rpc_connection_drop(&uplink.resolve);
	uplink_hang_up(&uplink);
	rpc_connection_drop(&uplink.link);
	rpc_connection_drop(&uplink.web);
	rpc_connection_drop(&uplink.viz);
	rpc_connection_drop(&uplink.relay);
	providers_done(&uplink.providers);
	io_timer_free(uplink.serve_retry);
	io_timer_free(uplink.pairs_retry);
	io_timer_free(uplink.retry);
	io_timer_free(uplink.renewal);
	tls_context_free(uplink.pin_tls);
	tls_context_free(uplink.tls);
	tls_context_free(uplink.serve_tls);
	buf_done(&uplink.csr);
	keep_done(&uplink.keep);
	mem_wipe(&uplink.line, sizeof uplink.line);
	return code;
}
