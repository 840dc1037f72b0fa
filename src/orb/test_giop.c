#include "orb/test_giop.h"

#include <string.h>

#include "base/mem.h"

static void echo(struct giop_request *request, struct cdr_reader *arguments)
{
	struct test_giop *test = giop_request_context(request);
	struct str text = cdr_string(arguments);
	if (arguments->bad)
		return giop_raise(request, GIOP_MARSHAL);
	test->n_echo++;
	cdr_put_string(giop_reply(request), text);
	giop_reply_end(request);
}

static void later(struct giop_request *request, struct cdr_reader *arguments)
{
	struct test_giop *test = giop_request_context(request);
	(void)arguments;
	test->later[test->n_later++] = request;
}

static void refuse(struct giop_request *request, struct cdr_reader *arguments)
{
	(void)arguments;
	struct cdr_writer *w = giop_reply_exception(request, "IDL:test/Refused:1.0");
	cdr_put_u32(w, 1210);
	cdr_put_string(w, STR("no"));
	giop_reply_end(request);
}

static void large(struct giop_request *request, struct cdr_reader *arguments)
{
	static const char zeros[4096];
	uint32_t n = cdr_u32(arguments);
	if (arguments->bad || n > 8 << 20)
		return giop_raise(request, GIOP_MARSHAL);
	struct cdr_writer *w = giop_reply(request);
	cdr_put_u32(w, n);
	for (uint32_t i = 0; i < n / sizeof zeros; i++)
		cdr_put_bytes(w, (struct str){ zeros, sizeof zeros });
	giop_reply_end(request);
}

static void version(struct giop_request *request, struct cdr_reader *arguments)
{
	(void)arguments;
	cdr_put_string(giop_reply(request), STR("0.1"));
	giop_reply_end(request);
}

static const struct giop_operation operations[] = {
	{ "echo", echo }, { "later", later }, { "refuse", refuse }, { "large", large }, { "_get_version", version },
};
const struct giop_object test_objects[2] = {
	{ "Router", "IDL:murmesh/Router:1.0", TEST_ACCESS, operations, sizeof operations / sizeof *operations },
	{ "Open", "IDL:murmesh/Open:1.0", 0, operations, 1 },
};

static void on_wake(void *ctx)
{
	((struct test_giop *)ctx)->n_woken++;
}

struct giop *test_giop_begin(struct test_giop *test, unsigned access, size_t message_max)
{
	const struct giop_settings settings = {
		.objects = test_objects, .n_objects = 2, .message_max = message_max, .access = access, .wake = on_wake
	};
	*test = (struct test_giop){ .giop = giop_new(&settings, test) };
	return test->giop;
}

void test_later(struct test_giop *test, size_t i, const char *answer)
{
	struct giop_request *request = test->later[i];
	test->later[i] = NULL;
	if (!answer)
		return giop_raise(request, GIOP_INTERNAL);
	cdr_put_string(giop_reply(request), str_from(answer));
	giop_reply_end(request);
}

void test_giop_end(struct test_giop *test)
{
	test->giop = giop_free(test->giop);
	for (size_t i = 0; i < test->n_later; i++)
		if (test->later[i])
			test_later(test, i, "nobody hears it");
}

/* ---- messages ---- */

/* Alignment with bytes that are not zero, as other ORBs do. */
static void pad(struct cdr_writer *w, size_t size, uint8_t with)
{
	while ((buf_len(w->out) - w->base) % size)
		cdr_put_u8(w, with);
}

static void contexts_put(struct cdr_writer *w, const struct test_message *m)
{
	pad(w, 4, m->padding);
	cdr_put_u32(w, m->contexts);
	for (uint32_t i = 0; i < m->contexts; i++) {
		cdr_put_u32(w, m->context ? m->context : 1);
		cdr_put_sequence(w, STR("\1\0\0\0\1\0\1\0\x09\1\1\0"));
	}
}

static void request_put_1_0(struct cdr_writer *w, const struct test_message *m)
{
	contexts_put(w, m);
	cdr_put_u32(w, m->id);
	cdr_put_u8(w, !m->oneway);
	pad(w, 4, m->padding);
	cdr_put_sequence(w, str_from(m->key));
	pad(w, 4, m->padding);
	cdr_put_string(w, str_from(m->operation));
	pad(w, 4, m->padding);
	cdr_put_sequence(w, STR("me"));
	if (m->body.len)
		pad(w, 4, m->padding);
}

static void request_put_1_2(struct cdr_writer *w, const struct test_message *m)
{
	cdr_put_u32(w, m->id);
	cdr_put_u8(w, m->oneway ? 0 : 3);
	for (int i = 0; i < 3; i++)
		cdr_put_u8(w, m->padding);
	cdr_put_u16(w, m->disposition);
	pad(w, 4, m->padding);
	cdr_put_sequence(w, str_from(m->key));
	pad(w, 4, m->padding);
	cdr_put_string(w, str_from(m->operation));
	contexts_put(w, m);
	if (m->body.len)
		pad(w, 8, m->padding);
}

void test_message_put(struct buf *out, const struct test_message *m)
{
	struct cdr_writer w = cdr_writer(out, m->little);
	cdr_put_bytes(&w, STR("GIOP\1"));
	cdr_put_u8(&w, (uint8_t)m->minor);
	cdr_put_u8(&w, (uint8_t)(m->little | m->more << 1));
	cdr_put_u8(&w, (uint8_t)m->type);
	cdr_put_u32(&w, 0);
	if (m->type == 0)
		(m->minor == 0 ? request_put_1_0 : request_put_1_2)(&w, m);
	if (m->type == 2 || m->type == 3 || m->type == 7)
		cdr_put_u32(&w, m->id);
	if (m->type == 3 && m->minor == 2)
		cdr_put_u16(&w, m->disposition);
	if (m->type == 3) {
		pad(&w, 4, m->padding);
		cdr_put_sequence(&w, str_from(m->key));
	}
	cdr_put_bytes(&w, m->body);
	cdr_put_u32_at(&w, 8, (uint32_t)(buf_len(out) - w.base - GIOP_HEADER));
}
