/* Templates of .ggspec files over a record: proto/modules/README.md. */
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "glouglou/glouglou.h"

#define ICMP   1
#define TCP    6
#define UDP    17
#define ICMPV6 58

char *gg_address_text(const struct gg_address *address, char out[GG_ADDRESS_TEXT])
{
	if (!inet_ntop(address->v6 ? AF_INET6 : AF_INET, address->bytes, out, GG_ADDRESS_TEXT))
		out[0] = 0;
	return out;
}

static const char *protocol_name(uint8_t protocol, char out[8])
{
	switch (protocol) {
	case ICMP:
	case ICMPV6:
		return "icmp";
	case TCP:
		return "tcp";
	case UDP:
		return "udp";
	default:
		snprintf(out, 8, "ip%u", protocol);
		return out;
	}
}

char *gg_flow_text(const struct gg_flow *flow, char out[GG_FLOW_TEXT])
{
	char source[GG_ADDRESS_TEXT], destination[GG_ADDRESS_TEXT], number[8];
	bool tcp = flow->protocol == TCP;
	snprintf(out, GG_FLOW_TEXT, "%s-%u-%s-%u%s%s", gg_address_text(&flow->source, source), flow->source_port,
	         gg_address_text(&flow->destination, destination), flow->destination_port, tcp ? "" : "-",
	         tcp ? "" : protocol_name(flow->protocol, number));
	return out;
}

/* Means another machine, or none, on each device. */
static bool address_is_own(const struct gg_address *address)
{
	static const uint8_t zero[16], loopback[16] = { [15] = 1 };
	const uint8_t *b = address->bytes;
	if (!address->v6)
		return b[0] == 127 || (b[0] == 169 && b[1] == 254) || memcmp(b, zero, 4) == 0;
	return (b[0] == 0xfe && (b[1] & 0xc0) == 0x80) || memcmp(b, loopback, 16) == 0 || memcmp(b, zero, 16) == 0;
}

static void address_id(const struct gg_address *address, const char *device, char *out, size_t size)
{
	char text[GG_ADDRESS_TEXT];
	bool own = address_is_own(address);
	snprintf(out, size, "%s%s%s", gg_address_text(address, text), own ? "@" : "", own ? device : "");
}

/* "10.0.0.2:80", "[::1]:80"; what has no ports: the address alone. */
static void peer_text(const struct gg_flow *flow, char *out, size_t size)
{
	const struct gg_address *remote = flow->incoming ? &flow->source : &flow->destination;
	unsigned port = flow->incoming ? flow->source_port : flow->destination_port;
	char text[GG_ADDRESS_TEXT];
	gg_address_text(remote, text);
	if (flow->protocol != TCP && flow->protocol != UDP)
		snprintf(out, size, "%s", text);
	else
		snprintf(out, size, remote->v6 ? "[%s]:%u" : "%s:%u", text, port);
}

static void flow_part(const struct gg_flow *flow, enum gg_part part, const char *device, char *out, size_t size)
{
	const struct gg_address *remote = flow->incoming ? &flow->source : &flow->destination,
	                        *local = flow->incoming ? &flow->destination : &flow->source;
	char text[GG_FLOW_TEXT];
	switch (part) {
	case GG_PART_PROTOCOL:
		snprintf(out, size, "%s", protocol_name(flow->protocol, text));
		break;
	case GG_PART_LOCAL:
		snprintf(out, size, "%s", gg_address_text(local, text));
		break;
	case GG_PART_REMOTE:
		snprintf(out, size, "%s", gg_address_text(remote, text));
		break;
	case GG_PART_REMOTE_ID:
		address_id(remote, device, out, size);
		break;
	case GG_PART_REMOTE_PORT:
		snprintf(out, size, "%u", flow->incoming ? flow->source_port : flow->destination_port);
		break;
	case GG_PART_PEER:
		peer_text(flow, out, size);
		break;
	case GG_PART_DIRECTION:
		snprintf(out, size, "%s", flow->incoming ? "from" : "to");
		break;
	default:
		snprintf(out, size, "%s", gg_flow_text(flow, text));
	}
}

static void string_part(struct str text, enum gg_part part, char *out, size_t size)
{
	struct str behind;
	if (part == GG_PART_BASE) {
		str_cut_last(text, '/', &behind);
		text = behind;
	}
	snprintf(out, size, "%.*s", STR_ARG(text));
}

static uint64_t number_of(const struct gg_field *field, const void *at, enum gg_part part)
{
	const struct gg_process *process = at;
	const struct gg_flow *flow = at;
	switch (field->type) {
	case GG_TYPE_U8:
		return *(const uint8_t *)at;
	case GG_TYPE_U16:
		return *(const uint16_t *)at;
	case GG_TYPE_U32:
		return *(const uint32_t *)at;
	case GG_TYPE_U64:
	case GG_TYPE_VARINT:
		return *(const uint64_t *)at;
	case GG_TYPE_PROCESS:
		return part == GG_PART_START ? process->start : process->pid;
	case GG_TYPE_FLOW:
	case GG_TYPE_FLOW_REF:
		return flow->incoming ? flow->source_port : flow->destination_port;
	case GG_TYPE_FLAG:
		return *(const bool *)at;
	case GG_TYPE_STRING:
		return ((const struct str *)at)->len > 0;
	default:
		return 0;
	}
}

static void part_text(const struct gg_field *field, const void *at, enum gg_part part, const char *device, char *out, size_t size)
{
	const struct gg_process *process = at;
	char text[GG_ADDRESS_TEXT];
	switch (field->type) {
	case GG_TYPE_STRING:
		string_part(*(const struct str *)at, part, out, size);
		break;
	case GG_TYPE_ADDRESS:
		if (part == GG_PART_ID)
			address_id(at, device, out, size);
		else
			snprintf(out, size, "%s", gg_address_text(at, text));
		break;
	case GG_TYPE_FLOW:
	case GG_TYPE_FLOW_REF:
		flow_part(at, part, device, out, size);
		break;
	case GG_TYPE_PROCESS:
		if (part == GG_PART_WHOLE) {
			snprintf(out, size, "%" PRIu64 "-%" PRIu64, process->pid, process->start);
			break;
		}
		/* fall through */
	default:
		snprintf(out, size, "%" PRIu64, number_of(field, at, part));
	}
}

char *gg_text(const struct gg_template *text, const struct gg_record_type *type, const void *record, const char *device, char *out,
              size_t size)
{
	size_t len = 0;
	out[0] = 0;
	for (unsigned i = 0; i < text->n; i++) {
		const struct gg_piece *piece = &text->pieces[i];
		const struct gg_field *field = &type->fields[piece->field];
		if (piece->literal)
			snprintf(out + len, size - len, "%s", piece->literal);
		else if (piece->part == GG_PART_DEVICE)
			snprintf(out + len, size - len, "%s", device);
		else
			part_text(field, (const char *)record + field->offset, piece->part, device, out + len, size - len);
		len += strlen(out + len);
	}
	return out;
}

uint64_t gg_number(const struct gg_template *number, const struct gg_record_type *type, const void *record)
{
	if (number->n != 1 || number->pieces[0].literal || number->pieces[0].part == GG_PART_DEVICE)
		return 0;
	const struct gg_field *field = &type->fields[number->pieces[0].field];
	return number_of(field, (const char *)record + field->offset, number->pieces[0].part);
}

bool gg_step_applies(const struct gg_step *step, const struct gg_record_type *type, const void *record)
{
	uint32_t there = 0;
	if (!step->when && !step->unless)
		return true;
	for (unsigned i = 0; i < type->n_fields; i++)
		if (number_of(&type->fields[i], (const char *)record + type->fields[i].offset, GG_PART_WHOLE))
			there |= 1u << i;
	return (there & step->when) == step->when && !(there & step->unless);
}
