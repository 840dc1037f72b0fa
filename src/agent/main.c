/* murmesh-agent: the monitor.  It starts the roles, says what net reports, and reads no network bytes. */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <unistd.h>

#include "agent/agent.h"
#include "base/err.h"
#include "base/utf8.h"
#include "ca/join_line.h"
#include "io/io.h"
#include "os/fd.h"
#include "os/file.h"
#include "os/host.h"
#include "os/log.h"
#include "os/proc.h"
#include "resolve/resolve.h"

#define FIRST_UID 61150 /* see murmesh-server */

static const struct priv_role roles[] = {
	{ "net", agent_net_main, PRIV_ALLOW_CONNECT | PRIV_ALLOW_FILES, "net", false },
	{ "resolve", resolve_role_main, PRIV_ALLOW_RESOLVE | PRIV_ALLOW_THREAD, NULL, false },
	{ "exec", agent_exec_main, 0, "exec", true },
};

static const struct priv_edge edges[] = {
	{ "net", "exec", PRIV_EDGE_RPC },
	{ "net", "resolve", PRIV_EDGE_RPC },
};

struct options {
	const char *directory, *name;
	int join_fd, status_fd;
};

struct monitor {
	struct io_loop *loop;
	struct priv_monitor *priv;
	struct options options;
	char directory[PATH_MAX], join[JOIN_LINE_SIZE], name[64], settings[1024];
	int code;
	bool stopping;
};

static int usage(void)
{
	fprintf(stderr, "usage: murmesh-agent --dir DIR [--name NAME] [--join-fd N] [--status-fd N]\n"
			"Runs the agent in the foreground.  `murmesh join LINE` enrols this machine first.\n");
	return 64;
}

static int options_parse(int argc, char **argv, struct options *options)
{
	static const struct option names[] = { { "dir", required_argument, NULL, 'd' },
					       { "name", required_argument, NULL, 'n' },
					       { "join-fd", required_argument, NULL, 'j' },
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

static int fail(int code, int err, const char *what, const char *why)
{
	fprintf(stderr, "error: %s\nwhy:   %s\ntry:   %s\n", what, why && *why ? why : err_text(err),
		err_try(err) ? err_try(err) : "see the log above");
	return code;
}

/* ---- the join line: kept in a file of root's until the enrolment is complete, so that a kill in between loses nothing ---- */

static int pending_path(const struct monitor *monitor, char path[PATH_MAX])
{
	return file_path(path, PATH_MAX, monitor->directory, "join.pending");
}

static int join_read(struct monitor *monitor)
{
	char path[PATH_MAX];
	struct buf text;
	struct join_line line;
	buf_init(&text, sizeof monitor->join);
	int err = pending_path(monitor, path);
	if (monitor->options.join_fd >= 0) {
		uint8_t *room;
		ssize_t n = err;
		while (err == 0 && (err = buf_reserve(&text, 1, &room)) == 0 && (n = fd_read(monitor->options.join_fd, room, 1)) == 1)
			buf_commit(&text, 1);
		fd_close(monitor->options.join_fd);
		if (n < 0 || err == -E_TOO_LONG)
			err = -E_KEY_LINE;
	} else if (err == 0) {
		err = file_read(path, &text);
		if (err == -ENOENT)
			return 0; /* enrolled long ago */
	}
	struct str whole = str_trim(buf_str(&text));
	while (whole.len && (whole.ptr[whole.len - 1] == '\n' || whole.ptr[whole.len - 1] == '\r'))
		whole.len--;
	if (err == 0)
		err = join_line_parse(whole, &line);
	if (err == 0)
		err = str_copy(whole, monitor->join, sizeof monitor->join);
	if (err == 0 && monitor->options.join_fd >= 0)
		err = file_write(path, monitor->join, strlen(monitor->join), 0600);
	buf_wipe(&text);
	return err;
}

static void pending_forget(const struct monitor *monitor)
{
	char path[PATH_MAX];
	if (pending_path(monitor, path) == 0 && unlink(path) < 0 && errno != ENOENT)
		log_warning("the join line could not be removed from %s", path);
}

/* ---- reports of net ---- */

static void status_line(const struct monitor *monitor, const char *state, const char *text)
{
	char line[600];
	if (monitor->options.status_fd < 0)
		return;
	int len = snprintf(line, sizeof line, "%s %s\n", state, text);
	fd_write_all(monitor->options.status_fd, line, (size_t)len);
}

static void stop(struct monitor *monitor, int code)
{
	if (monitor->stopping)
		return;
	monitor->stopping = true;
	monitor->code = code;
	priv_monitor_stop(monitor->priv);
}

/* A person at `murmesh join` gets the command line's exit codes, a service manager those of daemons. */
static int exit_code(const struct monitor *monitor, int err)
{
	bool person = monitor->options.join_fd >= 0;
	switch (err) {
	case E_UNREACHABLE:
	case E_BUSY:
		return person ? 5 : 69;
	case E_TIMEOUT:
		return person ? 6 : 69;
	case E_KEY_LINE:
		return person ? 2 : 65;
	case E_WRONG_PIN:
		return person ? 1 : 77;
	default:
		return person ? 4 : 77;
	}
}

static void on_refused(struct monitor *monitor, struct str text)
{
	char code[16], why[400];
	struct str rest;
	str_copy(str_cut(text, ' ', &rest), code, sizeof code);
	utf8_clean(rest, why, sizeof why);
	int err = err_from_name(code);
	status_line(monitor, "refused", code);
	if (err == E_ENROLLED || err == E_WRONG_PIN || err == E_KEY_UNKNOWN || err == E_KEY_USED || err == E_KEY_EXPIRED || err == E_KEY_PROOF)
		pending_forget(monitor); /* this line will never do */
	stop(monitor, fail(exit_code(monitor, err), err ? err : E_INTERNAL, "this machine was not enrolled", why));
}

static void on_report(void *ctx, const char *role, struct str text)
{
	struct monitor *monitor = ctx;
	struct str rest, word = str_cut(text, ' ', &rest);
	char clean[400];
	utf8_clean(rest, clean, sizeof clean);
	if (!str_is(str_from(role), "net"))
		return;
	if (str_is(word, "enrolled")) {
		pending_forget(monitor);
		log_info("enrolled as %s", clean);
		status_line(monitor, "enrolled", clean);
	} else if (str_is(word, "online")) {
		log_info("online as %s", clean);
		status_line(monitor, "online", clean);
	} else if (str_is(word, "offline"))
		log_warning("the server is not reachable: %s; trying again", clean);
	else if (str_is(word, "refused"))
		on_refused(monitor, rest);
}

static void on_stopped(void *ctx)
{
	io_loop_stop(((struct monitor *)ctx)->loop);
}

static void on_signal(void *ctx)
{
	stop(ctx, 0);
}

/* ---- start ---- */

static int prepare(struct monitor *monitor)
{
	struct host host;
	char lock[PATH_MAX];
	int err = file_make_directory(monitor->options.directory, 0711);
	if (err < 0 || !realpath(monitor->options.directory, monitor->directory))
		return fail(73, err < 0 ? err : -E_FILE, "the agent's directory cannot be used", NULL);
	if (file_path(lock, sizeof lock, monitor->directory, "agent.lock") < 0 || (err = file_lock(lock)) < 0)
		return fail(75, err, "an agent uses this directory already", NULL);
	err = join_read(monitor);
	if (err < 0)
		return fail(65, err, "this machine was not enrolled", NULL);
	host_read(&host);
	if (str_copy(str_from(monitor->options.name ? monitor->options.name : host.name), monitor->name, sizeof monitor->name) < 0 ||
	    !name_valid(str_from(monitor->name)))
		return fail(64, -E_NAME, "the machine's name cannot be used", NULL);
	snprintf(monitor->settings, sizeof monitor->settings, "join=%s\nname=%s\n", monitor->join, monitor->name);
	return 0;
}

static int run(struct monitor *monitor, const struct priv_program *program)
{
	static const struct priv_monitor_events events = { NULL, on_report, on_stopped };
	monitor->loop = io_loop_new();
	struct io_signal *terminate = monitor->loop ? io_signal_new(monitor->loop, SIGTERM, on_signal, monitor) : NULL;
	struct io_signal *interrupt = monitor->loop ? io_signal_new(monitor->loop, SIGINT, on_signal, monitor) : NULL;
	if (terminate && interrupt)
		monitor->priv = priv_monitor_new(monitor->loop, program, str_from(monitor->settings), NULL, 0, &events, monitor);
	if (!monitor->priv || priv_monitor_start(monitor->priv) < 0)
		return fail(75, -E_NO_MEMORY, "the roles cannot be started", NULL);
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
	struct priv_program program = { .name = "murmesh-agent",
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
	log_init("murmesh-agent");
	if (options_parse(argc, argv, &monitor.options) < 0)
		return usage();
	proc_harden();
	fd_limit_raise();
	int code = prepare(&monitor);
	return code ? code : run(&monitor, &program);
}
