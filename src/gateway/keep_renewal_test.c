#include "base/err.h"
#include "base/test.h"
#include "gateway/keep.h"
#include "os/clock.h"
#include "tunnel/test_grant.h"

#define DAY 86400

static struct test_trust *ours, *other; /* other: a mesh of its own */
static char directory[64];
static struct keep keep;
static murmesh_CertificateReply reply;

/* What the certification manager of that mesh answers for keep's key. */
static void answer(const struct test_trust *trust, enum identity_kind kind, uint8_t number, const struct key *key, uint64_t version)
{
	struct certificate *leaf;
	struct certificate_order order = { .profile = CERTIFICATE_LEAF,
		                           .identity = { .mesh = trust->mesh.id, .kind = kind },
		                           .common_name = STR("web01-17"),
		                           .not_before = clock_wall_s() - DAY,
		                           .not_after = clock_wall_s() + DAY };
	murmesh_Policy policy = test_policy(trust);
	memset(order.identity.id.bytes, number, sizeof order.identity.id.bytes);
	policy.version = version;
	reply = (murmesh_CertificateReply){ .has_policy = true };
	assert_int_equal(certificate_issue(&order, key, trust->mesh.intermediate, trust->mesh.intermediate_key, &leaf), 0);
	assert_int_equal(certificate_put(leaf, reply.leaf.bytes, sizeof reply.leaf.bytes, &reply.leaf.size), 0);
	assert_int_equal(certificate_put(trust->mesh.intermediate, reply.intermediate.bytes, sizeof reply.intermediate.bytes,
	                                 &reply.intermediate.size),
	                 0);
	assert_int_equal(certificate_put(trust->mesh.root, reply.root.bytes, sizeof reply.root.bytes, &reply.root.size), 0);
	test_sign(trust->mesh.root_key, CONTEXT_POLICY, murmesh_Policy_fields, &policy, &reply.policy);
	certificate_free(leaf);
}

static int set_up(void **state)
{
	(void)state;
	ours = test_trust_new(1);
	other = test_trust_new(2);
	snprintf(directory, sizeof directory, "/tmp/murmesh-keep-XXXXXX");
	assert_non_null(mkdtemp(directory));
	keep = (struct keep){ .directory = directory, .name = "node" };
	assert_int_equal(keep_load(&keep), 0);
	assert_int_equal(keep_key(&keep), 0);
	return 0;
}

static int tear_down(void **state)
{
	static const char *const names[] = { "node.key", "node.crt", "policy" };
	char path[4096];
	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (keep_file(&keep, names[i], path) == 0)
			unlink(path);
	assert_int_equal(rmdir(directory), 0);
	keep_done(&keep);
	test_trust_free(ours);
	test_trust_free(other);
	return 0;
}

static void assert_kept(uint8_t number)
{
	struct keep again = { .directory = directory, .name = "node" };
	assert_int_equal(keep_load(&again), 1);
	assert_int_equal(again.info.identity.id.bytes[0], number);
	assert_true(identity_equal(&again.info.identity, &keep.info.identity));
	keep_done(&again);
}

static void test_enrolment(void **state)
{
	(void)state;
	struct key *stranger = key_generate();
	answer(other, IDENTITY_NODE, 21, keep.key, 1);
	assert_int_equal(keep_install(&keep, &reply, IDENTITY_NODE, ours->mesh.pin), -E_WRONG_PIN);
	answer(ours, IDENTITY_USER, 21, keep.key, 1);
	assert_int_equal(keep_install(&keep, &reply, IDENTITY_NODE, ours->mesh.pin), -E_CERTIFICATE_USAGE);
	answer(ours, IDENTITY_NODE, 21, stranger, 1);
	assert_int_equal(keep_install(&keep, &reply, IDENTITY_NODE, ours->mesh.pin), -E_CERTIFICATE);
	answer(ours, IDENTITY_NODE, 21, keep.key, 1);
	reply.policy.signature.bytes[10] ^= 1;
	assert_int_equal(keep_install(&keep, &reply, IDENTITY_NODE, ours->mesh.pin), -E_SIGNATURE);
	reply.has_policy = false;
	assert_int_equal(keep_install(&keep, &reply, IDENTITY_NODE, ours->mesh.pin), -E_MESSAGE);
	answer(ours, IDENTITY_NODE, 21, keep.key, 1);
	memcpy(reply.root.bytes, reply.intermediate.bytes, reply.root.size = reply.intermediate.size);
	assert_int_equal(keep_install(&keep, &reply, IDENTITY_NODE, NULL), -E_CERTIFICATE);
	assert_null(keep.leaf);
	assert_int_equal(keep_load(&keep), 0);

	answer(ours, IDENTITY_NODE, 21, keep.key, 1);
	assert_int_equal(keep_install(&keep, &reply, IDENTITY_NODE, ours->mesh.pin), 0);
	assert_kept(21);
	key_free(stranger);
}

/* A server that was taken over may answer what it likes: root, name and policy stay. */
static void test_renewal(void **state)
{
	(void)state;
	answer(ours, IDENTITY_NODE, 21, keep.key, 5);
	assert_int_equal(keep_install(&keep, &reply, IDENTITY_NODE, ours->mesh.pin), 0);
	answer(other, IDENTITY_NODE, 21, keep.key, 5);
	assert_int_equal(keep_install(&keep, &reply, IDENTITY_NODE, NULL), -E_WRONG_PIN);
	answer(ours, IDENTITY_NODE, 22, keep.key, 5);
	assert_int_equal(keep_install(&keep, &reply, IDENTITY_NODE, NULL), -E_CERTIFICATE_IDENTITY);
	answer(ours, IDENTITY_NODE, 21, keep.key, 4);
	assert_int_equal(keep_install(&keep, &reply, IDENTITY_NODE, NULL), -E_POLICY_OLD);
	assert_kept(21);
	answer(ours, IDENTITY_NODE, 21, keep.key, 5);
	assert_int_equal(keep_install(&keep, &reply, IDENTITY_NODE, NULL), 0);
	answer(ours, IDENTITY_NODE, 21, keep.key, 6);
	assert_int_equal(keep_install(&keep, &reply, IDENTITY_NODE, NULL), 0);
	assert_kept(21);
}

static uint64_t kept_version(void)
{
	struct keep again = { .directory = directory, .name = "node" };
	struct trust *trust;
	assert_int_equal(keep_load(&again), 1);
	assert_int_equal(trust_new(again.root, &again.policy, &again.info.identity, &trust), 0);
	uint64_t version = trust_version(trust);
	trust_free(trust);
	keep_done(&again);
	return version;
}

/* By itself, over the link: only forward, only by the same root, whole. */
static void test_newer_policy(void **state)
{
	(void)state;
	static const struct {
		uint64_t version;
		int result;
	} rows[] = { { 5, -E_POLICY_OLD },
		     { 4, -E_POLICY_OLD },
		     { 0, -E_POLICY_OLD },
		     { 6, 0 },
		     { 6, -E_POLICY_OLD },
		     { 5, -E_POLICY_OLD },
		     { 900, 0 } };
	answer(ours, IDENTITY_NODE, 21, keep.key, 5);
	assert_int_equal(keep_install(&keep, &reply, IDENTITY_NODE, ours->mesh.pin), 0);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		uint64_t before = kept_version();
		answer(ours, IDENTITY_NODE, 21, keep.key, rows[i].version);
		assert_int_equal(keep_policy(&keep, &reply.policy), rows[i].result);
		assert_int_equal(kept_version(), rows[i].result == 0 ? rows[i].version : before);
	}
	answer(other, IDENTITY_NODE, 21, keep.key, 1000);
	assert_int_equal(keep_policy(&keep, &reply.policy), -E_SIGNATURE);
	answer(ours, IDENTITY_NODE, 21, keep.key, 1000);
	reply.policy.document.bytes[2] ^= 1;
	assert_int_equal(keep_policy(&keep, &reply.policy), -E_SIGNATURE);
	murmesh_Policy foreign = test_policy(ours);
	foreign.version = 1000;
	foreign.mesh[0] ^= 1;
	test_sign(ours->mesh.root_key, CONTEXT_POLICY, murmesh_Policy_fields, &foreign, &reply.policy);
	assert_int_equal(keep_policy(&keep, &reply.policy), -E_CERTIFICATE_FOREIGN);
	assert_int_equal(kept_version(), 900);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_enrolment, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_renewal, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_newer_policy, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
