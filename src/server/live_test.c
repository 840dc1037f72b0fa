/* The roles collect and viz as they run: confined processes with a link, a core and a web of the test's own around them. */
#include "base/test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>

#include "base/err.h"
#include "glouglou/test_probe.h"
#include "io/io.h"
#include "os/fd.h"
#include "priv/monitor.h"
#include "priv/test_role.h"
#include "priv/test_trial.h"
#include "rpc/rpc.h"
#include "server/server.h"
#include "services.h"

#define MESH     "00000000000000000000000000000001"
#define DEVICE_A "aa000000000000000000000000000000"
#define USER     "murmesh://" MESH "/user/" DEVICE_A

struct role {
	struct priv_child *child;
	struct rpc_connection *peer;
	struct rpc_call *call;
	struct test_probe probe;
	bool as_user;
};

__attribute__((format(printf, 2, 3))) static void say(struct role *role, const char *format, ...)
{
	char text[512];
	va_list args;
	va_start(args, format);
	int len = vsnprintf(text, sizeof text, format, args);
	va_end(args);
	priv_report(role->child, (struct str){ text, len < (int)sizeof text ? (size_t)len : sizeof text - 1 });
}

static void on_peer_closed(void *ctx, int err)
{
	struct role *role = ctx;
	struct rpc_connection *peer = role->peer;
	(void)err;
	role->peer = NULL;
	rpc_connection_free(peer);
	say(role, "alone");
}

static void peer_connect(struct role *role, int fd)
{
	static const struct rpc_connection_events events = { NULL, NULL, on_peer_closed };
	static const struct rpc_connection_settings settings = { .server = false };
	if (role->peer)
		on_peer_closed(role, 0);
	role->peer = rpc_connection_plain(priv_child_loop(role->child), fd, &settings, &events, role);
}

static int role_run(struct priv_child *child, const struct priv_child_events *events)
{
	static struct role role;
	role.child = child;
	test_probe_init(&role.probe, 77);
	priv_child_listen(child, events, &role);
	if (priv_child_confine(child) < 0)
		return 77;
	priv_child_ready(child);
	int code = priv_child_run(child);
	rpc_connection_free(role.peer);
	return code;
}

static unsigned word(struct str *rest)
{
	uint64_t number = 0;
	str_to_u64(str_cut(*rest, ' ', rest), UINT32_MAX, &number);
	return (unsigned)number;
}

/* ---- link: a device that reports ---- */

static void on_answer(void *ctx, const void *message)
{
	(void)message;
	say(ctx, "wanted");
}

static void on_reports_closed(void *ctx, int err, const char *why)
{
	struct role *role = ctx;
	(void)why;
	role->call = NULL;
	say(role, "ended %s", err_name(err));
}

static void reports_open(struct role *role)
{
	static const struct rpc_call_events events = { on_answer, NULL, NULL, on_reports_closed };
	char node[IDENTITY_TEXT_SIZE] = "murmesh://" MESH "/node/" DEVICE_A;
	const struct rpc_metadata metadata = { STR("murmesh-peer"), str_from(role->as_user ? USER : node) };
	role->call = rpc_call_open(role->peer, &rpc_Reports_Send, &metadata, 1, &events, role);
}

static void on_link_descriptor(void *ctx, const char *name, int fd)
{
	(void)name;
	peer_connect(ctx, fd);
	reports_open(ctx);
	say(ctx, "linked");
}

static void reports_send(struct role *role)
{
	static murmesh_Report report;
	struct str datagrams = test_probe_report(&role->probe);
	report.datagrams.size = (pb_size_t)datagrams.len;
	memcpy(report.datagrams.bytes, datagrams.ptr, datagrams.len);
	if (role->call)
		rpc_call_send(role->call, &report);
}

/* "exec PID", "exit PID", "connect PORT PID", "bytes PORT N", "lose N", "keyframe", "again", "user", "garbage" */
static void on_link_message(void *ctx, struct str text)
{
	struct role *role = ctx;
	struct test_probe *probe = &role->probe;
	struct str rest, verb = str_cut(text, ' ', &rest);
	unsigned first = word(&rest), second = word(&rest);
	if (str_is(verb, "exec"))
		test_probe_exec(probe, first, 0, "curl");
	if (str_is(verb, "exit"))
		test_probe_exit(probe, first, "curl");
	if (str_is(verb, "connect"))
		test_probe_connect(probe, (uint16_t)first, second, "curl");
	if (str_is(verb, "bytes"))
		test_probe_bytes(probe, (uint16_t)first, second);
	if (str_is(verb, "lose"))
		probe->sequence += first;
	if (str_is(verb, "keyframe")) {
		gg_writer_keyframe_begin(&probe->process, probe->time_ns);
		test_probe_exec(probe, 5, 0, "from-keyframe");
		gg_writer_keyframe_end(&probe->process);
	}
	if (str_is(verb, "garbage")) {
		memset(probe->report, 0x5a, 1000);
		probe->len = 1000;
	}
	role->as_user = str_is(verb, "user");
	if (str_is(verb, "again") || role->as_user)
		reports_open(role);
	else
		reports_send(role);
}

static int link_main(struct priv_child *child)
{
	static const struct priv_child_events events = { on_link_descriptor, on_link_message, NULL };
	return role_run(child, &events);
}

/* ---- core: announces ---- */

static void on_core_descriptor(void *ctx, const char *name, int fd)
{
	(void)name;
	peer_connect(ctx, fd);
	say(ctx, "linked");
}

static void on_announced(void *ctx, int err, const char *why, const void *response)
{
	(void)why, (void)response;
	say(ctx, "announced %s", err_name(err));
}

static void on_stolen(void *ctx, int err, const char *why)
{
	(void)why;
	say(ctx, "ended %s", err_name(err));
}

/* "ticket N", "fleet N" (both by user N), "end N" (the watches of that user; 0: of all who may not watch all), "watch" */
static void on_core_message(void *ctx, struct str text)
{
	static const struct rpc_call_events events = { NULL, NULL, NULL, on_stolen };
	static murmesh_WatchAnnouncement announcement;
	struct role *role = ctx;
	struct str rest, verb = str_cut(text, ' ', &rest);
	announcement = (murmesh_WatchAnnouncement){ .all = str_is(verb, "fleet"), .devices_count = 1 };
	announcement.ticket[0] = (uint8_t)word(&rest);
	announcement.user[0] = announcement.ticket[0];
	announcement.devices[0].size = 16;
	announcement.devices[0].bytes[0] = 0xaa;
	murmesh_WatchesEnd end = { .user = { .size = announcement.user[0] ? 16 : 0, .bytes = { announcement.user[0] } } };
	if (str_is(verb, "watch"))
		rpc_call_open(role->peer, &rpc_Viz_Watch, NULL, 0, &events, role);
	else if (str_is(verb, "end"))
		rpc_unary(role->peer, &rpc_Viz_EndWatches, &end, 10000, on_announced, role);
	else
		rpc_unary(role->peer, &rpc_Viz_Announce, &announcement, 10000, on_announced, role);
}

static int core_main(struct priv_child *child)
{
	static const struct priv_child_events events = { on_core_descriptor, on_core_message, NULL };
	return role_run(child, &events);
}

/* ---- web: watches ---- */

static void change_say(struct role *role, const murmesh_LiveChange *change)
{
	switch (change->which_body) {
	case murmesh_LiveChange_node_tag:
		return say(role, "node %s %s", change->body.node.kind, change->body.node.id);
	case murmesh_LiveChange_node_removed_tag:
		return say(role, "gone %s", change->body.node_removed);
	case murmesh_LiveChange_edge_tag:
		return say(role, "edge %s %llu", change->body.edge.id, (unsigned long long)change->body.edge.bytes);
	case murmesh_LiveChange_row_tag:
		return say(role, "row %s %s", change->body.row.event, change->body.row.subject);
	case murmesh_LiveChange_missing_tag:
		return say(role, "missing %llu", (unsigned long long)change->body.missing.events);
	case murmesh_LiveChange_complete_tag:
		return say(role, "complete");
	default:
		return;
	}
}

static void on_live(void *ctx, const void *message)
{
	const murmesh_LiveBatch *batch = message;
	for (size_t i = 0; i < batch->changes_count; i++)
		change_say(ctx, &batch->changes[i]);
}

static void on_live_closed(void *ctx, int err, const char *why)
{
	struct role *role = ctx;
	(void)why;
	role->call = NULL;
	say(role, "ended %s", err_name(err));
}

static void on_web_descriptor(void *ctx, const char *name, int fd)
{
	(void)name;
	peer_connect(ctx, fd);
	say(ctx, "linked");
}

/* "watch N", "twice", "nothing", "announce", "leave" */
static void on_web_message(void *ctx, struct str text)
{
	static const struct rpc_call_events events = { on_live, NULL, NULL, on_live_closed };
	struct role *role = ctx;
	struct str rest, verb = str_cut(text, ' ', &rest);
	const murmesh_WatchTicket ticket = { .ticket = { (pb_byte_t)word(&rest) } };
	const murmesh_WatchAnnouncement announcement = { .all = true };
	if (str_is(verb, "announce")) {
		rpc_unary(role->peer, &rpc_Viz_Announce, &announcement, 10000, on_announced, role);
	} else if (str_is(verb, "leave")) {
		rpc_call_cancel(role->call);
	} else if (str_is(verb, "twice")) {
		rpc_call_send(role->call, &ticket);
	} else {
		role->call = rpc_call_open(role->peer, &rpc_Viz_Watch, NULL, 0, &events, role);
		if (str_is(verb, "watch"))
			rpc_call_send(role->call, &ticket);
		else
			rpc_call_half_close(role->call);
	}
}

static int web_main(struct priv_child *child)
{
	static const struct priv_child_events events = { on_web_descriptor, on_web_message, NULL };
	return role_run(child, &events);
}

/* ---- the program ---- */

static const struct priv_role roles[] = {
	{ .name = "collect", .main = server_collect_main },
	{ .name = "viz", .main = server_viz_main },
	{ .name = "link", .main = link_main },
	{ .name = "core", .main = core_main },
	{ .name = "web", .main = web_main },
};
const struct priv_program test_roles = { .name = "priv-test", .roles = roles, .n_roles = sizeof roles / sizeof *roles };

static const struct priv_edge edges[] = {
	{ "link", "collect", PRIV_EDGE_RPC },
	{ "viz", "collect", PRIV_EDGE_RPC },
	{ "core", "viz", PRIV_EDGE_RPC },
	{ "web", "viz", PRIV_EDGE_RPC },
};

static void start(void)
{
	trial_init("collect viz link core web");
	t.program.edges = edges;
	t.program.n_edges = sizeof edges / sizeof *edges;
	trial_start("");
	wait_ready();
	wait_report("link linked");
	wait_report("core linked");
	wait_report("web linked");
}

static void watch(const char *how, unsigned ticket)
{
	char text[32];
	snprintf(text, sizeof text, "%s %u", how, ticket);
	tell("core", text);
	wait_report("core announced 0");
	snprintf(text, sizeof text, "watch %u", ticket);
	tell("web", text);
	wait_report("web complete");
}

/* The process of a role. */
static pid_t role_pid(const char *name)
{
	char title[64], text[256];
	struct dirent *entry;
	pid_t found = 0;
	snprintf(title, sizeof title, "priv-test: %s", name);
	DIR *proc = opendir("/proc");
	assert_non_null(proc);
	while ((entry = readdir(proc))) {
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10), parent;
		char path[64];
		snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
		FILE *stat = pid ? fopen(path, "r") : NULL;
		if (!stat)
			continue;
		bool ours = fscanf(stat, "%*d (%*[^)]) %*c %d", &parent) == 1 && parent == getpid();
		fclose(stat);
		if (!ours)
			continue;
		proc_read(pid, "cmdline", text, sizeof text);
		if (strstr(text, title))
			found = pid;
	}
	closedir(proc);
	assert_true(found > 0);
	return found;
}

/* ---- tests ---- */

static void from_device_to_watcher(void **state)
{
	(void)state;
	start();
	tell("link", "exec 7");
	watch("ticket", 1);
	tell("link", "exec 8");
	wait_report("web row exec curl (8)");
	tell("link", "connect 4711 8");
	wait_report("web node address n/10.0.0.2");
	tell("link", "bytes 4711 12345");
	wait_report("web edge proc/" DEVICE_A "/8-1000|n/10.0.0.2 12345");
	tell("link", "exit 8");
	wait_report("web row exit curl (8)");
	wait_report("web gone proc/" DEVICE_A "/8-1000");
	tell("link", "lose 3");
	tell("link", "exec 9");
	wait_report("link wanted");
	wait_report("web missing 3");
	tell("link", "keyframe");
	wait_report("web node process proc/" DEVICE_A "/5-1000");
	wait_report("web gone proc/" DEVICE_A "/9-1000"); /* the keyframe did not name it */
	tell("link", "garbage");
	tell("link", "exec 10");
	wait_report("web row exec curl (10)");
	tell("web", "leave");
	wait_report("web ended");
	trial_stop();
}

static void fleet(void **state)
{
	(void)state;
	start();
	watch("fleet", 1);
	tell("link", "connect 4711 0");
	wait_report("web edge " DEVICE_A "|n/10.0.0.2 0");
	trial_stop();
}

static void refusals(void **state)
{
	char denied[64], ticket[64], unsupported[64];
	(void)state;
	snprintf(denied, sizeof denied, "link ended %s", err_name(E_DENIED));
	snprintf(ticket, sizeof ticket, "web ended %s", err_name(E_TICKET));
	snprintf(unsupported, sizeof unsupported, "announced %s", err_name(E_UNSUPPORTED));
	start();
	tell("web", "watch 9");
	wait_report(ticket);
	tell("web", "nothing");
	wait_report(ticket);
	tell("web", "announce"); /* only core says who may watch */
	assert_string_equal(wait_report("web "), unsupported);
	snprintf(unsupported, sizeof unsupported, "core ended %s", err_name(E_UNSUPPORTED));
	tell("core", "watch");
	wait_report(unsupported);
	tell("link", "user"); /* a user's certificate reports nothing */
	wait_report(denied);
	watch("ticket", 1);
	tell("web", "twice");
	wait_report("web ended");
	trial_stop();
}

/* What somebody may watch has changed. */
static void ended_by_core(void **state)
{
	char flow[64];
	(void)state;
	snprintf(flow, sizeof flow, "web ended %s", err_name(E_FLOW));
	start();
	watch("ticket", 1);
	tell("core", "end 2"); /* somebody else's */
	wait_report("core announced 0");
	tell("link", "exec 7");
	wait_report("web row exec curl (7)");
	tell("core", "end 1");
	wait_report("core announced 0");
	wait_report(flow);
	watch("ticket", 1);
	tell("core", "end 0");
	wait_report("core announced 0");
	wait_report(flow);
	watch("fleet", 1);
	tell("core", "end 0"); /* he may watch all */
	wait_report("core announced 0");
	tell("link", "connect 4711 0");
	wait_report("web edge " DEVICE_A "|n/10.0.0.2 0");
	tell("core", "end 1");
	wait_report(flow);
	trial_stop();
}

static void newest_link_wins(void **state)
{
	char closed[64];
	(void)state;
	snprintf(closed, sizeof closed, "link ended %s", err_name(E_CLOSED));
	start();
	watch("ticket", 1);
	tell("link", "exec 7");
	wait_report("web row exec curl (7)");
	tell("link", "again");
	wait_report(closed);
	trial_stop();
}

/* What a killed collect knew the devices tell again; who watches sees it without asking. */
static void collect_killed(void **state)
{
	(void)state;
	start();
	tell("link", "exec 7");
	watch("ticket", 1);
	kill(role_pid("collect"), SIGKILL);
	wait_report("link linked");
	tell("link", "exec 8"); /* number 2 of a session whose beginning it does not know */
	wait_report("link wanted");
	tell("link", "keyframe");
	wait_report("web node process proc/" DEVICE_A "/5-1000");
	wait_report("web gone proc/" DEVICE_A "/7-1000");
	trial_stop();
}

/* A killed viz has all again from collect's store. */
static void viz_killed(void **state)
{
	(void)state;
	start();
	tell("link", "exec 7");
	watch("ticket", 1);
	kill(role_pid("viz"), SIGKILL);
	wait_report("web alone");
	wait_report("web linked");
	wait_report("core linked");
	wait_report("link wanted");
	watch("ticket", 1);
	trial_stop();
}

int main(int argc, char **argv)
{
	int code = trial_main(argc, argv);
	if (code >= 0)
		return code;
	const struct CMUnitTest tests[] = {
		trial_test(from_device_to_watcher),
		trial_test(fleet),
		trial_test(refusals),
		trial_test(newest_link_wins),
		trial_test(ended_by_core),
		trial_test(collect_killed),
		trial_test(viz_killed),
	};
	return cmocka_run_group_tests(tests, NULL, trial_directory_remove);
}
