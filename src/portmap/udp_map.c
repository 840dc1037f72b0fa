#include "portmap/udp_map.h"

#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "h1/h1.h"
#include "io/io.h"
#include "os/datagram.h"
#include "os/network.h"
#include "os/random.h"
#include "rpc/rpc.h"
#include "stream/stream.h"
#include "tunnel/rate.h"
#include "tunnel/udp_flow.h"

#define ROUNDS   64 /* datagrams of one socket a turn: others want the loop too */
#define RENEW_MS 300000
#define AGAIN_MS 500 /* after a leg that could not be opened */

struct udp_map {
	struct io_loop *loop;
	struct udp_map_settings settings;
	char path[UDP_PATH_MAX];
	struct local local;
	struct map *by_source;
	struct list flows; /* the least recently used first */
	struct list debtors;
	struct list legs;
	struct udp_leg *leg; /* where flows begin; NULL: none */
	struct io_timer *sweep;
	struct io_timer *later; /* of a rate: until what was moved is paid for */
	uint64_t again_ms, lost;
	size_t room; /* for what waits in all flows */
};

struct udp_leg {
	struct list node;
	struct udp_map *map; /* NULL once it is closed */
	struct rpc_connection *connection;
	char *grant;
	uint64_t opened_ms;
	size_t n_flows;
	bool opening, open; /* asked for; the device has said that it takes flows */
};

struct flow {
	struct list node;
	struct udp_map *map;
	struct udp_leg *leg; /* NULL: it waits for one */
	struct udp_flow udp;
	int fd; /* of the map's sockets */
	struct datagram_peer peer;
	uint64_t used_ms;
	struct list debtor; /* in its map, while it has unpaid bytes */
	size_t unpaid;      /* with a rate: that have come, and whose window is not given back yet */
};

/* ---- flows ---- */

/* The address as the kernel wrote it, and where it knocked. */
struct source_key {
	uint8_t bytes[1 + sizeof(struct sockaddr_storage)];
	size_t len;
};

static struct source_key source_key(const struct udp_map *map, int fd, const struct datagram_peer *peer)
{
	struct source_key key = { .len = 1 + peer->address.len };
	key.bytes[0] = fd == map->local.sockets[1].fd;
	memcpy(key.bytes + 1, &peer->address.storage, peer->address.len);
	return key;
}

/* Its stream ends when the other end has heard of it. */
static void flow_close(struct flow *flow)
{
	struct udp_map *map = flow->map;
	struct source_key key = source_key(map, flow->fd, &flow->peer);
	struct h2_stream *stream = flow->udp.stream;
	map_remove(map->by_source, key.bytes, key.len);
	list_remove(&flow->node);
	list_remove(&flow->debtor);
	if (flow->leg)
		flow->leg->n_flows--;
	udp_flow_done(&flow->udp);
	if (stream)
		h2_stream_end(stream, NULL);
	map->lost += udp_flow_lost(&flow->udp);
	mem_free(flow);
}

static struct flow *flow_new(struct udp_map *map, int fd, const struct datagram_peer *peer)
{
	struct source_key key = source_key(map, fd, peer);
	if (map_count(map->by_source) == UDP_FLOWS_MAX)
		flow_close(LIST_ENTRY(map->flows.next, struct flow, node));
	struct flow *flow = mem_alloc(sizeof *flow);
	if (!flow || map_put(map->by_source, key.bytes, key.len, flow) < 0)
		return mem_free(flow);
	flow->map = map;
	flow->fd = fd;
	flow->peer = *peer;
	list_append(&map->flows, &flow->node);
	list_init(&flow->debtor);
	udp_flow_init(&flow->udp, &map->room);
	return flow;
}

static void flow_used(struct flow *flow)
{
	flow->used_ms = io_loop_now_ms(flow->map->loop);
	list_remove(&flow->node);
	list_append(&flow->map->flows, &flow->node);
}

/* ---- legs ---- */

static void leg_free(struct udp_leg *leg)
{
	struct udp_map *map = leg->map;
	if (map) {
		list_remove(&leg->node);
		if (map->leg == leg)
			map->leg = NULL;
		LIST_EACH(at, &map->flows) {
			struct flow *flow = LIST_ENTRY(at, struct flow, node);
			if (flow->leg == leg)
				flow_close(flow);
		}
	}
	leg->map = NULL;
	leg->connection = rpc_connection_free(leg->connection);
	leg->grant = mem_free(leg->grant);
	if (!leg->opening)
		mem_free(leg);
}

/* Those that wait for a leg have waited in vain.  The owner may close the map in answer to it. */
static void leg_fail(struct udp_leg *leg, int err, const char *details)
{
	struct udp_map *map = leg->map;
	const struct udp_map_settings settings = map->settings;
	map->again_ms = io_loop_now_ms(map->loop) + AGAIN_MS;
	leg_free(leg);
	LIST_EACH(at, &map->flows) {
		struct flow *flow = LIST_ENTRY(at, struct flow, node);
		if (!flow->leg)
			flow_close(flow);
	}
	settings.failed(settings.ctx, err, details);
}

static struct udp_leg *leg_new(struct udp_map *map)
{
	struct udp_leg *leg = mem_alloc(sizeof *leg);
	if (!leg)
		return NULL;
	*leg = (struct udp_leg){ .map = map, .opening = true, .opened_ms = io_loop_now_ms(map->loop) };
	list_append(&map->legs, &leg->node);
	map->leg = leg;
	return leg;
}

/* ---- a flow's stream ---- */

static void on_response(void *ctx, const struct h2_head *head)
{
	struct flow *flow = ctx;
	const struct udp_map_settings settings = flow->map->settings;
	struct h1_proxy_status status = { .err = E_PROTOCOL };
	if (str_is(h2_head_get(head, ":status"), "200"))
		return;
	if (h1_proxy_status_parse(h2_head_get(head, "proxy-status"), &status) < 0)
		status = (struct h1_proxy_status){ .err = E_PROTOCOL };
	flow_close(flow);
	settings.failed(settings.ctx, -status.err, status.details);
}

static uint64_t rate_wait(const struct udp_map *map)
{
	return map->settings.rate ? rate_wait_ms(map->settings.rate, io_loop_now_ms(map->loop)) : 0;
}

static void rate_count(struct udp_map *map, size_t bytes)
{
	if (map->settings.rate)
		rate_moved(map->settings.rate, io_loop_now_ms(map->loop), bytes);
}

static int on_datagram(void *ctx, struct str datagram)
{
	struct flow *flow = ctx;
	rate_count(flow->map, datagram.len);
	if (datagram_send_to(flow->fd, datagram.ptr, datagram.len, &flow->peer) < 0)
		flow->map->lost++;
	return 0;
}

/* The agent may send more once this is paid for. */
static void flow_pay(struct flow *flow, size_t len)
{
	struct udp_map *map = flow->map;
	uint64_t wait = rate_wait(map);
	if (!wait)
		return h2_stream_consume(flow->udp.stream, len);
	flow->unpaid += len;
	list_remove(&flow->debtor);
	list_append(&map->debtors, &flow->debtor);
	io_timer_start(map->later, wait, 0);
}

static void on_data(void *ctx, const uint8_t *bytes, size_t len)
{
	struct flow *flow = ctx;
	struct h2_stream *stream = flow->udp.stream;
	flow_used(flow);
	if (udp_flow_receive(&flow->udp, bytes, len, on_datagram, flow) == 0)
		return flow_pay(flow, len);
	flow_close(flow);
	h2_stream_reset(stream, H2_PROTOCOL_ERROR);
}

/* The agent has closed it. */
static void on_end(void *ctx)
{
	flow_close(ctx);
}

static void on_drained(void *ctx)
{
	udp_flow_drained(&((struct flow *)ctx)->udp);
}

static void on_closed(void *ctx, uint32_t error)
{
	struct flow *flow = ctx;
	const struct udp_map_settings settings = flow->map->settings;
	flow->udp.stream = NULL;
	flow_close(flow);
	if (error == H2_CONNECT_ERROR)
		settings.failed(settings.ctx, -E_TARGET_REFUSED, "");
}

/* 0, or -E_CLOSED: the leg takes no more flows. */
static int flow_begin(struct flow *flow, struct udp_leg *leg)
{
	static const struct h2_stream_events events = { on_response, on_data, NULL, on_end, NULL, on_drained, on_closed };
	struct h2_head head = { .n = 0 };
	h2_head_add(&head, STR(":method"), STR("CONNECT"));
	h2_head_add(&head, STR(":protocol"), STR("connect-udp"));
	h2_head_add(&head, STR(":scheme"), STR("https"));
	h2_head_add(&head, STR(":authority"), STR("murmesh"));
	h2_head_add(&head, STR(":path"), str_from(flow->map->path));
	h2_head_add(&head, STR("capsule-protocol"), STR("?1"));
	h2_head_add(&head, STR("murmesh-grant"), str_from(leg->grant));
	struct h2_stream *stream = h2_request(rpc_connection_session(leg->connection), &head, &events, flow);
	if (!stream)
		return -E_CLOSED;
	flow->leg = leg;
	leg->n_flows++;
	udp_flow_open(&flow->udp, stream);
	return 0;
}

/* ---- a leg's life ---- */

static void on_settings(void *ctx)
{
	struct udp_leg *leg = ctx;
	struct udp_map *map = leg->map;
	if (leg->open)
		return;
	if (!h2_connects(rpc_connection_session(leg->connection)))
		return leg_fail(leg, -E_UDP_OLD, "");
	leg->open = true;
	LIST_EACH(at, &map->flows) {
		struct flow *flow = LIST_ENTRY(at, struct flow, node);
		if (!flow->leg && flow_begin(flow, leg) < 0)
			return leg_fail(leg, -E_CLOSED, "");
	}
}

static void on_connection_closed(void *ctx, int err)
{
	struct udp_leg *leg = ctx;
	if (leg->open)
		leg_free(leg); /* the next datagram asks for another */
	else
		leg_fail(leg, err, "");
}

static int leg_connect(struct udp_leg *leg, struct stream *stream, const char *grant)
{
	static const struct rpc_connection_events events = { .closed = on_connection_closed, .settings = on_settings };
	static const struct rpc_connection_settings settings = { .ping_ms = RPC_PING_MS, .quiet_ms = RPC_QUIET_MS };
	leg->connection = rpc_connection_new(leg->map->loop, stream, &settings, &events, leg);
	leg->grant = mem_copy_string(grant, strlen(grant));
	return leg->connection && leg->grant ? 0 : -E_NO_MEMORY;
}

void udp_map_leg(struct udp_leg *leg, struct stream *stream, const char *grant, int err, const char *details)
{
	leg->opening = false;
	if (!leg->map) { /* it was closed meanwhile */
		stream_free(stream);
		return leg_free(leg);
	}
	if (stream)
		err = leg_connect(leg, stream, grant);
	if (err < 0)
		leg_fail(leg, err, details);
}

/* ---- datagrams of this machine ---- */

static bool refused(struct udp_map *map, const struct datagram_peer *peer)
{
	const struct udp_map_settings settings = map->settings;
	char host[SOCKET_ADDRESS_TEXT];
	if (!settings.allow)
		return false;
	socket_address_host(&peer->address, host);
	if (network_ranges_have(str_from(settings.allow), str_from(host)))
		return false;
	settings.failed(settings.ctx, -E_MAP_SOURCE, host);
	return true;
}

static bool leg_serves(const struct udp_map *map)
{
	uint64_t age = map->leg ? io_loop_now_ms(map->loop) - map->leg->opened_ms : 0;
	return map->leg && (!map->leg->open || age < (map->settings.renew_ms ? map->settings.renew_ms : RENEW_MS));
}

/* Begins on a leg, or waits for one.  Returns the leg that is to be asked for; NULL: none. */
static struct udp_leg *flow_place(struct flow *flow)
{
	struct udp_map *map = flow->map;
	if (leg_serves(map)) {
		if (!map->leg->open || flow_begin(flow, map->leg) == 0)
			return NULL;
		leg_free(map->leg);
	}
	struct udp_leg *leg = io_loop_now_ms(map->loop) < map->again_ms ? NULL : leg_new(map);
	if (!leg) {
		map->lost++;
		flow_close(flow);
	}
	return leg;
}

/* Returns false when the map may be closed. */
static bool datagram_take(struct udp_map *map, int fd, const struct datagram_peer *peer, struct str datagram)
{
	struct source_key key = source_key(map, fd, peer);
	struct flow *flow = map_get(map->by_source, key.bytes, key.len);
	if (!flow)
		flow = flow_new(map, fd, peer);
	if (!flow) {
		map->lost++;
		return true;
	}
	flow->peer = *peer;
	flow_used(flow);
	udp_flow_send(&flow->udp, datagram);
	struct udp_leg *asked = flow->leg ? NULL : flow_place(flow);
	if (asked)
		map->settings.open(map->settings.ctx, asked);
	return !asked;
}

static void on_later(void *ctx)
{
	struct udp_map *map = ctx;
	local_pause(&map->local, false);
	while (!list_empty(&map->debtors)) {
		struct flow *flow = LIST_ENTRY(map->debtors.next, struct flow, debtor);
		list_remove(&flow->debtor);
		h2_stream_consume(flow->udp.stream, flow->unpaid);
		flow->unpaid = 0;
	}
}

/* Is nothing to be read now? */
static bool waits(struct udp_map *map)
{
	uint64_t wait = rate_wait(map);
	if (!wait)
		return false;
	local_pause(&map->local, true);
	io_timer_start(map->later, wait, 0);
	return true;
}

/* The owner may close the map in answer to one. */
static void on_socket(void *ctx, int fd)
{
	struct udp_map *map = ctx;
	uint8_t *scratch = io_loop_scratch(map->loop);
	struct datagram_peer peer;
	bool goes_on = true;
	for (int i = 0; i < ROUNDS && goes_on; i++) {
		ssize_t n = waits(map) ? -EAGAIN : datagram_receive_from(fd, scratch, IO_SCRATCH, &peer);
		if (n < 0)
			return;
		rate_count(map, (size_t)n);
		if (refused(map, &peer))
			return;
		goes_on = datagram_take(map, fd, &peer, (struct str){ (const char *)scratch, (size_t)n });
	}
}

/* ---- the map ---- */

static uint64_t idle_ms(const struct udp_map *map)
{
	return map->settings.idle_ms ? map->settings.idle_ms : UDP_MAP_IDLE_MS;
}

static void on_sweep(void *ctx)
{
	struct udp_map *map = ctx;
	uint64_t now = io_loop_now_ms(map->loop);
	while (!list_empty(&map->flows)) {
		struct flow *flow = LIST_ENTRY(map->flows.next, struct flow, node);
		if (now - flow->used_ms < idle_ms(map))
			break;
		flow_close(flow);
	}
	LIST_EACH(at, &map->legs) {
		struct udp_leg *leg = LIST_ENTRY(at, struct udp_leg, node);
		if (leg->open && !leg->n_flows)
			leg_free(leg);
	}
}

/* Looked at often enough to be no more than a quarter late. */
static int timers_start(struct udp_map *map)
{
	uint64_t period = idle_ms(map) / 4 + 1;
	map->sweep = io_timer_new(map->loop, on_sweep, map);
	map->later = io_timer_new(map->loop, on_later, map);
	if (!map->sweep || !map->later)
		return -E_NO_MEMORY;
	io_timer_start(map->sweep, period, period);
	return 0;
}

int udp_map_open(struct io_loop *loop, const struct udp_map_settings *settings, struct udp_map **ret)
{
	uint8_t seed[16];
	struct udp_map *map = mem_alloc(sizeof *map);
	if (!map)
		return -E_NO_MEMORY;
	*map = (struct udp_map){ .loop = loop, .settings = *settings, .local = LOCAL_NONE, .room = UDP_LEG_QUEUE };
	list_init(&map->flows);
	list_init(&map->debtors);
	list_init(&map->legs);
	random_bytes(seed, sizeof seed);
	map->by_source = map_new(seed, UDP_FLOWS_MAX);
	int err = map->by_source ? udp_path_write(settings->host, settings->port, map->path) : -E_NO_MEMORY;
	if (err == 0)
		err = local_open(settings->bind, settings->local_port, datagram_listen, &map->local);
	if (err == 0)
		err = timers_start(map);
	if (err == 0)
		err = local_watch(&map->local, loop, on_socket, map);
	if (err < 0) {
		udp_map_close(map);
		return err;
	}
	*ret = map;
	return 0;
}

struct udp_map *udp_map_close(struct udp_map *map)
{
	if (!map)
		return NULL;
	while (!list_empty(&map->flows))
		flow_close(LIST_ENTRY(map->flows.next, struct flow, node));
	while (!list_empty(&map->legs))
		leg_free(LIST_ENTRY(map->legs.next, struct udp_leg, node));
	local_close(&map->local);
	io_timer_free(map->sweep);
	io_timer_free(map->later);
	map_free(map->by_source);
	return mem_free(map);
}

uint16_t udp_map_port(const struct udp_map *map)
{
	return map->local.port;
}

size_t udp_map_flows(const struct udp_map *map)
{
	return map_count(map->by_source);
}

size_t udp_map_legs(const struct udp_map *map)
{
	size_t n = 0;
	LIST_EACH(at, &map->legs)
		n++;
	return n;
}

uint64_t udp_map_lost(const struct udp_map *map)
{
	uint64_t lost = map->lost;
	LIST_EACH(at, &map->flows)
		lost += udp_flow_lost(&LIST_ENTRY(at, struct flow, node)->udp);
	return lost;
}
