/* crypto/native.h: OpenSSL's objects behind this folder's types.  For the files of this folder only. */
#ifndef CRYPTO_NATIVE_H
#define CRYPTO_NATIVE_H
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdint.h>

#include "crypto/certificate.h"

struct key {
	EVP_PKEY *pkey;
};
struct certificate {
	X509 *x509;
};

/* Takes over pkey or x509, also when it fails; NULL gives -E_NO_MEMORY. */
int key_wrap(EVP_PKEY *pkey, struct key **ret);
int certificate_wrap(X509 *x509, struct certificate **ret);
int key_from_info(const X509_PUBKEY *info, struct key **ret); /* as key_public_read() */

/* The one identity among the subject alternative names, or -E_CERTIFICATE_IDENTITY. */
int certificate_identity(const X509 *x509, struct identity *ret);

/* Verifies the leaf of a chain that is set up (leaf, trust, purpose) by the rules of certificate_verify(); mesh NULL = whichever the
 * leaf names.  On failure the chain's error is set too. */
int chain_verify(X509_STORE_CTX *chain, const struct id *mesh, unsigned kinds, int64_t now, struct identity *ret);

int bio_append_to(BIO *bio, struct buf *out); /* what a memory BIO holds */
#endif
