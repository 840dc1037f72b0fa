/* server/certify.h: requests for certificates as the roles that hold connections read them: core and ca get bare public keys. */
#ifndef SERVER_CERTIFY_H
#define SERVER_CERTIFY_H
#include "services.h"

struct certificate;
struct id;

/* Reads and checks the CSR (certificate_request_read()); fills key and csr_hash, and says that there is a request. */
int certify_csr(const uint8_t *csr, size_t len, murmesh_CheckedRequest *checked);
/* A renewal by somebody who shows a node certificate of this mesh that has expired: whose, and since when.  That its key is there shows the
 * request's signature. */
int certify_expired(const murmesh_RenewRequest *request, const struct certificate *intermediate, const struct certificate *root,
                    const struct id *mesh, murmesh_CheckedRequest *checked);
#endif
