#include "tunnel/capsule.h"

#include "base/err.h"
#include "h1/h1.h"
#include "tunnel/grant.h"

#define TYPE_DATAGRAM 0
#define CONTEXT_UDP   0
#define VARINT_MAX    8

/* ---- variable-length integers (RFC 9000 section 16) ---- */

static size_t varint_write(uint8_t *out, uint32_t value)
{
	if (value < 1u << 6) {
		out[0] = (uint8_t)value;
		return 1;
	}
	if (value < 1u << 14) {
		out[0] = (uint8_t)(0x40 | value >> 8);
		out[1] = (uint8_t)value;
		return 2;
	}
	out[0] = (uint8_t)(0x80 | value >> 24);
	out[1] = (uint8_t)(value >> 16);
	out[2] = (uint8_t)(value >> 8);
	out[3] = (uint8_t)value;
	return 4;
}

/* Its length in bytes, or 0: more has to come. */
static size_t varint_read(const uint8_t *bytes, size_t len, uint64_t *ret)
{
	size_t size = len ? (size_t)1 << (bytes[0] >> 6) : 0;
	if (!len || size > len)
		return 0;
	uint64_t value = bytes[0] & 0x3f;
	for (size_t i = 1; i < size; i++)
		value = value << 8 | bytes[i];
	*ret = value;
	return size;
}

/* ---- writing ---- */

size_t capsule_head_write(uint8_t out[CAPSULE_HEAD_MAX], size_t datagram_len)
{
	size_t len = varint_write(out, TYPE_DATAGRAM);
	len += varint_write(out + len, (uint32_t)datagram_len + 1);
	return len + varint_write(out + len, CONTEXT_UDP);
}

/* ---- reading ---- */

struct feeding {
	struct capsule_reader *reader;
	struct str rest;
	uint64_t *lost;
	int (*datagram)(void *ctx, struct str datagram);
	void *ctx;
};

void capsule_reader_init(struct capsule_reader *reader, size_t *room)
{
	*reader = (struct capsule_reader){ .room = room };
	buf_init(&reader->payload, CAPSULE_DATAGRAM_MAX + VARINT_MAX);
}

static void payload_drop(struct capsule_reader *reader)
{
	buf_done(&reader->payload);
	*reader->room += reader->taken;
	reader->taken = 0;
}

void capsule_reader_done(struct capsule_reader *reader)
{
	if (reader->room)
		payload_drop(reader);
}

static int payload_take(struct feeding *feeding, struct str payload)
{
	uint64_t context;
	size_t len = varint_read((const uint8_t *)payload.ptr, payload.len, &context);
	if (!len)
		return -E_PROTOCOL;
	if (context != CONTEXT_UDP)
		return 0;
	if (payload.len - len > CAPSULE_DATAGRAM_MAX)
		return -E_PROTOCOL;
	return feeding->datagram(feeding->ctx, str_skip(payload, len));
}

/* A datagram that has not come whole waits for its rest, where there is room for it. */
static int capsule_begin(struct feeding *feeding, uint64_t type, uint64_t len)
{
	struct capsule_reader *reader = feeding->reader;
	bool datagram = type == TYPE_DATAGRAM;
	if (len > (datagram ? CAPSULE_DATAGRAM_MAX + VARINT_MAX : CAPSULE_SKIP_MAX) || (datagram && !len))
		return -E_PROTOCOL;
	reader->rest = len;
	reader->skips = !datagram;
	if (!datagram || len <= feeding->rest.len)
		return 0;
	if (len > *reader->room) {
		reader->skips = true;
		++*feeding->lost;
		return 0;
	}
	reader->taken = (size_t)len;
	*reader->room -= reader->taken;
	return 0;
}

static int head_take(struct feeding *feeding)
{
	struct capsule_reader *reader = feeding->reader;
	uint64_t type, len;
	size_t had = reader->head_len, n = sizeof reader->head - had;
	if (n > feeding->rest.len)
		n = feeding->rest.len;
	memcpy(reader->head + had, feeding->rest.ptr, n);
	size_t type_size = varint_read(reader->head, had + n, &type);
	size_t len_size = type_size ? varint_read(reader->head + type_size, had + n - type_size, &len) : 0;
	if (!len_size) {
		reader->head_len = (uint8_t)(had + n);
		feeding->rest = str_skip(feeding->rest, n);
		return 0;
	}
	reader->head_len = 0;
	feeding->rest = str_skip(feeding->rest, type_size + len_size - had);
	return capsule_begin(feeding, type, len);
}

static int datagram_take(struct feeding *feeding, struct str piece)
{
	struct capsule_reader *reader = feeding->reader;
	if (!reader->taken)
		return payload_take(feeding, piece); /* all at once */
	if (buf_append_str(&reader->payload, piece) < 0) {
		payload_drop(reader);
		reader->skips = true;
		++*feeding->lost;
		return 0;
	}
	if (reader->rest)
		return 0;
	int err = payload_take(feeding, buf_str(&reader->payload));
	payload_drop(reader);
	return err;
}

static int payload_feed(struct feeding *feeding)
{
	struct capsule_reader *reader = feeding->reader;
	struct str piece = feeding->rest;
	if (piece.len > reader->rest)
		piece.len = (size_t)reader->rest;
	feeding->rest = str_skip(feeding->rest, piece.len);
	reader->rest -= piece.len;
	return reader->skips ? 0 : datagram_take(feeding, piece);
}

int capsule_reader_feed(struct capsule_reader *reader, struct str bytes, uint64_t *ret_lost,
                        int (*datagram)(void *ctx, struct str datagram), void *ctx)
{
	struct feeding feeding = { reader, bytes, ret_lost, datagram, ctx };
	int err = 0;
	while (err == 0 && feeding.rest.len)
		err = reader->rest ? payload_feed(&feeding) : head_take(&feeding);
	return err;
}

/* ---- the target ---- */

static const struct str path_start = STR("/.well-known/masque/udp/");

int udp_path_write(struct str host, uint16_t port, char out[UDP_PATH_MAX])
{
	char digits[8];
	struct buf text;
	snprintf(digits, sizeof digits, "/%u/", port);
	buf_init(&text, UDP_PATH_MAX - 1);
	if (!host.len)
		host = STR("localhost");
	int err = buf_append_str(&text, path_start);
	for (size_t i = 0; err == 0 && i < host.len; i++)
		err = buf_append_str(&text, host.ptr[i] == ':' ? STR("%3A") : (struct str){ host.ptr + i, 1 });
	if (err == 0)
		err = buf_append_str(&text, str_from(digits));
	if (err == 0)
		err = str_copy(buf_str(&text), out, UDP_PATH_MAX);
	buf_done(&text);
	return err;
}

/* Of all that percent signs may stand for only colons belong into a host. */
static int host_decode(struct str text, char *out, size_t size)
{
	size_t len = 0;
	while (text.len) {
		bool colon = str_starts(text, STR("%3A")) || str_starts(text, STR("%3a"));
		if (len + 1 == size)
			return -E_HTTP_HEAD;
		out[len++] = colon ? ':' : text.ptr[0];
		text = str_skip(text, colon ? 3 : 1);
	}
	out[len] = 0;
	return len ? 0 : -E_HTTP_HEAD;
}

int udp_path_parse(struct str path, char ret_host[256], uint16_t *ret_port)
{
	char host[256], authority[300];
	uint64_t port;
	struct str rest, end, parsed;
	if (!str_starts(path, path_start) ||
	    host_decode(str_cut(str_skip(path, path_start.len), '/', &rest), host, sizeof host) < 0)
		return -E_HTTP_HEAD;
	struct str digits = str_cut(rest, '/', &end);
	if (end.len || digits.len + 1 != rest.len || str_to_u64(digits, UINT16_MAX, &port) < 0)
		return -E_HTTP_HEAD;
	int err = target_format(str_from(host), (uint16_t)port, authority, sizeof authority);
	if (err == 0)
		err = h1_authority_parse(str_from(authority), &parsed, ret_port);
	if (err == 0)
		err = str_copy(parsed, ret_host, 256);
	return err < 0 ? -E_HTTP_HEAD : 0;
}
