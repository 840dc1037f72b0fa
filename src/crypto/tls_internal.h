/* crypto/tls_internal.h: what tls.c and tls_context.c share. */
#ifndef CRYPTO_TLS_INTERNAL_H
#define CRYPTO_TLS_INTERNAL_H
#include <openssl/ssl.h>

#include "crypto/tls.h"

struct tls_context {
	unsigned references; /* the owner's and one for each connection */
	SSL_CTX *ssl;
	bool server, alpn_optional;
	enum tls_verify verify;
	struct id mesh;
	unsigned kinds;
	uint8_t pin[HASH_SIZE];
	int64_t (*now)(void);
	uint8_t *alpn; /* as in the extension: each name behind its length (RFC 7301) */
	size_t alpn_len;
};

struct tls {
	struct tls_context *context;
	SSL *ssl;
	const struct tls_transport *transport;
	void *transport_ctx;
	uint8_t *unsent; /* records that the transport did not take yet */
	size_t unsent_len, unsent_at;
	int error;           /* why nothing more is read; stays */
	int send_error;      /* why nothing more is sent; stays */
	unsigned records;    /* written with this key */
	unsigned messages;   /* of the handshake protocol after the handshake, since `received` was last 0 */
	size_t received;     /* bytes of application data */
	bool blocked, ended; /* the transport has nothing now; will never have more */
	bool closed;         /* by the peer's close_notify */
	bool end_waits;      /* an end or error was met behind bytes that were handed out */
	bool established, has_expected;
	struct identity expected;
	struct certificate_info *peer;
	struct certificate *peer_root;
	const char *detail;
};

/* Frees what OpenSSL keeps and nobody needs after the handshake: of the peer's certificates (3.4 kB of a leaf alone) and of the keys exchanged (0.5 kB). */
void tls_slim(SSL *ssl);
/* OpenSSL's verify callback: arg is unused, the connection says what to do. */
int tls_verify_peer(X509_STORE_CTX *chain, void *arg);
/* OpenSSL's message callback: counts what comes after the handshake. */
void tls_message_seen(int writing, int version, int type, const void *bytes, size_t len, SSL *ssl, void *arg);
#endif
