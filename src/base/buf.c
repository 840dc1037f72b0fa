#include "base/buf.h"

#include <assert.h>
#include <stdarg.h>

#include "base/err.h"
#include "base/mem.h"

void buf_init(struct buf *buf, size_t max)
{
	*buf = (struct buf){ .max = max };
}

void buf_done(struct buf *buf)
{
	mem_free(buf->data);
	buf_init(buf, buf->max);
}

void buf_wipe(struct buf *buf)
{
	if (buf->data)
		mem_wipe(buf->data, buf->capacity);
	buf_done(buf);
}

void buf_trim(struct buf *buf)
{
	if (!buf_len(buf))
		buf_done(buf);
}

int buf_reserve(struct buf *buf, size_t len, uint8_t **ret_room)
{
	size_t held = buf_len(buf);
	if (len > buf->max || held > buf->max - len)
		return -E_TOO_LONG;
	if (buf->start && len > buf->capacity - buf->end) {
		memmove(buf->data, buf->data + buf->start, held);
		buf->start = 0;
		buf->end = held;
	}
	if (len > buf->capacity - buf->end) {
		size_t capacity = buf->capacity ? buf->capacity * 2 : 256;
		if (capacity < held + len)
			capacity = held + len;
		if (capacity > buf->max)
			capacity = buf->max;
		uint8_t *data = mem_resize(buf->data, capacity + 1); /* the NUL that buf_printf() leaves */
		if (!data)
			return -E_NO_MEMORY;
		buf->data = data;
		buf->capacity = capacity;
	}
	*ret_room = buf->data + buf->end;
	return 0;
}

void buf_commit(struct buf *buf, size_t len)
{
	assert(len <= buf->capacity - buf->end);
	buf->end += len;
}

int buf_append(struct buf *buf, const void *bytes, size_t len)
{
	uint8_t *room;
	if (!len)
		return 0;
	int err = buf_reserve(buf, len, &room);
	if (err < 0)
		return err;
	memcpy(room, bytes, len);
	buf_commit(buf, len);
	return 0;
}

int buf_append_str(struct buf *buf, struct str s)
{
	return buf_append(buf, s.ptr, s.len);
}

int buf_append_u8(struct buf *buf, uint8_t v)
{
	return buf_append(buf, &v, 1);
}

int buf_append_be16(struct buf *buf, uint16_t v)
{
	v = __builtin_bswap16(v);
	return buf_append(buf, &v, sizeof v);
}

int buf_append_be32(struct buf *buf, uint32_t v)
{
	v = __builtin_bswap32(v);
	return buf_append(buf, &v, sizeof v);
}

int buf_append_be64(struct buf *buf, uint64_t v)
{
	v = __builtin_bswap64(v);
	return buf_append(buf, &v, sizeof v);
}

int buf_printf(struct buf *buf, const char *format, ...)
{
	va_list args, again;
	va_start(args, format);
	va_copy(again, args);
	int need = vsnprintf(NULL, 0, format, args);
	va_end(args);
	uint8_t *room;
	int err = need < 0 ? -E_TOO_LONG : buf_reserve(buf, (size_t)need, &room);
	if (err == 0 && need > 0) {
		vsnprintf((char *)room, (size_t)need + 1, format, again);
		buf_commit(buf, (size_t)need);
	}
	va_end(again);
	return err;
}

void buf_consume(struct buf *buf, size_t len)
{
	assert(len <= buf_len(buf));
	buf->start += len;
	if (buf->start == buf->end)
		buf->start = buf->end = 0;
}

void buf_clear(struct buf *buf)
{
	buf->start = buf->end = 0;
}

int reader_bytes(struct reader *r, size_t len, const uint8_t **ret)
{
	if (len > r->len)
		return -E_SHORT;
	*ret = r->ptr;
	r->ptr += len;
	r->len -= len;
	return 0;
}

static int reader_big_endian(struct reader *r, size_t len, uint64_t *ret)
{
	const uint8_t *bytes;
	int err = reader_bytes(r, len, &bytes);
	if (err < 0)
		return err;
	*ret = 0;
	for (size_t i = 0; i < len; i++)
		*ret = *ret << 8 | bytes[i];
	return 0;
}

int reader_u8(struct reader *r, uint8_t *ret)
{
	uint64_t v;
	int err = reader_big_endian(r, sizeof *ret, &v);
	if (err == 0)
		*ret = (uint8_t)v;
	return err;
}

int reader_be16(struct reader *r, uint16_t *ret)
{
	uint64_t v;
	int err = reader_big_endian(r, sizeof *ret, &v);
	if (err == 0)
		*ret = (uint16_t)v;
	return err;
}

int reader_be32(struct reader *r, uint32_t *ret)
{
	uint64_t v;
	int err = reader_big_endian(r, sizeof *ret, &v);
	if (err == 0)
		*ret = (uint32_t)v;
	return err;
}

int reader_be64(struct reader *r, uint64_t *ret)
{
	return reader_big_endian(r, sizeof *ret, ret);
}
