#include "web/leg.h"

#include "base/err.h"
#include "base/mem.h"
#include "crypto/tls.h"
#include "os/clock.h"
#include "os/fd.h"
#include "relay/relay.h"
#include "services.h"
#include "stream/stream.h"
#include "web/guard.h"

#define IDLE_MS       60000
#define ASK_MS        15000
#define HANDSHAKE_MS  30000
#define PASSPORTS_MAX 256
#define FRESH_S       600 /* a certificate that ends sooner is not used for a new leg */

/* What a session shows to devices. */
struct passport {
	struct list node; /* in web->passports */
	struct web *web;  /* NULL: it has ended, and is freed when core has answered */
	struct guard *guard;
	struct list legs;
	size_t n;
	struct key *key;
	struct tls_context *tls; /* NULL = core has not answered yet */
	struct certificate *root;
	struct id mesh;
	int64_t until; /* seconds since 1970 */
	bool asking;
	uint8_t session[ACCOUNT_SESSION_SIZE];
};

struct leg {
	struct list node;          /* of its passport */
	struct passport *passport; /* NULL: it has ended, and is freed when core has answered */
	struct id device;
	struct list uses;
	struct rpc_connection *connection;
	struct io_timer *idle;
	struct io_task task; /* asks for a ticket, or tells who waits: from the loop */
	bool asking, open;
};

/* ---- ends ---- */

static void passport_free(struct passport *passport)
{
	tls_context_free(passport->tls);
	certificate_free(passport->root);
	key_free(passport->key);
	mem_wipe(passport->session, sizeof passport->session);
	mem_free(passport);
}

static void use_drop(struct leg_use *use)
{
	list_remove(&use->node);
	use->leg = NULL;
}

/* Ends it, tells who still waits, and frees it as soon as that may be. */
static void leg_end(struct leg *leg, int err, const char *why)
{
	struct passport *passport = leg->passport;
	struct rpc_connection *connection = leg->connection;
	struct list uses = LIST_INIT(uses);
	leg->passport = NULL;
	leg->connection = NULL;
	list_remove(&leg->node);
	passport->web->n_legs--;
	passport->n--;
	io_task_cancel(&leg->task);
	leg->idle = io_timer_free(leg->idle);
	LIST_EACH(at, &leg->uses) {
		struct leg_use *use = LIST_ENTRY(at, struct leg_use, node);
		use_drop(use);
		if (!use->told)
			list_append(&uses, &use->node);
	}
	while (!list_empty(&uses)) { /* each may do away with others */
		struct leg_use *use = LIST_ENTRY(uses.next, struct leg_use, node);
		list_remove(&use->node);
		use->told = true;
		use->ready(use->ctx, err, why, NULL);
	}
	rpc_connection_free(connection); /* with the calls' ends */
	if (!leg->asking)
		mem_free(leg);
}

/* With its legs; who is told of that may already ask for a new one. */
static void passport_end(struct passport *passport, int err, const char *why)
{
	list_remove(&passport->node);
	passport->web->n_passports--;
	passport->guard = guard_release(passport->guard);
	while (!list_empty(&passport->legs))
		leg_end(LIST_ENTRY(passport->legs.next, struct leg, node), err, why);
	passport->web = NULL;
	if (!passport->asking)
		passport_free(passport);
}

/* ---- the connection: through the relay to the device ---- */

static void leg_ask(struct leg *leg);

static void on_task(void *ctx)
{
	struct leg *leg = ctx;
	if (!leg->open)
		return leg_ask(leg);
	for (struct list *at = leg->uses.next; leg->passport && at != &leg->uses;) {
		struct leg_use *use = LIST_ENTRY(at, struct leg_use, node);
		at = at->next;
		if (use->told)
			continue;
		use->told = true;
		use->ready(use->ctx, 0, "", leg->connection);
		at = leg->uses.next; /* whoever was told may have done anything */
	}
}

static void on_ready(void *ctx)
{
	struct leg *leg = ctx;
	leg->open = true;
	io_task_schedule(leg->passport->web->loop, &leg->task);
}

/* The relay closes a leg whose partner did not come. */
static void on_closed(void *ctx, int err)
{
	struct leg *leg = ctx;
	bool alone = !leg->open && (err == -E_CLOSED || err == -E_TIMEOUT || (err < 0 && err > -E_FIRST));
	leg_end(leg, alone ? -E_PEER_GONE : err, "");
}

/* A pair of sockets, one end for the relay role.  Returns ours. */
static int relay_connect(const struct web *web)
{
	int pair[2], err = web->relay < 0 ? -E_BUSY : fd_pair_stream(pair);
	if (err < 0)
		return err;
	err = fd_send(web->relay, "leg", 3, &pair[1], 1);
	fd_close(pair[1]);
	if (err < 0)
		fd_close(pair[0]);
	return err < 0 ? -E_BUSY : pair[0];
}

static int leg_dial(struct leg *leg, const uint8_t ticket[RELAY_TICKET])
{
	static const struct rpc_connection_events events = { NULL, on_ready, on_closed };
	static const struct rpc_connection_settings rpc = { .ping_ms = RPC_PING_MS, .quiet_ms = RPC_QUIET_MS };
	static const struct stream_events none;
	const struct passport *passport = leg->passport;
	const struct identity device = { passport->mesh, IDENTITY_NODE, leg->device };
	uint8_t preamble[RELAY_PREAMBLE];
	relay_preamble_write(RELAY_CLIENT, ticket, preamble);
	struct stream_settings settings = { .tls = passport->tls,
		                            .expect = &device,
		                            .preamble = { (const char *)preamble, sizeof preamble },
		                            .handshake_ms = HANDSHAKE_MS };
	settings.fd = relay_connect(passport->web);
	if (settings.fd < 0)
		return settings.fd;
	struct stream *stream = stream_new(passport->web->loop, &settings, &none, NULL);
	leg->connection = stream ? rpc_connection_new(passport->web->loop, stream, &rpc, &events, leg) : NULL;
	return leg->connection ? 0 : -E_NO_MEMORY;
}

/* ---- the ticket ---- */

static void on_tunnel(void *ctx, int err, const char *why, const void *response)
{
	struct leg *leg = ctx;
	leg->asking = false;
	if (!leg->passport) {
		mem_free(leg);
		return;
	}
	if (err == 0)
		err = leg_dial(leg, ((const murmesh_Tunnel *)response)->ticket);
	if (err < 0)
		leg_end(leg, err, why);
}

static void leg_ask(struct leg *leg)
{
	const struct passport *passport = leg->passport;
	murmesh_ConsoleTunnelRequest request = { .has_tunnel = true, .tunnel.rights = murmesh_Right_RUN };
	memcpy(request.session, passport->session, sizeof request.session);
	memcpy(request.tunnel.device, leg->device.bytes, sizeof request.tunnel.device);
	int err = passport->web->core ? rpc_unary(passport->web->core, &rpc_Console_OpenTunnel, &request, ASK_MS, on_tunnel, leg)
	                              : -E_BUSY;
	leg->asking = err == 0;
	mem_wipe(&request, sizeof request);
	if (err < 0)
		leg_end(leg, err, "");
}

/* ---- the certificate ---- */

static int context_make(struct passport *passport, const murmesh_CertificateReply *reply)
{
	static const char *const alpn[] = { "h2", NULL };
	struct certificate *leaf = NULL, *intermediate = NULL, *root = NULL;
	struct certificate_info info = { 0 };
	int err = certificate_read(reply->leaf.bytes, reply->leaf.size, &leaf);
	if (err == 0)
		err = certificate_read(reply->intermediate.bytes, reply->intermediate.size, &intermediate);
	if (err == 0)
		err = certificate_read(reply->root.bytes, reply->root.size, &root);
	if (err == 0)
		err = certificate_inspect(leaf, &info);
	if (err == 0) {
		const struct tls_settings settings = { .verify = TLS_VERIFY_REQUIRED,
			                               .leaf = leaf,
			                               .intermediate = intermediate,
			                               .root = root,
			                               .key = passport->key,
			                               .send_intermediate = true,
			                               .mesh = info.identity.mesh,
			                               .kinds = 1u << IDENTITY_NODE,
			                               .alpn = alpn };
		err = tls_context_new(&settings, &passport->tls);
		passport->root = root;
		root = NULL;
		passport->mesh = info.identity.mesh;
		passport->until = info.not_after;
	}
	certificate_free(leaf);
	certificate_free(intermediate);
	certificate_free(root);
	return err;
}

static void on_certificate(void *ctx, int err, const char *why, const void *response)
{
	struct passport *passport = ctx;
	passport->asking = false;
	if (!passport->web) {
		passport_free(passport);
		return;
	}
	if (err == 0)
		err = context_make(passport, response);
	if (err < 0)
		return passport_end(passport, err, why);
	size_t n = passport->n; /* asking may end one, and who is told of that begin others */
	for (struct list *at = passport->legs.next; n > 0; n--) {
		struct leg *leg = LIST_ENTRY(at, struct leg, node);
		at = at->next;
		leg_ask(leg);
	}
}

static struct passport *passport_new(struct web *web, const uint8_t session[ACCOUNT_SESSION_SIZE])
{
	murmesh_SessionKey request = murmesh_SessionKey_init_zero;
	struct passport *passport = mem_alloc(sizeof *passport);
	size_t len;
	if (!passport)
		return NULL;
	*passport = (struct passport){ .web = web, .key = key_generate(), .guard = guard_take(web, session) };
	list_init(&passport->legs);
	list_append(&web->passports, &passport->node);
	web->n_passports++;
	memcpy(passport->session, session, sizeof passport->session);
	int err = passport->key && passport->guard ? key_public_write(passport->key, request.key.bytes, &len) : -E_NO_MEMORY;
	if (err == 0) {
		request.key.size = (pb_size_t)len;
		memcpy(request.session, session, sizeof request.session);
		err = web->core ? rpc_unary(web->core, &rpc_Console_UserCertificate, &request, ASK_MS, on_certificate, passport)
		                : -E_BUSY;
		passport->asking = err == 0;
	}
	mem_wipe(&request, sizeof request);
	if (err < 0)
		passport_end(passport, err, "");
	return err < 0 ? NULL : passport;
}

/* Kept while its session lasts: core counts certificates.  One that ends soon keeps its legs, and gets no new ones; without legs it goes, as does
 * the oldest when there are too many. */
static struct passport *passport_find(struct web *web, const uint8_t session[ACCOUNT_SESSION_SIZE])
{
	LIST_EACH(at, &web->passports) {
		struct passport *passport = LIST_ENTRY(at, struct passport, node);
		bool fresh = !passport->tls || clock_wall_s() < passport->until - FRESH_S;
		if (fresh && session_equal(passport->session, session))
			return passport;
		if (!passport->n && (!fresh || web->n_passports >= PASSPORTS_MAX))
			passport_end(passport, -E_CLOSED, "");
	}
	return web->n_passports < PASSPORTS_MAX ? passport_new(web, session) : NULL;
}

/* ---- use ---- */

int leg_proven(const struct leg_use *use, const murmesh_SignedDocument *order, const murmesh_RunExit *exit,
               const struct result_streams *streams)
{
	const struct leg *leg = use->leg;
	if (!leg || !leg->passport)
		return -E_CLOSED;
	const struct result_expected expected = { leg->passport->root, leg->passport->mesh, leg->device, order, clock_wall_s() };
	return result_check(&expected, exit, streams);
}

static void on_idle(void *ctx)
{
	leg_end(ctx, -E_CLOSED, "");
}

static struct leg *leg_find(struct web *web, const uint8_t session[ACCOUNT_SESSION_SIZE], const struct id *device)
{
	LIST_EACH(at, &web->passports) {
		struct passport *passport = LIST_ENTRY(at, struct passport, node);
		if (!session_equal(passport->session, session))
			continue;
		LIST_EACH(at_leg, &passport->legs)
			if (id_equal(&LIST_ENTRY(at_leg, struct leg, node)->device, device))
				return LIST_ENTRY(at_leg, struct leg, node);
	}
	return NULL;
}

static int leg_new(struct web *web, const uint8_t session[ACCOUNT_SESSION_SIZE], const struct id *device, struct leg **ret)
{
	if (web->n_legs >= LEGS_MAX)
		return -E_BUSY;
	struct leg *leg = mem_alloc(sizeof *leg);
	struct io_timer *idle = leg ? io_timer_new(web->loop, on_idle, leg) : NULL;
	struct passport *passport = idle ? passport_find(web, session) : NULL;
	int err = !idle ? -E_NO_MEMORY : !passport ? -E_BUSY : passport->n >= LEGS_OF_SESSION ? -E_LIMIT : 0;
	if (err < 0) {
		io_timer_free(idle);
		mem_free(leg);
		return err;
	}
	*leg = (struct leg){ .passport = passport, .device = *device, .idle = idle };
	list_init(&leg->uses);
	io_task_init(&leg->task, on_task, leg);
	list_append(&passport->legs, &leg->node);
	passport->n++;
	web->n_legs++;
	*ret = leg;
	return 0;
}

int leg_use(struct web *web, const uint8_t session[ACCOUNT_SESSION_SIZE], const struct id *device, struct leg_use *use)
{
	struct leg *leg = leg_find(web, session, device);
	bool is_new = !leg;
	int err = leg ? 0 : leg_new(web, session, device, &leg);
	if (err < 0)
		return err;
	io_timer_stop(leg->idle);
	use->leg = leg;
	use->told = false;
	list_append(&leg->uses, &use->node);
	if (leg->open || (is_new && leg->passport->tls))
		io_task_schedule(web->loop, &leg->task);
	return 0;
}

void leg_leave(struct leg_use *use, bool keep)
{
	struct leg *leg = use->leg;
	if (use->node.next)
		use_drop(use);
	if (leg && list_empty(&leg->uses)) /* from the loop: who leaves may be inside one of its events */
		io_timer_start(leg->idle, keep && leg->open ? IDLE_MS : 0, 0);
}

void legs_session_ended(struct web *web, const uint8_t session[ACCOUNT_SESSION_SIZE])
{
	struct list ended = LIST_INIT(ended); /* where nobody finds them who is told of their end */
	LIST_EACH(at, &web->passports)
		if (session_equal(LIST_ENTRY(at, struct passport, node)->session, session)) {
			list_remove(at);
			list_append(&ended, at);
		}
	while (!list_empty(&ended))
		passport_end(LIST_ENTRY(ended.next, struct passport, node), -E_SESSION, "");
}

void legs_free_all(struct web *web)
{
	while (!list_empty(&web->passports))
		passport_end(LIST_ENTRY(web->passports.next, struct passport, node), -E_CANCELLED, "");
}
