#include "tunnel/connect.h"

#include <errno.h>

#include "base/err.h"
#include "base/mem.h"
#include "h1/h1.h"
#include "io/io.h"
#include "stream/stream.h"
#include "tunnel/grant.h"

#define ANSWER_MS 40000
#define FIRST_MAX ((size_t)64 << 10)

struct connect {
	struct stream *stream;
	struct io_timer *deadline;
	struct buf answer;
	struct connect_answer *said; /* or NULL */
	connect_opened opened;
	void *ctx;
};

static int grant_field(struct buf *head, const murmesh_SignedDocument *grant)
{
	char text[GRANT_TEXT_SIZE];
	int err = grant_text_write(grant, text);
	return err < 0 ? err : h1_write_field(head, STR("murmesh-grant"), str_from(text));
}

int connect_head_write(struct buf *head, const murmesh_SignedDocument *grant, struct str host, uint16_t port)
{
	int err = h1_write_connect(head, host.len ? host : STR("localhost"), port);
	return err < 0 ? err : grant_field(head, grant);
}

struct connect *connect_free(struct connect *connect)
{
	if (!connect)
		return NULL;
	stream_free(connect->stream);
	io_timer_free(connect->deadline);
	buf_done(&connect->answer);
	return mem_free(connect);
}

static void finish(struct connect *connect, int err, const char *details)
{
	struct stream *stream = err < 0 ? NULL : connect->stream;
	connect_opened opened = connect->opened;
	void *ctx = connect->ctx;
	char text[H1_DETAILS_MAX + 1];
	str_copy(str_from(details), text, sizeof text);
	if (stream) {
		stream_want(stream, 0);
		connect->stream = NULL;
	}
	connect_free(connect);
	opened(ctx, stream, err, text);
}

static void said(struct connect *connect, const struct h1_response *response)
{
	struct str field;
	if (!connect->said)
		return;
	*connect->said = (struct connect_answer){ .came = true };
	if (h1_field_once(&response->fields, "murmesh-once", &field) == 0)
		id_parse(field, &connect->said->once);
}

static void on_answer(struct connect *connect)
{
	struct h1_response response;
	struct h1_proxy_status status;
	struct str field;
	size_t head_len;
	int err = h1_response_parse(buf_str(&connect->answer), &response, &head_len);
	if (err == -EAGAIN)
		return;
	if (err < 0)
		return finish(connect, err, "");
	said(connect, &response);
	if (response.status == 200 && head_len == buf_len(&connect->answer))
		return finish(connect, 0, "");
	if (h1_field_once(&response.fields, "proxy-status", &field) == 0 && h1_proxy_status_parse(field, &status) == 0)
		return finish(connect, -status.err, status.details);
	finish(connect, -E_PROTOCOL, "");
}

/* Byte by byte to the end of the head: what follows belongs to the tunnel and stays in the stream. */
static void on_readable(void *ctx)
{
	struct connect *connect = ctx;
	uint8_t byte;
	ssize_t n;
	while ((n = stream_read(connect->stream, &byte, 1)) == 1) {
		if (buf_append_u8(&connect->answer, byte) < 0)
			return finish(connect, -E_HTTP_HEAD, "");
		if (byte == '\n' && buf_len(&connect->answer) >= 4 &&
		    memcmp(buf_head(&connect->answer) + buf_len(&connect->answer) - 4, "\r\n\r\n", 4) == 0)
			return on_answer(connect);
	}
	if (n != -EAGAIN)
		finish(connect, n == 0 ? -E_CLOSED : (int)n, "");
}

static void on_failed(void *ctx, int err)
{
	finish(ctx, err, "");
}

static void on_deadline(void *ctx)
{
	finish(ctx, -E_TARGET_TIMEOUT, "");
}

static int id_field(struct buf *head, struct str name, const struct id *id)
{
	char text[ID_TEXT_SIZE];
	if (!id)
		return 0;
	id_format(id, text);
	return h1_write_field(head, name, str_from(text));
}

static int head_write(struct buf *head, const struct connect_request *request)
{
	int err = buf_append_str(head, request->head);
	if (err == 0)
		err = id_field(head, STR("murmesh-open-id"), request->open_id);
	if (err == 0)
		err = id_field(head, STR("murmesh-open-again"), request->again);
	if (err == 0)
		err = h1_write_end(head);
	return err < 0 ? err : buf_append_str(head, request->first);
}

/* A leg that has sent nothing yet takes it whole. */
static int head_send(struct connect *connect, const struct connect_request *request)
{
	struct buf head;
	buf_init(&head, CONNECT_HEAD_MAX + FIRST_MAX);
	int err = head_write(&head, request);
	ssize_t n = err < 0 ? err : stream_write(connect->stream, buf_head(&head), buf_len(&head));
	err = n == (ssize_t)buf_len(&head) ? 0 : n < 0 ? (int)n : -E_CLOSED;
	buf_done(&head);
	return err;
}

int connect_new(struct io_loop *loop, struct stream *stream, const struct connect_request *request, connect_opened opened,
                void *ctx, struct connect **ret)
{
	static const struct stream_events events = { NULL, on_readable, NULL, on_failed };
	struct connect *connect = mem_alloc(sizeof *connect);
	if (!connect) {
		stream_free(stream);
		return -E_NO_MEMORY;
	}
	*connect = (struct connect){ .stream = stream, .said = request->answer, .opened = opened, .ctx = ctx };
	buf_init(&connect->answer, H1_HEAD_MAX);
	stream_set_events(stream, &events, connect);
	connect->deadline = io_timer_new(loop, on_deadline, connect);
	int err = connect->deadline ? head_send(connect, request) : -E_NO_MEMORY;
	if (err < 0) {
		connect_free(connect);
		return err;
	}
	io_timer_start(connect->deadline, ANSWER_MS, 0);
	stream_want(stream, STREAM_READ);
	*ret = connect;
	return 0;
}

size_t connect_send(struct connect *connect, struct str bytes)
{
	ssize_t n = bytes.len ? stream_write(connect->stream, bytes.ptr, bytes.len) : 0;
	return n < 0 ? 0 : (size_t)n; /* why not is heard by reading */
}
