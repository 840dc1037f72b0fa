/* Messages, their senders, and what must hold after every step:
 *   I1  what was acknowledged waits somewhere, has arrived, or is a dead letter (or, a state, gave way to a newer one) for a reason that is true;
 *   I2  it arrives once (once more where its receiver died before it could note that);
 *   I3  no node is given what was not sent to it, or as from somebody else. */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "sim.h"

#define TYPE       "sim"
#define QUEUE_MOST 1024
#define DAY_MS     ((int64_t)86400000)

/* ---- which one ---- */

static void id_make(const struct message *message, uint8_t out[16])
{
	memset(out, 0x5e, 16);
	out[14] = (uint8_t)(message->serial >> 8);
	out[15] = (uint8_t)message->serial;
}

/* Else it tells of a gap. */
static bool is_ours(const struct id *id)
{
	for (int i = 0; i < 14; i++)
		if (id->bytes[i] != 0x5e)
			return false;
	return true;
}

static struct message *message_find(struct world *world, const uint8_t id[16], const struct node *to)
{
	unsigned serial = (unsigned)(id[14] << 8 | id[15]);
	for (unsigned i = serial; i < world->n_messages && world->messages[i].serial == serial; i++) {
		uint8_t made[16];
		id_make(&world->messages[i], made);
		if (world->messages[i].to == to && memcmp(made, id, sizeof made) == 0)
			return &world->messages[i];
	}
	return NULL;
}

static struct node *agent_of(const struct message *message)
{
	return node_is_server(message->from) ? message->to : message->from;
}

/* What a copy takes away from its original, and the other way around, nobody can know. */
static bool is_copied(const struct message *message)
{
	return message->world->copied && message->world->copied == agent_of(message);
}

static bool exempt(const struct message *message)
{
	return is_copied(message) || agent_of(message)->retired;
}

static struct node *node_by_id(struct world *world, const struct id *id)
{
	for (unsigned i = 0; i <= world->n_agents; i++)
		if (id_equal(&world->nodes[i].id, id))
			return &world->nodes[i];
	return NULL;
}

static uint8_t body_byte(const struct message *message, size_t at)
{
	return (uint8_t)(message->number * 31 + at * 7 + message->to->index);
}

static int64_t lifetime_ms(const struct message *message)
{
	return 1000 * (int64_t)(message->lifetime_s ? message->lifetime_s : ENVELOPE_LIFETIME_S);
}

/* ---- senders: they offer until they are answered ---- */

static void on_offer(void *subject, uint64_t argument);

static void offer_later(struct message *message, int64_t most_us)
{
	struct world *world = message->world;
	message->state = MESSAGE_NEW;
	world_later(world, between(world, 50 * MILLISECOND, most_us), on_offer, message, ++message->offers);
}

static void answered(struct message *message, int err)
{
	struct world *world = message->world;
	if (node_dying(message->from))
		return; /* nobody hears it; messages_ended() */
	if (err < 0 && !route_refused_for_good(err))
		return offer_later(message, 3 * SECOND);
	trace(world, message->from, err < 0 ? "refuses message #: error $" : "has message #", message->number, (uint64_t)-err);
	if (err == -E_ENVELOPE_RETIRED && message->to->retired) {
		message->state = MESSAGE_REFUSED;
		return;
	}
	if (err < 0)
		world_fail(world, "I1", "message %u is not taken: %s", message->number, err_name(err));
	message->state = MESSAGE_KEPT;
	tally.acknowledged++;
	world_touch(world, agent_of(message));
	if (!exempt(message) && !message->laid && !message->dead_here && !message->dead_there && !message->replaced)
		list_append(&world->owed[agent_of(message)->index], &message->owed);
}

static void on_accepted(struct route_giver *giver, int err)
{
	answered(LIST_ENTRY(giver, struct message, giver), err);
}

static void envelope_make(const struct message *message, int64_t created_ms, struct buf *out)
{
	static uint8_t body[16384];
	murmesh_Envelope envelope = { .type = TYPE, .priority = message->priority, .lifetime_s = message->lifetime_s };
	envelope.created_ms = created_ms;
	id_make(message, envelope.id);
	if (message->key)
		snprintf(envelope.key, sizeof envelope.key, "state %u", message->key);
	if (node_is_server(message->from)) {
		envelope.which_to = murmesh_Envelope_node_tag;
		memcpy(envelope.to.node, message->to->id.bytes, sizeof envelope.to.node);
	} else {
		envelope.which_to = murmesh_Envelope_server_tag;
		envelope.to.server = true;
		envelope.from.size = sizeof message->from->id.bytes;
		memcpy(envelope.from.bytes, message->from->id.bytes, sizeof message->from->id.bytes);
	}
	for (size_t i = 0; i < message->len; i++)
		body[i] = body_byte(message, i);
	if (envelope_write(&envelope, (struct str){ (const char *)body, message->len }, out) < 0)
		world_fail(message->world, "end", "message %u cannot be written", message->number);
}

static void on_offer(void *subject, uint64_t offers)
{
	struct message *message = subject;
	struct node *from = message->from;
	struct buf bytes;
	if (message->offers != offers)
		return;
	if (agent_of(message)->retired) {
		message->state = MESSAGE_REFUSED;
		return;
	}
	if (node_dying(from) || !from->route)
		return offer_later(message, SECOND);
	int64_t now_ms = node_now_ms(from);
	if (!message->created_most || now_ms < message->created_least)
		message->created_least = now_ms;
	if (now_ms > message->created_most)
		message->created_most = now_ms;
	buf_init(&bytes, ENVELOPE_MAX);
	envelope_make(message, now_ms, &bytes);
	message->state = MESSAGE_OFFERED;
	world_touch(message->world, agent_of(message));
	int err = route_accept(from->route, &message->to->id, buf_str(&bytes), now_ms, &message->giver);
	buf_done(&bytes);
	node_soon(from);
	if (err < 0)
		answered(message, err == -E_EXISTS ? 0 : err);
}

/* ---- making them ---- */

static size_t length(struct world *world)
{
	uint64_t kind = chance_below(world, 20);
	return (size_t)(kind == 0 ? between(world, 9000, 14000) : kind <= 6 ? between(world, 600, 3000) : between(world, 10, 500));
}

static void message_new(struct world *world, unsigned serial, const struct message *like, struct node *from, struct node *to)
{
	struct message *message = &world->messages[world->n_messages];
	*message = *like;
	message->world = world;
	message->giver.accepted = on_accepted;
	message->number = (uint16_t)world->n_messages++;
	message->serial = (uint16_t)serial;
	message->from = from;
	message->to = to;
	list_init(&message->owed);
	tally.messages++;
	trace(world, from, "is to send message # to $", message->number, to->index);
	offer_later(message, 100 * MILLISECOND);
}

static bool can_write_to(const struct world *world, const struct node *agent)
{
	return !id_is_zero(&agent->id) && world->copied != agent && !agent->retired;
}

static struct node *any_agent(struct world *world)
{
	return &world->nodes[world->busy && chance(world, 80) ? 1 : 1 + chance_below(world, world->n_agents)];
}

static void group_new(struct world *world, const struct message *like)
{
	unsigned serial = world->n_messages, first = any_agent(world)->index - 1;
	unsigned n = chance(world, 15) ? 2 + (unsigned)chance_below(world, 4) : 1;
	for (unsigned i = 0; i < world->n_agents && n && world->n_messages < MESSAGES_MAX; i++) {
		struct node *to = &world->nodes[1 + (first + i) % world->n_agents];
		if (!can_write_to(world, to))
			continue;
		message_new(world, serial, like, &world->nodes[0], to);
		n--;
	}
}

static void on_create(void *subject, uint64_t argument)
{
	struct world *world = subject;
	struct message like = { .priority = (murmesh_Priority)chance_below(world, 3), .len = length(world) };
	(void)argument;
	if (world->calm || world->n_messages == MESSAGES_MAX)
		return;
	like.lifetime_s = chance(world, 12) ? (uint32_t)between(world, 3, 60) : 0;
	like.key = chance(world, 25) ? (uint8_t)between(world, 1, 2) : 0;
	struct node *agent = any_agent(world);
	if (!chance(world, 25))
		group_new(world, &like);
	else if (can_write_to(world, agent))
		message_new(world, world->n_messages, &like, agent, &world->nodes[0]);
	world_later(world, between(world, 0, 2 * world->message_us), on_create, world, 0);
}

void messages_begin(struct world *world)
{
	world_later(world, SECOND, on_create, world, 0);
}

/* ---- I3 ---- */

static bool is_gap(const murmesh_Envelope *envelope)
{
	return strcmp(envelope->type, ROUTE_GAP_TYPE) == 0;
}

static bool is_for(const struct node *node, const murmesh_Envelope *envelope)
{
	if (node_is_server(node))
		return envelope->which_to == murmesh_Envelope_server_tag;
	return envelope->which_to == murmesh_Envelope_node_tag &&
	       memcmp(envelope->to.node, node_own(node)->bytes, sizeof envelope->to.node) == 0;
}

static bool is_from(const struct node *node, const murmesh_Envelope *envelope)
{
	if (node_is_server(node))
		return envelope->from.size == 0;
	return envelope->from.size == sizeof node->id.bytes &&
	       memcmp(envelope->from.bytes, node->id.bytes, sizeof node->id.bytes) == 0;
}

int message_arrive(struct link *link, enum side side, const murmesh_Envelope *envelope, struct id *ret)
{
	struct world *world = link->world;
	struct node *server = &world->nodes[0], *node = side == SERVER_SIDE ? server : link->agent;
	const struct node *from = side == SERVER_SIDE ? link->device : server;
	const struct message *message = message_find(world, envelope->id, node_device(node));
	if (!is_for(node, envelope))
		world_fail(world, "I3", "node %u is given an envelope for another", node->index);
	link_came(link, side);
	*ret = *node_own(node);
	if (is_gap(envelope))
		return 0;
	if (!is_from(from, envelope) || !message || message->from != from)
		world_fail(world, "I3", "node %u is given an envelope that node %u did not send", node->index, from->index);
	trace(world, node, "is given message # by $", message->number, from->index);
	return 0;
}

/* ---- I2 ---- */

static bool body_right(const struct message *message, struct str body)
{
	if (body.len != message->len)
		return false;
	for (size_t i = 0; i < body.len; i++)
		if ((uint8_t)body.ptr[i] != body_byte(message, i))
			return false;
	return true;
}

void message_lay(struct node *node, const murmesh_Envelope *envelope, struct str body)
{
	struct world *world = node->world;
	struct message *message = message_find(world, envelope->id, node_device(node));
	if (is_gap(envelope)) {
		tally.gaps++;
		return trace(world, node, "is told of what it has missed", 0, 0);
	}
	if (!message || !is_for(node, envelope))
		world_fail(world, "I3", "node %u lays down what was not sent to it", node->index);
	if (!body_right(message, body))
		world_fail(world, "I1", "message %u comes to node %u with another body", message->number, node->index);
	trace(world, node, "lays down message #", message->number, 0);
	if (++message->laid > 1 + message->may_repeat && !is_copied(message))
		world_fail(world, "I2", "message %u is laid down %u times by node %u", message->number, message->laid, node->index);
	tally.laid++;
	tally.repeated += message->laid > 1;
	list_remove(&message->owed);
	node->laid[node->n_laid++] = message->number;
}

void messages_synced(struct node *node)
{
	struct spool_stats stats;
	bool good = node->disk.failures == node->failures;
	route_spool_stats(node->route, &stats);
	node->starved = !good && (stats.full || node->starved);
	if (good) {
		node->n_laid -= node->n_syncing;
		memmove(node->laid, node->laid + node->n_syncing, node->n_laid * sizeof *node->laid);
	}
	node->n_syncing = 0;
}

void messages_ended(struct node *node)
{
	struct world *world = node->world;
	for (unsigned i = 0; i < world->n_messages; i++)
		if (world->messages[i].from == node && world->messages[i].state == MESSAGE_OFFERED)
			offer_later(&world->messages[i], 3 * SECOND);
	for (unsigned i = 0; i < node->n_laid; i++)
		world->messages[node->laid[i]].may_repeat++;
	node->n_laid = node->n_syncing = 0;
	/* Where the disk is full, room comes first: what a segment knew of earlier messages may go before it is written again. */
	for (unsigned i = 0; node->starved && i < world->n_messages; i++)
		world->messages[i].may_repeat += world->messages[i].to == node_device(node);
	node->starved = false;
}

/* ---- dead letters ---- */

/* Clocks of agents are as far behind as the server's word was under way. */
static bool has_expired(const struct node *node, const struct message *message)
{
	int64_t slack_ms = node->world->clock_jumped ? 8 * DAY_MS : node_is_server(node) ? 0 : 100000;
	return node_now_ms(node) + slack_ms >= message->created_least + lifetime_ms(message);
}

static bool queue_is_full(const struct node *node, const struct id *destination)
{
	struct route_queue queue;
	return !node->route || (route_queue_of(node->route, destination, &queue) && queue.waiting >= node->settings.limits.count);
}

static bool is_true(const struct node *node, const struct message *message, const struct id *destination, enum route_dead why)
{
	switch (why) {
	case ROUTE_EXPIRED:
		return has_expired(node, message);
	case ROUTE_LIMIT:
		return queue_is_full(node, destination);
	case ROUTE_DAMAGED:
		return node->disk.failures > 0;
	case ROUTE_REFUSED:
		return message->dead_there;
	case ROUTE_RETIRED:
		return message->to->retired;
	default:
		return false;
	}
}

void message_dead(struct node *node, const struct id *destination, const struct id *id, enum route_dead why)
{
	struct world *world = node->world;
	struct message *message = message_find(world, id->bytes, node_by_id(world, destination));
	if (!message && !is_ours(id))
		return;
	if (!message)
		world_fail(world, "I1", "node %u has a dead letter that nobody wrote: %s", node->index, route_dead_name(why));
	trace(world, node, "gives up message #: reason $", message->number, why);
	if (!is_copied(message) && !is_true(node, message, destination, why))
		world_fail(world, "I1", "message %u is a dead letter of node %u without a cause: %s", message->number, node->index,
		           route_dead_name(why));
	*(node == message->from ? &message->dead_here : &message->dead_there) = true;
	tally.dead[why]++;
	list_remove(&message->owed);
}

/* ---- states ---- */

/* It gives way to one that is newer by its sender's clock. */
static bool has_newer(const struct message *message)
{
	const struct world *world = message->world;
	for (unsigned i = 0; message->key && i < world->n_messages; i++) {
		const struct message *other = &world->messages[i];
		if (other == message || other->key != message->key || other->from != message->from || other->to != message->to)
			continue;
		if (other->created_most && (other->created_most >= message->created_least || world->clock_went_back))
			return true;
	}
	return false;
}

void message_replaced(struct node *node, const struct id *destination, const struct id *id)
{
	struct world *world = node->world;
	struct message *message = message_find(world, id->bytes, node_by_id(world, destination));
	if (!message && !is_ours(id))
		return; /* of two that tell of a gap */
	if (!message || !has_newer(message))
		world_fail(world, "I1", "node %u gives up message %u for a newer one that is not there", node->index,
		           message ? message->number : MESSAGES_MAX);
	trace(world, node, "gives up message # for a newer one", message->number, 0);
	tally.replaced++;
	message->replaced = true;
	list_remove(&message->owed);
}

/* ---- I1 ---- */

static void queue_mark(struct world *world, const struct node *node, const struct node *to)
{
	static struct route_waiting waiting[QUEUE_MOST];
	size_t n = route_queue_list(node->route, &to->id, waiting, QUEUE_MOST);
	for (size_t i = 0; i < n; i++) {
		struct message *message = message_find(world, waiting[i].id.bytes, to);
		if (!message && !is_ours(&waiting[i].id))
			continue;
		if (!message)
			world_fail(world, "I3", "in a queue of node %u waits what nobody sent to %u", node->index, to->index);
		message->found = world->look;
	}
}

static void agent_check(struct world *world, struct node *agent)
{
	struct node *server = &world->nodes[0];
	if (list_empty(&world->owed[agent->index]) || node_dying(agent) || !agent->route)
		return;
	queue_mark(world, server, agent);
	queue_mark(world, agent, agent);
	queue_mark(world, agent, server);
	LIST_EACH(at, &world->owed[agent->index]) {
		struct message *message = LIST_ENTRY(at, struct message, owed);
		if (message->found != world->look)
			world_fail(world, "I1", "message %u from node %u to node %u was acknowledged, and is nowhere",
			           message->number, message->from->index, message->to->index);
	}
}

void messages_check(struct world *world)
{
	struct node *server = &world->nodes[0];
	if (!world->touched || node_dying(server) || !server->route)
		return;
	world->look++;
	queue_mark(world, server, server);
	for (unsigned i = 1; i <= world->n_agents; i++)
		if (world->touched & (1 | (uint64_t)1 << i))
			agent_check(world, &world->nodes[i]);
}

/* ---- the end ---- */

static bool waits(const struct node *node, const struct node *to)
{
	struct route_queue queue;
	return node->route && node->world->copied != to && route_queue_of(node->route, &to->id, &queue) && queue.waiting;
}

const char *messages_unsettled(struct world *world, unsigned *ret_number)
{
	for (*ret_number = 0; *ret_number < world->n_messages; ++*ret_number) {
		const struct message *message = &world->messages[*ret_number];
		if (exempt(message))
			continue;
		if (message->state != MESSAGE_KEPT)
			return "a message is not acknowledged";
		if (!list_empty(&message->owed))
			return "a message has not arrived";
	}
	for (*ret_number = 1; *ret_number <= world->n_agents; ++*ret_number) {
		const struct node *agent = &world->nodes[*ret_number], *server = &world->nodes[0];
		if (agent->retired && !waits(server, agent))
			continue;
		if (waits(server, agent) || waits(agent, agent) || (world->copied != agent && waits(agent, server)))
			return "messages wait, though they have arrived, at or for an agent";
	}
	LIST_EACH(at, &world->links) {
		const struct link *link = LIST_ENTRY(at, struct link, node);
		*ret_number = link->agent->index;
		if (!link_credit_whole(link))
			return "credit is missing on a link of an agent";
	}
	return NULL;
}
