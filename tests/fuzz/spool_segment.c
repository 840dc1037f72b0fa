/* A spool's segment as it may stand on a disk: each byte is a record's, or damage that is named, once; a marker of our own, where there is a header,
 * since nobody finds sums by chance. */
#include <assert.h>

#include "route/segment.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void segment_walk(struct str bytes)
{
	struct segment_reader reader;
	struct segment_record record, again;
	enum segment_found found;
	size_t end = SEGMENT_HEADER;
	if (segment_read(bytes, &reader) < 0)
		return;
	while ((found = segment_next(&reader, &record)) != SEGMENT_END) {
		struct str one = { bytes.ptr + record.at, record.len };
		assert(record.at >= end && record.len && record.at + record.len <= bytes.len);
		end = record.at + record.len;
		assert(segment_record_read(one, reader.marker, &again) == (found == SEGMENT_RECORD_FOUND));
		assert(found != SEGMENT_TORN || end == bytes.len);
	}
	assert(reader.at == bytes.len);
}

/* The input's bytes as a list: kind, length of the payload, payload, with what follows a length of 255 as it is. */
static void segment_build(const uint8_t *data, size_t size, struct buf *out)
{
	uint8_t header[SEGMENT_HEADER];
	const uint32_t marker = 0x80000001;
	segment_header_write(1, marker, 1, header);
	buf_append(out, header, sizeof header);
	while (size >= 2) {
		enum record_kind kind = (enum record_kind)(RECORD_PUT + data[0] % 4);
		size_t len = data[1] == 255 ? 0 : data[1] < size - 2 ? data[1] : size - 2, before = buf_len(out);
		if (data[1] == 255) {
			buf_append(out, data + 2, size - 2 < 9 ? size - 2 : 9);
			len = size - 2 < 9 ? size - 2 : 9;
		} else {
			segment_record_write(out, kind, data[0], STR("h"), (struct str){ (const char *)data + 2, len });
			segment_seal(out->data + out->start + before, buf_len(out) - before, marker);
		}
		data += 2 + len;
		size -= 2 + len;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf built;
	buf_init(&built, 1 << 20);
	segment_walk((struct str){ (const char *)data, size });
	segment_build(data, size, &built);
	segment_walk(buf_str(&built));
	buf_done(&built);
	return 0;
}
