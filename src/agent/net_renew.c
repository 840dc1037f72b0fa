/* Renewal of both certificates: the machine's at two thirds of its life, with jitter, and its management part's with it; or, when the machine was
 * away for so long that its own has expired, before anything else, over a connection without one. */
#include <string.h>

#include "agent/net.h"
#include "base/encode.h"
#include "base/err.h"
#include "os/clock.h"
#include "os/log.h"
#include "os/random.h"

#define RENEW_MS 20000

static void schedule(struct net_role *net)
{
	int64_t life = net->keep.info.not_after - net->keep.info.not_before,
	        left = net->keep.info.not_after - life / 3 - trusted_time_or_wall();
	uint64_t wait_s = left > 0 ? (uint64_t)left : 0;
	io_timer_start(net->renewal, wait_s * 1000 + random_below((uint64_t)life * 1000 / 20 + 1), 0);
}

static int renew(struct net_role *net, murmesh_CertificateKind kind, struct str csr, const struct certificate *expired,
                 rpc_unary_done done)
{
	static murmesh_RenewRequest request;
	struct buf leaf;
	int err = csr.len <= sizeof request.csr.bytes ? 0 : -E_TOO_LONG;
	request = (murmesh_RenewRequest){ .kind = kind, .continuation = net->continuation };
	buf_init(&leaf, sizeof request.leaf.bytes);
	if (err == 0 && expired)
		err = certificate_write(expired, &leaf);
	if (err == 0) {
		memcpy(request.csr.bytes, csr.ptr, csr.len);
		request.csr.size = (pb_size_t)csr.len;
		memcpy(request.leaf.bytes, buf_head(&leaf), buf_len(&leaf));
		request.leaf.size = (pb_size_t)buf_len(&leaf);
		err = rpc_unary(net->parent, &rpc_CertificationManager_RenewCertificate, &request, RENEW_MS, done, net);
	}
	buf_done(&leaf);
	return err;
}

static int renew_own(struct net_role *net, const struct certificate *expired, rpc_unary_done done)
{
	struct buf csr;
	buf_init(&csr, CERTIFICATE_REQUEST_MAX);
	int err = certificate_request_write(net->keep.key, &csr);
	if (err == 0)
		err = renew(net, murmesh_CertificateKind_NODE, buf_str(&csr), expired, done);
	buf_done(&csr);
	return err;
}

static int use(struct net_role *net, const void *response)
{
	int err = keep_install(&net->keep, response, IDENTITY_NODE, NULL);
	if (err == 0)
		err = net_identity_use(net);
	if (err == 0) {
		log_info("the certificate was renewed");
		net_policy_tell(net);
	}
	return err;
}

/* ---- in time ---- */

static void renewal_failed(struct net_role *net, const char *of, int err, const char *why)
{
	log_warning("the certificate%s was not renewed: %s %s", of, err_text(err), why ? why : "");
	io_timer_start(net->renewal, 60000 + random_below(600000), 0);
}

static void on_manager_installed(void *ctx, int err, const char *why, const void *response)
{
	(void)response;
	if (err < 0)
		renewal_failed(ctx, " of the management part", err, why);
}

static void on_manager_renewed(void *ctx, int err, const char *why, const void *response)
{
	struct net_role *net = ctx;
	if (err == 0)
		err = net->exec ? rpc_unary(net->exec, &rpc_Manager_Install, response, RENEW_MS, on_manager_installed, net)
		                : -E_BUSY;
	if (err < 0)
		renewal_failed(net, " of the management part", err, why);
}

static void on_manager_csr(void *ctx, int err, const char *why, const void *response)
{
	struct net_role *net = ctx;
	const murmesh_ManagerCsr *reply = response;
	if (err == 0 && !reply->csr.size)
		return; /* it is not time yet */
	if (err == 0)
		err = net->online ? renew(net, murmesh_CertificateKind_MANAGER,
		                          (struct str){ (const char *)reply->csr.bytes, reply->csr.size }, NULL, on_manager_renewed)
		                  : -E_OFFLINE;
	if (err < 0)
		renewal_failed(net, " of the management part", err, why);
}

static void renew_manager(struct net_role *net)
{
	const murmesh_ManagerRequest request = { .renew = true };
	int err = net->exec ? rpc_unary(net->exec, &rpc_Manager_Request, &request, RENEW_MS, on_manager_csr, net) : -E_BUSY;
	if (err < 0)
		renewal_failed(net, " of the management part", err, NULL);
}

static void on_renewed(void *ctx, int err, const char *why, const void *response)
{
	struct net_role *net = ctx;
	if (err == 0)
		err = use(net, response);
	if (err < 0)
		return renewal_failed(net, "", err, why);
	schedule(net);
	renew_manager(net);
}

static void on_renewal(void *ctx)
{
	struct net_role *net = ctx;
	int64_t life = net->keep.info.not_after - net->keep.info.not_before;
	if (!net->online) {
		io_timer_start(net->renewal, 60000, 0);
		return;
	}
	if (trusted_time_or_wall() <
	    net->keep.info.not_after - life / 3) { /* it is the management part that is late, or the clock was wrong */
		schedule(net);
		return renew_manager(net);
	}
	int err = renew_own(net, NULL, on_renewed);
	if (err < 0)
		renewal_failed(net, "", err, NULL);
}

int net_renewal_begin(struct net_role *net)
{
	net->keep.now = trusted_time_or_wall;
	if (!net->renewal)
		net->renewal = io_timer_new(net->loop, on_renewal, net);
	if (!net->renewal)
		return -E_NO_MEMORY;
	schedule(net);
	return 0;
}

/* ---- late ---- */

/* By what is known to have passed; where a handshake has failed, also by the wall clock. */
bool net_renewal_late(const struct net_role *net)
{
	int64_t now = trusted_time();
	if (now == TLS_TIME_UNKNOWN)
		now = net->doubtful && clock_wall_s() > net->time_least ? clock_wall_s() : net->time_least;
	return now > net->keep.info.not_after;
}

static void wait_for_approval(struct net_role *net)
{
	uint8_t hash[HASH_SIZE];
	char fingerprint[2 * HASH_SIZE + 1];
	if (!net->waiting && key_public_hash(net->keep.key, hash) == 0) {
		hex_encode(hash, sizeof hash, fingerprint);
		net_report(net, "waiting %s %s", net->keep.info.common_name, fingerprint);
	}
	net->waiting = true;
	net_link_later(net, -E_BUSY, "this machine's certificate expired long ago: an administrator has to approve it");
}

static void on_late_renewed(void *ctx, int err, const char *why, const void *response)
{
	struct net_role *net = ctx;
	const murmesh_CertificateReply *reply = response;
	if (err == 0)
		err = net_time_learn(net, reply->server_time);
	if (err == 0 && reply->status == murmesh_CertificateStatus_PENDING)
		return wait_for_approval(net);
	if (err == 0)
		err = use(net, response);
	net->copied |= err == -E_COPY;
	if (err < 0)
		return net_link_later(net, err, why);
	net->waiting = net->doubtful = false;
	schedule(net);
	net_hang_up(net);
	io_timer_start(net->retry, 0, 0);
}

static void on_connected(struct net_role *net, int err)
{
	net->doubtful = false; /* the next try is an ordinary one, unless the time is known by then */
	if (err == 0)
		err = net_time_check(net);
	if (err == 0)
		err = renew_own(net, net->keep.leaf, on_late_renewed);
	if (err < 0)
		net_link_later(net, err, NULL);
}

void net_renew_late(struct net_role *net)
{
	static const char *const alpn[] = { "h2", NULL };
	struct tls_settings settings = { .verify = TLS_VERIFY_PIN, .kinds = NET_PARENT_KINDS, .alpn = alpn, .now = trusted_time };
	struct certificate_info root;
	int err = certificate_inspect(net->keep.root, &root);
	if (err == 0)
		memcpy(settings.pin, root.key_hash, sizeof settings.pin);
	tls_context_free(net->pin_tls);
	net->pin_tls = NULL;
	if (err == 0)
		err = tls_context_new(&settings, &net->pin_tls);
	if (err < 0)
		return net_link_later(net, err, NULL);
	net_dial(net, net->pin_tls, on_connected);
}
