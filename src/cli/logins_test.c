/* What is kept of logins: addresses, files and who may read them, and what happens when keeping is cut short. */
#include "cli/logins.h"

#include <errno.h>

#include "base/buf.h"
#include "base/encode.h"
#include "base/err.h"
#include "base/test.h"
#include "crypto/test_mesh.h"
#include "os/clock.h"
#include "os/file.h"

static struct test_mesh mesh, other;

/* ---- addresses ---- */

static void parses(const char *text, const char *wanted)
{
	struct server_address server;
	assert_int_equal(server_address_parse(str_from(text), &server), 0);
	assert_string_equal(server.text, wanted);
	assert_false(server.pinned);
	/* what it is called is an address again, the same */
	struct server_address again;
	assert_int_equal(server_address_parse(str_from(server.text), &again), 0);
	assert_string_equal(again.text, wanted);
}

static void test_address(void **state)
{
	(void)state;
	parses("fleet.example.org", "fleet.example.org:8443");
	parses("Fleet.Example.ORG:9443", "fleet.example.org:9443");
	parses("192.0.2.7:1", "192.0.2.7:1");
	parses("[::1]", "[::1]:8443");
	parses("[2001:DB8::1]:443", "[2001:db8::1]:443");
	static const char *const bad[] = { "",          ":8443", "x:",  "x:0",  "x:65536", "x:08", "::1",  "[::1",        "[::1]x",
		                           "[::1]:",    "../x",  "a/b", "a b",  "x#",      "-x",   "x..y", "[192.0.2.7]", "1.2.3",
		                           "x\nhost:1", ".",     "..",  "x:1:2" };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct server_address server = { .port = 7 };
		assert_int_equal(server_address_parse(str_from(bad[i]), &server), -E_USAGE);
		assert_int_equal(server.port, 7);
	}
}

static void test_fingerprint(void **state)
{
	char hex[HEX_SIZE(HASH_SIZE)], base32[BASE32_SIZE(HASH_SIZE)], text[200];
	struct server_address server;
	(void)state;
	hex_encode(mesh.pin, HASH_SIZE, hex);
	base32_encode(mesh.pin, HASH_SIZE, base32);
	const char *const forms[] = { hex, base32 };
	for (size_t i = 0; i < 2; i++) {
		snprintf(text, sizeof text, "h:1#%s", forms[i]);
		assert_int_equal(server_address_parse(str_from(text), &server), 0);
		assert_true(server.pinned);
		assert_memory_equal(server.pin, mesh.pin, HASH_SIZE);
		assert_string_equal(server.text, "h:1");
		text[strlen(text) - 1] = 0;
		assert_int_equal(server_address_parse(str_from(text), &server), -E_USAGE);
		snprintf(text, sizeof text, "h:1#%sa", forms[i]);
		assert_int_equal(server_address_parse(str_from(text), &server), -E_USAGE);
		snprintf(text, sizeof text, "h:1#!%s", forms[i] + 1);
		assert_int_equal(server_address_parse(str_from(text), &server), -E_USAGE);
	}
}

/* ---- keeping ---- */

static struct logins logins_at(const char *directory)
{
	struct logins logins;
	setenv("XDG_CONFIG_HOME", directory, 1);
	assert_int_equal(logins_init(&logins), 0);
	return logins;
}

static struct server_address server_of(const char *text)
{
	struct server_address server;
	assert_int_equal(server_address_parse(str_from(text), &server), 0);
	return server;
}

/* Copies, so that login_done() may free them. */
static struct certificate *copy(const struct certificate *certificate)
{
	struct certificate *result;
	struct buf der;
	buf_init(&der, CERTIFICATE_MAX);
	assert_int_equal(certificate_write(certificate, &der), 0);
	assert_int_equal(certificate_read(buf_head(&der), buf_len(&der), &result), 0);
	buf_done(&der);
	return result;
}

static struct login login_of(const struct test_mesh *of, enum identity_kind kind, int64_t from, int64_t to)
{
	int64_t now = clock_wall_s();
	struct test_leaf leaf = test_leaf_at(of, kind, 5, now + from, now + to);
	return (struct login){
		.key = leaf.key, .leaf = leaf.certificate, .intermediate = copy(of->intermediate), .root = copy(of->root)
	};
}

static void keep(struct logins *logins, const char *server_text, struct login login)
{
	const struct server_address server = server_of(server_text);
	assert_int_equal(logins_keep(logins, &server, &login), 0);
	login_done(&login);
}

static int load(struct logins *logins, const char *server_text)
{
	struct login login = { 0 };
	const struct server_address server = server_of(server_text);
	int err = logins_load(logins, &server, &login);
	if (err == 0)
		assert_true(login.key && login.leaf && login.intermediate && login.root && login.info.has_identity);
	else
		assert_true(!login.key && !login.leaf && !login.root);
	login_done(&login);
	return err;
}

static int root(struct logins *logins, const char *server_text)
{
	struct certificate *certificate = NULL;
	const struct server_address server = server_of(server_text);
	int err = logins_root(logins, &server, &certificate);
	certificate_free(certificate);
	return err;
}

static unsigned mode_of(const char *path)
{
	struct stat status;
	assert_int_equal(stat(path, &status), 0);
	return status.st_mode & 07777;
}

static void test_keep_and_forget(void **state)
{
	struct logins logins = logins_at(*state);
	struct server_address known[4];
	mode_t mask = umask(0);
	assert_int_equal(logins_list(&logins, known, 4), 0);
	assert_int_equal(load(&logins, "a:1"), -ENOENT);
	assert_int_equal(root(&logins, "a:1"), -ENOENT);
	keep(&logins, "b:1", login_of(&mesh, IDENTITY_USER, -60, 3600));
	keep(&logins, "a:1", login_of(&other, IDENTITY_USER, -60, 3600));
	umask(mask);
	assert_int_equal(load(&logins, "a:1"), 0);
	assert_int_equal(mode_of(logins.path), 0600);
	assert_int_equal(mode_of(logins.folder), 0700);
	assert_int_equal(root(&logins, "b:1"), 0);
	assert_int_equal(mode_of(logins.path), 0600);
	assert_int_equal(logins_list(&logins, known, 4), 2);
	assert_string_equal(known[0].text, "a:1");
	assert_string_equal(known[1].text, "b:1");
	assert_int_equal(logins_list(&logins, known, 1), 1);

	struct server_address a = server_of("a:1");
	assert_int_equal(logins_forget(&logins, &a), 0);
	assert_int_equal(logins_forget(&logins, &a), -ENOENT);
	assert_int_equal(load(&logins, "a:1"), -ENOENT);
	assert_int_equal(root(&logins, "a:1"), 0); /* what it is remembered by */
	assert_int_equal(logins_list(&logins, known, 4), 1);
}

static void test_named(void **state)
{
	struct logins logins = logins_at(*state);
	struct server_address found;
	keep(&logins, "a:1", login_of(&mesh, IDENTITY_USER, -60, 3600));
	assert_int_equal(logins_named(&logins, "A", &found), 0);
	assert_string_equal(found.text, "a:1");
	assert_int_equal(logins_named(&logins, "a:2", &found), 0);
	assert_string_equal(found.text, "a:2");
	assert_int_equal(logins_named(&logins, "b", &found), 0);
	assert_string_equal(found.text, "b:8443");
	keep(&logins, "a:2", login_of(&mesh, IDENTITY_USER, -60, 3600));
	assert_int_equal(logins_named(&logins, "a", &found), 0);
	assert_string_equal(found.text, "a:8443"); /* none of the two */
	assert_int_equal(logins_named(&logins, "a b", &found), -E_USAGE);
}

static void test_only_what_is_good(void **state)
{
	struct logins logins = logins_at(*state);
	struct login login;
	keep(&logins, "a:1", login_of(&mesh, IDENTITY_USER, -3600, -1));
	assert_int_equal(load(&logins, "a:1"), -E_SESSION);
	keep(&logins, "a:1", login_of(&mesh, IDENTITY_USER, 600, 3600));
	assert_int_equal(load(&logins, "a:1"), -E_SESSION);
	keep(&logins, "a:1", login_of(&mesh, IDENTITY_NODE, -60, 3600));
	assert_int_equal(load(&logins, "a:1"), -E_CERTIFICATE_USAGE);
	/* of another mesh than the root beside it */
	login = login_of(&mesh, IDENTITY_USER, -60, 3600);
	certificate_free(login.root);
	login.root = copy(other.root);
	keep(&logins, "a:1", login);
	assert_int_equal(load(&logins, "a:1"), -E_CERTIFICATE);
	/* another key */
	login = login_of(&mesh, IDENTITY_USER, -60, 3600);
	key_free(login.key);
	login.key = key_generate();
	keep(&logins, "a:1", login);
	assert_int_equal(load(&logins, "a:1"), -E_CERTIFICATE);
	keep(&logins, "a:1", login_of(&mesh, IDENTITY_USER, -60, 3600));
	assert_int_equal(load(&logins, "a:1"), 0);
}

static void path_in(const struct logins *logins, const char *file, char path[4200])
{
	snprintf(path, 4200, "%s/a:1%s%s", logins->folder, *file ? "/" : "", file);
}

static void test_only_what_is_private(void **state)
{
	static const char *const files[] = { "login.pem", "root.crt", "" };
	struct logins logins = logins_at(*state);
	char path[4200];
	keep(&logins, "a:1", login_of(&mesh, IDENTITY_USER, -60, 3600));
	for (size_t i = 0; i < 3; i++) {
		path_in(&logins, files[i], path);
		unsigned good = mode_of(path);
		assert_int_equal(chmod(path, good | 040), 0);
		assert_int_equal(load(&logins, "a:1"), -E_NOT_PRIVATE);
		assert_string_equal(logins.path, path); /* says which */
		assert_int_equal(chmod(path, good | 02), 0);
		assert_int_equal(load(&logins, "a:1"), -E_NOT_PRIVATE);
		assert_int_equal(chmod(path, good), 0);
		assert_int_equal(load(&logins, "a:1"), 0);
		if (geteuid() == 0) {
			assert_int_equal(chown(path, 1234, 0), 0);
			assert_int_equal(load(&logins, "a:1"), -E_NOT_PRIVATE);
			assert_int_equal(chown(path, 0, 0), 0);
		}
	}
	assert_int_equal(chmod(logins.folder, 0755), 0);
	assert_int_equal(load(&logins, "a:1"), -E_NOT_PRIVATE);
	/* Nor does keeping put anything there: what is open to others now was so before. */
	struct login login = login_of(&mesh, IDENTITY_USER, -60, 3600);
	const struct server_address server = server_of("a:1");
	assert_int_equal(logins_keep(&logins, &server, &login), -E_NOT_PRIVATE);
	login_done(&login);
}

static void test_damaged(void **state)
{
	static const char *const contents[] = { "", "x", "-----BEGIN PRIVATE KEY-----\n",
		                                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
		                                "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n" };
	struct logins logins = logins_at(*state);
	struct buf pem;
	char path[4200];
	keep(&logins, "a:1", login_of(&mesh, IDENTITY_USER, -60, 3600));
	path_in(&logins, "login.pem", path);
	buf_init(&pem, 1 << 16);
	assert_int_equal(file_read(path, &pem), 0);
	for (size_t i = 0; i < sizeof contents / sizeof *contents; i++) {
		assert_int_equal(file_write(path, contents[i], strlen(contents[i]), 0600), 0);
		assert_int_equal(load(&logins, "a:1"), -E_CHECKSUM);
	}
	/* Each beginning of it is refused; nothing crashes. */
	for (size_t len = 0; len < buf_len(&pem) - 1; len += 37) {
		assert_int_equal(file_write(path, buf_head(&pem), len, 0600), 0);
		assert_int_equal(load(&logins, "a:1"), -E_CHECKSUM);
	}
	buf_done(&pem);
	path_in(&logins, "root.crt", path);
	assert_int_equal(file_write(path, "x", 1, 0600), 0);
	assert_true(root(&logins, "a:1") < 0);
}

/* ---- faults: whatever fails, what stands there is whole: the old login or the new one, or none ---- */

struct keeping {
	struct logins logins;
	struct login login;
};

static int keep_again(void *ctx)
{
	struct keeping *keeping = ctx;
	const struct server_address server = server_of("a:1");
	return logins_keep(&keeping->logins, &server, &keeping->login);
}

static int load_again(void *ctx)
{
	struct keeping *keeping = ctx;
	const struct server_address server = server_of("a:1");
	struct login login;
	int err = logins_load(&keeping->logins, &server, &login);
	if (err == 0)
		login_done(&login);
	return err;
}

static void test_keep_faults(void **state)
{
	struct keeping keeping = { logins_at(*state), login_of(&mesh, IDENTITY_USER, -60, 3600) };
	for (long n = 1;; n++) {
		fault_arm(n);
		int err = keep_again(&keeping);
		bool passed = fault_armed();
		fault_arm(0);
		int loaded = load(&keeping.logins, "a:1");
		if (passed) {
			assert_int_equal(err, 0);
			break;
		}
		assert_true(loaded == 0 || loaded == -ENOENT);
	}
	assert_true(test_each_fault(load_again, &keeping) > 5);
	login_done(&keeping.login);
}

/* Killed at some moment: the same promise. */
static void keep_until_killed(void *ctx)
{
	for (;;)
		if (keep_again(ctx) < 0)
			exit(1);
}

static void test_killed(void **state)
{
	struct keeping keeping = { logins_at(*state), login_of(&mesh, IDENTITY_USER, -60, 3600) };
	keep(&keeping.logins, "a:1", login_of(&mesh, IDENTITY_USER, -60, 3600));
	for (useconds_t us = 200; us < 40000; us += us / 4) {
		fflush(NULL);
		pid_t pid = fork();
		assert_true(pid >= 0);
		if (pid == 0)
			keep_until_killed(&keeping);
		usleep(us); /* the moment is any */
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		assert_int_equal(load(&keeping.logins, "a:1"), 0);
	}
	struct server_address server = server_of("a:1");
	char path[4200];
	path_in(&keeping.logins, "login.pem.new", path);
	assert_int_equal(file_write(path, "left by a kill", 14, 0600), 0);
	assert_int_equal(logins_forget(&keeping.logins, &server), 0);
	assert_false(file_exists(path));
	login_done(&keeping.login);
}

static void test_folder(void **state)
{
	struct logins logins;
	(void)state;
	setenv("HOME", "/home/x", 1);
	setenv("XDG_CONFIG_HOME", "relative", 1);
	assert_int_equal(logins_init(&logins), 0);
	assert_string_equal(logins.folder, "/home/x/.config/murmesh/servers");
	setenv("XDG_CONFIG_HOME", "/conf", 1);
	assert_int_equal(logins_init(&logins), 0);
	assert_string_equal(logins.folder, "/conf/murmesh/servers");
	unsetenv("XDG_CONFIG_HOME");
	unsetenv("HOME");
	assert_int_equal(logins_init(&logins), -E_NOT_FOUND);
}

static int set_up(void **state)
{
	(void)state;
	mesh = test_mesh_new(1);
	other = test_mesh_new(2);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	test_mesh_done(&mesh);
	test_mesh_done(&other);
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, test_directory_make, test_directory_remove)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_address),
		cmocka_unit_test(test_fingerprint),
		TEST(test_keep_and_forget),
		TEST(test_named),
		TEST(test_only_what_is_good),
		TEST(test_only_what_is_private),
		TEST(test_damaged),
		TEST(test_keep_faults),
		TEST(test_killed),
		cmocka_unit_test(test_folder),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
