#include "base/err.h"
#include "base/test.h"
#include "route/crc32c.h"
#include "route/segment.h"

enum { RECORDS = 5 };
static const uint32_t marker = 0xa1b2c3d4;

static void test_sum(void **state)
{
	(void)state;
	uint8_t bytes[32];
	assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
	assert_int_equal(crc32c(0, "", 0), 0);
	memset(bytes, 0, sizeof bytes); /* RFC 3720, B.4 */
	assert_int_equal(crc32c(0, bytes, sizeof bytes), 0x8a9136aa);
	memset(bytes, 0xff, sizeof bytes);
	assert_int_equal(crc32c(0, bytes, sizeof bytes), 0x62a8ab43);
	for (uint8_t i = 0; i < 32; i++)
		bytes[i] = i;
	assert_int_equal(crc32c(0, bytes, sizeof bytes), 0x46dd794e);
	for (size_t cut = 0; cut <= sizeof bytes; cut++)
		assert_int_equal(crc32c(crc32c(0, bytes, cut), bytes + cut, sizeof bytes - cut), 0x46dd794e);
}

/* The instruction of a processor that has one and the tables of all others make the same sums. */
static void test_sum_tables(void **state)
{
	(void)state;
	uint8_t bytes[80];
	for (uint8_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (uint8_t)(i * 37);
	for (size_t from = 0; from < 8; from++)
		for (size_t len = 0; len <= sizeof bytes - from; len++)
			assert_int_equal(crc32c_by_tables((uint32_t)len, bytes + from, len),
			                 crc32c((uint32_t)len, bytes + from, len));
}

/* Five records, whose payloads are "", "1", "22", ... and that look like records themselves inside. */
static void segment_make(struct buf *out, size_t starts[RECORDS + 1])
{
	static const char *const payloads[RECORDS] = { "", "one", "two two", "a longer one, of some length", "the last" };
	uint8_t header[SEGMENT_HEADER];
	buf_init(out, 10000);
	segment_header_write(9, marker, 77, header);
	assert_int_equal(buf_append(out, header, sizeof header), 0);
	for (size_t i = 0; i < RECORDS; i++) {
		starts[i] = buf_len(out);
		assert_int_equal(
		        segment_record_write(out, i % 2 ? RECORD_DONE : RECORD_PUT, 100 + i, STR("head "), str_from(payloads[i])),
		        0);
	}
	starts[RECORDS] = buf_len(out);
	segment_seal(out->data + out->start + SEGMENT_HEADER, buf_len(out) - SEGMENT_HEADER, marker);
}

static void test_written_and_read(void **state)
{
	(void)state;
	struct segment_reader reader;
	struct segment_record record;
	size_t starts[RECORDS + 1];
	struct buf bytes;
	segment_make(&bytes, starts);
	assert_int_equal(segment_read(buf_str(&bytes), &reader), 0);
	assert_int_equal(reader.number, 9);
	assert_int_equal(reader.marker, marker);
	assert_int_equal(reader.sequence, 77);
	assert_false(reader.header_damaged);
	for (size_t i = 0; i < RECORDS; i++) {
		assert_int_equal(segment_next(&reader, &record), SEGMENT_RECORD_FOUND);
		assert_int_equal(record.sequence, 100 + i);
		assert_int_equal(record.kind, i % 2 ? RECORD_DONE : RECORD_PUT);
		assert_true(str_starts(record.payload, STR("head ")));
		assert_int_equal(record.at, starts[i]);
		assert_int_equal(record.at + record.len, starts[i + 1]);
		struct str one = { (const char *)buf_head(&bytes) + starts[i], record.len };
		assert_true(segment_record_read(one, marker, &record));
		assert_false(segment_record_read(one, marker + 1, &record));
		one.len--;
		assert_false(segment_record_read(one, marker, &record));
	}
	assert_int_equal(segment_next(&reader, &record), SEGMENT_END);
	assert_int_equal(segment_next(&reader, &record), SEGMENT_END);
	buf_done(&bytes);
}

static void test_limits(void **state)
{
	(void)state;
	static char large[SEGMENT_PAYLOAD_MAX + 1];
	struct buf out;
	buf_init(&out, 100);
	assert_int_equal(segment_record_write(&out, RECORD_PUT, 1, STR("x"), (struct str){ large, SEGMENT_PAYLOAD_MAX }),
	                 -E_TOO_LONG);
	assert_int_equal(segment_record_write(&out, RECORD_PUT, 1, STR(""), (struct str){ large, 77 }), -E_TOO_LONG);
	assert_int_equal(segment_record_write(&out, RECORD_PUT, 1, STR(""), (struct str){ large, 76 }), 0);
	buf_done(&out);
}

/* Whatever bit flips: all others are read, and what is not is named. */
static void test_every_bit(void **state)
{
	(void)state;
	struct segment_record record;
	size_t starts[RECORDS + 1];
	struct buf bytes;
	segment_make(&bytes, starts);
	for (size_t bit = 0; bit < 8 * buf_len(&bytes); bit++) {
		struct segment_reader reader;
		size_t at = bit / 8, hit = 0, found = 0, damaged = 0;
		enum segment_found what;
		bytes.data[bytes.start + at] ^= (uint8_t)(1 << bit % 8);
		while (hit < RECORDS && starts[hit + 1] <= at)
			hit++;
		assert_int_equal(segment_read(buf_str(&bytes), &reader), 0);
		assert_int_equal(reader.header_damaged, at < SEGMENT_HEADER);
		assert_int_equal(reader.number, 9);
		while ((what = segment_next(&reader, &record)) != SEGMENT_END) {
			if (what == SEGMENT_RECORD_FOUND) {
				assert_true(record.at != starts[hit] || at < SEGMENT_HEADER);
				found++;
				continue;
			}
			damaged++;
			assert_int_equal(record.at, starts[hit]);
			assert_int_equal(record.len, starts[hit + 1] - starts[hit]);
			assert_int_equal(what, hit == RECORDS - 1 ? SEGMENT_TORN : SEGMENT_DAMAGED);
			assert_int_equal(record.sequence,
			                 at - starts[hit] < SEGMENT_RECORD ? 0 : 100 + hit); /* its header is whole */
		}
		assert_int_equal(found, at < SEGMENT_HEADER ? RECORDS : RECORDS - 1);
		assert_int_equal(damaged, at < SEGMENT_HEADER ? 0 : 1);
		bytes.data[bytes.start + at] ^= (uint8_t)(1 << bit % 8);
	}
	buf_done(&bytes);
}

static void test_every_length(void **state)
{
	(void)state;
	struct segment_record record;
	size_t starts[RECORDS + 1];
	struct buf bytes;
	segment_make(&bytes, starts);
	for (size_t len = 0; len < buf_len(&bytes); len++) {
		struct segment_reader reader;
		struct str cut = { (const char *)buf_head(&bytes), len };
		size_t whole = 0;
		if (len < SEGMENT_HEADER) {
			assert_int_equal(segment_read(cut, &reader), -E_CHECKSUM);
			continue;
		}
		assert_int_equal(segment_read(cut, &reader), 0);
		for (; starts[whole + 1] <= len; whole++) {
			assert_int_equal(segment_next(&reader, &record), SEGMENT_RECORD_FOUND);
			assert_int_equal(record.sequence, 100 + whole);
		}
		if (len > starts[whole]) {
			assert_int_equal(segment_next(&reader, &record), SEGMENT_TORN);
			assert_int_equal(record.at, starts[whole]);
			assert_int_equal(record.len, len - starts[whole]);
		}
		assert_int_equal(segment_next(&reader, &record), SEGMENT_END);
	}
	buf_done(&bytes);
}

static void test_no_header(void **state)
{
	(void)state;
	struct segment_reader reader;
	uint8_t header[SEGMENT_HEADER];
	segment_header_write(1, marker, 1, header);
	header[3] ^= 1;
	assert_int_equal(segment_read((struct str){ (char *)header, sizeof header }, &reader), 0);
	assert_true(reader.header_damaged);
	header[40] ^= 1;
	assert_int_equal(segment_read((struct str){ (char *)header, sizeof header }, &reader), -E_CHECKSUM);
}

/* What stands where a damaged record was is passed over. */
static void test_void(void **state)
{
	(void)state;
	struct segment_reader reader;
	struct segment_record record;
	uint8_t header[SEGMENT_HEADER];
	struct buf bytes;
	buf_init(&bytes, 10000);
	segment_header_write(1, marker, 1, header);
	assert_int_equal(buf_append(&bytes, header, sizeof header), 0);
	assert_int_equal(segment_record_write(&bytes, RECORD_VOID, 0, STR("garbage"), STR("")), 0);
	assert_int_equal(segment_record_write(&bytes, RECORD_NOTE, 0, STR("note"), STR("")), 0);
	segment_seal(bytes.data + bytes.start + SEGMENT_HEADER, buf_len(&bytes) - SEGMENT_HEADER, marker);
	bytes.data[bytes.start + SEGMENT_HEADER + SEGMENT_RECORD] ^= 1; /* its payload is not looked at */
	assert_int_equal(segment_read(buf_str(&bytes), &reader), 0);
	assert_int_equal(segment_next(&reader, &record), SEGMENT_RECORD_FOUND);
	assert_int_equal(record.kind, RECORD_NOTE);
	assert_int_equal(segment_next(&reader, &record), SEGMENT_END);
	buf_done(&bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sum),       cmocka_unit_test(test_sum_tables), cmocka_unit_test(test_written_and_read),
		cmocka_unit_test(test_limits),    cmocka_unit_test(test_every_bit),  cmocka_unit_test(test_every_length),
		cmocka_unit_test(test_no_header), cmocka_unit_test(test_void),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
