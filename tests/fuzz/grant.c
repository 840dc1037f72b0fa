/* Documents of strangers: first as they are, signature and all; then as if the grant key had signed the bytes. */
#include <assert.h>
#include <pb_decode.h>

#include "base/err.h"
#include "tunnel/test_grant.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The same trust in every run, so that a finding repeats: the mesh, its devices and the time are fixed, the keys do not matter. */
static const struct test_trust *trust(void)
{
	static struct test_trust *one;
	if (!one)
		one = test_trust_new(1);
	return one;
}

/* The same device under a policy in mode "signed"; its approver's key signs nothing here. */
static const struct trust *strict(void)
{
	static struct trust *one;
	static murmesh_SignedDocument signed_policy;
	if (one)
		return one;
	struct key *key = key_generate();
	murmesh_Policy policy = test_policy(trust());
	size_t len;
	str_copy(STR("signed"), policy.mode, sizeof policy.mode);
	policy.approvers_count = 1;
	memcpy(policy.approvers[0].user, trust()->user.identity.id.bytes, sizeof policy.approvers[0].user);
	if (key_public_write(key, policy.approvers[0].key.bytes, &len) < 0)
		abort();
	policy.approvers[0].key.size = (pb_size_t)len;
	test_sign(trust()->mesh.root_key, CONTEXT_POLICY, murmesh_Policy_fields, &policy, &signed_policy);
	if (trust_new(trust()->mesh.root, &signed_policy, &trust()->device.identity, &one) < 0)
		abort();
	key_free(key);
	return one;
}

static murmesh_SignedDocument document;
static murmesh_Grant grant;
static murmesh_Order order;

static int check_by(const struct trust *by, bool is_order, const uint8_t *devices, size_t devices_len)
{
	if (is_order)
		return order_check(by, &document, devices, devices_len, TEST_NOW, &order);
	return grant_check(by, &document, &trust()->user.identity, TEST_NOW, &grant);
}

/* Whatever users' signatures stand in a document: without the approver's key none passes where users sign. */
static int check(bool is_order, const uint8_t *devices, size_t devices_len)
{
	assert(check_by(strict(), is_order, devices, devices_len) < 0);
	return check_by(trust()->trust, is_order, devices, devices_len);
}

static void sign(bool is_order, const uint8_t *data, size_t size)
{
	size_t len;
	memcpy(document.document.bytes, data, size);
	document.document.size = (pb_size_t)size;
	if (key_sign(trust()->grant_key, is_order ? CONTEXT_ORDER : CONTEXT_GRANT, data, size, document.signature.bytes, &len) < 0)
		abort();
	document.signature.size = (pb_size_t)len;
}

/* What an accepted document must say. */
static void require_ours(bool is_order)
{
	const uint8_t *mesh = is_order ? order.mesh : grant.mesh;
	assert(memcmp(mesh, trust()->mesh.id.bytes, sizeof grant.mesh) == 0);
	assert((is_order ? order.until : grant.until) >= TEST_NOW - 60);
	if (is_order) {
		assert(order.count == 1 && order.argv_count >= 1);
		return;
	}
	assert(memcmp(grant.device, trust()->device.identity.id.bytes, sizeof grant.device) == 0);
	assert(memcmp(grant.user, trust()->user.identity.id.bytes, sizeof grant.user) == 0);
	if (grant_allows_target(&grant, STR("intranet.example"), 80) == 0)
		assert(grant.rights & murmesh_Right_CONNECT && grant.targets_count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	bool is_order = size && data[0] & 1;
	const struct id *self = &trust()->device.identity.id;
	if (!size || --size > sizeof document.document.bytes)
		return 0;
	data++;
	pb_istream_t in = pb_istream_from_buffer(data, size);
	if (pb_decode(&in, murmesh_SignedDocument_fields, &document))
		assert(check(is_order, self->bytes, sizeof self->bytes) == -E_SIGNATURE);
	sign(is_order, data, size);
	if (check(is_order, self->bytes, sizeof self->bytes) == 0)
		require_ours(is_order);
	if (is_order)
		check(true, data, size); /* hostile devices behind a hostile order */
	return 0;
}
