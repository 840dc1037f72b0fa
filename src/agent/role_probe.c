/* The probe role: sees what happens on this machine (src/probe) and gives it to net, whose way to the server is one stream.  It opens its
 * sources with the monitor's rights, and then has none but reading /proc as any user may. */
#include "agent/agent.h"
#include "base/err.h"
#include "base/mem.h"
#include "io/io.h"
#include "os/fd.h"
#include "os/log.h"
#include "probe/probe.h"
#include "rpc/rpc.h"
#include "services.h"

#define RETRY_LEAST_MS 200
#define RETRY_MOST_MS  15000
#define SETTLE_MS      300 /* a stream that is not refused by then is taken */
#define OWNERS_MS      5000

struct probe_role {
	struct priv_child *child;
	struct probe *probe;
	struct rpc_connection *net, *exec;
	struct rpc_call *reports; /* NULL = not open */
	struct io_timer *retry, *settle;
	uint64_t pause_ms;
	murmesh_Report report; /* being sent; not on the stack */
	bool owners_asked;
};

/* ---- the way up ---- */

static void send_all(struct probe_role *role)
{
	while (role->reports && !rpc_call_crowded(role->reports)) {
		size_t len = probe_take(role->probe, role->report.datagrams.bytes, sizeof role->report.datagrams.bytes);
		role->report.datagrams.size = (pb_size_t)len;
		if (!len || rpc_call_send(role->reports, &role->report) < 0)
			return;
	}
}

static void on_ready(void *ctx)
{
	send_all(ctx);
}

static void on_report(void *ctx, const void *message)
{
	struct probe_role *role = ctx;
	const murmesh_Report *report = message;
	probe_linked(role->probe, true);
	probe_receive(role->probe, (struct str){ (const char *)report->datagrams.bytes, report->datagrams.size });
}

/* While the machine is not enrolled, the link is away, or the server takes no reports. */
static void reports_later(struct probe_role *role)
{
	role->reports = NULL;
	io_timer_stop(role->settle);
	probe_linked(role->probe, false);
	io_timer_start(role->retry, role->pause_ms, 0);
	role->pause_ms = role->pause_ms * 2 < RETRY_MOST_MS ? role->pause_ms * 2 : RETRY_MOST_MS;
}

static void on_reports_closed(void *ctx, int err, const char *why)
{
	log_debug("reports: %s %s", err_text(err), why);
	reports_later(ctx);
}

static void on_retry(void *ctx)
{
	static const struct rpc_call_events events = { on_report, NULL, on_ready, on_reports_closed };
	struct probe_role *role = ctx;
	if (role->reports || !role->net)
		return;
	role->reports = rpc_call_open(role->net, &rpc_Reports_Send, NULL, 0, &events, role);
	if (!role->reports)
		return reports_later(role);
	io_timer_start(role->settle, SETTLE_MS, 0);
}

static void on_settled(void *ctx)
{
	struct probe_role *role = ctx;
	role->pause_ms = RETRY_LEAST_MS;
	probe_linked(role->probe, true);
}

/* ---- owners of sockets ---- */

static void on_owners(void *ctx, int err, const char *why, const void *response)
{
	struct probe_role *role = ctx;
	const murmesh_SocketOwners *owners = response;
	role->owners_asked = false;
	if (err < 0)
		log_debug("owners of sockets: %s %s", err_text(err), why);
	for (size_t i = 0; err == 0 && i < owners->owners_count; i++)
		probe_owner(role->probe, owners->owners[i].inode, owners->owners[i].pid);
}

static int owners_ask(void *ctx, const uint64_t *inodes, size_t n)
{
	murmesh_SocketQuery query = murmesh_SocketQuery_init_zero;
	struct probe_role *role = ctx;
	if (!role->exec || role->owners_asked)
		return -E_BUSY;
	query.inodes_count = (pb_size_t)(n < PROBE_OWNERS_MAX ? n : PROBE_OWNERS_MAX);
	memcpy(query.inodes, inodes, query.inodes_count * sizeof *inodes);
	int err = rpc_unary(role->exec, &rpc_Processes_Owners, &query, OWNERS_MS, on_owners, role);
	role->owners_asked = err == 0;
	return err;
}

/* ---- the role ---- */

static void on_descriptor(void *ctx, const char *name, int fd)
{
	static const struct rpc_connection_events net = { NULL, NULL, NULL }, exec = { NULL, NULL, NULL };
	static const struct rpc_connection_settings settings = { .server = false };
	struct probe_role *role = ctx;
	if (str_is(str_from(name), "rpc-to:net")) {
		rpc_connection_replace(&role->net, priv_child_loop(role->child), fd, &settings, &net, role);
		role->pause_ms = RETRY_LEAST_MS;
		io_timer_start(role->retry, 0, 0);
	} else if (str_is(str_from(name), "rpc-to:exec")) {
		rpc_connection_replace(&role->exec, priv_child_loop(role->child), fd, &settings, &exec, role);
	} else
		fd_close(fd);
}

static bool setting_is(const struct priv_child *child, const char *name)
{
	return !str_is(str_setting(priv_child_configuration(child), name), "no");
}

int agent_probe_main(struct priv_child *child)
{
	static const struct priv_child_events events = { on_descriptor, NULL, NULL };
	static struct probe_role role;
	const struct probe_settings settings = { .proc = priv_child_proc(child),
		                                 .network = setting_is(child, "probe_network"),
		                                 .packets = setting_is(child, "probe_packets"),
		                                 .arguments = setting_is(child, "probe_arguments"),
		                                 .ready = on_ready,
		                                 .owners = owners_ask,
		                                 .ctx = &role };
	role.child = child;
	role.pause_ms = RETRY_LEAST_MS;
	role.retry = io_timer_new(priv_child_loop(child), on_retry, &role);
	role.probe = setting_is(child, "probe") ? probe_new(priv_child_loop(child), &settings) : NULL;
	role.settle = io_timer_new(priv_child_loop(child), on_settled, &role);
	if (!role.retry || !role.settle || (!role.probe && setting_is(child, "probe")))
		return 75;
	if (role.probe)
		priv_child_listen(child, &events, &role);
	if (priv_child_confine(child) < 0)
		return 77;
	if (role.probe)
		probe_start(role.probe);
	priv_child_ready(child);
	int code = priv_child_run(child);
	role.net = rpc_connection_free(role.net); /* its streams' ends still need the probe */
	role.exec = rpc_connection_free(role.exec);
	role.probe = probe_free(role.probe);
	io_timer_free(role.retry);
	io_timer_free(role.settle);
	return code;
}
