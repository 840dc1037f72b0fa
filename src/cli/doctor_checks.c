#include "cli/doctor.h"

#include <errno.h>
#include <limits.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/str.h"
#include "os/clock.h"
#include "os/host.h"

enum {
	KERNEL_LEAST = 5 * 1000 + 10, /* close_range, pidfd, TPACKET_V3 as we use them */
	KERNEL_TESTED = 6 * 1000 + 1, /* Debian 12 */
	DESCRIPTORS_LEAST = 1024,
	DESCRIPTORS_GOOD = 16384, /* 15,000 agents per process */
	DISK_LEAST_MIB = 64,      /* the largest spool of an agent */
	DISK_GOOD_MIB = 1024,
};

static enum doctor_result kernel_check(const char *directory, char text[DOCTOR_TEXT_SIZE])
{
	(void)directory;
	struct utsname names;
	uint64_t major, minor;
	uname(&names);
	struct str rest = str_from(names.release), first = str_cut(rest, '.', &rest);
	struct str second = { rest.ptr, strspn(rest.ptr, "0123456789") };
	snprintf(text, DOCTOR_TEXT_SIZE, "%s %s", names.sysname, names.release);
	if (str_to_u64(first, 999, &major) < 0 || str_to_u64(second, 999, &minor) < 0)
		return DOCTOR_WARNING;
	uint64_t version = major * 1000 + minor;
	return version < KERNEL_LEAST ? DOCTOR_FAILURE : version < KERNEL_TESTED ? DOCTOR_WARNING : DOCTOR_OK;
}

static enum doctor_result landlock_check(const char *directory, char text[DOCTOR_TEXT_SIZE])
{
	(void)directory;
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	if (abi < 1) {
		snprintf(text, DOCTOR_TEXT_SIZE, "not there (%s); seccomp alone confines the roles of an ordinary user",
		         strerror(errno));
		return DOCTOR_WARNING;
	}
	snprintf(text, DOCTOR_TEXT_SIZE, "ABI %ld", abi);
	return DOCTOR_OK;
}

static enum doctor_result seccomp_check(const char *directory, char text[DOCTOR_TEXT_SIZE])
{
	(void)directory;
	uint32_t action = SECCOMP_RET_KILL_PROCESS;
	if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) < 0) {
		snprintf(text, DOCTOR_TEXT_SIZE, "not there (%s)", strerror(errno));
		return DOCTOR_FAILURE;
	}
	snprintf(text, DOCTOR_TEXT_SIZE, "filters are there");
	return DOCTOR_OK;
}

static enum doctor_result descriptors_check(const char *directory, char text[DOCTOR_TEXT_SIZE])
{
	(void)directory;
	struct rlimit limit = { 0 };
	getrlimit(RLIMIT_NOFILE, &limit);
	snprintf(text, DOCTOR_TEXT_SIZE, "at most %llu open files per process", (unsigned long long)limit.rlim_max);
	return limit.rlim_max < DESCRIPTORS_LEAST ? DOCTOR_FAILURE : limit.rlim_max < DESCRIPTORS_GOOD ? DOCTOR_WARNING : DOCTOR_OK;
}

static enum doctor_result clock_check(const char *directory, char text[DOCTOR_TEXT_SIZE])
{
	(void)directory;
	const int64_t first_release = 1767225600, far_future = 4102444800; /* 2026-01-01, 2100-01-01 */
	char now[CLOCK_TEXT_SIZE];
	int64_t seconds = clock_wall_s();
	clock_format(seconds, now);
	snprintf(text, DOCTOR_TEXT_SIZE, "%s", now);
	return seconds < first_release || seconds >= far_future ? DOCTOR_FAILURE : DOCTOR_OK;
}

static enum doctor_result machine_id_check(const char *directory, char text[DOCTOR_TEXT_SIZE])
{
	(void)directory;
	struct host host;
	host_read(&host);
	snprintf(text, DOCTOR_TEXT_SIZE, "%s",
	         host.machine_id[0] ? "there" : "missing: a copy of this machine cannot be told from it");
	return host.machine_id[0] ? DOCTOR_OK : DOCTOR_WARNING;
}

/* The directory, or the nearest one above it that exists. */
static bool existing_above(const char *directory, char out[PATH_MAX])
{
	if (str_copy(str_from(directory), out, PATH_MAX) < 0)
		return false;
	while (access(out, F_OK) != 0) {
		char *slash = strrchr(out, '/');
		if (!slash)
			snprintf(out, PATH_MAX, ".");
		else
			slash[slash == out] = 0;
	}
	return true;
}

static enum doctor_result disk_check(const char *directory, char text[DOCTOR_TEXT_SIZE])
{
	char place[PATH_MAX];
	struct statvfs disk;
	if (!existing_above(directory, place) || statvfs(place, &disk) < 0) {
		snprintf(text, DOCTOR_TEXT_SIZE, "%s: cannot be examined (%s)", directory, strerror(errno));
		return DOCTOR_FAILURE;
	}
	unsigned long long free_mib = (unsigned long long)disk.f_bavail * disk.f_frsize >> 20;
	snprintf(text, DOCTOR_TEXT_SIZE, "%llu MiB free in %.400s", free_mib, place);
	return free_mib < DISK_LEAST_MIB ? DOCTOR_FAILURE : free_mib < DISK_GOOD_MIB ? DOCTOR_WARNING : DOCTOR_OK;
}

static enum doctor_result directory_check(const char *directory, char text[DOCTOR_TEXT_SIZE])
{
	struct stat status;
	if (stat(directory, &status) < 0 && errno == ENOENT) {
		snprintf(text, DOCTOR_TEXT_SIZE, "%s: not made yet", directory);
		return DOCTOR_OK;
	}
	if (stat(directory, &status) < 0 || !S_ISDIR(status.st_mode)) {
		snprintf(text, DOCTOR_TEXT_SIZE, "%s: not a folder that you can use", directory);
		return DOCTOR_FAILURE;
	}
	snprintf(text, DOCTOR_TEXT_SIZE, "%s: mode %03o, owner %u", directory, status.st_mode & 07777, status.st_uid);
	if (status.st_mode & (S_IWGRP | S_IWOTH))
		return DOCTOR_FAILURE;
	return status.st_uid == geteuid() || geteuid() == 0 ? DOCTOR_OK : DOCTOR_WARNING;
}

const struct doctor_check doctor_checks[] = {
	{ "kernel", kernel_check, "use Linux 6.1 or newer; 5.10 is the least" },
	{ "landlock", landlock_check, "use a kernel with Landlock (5.13 or newer) and have it in the kernel's lsm= list" },
	{ "seccomp", seccomp_check, "use a kernel with CONFIG_SECCOMP_FILTER; in a container, allow seccomp(2)" },
	{ "descriptors", descriptors_check, "raise the hard limit: LimitNOFILE= of the service, or /etc/security/limits.conf" },
	{ "clock", clock_check, "set the clock, and have it kept right (chrony, systemd-timesyncd)" },
	{ "machine-id", machine_id_check, "run `systemd-machine-id-setup` once" },
	{ "disk", disk_check, "free some space, or choose another --dir" },
	{ "directory", directory_check, "give the folder to yourself and take the right to write from others: chmod go-w DIR" },
	{ "server", doctor_server, "look at the server's log, then start it again" },
	{ "keys", doctor_keys, "take the right to read from others: chmod go= FILE; then think about who may have read it" },
	{ "certificate", doctor_certificate, "set the clock; when the certificate has expired, enrol the machine again" },
	{ 0 },
};
