/* A newer policy of the mesh: checked, kept, in use from then on, and told to exec, which checks it by itself. */
#include "agent/net.h"
#include "base/err.h"
#include "os/log.h"

#define TELL_MS 20000

static void on_told(void *ctx, int err, const char *why, const void *response)
{
	(void)ctx;
	(void)response;
	if (err < 0 && err != -E_POLICY_OLD) /* it has this one, as a rule */
		log_warning("the management part did not take the policy: %s %s", err_text(err), why);
}

/* Whenever there is a link: exec may have been away when the policy came. */
void net_policy_tell(struct net_role *net)
{
	if (net->exec && rpc_unary(net->exec, &rpc_Manager_SetPolicy, &net->keep.policy, TELL_MS, on_told, net) < 0)
		log_warning("the management part is not told the policy: %s", err_text(-E_NO_MEMORY));
}

void net_policy_take(struct net_role *net, const murmesh_SignedDocument *policy)
{
	int err = keep_policy(&net->keep, policy);
	if (err == 0)
		err = net_identity_use(net);
	if (err == 0)
		net_ended_policy(net);
	if (err == 0 && net_parents_load(net) < 0)
		log_warning("the parents of the policy are not known: one of this machine's own cannot be read");
	if (err < 0)
		log_limited(LOG_WARNING, "a policy of the mesh was not taken: %s", err_text(err));
	else
		log_info("the policy of the mesh is now version %llu", (unsigned long long)trust_version(net->trust));
	net_policy_tell(net);
}

static void on_time_set(void *ctx, int err, const char *why, const void *response)
{
	(void)ctx;
	(void)response;
	if (err < 0)
		log_warning("the management part did not take the time: %s %s", err_text(err), why);
}

void net_policy_welcome(struct net_role *net, const murmesh_Welcome *welcome)
{
	if (welcome->has_time && net->exec)
		rpc_unary(net->exec, &rpc_Manager_SetTime, &welcome->time, TELL_MS, on_time_set, net);
	if (welcome->has_policy)
		net_policy_take(net, &welcome->policy);
	else
		net_policy_tell(net);
}
