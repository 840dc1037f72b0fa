#include <openssl/err.h>
#include <openssl/rand.h>
#ifdef __aarch64__
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include "base/err.h"
#include "base/mem.h"
#include "crypto/native.h"
#include "crypto/tls_internal.h"

#define READ_AHEAD_DEFAULT ((size_t)32 << 10)
#define READ_AHEAD_MAX     ((size_t)1 << 20)
#define CHAIN_BYTES_MAX    (16 << 10) /* of the peer's Certificate message */
#define ALPN_MAX           256        /* bytes of all names with their lengths */

static bool cpu_has_aes(void)
{
#if defined __x86_64__ || defined __i386__
	return __builtin_cpu_supports("aes");
#elif defined __aarch64__
	return getauxval(AT_HWCAP) & HWCAP_AES;
#else
	return false;
#endif
}

static const char *cipher_suites(void)
{
	return cpu_has_aes() ? "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
	                     : "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384";
}

static bool protocol_set(SSL_CTX *ssl, const struct tls_settings *settings)
{
	size_t ahead = settings->read_ahead ? settings->read_ahead : READ_AHEAD_DEFAULT;
	if (ahead > READ_AHEAD_MAX)
		return false;
	SSL_CTX_set_options(ssl, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE |
	                                 SSL_OP_PRIORITIZE_CHACHA);
	SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
	SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_read_ahead(ssl, 1);
	SSL_CTX_set_default_read_buffer_len(ssl, ahead);
	SSL_CTX_set_max_cert_list(ssl, CHAIN_BYTES_MAX);
	SSL_CTX_set_msg_callback(ssl, tls_message_seen);
	return SSL_CTX_set_min_proto_version(ssl, TLS1_3_VERSION) == 1 && SSL_CTX_set_max_proto_version(ssl, TLS1_3_VERSION) == 1 &&
	       SSL_CTX_set_ciphersuites(ssl, cipher_suites()) == 1 && SSL_CTX_set1_groups_list(ssl, "X25519:P-256") == 1 &&
	       SSL_CTX_set1_sigalgs_list(ssl, "ECDSA+SHA256") == 1 && SSL_CTX_set_num_tickets(ssl, 0) == 1;
}

static bool own_set(SSL_CTX *ssl, const struct tls_settings *settings)
{
	if (!settings->leaf || !settings->key)
		return !settings->server && !settings->leaf && !settings->key;
	if (SSL_CTX_use_certificate(ssl, settings->leaf->x509) != 1 || SSL_CTX_use_PrivateKey(ssl, settings->key->pkey) != 1)
		return false;
	if (!settings->server && !settings->send_intermediate)
		return true;
	return (!settings->intermediate || SSL_CTX_add1_chain_cert(ssl, settings->intermediate->x509) == 1) &&
	       (!settings->send_root || (settings->root && SSL_CTX_add1_chain_cert(ssl, settings->root->x509) == 1));
}

static bool trust_set(SSL_CTX *ssl, const struct tls_settings *settings)
{
	X509_STORE *store = SSL_CTX_get_cert_store(ssl);
	if (settings->verify == TLS_VERIFY_NONE)
		return settings->server;
	SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER | (settings->verify == TLS_VERIFY_REQUIRED ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
	                   NULL);
	SSL_CTX_set_cert_verify_callback(ssl, tls_verify_peer, NULL);
	if (settings->verify == TLS_VERIFY_PIN || settings->verify == TLS_VERIFY_UNKNOWN)
		return !settings->server;
	/* Browsers show only certificates of the issuers named, else all they have. */
	if (settings->verify == TLS_VERIFY_OPTIONAL && settings->intermediate &&
	    SSL_CTX_add_client_CA(ssl, settings->intermediate->x509) != 1)
		return false;
	if (!settings->root || X509_STORE_add_cert(store, settings->root->x509) != 1)
		return false;
	for (size_t i = 0; i < settings->n_formers; i++)
		if (X509_STORE_add_cert(store, settings->formers[i]->x509) != 1)
			return false;
	return !settings->intermediate || (X509_STORE_add_cert(store, settings->intermediate->x509) == 1 &&
	                                   X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN) == 1);
}

static int alpn_copy(struct tls_context *context, const char *const *names)
{
	uint8_t list[ALPN_MAX];
	size_t len = 0;
	for (; *names; names++) {
		size_t n = strlen(*names);
		if (n == 0 || n > 255 || n + 1 > sizeof list - len)
			return -E_TOO_LONG;
		list[len++] = (uint8_t)n;
		memcpy(list + len, *names, n);
		len += n;
	}
	context->alpn = mem_alloc(len);
	if (!context->alpn)
		return -E_NO_MEMORY;
	memcpy(context->alpn, list, len);
	context->alpn_len = len;
	return 0;
}

static int alpn_select(SSL *ssl, const uint8_t **out, uint8_t *out_len, const uint8_t *offered, unsigned len, void *arg)
{
	const struct tls_context *context = arg;
	uint8_t *selected;
	(void)ssl;
	if (SSL_select_next_proto(&selected, out_len, context->alpn, (unsigned)context->alpn_len, offered, len) !=
	    OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*out = selected;
	return SSL_TLSEXT_ERR_OK;
}

/* OpenSSL asks alpn_select() only of clients that offer something. */
static int hello_check(SSL *ssl, int *alert, void *arg)
{
	const struct tls_context *context = arg;
	const uint8_t *offered;
	size_t len;
	if (context->alpn_optional ||
	    SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation, &offered, &len))
		return SSL_CLIENT_HELLO_SUCCESS;
	*alert = SSL_AD_NO_APPLICATION_PROTOCOL;
	return SSL_CLIENT_HELLO_ERROR;
}

static int alpn_set(struct tls_context *context, const char *const *names)
{
	int err = names ? alpn_copy(context, names) : 0;
	if (err || !names)
		return err;
	if (!context->server) /* 0 is success, of this one call */
		return SSL_CTX_set_alpn_protos(context->ssl, context->alpn, (unsigned)context->alpn_len) == 0 ? 0 : -E_NO_MEMORY;
	SSL_CTX_set_alpn_select_cb(context->ssl, alpn_select, context);
	SSL_CTX_set_client_hello_cb(context->ssl, hello_check, context);
	return 0;
}

int tls_context_new(const struct tls_settings *settings, struct tls_context **ret)
{
	struct tls_context *context = mem_alloc(sizeof *context);
	if (!context)
		return -E_NO_MEMORY;
	*context = (struct tls_context){
		.references = 1,
		.ssl = SSL_CTX_new(settings->server ? TLS_server_method() : TLS_client_method()),
		.server = settings->server,
		.alpn_optional = settings->alpn_optional,
		.verify = settings->verify,
		.mesh = settings->mesh,
		.kinds = settings->kinds,
		.now = settings->now,
	};
	memcpy(context->pin, settings->pin, sizeof context->pin);
	int err = context->ssl ? 0 : -E_NO_MEMORY;
	if (!err &&
	    (!protocol_set(context->ssl, settings) || !own_set(context->ssl, settings) || !trust_set(context->ssl, settings)))
		err = -E_CERTIFICATE;
	if (!err)
		err = alpn_set(context, settings->alpn);
	ERR_clear_error();
	if (err) {
		tls_context_free(context);
		return err;
	}
	*ret = context;
	return 0;
}

struct tls_context *tls_context_free(struct tls_context *context)
{
	if (!context || --context->references > 0)
		return NULL;
	SSL_CTX_free(context->ssl);
	mem_free(context->alpn);
	return mem_free(context);
}

void tls_warm_up(void)
{
	uint8_t seed;
	OPENSSL_init_ssl(OPENSSL_INIT_LOAD_SSL_STRINGS | OPENSSL_INIT_LOAD_CRYPTO_STRINGS, NULL);
	RAND_bytes(&seed, sizeof seed);
	SSL_CTX_free(SSL_CTX_new(TLS_method()));
}
