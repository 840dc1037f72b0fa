/* The web role: the console's server.  It gets connections from the front, answers browsers, and asks core on their behalf, with the session that
 * each shows; it holds no state of the mesh and opens no file. */
#include <errno.h>

#include "crypto/tls.h"
#include "gateway/component.h"
#include "io/io.h"
#include "os/fd.h"
#include "rpc/rpc.h"
#include "server/server.h"
#include "services.h"
#include "web/web.h"

struct web_role {
	struct priv_child *child;
	struct io_loop *loop;
	struct web *web;
	struct io_watch *intake; /* the front's packet socket */
	struct rpc_connection *core, *viz;
	struct component *component; /* its key stays the same as long as the role lives: people may have pinned it */
	int intake_fd, relay_fd, download_fd;
	enum gateway_place place;
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
		io_watch_set(role->intake, component_tls(role->component) ? IO_READABLE : 0);
}

static void on_renewed(void *ctx)
{
	struct web_role *role = ctx;
	web_set_tls(role->web, component_tls(role->component));
	intake_update(role);
	priv_child_ready(role->child);
}

/* ---- other roles ---- */

static void on_core_closed(void *ctx, int err)
{
	struct web_role *role = ctx;
	(void)err;
	web_set_core(role->web, NULL);
	if (role->place == GATEWAY_ELSEWHERE)
		web_set_viz(role->web, NULL);
	rpc_connection_drop(&role->core);
}

static void on_viz_closed(void *ctx, int err)
{
	struct web_role *role = ctx;
	(void)err;
	web_set_viz(role->web, NULL);
	rpc_connection_drop(&role->viz);
}

static void on_descriptor(void *ctx, const char *name, int fd)
{
	static const struct rpc_connection_events core_events = { NULL, NULL, on_core_closed };
	static const struct rpc_connection_events viz_events = { NULL, NULL, on_viz_closed };
	static const struct rpc_connection_settings settings = { .server = false };
	struct web_role *role = ctx;
	struct str what = str_from(name);
	if (str_is(what, "rpc-to:core") || str_is(what, "rpc-to:uplink")) {
		if (role->core)
			on_core_closed(role, 0);
		role->core = rpc_connection_plain(role->loop, fd, &settings, &core_events, role);
		web_set_core(role->web, role->core);
		if (role->place == GATEWAY_ELSEWHERE) /* the way to viz too */
			web_set_viz(role->web, role->core);
		component_follow(role->component);
	} else if (str_is(what, "rpc-to:viz")) {
		if (role->viz)
			on_viz_closed(role, 0);
		role->viz = rpc_connection_plain(role->loop, fd, &settings, &viz_events, role);
		web_set_viz(role->web, role->viz);
	} else if (str_is(what, "pass-to:relay")) {
		role->relay_fd = fd;
		web_set_relay(role->web, fd);
	} else if (str_is(what, "download")) {
		role->download_fd = fd;
		web_set_download(role->web, fd);
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
	static const char *const alpn[] = { "http/1.1", NULL };
	static const struct tls_settings how = { .verify = TLS_VERIFY_NONE, .alpn = alpn, .alpn_optional = true };
	struct web_role role = {
		.child = child, .loop = priv_child_loop(child), .intake_fd = -1, .relay_fd = -1, .download_fd = -1
	};
	tls_warm_up();
	fd_limit_raise();
	role.web = web_make(&role);
	role.place = gateway_place(priv_child_configuration(child));
	role.component = component_new(role.loop, &role.core, role.place, &how, on_renewed, &role);
	if (!role.web || !role.component)
		return 75;
	priv_child_listen(child, &events, &role);
	if (priv_child_confine(child) < 0)
		return 77;
	int code = priv_child_run(child);
	web_free(role.web);
	rpc_connection_free(role.core);
	rpc_connection_free(role.viz);
	component_free(role.component);
	io_watch_free(role.intake);
	fd_close(role.intake_fd);
	fd_close(role.relay_fd);
	fd_close(role.download_fd);
	return code;
}
