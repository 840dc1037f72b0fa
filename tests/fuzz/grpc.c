/* gRPC's message framing: the first byte says how the rest is cut. */
#include <assert.h>

#include "base/err.h"
#include "h2/grpc.h"

#define MAX 1000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int on_message(void *ctx, struct str message)
{
	size_t *n = ctx;
	assert(message.len <= MAX);
	*n += message.len;
	for (size_t i = 0; i < message.len; i++)
		if (message.ptr[i] == 'E')
			return -E_DENIED;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct grpc_reader reader;
	size_t got = 0, step = size ? data[0] + 1u : 1;
	grpc_reader_init(&reader, MAX);
	for (size_t at = 1; at < size; at += step) {
		size_t len = size - at < step ? size - at : step;
		if (grpc_reader_feed(&reader, data + at, len, on_message, &got) < 0)
			break;
	}
	assert(got <= size);
	grpc_reader_done(&reader);
	return 0;
}
