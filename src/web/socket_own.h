/* web/socket_own.h: a WebSocket as this folder makes and ends it. */
#ifndef WEB_SOCKET_OWN_H
#define WEB_SOCKET_OWN_H
#include <wslay/wslay.h>

#include "web/http.h"
#include "web/socket.h"

#define SOCKET_LIVE_MAX     ((size_t)4 << 10)  /* bytes of one message from the browser */
#define SOCKET_TERMINAL_MAX ((size_t)64 << 10) /* what somebody pastes */

struct web_socket {
	struct list node; /* in web->sockets */
	struct web *web;
	struct http_connection *place; /* among the connections */
	struct stream *stream;
	struct io_timer *timer; /* pings; then the wait for the other side's end */
	struct io_task flush;
	wslay_event_context_ptr wslay;
	const struct web_socket_events *events;
	void *ctx;
	struct guard *guard; /* of its session */
	uint64_t heard_ms;
	bool paused, crowded;
	bool closing; /* by its owner, after what is queued */
	bool broken, ended;
	uint16_t code; /* what it is closed with */
	char reason[124];
};

/* Takes stream, place and guard over, also when it fails. */
struct web_socket *socket_new(struct web *web, struct stream *stream, struct http_connection *place, struct guard *guard,
                              size_t message_max);
void socket_free_all(struct web *web); /* with their `closed` */
#endif
