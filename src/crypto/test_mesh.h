/* crypto/test_mesh.h: a mesh for tests: root, intermediate, leaves. */
#ifndef CRYPTO_TEST_MESH_H
#define CRYPTO_TEST_MESH_H
#include "crypto/certificate.h"

#define TEST_NOW ((int64_t)1800000000) /* within the validity of everything that test_mesh_new() issues */
#define TEST_DAY ((int64_t)86400)

struct test_leaf {
	struct key *key;
	struct certificate *certificate;
	struct identity identity;
};
struct test_mesh {
	struct id id;
	struct key *root_key, *intermediate_key;
	struct certificate *root, *intermediate;
	uint8_t pin[HASH_SIZE];
};

/* `number` makes the mesh's id. */
struct test_mesh test_mesh_new(uint8_t number);
void test_mesh_done(struct test_mesh *mesh);
struct test_leaf test_leaf_new(const struct test_mesh *mesh, enum identity_kind kind, uint8_t number);
struct test_leaf test_leaf_at(const struct test_mesh *mesh, enum identity_kind kind, uint8_t number, int64_t not_before,
                              int64_t not_after);
void test_leaf_done(struct test_leaf *leaf);
#endif
