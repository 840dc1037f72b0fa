#include "gateway/certify.h"

#include "base/err.h"
#include "crypto/certificate.h"

void issuers_free(struct issuers *issuers)
{
	certificate_free(issuers->root);
	while (issuers->n_intermediates)
		certificate_free(issuers->intermediates[--issuers->n_intermediates]);
	*issuers = (struct issuers){ 0 };
}

static int intermediate_add(struct issuers *issuers, const uint8_t *der, size_t len)
{
	int err = certificate_read(der, len, &issuers->intermediates[issuers->n_intermediates]);
	issuers->n_intermediates += err == 0;
	return err;
}

int issuers_read(const murmesh_CertificateReply *reply, struct issuers *ret)
{
	*ret = (struct issuers){ 0 };
	int err = certificate_read(reply->root.bytes, reply->root.size, &ret->root);
	if (err == 0)
		err = intermediate_add(ret, reply->intermediate.bytes, reply->intermediate.size);
	for (pb_size_t i = 0; err == 0 && i < reply->former_count; i++)
		err = intermediate_add(ret, reply->former[i].bytes, reply->former[i].size);
	if (err < 0)
		issuers_free(ret);
	return err;
}

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

static int expired_verify(const struct issuers *issuers, const struct id *mesh, const struct certificate *leaf,
                          struct identity *ret)
{
	int err = -E_BUSY; /* no issuers yet */
	for (size_t i = 0; i < issuers->n_intermediates; i++) {
		err = certificate_verify(leaf, issuers->intermediates[i], issuers->root, mesh,
		                         1u << IDENTITY_NODE | 1u << IDENTITY_COMPONENT, CERTIFICATE_ANY_TIME, ret);
		if (err != -E_CERTIFICATE) /* that is: of another intermediate */
			break;
	}
	return err;
}

int certify_expired(const murmesh_RenewRequest *request, const struct issuers *issuers, const struct id *mesh,
                    murmesh_CheckedRequest *checked)
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
		err = expired_verify(issuers, mesh, leaf, &identity);
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
