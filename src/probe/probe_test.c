/* The probe on this very machine: processes and connections that the test makes are reported.  As root by the best sources, as an ordinary
 * user (and in the tests that say so) by the next best. */
#include "base/test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "gg_modules.h"
#include "io/io.h"
#include "os/clock.h"
#include "os/log.h"
#include "probe/probe.h"

#define WAIT_MS 20000
#define PIDS    ((size_t)1 << 22) /* the kernel's greatest pid_max */

struct world {
	struct io_loop *loop;
	struct io_timer *late;
	struct probe *probe;
	struct probe_search *search;
	int proc;
	struct gg_order order;
	struct gg_frame frames[2];
	unsigned keyframes[2];
	uint64_t lost[GG_LOST_PLACES];
	char source[2][200];
	/* what a test waits for */
	bool (*each)(struct world *world, const struct gg_record_type *type, const union gg_any *any, bool keyframe);
	uint32_t pid;
	uint16_t port;
	unsigned forks, exits, found, wanted;
	uint64_t bytes, least; /* of the connection */
	bool done;
	/* what the server would take for true, by process id: when it was last named; 0 = it is not there */
	uint32_t *named, stamp, began;
	struct io_timer *change;
	unsigned between; /* events while a keyframe was not whole */
};

static void control_take(struct world *world, const struct gg_record *record)
{
	union {
		struct gg_lost lost;
		struct gg_notice notice;
	} any;
	const struct gg_record_type *type = gg_record_find(&gg_control, record->type);
	assert_non_null(type);
	assert_int_equal(gg_record_read(type, record, &any), GG_OK);
	if (record->type == GG_LOST)
		world->lost[any.lost.place] += any.lost.count;
	else if (record->type == GG_NOTICE)
		snprintf(world->source[any.notice.module], sizeof world->source[0], "%.*s", STR_ARG(any.notice.text));
}

static void process_name(struct world *world, const struct gg_record_type *type, const union gg_any *any)
{
	if (type == gg_process_exec_type)
		world->named[any->process_exec.process.pid] = world->stamp;
	else if (type == gg_process_fork_type)
		world->named[any->process_fork.process.pid] = world->stamp;
	else if (type == gg_process_exit_type)
		world->named[any->process_exit.process.pid] = 0;
}

/* A keyframe is whole: what nothing named since it began is gone. */
static void processes_forget(struct world *world)
{
	for (size_t pid = 0; pid < PIDS; pid++)
		if (world->named[pid] < world->began)
			world->named[pid] = 0;
}

static void datagram_take(struct world *world, struct str bytes)
{
	struct gg_datagram datagram;
	struct gg_record record;
	union gg_any any;
	size_t at = 0;
	bool begins = false, ends = false;
	assert_int_equal(gg_datagram_read(bytes, &datagram), GG_OK);
	assert_int_equal(gg_order_check(&world->order, datagram.sequence), GG_OK);
	gg_order_commit(&world->order, datagram.sequence);
	bool keyframe = datagram.flags & GG_IN_KEYFRAME;
	if (keyframe)
		assert_int_equal(gg_frame_take(&world->frames[datagram.module], &datagram, &begins, &ends), GG_OK);
	if (begins && datagram.module == GG_MODULE_PROCESS)
		world->began = ++world->stamp;
	while (gg_record_next(&datagram, &at, &record)) {
		if (datagram.module == GG_CONTROL) {
			control_take(world, &record);
			continue;
		}
		const struct gg_record_type *type = gg_record_find(gg_module_find(datagram.module), record.type);
		assert_non_null(type);
		assert_int_equal(gg_record_read(type, &record, &any), GG_OK);
		if (world->named && datagram.module == GG_MODULE_PROCESS)
			process_name(world, type, &any);
		world->between += !keyframe && datagram.module == GG_MODULE_PROCESS && world->frames[GG_MODULE_PROCESS].open;
		if (world->each && world->each(world, type, &any, keyframe))
			world->done = true;
	}
	if (ends && world->named && datagram.module == GG_MODULE_PROCESS)
		processes_forget(world);
	if (ends)
		world->keyframes[datagram.module]++;
}

static void on_ready(void *ctx)
{
	static uint8_t bytes[16384];
	struct world *world = ctx;
	for (size_t len; (len = probe_take(world->probe, bytes, sizeof bytes));) {
		struct str rest = { (const char *)bytes, len }, one;
		while (gg_link_next(&rest, &one))
			datagram_take(world, one);
		assert_int_equal(rest.len, 0);
	}
	if (world->done)
		io_loop_stop(world->loop);
}

static void on_found(void *ctx, uint64_t inode, uint64_t pid)
{
	probe_owner(((struct world *)ctx)->probe, inode, pid);
}

static void on_searched(void *ctx)
{
	struct world *world = ctx;
	world->search = probe_search_free(world->search);
}

static int on_owners(void *ctx, const uint64_t *inodes, size_t n)
{
	struct world *world = ctx;
	if (world->search)
		return -1;
	world->search = probe_search_new(world->loop, inodes, n, on_found, on_searched, world);
	return world->search ? 0 : -1;
}

static void on_late(void *ctx)
{
	io_loop_stop(((struct world *)ctx)->loop);
}

static void run_until_done(struct world *world)
{
	io_timer_start(world->late, WAIT_MS, 0);
	while (!world->done) {
		io_loop_run(world->loop);
		assert_true(world->done);
	}
	io_timer_stop(world->late);
	world->done = false;
}

static void world_start(struct world *world, struct probe_settings settings)
{
	memset(world, 0, sizeof *world);
	world->proc = settings.proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	settings.arguments = true;
	settings.ready = on_ready;
	settings.owners = on_owners;
	settings.ctx = world;
	world->loop = io_loop_new();
	world->late = io_timer_new(world->loop, on_late, world);
	world->probe = probe_new(world->loop, &settings);
	assert_non_null(world->probe);
	probe_start(world->probe);
	probe_linked(world->probe, true);
}

static void world_end(struct world *world)
{
	probe_free(world->probe);
	probe_search_free(world->search);
	io_timer_free(world->late);
	io_loop_free(world->loop);
	close(world->proc);
}

/* A shell that waits for its input, with what looks like a secret among its arguments; it ends when killed. */
static pid_t program_start(void)
{
	int pair[2];
	assert_int_equal(pipe(pair), 0);
	pid_t pid = fork();
	if (pid == 0) {
		dup2(pair[0], 0);
		execl("/bin/sh", "/bin/sh", "-c", "read line", "me", "--password=hunter2", (char *)NULL);
		_exit(127);
	}
	assert_true(pid > 0);
	close(pair[0]); /* the other end stays open in both */
	return pid;
}

static bool each_own_exec(struct world *world, const struct gg_record_type *type, const union gg_any *any, bool keyframe)
{
	if (type == gg_process_exec_type && any->process_exec.process.pid == (uint64_t)getpid() && keyframe)
		world->found++;
	return world->found && world->keyframes[GG_MODULE_PROCESS] == 0 && world->source[GG_MODULE_PROCESS][0];
}

static bool each_program(struct world *world, const struct gg_record_type *type, const union gg_any *any, bool keyframe)
{
	if (keyframe)
		return false;
	if (type == gg_process_exec_type && any->process_exec.process.pid == world->pid) {
		assert_true(str_is(any->process_exec.command, "sh"));
		assert_true(str_is(any->process_exec.argv, "/bin/sh -c read line me --password=***"));
		assert_true(str_is(any->process_exec.exe, "/bin/sh") || str_is(any->process_exec.exe, "sh"));
		assert_int_equal(any->process_exec.parent.pid, getpid());
		assert_int_equal(any->process_exec.uid, getuid());
		world->found++;
	}
	return world->found == 1;
}

static bool each_end(struct world *world, const struct gg_record_type *type, const union gg_any *any, bool keyframe)
{
	(void)keyframe;
	if (type != gg_process_exit_type || any->process_exit.process.pid != world->pid)
		return false;
	if (any->process_exit.known)
		assert_int_equal(any->process_exit.signal, SIGKILL);
	return true;
}

static void program_is_reported(struct probe_settings settings, const char *source)
{
	static struct world world;
	world_start(&world, settings);
	world.each = each_own_exec;
	run_until_done(&world);
	if (source)
		assert_string_equal(world.source[GG_MODULE_PROCESS], source);
	world.found = 0;
	world.each = each_program;
	pid_t pid = program_start();
	world.pid = (uint32_t)pid;
	run_until_done(&world);
	world.each = each_end;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	run_until_done(&world);
	world_end(&world);
}

static void test_program_by_polling(void **state)
{
	(void)state;
	program_is_reported((struct probe_settings){ .polling = true }, "/proc, 1 s");
}

static void test_program_by_connector(void **state)
{
	(void)state;
	program_is_reported((struct probe_settings){ .polling = false }, NULL);
}

/* ---- storms ---- */

#define STORM 5000

static uint8_t own[PIDS]; /* by process id: 1 reported as forked, 2 as ended */

static bool each_of_storm(struct world *world, const struct gg_record_type *type, const union gg_any *any, bool keyframe)
{
	if (keyframe)
		return false;
	if (type == gg_process_fork_type && any->process_fork.parent.pid == (uint64_t)getpid()) {
		world->forks++;
		own[any->process_fork.process.pid] |= 1;
	} else if (type == gg_process_exit_type && own[any->process_exit.process.pid] == 1) {
		world->exits++;
		own[any->process_exit.process.pid] = 2;
	}
	return world->pid && any->process_exit.process.pid == world->pid && type == gg_process_exit_type;
}

/* Children that end at once; the loop does not run meanwhile. */
static void storm(void)
{
	memset(own, 0, sizeof own);
	for (unsigned i = 0; i < STORM; i++) {
		pid_t pid = vfork();
		if (pid == 0)
			_exit(0);
		assert_true(pid > 0);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
	}
}

/* One program more, whose end comes behind all that; another one when its end found no room beside what others on this machine do. */
static void storm_wait(struct world *world)
{
	for (unsigned i = 0; i < 20 && !world->done; i++) {
		pid_t pid = program_start();
		world->pid = (uint32_t)pid;
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		io_timer_start(world->late, 1000, 0);
		io_loop_run(world->loop);
	}
	run_until_done(world);
}

/* On each processor: the number of its next event tells what was missing there. */
static void storm_wait_everywhere(struct world *world)
{
	cpu_set_t all, one;
	assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &all))
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
		storm_wait(world);
	}
	assert_int_equal(sched_setaffinity(0, sizeof all, &all), 0);
}

/* Lets the probe read what there is. */
static void settle(struct world *world)
{
	io_timer_start(world->late, 1500, 0);
	io_loop_run(world->loop);
	world->done = false;
}

static bool storm_possible(struct world *world, struct probe_settings settings)
{
	world_start(world, settings);
	world->each = each_own_exec;
	run_until_done(world);
	bool possible = strcmp(world->source[GG_MODULE_PROCESS], "proc connector") == 0 && geteuid() == 0;
	if (!possible)
		world_end(world); /* others have no connector, or little room in the kernel */
	world->each = each_of_storm;
	return possible;
}

static void test_storm_without_loss(void **state)
{
	static struct world world;
	(void)state;
	if (!storm_possible(&world, (struct probe_settings){ 0 }))
		skip();
	storm();
	storm_wait(&world);
	assert_int_equal(world.lost[GG_LOST_KERNEL], 0);
	assert_int_equal(world.lost[GG_LOST_QUEUE], 0);
	assert_true(world.forks >= STORM);
	assert_int_equal(world.exits, world.forks);
	world_end(&world);
}

/* What does not come is counted, and what was not seen to end is found gone. */
static void test_storm_with_loss(void **state)
{
	static struct world world;
	(void)state;
	if (!storm_possible(&world, (struct probe_settings){ .room = 65536 }))
		skip();
	storm_wait_everywhere(&world); /* the numbers begin */
	storm();
	settle(&world); /* else the program's own events find no room */
	storm_wait_everywhere(&world);
	settle(&world);
	assert_true(world.lost[GG_LOST_KERNEL] > STORM);
	assert_true(world.forks + world.exits + world.lost[GG_LOST_KERNEL] >= 2 * STORM);
	assert_int_equal(world.exits, world.forks);
	world_end(&world);
}

static void test_storm_while_away(void **state)
{
	static struct world world;
	(void)state;
	if (!storm_possible(&world, (struct probe_settings){ 0 }))
		skip();
	probe_linked(world.probe, false);
	storm();
	settle(&world);
	probe_linked(world.probe, true);
	storm_wait(&world);
	assert_int_equal(world.lost[GG_LOST_KERNEL], 0);
	assert_true(world.lost[GG_LOST_QUEUE] > 0 && world.forks < STORM);
	assert_true(world.forks + world.exits + world.lost[GG_LOST_QUEUE] >= 2 * STORM);
	world_end(&world);
}

/* ---- keyframes ---- */

#define CHILDREN 1500

static struct {
	pid_t pids[8 * CHILDREN];
	size_t begun, ended;
} children;

static void child_start(void)
{
	pid_t pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		pause();
		_exit(0);
	}
	assert_true(pid > 0);
	children.pids[children.begun++] = pid;
}

static void child_end(void)
{
	pid_t pid = children.pids[children.ended++];
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* Between two turns of a keyframe: the oldest child, which it has named or not, is replaced by a new one. */
static void on_change(void *ctx)
{
	struct world *world = ctx;
	if (world->keyframes[GG_MODULE_PROCESS] || children.begun == sizeof children.pids / sizeof *children.pids)
		return;
	child_end();
	child_start();
	io_timer_start(world->change, 0, 0);
}

static bool each_until_true(struct world *world, const struct gg_record_type *type, const union gg_any *any, bool keyframe)
{
	(void)type, (void)any;
	if (keyframe || !world->keyframes[GG_MODULE_PROCESS])
		return false;
	for (size_t i = 0; i < children.begun; i++)
		if ((world->named[children.pids[i]] != 0) != (i >= children.ended))
			return false;
	return true;
}

static void keyframe_is_true(struct probe_settings settings)
{
	static struct world world;
	static uint32_t named[PIDS];
	memset(named, 0, sizeof named);
	children.begun = children.ended = 0;
	for (unsigned i = 0; i < CHILDREN; i++)
		child_start();
	world_start(&world, settings);
	world.named = named;
	world.each = each_until_true;
	world.change = io_timer_new(world.loop, on_change, &world);
	io_timer_start(world.change, 0, 0);
	run_until_done(&world);
	assert_int_equal(world.keyframes[GG_MODULE_PROCESS], 1);
	if (strcmp(world.source[GG_MODULE_PROCESS], "proc connector") == 0)
		assert_true(world.between > 0);
	while (children.ended < children.begun)
		child_end();
	run_until_done(&world);
	io_timer_free(world.change);
	world_end(&world);
}

static void test_keyframe_while_processes_come_and_go(void **state)
{
	(void)state;
	keyframe_is_true((struct probe_settings){ .arguments = true });
}

static void test_keyframe_by_polling(void **state)
{
	(void)state;
	keyframe_is_true((struct probe_settings){ .polling = true });
}

/* ---- connections ---- */

#define BYTES      100000
#define BY_PACKETS "packets (TPACKET_V3) of all interfaces" /* what root gets */

static bool each_connection(struct world *world, const struct gg_record_type *type, const union gg_any *any, bool keyframe)
{
	if (keyframe)
		return false;
	if (type == gg_network_newconn_type && any->network_newconn.flow.destination_port == world->port) {
		assert_int_equal(any->network_newconn.flow.protocol, 6);
		assert_false(any->network_newconn.flow.incoming);
		world->found |= 1u | (any->network_newconn.owner ? 2u : 0);
		if (any->network_newconn.owner)
			assert_int_equal(any->network_newconn.process.pid, getpid());
	} else if (type == gg_network_data_type && any->network_data.flow.destination_port == world->port) {
		if (any->network_data.direction == 0)
			world->bytes += any->network_data.bytes;
	} else if (type == gg_network_delconn_type && any->network_delconn.flow.destination_port == world->port) {
		assert_true(any->network_delconn.bytes >= world->least);
		world->found |= 4;
	}
	return world->found == world->wanted && world->bytes >= world->least;
}

/* Of the probe in this process: what it is told of sockets from now on is an error. */
static void sock_diag_break(void)
{
	int nothing = open("/dev/null", O_RDWR | O_CLOEXEC), protocol, broken = 0;
	for (int fd = 0; fd < 64; fd++) {
		socklen_t len = sizeof protocol;
		if (getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &len) == 0 && protocol == NETLINK_SOCK_DIAG)
			broken += dup2(nothing, fd) == fd;
	}
	close(nothing);
	assert_int_equal(broken, 1);
}

/* broken: the kernel's table is refused while it runs.  source NULL: what there is. */
static void connection_is_reported(struct probe_settings settings, bool broken, const char *source)
{
	static struct world world;
	static char bytes[BYTES];
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof address;
	world_start(&world, settings);
	world.each = each_own_exec;
	run_until_done(&world);
	world.each = each_connection;
	world.least = source && strcmp(source, "/proc/net, 1 s") == 0 ? 0 : BYTES;
	if (broken)
		sock_diag_break();
	int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &len), 0);
	world.port = ntohs(address.sin_port);
	assert_int_equal(connect(client, (struct sockaddr *)&address, sizeof address), 0);
	int server = accept(listener, NULL, NULL);
	for (size_t sent = 0; sent < BYTES;) {
		ssize_t n = send(client, bytes, BYTES - sent < 10000 ? BYTES - sent : 10000, 0);
		assert_true(n > 0);
		sent += (size_t)n;
		for (ssize_t got = 0; got < n;)
			got += recv(server, bytes, (size_t)(n - got), 0);
	}
	world.found = 0;
	world.wanted = 3;
	run_until_done(&world);
	world.wanted = 7;
	close(client);
	close(server);
	close(listener);
	run_until_done(&world);
	if (source)
		assert_string_equal(world.source[GG_MODULE_NETWORK], source);
	assert_int_equal(world.lost[GG_LOST_TABLE], 0);
	world_end(&world);
}

static void test_connection_by_sockets(void **state)
{
	(void)state;
	connection_is_reported((struct probe_settings){ .network = true }, false, "sock_diag, 1 s");
}

static void test_connection_by_packets(void **state)
{
	(void)state;
	connection_is_reported((struct probe_settings){ .network = true, .packets = true }, false,
	                       geteuid() == 0 ? BY_PACKETS : NULL);
}

static void test_connection_when_sockets_fail(void **state)
{
	(void)state;
	connection_is_reported((struct probe_settings){ .network = true }, true, "/proc/net, 1 s");
}

/* With packets, the sockets say whose it is. */
static void test_connection_by_packets_when_sockets_fail(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	connection_is_reported((struct probe_settings){ .network = true, .packets = true }, true, BY_PACKETS);
}

static bool each_datagram(struct world *world, const struct gg_record_type *type, const union gg_any *any, bool keyframe)
{
	if (keyframe || type != gg_network_newconn_type || any->network_newconn.flow.source_port != world->port)
		return false;
	assert_int_equal(any->network_newconn.flow.protocol, 17);
	if (any->network_newconn.owner)
		assert_int_equal(any->network_newconn.process.pid, getpid());
	return any->network_newconn.owner;
}

static int datagram_socket(uint16_t *ret_port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof address;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	*ret_port = ntohs(address.sin_port);
	return fd;
}

/* Of sockets that are connected to nobody: whose it is, the port says. */
static void datagram_is_reported(bool broken)
{
	static struct world world;
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	uint16_t port;
	world_start(&world, (struct probe_settings){ .network = true, .packets = true });
	world.each = each_own_exec;
	run_until_done(&world);
	world.each = each_datagram;
	if (broken)
		sock_diag_break();
	int receiver = datagram_socket(&port), sender = datagram_socket(&world.port);
	address.sin_port = htons(port);
	assert_int_equal(sendto(sender, "hello", 5, 0, (struct sockaddr *)&address, sizeof address), 5);
	run_until_done(&world);
	close(receiver);
	close(sender);
	world_end(&world);
}

static void test_datagram_by_packets(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	datagram_is_reported(false);
	datagram_is_reported(true);
}

/* For the rest of this program's life: as where sandboxes of services leave no netlink. */
static void netlink_refuse(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_NETLINK, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAFNOSUPPORT),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = { sizeof code / sizeof *code, code };
	assert_int_equal(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	assert_int_equal(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

static void test_connection_without_netlink(void **state)
{
	(void)state;
	netlink_refuse();
	connection_is_reported((struct probe_settings){ .network = true }, false, "/proc/net, 1 s");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_program_by_polling),         cmocka_unit_test(test_program_by_connector),
		cmocka_unit_test(test_storm_without_loss),         cmocka_unit_test(test_storm_with_loss),
		cmocka_unit_test(test_storm_while_away),           cmocka_unit_test(test_keyframe_while_processes_come_and_go),
		cmocka_unit_test(test_keyframe_by_polling),        cmocka_unit_test(test_connection_by_sockets),
		cmocka_unit_test(test_connection_by_packets),      cmocka_unit_test(test_connection_when_sockets_fail),
		cmocka_unit_test(test_datagram_by_packets),        cmocka_unit_test(test_connection_by_packets_when_sockets_fail),
		cmocka_unit_test(test_connection_without_netlink), /* the last one */
	};
	log_init("probe-test");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
