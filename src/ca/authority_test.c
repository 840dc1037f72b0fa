#include "ca/authority.h"

#include <errno.h>
#include <pb_decode.h>
#include <signal.h>
#include <sys/inotify.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/test.h"
#include "os/clock.h"
#include "os/file.h"

static const char *const names[] = {
	"root.key", "root.crt", "intermediate.key", "intermediate.crt", "grant.key", "policy", "mesh"
};
#define N_NAMES (sizeof names / sizeof *names)

struct file {
	uint8_t bytes[8192];
	size_t len;
};

static void path_of(char path[4096], const char *directory, const char *name)
{
	assert_int_equal(file_path(path, 4096, directory, name), 0);
}

static struct file read_file(const char *directory, const char *name)
{
	struct file file = { .len = 0 };
	struct buf bytes;
	char path[4096];
	path_of(path, directory, name);
	buf_init(&bytes, sizeof file.bytes);
	assert_int_equal(file_read(path, &bytes), 0);
	file.len = buf_len(&bytes);
	memcpy(file.bytes, buf_head(&bytes), file.len);
	buf_done(&bytes);
	return file;
}

static void write_file(const char *directory, const char *name, const void *bytes, size_t len)
{
	char path[4096];
	path_of(path, directory, name);
	FILE *out = fopen(path, "wb"); /* not through file_write(): that would sync each of thousands */
	assert_non_null(out);
	assert_int_equal(fwrite(bytes, 1, len, out), len);
	fclose(out);
}

static void remove_file(const char *directory, const char *name)
{
	char path[4096];
	path_of(path, directory, name);
	assert_int_equal(remove(path), 0);
}

static struct authority *open_whole(const char *directory, bool expect_created)
{
	struct authority *authority = NULL;
	bool created = !expect_created;
	assert_int_equal(authority_open(directory, &authority, &created), 0);
	assert_int_equal(created, expect_created);
	return authority;
}

/* Everything that it does, checked with nothing but what it publishes. */
static void assert_works(const struct authority *authority)
{
	const murmesh_SignedDocument *document = authority_policy(authority);
	const struct id *mesh = authority_mesh(authority);
	struct key *root_key = certificate_key(authority_root(authority)), *subject = key_generate(), *grant_key;
	murmesh_Policy policy;
	uint8_t public[KEY_PUBLIC_MAX], signature[KEY_SIGNATURE_MAX];
	size_t len;
	/* the policy, by the root */
	assert_int_equal(key_verify(root_key, CONTEXT_POLICY, document->document.bytes, document->document.size,
	                            document->signature.bytes, document->signature.size),
	                 0);
	pb_istream_t in = pb_istream_from_buffer(document->document.bytes, document->document.size);
	assert_true(pb_decode(&in, murmesh_Policy_fields, &policy));
	assert_memory_equal(policy.mesh, mesh->bytes, sizeof policy.mesh);
	assert_string_equal(policy.mode, "server");
	assert_int_equal(policy.version, 1);
	/* grants and orders, by the key in the policy, each for itself */
	assert_int_equal(key_public_read(policy.grant_key.bytes, policy.grant_key.size, &grant_key), 0);
	assert_int_equal(authority_sign(authority, AUTHORITY_GRANT, "grant", 5, signature, &len), 0);
	assert_int_equal(key_verify(grant_key, CONTEXT_GRANT, "grant", 5, signature, len), 0);
	assert_int_equal(key_verify(grant_key, CONTEXT_ORDER, "grant", 5, signature, len), -E_SIGNATURE);
	assert_int_equal(authority_sign(authority, AUTHORITY_ORDER, "order", 5, signature, &len), 0);
	assert_int_equal(key_verify(grant_key, CONTEXT_ORDER, "order", 5, signature, len), 0);
	assert_int_equal(authority_sign(authority, AUTHORITY_TIME, "time", 4, signature, &len), 0);
	assert_int_equal(key_verify(grant_key, CONTEXT_TIME, "time", 4, signature, len), 0);
	assert_int_equal(key_verify(grant_key, CONTEXT_ORDER, "time", 4, signature, len), -E_SIGNATURE);
	assert_int_equal(authority_sign(authority, AUTHORITY_MOVE, "move", 4, signature, &len), 0);
	assert_int_equal(key_verify(grant_key, CONTEXT_MOVE, "move", 4, signature, len), 0);
	assert_int_equal(key_verify(grant_key, CONTEXT_GRANT, "move", 4, signature, len), -E_SIGNATURE);
	assert_int_equal(authority_sign(authority, AUTHORITY_RELAY, "duty", 4, signature, &len), 0);
	assert_int_equal(key_verify(grant_key, CONTEXT_RELAY, "duty", 4, signature, len), 0);
	assert_int_equal(key_verify(grant_key, CONTEXT_MOVE, "duty", 4, signature, len), -E_SIGNATURE);
	assert_int_equal(authority_sign(authority, AUTHORITY_RELAYS_ENDED, "ended", 5, signature, &len), 0);
	assert_int_equal(key_verify(grant_key, CONTEXT_ENDED, "ended", 5, signature, len), 0);
	assert_int_equal(key_verify(grant_key, CONTEXT_RELAY, "ended", 5, signature, len), -E_SIGNATURE);
	assert_int_equal(authority_sign(authority, (enum authority_purpose)7, "other", 5, signature, &len), -E_DENIED);
	/* leaves, by the chain */
	struct certificate_order order = { .profile = CERTIFICATE_LEAF,
		                           .identity = { *mesh, IDENTITY_USER, { { 1, 2, 3 } } },
		                           .common_name = STR("somebody"),
		                           .not_before = clock_wall_s() - 60,
		                           .not_after = clock_wall_s() + AUTHORITY_USER_S };
	struct certificate *leaf;
	struct identity identity;
	assert_int_equal(key_public_write(subject, public, &len), 0);
	assert_int_equal(authority_issue(authority, &order, public, len, &leaf), 0);
	assert_int_equal(certificate_verify(leaf, authority_intermediate(authority), authority_root(authority), mesh,
	                                    1u << IDENTITY_USER, clock_wall_s(), &identity),
	                 0);
	assert_true(identity_equal(&identity, &order.identity));
	certificate_free(leaf);
	assert_int_equal(authority_issue(authority, &order, public, len - 1, &leaf), -E_ENCODING);
	key_free(grant_key);
	key_free(subject);
	key_free(root_key);
}

static void test_create_and_load(void **state)
{
	const char *directory = *state;
	struct stat status;
	struct authority *authority = open_whole(directory, true);
	struct id mesh = *authority_mesh(authority);
	uint8_t public[KEY_PUBLIC_MAX], again[KEY_PUBLIC_MAX];
	size_t len;
	assert_works(authority);
	struct key *root_key = certificate_key(authority_root(authority));
	key_public_write(root_key, public, &len);
	key_free(root_key);
	authority_free(authority);
	for (size_t i = 0; i < N_NAMES; i++) {
		char path[4096];
		path_of(path, directory, names[i]);
		assert_int_equal(stat(path, &status), 0);
		assert_int_equal(status.st_mode & 0777, strstr(names[i], ".key") ? 0600 : 0644);
	}
	/* the root's key may be away */
	remove_file(directory, "root.key");
	authority = open_whole(directory, false);
	assert_works(authority);
	assert_true(id_equal(authority_mesh(authority), &mesh));
	root_key = certificate_key(authority_root(authority));
	key_public_write(root_key, again, &len);
	assert_memory_equal(public, again, len);
	key_free(root_key);
	assert_null(authority_free(authority));
	assert_null(authority_free(NULL));
}

/* Two meshes have nothing in common. */
static void test_meshes_differ(void **state)
{
	char other[4096];
	struct authority *one, *two;
	path_of(other, *state, "other");
	assert_int_equal(file_make_directory(other, 0700), 0);
	one = open_whole(*state, true);
	two = open_whole(other, true);
	assert_false(id_equal(authority_mesh(one), authority_mesh(two)));
	authority_free(one);
	authority_free(two);
}

static int open_result(const char *directory)
{
	struct authority *authority = NULL;
	bool created = true;
	int err = authority_open(directory, &authority, &created);
	assert_false(created);
	if (err == 0)
		assert_works(authority); /* the change was of no meaning, as in the text around a PEM block */
	authority_free(authority);
	return err;
}

/* Each file changed, cut, emptied, gone, or out of another mesh: an error, and all files stay as they are. */
static void test_damage(void **state)
{
	const char *directory = *state;
	char other[4096];
	path_of(other, directory, "other");
	assert_int_equal(file_make_directory(other, 0700), 0);
	authority_free(open_whole(other, true));
	authority_free(open_whole(directory, true));
	struct file root = read_file(directory, "root.key");
	for (size_t i = 1; i < N_NAMES; i++) {
		struct file file = read_file(directory, names[i]), foreign = read_file(other, names[i]);
		size_t harmless = 0, changes = 0;
		for (size_t at = 0; at < file.len; at += 3, changes++) {
			struct file damaged = file;
			damaged.bytes[at] ^= 1;
			write_file(directory, names[i], damaged.bytes, damaged.len);
			harmless += open_result(directory) == 0;
		}
		/* what the root's own signature says of itself is of no meaning for its mesh: its key is what others know it by */
		assert_true(harmless < changes / 2);
		for (size_t len = 0; len < file.len; len += len < 4 ? 1 : file.len / 5) {
			write_file(directory, names[i], file.bytes, len);
			assert_true(open_result(directory) < 0);
		}
		write_file(directory, names[i], foreign.bytes, foreign.len);
		assert_true(open_result(directory) < 0);
		if (strcmp(names[i], "mesh") != 0) {
			remove_file(directory, names[i]);
			assert_int_equal(open_result(directory), -ENOENT);
		}
		static const uint8_t large[32768];
		write_file(directory, names[i], large, sizeof large);
		assert_true(open_result(directory) < 0);
		write_file(directory, names[i], file.bytes, file.len);
		assert_int_equal(open_result(directory), 0);
	}
	struct file after = read_file(directory, "root.key");
	assert_int_equal(after.len, root.len);
	assert_memory_equal(after.bytes, root.bytes, root.len);
}

static void test_strange_directories(void **state)
{
	char path[4200];
	struct authority *authority = NULL;
	bool created;
	path_of(path, *state, "missing");
	assert_int_equal(authority_open(path, &authority, &created), -ENOENT);
	memset(path, 'a', sizeof path);
	path[sizeof path - 1] = 0;
	assert_int_equal(authority_open(path, &authority, &created), -E_TOO_LONG);
	assert_null(authority);
}

static int open_once(void *ctx)
{
	struct authority *authority;
	bool created;
	int err = authority_open(ctx, &authority, &created);
	if (err == 0)
		authority_free(authority);
	return err;
}

static void test_faults_of_load(void **state)
{
	authority_free(open_whole(*state, true));
	struct file mesh = read_file(*state, "mesh");
	assert_true(test_each_fault(open_once, *state) > 20);
	struct file after = read_file(*state, "mesh");
	assert_memory_equal(after.bytes, mesh.bytes, mesh.len);
	authority_free(open_whole(*state, false));
}

static void test_faults_of_creation(void **state)
{
	for (long n = 1;; n++) {
		char directory[4096], name[32];
		snprintf(name, sizeof name, "%ld", n);
		path_of(directory, *state, name);
		assert_int_equal(file_make_directory(directory, 0700), 0);
		fault_arm(n);
		int err = open_once(directory);
		bool passed = fault_armed();
		fault_arm(0);
		assert_int_equal(err == 0, passed);
		/* The next start makes it whole: anew, or, when only the last sync of "mesh" failed, what is there. */
		struct authority *authority;
		bool created;
		assert_int_equal(authority_open(directory, &authority, &created), 0);
		assert_works(authority);
		authority_free(authority);
		if (passed) {
			assert_false(created);
			assert_true(n > 40);
			break;
		}
	}
}

static _Noreturn void create_and_wait(const char *directory)
{
	open_once((void *)(uintptr_t)directory);
	for (;;)
		pause();
}

/* Killed after its k-th file. */
static void test_killed(void **state)
{
	for (unsigned k = 1; k <= N_NAMES; k++) {
		char directory[4096], name[32], events[4096];
		unsigned seen = 0;
		snprintf(name, sizeof name, "%u", k);
		path_of(directory, *state, name);
		assert_int_equal(file_make_directory(directory, 0700), 0);
		int notify = inotify_init1(IN_CLOEXEC);
		assert_true(notify >= 0 && inotify_add_watch(notify, directory, IN_MOVED_TO) >= 0);
		pid_t pid = fork();
		if (pid == 0)
			create_and_wait(directory);
		while (seen < k) {
			ssize_t n = read(notify, events, sizeof events);
			assert_true(n > 0);
			for (ssize_t at = 0; at < n; seen++)
				at += (ssize_t)(sizeof(struct inotify_event) +
				                ((struct inotify_event *)(void *)(events + at))->len);
		}
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		close(notify);
		write_file(directory, "mesh.new", "half", 4); /* as if in the middle of a write */
		write_file(directory, "intermediate.key.new", "", 0);
		struct authority *authority;
		bool created;
		assert_int_equal(authority_open(directory, &authority, &created), 0);
		if (k == N_NAMES)
			assert_false(created);
		assert_works(authority);
		authority_free(authority);
		authority_free(open_whole(directory, false));
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, test_directory_make, test_directory_remove)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_create_and_load), TEST(test_meshes_differ),      TEST(test_damage), TEST(test_strange_directories),
		TEST(test_faults_of_load),  TEST(test_faults_of_creation), TEST(test_killed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
