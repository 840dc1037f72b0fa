#include "route/envelope.h"

#include <pb_decode.h>
#include <pb_encode.h>
#include <string.h>

#include "base/err.h"
#include "base/utf8.h"

#define HEAD_MAX 2048 /* bytes of all but the body, encoded */

static bool text_valid(const char *text, size_t least)
{
	struct str s = str_from(text);
	return s.len >= least && utf8_valid(s);
}

static bool to_valid(const murmesh_Envelope *envelope)
{
	switch (envelope->which_to) {
	case murmesh_Envelope_node_tag:
		return true;
	case murmesh_Envelope_group_tag:
		return text_valid(envelope->to.group, 1);
	case murmesh_Envelope_query_tag:
		return text_valid(envelope->to.query, 1);
	case murmesh_Envelope_server_tag:
		return envelope->to.server;
	default:
		return false;
	}
}

static bool hops_valid(const murmesh_Envelope *envelope)
{
	for (pb_size_t i = 0; i < envelope->hops_count; i++)
		if (envelope->hops[i].size != sizeof(struct id))
			return false;
	return true;
}

static bool envelope_valid(const murmesh_Envelope *envelope)
{
	struct id id;
	memcpy(id.bytes, envelope->id, sizeof id.bytes);
	return !id_is_zero(&id) && (envelope->from.size == 0 || envelope->from.size == sizeof id.bytes) && to_valid(envelope) &&
	       text_valid(envelope->type, 1) && text_valid(envelope->key, 0) && envelope->created_ms > 0 && hops_valid(envelope) &&
	       envelope->priority >= _murmesh_Priority_MIN && envelope->priority <= _murmesh_Priority_MAX &&
	       envelope->lifetime_s <= ENVELOPE_LONGEST_S;
}

struct body_place {
	struct str envelope, body;
};

/* Where it stands; nothing is copied.  A number instead of bytes stands in a buffer of nanopb's own: refused. */
static bool body_read(pb_istream_t *stream, const pb_field_t *field, void **arg)
{
	struct body_place *place = *arg;
	const uintptr_t at = (uintptr_t)stream->state, start = (uintptr_t)place->envelope.ptr;
	(void)field;
	if (at < start || at - start > place->envelope.len || stream->bytes_left > place->envelope.len - (at - start))
		return false;
	place->body = (struct str){ stream->state, stream->bytes_left };
	return pb_read(stream, NULL, stream->bytes_left);
}

int envelope_read(struct str bytes, murmesh_Envelope *ret, struct str *ret_body)
{
	struct body_place place = { .envelope = bytes };
	if (bytes.len > ENVELOPE_MAX)
		return -E_TOO_LONG;
	pb_istream_t in = pb_istream_from_buffer((const pb_byte_t *)bytes.ptr, bytes.len);
	ret->body.funcs.decode = body_read;
	ret->body.arg = &place;
	bool read = pb_decode(&in, murmesh_Envelope_fields, ret);
	ret->body.funcs.decode = NULL;
	ret->body.arg = NULL;
	if (!read || !envelope_valid(ret))
		return -E_MESSAGE;
	if (place.body.len > ENVELOPE_BODY_MAX)
		return -E_TOO_LONG;
	*ret_body = place.body;
	return 0;
}

static bool body_write(pb_ostream_t *stream, const pb_field_t *field, void *const *arg)
{
	const struct str *body = *arg;
	return pb_encode_tag_for_field(stream, field) && pb_encode_string(stream, (const pb_byte_t *)body->ptr, body->len);
}

int envelope_write(const murmesh_Envelope *envelope, struct str body, struct buf *out)
{
	murmesh_Envelope copy = *envelope;
	uint8_t *room;
	if (body.len > ENVELOPE_BODY_MAX)
		return -E_TOO_LONG;
	if (!envelope_valid(envelope))
		return -E_MESSAGE;
	int err = buf_reserve(out, HEAD_MAX + body.len, &room);
	if (err < 0)
		return err;
	copy.body.funcs.encode = body.len ? body_write : NULL;
	copy.body.arg = &body;
	pb_ostream_t stream = pb_ostream_from_buffer(room, HEAD_MAX + body.len);
	if (!pb_encode(&stream, murmesh_Envelope_fields, &copy))
		return -E_MESSAGE;
	buf_commit(out, stream.bytes_written);
	return 0;
}

int envelope_hop_append(struct buf *encoded, const struct id *hop)
{
	static const uint8_t head[] = { murmesh_Envelope_hops_tag << 3 | PB_WT_STRING, sizeof hop->bytes };
	int err = buf_append(encoded, head, sizeof head);
	return err < 0 ? err : buf_append(encoded, hop->bytes, sizeof hop->bytes);
}

bool envelope_passed(const murmesh_Envelope *envelope, const struct id *node)
{
	for (pb_size_t i = 0; i < envelope->hops_count; i++)
		if (memcmp(envelope->hops[i].bytes, node->bytes, sizeof node->bytes) == 0)
			return true;
	return false;
}

int64_t envelope_lifetime_ms(const murmesh_Envelope *envelope)
{
	return (int64_t)(envelope->lifetime_s ? envelope->lifetime_s : ENVELOPE_LIFETIME_S) * 1000;
}

/* ---- on a link ---- */

void envelope_stream_init(struct envelope_stream *stream)
{
	buf_init(&stream->bytes, 4 + ENVELOPE_MAX);
}

void envelope_stream_done(struct envelope_stream *stream)
{
	buf_done(&stream->bytes);
}

/* How long the first one is with its length; 0 = that is not known yet. */
static size_t first_len(struct str bytes)
{
	struct reader reader = { (const uint8_t *)bytes.ptr, bytes.len };
	uint32_t len;
	return reader_be32(&reader, &len) < 0 ? 0 : (size_t)4 + len;
}

int envelope_stream_take(struct envelope_stream *stream, struct str piece, int (*each)(void *ctx, struct str envelope), void *ctx)
{
	int err = 0;
	while (err >= 0 && piece.len) {
		size_t have = buf_len(&stream->bytes), want = first_len(have ? buf_str(&stream->bytes) : piece);
		if (want > 4 + ENVELOPE_MAX)
			return -E_TOO_LONG;
		if (!have && want && piece.len >= want) { /* all of it is here */
			err = each(ctx, (struct str){ piece.ptr + 4, want - 4 });
			piece = str_skip(piece, want);
			continue;
		}
		size_t most = want ? want - have : 4 - have, part = piece.len < most ? piece.len : most;
		err = buf_append(&stream->bytes, piece.ptr, part);
		piece = str_skip(piece, part);
		if (err == 0 && want && have + part == want) {
			err = each(ctx, str_skip(buf_str(&stream->bytes), 4));
			buf_clear(&stream->bytes);
			buf_trim(&stream->bytes);
		}
	}
	return err;
}
