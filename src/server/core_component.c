/* Machines that run roles of the server elsewhere (ca/components.h): what they may, those that are attached, and what their relays are told. */
#include <limits.h>

#include "base/err.h"
#include "base/mem.h"
#include "ca/approvals.h"
#include "ca/components.h"
#include "ca/join_line.h"
#include "ca/records.h"
#include "os/clock.h"
#include "os/log.h"
#include "os/random.h"
#include "server/core.h"

#define TASK_MS             7000
#define ATTACHES_PER_MINUTE 30 /* of one component: each is a line of the log, and a job or two */
#define ATTACHES_MAX        4  /* at once: the newest counts */

struct core_component {
	struct id id;
	char full_name[FLEET_FULL_NAME];
	char host[JOIN_HOST_SIZE];     /* that it enrolled with; "" = none */
	unsigned roles;                /* 0: it was revoked */
	struct attachment *attachment; /* NULL: it is not there */
	unsigned n_open, n_lately;     /* attachments; of the minute */
	int64_t minute;
};

struct attachment {
	struct core *core;
	struct core_component *component;
	struct rpc_call *call;
	murmesh_ComponentHello hello;
	struct list tasks;
	uint32_t last; /* task's number */
};

struct task {
	struct list node;
	uint32_t number;
	struct io_timer *deadline;
	core_component_done done;
	void *ctx;
};

void core_component_name(const struct component_record *record, char out[FLEET_FULL_NAME])
{
	struct device device = { .token = record->number };
	str_copy(str_from(record->name), device.name, sizeof device.name);
	fleet_full_name(&device, out);
}

/* ---- all that there are ---- */

static struct core_component *component_get(const struct core *core, const struct id *id)
{
	return map_get(core->components, id->bytes, sizeof id->bytes);
}

static int component_keep(void *ctx, const struct component_record *record)
{
	struct core *core = ctx;
	if (record->revoked)
		return 0;
	struct core_component *component = mem_alloc(sizeof *component);
	if (!component)
		return -E_NO_MEMORY;
	*component = (struct core_component){ .id = record->id, .roles = record->roles };
	core_component_name(record, component->full_name);
	uint16_t port;
	join_address_parse(str_from(record->address), component->host, &port);
	int err = map_put(core->components, component->id.bytes, sizeof component->id.bytes, component);
	if (err < 0)
		mem_free(component);
	return err;
}

struct load_job {
	struct store_job job;
	struct core *core;
};

static int load_run(struct store_tx *tx, struct store_job *job)
{
	return ca_component_each(tx, component_keep, ((struct load_job *)job)->core);
}

int core_components_open(struct core *core)
{
	struct load_job load = { .job = { .run = load_run }, .core = core };
	uint8_t seed[16];
	random_bytes(seed, sizeof seed);
	core->components = map_new(seed, CA_COMPONENTS_MAX * 2); /* those revoked since the start stay */
	return core->components ? store_run(core->store, &load.job) : -E_NO_MEMORY;
}

/* After the connection to link. */
void core_components_free(struct core *core)
{
	struct core_component *component;
	for (size_t at = 0; core->components && (component = map_next(core->components, &at));)
		mem_free(component);
	core->components = map_free(core->components);
}

bool core_component_may(const struct core *core, const struct id *id, unsigned roles)
{
	const struct core_component *component = component_get(core, id);
	return component && component->roles & roles;
}

const char *core_component_called(const struct core *core, const struct id *id)
{
	const struct core_component *component = component_get(core, id);
	return component ? component->full_name : NULL;
}

struct id core_component_of(const struct rpc_call *call)
{
	const struct rpc_origin *origin = rpc_call_origin(call);
	const struct identity *peer = rpc_call_peer(call);
	if (origin && origin->has_component)
		return origin->component;
	return peer && peer->kind == IDENTITY_COMPONENT ? peer->id : (struct id){ 0 };
}

/* ---- one comes, by its join key ---- */

int core_component_join(struct store_tx *tx, const struct approval *approval, struct component_record *ret)
{
	*ret = (struct component_record){
		.id = approval->device, .number = approval->number, .roles = approval->components, .created = clock_wall_s()
	};
	str_copy(str_from(approval->name), ret->name, sizeof ret->name);
	str_copy(str_from(approval->reach), ret->address, sizeof ret->address);
	char full_name[FLEET_FULL_NAME], roles[CA_COMPONENT_ROLES_SIZE], detail[256];
	core_component_name(ret, full_name);
	snprintf(detail, sizeof detail, "from %s, for %s at %s", approval->address[0] ? approval->address : "an unknown address",
	         ca_component_roles_format(ret->roles, roles), ret->address[0] ? ret->address : "no address");
	int err = ca_component_add(tx, ret);
	return err < 0 ? err : core_audit(tx, full_name, "component joined", full_name, detail);
}

void core_component_joined(struct core *core, const struct component_record *record)
{
	if (component_keep(core, record) < 0)
		log_warning("the component %s is not let in before the next start: %s", record->name, err_text(-E_NO_MEMORY));
	else
		core_component_tell(core, &record->id, record->roles);
}

/* ---- tasks ---- */

static void task_end(struct task *task, int err, const char *why)
{
	list_remove(&task->node);
	io_timer_free(task->deadline);
	if (task->done)
		task->done(task->ctx, err, why);
	mem_free(task);
}

static void on_deadline(void *ctx)
{
	task_end(ctx, -E_TIMEOUT, "");
}

static int err_of(uint32_t told)
{
	int err = (int)(told & INT_MAX);
	return !told ? 0 : err_known(err) ? -err : -E_INTERNAL;
}

static void on_done(struct attachment *attachment, const murmesh_ComponentDone *done)
{
	LIST_EACH(at, &attachment->tasks) {
		struct task *task = LIST_ENTRY(at, struct task, node);
		if (task->number == done->number)
			return task_end(task, err_of(done->error), "");
	}
}

static struct attachment *attachment_of(const struct core *core, const struct id *id)
{
	const struct core_component *component = component_get(core, id);
	return component ? component->attachment : NULL;
}

static bool reach(const struct core_component *component, murmesh_Forwarding *ret)
{
	const struct attachment *attachment = component->attachment;
	char host[JOIN_HOST_SIZE];
	uint16_t port;
	if (!attachment || !(attachment->hello.roles & murmesh_ComponentRole_COMPONENT_RELAY) ||
	    join_address_parse(str_from(attachment->hello.address), host, &port) < 0 || !str_is(str_from(host), component->host))
		return false;
	ret->port = port;
	return str_copy(str_from(host), ret->address, sizeof ret->address) == 0;
}

bool core_component_relay_reach(const struct core *core, const struct id *id, murmesh_Forwarding *ret)
{
	const struct core_component *component = component_get(core, id);
	return component && reach(component, ret);
}

bool core_component_relay_find(const struct core *core, struct id *ret)
{
	const struct core_component *component;
	murmesh_Forwarding there;
	for (size_t at = 0; (component = map_next(core->components, &at));)
		if (reach(component, &there)) {
			*ret = component->id;
			return true;
		}
	return false;
}

static int task_send(struct attachment *attachment, murmesh_ComponentTask *message, core_component_done done, void *ctx)
{
	struct task *task = mem_alloc(sizeof *task);
	if (!task)
		return -E_NO_MEMORY;
	*task = (struct task){ .number = message->number = ++attachment->last };
	task->deadline = io_timer_new(attachment->core->loop, on_deadline, task);
	list_append(&attachment->tasks, &task->node);
	int err = task->deadline ? rpc_call_send(attachment->call, message) : -E_NO_MEMORY;
	if (err < 0) {
		task_end(task, err, "");
		return err;
	}
	io_timer_start(task->deadline, TASK_MS, 0);
	task->done = done;
	task->ctx = ctx;
	return 0;
}

int core_component_ask(struct core *core, const struct id *id, murmesh_ComponentTask *message, core_component_done done, void *ctx)
{
	struct attachment *attachment = attachment_of(core, id);
	return attachment ? task_send(attachment, message, done, ctx) : -E_BUSY;
}

void core_components_close_pair(struct core *core, const murmesh_PairName *pair)
{
	struct core_component *component;
	for (size_t at = 0; (component = map_next(core->components, &at));) {
		murmesh_ComponentTask message = { .which_body = murmesh_ComponentTask_close_tag, .body.close = *pair };
		if (component->roles && component->attachment && task_send(component->attachment, &message, NULL, NULL) < 0)
			log_limited(LOG_WARNING, "a tunnel was not ended: the relay at %s cannot be asked", component->full_name);
	}
}

/* ---- attached ---- */

struct seen_job {
	struct store_job job;
	struct id id;
};

static int seen_run(struct store_tx *tx, struct store_job *job)
{
	return ca_component_seen(tx, &((struct seen_job *)job)->id, clock_wall_s());
}

static void seen_done(struct store_job *job, int err)
{
	if (err < 0)
		log_limited(LOG_WARNING, "when a component was seen last was not kept: %s %s", err_text(err), job->detail);
	mem_free(job);
}

static void keep_seen(struct core *core, const struct id *id)
{
	struct seen_job *seen = mem_alloc(sizeof *seen);
	if (!seen)
		return;
	*seen = (struct seen_job){ .job = { .run = seen_run, .done = seen_done }, .id = *id };
	if (store_submit(core->store, &seen->job) < 0)
		mem_free(seen);
}

static void on_hello(struct attachment *attachment, const murmesh_ComponentHello *hello)
{
	murmesh_ComponentTask welcome = { .which_body = murmesh_ComponentTask_welcome_tag };
	struct core_component *component = attachment->component;
	char may[CA_COMPONENT_ROLES_SIZE], why[128];
	if (component->attachment == attachment)
		return;
	if (!hello->roles || hello->roles & ~component->roles) {
		snprintf(why, sizeof why, "the key of this machine was made for %s",
		         ca_component_roles_format(component->roles, may));
		return rpc_call_finish(attachment->call, component->roles ? -E_DENIED : -E_REVOKED, why);
	}
	if (component->attachment) /* a machine that comes back before its old connection is known to be dead */
		rpc_call_finish(component->attachment->call, -E_EXISTS, "it has attached anew");
	if (component->roles & murmesh_ComponentRole_COMPONENT_WEB) /* of before, perhaps of a web that has ended */
		core_tasks_interrupt(attachment->core, &component->id);
	attachment->hello = *hello;
	component->attachment = attachment;
	log_info("attached: %s, with %s", component->full_name, ca_component_roles_format(hello->roles, may));
	keep_seen(attachment->core, &component->id);
	if (rpc_call_send(attachment->call, &welcome) < 0)
		rpc_call_finish(attachment->call, -E_NO_MEMORY, NULL);
}

/* Also of one with the role link alone: its relay passes legs on, and pairs those that both come in there. */
static void on_pairs(struct attachment *attachment, const murmesh_PairReports *reports)
{
	if (attachment->component->attachment == attachment)
		core_pairs_reports(attachment->core, &attachment->component->id, reports);
}

static void on_report(void *ctx, const void *message)
{
	const murmesh_ComponentReport *report = message;
	if (report->which_body == murmesh_ComponentReport_hello_tag)
		on_hello(ctx, &report->body.hello);
	else if (report->which_body == murmesh_ComponentReport_done_tag)
		on_done(ctx, &report->body.done);
	else if (report->which_body == murmesh_ComponentReport_pairs_tag)
		on_pairs(ctx, &report->body.pairs);
}

static void on_closed(void *ctx, int err, const char *why)
{
	struct attachment *attachment = ctx;
	(void)err;
	(void)why;
	if (attachment->component->attachment == attachment) {
		attachment->component->attachment = NULL;
		log_info("not attached any more: %s", attachment->component->full_name);
		core_pairs_lost(attachment->core, &attachment->component->id);
		keep_seen(attachment->core, &attachment->component->id);
		core_tasks_interrupt(attachment->core, &attachment->component->id);
	}
	attachment->component->n_open--;
	while (!list_empty(&attachment->tasks))
		task_end(LIST_ENTRY(attachment->tasks.next, struct task, node), -E_BUSY, "");
	mem_free(attachment);
}

static void on_half_closed(void *ctx)
{
	rpc_call_finish(((struct attachment *)ctx)->call, 0, NULL);
}

static bool is_welcome(struct core_component *component)
{
	int64_t minute = clock_wall_s() / 60;
	if (minute != component->minute) {
		component->minute = minute;
		component->n_lately = 0;
	}
	return component->n_open < ATTACHES_MAX && component->n_lately++ < ATTACHES_PER_MINUTE;
}

int core_component_attach(void *ctx, struct rpc_call *call)
{
	static const struct rpc_call_events events = { on_report, on_half_closed, NULL, on_closed };
	struct core_component *component = component_get(ctx, &rpc_call_peer(call)->id);
	if (!is_welcome(component))
		return -E_LIMIT;
	struct attachment *attachment = mem_alloc(sizeof *attachment);
	if (!attachment)
		return -E_NO_MEMORY;
	*attachment = (struct attachment){ .core = ctx, .component = component, .call = call };
	component->n_open++;
	list_init(&attachment->tasks);
	rpc_call_accept(call, &rpc_Components_Attach, &events, attachment);
	return 0;
}

/* ---- users ---- */

static void component_fill(const struct core *core, const struct component_record *record, murmesh_Component *ret)
{
	const struct core_component *component = component_get(core, &record->id);
	const struct attachment *attachment = component ? component->attachment : NULL;
	*ret = (murmesh_Component){ .roles = record->roles,
		                    .attached = attachment != NULL,
		                    .created = record->created,
		                    .last_seen = record->last_seen,
		                    .revoked = record->revoked };
	memcpy(ret->id, record->id.bytes, sizeof ret->id);
	str_copy(str_from(record->name), ret->name, sizeof ret->name);
	core_component_name(record, ret->full_name);
	str_copy(str_from(attachment ? attachment->hello.address : record->address), ret->address, sizeof ret->address);
	str_copy(str_from(record->address), ret->enrolled, sizeof ret->enrolled);
	if (attachment)
		str_copy(str_from(attachment->hello.version), ret->version, sizeof ret->version);
}

static int row_add(void *ctx, const struct component_record *record)
{
	return core_rows_add(ctx, record, sizeof *record);
}

int core_components_run(struct store_tx *tx, struct core_request *request)
{
	struct user user;
	int err = core_caller_check(tx, &request->caller, ACCOUNT_COMPONENTS, &user);
	return err < 0 ? err : ca_component_each(tx, row_add, &request->rows);
}

bool core_component_row(const struct core_request *request, size_t *at, void *message)
{
	struct component_record record;
	if (!core_rows_next(&request->rows, at, &record, sizeof record))
		return false;
	component_fill(request->base.core, &record, message);
	return true;
}

struct search {
	struct str selector;
	struct component_record found;
	unsigned n;
};

static int search_each(void *ctx, const struct component_record *record)
{
	struct search *search = ctx;
	char full_name[FLEET_FULL_NAME], id[ID_TEXT_SIZE];
	core_component_name(record, full_name);
	id_format(&record->id, id);
	if (!record->revoked && (str_equal_nocase(search->selector, str_from(record->name)) ||
	                         str_equal_nocase(search->selector, str_from(full_name)) || str_is(search->selector, id))) {
		search->found = *record;
		search->n++;
	}
	return 0;
}

int core_component_revoke_run(struct store_tx *tx, struct core_request *request)
{
	const murmesh_ComponentName *message = request->message;
	struct search search = { .selector = str_from(message->selector) };
	char full_name[FLEET_FULL_NAME], roles[CA_COMPONENT_ROLES_SIZE];
	int64_t now = clock_wall_s();
	struct user user;
	int err = core_caller_check(tx, &request->caller, ACCOUNT_COMPONENTS, &user);
	if (err == 0)
		err = ca_component_each(tx, search_each, &search);
	if (err == 0 && search.n != 1)
		err = search.n ? -E_AMBIGUOUS : -E_NOT_FOUND;
	if (err == 0)
		err = ca_component_revoke(tx, &search.found.id, now);
	if (err == 0 && (err = ca_certificate_revoke(tx, &search.found.id, now)) == -E_NOT_FOUND) /* they have expired */
		err = 0;
	search.found.revoked = now;
	if (err == 0)
		err = core_rows_add(&request->rows, &search.found, sizeof search.found);
	core_component_name(&search.found, full_name);
	return err < 0 ? err
	               : core_audit(tx, user.name, "component revoked", full_name,
	                            ca_component_roles_format(search.found.roles, roles));
}

void core_component_revoke_done(struct core_request *request)
{
	struct core *core = request->base.core;
	struct component_record record;
	size_t at = 0;
	core_rows_next(&request->rows, &at, &record, sizeof record);
	struct core_component *component = component_get(core, &record.id);
	if (component)
		component->roles = 0;
	if (component && component->attachment)
		rpc_call_finish(component->attachment->call, -E_REVOKED, NULL);
	core_pairs_close_through(core, &record.id);
	core_tasks_interrupt(core, &record.id); /* also those of one that was never attached */
	core_component_tell(core, &record.id, 0);
	core_revoke_tell(core);
	component_fill(core, &record, request->reply);
	core_request_answer(request);
}
