/* Messages of devices that are CORBA clients (proto/router.idl): what they submit, and what waits for them.  The orb role names the device whose
 * certificate it has seen; a client shows no number of a link, so none may come as a device that an agent has. */
#include "base/err.h"
#include "ca/continuity.h"
#include "os/clock.h"
#include "route/route.h"
#include "server/core.h"

#define SUBMISSIONS_MAX 64

/* In a job. */
static int device_check(struct store_tx *tx, const struct id *id, struct device *ret)
{
	int err = fleet_device_live(tx, id, ret);
	return err < 0 ? err : ca_continuity_check_none(tx, id);
}

static void on_closed(void *ctx, int err, const char *why)
{
	(void)err;
	(void)why;
	core_job_free(ctx);
}

/* ---- an envelope that it submits ---- */

struct submission {
	struct core_job base;
	struct id id;
	struct buf bytes;
};

static int submission_run(struct store_tx *tx, struct core_job *job)
{
	struct device device;
	return device_check(tx, &((struct submission *)job)->id, &device);
}

static void submission_done(struct core_job *job)
{
	static murmesh_Envelope envelope;
	const murmesh_Submitted reply = murmesh_Submitted_init_zero;
	const struct submission *submission = (const struct submission *)job;
	struct str body;
	int err = envelope_read(buf_str(&submission->bytes), &envelope, &body);
	if (err == 0)
		err = core_envelope_take(&submission->id, &envelope);
	if (err < 0)
		return core_job_fail(job, err, NULL);
	rpc_call_reply(job->call, &reply);
	core_job_free(job);
}

static void submission_ended(struct core_job *job)
{
	buf_done(&((struct submission *)job)->bytes);
	job->core->n_submissions--;
}

static void on_piece(void *ctx, const void *message)
{
	struct submission *submission = ctx;
	const murmesh_EnvelopeBytes *piece = message;
	int err = buf_append(&submission->bytes, piece->data.bytes, piece->data.size);
	if (err < 0)
		rpc_call_finish(submission->base.call, err, NULL);
}

static void on_submitted(void *ctx)
{
	static const struct rpc_call_events working; /* the job owns the call from here */
	struct submission *submission = ctx;
	rpc_call_set_events(submission->base.call, &working, NULL);
	core_job_submit(&submission->base);
}

int core_orb_submit(void *ctx, struct rpc_call *call)
{
	static const struct rpc_call_events events = { on_piece, on_submitted, NULL, on_closed };
	struct core *core = ctx;
	if (core->n_submissions == SUBMISSIONS_MAX)
		return -E_BUSY;
	struct submission *submission = core_job_new(core, call, sizeof *submission);
	if (!submission)
		return 0;
	core->n_submissions++;
	submission->base.hurried = true;
	submission->base.run = submission_run;
	submission->base.done = submission_done;
	submission->base.ended = submission_ended;
	submission->id = rpc_call_peer(call)->id;
	buf_init(&submission->bytes, ENVELOPE_MAX);
	rpc_call_accept(call, &rpc_Core_Submit, &events, submission);
	return 0;
}

/* ---- what waits for it, one at a time ---- */

struct receiver {
	struct core_job base;
	struct list node;     /* core->receivers, while it is attached to its queue */
	struct device device; /* its id from the start, all after the check */
	murmesh_Wanted first;
	bool asked, waits; /* for the next one; until there is one */
	bool credited;     /* the route has credit for one that did not come yet */
};

static void receiver_fail(struct receiver *receiver, int err, const char *why)
{
	if (!list_empty(&receiver->node)) {
		list_remove(&receiver->node);
		route_detach(core_route(receiver->base.core), &receiver->device.id);
	}
	receiver->asked = false;
	rpc_call_finish(receiver->base.call, err, why);
}

/* All of one fits into the call's queue, which is empty: the next one is asked for when this one is there. */
static int envelope_send(struct rpc_call *call, struct str bytes)
{
	static murmesh_Given given;
	int err = 0;
	do {
		size_t n = bytes.len < sizeof given.data.bytes ? bytes.len : sizeof given.data.bytes;
		if (n)
			memcpy(given.data.bytes, bytes.ptr, n);
		given.data.size = (pb_size_t)n;
		bytes = str_skip(bytes, n);
		given.last = bytes.len == 0;
		err = rpc_call_send(call, &given);
	} while (err == 0 && bytes.len);
	return err;
}

static void receiver_give(struct receiver *receiver)
{
	struct route *route = core_route(receiver->base.core);
	struct buf bytes;
	if (receiver->asked && !receiver->credited) {
		receiver->credited = true;
		route_credit(route, &receiver->device.id, 1); /* may come here again, and give */
	}
	if (!receiver->asked)
		return;
	buf_init(&bytes, ENVELOPE_MAX);
	int err = route_next(route, &receiver->device.id, clock_wall_ms(), &bytes);
	if (err == 1)
		receiver->credited = false;
	if (err == 1 || (err == 0 && !receiver->waits)) {
		receiver->asked = false;
		err = envelope_send(receiver->base.call, buf_str(&bytes));
	}
	buf_done(&bytes);
	if (err < 0)
		receiver_fail(receiver, err, NULL);
}

static void wanted_take(struct receiver *receiver, const murmesh_Wanted *wanted)
{
	struct core *core = receiver->base.core;
	struct id id;
	for (size_t at = 0; at + sizeof id.bytes <= wanted->kept.size; at += sizeof id.bytes) {
		memcpy(id.bytes, wanted->kept.bytes + at, sizeof id.bytes);
		route_delivered(core_route(core), &receiver->device.id, &id, clock_wall_ms());
	}
	core_router_sync(core);
	receiver->asked = wanted->next;
	receiver->waits = wanted->wait;
	int err = wanted->next ? 0 : envelope_send(receiver->base.call, STR(""));
	if (err < 0)
		return receiver_fail(receiver, err, NULL);
	receiver_give(receiver);
}

static void on_wanted(void *ctx, const void *message)
{
	struct receiver *receiver = ctx;
	if (list_empty(&receiver->node))
		return; /* it is being ended */
	if (receiver->asked)
		return receiver_fail(receiver, -E_PROTOCOL, NULL);
	wanted_take(receiver, message);
}

static int receiver_run(struct store_tx *tx, struct core_job *job)
{
	struct receiver *receiver = (struct receiver *)job;
	const struct id id = receiver->device.id;
	int err = device_check(tx, &id, &receiver->device);
	if (err == 0)
		err = fleet_device_seen(tx, &id, clock_wall_s());
	return err < 0 ? err : fleet_device_get(tx, &id, &receiver->device);
}

static void receiver_done(struct core_job *job)
{
	static const struct rpc_call_events events = { on_wanted, NULL, NULL, on_closed };
	struct receiver *receiver = (struct receiver *)job;
	struct core *core = job->core;
	rpc_call_set_events(job->call, &events, receiver);
	if (!rpc_call_alive(job->call))
		return core_job_free(job);
	/* A client that comes again does so before its older connection is known to be dead. */
	core_receiver_end(core, &receiver->device.id, -E_CLOSED, "its messages are taken over a newer connection");
	int err = route_attach(core_route(core), &receiver->device.id);
	if (err < 0)
		return rpc_call_finish(job->call, err, NULL);
	list_append(&core->receivers, &receiver->node);
	core_watch_device(core, &receiver->device, NULL);
	wanted_take(receiver, &receiver->first);
}

static void receiver_ended(struct core_job *job)
{
	struct receiver *receiver = (struct receiver *)job;
	if (list_empty(&receiver->node))
		return;
	list_remove(&receiver->node);
	route_detach(core_route(job->core), &receiver->device.id);
}

static void on_first(void *ctx, const void *message)
{
	static const struct rpc_call_events working; /* the job owns the call from here */
	struct receiver *receiver = ctx;
	receiver->first = *(const murmesh_Wanted *)message;
	rpc_call_set_events(receiver->base.call, &working, NULL);
	core_job_submit(&receiver->base);
}

int core_orb_receive(void *ctx, struct rpc_call *call)
{
	static const struct rpc_call_events events = { on_first, NULL, NULL, on_closed };
	struct core *core = ctx;
	if (!core->router)
		return -E_SPOOL;
	struct receiver *receiver = core_job_new(core, call, sizeof *receiver);
	if (!receiver)
		return 0;
	list_init(&receiver->node);
	receiver->base.hurried = true;
	receiver->base.run = receiver_run;
	receiver->base.done = receiver_done;
	receiver->base.ended = receiver_ended;
	receiver->device.id = rpc_call_peer(call)->id;
	rpc_call_accept(call, &rpc_Core_Receive, &events, receiver);
	return 0;
}

static struct receiver *receiver_find(const struct core *core, const struct id *device)
{
	LIST_EACH(at, &core->receivers)
		if (id_equal(&LIST_ENTRY(at, struct receiver, node)->device.id, device))
			return LIST_ENTRY(at, struct receiver, node);
	return NULL;
}

void core_receiver_give(struct core *core, const struct id *device)
{
	struct receiver *receiver = receiver_find(core, device);
	if (receiver)
		receiver_give(receiver);
}

void core_receiver_end(struct core *core, const struct id *device, int err, const char *why)
{
	struct receiver *receiver = receiver_find(core, device);
	if (receiver)
		receiver_fail(receiver, err, why);
}
