/* An envelope as a link brings it, and a link's bytes cut into pieces: what is taken is inside its bounds and can be written again. */
#include <assert.h>
#include <string.h>

#include "base/utf8.h"
#include "route/envelope.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int envelope_use(void *ctx, struct str bytes)
{
	static murmesh_Envelope envelope, again;
	struct str body, body_again;
	struct buf out;
	(void)ctx;
	if (envelope_read(bytes, &envelope, &body) < 0)
		return 0;
	assert(!body.len || (body.ptr >= bytes.ptr && body.ptr + body.len <= bytes.ptr + bytes.len));
	assert(utf8_valid(str_from(envelope.type)) && envelope.type[0]);
	buf_init(&out, ENVELOPE_MAX + 4096);
	if (envelope_write(&envelope, body, &out) == 0) {
		assert(envelope_read(buf_str(&out), &again, &body_again) == 0);
		assert(str_equal(body, body_again) && memcmp(again.id, envelope.id, sizeof again.id) == 0);
	} else
		assert(false);
	buf_done(&out);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct envelope_stream stream;
	struct str rest = { (const char *)data, size };
	envelope_use(NULL, rest);
	envelope_stream_init(&stream);
	for (size_t step = 1; rest.len; step = step * 3 % 257 + 1) {
		struct str piece = { rest.ptr, rest.len < step ? rest.len : step };
		if (envelope_stream_take(&stream, piece, envelope_use, NULL) < 0)
			break;
		rest = str_skip(rest, piece.len);
	}
	envelope_stream_done(&stream);
	return 0;
}
