#include "os/fd.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "os/call.h"

#define FD_MESSAGE_MAX ((size_t)64 << 10)

void fd_standard_open(void)
{
	int fd;
	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	fd_close(fd);
}

int fd_close(int fd)
{
	if (fd >= 0)
		close(fd);
	return -1;
}

int fd_set_nonblocking(int fd)
{
	int flags = OS_CALL(EIO, fcntl(fd, F_GETFL));
	return flags < 0 ? flags : OS_CALL(EIO, fcntl(fd, F_SETFL, flags | O_NONBLOCK));
}

int fd_set_inherit(int fd, bool inherit)
{
	return OS_CALL(EIO, fcntl(fd, F_SETFD, inherit ? 0 : FD_CLOEXEC));
}

ssize_t fd_read(int fd, void *out, size_t size)
{
	return OS_CALL(EIO, read(fd, out, size));
}

ssize_t fd_read_at(int fd, uint64_t offset, void *out, size_t size)
{
	return lseek(fd, (off_t)offset, SEEK_SET) < 0 ? -errno : fd_read(fd, out, size);
}

ssize_t fd_write(int fd, const void *bytes, size_t len)
{
	ssize_t n = OS_CALL(EIO, send(fd, bytes, len, MSG_NOSIGNAL));
	return n == -ENOTSOCK ? OS_CALL(EIO, write(fd, bytes, len)) : n;
}

int fd_write_all(int fd, const void *bytes, size_t len)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = fd_write(fd, (const char *)bytes + done, len - done);
		if (n < 0)
			return (int)n;
		done += (size_t)n;
	}
	return 0;
}

static int fd_pair(int type, int ret_pair[2])
{
	return OS_CALL(EMFILE, socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ret_pair));
}

int fd_pair_stream(int ret_pair[2])
{
	return fd_pair(SOCK_STREAM, ret_pair);
}

int fd_pair_packet(int ret_pair[2])
{
	return fd_pair(SOCK_SEQPACKET, ret_pair);
}

union control {
	struct cmsghdr header; /* for its alignment */
	char room[CMSG_SPACE(FD_PASS_MAX * sizeof(int))];
};

int fd_send(int fd, const void *bytes, size_t len, const int *fds, size_t n)
{
	if (!len)
		return -E_SHORT; /* would read as the end of file */
	if (len > FD_MESSAGE_MAX || n > FD_PASS_MAX)
		return -E_TOO_LONG;
	union control control = { 0 };
	struct iovec part = { (void *)bytes, len };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
	if (n) {
		control.header = (struct cmsghdr){ .cmsg_len = CMSG_LEN(n * sizeof *fds),
			                           .cmsg_level = SOL_SOCKET,
			                           .cmsg_type = SCM_RIGHTS };
		memcpy(CMSG_DATA(&control.header), fds, n * sizeof *fds);
		message.msg_control = &control;
		message.msg_controllen = CMSG_SPACE(n * sizeof *fds);
	}
	ssize_t sent = OS_CALL(ENOMEM, sendmsg(fd, &message, MSG_NOSIGNAL));
	return sent == -ETOOMANYREFS ? -EAGAIN : sent < 0 ? (int)sent : 0;
}

static size_t descriptors_take(struct msghdr *message, int fds[FD_PASS_MAX])
{
	struct cmsghdr *c = CMSG_FIRSTHDR(message);
	if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
		return 0;
	size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof *fds; /* at most what the room holds */
	memcpy(fds, CMSG_DATA(c), n * sizeof *fds);
	return n;
}

ssize_t fd_receive(int fd, void *out, size_t size, int fds[FD_PASS_MAX], size_t *ret_n)
{
	union control control;
	struct iovec part = { out, size };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
	*ret_n = 0;
	ssize_t len = OS_CALL(ENOMEM, recvmsg(fd, &message, MSG_CMSG_CLOEXEC));
	if (len < 0)
		return len;
	size_t n = descriptors_take(&message, fds);
	if (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
		while (n)
			fd_close(fds[--n]);
		return message.msg_flags & MSG_TRUNC ? -E_TOO_LONG : -EMFILE;
	}
	*ret_n = n;
	return len;
}

size_t fd_limit_raise(void)
{
	struct rlimit limit, raised;
	if (OS_CALL(EIO, getrlimit(RLIMIT_NOFILE, &limit)) < 0)
		return 0;
	raised = (struct rlimit){ limit.rlim_max, limit.rlim_max };
	return OS_CALL(EPERM, setrlimit(RLIMIT_NOFILE, &raised)) < 0 ? limit.rlim_cur : raised.rlim_cur;
}

static void close_from(unsigned first)
{
	const unsigned most = 1u << 20; /* what the kernel allows a process unless told otherwise; others are close-on-exec */
	if (OS_CALL(ENOSYS, close_range(first, ~0u, 0)) == 0)
		return;
	for (unsigned fd = first; fd < most; fd++) /* a kernel before 5.9 */
		close((int)fd);
}

/* First copies all to numbers above the wanted ones, so that none is overwritten before it is moved. */
int fd_arrange(const int *fds, size_t n)
{
	int copies[FD_ARRANGE_MAX], err = 0;
	if (n > FD_ARRANGE_MAX)
		return -E_TOO_LONG;
	for (size_t i = 0; i < n && err >= 0; i++)
		err = copies[i] = OS_CALL(EMFILE, fcntl(fds[i], F_DUPFD_CLOEXEC, 3 + (int)n));
	for (size_t i = 0; i < n && err >= 0; i++)
		err = OS_CALL(EMFILE, dup2(copies[i], 3 + (int)i));
	if (err < 0)
		return err;
	close_from(3 + (unsigned)n);
	return 0;
}
