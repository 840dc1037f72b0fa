/* tunnel/udp_end.h: the agent's end of UDP maps: CONNECT-UDP (RFC 9298) on the streams of one leg with ALPN h2, one UDP socket each, connected to
 * a target that the stream's own grant allows (the field `murmesh-grant`, grant_allows_udp()).
 *
 * A refusal is an HTTP status with Proxy-Status (RFC 9209); a target that refuses datagrams ends its stream with CONNECT_ERROR. */
#ifndef TUNNEL_UDP_END_H
#define TUNNEL_UDP_END_H
#include "h2/h2.h"
#include "tunnel/agent_end.h"

struct udp_end;

struct udp_end_settings {
	struct identity user; /* who has this leg */
	/* As in agent_end_settings; trust is asked for each time, as there may be another. */
	const struct trust *(*trust)(void *ctx);
	int64_t (*now)(void);
	int (*resolve)(void *ctx, struct str host, agent_end_addresses done, void *done_ctx);
	void (*refused)(void *ctx, int err, const char *target);
	size_t *n_flows; /* of all legs: more than UDP_FLOWS_MAX are refused, so that other tunnels find descriptors.  Borrowed */
	void *ctx;
};
struct udp_end *udp_end_new(struct io_loop *loop, const struct udp_end_settings *settings);
/* Closes its sockets.  Before the session of its streams is freed. */
struct udp_end *udp_end_free(struct udp_end *end);
/* An extended CONNECT: as `request` of h2_session_events. */
int udp_end_request(struct udp_end *end, struct h2_stream *stream, const struct h2_head *head);
uint64_t udp_end_lost(const struct udp_end *end); /* datagrams, in both directions, since its beginning */
#endif
