#include "route/envelope.h"

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

/* ---- reading: by hand, for every node on the way does it, and nanopb takes some ten times as long ---- */

struct field {
	uint64_t tag, number;
	struct str bytes;
};

static bool varint_read(struct reader *reader, uint64_t *ret)
{
	*ret = 0;
	for (unsigned shift = 0; shift < 64 && reader->len; shift += 7) {
		const uint8_t byte = *reader->ptr++;
		reader->len--;
		*ret |= (uint64_t)(byte & 127) << shift;
		if (byte < 128)
			return true;
	}
	return false;
}

/* False too where one that is known is of another wire type. */
static bool field_read(struct reader *reader, struct field *ret)
{
	static const uint8_t types[] = {
		[murmesh_Envelope_id_tag] = PB_WT_STRING,         [murmesh_Envelope_from_tag] = PB_WT_STRING,
		[murmesh_Envelope_node_tag] = PB_WT_STRING,       [murmesh_Envelope_group_tag] = PB_WT_STRING,
		[murmesh_Envelope_query_tag] = PB_WT_STRING,      [murmesh_Envelope_server_tag] = PB_WT_VARINT,
		[murmesh_Envelope_type_tag] = PB_WT_STRING,       [murmesh_Envelope_priority_tag] = PB_WT_VARINT,
		[murmesh_Envelope_lifetime_s_tag] = PB_WT_VARINT, [murmesh_Envelope_created_ms_tag] = PB_WT_VARINT,
		[murmesh_Envelope_key_tag] = PB_WT_STRING,        [murmesh_Envelope_hops_tag] = PB_WT_STRING,
		[murmesh_Envelope_body_tag] = PB_WT_STRING
	};
	uint64_t key, len = 0;
	const uint8_t *bytes;
	if (!varint_read(reader, &key))
		return false;
	*ret = (struct field){ .tag = key >> 3 };
	if (ret->tag == 0 || (ret->tag < sizeof types && types[ret->tag] != (key & 7)))
		return false;
	switch (key & 7) {
	case PB_WT_VARINT:
		return varint_read(reader, &ret->number);
	case PB_WT_64BIT:
		len = 8;
		break;
	case PB_WT_32BIT:
		len = 4;
		break;
	case PB_WT_STRING:
		if (!varint_read(reader, &len))
			return false;
		break;
	default:
		return false;
	}
	if (reader_bytes(reader, len, &bytes) < 0)
		return false;
	ret->bytes = (struct str){ (const char *)bytes, len };
	return true;
}

static bool id_take(struct str bytes, uint8_t out[16])
{
	if (bytes.len != 16)
		return false;
	memcpy(out, bytes.ptr, 16);
	return true;
}

static bool text_take(struct str text, char *out, size_t size)
{
	if (text.len >= size)
		return false;
	memcpy(out, text.ptr, text.len);
	out[text.len] = 0;
	return true;
}

static bool to_take(const struct field *field, murmesh_Envelope *envelope)
{
	envelope->which_to = (pb_size_t)field->tag;
	switch (field->tag) {
	case murmesh_Envelope_node_tag:
		return id_take(field->bytes, envelope->to.node);
	case murmesh_Envelope_group_tag:
		return text_take(field->bytes, envelope->to.group, sizeof envelope->to.group);
	case murmesh_Envelope_query_tag:
		return text_take(field->bytes, envelope->to.query, sizeof envelope->to.query);
	default:
		envelope->to.server = field->number != 0;
		return true;
	}
}

static bool hop_take(struct str hop, murmesh_Envelope *envelope)
{
	if (envelope->hops_count == ENVELOPE_HOPS_MAX)
		return false;
	envelope->hops[envelope->hops_count].size = sizeof(struct id);
	return id_take(hop, envelope->hops[envelope->hops_count++].bytes);
}

static bool number_take(const struct field *field, murmesh_Envelope *envelope)
{
	const uint64_t number = field->number;
	if (field->tag == murmesh_Envelope_created_ms_tag)
		envelope->created_ms = (int64_t)number;
	else if (field->tag == murmesh_Envelope_priority_tag && number <= _murmesh_Priority_MAX)
		envelope->priority = (murmesh_Priority)number;
	else if (field->tag == murmesh_Envelope_lifetime_s_tag && number <= ENVELOPE_LONGEST_S)
		envelope->lifetime_s = (uint32_t)number;
	else
		return false;
	return true;
}

static bool field_take(const struct field *field, murmesh_Envelope *envelope, struct str *body)
{
	switch (field->tag) {
	case murmesh_Envelope_id_tag:
		return id_take(field->bytes, envelope->id);
	case murmesh_Envelope_from_tag:
		envelope->from.size = (pb_size_t)field->bytes.len;
		return field->bytes.len == 0 || id_take(field->bytes, envelope->from.bytes);
	case murmesh_Envelope_node_tag:
	case murmesh_Envelope_group_tag:
	case murmesh_Envelope_query_tag:
	case murmesh_Envelope_server_tag:
		return to_take(field, envelope);
	case murmesh_Envelope_type_tag:
		return text_take(field->bytes, envelope->type, sizeof envelope->type);
	case murmesh_Envelope_priority_tag:
	case murmesh_Envelope_lifetime_s_tag:
	case murmesh_Envelope_created_ms_tag:
		return number_take(field, envelope);
	case murmesh_Envelope_key_tag:
		return text_take(field->bytes, envelope->key, sizeof envelope->key);
	case murmesh_Envelope_hops_tag:
		return hop_take(field->bytes, envelope);
	case murmesh_Envelope_body_tag:
		*body = field->bytes;
		return true;
	default:
		return true; /* of a newer version */
	}
}

int envelope_read(struct str bytes, murmesh_Envelope *ret, struct str *ret_body)
{
	struct reader reader = { (const uint8_t *)bytes.ptr, bytes.len };
	struct field field;
	struct str body = { 0 };
	if (bytes.len > ENVELOPE_MAX)
		return -E_TOO_LONG;
	*ret = (murmesh_Envelope){ 0 };
	while (reader.len)
		if (!field_read(&reader, &field) || !field_take(&field, ret, &body))
			return -E_MESSAGE;
	if (!envelope_valid(ret))
		return -E_MESSAGE;
	if (body.len > ENVELOPE_BODY_MAX)
		return -E_TOO_LONG;
	*ret_body = body;
	return 0;
}

/* ---- writing ---- */

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
