/* stream/stream.h: one connected byte stream on a loop: a descriptor, with TLS 1.3 over it or not.
 *
 * Pull-based: the owner is told when it can go on and then reads or writes itself, so that bytes pass through the loop's scratch
 * buffer or the owner's own, and an idle stream holds none.  The stream owns the descriptor.
 * Events come from the loop only, never from inside stream_ calls.  stream_free() may be called inside events. */
#ifndef STREAM_STREAM_H
#define STREAM_STREAM_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "crypto/tls.h"

struct io_loop;
struct stream;

struct stream_events {
	/* Connected, and the TLS handshake is done; also for a plain stream that was connected from the start; may be NULL. */
	void (*ready)(void *ctx);
	void (*readable)(void *ctx); /* read until -EAGAIN, or call stream_want() again */
	void (*writable)(void *ctx); /* a write that returned -EAGAIN (or took a part) can go on */
	/* Connecting or the handshake failed, or the end of a half-close could not be sent; no event follows: free it.
	 * An open stream that breaks says so by the codes of stream_read() and stream_write(). */
	void (*failed)(void *ctx, int err);
};
#define STREAM_PREAMBLE_MAX 64
enum { STREAM_READ = 1, STREAM_WRITE = 2 };

struct stream_settings {
	int fd;                        /* taken over, also when stream_new() fails */
	bool connecting;               /* socket_connect() is still under way */
	struct tls_context *tls;       /* NULL = plain; kept by reference */
	const struct identity *expect; /* the peer's identity, or NULL; copied */
	struct str preamble;   /* sent in clear as soon as it is connected, before TLS; at most STREAM_PREAMBLE_MAX; copied */
	unsigned handshake_ms; /* connect and handshake together; 0 = 10,000 */
};
struct stream *stream_new(struct io_loop *loop, const struct stream_settings *settings, const struct stream_events *events,
                          void *ctx);
struct stream *stream_free(struct stream *stream); /* accepts NULL, returns NULL; closes without ceremony */
/* The same object with another owner (a leg that leaves its pool, a CONNECT that becomes a tunnel). */
void stream_set_events(struct stream *stream, const struct stream_events *events, void *ctx);

/* Which events the owner wants, STREAM_READ and STREAM_WRITE; at first none. */
void stream_want(struct stream *stream, unsigned want);
/* Bytes; 0 at the end of file (TLS: after close_notify); -EAGAIN; other code when broken (-E_CLOSED: TLS truncated). */
ssize_t stream_read(struct stream *stream, void *out, size_t size);
/* Bytes taken (maybe a part), or -EAGAIN: ask for STREAM_WRITE.  With TLS what was taken may still wait in the stream. */
ssize_t stream_write(struct stream *stream, const void *bytes, size_t len);
bool stream_unsent(const struct stream *stream); /* bytes taken wait for the socket */
int stream_close_write(struct stream *stream);   /* half-close: close_notify and FIN (after what is unsent); once, after `ready` */
void stream_reset(struct stream *stream);        /* stream_free(), or the death of the process, will send RST instead of FIN */
void stream_reset_not(struct stream *stream);    /* takes that back */

const struct tls *stream_tls(const struct stream *stream); /* NULL when plain */
int stream_fd(const struct stream *stream);
#endif
