/* portmap/local.h: the sockets at which a map listens on this machine, of TCP or UDP. */
#ifndef PORTMAP_LOCAL_H
#define PORTMAP_LOCAL_H
#include <stdint.h>

struct socket_address;

#define MAP_BIND_ALL "all"

struct local {
	int fds[2]; /* -1 = none.  On the loopback: IPv4, and IPv6 where the machine has it; else one alone */
	uint16_t port;
};
/* bind: NULL = the loopback addresses of both families; MAP_BIND_ALL; an address.  port: 0 = any free one, the same of both.  listen:
 * socket_listen(), datagram_listen().  Returns 0, -E_PORT, -E_NOT_FOUND (bind is no address), -EADDRNOTAVAIL (not of this machine). */
int local_open(const char *bind, uint16_t port, int (*listen)(const struct socket_address *address), struct local *ret);
void local_close(struct local *local); /* also of zeros in `port` and -1 in `fds` */
#endif
