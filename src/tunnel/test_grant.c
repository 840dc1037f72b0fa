#include "tunnel/test_grant.h"

#include <pb_encode.h>

#include "base/mem.h"

static void require(bool good)
{
	if (!good)
		abort();
}

void test_sign(const struct key *key, struct str context, const pb_msgdesc_t *type, const void *message,
               murmesh_SignedDocument *ret)
{
	size_t len;
	pb_ostream_t out = pb_ostream_from_buffer(ret->document.bytes, sizeof ret->document.bytes);
	require(pb_encode(&out, type, message));
	ret->document.size = (pb_size_t)out.bytes_written;
	require(key_sign(key, context, ret->document.bytes, out.bytes_written, ret->signature.bytes, &len) == 0);
	ret->signature.size = (pb_size_t)len;
}

void test_sign_grant(const struct test_trust *trust, const murmesh_Grant *grant, murmesh_SignedDocument *ret)
{
	test_sign(trust->grant_key, CONTEXT_GRANT, murmesh_Grant_fields, grant, ret);
}

void test_sign_order(const struct test_trust *trust, const murmesh_Order *order, murmesh_SignedDocument *ret)
{
	test_sign(trust->grant_key, CONTEXT_ORDER, murmesh_Order_fields, order, ret);
}

int test_sign_result(void *ctx, void *result, void *ret)
{
	const struct test_trust *trust = ctx;
	const struct result_signer signer = { trust->manager.key, trust->manager.certificate, trust->mesh.intermediate,
		                              &trust->manager.identity };
	return result_sign(&signer, result, ret);
}

int test_result_check(const struct test_trust *trust, const murmesh_Order *order, const murmesh_RunExit *exit,
                      const struct result_streams *streams)
{
	static murmesh_SignedDocument signed_order;
	const struct result_expected expected = { trust->mesh.root, trust->mesh.id, trust->device.identity.id, &signed_order,
		                                  TEST_NOW };
	test_sign_order(trust, order, &signed_order);
	return result_check(&expected, exit, streams);
}

murmesh_Policy test_policy(const struct test_trust *trust)
{
	murmesh_Policy policy = murmesh_Policy_init_zero;
	size_t len;
	memcpy(policy.mesh, trust->mesh.id.bytes, sizeof policy.mesh);
	policy.version = 1;
	str_copy(STR("server"), policy.mode, sizeof policy.mode);
	require(key_public_write(trust->grant_key, policy.grant_key.bytes, &len) == 0);
	policy.grant_key.size = (pb_size_t)len;
	return policy;
}

murmesh_Grant test_grant(const struct test_trust *trust, const char *target)
{
	murmesh_Grant grant = murmesh_Grant_init_zero;
	memcpy(grant.mesh, trust->mesh.id.bytes, sizeof grant.mesh);
	memset(grant.serial, 7, sizeof grant.serial);
	memcpy(grant.user, trust->user.identity.id.bytes, sizeof grant.user);
	memcpy(grant.device, trust->device.identity.id.bytes, sizeof grant.device);
	grant.targets_count = 1;
	require(str_copy(str_from(target), grant.targets[0], sizeof grant.targets[0]) == 0);
	grant.rights = murmesh_Right_CONNECT;
	grant.until = TEST_NOW + 300;
	return grant;
}

murmesh_Order test_order(const struct test_trust *trust, const char *program)
{
	murmesh_Order order = murmesh_Order_init_zero;
	memcpy(order.mesh, trust->mesh.id.bytes, sizeof order.mesh);
	memset(order.nonce, 9, sizeof order.nonce);
	memcpy(order.user, trust->user.identity.id.bytes, sizeof order.user);
	order.argv_count = 1;
	require(str_copy(str_from(program), order.argv[0], sizeof order.argv[0]) == 0);
	hash_sha256(trust->device.identity.id.bytes, sizeof trust->device.identity.id.bytes, order.digest);
	order.count = 1;
	order.until = TEST_NOW + 300;
	return order;
}

struct test_trust *test_trust_new(uint8_t number)
{
	struct test_trust *trust = mem_alloc(sizeof *trust);
	require(trust);
	trust->mesh = test_mesh_new(number);
	trust->grant_key = key_generate();
	trust->device = test_leaf_new(&trust->mesh, IDENTITY_NODE, 21);
	trust->manager = test_leaf_new(&trust->mesh, IDENTITY_MANAGER, 21);
	trust->user = test_leaf_new(&trust->mesh, IDENTITY_USER, 22);
	murmesh_Policy policy = test_policy(trust);
	test_sign(trust->mesh.root_key, CONTEXT_POLICY, murmesh_Policy_fields, &policy, &trust->policy);
	require(trust_new(trust->mesh.root, &trust->policy, &trust->device.identity, &trust->trust) == 0);
	return trust;
}

struct test_trust *test_trust_free(struct test_trust *trust)
{
	trust_free(trust->trust);
	test_leaf_done(&trust->device);
	test_leaf_done(&trust->user);
	test_leaf_done(&trust->manager);
	key_free(trust->grant_key);
	test_mesh_done(&trust->mesh);
	return mem_free(trust);
}
