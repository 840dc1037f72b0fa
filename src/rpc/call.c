#include <pb_decode.h>
#include <pb_encode.h>

#include "base/encode.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "rpc/connection.h"
#include "stream/stream.h"

#define WHY_MAX 512

/* One decoded message and one encoded at a time, in the whole process: both are used up before the loop goes on. */
static union {
	uint64_t align;
	uint8_t bytes[RPC_MESSAGE_MAX];
} decoded;
static uint8_t encoded[RPC_MESSAGE_MAX];

/* ---- status: our codes and gRPC's (grpc/doc/statuscodes.md) ---- */

static unsigned status_from_err(int err)
{
	switch (-err) {
	case 0:
		return 0;
	case E_CANCELLED:
		return 1;
	case E_USAGE:
	case E_MESSAGE:
	case E_NAME:
	case E_ID:
	case E_NUMBER:
		return 3;
	case E_TIMEOUT:
		return 4;
	case E_NOT_FOUND:
		return 5;
	case E_EXISTS:
		return 6;
	case E_DENIED:
	case E_GRANT:
	case E_RELAY_UNSIGNED:
		return 7;
	case E_LIMIT:
	case E_FULL:
		return 8;
	case E_UNSUPPORTED:
		return 12;
	case E_INTERNAL:
		return 13;
	case E_BUSY:
	case E_CLOSED:
	case E_OFFLINE:
		return 14;
	case E_CERTIFICATE:
		return 16;
	default:
		return 2;
	}
}

static int err_from_status(uint64_t status)
{
	static const int table[] = { 0,         -E_CANCELLED, -E_INTERNAL,   -E_USAGE,     -E_TIMEOUT, -E_NOT_FOUND,   -E_EXISTS,
		                     -E_DENIED, -E_LIMIT,     -E_USAGE,      -E_CANCELLED, -E_USAGE,   -E_UNSUPPORTED, -E_INTERNAL,
		                     -E_CLOSED, -E_INTERNAL,  -E_CERTIFICATE };
	return status < sizeof table / sizeof *table ? table[status] : -E_PROTOCOL;
}

/* grpc-message is percent-encoded: all but printable ASCII, and '%'. */
static void percent_encode(struct str text, char *out, size_t size)
{
	size_t len = 0;
	for (size_t i = 0; i < text.len && len + 4 < size; i++) {
		unsigned char c = (unsigned char)text.ptr[i];
		if (c >= 0x20 && c < 0x7f && c != '%')
			out[len++] = (char)c;
		else
			len += (size_t)snprintf(out + len, size - len, "%%%02X", c);
	}
	out[len] = 0;
}

static char *percent_decode(struct str text)
{
	char bytes[WHY_MAX], clean[WHY_MAX];
	size_t len = 0;
	for (size_t i = 0; i < text.len && len < sizeof bytes; i++) {
		char hex[2];
		uint8_t byte = (uint8_t)text.ptr[i];
		if (byte == '%' && text.len - i > 2) {
			hex[0] = (char)(text.ptr[i + 1] | 32);
			hex[1] = (char)(text.ptr[i + 2] | 32);
			if (hex_decode((struct str){ hex, 2 }, &byte, 1) == 1)
				i += 2;
		}
		bytes[len++] = (char)byte;
	}
	utf8_clean((struct str){ bytes, len }, clean, sizeof clean);
	return mem_copy_string(clean, strlen(clean));
}

/* ---- life ---- */

struct rpc_call *rpc_call_ref(struct rpc_call *call)
{
	call->refs++;
	return call;
}

void rpc_call_unref(struct rpc_call *call)
{
	if (!call || --call->refs)
		return;
	grpc_reader_done(&call->reader);
	mem_free(call->why);
	mem_free(call->origin);
	mem_free(call);
}

static struct rpc_call *call_new(struct rpc_connection *connection)
{
	struct rpc_call *call = mem_alloc(sizeof *call);
	if (!call)
		return NULL;
	call->connection = connection;
	call->refs = 1;
	call->status = 1;
	grpc_reader_init(&call->reader, RPC_MESSAGE_MAX);
	list_append(&connection->calls, &call->node);
	connection->n_calls++;
	return call;
}

void call_closed(struct rpc_call *call)
{
	const struct rpc_call_events *events = call->events;
	list_remove(&call->node);
	call->connection->n_calls--;
	call->connection = NULL;
	call->stream = NULL;
	call->events = NULL;
	if (events && events->closed)
		events->closed(call->ctx, call->status, call->why ? call->why : "");
	rpc_call_unref(call);
}

/* Ends the call without waiting for the peer, who may take nothing any more. */
static void abandon(struct rpc_call *call, int err)
{
	struct rpc_connection *connection = call->connection;
	if (!call->stream)
		return;
	h2_stream_set_events(call->stream, NULL, NULL);
	h2_stream_reset(call->stream, H2_CANCEL);
	call->stream = NULL;
	call->status = err;
	list_remove(&call->node);
	list_append(&connection->abandoned, &call->node);
	io_task_schedule(connection->loop, &connection->flush);
}

/* ---- receiving ---- */

static int on_message(void *ctx, struct str message)
{
	struct rpc_call *call = ctx;
	if (!call->stream || (call->connection->server && call->finished))
		return -E_CLOSED;
	if (!call->events || !call->events->message)
		return 0;
	if (!call->method->request) {
		call->events->message(call->ctx, &message);
		return 0;
	}
	const pb_msgdesc_t *type = call->connection->server ? call->method->request : call->method->response;
	size_t size = call->connection->server ? call->method->request_size : call->method->response_size;
	pb_istream_t in = pb_istream_from_buffer((const pb_byte_t *)message.ptr, message.len);
	if (size > sizeof decoded)
		return -E_MESSAGE;
	/* It sets all that is not there to its default; the rest of a union is of another message. */
	if (!pb_decode(&in, type, &decoded))
		return -E_MESSAGE;
	call->events->message(call->ctx, &decoded);
	return 0;
}

static void on_data(void *ctx, const uint8_t *bytes, size_t len)
{
	struct rpc_call *call = rpc_call_ref(ctx);
	int err = grpc_reader_feed(&call->reader, bytes, len, on_message, call);
	if (call->stream) {
		if (call->paused)
			call->held += len;
		else
			h2_stream_consume(call->stream, len);
	}
	if (err < 0 && err != -E_CLOSED && call->stream) {
		if (call->connection->server)
			rpc_call_finish(call, err, NULL);
		else
			abandon(call, err);
	}
	rpc_call_unref(call);
}

static void take_status(struct rpc_call *call, const struct h2_head *head)
{
	struct str status = h2_head_get(head, "grpc-status"), code = h2_head_get(head, "murmesh-error"),
	           why = h2_head_get(head, "grpc-message");
	char name[16];
	uint64_t number;
	if (!status.ptr)
		return;
	call->status = str_to_u64(status, 1000, &number) == 0 ? err_from_status(number) : -E_PROTOCOL;
	if (call->status && str_copy(code, name, sizeof name) == 0 && err_from_name(name))
		call->status = -err_from_name(name);
	if (why.len && !call->why)
		call->why = percent_decode(why);
}

static void on_response(void *ctx, const struct h2_head *head)
{
	struct rpc_call *call = ctx;
	if (!str_is(h2_head_get(head, ":status"), "200") || !str_starts(h2_head_get(head, "content-type"), STR("application/grpc")))
		abandon(call, -E_PROTOCOL);
	else
		take_status(call, head);
}

static void on_trailers(void *ctx, const struct h2_head *head)
{
	struct rpc_call *call = ctx;
	if (!call->connection->server)
		take_status(call, head);
}

/* Once the answer is complete, what the client still has to say is of no use (RFC 9113 section 8.1): both sides reset the stream. */
static void on_end(void *ctx)
{
	struct rpc_call *call = ctx;
	call->peer_ended = true;
	if (!call->connection->server && !call->end_sent)
		h2_stream_reset(call->stream, H2_NO_ERROR);
	else if (call->connection->server && !call->finished && call->events && call->events->half_closed)
		call->events->half_closed(call->ctx);
}

static void on_sent(void *ctx)
{
	struct rpc_call *call = ctx;
	call->end_sent = true;
	if (call->connection->server && !call->peer_ended)
		h2_stream_reset(call->stream, H2_NO_ERROR);
}

static void on_drained(void *ctx)
{
	struct rpc_call *call = ctx;
	if (call->events && call->events->writable)
		call->events->writable(call->ctx);
}

static void on_closed(void *ctx, uint32_t error)
{
	struct rpc_call *call = ctx;
	if (call->status == 1)
		call->status = error == H2_CANCEL ? -E_CANCELLED : error == H2_REFUSED_STREAM ? -E_BUSY : -E_CLOSED;
	else if (call->connection->server && error != H2_NO_ERROR)
		call->status = -E_CANCELLED; /* finished by us, but not taken by the peer */
	call_closed(call);
}

static const struct h2_stream_events stream_events = { on_response, on_data, on_trailers, on_end, on_sent, on_drained, on_closed };

/* ---- sending ---- */

static int send_head(struct rpc_call *call)
{
	struct h2_head head = { .n = 0 };
	if (call->head_sent || !call->connection->server)
		return 0;
	h2_head_add(&head, STR(":status"), STR("200"));
	h2_head_add(&head, STR("content-type"), STR("application/grpc+proto"));
	int err = h2_stream_respond(call->stream, &head, false);
	call->head_sent = err == 0;
	return err;
}

static int send_bytes(struct rpc_call *call, struct str bytes)
{
	uint8_t prefix[GRPC_PREFIX];
	int err = send_head(call);
	if (err < 0)
		return err;
	grpc_prefix_write(prefix, bytes.len);
	return h2_stream_send2(call->stream, prefix, sizeof prefix, bytes.ptr, bytes.len);
}

int rpc_call_send(struct rpc_call *call, const void *message)
{
	if (!call->stream || call->finished)
		return -E_CLOSED;
	if (call->connection->queued_max && h2_queued(call->connection->session) > call->connection->queued_max)
		return -E_FULL;
	if (!call->method->request) {
		const struct str *bytes = message;
		return bytes->len > RPC_MESSAGE_MAX ? -E_TOO_LONG : send_bytes(call, *bytes);
	}
	pb_ostream_t out = pb_ostream_from_buffer(encoded, sizeof encoded);
	if (!pb_encode(&out, call->connection->server ? call->method->response : call->method->request, message))
		return -E_MESSAGE;
	return send_bytes(call, (struct str){ (const char *)encoded, out.bytes_written });
}

bool rpc_call_alive(const struct rpc_call *call)
{
	return call->stream != NULL;
}

bool rpc_call_crowded(const struct rpc_call *call)
{
	return call->stream && h2_stream_room(call->stream) <= RPC_QUEUE_MAX / 2;
}

void rpc_call_pause(struct rpc_call *call, bool paused)
{
	call->paused = paused;
	if (!paused && call->held && call->stream) {
		h2_stream_consume(call->stream, call->held);
		call->held = 0;
	}
}

void rpc_call_cancel(struct rpc_call *call)
{
	abandon(call, -E_CANCELLED);
}

void rpc_call_set_events(struct rpc_call *call, const struct rpc_call_events *events, void *ctx)
{
	call->events = events;
	call->ctx = ctx;
}

/* ---- client ---- */

struct rpc_call *rpc_call_open(struct rpc_connection *connection, const struct rpc_method *method,
                               const struct rpc_metadata *metadata, size_t n_metadata, const struct rpc_call_events *events,
                               void *ctx)
{
	struct h2_head head = { .n = 0 };
	struct rpc_call *call = connection->dying || connection->failed ? NULL : call_new(connection);
	if (!call)
		return NULL;
	call->method = method;
	call->events = events;
	call->ctx = ctx;
	h2_head_add(&head, STR(":method"), STR("POST"));
	h2_head_add(&head, STR(":scheme"), stream_tls(connection->stream) ? STR("https") : STR("http"));
	h2_head_add(&head, STR(":path"), str_from(method->path));
	h2_head_add(&head, STR(":authority"), STR("murmesh"));
	h2_head_add(&head, STR("content-type"), STR("application/grpc+proto"));
	h2_head_add(&head, STR("te"), STR("trailers"));
	for (size_t i = 0; i < n_metadata; i++)
		h2_head_add(&head, metadata[i].name, metadata[i].value);
	call->stream = h2_request(connection->session, &head, &stream_events, call);
	if (!call->stream) {
		call->events = NULL;
		call_closed(call);
		return NULL;
	}
	return call;
}

int rpc_call_half_close(struct rpc_call *call)
{
	if (!call->stream || call->finished)
		return -E_CLOSED;
	call->finished = true;
	return h2_stream_end(call->stream, NULL);
}

struct unary {
	struct rpc_call *call;
	struct io_timer *timer;
	rpc_unary_done done;
	void *ctx, *response;
	bool no_memory;
};

static void unary_end(struct unary *unary, int err, const char *why)
{
	io_timer_free(unary->timer);
	unary->done(unary->ctx, err, why, err == 0 ? unary->response : NULL);
	mem_free(unary->response);
	mem_free(unary);
}

static void unary_message(void *ctx, const void *message)
{
	struct unary *unary = ctx;
	if (unary->response)
		return;
	unary->response = mem_alloc(unary->call->method->response_size);
	if (unary->response)
		memcpy(unary->response, message, unary->call->method->response_size);
	else
		unary->no_memory = true;
}

static void unary_closed(void *ctx, int err, const char *why)
{
	struct unary *unary = ctx;
	if (err == 0 && !unary->response)
		err = unary->no_memory ? -E_NO_MEMORY : -E_PROTOCOL;
	unary_end(unary, err, why);
}

static void unary_timeout(void *ctx)
{
	struct unary *unary = ctx;
	rpc_call_set_events(unary->call, NULL, NULL);
	rpc_call_cancel(unary->call);
	unary_end(unary, -E_TIMEOUT, "");
}

int rpc_unary(struct rpc_connection *connection, const struct rpc_method *method, const void *request, unsigned timeout_ms,
              rpc_unary_done done, void *ctx)
{
	static const struct rpc_call_events events = { unary_message, NULL, NULL, unary_closed };
	struct unary *unary = mem_alloc(sizeof *unary);
	if (!unary)
		return -E_NO_MEMORY;
	*unary = (struct unary){ .done = done, .ctx = ctx };
	unary->timer = io_timer_new(connection->loop, unary_timeout, unary);
	unary->call = unary->timer ? rpc_call_open(connection, method, NULL, 0, &events, unary) : NULL;
	int err = unary->call ? rpc_call_send(unary->call, request) : -E_CLOSED;
	if (err == 0)
		err = rpc_call_half_close(unary->call);
	if (err < 0) {
		if (unary->call) {
			rpc_call_set_events(unary->call, NULL, NULL);
			rpc_call_cancel(unary->call);
		}
		io_timer_free(unary->timer);
		mem_free(unary);
		return err;
	}
	io_timer_start(unary->timer, timeout_ms ? timeout_ms : 30000, 0);
	return 0;
}

/* ---- server ---- */

int call_from_request(struct rpc_connection *connection, struct h2_stream *stream, const struct h2_head *head)
{
	if (!connection->server || !str_is(h2_head_get(head, ":method"), "POST") ||
	    !str_starts(h2_head_get(head, "content-type"), STR("application/grpc")) || connection->dying)
		return -E_PROTOCOL;
	struct rpc_call *call = call_new(connection);
	if (!call)
		return -E_NO_MEMORY;
	const struct tls *tls = stream_tls(connection->stream);
	const struct certificate_info *info = tls ? tls_peer(tls) : NULL;
	struct str named = h2_head_get(head, "murmesh-peer");
	int err = origin_read(head, &call->origin);
	if (connection->trusted_metadata)
		call->has_peer = named.ptr && identity_parse(named, &call->peer) == 0;
	else if (info && info->has_identity) {
		call->peer = info->identity;
		call->has_peer = true;
	}
	call->believed = connection->trusted_metadata;
	call->stream = stream;
	call->head = head;
	h2_stream_set_events(stream, &stream_events, call);
	rpc_call_ref(call);
	if (err == 0)
		err = connection->events->open ? connection->events->open(connection->ctx, call) : -E_UNSUPPORTED;
	if (err < 0)
		rpc_call_finish(call, err, NULL);
	call->head = NULL;
	rpc_call_unref(call);
	return 0;
}

struct str rpc_call_path(const struct rpc_call *call)
{
	return h2_head_get(call->head, ":path");
}

void rpc_call_accept(struct rpc_call *call, const struct rpc_method *method, const struct rpc_call_events *events, void *ctx)
{
	call->method = method;
	rpc_call_set_events(call, events, ctx);
}

const struct identity *rpc_call_peer(const struct rpc_call *call)
{
	return call->has_peer ? &call->peer : NULL;
}

void rpc_call_finish(struct rpc_call *call, int err, const char *why)
{
	char status[8], message[WHY_MAX * 3];
	struct h2_head head = { .n = 0 };
	if (!call->stream || call->finished)
		return;
	call->finished = true;
	call->status = err;
	if (!call->head_sent) {
		h2_head_add(&head, STR(":status"), STR("200"));
		h2_head_add(&head, STR("content-type"), STR("application/grpc+proto"));
	}
	snprintf(status, sizeof status, "%u", status_from_err(err));
	h2_head_add(&head, STR("grpc-status"), str_from(status));
	if (err < 0) {
		percent_encode(str_from(why && *why ? why : err_text(err)), message, sizeof message);
		h2_head_add(&head, STR("grpc-message"), str_from(message));
		if (err < -E_FIRST)
			h2_head_add(&head, STR("murmesh-error"), str_from(err_name(err)));
	}
	int sent = call->head_sent ? h2_stream_end(call->stream, &head) : h2_stream_respond(call->stream, &head, true);
	if (sent < 0)
		h2_stream_reset(call->stream, H2_INTERNAL_ERROR);
}

void rpc_call_reply(struct rpc_call *call, const void *response)
{
	int err = rpc_call_send(call, response);
	rpc_call_finish(call, err, NULL);
}

const struct rpc_service *rpc_service_find(const struct rpc_service *rows, size_t n, struct str path)
{
	for (size_t i = 0; i < n; i++)
		if (str_is(path, rows[i].method->path))
			return &rows[i];
	return NULL;
}

/* The state of a unary call until its request has come. */
struct waiting {
	const struct rpc_service *row;
	struct rpc_call *call;
	void *ctx;
	bool got;
};

static void serve_message(void *ctx, const void *message)
{
	struct waiting *waiting = ctx;
	if (waiting->got) {
		rpc_call_finish(waiting->call, -E_PROTOCOL, "more than one request in a unary call");
		return;
	}
	waiting->got = true;
	waiting->row->unary(waiting->ctx, waiting->call, message);
}

static void serve_half_closed(void *ctx)
{
	struct waiting *waiting = ctx;
	if (!waiting->got)
		rpc_call_finish(waiting->call, -E_PROTOCOL, "a unary call without its request");
}

static void serve_closed(void *ctx, int err, const char *why)
{
	(void)err;
	(void)why;
	mem_free(ctx);
}

int rpc_serve(const struct rpc_service *row, struct rpc_call *call, void *ctx)
{
	static const struct rpc_call_events events = { serve_message, serve_half_closed, NULL, serve_closed };
	if (row->open)
		return row->open(ctx, call);
	struct waiting *waiting = mem_alloc(sizeof *waiting);
	if (!waiting)
		return -E_NO_MEMORY;
	*waiting = (struct waiting){ row, call, ctx, false };
	rpc_call_accept(call, row->method, &events, waiting);
	return 0;
}
