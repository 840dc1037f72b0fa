/* orb/test_giop.h: objects for tests of a GIOP connection, and messages as a client makes them. */
#ifndef ORB_TEST_GIOP_H
#define ORB_TEST_GIOP_H
#include "orb/giop.h"

/* Router: echo(string) -> string; later(): answered by test_later(); refuse(): an exception of its own; large(u32 n): n bytes; _get_version.
 * Open: echo() for anyone, all of Router needs TEST_ACCESS. */
#define TEST_ACCESS 1
extern const struct giop_object test_objects[2];

struct test_giop {
	struct giop *giop;
	struct giop_request *later[GIOP_OUTSTANDING + 1];
	size_t n_later;
	unsigned n_echo, n_woken;
};
/* NULL: memory is short. */
struct giop *test_giop_begin(struct test_giop *test, unsigned access, size_t message_max);
void test_later(struct test_giop *test, size_t i, const char *answer); /* NULL: an exception */
void test_giop_end(struct test_giop *test);

struct test_message {
	unsigned minor, type;
	bool little, more, oneway;
	uint8_t padding;                /* what stands where nobody looks */
	uint32_t id, contexts, context; /* how many, and of what kind: 0 = 1 */
	const char *key, *operation;    /* of requests */
	struct str body;                /* of requests behind the header, of others all */
	uint16_t disposition;
};
void test_message_put(struct buf *out, const struct test_message *message);
#endif
