/* A GIOP connection: any sequence of messages that are well made but for what the input changes.  Four bytes make one: what it is, its id, its
 * body, and a byte to overwrite (0 = none). */
#include <assert.h>

#include "orb/test_giop.h"

static const char *const names[] = { "echo", "later", "refuse", "_is_a", "_non_existent", "_get_version", "large", "nothing" };
static const char *const keys[] = { "Router", "Open", "Nothing", "" };

static void message_make(struct buf *out, const uint8_t *bytes)
{
	static const char body[] = "\6\0\0\0hello\0\0\0\0\0\0\6hello\0";
	const struct test_message message = { .minor = bytes[0] & 8 ? 0 : 2,
		                              .type = bytes[0] & 7,
		                              .little = bytes[0] & 16,
		                              .more = bytes[0] & 32,
		                              .oneway = bytes[0] & 64,
		                              .padding = bytes[0],
		                              .id = bytes[1] / 16u * 2 + (bytes[1] & 1),
		                              .contexts = bytes[1] >> 1 & 1,
		                              .key = keys[bytes[1] >> 2 & 3],
		                              .operation = names[bytes[2] & 7],
		                              .body = { body + (bytes[2] & 8), bytes[2] / 16u } };
	test_message_put(out, &message);
	if (bytes[3])
		out->data[out->start + bytes[3] % buf_len(out)] ^= bytes[3];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct test_giop test;
	struct buf message;
	int err = 0;
	if (!test_giop_begin(&test, TEST_ACCESS, 4096))
		return 0;
	buf_init(&message, 4096);
	for (size_t at = 0; at + 4 <= size && err == 0; at += 4) {
		message_make(&message, data + at);
		err = giop_feed(test.giop, buf_head(&message), buf_len(&message));
		buf_clear(&message);
		buf_clear(giop_output(test.giop));
		while (test.n_later > 8)
			test_later(&test, --test.n_later, at % 3 ? "later" : NULL);
		assert(giop_outstanding(test.giop) == test.n_later || err < 0);
	}
	buf_done(&message);
	test_giop_end(&test);
	return 0;
}
