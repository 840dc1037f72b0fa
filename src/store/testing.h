/* store/testing.h: for unit tests of this and higher folders: a database in a directory of its own. */
#ifndef STORE_TESTING_H
#define STORE_TESTING_H
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <dirent.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fault.h"
#include "store/store.h"

struct test_store {
	char directory[32], path[64];
	const struct store_schema *schema;
	struct store *store;
};

typedef int (*test_body)(struct store_tx *tx, void *ctx);
struct test_job {
	struct store_job job;
	test_body body;
	void *ctx;
};

static inline int test_job_run(struct store_tx *tx, struct store_job *job)
{
	struct test_job *test = (struct test_job *)job;
	return test->body(tx, test->ctx);
}

/* The body as one transaction. */
static inline int test_run(struct test_store *test, test_body body, void *ctx)
{
	struct test_job job = { .job.run = test_job_run, .body = body, .ctx = ctx };
	return store_run(test->store, &job.job);
}

static inline int test_store_reopen(struct test_store *test)
{
	char detail[STORE_DETAIL_SIZE];
	test->store = store_free(test->store);
	return store_open(test->path, test->schema, &test->store, detail);
}

static inline void test_store_make(struct test_store *test, const struct store_schema *schema)
{
	*test = (struct test_store){ .directory = "/tmp/murmesh-test-XXXXXX", .schema = schema };
	assert_non_null(mkdtemp(test->directory));
	snprintf(test->path, sizeof test->path, "%s/db", test->directory);
	assert_int_equal(test_store_reopen(test), 0);
}

static inline void test_store_remove(struct test_store *test)
{
	test->store = store_free(test->store);
	DIR *directory = opendir(test->directory);
	assert_non_null(directory);
	for (struct dirent *entry; (entry = readdir(directory));)
		unlinkat(dirfd(directory), entry->d_name, 0);
	closedir(directory);
	assert_int_equal(rmdir(test->directory), 0);
}

/* Of a cmocka test: *state is a new struct test_store of the server's. */
static inline int test_store_setup(void **state)
{
	static struct test_store test;
	test_store_make(&test, &store_schema_server);
	*state = &test;
	return 0;
}

static inline int test_store_teardown(void **state)
{
	test_store_remove(*state);
	return 0;
}

/* Each time a fault point of the body fails, the body must fail and leave nothing: then it succeeds when run again. */
static inline void test_faults(const struct store_schema *schema, test_body prepare, test_body body, void *ctx)
{
	bool reached = true;
	for (long n = 1; reached; n++) {
		struct test_store test;
		test_store_make(&test, schema);
		if (prepare)
			assert_int_equal(test_run(&test, prepare, ctx), 0);
		fault_arm(n);
		int err = test_run(&test, body, ctx);
		reached = !fault_armed();
		fault_arm(0);
		assert_true(reached ? err < 0 : err == 0);
		if (reached)
			assert_int_equal(test_run(&test, body, ctx), 0);
		test_store_remove(&test);
	}
}
#endif
