#include "web/api.h"

#include <errno.h>

#include "base/buf.h"
#include "base/encode.h"
#include "base/err.h"
#include "base/mem.h"
#include "os/log.h"
#include "os/random.h"

#define CALL_MS       30000
#define ROWS_MAX      20000
#define TOLD_A_MINUTE 30

/* ---- answers ---- */

unsigned api_status(int err)
{
	static const struct {
		int err;
		unsigned status;
	} rows[] = {
		{ E_SESSION, 401 },      { E_LOGIN, 401 },       { E_LOGIN_LINK, 401 },  { E_CODE_WANTED, 401 },
		{ E_DENIED, 403 },       { E_STEP_UP, 403 },     { E_ORIGIN, 403 },      { E_TICKET, 403 },
		{ E_REVOKED, 403 },      { E_NOT_FOUND, 404 },   { E_HTTP_METHOD, 405 }, { E_EXISTS, 409 },
		{ E_CHANGED, 409 },      { E_AMBIGUOUS, 409 },   { E_OFFLINE, 409 },     { E_LAST_ADMINISTRATOR, 409 },
		{ E_HOST, 421 },         { E_LOGIN_DELAY, 429 }, { E_LIMIT, 429 },       { E_HTTP_HEAD, 400 },
		{ E_UNSUPPORTED, 501 },  { E_BUSY, 503 },        { E_CLOSED, 503 },      { E_FULL, 503 },
		{ E_HTTP_VERSION, 505 }, { E_JSON, 400 },        { E_NAME, 400 },        { E_PASSWORD, 400 },
		{ E_QUERY, 400 },        { E_NUMBER, 400 },      { E_DURATION, 400 },    { E_ID, 400 },
		{ E_UTF8, 400 },         { E_USAGE, 400 },       { E_ENCODING, 400 },    { E_TOO_LONG, 413 },
		{ E_TIMEOUT, 504 },      { E_STORE, 503 },       { E_SIGNED_MODE, 403 },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (rows[i].err == (err < 0 ? -err : err))
			return rows[i].status;
	return 500;
}

/* A burst of lines, then as many as somebody could read; that some are left out is said with the next one. */
#define LINES_BURST    200
#define LINES_A_SECOND 20

static void refusal_log(const struct http_exchange *exchange, int err, unsigned status, const char *id)
{
	static uint64_t second;
	static uint64_t left = LINES_BURST;
	static bool left_out;
	uint64_t now = io_loop_now_ms(exchange->web->loop) / 1000;
	left = (now - second) * LINES_A_SECOND + left < LINES_BURST ? (now - second) * LINES_A_SECOND + left : LINES_BURST;
	second = now;
	if (left == 0) {
		left_out = true;
		return;
	}
	left--;
	log_line(status >= 500 ? LOG_WARNING : LOG_INFO, "answer %s: %u %s, %s: %s %s%s", id, status, err_name(err), err_text(err),
	         exchange->method, exchange->path, left_out ? "; some before it were not written" : "");
	left_out = false;
}

static void on_told(void *ctx, int err, const char *why, const void *response)
{
	(void)ctx, (void)err, (void)why, (void)response;
}

/* What no page of the console asks for: another site's, another reader's of HTTP or JSON, or about what is not for him. */
static bool smells(const struct http_exchange *exchange, int err)
{
	static const int errs[] = { E_ORIGIN, E_HOST, E_TICKET, E_HTTP_HEAD, E_JSON, E_TOO_LONG, E_DENIED };
	for (size_t i = 0; i < sizeof errs / sizeof *errs; i++)
		if (err == -errs[i])
			return true;
	return err == -E_NOT_FOUND && strstr(exchange->path, "{id}");
}

/* That goes into the audit log, which a flood must not fill. */
static void refusal_tell(const struct http_exchange *exchange, int err)
{
	struct web *web = exchange->web;
	int64_t minute = (int64_t)(io_loop_now_ms(web->loop) / 60000);
	murmesh_Refusal refusal = { .error = (uint32_t)-err, .left_out = web->refusals_left_out };
	if (!smells(exchange, err) || !web->core)
		return;
	if (minute != web->refusals_since)
		web->refusals = 0;
	web->refusals_since = minute;
	if (web->refusals >= TOLD_A_MINUTE) {
		web->refusals_left_out++;
		return;
	}
	snprintf(refusal.what, sizeof refusal.what, "%s %s", exchange->method, exchange->path);
	http_peer(exchange, refusal.address);
	if (rpc_unary(web->core, &rpc_Console_Refused, &refusal, CALL_MS, on_told, NULL) == 0) {
		web->refusals++;
		web->refusals_left_out = 0;
	}
}

json_t *api_error(int err, const char *why, const char *id)
{
	json_t *error = json_object();
	const char *remedy = err_try(err);
	bool made = error && json_object_set_new(error, "error", json_string(err_name(err))) == 0 &&
	            json_object_set_new(error, "what", json_string(err_text(err))) == 0 &&
	            json_object_set_new(error, "why", json_text(str_from(why), false)) == 0 &&
	            json_object_set_new(error, "try", json_string(remedy ? remedy : "")) == 0 &&
	            json_object_set_new(error, "id", json_string(id)) == 0;
	if (made)
		return error;
	json_decref(error);
	return NULL;
}

static void answer_json(struct http_exchange *exchange, json_t *json, struct http_answer answer)
{
	struct buf body;
	buf_init(&body, HTTP_ANSWER_MAX);
	answer.type = "application/json";
	if (!json || json_write(json, &body) < 0) {
		answer.status = 500;
		answer.close = true;
		answer.cookie = NULL;
		buf_clear(&body);
	}
	answer.body = buf_str(&body);
	http_answer(exchange, &answer);
	buf_wipe(&body);
	json_decref(json);
}

/* Core says in words how long somebody has to wait: the first number of them. */
static unsigned seconds_in(const char *why)
{
	unsigned seconds = 0;
	for (; *why && (*why < '0' || *why > '9'); why++)
		;
	for (; *why >= '0' && *why <= '9' && seconds < 100000; why++)
		seconds = seconds * 10 + (unsigned)(*why - '0');
	return seconds ? seconds : 1;
}

void api_refuse(struct http_exchange *exchange, int err, const char *why)
{
	uint8_t random[8];
	char id[HEX_SIZE(sizeof random)];
	struct http_answer answer = { .status = exchange->status ? exchange->status : api_status(err), .allow = exchange->allow };
	if (!why || str_is(str_from(why), err_text(err)))
		why = "";
	random_bytes(random, sizeof random);
	hex_encode(random, sizeof random, id);
	if (answer.status == 429 || answer.status == 503)
		answer.retry_after_s = err == -E_LOGIN_DELAY ? seconds_in(why) : 1;
	refusal_log(exchange, err, answer.status, id);
	refusal_tell(exchange, err);
	answer_json(exchange, api_error(err, why, id), answer);
}

/* ---- a call ---- */

static struct http_exchange *call_free(struct api_call *call)
{
	struct http_exchange *exchange = call->exchange;
	if (call->message) {
		mem_wipe(call->message, call->route->message_size ? call->route->message_size : call->route->call->request_size);
		mem_free(call->message);
	}
	if (call->stream)
		rpc_call_unref(call->stream);
	attempt_release(call->attempt);
	json_decref(call->body);
	json_decref(call->query);
	json_decref(call->rows);
	mem_wipe(call, sizeof *call);
	mem_free(call);
	return exchange;
}

void api_reply_cookie(struct api_call *call, json_t *answer, const char *cookie)
{
	answer_json(call_free(call), answer, (struct http_answer){ .status = 200, .cookie = cookie });
}

void api_reply(struct api_call *call, json_t *answer)
{
	api_reply_cookie(call, answer, NULL);
}

void api_nothing(struct api_call *call, const char *cookie)
{
	const struct http_answer answer = { .status = 204, .cookie = cookie };
	http_answer(call_free(call), &answer);
}

void api_fail(struct api_call *call, int err, const char *why)
{
	api_refuse(call_free(call), err, why);
}

int api_ask(struct api_call *call, const struct rpc_method *method, const void *message, rpc_unary_done done)
{
	struct rpc_connection *core = call->exchange->web->core;
	return core ? rpc_unary(core, method, message, CALL_MS, done, call) : -E_BUSY;
}

static void on_waited(void *ctx)
{
	struct api_call *call = ctx;
	char why[sizeof call->why]; /* the call is freed before it is told */
	memcpy(why, call->why, sizeof why);
	api_fail(call, call->err, why);
}

static void on_reply(void *ctx, int err, const char *why, const void *reply)
{
	struct api_call *call = ctx;
	const struct route *route = call->route;
	if (err < 0 && err != -E_BUSY && call->attempt) {
		call->err = err;
		str_copy(str_from(why), call->why, sizeof call->why);
		return attempt_wait(call->attempt, on_waited, call);
	}
	if (err < 0)
		return api_fail(call, err, why);
	if (route->done)
		return route->done(call, reply);
	if (!route->answer)
		return api_nothing(call, NULL);
	api_reply(call, schema_encode(route->answer, reply));
}

/* ---- lists ---- */

static void on_row(void *ctx, const void *message)
{
	struct api_call *call = ctx;
	if (json_array_size(call->rows) == ROWS_MAX ||
	    json_array_append_new(call->rows, schema_encode(call->route->answer, message)) < 0)
		rpc_call_cancel(call->stream);
}

static void on_rows_end(void *ctx, int err, const char *why)
{
	struct api_call *call = ctx;
	if (err < 0)
		return api_fail(call, err == -E_CANCELLED ? -E_LIMIT : err, why);
	json_t *rows = call->rows;
	call->rows = NULL;
	api_reply(call, rows);
}

static int ask_list(struct api_call *call)
{
	static const struct rpc_call_events events = { on_row, NULL, NULL, on_rows_end }, none;
	struct rpc_connection *core = call->exchange->web->core;
	if (!core)
		return -E_BUSY;
	call->rows = json_array();
	struct rpc_call *stream = call->rows ? rpc_call_open(core, call->route->call, NULL, 0, &events, call) : NULL;
	if (!stream)
		return -E_NO_MEMORY;
	call->stream = rpc_call_ref(stream);
	int err = rpc_call_send(stream, call->message);
	if (err == 0)
		err = rpc_call_half_close(stream);
	if (err < 0) {
		rpc_call_set_events(stream, &none, NULL);
		rpc_call_cancel(stream);
	}
	return err;
}

/* ---- a request ---- */

static int digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* application/x-www-form-urlencoded, as URLSearchParams writes it. */
static json_t *form_text(struct str text)
{
	char out[512];
	size_t len = 0;
	for (; text.len && len < sizeof out; text = str_skip(text, 1)) {
		char c = text.ptr[0] == '+' ? ' ' : text.ptr[0];
		if (c == '%') {
			int high = text.len > 2 ? digit_of(text.ptr[1]) : -1, low = text.len > 2 ? digit_of(text.ptr[2]) : -1;
			if (high < 0 || low < 0 || (high == 0 && low == 0))
				return NULL;
			c = (char)(high << 4 | low);
			text = str_skip(text, 2);
		}
		out[len++] = c;
	}
	return len < sizeof out ? json_stringn(out, len) : NULL;
}

static const struct field *field_named(const struct schema *schema, struct str name)
{
	for (size_t i = 0; i < schema->n; i++)
		if (str_is(name, schema->fields[i].name))
			return &schema->fields[i];
	return NULL;
}

static json_t *form_value(const struct field *field, struct str text)
{
	uint64_t number;
	if (field->kind == FIELD_TEXT)
		return form_text(text);
	return str_to_u64(text, INT64_MAX, &number) < 0 ? NULL : json_integer((json_int_t)number);
}

static int query_read(const struct schema *schema, struct str query, json_t **ret, char why[JSON_WHY_SIZE])
{
	json_t *object = json_object();
	while (object && query.len) {
		struct str value, name = str_cut(str_cut(query, '&', &query), '=', &value);
		const struct field *field = schema ? field_named(schema, name) : NULL;
		if (field && !json_object_get(object, field->name) &&
		    json_object_set_new(object, field->name, form_value(field, value)) == 0)
			continue;
		snprintf(why, JSON_WHY_SIZE, "%s", field ? field->name : "the query of the address");
		json_decref(object);
		return -E_JSON;
	}
	*ret = object;
	return object ? 0 : -E_NO_MEMORY;
}

/* Puts the id of the path, the query and the body where the message wants them. */
static int message_fill(struct api_call *call, const struct h1_request *head, struct str query, struct str body,
                        char why[JSON_WHY_SIZE])
{
	const struct route *route = call->route;
	uint8_t *message = call->message;
	int err = 0;
	if (route->access == ACCESS_SESSION) {
		err = origin_session(&head->fields, call->session);
		memcpy(message, call->session, sizeof call->session);
	}
	if (route->id_at)
		memcpy(message + route->id_at, call->id.bytes, sizeof call->id.bytes);
	if (route->has)
		*(bool *)(message + route->has) = true;
	if (err == 0)
		err = query_read(route->query, query, &call->query, why);
	if (err == 0 && route->query)
		err = schema_decode(route->query, call->query, message, why);
	if (err == 0 && route->body)
		err = json_read(body, &call->body, why);
	if (err == 0 && route->body)
		err = schema_decode(route->body, call->body, message, why);
	if (err == 0 && route->prepare)
		err = route->prepare(call, message);
	return err;
}

void api_request(struct http_exchange *exchange, const struct route *route, struct str id, const struct h1_request *head,
                 struct str query, struct str body)
{
	char why[JSON_WHY_SIZE] = "";
	struct api_call *call = mem_alloc(sizeof *call);
	if (!call)
		return api_refuse(exchange, -E_NO_MEMORY, NULL);
	call->exchange = exchange;
	call->route = route;
	call->message = mem_alloc(route->message_size ? route->message_size : route->call->request_size);
	int err = call->message ? 0 : -E_NO_MEMORY;
	if (err == 0 && id.len && id_parse(id, &call->id) < 0)
		err = -E_NOT_FOUND;
	if (err == 0)
		err = message_fill(call, head, query, body, why);
	if (err == 0)
		err = route->list ? ask_list(call) : api_ask(call, route->call, call->message, on_reply);
	if (err < 0)
		api_fail(call, err, why);
}
