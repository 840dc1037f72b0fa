#include "priv/sandbox.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifdef MURMESH_SANITIZED
#include <sanitizer/lsan_interface.h>
#endif

#include "base/err.h"
#include "base/fault.h"
#include "os/log.h"
#include "priv/priv.h"

#ifdef MURMESH_SANITIZED
/* The leak check at a role's end reads /proc.  Without one it would turn a good end into a bad one. */
__attribute__((visibility("default"))) int __lsan_is_turned_off(void)
{
	return access("/proc/self/maps", R_OK) < 0;
}
#endif

static int core_dumps_off(const struct sandbox *sandbox)
{
	const struct rlimit none = { 0, 0 };
	(void)sandbox;
	return setrlimit(RLIMIT_CORE, &none);
}

static int root_change(const struct sandbox *sandbox)
{
	if (!sandbox->root)
		return 0;
	return chroot(sandbox->root) < 0 ? -1 : chdir("/");
}

static int bounding_set_empty(const struct sandbox *sandbox)
{
	if (!sandbox->uid)
		return 0;
	for (unsigned long capability = 0; prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0; capability++)
		;
	return errno == EINVAL ? 0 : -1; /* behind the last one */
}

static int identity_change(const struct sandbox *sandbox)
{
	uid_t uid = sandbox->uid;
	if (!uid)
		return 0;
	if (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0)
		return -1;
	if (setuid(0) == 0) { /* there must be no way back */
		errno = EPERM;
		return -1;
	}
	return 0;
}

static int capabilities_drop(const struct sandbox *sandbox)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { 0 };
	(void)sandbox;
	return (int)syscall(SYS_capset, &header, none);
}

static int privileges_forbid(const struct sandbox *sandbox)
{
	(void)sandbox;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

static int tracing_forbid(const struct sandbox *sandbox)
{
	(void)sandbox;
	return prctl(PR_SET_DUMPABLE, SANDBOX_LOGS ? 1 : 0); /* a leak check attaches to its own process */
}

/* The kernel forgets this when the uid changes. */
static int monitor_follow(const struct sandbox *sandbox)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return -1;
	if (getppid() != sandbox->monitor) {
		errno = ESRCH;
		return -1;
	}
	return 0;
}

static int inside_call(const struct sandbox *sandbox)
{
	int err = sandbox->inside ? sandbox->inside(sandbox->ctx) : 0;
	errno = err < 0 ? EAGAIN : 0;
	return err < 0 ? -1 : 0;
}

/* In this order: each step needs rights that a later one gives up. */
static const struct step {
	const char *name;
	int (*take)(const struct sandbox *sandbox);
} steps[] = {
	{ "core dumps", core_dumps_off }, { "root directory", root_change },     { "bounding set", bounding_set_empty },
	{ "user", identity_change },      { "capabilities", capabilities_drop }, { "new privileges", privileges_forbid },
	{ "tracing", tracing_forbid },    { "parent", monitor_follow },          { "Landlock", landlock_restrict },
	{ "start inside", inside_call },  { "system calls", filter_load },
};

static int step_take(const struct step *step, const struct sandbox *sandbox)
{
	if (!fault_hit())
		return step->take(sandbox);
	errno = EPERM;
	return -1;
}

int sandbox_enter(const struct sandbox *sandbox)
{
	tzset(); /* reads /etc/localtime, which is out of reach afterwards */
	for (const struct step *step = steps; step < steps + sizeof steps / sizeof *steps; step++) {
		if (step_take(step, sandbox) == 0)
			continue;
		log_error("sandbox: %s: %s", step->name, err_text(-errno));
		return -E_SANDBOX;
	}
	return 0;
}
