#include "web/http.h"

#include <errno.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "os/fd.h"
#include "os/log.h"
#include "os/socket.h"
#include "os/sources.h"
#include "stream/stream.h"
#include "web/assets.h"

enum state {
	ARRIVING,  /* TLS handshake */
	READING,   /* a request, or waiting for one */
	WORKING,   /* its answer is being made */
	ANSWERING, /* and sent */
	LINGERING, /* ended from here; what still comes is thrown away, so that a reset does not overtake the answer */
	UPGRADED,
};

struct http_connection {
	struct list node; /* in web->arriving, idle or busy */
	struct web *web;
	struct stream *stream; /* NULL once upgraded */
	struct io_timer *deadline;
	struct io_task again; /* the next request, which is in `in` already */
	struct source *source;
	struct http_exchange *exchange; /* while WORKING */
	struct buf in;                  /* the request, and what came behind it */
	struct buf out;                 /* the answer */
	struct str tail;                /* its body, when that is part of the program */
	struct http_file file;          /* its body, when that is a file */
	uint64_t file_at;
	size_t wanted; /* bytes of `in` before it is worth looking at */
	size_t request_len, lingered;
	enum state state;
	bool keep;
};

/* ---- who is here ---- */

static void connection_move(struct http_connection *c, struct list *to)
{
	list_remove(&c->node);
	list_append(to, &c->node);
}

static void connection_free(struct http_connection *c)
{
	list_remove(&c->node);
	c->web->n_connections--;
	if (c->exchange)
		c->exchange->connection = NULL;
	io_task_cancel(&c->again);
	io_timer_free(c->deadline);
	stream_free(c->stream);
	sources_release(c->web->sources, c->source);
	buf_wipe(&c->in);
	buf_wipe(&c->out);
	mem_free(c);
}

/* Makes room: who is idle for longest goes first, then whose request takes longest to come. */
static int connection_room(struct web *web)
{
	if (web->n_connections < HTTP_CONNECTIONS_MAX)
		return 0;
	struct list *from = !list_empty(&web->idle) ? &web->idle : &web->arriving;
	log_limited(LOG_WARNING, "more than %d connections: %s was closed", HTTP_CONNECTIONS_MAX,
	            list_empty(from) ? "a new one" : "an idle one");
	if (list_empty(from))
		return -E_LIMIT;
	connection_free(LIST_ENTRY(from->next, struct http_connection, node));
	return 0;
}

/* ---- the end ---- */

static void connection_linger(struct http_connection *c)
{
	c->state = LINGERING;
	buf_done(&c->in);
	connection_move(c, &c->web->busy);
	if (stream_close_write(c->stream) < 0)
		return connection_free(c);
	io_timer_start(c->deadline, HTTP_LINGER_MS, 0);
	stream_want(c->stream, STREAM_READ);
}

static void connection_discard(struct http_connection *c)
{
	ssize_t n;
	while ((n = stream_read(c->stream, io_loop_scratch(c->web->loop), IO_SCRATCH)) > 0) {
		c->lingered += (size_t)n;
		if (c->lingered > HTTP_LINGER_MAX)
			break;
	}
	if (n != -EAGAIN)
		connection_free(c);
}

/* ---- answers ---- */

static const char *const security[][2] = {
	{ "X-Content-Type-Options", "nosniff" },
	{ "Referrer-Policy", "no-referrer" },
	{ "Cross-Origin-Opener-Policy", "same-origin" },
	{ "Cross-Origin-Resource-Policy", "same-origin" },
	{ "Permissions-Policy",
	  "accelerometer=(), autoplay=(), camera=(), display-capture=(), encrypted-media=(), fullscreen=(), geolocation=(), "
	  "gyroscope=(), magnetometer=(), microphone=(), midi=(), payment=(), picture-in-picture=(), "
	  "publickey-credentials-get=(), screen-wake-lock=(), usb=(), xr-spatial-tracking=()" },
};

static int field(struct buf *out, const char *name, const char *value)
{
	return value ? h1_write_field(out, str_from(name), str_from(value)) : 0;
}

static int number_field(struct buf *out, const char *name, size_t value)
{
	return buf_printf(out, "%s: %zu\r\n", name, value);
}

/* Content Security Policy Level 3. */
static int policy_write(struct buf *out)
{
	return buf_printf(
	        out,
	        "Content-Security-Policy: default-src 'none'; script-src 'self'%s; style-src 'self'; img-src 'self' data:; "
	        "connect-src 'self'; font-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'\r\n",
	        asset_scripts);
}

static int head_write(struct buf *out, const struct http_answer *answer, bool close)
{
	int err = h1_write_response(out, answer->status);
	if (err == 0)
		err = policy_write(out);
	for (size_t i = 0; err == 0 && i < sizeof security / sizeof *security; i++)
		err = field(out, security[i][0], security[i][1]);
	if (err == 0)
		err = field(out, "Cache-Control", answer->cache ? answer->cache : "no-store");
	if (err == 0)
		err = field(out, "Content-Type", answer->type);
	if (err == 0 && answer->encoding.len)
		err = h1_write_field(out, STR("Content-Encoding"), answer->encoding);
	if (err == 0 && answer->etag.len)
		err = h1_write_field(out, STR("ETag"), answer->etag);
	if (err == 0 && answer->fixed)
		err = field(out, "Vary", "Accept-Encoding");
	if (err == 0)
		err = field(out, "Set-Cookie", answer->cookie);
	if (err == 0)
		err = field(out, "Allow", answer->allow);
	if (err == 0 && answer->retry_after_s)
		err = number_field(out, "Retry-After", answer->retry_after_s);
	if (err == 0 && answer->status != 204 && answer->status != 304)
		err = number_field(out, "Content-Length", answer->file ? (size_t)answer->file->size : answer->body.len);
	if (err == 0)
		err = field(out, "Connection", close ? "close" : NULL);
	return err == 0 ? h1_write_end(out) : err;
}

static void answer_sent(struct http_connection *c)
{
	buf_wipe(&c->out);
	if (!c->keep)
		return connection_linger(c);
	buf_consume(&c->in, c->request_len);
	c->request_len = c->wanted = 0;
	c->state = READING;
	if (buf_len(&c->in)) {
		io_timer_start(c->deadline, HTTP_REQUEST_MS, 0);
		io_task_schedule(c->web->loop, &c->again);
		return;
	}
	buf_wipe(&c->in);
	connection_move(c, &c->web->idle);
	io_timer_start(c->deadline, HTTP_IDLE_MS, 0);
	stream_want(c->stream, STREAM_READ);
}

/* TLS keeps what the socket does not take: of a client that does not read, no more than this. */
#define PIECE ((size_t)32 << 10)

static ssize_t piece_send(struct http_connection *c, struct str bytes)
{
	return stream_write(c->stream, bytes.ptr, bytes.len < PIECE ? bytes.len : PIECE);
}

#define FILE_TURN 8 /* pieces of a file, before others have their turn */

static int file_read_piece(struct http_connection *c)
{
	uint8_t *piece = io_loop_scratch(c->web->loop);
	uint64_t left = c->file.size - c->file_at;
	ssize_t n = fd_read_at(c->file.fd, c->file_at, piece, left < PIECE ? (size_t)left : PIECE);
	if (n <= 0) /* it has become shorter: the client sees that, too */
		return n < 0 ? (int)n : -E_SHORT;
	c->file_at += (uint64_t)n;
	io_timer_start(c->deadline, HTTP_SEND_MS, 0);
	return buf_append(&c->out, piece, (size_t)n);
}

/* As much as the client takes now: 0, or the reason why it gets no more. */
static int pieces_send(struct http_connection *c)
{
	ssize_t n = 0;
	for (unsigned turn = 0; turn < FILE_TURN; turn++) {
		while (buf_len(&c->out) && (n = piece_send(c, buf_str(&c->out))) > 0)
			buf_consume(&c->out, (size_t)n);
		while (!buf_len(&c->out) && c->tail.len && (n = piece_send(c, c->tail)) > 0)
			c->tail = str_skip(c->tail, (size_t)n);
		if (n < 0 || buf_len(&c->out) || c->tail.len || c->file_at == c->file.size)
			break;
		n = file_read_piece(c);
		if (n < 0)
			return (int)n;
	}
	return n < 0 && n != -EAGAIN ? (int)n : 0;
}

static void answer_send(struct http_connection *c)
{
	if (pieces_send(c) < 0)
		return connection_free(c);
	if (buf_len(&c->out) || c->tail.len || c->file_at < c->file.size)
		return stream_want(c->stream, STREAM_WRITE);
	c->file = (struct http_file){ 0 };
	c->file_at = 0;
	stream_want(c->stream, 0);
	answer_sent(c);
}

void http_answer(struct http_exchange *exchange, const struct http_answer *answer)
{
	struct http_connection *c = exchange->connection;
	bool head_only = exchange->head_only;
	mem_free(exchange);
	if (!c)
		return;
	c->exchange = NULL;
	c->state = ANSWERING;
	if (answer->close)
		c->keep = false;
	int err = head_write(&c->out, answer, !c->keep);
	if (err == 0 && answer->file && !head_only)
		c->file = *answer->file;
	else if (err == 0 && answer->fixed && !head_only)
		c->tail = answer->body;
	else if (err == 0 && !head_only)
		err = buf_append_str(&c->out, answer->body);
	if (err < 0)
		return connection_free(c);
	io_timer_start(c->deadline, HTTP_SEND_MS, 0);
	answer_send(c);
}

struct stream *http_upgrade(struct http_exchange *exchange, struct str accept, struct http_connection **ret)
{
	struct http_connection *c = exchange->connection;
	struct stream *stream = c ? c->stream : NULL;
	mem_free(exchange);
	if (!c)
		return NULL;
	c->exchange = NULL;
	int err = buf_printf(&c->out,
	                     "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
	                     "Sec-WebSocket-Accept: %.*s\r\n\r\n",
	                     STR_ARG(accept));
	/* The socket's buffer is empty: it takes these few bytes whole. */
	if (err < 0 || buf_len(&c->in) > c->request_len ||
	    stream_write(stream, buf_head(&c->out), buf_len(&c->out)) != (ssize_t)buf_len(&c->out)) {
		connection_free(c);
		return NULL;
	}
	buf_wipe(&c->in);
	buf_wipe(&c->out);
	c->deadline = io_timer_free(c->deadline);
	c->state = UPGRADED;
	c->stream = NULL;
	*ret = c;
	return stream;
}

void http_left(struct http_connection *connection)
{
	connection_free(connection);
}

void http_peer(const struct http_exchange *exchange, char out[64])
{
	out[0] = 0;
	if (exchange->connection)
		socket_peer_host(http_fd(exchange), out);
}

int http_fd(const struct http_exchange *exchange)
{
	return stream_fd(exchange->connection->stream);
}

/* ---- requests ---- */

static struct http_exchange *exchange_begin(struct http_connection *c)
{
	struct http_exchange *exchange = mem_alloc(sizeof *exchange);
	if (!exchange)
		return NULL;
	exchange->web = c->web;
	exchange->connection = c;
	exchange->method = exchange->path = "";
	c->exchange = exchange;
	c->state = WORKING;
	stream_want(c->stream, 0);
	io_timer_start(c->deadline, HTTP_WORK_MS, 0);
	connection_move(c, &c->web->busy);
	return exchange;
}

static bool wants_close(const struct h1_request *head)
{
	struct str value;
	for (size_t i = 0; i < head->fields.count; i++) {
		if (!str_equal_nocase(head->fields.at[i].name, STR("Connection")))
			continue;
		for (struct str rest = head->fields.at[i].value; rest.len;) {
			value = str_trim(str_cut(rest, ',', &rest));
			if (str_equal_nocase(value, STR("close")))
				return true;
		}
	}
	return false;
}

/* head: NULL when it could not be read.  len: of the whole request, when it is here: the connection can go on behind it; else 0. */
static void request_refuse(struct http_connection *c, const struct h1_request *head, size_t len, int err)
{
	struct http_exchange *exchange = exchange_begin(c);
	bool harmless = err == -E_SESSION || err == -E_NOT_FOUND || err == -E_ORIGIN;
	c->request_len = len;
	c->keep = len && harmless && !wants_close(head);
	if (exchange)
		dispatch_refuse(exchange, head, err);
	else
		connection_free(c);
}

static void request_complete(struct http_connection *c, const struct h1_request *head, size_t head_len)
{
	struct http_exchange *exchange = exchange_begin(c);
	if (!exchange)
		return connection_free(c);
	c->request_len = head_len + (size_t)head->fields.content_length;
	c->keep = !wants_close(head);
	dispatch_request(exchange, head, (struct str){ buf_str(&c->in).ptr + head_len, (size_t)head->fields.content_length });
}

/* No encoding is taken; one that others could read in another way than we is worse than that (RFC 9112 section 11.2). */
static int encoding_check(const struct h1_fields *fields)
{
	struct str value;
	if (!fields->has_transfer_encoding)
		return 0;
	bool plain = h1_field_once(fields, "Transfer-Encoding", &value) == 0 && str_equal_nocase(value, STR("chunked"));
	return plain && !fields->has_content_length ? -E_UNSUPPORTED : -E_HTTP_HEAD;
}

/* Looks at what has come. */
static void request_look(struct http_connection *c)
{
	struct h1_request head;
	size_t head_len, body_max = 0;
	if (buf_len(&c->in) < c->wanted)
		return;
	int err = h1_request_parse(buf_str(&c->in), &head, &head_len);
	if (err == -EAGAIN)
		return;
	if (err < 0)
		return request_refuse(c, NULL, 0, err);
	err = encoding_check(&head.fields);
	if (err < 0)
		return request_refuse(c, &head, 0, err);
	err = dispatch_admit(c->web, stream_fd(c->stream), &head, &body_max);
	if (err == 0 && head.fields.content_length > body_max)
		err = -E_TOO_LONG;
	bool here = head.fields.content_length <= buf_len(&c->in) - head_len;
	size_t whole = here ? head_len + (size_t)head.fields.content_length : 0;
	if (err < 0)
		return request_refuse(c, &head, whole, err);
	if (here)
		return request_complete(c, &head, head_len);
	if (!c->wanted)
		io_timer_start(c->deadline, HTTP_REQUEST_MS, 0);
	c->wanted = head_len + (size_t)head.fields.content_length;
}

static void on_again(void *ctx)
{
	struct http_connection *c = ctx;
	stream_want(c->stream, STREAM_READ);
	request_look(c);
}

/* ---- events ---- */

static void on_readable(void *ctx)
{
	struct http_connection *c = ctx;
	if (c->state == LINGERING)
		return connection_discard(c);
	uint8_t *scratch = io_loop_scratch(c->web->loop);
	bool first = buf_len(&c->in) == 0;
	size_t room = c->in.max - buf_len(&c->in);
	ssize_t n = stream_read(c->stream, scratch, room < IO_SCRATCH ? room : IO_SCRATCH);
	if (n == -EAGAIN)
		return;
	if (n <= 0 || buf_append(&c->in, scratch, (size_t)n) < 0)
		return connection_free(c);
	stream_want(c->stream, STREAM_READ);
	if (first) {
		io_timer_start(c->deadline, HTTP_REQUEST_MS, 0);
		connection_move(c, &c->web->arriving);
	}
	/* A head is looked at only when a line of it is complete, so that one that comes byte by byte costs little. */
	if (c->wanted || memchr(scratch, '\n', (size_t)n) || buf_len(&c->in) >= H1_HEAD_MAX)
		request_look(c);
}

static void on_writable(void *ctx)
{
	answer_send(ctx);
}

static void on_failed(void *ctx, int err)
{
	(void)err;
	connection_free(ctx);
}

static void on_ready(void *ctx)
{
	struct http_connection *c = ctx;
	c->state = READING;
	io_timer_start(c->deadline, HTTP_REQUEST_MS, 0);
	stream_want(c->stream, STREAM_READ);
}

static void on_deadline(void *ctx)
{
	struct http_connection *c = ctx;
	if (c->state == READING && buf_len(&c->in))
		return request_refuse(c, NULL, 0, -E_TIMEOUT);
	if (c->state == READING)
		return connection_linger(c);
	if (c->state != WORKING)
		return connection_free(c);
	struct http_exchange *late = c->exchange;
	c->exchange = NULL;
	late->connection = NULL;
	request_refuse(c, NULL, 0, -E_BUSY);
}

void http_accept(struct web *web, int fd)
{
	static const struct stream_events events = { on_ready, on_readable, on_writable, on_failed };
	const struct stream_settings settings = { .fd = fd, .tls = web->tls };
	struct source *source = NULL;
	int err = connection_room(web);
	if (err == 0)
		err = sources_take(web->sources, fd, &source);
	struct http_connection *c = err == 0 ? mem_alloc(sizeof *c) : NULL;
	if (!c) {
		if (err == -E_LIMIT)
			log_limited(LOG_WARNING, "a connection was closed: its address has too many");
		sources_release(web->sources, source);
		fd_close(fd);
		return;
	}
	c->web = web;
	c->source = source;
	list_append(&web->arriving, &c->node);
	web->n_connections++;
	buf_init(&c->in, H1_HEAD_MAX + HTTP_BODY_MAX);
	buf_init(&c->out, HTTP_ANSWER_MAX + H1_HEAD_MAX);
	io_task_init(&c->again, on_again, c);
	c->deadline = io_timer_new(web->loop, on_deadline, c);
	c->stream = stream_new(web->loop, &settings, &events, c);
	if (!c->deadline || !c->stream)
		connection_free(c);
}

static void list_free_all(struct list *list)
{
	LIST_EACH(at, list)
		connection_free(LIST_ENTRY(at, struct http_connection, node));
}

void http_free_all(struct web *web)
{
	list_free_all(&web->arriving);
	list_free_all(&web->idle);
	list_free_all(&web->busy);
}
