/* Tunnels and run orders: who may, the signatures that agents ask for, and the tickets that bring two legs together. */
#include "base/err.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "ca/authority.h"
#include "os/clock.h"
#include "os/random.h"
#include "server/core.h"

#define GRANT_S     600
#define ORDER_S     120
#define ORDER_TWO_S 3600 /* of an order that another approver has to see first */
#define TICKET_S    30

/* ---- Open: check (job), sign (ca), announce (relays), offer (device), answer ---- */

struct tunnel_job {
	struct core_job base;
	struct core_caller caller;
	struct id device;
	struct core_pair_about about;                  /* once the user was checked */
	char target[sizeof((murmesh_Map *)0)->target]; /* the same */
	murmesh_TunnelRequest request;
	murmesh_Tunnel reply;
	uint8_t agent_ticket[HASH_SIZE];
	struct core_meeting meeting;
};

static void about_fill(struct tunnel_job *tunnel, const struct user *user, const struct device *device)
{
	const murmesh_TunnelRequest *request = &tunnel->request;
	struct core_pair_about *about = &tunnel->about;
	size_t len = 0;
	*about = (struct core_pair_about){ .user = user->id, .device = device->id };
	str_copy(str_from(user->name), about->user_name, sizeof about->user_name);
	str_copy(str_from(device->group), about->group, sizeof about->group);
	fleet_full_name(device, about->full_name);
	for (pb_size_t i = 0; i < request->targets_count && len < sizeof tunnel->target; i++)
		len += (size_t)snprintf(tunnel->target + len, sizeof tunnel->target - len, "%s%s%s", i ? " " : "",
		                        request->targets[i][0] == ':' ? "localhost" : "", request->targets[i]);
}

/* A user who may, and a device that there is: people see that it failed. */
static void tunnel_fail(struct tunnel_job *tunnel, int err, const char *why)
{
	core_pair_failed(tunnel->base.core, &tunnel->about, tunnel->target, err, why);
	core_job_fail(&tunnel->base, err, why);
}

static int tunnel_run(struct store_tx *tx, struct core_job *job)
{
	struct tunnel_job *tunnel = (struct tunnel_job *)job;
	struct device device;
	struct user user;
	char detail[512];
	bool run = tunnel->request.rights & murmesh_Right_RUN;
	int err = core_caller_check(tx, &tunnel->caller, run ? ACCOUNT_RUN : ACCOUNT_TUNNEL, &user);
	if (err == 0)
		err = core_device_get(tx, &user, &tunnel->device, &device);
	if (err < 0)
		return err;
	size_t len = 0;
	detail[0] = 0;
	for (pb_size_t i = 0; i < tunnel->request.targets_count && len < sizeof detail; i++)
		len += (size_t)snprintf(detail + len, sizeof detail - len, "%s%s", i ? " " : "", tunnel->request.targets[i]);
	about_fill(tunnel, &user, &device);
	return core_audit(tx, user.name, "tunnel opened", tunnel->about.full_name, detail);
}

static void tunnel_ended(struct core_job *job)
{
	struct tunnel_job *tunnel = (struct tunnel_job *)job;
	mem_wipe(&tunnel->caller, sizeof tunnel->caller);
	mem_wipe(tunnel->agent_ticket, sizeof tunnel->agent_ticket);
}

static void on_met(void *ctx, int err, const char *why)
{
	struct tunnel_job *tunnel = ctx;
	murmesh_Frame frame = { .which_body = murmesh_Frame_offer_tag };
	if (err < 0)
		return tunnel_fail(tunnel, err, why);
	memcpy(frame.body.offer.pair, tunnel->reply.pair, sizeof frame.body.offer.pair);
	memcpy(frame.body.offer.ticket, tunnel->agent_ticket, sizeof frame.body.offer.ticket);
	frame.body.offer.relays_count = 1; /* "": the server's own address */
	frame.body.offer.has_grant = tunnel->reply.has_grant;
	frame.body.offer.grant = tunnel->reply.grant;
	murmesh_TunnelForward forward = { .lifetime_s = TICKET_S };
	memcpy(forward.pair, tunnel->reply.pair, sizeof forward.pair);
	hash_sha256(tunnel->agent_ticket, sizeof tunnel->agent_ticket, forward.agent_hash);
	err = core_link_forward(tunnel->base.core, &tunnel->device, &forward);
	if (err == 0)
		err = core_link_send(tunnel->base.core, &tunnel->device, &frame);
	if (err < 0)
		return tunnel_fail(tunnel, err == -E_CLOSED ? -E_OFFLINE : err, NULL);
	tunnel->reply.relays_count = 1;
	str_copy(str_from(core_pair_ended_by(tunnel->base.core, &tunnel->about, tunnel->target)), tunnel->reply.ended_by,
	         sizeof tunnel->reply.ended_by);
	core_pair_keep(tunnel->base.core, &tunnel->meeting, &tunnel->about, tunnel->target);
	rpc_call_reply(tunnel->base.call, &tunnel->reply);
	core_job_free(&tunnel->base);
}

static void on_grant_signed(void *ctx, int err, const char *why, const void *response)
{
	struct tunnel_job *tunnel = ctx;
	struct core_meeting *meeting = &tunnel->meeting;
	murmesh_Announcement *announcement = &meeting->announcement;
	if (err < 0)
		return tunnel_fail(tunnel, err, why);
	tunnel->reply.has_grant = true;
	tunnel->reply.grant = *(const murmesh_SignedDocument *)response;
	random_bytes(tunnel->reply.pair, sizeof tunnel->reply.pair);
	random_bytes(tunnel->reply.ticket, sizeof tunnel->reply.ticket);
	random_bytes(tunnel->agent_ticket, sizeof tunnel->agent_ticket);
	announcement->lifetime_s = TICKET_S;
	memcpy(announcement->pair, tunnel->reply.pair, sizeof announcement->pair);
	hash_sha256(tunnel->reply.ticket, sizeof tunnel->reply.ticket, announcement->client_hash);
	hash_sha256(tunnel->agent_ticket, sizeof tunnel->agent_ticket, announcement->agent_hash);
	meeting->core = tunnel->base.core;
	meeting->done = on_met;
	meeting->ctx = tunnel;
	core_link_component(meeting->core, &tunnel->device, &meeting->agent);
	core_meet(meeting);
}

static void tunnel_done(struct core_job *job)
{
	static murmesh_SignRequest sign;
	struct tunnel_job *tunnel = (struct tunnel_job *)job;
	murmesh_Grant grant = { .rights = tunnel->request.rights, .until = clock_wall_s() + GRANT_S };
	if (!core_link_online(job->core, &tunnel->device))
		return tunnel_fail(tunnel, -E_OFFLINE, NULL);
	memcpy(grant.mesh, job->core->mesh_id.bytes, sizeof grant.mesh);
	memcpy(grant.user, tunnel->caller.user.bytes, sizeof grant.user);
	memcpy(grant.device, tunnel->device.bytes, sizeof grant.device);
	random_bytes(grant.serial, sizeof grant.serial);
	grant.targets_count = tunnel->request.targets_count;
	memcpy(grant.targets, tunnel->request.targets, sizeof grant.targets);
	int err = core_document(murmesh_Grant_fields, &grant, AUTHORITY_GRANT, &sign);
	if (err == 0)
		err = job->core->ca ? rpc_unary(job->core->ca, &rpc_Ca_Sign, &sign, 5000, on_grant_signed, tunnel) : -E_BUSY;
	if (err < 0)
		tunnel_fail(tunnel, err, NULL);
}

static void tunnel_begin(struct core *core, struct rpc_call *call, const struct core_caller *caller,
                         const murmesh_TunnelRequest *request)
{
	struct tunnel_job *tunnel = core_job_new(core, call, sizeof *tunnel);
	if (!tunnel)
		return;
	tunnel->base.run = tunnel_run;
	tunnel->base.done = tunnel_done;
	tunnel->base.ended = tunnel_ended;
	tunnel->caller = *caller;
	tunnel->request = *request;
	tunnel->meeting.client = caller->component;
	memcpy(tunnel->device.bytes, tunnel->request.device, sizeof tunnel->device.bytes);
	if (caller->by_session && core->policy.users_sign) /* his key is not in a browser */
		return core_job_fail(&tunnel->base, -E_SIGNED_MODE, NULL);
	if (tunnel->request.rights & ~(unsigned)(murmesh_Right_CONNECT | murmesh_Right_RUN))
		return core_job_fail(&tunnel->base, -E_UNSUPPORTED, NULL); /* a later version might read more into the bits */
	for (pb_size_t i = 0; i < tunnel->request.targets_count; i++)
		if (!utf8_valid(str_from(tunnel->request.targets[i])))
			return core_job_fail(&tunnel->base, -E_UTF8, NULL);
	core_job_submit(&tunnel->base);
}

void core_tunnel_open(void *ctx, struct rpc_call *call, const void *message)
{
	const struct core_caller caller = { .user = rpc_call_peer(call)->id, .component = core_component_of(call) };
	tunnel_begin(ctx, call, &caller, message);
}

void core_console_tunnel(void *ctx, struct rpc_call *call, const void *message)
{
	const murmesh_ConsoleTunnelRequest *request = message;
	struct core_caller caller = { .by_session = true, .component = core_component_of(call) };
	memcpy(caller.session, request->session, sizeof caller.session);
	tunnel_begin(ctx, call, &caller, &request->tunnel);
	mem_wipe(&caller, sizeof caller);
}

/* ---- Order: check (job), sign (ca), answer ---- */

struct order_job {
	struct core_job base;
	struct core_caller caller;
	murmesh_OrderRequest request;
};

static int order_run(struct store_tx *tx, struct core_job *job)
{
	struct order_job *order = (struct order_job *)job;
	struct user user;
	char detail[1024], object[64];
	size_t len = 0;
	int err = core_caller_check(tx, &order->caller, ACCOUNT_RUN, &user);
	if (err < 0)
		return err;
	detail[0] = 0;
	for (pb_size_t i = 0; i < order->request.argv_count && len < sizeof detail; i++)
		len += (size_t)snprintf(detail + len, sizeof detail - len, "%s%s", i ? " " : "", order->request.argv[i]);
	snprintf(object, sizeof object, "%u devices", order->request.count);
	return core_audit(tx, user.name, order->request.terminal ? "terminal ordered" : "run ordered", object, detail);
}

static void on_order_signed(void *ctx, int err, const char *why, const void *response)
{
	struct order_job *order = ctx;
	if (err < 0)
		return core_job_fail(&order->base, err, why);
	rpc_call_reply(order->base.call, response);
	core_job_free(&order->base);
}

static void order_done(struct core_job *job)
{
	static murmesh_SignRequest sign;
	static murmesh_Order document;
	struct order_job *order = (struct order_job *)job;
	const struct core_policy *policy = &job->core->policy;
	bool two = policy->users_sign && policy->two_above && order->request.count > policy->two_above;
	document = (murmesh_Order){ .until = clock_wall_s() + (two ? ORDER_TWO_S : ORDER_S),
		                    .count = order->request.count,
		                    .terminal = order->request.terminal };
	memcpy(document.mesh, job->core->mesh_id.bytes, sizeof document.mesh);
	memcpy(document.user, order->caller.user.bytes, sizeof document.user);
	random_bytes(document.nonce, sizeof document.nonce);
	document.argv_count = order->request.argv_count;
	memcpy(document.argv, order->request.argv, sizeof document.argv);
	memcpy(document.digest, order->request.digest, sizeof document.digest);
	int err = core_document(murmesh_Order_fields, &document, AUTHORITY_ORDER, &sign);
	if (err == 0)
		err = job->core->ca ? rpc_unary(job->core->ca, &rpc_Ca_Sign, &sign, 5000, on_order_signed, order) : -E_BUSY;
	if (err < 0)
		core_job_fail(job, err, NULL);
}

static void order_ended(struct core_job *job)
{
	struct order_job *order = (struct order_job *)job;
	mem_wipe(&order->caller, sizeof order->caller);
}

static void order_begin(struct core *core, struct rpc_call *call, const struct core_caller *caller,
                        const murmesh_OrderRequest *request)
{
	struct order_job *order = core_job_new(core, call, sizeof *order);
	if (!order)
		return;
	order->base.run = order_run;
	order->base.done = order_done;
	order->base.ended = order_ended;
	order->caller = *caller;
	order->request = *request;
	if (caller->by_session && core->policy.users_sign)
		return core_job_fail(&order->base, -E_SIGNED_MODE, NULL);
	/* a command for some devices, or a terminal on one */
	if (request->terminal ? request->argv_count || request->count != 1 : !request->argv_count || !request->count)
		return core_job_fail(&order->base, -E_USAGE, NULL);
	core_job_submit(&order->base);
}

void core_tunnel_order(void *ctx, struct rpc_call *call, const void *message)
{
	const struct core_caller caller = { .user = rpc_call_peer(call)->id };
	order_begin(ctx, call, &caller, message);
}

void core_console_order(void *ctx, struct rpc_call *call, const void *message)
{
	const murmesh_ConsoleOrderRequest *request = message;
	struct core_caller caller = { .by_session = true };
	memcpy(caller.session, request->session, sizeof caller.session);
	order_begin(ctx, call, &caller, &request->order);
	mem_wipe(&caller, sizeof caller);
}
