#include "probe/modules/process/process.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/map.h"
#include "base/mem.h"
#include "io/io.h"
#include "os/fd.h"
#include "os/log.h"
#include "os/random.h"

#define PROCESSES_MAX 32768
#define POLL_MS       1000
#define RESCAN_MS     200 /* after a loss: when the storm may be over */
#define BATCH         64
#define BATCHES       16 /* a turn: others want the loop too */
#define PACKET_MAX    256
#define KTHREADD      2
#define SAME_MS       2000 /* a start time from an event and from /proc are this close; a process id is not used again as soon */
#define VERIFY_EVERY  10   /* scans, when polling */

struct process {
	struct list node; /* in `all`, or in `due` */
	struct gg_process id, parent;
	uint32_t uid;
	unsigned scan; /* the last one that saw it, or the one under way when it came */
	char command[PROCESS_COMMAND];
};

struct module {
	struct probe *probe;
	int proc, fd; /* fd: the connector, or -1 */
	struct io_watch *watch;
	struct io_timer *scan_timer;
	struct map *processes; /* pid -> struct process */
	struct list all, due;  /* due: a keyframe has still to name them */
	struct connector_loss loss;
	unsigned scan;
	bool scan_due, started;
};

static uint64_t monotonic_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* ---- the table ---- */

static struct process *process_get(const struct module *module, uint32_t pid)
{
	return map_get(module->processes, &pid, sizeof pid);
}

static struct process *process_add(struct module *module, uint32_t pid, uint64_t start_ms)
{
	struct process *process = mem_alloc(sizeof *process);
	if (!process || map_put(module->processes, &pid, sizeof pid, process) < 0) {
		mem_free(process);
		probe_lost(module->probe, GG_MODULE_PROCESS, GG_LOST_TABLE, 1);
		return NULL;
	}
	process->id = (struct gg_process){ pid, start_ms };
	process->scan = module->scan;
	list_append(&module->all, &process->node);
	return process;
}

static void process_remove(struct module *module, struct process *process)
{
	uint32_t pid = (uint32_t)process->id.pid;
	map_remove(module->processes, &pid, sizeof pid);
	list_remove(&process->node);
	mem_free(process);
}

static struct gg_process process_id(const struct module *module, uint32_t pid)
{
	const struct process *process = process_get(module, pid);
	return process ? process->id : (struct gg_process){ 0 };
}

bool process_find(void *ctx, uint64_t pid, struct gg_process *ret, struct str *ret_command)
{
	const struct process *process = pid && pid <= UINT32_MAX ? process_get(ctx, (uint32_t)pid) : NULL;
	if (!process)
		return false;
	*ret = process->id;
	*ret_command = str_from(process->command);
	return true;
}

/* ---- records ---- */

static void write_fork(struct module *module, const struct process *process, uint64_t time_ns)
{
	const struct gg_process_fork record = { .parent = process->parent,
		                                .process = process->id,
		                                .command = str_from(process->command) };
	gg_process_fork_write(probe_writer(module->probe, GG_MODULE_PROCESS), time_ns, &record);
}

static void write_exec(struct module *module, const struct process *process, uint64_t time_ns)
{
	char exe[256], arguments[401];
	struct gg_process_exec record = {
		.process = process->id, .uid = process->uid, .parent = process->parent, .command = str_from(process->command)
	};
	str_copy(record.command, exe, sizeof exe);
	if (probe_settings(module->probe)->arguments)
		record.argv = proc_arguments(module->proc, (uint32_t)process->id.pid, exe, sizeof exe, arguments, sizeof arguments);
	record.exe = str_from(exe);
	gg_process_exec_write(probe_writer(module->probe, GG_MODULE_PROCESS), time_ns, &record);
}

static void write_exit(struct module *module, const struct process *process, uint64_t time_ns, const struct process_event *event)
{
	struct gg_process_exit record = { .process = process->id, .command = str_from(process->command) };
	if (event) {
		record.known = 1;
		record.code = event->code;
		record.signal = event->signal;
	}
	gg_process_exit_write(probe_writer(module->probe, GG_MODULE_PROCESS), time_ns, &record);
}

/* ---- looking at /proc ---- */

/* Its parent may be another one by now: the first one stays. */
static void process_describe(const struct module *module, struct process *process, const struct process_status *status)
{
	process->uid = status->uid;
	memcpy(process->command, status->command, sizeof process->command);
	if (!process->parent.pid)
		process->parent = process_id(module, status->parent);
}

static bool start_same(const struct process *process, uint64_t start_ms)
{
	return process->id.start < start_ms + SAME_MS && start_ms < process->id.start + SAME_MS;
}

/* Known already, and not another one with its number? */
static bool process_confirm(struct module *module, struct process *process, uint32_t pid)
{
	struct process_status status;
	bool verify = module->fd >= 0 || module->scan % VERIFY_EVERY == 0;
	process->scan = module->scan;
	if (!verify || proc_status(module->proc, pid, &status) < 0 || start_same(process, status.start_ms))
		return true;
	write_exit(module, process, probe_now_ns(), NULL);
	process_remove(module, process);
	return false;
}

static void on_found(void *ctx, uint32_t pid)
{
	struct module *module = ctx;
	struct process_status status;
	struct process *process = process_get(module, pid);
	if (process && process_confirm(module, process, pid))
		return;
	if (proc_status(module->proc, pid, &status) < 0 || status.kernel)
		return;
	process = process_add(module, pid, status.start_ms);
	if (!process)
		return;
	process_describe(module, process, &status);
	if (module->started) /* what is there at the start the keyframe says */
		write_exec(module, process, probe_now_ns());
}

/* Those that were not seen are gone: found first, since the map must not change meanwhile. */
static void sweep(struct module *module)
{
	struct process *gone[BATCH];
	size_t n;
	do {
		size_t at = 0;
		n = 0;
		for (struct process *process; n < BATCH && (process = map_next(module->processes, &at));)
			if (process->scan != module->scan)
				gone[n++] = process;
		for (size_t i = 0; i < n; i++) {
			write_exit(module, gone[i], probe_now_ns(), NULL);
			process_remove(module, gone[i]);
		}
	} while (n == BATCH);
}

static void on_scan(void *ctx)
{
	struct module *module = ctx;
	module->scan++;
	module->scan_due = false;
	if (proc_each(module->proc, on_found, module) == 0)
		sweep(module);
	module->started = true;
}

/* ---- events of the connector ---- */

static void on_fork(struct module *module, const struct process_event *event, uint64_t time_ns)
{
	struct process *parent = process_get(module, event->parent), *process = process_get(module, event->pid);
	if (event->parent == KTHREADD)
		return;
	if (process && !start_same(process, time_ns / 1000000)) { /* its end was missed; else a scan was faster */
		process_remove(module, process);
		process = NULL;
	}
	if (!process)
		process = process_add(module, event->pid, time_ns / 1000000);
	if (!process)
		return;
	if (parent) {
		process->parent = parent->id;
		process->uid = parent->uid;
		memcpy(process->command, parent->command, sizeof process->command);
	}
	write_fork(module, process, time_ns);
}

static void on_exec(struct module *module, const struct process_event *event, uint64_t time_ns)
{
	struct process *process = process_get(module, event->pid);
	struct process_status status;
	bool there = proc_status(module->proc, event->pid, &status) == 0;
	if (!process)
		process = process_add(module, event->pid, there ? status.start_ms : time_ns / 1000000);
	if (!process)
		return;
	if (there)
		process_describe(module, process, &status);
	write_exec(module, process, time_ns);
}

static void on_exit_event(struct module *module, const struct process_event *event, uint64_t time_ns)
{
	struct process *process = process_get(module, event->pid);
	if (!process)
		return;
	write_exit(module, process, time_ns, event);
	process_remove(module, process);
}

/* The table is not true any more: look at /proc when the storm is over. */
static void loss_note(struct module *module, uint32_t missed)
{
	probe_lost(module->probe, GG_MODULE_PROCESS, GG_LOST_KERNEL, missed);
	if (!module->scan_due)
		io_timer_start(module->scan_timer, RESCAN_MS, 0);
	module->scan_due = true;
}

static void event_take(struct module *module, const struct process_event *event, int64_t wall_ns)
{
	uint64_t time_ns = event->time_ns + (uint64_t)wall_ns;
	uint32_t missed = connector_missed(&module->loss, event);
	if (missed)
		loss_note(module, missed);
	switch (event->kind) {
	case PROCESS_FORK:
		on_fork(module, event, time_ns);
		break;
	case PROCESS_EXEC:
		on_exec(module, event, time_ns);
		break;
	case PROCESS_EXIT:
		on_exit_event(module, event, time_ns);
		break;
	case PROCESS_OTHER:
		break;
	}
}

static int batch_take(struct module *module)
{
	static char packets[BATCH][PACKET_MAX];
	struct mmsghdr messages[BATCH];
	struct iovec parts[BATCH];
	struct process_event event;
	for (unsigned i = 0; i < BATCH; i++) {
		parts[i] = (struct iovec){ packets[i], PACKET_MAX };
		messages[i] = (struct mmsghdr){ .msg_hdr = { .msg_iov = &parts[i], .msg_iovlen = 1 } };
	}
	int n = recvmmsg(module->fd, messages, BATCH, MSG_DONTWAIT, NULL);
	if (n < 0 && errno == ENOBUFS) {
		loss_note(module, 0); /* how many, the numbers of the next events say */
		return BATCH;
	}
	int64_t wall_ns = (int64_t)(probe_now_ns() - monotonic_ns());
	for (int i = 0; i < n; i++) {
		struct str rest = { packets[i], messages[i].msg_len };
		while (connector_parse(&rest, &event))
			event_take(module, &event, wall_ns);
	}
	return n;
}

static void on_readable(void *ctx, unsigned events)
{
	struct module *module = ctx;
	(void)events;
	for (unsigned i = 0; i < BATCHES && batch_take(module) == BATCH; i++)
		;
}

/* ---- life ---- */

static void process_keyframe_begin(void *ctx)
{
	struct module *module = ctx;
	list_move(&module->due, &module->all);
}

static bool process_keyframe_next(void *ctx)
{
	struct module *module = ctx;
	struct list *node = probe_keyframe_take(&module->due, &module->all);
	if (node)
		write_exec(module, LIST_ENTRY(node, struct process, node), probe_now_ns());
	return !list_empty(&module->due);
}

static void process_start(void *ctx)
{
	struct module *module = ctx;
	if (module->fd >= 0) {
		on_scan(module);
		io_watch_set(module->watch, IO_READABLE);
	} else
		io_timer_start(module->scan_timer, 0, POLL_MS);
}

static void *process_close(void *ctx)
{
	struct module *module = ctx;
	struct process *process;
	size_t at = 0;
	if (!module)
		return NULL;
	io_watch_free(module->watch);
	io_timer_free(module->scan_timer);
	fd_close(module->fd);
	while (module->processes && (process = map_next(module->processes, &at)))
		mem_free(process);
	map_free(module->processes);
	return mem_free(module);
}

static void *process_open(struct probe *probe)
{
	struct module *module = mem_alloc(sizeof *module);
	uint8_t seed[16];
	if (!module)
		return NULL;
	module->probe = probe;
	list_init(&module->all);
	list_init(&module->due);
	module->proc = probe_settings(probe)->proc;
	module->fd = probe_settings(probe)->polling ? -E_UNSUPPORTED : connector_open(probe_settings(probe)->room);
	random_bytes(seed, sizeof seed);
	module->processes = map_new(seed, PROCESSES_MAX);
	module->scan_timer = io_timer_new(probe_loop(probe), on_scan, module);
	module->watch = module->fd < 0 ? NULL : io_watch_new(probe_loop(probe), module->fd, on_readable, module);
	if (!module->processes || !module->scan_timer || (module->fd >= 0 && !module->watch))
		return process_close(module);
	if (module->fd < 0)
		log_debug("no process connector: %s", err_text(module->fd));
	probe_source(probe, GG_MODULE_PROCESS, module->fd < 0 ? "/proc, 1 s" : "proc connector");
	return module;
}

const struct probe_module probe_process = { GG_MODULE_PROCESS,     process_open, process_start, process_keyframe_begin,
	                                    process_keyframe_next, NULL,         process_close };
