/* murmesh-server --role ... --core HOST:PORT: the monitor of a machine that runs some roles of the server whose core is elsewhere. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "ca/components.h"
#include "ca/join_pending.h"
#include "conf/conf.h"
#include "enrol.pb.h"
#include "gateway/gateway.h"
#include "os/fd.h"
#include "os/file.h"
#include "os/host.h"
#include "os/log.h"
#include "resolve/resolve.h"
#include "server/choice.h"
#include "server/main.h"
#include "server/server.h"

static const struct priv_role roles[] = {
	{ "uplink", gateway_uplink_main, PRIV_ALLOW_CONNECT | PRIV_ALLOW_FILES, "uplink", false },
	{ "resolve", resolve_role_main, PRIV_ALLOW_RESOLVE | PRIV_ALLOW_THREAD, NULL, false },
	{ "front", gateway_front_main, PRIV_ALLOW_ACCEPT, NULL, false },
	{ "link", gateway_link_main, 0, NULL, false },
	{ "relay", gateway_relay_main, PRIV_ALLOW_SPLICE | PRIV_ALLOW_CONNECT, NULL, false },
	{ "web", server_web_main, PRIV_ALLOW_SOCKETPAIR, NULL, false },
	{ "collect", server_collect_main, 0, NULL, false },
	{ "viz", server_viz_main, 0, NULL, false },
};

static const struct priv_edge edges[] = {
	{ "uplink", "resolve", PRIV_EDGE_RPC }, { "link", "uplink", PRIV_EDGE_RPC }, { "uplink", "relay", PRIV_EDGE_RPC },
	{ "web", "uplink", PRIV_EDGE_RPC },     { "front", "link", PRIV_EDGE_PASS }, { "front", "relay", PRIV_EDGE_PASS },
	{ "front", "web", PRIV_EDGE_PASS },     { "web", "relay", PRIV_EDGE_PASS },  { "uplink", "collect", PRIV_EDGE_RPC },
	{ "uplink", "viz", PRIV_EDGE_RPC },     { "viz", "collect", PRIV_EDGE_RPC },
};

static const struct priv_program whole = { .name = "murmesh-server",
	                                   .roles = roles,
	                                   .n_roles = sizeof roles / sizeof *roles,
	                                   .edges = edges,
	                                   .n_edges = sizeof edges / sizeof *edges,
	                                   .option = "--component-role" };

int component_role_main(const char *role)
{
	return priv_role_main(&whole, role);
}

static bool is_wanted(void *ctx, const char *name)
{
	const uint32_t *wanted = ctx;
	uint32_t role = 0;
	return ca_component_roles_parse(str_from(name), &role) < 0 || role & *wanted; /* what is no such role is always there */
}

/* ---- reports of uplink ---- */

/* Roles that start from now on are not told it any more. */
static void on_enrolled(struct server *server, const char *name)
{
	memset(server->settings + strlen("join="), ' ', strlen(server->join));
	mem_wipe(server->join, sizeof server->join);
	join_pending_forget(server->daemon.directory);
	log_info("enrolled as %s", name);
}

static void on_waiting(const struct server *server, struct str text)
{
	char name[80], fingerprint[80];
	struct str rest;
	utf8_clean(str_cut(text, ' ', &rest), name, sizeof name);
	utf8_clean(rest, fingerprint, sizeof fingerprint);
	log_info("waiting for approval as %s; fingerprint %s", name, fingerprint);
	log_info("an administrator of all groups lets this machine in with: murmesh approve %s", name);
	daemon_status(server->options.status_fd, "waiting", name);
}

static void on_refused(struct server *server, struct str text)
{
	char code[16], why[400];
	struct str rest;
	str_copy(str_cut(text, ' ', &rest), code, sizeof code);
	utf8_clean(rest, why, sizeof why);
	int err = err_from_name(code);
	bool may_pass = err == E_UNREACHABLE || err == E_BUSY || err == E_CLOSED || err == E_TIMEOUT;
	daemon_status(server->options.status_fd, "refused", code);
	daemon_stop(&server->daemon, daemon_fail(may_pass ? DAEMON_UNAVAILABLE : DAEMON_DENIED, err ? err : E_INTERNAL,
	                                         "this machine runs no roles of the server", why));
}

static void on_report(void *ctx, const char *role, struct str text)
{
	struct server *server = ctx;
	struct str rest, word = str_cut(text, ' ', &rest);
	char clean[400];
	utf8_clean(rest, clean, sizeof clean);
	if (!str_is(str_from(role), "uplink"))
		return;
	if (str_is(word, "enrolled"))
		on_enrolled(server, clean);
	else if (str_is(word, "waiting"))
		on_waiting(server, rest);
	else if (str_is(word, "online"))
		log_info("attached to %s as %s", server->options.core, clean);
	else if (str_is(word, "offline"))
		log_warning("%s is not reachable: %s; trying again", server->options.core, clean);
	else if (str_is(word, "refused"))
		on_refused(server, rest);
}

static void on_ready(void *ctx)
{
	const struct server *server = ctx;
	char text[400];
	log_info("ready on port %u; other machines reach this one as %s", server->port, server->address);
	snprintf(text, sizeof text, "%u %s", server->port, server->address);
	daemon_status(server->options.status_fd, "ready", text);
}

/* ---- the start ---- */

static int join_open(const char *join)
{
	if (!join)
		return -1;
	int fd = str_is(str_from(join), "-") ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3) : open(join, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int settings_make(struct server *server)
{
	char text[CA_COMPONENT_ROLES_SIZE], name[64], domain[300];
	struct host host;
	server_address_text(server->daemon.conf, "Web", "AppDomain", domain);
	host_read(&host);
	if (str_copy(str_from(server->options.name ? server->options.name : host.name), name, sizeof name) < 0 ||
	    !name_valid(str_from(name)))
		return daemon_fail(DAEMON_USAGE, -E_NAME, "the machine's name cannot be used", NULL);
	int len = snprintf(server->settings, sizeof server->settings,
	                   "join=%s\nname=%s\ncore=%s\nroles=%s\naddress=%s\ndomain=%s\nfront_port=%u\n", server->join, name,
	                   server->options.core, ca_component_roles_format(server->options.roles, text), server->address, domain,
	                   server->port);
	return len < (int)sizeof server->settings ? 0
	                                          : daemon_fail(DAEMON_USAGE, -E_TOO_LONG, "the addresses cannot be used", NULL);
}

static int prepare(struct server *server)
{
	const struct options *options = &server->options;
	char host[JOIN_HOST_SIZE];
	uint16_t port;
	if (join_address_parse(str_from(options->core), host, &port) < 0)
		return daemon_fail(DAEMON_USAGE, -E_USAGE, "the server's address cannot be used", "--core is HOST:PORT");
	int code = daemon_prepare(&server->daemon, "murmesh-server", options->directory, &server_conf_table);
	if (code)
		return code;
	int join = join_open(options->join);
	int err = options->join && join < 0 ? join : join_pending_read(server->daemon.directory, join, server->join);
	if (err < 0)
		return daemon_fail(DAEMON_DATA, err, "the join line cannot be read", NULL);
	code = server_front_open(server);
	if (code)
		return code;
	server_address_make(server);
	return settings_make(server);
}

int component_main(struct server *server)
{
	static const struct priv_monitor_events events = { on_ready, on_report, NULL };
	static struct choice choice;
	struct priv_program program = whole;
	uint32_t wanted = server->options.roles;
	int code = prepare(server);
	if (code)
		return code;
	if (wanted & (murmesh_ComponentRole_COMPONENT_LINK | murmesh_ComponentRole_COMPONENT_WEB))
		wanted |= murmesh_ComponentRole_COMPONENT_RELAY; /* the legs of their clients go on from here */
	choice_make(&program, is_wanted, &wanted, "uplink", &choice);
	program.directory = server->daemon.directory;
	program.first_uid = (uid_t)conf_unsigned(server->daemon.conf, "Server", "RoleUid");
	struct priv_descriptor descriptors[2] = { { "front", "front", server->front } };
	size_t n_descriptors = 1;
	int download = wanted & murmesh_ComponentRole_COMPONENT_WEB ? server_download_open() : -1;
	if (download >= 0)
		descriptors[n_descriptors++] = (struct priv_descriptor){ "download", "web", download };
	return daemon_run(&server->daemon, &program, str_from(server->settings), descriptors, n_descriptors, &events, server);
}
