#include "store/testing.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

static const char *const first[] = {
	"CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT NOT NULL CHECK (name <> 'bad'), value BLOB) STRICT;"
	"CREATE UNIQUE INDEX things_name ON things (name)",
	"CREATE TABLE parts (thing INTEGER NOT NULL REFERENCES things (id)) STRICT;"
	"INSERT INTO things (id, name) VALUES (1, 'from migration 2')",
};
static const char *const broken[] = { first[0],
	                              "CREATE TABLE parts (thing INTEGER) STRICT; CREATE TABLE parts (thing INTEGER) STRICT" };

#define APPLICATION 0x4d4d5430
static const struct store_schema version_1 = { APPLICATION, 1, first }, version_2 = { APPLICATION, 2, first },
                                 version_2_broken = { APPLICATION, 2, broken }, another = { 77, 2, first };

static int setup(void **state)
{
	static struct test_store test;
	test_store_make(&test, &version_1);
	*state = &test;
	return 0;
}

static int teardown(void **state)
{
	test_store_remove(*state);
	return 0;
}

/* Things */

static int64_t integer(struct store_tx *tx, const char *sql)
{
	struct store_query *query = store_query(tx, sql);
	assert_int_equal(store_step(query), 1);
	int64_t value = store_integer(query, 0);
	assert_int_equal(store_error(query), 0);
	assert_int_equal(store_step(query), 0);
	return value;
}

static int64_t count(struct store_tx *tx)
{
	return integer(tx, "SELECT count(*) FROM things");
}

static int add(struct store_tx *tx, int64_t id, struct str name, struct str value)
{
	struct store_query *query = store_query(tx, "INSERT INTO things (id, name, value) VALUES ($1, $2, $3)");
	store_bind_integer(query, 1, id);
	store_bind_text(query, 2, name);
	store_bind_blob(query, 3, value.ptr, value.len);
	return store_exec(query);
}

static int read_count(struct store_tx *tx, void *ctx)
{
	*(int64_t *)ctx = count(tx);
	return 0;
}

static int64_t test_count(struct test_store *test)
{
	int64_t things = -1;
	assert_int_equal(test_run(test, read_count, &things), 0);
	return things;
}

static int add_one(struct store_tx *tx, void *ctx)
{
	char name[32];
	int64_t id = *(int64_t *)ctx;
	snprintf(name, sizeof name, "thing %lld", (long long)id);
	return add(tx, id, str_from(name), STR("value"));
}

/* Opening and migrations */

static int read_settings(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	char mode[16];
	assert_int_equal(integer(tx, "PRAGMA synchronous"), 2);
	assert_int_equal(integer(tx, "PRAGMA foreign_keys"), 1);
	assert_int_equal(integer(tx, "PRAGMA temp_store"), 2);
	assert_int_equal(integer(tx, "PRAGMA trusted_schema"), 0);
	assert_int_equal(integer(tx, "PRAGMA cell_size_check"), 1);
	assert_int_equal(integer(tx, "PRAGMA application_id"), APPLICATION);
	assert_int_equal(integer(tx, "PRAGMA user_version"), 1);
	struct store_query *query = store_query(tx, "PRAGMA journal_mode");
	assert_int_equal(store_step(query), 1);
	store_text(query, 0, mode, sizeof mode);
	assert_string_equal(mode, "wal");
	assert_int_equal(store_exec(store_query(tx, "PRAGMA writable_schema = ON")), 0);
	/* Defensive: nobody writes the schema itself, no second file is attached, "x" is never a string. */
	assert_int_equal(store_exec(store_query(tx, "DELETE FROM sqlite_schema")), -E_STORE);
	assert_int_equal(store_exec(store_query(tx, "ATTACH ':memory:' AS other")), -E_STORE);
	assert_int_equal(store_exec(store_query(tx, "SELECT \"no such column\" FROM things")), -E_STORE);
	return 0;
}

static void test_open(void **state)
{
	struct test_store *test = *state;
	struct stat status;
	assert_int_equal(stat(test->path, &status), 0);
	assert_int_equal(status.st_mode & 0777, 0600);
	assert_int_equal(test_run(test, read_settings, NULL), 0);
}

static int open_as(struct test_store *test, const struct store_schema *schema, char detail[STORE_DETAIL_SIZE])
{
	test->store = store_free(test->store);
	return store_open(test->path, schema, &test->store, detail);
}

static void test_migrate(void **state)
{
	struct test_store *test = *state;
	char detail[STORE_DETAIL_SIZE];
	int64_t id = 7;
	assert_int_equal(test_run(test, add_one, &id), 0);
	assert_int_equal(open_as(test, &version_2_broken, detail), -E_STORE);
	assert_non_null(strstr(detail, "parts"));
	/* The broken step left nothing. */
	assert_int_equal(open_as(test, &version_2, detail), 0);
	assert_int_equal(test_count(test), 2);
	assert_int_equal(open_as(test, &version_2, detail), 0);
	assert_int_equal(test_count(test), 2);
	assert_int_equal(open_as(test, &version_1, detail), -E_STORE_NEWER);
	assert_int_equal(open_as(test, &another, detail), -E_STORE);
	assert_non_null(strstr(detail, "another program"));
	assert_int_equal(open_as(test, &version_2, detail), 0);
}

static void write_file(const char *path, const void *bytes, size_t len)
{
	FILE *file = fopen(path, "wb");
	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, len, file), len);
	assert_int_equal(fclose(file), 0);
}

static size_t read_file(const char *path, uint8_t *out, size_t size)
{
	FILE *file = fopen(path, "rb");
	assert_non_null(file);
	size_t len = fread(out, 1, size, file);
	fclose(file);
	return len;
}

static void test_open_what_is_no_database(void **state)
{
	struct test_store *test = *state;
	char detail[STORE_DETAIL_SIZE], text[5000];
	struct store *store;
	test->store = store_free(test->store);
	memset(text, 'x', sizeof text);
	write_file(test->path, text, sizeof text);
	assert_int_equal(open_as(test, &version_1, detail), -E_CHECKSUM);
	assert_string_not_equal(detail, "");
	assert_int_equal(store_open(test->directory, &version_1, &store, detail), -EISDIR);
	assert_int_equal(store_open("/nowhere/at/all", &version_1, &store, detail), -ENOENT);
}

static void test_impossible_version(void **state)
{
	struct test_store *test = *state;
	char detail[STORE_DETAIL_SIZE];
	sqlite3 *db;
	test->store = store_free(test->store);
	assert_int_equal(sqlite3_open(test->path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "PRAGMA user_version = -1", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	assert_int_equal(open_as(test, &version_1, detail), -E_CHECKSUM);
}

/* Statements and values */

static int values(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	char name[16], small[5];
	uint8_t value[3], larger[4];
	struct id id, written = { { 1, 2, 3 } };
	assert_int_equal(add(tx, INT64_MIN, STR("gr\303\274n"), STR("a\0b")), 0);
	assert_int_equal(store_changed(tx), 1);
	struct store_query *query = store_query(tx, "SELECT id, name, value, NULL FROM things");
	assert_int_equal(store_step(query), 1);
	assert_true(store_integer(query, 0) == INT64_MIN);
	store_text(query, 1, name, sizeof name);
	assert_string_equal(name, "gr\303\274n");
	store_blob(query, 2, value, sizeof value);
	assert_memory_equal(value, "a\0b", 3);
	assert_true(store_is_null(query, 3));
	assert_false(store_is_null(query, 2));
	assert_int_equal(store_error(query), 0);
	/* One byte too few for the text and its NUL. */
	store_text(query, 1, small, sizeof small);
	assert_string_equal(small, "");
	assert_int_equal(store_error(query), -E_CHECKSUM);
	/* The error stays, and nothing more is read. */
	assert_int_equal(store_integer(query, 0), 0);
	assert_int_equal(store_step(query), -E_CHECKSUM);

	query = store_query(tx, "SELECT id, name, value, NULL FROM things");
	assert_int_equal(store_step(query), 1);
	store_blob(query, 2, larger, sizeof larger);
	assert_int_equal(store_error(query), -E_CHECKSUM);
	assert_memory_equal(larger, "\0\0\0\0", 4);

	query = store_query(tx, "UPDATE things SET value = $1");
	store_bind_id(query, 1, &written);
	assert_int_equal(store_exec(query), 0);
	query = store_query(tx, "SELECT value FROM things");
	assert_int_equal(store_step(query), 1);
	store_id(query, 0, &id);
	assert_true(id_equal(&id, &written));
	assert_int_equal(store_error(query), 0);
	assert_int_equal(store_step(query), 0);
	assert_int_equal(store_step(query), 0);
	store_integer(query, 0);
	assert_int_equal(store_error(query), -E_CHECKSUM);
	return 0;
}

static void reads_as_damage(struct store_tx *tx, const char *sql, char type)
{
	char text[32];
	uint8_t blob[4];
	struct store_query *query = store_query(tx, sql);
	assert_int_equal(store_step(query), 1);
	if (type == 'i')
		store_integer(query, 0);
	else if (type == 't')
		store_text(query, 0, text, sizeof text);
	else
		store_blob(query, 0, blob, sizeof blob);
	assert_int_equal(store_error(query), -E_CHECKSUM);
}

static int damage(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	reads_as_damage(tx, "SELECT NULL", 'i');
	reads_as_damage(tx, "SELECT 'text'", 'i');
	reads_as_damage(tx, "SELECT NULL AS a", 't');
	reads_as_damage(tx, "SELECT 12", 't');
	reads_as_damage(tx, "SELECT x'61006200'", 't');
	reads_as_damage(tx, "SELECT CAST(x'610062' AS TEXT)", 't');
	reads_as_damage(tx, "SELECT CAST(x'c080' AS TEXT)", 't');
	reads_as_damage(tx, "SELECT NULL AS b", 'b');
	reads_as_damage(tx, "SELECT x''", 'b');
	reads_as_damage(tx, "SELECT 'abcd'", 'b');
	return 0;
}

static int refused(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	static char large[(1 << 20) + 1];
	assert_int_equal(add(tx, 1, STR("a"), STR("")), 0);
	assert_int_equal(add(tx, 1, STR("b"), STR("")), -E_EXISTS);
	assert_int_equal(add(tx, 2, STR("a"), STR("")), -E_EXISTS);
	assert_int_equal(add(tx, 2, STR("bad"), STR("")), -E_STORE);
	assert_int_equal(add(tx, 2, STR("b"), (struct str){ large, sizeof large }), -E_STORE);
	assert_int_equal(store_exec(store_query(tx, "INSERT INTO things (name, value) VALUES ('c', 'text')")), -E_STORE);
	assert_int_equal(store_exec(store_query(tx, "INSERT INTO things (name) VALUES (NULL)")), -E_STORE);
	assert_int_equal(store_exec(store_query(tx, "SELEKT 1")), -E_STORE);
	assert_int_equal(store_exec(store_query(tx, "SELECT $2, $1")), -E_STORE);
	assert_int_equal(store_exec(store_query(tx, "SELECT ?")), -E_STORE);
	struct store_query *query = store_query(tx, "SELECT $1");
	store_bind_integer(query, 2, 1);
	assert_int_equal(store_exec(query), -E_STORE);
	/* A table that is being read cannot go. */
	query = store_query(tx, "SELECT id FROM things");
	assert_int_equal(store_step(query), 1);
	assert_int_equal(store_exec(store_query(tx, "DROP TABLE things")), -E_BUSY);
	assert_int_equal(count(tx), 1);
	return 0;
}

static int too_many_statements(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	static char texts[300][32];
	int err = 0;
	for (int i = 0; i < 300; i++) {
		snprintf(texts[i], sizeof texts[i], "SELECT %d", i);
		err = store_exec(store_query(tx, texts[i]));
	}
	return err;
}

static void test_values(void **state)
{
	struct test_store *test = *state;
	assert_int_equal(test_run(test, values, NULL), 0);
	assert_int_equal(test_run(test, damage, NULL), 0);
	assert_int_equal(test_run(test, too_many_statements, NULL), -E_STORE);
}

static void test_refused(void **state)
{
	assert_int_equal(test_run(*state, refused, NULL), 0);
}

static int detailed(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	return add(tx, 2, STR("bad"), STR(""));
}

static void test_detail(void **state)
{
	struct test_store *test = *state;
	struct test_job job = { .job.run = test_job_run, .body = detailed };
	assert_int_equal(store_run(test->store, &job.job), -E_STORE);
	assert_non_null(strstr(job.job.detail, "CHECK constraint failed"));
	int64_t id = 1;
	job.body = add_one;
	job.ctx = &id;
	assert_int_equal(store_run(test->store, &job.job), 0);
	assert_string_equal(job.job.detail, "");
}

static int foreign_key(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	return store_exec(store_query(tx, "INSERT INTO parts (thing) VALUES (99)"));
}

static void test_foreign_keys(void **state)
{
	struct test_store *test = *state;
	char detail[STORE_DETAIL_SIZE];
	assert_int_equal(open_as(test, &version_2, detail), 0);
	assert_int_equal(test_run(test, foreign_key, NULL), -E_STORE);
}

/* Transactions */

static int add_two_and_fail(struct store_tx *tx, void *ctx)
{
	int64_t id = 100;
	assert_int_equal(add_one(tx, &id), 0);
	id = 101;
	assert_int_equal(add_one(tx, &id), 0);
	/* Left in the middle of its rows. */
	assert_int_equal(store_step(store_query(tx, "SELECT id FROM things ORDER BY id")), 1);
	return *(int *)ctx;
}

static int end_the_transaction(struct store_tx *tx, void *ctx)
{
	int64_t id = 100;
	assert_int_equal(add_one(tx, &id), 0);
	assert_int_equal(store_exec(store_query(tx, "ROLLBACK")), 0);
	return *(int *)ctx;
}

static void test_failed_job_leaves_nothing(void **state)
{
	struct test_store *test = *state;
	int err = -E_LIMIT;
	assert_int_equal(test_run(test, add_two_and_fail, &err), -E_LIMIT);
	assert_int_equal(test_count(test), 0);
	/* As when the database gives up a transaction by itself, with and without a word. */
	assert_int_equal(test_run(test, end_the_transaction, &err), -E_STORE);
	assert_int_equal(test_count(test), 0);
	err = 0;
	assert_int_equal(test_run(test, end_the_transaction, &err), -E_STORE);
	assert_int_equal(test_count(test), 0);
	assert_int_equal(test_run(test, add_two_and_fail, &err), 0);
	assert_int_equal(test_count(test), 2);
}

static void test_fault_in_open(void **state)
{
	(void)state;
	bool reached = true;
	for (long n = 1; reached; n++) {
		struct test_store test;
		char detail[STORE_DETAIL_SIZE];
		test_store_make(&test, &version_1);
		test.store = store_free(test.store);
		fault_arm(n);
		int err = store_open(test.path, &version_2, &test.store, detail);
		reached = !fault_armed();
		fault_arm(0);
		assert_true(reached ? err < 0 : err == 0);
		if (reached)
			assert_int_equal(store_open(test.path, &version_2, &test.store, detail), 0);
		assert_int_equal(test_count(&test), 1);
		test_store_remove(&test);
	}
}

static int add_three(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	int err = 0;
	for (int64_t id = 1; err == 0 && id <= 3; id++)
		err = add_one(tx, &id);
	return err;
}

static int add_three_and_fail(struct store_tx *tx, void *ctx)
{
	int err = add_three(tx, ctx);
	return err < 0 ? err : -E_LIMIT;
}

static void test_fault_in_job(void **state)
{
	(void)state;
	test_faults(&version_1, NULL, add_three, NULL);
}

static void test_fault_while_taking_back(void **state)
{
	struct test_store *test = *state;
	bool reached = true;
	for (long n = 1; reached; n++) {
		fault_arm(n);
		assert_true(test_run(test, add_three_and_fail, NULL) < 0);
		reached = !fault_armed();
		fault_arm(0);
		assert_int_equal(test_count(test), 0);
	}
}

/* Memory that is really short, at every amount: no step says 0 without having done it, and all is well when there is memory again. */
static void test_short_of_memory(void **state)
{
	struct test_store *test = *state;
	char detail[STORE_DETAIL_SIZE];
	unsigned opened = 0, failed = 0;
	test->store = store_free(test->store);
	for (sqlite3_int64 room = 1; opened < 25; room += 3001) {
		int64_t id = room, before, added = 0;
		assert_int_equal(test_store_reopen(test), 0);
		before = test_count(test);
		test->store = store_free(test->store);
		sqlite3_hard_heap_limit64(sqlite3_memory_used() + room);
		opened += store_open(test->path, &version_1, &test->store, detail) == 0;
		for (int i = 0; test->store && i < 3; i++, id++) {
			int err = test_run(test, add_one, &id);
			assert_true(err == 0 || err == -E_NO_MEMORY || err == -E_STORE);
			added += err == 0;
			failed += err < 0;
		}
		sqlite3_hard_heap_limit64(0);
		if (!test->store)
			assert_int_equal(test_store_reopen(test), 0);
		assert_int_equal(test_count(test), before + added);
		test->store = store_free(test->store);
	}
	assert_true(failed > 0);
}

/* Whole processes */

/* Runs body in a child and waits for its end; returns its exit code, or minus the signal. */
static int in_child(void (*body)(struct test_store *test), struct test_store *test)
{
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		body(test);
		_exit(0);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

#define CHILD_EXPECT(condition)                                                                                                    \
	do {                                                                                                                       \
		if (!(condition)) {                                                                                                \
			fprintf(stderr, "child, line %d: %s\n", __LINE__, #condition);                                             \
			_exit(99);                                                                                                 \
		}                                                                                                                  \
	} while (0)

static int change_much(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	static char value[1000];
	int err = 0;
	for (int64_t id = 1; err == 0 && id <= 1000; id++) {
		char name[32];
		snprintf(name, sizeof name, "thing %lld", (long long)id);
		err = add(tx, id, str_from(name), (struct str){ value, sizeof value });
	}
	return err;
}

static int rewrite_and_fail(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	/* Touches every page, sorts without an index, then goes back. */
	int err = store_exec(store_query(tx, "UPDATE things SET value = zeroblob(length(value)), name = name || 'x'"));
	if (err == 0)
		err = store_exec(store_query(tx, "SELECT value, name FROM things ORDER BY substr(name, 3), value"));
	return err < 0 ? err : -E_LIMIT;
}

static void without_descriptors(struct test_store *test)
{
	char detail[STORE_DETAIL_SIZE];
	struct rlimit none = { 0, 0 };
	CHILD_EXPECT(store_open(test->path, &version_1, &test->store, detail) == 0);
	CHILD_EXPECT(setrlimit(RLIMIT_NOFILE, &none) == 0);
	CHILD_EXPECT(open("/dev/null", O_RDONLY) < 0);
	CHILD_EXPECT(test_run(test, change_much, NULL) == 0);
	CHILD_EXPECT(test_run(test, rewrite_and_fail, NULL) == -E_LIMIT);
	CHILD_EXPECT(test_run(test, rewrite_and_fail, NULL) == -E_LIMIT);
}

static void test_opens_nothing_later(void **state)
{
	struct test_store *test = *state;
	test->store = store_free(test->store);
	assert_int_equal(in_child(without_descriptors, test), 0);
	assert_int_equal(test_store_reopen(test), 0);
	assert_int_equal(test_count(test), 1000);
}

static void with_full_disk(struct test_store *test)
{
	char detail[STORE_DETAIL_SIZE];
	struct rlimit limit;
	int64_t id = 5000;
	signal(SIGXFSZ, SIG_IGN);
	CHILD_EXPECT(store_open(test->path, &version_1, &test->store, detail) == 0);
	CHILD_EXPECT(getrlimit(RLIMIT_FSIZE, &limit) == 0);
	struct rlimit small = { 100000, limit.rlim_max };
	CHILD_EXPECT(setrlimit(RLIMIT_FSIZE, &small) == 0);
	CHILD_EXPECT(test_run(test, add_one, &id) == 0);
	CHILD_EXPECT(test_run(test, change_much, NULL) == -E_STORE);
	CHILD_EXPECT(test_run(test, change_much, NULL) == -E_STORE);
	CHILD_EXPECT(setrlimit(RLIMIT_FSIZE, &limit) == 0);
	CHILD_EXPECT(test_run(test, change_much, NULL) == 0);
}

static void test_disk_full(void **state)
{
	struct test_store *test = *state;
	test->store = store_free(test->store);
	assert_int_equal(in_child(with_full_disk, test), 0);
	assert_int_equal(test_store_reopen(test), 0);
	assert_int_equal(test_count(test), 1001);
}

static int add_and_die(struct store_tx *tx, void *ctx)
{
	int64_t id = 2;
	add_one(tx, &id);
	raise(SIGKILL);
	return *(int *)ctx;
}

static void killed_inside(struct test_store *test)
{
	char detail[STORE_DETAIL_SIZE];
	int64_t id = 1;
	CHILD_EXPECT(store_open(test->path, &version_1, &test->store, detail) == 0);
	CHILD_EXPECT(test_run(test, add_one, &id) == 0);
	test_run(test, add_and_die, NULL);
}

static int read_first(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	assert_int_equal(integer(tx, "SELECT min(id) FROM things"), 1);
	return 0;
}

static void test_kill_inside_transaction(void **state)
{
	struct test_store *test = *state;
	test->store = store_free(test->store);
	assert_int_equal(in_child(killed_inside, test), -SIGKILL);
	assert_int_equal(test_store_reopen(test), 0);
	assert_int_equal(test_count(test), 1);
	assert_int_equal(test_run(test, read_first, NULL), 0);
}

/* A process that commits one thing after the other and says each number when it is committed. */
static pid_t start_writer(struct test_store *test, int64_t from, int *ret_fd)
{
	int ends[2];
	assert_int_equal(pipe(ends), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		char detail[STORE_DETAIL_SIZE];
		CHILD_EXPECT(store_open(test->path, &version_1, &test->store, detail) == 0);
		for (int64_t id = from;; id++) {
			CHILD_EXPECT(test_run(test, add_one, &id) == 0);
			CHILD_EXPECT(write(ends[1], &id, sizeof id) == sizeof id);
		}
	}
	close(ends[1]);
	*ret_fd = ends[0];
	return pid;
}

static void test_kill_anywhere(void **state)
{
	struct test_store *test = *state;
	test->store = store_free(test->store);
	int64_t last = 0;
	for (int round = 0; round < 25; round++) {
		int fd;
		int64_t id;
		pid_t pid = start_writer(test, last + 1, &fd);
		for (int heard = 0; heard <= round % 7; heard++) {
			assert_int_equal(read(fd, &id, sizeof id), sizeof id);
			assert_int_equal(id, ++last);
		}
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		while (read(fd, &id, sizeof id) == sizeof id)
			last = id;
		close(fd);
		assert_int_equal(test_store_reopen(test), 0);
		int64_t things = test_count(test);
		/* All that were acknowledged, and at most the one that was just committed. */
		assert_true(things == last || things == last + 1);
		last = things;
		test->store = store_free(test->store);
	}
}

/* Damage */

static int check(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	return store_check(tx);
}

static int read_all(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	char name[64];
	uint8_t value[1000];
	struct store_query *query = store_query(tx, "SELECT id, name, value FROM things ORDER BY name");
	int rows;
	while ((rows = store_step(query)) > 0) {
		store_integer(query, 0);
		store_text(query, 1, name, sizeof name);
		store_blob(query, 2, value, sizeof value);
	}
	return rows;
}

static int one_more(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	int64_t id = 123456;
	return add_one(tx, &id);
}

/* Opens what lies there and does everything with it; returns how many of the steps said that something is wrong. */
static unsigned use_damaged(struct test_store *test)
{
	unsigned refusals = 0;
	if (test_store_reopen(test) < 0)
		return 1;
	refusals += test_run(test, check, NULL) < 0;
	refusals += test_run(test, read_all, NULL) < 0;
	refusals += test_run(test, one_more, NULL) < 0;
	test->store = store_free(test->store);
	return refusals;
}

static void test_damaged_file(void **state)
{
	static uint8_t bytes[1 << 21];
	struct test_store *test = *state;
	assert_int_equal(test_run(test, check, NULL), 0);
	assert_int_equal(test_run(test, change_much, NULL), 0);
	test->store = store_free(test->store);
	size_t len = read_file(test->path, bytes, sizeof bytes);
	unsigned noticed = 0, flips = 0;
	/* Bits of the header, the first pages' structure, and everywhere. */
	for (size_t at = 0; at < len; at += at < 100 ? 1 : at < 5000 ? 61 : len / 97) {
		uint8_t bit = (uint8_t)(1u << at % 8);
		bytes[at] ^= bit;
		write_file(test->path, bytes, len);
		bytes[at] ^= bit;
		noticed += use_damaged(test) > 0;
		flips++;
	}
	assert_true(noticed > flips / 20);
	/* A page of nonsense inside, and a file that ends early, are always noticed. */
	memset(bytes + 4096 * 3, 0xa5, 4096);
	write_file(test->path, bytes, len);
	assert_true(use_damaged(test) > 0);
	for (size_t cut = len - 1; cut > len / 2; cut -= len / 20) {
		write_file(test->path, bytes, cut);
		assert_true(use_damaged(test) > 0);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_open),
		TEST(test_migrate),
		TEST(test_open_what_is_no_database),
		TEST(test_impossible_version),
		TEST(test_values),
		TEST(test_refused),
		TEST(test_detail),
		TEST(test_foreign_keys),
		TEST(test_failed_job_leaves_nothing),
		TEST(test_fault_in_open),
		TEST(test_fault_in_job),
		TEST(test_fault_while_taking_back),
		TEST(test_short_of_memory),
		TEST(test_opens_nothing_later),
		TEST(test_disk_full),
		TEST(test_kill_inside_transaction),
		TEST(test_kill_anywhere),
		TEST(test_damaged_file),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
