#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "os/fd.h"
#include "probe/modules/network/network.h"

#define ROOM 32768 /* the kernel makes its messages no longer */

static void info_read(struct str attributes, struct diag_socket *ret)
{
	struct nlattr attribute;
	struct tcp_info info = { 0 };
	while (attributes.len >= sizeof attribute) {
		memcpy(&attribute, attributes.ptr, sizeof attribute);
		if (attribute.nla_len < sizeof attribute || attribute.nla_len > attributes.len)
			return;
		size_t len = attribute.nla_len - sizeof attribute;
		if (attribute.nla_type == INET_DIAG_INFO) {
			memcpy(&info, attributes.ptr + sizeof attribute, len < sizeof info ? len : sizeof info);
			ret->sent = info.tcpi_bytes_acked;
			ret->received = info.tcpi_bytes_received;
		}
		attributes = str_skip(attributes, NLMSG_ALIGN(attribute.nla_len));
	}
}

bool diag_parse(struct str message, uint8_t protocol, struct diag_socket *ret)
{
	struct inet_diag_msg row;
	if (message.len < sizeof row)
		return false;
	memcpy(&row, message.ptr, sizeof row);
	if (row.idiag_family != AF_INET && row.idiag_family != AF_INET6)
		return false;
	memset(ret, 0, sizeof *ret);
	ret->flow.source = gg_address_from(row.id.idiag_src, row.idiag_family == AF_INET6);
	ret->flow.destination = gg_address_from(row.id.idiag_dst, row.idiag_family == AF_INET6);
	ret->flow.source_port = __builtin_bswap16(row.id.idiag_sport);
	ret->flow.destination_port = __builtin_bswap16(row.id.idiag_dport);
	ret->inode = row.idiag_inode;
	info_read(str_skip(message, sizeof row), ret);
	return socket_state_take(ret, protocol, row.idiag_state);
}

int diag_open(void)
{
	int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_SOCK_DIAG);
	return fd < 0 ? -errno : fd;
}

static int request_send(int fd, uint8_t family, uint8_t protocol)
{
	const struct {
		struct nlmsghdr header;
		struct inet_diag_req_v2 request;
	} request = {
		.header = { .nlmsg_len = sizeof request,
		            .nlmsg_type = SOCK_DIAG_BY_FAMILY,
		            .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		.request = { .sdiag_family = family,
		             .sdiag_protocol = protocol,
		             .idiag_ext = protocol == PROTOCOL_TCP ? 1u << (INET_DIAG_INFO - 1) : 0,
		             .idiag_states = socket_states(protocol) },
	};
	return send(fd, &request, sizeof request, 0) < 0 ? -errno : 0;
}

/* One packet of the answer.  1: it goes on. */
static int answer_take(struct str packet, uint8_t protocol, void (*each)(void *ctx, const struct diag_socket *socket), void *ctx)
{
	struct nlmsghdr header;
	struct diag_socket socket;
	while (packet.len >= sizeof header) {
		memcpy(&header, packet.ptr, sizeof header);
		if (header.nlmsg_len < sizeof header || header.nlmsg_len > packet.len)
			return -E_MESSAGE;
		if (header.nlmsg_type == NLMSG_DONE)
			return 0;
		if (header.nlmsg_type == NLMSG_ERROR)
			return -E_UNSUPPORTED;
		struct str body = { packet.ptr + sizeof header, header.nlmsg_len - sizeof header };
		if (header.nlmsg_type == SOCK_DIAG_BY_FAMILY && diag_parse(body, protocol, &socket))
			each(ctx, &socket);
		packet = str_skip(packet, NLMSG_ALIGN(header.nlmsg_len));
	}
	return 1;
}

static int dump(int fd, uint8_t family, uint8_t protocol, void (*each)(void *ctx, const struct diag_socket *socket), void *ctx)
{
	static char room[ROOM];
	int more = request_send(fd, family, protocol);
	if (more < 0)
		return more;
	do { /* never blocks: each call makes the kernel go on */
		ssize_t len = recv(fd, room, sizeof room, 0);
		more = len < 0 ? -errno : answer_take((struct str){ room, (size_t)len }, protocol, each, ctx);
	} while (more > 0);
	return more;
}

int diag_each(int fd, void (*each)(void *ctx, const struct diag_socket *socket), void *ctx)
{
	int err = dump(fd, AF_INET6, PROTOCOL_TCP, each, ctx); /* it has the listeners of both */
	if (err == 0)
		err = dump(fd, AF_INET, PROTOCOL_TCP, each, ctx);
	if (err == 0) {
		dump(fd, AF_INET6, PROTOCOL_UDP, each, ctx); /* some kernels have no such table */
		dump(fd, AF_INET, PROTOCOL_UDP, each, ctx);
	}
	return err;
}
