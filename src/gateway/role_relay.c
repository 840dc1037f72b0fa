/* The relay role: pairs two legs by ticket and splices their bytes, which it cannot read. */
#include "base/err.h"
#include "gateway/gateway.h"
#include "gateway/pair_watch.h"
#include "io/io.h"
#include "os/fd.h"
#include "os/log.h"
#include "os/socket.h"

/* In a relay below another: legs that have come before what is said of them. */
#define HELD_MAX 256
#define HELD_MS  2000

struct relay_role {
	struct priv_child *child;
	struct relay *relay;
	struct pair_watch watch;
	struct rpc_connection *core; /* in a relay net; on another machine of the server uplink */
	struct intake {
		struct relay_role *role;
		struct io_watch *watch;
		int fd;
	} intakes[2]; /* of front and web */
};

static int announce_side(struct relay *relay, const murmesh_Announcement *announcement, enum relay_side side)
{
	struct relay_ticket ticket = { .side = side, .expiry_s = announcement->lifetime_s };
	memcpy(ticket.hash, side == RELAY_CLIENT ? announcement->client_hash : announcement->agent_hash, sizeof ticket.hash);
	memcpy(ticket.pair.bytes, announcement->pair, sizeof ticket.pair.bytes);
	return relay_announce(relay, &ticket);
}

static void on_announce(void *ctx, struct rpc_call *call, const void *message)
{
	struct relay_role *role = ctx;
	const murmesh_Announcement *announcement = message;
	murmesh_Announced reply = murmesh_Announced_init_zero;
	struct id pair;
	int err = announce_side(role->relay, announcement, RELAY_CLIENT);
	if (err == 0)
		err = announce_side(role->relay, announcement, RELAY_AGENT);
	if (err == 0)
		return rpc_call_reply(call, &reply);
	memcpy(pair.bytes, announcement->pair, sizeof pair.bytes);
	relay_close_pair(role->relay, &pair);
	rpc_call_finish(call, err, NULL);
}

static void on_forward(void *ctx, struct rpc_call *call, const void *message)
{
	struct relay_role *role = ctx;
	const murmesh_Forwarding *forwarding = message;
	struct relay_ticket ticket = { .side = forwarding->client ? RELAY_CLIENT : RELAY_AGENT,
		                       .expiry_s = forwarding->lifetime_s };
	murmesh_Announced reply = murmesh_Announced_init_zero;
	struct socket_address to;
	memcpy(ticket.hash, forwarding->agent_hash, sizeof ticket.hash);
	memcpy(ticket.pair.bytes, forwarding->pair, sizeof ticket.pair.bytes);
	int err = forwarding->port > 65535 ? -E_NUMBER
	                                   : socket_address_parse(str_from(forwarding->address), (uint16_t)forwarding->port, &to);
	if (err == 0)
		err = relay_forward(role->relay, &ticket, &to);
	if (err < 0)
		rpc_call_finish(call, err, NULL);
	else
		rpc_call_reply(call, &reply);
}

static void on_close_pair(void *ctx, struct rpc_call *call, const void *message)
{
	struct relay_role *role = ctx;
	murmesh_Announced reply = murmesh_Announced_init_zero;
	struct id pair;
	memcpy(pair.bytes, ((const murmesh_PairName *)message)->pair, sizeof pair.bytes);
	relay_close_pair(role->relay, &pair);
	rpc_call_reply(call, &reply);
}

static int on_watch(void *ctx, struct rpc_call *call)
{
	return pair_watch_open(&((struct relay_role *)ctx)->watch, call);
}

static const struct rpc_service services[] = {
	{ &rpc_Relay_Announce, 0, on_announce, NULL },
	{ &rpc_Relay_Forward, 0, on_forward, NULL },
	{ &rpc_Relay_ClosePair, 0, on_close_pair, NULL },
	{ &rpc_Relay_Watch, 0, NULL, on_watch },
};

static int on_open(void *ctx, struct rpc_call *call)
{
	const struct rpc_service *row = rpc_service_find(services, sizeof services / sizeof *services, rpc_call_path(call));
	return row ? rpc_serve(row, call, ctx) : -E_UNSUPPORTED;
}

static void on_intake(void *ctx, unsigned events)
{
	struct intake *intake = ctx;
	(void)events;
	for (unsigned i = 0; i < 64; i++) {
		char kind[16];
		int fds[FD_PASS_MAX];
		size_t n = 0;
		if (fd_receive(intake->fd, kind, sizeof kind, fds, &n) <= 0)
			return;
		for (size_t k = 0; k < n; k++)
			relay_leg(intake->role->relay, fds[k]);
	}
}

static void intake_open(struct relay_role *role, struct intake *intake, int fd)
{
	intake->role = role;
	intake->fd = fd;
	intake->watch = io_watch_new(priv_child_loop(role->child), fd, on_intake, intake);
	if (intake->watch)
		io_watch_set(intake->watch, IO_READABLE);
}

static void on_descriptor(void *ctx, const char *name, int fd)
{
	static const struct rpc_connection_events events = { on_open, NULL, NULL };
	static const struct rpc_connection_settings settings = { .server = true, .max_streams = 1000 };
	struct relay_role *role = ctx;
	struct io_loop *loop = priv_child_loop(role->child);
	struct str what = str_from(name);
	if (str_is(what, "rpc-from:core") || str_is(what, "rpc-from:net") || str_is(what, "rpc-from:uplink")) {
		rpc_connection_replace(&role->core, loop, fd, &settings, &events, role);
	} else if (str_is(what, "pass-from:front"))
		intake_open(role, &role->intakes[0], fd);
	else if (str_is(what, "pass-from:web"))
		intake_open(role, &role->intakes[1], fd);
	else
		fd_close(fd);
}

static void on_ended(void *ctx, const struct relay_report *report)
{
	log_debug("a pair ended: %s, %llu and %llu bytes", report->result ? err_text(report->result) : "cleanly",
	          (unsigned long long)report->bytes[0], (unsigned long long)report->bytes[1]);
	pair_watch_ended(&((struct relay_role *)ctx)->watch, report);
}

static void on_news(void *ctx)
{
	pair_watch_news(&((struct relay_role *)ctx)->watch);
}

int gateway_relay_main(struct priv_child *child)
{
	static const struct priv_child_events events = { on_descriptor, NULL, NULL };
	static const struct relay_events relay_events = { on_ended, on_news };
	struct relay_role role = { .child = child, .intakes = { { .fd = -1 }, { .fd = -1 } } };
	struct relay_settings settings = relay_settings_default;
	if (str_is(str_setting(priv_child_configuration(child), "relay"), "yes")) {
		settings.max_held = HELD_MAX;
		settings.held_ms = HELD_MS;
	}
	fd_limit_raise();
	int err = pair_watch_init(&role.watch, priv_child_loop(child), PAIR_WATCH_MS);
	role.relay = role.watch.relay = relay_new(priv_child_loop(child), &settings, &relay_events, &role);
	if (!role.relay || err < 0)
		return 75;
	priv_child_listen(child, &events, &role);
	if (priv_child_confine(child) < 0)
		return 77;
	priv_child_ready(child);
	int code = priv_child_run(child);
	for (size_t i = 0; i < 2; i++) {
		io_watch_free(role.intakes[i].watch);
		fd_close(role.intakes[i].fd);
	}
	rpc_connection_free(role.core);
	pair_watch_done(&role.watch);
	relay_free(role.relay);
	return code;
}
