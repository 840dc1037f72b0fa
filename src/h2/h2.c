#include "h2/h2.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>

#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"
#include "h2/lend.h"

/* One header block while it arrives: texts one after the other, lengths beside. */
struct receiving {
	int32_t id;
	size_t n, used;
	struct {
		uint16_t name_len, value_len;
	} fields[H2_FIELDS_MAX];
	char text[H2_HEAD_MAX];
};

struct h2_session {
	nghttp2_session *ng;
	const struct h2_session_events *events;
	void *ctx;
	struct receiving *receiving; /* only while a block arrives */
	struct list streams;
	struct buf early; /* the client's preface, taken out of the lent buffer at once */
	size_t queue_max, budget;
	size_t n_streams, queued; /* queued: bytes of all of them */
	int error;
	bool server, goaway, starved, drained;
};

struct h2_stream {
	struct list node;
	struct h2_session *session;
	const struct h2_stream_events *events;
	void *ctx;
	struct buf queue;
	nghttp2_nv *trailers; /* one allocation with its texts */
	size_t n_trailers, unconsumed;
	int32_t id;
	bool end_queued, deferred, starved, over_half, drained;
};

struct str h2_head_get(const struct h2_head *head, const char *name)
{
	for (size_t i = 0; i < head->n; i++)
		if (str_is(head->fields[i].name, name))
			return head->fields[i].value;
	return (struct str){ NULL, 0 };
}

int h2_head_add(struct h2_head *head, struct str name, struct str value)
{
	if (head->n == H2_FIELDS_MAX)
		return -E_FULL;
	head->fields[head->n++] = (struct h2_field){ name, value };
	return 0;
}

static void wants_pull(struct h2_session *session)
{
	session->events->wants_pull(session->ctx);
}

/* For calls whose result the caller does not hear of: a session that ran out of memory inside nghttp2 is not used again. */
static void keep_error(struct h2_session *session, int rv)
{
	if (rv == NGHTTP2_ERR_NOMEM)
		session->error = -E_NO_MEMORY;
}

/* A longer block would not fit into the lent buffer. */
static int head_check(const struct h2_head *head)
{
	size_t size = 0;
	for (size_t i = 0; i < head->n; i++) {
		if (head->fields[i].name.len > H2_HEAD_MAX - size ||
		    head->fields[i].value.len > H2_HEAD_MAX - size - head->fields[i].name.len)
			return -E_TOO_LONG;
		size += head->fields[i].name.len + head->fields[i].value.len;
	}
	return 0;
}

static void head_to_nv(const struct h2_head *head, nghttp2_nv *nv)
{
	for (size_t i = 0; i < head->n; i++)
		nv[i] = (nghttp2_nv){ (uint8_t *)(uintptr_t)head->fields[i].name.ptr,
			              (uint8_t *)(uintptr_t)head->fields[i].value.ptr, head->fields[i].name.len,
			              head->fields[i].value.len, NGHTTP2_NV_FLAG_NONE };
}

static struct h2_stream *stream_new(struct h2_session *session, const struct h2_stream_events *events, void *ctx)
{
	struct h2_stream *stream = mem_alloc(sizeof *stream);
	if (!stream)
		return NULL;
	stream->session = session;
	stream->events = events;
	stream->ctx = ctx;
	buf_init(&stream->queue, session->queue_max);
	list_append(&session->streams, &stream->node);
	session->n_streams++;
	return stream;
}

static void queue_drop(struct h2_stream *stream)
{
	stream->session->queued -= buf_len(&stream->queue);
	buf_done(&stream->queue);
}

static void stream_done(struct h2_stream *stream, uint32_t error)
{
	const struct h2_stream_events *events = stream->events;
	list_remove(&stream->node);
	stream->session->n_streams--;
	queue_drop(stream);
	stream->session = NULL;
	if (events && events->closed)
		events->closed(stream->ctx, error);
	mem_free(stream->trailers);
	mem_free(stream);
}

/* ---- what nghttp2 asks for ---- */

static ssize_t on_read_queue(nghttp2_session *ng, int32_t id, uint8_t *out, size_t size, uint32_t *flags,
                             nghttp2_data_source *source, void *ctx)
{
	struct h2_stream *stream = source->ptr;
	struct h2_session *session = ctx;
	size_t len = buf_len(&stream->queue);
	if (len && !session->budget) {
		stream->deferred = stream->starved = session->starved = true;
		return NGHTTP2_ERR_DEFERRED;
	}
	if (!len && !stream->end_queued) {
		stream->deferred = true;
		return NGHTTP2_ERR_DEFERRED;
	}
	if (len > size)
		len = size;
	if (len)
		memcpy(out, buf_head(&stream->queue), len);
	buf_consume(&stream->queue, len);
	session->queued -= len;
	session->budget -= len < session->budget ? len : session->budget;
	if (buf_len(&stream->queue) == 0) {
		buf_trim(&stream->queue);
		if (stream->end_queued) {
			*flags |= NGHTTP2_DATA_FLAG_EOF;
			if (stream->trailers) {
				*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
				if (nghttp2_submit_trailer(ng, id, stream->trailers, stream->n_trailers) < 0)
					return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
			}
		}
	}
	if (stream->over_half && buf_len(&stream->queue) < stream->queue.max / 2) {
		stream->over_half = false;
		stream->drained = session->drained = true;
	}
	return (ssize_t)len;
}

static int on_begin_headers(nghttp2_session *ng, const nghttp2_frame *frame, void *ctx)
{
	struct h2_session *session = ctx;
	(void)ng;
	mem_free(session->receiving);
	session->receiving = mem_alloc(sizeof *session->receiving);
	if (!session->receiving)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	session->receiving->id = frame->hd.stream_id;
	return 0;
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name, size_t name_len, const uint8_t *value,
                     size_t value_len, uint8_t flags, void *ctx)
{
	struct receiving *head = ((struct h2_session *)ctx)->receiving;
	(void)ng;
	(void)frame;
	(void)flags;
	if (!head || head->n == H2_FIELDS_MAX || name_len > H2_HEAD_MAX - head->used ||
	    value_len > H2_HEAD_MAX - head->used - name_len)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	memcpy(head->text + head->used, name, name_len);
	memcpy(head->text + head->used + name_len, value, value_len);
	head->fields[head->n].name_len = (uint16_t)name_len;
	head->fields[head->n++].value_len = (uint16_t)value_len;
	head->used += name_len + value_len;
	return 0;
}

static void head_from(const struct receiving *from, struct h2_head *head)
{
	const char *at = from->text;
	head->n = from->n;
	for (size_t i = 0; i < from->n; i++) {
		head->fields[i].name = (struct str){ at, from->fields[i].name_len };
		at += from->fields[i].name_len;
		head->fields[i].value = (struct str){ at, from->fields[i].value_len };
		at += from->fields[i].value_len;
	}
}

static void request_came(struct h2_session *session, int32_t id, const struct h2_head *head)
{
	struct h2_stream *stream = stream_new(session, NULL, NULL);
	if (!stream) {
		keep_error(session, nghttp2_submit_rst_stream(session->ng, NGHTTP2_FLAG_NONE, id, H2_REFUSED_STREAM));
		return;
	}
	stream->id = id;
	nghttp2_session_set_stream_user_data(session->ng, id, stream);
	int err = session->events->request(session->ctx, stream, head);
	if (err < 0)
		h2_stream_reset(stream, err == -E_NO_MEMORY ? H2_REFUSED_STREAM : H2_PROTOCOL_ERROR);
}

static void head_came(struct h2_session *session, const nghttp2_frame *frame)
{
	struct h2_stream *stream = nghttp2_session_get_stream_user_data(session->ng, frame->hd.stream_id);
	struct h2_head head;
	head_from(session->receiving, &head);
	if (frame->headers.cat == NGHTTP2_HCAT_REQUEST)
		return request_came(session, frame->hd.stream_id, &head);
	if (!stream || !stream->events)
		return;
	/* A response may come behind informational ones (1xx), which are no answer yet. */
	struct str status = h2_head_get(&head, ":status");
	if (!status.ptr && stream->events->trailers)
		stream->events->trailers(stream->ctx, &head);
	else if (status.len == 3 && status.ptr[0] != '1' && stream->events->response)
		stream->events->response(stream->ctx, &head);
}

static bool ends_stream(const nghttp2_frame *frame)
{
	return (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) && frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
}

static int on_frame(nghttp2_session *ng, const nghttp2_frame *frame, void *ctx)
{
	struct h2_session *session = ctx;
	if (frame->hd.type == NGHTTP2_HEADERS && session->receiving) {
		head_came(session, frame);
		session->receiving = mem_free(session->receiving);
	}
	if (frame->hd.type == NGHTTP2_PING && frame->hd.flags & NGHTTP2_FLAG_ACK && session->events->pong)
		session->events->pong(session->ctx);
	if (frame->hd.type == NGHTTP2_SETTINGS && !(frame->hd.flags & NGHTTP2_FLAG_ACK) && session->events->settings)
		session->events->settings(session->ctx);
	if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR)
		session->error = -E_PROTOCOL;
	if (ends_stream(frame)) {
		struct h2_stream *stream = nghttp2_session_get_stream_user_data(ng, frame->hd.stream_id);
		if (stream && stream->events && stream->events->end)
			stream->events->end(stream->ctx);
	}
	return 0;
}

static int on_frame_sent(nghttp2_session *ng, const nghttp2_frame *frame, void *ctx)
{
	struct h2_session *session = ctx;
	if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR)
		session->error = -E_PROTOCOL;
	if (ends_stream(frame)) {
		struct h2_stream *stream = nghttp2_session_get_stream_user_data(ng, frame->hd.stream_id);
		if (stream && stream->events && stream->events->sent)
			stream->events->sent(stream->ctx);
	}
	return 0;
}

static int on_data(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *bytes, size_t len, void *ctx)
{
	struct h2_stream *stream = nghttp2_session_get_stream_user_data(ng, id);
	struct h2_session *session = ctx;
	(void)flags;
	/* The connection's window is given back at once: a stream whose owner waits must not stop the others. */
	keep_error(session, nghttp2_session_consume_connection(ng, len));
	if (!stream || !stream->events || !stream->events->data)
		keep_error(session, nghttp2_session_consume_stream(ng, id, len));
	else {
		stream->unconsumed += len;
		stream->events->data(stream->ctx, bytes, len);
	}
	return 0;
}

static int on_close(nghttp2_session *ng, int32_t id, uint32_t error, void *ctx)
{
	struct h2_stream *stream = nghttp2_session_get_stream_user_data(ng, id);
	struct h2_session *session = ctx;
	if (session->receiving && session->receiving->id == id)
		session->receiving = mem_free(session->receiving);
	if (stream)
		stream_done(stream, error);
	return 0;
}

static int callbacks_new(nghttp2_session_callbacks **ret)
{
	if (nghttp2_session_callbacks_new(ret) < 0)
		return -E_NO_MEMORY;
	nghttp2_session_callbacks_set_on_begin_headers_callback(*ret, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(*ret, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(*ret, on_frame);
	nghttp2_session_callbacks_set_on_frame_send_callback(*ret, on_frame_sent);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(*ret, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(*ret, on_close);
	return 0;
}

/* ---- session ---- */

static int submit_settings(struct h2_session *session, const struct h2_settings *settings)
{
	nghttp2_settings_entry entries[] = {
		{ NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, 0 },
		{ NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, settings->max_streams },
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, settings->stream_window },
		{ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, H2_HEAD_MAX },
		settings->server ? (nghttp2_settings_entry){ NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1 }
		                 : (nghttp2_settings_entry){ NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
	};
	size_t n = sizeof entries / sizeof *entries - (settings->server && !settings->connects ? 1 : 0);
	if (nghttp2_submit_settings(session->ng, NGHTTP2_FLAG_NONE, entries, n) < 0 ||
	    nghttp2_session_set_local_window_size(session->ng, NGHTTP2_FLAG_NONE, 0, (int32_t)settings->connection_window) < 0)
		return -E_NO_MEMORY;
	return 0;
}

int h2_allow(struct h2_session *session, uint32_t max_streams)
{
	nghttp2_settings_entry entry = { NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, max_streams };
	if (nghttp2_submit_settings(session->ng, NGHTTP2_FLAG_NONE, &entry, 1) < 0)
		return -E_NO_MEMORY;
	wants_pull(session);
	return 0;
}

static int session_create(struct h2_session *session, const struct h2_settings *settings)
{
	nghttp2_session_callbacks *callbacks = NULL;
	nghttp2_option *option = NULL;
	int err = callbacks_new(&callbacks);
	if (err == 0 && nghttp2_option_new(&option) < 0)
		err = -E_NO_MEMORY;
	if (err == 0) {
		nghttp2_option_set_no_auto_window_update(option, 1);
		nghttp2_option_set_no_closed_streams(option, 1);
		nghttp2_option_set_max_send_header_block_length(option, 16384);
		nghttp2_option_set_max_deflate_dynamic_table_size(option, 0);
		if (settings->trusted)
			nghttp2_option_set_stream_reset_rate_limit(option, UINT64_MAX, 0);
		lend_begin();
		int ng = (settings->server ? nghttp2_session_server_new3
		                           : nghttp2_session_client_new3)(&session->ng, callbacks, session, option, lend_memory());
		lend_end();
		err = ng < 0 ? -E_NO_MEMORY : 0;
	}
	nghttp2_option_del(option);
	nghttp2_session_callbacks_del(callbacks);
	return err;
}

struct h2_session *h2_session_new(const struct h2_settings *settings, const struct h2_session_events *events, void *ctx)
{
	struct h2_session *session = mem_alloc(sizeof *session);
	if (!session)
		return NULL;
	list_init(&session->streams);
	session->events = events;
	session->ctx = ctx;
	session->server = settings->server;
	session->queue_max = settings->queue_max;
	buf_init(&session->early, 256);
	if (session_create(session, settings) < 0 || submit_settings(session, settings) < 0 ||
	    (!settings->server && h2_pull(session, 0, &session->early) < 0))
		return h2_session_free(session);
	return session;
}

struct h2_session *h2_session_free(struct h2_session *session)
{
	if (!session)
		return NULL;
	while (!list_empty(&session->streams))
		stream_done(LIST_ENTRY(session->streams.next, struct h2_stream, node), H2_CANCEL);
	if (session->ng)
		nghttp2_session_del(session->ng);
	mem_free(session->receiving);
	buf_done(&session->early);
	return mem_free(session);
}

int h2_receive(struct h2_session *session, const uint8_t *bytes, size_t len)
{
	ssize_t n = nghttp2_session_mem_recv(session->ng, bytes, len);
	if (n < 0 || (size_t)n != len)
		return n == NGHTTP2_ERR_NOMEM ? -E_NO_MEMORY : -E_PROTOCOL;
	if (h2_wants_pull(session) || h2_finished(session))
		wants_pull(session);
	return 0;
}

static void resume_starved(struct h2_session *session)
{
	session->starved = false;
	LIST_EACH(at, &session->streams) {
		struct h2_stream *stream = LIST_ENTRY(at, struct h2_stream, node);
		if (stream->starved) {
			stream->starved = stream->deferred = false;
			keep_error(session, nghttp2_session_resume_data(session->ng, stream->id));
		}
	}
}

/* Not inside nghttp2's callbacks: an owner may open another session there, whose preface would go through the lent buffer. */
static void tell_drained(struct h2_session *session)
{
	session->drained = false;
	LIST_EACH(at, &session->streams) {
		struct h2_stream *stream = LIST_ENTRY(at, struct h2_stream, node);
		bool drained = stream->drained && !stream->end_queued;
		stream->drained = false;
		if (drained && stream->events && stream->events->drained)
			stream->events->drained(stream->ctx);
	}
}

/* Only now, so that it names the last of all requests that were heard. */
static void submit_goaway(struct h2_session *session)
{
	session->goaway = false;
	keep_error(session, nghttp2_submit_goaway(session->ng, NGHTTP2_FLAG_NONE,
	                                          nghttp2_session_get_last_proc_stream_id(session->ng), NGHTTP2_NO_ERROR, NULL, 0));
}

int h2_pull(struct h2_session *session, size_t budget, struct buf *out)
{
	int err = 0;
	if (out != &session->early && buf_len(&session->early)) {
		err = buf_append_str(out, buf_str(&session->early));
		buf_done(&session->early);
	}
	session->budget = budget;
	if (session->starved && budget)
		resume_starved(session);
	if (session->goaway)
		submit_goaway(session);
	if (session->error == -E_NO_MEMORY)
		return session->error;
	const uint8_t *bytes;
	ssize_t n;
	while ((n = nghttp2_session_mem_send(session->ng, &bytes)) > 0) /* until 0, whatever happens: the frame buffer is lent */
		if (err == 0)
			err = buf_append(out, bytes, (size_t)n);
	if (n < 0)
		return n == NGHTTP2_ERR_NOMEM ? -E_NO_MEMORY : -E_PROTOCOL;
	if (session->drained)
		tell_drained(session);
	return err;
}

bool h2_wants_pull(const struct h2_session *session)
{
	return session->starved || session->goaway || buf_len(&session->early) || session->error == -E_NO_MEMORY ||
	       nghttp2_session_want_write(session->ng);
}

bool h2_finished(const struct h2_session *session)
{
	return !nghttp2_session_want_read(session->ng) && !nghttp2_session_want_write(session->ng);
}

int h2_error(const struct h2_session *session)
{
	return session->error;
}

int h2_ping(struct h2_session *session)
{
	if (nghttp2_submit_ping(session->ng, NGHTTP2_FLAG_NONE, NULL) < 0)
		return -E_NO_MEMORY;
	wants_pull(session);
	return 0;
}

void h2_goaway(struct h2_session *session)
{
	session->goaway = true;
	wants_pull(session);
}

/* ---- streams ---- */

struct h2_stream *h2_request(struct h2_session *session, const struct h2_head *head, const struct h2_stream_events *events,
                             void *ctx)
{
	nghttp2_nv nv[H2_FIELDS_MAX];
	if (head_check(head) < 0 || !nghttp2_session_check_request_allowed(session->ng))
		return NULL;
	struct h2_stream *stream = stream_new(session, events, ctx);
	if (!stream)
		return NULL;
	head_to_nv(head, nv);
	nghttp2_data_provider provider = { { .ptr = stream }, on_read_queue };
	int32_t id = nghttp2_submit_request(session->ng, NULL, nv, head->n, &provider, stream);
	if (id < 0) {
		list_remove(&stream->node);
		return mem_free(stream);
	}
	stream->id = id;
	wants_pull(session);
	return stream;
}

void h2_stream_set_events(struct h2_stream *stream, const struct h2_stream_events *events, void *ctx)
{
	stream->events = events;
	stream->ctx = ctx;
}

int h2_stream_respond(struct h2_stream *stream, const struct h2_head *head, bool last)
{
	nghttp2_nv nv[H2_FIELDS_MAX];
	nghttp2_data_provider provider = { { .ptr = stream }, on_read_queue };
	int err = head_check(head);
	if (err < 0)
		return err;
	head_to_nv(head, nv);
	if (nghttp2_submit_response(stream->session->ng, stream->id, nv, head->n, last ? NULL : &provider) < 0)
		return -E_NO_MEMORY;
	wants_pull(stream->session);
	return 0;
}

static void resume(struct h2_stream *stream)
{
	if (stream->deferred && !stream->starved) {
		stream->deferred = false;
		keep_error(stream->session, nghttp2_session_resume_data(stream->session->ng, stream->id));
	}
	wants_pull(stream->session);
}

int h2_stream_send2(struct h2_stream *stream, const void *a, size_t a_len, const void *b, size_t b_len)
{
	uint8_t *room;
	if (stream->end_queued)
		return -E_CLOSED;
	if (a_len > h2_stream_room(stream) || b_len > h2_stream_room(stream) - a_len)
		return -E_FULL;
	int err = buf_reserve(&stream->queue, a_len + b_len, &room);
	if (err < 0)
		return err;
	if (a_len)
		memcpy(room, a, a_len);
	if (b_len)
		memcpy(room + a_len, b, b_len);
	buf_commit(&stream->queue, a_len + b_len);
	stream->session->queued += a_len + b_len;
	if (buf_len(&stream->queue) >= stream->queue.max / 2)
		stream->over_half = true;
	resume(stream);
	return 0;
}

bool h2_connects(const struct h2_session *session)
{
	return nghttp2_session_get_remote_settings(session->ng, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL) == 1;
}

size_t h2_queued(const struct h2_session *session)
{
	return session->queued;
}

bool h2_has_room(const struct h2_session *session)
{
	return session->n_streams < nghttp2_session_get_remote_settings(session->ng, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
}

int h2_stream_send(struct h2_stream *stream, const void *bytes, size_t len)
{
	return h2_stream_send2(stream, bytes, len, NULL, 0);
}

size_t h2_stream_room(const struct h2_stream *stream)
{
	return stream->queue.max - buf_len(&stream->queue);
}

void h2_stream_limit(struct h2_stream *stream, size_t queue_max)
{
	stream->queue.max = queue_max;
}

static int keep_trailers(struct h2_stream *stream, const struct h2_head *head)
{
	size_t size = head->n * sizeof(nghttp2_nv);
	int err = head_check(head);
	if (err < 0)
		return err;
	for (size_t i = 0; i < head->n; i++)
		size += head->fields[i].name.len + head->fields[i].value.len;
	stream->trailers = mem_alloc(size);
	if (!stream->trailers)
		return -E_NO_MEMORY;
	head_to_nv(head, stream->trailers);
	uint8_t *text = (uint8_t *)(stream->trailers + head->n);
	for (size_t i = 0; i < head->n; i++) {
		nghttp2_nv *nv = &stream->trailers[i];
		memcpy(text, nv->name, nv->namelen);
		memcpy(text + nv->namelen, nv->value, nv->valuelen);
		nv->name = text;
		nv->value = text + nv->namelen;
		text += nv->namelen + nv->valuelen;
	}
	stream->n_trailers = head->n;
	return 0;
}

int h2_stream_end(struct h2_stream *stream, const struct h2_head *trailers)
{
	int err = stream->end_queued ? -E_CLOSED : trailers ? keep_trailers(stream, trailers) : 0;
	if (err < 0)
		return err;
	stream->end_queued = true;
	resume(stream);
	return 0;
}

void h2_stream_consume(struct h2_stream *stream, size_t len)
{
	struct h2_session *session = stream->session;
	if (!session || len > stream->unconsumed)
		return;
	stream->unconsumed -= len;
	keep_error(session, nghttp2_session_consume_stream(session->ng, stream->id, len));
	if (h2_wants_pull(session))
		wants_pull(session);
}

void h2_stream_reset(struct h2_stream *stream, uint32_t error)
{
	if (error == H2_CANCEL) { /* the peer may let nothing out for ever, not even this */
		queue_drop(stream);
		stream->end_queued = false;
	}
	keep_error(stream->session, nghttp2_submit_rst_stream(stream->session->ng, NGHTTP2_FLAG_NONE, stream->id, error));
	wants_pull(stream->session);
}

struct h2_session *h2_stream_session(const struct h2_stream *stream)
{
	return stream->session;
}
