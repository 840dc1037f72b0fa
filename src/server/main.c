/* murmesh-server: the monitor.  It opens what needs rights, starts the roles, and reads no network bytes. */
#include <getopt.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "io/io.h"
#include "os/fd.h"
#include "os/file.h"
#include "os/host.h"
#include "os/log.h"
#include "os/proc.h"
#include "os/socket.h"
#include "os/user.h"
#include "resolve/resolve.h"
#include "server/server.h"

#define FIRST_UID    61100 /* a range that neither Debian nor systemd hands out */
#define DEFAULT_PORT 8443

static const struct priv_role roles[] = {
	{ "front", server_front_main, PRIV_ALLOW_ACCEPT, NULL, false },
	{ "link", server_link_main, 0, NULL, false },
	{ "core", server_core_main, PRIV_ALLOW_ACCEPT | PRIV_ALLOW_FILES | PRIV_ALLOW_THREAD, "db", false },
	{ "ca", server_ca_main, 0, "ca", false },
	{ "relay", server_relay_main, PRIV_ALLOW_SPLICE, NULL, false },
	{ "resolve", resolve_role_main, PRIV_ALLOW_RESOLVE | PRIV_ALLOW_THREAD, NULL, false },
};

static const struct priv_edge edges[] = {
	{ "front", "link", PRIV_EDGE_PASS }, { "front", "relay", PRIV_EDGE_PASS }, { "link", "core", PRIV_EDGE_RPC },
	{ "core", "ca", PRIV_EDGE_RPC },     { "core", "relay", PRIV_EDGE_RPC },
};

struct options {
	const char *directory, *address;
	uint16_t port;
	int status_fd;
};

struct monitor {
	struct io_loop *loop;
	struct priv_monitor *priv;
	struct options options;
	char directory[4096], address[300], settings[512];
	uint16_t port;
	int front, core, code;
	bool stopping;
};

static int usage(void)
{
	fprintf(stderr, "usage: murmesh-server --dir DIR [--port PORT] [--address HOST[:PORT]] [--status-fd N]\n"
			"Starts the server in the foreground.  `murmesh up` does it for you, with an agent for this machine.\n");
	return 64;
}

static int options_parse(int argc, char **argv, struct options *options)
{
	static const struct option names[] = { { "dir", required_argument, NULL, 'd' },
					       { "port", required_argument, NULL, 'p' },
					       { "address", required_argument, NULL, 'a' },
					       { "status-fd", required_argument, NULL, 's' },
					       { 0 } };
	uint64_t number;
	*options = (struct options){ .port = DEFAULT_PORT, .status_fd = -1 };
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
			options->port = (uint16_t)number;
			break;
		case 's':
			if (str_to_u64(str_from(optarg), 1024, &number) < 0)
				return -E_NUMBER;
			options->status_fd = (int)number;
			break;
		default:
			return -E_USAGE;
		}
	return options->directory && optind == argc ? 0 : -E_USAGE;
}

static int listen_front(uint16_t port, uint16_t *ret_port)
{
	struct socket_address address;
	int fd = socket_address_parse(STR("::"), port, &address) == 0 ? socket_listen(&address) : -1;
	if (fd < 0 && socket_address_parse(STR("0.0.0.0"), port, &address) == 0)
		fd = socket_listen(&address); /* a machine without IPv6 */
	if (fd >= 0 && socket_local(fd, &address) == 0)
		*ret_port = socket_address_port(&address);
	return fd;
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

static void settings_make(struct monitor *monitor)
{
	struct stat status;
	const char *wanted = monitor->options.address;
	char host[256];
	if (wanted && str_has(str_from(wanted), ':') && wanted[strlen(wanted) - 1] != ']')
		snprintf(monitor->address, sizeof monitor->address, "%s", wanted);
	else {
		if (!wanted && host_address(host, sizeof host) < 0)
			str_copy(STR("127.0.0.1"), host, sizeof host);
		snprintf(monitor->address, sizeof monitor->address, "%s:%u", wanted ? wanted : host, monitor->port);
	}
	if (stat(monitor->directory, &status) < 0)
		status.st_uid = geteuid();
	snprintf(monitor->settings, sizeof monitor->settings, "front_port=%u\naddress=%s\nowner=%u\n", monitor->port, monitor->address,
		 (unsigned)status.st_uid);
}

static void on_ready(void *ctx)
{
	struct monitor *monitor = ctx;
	char line[512];
	log_info("ready on port %u; other machines reach this server as %s", monitor->port, monitor->address);
	if (monitor->options.status_fd < 0)
		return;
	int len = snprintf(line, sizeof line, "{\"port\":%u,\"address\":\"%s\"}\n", monitor->port, monitor->address);
	fd_write_all(monitor->options.status_fd, line, (size_t)len);
}

static void on_stopped(void *ctx)
{
	io_loop_stop(((struct monitor *)ctx)->loop);
}

static void on_signal(void *ctx)
{
	struct monitor *monitor = ctx;
	if (!monitor->stopping)
		priv_monitor_stop(monitor->priv);
	monitor->stopping = true;
}

static int fail(int code, int err, const char *what)
{
	fprintf(stderr, "error: %s\nwhy:   %s\ntry:   %s\n", what, err_text(err), err_try(err) ? err_try(err) : "see the log above");
	return code;
}

static int prepare(struct monitor *monitor)
{
	char lock[4096];
	int err = file_make_directory(monitor->options.directory, 0711);
	if (err < 0 || !realpath(monitor->options.directory, monitor->directory))
		return fail(73, err < 0 ? err : -E_FILE, "the server's directory cannot be used");
	if (file_path(lock, sizeof lock, monitor->directory, "server.lock") < 0 || (err = file_lock(lock)) < 0)
		return fail(75, err, "a server uses this directory already");
	monitor->front = listen_front(monitor->options.port, &monitor->port);
	if (monitor->front < 0)
		return fail(69, -E_PORT, "the server's port cannot be opened");
	monitor->core = listen_core(monitor->directory);
	if (monitor->core < 0)
		return fail(73, monitor->core, "core.sock cannot be opened");
	settings_make(monitor);
	return 0;
}

static int run(struct monitor *monitor, const struct priv_program *program)
{
	static const struct priv_monitor_events events = { on_ready, NULL, on_stopped };
	const struct priv_descriptor descriptors[] = { { "front", "front", monitor->front }, { "core.sock", "core", monitor->core } };
	monitor->loop = io_loop_new();
	struct io_signal *terminate = monitor->loop ? io_signal_new(monitor->loop, SIGTERM, on_signal, monitor) : NULL;
	struct io_signal *interrupt = monitor->loop ? io_signal_new(monitor->loop, SIGINT, on_signal, monitor) : NULL;
	if (terminate && interrupt)
		monitor->priv = priv_monitor_new(monitor->loop, program, str_from(monitor->settings), descriptors,
						 sizeof descriptors / sizeof *descriptors, &events, monitor);
	if (!monitor->priv || priv_monitor_start(monitor->priv) < 0)
		return fail(75, -E_NO_MEMORY, "the roles cannot be started");
	io_loop_run(monitor->loop);
	priv_monitor_free(monitor->priv);
	io_signal_free(terminate);
	io_signal_free(interrupt);
	io_loop_free(monitor->loop);
	return monitor->code;
}

int main(int argc, char **argv)
{
	static struct monitor monitor;
	struct priv_program program = { .name = "murmesh-server",
					.directory = monitor.directory,
					.roles = roles,
					.n_roles = sizeof roles / sizeof *roles,
					.edges = edges,
					.n_edges = sizeof edges / sizeof *edges,
					.first_uid = FIRST_UID };
	proc_title_init(argc, argv);
	signal(SIGPIPE, SIG_IGN);
	if (argc > 2 && str_is(str_from(argv[1]), "--role"))
		return priv_role_main(&program, argv[2]);
	log_init("murmesh-server");
	if (options_parse(argc, argv, &monitor.options) < 0)
		return usage();
	proc_harden();
	fd_limit_raise();
	int code = prepare(&monitor);
	return code ? code : run(&monitor, &program);
}
