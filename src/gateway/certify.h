/* gateway/certify.h: whose certificates count, and requests for certificates, as the roles that hold connections read them: core and ca get bare
 * public keys. */
#ifndef GATEWAY_CERTIFY_H
#define GATEWAY_CERTIFY_H
#include <stddef.h>

#include "services.h"

struct certificate;
struct id;

#define ISSUERS_FORMER (sizeof((murmesh_CertificateReply *)0)->former / sizeof *((murmesh_CertificateReply *)0)->former)
struct issuers {
	struct certificate *root, *intermediates[1 + ISSUERS_FORMER]; /* the one in force first */
	size_t n_intermediates;
};
/* Owned by *ret, which is zeroed when it fails. */
int issuers_read(const murmesh_CertificateReply *reply, struct issuers *ret);
void issuers_free(struct issuers *issuers);

/* Reads and checks the CSR (certificate_request_read()); fills key and csr_hash, and says that there is a request. */
int certify_csr(const uint8_t *csr, size_t len, murmesh_CheckedRequest *checked);
/* A renewal by somebody who shows a node certificate of this mesh that has expired: whose, and since when.  That its key is there shows the
 * request's signature. */
int certify_expired(const murmesh_RenewRequest *request, const struct issuers *issuers, const struct id *mesh,
                    murmesh_CheckedRequest *checked);
#endif
