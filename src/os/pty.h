/* os/pty.h: pseudo terminals for shells, and the terminal that this program was started from. */
#ifndef OS_PTY_H
#define OS_PTY_H
#include <sys/types.h>

struct user_login;

#define PTY_SIDE_MAX 1000
struct pty_size {
	unsigned columns, rows; /* 1 to PTY_SIDE_MAX */
};

/* Starts that user's login shell, with this process's rights, in his home directory, leading a session of its own with a new terminal, and with
 * nothing of this process's environment: TERM, HOME, USER, SHELL, PATH, LANG.  The terminal's end of ours is non-blocking; reading gives -EIO when
 * all of the other side is closed, and closing it hangs the session up (SIGHUP), also when the kernel closes it for a killed process.
 * Returns the pid, or a negative code (-E_NUMBER: the size). */
pid_t pty_start_shell(const struct user_login *login, const struct pty_size *size, const char *term, int *ret_fd);
int pty_resize(int fd, const struct pty_size *size); /* the program inside gets SIGWINCH; -E_NUMBER */

/* ---- the user's own terminal ---- */

/* What he types comes byte by byte and unseen, until pty_cook() or the end of this process: by exit() or by a signal that it does not handle.
 * One terminal a process.  Returns 0 or a negative code (-ENOTTY). */
int pty_raw(int fd);
void pty_cook(void);                        /* as it was; also when it is so already; async-signal-safe */
int pty_size(int fd, struct pty_size *ret); /* 80 x 24 where the terminal knows none */
int pty_reopen(int fd); /* the same terminal, non-blocking, which then does not hold for others that have it open */
#endif
