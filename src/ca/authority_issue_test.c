#include "ca/authority.h"

#include "base/err.h"
#include "base/test.h"
#include "os/clock.h"

static char directory[64];
static struct authority *authority;

static void path_of(const char *name, char path[256])
{
	snprintf(path, 256, "%s/%s", directory, name);
}

static int set_up(void **state)
{
	bool created;
	(void)state;
	snprintf(directory, sizeof directory, "/tmp/murmesh-ca-XXXXXX");
	assert_non_null(mkdtemp(directory));
	assert_int_equal(authority_open(directory, &authority, &created), 0);
	assert_true(created);
	return 0;
}

static int tear_down(void **state)
{
	static const char *const names[] = { "root.key", "root.crt", "intermediate.key", "intermediate.crt", "grant.key",
		                             "policy",   "mesh" };
	char path[256];
	(void)state;
	authority = authority_free(authority);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		path_of(names[i], path);
		unlink(path);
	}
	assert_int_equal(rmdir(directory), 0);
	return 0;
}

static int issue(enum identity_kind kind, int64_t from, int64_t to, struct certificate **ret)
{
	uint8_t bytes[KEY_PUBLIC_MAX];
	size_t len;
	struct key *key = key_generate();
	const struct certificate_order order = { .profile = CERTIFICATE_LEAF,
		                                 .identity = { *authority_mesh(authority), kind, { { 7 } } },
		                                 .common_name = STR("web01-17"),
		                                 .not_before = clock_wall_s() + from,
		                                 .not_after = clock_wall_s() + to };
	*ret = NULL;
	assert_int_equal(key_public_write(key, bytes, &len), 0);
	key_free(key);
	return authority_issue(authority, &order, bytes, len, ret);
}

static void assert_good(enum identity_kind kind, const struct certificate *leaf)
{
	struct identity identity;
	assert_int_equal(certificate_verify(leaf, authority_intermediate(authority), authority_root(authority),
	                                    authority_mesh(authority), 1u << kind, clock_wall_s(), &identity),
	                 0);
	assert_int_equal(identity.id.bytes[0], 7);
}

/* Core decides for whom, but a core that was taken over gets no certificate that outlives its discovery. */
static void test_issue(void **state)
{
	struct certificate *leaf;
	(void)state;
	assert_int_equal(issue(IDENTITY_NODE, -300, AUTHORITY_LEAF_S, &leaf), 0);
	assert_good(IDENTITY_NODE, leaf);
	certificate_free(leaf);
	assert_int_equal(issue(IDENTITY_USER, -300, AUTHORITY_USER_S, &leaf), 0);
	assert_good(IDENTITY_USER, leaf);
	certificate_free(leaf);
	assert_int_equal(issue(IDENTITY_USER, -300, AUTHORITY_LEAF_S, &leaf), -E_DENIED);
	assert_int_equal(issue(IDENTITY_NODE, -300, AUTHORITY_LEAF_S + 86400, &leaf), -E_DENIED);
	assert_int_equal(issue(IDENTITY_COMPONENT, -300, INT32_MAX, &leaf), -E_DENIED);
	assert_int_equal(issue(IDENTITY_NODE, -86400, 3600, &leaf), -E_DENIED);
	assert_null(leaf);
}

static void test_sign(void **state)
{
	uint8_t signature[KEY_SIGNATURE_MAX];
	size_t len;
	(void)state;
	assert_int_equal(authority_sign(authority, AUTHORITY_GRANT, "x", 1, signature, &len), 0);
	assert_int_equal(authority_sign(authority, AUTHORITY_ORDER, "x", 1, signature, &len), 0);
	assert_int_equal(authority_sign(authority, 0, "x", 1, signature, &len), -E_DENIED);
	assert_int_equal(authority_sign(authority, 7, "x", 1, signature, &len), -E_DENIED);
}

/* The same mesh again, also without the root's key; what is damaged is never made anew. */
static void test_open_again(void **state)
{
	const struct id mesh = *authority_mesh(authority);
	char path[256];
	bool created;
	(void)state;
	path_of("root.key", path);
	assert_int_equal(unlink(path), 0);
	authority = authority_free(authority);
	assert_int_equal(authority_open(directory, &authority, &created), 0);
	assert_false(created);
	assert_true(id_equal(&mesh, authority_mesh(authority)));
	authority = authority_free(authority);
	path_of("grant.key", path);
	assert_int_equal(truncate(path, 20), 0);
	assert_true(authority_open(directory, &authority, &created) < 0);
	assert_false(created);
	authority = NULL;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = { TEST(test_issue), TEST(test_sign), TEST(test_open_again) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
