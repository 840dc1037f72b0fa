#include "manage/run/run.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"
#include "io/io.h"
#include "manage/bearer.h"
#include "manage/proof.h"
#include "manage/record.h"
#include "manage/run/order_journal.h"
#include "os/fd.h"
#include "os/log.h"
#include "os/proc.h"
#include "rpc/rpc.h"
#include "services.h"
#include "store/store.h"

#define START_MS      10000 /* for the order to come: a call without one keeps a place from others */
#define KILL_AFTER_MS 3000
#define STDIN_MAX     ((size_t)1 << 20)
#define CHUNK         sizeof(((murmesh_RunOutput *)0)->body.stdout.bytes)

struct run_service {
	struct io_loop *loop;
	struct run_settings settings;
	struct io_signal *child_ended;
	struct list commands;
	size_t n_commands;
	bool leaving;
};

enum { STDIN, STDOUT, STDERR };

struct pipe_end {
	struct command *command;
	struct io_watch *watch;
	int fd, which;
};

struct command {
	struct list node;
	struct run_service *service;
	struct rpc_call *call; /* referenced; finished or gone when `over` */
	struct store_job job;
	murmesh_Order *order; /* until it has started */
	struct proof proof;
	struct pipe_end ends[3];
	struct buf input;
	struct io_timer *deadline; /* for the order; then, once it has to stop, for the command */
	pid_t pid;
	int64_t until;
	int exit_code, by_signal;
	bool started, input_ended, reaped, over, journaling;
};

static void command_free(struct command *command)
{
	list_remove(&command->node);
	command->service->n_commands--;
	io_timer_free(command->deadline);
	for (int i = 0; i < 3; i++) {
		io_watch_free(command->ends[i].watch);
		fd_close(command->ends[i].fd);
	}
	buf_done(&command->input);
	result_streams_done(&command->proof.streams);
	mem_free(command->order);
	rpc_call_unref(command->call);
	mem_free(command);
}

static void end_close(struct pipe_end *end)
{
	end->watch = io_watch_free(end->watch);
	end->fd = fd_close(end->fd);
}

/* Freed when the call is over, the process is gone, and the journal does not work on it. */
static void command_release(struct command *command)
{
	if (command->over && !command->journaling && (!command->started || command->reaped))
		command_free(command);
}

/* ---- output ---- */

static int output_send(struct command *command, int which, const uint8_t *bytes, size_t len)
{
	static murmesh_RunOutput output;
	output.which_body = which == STDOUT ? murmesh_RunOutput_stdout_tag : murmesh_RunOutput_stderr_tag;
	output.body.stdout.size = (pb_size_t)len; /* both have the same type */
	memcpy(output.body.stdout.bytes, bytes, len);
	digest_add(which == STDOUT ? command->proof.streams.out : command->proof.streams.err, bytes, len);
	return rpc_call_send(command->call, &output);
}

/* 0 at the end, -EAGAIN when there is nothing now or no room to send. */
static int output_move(struct pipe_end *end)
{
	uint8_t bytes[CHUNK];
	while (!rpc_call_crowded(end->command->call)) {
		ssize_t n = fd_read(end->fd, bytes, sizeof bytes);
		if (n <= 0)
			return (int)n;
		int err = output_send(end->command, end->which, bytes, (size_t)n);
		if (err < 0)
			return err;
	}
	return -EAGAIN;
}

/* Output that was cut off must not look complete. */
static void output_check(struct command *command, int err)
{
	if (err < 0 && err != -EAGAIN)
		rpc_call_finish(command->call, err, NULL);
}

static void outputs_watch(struct command *command)
{
	bool crowded = rpc_call_crowded(command->call);
	for (int i = STDOUT; i <= STDERR; i++)
		if (command->ends[i].watch)
			io_watch_set(command->ends[i].watch, crowded ? 0 : IO_READABLE);
}

static void command_finish(struct command *command);

static void on_output(void *ctx, unsigned events)
{
	struct pipe_end *end = ctx;
	struct command *command = end->command;
	(void)events;
	int err = output_move(end);
	if (err != -EAGAIN)
		end_close(end);
	output_check(command, err);
	outputs_watch(command);
	if (command->reaped)
		command_finish(command);
}

/* ---- input ---- */

/* What nobody takes stops its sender; also before the command has started. */
static void input_pause(struct command *command)
{
	rpc_call_pause(command->call, buf_len(&command->input) > STDIN_MAX / 4);
}

static void input_flush(struct command *command)
{
	struct pipe_end *end = &command->ends[STDIN];
	while (end->fd >= 0 && buf_len(&command->input)) {
		ssize_t n = fd_write(end->fd, buf_head(&command->input), buf_len(&command->input));
		if (n == -EAGAIN)
			break;
		if (n < 0)
			end_close(end);
		else
			buf_consume(&command->input, (size_t)n);
	}
	if (end->fd < 0) /* the command reads no more */
		buf_done(&command->input);
	if (end->watch)
		io_watch_set(end->watch, buf_len(&command->input) ? IO_WRITABLE : 0);
	if (command->input_ended && !buf_len(&command->input))
		end_close(end);
	input_pause(command);
}

static void on_input_writable(void *ctx, unsigned events)
{
	(void)events;
	input_flush(((struct pipe_end *)ctx)->command);
}

/* ---- the process ---- */

static void journal_done(struct store_job *job, int err)
{
	struct command *command = LIST_ENTRY(job, struct command, job);
	if (err < 0)
		log_warning("the end of a command could not be noted: %s %s", err_text(err), job->detail);
	command->journaling = false;
	command_release(command);
}

static int journal_finish_run(struct store_tx *tx, struct store_job *job)
{
	struct command *command = LIST_ENTRY(job, struct command, job);
	const struct run_settings *settings = &command->service->settings;
	int err = order_journal_finish(tx, &command->proof.nonce, command->exit_code);
	return err < 0 ? err
	               : record_end(tx, settings->recorder, settings->now(), "command ended", &command->proof.nonce,
	                            command->exit_code);
}

static void journal_finish(struct command *command)
{
	command->job.run = journal_finish_run;
	command->job.done = journal_done;
	command->journaling = store_submit(command->service->settings.store, &command->job) == 0;
}

/* When the process is gone and what it wrote is sent.  A process it left behind may hold the pipes: nobody waits for that. */
static void command_finish(struct command *command)
{
	const struct run_settings *settings = &command->service->settings;
	murmesh_RunOutput output = { .which_body = murmesh_RunOutput_exit_tag };
	for (int i = STDOUT; i <= STDERR && !command->over; i++) {
		int err = command->ends[i].fd < 0 ? 0 : output_move(&command->ends[i]);
		if (err == -EAGAIN && rpc_call_crowded(command->call))
			return outputs_watch(command);
		output_check(command, err);
	}
	end_close(&command->ends[STDOUT]);
	end_close(&command->ends[STDERR]);
	end_close(&command->ends[STDIN]);
	if (command->over)
		return;
	output.body.exit.code = (uint32_t)command->exit_code;
	output.body.exit.signal = (uint32_t)command->by_signal;
	proof_make(&command->proof, settings->sign, settings->ctx, &output.body.exit);
	int err = rpc_call_send(command->call, &output);
	rpc_call_finish(command->call, err, NULL);
}

static void command_reap(struct command *command)
{
	if (command->over) /* it was stopped: whom it leaves in its group as well */
		kill(-command->pid, SIGKILL);
	command->exit_code = proc_reap(command->pid, &command->by_signal);
	command->proof.ended = command->service->settings.now();
	command->reaped = true;
}

static void on_child_ended(void *ctx)
{
	struct run_service *service = ctx;
	LIST_EACH(at, &service->commands) {
		struct command *command = LIST_ENTRY(at, struct command, node);
		if (!command->started || command->reaped || !proc_has_ended(command->pid))
			continue;
		command_reap(command);
		journal_finish(command);
		command_finish(command);
		command_release(command);
	}
}

static void on_deadline(void *ctx)
{
	struct command *command = ctx;
	if (!command->started)
		rpc_call_finish(command->call, -E_TIMEOUT, "no run order came");
	else if (!command->reaped)
		kill(-command->pid, SIGKILL);
}

static void command_stop(struct command *command)
{
	if (!command->started || command->reaped)
		return;
	kill(-command->pid, SIGTERM);
	io_timer_start(command->deadline, KILL_AFTER_MS, 0);
}

static int program_find(const char *name, char *path, size_t size)
{
	static const char *const folders[] = { "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin" };
	if (strchr(name, '/'))
		return str_copy(str_from(name), path, size);
	for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
		int n = snprintf(path, size, "%s/%s", folders[i], name);
		if (n > 0 && (size_t)n < size && access(path, X_OK) == 0)
			return 0;
	}
	return -ENOENT;
}

static int pipes_make(int ours[3], int theirs[3])
{
	for (int i = 0; i < 3; i++) {
		int ends[2];
		if (pipe2(ends, O_CLOEXEC) < 0)
			return -errno;
		ours[i] = ends[i == STDIN];
		theirs[i] = ends[i != STDIN];
		int err = fd_set_nonblocking(ours[i]);
		if (err < 0)
			return err;
	}
	return 0;
}

static int command_spawn(struct command *command)
{
	static char *const environment[] = {
		(char *)(uintptr_t) "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		(char *)(uintptr_t) "LANG=C.UTF-8", (char *)(uintptr_t) "HOME=/", NULL
	};
	char path[4096], *argv[33];
	int ours[3] = { -1, -1, -1 }, theirs[3] = { -1, -1, -1 };
	for (pb_size_t i = 0; i < command->order->argv_count; i++)
		argv[i] = command->order->argv[i];
	argv[command->order->argv_count] = NULL;
	int err = program_find(argv[0], path, sizeof path);
	if (err == 0)
		err = pipes_make(ours, theirs);
	if (err == 0) {
		const struct proc_spawn spawn = { .path = path,
			                          .argv = argv,
			                          .environment = environment,
			                          .directory = "/",
			                          .standard = { theirs[0], theirs[1], theirs[2] },
			                          .new_group = 1,
			                          .die_with_parent = 1 };
		pid_t pid = proc_spawn(&spawn);
		err = pid < 0 ? pid : 0;
		command->pid = pid;
	}
	for (int i = 0; i < 3; i++) {
		fd_close(theirs[i]);
		command->ends[i].fd = ours[i];
	}
	return err;
}

static int command_watch(struct command *command)
{
	for (int i = 0; i < 3; i++) {
		struct pipe_end *end = &command->ends[i];
		end->watch = io_watch_new(command->service->loop, end->fd, i == STDIN ? on_input_writable : on_output, end);
		if (!end->watch)
			return -E_NO_MEMORY;
	}
	return 0;
}

/* ---- the order ---- */

static int journal_start_run(struct store_tx *tx, struct store_job *job)
{
	struct command *command = LIST_ENTRY(job, struct command, job);
	char text[ORDER_COMMAND_SIZE];
	size_t len = 0;
	text[0] = 0;
	for (pb_size_t i = 0; i < command->order->argv_count && len < sizeof text; i++)
		len += (size_t)snprintf(text + len, sizeof text - len, "%s%s", i ? " " : "", command->order->argv[i]);
	int64_t now = command->service->settings.now();
	int err = order_journal_start(tx, &command->proof.nonce, command->until, now, str_from(text));
	if (err == 0)
		err = record_order(tx, command->service->settings.recorder, now, "command started", command->order);
	return err < 0 ? err : order_journal_prune(tx, now); /* the journal must not grow as long as the agent runs */
}

static void journal_start_done(struct store_job *job, int err)
{
	struct command *command = LIST_ENTRY(job, struct command, job);
	murmesh_RunOutput output = { .which_body = murmesh_RunOutput_started_tag, .body.started = true };
	char why[300] = "";
	command->journaling = false;
	if (err == 0 && !command->over) {
		err = command_spawn(command);
		command->started = err == 0;
		command->proof.started = command->service->settings.now();
		if (err < 0) {
			snprintf(why, sizeof why, "%.200s: %s", command->order->argv[0], err_text(err));
			err = -E_COMMAND_START;
			command->exit_code = 127;
			journal_finish(command);
		} else if (command_watch(command) < 0) {
			err = -E_NO_MEMORY;
			command_stop(command);
		}
	}
	command->order = mem_free(command->order);
	if (err == 0 && command->started)
		err = rpc_call_send(command->call, &output);
	if (err < 0)
		rpc_call_finish(command->call, err, why);
	else if (command->started) {
		outputs_watch(command);
		input_flush(command);
	}
	command_release(command);
}

static void on_start(struct command *command, const murmesh_RunStart *start)
{
	int err = command->order ? -E_PROTOCOL : 0;
	io_timer_stop(command->deadline);
	if (err == 0) {
		command->order = mem_alloc(sizeof *command->order);
		err = command->order ? 0 : -E_NO_MEMORY;
	}
	if (err == 0)
		err = start->has_order ? command->service->settings.check(command->service->settings.ctx, &start->order,
		                                                          start->devices.bytes, start->devices.size, command->order)
		                       : -E_GRANT;
	if (err == 0)
		err = command->order->terminal ? -E_GRANT : bearer_check(command->call, command->order);
	if (err == 0) {
		memcpy(command->proof.nonce.bytes, command->order->nonce, sizeof command->proof.nonce.bytes);
		command->until = command->order->until;
		command->job.run = journal_start_run;
		command->job.done = journal_start_done;
		err = store_submit(command->service->settings.store, &command->job);
		command->journaling = err == 0;
	}
	if (err < 0)
		rpc_call_finish(command->call, err, NULL);
}

static void on_message(void *ctx, const void *message)
{
	struct command *command = ctx;
	const murmesh_RunInput *input = message;
	switch (input->which_body) {
	case murmesh_RunInput_start_tag:
		if (command->started || command->journaling)
			rpc_call_finish(command->call, -E_PROTOCOL, "a call starts one command");
		else
			on_start(command, &input->body.start);
		break;
	case murmesh_RunInput_stdin_tag:
		if (buf_append(&command->input, input->body.stdin.bytes, input->body.stdin.size) < 0)
			rpc_call_finish(command->call, -E_FLOW, NULL);
		else if (command->started)
			input_flush(command);
		else
			input_pause(command);
		break;
	case murmesh_RunInput_stdin_end_tag:
		command->input_ended = true;
		if (command->started)
			input_flush(command);
		break;
	case murmesh_RunInput_signal_tag:
		if (command->started && !command->reaped && input->body.signal > 0 && input->body.signal < 32)
			kill(-command->pid, (int)input->body.signal);
		break;
	default:
		break;
	}
}

static void on_half_closed(void *ctx)
{
	struct command *command = ctx;
	command->input_ended = true;
	if (command->started)
		input_flush(command);
}

static void on_writable(void *ctx)
{
	struct command *command = ctx;
	outputs_watch(command);
	if (command->reaped)
		command_finish(command);
}

static void on_closed(void *ctx, int err, const char *why)
{
	struct command *command = ctx;
	(void)err;
	(void)why;
	command->over = true;
	command_stop(command);
	command_release(command);
}

int run_open(struct run_service *service, struct rpc_call *call)
{
	static const struct rpc_call_events events = { on_message, on_half_closed, on_writable, on_closed };
	struct command *command = service->n_commands < RUN_COMMANDS_MAX && !service->leaving ? mem_alloc(sizeof *command) : NULL;
	if (!command)
		return -E_LIMIT;
	command->service = service;
	list_append(&service->commands, &command->node);
	service->n_commands++;
	for (int i = 0; i < 3; i++)
		command->ends[i] = (struct pipe_end){ command, NULL, -1, i };
	buf_init(&command->input, STDIN_MAX);
	command->call = rpc_call_ref(call);
	command->deadline = io_timer_new(service->loop, on_deadline, command);
	if (!command->deadline || result_streams_init(&command->proof.streams) < 0) {
		command_free(command);
		return -E_NO_MEMORY;
	}
	io_timer_start(command->deadline, START_MS, 0);
	rpc_call_accept(call, &rpc_Run_Start, &events, command);
	return 0;
}

struct run_service *run_service_new(struct io_loop *loop, const struct run_settings *settings)
{
	struct run_service *service = mem_alloc(sizeof *service);
	if (!service)
		return NULL;
	service->loop = loop;
	service->settings = *settings;
	list_init(&service->commands);
	service->child_ended = io_signal_new(loop, SIGCHLD, on_child_ended, service);
	if (!service->child_ended)
		return run_service_free(service);
	return service;
}

struct run_service *run_service_free(struct run_service *service)
{
	if (!service)
		return NULL;
	service->leaving = true;
	LIST_EACH(at, &service->commands) {
		struct command *command = LIST_ENTRY(at, struct command, node);
		if (command->started && !command->reaped)
			kill(-command->pid, SIGKILL);
		command_free(command);
	}
	io_signal_free(service->child_ended);
	return mem_free(service);
}
