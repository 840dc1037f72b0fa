#include "tunnel/udp_flow.h"

#include "base/err.h"

/* Half of a flow's queue is the stream's own: once it was full, `drained` comes with room for the largest datagram. */
#define STREAM_QUEUE (UDP_FLOW_QUEUE / 2)

void udp_flow_init(struct udp_flow *flow, size_t *room)
{
	*flow = (struct udp_flow){ .stream = NULL };
	datagrams_init(&flow->queue, UDP_FLOW_QUEUE - STREAM_QUEUE, room);
	capsule_reader_init(&flow->reader, room);
}

void udp_flow_done(struct udp_flow *flow)
{
	if (flow->stream)
		h2_stream_set_events(flow->stream, NULL, NULL);
	flow->stream = NULL;
	datagrams_done(&flow->queue);
	capsule_reader_done(&flow->reader);
}

static int stream_send(struct udp_flow *flow, struct str datagram)
{
	uint8_t head[CAPSULE_HEAD_MAX];
	size_t head_len = capsule_head_write(head, datagram.len);
	return h2_stream_send2(flow->stream, head, head_len, datagram.ptr, datagram.len);
}

void udp_flow_drained(struct udp_flow *flow)
{
	struct str first;
	while (flow->stream && datagrams_first(&flow->queue, &first) && stream_send(flow, first) == 0)
		datagrams_drop_first(&flow->queue);
}

void udp_flow_open(struct udp_flow *flow, struct h2_stream *stream)
{
	flow->stream = stream;
	h2_stream_limit(stream, STREAM_QUEUE);
	udp_flow_drained(flow);
}

void udp_flow_send(struct udp_flow *flow, struct str datagram)
{
	struct str first;
	if (flow->stream && h2_queued(h2_stream_session(flow->stream)) >= UDP_LEG_QUEUE) {
		flow->lost++;
		return;
	}
	udp_flow_drained(flow); /* `drained` does not come after a lack of memory */
	if (!flow->stream || datagrams_first(&flow->queue, &first) || stream_send(flow, datagram) < 0)
		datagrams_add(&flow->queue, datagram);
}

int udp_flow_receive(struct udp_flow *flow, const uint8_t *bytes, size_t len, int (*datagram)(void *ctx, struct str datagram),
                     void *ctx)
{
	return capsule_reader_feed(&flow->reader, (struct str){ (const char *)bytes, len }, &flow->lost, datagram, ctx);
}

uint64_t udp_flow_lost(const struct udp_flow *flow)
{
	return flow->lost + flow->queue.lost;
}
