/* JSON in and out, by tables. */
#include "web/json.h"

#include <pb.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/test.h"

struct inner {
	char text[8];
};
struct message {
	uint8_t first[4]; /* offset 0 means "none" for marks */
	char name[8], lines[32];
	bool flag, has_flag, has_inner;
	uint32_t u32;
	uint64_t u64;
	int64_t i64;
	int32_t i32;
	float real;
	uint8_t id[16];
	PB_BYTES_ARRAY_T(16) bytes;
	PB_BYTES_ARRAY_T(6) hardware;
	pb_size_t words_count;
	char words[2][6];
	struct inner inner;
};
static const struct field inner_fields[] = { FIELD("text", FIELD_TEXT, struct inner, text) };
static const struct schema inner_schema = SCHEMA("Inner", inner_fields);
static const struct field fields[] = {
	FIELD("name", FIELD_TEXT, struct message, name),
	FIELD("kind", FIELD_TEXT, struct message, lines, .optional = true, .choices = "one two"),
	FIELD("flag", FIELD_FLAG, struct message, flag, .optional = true, .mark = offsetof(struct message, has_flag)),
	FIELD("u32", FIELD_U32, struct message, u32, .optional = true),
	FIELD("u64", FIELD_U64, struct message, u64, .optional = true),
	FIELD("i64", FIELD_I64, struct message, i64, .optional = true),
	FIELD("id", FIELD_ID, struct message, id, .optional = true),
	FIELD("bytes", FIELD_BYTES_ID, struct message, bytes, .optional = true),
	FIELD_LIST("words", FIELD_TEXT, struct message, words, .optional = true),
	FIELD("inner", FIELD_OBJECT, struct message, inner, .optional = true, .schema = &inner_schema,
	      .mark = offsetof(struct message, has_inner)),
};
static const struct schema schema = SCHEMA("Message", fields);
static const struct field all_fields[] = {
	FIELD("name", FIELD_TEXT, struct message, name),
	FIELD("lines", FIELD_LINES, struct message, lines),
	FIELD("flag", FIELD_FLAG, struct message, flag),
	FIELD("u32", FIELD_U32, struct message, u32),
	FIELD("u64", FIELD_U64, struct message, u64),
	FIELD("i64", FIELD_I64, struct message, i64),
	FIELD("i32", FIELD_I32, struct message, i32),
	FIELD("real", FIELD_FLOAT, struct message, real),
	FIELD("id", FIELD_ID, struct message, id),
	FIELD("bytes", FIELD_BYTES_ID, struct message, bytes),
	FIELD("hardware", FIELD_HARDWARE, struct message, hardware),
	FIELD_LIST("words", FIELD_TEXT, struct message, words),
	FIELD("inner", FIELD_OBJECT, struct message, inner, .schema = &inner_schema, .mark = offsetof(struct message, has_inner)),
	FIELD("always", FIELD_OBJECT, struct message, inner, .schema = &inner_schema),
};
static const struct schema all = SCHEMA("All", all_fields);

static int decode(const char *text, struct message *ret, char why[JSON_WHY_SIZE])
{
	json_t *json = NULL;
	*ret = (struct message){ 0 };
	why[0] = 0;
	int err = json_read(str_from(text), &json, why);
	if (err == 0)
		err = schema_decode(&schema, json, ret, why);
	json_decref(json);
	return err;
}

static void test_good(void **state)
{
	struct message m;
	char why[JSON_WHY_SIZE];
	(void)state;
	assert_int_equal(
	        decode("{\"name\":\"a\xc3\xa4\",\"kind\":\"two\",\"flag\":false,\"u32\":4294967295,\"u64\":9223372036854775807,"
	               "\"i64\":-5,\"id\":\"000102030405060708090a0b0c0d0e0f\","
	               "\"bytes\":\"ff0102030405060708090a0b0c0d0e0f\",\"words\":[\"x\",\"yy\"],\"inner\":{\"text\":\"in\"}}",
	               &m, why),
	        0);
	assert_string_equal(m.name, "a\xc3\xa4");
	assert_string_equal(m.lines, "two");
	assert_true(m.has_flag);
	assert_false(m.flag);
	assert_int_equal(m.u32, UINT32_MAX);
	assert_int_equal(m.u64, INT64_MAX);
	assert_int_equal(m.i64, -5);
	assert_int_equal(m.id[15], 15);
	assert_int_equal(m.bytes.size, 16);
	assert_int_equal(m.bytes.bytes[0], 255);
	assert_int_equal(m.words_count, 2);
	assert_string_equal(m.words[1], "yy");
	assert_true(m.has_inner);
	assert_string_equal(m.inner.text, "in");
	assert_int_equal(decode("{\"name\":\"b\"}", &m, why), 0);
	assert_false(m.has_flag);
	assert_int_equal(m.bytes.size, 0);
}

static void test_bad(void **state)
{
	static const char *const texts[] = {
		"", /* an empty object, without its name */
		"[]",
		"1",
		"null",
		"{",
		"{\"name\":\"a\"} x",
		"{\"name\":\"a\",\"name\":\"b\"}",
		"{\"name\":\"a\",\"other\":1}",
		"{\"name\":\"a\",\"\xe2\x80\xae\":1}", /* a name that would turn the line around */
		"{\"name\":\"12345678\"}",             /* one byte too many */
		"{\"name\":1}",
		"{\"name\":null}",
		"{\"name\":\"a\\u0000b\"}",
		"{\"name\":\"\xff\"}",         /* no UTF-8 */
		"{\"name\":\"\xc0\xaf\"}",     /* overlong */
		"{\"name\":\"\xed\xa0\x80\"}", /* a surrogate */
		"{\"name\":\"a\",\"kind\":\"three\"}",
		"{\"name\":\"a\",\"kind\":\"\"}",
		"{\"name\":\"a\",\"flag\":1}",
		"{\"name\":\"a\",\"u32\":4294967296}",
		"{\"name\":\"a\",\"u32\":-1}",
		"{\"name\":\"a\",\"u32\":1.0}",
		"{\"name\":\"a\",\"u32\":\"1\"}",
		"{\"name\":\"a\",\"u64\":-1}",
		"{\"name\":\"a\",\"u64\":9223372036854775808}",
		"{\"name\":\"a\",\"i64\":true}",
		"{\"name\":\"a\",\"id\":\"0\"}",
		"{\"name\":\"a\",\"id\":\"000102030405060708090A0B0C0D0E0F\"}",
		"{\"name\":\"a\",\"id\":5}",
		"{\"name\":\"a\",\"bytes\":\"\"}",
		"{\"name\":\"a\",\"words\":\"x\"}",
		"{\"name\":\"a\",\"words\":[\"x\",\"y\",\"z\"]}",
		"{\"name\":\"a\",\"words\":[\"123456\"]}",
		"{\"name\":\"a\",\"words\":[1]}",
		"{\"name\":\"a\",\"inner\":1}",
		"{\"name\":\"a\",\"inner\":[]}",
		"{\"name\":\"a\",\"inner\":{}}",
		"{\"name\":\"a\",\"inner\":{\"text\":1}}",
		"{\"name\":\"a\",\"inner\":{\"text\":\"x\",\"other\":1}}",
	};
	struct message m;
	char why[JSON_WHY_SIZE];
	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		int err = decode(texts[i], &m, why);
		if (err != -E_JSON || !why[0])
			fail_msg("%s gave %d, \"%s\"", texts[i], err, why);
	}
	decode("{\"name\":\"a\",\"secretword\":tru", &m, why);
	assert_null(strstr(why, "secret"));
}

static void test_depth(void **state)
{
	char text[200];
	json_t *json = NULL;
	char why[JSON_WHY_SIZE];
	(void)state;
	snprintf(text, sizeof text, "{\"a\":%s%s}", "[[[[[[[", "]]]]]]]");
	assert_int_equal(json_read(str_from(text), &json, why), 0);
	json_decref(json);
	snprintf(text, sizeof text, "{\"a\":%s%s}", "[[[[[[[[", "]]]]]]]]");
	assert_int_equal(json_read(str_from(text), &json, why), -E_JSON);
	/* Brackets in texts do not count, whatever stands around them. */
	assert_int_equal(json_read(STR("{\"a\":\"[[[[[[[[[[{{{\\\"[[[[[[[\\\\\",\"b\":[1]}"), &json, why), 0);
	json_decref(json);
	char *bomb = malloc(60000);
	memset(bomb, '[', 60000);
	assert_int_equal(json_read((struct str){ bomb, 60000 }, &json, why), -E_JSON);
	memset(bomb, ']', 60000);
	assert_int_equal(json_read((struct str){ bomb, 60000 }, &json, why), -E_JSON);
	free(bomb);
}

static void check_encoded(const struct message *message, const char *expected)
{
	struct buf text;
	buf_init(&text, 4096);
	json_t *json = schema_encode(&all, message);
	assert_non_null(json);
	assert_int_equal(json_write(json, &text), 0);
	assert_int_equal(buf_append_u8(&text, 0), 0);
	assert_string_equal((const char *)buf_head(&text), expected);
	json_decref(json);
	buf_done(&text);
}

static void test_encode(void **state)
{
	struct message m = { .name = "a\"\x1b[1",
		             .lines = "x\n\ty\r\x01",
		             .flag = true,
		             .u32 = UINT32_MAX,
		             .u64 = UINT64_MAX,
		             .i64 = INT64_MIN,
		             .i32 = -1,
		             .real = 0.5f,
		             .id = { 1 },
		             .words_count = 2,
		             .words = { "\xff", "b" },
		             .inner = { "in" } };
	(void)state;
	check_encoded(&m, "{\"name\":\"a\\\"\xef\xbf\xbd[1\",\"lines\":\"x\\n\\ty\xef\xbf\xbd\xef\xbf\xbd\",\"flag\":true,"
	                  "\"u32\":4294967295,\"u64\":9223372036854775807,\"i64\":-9223372036854775808,\"i32\":-1,\"real\":0.5,"
	                  "\"id\":\"01000000000000000000000000000000\",\"bytes\":null,\"hardware\":\"\","
	                  "\"words\":[\"\xef\xbf\xbd\",\"b\"],\"inner\":null,\"always\":{\"text\":\"in\"}}");
	m = (struct message){ .has_inner = true, .real = 1.0f / 0.0f };
	m.bytes.size = 16;
	m.bytes.bytes[15] = 9;
	m.hardware.size = 6;
	memcpy(m.hardware.bytes, "\x00\x11\x22\xaa\xbb\xff", 6);
	check_encoded(&m, "{\"name\":\"\",\"lines\":\"\",\"flag\":false,\"u32\":0,\"u64\":0,\"i64\":0,\"i32\":0,\"real\":0.0,"
	                  "\"id\":\"00000000000000000000000000000000\",\"bytes\":\"00000000000000000000000000000009\","
	                  "\"hardware\":\"00:11:22:aa:bb:ff\",\"words\":[],\"inner\":{\"text\":\"\"},\"always\":{\"text\":\"\"}}");
}

static void free_memory(void *ptr)
{
	mem_free(ptr);
}

/* Each allocation fails once: jansson's too. */
static int encode_once(void *ctx)
{
	struct buf text;
	buf_init(&text, 4096);
	json_t *json = schema_encode(&all, ctx);
	int err = json ? json_write(json, &text) : -E_NO_MEMORY;
	assert_true(err == 0 || buf_len(&text) == 0);
	json_decref(json);
	buf_done(&text);
	return err;
}

static int decode_once(void *ctx)
{
	char why[JSON_WHY_SIZE];
	return decode("{\"name\":\"a\",\"words\":[\"x\"]}", ctx, why);
}

static void test_memory(void **state)
{
	struct message m = { .name = "a", .words_count = 1, .has_inner = true };
	(void)state;
	json_set_alloc_funcs(mem_alloc, free_memory);
	assert_true(test_each_fault(encode_once, &m) > 10);
	assert_true(test_each_fault(decode_once, &m) > 5);
	json_set_alloc_funcs(malloc, free);
	struct buf small;
	buf_init(&small, 3);
	json_t *text = json_string("long");
	assert_int_equal(buf_append_u8(&small, 'x'), 0);
	assert_true(json_write(text, &small) < 0);
	assert_int_equal(buf_len(&small), 1);
	json_decref(text);
	buf_done(&small);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_good), cmocka_unit_test(test_bad), cmocka_unit_test(test_depth),
		                            cmocka_unit_test(test_encode), cmocka_unit_test(test_memory) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
