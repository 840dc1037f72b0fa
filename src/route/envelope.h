/* route/envelope.h: messages as proto/envelope.proto has them.
 *
 * The struct holds everything but the body, which is a view.  What comes from elsewhere is checked by envelope_read(): an envelope that it
 * takes has an id, a destination, a type, and texts that are valid UTF-8. */
#ifndef ROUTE_ENVELOPE_H
#define ROUTE_ENVELOPE_H
#include "base/buf.h"
#include "base/id.h"
#include "envelope.pb.h"

#define ENVELOPE_BODY_MAX   ((size_t)256 << 10)
#define ENVELOPE_MAX        (ENVELOPE_BODY_MAX + 4096) /* bytes, encoded, with all its hops */
#define ENVELOPE_HOPS_MAX   16
#define ENVELOPE_LIFETIME_S (3 * 86400)
#define ENVELOPE_LONGEST_S  (14 * 86400)

/* Without its body.  -E_MESSAGE, -E_TOO_LONG (more than ENVELOPE_MAX, or its body). */
int envelope_read(struct str bytes, murmesh_Envelope *ret, struct str *ret_body);
/* Appends; checks as envelope_read() does. */
int envelope_write(const murmesh_Envelope *envelope, struct str body, struct buf *out);
/* A further hop of one that is encoded: what is there stays as it is. */
int envelope_hop_append(struct buf *encoded, const struct id *hop);
/* Whether that node has passed it on before. */
bool envelope_passed(const murmesh_Envelope *envelope, const struct id *node);
int64_t envelope_lifetime_ms(const murmesh_Envelope *envelope);

/* ---- on a link: length (32 bits), bytes, length, bytes, ... in pieces of any size ---- */
struct envelope_stream {
	struct buf bytes;
};
void envelope_stream_init(struct envelope_stream *stream);
void envelope_stream_done(struct envelope_stream *stream);
/* Takes a piece and gives each envelope that is complete.  What each() answers, when negative, ends it, as does -E_TOO_LONG (an envelope longer than
 * ENVELOPE_MAX was announced) and -E_NO_MEMORY: the link is then of no more use. */
int envelope_stream_take(struct envelope_stream *stream, struct str piece, int (*each)(void *ctx, struct str envelope), void *ctx);
#endif
