/* An agent that is a relay: what other agents call comes from link, and goes on to the parent in their name. */
#include <errno.h>
#include <inttypes.h>

#include "agent/net.h"
#include "base/err.h"
#include "gateway/gateway.h"
#include "os/file.h"
#include "os/log.h"

#define FILE_MAX   64
#define CERTIFY_MS 15000 /* less than link waits */

/* What link and relay ask for themselves. */
static bool is_own(struct str path)
{
	return str_is(path, rpc_Core_Revocations.path) || str_is(path, rpc_Core_CaChanges.path);
}

/* ---- link's certificate: its request is signed with the machine's own key ---- */

static void on_certified(void *ctx, int err, const char *why, const void *response)
{
	struct rpc_call *call = ctx;
	if (err < 0)
		rpc_call_finish(call, err, why);
	else
		rpc_call_reply(call, response);
	rpc_call_unref(call);
}

static int request_sign(const struct key *key, murmesh_RenewRequest *request)
{
	uint8_t wanted[KEY_PUBLIC_MAX];
	size_t wanted_len, len;
	int err = certificate_request_read(request->csr.bytes, request->csr.size, wanted, &wanted_len);
	if (err == 0)
		err = key_public_write(key, request->node_key.bytes, &len);
	if (err < 0)
		return err;
	request->node_key.size = (pb_size_t)len;
	err = key_sign(key, CONTEXT_RELAY_KEY, wanted, wanted_len, request->node_signature.bytes, &len);
	request->node_signature.size = (pb_size_t)len;
	return err;
}

static void on_certificate_asked(void *ctx, struct rpc_call *call, const void *message)
{
	static murmesh_RenewRequest request;
	struct net_role *net = ctx;
	request = *(const murmesh_RenewRequest *)message;
	int err = request.kind == murmesh_CertificateKind_RELAY ? request_sign(net->keep.key, &request) : -E_DENIED;
	if (err == 0 && !net->parent)
		err = -E_RELAY_OFFLINE;
	if (err == 0)
		err = rpc_unary(net->parent, &rpc_CertificationManager_RenewCertificate, &request, CERTIFY_MS, on_certified, call);
	if (err < 0)
		rpc_call_finish(call, err, NULL);
	else
		rpc_call_ref(call);
}

/* ---- what agents below call ---- */

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
	static const struct rpc_service certificate = { .method = &rpc_CertificationManager_RenewCertificate,
		                                        .unary = on_certificate_asked };
	struct net_role *net = ctx;
	const struct rpc_origin *origin = rpc_call_origin(call);
	if (!net->online || !net->parent)
		return -E_RELAY_OFFLINE;
	if (!origin && str_is(rpc_call_path(call), certificate.method->path))
		return rpc_serve(&certificate, call, net);
	if (!origin)
		return is_own(rpc_call_path(call)) ? rpc_proxy(call, net->parent) : -E_DENIED;
	struct rpc_origin longer = *origin;
	if (longer.n_via == RPC_VIA_MAX || is_circle(net, origin))
		return -E_RELAYS;
	longer.via[longer.n_via++] = net->keep.info.identity.id;
	int err = rpc_call_set_origin(call, &longer);
	return err < 0 ? err : rpc_proxy(call, net->parent);
}

bool net_relay_descriptor(struct net_role *net, const char *name, int fd)
{
	static const struct rpc_connection_events link_events = { on_open, NULL, NULL }, relay_events = { NULL, NULL, NULL };
	static const struct rpc_connection_settings link = { .server = true,
		                                             .trusted_metadata = true,
		                                             .max_streams = GATEWAY_RELAY_CALLS },
	                                            relay = { .server = false };
	if (str_is(str_from(name), "rpc-from:link")) {
		rpc_connection_replace(&net->below, net->loop, fd, &link, &link_events, net);
	} else if (str_is(str_from(name), "rpc-to:relay")) {
		rpc_connection_replace(&net->relay, net->loop, fd, &relay, &relay_events, net);
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
static void order_take(struct net_role *net, bool enabled)
{
	if (enabled != is_relay(net))
		net_report(net, "relay %s", enabled ? "on" : "off");
}

int net_relay_load(struct net_role *net)
{
	char path[4096];
	struct buf text;
	uint64_t number = 0;
	buf_init(&text, FILE_MAX);
	int err = keep_file(&net->keep, "relay", path);
	if (err == 0)
		err = file_read(path, &text);
	if (err == 0)
		err = str_to_u64(str_setting(buf_str(&text), "created_ms"), INT64_MAX, &number);
	net->duty_ms = err == 0 ? (int64_t)number : err == -ENOENT ? 0 : 1; /* one that cannot be read says that there was one */
	buf_done(&text);
	return err == -ENOENT ? 0 : err;
}

static int duty_keep(const struct net_role *net)
{
	char path[4096], text[FILE_MAX];
	int len = snprintf(text, sizeof text, "created_ms=%" PRId64 "\n", net->duty_ms);
	int err = keep_file(&net->keep, "relay", path);
	return err < 0 ? err : file_write(path, text, (size_t)len, 0600);
}

void net_relay_order(struct net_role *net, const murmesh_RelayOrder *order)
{
	if (net->duty_ms)
		log_limited(LOG_WARNING,
		            "an order %s a relay was not taken: the server of this mesh signs them, and this one is not",
		            order->enabled ? "to be" : "not to be");
	else
		order_take(net, order->enabled);
}

void net_relay_duty(struct net_role *net, const murmesh_SignedDocument *document)
{
	murmesh_RelayDuty duty;
	int64_t before = net->duty_ms;
	int err = duty_check(net->trust, document, &duty);
	if (err == 0)
		err = net_time_order(net, duty.created_ms, net->duty_ms);
	if (err == 0) { /* one that is not kept could be undone by an older one after a restart */
		net->duty_ms = duty.created_ms;
		err = duty_keep(net);
	}
	if (err < 0) {
		net->duty_ms = before;
		log_limited(LOG_WARNING, "an order about being a relay was not taken: %s", err_text(err));
		return net_order_refuse(net, murmesh_Frame_duty_tag, err);
	}
	order_take(net, duty.enabled);
}

void net_relay_hello(const struct net_role *net, murmesh_Hello *hello)
{
	hello->relay_signed = true;
	hello->relay = is_relay(net);
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
