#include "relay/relay.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "crypto/key.h"
#include "io/io.h"
#include "os/fd.h"
#include "os/random.h"
#include "os/socket.h"
#include "relay/flow.h"
#include "relay/pipe_pool.h"

/* A leg whose preamble is not yet whole, or whose ticket is not known yet. */
struct arrival {
	struct list node; /* in relay->arrivals or relay->held; in none while it is read for the first time */
	struct relay *relay;
	struct io_watch *watch;
	uint64_t deadline_ms;
	int fd;
	size_t have;
	uint8_t preamble[RELAY_PREAMBLE];
	uint8_t hash[HASH_SIZE]; /* of its ticket, while it is held */
	bool held;               /* in relay->held: its ticket is not announced yet */
};

struct ticket {
	uint8_t hash[HASH_SIZE];
	struct pair *pair;
	enum relay_side side;
	uint64_t expires_ms; /* 0 = not announced */
};

struct leg {
	struct pair *pair;
	struct io_watch *watch;
	int fd;
};

/* Where a leg goes on to. */
struct onward {
	struct socket_address to;
	uint8_t preamble[RELAY_PREAMBLE]; /* of the leg */
};

struct pair {
	struct list node; /* in relay->forming; once both legs have come in relay->spliced, or in relay->moved */
	struct relay *relay;
	struct id id;
	uint64_t deadline_ms; /* while forming: when the later ticket expires */
	struct ticket tickets[2];
	struct leg legs[2];
	struct flow flows[2];  /* by the side they come from */
	struct onward *onward; /* NULL: both legs come here */
	bool moved;            /* is to be told of */
};

struct relay {
	struct io_loop *loop;
	struct relay_settings settings;
	const struct relay_events *events;
	void *ctx;
	struct relay_counters counters;
	struct list arrivals, held, forming; /* in the order of their deadlines */
	struct list spliced, moved;
	bool news_due;               /* somebody was told that there are */
	struct map *pairs, *tickets; /* by id; unused ones by hash */
	struct map *held_tickets;    /* hash -> arrival; NULL: none is held */
	struct io_timer *timer;
	struct pipe_pool pipes;
};

const struct relay_settings relay_settings_default = {
	.max_pairs = 8192,
	.max_arriving = 4096,
	.pipes_large = 48,
	.pipes_small = 256,
	.arrival_ms = 10000,
};

static const uint8_t preamble_head[8] = { 'M', 'M', 'R', '1', 1 /* version */ };

void relay_preamble_write(enum relay_side side, const uint8_t ticket[RELAY_TICKET], uint8_t out[RELAY_PREAMBLE])
{
	memset(out, 0, RELAY_PREAMBLE);
	memcpy(out, preamble_head, sizeof preamble_head);
	out[5] = (uint8_t)side;
	memcpy(out + 8, ticket, RELAY_TICKET);
}

/* -E_PROTOCOL for anything but what relay_preamble_write() makes. */
static int preamble_read(const uint8_t preamble[RELAY_PREAMBLE], enum relay_side *ret_side, uint8_t ret_hash[HASH_SIZE])
{
	uint8_t same[RELAY_PREAMBLE];
	if (preamble[5] > RELAY_AGENT)
		return -E_PROTOCOL;
	relay_preamble_write(preamble[5], preamble + 8, same);
	if (memcmp(same, preamble, sizeof same) != 0)
		return -E_PROTOCOL;
	*ret_side = preamble[5];
	hash_sha256(preamble + 8, RELAY_TICKET, ret_hash);
	return 0;
}

/* ---- deadlines ---- */

static uint64_t relay_next_deadline(const struct relay *relay)
{
	uint64_t next = UINT64_MAX;
	if (!list_empty(&relay->arrivals))
		next = LIST_ENTRY(relay->arrivals.next, struct arrival, node)->deadline_ms;
	if (!list_empty(&relay->held)) {
		uint64_t held = LIST_ENTRY(relay->held.next, struct arrival, node)->deadline_ms;
		next = held < next ? held : next;
	}
	if (!list_empty(&relay->forming)) {
		uint64_t forming = LIST_ENTRY(relay->forming.next, struct pair, node)->deadline_ms;
		next = forming < next ? forming : next;
	}
	return next;
}

/* After something with a deadline was added.  After a removal the timer may fire too early, which does no harm. */
static void relay_timer_set(struct relay *relay)
{
	uint64_t next = relay_next_deadline(relay), now = io_loop_now_ms(relay->loop);
	if (next < UINT64_MAX)
		io_timer_start(relay->timer, next > now ? next - now : 0, 0);
	else
		io_timer_stop(relay->timer);
}

/* ---- pairs ---- */

static void ticket_void(struct ticket *ticket)
{
	if (map_get(ticket->pair->relay->tickets, ticket->hash, HASH_SIZE) == ticket)
		map_remove(ticket->pair->relay->tickets, ticket->hash, HASH_SIZE);
}

/* A leg is born so that closing it resets it, whoever closes it, also the kernel after SIGKILL; a clean end takes that back. */
static void leg_born(int fd)
{
	static const struct {
		int option, value;
	} keep[] = { { TCP_KEEPIDLE, 20 }, { TCP_KEEPINTVL, 5 }, { TCP_KEEPCNT, 4 } }; /* a dead machine is noticed in 40 s */
	socket_reset(fd);
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &(int){ 1 }, sizeof(int));
	for (size_t i = 0; i < sizeof keep / sizeof *keep; i++)
		setsockopt(fd, IPPROTO_TCP, keep[i].option, &keep[i].value, sizeof(int));
}

static void leg_close(struct leg *leg, bool clean)
{
	io_watch_free(leg->watch);
	if (clean)
		socket_reset_not(leg->fd);
	fd_close(leg->fd);
}

static void pair_count_end(struct relay_counters *counters, int result, bool spliced, bool any_leg)
{
	if (result == -E_CANCELLED)
		counters->cancelled++;
	else if (spliced)
		++*(result ? &counters->broken : &counters->finished);
	else
		++*(any_leg ? &counters->alone : &counters->unused);
}

/* Frees the pair; the owner's callback comes last. */
static void pair_end(struct pair *pair, int result)
{
	struct relay *relay = pair->relay;
	struct relay_report report = { .pair = pair->id, .result = result };
	bool client = pair->legs[RELAY_CLIENT].fd >= 0, agent = pair->legs[RELAY_AGENT].fd >= 0;
	for (int side = 0; side < 2; side++) {
		ticket_void(&pair->tickets[side]);
		leg_close(&pair->legs[side], result == 0);
		flow_done(&pair->flows[side]);
		report.bytes[side] = pair->flows[side].bytes;
	}
	list_remove(&pair->node);
	report.came[RELAY_CLIENT] = client;
	report.came[RELAY_AGENT] = agent;
	map_remove(relay->pairs, pair->id.bytes, sizeof pair->id.bytes);
	relay->counters.pairs--;
	mem_free(pair->onward);
	mem_free(pair);
	pair_count_end(&relay->counters, result, client && agent, client || agent);
	if (client || agent)
		relay->events->ended(relay->ctx, &report);
}

static int leg_watch(struct pair *pair, int side)
{
	const struct flow *from = &pair->flows[side], *to = &pair->flows[!side];
	unsigned wanted = (!from->ended && !from->blocked ? IO_READABLE : 0u) | (to->blocked ? IO_WRITABLE : 0u);
	return io_watch_set(pair->legs[side].watch, wanted);
}

static void pair_moved(struct pair *pair)
{
	struct relay *relay = pair->relay;
	if (pair->moved || pair->onward)
		return;
	pair->moved = true;
	list_remove(&pair->node);
	list_append(&relay->moved, &pair->node);
	if (relay->news_due || !relay->events->news)
		return;
	relay->news_due = true;
	relay->events->news(relay->ctx);
}

/* Runs the flow that comes from this side. */
static int pair_run(struct pair *pair, int side)
{
	struct relay *relay = pair->relay;
	struct flow *flow = &pair->flows[side];
	uint64_t before = flow->bytes;
	int err = flow_run(flow, &relay->pipes, io_loop_scratch(relay->loop), IO_SCRATCH);
	relay->counters.bytes += flow->bytes - before;
	if (flow->bytes != before)
		pair_moved(pair);
	relay->counters.pipes = pipe_pool_count(&relay->pipes);
	return err;
}

/* After flows have run. */
static void pair_settle(struct pair *pair, int err)
{
	for (int side = 0; side < 2 && err == 0; side++)
		err = leg_watch(pair, side);
	if (err < 0 || (pair->flows[0].finished && pair->flows[1].finished))
		pair_end(pair, err);
}

static void on_leg(void *ctx, unsigned events)
{
	struct leg *leg = ctx;
	struct pair *pair = leg->pair;
	int side = leg == &pair->legs[1], err = 0;
	if (events & IO_WRITABLE)
		err = pair_run(pair, !side);
	if (err == 0 && (events & IO_READABLE))
		err = pair_run(pair, side);
	pair_settle(pair, err);
}

static void pair_splice(struct pair *pair)
{
	struct relay *relay = pair->relay;
	int err = 0;
	list_remove(&pair->node);
	list_append(&relay->spliced, &pair->node);
	pair_moved(pair);
	relay->counters.paired++;
	for (int side = 0; side < 2; side++) {
		struct leg *leg = &pair->legs[side];
		leg->watch = io_watch_new(relay->loop, leg->fd, on_leg, leg);
		err = leg->watch ? err : -E_NO_MEMORY;
		pair->flows[side].from = leg->fd;
		pair->flows[!side].to = leg->fd;
	}
	/* Most first bytes are there already. */
	for (int side = 0; side < 2 && err == 0; side++)
		err = pair_run(pair, side);
	pair_settle(pair, err);
}

static struct pair *pair_new(struct relay *relay, const struct id *id)
{
	struct pair *pair = mem_alloc(sizeof *pair);
	if (!pair)
		return NULL;
	list_init(&pair->node);
	pair->relay = relay;
	pair->id = *id;
	for (int side = 0; side < 2; side++) {
		pair->tickets[side] = (struct ticket){ .pair = pair, .side = (enum relay_side)side };
		pair->legs[side] = (struct leg){ .pair = pair, .fd = -1 };
	}
	return pair;
}

/* Keeps relay->forming in order; expiries are nearly always equal, so that the place is the end. */
static void pair_await(struct pair *pair, uint64_t deadline_ms)
{
	struct list *at = &pair->relay->forming;
	if (deadline_ms > pair->deadline_ms)
		pair->deadline_ms = deadline_ms;
	list_remove(&pair->node);
	while (at->prev != &pair->relay->forming && LIST_ENTRY(at->prev, struct pair, node)->deadline_ms > pair->deadline_ms)
		at = at->prev;
	list_append(at, &pair->node); /* in front of `at` */
	relay_timer_set(pair->relay);
}

static int pair_announce(struct pair *pair, const struct relay_ticket *announced)
{
	struct ticket *ticket = &pair->tickets[announced->side];
	struct relay *relay = pair->relay;
	uint64_t expires = io_loop_now_ms(relay->loop) + (uint64_t)announced->expiry_s * 1000;
	if (ticket->expires_ms > 0 || map_get(relay->tickets, announced->hash, HASH_SIZE))
		return -E_EXISTS;
	int err = map_put(relay->tickets, announced->hash, HASH_SIZE, ticket);
	if (err < 0)
		return err;
	memcpy(ticket->hash, announced->hash, HASH_SIZE);
	ticket->expires_ms = expires;
	pair_await(pair, expires);
	return 0;
}

static int ticket_announce(struct relay *relay, const struct relay_ticket *ticket)
{
	if ((unsigned)ticket->side > RELAY_AGENT || ticket->expiry_s < 1 || ticket->expiry_s > RELAY_EXPIRY_MAX)
		return -E_NUMBER;
	struct pair *pair = map_get(relay->pairs, ticket->pair.bytes, sizeof ticket->pair.bytes);
	if (pair)
		return pair_announce(pair, ticket);
	pair = pair_new(relay, &ticket->pair);
	if (!pair)
		return -E_NO_MEMORY;
	int err = map_put(relay->pairs, pair->id.bytes, sizeof pair->id.bytes, pair);
	if (err == 0)
		err = pair_announce(pair, ticket);
	if (err == 0) {
		relay->counters.pairs++;
		return 0;
	}
	map_remove(relay->pairs, pair->id.bytes, sizeof pair->id.bytes);
	mem_free(pair);
	return err;
}

static void arrival_complete(struct arrival *arrival);

/* The leg that came before its announcement. */
static void held_complete(struct relay *relay, const uint8_t hash[HASH_SIZE])
{
	struct arrival *arrival = relay->held_tickets ? map_get(relay->held_tickets, hash, HASH_SIZE) : NULL;
	if (arrival)
		arrival_complete(arrival);
}

int relay_announce(struct relay *relay, const struct relay_ticket *ticket)
{
	int err = ticket_announce(relay, ticket);
	if (err == 0)
		held_complete(relay, ticket->hash);
	return err;
}

int relay_forward(struct relay *relay, const struct relay_ticket *ticket, const struct socket_address *to)
{
	struct onward *onward = mem_alloc(sizeof *onward);
	if (!onward)
		return -E_NO_MEMORY;
	onward->to = *to;
	int err = map_get(relay->pairs, ticket->pair.bytes, sizeof ticket->pair.bytes) ? -E_EXISTS : ticket_announce(relay, ticket);
	if (err < 0) {
		mem_free(onward);
		return err;
	}
	struct pair *pair = map_get(relay->pairs, ticket->pair.bytes, sizeof ticket->pair.bytes);
	pair->onward = onward;
	held_complete(relay, ticket->hash);
	return 0;
}

void relay_close_pair(struct relay *relay, const struct id *id)
{
	struct pair *pair = map_get(relay->pairs, id->bytes, sizeof id->bytes);
	if (pair)
		pair_end(pair, -E_CANCELLED);
}

/* ---- legs that go on to a relay further on ---- */

static int onward_say(struct pair *pair, int fd)
{
	int err = socket_error(fd);
	if (err < 0)
		return err;
	ssize_t n = fd_write(fd, pair->onward->preamble, RELAY_PREAMBLE); /* the first bytes of a new connection: there is room */
	return n == RELAY_PREAMBLE ? 0 : n < 0 ? (int)n : -EIO;
}

static void on_onward(void *ctx, unsigned events)
{
	struct leg *leg = ctx;
	struct pair *pair = leg->pair;
	(void)events;
	leg->watch = io_watch_free(leg->watch);
	int err = onward_say(pair, leg->fd);
	if (err < 0)
		pair_end(pair, err);
	else
		pair_splice(pair);
}

static void pair_go_on(struct pair *pair, enum relay_side side)
{
	struct leg *leg = &pair->legs[!side];
	int err = socket_connect(&pair->onward->to);
	if (err >= 0) {
		leg->fd = err;
		leg_born(leg->fd);
		leg->watch = io_watch_new(pair->relay->loop, leg->fd, on_onward, leg);
		err = leg->watch ? io_watch_set(leg->watch, IO_WRITABLE) : -E_NO_MEMORY;
	}
	if (err < 0)
		pair_end(pair, err);
}

/* ---- arrivals ---- */

/* fd -1: it has become a pair's leg. */
static void arrival_end(struct arrival *arrival)
{
	struct relay *relay = arrival->relay;
	if (arrival->held) {
		map_remove(relay->held_tickets, arrival->hash, HASH_SIZE);
		relay->counters.held--;
	} else if (!list_empty(&arrival->node))
		relay->counters.arriving--;
	list_remove(&arrival->node);
	io_watch_free(arrival->watch);
	fd_close(arrival->fd);
	mem_free(arrival);
}

static void arrival_refuse(struct arrival *arrival, uint64_t *counter)
{
	++*counter;
	arrival_end(arrival);
}

/* Finds the ticket and uses it up, whatever else is wrong.  -E_NOT_FOUND: an agent's, not announced. */
static int ticket_take(struct relay *relay, const uint8_t preamble[RELAY_PREAMBLE], uint8_t hash[HASH_SIZE], struct ticket **ret)
{
	enum relay_side side;
	int err = preamble_read(preamble, &side, hash);
	if (err < 0)
		return err;
	struct ticket *ticket = map_remove(relay->tickets, hash, HASH_SIZE);
	if (!ticket)
		return side == RELAY_AGENT ? -E_NOT_FOUND : -E_PROTOCOL;
	*ret = ticket;
	return ticket->side == side && ticket->expires_ms > io_loop_now_ms(relay->loop) ? 0 : -E_PROTOCOL;
}

/* In a relay below another the announcement and the leg come on two ways. */
static int arrival_hold(struct arrival *arrival)
{
	struct relay *relay = arrival->relay;
	if (!relay->held_tickets || arrival->held || map_get(relay->held_tickets, arrival->hash, HASH_SIZE))
		return -E_NOT_FOUND;
	if (relay->counters.held >= relay->settings.max_held)
		arrival_refuse(LIST_ENTRY(relay->held.next, struct arrival, node), &relay->counters.evicted);
	int err = map_put(relay->held_tickets, arrival->hash, HASH_SIZE, arrival);
	if (err < 0)
		return err;
	arrival->watch = io_watch_free(arrival->watch);
	relay->counters.arriving -= !list_empty(&arrival->node);
	list_remove(&arrival->node);
	list_append(&relay->held, &arrival->node);
	arrival->held = true;
	relay->counters.held++;
	arrival->deadline_ms = io_loop_now_ms(relay->loop) + relay->settings.held_ms;
	relay_timer_set(relay);
	return 0;
}

static void arrival_complete(struct arrival *arrival)
{
	struct ticket *ticket = NULL;
	int err = ticket_take(arrival->relay, arrival->preamble, arrival->hash, &ticket);
	if (err == -E_NOT_FOUND && arrival_hold(arrival) == 0)
		return;
	if (err < 0) {
		arrival_refuse(arrival, &arrival->relay->counters.refused);
		return;
	}
	struct pair *pair = ticket->pair;
	arrival->watch = io_watch_free(arrival->watch); /* one watch a descriptor */
	pair->legs[ticket->side].fd = arrival->fd;
	arrival->fd = -1;
	if (pair->onward)
		memcpy(pair->onward->preamble, arrival->preamble, RELAY_PREAMBLE);
	enum relay_side side = ticket->side;
	arrival_end(arrival);
	if (pair->onward)
		pair_go_on(pair, side);
	else if (pair->legs[!side].fd >= 0)
		pair_splice(pair);
}

static void arrival_read(struct arrival *arrival);

static void on_arrival(void *ctx, unsigned events)
{
	(void)events;
	arrival_read(ctx);
}

static int arrival_wait(struct arrival *arrival)
{
	struct relay *relay = arrival->relay;
	if (!list_empty(&arrival->node))
		return 0;
	arrival->watch = io_watch_new(relay->loop, arrival->fd, on_arrival, arrival);
	if (!arrival->watch || io_watch_set(arrival->watch, IO_READABLE) < 0)
		return -E_NO_MEMORY;
	if (relay->counters.arriving >= relay->settings.max_arriving && !list_empty(&relay->arrivals))
		arrival_refuse(LIST_ENTRY(relay->arrivals.next, struct arrival, node), &relay->counters.evicted);
	arrival->deadline_ms = io_loop_now_ms(relay->loop) + relay->settings.arrival_ms;
	list_append(&relay->arrivals, &arrival->node);
	relay->counters.arriving++;
	relay_timer_set(relay);
	return 0;
}

/* Takes the preamble and not a byte more. */
static void arrival_read(struct arrival *arrival)
{
	while (arrival->have < RELAY_PREAMBLE) {
		ssize_t n = fd_read(arrival->fd, arrival->preamble + arrival->have, RELAY_PREAMBLE - arrival->have);
		if (n == -EAGAIN && arrival_wait(arrival) == 0)
			return;
		if (n <= 0) {
			arrival_refuse(arrival, &arrival->relay->counters.refused);
			return;
		}
		arrival->have += (size_t)n;
	}
	arrival_complete(arrival);
}

void relay_leg(struct relay *relay, int fd)
{
	struct arrival *arrival = mem_alloc(sizeof *arrival);
	relay->counters.legs++;
	leg_born(fd);
	if (!arrival) {
		relay->counters.refused++;
		fd_close(fd);
		return;
	}
	list_init(&arrival->node);
	arrival->relay = relay;
	arrival->fd = fd;
	arrival_read(arrival);
}

static void on_deadline(void *ctx)
{
	struct relay *relay = ctx;
	while (relay_next_deadline(relay) <= io_loop_now_ms(relay->loop)) {
		uint64_t now = io_loop_now_ms(relay->loop);
		struct arrival *arrival = LIST_ENTRY(relay->arrivals.next, struct arrival, node),
		               *held = LIST_ENTRY(relay->held.next, struct arrival, node);
		if (!list_empty(&relay->arrivals) && arrival->deadline_ms <= now)
			arrival_refuse(arrival, &relay->counters.late);
		else if (!list_empty(&relay->held) && held->deadline_ms <= now)
			arrival_refuse(held, &relay->counters.refused);
		else
			pair_end(LIST_ENTRY(relay->forming.next, struct pair, node), -E_PEER_GONE);
	}
	relay_timer_set(relay);
}

/* ---- the relay ---- */

struct relay *relay_new(struct io_loop *loop, const struct relay_settings *settings, const struct relay_events *events, void *ctx)
{
	uint8_t seed[16];
	struct relay *relay = mem_alloc(sizeof *relay);
	if (!relay)
		return NULL;
	signal(SIGPIPE, SIG_IGN);
	relay->loop = loop;
	relay->settings = *settings;
	relay->events = events;
	relay->ctx = ctx;
	list_init(&relay->arrivals);
	list_init(&relay->held);
	list_init(&relay->forming);
	list_init(&relay->spliced);
	list_init(&relay->moved);
	pipe_pool_init(&relay->pipes, settings->pipes_large, settings->pipes_small);
	random_bytes(seed, sizeof seed);
	relay->pairs = map_new(seed, settings->max_pairs);
	relay->tickets = map_new(seed, 2 * settings->max_pairs);
	relay->held_tickets = settings->max_held ? map_new(seed, settings->max_held) : NULL;
	relay->timer = io_timer_new(loop, on_deadline, relay);
	bool whole = relay->pairs && relay->tickets && relay->timer && (relay->held_tickets || !settings->max_held);
	return whole ? relay : relay_free(relay);
}

static void on_ended_unheard(void *ctx, const struct relay_report *report)
{
	(void)ctx, (void)report;
}

struct relay *relay_free(struct relay *relay)
{
	static const struct relay_events unheard = { .ended = on_ended_unheard };
	if (!relay)
		return NULL;
	relay->events = &unheard;
	LIST_EACH(node, &relay->arrivals)
		arrival_end(LIST_ENTRY(node, struct arrival, node));
	LIST_EACH(node, &relay->held)
		arrival_end(LIST_ENTRY(node, struct arrival, node));
	LIST_EACH(node, &relay->forming)
		pair_end(LIST_ENTRY(node, struct pair, node), -E_CANCELLED);
	list_move(&relay->spliced, &relay->moved);
	LIST_EACH(node, &relay->spliced)
		pair_end(LIST_ENTRY(node, struct pair, node), -E_CANCELLED);
	pipe_pool_done(&relay->pipes);
	map_free(relay->pairs);
	map_free(relay->tickets);
	map_free(relay->held_tickets);
	io_timer_free(relay->timer);
	return mem_free(relay);
}

/* ---- news ---- */

bool relay_news(struct relay *relay, bool (*tell)(void *ctx, const struct relay_report *report), void *ctx)
{
	relay->news_due = false;
	LIST_EACH(node, &relay->moved) {
		struct pair *pair = LIST_ENTRY(node, struct pair, node);
		const struct relay_report report = { .pair = pair->id,
			                             .bytes = { pair->flows[0].bytes, pair->flows[1].bytes },
			                             .came = { true, true } };
		if (!tell(ctx, &report))
			return false;
		pair->moved = false;
		list_remove(&pair->node);
		list_append(&relay->spliced, &pair->node);
	}
	return true;
}

void relay_news_all(struct relay *relay)
{
	LIST_EACH(node, &relay->spliced) {
		struct pair *pair = LIST_ENTRY(node, struct pair, node);
		pair->moved = !pair->onward;
		if (!pair->moved)
			continue;
		list_remove(&pair->node);
		list_append(&relay->moved, &pair->node);
	}
}

const struct relay_counters *relay_counters(const struct relay *relay)
{
	return &relay->counters;
}
