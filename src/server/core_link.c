/* Control links of agents: presence, and messages to them. */
#include <limits.h>

#include "base/err.h"
#include "base/mem.h"
#include "ca/continuity.h"
#include "os/clock.h"
#include "os/log.h"
#include "server/core.h"

struct device_link {
	struct core *core;
	struct rpc_call *call;
	struct id device;
	unsigned hellos; /* jobs that still point here */
	struct core_inventories inventories;
	struct core_envelopes *envelopes;
	struct id via[RPC_VIA_MAX]; /* relays between, the device's parent first */
	size_t n_via;
	struct id component; /* another machine of the server that it comes in at; zero: none */
	bool registered, continued;
	bool relay_signed; /* it takes no order to be a relay but a signed one */
};

static void link_release(struct device_link *link)
{
	if (!link->call && !link->hellos)
		mem_free(link);
}

struct hello_job {
	struct core_job base;
	struct device_link *link;
	struct id id, parent;
	struct device device; /* as it is afterwards */
	murmesh_Hello hello;
	uint64_t continuation;
	struct core_rows revoked; /* keys of users */
	struct approval asked;    /* about a copy */
	bool frozen;
};

struct seen_job {
	struct store_job job;
	struct core *core;
	struct id id;
	struct device device; /* as it is afterwards */
};

static int seen_run(struct store_tx *tx, struct store_job *job)
{
	struct seen_job *seen = (struct seen_job *)job;
	int err = fleet_device_seen(tx, &seen->id, clock_wall_s());
	return err < 0 ? err : fleet_device_get(tx, &seen->id, &seen->device);
}

static void seen_done(struct store_job *job, int err)
{
	struct seen_job *seen = (struct seen_job *)job;
	if (err < 0 && err != -E_NOT_FOUND)
		log_limited(LOG_WARNING, "last_seen was not kept: %s %s", err_text(err), job->detail);
	else if (err == 0)
		core_watch_device(seen->core, &seen->device, NULL);
	mem_free(job);
}

static void keep_seen(struct core *core, const struct id *device)
{
	struct seen_job *seen = mem_alloc(sizeof *seen);
	if (!seen)
		return;
	seen->job.run = seen_run;
	seen->job.done = seen_done;
	seen->core = core;
	seen->id = *device;
	if (store_submit(core->store, &seen->job) < 0)
		mem_free(seen);
}

static int hello_run(struct store_tx *tx, struct core_job *job)
{
	struct hello_job *hello = (struct hello_job *)job;
	int err = fleet_device_live(tx, &hello->id, &hello->device);
	if (err == 0)
		err = core_copy_check(tx, &hello->device, hello->hello.continuation, "", &hello->asked);
	if (err == -E_FROZEN && !id_is_zero(&hello->asked.device)) {
		hello->frozen = true;
		return 0;
	}
	if (err == 0)
		err = ca_continuity_next(tx, &hello->id, hello->hello.continuation, &hello->continuation);
	const struct device_platform platform = { .os = str_from(hello->hello.os),
		                                  .arch = str_from(hello->hello.arch),
		                                  .version = str_from(hello->hello.version),
		                                  .relay_address = str_from(hello->hello.relay_address),
		                                  .parent = hello->parent };
	if (err == 0)
		err = fleet_device_update(tx, &hello->id, &platform);
	if (err == 0)
		err = fleet_device_seen(tx, &hello->id, clock_wall_s());
	if (err == 0)
		err = core_revoked_users(tx, &hello->revoked);
	return err < 0 ? err : fleet_device_get(tx, &hello->id, &hello->device);
}

static int revoked_send(const struct hello_job *hello)
{
	static murmesh_Frame frame;
	int err = 0;
	for (size_t at = 0; err == 0 && core_revoked_frame(&hello->revoked, &at, &frame);)
		err = rpc_call_send(hello->link->call, &frame);
	return err;
}

/* The newest link of a device supersedes the older one: a machine that roams comes back before its old link is known to be dead. */
static int link_register(struct device_link *link)
{
	struct device_link *older = map_get(link->core->online, link->device.bytes, sizeof link->device.bytes);
	if (older && older != link) {
		older->registered = false;
		older->envelopes = core_envelopes_end(older->envelopes);
		rpc_call_finish(older->call, -E_EXISTS, "the device opened a newer link");
	}
	core_receiver_end(link->core, &link->device, -E_HAS_AGENT, NULL);
	int err = map_put(link->core->online, link->device.bytes, sizeof link->device.bytes, link);
	link->registered = err == 0;
	return err;
}

static void hello_done(struct core_job *job)
{
	struct hello_job *hello = (struct hello_job *)job;
	struct device_link *link = hello->link;
	murmesh_Frame frame = { .which_body = murmesh_Frame_welcome_tag };
	if (hello->frozen) {
		core_copy_seen(job->core, &hello->asked);
		return core_job_fail(job, -E_FROZEN, NULL);
	}
	int err = link->call ? link_register(link) : 0;
	if (link->call && err == 0) {
		frame.body.welcome.continuation = hello->continuation;
		core_time_welcome(job->core, &frame.body.welcome);
		str_copy(STR(MURMESH_VERSION), frame.body.welcome.version, sizeof frame.body.welcome.version);
		frame.body.welcome.server_time = clock_wall_s();
		frame.body.welcome.has_relay = !hello->hello.relay_signed;
		frame.body.welcome.relay.enabled = hello->device.relay;
		core_policy_welcome(job->core, hello->hello.policy_version, &frame.body.welcome);
		core_inventory_welcome(&link->inventories, &frame.body.welcome);
		err = rpc_call_send(link->call, &frame);
		if (err == 0)
			err = revoked_send(hello);
		if (err == 0)
			err = core_ended_welcome(job->core, link->call);
		if (err == 0)
			err = core_pairs_welcome(job->core, &link->device);
		link->relay_signed = hello->hello.relay_signed;
		if (link->relay_signed && hello->hello.relay != hello->device.relay)
			core_duty(job->core, &link->device, hello->device.relay);
		link->envelopes = core_envelopes_begin(job->core, link->call, &link->device);
		core_watch_device(job->core, &hello->device, NULL);
	}
	if (err < 0)
		rpc_call_finish(job->call, err, NULL);
	core_job_free(job);
}

static void hello_ended(struct core_job *job)
{
	struct hello_job *hello = (struct hello_job *)job;
	struct device_link *link = hello->link;
	core_rows_done(&hello->revoked);
	link->hellos--;
	link_release(link);
}

static void on_hello(struct device_link *link, const murmesh_Hello *message)
{
	struct hello_job *hello = core_job_new(link->core, link->call, sizeof *hello);
	if (!hello)
		return;
	hello->base.run = hello_run;
	hello->base.done = hello_done;
	hello->base.ended = hello_ended;
	link->hellos++;
	hello->link = link;
	hello->id = link->device;
	if (link->n_via)
		hello->parent = link->via[0];
	hello->hello = *message;
	core_job_submit(&hello->base);
}

/* ---- the number of a welcome is kept ---- */

struct kept_job {
	struct store_job job;
	struct id id;
	uint64_t number;
};

static int kept_run(struct store_tx *tx, struct store_job *job)
{
	const struct kept_job *kept = (const struct kept_job *)job;
	return ca_continuity_keep(tx, &kept->id, kept->number);
}

static void kept_done(struct store_job *job, int err)
{
	if (err < 0)
		log_limited(LOG_WARNING, "a link's number was not kept: %s %s", err_text(err), job->detail);
	mem_free(job);
}

static void on_continued(struct device_link *link, uint64_t number)
{
	struct kept_job *kept = link->registered && !link->continued ? mem_alloc(sizeof *kept) : NULL;
	if (!kept)
		return;
	link->continued = true; /* once: each is a job */
	kept->job.run = kept_run;
	kept->job.done = kept_done;
	kept->id = link->device;
	kept->number = number;
	if (store_submit(link->core->store, &kept->job) < 0)
		mem_free(kept);
}

static void on_message(void *ctx, const void *message)
{
	struct device_link *link = ctx;
	const murmesh_Frame *frame = message;
	char device[ID_TEXT_SIZE];
	switch (frame->which_body) {
	case murmesh_Frame_hello_tag:
		if (!link->registered && !link->hellos) /* once: each is a job */
			on_hello(link, &frame->body.hello);
		break;
	case murmesh_Frame_refusal_tag:
		id_format(&link->device, device);
		log_limited(LOG_INFO, "device %s refused a tunnel: %s", device,
		            err_text((int)(frame->body.refusal.error & INT_MAX)));
		core_pair_refused(link->core, &link->device, &frame->body.refusal);
		break;
	case murmesh_Frame_order_refused_tag:
		id_format(&link->device, device);
		log_limited(LOG_WARNING, "device %s did not take an order %s: %s", device,
		            frame->body.order_refused.order == murmesh_Frame_duty_tag ? "about being a relay"
		                                                                      : "to link to another parent",
		            err_text((int)(frame->body.order_refused.error & INT_MAX)));
		break;
	case murmesh_Frame_inventory_tag:
	case murmesh_Frame_signed_inventory_tag:
		if (link->registered)
			core_inventory_frame(link->core, &link->inventories, &link->device, frame);
		break;
	case murmesh_Frame_pong_tag:
		core_ping_answered(link->core, &link->device, frame->body.pong.number);
		break;
	case murmesh_Frame_continued_tag:
		on_continued(link, frame->body.continued.continuation);
		break;
	default:
		core_envelopes_frame(link->envelopes, frame);
		break;
	}
}

static void on_writable(void *ctx)
{
	core_envelopes_send(((struct device_link *)ctx)->envelopes);
}

static void on_half_closed(void *ctx)
{
	struct device_link *link = ctx;
	rpc_call_finish(link->call, 0, NULL);
}

static void on_closed(void *ctx, int err, const char *why)
{
	struct device_link *link = ctx;
	(void)err;
	(void)why;
	if (link->registered) {
		map_remove(link->core->online, link->device.bytes, sizeof link->device.bytes);
		keep_seen(link->core, &link->device);
	}
	link->registered = false;
	link->envelopes = core_envelopes_end(link->envelopes);
	link->call = NULL;
	link_release(link);
}

int core_link_open(void *ctx, struct rpc_call *call)
{
	static const struct rpc_call_events events = { on_message, on_half_closed, on_writable, on_closed };
	const struct identity *peer = rpc_call_peer(call);
	struct device_link *link;
	if (!peer || peer->kind != IDENTITY_NODE)
		return -E_DENIED;
	link = mem_alloc(sizeof *link);
	if (!link)
		return -E_NO_MEMORY;
	link->core = ctx;
	link->call = call;
	link->device = peer->id;
	const struct rpc_origin *origin = rpc_call_origin(call);
	link->n_via = origin ? origin->n_via : 0;
	if (origin)
		memcpy(link->via, origin->via, sizeof link->via);
	if (origin && origin->has_component)
		link->component = origin->component;
	rpc_call_accept(call, &rpc_MessageRouter_Link, &events, link);
	return 0;
}

const struct id *core_link_device(const struct device_link *link)
{
	return &link->device;
}

bool core_link_online(const struct core *core, const struct id *device)
{
	return map_get(core->online, device->bytes, sizeof device->bytes) != NULL;
}

struct core_envelopes *core_link_envelopes(const struct core *core, const struct id *device)
{
	const struct device_link *link = map_get(core->online, device->bytes, sizeof device->bytes);
	return link ? link->envelopes : NULL;
}

int core_link_send(struct core *core, const struct id *device, const murmesh_Frame *frame)
{
	struct device_link *link = map_get(core->online, device->bytes, sizeof device->bytes);
	return link ? rpc_call_send(link->call, frame) : -E_OFFLINE;
}

void core_link_relay(struct core *core, const struct id *device, bool relay)
{
	const struct device_link *link = map_get(core->online, device->bytes, sizeof device->bytes);
	const murmesh_Frame frame = { .which_body = murmesh_Frame_relay_tag, .body.relay.enabled = relay };
	if (link && link->relay_signed)
		core_duty(core, device, relay);
	else
		core_link_send(core, device, &frame);
}

size_t core_link_via(const struct core *core, const struct id *device, struct id ret[RPC_VIA_MAX])
{
	const struct device_link *link = map_get(core->online, device->bytes, sizeof device->bytes);
	if (link)
		memcpy(ret, link->via, sizeof link->via);
	return link ? link->n_via : 0;
}

bool core_link_component(const struct core *core, const struct id *device, struct id *ret)
{
	const struct device_link *link = map_get(core->online, device->bytes, sizeof device->bytes);
	if (link)
		*ret = link->component;
	return link && !id_is_zero(&link->component);
}

/* From the server down, so that each relay knows before the next. */
int core_link_forward(struct core *core, const struct id *device, const murmesh_TunnelForward *forward)
{
	const struct device_link *link = map_get(core->online, device->bytes, sizeof device->bytes);
	murmesh_Frame frame = { .which_body = murmesh_Frame_forward_tag, .body.forward = *forward };
	int err = link ? 0 : -E_OFFLINE;
	for (size_t i = link ? link->n_via : 0; err == 0 && i > 0; i--)
		err = core_link_send(core, &link->via[i - 1], &frame);
	return err;
}

void core_link_send_all(struct core *core, const murmesh_Frame *frame)
{
	const struct device_link *link;
	for (size_t at = 0; (link = map_next(core->online, &at));)
		rpc_call_send(link->call, frame); /* one that does not take it is told by its next welcome */
}

void core_link_end(struct core *core, const struct id *device, int err, const char *why)
{
	struct device_link *link = map_get(core->online, device->bytes, sizeof device->bytes);
	if (link)
		rpc_call_finish(link->call, err, why);
	core_receiver_end(core, device, err, why);
}
