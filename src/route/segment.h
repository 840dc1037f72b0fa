/* route/segment.h: the format of the spool's files, on bytes in memory.
 *
 * A segment is a header, twice, then records; all numbers in network byte order:
 *   header, 32 bytes: "MMSPOOL1", number (64 bits), marker (32), next sequence (64), CRC-32C of the 28 bytes before
 *   record, 24 bytes: marker (32), kind (8), payload's length (24), sequence (64), CRC-32C of the payload, CRC-32C of the 20 bytes before;
 *                     then the payload
 * The marker is random and the segment's own: where a record's length is damaged, the next record is found by it, and nobody who sends
 * payloads can write one that looks like a record. */
#ifndef ROUTE_SEGMENT_H
#define ROUTE_SEGMENT_H
#include "base/buf.h"

#define SEGMENT_HEADER      64
#define SEGMENT_RECORD      24 /* a record without its payload */
#define SEGMENT_PAYLOAD_MAX (((size_t)1 << 24) - 1)

enum record_kind {
	RECORD_PUT = 1, /* something to keep */
	RECORD_DONE,    /* the one of this sequence is needed no more; the payload is a note */
	RECORD_NOTE,    /* the owner's own */
	RECORD_VOID,    /* stands where a damaged one was; its payload is garbage */
};

struct segment_record {
	enum record_kind kind;
	uint64_t sequence;
	struct str payload;
	size_t at, len; /* in the segment, with its header; of damage: the bytes that could not be read */
};

struct segment_reader {
	struct str bytes;
	size_t at;
	uint64_t number, sequence; /* sequence: no record that is put here or later has a lower one, but for those that moved */
	uint32_t marker;
	bool header_damaged; /* one of the two */
};

enum segment_found {
	SEGMENT_END,
	SEGMENT_RECORD_FOUND,
	SEGMENT_DAMAGED, /* cannot be read; what comes behind can.  sequence: when its header is whole, else 0 */
	SEGMENT_TORN,    /* cannot be read up to the end: as a crash leaves it */
};

/* -E_CHECKSUM: it has no header. */
int segment_read(struct str bytes, struct segment_reader *ret);
enum segment_found segment_next(struct segment_reader *reader, struct segment_record *ret);
/* For one record at a known place, all of it. */
bool segment_record_read(struct str bytes, uint32_t marker, struct segment_record *ret);

void segment_header_write(uint64_t number, uint32_t marker, uint64_t sequence, uint8_t out[SEGMENT_HEADER]);
/* Appends a record, whose payload is head and body.  Its marker comes when the segment is known: segment_seal() sets it in all records of
 * these bytes.  As buf_append(); -E_TOO_LONG also beyond SEGMENT_PAYLOAD_MAX. */
int segment_record_write(struct buf *out, enum record_kind kind, uint64_t sequence, struct str head, struct str body);
void segment_seal(uint8_t *bytes, size_t len, uint32_t marker);
#endif
