#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "os/random.h"
#include "probe/modules/network/network.h"

#define QUIET_MS      30000  /* what has no end of its own */
#define TCP_QUIET_MS  600000 /* its end was not seen */
#define HALF_QUIET_MS 60000  /* one side has ended */

struct flows {
	struct map *map;
};

/* The same for both directions: the smaller end first. */
#define KEY_MAX (1 + 2 * (16 + 2))
static size_t key_make(const struct gg_flow *flow, uint8_t key[KEY_MAX])
{
	size_t size = flow->source.v6 ? 16 : 4;
	int order = memcmp(flow->source.bytes, flow->destination.bytes, size);
	bool swapped = order > 0 || (order == 0 && flow->source_port > flow->destination_port);
	const struct gg_address *a = swapped ? &flow->destination : &flow->source,
	                        *b = swapped ? &flow->source : &flow->destination;
	uint16_t a_port = swapped ? flow->destination_port : flow->source_port,
	         b_port = swapped ? flow->source_port : flow->destination_port;
	/* The identifier of an echo is no port of one side: the reply has it too. */
	if (flow->protocol != PROTOCOL_TCP && flow->protocol != PROTOCOL_UDP) {
		a_port = flow->source_port;
		b_port = 0;
	}
	key[0] = flow->protocol;
	memcpy(key + 1, a->bytes, size);
	memcpy(key + 1 + size, &a_port, 2);
	memcpy(key + 3 + size, b->bytes, size);
	memcpy(key + 3 + 2 * size, &b_port, 2);
	return 5 + 2 * size;
}

struct flows *flows_new(void)
{
	struct flows *flows = mem_alloc(sizeof *flows);
	uint8_t seed[16];
	random_bytes(seed, sizeof seed);
	if (flows)
		flows->map = map_new(seed, FLOWS_MAX);
	return flows && flows->map ? flows : mem_free(flows);
}

struct flows *flows_free(struct flows *flows)
{
	size_t at = 0;
	if (!flows)
		return NULL;
	for (struct flow *flow; (flow = map_next(flows->map, &at));)
		mem_free(flow);
	map_free(flows->map);
	return mem_free(flows);
}

size_t flows_count(const struct flows *flows)
{
	return map_count(flows->map);
}

struct flow *flows_get(const struct flows *flows, const struct gg_flow *between)
{
	uint8_t key[KEY_MAX];
	size_t len = key_make(between, key);
	return map_get(flows->map, key, len);
}

struct flow *flows_add(struct flows *flows, const struct gg_flow *of)
{
	uint8_t key[KEY_MAX];
	size_t len = key_make(of, key);
	struct flow *flow = mem_alloc(sizeof *flow);
	if (!flow || map_put(flows->map, key, len, flow) < 0)
		return mem_free(flow);
	flow->key = *of;
	list_init(&flow->node);
	list_init(&flow->place);
	return flow;
}

void flows_remove(struct flows *flows, struct flow *flow)
{
	uint8_t key[KEY_MAX];
	size_t len = key_make(&flow->key, key);
	map_remove(flows->map, key, len);
	list_remove(&flow->node);
	list_remove(&flow->place);
	mem_free(flow);
}

struct flow *flows_next(const struct flows *flows, size_t *at)
{
	return map_next(flows->map, at);
}

bool flow_from_source(const struct flow *flow, const struct gg_flow *sent)
{
	return memcmp(flow->key.source.bytes, sent->source.bytes, sizeof sent->source.bytes) == 0 &&
	       (flow->key.source_port == sent->source_port ||
	        (flow->key.protocol != PROTOCOL_TCP && flow->key.protocol != PROTOCOL_UDP));
}

bool packet_from_opener(const struct packet *packet)
{
	if (packet->flow.protocol != PROTOCOL_TCP)
		return true;
	if (packet->tcp & PACKET_SYN)
		return !(packet->tcp & PACKET_ACK);
	return packet->flow.source_port >= packet->flow.destination_port;
}

void flow_count_packet(struct flow *flow, const struct packet *packet, uint64_t now_ms)
{
	unsigned back = !flow_from_source(flow, &packet->flow);
	flow->fresh[back].bytes += packet->bytes;
	flow->fresh[back].packets++;
	flow->seen_ms = now_ms;
	if (packet->tcp & PACKET_FIN)
		flow->fins |= (uint8_t)(1u << back);
	if (packet->tcp & PACKET_RST)
		flow->fins = 3;
}

bool flow_over(const struct flow *flow, uint64_t now_ms)
{
	uint64_t quiet = now_ms - flow->seen_ms;
	if (flow->gone)
		return true;
	if (flow->key.protocol != PROTOCOL_TCP)
		return quiet > QUIET_MS;
	return flow->fins == 3 || quiet > (flow->fins ? HALF_QUIET_MS : TCP_QUIET_MS);
}
