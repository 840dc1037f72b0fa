#include "tunnel/agent_end.h"

#include <errno.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"
#include "h1/h1.h"
#include "io/io.h"
#include "os/random.h"
#include "os/socket.h"
#include "stream/stream.h"
#include "tunnel/once.h"
#include "tunnel/pump.h"

#define HEAD_MS     30000  /* for a CONNECT, once the handshake is done; one that has begun has as long */
#define KEPT_MS     360000 /* for one that is kept: users' pools (tunnel/pool.h) drop theirs earlier */
#define CONNECT_MS  10000
#define ANSWERED_MS 2000 /* for the other side to close after a refusal */
#define ADDRESSES   8

struct agent_end {
	struct io_loop *loop;
	struct agent_end_settings settings;
	struct list legs;
	size_t n_legs, n_kept;
	struct once *once;
	struct id name; /* of this end, as long as it lives */
};

struct leg {
	struct list node;
	struct agent_end *end;
	struct id pair;
	struct stream *stream, *target;
	struct pump *pump;
	struct io_timer *deadline;
	struct buf head; /* what came: the head, then bytes for the target */
	size_t head_len; /* once parsed */
	char host[256], name[300];
	struct socket_address addresses[ADDRESSES];
	size_t n_addresses, next_address;
	uint16_t port;
	uint8_t user_key[HASH_SIZE]; /* once the handshake is done */
	bool resolving, gone;
	bool silent, kept; /* the handshake is done and nothing came yet; kept: for longer than HEAD_MS */
	bool once;         /* its user named an id */
	int target_err;    /* of the first address: that of a family which this machine does not have tells nothing */
};

static void leg_free(struct leg *leg)
{
	if (!leg->gone) {
		list_remove(&leg->node);
		leg->end->n_legs--;
		leg->end->n_kept -= leg->kept;
	}
	leg->gone = true;
	io_timer_free(leg->deadline);
	leg->deadline = NULL;
	leg->pump = pump_free(leg->pump);
	leg->stream = stream_free(leg->stream);
	leg->target = stream_free(leg->target);
	buf_done(&leg->head);
	if (!leg->resolving) /* else its answer frees it */
		mem_free(leg);
}

static void on_leg_failed(void *ctx, int err)
{
	struct leg *leg = ctx;
	if (err != -E_CLOSED && err != -ECONNRESET)
		leg->end->settings.refused(leg->end->settings.ctx, err, leg->name, &leg->pair);
	leg_free(leg);
}

/* Waits until the answer is gone, then closes. */
static void on_answer_read(void *ctx)
{
	struct leg *leg = ctx;
	uint8_t rest[512];
	ssize_t n = stream_read(leg->stream, rest, sizeof rest);
	if (n != -EAGAIN && n <= 0)
		return leg_free(leg);
	stream_want(leg->stream, STREAM_READ); /* TLS may hold more */
}

static const struct stream_events answered_events = { NULL, on_answer_read, NULL, on_leg_failed };

/* The reason stands in Proxy-Status for programs and in the body for people. */
static int answer_write(struct buf *answer, int err, struct str details)
{
	unsigned status = h1_status(err);
	char length[8];
	snprintf(length, sizeof length, "%zu", details.len + 1);
	int failed = h1_write_response(answer, status);
	if (failed == 0 && status == 405)
		failed = h1_write_field(answer, STR("allow"), STR("CONNECT"));
	if (failed == 0)
		failed = h1_write_proxy_status(answer, err, details);
	if (failed == 0)
		failed = h1_write_field(answer, STR("connection"), STR("close"));
	if (failed == 0)
		failed = h1_write_field(answer, STR("content-type"), STR("text/plain"));
	if (failed == 0)
		failed = h1_write_field(answer, STR("content-length"), str_from(length));
	if (failed == 0)
		failed = h1_write_end(answer);
	if (failed == 0)
		failed = buf_append_str(answer, details);
	return failed < 0 ? failed : buf_append_u8(answer, '\n');
}

static void refuse(struct leg *leg, int err, const char *details)
{
	struct buf answer;
	leg->end->settings.refused(leg->end->settings.ctx, err, leg->name, &leg->pair);
	buf_init(&answer, 4096);
	bool sent = answer_write(&answer, err, str_from(*details ? details : err_text(err))) == 0 &&
	            stream_write(leg->stream, buf_head(&answer), buf_len(&answer)) == (ssize_t)buf_len(&answer) &&
	            stream_close_write(leg->stream) == 0;
	buf_done(&answer);
	if (!sent)
		return leg_free(leg);
	buf_done(&leg->head);
	stream_set_events(leg->stream, &answered_events, leg);
	stream_want(leg->stream, STREAM_READ);
	io_timer_start(leg->deadline, ANSWERED_MS, 0);
}

/* ---- the target ---- */

static void on_pump_ended(void *ctx, int err)
{
	(void)err;
	leg_free(ctx);
}

static void target_next(struct leg *leg);

static void on_target_ready(void *ctx)
{
	struct leg *leg = ctx;
	char name[ID_TEXT_SIZE], ok[100];
	struct str first = str_skip(buf_str(&leg->head), leg->head_len);
	struct stream *stream = leg->stream, *target = leg->target;
	io_timer_stop(leg->deadline);
	id_format(&leg->end->name, name);
	ssize_t n = first.len ? stream_write(target, first.ptr, first.len) : 0;
	if (n < 0 && n != -EAGAIN)
		return leg_free(leg);
	first = str_skip(first, n > 0 ? (size_t)n : 0);
	int len = snprintf(ok, sizeof ok, "HTTP/1.1 200 OK\r\n%s%s%s\r\n", leg->once ? "murmesh-once: " : "", leg->once ? name : "",
	                   leg->once ? "\r\n" : "");
	if (stream_write(stream, ok, (size_t)len) != len)
		return leg_free(leg);
	leg->stream = leg->target = NULL;
	leg->pump = pump_new(leg->end->loop, stream, target, first, on_pump_ended, leg);
	buf_done(&leg->head);
	if (!leg->pump)
		leg_free(leg);
}

static int target_err(int err)
{
	switch (-err) {
	case ECONNREFUSED:
		return -E_TARGET_REFUSED;
	case ETIMEDOUT:
	case E_TIMEOUT:
		return -E_TARGET_TIMEOUT;
	case EMFILE:
	case ENFILE:
		return -E_LIMIT;
	default:
		return err > -E_FIRST ? -E_TARGET_UNREACHABLE : err;
	}
}

static void note_err(struct leg *leg, int err)
{
	if (!leg->target_err)
		leg->target_err = target_err(err);
}

static void on_target_failed(void *ctx, int err)
{
	struct leg *leg = ctx;
	leg->target = stream_free(leg->target);
	note_err(leg, err);
	target_next(leg);
}

static void target_next(struct leg *leg)
{
	static const struct stream_events events = { on_target_ready, NULL, NULL, on_target_failed };
	struct stream_settings settings = { .connecting = true, .handshake_ms = CONNECT_MS };
	while (leg->next_address < leg->n_addresses) {
		settings.fd = socket_connect(&leg->addresses[leg->next_address++]);
		if (settings.fd < 0) {
			note_err(leg, settings.fd);
			continue;
		}
		leg->target = stream_new(leg->end->loop, &settings, &events, leg);
		if (leg->target)
			return;
		note_err(leg, -E_NO_MEMORY);
	}
	refuse(leg, leg->target_err, "");
}

static void on_addresses(void *ctx, int err, const struct str *addresses, size_t n)
{
	struct leg *leg = ctx;
	leg->resolving = false;
	if (leg->gone) {
		mem_free(leg);
		return;
	}
	for (size_t i = 0; err == 0 && i < n && leg->n_addresses < ADDRESSES; i++)
		if (socket_address_parse(addresses[i], leg->port, &leg->addresses[leg->n_addresses]) == 0)
			leg->n_addresses++;
	if (err < 0 || !leg->n_addresses)
		return refuse(leg, err < 0 ? err : -E_TARGET_NAME, "");
	target_next(leg);
}

static void target_open(struct leg *leg)
{
	struct str host = str_from(leg->host);
	if (!host.len || str_equal_nocase(host, STR("localhost"))) {
		socket_address_parse(STR("127.0.0.1"), leg->port, &leg->addresses[0]);
		socket_address_parse(STR("::1"), leg->port, &leg->addresses[1]);
		leg->n_addresses = 2;
		return target_next(leg);
	}
	if (socket_address_parse(host, leg->port, &leg->addresses[0]) == 0) {
		leg->n_addresses = 1;
		return target_next(leg);
	}
	leg->resolving = true;
	int err = leg->end->settings.resolve(leg->end->settings.ctx, host, on_addresses, leg);
	if (err < 0) {
		leg->resolving = false;
		refuse(leg, err, "");
	}
}

/* ---- CONNECT ---- */

static int authorize(struct leg *leg, const struct h1_request *request)
{
	static murmesh_SignedDocument document;
	static murmesh_Grant grant;
	const struct certificate_info *peer = tls_peer(stream_tls(leg->stream));
	struct str text;
	if (!peer || !peer->has_identity)
		return -E_GRANT;
	int err = h1_field_once(&request->fields, "murmesh-grant", &text) < 0 ? -E_GRANT : grant_text_read(text, &document);
	if (err == 0)
		err = grant_check(leg->end->settings.trust, &document, &peer->identity, leg->end->settings.now(), &grant);
	return err < 0 ? err : grant_allows_target(&grant, request->host, request->port);
}

/* -E_NOT_FOUND: there is none. */
static int id_field(const struct h1_request *request, const char *name, struct id *ret)
{
	struct str text;
	int err = h1_field_once(&request->fields, name, &text);
	return err < 0 ? err : id_parse(text, ret) < 0 ? -E_HTTP_HEAD : 0;
}

/* An id is remembered only when nothing else stands in the way: who was refused may come again with it. */
static int once_check(struct leg *leg, const struct h1_request *request)
{
	struct id id, name;
	int err = id_field(request, "murmesh-open-id", &id), again = id_field(request, "murmesh-open-again", &name);
	if (err == -E_HTTP_HEAD || again == -E_HTTP_HEAD)
		return -E_HTTP_HEAD;
	if (again == 0 && !id_equal(&name, &leg->end->name)) /* another end may have opened it, which has gone since */
		return -E_OPEN_ID_SEEN;
	leg->once = err == 0;
	return leg->once ? once_take(leg->end->once, &id, again == 0, io_loop_now_ms(leg->end->loop)) : 0;
}

/* The device itself is "localhost" on the wire: an authority has no empty host. */
static int on_head(struct leg *leg)
{
	struct h1_request request;
	int err = h1_request_parse(buf_str(&leg->head), &request, &leg->head_len);
	if (err < 0)
		return err;
	if (request.form != H1_TARGET_AUTHORITY)
		return -E_HTTP_METHOD;
	leg->port = request.port;
	str_copy(request.host, leg->host, sizeof leg->host);
	target_format(request.host, request.port, leg->name, sizeof leg->name);
	err = authorize(leg, &request);
	return err < 0 ? err : once_check(leg, &request);
}

static void head_begins(struct leg *leg)
{
	leg->end->n_kept -= leg->kept;
	leg->silent = leg->kept = false;
	io_timer_start(leg->deadline, leg->end->settings.head_ms, 0);
}

static void on_leg_readable(void *ctx)
{
	struct leg *leg = ctx;
	uint8_t *room;
	int err = buf_reserve(&leg->head, 4096, &room);
	ssize_t n = err < 0 ? err : stream_read(leg->stream, room, 4096);
	if (n == -EAGAIN)
		return;
	if (n <= 0)
		return leg_free(leg);
	buf_commit(&leg->head, (size_t)n);
	if (leg->silent)
		head_begins(leg);
	err = on_head(leg);
	if (err == -EAGAIN)
		return stream_want(leg->stream, STREAM_READ); /* TLS may hold more */
	stream_want(leg->stream, 0);
	if (err < 0)
		refuse(leg, err, err == -E_HTTP_METHOD ? "only CONNECT is served here (curl: add -p)" : "");
	else {
		io_timer_stop(leg->deadline);
		target_open(leg);
	}
}

static void on_leg_ready(void *ctx)
{
	struct leg *leg = ctx;
	memcpy(leg->user_key, tls_peer(stream_tls(leg->stream))->key_hash, sizeof leg->user_key);
	if (leg->end->settings.revoked && leg->end->settings.revoked(leg->end->settings.ctx, leg->user_key)) {
		leg->end->settings.refused(leg->end->settings.ctx, -E_REVOKED, leg->name, &leg->pair);
		return leg_free(leg);
	}
	if (str_is(tls_alpn(stream_tls(leg->stream)), "h2")) {
		struct stream *stream = leg->stream;
		struct agent_end *end = leg->end;
		struct id pair = leg->pair;
		leg->stream = NULL;
		leg_free(leg);
		end->settings.rpc(end->settings.ctx, stream, &pair);
		return;
	}
	leg->silent = true;
	io_timer_start(leg->deadline, leg->end->settings.head_ms, 0);
	stream_want(leg->stream, STREAM_READ);
}

static bool may_be_kept(const struct leg *leg)
{
	size_t of_user = 0;
	LIST_EACH(at, &leg->end->legs) {
		const struct leg *other = LIST_ENTRY(at, struct leg, node);
		of_user += other->kept && memcmp(other->user_key, leg->user_key, HASH_SIZE) == 0;
	}
	return of_user < AGENT_END_KEPT_USER && leg->end->n_kept < AGENT_END_KEPT_MAX;
}

/* The newest has to go, not the oldest: users' pools would make legs for ever to push each other's out. */
static void on_deadline(void *ctx)
{
	struct leg *leg = ctx;
	if (!leg->silent || leg->kept || !may_be_kept(leg))
		return leg_free(leg);
	leg->kept = true;
	leg->end->n_kept++;
	io_timer_start(leg->deadline, KEPT_MS, 0);
}

/* ---- the end ---- */

struct agent_end *agent_end_new(struct io_loop *loop, const struct agent_end_settings *settings)
{
	uint8_t seed[16];
	struct agent_end *end = mem_alloc(sizeof *end);
	if (!end)
		return NULL;
	random_bytes(seed, sizeof seed);
	end->once = once_new(seed);
	if (!end->once)
		return mem_free(end);
	end->loop = loop;
	end->settings = *settings;
	random_id(&end->name);
	if (!end->settings.head_ms)
		end->settings.head_ms = HEAD_MS;
	list_init(&end->legs);
	return end;
}

void agent_end_renew(struct agent_end *end, struct tls_context *tls, const struct trust *trust)
{
	end->settings.tls = tls;
	end->settings.trust = trust;
}

struct agent_end *agent_end_free(struct agent_end *end)
{
	if (!end)
		return NULL;
	while (!list_empty(&end->legs))
		leg_free(LIST_ENTRY(end->legs.next, struct leg, node));
	once_free(end->once);
	return mem_free(end);
}

void agent_end_revoke(struct agent_end *end, const uint8_t key_hash[HASH_SIZE])
{
	LIST_EACH(at, &end->legs) {
		struct leg *leg = LIST_ENTRY(at, struct leg, node);
		if (memcmp(leg->user_key, key_hash, HASH_SIZE) == 0)
			leg_free(leg);
	}
}

void agent_end_over(struct agent_end *end, const struct id *pair)
{
	LIST_EACH(at, &end->legs) {
		struct leg *leg = LIST_ENTRY(at, struct leg, node);
		if (id_equal(&leg->pair, pair))
			leg_free(leg);
	}
}

size_t agent_end_legs(const struct agent_end *end)
{
	return end->n_legs;
}

int agent_end_leg(struct agent_end *end, int fd, struct str preamble, const struct id *pair)
{
	static const struct stream_events events = { on_leg_ready, on_leg_readable, NULL, on_leg_failed };
	const struct stream_settings settings = {
		.fd = fd, .connecting = true, .tls = end->settings.tls, .preamble = preamble, .handshake_ms = 30000
	};
	struct leg *leg = end->n_legs < AGENT_END_LEGS_MAX ? mem_alloc(sizeof *leg) : NULL;
	struct stream *stream = stream_new(end->loop, &settings, &events, leg);
	if (!leg || !stream) {
		stream_free(stream);
		mem_free(leg);
		return -E_LIMIT;
	}
	leg->end = end;
	leg->pair = *pair;
	leg->stream = stream;
	buf_init(&leg->head, H1_HEAD_MAX + 16384);
	list_append(&end->legs, &leg->node);
	end->n_legs++;
	leg->deadline = io_timer_new(end->loop, on_deadline, leg);
	if (!leg->deadline) {
		leg_free(leg);
		return -E_NO_MEMORY;
	}
	return 0;
}
