#include "manage/record.h"

#include "base/err.h"
#include "base/test.h"
#include "crypto/test_mesh.h"
#include "store/testing.h"

static struct test_store test;
static struct record_signer signer;
static struct key *key;

static int set_up(void **state)
{
	(void)state;
	test_store_make(&test, &store_schema_agent);
	key = key_generate();
	signer = (struct record_signer){ key, { { { 1 } }, IDENTITY_MANAGER, { { 2 } } } };
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	test_store_remove(&test);
	key = key_free(key);
	return 0;
}

static int three(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	murmesh_Order order = { .nonce = { 7 }, .user = { 8 }, .argv_count = 2, .argv = { "a", "bc" } };
	const struct audit_event event = { STR("agent"), STR("started"), STR(""), STR("") };
	assert_int_equal(record_order(tx, &signer, 100, "command started", &order), 0);
	assert_int_equal(record_end(tx, &signer, 101, "command ended", &(struct id){ { 7 } }, 3), 0);
	return record_append(tx, &signer, 102, &event);
}

struct verdict {
	struct record_signer by;
	struct audit_head head;
	int err;
};

static int verify_body(struct store_tx *tx, void *ctx)
{
	struct verdict *verdict = ctx;
	do
		verdict->err = record_verify(tx, &verdict->by, &verdict->head, 2);
	while (verdict->err == 1);
	return 0;
}

static struct verdict verify_by(const struct record_signer *by)
{
	struct verdict verdict = { .by = *by };
	assert_int_equal(test_run(&test, verify_body, &verdict), 0);
	return verdict;
}

/* The number of the first bad one. */
static int64_t bad(int err)
{
	struct verdict verdict = verify_by(&signer);
	assert_int_equal(verdict.err, err);
	return verdict.head.seq;
}

static int each(void *ctx, const struct audit_entry *entry)
{
	((struct audit_entry *)ctx)[entry->seq - 1] = *entry;
	return 0;
}

static int list_body(struct store_tx *tx, void *ctx)
{
	return audit_list(tx, 0, STR(""), 10, each, ctx);
}

static void test_written(void **state)
{
	(void)state;
	static struct audit_entry entries[3];
	struct verdict empty = verify_by(&signer);
	assert_int_equal(empty.err, 0);
	assert_int_equal(empty.head.seq, 0);
	assert_int_equal(test_run(&test, three, NULL), 0);
	struct verdict verdict = verify_by(&signer);
	assert_int_equal(verdict.err, 0);
	assert_int_equal(verdict.head.seq, 3);
	assert_int_equal(test_run(&test, list_body, entries), 0);
	assert_memory_equal(verdict.head.hash, entries[2].hash, HASH_SIZE);
	assert_string_equal(entries[0].actor, "user 08000000000000000000000000000000");
	assert_string_equal(entries[0].action, "command started");
	assert_string_equal(entries[0].object, "07000000000000000000000000000000");
	/* printf 'a\0bc\0' | sha256sum */
	assert_string_equal(entries[0].detail, "arguments aa795aa4bbb6117911ef062e271bcb05ccfd58ea439da7d46a44e3a3fcefa790");
	assert_string_equal(entries[1].detail, "exit 3");
	assert_int_equal(entries[1].time, 101);
}

static int change_body(struct store_tx *tx, void *ctx)
{
	return store_exec(store_query(tx, ctx));
}

static void change(const char *sql)
{
	union {
		const char *sql;
		void *ctx;
	} literal = { sql };
	assert_int_equal(test_run(&test, change_body, literal.ctx), 0);
}

static void test_changed(void **state)
{
	(void)state;
	assert_int_equal(test_run(&test, three, NULL), 0);
	change("UPDATE audit SET detail = 'exit 0' WHERE seq = 2");
	assert_int_equal(bad(-E_AUDIT_CHAIN), 2);
	change("UPDATE audit SET detail = 'exit 3' WHERE seq = 2");
	assert_int_equal(bad(0), 3);
	change("DELETE FROM audit_signatures WHERE seq = 3");
	assert_int_equal(bad(-E_SIGNATURE), 3);
	change("INSERT INTO audit_signatures SELECT 3, signature FROM audit_signatures WHERE seq = 2");
	assert_int_equal(bad(-E_SIGNATURE), 3);
	change("DELETE FROM audit WHERE seq = 1"); /* there was no need to make room */
	assert_true(verify_by(&signer).err == -E_AUDIT_CHAIN);
}

/* Who writes a whole new chain lacks the key; one of another device does not fit. */
static void test_other_signers(void **state)
{
	(void)state;
	struct record_signer other = signer;
	assert_int_equal(test_run(&test, three, NULL), 0);
	other.self.id.bytes[0]++;
	assert_int_equal(verify_by(&other).err, -E_SIGNATURE);
	other = signer;
	other.self.mesh.bytes[0]++;
	assert_int_equal(verify_by(&other).err, -E_SIGNATURE);
	struct key *another = key_generate();
	other = signer;
	other.key = another;
	assert_int_equal(verify_by(&other).err, -E_SIGNATURE);
	key_free(another);
}

static int many(struct store_tx *tx, void *ctx)
{
	int err = 0;
	for (int i = 0; err == 0 && i < *(int *)ctx; i++)
		err = record_end(tx, &signer, i, "command ended", &(struct id){ { 7 } }, i);
	return err;
}

static int jump_body(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	return store_exec(store_query(tx, "UPDATE audit SET seq = seq + 50990"));
}

/* Makes room, at a number that a real one reaches after years. */
static int count_body(struct store_tx *tx, void *ctx)
{
	struct store_query *query = store_query(tx, "SELECT count(*), min(seq) FROM audit");
	int64_t *ret = ctx;
	assert_int_equal(store_step(query), 1);
	ret[0] = store_integer(query, 0);
	ret[1] = store_integer(query, 1);
	return store_error(query);
}

static void test_room(void **state)
{
	(void)state;
	int64_t counted[2];
	assert_int_equal(test_run(&test, many, &(int){ 3 }), 0);
	assert_int_equal(test_run(&test, jump_body, NULL), 0); /* 50991 to 50993 */
	change("INSERT INTO audit VALUES (1000, 1, '', '', '', '', zeroblob(32), zeroblob(32))");
	change("INSERT INTO audit VALUES (1001, 1, '', '', '', '', zeroblob(32), zeroblob(32))");
	assert_int_equal(test_run(&test, many, &(int){ 7 }), 0); /* 51000 */
	assert_int_equal(test_run(&test, count_body, counted), 0);
	assert_int_equal(counted[0], 3 + 7 + 1);
	assert_int_equal(counted[1], 1001);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
		TEST(test_written),
		TEST(test_changed),
		TEST(test_other_signers),
		TEST(test_room),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
