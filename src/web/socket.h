/* web/socket.h: one WebSocket (RFC 6455) of a browser, after its upgrade.  Frames are wslay's business: unmasked ones, bad UTF-8 and messages
 * that are too long end it (1002, 1007, 1009).  It pings every 20 s and ends when nothing came for 45 s.
 *
 * Events come from the loop only, never from inside calls of this header.  The socket frees itself after `closed`. */
#ifndef WEB_SOCKET_H
#define WEB_SOCKET_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct web_socket;

enum web_socket_code { /* RFC 6455 section 7.4.1 */
	               SOCKET_NORMAL = 1000,
	               SOCKET_AWAY = 1001,
	               SOCKET_UNSUPPORTED = 1003,
	               SOCKET_POLICY = 1008, /* the session has ended, or a limit is passed */
	               SOCKET_INTERNAL = 1011,
	               SOCKET_AGAIN = 1013, /* the browser does not keep up */
};

struct web_socket_events {
	void (*message)(void *ctx, bool text,
	                struct str bytes);        /* a whole message; text is valid UTF-8; bytes live during the event */
	void (*writable)(void *ctx);              /* it was crowded, and is not any more */
	void (*closed)(void *ctx, unsigned code); /* last, whoever began it; code: the peer's, 1006 without one */
};
void web_socket_set_events(struct web_socket *socket, const struct web_socket_events *events, void *ctx);

/* Queues one message.  -E_CLOSED: it is ending; -E_FULL: more than SOCKET_QUEUE_MAX would wait; -E_NO_MEMORY. */
#define SOCKET_QUEUE_MAX ((size_t)1 << 20)
int web_socket_send(struct web_socket *socket, bool text, struct str bytes);
/* More than 64 KiB wait for the browser: stop producing until `writable`. */
bool web_socket_crowded(const struct web_socket *socket);
/* Reads nothing more from the browser until taken back. */
void web_socket_pause(struct web_socket *socket, bool paused);
/* Ends it after what is queued; `closed` comes, no other event.  reason: at most 120 bytes. */
void web_socket_close(struct web_socket *socket, enum web_socket_code code, const char *reason);
#endif
