#include "orb/giop.h"

#include <string.h>

#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"

#define OUTPUT_MAX ((size_t)4 << 20)

enum message_type { REQUEST, REPLY, CANCEL_REQUEST, LOCATE_REQUEST, LOCATE_REPLY, CLOSE_CONNECTION, MESSAGE_ERROR, FRAGMENT };
enum { FLAG_LITTLE = 1, FLAG_MORE = 2 };
enum { NO_EXCEPTION, USER_EXCEPTION, SYSTEM_EXCEPTION, NEEDS_ADDRESSING_MODE = 5 };
enum { UNKNOWN_OBJECT, OBJECT_HERE };
enum { CONTEXT_BIDIRECTIONAL = 5 };
enum { COMPLETED_NO = 1, COMPLETED_MAYBE };

struct message {
	const uint8_t *bytes;
	size_t len; /* with the header */
	uint8_t minor, type;
	bool little, more;
};

struct giop {
	struct giop_settings settings;
	void *ctx;
	bool both_ways; /* bidirectional */
	uint32_t last_call;
	struct {
		uint32_t id; /* 0 = free */
		giop_call_done done;
		void *ctx;
	} calls[GIOP_CALLS_MAX];
	struct buf in;        /* of a message that is not there as a whole */
	struct buf partial;   /* of one in fragments: the message so far */
	struct message first; /* its header */
	uint32_t partial_id;
	unsigned n_fragments;
	struct buf out;
	struct list requests;
	uint64_t n_messages;
	size_t n_requests;
	int err;
	bool feeding;
};

struct giop_request {
	struct list node;
	struct giop *giop; /* NULL: it is gone */
	uint32_t id;
	uint8_t minor;
	bool little, silent; /* silent: nobody waits for the answer */
	struct cdr_writer writer;
};

/* ---- output ---- */

static struct cdr_writer message_begin(struct giop *giop, uint8_t minor, bool little, enum message_type type)
{
	struct cdr_writer w = cdr_writer(&giop->out, little);
	cdr_put_bytes(&w, STR("GIOP\1"));
	cdr_put_u8(&w, minor);
	cdr_put_u8(&w, little ? FLAG_LITTLE : 0);
	cdr_put_u8(&w, type);
	cdr_put_u32(&w, 0);
	return w;
}

/* One that could not be written as a whole is taken back, and ends the connection. */
static void message_end(struct giop *giop, struct cdr_writer *w)
{
	if (w->err == 0)
		cdr_put_u32_at(w, 8, (uint32_t)(buf_len(&giop->out) - w->base - GIOP_HEADER));
	else
		giop->out.end = giop->out.start + w->base;
	if (w->err < 0 && giop->err == 0)
		giop->err = w->err == -E_TOO_LONG ? -E_FULL : w->err;
	if (!giop->feeding && giop->settings.wake)
		giop->settings.wake(giop->ctx);
}

static void header_only(struct giop *giop, uint8_t minor, enum message_type type)
{
	struct cdr_writer w = message_begin(giop, minor, true, type);
	message_end(giop, &w);
}

/* ---- answers ---- */

static struct cdr_writer *reply_begin(struct giop_request *request, uint32_t status)
{
	struct cdr_writer *w = &request->writer;
	if (!giop_request_wanted(request)) {
		*w = cdr_writer(NULL, true);
		return w;
	}
	*w = message_begin(request->giop, request->minor, request->little, REPLY);
	if (request->minor == 0)
		cdr_put_u32(w, 0); /* contexts */
	cdr_put_u32(w, request->id);
	cdr_put_u32(w, status);
	if (request->minor > 0)
		cdr_put_u32(w, 0);
	return w; /* 24 bytes: a body stands at a multiple of 8 as it is */
}

struct cdr_writer *giop_reply(struct giop_request *request)
{
	return reply_begin(request, NO_EXCEPTION);
}

struct cdr_writer *giop_reply_exception(struct giop_request *request, const char *type)
{
	struct cdr_writer *w = reply_begin(request, USER_EXCEPTION);
	cdr_put_string(w, str_from(type));
	return w;
}

void giop_reply_end(struct giop_request *request)
{
	struct giop *giop = request->giop;
	if (giop) {
		list_remove(&request->node);
		giop->n_requests--;
	}
	if (giop && request->writer.out)
		message_end(giop, &request->writer);
	mem_free(request);
}

void giop_raise(struct giop_request *request, enum giop_exception exception)
{
	static const char *const types[] = {
		[GIOP_BAD_OPERATION] = "IDL:omg.org/CORBA/BAD_OPERATION:1.0",
		[GIOP_BAD_PARAM] = "IDL:omg.org/CORBA/BAD_PARAM:1.0",
		[GIOP_IMP_LIMIT] = "IDL:omg.org/CORBA/IMP_LIMIT:1.0",
		[GIOP_INTERNAL] = "IDL:omg.org/CORBA/INTERNAL:1.0",
		[GIOP_MARSHAL] = "IDL:omg.org/CORBA/MARSHAL:1.0",
		[GIOP_NO_PERMISSION] = "IDL:omg.org/CORBA/NO_PERMISSION:1.0",
		[GIOP_OBJECT_NOT_EXIST] = "IDL:omg.org/CORBA/OBJECT_NOT_EXIST:1.0",
		[GIOP_TRANSIENT] = "IDL:omg.org/CORBA/TRANSIENT:1.0",
	};
	struct cdr_writer *w = reply_begin(request, SYSTEM_EXCEPTION);
	cdr_put_string(w, str_from(types[exception]));
	cdr_put_u32(w, 0); /* minor code */
	cdr_put_u32(w, exception == GIOP_INTERNAL ? COMPLETED_MAYBE : COMPLETED_NO);
	giop_reply_end(request);
}

void *giop_request_context(const struct giop_request *request)
{
	return request->giop ? request->giop->ctx : NULL;
}

bool giop_request_wanted(const struct giop_request *request)
{
	return request->giop && !request->silent;
}

static struct giop_request *request_find(const struct giop *giop, uint32_t id)
{
	LIST_EACH(at, &giop->requests) {
		struct giop_request *request = LIST_ENTRY(at, struct giop_request, node);
		if (request->id == id)
			return request;
	}
	return NULL;
}

/* ---- requests ---- */

static const struct giop_object *object_find(const struct giop *giop, struct str key)
{
	for (size_t i = 0; i < giop->settings.n_objects; i++)
		if (str_is(key, giop->settings.objects[i].key))
			return &giop->settings.objects[i];
	return NULL;
}

static void is_a(struct giop_request *request, const struct giop_object *object, struct cdr_reader *arguments)
{
	struct str type = cdr_string(arguments);
	if (arguments->bad)
		return giop_raise(request, GIOP_MARSHAL);
	cdr_put_u8(giop_reply(request), str_is(type, object->type) || str_is(type, "IDL:omg.org/CORBA/Object:1.0"));
	giop_reply_end(request);
}

static void request_run(struct giop_request *request, const struct giop_object *object, struct str operation,
                        struct cdr_reader *arguments)
{
	if (!object) {
		if (!str_is(operation, "_non_existent"))
			return giop_raise(request, GIOP_OBJECT_NOT_EXIST);
		cdr_put_u8(giop_reply(request), 1);
		return giop_reply_end(request);
	}
	if (object->access && !(object->access & request->giop->settings.access))
		return giop_raise(request, GIOP_NO_PERMISSION);
	if (str_is(operation, "_is_a"))
		return is_a(request, object, arguments);
	if (str_is(operation, "_non_existent")) {
		cdr_put_u8(giop_reply(request), 0);
		return giop_reply_end(request);
	}
	for (size_t i = 0; i < object->n_operations; i++)
		if (str_is(operation, object->operations[i].name))
			return object->operations[i].run(request, arguments);
	giop_raise(request, GIOP_BAD_OPERATION);
}

/* Of the contexts one matters: the client can be called back.  At what addresses it says that it listens does not: what it names in a call is
 * called over its own connection only. */
static void contexts_read(struct cdr_reader *r, bool *ret_both_ways)
{
	uint32_t n = cdr_u32(r);
	r->bad = r->bad || n > GIOP_CONTEXTS_MAX;
	for (uint32_t i = 0; i < n && !r->bad; i++) {
		*ret_both_ways |= cdr_u32(r) == CONTEXT_BIDIRECTIONAL;
		cdr_sequence(r);
	}
}

/* Less than the padding behind a head is no body. */
static void body_begin(struct cdr_reader *r)
{
	if (r->bad || r->at == r->len)
		return;
	cdr_align(r, 8);
	if (r->bad) {
		r->bad = false;
		r->at = r->len;
	}
}

/* The key, unless the object is addressed by one of the other two kinds of GIOP 1.2, which a client has not to insist on. */
static struct str target_read(struct cdr_reader *r, bool *ret_other)
{
	uint16_t disposition = cdr_u16(r);
	*ret_other = disposition == 1 || disposition == 2;
	r->bad = r->bad || disposition > 2;
	return *ret_other ? STR("") : cdr_sequence(r);
}

struct request_head {
	uint32_t id;
	bool answer, other_address, both_ways;
	struct str key, operation;
};

static void head_read_1_0(struct cdr_reader *r, struct request_head *ret)
{
	contexts_read(r, &ret->both_ways);
	ret->id = cdr_u32(r);
	ret->answer = cdr_u8(r) != 0;
	ret->key = cdr_sequence(r);
	ret->operation = cdr_string(r);
	cdr_sequence(r); /* principal */
}

static void head_read_1_2(struct cdr_reader *r, struct request_head *ret)
{
	ret->id = cdr_u32(r);
	ret->answer = cdr_u8(r) != 0;
	cdr_bytes(r, 3);
	ret->key = target_read(r, &ret->other_address);
	if (ret->other_address)
		return;
	ret->operation = cdr_string(r);
	contexts_read(r, &ret->both_ways);
	body_begin(r);
}

static struct cdr_reader message_reader(const struct message *message)
{
	struct cdr_reader r = cdr_reader(message->bytes, message->len, message->little);
	r.at = GIOP_HEADER;
	return r;
}

/* Ids of the side that connected are even (9.8.1), and name one request at a time. */
static bool id_good(const struct giop *giop, const struct message *message, uint32_t id)
{
	return (message->minor == 0 || id % 2 == 0) && !request_find(giop, id);
}

static int on_request(struct giop *giop, const struct message *message)
{
	struct cdr_reader r = message_reader(message);
	struct request_head head = { .id = 0 };
	(message->minor == 0 ? head_read_1_0 : head_read_1_2)(&r, &head);
	if (r.bad || !id_good(giop, message, head.id))
		return -E_PROTOCOL;
	giop->both_ways |= message->minor > 0 && head.both_ways;
	struct giop_request *request = mem_alloc(sizeof *request);
	if (!request)
		return -E_NO_MEMORY;
	*request = (struct giop_request){
		.giop = giop, .id = head.id, .minor = message->minor, .little = message->little, .silent = !head.answer
	};
	list_append(&giop->requests, &request->node);
	giop->n_requests++;
	if (head.other_address) {
		cdr_put_u16(reply_begin(request, NEEDS_ADDRESSING_MODE), 0);
		giop_reply_end(request);
	} else if (giop->n_requests > GIOP_OUTSTANDING)
		giop_raise(request, GIOP_TRANSIENT);
	else if (head.operation.len > GIOP_NAME_MAX)
		giop_raise(request, GIOP_BAD_OPERATION);
	else
		request_run(request, head.key.len > GIOP_NAME_MAX ? NULL : object_find(giop, head.key), head.operation, &r);
	return giop->err;
}

static int on_locate(struct giop *giop, const struct message *message)
{
	struct cdr_reader r = message_reader(message);
	bool other = false;
	uint32_t id = cdr_u32(&r);
	struct str key = message->minor == 0 ? cdr_sequence(&r) : target_read(&r, &other);
	if (r.bad || !id_good(giop, message, id))
		return -E_PROTOCOL;
	struct cdr_writer w = message_begin(giop, message->minor, message->little, LOCATE_REPLY);
	cdr_put_u32(&w, id);
	cdr_put_u32(&w, other ? NEEDS_ADDRESSING_MODE : object_find(giop, key) ? OBJECT_HERE : UNKNOWN_OBJECT);
	if (other)
		cdr_put_u16(&w, 0);
	message_end(giop, &w);
	return giop->err;
}

static void partial_forget(struct giop *giop)
{
	buf_done(&giop->partial);
	giop->n_fragments = 0;
}

static int on_cancel(struct giop *giop, const struct message *message)
{
	struct cdr_reader r = message_reader(message);
	uint32_t id = cdr_u32(&r);
	struct giop_request *request = request_find(giop, id);
	if (request)
		request->silent = true;
	if (giop->n_fragments && giop->partial_id == id)
		partial_forget(giop);
	return r.bad ? -E_PROTOCOL : 0;
}

/* ---- calls back ---- */

int giop_call(struct giop *giop, struct str key, const char *operation, struct str arguments, giop_call_done done, void *ctx)
{
	size_t i = 0;
	if (giop->err < 0 || !giop->both_ways)
		return giop->err < 0 ? giop->err : -E_UNSUPPORTED;
	while (i < GIOP_CALLS_MAX && giop->calls[i].id)
		i++;
	if (i == GIOP_CALLS_MAX)
		return -E_LIMIT;
	giop->last_call = giop->last_call ? giop->last_call + 2 : 1; /* odd, as all of the side that accepted */
	giop->calls[i].id = giop->last_call;
	giop->calls[i].done = done;
	giop->calls[i].ctx = ctx;
	struct cdr_writer w = message_begin(giop, 2, true, REQUEST);
	cdr_put_u32(&w, giop->last_call);
	cdr_put_bytes(&w, STR("\3\0\0\0\0\0\0\0")); /* an answer is wanted; addressed by its key */
	cdr_put_sequence(&w, key);
	cdr_put_string(&w, str_from(operation));
	cdr_put_u32(&w, 0); /* contexts */
	if (arguments.len)
		cdr_put_align(&w, 8);
	cdr_put_bytes(&w, arguments);
	message_end(giop, &w);
	return 0;
}

static int on_reply(struct giop *giop, const struct message *message)
{
	struct cdr_reader r = message_reader(message);
	uint32_t id = cdr_u32(&r), status = cdr_u32(&r);
	bool ignored = false;
	contexts_read(&r, &ignored);
	body_begin(&r);
	for (size_t i = 0; i < GIOP_CALLS_MAX && !r.bad && id && message->minor == 2; i++)
		if (giop->calls[i].id == id) {
			giop->calls[i].id = 0;
			giop->calls[i].done(giop->calls[i].ctx, status <= USER_EXCEPTION ? (int)status : 2, &r);
			return giop->err;
		}
	return -E_PROTOCOL;
}

static int on_end(struct giop *giop, const struct message *message)
{
	(void)giop, (void)message;
	return -E_CLOSED;
}

/* ---- messages ---- */

static int message_run(struct giop *giop, const struct message *message)
{
	static int (*const run[])(struct giop *, const struct message *) = {
		[REQUEST] = on_request,
		[REPLY] = on_reply,
		[CANCEL_REQUEST] = on_cancel,
		[LOCATE_REQUEST] = on_locate,
		[CLOSE_CONNECTION] = on_end,
		[MESSAGE_ERROR] = on_end,
		[FRAGMENT] = NULL,
	};
	return run[message->type] ? run[message->type](giop, message) : -E_PROTOCOL;
}

/* All but the last end at a multiple of 8, so that what is put together is aligned as it was. */
static int partial_append(struct giop *giop, const struct message *message, size_t skip)
{
	if (++giop->n_fragments > GIOP_FRAGMENTS_MAX || (message->more && message->len % 8))
		return -E_PROTOCOL;
	return buf_append(&giop->partial, message->bytes + skip, message->len - skip);
}

static int partial_begin(struct giop *giop, const struct message *message)
{
	struct cdr_reader r = message_reader(message);
	giop->partial_id = cdr_u32(&r);
	if (giop->n_fragments || r.bad || (message->type != REQUEST && message->type != REPLY && message->type != LOCATE_REQUEST))
		return -E_PROTOCOL;
	giop->first = *message;
	return partial_append(giop, message, 0);
}

static int fragment_take(struct giop *giop, const struct message *message)
{
	struct cdr_reader r = message_reader(message);
	uint32_t id = cdr_u32(&r);
	if (r.bad || !giop->n_fragments || id != giop->partial_id || message->little != giop->first.little)
		return -E_PROTOCOL;
	int err = partial_append(giop, message, GIOP_HEADER + 4);
	if (err < 0 || message->more)
		return err;
	struct message whole = giop->first;
	whole.bytes = buf_head(&giop->partial);
	whole.len = buf_len(&giop->partial);
	err = message_run(giop, &whole);
	partial_forget(giop);
	return err;
}

static int message_take(struct giop *giop, const uint8_t *bytes, size_t len)
{
	const struct message message = { .bytes = bytes,
		                         .len = len,
		                         .minor = bytes[5],
		                         .type = bytes[7],
		                         .little = bytes[6] & FLAG_LITTLE,
		                         .more = bytes[6] & FLAG_MORE };
	giop->n_messages++;
	if (message.type == FRAGMENT)
		return fragment_take(giop, &message);
	return message.more ? partial_begin(giop, &message) : message_run(giop, &message);
}

/* ---- bytes ---- */

/* How long the message that begins here is as a whole; of one whose header is not whole, that header. */
static int message_size(const struct giop *giop, const uint8_t *bytes, size_t len, size_t *ret)
{
	static const uint8_t magic[] = { 'G', 'I', 'O', 'P', 1 };
	if (memcmp(bytes, magic, len < sizeof magic ? len : sizeof magic) != 0)
		return -E_PROTOCOL;
	*ret = GIOP_HEADER;
	if (len < GIOP_HEADER)
		return 0;
	uint8_t minor = bytes[5], flags = bytes[6];
	if ((minor != 0 && minor != 2) || flags > (minor == 0 ? FLAG_LITTLE : FLAG_LITTLE | FLAG_MORE) || bytes[7] > FRAGMENT ||
	    (minor == 0 && bytes[7] == FRAGMENT))
		return -E_PROTOCOL;
	struct cdr_reader r = cdr_reader(bytes, GIOP_HEADER, flags & FLAG_LITTLE);
	r.at = 8;
	uint32_t size = cdr_u32(&r);
	if (size > giop->settings.message_max - GIOP_HEADER)
		return -E_TOO_LONG;
	*ret += size;
	return 0;
}

/* Takes what is lacking of the message that is kept. */
static int kept_feed(struct giop *giop, const uint8_t **bytes, size_t *len)
{
	struct buf *in = &giop->in;
	size_t size = GIOP_HEADER;
	int err = buf_len(in) ? message_size(giop, buf_head(in), buf_len(in), &size) : 0;
	size_t lacking = err == 0 ? size - buf_len(in) : 0, n = *len < lacking ? *len : lacking;
	if (err == 0)
		err = buf_append(in, *bytes, n);
	if (err == 0)
		err = message_size(giop, buf_head(in), buf_len(in), &size);
	*bytes += n;
	*len -= n;
	if (err < 0 || buf_len(in) < size)
		return err;
	err = message_take(giop, buf_head(in), size);
	buf_done(in);
	return err;
}

/* Messages that are there as a whole are read where they stand. */
static int feed(struct giop *giop, const uint8_t *bytes, size_t len)
{
	int err = giop->err;
	while (err == 0 && len > 0) {
		size_t size;
		err = buf_len(&giop->in) ? 0 : message_size(giop, bytes, len, &size);
		if (err < 0)
			break;
		if (buf_len(&giop->in) || len < size) {
			err = kept_feed(giop, &bytes, &len);
			continue;
		}
		err = message_take(giop, bytes, size);
		bytes += size;
		len -= size;
	}
	return err;
}

int giop_feed(struct giop *giop, const void *bytes, size_t len)
{
	if (giop->err < 0)
		return giop->err;
	giop->feeding = true;
	int err = feed(giop, bytes, len);
	if (err == -E_PROTOCOL || err == -E_TOO_LONG)
		header_only(giop, 2, MESSAGE_ERROR);
	giop->feeding = false;
	giop->err = giop->err < 0 ? giop->err : err;
	return giop->err;
}

/* ---- the connection ---- */

struct giop *giop_new(const struct giop_settings *settings, void *ctx)
{
	struct giop *giop = mem_alloc(sizeof *giop);
	if (!giop)
		return NULL;
	giop->settings = *settings;
	if (!giop->settings.message_max)
		giop->settings.message_max = GIOP_MESSAGE_MAX;
	giop->ctx = ctx;
	buf_init(&giop->in, giop->settings.message_max);
	buf_init(&giop->partial, giop->settings.message_max);
	buf_init(&giop->out, OUTPUT_MAX);
	list_init(&giop->requests);
	return giop;
}

static void requests_forget(struct giop *giop)
{
	LIST_EACH(at, &giop->requests) {
		struct giop_request *request = LIST_ENTRY(at, struct giop_request, node);
		request->giop = NULL;
		list_remove(&request->node);
	}
	giop->n_requests = 0;
}

struct giop *giop_free(struct giop *giop)
{
	if (!giop)
		return NULL;
	requests_forget(giop);
	giop->err = -E_CLOSED;
	for (size_t i = 0; i < GIOP_CALLS_MAX; i++)
		if (giop->calls[i].id)
			giop->calls[i].done(giop->calls[i].ctx, -E_CLOSED, NULL);
	buf_done(&giop->in);
	buf_done(&giop->partial);
	buf_done(&giop->out);
	return mem_free(giop);
}

void giop_close(struct giop *giop)
{
	if (giop->err < 0)
		return;
	requests_forget(giop);
	giop->feeding = true;
	header_only(giop, 2, CLOSE_CONNECTION);
	giop->feeding = false;
	giop->err = giop->err < 0 ? giop->err : -E_CLOSED;
}

int giop_error(const struct giop *giop)
{
	return giop->err;
}

struct buf *giop_output(struct giop *giop)
{
	return &giop->out;
}

bool giop_crowded(const struct giop *giop)
{
	return buf_len(&giop->out) > GIOP_CROWDED || giop->n_requests >= GIOP_OUTSTANDING;
}

bool giop_partial(const struct giop *giop)
{
	return buf_len(&giop->in) || giop->n_fragments;
}

uint64_t giop_messages(const struct giop *giop)
{
	return giop->n_messages;
}

size_t giop_outstanding(const struct giop *giop)
{
	return giop->n_requests;
}
