/* The console's own business: logins, sessions, watching the fleet, the audit log. */
#include <liboath/oath.h>

#include "base/err.h"
#include "os/clock.h"
#include "server/test_core.h"

#define EVENT(f, i) ((const murmesh_FleetEvent *)(f)->rows[i])

static void test_first_login(void **state)
{
	struct test_core *f = *state;
	murmesh_SessionRequest me;
	murmesh_SetupRequest bad = { .name = "administrator", .password = "Administrator" };
	murmesh_PasswordLogin login = { .name = "ROOT", .password = "correct horse" };
	test_login_local(f, me.session);
	assert_int_equal(test_ask(f, &rpc_Console_Me, &me), 0);
	assert_true(f->reply.account.setup_wanted);
	assert_true(f->reply.account.all_groups);
	assert_true(f->reply.account.proved_until > clock_wall_s());
	assert_string_equal(f->reply.account.role, "administrator");
	memcpy(bad.session, me.session, 32);
	assert_int_equal(test_ask(f, &rpc_Console_Setup, &bad), -E_PASSWORD);
	str_copy(STR("a b"), bad.name, sizeof bad.name);
	assert_int_equal(test_ask(f, &rpc_Console_Setup, &bad), -E_NAME);
	str_copy(STR("LOCAL"), bad.name, sizeof bad.name);
	assert_int_equal(test_ask(f, &rpc_Console_Setup, &bad), -E_EXISTS);
	assert_int_equal(test_ask(f, &rpc_Console_LoginByPassword, &login), -E_LOGIN);

	test_login_root(f, me.session);
	assert_string_equal(f->reply.account.name, "root");
	assert_false(f->reply.account.setup_wanted);
	assert_int_equal(f->reply.account.proved_until, 0);
	assert_int_equal(test_ask(f, &rpc_Console_Setup, &bad), -E_DENIED); /* of local: once is enough */
	memcpy(bad.session, me.session, 32);                                /* root's now */
	assert_int_equal(test_ask(f, &rpc_Console_Setup, &bad), -E_DENIED);

	assert_int_equal(test_ask(f, &rpc_Console_LoginByPassword, &login), 0);
	assert_string_equal(f->reply.session.account.name, "root");
	memcpy(me.session, f->reply.session.session, 32);
	assert_int_equal(test_ask(f, &rpc_Console_Logout, &me), 0);
	assert_int_equal(test_ask(f, &rpc_Console_Me, &me), -E_SESSION);
	assert_int_equal(test_ask(f, &rpc_Console_Logout, &me), -E_SESSION);
	str_copy(STR("correct hors"), login.password, sizeof login.password);
	assert_int_equal(test_ask(f, &rpc_Console_LoginByPassword, &login), -E_LOGIN);
}

static void test_no_hash_role(void **state)
{
	struct test_core *f = *state;
	murmesh_PasswordLogin login = { .name = "root", .password = "correct horse" };
	f->core.hash = rpc_connection_free(f->core.hash);
	f->hash = NULL; /* without an event for it, it goes by itself */
	assert_int_equal(test_ask(f, &rpc_Console_LoginByPassword, &login), -E_BUSY);
	f->core.logins = 10;
	assert_int_equal(test_ask(f, &rpc_Console_LoginByPassword, &login), -E_BUSY);
	f->core.logins = 0;
}

static void test_step_up_and_password(void **state)
{
	struct test_core *f = *state;
	murmesh_SessionRequest one, two;
	murmesh_PasswordLogin login = { .name = "root", .password = "correct horse", .address = "192.0.2.9" };
	murmesh_PasswordChange change = { .password = "wrong", .chosen = "another horse" };
	test_login_root(f, one.session);
	assert_int_equal(test_ask(f, &rpc_Console_LoginByPassword, &login), 0);
	memcpy(two.session, f->reply.session.session, 32);
	assert_int_equal(f->reply.session.account.proved_until, 0);

	assert_int_equal(test_step_up(f, two.session, "wrong"), -E_LOGIN);
	assert_int_equal(test_step_up(f, two.session, "correct horse"), 0);
	assert_in_range(f->reply.account.proved_until, clock_wall_s() + 590, clock_wall_s() + 600);
	assert_int_equal(test_ask(f, &rpc_Console_Me, &one), 0);
	assert_int_equal(f->reply.account.proved_until, 0); /* that session only */
	assert_int_equal(test_step_up(f, (const uint8_t[32]){ 0 }, "correct horse"), -E_SESSION);

	/* a new password ends the other sessions */
	memcpy(change.session, two.session, 32);
	assert_int_equal(test_ask(f, &rpc_Console_ChangePassword, &change), -E_LOGIN);
	str_copy(STR("correct horse"), change.password, sizeof change.password);
	str_copy(STR("short"), change.chosen, sizeof change.chosen);
	assert_int_equal(test_ask(f, &rpc_Console_ChangePassword, &change), -E_PASSWORD);
	change.chosen[0] = 0;
	assert_int_equal(test_ask(f, &rpc_Console_ChangePassword, &change), -E_PASSWORD);
	str_copy(STR("another horse"), change.chosen, sizeof change.chosen);
	assert_int_equal(test_ask(f, &rpc_Console_ChangePassword, &change), 0);
	assert_string_equal(f->reply.account.name, "root");
	assert_int_equal(test_ask(f, &rpc_Console_Me, &one), -E_SESSION);
	assert_int_equal(test_ask(f, &rpc_Console_Me, &two), 0);
	assert_int_equal(test_ask(f, &rpc_Console_LoginByPassword, &login), -E_LOGIN);
	str_copy(STR("another horse"), login.password, sizeof login.password);
	assert_int_equal(test_ask(f, &rpc_Console_LoginByPassword, &login), 0);

	/* who has no password proves himself by a link */
	test_login_local(f, one.session);
	assert_int_equal(test_step_up(f, one.session, "x"), -E_DENIED);
	assert_int_equal(test_ask(f, &rpc_Console_Me, &one), 0);
	assert_true(f->reply.account.proved_until > clock_wall_s());
	assert_false(f->reply.account.setup_wanted);
}

static void test_queues_without_a_spool(void **state)
{
	struct test_core *f = *state;
	murmesh_ConsoleQueueRequest queues = { .has_queues = true };
	test_login_local(f, queues.session);
	test_stream(f, &rpc_Console_ListQueues, &queues);
	assert_int_equal(test_end_await(f), -E_SPOOL);
}

static void code_of(const murmesh_TotpSecret *secret, int64_t now, char code[7])
{
	uint8_t bytes[TOTP_SECRET_SIZE];
	assert_int_equal(base32_decode(str_from(secret->secret), bytes, sizeof bytes), sizeof bytes);
	assert_int_equal(oath_totp_generate((const char *)bytes, sizeof bytes, now, 30, 0, 6, code), 0);
}

static void test_totp(void **state)
{
	struct test_core *f = *state;
	murmesh_SessionRequest me;
	murmesh_TotpSecret secret;
	murmesh_TotpCode confirm = { .code = "000000" };
	murmesh_PasswordLogin login = { .name = "root", .password = "correct horse" };
	murmesh_StepUpRequest forget = { .password = "correct horse" };
	char code[7];
	test_login_root(f, me.session);
	memcpy(confirm.session, me.session, 32);
	memcpy(forget.session, me.session, 32);
	assert_int_equal(test_ask(f, &rpc_Console_TotpBegin, &me), 0);
	secret = f->reply.totp;
	code_of(&secret, clock_wall_s(), code);
	if (strcmp(code, "000000") != 0)
		assert_int_equal(test_ask(f, &rpc_Console_TotpConfirm, &confirm), -E_LOGIN);
	str_copy(str_from(code), confirm.code, sizeof confirm.code);
	assert_int_equal(test_ask(f, &rpc_Console_TotpConfirm, &confirm), 0);
	assert_true(f->reply.account.totp);

	/* no session without the code, and no proof */
	assert_int_equal(test_ask(f, &rpc_Console_LoginByPassword, &login), 0);
	assert_true(f->reply.session.code_wanted);
	assert_false(f->reply.session.has_account);
	assert_int_equal(test_step_up(f, me.session, "correct horse"), -E_CODE_WANTED);
	assert_int_equal(test_ask(f, &rpc_Console_TotpForget, &forget), -E_CODE_WANTED);
	str_copy(str_from(code), forget.code, sizeof forget.code); /* used up */
	assert_int_equal(test_ask(f, &rpc_Console_TotpForget, &forget), -E_LOGIN);
	code_of(&secret, clock_wall_s() + 30, code);
	str_copy(str_from(code), forget.code, sizeof forget.code);
	assert_int_equal(test_ask(f, &rpc_Console_TotpForget, &forget), 0);
	assert_false(f->reply.account.totp);
	assert_int_equal(test_ask(f, &rpc_Console_LoginByPassword, &login), 0);
	assert_true(f->reply.session.has_account);
}

static void test_sessions(void **state)
{
	struct test_core *f = *state;
	murmesh_SessionRequest one, two;
	murmesh_PasswordLogin login = { .name = "root", .password = "correct horse", .address = "192.0.2.9\n" };
	murmesh_SessionEnd end = { 0 };
	test_login_root(f, one.session);
	assert_int_equal(test_ask(f, &rpc_Console_LoginByPassword, &login), 0);
	memcpy(two.session, f->reply.session.session, 32);
	test_stream(f, &rpc_Console_WatchFleet, &two);
	test_rows_await(f, 2);
	test_stream(f, &rpc_Console_ListSessions, &one);
	assert_int_equal(test_end_await(f), 0);
	assert_int_equal(f->n_rows, 2);
	const murmesh_SessionRow *rows[] = { (void *)f->rows[0], (void *)f->rows[1] };
	assert_true(rows[0]->own != rows[1]->own);
	const murmesh_SessionRow *other = rows[rows[0]->own];
	assert_string_equal(other->address, "192.0.2.9\xef\xbf\xbd");
	memcpy(end.id, other->id, 16);
	test_login_local(f, end.session); /* not his */
	assert_int_equal(test_ask(f, &rpc_Console_EndSession, &end), -E_NOT_FOUND);
	memcpy(end.session, one.session, 32);
	assert_int_equal(test_ask(f, &rpc_Console_EndSession, &end), 0);
	assert_int_equal(test_ask(f, &rpc_Console_EndSession, &end), -E_NOT_FOUND);
	assert_int_equal(test_ask(f, &rpc_Console_Me, &two), -E_SESSION);
	while (f->core.n_watches) /* it had one */
		test_ask(f, &rpc_Console_Me, &one);
}

/* ---- watching ---- */

static void test_watch(void **state)
{
	struct test_core *f = *state;
	murmesh_SessionRequest me;
	murmesh_ConsoleDeviceChange change = {
		.has_change = true, .change = { .selector = "07000000000000000000000000000000", .count = 1, .name = "db" }
	};
	test_login_root(f, me.session);
	memcpy(change.session, me.session, 32);
	test_stream(f, &rpc_Console_WatchFleet, &me);
	test_rows_await(f, 2);
	assert_string_equal(EVENT(f, 0)->body.device.full_name, "web01-1");
	assert_false(EVENT(f, 0)->body.device.online);
	assert_int_equal(EVENT(f, 1)->which_body, murmesh_FleetEvent_complete_tag);
	assert_int_equal(EVENT(f, 1)->sequence, 2);

	assert_int_equal(test_ask(f, &rpc_Console_ChangeDevices, &change), 0);
	assert_int_equal(f->reply.changed.count, 1);
	test_rows_await(f, 3);
	assert_int_equal(EVENT(f, 2)->sequence, 3);
	assert_string_equal(EVENT(f, 2)->body.device.full_name, "db-1");

	change.change = (murmesh_DeviceChange){ .selector = "db", .count = 1, .retire = true };
	assert_int_equal(test_ask(f, &rpc_Console_ChangeDevices, &change), -E_STEP_UP);
	assert_int_equal(test_step_up(f, me.session, "correct horse"), 0);
	assert_int_equal(test_ask(f, &rpc_Console_ChangeDevices, &change), 0);
	test_rows_await(f, 4);
	assert_int_equal(EVENT(f, 3)->which_body, murmesh_FleetEvent_removed_tag);
	assert_int_equal(EVENT(f, 3)->body.removed[0], 7);
	assert_int_equal(test_ask(f, &rpc_Console_ChangeDevices, &change), -E_NOT_FOUND);

	assert_int_equal(test_ask(f, &rpc_Console_Logout, &me), 0);
	assert_int_equal(test_end_await(f), -E_SESSION);
	test_stream(f, &rpc_Console_WatchFleet, &me);
	assert_int_equal(test_end_await(f), -E_SESSION);
}

static int end_sessions(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	return store_exec(store_query(tx, "UPDATE sessions SET seen = 0"));
}

static void test_watch_ends_with_its_session(void **state)
{
	struct test_core *f = *state;
	murmesh_SessionRequest me;
	test_login_root(f, me.session);
	test_stream(f, &rpc_Console_WatchFleet, &me);
	test_rows_await(f, 2);
	core_watch_check(&f->core);
	test_directly(f, end_sessions, NULL);
	assert_false(f->over);
	core_watch_check(&f->core);
	assert_int_equal(test_end_await(f), -E_SESSION);
}

/* Nobody reads while the changes come. */
static void test_slow_watch(void **state)
{
	struct test_core *f = *state;
	murmesh_SessionRequest me;
	const struct device device = { .id = { { 9 } }, .name = "x", .token = 1 };
	test_login_root(f, me.session);
	test_stream(f, &rpc_Console_WatchFleet, &me);
	test_rows_await(f, 2);
	for (int i = 0; i < 100000 && !list_empty(&f->core.watches); i++)
		core_watch_device(&f->core, &device, NULL);
	assert_true(list_empty(&f->core.watches));
	f->wanted = 0;
	assert_int_equal(test_end_await(f), -E_FLOW);
}

/* ---- a database that does nothing ---- */

struct gate {
	struct store_job job;
	struct io_loop *loop;
	int ends[2];
};

static int gate_run(struct store_tx *tx, struct store_job *job)
{
	char c;
	(void)tx;
	return read(((struct gate *)job)->ends[0], &c, 1) == 1 ? 0 : -E_CLOSED;
}

static void gate_done(struct store_job *job, int err)
{
	assert_int_equal(err, 0);
	io_loop_stop(((struct gate *)job)->loop);
}

static void gate_open(struct gate *gate)
{
	assert_int_equal(write(gate->ends[1], "x", 1), 1);
}

static void on_nobody_answered(void *ctx)
{
	gate_open(ctx);
	fail_msg("nobody answered");
}

static void nothing(void *ctx)
{
	(void)ctx;
}

/* Who waits for it is refused after a while; who comes then is refused at once, and is not left to the timer that refuses who waits. */
static void test_slow_database(void **state)
{
	struct test_core *f = *state;
	murmesh_SessionRequest me;
	murmesh_PasswordLogin login = { .name = "root", .password = "correct horse" };
	struct gate gate = { .job.run = gate_run, .job.done = gate_done, .loop = f->core.loop };
	struct io_timer *watchdog = io_timer_new(f->core.loop, on_nobody_answered, &gate);
	assert_int_equal(pipe(gate.ends), 0);
	test_login_root(f, me.session);
	io_timer_start(watchdog, 60000, 0);
	assert_int_equal(store_submit(f->core.store, &gate.job), 0);
	assert_int_equal(test_ask(f, &rpc_Console_Me, &me), -E_BUSY);
	io_timer_free(f->core.patience);
	f->core.patience = io_timer_new(f->core.loop, nothing, NULL);
	assert_int_equal(test_ask(f, &rpc_Console_Me, &me), -E_BUSY);
	assert_string_equal(f->why, "the database is slow at the moment");
	assert_int_equal(test_ask(f, &rpc_Console_LoginByPassword, &login), -E_BUSY);
	gate_open(&gate);
	io_loop_run(f->core.loop);
	assert_int_equal(test_ask(f, &rpc_Console_Me, &me), 0);
	io_timer_free(watchdog);
	close(gate.ends[0]);
	close(gate.ends[1]);
}

/* ---- the audit log ---- */

static int damage(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	return store_exec(store_query(tx, "UPDATE audit SET object = 'x' WHERE seq = 3"));
}

static int many_audits(struct store_tx *tx, void *ctx)
{
	int err = 0;
	(void)ctx;
	for (int i = 0; i < 5100 && err == 0; i++) /* more than one piece */
		err = core_audit(tx, "test", "counted", "many", "");
	return err;
}

static void test_audit(void **state)
{
	struct test_core *f = *state;
	murmesh_ConsoleAuditQuery audit = { .has_query = true };
	murmesh_PasswordLogin login = { .name = "nobody", .password = "x" };
	murmesh_LinkLogin link = { .token = "x" };
	murmesh_SessionRequest me;
	test_login_root(f, audit.session);
	memcpy(me.session, audit.session, 32);
	f->core.bad_logins_since = 0;
	for (int i = 0; i < 40; i++)
		assert_int_equal(test_ask(f, &rpc_Console_LoginByLink, &link), -E_LOGIN_LINK);
	assert_int_equal(test_ask(f, &rpc_Console_LoginByPassword, &login), -E_LOGIN);
	test_stream(f, &rpc_Console_ListAudit, &audit);
	assert_int_equal(test_end_await(f), 0);
	/* login, setup, and of the failures at most 30 a minute */
	assert_in_range(f->n_rows, 31, 43);
	audit.query.limit = 2;
	test_stream(f, &rpc_Console_ListAudit, &audit);
	assert_int_equal(test_end_await(f), 0);
	assert_int_equal(f->n_rows, 2);
	audit.query = (murmesh_AuditQuery){ .text = "ROOT" };
	test_stream(f, &rpc_Console_ListAudit, &audit);
	assert_int_equal(test_end_await(f), 0);
	assert_int_equal(f->n_rows, 1);
	const murmesh_AuditRow *row = (void *)f->rows[0];
	assert_string_equal(row->action, "administrator made");
	int64_t sequence = row->sequence;
	audit.query = (murmesh_AuditQuery){ .before = sequence };
	test_stream(f, &rpc_Console_ListAudit, &audit);
	assert_int_equal(test_end_await(f), 0);
	assert_int_equal(f->n_rows, sequence - 1);

	test_directly(f, many_audits, NULL);
	assert_int_equal(test_ask(f, &rpc_Console_VerifyAudit, &me), 0);
	assert_in_range(f->reply.verdict.records, 5131, 5150);
	assert_int_equal(f->reply.verdict.first_bad, 0);
	test_directly(f, damage, NULL);
	assert_int_equal(test_ask(f, &rpc_Console_VerifyAudit, &me), 0);
	assert_int_equal(f->reply.verdict.first_bad, 3);
	assert_int_equal(f->reply.verdict.records, 2);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, test_core_setup, test_core_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_first_login),
		TEST(test_no_hash_role),
		TEST(test_step_up_and_password),
		TEST(test_queues_without_a_spool),
		TEST(test_totp),
		TEST(test_sessions),
		TEST(test_watch),
		TEST(test_watch_ends_with_its_session),
		TEST(test_slow_watch),
		TEST(test_slow_database),
		TEST(test_audit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
