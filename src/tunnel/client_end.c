#include "tunnel/client_end.h"

#include "base/err.h"
#include "base/mem.h"
#include "io/io.h"
#include "stream/stream.h"

#define HANDSHAKE_MS 30000

struct client_end {
	struct io_loop *loop;
	struct stream *stream;   /* until it is open */
	struct connect *connect; /* from then on */
	struct buf head;
	client_end_opened opened;
	void *ctx;
};

struct client_end *client_end_free(struct client_end *end)
{
	if (!end)
		return NULL;
	stream_free(end->stream);
	connect_free(end->connect);
	buf_done(&end->head);
	return mem_free(end);
}

static void finish(struct client_end *end, struct stream *stream, int err, const char *details)
{
	client_end_opened opened = end->opened;
	void *ctx = end->ctx;
	client_end_free(end);
	opened(ctx, stream, err, details);
}

static void on_connected(void *ctx, struct stream *stream, int err, const char *details)
{
	struct client_end *end = ctx;
	end->connect = NULL;
	finish(end, stream, err, details);
}

static void on_failed(void *ctx, int err)
{
	finish(ctx, NULL, err, "");
}

static void on_ready(void *ctx)
{
	struct client_end *end = ctx;
	struct stream *stream = end->stream;
	const struct connect_request request = { .head = buf_str(&end->head) };
	end->stream = NULL;
	if (!request.head.len)
		return finish(end, stream, 0, "");
	int err = connect_new(end->loop, stream, &request, on_connected, end, &end->connect);
	if (err < 0)
		finish(end, NULL, err, "");
}

struct client_end *client_end_new(struct io_loop *loop, const struct client_end_request *request, client_end_opened opened,
                                  void *ctx)
{
	static const struct stream_events events = { on_ready, NULL, NULL, on_failed };
	struct client_end *end = mem_alloc(sizeof *end);
	if (!end)
		return NULL;
	*end = (struct client_end){ .loop = loop, .opened = opened, .ctx = ctx };
	buf_init(&end->head, CONNECT_HEAD_MAX);
	struct stream_settings settings = { .connecting = true,
		                            .tls = request->tls,
		                            .expect = &request->device,
		                            .preamble = request->preamble,
		                            .handshake_ms = HANDSHAKE_MS };
	if (!request->bare && connect_head_write(&end->head, request->grant, request->host, request->port) < 0)
		return client_end_free(end);
	settings.fd = socket_connect(&request->relay);
	end->stream = settings.fd < 0 ? NULL : stream_new(loop, &settings, &events, end);
	return end->stream ? end : client_end_free(end);
}
