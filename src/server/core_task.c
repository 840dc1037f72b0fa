/* Tasks: who may start and see them; the web role carries them out. */
#include "task/task.h"

#include "base/err.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "os/clock.h"
#include "os/log.h"
#include "os/random.h"
#include "server/core.h"

bool core_task_seen(const struct task *task, const struct user *user)
{
	return id_equal(&task->user, &user->id) || account_may(user, ACCOUNT_USERS);
}

void core_task_fill(const struct task *task, murmesh_Task *ret)
{
	*ret = (murmesh_Task){ .started = task->started,
		               .ended = task->ended,
		               .total = (uint32_t)task->total,
		               .done = (uint32_t)task->done,
		               .failed = (uint32_t)task->failed };
	memcpy(ret->id, task->id.bytes, sizeof ret->id);
	str_copy(str_from(task->title), ret->title, sizeof ret->title);
	str_copy(str_from(task->selector), ret->selector, sizeof ret->selector);
	str_copy(str_from(task->user_name), ret->user, sizeof ret->user);
	str_copy(str_from(task_state_name(task->state)), ret->state, sizeof ret->state);
}

static struct id id_of(const uint8_t bytes[16])
{
	struct id id;
	memcpy(id.bytes, bytes, sizeof id.bytes);
	return id;
}

/* One that the caller may see. */
static int task_seen(struct store_tx *tx, struct core_request *request, const struct id *id, enum account_action action,
                     struct user *ret_user, struct task *ret)
{
	int err = core_caller_check(tx, &request->caller, action, ret_user);
	if (err == 0)
		err = task_get(tx, id, ret);
	return err < 0 ? err : core_task_seen(ret, ret_user) ? 0 : -E_NOT_FOUND;
}

/* ---- StartTask ---- */

int core_task_begin(struct core_request *request)
{
	const murmesh_TaskStart *message = request->message;
	if (request->base.core->policy.users_sign)
		return -E_SIGNED_MODE;
	for (pb_size_t i = 0; i < message->argv_count; i++)
		if (!utf8_valid(str_from(message->argv[i])))
			return -E_UTF8;
		else if (strlen(message->argv[i]) >= sizeof((murmesh_OrderRequest *)0)->argv[0])
			return -E_TOO_LONG;
	if (message->retry.size)
		return message->retry.size == sizeof(struct id) && !message->argv_count ? 0 : -E_USAGE;
	if (!message->argv_count || !message->argv[0][0])
		return -E_USAGE;
	return core_selection_begin(request, message->selector, CORE_QUERY);
}

struct interrupt_job {
	struct store_job job;
	struct id component;
};

struct start {
	struct store_tx *tx;
	struct core_request *request;
	struct user user;
	struct task task;
	struct core_rows devices;
	uint8_t command[TASK_COMMAND_MAX]; /* arguments, each with its NUL */
	size_t len;
};

static int selected(struct start *start)
{
	const murmesh_TaskStart *message = start->request->message;
	size_t len = 0;
	for (pb_size_t i = 0; i < message->argv_count; i++) {
		size_t size = strlen(message->argv[i]) + 1;
		if (size > sizeof start->command - start->len)
			return -E_TOO_LONG;
		memcpy(start->command + start->len, message->argv[i], size);
		start->len += size;
		if (len < sizeof start->task.title)
			len += (size_t)snprintf(start->task.title + len, sizeof start->task.title - len, "%s%s", i ? " " : "",
			                        message->argv[i]);
	}
	utf8_clean(str_from(message->selector), start->task.selector, sizeof start->task.selector);
	int err = core_selection_run(start->tx, start->request, &start->user, &start->devices);
	if (err < 0)
		return err;
	if (start->devices.n && start->devices.n != message->count) {
		snprintf(start->request->base.why, sizeof start->request->base.why, "it is %zu now, not %u", start->devices.n,
		         (unsigned)message->count);
		return -E_CHANGED;
	}
	return 0;
}

/* A device where it did not succeed, if it is still there. */
static int failed_add(void *ctx, const struct task_device *row)
{
	struct start *start = ctx;
	struct device device;
	if (row->state == TASK_DONE)
		return 0;
	int err = core_device_get(start->tx, &start->user, &row->device, &device);
	if (err < 0)
		return err == -E_NOT_FOUND ? 0 : err;
	return core_rows_device(&start->devices, &device);
}

static int retried(struct start *start)
{
	const murmesh_TaskStart *message = start->request->message;
	const struct id id = id_of(message->retry.bytes);
	struct task before;
	int err = task_seen(start->tx, start->request, &id, ACCOUNT_RUN, &start->user, &before);
	if (err == 0 && before.state == TASK_RUNNING)
		err = -E_RUNNING;
	if (err == 0)
		err = task_command(start->tx, &id, start->command, sizeof start->command, &start->len);
	if (err < 0)
		return err;
	str_copy(str_from(before.title), start->task.title, sizeof start->task.title);
	str_copy(str_from(before.selector), start->task.selector, sizeof start->task.selector);
	return task_devices(start->tx, &id, failed_add, start);
}

static int devices_add(struct start *start)
{
	struct device device;
	size_t at = 0;
	int err = start->devices.n ? 0 : -E_NOT_FOUND;
	if (start->devices.n > TASK_DEVICES_MAX)
		err = -E_LIMIT;
	if (err == 0)
		err = task_begin(start->tx, &start->task, start->command, start->len);
	while (err == 0 && core_rows_next(&start->devices, &at, &device, sizeof device)) {
		char name[FLEET_FULL_NAME];
		fleet_full_name(&device, name);
		err = task_device_add(start->tx, &start->task, &device.id, name);
	}
	return err;
}

static int start_run(struct start *start)
{
	const murmesh_TaskStart *message = start->request->message;
	char object[192];
	int err = core_caller_check(start->tx, &start->request->caller, ACCOUNT_RUN, &start->user);
	start->task.user = start->user.id;
	start->task.component = start->request->caller.component;
	start->task.started = clock_wall_s();
	random_id(&start->task.id);
	hash_sha256(start->request->caller.session, sizeof start->request->caller.session, start->task.session);
	if (err == 0)
		err = message->retry.size ? retried(start) : selected(start);
	str_copy(str_from(start->user.name), start->task.user_name, sizeof start->task.user_name);
	if (err == 0)
		err = devices_add(start);
	if (err < 0)
		return err;
	snprintf(object, sizeof object, "%zu devices: %s", start->devices.n, start->task.selector);
	for (size_t i = 0; i + 1 < start->len; i++) /* for reading */
		start->command[i] = start->command[i] ? start->command[i] : ' ';
	return core_audit(start->tx, start->user.name, "task started", object, (const char *)start->command);
}

/* The row is the task, for done(). */
static int task_keep(struct core_request *request, const struct task *task)
{
	core_task_fill(task, request->reply);
	return core_rows_add(&request->rows, task, sizeof *task);
}

int core_task_run(struct store_tx *tx, struct core_request *request)
{
	struct start *start = mem_alloc(sizeof *start);
	if (!start)
		return -E_NO_MEMORY;
	start->tx = tx;
	start->request = request;
	int err = start_run(start);
	if (err == 0)
		err = task_get(tx, &start->task.id, &start->task); /* as it was cleaned */
	if (err == 0)
		err = task_keep(request, &start->task);
	core_rows_done(&start->devices);
	mem_free(start);
	return err;
}

void core_task_done(struct core_request *request)
{
	struct task task;
	size_t at = 0;
	core_rows_next(&request->rows, &at, &task, sizeof task);
	core_watch_task(request->base.core, &task);
	core_request_answer(request);
}

/* ---- what and where ---- */

int core_task_command_run(struct store_tx *tx, struct core_request *request)
{
	const murmesh_TaskRequest *message = request->message;
	murmesh_TaskArgv *reply = request->reply;
	const struct id id = id_of(message->task);
	char command[TASK_COMMAND_MAX];
	struct user user;
	struct task task;
	size_t len = 0;
	int err = task_seen(tx, request, &id, ACCOUNT_LIST, &user, &task);
	if (err == 0)
		err = task_command(tx, &id, command, sizeof command, &len);
	for (size_t at = 0; err == 0 && at < len;) {
		struct str argument = { command + at, strnlen(command + at, len - at) };
		if (reply->argv_count == sizeof reply->argv / sizeof *reply->argv)
			return -E_CHECKSUM;
		err = str_copy(argument, reply->argv[reply->argv_count++], sizeof *reply->argv);
		at += argument.len + 1;
	}
	return err;
}

static int row_add(void *ctx, const struct task_device *device)
{
	murmesh_TaskRow row = { .code = (int32_t)device->code, .error = (uint32_t)device->error };
	memcpy(row.device, device->device.bytes, sizeof row.device);
	str_copy(str_from(device->name), row.name, sizeof row.name);
	str_copy(str_from(task_state_name(device->state)), row.state, sizeof row.state);
	str_copy(str_from(device->output), row.output, sizeof row.output);
	return core_rows_add(ctx, &row, sizeof row);
}

int core_task_devices_run(struct store_tx *tx, struct core_request *request)
{
	const murmesh_TaskRequest *message = request->message;
	const struct id id = id_of(message->task);
	struct user user;
	struct task task;
	int err = task_seen(tx, request, &id, ACCOUNT_LIST, &user, &task);
	return err < 0 ? err : task_devices(tx, &id, row_add, &request->rows);
}

/* ---- how it goes ---- */

/* Those who watch are told a few hundred times at most. */
static bool worth_telling(const struct task *task)
{
	int64_t through = task->total - task->open, step = task->total / 200;
	return task->state != TASK_RUNNING || step < 2 || through % step == 0;
}

/* Who signs is not believed what is not signed. */
static int proof_check(struct store_tx *tx, const murmesh_TaskReport *message, struct task_device *device)
{
	struct device known;
	bool ended = device->state == TASK_DONE || (device->state == TASK_FAILED && !device->error);
	int err = ended && !message->proven ? fleet_device_get(tx, &device->device, &known) : -E_NOT_FOUND;
	if (err < 0)
		return err == -E_NOT_FOUND ? 0 : err;
	if (known.signs) {
		device->state = TASK_FAILED;
		device->error = E_UNVERIFIED;
	}
	return 0;
}

int core_task_report_run(struct store_tx *tx, struct core_request *request)
{
	const murmesh_TaskReport *message = request->message;
	const murmesh_TaskRow *row = &message->row;
	const struct id id = id_of(message->task);
	struct task_device device = { .device = id_of(row->device), .code = row->code, .error = row->error };
	uint8_t session[HASH_SIZE];
	struct task task;
	int err = task_state_parse(str_from(row->state), &device.state);
	if (err < 0 || device.state == TASK_WAITING)
		return -E_USAGE;
	utf8_clean_lines(str_from(row->output), device.output, sizeof device.output);
	hash_sha256(request->caller.session, sizeof request->caller.session, session);
	err = task_get(tx, &id, &task);
	if (err == 0 && !hash_equal(session, task.session))
		err = -E_NOT_FOUND;
	if (err == 0)
		err = proof_check(tx, message, &device);
	if (err == 0)
		err = task_report(tx, &id, &device, clock_wall_s(), &task);
	if (err < 0)
		return err;
	return device.state > TASK_RUNNING && worth_telling(&task) ? core_rows_add(&request->rows, &task, sizeof task) : 0;
}

void core_task_report_done(struct core_request *request)
{
	struct task task;
	size_t at = 0;
	if (core_rows_next(&request->rows, &at, &task, sizeof task))
		core_watch_task(request->base.core, &task);
	core_request_answer(request);
}

int core_task_cancel_run(struct store_tx *tx, struct core_request *request)
{
	const murmesh_TaskRequest *message = request->message;
	const struct id id = id_of(message->task);
	struct user user;
	struct task task;
	int err = task_seen(tx, request, &id, ACCOUNT_RUN, &user, &task);
	bool running = err == 0 && task.state == TASK_RUNNING;
	if (running)
		err = task_cancel(tx, &id, clock_wall_s(), &task);
	if (running && err == 0)
		err = core_audit(tx, user.name, "task cancelled", task.selector, task.title);
	return err < 0 ? err : task_keep(request, &task);
}

/* ---- nobody carries them out any more ---- */

static int interrupt_run(struct store_tx *tx, struct store_job *job)
{
	return task_interrupt(tx, &((struct interrupt_job *)job)->component, clock_wall_s());
}

static void interrupt_done(struct store_job *job, int err)
{
	if (err < 0)
		log_warning("tasks that nobody carries out are still kept as running: %s %s", err_text(err), job->detail);
	mem_free(job);
}

void core_tasks_interrupt(struct core *core, const struct id *component)
{
	struct interrupt_job *interrupt = mem_alloc(sizeof *interrupt);
	if (!interrupt)
		return;
	*interrupt = (struct interrupt_job){ .job = { .run = interrupt_run, .done = interrupt_done }, .component = *component };
	if (store_submit(core->store, &interrupt->job) < 0)
		mem_free(interrupt);
}
