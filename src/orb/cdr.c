#include "orb/cdr.h"

#include <string.h>

#include "base/err.h"

/* ---- reading ---- */

struct cdr_reader cdr_reader(const void *bytes, size_t len, bool little)
{
	return (struct cdr_reader){ .bytes = bytes, .len = len, .little = little };
}

struct cdr_reader cdr_reader_encapsulation(struct str bytes)
{
	struct cdr_reader r = cdr_reader(bytes.ptr, bytes.len, false);
	uint8_t order = cdr_u8(&r);
	r.little = order == 1;
	r.bad = r.bad || order > 1;
	return r;
}

static size_t padding(size_t at, size_t size)
{
	return (size - at % size) % size;
}

/* The next len bytes; NULL when there are fewer. */
static const uint8_t *take(struct cdr_reader *r, size_t len)
{
	if (r->bad || len > r->len - r->at) {
		r->bad = true;
		return NULL;
	}
	r->at += len;
	return r->bytes + (r->at - len);
}

void cdr_align(struct cdr_reader *r, size_t size)
{
	take(r, padding(r->at, size));
}

static uint64_t number(struct cdr_reader *r, size_t size)
{
	uint64_t v = 0;
	cdr_align(r, size);
	const uint8_t *bytes = take(r, size);
	for (size_t i = 0; bytes && i < size; i++)
		v = v << 8 | bytes[r->little ? size - 1 - i : i];
	return v;
}

uint8_t cdr_u8(struct cdr_reader *r)
{
	return (uint8_t)number(r, 1);
}

uint16_t cdr_u16(struct cdr_reader *r)
{
	return (uint16_t)number(r, 2);
}

uint32_t cdr_u32(struct cdr_reader *r)
{
	return (uint32_t)number(r, 4);
}

uint64_t cdr_u64(struct cdr_reader *r)
{
	return number(r, 8);
}

struct str cdr_bytes(struct cdr_reader *r, size_t len)
{
	const uint8_t *bytes = take(r, len);
	return bytes ? (struct str){ (const char *)bytes, len } : STR("");
}

struct str cdr_sequence(struct cdr_reader *r)
{
	uint32_t len = cdr_u32(r);
	return cdr_bytes(r, len);
}

struct str cdr_string(struct cdr_reader *r)
{
	struct str text = cdr_sequence(r);
	if (!text.len || memchr(text.ptr, 0, text.len) != text.ptr + text.len - 1) {
		r->bad = true;
		return STR("");
	}
	text.len--;
	return text;
}

/* ---- writing ---- */

struct cdr_writer cdr_writer(struct buf *out, bool little)
{
	return (struct cdr_writer){ .out = out, .base = out ? buf_len(out) : 0, .little = little };
}

struct cdr_writer cdr_writer_encapsulation(struct buf *out, bool little)
{
	struct cdr_writer w = cdr_writer(out, little);
	cdr_put_u8(&w, little);
	return w;
}

static void put(struct cdr_writer *w, const void *bytes, size_t len)
{
	if (w->out && w->err == 0)
		w->err = buf_append(w->out, bytes, len);
}

void cdr_put_align(struct cdr_writer *w, size_t size)
{
	static const uint8_t zeros[8];
	if (w->out)
		put(w, zeros, padding(buf_len(w->out) - w->base, size));
}

static void encode(const struct cdr_writer *w, uint64_t v, uint8_t *out, size_t size)
{
	for (size_t i = 0; i < size; i++)
		out[w->little ? i : size - 1 - i] = (uint8_t)(v >> 8 * i);
}

static void put_number(struct cdr_writer *w, uint64_t v, size_t size)
{
	uint8_t bytes[8];
	encode(w, v, bytes, size);
	cdr_put_align(w, size);
	put(w, bytes, size);
}

void cdr_put_u8(struct cdr_writer *w, uint8_t v)
{
	put_number(w, v, 1);
}

void cdr_put_u16(struct cdr_writer *w, uint16_t v)
{
	put_number(w, v, 2);
}

void cdr_put_u32(struct cdr_writer *w, uint32_t v)
{
	put_number(w, v, 4);
}

void cdr_put_u64(struct cdr_writer *w, uint64_t v)
{
	put_number(w, v, 8);
}

void cdr_put_bytes(struct cdr_writer *w, struct str bytes)
{
	put(w, bytes.ptr, bytes.len);
}

void cdr_put_sequence(struct cdr_writer *w, struct str octets)
{
	cdr_put_u32(w, (uint32_t)octets.len);
	put(w, octets.ptr, octets.len);
}

void cdr_put_string(struct cdr_writer *w, struct str text)
{
	cdr_put_u32(w, (uint32_t)text.len + 1);
	put(w, text.ptr, text.len);
	put(w, "", 1);
}

void cdr_put_u32_at(struct cdr_writer *w, size_t at, uint32_t v)
{
	if (w->out && w->err == 0)
		encode(w, v, w->out->data + w->out->start + w->base + at, 4);
}
