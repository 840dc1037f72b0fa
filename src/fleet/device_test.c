#include "store/testing.h"

#include <signal.h>
#include <sys/wait.h>

#include "fleet/fleet.h"

static void run(void **state, test_body body)
{
	assert_int_equal(test_run(*state, body, NULL), 0);
}

/* Takes a token and adds the device; its id is made of name and token. */
static struct device add(struct store_tx *tx, const char *name)
{
	struct device device = { .created = 1000 };
	assert_int_equal(str_copy(str_from(name), device.name, sizeof device.name), 0);
	assert_int_equal(fleet_token_next(tx, str_from(name), &device.token), 0);
	memcpy(device.id.bytes, name, strnlen(name, 12));
	device.id.bytes[15] = (uint8_t)device.token;
	assert_int_equal(fleet_device_add(tx, &device), 0);
	return device;
}

/* What find and list gave: full names, each followed by a blank. */
struct names {
	char text[512];
	int err;
};

static int collect(void *ctx, const struct device *device)
{
	struct names *names = ctx;
	char full[FLEET_FULL_NAME];
	size_t len = strlen(names->text);
	fleet_full_name(device, full);
	snprintf(names->text + len, sizeof names->text - len, "%s ", full);
	return names->err;
}

static void finds(struct store_tx *tx, const char *text, const char *expected)
{
	struct names names = { 0 };
	assert_int_equal(fleet_device_find(tx, str_from(text), collect, &names), *expected ? 0 : -E_NOT_FOUND);
	assert_string_equal(names.text, expected);
}

static void lists(struct store_tx *tx, const char *expected)
{
	struct names names = { 0 };
	assert_int_equal(fleet_device_list(tx, collect, &names), 0);
	assert_string_equal(names.text, expected);
}

static int tokens(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	int64_t token = 7;
	assert_int_equal(fleet_token_next(tx, STR("web01"), &token), 0);
	assert_int_equal(token, 1);
	assert_int_equal(fleet_token_next(tx, STR("WEB01"), &token), 0);
	assert_int_equal(token, 2);
	assert_int_equal(fleet_token_next(tx, STR("web02"), &token), 0);
	assert_int_equal(token, 1);
	assert_int_equal(fleet_token_next(tx, STR("web01"), &token), 0);
	assert_int_equal(token, 3);
	assert_int_equal(fleet_token_next(tx, STR(""), &token), -E_NAME);
	assert_int_equal(fleet_token_next(tx, STR("-web"), &token), -E_NAME);
	assert_int_equal(fleet_token_next(tx, STR("web 01"), &token), -E_NAME);
	assert_int_equal(fleet_token_next(tx, STR("w\303\251b"), &token), -E_NAME);
	char name[64];
	memset(name, 'a', sizeof name);
	assert_int_equal(fleet_token_next(tx, (struct str){ name, FLEET_NAME_MAX + 1 }, &token), -E_TOO_LONG);
	assert_int_equal(fleet_token_next(tx, (struct str){ name, FLEET_NAME_MAX }, &token), 0);
	assert_int_equal(token, 1);
	return 0;
}

static int last_token(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	int64_t token;
	assert_int_equal(store_exec(store_query(tx, "INSERT INTO tokens (name, last) VALUES ('web01', 999999998)")), 0);
	assert_int_equal(fleet_token_next(tx, STR("web01"), &token), 0);
	assert_int_equal(token, FLEET_TOKEN_MAX);
	assert_int_equal(fleet_token_next(tx, STR("web01"), &token), -E_LIMIT);
	return 0;
}

static void test_tokens(void **state)
{
	run(state, tokens);
}

static void test_last_token(void **state)
{
	run(state, last_token);
}

static int longest_name(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	struct device device = { .token = FLEET_TOKEN_MAX };
	char full[FLEET_FULL_NAME];
	memset(device.name, 'a', FLEET_NAME_MAX);
	assert_int_equal(fleet_device_add(tx, &device), 0);
	fleet_full_name(&device, full);
	assert_int_equal(strlen(full), FLEET_NAME_MAX + 10);
	struct names names = { 0 };
	assert_int_equal(fleet_device_find(tx, str_from(full), collect, &names), 0);
	return 0;
}

static int add_and_get(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	struct device device = add(tx, "Web01"), got, other = { .id = { { 9 } }, .token = 2 };
	assert_int_equal(fleet_device_get(tx, &device.id, &got), 0);
	assert_string_equal(got.name, "Web01");
	assert_int_equal(got.token, 1);
	assert_int_equal(got.created, 1000);
	assert_int_equal(got.last_seen, 0);
	assert_int_equal(got.retired, 0);
	assert_string_equal(got.os, "");
	assert_true(id_is_zero(&got.parent));
	assert_int_equal(fleet_device_get(tx, &other.id, &got), -E_NOT_FOUND);
	/* One id, and one token of a name in any letter case, is there once. */
	assert_int_equal(fleet_device_add(tx, &device), -E_EXISTS);
	other.token = 1;
	str_copy(STR("wEB01"), other.name, sizeof other.name);
	assert_int_equal(fleet_device_add(tx, &other), -E_EXISTS);
	str_copy(STR("web/01"), other.name, sizeof other.name);
	assert_int_equal(fleet_device_add(tx, &other), -E_NAME);
	return 0;
}

static void test_add_and_get(void **state)
{
	run(state, add_and_get);
	run(state, longest_name);
}

static int list_and_find(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	char id[ID_TEXT_SIZE];
	lists(tx, "");
	finds(tx, "web01", "");
	add(tx, "web02");
	struct device first = add(tx, "web01");
	add(tx, "WEB01");
	add(tx, "db-7");
	lists(tx, "db-7-1 web01-1 WEB01-2 web02-1 ");
	finds(tx, "web01", "web01-1 WEB01-2 ");
	finds(tx, "Web02", "web02-1 ");
	finds(tx, "web01-2", "WEB01-2 ");
	finds(tx, "WEB01-1", "web01-1 ");
	finds(tx, "web01-3", "");
	finds(tx, "web01-01", "");
	finds(tx, "web01-", "");
	finds(tx, "web0", "");
	finds(tx, "db-7", "db-7-1 ");
	finds(tx, "db-7-1", "db-7-1 ");
	finds(tx, "", "");
	finds(tx, "web01' OR 1=1 --", "");
	finds(tx, "web%", "");
	id_format(&first.id, id);
	finds(tx, id, "web01-1 ");
	finds(tx, "00000000000000000000000000000000", "");
	/* A computer that takes another's full name as its own makes it ambiguous, and never takes its place. */
	add(tx, "web01-2");
	finds(tx, "web01-2", "web01-2-1 WEB01-2 ");
	/* Nor does one that takes another's id as its name. */
	add(tx, id);
	finds(tx, id, "web01-1 ");
	/* The callback ends the walk. */
	struct names names = { .err = -E_CANCELLED };
	assert_int_equal(fleet_device_list(tx, collect, &names), -E_CANCELLED);
	assert_string_equal(names.text, "77656230310000000000000000000001-1 ");
	names = (struct names){ .err = -E_CANCELLED };
	assert_int_equal(fleet_device_find(tx, STR("web01"), collect, &names), -E_CANCELLED);
	return 0;
}

static void test_list_and_find(void **state)
{
	run(state, list_and_find);
}

static int in_pieces(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	struct fleet_cursor cursor = { 0 };
	struct names names = { 0 };
	struct device device, db;
	assert_int_equal(fleet_device_next(tx, &cursor, 2, collect, &names), 0);
	assert_true(cursor.end);
	cursor = (struct fleet_cursor){ 0 };
	db = add(tx, "db");
	add(tx, "Web");
	add(tx, "web");
	add(tx, "web");
	device = add(tx, "xen");
	add(tx, "web");
	assert_int_equal(fleet_device_next(tx, &cursor, 2, collect, &names), 0);
	assert_string_equal(names.text, "db-1 Web-1 ");
	assert_false(cursor.end);
	/* What goes and comes behind and before the place that was reached. */
	assert_int_equal(fleet_device_retire(tx, &db.id, 1), 0);
	assert_int_equal(fleet_device_retire(tx, &device.id, 1), 0);
	add(tx, "app");
	assert_int_equal(fleet_device_next(tx, &cursor, 2, collect, &names), 0);
	assert_string_equal(names.text, "db-1 Web-1 web-2 web-3 ");
	assert_false(cursor.end);
	names = (struct names){ .err = -E_CANCELLED };
	assert_int_equal(fleet_device_next(tx, &cursor, 2, collect, &names), -E_CANCELLED);
	assert_false(cursor.end);
	names = (struct names){ 0 };
	assert_int_equal(fleet_device_next(tx, &cursor, 1, collect, &names), 0);
	assert_string_equal(names.text, "");
	assert_true(cursor.end);
	return 0;
}

static void test_in_pieces(void **state)
{
	run(state, in_pieces);
}

static int seen(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	struct device device = add(tx, "web01"), got;
	struct id unknown = { { 1 } };
	assert_int_equal(fleet_device_seen(tx, &device.id, 5000), 0);
	assert_int_equal(fleet_device_seen(tx, &device.id, 4000), 0);
	assert_int_equal(fleet_device_get(tx, &device.id, &got), 0);
	assert_int_equal(got.last_seen, 5000);
	assert_int_equal(fleet_device_seen(tx, &unknown, 5000), -E_NOT_FOUND);
	return 0;
}

static int update(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	struct device device = add(tx, "web01"), got;
	struct id unknown = { { 1 } };
	char long_text[1000];
	memset(long_text, 'v', sizeof long_text);
	struct device_platform platform = { .os = STR("Debian\033[2J \342\200\256x \xff"),
		                            .arch = STR("x86_64"),
		                            .version = { long_text, sizeof long_text },
		                            .parent = { { 4 } } };
	assert_int_equal(fleet_device_update(tx, &device.id, &platform), 0);
	assert_int_equal(fleet_device_get(tx, &device.id, &got), 0);
	assert_string_equal(got.os, "Debian\357\277\275[2J \357\277\275x \357\277\275");
	assert_string_equal(got.arch, "x86_64");
	assert_int_equal(strlen(got.version), FLEET_TEXT_SIZE - 1);
	assert_true(id_equal(&got.parent, &platform.parent));
	assert_string_equal(got.name, "web01");
	assert_int_equal(fleet_device_update(tx, &unknown, &platform), -E_NOT_FOUND);
	return 0;
}

static int labels(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	struct device device = add(tx, "web01"), got, unknown = { .id = { { 1 } } };
	struct device other = { .id = { { 2 } }, .name = "web01", .token = 99, .group = "eu", .tags = "a b" };
	assert_string_equal(device.group, "");
	assert_int_equal(fleet_device_add(tx, &other), 0);
	assert_int_equal(fleet_device_get(tx, &other.id, &got), 0);
	assert_string_equal(got.group, "eu");
	assert_string_equal(got.tags, "a b");
	assert_int_equal(fleet_group_parse(STR("Lab"), device.group), 0);
	assert_int_equal(fleet_tag_add(&device, STR("web")), 0);
	assert_int_equal(fleet_device_label(tx, &device), 0);
	assert_int_equal(fleet_device_get(tx, &device.id, &got), 0);
	assert_string_equal(got.group, "lab");
	assert_string_equal(got.tags, "web");
	assert_int_equal(fleet_device_label(tx, &unknown), -E_NOT_FOUND);
	return 0;
}

static int inventories(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	static uint8_t most[FLEET_INVENTORY_MAX + 1] = { 1, 2, 3 }, got[FLEET_INVENTORY_MAX];
	struct device device = add(tx, "web01");
	struct id unknown = { { 1 } };
	int64_t time;
	size_t len;
	assert_int_equal(fleet_inventory_get(tx, &device.id, got, &len, &time), -E_NOT_FOUND);
	assert_int_equal(fleet_inventory_put(tx, &unknown, 5, most, 3), -E_NOT_FOUND);
	assert_int_equal(fleet_inventory_put(tx, &device.id, 5, most, sizeof most), -E_TOO_LONG);
	assert_int_equal(fleet_inventory_put(tx, &device.id, 5, most, FLEET_INVENTORY_MAX), 0);
	assert_int_equal(fleet_inventory_get(tx, &device.id, got, &len, &time), 0);
	assert_int_equal(len, FLEET_INVENTORY_MAX);
	assert_int_equal(fleet_inventory_put(tx, &device.id, 6, most, 0), 0);
	assert_int_equal(fleet_inventory_get(tx, &device.id, got, &len, &time), 0);
	assert_int_equal(len, 0);
	assert_int_equal(fleet_inventory_put(tx, &device.id, 7, most, 3), 0);
	memset(got, 0, sizeof got);
	assert_int_equal(fleet_inventory_get(tx, &device.id, got, &len, &time), 0);
	assert_int_equal(len, 3);
	assert_memory_equal(got, most, 3);
	assert_int_equal(time, 7);
	assert_int_equal(store_exec(store_query(tx, "UPDATE inventories SET inventory = zeroblob(20000)")), 0);
	assert_int_equal(fleet_inventory_get(tx, &device.id, got, &len, &time), -E_CHECKSUM);
	return 0;
}

static void test_seen_and_update(void **state)
{
	run(state, seen);
	run(state, update);
}

static int signatures(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	struct device device = add(tx, "web01"), other = add(tx, "web02"), got;
	struct id unknown = { { 1 } };
	assert_int_equal(fleet_device_signs(tx, &unknown, 7), -E_NOT_FOUND);
	assert_int_equal(fleet_device_forged(tx, &unknown, 5), -E_NOT_FOUND);
	assert_int_equal(fleet_device_get(tx, &device.id, &got), 0);
	assert_int_equal(got.signs, 0);
	assert_int_equal(got.forged, 0);
	assert_int_equal(fleet_device_signs(tx, &device.id, 7), 0);
	assert_int_equal(fleet_device_signs(tx, &device.id, 8), 0);
	assert_int_equal(fleet_device_forged(tx, &device.id, 5), 0);
	assert_int_equal(fleet_device_get(tx, &device.id, &got), 0);
	assert_int_equal(got.signs, 7);
	assert_int_equal(got.forged, 5);
	assert_int_equal(fleet_device_get(tx, &other.id, &got), 0);
	assert_int_equal(got.signs, 0);
	assert_int_equal(got.forged, 0);
	return 0;
}

static void test_labels_and_inventories(void **state)
{
	run(state, labels);
	run(state, inventories);
	run(state, signatures);
}

static int retire(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	char id[ID_TEXT_SIZE];
	struct device device = add(tx, "web01"), got;
	add(tx, "web01");
	assert_int_equal(fleet_device_live(tx, &device.id, &got), 0);
	assert_int_equal(fleet_device_retire(tx, &device.id, 6000), 0);
	assert_int_equal(fleet_device_retire(tx, &device.id, 7000), -E_NOT_FOUND);
	assert_int_equal(fleet_device_live(tx, &device.id, &got), -E_REVOKED);
	assert_int_equal(fleet_device_get(tx, &device.id, &got), 0);
	assert_int_equal(got.retired, 6000);
	lists(tx, "web01-2 ");
	finds(tx, "web01", "web01-2 ");
	finds(tx, "web01-1", "");
	id_format(&device.id, id);
	finds(tx, id, "");
	/* Its number does not come back, also when the row goes. */
	assert_int_equal(store_exec(store_query(tx, "DELETE FROM devices")), 0);
	assert_int_equal(fleet_device_live(tx, &device.id, &got), -E_REVOKED);
	assert_int_equal(add(tx, "web01").token, 3);
	return 0;
}

static void test_retire(void **state)
{
	run(state, retire);
}

static int damaged(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	struct device device = add(tx, "web01"), got;
	struct names names = { 0 };
	assert_int_equal(store_exec(store_query(tx, "UPDATE devices SET os = CAST(x'ff' AS TEXT)")), 0);
	assert_int_equal(fleet_device_get(tx, &device.id, &got), -E_CHECKSUM);
	assert_int_equal(fleet_device_list(tx, collect, &names), -E_CHECKSUM);
	assert_string_equal(names.text, "");
	return 0;
}

static void test_damaged(void **state)
{
	run(state, damaged);
}

static int everything(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	struct device device = { .name = "web01", .id = { { 5 } } };
	struct device_platform platform = { .os = STR("Debian") };
	struct names names = { 0 };
	struct fleet_cursor cursor = { 0 };
	static uint8_t bytes[FLEET_INVENTORY_MAX];
	int64_t time;
	size_t len;
	int err = fleet_token_next(tx, STR("web01"), &device.token);
	if (err == 0)
		err = fleet_device_add(tx, &device);
	if (err == 0)
		err = fleet_device_update(tx, &device.id, &platform);
	if (err == 0)
		err = fleet_device_seen(tx, &device.id, 1);
	if (err == 0)
		err = fleet_device_get(tx, &device.id, &device);
	if (err == 0)
		err = fleet_device_list(tx, collect, &names);
	if (err == 0)
		err = fleet_device_next(tx, &cursor, 9, collect, &names);
	if (err == 0)
		err = fleet_device_find(tx, STR("web01-1"), collect, &names);
	if (err == 0)
		err = fleet_device_find(tx, STR("05000000000000000000000000000000"), collect, &names);
	if (err == 0)
		err = fleet_device_label(tx, &device);
	if (err == 0)
		err = fleet_inventory_put(tx, &device.id, 1, (const uint8_t *)"x", 1);
	if (err == 0)
		err = fleet_inventory_get(tx, &device.id, bytes, &len, &time);
	return err < 0 ? err : fleet_device_retire(tx, &device.id, 1);
}

static void test_faults_everywhere(void **state)
{
	(void)state;
	test_faults(&store_schema_server, NULL, everything, NULL);
}

/* No token comes twice, whenever the process is killed. */

static int take_token(struct store_tx *tx, void *ctx)
{
	return fleet_token_next(tx, STR("web01"), ctx);
}

static void take_tokens(struct test_store *test, int fd)
{
	int64_t token;
	if (test_store_reopen(test) < 0)
		_exit(99);
	while (test_run(test, take_token, &token) == 0)
		if (write(fd, &token, sizeof token) != sizeof token)
			break;
	_exit(99);
}

static void test_tokens_never_repeat(void **state)
{
	struct test_store *test = *state;
	int64_t highest = 0, token;
	test->store = store_free(test->store);
	for (int round = 0; round < 15; round++) {
		int ends[2];
		assert_int_equal(pipe(ends), 0);
		pid_t pid = fork();
		assert_true(pid >= 0);
		if (pid == 0)
			take_tokens(test, ends[1]);
		close(ends[1]);
		for (int heard = 0; heard < 1 + round; heard++) {
			assert_int_equal(read(ends[0], &token, sizeof token), sizeof token);
			assert_true(token > highest);
			highest = token;
		}
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		while (read(ends[0], &token, sizeof token) == sizeof token)
			highest = token;
		close(ends[0]);
	}
	assert_int_equal(test_store_reopen(test), 0);
	assert_int_equal(test_run(test, take_token, &token), 0);
	assert_true(token > highest);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, test_store_setup, test_store_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_tokens),
		TEST(test_last_token),
		TEST(test_add_and_get),
		TEST(test_list_and_find),
		TEST(test_in_pieces),
		TEST(test_seen_and_update),
		TEST(test_retire),
		TEST(test_damaged),
		TEST(test_faults_everywhere),
		TEST(test_tokens_never_repeat),
		TEST(test_labels_and_inventories),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
