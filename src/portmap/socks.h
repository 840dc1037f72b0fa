/* portmap/socks.h: what clients of a dynamic map say: SOCKS version 5 (RFC 1928), CONNECT without authentication.  Pure: bytes in, data out.
 *
 * The parsers look at what stands at the start of bytes.  They return 0 and how long it is, -EAGAIN (call again with all bytes and more), or
 * -E_SOCKS with the code of the reply that says why; what is wrong is found as soon as it is there. */
#ifndef PORTMAP_SOCKS_H
#define PORTMAP_SOCKS_H
#include "portmap/spec.h"

#define SOCKS_MESSAGE_MAX 262 /* the longest request: 4 bytes, a name of 255 bytes with its length, a port */
#define SOCKS_REPLY_SIZE  10

enum socks_reply {
	SOCKS_DONE = 0,
	SOCKS_FAILED = 1,
	SOCKS_NOT_ALLOWED = 2,
	SOCKS_NETWORK_UNREACHABLE = 3,
	SOCKS_HOST_UNREACHABLE = 4,
	SOCKS_REFUSED = 5,
	SOCKS_TIMEOUT = 6,
	SOCKS_NO_COMMAND = 7,
	SOCKS_NO_ADDRESS_TYPE = 8,
	SOCKS_NO_METHOD = 0xff, /* in answer to the greeting; also where there is nothing to answer */
};

struct socks_request {
	char host[MAP_HOST_SIZE]; /* IPv6 without brackets */
	uint16_t port;
};

int socks_greeting_parse(struct str bytes, size_t *ret_len);
int socks_request_parse(struct str bytes, struct socks_request *ret, size_t *ret_len, enum socks_reply *reterr);
void socks_reply_write(enum socks_reply code, uint8_t out[SOCKS_REPLY_SIZE]);
enum socks_reply socks_reply_for(int err); /* of a connection that could not be made */
#endif
