/* Messages that users send to devices, and what waits. */
#include "base/err.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "os/clock.h"
#include "os/log.h"
#include "route/peer.h"
#include "server/core.h"

#define MESSAGES_MAX 64 /* being sent, or waited for */
#define DEVICES_MAX  10000
#define BYTES_MAX    ((uint64_t)64 << 20) /* of one message, all its copies together */
#define OWN_TYPES    STR("murmesh.")

struct message {
	struct core_request request; /* selection, rows: the devices */
	struct route_giver giver;
	struct list node; /* core->messages, while it is sent or waited for */
	murmesh_SendHead head;
	bool has_head, sending, gone;
	struct buf body, encoded;
	murmesh_Envelope envelope;
	size_t at;        /* in the rows: who comes next */
	unsigned pending; /* given to the route, no answer yet */
	murmesh_SendProgress progress;
};

static struct core *core_of(const struct message *message)
{
	return message->request.base.core;
}

static void message_ended(struct core_job *job)
{
	struct message *message = (struct message *)job;
	if (message->sending) {
		list_remove(&message->node);
		core_of(message)->n_messages--;
	}
	if (message->request.selection)
		mem_free(message->request.selection->online);
	mem_free(message->request.selection);
	core_rows_done(&message->request.rows);
	buf_done(&message->body);
	buf_done(&message->encoded);
}

static void message_free(struct message *message)
{
	core_job_free(&message->request.base);
}

/* ---- on its way ---- */

static bool all_given(const struct message *message)
{
	return message->at == message->request.rows.len && !message->pending;
}

static void progress_tell(struct message *message)
{
	const murmesh_SendProgress *progress = &message->progress;
	struct rpc_call *call = message->request.base.call;
	bool arrived = progress->delivered + progress->dead >= progress->devices;
	if (message->gone || !all_given(message))
		return;
	rpc_call_send(call, progress);
	if (!message->head.wait || arrived)
		rpc_call_finish(call, 0, NULL);
}

static void not_taken(struct message *message, int err)
{
	message->progress.dead++;
	message->progress.error = (uint32_t)-err;
	log_limited(LOG_WARNING, "a message was not taken: %s", err_text(err));
}

static void on_accepted(struct route_giver *giver, int err)
{
	struct message *message = LIST_ENTRY(giver, struct message, giver);
	message->pending--;
	message->progress.kept += err == 0;
	if (err < 0)
		not_taken(message, err);
	if (!message->pending && message->gone)
		return message_free(message);
	progress_tell(message);
}

/* 0, -E_BUSY: later. */
static int one_give(struct message *message, const struct device *device)
{
	struct core *core = core_of(message);
	memcpy(message->envelope.to.node, device->id.bytes, sizeof message->envelope.to.node);
	buf_clear(&message->encoded);
	int err = envelope_write(&message->envelope, buf_str(&message->body), &message->encoded);
	if (err == 0)
		err = route_accept(core_route(core), &device->id, buf_str(&message->encoded), clock_wall_ms(), &message->giver);
	message->pending += err == 0;
	message->progress.kept += err == -E_EXISTS;
	if (err == -E_BUSY)
		return err;
	if (err < 0 && err != -E_EXISTS)
		not_taken(message, err);
	return 0;
}

static void message_give(struct message *message)
{
	struct device device;
	size_t at = message->at;
	while (!message->gone && core_rows_next(&message->request.rows, &at, &device, sizeof device) &&
	       one_give(message, &device) == 0)
		message->at = at;
	core_router_sync(core_of(message));
	progress_tell(message);
}

void core_messages_go_on(struct core *core)
{
	LIST_EACH(at, &core->messages) {
		struct message *message = LIST_ENTRY(at, struct message, node);
		if (message->at < message->request.rows.len)
			message_give(message);
	}
}

void core_messages_told(struct core *core, const struct id *id, int err)
{
	LIST_EACH(at, &core->messages) {
		struct message *message = LIST_ENTRY(at, struct message, node);
		if (memcmp(message->head.id, id->bytes, sizeof message->head.id) != 0)
			continue;
		message->progress.delivered += err == 0;
		message->progress.dead += err < 0;
		if (err < 0)
			message->progress.error = (uint32_t)-err;
		progress_tell(message);
	}
}

static void on_closed(void *ctx, int err, const char *why)
{
	struct message *message = ctx;
	(void)err;
	(void)why;
	message->gone = true;
	if (!message->pending)
		message_free(message);
}

/* ---- the job: who may, which devices ---- */

static int message_run(struct store_tx *tx, struct core_job *job)
{
	struct message *message = (struct message *)job;
	struct core_request *request = &message->request;
	struct user user;
	int err = core_caller_check(tx, &request->caller, ACCOUNT_RUN, &user);
	if (err == 0)
		err = core_selection_run(tx, request, &user, &request->rows);
	if (err == 0 && !request->rows.n)
		err = -E_NOT_FOUND;
	if (err == 0 && request->rows.n > 1 && name_valid(str_from(message->head.selector)))
		err = -E_AMBIGUOUS;
	if (err == 0 && (request->rows.n > DEVICES_MAX || request->rows.n * buf_len(&message->body) > BYTES_MAX)) {
		snprintf(job->why, sizeof job->why,
		         "these are %zu devices: a message goes to 10,000, and 64 MiB of copies, at most", request->rows.n);
		err = -E_LIMIT;
	}
	return err < 0 ? err : core_audit(tx, user.name, "message sent", message->head.selector, message->head.type);
}

static void message_done(struct core_job *job)
{
	static const struct rpc_call_events events = { NULL, NULL, NULL, on_closed };
	struct message *message = (struct message *)job;
	rpc_call_set_events(job->call, &events, message);
	if (!rpc_call_alive(job->call))
		return message_free(message);
	message->progress.devices = (uint32_t)message->request.rows.n;
	message->sending = true;
	list_append(&core_of(message)->messages, &message->node);
	core_of(message)->n_messages++;
	message_give(message);
}

/* ---- the call ---- */

static int head_check(const struct message *message)
{
	struct str type = str_from(message->head.type);
	if (!message->has_head || !type.len || !utf8_valid(type) || !utf8_valid(str_from(message->head.key)) ||
	    message->head.lifetime_s > ENVELOPE_LONGEST_S || message->head.priority > _murmesh_Priority_MAX)
		return -E_MESSAGE;
	return str_starts(type, OWN_TYPES) ? -E_DENIED : 0;
}

static int message_submit(struct message *message)
{
	static const struct rpc_call_events working; /* the job owns the call from here */
	const murmesh_SendHead *head = &message->head;
	murmesh_Envelope *envelope = &message->envelope;
	int err = head_check(message);
	if (err == 0)
		err = core_selection_begin(&message->request, head->selector, CORE_NAME);
	if (err < 0)
		return err;
	envelope->which_to = murmesh_Envelope_node_tag;
	memcpy(envelope->id, head->id, sizeof envelope->id);
	str_copy(str_from(head->type), envelope->type, sizeof envelope->type);
	str_copy(str_from(head->key), envelope->key, sizeof envelope->key);
	envelope->priority = head->priority;
	envelope->lifetime_s = head->lifetime_s;
	envelope->created_ms = clock_wall_ms();
	rpc_call_set_events(message->request.base.call, &working, NULL);
	core_job_submit(&message->request.base);
	return 0;
}

static void on_piece(void *ctx, const void *bytes)
{
	struct message *message = ctx;
	const murmesh_SendPiece *piece = bytes;
	int err = piece->has_head == message->has_head ? -E_PROTOCOL : 0;
	if (err == 0 && piece->has_head)
		message->head = piece->head;
	message->has_head = true;
	if (err == 0)
		err = buf_append(&message->body, piece->body.bytes, piece->body.size);
	if (err < 0)
		rpc_call_finish(message->request.base.call, err, NULL);
}

static void on_half_closed(void *ctx)
{
	struct message *message = ctx;
	int err = message_submit(message);
	if (err < 0)
		rpc_call_finish(message->request.base.call, err, NULL);
}

int core_message_send(void *ctx, struct rpc_call *call)
{
	static const struct rpc_call_events events = { on_piece, on_half_closed, NULL, on_closed };
	struct core *core = ctx;
	if (!core->router)
		return -E_SPOOL;
	if (core->n_messages >= MESSAGES_MAX)
		return -E_BUSY;
	struct message *message = core_job_new(core, call, sizeof *message);
	if (!message)
		return 0;
	message->request.base.run = message_run;
	message->request.base.done = message_done;
	message->request.base.ended = message_ended;
	message->request.caller.user = rpc_call_peer(call)->id;
	message->giver.accepted = on_accepted;
	list_init(&message->node);
	buf_init(&message->body, ENVELOPE_BODY_MAX);
	buf_init(&message->encoded, ENVELOPE_MAX);
	rpc_call_accept(call, &rpc_Messages_Send, &events, message);
	return 0;
}

/* ---- what waits ---- */

int core_queues_begin(struct core_request *request)
{
	const murmesh_QueueRequest *message = request->message;
	if (!request->base.core->router)
		return -E_SPOOL;
	return core_selection_begin(request, message->selector, CORE_NAME_OR_QUERY);
}

static void queue_fill(const struct core *core, const struct device *device, const struct route_queue *queue, murmesh_Queue *ret)
{
	*ret = (murmesh_Queue){ .online = core_link_online(core, &device->id),
		                .waiting = (uint32_t)queue->waiting,
		                .sent = (uint32_t)queue->sent,
		                .bytes = queue->bytes,
		                .oldest = queue->oldest_ms / 1000,
		                .expired = queue->dead[ROUTE_EXPIRED],
		                .limit = queue->dead[ROUTE_LIMIT],
		                .damaged = queue->dead[ROUTE_DAMAGED],
		                .refused = queue->dead[ROUTE_REFUSED],
		                .loop = queue->dead[ROUTE_LOOP],
		                .dead_last = queue->dead_last_ms / 1000 };
	memcpy(ret->device, device->id.bytes, sizeof ret->device);
	str_copy(str_from(device->name), ret->name, sizeof ret->name);
	fleet_full_name(device, ret->full_name);
}

bool core_queue_row(const struct core_request *request, size_t *at, void *message)
{
	struct core *core = request->base.core;
	struct route_queue queue;
	struct device device;
	while (core_rows_next(&request->rows, at, &device, sizeof device)) {
		if (!route_queue_of(core_route(core), &device.id, &queue) || (!queue.waiting && !queue.dead_last_ms))
			continue;
		queue_fill(core, &device, &queue, message);
		return true;
	}
	return false;
}
