/* tunnel/test_grant.h: what a device trusts, and documents that it accepts, for tests. */
#ifndef TUNNEL_TEST_GRANT_H
#define TUNNEL_TEST_GRANT_H
#include "crypto/test_mesh.h"
#include "tunnel/grant.h"
#include "tunnel/result.h"

struct test_trust {
	struct test_mesh mesh;
	struct key *grant_key;
	struct test_leaf device, user, manager; /* manager: of the device */
	murmesh_SignedDocument policy;
	struct trust *trust; /* of the device */
};

/* `number` makes the mesh's id. */
struct test_trust *test_trust_new(uint8_t number);
struct test_trust *test_trust_free(struct test_trust *trust);

/* Good at TEST_NOW; a test changes what it is about, and signs. */
murmesh_Policy test_policy(const struct test_trust *trust);
murmesh_Grant test_grant(const struct test_trust *trust, const char *target);
/* For the device alone. */
murmesh_Order test_order(const struct test_trust *trust, const char *program);

void test_sign(const struct key *key, struct str context, const pb_msgdesc_t *type, const void *message,
               murmesh_SignedDocument *ret);
void test_sign_grant(const struct test_trust *trust, const murmesh_Grant *grant, murmesh_SignedDocument *ret);
void test_sign_order(const struct test_trust *trust, const murmesh_Order *order, murmesh_SignedDocument *ret);

/* Has the device's manager signed that exit of the order, and what came?  As result_check() has it. */
int test_sign_result(void *trust, void *result, void *ret); /* a proof_sign */
int test_result_check(const struct test_trust *trust, const murmesh_Order *order, const murmesh_RunExit *exit,
                      const struct result_streams *streams);
#endif
