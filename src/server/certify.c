#include "server/certify.h"

#include "base/err.h"
#include "crypto/certificate.h"

int certify_csr(const uint8_t *csr, size_t len, murmesh_CheckedRequest *checked)
{
	size_t key_len;
	int err = certificate_request_read(csr, len, checked->key.bytes, &key_len);
	if (err < 0)
		return err;
	checked->key.size = (pb_size_t)key_len;
	checked->has_request = true;
	hash_sha256(csr, len, checked->csr_hash);
	return 0;
}

int certify_expired(const murmesh_RenewRequest *request, const struct certificate *intermediate, const struct certificate *root,
                    const struct id *mesh, murmesh_CheckedRequest *checked)
{
	struct certificate *leaf = NULL;
	struct certificate_info info;
	struct identity identity;
	uint8_t key[KEY_PUBLIC_MAX], key_hash[HASH_SIZE];
	size_t key_len;
	int err = certificate_read(request->leaf.bytes, request->leaf.size, &leaf);
	if (err == 0)
		err = certificate_inspect(leaf, &info);
	if (err == 0)
		err = certificate_verify(leaf, intermediate, root, mesh, 1u << IDENTITY_NODE, CERTIFICATE_ANY_TIME, &identity);
	if (err == 0)
		err = certificate_request_read(request->csr.bytes, request->csr.size, key, &key_len);
	certificate_free(leaf);
	if (err < 0)
		return err;
	hash_sha256(key, key_len, key_hash);
	if (!hash_equal(key_hash, info.key_hash))
		return -E_CERTIFICATE;
	identity_format(&identity, checked->peer);
	checked->expired = info.not_after;
	checked->continuation = request->continuation;
	return 0;
}
