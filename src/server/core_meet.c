/* Where the two legs of a tunnel meet: at the relay of core's machine; or, when both ends come in at one other machine of the server, at that one's. */
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

static int announce(struct core_meeting *meeting)
{
	struct core *core = meeting->core;
	murmesh_ComponentTask task = { .which_body = murmesh_ComponentTask_announce_tag, .body.announce = meeting->announcement };
	if (id_equal(&meeting->client, &meeting->agent) && !id_is_zero(&meeting->client))
		return core_component_ask(core, &meeting->client, &task, on_step, meeting);
	return core->relay ? rpc_unary(core->relay, &rpc_Relay_Announce, &meeting->announcement, 5000, on_announced, meeting)
	                   : -E_BUSY;
}

/* An end that comes in at another machine opens its leg there; that goes on to core's. */
static int forward(struct core_meeting *meeting, const struct id *at, bool client)
{
	const murmesh_Announcement *announcement = &meeting->announcement;
	murmesh_ComponentTask task = { .which_body = murmesh_ComponentTask_forward_tag };
	murmesh_Forwarding *forwarding = &task.body.forward;
	forwarding->lifetime_s = announcement->lifetime_s;
	forwarding->client = client;
	memcpy(forwarding->pair, announcement->pair, sizeof forwarding->pair);
	memcpy(forwarding->agent_hash, client ? announcement->client_hash : announcement->agent_hash,
	       sizeof forwarding->agent_hash);
	return core_component_ask(meeting->core, at, &task, on_step, meeting);
}

static void go_on(struct core_meeting *meeting, int err, const char *why)
{
	bool apart = !id_equal(&meeting->client, &meeting->agent);
	if (err < 0)
		return meeting->done(meeting->ctx, err, why);
	switch (meeting->step++) {
	case 0:
		err = announce(meeting);
		break;
	case 1:
		if (!apart || id_is_zero(&meeting->client))
			return go_on(meeting, 0, NULL);
		err = forward(meeting, &meeting->client, true);
		break;
	case 2:
		if (!apart || id_is_zero(&meeting->agent))
			return go_on(meeting, 0, NULL);
		err = forward(meeting, &meeting->agent, false);
		break;
	default:
		return meeting->done(meeting->ctx, 0, NULL);
	}
	if (err < 0)
		meeting->done(meeting->ctx, err, err == -E_BUSY ? "a relay on the way is not there just now" : NULL);
}

void core_meet(struct core_meeting *meeting)
{
	meeting->step = 0;
	go_on(meeting, 0, NULL);
}
