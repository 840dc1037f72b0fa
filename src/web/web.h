/* web/web.h: the console's server: HTTP/1.1, REST and WebSockets over TLS, on connections that the front has accepted.
 *
 * It holds no state of the mesh.  A request becomes a call of the service Console (proto/console.proto) with the session that the browser's
 * cookie names; core alone knows whose it is and what he may do.
 *
 * Ownership: connections to other roles stay the caller's, who sets NULL before he frees one.
 * Threads:   all calls on the loop's thread.  Logging: a line for each error that is answered, with the id that the answer has. */
#ifndef WEB_WEB_H
#define WEB_WEB_H
#include <stdint.h>

#include "base/str.h"

struct io_loop;
struct rpc_connection;
struct tls_context;
struct web;

struct web_settings {
	struct str address; /* host:port that other machines reach this server by */
	struct str domain;  /* host[:port] of the console, "" = none; both are copied */
	uint16_t port;      /* of the front */
};
struct web *web_new(struct io_loop *loop, const struct web_settings *settings); /* NULL when memory is short */
struct web *web_free(struct web *web);

void web_set_core(struct web *web, struct rpc_connection *core);
void web_set_viz(struct web *web, struct rpc_connection *viz);
void web_set_relay(struct web *web, int fd);
/* The file of the program `murmesh`, for people to download; borrowed. */
void web_set_download(struct web *web, int fd);
/* For connections from now on.  It has to offer http/1.1 and ask for no certificate; borrowed until the next one is set. */
void web_set_tls(struct web *web, struct tls_context *tls);
/* A connection of which nothing was read yet; taken over. */
void web_connection(struct web *web, int fd);
#endif
