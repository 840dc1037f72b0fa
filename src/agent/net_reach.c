/* Connecting to a host and port: its name looked up, or through an HTTP proxy, which looks it up itself (RFC 9110 section 9.3.6). */
#include <errno.h>

#include "agent/net.h"
#include "base/err.h"
#include "base/mem.h"
#include "h1/h1.h"
#include "os/fd.h"

#define PROXY_MS 8000

struct reach {
	struct list node; /* in net->reaching, while it waits for a proxy */
	struct net_role *net;
	char host[JOIN_HOST_SIZE];
	uint16_t port;
	net_reached done;
	void *ctx;
	struct io_watch *watch; /* of the connection to a proxy; NULL without one */
	struct io_timer *deadline;
	struct buf answer;
	bool asked;
	int fd;
};

/* fd: of a connection, which it takes, or a negative code. */
static void reach_end(struct reach *reach, int fd)
{
	net_reached done = reach->done;
	void *ctx = reach->ctx;
	list_remove(&reach->node);
	io_watch_free(reach->watch);
	io_timer_free(reach->deadline);
	buf_done(&reach->answer);
	if (fd < 0)
		fd_close(reach->fd);
	mem_free(reach);
	done(ctx, fd);
}

/* ---- through a proxy ---- */

static struct str setting(const struct net_role *net, const char *name)
{
	return str_setting(priv_child_configuration(net->child), name);
}

static int proxy_ask(struct reach *reach)
{
	struct str authorization = setting(reach->net, "proxy_authorization");
	struct buf head;
	buf_init(&head, H1_HEAD_MAX);
	int err = h1_write_connect(&head, str_from(reach->host), reach->port);
	if (err == 0 && authorization.len)
		err = h1_write_field(&head, STR("Proxy-Authorization"), authorization);
	if (err == 0)
		err = h1_write_end(&head);
	if (err == 0) { /* the first bytes of a new connection: there is room */
		ssize_t n = fd_write(reach->fd, buf_head(&head), buf_len(&head));
		err = n == (ssize_t)buf_len(&head) ? 0 : -E_UNREACHABLE;
	}
	buf_wipe(&head);
	return err;
}

/* Proxies that say 1.0 have meant the same for thirty years. */
static int proxy_status(struct buf *answer)
{
	struct h1_response response;
	struct str text = buf_str(answer);
	size_t len;
	if (str_starts(text, STR("HTTP/1.0 ")))
		((char *)buf_head(answer))[7] = '1';
	int err = h1_response_parse(text, &response, &len);
	if (err < 0)
		return err == -EAGAIN ? err : -E_PROXY;
	bool login = response.status == 407 || response.status == 401; /* some say the latter */
	return login ? -E_PROXY_LOGIN : response.status / 100 == 2 ? 0 : -E_PROXY;
}

/* Byte for byte: what follows its answer is the other side's. */
static int proxy_read(struct reach *reach)
{
	uint8_t *room;
	int err = -EAGAIN;
	while (err == -EAGAIN) {
		if (buf_reserve(&reach->answer, 1, &room) < 0)
			return -E_PROXY;
		ssize_t n = fd_read(reach->fd, room, 1);
		if (n <= 0)
			return n == -EAGAIN ? -EAGAIN : -E_PROXY;
		bool line_ended = *room == '\n';
		buf_commit(&reach->answer, 1);
		if (line_ended)
			err = proxy_status(&reach->answer);
	}
	return err;
}

static void on_proxy(void *ctx, unsigned events)
{
	struct reach *reach = ctx;
	int err = 0;
	(void)events;
	if (!reach->asked) {
		err = socket_error(reach->fd) < 0 ? -E_UNREACHABLE : proxy_ask(reach);
		reach->asked = true;
		if (err == 0)
			err = io_watch_set(reach->watch, IO_READABLE) < 0 ? -E_NO_MEMORY : -EAGAIN;
	} else
		err = proxy_read(reach);
	if (err != -EAGAIN)
		reach_end(reach, err < 0 ? err : reach->fd);
}

static void on_deadline(void *ctx)
{
	reach_end(ctx, -E_TIMEOUT);
}

static void proxy_begin(struct reach *reach)
{
	struct io_loop *loop = reach->net->loop;
	reach->watch = io_watch_new(loop, reach->fd, on_proxy, reach);
	reach->deadline = io_timer_new(loop, on_deadline, reach);
	if (!reach->watch || !reach->deadline || io_watch_set(reach->watch, IO_WRITABLE) < 0)
		return reach_end(reach, -E_NO_MEMORY);
	io_timer_start(reach->deadline, PROXY_MS, 0);
	list_append(&reach->net->reaching, &reach->node);
}

/* ---- */

static void on_addresses(void *ctx, int err, const struct str *addresses, size_t n)
{
	struct reach *reach = ctx;
	struct str proxy = setting(reach->net, "proxy");
	struct socket_address address;
	uint64_t port = reach->port;
	if (err == 0 && proxy.len)
		err = str_to_u64(setting(reach->net, "proxy_port"), 65535, &port);
	if (err == 0)
		err = n ? socket_address_parse(addresses[0], (uint16_t)port, &address) : -E_NOT_FOUND;
	if (err == 0)
		err = reach->fd = socket_connect(&address);
	if (err < 0)
		return reach_end(reach, err);
	if (proxy.len)
		proxy_begin(reach);
	else
		reach_end(reach, reach->fd);
}

void net_reach(struct net_role *net, struct str host, uint16_t port, net_reached done, void *ctx)
{
	struct str proxy = setting(net, "proxy");
	struct reach *reach = mem_alloc(sizeof *reach);
	if (!reach)
		return done(ctx, -E_NO_MEMORY);
	*reach = (struct reach){ .net = net, .port = port, .done = done, .ctx = ctx, .fd = -1 };
	list_init(&reach->node);
	buf_init(&reach->answer, H1_HEAD_MAX);
	int err = str_copy(host, reach->host, sizeof reach->host);
	if (err == 0)
		err = net_resolve(net, proxy.len ? proxy : host, on_addresses, reach);
	if (err < 0)
		reach_end(reach, err);
}

void net_reaches_end(struct net_role *net)
{
	LIST_EACH(at, &net->reaching)
		reach_end(LIST_ENTRY(at, struct reach, node), -E_CANCELLED);
}
