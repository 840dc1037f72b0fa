/* tunnel/connect.h: CONNECT (RFC 9110 section 9.3.6) on a leg whose handshake is done, with what the local client has sent already right
 * behind it: a new connection costs one round trip. */
#ifndef TUNNEL_CONNECT_H
#define TUNNEL_CONNECT_H
#include <stdbool.h>

#include "base/buf.h"
#include "base/id.h"
#include "enrol.pb.h"

struct io_loop;
struct stream;
struct connect;

#define CONNECT_HEAD_MAX 8192

/* The head without its end, which connect_new() adds.  host "": the device itself.  head: of CONNECT_HEAD_MAX. */
int connect_head_write(struct buf *head, const murmesh_SignedDocument *grant, struct str host, uint16_t port);

/* What an agent's answer said, before `opened` comes. */
struct connect_answer {
	bool came;      /* else nobody knows what became of it */
	struct id once; /* the agent opens what has an id once only, and this is its name; zero: an older one */
};
struct connect_request {
	struct str head;
	const struct id *open_id;      /* NULL = none.  Copied */
	const struct id *again;        /* the agent to which it was sent before, when nobody knows what became of it; else NULL */
	struct str first;              /* for the target; in one record with the head */
	struct connect_answer *answer; /* zeroed at first; kept by reference; NULL: nobody asks */
};
/* stream: the target is connected (its bytes are next); the owner's from here.  Else NULL with the reason; details: the agent's words, "" when
 * none.  Comes once, never from inside connect_new(). */
typedef void (*connect_opened)(void *ctx, struct stream *stream, int err, const char *details);

/* Owns the stream from here, also on failure.  Texts are copied. */
int connect_new(struct io_loop *loop, struct stream *stream, const struct connect_request *request, connect_opened opened,
                void *ctx, struct connect **ret);
/* Only while `opened` has not come: afterwards it is gone by itself. */
struct connect *connect_free(struct connect *connect);
/* More for the target, before it is known whether there is one.  How much was taken, less than len when the leg takes no more now. */
size_t connect_send(struct connect *connect, struct str bytes);
#endif
