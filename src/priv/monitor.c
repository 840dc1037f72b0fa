#include "priv/monitor.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "io/io.h"
#include "os/fd.h"
#include "os/file.h"
#include "os/log.h"
#include "os/proc.h"
#include "priv/channel.h"
#include "priv/priv.h"
#include "priv/restart.h"
#include "priv/sandbox.h"

#define STOP_MS         3000
#define PINGS_MAX       6 /* without an answer: 30 s.  Counted, not timed: a monitor that was stopped itself must not kill */
#define EMPTY_DIRECTORY "run/empty"

uint64_t monitor_heartbeat_ms = 5000;

/* A role's process, or the place where the next one comes. */
struct member {
	struct priv_monitor *monitor;
	const struct priv_role *role;
	pid_t pid; /* 0 = none */
	struct channel *channel;
	struct io_timer *timer; /* to its next start */
	struct restart restart;
	uint64_t started_ms;
	unsigned pings;              /* without an answer */
	const char *killed;          /* why the monitor killed it; NULL = it did not */
	char call[FILTER_CALL_SIZE]; /* the forbidden system call that it made; "" = none */
	bool ready, started;
};

struct priv_monitor {
	struct io_loop *loop;
	const struct priv_program *program;
	struct str configuration;
	const struct priv_descriptor *descriptors;
	size_t n_descriptors;
	const struct priv_monitor_events *events;
	void *ctx;
	bool privileged, ready, stopping;
	const char *forbidden_call; /* the role that makes one at its first start, for tests; NULL = none */
	struct io_signal *child_ended;
	struct io_timer *heartbeat, *late;
	struct io_task stopped;
	int (*passes)[2]; /* by edge: of PRIV_EDGE_PASS both ends, which stay open here; else -1 */
	struct member members[];
};

/* ---- members ---- */

static struct member *member_find(struct priv_monitor *monitor, const char *name)
{
	for (size_t i = 0; i < monitor->program->n_roles; i++)
		if (str_is(str_from(name), monitor->members[i].role->name))
			return &monitor->members[i];
	return NULL;
}

static bool member_is(const struct member *member, const char *name)
{
	return str_is(str_from(name), member->role->name);
}

static uid_t member_uid(const struct member *member)
{
	const struct priv_monitor *monitor = member->monitor;
	if (!monitor->privileged || member->role->unconfined)
		return 0;
	return monitor->program->first_uid + (uid_t)(member - monitor->members);
}

static void member_kill(struct member *member, const char *reason)
{
	if (!member->pid)
		return; /* what it sent before its end */
	if (!member->killed)
		member->killed = reason;
	kill(member->pid, SIGKILL);
}

/* fd stays the caller's. */
static void member_hand(struct member *member, const char *prefix, const char *name, int fd)
{
	char text[CONTROL_NAME_MAX + 1];
	int len = snprintf(text, sizeof text, "%s%s", prefix, name);
	int err = len < (int)sizeof text ? channel_send(member->channel, CONTROL_DESCRIPTOR, str_from(text), fd) : -E_TOO_LONG;
	if (err < 0)
		member_kill(member, "does not take its descriptors");
}

static void everyone_ready(struct priv_monitor *monitor)
{
	for (size_t i = 0; i < monitor->program->n_roles; i++)
		if (!monitor->members[i].ready)
			return;
	if (monitor->ready)
		return;
	monitor->ready = true;
	if (monitor->events->ready)
		monitor->events->ready(monitor->ctx);
}

static void violation_note(struct member *member, struct str payload)
{
	struct reader r = { (const uint8_t *)payload.ptr, payload.len };
	uint32_t number;
	if (reader_be32(&r, &number) == 0)
		filter_call_name(number, member->call);
}

static void on_packet(void *ctx, unsigned kind, struct str payload)
{
	struct member *member = ctx;
	struct priv_monitor *monitor = member->monitor;
	switch (kind) {
	case CONTROL_READY:
		member->ready = true;
		everyone_ready(monitor);
		break;
	case CONTROL_REPORT:
		if (monitor->events->report)
			monitor->events->report(monitor->ctx, member->role->name, payload);
		break;
	case CONTROL_PONG:
		member->pings = 0;
		break;
	case CONTROL_VIOLATION:
		violation_note(member, payload);
		break;
	case CHANNEL_BROKEN:
		member_kill(member, "its control channel broke");
		break;
	default:
		member_kill(member, "sent what no role sends");
		break;
	}
}

/* ---- start ---- */

static int role_path(const struct member *member, char path[PATH_MAX])
{
	return file_path(path, PATH_MAX, member->monitor->program->directory, member->role->directory);
}

/* As root: a directory that is there already (or was made by an ordinary user) becomes its owner's, but a link is not followed. */
static int directory_own(const char *path, uid_t uid, mode_t mode)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int err = fchown(fd, uid, uid) < 0 || fchmod(fd, mode) < 0 ? -errno : 0;
	fd_close(fd);
	return err;
}

/* What root put there by hand, or a command before the first start.  A link, or a file that has another name too, stays as it is. */
static void files_own(const char *path, uid_t uid)
{
	struct stat status;
	const struct dirent *entry;
	DIR *directory = uid == 0 ? NULL : opendir(path);
	if (!directory)
		return;
	int fd = dirfd(directory);
	while ((entry = readdir(directory)))
		if (fstatat(fd, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(status.st_mode) &&
		    status.st_uid == 0 && status.st_nlink == 1 && fchownat(fd, entry->d_name, uid, uid, AT_SYMLINK_NOFOLLOW) < 0)
			log_warning("%s/%s stays root's: %s", path, entry->d_name, strerror(errno));
	closedir(directory);
}

static int directories_make(struct priv_monitor *monitor)
{
	char path[PATH_MAX];
	int err = 0;
	for (size_t i = 0; i < monitor->program->n_roles && err == 0; i++) {
		const struct member *member = &monitor->members[i];
		if (!member->role->directory)
			continue;
		err = role_path(member, path);
		if (err == 0)
			err = file_make_directory(path, 0700);
		if (err == 0 && monitor->privileged)
			err = directory_own(path, member_uid(member), 0700);
		if (err == 0 && monitor->privileged)
			files_own(path, member_uid(member));
	}
	if (err < 0 || !monitor->privileged)
		return err;
	err = file_path(path, sizeof path, monitor->program->directory, EMPTY_DIRECTORY);
	if (err == 0)
		err = file_make_directory(path, 0555);
	return err < 0 ? err : directory_own(path, 0, 0555);
}

static int passes_make(struct priv_monitor *monitor)
{
	int err = 0;
	for (size_t i = 0; i < monitor->program->n_edges && err == 0; i++)
		if (monitor->program->edges[i].kind == PRIV_EDGE_PASS)
			err = fd_pair_packet(monitor->passes[i]);
	return err;
}

static void edge_connect(struct priv_monitor *monitor, const struct priv_edge *edge)
{
	struct member *from = member_find(monitor, edge->from), *to = member_find(monitor, edge->to);
	int pair[2];
	if (!from->pid || !to->pid)
		return; /* when the other one starts */
	if (fd_pair_stream(pair) < 0) {
		member_kill(from, "cannot be connected");
		return;
	}
	member_hand(from, "rpc-to:", edge->as ? edge->as : edge->to, pair[0]);
	member_hand(to, "rpc-from:", edge->from, pair[1]);
	fd_close(pair[0]);
	fd_close(pair[1]);
}

static void member_edges(struct member *member)
{
	struct priv_monitor *monitor = member->monitor;
	for (size_t i = 0; i < monitor->program->n_edges; i++) {
		const struct priv_edge *edge = &monitor->program->edges[i];
		bool from = member_is(member, edge->from), to = member_is(member, edge->to);
		if (edge->kind == PRIV_EDGE_RPC && (from || to))
			edge_connect(monitor, edge);
		if (edge->kind == PRIV_EDGE_PASS && from)
			member_hand(member, "pass-to:", edge->to, monitor->passes[i][0]);
		if (edge->kind == PRIV_EDGE_PASS && to)
			member_hand(member, "pass-from:", edge->from, monitor->passes[i][1]);
	}
}

static int member_greet(struct member *member)
{
	struct priv_monitor *monitor = member->monitor;
	bool changes_root = member_uid(member) && !(member->role->allow & PRIV_ALLOW_RESOLVE);
	char directory[PATH_MAX] = "", empty[PATH_MAX] = "";
	struct buf packet;
	int err = member->role->directory ? role_path(member, directory) : 0;
	if (err == 0 && changes_root)
		err = file_path(empty, sizeof empty, monitor->program->directory, EMPTY_DIRECTORY);
	const struct control_start start = {
		.forbidden_call = !member->started && monitor->forbidden_call && member_is(member, monitor->forbidden_call),
		.uid = member_uid(member),
		.monitor = (uint32_t)getpid(),
		.directory = str_from(directory),
		.root = str_from(changes_root && directory[0] ? directory : empty),
		.configuration = monitor->configuration,
	};
	buf_init(&packet, CONTROL_START_MAX);
	if (err == 0)
		err = control_start_encode(&start, &packet);
	if (err == 0)
		err = channel_send(member->channel, CONTROL_START, buf_str(&packet), -1);
	buf_done(&packet);
	return err;
}

static pid_t member_spawn(const struct member *member, int control)
{
	char path[PATH_MAX], role[64], option[32];
	const char *before = member->monitor->program->option;
	int err = proc_self_path(path, sizeof path);
	if (err == 0)
		err = str_copy(str_from(before ? before : "--role"), option, sizeof option);
	if (err == 0)
		err = str_copy(str_from(member->role->name), role, sizeof role);
	if (err < 0)
		return err;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		return -errno;
	char *argv[] = { path, option, role, NULL };
	const struct proc_spawn spawn = {
		.path = path,
		.argv = argv,
		.fds = &control,
		.n_fds = 1,
		.standard = { null, null, -1 }, /* it logs; the terminal is not its business */
		.new_group = 1,                 /* Ctrl-C is the monitor's alone */
		.die_with_parent = 1,
	};
	pid_t pid = proc_spawn(&spawn);
	fd_close(null);
	return pid;
}

/* Without a process when it fails. */
static int member_start(struct member *member)
{
	struct priv_monitor *monitor = member->monitor;
	int pair[2], err = fd_pair_packet(pair);
	if (err < 0)
		return err;
	member->channel = channel_new(monitor->loop, pair[0], on_packet, member);
	pid_t pid = member->channel ? member_spawn(member, pair[1]) : -E_NO_MEMORY;
	fd_close(pair[1]);
	if (pid < 0) {
		member->channel = channel_free(member->channel);
		return (int)pid;
	}
	member->pid = pid;
	member->started_ms = io_loop_now_ms(monitor->loop);
	member->pings = 0;
	member->killed = NULL;
	member->call[0] = 0;
	if (member_greet(member) < 0)
		member_kill(member, "does not take its configuration");
	member->started = true;
	for (size_t i = 0; i < monitor->n_descriptors; i++)
		if (member_is(member, monitor->descriptors[i].role))
			member_hand(member, "", monitor->descriptors[i].name, monitor->descriptors[i].fd);
	member_edges(member);
	return 0;
}

/* ---- end, and start again ---- */

static void member_log_end(const struct member *member, int status, uint64_t pause_ms)
{
	char reason[160], again[48] = "";
	if (member->call[0])
		snprintf(reason, sizeof reason, "system call %s is not allowed", member->call);
	else if (member->killed)
		snprintf(reason, sizeof reason, "%s: killed", member->killed);
	else if (WIFSIGNALED(status))
		snprintf(reason, sizeof reason, "ended by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		snprintf(reason, sizeof reason, "ended with code %d", WEXITSTATUS(status));
	if (pause_ms)
		snprintf(again, sizeof again, "; starts again in %u s", (unsigned)(pause_ms / 1000));
	bool in_order = !member->call[0] && !member->killed && WIFEXITED(status) && WEXITSTATUS(status) == 0;
	log_line(in_order ? LOG_INFO : LOG_ERROR, "role %s: %s%s", member->role->name, reason, again);
}

static void member_pause(struct member *member, uint64_t pause_ms)
{
	io_timer_start(member->timer, pause_ms, 0);
}

static uint64_t member_count_end(struct member *member)
{
	uint64_t now = io_loop_now_ms(member->monitor->loop);
	return restart_pause(&member->restart, now, now - member->started_ms);
}

static void on_restart(void *ctx)
{
	struct member *member = ctx;
	member->started_ms = io_loop_now_ms(member->monitor->loop);
	int err = member_start(member);
	if (err == 0)
		return;
	log_error("role %s: cannot be started: %s", member->role->name, err_text(err));
	member_pause(member, member_count_end(member));
}

static void stopped_check(struct priv_monitor *monitor)
{
	for (size_t i = 0; i < monitor->program->n_roles; i++)
		if (monitor->members[i].pid)
			return;
	io_task_schedule(monitor->loop, &monitor->stopped);
}

static void member_ended(struct member *member, int status)
{
	struct priv_monitor *monitor = member->monitor;
	member->pid = 0;
	channel_drain(member->channel);
	member->channel = channel_free(member->channel);
	member->ready = false;
	if (monitor->stopping) {
		bool in_order =
		        (WIFEXITED(status) && WEXITSTATUS(status) == 0) || (WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
		if (!in_order)
			member_log_end(member, status, 0);
		stopped_check(monitor);
		return;
	}
	uint64_t pause_ms = member_count_end(member);
	member_log_end(member, status, pause_ms);
	member_pause(member, pause_ms);
}

static void on_child_ended(void *ctx)
{
	struct priv_monitor *monitor = ctx;
	int status;
	for (size_t i = 0; i < monitor->program->n_roles; i++) {
		struct member *member = &monitor->members[i];
		if (member->pid && waitpid(member->pid, &status, WNOHANG) == member->pid)
			member_ended(member, status);
	}
}

static void on_heartbeat(void *ctx)
{
	struct priv_monitor *monitor = ctx;
	for (size_t i = 0; i < monitor->program->n_roles; i++) {
		struct member *member = &monitor->members[i];
		if (!member->pid)
			continue;
		if (member->pings++ == PINGS_MAX)
			member_kill(member, "does not answer");
		else
			channel_send(member->channel, CONTROL_PING, STR(""), -1); /* one that is lost counts as unanswered */
	}
}

static void on_stop_late(void *ctx)
{
	struct priv_monitor *monitor = ctx;
	for (size_t i = 0; i < monitor->program->n_roles; i++)
		if (monitor->members[i].pid)
			member_kill(&monitor->members[i], "does not stop");
}

static void on_stopped(void *ctx)
{
	struct priv_monitor *monitor = ctx;
	if (monitor->events->stopped)
		monitor->events->stopped(monitor->ctx); /* may free the monitor */
}

/* ---- the monitor ---- */

static bool tables_valid(struct priv_monitor *monitor)
{
	const struct priv_program *program = monitor->program;
	bool valid = monitor->configuration.len <= CONTROL_CONFIGURATION_MAX;
	for (size_t i = 0; i < program->n_roles; i++)
		valid = valid && !(program->roles[i].directory && program->roles[i].allow & PRIV_ALLOW_RESOLVE);
	for (size_t i = 0; i < program->n_edges; i++)
		valid = valid && member_find(monitor, program->edges[i].from) && member_find(monitor, program->edges[i].to);
	for (size_t i = 0; i < monitor->n_descriptors; i++)
		valid = valid && member_find(monitor, monitor->descriptors[i].role);
	return valid;
}

static int members_open(struct priv_monitor *monitor)
{
	for (size_t i = 0; i < monitor->program->n_roles; i++) {
		struct member *member = &monitor->members[i];
		member->timer = io_timer_new(monitor->loop, on_restart, member);
		if (!member->timer)
			return -E_NO_MEMORY;
	}
	return 0;
}

static int monitor_open(struct priv_monitor *monitor)
{
	size_t n = monitor->program->n_edges;
	monitor->passes = mem_alloc_array(n + 1, sizeof *monitor->passes);
	if (!monitor->passes)
		return -E_NO_MEMORY;
	for (size_t i = 0; i < n; i++)
		monitor->passes[i][0] = monitor->passes[i][1] = -1;
	monitor->child_ended = io_signal_new(monitor->loop, SIGCHLD, on_child_ended, monitor);
	monitor->heartbeat = io_timer_new(monitor->loop, on_heartbeat, monitor);
	monitor->late = io_timer_new(monitor->loop, on_stop_late, monitor);
	return monitor->child_ended && monitor->heartbeat && monitor->late ? members_open(monitor) : -E_NO_MEMORY;
}

struct priv_monitor *priv_monitor_new(struct io_loop *loop, const struct priv_program *program, struct str configuration,
                                      const struct priv_descriptor *descriptors, size_t n_descriptors,
                                      const struct priv_monitor_events *events, void *ctx)
{
	struct priv_monitor *monitor = mem_alloc(sizeof *monitor + program->n_roles * sizeof *monitor->members);
	if (!monitor)
		return NULL;
	monitor->loop = loop;
	monitor->program = program;
	monitor->configuration = configuration;
	monitor->descriptors = descriptors;
	monitor->n_descriptors = n_descriptors;
	monitor->events = events;
	monitor->ctx = ctx;
	monitor->privileged = geteuid() == 0;
	monitor->forbidden_call = getenv("MURMESH_TEST_FORBIDDEN_CALL");
	io_task_init(&monitor->stopped, on_stopped, monitor);
	for (size_t i = 0; i < program->n_roles; i++) {
		monitor->members[i].monitor = monitor;
		monitor->members[i].role = &program->roles[i];
	}
	if (!tables_valid(monitor) || monitor_open(monitor) < 0)
		return priv_monitor_free(monitor);
	return monitor;
}

int priv_monitor_start(struct priv_monitor *monitor)
{
	if (!landlock_version())
		log_warning("this kernel has no Landlock: the roles are held by %s only",
		            monitor->privileged ? "their users and the system call filter" : "the system call filter");
	int err = directories_make(monitor);
	if (err == 0)
		err = passes_make(monitor);
	for (size_t i = 0; i < monitor->program->n_roles && err == 0; i++)
		err = member_start(&monitor->members[i]);
	if (err == 0)
		io_timer_start(monitor->heartbeat, monitor_heartbeat_ms, monitor_heartbeat_ms);
	return err;
}

void priv_monitor_stop(struct priv_monitor *monitor)
{
	if (monitor->stopping)
		return;
	monitor->stopping = true;
	io_timer_stop(monitor->heartbeat);
	io_timer_start(monitor->late, STOP_MS, 0);
	for (size_t i = 0; i < monitor->program->n_roles; i++) {
		struct member *member = &monitor->members[i];
		io_timer_stop(member->timer);
		if (!member->pid)
			continue;
		channel_send(member->channel, CONTROL_STOP, STR(""), -1);
		kill(member->pid, SIGTERM);
	}
	stopped_check(monitor);
}

int priv_monitor_tell(struct priv_monitor *monitor, const char *role, struct str text)
{
	struct member *member = member_find(monitor, role);
	if (!member)
		return -E_NOT_FOUND;
	if (text.len > CONTROL_TEXT_MAX)
		return -E_TOO_LONG;
	return member->pid ? channel_send(member->channel, CONTROL_MESSAGE, text, -1) : -E_CLOSED;
}

static void member_close(struct member *member)
{
	if (member->pid) {
		kill(member->pid, SIGKILL);
		while (waitpid(member->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	channel_free(member->channel);
	io_timer_free(member->timer);
}

struct priv_monitor *priv_monitor_free(struct priv_monitor *monitor)
{
	if (!monitor)
		return NULL;
	for (size_t i = 0; i < monitor->program->n_roles; i++)
		member_close(&monitor->members[i]);
	for (size_t i = 0; i < monitor->program->n_edges && monitor->passes; i++) {
		fd_close(monitor->passes[i][0]);
		fd_close(monitor->passes[i][1]);
	}
	io_task_cancel(&monitor->stopped);
	io_timer_free(monitor->late);
	io_timer_free(monitor->heartbeat);
	io_signal_free(monitor->child_ended);
	mem_free(monitor->passes);
	return mem_free(monitor);
}
