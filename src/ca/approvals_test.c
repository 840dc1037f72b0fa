#include "store/testing.h"

#include "ca/approvals.h"

#define NOW 1700000000

static const struct id device = { { 7 } }, other = { { 8 } };

static struct approval approval_of(uint8_t number, int64_t asked)
{
	return (struct approval){ .device = { { number } },
		                  .token = { { number } },
		                  .name = "web01",
		                  .number = number,
		                  .group = "shop",
		                  .os = "Debian \033[2J",
		                  .arch = "x86_64",
		                  .version = "0.1",
		                  .key_hash = { number },
		                  .address = "192.0.2.7",
		                  .asked = asked };
}

struct seen {
	uint8_t numbers[8];
	size_t n;
};

static int collect(void *ctx, const struct approval *approval)
{
	struct seen *seen = ctx;
	seen->numbers[seen->n++] = approval->device.bytes[0];
	return seen->n == 5 ? -E_LIMIT : 0;
}

static int life(struct store_tx *tx, void *ctx)
{
	struct approval approval = approval_of(7, NOW), read;
	struct seen seen = { .n = 0 };
	(void)ctx;
	assert_int_equal(ca_approval_get(tx, &device, APPROVAL_NEW, &read), -E_NOT_FOUND);
	assert_int_equal(ca_approval_decide(tx, &device, APPROVAL_NEW, APPROVAL_APPROVED), -E_NOT_FOUND);
	assert_int_equal(ca_approval_add(tx, &approval), 0);
	assert_int_equal(ca_approval_get(tx, &device, APPROVAL_NEW, &read), 0);
	assert_int_equal(read.state, APPROVAL_WAITING);
	assert_true(id_equal(&read.device, &device) && id_equal(&read.token, &device));
	assert_string_equal(read.name, "web01");
	assert_int_equal(read.number, 7);
	assert_string_equal(read.group, "shop");
	assert_null(strchr(read.os, '\033'));
	assert_string_equal(read.arch, "x86_64");
	assert_string_equal(read.version, "0.1");
	assert_int_equal(read.key_hash[0], 7);
	assert_string_equal(read.address, "192.0.2.7");
	assert_int_equal(read.asked, NOW);

	approval = approval_of(8, NOW - 1);
	assert_int_equal(ca_approval_add(tx, &approval), 0);
	assert_int_equal(ca_approval_each(tx, collect, &seen), 0);
	assert_int_equal(seen.n, 2);
	assert_int_equal(seen.numbers[0], 8); /* who asked first */
	seen.n = 4;
	assert_int_equal(ca_approval_each(tx, collect, &seen), -E_LIMIT);

	assert_int_equal(ca_approval_decide(tx, &device, APPROVAL_NEW, APPROVAL_APPROVED), 0);
	assert_int_equal(ca_approval_decide(tx, &device, APPROVAL_NEW, APPROVAL_REJECTED), -E_NOT_FOUND); /* decided once */
	assert_int_equal(ca_approval_get(tx, &device, APPROVAL_NEW, &read), 0);
	assert_int_equal(read.state, APPROVAL_APPROVED);
	assert_int_equal(ca_approval_decide(tx, &other, APPROVAL_NEW, APPROVAL_REJECTED), 0);
	assert_int_equal(ca_approval_get(tx, &other, APPROVAL_NEW, &read), 0);
	assert_int_equal(read.state, APPROVAL_REJECTED);
	seen.n = 0;
	assert_int_equal(ca_approval_each(tx, collect, &seen), 0);
	assert_int_equal(seen.n, 0);

	assert_int_equal(ca_approval_prune(tx, NOW), 0); /* no enrolment knows them */
	assert_int_equal(ca_approval_get(tx, &device, APPROVAL_NEW, &read), -E_NOT_FOUND);
	return 0;
}

static int other_kinds(struct store_tx *tx, void *ctx)
{
	struct approval approval = approval_of(7, NOW), read;
	struct seen seen = { .n = 0 };
	(void)ctx;
	assert_int_equal(ca_approval_add(tx, &approval), 0);
	assert_int_equal(ca_approval_decide(tx, &device, APPROVAL_NEW, APPROVAL_APPROVED), 0);
	approval.kind = APPROVAL_COPY;
	assert_int_equal(ca_approval_add(tx, &approval), 0);
	assert_int_equal(ca_approval_decide(tx, &device, APPROVAL_RENEWAL, APPROVAL_APPROVED), -E_NOT_FOUND);
	assert_int_equal(ca_approval_decide(tx, &device, APPROVAL_COPY, APPROVAL_REJECTED), 0);
	assert_int_equal(ca_approval_add(tx, &approval), 0); /* waits again */
	assert_int_equal(ca_approval_each(tx, collect, &seen), 0);
	assert_int_equal(seen.n, 1);
	assert_int_equal(ca_approval_get(tx, &device, APPROVAL_COPY, &read), 0);
	assert_int_equal(read.kind, APPROVAL_COPY);
	assert_int_equal(read.state, APPROVAL_WAITING);
	assert_int_equal(ca_approval_get(tx, &device, APPROVAL_NEW, &read), 0);
	assert_int_equal(read.state, APPROVAL_APPROVED);
	assert_int_equal(ca_approval_prune(tx, NOW + CA_APPROVAL_SECONDS), 0);
	assert_int_equal(ca_approval_get(tx, &device, APPROVAL_COPY, &read), 0);
	assert_int_equal(ca_approval_prune(tx, NOW + CA_APPROVAL_SECONDS + 1), 0);
	assert_int_equal(ca_approval_get(tx, &device, APPROVAL_COPY, &read), -E_NOT_FOUND);
	return 0;
}

static void test_other_kinds(void **state)
{
	assert_int_equal(test_run(*state, other_kinds, NULL), 0);
}

static int twice(struct store_tx *tx, void *ctx)
{
	struct approval approval = approval_of(7, NOW);
	(void)ctx;
	assert_int_equal(ca_approval_add(tx, &approval), 0);
	return ca_approval_add(tx, &approval);
}

static int kept_with_its_enrolment(struct store_tx *tx, void *ctx)
{
	const struct join_key key = { .id = { { 1 } }, .created = NOW, .expires = NOW + 60, .uses_left = 1, .approve = true };
	struct approval approval = approval_of(7, NOW), read;
	struct enrolment enrolment;
	struct join_key found;
	(void)ctx;
	assert_int_equal(ca_join_key_add(tx, &key), 0);
	assert_int_equal(ca_join_key_get(tx, &key.id, &found), 0);
	assert_true(found.approve);
	assert_int_equal(ca_enrolment_begin(tx, &key.id, STR("web01"), 7, NOW, &enrolment), 0);
	approval.token = enrolment.token;
	assert_int_equal(ca_approval_add(tx, &approval), 0);
	assert_int_equal(ca_approval_prune(tx, NOW), 0);
	assert_int_equal(ca_approval_get(tx, &device, APPROVAL_NEW, &read), 0);
	assert_int_equal(ca_join_prune(tx, NOW + 30 * 86400), 0);
	assert_int_equal(ca_approval_prune(tx, NOW), 0);
	assert_int_equal(ca_approval_get(tx, &device, APPROVAL_NEW, &read), -E_NOT_FOUND);
	return 0;
}

static int too_many(struct store_tx *tx, void *ctx)
{
	struct approval approval = approval_of(7, NOW);
	int err = 0;
	(void)ctx;
	for (int i = 0; i <= CA_APPROVALS_WAITING && err == 0; i++) {
		memcpy(approval.device.bytes + 4, &i, sizeof i);
		err = ca_approval_add(tx, &approval);
		assert_int_equal(err, i < CA_APPROVALS_WAITING ? 0 : -E_LIMIT);
	}
	return 0;
}

static int everything(struct store_tx *tx, void *ctx)
{
	struct approval approval = approval_of(7, NOW), read;
	struct seen seen = { .n = 0 };
	(void)ctx;
	int err = ca_approval_add(tx, &approval);
	if (err == 0)
		err = ca_approval_each(tx, collect, &seen);
	if (err == 0)
		err = ca_approval_decide(tx, &device, APPROVAL_NEW, APPROVAL_APPROVED);
	if (err == 0)
		err = ca_approval_get(tx, &device, APPROVAL_NEW, &read);
	return err < 0 ? err : ca_approval_prune(tx, NOW);
}

static void test_life(void **state)
{
	assert_int_equal(test_run(*state, life, NULL), 0);
}

static void test_twice(void **state)
{
	assert_int_equal(test_run(*state, twice, NULL), -E_EXISTS);
}

static void test_kept_with_its_enrolment(void **state)
{
	assert_int_equal(test_run(*state, kept_with_its_enrolment, NULL), 0);
}

static void test_too_many(void **state)
{
	assert_int_equal(test_run(*state, too_many, NULL), 0);
}

static void test_faults_everywhere(void **state)
{
	(void)state;
	test_faults(&store_schema_server, NULL, everything, NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, test_store_setup, test_store_teardown)
	const struct CMUnitTest tests[] = { TEST(test_life),     TEST(test_other_kinds),
		                            TEST(test_twice),    TEST(test_kept_with_its_enrolment),
		                            TEST(test_too_many), TEST(test_faults_everywhere) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
