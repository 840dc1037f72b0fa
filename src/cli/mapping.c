#include "cli/mapping.h"

#include "base/err.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "cli/leg.h"
#include "os/log.h"
#include "stream/stream.h"
#include "tunnel/grant.h"

#define WHY_SIZE 512
#define QUIET_MS 10000 /* between two lines about what anybody can cause as often as he likes */

static struct leg_target target_of(const struct mapping *mapping)
{
	return (struct leg_target){ .cli = mapping->common->cli,
		                    .device = mapping->device,
		                    .host = str_from(mapping->spec.host),
		                    .port = mapping->spec.port,
		                    .tls = mapping->common->tls };
}

/* ---- connections of a map with a target: by its pool ---- */

static struct str on_early(void *ctx)
{
	return map_connection_early(ctx);
}

static void on_more(void *ctx)
{
	pool_more(ctx);
}

static void on_pool_opened(void *ctx, struct stream *stream, size_t sent, int err, const char *details)
{
	map_connection_open(ctx, stream, sent, err == -E_CLOSED || err == -E_TIMEOUT ? -E_PEER_GONE : err, details);
}

static void connection_open(struct mapping *mapping, struct map_connection *connection)
{
	static const struct pool_events events = { on_early, on_pool_opened };
	struct pool_use *use = pool_connect(mapping->pool, &events, connection);
	log_debug("a connection to %s is asked for", mapping->target);
	if (use)
		map_connection_notify(connection, on_more, use);
}

static void on_leg(void *ctx, struct stream *stream, int err, const char *details)
{
	pool_leg_open(ctx, stream, err, details);
}

static void on_leg_wanted(void *ctx, struct pool_leg *leg)
{
	struct mapping *mapping = ctx;
	struct leg_target target = target_of(mapping);
	target.head = pool_leg_head(leg);
	leg_open(mapping->common->session, &target, on_leg, leg);
}

/* ---- of a dynamic one: each by a leg of its own ---- */

static void on_opened(void *ctx, struct stream *stream, int err, const char *details)
{
	map_connection_open(ctx, stream, 0, err, details);
}

static void on_open(void *ctx, struct map_connection *connection)
{
	struct mapping *mapping = ctx;
	const struct socks_request *request = map_connection_request(connection);
	if (!request)
		return connection_open(mapping, connection);
	struct leg_target target = target_of(mapping);
	target.host = str_from(request->host);
	target.port = request->port;
	log_debug("a connection to %s:%u is asked for (%s)", request->host, target.port, mapping->target);
	leg_open(mapping->common->session, &target, on_opened, connection);
}

/* ---- what people are told ---- */

/* Anybody who reaches the port can make these: they must not fill a log. */
static void stranger_fail(struct mapping *mapping, int err, const char *address)
{
	char why[512];
	uint64_t now = io_loop_now_ms(mapping->common->session->loop);
	if (now < mapping->quiet_until_ms)
		return;
	mapping->quiet_until_ms = now + QUIET_MS;
	snprintf(why, sizeof why, "it comes from %s, which is not in --allow", address);
	cli_fail_because(err, *address ? why : NULL, NULL, "a connection to %s was refused", mapping->target);
}

/* The device's words stand behind ours, unless they are the same. */
static const char *why_of(int err, const char *details, char why[WHY_SIZE])
{
	if (!*details || str_is(str_from(details), err_text(err)))
		return NULL;
	snprintf(why, WHY_SIZE, "%s (%s)", err_text(err), details);
	return why;
}

static void on_failed(void *ctx, int err, const char *details, const struct socks_request *request)
{
	struct mapping *mapping = ctx;
	char why[WHY_SIZE], target[300];
	log_debug("a connection to %s was refused: %s %s", mapping->target, err_name(err), details);
	if (err == -E_MAP_SOURCE || err == -E_SOCKS)
		return stranger_fail(mapping, err, details);
	if (request)
		target_format(str_from(request->host), request->port, target, sizeof target);
	cli_fail_because(err, why_of(err, details, why), NULL, "a connection to %s%s%s was refused", request ? target : "",
	                 request ? " by way of " : "", mapping->target);
}

/* ---- UDP ---- */

struct udp_opening {
	struct udp_leg *leg;
	murmesh_SignedDocument grant;
};

static void on_udp_opened(void *ctx, struct stream *stream, int err, const char *details)
{
	static char grant[GRANT_TEXT_SIZE];
	struct udp_opening *opening = ctx;
	struct udp_leg *leg = opening->leg;
	if (stream)
		err = grant_text_write(&opening->grant, grant);
	if (err < 0)
		stream = stream_free(stream);
	mem_free(opening);
	udp_map_leg(leg, stream, grant, err, details);
}

static void on_udp_open(void *ctx, struct udp_leg *leg)
{
	struct mapping *mapping = ctx;
	struct udp_opening *opening = mem_alloc(sizeof *opening);
	if (!opening)
		return udp_map_leg(leg, NULL, "", -E_NO_MEMORY, "");
	opening->leg = leg;
	struct leg_target target = target_of(mapping);
	target.tls = mapping->common->h2_tls;
	target.udp_grant = &opening->grant;
	log_debug("a leg for datagrams is asked for (%s)", mapping->target);
	leg_open(mapping->common->session, &target, on_udp_opened, opening);
}

/* The sender sends them again and again. */
static void on_udp_failed(void *ctx, int err, const char *details)
{
	struct mapping *mapping = ctx;
	char why[WHY_SIZE];
	uint64_t now = io_loop_now_ms(mapping->common->session->loop);
	log_debug("a datagram to %s was refused: %s %s", mapping->target, err_name(err), details);
	if (err == -E_MAP_SOURCE)
		return stranger_fail(mapping, err, details);
	if (err == mapping->udp_err && now < mapping->udp_quiet_until_ms)
		return;
	mapping->udp_err = err;
	mapping->udp_quiet_until_ms = now + QUIET_MS;
	cli_fail_because(err, why_of(err, details, why), NULL, "a datagram to %s was refused", mapping->target);
}

/* ---- opening ---- */

static int spec_fail(const char *text, unsigned column, const char *reason)
{
	char why[300];
	snprintf(why, sizeof why, "column %u: %s", column, reason);
	return cli_fail_because(-E_MAP_SPEC, why, NULL, "the map %s cannot be used", text);
}

int mapping_parse(const char *text, enum mapping_kind kind, struct map_spec *ret)
{
	unsigned column;
	const char *reason;
	struct str port;
	if (map_spec_parse(str_from(text), kind != MAPPING_DEVICE, ret, &column, &reason) < 0)
		return spec_fail(text, column, reason);
	str_cut_last(str_from(text), ':', &port);
	if (kind == MAPPING_RELAY && !ret->host[0])
		return spec_fail(text, (unsigned)(port.ptr - text) + 1, "the remote host of the relay map is missing");
	return CLI_OK;
}

static void target_text(struct mapping *mapping, const murmesh_Device *device)
{
	char target[300];
	const struct map_spec *spec = &mapping->spec;
	(spec->protocol == MAP_UDP ? target_format_udp : target_format)(
	        spec->host[0] ? str_from(spec->host) : str_from(device->name), spec->port, target, sizeof target);
	snprintf(mapping->target, sizeof mapping->target, "%s%s%s%.40s", target, spec->protocol == MAP_BOTH ? " (TCP and UDP)" : "",
	         spec->host[0] ? " through " : "", spec->host[0] ? device->name : "");
}

static int pool_open(struct mapping *mapping)
{
	const struct pool_settings settings = { .total = mapping->common->legs, .open = on_leg_wanted, .ctx = mapping };
	mapping->pool = pool_new(mapping->common->session->loop, &settings);
	if (mapping->pool)
		return 0;
	mapping->map = map_close(mapping->map);
	mapping->udp = udp_map_close(mapping->udp);
	return -E_NO_MEMORY;
}

static int tcp_listen(struct mapping *mapping)
{
	const struct mapping_common *common = mapping->common;
	const struct map_settings settings = { .local_port = mapping->spec.local_port,
		                               .bind = mapping->bind,
		                               .allow = common->allow,
		                               .idle_ms = common->idle_ms,
		                               .rate = common->bytes_per_s ? &mapping->rate : NULL,
		                               .dynamic = mapping->dynamic,
		                               .open = on_open,
		                               .failed = on_failed,
		                               .ctx = mapping };
	return map_open(common->session->loop, &settings, &mapping->map);
}

static int udp_listen(struct mapping *mapping, uint16_t port)
{
	const struct mapping_common *common = mapping->common;
	const struct udp_map_settings settings = { .local_port = port,
		                                   .bind = mapping->bind,
		                                   .allow = common->allow,
		                                   .idle_ms = common->idle_ms,
		                                   .rate = common->bytes_per_s ? &mapping->rate : NULL,
		                                   .host = str_from(mapping->spec.host),
		                                   .port = mapping->spec.port,
		                                   .open = on_udp_open,
		                                   .failed = on_udp_failed,
		                                   .ctx = mapping };
	return udp_map_open(common->session->loop, &settings, &mapping->udp);
}

#define TRIES 8 /* what the kernel finds free for TCP may be taken for UDP */

/* Of both protocols the same port. */
static int listen_once(struct mapping *mapping)
{
	int err = mapping->spec.protocol == MAP_UDP ? 0 : tcp_listen(mapping);
	if (err < 0 || mapping->spec.protocol == MAP_TCP)
		return err;
	err = udp_listen(mapping, mapping->map ? map_port(mapping->map) : mapping->spec.local_port);
	if (err < 0)
		mapping->map = map_close(mapping->map);
	return err;
}

static int listen_at(struct mapping *mapping)
{
	int err = -E_PORT;
	mapping->rate.bytes_per_s = mapping->common->bytes_per_s;
	for (int tries = mapping->spec.local_port ? 1 : TRIES; err == -E_PORT && tries; tries--)
		err = listen_once(mapping);
	if (err == 0 && mapping->map && !mapping->dynamic)
		err = pool_open(mapping);
	if (err == 0 || err == -E_PORT || !mapping->bind)
		return err == 0 ? CLI_OK : cli_fail(err, "the local port %u cannot be opened", mapping->spec.local_port);
	return cli_fail_because(err, NULL, "give an address that this machine has, or all", "the local address %s cannot be used",
	                        mapping->bind);
}

int mapping_open(struct mapping *mapping, const struct mapping_common *common, const struct map_spec *spec, unsigned i,
                 const murmesh_Device *device)
{
	*mapping = (struct mapping){ .common = common, .spec = *spec, .bind = common->bind };
	mapping->spec.local_port = (uint16_t)(spec->local_port ? spec->local_port + i : 0);
	mapping->spec.port = (uint16_t)(spec->port + i);
	mapping->spec.count = 1;
	memcpy(mapping->device.bytes, device->id, sizeof mapping->device.bytes);
	target_text(mapping, device);
	return listen_at(mapping);
}

/* [BIND:]PORT; BIND as for --bind, IPv6 also in brackets. */
static int dynamic_parse(struct mapping *mapping, const char *text)
{
	uint64_t port;
	struct str port_text, bind = str_cut_last(str_from(text), ':', &port_text);
	if (bind.len > 1 && bind.ptr[0] == '[' && bind.ptr[bind.len - 1] == ']')
		bind = (struct str){ bind.ptr + 1, bind.len - 2 };
	bool given = port_text.len < strlen(text);
	if (str_to_u64(port_text, UINT16_MAX, &port) < 0 || str_copy(bind, mapping->own_bind, sizeof mapping->own_bind) < 0)
		return -E_USAGE;
	mapping->spec.local_port = (uint16_t)port;
	if (given)
		mapping->bind = mapping->own_bind;
	return given ? mapping_bind_check(mapping->common, mapping->bind) : 0;
}

int mapping_open_dynamic(struct mapping *mapping, const struct mapping_common *common, const char *text, const char *name,
                         const murmesh_Device *device)
{
	*mapping = (struct mapping){ .common = common, .bind = common->bind, .dynamic = true };
	if (dynamic_parse(mapping, text) < 0)
		return cli_fail_because(-E_USAGE, NULL, "write PORT or ADDRESS:PORT, as 1080 or [::1]:1080", "-D %s cannot be used",
		                        text);
	memcpy(mapping->device.bytes, device->id, sizeof mapping->device.bytes);
	str_copy(str_from(name), mapping->spec.device, sizeof mapping->spec.device);
	snprintf(mapping->target, sizeof mapping->target, "SOCKS5 through %s", device->name);
	return listen_at(mapping);
}

int mapping_bind_check(const struct mapping_common *common, const char *bind)
{
	struct socket_address address;
	struct socket_source source = { 0 };
	if (bind && strcmp(bind, MAP_BIND_ALL) != 0) {
		if (socket_address_parse(str_from(bind), 0, &address) < 0)
			return -E_USAGE;
		socket_address_source(&address, &source);
	}
	if (bind && !source.loopback && !common->allow)
		cli_note(common->cli, "note: whoever reaches this machine can use these maps; --allow NETWORK says who may");
	return 0;
}

void mapping_close(struct mapping *mapping)
{
	uint64_t lost = mapping->udp ? udp_map_lost(mapping->udp) : 0;
	mapping->map = map_close(mapping->map);
	mapping->pool = pool_free(mapping->pool);
	mapping->udp = udp_map_close(mapping->udp);
	if (lost)
		cli_note(mapping->common->cli,
		         "note: %llu datagrams to %s were lost here: they came faster than the way takes them",
		         (unsigned long long)lost, mapping->target);
}

uint16_t mapping_port(const struct mapping *mapping)
{
	return mapping->map ? map_port(mapping->map) : udp_map_port(mapping->udp);
}

static void local_text(const struct mapping *mapping, char *out, size_t size)
{
	const char *bind = mapping->bind;
	const char *host = !bind ? "localhost" : strcmp(bind, MAP_BIND_ALL) == 0 ? "*" : bind;
	target_format(str_from(host), mapping_port(mapping), out, size);
}

int mapping_print(const struct mapping *mapping)
{
	const struct cli *cli = mapping->common->cli;
	char local[128];
	local_text(mapping, local, sizeof local);
	if (cli_format(cli) >= CLI_JSON)
		return cli_json_line(cli, json_pack("{s:i, s:o, s:s}", "local_port", (int)mapping_port(mapping), "device",
		                                    cli_json_text(str_from(mapping->spec.device)), "target", mapping->target));
	char line[700], clean[700];
	bool label = mapping->label[0];
	snprintf(line, sizeof line, "%s -> %s%s%s%s", local, mapping->target, label ? " (" : "", mapping->label, label ? ")" : "");
	fprintf(cli->out, "%s\n", utf8_clean(str_from(line), clean, sizeof clean));
	return 0;
}
