/* Carries out a task that core has begun: a command on its devices, a few at a time, with orders that core signs for some at a time, over legs
 * of the session that started it.  Core is told how each went, and keeps it; here nothing is kept. */
#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "crypto/key.h"
#include "os/log.h"
#include "services.h"
#include "web/leg.h"
#include "web/task_text.h"

#define AT_ONCE     16    /* devices of one task */
#define CHUNK       32    /* devices that one order is for */
#define ORDER_OLD   60000 /* ms: an order is good for two minutes */
#define ASKED_MAX   64    /* calls of core at once, of one task */
#define ASK_MS      30000
#define DEVICES_MAX 10000

/* An order, for the devices from `first` on. */
struct chunk {
	unsigned refs;
	size_t first, n;
	uint64_t signed_ms;
	murmesh_SignedDocument order;
};

struct task_run {
	struct list node; /* in web->task_runs */
	struct web *web;
	struct id task;
	struct rpc_call *listing;      /* referenced, while core says which devices */
	murmesh_OrderRequest *request; /* what to run */
	struct id *devices;
	size_t n, capacity, next; /* next: the first that has not begun */
	struct list jobs;
	size_t n_jobs;
	struct chunk *chunk; /* that holds `next`, if any does */
	unsigned asked;      /* calls of core whose answers are still to come */
	int refused;         /* no more orders: why */
	bool signing, over;
	uint8_t session[ACCOUNT_SESSION_SIZE];
};

/* The command on one device. */
struct job {
	struct list node;
	struct task_run *run;
	struct chunk *chunk;
	struct id device;
	struct leg_use use;
	struct rpc_call *call; /* referenced */
	struct buf tail;
	struct result_streams streams;
	int code, err;       /* err: the exit is not what the device has signed */
	bool exited, proven; /* proven: it is */
};

static void run_fill(struct task_run *run);

/* ---- ends ---- */

static void chunk_release(struct chunk *chunk)
{
	if (chunk && --chunk->refs == 0)
		mem_free(chunk);
}

static void call_drop(struct rpc_call **at)
{
	struct rpc_call *call = *at;
	*at = NULL;
	if (!call)
		return;
	rpc_call_set_events(call, NULL, NULL);
	rpc_call_cancel(call);
	rpc_call_unref(call);
}

static void job_free(struct job *job)
{
	call_drop(&job->call);
	leg_leave(&job->use, false);
	list_remove(&job->node);
	job->run->n_jobs--;
	chunk_release(job->chunk);
	buf_done(&job->tail);
	result_streams_done(&job->streams);
	mem_free(job);
}

static void run_release(struct task_run *run)
{
	if (!run->over || run->asked)
		return;
	mem_free(run->devices);
	mem_free(run->request);
	mem_wipe(run, sizeof *run);
	mem_free(run);
}

/* Stops what is under way. */
static void run_end(struct task_run *run)
{
	if (run->over)
		return;
	run->over = true;
	list_remove(&run->node);
	call_drop(&run->listing);
	LIST_EACH(at, &run->jobs)
		job_free(LIST_ENTRY(at, struct job, node));
	chunk_release(run->chunk);
	run->chunk = NULL;
	run_release(run);
}

/* ---- what core is told ---- */

static void on_answered(void *ctx, int err, const char *why, const void *response)
{
	struct task_run *run = ctx;
	(void)response;
	if (err < 0)
		log_debug("how a task went was not kept: %s %s", err_text(err), why);
	run->asked--;
	if (run->over)
		run_release(run);
	else
		run_fill(run);
}

static void ask(struct task_run *run, const struct rpc_method *method, const void *request, rpc_unary_done done)
{
	if (run->web->core && rpc_unary(run->web->core, method, request, ASK_MS, done, run) == 0)
		run->asked++;
}

static void report(struct task_run *run, const struct id *device, const char *state, int err, const struct job *job)
{
	static murmesh_TaskReport message;
	message = (murmesh_TaskReport){ .has_row = true, .row.error = (uint32_t)-err };
	if (job) {
		message.proven = job->proven;
		message.row.code = job->code;
		task_text(buf_str(&job->tail), message.row.output,
		          sizeof message.row.output - 8); /* cleaning it again takes a little room */
	}
	memcpy(message.session, run->session, sizeof message.session);
	memcpy(message.task, run->task.bytes, sizeof message.task);
	memcpy(message.row.device, device->bytes, sizeof message.row.device);
	str_copy(str_from(state), message.row.state, sizeof message.row.state);
	ask(run, &rpc_Console_ReportTask, &message, on_answered);
	mem_wipe(&message.session, sizeof message.session);
}

/* It cannot even begin: core must not wait for it. */
static void run_abandon(struct task_run *run, int err)
{
	murmesh_TaskRequest request;
	log_debug("a task was not carried out: %s", err_text(err));
	memcpy(request.session, run->session, sizeof request.session);
	memcpy(request.task, run->task.bytes, sizeof request.task);
	ask(run, &rpc_Console_CancelTask, &request, on_answered);
	mem_wipe(&request, sizeof request);
	run_end(run);
}

/* ---- one device ---- */

static void job_end(struct job *job, int err)
{
	struct task_run *run = job->run;
	bool good = err == 0 && job->code == 0;
	report(run, &job->device, good ? "done" : "failed", err, job);
	job_free(job);
	run_fill(run);
}

static void tail_add(struct job *job, const uint8_t *bytes, size_t len)
{
	if (len > TASK_TAIL) {
		bytes += len - TASK_TAIL;
		len = TASK_TAIL;
	}
	if (buf_len(&job->tail) + len > TASK_TAIL)
		buf_consume(&job->tail, buf_len(&job->tail) + len - TASK_TAIL);
	buf_append(&job->tail, bytes, len);
}

/* What is not signed may come from an older agent: core knows. */
static void exit_take(struct job *job, const murmesh_RunExit *exit)
{
	job->exited = true;
	job->code = result_exit_code(exit);
	if (!exit->has_proof)
		return;
	job->proven = leg_proven(&job->use, &job->chunk->order, exit, &job->streams) == 0;
	job->err = job->proven ? 0 : -E_UNVERIFIED;
}

static void on_output(void *ctx, const void *message)
{
	struct job *job = ctx;
	const murmesh_RunOutput *output = message;
	if (job->exited) /* that is the last word */
		return;
	switch (output->which_body) {
	case murmesh_RunOutput_stdout_tag:
	case murmesh_RunOutput_stderr_tag:
		digest_add(output->which_body == murmesh_RunOutput_stdout_tag ? job->streams.out : job->streams.err,
		           output->body.stdout.bytes, output->body.stdout.size);
		tail_add(job, output->body.stdout.bytes, output->body.stdout.size); /* both have the same type */
		break;
	case murmesh_RunOutput_exit_tag:
		exit_take(job, &output->body.exit);
		break;
	default:
		break;
	}
}

static void on_call_closed(void *ctx, int err, const char *why)
{
	struct job *job = ctx;
	(void)why;
	rpc_call_unref(job->call);
	job->call = NULL;
	if (job->exited)
		err = job->err;
	else if (err == 0 || err == -E_CLOSED)
		err = -E_COMMAND_CUT_OFF;
	job_end(job, err);
}

static void on_leg(void *ctx, int err, const char *why, struct rpc_connection *connection)
{
	static const struct rpc_call_events events = { on_output, NULL, NULL, on_call_closed };
	static const murmesh_RunInput no_input = { .which_body = murmesh_RunInput_stdin_end_tag, .body.stdin_end = true };
	static murmesh_RunInput input;
	struct job *job = ctx;
	struct chunk *chunk = job->chunk;
	(void)why;
	if (err < 0)
		return job_end(job, err);
	struct rpc_call *call = rpc_call_open(connection, &rpc_Run_Start, NULL, 0, &events, job);
	if (!call)
		return job_end(job, -E_CLOSED);
	job->call = rpc_call_ref(call);
	input = (murmesh_RunInput){ .which_body = murmesh_RunInput_start_tag };
	input.body.start.has_order = true;
	input.body.start.order = chunk->order;
	input.body.start.devices.size = (pb_size_t)(chunk->n * sizeof(struct id));
	memcpy(input.body.start.devices.bytes, job->run->devices + chunk->first, input.body.start.devices.size);
	err = rpc_call_send(call, &input);
	if (err == 0)
		err = rpc_call_send(call, &no_input);
	if (err < 0) {
		call_drop(&job->call);
		job_end(job, err);
	}
}

/* 0; or why no leg can be had just now. */
static int job_start(struct task_run *run, const struct id *device)
{
	struct job *job = mem_alloc(sizeof *job);
	if (!job)
		return -E_NO_MEMORY;
	*job = (struct job){ .run = run, .device = *device, .chunk = run->chunk };
	buf_init(&job->tail, TASK_TAIL);
	job->use.ready = on_leg;
	job->use.ctx = job;
	job->chunk->refs++;
	list_append(&run->jobs, &job->node);
	run->n_jobs++;
	int err = result_streams_init(&job->streams);
	if (err == 0)
		err = leg_use(run->web, run->session, device, &job->use);
	if (err < 0)
		job_free(job);
	else
		report(run, device, "running", 0, NULL);
	return err;
}

/* ---- orders ---- */

static void on_signed(void *ctx, int err, const char *why, const void *response)
{
	struct task_run *run = ctx;
	(void)why;
	run->asked--;
	run->signing = false;
	if (run->over)
		return run_release(run);
	struct chunk *chunk = err < 0 ? NULL : mem_alloc(sizeof *chunk);
	if (err == 0 && !chunk)
		err = -E_NO_MEMORY;
	run->refused = err;
	if (err == 0) {
		*chunk = (struct chunk){ .refs = 1, .first = run->next, .signed_ms = io_loop_now_ms(run->web->loop) };
		chunk->n = run->n - run->next < CHUNK ? run->n - run->next : CHUNK;
		chunk->order = *(const murmesh_SignedDocument *)response;
		chunk_release(run->chunk);
		run->chunk = chunk;
	}
	run_fill(run);
}

static void order_ask(struct task_run *run)
{
	static murmesh_ConsoleOrderRequest message;
	size_t n = run->n - run->next < CHUNK ? run->n - run->next : CHUNK;
	if (run->signing)
		return;
	message = (murmesh_ConsoleOrderRequest){ .has_order = true, .order = *run->request };
	memcpy(message.session, run->session, sizeof message.session);
	message.order.count = (uint32_t)n;
	hash_sha256(run->devices + run->next, n * sizeof *run->devices, message.order.digest);
	unsigned before = run->asked;
	ask(run, &rpc_Console_SignOrder, &message, on_signed);
	mem_wipe(&message.session, sizeof message.session);
	run->signing = run->asked > before;
	if (!run->signing)
		run->refused = -E_BUSY;
}

static bool has_order(const struct task_run *run)
{
	const struct chunk *chunk = run->chunk;
	return chunk && run->next >= chunk->first && run->next < chunk->first + chunk->n &&
	       io_loop_now_ms(run->web->loop) - chunk->signed_ms < ORDER_OLD;
}

/* Starts as many as there may be; ends the run behind the last. */
static void run_fill(struct task_run *run)
{
	while (!run->listing && run->next < run->n && run->n_jobs < AT_ONCE && run->asked < ASKED_MAX) {
		const struct id *device = &run->devices[run->next];
		if (!run->refused && !has_order(run)) {
			order_ask(run);
			if (!run->refused)
				return;
		}
		int err = run->refused ? run->refused : job_start(run, device);
		if ((err == -E_LIMIT || err == -E_BUSY) && run->n_jobs)
			return; /* when one of them has ended */
		run->next++;
		if (err < 0)
			report(run, device, "failed", err, NULL);
	}
	if (!run->listing && run->next == run->n && !run->n_jobs && !run->asked)
		run_end(run);
}

/* ---- the devices and the command ---- */

static void on_row(void *ctx, const void *message)
{
	struct task_run *run = ctx;
	const murmesh_TaskRow *row = message;
	if (!str_is(str_from(row->state), "waiting") || run->n == DEVICES_MAX)
		return;
	if (run->n == run->capacity) {
		size_t capacity = run->capacity ? run->capacity * 2 : 64;
		struct id *devices = mem_alloc_array(capacity, sizeof *devices);
		if (!devices)
			return run_abandon(run, -E_NO_MEMORY);
		if (run->n)
			memcpy(devices, run->devices, run->n * sizeof *devices);
		mem_free(run->devices);
		run->devices = devices;
		run->capacity = capacity;
	}
	memcpy(run->devices[run->n++].bytes, row->device, sizeof row->device);
}

static void on_listed(void *ctx, int err, const char *why)
{
	struct task_run *run = ctx;
	(void)why;
	rpc_call_unref(run->listing);
	run->listing = NULL;
	if (err < 0)
		run_abandon(run, err);
	else
		run_fill(run);
}

static void devices_ask(struct task_run *run)
{
	static const struct rpc_call_events events = { on_row, NULL, NULL, on_listed };
	murmesh_TaskRequest request;
	struct rpc_call *call =
	        run->web->core ? rpc_call_open(run->web->core, &rpc_Console_TaskDevices, NULL, 0, &events, run) : NULL;
	if (!call)
		return run_abandon(run, -E_BUSY);
	run->listing = rpc_call_ref(call);
	memcpy(request.session, run->session, sizeof request.session);
	memcpy(request.task, run->task.bytes, sizeof request.task);
	int err = rpc_call_send(call, &request);
	if (err == 0)
		err = rpc_call_half_close(call);
	mem_wipe(&request, sizeof request);
	if (err < 0)
		run_abandon(run, err);
}

/* An argument too long for an order was refused by core before. */
static void on_command(void *ctx, int err, const char *why, const void *response)
{
	struct task_run *run = ctx;
	const murmesh_TaskArgv *command = response;
	(void)why;
	run->asked--;
	if (run->over)
		return run_release(run);
	for (pb_size_t i = 0; err == 0 && i < command->argv_count; i++)
		err = str_copy(str_from(command->argv[i]), run->request->argv[run->request->argv_count++],
		               sizeof run->request->argv[0]);
	if (err < 0)
		run_abandon(run, err);
	else
		devices_ask(run);
}

void web_task_run(struct web *web, const murmesh_TaskStart *start, const murmesh_Task *task)
{
	murmesh_TaskRequest request;
	struct task_run *run = mem_alloc(sizeof *run);
	if (!run)
		return; /* core calls it interrupted when this role starts again */
	run->web = web;
	list_init(&run->jobs);
	list_append(&web->task_runs, &run->node);
	memcpy(run->task.bytes, task->id, sizeof run->task.bytes);
	memcpy(run->session, start->session, sizeof run->session);
	run->request = mem_alloc(sizeof *run->request);
	if (!run->request)
		return run_abandon(run, -E_NO_MEMORY);
	memcpy(request.session, run->session, sizeof request.session);
	memcpy(request.task, run->task.bytes, sizeof request.task);
	ask(run, &rpc_Console_TaskCommand, &request, on_command);
	mem_wipe(&request, sizeof request);
	if (!run->asked)
		run_abandon(run, -E_BUSY);
}

void web_task_cancel(struct web *web, const struct id *task)
{
	LIST_EACH(at, &web->task_runs) {
		struct task_run *run = LIST_ENTRY(at, struct task_run, node);
		if (id_equal(&run->task, task))
			run_end(run);
	}
}

void tasks_stop(struct web *web)
{
	while (!list_empty(&web->task_runs))
		run_end(LIST_ENTRY(web->task_runs.next, struct task_run, node));
}
