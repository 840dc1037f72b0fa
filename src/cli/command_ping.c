#include "base/err.h"
#include "cli/devices.h"
#include "os/clock.h"

#define ROUNDS_MAX 100

static const struct cli_column columns[] = {
	{ "name", CLI_COLUMN_VALUE, false },
	{ "ms", CLI_COLUMN_NUMBER, false },
	{ "hop_ms", CLI_COLUMN_NUMBER, false },
	{ "error", CLI_COLUMN_VALUE, false },
	{ 0 },
};

struct path {
	murmesh_Path hops; /* of the last round; 0 is the server */
	double best[sizeof((murmesh_Path *)0)->hops / sizeof *((murmesh_Path *)0)->hops];
};

static int server_ask(struct session *session, double *best)
{
	const murmesh_DeviceName nobody = murmesh_DeviceName_init_zero;
	murmesh_Path reply;
	uint64_t begin = clock_monotonic_us();
	int err = session_unary(session, &rpc_Fleet_Ping, &nobody, &reply, sizeof reply);
	double ms = (double)(clock_monotonic_us() - begin) / 1000;
	*best = *best == 0 || ms < *best ? ms : *best;
	return err;
}

static int round_ask(struct session *session, const murmesh_DeviceName *device, struct path *path)
{
	int err = session_unary(session, &rpc_Fleet_Ping, device, &path->hops, sizeof path->hops);
	for (pb_size_t i = 0; err == 0 && i < path->hops.hops_count; i++) {
		double ms = (double)path->hops.hops[i].microseconds / 1000;
		if (ms > 0 && (path->best[i] == 0 || ms < path->best[i]))
			path->best[i] = ms;
	}
	return err;
}

static double rounded(double ms)
{
	return (double)(int64_t)(ms * 1000 + 0.5) / 1000;
}

/* From the server's point of view; the server's own row is how far it is from here. */
static int path_print(const struct cli *cli, const struct path *path, double server)
{
	struct cli_table table;
	double before = 0;
	bool lost = false;
	cli_table_begin(&table, cli, columns);
	cli_table_row(&table, json_pack("{s:s, s:f, s:f, s:s}", "name", "server", "ms", rounded(server), "hop_ms", rounded(server),
	                                "error", ""));
	for (pb_size_t i = 0; i < path->hops.hops_count; i++) {
		const murmesh_Hop *hop = &path->hops.hops[i];
		bool known = path->best[i] > 0;
		double step = path->best[i] > before ? path->best[i] - before : 0;
		lost |= !known;
		cli_table_row(&table, json_pack("{s:o, s:o, s:o, s:s}", "name", cli_json_text(str_from(hop->full_name)), "ms",
		                                known ? json_real(rounded(path->best[i])) : json_null(), "hop_ms",
		                                known ? json_real(rounded(step)) : json_null(), "error",
		                                known ? "" : err_text((int)hop->error)));
		before = known ? path->best[i] : before;
	}
	int err = cli_table_end(&table);
	return err < 0 ? cli_fail(err, "the path cannot be printed") : lost ? CLI_FAILED : CLI_OK;
}

static int ping(struct session *session, const struct cli *cli)
{
	static struct path path;
	murmesh_DeviceName device;
	double server = 0;
	uint64_t rounds = cli_number(cli, "count");
	int err = str_copy(str_from(cli->operands[0]), device.selector, sizeof device.selector);
	for (uint64_t i = 0; err == 0 && i < rounds; i++) {
		err = server_ask(session, &server);
		if (err == 0)
			err = round_ask(session, &device, &path);
	}
	return err < 0 ? devices_fail(session, err, str_from(cli->operands[0])) : path_print(cli, &path, server);
}

static int run(const struct cli *cli)
{
	struct session session;
	int code = session_begin(&session, cli);
	if (code)
		return code;
	code = ping(&session, cli);
	session_close(&session);
	return code;
}

static const struct cli_option options[] = {
	{ "count", 'c', "N", CLI_NUMBER, "ask so often; the shortest times are shown", "3", ROUNDS_MAX },
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "murmesh ping web02", "there and back: from here to the server, from there to each relay on the way, and to the device" },
	{ 0 },
};

const struct cli_command command_ping = {
	.name = "ping",
	.summary = "show the way to a device, and how long each part of it takes",
	.usage = "DEVICE",
	.options = options,
	.examples = examples,
	.run = run,
	.operands_least = 1,
	.operands_most = 1,
};
