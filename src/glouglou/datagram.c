/* The frame of datagrams and records: glouglou.md, sections 1, 2 and 6. */
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "glouglou/own.h"

#define FLAGS_KNOWN    (GG_IN_KEYFRAME | GG_ANSWER) /* without TLS around them datagrams have others too */
#define FLAGS_OF_ALL   (GG_TAG | GG_ENCRYPTED | GG_RELAYED | FLAGS_KNOWN)
#define RECORD_FLAGS   (GG_IPV6 | GG_OWNER | GG_COMPRESSED | GG_INDEX | GG_INCOMING)
#define WORDS_LEAST    (GG_HEADER / 4)
#define WORDS_MOST     16
#define RECORD_HEADER  4
#define RECORD_FOR_ALL 0xF0
#define OFFSET_MAX_US  3600000000ull
#define EARLIER_NS     1000000000ull /* records that come a little later with an earlier time still fit */

const char *gg_bad_name(enum gg_bad bad)
{
	static const char *const names[GG_BADS] = { "ok",
#define GG_REASON(name, text) text,
		                                    GG_REASONS(GG_REASON)
#undef GG_REASON
	};
	return bad < GG_BADS ? names[bad] : "unknown";
}

enum gg_bad gg_varint_read(struct reader *r, uint64_t *ret)
{
	uint64_t value = 0;
	for (unsigned shift = 0;; shift += 7) {
		uint8_t byte;
		if (reader_u8(r, &byte) < 0 || (shift == 63 && byte > 1) || (shift && !byte))
			return GG_BAD_VARINT;
		value |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			break;
	}
	*ret = value;
	return GG_OK;
}

/* ---- reading ---- */

static enum gg_bad record_check(struct reader *r)
{
	uint8_t type, flags;
	uint16_t len;
	const uint8_t *bytes;
	uint64_t offset_us;
	if (reader_u8(r, &type) < 0 || reader_u8(r, &flags) < 0 || reader_be16(r, &len) < 0 || reader_bytes(r, len, &bytes) < 0)
		return GG_BAD_LENGTH;
	if (flags & ~RECORD_FLAGS)
		return GG_BAD_FLAGS;
	struct reader body = { bytes, len };
	enum gg_bad bad = gg_varint_read(&body, &offset_us);
	return bad == GG_OK && offset_us > OFFSET_MAX_US ? GG_BAD_LIMIT : bad;
}

static enum gg_bad records_check(struct str payload, unsigned records)
{
	struct reader r = { (const uint8_t *)payload.ptr, payload.len };
	unsigned n = 0;
	for (; r.len; n++) {
		enum gg_bad bad = record_check(&r);
		if (bad != GG_OK)
			return bad;
	}
	return n && n == records ? GG_OK : GG_BAD_RECORDS;
}

static enum gg_bad header_check(const struct gg_datagram *datagram, uint8_t words, size_t len)
{
	if (datagram->flags & ~FLAGS_KNOWN)
		return GG_BAD_FLAGS;
	if (words < WORDS_LEAST || words > WORDS_MOST || len < 4u * words)
		return GG_BAD_HEADER;
	if (!datagram->session || !datagram->sequence)
		return GG_BAD_SESSION;
	return datagram->module == GG_CONTROL || gg_module_find(datagram->module) ? GG_OK : GG_BAD_MODULE;
}

enum gg_bad gg_datagram_read(struct str bytes, struct gg_datagram *ret)
{
	struct reader r = { (const uint8_t *)bytes.ptr, bytes.len };
	uint8_t version, words;
	uint16_t records, payload;
	if (bytes.len < GG_HEADER)
		return GG_BAD_SHORT;
	if (bytes.len > GG_DATAGRAM_TOP)
		return GG_BAD_LONG;
	reader_u8(&r, &version);
	reader_u8(&r, &ret->module);
	reader_u8(&r, &ret->flags);
	reader_u8(&r, &words);
	reader_be32(&r, &ret->probe);
	reader_be32(&r, &ret->session);
	reader_be64(&r, &ret->sequence);
	reader_be64(&r, &ret->time_ns);
	reader_be16(&r, &records);
	reader_be16(&r, &payload);
	enum gg_bad bad = version == GG_VERSION ? header_check(ret, words, bytes.len) : GG_BAD_VERSION;
	if (bad != GG_OK)
		return bad;
	ret->payload = str_skip(bytes, 4u * words);
	ret->records = records;
	if (ret->payload.len != payload)
		return ret->payload.len < payload ? GG_BAD_LENGTH : GG_BAD_TRAILING;
	return records_check(ret->payload, records);
}

bool gg_link_next(struct str *rest, struct str *ret_datagram)
{
	struct reader r = { (const uint8_t *)rest->ptr, rest->len };
	const uint8_t *bytes;
	uint16_t len;
	if (reader_be16(&r, &len) < 0 || reader_bytes(&r, len, &bytes) < 0)
		return false;
	*ret_datagram = (struct str){ (const char *)bytes, len };
	*rest = (struct str){ (const char *)r.ptr, r.len };
	return true;
}

static bool record_take(const struct gg_datagram *datagram, size_t *at, struct gg_record *ret)
{
	struct reader r = { (const uint8_t *)datagram->payload.ptr + *at, datagram->payload.len - *at };
	const uint8_t *bytes;
	uint64_t offset_us;
	uint16_t len;
	if (reader_u8(&r, &ret->type) < 0 || reader_u8(&r, &ret->flags) < 0 || reader_be16(&r, &len) < 0 ||
	    reader_bytes(&r, len, &bytes) < 0)
		return false;
	struct reader body = { bytes, len };
	if (gg_varint_read(&body, &offset_us) != GG_OK)
		return false;
	ret->time_ns = datagram->time_ns + offset_us * 1000;
	ret->body = (struct str){ (const char *)body.ptr, body.len };
	*at += RECORD_HEADER + len;
	return true;
}

bool gg_record_next(const struct gg_datagram *datagram, size_t *at, struct gg_record *ret)
{
	while (record_take(datagram, at, ret))
		if (ret->type < RECORD_FOR_ALL)
			return true;
	return false;
}

bool gg_record_first(const struct gg_datagram *datagram, struct gg_record *ret)
{
	size_t at = 0;
	return record_take(datagram, &at, ret);
}

/* ---- writing ---- */

void gg_body_bytes(struct gg_body *body, const void *bytes, size_t len)
{
	if (len > sizeof body->bytes - body->len) {
		body->full = true;
		return;
	}
	if (len)
		memcpy(body->bytes + body->len, bytes, len);
	body->len += len;
}

void gg_body_number(struct gg_body *body, uint64_t value, unsigned bytes)
{
	uint8_t be[8];
	for (unsigned i = 0; i < bytes; i++)
		be[i] = (uint8_t)(value >> 8 * (bytes - 1 - i));
	gg_body_bytes(body, be, bytes);
}

void gg_body_varint(struct gg_body *body, uint64_t value)
{
	uint8_t out[10];
	unsigned n = 0;
	for (; value > 0x7f; value >>= 7)
		out[n++] = (uint8_t)(value | 0x80);
	out[n++] = (uint8_t)value;
	gg_body_bytes(body, out, n);
}

static void be_put(uint8_t *at, uint64_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		at[i] = (uint8_t)(value >> 8 * (bytes - 1 - i));
}

void gg_datagram_number(uint8_t *datagram, uint64_t sequence)
{
	be_put(datagram + 12, sequence, 8);
}

void gg_writer_init(struct gg_writer *writer, const struct gg_source *source, uint8_t module)
{
	writer->source = source;
	writer->module = module;
	writer->in_keyframe = false;
	writer->keyframe = 0;
	writer->len = 0;
}

static void record_put(struct gg_writer *writer, uint8_t type, uint8_t flags, uint64_t time_ns, const struct gg_body *body)
{
	struct gg_body offset = { 0 };
	uint64_t offset_us = time_ns > writer->base_ns ? (time_ns - writer->base_ns) / 1000 : 0;
	gg_body_varint(&offset, offset_us);
	uint8_t *at = writer->bytes + writer->len;
	at[0] = type;
	at[1] = flags;
	be_put(at + 2, offset.len + body->len, 2);
	memcpy(at + RECORD_HEADER, offset.bytes, offset.len);
	memcpy(at + RECORD_HEADER + offset.len, body->bytes, body->len);
	writer->len += RECORD_HEADER + offset.len + body->len;
	writer->records++;
}

static void datagram_begin(struct gg_writer *writer, uint64_t time_ns)
{
	uint8_t *at = writer->bytes;
	writer->base_ns = time_ns > EARLIER_NS ? time_ns - EARLIER_NS : 0;
	writer->records = 0;
	writer->len = GG_HEADER;
	at[0] = GG_VERSION;
	at[1] = writer->module;
	at[2] = writer->in_keyframe ? GG_IN_KEYFRAME : 0;
	at[3] = WORDS_LEAST;
	be_put(at + 4, writer->source->probe, 4);
	be_put(at + 8, writer->source->session, 4);
	be_put(at + 12, 0, 8);
	be_put(at + 20, writer->base_ns, 8);
	if (!writer->in_keyframe)
		return;
	struct gg_body body = { 0 };
	gg_body_varint(&body, writer->keyframe);
	gg_body_varint(&body, writer->part++);
	gg_body_number(&body, 0, 1);
	record_put(writer, GG_KEYFRAME, 0, writer->base_ns, &body);
}

void gg_writer_flush(struct gg_writer *writer)
{
	if (!writer->len)
		return;
	be_put(writer->bytes + 28, writer->records, 2);
	be_put(writer->bytes + 30, writer->len - GG_HEADER, 2);
	struct str datagram = { (const char *)writer->bytes, writer->len };
	unsigned records = writer->records - writer->in_keyframe;
	writer->len = 0;
	writer->source->send(writer->source->ctx, datagram, records);
}

void gg_writer_keyframe_begin(struct gg_writer *writer, uint64_t time_ns)
{
	gg_writer_flush(writer);
	writer->in_keyframe = true;
	writer->keyframe++;
	writer->part = 0;
	datagram_begin(writer, time_ns);
}

void gg_writer_keyframe_pause(struct gg_writer *writer, bool pause)
{
	gg_writer_flush(writer);
	writer->in_keyframe = !pause;
}

/* The mark of the last part is the last byte of the first record. */
void gg_writer_keyframe_end(struct gg_writer *writer)
{
	if (!writer->len)
		datagram_begin(writer, writer->base_ns + EARLIER_NS);
	unsigned len = (unsigned)writer->bytes[GG_HEADER + 2] << 8 | writer->bytes[GG_HEADER + 3];
	writer->bytes[GG_HEADER + RECORD_HEADER + len - 1] = 1;
	gg_writer_flush(writer);
	writer->in_keyframe = false;
}

int gg_writer_add(struct gg_writer *writer, uint8_t type, uint8_t flags, uint64_t time_ns, const struct gg_body *body)
{
	size_t most = RECORD_HEADER + 5 + body->len; /* OFFSET_MAX_US takes 5 bytes */
	if (body->full)
		return -E_TOO_LONG;
	if (writer->len && (writer->len + most > GG_DATAGRAM_MAX || time_ns > writer->base_ns + OFFSET_MAX_US * 1000))
		gg_writer_flush(writer);
	if (!writer->len)
		datagram_begin(writer, time_ns);
	record_put(writer, type, flags, time_ns, body);
	return 0;
}
