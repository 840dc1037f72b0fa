/* cli/leg.h: one leg to a device: asks the server for ticket and grant, then meets the device at the relay. */
#ifndef CLI_LEG_H
#define CLI_LEG_H
#include "cli/session.h"
#include "portmap/spec.h"
#include "tunnel/result.h"

struct leg_target {
	struct id device;
	bool rpc;              /* for a run order; else a connection to host:port */
	const struct cli *cli; /* for notes; NULL: none */
	bool raw;              /* such a connection for somebody else, who does TLS and CONNECT himself with a grant of his own */
	struct str host;       /* "" = the device itself; kept by reference until it is opened */
	uint16_t port;
	struct buf *
	        head; /* such a connection that is to be used later: its CONNECT (tunnel/connect.h) comes here instead of being sent */
	struct tls_context *tls; /* session_leg_context() */
	murmesh_SignedDocument
	        *udp_grant; /* of a UDP map (ALPN h2, no CONNECT yet): the grant for host:port is put there, before it is opened */
};
/* opened as in tunnel/client_end.h: exactly once, maybe from inside leg_open(). */
void leg_open(struct session *session, const struct leg_target *target, client_end_opened opened, void *ctx);
/* How an order ended on a device. */
struct leg_end {
	const char *name; /* of the device, for people */
	struct id device;
	bool signs; /* as the server knows */
	const murmesh_SignedDocument *order;
	const murmesh_RunExit *exit;
	const struct result_streams *streams;
};
/* Has its management part signed that?  *ret_signed: yes.  0, or the exit code when it should have and has not, after saying so; what an older
 * agent has not signed is believed. */
int leg_verify(const struct session *session, const struct leg_end *end, bool *ret_signed);
/* session_close() */
void legs_cancel(struct session *session);
/* "PORT" or "HOST:PORT" of a command.  Returns the exit code (why not is printed). */
int leg_target_read(const char *text, char ret_host[MAP_HOST_SIZE], uint16_t *ret_port);
#endif
