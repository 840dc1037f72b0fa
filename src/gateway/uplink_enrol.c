/* The component's certificate: got by a join key that was made for one (token, key and CSR, certificate: each kept, so that a kill in between is made
 * good), renewed at two thirds of its life, or late, over a connection without one. */
#include <errno.h>

#include "base/encode.h"
#include "base/err.h"
#include "crypto/tls.h"
#include "gateway/uplink.h"
#include "os/clock.h"
#include "os/log.h"
#include "os/random.h"

#define STEP_MS       20000
#define WAIT_LEAST_MS 2000 /* between two questions whether this machine is approved; longer each time */
#define WAIT_MOST_MS  30000
#define KINDS         (1u << IDENTITY_COMPONENT) /* of core's machine: a relay of the mesh is no way to it */

static const char *const alpn[] = { "h2", NULL };

static int pin_use(struct uplink *uplink, const uint8_t root_hash[HASH_SIZE])
{
	struct tls_settings settings = { .verify = TLS_VERIFY_PIN, .kinds = KINDS, .alpn = alpn };
	memcpy(settings.pin, root_hash, sizeof settings.pin);
	tls_context_free(uplink->pin_tls);
	uplink->pin_tls = NULL;
	return tls_context_new(&settings, &uplink->pin_tls);
}

static int context_use(const struct uplink *uplink, const char *const *names, struct tls_context **at)
{
	const struct keep *keep = &uplink->keep;
	const struct tls_settings settings = { .verify = TLS_VERIFY_REQUIRED,
		                               .leaf = keep->leaf,
		                               .intermediate = keep->intermediate,
		                               .root = keep->root,
		                               .key = keep->key,
		                               .mesh = keep->info.identity.mesh,
		                               .kinds = KINDS,
		                               .alpn = names };
	struct tls_context *tls = NULL;
	int err = tls_context_new(&settings, &tls);
	if (err < 0)
		return err;
	tls_context_free(*at);
	*at = tls;
	return 0;
}

static int identity_use(struct uplink *uplink)
{
	static const char *const serve_alpn[] = { "murmesh-serve/1", NULL };
	int err = context_use(uplink, alpn, &uplink->tls);
	return err < 0 ? err : context_use(uplink, serve_alpn, &uplink->serve_tls);
}

/* ---- enrolment ---- */

static void token_ask(struct uplink *uplink);

static void wait_again(struct uplink *uplink)
{
	uplink_hang_up(uplink);
	io_timer_start(uplink->retry, uplink->pause_ms / 2 + random_below(uplink->pause_ms / 2), 0);
	uplink->pause_ms = uplink->pause_ms * 2 < WAIT_MOST_MS ? uplink->pause_ms * 2 : WAIT_MOST_MS;
}

/* What passes by itself is no reason to stop waiting for approval. */
static void give_up(struct uplink *uplink, int err, const char *why)
{
	if (uplink->waiting && (err == -E_UNREACHABLE || err == -E_BUSY || err == -E_CLOSED || err == -E_TIMEOUT))
		return wait_again(uplink);
	uplink_hang_up(uplink);
	uplink_report(uplink, "refused %s %s", err_name(err), why && *why ? why : err_text(err));
}

static int wait_begin(struct uplink *uplink, const char *name)
{
	uint8_t hash[HASH_SIZE];
	char fingerprint[2 * HASH_SIZE + 1];
	int err = key_public_hash(uplink->keep.key, hash);
	if (err < 0)
		return err;
	hex_encode(hash, sizeof hash, fingerprint);
	uplink->waiting = true;
	uplink->pause_ms = WAIT_LEAST_MS;
	uplink_report(uplink, "waiting %s %s", name, fingerprint);
	return 0;
}

static void on_certificate(void *ctx, int err, const char *why, const void *response)
{
	struct uplink *uplink = ctx;
	const murmesh_CertificateReply *reply = response;
	if (err == -E_KEY_UNKNOWN && uplink->token_old) /* the server has forgotten it meanwhile; the join key may still be good */
		return token_ask(uplink);
	if (err == 0 && reply->status == murmesh_CertificateStatus_PENDING) {
		err = uplink->waiting ? 0 : wait_begin(uplink, uplink->token.full_name);
		return err < 0 ? give_up(uplink, err, NULL) : wait_again(uplink);
	}
	if (err == 0)
		err = keep_install(&uplink->keep, reply, IDENTITY_COMPONENT, uplink->line.root_hash);
	if (err == 0)
		err = identity_use(uplink);
	if (err < 0)
		return give_up(uplink, err, why);
	uplink_hang_up(uplink);
	uplink_report(uplink, "enrolled %s", uplink->keep.info.common_name);
	uplink_link(uplink);
}

static int certificate_ask(struct uplink *uplink)
{
	static murmesh_CertificateRequest request;
	int err = keep_csr(&uplink->keep, &uplink->csr);
	if (err < 0)
		return err;
	keep_request(&uplink->line, &uplink->token, &uplink->host, murmesh_CertificateKind_COMPONENT, buf_str(&uplink->csr),
	             &request);
	str_copy(str_setting(priv_child_configuration(uplink->child), "address"), request.address, sizeof request.address);
	return rpc_unary(uplink->core, &rpc_CertificationManager_RequestCertificate, &request, STEP_MS, on_certificate, uplink);
}

static void on_token(void *ctx, int err, const char *why, const void *response)
{
	struct uplink *uplink = ctx;
	if (err == 0) {
		uplink->token = *(const murmesh_Token *)response;
		err = keep_token(&uplink->keep, &uplink->line.key, &uplink->token);
	}
	if (err == 0)
		err = certificate_ask(uplink);
	if (err < 0)
		give_up(uplink, err, why);
}

static void token_ask(struct uplink *uplink)
{
	murmesh_TokenRequest request = murmesh_TokenRequest_init_zero;
	uplink->token_old = false;
	memcpy(request.key_id, uplink->line.key.bytes, sizeof request.key_id);
	str_copy(str_from(uplink->name), request.name, sizeof request.name);
	int err = rpc_unary(uplink->core, &rpc_CertificationManager_RequestToken, &request, STEP_MS, on_token, uplink);
	if (err < 0)
		give_up(uplink, err, NULL);
}

static void on_enrol_connected(struct uplink *uplink, int err)
{
	if (err < 0)
		return give_up(uplink, err, NULL);
	uplink->token_old = keep_token_load(&uplink->keep, &uplink->line.key, &uplink->token) == 0;
	if (!uplink->token_old)
		return token_ask(uplink);
	err = certificate_ask(uplink);
	if (err < 0)
		give_up(uplink, err, NULL);
}

void uplink_enrol(struct uplink *uplink)
{
	int err = pin_use(uplink, uplink->line.root_hash);
	if (err < 0)
		return give_up(uplink, err, NULL);
	uplink_dial(uplink, uplink->pin_tls, on_enrol_connected);
}

/* ---- renewal ---- */

static void schedule(struct uplink *uplink)
{
	const struct certificate_info *info = &uplink->keep.info;
	int64_t life = info->not_after - info->not_before, left = info->not_after - life / 3 - clock_wall_s();
	uint64_t wait_s = left > 0 ? (uint64_t)left : 0;
	io_timer_start(uplink->renewal, wait_s * 1000 + random_below((uint64_t)life * 1000 / 20 + 1), 0);
}

static int renew(struct uplink *uplink, const struct certificate *expired, rpc_unary_done done)
{
	static murmesh_RenewRequest request;
	request = (murmesh_RenewRequest){ .kind = murmesh_CertificateKind_COMPONENT };
	buf_clear(&uplink->csr);
	int err = certificate_request_write(uplink->keep.key, &uplink->csr);
	if (err == 0 && expired)
		err = certificate_put(expired, request.leaf.bytes, sizeof request.leaf.bytes, &request.leaf.size);
	if (err < 0)
		return err;
	memcpy(request.csr.bytes, buf_head(&uplink->csr), buf_len(&uplink->csr));
	request.csr.size = (pb_size_t)buf_len(&uplink->csr);
	return rpc_unary(uplink->core, &rpc_CertificationManager_RenewCertificate, &request, STEP_MS, done, uplink);
}

static int renewed_use(struct uplink *uplink, const void *response)
{
	int err = keep_install(&uplink->keep, response, IDENTITY_COMPONENT, NULL);
	if (err == 0)
		err = identity_use(uplink);
	if (err == 0)
		log_info("the certificate was renewed");
	return err;
}

static void on_renewed(void *ctx, int err, const char *why, const void *response)
{
	struct uplink *uplink = ctx;
	if (err == 0)
		err = renewed_use(uplink, response);
	if (err == 0)
		return schedule(uplink);
	log_warning("the certificate was not renewed: %s %s", err_text(err), why ? why : "");
	io_timer_start(uplink->renewal, 60000 + random_below(600000), 0);
}

static void on_renewal(void *ctx)
{
	struct uplink *uplink = ctx;
	int err = uplink->online ? renew(uplink, NULL, on_renewed) : -E_CORE_OFFLINE;
	if (err < 0)
		on_renewed(uplink, err, NULL, NULL);
}

static void on_late_renewed(void *ctx, int err, const char *why, const void *response)
{
	struct uplink *uplink = ctx;
	if (err == 0)
		err = renewed_use(uplink, response);
	if (err < 0)
		return uplink_later(uplink, err, why);
	uplink_hang_up(uplink);
	uplink_link(uplink);
}

static void on_late_connected(struct uplink *uplink, int err)
{
	if (err == 0)
		err = renew(uplink, uplink->keep.leaf, on_late_renewed);
	if (err < 0)
		uplink_later(uplink, err, NULL);
}

/* ---- */

static void on_connected(struct uplink *uplink, int err)
{
	if (err < 0)
		return uplink_later(uplink, err, NULL);
	uplink_attach(uplink);
}

static void on_retry(void *ctx)
{
	struct uplink *uplink = ctx;
	if (!uplink->keep.leaf)
		uplink_dial(uplink, uplink->pin_tls, on_enrol_connected);
	else if (clock_wall_s() > uplink->keep.info.not_after)
		uplink_dial(uplink, uplink->pin_tls, on_late_connected);
	else
		uplink_dial(uplink, uplink->tls, on_connected);
}

void uplink_link(struct uplink *uplink)
{
	schedule(uplink);
	on_retry(uplink);
}

int uplink_load(struct uplink *uplink)
{
	struct certificate_info root;
	uplink->retry = io_timer_new(uplink->loop, on_retry, uplink);
	uplink->renewal = io_timer_new(uplink->loop, on_renewal, uplink);
	int there = uplink->retry && uplink->renewal ? keep_load(&uplink->keep) : -E_NO_MEMORY;
	if (there <= 0)
		return there;
	int err = certificate_inspect(uplink->keep.root, &root);
	if (err == 0 && uplink->has_line && !hash_equal(root.key_hash, uplink->line.root_hash))
		err = -E_ENROLLED;
	if (err == 0)
		err = pin_use(uplink, root.key_hash);
	if (err == 0)
		err = identity_use(uplink);
	return err < 0 ? err : 1;
}
