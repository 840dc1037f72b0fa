/* The orb role: CORBA clients.  Gives out the object reference on IORPort, serves GIOP over TLS on descriptors that front passes (TLSPort), and in
 * clear on IIOPPort when that is on.  It holds no state of the mesh: certificates come out of core. */
#include <errno.h>

#include "base/err.h"
#include "gateway/link_revoked.h"
#include "gateway/reference.h"
#include "io/io.h"
#include "os/fd.h"
#include "os/random.h"
#include "os/socket.h"
#include "os/sources.h"
#include "rpc/rpc.h"
#include "server/orb.h"
#include "server/server.h"
#include "services.h"
#include "stream/stream.h"

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
			orb_connection_add(role, fds[k], component_tls(role->component));
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

static void on_reference(void *ctx, unsigned events)
{
	struct orb_role *role = ctx;
	(void)events;
	reference_give(role->references_fd, buf_str(&role->reference));
}

/* Clients wait in the listeners' queues until there is a certificate to meet them with. */
static void intake_update(struct orb_role *role)
{
	unsigned events = component_tls(role->component) ? IO_READABLE : 0;
	if (role->intake)
		io_watch_set(role->intake, events);
	if (role->clear)
		io_watch_set(role->clear, events);
	if (role->references)
		io_watch_set(role->references, events);
}

static void on_renewed(void *ctx)
{
	struct orb_role *role = ctx;
	intake_update(role);
	priv_child_ready(role->child);
}

/* ---- the role ---- */

static void on_descriptor(void *ctx, const char *name, int fd)
{
	static const struct rpc_connection_events events = { NULL, NULL, NULL };
	static const struct rpc_connection_settings settings = { .server = false };
	struct orb_role *role = ctx;
	struct str what = str_from(name);
	if (str_is(what, "rpc-to:core")) {
		rpc_connection_replace(&role->core, role->loop, fd, &settings, &events, role);
		link_revoked_follow(role->revoked);
		component_follow(role->component);
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
	static const struct link_revoked_events revoked_events = { orb_connections_revoke, NULL };
	/* CORBA clients offer nothing by ALPN; who offers what is not this is refused here.  What offers h2 front passes to link. */
	static const char *const alpn[] = { "giop", NULL };
	static const struct tls_settings how = { .verify = TLS_VERIFY_OPTIONAL,
		                                 .kinds = 1u << IDENTITY_NODE | 1u << IDENTITY_USER,
		                                 .alpn = alpn,
		                                 .alpn_optional = true };
	uint8_t seed[16];
	list_init(&role->connections);
	random_bytes(seed, sizeof seed);
	role->component = component_new(role->loop, &role->core, GATEWAY_AT_CORE, &how, on_renewed, role);
	role->sweep = io_timer_new(role->loop, orb_connections_sweep, role);
	role->revoked = link_revoked_new(role->loop, &role->core, &revoked_events, role);
	role->sources = sources_new(seed, SOURCES_MAX, (struct sources_limits){ .each = EACH_MAX, .loopback = LOOPBACK_MAX });
	bool whole = role->component && role->sweep && role->revoked && role->sources;
	return whole && reference_make(role) == 0 ? 0 : -E_NO_MEMORY;
}

static void role_done(struct orb_role *role)
{
	orb_connections_free(role);
	rpc_connection_free(role->core);
	link_revoked_free(role->revoked);
	component_free(role->component);
	sources_free(role->sources);
	io_watch_free(role->intake);
	io_watch_free(role->clear);
	io_watch_free(role->references);
	io_timer_free(role->sweep);
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
