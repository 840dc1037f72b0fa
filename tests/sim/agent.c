/* An agent: enrols, keeps a link to one of its parents, and its messages: agent/net_link.c, net_parent.c, net_thread.c, net_time.c,
 * net_envelope.c. */
#include "base/err.h"
#include "sim.h"

#define PAUSE_LEAST_MS 200
#define PAUSE_MOST_MS  15000
#define SLACK_MS       300000 /* as net_time.c */

/* ---- the parent's peer ---- */

static int on_send(void *ctx, const murmesh_Frame *frame)
{
	const struct node *agent = ctx;
	return agent->link ? link_send(agent->link, AGENT_SIDE, frame) : -E_CLOSED;
}

static bool on_crowded(void *ctx)
{
	const struct node *agent = ctx;
	return agent->link && link_crowded(agent->link, AGENT_SIDE);
}

static void on_failed(void *ctx, int err)
{
	struct node *agent = ctx;
	if (!node_dying(agent))
		world_fail(agent->world, "link", "agent %u cannot go on with its link: %s", agent->index, err_name(err));
}

static int on_destination(void *ctx, const murmesh_Envelope *envelope, struct id *ret)
{
	return message_arrive(((struct node *)ctx)->link, AGENT_SIDE, envelope, ret);
}

static const struct peer_events peer_events = { on_send, on_crowded, on_failed, on_destination };

/* ---- the way to the server ---- */

static size_t relays_to(const struct world *world, int parent, int relays[HOPS_MAX])
{
	size_t n = 0;
	for (; parent >= 0; parent = world->relays[parent].parent)
		relays[n++] = parent;
	return n;
}

static bool blocked(const struct world *world, const int64_t until[2])
{
	return until[0] > world->now_us || until[1] > world->now_us;
}

static bool reaches(const struct node *agent, int parent)
{
	const struct world *world = agent->world;
	int relays[HOPS_MAX];
	size_t n = relays_to(world, parent, relays);
	if (node_dying(&world->nodes[0]) || !world->nodes[0].route || blocked(world, agent->blocked_until))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!world->relays[relays[i]].up || blocked(world, world->relays[relays[i]].blocked_until))
			return false;
	return true;
}

bool agent_reaches(const struct node *agent)
{
	return reaches(agent, agent->parents[agent->parent]);
}

/* ---- dialing ---- */

static void on_retry(void *subject, uint64_t attempt);

/* The same once more when it was linked; then the others, one after the other. */
static bool parent_next(struct node *agent, bool linked)
{
	if (agent->n_parents < 2 || linked)
		return agent->n_parents >= 2;
	if (++agent->tried < agent->n_parents) {
		agent->parent = (agent->parent + 1) % agent->n_parents;
		return true;
	}
	agent->tried = agent->parent = 0;
	return false;
}

static void link_later(struct node *agent, bool linked)
{
	struct world *world = agent->world;
	agent->attempt++;
	if (node_dying(agent) || agent->stopped)
		return;
	bool soon = parent_next(agent, linked);
	int64_t most = soon ? PAUSE_LEAST_MS : agent->pause_ms;
	world_later(world, (50 + between(world, 0, most)) * MILLISECOND, on_retry, agent, agent->attempt);
	if (!soon)
		agent->pause_ms = agent->pause_ms * 2 < PAUSE_MOST_MS ? agent->pause_ms * 2 : PAUSE_MOST_MS;
}

static void on_dialed(void *subject, uint64_t attempt)
{
	struct node *agent = subject;
	struct world *world = agent->world;
	murmesh_Frame frame = { .which_body = murmesh_Frame_hello_tag };
	int relays[HOPS_MAX];
	if (agent->attempt != attempt || node_dying(agent))
		return;
	if (!agent_reaches(agent))
		return link_later(agent, false);
	size_t n = relays_to(world, agent->parents[agent->parent], relays);
	agent->link = link_new(agent, relays, n);
	trace(world, agent, "opens a link over # relays, shows $", n, agent->continuation);
	frame.body.hello.continuation = agent->continuation;
	link_send(agent->link, AGENT_SIDE, &frame);
}

static void on_retry(void *subject, uint64_t attempt)
{
	struct node *agent = subject;
	struct world *world = agent->world;
	if (agent->attempt != attempt || node_dying(agent))
		return;
	bool soon = agent_reaches(agent) || chance(world, 50);
	world_later(world,
	            soon ? between(world, MILLISECOND, 80 * MILLISECOND)
	                 : between(world, SECOND, (agent->n_parents > 1 ? 4 : 10) * SECOND),
	            on_dialed, agent, attempt);
}

void agent_start(struct node *agent)
{
	agent->pause_ms = PAUSE_LEAST_MS;
	agent->continuation = agent->kept.continuation;
	agent->parent = agent->tried = 0;
	if (agent->stopped)
		return;
	if (agent->kept.enrolled)
		link_later(agent, true);
	else
		registry_ask(agent);
}

/* Before its route is freed. */
void agent_end(struct node *agent)
{
	agent->attempt++;
	agent->link = NULL;
	agent->peer = peer_free(agent->peer);
}

/* ---- the link ---- */

void agent_link_closed(struct node *agent, int err)
{
	struct world *world = agent->world;
	bool linked = agent->peer != NULL;
	agent->link = NULL;
	agent->peer = peer_free(agent->peer);
	if (node_dying(agent))
		return;
	trace(world, agent, "has lost its link: error #", (uint64_t)-err, 0);
	if (err == -E_COPY)
		return registry_split(agent);
	agent->stopped |= err == -E_REVOKED;
	link_later(agent, linked);
}

void agent_roam(struct node *agent, unsigned parent)
{
	if (!agent->link || node_dying(agent))
		return;
	trace(agent->world, agent, "goes to its parent #", parent, 0);
	tally.roamed++;
	agent->pause_ms = PAUSE_LEAST_MS;
	link_abandon(agent->link);
	agent->parent = parent;
}

static void on_return(void *subject, uint64_t attempt)
{
	struct node *agent = subject;
	if (agent->attempt != attempt || !agent->parent)
		return;
	unsigned to = agent->asked++ % agent->parent;
	if (reaches(agent, agent->parents[to]))
		return agent_roam(agent, to);
	world_later(agent->world, between(agent->world, 2 * SECOND, 20 * SECOND), on_return, agent, attempt);
}

/* What servers tell never goes far back. */
static bool time_learn(struct node *agent, int64_t told_ms)
{
	if (told_ms + SLACK_MS < agent->kept.time_least)
		return false;
	agent->ahead_ms = 0;
	agent->ahead_ms = told_ms - node_now_ms(agent);
	if (told_ms > agent->kept.time_least)
		agent->kept.time_least = told_ms;
	return true;
}

/* The number comes to disk before its word goes back. */
static void thread_go_on(struct node *agent, uint64_t number)
{
	murmesh_Frame frame = { .which_body = murmesh_Frame_continued_tag };
	if (!node_step(agent))
		return;
	agent->continuation = agent->kept.continuation = number;
	if (!node_step(agent))
		return;
	frame.body.continued.continuation = number;
	link_send(agent->link, AGENT_SIDE, &frame);
}

static void on_welcome(struct node *agent, const murmesh_Welcome *welcome)
{
	static const struct id server;
	struct world *world = agent->world;
	if (!time_learn(agent, welcome->server_time * 1000))
		return link_close(agent->link, AGENT_SIDE, -E_CERTIFICATE_EXPIRED);
	thread_go_on(agent, welcome->continuation);
	agent->pause_ms = PAUSE_LEAST_MS;
	agent->tried = 0;
	if (agent->parent)
		world_later(world, between(world, 2 * SECOND, 20 * SECOND), on_return, agent, agent->attempt);
	if (node_dying(agent) || (!agent->route && node_open(agent) < 0))
		return;
	int err = peer_new(&agent->peers, &server, &peer_events, agent, &agent->peer);
	if (err < 0 && !node_dying(agent))
		world_fail(world, "link", "agent %u has no peer: %s", agent->index, err_name(err));
}

void agent_frame(struct node *agent, const murmesh_Frame *frame)
{
	if (frame->which_body == murmesh_Frame_welcome_tag)
		return on_welcome(agent, &frame->body.welcome);
	if (!agent->peer)
		return;
	peer_frame(agent->peer, frame, node_now_ms(agent));
	node_soon(agent);
}
