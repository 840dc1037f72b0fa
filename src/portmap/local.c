#include "portmap/local.h"

#include <errno.h>
#include <string.h>

#include "base/err.h"
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
	local->fds[i] = fd;
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
	if (local->fds[0] >= 0 && (err == -EAFNOSUPPORT || err == -EADDRNOTAVAIL)) /* a machine without IPv6 */
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
	*local = (struct local){ .fds = { -1, -1 } };
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

void local_close(struct local *local)
{
	for (int i = 0; i < 2; i++)
		local->fds[i] = fd_close(local->fds[i]);
}
