/* The net role: everything of the agent that talks to a network, except names. */
#include <stdarg.h>

#include "agent/net.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "os/fd.h"
#include "os/file.h"
#include "os/log.h"
#include "stream/stream.h"

void net_report(struct net_role *net, const char *format, ...)
{
	char line[512];
	va_list args;
	va_start(args, format);
	vsnprintf(line, sizeof line, format, args);
	va_end(args);
	priv_report(net->child, str_from(line));
}

/* ---- names ---- */

struct lookup {
	agent_end_addresses done;
	void *ctx;
};

static void on_looked_up(void *ctx, int err, const char *why, const void *response)
{
	struct lookup *lookup = ctx;
	const murmesh_LookupReply *reply = response;
	struct str addresses[8];
	size_t n = err == 0 ? reply->addresses_count : 0;
	(void)why;
	for (size_t i = 0; i < n; i++)
		addresses[i] = str_from(reply->addresses[i]);
	lookup->done(lookup->ctx, err, addresses, n);
	mem_free(lookup);
}

int net_resolve(void *ctx, struct str host, agent_end_addresses done, void *done_ctx)
{
	struct net_role *net = ctx;
	murmesh_LookupRequest request = murmesh_LookupRequest_init_zero;
	struct socket_address literal;
	if (socket_address_parse(host, 1, &literal) == 0) {
		done(done_ctx, 0, &host, 1);
		return 0;
	}
	struct lookup *lookup = net->resolve ? mem_alloc(sizeof *lookup) : NULL;
	if (!lookup)
		return -E_BUSY;
	*lookup = (struct lookup){ done, done_ctx };
	int err = str_copy(host, request.host, sizeof request.host);
	if (err == 0)
		err = rpc_unary(net->resolve, &rpc_Resolve_Lookup, &request, 15000, on_looked_up, lookup);
	if (err < 0)
		mem_free(lookup);
	return err;
}

/* ---- the parent ---- */

struct dial {
	struct net_role *net;
	struct tls_context *tls;
	void (*connected)(struct net_role *net, int err);
};

static void (*parent_connected)(struct net_role *net, int err); /* of the dial under way; NULL when it has been told */

static void tell(struct net_role *net, int err)
{
	void (*connected)(struct net_role * net, int err) = parent_connected;
	parent_connected = NULL;
	if (connected)
		connected(net, err);
}

static void on_parent_ready(void *ctx)
{
	tell(ctx, 0);
}

static void on_parent_closed(void *ctx, int err)
{
	struct net_role *net = ctx;
	bool dialing = parent_connected != NULL;
	struct rpc_connection *parent = net->parent;
	if (dialing)
		net->parent = NULL;  /* no calls yet: `connected` tells */
	rpc_connection_free(parent); /* with calls: their `closed` tells */
	net->parent = NULL;
	if (dialing)
		tell(net, err == -E_TIMEOUT || (err > -1000 && err < 0) ? -E_UNREACHABLE : err);
}

static void on_dial_addresses(void *ctx, int err, const struct str *addresses, size_t n)
{
	static const struct rpc_connection_events events = { NULL, on_parent_ready, on_parent_closed };
	static const struct rpc_connection_settings rpc = { .server = false, .ping_ms = RPC_PING_MS, .quiet_ms = RPC_QUIET_MS };
	static const struct stream_events none;
	struct dial *dial = ctx;
	struct net_role *net = dial->net;
	struct socket_address address;
	struct stream_settings settings = { .connecting = true, .tls = dial->tls };
	parent_connected = dial->connected;
	mem_free(dial);
	if (err == 0)
		err = n ? socket_address_parse(addresses[0], net->parent_port, &address) : -E_NOT_FOUND;
	if (err == 0)
		err = str_copy(addresses[0], net->parent_address, sizeof net->parent_address);
	if (err == 0)
		err = settings.fd = socket_connect(&address);
	struct stream *stream = err < 0 ? NULL : stream_new(net->loop, &settings, &none, NULL);
	net->parent = stream ? rpc_connection_new(net->loop, stream, &rpc, &events, net) : NULL;
	if (!net->parent)
		tell(net, -E_UNREACHABLE);
}

void net_dial(struct net_role *net, struct tls_context *tls, void (*connected)(struct net_role *net, int err))
{
	struct dial *dial = mem_alloc(sizeof *dial);
	if (!dial)
		return connected(net, -E_NO_MEMORY);
	*dial = (struct dial){ net, tls, connected };
	if (net_resolve(net, str_from(net->parent_host), on_dial_addresses, dial) < 0) {
		mem_free(dial);
		connected(net, -E_UNREACHABLE);
	}
}

void net_hang_up(struct net_role *net)
{
	struct rpc_connection *parent = net->parent;
	net->parent = NULL;
	rpc_connection_free(parent);
}

/* ---- start ---- */

/* As the monitor was told, which is newer than what is kept. */
static int told_parent(struct net_role *net, struct str told)
{
	struct str port_text, host = str_cut_last(told, ':', &port_text);
	uint64_t port;
	int err = str_to_u64(port_text, 65535, &port);
	if (err == 0)
		err = str_copy(host, net->parent_host, sizeof net->parent_host);
	if (err == 0)
		net->parent_port = (uint16_t)port;
	return err;
}

static int load_parent(struct net_role *net)
{
	struct str told = str_setting(priv_child_configuration(net->child), "parent");
	if (told.len)
		return told_parent(net, told);
	char path[4096];
	struct buf text;
	uint64_t port = 0;
	buf_init(&text, 1024);
	int err = keep_file(&net->keep, "parent", path);
	if (err == 0)
		err = file_read(path, &text);
	if (err == 0)
		err = str_copy(str_setting(buf_str(&text), "host"), net->parent_host, sizeof net->parent_host);
	if (err == 0)
		err = str_to_u64(str_setting(buf_str(&text), "port"), 65535, &port);
	net->parent_port = (uint16_t)port;
	buf_done(&text);
	return err;
}

static int load_identity(struct net_role *net)
{
	struct certificate_info root;
	int err = keep_load(&net->keep);
	if (err <= 0)
		return err;
	err = certificate_inspect(net->keep.root, &root);
	if (err == 0 && net->has_line && !hash_equal(root.key_hash, net->line.root_hash))
		err = -E_ENROLLED;
	if (err == 0 && !net->has_line) /* kept when the enrolment is complete; until then the line names it */
		err = load_parent(net);
	if (err == 0)
		err = net_enter_enrolled(net);
	return err;
}

/* Once exec and resolve are connected. */
static void begin(struct net_role *net)
{
	net->begun = true;
	int err = load_identity(net);
	if (err < 0)
		net_report(net, "refused %s %s", err_name(err), err_text(err));
	else if (net->has_line)
		net_enrol(net);
	else if (net->keep.leaf)
		net_link(net);
	else
		net_report(net, "refused %s %s", err_name(-E_KEY_LINE), "this machine is not enrolled, and there is no join line");
}

static void drop(struct rpc_connection **at)
{
	struct rpc_connection *connection = *at;
	*at = NULL;
	rpc_connection_free(connection);
}

static void on_exec_closed(void *ctx, int err)
{
	(void)err;
	drop(&((struct net_role *)ctx)->exec);
}

static void on_resolve_closed(void *ctx, int err)
{
	(void)err;
	drop(&((struct net_role *)ctx)->resolve);
}

static void on_probe_closed(void *ctx, int err)
{
	(void)err;
	drop(&((struct net_role *)ctx)->probe);
}

static void on_descriptor(void *ctx, const char *name, int fd)
{
	static const struct rpc_connection_events exec = { NULL, NULL, on_exec_closed },
	                                          resolve = { NULL, NULL, on_resolve_closed },
	                                          probe = { net_reports_open, NULL, on_probe_closed };
	static const struct rpc_connection_settings settings = { .server = false }, server = { .server = true };
	struct net_role *net = ctx;
	if (str_is(str_from(name), "rpc-to:exec")) {
		drop(&net->exec);
		net->exec = rpc_connection_plain(net->loop, fd, &settings, &exec, net);
	} else if (str_is(str_from(name), "rpc-to:resolve")) {
		drop(&net->resolve);
		net->resolve = rpc_connection_plain(net->loop, fd, &settings, &resolve, net);
	} else if (str_is(str_from(name), "rpc-from:probe")) {
		drop(&net->probe);
		net->probe = rpc_connection_plain(net->loop, fd, &server, &probe, net);
	} else if (!net_relay_descriptor(net, name, fd))
		fd_close(fd);
	if (!net->begun && net->exec && net->resolve)
		begin(net);
}

int agent_net_main(struct priv_child *child)
{
	static const struct priv_child_events events = { on_descriptor, NULL, NULL };
	static struct net_role net;
	struct str settings = priv_child_configuration(child);
	net = (struct net_role){ .child = child, .loop = priv_child_loop(child) };
	list_init(&net.rpc_legs);
	net.keep = (struct keep){ .directory = priv_child_directory(child), .name = "node" };
	net.has_line = join_line_parse(str_setting(settings, "join"), &net.line) == 0;
	str_copy(str_setting(settings, "name"), net.name, sizeof net.name);
	host_read(&net.host);
	fd_limit_raise();
	tls_warm_up();
	priv_child_listen(child, &events, &net);
	if (priv_child_confine(child) < 0)
		return 77;
	net.keep.directory = priv_child_directory(child);
	priv_child_ready(child);
	int code = priv_child_run(child);
	net.link = NULL;
	net_hang_up(&net);
	net_rpc_legs_free(&net);
	net_relay_free(&net);
	drop(&net.exec);
	drop(&net.resolve);
	drop(&net.probe);
	agent_end_free(net.legs);
	map_free(net.revoked);
	trust_free(net.trust);
	io_timer_free(net.retry);
	io_timer_free(net.wait);
	io_timer_free(net.renewal);
	net_inventory_end(&net);
	net_envelope_free(&net);
	io_timer_free(net.survey);
	tls_context_free(net.pin_tls);
	tls_context_free(net.link_tls);
	tls_context_free(net.leg_tls);
	buf_done(&net.csr);
	keep_done(&net.keep);
	return code;
}
