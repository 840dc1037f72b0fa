/* What CORBA clients can call (proto/router.idl).  Certificates come out of core, by the calls that link makes for everybody else. */
#include <string.h>

#include "base/err.h"
#include "gateway/certify.h"
#include "os/log.h"
#include "os/socket.h"
#include "rpc/rpc.h"
#include "server/orb.h"
#include "stream/stream.h"

#define CALLS_MAX       4 /* at once, of one connection */
#define CALL_TIMEOUT_MS 20000

/* ---- answers ---- */

void orb_refuse(struct giop_request *request, int err, const char *why)
{
	if (err == -E_BUSY || err == -E_CLOSED)
		return giop_raise(request, GIOP_TRANSIENT);
	struct cdr_writer *w = giop_reply_exception(request, "IDL:murmesh/Refused:1.0");
	cdr_put_u32(w, (uint32_t)-err);
	cdr_put_string(w, str_from(why && *why ? why : err_text(err)));
	giop_reply_end(request);
}

/* The connection to core, or what keeps a caller from it. */
static int core_of(const struct giop_request *request, struct rpc_connection **ret)
{
	const struct orb_connection *connection = giop_request_context(request);
	if (!connection || !connection->role->core || giop_outstanding(connection->giop) > CALLS_MAX)
		return -E_BUSY;
	*ret = connection->role->core;
	return 0;
}

static void call(struct giop_request *request, const struct rpc_method *method, const void *message, rpc_unary_done done)
{
	struct rpc_connection *core;
	int err = core_of(request, &core);
	if (err == 0)
		err = rpc_unary(core, method, message, CALL_TIMEOUT_MS, done, request);
	if (err < 0)
		orb_refuse(request, err, NULL);
}

#define PUT_BYTES(w, field) cdr_put_sequence(w, (struct str){ (const char *)(field).bytes, (field).size })
#define PUT_FIXED(w, field) cdr_put_sequence(w, (struct str){ (const char *)(field), sizeof(field) })

/* ---- arguments that do not fit are BAD_PARAM ---- */

struct arguments {
	struct cdr_reader *r;
	bool unfit;
};

static void read_text(struct arguments *a, char *out, size_t size)
{
	a->unfit |= str_copy(cdr_string(a->r), out, size) < 0;
}

static void read_fixed(struct arguments *a, uint8_t *out, size_t size)
{
	struct str bytes = cdr_sequence(a->r);
	a->unfit |= bytes.len != size;
	if (bytes.len == size)
		memcpy(out, bytes.ptr, size);
}

static size_t read_bytes(struct arguments *a, uint8_t *out, size_t size)
{
	struct str bytes = cdr_sequence(a->r);
	a->unfit |= bytes.len > size;
	if (bytes.len > size)
		return 0;
	memcpy(out, bytes.ptr, bytes.len);
	return bytes.len;
}

static murmesh_CertificateKind read_kind(struct arguments *a)
{
	uint32_t kind = cdr_u32(a->r);
	a->unfit |= kind > 1;
	return kind == 1 ? murmesh_CertificateKind_MANAGER : murmesh_CertificateKind_NODE;
}

/* Raises what is wrong with them. */
static bool arguments_good(const struct arguments *a, struct giop_request *request)
{
	if (a->r->bad)
		giop_raise(request, GIOP_MARSHAL);
	else if (a->unfit)
		giop_raise(request, GIOP_BAD_PARAM);
	return !a->r->bad && !a->unfit;
}

/* ---- CertificationManager ---- */

static void token_done(void *ctx, int err, const char *why, const void *response)
{
	struct giop_request *request = ctx;
	const murmesh_Token *token = response;
	if (err < 0)
		return orb_refuse(request, err, why);
	struct cdr_writer *w = giop_reply(request);
	PUT_FIXED(w, token->enrolment);
	cdr_put_u32(w, token->number);
	cdr_put_string(w, str_from(token->full_name));
	giop_reply_end(request);
}

static void request_token(struct giop_request *request, struct cdr_reader *r)
{
	murmesh_TokenRequest message = murmesh_TokenRequest_init_zero;
	struct arguments a = { r, false };
	read_fixed(&a, message.key_id, sizeof message.key_id);
	read_text(&a, message.name, sizeof message.name);
	if (arguments_good(&a, request))
		call(request, &rpc_CertificationManager_RequestToken, &message, token_done);
}

static void certificate_done(void *ctx, int err, const char *why, const void *response)
{
	struct giop_request *request = ctx;
	const murmesh_CertificateReply *reply = response;
	if (err < 0)
		return orb_refuse(request, err, why);
	struct cdr_writer *w = giop_reply(request);
	cdr_put_u32(w, reply->status == murmesh_CertificateStatus_PENDING);
	PUT_BYTES(w, reply->leaf);
	PUT_BYTES(w, reply->intermediate);
	PUT_BYTES(w, reply->root);
	PUT_BYTES(w, reply->policy.document);
	PUT_BYTES(w, reply->policy.signature);
	PUT_FIXED(w, reply->device_id);
	cdr_put_string(w, str_from(reply->full_name));
	cdr_put_u64(w, (uint64_t)reply->server_time);
	giop_reply_end(request);
}

static murmesh_CheckedRequest *checked_new(const struct giop_request *request)
{
	static murmesh_CheckedRequest checked;
	const struct orb_connection *connection = giop_request_context(request);
	checked = (murmesh_CheckedRequest)murmesh_CheckedRequest_init_zero;
	socket_peer_host(stream_fd(connection->stream), checked.address);
	return &checked;
}

static void request_certificate(struct giop_request *request, struct cdr_reader *r)
{
	murmesh_CheckedRequest *checked = checked_new(request);
	murmesh_CertificateRequest *wanted = &checked->request;
	uint8_t csr[CERTIFICATE_REQUEST_MAX];
	struct arguments a = { r, false };
	read_fixed(&a, wanted->enrolment, sizeof wanted->enrolment);
	wanted->kind = read_kind(&a);
	size_t len = read_bytes(&a, csr, sizeof csr);
	read_fixed(&a, wanted->proof, sizeof wanted->proof);
	read_text(&a, wanted->os, sizeof wanted->os);
	read_text(&a, wanted->arch, sizeof wanted->arch);
	read_text(&a, wanted->version, sizeof wanted->version);
	if (!arguments_good(&a, request))
		return;
	int err = certify_csr(csr, len, checked);
	if (err < 0)
		return orb_refuse(request, err, NULL);
	call(request, &rpc_Core_Certify, checked, certificate_done);
}

/* A node by its certificate, or by one that has expired. */
static int renewal_check(const struct orb_connection *connection, const murmesh_RenewRequest *renewal,
                         murmesh_CheckedRequest *checked)
{
	const struct orb_role *role = connection->role;
	if (!connection->peer)
		return certify_expired(renewal, component_issuers(role->component), component_mesh(role->component), checked);
	if (connection->peer->identity.kind != IDENTITY_NODE)
		return -E_DENIED;
	identity_format(&connection->peer->identity, checked->peer);
	return 0;
}

static void renew_certificate(struct giop_request *request, struct cdr_reader *r)
{
	murmesh_CheckedRequest *checked = checked_new(request);
	murmesh_RenewRequest renewal = murmesh_RenewRequest_init_zero;
	struct arguments a = { r, false };
	renewal.csr.size = (pb_size_t)read_bytes(&a, renewal.csr.bytes, sizeof renewal.csr.bytes);
	checked->kind = renewal.kind = read_kind(&a);
	renewal.leaf.size = (pb_size_t)read_bytes(&a, renewal.leaf.bytes, sizeof renewal.leaf.bytes);
	renewal.continuation = cdr_u64(r);
	if (!arguments_good(&a, request))
		return;
	int err = renewal_check(giop_request_context(request), &renewal, checked);
	if (err == 0)
		err = certify_csr(renewal.csr.bytes, renewal.csr.size, checked);
	if (err < 0)
		return orb_refuse(request, err, NULL);
	call(request, &rpc_Core_Certify, checked, certificate_done);
}

/* ---- Router ---- */

static void get_version(struct giop_request *request, struct cdr_reader *r)
{
	(void)r;
	cdr_put_string(giop_reply(request), STR(MURMESH_VERSION));
	giop_reply_end(request);
}

static void get_mesh(struct giop_request *request, struct cdr_reader *r)
{
	const struct orb_connection *connection = giop_request_context(request);
	char text[ID_TEXT_SIZE];
	(void)r;
	id_format(component_mesh(connection->role->component), text);
	cdr_put_string(giop_reply(request), str_from(text));
	giop_reply_end(request);
}

static void echo(struct giop_request *request, struct cdr_reader *r)
{
	struct str text = cdr_string(r);
	if (r->bad)
		return giop_raise(request, GIOP_MARSHAL);
	cdr_put_string(giop_reply(request), text);
	giop_reply_end(request);
}

static void reached(void *ctx, int status, struct cdr_reader *result)
{
	struct giop_request *request = ctx;
	bool gone = status != 0 || cdr_u8(result) || result->bad;
	cdr_put_u8(giop_reply(request), !gone);
	giop_reply_end(request);
}

static void reaches(struct giop_request *request, struct cdr_reader *r)
{
	const struct orb_connection *connection = giop_request_context(request);
	struct ior ior;
	int err = ior_read_cdr(r, &ior);
	if (err < 0)
		return giop_raise(request, r->bad ? GIOP_MARSHAL : GIOP_BAD_PARAM);
	struct str key = { (const char *)ior.key, ior.key_len };
	if (giop_call(connection->giop, key, "_non_existent", STR(""), reached, request) < 0)
		reached(request, -E_UNSUPPORTED, NULL);
}

static const struct giop_operation manager[] = {
	{ "request_token", request_token },
	{ "request_certificate", request_certificate },
	{ "renew_certificate", renew_certificate },
};
static const struct giop_operation router[] = {
	{ "_get_version", get_version }, { "_get_mesh", get_mesh }, { "echo", echo },
	{ "reaches", reaches },          { "submit", orb_submit },  { "poll", orb_poll },
	{ "subscribe", orb_subscribe },
};
const struct giop_object orb_objects[ORB_OBJECTS] = {
	{ "CertificationManager", "IDL:murmesh/CertificationManager:1.0", 0, manager, sizeof manager / sizeof *manager },
	{ "Router", "IDL:murmesh/Router:1.0", ORB_TRUSTED, router, sizeof router / sizeof *router },
};
