/* web/upgrade.h: from a request to a WebSocket (RFC 6455 section 4.2). */
#ifndef WEB_UPGRADE_H
#define WEB_UPGRADE_H
#include "web/http.h"

#define SOCKETS_OF_SESSION 16

/* Checks ticket and handshake, and gives the socket to who serves that path. */
void upgrade_request(struct http_exchange *exchange, const struct h1_request *head, struct str path, struct str query);
/* Of the key: base64(SHA-1(key || GUID)). */
#define UPGRADE_ACCEPT_SIZE 29
void upgrade_accept(struct str key, char out[UPGRADE_ACCEPT_SIZE]);
#endif
