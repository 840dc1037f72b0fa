/* Devices: what is told of them, by themselves and by core; changes of many at once. */
#include "base/err.h"
#include "ca/records.h"
#include "os/clock.h"
#include "server/test_core.h"

#define EVENT(f, i) ((const murmesh_FleetEvent *)(f)->rows[i])

static void world(struct test_core *f)
{
	test_device_add(f, 8, "web01", "", "eu"); /* the second of this name */
	test_device_add(f, 9, "db", "shop", "eu");
}

/* ---- GetDevice ---- */

static int certificate_body(struct store_tx *tx, void *ctx)
{
	struct certificate_record record = { .serial = { 1 },
		                             .kind = IDENTITY_NODE,
		                             .subject = { { 9 } },
		                             .key_hash = { 2 },
		                             .not_before = 1000,
		                             .not_after = *(int64_t *)ctx };
	return ca_certificate_add(tx, &record);
}

static int get(struct test_core *f, const char *name)
{
	murmesh_DeviceName request = { 0 };
	str_copy(str_from(name), request.selector, sizeof request.selector);
	return test_ask_as(f, &f->core.local_user, &rpc_Fleet_GetDevice, &request);
}

static void test_names(void **state)
{
	struct test_core *f = *state;
	int64_t expires = clock_wall_s() + 5000;
	world(f);
	test_directly(f, certificate_body, &expires);
	assert_int_equal(get(f, "db"), 0);
	assert_string_equal(f->reply.detail.device.full_name, "db-1");
	assert_string_equal(f->reply.detail.device.group, "shop");
	assert_int_equal(f->reply.detail.device.tags_count, 1);
	assert_string_equal(f->reply.detail.device.parent, "server");
	assert_int_equal(f->reply.detail.certificate_expires, expires);
	assert_int_equal(f->reply.detail.created, 1);
	assert_false(f->reply.detail.has_inventory);
	assert_int_equal(get(f, "web01"), -E_AMBIGUOUS);
	assert_int_equal(get(f, "WEB01-2"), 0);
	assert_int_equal(f->reply.detail.device.id[0], 8);
	assert_int_equal(get(f, "web"), -E_NOT_FOUND); /* a part of a name is none */
	assert_int_equal(get(f, "tag:eu"), -E_NOT_FOUND);
	assert_int_equal(get(f, ""), -E_NOT_FOUND);
}

/* ---- what a device says ---- */

static murmesh_Frame inventory_of(const char *os)
{
	murmesh_Frame frame = { .which_body = murmesh_Frame_inventory_tag };
	murmesh_Inventory *inventory = &frame.body.inventory;
	str_copy(str_from(os), inventory->os, sizeof inventory->os);
	inventory->memory = UINT64_MAX;
	inventory->file_systems_count = inventory->interfaces_count = 16;
	for (int i = 0; i < 16; i++) { /* as large as it can be */
		memset(inventory->file_systems[i].path, '\001', sizeof inventory->file_systems[i].path - 1);
		memset(inventory->file_systems[i].type, 0xff, sizeof inventory->file_systems[i].type - 1);
		memset(inventory->interfaces[i].name, 'n', sizeof inventory->interfaces[i].name - 1);
		inventory->interfaces[i].addresses_count = 8;
		for (int k = 0; k < 8; k++)
			memset(inventory->interfaces[i].addresses[k], '9', sizeof inventory->interfaces[i].addresses[k] - 1);
	}
	return frame;
}

/* Until core has kept it. */
static void inventory_await(struct test_core *f, const char *os)
{
	do
		assert_int_equal(get(f, "db"), 0);
	while (strcmp(f->reply.detail.inventory.os, os) != 0);
}

static void test_inventory(void **state)
{
	struct test_core *f = *state;
	world(f);
	struct rpc_call *link = test_device_link(f, 9);
	murmesh_Frame frame = inventory_of("Debian\033[2J \342\200\256");
	assert_int_equal(rpc_call_send(link, &frame), 0);
	inventory_await(f, "Debian\357\277\275[2J \357\277\275");
	const murmesh_DeviceDetail *detail = &f->reply.detail;
	assert_true(detail->device.online);
	assert_string_equal(detail->device.os, "Debian");
	assert_in_range(detail->inventory_time, clock_wall_s() - 60, clock_wall_s());
	assert_int_equal(detail->inventory.memory, UINT64_MAX);
	assert_int_equal(detail->inventory.interfaces_count, 16);
	assert_int_equal(strlen(detail->inventory.interfaces[15].addresses[7]), 47);
	assert_true(str_starts(str_from(detail->inventory.file_systems[3].path), STR("\357\277\275\357\277\275")));
	assert_int_equal(strlen(detail->inventory.file_systems[3].path) % 3, 0);

	/* no more than a few a minute are kept */
	char last[128] = "";
	int kept = 0;
	for (int i = 0; i < 50; i++) {
		char os[16];
		snprintf(os, sizeof os, "%d", i);
		frame = inventory_of(os);
		assert_int_equal(rpc_call_send(link, &frame), 0);
		assert_int_equal(get(f, "db"), 0);
		kept += strcmp(last, f->reply.detail.inventory.os) != 0;
		str_copy(str_from(f->reply.detail.inventory.os), last, sizeof last);
	}
	assert_in_range(kept, 1, 13); /* a minute may end meanwhile */

	rpc_call_cancel(link);
	while (f->link_err == 1)
		io_loop_run(f->core.loop);
	do
		assert_int_equal(get(f, "db"), 0);
	while (f->reply.detail.device.online);
	assert_true(f->reply.detail.has_inventory);
}

static void test_presence(void **state)
{
	struct test_core *f = *state;
	static const struct {
		const char *query;
		size_t n;
	} cases[] = {
		{ "online:yes", 1 }, { "online:no", 2 }, { "seen:<1h", 1 }, { "seen:>1h", 2 }, { "not online:yes tag:eu", 1 }
	};
	world(f);
	test_device_link(f, 9);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		murmesh_ListRequest list = { 0 };
		str_copy(str_from(cases[i].query), list.selector, sizeof list.selector);
		test_stream_as(f, &f->core.local_user, &rpc_Fleet_ListDevices, &list);
		assert_int_equal(test_end_await(f), 0);
		assert_int_equal(f->n_rows, cases[i].n);
	}
	test_device_link(f, 8);
	test_device_link(f, 7);
	murmesh_ListRequest all = { .selector = "online:yes" };
	test_stream_as(f, &f->core.local_user, &rpc_Fleet_ListDevices, &all);
	assert_int_equal(test_end_await(f), 0);
	assert_int_equal(f->n_rows, 3);
}

/* ---- changes ---- */

static int change(struct test_core *f, const char *selector, unsigned count, murmesh_DeviceChange what)
{
	what.count = count;
	str_copy(str_from(selector), what.selector, sizeof what.selector);
	return test_ask_as(f, &f->core.local_user, &rpc_Fleet_ChangeDevices, &what);
}

static int below_body(struct store_tx *tx, void *ctx)
{
	const struct device_platform platform = { .os = STR("x"), .arch = STR("x"), .version = STR("x"), .parent = { { 7 } } };
	return fleet_device_update(tx, ctx, &platform);
}

static void test_parents(void **state)
{
	struct test_core *f = *state;
	const murmesh_Device *db = &f->reply.detail.device;
	struct id id = { { 9 } }, parent = { { 7 } };
	char parent_text[ID_TEXT_SIZE];
	world(f);
	assert_int_equal(get(f, "db"), 0);
	assert_int_equal(db->parent_id.size, 0); /* the server */
	test_directly(f, below_body, &id);
	assert_int_equal(change(f, "web01-1", 1, (murmesh_DeviceChange){ .set_relay = true, .relay = true }), 0);
	assert_int_equal(get(f, "db"), 0);
	assert_string_equal(db->parent, "web01-1");
	assert_int_equal(db->parent_id.size, sizeof parent.bytes);
	assert_memory_equal(db->parent_id.bytes, parent.bytes, sizeof parent.bytes);
	assert_int_equal(change(f, "web01-1", 1, (murmesh_DeviceChange){ .set_relay = true }), 0);
	assert_int_equal(get(f, "db"), 0); /* its parent is no relay any more, and it has not come back yet */
	id_format(&parent, parent_text);
	assert_string_equal(db->parent, parent_text);
	assert_memory_equal(db->parent_id.bytes, parent.bytes, sizeof parent.bytes);
}

static const murmesh_DeviceChange tagged = {
	.add_tags_count = 2, .add_tags = { "Blue", "eu" }, .remove_tags_count = 1, .remove_tags = { "none" }
};

static void test_many(void **state)
{
	struct test_core *f = *state;
	const murmesh_DeviceChange grouped = { .set_group = true, .group = "Lab" }, named = { .name = "x" };
	murmesh_DeviceChange both = { .name = "x", .retire = true };
	world(f);
	assert_int_equal(change(f, "", 2, tagged), -E_CHANGED);
	assert_string_equal(f->why, "it is 3 now, not 2");
	assert_int_equal(change(f, "", 3, tagged), 0);
	assert_int_equal(f->reply.changed.count, 3);
	assert_int_equal(change(f, "tag:blue tag:eu", 3, grouped), 0);
	assert_int_equal(get(f, "db"), 0);
	assert_string_equal(f->reply.detail.device.group, "lab");
	assert_string_equal(f->reply.detail.device.tags[0], "blue");
	assert_int_equal(change(f, "group:lab", 3, named), -E_USAGE);
	assert_int_equal(change(f, "db", 1, both), -E_USAGE);
	assert_int_equal(change(f, "tag:", 1, tagged), -E_QUERY);
	assert_string_equal(f->why, "column 5: a value is missing");
	assert_int_equal(change(f, "we", 2, tagged), -E_NOT_FOUND); /* a typing error is no query */
	assert_int_equal(change(f, "name:we", 2, tagged), 0);
	assert_int_equal(change(f, "web01", 2, tagged), 0);
	assert_int_equal(change(f, "tag:red", 0, tagged), -E_NOT_FOUND);
	both = (murmesh_DeviceChange){ .add_tags_count = 1, .add_tags = { "a b" } };
	assert_int_equal(change(f, "db", 1, both), -E_NAME);
	both = (murmesh_DeviceChange){ .set_group = true, .group = "a b" };
	assert_int_equal(change(f, "db", 1, both), -E_NAME);
	/* all or none: one has as many tags as it may have */
	both = (murmesh_DeviceChange){ .add_tags_count = 14 };
	for (int i = 0; i < 14; i++)
		snprintf(both.add_tags[i], sizeof *both.add_tags, "t%d", i);
	assert_int_equal(change(f, "db", 1, both), 0);
	both = (murmesh_DeviceChange){ .add_tags_count = 1, .add_tags = { "more" } };
	assert_int_equal(change(f, "", 3, both), -E_LIMIT);
	assert_int_equal(change(f, "tag:more", 1, both), -E_NOT_FOUND);
}

static void test_retire(void **state)
{
	struct test_core *f = *state;
	const murmesh_DeviceChange retire = { .retire = true };
	world(f);
	test_device_link(f, 9);
	assert_int_equal(change(f, "tag:eu", 2, retire), 0);
	while (f->link_err == 1)
		io_loop_run(f->core.loop);
	assert_int_equal(f->link_err, -E_REVOKED);
	assert_int_equal(get(f, "db"), -E_NOT_FOUND);
	assert_int_equal(get(f, "web01"), 0); /* one is left */
}

static int rows_body(struct store_tx *tx, void *ctx)
{
	struct store_query *query = store_query(tx, "SELECT count(*) FROM audit WHERE action = 'devices labelled'");
	*(int64_t *)ctx = store_step(query) > 0 ? store_integer(query, 0) : -1;
	return store_error(query);
}

static void test_one_line_of_audit(void **state)
{
	struct test_core *f = *state;
	int64_t rows = 0;
	world(f);
	assert_int_equal(change(f, "", 3, tagged), 0);
	test_directly(f, rows_body, &rows);
	assert_int_equal(rows, 1);
}

/* Who reaches one group sees devices come into it and leave it. */
static void test_moves(void **state)
{
	struct test_core *f = *state;
	const struct user user = { .id = { { 5 } }, .name = "eve", .role = ACCOUNT_VIEWER, .created = 1, .groups = "shop" };
	const murmesh_DeviceChange in = { .set_group = true, .group = "shop" }, out = { .set_group = true };
	const murmesh_DeviceChange retire = { .retire = true };
	murmesh_SessionRequest eve;
	world(f);
	test_login_new(f, &user, eve.session);
	test_stream(f, &rpc_Console_WatchFleet, &eve);
	test_rows_await(f, 2);
	assert_int_equal(EVENT(f, 0)->body.device.id[0], 9);
	assert_int_equal(change(f, "web01-1", 1, tagged), 0); /* not hers */
	assert_int_equal(change(f, "web01-1", 1, in), 0);
	test_rows_await(f, 3);
	assert_int_equal(EVENT(f, 2)->body.device.id[0], 7);
	assert_int_equal(change(f, "web01-1", 1, out), 0);
	test_rows_await(f, 4);
	assert_int_equal(EVENT(f, 3)->which_body, murmesh_FleetEvent_removed_tag);
	assert_int_equal(EVENT(f, 3)->body.removed[0], 7);
	assert_int_equal(change(f, "web01-2", 1, retire), 0); /* not hers */
	assert_int_equal(change(f, "db", 1, retire), 0);
	test_rows_await(f, 5);
	assert_int_equal(EVENT(f, 4)->body.removed[0], 9);
	assert_int_equal(EVENT(f, 4)->sequence, 5);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, test_core_setup, test_core_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_names),  TEST(test_inventory), TEST(test_presence), TEST(test_many),
		TEST(test_retire), TEST(test_moves),     TEST(test_parents),  TEST(test_one_line_of_audit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
