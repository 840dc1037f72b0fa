#include "store/testing.h"

#include "ca/records.h"

#define NOW 1700000000

static const struct id key_id = { { 1 } }, device_id = { { 7 } }, other_device = { { 8 } };
static const uint8_t csr[HASH_SIZE] = { 1 }, other_csr[HASH_SIZE] = { 2 };

static void run(void **state, test_body body)
{
	assert_int_equal(test_run(*state, body, NULL), 0);
}

static struct join_key key_with(uint8_t number, int64_t uses, int64_t expires)
{
	struct join_key key = { .id = { { number } },
		                .created = NOW,
		                .expires = expires,
		                .uses_left = uses,
		                .group = "web \033",
		                .created_by = { { 5 } } };
	memset(key.secret_key, 0x77, sizeof key.secret_key);
	return key;
}

static int add_key(struct store_tx *tx, uint8_t number, int64_t uses, int64_t expires)
{
	struct join_key key = key_with(number, uses, expires);
	return ca_join_key_add(tx, &key);
}

/* Join keys */

static int join_keys(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	struct join_key key;
	struct id unknown = { { 99 } };
	assert_int_equal(add_key(tx, 1, 2, NOW + 60), 0);
	assert_int_equal(add_key(tx, 1, 1, NOW + 60), -E_EXISTS);
	assert_int_equal(add_key(tx, 2, 0, NOW + 60), -E_LIMIT);
	assert_int_equal(add_key(tx, 2, CA_USES_MAX + 1, NOW + 60), -E_LIMIT);
	assert_int_equal(ca_join_key_find(tx, &key_id, NOW, &key), 0);
	assert_true(id_equal(&key.id, &key_id));
	assert_int_equal(key.secret_key[0], 0x77);
	assert_int_equal(key.secret_key[31], 0x77);
	assert_int_equal(key.created, NOW);
	assert_int_equal(key.expires, NOW + 60);
	assert_int_equal(key.uses_left, 2);
	assert_string_equal(key.group, "web \357\277\275");
	assert_int_equal(key.created_by.bytes[0], 5);

	assert_int_equal(ca_join_key_find(tx, &unknown, NOW, &key), -E_KEY_UNKNOWN);
	assert_int_equal(ca_join_key_use(tx, &unknown, NOW), -E_KEY_UNKNOWN);
	assert_int_equal(ca_join_key_find(tx, &key_id, NOW + 59, &key), 0);
	assert_int_equal(ca_join_key_find(tx, &key_id, NOW + 60, &key), -E_KEY_EXPIRED);
	assert_int_equal(ca_join_key_use(tx, &key_id, NOW + 60), -E_KEY_EXPIRED);
	assert_int_equal(ca_join_key_use(tx, &key_id, NOW), 0);
	assert_int_equal(ca_join_key_use(tx, &key_id, NOW), 0);
	assert_int_equal(ca_join_key_use(tx, &key_id, NOW), -E_KEY_USED);
	assert_int_equal(ca_join_key_find(tx, &key_id, NOW, &key), -E_KEY_USED);
	return 0;
}

struct numbers {
	unsigned n;
	uint8_t numbers[8];
	int err;
};

static int collect(void *ctx, const struct join_key *key)
{
	struct numbers *numbers = ctx;
	numbers->numbers[numbers->n++] = key->id.bytes[0];
	return numbers->err;
}

static int list_and_prune(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	struct numbers numbers = { 0 };
	struct join_key older = key_with(3, 1, NOW + 60), key;
	struct enrolment enrolment;
	older.created = NOW - 1;
	assert_int_equal(add_key(tx, 1, 1, NOW + 3600), 0);
	assert_int_equal(add_key(tx, 2, 1, NOW - 1), 0);
	assert_int_equal(ca_join_key_add(tx, &older), 0);
	assert_int_equal(ca_enrolment_begin(tx, &older.id, STR("web01"), 1, NOW, &enrolment), 0);
	assert_int_equal(ca_join_key_list(tx, collect, &numbers), 0);
	assert_int_equal(numbers.n, 3);
	assert_memory_equal(numbers.numbers, "\3\1\2", 3);
	numbers = (struct numbers){ .err = -E_CANCELLED };
	assert_int_equal(ca_join_key_list(tx, collect, &numbers), -E_CANCELLED);
	assert_int_equal(numbers.n, 1);

	assert_int_equal(ca_join_prune(tx, NOW + 7 * 86400 - 1), 0);
	assert_int_equal(ca_join_key_find(tx, &(struct id){ { 2 } }, NOW, &key), -E_KEY_EXPIRED);
	assert_int_equal(ca_join_prune(tx, NOW + 7 * 86400), 0);
	assert_int_equal(ca_join_key_find(tx, &(struct id){ { 2 } }, NOW, &key), -E_KEY_UNKNOWN);
	assert_int_equal(ca_join_key_find(tx, &older.id, NOW, &key), 0);
	/* With its enrolments. */
	assert_int_equal(ca_join_prune(tx, NOW + 7 * 86400 + 61), 0);
	assert_int_equal(ca_join_key_find(tx, &older.id, NOW, &key), -E_KEY_UNKNOWN);
	assert_int_equal(ca_enrolment_get(tx, &enrolment.token, &enrolment), -E_NOT_FOUND);
	return 0;
}

static void test_join_keys(void **state)
{
	run(state, join_keys);
}

static void test_list_and_prune(void **state)
{
	run(state, list_and_prune);
}

/* Enrolments */

static int enrol(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	bool again;
	struct enrolment first, got, second;
	assert_int_equal(add_key(tx, 1, 1, NOW + 60), 0);
	assert_int_equal(ca_enrolment_begin(tx, &key_id, STR("web 01"), 1, NOW, &first), -E_NAME);
	assert_int_equal(ca_enrolment_begin(tx, &device_id, STR("web01"), 1, NOW, &first), -E_KEY_UNKNOWN);
	assert_int_equal(ca_enrolment_begin(tx, &key_id, STR("web01"), 1, NOW + 60, &first), -E_KEY_EXPIRED);
	assert_int_equal(ca_enrolment_begin(tx, &key_id, STR("web01"), 17, NOW, &first), 0);
	assert_int_equal(ca_enrolment_begin(tx, &key_id, STR("web01"), 18, NOW, &second), 0);
	assert_false(id_is_zero(&first.token));
	assert_false(id_equal(&first.token, &second.token));
	assert_int_equal(ca_enrolment_get(tx, &first.token, &got), 0);
	assert_memory_equal(&got, &first, sizeof got);
	assert_string_equal(got.name, "web01");
	assert_int_equal(got.number, 17);
	assert_true(id_is_zero(&got.device));

	assert_int_equal(ca_enrolment_complete(tx, &device_id, csr, &device_id, NOW, &got, &again), -E_NOT_FOUND);
	assert_int_equal(ca_enrolment_complete(tx, &first.token, csr, &device_id, NOW, &got, &again), 0);
	assert_false(again);
	assert_true(id_equal(&got.device, &device_id));
	assert_int_equal(got.number, 17);
	/* The answer was lost: the same request gets the same, also when the key is used up or has expired. */
	for (int64_t at = NOW; at <= NOW + 120; at += 60) {
		assert_int_equal(ca_enrolment_complete(tx, &first.token, csr, &other_device, at, &got, &again), 0);
		assert_true(again);
		assert_true(id_equal(&got.device, &device_id));
	}
	/* Also with a token of its own. */
	assert_int_equal(ca_enrolment_complete(tx, &second.token, csr, &other_device, NOW, &got, &again), 0);
	assert_true(again);
	assert_int_equal(got.number, 17);
	assert_true(id_equal(&got.device, &device_id));
	/* Another machine: neither with that token nor with the used key. */
	assert_int_equal(ca_enrolment_complete(tx, &first.token, other_csr, &other_device, NOW, &got, &again), -E_EXISTS);
	assert_int_equal(ca_enrolment_complete(tx, &second.token, other_csr, &other_device, NOW, &got, &again), -E_KEY_USED);
	assert_int_equal(ca_enrolment_begin(tx, &key_id, STR("web01"), 19, NOW, &second), -E_KEY_USED);
	return 0;
}

static int key_of_several_uses(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	bool again;
	struct join_key key;
	struct enrolment enrolment, got;
	struct id other_key = { { 2 } };
	assert_int_equal(add_key(tx, 1, 3, NOW + 100000), 0);
	assert_int_equal(add_key(tx, 2, 3, NOW + 100000), 0);
	assert_int_equal(ca_enrolment_begin(tx, &key_id, STR("web01"), 1, NOW, &enrolment), 0);
	assert_int_equal(ca_enrolment_complete(tx, &enrolment.token, csr, &device_id, NOW, &got, &again), 0);
	assert_int_equal(ca_enrolment_complete(tx, &enrolment.token, csr, &device_id, NOW, &got, &again), 0);
	assert_int_equal(ca_join_key_find(tx, &key_id, NOW, &key), 0);
	assert_int_equal(key.uses_left, 2);
	/* Under another key the same request is another device. */
	assert_int_equal(ca_enrolment_begin(tx, &other_key, STR("web01"), 2, NOW, &enrolment), 0);
	assert_int_equal(ca_enrolment_complete(tx, &enrolment.token, csr, &other_device, NOW, &got, &again), 0);
	assert_false(again);
	assert_true(id_equal(&got.device, &other_device));
	return 0;
}

static int late(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	bool again;
	struct enrolment one, two, got;
	assert_int_equal(add_key(tx, 1, 3, NOW + 100000), 0);
	assert_int_equal(ca_enrolment_begin(tx, &key_id, STR("web01"), 1, NOW, &one), 0);
	assert_int_equal(ca_enrolment_begin(tx, &key_id, STR("web01"), 2, NOW, &two), 0);
	assert_int_equal(ca_enrolment_complete(tx, &one.token, csr, &device_id, NOW + CA_ENROLMENT_SECONDS, &got, &again), 0);
	assert_int_equal(ca_enrolment_complete(tx, &two.token, other_csr, &device_id, NOW + CA_ENROLMENT_SECONDS + 1, &got, &again),
	                 -E_NOT_FOUND);
	/* Pending ones are forgotten, completed ones are not. */
	assert_int_equal(ca_join_prune(tx, NOW + CA_ENROLMENT_SECONDS), 0);
	assert_int_equal(ca_enrolment_get(tx, &two.token, &got), 0);
	assert_int_equal(ca_join_prune(tx, NOW + CA_ENROLMENT_SECONDS + 1), 0);
	assert_int_equal(ca_enrolment_get(tx, &two.token, &got), -E_NOT_FOUND);
	assert_int_equal(ca_enrolment_get(tx, &one.token, &got), 0);
	return 0;
}

static int too_many_pending(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	struct enrolment enrolment;
	assert_int_equal(add_key(tx, 1, 3, NOW + 100000), 0);
	assert_int_equal(
	        store_exec(store_query(tx, "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9999)"
	                                   " INSERT INTO enrolments (token, key_id, name, number, created)"
	                                   " SELECT randomblob(16), id, 'a', i, 0 FROM n, join_keys")),
	        0);
	assert_int_equal(ca_enrolment_begin(tx, &key_id, STR("web01"), 1, NOW, &enrolment), 0);
	assert_int_equal(ca_enrolment_begin(tx, &key_id, STR("web01"), 2, NOW, &enrolment), -E_LIMIT);
	return 0;
}

static void test_enrol(void **state)
{
	run(state, enrol);
}

static void test_key_of_several_uses(void **state)
{
	run(state, key_of_several_uses);
}

static void test_late(void **state)
{
	run(state, late);
}

static void test_too_many_pending(void **state)
{
	run(state, too_many_pending);
}

/* Certificates */

static struct certificate_record record_with(uint8_t serial, uint8_t subject, uint8_t key)
{
	struct certificate_record record = { .serial = { serial },
		                             .kind = IDENTITY_MANAGER,
		                             .subject = { { subject } },
		                             .key_hash = { key },
		                             .not_before = NOW,
		                             .not_after = NOW + 7 * 86400 };
	return record;
}

static int add_certificate(struct store_tx *tx, uint8_t serial, uint8_t subject, uint8_t key)
{
	struct certificate_record record = record_with(serial, subject, key);
	return ca_certificate_add(tx, &record);
}

static bool has_other_key(struct store_tx *tx, enum identity_kind kind, uint8_t subject, uint8_t key)
{
	bool answer;
	struct certificate_record record = record_with(0, subject, key);
	record.kind = kind;
	assert_int_equal(ca_certificate_has_other_key(tx, &record, &answer), 0);
	return answer;
}

static bool has_key(struct store_tx *tx, enum identity_kind kind, uint8_t subject, uint8_t key)
{
	bool answer;
	struct certificate_record record = record_with(0, subject, key);
	record.kind = kind;
	assert_int_equal(ca_certificate_has_key(tx, &record, &answer), 0);
	return answer;
}

static bool revoked(struct store_tx *tx, uint8_t serial, uint8_t key)
{
	bool answer;
	struct certificate_record record = record_with(serial, 0, key);
	assert_int_equal(ca_certificate_is_revoked(tx, record.serial, record.key_hash, &answer), 0);
	return answer;
}

static int certificates(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	assert_int_equal(add_certificate(tx, 1, 1, 11), 0);
	assert_int_equal(add_certificate(tx, 2, 1, 11), 0);
	assert_int_equal(add_certificate(tx, 3, 2, 12), 0);
	assert_int_equal(add_certificate(tx, 3, 2, 12), -E_EXISTS);
	int64_t count = 7;
	assert_int_equal(ca_certificate_count(tx, &(struct id){ { 1 } }, IDENTITY_MANAGER, NOW - 1, &count), 0);
	assert_int_equal(count, 2);
	assert_int_equal(ca_certificate_count(tx, &(struct id){ { 1 } }, IDENTITY_NODE, NOW - 1, &count), 0);
	assert_int_equal(count, 0); /* of another kind */
	assert_int_equal(ca_certificate_count(tx, &(struct id){ { 1 } }, IDENTITY_MANAGER, NOW, &count), 0);
	assert_int_equal(count, 0);
	assert_false(has_other_key(tx, IDENTITY_MANAGER, 1, 11));
	assert_true(has_other_key(tx, IDENTITY_MANAGER, 1, 12));
	assert_false(has_other_key(tx, IDENTITY_NODE, 1, 12));
	assert_false(has_other_key(tx, IDENTITY_MANAGER, 9, 12));
	assert_true(has_key(tx, IDENTITY_MANAGER, 1, 11));
	assert_false(has_key(tx, IDENTITY_MANAGER, 1, 12));
	assert_false(has_key(tx, IDENTITY_NODE, 1, 11));
	assert_false(has_key(tx, IDENTITY_MANAGER, 2, 11));
	assert_false(revoked(tx, 1, 11));
	assert_int_equal(ca_certificate_revoke(tx, &(struct id){ { 9 } }, NOW), -E_NOT_FOUND);
	assert_int_equal(ca_certificate_revoke(tx, &(struct id){ { 1 } }, NOW), 0);
	assert_int_equal(ca_certificate_revoke(tx, &(struct id){ { 1 } }, NOW), -E_NOT_FOUND);
	assert_true(revoked(tx, 1, 11));
	assert_false(has_key(tx, IDENTITY_MANAGER, 1, 11));
	assert_true(revoked(tx, 2, 11));
	assert_true(revoked(tx, 2, 99));  /* by serial alone */
	assert_true(revoked(tx, 99, 11)); /* by key alone */
	assert_false(revoked(tx, 3, 12));
	assert_false(revoked(tx, 99, 99));
	/* The key never comes back, whoever shows it. */
	assert_int_equal(add_certificate(tx, 4, 5, 11), -E_REVOKED);
	return 0;
}

static int hash_collect(void *ctx, enum identity_kind kind, const uint8_t key_hash[HASH_SIZE])
{
	assert_int_equal(kind, IDENTITY_MANAGER);
	char *hashes = ctx;
	size_t len = strlen(hashes);
	snprintf(hashes + len, 64 - len, "%u ", key_hash[0]);
	return 0;
}

static int revoked_list(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	char hashes[64] = "";
	int64_t expires = 7;
	assert_int_equal(add_certificate(tx, 1, 1, 11), 0);
	assert_int_equal(add_certificate(tx, 2, 2, 12), 0);
	assert_int_equal(add_certificate(tx, 3, 3, 13), 0);
	assert_int_equal(ca_certificate_expires(tx, &(struct id){ { 1 } }, IDENTITY_MANAGER, &expires), 0);
	assert_int_equal(expires, NOW + 7 * 86400);
	assert_int_equal(ca_certificate_revoke(tx, &(struct id){ { 1 } }, NOW), 0);
	assert_int_equal(ca_certificate_revoke(tx, &(struct id){ { 3 } }, NOW + 5), 0);
	assert_int_equal(ca_certificate_expires(tx, &(struct id){ { 1 } }, IDENTITY_MANAGER, &expires), 0);
	assert_int_equal(expires, 0);
	assert_int_equal(ca_certificate_expires(tx, &(struct id){ { 2 } }, IDENTITY_USER, &expires), 0);
	assert_int_equal(expires, 0);
	assert_int_equal(ca_certificate_each_revoked(tx, 0, NOW, hash_collect, hashes), 0);
	assert_string_equal(hashes, "11 13 ");
	hashes[0] = 0;
	assert_int_equal(ca_certificate_each_revoked(tx, NOW + 1, NOW, hash_collect, hashes), 0);
	assert_string_equal(hashes, "13 ");
	hashes[0] = 0;
	assert_int_equal(ca_certificate_each_revoked(tx, 0, NOW + 7 * 86400, hash_collect, hashes), 0);
	assert_string_equal(hashes, "");
	return 0;
}

static int prune_certificates(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	int64_t renewable_until = NOW + 7 * 86400 + CA_RENEWAL_SECONDS;
	assert_int_equal(add_certificate(tx, 1, 1, 11), 0);
	assert_int_equal(add_certificate(tx, 2, 2, 12), 0);
	assert_int_equal(ca_certificate_revoke(tx, &(struct id){ { 1 } }, NOW), 0);
	struct certificate_record user = { .serial = { 7 },
		                           .kind = IDENTITY_USER,
		                           .subject = { { 7 } },
		                           .key_hash = { 17 },
		                           .not_before = NOW,
		                           .not_after = NOW + 12 * 3600 };
	assert_int_equal(ca_certificate_add(tx, &user), 0);
	assert_int_equal(ca_certificate_prune(tx, user.not_after), 0);
	assert_int_equal(ca_certificate_add(tx, &user), -E_EXISTS);
	assert_int_equal(ca_certificate_prune(tx, user.not_after + 1), 0);
	assert_int_equal(ca_certificate_add(tx, &user), 0);
	struct certificate_record renewed = record_with(3, 2, 12);
	renewed.not_after++;
	assert_int_equal(ca_certificate_add(tx, &renewed), 0);
	assert_int_equal(ca_certificate_prune(tx, renewable_until), 0);
	assert_int_equal(add_certificate(tx, 2, 2, 12), -E_EXISTS);
	assert_int_equal(ca_certificate_prune(tx, renewable_until + 1), 0);
	assert_int_equal(add_certificate(tx, 2, 2, 12), 0);
	assert_int_equal(ca_certificate_prune(tx, renewable_until + 1000000), 0);
	assert_int_equal(ca_certificate_add(tx, &renewed), -E_EXISTS); /* the last one says what its key is */
	assert_true(revoked(tx, 1, 11));
	return 0;
}

static void test_certificates(void **state)
{
	run(state, certificates);
}

static void test_revoked_list(void **state)
{
	run(state, revoked_list);
}

static void test_prune_certificates(void **state)
{
	run(state, prune_certificates);
}

/* Faults */

static int everything(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	bool answer;
	struct numbers numbers = { 0 };
	struct enrolment enrolment;
	struct certificate_record record = record_with(1, 1, 11);
	int err = add_key(tx, 1, 1, NOW + 60);
	if (err == 0)
		err = ca_join_key_list(tx, collect, &numbers);
	if (err == 0)
		err = ca_enrolment_begin(tx, &key_id, STR("web01"), 1, NOW, &enrolment);
	for (int i = 0; err == 0 && i < 2; i++)
		err = ca_enrolment_complete(tx, &enrolment.token, csr, &device_id, NOW, &enrolment, &answer);
	if (err == 0)
		err = ca_join_prune(tx, NOW);
	if (err == 0)
		err = ca_certificate_add(tx, &record);
	if (err == 0)
		err = ca_certificate_is_revoked(tx, record.serial, record.key_hash, &answer);
	if (err == 0)
		err = ca_certificate_revoke(tx, &record.subject, NOW);
	return err < 0 ? err : ca_certificate_prune(tx, NOW);
}

static void test_faults_everywhere(void **state)
{
	(void)state;
	test_faults(&store_schema_server, NULL, everything, NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, test_store_setup, test_store_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_join_keys),    TEST(test_list_and_prune),    TEST(test_enrol),        TEST(test_key_of_several_uses),
		TEST(test_late),         TEST(test_too_many_pending),  TEST(test_certificates), TEST(test_prune_certificates),
		TEST(test_revoked_list), TEST(test_faults_everywhere),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
