/* A GIOP connection: any bytes, in pieces; the first byte says how long these are and whether the peer has a certificate.  What goes out is always
 * whole messages. */
#include <assert.h>
#include <string.h>

#include "base/err.h"
#include "orb/test_giop.h"

static void output_check(struct giop *giop)
{
	struct buf *out = giop_output(giop);
	while (buf_len(out)) {
		assert(buf_len(out) >= GIOP_HEADER && memcmp(buf_head(out), "GIOP\1", 5) == 0);
		struct cdr_reader r = cdr_reader(buf_head(out), buf_len(out), buf_head(out)[6]);
		r.at = 8;
		size_t len = GIOP_HEADER + cdr_u32(&r);
		assert(len <= buf_len(out));
		buf_consume(out, len);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct test_giop test;
	if (size == 0 || !test_giop_begin(&test, data[0] & 1, 4096))
		return 0;
	size_t piece = data[0] / 2 + 1;
	int err = 0;
	for (size_t at = 1; at < size && err == 0; at += piece) {
		err = giop_feed(test.giop, data + at, size - at < piece ? size - at : piece);
		output_check(test.giop);
		assert(giop_outstanding(test.giop) <= GIOP_OUTSTANDING);
		assert(err == giop_error(test.giop));
		while (test.n_later && data[0] & 4)
			test_later(&test, --test.n_later, "later");
		output_check(test.giop);
	}
	test_giop_end(&test);
	return 0;
}
