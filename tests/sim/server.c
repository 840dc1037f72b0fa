/* The server's end of links, as server/core_link.c and server/core_envelope.c have it. */
#include "base/err.h"
#include "sim.h"

/* ---- the peer of a link ---- */

static int on_send(void *ctx, const murmesh_Frame *frame)
{
	return link_send(ctx, SERVER_SIDE, frame);
}

static bool on_crowded(void *ctx)
{
	return link_crowded(ctx, SERVER_SIDE);
}

static void on_failed(void *ctx, int err)
{
	struct link *link = ctx;
	if (!node_dying(&link->world->nodes[0]))
		world_fail(link->world, "link", "the server cannot go on with agent %u: %s", link->agent->index, err_name(err));
}

static int on_destination(void *ctx, const murmesh_Envelope *envelope, struct id *ret)
{
	return message_arrive(ctx, SERVER_SIDE, envelope, ret);
}

static const struct peer_events peer_events = { on_send, on_crowded, on_failed, on_destination };

void server_ready(struct world *world, const struct id *destination)
{
	for (unsigned i = 1; i <= AGENTS_MAX && i < world->n_nodes; i++) {
		const struct link *link = world->nodes[i].online;
		if (!id_equal(&world->nodes[i].id, destination) || !link || !link->peer)
			continue;
		world_touch(world, &world->nodes[i]);
		peer_send(link->peer, node_now_ms(&world->nodes[0]));
	}
}

/* ---- devices that are deleted ---- */

void server_retire(struct node *device)
{
	struct node *server = &device->world->nodes[0];
	trace(device->world, server, "drops what waits for agent #", device->index, 0);
	device->out = true;
	route_retire(server->route, &device->id, node_now_ms(server));
	node_soon(server);
	if (device->online)
		link_close(device->online, SERVER_SIDE, -E_REVOKED);
}

/* Those that were deleted when the server ended before their queues were dropped. */
void server_began(struct world *world)
{
	struct route_queue queue;
	for (unsigned i = 1; i <= world->n_agents; i++)
		if (world->nodes[i].retired && route_queue_of(world->nodes[0].route, &world->nodes[i].id, &queue) && queue.waiting)
			server_retire(&world->nodes[i]);
}

/* ---- links ---- */

/* The newest link of a device supersedes the older one. */
static void link_register(struct link *link)
{
	struct link *older = link->device->online;
	link->device->online = link;
	link->registered = true;
	if (!older || older == link)
		return;
	older->registered = false;
	older->peer = peer_free(older->peer);
	link_close(older, SERVER_SIDE, -E_EXISTS);
}

void server_welcome(struct link *link, uint64_t continuation)
{
	struct node *server = &link->world->nodes[0];
	murmesh_Frame frame = { .which_body = murmesh_Frame_welcome_tag };
	link_register(link);
	frame.body.welcome.continuation = continuation;
	frame.body.welcome.server_time = node_now_ms(server) / 1000;
	trace(link->world, server, "welcomes agent #, number $", link->agent->index, continuation);
	int err = link_send(link, SERVER_SIDE, &frame);
	if (err == 0)
		err = peer_new(&server->peers, &link->device->id, &peer_events, link, &link->peer);
	if (err < 0 && !node_dying(server))
		world_fail(link->world, "link", "no peer for agent %u: %s", link->agent->index, err_name(err));
}

void server_frame(struct link *link, const murmesh_Frame *frame)
{
	struct node *server = &link->world->nodes[0];
	switch (frame->which_body) {
	case murmesh_Frame_hello_tag:
		if (link->registered || link->hello)
			return;
		link->hello = true;
		return registry_hello(link, frame->body.hello.continuation);
	case murmesh_Frame_continued_tag:
		if (!link->registered || link->continued)
			return;
		link->continued = true;
		return registry_keep(link, frame->body.continued.continuation);
	default:
		if (!link->peer)
			return;
		peer_frame(link->peer, frame, node_now_ms(server));
		node_soon(server);
	}
}

void server_link_closed(struct link *link)
{
	if (link->registered && link->device->online == link)
		link->device->online = NULL;
	link->registered = false;
	link->peer = peer_free(link->peer);
}
