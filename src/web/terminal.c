/* A terminal in the browser: a WebSocket on one side, Terminal.Open on a leg on the other.  What the shell says passes through this role in
 * clear; the browser acknowledges what it has shown, and no more than TERMINAL_AHEAD goes ahead of that. */
#include "base/err.h"
#include "base/mem.h"
#include "crypto/key.h"
#include "services.h"
#include "web/api.h"
#include "web/leg.h"
#include "web/socket.h"

#define TERMINAL_AHEAD ((uint64_t)256 << 10)
#define ORDER_MS       15000

struct web_terminal {
	struct web *web;
	struct web_socket *socket; /* NULL: it went; freed when core has answered */
	struct ticket ticket;
	struct leg_use use;
	struct rpc_connection *connection; /* while the call is not yet made */
	struct rpc_call *call;             /* referenced */
	murmesh_SignedDocument *order;     /* until it is sent */
	uint64_t sent, shown;              /* bytes of output in total */
	bool asking, opened, exited, paused;
};

/* What the browser says in text. */
struct wish {
	murmesh_TerminalSize size;
	uint64_t ack;
	bool end, has_size, has_ack;
};

static const struct field size_fields[] = {
	FIELD("columns", FIELD_U32, murmesh_TerminalSize, columns),
	FIELD("rows", FIELD_U32, murmesh_TerminalSize, rows),
};
static const struct schema schema_size = SCHEMA("TerminalSize", size_fields);
static const struct field wish_fields[] = {
	FIELD("size", FIELD_OBJECT, struct wish, size, .optional = true, .mark = offsetof(struct wish, has_size),
	      .schema = &schema_size),
	FIELD("ack", FIELD_U64, struct wish, ack, .optional = true, .mark = offsetof(struct wish, has_ack)),
	FIELD("end", FIELD_FLAG, struct wish, end, .optional = true),
};
static const struct schema schema_wish = SCHEMA("TerminalWish", wish_fields);

/* ---- to the browser ---- */

/* Takes the message over. */
static void say(struct web_terminal *terminal, json_t *message)
{
	char *text = message ? json_dumps(message, JSON_COMPACT) : NULL;
	if (!text || web_socket_send(terminal->socket, true, str_from(text)) < 0)
		web_socket_close(terminal->socket, SOCKET_INTERNAL, "");
	free(text);
	json_decref(message);
}

/* For good: the page shows it, and does not come back by itself. */
static void fail(struct web_terminal *terminal, int err, const char *why)
{
	if (!terminal->socket)
		return;
	say(terminal, json_pack("{s:o}", "error", api_error(err, why, "")));
	web_socket_close(terminal->socket, err == -E_SESSION ? SOCKET_POLICY : SOCKET_NORMAL, "");
}

/* The terminal is still there, only the way to it broke: without an error the page comes back to it. */
static bool is_passing(int err)
{
	return err == -E_CLOSED || err == -E_TIMEOUT || err == -E_PEER_GONE || err == -E_BUSY;
}

/* ---- the end ---- */

static void terminal_release(struct web_terminal *terminal)
{
	if (terminal->socket || terminal->asking)
		return;
	mem_free(terminal->order);
	mem_wipe(terminal, sizeof *terminal);
	mem_free(terminal);
}

static void call_drop(struct web_terminal *terminal)
{
	struct rpc_call *call = terminal->call;
	terminal->call = NULL;
	if (!call)
		return;
	rpc_call_set_events(call, NULL, NULL);
	rpc_call_cancel(call);
	rpc_call_unref(call);
}

static void on_socket_closed(void *ctx, unsigned code)
{
	struct web_terminal *terminal = ctx;
	(void)code;
	terminal->socket = NULL;
	call_drop(terminal); /* on the device it waits for its user */
	leg_leave(&terminal->use, true);
	terminal_release(terminal);
}

/* ---- from the device ---- */

static void pause_update(struct web_terminal *terminal)
{
	bool paused = terminal->sent - terminal->shown > TERMINAL_AHEAD || web_socket_crowded(terminal->socket);
	if (terminal->call && paused != terminal->paused)
		rpc_call_pause(terminal->call, paused);
	terminal->paused = paused;
}

static void on_data(struct web_terminal *terminal, const uint8_t *bytes, size_t len)
{
	terminal->sent += len;
	if (web_socket_send(terminal->socket, false, (struct str){ (const char *)bytes, len }) < 0)
		web_socket_close(terminal->socket, SOCKET_AGAIN, "the browser does not keep up");
	pause_update(terminal);
}

static void on_message(void *ctx, const void *message)
{
	struct web_terminal *terminal = ctx;
	const murmesh_TerminalOutput *output = message;
	struct id id;
	char text[ID_TEXT_SIZE];
	if (!terminal->socket)
		return;
	switch (output->which_body) {
	case murmesh_TerminalOutput_opened_tag:
		memcpy(id.bytes, output->body.opened, sizeof id.bytes);
		id_format(&id, text);
		terminal->opened = true;
		say(terminal, json_pack("{s:s}", "opened", text));
		web_socket_pause(terminal->socket, false);
		break;
	case murmesh_TerminalOutput_data_tag:
		on_data(terminal, output->body.data.bytes, output->body.data.size);
		break;
	case murmesh_TerminalOutput_exit_tag:
		terminal->exited = true;
		say(terminal, json_pack("{s:{s:I, s:I}}", "exit", "code", (json_int_t)output->body.exit.code, "signal",
		                        (json_int_t)output->body.exit.signal));
		break;
	default: /* of a newer version */
		break;
	}
}

static void on_call_writable(void *ctx)
{
	struct web_terminal *terminal = ctx;
	if (terminal->socket && terminal->opened)
		web_socket_pause(terminal->socket, false);
}

static void on_call_closed(void *ctx, int err, const char *why)
{
	struct web_terminal *terminal = ctx;
	rpc_call_unref(terminal->call);
	terminal->call = NULL;
	leg_leave(&terminal->use, true);
	if (!terminal->socket)
		return;
	if (terminal->exited)
		web_socket_close(terminal->socket, SOCKET_NORMAL, "");
	else if (terminal->opened && (err == 0 || is_passing(err)))
		web_socket_close(terminal->socket, SOCKET_AWAY, "");
	else
		fail(terminal, err < 0 ? err : -E_CLOSED, why);
}

/* ---- the call: once there are both an order and a leg ---- */

static void call_begin(struct web_terminal *terminal)
{
	static const struct rpc_call_events events = { on_message, NULL, on_call_writable, on_call_closed };
	static murmesh_TerminalInput input;
	murmesh_TerminalStart *start = &input.body.start;
	const struct ticket *ticket = &terminal->ticket;
	if (!terminal->order || !terminal->connection)
		return;
	input = (murmesh_TerminalInput){ .which_body = murmesh_TerminalInput_start_tag };
	start->has_order = start->has_size = true;
	start->order = *terminal->order;
	start->size = (murmesh_TerminalSize){ ticket->columns, ticket->rows };
	start->devices.size = sizeof ticket->device.bytes;
	memcpy(start->devices.bytes, ticket->device.bytes, start->devices.size);
	start->terminal.size = id_is_zero(&ticket->terminal) ? 0 : sizeof ticket->terminal.bytes;
	memcpy(start->terminal.bytes, ticket->terminal.bytes, start->terminal.size);
	terminal->order = mem_free(terminal->order);
	struct rpc_call *call = rpc_call_open(terminal->connection, &rpc_Terminal_Open, NULL, 0, &events, terminal);
	terminal->connection = NULL;
	if (!call)
		return fail(terminal, -E_CLOSED, "");
	terminal->call = rpc_call_ref(call);
	int err = rpc_call_send(call, &input);
	if (err < 0)
		fail(terminal, err, "");
}

static void on_leg(void *ctx, int err, const char *why, struct rpc_connection *connection)
{
	struct web_terminal *terminal = ctx;
	if (err < 0)
		return fail(terminal, err, why);
	terminal->connection = connection;
	call_begin(terminal);
}

static void on_order(void *ctx, int err, const char *why, const void *response)
{
	struct web_terminal *terminal = ctx;
	terminal->asking = false;
	if (!terminal->socket)
		return terminal_release(terminal);
	terminal->order = err < 0 ? NULL : mem_alloc(sizeof *terminal->order);
	if (err == 0 && !terminal->order)
		err = -E_NO_MEMORY;
	if (err < 0)
		return fail(terminal, err, why);
	*terminal->order = *(const murmesh_SignedDocument *)response;
	if (!terminal->use.leg)
		terminal->connection = NULL; /* it has ended since */
	call_begin(terminal);
}

static int order_ask(struct web_terminal *terminal)
{
	static murmesh_ConsoleOrderRequest request;
	const struct ticket *ticket = &terminal->ticket;
	request = (murmesh_ConsoleOrderRequest){ .has_order = true, .order = { .count = 1, .terminal = true } };
	memcpy(request.session, ticket->session, sizeof request.session);
	hash_sha256(ticket->device.bytes, sizeof ticket->device.bytes, request.order.digest);
	int err = terminal->web->core
	                  ? rpc_unary(terminal->web->core, &rpc_Console_SignOrder, &request, ORDER_MS, on_order, terminal)
	                  : -E_BUSY;
	terminal->asking = err == 0;
	mem_wipe(&request, sizeof request);
	return err;
}

/* ---- from the browser ---- */

static void on_typed(struct web_terminal *terminal, struct str bytes)
{
	static murmesh_TerminalInput input = { .which_body = murmesh_TerminalInput_data_tag };
	while (bytes.len && terminal->call) {
		size_t n = bytes.len < sizeof input.body.data.bytes ? bytes.len : sizeof input.body.data.bytes;
		input.body.data.size = (pb_size_t)n;
		memcpy(input.body.data.bytes, bytes.ptr, n);
		if (rpc_call_send(terminal->call, &input) < 0)
			return fail(terminal, -E_FLOW, "");
		bytes = str_skip(bytes, n);
	}
	web_socket_pause(terminal->socket, terminal->call && rpc_call_crowded(terminal->call));
}

static void message_send(const struct web_terminal *terminal, const murmesh_TerminalInput *input)
{
	if (terminal->call)
		rpc_call_send(terminal->call, input);
}

static int wish_read(struct str text, struct wish *ret, char why[JSON_WHY_SIZE])
{
	json_t *json = NULL;
	int err = json_read(text, &json, why);
	if (err == 0)
		err = schema_decode(&schema_wish, json, ret, why);
	json_decref(json);
	return err;
}

static void on_wish(struct web_terminal *terminal, struct str text)
{
	struct wish wish = { 0 };
	char why[JSON_WHY_SIZE] = "";
	int err = wish_read(text, &wish, why);
	if (err < 0)
		return fail(terminal, err, why);
	if (wish.has_ack && wish.ack > terminal->shown && wish.ack <= terminal->sent) {
		terminal->shown = wish.ack;
		pause_update(terminal);
	}
	const murmesh_TerminalInput size = { .which_body = murmesh_TerminalInput_size_tag, .body.size = wish.size },
	                            end = { .which_body = murmesh_TerminalInput_end_tag, .body.end = true };
	if (wish.has_size)
		message_send(terminal, &size);
	if (wish.end)
		message_send(terminal, &end);
}

static void on_browser(void *ctx, bool text, struct str bytes)
{
	if (text)
		on_wish(ctx, bytes);
	else
		on_typed(ctx, bytes);
}

static void on_browser_writable(void *ctx)
{
	pause_update(ctx);
}

void web_terminal_open(struct web *web, struct web_socket *socket, const struct ticket *ticket)
{
	static const struct web_socket_events events = { on_browser, on_browser_writable, on_socket_closed }, none;
	struct web_terminal *terminal = mem_alloc(sizeof *terminal);
	web_socket_set_events(socket, terminal ? &events : &none, terminal);
	if (!terminal)
		return web_socket_close(socket, SOCKET_AGAIN, "");
	*terminal = (struct web_terminal){ .web = web, .socket = socket, .ticket = *ticket };
	terminal->use.ready = on_leg;
	terminal->use.ctx = terminal;
	web_socket_pause(socket, true); /* until there is somebody to hear it */
	int err = order_ask(terminal);
	if (err == 0)
		err = leg_use(web, ticket->session, &ticket->device, &terminal->use);
	if (err < 0)
		fail(terminal, err, "");
}
