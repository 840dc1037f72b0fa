#include "task/task.h"

#include "store/testing.h"

#define NOW 1000000

static struct task task_of(uint8_t number, int64_t started)
{
	return (struct task){ .id = { { number, (uint8_t)(started >> 8), (uint8_t)started } },
		              .user = { { 9 } },
		              .session = { 8 },
		              .user_name = "eve",
		              .title = "uname\n-a",
		              .selector = "tag:web",
		              .started = started };
}

static int begin(struct store_tx *tx, struct task *task, int devices)
{
	int err = task_begin(tx, task, "uname\0-a", 9);
	for (int i = 1; err == 0 && i <= devices; i++) {
		const struct id device = { { 0xd0, (uint8_t)(i >> 8), (uint8_t)i } };
		char name[16];
		snprintf(name, sizeof name, "web%d-1", i);
		err = task_device_add(tx, task, &device, name);
	}
	return err;
}

static struct task_device report_of(int device, enum task_state state)
{
	return (struct task_device){ .device = { { 0xd0, (uint8_t)(device >> 8), (uint8_t)device } },
		                     .state = state,
		                     .output = "a\033b" };
}

static int device_collect(void *ctx, const struct task_device *device)
{
	char *text = ctx;
	size_t len = strlen(text);
	snprintf(text + len, 256 - len, "%s %s %lld %lld %s;", device->name, task_state_name(device->state),
	         (long long)device->code, (long long)device->error, device->output);
	return 0;
}

static int task_count(void *ctx, const struct task *task)
{
	(void)task;
	++*(int *)ctx;
	return 0;
}

static int life(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	struct task task = task_of(1, NOW), got;
	struct task_device report = report_of(1, TASK_RUNNING);
	struct id unknown = { { 77 } };
	char text[256] = "", command[16];
	size_t len;
	assert_int_equal(begin(tx, &task, 3), 0);
	assert_int_equal(task_device_add(tx, &task, &report.device, "again"), -E_EXISTS);
	assert_int_equal(task_get(tx, &task.id, &got), 0);
	assert_string_equal(got.title, "uname\357\277\275-a");
	assert_int_equal(got.total, 3);
	assert_int_equal(got.open, 3);
	assert_int_equal(got.session[0], 8);
	assert_int_equal(task_command(tx, &task.id, command, sizeof command, &len), 0);
	assert_int_equal(len, 9);
	assert_memory_equal(command, "uname\0-a", 9);
	assert_int_equal(task_command(tx, &task.id, command, 8, &len), -E_CHECKSUM);
	assert_int_equal(task_command(tx, &unknown, command, sizeof command, &len), -E_NOT_FOUND);

	assert_int_equal(task_report(tx, &task.id, &report, NOW, &got), 0);
	assert_int_equal(got.open, 3);
	report = report_of(1, TASK_FAILED);
	report.code = 7;
	assert_int_equal(task_report(tx, &task.id, &report, NOW, &got), 0);
	assert_int_equal(got.failed, 1);
	assert_int_equal(task_report(tx, &task.id, &report, NOW, &got), -E_EXISTS);
	report = report_of(9, TASK_DONE);
	assert_int_equal(task_report(tx, &task.id, &report, NOW, &got), -E_NOT_FOUND);
	assert_int_equal(task_report(tx, &unknown, &report, NOW, &got), -E_NOT_FOUND);
	report = report_of(2, TASK_DONE);
	assert_int_equal(task_report(tx, &task.id, &report, NOW, &got), 0);
	assert_int_equal(got.state, TASK_RUNNING);
	report = report_of(3, TASK_DONE);
	report.error = 1028;
	assert_int_equal(task_report(tx, &task.id, &report, NOW + 5, &got), 0);
	assert_int_equal(got.state, TASK_DONE);
	assert_int_equal(got.ended, NOW + 5);
	assert_int_equal(got.done, 2);
	assert_int_equal(task_report(tx, &task.id, &report, NOW + 5, &got), -E_CANCELLED);
	assert_int_equal(task_devices(tx, &task.id, device_collect, text), 0);
	assert_string_equal(text,
	                    "web1-1 failed 7 0 a\357\277\275b;web2-1 done 0 0 a\357\277\275b;web3-1 done 0 1028 a\357\277\275b;");
	assert_int_equal(task_cancel(tx, &task.id, NOW + 9, &got), 0);
	assert_int_equal(got.state, TASK_DONE);
	assert_int_equal(got.ended, NOW + 5);
	return 0;
}

static int ends(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	struct task one = task_of(1, NOW), two = task_of(2, NOW), three = task_of(3, NOW), got;
	struct task_device report = report_of(1, TASK_DONE);
	char text[256] = "";
	assert_int_equal(begin(tx, &one, 2), 0);
	assert_int_equal(begin(tx, &two, 1), 0);
	assert_int_equal(begin(tx, &three, 1), 0);
	assert_int_equal(task_report(tx, &one.id, &report, NOW, &got), 0);
	assert_int_equal(task_report(tx, &three.id, &report, NOW, &got), 0);
	assert_int_equal(task_cancel(tx, &one.id, NOW + 1, &got), 0);
	assert_int_equal(got.state, TASK_CANCELLED);
	assert_int_equal(got.open, 0);
	assert_int_equal(got.done, 1);
	report = report_of(2, TASK_DONE);
	assert_int_equal(task_report(tx, &one.id, &report, NOW, &got), -E_CANCELLED);
	assert_int_equal(task_cancel(tx, &(struct id){ { 77 } }, NOW, &got), -E_NOT_FOUND);
	assert_int_equal(task_interrupt(tx, NULL, NOW + 2), 0);
	assert_int_equal(task_get(tx, &one.id, &got), 0);
	assert_int_equal(got.state, TASK_CANCELLED);
	assert_int_equal(task_get(tx, &two.id, &got), 0);
	assert_int_equal(got.state, TASK_INTERRUPTED);
	assert_int_equal(got.ended, NOW + 2);
	assert_int_equal(task_get(tx, &three.id, &got), 0);
	assert_int_equal(got.state, TASK_DONE);
	assert_int_equal(task_devices(tx, &one.id, device_collect, text), 0);
	assert_int_equal(task_devices(tx, &two.id, device_collect, text), 0);
	assert_string_equal(text, "web1-1 done 0 0 a\357\277\275b;web2-1 cancelled 0 0 ;web1-1 interrupted 0 0 ;");
	return 0;
}

/* Of one machine alone. */
static int interrupted(struct store_tx *tx, void *ctx)
{
	const struct id here = { 0 }, there = { { 0xe1 } };
	struct task one = task_of(1, NOW), two = task_of(2, NOW), got;
	(void)ctx;
	two.component = there;
	assert_int_equal(begin(tx, &one, 1), 0);
	assert_int_equal(begin(tx, &two, 1), 0);
	assert_int_equal(task_get(tx, &two.id, &got), 0);
	assert_true(id_equal(&got.component, &there));
	assert_int_equal(task_interrupt(tx, &there, NOW + 1), 0);
	assert_int_equal(task_get(tx, &one.id, &got), 0);
	assert_int_equal(got.state, TASK_RUNNING);
	assert_int_equal(task_get(tx, &two.id, &got), 0);
	assert_int_equal(got.state, TASK_INTERRUPTED);
	assert_int_equal(task_interrupt(tx, &here, NOW + 1), 0);
	assert_int_equal(task_get(tx, &one.id, &got), 0);
	assert_int_equal(got.state, TASK_INTERRUPTED);
	return 0;
}

static int limits(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	struct task task, got;
	int n = 0;
	static char command[TASK_COMMAND_MAX + 1];
	for (int i = 0; i < TASKS_RUNNING_MAX; i++) {
		task = task_of(1, NOW + i);
		assert_int_equal(begin(tx, &task, 1), 0);
	}
	task = task_of(1, NOW - 1);
	assert_int_equal(begin(tx, &task, 1), -E_LIMIT);
	assert_int_equal(task_cancel(tx, &(struct id){ { 1, (uint8_t)((NOW) >> 8), (uint8_t)NOW } }, NOW, &got), 0);
	assert_int_equal(task_begin(tx, &task, command, sizeof command), -E_TOO_LONG);
	assert_int_equal(task_begin(tx, &task, command, sizeof command - 1), 0);
	assert_int_equal(task_interrupt(tx, NULL, NOW), 0);

	/* the oldest make room, one by one of the newest stays */
	for (int i = 0; i < TASKS_MAX; i++) {
		task = task_of(2, NOW + i);
		assert_int_equal(begin(tx, &task, 1), 0);
		assert_int_equal(task_cancel(tx, &task.id, NOW, &got), 0);
	}
	assert_int_equal(task_list(tx, task_count, &n), 0);
	assert_in_range(n, TASKS_MAX - TASKS_RUNNING_MAX, TASKS_MAX);
	assert_int_equal(task_get(tx, &task.id, &got), 0);
	task = task_of(1, NOW - 1);
	assert_int_equal(task_get(tx, &task.id, &got), -E_NOT_FOUND);

	/* devices: of one task, and of all that are kept */
	task = task_of(3, NOW + 5000);
	assert_int_equal(begin(tx, &task, TASK_DEVICES_MAX), 0);
	assert_int_equal(task_device_add(tx, &task, &(struct id){ { 1 } }, "x"), -E_LIMIT);
	assert_int_equal(store_exec(store_query(tx, "UPDATE tasks SET total = 200000 WHERE total = 10000")), 0);
	assert_int_equal(task_begin(tx, &(struct task){ .id = { { 99 } }, .started = NOW }, "", 0), -E_LIMIT);
	assert_int_equal(task_interrupt(tx, NULL, NOW), 0);
	assert_int_equal(task_begin(tx, &(struct task){ .id = { { 99 } }, .started = NOW }, "", 0), 0);
	assert_int_equal(task_get(tx, &task.id, &got), -E_NOT_FOUND);
	return 0;
}

static int prune(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	struct task one = task_of(1, NOW), two = task_of(2, NOW), got;
	int64_t late = NOW + TASK_SECONDS + 1;
	assert_int_equal(begin(tx, &one, 1), 0);
	assert_int_equal(begin(tx, &two, 1), 0);
	assert_int_equal(task_cancel(tx, &one.id, NOW, &got), 0);
	assert_int_equal(task_prune(tx, late - 1), 0);
	assert_int_equal(task_get(tx, &one.id, &got), 0);
	assert_int_equal(task_prune(tx, late), 0);
	assert_int_equal(task_get(tx, &one.id, &got), -E_NOT_FOUND);
	assert_int_equal(task_get(tx, &two.id, &got), 0); /* it runs */
	struct store_query *query =
	        store_query(tx, "SELECT (SELECT count(*) FROM task_devices) * 10 + (SELECT count(*) FROM task_commands)");
	assert_int_equal(store_step(query), 1);
	assert_int_equal(store_integer(query, 0), 11);
	return 0;
}

static int everything(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	struct task task = task_of(1, NOW), got;
	struct task_device report = report_of(1, TASK_DONE);
	char text[256] = "", command[16];
	int n = 0;
	size_t len;
	int err = begin(tx, &task, 2);
	if (err == 0)
		err = task_report(tx, &task.id, &report, NOW, &got);
	if (err == 0)
		err = task_command(tx, &task.id, command, sizeof command, &len);
	if (err == 0)
		err = task_devices(tx, &task.id, device_collect, text);
	if (err == 0)
		err = task_cancel(tx, &task.id, NOW, &got);
	if (err == 0)
		err = task_list(tx, task_count, &n);
	return err < 0 ? err : task_prune(tx, NOW);
}

static void test_states(void **state)
{
	(void)state;
	enum task_state got;
	for (enum task_state at = TASK_WAITING; at <= TASK_INTERRUPTED; at++) {
		assert_int_equal(task_state_parse(str_from(task_state_name(at)), &got), 0);
		assert_int_equal(got, at);
	}
	assert_int_equal(task_state_parse(STR("gone"), &got), -E_NOT_FOUND);
}

#define IN_STORE(body)                                                                                                             \
	static void test_##body(void **state)                                                                                      \
	{                                                                                                                          \
		assert_int_equal(test_run(*state, body, NULL), 0);                                                                 \
	}
IN_STORE(life)
IN_STORE(ends)
IN_STORE(interrupted)
IN_STORE(limits)
IN_STORE(prune)

static void test_faults_everywhere(void **state)
{
	(void)state;
	test_faults(&store_schema_server, NULL, everything, NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, test_store_setup, test_store_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_life),
		TEST(test_ends),
		TEST(test_interrupted),
		TEST(test_limits),
		TEST(test_prune),
		cmocka_unit_test(test_states),
		cmocka_unit_test(test_faults_everywhere),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
