#include "store/testing.h"

#include "ca/continuity.h"

static const struct id device = { { 1, 2, 3 } };

static int device_add(struct store_tx *tx)
{
	struct store_query *query =
	        store_query(tx, "INSERT INTO devices (id, name, token, os, arch, version, parent, created, last_seen, retired)"
	                        " VALUES ($1, 'a', 1, '', '', '', $1, 1, 0, 0)");
	store_bind_id(query, 1, &device);
	return store_exec(query);
}

static uint64_t next(struct store_tx *tx, uint64_t shown)
{
	uint64_t number = 0;
	bool now;
	assert_int_equal(ca_continuity_check(tx, &device, shown, 100, &now), 0);
	assert_false(now);
	assert_int_equal(ca_continuity_next(tx, &device, shown, &number), 0);
	return number;
}

static void refused(struct store_tx *tx, uint64_t shown, int err, bool freezes)
{
	bool now;
	assert_int_equal(ca_continuity_check(tx, &device, shown, 100, &now), err);
	assert_int_equal(now, freezes);
}

static int roaming(struct store_tx *tx, void *ctx)
{
	uint64_t number = 0;
	(void)ctx;
	assert_int_equal(device_add(tx), 0);
	for (int i = 0; i < 20; i++) { /* its word that a number is on disk comes, or is lost */
		number = next(tx, number);
		if (i % 3)
			assert_int_equal(ca_continuity_keep(tx, &device, number), 0);
	}
	uint64_t lost = next(tx, number); /* this welcome did not arrive, nor the next */
	assert_true(next(tx, number) > lost);
	assert_true(next(tx, number) > lost + 1);
	assert_true(next(tx, 1000) == 1001); /* the database is of an earlier day than the machine */
	refused(tx, CA_CONTINUATION_MAX + 1, -E_MESSAGE, false);
	return 0;
}

static int copies(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	assert_int_equal(device_add(tx), 0);
	assert_int_equal(ca_continuity_decide(tx, &device, CA_COPY_LET_IN), -E_NOT_FOUND); /* not frozen */
	uint64_t first = next(tx, 0), ours = next(tx, first);
	assert_int_equal(ca_continuity_keep(tx, &device, ours + 7), 0); /* never given: it counts for nothing */
	next(tx, first);
	assert_int_equal(ca_continuity_keep(tx, &device, ours), 0);
	refused(tx, first, -E_FROZEN, true);
	refused(tx, first, -E_FROZEN, false);
	refused(tx, ours, -E_FROZEN, false); /* both wait */
	assert_int_equal(ca_continuity_let_in(tx, &device, first), -E_DENIED);

	assert_int_equal(ca_continuity_decide(tx, &device, CA_COPY_SHUT_OUT), 0);
	refused(tx, first, -E_COPY_REJECTED, false);
	assert_int_equal(ca_continuity_let_in(tx, &device, first), -E_DENIED);
	ours = next(tx, ours);
	assert_int_equal(ca_continuity_keep(tx, &device, ours), 0);
	refused(tx, ours - 1, -E_FROZEN, true); /* a copy made later */

	assert_int_equal(ca_continuity_decide(tx, &device, CA_COPY_LET_IN), 0);
	refused(tx, first, -E_COPY, false);
	assert_int_equal(ca_continuity_let_in(tx, &device, ours), -E_DENIED); /* the device itself */
	assert_int_equal(ca_continuity_let_in(tx, &device, first), 0);
	assert_int_equal(ca_continuity_let_in(tx, &device, first), -E_DENIED); /* one only */
	refused(tx, first, -E_FROZEN, true);

	assert_int_equal(ca_continuity_decide(tx, &device, CA_COPY_NONE), 0);
	uint64_t restored = next(tx, first);
	assert_true(restored > ours);
	assert_int_equal(ca_continuity_keep(tx, &device, restored), 0);
	refused(tx, ours, -E_FROZEN, true); /* there were two after all */
	return 0;
}

static int unnumbered(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	assert_int_equal(device_add(tx), 0);
	assert_int_equal(ca_continuity_check_none(tx, &device), 0);
	uint64_t first = next(tx, 0);
	assert_int_equal(ca_continuity_check_none(tx, &device), -E_HAS_AGENT);
	assert_int_equal(ca_continuity_keep(tx, &device, first), 0);
	refused(tx, 0, -E_FROZEN, true);
	assert_int_equal(ca_continuity_check_none(tx, &device), -E_FROZEN);
	assert_int_equal(ca_continuity_decide(tx, &device, CA_COPY_SHUT_OUT), 0);
	assert_int_equal(ca_continuity_check_none(tx, &device), -E_HAS_AGENT); /* that copy neither */
	return 0;
}

static void test_without_numbers(void **state)
{
	assert_int_equal(test_run(*state, unnumbered, NULL), 0);
}

static void test_roaming_is_no_copy(void **state)
{
	assert_int_equal(test_run(*state, roaming, NULL), 0);
}

static void test_copies(void **state)
{
	assert_int_equal(test_run(*state, copies, NULL), 0);
}

static int faulty_prepare(struct store_tx *tx, void *ctx)
{
	uint64_t number;
	(void)ctx;
	int err = device_add(tx);
	if (err == 0)
		err = ca_continuity_next(tx, &device, 5, &number);
	return err;
}

static int faulty(struct store_tx *tx, void *ctx)
{
	uint64_t number;
	bool now;
	(void)ctx;
	int err = ca_continuity_keep(tx, &device, 6);
	if (err == 0)
		err = ca_continuity_check(tx, &device, 6, 100, &now);
	if (err == 0 && (err = ca_continuity_check_none(tx, &device)) == -E_HAS_AGENT)
		err = ca_continuity_next(tx, &device, 6, &number);
	if (err == 0 && (err = ca_continuity_check(tx, &device, 5, 100, &now)) == -E_FROZEN)
		err = ca_continuity_decide(tx, &device, CA_COPY_LET_IN);
	return err < 0 ? err : ca_continuity_let_in(tx, &device, 5);
}

static void test_faults_keep_nothing(void **state)
{
	(void)state;
	test_faults(&store_schema_server, faulty_prepare, faulty, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_roaming_is_no_copy, test_store_setup, test_store_teardown),
		cmocka_unit_test_setup_teardown(test_copies, test_store_setup, test_store_teardown),
		cmocka_unit_test_setup_teardown(test_without_numbers, test_store_setup, test_store_teardown),
		cmocka_unit_test(test_faults_keep_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
