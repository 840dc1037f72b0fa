/* rpc_bench [CONNECTIONS]: what RPC costs a server over TLS on loopback.  One JSON line a result:
 *   rpc_idle   user memory and kernel memory of an idle connection with one open stream each way, and the CPU of making it
 *   rpc_echo   CPU of the server for each message of 256 bytes that it sends back: one at a time, or in batches of 64
 *   rpc_sink   the same for messages that it only takes
 * The client is a process of its own; heap from mallinfo2(), resident set from statm, kernel from Slab in /proc/meminfo, half of its growth
 * (both ends are here).  Compare inside one run only: the machine's load is in all figures. */
#include <malloc.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../src/crypto/test_mesh.h"
#include "base/err.h"
#include "base/mem.h"
#include "crypto/tls.h"
#include "io/io.h"
#include "os/clock.h"
#include "os/fd.h"
#include "os/socket.h"
#include "rpc/rpc.h"
#include "stream/stream.h"

enum {
	MESSAGE = 256,
	BATCH = 64,
	AHEAD = 16 * BATCH,
	SINGLE = 40000,
	BATCHED = 2000000,
	PARALLEL = 32,
	SETTLE_MS = 20000,
	PING_MS = 5000
};

static const struct rpc_method talk = { .path = "/bench.Bench/Talk", .client_streams = true, .server_streams = true };
static struct test_mesh mesh;
static struct tls_context *tls;
static struct io_loop *loop;

static void check(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "rpc_bench: %s\n", what);
	exit(1);
}

static int64_t test_now(void)
{
	return TEST_NOW;
}

static struct tls_context *context_new(bool server)
{
	static const char *const alpn[] = { "h2", NULL };
	struct test_leaf leaf = test_leaf_new(&mesh, server ? IDENTITY_COMPONENT : IDENTITY_NODE, server ? 2 : 3);
	struct tls_context *context;
	const struct tls_settings settings = { .server = server,
		                               .verify = TLS_VERIFY_REQUIRED,
		                               .leaf = leaf.certificate,
		                               .key = leaf.key,
		                               .intermediate = mesh.intermediate,
		                               .root = mesh.root,
		                               .mesh = mesh.id,
		                               .kinds = server ? 1u << IDENTITY_NODE : 1u << IDENTITY_COMPONENT,
		                               .alpn = alpn,
		                               .now = test_now };
	check(tls_context_new(&settings, &context) == 0, "TLS context");
	test_leaf_done(&leaf);
	return context;
}

static struct rpc_connection *connection_new(int fd, bool connecting, bool server, const struct rpc_connection_events *events,
                                             void *ctx)
{
	static const struct stream_events none;
	const struct stream_settings settings = { .fd = fd, .connecting = connecting, .tls = tls };
	const struct rpc_connection_settings rpc = { .server = server, .ping_ms = PING_MS, .quiet_ms = 4 * PING_MS };
	struct stream *stream = stream_new(loop, &settings, &none, NULL);
	struct rpc_connection *connection = stream ? rpc_connection_new(loop, stream, &rpc, events, ctx) : NULL;
	check(connection, "connection");
	return connection;
}

/* ---- client: a process that runs one of these and ends ---- */

struct client {
	struct rpc_connection *connection;
	struct rpc_call *call;
	unsigned long to_send, sent, answers;
	unsigned batch, ahead;
	struct crowd *crowd;
};

struct crowd {
	struct socket_address address;
	struct client *clients;
	unsigned n, begun, done;
};

static void send_more(void *ctx)
{
	static char bytes[MESSAGE];
	struct client *client = ctx;
	while (client->sent < client->to_send && client->sent + client->batch <= client->answers + client->ahead &&
	       !rpc_call_crowded(client->call))
		for (unsigned i = 0; i < client->batch; i++, client->sent++)
			check(rpc_call_send(client->call, &(struct str){ bytes, sizeof bytes }) == 0, "send");
	if (client->sent == client->to_send)
		rpc_call_half_close(client->call);
}

static void crowd_begin(struct crowd *crowd);

static void on_answer(void *ctx, const void *message)
{
	struct client *client = ctx;
	check(((const struct str *)message)->len == MESSAGE, "answer");
	client->answers++;
	if (client->crowd) {
		client->crowd->done++;
		return client->crowd->done == client->crowd->n ? io_loop_stop(loop) : crowd_begin(client->crowd);
	}
	send_more(client);
}

static void on_end(void *ctx, int err, const char *why)
{
	(void)ctx;
	(void)why;
	check(err == 0, "the call failed");
	io_loop_stop(loop);
}

static void on_ready(void *ctx)
{
	static const struct rpc_call_events events = { on_answer, NULL, send_more, on_end };
	struct client *client = ctx;
	client->call = rpc_call_open(client->connection, &talk, NULL, 0, &events, client);
	check(client->call, "call");
	if (client->crowd)
		check(rpc_call_send(client->call, &(struct str){ "one message and then nothing", 28 }) == 0, "send");
	else
		send_more(client);
}

static void on_client_closed(void *ctx, int err)
{
	(void)ctx;
	if (err < 0)
		check(false, err_text(err));
}

static void client_begin(struct client *client, const struct socket_address *address)
{
	static const struct rpc_connection_events events = { NULL, on_ready, on_client_closed };
	int fd = socket_connect(address);
	check(fd >= 0, "connect");
	client->connection = connection_new(fd, true, false, &events, client);
}

static void crowd_begin(struct crowd *crowd)
{
	while (crowd->begun < crowd->n && crowd->begun < crowd->done + PARALLEL) {
		struct client *client = &crowd->clients[crowd->begun++];
		client->crowd = crowd;
		client_begin(client, &crowd->address);
	}
}

/* ---- server ---- */

struct server {
	int listener;
	unsigned connections, gone;
	unsigned long messages;
	bool echo, idle; /* idle: answers once with MESSAGE bytes */
	pid_t client;
	struct rpc_connection **all;
};

static struct server server;

static void serve_message(void *ctx, const void *message)
{
	static char bytes[MESSAGE];
	server.messages++;
	if (server.echo || server.idle)
		check(rpc_call_send(ctx, server.idle ? &(struct str){ bytes, sizeof bytes } : message) == 0, "echo");
}

static void serve_half_closed(void *ctx)
{
	rpc_call_finish(ctx, 0, NULL);
}

static int on_open(void *ctx, struct rpc_call *call)
{
	static const struct rpc_call_events events = { serve_message, serve_half_closed, NULL, NULL };
	(void)ctx;
	rpc_call_accept(call, &talk, &events, call);
	return 0;
}

static void on_closed(void *ctx, int err)
{
	struct rpc_connection **connection = ctx;
	(void)err;
	check(!server.idle, "the client failed");
	*connection = rpc_connection_free(*connection);
	if (++server.gone == server.connections)
		io_loop_stop(loop);
}

static void on_accept(void *ctx, unsigned events)
{
	static const struct rpc_connection_events rpc_events = { on_open, NULL, on_closed };
	(void)ctx, (void)events;
	int fd = socket_accept(server.listener);
	if (fd < 0)
		return;
	struct rpc_connection **slot = &server.all[server.connections++];
	*slot = connection_new(fd, false, true, &rpc_events, slot);
}

/* ---- figures ---- */

static double cpu_us(void)
{
	struct timespec now;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static double resident(void)
{
	long pages = 0;
	FILE *file = fopen("/proc/self/statm", "r");
	check(file && fscanf(file, "%*s %ld", &pages) == 1, "statm");
	fclose(file);
	return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static double slab(void)
{
	char line[128];
	long kb = 0;
	FILE *file = fopen("/proc/meminfo", "r");
	while (file && fgets(line, sizeof line, file))
		if (sscanf(line, "Slab: %ld", &kb) == 1)
			break;
	check(file, "meminfo");
	fclose(file);
	return (double)kb * 1024;
}

static void on_settled(void *ctx)
{
	(void)ctx;
	io_loop_stop(loop);
}

static void settle(unsigned ms)
{
	struct io_timer *timer = io_timer_new(loop, on_settled, NULL);
	io_timer_start(timer, ms, 0);
	io_loop_run(loop);
	io_timer_free(timer);
}

/* Listens, and starts the client of the other process. */
static struct socket_address begin(bool *ret_is_client)
{
	struct socket_address address;
	check(socket_address_parse(STR("127.0.0.1"), 0, &address) == 0, "address");
	server.listener = socket_listen(&address);
	check(server.listener >= 0 && socket_local(server.listener, &address) == 0, "listen");
	fflush(stdout);
	server.client = fork();
	check(server.client >= 0, "fork");
	*ret_is_client = server.client == 0;
	if (*ret_is_client)
		fd_close(server.listener);
	loop = io_loop_new();
	tls = context_new(!*ret_is_client);
	check(loop && tls, "loop");
	return address;
}

static void end(void)
{
	int status;
	check(waitpid(server.client, &status, 0) == server.client && WIFEXITED(status) && WEXITSTATUS(status) == 0,
	      "the client failed");
	fd_close(server.listener);
	io_loop_free(loop);
	tls_context_free(tls);
	server = (struct server){ 0 };
}

static void messages(const char *name, bool echo, unsigned long n, unsigned batch, unsigned ahead)
{
	bool is_client;
	struct rpc_connection *one = NULL;
	server.all = &one;
	server.echo = echo;
	struct socket_address address = begin(&is_client);
	if (is_client) {
		struct client client = { .to_send = n, .batch = batch, .ahead = echo ? ahead : n + batch };
		client_begin(&client, &address);
		io_loop_run(loop);
		_exit(0);
	}
	struct io_watch *accepting = io_watch_new(loop, server.listener, on_accept, NULL);
	io_watch_set(accepting, IO_READABLE);
	double cpu = cpu_us();
	uint64_t began = clock_monotonic_us();
	io_loop_run(loop);
	cpu = cpu_us() - cpu;
	double wall = (double)(clock_monotonic_us() - began);
	check(server.messages == n, "messages are missing");
	printf("{\"result\": \"%s\", \"batch\": %u, \"messages\": %lu, \"server_cpu_us\": %.3f, \"per_s\": %.0f}\n", name, batch, n,
	       cpu / (double)n, (double)n * 1e6 / wall);
	io_watch_free(accepting);
	end();
}

static bool crowd_online(unsigned n)
{
	return server.messages == n;
}

static void idle(unsigned n)
{
	bool is_client;
	server.idle = true;
	server.all = mem_alloc_array(n, sizeof *server.all);
	struct rpc_connection **all = server.all;
	check(all, "memory");
	struct socket_address address = begin(&is_client);
	if (is_client) {
		struct crowd crowd = { .address = address, .clients = mem_alloc_array(n, sizeof *crowd.clients), .n = n };
		check(crowd.clients, "memory");
		crowd_begin(&crowd);
		io_loop_run(loop);
		settle(SETTLE_MS); /* longer than the server looks */
		_exit(0);
	}
	struct io_watch *accepting = io_watch_new(loop, server.listener, on_accept, NULL);
	io_watch_set(accepting, IO_READABLE);
	double cpu = cpu_us(), heap = (double)mallinfo2().uordblks, rss = resident(), kernel = slab();
	while (!crowd_online(n))
		settle(100);
	cpu = cpu_us() - cpu;
	double at_once = (double)mallinfo2().uordblks - heap;
	settle(3 * PING_MS); /* what is put in order when a connection has become old is in order now */
	heap = (double)mallinfo2().uordblks - heap;
	malloc_trim(0);
	rss = resident() - rss;
	kernel = (slab() - kernel) / 2;
	printf("{\"result\": \"rpc_idle\", \"connections\": %u, \"heap_bytes\": %.0f, \"heap_at_once_bytes\": %.0f, "
	       "\"resident_bytes\": %.0f, "
	       "\"kernel_bytes\": %.0f, \"connect_cpu_us\": %.0f}\n",
	       n, heap / n, at_once / n, rss / n, kernel / n, cpu / n);
	io_watch_free(accepting);
	kill(server.client, SIGTERM);
	check(waitpid(server.client, NULL, 0) == server.client, "client");
	for (unsigned i = 0; i < n; i++)
		rpc_connection_free(all[i]);
	mem_free(all);
	server.client = 0;
	fd_close(server.listener);
	io_loop_free(loop);
	tls_context_free(tls);
	server = (struct server){ 0 };
}

int main(int argc, char **argv)
{
	uint64_t connections = 1000;
	check(argc < 2 || str_to_u64(str_from(argv[1]), 9000, &connections) == 0, "rpc_bench [CONNECTIONS]");
	fd_limit_raise();
	tls_warm_up();
	mesh = test_mesh_new(1);
	idle((unsigned)connections);
	messages("rpc_echo", true, SINGLE, 1, 1);
	messages("rpc_echo", true, BATCHED / BATCH * BATCH, BATCH, AHEAD);
	messages("rpc_sink", false, BATCHED / BATCH * BATCH, BATCH, 0);
	test_mesh_done(&mesh);
	return 0;
}
