/* Rows of the route table that are more than one call of core. */
#include "base/encode.h"
#include "base/err.h"
#include "base/mem.h"
#include "os/clock.h"
#include "web/api.h"

/* ---- sessions ---- */

int prepare_login_link(struct api_call *call, void *message)
{
	http_peer(call->exchange, ((murmesh_LinkLogin *)message)->address);
	return 0;
}

int prepare_login(struct api_call *call, void *message)
{
	http_peer(call->exchange, ((murmesh_PasswordLogin *)message)->address);
	return attempt_take(call->exchange->web->attempts, http_fd(call->exchange), &call->attempt);
}

void done_login(struct api_call *call, const void *message)
{
	const murmesh_SessionReply *reply = message;
	char text[BASE64URL_SIZE(ACCOUNT_SESSION_SIZE)], cookie[192];
	if (reply->code_wanted)
		return api_fail(call, -E_CODE_WANTED, NULL);
	int64_t seconds = reply->expires - clock_wall_s();
	base64url_encode(reply->session, sizeof reply->session, text);
	snprintf(cookie, sizeof cookie, SESSION_COOKIE "=%s; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=%lld", text,
	         (long long)(seconds > 0 ? seconds : 0));
	api_reply_cookie(call, schema_encode(&schema_login, reply), cookie);
	mem_wipe(text, sizeof text);
	mem_wipe(cookie, sizeof cookie);
}

void done_logout(struct api_call *call, const void *reply)
{
	(void)reply;
	api_nothing(call, SESSION_COOKIE "=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0");
}

/* ---- devices ---- */

int prepare_device(struct api_call *call, void *message)
{
	murmesh_DeviceChange *change = &((murmesh_ConsoleDeviceChange *)message)->change;
	id_format(&call->id, change->selector);
	change->count = 1;
	return 0;
}

int prepare_retire(struct api_call *call, void *message)
{
	((murmesh_ConsoleDeviceChange *)message)->change.retire = true;
	return prepare_device(call, message);
}

/* ---- people ---- */

int prepare_user(struct api_call *call, void *message)
{
	murmesh_UserChange *change = &((murmesh_ConsoleUserChange *)message)->change;
	memcpy(change->id.bytes, call->id.bytes, sizeof call->id.bytes);
	change->id.size = sizeof call->id.bytes;
	change->enable = json_is_false(json_object_get(call->body, "disabled"));
	return 0;
}

/* ---- tickets for sockets ---- */

static void ticket_reply(struct api_call *call, const struct ticket *ticket)
{
	struct web *web = call->exchange->web;
	struct api_ticket answer;
	int err = ticket_issue(&web->tickets, ticket, io_loop_now_ms(web->loop), answer.text);
	if (err < 0)
		return api_fail(call, err, NULL);
	api_reply(call, schema_encode(&schema_ticket, &answer));
}

/* The session is good. */
void done_ticket(struct api_call *call, const void *reply)
{
	struct ticket ticket = { .kind = TICKET_LIVE };
	(void)reply;
	memcpy(ticket.session, call->session, sizeof ticket.session);
	ticket_reply(call, &ticket);
}

static void on_terminal_device(void *ctx, int err, const char *why, const void *reply)
{
	struct api_call *call = ctx;
	const struct api_terminal *wish = call->message;
	struct ticket ticket = { .kind = TICKET_TERMINAL, .device = call->id };
	if (err == 0 && !((const murmesh_DeviceDetail *)reply)->device.online)
		err = -E_OFFLINE;
	if (err < 0)
		return api_fail(call, err, why);
	memcpy(ticket.session, call->session, sizeof ticket.session);
	ticket.columns = (uint16_t)wish->columns;
	ticket.rows = (uint16_t)wish->rows;
	memcpy(ticket.terminal.bytes, wish->terminal.bytes, wish->terminal.size);
	ticket_reply(call, &ticket);
}

/* May he have terminals at all?  Is there such a device, which he may see?  Core asks both again when the terminal is opened. */
void done_terminal(struct api_call *call, const void *reply)
{
	const struct api_terminal *wish = call->message;
	if (str_is(str_from(((const murmesh_Account *)reply)->role), "viewer"))
		return api_fail(call, -E_DENIED, NULL);
	if (wish->columns < 1 || wish->columns > 1000 || wish->rows < 1 || wish->rows > 1000)
		return api_fail(call, -E_JSON, "columns and rows have to be 1 to 1000");
	int err = api_ask(call, &rpc_Console_GetDevice, &wish->request, on_terminal_device);
	if (err < 0)
		api_fail(call, err, NULL);
}

/* ---- tasks ---- */

void done_task(struct api_call *call, const void *reply)
{
	web_task_run(call->exchange->web, call->message, reply);
	api_reply(call, schema_encode(&schema_task, reply));
}

void done_task_cancel(struct api_call *call, const void *reply)
{
	web_task_cancel(call->exchange->web, &call->id);
	api_reply(call, schema_encode(&schema_task, reply));
}
