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

/* ---- start ---- */

static int load_identity(struct net_role *net)
{
	struct certificate_info root;
	int err = keep_load(&net->keep);
	if (err <= 0)
		return err;
	err = certificate_inspect(net->keep.root, &root);
	if (err == 0 && net->has_line && !hash_equal(root.key_hash, net->line.root_hash))
		err = -E_ENROLLED;
	if (err == 0 && net_move_load(net) < 0)
		log_warning("whether this machine was moved to another parent cannot be read: it links where it joined");
	if (err == 0 && net_relay_load(net) < 0)
		log_warning("which orders to be a relay were taken cannot be read: only signed ones are from now on");
	if (err == 0 && !net->has_line) /* kept when the enrolment is complete; until then the line names it */
		err = net_parents_load(net);
	if (err == 0)
		err = net_enter_enrolled(net);
	if (err == 0 && net_ended_load(net) < 0)
		log_warning("which relays have ended is not known until the next link: what is kept cannot be used");
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

static void on_descriptor(void *ctx, const char *name, int fd)
{
	static const struct rpc_connection_events exec = { NULL, NULL, NULL }, resolve = { NULL, NULL, NULL },
	                                          probe = { net_reports_open, NULL, NULL };
	static const struct rpc_connection_settings settings = { .server = false }, server = { .server = true };
	struct net_role *net = ctx;
	if (str_is(str_from(name), "rpc-to:exec")) {
		rpc_connection_replace(&net->exec, net->loop, fd, &settings, &exec, net);
	} else if (str_is(str_from(name), "rpc-to:resolve")) {
		rpc_connection_replace(&net->resolve, net->loop, fd, &settings, &resolve, net);
	} else if (str_is(str_from(name), "rpc-from:probe")) {
		rpc_connection_replace(&net->probe, net->loop, fd, &server, &probe, net);
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
	list_init(&net.reaching);
	list_init(&net.locating);
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
	rpc_connection_drop(&net.resolve);
	net_reaches_end(&net);
	net_locates_end(&net);
	net_parents_free(&net);
	net_hang_up(&net);
	net_rpc_legs_free(&net);
	net_relay_free(&net);
	rpc_connection_drop(&net.exec);
	rpc_connection_drop(&net.probe);
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
