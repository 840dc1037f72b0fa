/* tunnel/client_end.h: the user's end of a tunnel leg: to a relay, TLS to the device itself, then CONNECT to a target, or RPC (ALPN h2).  */
#ifndef TUNNEL_CLIENT_END_H
#define TUNNEL_CLIENT_END_H
#include "crypto/tls.h"
#include "enrol.pb.h"
#include "os/socket.h"

struct io_loop;
struct stream;
struct client_end;

struct client_end_request {
	struct socket_address relay;
	struct str preamble;     /* relay/relay.h */
	struct tls_context *tls; /* client; with ALPN http/1.1 or h2 as wanted; NULL: none, the owner's bytes come next */
	struct identity device;  /* nobody else may answer */
	bool rpc;                /* true: no CONNECT (also without tls) */
	const murmesh_SignedDocument *grant; /* with CONNECT; not kept */
	struct str host;                     /* with CONNECT; "" = the device itself */
	uint16_t port;
};
/* stream: open, TLS done, the target connected (its bytes are next); the owner's from here.  Else NULL with the reason; details: the
 * agent's words, "" when none.  Comes once, never from inside client_end_new(). */
typedef void (*client_end_opened)(void *ctx, struct stream *stream, int err, const char *details);
struct client_end *client_end_new(struct io_loop *loop, const struct client_end_request *request, client_end_opened opened,
                                  void *ctx);
/* Only while `opened` has not come: afterwards it is gone by itself. */
struct client_end *client_end_free(struct client_end *end);
#endif
