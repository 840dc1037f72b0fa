/* portmap/local.h: the sockets at which a map listens on this machine, of TCP or UDP. */
#ifndef PORTMAP_LOCAL_H
#define PORTMAP_LOCAL_H
#include <stdbool.h>
#include <stdint.h>

struct io_loop;
struct io_watch;
struct local;
struct socket_address;

#define MAP_BIND_ALL "all"

struct local_socket {
	struct local *local;
	struct io_watch *watch;
	int fd; /* -1 = none */
};
struct local {
	struct local_socket sockets[2]; /* on the loopback: IPv4, and IPv6 where the machine has it; else one alone */
	uint16_t port;
	void (*readable)(void *ctx, int fd);
	void *ctx;
};
#define LOCAL_NONE                                                                                                                 \
	{                                                                                                                          \
		.sockets = { { .fd = -1 }, { .fd = -1 } }                                                                          \
	}
/* bind: NULL = the loopback addresses of both families; MAP_BIND_ALL; an address.  port: 0 = any free one, the same of both.  listen:
 * socket_listen(), datagram_listen().  Returns 0, -E_PORT, -E_NOT_FOUND (bind is no address), -EADDRNOTAVAIL (not of this machine). */
int local_open(const char *bind, uint16_t port, int (*listen)(const struct socket_address *address), struct local *ret);
/* Calls readable while there is something to read; local stays where it is from here.  -E_NO_MEMORY. */
int local_watch(struct local *local, struct io_loop *loop, void (*readable)(void *ctx, int fd), void *ctx);
void local_pause(struct local *local, bool pause); /* nothing is read meanwhile */
void local_close(struct local *local);             /* also of LOCAL_NONE */
#endif
