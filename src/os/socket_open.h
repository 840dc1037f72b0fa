/* os/socket_open.h: for the sources of this folder that open sockets. */
#ifndef OS_SOCKET_OPEN_H
#define OS_SOCKET_OPEN_H

/* type: SOCK_STREAM, SOCK_DGRAM.  Non-blocking and close-on-exec; the descriptor, or -errno. */
int socket_open(int family, int type);
int socket_option(int fd, int level, int option, int value); /* 0 or -errno */
/* Closes the descriptor after an error, which it then returns. */
int socket_or_error(int fd, int err);
#endif
