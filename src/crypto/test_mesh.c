#include "crypto/test_mesh.h"

static void require(bool good)
{
	if (!good)
		abort();
}

static struct id id_of(uint8_t number)
{
	struct id id;
	memset(id.bytes, number, sizeof id.bytes);
	return id;
}

static struct certificate *authority(enum certificate_profile profile, const char *name, const struct key *key,
                                     const struct certificate *issuer, const struct key *issuer_key)
{
	struct certificate *certificate = NULL;
	const struct certificate_order order = {
		.profile = profile,
		.common_name = str_from(name),
		.not_before = TEST_NOW - 1000 * TEST_DAY,
		.not_after = TEST_NOW + 1000 * TEST_DAY,
	};
	require(certificate_issue(&order, key, issuer, issuer_key, &certificate) == 0);
	return certificate;
}

struct test_mesh test_mesh_new(uint8_t number)
{
	struct test_mesh mesh = { .id = id_of(number), .root_key = key_generate(), .intermediate_key = key_generate() };
	require(mesh.root_key && mesh.intermediate_key && key_public_hash(mesh.root_key, mesh.pin) == 0);
	mesh.root = authority(CERTIFICATE_ROOT, "mesh root", mesh.root_key, NULL, mesh.root_key);
	mesh.intermediate = authority(CERTIFICATE_INTERMEDIATE, "mesh online", mesh.intermediate_key, mesh.root, mesh.root_key);
	return mesh;
}

void test_mesh_done(struct test_mesh *mesh)
{
	key_free(mesh->root_key);
	key_free(mesh->intermediate_key);
	certificate_free(mesh->root);
	certificate_free(mesh->intermediate);
}

struct test_leaf test_leaf_at(const struct test_mesh *mesh, enum identity_kind kind, uint8_t number, int64_t not_before,
                              int64_t not_after)
{
	const struct str names[] = { STR("localhost"), STR("127.0.0.1") };
	struct test_leaf leaf = { .key = key_generate(), .identity = { mesh->id, kind, id_of(number) } };
	const struct certificate_order order = {
		.profile = CERTIFICATE_LEAF,
		.identity = leaf.identity,
		.common_name = STR("web01-17"),
		.names = names,
		.n_names = kind == IDENTITY_COMPONENT ? 2 : 0,
		.not_before = not_before,
		.not_after = not_after,
	};
	require(leaf.key &&
	        certificate_issue(&order, leaf.key, mesh->intermediate, mesh->intermediate_key, &leaf.certificate) == 0);
	return leaf;
}

struct test_leaf test_leaf_new(const struct test_mesh *mesh, enum identity_kind kind, uint8_t number)
{
	return test_leaf_at(mesh, kind, number, TEST_NOW - TEST_DAY, TEST_NOW + TEST_DAY);
}

void test_leaf_done(struct test_leaf *leaf)
{
	key_free(leaf->key);
	certificate_free(leaf->certificate);
}
