#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "io/io.h"
#include "os/fd.h"
#include "os/log.h"
#include "os/memory.h"
#include "os/proc.h"
#include "priv/control.h"
#include "priv/priv.h"
#include "priv/sandbox.h"

#define LEAVE_MS   3000
#define TIDY_MS    10000
#define TIDY_BYTES ((size_t)1 << 20)
#define EXIT_USAGE 64
#define EXIT_AGAIN 75

struct priv_child {
	const struct priv_role *role;
	char title[64];
	struct buf packet; /* what start points into */
	struct control_start start;
	char directory[CONTROL_DIRECTORY_MAX + 1], root[CONTROL_DIRECTORY_MAX + 1];
	struct io_loop *loop;
	struct io_watch *watch;
	struct io_signal *terminate;
	struct io_timer *leave, *tidy;
	int proc;
	size_t tidied; /* bytes free inside the heap when it was looked at last, or least since */
	const struct priv_child_events *events;
	void *ctx;
	bool confined, leaving, started;
	int failed;
};

static int child_send(enum control_kind kind, struct str payload)
{
	struct buf packet;
	buf_init(&packet, 1 + CONTROL_TEXT_MAX);
	int err = control_encode(kind, payload, &packet);
	if (err == 0)
		err = fd_send(CONTROL_FD, buf_head(&packet), buf_len(&packet), NULL, 0);
	buf_done(&packet);
	return err;
}

static void on_leave_late(void *ctx)
{
	(void)ctx;
	_exit(EXIT_AGAIN);
}

static void child_leave(void *ctx)
{
	struct priv_child *child = ctx;
	if (child->leaving)
		return;
	child->leaving = true;
	io_timer_start(child->leave, LEAVE_MS, 0);
	if (child->events && child->events->stop)
		child->events->stop(child->ctx);
	io_loop_stop(child->loop);
}

static void descriptor_deliver(struct priv_child *child, struct str text, int *fd)
{
	char name[CONTROL_NAME_MAX + 1];
	if (*fd < 0 || str_copy(text, name, sizeof name) < 0 || !child->events || !child->events->descriptor)
		return;
	int taken = *fd;
	*fd = -1;
	child->events->descriptor(child->ctx, name, taken);
}

static void packet_handle(struct priv_child *child, unsigned kind, struct str payload, int *fd)
{
	switch (kind) {
	case CONTROL_DESCRIPTOR:
		descriptor_deliver(child, payload, fd);
		break;
	case CONTROL_MESSAGE:
		if (child->events && child->events->message)
			child->events->message(child->ctx, payload);
		break;
	case CONTROL_PING:
		child_send(CONTROL_PONG, STR(""));
		break;
	case CONTROL_STOP:
		child_leave(child);
		break;
	default:
		break;
	}
}

static void on_control(void *ctx, unsigned events)
{
	struct priv_child *child = ctx;
	uint8_t bytes[1 + CONTROL_TEXT_MAX];
	int fds[FD_PASS_MAX] = { -1, -1, -1, -1 };
	size_t n;
	(void)events;
	ssize_t len = fd_receive(CONTROL_FD, bytes, sizeof bytes, fds, &n);
	if (len == -EAGAIN)
		return;
	if (len <= 0) { /* the monitor is gone, or a descriptor is lost that the role cannot do without */
		child->failed = len < 0 && len != -ECONNRESET ? (int)len : 0;
		io_watch_set(child->watch, 0);
		child_leave(child);
		return;
	}
	packet_handle(child, bytes[0], (struct str){ (const char *)bytes + 1, (size_t)len - 1 }, &fds[0]);
	for (size_t i = 0; i < n; i++)
		fd_close(fds[i]);
}

struct io_loop *priv_child_loop(struct priv_child *child)
{
	return child->loop;
}

struct str priv_child_configuration(const struct priv_child *child)
{
	return child->start.configuration;
}

const char *priv_child_directory(const struct priv_child *child)
{
	if (!child->directory[0])
		return NULL;
	return child->confined && child->root[0] ? "/" : child->directory;
}

int priv_child_proc(const struct priv_child *child)
{
	return child->proc;
}

void priv_child_listen(struct priv_child *child, const struct priv_child_events *events, void *ctx)
{
	child->events = events;
	child->ctx = ctx;
	io_watch_set(child->watch, IO_READABLE);
}

static int child_harden(void)
{
	int err = proc_harden();
	if (err < 0)
		log_error("sandbox: tracing: %s", err_text(err));
	return err < 0 ? -E_SANDBOX : 0;
}

int priv_child_confine(struct priv_child *child)
{
	return priv_child_confine_with(child, NULL, NULL);
}

int priv_child_confine_with(struct priv_child *child, int (*inside)(void *ctx), void *ctx)
{
	bool root = child->root[0];
	const struct sandbox sandbox = {
		.allow = child->role->allow,
		.uid = child->start.uid,
		.monitor = (pid_t)child->start.monitor,
		.root = child->root[0] ? child->root : NULL,
		.directory = !child->directory[0] ? NULL
		             : root               ? "/"
		                                  : child->directory,
		.proc = child->proc,
		.inside = inside,
		.ctx = ctx,
	};
	child->confined = true; /* for inside(): a role whose sandbox fails leaves */
	int err = child->role->unconfined ? child_harden() : sandbox_enter(&sandbox);
	if (err == 0 && child->role->unconfined && inside)
		err = inside(ctx);
	if (err < 0)
		return err;
	if (child->start.forbidden_call)
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	return 0;
}

int priv_child_ready(struct priv_child *child)
{
	return child->confined ? child_send(CONTROL_READY, STR("")) : -E_SANDBOX;
}

int priv_report(struct priv_child *child, struct str text)
{
	(void)child;
	return child_send(CONTROL_REPORT, text);
}

/* What much work leaves free inside the heap goes back to the system; nothing is done while little changes. */
static void on_tidy(void *ctx)
{
	struct priv_child *child = ctx;
	size_t free_bytes = mallinfo2().fordblks;
	if (!child->started)
		memory_release_start();
	if (!child->started || free_bytes > child->tidied + TIDY_BYTES)
		malloc_trim(0);
	else if (free_bytes > child->tidied)
		return;
	child->tidied = free_bytes;
	child->started = true;
}

int priv_child_run(struct priv_child *child)
{
	io_watch_set(child->watch, IO_READABLE);
	io_timer_start(child->tidy, TIDY_MS, TIDY_MS);
	if (!child->leaving)
		io_loop_run(child->loop);
	return child->failed;
}

/* Waits for the first packet: the monitor sends it right behind the start. */
static int start_receive(struct priv_child *child)
{
	struct pollfd readable = { .fd = CONTROL_FD, .events = POLLIN };
	uint8_t *room, *packet;
	int fds[FD_PASS_MAX];
	size_t n;
	while (poll(&readable, 1, -1) < 0 && errno == EINTR)
		;
	buf_init(&child->packet, 1 + CONTROL_START_MAX);
	int err = buf_reserve(&child->packet, 1 + CONTROL_START_MAX, &room);
	if (err < 0)
		return err;
	ssize_t len = fd_receive(CONTROL_FD, room, 1 + CONTROL_START_MAX, fds, &n);
	if (len <= 0 || n || room[0] != CONTROL_START)
		return -E_MESSAGE;
	packet = room + 1;
	err = control_start_decode((struct str){ (const char *)packet, (size_t)len - 1 }, &child->start);
	if (err == 0)
		err = str_copy(child->start.directory, child->directory, sizeof child->directory);
	return err < 0 ? err : str_copy(child->start.root, child->root, sizeof child->root);
}

static int child_open(struct priv_child *child)
{
	child->loop = io_loop_new();
	if (!child->loop)
		return -E_NO_MEMORY;
	child->watch = io_watch_new(child->loop, CONTROL_FD, on_control, child);
	child->terminate = io_signal_new(child->loop, SIGTERM, child_leave, child);
	child->leave = io_timer_new(child->loop, on_leave_late, child);
	child->tidy = io_timer_new(child->loop, on_tidy, child);
	if (!child->watch || !child->terminate || !child->leave || !child->tidy)
		return -E_NO_MEMORY;
	child->proc = child->role->allow & PRIV_ALLOW_PROC ? open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	return child->role->allow & PRIV_ALLOW_PROC && child->proc < 0 ? -errno : 0;
}

static void child_close(struct priv_child *child)
{
	io_timer_free(child->leave);
	io_timer_free(child->tidy);
	io_signal_free(child->terminate);
	io_watch_free(child->watch);
	io_loop_free(child->loop);
	fd_close(child->proc);
}

static const struct priv_role *role_find(const struct priv_program *program, const char *name)
{
	for (size_t i = 0; i < program->n_roles; i++)
		if (str_is(str_from(name), program->roles[i].name))
			return &program->roles[i];
	return NULL;
}

static int child_main(struct priv_child *child)
{
	int err = child_open(child);
	if (err < 0) {
		log_error("the role cannot start: %s", err_text(err));
		return EXIT_AGAIN;
	}
	int code = child->role->main(child);
	if (code == 0)
		child_close(child); /* a role that failed need not have freed what it had on the loop */
	return code;
}

int priv_role_main(const struct priv_program *program, const char *role)
{
	static struct priv_child child;
	child.role = role_find(program, role);
	if (!child.role) {
		log_error("there is no role of this name");
		return EXIT_USAGE;
	}
	snprintf(child.title, sizeof child.title, "%s: %s", program->name, role);
	proc_title_set(child.title);
	log_init(child.title);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGINT, SIG_IGN); /* Ctrl-C reaches the whole foreground group; the monitor decides */
	signal(SIGHUP, SIG_IGN);
	fd_set_inherit(CONTROL_FD, false);
	if (start_receive(&child) < 0) {
		log_error("roles are started by the monitor only");
		return EXIT_USAGE;
	}
	int code = child_main(&child);
	buf_done(&child.packet);
	return code;
}
