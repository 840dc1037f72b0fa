#include "manage/terminal/terminal.h"

#include <errno.h>
#include <signal.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"
#include "io/io.h"
#include "manage/bearer.h"
#include "manage/proof.h"
#include "manage/record.h"
#include "manage/run/order_journal.h"
#include "manage/terminal/scrollback.h"
#include "os/fd.h"
#include "os/log.h"
#include "os/proc.h"
#include "os/pty.h"
#include "os/random.h"
#include "os/user.h"
#include "rpc/rpc.h"
#include "services.h"
#include "store/store.h"

#define VISITS_MAX    (2 * TERMINALS_MAX)
#define START_MS      10000 /* for the order to come: a call without one keeps a place from others */
#define KILL_AFTER_MS 3000  /* for a shell that does not mind being hung up */
#define INPUT_MAX     ((size_t)1 << 20)
#define CHUNK         sizeof(((murmesh_TerminalOutput *)0)->body.data.bytes)
#define ROUNDS_MAX    8                   /* reads, before others have their turn */
#define KERNEL_KEEPS  ((size_t)128 << 10) /* at most, of what a terminal says */

struct terminal_service {
	struct io_loop *loop;
	struct terminal_settings settings;
	struct io_signal *child_ended;
	struct list terminals, visits;
	size_t n_terminals, n_visits;
	bool leaving;
};

/* A shell; ended, hung up, or both, it stays until its end is told or nobody came for it. */
struct terminal {
	struct list node;
	struct terminal_service *service;
	struct visit *visit; /* NULL = nobody is there */
	struct id id, user, nonce;
	struct scrollback said;
	struct io_watch *watch;
	struct io_timer *timer; /* nobody came; hung up and still there */
	struct store_job job;
	pid_t pid;
	int fd; /* -1: hung up, or nothing more to come */
	int exit_code, by_signal;
	bool reaped, hung_up, journaling;
};

/* A call. */
struct visit {
	struct list node;
	struct terminal_service *service;
	struct terminal *terminal; /* NULL until its order is noted, and when it is over */
	struct rpc_call *call;     /* referenced; finished or gone when `over` */
	struct store_job job;
	struct io_timer *deadline; /* for the order */
	murmesh_Order *order;      /* until it is noted */
	struct id wanted;          /* terminal; zero: a new one */
	struct proof proof;
	struct pty_size size;
	char kind[sizeof(((murmesh_TerminalStart *)0)->term)]; /* TERM */
	struct buf input;
	uint64_t told;               /* number of the next byte to say */
	bool ends, over, journaling; /* ends: before it began */
};

/* ---- life ---- */

static void visit_free(struct visit *visit)
{
	list_remove(&visit->node);
	visit->service->n_visits--;
	io_timer_free(visit->deadline);
	buf_done(&visit->input);
	result_streams_done(&visit->proof.streams);
	mem_free(visit->order);
	rpc_call_unref(visit->call);
	mem_free(visit);
}

static void visit_release(struct visit *visit)
{
	if (visit->over && !visit->journaling)
		visit_free(visit);
}

static void line_close(struct terminal *terminal)
{
	terminal->watch = io_watch_free(terminal->watch);
	terminal->fd = fd_close(terminal->fd);
}

static void terminal_free(struct terminal *terminal)
{
	line_close(terminal);
	list_remove(&terminal->node);
	terminal->service->n_terminals--;
	io_timer_free(terminal->timer);
	scrollback_done(&terminal->said);
	mem_free(terminal);
}

/* Freed when nobody will ask for it any more, the shell is gone, and the journal does not work on it. */
static void terminal_release(struct terminal *terminal)
{
	if (terminal->hung_up && !terminal->visit && terminal->reaped && !terminal->journaling)
		terminal_free(terminal);
}

/* Who is not there any more cannot be told anything. */
static void visit_leave(struct visit *visit)
{
	if (visit->terminal)
		visit->terminal->visit = NULL;
	visit->terminal = NULL;
}

/* ---- the journal ---- */

static void note_failed(int err, const struct store_job *job)
{
	if (err < 0)
		log_warning("the end of a terminal could not be noted: %s %s", err_text(err), job->detail);
}

static int ended_note(struct store_tx *tx, const struct terminal_service *service, const struct id *nonce, int exit_code)
{
	int err = order_journal_finish(tx, nonce, exit_code);
	return err < 0 ? err
	               : record_end(tx, service->settings.recorder, service->settings.now(), "terminal ended", nonce, exit_code);
}

static int terminal_note_run(struct store_tx *tx, struct store_job *job)
{
	struct terminal *terminal = LIST_ENTRY(job, struct terminal, job);
	return ended_note(tx, terminal->service, &terminal->nonce, terminal->exit_code);
}

static void terminal_noted(struct store_job *job, int err)
{
	struct terminal *terminal = LIST_ENTRY(job, struct terminal, job);
	note_failed(err, job);
	terminal->journaling = false;
	terminal_release(terminal);
}

static void terminal_note(struct terminal *terminal)
{
	terminal->job.run = terminal_note_run;
	terminal->job.done = terminal_noted;
	terminal->journaling = store_submit(terminal->service->settings.store, &terminal->job) == 0;
}

/* ---- what it says ---- */

/* True when all is said that is to say, if anybody (NULL) listens. */
static bool visit_tell(struct visit *visit)
{
	static murmesh_TerminalOutput output = { .which_body = murmesh_TerminalOutput_data_tag };
	while (visit && visit->told < visit->terminal->said.end) {
		if (rpc_call_crowded(visit->call))
			return false;
		output.body.data.size =
		        (pb_size_t)scrollback_read(&visit->terminal->said, visit->told, output.body.data.bytes, CHUNK);
		int err = rpc_call_send(visit->call, &output);
		if (err < 0) {
			rpc_call_finish(visit->call, err, NULL);
			return false;
		}
		digest_add(visit->proof.streams.out, output.body.data.bytes, output.body.data.size);
		visit->told += output.body.data.size;
	}
	return true;
}

static void line_watch(struct terminal *terminal)
{
	const struct visit *visit = terminal->visit;
	bool may_read = !visit || visit->told == terminal->said.end, has_input = visit && buf_len(&visit->input);
	if (terminal->watch)
		io_watch_set(terminal->watch, (may_read ? (unsigned)IO_READABLE : 0) | (has_input ? (unsigned)IO_WRITABLE : 0));
}

/* Its exit is the last that is said. */
static void exit_tell(struct terminal *terminal)
{
	struct visit *visit = terminal->visit;
	const struct terminal_settings *settings = &terminal->service->settings;
	murmesh_TerminalOutput output = { .which_body = murmesh_TerminalOutput_exit_tag };
	output.body.exit.code = (uint32_t)terminal->exit_code;
	output.body.exit.signal = (uint32_t)terminal->by_signal;
	visit->proof.ended = settings->now();
	proof_make(&visit->proof, settings->sign, settings->ctx, &output.body.exit);
	int err = rpc_call_send(visit->call, &output);
	rpc_call_finish(visit->call, err, NULL);
	visit_leave(visit);
	terminal->hung_up = true;
	terminal_release(terminal);
}

/* Passes on what there is.  Who does not take it stops it, so that nothing is lost to who is there. */
static void terminal_pump(struct terminal *terminal)
{
	uint8_t bytes[CHUNK];
	bool all_told = visit_tell(terminal->visit);
	for (int round = 0; all_told && terminal->fd >= 0 && round < ROUNDS_MAX; round++) {
		ssize_t n = fd_read(terminal->fd, bytes, sizeof bytes);
		if (n == -EAGAIN)
			break;
		if (n > 0)
			scrollback_append(&terminal->said, bytes, (size_t)n);
		else
			line_close(terminal); /* nobody holds the other side */
		all_told = visit_tell(terminal->visit);
	}
	if (terminal->reaped && all_told && terminal->visit && terminal->fd < 0)
		exit_tell(terminal);
	else
		line_watch(terminal);
}

/* What the shell said last, which is at most what the kernel keeps.  A process that it left behind may go on: nobody waits for that. */
static void terminal_drain(struct terminal *terminal)
{
	uint8_t bytes[CHUNK];
	uint64_t end = terminal->said.end + KERNEL_KEEPS;
	for (ssize_t n = 1; terminal->fd >= 0 && n > 0 && terminal->said.end < end;) {
		n = fd_read(terminal->fd, bytes, sizeof bytes);
		scrollback_append(&terminal->said, bytes, n > 0 ? (size_t)n : 0);
	}
	line_close(terminal);
}

/* ---- what it is told ---- */

static void input_flush(struct visit *visit)
{
	struct terminal *terminal = visit->terminal;
	while (terminal && terminal->fd >= 0 && buf_len(&visit->input)) {
		ssize_t n = fd_write(terminal->fd, buf_head(&visit->input), buf_len(&visit->input));
		if (n == -EAGAIN)
			break;
		if (n < 0)
			line_close(terminal);
		else
			buf_consume(&visit->input, (size_t)n);
	}
	if (terminal && terminal->fd < 0)
		buf_clear(&visit->input); /* nobody hears it */
	buf_trim(&visit->input);
	rpc_call_pause(visit->call, buf_len(&visit->input) > INPUT_MAX / 4);
}

static void on_line(void *ctx, unsigned events)
{
	struct terminal *terminal = ctx;
	if (events & IO_WRITABLE && terminal->visit)
		input_flush(terminal->visit);
	terminal_pump(terminal);
}

/* ---- its end ---- */

/* The kernel sends SIGHUP to the shell and to what is in the foreground, the shell to its other jobs. */
static void terminal_hang_up(struct terminal *terminal)
{
	line_close(terminal);
	terminal->hung_up = true;
	io_timer_start(terminal->timer, KILL_AFTER_MS, 0);
}

static void on_timer(void *ctx)
{
	struct terminal *terminal = ctx;
	if (terminal->hung_up && !terminal->reaped)
		kill(terminal->pid, SIGKILL);
	else
		terminal_hang_up(terminal);
	terminal_release(terminal);
}

static void on_child_ended(void *ctx)
{
	struct terminal_service *service = ctx;
	LIST_EACH(at, &service->terminals) {
		struct terminal *terminal = LIST_ENTRY(at, struct terminal, node);
		if (terminal->reaped || !proc_has_ended(terminal->pid))
			continue;
		terminal_drain(terminal);
		terminal->exit_code = proc_reap(terminal->pid, &terminal->by_signal);
		terminal->reaped = true;
		terminal_note(terminal);
		if (terminal->visit)
			terminal_pump(terminal);
		else
			terminal_release(terminal);
	}
}

/* ---- coming and going ---- */

static void visit_begin(struct visit *visit, struct terminal *terminal)
{
	murmesh_TerminalOutput output = { .which_body = murmesh_TerminalOutput_opened_tag };
	struct visit *before = terminal->visit;
	if (before) {
		visit_leave(before);
		rpc_call_finish(before->call, -E_TERMINAL_TAKEN, NULL);
	}
	terminal->visit = visit;
	visit->terminal = terminal;
	visit->told = scrollback_begin(&terminal->said);
	visit->proof.started = visit->service->settings.now();
	io_timer_stop(terminal->timer);
	memcpy(output.body.opened, terminal->id.bytes, sizeof output.body.opened);
	int err = rpc_call_send(visit->call, &output);
	if (err < 0)
		return rpc_call_finish(visit->call, err, NULL);
	input_flush(visit);
	terminal_pump(terminal);
}

static int terminal_start(struct visit *visit, struct terminal *terminal)
{
	const struct terminal_settings *settings = &visit->service->settings;
	struct user_login login;
	int err = settings->login(settings->ctx, &login);
	if (err == 0)
		err = scrollback_init(&terminal->said);
	if (err < 0)
		return err;
	terminal->timer = io_timer_new(visit->service->loop, on_timer, terminal);
	if (!terminal->timer)
		return -E_NO_MEMORY;
	pid_t pid = pty_start_shell(&login, &visit->size, visit->kind, &terminal->fd);
	if (pid < 0)
		return pid;
	terminal->pid = pid;
	terminal->watch = io_watch_new(visit->service->loop, terminal->fd, on_line, terminal);
	if (terminal->watch)
		return 0;
	proc_signal_session(pid, SIGKILL);
	proc_reap(pid, &terminal->by_signal);
	return -E_NO_MEMORY;
}

/* Makes room: one of the user's that has ended while nobody was there goes for a new one. */
static bool has_room(struct terminal_service *service, const struct id *user)
{
	struct terminal *ended = NULL;
	size_t n_user = 0;
	LIST_EACH(at, &service->terminals) {
		struct terminal *terminal = LIST_ENTRY(at, struct terminal, node);
		if (!id_equal(&terminal->user, user))
			continue;
		n_user++;
		if (terminal->reaped && !terminal->visit && !terminal->journaling)
			ended = terminal;
	}
	if (n_user < TERMINALS_MAX_USER && service->n_terminals < TERMINALS_MAX)
		return true;
	if (ended)
		terminal_free(ended);
	return ended;
}

static int terminal_new(struct visit *visit, const struct id *user, struct terminal **ret)
{
	struct terminal_service *service = visit->service;
	if (!has_room(service, user))
		return -E_TERMINALS;
	struct terminal *terminal = mem_alloc(sizeof *terminal);
	if (!terminal)
		return -E_NO_MEMORY;
	*terminal = (struct terminal){ .service = service, .user = *user, .nonce = visit->proof.nonce, .fd = -1 };
	random_id(&terminal->id);
	list_append(&service->terminals, &terminal->node);
	service->n_terminals++;
	int err = terminal_start(visit, terminal);
	if (err < 0)
		terminal_free(terminal);
	else
		*ret = terminal;
	return err;
}

static int terminal_find(const struct visit *visit, const struct id *user, struct terminal **ret)
{
	LIST_EACH(at, &visit->service->terminals) {
		struct terminal *terminal = LIST_ENTRY(at, struct terminal, node);
		if (!id_equal(&terminal->id, &visit->wanted) || !id_equal(&terminal->user, user) || terminal->hung_up)
			continue;
		if (terminal->fd >= 0)
			pty_resize(terminal->fd, &visit->size);
		*ret = terminal;
		return 0;
	}
	return -E_TERMINAL_GONE;
}

/* ---- the order ---- */

static int visit_note_run(struct store_tx *tx, struct store_job *job)
{
	struct visit *visit = LIST_ENTRY(job, struct visit, job);
	bool again = !id_is_zero(&visit->wanted);
	int64_t now = visit->service->settings.now();
	int err = order_journal_start(tx, &visit->proof.nonce, visit->order->until, now,
	                              again ? STR("(terminal, again)") : STR("(terminal)"));
	if (err == 0 && again)
		err = order_journal_finish(tx, &visit->proof.nonce, 0);
	if (err == 0)
		err = record_order(tx, visit->service->settings.recorder, now, again ? "terminal taken up" : "terminal opened",
		                   visit->order);
	return err < 0 ? err : order_journal_prune(tx, now);
}

static int failure_note_run(struct store_tx *tx, struct store_job *job)
{
	const struct visit *visit = LIST_ENTRY(job, struct visit, job);
	return ended_note(tx, visit->service, &visit->proof.nonce, 127);
}

static void failure_noted(struct store_job *job, int err)
{
	struct visit *visit = LIST_ENTRY(job, struct visit, job);
	note_failed(err, job);
	visit->journaling = false;
	visit_release(visit);
}

static void failure_note(struct visit *visit)
{
	visit->job.run = failure_note_run;
	visit->job.done = failure_noted;
	visit->journaling = store_submit(visit->service->settings.store, &visit->job) == 0;
}

static void visit_noted(struct store_job *job, int err)
{
	struct visit *visit = LIST_ENTRY(job, struct visit, job);
	bool again = !id_is_zero(&visit->wanted);
	struct terminal *terminal = NULL;
	struct id user;
	memcpy(user.bytes, visit->order->user, sizeof user.bytes);
	visit->order = mem_free(visit->order);
	visit->journaling = false;
	if (err == 0) {
		err = visit->over || visit->ends ? -E_CANCELLED
		      : again                    ? terminal_find(visit, &user, &terminal)
		                                 : terminal_new(visit, &user, &terminal);
		if (err < 0 && !again)
			failure_note(visit);
	}
	if (err < 0)
		rpc_call_finish(visit->call, err, NULL);
	else
		visit_begin(visit, terminal);
	visit_release(visit);
}

static int size_take(const murmesh_TerminalSize *from, struct pty_size *ret)
{
	const struct pty_size size = { from->columns, from->rows };
	if (size.columns < 1 || size.columns > PTY_SIDE_MAX || size.rows < 1 || size.rows > PTY_SIDE_MAX)
		return -E_NUMBER;
	*ret = size;
	return 0;
}

/* A name of terminfo(5), not a path. */
static int kind_take(const char *text, char *out, size_t size)
{
	if (!*text)
		text = "xterm-256color";
	if (strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_+.") != strlen(text))
		return -E_NAME;
	return str_copy(str_from(text), out, size);
}

static int start_take(struct visit *visit, const murmesh_TerminalStart *start)
{
	const struct terminal_settings *settings = &visit->service->settings;
	int err = start->has_size ? size_take(&start->size, &visit->size) : 0;
	if (err == 0)
		err = kind_take(start->term, visit->kind, sizeof visit->kind);
	if (err == 0 && start->terminal.size && start->terminal.size != sizeof visit->wanted.bytes)
		err = -E_ID;
	if (err < 0)
		return err;
	memcpy(visit->wanted.bytes, start->terminal.bytes, start->terminal.size);
	visit->order = mem_alloc(sizeof *visit->order);
	if (!visit->order)
		return -E_NO_MEMORY;
	err = start->has_order
	              ? settings->check(settings->ctx, &start->order, start->devices.bytes, start->devices.size, visit->order)
	              : -E_GRANT;
	if (err == 0)
		err = visit->order->terminal ? bearer_check(visit->call, visit->order) : -E_GRANT;
	memcpy(visit->proof.nonce.bytes, visit->order->nonce, sizeof visit->proof.nonce.bytes);
	return err;
}

static void on_start(struct visit *visit, const murmesh_TerminalStart *start)
{
	if (visit->order || visit->terminal)
		return rpc_call_finish(visit->call, -E_PROTOCOL, "a call opens one terminal");
	io_timer_stop(visit->deadline);
	int err = start_take(visit, start);
	if (err == 0) {
		visit->job.run = visit_note_run;
		visit->job.done = visit_noted;
		err = store_submit(visit->service->settings.store, &visit->job);
		visit->journaling = err == 0;
	}
	if (err < 0)
		rpc_call_finish(visit->call, err, NULL);
}

/* ---- the call ---- */

static void on_data(struct visit *visit, const void *bytes, size_t len)
{
	if (buf_append(&visit->input, bytes, len) < 0)
		return rpc_call_finish(visit->call, -E_FLOW, NULL);
	input_flush(visit);
	if (visit->terminal)
		line_watch(visit->terminal);
}

static void on_size(struct visit *visit, const murmesh_TerminalSize *size)
{
	int err = size_take(size, &visit->size);
	if (err < 0)
		rpc_call_finish(visit->call, err, NULL);
	else if (visit->terminal && visit->terminal->fd >= 0)
		pty_resize(visit->terminal->fd, &visit->size);
}

static void on_message(void *ctx, const void *message)
{
	struct visit *visit = ctx;
	const murmesh_TerminalInput *input = message;
	switch (input->which_body) {
	case murmesh_TerminalInput_start_tag:
		on_start(visit, &input->body.start);
		break;
	case murmesh_TerminalInput_data_tag:
		on_data(visit, input->body.data.bytes, input->body.data.size);
		break;
	case murmesh_TerminalInput_size_tag:
		on_size(visit, &input->body.size);
		break;
	case murmesh_TerminalInput_end_tag:
		visit->ends = true;
		if (visit->terminal && !visit->terminal->hung_up)
			terminal_hang_up(visit->terminal);
		break;
	default: /* of a newer version */
		break;
	}
}

static void on_half_closed(void *ctx)
{
	rpc_call_finish(((struct visit *)ctx)->call, 0, NULL);
}

static void on_writable(void *ctx)
{
	struct visit *visit = ctx;
	if (visit->terminal)
		terminal_pump(visit->terminal);
}

static void on_closed(void *ctx, int err, const char *why)
{
	struct visit *visit = ctx;
	struct terminal *terminal = visit->terminal;
	(void)err;
	(void)why;
	visit->over = true;
	visit_leave(visit);
	if (terminal && terminal->hung_up)
		terminal_release(terminal);
	else if (terminal) {
		io_timer_start(terminal->timer, terminal->service->settings.detached_ms, 0);
		line_watch(terminal);
	}
	visit_release(visit);
}

static void on_deadline(void *ctx)
{
	rpc_call_finish(((struct visit *)ctx)->call, -E_TIMEOUT, "no order came");
}

int terminal_open(struct terminal_service *service, struct rpc_call *call)
{
	static const struct rpc_call_events events = { on_message, on_half_closed, on_writable, on_closed };
	struct visit *visit = service->n_visits < VISITS_MAX && !service->leaving ? mem_alloc(sizeof *visit) : NULL;
	if (!visit)
		return -E_LIMIT;
	*visit = (struct visit){ .service = service, .size = { 80, 24 } };
	list_append(&service->visits, &visit->node);
	service->n_visits++;
	buf_init(&visit->input, INPUT_MAX);
	visit->call = rpc_call_ref(call);
	visit->deadline = io_timer_new(service->loop, on_deadline, visit);
	if (!visit->deadline || result_streams_init(&visit->proof.streams) < 0) {
		visit_free(visit);
		return -E_NO_MEMORY;
	}
	io_timer_start(visit->deadline, START_MS, 0);
	rpc_call_accept(call, &rpc_Terminal_Open, &events, visit);
	return 0;
}

/* ---- the service ---- */

struct terminal_service *terminal_service_new(struct io_loop *loop, const struct terminal_settings *settings)
{
	struct terminal_service *service = mem_alloc(sizeof *service);
	if (!service)
		return NULL;
	service->loop = loop;
	service->settings = *settings;
	list_init(&service->terminals);
	list_init(&service->visits);
	service->child_ended = io_signal_new(loop, SIGCHLD, on_child_ended, service);
	return service->child_ended ? service : terminal_service_free(service);
}

struct terminal_service *terminal_service_free(struct terminal_service *service)
{
	if (!service)
		return NULL;
	service->leaving = true;
	LIST_EACH(at, &service->visits) {
		visit_leave(LIST_ENTRY(at, struct visit, node));
		visit_free(LIST_ENTRY(at, struct visit, node));
	}
	LIST_EACH(at, &service->terminals) {
		struct terminal *terminal = LIST_ENTRY(at, struct terminal, node);
		if (!terminal->reaped) {
			proc_signal_session(terminal->pid, SIGKILL);
			proc_reap(terminal->pid, &terminal->by_signal);
		}
		terminal_free(terminal);
	}
	io_signal_free(service->child_ended);
	return mem_free(service);
}
