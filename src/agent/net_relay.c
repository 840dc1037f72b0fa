/* An agent that is a relay: what other agents call comes from link, and goes on to the parent in their name. */
#include "agent/net.h"
#include "base/err.h"
#include "os/log.h"

#define CALLS_MAX 50000

/* What link and relay ask for themselves. */
static bool is_own(struct str path)
{
	return str_is(path, rpc_CertificationManager_RenewCertificate.path) || str_is(path, rpc_Core_Revocations.path) ||
	       str_is(path, rpc_Core_CaChanges.path);
}

/* The call, or a relay before, is this machine's own: somebody below it is its parent, or would be. */
static bool is_circle(const struct net_role *net, const struct rpc_origin *origin)
{
	const struct id *own = &net->keep.info.identity.id;
	bool is = origin->has_peer && id_equal(&origin->peer.id, own);
	for (size_t i = 0; i < origin->n_via; i++)
		is |= id_equal(&origin->via[i], own);
	return is;
}

static int on_open(void *ctx, struct rpc_call *call)
{
	const struct net_role *net = ctx;
	const struct rpc_origin *origin = rpc_call_origin(call);
	if (!net->online || !net->parent)
		return -E_RELAY_OFFLINE;
	if (!origin)
		return is_own(rpc_call_path(call)) ? rpc_proxy(call, net->parent) : -E_DENIED;
	struct rpc_origin longer = *origin;
	if (longer.n_via == RPC_VIA_MAX || is_circle(net, origin))
		return -E_RELAYS;
	longer.via[longer.n_via++] = net->keep.info.identity.id;
	int err = rpc_call_set_origin(call, &longer);
	return err < 0 ? err : rpc_proxy(call, net->parent);
}

static void on_link_gone(void *ctx, int err)
{
	(void)err;
	rpc_connection_drop(&((struct net_role *)ctx)->below);
}

static void on_relay_gone(void *ctx, int err)
{
	(void)err;
	rpc_connection_drop(&((struct net_role *)ctx)->relay);
}

bool net_relay_descriptor(struct net_role *net, const char *name, int fd)
{
	static const struct rpc_connection_events link_events = { on_open, NULL, on_link_gone },
	                                          relay_events = { NULL, NULL, on_relay_gone };
	static const struct rpc_connection_settings link = { .server = true, .trusted_metadata = true, .max_streams = CALLS_MAX },
	                                            relay = { .server = false };
	if (str_is(str_from(name), "rpc-from:link")) {
		rpc_connection_drop(&net->below);
		net->below = rpc_connection_plain(net->loop, fd, &link, &link_events, net);
	} else if (str_is(str_from(name), "rpc-to:relay")) {
		rpc_connection_drop(&net->relay);
		net->relay = rpc_connection_plain(net->loop, fd, &relay, &relay_events, net);
	} else
		return false;
	return true;
}

void net_relay_free(struct net_role *net)
{
	rpc_connection_drop(&net->below);
	rpc_connection_drop(&net->relay);
}

/* Or will be, when its port is free. */
static bool is_relay(const struct net_role *net)
{
	return !str_is(str_setting(priv_child_configuration(net->child), "relay"), "no");
}

/* The monitor begins again with more roles, or fewer, unless its configuration says otherwise. */
void net_relay_order(struct net_role *net, const murmesh_RelayOrder *order)
{
	if (order->enabled != is_relay(net))
		net_report(net, "relay %s", order->enabled ? "on" : "off");
}

void net_relay_hello(const struct net_role *net, murmesh_Hello *hello)
{
	if (is_relay(net))
		str_copy(str_setting(priv_child_configuration(net->child), "relay_address"), hello->relay_address,
		         sizeof hello->relay_address);
}

static void on_expected(void *ctx, int err, const char *why, const void *response)
{
	(void)ctx;
	(void)response;
	if (err < 0)
		log_limited(LOG_WARNING, "a tunnel cannot go on to the parent: %s %s", err_text(err), why);
}

void net_relay_forward(struct net_role *net, const murmesh_TunnelForward *message)
{
	murmesh_Forwarding forwarding = { .lifetime_s = message->lifetime_s, .port = net->reached.port };
	memcpy(forwarding.pair, message->pair, sizeof forwarding.pair);
	memcpy(forwarding.agent_hash, message->agent_hash, sizeof forwarding.agent_hash);
	str_copy(str_from(net->parent_address), forwarding.address, sizeof forwarding.address);
	bool can = net->relay && !str_setting(priv_child_configuration(net->child), "proxy").len; /* relay knows no proxy */
	int err = can ? rpc_unary(net->relay, &rpc_Relay_Forward, &forwarding, 5000, on_expected, net) : -E_UNSUPPORTED;
	if (err < 0)
		on_expected(net, err, "", NULL);
}
