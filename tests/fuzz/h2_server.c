/* Bytes into an HTTP/2 server that answers each request with what it hears.  The first byte says how the rest is cut. */
#include <assert.h>

#include "base/err.h"
#include "h2/h2.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct h2_stream *last; /* of the streams that are open: reset, sent to, from events of others */
static unsigned open_streams;

static void on_data(void *ctx, const uint8_t *bytes, size_t len)
{
	struct h2_stream *stream = ctx;
	if (len % 7)
		h2_stream_consume(stream, len);
	h2_stream_send2(stream, bytes, len / 2, bytes + len / 2, len - len / 2);
}

static void on_head(void *ctx, const struct h2_head *head)
{
	assert(ctx && head->n <= H2_FIELDS_MAX);
	if (h2_head_get(head, "reset").ptr && last)
		h2_stream_reset(last, H2_CANCEL);
}

static void on_end(void *ctx)
{
	struct h2_head trailers = { .n = 0 };
	h2_head_add(&trailers, STR("grpc-status"), STR("0"));
	h2_stream_end(ctx, &trailers);
}

static void on_nothing(void *ctx)
{
	assert(ctx);
}

static void on_closed(void *ctx, uint32_t error)
{
	(void)error;
	if (ctx == last)
		last = NULL;
	open_streams--;
}

static const struct h2_stream_events stream_events = { on_head, on_data, on_head, on_end, on_nothing, on_nothing, on_closed };

static int on_request(void *ctx, struct h2_stream *stream, const struct h2_head *head)
{
	struct h2_head response = { .n = 0 };
	(void)ctx;
	if (str_is(h2_head_get(head, ":path"), "/no"))
		return -E_PROTOCOL;
	last = stream;
	open_streams++;
	h2_stream_set_events(stream, &stream_events, stream);
	h2_head_add(&response, STR(":status"), STR("200"));
	return h2_stream_respond(stream, &response, str_is(h2_head_get(head, ":path"), "/last"));
}

static void on_wants_pull(void *ctx)
{
	assert(ctx);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct h2_settings settings = {
		.server = true, .max_streams = 10, .stream_window = 20000, .connection_window = 70000, .queue_max = 30000
	};
	static const struct h2_session_events events = { on_request, on_wants_pull, on_wants_pull };
	struct h2_session *session = h2_session_new(&settings, &events, &last);
	struct buf out;
	int err = 0;
	size_t step = size && data[0] ? data[0] * 16u : 1;
	buf_init(&out, 1 << 20);
	for (size_t at = 1; session && at < size && err == 0; at += step) {
		err = h2_receive(session, data + at, size - at < step ? size - at : step);
		int pulled = h2_pull(session, 5000, &out);
		assert(pulled == 0 || pulled == -E_PROTOCOL || pulled == -E_TOO_LONG);
		if (pulled < 0 || h2_finished(session))
			break;
		buf_clear(&out);
	}
	h2_session_free(session);
	buf_done(&out);
	assert(open_streams == 0 && !last);
	return 0;
}
