#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "os/fd.h"
#include "priv/priv.h"
#include "priv/sandbox.h"

/* Debian 12's headers know versions 1 and 2 only; these are from the kernel's documentation (userspace-api/landlock). */
#define FS_TRUNCATE         (1ull << 14)
#define NET_BIND_TCP        (1ull << 0)
#define NET_CONNECT_TCP     (1ull << 1)
#define SCOPE_ABSTRACT_UNIX (1ull << 0)
#define SCOPE_SIGNAL        (1ull << 1)

#define READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define WRITE                                                                                                                      \
	(LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_DIR |                               \
	 LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REFER | FS_TRUNCATE)

struct ruleset {
	uint64_t fs, net, scoped;
};

/* Where getaddrinfo reads, and where resolv.conf may point to. */
static const char *const resolver_paths[] = { "/etc", "/usr/share/zoneinfo", "/run/systemd/resolve", "/run/resolvconf",
	                                      "/run/NetworkManager" };

int landlock_version(void)
{
	long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	return version < 0 ? 0 : (int)version;
}

static uint64_t fs_handled(int version)
{
	unsigned bits = version >= 5 ? 16 : version >= 3 ? 15 : version == 2 ? 14 : 13;
	return (1ull << bits) - 1;
}

static int ruleset_new(int version, unsigned allow)
{
	bool connects = allow & (PRIV_ALLOW_CONNECT | PRIV_ALLOW_RESOLVE);
	struct ruleset ruleset = { .fs = fs_handled(version),
		                   .net = NET_BIND_TCP | (connects ? 0 : NET_CONNECT_TCP),
		                   .scoped = SCOPE_ABSTRACT_UNIX | SCOPE_SIGNAL };
	size_t size = version >= 6   ? sizeof ruleset
	              : version >= 4 ? offsetof(struct ruleset, scoped)
	                             : offsetof(struct ruleset, net);
	return (int)syscall(SYS_landlock_create_ruleset, &ruleset, size, 0);
}

static int fd_allow(int ruleset, int fd, uint64_t access)
{
	struct landlock_path_beneath_attr rule = { .allowed_access = access, .parent_fd = fd };
	return (int)syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
}

static int path_allow(int ruleset, const char *path, uint64_t access)
{
	int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int err = fd < 0 ? -1 : fd_allow(ruleset, fd, access);
	fd_close(fd);
	return err;
}

static int paths_allow(int ruleset, const struct sandbox *sandbox, int version)
{
	if (sandbox->directory && path_allow(ruleset, sandbox->directory, (READ | WRITE) & fs_handled(version)) < 0)
		return -1;
	if (sandbox->allow & PRIV_ALLOW_RESOLVE)
		for (size_t i = 0; i < sizeof resolver_paths / sizeof *resolver_paths; i++)
			if (path_allow(ruleset, resolver_paths[i], READ) < 0 && errno != ENOENT)
				return -1;
	return sandbox->allow & PRIV_ALLOW_PROC ? fd_allow(ruleset, sandbox->proc, READ) : 0;
}

int landlock_restrict(const struct sandbox *sandbox)
{
	int version = landlock_version();
	if (!version || SANDBOX_LOGS)
		return 0; /* the monitor says so once */
	int ruleset = ruleset_new(version, sandbox->allow);
	if (ruleset < 0)
		return -1;
	int err = paths_allow(ruleset, sandbox, version);
	if (err == 0)
		err = (int)syscall(SYS_landlock_restrict_self, ruleset, 0);
	fd_close(ruleset);
	return err;
}
