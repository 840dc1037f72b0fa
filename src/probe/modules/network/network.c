#include "probe/modules/network/network.h"

#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "io/io.h"
#include "os/clock.h"
#include "os/fd.h"
#include "os/log.h"

#define TICK_MS   100   /* while there is something to say */
#define IDLE_MS   5000  /* to find what is quiet */
#define POLL_MS   1000  /* without packets */
#define TURN_US   500   /* of reading tables; the loop's other work goes between */
#define SAY_MS    1000  /* between two DATA of a flow */
#define NAME_MS   1000  /* a flow waits for its owner at most so long before it is announced: longer than until the next question */
#define TOLD_MS   3000  /* an ended flow stays so long: packets that come late are not another one */
#define OWNERS_MS 500   /* between two questions for owners: each is a walk through all processes */
#define CHECK_MS  60000 /* with packets: flows of sockets that are gone end */
#define SHARE     20    /* the tables of sockets may take one part in so many of the time */
#define OWNER_MS  3000  /* the owner of a flow is looked for so long */
#define BOUND_MAX 256   /* UDP sockets that are connected to nobody; more are not looked at */

struct module {
	struct probe *probe;
	struct flows *flows;
	struct list busy;     /* flows with something to say */
	struct list all, due; /* due: a keyframe has still to name them */
	struct ring *ring;    /* NULL: the sockets say it all */
	struct io_watch *watch;
	struct io_timer *tick;
	int diag;              /* negative: not there, or it failed */
	struct tables *tables; /* the next best; NULL: not there */
	struct io_timer *turn; /* while they are read */
	uint64_t look_us;      /* what the look has taken */
	unsigned scan;
	bool started, looking;
	uint64_t now_ms, diag_at_ms, idle_at_ms, check_at_ms, owners_at_ms; /* not earlier */
	uint8_t listening[65536 / 8];
	uint64_t asked[PROBE_OWNERS_MAX]; /* inodes of the next question */
	size_t n_asked;
	struct bound {
		struct gg_address address;
		uint16_t port;
		uint64_t inode; /* 0: there are several */
	} bound[BOUND_MAX];
	size_t n_bound;
};

/* ---- records ---- */

static void write_new(struct module *module, const struct flow *flow, uint64_t time_ns)
{
	const struct gg_network_newconn record = {
		.flow = flow->key, .owner = flow->process.pid > 0, .process = flow->process, .command = str_from(flow->command)
	};
	gg_network_newconn_write(probe_writer(module->probe, GG_MODULE_NETWORK), time_ns, &record);
}

static void write_data(struct module *module, const struct flow *flow, uint64_t time_ns, unsigned direction,
                       const struct flow_count *count)
{
	const struct gg_network_data record = {
		.flow = flow->key, .bytes = count->bytes, .packets = count->packets, .direction = (uint8_t)direction
	};
	if (count->bytes || count->packets)
		gg_network_data_write(probe_writer(module->probe, GG_MODULE_NETWORK), time_ns, &record);
}

static void write_fresh(struct module *module, struct flow *flow, uint64_t time_ns)
{
	for (unsigned direction = 0; direction < 2; direction++) {
		write_data(module, flow, time_ns, direction, &flow->fresh[direction]);
		flow->total[direction].bytes += flow->fresh[direction].bytes;
		flow->total[direction].packets += flow->fresh[direction].packets;
		flow->fresh[direction] = (struct flow_count){ 0 };
	}
	flow->said_ms = module->now_ms;
}

static void write_end(struct module *module, const struct flow *flow, uint64_t time_ns)
{
	const struct gg_network_delconn record = { .flow = flow->key,
		                                   .owner = flow->process.pid > 0,
		                                   .process = flow->process,
		                                   .command = str_from(flow->command),
		                                   .bytes = flow->total[0].bytes + flow->total[1].bytes };
	gg_network_delconn_write(probe_writer(module->probe, GG_MODULE_NETWORK), time_ns, &record);
}

/* ---- flows ---- */

static void tick_soon(struct module *module)
{
	if (list_empty(&module->busy) && module->started && module->ring)
		io_timer_start(module->tick, TICK_MS, 0);
}

static void flow_busy(struct module *module, struct flow *flow)
{
	if (flow->node.next != &flow->node)
		return;
	tick_soon(module);
	list_append(&module->busy, &flow->node);
}

static struct flow *flow_begin(struct module *module, const struct gg_flow *key)
{
	struct flow *flow = flows_add(module->flows, key);
	if (!flow) {
		probe_lost(module->probe, GG_MODULE_NETWORK, GG_LOST_TABLE, 1);
		return NULL;
	}
	flow->begun_ns = probe_now_ns();
	flow->begun_ms = flow->seen_ms = module->now_ms;
	flow->scan = module->scan;
	list_append(&module->all, &flow->place);
	return flow;
}

static struct gg_flow flow_turned(const struct gg_flow *flow)
{
	struct gg_flow turned = *flow;
	turned.source = flow->destination;
	turned.source_port = flow->destination_port;
	turned.destination = flow->source;
	turned.destination_port = flow->source_port;
	if (flow->protocol != PROTOCOL_TCP && flow->protocol != PROTOCOL_UDP) {
		turned.source_port = flow->source_port;
		turned.destination_port = 0;
	}
	return turned;
}

static void on_packet(void *ctx, const struct packet *packet, enum ring_way way, int interface)
{
	struct module *module = ctx;
	struct flow *flow = flows_get(module->flows, &packet->flow);
	if (flow && flow->state == FLOW_OVER) {
		if (packet->tcp && (packet->tcp & (PACKET_SYN | PACKET_ACK)) != PACKET_SYN)
			return; /* late */
		flows_remove(module->flows, flow);
		flow = NULL;
	}
	if (!flow && packet->tcp & (PACKET_FIN | PACKET_RST))
		return; /* the end of something that was not seen */
	if (!flow) {
		bool opener = packet_from_opener(packet);
		struct gg_flow key = opener ? packet->flow : flow_turned(&packet->flow);
		key.incoming = way == RING_LOOP ? false : opener == (way == RING_IN);
		flow = flow_begin(module, &key);
		if (!flow)
			return;
		flow->interface = interface;
	}
	if (!flow->interface) /* found by its socket */
		flow->interface = interface;
	if (flow->interface != interface)
		return; /* the same packet again: a bridge, a tunnel */
	flow_count_packet(flow, packet, module->now_ms);
	flow_busy(module, flow);
}

/* ---- sockets ---- */

static bool port_listening(const struct module *module, uint16_t port)
{
	return module->listening[port / 8] >> port % 8 & 1;
}

/* It may be found by another look: the process was not known yet, or too many were asked for. */
static bool owner_wanted(const struct module *module, const struct flow *flow)
{
	return !flow->process.pid && flow->state != FLOW_OVER && module->now_ms - flow->begun_ms < OWNER_MS;
}

static void owner_want(struct module *module, uint64_t inode)
{
	for (size_t i = 0; i < module->n_asked; i++)
		if (module->asked[i] == inode)
			return;
	if (inode && module->n_asked < PROBE_OWNERS_MAX)
		module->asked[module->n_asked++] = inode;
}

/* Without packets: what the socket says it sent and received.  Of two sockets here the source's counts. */
static void socket_count(struct module *module, struct flow *flow, const struct diag_socket *socket, bool source)
{
	const uint64_t counts[2] = { source ? socket->sent : socket->received, source ? socket->received : socket->sent };
	for (unsigned direction = 0; direction < 2; direction++) {
		uint64_t known = flow->total[direction].bytes + flow->fresh[direction].bytes;
		if (counts[direction] <= known)
			continue;
		flow->fresh[direction].bytes += counts[direction] - known;
		flow->seen_ms = module->now_ms;
		flow_busy(module, flow);
	}
}

static struct bound *bound_find(struct module *module, uint16_t port)
{
	for (size_t i = 0; i < module->n_bound; i++)
		if (module->bound[i].port == port)
			return &module->bound[i];
	return NULL;
}

static void bound_add(struct module *module, const struct diag_socket *socket)
{
	struct bound *bound = bound_find(module, socket->flow.source_port);
	if (bound)
		bound->inode = 0;
	else if (module->n_bound < BOUND_MAX)
		module->bound[module->n_bound++] = (struct bound){ socket->flow.source, socket->flow.source_port, socket->inode };
}

static bool bound_serves(const struct bound *bound, const struct gg_address *address)
{
	static const uint8_t any[sizeof address->bytes];
	return memcmp(bound->address.bytes, any, sizeof any) == 0 ||
	       (bound->address.v6 == address->v6 && memcmp(bound->address.bytes, address->bytes, sizeof any) == 0);
}

/* Flows by UDP that no socket names: by the port of this end, when one socket alone has it. */
static void bound_match(struct module *module)
{
	size_t at = 0;
	for (struct flow *flow; (flow = flows_next(module->flows, &at));) {
		if (flow->key.protocol != PROTOCOL_UDP || (flow->inode && flow->scan == module->scan) ||
		    !owner_wanted(module, flow))
			continue;
		bool incoming = flow->key.incoming;
		const struct bound *bound = bound_find(module, incoming ? flow->key.destination_port : flow->key.source_port);
		if (!bound || !bound_serves(bound, incoming ? &flow->key.destination : &flow->key.source))
			continue;
		flow->inode = bound->inode;
		flow->scan = module->scan;
		owner_want(module, flow->inode);
	}
}

static void on_socket(void *ctx, const struct diag_socket *socket)
{
	struct module *module = ctx;
	if (socket->listening) {
		module->listening[socket->flow.source_port / 8] |= (uint8_t)(1u << socket->flow.source_port % 8);
		return;
	}
	if (socket->bound)
		return bound_add(module, socket);
	struct flow *flow = flows_get(module->flows, &socket->flow);
	if (!flow) {
		bool incoming = socket->flow.protocol == PROTOCOL_TCP && port_listening(module, socket->flow.source_port);
		struct gg_flow key = incoming ? flow_turned(&socket->flow) : socket->flow;
		key.incoming = incoming;
		flow = module->ring && module->started ? NULL : flow_begin(module, &key); /* packets begin them */
		if (!flow)
			return;
		flow_busy(module, flow);
	}
	bool source = flow_from_source(flow, &socket->flow);
	flow->scan = module->scan;
	if (!source && flow->by_source)
		return;
	if (source && flow->key.incoming) /* both ends are here */
		flow->key.incoming = false;
	flow->by_source = source;
	if (flow->inode != socket->inode)
		flow->process.pid = 0;
	flow->inode = socket->inode;
	if (!module->ring)
		socket_count(module, flow, socket, source);
	if (owner_wanted(module, flow))
		owner_want(module, flow->inode);
}

/* A table that is read in pieces may miss a socket when another one goes: that it is gone only two looks say. */
static bool flow_unseen(const struct module *module, const struct flow *flow)
{
	return module->scan - flow->scan > (module->diag < 0 ? 1u : 0u);
}

/* Flows of sockets that are gone.  With packets those end by what is seen, unless it was missed. */
static void sockets_sweep(struct module *module, uint64_t quiet_ms)
{
	size_t at = 0;
	for (struct flow *flow; (flow = flows_next(module->flows, &at));)
		if (flow_unseen(module, flow) && flow->state != FLOW_OVER && flow->inode &&
		    module->now_ms - flow->seen_ms >= quiet_ms) {
			flow->gone = true;
			flow_busy(module, flow);
		}
}

static void look_end(struct module *module, int err)
{
	module->looking = false;
	if (module->ring)
		bound_match(module);
	if (err < 0)
		log_limited(LOG_WARNING, "the kernel's table of sockets cannot be read: %s", err_text(err));
	else if (!module->ring)
		sockets_sweep(module, 0);
	else if (module->now_ms >= module->check_at_ms) {
		module->check_at_ms = module->now_ms + CHECK_MS;
		sockets_sweep(module, CHECK_MS);
	}
	module->diag_at_ms = module->now_ms + module->look_us * SHARE / 1000;
	const struct probe_settings *settings = probe_settings(module->probe);
	if (module->n_asked && module->now_ms >= module->owners_at_ms &&
	    settings->owners(settings->ctx, module->asked, module->n_asked) == 0)
		module->owners_at_ms = module->now_ms + OWNERS_MS;
}

/* Some of the tables; true: they go on. */
static bool tables_take(struct module *module)
{
	uint64_t begun_us = clock_monotonic_us(), us;
	int more;
	do {
		more = tables_read(module->tables, on_socket, module);
		us = clock_monotonic_us() - begun_us;
	} while (more > 0 && us < TURN_US);
	module->look_us += us;
	if (more > 0)
		return true;
	probe_lost(module->probe, GG_MODULE_NETWORK, GG_LOST_TABLE, tables_left(module->tables));
	look_end(module, more);
	return false;
}

static void source_say(struct module *module)
{
	probe_source(module->probe, GG_MODULE_NETWORK,
	             module->ring        ? "packets (TPACKET_V3) of all interfaces"
	             : module->diag >= 0 ? "sock_diag, 1 s"
	             : module->tables    ? "/proc/net, 1 s"
	                                 : "none: this kernel has no table of sockets to read");
}

/* False: it is refused, or failed; not asked again. */
static bool diag_look(struct module *module)
{
	uint64_t begun_us = clock_monotonic_us();
	int err = module->diag < 0 ? module->diag : diag_each(module->diag, on_socket, module);
	module->look_us += clock_monotonic_us() - begun_us;
	if (err == 0)
		look_end(module, 0);
	else if (module->diag >= 0) {
		log_debug("sock_diag: %s", err_text(err));
		module->diag = fd_close(module->diag);
		if (!module->ring)
			source_say(module);
	}
	return err == 0;
}

static bool look_possible(const struct module *module)
{
	return !module->looking && (module->diag >= 0 || module->tables);
}

/* All at once, or it begins: then module->looking is true. */
static void sockets_look(struct module *module)
{
	module->scan++;
	module->n_asked = module->n_bound = 0;
	module->look_us = 0;
	memset(module->listening, 0, sizeof module->listening);
	if (diag_look(module) || !module->tables)
		return;
	module->looking = true;
	io_timer_start(module->turn, 0, 0);
}

static void network_owner(void *ctx, uint64_t inode, const struct gg_process *process, struct str command)
{
	struct module *module = ctx;
	size_t at = 0;
	for (struct flow *flow; (flow = flows_next(module->flows, &at));)
		if (flow->inode == inode && !flow->process.pid) {
			flow->process = *process;
			str_copy(command, flow->command, sizeof flow->command);
			if (flow->state == FLOW_OPEN) /* announced without: the record says what is so now */
				write_new(module, flow, flow->begun_ns);
		}
}

/* ---- the tick ---- */

/* What a busy flow has to say; false: it has to wait. */
static bool flow_say(struct module *module, struct flow *flow, uint64_t now_ns)
{
	bool over = flow_over(flow, module->now_ms);
	if (flow->state == FLOW_OVER)
		return true;
	if (flow->state == FLOW_NEW) {
		if (!flow->process.pid && !over && module->now_ms - flow->begun_ms < NAME_MS)
			return false;
		write_new(module, flow, flow->begun_ns);
		flow->state = FLOW_OPEN;
	}
	if (!over && module->now_ms - flow->said_ms < SAY_MS)
		return false;
	write_fresh(module, flow, now_ns);
	if (over) {
		write_end(module, flow, now_ns);
		flow->state = FLOW_OVER;
		flow->seen_ms = module->now_ms;
	}
	return true;
}

static void busy_say(struct module *module)
{
	uint64_t now_ns = probe_now_ns();
	LIST_EACH(at, &module->busy) {
		struct flow *flow = LIST_ENTRY(at, struct flow, node);
		if (flow_say(module, flow, now_ns))
			list_remove(&flow->node);
	}
}

/* Those that were quiet too long; and the last of those that are over. */
static void quiet_find(struct module *module)
{
	struct flow *told[64];
	size_t n, at;
	do {
		at = n = 0;
		for (struct flow *flow; n < 64 && (flow = flows_next(module->flows, &at));) {
			if (flow->state == FLOW_OVER && module->now_ms - flow->seen_ms >= TOLD_MS)
				told[n++] = flow;
			else if (flow->state != FLOW_OVER && module->ring && flow_over(flow, module->now_ms))
				flow_busy(module, flow);
		}
		for (size_t i = 0; i < n; i++)
			flows_remove(module->flows, told[i]);
	} while (n == 64);
	module->idle_at_ms = module->now_ms + IDLE_MS;
}

static bool any_wanted(const struct module *module)
{
	size_t at = 0;
	for (const struct flow *flow; (flow = flows_next(module->flows, &at));)
		if (owner_wanted(module, flow) && (flow->key.protocol == PROTOCOL_TCP || flow->key.protocol == PROTOCOL_UDP))
			return true;
	return false;
}

static void on_tick(void *ctx)
{
	struct module *module = ctx;
	module->now_ms = io_loop_now_ms(probe_loop(module->probe));
	if (module->ring)
		probe_lost(module->probe, GG_MODULE_NETWORK, GG_LOST_RING, ring_drops(module->ring));
	bool look = !module->ring || any_wanted(module) || (module->now_ms >= module->check_at_ms && flows_count(module->flows));
	if (look && look_possible(module) && module->now_ms >= module->diag_at_ms)
		sockets_look(module);
	if (module->now_ms >= module->idle_at_ms)
		quiet_find(module);
	busy_say(module);
	if (!module->ring)
		return; /* the timer repeats */
	if (!list_empty(&module->busy) || any_wanted(module))
		io_timer_start(module->tick, TICK_MS, 0);
	else if (flows_count(module->flows))
		io_timer_start(module->tick, IDLE_MS, 0);
}

static void on_turn(void *ctx)
{
	struct module *module = ctx;
	module->now_ms = io_loop_now_ms(probe_loop(module->probe));
	if (tables_take(module))
		io_timer_start(module->turn, 0, 0);
	else if (!module->ring)
		busy_say(module);
}

static void on_readable(void *ctx, unsigned events)
{
	struct module *module = ctx;
	(void)events;
	module->now_ms = io_loop_now_ms(probe_loop(module->probe));
	ring_read(module->ring, on_packet, module);
}

/* ---- life ---- */

static void network_keyframe_begin(void *ctx)
{
	struct module *module = ctx;
	list_move(&module->due, &module->all);
}

static bool network_keyframe_next(void *ctx)
{
	struct module *module = ctx;
	struct list *place = probe_keyframe_take(&module->due, &module->all);
	if (!place)
		return false;
	const struct flow *flow = LIST_ENTRY(place, struct flow, place);
	uint64_t now_ns = probe_now_ns();
	if (flow->state == FLOW_OPEN) {
		write_new(module, flow, now_ns);
		for (unsigned direction = 0; direction < 2; direction++)
			write_data(module, flow, now_ns, direction, &flow->total[direction]);
	}
	return !list_empty(&module->due);
}

/* What there is already is no event: it is open, and in the keyframe. */
static void sockets_first(struct module *module)
{
	size_t at = 0;
	module->now_ms = io_loop_now_ms(probe_loop(module->probe));
	if (look_possible(module))
		sockets_look(module);
	while (module->looking && tables_take(module)) /* nothing else waits yet */
		;
	io_timer_stop(module->turn);
	for (struct flow *flow; (flow = flows_next(module->flows, &at));) {
		flow->state = FLOW_OPEN;
		for (unsigned direction = 0; direction < 2; direction++) {
			flow->total[direction] = flow->fresh[direction];
			flow->fresh[direction] = (struct flow_count){ 0 };
		}
	}
}

static void network_start(void *ctx)
{
	struct module *module = ctx;
	sockets_first(module);
	module->started = true;
	if (module->ring) {
		io_watch_set(module->watch, IO_READABLE);
		io_timer_start(module->tick, TICK_MS, 0);
	} else if (look_possible(module))
		io_timer_start(module->tick, POLL_MS, POLL_MS);
}

static void *network_close(void *ctx)
{
	struct module *module = ctx;
	if (!module)
		return NULL;
	io_watch_free(module->watch);
	io_timer_free(module->tick);
	io_timer_free(module->turn);
	tables_close(module->tables);
	ring_close(module->ring);
	fd_close(module->diag);
	flows_free(module->flows);
	return mem_free(module);
}

static void *network_open(struct probe *probe)
{
	struct module *module = mem_alloc(sizeof *module);
	int err = -E_UNSUPPORTED, tables_err;
	if (!module)
		return NULL;
	module->probe = probe;
	list_init(&module->busy);
	list_init(&module->all);
	list_init(&module->due);
	module->flows = flows_new();
	module->tick = io_timer_new(probe_loop(probe), on_tick, module);
	module->turn = io_timer_new(probe_loop(probe), on_turn, module);
	module->diag = diag_open();
	module->tables = tables_open(probe_settings(probe)->proc, &tables_err);
	module->ring = probe_settings(probe)->packets ? ring_open(&err) : NULL;
	module->watch = module->ring ? io_watch_new(probe_loop(probe), ring_fd(module->ring), on_readable, module) : NULL;
	if (!module->flows || !module->tick || !module->turn || (module->ring && !module->watch))
		return network_close(module);
	if (!module->ring)
		log_debug("no packets: %s", err_text(err));
	if (module->diag < 0)
		log_debug("no sock_diag: %s", err_text(module->diag));
	if (!module->tables)
		log_debug("no /proc/net: %s", err_text(tables_err));
	source_say(module);
	return module;
}

const struct probe_module probe_network = { GG_MODULE_NETWORK,     network_open,  network_start, network_keyframe_begin,
	                                    network_keyframe_next, network_owner, network_close };
