/* h2/grpc.h: gRPC's message framing over HTTP/2 (grpc/doc/PROTOCOL-HTTP2.md): one byte 0 (not compressed), u32 length big-endian,
 * the message.  A message may span DATA frames, one DATA frame may hold many. */
#ifndef H2_GRPC_H
#define H2_GRPC_H
#include "base/buf.h"

#define GRPC_PREFIX 5
void grpc_prefix_write(uint8_t out[GRPC_PREFIX], size_t len);

struct grpc_reader {
	struct buf partial; /* a message of which only a part has come; empty otherwise */
};
void grpc_reader_init(struct grpc_reader *reader, size_t max_message);
void grpc_reader_done(struct grpc_reader *reader);
/* Calls message for each message completed by these bytes, as long as it returns 0.  Returns 0, the callback's code, -E_TOO_LONG,
 * -E_UNSUPPORTED (compressed) or -E_NO_MEMORY. */
int grpc_reader_feed(struct grpc_reader *reader, const uint8_t *bytes, size_t len, int (*message)(void *ctx, struct str message),
                     void *ctx);
#endif
