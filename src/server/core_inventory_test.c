/* Inventories that a device's management part has signed, and those of somebody who has the device's link but not that key. */
#include <pb_encode.h>

#include "base/err.h"
#include "ca/records.h"
#include "os/clock.h"
#include "server/test_core.h"

#define DB         9
#define ASKED_MOST 1000 /* times: what was said before is worked on first */

static struct key *manager, *stranger;

static int certificate_body(struct store_tx *tx, void *ctx)
{
	const struct certificate_record *record = ctx;
	return ca_certificate_add(tx, record);
}

static int revoke_body(struct store_tx *tx, void *ctx)
{
	return ca_certificate_revoke(tx, ctx, 1);
}

static void world(struct test_core *f)
{
	struct certificate_record record = {
		.serial = { 1 }, .kind = IDENTITY_MANAGER, .subject = { { DB } }, .not_before = 1000, .not_after = 2000
	};
	test_device_add(f, DB, "db", "", "");
	manager = key_generate();
	stranger = key_generate();
	assert_int_equal(key_public_hash(manager, record.key_hash), 0);
	test_directly(f, certificate_body, &record);
	record.serial[0] = 2; /* a node's key signs no inventory */
	record.kind = IDENTITY_NODE;
	assert_int_equal(key_public_hash(stranger, record.key_hash), 0);
	test_directly(f, certificate_body, &record);
}

static void world_end(struct rpc_call *link)
{
	rpc_call_cancel(link);
	manager = key_free(manager);
	stranger = key_free(stranger);
}

/* A link, and what is right to say on it. */
static struct rpc_call *link_open(struct test_core *f, murmesh_InventoryStatement *ret)
{
	struct rpc_call *link = test_device_link(f, DB);
	*ret = (murmesh_InventoryStatement){ .device = { DB }, .moment = 1, .time = 1700000000, .has_inventory = true };
	assert_int_equal(f->frame.which_body, murmesh_Frame_welcome_tag);
	memcpy(ret->mesh, f->core.mesh_id.bytes, sizeof ret->mesh);
	memcpy(ret->challenge, f->frame.body.welcome.challenge, sizeof ret->challenge);
	return link;
}

static murmesh_Frame signed_by(const struct key *key, const murmesh_InventoryStatement *statement)
{
	murmesh_Frame frame = { .which_body = murmesh_Frame_signed_inventory_tag };
	murmesh_SignedInventory *message = &frame.body.signed_inventory;
	pb_ostream_t out = pb_ostream_from_buffer(message->statement.bytes, sizeof message->statement.bytes);
	size_t len, key_len;
	assert_true(pb_encode(&out, murmesh_InventoryStatement_fields, statement));
	message->statement.size = (pb_size_t)out.bytes_written;
	assert_int_equal(
	        key_sign(key, CONTEXT_INVENTORY, message->statement.bytes, out.bytes_written, message->signature.bytes, &len), 0);
	message->signature.size = (pb_size_t)len;
	assert_int_equal(key_public_write(key, message->key.bytes, &key_len), 0);
	message->key.size = (pb_size_t)key_len;
	return frame;
}

static void say(murmesh_InventoryStatement *statement, const char *os)
{
	str_copy(str_from(os), statement->inventory.os, sizeof statement->inventory.os);
}

static int get(struct test_core *f)
{
	const murmesh_DeviceName request = { .selector = "db" };
	return test_ask_as(f, &f->core.local_user, &rpc_Fleet_GetDevice, &request);
}

static void kept_await(struct test_core *f, const char *os)
{
	for (int i = 0; i < ASKED_MOST; i++) {
		assert_int_equal(get(f), 0);
		if (strcmp(f->reply.detail.inventory.os, os) == 0)
			return;
	}
	fail();
}

static int forget_body(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	return fleet_device_forged(tx, &(struct id){ { DB } }, 0);
}

/* Sends it; it is refused, and what was there before stays. */
static void refused(struct test_core *f, struct rpc_call *link, const murmesh_Frame *frame)
{
	char before[128];
	assert_int_equal(get(f), 0);
	str_copy(str_from(f->reply.detail.inventory.os), before, sizeof before);
	test_directly(f, forget_body, NULL);
	assert_int_equal(rpc_call_send(link, frame), 0);
	for (int i = 0; i < ASKED_MOST && !f->reply.detail.forged; i++)
		assert_int_equal(get(f), 0);
	assert_in_range(f->reply.detail.forged, clock_wall_s() - 60, clock_wall_s());
	assert_string_equal(f->reply.detail.inventory.os, before);
}

static unsigned audited(struct test_core *f, const char *text)
{
	murmesh_AuditQuery query = { .limit = 50 };
	str_copy(str_from(text), query.text, sizeof query.text);
	test_stream_as(f, &f->core.local_user, &rpc_People_ListAudit, &query);
	assert_int_equal(test_end_await(f), 0);
	return (unsigned)f->n_rows;
}

/* ---- */

static void test_signed(void **state)
{
	struct test_core *f = *state;
	murmesh_InventoryStatement statement;
	world(f);
	struct rpc_call *link = link_open(f, &statement);
	say(&statement, "Signed\033[2J");
	murmesh_Frame frame = signed_by(manager, &statement);
	assert_int_equal(rpc_call_send(link, &frame), 0);
	kept_await(f, "Signed\357\277\275[2J");
	assert_true(f->reply.detail.device.signs);
	assert_int_equal(f->reply.detail.forged, 0);
	assert_int_equal(f->reply.detail.inventory_time, 1700000000); /* as the device has it: it may have been kept back */
	statement.moment++;
	statement.time = INT64_MAX; /* but it is not of tomorrow */
	say(&statement, "newer");
	frame = signed_by(manager, &statement);
	assert_int_equal(rpc_call_send(link, &frame), 0);
	kept_await(f, "newer");
	assert_in_range(f->reply.detail.inventory_time, clock_wall_s() - 60, clock_wall_s());
	world_end(link);
}

/* A device of before sends what is not signed, until it signs for the first time. */
static void test_unsigned_after_signed(void **state)
{
	struct test_core *f = *state;
	murmesh_Frame plain = { .which_body = murmesh_Frame_inventory_tag, .body.inventory.os = "plain" };
	murmesh_InventoryStatement statement;
	world(f);
	struct rpc_call *link = link_open(f, &statement);
	assert_int_equal(rpc_call_send(link, &plain), 0);
	kept_await(f, "plain");
	assert_false(f->reply.detail.device.signs);
	say(&statement, "signed");
	murmesh_Frame frame = signed_by(manager, &statement);
	assert_int_equal(rpc_call_send(link, &frame), 0);
	kept_await(f, "signed");
	refused(f, link, &plain);
	assert_int_equal(audited(f, "it is not signed"), 1);

	/* also on another link */
	rpc_call_cancel(link);
	while (f->link_err == 1)
		io_loop_run(f->core.loop);
	link = test_device_link(f, DB);
	refused(f, link, &plain);
	world_end(link);
}

static void test_replayed(void **state)
{
	struct test_core *f = *state;
	murmesh_InventoryStatement statement, on_older;
	world(f);
	struct rpc_call *link = link_open(f, &on_older);
	say(&on_older, "old");
	murmesh_Frame older = signed_by(manager, &on_older);
	assert_int_equal(rpc_call_send(link, &older), 0);
	kept_await(f, "old");
	refused(f, link, &older);
	rpc_call_cancel(link);
	while (f->link_err == 1)
		io_loop_run(f->core.loop);

	link = link_open(f, &statement);
	assert_memory_not_equal(statement.challenge, on_older.challenge, sizeof statement.challenge);
	refused(f, link, &older);
	statement.moment = 100;
	say(&statement, "new");
	murmesh_Frame frame = signed_by(manager, &statement);
	assert_int_equal(rpc_call_send(link, &frame), 0);
	kept_await(f, "new");
	statement.moment = 99;
	frame = signed_by(manager, &statement);
	refused(f, link, &frame);
	world_end(link);
}

static void test_forged(void **state)
{
	struct test_core *f = *state;
	murmesh_InventoryStatement statement;
	world(f);
	struct rpc_call *link = link_open(f, &statement);
	say(&statement, "forged");
	murmesh_Frame frame = signed_by(stranger, &statement); /* net's own key */
	refused(f, link, &frame);
	murmesh_SignedInventory *message = &frame.body.signed_inventory;
	size_t len;
	statement.moment++; /* the manager's key beside a signature of net's */
	frame = signed_by(stranger, &statement);
	assert_int_equal(key_public_write(manager, message->key.bytes, &len), 0);
	refused(f, link, &frame);
	statement.moment++;
	frame = signed_by(manager, &statement);
	message->statement.bytes[message->statement.size - 1] ^= 1;
	refused(f, link, &frame);
	world_end(link);
}

/* No more than six a minute: another link for these. */
static void test_not_for_here(void **state)
{
	struct test_core *f = *state;
	murmesh_InventoryStatement statement;
	world(f);
	struct rpc_call *link = link_open(f, &statement);
	statement.device[0] ^= 1;
	murmesh_Frame frame = signed_by(manager, &statement);
	refused(f, link, &frame);
	statement.device[0] ^= 1;
	statement.mesh[0] ^= 1;
	frame = signed_by(manager, &statement);
	refused(f, link, &frame);
	statement.mesh[0] ^= 1;
	frame = signed_by(manager, &statement);
	frame.body.signed_inventory.statement.bytes[0] = 0xff; /* no message */
	refused(f, link, &frame);
	frame.body.signed_inventory.statement.size = 0;
	refused(f, link, &frame);
	test_directly(f, revoke_body, &(struct id){ { DB } });
	frame = signed_by(manager, &statement);
	refused(f, link, &frame);
	assert_false(f->reply.detail.device.signs);
	world_end(link);
}

static void test_audited_once(void **state)
{
	struct test_core *f = *state;
	murmesh_InventoryStatement statement;
	world(f);
	struct rpc_call *link = link_open(f, &statement);
	for (int i = 0; i < 3; i++) {
		statement.moment++;
		murmesh_Frame frame = signed_by(stranger, &statement);
		assert_int_equal(rpc_call_send(link, &frame), 0);
	}
	statement.moment++;
	say(&statement, "good");
	murmesh_Frame frame = signed_by(manager, &statement);
	assert_int_equal(rpc_call_send(link, &frame), 0);
	kept_await(f, "good");
	assert_true(f->reply.detail.forged);
	assert_int_equal(audited(f, "inventory refused"), 1);
	assert_int_equal(audited(f, err_text(-E_SIGNATURE)), 1);
	world_end(link);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, test_core_setup, test_core_teardown)
		TEST(test_signed), TEST(test_unsigned_after_signed), TEST(test_replayed),
		TEST(test_forged), TEST(test_not_for_here),          TEST(test_audited_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
