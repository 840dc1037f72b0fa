/* crypto/tls.h: TLS 1.3 (RFC 8446) on bytes that somebody else moves.
 *
 * A context holds the settings and certificates of one purpose; a tls is one connection.  Settings as the architecture has them: TLS 1.3 only, groups
 * X25519:P-256, AES-128-GCM first (ChaCha20 first where the CPU has no AES), no tickets, no 0-RTT, no renegotiation, no session cache,
 * SSL_MODE_RELEASE_BUFFERS.  A connection between records holds no buffer.  Not thread-safe: one loop. */
#ifndef CRYPTO_TLS_H
#define CRYPTO_TLS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/str.h"
#include "crypto/certificate.h"

struct tls_context;

enum tls_verify {
	TLS_VERIFY_REQUIRED, /* the peer shows a certificate of this mesh (kinds, identity below), or the handshake fails */
	TLS_VERIFY_OPTIONAL, /* server: a peer without one is let in (tls_peer() is then NULL); one that shows one is checked */
	TLS_VERIFY_NONE,     /* server: asks for none */
	TLS_VERIFY_PIN, /* client that joins: the chain sent must end in a root whose key hash is `pin` and have one of `kinds` (none: component) */
	TLS_VERIFY_UNKNOWN, /* client that has no pin yet: as PIN, for whichever root is sent.  It may be anybody: say nothing, ask a person */
};

#define TLS_TIME_UNKNOWN CERTIFICATE_ANY_TIME

struct tls_settings {
	bool server;
	enum tls_verify verify;
	/* Own certificate; may be absent (NULL) in a client.  A server sends leaf, intermediate and, with send_root, the root; a client its leaf only,
	 * or with send_intermediate that too: to who may know another one, or the root alone.  Borrowed during tls_context_new() only. */
	const struct certificate *leaf, *intermediate, *root;
	const struct key *key;
	bool send_root, send_intermediate;
	/* Server: other intermediates under that root, by which clients that send their leaf only may have theirs. */
	const struct certificate *const *formers;
	size_t n_formers;
	struct id mesh; /* the peer's mesh (not for PIN and UNKNOWN) */
	unsigned kinds; /* bits 1 << enum identity_kind that the peer may be */
	uint8_t pin[HASH_SIZE];
	/* NULL-terminated, preferred first: a client offers them, a server selects from them; NULL = none. */
	const char *const *alpn;
	bool alpn_optional; /* server: a client that offers none is let in; one that offers only others is refused always */
	size_t read_ahead;  /* bytes taken from the transport at once; 0 = 32 KiB; legs: 256 KiB */
	/* Trusted time in seconds; NULL = the wall clock.  TLS_TIME_UNKNOWN: a peer's certificates count as in force, and what it says the time is
	 * can be held against them (tls_peer()). */
	int64_t (*now)(void);
};
/* -E_CERTIFICATE: leaf and key do not fit together, a server has none, or what verify needs is missing. */
int tls_context_new(const struct tls_settings *settings, struct tls_context **ret);
/* The owner's part: connections of the context go on, so that certificates can be renewed. */
struct tls_context *tls_context_free(struct tls_context *context);

/* How bytes reach the wire.  recv: bytes read, 0 at the end of file, -EAGAIN, or another negative code.  send: must take all or keep
 * nothing but what it returns; -EAGAIN when it takes nothing now.  A transport may itself be a tls (one inside another, not more). */
struct tls_transport {
	ssize_t (*recv)(void *ctx, void *out, size_t size);
	ssize_t (*send)(void *ctx, const void *bytes, size_t len);
};

struct tls;
/* expect: NULL, or the one identity the peer must have (name pinning).  transport is borrowed until tls_free(). */
struct tls *tls_new(struct tls_context *context, const struct tls_transport *transport, void *ctx, const struct identity *expect);
struct tls *tls_free(struct tls *tls);

/* 0 when the handshake is done and all of it sent; -EAGAIN: call again when the transport has bytes, or takes some if tls_flush() is
 * -EAGAIN; else the reason: -E_CERTIFICATE... or -E_WRONG_PIN of the peer's certificate, -E_CERTIFICATE_PEER (it is not `expect`),
 * -E_NOT_TLS, -E_CLOSED, -E_TLS (also when the peer refuses), or the transport's code.  A client is done before the server has looked at its
 * certificate: a refusal comes as -E_TLS from tls_read(). */
int tls_handshake(struct tls *tls);
/* Bytes; 0 after the peer's close_notify; -EAGAIN; -E_CLOSED when the transport ended without close_notify (truncation); -E_PROTOCOL
 * when the peer sends more than 64 key updates or the like within 1 MiB of data; other code.  Errors stay.  out may fill in part. */
ssize_t tls_read(struct tls *tls, void *out, size_t size);
bool tls_pending(const struct tls *tls); /* decrypted or buffered bytes wait: read before sleeping on the transport */
/* Encrypts up to 256 KiB as one gathered write (all its records through one buffer shared by the process, one transport send).
 * Returns the bytes taken (at least 1), or -EAGAIN while records of an earlier write are still unsent: what the transport
 * did not take is kept and goes out by tls_flush(): 0 when nothing is unsent, -EAGAIN, or another code.  -EAGAIN before the handshake is
 * done; -E_CLOSED after tls_close_write(). */
ssize_t tls_write(struct tls *tls, const void *bytes, size_t len);
int tls_flush(struct tls *tls);
int tls_close_write(struct tls *tls); /* sends close_notify; reading goes on (half-close).  -EAGAIN: it goes out by tls_flush() */

/* After the handshake: */
const struct certificate_info *tls_peer(const struct tls *tls); /* NULL without a certificate; owned by tls */
/* Of TLS_VERIFY_PIN and _UNKNOWN: the root it chained to, for keeping, owned by tls; else NULL. */
const struct certificate *tls_peer_certificate(const struct tls *tls);
struct str tls_alpn(const struct tls *tls);          /* "" when none */
const char *tls_error_detail(const struct tls *tls); /* OpenSSL's words for the last failure; "" */

/* Call once before a sandbox: loads what OpenSSL loads lazily (error strings, random seed). */
void tls_warm_up(void);
#endif
