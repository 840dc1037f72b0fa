/* The parent: which ones there are, in which order, dialing one, another when it is dead, and back to a better one. */
#include <pb_decode.h>

#include "agent/net.h"
#include "base/err.h"
#include "base/mem.h"
#include "os/clock.h"
#include "os/fd.h"
#include "os/file.h"
#include "os/log.h"
#include "os/random.h"
#include "stream/stream.h"

#define ALONE_MS    10000 /* for a connection and its handshake */
#define SEVERAL_MS  4000  /* where there is another */
#define RETURN_ASKS 10000
#define LASTED_US   5000000 /* a link that is held so long was one */
#define MOVE_MS     5000    /* until it is asked again */

/* ---- the list ---- */

bool net_parent_same(const struct net_parent *a, const struct net_parent *b)
{
	return a->port == b->port && str_is(str_from(a->host), b->host);
}

static void parent_add(struct net_parents *parents, const struct net_parent *parent)
{
	for (size_t i = 0; i < parents->n; i++)
		if (net_parent_same(&parents->all[i], parent))
			return;
	if (parents->n < NET_PARENTS)
		parents->all[parents->n++] = *parent;
}

/* Of the join line, kept when the enrolment was complete. */
static int kept_read(const struct net_role *net, struct net_parent *ret)
{
	char path[4096];
	struct buf text;
	uint64_t port = 0;
	buf_init(&text, 1024);
	int err = keep_file(&net->keep, "parent", path);
	if (err == 0)
		err = file_read(path, &text);
	if (err == 0)
		err = str_copy(str_setting(buf_str(&text), "host"), ret->host, sizeof ret->host);
	if (err == 0)
		err = str_to_u64(str_setting(buf_str(&text), "port"), 65535, &port);
	ret->port = (uint16_t)port;
	buf_done(&text);
	return err;
}

/* It was checked when it was taken. */
static void policy_add(struct net_role *net)
{
	static murmesh_Policy policy;
	const murmesh_SignedDocument *kept = &net->keep.policy;
	struct net_parent parent;
	pb_istream_t in = pb_istream_from_buffer(kept->document.bytes, kept->document.size);
	policy = (murmesh_Policy)murmesh_Policy_init_zero;
	if (!pb_decode(&in, murmesh_Policy_fields, &policy))
		return;
	for (pb_size_t i = 0; i < policy.parents_count; i++)
		if (join_address_parse(str_from(policy.parents[i]), parent.host, &parent.port) == 0)
			parent_add(&net->parents, &parent);
}

/* First the one that it was moved to; those of the configuration, else where it has joined; then those of the policy. */
int net_parents_load(struct net_role *net)
{
	struct net_parents *parents = &net->parents;
	struct str listed = str_setting(priv_child_configuration(net->child), "parents"),
	           told = str_setting(priv_child_configuration(net->child), "parent");
	const struct net_parent before = parents->all[parents->at];
	struct net_parent parent;
	int err = 0;
	parents->n = 0;
	if (net->move.to.port)
		parent_add(parents, &net->move.to);
	size_t moved = parents->n;
	while (err == 0 && listed.len)
		if ((err = join_address_parse(str_cut(listed, ',', &listed), parent.host, &parent.port)) == 0)
			parent_add(parents, &parent);
	if (err == 0 && parents->n == moved &&
	    (err = told.len ? join_address_parse(told, parent.host, &parent.port) : kept_read(net, &parent)) == 0)
		parent_add(parents, &parent);
	if (err == 0)
		policy_add(net);
	for (parents->at = parents->n; parents->at-- > 0;)
		if (net_parent_same(&parents->all[parents->at], &before))
			return err;
	parents->at = 0;
	return err;
}

void net_parent_set(struct net_role *net, const char *host, uint16_t port)
{
	struct net_parent *only = net->parents.all;
	net->parents.n = 1;
	net->parents.at = 0;
	str_copy(str_from(host), only->host, sizeof only->host);
	only->port = port;
}

const struct net_parent *net_parent(const struct net_role *net)
{
	return &net->parents.all[net->parents.at];
}

/* ---- dialing ---- */

struct dial {
	struct net_role *net;
	struct tls_context *tls;
	void (*connected)(struct net_role *net, int err);
	struct net_parent at;
};

static void (*parent_connected)(struct net_role *net, int err); /* of the handshake under way; NULL when it has been told */

static void tell(struct net_role *net, int err)
{
	void (*connected)(struct net_role * net, int err) = parent_connected;
	parent_connected = NULL;
	if (err < 0)
		net->parents.turn++;
	if (connected)
		connected(net, err);
}

static void on_parent_ready(void *ctx)
{
	struct net_role *net = ctx;
	socket_peer_host(stream_fd(rpc_connection_stream(net->parent)), net->parent_address);
	tell(net, 0);
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

static const struct rpc_connection_settings rpc = { .server = false, .ping_ms = RPC_PING_MS, .quiet_ms = RPC_QUIET_MS };

static struct stream *stream_on(const struct net_role *net, int fd, struct tls_context *tls)
{
	static const struct stream_events none;
	const struct stream_settings settings = {
		.fd = fd, .connecting = true, .tls = tls, .handshake_ms = net->parents.n > 1 ? SEVERAL_MS : ALONE_MS
	};
	return stream_new(net->loop, &settings, &none, NULL);
}

static void on_reached(void *ctx, int fd)
{
	static const struct rpc_connection_events events = { NULL, on_parent_ready, on_parent_closed };
	struct dial *dial = ctx;
	struct net_role *net = dial->net;
	if (net->dial != dial) { /* given up meanwhile */
		fd_close(fd);
		mem_free(dial);
		return;
	}
	net->dial = NULL;
	net->reached = dial->at;
	parent_connected = dial->connected;
	struct stream *stream = fd < 0 ? NULL : stream_on(net, fd, dial->tls);
	mem_free(dial);
	net->parent = stream ? rpc_connection_new(net->loop, stream, &rpc, &events, net) : NULL;
	if (!net->parent)
		tell(net, fd == -E_PROXY || fd == -E_PROXY_LOGIN || fd == -E_IOR ? fd : -E_UNREACHABLE);
}

static void on_located(void *ctx, int err, const struct net_parent *at)
{
	struct dial *dial = ctx;
	if (err < 0)
		return on_reached(dial, err);
	dial->at = *at;
	net_reach(dial->net, str_from(dial->at.host), dial->at.port, on_reached, dial);
}

void net_dial(struct net_role *net, struct tls_context *tls, void (*connected)(struct net_role *net, int err))
{
	struct dial *dial = mem_alloc(sizeof *dial);
	if (!dial)
		return connected(net, -E_NO_MEMORY);
	*dial = (struct dial){ .net = net, .tls = tls, .connected = connected };
	net->dial = dial;
	net->dialed = *net_parent(net);
	net_locate(net, &net->dialed, on_located, dial);
}

void net_hang_up(struct net_role *net)
{
	net->dial = NULL;
	rpc_connection_drop(&net->parent);
}

/* ---- another one ---- */

/* The same once more when it was linked, for it may only have been started again; then the others, one after the other. */
bool net_parent_next(struct net_role *net, bool linked)
{
	struct net_parents *parents = &net->parents;
	if (parents->n < 2)
		return false;
	if (linked && clock_monotonic_us() - parents->linked_us >= LASTED_US)
		parents->again = false;
	if (linked && !parents->again)
		return parents->again = true;
	if (++parents->tried < parents->n) {
		parents->at = (parents->at + 1) % parents->n;
		return true;
	}
	parents->tried = parents->at = 0;
	return false;
}

/* ---- and back ---- */

struct way_back {
	struct net_role *net;
	struct rpc_connection *connection;
	size_t to;
};

static void return_later(struct net_role *net)
{
	uint64_t ms = 0;
	str_to_u64(str_setting(priv_child_configuration(net->child), "return_ms"), UINT32_MAX, &ms);
	if (net->parents.at > 0)
		io_timer_start(net->parents.back, net->move.to.port && !net->move.reached ? MOVE_MS : ms / 2 + random_below(ms + 1),
		               0);
}

static void way_end(struct net_role *net, bool open)
{
	struct way_back *way = net->parents.way;
	net->parents.way = NULL;
	rpc_connection_free(way->connection);
	if (open && net->parents.at > way->to) {
		log_info("back to the parent %s:%u", net->parents.all[way->to].host, net->parents.all[way->to].port);
		net->parents.at = way->to;
		net_link_again(net);
	} else
		return_later(net);
	mem_free(way);
}

/* Only the server says this: a relay that does not lead to it, or is none any more, is no better. */
static void on_asked(void *ctx, int err, const char *why, const void *response)
{
	struct way_back *way = ctx;
	(void)why;
	(void)response;
	if (way->net->parents.way == way && way->connection)
		way_end(way->net, err == -E_KEY_UNKNOWN);
}

static void on_way_ready(void *ctx)
{
	struct way_back *way = ctx;
	if (net_ended_parent(way->net, way->connection))
		return way_end(way->net, false);
	const murmesh_TokenRequest request = murmesh_TokenRequest_init_zero; /* the server refuses it: no such join key */
	int err = rpc_unary(way->connection, &rpc_CertificationManager_RequestToken, &request, RETURN_ASKS, on_asked, way);
	if (err < 0)
		way_end(way->net, false);
}

static void on_way_closed(void *ctx, int err)
{
	struct way_back *way = ctx;
	(void)err;
	way_end(way->net, false);
}

static void on_way_reached(void *ctx, int fd)
{
	static const struct rpc_connection_events events = { NULL, on_way_ready, on_way_closed };
	struct way_back *way = ctx;
	struct stream *stream = fd < 0 ? NULL : stream_on(way->net, fd, way->net->link_tls);
	way->connection = stream ? rpc_connection_new(way->net->loop, stream, &rpc, &events, way) : NULL;
	if (!way->connection)
		way_end(way->net, false);
}

static void on_way_located(void *ctx, int err, const struct net_parent *at)
{
	struct way_back *way = ctx;
	if (err < 0)
		return way_end(way->net, false);
	net_reach(way->net, str_from(at->host), at->port, on_way_reached, way);
}

static void on_back(void *ctx)
{
	struct net_role *net = ctx;
	struct net_parents *parents = &net->parents;
	if (!net->online || !parents->at || parents->way)
		return;
	struct way_back *way = parents->way = mem_alloc(sizeof *way);
	if (!way)
		return return_later(net);
	way->net = net;
	way->to = parents->asked++ % parents->at;
	net_locate(net, &parents->all[way->to], on_way_located, way);
}

void net_parents_better(struct net_role *net)
{
	net->parents.asked = 0;
	on_back(net);
}

int net_parents_welcome(struct net_role *net)
{
	struct net_parents *parents = &net->parents;
	parents->tried = 0;
	if (!parents->back)
		parents->back = io_timer_new(net->loop, on_back, net);
	if (!parents->back)
		return -E_NO_MEMORY;
	return_later(net);
	return 0;
}

void net_parents_free(struct net_role *net)
{
	struct net_parents *parents = &net->parents;
	if (parents->way)
		way_end(net, false);
	parents->back = io_timer_free(parents->back);
	net->move.fall_back = io_timer_free(net->move.fall_back);
}
