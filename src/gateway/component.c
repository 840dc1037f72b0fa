#include "gateway/component.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "ca/trusted_time.h"
#include "gateway/ca_changes.h"
#include "gateway/gateway.h"
#include "io/io.h"
#include "os/log.h"
#include "rpc/rpc.h"

#define RETRY_MS     50
#define FAR_RETRY_MS 2000 /* of one whose server is far away */

struct component {
	struct io_timer *renewal; /* asks for the next certificate, or again after a failure */
	struct ca_changes *changes;
	struct rpc_connection *const *core;
	struct tls_settings how;
	struct key *key;
	struct tls_context *tls;
	struct issuers issuers;
	struct id mesh;
	enum gateway_place place;
	void (*renewed)(void *ctx);
	void *ctx;
};

static int context_make(struct component *component, const murmesh_CertificateReply *reply)
{
	struct tls_settings settings = component->how;
	struct certificate *leaf = NULL;
	struct issuers issuers = { 0 };
	struct certificate_info info = { 0 };
	struct tls_context *context = NULL;
	int err = certificate_read(reply->leaf.bytes, reply->leaf.size, &leaf);
	if (err == 0)
		err = issuers_read(reply, &issuers);
	if (err == 0)
		err = certificate_inspect(leaf, &info);
	if (err == 0) {
		settings.leaf = leaf;
		settings.intermediate = issuers.intermediates[0];
		settings.root = issuers.root;
		settings.key = component->key;
		settings.formers = (const struct certificate *const *)issuers.intermediates + 1;
		settings.n_formers = issuers.n_intermediates - 1;
		settings.mesh = info.identity.mesh;
		err = tls_context_new(&settings, &context);
	}
	certificate_free(leaf);
	if (err < 0) {
		issuers_free(&issuers);
		return err;
	}
	tls_context_free(component->tls);
	component->tls = context;
	issuers_free(&component->issuers);
	component->issuers = issuers;
	component->mesh = info.identity.mesh;
	if (component->place == GATEWAY_IN_RELAY)
		trusted_time_set(reply->server_time);
	int64_t life_s = info.not_after - reply->server_time;
	io_timer_start(component->renewal, life_s > 0 ? (uint64_t)life_s * 1000 / 3 * 2 : RETRY_MS, 0);
	return 0;
}

/* A device that is no relay has few calls, too. */
static uint64_t pause_ms(const struct component *component, int err)
{
	if (component->place == GATEWAY_AT_CORE)
		return RETRY_MS;
	return err == -E_DENIED || err == -E_LIMIT ? GATEWAY_DENIED_MS : FAR_RETRY_MS;
}

static void on_certificate(void *ctx, int err, const char *why, const void *response)
{
	struct component *component = ctx;
	if (err == 0)
		err = context_make(component, response);
	if (err == 0)
		return component->renewed(component->ctx);
	if (err != -E_BUSY && err != -E_RELAY_OFFLINE && err != -E_CORE_OFFLINE) /* core waits for ca, others for the server */
		log_limited(LOG_WARNING, "no certificate for this role yet: %s %s", err_text(err), why);
	io_timer_start(component->renewal, pause_ms(component, err), 0);
}

static int core_ask(struct component *component)
{
	murmesh_PublicKey key = murmesh_PublicKey_init_zero;
	size_t len;
	int err = key_public_write(component->key, key.key.bytes, &len);
	key.key.size = (pb_size_t)len;
	return err < 0 ? err : rpc_unary(*component->core, &rpc_Core_ComponentCertificate, &key, 10000, on_certificate, component);
}

static int server_ask(struct component *component)
{
	static murmesh_RenewRequest request;
	struct buf csr;
	bool relay = component->place == GATEWAY_IN_RELAY;
	request = (murmesh_RenewRequest){ .kind = relay ? murmesh_CertificateKind_RELAY : murmesh_CertificateKind_COMPONENT };
	buf_init(&csr, sizeof request.csr.bytes);
	int err = certificate_request_write(component->key, &csr);
	if (err == 0) {
		memcpy(request.csr.bytes, buf_head(&csr), buf_len(&csr));
		request.csr.size = (pb_size_t)buf_len(&csr);
		err = rpc_unary(*component->core,
		                relay ? &rpc_CertificationManager_RenewCertificate : &rpc_CertificationManager_CertifyServer,
		                &request, 20000, on_certificate, component);
	}
	buf_done(&csr);
	return err;
}

static void ask(void *ctx)
{
	struct component *component = ctx;
	int err = !*component->core ? -E_CLOSED : component->place == GATEWAY_AT_CORE ? core_ask(component) : server_ask(component);
	if (err < 0)
		io_timer_start(component->renewal, pause_ms(component, err), 0);
}

struct component *component_new(struct io_loop *loop, struct rpc_connection *const *core, enum gateway_place place,
                                const struct tls_settings *how, void (*renewed)(void *ctx), void *ctx)
{
	struct component *component = mem_alloc(sizeof *component);
	if (!component)
		return NULL;
	*component = (struct component){ .core = core, .place = place, .how = *how, .renewed = renewed, .ctx = ctx };
	component->how.server = component->how.send_root = true;
	if (place == GATEWAY_IN_RELAY) /* its own clock may be wrong */
		component->how.now = trusted_time_or_wall;
	component->key = key_generate();
	component->renewal = io_timer_new(loop, ask, component);
	component->changes = ca_changes_new(loop, core, ask, component);
	return component->key && component->renewal && component->changes ? component : component_free(component);
}

struct component *component_free(struct component *component)
{
	if (!component)
		return NULL;
	ca_changes_free(component->changes);
	io_timer_free(component->renewal);
	tls_context_free(component->tls);
	issuers_free(&component->issuers);
	key_free(component->key);
	return mem_free(component);
}

void component_follow(struct component *component)
{
	ca_changes_follow(component->changes);
	if (!component->tls)
		ask(component);
}

void component_revoked(struct component *component, const uint8_t key_hash[HASH_SIZE])
{
	uint8_t own[HASH_SIZE];
	struct key *key = NULL;
	if (key_public_hash(component->key, own) == 0 && hash_equal(own, key_hash))
		key = key_generate();
	if (!key)
		return;
	key_free(component->key);
	component->key = key;
	ask(component);
}

struct tls_context *component_tls(const struct component *component)
{
	return component->tls;
}

const struct issuers *component_issuers(const struct component *component)
{
	return &component->issuers;
}

const struct id *component_mesh(const struct component *component)
{
	return &component->mesh;
}
