/* Legs with a core that answers as the test says, a relay that hands the descriptor over, and a device that ends TLS. */
#include "web/leg.h"

#include <errno.h>
#include <signal.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/test.h"
#include "crypto/test_mesh.h"
#include "crypto/tls.h"
#include "os/clock.h"
#include "os/fd.h"
#include "relay/relay.h"
#include "services.h"
#include "stream/stream.h"

#define SERVED_MAX 8
struct served {
	struct world *world;
	int fd;
	struct io_watch *watch; /* until its preamble has come */
	struct rpc_connection *connection;
};

struct world {
	struct io_loop *loop;
	struct io_timer *watchdog;
	struct web *web;
	/* core */
	struct rpc_connection *near, *core;
	int certificate_err, tunnel_err;
	unsigned certificates, tunnels;
	bool silent;
	int64_t life_s; /* of certificates */
	/* the relay, and the device behind it */
	int relay[2];
	struct tls_context *tls;
	struct io_watch *intake;
	bool deaf; /* the relay closes what comes */
	uint8_t preamble[RELAY_PREAMBLE];
	struct served served[SERVED_MAX];
	struct identity user; /* who called there */
	unsigned calls, lost;
	bool hung;
};

struct caller {
	struct world *world;
	struct leg_use use;
	struct rpc_connection *connection;
	struct rpc_call *call;
	unsigned told;
	int err, call_err;
	bool call_closed;
};

static struct test_mesh mesh;
static struct test_leaf device, other;
static const uint8_t session[ACCOUNT_SESSION_SIZE] = { 1 }, another[ACCOUNT_SESSION_SIZE] = { 2 };

/* Faults are for the side that is tried: core and the device do without, here and until fault_arm() is given this back. */
static long test_pause(void)
{
	long countdown = fault_countdown;
	fault_arm(0);
	return countdown;
}

/* ---- core ---- */

static void on_certificate(void *ctx, struct rpc_call *call, const void *message)
{
	static murmesh_CertificateReply reply;
	const murmesh_SessionKey *request = message;
	struct world *world = ctx;
	struct key *key = NULL;
	struct certificate *leaf = NULL;
	struct buf der;
	world->certificates++;
	if (world->silent)
		return;
	if (world->certificate_err < 0)
		return rpc_call_finish(call, world->certificate_err, "core says no");
	long countdown = test_pause();
	reply = (murmesh_CertificateReply){ .device_id = { 0 } };
	const struct certificate_order order = { .profile = CERTIFICATE_LEAF,
		                                 .identity = { mesh.id, IDENTITY_USER, { { 7, request->session[0] } } },
		                                 .common_name = STR("user"),
		                                 .not_before = clock_wall_s() - 60,
		                                 .not_after = clock_wall_s() + world->life_s };
	assert_int_equal(key_public_read(request->key.bytes, request->key.size, &key), 0);
	assert_int_equal(certificate_issue(&order, key, mesh.intermediate, mesh.intermediate_key, &leaf), 0);
	const struct certificate *const certificates[] = { leaf, mesh.intermediate, mesh.root };
	murmesh_CertificateReply_leaf_t *const to[] = { &reply.leaf, (void *)&reply.intermediate, (void *)&reply.root };
	for (int i = 0; i < 3; i++) {
		buf_init(&der, sizeof to[i]->bytes);
		assert_int_equal(certificate_write(certificates[i], &der), 0);
		memcpy(to[i]->bytes, buf_head(&der), buf_len(&der));
		to[i]->size = (pb_size_t)buf_len(&der);
		buf_done(&der);
	}
	certificate_free(leaf);
	key_free(key);
	rpc_call_reply(call, &reply);
	fault_arm(countdown);
}

static void on_tunnel(void *ctx, struct rpc_call *call, const void *message)
{
	static murmesh_Tunnel reply;
	const murmesh_ConsoleTunnelRequest *request = message;
	struct world *world = ctx;
	world->tunnels++;
	if (world->silent)
		return;
	assert_true(memcmp(request->tunnel.device, device.identity.id.bytes, 16) == 0 ||
	            memcmp(request->tunnel.device, other.identity.id.bytes, 16) == 0);
	assert_int_equal(request->tunnel.rights, murmesh_Right_RUN);
	if (world->tunnel_err < 0)
		return rpc_call_finish(call, world->tunnel_err, "core says no");
	memset(reply.ticket, 0x55, sizeof reply.ticket);
	rpc_call_reply(call, &reply);
}

static void on_session_request(void *ctx, const void *request)
{
	(void)ctx, (void)request;
}

static int on_session(void *ctx, struct rpc_call *call)
{
	static const struct rpc_call_events events = { on_session_request, NULL, NULL, NULL };
	rpc_call_accept(call, &rpc_Console_WatchSession, &events, ctx);
	return 0;
}

static int on_core_call(void *ctx, struct rpc_call *call)
{
	static const struct rpc_service rows[] = { { &rpc_Console_UserCertificate, 0, on_certificate, NULL },
		                                   { &rpc_Console_OpenTunnel, 0, on_tunnel, NULL },
		                                   { &rpc_Console_WatchSession, 0, NULL, on_session } };
	const struct rpc_service *row = rpc_service_find(rows, 3, rpc_call_path(call));
	return row ? rpc_serve(row, call, ctx) : -E_UNSUPPORTED;
}

/* ---- the device ---- */

static void on_run_message(void *ctx, const void *message)
{
	(void)ctx, (void)message;
}

static int on_device_call(void *ctx, struct rpc_call *call)
{
	static const struct rpc_call_events events = { on_run_message, NULL, NULL, NULL };
	struct world *world = ((struct served *)ctx)->world;
	world->calls++;
	world->user = *rpc_call_peer(call);
	rpc_call_accept(call, &rpc_Run_Start, &events, world);
	io_loop_stop(world->loop);
	return 0;
}

static void served_end(struct served *served)
{
	served->watch = io_watch_free(served->watch);
	served->connection = rpc_connection_free(served->connection);
	served->fd = fd_close(served->fd);
}

static void on_device_lost(void *ctx, int err)
{
	struct served *served = ctx;
	(void)err;
	served->world->lost++;
	io_loop_stop(served->world->loop);
	served_end(served);
}

static void on_preamble(void *ctx, unsigned events)
{
	static const struct rpc_connection_events at_device = { on_device_call, NULL, on_device_lost };
	static const struct rpc_connection_settings settings = { .server = true };
	static const struct stream_events none;
	struct served *served = ctx;
	struct world *world = served->world;
	const struct stream_settings stream = { .fd = served->fd, .tls = world->tls };
	long countdown = test_pause();
	(void)events;
	ssize_t n = fd_read(served->fd, world->preamble, sizeof world->preamble);
	served->watch = io_watch_free(served->watch);
	if (n == RELAY_PREAMBLE) {
		served->fd = -1;
		served->connection = rpc_connection_new(world->loop, stream_new(world->loop, &stream, &none, NULL), &settings,
		                                        &at_device, served);
	} else
		served_end(served);
	fault_arm(countdown);
}

static struct served *served_free_place(struct world *world)
{
	for (size_t i = 0; i < SERVED_MAX; i++)
		if (!world->served[i].connection && !world->served[i].watch)
			return &world->served[i];
	fail_msg("more legs than this test expects");
	return NULL;
}

static void on_intake(void *ctx, unsigned events)
{
	struct world *world = ctx;
	char kind[16];
	int fds[FD_PASS_MAX];
	size_t n = 0;
	long countdown = test_pause();
	(void)events;
	if (fd_receive(world->relay[1], kind, sizeof kind, fds, &n) > 0 && n == 1) {
		struct served *served = served_free_place(world);
		*served = (struct served){ .world = world, .fd = fds[0] };
		if (world->deaf)
			served_end(served);
		else {
			served->watch = io_watch_new(world->loop, fds[0], on_preamble, served);
			io_watch_set(served->watch, IO_READABLE);
		}
	}
	fault_arm(countdown);
}

static void device_be(struct world *world, struct test_leaf *leaf)
{
	static const char *const alpn[] = { "h2", NULL };
	const struct tls_settings settings = { .server = true,
		                               .verify = TLS_VERIFY_REQUIRED,
		                               .leaf = leaf->certificate,
		                               .intermediate = mesh.intermediate,
		                               .root = mesh.root,
		                               .key = leaf->key,
		                               .mesh = mesh.id,
		                               .kinds = 1u << IDENTITY_USER,
		                               .alpn = alpn };
	world->tls = tls_context_free(world->tls);
	assert_int_equal(tls_context_new(&settings, &world->tls), 0);
}

/* ---- the world ---- */

static void on_watchdog(void *ctx)
{
	struct world *world = ctx;
	world->hung = true;
	io_loop_stop(world->loop);
}

static void on_near_gone(void *ctx, int err)
{
	struct world *world = ctx;
	struct rpc_connection *near = world->near;
	(void)err;
	web_set_core(world->web, NULL);
	world->near = NULL;
	rpc_connection_free(near);
}

static void on_core_gone(void *ctx, int err)
{
	struct world *world = ctx;
	(void)err;
	world->core = rpc_connection_free(world->core);
}

static void core_connect(struct world *world)
{
	static const struct rpc_connection_events at_core = { on_core_call, NULL, on_core_gone },
	                                          at_web = { NULL, NULL, on_near_gone };
	static const struct rpc_connection_settings server = { .server = true }, client = { .server = false };
	int pair[2];
	assert_int_equal(fd_pair_stream(pair), 0);
	world->core = rpc_connection_plain(world->loop, pair[0], &server, &at_core, world);
	world->near = rpc_connection_plain(world->loop, pair[1], &client, &at_web, world);
	web_set_core(world->web, world->near);
}

static void core_go(struct world *world)
{
	if (world->near)
		on_near_gone(world, 0);
	world->core = rpc_connection_free(world->core);
}

static void device_go(struct world *world)
{
	for (size_t i = 0; i < SERVED_MAX; i++)
		if (world->served[i].connection || world->served[i].watch)
			served_end(&world->served[i]);
}

static int world_open(void **state)
{
	struct world *world = mem_alloc(sizeof *world);
	const struct web_settings settings = { STR("a:1"), STR(""), 1 };
	*world = (struct world){ .loop = io_loop_new(), .life_s = 43200 };
	world->watchdog = io_timer_new(world->loop, on_watchdog, world);
	world->web = web_new(world->loop, &settings);
	assert_non_null(world->web);
	assert_int_equal(fd_pair_packet(world->relay), 0);
	web_set_relay(world->web, world->relay[0]);
	world->intake = io_watch_new(world->loop, world->relay[1], on_intake, world);
	io_watch_set(world->intake, IO_READABLE);
	device_be(world, &device);
	core_connect(world);
	*state = world;
	return 0;
}

static int world_close(void **state)
{
	struct world *world = *state;
	world->web = web_free(world->web);
	rpc_connection_free(world->near);
	rpc_connection_free(world->core);
	device_go(world);
	io_watch_free(world->intake);
	fd_close(world->relay[0]);
	fd_close(world->relay[1]);
	tls_context_free(world->tls);
	io_timer_free(world->watchdog);
	io_loop_free(world->loop);
	mem_free(world);
	return 0;
}

static void on_turned(void *ctx)
{
	io_loop_stop(((struct world *)ctx)->loop);
}

/* Lets the loop run for a little while. */
static void turn(struct world *world)
{
	long countdown = test_pause();
	struct io_timer *soon = io_timer_new(world->loop, on_turned, world);
	io_timer_start(soon, 2, 0);
	fault_arm(countdown);
	io_loop_run(world->loop);
	io_timer_free(soon);
}

#define WAIT(world, condition)                                                                                                     \
	do {                                                                                                                       \
		io_timer_start((world)->watchdog, 30000, 0);                                                                       \
		while (!(condition) && !(world)->hung)                                                                             \
			turn(world);                                                                                               \
		assert_true(condition);                                                                                            \
	} while (0)

/* ---- who uses a leg ---- */

static void on_ready(void *ctx, int err, const char *why, struct rpc_connection *connection)
{
	struct caller *user = ctx;
	(void)why;
	user->told++;
	user->err = err;
	user->connection = connection;
	assert_int_equal(err == 0, connection != NULL);
}

static int user_ask(struct world *world, struct caller *user, const uint8_t of[ACCOUNT_SESSION_SIZE])
{
	*user = (struct caller){ .world = world, .use = { .ready = on_ready, .ctx = user } };
	return leg_use(world->web, of, &device.identity.id, &user->use);
}

static void on_call_closed(void *ctx, int err, const char *why)
{
	struct caller *user = ctx;
	(void)why;
	user->call_closed = true;
	user->call_err = err;
}

static void user_call(struct caller *user)
{
	static const struct rpc_call_events events = { NULL, NULL, NULL, on_call_closed };
	unsigned before = user->world->calls;
	user->call = rpc_call_open(user->connection, &rpc_Run_Start, NULL, 0, &events, user);
	assert_non_null(user->call);
	WAIT(user->world, user->world->calls > before);
}

/* ---- tests ---- */

static void test_opens(void **state)
{
	struct world *world = *state;
	struct caller user;
	uint8_t ticket[RELAY_TICKET], preamble[RELAY_PREAMBLE];
	assert_int_equal(user_ask(world, &user, session), 0);
	assert_int_equal(user.told, 0); /* never from inside */
	WAIT(world, user.told);
	assert_int_equal(user.err, 0);
	memset(ticket, 0x55, sizeof ticket);
	relay_preamble_write(RELAY_CLIENT, ticket, preamble);
	assert_memory_equal(world->preamble, preamble, sizeof preamble);
	user_call(&user);
	assert_int_equal(world->user.kind, IDENTITY_USER);
	assert_int_equal(world->user.id.bytes[1], session[0]);
	/* without anybody it ends, at once when nobody is expected */
	leg_leave(&user.use, false);
	leg_leave(&user.use, false);
	WAIT(world, world->lost == 1);
	assert_int_equal(user.told, 1);
}

static void test_shared(void **state)
{
	struct world *world = *state;
	struct caller first, second, third, stranger;
	assert_int_equal(user_ask(world, &first, session), 0);
	assert_int_equal(user_ask(world, &second, session), 0); /* while it is being opened */
	WAIT(world, first.told && second.told);
	assert_int_equal(user_ask(world, &third, session), 0); /* when it is open */
	WAIT(world, third.told);
	assert_ptr_equal(first.connection, second.connection);
	assert_ptr_equal(first.connection, third.connection);
	assert_int_equal(world->certificates, 1);
	assert_int_equal(world->tunnels, 1);
	/* somebody else's session has nothing to do with it */
	assert_int_equal(user_ask(world, &stranger, another), 0);
	WAIT(world, stranger.told);
	assert_ptr_not_equal(stranger.connection, first.connection);
	assert_int_equal(world->certificates, 2);
	user_call(&stranger);
	assert_int_equal(world->user.id.bytes[1], another[0]);
	leg_leave(&first.use, true);
	leg_leave(&second.use, true);
	leg_leave(&third.use, true);
	leg_leave(&stranger.use, true);
	turn(world);
	/* kept for a minute: whoever comes gets the same */
	assert_int_equal(user_ask(world, &third, session), 0);
	WAIT(world, third.told);
	assert_int_equal(world->tunnels, 2);
	leg_leave(&third.use, false);
}

/* Nobody was left, but somebody came before it ended. */
static void test_asked_again(void **state)
{
	struct world *world = *state;
	struct caller user;
	assert_int_equal(user_ask(world, &user, session), 0);
	WAIT(world, user.told);
	leg_leave(&user.use, false);
	assert_int_equal(user_ask(world, &user, session), 0);
	WAIT(world, user.told);
	user_call(&user);
	assert_int_equal(world->tunnels, 1);
	assert_int_equal(world->lost, 0);
	leg_leave(&user.use, false);
}

static void test_two_devices(void **state)
{
	struct world *world = *state;
	struct caller first, second = { .world = world, .use = { .ready = on_ready, .ctx = &second } };
	assert_int_equal(user_ask(world, &first, session), 0);
	assert_int_equal(leg_use(world->web, session, &other.identity.id, &second.use), 0);
	WAIT(world, first.told && second.told);
	assert_int_equal(first.err, 0);
	assert_int_equal(second.err, -E_CERTIFICATE_PEER); /* it is the other that answers */
	assert_int_equal(world->certificates, 1);
	assert_int_equal(world->tunnels, 2);
	leg_leave(&first.use, false);
}

/* The key and certificate stay when the leg goes; one that ends soon is not used again. */
static void test_certificate_kept(void **state)
{
	struct world *world = *state;
	struct caller user;
	for (unsigned i = 1; i <= 2; i++) {
		assert_int_equal(user_ask(world, &user, session), 0);
		WAIT(world, user.told);
		leg_leave(&user.use, false);
		WAIT(world, world->lost == i);
		assert_int_equal(world->certificates, 1);
		assert_int_equal(world->tunnels, i);
	}
	world->life_s = 300;
	for (unsigned i = 3; i <= 4; i++) {
		assert_int_equal(user_ask(world, &user, another), 0);
		WAIT(world, user.told);
		assert_int_equal(user.err, 0);
		leg_leave(&user.use, false);
		WAIT(world, world->lost == i);
		assert_int_equal(world->certificates, i - 1);
		assert_int_equal(world->web->n_passports, 2); /* the one before it is gone */
	}
}

static void test_refused(void **state)
{
	struct world *world = *state;
	struct caller first, second;
	world->certificate_err = -E_SESSION;
	assert_int_equal(user_ask(world, &first, session), 0);
	assert_int_equal(user_ask(world, &second, session), 0);
	WAIT(world, first.told && second.told);
	assert_int_equal(first.err, -E_SESSION);
	assert_int_equal(second.err, -E_SESSION);
	leg_leave(&first.use, true);
	world->certificate_err = 0;
	world->tunnel_err = -E_OFFLINE;
	assert_int_equal(user_ask(world, &first, session), 0);
	WAIT(world, first.told);
	assert_int_equal(first.err, -E_OFFLINE);
	world->tunnel_err = 0;
	assert_int_equal(user_ask(world, &first, session), 0);
	WAIT(world, first.told);
	assert_int_equal(first.err, 0);
	leg_leave(&first.use, false);
}

static void test_other_device(void **state)
{
	struct world *world = *state;
	struct caller user;
	device_be(world, &other);
	assert_int_equal(user_ask(world, &user, session), 0);
	WAIT(world, user.told);
	assert_int_equal(user.err, -E_CERTIFICATE_PEER);
	assert_int_equal(world->calls, 0);
}

static void test_nobody_comes(void **state)
{
	struct world *world = *state;
	struct caller user;
	world->deaf = true;
	assert_int_equal(user_ask(world, &user, session), 0);
	WAIT(world, user.told);
	assert_int_equal(user.err, -E_PEER_GONE);
	/* no relay, no core */
	web_set_relay(world->web, -1);
	assert_int_equal(user_ask(world, &user, session), 0);
	WAIT(world, user.told);
	assert_int_equal(user.err, -E_BUSY);
	core_go(world);
	assert_int_equal(user_ask(world, &user, session), 0); /* there is a certificate, and nobody to ask for a ticket */
	WAIT(world, user.told);
	assert_int_equal(user.err, -E_BUSY);
	assert_int_equal(user_ask(world, &user, another), -E_BUSY);
}

static void test_device_goes_away(void **state)
{
	struct world *world = *state;
	struct caller user;
	assert_int_equal(user_ask(world, &user, session), 0);
	WAIT(world, user.told);
	user_call(&user);
	device_go(world);
	WAIT(world, user.call_closed);
	assert_int_equal(user.call_err, -E_CLOSED);
	assert_int_equal(user.told, 1);
	assert_null(user.use.leg);
	leg_leave(&user.use, true);
	assert_int_equal(user_ask(world, &user, session), 0); /* a new one */
	WAIT(world, user.told);
	assert_int_equal(user.err, 0);
	leg_leave(&user.use, false);
}

static void test_session_ends(void **state)
{
	struct world *world = *state;
	struct caller open, waiting, stranger;
	assert_int_equal(user_ask(world, &stranger, another), 0);
	WAIT(world, stranger.told);
	assert_int_equal(user_ask(world, &open, session), 0);
	WAIT(world, open.told);
	user_call(&open);
	legs_session_ended(world->web, session);
	assert_true(open.call_closed);
	assert_int_equal(world->web->n_legs, 1);
	assert_int_equal(world->web->n_passports, 1);
	world->silent = true;
	assert_int_equal(user_ask(world, &waiting, session), 0);
	turn(world);
	legs_session_ended(world->web, session);
	assert_int_equal(waiting.told, 1);
	assert_int_equal(waiting.err, -E_SESSION);
	assert_non_null(stranger.use.leg);
	leg_leave(&stranger.use, false);
}

/* Core still owes answers when all ends. */
static void test_ends_meanwhile(void **state)
{
	struct world *world = *state;
	struct caller first, second;
	assert_int_equal(user_ask(world, &first, session), 0);
	WAIT(world, first.told);
	leg_leave(&first.use, false);
	WAIT(world, world->lost);
	world->silent = true;
	assert_int_equal(user_ask(world, &first, session), 0);  /* waits for a ticket */
	assert_int_equal(user_ask(world, &second, another), 0); /* for a certificate */
	WAIT(world, world->tunnels == 2 && world->certificates == 2);
	world->web = web_free(world->web);
	assert_int_equal(first.err, -E_CANCELLED);
	assert_int_equal(second.err, -E_CANCELLED);
}

/* Who is told may leave, and others with him. */
static struct caller *to_leave;
static void on_ready_leave(void *ctx, int err, const char *why, struct rpc_connection *connection)
{
	on_ready(ctx, err, why, connection);
	leg_leave(&to_leave->use, false);
	leg_leave(&((struct caller *)ctx)->use, false);
}

static void test_leaving_inside(void **state)
{
	struct world *world = *state;
	struct caller first, second;
	for (int refused = 0; refused < 2; refused++) {
		world->tunnel_err = refused ? -E_OFFLINE : 0;
		assert_int_equal(user_ask(world, &first, session), 0);
		assert_int_equal(user_ask(world, &second, session), 0);
		first.use.ready = on_ready_leave;
		to_leave = &second;
		WAIT(world, first.told);
		turn(world);
		turn(world);
		assert_int_equal(second.told, 0);
		assert_null(first.use.leg);
		assert_null(second.use.leg);
	}
	WAIT(world, world->web->n_legs == 0);
}

/* A leg to the n-th device, of the session of that number. */
static int nth_ask(struct world *world, struct caller *user, unsigned n, unsigned whose)
{
	const struct id id = { { (uint8_t)n, (uint8_t)(n >> 8) } };
	const uint8_t of[ACCOUNT_SESSION_SIZE] = { (uint8_t)whose, (uint8_t)(whose >> 8), 1 };
	*user = (struct caller){ .world = world, .use = { .ready = on_ready, .ctx = user } };
	return leg_use(world->web, of, &id, &user->use);
}

static void test_at_most(void **state)
{
	struct world *world = *state;
	static struct caller users[LEGS_MAX + 1];
	world->silent = true;
	for (unsigned i = 0; i < LEGS_OF_SESSION; i++)
		assert_int_equal(nth_ask(world, &users[i], i, 1), 0);
	assert_int_equal(nth_ask(world, &users[LEGS_OF_SESSION], LEGS_OF_SESSION, 1), -E_LIMIT);
	for (unsigned i = LEGS_OF_SESSION; i < LEGS_MAX; i++)
		assert_int_equal(nth_ask(world, &users[i], i, 2), 0);
	assert_int_equal(nth_ask(world, &users[LEGS_MAX], 0, 3), -E_BUSY);
}

/* Of sessions too: there is room for another when one has no leg. */
static void test_at_most_sessions(void **state)
{
	struct world *world = *state;
	static struct caller users[257];
	world->silent = true;
	for (unsigned i = 0; i < 256; i++)
		assert_int_equal(nth_ask(world, &users[i], 0, i), 0);
	assert_int_equal(nth_ask(world, &users[256], 0, 256), -E_BUSY);
	leg_leave(&users[7].use, true);
	WAIT(world, world->web->n_legs == 255);
	assert_int_equal(nth_ask(world, &users[256], 0, 256), 0);
	assert_int_equal(world->web->n_passports, 256);
}

/* Whatever fails on the way: it is told, and nothing stays. */
static void test_faults(void **state)
{
	struct world *world = *state;
	struct caller user;
	bool reached = true;
	long n = 1;
	size_t descriptors = test_descriptors();
	for (; reached; n++) {
		fault_arm(n);
		int err = user_ask(world, &user, session);
		if (err == 0) {
			WAIT(world, user.told);
			err = user.err;
		}
		reached = !fault_armed();
		fault_arm(0);
		assert_true(reached || err == 0);
		leg_leave(&user.use, false);
		legs_session_ended(world->web, session);
		core_go(world); /* the fault may have hit its connection */
		device_go(world);
		core_connect(world);
		assert_int_equal(world->web->n_legs, 0);
		assert_int_equal(world->web->n_passports, 0);
		assert_int_equal(test_descriptors(), descriptors);
	}
	assert_true(n > 20);
}

static int set_up(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	int64_t now = clock_wall_s();
	mesh = test_mesh_new(3);
	device = test_leaf_at(&mesh, IDENTITY_NODE, 21, now - TEST_DAY, now + TEST_DAY);
	other = test_leaf_at(&mesh, IDENTITY_NODE, 22, now - TEST_DAY, now + TEST_DAY);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	test_leaf_done(&device);
	test_leaf_done(&other);
	test_mesh_done(&mesh);
	return 0;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_open, world_close)
	const struct CMUnitTest tests[] = {
		TEST(test_opens),          TEST(test_shared),         TEST(test_certificate_kept), TEST(test_refused),
		TEST(test_other_device),   TEST(test_nobody_comes),   TEST(test_device_goes_away), TEST(test_session_ends),
		TEST(test_ends_meanwhile), TEST(test_leaving_inside), TEST(test_at_most),          TEST(test_at_most_sessions),
		TEST(test_asked_again),    TEST(test_two_devices),    TEST(test_faults),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
