#include <fcntl.h>
#include <sched.h>
#include <sys/utsname.h>

#include "base/err.h"
#include "base/str.h"
#include "base/test.h"
#include "base/utf8.h"
#include "os/file.h"
#include "os/host.h"
#include "os/proc.h"
#include "os/socket.h"

static void assert_fit_to_show(const struct host *host)
{
	char clean[256];
	assert_string_equal(host->name, utf8_clean(str_from(host->name), clean, sizeof clean));
	assert_string_equal(host->os, utf8_clean(str_from(host->os), clean, sizeof clean));
	assert_string_equal(host->architecture, utf8_clean(str_from(host->architecture), clean, sizeof clean));
	assert_true(host->name[0] && host->os[0] && host->architecture[0]);
	assert_true(strlen(host->machine_id) == 0 || strlen(host->machine_id) == 32);
}

static void test_this_machine(void **state)
{
	(void)state;
	struct host host;
	struct utsname names;
	host_read(&host);
	assert_fit_to_show(&host);
	uname(&names);
	assert_string_equal(host.architecture, names.machine);
	if (utf8_valid(str_from(names.nodename)) && names.nodename[0])
		assert_string_equal(host.name, names.nodename);
}

static void test_faults(void **state)
{
	(void)state;
	for (long n = 1;; n++) {
		struct host host;
		size_t before = test_descriptors();
		fault_arm(n);
		host_read(&host);
		bool passed = fault_armed();
		fault_arm(0);
		assert_fit_to_show(&host);
		assert_int_equal(test_descriptors(), before);
		if (n == 1) {
			assert_string_equal(host.name, "localhost");
			assert_string_equal(host.architecture, "unknown");
		}
		if (n == 2)
			assert_string_equal(host.os, "linux");
		if (passed) {
			assert_true(n > 3);
			break;
		}
	}
}

/* In a child whose root directory has other files. */
struct machine {
	const char *directory, *os_release, *machine_id;
	const char *os, *id;
};

static int read_elsewhere(void *ctx)
{
	const struct machine *machine = ctx;
	char path[1024];
	struct host host;
	if (chdir(machine->directory) < 0 || file_make_directory("etc", 0755) < 0)
		return 1;
	snprintf(path, sizeof path, "%s/etc/os-release", machine->directory);
	if (machine->os_release && file_write(path, machine->os_release, strlen(machine->os_release), 0644) < 0)
		return 2;
	snprintf(path, sizeof path, "%s/etc/machine-id", machine->directory);
	if (machine->machine_id && file_write(path, machine->machine_id, strlen(machine->machine_id), 0644) < 0)
		return 3;
	if (getuid() != 0 && unshare(CLONE_NEWUSER) < 0)
		return 77;
	if (chroot(".") < 0)
		return 77;
	host_read(&host);
	_exit(strcmp(host.os, machine->os) != 0 ? 4 : strcmp(host.machine_id, machine->id) != 0 ? 5 : 0);
}

#define ID "0123456789abcdef0123456789abcdef"

static void test_other_machines(void **state)
{
	static struct machine rows[] = {
		{ .os = "linux", .id = "" },
		{ .os_release = "", .machine_id = "", .os = "linux", .id = "" },
		{ .os_release = "NAME=x\nPRETTY_NAME=\"Some OS 1\"\nID=x\n", .machine_id = ID "\n", .os = "Some OS 1", .id = ID },
		{ .os_release = "PRETTY_NAME='Some OS 2'", .machine_id = ID, .os = "Some OS 2", .id = ID },
		{ .os_release = "PRETTY_NAME=Plain\n", .machine_id = "uninitialized\n", .os = "Plain", .id = "" },
		{ .os_release = "PRETTY_NAME=\"\"\n", .machine_id = ID "0\n", .os = "linux", .id = "" },
		{ .os_release = "PRETTY_NAME=\"\n", .machine_id = "\n", .os = "\"", .id = "" },
		{ .os_release = "PRETTY_NAME=a\x1b[1m\n", .machine_id = "../../etc", .os = "a\xef\xbf\xbd[1m", .id = "" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		rows[i].directory = *state;
		int code = test_in_child(read_elsewhere, &rows[i]);
		if (code == 77)
			skip();
		assert_int_equal(code, 0);
	}
}

static int address_once(void *ctx)
{
	char address[64];
	(void)ctx;
	int err = host_address(address, sizeof address);
	return err == -E_NOT_FOUND && fault_armed() ? 0 : err; /* a machine without a network */
}

static void test_address(void **state)
{
	(void)state;
	char text[64];
	struct socket_address address;
	int err = host_address(text, sizeof text);
	assert_true(err == 0 || err == -E_NOT_FOUND);
	if (err == 0) {
		struct str literal = str_from(text);
		if (text[0] == '[')
			literal = (struct str){ text + 1, strlen(text) - 2 };
		assert_int_equal(socket_address_parse(literal, 80, &address), 0);
		assert_false(str_starts(literal, STR("127.")) || str_is(literal, "::1") || str_starts(literal, STR("fe80")));
	}
	assert_int_equal(test_each_fault(address_once, NULL), 1);
}

static bool shell(const char *script)
{
	char *const argv[] = { (char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c", (char *)(uintptr_t)script, NULL };
	int status;
	const struct proc_spawn spawn = { .path = "/bin/sh", .argv = argv, .standard = { -1, -1, -1 } };
	pid_t pid = proc_spawn(&spawn);
	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

static bool address_is(const char *expected)
{
	char text[64] = "";
	int err = host_address(text, sizeof text);
	return expected ? err == 0 && strcmp(text, expected) == 0 : err == -E_NOT_FOUND;
}

/* In a child that has a network of its own. */
static int other_networks(void *ctx)
{
	char map[64], small[8];
	(void)ctx;
	uid_t uid = getuid();
	int len = snprintf(map, sizeof map, "0 %u 1", uid); /* an ordinary user is root of what is its own */
	if (unshare(CLONE_NEWNET | (uid ? CLONE_NEWUSER : 0)) < 0)
		return 77;
	int fd = uid ? open("/proc/self/uid_map", O_WRONLY | O_CLOEXEC) : -1;
	if (uid && (fd < 0 || write(fd, map, (size_t)len) != len))
		return 77;
	if (uid)
		close(fd);
	if (!address_is(NULL))
		return 1;
	if (!shell("ip link add v0 type veth peer name v1 && ip link set v1 up && ip link set v0 up && "
	           "ip -6 addr add fe80::5/64 dev v0 nodad"))
		return 77;
	if (!address_is(NULL)) /* link-local ones alone are none */
		return 7;
	if (!shell("ip -6 addr add 2001:db8::5/64 dev v0 nodad") || !address_is("[2001:db8::5]"))
		return 2;
	if (host_address(small, sizeof small) != -E_TOO_LONG || host_address(small, 2) != -E_TOO_LONG)
		return 3;
	if (!shell("ip addr add 10.20.30.40/24 dev v0") || !address_is("10.20.30.40"))
		return 4;
	if (host_address(small, sizeof small) != -E_TOO_LONG)
		return 5;
	if (!shell("ip link set v0 down && ip link set v1 down") || !address_is(NULL))
		return 6;
	return 0;
}

static void test_other_networks(void **state)
{
	(void)state;
	int code = test_in_child(other_networks, NULL);
	if (code == 77)
		skip();
	assert_int_equal(code, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_this_machine),
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_address),
		cmocka_unit_test(test_other_networks),
		cmocka_unit_test_setup_teardown(test_other_machines, test_directory_make, test_directory_remove),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
