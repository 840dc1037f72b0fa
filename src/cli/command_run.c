#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "cli/devices.h"
#include "cli/leg.h"
#include "cli/order_file.h"
#include "cli/user_key.h"
#include "os/fd.h"
#include "os/pty.h"
#include "stream/stream.h"

#define DEVICES_MAX 1000
#define AT_ONCE     32
#define STDIN_CHUNK sizeof(((murmesh_RunInput *)0)->body.stdin.bytes)

struct run;
struct target {
	struct run *run;
	struct id device;
	char name[80];
	struct rpc_connection *connection;
	struct rpc_call *call;
	struct result_streams streams;
	int err, code;
	bool online, signs; /* as the server knows */
	bool started, exited, over, line_open[2];
	bool is_signed, unverified;
};

struct run {
	const struct cli *cli;
	struct session session;
	struct tls_context *tls;
	struct io_watch *input;
	int terminal; /* standard input, when it is one, opened again: watching makes non-blocking; else -1 */
	murmesh_RunInput start;
	struct target *targets;
	size_t n, next, n_over;
	bool interrupted;
	struct cli_table table; /* of --dry-run, and of the results as JSON */
	bool json;              /* results to standard output, what the commands say to standard error */
};

static void next_start(struct run *run);

/* ---- the end of one device ---- */

static const struct cli_column result_columns[] = {
	{ "device", CLI_COLUMN_VALUE, true }, { "id", CLI_COLUMN_VALUE, true },    { "code", CLI_COLUMN_VALUE, true },
	{ "signed", CLI_COLUMN_VALUE, true }, { "error", CLI_COLUMN_VALUE, true }, { 0 },
};

static void result_row(struct target *target)
{
	int err = target->unverified ? -E_UNVERIFIED : target->err;
	char id[ID_TEXT_SIZE];
	id_format(&target->device, id);
	cli_table_row(&target->run->table,
	              json_pack("{s:o, s:s, s:o, s:b, s:o}", "device", cli_json_text(str_from(target->name)), "id", id, "code",
	                        err < 0 ? json_null() : json_integer(target->code), "signed", target->is_signed, "error",
	                        err < 0 ? json_string(err_name(err)) : json_null()));
}

static void target_over(struct target *target, int err, const char *why)
{
	struct run *run = target->run;
	if (target->over)
		return;
	target->over = true;
	target->err = err;
	run->n_over++;
	if (err < 0)
		cli_fail_because(err, why && *why ? why : NULL, NULL, "%s: the command did not run to its end", target->name);
	if (run->json)
		result_row(target);
	if (run->n_over == run->n)
		io_loop_stop(run->session.loop);
	else
		next_start(run);
}

static void on_call_closed(void *ctx, int err, const char *why)
{
	struct target *target = ctx;
	target->call = NULL;
	if (target->exited)
		err = 0;
	else if (err == 0 || err == -E_CLOSED)
		err = target->started ? -E_COMMAND_CUT_OFF : -E_CLOSED;
	target_over(target, err, err == -E_COMMAND_CUT_OFF ? "" : why);
}

/* ---- output ---- */

/* With several devices every line is marked with its device. */
static void output_write(struct target *target, int fd, const uint8_t *bytes, size_t len)
{
	bool *open = &target->line_open[fd - 1];
	digest_add(fd == STDOUT_FILENO ? target->streams.out : target->streams.err, bytes, len);
	if (target->run->json)
		fd = STDERR_FILENO;
	if (target->run->n == 1) {
		fd_write_all(fd, bytes, len);
		return;
	}
	while (len) {
		const uint8_t *end = memchr(bytes, '\n', len);
		size_t n = end ? (size_t)(end - bytes) + 1 : len;
		if (!*open) {
			fd_write_all(fd, target->name, strlen(target->name));
			fd_write_all(fd, ": ", 2);
		}
		fd_write_all(fd, bytes, n);
		*open = !end;
		bytes += n;
		len -= n;
	}
}

static void exit_take(struct target *target, const murmesh_RunExit *exit)
{
	const struct run *run = target->run;
	const struct leg_end end = { .name = target->name,
		                     .device = target->device,
		                     .signs = target->signs,
		                     .order = &run->start.body.start.order,
		                     .exit = exit,
		                     .streams = &target->streams };
	target->exited = true;
	target->code = result_exit_code(exit);
	target->unverified = leg_verify(&run->session, &end, &target->is_signed) != CLI_OK;
}

static void input_watch(struct run *run);

static void on_output(void *ctx, const void *message)
{
	struct target *target = ctx;
	const murmesh_RunOutput *output = message;
	if (target->exited) /* that is the last word */
		return;
	switch (output->which_body) {
	case murmesh_RunOutput_started_tag:
		target->started = true;
		if (target->run->n == 1)
			input_watch(target->run);
		break;
	case murmesh_RunOutput_stdout_tag:
		output_write(target, STDOUT_FILENO, output->body.stdout.bytes, output->body.stdout.size);
		break;
	case murmesh_RunOutput_stderr_tag:
		output_write(target, STDERR_FILENO, output->body.stderr.bytes, output->body.stderr.size);
		break;
	case murmesh_RunOutput_exit_tag:
		exit_take(target, &output->body.exit);
		break;
	default:
		break;
	}
}

/* ---- input: of one device only ---- */

static void on_input(void *ctx, unsigned events)
{
	static murmesh_RunInput message;
	struct run *run = ctx;
	struct rpc_call *call = run->targets[0].call;
	(void)events;
	if (!call || rpc_call_crowded(call)) {
		if (run->input)
			io_watch_set(run->input, 0);
		return;
	}
	ssize_t n = fd_read(run->terminal < 0 ? STDIN_FILENO : run->terminal, message.body.stdin.bytes, STDIN_CHUNK);
	if (n == -EAGAIN)
		return;
	message.which_body = n > 0 ? murmesh_RunInput_stdin_tag : murmesh_RunInput_stdin_end_tag;
	if (n > 0)
		message.body.stdin.size = (pb_size_t)n;
	else
		message.body.stdin_end = true;
	rpc_call_send(call, &message);
	if (n <= 0)
		run->input = io_watch_free(run->input);
}

/* A regular file is not watched: it is always readable, and read whenever there is room. */
static void input_watch(struct run *run)
{
	if (run->terminal < 0)
		run->terminal = pty_reopen(STDIN_FILENO);
	run->input = io_watch_new(run->session.loop, run->terminal < 0 ? STDIN_FILENO : run->terminal, on_input, run);
	if (run->input)
		io_watch_set(run->input, IO_READABLE);
	else
		while (run->targets[0].call && !rpc_call_crowded(run->targets[0].call) && !run->interrupted) {
			murmesh_RunInput end = { .which_body = murmesh_RunInput_stdin_end_tag, .body.stdin_end = true };
			static murmesh_RunInput message = { .which_body = murmesh_RunInput_stdin_tag };
			ssize_t n = fd_read(STDIN_FILENO, message.body.stdin.bytes, STDIN_CHUNK);
			message.body.stdin.size = n > 0 ? (pb_size_t)n : 0;
			rpc_call_send(run->targets[0].call, n > 0 ? &message : &end);
			if (n <= 0)
				break;
		}
}

static void on_call_writable(void *ctx)
{
	struct run *run = ((struct target *)ctx)->run;
	if (run->input)
		io_watch_set(run->input, IO_READABLE);
	else if (run->n == 1 && run->targets[0].started)
		input_watch(run);
}

/* ---- one device ---- */

static void on_connection_closed(void *ctx, int err)
{
	struct target *target = ctx;
	rpc_connection_drop(&target->connection); /* its call's `closed` comes first */
	if (!target->over)
		target_over(target, err, "");
}

static void on_leg(void *ctx, struct stream *stream, int err, const char *details)
{
	static const struct rpc_connection_events events = { NULL, NULL, on_connection_closed };
	static const struct rpc_connection_settings settings = { .server = false,
		                                                 .ping_ms = RPC_PING_MS,
		                                                 .quiet_ms = RPC_QUIET_MS };
	static const struct rpc_call_events call_events = { on_output, NULL, on_call_writable, on_call_closed };
	struct target *target = ctx;
	if (!stream)
		return target_over(target, err, details);
	target->connection = rpc_connection_new(target->run->session.loop, stream, &settings, &events, target);
	if (target->connection)
		target->call = rpc_call_open(target->connection, &rpc_Run_Start, NULL, 0, &call_events, target);
	if (!target->call)
		return target_over(target, -E_NO_MEMORY, "");
	err = rpc_call_send(target->call, &target->run->start);
	if (err < 0)
		target_over(target, err, "");
}

static void next_start(struct run *run)
{
	if (run->next == run->n || run->interrupted)
		return;
	struct target *target = &run->targets[run->next++];
	const struct leg_target leg = { .device = target->device, .rpc = true, .tls = run->tls };
	if (!target->online)
		return target_over(target, -E_OFFLINE, "");
	if (result_streams_init(&target->streams) < 0)
		return target_over(target, -E_NO_MEMORY, "");
	leg_open(&run->session, &leg, on_leg, target);
}

/* ---- the order ---- */

static int device_add(void *ctx, const murmesh_Device *device)
{
	struct run *run = ctx;
	for (size_t i = 0; i < run->n; i++)
		if (memcmp(run->targets[i].device.bytes, device->id, sizeof device->id) == 0)
			return 0; /* meant twice */
	if (run->n == DEVICES_MAX)
		return -E_LIMIT;
	struct target *target = &run->targets[run->n++];
	target->run = run;
	target->online = device->online;
	target->signs = device->signs;
	memcpy(target->device.bytes, device->id, sizeof target->device.bytes);
	str_copy(str_from(device->name), target->name, sizeof target->name);
	if (cli_flag(run->cli, "dry-run"))
		device_row(&run->table, device);
	return 0;
}

/* Up to the next comma that is not inside quotation marks. */
static struct str selector_cut(struct str text, struct str *rest)
{
	bool quoted = false;
	size_t len = 0;
	while (len < text.len && (quoted || text.ptr[len] != ','))
		quoted ^= text.ptr[len++] == '"';
	*rest = str_skip(text, len + (len < text.len));
	return str_trim((struct str){ text.ptr, len });
}

static int devices_add(struct run *run)
{
	struct str rest = str_from(run->cli->operands[0]);
	bool query = false;
	while (rest.len) {
		struct str selector = selector_cut(rest, &rest);
		int err = devices_each(&run->session, selector, device_add, run);
		if (err == -E_LIMIT)
			return cli_fail_because(err, "a command goes to at most 1,000 devices at once", "choose fewer by a query",
			                        "the command was not started");
		if (err < 0)
			return devices_fail(&run->session, err, selector);
		query = query || devices_is_query(selector);
	}
	if (query && !cli_flag(run->cli, "dry-run"))
		cli_note(run->cli, "%zu device%s", run->n, run->n == 1 ? "" : "s");
	return 0;
}

static int order_get(struct run *run)
{
	murmesh_OrderRequest *request = mem_alloc(sizeof *request);
	murmesh_RunStart *start = &run->start.body.start;
	if (!request)
		return -E_NO_MEMORY;
	int err = run->cli->n_operands - 1 <= sizeof request->argv / sizeof *request->argv ? 0 : -E_LIMIT;
	for (size_t i = 1; err == 0 && i < run->cli->n_operands; i++)
		err = str_copy(str_from(run->cli->operands[i]), request->argv[request->argv_count++], sizeof *request->argv);
	for (size_t i = 0; i < run->n; i++)
		memcpy(start->devices.bytes + i * sizeof run->targets[i].device.bytes, run->targets[i].device.bytes,
		       sizeof run->targets[i].device.bytes);
	start->devices.size = (pb_size_t)(run->n * sizeof run->targets[0].device.bytes);
	hash_sha256(start->devices.bytes, start->devices.size, request->digest);
	request->count = (uint32_t)run->n;
	start->has_order = true;
	if (err == 0)
		err = session_unary(&run->session, &rpc_Tunnels_Order, request, &start->order, sizeof start->order);
	if (err == 0)
		err = user_sign_order(&run->session, request, &start->order);
	mem_free(request);
	return err;
}

/* For another approver.  Unsigned it would be of no use to him. */
static int order_out(struct run *run)
{
	const char *path = cli_text(run->cli, "order-out");
	int err = order_get(run);
	if (err < 0)
		return session_fail(&run->session, err, "the order was not written");
	err = run->session.signer ? order_file_write(path, &run->start.body.start) : -E_USER_KEY;
	if (err < 0)
		return cli_fail(err, "the order was not written to %s", path);
	cli_note(run->cli, "%s: an order for %zu device%s, signed by you; another approver: murmesh policy approve %s", path,
	         run->n, run->n == 1 ? "" : "s", path);
	return CLI_OK;
}

struct listing {
	struct run *run;
	const murmesh_RunStart *start;
	int err;
};

static void on_listed(void *ctx, const void *message)
{
	struct listing *listing = ctx;
	const murmesh_Device *device = message;
	for (size_t at = 0; at < listing->start->devices.size; at += sizeof device->id)
		if (listing->err == 0 && memcmp(listing->start->devices.bytes + at, device->id, sizeof device->id) == 0)
			listing->err = device_add(listing->run, device);
}

/* One that was written before, with all its signatures. */
static int order_take(struct run *run)
{
	static struct order_file file;
	const char *path = cli_text(run->cli, "order");
	const murmesh_ListRequest all = murmesh_ListRequest_init_zero;
	struct listing listing = { run, &file.start, 0 };
	int err = order_file_read(path, &file);
	if (err < 0)
		return cli_fail(err, "the order in %s cannot be used", path);
	err = session_stream(&run->session, &rpc_Fleet_ListDevices, &all, on_listed, &listing);
	if (err == 0)
		err = listing.err;
	if (err == 0 && run->n != file.order.count)
		err = -E_NOT_FOUND;
	if (err < 0)
		return err == -E_NOT_FOUND
		               ? cli_fail_because(err, "some of its devices are not there any more, or out of your reach",
		                                  "write a new order", "the order in %s cannot be used", path)
		               : session_fail(&run->session, err, "the command was not started");
	run->start.body.start = file.start;
	return CLI_OK;
}

/* The leg ends with this process, and the command with the leg. */
static int result(const struct run *run)
{
	if (run->interrupted)
		return CLI_INTERRUPTED;
	const struct target *only = &run->targets[0];
	if (run->n == 1)
		return only->err < 0 ? (int)cli_exit_code(only->err) : only->unverified ? CLI_FAILED : only->code;
	for (size_t i = 0; i < run->n; i++)
		if (run->targets[i].err < 0 || run->targets[i].code || run->targets[i].unverified)
			return CLI_SOME_FAILED;
	return CLI_OK;
}

static int carry_out(struct run *run)
{
	bool written = cli_given(run->cli, "order");
	run->start.which_body = murmesh_RunInput_start_tag;
	int code = written ? order_take(run) : devices_add(run);
	if (code || cli_flag(run->cli, "dry-run"))
		return code;
	if (cli_given(run->cli, "order-out"))
		return order_out(run);
	int err = session_leg_context(&run->session, true, &run->tls);
	if (err == 0 && !written)
		err = order_get(run);
	if (err < 0)
		return session_fail(&run->session, err, "the command was not started");
	for (size_t i = 0; i < AT_ONCE && i < run->n; i++)
		next_start(run);
	while (run->n_over < run->n && !run->session.interrupted)
		io_loop_run(run->session.loop);
	run->interrupted = run->session.interrupted;
	return result(run);
}

static int usage_check(const struct cli *cli)
{
	if (cli_given(cli, "order") && (cli->n_operands || cli_given(cli, "order-out")))
		return cli_fail_because(-E_USAGE, "devices and command stand in the order", "write `murmesh run --order FILE`",
		                        "the command was not started");
	if (!cli_given(cli, "order") && cli->n_operands < (cli_flag(cli, "dry-run") ? 1 : 2))
		return cli_fail_because(-E_USAGE, "there is no command", "write `murmesh run QUERY -- COMMAND`",
		                        "the command was not started");
	return CLI_OK;
}

static int run(const struct cli *cli)
{
	static struct run run;
	int code = usage_check(cli);
	if (code)
		return code;
	run.cli = cli;
	run.terminal = -1;
	run.targets = mem_alloc_array(DEVICES_MAX, sizeof *run.targets);
	if (!run.targets)
		return cli_fail(-E_NO_MEMORY, "the command was not started");
	code = session_begin(&run.session, cli);
	if (code)
		return code;
	session_interrupt_by(&run.session, SIGTERM);
	bool devices = cli_flag(cli, "dry-run");
	run.json = !devices && !cli_given(cli, "order-out") && cli_format(cli) >= CLI_JSON;
	if (devices || run.json)
		cli_table_begin(&run.table, cli, devices ? device_columns : result_columns);
	code = carry_out(&run);
	if ((devices || run.json) && cli_table_end(&run.table) < 0)
		code = CLI_FAILED;
	for (size_t i = 0; i < run.n; i++) {
		run.targets[i].over = true;
		rpc_connection_drop(&run.targets[i].connection);
		result_streams_done(&run.targets[i].streams);
	}
	io_watch_free(run.input);
	fd_close(run.terminal);
	session_close(&run.session);
	tls_context_free(run.tls);
	mem_free(run.targets);
	return code;
}

static const struct cli_option options[] = {
	{ "dry-run", 'n', NULL, CLI_FLAG, "list the devices, run nothing", NULL, 0 },
	{ "order-out", 0, "FILE", CLI_FILE, "write the signed order for another approver (murmesh policy approve), run nothing",
	  NULL, 0 },
	{ "order", 0, "FILE", CLI_FILE, "run what such an order says", NULL, 0 },
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "murmesh run web02 -- uname -a", "one device: its output and its exit code" },
	{ "murmesh run web01,web02 -- systemctl restart nginx", "several: 0 when all succeeded, else 7" },
	{ "murmesh run 'tag:web and not os:alpine' -- uptime", "all devices of a query" },
	{ "murmesh run 'tag:web' --dry-run", "which these are" },
	{ "murmesh run 'tag:web' --jsonl -- uptime",
	  "for a program: how it went on each, and whether that is signed; the output goes to standard error" },
	{ "murmesh run web02 -- sh -c 'df -h | grep /srv'", "a shell line" },
	{ "murmesh run 'tag:web' --order-out order.json -- reboot", "mode signed: an order that another approver has to sign" },
	{ "murmesh run --order order.json", "and when he has" },
	{ 0 },
};

const struct cli_command command_run = {
	.name = "run",
	.summary = "run a command on devices",
	.usage = "[QUERY[,QUERY...] -- COMMAND [ARGUMENT...]]",
	.options = options,
	.examples = examples,
	.run = run,
	.operands_most = 33,
};
