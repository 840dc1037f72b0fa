/* ca/chain.h: a mesh's root and intermediate certificates. */
#ifndef CA_CHAIN_H
#define CA_CHAIN_H
#include "crypto/certificate.h"

int chain_root_make(const struct id *mesh, const struct key *root_key, struct certificate **ret); /* for 20 years */
int chain_intermediate_make(const struct id *mesh, const struct key *subject, const struct certificate *root,
                            const struct key *root_key, struct certificate **ret); /* for 5 years */
/* Do certificates that it issues with that key verify?  At a moment that does not depend on this machine's clock.  -E_CHECKSUM. */
int chain_check(const struct id *mesh, const struct certificate *root, const struct certificate *intermediate,
                const struct key *intermediate_key);
#endif
