/* The console: devices, join keys, the audit log, and watching the fleet. */
#include "account/account.h"
#include "account/session.h"
#include "audit/audit.h"
#include "base/err.h"
#include "base/mem.h"
#include "ca/records.h"
#include "os/clock.h"
#include "server/core.h"

#define WATCHES_MAX   256
#define CHANGES_MAX   1000 /* that wait for one browser */
#define AUDIT_DEFAULT 200
#define AUDIT_MAX     1000

static struct id id_of(const uint8_t bytes[16])
{
	struct id id;
	memcpy(id.bytes, bytes, sizeof id.bytes);
	return id;
}

/* ---- join keys and devices ---- */

void core_console_new_key(void *ctx, struct rpc_call *call, const void *message)
{
	const murmesh_ConsoleKeyRequest *request = message;
	struct core_caller caller = { .by_session = true };
	memcpy(caller.session, request->session, sizeof caller.session);
	core_fleet_key(ctx, call, &caller, &request->key);
	mem_wipe(&caller, sizeof caller);
}

static int rename_run(struct store_tx *tx, struct core_job *base)
{
	struct console_job *job = (struct console_job *)base;
	const struct id id = id_of(job->request.rename.device);
	char actor[64], before[FLEET_FULL_NAME] = "", after[FLEET_FULL_NAME];
	struct device old;
	int err = core_caller_check(tx, &job->caller, ACCOUNT_RENAME, actor);
	if (err == 0)
		err = fleet_device_get(tx, &id, &old);
	if (err == 0)
		err = fleet_device_rename(tx, &id, str_from(job->request.rename.name), &job->device);
	if (err < 0)
		return err;
	fleet_full_name(&old, before);
	fleet_full_name(&job->device, after);
	const struct audit_event event = { str_from(actor), STR("device renamed"), str_from(before), str_from(after) };
	return audit_append(tx, clock_wall_s(), &event);
}

static void rename_done(struct core_job *base)
{
	core_watch_device(base->core, &((struct console_job *)base)->device);
	core_console_reply(base);
}

void core_console_rename(void *ctx, struct rpc_call *call, const void *request)
{
	struct console_job *job = core_console_job(ctx, call, request, sizeof(murmesh_RenameRequest), rename_run);
	if (!job)
		return;
	job->base.done = rename_done;
	core_job_submit(&job->base);
}

static int delete_run(struct store_tx *tx, struct core_job *base)
{
	struct console_job *job = (struct console_job *)base;
	const struct id id = id_of(job->request.device.device);
	char actor[64], name[FLEET_FULL_NAME];
	int err = core_caller_check(tx, &job->caller, ACCOUNT_RETIRE, actor);
	if (err == 0)
		err = fleet_device_get(tx, &id, &job->device);
	if (err == 0)
		err = fleet_device_retire(tx, &id, clock_wall_s());
	if (err < 0)
		return err;
	err = ca_certificate_revoke(tx, &id, clock_wall_s());
	if (err < 0 && err != -E_NOT_FOUND) /* it never got one, or they have expired */
		return err;
	fleet_full_name(&job->device, name);
	const struct audit_event event = { str_from(actor), STR("device deleted"), str_from(name), STR("") };
	return audit_append(tx, clock_wall_s(), &event);
}

static void delete_done(struct core_job *base)
{
	const struct id *id = &((struct console_job *)base)->device.id;
	core_link_end(base->core, id, -E_REVOKED, "the device was deleted");
	core_watch_removed(base->core, id);
	core_console_reply(base);
}

void core_console_delete(void *ctx, struct rpc_call *call, const void *request)
{
	struct console_job *job = core_console_job(ctx, call, request, sizeof(murmesh_DeviceRequest), delete_run);
	if (!job)
		return;
	job->base.done = delete_done;
	core_job_submit(&job->base);
}

/* ---- the audit log ---- */

struct audit_job {
	struct core_job base;
	struct core_caller caller;
	unsigned limit;
	murmesh_AuditRow *rows;
	size_t n, sent;
};

static int audit_add(void *ctx, const struct audit_entry *entry)
{
	struct audit_job *audit = ctx;
	murmesh_AuditRow *row = &audit->rows[audit->n++];
	row->sequence = entry->seq;
	row->time = entry->time;
	str_copy(str_from(entry->actor), row->actor, sizeof row->actor);
	str_copy(str_from(entry->action), row->action, sizeof row->action);
	str_copy(str_from(entry->object), row->object, sizeof row->object);
	str_copy(str_from(entry->detail), row->detail, sizeof row->detail);
	return 0;
}

static int audit_run(struct store_tx *tx, struct core_job *job)
{
	struct audit_job *audit = (struct audit_job *)job;
	char name[64];
	int err = core_caller_check(tx, &audit->caller, ACCOUNT_AUDIT_READ, name);
	if (err < 0)
		return err;
	audit->rows = mem_alloc_array(audit->limit, sizeof *audit->rows);
	return audit->rows ? audit_list(tx, audit->limit, audit_add, audit) : -E_NO_MEMORY;
}

static void audit_send(void *ctx)
{
	struct audit_job *audit = ctx;
	int err = 0;
	while (audit->sent < audit->n && (err = rpc_call_send(audit->base.call, &audit->rows[audit->sent])) == 0)
		audit->sent++;
	if (err != -E_FULL)
		rpc_call_finish(audit->base.call, err, NULL);
}

static void job_closed(void *ctx, int err, const char *why)
{
	(void)err;
	(void)why;
	core_job_free(ctx);
}

static void audit_done(struct core_job *job)
{
	static const struct rpc_call_events events = { NULL, NULL, audit_send, job_closed };
	rpc_call_set_events(job->call, &events, job);
	if (rpc_call_alive(job->call))
		audit_send(job);
	else
		core_job_free(job);
}

static void audit_ended(struct core_job *job)
{
	struct audit_job *audit = (struct audit_job *)job;
	mem_free(audit->rows);
	mem_wipe(&audit->caller, sizeof audit->caller);
}

static const struct rpc_call_events working; /* the job owns the call from here */

static void on_audit_request(void *ctx, const void *message)
{
	const murmesh_AuditRequest *request = message;
	struct audit_job *audit = ctx;
	memcpy(audit->caller.session, request->session, sizeof audit->caller.session);
	audit->limit = !request->limit ? AUDIT_DEFAULT : request->limit < AUDIT_MAX ? request->limit : AUDIT_MAX;
	rpc_call_set_events(audit->base.call, &working, NULL);
	core_job_submit(&audit->base);
}

int core_console_audit(void *ctx, struct rpc_call *call)
{
	static const struct rpc_call_events events = { on_audit_request, NULL, NULL, job_closed };
	struct audit_job *audit = core_job_new(ctx, call, sizeof *audit);
	if (!audit)
		return 0;
	audit->base.run = audit_run;
	audit->base.done = audit_done;
	audit->base.ended = audit_ended;
	audit->caller.by_session = true;
	rpc_call_accept(call, &rpc_Console_ListAudit, &events, audit);
	return 0;
}

/* ---- watching: the snapshot of one job, then changes; jobs end in order, so that nothing falls between ---- */

/* One change, shared by all who watch. */
struct change {
	murmesh_FleetEvent event; /* without its sequence number */
	unsigned refs;
};

struct queued {
	struct list node;
	struct change *change;
};

struct watch {
	struct core_job base;
	struct list node; /* in core->watches once the snapshot is there */
	struct core_caller caller;
	struct core_devices devices;
	size_t sent;
	struct list queue;
	size_t n_queue;
	uint64_t sequence;
	bool complete;
};

static void change_release(struct change *change)
{
	if (!--change->refs)
		mem_free(change);
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
	char name[64];
	int err = core_caller_check(tx, &watch->caller, ACCOUNT_LIST, name);
	return err < 0 ? err : fleet_device_list(tx, core_devices_add, &watch->devices);
}

static int event_send(struct watch *watch, murmesh_FleetEvent *event)
{
	event->sequence = watch->sequence + 1;
	int err = rpc_call_send(watch->base.call, event);
	if (err == 0)
		watch->sequence++;
	return err;
}

static int snapshot_send(struct watch *watch)
{
	murmesh_FleetEvent event = murmesh_FleetEvent_init_zero;
	int err = 0;
	event.which_body = murmesh_FleetEvent_device_tag;
	for (; err == 0 && watch->sent < watch->devices.n; watch->sent += err == 0) {
		core_fleet_device(watch->base.core, &watch->devices.rows[watch->sent], &event.body.device);
		err = event_send(watch, &event);
	}
	if (err < 0)
		return err;
	event = (murmesh_FleetEvent){ .which_body = murmesh_FleetEvent_complete_tag, .body.complete = true };
	err = event_send(watch, &event);
	watch->complete = err == 0;
	if (watch->complete)
		watch->devices.rows = mem_free(watch->devices.rows);
	return err;
}

/* The call's `closed` frees it. */
static void watch_finish(struct watch *watch, int err, const char *why)
{
	list_remove(&watch->node);
	rpc_call_finish(watch->base.call, err, why);
}

static void watch_send(void *ctx)
{
	struct watch *watch = ctx;
	int err = watch->complete ? 0 : snapshot_send(watch);
	while (err == 0 && watch->n_queue) {
		err = event_send(watch, &LIST_ENTRY(watch->queue.next, struct queued, node)->change->event);
		if (err == 0)
			watch_unqueue(watch);
	}
	if (err < 0 && err != -E_FULL)
		watch_finish(watch, err, NULL);
}

static void watch_done(struct core_job *job)
{
	static const struct rpc_call_events events = { NULL, NULL, watch_send, job_closed };
	struct watch *watch = (struct watch *)job;
	rpc_call_set_events(job->call, &events, watch);
	if (!rpc_call_alive(job->call))
		return core_job_free(job);
	list_append(&job->core->watches, &watch->node);
	watch_send(watch);
}

static void watch_ended(struct core_job *job)
{
	struct watch *watch = (struct watch *)job;
	list_remove(&watch->node);
	job->core->n_watches--;
	while (watch->n_queue)
		watch_unqueue(watch);
	mem_free(watch->devices.rows);
	mem_wipe(&watch->caller, sizeof watch->caller);
}

static void on_watch_request(void *ctx, const void *message)
{
	struct watch *watch = ctx;
	memcpy(watch->caller.session, ((const murmesh_SessionRequest *)message)->session, sizeof watch->caller.session);
	rpc_call_set_events(watch->base.call, &working, NULL);
	core_job_submit(&watch->base);
}

int core_console_watch(void *ctx, struct rpc_call *call)
{
	static const struct rpc_call_events events = { on_watch_request, NULL, NULL, job_closed };
	struct core *core = ctx;
	struct watch *watch = core->n_watches < WATCHES_MAX ? core_job_new(core, call, sizeof *watch) : NULL;
	if (!watch)
		return -E_BUSY;
	core->n_watches++;
	list_init(&watch->node);
	list_init(&watch->queue);
	watch->base.run = watch_run;
	watch->base.done = watch_done;
	watch->base.ended = watch_ended;
	watch->caller.by_session = true;
	rpc_call_accept(call, &rpc_Console_WatchFleet, &events, watch);
	return 0;
}

static void watch_queue(struct watch *watch, struct change *change)
{
	struct queued *queued = watch->n_queue < CHANGES_MAX ? mem_alloc(sizeof *queued) : NULL;
	if (!queued)
		return watch_finish(watch, -E_FLOW, "the browser does not keep up; it begins again");
	queued->change = change;
	change->refs++;
	list_append(&watch->queue, &queued->node);
	watch->n_queue++;
	watch_send(watch);
}

/* A watch that misses a change is ended, and its browser begins again with a snapshot. */
static void publish(struct core *core, const murmesh_FleetEvent *event)
{
	struct change *change = mem_alloc(sizeof *change);
	if (change)
		*change = (struct change){ .event = *event, .refs = 1 };
	LIST_EACH(at, &core->watches) {
		struct watch *watch = LIST_ENTRY(at, struct watch, node);
		if (change)
			watch_queue(watch, change);
		else
			watch_finish(watch, -E_NO_MEMORY, NULL);
	}
	if (change)
		change_release(change);
}

void core_watch_device(struct core *core, const struct device *device)
{
	murmesh_FleetEvent event = { .which_body = murmesh_FleetEvent_device_tag };
	if (list_empty(&core->watches) || device->retired)
		return;
	core_fleet_device(core, device, &event.body.device);
	publish(core, &event);
}

void core_watch_removed(struct core *core, const struct id *device)
{
	murmesh_FleetEvent event = { .which_body = murmesh_FleetEvent_removed_tag };
	memcpy(event.body.removed, device->bytes, sizeof device->bytes);
	if (!list_empty(&core->watches))
		publish(core, &event);
}

void core_watch_end(struct core *core, const uint8_t session[32])
{
	LIST_EACH(at, &core->watches) {
		struct watch *watch = LIST_ENTRY(at, struct watch, node);
		if (memcmp(watch->caller.session, session, sizeof watch->caller.session) == 0)
			watch_finish(watch, -E_SESSION, NULL);
	}
}

/* ---- an open page is no use of its session: it ends with it ---- */

struct check {
	struct store_job job;
	struct core *core;
	uint8_t session[32];
};

static int check_run(struct store_tx *tx, struct store_job *job)
{
	struct user user;
	char name[64];
	int err = account_session_get(tx, ((struct check *)job)->session, clock_wall_s(), &user);
	return err < 0 ? err : core_user_check(tx, &user.id, ACCOUNT_LIST, name);
}

static void check_done(struct store_job *job, int err)
{
	struct check *check = (struct check *)job;
	if (err == -E_SESSION || err == -E_DENIED)
		core_watch_end(check->core, check->session);
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
