#include "priv/control.h"

#include "base/buf.h"
#include "base/err.h"

static int append_field(struct buf *out, struct str field)
{
	int err = buf_append_be16(out, (uint16_t)field.len);
	return err < 0 ? err : buf_append_str(out, field);
}

int control_start_encode(const struct control_start *start, struct buf *out)
{
	if (start->directory.len > CONTROL_DIRECTORY_MAX || start->root.len > CONTROL_DIRECTORY_MAX)
		return -E_TOO_LONG;
	int err = buf_append_u8(out, start->forbidden_call);
	if (err == 0)
		err = buf_append_be32(out, start->uid);
	if (err == 0)
		err = buf_append_be32(out, start->monitor);
	if (err == 0)
		err = append_field(out, start->directory);
	if (err == 0)
		err = append_field(out, start->root);
	return err < 0 ? err : buf_append_str(out, start->configuration);
}

static int read_field(struct reader *r, struct str *ret)
{
	uint16_t len;
	const uint8_t *bytes;
	if (reader_be16(r, &len) < 0 || reader_bytes(r, len, &bytes) < 0)
		return -E_MESSAGE;
	*ret = (struct str){ (const char *)bytes, len };
	return 0;
}

int control_start_decode(struct str payload, struct control_start *ret)
{
	struct reader r = { (const uint8_t *)payload.ptr, payload.len };
	uint8_t forbidden_call;
	struct control_start start;
	if (reader_u8(&r, &forbidden_call) < 0 || reader_be32(&r, &start.uid) < 0 || reader_be32(&r, &start.monitor) < 0 ||
	    read_field(&r, &start.directory) < 0 || read_field(&r, &start.root) < 0)
		return -E_MESSAGE;
	start.forbidden_call = forbidden_call;
	start.configuration = (struct str){ (const char *)r.ptr, r.len };
	*ret = start;
	return 0;
}

int control_encode(enum control_kind kind, struct str payload, struct buf *out)
{
	int err = buf_append_u8(out, (uint8_t)kind);
	return err < 0 ? err : buf_append_str(out, payload);
}
