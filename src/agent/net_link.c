/* The control link: presence, and tunnel offers. */
#include <errno.h>

#include "agent/net.h"
#include "base/err.h"
#include "base/mem.h"
#include "os/clock.h"
#include "os/log.h"
#include "os/random.h"
#include "relay/relay.h"
#include "stream/stream.h"
#include "tunnel/udp_end.h"
#include "tunnel/udp_flow.h"

#define PAUSE_LEAST_MS 200
#define PAUSE_MOST_MS  15000
#define REVOKED_MAX    100000 /* keys of users: they are good for 12 hours, and those that have expired are not told of */
#define RPC_LEGS_MAX   512
#define RPC_LEG_CALLS  16 /* what exec cannot take yet waits here */

/* ---- legs ---- */

/* An offer that waits for the connection to its relay. */
struct offer {
	struct net_role *net;
	uint8_t preamble[RELAY_PREAMBLE];
	struct id pair;
};

static void offer_refuse(struct net_role *net, const uint8_t pair[sizeof(struct id)], int err)
{
	murmesh_Frame frame = { .which_body = murmesh_Frame_refusal_tag };
	memcpy(frame.body.refusal.pair, pair, sizeof frame.body.refusal.pair);
	frame.body.refusal.error = (uint32_t)-err;
	if (net->link)
		rpc_call_send(net->link, &frame);
}

void net_order_refuse(struct net_role *net, uint32_t order, int err)
{
	const murmesh_Frame frame = { .which_body = murmesh_Frame_order_refused_tag,
		                      .body.order_refused = { .order = order, .error = (uint32_t)-err } };
	if (net->link)
		rpc_call_send(net->link, &frame);
}

static void on_offer_reached(void *ctx, int fd)
{
	struct offer *offer = ctx;
	int err = fd;
	if (fd >= 0)
		err = agent_end_leg(offer->net->legs, fd, (struct str){ (const char *)offer->preamble, sizeof offer->preamble },
		                    &offer->pair);
	if (err < 0)
		offer_refuse(offer->net, offer->pair.bytes, err);
	mem_free(offer);
}

/* The parent's own address serves until a relay's is named. */
static void on_offer(struct net_role *net, const murmesh_TunnelOffer *message)
{
	struct offer *offer = mem_alloc(sizeof *offer);
	if (!offer)
		return offer_refuse(net, message->pair, -E_NO_MEMORY);
	offer->net = net;
	memcpy(offer->pair.bytes, message->pair, sizeof offer->pair.bytes);
	relay_preamble_write(RELAY_AGENT, message->ticket, offer->preamble);
	if (message->has_grant)
		grant_expect(net->trust, &message->grant);
	net_reach(net, str_from(net->reached.host), net->reached.port, on_offer_reached, offer);
}

struct rpc_leg {
	struct list node;
	struct net_role *net;
	struct rpc_connection *connection;
	struct udp_end *udp; /* NULL: it is no UDP map's */
	struct id pair;
};

/* What exec does for users; it checks their orders itself. */
static int on_leg_open(void *ctx, struct rpc_call *call)
{
	const struct rpc_leg *leg = ctx;
	struct str path = rpc_call_path(call);
	if (!str_is(path, rpc_Run_Start.path) && !str_is(path, rpc_Terminal_Open.path))
		return -E_UNSUPPORTED;
	if (leg->udp) /* so many streams are for datagrams alone */
		return -E_LIMIT;
	return leg->net->exec ? rpc_proxy(call, leg->net->exec) : -E_BUSY;
}

/* ---- UDP maps ---- */

/* Of one flow: the tunnel goes on. */
static void on_udp_refused(void *ctx, int err, const char *target)
{
	(void)ctx;
	log_limited(LOG_INFO, "datagrams were refused: %s %s", target, err_text(err));
}

static const struct trust *trust_now(void *ctx)
{
	return ((const struct net_role *)ctx)->trust;
}

static int on_leg_connect(void *ctx, struct h2_stream *stream, const struct h2_head *head)
{
	struct rpc_leg *leg = ctx;
	const struct udp_end_settings settings = { .user = tls_peer(stream_tls(rpc_connection_stream(leg->connection)))->identity,
		                                   .trust = trust_now,
		                                   .now = trusted_time_or_wall,
		                                   .resolve = net_resolve,
		                                   .refused = on_udp_refused,
		                                   .n_flows = &leg->net->n_udp_flows,
		                                   .ctx = leg->net };
	if (!leg->udp) {
		leg->udp = udp_end_new(leg->net->loop, &settings);
		if (leg->udp)
			rpc_connection_allow(leg->connection, UDP_FLOWS_MAX);
	}
	return leg->udp ? udp_end_request(leg->udp, stream, head) : -E_NO_MEMORY;
}

static void udp_free(struct rpc_leg *leg)
{
	uint64_t lost = leg->udp ? udp_end_lost(leg->udp) : 0;
	if (lost)
		log_limited(LOG_INFO, "%llu datagrams of a UDP map were lost here", (unsigned long long)lost);
	leg->udp = udp_end_free(leg->udp);
}

static void rpc_leg_free(struct rpc_leg *leg)
{
	udp_free(leg);
	list_remove(&leg->node);
	leg->net->n_rpc_legs--;
	rpc_connection_free(leg->connection);
	mem_free(leg);
}

static void on_leg_closed(void *ctx, int err)
{
	(void)err;
	rpc_leg_free(ctx);
}

static void on_rpc_leg(void *ctx, struct stream *stream, const struct id *pair)
{
	static const struct rpc_connection_events events = { .open = on_leg_open,
		                                             .closed = on_leg_closed,
		                                             .connect = on_leg_connect };
	static const struct rpc_connection_settings settings = {
		.server = true, .max_streams = RPC_LEG_CALLS, .ping_ms = RPC_PING_MS, .quiet_ms = RPC_QUIET_MS
	};
	struct net_role *net = ctx;
	struct rpc_leg *leg = net->n_rpc_legs < RPC_LEGS_MAX ? mem_alloc(sizeof *leg) : NULL;
	if (!leg) {
		stream_free(stream);
		return;
	}
	leg->net = net;
	leg->pair = *pair;
	list_append(&net->rpc_legs, &leg->node);
	net->n_rpc_legs++;
	leg->connection = rpc_connection_new(net->loop, stream, &settings, &events, leg);
	if (!leg->connection)
		rpc_leg_free(leg);
}

void net_rpc_legs_free(struct net_role *net)
{
	LIST_EACH(at, &net->rpc_legs)
		rpc_leg_free(LIST_ENTRY(at, struct rpc_leg, node));
}

static void on_over(struct net_role *net, const murmesh_TunnelOver *message)
{
	struct id pair;
	memcpy(pair.bytes, message->pair, sizeof pair.bytes);
	agent_end_over(net->legs, &pair);
	LIST_EACH(at, &net->rpc_legs) {
		struct rpc_leg *leg = LIST_ENTRY(at, struct rpc_leg, node);
		if (id_equal(&leg->pair, &pair))
			rpc_leg_free(leg);
	}
}

/* -E_TIMEOUT: nobody came to the other end. */
static void on_refused(void *ctx, int err, const char *target, const struct id *pair)
{
	log_limited(LOG_INFO, "a tunnel was refused: %s %s", target, err_text(err));
	if (err != -E_TIMEOUT)
		offer_refuse(ctx, pair->bytes, err);
}

/* ---- users who are shut out ---- */

static bool is_revoked(void *ctx, const uint8_t key_hash[HASH_SIZE])
{
	const struct net_role *net = ctx;
	return net->revoked && map_get(net->revoked, key_hash, HASH_SIZE);
}

static void rpc_legs_revoke(struct net_role *net, const uint8_t key_hash[HASH_SIZE])
{
	LIST_EACH(at, &net->rpc_legs) {
		struct rpc_leg *leg = LIST_ENTRY(at, struct rpc_leg, node);
		const struct certificate_info *peer = tls_peer(stream_tls(rpc_connection_stream(leg->connection)));
		if (memcmp(peer->key_hash, key_hash, HASH_SIZE) == 0)
			rpc_leg_free(leg);
	}
}

static void on_revoked(struct net_role *net, const murmesh_RevokedKeys *message)
{
	uint8_t seed[16];
	if (!net->revoked) {
		random_bytes(seed, sizeof seed);
		net->revoked = map_new(seed, REVOKED_MAX);
	}
	for (pb_size_t i = 0; i < message->key_hashes_count; i++) {
		const uint8_t *key_hash = message->key_hashes[i];
		int err = net->revoked ? map_put(net->revoked, key_hash, HASH_SIZE, net) : -E_NO_MEMORY;
		if (err < 0)
			log_limited(LOG_WARNING, "a revoked user is shut out by the server alone: %s", err_text(err));
		agent_end_revoke(net->legs, key_hash);
		rpc_legs_revoke(net, key_hash);
	}
}

/* Contexts and trust out of what is kept; those in use before stay with the connections made under them. */
int net_identity_use(struct net_role *net)
{
	static const char *const link_alpn[] = { "h2", NULL }, *const leg_alpn[] = { "http/1.1", "h2", NULL };
	const struct keep *keep = &net->keep;
	struct tls_context *link_tls = NULL, *leg_tls = NULL;
	struct trust *trust = NULL;
	struct tls_settings link = { .verify = TLS_VERIFY_REQUIRED,
		                     .leaf = keep->leaf,
		                     .intermediate = keep->intermediate,
		                     .root = keep->root,
		                     .key = keep->key,
		                     .mesh = keep->info.identity.mesh,
		                     .kinds = NET_PARENT_KINDS,
		                     .alpn = link_alpn,
		                     .now = trusted_time };
	struct tls_settings leg = link;
	leg.server = true;
	leg.now = trusted_time_or_wall;
	leg.kinds = 1u << IDENTITY_USER;
	leg.alpn = leg_alpn;
	leg.alpn_optional = true;
	leg.read_ahead = (size_t)256 << 10;
	int err = tls_context_new(&link, &link_tls);
	if (err == 0)
		err = tls_context_new(&leg, &leg_tls);
	if (err == 0)
		err = trust_new(keep->root, &keep->policy, &keep->info.identity, &trust);
	if (err < 0) {
		tls_context_free(link_tls);
		tls_context_free(leg_tls);
		return err;
	}
	if (net->legs)
		agent_end_renew(net->legs, leg_tls, trust);
	tls_context_free(net->link_tls);
	tls_context_free(net->leg_tls);
	trust_free(net->trust);
	net->link_tls = link_tls;
	net->leg_tls = leg_tls;
	net->trust = trust;
	return 0;
}

int net_enter_enrolled(struct net_role *net)
{
	int err = net_identity_use(net);
	if (err < 0)
		return err;
	const struct agent_end_settings settings = { .tls = net->leg_tls,
		                                     .trust = net->trust,
		                                     .now = trusted_time_or_wall,
		                                     .resolve = net_resolve,
		                                     .rpc = on_rpc_leg,
		                                     .revoked = is_revoked,
		                                     .refused = on_refused,
		                                     .ctx = net };
	net->legs = agent_end_new(net->loop, &settings);
	return net->legs ? 0 : -E_NO_MEMORY;
}

/* ---- the probe's reports ---- */

int net_reports_open(void *ctx, struct rpc_call *call)
{
	struct net_role *net = ctx;
	if (!str_is(rpc_call_path(call), rpc_Reports_Send.path))
		return -E_UNSUPPORTED;
	return net->online && net->parent ? rpc_proxy(call, net->parent) : -E_OFFLINE;
}

/* ---- the link ---- */

void net_link_later(struct net_role *net, int err, const char *why)
{
	bool soon = net_parent_next(net, net->online);
	if (net->online || net->pause_ms == PAUSE_LEAST_MS || err != net->told_err)
		net_report(net, "offline %s %s", err_name(err), why && *why ? why : err_text(err));
	net->told_err = err;
	net->online = false;
	net_hang_up(net);
	io_timer_start(net->retry, 50 + random_below(soon ? PAUSE_LEAST_MS : net->pause_ms), 0); /* full jitter */
	if (!soon)
		net->pause_ms = net->pause_ms * 2 < PAUSE_MOST_MS ? net->pause_ms * 2 : PAUSE_MOST_MS;
}

void net_link_again(struct net_role *net)
{
	net->online = false;
	net_hang_up(net);
	io_timer_start(net->retry, 0, 0);
}

/* The number comes to disk before its word goes back; one that is not on disk is not shown either: after a restart it would be missing. */
static int thread_go_on(struct net_role *net, uint64_t number)
{
	murmesh_Frame frame = { .which_body = murmesh_Frame_continued_tag };
	uint64_t before = net->continuation;
	net->continuation = number;
	int err = net_thread_keep(net);
	if (err < 0) {
		net->continuation = before;
		return err;
	}
	frame.body.continued.continuation = number;
	return rpc_call_send(net->link, &frame);
}

static int on_welcome(struct net_role *net, const murmesh_Welcome *welcome)
{
	int err = net_time_welcome(net, welcome);
	if (err < 0)
		return err;
	if (welcome->continuation && (err = thread_go_on(net, welcome->continuation)) < 0)
		log_warning("what the next link begins with could not be kept: %s", err_text(err));
	net->pause_ms = PAUSE_LEAST_MS;
	net->has_line = false; /* it has served; who is taken out of the mesh later stays out */
	mem_wipe(&net->line, sizeof net->line);
	if (!net->online) {
		net_report(net, "online %s", net->keep.info.common_name);
		net->parents.linked_us = clock_monotonic_us();
	}
	net->online = true;
	net_move_welcome(net);
	err = net_parents_welcome(net);
	if (err < 0)
		return err;
	net_policy_welcome(net, welcome);
	if (welcome->has_relay)
		net_relay_order(net, &welcome->relay);
	if (net_inventory_begin(net, welcome) < 0)
		log_warning("the parent is not told what this machine is made of: %s", err_text(-E_NO_MEMORY));
	net_envelope_begin(net);
	return 0;
}

static void on_ping(struct net_role *net, const murmesh_Ping *ping)
{
	const murmesh_Frame frame = { .which_body = murmesh_Frame_pong_tag, .body.pong = *ping };
	rpc_call_send(net->link, &frame); /* where there is no room it is late anyway */
}

static void on_frame(void *ctx, const void *message)
{
	struct net_role *net = ctx;
	const murmesh_Frame *frame = message;
	int err = 0;
	switch (frame->which_body) {
	case murmesh_Frame_welcome_tag:
		err = on_welcome(net, &frame->body.welcome);
		break;
	case murmesh_Frame_offer_tag:
		on_offer(net, &frame->body.offer);
		break;
	case murmesh_Frame_ping_tag:
		on_ping(net, &frame->body.ping);
		break;
	case murmesh_Frame_revoked_tag:
		on_revoked(net, &frame->body.revoked);
		break;
	case murmesh_Frame_over_tag:
		on_over(net, &frame->body.over);
		break;
	case murmesh_Frame_relay_tag:
		net_relay_order(net, &frame->body.relay);
		break;
	case murmesh_Frame_relays_ended_tag:
		net_ended_take(net, &frame->body.relays_ended);
		break;
	case murmesh_Frame_duty_tag:
		net_relay_duty(net, &frame->body.duty);
		break;
	case murmesh_Frame_forward_tag:
		net_relay_forward(net, &frame->body.forward);
		break;
	case murmesh_Frame_move_tag:
		net_move_take(net, &frame->body.move);
		break;
	case murmesh_Frame_policy_tag:
		net_policy_take(net, &frame->body.policy);
		break;
	default:
		net_envelope_frame(net, frame);
		break;
	}
	if (err < 0)
		net_link_later(net, err, NULL);
}

static void on_link_writable(void *ctx)
{
	net_envelope_send(ctx);
}

static void on_link_closed(void *ctx, int err, const char *why)
{
	struct net_role *net = ctx;
	net->link = NULL;
	net->copied |= err == -E_COPY;
	net->doubtful = err == -E_TLS; /* a client is done before the server has looked at its certificate */
	net_inventory_end(net);
	net_envelope_end(net);
	if (err == -E_REVOKED && net->has_line) /* taken out of the mesh, and told to join it again */
		return net_begin_anew(net, &net->line);
	if (net->parent)
		net_link_later(net, err < 0 ? err : -E_CLOSED, why);
}

static void on_connected(struct net_role *net, int err)
{
	static const struct rpc_call_events events = { on_frame, NULL, on_link_writable, on_link_closed };
	murmesh_Frame frame = { .which_body = murmesh_Frame_hello_tag };
	if (err == 0)
		err = net_time_check(net);
	net->doubtful = err == -E_TLS || err == -E_CERTIFICATE_EXPIRED;
	if (err < 0)
		return net_link_later(net, err, NULL);
	if (net_ended_parent(net, net->parent))
		return net_link_later(net, -E_REVOKED, NET_ENDED);
	if (net->copied)
		return net_split(net);
	murmesh_Hello *hello = &frame.body.hello;
	str_copy(STR(MURMESH_VERSION), hello->version, sizeof hello->version);
	str_copy(str_from(net->host.os), hello->os, sizeof hello->os);
	str_copy(str_from(net->host.architecture), hello->arch, sizeof hello->arch);
	str_copy(str_from(net->host.name), hello->host_name, sizeof hello->host_name);
	hello->continuation = net->continuation;
	hello->policy_version = trust_version(net->trust);
	net_relay_hello(net, hello);
	net->link = rpc_call_open(net->parent, &rpc_MessageRouter_Link, NULL, 0, &events, net);
	if (!net->link || rpc_call_send(net->link, &frame) < 0)
		net_link_later(net, -E_NO_MEMORY, NULL);
}

static void on_retry(void *ctx)
{
	struct net_role *net = ctx;
	if (net_renewal_late(net))
		net_renew_late(net);
	else
		net_dial(net, net->link_tls, on_connected);
}

void net_link(struct net_role *net)
{
	net->pause_ms = PAUSE_LEAST_MS;
	if (net_parents_load(net) < 0)
		log_warning("this machine knows one parent only: what is kept of others cannot be read");
	if (!net->retry)
		net->retry = io_timer_new(net->loop, on_retry, net);
	int err = net->retry ? net_renewal_begin(net) : -E_NO_MEMORY;
	if (err == 0)
		err = net_thread_load(net);
	if (err < 0)
		return net_report(net, "refused %s %s", err_name(err), err_text(err));
	on_retry(net);
}
