#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include "priv/control.h"
#include "priv/priv.h"
#include "priv/sandbox.h"

#define EXIT_VIOLATION 159 /* 128 + SIGSYS, as a shell would say it */

#define ACCEPT     PRIV_ALLOW_ACCEPT
#define SPLICE     PRIV_ALLOW_SPLICE
#define FILES      PRIV_ALLOW_FILES
#define RESOLVE    PRIV_ALLOW_RESOLVE
#define CONNECT    PRIV_ALLOW_CONNECT
#define DATAGRAM   PRIV_ALLOW_DATAGRAM
#define THREAD     PRIV_ALLOW_THREAD
#define SOCKETPAIR PRIV_ALLOW_SOCKETPAIR
#define PROC       PRIV_ALLOW_PROC
#define ALL        (1u << 31) /* every role has this one */

/* A call that roles with one of the rights may make, with any arguments.  Calls that an architecture does not have are negative. */
static const struct call {
	int number;
	unsigned allow;
} calls[] = {
	/* memory, time, signals, leaving */
	{ SCMP_SYS(brk), ALL },
	{ SCMP_SYS(munmap), ALL },
	{ SCMP_SYS(mremap), ALL },
	{ SCMP_SYS(madvise), ALL },
	{ SCMP_SYS(futex), ALL },
	{ SCMP_SYS(getpid), ALL },
	{ SCMP_SYS(gettid), ALL },
	{ SCMP_SYS(rt_sigprocmask), ALL },
	{ SCMP_SYS(rt_sigreturn), ALL },
	{ SCMP_SYS(sigaltstack), ALL },
	{ SCMP_SYS(clock_gettime), ALL },
	{ SCMP_SYS(clock_nanosleep), ALL },
	{ SCMP_SYS(gettimeofday), ALL }, /* these two where the kernel offers no vdso */
	{ SCMP_SYS(time), ALL },
	{ SCMP_SYS(getrandom), ALL },
	{ SCMP_SYS(sysinfo), ALL }, /* qsort() asks how much memory there is */
	{ SCMP_SYS(sched_yield), ALL },
	{ SCMP_SYS(restart_syscall), ALL },
	{ SCMP_SYS(exit), ALL },
	{ SCMP_SYS(exit_group), ALL },
	/* descriptors that are open already, and the loop */
	{ SCMP_SYS(read), ALL },
	{ SCMP_SYS(readv), ALL },
	{ SCMP_SYS(write), ALL },
	{ SCMP_SYS(writev), ALL },
	{ SCMP_SYS(close), ALL },
	{ SCMP_SYS(fcntl), ALL },
	{ SCMP_SYS(lseek), ALL },
	{ SCMP_SYS(fstat), ALL },
	{ SCMP_SYS(newfstatat), ALL },
	{ SCMP_SYS(epoll_wait), ALL },
	{ SCMP_SYS(epoll_pwait), ALL },
	{ SCMP_SYS(epoll_ctl), ALL },
	{ SCMP_SYS(poll), ALL },
	{ SCMP_SYS(ppoll), ALL },
	{ SCMP_SYS(eventfd2), ALL },
	{ SCMP_SYS(timerfd_settime), ALL },
	{ SCMP_SYS(recvmsg), ALL },
	{ SCMP_SYS(sendmsg), ALL },
	{ SCMP_SYS(recvfrom), ALL },
	{ SCMP_SYS(sendto), ALL },
	{ SCMP_SYS(shutdown), ALL },
	{ SCMP_SYS(getsockopt), ALL },
	{ SCMP_SYS(setsockopt), ALL },
	{ SCMP_SYS(getsockname), ALL },
	{ SCMP_SYS(getpeername), ALL },
	/* more, by right */
	{ SCMP_SYS(accept4), ACCEPT },
	{ SCMP_SYS(splice), SPLICE },
	{ SCMP_SYS(pipe2), SPLICE },
	{ SCMP_SYS(openat), FILES },
	{ SCMP_SYS(pread64), FILES },
	{ SCMP_SYS(pwrite64), FILES },
	{ SCMP_SYS(fsync), FILES },
	{ SCMP_SYS(fdatasync), FILES },
	{ SCMP_SYS(ftruncate), FILES },
	{ SCMP_SYS(fstatfs), FILES },
	{ SCMP_SYS(fallocate), FILES },
	{ SCMP_SYS(flock), FILES },
	{ SCMP_SYS(getdents64), FILES | PROC },
	{ SCMP_SYS(unlink), FILES },
	{ SCMP_SYS(unlinkat), FILES },
	{ SCMP_SYS(rename), FILES },
	{ SCMP_SYS(renameat), FILES },
	{ SCMP_SYS(renameat2), FILES },
	{ SCMP_SYS(mkdir), FILES },
	{ SCMP_SYS(mkdirat), FILES },
	{ SCMP_SYS(rmdir), FILES },
	{ SCMP_SYS(geteuid), FILES },
	{ SCMP_SYS(getuid), FILES },
	{ SCMP_SYS(getcwd), FILES },
	{ SCMP_SYS(access), FILES },
	{ SCMP_SYS(faccessat), FILES },
	{ SCMP_SYS(faccessat2), FILES },
	{ SCMP_SYS(readlink), FILES },
	{ SCMP_SYS(readlinkat), FILES },
	{ SCMP_SYS(stat), FILES },
	{ SCMP_SYS(lstat), FILES },
	{ SCMP_SYS(chmod), FILES },
	{ SCMP_SYS(fchmodat), FILES },
	{ SCMP_SYS(fchmod), FILES },
	{ SCMP_SYS(fchown), FILES },
	{ SCMP_SYS(connect), RESOLVE | CONNECT },
	{ SCMP_SYS(bind), RESOLVE }, /* to ask the kernel for its addresses */
	{ SCMP_SYS(sendmmsg), RESOLVE },
	{ SCMP_SYS(recvmmsg), RESOLVE | PROC },
	{ SCMP_SYS(uname), RESOLVE },
	{ SCMP_SYS(set_robust_list), THREAD },
	{ SCMP_SYS(rseq), THREAD },
	{ SCMP_SYS(sched_getaffinity), THREAD }, /* malloc() asks for the number of processors */
};

/* With an argument: (value & mask) == wanted. */
static const struct condition {
	int number;
	unsigned allow;
	unsigned argument;
	uint64_t mask, wanted;
	uint32_t action;
} conditions[] = {
	{ SCMP_SYS(mmap), ALL, 2, PROT_EXEC, 0, SCMP_ACT_ALLOW },
	{ SCMP_SYS(mmap), RESOLVE, 2, PROT_EXEC, PROT_EXEC, SCMP_ACT_ERRNO(EACCES) }, /* a module of nsswitch.conf */
	{ SCMP_SYS(mprotect), ALL, 2, PROT_EXEC, 0, SCMP_ACT_ALLOW },
	{ SCMP_SYS(rt_sigaction), ALL, 0, UINT32_MAX, SIGSYS, SCMP_ACT_KILL_PROCESS },
	/* by far not all: TIOCSTI types into the terminal that the program was started from */
	{ SCMP_SYS(ioctl), ALL, 1, UINT32_MAX, FIONBIO, SCMP_ACT_ALLOW },
	{ SCMP_SYS(ioctl), ALL, 1, UINT32_MAX, FIONREAD, SCMP_ACT_ALLOW },
	{ SCMP_SYS(ioctl), ALL, 1, UINT32_MAX, FIOCLEX, SCMP_ACT_ALLOW },
	{ SCMP_SYS(ioctl), ALL, 1, UINT32_MAX, TCGETS, SCMP_ACT_ALLOW },
	{ SCMP_SYS(openat), RESOLVE | PROC, 2, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY, SCMP_ACT_ALLOW },
	{ SCMP_SYS(socket), RESOLVE, 0, UINT32_MAX, AF_INET, SCMP_ACT_ALLOW },
	{ SCMP_SYS(socket), RESOLVE, 0, UINT32_MAX, AF_INET6, SCMP_ACT_ALLOW },
	{ SCMP_SYS(socket), RESOLVE, 0, UINT32_MAX, AF_NETLINK, SCMP_ACT_ALLOW },
	{ SCMP_SYS(socket), RESOLVE, 0, UINT32_MAX, AF_UNIX, SCMP_ACT_ERRNO(EACCES) }, /* the name service's cache */
	{ SCMP_SYS(socketpair), SOCKETPAIR, 0, UINT32_MAX, AF_UNIX, SCMP_ACT_ALLOW },
	{ SCMP_SYS(clone), THREAD, 0, CLONE_THREAD, CLONE_THREAD, SCMP_ACT_ALLOW },
	{ SCMP_SYS(prctl), THREAD, 0, UINT32_MAX, PR_SET_NAME, SCMP_ACT_ALLOW },
	{ SCMP_SYS(prlimit64), THREAD, 2, UINT64_MAX, 0, SCMP_ACT_ALLOW }, /* reading only */
};

/* Libraries try these and do without: an error instead of death, except for roles that have the right. */
static const struct refusal {
	int number;
	unsigned unless;
	uint32_t action;
} refusals[] = {
	{ SCMP_SYS(openat), FILES | RESOLVE | PROC, SCMP_ACT_ERRNO(EACCES) },
	{ SCMP_SYS(socket), RESOLVE | CONNECT, SCMP_ACT_ERRNO(EACCES) },
	{ SCMP_SYS(clone3), 0, SCMP_ACT_ERRNO(ENOSYS) }, /* its flags are in memory: clone() is tried next */
};

#define COUNT(array) (sizeof(array) / sizeof *(array))

static int calls_add(scmp_filter_ctx filter, unsigned allow)
{
	int err = 0;
	for (const struct call *call = calls; call < calls + COUNT(calls) && err == 0; call++)
		if (call->number >= 0 && call->allow & allow)
			err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, call->number, 0);
	return err;
}

static int conditions_add(scmp_filter_ctx filter, unsigned allow)
{
	int err = 0;
	for (const struct condition *c = conditions; c < conditions + COUNT(conditions) && err == 0; c++)
		if (c->allow & allow)
			err = seccomp_rule_add(filter, c->action, c->number, 1,
			                       SCMP_CMP(c->argument, SCMP_CMP_MASKED_EQ, c->mask, c->wanted));
	return err;
}

static int refusals_add(scmp_filter_ctx filter, unsigned allow)
{
	int err = 0;
	for (const struct refusal *r = refusals; r < refusals + COUNT(refusals) && err == 0; r++)
		if (!(r->unless & allow))
			err = seccomp_rule_add(filter, r->action, r->number, 0);
	return err;
}

/* Those with more than one condition, or with a value known only now. */
static int special_add(scmp_filter_ctx filter, unsigned allow)
{
	const int families[] = { AF_INET, AF_INET6 };
	const uint64_t type = UINT32_MAX & ~(uint64_t)(SOCK_NONBLOCK | SOCK_CLOEXEC);
	/* abort() */
	int err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
	for (size_t i = 0; i < COUNT(families) && err == 0 && allow & CONNECT; i++)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2, SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i]),
		                       SCMP_A1(SCMP_CMP_MASKED_EQ, type, SOCK_STREAM));
	for (size_t i = 0; i < COUNT(families) && err == 0 && allow & DATAGRAM; i++) /* protocol 0 is UDP; others would be ping's */
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 3, SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i]),
		                       SCMP_A1(SCMP_CMP_MASKED_EQ, type, SOCK_DGRAM), SCMP_A2(SCMP_CMP_MASKED_EQ, UINT32_MAX, 0));
	return err;
}

/* Any signal but SIGSYS: one that differs in a bit.  (SCMP_CMP_NE would compare bits that the kernel does not look at.) */
static int signals_add(scmp_filter_ctx filter)
{
	int err = 0;
	for (uint64_t bit = 1; bit <= 64 && err == 0; bit <<= 1)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(rt_sigaction), 1,
		                       SCMP_A0(SCMP_CMP_MASKED_EQ, bit, ~(uint64_t)SIGSYS & bit));
	return err;
}

static int rules_add(scmp_filter_ctx filter, unsigned allow)
{
	int err = calls_add(filter, allow);
	if (err == 0)
		err = conditions_add(filter, allow);
	if (err == 0 && !SANDBOX_LOGS)
		err = refusals_add(filter, allow);
	if (err == 0)
		err = signals_add(filter);
	return err < 0 ? err : special_add(filter, allow);
}

static int filter_install(scmp_filter_ctx filter, unsigned allow)
{
	int err = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (err == 0)
		err = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
	if (err == 0)
		err = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (err == 0)
		err = rules_add(filter, allow);
	return err < 0 ? err : seccomp_load(filter);
}

/* In the role's last moment: async-signal-safe calls only, each of which the filter allows. */
static void on_violation(int signal, siginfo_t *info, void *context)
{
	unsigned number = (unsigned)info->si_syscall;
	const uint8_t packet[] = { CONTROL_VIOLATION, (uint8_t)(number >> 24), (uint8_t)(number >> 16), (uint8_t)(number >> 8),
		                   (uint8_t)number };
	(void)signal;
	(void)context;
	send(CONTROL_FD, packet, sizeof packet, MSG_NOSIGNAL | MSG_DONTWAIT);
	_exit(EXIT_VIOLATION);
}

int filter_load(const struct sandbox *sandbox)
{
	struct sigaction action = { .sa_sigaction = on_violation, .sa_flags = SA_SIGINFO };
	if (sigaction(SIGSYS, &action, NULL) < 0)
		return -1;
	scmp_filter_ctx filter = seccomp_init(SANDBOX_LOGS ? SCMP_ACT_LOG : SCMP_ACT_TRAP);
	int err = filter ? filter_install(filter, sandbox->allow | ALL) : -ENOMEM;
	seccomp_release(filter);
	malloc_trim(0); /* building it takes more memory than most roles ever need */
	errno = -err;
	return err < 0 ? -1 : 0;
}

void filter_call_name(unsigned number, char name[FILTER_CALL_SIZE])
{
	char *found = number > INT32_MAX ? NULL : seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, (int)number);
	if (found)
		snprintf(name, FILTER_CALL_SIZE, "%s", found);
	else
		snprintf(name, FILTER_CALL_SIZE, "number %u", number);
	free(found);
}
