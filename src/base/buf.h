/* base/buf.h: a byte queue with a hard maximum, and a reader that never runs past its end.
 *
 * Bytes are appended at the end and consumed at the start.  Memory is taken when first needed, never beyond max,
 * and given back by buf_trim() when the queue is empty.  Not thread-safe. */
#ifndef BASE_BUF_H
#define BASE_BUF_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct buf {
	uint8_t *data;
	size_t start, end; /* the bytes held are data[start..end) */
	size_t capacity, max;
};

void buf_init(struct buf *buf, size_t max);
void buf_done(struct buf *buf); /* frees; the buffer is then empty and usable again */
void buf_wipe(struct buf *buf); /* overwrites before freeing: for secrets */
void buf_trim(struct buf *buf); /* frees the memory of an empty buffer */

static inline size_t buf_len(const struct buf *buf)
{
	return buf->end - buf->start;
}
static inline const uint8_t *buf_head(const struct buf *buf)
{
	return buf->data + buf->start;
}
static inline struct str buf_str(const struct buf *buf)
{
	return (struct str){ (const char *)buf->data + buf->start, buf_len(buf) };
}

/* All return 0, -E_NO_MEMORY, or -E_TOO_LONG when max would be passed; the buffer is then unchanged. */
int buf_append(struct buf *buf, const void *bytes, size_t len);
int buf_append_str(struct buf *buf, struct str s);
int buf_append_u8(struct buf *buf, uint8_t v);
int buf_append_be16(struct buf *buf, uint16_t v);
int buf_append_be32(struct buf *buf, uint32_t v);
int buf_append_be64(struct buf *buf, uint64_t v);
int buf_printf(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Room for len bytes at the end: *ret_room points to it; buf_commit() makes bytes written there part of the buffer. */
int buf_reserve(struct buf *buf, size_t len, uint8_t **ret_room);
void buf_commit(struct buf *buf, size_t len);
void buf_consume(struct buf *buf, size_t len); /* at most buf_len() */
void buf_clear(struct buf *buf);

/* Reader over bytes that somebody else owns.  Each getter returns 0 and moves on, or -E_SHORT and changes nothing. */
struct reader {
	const uint8_t *ptr;
	size_t len; /* bytes left */
};
int reader_u8(struct reader *r, uint8_t *ret);
int reader_be16(struct reader *r, uint16_t *ret);
int reader_be32(struct reader *r, uint32_t *ret);
int reader_be64(struct reader *r, uint64_t *ret);
int reader_bytes(struct reader *r, size_t len, const uint8_t **ret);
#endif
