#include "tunnel/result.h"

#include <pb_decode.h>
#include <pb_encode.h>

#include "base/err.h"
#include "base/fault.h"
#include "base/test.h"
#include "tunnel/test_grant.h"

static struct test_trust *ours, *other;
static murmesh_Order order;
static murmesh_RunExit exit_, good;

static int set_up(void **state)
{
	(void)state;
	ours = test_trust_new(1);
	other = test_trust_new(2);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	ours = test_trust_free(ours);
	other = test_trust_free(other);
	return 0;
}

static void wrote(struct result_streams *streams, const char *out, const char *err)
{
	assert_int_equal(result_streams_init(streams), 0);
	digest_add(streams->out, out, strlen(out));
	digest_add(streams->err, err, strlen(err));
}

static murmesh_Result result_of(const char *out, const char *err)
{
	murmesh_Result result = { .code = 3, .started = TEST_NOW - 5, .ended = TEST_NOW };
	struct result_streams streams;
	memcpy(result.nonce, order.nonce, sizeof result.nonce);
	wrote(&streams, out, err);
	result_streams_read(&streams, &result);
	result_streams_done(&streams);
	return result;
}

static int check_written(const char *out, const char *err)
{
	struct result_streams streams;
	wrote(&streams, out, err);
	int checked = test_result_check(ours, &order, &exit_, &streams);
	result_streams_done(&streams);
	return checked;
}

static int check(void)
{
	return check_written("out", "err");
}

static int each(void **state)
{
	(void)state;
	order = test_order(ours, "id");
	murmesh_Result result = result_of("out", "err");
	good = (murmesh_RunExit){ .code = 3, .has_proof = true };
	assert_int_equal(test_sign_result(ours, &result, &good.proof), 0);
	exit_ = good;
	return 0;
}

static void test_good(void **state)
{
	(void)state;
	murmesh_Result result;
	assert_int_equal(check(), 0);
	pb_istream_t in = pb_istream_from_buffer(exit_.proof.result.bytes, exit_.proof.result.size);
	assert_true(pb_decode(&in, murmesh_Result_fields, &result));
	assert_memory_equal(result.mesh, ours->mesh.id.bytes, sizeof result.mesh);
	assert_memory_equal(result.device, ours->device.identity.id.bytes, sizeof result.device);
	assert_int_equal(result.started, TEST_NOW - 5);
	assert_int_equal(result.ended, TEST_NOW);
}

/* Whoever carries it changes what it says beside the signature. */
static void test_changed(void **state)
{
	(void)state;
	exit_.code = 0;
	assert_int_equal(check(), -E_UNVERIFIED);
	exit_ = good;
	exit_.signal = 9;
	assert_int_equal(check(), -E_UNVERIFIED);
	exit_ = good;
	assert_int_equal(check_written("ouT", "err"), -E_UNVERIFIED);
	assert_int_equal(check_written("out", ""), -E_UNVERIFIED);
	assert_int_equal(check_written("outerr", ""), -E_UNVERIFIED);
	assert_int_equal(check_written("err", "out"), -E_UNVERIFIED);
	order.nonce[3] ^= 1; /* the result of another run */
	assert_int_equal(check(), -E_UNVERIFIED);
}

static void test_changed_proof(void **state)
{
	(void)state;
	exit_.has_proof = false;
	assert_int_equal(check(), -E_SIGNATURE);
	exit_ = good;
	for (pb_size_t i = 0; i < good.proof.result.size; i++) {
		exit_.proof.result.bytes[i] ^= 1;
		assert_int_equal(check(), -E_SIGNATURE);
		exit_ = good;
	}
	exit_.proof.signature.size = 0;
	assert_int_equal(check(), -E_SIGNATURE);
	exit_ = good;
	exit_.proof.leaf.size--;
	assert_int_equal(check(), -E_ENCODING);
	exit_ = good;
	exit_.proof.intermediate.size = 0;
	assert_int_equal(check(), -E_ENCODING);
}

/* A good signature, but not by that device's manager. */
static int signed_by(const struct test_trust *trust, const struct test_leaf *leaf)
{
	murmesh_Result result = result_of("out", "err");
	struct identity self = ours->manager.identity; /* what it says does not matter */
	const struct result_signer signer = { leaf->key, leaf->certificate, trust->mesh.intermediate, &self };
	assert_int_equal(result_sign(&signer, &result, &exit_.proof), 0);
	return check();
}

static void test_other_signers(void **state)
{
	(void)state;
	struct test_leaf neighbour = test_leaf_new(&ours->mesh, IDENTITY_MANAGER, 23),
	                 old = test_leaf_at(&ours->mesh, IDENTITY_MANAGER, 21, TEST_NOW - 9 * TEST_DAY, TEST_NOW - TEST_DAY);
	assert_int_equal(signed_by(ours, &ours->manager), 0);
	assert_int_equal(signed_by(ours, &ours->device), -E_CERTIFICATE_USAGE); /* what net has */
	assert_int_equal(signed_by(ours, &neighbour), -E_CERTIFICATE_PEER);
	assert_int_equal(signed_by(ours, &old), -E_CERTIFICATE_EXPIRED);
	assert_true(signed_by(other, &other->manager) < 0);
	test_leaf_done(&neighbour);
	test_leaf_done(&old);
}

static void test_no_message(void **state)
{
	(void)state;
	size_t len;
	exit_.proof.result.bytes[0] = 0xff;
	assert_int_equal(key_sign(ours->manager.key, CONTEXT_RESULT, exit_.proof.result.bytes, exit_.proof.result.size,
	                          exit_.proof.signature.bytes, &len),
	                 0);
	exit_.proof.signature.size = (pb_size_t)len;
	assert_int_equal(check(), -E_MESSAGE);
}

/* Signed for another purpose. */
static void test_context(void **state)
{
	(void)state;
	size_t len;
	assert_int_equal(key_sign(ours->manager.key, CONTEXT_INVENTORY, exit_.proof.result.bytes, exit_.proof.result.size,
	                          exit_.proof.signature.bytes, &len),
	                 0);
	exit_.proof.signature.size = (pb_size_t)len;
	assert_int_equal(check(), -E_SIGNATURE);
}

static void test_exit_codes(void **state)
{
	static const struct {
		uint32_t code, signal;
		int wanted;
	} rows[] = { { 0, 0, 0 },   { 255, 0, 255 }, { 256, 0, 255 }, { UINT32_MAX, 0, 255 }, { 137, 9, 137 },
		     { 0, 9, 137 }, { 0, 127, 255 }, { 0, 128, 255 }, { 0, UINT32_MAX, 255 } };
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		assert_int_equal(result_exit_code(&(murmesh_RunExit){ .code = rows[i].code, .signal = rows[i].signal }),
		                 rows[i].wanted);
}

static void test_short_memory(void **state)
{
	(void)state;
	struct result_streams streams;
	for (long n = 1;; n++) {
		fault_arm(n);
		int err = result_streams_init(&streams);
		bool reached = !fault_armed();
		fault_arm(0);
		if (!reached) {
			assert_int_equal(err, 0);
			result_streams_done(&streams);
			break;
		}
		assert_int_equal(err, -E_NO_MEMORY);
		assert_null(streams.out);
		assert_null(streams.err);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_good, each),
		cmocka_unit_test_setup(test_changed, each),
		cmocka_unit_test_setup(test_changed_proof, each),
		cmocka_unit_test_setup(test_other_signers, each),
		cmocka_unit_test_setup(test_no_message, each),
		cmocka_unit_test_setup(test_context, each),
		cmocka_unit_test(test_exit_codes),
		cmocka_unit_test(test_short_memory),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
