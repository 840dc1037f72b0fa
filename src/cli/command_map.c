#include <signal.h>

#include "base/err.h"
#include "cli/leg.h"
#include "portmap/map.h"
#include "portmap/spec.h"

#define MAPS_MAX 64

struct mapping {
	struct session *session;
	const struct cli *cli;
	struct tls_context *tls;
	struct map_spec spec;
	struct id device;
	struct map_listener *map;
	char target[300]; /* "web02:8000" or "web02 -> 192.168.1.1:80" */
};

static void on_opened(void *ctx, struct stream *stream, int err, const char *details)
{
	map_connection_open(ctx, stream, err, details);
}

static void on_open(void *ctx, struct map_connection *connection)
{
	struct mapping *mapping = ctx;
	const struct leg_target target = {
		.device = mapping->device, .host = str_from(mapping->spec.host), .port = mapping->spec.port, .tls = mapping->tls
	};
	leg_open(mapping->session, &target, on_opened, connection);
}

static void on_failed(void *ctx, int err, const char *details)
{
	const struct mapping *mapping = ctx;
	char why[512];
	if (*details)
		snprintf(why, sizeof why, "%s (%s)", err_text(err), details);
	else
		snprintf(why, sizeof why, "%s", err_text(err));
	cli_fail_because(err, str_is(str_from(details), err_text(err)) ? NULL : why, NULL, "a connection to %s was refused",
	                 mapping->target);
}

static int spec_fail(const char *text, unsigned column, const char *reason)
{
	char why[300];
	snprintf(why, sizeof why, "column %u: %s", column, reason);
	return cli_fail_because(-E_MAP_SPEC, why, NULL, "the map %s cannot be used", text);
}

static int mapping_open(struct mapping *mapping, const char *text)
{
	unsigned column;
	const char *reason;
	murmesh_Device device;
	if (map_spec_parse(str_from(text), true, &mapping->spec, &column, &reason) < 0)
		return spec_fail(text, column, reason);
	if (mapping->spec.protocol != MAP_TCP)
		return cli_fail_because(-E_UNSUPPORTED, "this version maps TCP ports only", "write TCP instead of UDP",
		                        "the map %s cannot be used", text);
	int err = session_device(mapping->session, mapping->spec.device, &device);
	if (err < 0)
		return cli_fail_because(err, mapping->session->why[0] ? mapping->session->why : NULL, NULL,
		                        "the device %s cannot be used", mapping->spec.device);
	if (!device.online)
		cli_note(mapping->cli, "note: %s is offline; connections are refused until it is back", device.full_name);
	memcpy(mapping->device.bytes, device.id, sizeof mapping->device.bytes);
	if (mapping->spec.host[0])
		snprintf(mapping->target, sizeof mapping->target, "%s:%u through %s", mapping->spec.host, mapping->spec.port,
		         device.name);
	else
		snprintf(mapping->target, sizeof mapping->target, "%s:%u", device.name, mapping->spec.port);
	const struct map_settings settings = { mapping->spec.local_port, on_open, on_failed, mapping };
	err = map_open(mapping->session->loop, &settings, &mapping->map);
	return err < 0 ? cli_fail(err, "the local port %u cannot be opened", mapping->spec.local_port) : 0;
}

static int mapping_print(const struct mapping *mapping)
{
	if (cli_format(mapping->cli) >= CLI_JSON)
		return cli_json_line(mapping->cli,
		                     json_pack("{s:i, s:o, s:s}", "local_port", (int)map_port(mapping->map), "device",
		                               cli_json_text(str_from(mapping->spec.device)), "target", mapping->target));
	fprintf(mapping->cli->out, "localhost:%u -> %s\n", map_port(mapping->map), mapping->target);
	return 0;
}

static int stay(struct session *session)
{
	while (!session->interrupted && session->server)
		io_loop_run(session->loop);
	return session->interrupted ? CLI_OK : cli_fail(-E_CLOSED, "the server ended the connection");
}

static int run(const struct cli *cli)
{
	static struct mapping mappings[MAPS_MAX];
	struct session session;
	struct tls_context *tls = NULL;
	size_t n = 0;
	int code = session_begin(&session, cli);
	if (code)
		return code;
	struct io_signal *terminate = session_interrupt_by(&session, SIGTERM);
	int err = session_leg_context(&session, false, &tls);
	if (err < 0)
		code = cli_fail(err, "no tunnel can be opened");
	for (; code == 0 && n < cli->n_operands; n++) {
		mappings[n] = (struct mapping){ .session = &session, .cli = cli, .tls = tls };
		code = mapping_open(&mappings[n], cli->operands[n]);
	}
	for (size_t i = 0; code == 0 && i < n; i++)
		code = mapping_print(&mappings[i]) < 0 ? CLI_FAILED : 0;
	fflush(cli->out);
	if (code == 0)
		code = stay(&session);
	for (size_t i = 0; i < n; i++)
		map_close(mappings[i].map);
	io_signal_free(terminate);
	session_close(&session);
	tls_context_free(tls);
	return code;
}

static const struct cli_example examples[] = {
	{ "murmesh map TCP:0:web02:HTTP:8000", "any free local port to port 8000 of web02" },
	{ "murmesh map TCP:8080:web02:HTTP:192.168.1.1:80", "a host in web02's network" },
	{ 0 },
};

const struct cli_command command_map = {
	.name = "map",
	.summary = "make a port of a device, or of its network, a local one",
	.usage = "TCP:LOCALPORT:DEVICE:APP:[HOST:]PORT...",
	.examples = examples,
	.run = run,
	.operands_least = 1,
	.operands_most = MAPS_MAX,
};
