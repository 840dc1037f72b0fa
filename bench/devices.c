/* devices: fills the database of a stopped server, for benchmarks and tests.
 *
 *   devices DATABASE N
 *
 * Adds N machines with groups, tags, systems, versions, when they were last seen, and inventories, by the functions that the server itself uses.
 * The i-th is the same in each run but for its times. */
#include <inttypes.h>
#include <pb_encode.h>

#include "base/encode.h"
#include "base/err.h"
#include "fleet/fleet.h"
#include "os/clock.h"
#include "services.h"
#include "store/store.h"

enum { AT_ONCE = 1000, DAY_S = 86400 };

static const char *const kinds[] = { "web", "db", "cache", "app", "build", "mail", "gate", "probe" };
static const char *const sites[] = { "fra", "ams", "lon", "par", "nyc", "sfo", "sin", "tok", "syd", "rio" };
static const char *const groups[] = { "production", "staging", "office", "laboratory", "" };
static const char *const versions[] = { "0.1.0", "0.0.9", "0.0.8" };
static const struct {
	const char *name, *kernel;
} systems[] = {
	{ "Debian GNU/Linux 12 (bookworm)", "Linux 6.1.0-28-amd64" },
	{ "Alpine Linux v3.20", "Linux 6.6.58-0-lts" },
	{ "Ubuntu 24.04.1 LTS", "Linux 6.8.0-49-generic" },
	{ "Rocky Linux 9.4 (Blue Onyx)", "Linux 5.14.0-427.el9.x86_64" },
	{ "Debian GNU/Linux 11 (bullseye)", "Linux 5.10.0-33-arm64" },
};
#define ONE_OF(list, number) ((list)[(number) % (sizeof(list) / sizeof *(list))])

struct fill {
	struct store_job job;
	uint64_t first, n;
	int64_t now;
};

static void check(int err, const char *what)
{
	if (err >= 0)
		return;
	fprintf(stderr, "devices: %s: %s\n", what, err_text(err));
	exit(1);
}

/* A number that looks like any other: splitmix64, from https://prng.di.unimi.it/splitmix64.c (public domain). */
static uint64_t mixed(uint64_t i)
{
	uint64_t z = (i + 1) * 0x9e3779b97f4a7c15;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

static int tags_add(struct device *device, const char *kind, uint64_t dice)
{
	static const char *const more[] = { "eu", "us", "critical", "canary" };
	int err = fleet_tag_add(device, str_from(kind));
	if (err == 0 && dice % 3)
		err = fleet_tag_add(device, str_from(ONE_OF(more, dice >> 8)));
	if (err == 0 && dice % 5 == 0)
		err = fleet_tag_add(device, STR("backup"));
	return err;
}

static int inventory_put(struct store_tx *tx, const struct device *device, uint64_t dice, int64_t now)
{
	static murmesh_Inventory inventory;
	uint8_t bytes[FLEET_INVENTORY_MAX];
	pb_ostream_t out = pb_ostream_from_buffer(bytes, sizeof bytes);
	inventory = (murmesh_Inventory){ .processors = 1u << dice % 7,
		                         .memory = (uint64_t)1 << (30 + dice % 8),
		                         .memory_available = (uint64_t)1 << (29 + dice % 8),
		                         .boot_time = now - (int64_t)(dice % (200 * DAY_S)),
		                         .file_systems_count = 1,
		                         .interfaces_count = 1 };
	str_copy(str_from(ONE_OF(systems, dice >> 16).kernel), inventory.kernel, sizeof inventory.kernel);
	str_copy(str_from(ONE_OF(systems, dice >> 16).name), inventory.os, sizeof inventory.os);
	str_copy(STR("AMD EPYC 7763 64-Core Processor"), inventory.processor, sizeof inventory.processor);
	inventory.file_systems[0] = (murmesh_FileSystem){ "/", "ext4", 64ull << 30, (dice % 60) << 30 };
	murmesh_NetworkInterface *interface = &inventory.interfaces[0];
	*interface = (murmesh_NetworkInterface){ .name = "eth0", .hardware = { 6, { 2 } }, .addresses_count = 1 };
	memcpy(interface->hardware.bytes + 1, device->id.bytes, 5);
	snprintf(interface->addresses[0], sizeof interface->addresses[0], "10.%u.%u.%u/16", (unsigned)(dice >> 24 & 255),
	         (unsigned)(dice >> 32 & 255), (unsigned)(dice >> 40 & 255));
	if (!pb_encode(&out, murmesh_Inventory_fields, &inventory))
		return -E_MESSAGE;
	return fleet_inventory_put(tx, &device->id, now, bytes, out.bytes_written);
}

static int device_add(struct store_tx *tx, uint64_t i, int64_t now)
{
	uint64_t dice = mixed(i);
	const char *kind = ONE_OF(kinds, i);
	struct device device = { .created = now - (int64_t)(dice % (900 * DAY_S)) };
	const struct device_platform platform = { str_from(ONE_OF(systems, dice >> 16).name),
		                                  (dice >> 16) % 5 == 4 ? STR("aarch64") : STR("x86_64"),
		                                  str_from(ONE_OF(versions, dice >> 48)), STR(""), device.parent };
	int64_t seen = now - (int64_t)((dice >> 20) % (dice % 4 ? DAY_S : 60 * DAY_S));
	for (size_t k = 0; k < sizeof device.id.bytes; k++)
		device.id.bytes[k] = (uint8_t)(mixed(dice + k / 8) >> k % 8 * 8);
	snprintf(device.name, sizeof device.name, "%s-%s-%" PRIu64, kind, ONE_OF(sites, dice >> 4),
	         i / (sizeof kinds / sizeof *kinds));
	int err = fleet_group_parse(str_from(ONE_OF(groups, dice >> 12)), device.group);
	if (err == 0)
		err = tags_add(&device, kind, dice);
	if (err == 0)
		err = fleet_token_next(tx, str_from(device.name), &device.token);
	if (err == 0)
		err = fleet_device_add(tx, &device);
	if (err == 0)
		err = fleet_device_update(tx, &device.id, &platform);
	if (err == 0)
		err = fleet_device_seen(tx, &device.id, seen);
	return err < 0 ? err : inventory_put(tx, &device, dice, seen);
}

static int fill_run(struct store_tx *tx, struct store_job *job)
{
	const struct fill *fill = (const struct fill *)job;
	int err = 0;
	for (uint64_t i = fill->first; err == 0 && i < fill->n && i < fill->first + AT_ONCE; i++)
		err = device_add(tx, i, fill->now);
	return err;
}

int main(int argc, char **argv)
{
	struct fill fill = { .job.run = fill_run, .now = clock_wall_s() };
	struct store *store = NULL;
	char detail[STORE_DETAIL_SIZE] = "";
	if (argc != 3 || str_to_u64(str_from(argv[2]), 1000000, &fill.n) < 0) {
		fprintf(stderr, "usage: devices DATABASE N\n");
		return 64;
	}
	check(store_open(argv[1], &store_schema_server, &store, detail), argv[1]);
	for (; fill.first < fill.n; fill.first += AT_ONCE)
		check(store_run(store, &fill.job), fill.job.detail);
	store_free(store);
	return 0;
}
