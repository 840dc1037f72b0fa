/* Peers that are none of ours: heads, messages and trailers said and heard without rpc. */
#include "h2/h2.h"
#include "os/socket.h"
#include "rpc/test_world.h"

struct wire {
	struct world *world;
	struct h2_session *session;
	struct h2_stream *stream;
	struct io_watch *watch;
	struct buf out, heads, data;
	struct h2_head answer, trailers; /* of a server */
	struct str answer_data;
	int fd;
	unsigned closed;
	uint32_t error;
	bool stalls;
};

static void wire_keep(void *ctx, const struct h2_head *head)
{
	struct wire *wire = ctx;
	for (size_t i = 0; i < head->n; i++)
		buf_printf(&wire->heads, "%.*s=%.*s;", STR_ARG(head->fields[i].name), STR_ARG(head->fields[i].value));
}

static void wire_data(void *ctx, const uint8_t *bytes, size_t len)
{
	struct wire *wire = ctx;
	buf_append(&wire->data, bytes, len);
	if (!wire->stalls)
		h2_stream_consume(wire->stream, len);
}

static void wire_closed(void *ctx, uint32_t error)
{
	struct wire *wire = ctx;
	wire->closed++;
	wire->error = error;
	wire->stream = NULL;
	world_check(wire->world);
}

static const struct h2_stream_events wire_stream_events = {
	.response = wire_keep, .data = wire_data, .trailers = wire_keep, .closed = wire_closed
};

static int wire_request(void *ctx, struct h2_stream *stream, const struct h2_head *head)
{
	struct wire *wire = ctx;
	wire->stream = stream;
	wire_keep(wire, head);
	h2_stream_set_events(stream, &wire_stream_events, wire);
	if (wire->answer.n)
		h2_stream_respond(stream, &wire->answer, !wire->trailers.n && !wire->answer_data.len);
	if (wire->answer_data.len)
		h2_stream_send(stream, wire->answer_data.ptr, wire->answer_data.len);
	if (wire->trailers.n || wire->answer_data.len)
		h2_stream_end(stream, wire->trailers.n ? &wire->trailers : NULL);
	return 0;
}

static void wire_flush(struct wire *wire)
{
	assert_int_equal(h2_pull(wire->session, 1 << 20, &wire->out), 0);
	assert_int_equal(fd_write(wire->fd, buf_head(&wire->out), buf_len(&wire->out)), buf_len(&wire->out));
	buf_done(&wire->out);
}

static void wire_wants_pull(void *ctx)
{
	(void)ctx;
}

static const struct h2_session_events wire_events = { wire_request, wire_wants_pull, NULL };

static void wire_readable(void *ctx, unsigned events)
{
	struct wire *wire = ctx;
	uint8_t bytes[65536];
	(void)events;
	ssize_t n = fd_read(wire->fd, bytes, sizeof bytes);
	if (n <= 0) {
		io_watch_set(wire->watch, 0);
		return;
	}
	assert_int_equal(h2_receive(wire->session, bytes, (size_t)n), 0);
	wire_flush(wire);
}

static void wire_open(struct wire *wire, struct world *world, bool server)
{
	const struct h2_settings settings = {
		.server = server, .max_streams = 10, .stream_window = 65535, .connection_window = 65535, .queue_max = 1 << 20
	};
	static const struct rpc_connection_settings ours = { .server = true }, client;
	int pair[2];
	*wire = (struct wire){ .world = world };
	assert_int_equal(world_init(world), 0);
	assert_int_equal(fd_pair_stream(pair), 0);
	wire->fd = pair[0];
	buf_init(&wire->out, 1 << 20);
	buf_init(&wire->heads, 1 << 20);
	buf_init(&wire->data, 1 << 20);
	wire->session = h2_session_new(&settings, &wire_events, wire);
	wire->watch = io_watch_new(world->loop, wire->fd, wire_readable, wire);
	io_watch_set(wire->watch, IO_READABLE);
	if (server)
		world->client = rpc_connection_plain(world->loop, pair[1], &client, &client_events, world);
	else
		world->server = rpc_connection_plain(world->loop, pair[1], &ours, &server_events, world);
}

static void wire_done(struct wire *wire)
{
	wire->world->done = NULL;
	h2_session_free(wire->session);
	io_watch_free(wire->watch);
	fd_close(wire->fd);
	buf_done(&wire->heads);
	buf_done(&wire->data);
	world_close(wire->world);
}

static struct wire *wire_now;

static bool wire_over(struct world *world)
{
	(void)world;
	return wire_now->closed;
}

/* One request to our server; what it answers is in wire->heads. */
static void wire_ask(struct wire *wire, struct world *world, const char *method, const char *path, const char *type,
                     const void *data, size_t len, bool end)
{
	struct h2_head head = { .n = 0 };
	wire_open(wire, world, false);
	h2_head_add(&head, STR(":method"), str_from(method));
	h2_head_add(&head, STR(":scheme"), STR("http"));
	h2_head_add(&head, STR(":path"), str_from(path));
	h2_head_add(&head, STR(":authority"), STR("test"));
	h2_head_add(&head, STR("te"), STR("trailers"));
	h2_head_add(&head, STR("murmesh-peer"),
	            STR("murmesh://00000000000000000000000000000000/user/00000000000000000000000000000001"));
	if (type)
		h2_head_add(&head, STR("content-type"), str_from(type));
	wire->stream = h2_request(wire->session, &head, &wire_stream_events, wire);
	assert_non_null(wire->stream);
	if (len)
		assert_int_equal(h2_stream_send(wire->stream, data, len), 0);
	if (end)
		assert_int_equal(h2_stream_end(wire->stream, NULL), 0);
	wire_flush(wire);
	wire_now = wire;
	world_run(world, wire_over);
}

static void test_odd_requests(void **state)
{
	(void)state;
	static const struct {
		const char *bytes;
		size_t len;
		bool end;
		const char *answer;
	} rows[] = {
		{ "\1\0\0\0\0", 5, true, "grpc-status=12;" },
		{ "\0\0\1\0\1", 5, false, "murmesh-error=E1002;" },
		{ "\0\0\0\0\4junk", 9, true, "murmesh-error=E1103;" },
		{ "", 0, true, "murmesh-error=E1100;" },
		{ "\0\0\0\0\5\x0a\x03web\0\0\0\0\0", 15, true, "grpc-status=0;" },
		{ "\0\0\0\0\7\x0a\x05never\0\0\0\0\0", 17, false, "murmesh-error=E1100;" },
		{ "\0\0\0\0\7\x0a\x05", 7, true, NULL },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct world w;
		struct wire wire;
		wire_ask(&wire, &w, "POST", "/murmesh.Resolve/Lookup", "application/grpc", rows[i].bytes, rows[i].len, rows[i].end);
		buf_append_u8(&wire.heads, 0);
		if (rows[i].answer && !strstr((const char *)buf_head(&wire.heads), rows[i].answer))
			fail_msg("row %zu: %s", i, (const char *)buf_head(&wire.heads));
		if (!rows[i].answer)
			assert_non_null(strstr((const char *)buf_head(&wire.heads), "murmesh-error=E1100;"));
		assert_int_equal(wire.error, H2_NO_ERROR);
		assert_string_equal(w.peer, ""); /* nobody says who calls but its certificate */
		wire_done(&wire);
	}
	struct world w;
	struct wire wire;
	wire_ask(&wire, &w, "GET", "/murmesh.Resolve/Lookup", "application/grpc", "", 0, true);
	assert_int_equal(wire.error, H2_PROTOCOL_ERROR);
	wire_done(&wire);
	wire_ask(&wire, &w, "POST", "/murmesh.Resolve/Lookup", "text/html", "", 0, true);
	assert_int_equal(wire.error, H2_PROTOCOL_ERROR);
	wire_done(&wire);
	wire_ask(&wire, &w, "POST", "/murmesh.Resolve/Lookup", NULL, "", 0, true);
	assert_int_equal(wire.error, H2_PROTOCOL_ERROR);
	wire_done(&wire);
}

static void test_odd_answers(void **state)
{
	(void)state;
	static const struct {
		const char *status, *type, *data;
		size_t len;
		const char *name, *value, *name2, *value2;
		int err;
		const char *why;
	} rows[] = {
		{ "200", "application/grpc", "", 0, "grpc-status", "0", NULL, NULL, -E_PROTOCOL, "" },
		{ "404", "application/grpc", "", 0, "grpc-status", "0", NULL, NULL, -E_PROTOCOL, "" },
		{ "200", "text/html", "hello", 5, NULL, NULL, NULL, NULL, -E_PROTOCOL, "" },
		{ "200", "application/grpc", "\0\0\0\0\0", 5, "grpc-status", "0", NULL, NULL, 0, "" },
		{ "200", "application/grpc", "\0\0\0\0\0", 5, NULL, NULL, NULL, NULL, -E_CLOSED, "" },
		{ "200", "application/grpc", "\0\0\0\0\0", 5, "grpc-status", "ten", NULL, NULL, -E_PROTOCOL, "" },
		{ "200", "application/grpc", "\0\0\0\0\0", 5, "grpc-status", "17", NULL, NULL, -E_PROTOCOL, "" },
		{ "200", "application/grpc", "\0\0\0\0\0", 5, "grpc-status", "7", "grpc-message", "no%20way%", -E_DENIED,
		  "no way%" },
		{ "200", "application/grpc", "\0\0\0\0\0", 5, "grpc-status", "7", "murmesh-error", "E1206", -E_REVOKED, "" },
		{ "200", "application/grpc", "\0\0\0\0\0", 5, "grpc-status", "7", "murmesh-error", "E9999", -E_DENIED, "" },
		{ "200", "application/grpc", "\0\0\0\0\4junk", 9, "grpc-status", "0", NULL, NULL, -E_MESSAGE, "" },
		{ "200", "application/grpc", "\1\0\0\0\0", 5, "grpc-status", "0", NULL, NULL, -E_UNSUPPORTED, "" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct world w;
		struct wire wire;
		wire_open(&wire, &w, true);
		h2_head_add(&wire.answer, STR(":status"), str_from(rows[i].status));
		h2_head_add(&wire.answer, STR("content-type"), str_from(rows[i].type));
		wire.answer_data = (struct str){ rows[i].data, rows[i].len };
		if (rows[i].name)
			h2_head_add(&wire.trailers, str_from(rows[i].name), str_from(rows[i].value));
		if (rows[i].name2)
			h2_head_add(&wire.trailers, str_from(rows[i].name2), str_from(rows[i].value2));
		assert_int_equal(world_ask(&w, "web01", 0), 0);
		world_run(&w, answered);
		if (w.answer_err != rows[i].err || strcmp(w.answer_why, rows[i].why) != 0)
			fail_msg("row %zu: %d %s", i, w.answer_err, w.answer_why);
		wire_done(&wire);
	}
}

/* A server that has answered, but does not stop the client: the client is done all the same. */
static void test_answered_while_talking(void **state)
{
	(void)state;
	struct world w;
	struct wire wire;
	struct talk talk;
	wire_open(&wire, &w, true);
	h2_head_add(&wire.answer, STR(":status"), STR("200"));
	h2_head_add(&wire.answer, STR("content-type"), STR("application/grpc"));
	h2_head_add(&wire.answer, STR("grpc-status"), STR("0"));
	wire.stalls = true;
	w.talk = &talk;
	assert_true(talk_open(&w, &talk, (struct talk){ .to_send = 100, .size = 60000 }));
	talk_produce(&talk);
	world_run(&w, talk_over);
	assert_int_equal(talk.err, 0);
	wire_done(&wire);
}

static void test_request_head(void **state)
{
	(void)state;
	struct world w;
	struct wire wire;
	wire_open(&wire, &w, true);
	h2_head_add(&wire.answer, STR(":status"), STR("200"));
	h2_head_add(&wire.answer, STR("content-type"), STR("application/grpc"));
	h2_head_add(&wire.answer, STR("grpc-status"), STR("5"));
	assert_int_equal(world_ask(&w, "web01", 0), 0);
	world_run(&w, answered);
	assert_int_equal(w.answer_err, -E_NOT_FOUND); /* trailers only */
	assert_true(str_is(buf_str(&wire.heads), ":method=POST;:scheme=http;:path=/murmesh.Resolve/Lookup;:authority=murmesh;"
	                                         "content-type=application/grpc+proto;te=trailers;"));
	wire_done(&wire);
}

/* A peer that closes when the other side has. */
static void hang_up(void *ctx, unsigned events)
{
	struct world *world = ctx;
	uint8_t bytes[1000];
	(void)events;
	if (fd_read(world->peer_fd, bytes, sizeof bytes) == 0) {
		io_watch_set(world->peer_watch, 0);
		socket_shutdown_write(world->peer_fd);
	}
}

static void test_not_http2(void **state)
{
	(void)state;
	struct world w;
	int pair[2];
	static const struct rpc_connection_settings settings = { .server = true };
	assert_int_equal(world_init(&w), 0);
	assert_int_equal(fd_pair_stream(pair), 0);
	w.server = rpc_connection_plain(w.loop, pair[0], &settings, &server_events, &w);
	assert_int_equal(fd_write(pair[1], "SSH-2.0-OpenSSH_9.2\r\n\r\n\r\n", 24), 24);
	world_run(&w, server_lost);
	assert_int_equal(w.server_err, -E_PROTOCOL);
	fd_close(pair[1]);
	world_close(&w);
	/* a frame that may not be; the peer hears why and closes */
	assert_int_equal(world_init(&w), 0);
	assert_int_equal(fd_pair_stream(pair), 0);
	w.server = rpc_connection_plain(w.loop, pair[0], &settings, &server_events, &w);
	static const char bytes[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0\0\0\1\0\0\0\0\0\1x";
	assert_int_equal(fd_write(pair[1], bytes, sizeof bytes - 1), sizeof bytes - 1);
	w.peer_fd = pair[1];
	w.peer_watch = io_watch_new(w.loop, pair[1], hang_up, &w);
	io_watch_set(w.peer_watch, IO_READABLE);
	world_run(&w, server_lost);
	assert_int_equal(w.server_err, -E_PROTOCOL);
	io_watch_free(w.peer_watch);
	fd_close(pair[1]);
	world_close(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_odd_requests),
		cmocka_unit_test(test_odd_answers),
		cmocka_unit_test(test_answered_while_talking),
		cmocka_unit_test(test_request_head),
		cmocka_unit_test(test_not_http2),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
