/* Trusted time.  Until a server of the mesh has told it, certificates count as in force; what is told then has to lie within the validity of the
 * certificate of who tells it, and not before anything that was told earlier.  A relay only passes on what a server has signed. */
#include "agent/net.h"
#include "base/err.h"
#include "stream/stream.h"

#define SLACK_S 300  /* servers of one mesh may differ */
#define AHEAD_S 3600 /* what is signed for later than this blocked all that comes after it */

static const struct certificate_info *parent_of(const struct net_role *net)
{
	return tls_peer(stream_tls(rpc_connection_stream(net->parent)));
}

int net_time_check(const struct net_role *net)
{
	return parent_of(net)->not_after + SLACK_S < net->time_least ? -E_CERTIFICATE_EXPIRED : 0;
}

static int learn(struct net_role *net, int64_t server_time)
{
	const struct certificate_info *parent = parent_of(net);
	if (server_time < parent->not_before || server_time > parent->not_after || server_time + SLACK_S < net->time_least)
		return -E_CERTIFICATE_EXPIRED;
	trusted_time_set(server_time);
	if (server_time > net->time_least)
		net->time_least = server_time;
	return 0;
}

static bool is_relay(const struct net_role *net)
{
	return parent_of(net)->identity.kind == IDENTITY_RELAY;
}

int net_time_learn(struct net_role *net, int64_t server_time)
{
	return is_relay(net) ? 0 : learn(net, server_time);
}

/* One that is not signed, or by a key that the policy in this welcome brings: the next one tells it. */
int net_time_welcome(struct net_role *net, const murmesh_Welcome *welcome)
{
	int64_t told;
	if (!is_relay(net))
		return learn(net, welcome->server_time);
	return welcome->has_time && time_check(net->trust, &welcome->time, &told) == 0 ? learn(net, told) : 0;
}

static bool is_ahead(const struct net_role *net, int64_t created_ms)
{
	int64_t now = trusted_time_or_wall();
	return created_ms / 1000 > (now > net->time_least ? now : net->time_least) + AHEAD_S;
}

int net_time_order(const struct net_role *net, int64_t created_ms, int64_t last_ms)
{
	if (is_ahead(net, created_ms))
		return -E_SIGNED_AHEAD;
	return created_ms > last_ms || is_ahead(net, last_ms) ? 0 : -E_POLICY_OLD;
}
