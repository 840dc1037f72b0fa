/* murmesh-server: the monitor.  It opens what needs rights, starts the roles, and reads no network bytes. */
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "ca/components.h"
#include "ca/succession.h"
#include "conf/conf.h"
#include "gateway/gateway.h"
#include "os/fd.h"
#include "os/file.h"
#include "os/host.h"
#include "os/log.h"
#include "os/proc.h"
#include "os/socket.h"
#include "os/user.h"
#include "resolve/resolve.h"
#include "server/choice.h"
#include "server/main.h"
#include "server/server.h"

static const struct priv_role roles[] = {
	{ "front", gateway_front_main, PRIV_ALLOW_ACCEPT, NULL, false },
	{ "link", gateway_link_main, 0, NULL, false },
	{ "core", server_core_main, PRIV_ALLOW_ACCEPT | PRIV_ALLOW_FILES | PRIV_ALLOW_THREAD, "db", false },
	{ "ca", server_ca_main, 0, "ca", false },
	{ "hash", server_hash_main, PRIV_ALLOW_THREAD, NULL, false },
	{ "relay", gateway_relay_main, PRIV_ALLOW_SPLICE, NULL, false },
	{ "collect", server_collect_main, 0, NULL, false },
	{ "viz", server_viz_main, 0, NULL, false },
	{ "resolve", resolve_role_main, PRIV_ALLOW_RESOLVE | PRIV_ALLOW_THREAD, NULL, false },
	{ "web", server_web_main, PRIV_ALLOW_SOCKETPAIR, NULL, false },
	{ "orb", server_orb_main, PRIV_ALLOW_ACCEPT, NULL, false },
};

static const struct priv_edge edges[] = {
	{ "front", "link", PRIV_EDGE_PASS }, { "front", "relay", PRIV_EDGE_PASS }, { "front", "web", PRIV_EDGE_PASS },
	{ "web", "relay", PRIV_EDGE_PASS },  { "link", "core", PRIV_EDGE_RPC },    { "core", "ca", PRIV_EDGE_RPC },
	{ "core", "relay", PRIV_EDGE_RPC },  { "core", "hash", PRIV_EDGE_RPC },    { "core", "viz", PRIV_EDGE_RPC },
	{ "web", "core", PRIV_EDGE_RPC },    { "web", "viz", PRIV_EDGE_RPC },      { "link", "collect", PRIV_EDGE_RPC },
	{ "link", "viz", PRIV_EDGE_RPC },    { "viz", "collect", PRIV_EDGE_RPC },  { "front", "orb", PRIV_EDGE_PASS },
	{ "orb", "core", PRIV_EDGE_RPC },
};

static const struct conf_option conf_options[] = {
	{ "Server", "Port", CONF_PORT, "8443", "port of the front; 0 takes a free one", 0, 0 },
	{ "Server", "Address", CONF_ADDRESS, NULL, "name or address that other machines reach this server by (else found out)", 0,
	  0 },
	/* A range that neither Debian nor systemd hands out. */
	{ "Server", "RoleUid", CONF_UNSIGNED, "61100", "user id of the first role, when started as root; the others follow", 1000,
	  2000000000 },
	{ "Server", "Elsewhere", CONF_LIST, NULL,
	  "roles that do not run here but on another machine (`murmesh key new --component`): collect, viz", 0, 0 },
	{ "Web", "AppDomain", CONF_ADDRESS, NULL, "name that browsers reach the console by, beside the server's address", 0, 0 },
	{ "Router", "ORB", CONF_BOOLEAN, "yes", "serve CORBA clients", 0, 0 },
	{ "Router", "IORPort", CONF_PORT, NULL,
	  "port that gives out the object reference (else 8192, when it is free); 0 takes a free one", 0, 0 },
	{ "Router", "TLSPort", CONF_PORT, NULL, "port of CORBA clients, by TLS (else 8194, when it is free); 0 takes a free one", 0,
	  0 },
	{ "Router", "IIOPPort", CONF_PORT, NULL,
	  "port of CORBA clients in clear, who can only enrol there (else not open); 0 takes a free one", 0, 0 },
	{ "Server", "LogLevel", CONF_STRING, NULL, "error, warning, info or debug", 0, 0 },
};
const struct conf_table server_conf_table = { "Server", conf_options, sizeof conf_options / sizeof *conf_options };

static int usage(void)
{
	fprintf(stderr,
	        "usage: murmesh-server --dir DIR [--port PORT] [--address HOST[:PORT]] [--status-fd N]\n"
	        "Starts the server in the foreground.  `murmesh up` does it for you, with an agent for this machine.\n"
	        "       murmesh-server --role link|relay|web [--role ...] --core HOST:PORT [--join FILE|-] [--name NAME] --dir "
	        "DIR ...\n"
	        "Runs these roles of the server that answers at HOST:PORT on this machine.  FILE has the line that\n"
	        "`murmesh key new --component link,relay` prints there; it is needed once.\n");
	return 64;
}

static int options_parse(int argc, char **argv, struct options *options)
{
	static const struct option names[] = { { "dir", required_argument, NULL, 'd' },
		                               { "port", required_argument, NULL, 'p' },
		                               { "address", required_argument, NULL, 'a' },
		                               { "status-fd", required_argument, NULL, 's' },
		                               { "role", required_argument, NULL, 'r' },
		                               { "core", required_argument, NULL, 'c' },
		                               { "join", required_argument, NULL, 'j' },
		                               { "name", required_argument, NULL, 'n' },
		                               { 0 } };
	uint64_t number;
	uint32_t wanted;
	*options = (struct options){ .port = -1, .status_fd = -1 };
	for (int c; (c = getopt_long(argc, argv, "", names, NULL)) != -1;)
		switch (c) {
		case 'd':
			options->directory = optarg;
			break;
		case 'a':
			options->address = optarg;
			break;
		case 'p':
			if (str_to_u64(str_from(optarg), 65535, &number) < 0)
				return -E_NUMBER;
			options->port = (int)number;
			break;
		case 's':
			if (str_to_u64(str_from(optarg), 1024, &number) < 0)
				return -E_NUMBER;
			options->status_fd = (int)number;
			break;
		case 'r':
			if (ca_component_roles_parse(str_from(optarg), &wanted) < 0)
				return -E_USAGE;
			options->roles |= wanted;
			break;
		case 'c':
			options->core = optarg;
			break;
		case 'j':
			options->join = optarg;
			break;
		case 'n':
			options->name = optarg;
			break;
		default:
			return -E_USAGE;
		}
	bool elsewhere = options->core || options->join || options->name;
	return options->directory && optind == argc && (options->roles ? options->core != NULL : !elsewhere) ? 0 : -E_USAGE;
}

/* Root's socket is for group murmesh too, an ordinary user's for that user alone. */
static int listen_core(const char *directory)
{
	char run[4096], path[4096];
	gid_t gid;
	int err = file_path(run, sizeof run, directory, "run");
	if (err == 0)
		err = file_make_directory(run, 0711);
	if (err == 0)
		err = file_path(path, sizeof path, run, "core.sock");
	if (err < 0)
		return err;
	bool group = geteuid() == 0 && group_find("murmesh", &gid) == 0;
	int fd = socket_unix_listen(path, group ? 0660 : 0600);
	if (fd >= 0 && group && chown(path, 0, gid) < 0)
		log_warning("group murmesh cannot use %s", path);
	return fd;
}

void server_address_text(const struct conf *conf, const char *section, const char *key, char out[300])
{
	struct conf_address configured;
	out[0] = 0;
	if (!conf_address(conf, section, key, &configured))
		return;
	bool v6 = str_has(configured.host, ':');
	int len = snprintf(out, 300, "%s%.*s%s", v6 ? "[" : "", STR_ARG(configured.host), v6 ? "]" : "");
	if (configured.has_port && len < 300)
		snprintf(out + len, 300 - (size_t)len, ":%u", configured.port);
}

void server_address_make(struct server *server)
{
	struct str text = str_from(server->options.address), port;
	char host[300];
	server_address_text(server->daemon.conf, "Server", "Address", host);
	if (!text.len)
		text = str_from(host);
	if (!text.len)
		text = str_from(host_address(host, sizeof host) < 0 ? "127.0.0.1" : host);
	str_cut_last(text, ':', &port);
	bool has_port = port.len < text.len && !str_has(port, ']');
	if (has_port)
		snprintf(server->address, sizeof server->address, "%.*s", STR_ARG(text));
	else
		snprintf(server->address, sizeof server->address, "%.*s:%u", STR_ARG(text), server->port);
}

static void settings_make(struct server *server)
{
	struct stat status;
	char domain[300], machine[300];
	server_address_make(server);
	if (host_address(machine, sizeof machine) < 0)
		machine[0] = 0;
	server_address_text(server->daemon.conf, "Web", "AppDomain", domain);
	if (stat(server->daemon.directory, &status) < 0)
		status.st_uid = geteuid();
	snprintf(server->settings, sizeof server->settings,
	         "front_port=%u\naddress=%s\ndomain=%s\nmachine=%s\nowner=%u\nior_port=%u\ntls_port=%u\niiop_port=%u\n",
	         server->port, server->address, domain, machine, (unsigned)status.st_uid, server->ior.port, server->tls.port,
	         server->iiop.port);
}

int server_download_open(void)
{
	char path[PATH_MAX];
	struct str name;
	int err = proc_self_path(path, sizeof path);
	str_cut_last(str_from(path), '/', &name);
	if (err == 0)
		err = str_copy(STR("murmesh"), path + strlen(path) - name.len, sizeof path - strlen(path) + name.len);
	int fd = err < 0 ? err : open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		log_info("there is no command line to download: %s cannot be opened", path);
	return fd;
}

static void on_ready(void *ctx)
{
	struct server *server = ctx;
	char text[512];
	log_info("ready on port %u; other machines reach this server as %s", server->port, server->address);
	snprintf(text, sizeof text, "%u %s ior=%u tls=%u", server->port, server->address, server->ior.port, server->tls.port);
	daemon_status(server->options.status_fd, "ready", text);
}

static int check_ca(const struct server *server)
{
	char ca[PATH_MAX], db[PATH_MAX];
	int err = file_path(ca, sizeof ca, server->daemon.directory, "ca");
	if (err == 0)
		err = file_path(db, sizeof db, server->daemon.directory, "db");
	if (err == 0)
		err = succession_check(ca, db);
	return err < 0 ? daemon_fail(DAEMON_DATA, err, "the server did not start", NULL) : 0;
}

/* A port that nobody has asked for by its number may be taken: it is then done without. */
static int listen_orb(const struct server *server, const char *key, uint16_t usual, struct listener *ret)
{
	const struct conf *conf = server->daemon.conf;
	bool configured = conf_is_set(conf, "Router", key);
	uint16_t port = configured ? conf_port(conf, "Router", key) : usual;
	char what[64];
	if (!configured && !usual)
		return 0;
	if (server->options.port == 0 || (server->any_port && !configured))
		port = 0;
	ret->fd = socket_listen_port(port, &ret->port);
	snprintf(what, sizeof what, "%s %u cannot be opened", key, port);
	if (ret->fd < 0 && configured)
		return daemon_fail(DAEMON_UNAVAILABLE, -E_PORT, what, NULL);
	if (ret->fd < 0)
		log_warning("%s: CORBA clients have to do without it", what);
	return 0;
}

static int prepare_orb(struct server *server)
{
	server->ior.fd = server->tls.fd = server->iiop.fd = -1;
	server->orb = conf_boolean(server->daemon.conf, "Router", "ORB");
	int code = server->orb ? listen_orb(server, "TLSPort", 8194, &server->tls) : 0;
	if (server->orb && !code)
		code = listen_orb(server, "IIOPPort", 0, &server->iiop);
	server->orb = server->orb && (server->tls.fd >= 0 || server->iiop.fd >= 0);
	return server->orb && !code ? listen_orb(server, "IORPort", 8192, &server->ior) : code;
}

int server_front_open(struct server *server)
{
	uint16_t port =
	        server->options.port >= 0 ? (uint16_t)server->options.port : conf_port(server->daemon.conf, "Server", "Port");
	char what[64];
	snprintf(what, sizeof what, "the server's port %u cannot be opened", port);
	server->any_port = port == 0;
	server->front = socket_listen_port(port, &server->port);
	return server->front < 0 ? daemon_fail(DAEMON_UNAVAILABLE, -E_PORT, what, NULL) : 0;
}

static bool may_be_elsewhere(struct str role)
{
	return str_is(role, "collect") || str_is(role, "viz");
}

static int check_elsewhere(const struct server *server)
{
	struct str role;
	for (size_t i = 0; conf_list_item(server->daemon.conf, "Server", "Elsewhere", i, &role); i++)
		if (!may_be_elsewhere(role))
			return daemon_fail(DAEMON_CONFIG, -E_CONFIG, "Elsewhere in [Server] cannot be used",
			                   "only collect and viz can be left to another machine");
	return 0;
}

static bool is_wanted(void *ctx, const char *name)
{
	const struct server *server = ctx;
	struct str role;
	for (size_t i = 0; conf_list_item(server->daemon.conf, "Server", "Elsewhere", i, &role); i++)
		if (str_is(role, name))
			return false;
	return server->orb || !str_is(str_from(name), "orb");
}

static int prepare(struct server *server)
{
	int code = daemon_prepare(&server->daemon, "murmesh-server", server->options.directory, &server_conf_table);
	if (code == 0)
		code = check_elsewhere(server);
	if (code == 0)
		code = check_ca(server);
	if (code)
		return code;
	code = server_front_open(server);
	if (code == 0)
		code = prepare_orb(server);
	if (code)
		return code;
	server->core = listen_core(server->daemon.directory);
	if (server->core < 0)
		return daemon_fail(DAEMON_CANNOT_CREATE, server->core, "core.sock cannot be opened", NULL);
	settings_make(server);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct priv_monitor_events events = { on_ready, NULL, NULL };
	static struct server server;
	static struct choice choice;
	struct priv_program program = { .name = "murmesh-server",
		                        .directory = server.daemon.directory,
		                        .roles = roles,
		                        .n_roles = sizeof roles / sizeof *roles,
		                        .edges = edges,
		                        .n_edges = sizeof edges / sizeof *edges };
	fd_standard_open();
	proc_title_init(argc, argv);
	signal(SIGPIPE, SIG_IGN);
	if (argc == 3 && str_is(str_from(argv[1]), "--role")) /* without --dir it is no machine's */
		return priv_role_main(&program, argv[2]);
	if (argc == 3 && str_is(str_from(argv[1]), "--component-role"))
		return component_role_main(argv[2]);
	log_init("murmesh-server");
	if (options_parse(argc, argv, &server.options) < 0)
		return usage();
	proc_harden();
	fd_limit_raise();
	if (server.options.roles)
		return component_main(&server);
	int code = prepare(&server);
	if (code)
		return code;
	struct priv_descriptor descriptors[6] = { { "front", "front", server.front }, { "core.sock", "core", server.core } };
	size_t n_descriptors = 2;
	if (server.tls.fd >= 0)
		descriptors[n_descriptors++] = (struct priv_descriptor){ "tls", "front", server.tls.fd };
	if (server.ior.fd >= 0)
		descriptors[n_descriptors++] = (struct priv_descriptor){ "ior", "orb", server.ior.fd };
	if (server.iiop.fd >= 0)
		descriptors[n_descriptors++] = (struct priv_descriptor){ "iiop", "orb", server.iiop.fd };
	int download = server_download_open();
	if (download >= 0)
		descriptors[n_descriptors++] = (struct priv_descriptor){ "download", "web", download };
	choice_make(&program, is_wanted, &server, "link", &choice);
	program.first_uid = (uid_t)conf_unsigned(server.daemon.conf, "Server", "RoleUid");
	return daemon_run(&server.daemon, &program, str_from(server.settings), descriptors, n_descriptors, &events, &server);
}
