/* RFC 791, RFC 8200, RFC 9293, RFC 768, RFC 792, RFC 4443: as much of them as a flow needs. */
#include <string.h>

#include "base/buf.h"
#include "probe/modules/network/network.h"

#define EXTENSIONS_MAX 8
enum { HOP_BY_HOP = 0, ROUTING = 43, FRAGMENT = 44, DESTINATION = 60 };
enum { ECHO_REPLY = 0, ECHO = 8, ECHO_V6 = 128, ECHO_REPLY_V6 = 129 };

static bool tcp_read(struct reader *r, struct packet *ret)
{
	const uint8_t *rest;
	if (reader_be16(r, &ret->flow.source_port) < 0 || reader_be16(r, &ret->flow.destination_port) < 0 ||
	    reader_bytes(r, 9, &rest) < 0)
		return false;
	return reader_u8(r, &ret->tcp) == 0;
}

static bool udp_read(struct reader *r, struct packet *ret)
{
	return reader_be16(r, &ret->flow.source_port) == 0 && reader_be16(r, &ret->flow.destination_port) == 0;
}

/* An echo and its reply are one flow, named by their identifier. */
static bool icmp_read(struct reader *r, struct packet *ret)
{
	const uint8_t *rest;
	uint16_t identifier;
	uint8_t type;
	ret->flow.source_port = ret->flow.destination_port = 0;
	if (reader_u8(r, &type) < 0)
		return false;
	bool echo =
	        ret->flow.protocol == PROTOCOL_ICMP ? type == ECHO || type == ECHO_REPLY : type == ECHO_V6 || type == ECHO_REPLY_V6;
	if (echo && reader_bytes(r, 3, &rest) == 0 && reader_be16(r, &identifier) == 0)
		ret->flow.source_port = identifier;
	return true;
}

static bool payload_read(struct reader *r, struct packet *ret)
{
	ret->tcp = 0;
	switch (ret->flow.protocol) {
	case PROTOCOL_TCP:
		return tcp_read(r, ret);
	case PROTOCOL_UDP:
		return udp_read(r, ret);
	case PROTOCOL_ICMP:
	case PROTOCOL_ICMPV6:
		return icmp_read(r, ret);
	default:
		return false;
	}
}

static bool v4_read(struct reader *r, struct packet *ret)
{
	const uint8_t *head, *options;
	if (reader_bytes(r, 20, &head) < 0)
		return false;
	size_t words = head[0] & 15;
	bool later = (head[6] & 0x1f) || head[7];
	if (words < 5 || later || reader_bytes(r, (words - 5) * 4, &options) < 0)
		return false;
	ret->flow.protocol = head[9];
	memcpy(ret->flow.source.bytes, head + 12, 4);
	memcpy(ret->flow.destination.bytes, head + 16, 4);
	return true;
}

static bool v6_read(struct reader *r, struct packet *ret)
{
	const uint8_t *head, *extension, *rest;
	if (reader_bytes(r, 40, &head) < 0)
		return false;
	uint8_t next = head[6];
	ret->flow.source.v6 = ret->flow.destination.v6 = true;
	memcpy(ret->flow.source.bytes, head + 8, 16);
	memcpy(ret->flow.destination.bytes, head + 24, 16);
	for (unsigned i = 0;
	     i < EXTENSIONS_MAX && (next == HOP_BY_HOP || next == ROUTING || next == DESTINATION || next == FRAGMENT); i++) {
		if (reader_bytes(r, 8, &extension) < 0)
			return false;
		if (next == FRAGMENT && (extension[2] || extension[3] & 0xf8))
			return false;
		if (next != FRAGMENT && reader_bytes(r, extension[1] * 8u, &rest) < 0)
			return false;
		next = extension[0];
	}
	ret->flow.protocol = next;
	return true;
}

bool packet_parse(struct str bytes, uint32_t len, struct packet *ret)
{
	struct reader r = { (const uint8_t *)bytes.ptr, bytes.len };
	if (!bytes.len)
		return false;
	memset(ret, 0, sizeof *ret);
	ret->bytes = len;
	bool ok = *r.ptr >> 4 == 4 ? v4_read(&r, ret) : *r.ptr >> 4 == 6 && v6_read(&r, ret);
	return ok && payload_read(&r, ret);
}
