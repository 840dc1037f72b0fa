#include "h2/grpc.h"

#include "base/err.h"
#include "base/test.h"

#define MAX 1000

struct got {
	size_t n, lens[64];
	int answer;
	size_t answer_at; /* the message that is answered so */
	struct buf all;
};

static int on_message(void *ctx, struct str message)
{
	struct got *got = ctx;
	assert_true(got->n < 64);
	got->lens[got->n++] = message.len;
	assert_int_equal(buf_append_str(&got->all, message), 0);
	return got->answer && got->n == got->answer_at ? got->answer : 0;
}

static void put(struct buf *out, struct str message)
{
	uint8_t prefix[GRPC_PREFIX];
	grpc_prefix_write(prefix, message.len);
	assert_int_equal(buf_append(out, prefix, sizeof prefix), 0);
	assert_int_equal(buf_append_str(out, message), 0);
}

static void got_init(struct got *got)
{
	*got = (struct got){ 0 };
	buf_init(&got->all, 1 << 20);
}

/* Three messages, one of them empty, cut once at every byte and cut into pieces of every size. */
static void test_cut(void **state)
{
	(void)state;
	struct buf wire;
	char longest[MAX];
	memset(longest, 'x', sizeof longest);
	buf_init(&wire, 4096);
	put(&wire, STR("first"));
	put(&wire, STR(""));
	put(&wire, (struct str){ longest, MAX });
	for (size_t step = 1; step <= buf_len(&wire); step++)
		for (int once = 0; once < 2; once++) {
			struct grpc_reader reader;
			struct got got;
			got_init(&got);
			grpc_reader_init(&reader, MAX);
			for (size_t at = 0; at < buf_len(&wire);) {
				size_t len = buf_len(&wire) - at;
				if (len > step && !(once && at))
					len = step;
				assert_int_equal(grpc_reader_feed(&reader, buf_head(&wire) + at, len, on_message, &got), 0);
				at += len;
			}
			assert_int_equal(got.n, 3);
			assert_int_equal(got.lens[0], 5);
			assert_int_equal(got.lens[1], 0);
			assert_int_equal(got.lens[2], MAX);
			assert_memory_equal(buf_head(&got.all), "firstxxx", 8);
			assert_null(reader.partial.data); /* nothing is kept between messages */
			grpc_reader_done(&reader);
			buf_done(&got.all);
		}
	buf_done(&wire);
}

static void test_many_at_once(void **state)
{
	(void)state;
	struct grpc_reader reader;
	struct got got;
	struct buf wire;
	got_init(&got);
	buf_init(&wire, 65536);
	grpc_reader_init(&reader, MAX);
	for (int i = 0; i < 50; i++)
		put(&wire, (struct str){ "0123456789012345678901234567890123456789012345678901", (size_t)i });
	assert_int_equal(grpc_reader_feed(&reader, buf_head(&wire), buf_len(&wire), on_message, &got), 0);
	assert_int_equal(got.n, 50);
	for (size_t i = 0; i < 50; i++)
		assert_int_equal(got.lens[i], i);
	assert_null(reader.partial.data);
	assert_int_equal(grpc_reader_feed(&reader, NULL, 0, on_message, &got), 0);
	grpc_reader_done(&reader);
	buf_done(&got.all);
	buf_done(&wire);
}

/* What a peer announces is refused before anything is kept for it, however its prefix is cut. */
static void test_refused(void **state)
{
	(void)state;
	static const struct {
		const char *bytes;
		size_t len;
		int err;
	} rows[] = {
		{ "\0\0\0\x03\xe9", 5, -E_TOO_LONG },  { "\0\xff\xff\xff\xff", 5, -E_TOO_LONG },
		{ "\1\0\0\0\1x", 6, -E_UNSUPPORTED },  { "\1", 1, -E_UNSUPPORTED },
		{ "\x80\0\0\0\0", 5, -E_UNSUPPORTED }, { "\0\0\0\0\1a\1\0\0\0\0", 11, -E_UNSUPPORTED },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		for (size_t cut = 0; cut < rows[i].len; cut++) {
			struct grpc_reader reader;
			struct got got;
			got_init(&got);
			grpc_reader_init(&reader, MAX);
			const uint8_t *bytes = (const uint8_t *)rows[i].bytes;
			int err = grpc_reader_feed(&reader, bytes, cut, on_message, &got);
			if (err == 0)
				err = grpc_reader_feed(&reader, bytes + cut, rows[i].len - cut, on_message, &got);
			assert_int_equal(err, rows[i].err);
			assert_true(reader.partial.capacity <= 256);
			grpc_reader_done(&reader);
			buf_done(&got.all);
		}
}

static void test_stops(void **state)
{
	(void)state;
	for (size_t cut = 1; cut < 12; cut++) {
		struct grpc_reader reader;
		struct got got;
		struct buf wire;
		got_init(&got);
		buf_init(&wire, 1000);
		grpc_reader_init(&reader, MAX);
		for (int i = 0; i < 3; i++)
			put(&wire, STR("a"));
		got.answer = -E_DENIED;
		got.answer_at = 2;
		int err = grpc_reader_feed(&reader, buf_head(&wire), cut, on_message, &got);
		if (err == 0)
			err = grpc_reader_feed(&reader, buf_head(&wire) + cut, buf_len(&wire) - cut, on_message, &got);
		assert_int_equal(err, -E_DENIED);
		assert_int_equal(got.n, 2);
		grpc_reader_done(&reader);
		buf_done(&got.all);
		buf_done(&wire);
	}
}

static int read_in_two(void *ctx)
{
	struct grpc_reader reader;
	struct got *got = ctx;
	grpc_reader_init(&reader, MAX);
	got->n = 0;
	buf_clear(&got->all);
	int err = grpc_reader_feed(&reader, (const uint8_t *)"\0\0\0\0\5he", 7, on_message, got);
	if (err == 0)
		err = grpc_reader_feed(&reader, (const uint8_t *)"llo", 3, on_message, got);
	grpc_reader_done(&reader);
	return err;
}

static void test_faults(void **state)
{
	(void)state;
	struct got got;
	uint8_t *room;
	got_init(&got);
	assert_int_equal(buf_reserve(&got.all, 100, &room), 0);
	assert_int_equal(test_each_fault(read_in_two, &got), 1);
	buf_done(&got.all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cut),   cmocka_unit_test(test_many_at_once), cmocka_unit_test(test_refused),
		cmocka_unit_test(test_stops), cmocka_unit_test(test_faults),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
