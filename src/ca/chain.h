/* ca/chain.h: a mesh's root and intermediate certificates, and certificates in messages. */
#ifndef CA_CHAIN_H
#define CA_CHAIN_H
#include <pb.h>

#include "crypto/certificate.h"

int chain_root_make(const struct id *mesh, const struct key *root_key, struct certificate **ret); /* for 20 years */
int chain_intermediate_make(const struct id *mesh, const struct key *subject, const struct certificate *root,
                            const struct key *root_key, struct certificate **ret); /* for 5 years */
/* Do certificates that it issues with that key verify?  At a moment that does not depend on this machine's clock.  -E_CHECKSUM. */
int chain_check(const struct id *mesh, const struct certificate *root, const struct certificate *intermediate,
                const struct key *intermediate_key);
/* Its DER into the bytes field of a message.  -E_TOO_LONG. */
int chain_put(const struct certificate *certificate, uint8_t *out, size_t size, pb_size_t *ret_len);
#endif
