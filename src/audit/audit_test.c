#include "store/testing.h"

#include "audit/audit.h"
#include "base/encode.h"

static int append(struct store_tx *tx, const char *detail)
{
	struct audit_event event = { STR("local"), STR("key.new"), STR("group a"), str_from(detail) };
	return audit_append(tx, 1700000000, &event);
}

struct seen {
	unsigned n;
	int err;
	struct audit_entry entries[16];
};

static int collect(void *ctx, const struct audit_entry *entry)
{
	struct seen *seen = ctx;
	seen->entries[seen->n++] = *entry;
	return seen->err;
}

static int verify(struct store_tx *tx, int64_t *ret_seq)
{
	struct audit_head head = { 0 };
	int err = audit_verify(tx, &head, 1000000);
	*ret_seq = head.seq;
	return err;
}

/* Computed with another implementation (hashlib of Python). */
#define FIRST_HASH  "83157c2a76f758edd1aa79cfd39daf2fef79ad1f4abc278e8952efa812500f56"
#define SECOND_HASH "c6f8be433343881d1f51addf89ff89a1ffe39628b566758e5ea3046646cd94db"

static int chain(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	int64_t seq;
	char hex[HEX_SIZE(HASH_SIZE)];
	struct seen seen = { 0 };
	assert_int_equal(verify(tx, &seq), 0);
	assert_int_equal(seq, 0);
	assert_int_equal(append(tx, "one"), 0);
	struct audit_event event = { STR(""), STR("a"), STR("b\nc"), STR("gr\303\274n \xff") };
	assert_int_equal(audit_append(tx, -1, &event), 0);
	assert_int_equal(append(tx, "three"), 0);
	assert_int_equal(verify(tx, &seq), 0);
	assert_int_equal(seq, 3);

	assert_int_equal(audit_list(tx, 0, STR(""), 10, collect, &seen), 0);
	assert_int_equal(seen.n, 3);
	assert_int_equal(seen.entries[0].seq, 3);
	assert_string_equal(seen.entries[0].detail, "three");
	assert_string_equal(seen.entries[1].object, "b\357\277\275c");
	assert_string_equal(seen.entries[1].detail, "gr\303\274n \357\277\275");
	assert_int_equal(seen.entries[1].time, -1);
	assert_int_equal(seen.entries[2].time, 1700000000);
	assert_string_equal(seen.entries[2].actor, "local");
	assert_string_equal(seen.entries[2].action, "key.new");
	hex_encode(seen.entries[2].hash, HASH_SIZE, hex);
	assert_string_equal(hex, FIRST_HASH);
	hex_encode(seen.entries[1].hash, HASH_SIZE, hex);
	assert_string_equal(hex, SECOND_HASH);
	assert_memory_equal(seen.entries[1].previous_hash, seen.entries[2].hash, HASH_SIZE);
	return 0;
}

static int limits(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	static char text[5000];
	int64_t seq;
	struct seen seen = { 0 };
	memset(text, 'x', sizeof text);
	struct str large = { text, sizeof text };
	struct audit_event event = { large, large, large, large };
	for (int i = 0; i < 5; i++)
		assert_int_equal(append(tx, "detail"), 0);
	assert_int_equal(audit_append(tx, INT64_MAX, &event), 0);
	assert_int_equal(verify(tx, &seq), 0);
	assert_int_equal(audit_list(tx, 0, STR(""), 2, collect, &seen), 0);
	assert_int_equal(seen.n, 2);
	assert_int_equal(strlen(seen.entries[0].actor), AUDIT_ACTOR_SIZE - 1);
	assert_int_equal(strlen(seen.entries[0].action), AUDIT_ACTION_SIZE - 1);
	assert_int_equal(strlen(seen.entries[0].object), AUDIT_OBJECT_SIZE - 1);
	assert_int_equal(strlen(seen.entries[0].detail), AUDIT_DETAIL_SIZE - 1);
	seen = (struct seen){ .err = -E_CANCELLED };
	assert_int_equal(audit_list(tx, 0, STR(""), 5, collect, &seen), -E_CANCELLED);
	assert_int_equal(seen.n, 1);
	seen = (struct seen){ 0 };
	assert_int_equal(audit_list(tx, 0, STR(""), 0, collect, &seen), 0);
	assert_int_equal(seen.n, 0);
	return 0;
}

static int searches(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	static const struct {
		int64_t before;
		const char *text;
		size_t n;
		int64_t newest;
	} cases[] = {
		{ 0, "", 4, 4 },        { 4, "", 3, 3 },     { 1, "", 0, 0 },      { -1, "", 4, 4 },
		{ 0, "WEB0", 2, 4 },    { 4, "web0", 1, 1 }, { 0, "local", 4, 4 }, { 0, "key.new", 4, 4 },
		{ 0, "nothing", 0, 0 }, { 0, "%", 0, 0 },    { 0, "db", 1, 2 },    { 0, "localkey", 0, 0 },
	};
	static const char *const details[] = { "Web01", "db01", "x", "web02" };
	for (size_t i = 0; i < sizeof details / sizeof *details; i++)
		assert_int_equal(append(tx, details[i]), 0);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct seen seen = { 0 };
		assert_int_equal(audit_list(tx, cases[i].before, str_from(cases[i].text), 10, collect, &seen), 0);
		assert_int_equal(seen.n, cases[i].n);
		if (seen.n)
			assert_int_equal(seen.entries[0].seq, cases[i].newest);
	}
	return 0;
}

/* The chain in pieces gives the same as at once. */
static int pieces(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	struct audit_head all = { 0 }, at = { 0 };
	for (int i = 0; i < 10; i++)
		assert_int_equal(append(tx, "detail"), 0);
	assert_int_equal(audit_verify(tx, &all, 11), 0);
	assert_int_equal(all.seq, 10);
	assert_int_equal(audit_verify(tx, &at, 4), 1);
	assert_int_equal(at.seq, 4);
	assert_int_equal(audit_verify(tx, &at, 4), 1);
	assert_int_equal(audit_verify(tx, &at, 4), 0);
	assert_memory_equal(&at, &all, sizeof at);
	/* From a head kept outside, a chain that was made anew does not follow. */
	at.seq = 5;
	assert_int_equal(audit_verify(tx, &at, 100), -E_AUDIT_CHAIN);
	assert_int_equal(at.seq, 6);
	return 0;
}

static void test_chain(void **state)
{
	assert_int_equal(test_run(*state, chain, NULL), 0);
}

static void test_limits(void **state)
{
	assert_int_equal(test_run(*state, limits, NULL), 0);
}

static void test_searches(void **state)
{
	assert_int_equal(test_run(*state, searches, NULL), 0);
}

static void test_pieces(void **state)
{
	assert_int_equal(test_run(*state, pieces, NULL), 0);
}

/* Each change is found, at the right place; then it is taken back. */
struct change {
	const char *sql;
	int64_t seq;
};

static int changed(struct store_tx *tx, void *ctx)
{
	const struct change *change = ctx;
	int64_t seq;
	int err = 0;
	for (int i = 0; err == 0 && i < 10; i++)
		err = append(tx, "detail");
	assert_int_equal(err, 0);
	assert_int_equal(verify(tx, &seq), 0);
	assert_int_equal(store_exec(store_query(tx, "PRAGMA ignore_check_constraints = ON")), 0);
	assert_int_equal(store_exec(store_query(tx, change->sql)), 0);
	assert_int_equal(verify(tx, &seq), -E_AUDIT_CHAIN);
	assert_int_equal(seq, change->seq);
	return -E_CANCELLED;
}

static void test_changes(void **state)
{
	static const struct change changes[] = {
		{ "UPDATE audit SET time = time + 1 WHERE seq = 4", 4 },
		{ "UPDATE audit SET actor = 'eve' WHERE seq = 1", 1 },
		{ "UPDATE audit SET action = 'x' WHERE seq = 10", 10 },
		{ "UPDATE audit SET object = '' WHERE seq = 5", 5 },
		{ "UPDATE audit SET detail = detail || ' ' WHERE seq = 5", 5 },
		{ "UPDATE audit SET actor = 'loca', action = 'lkey.new' WHERE seq = 5", 5 },
		{ "UPDATE audit SET detail = CAST(zeroblob(5000) AS TEXT) WHERE seq = 3", 3 },
		{ "UPDATE audit SET detail = printf('%2000s', 'x') WHERE seq = 3", 3 },
		{ "UPDATE audit SET hash = zeroblob(32) WHERE seq = 6", 6 },
		{ "UPDATE audit SET hash = x'00' WHERE seq = 6", 6 },
		{ "UPDATE audit SET previous_hash = zeroblob(32) WHERE seq = 7", 7 },
		{ "DELETE FROM audit WHERE seq = 1", 1 },
		{ "DELETE FROM audit WHERE seq = 4", 4 },
		{ "DELETE FROM audit WHERE seq BETWEEN 2 AND 9", 2 },
		{ "UPDATE audit SET seq = 11 WHERE seq = 10", 10 },
		{ "UPDATE audit SET seq = 900 WHERE seq = 3", 3 },
		{ "UPDATE audit SET seq = 0 WHERE seq = 1", 1 },
		{ "INSERT INTO audit SELECT seq - 1, time, actor, action, object, detail, previous_hash, hash FROM audit WHERE seq "
		  "= 1",
		  1 },
		{ "INSERT INTO audit SELECT seq + 1, time, actor, action, object, detail, hash, previous_hash FROM audit WHERE seq "
		  "= 10",
		  11 },
		{ "UPDATE audit SET detail = (SELECT detail || a.seq FROM audit AS a WHERE a.seq = 9) WHERE seq = 8", 8 },
	};
	for (size_t i = 0; i < sizeof changes / sizeof *changes; i++)
		assert_int_equal(test_run(*state, changed, (void *)&changes[i]), -E_CANCELLED);
}

static int one_entry(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	return append(tx, "from before");
}

static int everything(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	int64_t seq;
	struct seen seen = { 0 };
	int err = append(tx, "detail");
	if (err == 0)
		err = audit_list(tx, 0, STR(""), 10, collect, &seen);
	if (err == 0)
		err = verify(tx, &seq);
	if (err == 0)
		assert_int_equal(seq, 2);
	return err;
}

static void test_faults_everywhere(void **state)
{
	(void)state;
	test_faults(&store_schema_server, one_entry, everything, NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, test_store_setup, test_store_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_chain),    TEST(test_limits),  TEST(test_pieces),
		TEST(test_searches), TEST(test_changes), TEST(test_faults_everywhere),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
