/* The web role: the console's server.  It gets connections from the front, answers browsers, and asks core on their behalf, with the session that
 * each shows; it holds no state of the mesh and opens no file. */
#include <errno.h>

#include "base/err.h"
#include "crypto/tls.h"
#include "io/io.h"
#include "os/clock.h"
#include "os/fd.h"
#include "os/log.h"
#include "rpc/rpc.h"
#include "server/ca_changes.h"
#include "server/server.h"
#include "services.h"
#include "web/web.h"

#define RETRY_MS 50

struct web_role {
	struct priv_child *child;
	struct io_loop *loop;
	struct web *web;
	struct io_watch *intake;  /* the front's packet socket */
	struct io_timer *renewal; /* asks for the next certificate, or again after a failure */
	struct rpc_connection *core, *viz;
	struct ca_changes *changes;
	struct key *key; /* the same as long as the role lives: people may have pinned it */
	struct tls_context *tls;
	int intake_fd, relay_fd;
};

static void on_intake(void *ctx, unsigned events)
{
	struct web_role *role = ctx;
	(void)events;
	for (unsigned i = 0; i < 64; i++) { /* a bounded turn: others want the loop too */
		char kind[16];
		int fds[FD_PASS_MAX];
		size_t n = 0;
		ssize_t len = fd_receive(role->intake_fd, kind, sizeof kind, fds, &n);
		if (len <= 0 && len != -EMFILE && len != -EPROTO)
			return;
		for (size_t k = 0; k < n; k++)
			web_connection(role->web, fds[k]);
	}
}

/* Connections wait in the front's queue until there is a certificate to meet them with. */
static void intake_update(struct web_role *role)
{
	if (role->intake)
		io_watch_set(role->intake, role->tls ? IO_READABLE : 0);
}

/* ---- the own certificate ---- */

static int context_make(struct web_role *role, const murmesh_CertificateReply *reply)
{
	static const char *const alpn[] = { "http/1.1", NULL };
	struct certificate *leaf = NULL, *intermediate = NULL, *root = NULL;
	struct certificate_info info = { 0 };
	struct tls_context *context = NULL;
	int err = certificate_read(reply->leaf.bytes, reply->leaf.size, &leaf);
	if (err == 0)
		err = certificate_read(reply->intermediate.bytes, reply->intermediate.size, &intermediate);
	if (err == 0)
		err = certificate_read(reply->root.bytes, reply->root.size, &root);
	if (err == 0)
		err = certificate_inspect(leaf, &info);
	if (err == 0) {
		const struct tls_settings settings = { .server = true,
			                               .verify = TLS_VERIFY_NONE,
			                               .leaf = leaf,
			                               .intermediate = intermediate,
			                               .root = root,
			                               .key = role->key,
			                               .send_root = true,
			                               .alpn = alpn,
			                               .alpn_optional = true };
		err = tls_context_new(&settings, &context);
	}
	if (err == 0) {
		tls_context_free(role->tls);
		role->tls = context;
		web_set_tls(role->web, context);
		int64_t life_s = info.not_after - clock_wall_s();
		io_timer_start(role->renewal, life_s > 0 ? (uint64_t)life_s * 1000 / 3 * 2 : RETRY_MS, 0);
	}
	certificate_free(leaf);
	certificate_free(intermediate);
	certificate_free(root);
	return err;
}

static void on_certificate(void *ctx, int err, const char *why, const void *response)
{
	struct web_role *role = ctx;
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
	struct web_role *role = ctx;
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

/* ---- other roles ---- */

static void on_core_closed(void *ctx, int err)
{
	struct web_role *role = ctx;
	struct rpc_connection *core = role->core;
	(void)err;
	role->core = NULL;
	web_set_core(role->web, NULL);
	rpc_connection_free(core);
}

static void on_viz_closed(void *ctx, int err)
{
	struct web_role *role = ctx;
	struct rpc_connection *viz = role->viz;
	(void)err;
	role->viz = NULL;
	web_set_viz(role->web, NULL);
	rpc_connection_free(viz);
}

static void on_descriptor(void *ctx, const char *name, int fd)
{
	static const struct rpc_connection_events core_events = { NULL, NULL, on_core_closed };
	static const struct rpc_connection_events viz_events = { NULL, NULL, on_viz_closed };
	static const struct rpc_connection_settings settings = { .server = false };
	struct web_role *role = ctx;
	struct str what = str_from(name);
	if (str_is(what, "rpc-to:core")) {
		if (role->core)
			on_core_closed(role, 0);
		role->core = rpc_connection_plain(role->loop, fd, &settings, &core_events, role);
		web_set_core(role->web, role->core);
		ca_changes_follow(role->changes);
		if (!role->tls)
			certificate_ask(role);
	} else if (str_is(what, "rpc-to:viz")) {
		if (role->viz)
			on_viz_closed(role, 0);
		role->viz = rpc_connection_plain(role->loop, fd, &settings, &viz_events, role);
		web_set_viz(role->web, role->viz);
	} else if (str_is(what, "pass-to:relay")) {
		role->relay_fd = fd;
		web_set_relay(role->web, fd);
	} else if (str_is(what, "pass-from:front")) {
		role->intake_fd = fd;
		role->intake = io_watch_new(role->loop, fd, on_intake, role);
		intake_update(role);
	} else
		fd_close(fd);
}

/* ---- the role ---- */

static struct web *web_make(struct web_role *role)
{
	struct str settings = priv_child_configuration(role->child);
	struct web_settings web = { str_setting(settings, "address"), str_setting(settings, "domain"), 0 };
	uint64_t port = 0;
	str_to_u64(str_setting(settings, "front_port"), UINT16_MAX, &port);
	web.port = (uint16_t)port;
	return web_new(role->loop, &web);
}

int server_web_main(struct priv_child *child)
{
	static const struct priv_child_events events = { on_descriptor, NULL, NULL };
	struct web_role role = { .child = child, .loop = priv_child_loop(child), .intake_fd = -1, .relay_fd = -1 };
	tls_warm_up();
	fd_limit_raise();
	role.key = key_generate();
	role.web = web_make(&role);
	role.renewal = io_timer_new(role.loop, certificate_ask, &role);
	role.changes = ca_changes_new(role.loop, &role.core, certificate_ask, &role);
	if (!role.key || !role.web || !role.renewal || !role.changes)
		return 75;
	priv_child_listen(child, &events, &role);
	if (priv_child_confine(child) < 0)
		return 77;
	int code = priv_child_run(child);
	web_free(role.web);
	rpc_connection_free(role.core);
	rpc_connection_free(role.viz);
	ca_changes_free(role.changes);
	io_watch_free(role.intake);
	io_timer_free(role.renewal);
	tls_context_free(role.tls);
	key_free(role.key);
	fd_close(role.intake_fd);
	fd_close(role.relay_fd);
	return code;
}
