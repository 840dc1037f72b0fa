/* ca/join_line.h: the line that an administrator hands to the next machine, and the proof that this machine gives.
 *
 *   host:port#MM1-<base32 of 16 bytes key id, 16 bytes secret>-<base32 of the 32-byte hash of the mesh root's public key>
 *
 * host is a name, an IPv4 address, or an IPv6 address in brackets; base32 as base/encode.h has it (52 digits each, either case).
 * The secret never travels; the server keeps join_secret_key() of it. */
#ifndef CA_JOIN_LINE_H
#define CA_JOIN_LINE_H
#include <stdint.h>

#include "base/id.h"
#include "base/str.h"
#include "crypto/key.h"

#define JOIN_LINE_SIZE   384 /* with the NUL */
#define JOIN_HOST_SIZE   254
#define JOIN_SECRET_SIZE 16

struct join_line {
	char host[JOIN_HOST_SIZE]; /* without brackets */
	uint16_t port;             /* not 0 */
	struct id key;
	uint8_t secret[JOIN_SECRET_SIZE];
	uint8_t root_hash[HASH_SIZE];
};

/* -E_KEY_LINE when anything is missing, malformed or too much; *ret is then unchanged. */
int join_line_parse(struct str text, struct join_line *ret);
/* -E_KEY_LINE when host or port cannot stand in a line. */
int join_line_format(const struct join_line *line, char out[JOIN_LINE_SIZE]);

/* The parts of an address: "name", "1.2.3.4" or "[::1]" (without the brackets in *ret), and a port from 1.  -E_KEY_LINE. */
int join_host_parse(struct str text, char ret[JOIN_HOST_SIZE]);
int join_port_parse(struct str text, uint16_t *ret);
int join_address_parse(struct str text, char ret_host[JOIN_HOST_SIZE], uint16_t *ret_port); /* both, with a colon between */

/* HKDF-SHA256 of the secret with info "murmesh join 1". */
void join_secret_key(const uint8_t secret[JOIN_SECRET_SIZE], uint8_t ret_key[HASH_SIZE]);
/* HMAC-SHA256 with that key over SHA-256 of the CSR (DER) and the token of the enrolment.  Compare with hash_equal(). */
void join_proof(const uint8_t secret_key[HASH_SIZE], const uint8_t csr_hash[HASH_SIZE], struct str token,
                uint8_t ret_proof[HASH_SIZE]);
#endif
