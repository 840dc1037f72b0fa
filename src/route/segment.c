#include "route/segment.h"

#include <string.h>

#include "base/err.h"
#include "route/crc32c.h"

static const uint8_t magic[8] = "MMSPOOL1";

static void be32_write(uint8_t *at, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		at[i] = (uint8_t)(v >> (24 - 8 * i));
}

static void be64_write(uint8_t *at, uint64_t v)
{
	be32_write(at, (uint32_t)(v >> 32));
	be32_write(at + 4, (uint32_t)v);
}

static uint32_t be32(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static uint64_t be64(const uint8_t *at)
{
	return (uint64_t)be32(at) << 32 | be32(at + 4);
}

/* ---- the segment's header ---- */

void segment_header_write(uint64_t number, uint32_t marker, uint64_t sequence, uint8_t out[SEGMENT_HEADER])
{
	memset(out, 0, SEGMENT_HEADER);
	memcpy(out, magic, sizeof magic);
	be64_write(out + 8, number);
	be32_write(out + 16, marker);
	be64_write(out + 20, sequence);
	be32_write(out + 28, crc32c(0, out, 28));
	memcpy(out + SEGMENT_HEADER / 2, out, SEGMENT_HEADER / 2);
}

static bool header_valid(const uint8_t *at)
{
	return memcmp(at, magic, sizeof magic) == 0 && be32(at + 28) == crc32c(0, at, 28);
}

int segment_read(struct str bytes, struct segment_reader *ret)
{
	const uint8_t *first = (const uint8_t *)bytes.ptr, *second = first + SEGMENT_HEADER / 2;
	if (bytes.len < SEGMENT_HEADER)
		return -E_CHECKSUM;
	bool first_valid = header_valid(first), second_valid = header_valid(second);
	if (!first_valid && !second_valid)
		return -E_CHECKSUM;
	const uint8_t *header = first_valid ? first : second;
	*ret = (struct segment_reader){ .bytes = bytes,
		                        .at = SEGMENT_HEADER,
		                        .number = be64(header + 8),
		                        .marker = be32(header + 16),
		                        .sequence = be64(header + 20),
		                        .header_damaged = !first_valid || !second_valid };
	return 0;
}

/* ---- records ---- */

int segment_record_write(struct buf *out, enum record_kind kind, uint64_t sequence, struct str head, struct str body)
{
	uint8_t *at;
	size_t len = head.len + body.len;
	int err = len > SEGMENT_PAYLOAD_MAX ? -E_TOO_LONG : buf_reserve(out, SEGMENT_RECORD + len, &at);
	if (err < 0)
		return err;
	memset(at, 0, SEGMENT_RECORD);
	be32_write(at + 4, (uint32_t)kind << 24 | (uint32_t)len);
	be64_write(at + 8, sequence);
	be32_write(at + 16, crc32c(crc32c(0, head.ptr, head.len), body.ptr, body.len));
	if (head.len)
		memcpy(at + SEGMENT_RECORD, head.ptr, head.len);
	if (body.len)
		memcpy(at + SEGMENT_RECORD + head.len, body.ptr, body.len);
	buf_commit(out, SEGMENT_RECORD + len);
	return 0;
}

void segment_seal(uint8_t *bytes, size_t len, uint32_t marker)
{
	for (size_t at = 0; at < len; at += SEGMENT_RECORD + (be32(bytes + at + 4) & SEGMENT_PAYLOAD_MAX)) {
		be32_write(bytes + at, marker);
		be32_write(bytes + at + 20, crc32c(0, bytes + at, 20));
	}
}

/* Its header is whole, and its payload lies inside. */
static bool record_header_read(struct str bytes, uint32_t marker, struct segment_record *ret)
{
	const uint8_t *at = (const uint8_t *)bytes.ptr;
	if (bytes.len < SEGMENT_RECORD || be32(at) != marker || be32(at + 20) != crc32c(0, at, 20))
		return false;
	size_t len = be32(at + 4) & SEGMENT_PAYLOAD_MAX;
	if (len > bytes.len - SEGMENT_RECORD || at[4] < RECORD_PUT || at[4] > RECORD_VOID)
		return false;
	ret->kind = at[4];
	ret->sequence = be64(at + 8);
	ret->payload = (struct str){ bytes.ptr + SEGMENT_RECORD, len };
	ret->len = SEGMENT_RECORD + len;
	return true;
}

static bool payload_valid(struct str bytes, const struct segment_record *record)
{
	return record->kind == RECORD_VOID ||
	       be32((const uint8_t *)bytes.ptr + 16) == crc32c(0, record->payload.ptr, record->payload.len);
}

bool segment_record_read(struct str bytes, uint32_t marker, struct segment_record *ret)
{
	return record_header_read(bytes, marker, ret) && ret->len == bytes.len && payload_valid(bytes, ret);
}

/* Where the next record's header stands, or the end. */
static size_t next_header(const struct segment_reader *reader, size_t at)
{
	struct segment_record record;
	const char first = (char)(reader->marker >> 24), *found;
	for (; (found = memchr(reader->bytes.ptr + at, first, reader->bytes.len - at)); at++) {
		at = (size_t)(found - reader->bytes.ptr);
		if (record_header_read(str_skip(reader->bytes, at), reader->marker, &record))
			return at;
	}
	return reader->bytes.len;
}

static enum segment_found damage_read(struct segment_reader *reader, bool header_whole, struct segment_record *ret)
{
	size_t end = header_whole ? reader->at + ret->len : next_header(reader, reader->at + 1);
	if (!header_whole)
		ret->sequence = 0;
	ret->len = end - reader->at;
	ret->payload = (struct str){ reader->bytes.ptr + reader->at, ret->len };
	reader->at = end;
	return end == reader->bytes.len ? SEGMENT_TORN : SEGMENT_DAMAGED;
}

enum segment_found segment_next(struct segment_reader *reader, struct segment_record *ret)
{
	while (reader->at < reader->bytes.len) {
		struct str rest = str_skip(reader->bytes, reader->at);
		ret->at = reader->at;
		bool header_whole = record_header_read(rest, reader->marker, ret);
		if (!header_whole || !payload_valid(rest, ret))
			return damage_read(reader, header_whole, ret);
		reader->at += ret->len;
		if (ret->kind != RECORD_VOID)
			return SEGMENT_RECORD_FOUND;
	}
	return SEGMENT_END;
}
