/* os/fd.h: descriptors.  All made here are close-on-exec; non-blocking where said.  Return 0 (or a descriptor) or a
 * negative code. */
#ifndef OS_FD_H
#define OS_FD_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* First thing in main: /dev/null stands where 0, 1 or 2 is closed, so that nothing else is opened under these numbers. */
void fd_standard_open(void);
int fd_close(int fd); /* accepts -1; returns -1, so that `x->fd = fd_close(x->fd)` reads well */
int fd_set_nonblocking(int fd);
int fd_set_inherit(int fd, bool inherit); /* survives exec or not */
/* Read and write as the kernel does, -EAGAIN when it would block; EINTR is repeated; no SIGPIPE on sockets. */
ssize_t fd_read(int fd, void *out, size_t size);
ssize_t fd_write(int fd, const void *bytes, size_t len);
ssize_t fd_read_at(int fd, uint64_t offset, void *out, size_t size); /* of a file, whose own offset moves */
int fd_write_all(int fd, const void *bytes, size_t len);             /* blocking descriptors only */

/* A connected pair; both ends non-blocking. */
int fd_pair_stream(int ret_pair[2]); /* AF_UNIX SOCK_STREAM */
int fd_pair_packet(int ret_pair[2]); /* AF_UNIX SOCK_SEQPACKET, for messages with descriptors */

/* One message of at most 64 KiB with up to FD_PASS_MAX descriptors over a packet pair.  Sending copies the descriptors: the caller
 * still closes its own.  -EAGAIN when the queue is full (also when too many descriptors are in flight): keep, retry.
 * Receiving: returns the length, 0 at the end of file, or -EAGAIN; *ret_n descriptors are the caller's.  -E_TOO_LONG: the message was longer
 * than size, -EMFILE: descriptors were lost (too many here, or more than FD_PASS_MAX sent); the message is gone then. */
#define FD_PASS_MAX 4
int fd_send(int fd, const void *bytes, size_t len, const int *fds, size_t n);
ssize_t fd_receive(int fd, void *out, size_t size, int fds[FD_PASS_MAX], size_t *ret_n);

/* Sets the soft limit of open descriptors to the hard one; returns it. */
size_t fd_limit_raise(void);
/* Puts descriptors where a child expects them and closes all others above: fds[i] becomes 3 + i.  Numbers may overlap.
 * For use between fork and exec only: async-signal-safe.  After an error nothing was closed. */
#define FD_ARRANGE_MAX 32
int fd_arrange(const int *fds, size_t n);
#endif
