/* os/proc.h: this process and its children. */
#ifndef OS_PROC_H
#define OS_PROC_H
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Keeps room for a process title: first thing in main. */
void proc_title_init(int argc, char **argv);
/* "murmesh-server: link", as ps shows it. */
void proc_title_set(const char *title);
/* Path of the running program's file (for exec of the same binary). */
int proc_self_path(char *out, size_t size);

#define PROC_SPAWN_FDS 28
struct proc_spawn {
	const char *path;         /* relative: to `directory` */
	char *const *argv;        /* NULL-terminated */
	char *const *environment; /* NULL-terminated; NULL = this process's */
	const char *directory;    /* working directory; NULL = this one's */
	const int *fds;           /* become 3, 4, ... in the child; at most PROC_SPAWN_FDS */
	size_t n_fds;
	int standard[3];     /* become 0, 1, 2; -1 = as this process has them */
	int new_group;       /* 1 = own process group */
	int new_session;     /* 1 = own session, with the terminal standard[0] to control it */
	int die_with_parent; /* 1 = SIGKILL when the parent's thread ends */
};
/* Starts it, with no other descriptors, all signals at their defaults and none blocked.  Returns the pid, or a negative code (also when exec itself fails: the child reports through a pipe). */
pid_t proc_spawn(const struct proc_spawn *spawn);
/* Whether that child has ended, without reaping it: until then its number, and its group's, cannot be somebody else's. */
bool proc_has_ended(pid_t pid);
/* Waits for that child.  Its exit code, 128 + number when a signal ended it, as shells have it; *ret_signal: which, or 0. */
int proc_reap(pid_t pid, int *ret_signal);
/* To every process of that session; SIGKILL again, at most ten times, until none is left that one of them started meanwhile.  To be used before
 * its leader is reaped: then the number cannot be somebody else's.  Returns how many there were at first, or a negative code (no /proc). */
int proc_signal_session(pid_t session, int signal);
/* This process becomes that program; descriptors that may be inherited (os/fd.h) stay open.  Returns only on failure. */
int proc_replace(const char *path, char *const *argv);
/* Turns core dumps off, and ptrace by processes of the same user. */
int proc_harden(void);
#endif
