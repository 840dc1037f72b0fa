/* The orb role: CORBA clients.  Gives out the object reference on IORPort, serves GIOP over TLS on descriptors that front passes (TLSPort), and in
 * clear on IIOPPort when that is on.  It holds no state of the mesh: certificates come out of core. */
#include <errno.h>

#include "base/err.h"
#include "io/io.h"
#include "os/clock.h"
#include "os/fd.h"
#include "os/log.h"
#include "os/random.h"
#include "os/socket.h"
#include "os/sources.h"
#include "rpc/rpc.h"
#include "server/link_revoked.h"
#include "server/orb.h"
#include "server/server.h"
#include "services.h"
#include "stream/stream.h"

#define RETRY_MS     50
#define BATCH        64 /* in a turn: others want the loop too */
#define SOURCES_MAX  1024
#define EACH_MAX     64 /* connections of one client */
#define LOOPBACK_MAX 256

/* ---- intake ---- */

static void on_intake(void *ctx, unsigned events)
{
	struct orb_role *role = ctx;
	(void)events;
	for (unsigned i = 0; i < BATCH; i++) {
		char kind[16];
		int fds[FD_PASS_MAX];
		size_t n = 0;
		ssize_t len = fd_receive(role->intake_fd, kind, sizeof kind, fds, &n);
		if (len <= 0 && len != -EMFILE && len != -EPROTO)
			return;
		for (size_t k = 0; k < n; k++)
			orb_connection_add(role, fds[k], role->tls);
	}
}

static void on_clear(void *ctx, unsigned events)
{
	struct orb_role *role = ctx;
	int fd;
	(void)events;
	for (unsigned i = 0; i < BATCH && (fd = socket_accept(role->clear_fd)) >= 0; i++)
		orb_connection_add(role, fd, NULL);
}

/* One line fits into any socket's buffer.  What the client may have said is read, else the close would take the line back. */
static void on_reference(void *ctx, unsigned events)
{
	struct orb_role *role = ctx;
	char sink[512];
	int fd;
	(void)events;
	for (unsigned i = 0; i < BATCH && (fd = socket_accept(role->references_fd)) >= 0; i++) {
		fd_write(fd, buf_head(&role->reference), buf_len(&role->reference));
		socket_shutdown_write(fd);
		fd_read(fd, sink, sizeof sink);
		fd_close(fd);
	}
}

/* Clients wait in the listeners' queues until there is a certificate to meet them with. */
static void intake_update(struct orb_role *role)
{
	unsigned events = role->tls ? IO_READABLE : 0;
	if (role->intake)
		io_watch_set(role->intake, events);
	if (role->clear)
		io_watch_set(role->clear, events);
	if (role->references)
		io_watch_set(role->references, events);
}

/* ---- the own certificate ---- */

/* CORBA clients offer nothing by ALPN; who offers what is not this is refused here.  What offers h2 front passes to link. */
static int context_make(struct orb_role *role, const murmesh_CertificateReply *reply)
{
	static const char *const alpn[] = { "giop", NULL };
	struct certificate *leaf = NULL;
	struct issuers issuers = { 0 };
	struct certificate_info info = { 0 };
	struct tls_context *context = NULL;
	int err = certificate_read(reply->leaf.bytes, reply->leaf.size, &leaf);
	if (err == 0)
		err = issuers_read(reply, &issuers);
	if (err == 0)
		err = certificate_inspect(leaf, &info);
	if (err == 0) {
		const struct tls_settings settings = { .server = true,
			                               .verify = TLS_VERIFY_OPTIONAL,
			                               .leaf = leaf,
			                               .intermediate = issuers.intermediates[0],
			                               .root = issuers.root,
			                               .key = role->key,
			                               .send_root = true,
			                               .formers = (const struct certificate *const *)issuers.intermediates + 1,
			                               .n_formers = issuers.n_intermediates - 1,
			                               .mesh = info.identity.mesh,
			                               .kinds = 1u << IDENTITY_NODE | 1u << IDENTITY_USER,
			                               .alpn = alpn,
			                               .alpn_optional = true };
		err = tls_context_new(&settings, &context);
	}
	certificate_free(leaf);
	if (err < 0) {
		issuers_free(&issuers);
		return err;
	}
	tls_context_free(role->tls);
	role->tls = context;
	role->mesh = info.identity.mesh;
	issuers_free(&role->issuers);
	role->issuers = issuers;
	int64_t life_s = info.not_after - clock_wall_s();
	io_timer_start(role->renewal, life_s > 0 ? (uint64_t)life_s * 1000 / 3 * 2 : RETRY_MS, 0);
	return 0;
}

static void on_certificate(void *ctx, int err, const char *why, const void *response)
{
	struct orb_role *role = ctx;
	if (err == 0)
		err = context_make(role, response);
	if (err < 0) {
		if (err != -E_BUSY) /* core waits for ca */
			log_limited(LOG_WARNING, "no certificate for this role yet: %s %s", err_text(err), why);
		io_timer_start(role->renewal, RETRY_MS, 0);
		return;
	}
	intake_update(role);
	priv_child_ready(role->child);
}

static void certificate_ask(void *ctx)
{
	struct orb_role *role = ctx;
	murmesh_PublicKey key = murmesh_PublicKey_init_zero;
	size_t len;
	int err = role->core ? key_public_write(role->key, key.key.bytes, &len) : -E_CLOSED;
	if (err == 0) {
		key.key.size = (pb_size_t)len;
		err = rpc_unary(role->core, &rpc_Core_ComponentCertificate, &key, 10000, on_certificate, role);
	}
	if (err < 0)
		io_timer_start(role->renewal, RETRY_MS, 0);
}

/* ---- the role ---- */

static void on_core_closed(void *ctx, int err)
{
	struct orb_role *role = ctx;
	struct rpc_connection *core = role->core;
	(void)err;
	role->core = NULL;
	rpc_connection_free(core);
}

static void on_descriptor(void *ctx, const char *name, int fd)
{
	static const struct rpc_connection_events events = { NULL, NULL, on_core_closed };
	static const struct rpc_connection_settings settings = { .server = false };
	struct orb_role *role = ctx;
	struct str what = str_from(name);
	if (str_is(what, "rpc-to:core")) {
		if (role->core)
			on_core_closed(role, 0);
		role->core = rpc_connection_plain(role->loop, fd, &settings, &events, role);
		link_revoked_follow(role->revoked);
		ca_changes_follow(role->changes);
		if (!role->tls)
			certificate_ask(role);
	} else if (str_is(what, "pass-from:front")) {
		role->intake_fd = fd;
		role->intake = io_watch_new(role->loop, fd, on_intake, role);
	} else if (str_is(what, "iiop")) {
		role->clear_fd = fd;
		role->clear = io_watch_new(role->loop, fd, on_clear, role);
	} else if (str_is(what, "ior")) {
		role->references_fd = fd;
		role->references = io_watch_new(role->loop, fd, on_reference, role);
	} else
		fd_close(fd);
	intake_update(role);
}

static int reference_make(struct orb_role *role)
{
	struct ior ior;
	buf_init(&role->reference, IOR_BYTES_MAX * 2 + 8);
	int err = orb_reference(priv_child_configuration(role->child), &ior);
	if (err == 0)
		err = ior_write(&ior, &role->reference);
	return err == 0 ? buf_append_str(&role->reference, STR("\n")) : err;
}

static int role_init(struct orb_role *role)
{
	uint8_t seed[16];
	list_init(&role->connections);
	random_bytes(seed, sizeof seed);
	role->key = key_generate();
	role->renewal = io_timer_new(role->loop, certificate_ask, role);
	role->sweep = io_timer_new(role->loop, orb_connections_sweep, role);
	role->revoked = link_revoked_new(role->loop, &role->core, orb_connections_revoke, role);
	role->changes = ca_changes_new(role->loop, &role->core, certificate_ask, role);
	role->sources = sources_new(seed, SOURCES_MAX, (struct sources_limits){ .each = EACH_MAX, .loopback = LOOPBACK_MAX });
	bool whole = role->key && role->renewal && role->sweep && role->revoked && role->changes && role->sources;
	return whole && reference_make(role) == 0 ? 0 : -E_NO_MEMORY;
}

static void role_done(struct orb_role *role)
{
	orb_connections_free(role);
	rpc_connection_free(role->core);
	link_revoked_free(role->revoked);
	ca_changes_free(role->changes);
	sources_free(role->sources);
	io_watch_free(role->intake);
	io_watch_free(role->clear);
	io_watch_free(role->references);
	io_timer_free(role->renewal);
	io_timer_free(role->sweep);
	tls_context_free(role->tls);
	issuers_free(&role->issuers);
	key_free(role->key);
	buf_done(&role->reference);
	fd_close(role->intake_fd);
	fd_close(role->clear_fd);
	fd_close(role->references_fd);
}

int server_orb_main(struct priv_child *child)
{
	static const struct priv_child_events events = { on_descriptor, NULL, NULL };
	struct orb_role role = {
		.child = child, .loop = priv_child_loop(child), .intake_fd = -1, .references_fd = -1, .clear_fd = -1
	};
	tls_warm_up();
	fd_limit_raise();
	if (role_init(&role) < 0)
		return 75;
	priv_child_listen(child, &events, &role);
	if (priv_child_confine(child) < 0)
		return 77;
	int code = priv_child_run(child);
	role_done(&role);
	return code;
}
