/* priv/sandbox.h: what a role gives up.  Everything here is for good, and for one thread: call while there is only one. */
#ifndef PRIV_SANDBOX_H
#define PRIV_SANDBOX_H
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Sanitizers read /proc, attach to their own process and make calls of their own.  In such builds there is no Landlock, a role can be
 * traced, and the filter writes to the kernel's log instead of killing; a leak check takes place where there is no chroot. */
#ifdef MURMESH_SANITIZED
#define SANDBOX_LOGS true
#else
#define SANDBOX_LOGS false
#endif

struct sandbox {
	unsigned allow;        /* enum priv_allow */
	uid_t uid;             /* to run as; 0 = as an ordinary user, without a change */
	pid_t monitor;         /* its death ends the role */
	const char *root;      /* to chroot into; NULL = nowhere */
	const char *directory; /* that Landlock opens, seen from inside root; NULL = none */
	int proc;              /* a descriptor of /proc, which Landlock opens for reading; with PRIV_ALLOW_PROC */
	/* priv_child_confine_with(): after Landlock, which holds for one thread and its children, before the filter; NULL = none. */
	int (*inside)(void *ctx);
	void *ctx;
};

/* Enters the sandbox.  Returns 0, or -E_SANDBOX (logged; what was given up stays so). */
int sandbox_enter(const struct sandbox *sandbox);

/* The version of the kernel's Landlock; 0 = it has none. */
int landlock_version(void);
/* Steps of sandbox_enter(); return 0, or -1 with errno.  Without Landlock in the kernel the first does nothing. */
int landlock_restrict(const struct sandbox *sandbox);

/* For all threads. */
int filter_load(const struct sandbox *sandbox);
/* "ptrace", or the number when it has no name. */
#define FILTER_CALL_SIZE 64
void filter_call_name(unsigned number, char name[FILTER_CALL_SIZE]);
#endif
