#include "os/datagram.h"

#include <netinet/in.h>
#include <string.h>

#include "base/err.h"
#include "os/call.h"
#include "os/socket_open.h"

#define RECEIVE_BUFFER (1 << 20) /* bytes; the kernel gives what it allows */

union control {
	struct cmsghdr header;
	uint8_t bytes[CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

int datagram_listen(const struct socket_address *address)
{
	bool v6 = address->storage.ss_family == AF_INET6;
	int fd = socket_open(address->storage.ss_family, SOCK_DGRAM);
	if (fd < 0)
		return fd;
	int err = v6 ? socket_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0) : 0;
	if (err == 0)
		err = v6 ? socket_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1) : socket_option(fd, IPPROTO_IP, IP_PKTINFO, 1);
	if (err == 0)
		err = socket_option(fd, SOL_SOCKET, SO_RCVBUF, RECEIVE_BUFFER);
	if (err == 0)
		err = OS_CALL(EADDRINUSE, bind(fd, (const struct sockaddr *)&address->storage, address->len));
	return socket_or_error(fd, err == -EADDRINUSE || err == -EACCES ? -E_PORT : err);
}

int datagram_connect(const struct socket_address *address)
{
	int fd = socket_open(address->storage.ss_family, SOCK_DGRAM);
	if (fd < 0)
		return fd;
	return socket_or_error(fd, OS_CALL(ENETUNREACH, connect(fd, (const struct sockaddr *)&address->storage, address->len)));
}

ssize_t datagram_receive(int fd, void *out, size_t size)
{
	return OS_CALL(ECONNREFUSED, recv(fd, out, size, 0));
}

static void local_take(struct msghdr *message, struct datagram_peer *peer)
{
	for (struct cmsghdr *at = CMSG_FIRSTHDR(message); at; at = CMSG_NXTHDR(message, at)) {
		if (at->cmsg_level == IPPROTO_IP && at->cmsg_type == IP_PKTINFO) {
			struct in_pktinfo info;
			memcpy(&info, CMSG_DATA(at), sizeof info);
			memcpy(peer->local + 12, &info.ipi_spec_dst, 4);
		} else if (at->cmsg_level == IPPROTO_IPV6 && at->cmsg_type == IPV6_PKTINFO) {
			struct in6_pktinfo info;
			memcpy(&info, CMSG_DATA(at), sizeof info);
			memcpy(peer->local, &info.ipi6_addr, sizeof peer->local);
			peer->interface = IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr) ? info.ipi6_ifindex : 0;
		}
	}
}

ssize_t datagram_receive_from(int fd, void *out, size_t size, struct datagram_peer *ret_peer)
{
	struct datagram_peer peer = { .address.len = sizeof peer.address.storage };
	union control control;
	struct iovec bytes = { out, size };
	struct msghdr message = { .msg_name = &peer.address.storage,
		                  .msg_namelen = peer.address.len,
		                  .msg_iov = &bytes,
		                  .msg_iovlen = 1,
		                  .msg_control = &control,
		                  .msg_controllen = sizeof control };
	ssize_t n = OS_CALL(ENOMEM, recvmsg(fd, &message, 0));
	if (n < 0)
		return n;
	peer.address.len = message.msg_namelen;
	local_take(&message, &peer);
	*ret_peer = peer;
	return n;
}

int datagram_send(int fd, const void *bytes, size_t len)
{
	ssize_t n = OS_CALL(ECONNREFUSED, send(fd, bytes, len, MSG_NOSIGNAL));
	return n < 0 ? (int)n : 0;
}

static void control_put(struct msghdr *message, union control *control, int level, int type, const void *info, size_t size)
{
	*control = (union control){ 0 };
	control->header = (struct cmsghdr){ .cmsg_len = CMSG_LEN(size), .cmsg_level = level, .cmsg_type = type };
	memcpy(CMSG_DATA(&control->header), info, size);
	message->msg_control = control;
	message->msg_controllen = CMSG_SPACE(size);
}

int datagram_send_to(int fd, const void *bytes, size_t len, const struct datagram_peer *peer)
{
	struct socket_address to = peer->address;
	union control control;
	struct in_pktinfo v4 = { 0 };
	struct in6_pktinfo v6 = { .ipi6_ifindex = peer->interface };
	struct iovec out = { (void *)(uintptr_t)bytes, len };
	struct msghdr message = { .msg_name = &to.storage, .msg_namelen = to.len, .msg_iov = &out, .msg_iovlen = 1 };
	memcpy(&v4.ipi_spec_dst, peer->local + 12, 4);
	memcpy(&v6.ipi6_addr, peer->local, sizeof peer->local);
	if (to.storage.ss_family == AF_INET)
		control_put(&message, &control, IPPROTO_IP, IP_PKTINFO, &v4, sizeof v4);
	else
		control_put(&message, &control, IPPROTO_IPV6, IPV6_PKTINFO, &v6, sizeof v6);
	ssize_t n = OS_CALL(ENOMEM, sendmsg(fd, &message, MSG_NOSIGNAL));
	return n < 0 ? (int)n : 0;
}
