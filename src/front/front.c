#include "front/front.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/fault.h"
#include "base/list.h"
#include "base/mem.h"
#include "io/io.h"
#include "os/fd.h"
#include "os/random.h"
#include "os/socket.h"
#include "os/sources.h"

enum { ACCEPT_BATCH = 64, RETRY_MS = 5 };

struct target {
	struct list queue;      /* connections that its socket did not take yet */
	uint64_t full_since_ms; /* 0 = it takes them */
};

struct connection {
	struct list node; /* in front->waiting or its target's queue; in none while it is looked at for the first time */
	struct front *front;
	struct io_watch *watch;
	struct source *source;
	uint64_t deadline_ms;
	size_t low_water, discarded;
	int fd;
	enum front_kind kind;
	bool answered; /* redirected: waits for the client to close, so that no reset overtakes the answer */
};

struct front {
	struct io_loop *loop;
	int listener, reserve; /* reserve: given up for a moment to be able to accept and close */
	struct io_watch *watch;
	struct io_timer *deadline_timer, *retry_timer;
	bool paused; /* not accepting until the retry timer has emptied the targets' queues */
	struct front_settings settings;
	struct front_counters counters;
	struct list waiting; /* in the order of their deadlines */
	struct target targets[FRONT_KINDS];
	struct sources *sources;
};

const struct front_settings front_settings_default = {
	.targets = { -1, -1, -1, -1, -1, -1 },
	.deadline_ms = 10000,
	.stuck_ms = 1000,
	.max_waiting = 8192,
	.max_per_address = 256,
	.max_loopback = 6000,
};

/* ---- one connection ---- */

/* counter may be NULL. */
static void connection_close(struct connection *c, uint64_t *counter)
{
	if (counter)
		++*counter;
	if (!list_empty(&c->node))
		c->front->counters.waiting--;
	list_remove(&c->node);
	io_watch_free(c->watch);
	fd_close(c->fd);
	sources_release(c->front->sources, c->source);
	mem_free(c);
}

static void connection_move(struct connection *c, struct list *list)
{
	if (list_empty(&c->node))
		c->front->counters.waiting++;
	list_remove(&c->node);
	list_append(list, &c->node);
}

/* Wakes up only when this many bytes are there: a level-triggered wait for a half-seen hello would spin. */
static void connection_low_water(struct connection *c, size_t bytes)
{
	int value = (int)bytes;
	if (c->low_water != bytes)
		setsockopt(c->fd, SOL_SOCKET, SO_RCVLOWAT, &value, sizeof value);
	c->low_water = bytes;
}

static void front_pause(struct front *front)
{
	if (front->paused)
		return;
	front->paused = true;
	io_watch_set(front->watch, 0);
	io_timer_start(front->retry_timer, RETRY_MS, RETRY_MS);
}

/* Gives the descriptor to its role, or closes it.  -EAGAIN: the role's queue is full, the connection is kept. */
static int connection_pass(struct connection *c)
{
	struct front *front = c->front;
	struct target *target = &front->targets[c->kind];
	uint8_t kind = (uint8_t)c->kind;
	uint64_t now = io_loop_now_ms(front->loop);
	int socket = front->settings.targets[kind];
	int err = socket < 0 ? -E_NOT_FOUND : fd_send(socket, &kind, sizeof kind, &c->fd, 1);

	if (err != -EAGAIN) {
		target->full_since_ms = 0;
	} else if (target->full_since_ms == 0) {
		target->full_since_ms = now;
		front->counters.queue_full++;
	}
	if (err == -EAGAIN && now - target->full_since_ms < front->settings.stuck_ms)
		return -EAGAIN;
	connection_close(c, err < 0 ? &front->counters.unserved : &front->counters.passed[kind]);
	return 0;
}

static void connection_wait(struct connection *c, size_t need);

static void connection_redirect(struct connection *c)
{
	struct socket_address local;
	char address[SOCKET_ADDRESS_TEXT], answer[512];
	const char *host = c->front->settings.redirect_host;
	if (!host && socket_local(c->fd, &local) == 0) {
		socket_address_format(&local, address);
		host = address;
	}
	int len = snprintf(
	        answer, sizeof answer,
	        "HTTP/1.1 301 Moved Permanently\r\nLocation: https://%s/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
	        host ? host : "");
	if (!host || len >= (int)sizeof answer || fd_write(c->fd, answer, (size_t)len) != len || socket_shutdown_write(c->fd) < 0) {
		connection_close(c, &c->front->counters.left);
		return;
	}
	c->front->counters.redirected++;
	c->answered = true;
	connection_wait(c, 1);
}

static void connection_decided(struct connection *c)
{
	if (c->kind == FRONT_REDIRECT) {
		connection_redirect(c);
		return;
	}
	/* Before passing: the watch would report the other role's events, and the low-water mark travels with the socket. */
	c->watch = io_watch_free(c->watch);
	connection_low_water(c, 1);
	if (connection_pass(c) == -EAGAIN) {
		connection_move(c, &c->front->targets[c->kind].queue);
		front_pause(c->front);
	}
}

/* Looks at what has come. */
static void connection_look(struct connection *c, unsigned events)
{
	uint8_t *scratch = io_loop_scratch(c->front->loop);
	ssize_t n = recv(c->fd, scratch, FRONT_PEEK_MAX, MSG_PEEK);
	size_t need = 1;
	int err = -EAGAIN;
	if (n > 0)
		err = front_classify((struct str){ (char *)scratch, (size_t)n }, &c->kind, &need);
	else if (n == 0 || errno != EAGAIN)
		err = -E_CLOSED;

	if (err == 0)
		connection_decided(c);
	else if (err == -EAGAIN && !(events & IO_HANGUP))
		connection_wait(c, need);
	else
		connection_close(c, err == -EAGAIN || err == -E_CLOSED ? &c->front->counters.left : &c->front->counters.unknown);
}

static void connection_discard(struct connection *c)
{
	ssize_t n = fd_read(c->fd, io_loop_scratch(c->front->loop), FRONT_PEEK_MAX);
	if (n == -EAGAIN)
		return;
	c->discarded += n > 0 ? (size_t)n : 0;
	if (n <= 0 || c->discarded > FRONT_PEEK_MAX)
		connection_close(c, NULL);
}

static void on_connection(void *ctx, unsigned events)
{
	struct connection *c = ctx;
	if (c->answered)
		connection_discard(c);
	else
		connection_look(c, events);
}

/* ---- waiting ---- */

static void on_deadline(void *ctx)
{
	struct front *front = ctx;
	uint64_t now = io_loop_now_ms(front->loop);
	LIST_EACH(node, &front->waiting) {
		struct connection *c = LIST_ENTRY(node, struct connection, node);
		if (c->deadline_ms > now) {
			io_timer_start(front->deadline_timer, c->deadline_ms - now, 0);
			break;
		}
		connection_close(c, c->answered ? NULL : &front->counters.expired);
	}
}

/* Makes room and takes the connection among those that wait.  Returns 0, or a negative code. */
static int connection_enter(struct connection *c)
{
	struct front *front = c->front;
	int err = sources_take(front->sources, c->fd, &c->source);
	if (err < 0)
		return err;
	c->watch = io_watch_new(front->loop, c->fd, on_connection, c);
	if (!c->watch)
		return -E_NO_MEMORY;
	if (front->counters.waiting >= front->settings.max_waiting) {
		if (list_empty(&front->waiting))
			return -E_FULL;
		connection_close(LIST_ENTRY(front->waiting.next, struct connection, node), &front->counters.evicted);
	}
	c->deadline_ms = io_loop_now_ms(front->loop) + front->settings.deadline_ms;
	if (list_empty(&front->waiting))
		io_timer_start(front->deadline_timer, front->settings.deadline_ms, 0);
	connection_move(c, &front->waiting);
	return 0;
}

static void connection_wait(struct connection *c, size_t need)
{
	struct front_counters *counters = &c->front->counters;
	int err = list_empty(&c->node) ? connection_enter(c) : 0;
	if (err == 0) {
		connection_low_water(c, need);
		err = io_watch_set(c->watch, IO_READABLE | IO_HANGUP);
	}
	if (err < 0)
		connection_close(c, err == -E_LIMIT    ? &counters->address_limit
		                    : err == -E_FULL   ? &counters->evicted
		                    : err == -E_CLOSED ? &counters->left
		                                       : &counters->no_memory);
}

/* ---- accepting ---- */

static void front_admit(struct front *front, int fd)
{
	front->counters.accepted++;
	struct connection *c = mem_alloc(sizeof *c);
	if (!c) {
		front->counters.no_memory++;
		fd_close(fd);
		return;
	}
	list_init(&c->node);
	c->front = front;
	c->fd = fd;
	c->low_water = 1;
	connection_look(c, 0);
}

static int reserve_open(void)
{
	return fault_hit() ? -1 : eventfd(0, EFD_CLOEXEC);
}

/* No descriptor is left: the client is told so by a close, else it would keep the listener readable for ever. */
static void front_shed(struct front *front)
{
	front->reserve = fd_close(front->reserve);
	int fd = socket_accept(front->listener);
	if (fd >= 0)
		front->counters.no_descriptors++;
	fd_close(fd);
	front->reserve = reserve_open();
	if (fd < 0)
		front_pause(front);
}

static void on_listener(void *ctx, unsigned events)
{
	struct front *front = ctx;
	(void)events;
	for (int i = 0; i < ACCEPT_BATCH && !front->paused; i++) {
		int fd = socket_accept(front->listener);
		if (fd == -EAGAIN)
			return;
		if (fd >= 0)
			front_admit(front, fd);
		else if (fd == -EMFILE || fd == -ENFILE)
			front_shed(front);
		else
			front_pause(front);
	}
}

static void on_retry(void *ctx)
{
	struct front *front = ctx;
	bool full = false;
	for (int kind = 0; kind < FRONT_KINDS; kind++)
		LIST_EACH(node, &front->targets[kind].queue)
			if (connection_pass(LIST_ENTRY(node, struct connection, node)) == -EAGAIN) {
				full = true;
				break;
			}
	if (full)
		return;
	front->paused = false;
	io_timer_stop(front->retry_timer);
	io_watch_set(front->watch, IO_READABLE);
}

struct front *front_new(struct io_loop *loop, int listener, const struct front_settings *settings)
{
	uint8_t seed[16];
	struct front *front = mem_alloc(sizeof *front);
	if (!front)
		return NULL;
	front->loop = loop;
	front->listener = listener;
	front->settings = *settings;
	list_init(&front->waiting);
	for (int kind = 0; kind < FRONT_KINDS; kind++)
		list_init(&front->targets[kind].queue);
	random_bytes(seed, sizeof seed);
	front->sources =
	        sources_new(seed, settings->max_waiting + 1,
	                    (struct sources_limits){ .each = settings->max_per_address, .loopback = settings->max_loopback });
	front->reserve = reserve_open();
	front->watch = io_watch_new(loop, listener, on_listener, front);
	front->deadline_timer = io_timer_new(loop, on_deadline, front);
	front->retry_timer = io_timer_new(loop, on_retry, front);
	if (!front->sources || front->reserve < 0 || !front->watch || !front->deadline_timer || !front->retry_timer ||
	    io_watch_set(front->watch, IO_READABLE) < 0)
		return front_free(front);
	return front;
}

static void connections_close(struct list *list)
{
	LIST_EACH(node, list)
		connection_close(LIST_ENTRY(node, struct connection, node), NULL);
}

struct front *front_free(struct front *front)
{
	if (!front)
		return NULL;
	connections_close(&front->waiting);
	for (int kind = 0; kind < FRONT_KINDS; kind++)
		connections_close(&front->targets[kind].queue);
	io_watch_free(front->watch);
	io_timer_free(front->deadline_timer);
	io_timer_free(front->retry_timer);
	fd_close(front->reserve);
	sources_free(front->sources);
	return mem_free(front);
}

const struct front_counters *front_counters(const struct front *front)
{
	return &front->counters;
}
