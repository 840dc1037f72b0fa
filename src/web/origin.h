/* web/origin.h: by which names browsers may ask for this server, and what makes a request the console's own. */
#ifndef WEB_ORIGIN_H
#define WEB_ORIGIN_H
#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

struct h1_fields;

/* A Host that is none of these is refused: a page of a stranger whose name now leads to this server's address (DNS rebinding) would else
 * be of the same origin as the console. */
#define ORIGIN_NAMES 12
struct origin {
	char names[ORIGIN_NAMES][320]; /* as in a Host field */
	size_t n;
};
void origin_init(struct origin *origin, struct str address, struct str domain, uint16_t port);
/* host: the Host field; fd: the connection, whose own address is good as well.  0, or -E_HOST. */
int origin_check_host(const struct origin *origin, struct str host, int fd);
/* What changes something has to come from the console's own page: Origin is that of this Host, and (unless it is a WebSocket, which cannot) the
 * field x-murmesh is there, which no other site may send.  0, or -E_ORIGIN. */
int origin_check_source(const struct h1_fields *fields, bool with_mark);

#define SESSION_COOKIE "__Host-session"
/* The session that the cookie names.  0, or -E_SESSION: none, several, malformed. */
int origin_session(const struct h1_fields *fields, uint8_t ret_session[32]);
#endif
