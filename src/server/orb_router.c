/* Envelopes of a device that is a CORBA client (proto/router.idl).  Core gives them one at a time, and keeps each until the client has said that it
 * arrived: by its next poll, or by its answer to take().  What was given before then waits again when the call to core ends. */
#include "base/err.h"
#include "base/mem.h"
#include "io/io.h"
#include "os/clock.h"
#include "route/envelope.h"
#include "rpc/rpc.h"
#include "server/orb.h"

#define POLL_MOST       64
#define POLL_BYTES      (GIOP_MESSAGE_MAX - ((size_t)32 << 10)) /* of envelopes; the rest is for what CDR adds to each */
#define SUBMISSIONS_MAX 64                                      /* at once, of all clients */
#define ANSWER_MS       30000
#define ENVELOPE_RULE                                                                                                              \
	"an envelope has an id of 16 bytes, not all zero, a type of 1 to 64 bytes, a priority of 0 to 2, a lifetime of at most "   \
	"1209600 s, and a body of at most 256 KiB"

static const struct rpc_call_events nobody;

/* As the client's certificate says. */
static struct rpc_call *call_open(const struct orb_connection *connection, const struct rpc_method *method,
                                  const struct rpc_call_events *events, void *ctx)
{
	char peer[IDENTITY_TEXT_SIZE];
	identity_format(&connection->peer->identity, peer);
	const struct rpc_metadata metadata = { STR("murmesh-peer"), str_from(peer) };
	return rpc_call_open(connection->role->core, method, &metadata, 1, events, ctx);
}

static int device_check(const struct orb_connection *connection)
{
	if (connection->peer->identity.kind != IDENTITY_NODE)
		return -E_DENIED;
	return connection->role->core ? 0 : -E_BUSY;
}

/* ---- submit ---- */

struct submission {
	struct orb_role *role;
	struct giop_request *request;
};

static void on_submitted(void *ctx, int err, const char *why)
{
	struct submission *submission = ctx;
	struct giop_request *request = submission->request;
	submission->role->n_submissions--;
	mem_free(submission);
	if (err < 0)
		return orb_refuse(request, err, why);
	giop_reply(request);
	giop_reply_end(request);
}

/* All of one fits into a call's queue. */
static void pieces_send(struct rpc_call *call, struct str bytes)
{
	static murmesh_EnvelopeBytes piece;
	int err = 0;
	while (err == 0 && bytes.len) {
		size_t n = bytes.len < sizeof piece.data.bytes ? bytes.len : sizeof piece.data.bytes;
		memcpy(piece.data.bytes, bytes.ptr, n);
		piece.data.size = (pb_size_t)n;
		bytes = str_skip(bytes, n);
		err = rpc_call_send(call, &piece);
	}
	if (err == 0)
		err = rpc_call_half_close(call);
	if (err < 0)
		rpc_call_cancel(call); /* its end is told */
}

static int submission_begin(struct giop_request *request, struct str bytes)
{
	static const struct rpc_call_events events = { NULL, NULL, NULL, on_submitted };
	const struct orb_connection *connection = giop_request_context(request);
	struct orb_role *role = connection->role;
	struct submission *submission = role->n_submissions < SUBMISSIONS_MAX ? mem_alloc(sizeof *submission) : NULL;
	struct rpc_call *call = submission ? call_open(connection, &rpc_Core_Submit, &events, submission) : NULL;
	if (!call) {
		mem_free(submission);
		return -E_BUSY;
	}
	*submission = (struct submission){ role, request };
	role->n_submissions++;
	pieces_send(call, bytes);
	return 0;
}

/* The sender is whose certificate it is, whatever the envelope says. */
static int envelope_read_cdr(struct cdr_reader *r, const struct id *sender, murmesh_Envelope *ret, struct str *ret_body)
{
	struct str id = cdr_sequence(r);
	cdr_string(r);
	bool server = str_is(cdr_string(r), "server");
	struct str type = cdr_string(r);
	*ret = (murmesh_Envelope){ .which_to = murmesh_Envelope_server_tag, .to.server = true, .created_ms = clock_wall_ms() };
	ret->from.size = sizeof sender->bytes;
	memcpy(ret->from.bytes, sender->bytes, sizeof sender->bytes);
	ret->priority = (murmesh_Priority)cdr_u8(r);
	ret->lifetime_s = cdr_u32(r);
	*ret_body = cdr_sequence(r);
	if (!server)
		return -E_DENIED;
	if (id.len != sizeof ret->id || str_copy(type, ret->type, sizeof ret->type) < 0)
		return -E_MESSAGE;
	memcpy(ret->id, id.ptr, id.len);
	return 0;
}

void orb_submit(struct giop_request *request, struct cdr_reader *r)
{
	static murmesh_Envelope envelope;
	const struct orb_connection *connection = giop_request_context(request);
	struct buf bytes;
	struct str body;
	int err = device_check(connection);
	if (err < 0)
		return orb_refuse(request, err, NULL);
	err = envelope_read_cdr(r, &connection->peer->identity.id, &envelope, &body);
	if (r->bad)
		return giop_raise(request, GIOP_MARSHAL);
	if (err < 0)
		return orb_refuse(request, err, err == -E_DENIED ? "a device sends to \"server\" only" : ENVELOPE_RULE);
	buf_init(&bytes, ENVELOPE_MAX);
	err = envelope_write(&envelope, body, &bytes);
	bool shape = err == -E_MESSAGE || err == -E_TOO_LONG;
	if (err == 0)
		err = submission_begin(request, buf_str(&bytes));
	buf_done(&bytes);
	if (err < 0)
		orb_refuse(request, err, shape ? ENVELOPE_RULE : NULL);
}

/* ---- what core gives ---- */

static void ask(struct orb_mail *mail, bool next, bool wait)
{
	mail->wanted.next = next;
	mail->wanted.wait = wait;
	if (rpc_call_send(mail->call, &mail->wanted) < 0)
		rpc_call_cancel(mail->call); /* its end is told */
	mail->wanted.kept.size = 0;
}

/* What was given and is not known to have arrived waits again. */
static void receiving_end(struct orb_mail *mail)
{
	if (mail->call) {
		rpc_call_set_events(mail->call, &nobody, NULL);
		rpc_call_cancel(mail->call);
	}
	mail->call = NULL;
	mail->wanted.kept.size = 0;
	mail->answer_by_ms = 0;
	mail->n_polled = 0;
	buf_done(&mail->envelope);
	buf_done(&mail->polled);
}

/* Nobody would call the client any more, which it notices by this. */
static void subscription_end(struct orb_connection *connection)
{
	receiving_end(&connection->mail);
	giop_close(connection->giop);
}

/* One that was read when it came. */
static void envelope_give(struct orb_connection *connection, struct cdr_writer *w, struct str bytes)
{
	static murmesh_Envelope envelope;
	murmesh_Wanted_kept_t *kept = &connection->mail.wanted.kept;
	char sender[ID_TEXT_SIZE] = "server", destination[ID_TEXT_SIZE];
	struct id id;
	struct str body = STR("");
	envelope_read(bytes, &envelope, &body);
	memcpy(kept->bytes + kept->size, envelope.id, sizeof envelope.id);
	kept->size += (pb_size_t)sizeof envelope.id;
	if (envelope.from.size) {
		memcpy(id.bytes, envelope.from.bytes, sizeof id.bytes);
		id_format(&id, sender);
	}
	id_format(&connection->peer->identity.id, destination);
	int64_t left_ms = envelope.created_ms + envelope_lifetime_ms(&envelope) - clock_wall_ms();
	cdr_put_sequence(w, (struct str){ (const char *)envelope.id, sizeof envelope.id });
	cdr_put_string(w, str_from(sender));
	cdr_put_string(w, str_from(destination));
	cdr_put_string(w, str_from(envelope.type));
	cdr_put_u8(w, (uint8_t)envelope.priority);
	cdr_put_u32(w, left_ms > 0 ? (uint32_t)(left_ms / 1000) : 0);
	cdr_put_sequence(w, body);
}

/* ---- poll ---- */

static struct giop_request *request_over(struct orb_mail *mail, enum orb_mail_state state)
{
	struct giop_request *request = mail->request;
	mail->request = NULL;
	mail->state = state;
	return request;
}

static void poll_answer(struct orb_connection *connection)
{
	struct orb_mail *mail = &connection->mail;
	struct giop_request *request = request_over(mail, ORB_MAIL_IDLE);
	struct reader reader = { buf_head(&mail->polled), buf_len(&mail->polled) };
	struct cdr_writer *w = giop_reply(request);
	const uint8_t *bytes;
	uint32_t len;
	cdr_put_u32(w, mail->n_polled);
	while (reader_be32(&reader, &len) == 0 && reader_bytes(&reader, len, &bytes) == 0)
		envelope_give(connection, w, (struct str){ (const char *)bytes, len });
	buf_done(&mail->polled);
	mail->n_polled = 0;
	if (!giop_request_wanted(request))
		receiving_end(mail);
	giop_reply_end(request); /* which may be the end of the connection */
}

static int poll_add(struct orb_mail *mail)
{
	int err = buf_append_be32(&mail->polled, (uint32_t)buf_len(&mail->envelope));
	if (err == 0)
		err = buf_append_str(&mail->polled, buf_str(&mail->envelope));
	mail->n_polled++;
	buf_done(&mail->envelope);
	return err;
}

static int poll_take(struct orb_connection *connection)
{
	struct orb_mail *mail = &connection->mail;
	bool none = !buf_len(&mail->envelope);
	int err = none ? 0 : poll_add(mail);
	if (err < 0)
		return err;
	if (none || mail->n_polled == mail->most || buf_len(&mail->polled) + 4 + ENVELOPE_MAX > POLL_BYTES)
		poll_answer(connection);
	else
		ask(mail, true, false);
	return 0;
}

/* ---- subscribe ---- */

static void on_taken(void *ctx, int status, struct cdr_reader *result)
{
	struct orb_connection *connection = ctx;
	(void)result;
	if (status < 0)
		return; /* the connection has ended */
	connection->mail.answer_by_ms = 0;
	if (status > 0)
		return subscription_end(connection);
	ask(&connection->mail, true, true);
}

static int receiver_call(struct orb_connection *connection, const char *operation, struct str arguments, giop_call_done done)
{
	struct orb_mail *mail = &connection->mail;
	struct str key = { (const char *)mail->receiver, mail->receiver_len };
	mail->answer_by_ms = io_loop_now_ms(connection->role->loop) + ANSWER_MS;
	return giop_call(connection->giop, key, operation, arguments, done, connection); /* which may be the connection's end */
}

static int take(struct orb_connection *connection)
{
	struct buf arguments;
	buf_init(&arguments, ENVELOPE_MAX);
	struct cdr_writer w = cdr_writer(&arguments, true);
	envelope_give(connection, &w, buf_str(&connection->mail.envelope));
	buf_done(&connection->mail.envelope);
	int err = w.err < 0 ? w.err : receiver_call(connection, "take", buf_str(&arguments), on_taken);
	buf_done(&arguments);
	return err;
}

static void subscribed(struct orb_mail *mail)
{
	struct giop_request *request = request_over(mail, ORB_MAIL_SUBSCRIBED);
	ask(mail, true, true);
	giop_reply(request);
	giop_reply_end(request);
}

static void on_met(void *ctx, int status, struct cdr_reader *result)
{
	struct orb_connection *connection = ctx;
	struct orb_mail *mail = &connection->mail;
	if (status < 0 || mail->state != ORB_MAIL_MEETING)
		return;
	mail->answer_by_ms = 0;
	if (status == 0 && !cdr_u8(result) && !result->bad)
		return ask(mail, false, false);
	orb_refuse(request_over(mail, ORB_MAIL_IDLE), -E_ONE_WAY, NULL);
}

/* ---- the call to core ---- */

static int envelope_came(struct orb_connection *connection)
{
	static murmesh_Envelope envelope;
	struct orb_mail *mail = &connection->mail;
	struct str body;
	int err = buf_len(&mail->envelope) ? envelope_read(buf_str(&mail->envelope), &envelope, &body) : 0;
	if (err == 0 && mail->state == ORB_MAIL_POLLED)
		err = poll_take(connection);
	else if (err == 0 && mail->state == ORB_MAIL_MEETING)
		subscribed(mail);
	else if (err == 0)
		err = take(connection);
	return err;
}

static void receiving_failed(struct orb_connection *connection, int err, const char *why)
{
	struct orb_mail *mail = &connection->mail;
	receiving_end(mail);
	if (mail->state == ORB_MAIL_SUBSCRIBED) {
		subscription_end(connection);
		orb_connection_update(connection);
	} else if (mail->request)
		orb_refuse(request_over(mail, ORB_MAIL_IDLE), err, why);
}

static void on_given(void *ctx, const void *message)
{
	struct orb_connection *connection = ctx;
	const murmesh_Given *given = message;
	int err = buf_append(&connection->mail.envelope, given->data.bytes, given->data.size);
	if (err == 0 && given->last)
		err = envelope_came(connection);
	if (err < 0)
		receiving_failed(connection, err, NULL);
}

static void on_receiving_closed(void *ctx, int err, const char *why)
{
	struct orb_connection *connection = ctx;
	connection->mail.call = NULL;
	receiving_failed(connection, err < 0 ? err : -E_CLOSED, why);
}

static int receiving_begin(struct orb_connection *connection)
{
	static const struct rpc_call_events events = { on_given, NULL, NULL, on_receiving_closed };
	struct orb_mail *mail = &connection->mail;
	int err = device_check(connection);
	if (err == 0 && mail->state == ORB_MAIL_SUBSCRIBED)
		err = -E_SUBSCRIBED;
	if (err == 0 && mail->request)
		err = -E_BUSY;
	if (err == 0 && !mail->call)
		mail->call = call_open(connection, &rpc_Core_Receive, &events, connection);
	return err < 0 || mail->call ? err : -E_BUSY;
}

void orb_poll(struct giop_request *request, struct cdr_reader *r)
{
	struct orb_connection *connection = giop_request_context(request);
	struct orb_mail *mail = &connection->mail;
	uint32_t most = cdr_u32(r);
	if (r->bad)
		return giop_raise(request, GIOP_MARSHAL);
	int err = most > INT32_MAX ? -E_NUMBER : receiving_begin(connection);
	if (err < 0)
		return orb_refuse(request, err, NULL);
	mail->state = ORB_MAIL_POLLED;
	mail->request = request;
	mail->most = most < POLL_MOST ? most : POLL_MOST;
	ask(mail, most > 0, false);
}

void orb_subscribe(struct giop_request *request, struct cdr_reader *r)
{
	struct orb_connection *connection = giop_request_context(request);
	struct orb_mail *mail = &connection->mail;
	struct ior ior;
	int err = ior_read_cdr(r, &ior);
	if (err < 0)
		return giop_raise(request, r->bad ? GIOP_MARSHAL : GIOP_BAD_PARAM);
	err = receiving_begin(connection);
	if (err < 0)
		return orb_refuse(request, err, NULL);
	memcpy(mail->receiver, ior.key, ior.key_len);
	mail->receiver_len = ior.key_len;
	mail->state = ORB_MAIL_MEETING;
	mail->request = request;
	err = receiver_call(connection, "_non_existent", STR(""), on_met);
	if (err < 0) {
		mail->answer_by_ms = 0;
		orb_refuse(request_over(mail, ORB_MAIL_IDLE), err == -E_UNSUPPORTED ? -E_ONE_WAY : err, NULL);
	}
}

/* ---- beginning and end ---- */

void orb_mail_init(struct orb_mail *mail)
{
	buf_init(&mail->envelope, ENVELOPE_MAX);
	buf_init(&mail->polled, POLL_BYTES);
}

void orb_mail_end(struct orb_connection *connection)
{
	struct orb_mail *mail = &connection->mail;
	receiving_end(mail);
	if (mail->request)
		giop_raise(request_over(mail, ORB_MAIL_IDLE), GIOP_TRANSIENT);
}
