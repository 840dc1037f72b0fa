/* Whatever bytes a client sends to a server that wants a certificate. */
#include <errno.h>

#include "base/err.h"
#include "crypto/test_mesh.h"
#include "crypto/tls.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int64_t now(void)
{
	return TEST_NOW;
}

static ssize_t input_recv(void *ctx, void *out, size_t size)
{
	struct str *input = ctx;
	if (size > input->len)
		size = input->len;
	memcpy(out, input->ptr, size);
	*input = str_skip(*input, size);
	return (ssize_t)size;
}

static ssize_t input_send(void *ctx, const void *bytes, size_t len)
{
	(void)ctx, (void)bytes;
	return (ssize_t)len;
}

static struct tls_context *context(void)
{
	static struct tls_context *one;
	if (one)
		return one;
	struct test_mesh mesh = test_mesh_new(1);
	struct test_leaf leaf = test_leaf_new(&mesh, IDENTITY_COMPONENT, 2);
	const struct tls_settings settings = {
		.server = true,
		.verify = TLS_VERIFY_REQUIRED,
		.leaf = leaf.certificate,
		.key = leaf.key,
		.intermediate = mesh.intermediate,
		.root = mesh.root,
		.mesh = mesh.id,
		.kinds = ~0u,
		.alpn = (const char *const[]){ "h2", NULL },
		.alpn_optional = true,
		.now = now,
	};
	if (tls_context_new(&settings, &one) < 0)
		abort();
	test_leaf_done(&leaf);
	test_mesh_done(&mesh);
	return one;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct tls_transport transport = { input_recv, input_send };
	struct str input = { (const char *)data, size };
	struct tls *tls = tls_new(context(), &transport, &input, NULL);
	char out[16];
	if (!tls)
		return 0;
	/* No bytes of a client without a certificate get through. */
	if (tls_handshake(tls) == 0 || tls_read(tls, out, sizeof out) > 0 || tls_peer(tls))
		abort();
	tls_free(tls);
	return 0;
}
