/* The ca role: the certification manager's keys.  It answers core alone and parses no network bytes. */
#include "base/err.h"
#include "base/utf8.h"
#include "ca/authority.h"
#include "crypto/tls.h"
#include "io/io.h"
#include "os/log.h"
#include "rpc/rpc.h"
#include "server/server.h"
#include "services.h"

struct ca_role {
	struct priv_child *child;
	struct authority *authority;
	struct rpc_connection *core;
};

static void on_describe(void *ctx, struct rpc_call *call, const void *request)
{
	static murmesh_CertificateReply reply;
	struct ca_role *role = ctx;
	(void)request;
	reply = (murmesh_CertificateReply)murmesh_CertificateReply_init_zero;
	int err = certificate_put(authority_intermediate(role->authority), reply.intermediate.bytes,
	                          sizeof reply.intermediate.bytes, &reply.intermediate.size);
	if (err == 0)
		err = certificate_put(authority_root(role->authority), reply.root.bytes, sizeof reply.root.bytes, &reply.root.size);
	const struct certificate *const *formers;
	size_t n = authority_formers(role->authority, &formers);
	for (size_t i = 0; err == 0 && i < n; i++)
		err = certificate_put(formers[i], reply.former[i].bytes, sizeof reply.former[i].bytes, &reply.former[i].size);
	if (err < 0)
		return rpc_call_finish(call, err, NULL);
	reply.former_count = (pb_size_t)n;
	reply.has_policy = true;
	reply.policy = *authority_policy(role->authority);
	memcpy(reply.device_id, authority_mesh(role->authority)->bytes, sizeof reply.device_id);
	rpc_call_reply(call, &reply);
}

static int issue(const struct ca_role *role, const murmesh_IssueRequest *request, murmesh_Issued *reply)
{
	struct str names[sizeof request->names / sizeof *request->names];
	struct certificate *leaf = NULL;
	struct certificate_info info;
	for (pb_size_t i = 0; i < request->names_count; i++)
		names[i] = str_from(request->names[i]);
	struct certificate_order order = { .profile = CERTIFICATE_LEAF,
		                           .identity = { .mesh = *authority_mesh(role->authority),
		                                         .kind = (enum identity_kind)request->kind },
		                           .common_name = str_from(request->common_name),
		                           .names = names,
		                           .n_names = request->names_count,
		                           .not_before = request->not_before,
		                           .not_after = request->not_after,
		                           .usage = (enum certificate_usage)request->usage };
	if (request->kind > murmesh_CertificateKind_RELAY || request->usage > CERTIFICATE_SERVER || !utf8_valid(order.common_name))
		return -E_MESSAGE;
	memcpy(order.identity.id.bytes, request->id, sizeof request->id);
	int err = authority_issue(role->authority, &order, request->key.bytes, request->key.size, &leaf);
	if (err == 0)
		err = certificate_inspect(leaf, &info);
	if (err == 0)
		err = certificate_put(leaf, reply->leaf.bytes, sizeof reply->leaf.bytes, &reply->leaf.size);
	if (err == 0) {
		memcpy(reply->serial, info.serial, sizeof reply->serial);
		memcpy(reply->key_hash, info.key_hash, sizeof reply->key_hash);
	}
	certificate_free(leaf);
	return err;
}

static void on_issue(void *ctx, struct rpc_call *call, const void *request)
{
	static murmesh_Issued reply;
	reply = (murmesh_Issued)murmesh_Issued_init_zero;
	int err = issue(ctx, request, &reply);
	if (err < 0)
		rpc_call_finish(call, err, NULL);
	else
		rpc_call_reply(call, &reply);
}

static void on_sign(void *ctx, struct rpc_call *call, const void *message)
{
	static murmesh_SignedDocument reply;
	const struct ca_role *role = ctx;
	const murmesh_SignRequest *request = message;
	size_t len;
	int err = authority_sign(role->authority, (enum authority_purpose)request->purpose, request->document.bytes,
	                         request->document.size, reply.signature.bytes, &len);
	if (err < 0)
		return rpc_call_finish(call, err, NULL);
	reply.signature.size = (pb_size_t)len;
	reply.document.size = request->document.size;
	memcpy(reply.document.bytes, request->document.bytes, request->document.size);
	rpc_call_reply(call, &reply);
}

/* It opens no file once it is confined: the next one reads what has changed. */
static void on_reload(void *ctx, struct rpc_call *call, const void *request)
{
	const struct ca_role *role = ctx;
	(void)call;
	(void)request;
	io_loop_stop(priv_child_loop(role->child));
}

static const struct rpc_service services[] = {
	{ &rpc_Ca_Describe, 0, on_describe, NULL },
	{ &rpc_Ca_Issue, 0, on_issue, NULL },
	{ &rpc_Ca_Sign, 0, on_sign, NULL },
	{ &rpc_Ca_Reload, 0, on_reload, NULL },
};

static int on_open(void *ctx, struct rpc_call *call)
{
	const struct rpc_service *row = rpc_service_find(services, sizeof services / sizeof *services, rpc_call_path(call));
	return row ? rpc_serve(row, call, ctx) : -E_UNSUPPORTED;
}

static void on_core_closed(void *ctx, int err)
{
	struct ca_role *role = ctx;
	(void)err;
	role->core = rpc_connection_free(role->core);
}

static void on_descriptor(void *ctx, const char *name, int fd)
{
	static const struct rpc_connection_events events = { on_open, NULL, on_core_closed };
	static const struct rpc_connection_settings settings = { .server = true, .max_streams = 1000 };
	struct ca_role *role = ctx;
	(void)name; /* rpc-from:core is the only edge */
	rpc_connection_replace(&role->core, priv_child_loop(role->child), fd, &settings, &events, role);
}

static int start_inside(void *ctx)
{
	struct ca_role *role = ctx;
	bool created;
	int err = authority_open(priv_child_directory(role->child), &role->authority, &created);
	if (err < 0)
		log_error("the certification manager's keys cannot be used: %s", err_text(err));
	else if (created)
		log_info("a new mesh root was made in the ca directory; move root.key to a safe place, the server does not need it "
		         "to run");
	return err;
}

int server_ca_main(struct priv_child *child)
{
	static const struct priv_child_events events = { on_descriptor, NULL, NULL };
	struct ca_role role = { .child = child };
	tls_warm_up();
	priv_child_listen(child, &events, &role);
	if (priv_child_confine_with(child, start_inside, &role) < 0)
		return 78;
	priv_child_ready(child);
	int code = priv_child_run(child);
	rpc_connection_free(role.core);
	authority_free(role.authority);
	return code;
}
