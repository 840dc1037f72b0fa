#include "priv/test_role.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fault.h"
#include "io/io.h"
#include "os/fd.h"
#include "os/file.h"
#include "priv/control.h"

#define PEERS 8

struct role;
struct peer {
	struct role *role;
	char name[64];
	int fd;
	struct io_watch *watch;
};

struct role {
	struct priv_child *child;
	struct peer peers[PEERS];
	unsigned messages; /* "count" so far */
	int code;
	bool lingers; /* at the end it goes on as if nothing had been said */
};

__attribute__((format(printf, 2, 3))) static void report(struct role *role, const char *format, ...)
{
	char text[512];
	va_list args;
	va_start(args, format);
	int len = vsnprintf(text, sizeof text, format, args);
	va_end(args);
	priv_report(role->child, (struct str){ text, len < (int)sizeof text ? (size_t)len : sizeof text - 1 });
}

/* ---- descriptors ---- */

static void peer_close(struct peer *peer)
{
	peer->watch = io_watch_free(peer->watch);
	peer->fd = fd_close(peer->fd);
	peer->name[0] = 0;
}

static ssize_t peer_read(struct peer *peer, char *text, size_t size)
{
	int fds[FD_PASS_MAX];
	size_t n = 0;
	ssize_t len =
	        strncmp(peer->name, "pass-", 5) == 0 ? fd_receive(peer->fd, text, size, fds, &n) : fd_read(peer->fd, text, size);
	while (n)
		fd_close(fds[--n]);
	return len;
}

static void on_peer(void *ctx, unsigned events)
{
	struct peer *peer = ctx;
	char text[256];
	ssize_t len = peer_read(peer, text, sizeof text);
	(void)events;
	if (len == -EAGAIN)
		return;
	if (len <= 0) {
		report(peer->role, "%s ended", peer->name);
		peer_close(peer);
	} else if (strncmp(peer->name, "rpc-from:", 9) == 0) {
		fd_write(peer->fd, text, (size_t)len);
	} else {
		report(peer->role, "%s %.*s", peer->name, (int)len, text);
	}
}

static struct peer *peer_find(struct role *role, const char *name)
{
	for (size_t i = 0; i < PEERS; i++)
		if (strcmp(role->peers[i].name, name) == 0)
			return &role->peers[i];
	return NULL;
}

static void on_descriptor(void *ctx, const char *name, int fd)
{
	struct role *role = ctx;
	struct peer *peer = peer_find(role, name);
	if (peer)
		peer_close(peer);
	else
		peer = peer_find(role, "");
	if (!peer)
		abort();
	peer->role = role;
	peer->fd = fd;
	snprintf(peer->name, sizeof peer->name, "%s", name);
	report(role, "got %s", name);
	if (strchr(name, ':')) {
		peer->watch = io_watch_new(priv_child_loop(role->child), fd, on_peer, peer);
		io_watch_set(peer->watch, IO_READABLE);
	}
}

/* ---- calls to try: 0, or -1 with errno ---- */

static int try_open(void)
{
	return open("/etc/passwd", O_RDONLY);
}

static int proc_fd = -1;

/* Through the descriptor, as the role that may do so: a process's state, what is beside /proc, and writing. */
static int try_proc(void)
{
	return openat(proc_fd, "1/stat", O_RDONLY);
}

static int try_beside_proc(void)
{
	return openat(proc_fd, "../etc/passwd", O_RDONLY);
}

static int try_proc_write(void)
{
	return openat(proc_fd, "self/comm", O_WRONLY);
}

static int try_create(void)
{
	return open("/etc/passwd", O_RDONLY | O_CREAT, 0600);
}

static int try_read_tmp(void)
{
	return open("/tmp", O_RDONLY | O_DIRECTORY);
}

static int try_tcp(void)
{
	return socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

static int try_udp(void)
{
	return socket(AF_INET, SOCK_DGRAM, 0);
}

static int try_ping(void)
{
	return socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
}

static int try_udp_bind(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = try_udp();
	return fd < 0 ? -1 : bind(fd, (struct sockaddr *)&address, sizeof address);
}

static int try_unix(void)
{
	return socket(AF_UNIX, SOCK_STREAM, 0);
}

static int try_pair(void)
{
	int pair[2];
	return socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair);
}

static int try_pair_inet(void)
{
	int pair[2];
	return socketpair(AF_INET, SOCK_STREAM, 0, pair);
}

static int try_bind(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = try_tcp();
	return fd < 0 ? -1 : bind(fd, (struct sockaddr *)&address, sizeof address);
}

static int try_ptrace(void)
{
	return (int)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}

static int try_exec(void)
{
	char program[] = "/bin/true", *argv[] = { program, NULL };
	return execv(program, argv);
}

static int try_fork(void)
{
	pid_t pid = fork();
	if (pid == 0)
		_exit(0);
	return pid < 0 ? -1 : (int)waitpid(pid, NULL, 0);
}

static int try_kill(void)
{
	return kill(1, 0);
}

static int try_terminal(void)
{
	return ioctl(STDERR_FILENO, TIOCNXCL);
}

static int try_sigsys(void)
{
	return signal(SIGSYS, SIG_IGN) == SIG_ERR ? -1 : 0;
}

/* The kernel looks at 32 bits of a signal's number. */
static int try_sigsys_wide(void)
{
	struct {
		void (*handler)(int);
		unsigned long flags;
		void (*restorer)(void);
		uint64_t mask;
	} action = { .handler = SIG_IGN };
	return (int)syscall(SYS_rt_sigaction, (1ul << 32) | SIGSYS, &action, NULL, sizeof action.mask);
}

static int try_sigusr(void)
{
	return signal(SIGUSR1, SIG_IGN) == SIG_ERR ? -1 : 0;
}

static int try_execute_memory(void)
{
	void *memory = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return memory == MAP_FAILED ? -1 : 0;
}

static int compare(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* What ordinary code does without thinking of a system call. */
static int try_library(void)
{
	static int values[100000];
	char text[64];
	time_t now = time(NULL);
	struct tm tm;
	for (size_t i = 0; i < sizeof values / sizeof *values; i++)
		values[i] = (int)(i * 7919 % 100003);
	qsort(values, sizeof values / sizeof *values, sizeof *values, compare);
	void *large = malloc((size_t)8 << 20);
	if (!large || !localtime_r(&now, &tm) || !strftime(text, sizeof text, "%F %T", &tm))
		return -1;
	memset(large, 1, (size_t)8 << 20);
	free(large);
	return fprintf(stderr, "%s", "") < 0 || isatty(STDERR_FILENO) < 0 ? -1 : 0;
}

/* More than malloc() has arenas before it asks for the number of processors. */
#define THREADS 12
static pthread_barrier_t all_run;

static void *thread_run(void *ctx)
{
	pthread_setname_np(pthread_self(), "worker");
	*(char **)ctx = malloc(100000);
	pthread_barrier_wait(&all_run);
	return NULL;
}

static int try_thread(void)
{
	pthread_t threads[THREADS];
	char *memory[THREADS] = { NULL };
	pthread_barrier_init(&all_run, NULL, THREADS);
	for (size_t i = 0; i < THREADS; i++)
		if ((errno = pthread_create(&threads[i], NULL, thread_run, &memory[i])) != 0)
			return -1;
	for (size_t i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		free(memory[i]);
	}
	return 0;
}

static int try_resolve(void)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG }, *found = NULL;
	int err = getaddrinfo("localhost", "80", &hints, &found);
	if (err == 0)
		freeaddrinfo(found);
	int missing = getaddrinfo("no-such-host.invalid", NULL, &hints, &found); /* fails, but does not kill */
	errno = EHOSTUNREACH;
	return err == 0 && missing != 0 ? 0 : -1;
}

static int try_orphan(void)
{
	return prctl(PR_SET_PDEATHSIG, 0);
}

static int try_abort(void)
{
	abort();
}

/* Says something that no role says. */
static int try_unknown_kind(void)
{
	return (int)send(CONTROL_FD, "\177", 1, 0);
}

static int try_too_long(void)
{
	static char bytes[CONTROL_TEXT_MAX + 2] = { CONTROL_REPORT };
	return (int)send(CONTROL_FD, bytes, sizeof bytes, 0);
}

static int try_short_violation(void)
{
	return (int)send(CONTROL_FD, (char[]){ CONTROL_VIOLATION, 0 }, 2, 0);
}

static int try_false_violation(void)
{
	return (int)send(CONTROL_FD, "\011\377\377\377\377", 5, 0); /* CONTROL_VIOLATION */
}

/* Leaves descriptors in the monitor, unless it closes them. */
static int try_descriptors(void)
{
	const int fds[] = { STDERR_FILENO, STDERR_FILENO };
	return fd_send(CONTROL_FD, (char[]){ CONTROL_REPORT, 'x' }, 2, fds, 2);
}

static const struct {
	const char *name;
	int (*run)(void);
} tries[] = {
	{ "open", try_open },
	{ "create", try_create },
	{ "proc", try_proc },
	{ "beside-proc", try_beside_proc },
	{ "proc-write", try_proc_write },
	{ "tmp", try_read_tmp },
	{ "tcp", try_tcp },
	{ "udp", try_udp },
	{ "udp-bind", try_udp_bind },
	{ "ping", try_ping },
	{ "unix", try_unix },
	{ "pair", try_pair },
	{ "pair-inet", try_pair_inet },
	{ "bind", try_bind },
	{ "ptrace", try_ptrace },
	{ "exec", try_exec },
	{ "fork", try_fork },
	{ "kill", try_kill },
	{ "terminal", try_terminal },
	{ "sigsys", try_sigsys },
	{ "sigsys-wide", try_sigsys_wide },
	{ "sigusr", try_sigusr },
	{ "execute-memory", try_execute_memory },
	{ "library", try_library },
	{ "thread", try_thread },
	{ "resolve", try_resolve },
	{ "orphan", try_orphan },
	{ "abort", try_abort },
	{ "unknown-kind", try_unknown_kind },
	{ "too-long", try_too_long },
	{ "short-violation", try_short_violation },
	{ "false-violation", try_false_violation },
	{ "descriptors", try_descriptors },
};

static void try_call(struct role *role, const char *name)
{
	for (size_t i = 0; i < sizeof tries / sizeof *tries; i++) {
		if (strcmp(tries[i].name, name) != 0)
			continue;
		int result = tries[i].run();
		report(role, "try %s %s", name, result < 0 ? err_name(errno) : "ok");
		return;
	}
	abort();
}

/* ---- other commands ---- */

static void try_connect(struct role *role, const char *port)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
		                       .sin_port = htons((uint16_t)strtoul(port, NULL, 10)),
		                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	int err = connect(fd, (struct sockaddr *)&address, sizeof address);
	report(role, "connect %s", err < 0 ? err_name(errno) : "ok");
	fd_close(fd);
}

/* What a database does in its directory. */
static int files_use(const char *directory)
{
	char file[256], moved[256], folder[256];
	struct buf content;
	if (file_path(folder, sizeof folder, directory, "folder") < 0 || file_path(file, sizeof file, directory, "file") < 0 ||
	    file_path(moved, sizeof moved, folder, "moved") < 0)
		return -E_TOO_LONG;
	int err = file_make_directory(folder, 0700);
	if (err == 0)
		err = file_write(file, "hello", 5, 0600);
	if (err == 0)
		err = rename(file, moved) < 0 ? -errno : 0;
	buf_init(&content, 100);
	if (err == 0)
		err = file_read(moved, &content);
	buf_done(&content);
	if (err == 0)
		err = unlink(moved) < 0 || rmdir(folder) < 0 ? -errno : 0;
	int lock = file_lock(file);
	fd_close(lock);
	return err < 0 ? err : lock < 0 ? lock : 0;
}

static void on_write(struct role *role, char *name)
{
	char *text = strchr(name, ' ');
	if (!text)
		abort();
	*text++ = 0;
	struct peer *peer = peer_find(role, name);
	ssize_t n = peer ? fd_write(peer->fd, text, strlen(text)) : -ENOENT;
	report(role, "wrote %s", n < 0 ? err_name((int)n) : "ok");
}

static void hang(struct role *role)
{
	report(role, "hangs");
	while (poll(NULL, 0, -1) != 0)
		;
}

/* Says more than the monitor hears in one turn, and dies. */
static void chatter(struct role *role)
{
	for (unsigned i = 0; i < 100; i++)
		report(role, "chatters %u.", i);
	abort();
}

static void on_message(void *ctx, struct str message)
{
	struct role *role = ctx;
	char text[CONTROL_TEXT_MAX + 1];
	if (str_copy(message, text, sizeof text) < 0)
		abort();
	char *argument = strchr(text, ' ');
	if (argument)
		*argument++ = 0;
	if (strcmp(text, "try") == 0)
		try_call(role, argument);
	else if (strcmp(text, "write") == 0)
		on_write(role, argument);
	else if (strcmp(text, "connect") == 0)
		try_connect(role, argument);
	else if (strcmp(text, "files") == 0)
		report(role, "files %s", err_name(files_use(priv_child_directory(role->child))));
	else if (strcmp(text, "count") == 0) {
		if (++role->messages % 50 == 0)
			report(role, "passed %u", role->messages);
	} else if (strcmp(text, "counted") == 0)
		report(role, "counted %u", role->messages);
	else if (strcmp(text, "long") == 0)
		report(role, "long %s", err_name(priv_report(role->child, (struct str){ text, CONTROL_TEXT_MAX + 1 })));
	else if (strcmp(text, "hang") == 0)
		hang(role);
	else if (strcmp(text, "chatter") == 0)
		chatter(role);
	else if (strcmp(text, "linger") == 0) {
		role->lingers = true;
		report(role, "lingers");
	} else if (strcmp(text, "exit") == 0) {
		role->code = (int)strtol(argument, NULL, 10);
		io_loop_stop(priv_child_loop(role->child));
	}
}

static void on_stop(void *ctx)
{
	struct role *role = ctx;
	report(role, "stopping");
}

static const struct priv_child_events events = { on_descriptor, on_message, on_stop };

static int role_inside(void *ctx)
{
	struct role *role = ctx;
	const char *directory = priv_child_directory(role->child);
	long countdown = fault_countdown;
	fault_arm(0);
	report(role, "inside %s", directory ? directory : "-");
	fault_arm(countdown);
	return str_is(priv_child_configuration(role->child), "inside fails") ? -E_FILE : 0;
}

static int role_confine(struct role *role)
{
	uint64_t fault = 0;
	struct str configuration = priv_child_configuration(role->child);
	if (str_starts(configuration, STR("fault ")) && str_to_u64(str_skip(configuration, 6), 1000, &fault) < 0)
		abort();
	fault_arm((long)fault);
	int err = priv_child_confine_with(role->child, role_inside, role);
	bool beyond = fault_armed();
	fault_arm(0);
	if (fault)
		report(role, "confine %s%s", err_name(err), beyond ? " beyond" : "");
	return err;
}

static int role_main(struct priv_child *child)
{
	struct role role = { .child = child };
	struct str configuration = priv_child_configuration(child);
	char before[256] = "-";
	if (priv_child_directory(child))
		snprintf(before, sizeof before, "%s", priv_child_directory(child));
	proc_fd = priv_child_proc(child);
	priv_child_listen(child, &events, &role);
	int err = role_confine(&role);
	if (err < 0)
		return 77;
	const char *after = priv_child_directory(child);
	report(&role, "start %d %s %s %.*s", (int)getpid(), before, after ? after : "-", STR_ARG(configuration));
	priv_child_ready(child);
	err = priv_child_run(child);
	if (role.lingers)
		io_loop_run(priv_child_loop(child));
	for (size_t i = 0; i < PEERS; i++)
		if (role.peers[i].name[0])
			peer_close(&role.peers[i]);
	return role.code ? role.code : err;
}

/* Fails at once; never ready. */
static int broken_main(struct priv_child *child)
{
	struct role role = { .child = child };
	report(&role, "unconfined %s", err_name(priv_child_ready(child)));
	return 3;
}

static const struct priv_role roles[] = {
	{ .name = "plain", .main = role_main },
	{ .name = "other", .main = role_main },
	{ .name = "files", .main = role_main, .allow = PRIV_ALLOW_FILES, .directory = "store/files" },
	{ .name = "net", .main = role_main, .allow = PRIV_ALLOW_CONNECT },
	{ .name = "resolve", .main = role_main, .allow = PRIV_ALLOW_RESOLVE },
	{ .name = "every", .main = role_main, .allow = 127 & ~PRIV_ALLOW_RESOLVE, .directory = "every" },
	{ .name = "proc", .main = role_main, .allow = PRIV_ALLOW_PROC },
	{ .name = "worker", .main = role_main, .allow = PRIV_ALLOW_THREAD },
	{ .name = "pairs", .main = role_main, .allow = PRIV_ALLOW_SOCKETPAIR },
	{ .name = "helper", .main = role_main, .directory = "helper", .unconfined = true },
	{ .name = "broken", .main = broken_main },
	{ .name = "datagrams", .main = role_main, .allow = PRIV_ALLOW_CONNECT | PRIV_ALLOW_DATAGRAM },
};

const struct priv_program test_roles = { .name = "priv-test", .roles = roles, .n_roles = sizeof roles / sizeof *roles };
