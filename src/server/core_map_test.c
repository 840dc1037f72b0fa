/* Tunnels as people see and end them; the test is the relay that tells of them. */
#include <errno.h>

#include "base/err.h"
#include "os/clock.h"
#include "server/pair.h"
#include "server/test_core.h"

#define MAP(f, i)   ((const murmesh_Map *)(f)->rows[i])
#define EVENT(f, i) ((const murmesh_MapEvent *)(f)->rows[i])

static const struct id here;

static struct user user_of(uint8_t number, const char *name, enum account_role role, const char *groups)
{
	struct user user = { .id = { { number } }, .role = role, .created = 1, .all_groups = !groups[0] };
	str_copy(str_from(name), user.name, sizeof user.name);
	str_copy(str_from(groups), user.groups, sizeof user.groups);
	return user;
}

static int user_body(struct store_tx *tx, void *ctx)
{
	return account_add(tx, ctx);
}

/* web01 (7) is in no group, db (8) in shop; eve operates shop, bob everything; vic looks on. */
static struct user eve, bob, vic;

static void world_make(struct test_core *f)
{
	eve = user_of(5, "eve", ACCOUNT_OPERATOR, "shop");
	bob = user_of(6, "bob", ACCOUNT_OPERATOR, "");
	vic = user_of(9, "vic", ACCOUNT_VIEWER, "");
	test_core_roles(f);
	test_directly(f, user_body, &eve);
	test_directly(f, user_body, &bob);
	test_directly(f, user_body, &vic);
	test_device_add(f, 8, "db", "shop", "");
	core_pairs_follow(&f->core);
	while (!f->told.pairs)
		io_loop_run(f->core.loop);
}

/* The name of its pair; *ret_ended_by where that is wanted. */
static int tunnel_open(struct test_core *f, const struct user *user, uint8_t device, struct id *ret_name, char *ret_ended_by)
{
	murmesh_TunnelRequest request = { .device = { device }, .rights = murmesh_Right_CONNECT, .targets_count = 2 };
	str_copy(STR(":80"), request.targets[0], sizeof request.targets[0]);
	str_copy(STR("10.0.0.1:22"), request.targets[1], sizeof request.targets[1]);
	int err = test_ask_as(f, &user->id, &rpc_Tunnels_Open, &request);
	const murmesh_Tunnel *tunnel = (const void *)f->reply.bytes;
	memcpy(ret_name->bytes, tunnel->pair, sizeof ret_name->bytes);
	if (ret_ended_by)
		str_copy(str_from(tunnel->ended_by), ret_ended_by, 64);
	return err;
}

static void report_set(murmesh_PairReports *reports, const struct id *name, uint64_t sent, uint64_t received)
{
	murmesh_PairReport *report = &reports->pairs[reports->pairs_count++];
	*report = (murmesh_PairReport){ .from_client = sent, .from_agent = received };
	memcpy(report->pair, name->bytes, sizeof report->pair);
}

/* The relay tells, and core has heard it. */
static void tell(struct test_core *f, const murmesh_PairReports *reports)
{
	murmesh_AuditVerify verify = { 0 };
	assert_int_equal(rpc_call_send(f->told.pairs, reports), 0);
	for (int i = 0; i < 3; i++)
		test_ask_as(f, &f->core.local_user, &rpc_People_VerifyAudit, &verify);
}

static void tell_moved(struct test_core *f, const struct id *name, uint64_t sent, uint64_t received)
{
	murmesh_PairReports reports = murmesh_PairReports_init_zero;
	report_set(&reports, name, sent, received);
	tell(f, &reports);
}

static void tell_ended(struct test_core *f, const struct id *name, uint32_t error)
{
	murmesh_PairReports reports = murmesh_PairReports_init_zero;
	report_set(&reports, name, 0, 0);
	reports.pairs[0].ended = true;
	reports.pairs[0].error = error;
	tell(f, &reports);
}

/* How many he sees; they are in f->rows. */
static size_t listed(struct test_core *f, const struct id *user)
{
	const murmesh_MapList request = murmesh_MapList_init_zero;
	test_stream_as(f, user, &rpc_Tunnels_List, &request);
	assert_int_equal(test_end_await(f), 0);
	return f->n_rows;
}

static int map_end(struct test_core *f, const struct user *user, const struct id *name)
{
	murmesh_MapName request;
	memcpy(request.id, name->bytes, sizeof request.id);
	return test_ask_as(f, &user->id, &rpc_Tunnels_End, &request);
}

/* ---- open ones ---- */

static void test_who_sees_what(void **state)
{
	struct test_core *f = *state;
	struct id of_eve, of_bob, other = { { 0x66 } };
	murmesh_PairReports reports = { .begins = true, .whole = true };
	const murmesh_MapList list = murmesh_MapList_init_zero;
	world_make(f);
	test_device_link(f, 7);
	test_device_link(f, 8);
	assert_int_equal(tunnel_open(f, &eve, 8, &of_eve, NULL), 0);
	assert_int_equal(tunnel_open(f, &bob, 7, &of_bob, NULL), 0);
	assert_int_equal(listed(f, &bob.id), 0); /* nobody has come yet */
	report_set(&reports, &of_eve, 5, 7);
	report_set(&reports, &other, 1, 1);
	tell(f, &reports);
	tell_moved(f, &of_bob, 0, 0);

	assert_int_equal(listed(f, &f->core.local_user), 2);
	assert_int_equal(listed(f, &bob.id), 2);
	assert_string_equal(MAP(f, 0)->user, "eve");
	assert_string_equal(MAP(f, 0)->full_name, "db-1");
	assert_string_equal(MAP(f, 0)->target, "localhost:80 10.0.0.1:22");
	assert_memory_equal(MAP(f, 0)->id, of_eve.bytes, 16);
	assert_int_equal(MAP(f, 0)->device[0], 8);
	assert_int_equal(MAP(f, 0)->sent, 5);
	assert_int_equal(MAP(f, 0)->received, 7);
	assert_int_equal(MAP(f, 0)->path_count, 1);
	assert_string_equal(MAP(f, 0)->path[0], "server");
	assert_in_range(MAP(f, 0)->since, clock_wall_s() - 60, clock_wall_s());
	assert_int_equal(MAP(f, 0)->ended, 0);
	assert_string_equal(MAP(f, 1)->user, "bob");
	assert_int_equal(listed(f, &eve.id), 1);
	assert_string_equal(MAP(f, 0)->user, "eve");
	test_stream_as(f, &vic.id, &rpc_Tunnels_List, &list);
	assert_int_equal(test_end_await(f), -E_DENIED);

	/* of relays that it does not meet at nobody tells */
	reports = (murmesh_PairReports)murmesh_PairReports_init_zero;
	report_set(&reports, &of_eve, 100, 100);
	reports.pairs[0].ended = true;
	core_pairs_reports(&f->core, &other, &reports);
	core_pairs_lost(&f->core, &other);
	assert_int_equal(listed(f, &eve.id), 1);
	assert_int_equal(MAP(f, 0)->sent, 5);

	tell_ended(f, &of_eve, 0);
	assert_int_equal(listed(f, &eve.id), 0);
	tell_ended(f, &of_bob, ECONNRESET); /* one of its ends had enough */
	assert_int_equal(listed(f, &bob.id), 0);
}

/* Of the user himself, and of a device that goes out of his reach or comes into it. */
static void test_another_group(void **state)
{
	struct test_core *f = *state;
	struct id of_eve, of_bob;
	murmesh_DeviceChange renamed = { .selector = "db", .count = 1, .name = "db2" };
	murmesh_DeviceChange moved = { .selector = "db2", .count = 1, .set_group = true, .group = "lab" };
	world_make(f);
	test_device_link(f, 8);
	assert_int_equal(tunnel_open(f, &eve, 8, &of_eve, NULL), 0);
	assert_int_equal(tunnel_open(f, &bob, 8, &of_bob, NULL), 0);
	tell_moved(f, &of_eve, 0, 0);
	tell_moved(f, &of_bob, 0, 0);
	assert_int_equal(listed(f, &eve.id), 2);
	assert_int_equal(test_ask_as(f, &f->core.local_user, &rpc_Fleet_ChangeDevices, &renamed), 0);
	assert_int_equal(listed(f, &eve.id), 2);
	assert_string_equal(MAP(f, 0)->full_name, "db2-1");

	/* who has one may not be allowed to open it now: all end */
	assert_int_equal(test_ask_as(f, &f->core.local_user, &rpc_Fleet_ChangeDevices, &moved), 0);
	assert_int_equal(listed(f, &eve.id), 0);
	assert_int_equal(listed(f, &bob.id), 0);
	assert_int_equal(map_end(f, &eve, &of_bob), -E_NOT_FOUND);

	/* his own he sees wherever the device is now */
	assert_int_equal(tunnel_open(f, &bob, 8, &of_bob, NULL), 0);
	tell_moved(f, &of_bob, 0, 0);
	assert_int_equal(listed(f, &bob.id), 1);
	assert_int_equal(listed(f, &eve.id), 0);
	assert_int_equal(map_end(f, &eve, &of_bob), -E_NOT_FOUND);
}

static bool audited(struct test_core *f, const char *action, const char *object, const char *detail)
{
	murmesh_AuditQuery query = murmesh_AuditQuery_init_zero;
	str_copy(str_from(action), query.text, sizeof query.text);
	test_stream_as(f, &f->core.local_user, &rpc_People_ListAudit, &query);
	assert_int_equal(test_end_await(f), 0);
	const murmesh_AuditRow *row = (const void *)f->rows[0];
	return f->n_rows == 1 && str_is(str_from(row->object), object) && str_is(str_from(row->detail), detail);
}

static void test_end(void **state)
{
	struct test_core *f = *state;
	struct id of_eve, of_bob, waits;
	char ended_by[64];
	world_make(f);
	test_device_link(f, 7);
	test_device_link(f, 8);
	assert_int_equal(tunnel_open(f, &eve, 8, &of_eve, NULL), 0);
	assert_int_equal(tunnel_open(f, &bob, 7, &of_bob, ended_by), 0);
	assert_int_equal(tunnel_open(f, &bob, 7, &waits, NULL), 0);
	assert_string_equal(ended_by, "");
	tell_moved(f, &of_eve, 3, 4);
	tell_moved(f, &of_bob, 0, 0);
	assert_int_equal(map_end(f, &vic, &of_eve), -E_DENIED);
	assert_int_equal(map_end(f, &eve, &of_bob), -E_NOT_FOUND);
	assert_int_equal(map_end(f, &bob, &waits), -E_NOT_FOUND); /* nobody sees it */
	assert_int_equal(map_end(f, &bob, &(struct id){ { 1 } }), -E_NOT_FOUND);
	assert_int_equal(f->told.n_closed, 0);

	assert_int_equal(map_end(f, &bob, &of_eve), 0);
	assert_int_equal(((const murmesh_Map *)f->reply.bytes)->sent, 3);
	while (f->told.n_closed < 1 || f->frame.which_body != murmesh_Frame_over_tag)
		io_loop_run(f->core.loop);
	assert_memory_equal(f->told.closed.pair, of_eve.bytes, 16);
	assert_memory_equal(f->frame.body.over.pair, of_eve.bytes, 16);
	assert_true(audited(f, "tunnel ended", "db-1", "of eve, to localhost:80 10.0.0.1:22"));
	assert_int_equal(map_end(f, &bob, &of_eve), -E_NOT_FOUND);
	tell_ended(f, &of_eve, E_CANCELLED); /* the relay's answer to that is no news */

	/* both see who did it, and the next connection's user is told once */
	assert_int_equal(listed(f, &eve.id), 1);
	assert_string_equal(MAP(f, 0)->why, "bob ended it");
	assert_int_equal(MAP(f, 0)->error, E_TUNNEL_ENDED);
	assert_in_range(MAP(f, 0)->ended, clock_wall_s() - 60, clock_wall_s());
	assert_int_equal(MAP(f, 0)->path_count, 0);
	assert_int_equal(tunnel_open(f, &bob, 8, &waits, ended_by), 0);
	assert_string_equal(ended_by, ""); /* it was not his */
	assert_int_equal(tunnel_open(f, &eve, 8, &of_eve, ended_by), 0);
	assert_string_equal(ended_by, "bob");
	assert_int_equal(tunnel_open(f, &eve, 8, &of_eve, ended_by), 0);
	assert_string_equal(ended_by, "");
}

/* ---- those that failed ---- */

static void test_failures(void **state)
{
	struct test_core *f = *state;
	struct id name;
	murmesh_Frame frame = { .which_body = murmesh_Frame_refusal_tag };
	murmesh_TunnelRefusal *refusal = &frame.body.refusal;
	murmesh_DeviceChange retire = { .selector = "db", .count = 1, .retire = true };
	world_make(f);
	assert_int_equal(tunnel_open(f, &eve, 8, &name, NULL), -E_OFFLINE);
	assert_int_equal(tunnel_open(f, &eve, 8, &name, NULL), -E_OFFLINE);
	assert_int_equal(tunnel_open(f, &eve, 7, &name, NULL), -E_NOT_FOUND);
	assert_int_equal(tunnel_open(f, &vic, 8, &name, NULL), -E_DENIED);
	assert_int_equal(listed(f, &bob.id), 1); /* once; what is not there for somebody is no failure */
	assert_string_equal(MAP(f, 0)->why, err_text(E_OFFLINE));
	assert_int_equal(MAP(f, 0)->error, E_OFFLINE);

	/* as the device says, once for each */
	struct rpc_call *device = test_device_link(f, 8);
	assert_int_equal(tunnel_open(f, &bob, 8, &name, NULL), 0);
	tell_moved(f, &name, 1, 2);
	memcpy(refusal->pair, name.bytes, sizeof refusal->pair);
	refusal->error = E_TARGET_REFUSED;
	assert_int_equal(rpc_call_send(device, &frame), 0);
	refusal->error = E_TARGET_TIMEOUT;
	assert_int_equal(rpc_call_send(device, &frame), 0);
	tell_moved(f, &name, 2, 3);
	assert_int_equal(listed(f, &eve.id), 3); /* the tunnel itself goes on, whatever its device says */
	assert_int_equal(MAP(f, 0)->sent, 2);
	assert_int_equal(MAP(f, 0)->ended, 0);
	assert_int_equal(MAP(f, 2)->error, E_TARGET_REFUSED);
	tell_ended(f, &name, E_TIMEOUT); /* it was told of already */
	assert_int_equal(listed(f, &eve.id), 2);

	/* another device's word is nothing */
	struct rpc_call *web01 = test_device_link(f, 7);
	assert_int_equal(tunnel_open(f, &bob, 8, &name, NULL), 0);
	memcpy(refusal->pair, name.bytes, sizeof refusal->pair);
	assert_int_equal(rpc_call_send(web01, &frame), 0);
	tell_ended(f, &name, E_PEER_GONE);
	assert_int_equal(listed(f, &eve.id), 3);
	assert_int_equal(MAP(f, 2)->error, E_PEER_GONE);
	assert_int_equal(tunnel_open(f, &bob, 8, &name, NULL), 0);
	tell_ended(f, &name, UINT32_MAX);
	assert_int_equal(listed(f, &eve.id), 4);
	assert_int_equal(MAP(f, 3)->error, E_INTERNAL);

	assert_int_equal(test_ask_as(f, &f->core.local_user, &rpc_Fleet_ChangeDevices, &retire), 0);
	assert_int_equal(listed(f, &bob.id), 0);
}

/* The newest hundred. */
static void test_many_failures(void **state)
{
	struct test_core *f = *state;
	struct core_pair_about about = { .user = { { 5 } }, .device = { { 8 } } };
	char target[16];
	world_make(f);
	for (unsigned i = 0; i < 250; i++) {
		snprintf(target, sizeof target, "host:%u", i);
		core_pair_failed(&f->core, &about, target, -E_OFFLINE, i == 249 ? "for another reason" : NULL);
	}
	assert_int_equal(listed(f, &bob.id), 100);
	assert_string_equal(MAP(f, 0)->target, "host:150");
	core_pair_failed(&f->core, &about, "host:249", -E_BUSY, NULL); /* not the same */
	assert_int_equal(listed(f, &bob.id), 100);
	assert_string_equal(MAP(f, 0)->target, "host:151");
}

/* ---- the relay ---- */

/* What it tells no more is not shown; once it is there again, it says what goes on.  What it does not know by then is forgotten. */
static void test_relay_again(void **state)
{
	struct test_core *f = *state;
	struct id stays, goes, unused;
	murmesh_PairReports reports = { .begins = true, .whole = true };
	world_make(f);
	test_device_link(f, 7);
	assert_int_equal(tunnel_open(f, &bob, 7, &stays, NULL), 0);
	assert_int_equal(tunnel_open(f, &bob, 7, &goes, NULL), 0);
	assert_int_equal(tunnel_open(f, &bob, 7, &unused, NULL), 0);
	tell_moved(f, &stays, 1, 1);
	tell_moved(f, &goes, 1, 1);
	assert_int_equal(listed(f, &bob.id), 2);
	rpc_call_finish(f->told.pairs, -E_FLOW, NULL);
	while (f->told.pairs)
		io_loop_run(f->core.loop);
	assert_int_equal(listed(f, &bob.id), 0);
	while (!f->told.pairs) /* it is asked again after a while */
		io_loop_run(f->core.loop);
	struct pair *const pairs[] = { pair_find(&f->core, &stays), pair_find(&f->core, &goes), pair_find(&f->core, &unused) };
	for (size_t i = 0; i < 3; i++)
		pairs[i]->since -= 100;
	core_pairs_minute(&f->core); /* it has not told of all yet */
	assert_non_null(pair_find(&f->core, &unused));
	report_set(&reports, &stays, 9, 9);
	tell(f, &reports);
	assert_int_equal(listed(f, &bob.id), 1);
	assert_int_equal(MAP(f, 0)->sent, 9);
	core_pairs_minute(&f->core);
	assert_non_null(pair_find(&f->core, &stays));
	assert_null(pair_find(&f->core, &goes));
	assert_null(pair_find(&f->core, &unused));
	core_pairs_close(&f->core, &bob.id, NULL);
	assert_int_equal(listed(f, &bob.id), 0);
}

/* ---- watching ---- */

static void test_watch(void **state)
{
	struct test_core *f = *state;
	struct id of_eve, of_bob;
	murmesh_SessionRequest me;
	murmesh_DeviceChange moved = { .selector = "web01", .count = 1, .set_group = true, .group = "shop" };
	struct user viewer = user_of(0x19, "looker", ACCOUNT_VIEWER, "");
	struct user operator= user_of(0x18, "olga", ACCOUNT_OPERATOR, "shop");
	world_make(f);
	test_login_new(f, &viewer, me.session);
	test_stream(f, &rpc_Console_WatchMaps, &me);
	assert_int_equal(test_end_await(f), -E_DENIED);
	test_device_link(f, 7);
	test_device_link(f, 8);
	assert_int_equal(tunnel_open(f, &eve, 8, &of_eve, NULL), 0);
	assert_int_equal(tunnel_open(f, &bob, 7, &of_bob, NULL), 0);
	tell_moved(f, &of_eve, 1, 2);
	tell_moved(f, &of_bob, 1, 2);

	test_login_new(f, &operator, me.session);
	test_stream(f, &rpc_Console_WatchMaps, &me);
	test_rows_await(f, 2);
	assert_memory_equal(EVENT(f, 0)->body.map.id, of_eve.bytes, 16);
	assert_int_equal(EVENT(f, 1)->which_body, murmesh_MapEvent_complete_tag);
	assert_int_equal(EVENT(f, 1)->sequence, 2);
	tell_moved(f, &of_bob, 3, 4); /* is not there for her */
	tell_moved(f, &of_eve, 5, 6);
	test_rows_await(f, 3);
	assert_int_equal(EVENT(f, 2)->body.map.sent, 5);
	assert_int_equal(test_ask_as(f, &f->core.local_user, &rpc_Fleet_ChangeDevices, &moved), 0);
	assert_int_equal(tunnel_open(f, &bob, 7, &of_bob, NULL), 0);
	tell_moved(f, &of_bob, 3, 4);
	test_rows_await(f, 4);
	assert_memory_equal(EVENT(f, 3)->body.map.id, of_bob.bytes, 16);
	assert_int_equal(EVENT(f, 3)->body.map.sent, 3);
	moved.group[0] = 0;
	assert_int_equal(test_ask_as(f, &f->core.local_user, &rpc_Fleet_ChangeDevices, &moved), 0);
	test_rows_await(f, 5);
	assert_int_equal(EVENT(f, 4)->which_body, murmesh_MapEvent_removed_tag);
	assert_memory_equal(EVENT(f, 4)->body.removed, of_bob.bytes, 16);
	assert_int_equal(map_end(f, &bob, &of_eve), 0);
	test_rows_await(f, 7);
	assert_string_equal(EVENT(f, 5)->body.map.why, "bob ended it");
	assert_memory_equal(EVENT(f, 6)->body.removed, of_eve.bytes, 16);
}

struct behind {
	struct io_loop *loop;
	const struct id *names;
	uint64_t last[20];
	bool over;
};

static void on_event(void *ctx, const void *message)
{
	struct behind *behind = ctx;
	const murmesh_MapEvent *event = message;
	for (size_t i = 0; i < 20 && event->which_body == murmesh_MapEvent_map_tag; i++)
		if (memcmp(event->body.map.id, behind->names[i].bytes, 16) == 0)
			behind->last[i] = event->body.map.sent;
	io_loop_stop(behind->loop);
}

static void on_over(void *ctx, int err, const char *why)
{
	struct behind *behind = ctx;
	(void)err;
	(void)why;
	behind->over = true;
	io_loop_stop(behind->loop);
}

static bool caught_up(const struct behind *behind, uint64_t n)
{
	bool up = true;
	for (uint64_t i = 0; i < 20; i++)
		up &= behind->last[(n - i) % 20] == n - i;
	return up;
}

/* Who does not read for a while has the last numbers of all afterwards, and was not ended for it. */
static void test_watch_behind(void **state)
{
	struct test_core *f = *state;
	struct id names[20];
	murmesh_SessionRequest me;
	struct user operator= user_of(0x18, "olga", ACCOUNT_OPERATOR, "");
	world_make(f);
	test_device_link(f, 7);
	test_login_new(f, &operator, me.session);
	for (size_t i = 0; i < 20; i++) {
		assert_int_equal(tunnel_open(f, &bob, 7, &names[i], NULL), 0);
		tell_moved(f, &names[i], 0, 0);
	}
	static const struct rpc_call_events events = { on_event, NULL, NULL, on_over };
	struct behind behind = { .loop = f->core.loop, .names = names };
	test_stream(f, &rpc_Console_WatchMaps, &me);
	test_rows_await(f, 21);
	rpc_call_set_events(f->stream, &events, &behind);
	rpc_call_pause(f->stream, true);
	for (uint64_t n = 1; n <= 20000; n++) {
		murmesh_PairReports reports = murmesh_PairReports_init_zero;
		report_set(&reports, &names[n % 20], n, n);
		core_pairs_reports(&f->core, &here, &reports);
	}
	rpc_call_pause(f->stream, false);
	while (!caught_up(&behind, 20000) && !behind.over)
		io_loop_run(f->core.loop);
	assert_false(behind.over);
	static const struct rpc_call_events none;
	rpc_call_set_events(f->stream, &none, NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, test_core_setup, test_core_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_who_sees_what), TEST(test_another_group), TEST(test_end),   TEST(test_failures),
		TEST(test_many_failures), TEST(test_relay_again),   TEST(test_watch), TEST(test_watch_behind),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
