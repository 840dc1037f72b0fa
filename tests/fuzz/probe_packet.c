/* IP packets as the probe sees them on the wire, and the table of flows: no byte beyond the packet is read, both directions are one flow. */
#include <assert.h>
#include <string.h>

#include "probe/modules/network/network.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct gg_flow turned(const struct gg_flow *flow)
{
	struct gg_flow other = *flow;
	bool ports = flow->protocol == PROTOCOL_TCP || flow->protocol == PROTOCOL_UDP;
	other.source = flow->destination;
	other.destination = flow->source;
	other.source_port = ports ? flow->destination_port : flow->source_port;
	other.destination_port = ports ? flow->source_port : 0;
	return other;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct flows *flows = flows_new();
	struct packet packet;
	assert(flows);
	while (size > 1) { /* each packet behind its length */
		size_t len = data[0] < size ? data[0] : size - 1;
		if (packet_parse((struct str){ (const char *)data + 1, len }, (uint32_t)len, &packet)) {
			struct gg_flow back = turned(&packet.flow);
			struct flow *flow = flows_get(flows, &packet.flow);
			assert(flow == flows_get(flows, &back));
			if (!flow)
				flow = flows_add(flows, packet_from_opener(&packet) ? &packet.flow : &back);
			assert(flow && flow == flows_get(flows, &back));
			flow_count_packet(flow, &packet, 1);
			flow_over(flow, 2);
		}
		data += 1 + len;
		size -= 1 + len;
	}
	flows_free(flows);
	return 0;
}
