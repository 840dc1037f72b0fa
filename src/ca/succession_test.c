/* Another intermediate, by the mesh root's answer: all of it or nothing, whatever is interrupted, and nothing that does not fit. */
#include "ca/succession.h"

#include <errno.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/test.h"
#include "ca/authority.h"
#include "ca/chain.h"
#include "ca/folder.h"
#include "ca/policy.h"
#include "os/clock.h"
#include "os/file.h"

static murmesh_CaRequest request;
static murmesh_CaAnswer answer;

static void directory_make(const char *base, const char *name, char path[4096])
{
	assert_int_equal(file_path(path, 4096, base, name), 0);
	assert_int_equal(file_make_directory(path, 0700), 0);
}

static struct authority *open_whole(const char *directory)
{
	struct authority *authority = NULL;
	bool created;
	assert_int_equal(authority_open(directory, &authority, &created), 0);
	return authority;
}

/* By the root.key of another directory (or the same). */
static int answer_by(const char *root, murmesh_CaAnswer *ret)
{
	struct certificate *certificate;
	struct key *key;
	assert_int_equal(folder_key_read(root, "root.key", &key), 0);
	assert_int_equal(folder_certificate_read(root, "root.crt", &certificate), 0);
	int err = succession_answer(&request, key, certificate, ret);
	key_free(key);
	certificate_free(certificate);
	return err;
}

static uint64_t version_of(const struct authority *authority)
{
	murmesh_Policy policy;
	assert_int_equal(policy_decode(authority_policy(authority), &policy), 0);
	return policy.version;
}

static void hash_of(const struct certificate *certificate, uint8_t hash[HASH_SIZE])
{
	struct certificate_info info;
	assert_int_equal(certificate_inspect(certificate, &info), 0);
	memcpy(hash, info.key_hash, HASH_SIZE);
}

static int formers_count(const char *directory)
{
	struct certificate *formers[FORMERS_MAX];
	int n = folder_formers_read(directory, formers);
	for (int i = 0; i < n; i++)
		certificate_free(formers[i]);
	return n;
}

static void test_rotation(void **state)
{
	const char *directory = *state;
	uint8_t before[HASH_SIZE], after[HASH_SIZE], former[HASH_SIZE];
	struct certificate *formers[FORMERS_MAX];
	struct authority *authority = open_whole(directory);
	hash_of(authority_intermediate(authority), before);
	authority_free(authority);
	assert_int_equal(formers_count(directory), 0);
	/* the intermediate alone */
	assert_int_equal(succession_request(directory, false, &request), 0);
	assert_false(request.has_policy);
	murmesh_CaRequest again;
	assert_int_equal(succession_request(directory, false, &again), 0);
	assert_memory_equal(again.mesh, request.mesh, sizeof again.mesh);
	assert_int_equal(answer_by(directory, &answer), 0);
	assert_int_equal(succession_install(directory, &answer), 0);
	authority = open_whole(directory);
	hash_of(authority_intermediate(authority), after);
	assert_memory_not_equal(before, after, HASH_SIZE);
	assert_int_equal(version_of(authority), 1);
	authority_free(authority);
	assert_int_equal(folder_formers_read(directory, formers), 1);
	hash_of(formers[0], former);
	certificate_free(formers[0]);
	assert_memory_equal(former, before, HASH_SIZE);
	assert_int_equal(succession_install(directory, &answer), -E_CA_ANSWER); /* again */
	/* with the grant key */
	assert_int_equal(succession_request(directory, true, &request), 0);
	assert_true(request.has_policy);
	assert_int_equal(answer_by(directory, &answer), 0);
	assert_int_equal(succession_install(directory, &answer), 0);
	authority = open_whole(directory);
	assert_int_equal(version_of(authority), 2);
	authority_free(authority);
	assert_int_equal(formers_count(directory), 2);
}

/* An empty directory, and the root in another one. */
static void test_first(void **state)
{
	char server[4096], root[4096], other[4096];
	struct authority *authority;
	bool created;
	directory_make(*state, "server", server);
	directory_make(*state, "root", root);
	directory_make(*state, "other", other);
	authority_free(open_whole(root));
	authority_free(open_whole(other));
	assert_int_equal(succession_request(server, false, &request), 0);
	assert_true(request.has_policy && !request.root.size);
	assert_int_equal(authority_open(server, &authority, &created), -E_CA_WAITING); /* makes no other mesh meanwhile */
	assert_int_equal(answer_by(root, &answer), 0);
	assert_int_equal(succession_install(other, &answer), -E_CA_ANSWER);
	assert_int_equal(succession_install(server, &answer), 0);
	assert_int_equal(folder_has(server, "root.key"), 0);
	authority = open_whole(server);
	assert_memory_equal(authority_mesh(authority)->bytes, request.mesh, sizeof request.mesh);
	assert_int_equal(version_of(authority), 1);
	authority_free(authority);
	/* from then on it stays under that root */
	assert_int_equal(succession_request(server, false, &request), 0);
	assert_int_equal(answer_by(other, &answer), 0);
	assert_int_equal(succession_install(server, &answer), -E_CA_ANSWER);
	assert_int_equal(answer_by(root, &answer), 0);
	assert_int_equal(succession_install(server, &answer), 0);
}

static void test_what_does_not_fit(void **state)
{
	const char *directory = *state;
	static murmesh_CaAnswer good, bad;
	murmesh_Policy policy;
	struct key *root_key, *foreign = key_generate();
	authority_free(open_whole(directory));
	assert_int_equal(folder_key_read(directory, "root.key", &root_key), 0);
	assert_int_equal(succession_request(directory, true, &request), 0);
	assert_int_equal(answer_by(directory, &good), 0);
	assert_int_equal(policy_decode(&good.policy, &policy), 0);
#define REFUSED(change, result)                                                                                                    \
	do {                                                                                                                       \
		bad = good;                                                                                                        \
		change;                                                                                                            \
		assert_int_equal(succession_install(directory, &bad), result);                                                     \
		authority_free(open_whole(directory));                                                                             \
		assert_int_equal(formers_count(directory), 0);                                                                     \
	} while (0)
	REFUSED(bad.mesh[0] ^= 1, -E_CA_ANSWER);
	REFUSED(memcpy(bad.intermediate.bytes, bad.root.bytes, bad.intermediate.size = bad.root.size), -E_CA_ANSWER);
	REFUSED(bad.intermediate.bytes[100] ^= 1, -E_CA_ANSWER);
	REFUSED(bad.root.size = 0, -E_CA_ANSWER);
	REFUSED(bad.policy.signature.bytes[20] ^= 1, -E_SIGNATURE);
	REFUSED(policy.version = 1; assert_int_equal(policy_sign(root_key, &policy, &bad.policy), 0), -E_POLICY_OLD);
	policy.version = 2;
	policy.mesh[3] ^= 1;
	REFUSED(assert_int_equal(policy_sign(root_key, &policy, &bad.policy), 0), -E_CA_ANSWER);
	policy.mesh[3] ^= 1;
	size_t len;
	assert_int_equal(key_public_write(foreign, policy.grant_key.bytes, &len), 0); /* a grant key that is not here */
	REFUSED(assert_int_equal(policy_sign(root_key, &policy, &bad.policy), 0), -E_CA_ANSWER);
	assert_int_equal(succession_install(directory, &good), 0);
	authority_free(open_whole(directory));
	/* the root's side: a request that nobody signed; a key that is not the root's */
	request.csr.bytes[60] ^= 1;
	assert_true(answer_by(directory, &bad) < 0);
	request.csr.bytes[60] ^= 1;
	struct certificate *root;
	assert_int_equal(folder_certificate_read(directory, "root.crt", &root), 0);
	assert_int_equal(succession_answer(&request, foreign, root, &bad), -E_CA_ROOT);
	certificate_free(root);
	key_free(root_key);
	key_free(foreign);
}

/* Each point at which an installation can fail: then, or at the next start, the old or the new certification manager is whole. */
static void test_faults(void **state)
{
	const char *directory = *state;
	char former[4096];
	uint64_t version = 1;
	authority_free(open_whole(directory));
	assert_int_equal(file_path(former, sizeof former, directory, "former.crt"), 0);
	for (long n = 1;; n++) {
		assert_int_equal(succession_request(directory, true, &request), 0);
		assert_int_equal(answer_by(directory, &answer), 0);
		fault_arm(n);
		int err = succession_install(directory, &answer);
		bool passed = fault_armed();
		fault_arm(0);
		assert_int_equal(err == 0, passed);
		struct authority *authority = open_whole(directory);
		bool new = version_of(authority) > version;
		authority_free(authority);
		assert_int_equal(formers_count(directory), new);
		if (!new) { /* the same answer still does */
			assert_int_equal(succession_install(directory, &answer), 0);
			authority_free(open_whole(directory));
		}
		version++;
		assert_int_equal(unlink(former), 0);
		if (passed) {
			assert_true(new &&n > 40);
			break;
		}
	}
}

/* An intermediate of long ago followed by one of then. */
static void test_formers_end(void **state)
{
	const char *directory = *state;
	struct key *root_key, *key = key_generate();
	struct certificate *root, *intermediate;
	struct authority *authority = open_whole(directory);
	const struct id mesh = *authority_mesh(authority);
	authority_free(authority);
	assert_int_equal(folder_key_read(directory, "root.key", &root_key), 0);
	assert_int_equal(folder_certificate_read(directory, "root.crt", &root), 0);
	for (int i = 0; i < 3; i++) { /* one that was in use until 100 days ago, one until 90 days ago, one until now */
		const struct certificate_order order = { .profile = CERTIFICATE_INTERMEDIATE,
			                                 .identity = { .mesh = mesh },
			                                 .common_name = STR("then"),
			                                 .not_before = clock_wall_s() - (int64_t[]){ 120, 100, 90 }[i] * 86400,
			                                 .not_after = clock_wall_s() + 86400 };
		assert_int_equal(certificate_issue(&order, key, root, root_key, &intermediate), 0);
		assert_int_equal(folder_certificate_write(directory, "intermediate.crt", intermediate), 0);
		certificate_free(intermediate);
		assert_int_equal(formers_count(directory), i == 2 ? 1 : 0);
		assert_int_equal(folder_formers_write(directory, "former.crt"), 0);
	}
	assert_int_equal(folder_certificate_write(directory, "intermediate.crt", root), 0); /* any that is of now */
	assert_int_equal(formers_count(directory), 2);
	/* no more than there is room for */
	while (formers_count(directory) < FORMERS_MAX)
		assert_int_equal(folder_formers_write(directory, "former.crt"), 0);
	assert_int_equal(folder_formers_write(directory, "former.crt"), -E_LIMIT);
	certificate_free(root);
	key_free(root_key);
	key_free(key);
}

/* What a server may start with. */
static void test_check(void **state)
{
	char ca[4096], db[4096];
	directory_make(*state, "ca", ca);
	directory_make(*state, "db", db);
	assert_int_equal(succession_check(ca, db), 0); /* a new one */
	assert_int_equal(folder_write(db, "policy", "x", 1, 0600), 0);
	assert_int_equal(succession_check(ca, db), -E_CA_LOST);
	assert_int_equal(succession_request(ca, false, &request), 0);
	assert_int_equal(succession_check(ca, db), -E_CA_WAITING);
	assert_int_equal(folder_write(ca, "switch", "", 0, 0600),
	                 0); /* an installation was interrupted: its rest comes at the start */
	assert_int_equal(succession_check(ca, db), 0);
	directory_make(*state, "whole", ca);
	authority_free(open_whole(ca));
	assert_int_equal(succession_check(ca, db), 0);
}

/* What came before counts where a certification manager begins, if the root has signed it. */
static void test_formers_of_an_answer(void **state)
{
	char server[4096], root[4096], other[4096];
	struct certificate *former;
	directory_make(*state, "server", server);
	directory_make(*state, "root", root);
	directory_make(*state, "other", other);
	authority_free(open_whole(root));
	authority_free(open_whole(other));
	assert_int_equal(succession_request(server, false, &request), 0);
	const char *const from[] = { other, root };
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(answer_by(root, &answer), 0);
		struct buf der;
		buf_init(&der, sizeof answer.former[0].bytes);
		assert_int_equal(folder_certificate_read(from[i], "intermediate.crt", &former), 0);
		assert_int_equal(certificate_write(former, &der), 0);
		for (answer.former_count = 0; answer.former_count < 2; answer.former_count++) { /* twice the same */
			memcpy(answer.former[answer.former_count].bytes, buf_head(&der), buf_len(&der));
			answer.former[answer.former_count].size = (pb_size_t)buf_len(&der);
		}
		buf_done(&der);
		certificate_free(former);
		assert_int_equal(succession_install(server, &answer), i ? 0 : -E_CA_ANSWER);
	}
	authority_free(open_whole(server));
	assert_int_equal(formers_count(server), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, test_directory_make, test_directory_remove)

int main(void)
{
	if (!getenv("TMPDIR") && access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 1); /* thousands of syncs */
	const struct CMUnitTest tests[] = {
		TEST(test_rotation),    TEST(test_first), TEST(test_what_does_not_fit),    TEST(test_faults),
		TEST(test_formers_end), TEST(test_check), TEST(test_formers_of_an_answer),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
