#include "h2/grpc.h"

#include "base/err.h"

void grpc_prefix_write(uint8_t out[GRPC_PREFIX], size_t len)
{
	out[0] = 0;
	out[1] = (uint8_t)(len >> 24);
	out[2] = (uint8_t)(len >> 16);
	out[3] = (uint8_t)(len >> 8);
	out[4] = (uint8_t)len;
}

void grpc_reader_init(struct grpc_reader *reader, size_t max_message)
{
	buf_init(&reader->partial, GRPC_PREFIX + max_message);
}

void grpc_reader_done(struct grpc_reader *reader)
{
	buf_done(&reader->partial);
}

/* The first message in r: 0 and the reader moves on, -E_SHORT when it is not whole, or another code. */
static int next_message(const struct grpc_reader *reader, struct reader *r, struct str *ret)
{
	struct reader at = *r;
	uint8_t compressed;
	uint32_t len;
	const uint8_t *bytes;
	if (reader_u8(&at, &compressed) < 0)
		return -E_SHORT;
	if (compressed)
		return -E_UNSUPPORTED;
	if (reader_be32(&at, &len) < 0)
		return -E_SHORT;
	if (len > reader->partial.max - GRPC_PREFIX)
		return -E_TOO_LONG;
	if (reader_bytes(&at, len, &bytes) < 0)
		return -E_SHORT;
	*ret = (struct str){ (const char *)bytes, len };
	*r = at;
	return 0;
}

/* Bytes still missing until the partial message is whole (at least 1), as far as its prefix tells. */
static size_t missing(const struct grpc_reader *reader)
{
	size_t have = buf_len(&reader->partial);
	if (have < GRPC_PREFIX)
		return GRPC_PREFIX - have;
	struct reader r = { buf_head(&reader->partial) + 1, 4 };
	uint32_t len = 0;
	reader_be32(&r, &len);
	return GRPC_PREFIX + (size_t)len - have;
}

int grpc_reader_feed(struct grpc_reader *reader, const uint8_t *bytes, size_t len, int (*message)(void *ctx, struct str message),
                     void *ctx)
{
	struct reader r = { bytes, len };
	struct str whole;
	int err = 0;
	while (buf_len(&reader->partial) && r.len) {
		size_t take = missing(reader) < r.len ? missing(reader) : r.len;
		err = buf_append(&reader->partial, r.ptr, take);
		if (err < 0)
			return err;
		r.ptr += take;
		r.len -= take;
		struct reader part = { buf_head(&reader->partial), buf_len(&reader->partial) };
		err = next_message(reader, &part, &whole);
		if (err == -E_SHORT)
			continue;
		if (err == 0)
			err = message(ctx, whole);
		buf_done(&reader->partial);
		if (err < 0)
			return err;
	}
	while (r.len && (err = next_message(reader, &r, &whole)) == 0)
		if ((err = message(ctx, whole)) < 0)
			return err;
	if (r.len && err == -E_SHORT)
		return buf_append(&reader->partial, r.ptr, r.len);
	return r.len ? err : 0;
}
