/* tunnel/capsule.h: what a UDP map says on an HTTP/2 stream: the target in the request's path (RFC 9298 section 2), and datagrams in capsules
 * (RFC 9297 section 3.5, RFC 9298 section 5).  Bytes in, bytes out: no sockets, no clocks. */
#ifndef TUNNEL_CAPSULE_H
#define TUNNEL_CAPSULE_H
#include "base/buf.h"

#define CAPSULE_DATAGRAM_MAX ((size_t)65527) /* bytes of a UDP datagram: over IPv6; over IPv4 at most 65,507 */
#define CAPSULE_SKIP_MAX     ((uint64_t)65536) /* a capsule of a type that we do not know is longer than this: the peer means no good */
#define CAPSULE_HEAD_MAX     6                 /* what stands before a datagram: type, length, context */

/* Returns how many bytes it has written. */
size_t capsule_head_write(uint8_t out[CAPSULE_HEAD_MAX], size_t datagram_len);

struct capsule_reader {
	uint8_t head[16]; /* type and length of the next capsule, as far as they have come */
	uint8_t head_len;
	bool skips;
	uint64_t rest;      /* bytes of the capsule that are still to come; 0: a head is next */
	struct buf payload; /* what has come of a datagram that came in pieces */
	size_t *room;       /* bytes that all readers and queues of a leg may still hold together; borrowed */
	size_t taken;       /* of those by this one */
};
void capsule_reader_init(struct capsule_reader *reader, size_t *room);
void capsule_reader_done(struct capsule_reader *reader);
/* Calls datagram for each one that these bytes complete, as long as it returns 0.  Other types and other contexts are passed over, as is a
 * datagram in pieces for which there is no room (*ret_lost is counted up).  Returns 0, the callback's code, or -E_PROTOCOL: the stream is of no
 * more use. */
int capsule_reader_feed(struct capsule_reader *reader, struct str bytes, uint64_t *ret_lost,
                        int (*datagram)(void *ctx, struct str datagram), void *ctx);

#define UDP_PATH_MAX 320
/* "/.well-known/masque/udp/HOST/PORT/"; host "" is the device itself, "localhost" there.  0 or -E_TOO_LONG. */
int udp_path_write(struct str host, uint16_t port, char out[UDP_PATH_MAX]);
/* A name or an address, as h1_authority_parse() has them.  0 or -E_HTTP_HEAD. */
int udp_path_parse(struct str path, char ret_host[256], uint16_t *ret_port);
#endif
