/* The real probe role under its sandbox, between a monitor (this process) and a role in net's place that reads what it reports.  As root and
 * as an ordinary user. */
#include "base/test.h"

#include <signal.h>

#include "agent/agent.h"
#include "base/err.h"
#include "gg_modules.h"
#include "io/io.h"
#include "os/fd.h"
#include "os/log.h"
#include "os/proc.h"
#include "rpc/rpc.h"
#include "services.h"

#define DEADLINE_MS 30000

/* ---- in net's place: tells the monitor what it reads ---- */

struct reader_role {
	struct priv_child *child;
	struct rpc_connection *probe;
	struct rpc_call *call;
	struct gg_frame frames[2];
	uint64_t sequence;
	uint32_t session;
};
static struct reader_role reader_role;

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *format, ...)
{
	char line[700];
	va_list args;
	va_start(args, format);
	vsnprintf(line, sizeof line, format, args);
	va_end(args);
	priv_report(reader_role.child, str_from(line));
}

static void record_say(const struct gg_datagram *datagram, const struct gg_record *record)
{
	union {
		union gg_any any;
		struct gg_notice notice;
		struct gg_lost lost;
	} got;
	const struct gg_module *module = datagram->module == GG_CONTROL ? &gg_control : gg_module_find(datagram->module);
	const struct gg_record_type *type = gg_record_find(module, record->type);
	if (!type || gg_record_read(type, record, &got) != GG_OK)
		say("bad");
	else if (datagram->module == GG_CONTROL && record->type == GG_NOTICE)
		say("source %u %.*s", got.notice.module, STR_ARG(got.notice.text));
	else if (datagram->module == GG_CONTROL && record->type == GG_LOST && got.lost.place == GG_LOST_QUEUE)
		say("lost");
	else if (type == gg_process_exec_type && !(datagram->flags & GG_IN_KEYFRAME))
		say("exec %u %.*s", (unsigned)got.any.process_exec.process.pid, STR_ARG(got.any.process_exec.argv));
}

static void datagram_say(struct str bytes)
{
	struct gg_datagram datagram;
	struct gg_record record;
	bool begins, ends = false;
	size_t at = 0;
	if (gg_datagram_read(bytes, &datagram) != GG_OK)
		return say("bad");
	if (datagram.session != reader_role.session) {
		reader_role.session = datagram.session;
		reader_role.sequence = 0;
		memset(reader_role.frames, 0, sizeof reader_role.frames);
	}
	if (datagram.sequence != ++reader_role.sequence)
		say("gap");
	if (datagram.flags & GG_IN_KEYFRAME)
		gg_frame_take(&reader_role.frames[datagram.module], &datagram, &begins, &ends);
	while (gg_record_next(&datagram, &at, &record))
		record_say(&datagram, &record);
	if (ends)
		say("keyframe %u", datagram.module);
}

static void on_report(void *ctx, const void *message)
{
	const murmesh_Report *report = message;
	struct str rest = { (const char *)report->datagrams.bytes, report->datagrams.size }, one;
	(void)ctx;
	while (gg_link_next(&rest, &one))
		datagram_say(one);
}

static void on_reports_closed(void *ctx, int err, const char *why)
{
	(void)ctx, (void)err, (void)why;
	reader_role.call = NULL;
}

static int on_open(void *ctx, struct rpc_call *call)
{
	static const struct rpc_call_events events = { on_report, NULL, NULL, on_reports_closed };
	(void)ctx;
	reader_role.call = call;
	rpc_call_accept(call, &rpc_Reports_Send, &events, NULL);
	return 0;
}

static void on_probe_closed(void *ctx, int err)
{
	struct rpc_connection *probe = reader_role.probe;
	(void)ctx, (void)err;
	reader_role.probe = NULL;
	rpc_connection_free(probe);
}

static void on_descriptor(void *ctx, const char *name, int fd)
{
	static const struct rpc_connection_events events = { on_open, NULL, on_probe_closed };
	static const struct rpc_connection_settings settings = { .server = true };
	(void)ctx, (void)name;
	if (reader_role.probe)
		on_probe_closed(NULL, 0);
	reader_role.probe = rpc_connection_plain(priv_child_loop(reader_role.child), fd, &settings, &events, NULL);
}

static void on_ask(void *ctx, struct str datagram, unsigned records)
{
	static murmesh_Report report;
	uint8_t *out = report.datagrams.bytes;
	(void)ctx, (void)records;
	out[0] = (uint8_t)(datagram.len >> 8);
	out[1] = (uint8_t)datagram.len;
	memcpy(out + 2, datagram.ptr, datagram.len);
	gg_datagram_number(out + 2, 1);
	report.datagrams.size = (pb_size_t)datagram.len + 2;
	rpc_call_send(reader_role.call, &report);
}

static void on_message(void *ctx, struct str text)
{
	static const struct gg_source source = { 0, 1, on_ask, NULL };
	static const struct gg_keyframe_wanted wanted = { GG_CONTROL };
	struct gg_writer writer;
	(void)ctx;
	if (str_is(text, "hang up"))
		return rpc_call_finish(reader_role.call, -E_CLOSED, NULL);
	gg_writer_init(&writer, &source, GG_CONTROL);
	gg_record_write(&writer, gg_record_find(&gg_control, GG_KEYFRAME_WANTED), 0, &wanted);
	gg_writer_flush(&writer);
}

static int reader_main(struct priv_child *child)
{
	static const struct priv_child_events events = { on_descriptor, on_message, NULL };
	reader_role.child = child;
	priv_child_listen(child, &events, NULL);
	if (priv_child_confine(child) < 0)
		return 77;
	priv_child_ready(child);
	int code = priv_child_run(child);
	if (reader_role.probe)
		on_probe_closed(NULL, 0);
	return code;
}

static const struct priv_role roles[] = {
	{ "net", reader_main, 0, NULL, false },
	{ "probe", agent_probe_main, PRIV_ALLOW_PROC, NULL, false },
};
static const struct priv_edge edges[] = { { "probe", "net", PRIV_EDGE_RPC } };

/* ---- the monitor and the tests ---- */

static struct {
	struct io_loop *loop;
	struct io_timer *late;
	struct priv_monitor *monitor;
	struct buf reports; /* lines not yet waited for */
	char line[700];
	bool stopped, late_now;
	bool gap, lost; /* between datagrams; which the probe says */
} t;

static void on_monitor_report(void *ctx, const char *role, struct str text)
{
	(void)ctx, (void)role;
	assert_false(str_is(text, "bad"));
	t.gap |= str_is(text, "gap");
	t.lost |= str_is(text, "lost");
	buf_append_str(&t.reports, text);
	buf_append_u8(&t.reports, '\n');
	io_loop_stop(t.loop);
}

static void on_stopped(void *ctx)
{
	(void)ctx;
	t.stopped = true;
	io_loop_stop(t.loop);
}

static void on_late(void *ctx)
{
	(void)ctx;
	t.late_now = true;
	io_loop_stop(t.loop);
}

static bool line_take(struct str prefix)
{
	while (buf_len(&t.reports)) {
		struct str rest, line = str_cut(buf_str(&t.reports), '\n', &rest);
		bool found = str_starts(line, prefix);
		snprintf(t.line, sizeof t.line, "%.*s", STR_ARG(line));
		buf_consume(&t.reports, line.len + 1);
		if (found)
			return true;
	}
	return false;
}

/* Runs until a report that begins so has come. */
static const char *wait_for(const char *text)
{
	io_timer_start(t.late, DEADLINE_MS, 0);
	while (!line_take(str_from(text)) && !t.late_now)
		io_loop_run(t.loop);
	io_timer_stop(t.late);
	assert_false(t.late_now);
	return t.line;
}

static void trial_start(const char *directory, const char *configuration)
{
	static const struct priv_monitor_events events = { NULL, on_monitor_report, on_stopped };
	static struct priv_program program = {
		.name = "probe-role-test", .roles = roles, .n_roles = 2, .edges = edges, .n_edges = 1, .first_uid = 61300
	};
	memset(&t, 0, sizeof t);
	buf_init(&t.reports, 1 << 20);
	assert_int_equal(chmod(directory, 0711), 0);
	program.directory = directory;
	t.loop = io_loop_new();
	t.late = io_timer_new(t.loop, on_late, NULL);
	t.monitor = priv_monitor_new(t.loop, &program, str_from(configuration), NULL, 0, &events, NULL);
	assert_int_equal(priv_monitor_start(t.monitor), 0);
}

static void trial_stop(void)
{
	if (t.gap && !t.lost) /* there may be one where others on this machine make more events than the probe can keep */
		wait_for("lost");
	priv_monitor_stop(t.monitor);
	while (!t.stopped)
		io_loop_run(t.loop);
	priv_monitor_free(t.monitor);
	io_timer_free(t.late);
	io_loop_free(t.loop);
	buf_done(&t.reports);
}

/* A program that waits, and is known by its argument. */
static void program_is_seen(const char *name, const char *expected)
{
	char wanted[64];
	int pair[2];
	assert_int_equal(pipe(pair), 0);
	pid_t pid = fork();
	if (pid == 0) {
		dup2(pair[0], 0);
		execl("/bin/sh", "sh", "-c", "read line", name, (char *)NULL);
		_exit(127);
	}
	snprintf(wanted, sizeof wanted, "exec %d ", (int)pid);
	const char *line = wait_for(wanted);
	assert_string_equal(line + strlen(wanted), expected);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(pair[0]);
	close(pair[1]);
}

static void test_reports(void **state)
{
	trial_start(*state, "probe=yes\nprobe_network=yes\nprobe_packets=yes\nprobe_arguments=yes\n");
	wait_for("source 0 ");
	wait_for("keyframe 0");
	program_is_seen("first", "sh -c read line first");
	priv_monitor_tell(t.monitor, "net", STR("keyframe"));
	wait_for("keyframe 1");
	priv_monitor_tell(t.monitor, "net", STR("hang up"));
	wait_for("source 1 "); /* the stream is there again */
	wait_for("keyframe 0");
	program_is_seen("second", "sh -c read line second");
	trial_stop();
}

static void test_settings(void **state)
{
	trial_start(*state, "probe=yes\nprobe_network=no\nprobe_packets=no\nprobe_arguments=no\n");
	wait_for("keyframe 1");
	program_is_seen("hidden", "");
	trial_stop();
}

int main(int argc, char **argv)
{
	static const struct priv_program program = { .name = "probe-role-test", .roles = roles, .n_roles = 2 };
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_reports, test_directory_make, test_directory_remove),
		cmocka_unit_test_setup_teardown(test_settings, test_directory_make, test_directory_remove),
	};
	proc_title_init(argc, argv);
	signal(SIGPIPE, SIG_IGN);
	if (argc > 2 && strcmp(argv[1], "--role") == 0)
		return priv_role_main(&program, argv[2]);
	log_init("role-probe-test");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
