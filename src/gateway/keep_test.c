/* What a role keeps of its identity, with certificates of a real certification manager. */
#include <errno.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/test.h"
#include "ca/authority.h"
#include "gateway/keep.h"
#include "os/clock.h"
#include "os/file.h"

static struct authority *ours, *other;
static char *ca_directory;
static murmesh_CertificateReply reply; /* of the test that runs; it is large */

static void take(const struct certificate *certificate, uint8_t *out, pb_size_t *ret_len, size_t size)
{
	struct buf der;
	buf_init(&der, size);
	assert_int_equal(certificate_write(certificate, &der), 0);
	memcpy(out, buf_head(&der), buf_len(&der));
	*ret_len = (pb_size_t)buf_len(&der);
	buf_done(&der);
}
#define TAKE(certificate, field) take(certificate, (field).bytes, &(field).size, sizeof(field).bytes)

struct wanted {
	const struct authority *authority;
	const struct key *key;
	enum identity_kind kind;
	int64_t not_before, not_after; /* from now */
};

static struct wanted wanted_for(const struct keep *keep)
{
	return (struct wanted){ ours, keep->key, IDENTITY_NODE, -1800, AUTHORITY_LEAF_S };
}

/* As the server answers. */
static void answer(const struct wanted *wanted)
{
	const struct certificate_order order = { .profile = CERTIFICATE_LEAF,
		                                 .identity = { *authority_mesh(wanted->authority), wanted->kind, { { 5 } } },
		                                 .common_name = STR("web01-17"),
		                                 .not_before = clock_wall_s() + wanted->not_before,
		                                 .not_after = clock_wall_s() + wanted->not_after };
	uint8_t public[KEY_PUBLIC_MAX];
	size_t len;
	struct certificate *leaf;
	assert_int_equal(key_public_write(wanted->key, public, &len), 0);
	assert_int_equal(authority_issue(wanted->authority, &order, public, len, &leaf), 0);
	reply = (murmesh_CertificateReply)murmesh_CertificateReply_init_zero;
	TAKE(leaf, reply.leaf);
	TAKE(authority_intermediate(wanted->authority), reply.intermediate);
	TAKE(authority_root(wanted->authority), reply.root);
	reply.has_policy = true;
	reply.policy = *authority_policy(wanted->authority);
	certificate_free(leaf);
}

static void pin_of(const struct authority *authority, uint8_t pin[HASH_SIZE])
{
	struct key *key = certificate_key(authority_root(authority));
	assert_int_equal(key_public_hash(key, pin), 0);
	key_free(key);
}

static struct keep keep_at(const char *directory)
{
	return (struct keep){ .directory = directory, .name = "node" };
}

/* A directory with a whole identity. */
static void enrol(struct keep *keep, const char *directory)
{
	uint8_t pin[HASH_SIZE];
	*keep = keep_at(directory);
	assert_int_equal(keep_load(keep), 0);
	assert_int_equal(keep_key(keep), 0);
	const struct wanted wanted = wanted_for(keep);
	answer(&wanted);
	pin_of(ours, pin);
	assert_int_equal(keep_install(keep, &reply, IDENTITY_NODE, pin), 0);
}

static void hash_of(const struct key *key, uint8_t hash[HASH_SIZE])
{
	assert_int_equal(key_public_hash(key, hash), 0);
}

static void test_life(void **state)
{
	uint8_t first[HASH_SIZE], again[HASH_SIZE];
	struct keep keep = keep_at(*state);
	struct stat status;
	char path[4096];
	/* nothing; then a key, which stays the same */
	assert_int_equal(keep_load(&keep), 0);
	assert_null(keep.key);
	assert_int_equal(keep_key(&keep), 0);
	hash_of(keep.key, first);
	assert_int_equal(keep_key(&keep), 0);
	keep_done(&keep);
	keep = keep_at(*state);
	assert_int_equal(keep_load(&keep), 0);
	assert_int_equal(keep_key(&keep), 0);
	hash_of(keep.key, again);
	assert_memory_equal(first, again, HASH_SIZE);
	/* an identity */
	const struct wanted wanted = wanted_for(&keep);
	answer(&wanted);
	assert_int_equal(keep_install(&keep, &reply, IDENTITY_NODE, NULL), 0);
	keep_done(&keep);
	keep = keep_at(*state);
	assert_int_equal(keep_load(&keep), 1);
	hash_of(keep.key, again);
	assert_memory_equal(first, again, HASH_SIZE);
	assert_true(keep.info.has_identity && keep.info.identity.kind == IDENTITY_NODE);
	assert_true(id_equal(&keep.info.identity.mesh, authority_mesh(ours)));
	assert_int_equal(keep.policy.document.size, authority_policy(ours)->document.size);
	for (size_t i = 0; i < 3; i++) {
		static const char *const files[] = { "node.key", "node.crt", "policy" };
		assert_int_equal(keep_file(&keep, files[i], path), 0);
		assert_int_equal(stat(path, &status), 0);
		assert_int_equal(status.st_mode & 0777, 0600);
	}
	/* a newer one of the same identity */
	uint8_t serial[CERTIFICATE_SERIAL_SIZE];
	memcpy(serial, keep.info.serial, sizeof serial);
	const struct wanted newer = wanted_for(&keep);
	answer(&newer);
	assert_int_equal(keep_install(&keep, &reply, IDENTITY_NODE, NULL), 0);
	assert_memory_not_equal(keep.info.serial, serial, sizeof serial);
	memcpy(serial, keep.info.serial, sizeof serial);
	keep_done(&keep);
	assert_int_equal(keep_load(&keep), 1);
	assert_memory_equal(keep.info.serial, serial, sizeof serial);
	keep_done(&keep);
	/* another part's name in the same directory has nothing */
	keep.name = "manager";
	assert_int_equal(keep_load(&keep), 0);
	keep_done(&keep);
}

static void assert_unchanged(const struct keep *keep)
{
	struct keep again = keep_at(keep->directory);
	assert_int_equal(keep->info.identity.id.bytes[0], 5);
	assert_non_null(keep->key);
	assert_int_equal(keep_load(&again), 1);
	assert_int_equal(again.info.identity.id.bytes[0], 5);
	keep_done(&again);
}

static int install_result(struct keep *keep, const uint8_t *pin)
{
	int err = keep_install(keep, &reply, IDENTITY_NODE, pin);
	if (err < 0)
		assert_unchanged(keep);
	return err;
}

/* Every answer that is not exactly right is refused, and what is kept stays. */
static void test_refusals(void **state)
{
	struct keep keep;
	uint8_t pin[HASH_SIZE], foreign_pin[HASH_SIZE];
	struct key *stranger = key_generate();
	enrol(&keep, *state);
	pin_of(ours, pin);
	pin_of(other, foreign_pin);
	const struct wanted good = wanted_for(&keep);
	struct wanted wanted = good;
	wanted.key = stranger;
	answer(&wanted);
	assert_int_equal(install_result(&keep, pin), -E_CERTIFICATE);
	for (enum identity_kind kind = IDENTITY_MANAGER; kind <= IDENTITY_COMPONENT; kind++) {
		wanted = good;
		wanted.kind = kind;
		wanted.not_after = 3600;
		answer(&wanted);
		assert_int_equal(install_result(&keep, pin), -E_CERTIFICATE_USAGE);
	}
	wanted = good;
	wanted.not_after = -60;
	answer(&wanted);
	assert_int_equal(install_result(&keep, pin), -E_CERTIFICATE_EXPIRED);
	wanted.not_before = 3600;
	wanted.not_after = 7200;
	answer(&wanted);
	assert_int_equal(install_result(&keep, pin), -E_CERTIFICATE_EXPIRED);
	/* another mesh, whole and in parts */
	wanted = good;
	wanted.authority = other;
	answer(&wanted);
	assert_int_equal(install_result(&keep, pin), -E_WRONG_PIN);
	answer(&good);
	assert_int_equal(install_result(&keep, foreign_pin), -E_WRONG_PIN);
	reply.policy = *authority_policy(other);
	assert_int_equal(install_result(&keep, pin), -E_SIGNATURE);
	answer(&good);
	TAKE(authority_intermediate(other), reply.intermediate);
	assert_int_equal(install_result(&keep, pin), -E_CERTIFICATE);
	answer(&good);
	TAKE(authority_root(other), reply.root);
	assert_int_equal(install_result(&keep, NULL), -E_CERTIFICATE);
	/* no leaf, but what stands above it */
	answer(&good);
	reply.leaf.size = 0;
	TAKE(authority_intermediate(ours), reply.leaf);
	assert_int_equal(install_result(&keep, pin), -E_CERTIFICATE);
	/* incomplete */
	answer(&good);
	reply.has_policy = false;
	assert_int_equal(install_result(&keep, pin), -E_MESSAGE);
	pb_size_t *const sizes[] = { &reply.leaf.size, &reply.intermediate.size, &reply.root.size, &reply.policy.document.size,
		                     &reply.policy.signature.size };
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		answer(&good);
		--*sizes[i];
		assert_true(install_result(&keep, pin) < 0);
		*sizes[i] = 0;
		assert_true(install_result(&keep, pin) < 0);
	}
	answer(&good);
	assert_int_equal(install_result(&keep, pin), 0);
	key_free(stranger);
	keep_done(&keep);
}

static void write_file(const char *directory, const char *name, const void *bytes, size_t len)
{
	char path[4096];
	assert_int_equal(file_path(path, sizeof path, directory, name), 0);
	assert_int_equal(file_write(path, bytes, len, 0600), 0);
}

static int load_result(const char *directory)
{
	struct keep keep = keep_at(directory);
	int result = keep_load(&keep);
	keep_done(&keep);
	return result;
}

/* A damaged or missing file is never taken for "not enrolled yet". */
static void test_damage(void **state)
{
	static const char *const files[] = { "node.key", "node.crt", "policy" };
	struct keep keep;
	enrol(&keep, *state);
	keep_done(&keep);
	for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
		char path[4096];
		struct buf whole;
		buf_init(&whole, (size_t)1 << 20);
		assert_int_equal(file_path(path, sizeof path, *state, files[i]), 0);
		assert_int_equal(file_read(path, &whole), 0);
		for (size_t len = 0; len < buf_len(&whole) - 1; len += buf_len(&whole) / 5) {
			write_file(*state, files[i], buf_head(&whole), len);
			if (len || i < 2) /* an empty policy is an empty message: trust_new() refuses it */
				assert_true(load_result(*state) < 0);
		}
		static const uint8_t large[(size_t)65 << 10];
		write_file(*state, files[i], large, sizeof large);
		assert_int_equal(load_result(*state), -E_TOO_LONG);
		assert_int_equal(remove(path), 0);
		assert_int_equal(load_result(*state), i == 1 ? 0 : -ENOENT); /* without the certificate: a key, not yet enrolled */
		assert_int_equal(mkdir(path, 0700), 0);
		assert_true(load_result(*state) < 0);
		assert_int_equal(rmdir(path), 0);
		write_file(*state, files[i], buf_head(&whole), buf_len(&whole));
		assert_int_equal(load_result(*state), 1);
		buf_done(&whole);
	}
	char longer[5000];
	memset(longer, 'x', sizeof longer);
	longer[sizeof longer - 1] = 0;
	assert_int_equal(load_result(longer), -E_TOO_LONG);
	struct keep nowhere = keep_at(longer);
	assert_int_equal(keep_key(&nowhere), -E_TOO_LONG);
	keep_done(&nowhere);
}

static int load_once(void *ctx)
{
	return load_result(ctx);
}

static int install_once(void *ctx)
{
	struct keep *keep = ctx;
	return keep_install(keep, &reply, IDENTITY_NODE, NULL);
}

static void test_faults(void **state)
{
	struct keep keep;
	enrol(&keep, *state);
	assert_true(test_each_fault(load_once, *state) > 15);
	const struct wanted wanted = wanted_for(&keep);
	answer(&wanted);
	assert_true(test_each_fault(install_once, &keep) > 15);
	keep_done(&keep);
	/* Enrolment that breaks at each point: afterwards all is there, or nothing but the key; then it succeeds. */
	for (long n = 1, passed = 0; !passed; n++) {
		char directory[4096], name[32];
		snprintf(name, sizeof name, "%ld", n);
		assert_int_equal(file_path(directory, sizeof directory, *state, name), 0);
		assert_int_equal(file_make_directory(directory, 0700), 0);
		keep = keep_at(directory);
		fault_arm(n);
		int err = keep_key(&keep);
		long countdown = fault_countdown;
		fault_arm(0);
		if (err == 0) {
			const struct wanted fresh = wanted_for(&keep);
			answer(&fresh);
			fault_arm(countdown);
			err = keep_install(&keep, &reply, IDENTITY_NODE, NULL);
			passed = fault_armed();
			fault_arm(0);
		}
		assert_int_equal(err == 0, passed);
		keep_done(&keep);
		keep = keep_at(directory);
		int there = keep_load(&keep);
		assert_true(there == 0 || there == 1);
		assert_int_equal(keep_key(&keep), 0);
		if (there == 0) {
			const struct wanted fresh = wanted_for(&keep);
			answer(&fresh);
			assert_int_equal(keep_install(&keep, &reply, IDENTITY_NODE, NULL), 0);
		}
		keep_done(&keep);
		assert_int_equal(load_result(directory), 1);
	}
}

static int set_up(void **state)
{
	bool created;
	char path[4096];
	void *directory;
	(void)state;
	if (test_directory_make(&directory) < 0)
		return -1;
	ca_directory = directory;
	snprintf(path, sizeof path, "%s/other", ca_directory);
	return file_make_directory(path, 0700) == 0 && authority_open(ca_directory, &ours, &created) == 0 &&
	                       authority_open(path, &other, &created) == 0
	               ? 0
	               : -1;
}

static int tear_down(void **state)
{
	void *directory = ca_directory;
	(void)state;
	authority_free(ours);
	authority_free(other);
	return test_directory_remove(&directory);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, test_directory_make, test_directory_remove)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_life),
		TEST(test_refusals),
		TEST(test_damage),
		TEST(test_faults),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
