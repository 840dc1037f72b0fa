#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "cli/leg.h"
#include "cli/user_key.h"
#include "os/fd.h"
#include "os/pty.h"
#include "stream/stream.h"

#define INPUT_CHUNK  4096
#define OUTPUT_MAX   ((size_t)1 << 20)
#define OUTPUT_PAUSE ((size_t)64 << 10)
#define LEAVE_MS     2000 /* for the device to hear that its terminal is hung up */

struct ssh {
	const struct cli *cli;
	struct session session;
	struct tls_context *tls;
	murmesh_Device device;
	murmesh_TerminalInput start;
	struct rpc_connection *connection;
	struct rpc_call *call;
	struct io_watch *input, *output;
	struct io_timer *leaving;
	struct io_signal *resized, *stopped, *continued, *terminated, *hung_up;
	struct buf shown; /* what the terminal here does not take yet */
	int in, out;      /* the terminal here; out = -1: standard output is none */
	enum { INSIDE, LINE_START, TILDE } typed;
	struct id terminal;
	struct result_streams streams;
	murmesh_RunExit exit;
	int err;
	char why[512];
	bool opened, left, exited, over;
};

static void over(struct ssh *ssh, int err, const char *why)
{
	if (ssh->over)
		return;
	ssh->over = true;
	ssh->err = err;
	str_copy(str_from(why), ssh->why, sizeof ssh->why);
	io_loop_stop(ssh->session.loop);
}

/* ---- what the device says ---- */

static void output_flush(struct ssh *ssh)
{
	while (buf_len(&ssh->shown)) {
		ssize_t n = fd_write(ssh->out, buf_head(&ssh->shown), buf_len(&ssh->shown));
		if (n == -EAGAIN)
			break;
		if (n < 0) {
			buf_clear(&ssh->shown);
			return over(ssh, (int)n, "");
		}
		buf_consume(&ssh->shown, (size_t)n);
	}
	if (ssh->over && !buf_len(&ssh->shown))
		io_loop_stop(ssh->session.loop);
	io_watch_set(ssh->output, buf_len(&ssh->shown) ? IO_WRITABLE : 0);
	if (ssh->call)
		rpc_call_pause(ssh->call, buf_len(&ssh->shown) > OUTPUT_PAUSE);
}

static void on_output_writable(void *ctx, unsigned events)
{
	(void)events;
	output_flush(ctx);
}

static void show(struct ssh *ssh, const void *bytes, size_t len)
{
	int err = ssh->output ? buf_append(&ssh->shown, bytes, len) : fd_write_all(STDOUT_FILENO, bytes, len);
	if (err < 0)
		over(ssh, err, "");
	else if (ssh->output)
		output_flush(ssh);
}

/* ---- what the user types ---- */

static void message_send(struct ssh *ssh, const murmesh_TerminalInput *message)
{
	if (ssh->call)
		rpc_call_send(ssh->call, message);
}

static void size_send(struct ssh *ssh)
{
	murmesh_TerminalInput message = { .which_body = murmesh_TerminalInput_size_tag };
	struct pty_size size;
	if (pty_size(STDIN_FILENO, &size) < 0 || !ssh->opened)
		return;
	message.body.size = (murmesh_TerminalSize){ size.columns, size.rows };
	message_send(ssh, &message);
}

/* Ends the shell as well.  Without this word it would wait for its user. */
static void leave(struct ssh *ssh)
{
	const murmesh_TerminalInput message = { .which_body = murmesh_TerminalInput_end_tag, .body.end = true };
	if (ssh->over)
		io_loop_stop(ssh->session.loop); /* it does not wait for the screen */
	ssh->left = true;
	ssh->input = io_watch_free(ssh->input);
	if (!ssh->opened)
		return over(ssh, -E_CANCELLED, "");
	message_send(ssh, &message);
	io_timer_start(ssh->leaving, LEAVE_MS, 0);
}

static void on_leaving(void *ctx)
{
	over(ctx, -E_CANCELLED, "");
}

/* "~." at the start of a line leaves, "~~" is one tilde.  Returns how many bytes are for the device; out holds one more than in. */
static size_t escapes_take(struct ssh *ssh, const uint8_t *in, size_t len, uint8_t *out, bool *ret_leave)
{
	size_t n = 0;
	for (size_t i = 0; i < len; i++) {
		bool after_tilde = ssh->typed == TILDE;
		if (ssh->typed == LINE_START && in[i] == '~') {
			ssh->typed = TILDE;
			continue;
		}
		if (after_tilde && in[i] == '.') {
			*ret_leave = true;
			break;
		}
		if (after_tilde && in[i] != '~')
			out[n++] = '~';
		out[n++] = in[i];
		ssh->typed = in[i] == '\r' || in[i] == '\n' ? LINE_START : INSIDE;
	}
	return n;
}

static void on_input(void *ctx, unsigned events)
{
	static murmesh_TerminalInput message = { .which_body = murmesh_TerminalInput_data_tag };
	struct ssh *ssh = ctx;
	uint8_t bytes[INPUT_CHUNK];
	bool leaves = false;
	(void)events;
	if (!ssh->call || rpc_call_crowded(ssh->call)) {
		io_watch_set(ssh->input, 0);
		return;
	}
	ssize_t n = fd_read(ssh->in, bytes, sizeof bytes);
	if (n == -EAGAIN)
		return;
	if (n <= 0) /* the terminal is gone */
		return leave(ssh);
	message.body.data.size = (pb_size_t)escapes_take(ssh, bytes, (size_t)n, message.body.data.bytes, &leaves);
	if (message.body.data.size)
		message_send(ssh, &message);
	if (leaves)
		leave(ssh);
}

/* ---- signals ---- */

static void on_resized(void *ctx)
{
	size_send(ctx);
}

static void on_continued(void *ctx)
{
	struct ssh *ssh = ctx;
	if (ssh->opened) {
		pty_cook(); /* it may have another mode than this process believes */
		pty_raw(STDIN_FILENO);
	}
	size_send(ssh);
}

/* Who stops this process gets his terminal meanwhile; on_continued() comes afterwards. */
static void on_stopped(void *ctx)
{
	(void)ctx;
	pty_cook();
	kill(getpid(), SIGSTOP);
}

static void on_end_wanted(void *ctx)
{
	leave(ctx);
}

static void signals_free(struct ssh *ssh)
{
	io_signal_free(ssh->resized);
	io_signal_free(ssh->stopped);
	io_signal_free(ssh->continued);
	io_signal_free(ssh->terminated);
	io_signal_free(ssh->hung_up);
}

static void signals_take(struct ssh *ssh)
{
	struct io_loop *loop = ssh->session.loop;
	ssh->resized = io_signal_new(loop, SIGWINCH, on_resized, ssh);
	ssh->stopped = io_signal_new(loop, SIGTSTP, on_stopped, ssh);
	ssh->continued = io_signal_new(loop, SIGCONT, on_continued, ssh);
	ssh->terminated = io_signal_new(loop, SIGTERM, on_end_wanted, ssh);
	ssh->hung_up = io_signal_new(loop, SIGHUP, on_end_wanted, ssh);
}

/* ---- the call ---- */

static void on_opened(struct ssh *ssh, const murmesh_TerminalOutput *output)
{
	ssh->opened = true;
	ssh->typed = LINE_START;
	memcpy(ssh->terminal.bytes, output->body.opened, sizeof ssh->terminal.bytes);
	int err = pty_raw(STDIN_FILENO);
	if (err < 0)
		return over(ssh, err, "");
	ssh->input = io_watch_new(ssh->session.loop, ssh->in, on_input, ssh);
	if (!ssh->input)
		return over(ssh, -E_NO_MEMORY, "");
	io_watch_set(ssh->input, IO_READABLE);
	size_send(ssh); /* it may have changed since it was asked for */
}

static void on_message(void *ctx, const void *message)
{
	struct ssh *ssh = ctx;
	const murmesh_TerminalOutput *output = message;
	if (ssh->exited) /* that is the last word */
		return;
	switch (output->which_body) {
	case murmesh_TerminalOutput_opened_tag:
		if (!ssh->opened)
			on_opened(ssh, output);
		break;
	case murmesh_TerminalOutput_data_tag:
		digest_add(ssh->streams.out, output->body.data.bytes, output->body.data.size);
		show(ssh, output->body.data.bytes, output->body.data.size);
		break;
	case murmesh_TerminalOutput_exit_tag:
		ssh->exited = true;
		ssh->exit = output->body.exit;
		break;
	default: /* of a newer version */
		break;
	}
}

static void on_call_writable(void *ctx)
{
	struct ssh *ssh = ctx;
	if (ssh->input)
		io_watch_set(ssh->input, IO_READABLE);
}

static void on_call_closed(void *ctx, int err, const char *why)
{
	struct ssh *ssh = ctx;
	ssh->call = NULL;
	over(ssh, ssh->exited ? 0 : err < 0 ? err : -E_CLOSED, why);
}

static void on_connection_closed(void *ctx, int err)
{
	struct ssh *ssh = ctx;
	ssh->connection = rpc_connection_free(ssh->connection); /* its call's `closed` comes first */
	over(ssh, err, "");
}

static void on_leg(void *ctx, struct stream *stream, int err, const char *details)
{
	static const struct rpc_connection_events events = { NULL, NULL, on_connection_closed };
	static const struct rpc_connection_settings settings = { .ping_ms = RPC_PING_MS, .quiet_ms = RPC_QUIET_MS };
	static const struct rpc_call_events call_events = { on_message, NULL, on_call_writable, on_call_closed };
	struct ssh *ssh = ctx;
	if (!stream)
		return over(ssh, err, details);
	ssh->connection = rpc_connection_new(ssh->session.loop, stream, &settings, &events, ssh);
	ssh->call = ssh->connection ? rpc_call_open(ssh->connection, &rpc_Terminal_Open, NULL, 0, &call_events, ssh) : NULL;
	if (!ssh->call)
		return over(ssh, -E_NO_MEMORY, "");
	err = rpc_call_send(ssh->call, &ssh->start);
	if (err < 0)
		over(ssh, err, "");
}

/* ---- the order ---- */

static int order_get(struct ssh *ssh)
{
	murmesh_TerminalStart *start = &ssh->start.body.start;
	murmesh_OrderRequest *request = mem_alloc(sizeof *request);
	if (!request)
		return -E_NO_MEMORY;
	request->terminal = true;
	request->count = 1;
	hash_sha256(ssh->device.id, sizeof ssh->device.id, request->digest);
	int err = session_unary(&ssh->session, &rpc_Tunnels_Order, request, &start->order, sizeof start->order);
	if (err == 0)
		err = user_sign_order(&ssh->session, request, &start->order);
	start->has_order = err == 0;
	mem_free(request);
	return err;
}

static void start_make(struct ssh *ssh, const struct id *again)
{
	murmesh_TerminalStart *start = &ssh->start.body.start;
	struct pty_size size;
	ssh->start.which_body = murmesh_TerminalInput_start_tag;
	start->devices.size = sizeof ssh->device.id;
	memcpy(start->devices.bytes, ssh->device.id, sizeof ssh->device.id);
	start->terminal.size = id_is_zero(again) ? 0 : sizeof again->bytes;
	memcpy(start->terminal.bytes, again->bytes, start->terminal.size);
	start->has_size = pty_size(STDIN_FILENO, &size) == 0;
	if (start->has_size)
		start->size = (murmesh_TerminalSize){ size.columns, size.rows };
	str_copy(str_from(getenv("TERM")), start->term, sizeof start->term);
}

/* ---- the command ---- */

static int device_find(struct ssh *ssh)
{
	const char *name = ssh->cli->operands[0];
	int err = session_device(&ssh->session, name, &ssh->device);
	if (err == 0 && !ssh->device.online)
		err = -E_OFFLINE;
	return err < 0 ? cli_fail_because(err, ssh->session.why[0] ? ssh->session.why : NULL, NULL, "no terminal on %s", name) : 0;
}

/* After the screen is whole again: a word about it would be lost there. */
static int exit_code(const struct ssh *ssh)
{
	bool is_signed;
	struct leg_end end = { .name = ssh->device.name,
		               .signs = ssh->device.signs,
		               .order = &ssh->start.body.start.order,
		               .exit = &ssh->exit,
		               .streams = &ssh->streams };
	memcpy(end.device.bytes, ssh->device.id, sizeof end.device.bytes);
	int unverified = leg_verify(&ssh->session, &end, &is_signed);
	return unverified ? unverified : result_exit_code(&ssh->exit);
}

static int result(struct ssh *ssh)
{
	const char *name = ssh->device.name;
	char text[ID_TEXT_SIZE], again[200];
	if (ssh->left)
		return CLI_INTERRUPTED;
	if (ssh->err == 0)
		return exit_code(ssh);
	if (!ssh->opened || ssh->err == -E_TERMINAL_TAKEN)
		return cli_fail_because(ssh->err, ssh->why[0] ? ssh->why : NULL, NULL, "no terminal on %s", name);
	id_format(&ssh->terminal, text);
	snprintf(again, sizeof again, "`murmesh ssh --terminal %s %s` within 15 minutes goes on where you were", text, name);
	return cli_fail_because(ssh->err, NULL, again, "the terminal on %s was cut off", name);
}

static void screen_open(struct ssh *ssh)
{
	ssh->in = pty_reopen(STDIN_FILENO);
	ssh->out = pty_reopen(STDOUT_FILENO);
	ssh->output = ssh->out < 0 ? NULL : io_watch_new(ssh->session.loop, ssh->out, on_output_writable, ssh);
}

static void screen_close(struct ssh *ssh)
{
	ssh->input = io_watch_free(ssh->input);
	ssh->output = io_watch_free(ssh->output);
	buf_done(&ssh->shown);
	fd_close(ssh->in);
	fd_close(ssh->out);
	pty_cook();
}

/* To its end, and until all that came before is shown, however slow the terminal here is. */
static void stay(struct ssh *ssh)
{
	while (!ssh->over || (buf_len(&ssh->shown) && !ssh->left)) {
		io_loop_run(ssh->session.loop);
		if (ssh->session.interrupted && !ssh->left)
			leave(ssh);
	}
}

static int carry_out(struct ssh *ssh, const struct id *again)
{
	int code = device_find(ssh);
	if (code)
		return code;
	start_make(ssh, again);
	int err = session_leg_context(&ssh->session, true, &ssh->tls);
	if (err == 0)
		err = result_streams_init(&ssh->streams);
	if (err == 0)
		err = order_get(ssh);
	if (err < 0)
		return session_fail(&ssh->session, err, "no terminal was opened");
	const struct leg_target leg = { .rpc = true, .tls = ssh->tls };
	struct leg_target target = leg;
	memcpy(target.device.bytes, ssh->device.id, sizeof target.device.bytes);
	signals_take(ssh);
	screen_open(ssh);
	leg_open(&ssh->session, &target, on_leg, ssh);
	stay(ssh);
	screen_close(ssh);
	return result(ssh);
}

static int run(const struct cli *cli)
{
	static struct ssh ssh;
	struct pty_size size;
	struct id again = { { 0 } };
	const char *terminal = cli_text(cli, "terminal");
	if (terminal && id_parse(str_from(terminal), &again) < 0)
		return cli_fail(-E_ID, "--terminal %s names no terminal", terminal);
	if (pty_size(STDIN_FILENO, &size) < 0)
		return cli_fail_because(-E_USAGE, "standard input is no terminal",
		                        "use `murmesh run DEVICE -- COMMAND` in a script", "no terminal was opened");
	ssh.cli = cli;
	ssh.in = ssh.out = -1;
	buf_init(&ssh.shown, OUTPUT_MAX);
	int code = session_begin(&ssh.session, cli);
	if (code)
		return code;
	ssh.leaving = io_timer_new(ssh.session.loop, on_leaving, &ssh);
	code = ssh.leaving ? carry_out(&ssh, &again) : cli_fail(-E_NO_MEMORY, "no terminal was opened");
	ssh.over = true;
	rpc_connection_drop(&ssh.connection);
	result_streams_done(&ssh.streams);
	io_timer_free(ssh.leaving);
	signals_free(&ssh);
	session_close(&ssh.session);
	tls_context_free(ssh.tls);
	return code;
}

static const struct cli_option options[] = {
	{ .name = "terminal", .argument = "ID", .type = CLI_TEXT, .help = "go on in a terminal that was cut off" },
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "murmesh ssh web02", "a terminal; ~. at the start of a line leaves it" },
	{ "murmesh ssh --terminal 5f0c... web02", "the one that was cut off a moment ago" },
	{ 0 },
};

const struct cli_command command_ssh = {
	.name = "ssh",
	.summary = "open a terminal on a device",
	.usage = "DEVICE",
	.options = options,
	.examples = examples,
	.run = run,
	.operands_least = 1,
	.operands_most = 1,
};
