#include <openssl/err.h>

#include "base/buf.h"
#include "base/err.h"
#include "crypto/native.h"

static X509_REQ *request_new(EVP_PKEY *pkey)
{
	X509_REQ *request = X509_REQ_new();
	if (request && X509_REQ_set_version(request, X509_REQ_VERSION_1) == 1 && X509_REQ_set_pubkey(request, pkey) == 1 &&
	    X509_REQ_sign(request, pkey, EVP_sha256()) > 0)
		return request;
	X509_REQ_free(request);
	return NULL;
}

int certificate_request_write(const struct key *key, struct buf *out)
{
	uint8_t *der = NULL;
	X509_REQ *request = request_new(key->pkey);
	int len = request ? i2d_X509_REQ(request, &der) : -1;
	int err = len < 0 ? -E_NO_MEMORY : buf_append(out, der, (size_t)len);
	OPENSSL_free(der);
	X509_REQ_free(request);
	return err;
}

static int request_key(X509_REQ *request, struct key **ret)
{
	int err = key_from_info(X509_REQ_get_X509_PUBKEY(request), ret);
	if (err == 0 && X509_REQ_verify(request, (*ret)->pkey) != 1) {
		*ret = key_free(*ret);
		err = -E_SIGNATURE;
	}
	return err;
}

int certificate_request_read(const uint8_t *der, size_t len, uint8_t ret_public[KEY_PUBLIC_MAX], size_t *ret_len)
{
	if (len > CERTIFICATE_REQUEST_MAX)
		return -E_TOO_LONG;
	const uint8_t *at = der;
	struct key *key = NULL;
	X509_REQ *request = d2i_X509_REQ(NULL, &at, (long)len);
	int err = request && at == der + len ? request_key(request, &key) : -E_ENCODING;
	if (err == 0)
		err = key_public_write(key, ret_public, ret_len);
	key_free(key);
	X509_REQ_free(request);
	ERR_clear_error();
	return err;
}
