/* Roles and groups: who may what, and where.  What somebody may not see is not there for him. */
#include "base/buf.h"
#include "base/err.h"
#include "crypto/test_mesh.h"
#include "os/clock.h"
#include "server/test_core.h"

/* Devices: web01-1 (7) in no group, 8 in "web", 9 in "db". */
enum { NOWHERE = 7, WEB = 8, DB = 9 };

static const struct person {
	const char *name;
	enum account_role role;
	bool all;
	const char *groups;
} people[] = {
	{ "viewer", ACCOUNT_VIEWER, true, "" },
	{ "web-viewer", ACCOUNT_VIEWER, false, "web" },
	{ "operator", ACCOUNT_OPERATOR, true, "" },
	{ "web-operator", ACCOUNT_OPERATOR, false, "lab web" },
	{ "administrator", ACCOUNT_ADMINISTRATOR, true, "" },
	{ "web-administrator", ACCOUNT_ADMINISTRATOR, false, "web" },
	{ "lost-administrator", ACCOUNT_ADMINISTRATOR, false, "" },
};
#define N_PEOPLE (sizeof people / sizeof *people)

struct actor {
	const struct person *person;
	struct id id;
	uint8_t session[32];
};

static bool reaches(const struct person *person, int device)
{
	return person->all || (device == WEB && *person->groups);
}

/* What is to happen: his role first, then whether it is there at all. */
static int expected(const struct actor *actor, enum account_role least, int device, int allowed)
{
	return actor->person->role < least ? -E_DENIED : !reaches(actor->person, device) ? -E_NOT_FOUND : allowed;
}

static struct actor actor_make(struct test_core *f, const struct person *person)
{
	struct actor actor = { .person = person };
	struct user user = { .role = person->role, .created = 1, .all_groups = person->all };
	user.id.bytes[0] = 0x40;
	user.id.bytes[1] = (uint8_t)(person - people);
	actor.id = user.id;
	str_copy(str_from(person->name), user.name, sizeof user.name);
	str_copy(str_from(person->groups), user.groups, sizeof user.groups);
	test_login_new(f, &user, actor.session); /* by link, which is a proof */
	return actor;
}

static void world(struct test_core *f)
{
	test_device_add(f, WEB, "shop", "web", "blue");
	test_device_add(f, DB, "store", "db", "blue");
}

static void each_person(void **state, void (*check)(struct test_core *f, const struct actor *actor))
{
	struct test_core *f = *state;
	world(f);
	for (size_t i = 0; i < N_PEOPLE; i++) {
		struct actor actor = actor_make(f, &people[i]);
		check(f, &actor);
	}
}

static void id_text(int device, char text[ID_TEXT_SIZE])
{
	const struct id id = { { (uint8_t)device } };
	id_format(&id, text);
}

/* ---- seeing ---- */

static size_t devices_of(const struct person *person)
{
	return person->all ? 3 : *person->groups ? 1 : 0;
}

static void sees(struct test_core *f, const struct actor *actor)
{
	murmesh_SessionRequest watch;
	murmesh_ListRequest list = { 0 };
	size_t n = devices_of(actor->person);
	memcpy(watch.session, actor->session, 32);
	test_stream(f, &rpc_Console_WatchFleet, &watch);
	test_rows_await(f, n + 1);
	assert_int_equal(((const murmesh_FleetEvent *)f->rows[n])->which_body, murmesh_FleetEvent_complete_tag);
	rpc_call_cancel(f->stream);
	test_end_await(f);

	test_stream_as(f, &actor->id, &rpc_Fleet_ListDevices, &list);
	assert_int_equal(test_end_await(f), 0);
	assert_int_equal(f->n_rows, n);
	str_copy(STR("tag:blue"), list.selector, sizeof list.selector);
	test_stream_as(f, &actor->id, &rpc_Fleet_ListDevices, &list);
	assert_int_equal(test_end_await(f), 0);
	assert_int_equal(f->n_rows, actor->person->all ? 2 : n);
	str_copy(STR("store"), list.selector, sizeof list.selector); /* the name of one in "db" */
	test_stream_as(f, &actor->id, &rpc_Fleet_ListDevices, &list);
	assert_int_equal(test_end_await(f), actor->person->all ? 0 : -E_NOT_FOUND);

	for (int device = NOWHERE; device <= DB; device++) {
		murmesh_DeviceRequest get = { .device = { (uint8_t)device } };
		murmesh_DeviceName name = { 0 };
		memcpy(get.session, actor->session, 32);
		id_text(device, name.selector);
		assert_int_equal(test_ask(f, &rpc_Console_GetDevice, &get), expected(actor, ACCOUNT_VIEWER, device, 0));
		assert_int_equal(test_ask(f, &rpc_Console_PingDevice, &get), expected(actor, ACCOUNT_VIEWER, device, 0));
		assert_int_equal(test_ask_as(f, &actor->id, &rpc_Fleet_GetDevice, &name),
		                 expected(actor, ACCOUNT_VIEWER, device, 0));
	}
}

static void test_seeing(void **state)
{
	each_person(state, sees);
}

static void lives(struct test_core *f, const struct actor *actor)
{
	murmesh_LiveRequest live = { 0 };
	memcpy(live.session, actor->session, 32);
	assert_int_equal(test_ask(f, &rpc_Console_WatchLive, &live), -E_BUSY); /* no viz here */
	live.device.size = 16;
	for (int device = NOWHERE; device <= DB; device++) {
		live.device.bytes[0] = (uint8_t)device;
		assert_int_equal(test_ask(f, &rpc_Console_WatchLive, &live), expected(actor, ACCOUNT_VIEWER, device, -E_BUSY));
	}
}

static void test_live(void **state)
{
	each_person(state, lives);
}

/* ---- doing ---- */

static void tunnels(struct test_core *f, const struct actor *actor)
{
	murmesh_ConsoleTunnelRequest tunnel = { .has_tunnel = true };
	murmesh_ConsoleOrderRequest order = { .has_order = true, .order = { .argv_count = 1, .argv = { "true" }, .count = 1 } };
	bool may = actor->person->role >= ACCOUNT_OPERATOR;
	memcpy(tunnel.session, actor->session, 32);
	memcpy(order.session, actor->session, 32);
	for (int device = NOWHERE; device <= DB; device++) {
		int offline = expected(actor, ACCOUNT_OPERATOR, device, -E_OFFLINE);
		tunnel.tunnel.device[0] = (uint8_t)device;
		tunnel.tunnel.rights = murmesh_Right_CONNECT;
		assert_int_equal(test_ask(f, &rpc_Console_OpenTunnel, &tunnel), offline);
		assert_int_equal(test_ask_as(f, &actor->id, &rpc_Tunnels_Open, &tunnel.tunnel), offline);
		tunnel.tunnel.rights = murmesh_Right_RUN;
		assert_int_equal(test_ask(f, &rpc_Console_OpenTunnel, &tunnel), offline);
	}
	assert_int_equal(test_ask(f, &rpc_Console_SignOrder, &order), may ? -E_BUSY : -E_DENIED); /* no ca here */
	assert_int_equal(test_ask_as(f, &actor->id, &rpc_Tunnels_Order, &order.order), may ? -E_BUSY : -E_DENIED);
	order.order.terminal = true;
	assert_int_equal(test_ask(f, &rpc_Console_SignOrder, &order), -E_USAGE);
	order.order.argv_count = 0;
	assert_int_equal(test_ask(f, &rpc_Console_SignOrder, &order), may ? -E_BUSY : -E_DENIED);
	order.order.count = 2;
	assert_int_equal(test_ask(f, &rpc_Console_SignOrder, &order), -E_USAGE);
}

static void test_tunnels(void **state)
{
	each_person(state, tunnels);
}

static void starts(struct test_core *f, const struct actor *actor)
{
	murmesh_TaskStart start = { .argv_count = 1, .argv = { "true" } };
	memcpy(start.session, actor->session, 32);
	for (int device = NOWHERE; device <= DB; device++) {
		id_text(device, start.selector);
		start.count = 1;
		assert_int_equal(test_ask(f, &rpc_Console_StartTask, &start), expected(actor, ACCOUNT_OPERATOR, device, 0));
	}
	start.selector[0] = 0;
	start.count = 3;
	int all = actor->person->all ? 0 : *actor->person->groups ? -E_CHANGED : -E_NOT_FOUND;
	assert_int_equal(test_ask(f, &rpc_Console_StartTask, &start), actor->person->role < ACCOUNT_OPERATOR ? -E_DENIED : all);
}

static void test_tasks(void **state)
{
	each_person(state, starts);
}

static void labels(struct test_core *f, const struct actor *actor)
{
	murmesh_ConsoleDeviceChange request = { .has_change = true };
	memcpy(request.session, actor->session, 32);
	for (int device = NOWHERE; device <= DB; device++) {
		murmesh_DeviceChange *change = &request.change;
		*change = (murmesh_DeviceChange){ .count = 1, .add_tags_count = 1, .add_tags = { "x" } };
		id_text(device, change->selector);
		int good = expected(actor, ACCOUNT_ADMINISTRATOR, device, 0);
		assert_int_equal(test_ask(f, &rpc_Console_ChangeDevices, &request), good);
		assert_int_equal(test_ask_as(f, &actor->id, &rpc_Fleet_ChangeDevices, change), good);
		/* not to where he has nothing to say */
		change->set_group = true;
		str_copy(STR("Lab"), change->group, sizeof change->group);
		bool denied = actor->person->role < ACCOUNT_ADMINISTRATOR || !actor->person->all;
		assert_int_equal(test_ask(f, &rpc_Console_ChangeDevices, &request), denied ? -E_DENIED : good);
		str_copy(STR(""), change->group, sizeof change->group);
		assert_int_equal(test_ask(f, &rpc_Console_ChangeDevices, &request), denied ? -E_DENIED : good);
		if (!denied && device != NOWHERE) { /* back */
			str_copy(device == WEB ? STR("web") : STR("db"), change->group, sizeof change->group);
			assert_int_equal(test_ask(f, &rpc_Console_ChangeDevices, &request), 0);
		}
	}
}

static void test_labels(void **state)
{
	each_person(state, labels);
}

static void retires(struct test_core *f, const struct actor *actor)
{
	murmesh_ConsoleDeviceChange request = { .has_change = true };
	memcpy(request.session, actor->session, 32);
	for (int device = NOWHERE; device <= DB; device++) {
		if (actor->person->role == ACCOUNT_ADMINISTRATOR && reaches(actor->person, device))
			continue;
		request.change = (murmesh_DeviceChange){ .count = 1, .retire = true };
		id_text(device, request.change.selector);
		assert_int_equal(test_ask(f, &rpc_Console_ChangeDevices, &request),
		                 expected(actor, ACCOUNT_ADMINISTRATOR, device, 0));
	}
}

static void test_retire(void **state)
{
	each_person(state, retires);
}

static void keys(struct test_core *f, const struct actor *actor)
{
	static const struct {
		const char *group;
		bool web;
	} groups[] = { { "", false }, { "web", true }, { "WEB", true }, { "db", false } };
	murmesh_ConsoleKeyRequest request = { .has_key = true };
	memcpy(request.session, actor->session, 32);
	for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
		bool may = actor->person->role == ACCOUNT_ADMINISTRATOR &&
		           (actor->person->all || (groups[i].web && *actor->person->groups));
		str_copy(str_from(groups[i].group), request.key.group, sizeof request.key.group);
		assert_int_equal(test_ask(f, &rpc_Console_NewKey, &request), may ? 0 : -E_DENIED);
		assert_int_equal(test_ask_as(f, &actor->id, &rpc_Fleet_NewKey, &request.key), may ? 0 : -E_DENIED);
	}
}

/* Keys need the mesh's root. */
static void mesh_make(struct test_core *f)
{
	struct test_mesh mesh = test_mesh_new(1);
	struct buf der;
	buf_init(&der, sizeof f->core.mesh.root.bytes);
	assert_int_equal(certificate_write(mesh.root, &der), 0);
	memcpy(f->core.mesh.root.bytes, buf_head(&der), buf_len(&der));
	f->core.mesh.root.size = (pb_size_t)buf_len(&der);
	f->core.described = true;
	buf_done(&der);
	test_mesh_done(&mesh);
}

static void test_keys(void **state)
{
	mesh_make(*state);
	each_person(state, keys);
}

/* Keys for many, or for long, need a proof. */
static void test_delicate_keys(void **state)
{
	struct test_core *f = *state;
	murmesh_ConsoleKeyRequest request = { .has_key = true };
	static const struct {
		uint32_t uses;
		uint64_t lifetime_s;
		bool delicate;
	} cases[] = { { 0, 0, false }, { 100, 30 * 86400, false }, { 101, 0, true }, { 0, 30 * 86400 + 1, true } };
	mesh_make(f);
	test_login_root(f, request.session);
	for (int proved = 0; proved < 2; proved++) {
		for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
			request.key.uses = cases[i].uses;
			request.key.lifetime_s = cases[i].lifetime_s;
			assert_int_equal(test_ask(f, &rpc_Console_NewKey, &request), cases[i].delicate && !proved ? -E_STEP_UP : 0);
			assert_int_equal(test_ask_as(f, &f->core.local_user, &rpc_Fleet_NewKey, &request.key), 0);
		}
		assert_int_equal(test_step_up(f, request.session, "correct horse"), 0);
	}
	request.key = (murmesh_KeyRequest){ .uses = 100001 };
	assert_int_equal(test_ask(f, &rpc_Console_NewKey, &request), -E_LIMIT);
	request.key = (murmesh_KeyRequest){ .group = "a b" };
	assert_int_equal(test_ask(f, &rpc_Console_NewKey, &request), -E_NAME);
}

/* ---- people: only for administrators of all groups ---- */

static void governs(struct test_core *f, const struct actor *actor)
{
	murmesh_ConsoleUserChange change = { .has_change = true, .change = { .name = "nobody" } };
	murmesh_ConsoleAuditQuery audit = { .has_query = true, .query = { .limit = 1 } };
	murmesh_SessionRequest session;
	bool may = actor->person->role == ACCOUNT_ADMINISTRATOR && actor->person->all;
	memcpy(change.session, actor->session, 32);
	memcpy(audit.session, actor->session, 32);
	memcpy(session.session, actor->session, 32);
	test_stream(f, &rpc_Console_ListUsers, &session);
	assert_int_equal(test_end_await(f), may ? 0 : -E_DENIED);
	test_stream(f, &rpc_Console_ListAudit, &audit);
	assert_int_equal(test_end_await(f), may ? 0 : -E_DENIED);
	assert_int_equal(test_ask(f, &rpc_Console_VerifyAudit, &session), may ? 0 : -E_DENIED);
	assert_int_equal(test_ask(f, &rpc_Console_ChangeUser, &change), may ? -E_NOT_FOUND : -E_DENIED);
	assert_int_equal(test_ask(f, &rpc_Console_NewUserLink, &change), may ? -E_NOT_FOUND : -E_DENIED);
	str_copy(STR("operator"), change.change.role, sizeof change.change.role);
	str_copy(STR("new"), change.change.name, sizeof change.change.name);
	assert_int_equal(test_ask(f, &rpc_Console_AddUser, &change), may ? 0 : -E_DENIED);
	/* but his own sessions are everybody's own */
	test_stream(f, &rpc_Console_ListSessions, &session);
	assert_int_equal(test_end_await(f), 0);
	assert_int_equal(f->n_rows, 1);
}

static void test_people(void **state)
{
	each_person(state, governs);
}

/* ---- who has no session, or not any more ---- */

static void test_no_session(void **state)
{
	struct test_core *f = *state;
	static const uint8_t empty[33000]; /* a session of zeros, and nothing else */
	static const struct rpc_method *const methods[] = {
		&rpc_Console_Me,          &rpc_Console_Logout,      &rpc_Console_Setup,         &rpc_Console_TotpBegin,
		&rpc_Console_TotpConfirm, &rpc_Console_GetDevice,   &rpc_Console_ChangeDevices, &rpc_Console_AddUser,
		&rpc_Console_ChangeUser,  &rpc_Console_NewUserLink, &rpc_Console_VerifyAudit,   &rpc_Console_WatchLive,
		&rpc_Console_TaskCommand, &rpc_Console_CancelTask,  &rpc_Console_EndSession,    &rpc_Console_StepUp,
		&rpc_Console_TotpForget,
	};
	static const struct rpc_method *const streams[] = {
		&rpc_Console_WatchFleet, &rpc_Console_WatchTasks, &rpc_Console_ListSessions,
		&rpc_Console_ListUsers,  &rpc_Console_ListAudit,  &rpc_Console_TaskDevices,
	};
	for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
		assert_int_equal(test_ask(f, methods[i], empty), -E_SESSION);
	for (size_t i = 0; i < sizeof streams / sizeof *streams; i++) {
		test_stream(f, streams[i], empty);
		assert_int_equal(test_end_await(f), -E_SESSION);
	}
	murmesh_ConsoleTunnelRequest tunnel = { .has_tunnel = true };
	murmesh_SessionKey key = { .key.size = 1 };
	assert_int_equal(test_ask(f, &rpc_Console_OpenTunnel, &tunnel), -E_SESSION);
	assert_int_equal(test_ask(f, &rpc_Console_UserCertificate, &key), -E_SESSION);
}

/* Link tells who calls; without a user's certificate nothing of this is for him. */
static void test_not_a_user(void **state)
{
	struct test_core *f = *state;
	static const uint8_t empty[40000];
	static const struct rpc_method *const methods[] = {
		&rpc_Fleet_GetDevice, &rpc_Fleet_ChangeDevices, &rpc_Fleet_NewKey,
		&rpc_People_AddUser,  &rpc_People_ChangeUser,   &rpc_People_NewUserLink,
		&rpc_Tunnels_Open,    &rpc_People_VerifyAudit,  &rpc_Console_Me,
	};
	struct rpc_connection *web = f->web;
	f->web = f->link; /* nobody is named */
	for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
		assert_int_equal(test_ask(f, methods[i], empty), -E_DENIED);
	f->web = web;
	assert_int_equal(test_ask(f, &rpc_Fleet_GetDevice, empty), -E_UNSUPPORTED);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, test_core_setup, test_core_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_seeing), TEST(test_live),       TEST(test_tunnels),    TEST(test_tasks),
		TEST(test_labels), TEST(test_retire),     TEST(test_keys),       TEST(test_delicate_keys),
		TEST(test_people), TEST(test_no_session), TEST(test_not_a_user),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
