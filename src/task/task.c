#include "task/task.h"

#include "base/err.h"
#include "base/utf8.h"
#include "store/store.h"

#define COLUMNS        "id, user, session, user_name, title, selector, started, ended, total, done, failed, open, state, component"
#define DEVICE_COLUMNS "device, name, state, code, error, output"

static const char *const names[] = {
	[TASK_WAITING] = "waiting", [TASK_RUNNING] = "running",     [TASK_DONE] = "done",
	[TASK_FAILED] = "failed",   [TASK_CANCELLED] = "cancelled", [TASK_INTERRUPTED] = "interrupted",
};

const char *task_state_name(enum task_state state)
{
	return names[state];
}

int task_state_parse(struct str name, enum task_state *ret)
{
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (str_is(name, names[i])) {
			*ret = (enum task_state)i;
			return 0;
		}
	return -E_NOT_FOUND;
}

static int integer(struct store_query *query, int64_t *ret)
{
	if (store_step(query) > 0)
		*ret = store_integer(query, 0);
	return store_error(query);
}

/* ---- making ---- */

static int make_room(struct store_tx *tx)
{
	int64_t running = 0, rows = 0;
	int err = integer(store_query(tx, "SELECT count(*) FROM tasks WHERE state = 'running'"), &running);
	if (err < 0 || running >= TASKS_RUNNING_MAX)
		return err < 0 ? err : -E_LIMIT;
	struct store_query *query = store_query(tx, "DELETE FROM tasks WHERE id IN (SELECT id FROM tasks WHERE state <> 'running'"
	                                            " ORDER BY started DESC, id LIMIT -1 OFFSET $1)");
	store_bind_integer(query, 1, TASKS_MAX - TASKS_RUNNING_MAX - 1);
	err = store_exec(query);
	while (err == 0) {
		err = integer(store_query(tx, "SELECT coalesce(sum(total), 0) FROM tasks"), &rows);
		if (err < 0 || rows < TASK_ROWS_MAX)
			break;
		err = store_exec(store_query(tx, "DELETE FROM tasks WHERE id IN (SELECT id FROM tasks WHERE state <> 'running'"
		                                 " ORDER BY started, id LIMIT 1)"));
		if (err == 0 && !store_changed(tx))
			return -E_LIMIT;
	}
	return err;
}

static void bind_clean(struct store_query *query, int position, const char *text)
{
	char clean[TASK_TEXT_SIZE];
	store_bind_text(query, position, str_from(utf8_clean(str_from(text), clean, sizeof clean)));
}

int task_begin(struct store_tx *tx, struct task *task, const void *command, size_t len)
{
	int err = len > TASK_COMMAND_MAX ? -E_TOO_LONG : make_room(tx);
	if (err < 0)
		return err;
	struct store_query *query = store_query(tx, "INSERT INTO tasks (" COLUMNS ")"
	                                            " VALUES ($1, $2, $3, $4, $5, $6, $7, 0, 0, 0, 0, 0, 'running', $8)");
	store_bind_id(query, 1, &task->id);
	store_bind_id(query, 2, &task->user);
	store_bind_blob(query, 3, task->session, sizeof task->session);
	store_bind_text(query, 4, str_from(task->user_name));
	bind_clean(query, 5, task->title);
	bind_clean(query, 6, task->selector);
	store_bind_integer(query, 7, task->started);
	store_bind_id(query, 8, &task->component);
	err = store_exec(query);
	if (err < 0)
		return err;
	query = store_query(tx, "INSERT INTO task_commands (task, command) VALUES ($1, $2)");
	store_bind_id(query, 1, &task->id);
	store_bind_blob(query, 2, len ? command : "", len);
	task->state = TASK_RUNNING;
	task->total = task->open = task->done = task->failed = task->ended = 0;
	return store_exec(query);
}

int task_device_add(struct store_tx *tx, struct task *task, const struct id *device, const char *name)
{
	if (task->total == TASK_DEVICES_MAX)
		return -E_LIMIT;
	struct store_query *query = store_query(tx, "INSERT INTO task_devices (task, " DEVICE_COLUMNS ")"
	                                            " VALUES ($1, $2, $3, 'waiting', 0, 0, '')");
	store_bind_id(query, 1, &task->id);
	store_bind_id(query, 2, device);
	store_bind_text(query, 3, str_from(name));
	int err = store_exec(query);
	if (err < 0)
		return err;
	query = store_query(tx, "UPDATE tasks SET total = total + 1, open = open + 1 WHERE id = $1");
	store_bind_id(query, 1, &task->id);
	err = store_exec(query);
	task->total += err == 0;
	task->open += err == 0;
	return err;
}

/* ---- reading ---- */

/* 1: a task; 0: no more. */
static int task_next(struct store_query *query, struct task *ret)
{
	struct task task = { 0 };
	char state[16];
	int rows = store_step(query);
	if (rows <= 0)
		return rows;
	store_id(query, 0, &task.id);
	store_id(query, 1, &task.user);
	store_blob(query, 2, task.session, sizeof task.session);
	store_text(query, 3, task.user_name, sizeof task.user_name);
	store_text(query, 4, task.title, sizeof task.title);
	store_text(query, 5, task.selector, sizeof task.selector);
	task.started = store_integer(query, 6);
	task.ended = store_integer(query, 7);
	task.total = store_integer(query, 8);
	task.done = store_integer(query, 9);
	task.failed = store_integer(query, 10);
	task.open = store_integer(query, 11);
	store_text(query, 12, state, sizeof state);
	store_id(query, 13, &task.component);
	int err = store_error(query);
	if (err == 0 && task_state_parse(str_from(state), &task.state) < 0)
		err = -E_CHECKSUM;
	if (err == 0)
		*ret = task;
	return err < 0 ? err : 1;
}

int task_get(struct store_tx *tx, const struct id *id, struct task *ret)
{
	struct store_query *query = store_query(tx, "SELECT " COLUMNS " FROM tasks WHERE id = $1");
	store_bind_id(query, 1, id);
	int rows = task_next(query, ret);
	return rows > 0 ? 0 : rows < 0 ? rows : -E_NOT_FOUND;
}

int task_command(struct store_tx *tx, const struct id *id, void *ret, size_t size, size_t *ret_len)
{
	struct store_query *query = store_query(tx, "SELECT command FROM task_commands WHERE task = $1");
	store_bind_id(query, 1, id);
	int rows = store_step(query);
	if (rows <= 0)
		return rows < 0 ? rows : -E_NOT_FOUND;
	*ret_len = store_bytes(query, 0, ret, size);
	return store_error(query);
}

int task_list(struct store_tx *tx, int (*each)(void *ctx, const struct task *task), void *ctx)
{
	int rows;
	struct task task;
	struct store_query *query = store_query(tx, "SELECT " COLUMNS " FROM tasks ORDER BY started DESC, id");
	while ((rows = task_next(query, &task)) > 0) {
		int err = each(ctx, &task);
		if (err < 0)
			return err;
	}
	return rows;
}

int task_devices(struct store_tx *tx, const struct id *id, int (*each)(void *ctx, const struct task_device *device), void *ctx)
{
	int rows;
	struct store_query *query =
	        store_query(tx, "SELECT " DEVICE_COLUMNS " FROM task_devices WHERE task = $1 ORDER BY lower(name), device");
	store_bind_id(query, 1, id);
	while ((rows = store_step(query)) > 0) {
		struct task_device device = { 0 };
		char state[16];
		store_id(query, 0, &device.device);
		store_text(query, 1, device.name, sizeof device.name);
		store_text(query, 2, state, sizeof state);
		device.code = store_integer(query, 3);
		device.error = store_integer(query, 4);
		store_text(query, 5, device.output, sizeof device.output);
		int err = store_error(query);
		if (err == 0 && task_state_parse(str_from(state), &device.state) < 0)
			err = -E_CHECKSUM;
		if (err == 0)
			err = each(ctx, &device);
		if (err < 0)
			return err;
	}
	return rows;
}

/* ---- how it goes ---- */

static int device_put(struct store_tx *tx, const struct id *id, const struct task_device *device)
{
	char output[TASK_OUTPUT_SIZE];
	struct store_query *query =
	        store_query(tx, "UPDATE task_devices SET state = $1, code = $2, error = $3, output = $4"
	                        " WHERE task = $5 AND device = $6 AND state IN ('waiting', 'running') RETURNING 1");
	store_bind_text(query, 1, str_from(task_state_name(device->state)));
	store_bind_integer(query, 2, device->code);
	store_bind_integer(query, 3, device->error);
	store_bind_text(query, 4, str_from(utf8_clean_lines(str_from(device->output), output, sizeof output)));
	store_bind_id(query, 5, id);
	store_bind_id(query, 6, &device->device);
	int rows = store_step(query);
	if (rows != 0)
		return rows < 0 ? rows : store_exec(query);
	query = store_query(tx, "SELECT 1 FROM task_devices WHERE task = $1 AND device = $2");
	store_bind_id(query, 1, id);
	store_bind_id(query, 2, &device->device);
	rows = store_step(query);
	return rows < 0 ? rows : rows ? -E_EXISTS : -E_NOT_FOUND;
}

int task_report(struct store_tx *tx, const struct id *id, const struct task_device *device, int64_t now, struct task *ret)
{
	struct task task;
	int err = task_get(tx, id, &task);
	if (err == 0 && task.state != TASK_RUNNING)
		err = -E_CANCELLED;
	if (err == 0)
		err = device_put(tx, id, device);
	if (err < 0)
		return err;
	if (device->state > TASK_RUNNING) {
		task.open--;
		task.done += device->state == TASK_DONE;
		task.failed += device->state == TASK_FAILED;
	}
	if (!task.open) {
		task.state = TASK_DONE;
		task.ended = now;
	}
	struct store_query *query =
	        store_query(tx, "UPDATE tasks SET open = $1, done = $2, failed = $3, state = $4, ended = $5 WHERE id = $6");
	store_bind_integer(query, 1, task.open);
	store_bind_integer(query, 2, task.done);
	store_bind_integer(query, 3, task.failed);
	store_bind_text(query, 4, str_from(task_state_name(task.state)));
	store_bind_integer(query, 5, task.ended);
	store_bind_id(query, 6, id);
	err = store_exec(query);
	if (err == 0)
		*ret = task;
	return err;
}

/* One task, those of a component, or all that run (both NULL). */
static int end(struct store_tx *tx, const struct id *id, const struct id *component, enum task_state state, int64_t now)
{
	struct store_query *query =
	        store_query(tx, "UPDATE task_devices SET state = $1 WHERE state IN ('waiting', 'running')"
	                        " AND task IN (SELECT id FROM tasks WHERE state = 'running' AND ($2 IS NULL OR id = $2)"
	                        " AND ($3 IS NULL OR component = $3))");
	store_bind_text(query, 1, str_from(task_state_name(state)));
	if (id)
		store_bind_id(query, 2, id);
	if (component)
		store_bind_id(query, 3, component);
	int err = store_exec(query);
	if (err < 0)
		return err;
	query = store_query(tx, "UPDATE tasks SET state = $1, ended = $2, open = 0"
	                        " WHERE state = 'running' AND ($3 IS NULL OR id = $3) AND ($4 IS NULL OR component = $4)");
	store_bind_text(query, 1, str_from(task_state_name(state)));
	store_bind_integer(query, 2, now);
	if (id)
		store_bind_id(query, 3, id);
	if (component)
		store_bind_id(query, 4, component);
	return store_exec(query);
}

int task_cancel(struct store_tx *tx, const struct id *id, int64_t now, struct task *ret)
{
	int err = end(tx, id, NULL, TASK_CANCELLED, now);
	return err < 0 ? err : task_get(tx, id, ret);
}

int task_interrupt(struct store_tx *tx, const struct id *component, int64_t now)
{
	return end(tx, NULL, component, TASK_INTERRUPTED, now);
}

int task_prune(struct store_tx *tx, int64_t now)
{
	struct store_query *query = store_query(tx, "DELETE FROM tasks WHERE started < $1 AND state <> 'running'");
	store_bind_integer(query, 1, now - TASK_SECONDS);
	return store_exec(query);
}
