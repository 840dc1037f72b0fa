/* tunnel/client_end.h: the user's end of a tunnel leg: to a relay, TLS to the device itself, then CONNECT to a target, or RPC (ALPN h2).  */
#ifndef TUNNEL_CLIENT_END_H
#define TUNNEL_CLIENT_END_H
#include "crypto/tls.h"
#include "os/socket.h"
#include "tunnel/connect.h"

struct client_end;

struct client_end_request {
	struct socket_address relay;
	struct str preamble;     /* relay/relay.h */
	struct tls_context *tls; /* client; with ALPN http/1.1 or h2 as wanted; NULL: none, the owner's bytes come next */
	struct identity device;  /* nobody else may answer */
	bool bare;               /* no CONNECT: for RPC, for a pool, without tls */
	const murmesh_SignedDocument *grant; /* with CONNECT; not kept */
	struct str host;                     /* with CONNECT; "" = the device itself */
	uint16_t port;
};
/* stream: open, TLS done, and unless it is bare the target connected; the owner's from here.  Else NULL with the reason, as connect_opened has it.
 * Comes once, never from inside client_end_new(). */
typedef connect_opened client_end_opened;
struct client_end *client_end_new(struct io_loop *loop, const struct client_end_request *request, client_end_opened opened,
                                  void *ctx);
/* Only while `opened` has not come: afterwards it is gone by itself. */
struct client_end *client_end_free(struct client_end *end);
#endif
