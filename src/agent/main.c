/* murmesh-agent: the monitor.  It starts the roles, says what net reports, and reads no network bytes. */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/relay_ports.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "ca/join_pending.h"
#include "conf/conf.h"
#include "gateway/gateway.h"
#include "io/io.h"
#include "os/fd.h"
#include "os/file.h"
#include "os/host.h"
#include "os/log.h"
#include "os/proc.h"
#include "priv/daemon.h"
#include "resolve/resolve.h"

#define LOOK_MS 5000 /* whether the port that a relay waits for is free */

static const struct conf_option conf_options[] = {
	{ "Agent", "Name", CONF_STRING, NULL, "what this machine calls itself when it enrols (else its host name)", 1, 53 },
	{ "Agent", "RoleUid", CONF_UNSIGNED, "61150", "user id of the first role, when started as root; the others follow", 1000,
	  2000000000 },
	{ "Agent", "LogLevel", CONF_STRING, NULL, "error, warning, info or debug", 0, 0 },
	{ "Router", "ParentAddress", CONF_LIST, NULL,
	  "parents (relays, or the server) in the order in which they are tried, host:port each (else where it joined)", 1, 8 },
	{ "Router", "MRParentAddress", CONF_LIST, NULL, "the same of a relay (else ParentAddress)", 1, 8 },
	{ "Router", "IORPort", CONF_PORT, "8192",
	  "a parent with this port gives its object reference out there, which says where to link; 0: none does", 0, 0 },
	{ "Router", "IORSenderPort", CONF_PORT, NULL,
	  "of a relay: port that gives out its object reference (else 8192, when it is free); 0 takes a free one", 0, 0 },
	{ "Router", "TLSPort", CONF_PORT, NULL,
	  "of a relay: second port for other agents, which its object reference names (else 8194, when it is free); 0 takes a free "
	  "one",
	  0, 0 },
	{ "Router", "ReturnAfter", CONF_DURATION, "5m",
	  "a parent further on in the list is left about so long after, when a better one answers", 1000, 0 },
	{ "Router", "Proxy", CONF_ADDRESS, NULL, "host:port of the HTTP proxy that leads to the parents", 0, 0 },
	{ "Router", "ProxyUser", CONF_STRING, NULL, "name that the proxy asks for", 0, 255 },
	{ "Router", "ProxyPassword", CONF_STRING, NULL, "and password", 0, 255 },
	{ "Relay", "Enabled", CONF_BOOLEAN, NULL,
	  "yes: other agents can link to this one, once the server has it as a relay; no: never (else as the server says)", 0, 0 },
	{ "Relay", "Port", CONF_PORT, "8443", "port for them; 0 takes a free one", 0, 0 },
	{ "Relay", "Address", CONF_ADDRESS, NULL, "name or address that they reach this machine by (else found out)", 0, 0 },
	{ "Probe", "Enabled", CONF_BOOLEAN, "yes", "report processes and connections to the server", 0, 0 },
	{ "Probe", "Network", CONF_BOOLEAN, "yes", "connections too", 0, 0 },
	{ "Probe", "Packets", CONF_BOOLEAN, "yes",
	  "count connections by their packets, as root; else by the kernel's tables of sockets", 0, 0 },
	{ "Probe", "Arguments", CONF_BOOLEAN, "yes", "report the arguments of programs, without what looks like a secret", 0, 0 },
};
static const struct conf_table conf_table = { "Agent", conf_options, sizeof conf_options / sizeof *conf_options };

static const struct priv_role roles[] = {
	{ "net", agent_net_main, PRIV_ALLOW_CONNECT | PRIV_ALLOW_DATAGRAM | PRIV_ALLOW_FILES, "net", false },
	{ "resolve", resolve_role_main, PRIV_ALLOW_RESOLVE | PRIV_ALLOW_THREAD, NULL, false },
	{ "exec", agent_exec_main, 0, "exec", true },
	{ "probe", agent_probe_main, PRIV_ALLOW_PROC, NULL, false },
	/* of a relay, as are their edges: */
	{ "front", gateway_front_main, PRIV_ALLOW_ACCEPT, NULL, false },
	{ "link", gateway_link_main, 0, NULL, false },
	{ "relay", gateway_relay_main, PRIV_ALLOW_SPLICE | PRIV_ALLOW_CONNECT, NULL, false },
};
#define RELAY_ROLES 3
#define RELAY_EDGES 4

static const struct priv_edge edges[] = {
	{ "net", "exec", PRIV_EDGE_RPC },   { "net", "resolve", PRIV_EDGE_RPC }, { "probe", "net", PRIV_EDGE_RPC },
	{ "probe", "exec", PRIV_EDGE_RPC }, { "front", "link", PRIV_EDGE_PASS }, { "front", "relay", PRIV_EDGE_PASS },
	{ "link", "net", PRIV_EDGE_RPC },   { "net", "relay", PRIV_EDGE_RPC },
};

struct options {
	const char *directory, *name, *parent;
	int join_fd, status_fd;
	bool line_shown;
};

struct agent {
	struct daemon daemon;
	struct options options;
	bool again;              /* from the beginning */
	bool relay, relay_waits; /* it waits for its port */
	struct relay_ports ports;
	bool was_free; /* the port, when that was looked at last */
	char join[JOIN_LINE_SIZE], name[64], settings[8192];
};

static int usage(void)
{
	fprintf(stderr,
	        "usage: murmesh-agent --dir DIR [--name NAME] [--parent HOST:PORT] [--join-fd N [--line-shown]] [--status-fd N]\n"
	        "Runs the agent in the foreground.  `murmesh join LINE` enrols this machine first.\n");
	return 64;
}

static int options_parse(int argc, char **argv, struct options *options)
{
	static const struct option names[] = { { "dir", required_argument, NULL, 'd' },
		                               { "name", required_argument, NULL, 'n' },
		                               { "parent", required_argument, NULL, 'p' },
		                               { "join-fd", required_argument, NULL, 'j' },
		                               { "line-shown", no_argument, NULL, 'l' },
		                               { "status-fd", required_argument, NULL, 's' },
		                               { 0 } };
	uint64_t number;
	*options = (struct options){ .join_fd = -1, .status_fd = -1 };
	for (int c; (c = getopt_long(argc, argv, "", names, NULL)) != -1;)
		switch (c) {
		case 'd':
			options->directory = optarg;
			break;
		case 'n':
			options->name = optarg;
			break;
		case 'p':
			options->parent = optarg;
			break;
		case 'l':
			options->line_shown = true;
			break;
		case 'j':
		case 's':
			if (str_to_u64(str_from(optarg), 1024, &number) < 0)
				return -E_NUMBER;
			*(c == 'j' ? &options->join_fd : &options->status_fd) = (int)number;
			break;
		default:
			return -E_USAGE;
		}
	return options->directory && optind == argc ? 0 : -E_USAGE;
}

/* ---- the join line ---- */

/* A copy's line, before its old identity is gone. */
static int split_path(const struct agent *agent, char path[PATH_MAX])
{
	return file_path(path, PATH_MAX, agent->daemon.directory, "split.pending");
}

static int identity_discard(const struct agent *agent)
{
	static const char *const files[] = { "net/node.crt", "net/node.key",     "net/node.csr",    "net/token",
		                             "net/link",     "net/move",         "net/relay",       "net/ended",
		                             "net/policy",   "exec/manager.crt", "exec/manager.key" };
	char path[PATH_MAX];
	int err = 0;
	for (size_t i = 0; err == 0 && i < sizeof files / sizeof *files; i++) {
		err = file_path(path, sizeof path, agent->daemon.directory, files[i]);
		if (err == 0 && unlink(path) < 0 && errno != ENOENT)
			err = -errno;
	}
	return err;
}

/* When this machine was told to give its identity up: does so, whatever of it an earlier start did. */
static int split_finish(const struct agent *agent)
{
	char split[PATH_MAX], join[PATH_MAX];
	int err = split_path(agent, split);
	if (err < 0 || !file_exists(split))
		return err;
	err = identity_discard(agent);
	if (err == 0)
		err = join_pending_path(agent->daemon.directory, join);
	return err < 0 ? err : rename(split, join) < 0 ? -errno : 0;
}

/* Roles that start from now on are not told it any more. */
static void join_forget(struct agent *agent)
{
	memset(agent->settings + strlen("join="), ' ', strlen(agent->join));
	mem_wipe(agent->join, sizeof agent->join);
	join_pending_forget(agent->daemon.directory);
}

/* ---- a relay ---- */

static int relay_path(const struct agent *agent, char path[PATH_MAX])
{
	return file_path(path, PATH_MAX, agent->daemon.directory, "relay.enabled");
}

/* Who configures this machine has the last word. */
static bool relay_configured(const struct agent *agent, bool *ret)
{
	bool is = conf_is_set(agent->daemon.conf, "Relay", "Enabled");
	if (is)
		*ret = conf_boolean(agent->daemon.conf, "Relay", "Enabled");
	return is;
}

static void on_relay(struct agent *agent, bool on)
{
	char path[PATH_MAX];
	bool configured;
	int err = relay_path(agent, path);
	if (relay_configured(agent, &configured))
		return log_info("the server wants this machine to be %s; its configuration says otherwise",
		                on ? "a relay" : "no relay");
	if (err == 0 && on)
		err = file_write(path, "", 0, 0600);
	else if (err == 0 && unlink(path) < 0 && errno != ENOENT)
		err = -errno;
	if (err < 0)
		return log_error("this machine cannot %s a relay: %s", on ? "become" : "stop being", err_text(err));
	log_info(on ? "this machine becomes a relay" : "this machine is no relay any more");
	agent->again = true;
	daemon_stop(&agent->daemon, DAEMON_AGAIN);
}

static int relay_prepare(struct agent *agent, char address[256], struct buf *reference)
{
	const struct conf *conf = agent->daemon.conf;
	struct relay_ports *ports = &agent->ports;
	char path[PATH_MAX];
	address[0] = 0;
	if (!relay_configured(agent, &agent->relay))
		agent->relay = relay_path(agent, path) == 0 && file_exists(path);
	if (!agent->relay)
		return 0;
	agent->relay_waits = relay_ports_open(conf, ports) < 0;
	agent->relay = !agent->relay_waits;
	if (agent->relay_waits) {
		log_error("this machine is a relay as soon as its port %u is free: it cannot be opened (%s in murmesh-agent.ini)",
		          ports->at, ports->taken);
		return 0;
	}
	int err = relay_address(conf, ports, address);
	if (err == 0)
		err = relay_reference(conf, ports, reference);
	if (err == 0)
		log_info("a relay: other agents reach this machine as %s", address);
	if (ports->ior.fd >= 0)
		log_info("its object reference is at port %u", ports->ior.port);
	if (ports->ior.fd < 0 || ports->tls.fd < 0)
		log_warning("the usual port of its %s cannot be opened: this relay does without it",
		            ports->ior.fd >= 0  ? "TLSPort"
		            : ports->tls.fd < 0 ? "TLSPort, and that of its IORSenderPort,"
		                                : "IORSenderPort");
	return err;
}

/* Who had the port may only have started again: it has to be free twice. */
static void on_look(void *ctx)
{
	struct agent *agent = ctx;
	struct relay_ports ports;
	bool free = relay_ports_open(agent->daemon.conf, &ports) == 0;
	if (free)
		relay_ports_close(&ports);
	if (free && agent->was_free) {
		log_info("the port is free now: this machine becomes a relay");
		agent->again = true;
		daemon_stop(&agent->daemon, DAEMON_AGAIN);
	}
	agent->was_free = free;
}

static void on_ready(void *ctx)
{
	struct agent *agent = ctx;
	if (!agent->relay_waits)
		return;
	agent->daemon.timer = io_timer_new(agent->daemon.loop, on_look, agent);
	if (agent->daemon.timer)
		io_timer_start(agent->daemon.timer, LOOK_MS, LOOK_MS);
	else
		log_error("this machine is a relay at its next start only: %s", err_text(-E_NO_MEMORY));
}

/* ---- reports of net ---- */

/* A person at `murmesh join` gets the command line's exit codes, a service manager those of daemons. */
static int exit_code(const struct agent *agent, int err)
{
	bool person = agent->options.join_fd >= 0;
	switch (err) {
	case E_UNREACHABLE:
	case E_BUSY:
	case E_CLOSED:
		return person ? 5 : DAEMON_UNAVAILABLE;
	case E_TIMEOUT:
		return person ? 6 : DAEMON_UNAVAILABLE;
	case E_KEY_LINE:
		return person ? 2 : DAEMON_DATA;
	case E_WRONG_PIN:
		return person ? 1 : DAEMON_DENIED;
	case E_KEY_UNKNOWN:
	case E_KEY_USED:
	case E_KEY_EXPIRED:
	case E_KEY_PROOF:
	case E_KEY_NETWORK:
	case E_ENROLLED:
	case E_DENIED:
	case E_REVOKED:
	case E_REJECTED:
		return person ? 4 : DAEMON_DENIED;
	default:
		return person ? 1 : DAEMON_AGAIN;
	}
}

static void on_refused(struct agent *agent, struct str text)
{
	char code[16], why[400];
	struct str rest;
	str_copy(str_cut(text, ' ', &rest), code, sizeof code);
	utf8_clean(rest, why, sizeof why);
	int err = err_from_name(code);
	daemon_status(agent->options.status_fd, "refused", code);
	if (err == E_ENROLLED || err == E_WRONG_PIN || err == E_KEY_UNKNOWN || err == E_KEY_USED || err == E_KEY_EXPIRED ||
	    err == E_KEY_PROOF || err == E_REJECTED)
		join_pending_forget(agent->daemon.directory); /* this line will never do */
	daemon_stop(&agent->daemon,
	            daemon_fail(exit_code(agent, err), err ? err : E_INTERNAL, "this machine was not enrolled", why));
}

static void on_waiting(struct agent *agent, struct str text)
{
	char name[80], fingerprint[80];
	struct str rest;
	utf8_clean(str_cut(text, ' ', &rest), name, sizeof name);
	utf8_clean(rest, fingerprint, sizeof fingerprint);
	log_info("waiting for approval as %s; fingerprint %s", name, fingerprint);
	log_info("an administrator lets this machine in with: murmesh approve %s", name);
	daemon_status(agent->options.status_fd, "waiting", name);
}

/* ---- a copy gives its identity up ---- */

/* net may name a line of this mesh, and no other: exec would run what that one's server orders. */
static int line_check(struct agent *agent, const struct join_line *line)
{
	char path[PATH_MAX];
	struct certificate_info root;
	struct keep keep = { .directory = path, .name = "manager" };
	int err = file_path(path, sizeof path, agent->daemon.directory, "exec");
	if (err == 0)
		err = keep_load(&keep) == 1 ? certificate_inspect(keep.root, &root) : -E_CERTIFICATE;
	keep_done(&keep);
	return err < 0 ? err : hash_equal(root.key_hash, line->root_hash) ? 0 : -E_WRONG_PIN;
}

static void on_split(struct agent *agent, struct str text)
{
	char path[PATH_MAX];
	struct join_line line;
	int err = join_line_parse(text, &line);
	if (err == 0)
		err = line_check(agent, &line);
	if (err == 0)
		err = split_path(agent, path);
	if (err == 0)
		err = file_write(path, text.ptr, text.len, 0600);
	mem_wipe(&line, sizeof line);
	if (err < 0)
		log_error("this machine has to give its identity up and enrol anew, and could not begin that: %s", err_text(err));
	else
		log_info("this machine gives its identity up and enrols as a new one");
	agent->again = err == 0;
	daemon_stop(&agent->daemon, DAEMON_AGAIN);
}

/* The same program from its beginning; it finds the line in its file. */
static int begin_again(const struct agent *agent, char **argv)
{
	char *again[16];
	size_t n = 0;
	for (size_t i = 0; argv[i] && n < 14; i++) {
		if (str_is(str_from(argv[i]), "--join-fd"))
			i++;
		else if (!str_is(str_from(argv[i]), "--line-shown"))
			again[n++] = argv[i];
		if (!argv[i])
			break;
	}
	again[n] = NULL;
	int err = 0;
	if (agent->options.status_fd >= 0)
		err = fd_set_inherit(agent->options.status_fd, true);
	if (err == 0)
		err = proc_replace("/proc/self/exe", again);
	return daemon_fail(DAEMON_AGAIN, err, "this machine could not begin again", NULL);
}

static void on_report(void *ctx, const char *role, struct str text)
{
	struct agent *agent = ctx;
	struct str rest, word = str_cut(text, ' ', &rest);
	char clean[400];
	utf8_clean(rest, clean, sizeof clean);
	if (!str_is(str_from(role), "net"))
		return;
	if (str_is(word, "enrolled")) {
		join_forget(agent);
		log_info("enrolled as %s", clean);
		if (agent->options.line_shown)
			log_warning("other users of this machine could see the join line; `murmesh join -` reads it from standard "
			            "input");
		daemon_status(agent->options.status_fd, "enrolled", clean);
	} else if (str_is(word, "waiting")) {
		on_waiting(agent, rest);
	} else if (str_is(word, "online")) {
		log_info("online as %s", clean);
		daemon_status(agent->options.status_fd, "online", clean);
	} else if (str_is(word, "relay")) {
		on_relay(agent, str_is(rest, "on"));
	} else if (str_is(word, "split")) {
		on_split(agent, rest);
	} else if (str_is(word, "offline"))
		log_warning("the server is not reachable: %s; trying again", clean);
	else if (str_is(word, "refused"))
		on_refused(agent, rest);
}

static int name_choose(struct agent *agent)
{
	struct host host;
	const char *wanted = agent->options.name ? agent->options.name : conf_string(agent->daemon.conf, "Agent", "Name");
	host_read(&host);
	int err = str_copy(str_from(wanted ? wanted : host.name), agent->name, sizeof agent->name);
	return err < 0 || !name_valid(str_from(agent->name)) ? -E_NAME : 0;
}

static const char *probe_option(const struct agent *agent, const char *key)
{
	return conf_boolean(agent->daemon.conf, "Probe", key) ? "yes" : "no";
}

static int prepare(struct agent *agent)
{
	int code = daemon_prepare(&agent->daemon, "murmesh-agent", agent->options.directory, &conf_table);
	if (code)
		return code;
	int err = split_finish(agent);
	if (err == 0)
		err = join_pending_read(agent->daemon.directory, agent->options.join_fd, agent->join);
	if (err < 0)
		return daemon_fail(DAEMON_DATA, err, "this machine was not enrolled", NULL);
	if (name_choose(agent) < 0)
		return daemon_fail(DAEMON_USAGE, -E_NAME, "the machine's name cannot be used", NULL);
	char address[256], way[4096];
	struct buf reference;
	buf_init(&reference, 2048);
	if (relay_prepare(agent, address, &reference) < 0)
		return daemon_fail(DAEMON_CONFIG, -E_CONFIG, "the address of this relay cannot be used", NULL);
	if (way_settings(agent->daemon.conf, agent->relay, way, sizeof way) < 0)
		return daemon_fail(DAEMON_CONFIG, -E_CONFIG, "the parents in murmesh-agent.ini cannot be used",
		                   "ParentAddress and MRParentAddress are host:port, several with commas");
	int len = snprintf(agent->settings, sizeof agent->settings,
	                   "join=%s\nname=%s\nparent=%s\nrelay=%s\nrelay_address=%s\nreference=%.*s\n%s"
	                   "probe=%s\nprobe_network=%s\nprobe_packets=%s\nprobe_arguments=%s\n",
	                   agent->join, agent->name, agent->options.parent ? agent->options.parent : "",
	                   agent->relay         ? "yes"
	                   : agent->relay_waits ? "waits"
	                                        : "no",
	                   address, STR_ARG(buf_str(&reference)), way, probe_option(agent, "Enabled"),
	                   probe_option(agent, "Network"), probe_option(agent, "Packets"), probe_option(agent, "Arguments"));
	mem_wipe(way, sizeof way);
	buf_done(&reference);
	if (len >= (int)sizeof agent->settings)
		return daemon_fail(DAEMON_USAGE, -E_TOO_LONG, "the parent's address cannot be used", NULL);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct priv_monitor_events events = { on_ready, on_report, NULL };
	static struct agent agent;
	struct priv_program program = { .name = "murmesh-agent",
		                        .directory = agent.daemon.directory,
		                        .roles = roles,
		                        .n_roles = sizeof roles / sizeof *roles,
		                        .edges = edges,
		                        .n_edges = sizeof edges / sizeof *edges };
	fd_standard_open();
	proc_title_init(argc, argv);
	signal(SIGPIPE, SIG_IGN);
	if (argc > 2 && str_is(str_from(argv[1]), "--role"))
		return priv_role_main(&program, argv[2]);
	log_init("murmesh-agent");
	if (options_parse(argc, argv, &agent.options) < 0)
		return usage();
	proc_harden();
	fd_limit_raise();
	int code = prepare(&agent);
	if (code)
		return code;
	program.first_uid = (uid_t)conf_unsigned(agent.daemon.conf, "Agent", "RoleUid");
	struct priv_descriptor descriptors[3] = { { "front", "front", agent.ports.front.fd } };
	size_t n_descriptors = agent.relay ? 1 : 0;
	if (agent.relay && agent.ports.tls.fd >= 0)
		descriptors[n_descriptors++] = (struct priv_descriptor){ "tls", "front", agent.ports.tls.fd };
	if (agent.relay && agent.ports.ior.fd >= 0)
		descriptors[n_descriptors++] = (struct priv_descriptor){ "ior", "front", agent.ports.ior.fd };
	if (!agent.relay) {
		program.n_roles -= RELAY_ROLES;
		program.n_edges -= RELAY_EDGES;
	}
	code = daemon_run(&agent.daemon, &program, str_from(agent.settings), descriptors, n_descriptors, &events, &agent);
	return agent.again && code == DAEMON_AGAIN ? begin_again(&agent, argv) : code;
}
