#include <unistd.h>

#include "base/err.h"
#include "cli/session.h"
#include "os/fd.h"
#include "os/file.h"
#include "os/random.h"
#include "route/envelope.h"

struct sending {
	struct session session;
	const struct cli *cli;
	murmesh_SendPiece piece;
	murmesh_SendProgress progress;
	struct buf body;
	struct id id;
	struct rpc_call *call;
	int err;
	bool done;
};

/* ---- what is sent ---- */

static int input_read(struct buf *out)
{
	uint8_t *room;
	ssize_t n;
	int err;
	while ((err = buf_reserve(out, 1, &room)) == 0 && (n = fd_read(STDIN_FILENO, room, out->capacity - out->end)) != 0) {
		if (n < 0)
			return (int)n;
		buf_commit(out, (size_t)n);
	}
	return err == -E_TOO_LONG && fd_read(STDIN_FILENO, &(uint8_t){ 0 }, 1) == 0 ? 0 : err;
}

static int body_read(struct sending *sending)
{
	const char *path = cli_text(sending->cli, "body");
	buf_init(&sending->body, ENVELOPE_BODY_MAX);
	if (!path)
		return 0;
	int err = str_is(str_from(path), "-") ? input_read(&sending->body) : file_read(path, &sending->body);
	return err < 0 ? cli_fail_because(err, err == -E_TOO_LONG ? "a message has at most 256 KiB" : NULL, NULL,
	                                  "%s cannot be sent", path)
	               : 0;
}

static int priority_parse(const char *text, murmesh_Priority *ret)
{
	static const char *const names[] = {
		[murmesh_Priority_NORMAL] = "normal", [murmesh_Priority_LOW] = "low", [murmesh_Priority_HIGH] = "high"
	};
	for (int i = 0; i < 3; i++)
		if (str_is(str_from(text), names[i])) {
			*ret = (murmesh_Priority)i;
			return 0;
		}
	return cli_fail_because(-E_USAGE, "a priority is low, normal or high", NULL, "%s is none", text);
}

static int head_fill(struct sending *sending)
{
	const struct cli *cli = sending->cli;
	murmesh_SendHead *head = &sending->piece.head;
	uint64_t lifetime_s = cli_duration_ms(cli, "ttl") / 1000;
	sending->piece.has_head = true;
	random_id(&sending->id);
	memcpy(head->id, sending->id.bytes, sizeof head->id);
	head->wait = cli_flag(cli, "wait");
	head->lifetime_s = (uint32_t)lifetime_s;
	if (lifetime_s < 1 || lifetime_s > ENVELOPE_LONGEST_S)
		return cli_fail_because(-E_USAGE, "a message waits from 1s to 14d", "give --ttl 12h, for example",
		                        "--ttl cannot be that");
	if (str_copy(str_from(cli->operands[0]), head->selector, sizeof head->selector) < 0 ||
	    str_copy(str_from(cli->operands[1]), head->type, sizeof head->type) < 0 || !head->type[0] ||
	    str_copy(str_from(cli_given(cli, "key") ? cli_text(cli, "key") : ""), head->key, sizeof head->key) < 0)
		return cli_fail_because(-E_USAGE, "a type has 1 to 64 bytes, a key at most 64, a query at most 1,023", NULL,
		                        "the message was not sent");
	return priority_parse(cli_text(cli, "priority"), &head->priority);
}

/* ---- the call ---- */

static void on_progress(void *ctx, const void *message)
{
	((struct sending *)ctx)->progress = *(const murmesh_SendProgress *)message;
}

static void on_closed(void *ctx, int err, const char *why)
{
	struct sending *sending = ctx;
	sending->done = true;
	sending->call = NULL;
	sending->err = err;
	snprintf(sending->session.why, sizeof sending->session.why, "%s", err < 0 && why ? why : "");
	io_loop_stop(sending->session.loop);
}

static int pieces_send(struct sending *sending)
{
	murmesh_SendPiece *piece = &sending->piece;
	struct str rest = buf_str(&sending->body);
	int err;
	do {
		size_t len = rest.len < sizeof piece->body.bytes ? rest.len : sizeof piece->body.bytes;
		if (len)
			memcpy(piece->body.bytes, rest.ptr, len);
		piece->body.size = (pb_size_t)len;
		err = rpc_call_send(sending->call, piece);
		piece->has_head = false;
		rest = str_skip(rest, len);
	} while (err == 0 && rest.len);
	return err < 0 ? err : rpc_call_half_close(sending->call);
}

static int carry_out(struct sending *sending)
{
	static const struct rpc_call_events events = { on_progress, NULL, NULL, on_closed };
	struct session *session = &sending->session;
	sending->call = session->server ? rpc_call_open(session->server, &rpc_Messages_Send, NULL, 0, &events, sending) : NULL;
	int err = sending->call ? pieces_send(sending) : -E_CLOSED;
	while (err == 0 && !sending->done && !session->interrupted)
		io_loop_run(session->loop);
	return err < 0 ? err : session->interrupted ? -E_CANCELLED : sending->err;
}

static int report(const struct sending *sending)
{
	const murmesh_SendProgress *progress = &sending->progress;
	const struct cli *cli = sending->cli;
	bool waited = cli_flag(cli, "wait");
	char id[ID_TEXT_SIZE];
	id_format(&sending->id, id);
	if (cli_format(cli) >= CLI_JSON)
		cli_json_line(cli, json_pack("{s:s, s:I, s:I, s:I, s:I}", "id", id, "devices", (json_int_t)progress->devices,
		                             "kept", (json_int_t)progress->kept, "delivered", (json_int_t)progress->delivered,
		                             "dead", (json_int_t)progress->dead));
	else if (waited)
		cli_note(cli, "message %s: %u of %u devices have it", id, (unsigned)progress->delivered,
		         (unsigned)progress->devices);
	else
		cli_note(cli, "message %s is kept for %u device%s", id, (unsigned)progress->kept, progress->kept == 1 ? "" : "s");
	if (!progress->dead)
		return CLI_OK;
	int err = err_known((int)progress->error) ? -(int)progress->error : -E_SOME_FAILED;
	cli_fail_because(err, NULL, "see `murmesh queue`", "%u of %u devices do not get it", (unsigned)progress->dead,
	                 (unsigned)progress->devices);
	return progress->devices == 1 ? (int)cli_exit_code(err) : CLI_SOME_FAILED;
}

static int run(const struct cli *cli)
{
	static struct sending sending;
	sending = (struct sending){ .cli = cli };
	int code = head_fill(&sending);
	if (!code)
		code = body_read(&sending);
	if (!code)
		code = session_begin(&sending.session, cli);
	if (code) {
		buf_done(&sending.body);
		return code;
	}
	int err = carry_out(&sending);
	code = err < 0 ? session_fail(&sending.session, err, "the message was not sent") : report(&sending);
	session_close(&sending.session);
	buf_done(&sending.body);
	return code;
}

static const struct cli_option options[] = {
	{ "body", 'b', "FILE", CLI_FILE, "what it says, at most 256 KiB; - = standard input", NULL, 0 },
	{ "ttl", 0, "DURATION", CLI_DURATION, "how long it waits for a device that is offline, at most 14d", "3d", 0 },
	{ "priority", 0, "low|normal|high", CLI_TEXT, "high goes first; where too much waits, low is dropped first", "normal", 0 },
	{ "key", 0, "NAME", CLI_TEXT, "it is a state: of those with this key that wait, only the newest is kept", NULL, 0 },
	{ "wait", 'w', NULL, CLI_FLAG, "until each device has it, or never will", NULL, 0 },
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "murmesh send web02 config.changed", "a file in the device's net/inbox, now or when it comes back" },
	{ "murmesh send tag:web notice --body notice.txt --ttl 12h --wait", "to all with that tag; says when they have it" },
	{ "murmesh send web02 desired-state --key desired --body state.json", "the newest one counts" },
	{ 0 },
};

const struct cli_command command_send = {
	.name = "send",
	.summary = "send a message to devices; it waits for those that are offline",
	.usage = "DEVICE|QUERY TYPE",
	.options = options,
	.examples = examples,
	.run = run,
	.operands_least = 2,
	.operands_most = 2,
};
