/* What the inventory says beside what the kernel says elsewhere. */
#include "os/inventory.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netpacket/packet.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

#include "base/str.h"
#include "base/test.h"
#include "base/utf8.h"
#include "os/host.h"

static struct inventory inventory;

/* The number behind a word in a file of /proc. */
static unsigned long long proc_number(const char *path, const char *word)
{
	char line[4096];
	unsigned long long number = 0;
	FILE *file = fopen(path, "re");
	assert_non_null(file);
	while (fgets(line, sizeof line, file))
		if (strncmp(line, word, strlen(word)) == 0)
			number = strtoull(line + strlen(word), NULL, 10);
	fclose(file);
	return number;
}

static bool near(uint64_t a, uint64_t b, uint64_t by)
{
	return (a > b ? a - b : b - a) <= by;
}

static void test_machine(void **state)
{
	(void)state;
	struct utsname names;
	struct host host;
	char kernel[200];
	inventory_read(&inventory);
	assert_int_equal(uname(&names), 0);
	snprintf(kernel, sizeof kernel, "%s %s", names.sysname, names.release);
	assert_string_equal(inventory.kernel, kernel);
	host_read(&host);
	assert_string_equal(inventory.os, host.os);
	assert_int_equal(inventory.processors, get_nprocs());
	assert_int_equal(inventory.memory, proc_number("/proc/meminfo", "MemTotal:") * 1024);
	assert_true(near(inventory.memory_available, proc_number("/proc/meminfo", "MemAvailable:") * 1024, inventory.memory / 5));
	assert_true(near((uint64_t)inventory.boot_time, proc_number("/proc/stat", "btime "), 2));
}

static void test_processor(void **state)
{
	(void)state;
	char line[4096], found[4096] = "";
	FILE *file = fopen("/proc/cpuinfo", "re");
	assert_non_null(file);
	while (!found[0] && fgets(line, sizeof line, file))
		if (strncmp(line, "model name", 10) == 0)
			sscanf(strchr(line, ':') + 1, " %[^\n]", found);
	fclose(file);
	if (found[0]) /* as on all x86 */
		assert_string_equal(inventory.processor, found);
	assert_true(utf8_valid(str_from(inventory.processor)));
}

static void test_file_systems(void **state)
{
	(void)state;
	struct statvfs space;
	assert_true(inventory.n_file_systems >= 1);
	assert_string_equal(inventory.file_systems[0].path, "/");
	for (size_t i = 0; i < inventory.n_file_systems; i++) {
		const struct inventory_file_system *row = &inventory.file_systems[i];
		static const char *const pseudo[] = { "proc",   "sysfs",   "tmpfs", "devtmpfs", "devpts",
			                              "cgroup", "cgroup2", "nfs",   "nfs4" };
		assert_int_equal(statvfs(row->path, &space), 0);
		assert_int_equal(row->size, space.f_blocks * space.f_frsize);
		assert_true(near(row->available, space.f_bavail * space.f_frsize, row->size / 50));
		for (size_t k = 0; k < sizeof pseudo / sizeof *pseudo; k++)
			assert_string_not_equal(row->type, pseudo[k]);
		for (size_t k = 0; k < i; k++) { /* each device once */
			struct stat a, b;
			assert_int_equal(stat(row->path, &a), 0);
			assert_int_equal(stat(inventory.file_systems[k].path, &b), 0);
			assert_true(a.st_dev != b.st_dev);
		}
	}
}

static const struct inventory_interface *interface_named(const char *name)
{
	for (size_t i = 0; i < inventory.n_interfaces; i++)
		if (strcmp(inventory.interfaces[i].name, name) == 0)
			return &inventory.interfaces[i];
	return NULL;
}

static bool has_address(const struct inventory_interface *interface, const struct ifaddrs *at)
{
	char text[100], whole[120];
	const void *bytes = at->ifa_addr->sa_family == AF_INET
	                            ? (const void *)&((struct sockaddr_in *)(void *)at->ifa_addr)->sin_addr
	                            : &((struct sockaddr_in6 *)(void *)at->ifa_addr)->sin6_addr;
	const uint8_t *mask = at->ifa_addr->sa_family == AF_INET
	                              ? (const void *)&((struct sockaddr_in *)(void *)at->ifa_netmask)->sin_addr
	                              : (const void *)&((struct sockaddr_in6 *)(void *)at->ifa_netmask)->sin6_addr;
	unsigned prefix = 0;
	assert_non_null(inet_ntop(at->ifa_addr->sa_family, bytes, text, sizeof text));
	while (prefix < (at->ifa_addr->sa_family == AF_INET ? 32u : 128u) && mask[prefix / 8] & 0x80 >> prefix % 8)
		prefix++;
	snprintf(whole, sizeof whole, "%s/%u", text, prefix);
	for (size_t i = 0; i < interface->n_addresses; i++)
		if (strcmp(interface->addresses[i], whole) == 0)
			return true;
	return false;
}

static void test_interfaces(void **state)
{
	(void)state;
	struct ifaddrs *list;
	size_t n = 0;
	assert_int_equal(getifaddrs(&list), 0);
	for (const struct ifaddrs *at = list; at; at = at->ifa_next) {
		const struct inventory_interface *interface = interface_named(at->ifa_name);
		if (!at->ifa_addr || !interface) {
			assert_true(!at->ifa_addr || inventory.n_interfaces == INVENTORY_INTERFACES);
			continue;
		}
		if (at->ifa_addr->sa_family == AF_INET || at->ifa_addr->sa_family == AF_INET6) {
			assert_true(has_address(interface, at) || interface->n_addresses == INVENTORY_ADDRESSES);
			n++;
		} else if (at->ifa_addr->sa_family == AF_PACKET && interface->has_hardware)
			assert_memory_equal(interface->hardware, ((struct sockaddr_ll *)(void *)at->ifa_addr)->sll_addr, 6);
	}
	freeifaddrs(list);
	for (size_t i = 0; i < inventory.n_interfaces; i++)
		n -= inventory.interfaces[i].n_addresses;
	assert_true(n == 0 || inventory.n_interfaces == INVENTORY_INTERFACES);
	const struct inventory_interface *loopback = interface_named("lo");
	assert_true(loopback && !loopback->has_hardware);
}

/* In a mount namespace of its own, where that is allowed: nothing but real ones is added, and none twice. */
static int mounts(void *ctx)
{
	const char *directory = ctx;
	static struct inventory before, after;
	char path[600];
	snprintf(path, sizeof path, "%s/a b\\c", directory);
	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || mkdir(path, 0700) < 0)
		return 42;
	inventory_read(&before);
	if (mount("none", path, "tmpfs", 0, NULL) < 0 || mount("/usr", path, NULL, MS_BIND, NULL) < 0)
		return 1;
	inventory_read(&after);
	umount(path);
	umount(path);
	return before.n_file_systems == after.n_file_systems ? 0 : 2;
}

static void test_mounts(void **state)
{
	int code = test_in_child(mounts, *state);
	assert_true(code == 0 || code == 42);
}

/* What fails is empty, and the rest is there. */
static void test_faults(void **state)
{
	(void)state;
	bool reached = true;
	long n = 1;
	for (; reached; n++) {
		static struct inventory poor;
		size_t before = test_descriptors();
		fault_arm(n);
		inventory_read(&poor);
		reached = !fault_armed();
		fault_arm(0);
		assert_int_equal(test_descriptors(), before);
		assert_true(poor.n_file_systems <= inventory.n_file_systems);
		if (!reached)
			assert_string_equal(poor.kernel, inventory.kernel);
	}
	assert_true(n > 15);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_machine),
		cmocka_unit_test(test_processor),
		cmocka_unit_test(test_file_systems),
		cmocka_unit_test(test_interfaces),
		cmocka_unit_test_setup_teardown(test_mounts, test_directory_make, test_directory_remove),
		cmocka_unit_test(test_faults),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
