#include "os/socket.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "os/call.h"
#include "os/fd.h"
#include "os/socket_open.h"

static struct sockaddr_in *ip4(const struct socket_address *address)
{
	return (struct sockaddr_in *)&address->storage;
}

static struct sockaddr_in6 *ip6(const struct socket_address *address)
{
	return (struct sockaddr_in6 *)&address->storage;
}

int socket_address_parse(struct str host, uint16_t port, struct socket_address *ret)
{
	char text[INET6_ADDRSTRLEN];
	struct socket_address address = { 0 };
	if (str_has(host, 0) || str_copy(host, text, sizeof text) < 0)
		return -E_NOT_FOUND;
	if (inet_pton(AF_INET, text, &ip4(&address)->sin_addr) == 1) {
		ip4(&address)->sin_family = AF_INET;
		ip4(&address)->sin_port = htons(port);
		address.len = sizeof(struct sockaddr_in);
	} else if (inet_pton(AF_INET6, text, &ip6(&address)->sin6_addr) == 1) {
		ip6(&address)->sin6_family = AF_INET6;
		ip6(&address)->sin6_port = htons(port);
		address.len = sizeof(struct sockaddr_in6);
	} else {
		return -E_NOT_FOUND;
	}
	*ret = address;
	return 0;
}

void socket_address_format(const struct socket_address *address, char text[SOCKET_ADDRESS_TEXT])
{
	char host[INET6_ADDRSTRLEN];
	unsigned port = socket_address_port(address);
	switch (address->storage.ss_family) {
	case AF_INET:
		inet_ntop(AF_INET, &ip4(address)->sin_addr, host, sizeof host);
		snprintf(text, SOCKET_ADDRESS_TEXT, "%s:%u", host, port);
		break;
	case AF_INET6:
		if (IN6_IS_ADDR_V4MAPPED(&ip6(address)->sin6_addr)) {
			inet_ntop(AF_INET, &ip6(address)->sin6_addr.s6_addr[12], host, sizeof host);
			snprintf(text, SOCKET_ADDRESS_TEXT, "%s:%u", host, port);
			break;
		}
		inet_ntop(AF_INET6, &ip6(address)->sin6_addr, host, sizeof host);
		snprintf(text, SOCKET_ADDRESS_TEXT, "[%s]:%u", host, port);
		break;
	default:
		snprintf(text, SOCKET_ADDRESS_TEXT, "unix");
	}
}

void socket_address_host(const struct socket_address *address, char text[SOCKET_ADDRESS_TEXT])
{
	char whole[SOCKET_ADDRESS_TEXT];
	struct str port;
	socket_address_format(address, whole);
	str_copy(str_cut_last(str_from(whole), ':', &port), text, SOCKET_ADDRESS_TEXT);
}

uint16_t socket_address_port(const struct socket_address *address)
{
	switch (address->storage.ss_family) {
	case AF_INET:
		return ntohs(ip4(address)->sin_port);
	case AF_INET6:
		return ntohs(ip6(address)->sin6_port);
	default:
		return 0;
	}
}

size_t socket_address_bytes(const struct socket_address *address, uint8_t out[16])
{
	const struct in6_addr *v6 = &ip6(address)->sin6_addr;
	switch (address->storage.ss_family) {
	case AF_INET:
		memcpy(out, &ip4(address)->sin_addr, 4);
		return 4;
	case AF_INET6:
		if (IN6_IS_ADDR_V4MAPPED(v6)) {
			memcpy(out, &v6->s6_addr[12], 4);
			return 4;
		}
		memcpy(out, v6, 16);
		return 16;
	default:
		return 0;
	}
}

void socket_address_source(const struct socket_address *address, struct socket_source *ret)
{
	uint8_t bytes[16];
	size_t len = socket_address_bytes(address, bytes);
	*ret = (struct socket_source){ .len = (uint8_t)(len < sizeof ret->key ? len : sizeof ret->key) };
	memcpy(ret->key, bytes, ret->len);
	ret->loopback = len == 4 ? bytes[0] == 127 : len == 16 && IN6_IS_ADDR_LOOPBACK(&ip6(address)->sin6_addr);
}

int socket_open(int family, int type)
{
	return OS_CALL(EMFILE, socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

int socket_option(int fd, int level, int option, int value)
{
	return OS_CALL(ENOMEM, setsockopt(fd, level, option, &value, sizeof value));
}

int socket_or_error(int fd, int err)
{
	if (err < 0)
		fd_close(fd);
	return err < 0 ? err : fd;
}

int socket_listen(const struct socket_address *address)
{
	int fd = socket_open(address->storage.ss_family, SOCK_STREAM);
	if (fd < 0)
		return fd;
	int err = socket_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (err == 0 && address->storage.ss_family == AF_INET6)
		err = socket_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
	if (err == 0)
		err = socket_option(fd, IPPROTO_TCP, TCP_NODELAY, 1); /* accepted sockets inherit it */
	if (err == 0)
		err = OS_CALL(EADDRINUSE, bind(fd, (const struct sockaddr *)&address->storage, address->len));
	if (err == 0)
		err = OS_CALL(EADDRINUSE, listen(fd, SOMAXCONN));
	return socket_or_error(fd, err == -EADDRINUSE || err == -EACCES ? -E_PORT : err);
}

int socket_local(int fd, struct socket_address *ret)
{
	struct socket_address address = { .len = sizeof address.storage };
	int err = OS_CALL(ENOMEM, getsockname(fd, (struct sockaddr *)&address.storage, &address.len));
	if (err == 0)
		*ret = address;
	return err;
}

int socket_peer(int fd, struct socket_address *ret)
{
	struct socket_address address = { .len = sizeof address.storage };
	int err = OS_CALL(ENOMEM, getpeername(fd, (struct sockaddr *)&address.storage, &address.len));
	if (err == 0)
		*ret = address;
	return err;
}

void socket_peer_host(int fd, char text[SOCKET_ADDRESS_TEXT])
{
	struct socket_address peer;
	text[0] = 0;
	if (socket_peer(fd, &peer) == 0)
		socket_address_host(&peer, text);
}

int socket_accept(int fd)
{
	int accepted;
	do
		accepted = OS_CALL(EMFILE, accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC));
	while (accepted == -ECONNABORTED);
	return accepted;
}

int socket_connect(const struct socket_address *address)
{
	int fd = socket_open(address->storage.ss_family, SOCK_STREAM);
	if (fd < 0)
		return fd;
	int err = socket_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	if (err == 0)
		err = OS_CALL(ENETUNREACH, connect(fd, (const struct sockaddr *)&address->storage, address->len));
	return socket_or_error(fd, err == -EINPROGRESS ? 0 : err);
}

int socket_error(int fd)
{
	int err = 0;
	socklen_t len = sizeof err;
	int asked = OS_CALL(ENOMEM, getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len));
	return asked < 0 ? asked : -err;
}

/* No fault point: without it the other side sees an end instead of a reset, and nobody could do more. */
void socket_reset(int fd)
{
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){ .l_onoff = 1, .l_linger = 0 }, sizeof(struct linger));
}

void socket_reset_not(int fd)
{
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){ .l_onoff = 0 }, sizeof(struct linger));
}

int socket_shutdown_write(int fd)
{
	return OS_CALL(ENOTCONN, shutdown(fd, SHUT_WR));
}

/* unix(7): sun_path holds 107 bytes.  A longer path goes through its directory's descriptor, which the caller closes (-1 = none). */
static int unix_address(const char *path, struct sockaddr_un *ret, int *ret_directory)
{
	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	*ret_directory = -1;
	if (str_copy(str_from(path), ret->sun_path, sizeof ret->sun_path) == 0)
		return 0;
	char parent[PATH_MAX];
	struct str name, directory = str_cut_last(str_from(path), '/', &name);
	if (!directory.len || str_copy(directory, parent, sizeof parent) < 0)
		return -E_TOO_LONG;
	int fd = OS_CALL(EMFILE, open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC));
	if (fd < 0)
		return fd;
	int need = snprintf(ret->sun_path, sizeof ret->sun_path, "/proc/self/fd/%d/%.*s", fd, STR_ARG(name));
	if (need >= (int)sizeof ret->sun_path) {
		fd_close(fd);
		return -E_TOO_LONG;
	}
	*ret_directory = fd;
	return 0;
}

static int unix_connect(const struct sockaddr_un *address)
{
	int fd = socket_open(AF_UNIX, SOCK_STREAM);
	if (fd < 0)
		return fd;
	return socket_or_error(fd, OS_CALL(ECONNRESET, connect(fd, (const struct sockaddr *)address, sizeof *address)));
}

/* Removes a socket file that nobody listens on any more. */
static int stale_remove(const struct sockaddr_un *address)
{
	struct stat status;
	int err = OS_CALL(EIO, lstat(address->sun_path, &status));
	if (err < 0)
		return err;
	if (!S_ISSOCK(status.st_mode))
		return -E_FILE;
	int fd = unix_connect(address);
	if (fd >= 0)
		fd_close(fd);
	if (fd >= 0 || fd == -EAGAIN)
		return -E_RUNNING;
	return fd == -ECONNREFUSED ? OS_CALL(EIO, unlink(address->sun_path)) : fd;
}

static int unix_bind(int fd, const struct sockaddr_un *address)
{
	return OS_CALL(EIO, bind(fd, (const struct sockaddr *)address, sizeof *address));
}

/* Nobody can connect before listen(), so the mode is in force from the first connection on. */
static int unix_listen(int fd, const struct sockaddr_un *address, unsigned mode)
{
	int err = unix_bind(fd, address);
	if (err == -EADDRINUSE) {
		err = stale_remove(address);
		if (err == 0)
			err = unix_bind(fd, address);
	}
	if (err < 0)
		return err;
	err = OS_CALL(EIO, chmod(address->sun_path, mode));
	if (err == 0)
		err = OS_CALL(EIO, listen(fd, SOMAXCONN));
	if (err < 0)
		unlink(address->sun_path);
	return err;
}

int socket_unix_listen(const char *path, unsigned mode)
{
	struct sockaddr_un address;
	int directory, err = unix_address(path, &address, &directory);
	if (err < 0)
		return err;
	int fd = socket_open(AF_UNIX, SOCK_STREAM);
	if (fd >= 0)
		fd = socket_or_error(fd, unix_listen(fd, &address, mode));
	fd_close(directory);
	return fd;
}

int socket_unix_connect(const char *path)
{
	struct sockaddr_un address;
	int directory, err = unix_address(path, &address, &directory);
	if (err < 0)
		return err;
	int fd = unix_connect(&address);
	fd_close(directory);
	return fd;
}

int socket_unix_credentials(int fd, struct socket_credentials *ret)
{
	struct ucred peer;
	socklen_t len = sizeof peer;
	int err = OS_CALL(ENOMEM, getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len));
	if (err == 0)
		*ret = (struct socket_credentials){ peer.pid, peer.uid, peer.gid };
	return err;
}

int socket_listen_port(uint16_t port, uint16_t *ret_port)
{
	struct socket_address address;
	int fd = socket_address_parse(STR("::"), port, &address) == 0 ? socket_listen(&address) : -1;
	if (fd < 0 && socket_address_parse(STR("0.0.0.0"), port, &address) == 0)
		fd = socket_listen(&address); /* a machine without IPv6 */
	if (fd >= 0 && socket_local(fd, &address) == 0)
		*ret_port = socket_address_port(&address);
	return fd;
}
