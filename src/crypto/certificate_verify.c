#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "base/err.h"
#include "crypto/native.h"

#define PATH_MAX_LENGTH 2 /* certificates between the leaf and the root, with room for one more than there is */

/* Why OpenSSL did not take the chain. */
static int chain_reason(X509_STORE_CTX *chain, const struct id *mesh)
{
	struct identity claimed;
	switch (X509_STORE_CTX_get_error(chain)) {
	case X509_V_ERR_CERT_HAS_EXPIRED:
	case X509_V_ERR_CERT_NOT_YET_VALID:
		return -E_CERTIFICATE_EXPIRED;
	case X509_V_ERR_INVALID_PURPOSE:
		return -E_CERTIFICATE_USAGE;
	}
	if (mesh && certificate_identity(X509_STORE_CTX_get0_cert(chain), &claimed) == 0 && !id_equal(&claimed.mesh, mesh))
		return -E_CERTIFICATE_FOREIGN;
	return -E_CERTIFICATE;
}

static int leaf_check(const X509 *leaf, const struct id *mesh, unsigned kinds, struct identity *ret)
{
	struct identity identity;
	int err = certificate_identity(leaf, &identity);
	if (err)
		return err;
	if (mesh && !id_equal(&identity.mesh, mesh))
		return -E_CERTIFICATE_FOREIGN;
	if (!(kinds & 1u << identity.kind))
		return -E_CERTIFICATE_USAGE;
	*ret = identity;
	return 0;
}

int chain_verify(X509_STORE_CTX *chain, const struct id *mesh, unsigned kinds, int64_t now, struct identity *ret)
{
	if (now == CERTIFICATE_ANY_TIME)
		X509_STORE_CTX_set_flags(chain, X509_V_FLAG_NO_CHECK_TIME);
	else
		X509_STORE_CTX_set_time(chain, 0, (time_t)now);
	X509_STORE_CTX_set_depth(chain, PATH_MAX_LENGTH);
	if (X509_verify_cert(chain) != 1)
		return chain_reason(chain, mesh);
	int err = leaf_check(X509_STORE_CTX_get0_cert(chain), mesh, kinds, ret);
	if (err)
		X509_STORE_CTX_set_error(chain, X509_V_ERR_APPLICATION_VERIFICATION);
	return err;
}

int certificate_verify(const struct certificate *leaf, const struct certificate *intermediate, const struct certificate *root,
                       const struct id *mesh, unsigned kinds, int64_t now, struct identity *ret)
{
	X509_STORE_CTX *chain = X509_STORE_CTX_new();
	STACK_OF(X509) *trusted = sk_X509_new_null(), *between = sk_X509_new_null();
	int err = -E_NO_MEMORY;
	if (chain && trusted && between && sk_X509_push(trusted, root->x509) > 0 &&
	    (!intermediate || sk_X509_push(between, intermediate->x509) > 0) &&
	    X509_STORE_CTX_init(chain, NULL, leaf->x509, between) == 1 && X509_STORE_CTX_set_default(chain, "ssl_client") == 1) {
		X509_STORE_CTX_set0_trusted_stack(chain, trusted);
		err = chain_verify(chain, mesh, kinds, now, ret);
	}
	X509_STORE_CTX_free(chain);
	sk_X509_free(trusted);
	sk_X509_free(between);
	ERR_clear_error();
	return err;
}

int certificate_check_intermediate(const struct certificate *intermediate, const struct certificate *root)
{
	EVP_PKEY *key = X509_get0_pubkey(root->x509);
	bool is = key && X509_check_ca(intermediate->x509) == 1 && X509_check_issued(root->x509, intermediate->x509) == X509_V_OK &&
	          X509_NAME_cmp(X509_get_subject_name(intermediate->x509), X509_get_issuer_name(intermediate->x509)) != 0 &&
	          X509_verify(intermediate->x509, key) == 1;
	ERR_clear_error();
	return is ? 0 : -E_CERTIFICATE;
}
