/* A parent that is named by the port of its object reference: asked there, in clear, where it is.  It may say what it likes: its certificate is looked at
 * there as everywhere. */
#include <errno.h>

#include "agent/net.h"
#include "base/err.h"
#include "base/mem.h"
#include "orb/ior.h"
#include "os/fd.h"

#define LOCATE_MS 4000

struct locating {
	struct list node; /* in net->locating, once it is connected */
	struct net_role *net;
	net_located done;
	void *ctx;
	struct io_watch *watch;
	struct io_timer *deadline;
	struct buf text;
	int fd;
};

static void locating_end(struct locating *locating, int err, const struct net_parent *at)
{
	net_located done = locating->done;
	void *ctx = locating->ctx;
	list_remove(&locating->node);
	io_watch_free(locating->watch);
	io_timer_free(locating->deadline);
	buf_done(&locating->text);
	fd_close(locating->fd);
	mem_free(locating);
	done(ctx, err, at);
}

/* Another of its addresses when the one before did not answer. */
static int reference_choose(struct str text, unsigned turn, struct net_parent *ret)
{
	struct ior ior;
	int err = ior_read(text, &ior);
	if (err < 0)
		return err;
	size_t n = turn % (1 + ior.n_others);
	ret->port = ior.tls_port;
	return ior.tls_port && str_copy(str_from(n ? ior.others[n - 1].host : ior.address.host), ret->host, sizeof ret->host) == 0
	               ? 0
	               : -E_IOR;
}

/* The whole line is there when the other side has closed. */
static int reference_read(struct locating *locating, struct net_parent *ret)
{
	uint8_t *room;
	for (;;) {
		if (buf_reserve(&locating->text, 512, &room) < 0)
			return -E_IOR;
		ssize_t n = fd_read(locating->fd, room, 512);
		if (n < 0)
			return n == -EAGAIN ? -EAGAIN : -E_UNREACHABLE;
		if (n == 0)
			return reference_choose(buf_str(&locating->text), locating->net->parents.turn, ret);
		buf_commit(&locating->text, (size_t)n);
	}
}

static void on_readable(void *ctx, unsigned events)
{
	struct locating *locating = ctx;
	struct net_parent at;
	(void)events;
	int err = reference_read(locating, &at);
	if (err != -EAGAIN)
		locating_end(locating, err, &at);
}

static void on_deadline(void *ctx)
{
	locating_end(ctx, -E_TIMEOUT, NULL);
}

static void on_connected(void *ctx, int fd)
{
	struct locating *locating = ctx;
	struct net_role *net = locating->net;
	if (fd < 0)
		return locating_end(locating, fd, NULL);
	locating->fd = fd;
	locating->watch = io_watch_new(net->loop, fd, on_readable, locating);
	locating->deadline = io_timer_new(net->loop, on_deadline, locating);
	if (!locating->watch || !locating->deadline || io_watch_set(locating->watch, IO_READABLE) < 0)
		return locating_end(locating, -E_NO_MEMORY, NULL);
	io_timer_start(locating->deadline, LOCATE_MS, 0);
	list_append(&net->locating, &locating->node);
}

static bool gives_reference(const struct net_role *net, const struct net_parent *parent)
{
	uint64_t port = 0;
	str_to_u64(str_setting(priv_child_configuration(net->child), "ior_port"), 65535, &port);
	return port && parent->port == port;
}

void net_locate(struct net_role *net, const struct net_parent *parent, net_located done, void *ctx)
{
	if (!gives_reference(net, parent))
		return done(ctx, 0, parent);
	struct locating *locating = mem_alloc(sizeof *locating);
	if (!locating)
		return done(ctx, -E_NO_MEMORY, NULL);
	*locating = (struct locating){ .net = net, .done = done, .ctx = ctx, .fd = -1 };
	list_init(&locating->node);
	buf_init(&locating->text, 2 * IOR_BYTES_MAX + 1024);
	net_reach(net, str_from(parent->host), parent->port, on_connected, locating);
}

void net_locates_end(struct net_role *net)
{
	LIST_EACH(at, &net->locating)
		locating_end(LIST_ENTRY(at, struct locating, node), -E_CANCELLED, NULL);
}
