/* The bodies of records, by the tables of their fields: glouglou.md, section 2. */
#include <string.h>

#include "base/err.h"
#include "base/utf8.h"
#include "gg_modules.h"
#include "glouglou/own.h"

static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff }; /* IPv4 as IPv6 */

static const struct gg_field notice_fields[] = {
	{ "module", GG_TYPE_U8, offsetof(struct gg_notice, module), 0, 0 },
	{ "kind", GG_TYPE_U8, offsetof(struct gg_notice, kind), 0, 0 },
	{ "text", GG_TYPE_STRING, offsetof(struct gg_notice, text), 200, 0 },
};
static const struct gg_field lost_fields[] = {
	{ "module", GG_TYPE_U8, offsetof(struct gg_lost, module), 0, 0 },
	{ "place", GG_TYPE_U8, offsetof(struct gg_lost, place), 0, 0 },
	{ "count", GG_TYPE_VARINT, offsetof(struct gg_lost, count), 0, 0 },
};
static const struct gg_field wanted_fields[] = {
	{ "module", GG_TYPE_U8, offsetof(struct gg_keyframe_wanted, module), 0, 0 },
};
static const struct gg_record_type control_records[] = {
	{ "notice", GG_NOTICE, 3, 0, notice_fields, NULL },
	{ "lost", GG_LOST, 3, 0, lost_fields, NULL },
	{ "keyframe_wanted", GG_KEYFRAME_WANTED, 1, 0, wanted_fields, NULL },
};
const struct gg_module gg_control = { "control", GG_CONTROL, 3, control_records };

const struct gg_module *gg_module_find(uint8_t id)
{
	for (size_t i = 0; i < GG_MODULES; i++)
		if (gg_modules[i].id == id)
			return &gg_modules[i];
	return NULL;
}

const struct gg_record_type *gg_record_find(const struct gg_module *module, uint8_t type)
{
	for (size_t i = 0; i < module->n_records; i++)
		if (module->records[i].type == type)
			return &module->records[i];
	return NULL;
}

/* ---- reading ---- */

struct gg_address gg_address_from(const void *bytes, bool v6)
{
	bool v4_as_v6 = v6 && memcmp(bytes, mapped, sizeof mapped) == 0;
	struct gg_address address = { .v6 = v6 && !v4_as_v6 };
	memcpy(address.bytes, (const uint8_t *)bytes + (v4_as_v6 ? sizeof mapped : 0), address.v6 ? 16 : 4);
	return address;
}

static enum gg_bad address_read(struct reader *r, bool v6, struct gg_address *ret)
{
	const uint8_t *bytes;
	if (reader_bytes(r, v6 ? 16 : 4, &bytes) < 0)
		return GG_BAD_BODY;
	*ret = gg_address_from(bytes, v6);
	return GG_OK;
}

static enum gg_bad key_read(struct reader *r, uint8_t flags, struct gg_flow *flow)
{
	bool v6 = flags & GG_IPV6;
	flow->incoming = flags & GG_INCOMING;
	if (reader_u8(r, &flow->protocol) < 0 || address_read(r, v6, &flow->source) != GG_OK ||
	    reader_be16(r, &flow->source_port) < 0 || address_read(r, v6, &flow->destination) != GG_OK ||
	    reader_be16(r, &flow->destination_port) < 0)
		return GG_BAD_BODY;
	return GG_OK;
}

/* Numbers instead of keys are for those who were told that we take them, which we never say. */
static enum gg_bad flow_read(struct reader *r, uint8_t flags, struct gg_flow *flow)
{
	return flags & GG_INDEX ? GG_BAD_INDEX : key_read(r, flags, flow);
}

static enum gg_bad process_read(struct reader *r, struct gg_process *process)
{
	enum gg_bad bad = gg_varint_read(r, &process->pid);
	return bad == GG_OK ? gg_varint_read(r, &process->start) : bad;
}

static enum gg_bad string_read(struct reader *r, size_t max, struct str *ret)
{
	const uint8_t *bytes;
	uint64_t len;
	enum gg_bad bad = gg_varint_read(r, &len);
	if (bad != GG_OK)
		return bad;
	if (len > max)
		return GG_BAD_LIMIT;
	if (reader_bytes(r, len, &bytes) < 0)
		return GG_BAD_BODY;
	*ret = (struct str){ (const char *)bytes, len };
	return utf8_valid(*ret) && !str_has(*ret, 0) ? GG_OK : GG_BAD_TEXT;
}

static enum gg_bad hops_read(struct reader *r, uint8_t flags, struct gg_hops *hops)
{
	if (reader_u8(r, &hops->n) < 0)
		return GG_BAD_BODY;
	if (hops->n > GG_HOPS_MAX)
		return GG_BAD_LIMIT;
	enum gg_bad bad = GG_OK;
	for (unsigned i = 0; i < hops->n && bad == GG_OK; i++) {
		bad = address_read(r, flags & GG_IPV6, &hops->hop[i].address);
		if (bad == GG_OK)
			bad = gg_varint_read(r, &hops->hop[i].rtt_us);
	}
	return bad;
}

static enum gg_bad field_read(const struct gg_field *field, uint8_t flags, struct reader *r, void *at)
{
	switch (field->type) {
	case GG_TYPE_U8:
		return reader_u8(r, at) < 0 ? GG_BAD_BODY : GG_OK;
	case GG_TYPE_U16:
		return reader_be16(r, at) < 0 ? GG_BAD_BODY : GG_OK;
	case GG_TYPE_U32:
		return reader_be32(r, at) < 0 ? GG_BAD_BODY : GG_OK;
	case GG_TYPE_U64:
		return reader_be64(r, at) < 0 ? GG_BAD_BODY : GG_OK;
	case GG_TYPE_VARINT:
		return gg_varint_read(r, at);
	case GG_TYPE_STRING:
		return string_read(r, field->max, at);
	case GG_TYPE_ADDRESS:
		return address_read(r, flags & GG_IPV6, at);
	case GG_TYPE_FLOW:
	case GG_TYPE_FLOW_REF:
		return flow_read(r, flags, at);
	case GG_TYPE_PROCESS:
		return process_read(r, at);
	case GG_TYPE_HOPS:
		return hops_read(r, flags, at);
	case GG_TYPE_FLAG:
		*(bool *)at = flags & field->max;
		return GG_OK;
	}
	return GG_BAD_TYPE;
}

static const size_t sizes[] = {
	[GG_TYPE_U8] = 1,
	[GG_TYPE_U16] = 2,
	[GG_TYPE_U32] = 4,
	[GG_TYPE_U64] = 8,
	[GG_TYPE_VARINT] = 8,
	[GG_TYPE_STRING] = sizeof(struct str),
	[GG_TYPE_ADDRESS] = sizeof(struct gg_address),
	[GG_TYPE_FLOW] = sizeof(struct gg_flow),
	[GG_TYPE_FLOW_REF] = sizeof(struct gg_flow),
	[GG_TYPE_PROCESS] = sizeof(struct gg_process),
	[GG_TYPE_HOPS] = sizeof(struct gg_hops),
	[GG_TYPE_FLAG] = sizeof(bool),
};

enum gg_bad gg_record_read(const struct gg_record_type *type, const struct gg_record *record, void *ret)
{
	struct reader r = { (const uint8_t *)record->body.ptr, record->body.len };
	enum gg_bad bad = record->flags & GG_COMPRESSED ? GG_BAD_COMPRESSED : GG_OK;
	for (const struct gg_field *field = type->fields; field < type->fields + type->n_fields && bad == GG_OK; field++) {
		void *at = (char *)ret + field->offset;
		if (field->when && !(record->flags & field->when))
			memset(at, 0, sizes[field->type]);
		else
			bad = field_read(field, record->flags, &r, at);
	}
	return bad;
}

/* ---- writing ---- */

static void address_write(struct gg_body *body, const struct gg_address *address, bool v6)
{
	if (v6 && !address->v6)
		gg_body_bytes(body, mapped, sizeof mapped);
	gg_body_bytes(body, address->bytes, address->v6 ? 16 : 4);
}

static void flow_write(struct gg_body *body, const struct gg_flow *flow, bool v6)
{
	gg_body_number(body, flow->protocol, 1);
	address_write(body, &flow->source, v6);
	gg_body_number(body, flow->source_port, 2);
	address_write(body, &flow->destination, v6);
	gg_body_number(body, flow->destination_port, 2);
}

static int string_write(struct gg_body *body, struct str text, size_t max)
{
	if (text.len > max) {
		text.len = max;
		for (unsigned i = 0; i < 3 && !utf8_valid(text); i++) /* a character was cut */
			text.len--;
	}
	if (!utf8_valid(text) || str_has(text, 0))
		return -E_UTF8;
	gg_body_varint(body, text.len);
	gg_body_bytes(body, text.ptr, text.len);
	return 0;
}

static void hops_write(struct gg_body *body, const struct gg_hops *hops, bool v6)
{
	unsigned n = hops->n < GG_HOPS_MAX ? hops->n : GG_HOPS_MAX;
	gg_body_number(body, n, 1);
	for (unsigned i = 0; i < n; i++) {
		address_write(body, &hops->hop[i].address, v6);
		gg_body_varint(body, hops->hop[i].rtt_us);
	}
}

static int field_write(const struct gg_field *field, const void *at, bool v6, struct gg_body *body)
{
	switch (field->type) {
	case GG_TYPE_U8:
		gg_body_number(body, *(const uint8_t *)at, 1);
		break;
	case GG_TYPE_U16:
		gg_body_number(body, *(const uint16_t *)at, 2);
		break;
	case GG_TYPE_U32:
		gg_body_number(body, *(const uint32_t *)at, 4);
		break;
	case GG_TYPE_U64:
		gg_body_number(body, *(const uint64_t *)at, 8);
		break;
	case GG_TYPE_VARINT:
		gg_body_varint(body, *(const uint64_t *)at);
		break;
	case GG_TYPE_STRING:
		return string_write(body, *(const struct str *)at, field->max);
	case GG_TYPE_ADDRESS:
		address_write(body, at, v6);
		break;
	case GG_TYPE_FLOW:
	case GG_TYPE_FLOW_REF:
		flow_write(body, at, v6);
		break;
	case GG_TYPE_PROCESS:
		gg_body_varint(body, ((const struct gg_process *)at)->pid);
		gg_body_varint(body, ((const struct gg_process *)at)->start);
		break;
	case GG_TYPE_HOPS:
		hops_write(body, at, v6);
		break;
	case GG_TYPE_FLAG:
		break;
	}
	return 0;
}

static bool hops_v6(const struct gg_hops *hops)
{
	for (unsigned i = 0; i < hops->n && i < GG_HOPS_MAX; i++)
		if (hops->hop[i].address.v6)
			return true;
	return false;
}

static uint8_t field_flags(const struct gg_field *field, const void *at)
{
	const struct gg_flow *flow = at;
	switch (field->type) {
	case GG_TYPE_ADDRESS:
		return ((const struct gg_address *)at)->v6 ? GG_IPV6 : 0;
	case GG_TYPE_FLOW:
	case GG_TYPE_FLOW_REF:
		return (uint8_t)((flow->source.v6 || flow->destination.v6 ? GG_IPV6 : 0) | (flow->incoming ? GG_INCOMING : 0));
	case GG_TYPE_HOPS:
		return hops_v6(at) ? GG_IPV6 : 0;
	case GG_TYPE_FLAG:
		return *(const bool *)at ? (uint8_t)field->max : 0;
	default:
		return 0;
	}
}

int gg_record_write(struct gg_writer *writer, const struct gg_record_type *type, uint64_t time_ns, const void *record)
{
	struct gg_body body;
	const char *base = record;
	uint8_t flags = 0;
	int err = 0;
	body.len = 0;
	body.full = false;
	for (size_t i = 0; i < type->n_fields; i++)
		flags |= field_flags(&type->fields[i], base + type->fields[i].offset);
	for (const struct gg_field *field = type->fields; field < type->fields + type->n_fields && err == 0; field++)
		if (!field->when || flags & field->when)
			err = field_write(field, base + field->offset, flags & GG_IPV6, &body);
	return err < 0 ? err : gg_writer_add(writer, type->type, flags, time_ns, &body);
}
