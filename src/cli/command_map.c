#include <signal.h>

#include "base/err.h"
#include "cli/mapping.h"
#include "os/fd.h"
#include "os/network.h"

#define SPECS_MAX    64
#define MAPPINGS_MAX 1024

struct maps {
	struct session session;
	struct mapping_common common;
	struct io_timer *expiry;
	struct mapping at[MAPPINGS_MAX];
	unsigned n;
	bool expired;
};

static int device_choose(struct maps *maps, const struct cli *cli, const char *name, murmesh_Device *ret)
{
	int code = devices_choose(&maps->session, cli, name, cli_flag(cli, "strict"), ret);
	if (code == 0 && !ret->online)
		cli_note(cli, "note: %s is offline; connections are refused until it is back", ret->full_name);
	return code;
}

/* Its device is the first operand. */
static int dynamic_open(struct maps *maps, const struct cli *cli)
{
	murmesh_Device device;
	int code = device_choose(maps, cli, cli->operands[0], &device);
	if (code == 0)
		code = mapping_open_dynamic(&maps->at[0], &maps->common, cli_text(cli, "dynamic"), cli->operands[0], &device);
	maps->n = code == 0;
	return code;
}

/* Each port of a range is a map of its own; the device is looked up once. */
static int spec_open(struct maps *maps, const struct cli *cli, const char *text)
{
	struct map_spec spec;
	murmesh_Device device;
	int code = mapping_parse(text, &spec);
	if (code == 0 && spec.count > MAPPINGS_MAX - maps->n)
		code = cli_fail_because(-E_LIMIT, "one command maps at most 1024 ports", "start another one for the rest",
		                        "the map %s cannot be used", text);
	if (code == 0)
		code = device_choose(maps, cli, spec.device, &device);
	for (unsigned i = 0; code == 0 && i < spec.count; i++) {
		code = mapping_open(&maps->at[maps->n], &maps->common, &spec, i, &device);
		maps->n += code == 0;
	}
	return code;
}

static void on_expired(void *ctx)
{
	struct maps *maps = ctx;
	maps->expired = true;
	io_loop_stop(maps->session.loop);
}

static int expiry_start(struct maps *maps, uint64_t after_ms)
{
	maps->expiry = io_timer_new(maps->session.loop, on_expired, maps);
	if (!maps->expiry)
		return cli_fail(-E_NO_MEMORY, "the maps were not opened");
	io_timer_start(maps->expiry, after_ms, 0);
	return CLI_OK;
}

static int stay(struct maps *maps, const struct cli *cli)
{
	const struct session *session = &maps->session;
	while (!session->interrupted && session->server && !maps->expired)
		io_loop_run(session->loop);
	if (maps->expired)
		cli_note(cli, "the time of --expire is over; the maps are closed");
	return session->interrupted || maps->expired ? CLI_OK : cli_fail(-E_CLOSED, "the server ended the connection");
}

static int maps_open(struct maps *maps, const struct cli *cli)
{
	int err = session_leg_context(&maps->session, false, &maps->common.tls);
	int code = err < 0 ? cli_fail(err, "no tunnel can be opened") : CLI_OK;
	bool dynamic = cli_given(cli, "dynamic");
	if (code == 0 && dynamic)
		code = dynamic_open(maps, cli);
	for (size_t i = dynamic; code == 0 && i < cli->n_operands; i++)
		code = spec_open(maps, cli, cli->operands[i]);
	for (unsigned i = 0; code == 0 && i < maps->n; i++)
		code = mapping_print(&maps->at[i]) < 0 ? CLI_FAILED : CLI_OK;
	fflush(cli->out);
	if (code == 0 && cli_given(cli, "expire"))
		code = expiry_start(maps, cli_duration_ms(cli, "expire"));
	return code;
}

static int settings_take(struct mapping_common *common, const struct cli *cli)
{
	common->cli = cli;
	common->bind = cli_flag(cli, "all") ? MAP_BIND_ALL : cli_text(cli, "bind");
	common->allow = cli_text(cli, "allow");
	common->idle_ms = cli_duration_ms(cli, "idle");
	if (common->allow && network_ranges_check(str_from(common->allow)) < 0)
		return cli_fail_because(-E_USAGE, NULL, "write networks and addresses with commas between, as 10.0.0.0/8,192.0.2.7",
		                        "--allow %s cannot be used", common->allow);
	if (mapping_bind_check(common, common->bind) < 0)
		return cli_fail_because(-E_USAGE, "this is no address", "give an address of this machine, or all",
		                        "--bind %s cannot be used", common->bind);
	return CLI_OK;
}

static int run(const struct cli *cli)
{
	static struct maps maps;
	int code = settings_take(&maps.common, cli);
	if (code == 0)
		code = session_begin(&maps.session, cli);
	if (code)
		return code;
	fd_limit_raise();
	maps.common.session = &maps.session;
	struct io_signal *terminate = session_interrupt_by(&maps.session, SIGTERM);
	code = maps_open(&maps, cli);
	if (code == 0)
		code = stay(&maps, cli);
	for (unsigned i = 0; i < maps.n; i++)
		mapping_close(&maps.at[i]);
	io_timer_free(maps.expiry);
	io_signal_free(terminate);
	session_close(&maps.session);
	tls_context_free(maps.common.tls);
	return code;
}

static const struct cli_option options[] = {
	{ "dynamic", 'D', "[ADDRESS:]PORT", CLI_TEXT, "a SOCKS5 proxy there: DEVICE (the first operand) connects its clients", NULL,
	  0 },
	{ "bind", 0, "ADDRESS|all", CLI_TEXT, "listen there (else on the loopback addresses only)", NULL, 0 },
	{ "all", 0, NULL, CLI_FLAG, "the same as --bind all", NULL, 0 },
	{ "allow", 0, "NETWORK,...", CLI_TEXT, "take connections from these addresses and networks only", NULL, 0 },
	{ "idle", 0, "DURATION", CLI_DURATION, "end a connection on which nothing came for so long", NULL, 0 },
	{ "expire", 0, "DURATION", CLI_DURATION, "end all maps after this time", NULL, 0 },
	{ "strict", 0, NULL, CLI_FLAG, "refuse a name that is not that of exactly one device that is online (exit code 3)", NULL,
	  0 },
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "murmesh map TCP:0:web02:HTTP:8000", "any free local port to port 8000 of web02" },
	{ "murmesh map TCP:8080:web02:HTTP:192.168.1.1:80", "a host in web02's network" },
	{ "murmesh map TCP:8000-8003:web02:HTTP:9000-9003 TCP:2222:db::22", "four ports of web02 and one of db" },
	{ "murmesh map TCP:8080:web02:HTTP:80 --bind all --allow 192.0.2.0/24 --expire 8h", "for others in this network, today" },
	{ "murmesh map -D 1080 web02",
	  "whatever web02 reaches, for programs that speak SOCKS5: curl --socks5-hostname localhost:1080 URL" },
	{ 0 },
};

const struct cli_command command_map = {
	.name = "map",
	.summary = "make a port of a device, or of its network, a local one",
	.usage = "[DEVICE] TCP:LOCALPORT:DEVICE:APP:[HOST:]PORT...",
	.options = options,
	.examples = examples,
	.run = run,
	.operands_least = 1,
	.operands_most = SPECS_MAX,
};
