#include "agent/inventory.h"

#include <pb_decode.h>

#include "agent/agent.h"
#include "base/str.h"
#include "base/test.h"

static murmesh_Inventory before, now;

static int set_up(void **state)
{
	(void)state;
	before = (murmesh_Inventory){ .kernel = "Linux 6.1",
		                      .os = "os",
		                      .processor = "one",
		                      .processors = 4,
		                      .memory = 1000000,
		                      .memory_available = 500000,
		                      .boot_time = 1700000000,
		                      .file_systems_count = 2,
		                      .interfaces_count = 1 };
	before.file_systems[0] = (murmesh_FileSystem){ "/", "ext4", 1000000, 600000 };
	before.file_systems[1] = (murmesh_FileSystem){ "/srv", "xfs", 5000000, 5000000 };
	before.interfaces[0] = (murmesh_NetworkInterface){ .name = "eth0", .addresses_count = 1, .addresses = { "192.0.2.7/24" } };
	now = before;
	return 0;
}

static void test_jitter(void **state)
{
	(void)state;
	static const struct {
		int64_t memory, disk, boot;
		bool changed;
	} rows[] = {
		{ 0, 0, 0, false },     { 49999, 0, 0, false },      { -49999, 0, 0, false }, { 50000, 0, 0, true },
		{ -50000, 0, 0, true }, { 0, 49999, 0, false },      { 0, -49999, 0, false }, { 0, 50000, 0, true },
		{ 0, -50000, 0, true }, { 0, 0, 10, false },         { 0, 0, -10, false },    { 0, 0, 11, true },
		{ 0, 0, -11, true },    { 49999, -49999, 9, false },
	};
	before.file_systems[1].available = now.file_systems[1].available = 2000000;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		now.memory_available = before.memory_available + (uint64_t)rows[i].memory;
		now.file_systems[1].available = before.file_systems[1].available + (uint64_t)rows[i].disk;
		now.boot_time = before.boot_time + rows[i].boot;
		assert_int_equal(inventory_changed(&before, &now), rows[i].changed);
	}
}

/* All else is told. */
static void test_changes(void **state)
{
	(void)state;
	murmesh_Inventory *const n = &now;
	const murmesh_Inventory same = now;
#define CHANGES(what)                                                                                                              \
	do {                                                                                                                       \
		what;                                                                                                              \
		assert_true(inventory_changed(&before, n));                                                                        \
		*n = same;                                                                                                         \
		assert_false(inventory_changed(&before, n));                                                                       \
	} while (0)
	CHANGES(n->kernel[0] = 'X');
	CHANGES(n->os[1] = 0);
	CHANGES(n->processor[0] = 'X');
	CHANGES(n->processors = 5);
	CHANGES(n->memory = 1000001);
	CHANGES(n->file_systems_count = 1);
	CHANGES(n->file_systems[0].path[1] = 'x');
	CHANGES(n->file_systems[0].type[3] = '3');
	CHANGES(n->file_systems[1].size++);
	CHANGES(n->interfaces_count = 0);
	CHANGES(n->interfaces[0].name[3] = '1');
	CHANGES(n->interfaces[0].hardware.size = 6);
	CHANGES(n->interfaces[0].addresses_count = 0);
	CHANGES(n->interfaces[0].addresses[0][8] = '8');
}

/* A machine without what it is compared by. */
static void test_nothing(void **state)
{
	(void)state;
	before = now = (murmesh_Inventory){ .memory = 0 };
	assert_false(inventory_changed(&before, &now));
	now.memory_available = 1;
	assert_true(inventory_changed(&before, &now));
}

/* This machine, by the manager's key, for one link. */
static void test_signed(void **state)
{
	(void)state;
	static murmesh_SignedInventory message;
	static murmesh_InventoryStatement first, second;
	static const uint8_t challenge[16] = { 7, 7 };
	struct keep keep = { .key = key_generate(), .info.identity = { { { 1 } }, IDENTITY_MANAGER, { { 2 } } } };
	struct key *read = NULL;
	murmesh_InventoryStatement *const into[] = { &first, &second };
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(inventory_sign(&keep, challenge, 1700000000, &message), 0);
		assert_int_equal(key_public_read(message.key.bytes, message.key.size, &read), 0);
		assert_int_equal(key_verify(read, CONTEXT_INVENTORY, message.statement.bytes, message.statement.size,
		                            message.signature.bytes, message.signature.size),
		                 0);
		read = key_free(read);
		pb_istream_t in = pb_istream_from_buffer(message.statement.bytes, message.statement.size);
		assert_true(pb_decode(&in, murmesh_InventoryStatement_fields, into[i]));
	}
	assert_int_equal(first.mesh[0], 1);
	assert_int_equal(first.device[0], 2);
	assert_memory_equal(first.challenge, challenge, sizeof challenge);
	assert_int_equal(first.time, 1700000000);
	assert_true(first.inventory.processors > 0);
	assert_true(first.inventory.memory > 0);
	assert_true(second.moment > first.moment);
	key_free(keep.key);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_jitter, set_up),
		cmocka_unit_test_setup(test_changes, set_up),
		cmocka_unit_test_setup(test_nothing, set_up),
		cmocka_unit_test(test_signed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
