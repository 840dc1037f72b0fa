/* Where the two legs of a tunnel meet: at the relay of core's machine; when both ends come in at one other machine of the server, there; when each comes in at
 * another one, at a relay that both of these reach.  Who comes in elsewhere than where they meet has his leg passed on by the machine that he comes in at. */
#include "base/err.h"
#include "server/core.h"

static void go_on(struct core_meeting *meeting, int err, const char *why);

static void on_step(void *ctx, int err, const char *why)
{
	go_on(ctx, err, why);
}

static void on_announced(void *ctx, int err, const char *why, const void *response)
{
	(void)response;
	go_on(ctx, err, why);
}

static void choose(struct core_meeting *meeting)
{
	const struct core *core = meeting->core;
	murmesh_Forwarding there;
	if (id_is_zero(&meeting->client) || id_is_zero(&meeting->agent))
		return;
	if (id_equal(&meeting->client, &meeting->agent) || core_component_relay_reach(core, &meeting->client, &there))
		meeting->at = meeting->client;
	else if (core_component_relay_reach(core, &meeting->agent, &there))
		meeting->at = meeting->agent;
	else
		core_component_relay_find(core, &meeting->at);
}

static int announce(struct core_meeting *meeting)
{
	struct core *core = meeting->core;
	murmesh_ComponentTask task = { .which_body = murmesh_ComponentTask_announce_tag, .body.announce = meeting->announcement };
	if (!id_is_zero(&meeting->at))
		return core_component_ask(core, &meeting->at, &task, on_step, meeting);
	return core->relay ? rpc_unary(core->relay, &rpc_Relay_Announce, &meeting->announcement, 5000, on_announced, meeting)
	                   : -E_BUSY;
}

/* Nothing to do for an end that comes in where they meet. */
static int forward(struct core_meeting *meeting, const struct id *from, const uint8_t hash[HASH_SIZE], bool client)
{
	const murmesh_Announcement *announcement = &meeting->announcement;
	murmesh_ComponentTask task = { .which_body = murmesh_ComponentTask_forward_tag };
	murmesh_Forwarding *forwarding = &task.body.forward;
	if (id_equal(from, &meeting->at)) {
		go_on(meeting, 0, NULL);
		return 0;
	}
	if (!id_is_zero(&meeting->at) && !core_component_relay_reach(meeting->core, &meeting->at, forwarding))
		return -E_BUSY; /* it has gone meanwhile */
	forwarding->lifetime_s = announcement->lifetime_s;
	forwarding->client = client;
	memcpy(forwarding->pair, announcement->pair, sizeof forwarding->pair);
	memcpy(forwarding->agent_hash, hash, sizeof forwarding->agent_hash);
	return core_component_ask(meeting->core, from, &task, on_step, meeting);
}

static void go_on(struct core_meeting *meeting, int err, const char *why)
{
	const murmesh_Announcement *announcement = &meeting->announcement;
	unsigned step = meeting->step++;
	if (err < 0 || step == 3)
		return meeting->done(meeting->ctx, err, why);
	err = step == 0   ? announce(meeting)
	      : step == 1 ? forward(meeting, &meeting->client, announcement->client_hash, true)
	                  : forward(meeting, &meeting->agent, announcement->agent_hash, false);
	if (err < 0)
		meeting->done(meeting->ctx, err, err == -E_BUSY ? "a relay on the way is not there just now" : NULL);
}

void core_meet(struct core_meeting *meeting)
{
	choose(meeting);
	go_on(meeting, 0, NULL);
}
