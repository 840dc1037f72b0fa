#include <signal.h>

#include "base/err.h"
#include "cli/devices.h"
#include "cli/leg.h"
#include "cli/standard.h"

struct nc {
	struct session session;
	struct tls_context *tls;
	struct standard *standard;
	char host[MAP_HOST_SIZE];
	uint16_t port;
	int err;
	char why[512];
	bool opened, over;
};

static void over(struct nc *nc, int err, const char *why)
{
	nc->over = true;
	nc->err = err;
	snprintf(nc->why, sizeof nc->why, "%s", why);
	io_loop_stop(nc->session.loop);
}

static void on_ended(void *ctx, int err)
{
	over(ctx, err, "");
}

static void on_leg(void *ctx, struct stream *stream, int err, const char *details)
{
	struct nc *nc = ctx;
	if (!stream)
		return over(nc, err, details);
	nc->opened = true;
	nc->standard = standard_new(nc->session.loop, stream, on_ended, nc);
	if (!nc->standard)
		over(nc, -E_NO_MEMORY, "");
}

static int result(const struct nc *nc, const struct cli *cli)
{
	const char *device = cli->operands[0], *target = cli->operands[1], *why = nc->why[0] ? nc->why : NULL;
	if (!nc->over)
		return CLI_INTERRUPTED;
	if (nc->err == 0)
		return CLI_OK;
	return nc->opened ? cli_fail_because(nc->err, why, NULL, "the connection to %s at %s broke", target, device)
	                  : cli_fail_because(nc->err, why, NULL, "no connection to %s at %s", target, device);
}

static int carry_out(struct nc *nc, const struct cli *cli)
{
	murmesh_Device device;
	int code = devices_choose(&nc->session, cli, cli->operands[0], &device);
	if (code)
		return code;
	int err = session_leg_context(&nc->session, false, &nc->tls);
	if (err < 0)
		return cli_fail(err, "no tunnel can be opened");
	struct leg_target target = { .cli = cli, .host = str_from(nc->host), .port = nc->port, .tls = nc->tls };
	memcpy(target.device.bytes, device.id, sizeof target.device.bytes);
	leg_open(&nc->session, &target, on_leg, nc);
	while (!nc->over && !nc->session.interrupted)
		io_loop_run(nc->session.loop);
	return result(nc, cli);
}

static int run(const struct cli *cli)
{
	static struct nc nc;
	int code = leg_target_read(cli->operands[1], nc.host, &nc.port);
	if (code == 0)
		code = session_begin(&nc.session, cli);
	if (code)
		return code;
	/* what a shell or ssh sends when nobody wants the connection any more: its other end shall see a break */
	session_interrupt_by(&nc.session, SIGTERM);
	session_interrupt_by(&nc.session, SIGHUP);
	code = carry_out(&nc, cli);
	nc.standard = standard_free(nc.standard);
	session_close(&nc.session);
	tls_context_free(nc.tls);
	return code;
}

static const struct cli_option options[] = {
	DEVICES_STRICT,
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "murmesh nc web02 22", "what comes on standard input goes to port 22 of web02, and back" },
	{ "murmesh nc web02 192.168.1.1:80", "a host in web02's network" },
	{ 0 },
};

const struct cli_command command_nc = {
	.name = "nc",
	.summary = "connect standard input and output with a port of a device, or of its network",
	.usage = "DEVICE [HOST:]PORT",
	.options = options,
	.examples = examples,
	.run = run,
	.operands_least = 2,
	.operands_most = 2,
};
