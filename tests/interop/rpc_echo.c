/* rpc_echo: the echo service (echo.proto) over our rpc on TLS with client certificates.
 *
 *   rpc_echo certificates DIR       makes a mesh: root.pem, intermediate.pem, server.pem/.key, client.pem/.key, trust.pem
 *   rpc_echo serve DIR              prints the port, serves until its input ends
 *   rpc_echo call DIR PORT METHOD N SIZE [TEXT]
 *                                   N calls of a unary method one after the other, or one Chat of N notes; SIZE bytes each;
 *                                   prints "ANSWERS ERROR WHY", ERROR 0 or a name of base/err.def */
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "crypto/tls.h"
#include "echo.pb.h"
#include "io/io.h"
#include "os/fd.h"
#include "os/file.h"
#include "os/socket.h"
#include "rpc/rpc.h"
#include "stream/stream.h"

#define METHOD(name, streams)                                                                                                      \
	{                                                                                                                          \
		"/echo.Echo/" name, &echo_Note_msg, sizeof(echo_Note), &echo_Note_msg, sizeof(echo_Note), streams, streams         \
	}
static const struct rpc_method say = METHOD("Say", false), chat = METHOD("Chat", true), not_found = METHOD("Fail", false),
                               never = METHOD("Wait", false), unknown = METHOD("Unknown", false);

static void check(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "rpc_echo: %s\n", what);
	exit(1);
}

/* ---- certificates ---- */

static void path_in(char path[256], const char *directory, const char *name)
{
	check(file_path(path, 256, directory, name) == 0, "path too long");
}

static void save(const char *directory, const char *name, const struct certificate *a, const struct certificate *b)
{
	char path[256];
	struct buf pem;
	buf_init(&pem, 65536);
	check(certificate_write_pem(a, &pem) == 0 && (!b || certificate_write_pem(b, &pem) == 0), "certificate");
	path_in(path, directory, name);
	check(file_write(path, buf_head(&pem), buf_len(&pem), 0644) == 0, path);
	buf_done(&pem);
}

static void save_key(const char *directory, const char *name, const struct key *key)
{
	char path[256];
	struct buf pem;
	buf_init(&pem, 65536);
	check(key_private_write(key, &pem) == 0, "key");
	path_in(path, directory, name);
	check(file_write(path, buf_head(&pem), buf_len(&pem), 0600) == 0, path);
	buf_wipe(&pem);
}

static struct certificate *issue(struct certificate_order order, const struct key *key, const struct certificate *issuer,
                                 const struct key *issuer_key)
{
	struct certificate *certificate;
	order.not_before = time(NULL) - 3600;
	order.not_after = time(NULL) + 86400;
	check(certificate_issue(&order, key, issuer, issuer_key, &certificate) == 0, "certificate");
	return certificate;
}

static void make_leaf(const char *directory, const char *name, uint8_t number, const struct certificate *intermediate,
                      const struct key *intermediate_key)
{
	static const struct str names[] = { STR("localhost"), STR("127.0.0.1") };
	struct key *key = key_generate();
	char file[64];
	struct certificate_order order = { .profile = CERTIFICATE_LEAF,
		                           .identity = { .mesh = { { 1 } }, .kind = IDENTITY_COMPONENT, .id = { { number } } },
		                           .common_name = str_from(name),
		                           .names = names,
		                           .n_names = 2 };
	struct certificate *leaf = issue(order, key, intermediate, intermediate_key);
	snprintf(file, sizeof file, "%s.pem", name);
	save(directory, file, leaf, intermediate);
	snprintf(file, sizeof file, "%s.key", name);
	save_key(directory, file, key);
	certificate_free(leaf);
	key_free(key);
}

static void make_certificates(const char *directory)
{
	struct key *root_key = key_generate(), *intermediate_key = key_generate();
	check(root_key && intermediate_key, "keys");
	struct certificate *root = issue((struct certificate_order){ .profile = CERTIFICATE_ROOT, .common_name = STR("mesh root") },
	                                 root_key, NULL, root_key);
	struct certificate *intermediate =
	        issue((struct certificate_order){ .profile = CERTIFICATE_INTERMEDIATE, .common_name = STR("mesh online") },
	              intermediate_key, root, root_key);
	save(directory, "root.pem", root, NULL);
	save(directory, "trust.pem", root, intermediate); /* for stock servers: our clients send their leaf alone */
	make_leaf(directory, "server", 2, intermediate, intermediate_key);
	make_leaf(directory, "client", 3, intermediate, intermediate_key);
	certificate_free(root);
	certificate_free(intermediate);
	key_free(root_key);
	key_free(intermediate_key);
}

static void load(const char *directory, const char *name, struct buf *out)
{
	char path[256];
	path_in(path, directory, name);
	buf_init(out, 65536);
	check(file_read(path, out) == 0, path);
}

static struct tls_context *context_new(const char *directory, bool server)
{
	static const char *const alpn[] = { "h2", NULL };
	struct certificate *root, *chain[2];
	struct certificate_info info;
	struct tls_context *context;
	struct key *key;
	struct buf pem;
	load(directory, "root.pem", &pem);
	check(certificate_read_pem(buf_str(&pem), &root, 1) == 1, "root.pem");
	buf_done(&pem);
	load(directory, server ? "server.pem" : "client.pem", &pem);
	check(certificate_read_pem(buf_str(&pem), chain, 2) == 2 && certificate_inspect(chain[0], &info) == 0,
	      "leaf and intermediate");
	buf_done(&pem);
	load(directory, server ? "server.key" : "client.key", &pem);
	check(key_private_read(buf_str(&pem), &key) == 0, "key");
	buf_done(&pem);
	const struct tls_settings settings = { .server = server,
		                               .verify = TLS_VERIFY_REQUIRED,
		                               .leaf = chain[0],
		                               .intermediate = chain[1],
		                               .root = root,
		                               .key = key,
		                               .mesh = info.identity.mesh,
		                               .kinds = 1u << IDENTITY_COMPONENT,
		                               .alpn = alpn };
	check(tls_context_new(&settings, &context) == 0, "TLS context");
	certificate_free(root);
	certificate_free(chain[0]);
	certificate_free(chain[1]);
	key_free(key);
	return context;
}

/* ---- server ---- */

struct server {
	struct io_loop *loop;
	struct tls_context *tls;
	struct list connections;
	int listener;
};

struct connection {
	struct list node;
	struct rpc_connection *rpc;
};

static void answer_say(void *ctx, struct rpc_call *call, const void *request)
{
	static echo_Note note;
	char who[IDENTITY_TEXT_SIZE];
	(void)ctx;
	note = *(const echo_Note *)request;
	note.number++;
	if (str_is(str_from(note.text), "who") && rpc_call_peer(call)) {
		identity_format(rpc_call_peer(call), who);
		snprintf(note.text, sizeof note.text, "%s", who);
	}
	rpc_call_reply(call, &note);
}

static void answer_fail(void *ctx, struct rpc_call *call, const void *request)
{
	(void)ctx;
	rpc_call_finish(call, -E_NOT_FOUND, ((const echo_Note *)request)->text);
}

static void answer_never(void *ctx, struct rpc_call *call, const void *request)
{
	(void)ctx, (void)call, (void)request;
}

static void chat_message(void *ctx, const void *message)
{
	static echo_Note note;
	note = *(const echo_Note *)message;
	note.number++;
	if (rpc_call_send(ctx, &note) < 0)
		rpc_call_cancel(ctx);
	if (rpc_call_crowded(ctx))
		rpc_call_pause(ctx, true);
}

static void chat_half_closed(void *ctx)
{
	rpc_call_finish(ctx, 0, NULL);
}

static void chat_writable(void *ctx)
{
	rpc_call_pause(ctx, false);
}

static int open_chat(void *ctx, struct rpc_call *call)
{
	static const struct rpc_call_events events = { chat_message, chat_half_closed, chat_writable, NULL };
	(void)ctx;
	rpc_call_accept(call, &chat, &events, call);
	return 0;
}

static int on_open(void *ctx, struct rpc_call *call)
{
	static const struct rpc_service services[] = {
		{ &say, 0, answer_say, NULL },
		{ &chat, 0, NULL, open_chat },
		{ &not_found, 0, answer_fail, NULL },
		{ &never, 0, answer_never, NULL },
	};
	const struct rpc_service *row = rpc_service_find(services, sizeof services / sizeof *services, rpc_call_path(call));
	return row ? rpc_serve(row, call, ctx) : -E_UNSUPPORTED;
}

static void on_closed(void *ctx, int err)
{
	struct connection *connection = ctx;
	(void)err;
	list_remove(&connection->node);
	rpc_connection_free(connection->rpc);
	mem_free(connection);
}

static void on_accept(void *ctx, unsigned events)
{
	static const struct rpc_connection_settings settings = { .server = true, .ping_ms = 1000, .quiet_ms = 5000 };
	static const struct rpc_connection_events rpc_events = { on_open, NULL, on_closed };
	static const struct stream_events none;
	struct server *server = ctx;
	(void)events;
	int fd = socket_accept(server->listener);
	if (fd < 0)
		return;
	struct connection *connection = mem_alloc(sizeof *connection);
	struct stream *stream = stream_new(server->loop, &(struct stream_settings){ .fd = fd, .tls = server->tls }, &none, NULL);
	check(connection && stream, "memory");
	list_append(&server->connections, &connection->node);
	connection->rpc = rpc_connection_new(server->loop, stream, &settings, &rpc_events, connection);
	check(connection->rpc, "memory");
}

static void on_input(void *ctx, unsigned events)
{
	char byte;
	(void)events;
	if (read(0, &byte, 1) <= 0)
		io_loop_stop(((struct server *)ctx)->loop);
}

static void serve(const char *directory)
{
	struct server server = { .loop = io_loop_new(), .tls = context_new(directory, true) };
	struct socket_address address;
	list_init(&server.connections);
	check(socket_address_parse(STR("127.0.0.1"), 0, &address) == 0, "address");
	server.listener = socket_listen(&address);
	check(server.listener >= 0 && socket_local(server.listener, &address) == 0, "listen");
	struct io_watch *accepting = io_watch_new(server.loop, server.listener, on_accept, &server);
	struct io_watch *input = io_watch_new(server.loop, 0, on_input, &server);
	check(accepting && input, "memory");
	io_watch_set(accepting, IO_READABLE);
	io_watch_set(input, IO_READABLE);
	printf("%u\n", socket_address_port(&address));
	fflush(stdout);
	io_loop_run(server.loop);
	while (!list_empty(&server.connections))
		on_closed(LIST_ENTRY(server.connections.next, struct connection, node), 0);
	io_watch_free(accepting);
	io_watch_free(input);
	io_loop_free(server.loop);
	fd_close(server.listener);
	tls_context_free(server.tls);
}

/* ---- client ---- */

struct client {
	struct io_loop *loop;
	struct rpc_connection *rpc;
	struct rpc_call *call; /* Chat */
	const struct rpc_method *method;
	unsigned wanted, sent, answers;
	bool half_closed;
	size_t size;
	const char *text;
	int err;
	char why[600];
};

static echo_Note *note_of(const struct client *client, unsigned number)
{
	static echo_Note note;
	note.number = number;
	note.payload.size = (pb_size_t)client->size;
	for (size_t i = 0; i < client->size; i++)
		note.payload.bytes[i] = (uint8_t)(number * 7 + i);
	snprintf(note.text, sizeof note.text, "%s", client->text);
	return &note;
}

static bool note_right(const struct client *client, const echo_Note *note, unsigned number)
{
	return note->number == number + 1 && note->payload.size == client->size &&
	       memcmp(note->payload.bytes, note_of(client, number)->payload.bytes, client->size) == 0;
}

static void client_end(struct client *client, int err, const char *why)
{
	client->err = err;
	snprintf(client->why, sizeof client->why, "%s", why);
	io_loop_stop(client->loop);
}

static void next_unary(struct client *client);

static void unary_done(void *ctx, int err, const char *why, const void *response)
{
	struct client *client = ctx;
	if (err < 0)
		return client_end(client, err, why);
	check(note_right(client, response, client->answers), "wrong answer");
	client->answers++;
	next_unary(client);
}

static void next_unary(struct client *client)
{
	if (client->answers == client->wanted)
		return client_end(client, 0, "");
	int err = rpc_unary(client->rpc, client->method, note_of(client, client->answers), client->method == &never ? 300 : 0,
	                    unary_done, client);
	if (err < 0)
		client_end(client, err, "");
}

static void chat_more(void *ctx)
{
	struct client *client = ctx;
	while (client->sent < client->wanted && !rpc_call_crowded(client->call))
		check(rpc_call_send(client->call, note_of(client, client->sent++)) == 0, "send");
	if (client->sent < client->wanted || client->half_closed)
		return;
	client->half_closed = true;
	rpc_call_half_close(client->call);
}

static void chat_answer(void *ctx, const void *message)
{
	struct client *client = ctx;
	check(note_right(client, message, client->answers), "wrong answer");
	client->answers++;
}

static void chat_closed(void *ctx, int err, const char *why)
{
	client_end(ctx, err, why);
}

static void on_ready(void *ctx)
{
	static const struct rpc_call_events events = { chat_answer, NULL, chat_more, chat_closed };
	struct client *client = ctx;
	if (client->method != &chat)
		return next_unary(client);
	client->call = rpc_call_open(client->rpc, &chat, NULL, 0, &events, client);
	check(client->call, "call");
	chat_more(client);
}

static void on_lost(void *ctx, int err)
{
	client_end(ctx, err, "the connection");
}

static void call(const char *directory, const char *port, const char *method, const char *n, const char *size, const char *text)
{
	static const struct rpc_method *const methods[] = { &say, &chat, &not_found, &never, &unknown };
	static const struct rpc_connection_settings settings = { .quiet_ms = 5000 };
	static const struct rpc_connection_events events = { NULL, on_ready, on_lost };
	static const struct stream_events none;
	struct client client = { .loop = io_loop_new(), .text = text };
	struct tls_context *tls = context_new(directory, false);
	struct socket_address address;
	uint64_t number = 0, count = 0, bytes = 0;
	check(str_to_u64(str_from(port), 65535, &number) == 0 && str_to_u64(str_from(n), 1000000, &count) == 0 &&
	              str_to_u64(str_from(size), 61000, &bytes) == 0,
	      "numbers");
	client.wanted = (unsigned)count;
	client.size = bytes;
	for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
		if (str_is(str_from(method), methods[i]->path + strlen("/echo.Echo/")))
			client.method = methods[i];
	check(client.method, "no such method");
	check(socket_address_parse(STR("127.0.0.1"), (uint16_t)number, &address) == 0, "address");
	int fd = socket_connect(&address);
	check(fd >= 0, "connect");
	struct stream *stream =
	        stream_new(client.loop, &(struct stream_settings){ .fd = fd, .connecting = true, .tls = tls }, &none, NULL);
	client.rpc = stream ? rpc_connection_new(client.loop, stream, &settings, &events, &client) : NULL;
	check(client.rpc, "memory");
	io_loop_run(client.loop);
	printf("%u %s %s\n", client.answers, client.err ? err_name(client.err) : "0", client.why);
	rpc_connection_free(client.rpc);
	io_loop_free(client.loop);
	tls_context_free(tls);
}

int main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[1] : "";
	if (strcmp(what, "certificates") == 0)
		make_certificates(argv[2]);
	else if (strcmp(what, "serve") == 0)
		serve(argv[2]);
	else if (strcmp(what, "call") == 0 && argc >= 7)
		call(argv[2], argv[3], argv[4], argv[5], argv[6], argc > 7 ? argv[7] : "");
	else
		check(false, "see the head of rpc_echo.c");
	return 0;
}
