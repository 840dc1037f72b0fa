#include "os/proc.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "os/call.h"
#include "os/fd.h"

static char *title_room; /* the memory of argv and environ, which ps reads */
static size_t title_size;

/* Copies the strings away that lie at *end one behind the other; moves *end behind the last. */
static int strings_move(char **strings, char **end)
{
	for (; *strings && *strings == *end; strings++) {
		size_t len = strlen(*strings);
		char *copy = mem_copy_string(*strings, len);
		if (!copy)
			return -E_NO_MEMORY;
		*end += len + 1;
		*strings = copy; /* never freed: the program may keep pointers to it */
	}
	return 0;
}

void proc_title_init(int argc, char **argv)
{
	char *start = argc > 0 ? argv[0] : NULL, *end = start;
	if (!start || strings_move(argv, &end) < 0 || strings_move(environ, &end) < 0)
		return; /* the process keeps its name */
	title_room = start;
	title_size = (size_t)(end - start);
}

void proc_title_set(const char *title)
{
	prctl(PR_SET_NAME, title);
	if (!title_size)
		return;
	size_t len = strlen(title);
	if (len >= title_size)
		len = title_size - 1;
	memset(title_room, 0, title_size);
	memcpy(title_room, title, len);
}

int proc_self_path(char *out, size_t size)
{
	ssize_t len = OS_CALL(EIO, readlink("/proc/self/exe", out, size));
	if (len < 0)
		return (int)len;
	if ((size_t)len == size)
		return -E_TOO_LONG;
	out[len] = 0;
	/* A file that an update replaced shows as "... (deleted)"; the link itself still runs this version. */
	return OS_CALL(EIO, access(out, X_OK)) < 0 ? str_copy(STR("/proc/self/exe"), out, size) : 0;
}

static void signals_reset(void)
{
	sigset_t none;
	for (int i = 1; i < NSIG; i++)
		signal(i, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static int child_prepare(const struct proc_spawn *spawn, pid_t parent)
{
	if (spawn->new_session && setsid() < 0)
		return -errno;
	if (spawn->new_group && setpgid(0, 0) < 0)
		return -errno;
	if (spawn->die_with_parent && prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return -errno;
	if (spawn->die_with_parent && getppid() != parent)
		_exit(1);
	if (spawn->directory && chdir(spawn->directory) < 0)
		return -errno;
	return 0;
}

/* Moves the child's descriptors to 3, 4, ..., behind them *report and the three that go to 0, 1, 2. */
static int child_descriptors(const struct proc_spawn *spawn, int *report)
{
	int fds[FD_ARRANGE_MAX];
	size_t n = spawn->n_fds;
	if (n > PROC_SPAWN_FDS)
		return -E_TOO_LONG;
	if (n)
		memcpy(fds, spawn->fds, n * sizeof *fds);
	fds[n] = *report;
	for (size_t i = 0; i < 3; i++)
		fds[n + 1 + i] = spawn->standard[i] < 0 ? *report : spawn->standard[i];
	int err = fd_arrange(fds, n + 4);
	if (err < 0)
		return err;
	*report = 3 + (int)n;
	for (int i = 0; i < 4 && err == 0; i++)
		err = fd_set_inherit(*report + i, false);
	for (int i = 0; i < 3 && err == 0; i++)
		if (spawn->standard[i] >= 0 && dup2(*report + 1 + i, i) < 0)
			err = -errno;
	if (err == 0 && spawn->new_session && ioctl(STDIN_FILENO, TIOCSCTTY, 0) < 0)
		err = -errno;
	return err;
}

/* After fork, with all signals blocked: async-signal-safe calls only. */
static _Noreturn void child_run(const struct proc_spawn *spawn, pid_t parent, int report)
{
	fault_arm(0); /* the points that a test counts are the parent's */
	signals_reset();
	int err = child_prepare(spawn, parent);
	if (err == 0)
		err = child_descriptors(spawn, &report);
	if (err == 0) {
		execve(spawn->path, spawn->argv, spawn->environment ? spawn->environment : environ);
		err = -errno;
	}
	fd_write_all(report, &err, sizeof err);
	_exit(127);
}

/* Signals stay blocked in the child until its handlers are reset: one of the parent's, run there, could write into a
 * pipe that both share. */
static pid_t child_fork(const struct proc_spawn *spawn, int report)
{
	sigset_t all, before;
	pid_t parent = getpid();
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pid_t pid = OS_CALL(ENOMEM, fork());
	if (pid == 0)
		child_run(spawn, parent, report);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return pid;
}

pid_t proc_spawn(const struct proc_spawn *spawn)
{
	int report[2], err = OS_CALL(EMFILE, pipe2(report, O_CLOEXEC));
	if (err < 0)
		return err;
	pid_t pid = child_fork(spawn, report[1]);
	fd_close(report[1]);
	if (pid > 0) {
		ssize_t n = fd_read(report[0], &err, sizeof err); /* exec closes the other end */
		if (n < 0)
			err = (int)n;
	}
	fd_close(report[0]);
	if (pid < 0 || err == 0)
		return pid;
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return err;
}

bool proc_has_ended(pid_t pid)
{
	siginfo_t info = { .si_pid = 0 };
	return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid;
}

int proc_reap(pid_t pid, int *ret_signal)
{
	int status = 0;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	*ret_signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* The session of a process that is no zombie; 0 when it cannot be read. */
static pid_t session_of(const char *pid)
{
	char path[64], text[512];
	int session = 0;
	char state;
	snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
	int fd = OS_CALL(EIO, open(path, O_RDONLY | O_CLOEXEC));
	ssize_t n = fd < 0 ? 0 : fd_read(fd, text, sizeof text - 1);
	fd_close(fd);
	text[n > 0 ? n : 0] = 0;
	const char *behind_name = strrchr(text, ')');
	/* proc(5): state, parent, group, session */
	return behind_name && sscanf(behind_name + 1, " %c %*d %*d %d", &state, &session) == 2 && state != 'Z' ? session : 0;
}

static int signal_each(pid_t session, int signal)
{
	int n = 0;
	DIR *processes = fault_hit() ? NULL : opendir("/proc");
	if (!processes)
		return -E_NOT_FOUND;
	for (const struct dirent *entry; (entry = readdir(processes));) {
		uint64_t pid;
		if (str_to_u64(str_from(entry->d_name), INT32_MAX, &pid) < 0 || session_of(entry->d_name) != session)
			continue;
		kill((pid_t)pid, signal);
		n++;
	}
	closedir(processes);
	return n;
}

int proc_signal_session(pid_t session, int signal)
{
	int first = signal_each(session, signal);
	for (int rounds = 1, left = first; left > 0 && signal == SIGKILL && rounds < 10; rounds++)
		left = signal_each(session, signal);
	return first;
}

int proc_replace(const char *path, char *const *argv)
{
	return OS_CALL(EACCES, execve(path, argv, environ));
}

int proc_harden(void)
{
	const struct rlimit none = { 0, 0 };
	int err = OS_CALL(EPERM, setrlimit(RLIMIT_CORE, &none));
	return err < 0 ? err : OS_CALL(EPERM, prctl(PR_SET_DUMPABLE, 0));
}
