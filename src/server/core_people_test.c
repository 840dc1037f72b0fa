/* Users: added, changed, shut out; by the console and by certificate. */
#include "base/err.h"
#include "ca/records.h"
#include "os/clock.h"
#include "server/test_core.h"

/* root, proved. */
static void root(struct test_core *f, uint8_t session[32])
{
	test_login_root(f, session);
	assert_int_equal(test_step_up(f, session, "correct horse"), 0);
}

static void add(struct test_core *f, const uint8_t session[32], const char *name, const char *role, const char *group)
{
	murmesh_ConsoleUserChange request = { .has_change = true, .change = { .all_groups = !group } };
	memcpy(request.session, session, 32);
	str_copy(str_from(name), request.change.name, sizeof request.change.name);
	str_copy(str_from(role), request.change.role, sizeof request.change.role);
	if (group)
		str_copy(str_from(group), request.change.groups[request.change.groups_count++], sizeof *request.change.groups);
	assert_int_equal(test_ask(f, &rpc_Console_AddUser, &request), 0);
	assert_string_equal(f->reply.link.user.name, name);
	assert_true(str_starts(str_from(f->reply.link.login), STR("https://127.0.0.1:1/login#token=")));
}

/* The link of the last answer. */
static int follow(struct test_core *f, uint8_t session[32])
{
	struct str token;
	murmesh_LinkLogin login = { 0 };
	str_cut(str_from(f->reply.link.login), '=', &token);
	assert_int_equal(str_copy(token, login.token, sizeof login.token), 0);
	int err = test_ask(f, &rpc_Console_LoginByLink, &login);
	memcpy(session, f->reply.session.session, 32);
	return err;
}

static void test_add(void **state)
{
	struct test_core *f = *state;
	murmesh_SessionRequest me, eve;
	murmesh_ConsoleUserChange request = { .has_change = true, .change = { .name = "Eve" } };
	murmesh_SetupRequest setup = { .name = "mallory", .password = "battery staple" };
	murmesh_PasswordLogin login = { .name = "eve", .password = "battery staple" };
	test_login_root(f, me.session);
	memcpy(request.session, me.session, 32);
	assert_int_equal(test_ask(f, &rpc_Console_AddUser, &request), -E_STEP_UP);
	assert_int_equal(test_step_up(f, me.session, "correct horse"), 0);
	str_copy(STR("god"), request.change.role, sizeof request.change.role);
	assert_int_equal(test_ask(f, &rpc_Console_AddUser, &request), -E_USAGE);
	str_copy(STR("a b"), request.change.name, sizeof request.change.name);
	request.change.role[0] = 0;
	assert_int_equal(test_ask(f, &rpc_Console_AddUser, &request), -E_NAME);

	add(f, me.session, "Eve", "operator", "Web");
	assert_string_equal(f->reply.link.user.role, "operator");
	assert_string_equal(f->reply.link.user.groups[0], "web");
	assert_false(f->reply.link.user.password);
	assert_int_equal(follow(f, eve.session), 0);
	assert_true(f->reply.session.account.setup_wanted);
	assert_int_equal(f->reply.session.account.groups_count, 1);
	str_copy(STR("EVE"), request.change.name, sizeof request.change.name);
	assert_int_equal(test_ask(f, &rpc_Console_AddUser, &request), -E_EXISTS);

	/* she chooses a password, not another name */
	memcpy(setup.session, eve.session, 32);
	assert_int_equal(test_ask(f, &rpc_Console_Setup, &setup), -E_DENIED);
	setup.name[0] = 0;
	str_copy(STR("eve"), setup.password, sizeof setup.password);
	assert_int_equal(test_ask(f, &rpc_Console_Setup, &setup), -E_PASSWORD);
	str_copy(STR("battery staple"), setup.password, sizeof setup.password);
	assert_int_equal(test_ask(f, &rpc_Console_Setup, &setup), 0);
	assert_string_equal(f->reply.account.name, "Eve");
	assert_false(f->reply.account.setup_wanted);
	assert_int_equal(test_ask(f, &rpc_Console_Setup, &setup), -E_DENIED);
	assert_int_equal(test_ask(f, &rpc_Console_LoginByPassword, &login), 0);

	test_stream(f, &rpc_Console_ListUsers, &me);
	assert_int_equal(test_end_await(f), 0);
	assert_int_equal(f->n_rows, 3);
	const murmesh_User *row = (void *)f->rows[0];
	assert_string_equal(row->name, "Eve");
	assert_true(row->password);
	assert_in_range(row->last_login, clock_wall_s() - 60, clock_wall_s());
	test_stream(f, &rpc_Console_ListUsers, &eve);
	assert_int_equal(test_end_await(f), -E_DENIED);
}

static int certificate_body(struct store_tx *tx, void *ctx)
{
	struct certificate_record record = { .serial = { 1 },
		                             .kind = IDENTITY_USER,
		                             .subject = *(const struct id *)ctx,
		                             .key_hash = { 0xab },
		                             .not_before = clock_wall_s(),
		                             .not_after = clock_wall_s() + 1000 };
	return ca_certificate_add(tx, &record);
}

static int revoked_body(struct store_tx *tx, void *ctx)
{
	static const uint8_t serial[CERTIFICATE_SERIAL_SIZE] = { 1 }, key[HASH_SIZE] = { 0xab };
	return ca_certificate_is_revoked(tx, serial, key, ctx);
}

static void test_disable(void **state)
{
	struct test_core *f = *state;
	murmesh_SessionRequest me, eve;
	murmesh_ConsoleUserChange request = { .has_change = true, .change = { .disable = true } };
	murmesh_ListRequest list = { 0 };
	struct id id;
	bool revoked = false;
	root(f, me.session);
	add(f, me.session, "eve", "viewer", NULL);
	memcpy(id.bytes, f->reply.link.user.id, sizeof id.bytes);
	murmesh_UserLink link = f->reply.link;
	assert_int_equal(follow(f, eve.session), 0);
	memcpy(request.session, me.session, 32);
	memcpy(request.change.id.bytes, id.bytes, sizeof id.bytes);
	request.change.id.size = 16;
	test_directly(f, certificate_body, &id);
	test_stream_as(f, &id, &rpc_Fleet_ListDevices, &list);
	assert_int_equal(test_end_await(f), 0);
	assert_int_equal(f->n_rows, 1);
	assert_int_equal(test_ask(f, &rpc_Console_NewUserLink, &request), 0);
	link = f->reply.link;
	test_stream(f, &rpc_Console_WatchFleet, &eve);
	test_rows_await(f, 2);

	assert_int_equal(test_ask(f, &rpc_Console_ChangeUser, &request), 0);
	assert_true(f->reply.user.disabled > 0);
	assert_int_equal(test_end_await(f), -E_SESSION);
	assert_int_equal(test_ask(f, &rpc_Console_Me, &eve), -E_SESSION);
	test_directly(f, revoked_body, &revoked);
	assert_true(revoked);
	test_stream_as(f, &id, &rpc_Fleet_ListDevices, &list);
	assert_int_equal(test_end_await(f), -E_DENIED);
	f->reply.link = link;
	assert_int_equal(follow(f, eve.session), -E_LOGIN_LINK);
	assert_int_equal(test_ask(f, &rpc_Console_NewUserLink, &request), -E_DENIED);

	request.change.disable = false;
	request.change.enable = true;
	assert_int_equal(test_ask(f, &rpc_Console_ChangeUser, &request), 0);
	assert_int_equal(f->reply.user.disabled, 0);
	f->reply.link = link; /* the old one is gone all the same */
	assert_int_equal(follow(f, eve.session), -E_LOGIN_LINK);
	assert_int_equal(test_ask(f, &rpc_Console_NewUserLink, &request), 0);
	assert_int_equal(follow(f, eve.session), 0);
	revoked = false;
	test_directly(f, revoked_body, &revoked);
	assert_true(revoked);
}

static void test_last_administrator(void **state)
{
	struct test_core *f = *state;
	murmesh_SessionRequest me;
	murmesh_ConsoleUserChange request = { .has_change = true, .change = { .name = "local", .disable = true } };
	root(f, me.session);
	memcpy(request.session, me.session, 32);
	assert_int_equal(test_ask(f, &rpc_Console_ChangeUser, &request), 0); /* root is left */
	request.change = (murmesh_UserChange){ .name = "root", .disable = true };
	assert_int_equal(test_ask(f, &rpc_Console_ChangeUser, &request), -E_LAST_ADMINISTRATOR);
	request.change = (murmesh_UserChange){ .name = "root", .role = "operator" };
	assert_int_equal(test_ask(f, &rpc_Console_ChangeUser, &request), -E_LAST_ADMINISTRATOR);
	request.change = (murmesh_UserChange){ .name = "root", .set_groups = true, .groups_count = 1, .groups = { "web" } };
	assert_int_equal(test_ask(f, &rpc_Console_ChangeUser, &request), -E_LAST_ADMINISTRATOR);
	add(f, me.session, "eve", "administrator", NULL); /* who cannot log in yet */
	request.change = (murmesh_UserChange){ .name = "root", .disable = true };
	assert_int_equal(test_ask(f, &rpc_Console_ChangeUser, &request), -E_LAST_ADMINISTRATOR);
	request.change = (murmesh_UserChange){ .name = "local", .enable = true };
	assert_int_equal(test_ask(f, &rpc_Console_ChangeUser, &request), 0);
	assert_int_equal(test_ask(f, &rpc_Console_NewUserLink, &request), -E_DENIED); /* made on the server only */
	request.change = (murmesh_UserChange){ .name = "root", .role = "viewer" };
	assert_int_equal(test_ask(f, &rpc_Console_ChangeUser, &request), 0);
	assert_int_equal(test_ask(f, &rpc_Console_ChangeUser, &request), -E_DENIED);
}

/* A role that changes shows at once. */
static void test_reach_changes(void **state)
{
	struct test_core *f = *state;
	murmesh_SessionRequest me, eve;
	murmesh_ConsoleUserChange request = {
		.has_change = true, .change = { .name = "eve", .set_groups = true, .groups_count = 1, .groups = { "web" } }
	};
	root(f, me.session);
	add(f, me.session, "eve", "viewer", NULL);
	assert_int_equal(follow(f, eve.session), 0);
	memcpy(request.session, me.session, 32);
	test_stream(f, &rpc_Console_WatchFleet, &eve);
	test_rows_await(f, 2);
	assert_int_equal(test_ask(f, &rpc_Console_ChangeUser, &request), 0);
	assert_int_equal(test_end_await(f), -E_FLOW);
	test_stream(f, &rpc_Console_WatchFleet, &eve);
	test_rows_await(f, 1);
	assert_int_equal(((const murmesh_FleetEvent *)f->rows[0])->which_body, murmesh_FleetEvent_complete_tag);
	request.change.groups_count = 16;
	for (int i = 0; i < 16; i++)
		snprintf(request.change.groups[i], sizeof *request.change.groups, "group%d", i);
	assert_int_equal(test_ask(f, &rpc_Console_ChangeUser, &request), 0);
	assert_int_equal(f->reply.user.groups_count, 16);
	request.change = (murmesh_UserChange){ .name = "nobody" };
	assert_int_equal(test_ask(f, &rpc_Console_ChangeUser, &request), -E_NOT_FOUND);
}

/* The same by certificate, which needs no further proof. */
static void test_by_certificate(void **state)
{
	struct test_core *f = *state;
	murmesh_UserChange change = { .name = "eve", .role = "viewer", .all_groups = true };
	murmesh_UserName name = { .name = "eve" };
	murmesh_AuditVerify verify = { 0 };
	murmesh_AuditQuery query = { .text = "user added" };
	murmesh_RevocationsRequest follow_request = { 0 };
	struct id id, nobody = { { 9 } };
	assert_int_equal(test_ask_as(f, &nobody, &rpc_People_AddUser, &change), -E_DENIED);
	assert_int_equal(test_ask_as(f, &f->core.local_user, &rpc_People_AddUser, &change), 0);
	memcpy(id.bytes, f->reply.link.user.id, sizeof id.bytes);
	assert_int_equal(test_ask_as(f, &id, &rpc_People_AddUser, &change), -E_DENIED);
	assert_int_equal(test_ask_as(f, &f->core.local_user, &rpc_People_NewUserLink, &name), 0);
	assert_string_equal(f->reply.link.user.name, "eve");
	assert_int_equal(test_ask_as(f, &f->core.local_user, &rpc_People_VerifyAudit, &verify), 0);
	assert_int_equal(f->reply.verdict.first_bad, 0);
	test_stream_as(f, &f->core.local_user, &rpc_People_ListAudit, &query);
	assert_int_equal(test_end_await(f), 0);
	assert_int_equal(f->n_rows, 1);

	/* link hears of what is revoked; who follows later too */
	test_directly(f, certificate_body, &id);
	test_stream_as(f, &f->core.local_user, &rpc_Core_Revocations, &follow_request);
	test_rows_await(f, 1); /* that this is all */
	assert_true(((const murmesh_Revocation *)f->rows[0])->listed);
	change.disable = true;
	assert_int_equal(test_ask_as(f, &f->core.local_user, &rpc_People_ChangeUser, &change), 0);
	test_rows_await(f, 2);
	assert_int_equal(((const murmesh_Revocation *)f->rows[1])->key_hash[0], 0xab);
	rpc_call_cancel(f->stream);
	test_end_await(f);
	test_stream_as(f, &f->core.local_user, &rpc_Core_Revocations, &follow_request);
	test_rows_await(f, 2);
	assert_true(((const murmesh_Revocation *)f->rows[1])->listed);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, test_core_setup, test_core_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_add),           TEST(test_disable),        TEST(test_last_administrator),
		TEST(test_reach_changes), TEST(test_by_certificate),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
