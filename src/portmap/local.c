#include "portmap/local.h"

#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "io/io.h"
#include "os/fd.h"
#include "os/socket.h"

#define TRIES 8 /* what the kernel finds free for IPv4 may be taken for IPv6 */

typedef int listen_function(const struct socket_address *address);

static int listen_on(struct local *local, int i, const char *host, uint16_t port, listen_function *listen)
{
	struct socket_address address;
	int err = socket_address_parse(str_from(host), port, &address);
	int fd = err < 0 ? err : listen(&address);
	if (fd < 0)
		return fd;
	local->sockets[i].fd = fd;
	err = socket_local(fd, &address);
	if (err == 0)
		local->port = socket_address_port(&address);
	return err;
}

/* The same port of both: who connects to "localhost" may come to either, and must not meet another program there. */
static int listen_both(struct local *local, uint16_t port, listen_function *listen)
{
	int err = listen_on(local, 0, "127.0.0.1", port, listen);
	if (err == 0)
		err = listen_on(local, 1, "::1", local->port, listen);
	if (local->sockets[0].fd >= 0 && (err == -EAFNOSUPPORT || err == -EADDRNOTAVAIL)) /* a machine without IPv6 */
		err = 0;
	return err;
}

/* Of all addresses: [::] serves IPv4 too, where the machine has IPv6. */
static int listen_all(struct local *local, uint16_t port, listen_function *listen)
{
	int err = listen_on(local, 0, "::", port, listen);
	if (err != -EAFNOSUPPORT && err != -EADDRNOTAVAIL)
		return err;
	local_close(local);
	return listen_on(local, 0, "0.0.0.0", port, listen);
}

static int listen_once(struct local *local, const char *bind, uint16_t port, listen_function *listen)
{
	*local = (struct local)LOCAL_NONE;
	int err = !bind                             ? listen_both(local, port, listen)
	          : strcmp(bind, MAP_BIND_ALL) == 0 ? listen_all(local, port, listen)
	                                            : listen_on(local, 0, bind, port, listen);
	if (err < 0)
		local_close(local);
	return err;
}

int local_open(const char *bind, uint16_t port, listen_function *listen, struct local *ret)
{
	int err = -E_PORT;
	for (int tries = port ? 1 : TRIES; err == -E_PORT && tries; tries--)
		err = listen_once(ret, bind, port, listen);
	return err;
}

static void on_event(void *ctx, unsigned events)
{
	const struct local_socket *socket = ctx;
	(void)events;
	socket->local->readable(socket->local->ctx, socket->fd);
}

int local_watch(struct local *local, struct io_loop *loop, void (*readable)(void *ctx, int fd), void *ctx)
{
	local->readable = readable;
	local->ctx = ctx;
	for (int i = 0; i < 2; i++) {
		struct local_socket *socket = &local->sockets[i];
		socket->local = local;
		socket->watch = socket->fd < 0 ? NULL : io_watch_new(loop, socket->fd, on_event, socket);
		if (socket->fd >= 0 && !socket->watch)
			return -E_NO_MEMORY;
	}
	local_pause(local, false);
	return 0;
}

void local_pause(struct local *local, bool pause)
{
	for (int i = 0; i < 2; i++)
		if (local->sockets[i].watch)
			io_watch_set(local->sockets[i].watch, pause ? 0 : IO_READABLE);
}

void local_close(struct local *local)
{
	for (int i = 0; i < 2; i++) {
		local->sockets[i].watch = io_watch_free(local->sockets[i].watch);
		local->sockets[i].fd = fd_close(local->sockets[i].fd);
	}
}
