#include "crypto/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "base/err.h"
#include "base/mem.h"
#include "crypto/native.h"
#include "crypto/tls_internal.h"
#include "os/clock.h"

#define WRITE_MAX       ((size_t)256 << 10)
#define OUTPUT_MAX      (WRITE_MAX + (16 << 10)) /* 22 bytes for each record of 16 KiB, a flight of the handshake, an alert */
#define CHAIN_MAX       4                        /* certificates */
#define RECORDS_PER_KEY (1u << 20)               /* AES-GCM allows 2^24.5 */
#define MESSAGES_MAX    64                       /* after the handshake, in ... */
#define MESSAGES_PER    ((size_t)1 << 20)        /* ... bytes of application data */

/* What the current call has encrypted.  A transport may itself be a TLS connection, whose output then stands behind that of the
 * connection it carries: each call takes back what stands behind its own start. */
static struct {
	uint8_t bytes[2 * OUTPUT_MAX];
	size_t len;
} output;

static int bio_write(BIO *bio, const char *bytes, int len)
{
	(void)bio;
	if (len <= 0 || (size_t)len > sizeof output.bytes - output.len)
		return -1;
	memcpy(output.bytes + output.len, bytes, (size_t)len);
	output.len += (size_t)len;
	return len;
}

static int bio_read(BIO *bio, char *out, int size)
{
	struct tls *tls = BIO_get_data(bio);
	BIO_clear_retry_flags(bio);
	if (tls->ended || tls->error || size <= 0)
		return 0;
	ssize_t n = tls->transport->recv(tls->transport_ctx, out, (size_t)size);
	tls->blocked = n == -EAGAIN;
	if (n > 0)
		return (int)n;
	if (tls->blocked)
		BIO_set_retry_read(bio);
	else if (n < 0)
		tls->error = (int)n;
	else
		tls->ended = true;
	return -1;
}

static long bio_ctrl(BIO *bio, int command, long number, void *ptr)
{
	(void)bio, (void)number, (void)ptr;
	return command == BIO_CTRL_FLUSH;
}

static int bio_create(BIO *bio)
{
	BIO_set_init(bio, 1);
	return 1;
}

static BIO *bio_new(struct tls *tls)
{
	static BIO_METHOD *method; /* of the process */
	if (!method) {
		method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "transport");
		if (!method)
			return NULL;
		BIO_meth_set_write(method, bio_write);
		BIO_meth_set_read(method, bio_read);
		BIO_meth_set_ctrl(method, bio_ctrl);
		BIO_meth_set_create(method, bio_create);
	}
	BIO *bio = BIO_new(method);
	if (bio)
		BIO_set_data(bio, tls);
	return bio;
}

struct tls *tls_new(struct tls_context *context, const struct tls_transport *transport, void *ctx, const struct identity *expect)
{
	struct tls *tls = mem_alloc(sizeof *tls);
	if (!tls)
		return NULL;
	tls->context = context;
	context->references++;
	tls->transport = transport;
	tls->transport_ctx = ctx;
	tls->detail = "";
	tls->has_expected = expect != NULL;
	if (expect)
		tls->expected = *expect;
	tls->ssl = SSL_new(context->ssl);
	BIO *bio = tls->ssl ? bio_new(tls) : NULL;
	if (!bio || SSL_set_app_data(tls->ssl, tls) != 1) {
		BIO_free(bio);
		return tls_free(tls);
	}
	SSL_set_bio(tls->ssl, bio, bio);
	if (context->server)
		SSL_set_accept_state(tls->ssl);
	else
		SSL_set_connect_state(tls->ssl);
	return tls;
}

struct tls *tls_free(struct tls *tls)
{
	if (!tls)
		return NULL;
	SSL_free(tls->ssl);
	tls_context_free(tls->context);
	mem_free(tls->unsent);
	mem_free(tls->peer);
	certificate_free(tls->peer_root);
	return mem_free(tls);
}

/* The self-signed certificate of that key hash among those sent; pin NULL: the first one. */
static X509 *sent_root(STACK_OF(X509) * sent, const uint8_t *pin)
{
	for (int i = 0; i < sk_X509_num(sent); i++) {
		struct certificate_info info;
		const struct certificate one = { sk_X509_value(sent, i) };
		if (certificate_inspect(&one, &info) == 0 && (!pin || hash_equal(info.key_hash, pin)) &&
		    X509_self_signed(one.x509, 1) == 1)
			return one.x509;
	}
	return NULL;
}

static int verify_by_sent_root(struct tls *tls, X509_STORE_CTX *chain, int64_t now, struct identity *ret)
{
	const struct tls_context *context = tls->context;
	X509 *root = sent_root(X509_STORE_CTX_get0_untrusted(chain), context->verify == TLS_VERIFY_PIN ? context->pin : NULL);
	STACK_OF(X509) *trusted = root ? sk_X509_new_null() : NULL;
	if (!root)
		return -E_WRONG_PIN;
	int err = -E_NO_MEMORY;
	if (trusted && sk_X509_push(trusted, root) > 0) {
		X509_STORE_CTX_set0_trusted_stack(chain, trusted);
		err = chain_verify(chain, NULL, context->kinds ? context->kinds : 1u << IDENTITY_COMPONENT, now, ret);
	}
	sk_X509_free(trusted);
	if (!err && X509_up_ref(root) == 1)
		err = certificate_wrap(root, &tls->peer_root);
	return err;
}

static int verify(struct tls *tls, X509_STORE_CTX *chain)
{
	const struct tls_context *context = tls->context;
	const struct certificate leaf = { X509_STORE_CTX_get0_cert(chain) };
	struct identity identity;
	struct certificate_info info;
	int64_t now = context->now ? context->now() : clock_wall_s();
	if (sk_X509_num(X509_STORE_CTX_get0_untrusted(chain)) > CHAIN_MAX)
		return -E_CERTIFICATE;
	bool sent = context->verify == TLS_VERIFY_PIN || context->verify == TLS_VERIFY_UNKNOWN;
	int err = sent ? verify_by_sent_root(tls, chain, now, &identity)
	               : chain_verify(chain, &context->mesh, context->kinds, now, &identity);
	if (!err && tls->has_expected && !identity_equal(&identity, &tls->expected))
		err = -E_CERTIFICATE_PEER;
	if (!err)
		err = certificate_inspect(&leaf, &info);
	if (err)
		return err;
	tls->peer = mem_alloc(sizeof *tls->peer);
	if (!tls->peer)
		return -E_NO_MEMORY;
	*tls->peer = info;
	return 0;
}

int tls_verify_peer(X509_STORE_CTX *chain, void *arg)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(chain, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct tls *tls = SSL_get_app_data(ssl);
	(void)arg;
	tls->error = verify(tls, chain);
	if (tls->error && X509_STORE_CTX_get_error(chain) == X509_V_OK)
		X509_STORE_CTX_set_error(chain, X509_V_ERR_APPLICATION_VERIFICATION);
	return tls->error == 0;
}

void tls_message_seen(int writing, int version, int type, const void *bytes, size_t len, SSL *ssl, void *arg)
{
	struct tls *tls = SSL_get_app_data(ssl);
	(void)version, (void)bytes, (void)len, (void)arg;
	if (writing || type != SSL3_RT_HANDSHAKE || !tls->established || ++tls->messages <= MESSAGES_MAX)
		return;
	tls->error = -E_PROTOCOL;
	/* OpenSSL then stops at the next record, otherwise only behind a whole buffer of them. */
	SSL_set_shutdown(ssl, SSL_get_shutdown(ssl) | SSL_RECEIVED_SHUTDOWN);
}

/* Before each call, whose own errors are to be seen.  Mostly there is none, and ERR_clear_error() would go through all places for one. */
static void errors_clear(void)
{
	if (ERR_peek_error())
		ERR_clear_error();
}

static int reason_code(int reason)
{
	switch (reason) {
	case SSL_R_WRONG_VERSION_NUMBER:
	case SSL_R_UNSUPPORTED_PROTOCOL:
	case SSL_R_HTTP_REQUEST:
	case SSL_R_HTTPS_PROXY_REQUEST:
	case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
		return -E_NOT_TLS;
	case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
		return -E_CERTIFICATE;
	default:
		return -E_TLS;
	}
}

/* What a call of OpenSSL that gave `result` (no success) means.  All but -EAGAIN stays. */
static int failure(struct tls *tls, int result)
{
	unsigned long code = ERR_peek_error();
	const char *words = ERR_reason_error_string(code);
	long verdict = SSL_get_verify_result(tls->ssl);
	int why = SSL_get_error(tls->ssl, result);
	ERR_clear_error();
	if (why == SSL_ERROR_WANT_READ && !tls->error)
		return -EAGAIN;
	tls->closed = why == SSL_ERROR_ZERO_RETURN && !tls->error;
	if (!tls->error)
		tls->error = tls->closed || tls->ended ? -E_CLOSED : reason_code(ERR_GET_REASON(code));
	tls->detail = verdict != X509_V_OK ? X509_verify_cert_error_string(verdict) : words ? words : "";
	return tls->error;
}

static int unsent_append(struct tls *tls, const uint8_t *bytes, size_t len)
{
	size_t left = tls->unsent_len - tls->unsent_at;
	uint8_t *all = mem_resize(NULL, left + len);
	if (!all)
		return -E_NO_MEMORY;
	if (left)
		memcpy(all, tls->unsent + tls->unsent_at, left);
	memcpy(all + left, bytes, len);
	mem_free(tls->unsent);
	tls->unsent = all;
	tls->unsent_len = left + len;
	tls->unsent_at = 0;
	return 0;
}

/* One send; *ret_n is what the transport took. */
static int send_once(struct tls *tls, const uint8_t *bytes, size_t len, size_t *ret_n)
{
	ssize_t n = tls->transport->send(tls->transport_ctx, bytes, len);
	*ret_n = n > 0 ? (size_t)n : 0;
	return n >= 0 ? 0 : (int)n;
}

int tls_flush(struct tls *tls)
{
	size_t n;
	if (tls->send_error || !tls->unsent)
		return tls->send_error;
	int err = send_once(tls, tls->unsent + tls->unsent_at, tls->unsent_len - tls->unsent_at, &n);
	if (err && err != -EAGAIN)
		return tls->send_error = err;
	tls->unsent_at += n;
	if (tls->unsent_at < tls->unsent_len)
		return -EAGAIN;
	tls->unsent = mem_free(tls->unsent);
	tls->unsent_len = tls->unsent_at = 0;
	return 0;
}

/* Sends what the call that began at `start` of the output has made, behind what is unsent.  As tls_flush(). */
static int output_send(struct tls *tls, size_t start)
{
	size_t len = output.len - start, n = 0;
	int err = tls->send_error;
	if (!err && len && !tls->unsent) {
		err = send_once(tls, output.bytes + start, len, &n);
		if (err == -EAGAIN)
			err = 0;
	}
	if (!err && n < len)
		err = unsent_append(tls, output.bytes + start + n, len - n);
	output.len = start;
	if (err)
		return tls->send_error = err;
	return tls->unsent ? -EAGAIN : 0;
}

int tls_handshake(struct tls *tls)
{
	size_t start = output.len;
	int err = tls->error ? tls->error : tls_flush(tls);
	if (err || tls->established)
		return err;
	errors_clear();
	int done = SSL_do_handshake(tls->ssl);
	if (done != 1)
		err = failure(tls, done);
	tls->established = done == 1;
	if (tls->established)
		tls_slim(tls->ssl);
	int sent = output_send(tls, start);
	return err && err != -EAGAIN ? err : sent ? sent : err;
}

/* Reads until out is full or the transport is asked in vain: *ret_n bytes. */
static int read_some(struct tls *tls, uint8_t *out, size_t size, size_t *ret_n)
{
	size_t total = 0, n;
	int err = tls->error;
	while (!err && total < size && (total == 0 || SSL_has_pending(tls->ssl))) {
		if (SSL_read_ex(tls->ssl, out + total, size - total, &n) == 1)
			total += n;
		else
			err = failure(tls, 0);
	}
	*ret_n = total;
	return err;
}

ssize_t tls_read(struct tls *tls, void *out, size_t size)
{
	size_t start = output.len, n;
	tls->end_waits = false;
	errors_clear();
	int err = read_some(tls, out, size, &n);
	output_send(tls, start); /* an error there is for the writer */
	if (n == 0)
		return tls->closed ? 0 : err;
	tls->end_waits = err && err != -EAGAIN;
	tls->received += n;
	if (tls->received >= MESSAGES_PER)
		tls->received = tls->messages = 0;
	return (ssize_t)n;
}

bool tls_pending(const struct tls *tls)
{
	return tls->end_waits || (!tls->blocked && !tls->error && SSL_has_pending(tls->ssl));
}

/* 0 when more can be written. */
static int write_check(struct tls *tls)
{
	if (!tls->established)
		return -EAGAIN;
	if (tls->error && !tls->closed)
		return tls->error;
	return SSL_get_shutdown(tls->ssl) & SSL_SENT_SHUTDOWN ? -E_CLOSED : 0;
}

/* RFC 8446 section 5.5: a key serves for a limited number of records. */
static void key_renew(struct tls *tls, size_t len)
{
	tls->records += (unsigned)(len / SSL3_RT_MAX_PLAIN_LENGTH) + 1;
	if (tls->records < RECORDS_PER_KEY)
		return;
	tls->records = 0;
	SSL_key_update(tls->ssl, SSL_KEY_UPDATE_NOT_REQUESTED);
}

ssize_t tls_write(struct tls *tls, const void *bytes, size_t len)
{
	size_t start = output.len, taken = 0;
	int err = write_check(tls);
	if (!err)
		err = tls_flush(tls);
	if (err || len == 0)
		return err;
	if (len > WRITE_MAX)
		len = WRITE_MAX;
	errors_clear();
	key_renew(tls, len);
	if (SSL_write_ex(tls->ssl, bytes, len, &taken) != 1)
		err = failure(tls, 0);
	int sent = output_send(tls, start);
	if (!err && sent != -EAGAIN)
		err = sent;
	return err ? err : (ssize_t)taken;
}

int tls_close_write(struct tls *tls)
{
	size_t start = output.len;
	int err = write_check(tls);
	if (err)
		return err;
	errors_clear();
	int result = SSL_shutdown(tls->ssl);
	if (result < 0)
		err = failure(tls, result);
	int sent = output_send(tls, start);
	return err ? err : sent;
}

const struct certificate_info *tls_peer(const struct tls *tls)
{
	return tls->peer;
}

const struct certificate *tls_peer_certificate(const struct tls *tls)
{
	return tls->peer_root;
}

struct str tls_alpn(const struct tls *tls)
{
	const uint8_t *name;
	unsigned len;
	SSL_get0_alpn_selected(tls->ssl, &name, &len);
	return (struct str){ name ? (const char *)name : "", len };
}

const char *tls_error_detail(const struct tls *tls)
{
	return tls->detail;
}
