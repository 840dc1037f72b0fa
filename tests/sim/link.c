/* Links: frames that are encoded, take their time, wait where the way is blocked, and are lost with their link.  What rpc and TLS over TCP do,
 * as far as a router sees it. */
#include <pb_decode.h>
#include <pb_encode.h>
#include <stdlib.h>

#include "base/err.h"
#include "sim.h"

#define CROWDED      ((size_t)24 << 10) /* bytes under way; as RPC_QUEUE_MAX, but smaller */
#define FULL         ((size_t)256 << 10)
#define BYTES_PER_MS 1000

struct frame {
	struct list node;
	int64_t at_us;
	int err; /* of an end; then it has no bytes */
	size_t len;
	uint8_t bytes[];
};

static enum side other(enum side side)
{
	return side == AGENT_SIDE ? SERVER_SIDE : AGENT_SIDE;
}

static struct node *node_of(const struct link *link, enum side side)
{
	return side == AGENT_SIDE ? link->agent : &link->world->nodes[0];
}

/* ---- the way ---- */

static int64_t blocked_until(const struct link *link, enum side from)
{
	int64_t until = link->agent->blocked_until[from];
	for (size_t i = 0; i < link->n_relays; i++)
		if (link->world->relays[link->relays[i]].blocked_until[from] > until)
			until = link->world->relays[link->relays[i]].blocked_until[from];
	return until;
}

static void side_closed(struct link *link, enum side side, int err)
{
	if (!link->open[side])
		return;
	link->open[side] = false;
	world_touch(link->world, node_of(link, side));
	if (side == SERVER_SIDE)
		server_link_closed(link);
	else if (link->agent->link == link)
		agent_link_closed(link->agent, err);
}

static void frame_arrive(struct link *link, enum side to, const struct frame *frame)
{
	static murmesh_Frame message;
	if (!link->open[to])
		return;
	if (frame->err)
		return side_closed(link, to, frame->err);
	pb_istream_t in = pb_istream_from_buffer(frame->bytes, frame->len);
	if (!pb_decode(&in, murmesh_Frame_fields, &message))
		world_fail(link->world, "link", "a frame cannot be read");
	world_touch(link->world, node_of(link, to));
	if (message.which_body == murmesh_Frame_credit_tag)
		link->granted[to] += message.body.credit.envelopes;
	if (to == SERVER_SIDE)
		server_frame(link, &message);
	else
		agent_frame(link->agent, &message);
}

/* Who sends is told that there is room. */
static void writable(struct link *link, enum side from)
{
	struct peer *peer = from == SERVER_SIDE ? link->peer : link->agent->link == link ? link->agent->peer : NULL;
	struct node *node = node_of(link, from);
	if (!peer || !link->open[from] || node_dying(node))
		return;
	world_touch(link->world, node);
	peer_send(peer, node_now_ms(node));
}

static void on_pump(void *subject, uint64_t from);

/* The next frame comes when its time is there and nothing blocks the way. */
static void pump(struct link *link, enum side from)
{
	struct way *way = &link->ways[from];
	if (way->pumping || list_empty(&way->frames))
		return;
	int64_t at = LIST_ENTRY(way->frames.next, struct frame, node)->at_us, until = blocked_until(link, from);
	way->pumping = true;
	at = (at > until ? at : until) - link->world->now_us;
	world_later(link->world, at > 0 ? at : 0, on_pump, link, from);
}

static void on_pump(void *subject, uint64_t side)
{
	struct link *link = subject;
	const enum side from = (enum side)side;
	struct way *way = &link->ways[from];
	way->pumping = false;
	if (!list_empty(&way->frames) && blocked_until(link, from) <= link->world->now_us) {
		struct frame *frame = LIST_ENTRY(way->frames.next, struct frame, node);
		bool crowded = link_crowded(link, from);
		list_remove(&frame->node);
		way->queued -= frame->len;
		frame_arrive(link, other(from), frame);
		free(frame);
		if (crowded && !link_crowded(link, from))
			writable(link, from);
	}
	pump(link, from);
}

static void put(struct link *link, enum side from, const uint8_t *bytes, size_t len, int err)
{
	struct way *way = &link->ways[from];
	struct world *world = link->world;
	struct frame *frame = malloc(sizeof *frame + len);
	if (!frame)
		abort();
	int64_t at = world->now_us + between(world, 50, 30 * MILLISECOND) + (int64_t)len * MILLISECOND / BYTES_PER_MS;
	frame->at_us = at > way->last_us ? at : way->last_us + 1;
	way->last_us = frame->at_us;
	frame->err = err;
	frame->len = len;
	if (len)
		memcpy(frame->bytes, bytes, len);
	way->queued += len;
	if (way->lost) { /* it stays in the sender's buffers */
		free(frame);
		return;
	}
	list_append(&way->frames, &frame->node);
	pump(link, from);
}

/* ---- what the ends do ---- */

struct link *link_new(struct node *agent, const int *relays, size_t n_relays)
{
	struct link *link = calloc(1, sizeof *link);
	if (!link)
		abort();
	link->world = agent->world;
	link->agent = agent;
	link->device = node_device(agent);
	memcpy(link->relays, relays, n_relays * sizeof *relays);
	link->n_relays = n_relays;
	for (int side = 0; side < 2; side++) {
		list_init(&link->ways[side].frames);
		link->open[side] = true;
	}
	list_append(&agent->world->links, &link->node);
	tally.links++;
	return link;
}

int link_send(struct link *link, enum side from, const murmesh_Frame *frame)
{
	static uint8_t bytes[16384];
	pb_ostream_t out = pb_ostream_from_buffer(bytes, sizeof bytes);
	if (!link->open[from] || node_dying(node_of(link, from)))
		return -E_CLOSED;
	if (!pb_encode(&out, murmesh_Frame_fields, frame))
		world_fail(link->world, "link", "a frame cannot be written");
	if (from == SERVER_SIDE && frame->which_body == murmesh_Frame_envelope_tag && link->device->out)
		world_fail(link->world, "I3", "the server still writes to device %u, which was deleted", link->device->index);
	if (link->ways[from].queued + out.bytes_written > FULL)
		return -E_FULL;
	put(link, from, bytes, out.bytes_written, 0);
	return 0;
}

bool link_crowded(const struct link *link, enum side from)
{
	return link->ways[from].queued > CROWDED;
}

void link_close(struct link *link, enum side side, int err)
{
	if (!link->open[side])
		return;
	put(link, side, NULL, 0, err);
	side_closed(link, side, err);
}

/* ---- credit ---- */

void link_came(struct link *link, enum side side)
{
	if (++link->came[side] > link->granted[other(side)])
		world_fail(link->world, "credit", "node %u sends more than it may", node_of(link, other(side))->index);
}

static bool way_quiet(const struct way *way)
{
	return list_empty(&way->frames) && !way->lost;
}

bool link_credit_whole(const struct link *link)
{
	if (!link->open[0] || !link->open[1] || !link->peer)
		return true;
	for (int side = 0; side < 2; side++)
		if (!way_quiet(&link->ways[side]) || link->granted[side] - link->came[1 - side] != PEER_CREDIT)
			return false;
	return true;
}

/* ---- how it ends ---- */

static void way_cut(struct link *link, enum side from)
{
	struct way *way = &link->ways[from];
	size_t n = 0, kept;
	if (way->lost)
		return;
	way->lost = true;
	LIST_EACH(at, &way->frames)
		n++;
	kept = chance_below(link->world, n + 1);
	LIST_EACH(at, &way->frames) {
		struct frame *frame = LIST_ENTRY(at, struct frame, node);
		if (kept) {
			kept--;
			continue;
		}
		list_remove(at); /* its bytes stay in the sender's buffers */
		free(frame);
	}
}

static void on_noticed(void *subject, uint64_t side)
{
	side_closed(subject, (enum side)side, -E_TIMEOUT);
}

static void notice(struct link *link, enum side side, bool silent)
{
	struct world *world = link->world;
	world_later(world, silent ? between(world, 100 * MILLISECOND, 45 * SECOND) : between(world, 100, 100 * MILLISECOND),
	            on_noticed, link, side);
}

void link_cut(struct link *link, bool silent)
{
	way_cut(link, AGENT_SIDE);
	way_cut(link, SERVER_SIDE);
	notice(link, AGENT_SIDE, silent);
	notice(link, SERVER_SIDE, silent);
}

static void on_starved(void *subject, uint64_t side)
{
	link_close(subject, (enum side)side, -E_TIMEOUT);
}

/* As RPC_PING_MS and RPC_QUIET_MS have it: after 30 to 45 s. */
void link_starve(struct link *link, int64_t duration_us)
{
	for (int side = 0; side < 2; side++) {
		int64_t noticed = between(link->world, 30 * SECOND, 45 * SECOND);
		if (noticed < duration_us)
			world_later(link->world, noticed, on_starved, link, (uint64_t)side);
	}
}

void link_abandon(struct link *link)
{
	way_cut(link, AGENT_SIDE);
	way_cut(link, SERVER_SIDE);
	notice(link, SERVER_SIDE, true);
	side_closed(link, AGENT_SIDE, -E_CLOSED);
}

void links_of_node_end(struct node *node, bool silent)
{
	enum side side = node_is_server(node) ? SERVER_SIDE : AGENT_SIDE;
	LIST_EACH(at, &node->world->links) {
		struct link *link = LIST_ENTRY(at, struct link, node);
		if (node_of(link, side) != node || !link->open[side])
			continue;
		side_closed(link, side, -E_CLOSED);
		way_cut(link, side);
		way_cut(link, other(side));
		notice(link, other(side), silent);
	}
}

bool link_over_relay(const struct link *link, int relay)
{
	for (size_t i = 0; i < link->n_relays; i++)
		if (link->relays[i] == relay)
			return true;
	return false;
}

void links_free(struct world *world)
{
	LIST_EACH(at, &world->links) {
		struct link *link = LIST_ENTRY(at, struct link, node);
		for (int side = 0; side < 2; side++)
			LIST_EACH(frame, &link->ways[side].frames)
				free(LIST_ENTRY(frame, struct frame, node));
		peer_free(link->peer);
		free(link);
	}
	list_init(&world->links);
}
