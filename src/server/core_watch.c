/* Watching: a snapshot, then changes.  The snapshot is read in pieces, the next when the last one is on its way, so that a browser that does not
 * read holds no fleet in memory, and others get their turns in between.  Changes are told from the first piece on: jobs end in order, so that
 * nothing falls between, and what changed behind the place that was reached is told again, which does no harm. */
#include "account/session.h"
#include "base/err.h"
#include "base/mem.h"
#include "ca/approvals.h"
#include "os/clock.h"
#include "server/pair.h"
#include "task/task.h"

#define WATCHES_MAX 512
#define CHANGES_MAX 1000 /* that wait for one browser */
#define PIECE       500  /* devices */

struct watch;
union event;

/* What can be watched. */
struct kind {
	const struct rpc_method *method;
	int (*run)(struct store_tx *tx, struct watch *watch);                       /* worker: the next rows of the snapshot */
	bool (*row)(const struct watch *watch, size_t *at, union event *ret_event); /* loop */
	void (*complete)(union event *ret_event);
	int (*fill)(struct watch *watch); /* loop, after run: the rows of what is not in the database; NULL: all is */
};

union event {
	uint64_t sequence; /* all begin with it */
	murmesh_FleetEvent fleet;
	murmesh_TaskEvent task;
	murmesh_ApprovalEvent approval;
	murmesh_MapEvent map;
	murmesh_SessionEvent session;
};

/* One change, shared by all who watch. */
struct change {
	union event event; /* without its sequence number */
	unsigned refs;
};

struct queued {
	struct list node;
	struct change *change;
};

struct watch {
	struct core_job base;
	struct list node; /* in core->watches once the snapshot is there */
	const struct kind *kind;
	struct core_caller caller;
	struct user user;
	struct fleet_cursor cursor;
	struct core_rows rows; /* of the piece that was read last */
	size_t sent;
	struct list queue;
	size_t n_queue;
	uint64_t sequence;
	bool begun, reading; /* the first piece was there; a job is under way, and the call without events */
	bool whole;          /* no more pieces */
	bool complete;
	bool behind; /* was not told of something that is told of by a snapshot, too */
};

static void change_release(struct change *change)
{
	if (change && !--change->refs)
		mem_free(change);
}

static struct change *change_new(void)
{
	struct change *change = mem_alloc(sizeof *change);
	if (change)
		change->refs = 1;
	return change;
}

static void watch_unqueue(struct watch *watch)
{
	struct queued *queued = LIST_ENTRY(watch->queue.next, struct queued, node);
	list_remove(&queued->node);
	watch->n_queue--;
	change_release(queued->change);
	mem_free(queued);
}

static int watch_run(struct store_tx *tx, struct core_job *job)
{
	struct watch *watch = (struct watch *)job;
	int err = core_caller_check(tx, &watch->caller, ACCOUNT_LIST, &watch->user);
	watch->whole = true;
	return err < 0 ? err : watch->kind->run(tx, watch);
}

static void watch_read(struct watch *watch)
{
	static const struct rpc_call_events working; /* the job owns the call from here */
	watch->reading = true;
	rpc_call_set_events(watch->base.call, &working, NULL);
	core_job_submit(&watch->base);
}

static int event_send(struct watch *watch, union event *event)
{
	event->sequence = watch->sequence + 1;
	int err = rpc_call_send(watch->base.call, event);
	if (err == 0)
		watch->sequence++;
	return err;
}

static int snapshot_send(struct watch *watch)
{
	union event event;
	size_t at = watch->sent;
	int err = 0;
	while (watch->kind->row(watch, &at, &event) && (err = event_send(watch, &event)) == 0)
		watch->sent = at;
	if (err < 0 || !watch->whole)
		return err;
	watch->kind->complete(&event);
	err = event_send(watch, &event);
	watch->complete = err == 0;
	if (watch->complete)
		core_rows_done(&watch->rows);
	return err;
}

/* The call's `closed` frees it. */
static void watch_finish(struct watch *watch, int err, const char *why)
{
	list_remove(&watch->node);
	rpc_call_finish(watch->base.call, err, why);
}

/* Once more, of all that there is now. */
static int snapshot_begin(struct watch *watch)
{
	watch->behind = watch->complete = false;
	watch->sent = 0;
	return watch->kind->fill ? watch->kind->fill(watch) : 0;
}

static int queue_send(struct watch *watch)
{
	int err = 0;
	while (err == 0 && watch->n_queue) {
		err = event_send(watch, &LIST_ENTRY(watch->queue.next, struct queued, node)->change->event);
		if (err == 0)
			watch_unqueue(watch);
	}
	return err;
}

static void watch_send(void *ctx)
{
	struct watch *watch = ctx;
	int err = watch->complete ? 0 : snapshot_send(watch);
	if (err == 0)
		err = queue_send(watch);
	if (err == 0 && watch->behind && (err = snapshot_begin(watch)) == 0)
		err = snapshot_send(watch);
	if (err < 0 && err != -E_FULL)
		watch_finish(watch, err, NULL);
	else if (err == 0 && !watch->whole && !rpc_call_crowded(watch->base.call))
		watch_read(watch);
}

static void on_closed(void *ctx, int err, const char *why)
{
	(void)err;
	(void)why;
	core_job_free(ctx);
}

static void watch_done(struct core_job *job)
{
	static const struct rpc_call_events events = { NULL, NULL, watch_send, on_closed };
	struct watch *watch = (struct watch *)job;
	watch->reading = false;
	rpc_call_set_events(job->call, &events, watch);
	if (!rpc_call_alive(job->call))
		return core_job_free(job);
	if (!watch->begun)
		list_append(&job->core->watches, &watch->node);
	watch->begun = true;
	int err = snapshot_begin(watch);
	if (err < 0)
		return watch_finish(watch, err, NULL);
	watch_send(watch);
}

static void watch_ended(struct core_job *job)
{
	struct watch *watch = (struct watch *)job;
	list_remove(&watch->node);
	job->core->n_watches--;
	while (watch->n_queue)
		watch_unqueue(watch);
	core_rows_done(&watch->rows);
	mem_wipe(&watch->caller, sizeof watch->caller);
}

static void on_request(void *ctx, const void *message)
{
	struct watch *watch = ctx;
	memcpy(watch->caller.session, ((const murmesh_SessionRequest *)message)->session, sizeof watch->caller.session);
	watch_read(watch);
}

static int watch_open(struct core *core, struct rpc_call *call, const struct kind *kind)
{
	static const struct rpc_call_events events = { on_request, NULL, NULL, on_closed };
	struct watch *watch = core->n_watches < WATCHES_MAX ? core_job_new(core, call, sizeof *watch) : NULL;
	if (!watch)
		return -E_BUSY;
	core->n_watches++;
	list_init(&watch->node);
	list_init(&watch->queue);
	watch->kind = kind;
	watch->base.run = watch_run;
	watch->base.done = watch_done;
	watch->base.ended = watch_ended;
	watch->caller.by_session = true;
	rpc_call_accept(call, kind->method, &events, watch);
	return 0;
}

/* A watch that misses a change is ended, and its browser begins again with a snapshot. */
static void watch_queue(struct watch *watch, struct change *change)
{
	struct queued *queued = change && watch->n_queue < CHANGES_MAX ? mem_alloc(sizeof *queued) : NULL;
	if (!queued)
		return watch_finish(watch, -E_FLOW, "the browser does not keep up; it begins again");
	queued->change = change;
	change->refs++;
	list_append(&watch->queue, &queued->node);
	watch->n_queue++;
	if (!watch->reading)
		watch_send(watch);
}

/* ---- the fleet ---- */

static int fleet_add(void *ctx, const struct device *device)
{
	struct watch *watch = ctx;
	return account_reaches(&watch->user, device->group) ? core_rows_device(&watch->rows, device) : 0;
}

static int fleet_run(struct store_tx *tx, struct watch *watch)
{
	watch->rows.len = watch->rows.n = 0;
	int err = fleet_device_next(tx, &watch->cursor, PIECE, fleet_add, watch);
	watch->whole = watch->cursor.end;
	return err;
}

static bool fleet_row(const struct watch *watch, size_t *at, union event *ret_event)
{
	struct device device;
	if (!core_rows_next(&watch->rows, at, &device, sizeof device))
		return false;
	ret_event->fleet = (murmesh_FleetEvent){ .which_body = murmesh_FleetEvent_device_tag };
	core_device_fill(watch->base.core, &device, &ret_event->fleet.body.device);
	return true;
}

static void fleet_complete(union event *ret_event)
{
	ret_event->fleet = (murmesh_FleetEvent){ .which_body = murmesh_FleetEvent_complete_tag, .body.complete = true };
}

static const struct kind fleet_kind = { &rpc_Console_WatchFleet, fleet_run, fleet_row, fleet_complete, NULL };

int core_watch_fleet(void *ctx, struct rpc_call *call)
{
	return watch_open(ctx, call, &fleet_kind);
}

static struct change *removal_new(const struct device *device)
{
	struct change *change = change_new();
	if (change) {
		change->event.fleet.which_body = murmesh_FleetEvent_removed_tag;
		memcpy(change->event.fleet.body.removed, device->id.bytes, sizeof device->id.bytes);
	}
	return change;
}

/* now: NULL when it is there for nobody any more. */
static void fleet_publish(struct core *core, struct change *now, const struct device *device, const char *before)
{
	struct change *removal = removal_new(device);
	LIST_EACH(at, &core->watches) {
		struct watch *watch = LIST_ENTRY(at, struct watch, node);
		if (watch->kind != &fleet_kind)
			continue;
		if (now && account_reaches(&watch->user, device->group))
			watch_queue(watch, now);
		else if (account_reaches(&watch->user, before))
			watch_queue(watch, removal);
	}
	change_release(removal);
}

void core_watch_device(struct core *core, const struct device *device, const char *before)
{
	if (list_empty(&core->watches) || device->retired)
		return;
	struct change *now = change_new();
	if (!now)
		return core_watch_end(core, NULL, NULL, -E_NO_MEMORY);
	now->event.fleet.which_body = murmesh_FleetEvent_device_tag;
	core_device_fill(core, device, &now->event.fleet.body.device);
	fleet_publish(core, now, device, before ? before : device->group);
	change_release(now);
}

void core_watch_removed(struct core *core, const struct device *device)
{
	if (!list_empty(&core->watches))
		fleet_publish(core, NULL, device, device->group);
}

/* ---- tasks ---- */

static int task_add(void *ctx, const struct task *task)
{
	struct watch *watch = ctx;
	return core_task_seen(task, &watch->user) ? core_rows_add(&watch->rows, task, sizeof *task) : 0;
}

static int tasks_run(struct store_tx *tx, struct watch *watch)
{
	return task_list(tx, task_add, watch);
}

static bool tasks_row(const struct watch *watch, size_t *at, union event *ret_event)
{
	struct task task;
	if (!core_rows_next(&watch->rows, at, &task, sizeof task))
		return false;
	ret_event->task = (murmesh_TaskEvent){ .which_body = murmesh_TaskEvent_task_tag };
	core_task_fill(&task, &ret_event->task.body.task);
	return true;
}

static void tasks_complete(union event *ret_event)
{
	ret_event->task = (murmesh_TaskEvent){ .which_body = murmesh_TaskEvent_complete_tag, .body.complete = true };
}

static const struct kind tasks_kind = { &rpc_Console_WatchTasks, tasks_run, tasks_row, tasks_complete, NULL };

int core_watch_tasks(void *ctx, struct rpc_call *call)
{
	return watch_open(ctx, call, &tasks_kind);
}

void core_watch_task(struct core *core, const struct task *task)
{
	struct change *change = list_empty(&core->watches) ? NULL : change_new();
	if (change) {
		change->event.task.which_body = murmesh_TaskEvent_task_tag;
		core_task_fill(task, &change->event.task.body.task);
	}
	LIST_EACH(at, &core->watches) {
		struct watch *watch = LIST_ENTRY(at, struct watch, node);
		if (watch->kind == &tasks_kind && core_task_seen(task, &watch->user))
			watch_queue(watch, change);
	}
	change_release(change);
}

/* ---- machines that wait for approval ---- */

static int approval_add(void *ctx, const struct approval *approval)
{
	struct watch *watch = ctx;
	return core_approval_seen(approval, &watch->user) ? core_rows_add(&watch->rows, approval, sizeof *approval) : 0;
}

static int approvals_run(struct store_tx *tx, struct watch *watch)
{
	return ca_approval_each(tx, approval_add, watch);
}

static void approval_event(const struct approval *approval, union event *ret_event)
{
	ret_event->approval = (murmesh_ApprovalEvent){ .which_body = murmesh_ApprovalEvent_decided_tag };
	if (approval->state == APPROVAL_WAITING) {
		ret_event->approval.which_body = murmesh_ApprovalEvent_approval_tag;
		core_approval_fill(approval, &ret_event->approval.body.approval);
	} else
		memcpy(ret_event->approval.body.decided, approval->device.bytes, sizeof approval->device.bytes);
}

static bool approvals_row(const struct watch *watch, size_t *at, union event *ret_event)
{
	struct approval approval;
	if (!core_rows_next(&watch->rows, at, &approval, sizeof approval))
		return false;
	approval_event(&approval, ret_event);
	return true;
}

static void approvals_complete(union event *ret_event)
{
	ret_event->approval = (murmesh_ApprovalEvent){ .which_body = murmesh_ApprovalEvent_complete_tag, .body.complete = true };
}

static const struct kind approvals_kind = { &rpc_Console_WatchApprovals, approvals_run, approvals_row, approvals_complete, NULL };

int core_watch_approvals(void *ctx, struct rpc_call *call)
{
	return watch_open(ctx, call, &approvals_kind);
}

void core_watch_approval(struct core *core, const struct approval *approval)
{
	struct change *change = list_empty(&core->watches) ? NULL : change_new();
	if (change)
		approval_event(approval, &change->event);
	LIST_EACH(at, &core->watches) {
		struct watch *watch = LIST_ENTRY(at, struct watch, node);
		if (watch->kind == &approvals_kind && core_approval_seen(approval, &watch->user))
			watch_queue(watch, change);
	}
	change_release(change);
}

/* ---- tunnels ---- */

static int maps_run(struct store_tx *tx, struct watch *watch)
{
	(void)tx;
	return account_may(&watch->user, ACCOUNT_TUNNEL) ? 0 : -E_DENIED;
}

static int maps_fill(struct watch *watch)
{
	core_rows_done(&watch->rows);
	return core_maps_names(watch->base.core, &watch->user, &watch->rows);
}

static bool maps_row(const struct watch *watch, size_t *at, union event *ret_event)
{
	ret_event->map = (murmesh_MapEvent){ .which_body = murmesh_MapEvent_map_tag };
	return core_map_row(watch->base.core, &watch->rows, at, &ret_event->map.body.map);
}

static void maps_complete(union event *ret_event)
{
	ret_event->map = (murmesh_MapEvent){ .which_body = murmesh_MapEvent_complete_tag, .body.complete = true };
}

static const struct kind maps_kind = { &rpc_Console_WatchMaps, maps_run, maps_row, maps_complete, maps_fill };

int core_watch_maps(void *ctx, struct rpc_call *call)
{
	return watch_open(ctx, call, &maps_kind);
}

/* Whom such a change is for. */
static bool pair_was_seen(const struct pair *pair, const char *before, const struct user *user)
{
	struct pair was = { .about = pair->about };
	if (before)
		str_copy(str_from(before), was.about.group, sizeof was.about.group);
	return pair_seen(&was, user);
}

static struct change *pair_change_new(const struct core *core, const struct pair *pair, bool gone)
{
	struct change *change = change_new();
	if (change && gone) {
		change->event.map.which_body = murmesh_MapEvent_removed_tag;
		memcpy(change->event.map.body.removed, pair->name.bytes, sizeof pair->name.bytes);
	} else if (change) {
		change->event.map.which_body = murmesh_MapEvent_map_tag;
		pair_fill(core, pair, &change->event.map.body.map);
	}
	return change;
}

/* Bytes are not queued for a browser that is behind: it has all of them with the next snapshot, which begins once it has read what waits. */
void pair_publish(struct core *core, const struct pair *pair, const char *before, enum pair_change what)
{
	struct change *changes[2] = { NULL, NULL }; /* as it is now; gone */
	LIST_EACH(at, &core->watches) {
		struct watch *watch = LIST_ENTRY(at, struct watch, node);
		bool gone = what == PAIR_GONE || !pair_seen(pair, &watch->user);
		if (watch->kind != &maps_kind || (gone && !pair_was_seen(pair, before, &watch->user)))
			continue;
		if (what == PAIR_MOVED && (watch->n_queue || !watch->complete)) {
			watch->behind = true;
			continue;
		}
		if (!changes[gone])
			changes[gone] = pair_change_new(core, pair, gone);
		watch_queue(watch, changes[gone]);
	}
	change_release(changes[0]);
	change_release(changes[1]);
}

/* ---- a session: whatever else is done with it is over when this is ---- */

static int session_run(struct store_tx *tx, struct watch *watch)
{
	(void)tx;
	(void)watch;
	return 0;
}

static bool session_row(const struct watch *watch, size_t *at, union event *ret_event)
{
	(void)watch;
	(void)at;
	(void)ret_event;
	return false;
}

static void session_complete(union event *ret_event)
{
	ret_event->session = (murmesh_SessionEvent)murmesh_SessionEvent_init_zero;
}

static const struct kind session_kind = { &rpc_Console_WatchSession, session_run, session_row, session_complete, NULL };

int core_watch_session(void *ctx, struct rpc_call *call)
{
	return watch_open(ctx, call, &session_kind);
}

/* ---- ends ---- */

void core_watch_end(struct core *core, const uint8_t *session, const struct id *user, int err)
{
	LIST_EACH(at, &core->watches) {
		struct watch *watch = LIST_ENTRY(at, struct watch, node);
		if ((!session || memcmp(watch->caller.session, session, sizeof watch->caller.session) == 0) &&
		    (!user || id_equal(&watch->user.id, user)))
			watch_finish(watch, err, NULL);
	}
}

/* An open page is no use of its session: it ends with it. */
struct check {
	struct store_job job;
	struct core *core;
	uint8_t session[32];
};

static int check_run(struct store_tx *tx, struct store_job *job)
{
	struct user user;
	int err = account_session_get(tx, ((struct check *)job)->session, clock_wall_s(), &user, NULL);
	return err < 0 ? err : account_may(&user, ACCOUNT_LIST) ? 0 : -E_DENIED;
}

static void check_done(struct store_job *job, int err)
{
	struct check *check = (struct check *)job;
	if (err == -E_SESSION || err == -E_DENIED)
		core_watch_end(check->core, check->session, NULL, -E_SESSION);
	mem_wipe(check, sizeof *check);
	mem_free(check);
}

void core_watch_check(struct core *core)
{
	LIST_EACH(at, &core->watches) {
		struct check *check = mem_alloc(sizeof *check);
		if (!check)
			return;
		check->job.run = check_run;
		check->job.done = check_done;
		check->core = core;
		memcpy(check->session, LIST_ENTRY(at, struct watch, node)->caller.session, sizeof check->session);
		if (store_submit(core->store, &check->job) < 0)
			mem_free(check);
	}
}
