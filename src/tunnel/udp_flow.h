/* tunnel/udp_flow.h: one UDP flow on one HTTP/2 stream, as either end sees it: datagrams go out in capsules and come out of them.
 *
 * What the stream does not take waits here, and is lost when too much does: UDP_FLOW_QUEUE bytes a direction, of which the oldest go first,
 * and UDP_LEG_QUEUE for all flows of a leg.  What comes is given on at once.  Embedded in its owner, who sets the stream's events. */
#ifndef TUNNEL_UDP_FLOW_H
#define TUNNEL_UDP_FLOW_H
#include "h2/h2.h"
#include "tunnel/capsule.h"
#include "tunnel/datagrams.h"

#define UDP_FLOWS_MAX  10000 /* of a map, and of an agent */
#define UDP_FLOW_QUEUE ((size_t)256 << 10)
#define UDP_LEG_QUEUE  ((size_t)8 << 20)

struct udp_flow {
	struct h2_stream *stream; /* NULL: there is none yet, or none any more */
	struct datagrams queue;
	struct capsule_reader reader;
	uint64_t lost; /* besides those of the queue */
};
/* room: UDP_LEG_QUEUE at first, of all flows of a leg; borrowed. */
void udp_flow_init(struct udp_flow *flow, size_t *room);
void udp_flow_open(struct udp_flow *flow, struct h2_stream *stream); /* what waits goes there */
void udp_flow_done(struct udp_flow *flow); /* the stream stays its session's; its events are not this flow's any more */
void udp_flow_send(struct udp_flow *flow, struct str datagram); /* to the other end */
void udp_flow_drained(struct udp_flow *flow);                   /* of the stream's events */
/* Bytes of the stream, whose window the owner gives back.  As capsule_reader_feed(). */
int udp_flow_receive(struct udp_flow *flow, const uint8_t *bytes, size_t len, int (*datagram)(void *ctx, struct str datagram),
                     void *ctx);
uint64_t udp_flow_lost(const struct udp_flow *flow); /* datagrams, by this end */
#endif
