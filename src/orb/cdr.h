/* orb/cdr.h: CDR, the data format of CORBA (OMG formal/2012-11-14, section 9.3), in both byte orders.
 *
 * A primitive stands at a multiple of its own size, counted from the first byte of the message or encapsulation.  What is skipped for that
 * is never looked at (other ORBs leave old memory there), and written as zeros.
 * Both sides remember their first error, after which reading gives zeros and writing does nothing: ask once at the end. */
#ifndef ORB_CDR_H
#define ORB_CDR_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct cdr_reader {
	const uint8_t *bytes; /* alignment counts from here; borrowed */
	size_t len, at;
	bool little;
	bool bad; /* something ran past the end, or a string was none */
};
struct cdr_reader cdr_reader(const void *bytes, size_t len, bool little);
/* An encapsulation: its first byte is its byte order. */
struct cdr_reader cdr_reader_encapsulation(struct str bytes);
void cdr_align(struct cdr_reader *r, size_t size); /* 1, 2, 4 or 8 */
uint8_t cdr_u8(struct cdr_reader *r);
uint16_t cdr_u16(struct cdr_reader *r);
uint32_t cdr_u32(struct cdr_reader *r);
uint64_t cdr_u64(struct cdr_reader *r);
struct str cdr_bytes(struct cdr_reader *r, size_t len); /* borrowed */
struct str cdr_sequence(struct cdr_reader *r);          /* of octets */
struct str cdr_string(struct cdr_reader *r);            /* without its NUL; one inside makes it bad */

struct cdr_writer {
	struct buf *out; /* NULL: what is written is thrown away */
	size_t base;     /* bytes that were in it before */
	bool little;
	int err; /* of the buffer */
};
struct cdr_writer cdr_writer(struct buf *out, bool little);
struct cdr_writer cdr_writer_encapsulation(struct buf *out, bool little); /* writes the first byte */
void cdr_put_align(struct cdr_writer *w, size_t size);
void cdr_put_u8(struct cdr_writer *w, uint8_t v);
void cdr_put_u16(struct cdr_writer *w, uint16_t v);
void cdr_put_u32(struct cdr_writer *w, uint32_t v);
void cdr_put_u64(struct cdr_writer *w, uint64_t v);
void cdr_put_bytes(struct cdr_writer *w, struct str bytes);
void cdr_put_sequence(struct cdr_writer *w, struct str octets);
void cdr_put_string(struct cdr_writer *w, struct str text); /* without NUL bytes in it */
/* Changes what was written as u32 at this offset from the base. */
void cdr_put_u32_at(struct cdr_writer *w, size_t at, uint32_t v);
#endif
