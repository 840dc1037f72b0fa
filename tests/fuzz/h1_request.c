/* Any bytes: the parser keeps to them, and what it takes is what the writers would have written. */
#include <errno.h>

#include "base/buf.h"
#include "h1/h1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
	if (!condition)
		abort();
}

static void write_again(const struct h1_request *request, size_t head_len)
{
	struct h1_request again;
	struct buf out;
	size_t len;
	buf_init(&out, 2 * H1_HEAD_MAX);
	if (request->form == H1_TARGET_AUTHORITY)
		require(h1_write_connect(&out, request->host, request->port) == 0);
	else
		require(h1_write_request(&out, request->method, request->target) == 0);
	for (size_t i = 0; i < request->fields.count; i++)
		if (request->form != H1_TARGET_AUTHORITY || !str_equal_nocase(request->fields.at[i].name, STR("Host")))
			require(h1_write_field(&out, request->fields.at[i].name, request->fields.at[i].value) == 0);
	require(h1_write_end(&out) == 0);
	/* Blanks and the Host of a CONNECT may have made it longer. */
	if (buf_len(&out) <= head_len) {
		require(h1_request_parse(buf_str(&out), &again, &len) == 0 && len == buf_len(&out));
		require(str_equal(again.method, request->method) && str_equal(again.target, request->target));
		require(again.fields.count == request->fields.count && again.port == request->port);
	}
	buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str bytes = { (const char *)data, size };
	struct h1_request request, shorter;
	size_t len, shorter_len;
	int err = h1_request_parse(bytes, &request, &len);
	if (err == 0) {
		require(len <= size && len <= H1_HEAD_MAX);
		require(h1_request_parse((struct str){ bytes.ptr, len - 1 }, &shorter, &shorter_len) == -EAGAIN);
		write_again(&request, len);
	} else if (err == -EAGAIN) {
		require(size < H1_HEAD_MAX);
	}
	return 0;
}
