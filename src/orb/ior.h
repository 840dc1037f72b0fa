/* orb/ior.h: object references as text, "IOR:" and hex (OMG formal/2012-11-14, sections 7.6.9 and 9.7.2), with one IIOP 1.2 profile.
 *
 * Components: TAG_CODE_SETS; TAG_ALTERNATE_IIOP_ADDRESS for each further name; TAG_SSL_SEC_TRANS (omg security service) when there is a
 * TLS port: integrity, confidentiality and both sides' certificates, supported; all but the client's certificate required.
 * Plain data; no sockets, no names looked up. */
#ifndef ORB_IOR_H
#define ORB_IOR_H
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct buf;

#define IOR_BYTES_MAX  4096 /* of one, without its text form */
#define IOR_HOST_SIZE  256  /* with the NUL, as the next */
#define IOR_TYPE_SIZE  128
#define IOR_KEY_MAX    64
#define IOR_OTHERS_MAX 8

struct ior_address {
	char host[IOR_HOST_SIZE];
	uint16_t port;
};
struct ior {
	char type[IOR_TYPE_SIZE];   /* repository id: "IDL:murmesh/Router:1.0" */
	struct ior_address address; /* port 0: TLS only */
	uint16_t tls_port;          /* of all its hosts; 0: none */
	struct ior_address others[IOR_OTHERS_MAX];
	size_t n_others;
	uint8_t key[IOR_KEY_MAX];
	size_t key_len;
};

/* What all references of ours are to; the rest is to be filled in. */
#define IOR_ROUTER ((struct ior){ .type = "IDL:murmesh/Router:1.0", .key = "Router", .key_len = 6 })

/* Appends the text, without a line end.  -E_NO_MEMORY, -E_TOO_LONG. */
int ior_write(const struct ior *ior, struct buf *out);
struct cdr_reader;
/* One among other data, of which all is read; *ret is written when it can be used.  -E_IOR: also the reference to nothing. */
int ior_read_cdr(struct cdr_reader *r, struct ior *ret);
/* Blanks and line ends behind the text are allowed; unknown profiles and components are skipped, as are other names beyond IOR_OTHERS_MAX.
 * -E_IOR: it is none, has no IIOP 1.x profile that can be read, or has parts longer than there is room for. */
int ior_read(struct str text, struct ior *ret);
#endif
