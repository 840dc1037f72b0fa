#include "cli/mapping.h"

#include "base/err.h"
#include "cli/leg.h"
#include "tunnel/grant.h"

#define STRANGERS_QUIET_MS 10000

static void on_opened(void *ctx, struct stream *stream, int err, const char *details)
{
	map_connection_open(ctx, stream, err, details);
}

static void on_open(void *ctx, struct map_connection *connection)
{
	struct mapping *mapping = ctx;
	const struct leg_target target = { .device = mapping->device,
		                           .host = str_from(mapping->spec.host),
		                           .port = mapping->spec.port,
		                           .tls = mapping->common->tls };
	leg_open(mapping->common->session, &target, on_opened, connection);
}

/* Anybody in the network can make these: they must not fill a log. */
static void stranger_fail(struct mapping *mapping, int err, const char *address)
{
	char why[512];
	uint64_t now = io_loop_now_ms(mapping->common->session->loop);
	if (now < mapping->quiet_until_ms)
		return;
	mapping->quiet_until_ms = now + STRANGERS_QUIET_MS;
	snprintf(why, sizeof why, "it comes from %s, which is not in --allow", address);
	cli_fail_because(err, why, NULL, "a connection to %s was refused", mapping->target);
}

static void on_failed(void *ctx, int err, const char *details)
{
	struct mapping *mapping = ctx;
	char why[512];
	if (err == -E_MAP_SOURCE)
		return stranger_fail(mapping, err, details);
	if (*details)
		snprintf(why, sizeof why, "%s (%s)", err_text(err), details);
	else
		snprintf(why, sizeof why, "%s", err_text(err));
	cli_fail_because(err, str_is(str_from(details), err_text(err)) ? NULL : why, NULL, "a connection to %s was refused",
	                 mapping->target);
}

int mapping_parse(const char *text, struct map_spec *ret)
{
	unsigned column;
	const char *reason;
	char why[300];
	if (map_spec_parse(str_from(text), true, ret, &column, &reason) < 0) {
		snprintf(why, sizeof why, "column %u: %s", column, reason);
		return cli_fail_because(-E_MAP_SPEC, why, NULL, "the map %s cannot be used", text);
	}
	if (ret->protocol != MAP_TCP)
		return cli_fail_because(-E_UNSUPPORTED, "this version maps TCP ports only", "write TCP instead of UDP",
		                        "the map %s cannot be used", text);
	return CLI_OK;
}

static void target_text(struct mapping *mapping, const murmesh_Device *device)
{
	char target[300];
	const struct map_spec *spec = &mapping->spec;
	target_format(spec->host[0] ? str_from(spec->host) : str_from(device->name), spec->port, target, sizeof target);
	snprintf(mapping->target, sizeof mapping->target, "%s%s%.40s", target, spec->host[0] ? " through " : "",
	         spec->host[0] ? device->name : "");
}

int mapping_open(struct mapping *mapping, const struct mapping_common *common, const struct map_spec *spec, unsigned i,
                 const murmesh_Device *device)
{
	*mapping = (struct mapping){ .common = common, .spec = *spec };
	mapping->spec.local_port = (uint16_t)(spec->local_port ? spec->local_port + i : 0);
	mapping->spec.port = (uint16_t)(spec->port + i);
	mapping->spec.count = 1;
	memcpy(mapping->device.bytes, device->id, sizeof mapping->device.bytes);
	target_text(mapping, device);
	const struct map_settings settings = { .local_port = mapping->spec.local_port,
		                               .bind = common->bind,
		                               .allow = common->allow,
		                               .idle_ms = common->idle_ms,
		                               .open = on_open,
		                               .failed = on_failed,
		                               .ctx = mapping };
	int err = map_open(common->session->loop, &settings, &mapping->map);
	if (err == 0 || err == -E_PORT || !common->bind)
		return err == 0 ? CLI_OK : cli_fail(err, "the local port %u cannot be opened", mapping->spec.local_port);
	return cli_fail_because(err, NULL, "give an address that this machine has, or all", "the local address %s cannot be used",
	                        common->bind);
}

void mapping_close(struct mapping *mapping)
{
	mapping->map = map_close(mapping->map);
}

static void local_text(const struct mapping *mapping, char *out, size_t size)
{
	const char *bind = mapping->common->bind;
	const char *host = !bind ? "localhost" : strcmp(bind, MAP_BIND_ALL) == 0 ? "*" : bind;
	target_format(str_from(host), map_port(mapping->map), out, size);
}

int mapping_print(const struct mapping *mapping)
{
	const struct cli *cli = mapping->common->cli;
	char local[128];
	local_text(mapping, local, sizeof local);
	if (cli_format(cli) >= CLI_JSON)
		return cli_json_line(cli, json_pack("{s:i, s:o, s:s}", "local_port", (int)map_port(mapping->map), "device",
		                                    cli_json_text(str_from(mapping->spec.device)), "target", mapping->target));
	fprintf(cli->out, "%s -> %s\n", local, mapping->target);
	return 0;
}
