/* Whatever bytes come as a certificate, as PEM or as a certificate request. */
#include "crypto/certificate.h"
#include "base/buf.h"
#include "base/err.h"
#include "crypto/test_mesh.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct test_mesh *mesh(void)
{
	static struct test_mesh one;
	if (!one.root)
		one = test_mesh_new(1);
	return &one;
}

static void look_at(const struct certificate *certificate)
{
	const struct test_mesh *own = mesh();
	struct certificate_info info;
	struct identity identity;
	struct buf der;
	certificate_inspect(certificate, &info);
	key_free(certificate_key(certificate));
	/* Nothing that this mesh did not sign is good for it. */
	if (certificate_verify(certificate, own->intermediate, own->root, &own->id, ~0u, TEST_NOW, &identity) == 0)
		abort();
	certificate_verify(certificate, certificate, certificate, &own->id, ~0u, TEST_NOW, &identity);
	buf_init(&der, CERTIFICATE_MAX);
	if (certificate_write(certificate, &der) < 0)
		abort();
	buf_done(&der);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct certificate *list[3] = { 0 };
	uint8_t public[KEY_PUBLIC_MAX];
	size_t len;
	struct key *key = NULL;
	int n = certificate_read(data, size, list) == 0 ? 1
	                                                : certificate_read_pem((struct str){ (const char *)data, size }, list, 3);
	for (int i = 0; i < n; i++) {
		look_at(list[i]);
		certificate_free(list[i]);
	}
	if (certificate_request_read(data, size, public, &len) == 0) {
		if (key_public_read(public, len, &key) < 0)
			abort();
		key = key_free(key);
	}
	if (key_private_read((struct str){ (const char *)data, size }, &key) == 0)
		key_free(key);
	return 0;
}
