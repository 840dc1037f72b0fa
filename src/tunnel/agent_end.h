/* tunnel/agent_end.h: the agent's end of tunnel legs: TLS server for users, then CONNECT (RFC 9110 section 9.3.6) to targets that the
 * caller's grant allows, or, with ALPN h2, RPC.
 *
 * The grant comes in the field `murmesh-grant`: base64url of a SignedDocument (proto/enrol.proto).  Every target is checked.  Refusals are
 * HTTP status codes with Proxy-Status (RFC 9209).  Bytes behind a refused CONNECT are never looked at.
 *
 * A leg may wait for its CONNECT, as those of a user's pool do: for 30 s, and for 6 minutes as long as few do.  A CONNECT with an id
 * (`murmesh-open-id`) is opened once (tunnel/once.h), and answered with `murmesh-once` and a name that this end has as long as it lives. Who does
 * not know what became of a CONNECT sends it again with that name (`murmesh-open-again`): an end of another name refuses it. */
#ifndef TUNNEL_AGENT_END_H
#define TUNNEL_AGENT_END_H
#include "crypto/tls.h"
#include "tunnel/grant.h"

struct io_loop;
struct stream;
struct agent_end;

#define AGENT_END_LEGS_MAX  9000
#define AGENT_END_KEPT_MAX  256 /* that wait for longer than 30 s */
#define AGENT_END_KEPT_USER 64  /* of these, with one key */

/* Answers a name with literals; err < 0: none. */
typedef void (*agent_end_addresses)(void *ctx, int err, const struct str *addresses, size_t n);
struct agent_end_settings {
	struct tls_context *tls; /* server, users only */
	const struct trust *trust;
	int64_t (*now)(void);
	/* Looks a name up; done comes later, exactly once, or not at all when it returns a negative code. */
	int (*resolve)(void *ctx, struct str host, agent_end_addresses done, void *done_ctx);
	/* A leg with ALPN h2; takes the stream over.  pair: as of agent_end_leg(); valid inside the call. */
	void (*rpc)(void *ctx, struct stream *stream, const struct id *pair);
	bool (*revoked)(void *ctx, const uint8_t key_hash[HASH_SIZE]); /* may no user with that key come?  NULL: all may */
	/* target: "" when there was none; pair: as of agent_end_leg(); both valid inside the call */
	void (*refused)(void *ctx, int err, const char *target, const struct id *pair);
	unsigned head_ms; /* for a CONNECT, once the handshake is done; 0 = 30,000 */
	void *ctx;
};
/* settings are copied, what they point to must outlive it. */
struct agent_end *agent_end_new(struct io_loop *loop, const struct agent_end_settings *settings);
/* New legs are met with these from here; open ones go on. */
void agent_end_renew(struct agent_end *end, struct tls_context *tls, const struct trust *trust);
struct agent_end *agent_end_free(struct agent_end *end);                         /* resets all legs */
void agent_end_revoke(struct agent_end *end, const uint8_t key_hash[HASH_SIZE]); /* resets those of users with that key */
void agent_end_over(struct agent_end *end, const struct id *pair);               /* resets the one of that tunnel */
/* A leg: a socket that is being connected to a relay, what to send there first (relay/relay.h), and the name of its tunnel. */
int agent_end_leg(struct agent_end *end, int fd, struct str preamble, const struct id *pair);
size_t agent_end_legs(const struct agent_end *end);
#endif
