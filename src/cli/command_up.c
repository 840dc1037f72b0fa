#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/encode.h"
#include "base/err.h"
#include "base/utf8.h"
#include "cli/program.h"
#include "cli/session.h"
#include "os/fd.h"
#include "os/file.h"
#include "os/host.h"
#include "os/proc.h"

struct up {
	const struct cli *cli;
	char directory[4096], agent_directory[4096];
	char status[512];  /* the last status line of a child */
	unsigned ior, tls; /* ports of CORBA clients; 0 = not open */
	pid_t server, agent;
	struct io_loop *loop;
	bool stopping, failed;
	murmesh_ServerDescription description;
	murmesh_JoinKey join;
	murmesh_LoginLinkReply link;
};

/* ---- children ---- */

static int child_start(const char *name, char **argv, const int *fds, size_t n_fds, pid_t *ret)
{
	char path[4096];
	int err = program_path(name, path, sizeof path);
	if (err < 0)
		return err;
	const struct proc_spawn spawn = { .path = path,
		                          .argv = argv,
		                          .fds = fds,
		                          .n_fds = n_fds,
		                          .standard = { -1, STDERR_FILENO, -1 }, /* our standard output is data */
		                          .new_group = 1,
		                          .die_with_parent = 1 };
	*ret = proc_spawn(&spawn);
	return *ret < 0 ? *ret : 0;
}

/* One line of a child; -E_ROLE_DIED when it ended without. */
static int status_read(struct up *up, int fd)
{
	size_t len = 0;
	while (len + 1 < sizeof up->status && fd_read(fd, up->status + len, 1) == 1 && up->status[len] != '\n')
		len++;
	up->status[len] = 0;
	return len ? 0 : -E_ROLE_DIED;
}

static int server_start(struct up *up)
{
	char port[16], *argv[10] = { (char *)(uintptr_t) "murmesh-server", (char *)(uintptr_t) "--dir", up->directory,
		                     (char *)(uintptr_t) "--status-fd", (char *)(uintptr_t) "3" };
	size_t n = 5;
	int status[2];
	if (cli_given(up->cli, "port")) {
		snprintf(port, sizeof port, "%u", (unsigned)cli_number(up->cli, "port"));
		argv[n++] = (char *)(uintptr_t) "--port";
		argv[n++] = port;
	}
	if (cli_given(up->cli, "address")) {
		argv[n++] = (char *)(uintptr_t) "--address";
		argv[n++] = (char *)(uintptr_t)cli_text(up->cli, "address");
	}
	if (pipe2(status, O_CLOEXEC) < 0)
		return -errno;
	int err = child_start("murmesh-server", argv, &status[1], 1, &up->server);
	fd_close(status[1]);
	if (err == 0)
		err = status_read(up, status[0]);
	fd_close(status[0]);
	const char *orb = err == 0 ? strstr(up->status, " ior=") : NULL;
	if (orb && sscanf(orb, " ior=%u tls=%u", &up->ior, &up->tls) != 2)
		up->ior = up->tls = 0;
	return err;
}

static int agent_start(struct up *up, const char *join)
{
	struct host host;
	char parent[32], *argv[14] = { (char *)(uintptr_t) "murmesh-agent",
		                       (char *)(uintptr_t) "--dir",
		                       up->agent_directory,
		                       (char *)(uintptr_t) "--status-fd",
		                       (char *)(uintptr_t) "3",
		                       (char *)(uintptr_t) "--parent",
		                       parent };
	int status[2], fds[2], n = 7;
	size_t n_fds = 1;
	snprintf(parent, sizeof parent, "127.0.0.1:%u", up->description.front_port); /* another one than last time with --port 0 */
	host_read(&host);
	if (!name_valid(str_from(host.name)) || strlen(host.name) > 53) {
		argv[n++] = (char *)(uintptr_t) "--name";
		argv[n++] = (char *)(uintptr_t) "local";
	}
	if (pipe2(status, O_CLOEXEC) < 0)
		return -errno;
	fds[0] = status[1];
	if (join) {
		fds[n_fds++] = program_secret(join);
		argv[n++] = (char *)(uintptr_t) "--join-fd";
		argv[n++] = (char *)(uintptr_t) "4";
	}
	int err = n_fds == 2 && fds[1] < 0 ? fds[1] : child_start("murmesh-agent", argv, fds, n_fds, &up->agent);
	fd_close(status[1]);
	if (n_fds == 2)
		fd_close(fds[1]);
	while (err == 0 && !str_starts(str_from(up->status), STR("online")))
		err = status_read(up, status[0]);
	fd_close(status[0]);
	return err;
}

/* A daemon that cannot start has said why. */
static int child_fail(pid_t *pid, int err, const char *what)
{
	int status = 0;
	bool told = err == -E_ROLE_DIED && waitpid(*pid, &status, 0) == *pid && WIFEXITED(status) && WEXITSTATUS(status);
	if (err == -E_ROLE_DIED)
		*pid = 0;
	return told ? CLI_FAILED : cli_fail(err, "%s", what);
}

/* ---- what is printed ---- */

static int keys_make(struct up *up, bool *ret_enrol, char *agent_line, size_t size)
{
	murmesh_KeyRequest request = { .uses = 1, .lifetime_s = 86400 };
	struct session session;
	char certificate[4200];
	int err = session_open(&session, up->directory);
	if (err == 0) {
		up->description = session.description;
		err = session_unary(&session, &rpc_Fleet_NewKey, &request, &up->join, sizeof up->join);
	}
	snprintf(certificate, sizeof certificate, "%.4000s/net/node.crt", up->agent_directory);
	*ret_enrol = err == 0 && !file_exists(certificate);
	if (*ret_enrol) {
		murmesh_JoinKey own;
		request.lifetime_s = 600;
		err = session_unary(&session, &rpc_Fleet_NewKey, &request, &own, sizeof own);
		if (err == 0)
			snprintf(agent_line, size, "127.0.0.1:%u#%s", up->description.front_port, own.key);
	}
	session_close(&session);
	return err == 0 ? session_login_link(up->directory, &up->link) : err;
}

static json_t *ports_json(const struct up *up)
{
	json_t *ports = json_pack("{s:i}", "front", (int)up->description.front_port);
	if (up->ior)
		json_object_set_new(ports, "ior", json_integer(up->ior));
	if (up->tls)
		json_object_set_new(ports, "tls", json_integer(up->tls));
	return ports;
}

static int announce(const struct up *up)
{
	char fingerprint[HEX_SIZE(32)], url[300], command[4096], root_key[4096];
	hex_encode(up->description.root_hash, sizeof up->description.root_hash, fingerprint);
	program_command(command, sizeof command);
	snprintf(url, sizeof url, "https://%s/", up->description.address);
	if (cli_format(up->cli) >= CLI_JSON) {
		int err = cli_json_line(up->cli, json_pack("{s:s, s:s, s:s, s:s, s:s, s:o}", "url", url, "login", up->link.login,
		                                           "fingerprint", fingerprint, "join", up->join.join, "dir", up->directory,
		                                           "ports", ports_json(up)));
		fflush(up->cli->out);
		return err;
	}
	fprintf(up->cli->out,
	        "murmesh %s is up in %s\n\n"
	        "  address      %s\n"
	        "  log in with  %s (once, within 15 minutes)\n"
	        "  mesh root    SHA-256 %s\n"
	        "  next machine murmesh join %s\n"
	        "  elsewhere    murmesh login %s#%s\n\n"
	        "Try in another terminal: %s --dir %s ls\n",
	        MURMESH_VERSION, up->directory, url, up->link.login, fingerprint, up->join.join, up->description.address,
	        fingerprint, command, up->directory);
	if (file_path(root_key, sizeof root_key, up->directory, "ca/root.key") == 0 && file_exists(root_key))
		fprintf(up->cli->out, "The mesh root's key is %s: keep a copy in a safe place; the server runs without it.\n",
		        root_key);
	fprintf(up->cli->out, "Ctrl-C ends the server and this machine's agent.\n");
	if (geteuid() != 0)
		cli_note(up->cli,
		         "note: as an ordinary user all parts share your user id; started as root each gets one of its own");
	fflush(up->cli->out);
	return 0;
}

/* ---- running ---- */

/* The agent first: it need not see its server go. */
static void children_end(struct up *up)
{
	if (up->agent > 0)
		kill(up->agent, SIGTERM);
	else if (up->server > 0)
		kill(up->server, SIGTERM);
}

static void on_signal(void *ctx)
{
	struct up *up = ctx;
	up->stopping = true;
	children_end(up);
	if (up->agent <= 0 && up->server <= 0)
		io_loop_stop(up->loop);
}

static void on_child(void *ctx)
{
	struct up *up = ctx;
	pid_t *pids[] = { &up->server, &up->agent };
	for (int i = 0; i < 2; i++) {
		int status;
		if (*pids[i] <= 0 || waitpid(*pids[i], &status, WNOHANG) != *pids[i])
			continue;
		*pids[i] = 0;
		if (!up->stopping)
			up->failed = true;
	}
	up->stopping = up->stopping || up->failed;
	if (up->stopping)
		children_end(up);
	if (up->server <= 0 && up->agent <= 0)
		io_loop_stop(up->loop);
}

static int stay(struct up *up)
{
	struct io_signal *signals[] = { io_signal_new(up->loop, SIGINT, on_signal, up),
		                        io_signal_new(up->loop, SIGTERM, on_signal, up),
		                        io_signal_new(up->loop, SIGHUP, on_signal, up),
		                        io_signal_new(up->loop, SIGCHLD, on_child, up) };
	on_child(up); /* one may have ended before */
	if (up->server > 0 || up->agent > 0)
		io_loop_run(up->loop);
	for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
		io_signal_free(signals[i]);
	return up->failed ? cli_fail(-E_ROLE_DIED, "the server or this machine's agent ended") : CLI_OK;
}

static int start(struct up *up)
{
	char line[512];
	bool enrol = false;
	int err = server_start(up);
	if (err < 0)
		return child_fail(&up->server, err, "the server did not start");
	err = keys_make(up, &enrol, line, sizeof line);
	if (err < 0)
		return cli_fail(err, "the server does not answer");
	err = agent_start(up, enrol ? line : NULL);
	if (err < 0)
		return child_fail(&up->agent, err, "this machine's agent did not start");
	if (announce(up) < 0)
		return CLI_FAILED;
	return stay(up);
}

static void children_wait(struct up *up)
{
	while (up->agent > 0 || up->server > 0) {
		pid_t *pid = up->agent > 0 ? &up->agent : &up->server;
		children_end(up);
		waitpid(*pid, NULL, 0);
		*pid = 0;
	}
}

static int run(const struct cli *cli)
{
	static struct up up;
	char wanted[4096];
	up.cli = cli;
	int err = cli_directory(cli, wanted, sizeof wanted);
	if (err == 0)
		err = file_make_directory(wanted, 0711);
	if (err == 0 && !realpath(wanted, up.directory))
		err = -E_FILE;
	if (err == 0)
		err = file_path(up.agent_directory, sizeof up.agent_directory, up.directory, "agent");
	if (err < 0)
		return cli_fail(err, "the folder %s cannot be used", wanted);
	up.loop = io_loop_new();
	if (!up.loop)
		return cli_fail(-E_NO_MEMORY, "the server did not start");
	int code = start(&up);
	children_wait(&up);
	io_loop_free(up.loop);
	return code;
}

static const struct cli_option options[] = {
	{ "port", 0, "PORT", CLI_NUMBER, "port of the server; 0 takes a free one (else as configured, or 8443)", NULL, 65535 },
	{ "address", 0, "HOST", CLI_TEXT, "name or address that other machines reach this server by (else found out)", NULL, 0 },
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "murmesh up", "a server and an agent for this machine, in the foreground" },
	{ "murmesh up --dir ./mesh --port 0 --json", "for a script: one JSON line when it is ready" },
	{ 0 },
};

const struct cli_command command_up = {
	.name = "up",
	.summary = "start a server, and an agent for this machine",
	.usage = "",
	.options = options,
	.examples = examples,
	.run = run,
};
