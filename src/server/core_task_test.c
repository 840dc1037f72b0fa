/* Tasks as the web role carries them out, and as others see them. */
#include "base/err.h"
#include "os/clock.h"
#include "server/test_core.h"
#include "task/task.h"

#define EVENT(f, i) ((const murmesh_TaskEvent *)(f)->rows[i])

static void start(struct test_core *f, const uint8_t session[32], const char *selector, unsigned count)
{
	static murmesh_TaskStart request;
	request = (murmesh_TaskStart){ .count = count, .argv_count = 3, .argv = { "sh", "-c", "uname -a" } };
	memcpy(request.session, session, 32);
	str_copy(str_from(selector), request.selector, sizeof request.selector);
	assert_int_equal(test_ask(f, &rpc_Console_StartTask, &request), 0);
}

static const murmesh_Task *answer(struct test_core *f)
{
	return (const void *)f->reply.bytes;
}

static int report(struct test_core *f, const murmesh_TaskRequest *task, int device, const char *state)
{
	static murmesh_TaskReport request;
	request = (murmesh_TaskReport){ .has_row = true,
		                        .row = { .device = { (uint8_t)device }, .code = 3, .error = 1028, .output = "a\033" } };
	memcpy(request.session, task->session, 32);
	memcpy(request.task, task->task, 16);
	str_copy(str_from(state), request.row.state, sizeof request.row.state);
	return test_ask(f, &rpc_Console_ReportTask, &request);
}

static void test_life(void **state)
{
	struct test_core *f = *state;
	murmesh_SessionRequest me;
	murmesh_TaskRequest task;
	static murmesh_TaskStart bad;
	test_device_add(f, 8, "web02", "", "blue");
	test_login_root(f, me.session);
	memcpy(task.session, me.session, 32);
	start(f, me.session, "tag:blue", 1);
	assert_string_equal(answer(f)->state, "running");
	test_stream(f, &rpc_Console_WatchTasks, &me);
	test_rows_await(f, 2);
	assert_string_equal(EVENT(f, 0)->body.task.selector, "tag:blue");
	assert_int_equal(EVENT(f, 1)->which_body, murmesh_TaskEvent_complete_tag);

	start(f, me.session, "name:web*", 2);
	memcpy(task.task, answer(f)->id, 16);
	assert_string_equal(answer(f)->title, "sh -c uname -a");
	assert_string_equal(answer(f)->user, "root");
	assert_int_equal(answer(f)->total, 2);
	test_rows_await(f, 3);
	assert_int_equal(test_ask(f, &rpc_Console_TaskCommand, &task), 0);
	const murmesh_TaskArgv *command = (const void *)f->reply.bytes;
	assert_int_equal(command->argv_count, 3);
	assert_string_equal(command->argv[2], "uname -a");

	assert_int_equal(report(f, &task, 7, "running"), 0);
	assert_int_equal(report(f, &task, 7, "waiting"), -E_USAGE);
	assert_int_equal(report(f, &task, 7, "gone"), -E_USAGE);
	assert_int_equal(report(f, &task, 7, "failed"), 0);
	assert_int_equal(report(f, &task, 7, "done"), -E_EXISTS);
	assert_int_equal(report(f, &task, 9, "done"), -E_NOT_FOUND);
	test_rows_await(f, 4);
	assert_int_equal(EVENT(f, 3)->body.task.failed, 1);
	assert_int_equal(report(f, &task, 8, "done"), 0);
	test_rows_await(f, 5);
	assert_string_equal(EVENT(f, 4)->body.task.state, "done");
	assert_true(EVENT(f, 4)->body.task.ended > 0);
	rpc_call_cancel(f->stream);
	test_end_await(f);

	test_stream(f, &rpc_Console_TaskDevices, &task);
	assert_int_equal(test_end_await(f), 0);
	assert_int_equal(f->n_rows, 2);
	const murmesh_TaskRow *row = (const void *)f->rows[0];
	assert_string_equal(row->name, "web01-1");
	assert_string_equal(row->state, "failed");
	assert_string_equal(row->output, "a\xef\xbf\xbd");
	assert_int_equal(row->code, 3);
	assert_int_equal(row->error, 1028);

	/* again where it failed */
	bad = (murmesh_TaskStart){ .retry.size = 16 };
	memcpy(bad.session, me.session, 32);
	memcpy(bad.retry.bytes, task.task, 16);
	assert_int_equal(test_ask(f, &rpc_Console_StartTask, &bad), 0);
	assert_int_equal(answer(f)->total, 1);
	assert_string_equal(answer(f)->title, "sh -c uname -a");
	memcpy(task.task, answer(f)->id, 16);
	assert_int_equal(test_ask(f, &rpc_Console_TaskCommand, &task), 0);
	assert_string_equal(((const murmesh_TaskArgv *)f->reply.bytes)->argv[0], "sh");
	memcpy(bad.retry.bytes, task.task, 16);
	assert_int_equal(test_ask(f, &rpc_Console_StartTask, &bad), -E_RUNNING);
	bad.retry.bytes[0] ^= 1;
	assert_int_equal(test_ask(f, &rpc_Console_StartTask, &bad), -E_NOT_FOUND);
	assert_int_equal(report(f, &task, 7, "done"), 0);
	memcpy(bad.retry.bytes, task.task, 16);
	assert_int_equal(test_ask(f, &rpc_Console_StartTask, &bad), -E_NOT_FOUND); /* nowhere */

	/* what is no task */
	bad = (murmesh_TaskStart){ .selector = "", .count = 2 };
	memcpy(bad.session, me.session, 32);
	assert_int_equal(test_ask(f, &rpc_Console_StartTask, &bad), -E_USAGE);
	bad.argv_count = 1;
	assert_int_equal(test_ask(f, &rpc_Console_StartTask, &bad), -E_USAGE);
	str_copy(STR("true"), bad.argv[0], sizeof bad.argv[0]);
	bad.count = 1;
	assert_int_equal(test_ask(f, &rpc_Console_StartTask, &bad), -E_CHANGED);
	assert_string_equal(f->why, "it is 2 now, not 1");
	str_copy(STR("tag:"), bad.selector, sizeof bad.selector);
	assert_int_equal(test_ask(f, &rpc_Console_StartTask, &bad), -E_QUERY);
	assert_string_equal(f->why, "column 5: a value is missing");
	str_copy(STR("nothing"), bad.selector, sizeof bad.selector);
	assert_int_equal(test_ask(f, &rpc_Console_StartTask, &bad), -E_NOT_FOUND);
}

static void test_others(void **state)
{
	struct test_core *f = *state;
	murmesh_SessionRequest root, eve;
	murmesh_TaskRequest task;
	struct user user = { .id = { { 5 } }, .name = "eve", .role = ACCOUNT_OPERATOR, .created = 1, .all_groups = true };
	test_login_root(f, root.session);
	test_login_new(f, &user, eve.session);
	start(f, root.session, "", 1);
	memcpy(task.task, answer(f)->id, 16);

	/* another's is not there for her */
	memcpy(task.session, eve.session, 32);
	test_stream(f, &rpc_Console_WatchTasks, &eve);
	test_rows_await(f, 1);
	assert_int_equal(EVENT(f, 0)->which_body, murmesh_TaskEvent_complete_tag);
	assert_int_equal(test_ask(f, &rpc_Console_TaskCommand, &task), -E_NOT_FOUND);
	assert_int_equal(test_ask(f, &rpc_Console_CancelTask, &task), -E_NOT_FOUND);
	assert_int_equal(report(f, &task, 7, "done"), -E_NOT_FOUND);

	/* an administrator sees hers, but cannot report */
	start(f, eve.session, "", 1);
	memcpy(task.task, answer(f)->id, 16);
	test_rows_await(f, 2);
	memcpy(task.session, root.session, 32);
	assert_int_equal(test_ask(f, &rpc_Console_TaskCommand, &task), 0);
	assert_int_equal(report(f, &task, 7, "done"), -E_NOT_FOUND);
	assert_int_equal(test_ask(f, &rpc_Console_CancelTask, &task), 0);
	assert_string_equal(answer(f)->state, "cancelled");
	test_rows_await(f, 3);
	assert_string_equal(EVENT(f, 2)->body.task.state, "cancelled");
	memcpy(task.session, eve.session, 32);
	assert_int_equal(report(f, &task, 7, "done"), -E_CANCELLED);
	assert_int_equal(test_ask(f, &rpc_Console_CancelTask, &task), 0); /* once more does no harm */
}

/* What is under way goes on when its user logs out; and ends with the web role. */
static void test_ends(void **state)
{
	struct test_core *f = *state;
	murmesh_SessionRequest root, other;
	murmesh_TaskRequest task;
	murmesh_PasswordLogin login = { .name = "root", .password = "correct horse" };
	test_device_add(f, 8, "web02", "", "blue");
	test_login_root(f, root.session);
	start(f, root.session, "", 2);
	memcpy(task.task, answer(f)->id, 16);
	memcpy(task.session, root.session, 32);
	assert_int_equal(test_ask(f, &rpc_Console_Logout, &root), 0);
	assert_int_equal(report(f, &task, 7, "done"), 0);
	assert_int_equal(test_ask(f, &rpc_Console_CancelTask, &task), -E_SESSION);

	core_tasks_interrupt(&f->core, &(struct id){ 0 });
	assert_int_equal(report(f, &task, 8, "done"), -E_CANCELLED);
	assert_int_equal(test_ask(f, &rpc_Console_LoginByPassword, &login), 0);
	memcpy(other.session, f->reply.session.session, 32);
	test_stream(f, &rpc_Console_WatchTasks, &other);
	test_rows_await(f, 2);
	assert_string_equal(EVENT(f, 0)->body.task.state, "interrupted");
	assert_int_equal(EVENT(f, 0)->body.task.done, 1);
}

static int signs_body(struct store_tx *tx, void *ctx)
{
	return fleet_device_signs(tx, ctx, 1);
}

static int report_ended(struct test_core *f, const murmesh_TaskRequest *task, uint8_t device, const char *state, unsigned error,
                        bool proven)
{
	static murmesh_TaskReport request;
	request = (murmesh_TaskReport){ .has_row = true, .row = { .device = { device }, .error = error }, .proven = proven };
	memcpy(request.session, task->session, 32);
	memcpy(request.task, task->task, 16);
	str_copy(str_from(state), request.row.state, sizeof request.row.state);
	return test_ask(f, &rpc_Console_ReportTask, &request);
}

/* A device that signs is not believed what it has not signed; what did not even begin is no word of its. */
static void test_unproven(void **state)
{
	struct test_core *f = *state;
	static const struct {
		uint8_t device;
		const char *state, *becomes;
		unsigned error, error_kept;
		bool proven;
	} rows[] = {
		{ 8, "done", "done", 0, 0, false },
		{ 9, "done", "failed", 0, E_UNVERIFIED, false },
		{ 10, "done", "done", 0, 0, true },
		{ 11, "failed", "failed", 0, E_UNVERIFIED, false },
		{ 12, "failed", "failed", 1028, 1028, false },
		{ 13, "failed", "failed", 0, 0, true },
	};
	const size_t n = sizeof rows / sizeof *rows;
	murmesh_SessionRequest root;
	murmesh_TaskRequest task;
	char name[16];
	for (size_t i = 0; i < n; i++) {
		snprintf(name, sizeof name, "signer%u", rows[i].device);
		test_device_add(f, rows[i].device, name, "", "signers");
		if (i)
			test_directly(f, signs_body, &(struct id){ { rows[i].device } });
	}
	test_login_root(f, root.session);
	start(f, root.session, "tag:signers", (unsigned)n);
	memcpy(task.task, answer(f)->id, 16);
	memcpy(task.session, root.session, 32);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(report_ended(f, &task, rows[i].device, rows[i].state, rows[i].error, rows[i].proven), 0);
	test_stream(f, &rpc_Console_TaskDevices, &task);
	assert_int_equal(test_end_await(f), 0);
	assert_int_equal(f->n_rows, n);
	for (size_t i = 0; i < n; i++) {
		const murmesh_TaskRow *row = (const void *)f->rows[i];
		size_t at = row->device[0] - rows[0].device;
		assert_string_equal(row->state, rows[at].becomes);
		assert_int_equal(row->error, rows[at].error_kept);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, test_core_setup, test_core_teardown)
	const struct CMUnitTest tests[] = { TEST(test_life), TEST(test_others), TEST(test_ends), TEST(test_unproven) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
