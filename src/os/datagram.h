/* os/datagram.h: UDP sockets, non-blocking and close-on-exec. */
#ifndef OS_DATAGRAM_H
#define OS_DATAGRAM_H
#include <sys/types.h>

#include "os/socket.h"

/* Who has sent a datagram to a listener, and at which of this machine's addresses: the answer comes from that one. */
struct datagram_peer {
	struct socket_address address;
	uint8_t local[16];  /* as IPv6; an IPv4 address in its last four bytes */
	unsigned interface; /* for link-local addresses; 0 = any */
};

/* Bound to that address; port 0 takes a free one.  For [::] it serves IPv4 too.  The descriptor, or a negative code (-E_PORT: taken, or not
 * allowed). */
int datagram_listen(const struct socket_address *address);
/* Speaks with that address alone, and hears of its refusals: -ECONNREFUSED of the next call. */
int datagram_connect(const struct socket_address *address);
/* Bytes, 0 too; what is longer than size is cut.  -EAGAIN: there is none. */
ssize_t datagram_receive(int fd, void *out, size_t size);
ssize_t datagram_receive_from(int fd, void *out, size_t size, struct datagram_peer *ret_peer);
/* 0, or a negative code: -EAGAIN: no room just now; -EMSGSIZE: no such datagram can be sent there. */
int datagram_send(int fd, const void *bytes, size_t len);
int datagram_send_to(int fd, const void *bytes, size_t len, const struct datagram_peer *peer);
#endif
