#include <signal.h>

#include "base/err.h"
#include "cli/application.h"
#include "cli/mcrouter.h"
#include "cli/router.h"
#include "os/fd.h"
#include "os/network.h"

#define SPECS_MAX    64
#define MAPPINGS_MAX 1024

struct maps {
	struct session session;
	struct mapping_common common;
	struct pool_total legs;
	struct router router;
	struct mcrouter wanted; /* all maps, of files and of the command line */
	const char *dynamic;    /* the device of -D */
	struct io_timer *expiry;
	struct mapping at[MAPPINGS_MAX];
	unsigned n;
	bool expired;
};

/* ---- what is wanted ---- */

static int spec_take(struct maps *maps, const char *text, enum mapping_kind kind)
{
	struct mcrouter *wanted = &maps->wanted;
	if (wanted->n == MCROUTER_MAPS)
		return cli_fail(-E_LIMIT, "the map %s cannot be used", text);
	int code = mapping_parse(text, kind, &wanted->maps[wanted->n]);
	wanted->n += code == 0;
	return code;
}

static int operand_take(struct maps *maps, const struct cli *cli, char *word)
{
	bool relay;
	const char *text = router_map(word, &relay);
	if (text)
		return spec_take(maps, text, relay ? MAPPING_RELAY : MAPPING_DEVICE);
	if (word[0] == '-')
		return router_take(&maps->router, word);
	if (mcrouter_is(word))
		return mcrouter_read(word, &maps->wanted);
	if (cli_given(cli, "dynamic") && !maps->dynamic) {
		maps->dynamic = word;
		return CLI_OK;
	}
	return spec_take(maps, word, MAPPING_ANY);
}

/* What stands in a file holds unless the command line says something else. */
static void server_take(struct maps *maps, const struct cli *cli)
{
	bool named = maps->router.host || cli_given(cli, "server") || cli_directory_named(cli);
	if (!named && maps->wanted.host[0]) {
		maps->router.host = maps->wanted.host;
		if (!maps->router.user && maps->wanted.user[0])
			maps->router.user = maps->wanted.user;
	}
}

static int wanted_check(const struct maps *maps, const struct cli *cli)
{
	if (cli_given(cli, "dynamic") && !maps->dynamic)
		return cli_fail_because(-E_USAGE, "the device is missing", "write `murmesh map -D PORT DEVICE`",
		                        "no proxy was opened");
	if (!maps->wanted.n && !maps->dynamic)
		return cli_fail_because(-E_USAGE, "no map is given", "write `murmesh map TCP:LOCALPORT:DEVICE:APP:PORT`",
		                        "no map was opened");
	return CLI_OK;
}

static int wanted_take(struct maps *maps, const struct cli *cli)
{
	int code = CLI_OK;
	for (size_t i = 0; code == 0 && i < cli->n_operands; i++)
		code = operand_take(maps, cli, cli->operands[i]);
	if (code == 0)
		code = wanted_check(maps, cli);
	server_take(maps, cli);
	return code ? code : router_ready(&maps->router, cli);
}

/* ---- opening ---- */

static int device_choose(struct maps *maps, const struct cli *cli, const char *name, murmesh_Device *ret)
{
	int code = devices_choose(&maps->session, cli, name, ret);
	if (code == 0 && !ret->online)
		cli_note(cli, "note: %s is offline; connections are refused until it is back", ret->full_name);
	return code;
}

static int dynamic_open(struct maps *maps, const struct cli *cli)
{
	murmesh_Device device;
	int code = device_choose(maps, cli, maps->dynamic, &device);
	if (code == 0)
		code = mapping_open_dynamic(&maps->at[0], &maps->common, cli_text(cli, "dynamic"), maps->dynamic, &device);
	maps->n = code == 0;
	return code;
}

/* Each port of a range is a map of its own; the device is looked up once. */
static int spec_open(struct maps *maps, const struct cli *cli, const struct map_spec *spec, const char *label)
{
	murmesh_Device device;
	if (spec->count > MAPPINGS_MAX - maps->n)
		return cli_fail_because(-E_LIMIT, "one command maps at most 1024 ports", "start another one for the rest",
		                        "the map of %s cannot be used", spec->device);
	int code = device_choose(maps, cli, spec->device, &device);
	for (unsigned i = 0; code == 0 && i < spec->count; i++) {
		struct mapping *mapping = &maps->at[maps->n];
		code = mapping_open(mapping, &maps->common, spec, i, &device);
		maps->n += code == 0;
		str_copy(str_from(label), mapping->label, sizeof mapping->label);
	}
	return code;
}

static int maps_write(const struct maps *maps, const struct cli *cli)
{
	char front[SOCKET_ADDRESS_TEXT];
	const char *path = cli_text(cli, "write");
	const char *host = maps->router.host ? maps->router.host : cli_text(cli, "server");
	socket_address_format(&maps->session.front, front);
	int err = mcrouter_write(path, host ? host : front, maps->at, maps->n);
	return err < 0 ? cli_fail(err, "the file %s cannot be written", path) : CLI_OK;
}

/* What cannot be opened is said; the maps stay. */
static void applications_open(const struct maps *maps)
{
	signal(SIGCHLD, SIG_IGN); /* nobody waits for them */
	for (unsigned i = 0; i < maps->n; i++)
		application_open(&maps->at[i]);
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
	if (err == 0)
		err = session_leg_context(&maps->session, true, &maps->common.h2_tls);
	int code = err < 0 ? cli_fail(err, "no tunnel can be opened") : CLI_OK;
	if (code == 0 && maps->dynamic)
		code = dynamic_open(maps, cli);
	for (size_t i = 0; code == 0 && i < maps->wanted.n; i++)
		code = spec_open(maps, cli, &maps->wanted.maps[i], maps->wanted.labels[i]);
	if (code == 0 && cli_given(cli, "write"))
		code = maps_write(maps, cli);
	for (unsigned i = 0; code == 0 && i < maps->n; i++)
		code = mapping_print(&maps->at[i]) < 0 ? CLI_FAILED : CLI_OK;
	fflush(cli->out);
	if (code == 0 && cli_flag(cli, "open"))
		applications_open(maps);
	if (code == 0 && cli_given(cli, "expire"))
		code = expiry_start(maps, cli_duration_ms(cli, "expire"));
	return code;
}

/* "500K", "10M", "1G": powers of 1000. */
static int rate_take(const char *text, uint64_t *ret)
{
	static const char units[] = "KMG";
	struct str digits = str_from(text);
	const char *unit = digits.len ? strchr(units, digits.ptr[digits.len - 1]) : NULL;
	uint64_t number, factor = 1;
	for (const char *at = units; unit && at <= unit; at++)
		factor *= 1000;
	digits.len -= unit != NULL;
	int err = str_to_u64(digits, 1000000000, &number);
	if (err < 0 || number * factor < RATE_LEAST)
		return cli_fail_because(-E_USAGE, NULL, "write bytes a second, at least 1K, as 500K or 10M",
		                        "--rate %s cannot be used", text);
	*ret = number * factor;
	return CLI_OK;
}

static int settings_take(struct maps *maps, const struct cli *cli)
{
	struct mapping_common *common = &maps->common;
	common->cli = cli;
	common->bind = cli_flag(cli, "all") || maps->router.all ? MAP_BIND_ALL : cli_text(cli, "bind");
	common->allow = cli_text(cli, "allow");
	common->idle_ms = cli_duration_ms(cli, "idle");
	if (common->allow && network_ranges_check(str_from(common->allow)) < 0)
		return cli_fail_because(-E_USAGE, NULL, "write networks and addresses with commas between, as 10.0.0.0/8,192.0.2.7",
		                        "--allow %s cannot be used", common->allow);
	if (mapping_bind_check(common, common->bind) < 0)
		return cli_fail_because(-E_USAGE, "this is no address", "give an address of this machine, or all",
		                        "--bind %s cannot be used", common->bind);
	return cli_given(cli, "rate") ? rate_take(cli_text(cli, "rate"), &common->bytes_per_s) : CLI_OK;
}

static int run(const struct cli *cli)
{
	static struct maps maps;
	int code = wanted_take(&maps, cli);
	if (code == 0)
		code = settings_take(&maps, cli);
	if (code == 0)
		code = router_session(&maps.router, cli, &maps.session);
	if (code)
		return code;
	fd_limit_raise();
	maps.common.session = &maps.session;
	maps.common.legs = &maps.legs;
	session_interrupt_by(&maps.session, SIGTERM);
	code = maps_open(&maps, cli);
	if (code == 0)
		code = stay(&maps, cli);
	for (unsigned i = 0; i < maps.n; i++)
		mapping_close(&maps.at[i]);
	io_timer_free(maps.expiry);
	session_close(&maps.session);
	tls_context_free(maps.common.tls);
	tls_context_free(maps.common.h2_tls);
	return code;
}

static const struct cli_option options[] = {
	{ "dynamic", 'D', "[ADDRESS:]PORT", CLI_TEXT, "a SOCKS5 proxy there: DEVICE (the first operand) connects its clients", NULL,
	  0 },
	{ "bind", 0, "ADDRESS|all", CLI_TEXT, "listen there (else on the loopback addresses only)", NULL, 0 },
	{ "all", 0, NULL, CLI_FLAG, "the same as --bind all", NULL, 0 },
	{ "allow", 0, "NETWORK,...", CLI_TEXT, "take connections and datagrams from these addresses and networks only", NULL, 0 },
	{ "idle", 0, "DURATION", CLI_DURATION, "end a connection, or a UDP flow (default: 2m), on which nothing came for so long",
	  NULL, 0 },
	{ "rate", 0, "BYTES", CLI_TEXT,
	  "no more than so many bytes a second, as 500K or 10M: of each map, both directions together", NULL, 0 },
	{ "expire", 0, "DURATION", CLI_DURATION, "end all maps after this time", NULL, 0 },
	{ "open", 0, NULL, CLI_FLAG,
	  "start the application of each map: HTTP, HTTPS, RDP, PuTTY, WinSCP, or of ~/.config/murmesh/applications", NULL, 0 },
	{ "write", 0, "FILE", CLI_FILE, "write the maps into a .mcrouter file", NULL, 0 },
	DEVICES_STRICT,
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "murmesh map TCP:0:web02:HTTP:8000", "any free local port to port 8000 of web02" },
	{ "murmesh map TCP:8080:web02:HTTP:192.168.1.1:80", "a host in web02's network" },
	{ "murmesh map TCP:8000-8003:web02:HTTP:9000-9003 TCP:2222:db::22", "four ports of web02 and one of db" },
	{ "murmesh map UDP:5353:web02::10.0.0.1:53", "the name server of web02's network: dig -p 5353 @localhost NAME" },
	{ "murmesh map RDP:0:desk7 --open",
	  "a remote desktop: TCP and UDP 3389 of desk7 on one local port, and the program that shows it" },
	{ "murmesh map TCP:8080:web02:HTTP:80 --bind all --allow 192.0.2.0/24 --expire 8h", "for others in this network, today" },
	{ "murmesh map office.mcrouter --open", "the maps of a file, and their applications" },
	{ "murmesh map -host:fleet.example.org -user:anna -map:TCP:0:web02:HTTP:80 -all", "the arguments of MeshCentral Router" },
	{ "murmesh map -D 1080 web02",
	  "whatever web02 reaches, for programs that speak SOCKS5: curl --socks5-hostname localhost:1080 URL" },
	{ 0 },
};

const struct cli_command command_map = {
	.name = "map",
	.summary = "make a port of a device, or of its network, a local one",
	.usage = "TCP:LOCALPORT:DEVICE:APP:[HOST:]PORT|UDP:LOCALPORT:DEVICE::[HOST:]PORT|RDP:LOCALPORT:DEVICE[:[HOST:]PORT]|FILE."
	         "mcrouter...",
	.options = options,
	.examples = examples,
	.run = run,
	.operands_least = 1,
	.operands_most = SPECS_MAX,
	.router_operands = true,
};
