#include <errno.h>
#include <fcntl.h>
#include <limits.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/test.h"
#include "os/fd.h"
#include "os/file.h"

static char path_room[4][1024];

/* Up to four paths below the test's directory at once. */
static const char *below(void **state, const char *name)
{
	static unsigned next;
	char *path = path_room[next++ % 4];
	assert_int_equal(file_path(path, sizeof path_room[0], *state, name), 0);
	return path;
}

static void assert_content(const char *path, const char *content)
{
	struct buf buf;
	buf_init(&buf, 1 << 20);
	assert_int_equal(file_read(path, &buf), 0);
	assert_true(str_is(buf_str(&buf), content));
	buf_done(&buf);
}

static unsigned mode_of(const char *path)
{
	struct stat status;
	assert_int_equal(stat(path, &status), 0);
	return status.st_mode & 07777;
}

static void test_path(void **state)
{
	(void)state;
	char out[8];
	assert_int_equal(file_path(out, sizeof out, "/ab", "cde"), 0);
	assert_string_equal(out, "/ab/cde");
	assert_int_equal(file_path(out, sizeof out, "/ab/", "cde"), 0);
	assert_string_equal(out, "/ab/cde");
	assert_int_equal(file_path(out, sizeof out, "", "cde"), 0);
	assert_string_equal(out, "cde");
	assert_int_equal(file_path(out, sizeof out, "/ab", "cdef"), -E_TOO_LONG);
	assert_int_equal(file_path(out, 0, "", ""), -E_TOO_LONG);
}

static void test_writes_and_reads(void **state)
{
	const char *path = below(state, "file"), *path_new = below(state, "file.new");
	mode_t mask = umask(077);
	assert_false(file_exists(path));
	assert_int_equal(file_write(path, "one", 3, 0644), 0);
	assert_int_equal(mode_of(path), 0644);
	assert_content(path, "one");
	assert_int_equal(file_write(path, "", 0, 0600), 0);
	assert_int_equal(mode_of(path), 0600);
	assert_content(path, "");
	assert_true(file_exists(path));
	assert_false(file_exists(path_new));
	umask(mask);

	/* What a crash left, or somebody put there, is not written to. */
	const char *other = below(state, "other");
	assert_int_equal(file_write(other, "precious", 8, 0644), 0);
	assert_int_equal(symlink(other, path_new), 0);
	assert_int_equal(file_write(path, "two", 3, 0600), 0);
	assert_content(path, "two");
	assert_content(other, "precious");
	assert_int_equal(mode_of(other), 0644);

	struct buf buf;
	buf_init(&buf, 12);
	assert_int_equal(buf_append(&buf, "head:", 5), 0);
	assert_int_equal(file_read(path, &buf), 0);
	assert_true(str_is(buf_str(&buf), "head:two"));
	assert_int_equal(file_read(other, &buf), -E_TOO_LONG);
	assert_true(str_is(buf_str(&buf), "head:two"));
	buf_done(&buf);
}

static void test_large_and_special(void **state)
{
	const char *path = below(state, "large"), *fifo = below(state, "fifo");
	static char large[100001];
	struct buf buf;
	memset(large, 'x', sizeof large - 1);
	assert_int_equal(file_write(path, large, sizeof large - 1, 0600), 0);
	buf_init(&buf, sizeof large - 1);
	assert_int_equal(file_read(path, &buf), 0);
	assert_true(str_is(buf_str(&buf), large));
	buf_done(&buf);
	buf_init(&buf, sizeof large - 2);
	assert_int_equal(file_read(path, &buf), -E_TOO_LONG);
	assert_int_equal(buf_len(&buf), 0);

	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_int_equal(file_read(fifo, &buf), -E_FILE);
	assert_int_equal(file_read(*state, &buf), -E_FILE);
	assert_int_equal(file_read("/dev/zero", &buf), -E_FILE);
	assert_int_equal(file_read(below(state, "missing"), &buf), -ENOENT);
	assert_int_equal(file_read("/proc/self/status", &buf), 0); /* says that it has no bytes */
	assert_true(str_starts(buf_str(&buf), STR("Name:")));
	buf_done(&buf);
}

static void test_write_fails(void **state)
{
	char path[PATH_MAX + 10];
	memset(path, 'x', sizeof path - 1);
	path[sizeof path - 1] = 0;
	assert_int_equal(file_write(path, "x", 1, 0600), -E_TOO_LONG);
	assert_int_equal(file_write(below(state, "missing/file"), "x", 1, 0600), -ENOENT);
	const char *directory = below(state, "directory"), *left = below(state, "directory.new");
	assert_int_equal(mkdir(directory, 0700), 0);
	assert_int_equal(file_write(directory, "x", 1, 0600), -EISDIR);
	assert_false(file_exists(left));
}

/* A path without a directory part. */
static int write_here(void *ctx)
{
	struct stat status;
	if (chdir(ctx) < 0 || file_write("plain", "x", 1, 0600) < 0 || stat("plain", &status) < 0)
		return 1;
	return 0;
}

static void test_write_here(void **state)
{
	assert_int_equal(test_in_child(write_here, *state), 0);
	assert_content(below(state, "plain"), "x");
}

static void test_directories(void **state)
{
	const char *deep = below(state, "a/b/c");
	mode_t mask = umask(077);
	assert_int_equal(file_make_directory(deep, 0710), 0);
	assert_int_equal(mode_of(deep), 0710);
	assert_int_equal(mode_of(below(state, "a")), 0755);
	assert_int_equal(file_make_directory(deep, 0700), 0); /* it was there: as it is */
	assert_int_equal(mode_of(deep), 0710);
	assert_int_equal(file_make_directory(below(state, "a/d/"), 0700), 0);
	assert_int_equal(mode_of(below(state, "a/d")), 0700);
	assert_int_equal(file_make_directory("/", 0700), 0);
	umask(mask);
	assert_int_equal(file_write(below(state, "file"), "", 0, 0600), 0);
	assert_int_equal(file_make_directory(below(state, "file"), 0700), -E_FILE);
	assert_int_equal(file_make_directory(below(state, "file/x"), 0700), -E_FILE);
	assert_int_equal(file_make_directory("", 0700), -ENOENT);
	char path[PATH_MAX + 10];
	memset(path, 'x', sizeof path - 1);
	path[sizeof path - 1] = 0;
	assert_int_equal(file_make_directory(path, 0700), -E_TOO_LONG);
}

static int lock_again(void *ctx)
{
	return file_lock(ctx) == -E_RUNNING ? 0 : 1;
}

static void test_lock(void **state)
{
	const char *path = below(state, "lock");
	int fd = file_lock(path);
	assert_true(fd >= 0);
	assert_int_equal(mode_of(path), 0600);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(file_lock(path), -E_RUNNING);
	assert_int_equal(test_in_child(lock_again, (void *)path), 0);
	fd_close(fd);
	fd = file_lock(path);
	assert_true(fd >= 0);
	fd_close(fd);
	assert_int_equal(symlink(path, below(state, "link")), 0);
	assert_int_equal(file_lock(below(state, "link")), -ELOOP);
	assert_int_equal(file_lock(*state), -EISDIR);
}

static int read_file(void *ctx)
{
	struct buf buf;
	buf_init(&buf, 100000);
	assert_int_equal(buf_append(&buf, "", 0), 0);
	int err = file_read(ctx, &buf);
	assert_int_equal(buf_len(&buf), err < 0 ? 0 : 5000);
	buf_done(&buf);
	return err;
}

static int lock_file(void *ctx)
{
	int fd = file_lock(ctx);
	fd_close(fd);
	return fd;
}

static void test_faults(void **state)
{
	static char content[5001];
	const char *path = below(state, "file");
	memset(content, 'y', sizeof content - 1);
	assert_int_equal(file_write(path, content, sizeof content - 1, 0600), 0);
	assert_int_equal(test_each_fault(read_file, (void *)path), 7); /* open, fstat, 3 reads, memory twice */
	assert_int_equal(test_each_fault(lock_file, (void *)path), 2);
	fault_arm(1);
	assert_false(file_exists(path));
}

/* After a failure at any step the whole old or the whole new content stands there, and nothing beside it. */
static void test_write_faults(void **state)
{
	const char *path = below(state, "file"), *path_new = below(state, "file.new");
	for (long n = 1;; n++) {
		assert_int_equal(file_write(path, "old", 3, 0600), 0);
		fault_arm(n);
		int err = file_write(path, "new!", 4, 0600);
		bool passed = fault_armed();
		fault_arm(0);
		assert_false(file_exists(path_new));
		if (passed) {
			assert_int_equal(err, 0);
			assert_int_equal(n - 1, 8); /* open, fchmod, write twice, fsync, rename, open and fsync of the directory */
			break;
		}
		assert_true(err < 0);
		assert_content(path, n <= 6 ? "old" : "new!");
	}
}

static int make_directories(void *ctx)
{
	char outer[1024];
	snprintf(outer, sizeof outer, "%s/outer", (const char *)ctx);
	char inner[1100];
	snprintf(inner, sizeof inner, "%s/inner", outer);
	int err = file_make_directory(inner, 0700);
	rmdir(inner);
	rmdir(outer);
	return err;
}

static void test_directory_faults(void **state)
{
	assert_true(test_each_fault(make_directories, *state) >= 6);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, test_directory_make, test_directory_remove)

static void test_secrets(void **state)
{
	const char *path = below(state, "secret"), *folder = below(state, "folder"), *link_path = below(state, "link");
	struct buf buf;
	buf_init(&buf, 100);
	assert_int_equal(file_write(path, "key", 3, 0600), 0);
	assert_int_equal(file_read_secret(path, &buf), 0);
	assert_true(str_is(buf_str(&buf), "key"));
	static const unsigned open_modes[] = { 0640, 0604, 0620, 0602, 0610, 0601 };
	for (size_t i = 0; i < sizeof open_modes / sizeof *open_modes; i++) {
		assert_int_equal(chmod(path, open_modes[i]), 0);
		assert_int_equal(file_read_secret(path, &buf), -E_NOT_PRIVATE);
		assert_int_equal(buf_len(&buf), 3);
	}
	assert_int_equal(chmod(path, 0400), 0);
	assert_int_equal(file_read_secret(path, &buf), 0);
	buf_done(&buf);

	assert_int_equal(file_directory_private(folder), -ENOENT);
	assert_int_equal(file_make_directory(folder, 0700), 0);
	assert_int_equal(file_directory_private(folder), 0);
	assert_int_equal(chmod(folder, 0750), 0);
	assert_int_equal(file_directory_private(folder), -E_NOT_PRIVATE);
	assert_int_equal(file_directory_private(path), -E_FILE);
	assert_int_equal(symlink(folder, link_path), 0);
	assert_int_equal(file_directory_private(link_path), -E_FILE);
	if (geteuid() != 0)
		return;
	assert_int_equal(chmod(folder, 0700), 0);
	assert_int_equal(chown(folder, 1234, 0), 0);
	assert_int_equal(file_directory_private(folder), -E_NOT_PRIVATE);
	assert_int_equal(chown(path, 1234, 0), 0);
	buf_init(&buf, 100);
	assert_int_equal(file_read_secret(path, &buf), -E_NOT_PRIVATE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_path), TEST(test_writes_and_reads), TEST(test_large_and_special), TEST(test_write_fails),
		TEST(test_write_here),       TEST(test_directories),      TEST(test_secrets),           TEST(test_lock),
		TEST(test_faults),           TEST(test_write_faults),     TEST(test_directory_faults),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
