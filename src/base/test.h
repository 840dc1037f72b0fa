/* base/test.h: what unit tests share: cmocka, counting fault injection, a directory of their own.  Not part of the programs. */
#ifndef BASE_TEST_H
#define BASE_TEST_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/str.h"

/* How many descriptors this process holds. */
static inline size_t test_descriptors(void)
{
	size_t n = 0;
	DIR *directory = opendir("/proc/self/fd");
	assert_non_null(directory);
	while (readdir(directory))
		n++;
	closedir(directory);
	return n;
}

/* Runs the operation with its first, second, ... fault point failing until a run passes them all.  It returns a negative
 * code when it failed, and leaves nothing behind in either case.  Returns the number of points. */
static inline long test_each_fault(int (*operation)(void *ctx), void *ctx)
{
	for (long n = 1;; n++) {
		size_t before = test_descriptors();
		fault_arm(n);
		int result = operation(ctx);
		bool passed = fault_armed();
		fault_arm(0);
		assert_int_equal(test_descriptors(), before);
		if (passed) {
			assert_true(result >= 0);
			return n - 1;
		}
		assert_true(result < 0);
	}
}

/* Runs in a child process; returns its exit code, or -1 when a signal ended it.  No assertions inside. */
static inline int test_in_child(int (*run)(void *ctx), void *ctx)
{
	int status;
	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		exit(run(ctx));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Set-up and tear-down of a fresh directory, whose path is *state. */
static inline int test_directory_make(void **state)
{
	char path[512];
	const char *base = getenv("TMPDIR");
	snprintf(path, sizeof path, "%s/murmesh-test-XXXXXX", base ? base : "/tmp");
	*state = mkdtemp(path) ? strdup(path) : NULL;
	return *state ? 0 : -1;
}

static inline int test_remove_one(const char *path, const struct stat *status, int type, struct FTW *at)
{
	(void)status, (void)type, (void)at;
	return remove(path);
}

static inline int test_directory_remove(void **state)
{
	int err = nftw(*state, test_remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(*state);
	return err;
}
/* How often a test that kills does so: 25 times, or as `make sim` says (MURMESH_KILLS). */
static inline uint64_t test_kills(void)
{
	const char *wanted = getenv("MURMESH_KILLS");
	uint64_t kills = 25;
	assert_true(!wanted || str_to_u64(str_from(wanted), 1000000, &kills) == 0);
	return kills;
}
#endif
