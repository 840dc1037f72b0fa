#include "manage/terminal/scrollback.h"

#include "base/err.h"
#include "base/test.h"

#define SIZE SCROLLBACK_SIZE

static uint8_t letter(uint64_t number)
{
	return (uint8_t)('a' + number % 23);
}

/* Appends up to that many, in pieces. */
static void append_to(struct scrollback *said, uint64_t end, size_t piece)
{
	static uint8_t bytes[3 * SIZE];
	while (said->end < end) {
		size_t n = end - said->end < piece ? (size_t)(end - said->end) : piece;
		for (size_t i = 0; i < n; i++)
			bytes[i] = letter(said->end + i);
		scrollback_append(said, bytes, n);
	}
}

static void assert_keeps(const struct scrollback *said, uint64_t from, size_t piece)
{
	static uint8_t bytes[SIZE];
	for (size_t n; from < said->end; from += n) {
		n = scrollback_read(said, from, bytes, piece);
		assert_true(n > 0 && n <= piece);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(bytes[i], letter(from + i));
	}
	assert_int_equal(from, said->end);
	assert_int_equal(scrollback_read(said, from, bytes, piece), 0);
}

static void test_keeps_the_last(void **state)
{
	(void)state;
	static const size_t ends[] = { 0, 1, 100, SIZE - 1, SIZE, SIZE + 1, 2 * SIZE + 77, 5 * SIZE },
	                    pieces[] = { 1000, 16384, 3 * SIZE };
	for (size_t e = 0; e < sizeof ends / sizeof *ends; e++)
		for (size_t p = 0; p < sizeof pieces / sizeof *pieces; p++) {
			struct scrollback said;
			assert_int_equal(scrollback_init(&said), 0);
			append_to(&said, ends[e], pieces[p]);
			assert_int_equal(said.end, ends[e]);
			assert_int_equal(scrollback_begin(&said), ends[e] > SIZE ? ends[e] - SIZE : 0);
			assert_keeps(&said, scrollback_begin(&said), 16384);
			assert_keeps(&said, scrollback_begin(&said), SIZE);
			assert_keeps(&said, said.end, 1);
			scrollback_done(&said);
		}
}

/* Not in the middle of a line whose beginning is gone. */
static void test_begins_with_a_line(void **state)
{
	(void)state;
	struct scrollback said;
	assert_int_equal(scrollback_init(&said), 0);
	scrollback_append(&said, "a\nb\n", 4);
	assert_int_equal(scrollback_begin(&said), 0);
	append_to(&said, SIZE, 16384);
	assert_int_equal(scrollback_begin(&said), 0);
	append_to(&said, SIZE + 1, 16384); /* the first byte is gone */
	assert_int_equal(scrollback_begin(&said), 2);
	append_to(&said, SIZE + 2, 16384);
	assert_int_equal(scrollback_begin(&said), 4);
	append_to(&said, SIZE + 4, 16384);
	assert_int_equal(scrollback_begin(&said), 4);
	append_to(&said, 2 * SIZE, 16384);
	scrollback_append(&said, "\n", 1);
	assert_int_equal(scrollback_begin(&said), said.end);
	scrollback_done(&said);
	scrollback_done(&said);
}

static int make(void *ctx)
{
	struct scrollback said;
	(void)ctx;
	int err = scrollback_init(&said);
	scrollback_done(&said);
	return err;
}

static void test_faults(void **state)
{
	(void)state;
	assert_int_equal(test_each_fault(make, NULL), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keeps_the_last),
		cmocka_unit_test(test_begins_with_a_line),
		cmocka_unit_test(test_faults),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
