/* envelope_bench: envelopes with bodies of 256 bytes over TLS: each of 50 links of a client sends to the next one, as fast as the router's credit
 * allows, and acknowledges what comes.  The router is the programs' own: RPC over TLS, the frames of a control link, a spool (in /dev/shm, synced by
 * a second thread, as in core) from which each goes on when it is kept.  The client is a process of its own and keeps nothing.  One JSON line;
 * cpu_us: of the router's process for an envelope that came, was kept, went on and was acknowledged, both ways with TLS. */
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "../src/crypto/test_mesh.h"
#include "base/err.h"
#include "crypto/tls.h"
#include "figures.h"
#include "io/io.h"
#include "os/clock.h"
#include "os/fd.h"
#include "os/random.h"
#include "os/socket.h"
#include "route/peer.h"
#include "rpc/rpc.h"
#include "services.h"
#include "stream/stream.h"

enum { LINKS = 50, BODY = 256, SECONDS = 4, ID_AT = 2 /* in an envelope: its first field */ };

static struct test_mesh mesh;
static struct tls_context *tls;
static struct io_loop *loop;

static void check(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "envelope_bench: %s\n", what);
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

static struct rpc_connection *connection_new(int fd, bool server, const struct rpc_connection_events *events, void *ctx)
{
	static const struct stream_events none;
	const struct stream_settings settings = { .fd = fd, .connecting = !server, .tls = tls };
	const struct rpc_connection_settings rpc = { .server = server };
	struct stream *stream = stream_new(loop, &settings, &none, NULL);
	struct rpc_connection *connection = stream ? rpc_connection_new(loop, stream, &rpc, events, ctx) : NULL;
	check(connection, "connection");
	return connection;
}

static void on_closed(void *ctx, int err)
{
	(void)ctx;
	check(false, err_text(err));
}

static struct id device_id(unsigned number)
{
	return (struct id){ { 1, (uint8_t)number } };
}

/* ---- the client ---- */

struct client {
	struct rpc_connection *connection;
	struct rpc_call *call;
	unsigned number;
	uint32_t credit;
	struct buf envelope;
	struct envelope_stream in;
};
static uint64_t serial;
static murmesh_Frame acknowledgement = { .which_body = murmesh_Frame_acknowledgement_tag };

static void envelope_make(struct client *client)
{
	static const char body[BODY];
	const struct id next = device_id((client->number + 1) % LINKS);
	murmesh_Envelope envelope = {
		.id = { 1 }, .which_to = murmesh_Envelope_node_tag, .type = "bench", .created_ms = clock_wall_ms()
	};
	memcpy(envelope.to.node, next.bytes, sizeof envelope.to.node);
	buf_init(&client->envelope, ENVELOPE_MAX);
	check(envelope_write(&envelope, (struct str){ body, sizeof body }, &client->envelope) == 0, "envelope");
}

/* As many as there is credit for, each behind its length, in pieces as they come from a peer. */
static void client_send(void *ctx)
{
	static murmesh_Frame frame = { .which_body = murmesh_Frame_envelope_tag };
	struct client *client = ctx;
	const size_t len = buf_len(&client->envelope);
	while (client->credit && !rpc_call_crowded(client->call)) {
		uint8_t *at = frame.body.envelope.data.bytes, *end = at + sizeof frame.body.envelope.data.bytes;
		for (; client->credit && at + 4 + len <= end; client->credit--, at += 4 + len) {
			serial++;
			memcpy(client->envelope.data + ID_AT, &serial, sizeof serial);
			memcpy(at, (const uint8_t[]){ 0, 0, (uint8_t)(len >> 8), (uint8_t)len }, 4);
			memcpy(at + 4, buf_head(&client->envelope), len);
		}
		frame.body.envelope.data.size = (pb_size_t)(at - frame.body.envelope.data.bytes);
		check(rpc_call_send(client->call, &frame) == 0, "send");
	}
}

static int on_envelope(void *ctx, struct str bytes)
{
	(void)ctx;
	memcpy(acknowledgement.body.acknowledgement.kept.bytes + acknowledgement.body.acknowledgement.kept.size, bytes.ptr + ID_AT,
	       16);
	acknowledgement.body.acknowledgement.kept.size = (pb_size_t)(acknowledgement.body.acknowledgement.kept.size + 16);
	return 0;
}

static void credit_send(struct client *client, uint32_t envelopes)
{
	static murmesh_Frame frame = { .which_body = murmesh_Frame_credit_tag };
	frame.body.credit.envelopes = envelopes;
	check(rpc_call_send(client->call, &frame) == 0, "send");
}

static void on_client_message(void *ctx, const void *message)
{
	struct client *client = ctx;
	const murmesh_Frame *frame = message;
	check(frame->which_body != murmesh_Frame_acknowledgement_tag || !frame->body.acknowledgement.has_refused, "refused");
	if (frame->which_body == murmesh_Frame_credit_tag) {
		client->credit += frame->body.credit.envelopes;
		client_send(client);
	}
	if (frame->which_body != murmesh_Frame_envelope_tag)
		return;
	const struct str piece = { (const char *)frame->body.envelope.data.bytes, frame->body.envelope.data.size };
	acknowledgement.body.acknowledgement.kept.size = 0;
	check(envelope_stream_take(&client->in, piece, on_envelope, NULL) == 0, "envelopes");
	if (!acknowledgement.body.acknowledgement.kept.size)
		return;
	check(rpc_call_send(client->call, &acknowledgement) == 0, "send");
	credit_send(client, acknowledgement.body.acknowledgement.kept.size / 16);
}

static void on_client_ready(void *ctx)
{
	static const struct rpc_call_events events = { on_client_message, NULL, client_send, NULL };
	struct client *client = ctx;
	client->call = rpc_call_open(client->connection, &rpc_MessageRouter_Link, NULL, 0, &events, client);
	check(client->call, "call");
	credit_send(client, PEER_CREDIT);
}

static void client_run(const struct socket_address *address)
{
	static const struct rpc_connection_events events = { NULL, on_client_ready, on_closed };
	static struct client clients[LINKS];
	for (unsigned i = 0; i < LINKS; i++) {
		int fd = socket_connect(address);
		check(fd >= 0, "connect");
		clients[i].number = i;
		envelope_make(&clients[i]);
		envelope_stream_init(&clients[i].in);
		clients[i].connection = connection_new(fd, false, &events, &clients[i]);
	}
	io_loop_run(loop);
}

/* ---- the router ---- */

struct link {
	struct rpc_connection *connection;
	struct rpc_call *call;
	struct peer *peer;
};

static struct {
	int listener;
	struct spool_disk disk;
	struct route *route;
	struct peers peers;
	struct link links[LINKS];
	unsigned n_connections, n_links;
	struct io_task soon;
	struct io_timer *over;
	struct io_wake *synced;
	pthread_t thread;
	sem_t begun;
	struct spool_sync *sync;
	uint64_t delivered, syncs, from_us;
	double cpu;
	struct figures figures;
} router;

static double cpu_seconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void *sync_main(void *ctx)
{
	for (;;) {
		while (sem_wait(&router.begun) < 0)
			;
		if (!router.sync)
			return ctx;
		spool_sync_run(router.sync);
		io_wake_send(router.synced);
	}
}

static void on_soon(void *ctx)
{
	(void)ctx;
	if (router.sync)
		return;
	router.sync = route_sync_begin(router.route);
	if (!router.sync)
		return peers_answer(&router.peers);
	router.syncs++;
	sem_post(&router.begun);
}

static void on_synced(void *ctx)
{
	(void)ctx;
	router.sync = NULL;
	route_sync_end(router.route, clock_wall_ms());
	peers_answer(&router.peers);
	io_task_schedule(loop, &router.soon);
}

static void on_route_ready(void *ctx, const struct id *destination)
{
	(void)ctx;
	struct peer *peer = router.links[destination->bytes[1]].peer;
	if (peer)
		peer_send(peer, clock_wall_ms());
}

static void on_delivered(void *ctx, const struct id *destination, const struct id *envelope)
{
	(void)ctx, (void)destination, (void)envelope;
	router.delivered++;
}

static void on_damaged(void *ctx, const struct spool_damage *damage)
{
	(void)ctx, (void)damage;
	check(false, "damaged");
}

static int link_send(void *ctx, const murmesh_Frame *frame)
{
	return rpc_call_send(((struct link *)ctx)->call, frame);
}

static bool link_crowded(void *ctx)
{
	return rpc_call_crowded(((struct link *)ctx)->call);
}

static int link_destination(void *ctx, const murmesh_Envelope *envelope, struct id *ret)
{
	(void)ctx;
	memcpy(ret->bytes, envelope->to.node, sizeof ret->bytes);
	return 0;
}

static void on_message(void *ctx, const void *frame)
{
	struct link *link = ctx;
	peer_frame(link->peer, frame, clock_wall_ms());
	io_task_schedule(loop, &router.soon);
}

static void on_writable(void *ctx)
{
	peer_send(((struct link *)ctx)->peer, clock_wall_ms());
}

static void measure_begin(void)
{
	router.figures = figures_begin();
	router.from_us = clock_monotonic_us();
	router.cpu = cpu_seconds();
	router.delivered = router.syncs = 0;
	io_timer_start(router.over, SECONDS * 1000, 0);
}

static int on_open(void *ctx, struct rpc_call *call)
{
	static const struct rpc_call_events call_events = { on_message, NULL, on_writable, NULL };
	static const struct peer_events events = { link_send, link_crowded, on_closed, link_destination };
	const struct id device = device_id(router.n_links);
	struct link *link = &router.links[router.n_links++];
	(void)ctx;
	link->call = call;
	rpc_call_accept(call, &rpc_MessageRouter_Link, &call_events, link);
	check(peer_new(&router.peers, &device, &events, link, &link->peer) == 0, "peer");
	if (router.n_links == LINKS)
		measure_begin();
	return 0;
}

static void on_accept(void *ctx, unsigned events)
{
	static const struct rpc_connection_events rpc_events = { on_open, NULL, on_closed };
	(void)ctx, (void)events;
	int fd = socket_accept(router.listener);
	if (fd >= 0)
		router.links[router.n_connections++].connection = connection_new(fd, true, &rpc_events, NULL);
}

static void on_over(void *ctx)
{
	(void)ctx;
	io_loop_stop(loop);
}

static int file_remove(void *ctx, const char *name)
{
	const struct spool_disk *disk = ctx;
	return disk->remove(disk->ctx, name);
}

static void router_open(const char *directory)
{
	static const struct route_events events = { route_giver_tell, on_route_ready, NULL, on_delivered, on_damaged, NULL };
	struct route_settings settings = route_settings_server;
	check(spool_disk_open(directory, &router.disk) == 0, directory);
	settings.spool.disk = router.disk;
	settings.random = random_bytes;
	settings.self.bytes[0] = 9;
	random_bytes(settings.spool.seed, sizeof settings.spool.seed);
	check(route_open(&settings, &events, NULL, clock_wall_ms(), &router.route) == 0, "open");
	peers_init(&router.peers, router.route);
	io_task_init(&router.soon, on_soon, NULL);
	router.over = io_timer_new(loop, on_over, NULL);
	router.synced = io_wake_new(loop, on_synced, NULL);
	sem_init(&router.begun, 0, 0);
	check(router.over && router.synced && pthread_create(&router.thread, NULL, sync_main, NULL) == 0, "thread");
}

static void router_report(void)
{
	double cpu = cpu_seconds() - router.cpu, seconds = (double)(clock_monotonic_us() - router.from_us) * 1e-6;
	printf("{\"result\":\"envelopes_tls\",\"envelopes_per_s\":%.0f,\"cpu_us\":%.2f,\"per_sync\":%.0f,\"links\":%d,\"body_"
	       "bytes\":%d,",
	       (double)router.delivered / seconds, cpu * 1e6 / (double)router.delivered,
	       (double)router.delivered / (double)router.syncs, LINKS, BODY);
	figures_end(&router.figures);
}

int main(void)
{
	char directory[] = "/dev/shm/murmesh-bench-XXXXXX";
	struct socket_address address;
	tls_warm_up();
	mesh = test_mesh_new(1);
	check(socket_address_parse(STR("127.0.0.1"), 0, &address) == 0, "address");
	router.listener = socket_listen(&address);
	check(router.listener >= 0 && socket_local(router.listener, &address) == 0, "listen");
	pid_t client = fork();
	check(client >= 0, "fork");
	loop = io_loop_new();
	tls = context_new(client != 0);
	check(loop && tls, "loop");
	if (client == 0)
		client_run(&address);
	check(mkdtemp(directory), directory);
	router_open(directory);
	struct io_watch *accepting = io_watch_new(loop, router.listener, on_accept, NULL);
	io_watch_set(accepting, IO_READABLE);
	io_loop_run(loop);
	router_report();
	kill(client, SIGKILL);
	waitpid(client, NULL, 0);
	router.disk.names(router.disk.ctx, file_remove, &router.disk);
	return rmdir(directory);
}
