/* Enrolment (proto/enrol.proto), step by step; each step that is done is kept, so that a kill between two is made good by the next start:
 * token, key and CSR, node certificate, manager certificate. */
#include <errno.h>
#include <pb_decode.h>
#include <pb_encode.h>

#include "agent/net.h"
#include "base/encode.h"
#include "base/err.h"
#include "os/file.h"
#include "os/random.h"

#define STEP_MS       20000
#define WAIT_LEAST_MS 2000 /* between two questions whether this machine is approved; longer each time */
#define WAIT_MOST_MS  30000

static void wait_again(struct net_role *net)
{
	net_hang_up(net);
	io_timer_start(net->wait, net->pause_ms / 2 + random_below(net->pause_ms / 2), 0);
	net->pause_ms = net->pause_ms * 2 < WAIT_MOST_MS ? net->pause_ms * 2 : WAIT_MOST_MS;
}

/* What passes by itself is no reason to stop waiting. */
static bool may_pass(int err)
{
	return err == -E_UNREACHABLE || err == -E_BUSY || err == -E_CLOSED || err == -E_TIMEOUT || err == -E_RELAY_OFFLINE ||
	       err == -E_CORE_OFFLINE || err == -E_PROXY;
}

static void give_up(struct net_role *net, int err, const char *why)
{
	if (net->waiting && may_pass(err))
		return wait_again(net);
	net_hang_up(net);
	net_report(net, "refused %s %s", err_name(err), why && *why ? why : err_text(err));
}

static int keep_parent(const struct net_role *net)
{
	char path[4096], text[JOIN_HOST_SIZE + 16];
	int len = snprintf(text, sizeof text, "host=%s\nport=%u\n", net->line.host, net->line.port);
	int err = keep_file(&net->keep, "parent", path);
	return err < 0 ? err : file_write(path, text, (size_t)len, 0600);
}

static void dial(struct net_role *net);
static void token_ask(struct net_role *net);

/* ---- 4. the management part ---- */

static void on_installed(void *ctx, int err, const char *why, const void *response)
{
	struct net_role *net = ctx;
	(void)response;
	if (err == 0)
		err = keep_parent(net);
	if (err < 0)
		return give_up(net, err, why);
	net_hang_up(net);
	net_report(net, "enrolled %s", net->keep.info.common_name);
	net_link(net);
}

static void on_manager_certificate(void *ctx, int err, const char *why, const void *response)
{
	struct net_role *net = ctx;
	if (err == 0)
		err = net->exec ? rpc_unary(net->exec, &rpc_Manager_Install, response, STEP_MS, on_installed, net) : -E_BUSY;
	if (err < 0)
		give_up(net, err, why);
}

static void request_certificate(struct net_role *net, murmesh_CertificateKind kind, struct str csr, rpc_unary_done done)
{
	static murmesh_CertificateRequest request;
	keep_request(&net->line, &net->token, &net->host, kind, csr, &request);
	int err = rpc_unary(net->parent, &rpc_CertificationManager_RequestCertificate, &request, STEP_MS, done, net);
	if (err < 0)
		give_up(net, err, NULL);
}

static void on_manager_csr(void *ctx, int err, const char *why, const void *response)
{
	struct net_role *net = ctx;
	const murmesh_ManagerCsr *reply = response;
	if (err < 0)
		return give_up(net, err, why);
	if (!reply->csr.size)
		return on_installed(net, 0, "", NULL);
	if (!net->parent)
		return dial(net);
	if (keep_token_load(&net->keep, &net->line.key, &net->token) < 0)
		return give_up(net, -E_KEY_UNKNOWN,
		               "the machine is enrolled, its management part is not, and the first join line is needed for it");
	const struct str csr = { (const char *)reply->csr.bytes, reply->csr.size };
	request_certificate(net, murmesh_CertificateKind_MANAGER, csr, on_manager_certificate);
}

static void manager_step(struct net_role *net)
{
	murmesh_ManagerRequest request = murmesh_ManagerRequest_init_zero;
	int err = net->exec ? rpc_unary(net->exec, &rpc_Manager_Request, &request, STEP_MS, on_manager_csr, net) : -E_BUSY;
	if (err < 0)
		give_up(net, err, NULL);
}

/* ---- 3. the machine itself ---- */

static void on_wait(void *ctx)
{
	dial(ctx);
}

static int wait_begin(struct net_role *net)
{
	uint8_t hash[HASH_SIZE];
	char fingerprint[2 * HASH_SIZE + 1];
	int err = key_public_hash(net->keep.key, hash);
	net->wait = io_timer_new(net->loop, on_wait, net);
	if (err < 0 || !net->wait)
		return err < 0 ? err : -E_NO_MEMORY;
	hex_encode(hash, sizeof hash, fingerprint);
	net->waiting = true;
	net->pause_ms = WAIT_LEAST_MS;
	net_report(net, "waiting %s %s", net->token.full_name, fingerprint);
	return 0;
}

static void on_node_certificate(void *ctx, int err, const char *why, const void *response)
{
	struct net_role *net = ctx;
	const murmesh_CertificateReply *reply = response;
	if (err == -E_KEY_UNKNOWN && net->token_old) /* the server has forgotten it meanwhile; the join key may still be good */
		return token_ask(net);
	if (err == 0 && reply->status == murmesh_CertificateStatus_PENDING) {
		err = net->waiting ? 0 : wait_begin(net);
		return err < 0 ? give_up(net, err, NULL) : wait_again(net);
	}
	if (err == 0)
		err = keep_parent(net);
	if (err == 0)
		err = keep_install(&net->keep, reply, IDENTITY_NODE, net->line.root_hash);
	if (err == 0)
		err = net_enter_enrolled(net);
	if (err < 0)
		return give_up(net, err, why);
	manager_step(net);
}

static void node_step(struct net_role *net)
{
	request_certificate(net, murmesh_CertificateKind_NODE, buf_str(&net->csr), on_node_certificate);
}

/* ---- 2. key and CSR; 1. the token ---- */

static void on_token(void *ctx, int err, const char *why, const void *response)
{
	struct net_role *net = ctx;
	if (err == 0) {
		net->token = *(const murmesh_Token *)response;
		err = keep_token(&net->keep, &net->line.key, &net->token);
	}
	if (err == 0)
		err = keep_csr(&net->keep, &net->csr);
	if (err < 0)
		return give_up(net, err, why);
	node_step(net);
}

static void token_ask(struct net_role *net)
{
	murmesh_TokenRequest request = murmesh_TokenRequest_init_zero;
	net->token_old = false;
	memcpy(request.key_id, net->line.key.bytes, sizeof request.key_id);
	str_copy(str_from(net->name), request.name, sizeof request.name);
	int err = rpc_unary(net->parent, &rpc_CertificationManager_RequestToken, &request, STEP_MS, on_token, net);
	if (err < 0)
		give_up(net, err, NULL);
}

static void token_step(struct net_role *net)
{
	net->token_old = keep_token_load(&net->keep, &net->line.key, &net->token) == 0;
	if (!net->token_old)
		return token_ask(net);
	int err = keep_csr(&net->keep, &net->csr);
	if (err < 0)
		return give_up(net, err, NULL);
	node_step(net);
}

/* ---- the connection ---- */

static void on_connected(struct net_role *net, int err)
{
	if (err < 0)
		return give_up(net, err, NULL);
	if (net->keep.leaf)
		manager_step(net);
	else
		token_step(net);
}

static void dial(struct net_role *net)
{
	net_dial(net, net->pin_tls, on_connected);
}

void net_enrol(struct net_role *net)
{
	static const char *const alpn[] = { "h2", NULL };
	struct tls_settings settings = { .verify = TLS_VERIFY_PIN, .kinds = NET_PARENT_KINDS, .alpn = alpn };
	memcpy(settings.pin, net->line.root_hash, sizeof settings.pin);
	net_parent_set(net, net->line.host, net->line.port);
	buf_init(&net->csr, CERTIFICATE_REQUEST_MAX);
	int err = net->pin_tls ? 0 : tls_context_new(&settings, &net->pin_tls);
	if (err == 0 && (!net->exec || !net->resolve))
		err = -E_BUSY;
	if (err < 0)
		return give_up(net, err, NULL);
	if (net->keep.leaf)
		manager_step(net); /* is all done already?  Then the parent need not be there now */
	else
		dial(net);
}
