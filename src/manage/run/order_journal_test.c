#include "store/testing.h"

#include <signal.h>
#include <sys/wait.h>

#include "manage/run/order_journal.h"

static const struct id first = { { 1 } }, second = { { 2 } }, unknown = { { 3 } };

static int setup(void **state)
{
	static struct test_store test;
	test_store_make(&test, &store_schema_agent);
	*state = &test;
	return 0;
}

static void assert_state(struct store_tx *tx, const struct id *nonce, enum order_state state)
{
	struct order order;
	assert_int_equal(order_journal_get(tx, nonce, &order), 0);
	assert_int_equal(order.state, state);
}

static int orders(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	struct order order;
	assert_int_equal(order_journal_get(tx, &first, &order), -E_NOT_FOUND);
	assert_int_equal(order_journal_start(tx, &first, 2000, 1000, STR("uname -a")), 0);
	assert_int_equal(order_journal_start(tx, &first, 9000, 1001, STR("reboot")), -E_ORDER_USED);
	assert_int_equal(order_journal_start(tx, &second, 2000, 2000, STR("late")), -E_GRANT_EXPIRED);
	assert_int_equal(order_journal_start(tx, &second, 2000, 1999, STR("echo \033[0m")), 0);
	assert_int_equal(order_journal_get(tx, &first, &order), 0);
	assert_true(id_equal(&order.nonce, &first));
	assert_int_equal(order.state, ORDER_STARTED);
	assert_int_equal(order.until, 2000);
	assert_int_equal(order.started, 1000);
	assert_string_equal(order.command, "uname -a");

	assert_int_equal(order_journal_finish(tx, &first, -9), 0);
	assert_int_equal(order_journal_finish(tx, &first, 0), -E_NOT_FOUND);
	assert_int_equal(order_journal_finish(tx, &unknown, 0), -E_NOT_FOUND);
	assert_int_equal(order_journal_get(tx, &first, &order), 0);
	assert_int_equal(order.state, ORDER_FINISHED);
	assert_int_equal(order.exit_code, -9);
	assert_int_equal(order_journal_start(tx, &first, 9000, 1001, STR("again")), -E_ORDER_USED);

	assert_int_equal(order_journal_interrupt(tx), 0);
	assert_state(tx, &first, ORDER_FINISHED);
	assert_state(tx, &second, ORDER_INTERRUPTED);
	assert_int_equal(order_journal_finish(tx, &second, 0), -E_NOT_FOUND);
	assert_int_equal(order_journal_start(tx, &second, 9000, 1001, STR("again")), -E_ORDER_USED);
	assert_int_equal(order_journal_get(tx, &second, &order), 0);
	assert_string_equal(order.command, "echo \357\277\275[0m");
	return 0;
}

static int long_command(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	static char text[100000];
	struct order order;
	memset(text, 'x', sizeof text);
	assert_int_equal(order_journal_start(tx, &unknown, 2000, 1000, (struct str){ text, sizeof text }), 0);
	assert_int_equal(order_journal_get(tx, &unknown, &order), 0);
	assert_int_equal(strlen(order.command), ORDER_COMMAND_SIZE - 1);
	assert_int_equal(store_exec(store_query(tx, "PRAGMA ignore_check_constraints = ON")), 0);
	assert_int_equal(store_exec(store_query(tx, "UPDATE orders SET state = 'other'")), 0);
	assert_int_equal(order_journal_get(tx, &unknown, &order), -E_CHECKSUM);
	return 0;
}

static int prune(struct store_tx *tx, void *ctx)
{
	const int64_t day = ORDER_KEPT_SECONDS;
	(void)ctx;
	struct order order;
	assert_int_equal(order_journal_start(tx, &first, 2000, 1000, STR("a")), 0);
	/* Without a later order nothing is forgotten, however late it is. */
	assert_int_equal(order_journal_prune(tx, 1000 * day), 0);
	assert_int_equal(order_journal_get(tx, &first, &order), 0);
	assert_int_equal(order_journal_start(tx, &second, 2001 + day, 1900 + day, STR("b")), 0);
	assert_int_equal(order_journal_prune(tx, 2000 + day), 0);
	assert_int_equal(order_journal_get(tx, &first, &order), 0);
	assert_int_equal(order_journal_prune(tx, 2001 + day), 0);
	assert_int_equal(order_journal_get(tx, &first, &order), -E_NOT_FOUND);
	assert_int_equal(order_journal_get(tx, &second, &order), 0);
	/* What was forgotten can still not be started, also when the clock was set back. */
	assert_int_equal(order_journal_start(tx, &first, 2000, 2001 + day, STR("a")), -E_GRANT_EXPIRED);
	assert_int_equal(order_journal_start(tx, &first, 2000, 1999, STR("a")), -E_GRANT_EXPIRED);
	assert_int_equal(order_journal_start(tx, &first, 2000, 1000, STR("a")), -E_GRANT_EXPIRED);
	/* A clock that went back a little is none of this. */
	assert_int_equal(order_journal_start(tx, &unknown, 3000, 2001, STR("c")), 0);
	assert_int_equal(order_journal_start(tx, &second, 2001 + day, 2001, STR("b")), -E_ORDER_USED);
	return 0;
}

/* Nor can one order keep later ones out: it would be the newest for long. */
static int far_ahead(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	assert_int_equal(order_journal_start(tx, &first, 1001 + ORDER_KEPT_SECONDS, 1000, STR("a")), -E_GRANT);
	assert_int_equal(order_journal_start(tx, &first, INT64_MAX, 1000, STR("a")), -E_GRANT);
	assert_int_equal(order_journal_start(tx, &first, 1000 + ORDER_KEPT_SECONDS, 1000, STR("a")), 0);
	return 0;
}

static void test_orders(void **state)
{
	assert_int_equal(test_run(*state, orders, NULL), 0);
	assert_int_equal(test_run(*state, long_command, NULL), 0);
}

static void test_prune(void **state)
{
	assert_int_equal(test_run(*state, prune, NULL), 0);
}

static void test_far_ahead(void **state)
{
	assert_int_equal(test_run(*state, far_ahead, NULL), 0);
}

static int start_first(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	return order_journal_start(tx, &first, 2000, 1000, STR("a"));
}

static int start_second_and_die(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	order_journal_start(tx, &second, 2000, 1000, STR("a"));
	return raise(SIGKILL);
}

static int after_kill(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	assert_int_equal(order_journal_interrupt(tx), 0);
	assert_state(tx, &first, ORDER_INTERRUPTED);
	assert_int_equal(start_first(tx, NULL), -E_ORDER_USED);
	/* Its row was not there yet, so its command had not been started. */
	assert_int_equal(order_journal_start(tx, &second, 2000, 1000, STR("a")), 0);
	return 0;
}

static void test_kill(void **state)
{
	struct test_store *test = *state;
	test->store = store_free(test->store);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (test_store_reopen(test) == 0 && test_run(test, start_first, NULL) == 0)
			test_run(test, start_second_and_die, NULL);
		_exit(99);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	assert_int_equal(test_store_reopen(test), 0);
	assert_int_equal(test_run(test, after_kill, NULL), 0);
}

static int everything(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	struct order order;
	int err = order_journal_start(tx, &first, 2000, 1000, STR("a"));
	if (err == 0)
		err = order_journal_finish(tx, &first, 3);
	if (err == 0)
		err = order_journal_interrupt(tx);
	if (err == 0)
		err = order_journal_get(tx, &first, &order);
	return err < 0 ? err : order_journal_prune(tx, 1000);
}

static void test_faults_everywhere(void **state)
{
	(void)state;
	test_faults(&store_schema_agent, NULL, everything, NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, test_store_teardown)
	const struct CMUnitTest tests[] = { TEST(test_orders), TEST(test_prune), TEST(test_far_ahead), TEST(test_kill),
		                            TEST(test_faults_everywhere) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
