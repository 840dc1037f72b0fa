#include "orb/giop.h"

#include "base/test.h"

#include "base/encode.h"
#include "base/err.h"
#include "orb/ior.h"
#include "orb/test_giop.h"

/* What omniORB 4.2.5 sent for reaches() with an object of its own: code sets, the offer to be called back, and old memory between. */
#define STOCK_REQUEST                                                                                                              \
	"47494f5001020100fc00000004000000030000000000000006000000526f757465721c34080000007265616368657300"                         \
	"02000000010000000c000000010000000100010009010100050000001800000001000000010000000a0000003132372e"                         \
	"302e302e3100dfa71900000049444c3a6d75726d6573682f52656365697665723a312e30007e00000100000000000000"                         \
	"74000000010102000a0000003132372e302e302e3100000013000000ff626f7468fe56db026b01005d9e000000000000"                         \
	"0300000000000000080000000100000000545441010000001c0000000100000001000100010000000100010509010100"                         \
	"01000000090101001400000008000000010066006600dfa7"

#define HELLO_LITTLE "\6\0\0\0hello\0"
#define HELLO_BIG    "\0\0\0\6hello\0"

/* ---- one connection, and its answers ---- */

struct fixture {
	struct test_giop test;
	struct buf sent;
};

static struct fixture *begin_with(unsigned access, size_t message_max)
{
	static struct fixture f;
	buf_init(&f.sent, 4 << 20);
	assert_non_null(test_giop_begin(&f.test, access, message_max));
	return &f;
}

static struct fixture *begin(void)
{
	return begin_with(TEST_ACCESS, 0);
}

static void end(struct fixture *f)
{
	test_giop_end(&f->test);
	buf_done(&f->sent);
}

static void put(struct fixture *f, struct test_message message)
{
	test_message_put(&f->sent, &message);
}

static int send(struct fixture *f)
{
	int err = giop_feed(f->test.giop, buf_head(&f->sent), buf_len(&f->sent));
	buf_clear(&f->sent);
	return err;
}

struct answer {
	unsigned minor, type;
	uint32_t id, status;
	struct cdr_reader body;
	bool some;
};

/* The next message of the output, whose header is checked. */
static struct answer next(struct fixture *f)
{
	static uint8_t bytes[1 << 20];
	struct buf *out = giop_output(f->test.giop);
	struct answer answer = { .some = buf_len(out) > 0 };
	if (!answer.some)
		return answer;
	assert_true(buf_len(out) >= GIOP_HEADER);
	assert_memory_equal(buf_head(out), "GIOP\1", 5);
	answer.minor = buf_head(out)[5];
	answer.type = buf_head(out)[7];
	struct cdr_reader r = cdr_reader(buf_head(out), buf_len(out), buf_head(out)[6]);
	r.at = 8;
	size_t len = GIOP_HEADER + cdr_u32(&r);
	assert_true(len <= buf_len(out) && len <= sizeof bytes);
	memcpy(bytes, buf_head(out), len);
	buf_consume(out, len);
	r.bytes = bytes;
	r.len = len;
	if (answer.type == 1 && answer.minor == 0)
		assert_int_equal(cdr_u32(&r), 0);
	if (answer.type == 1 || answer.type == 4) {
		answer.id = cdr_u32(&r);
		answer.status = cdr_u32(&r);
	}
	if (answer.type == 1 && answer.minor == 2)
		assert_int_equal(cdr_u32(&r), 0);
	assert_false(r.bad);
	answer.body = r;
	return answer;
}

static void expect_text(struct answer answer, uint32_t id, const char *text)
{
	assert_true(answer.some);
	assert_int_equal(answer.type, 1);
	assert_int_equal(answer.id, id);
	assert_int_equal(answer.status, 0);
	struct str got = cdr_string(&answer.body);
	assert_false(answer.body.bad);
	assert_true(str_is(got, text));
	assert_int_equal(answer.body.at, answer.body.len);
}

static void expect_exception(struct answer answer, uint32_t id, const char *name)
{
	char type[64];
	assert_true(answer.some);
	assert_int_equal(answer.type, 1);
	assert_int_equal(answer.id, id);
	assert_int_equal(answer.status, 2);
	snprintf(type, sizeof type, "IDL:omg.org/CORBA/%s:1.0", name);
	assert_true(str_is(cdr_string(&answer.body), type));
	cdr_u32(&answer.body);
	assert_true(cdr_u32(&answer.body) > 0);
	assert_false(answer.body.bad);
}

static void expect_message_error(struct fixture *f)
{
	struct answer answer = next(f);
	assert_true(answer.some);
	assert_int_equal(answer.type, 6);
	assert_false(next(f).some);
}

static struct test_message request(uint32_t id, const char *operation, struct str body)
{
	return (struct test_message){
		.minor = 2, .little = true, .padding = 0xee, .id = id, .key = "Router", .operation = operation, .body = body
	};
}

static struct test_message echo(uint32_t id)
{
	return request(id, "echo", STR(HELLO_LITTLE));
}

/* ---- what stock clients do ---- */

static void test_echo_in_both_versions_and_orders(void **state)
{
	(void)state;
	struct fixture *f = begin();
	for (unsigned i = 0; i < 8; i++) {
		struct test_message message = echo(2 * i);
		message.minor = i & 1 ? 2 : 0;
		message.little = i & 2;
		message.body = i & 2 ? STR(HELLO_LITTLE) : STR(HELLO_BIG);
		message.contexts = i & 4 ? 1 : 0;
		put(f, message);
		assert_int_equal(send(f), 0);
		struct answer answer = next(f);
		assert_int_equal(answer.minor, message.minor);
		expect_text(answer, 2 * i, "hello");
	}
	assert_false(next(f).some);
	end(f);
}

/* A session of omniORB 4.2: LocateRequest, _is_a with the code sets, its stale bytes between. */
static void test_locate(void **state)
{
	(void)state;
	for (unsigned minor = 0; minor <= 2; minor += 2) {
		struct fixture *f = begin();
		struct test_message locate = { .minor = minor, .type = 3, .little = true, .id = 2, .key = "Router" };
		put(f, locate);
		locate.id = 4;
		locate.key = "Nothing";
		locate.little = false;
		put(f, locate);
		assert_int_equal(send(f), 0);
		struct answer here = next(f), unknown = next(f);
		assert_true(here.type == 4 && here.minor == minor && here.id == 2 && here.status == 1);
		assert_true(unknown.type == 4 && unknown.id == 4 && unknown.status == 0);
		end(f);
	}
}

static unsigned boolean(struct answer answer)
{
	assert_int_equal(answer.status, 0);
	unsigned value = cdr_u8(&answer.body);
	assert_false(answer.body.bad);
	assert_int_equal(answer.body.at, answer.body.len);
	return value;
}

static void test_implicit_operations(void **state)
{
	(void)state;
	struct fixture *f = begin();
	put(f, request(2, "_is_a", (struct str){ "\x17\0\0\0IDL:murmesh/Router:1.0", 4 + 23 }));
	put(f, request(4, "_is_a", (struct str){ "\x20\0\0\0IDL:omg.org/CORBA/Object:1.0\0\0\0\0", 4 + 29 + 3 }));
	put(f, request(6, "_is_a", (struct str){ "\4\0\0\0IDL", 8 }));
	put(f, request(8, "_non_existent", STR("")));
	put(f, request(10, "_get_version", STR("")));
	put(f, request(12, "_is_a", STR("")));
	struct test_message unknown = request(14, "_non_existent", STR(""));
	unknown.key = "Nothing";
	put(f, unknown);
	assert_int_equal(send(f), 0);
	assert_int_equal(boolean(next(f)), 1);
	expect_exception(next(f), 4, "MARSHAL"); /* its length counts what is behind its NUL */
	assert_int_equal(boolean(next(f)), 0);
	assert_int_equal(boolean(next(f)), 0);
	expect_text(next(f), 10, "0.1");
	expect_exception(next(f), 12, "MARSHAL");
	assert_int_equal(boolean(next(f)), 1);
	put(f, request(16, "_is_a", (struct str){ "\x1d\0\0\0IDL:omg.org/CORBA/Object:1.0", 4 + 29 }));
	assert_int_equal(send(f), 0);
	assert_int_equal(boolean(next(f)), 1);
	end(f);
}

static void test_exceptions_keep_the_connection(void **state)
{
	(void)state;
	static const char long_name[] = "a2345678901234567890123456789012345678901234567890123456789012345";
	struct fixture *f = begin();
	struct test_message other = echo(2);
	other.key = "Nothing";
	put(f, other);
	other.id = 4;
	other.key = long_name;
	put(f, other);
	put(f, request(6, "nothing", STR("")));
	put(f, request(8, long_name, STR("")));
	put(f, request(10, "echo", STR("\377\377\377\377hello\0")));
	put(f, request(12, "echo", STR("\0\0\0\0")));
	put(f, request(14, "echo", STR("\5\0\0\0hello")));
	put(f, request(16, "echo", STR("")));
	put(f, request(18, "refuse", STR("")));
	put(f, echo(20));
	assert_int_equal(send(f), 0);
	expect_exception(next(f), 2, "OBJECT_NOT_EXIST");
	expect_exception(next(f), 4, "OBJECT_NOT_EXIST");
	expect_exception(next(f), 6, "BAD_OPERATION");
	expect_exception(next(f), 8, "BAD_OPERATION");
	for (uint32_t id = 10; id <= 16; id += 2)
		expect_exception(next(f), id, "MARSHAL");
	struct answer refused = next(f);
	assert_int_equal(refused.status, 1);
	assert_true(str_is(cdr_string(&refused.body), "IDL:test/Refused:1.0"));
	assert_int_equal(cdr_u32(&refused.body), 1210);
	expect_text(next(f), 20, "hello");
	end(f);
}

static void test_access(void **state)
{
	(void)state;
	struct fixture *f = begin_with(0, 0);
	struct test_message open = echo(4);
	open.key = "Open";
	put(f, echo(2));
	put(f, open);
	put(f, request(6, "_get_version", STR("")));
	put(f, request(8, "_is_a", (struct str){ "\4\0\0\0IDL", 8 }));
	assert_int_equal(send(f), 0);
	expect_exception(next(f), 2, "NO_PERMISSION");
	expect_text(next(f), 4, "hello");
	expect_exception(next(f), 6, "NO_PERMISSION");
	expect_exception(next(f), 8, "NO_PERMISSION");
	assert_int_equal(f->test.n_echo, 1);
	end(f);
}

static void test_other_ways_to_address(void **state)
{
	(void)state;
	struct fixture *f = begin();
	struct test_message message = echo(2);
	message.disposition = 1;
	put(f, message);
	message.type = 3;
	message.id = 4;
	message.disposition = 2;
	put(f, message);
	assert_int_equal(send(f), 0);
	for (int i = 0; i < 2; i++) {
		struct answer answer = next(f);
		assert_int_equal(answer.status, 5);
		assert_int_equal(cdr_u16(&answer.body), 0); /* by its key */
		assert_false(answer.body.bad);
	}
	assert_int_equal(f->test.n_echo, 0);
	message = echo(6);
	message.disposition = 3;
	put(f, message);
	assert_int_equal(send(f), -E_PROTOCOL);
	expect_message_error(f);
	end(f);
}

static void test_oneway(void **state)
{
	(void)state;
	struct fixture *f = begin();
	for (unsigned minor = 0; minor <= 2; minor += 2) {
		struct test_message message = echo(2);
		message.minor = minor;
		message.oneway = true;
		put(f, message);
		message.operation = "nothing";
		put(f, message);
	}
	assert_int_equal(send(f), 0);
	assert_int_equal(f->test.n_echo, 2);
	assert_false(next(f).some);
	assert_int_equal(giop_outstanding(f->test.giop), 0);
	end(f);
}

/* ---- answers that come later ---- */

static void test_later_in_another_order(void **state)
{
	(void)state;
	struct fixture *f = begin();
	put(f, request(2, "later", STR("")));
	put(f, request(4, "later", STR("")));
	put(f, echo(6));
	assert_int_equal(send(f), 0);
	expect_text(next(f), 6, "hello");
	assert_int_equal(giop_outstanding(f->test.giop), 2);
	assert_int_equal(f->test.n_woken, 0);
	test_later(&f->test, 1, "second");
	test_later(&f->test, 0, NULL);
	assert_int_equal(f->test.n_woken, 2);
	expect_text(next(f), 4, "second");
	expect_exception(next(f), 2, "INTERNAL");
	assert_int_equal(giop_outstanding(f->test.giop), 0);
	end(f);
}

static void test_cancel(void **state)
{
	(void)state;
	struct fixture *f = begin();
	put(f, request(2, "later", STR("")));
	put(f, request(4, "later", STR("")));
	put(f, (struct test_message){ .minor = 2, .type = 2, .little = true, .id = 2 });
	put(f, (struct test_message){ .minor = 2, .type = 2, .little = true, .id = 88 });
	assert_int_equal(send(f), 0);
	assert_false(giop_request_wanted(f->test.later[0]));
	assert_true(giop_request_wanted(f->test.later[1]));
	test_later(&f->test, 0, "nobody wants it");
	assert_false(next(f).some);
	put(f, (struct test_message){ .minor = 2, .type = 2 });
	f->sent.data[8 + 3] = 0;
	f->sent.end = GIOP_HEADER; /* without an id */
	assert_int_equal(send(f), -E_PROTOCOL);
	expect_message_error(f);
	end(f);
}

static void test_outstanding(void **state)
{
	(void)state;
	struct fixture *f = begin();
	for (uint32_t i = 0; i < GIOP_OUTSTANDING; i++)
		put(f, request(2 * i, "later", STR("")));
	assert_false(giop_crowded(f->test.giop));
	assert_int_equal(send(f), 0);
	assert_true(giop_crowded(f->test.giop));
	put(f, echo(1000));
	assert_int_equal(send(f), 0);
	expect_exception(next(f), 1000, "TRANSIENT");
	test_later(&f->test, 0, "a");
	expect_text(next(f), 0, "a");
	assert_false(giop_crowded(f->test.giop));
	end(f); /* and the others, after the connection */
}

/* ---- calls back ---- */

struct back {
	int n, status;
	uint32_t value;
	bool bad;
};

static void on_back(void *ctx, int status, struct cdr_reader *result)
{
	struct back *back = ctx;
	back->n++;
	back->status = status;
	back->value = result ? cdr_u32(result) : 0;
	back->bad = !result || result->bad;
}

static void offer(struct fixture *f)
{
	struct test_message message = echo(2);
	message.contexts = 1;
	message.context = 5;
	put(f, message);
	assert_int_equal(send(f), 0);
	expect_text(next(f), 2, "hello");
}

static void put_reply(struct fixture *f, uint32_t id, uint32_t status, struct str body)
{
	uint8_t bytes[64] = { (uint8_t)id, 0, 0, 0, (uint8_t)status };
	memcpy(bytes + 12, body.ptr, body.len);
	put(f, (struct test_message){ .minor = 2, .type = 1, .little = true, .body = { (char *)bytes, 12 + body.len } });
}

static int call_back(struct fixture *f, struct back *back)
{
	return giop_call(f->test.giop, STR("theirs"), "ask", STR("\1\2"), on_back, back);
}

static void test_calls_back(void **state)
{
	(void)state;
	static const char sent[] = "GIOP\1\2\1\0\x26\0\0\0"
	                           "\1\0\0\0\3\0\0\0\0\0\0\0\6\0\0\0theirs\0\0\4\0\0\0ask\0\0\0\0\0\1\2";
	struct fixture *f = begin();
	struct back back = { 0 };
	assert_int_equal(call_back(f, &back), -E_UNSUPPORTED);
	offer(f);
	assert_int_equal(call_back(f, &back), 0);
	assert_int_equal(f->test.n_woken, 1);
	assert_int_equal(buf_len(giop_output(f->test.giop)), sizeof sent - 1);
	assert_memory_equal(buf_head(giop_output(f->test.giop)), sent, sizeof sent - 1);
	put_reply(f, 1, 0, STR("\7\0\0\0"));
	assert_int_equal(send(f), 0);
	assert_true(back.n == 1 && back.status == 0 && back.value == 7 && !back.bad);
	for (uint32_t status = 1; status <= 3; status++) { /* exceptions, and being sent elsewhere, where nobody goes */
		assert_int_equal(call_back(f, &back), 0);
		put_reply(f, 1 + 2 * status, status, STR(""));
		assert_int_equal(send(f), 0);
		assert_int_equal(back.status, status == 1 ? 1 : 2);
	}
	put_reply(f, 1, 0, STR("")); /* answered already */
	assert_int_equal(send(f), -E_PROTOCOL);
	assert_int_equal(back.n, 4);
	assert_int_equal(call_back(f, &back), -E_PROTOCOL);
	end(f);
}

static struct ior named;

static void name_object(struct giop_request *request, struct cdr_reader *arguments)
{
	assert_int_equal(ior_read_cdr(arguments, &named), 0);
	assert_int_equal(arguments->at, arguments->len);
	cdr_put_u8(giop_reply(request), 1);
	giop_reply_end(request);
}

static void test_stock_request(void **state)
{
	(void)state;
	static const struct giop_operation operation = { "reaches", name_object };
	static const struct giop_object object = { "Router", "IDL:murmesh/Router:1.0", 0, &operation, 1 };
	const struct giop_settings settings = { .objects = &object, .n_objects = 1 };
	uint8_t bytes[300];
	struct back back = { 0 };
	ssize_t len = hex_decode(STR(STOCK_REQUEST), bytes, sizeof bytes);
	assert_int_equal(len, 264);
	struct fixture f = { .test.giop = giop_new(&settings, NULL) };
	assert_int_equal(giop_feed(f.test.giop, bytes, (size_t)len), 0);
	struct answer answer = next(&f);
	assert_true(answer.type == 1 && answer.id == 4 && answer.status == 0 && cdr_u8(&answer.body) == 1);
	assert_string_equal(named.type, "IDL:murmesh/Receiver:1.0");
	assert_true(named.address.port == 0 && named.tls_port == 42975 && named.key_len == 19);
	assert_int_equal(giop_call(f.test.giop, STR("x"), "y", STR(""), on_back, &back), 0);
	giop_free(f.test.giop);
	assert_int_equal(back.n, 1);
}

static void test_calls_back_end(void **state)
{
	(void)state;
	struct fixture *f = begin();
	struct back back = { 0 };
	offer(f);
	for (int i = 0; i < GIOP_CALLS_MAX; i++)
		assert_int_equal(call_back(f, &back), 0);
	assert_int_equal(call_back(f, &back), -E_LIMIT);
	end(f);
	assert_int_equal(back.n, GIOP_CALLS_MAX);
	assert_int_equal(back.status, -E_CLOSED);
}

/* ---- what is no GIOP, or not ours ---- */

static void test_ids(void **state)
{
	(void)state;
	struct fixture *f = begin();
	put(f, echo(3)); /* those of the side that accepted */
	assert_int_equal(send(f), -E_PROTOCOL);
	expect_message_error(f);
	assert_int_equal(f->test.n_echo, 0);
	put(f, echo(4));
	assert_int_equal(send(f), -E_PROTOCOL); /* it is over */
	assert_false(next(f).some);
	end(f);

	f = begin();
	put(f, request(2, "later", STR("")));
	put(f, echo(2)); /* not yet answered */
	assert_int_equal(send(f), -E_PROTOCOL);
	expect_message_error(f);
	end(f);

	f = begin();
	struct test_message old = echo(3); /* 1.0 does not have the rule */
	old.minor = 0;
	put(f, old);
	assert_int_equal(send(f), 0);
	expect_text(next(f), 3, "hello");
	end(f);
}

static void test_bad_headers(void **state)
{
	(void)state;
	static const struct {
		struct str bytes;
		int err;
	} bad[] = {
		{ STR("GIOX\1\2\1\3\0\0\0\0"), -E_PROTOCOL },
		{ STR("G\0"), -E_PROTOCOL }, /* at once */
		{ STR("GET / HTTP/1.1\r\n\r\n"), -E_PROTOCOL },
		{ STR("GIOP\1\1\1\3\0\0\0\0"), -E_PROTOCOL },
		{ STR("GIOP\1\3\1\3\0\0\0\0"), -E_PROTOCOL },
		{ STR("GIOP\2\0\1\3\0\0\0\0"), -E_PROTOCOL },
		{ STR("GIOP\1\2\1\x9\0\0\0\0"), -E_PROTOCOL },
		{ STR("GIOP\1\2\4\0\0\0\0\0"), -E_PROTOCOL },
		{ STR("GIOP\1\0\3\0\0\0\0\0"), -E_PROTOCOL }, /* 1.0 has no fragments */
		{ STR("GIOP\1\0\1\7\0\0\0\0"), -E_PROTOCOL },
		{ STR("GIOP\1\2\1\1\0\0\0\0"), -E_PROTOCOL }, /* replies that nobody asked for */
		{ STR("GIOP\1\2\1\4\0\0\0\0"), -E_PROTOCOL },
		{ STR("GIOP\1\2\1\0\0\0\0\0"), -E_PROTOCOL }, /* a request without anything */
		{ STR("GIOP\1\2\1\3\0\0\0\0"), -E_PROTOCOL },
		{ STR("GIOP\1\2\1\7\4\0\0\0\2\0\0\0"), -E_PROTOCOL }, /* a fragment of nothing */
		{ STR("GIOP\1\2\1\7\0\0\0\0"), -E_PROTOCOL },
		{ STR("GIOP\1\2\1\0\xf5\xff\x0f\0"), -E_TOO_LONG }, /* 1 MiB and a byte */
		{ STR("GIOP\1\2\0\0\xff\xff\xff\xff"), -E_TOO_LONG },
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		for (size_t step = 1; step <= bad[i].bytes.len; step += bad[i].bytes.len - 1) { /* byte by byte, and all at once */
			struct fixture *f = begin();
			int err = 0;
			for (size_t at = 0; at < bad[i].bytes.len && err == 0; at += step)
				err = giop_feed(f->test.giop, bad[i].bytes.ptr + at, step);
			assert_int_equal(err, bad[i].err);
			assert_int_equal(giop_error(f->test.giop), bad[i].err);
			expect_message_error(f);
			end(f);
		}
}

static void test_closed_by_the_peer(void **state)
{
	(void)state;
	for (unsigned type = 5; type <= 6; type++) {
		struct fixture *f = begin();
		put(f, (struct test_message){ .minor = 2, .type = type });
		assert_int_equal(send(f), -E_CLOSED);
		assert_false(next(f).some);
		end(f);
	}
}

static void test_close(void **state)
{
	(void)state;
	struct fixture *f = begin();
	put(f, request(2, "later", STR("")));
	assert_int_equal(send(f), 0);
	giop_close(f->test.giop);
	giop_close(f->test.giop);
	assert_int_equal(giop_error(f->test.giop), -E_CLOSED);
	test_later(&f->test, 0, "too late");
	assert_int_equal(next(f).type, 5);
	assert_false(next(f).some);
	end(f);
}

static void test_contexts(void **state)
{
	(void)state;
	for (uint32_t n = GIOP_CONTEXTS_MAX; n <= GIOP_CONTEXTS_MAX + 1; n++) {
		struct fixture *f = begin();
		struct test_message message = echo(2);
		message.contexts = n;
		put(f, message);
		assert_int_equal(send(f), n == GIOP_CONTEXTS_MAX ? 0 : -E_PROTOCOL);
		if (n == GIOP_CONTEXTS_MAX)
			expect_text(next(f), 2, "hello");
		else
			expect_message_error(f);
		end(f);
	}
}

/* ---- pieces ---- */

static void test_byte_by_byte(void **state)
{
	(void)state;
	struct fixture *f = begin();
	put(f, (struct test_message){ .minor = 2, .type = 3, .little = true, .id = 2, .key = "Router" });
	put(f, echo(4));
	put(f, request(6, "_get_version", STR("")));
	for (size_t i = 0; i < buf_len(&f->sent); i++)
		assert_int_equal(giop_feed(f->test.giop, buf_head(&f->sent) + i, 1), 0);
	assert_false(giop_partial(f->test.giop));
	assert_int_equal(next(f).type, 4);
	expect_text(next(f), 4, "hello");
	expect_text(next(f), 6, "0.1");
	end(f);
}

/* Wherever a message is cut off, nothing is read behind its end, and nothing is answered but MessageError or an exception. */
static void test_every_truncation(void **state)
{
	(void)state;
	for (unsigned kind = 0; kind < 4; kind++) {
		struct buf whole;
		struct test_message message = echo(2);
		message.minor = kind & 1 ? 2 : 0;
		message.type = kind & 2 ? 3 : 0;
		message.contexts = 1;
		buf_init(&whole, 1000);
		test_message_put(&whole, &message);
		if (message.type == 3)
			whole.end -= message.body.len;
		for (size_t len = GIOP_HEADER; len < buf_len(&whole); len++) {
			struct fixture *f = begin();
			uint8_t *bytes = malloc(len);
			memcpy(bytes, buf_head(&whole), len);
			bytes[8] = (uint8_t)(len - GIOP_HEADER); /* it says so itself */
			int err = giop_feed(f->test.giop, bytes, len);
			free(bytes);
			assert_int_equal(f->test.n_echo, 0);
			if (err == 0)
				expect_exception(next(f), 2, "MARSHAL");
			else
				expect_message_error(f);
			end(f);
		}
		buf_done(&whole);
	}
}

/* A request of echo() in n pieces of 8 bytes and a rest. */
static void put_fragments(struct fixture *f, uint32_t id, size_t n, struct str rest)
{
	static const char x[] = "xxxxxxxx";
	struct test_message first = echo(id), piece = { .minor = 2, .type = 7, .little = true, .id = id };
	uint32_t len = (uint32_t)(4 + 4 * (n - 2) + rest.len);
	char head[8] = { (char)len, (char)(len >> 8), 0, 0, 'a', 'b', 'c', 'd' };
	first.more = true;
	first.body = (struct str){ head, 8 };
	put(f, first);
	for (size_t i = 1; i < n; i++) {
		/* header 12, id 4, 8 more: a multiple of 8 */
		piece.more = i + 1 < n;
		piece.body = piece.more ? (struct str){ x, 8 } : rest;
		put(f, piece);
	}
}

static void test_fragments(void **state)
{
	(void)state;
	struct fixture *f = begin();
	put_fragments(f, 2, 2, STR("efg\0"));
	put(f, echo(4));
	assert_int_equal(send(f), 0);
	expect_text(next(f), 2, "abcdefg");
	expect_text(next(f), 4, "hello");
	assert_false(giop_partial(f->test.giop));
	end(f);
}

static void put_pieces(struct fixture *f, size_t n)
{
	struct test_message first = echo(2),
	                    piece = { .minor = 2, .type = 7, .little = true, .more = true, .id = 2, .body = STR("12345678") };
	char head[4] = { (char)(8 * (n - 1)), 0, 0, 0 };
	first.more = true;
	first.body = (struct str){ head, 4 };
	test_message_put(&f->sent, &first);
	buf_append(&f->sent, "1234", 4);
	f->sent.data[8] = (uint8_t)(f->sent.data[8] + 4);
	for (size_t i = 1; i < n; i++) {
		piece.more = i + 1 < n;
		piece.body = piece.more ? STR("12345678") : STR("567\0");
		put(f, piece);
	}
}

static void test_sixteen_fragments_and_no_more(void **state)
{
	(void)state;
	for (size_t n = GIOP_FRAGMENTS_MAX; n <= GIOP_FRAGMENTS_MAX + 1; n++) {
		struct fixture *f = begin();
		put_pieces(f, n);
		assert_int_equal(send(f), n == GIOP_FRAGMENTS_MAX ? 0 : -E_PROTOCOL);
		assert_int_equal(f->test.n_echo, n == GIOP_FRAGMENTS_MAX);
		end(f);
	}
}

static void test_fragments_with_others_between(void **state)
{
	(void)state;
	struct fixture *f = begin();
	struct test_message first = request(2, "echo",
	                                    STR("\x10\0\0\0"
	                                        "abcd")),
	                    rest = { .minor = 2, .type = 7, .little = true, .id = 2, .body = STR("efghijklmno\0") };
	first.more = true;
	put(f, first);
	put(f, echo(4));
	put(f, (struct test_message){ .minor = 2, .type = 3, .little = true, .id = 6, .key = "Router" });
	put(f, rest);
	assert_int_equal(send(f), 0);
	expect_text(next(f), 4, "hello");
	assert_int_equal(next(f).type, 4);
	expect_text(next(f), 2, "abcdefghijklmno");

	put(f, first); /* given up */
	put(f, (struct test_message){ .minor = 2, .type = 2, .little = true, .id = 2 });
	assert_int_equal(send(f), 0);
	assert_false(giop_partial(f->test.giop));
	put(f, first);
	assert_int_equal(send(f), 0);
	assert_true(giop_partial(f->test.giop));
	first.id = 8; /* a second at the same time */
	put(f, first);
	assert_int_equal(send(f), -E_PROTOCOL);
	expect_message_error(f);
	end(f);
}

static void test_bad_fragments(void **state)
{
	(void)state;
	for (int kind = 0; kind < 5; kind++) {
		struct fixture *f = begin();
		struct test_message first = request(2, "echo",
		                                    STR("\x10\0\0\0"
		                                        "abcd")),
		                    rest = { .minor = 2, .type = 7, .little = true, .id = 2, .body = STR("efghijklmno\0") };
		first.more = true;
		if (kind == 0)
			rest.id = 4;
		else if (kind == 1)
			rest.little = false;
		else if (kind == 2)
			rest.more = true; /* with a length that is no multiple of 8 */
		else if (kind == 3)
			first.type = 5;
		else
			first.body.len = 5;
		put(f, first);
		put(f, rest);
		assert_int_equal(send(f), -E_PROTOCOL);
		assert_int_equal(f->test.n_echo, 0);
		expect_message_error(f);
		end(f);
	}
}

static void test_fragments_are_bounded(void **state)
{
	(void)state;
	struct fixture *f = begin_with(TEST_ACCESS, 4096);
	static const char zeros[2048];
	struct test_message first = request(2, "echo", (struct str){ zeros, 2048 }),
	                    piece = { .minor = 2, .type = 7, .little = true, .more = true, .id = 2, .body = { zeros, 2048 } };
	first.more = true;
	put(f, first);
	put(f, piece);
	assert_int_equal(send(f), -E_TOO_LONG);
	expect_message_error(f);
	end(f);
}

/* ---- output ---- */

static void test_output_is_bounded(void **state)
{
	(void)state;
	struct fixture *f = begin();
	put(f, request(2, "large", STR("\0\0\0\2"))); /* 32 MiB: refused by the operation itself */
	put(f, request(4, "large", STR("\0\0\2\0")));
	assert_int_equal(send(f), 0);
	assert_true(giop_crowded(f->test.giop));
	expect_exception(next(f), 2, "MARSHAL");
	assert_int_equal(next(f).id, 4);
	put(f, request(6, "large", STR("\0\0\x10\0")));
	put(f, request(8, "large", STR("\0\0\x50\0")));
	assert_int_equal(send(f), -E_FULL);
	assert_int_equal(giop_error(f->test.giop), -E_FULL);
	end(f);
}

static int session(void *ctx)
{
	struct test_giop test;
	struct buf sent;
	int err = -E_NO_MEMORY;
	struct test_message first = request(8, "echo",
	                                    STR("\x10\0\0\0"
	                                        "abcd")),
	                    rest = { .minor = 2, .type = 7, .little = true, .id = 8, .body = STR("efghijklmno\0") };
	const struct test_message later = request(2, "later", STR("")), second = echo(4);
	(void)ctx;
	first.more = true;
	buf_init(&sent, 10000);
	uint8_t *room;
	fault_arm(0);
	assert_int_equal(buf_reserve(&sent, 5000, &room), 0);
	test_message_put(&sent, &later);
	test_message_put(&sent, &second);
	test_message_put(&sent, &first);
	test_message_put(&sent, &rest);
	fault_arm(*(long *)ctx);
	if (test_giop_begin(&test, TEST_ACCESS, 0)) {
		err = 0;
		for (size_t i = 0; i < buf_len(&sent) && err == 0; i += 50)
			err = giop_feed(test.giop, buf_head(&sent) + i, buf_len(&sent) - i < 50 ? buf_len(&sent) - i : 50);
		if (err == 0) {
			buf_done(giop_output(test.giop));
			test_later(&test, 0, "late");
			err = giop_error(test.giop);
		}
		test_giop_end(&test);
	}
	buf_done(&sent);
	return err;
}

static void test_no_memory(void **state)
{
	(void)state;
	long points = 0;
	for (long n = 1;; n++) {
		int err = session(&n);
		bool passed = fault_armed();
		fault_arm(0);
		if (passed) {
			assert_int_equal(err, 0);
			break;
		}
		assert_int_equal(err, -E_NO_MEMORY);
		points++;
	}
	assert_true(points >= 6);
	assert_null(giop_free(NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_echo_in_both_versions_and_orders),
		cmocka_unit_test(test_locate),
		cmocka_unit_test(test_implicit_operations),
		cmocka_unit_test(test_exceptions_keep_the_connection),
		cmocka_unit_test(test_access),
		cmocka_unit_test(test_other_ways_to_address),
		cmocka_unit_test(test_oneway),
		cmocka_unit_test(test_later_in_another_order),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_outstanding),
		cmocka_unit_test(test_calls_back),
		cmocka_unit_test(test_calls_back_end),
		cmocka_unit_test(test_stock_request),
		cmocka_unit_test(test_ids),
		cmocka_unit_test(test_bad_headers),
		cmocka_unit_test(test_closed_by_the_peer),
		cmocka_unit_test(test_close),
		cmocka_unit_test(test_contexts),
		cmocka_unit_test(test_byte_by_byte),
		cmocka_unit_test(test_every_truncation),
		cmocka_unit_test(test_fragments),
		cmocka_unit_test(test_sixteen_fragments_and_no_more),
		cmocka_unit_test(test_fragments_with_others_between),
		cmocka_unit_test(test_bad_fragments),
		cmocka_unit_test(test_fragments_are_bounded),
		cmocka_unit_test(test_output_is_bounded),
		cmocka_unit_test(test_no_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
