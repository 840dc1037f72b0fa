#include "tunnel/client_end.h"

#include <errno.h>
#include <pb_encode.h>

#include "base/buf.h"
#include "base/encode.h"
#include "base/err.h"
#include "base/mem.h"
#include "h1/h1.h"
#include "io/io.h"
#include "stream/stream.h"

#define ANSWER_MS 40000
#define GRANT_MAX 6000

struct client_end {
	struct io_loop *loop;
	struct stream *stream;
	struct io_timer *deadline;
	struct buf connect; /* the head to send */
	struct buf answer;
	client_end_opened opened;
	void *ctx;
};

struct client_end *client_end_free(struct client_end *end)
{
	if (!end)
		return NULL;
	stream_free(end->stream);
	io_timer_free(end->deadline);
	buf_done(&end->connect);
	buf_done(&end->answer);
	return mem_free(end);
}

static void finish(struct client_end *end, int err, const char *details)
{
	struct stream *stream = err < 0 ? NULL : end->stream;
	client_end_opened opened = end->opened;
	void *ctx = end->ctx;
	char text[H1_DETAILS_MAX + 1];
	str_copy(str_from(details), text, sizeof text);
	if (stream) {
		stream_want(stream, 0);
		end->stream = NULL;
	}
	client_end_free(end);
	opened(ctx, stream, err, text);
}

static int grant_field(struct buf *head, const murmesh_SignedDocument *grant)
{
	static uint8_t bytes[GRANT_MAX];
	char text[BASE64URL_SIZE(GRANT_MAX)];
	pb_ostream_t out = pb_ostream_from_buffer(bytes, sizeof bytes);
	if (!pb_encode(&out, murmesh_SignedDocument_fields, grant))
		return -E_TOO_LONG;
	base64url_encode(bytes, out.bytes_written, text);
	return h1_write_field(head, STR("murmesh-grant"), str_from(text));
}

static int connect_make(struct client_end *end, const struct client_end_request *request)
{
	int err = h1_write_connect(&end->connect, request->host.len ? request->host : STR("localhost"), request->port);
	if (err == 0)
		err = grant_field(&end->connect, request->grant);
	return err < 0 ? err : h1_write_end(&end->connect);
}

static void on_failed(void *ctx, int err)
{
	finish(ctx, err, "");
}

static void on_ready(void *ctx)
{
	struct client_end *end = ctx;
	if (!buf_len(&end->connect))
		return finish(end, 0, "");
	ssize_t n = stream_write(end->stream, buf_head(&end->connect), buf_len(&end->connect));
	if (n != (ssize_t)buf_len(&end->connect))
		return finish(end, n < 0 ? (int)n : -E_CLOSED, "");
	stream_want(end->stream, STREAM_READ);
}

static void on_answer(struct client_end *end)
{
	struct h1_response response;
	struct h1_proxy_status status;
	struct str field;
	size_t head_len;
	int err = h1_response_parse(buf_str(&end->answer), &response, &head_len);
	if (err == -EAGAIN)
		return;
	if (err < 0)
		return finish(end, err, "");
	if (response.status == 200 && head_len == buf_len(&end->answer))
		return finish(end, 0, "");
	if (h1_field_once(&response.fields, "proxy-status", &field) == 0 && h1_proxy_status_parse(field, &status) == 0)
		return finish(end, -status.err, status.details);
	finish(end, -E_PROTOCOL, "");
}

/* Byte by byte to the end of the head: what follows belongs to the tunnel and stays in the stream. */
static void on_readable(void *ctx)
{
	struct client_end *end = ctx;
	uint8_t byte;
	ssize_t n;
	while ((n = stream_read(end->stream, &byte, 1)) == 1) {
		if (buf_append_u8(&end->answer, byte) < 0)
			return finish(end, -E_HTTP_HEAD, "");
		if (byte == '\n' && buf_len(&end->answer) >= 4 &&
		    memcmp(buf_head(&end->answer) + buf_len(&end->answer) - 4, "\r\n\r\n", 4) == 0)
			return on_answer(end);
	}
	if (n != -EAGAIN)
		finish(end, n == 0 ? -E_CLOSED : (int)n, "");
}

static void on_deadline(void *ctx)
{
	finish(ctx, -E_TARGET_TIMEOUT, "");
}

struct client_end *client_end_new(struct io_loop *loop, const struct client_end_request *request, client_end_opened opened,
                                  void *ctx)
{
	static const struct stream_events events = { on_ready, on_readable, NULL, on_failed };
	struct client_end *end = mem_alloc(sizeof *end);
	if (!end)
		return NULL;
	*end = (struct client_end){ .loop = loop, .opened = opened, .ctx = ctx };
	buf_init(&end->connect, H1_HEAD_MAX);
	buf_init(&end->answer, H1_HEAD_MAX);
	struct stream_settings settings = { .connecting = true,
		                            .tls = request->tls,
		                            .expect = &request->device,
		                            .preamble = request->preamble,
		                            .handshake_ms = 30000 };
	end->deadline = io_timer_new(loop, on_deadline, end);
	if (!end->deadline || (!request->rpc && connect_make(end, request) < 0))
		return client_end_free(end);
	settings.fd = socket_connect(&request->relay);
	end->stream = settings.fd < 0 ? NULL : stream_new(loop, &settings, &events, end);
	if (!end->stream)
		return client_end_free(end);
	io_timer_start(end->deadline, ANSWER_MS, 0);
	return end;
}
