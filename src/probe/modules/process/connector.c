/* linux/connector.h and linux/cn_proc.h; what a kernel of today sends is at most 100 bytes. */
#include <errno.h>
#include <linux/cn_proc.h>
#include <linux/connector.h>
#include <linux/netlink.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "os/fd.h"
#include "probe/modules/process/process.h"

#define ROOM   (64 << 20) /* bytes in the kernel, when they are needed: 2 s at 25,000 forks a second */
#define ACK_MS 500

static bool header_valid(const struct nlmsghdr *header, size_t len)
{
	return header->nlmsg_len >= NLMSG_HDRLEN + sizeof(struct cn_msg) && header->nlmsg_len <= len;
}

/* A thread is no process of its own. */
static void event_translate(const struct proc_event *event, struct process_event *ret)
{
	ret->kind = PROCESS_OTHER;
	ret->time_ns = event->timestamp_ns;
	ret->cpu = event->cpu;
	if (event->what == PROC_EVENT_FORK && event->event_data.fork.child_pid == event->event_data.fork.child_tgid) {
		ret->kind = PROCESS_FORK;
		ret->pid = (uint32_t)event->event_data.fork.child_tgid;
		ret->parent = (uint32_t)event->event_data.fork.parent_tgid;
	} else if (event->what == PROC_EVENT_EXEC) {
		ret->kind = PROCESS_EXEC;
		ret->pid = (uint32_t)event->event_data.exec.process_tgid;
	} else if (event->what == PROC_EVENT_EXIT && event->event_data.exit.process_pid == event->event_data.exit.process_tgid) {
		ret->kind = PROCESS_EXIT;
		ret->pid = (uint32_t)event->event_data.exit.process_tgid;
		ret->code = (uint8_t)(event->event_data.exit.exit_code >> 8);
		ret->signal = event->event_data.exit.exit_code & 0x7f;
	}
}

bool connector_parse(struct str *rest, struct process_event *ret)
{
	struct nlmsghdr header;
	struct cn_msg message;
	struct proc_event event = { 0 };
	if (rest->len < NLMSG_HDRLEN)
		return false;
	memcpy(&header, rest->ptr, sizeof header);
	if (!header_valid(&header, rest->len))
		return false;
	struct str body = { rest->ptr + NLMSG_HDRLEN, header.nlmsg_len - NLMSG_HDRLEN };
	*rest = str_skip(*rest, NLMSG_ALIGN(header.nlmsg_len));
	memcpy(&message, body.ptr, sizeof message);
	body = str_skip(body, sizeof message);
	if (message.id.idx != CN_IDX_PROC || message.id.val != CN_VAL_PROC || message.len > body.len ||
	    message.len < offsetof(struct proc_event, event_data) + sizeof event.event_data.ack)
		return false;
	memcpy(&event, body.ptr, message.len < sizeof event ? message.len : sizeof event);
	*ret = (struct process_event){ .sequence = message.seq };
	event_translate(&event, ret);
	return true;
}

uint32_t connector_missed(struct connector_loss *loss, const struct process_event *event)
{
	uint32_t cpu = event->cpu, missed = 0;
	if (cpu >= CONNECTOR_CPUS)
		return 0; /* the answer to the subscription */
	if (loss->seen[cpu] && event->sequence - loss->next[cpu] < 1u << 31)
		missed = event->sequence - loss->next[cpu];
	loss->seen[cpu] = true;
	loss->next[cpu] = event->sequence + 1;
	return missed;
}

/* ---- opening ---- */

static int subscribe(int fd)
{
	struct {
		struct nlmsghdr header;
		struct cn_msg message;
		enum proc_cn_mcast_op operation;
	} __attribute__((packed)) request = {
		.header = { .nlmsg_len = sizeof request, .nlmsg_type = NLMSG_DONE },
		.message = { .id = { CN_IDX_PROC, CN_VAL_PROC }, .len = sizeof request.operation },
		.operation = PROC_CN_MCAST_LISTEN,
	};
	ssize_t sent = send(fd, &request, sizeof request, 0);
	return sent < 0 ? -errno : 0;
}

/* The kernel answers a subscription with an event that says 0 or an errno; in a namespace of its own it says nothing. */
static int acknowledged(int fd)
{
	char packet[512];
	struct pollfd readable = { .fd = fd, .events = POLLIN };
	for (;;) {
		if (poll(&readable, 1, ACK_MS) <= 0)
			return -E_TIMEOUT;
		ssize_t len = recv(fd, packet, sizeof packet, 0);
		size_t at = NLMSG_HDRLEN + sizeof(struct cn_msg);
		struct proc_event event = { 0 };
		if (len < (ssize_t)(at + offsetof(struct proc_event, event_data) + sizeof event.event_data.ack))
			return len < 0 ? -errno : -E_MESSAGE;
		memcpy(&event, packet + at, (size_t)len - at < sizeof event ? (size_t)len - at : sizeof event);
		if (event.what == PROC_EVENT_NONE)
			return -(int)event.event_data.ack.err;
	}
}

int connector_open(unsigned wanted)
{
	const struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = CN_IDX_PROC };
	const int room = wanted ? (int)wanted : ROOM;
	int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_CONNECTOR);
	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room) < 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
	int err = bind(fd, (const struct sockaddr *)&address, sizeof address) < 0 ? -errno : subscribe(fd);
	if (err == 0)
		err = acknowledged(fd);
	if (err < 0) {
		fd_close(fd);
		return err;
	}
	return fd;
}
