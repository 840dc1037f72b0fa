/* os/sources.h: how many connections each client has, for limits by client (socket.h, socket_address_source()). */
#ifndef OS_SOURCES_H
#define OS_SOURCES_H
#include <stddef.h>
#include <stdint.h>

struct sources;
struct source;

struct sources_limits {
	size_t each, loopback; /* of one client; of one on this machine, where many people may share an address */
};
/* Of at most max clients at a time.  NULL when memory is short. */
struct sources *sources_new(const uint8_t seed[16], size_t max, struct sources_limits limits);
struct sources *sources_free(struct sources *sources); /* after all were released; accepts NULL, returns NULL */
/* Counts one more connection from this socket's peer; *ret is for sources_release().  -E_LIMIT, -E_FULL, -E_NO_MEMORY, -E_CLOSED (the peer is gone
 * already): not counted, *ret is NULL. */
int sources_take(struct sources *sources, int fd, struct source **ret);
void sources_release(struct sources *sources, struct source *source); /* accepts NULL */
#endif
