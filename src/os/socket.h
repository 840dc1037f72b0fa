/* os/socket.h: TCP and UNIX sockets, non-blocking and close-on-exec, TCP_NODELAY on. */
#ifndef OS_SOCKET_H
#define OS_SOCKET_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/str.h"

struct socket_address {
	struct sockaddr_storage storage;
	socklen_t len;
};
#define SOCKET_ADDRESS_TEXT 64

/* A literal "127.0.0.1" or "::1" (no names; those go to the resolve role).  Returns 0, or -E_NOT_FOUND. */
int socket_address_parse(struct str host, uint16_t port, struct socket_address *ret);
/* "127.0.0.1:80" or "[::1]:80"; an IPv4 client of an IPv6 listener is shown as what it is. */
void socket_address_format(const struct socket_address *address, char text[SOCKET_ADDRESS_TEXT]);
void socket_address_host(const struct socket_address *address, char text[SOCKET_ADDRESS_TEXT]); /* the same without the port */
uint16_t socket_address_port(const struct socket_address *address);
/* Whom a limit by client counts: an IPv4 address, or the first half of an IPv6 one, whose lower half is the client's to choose.  Of other
 * families the key is empty. */
struct socket_source {
	uint8_t key[8], len; /* zeros behind its end */
	bool loopback;
};
void socket_address_source(const struct socket_address *address, struct socket_source *ret);
/* Its bytes: 4 of an IPv4 address, also when it is one as IPv6, 16 of others; 0 = of another family. */
size_t socket_address_bytes(const struct socket_address *address, uint8_t out[16]);

/* A listener; port 0 takes a free one.  For [::] it serves IPv4 too.  Returns the descriptor, or a negative code
 * (-E_PORT: taken, or not allowed).  What it accepts inherits TCP_NODELAY. */
int socket_listen(const struct socket_address *address);
/* Of all addresses, IPv6 and IPv4; port 0 takes a free one.  The descriptor, or a negative code. */
int socket_listen_port(uint16_t port, uint16_t *ret_port);
int socket_local(int fd, struct socket_address *ret); /* the address it is bound to */
int socket_peer(int fd, struct socket_address *ret);
void socket_peer_host(int fd, char text[SOCKET_ADDRESS_TEXT]); /* as socket_address_host(); "" = not known */
int socket_accept(int fd);                                     /* non-blocking; -EAGAIN, -EMFILE ... */
/* Starts a connection: the descriptor becomes writable when it is made or failed; then socket_error() tells. */
int socket_connect(const struct socket_address *address);
int socket_error(int fd);      /* 0, or the -errno of the connection attempt */
void socket_reset(int fd);     /* closing it sends RST instead of FIN, also when the kernel closes it for a killed process */
void socket_reset_not(int fd); /* takes that back */
int socket_shutdown_write(int fd);

/* UNIX stream sockets; the path may be longer than sun_path, its last part at most 80 bytes (-E_TOO_LONG).  Listening removes a stale
 * socket file of the same name; -E_RUNNING when somebody listens there, -E_FILE when it is no socket. */
int socket_unix_listen(const char *path, unsigned mode);
int socket_unix_connect(const char *path);
struct socket_credentials {
	pid_t pid;
	uid_t uid;
	gid_t gid;
};
int socket_unix_credentials(int fd, struct socket_credentials *ret); /* of the process that connected */
#endif
