#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "cli/devices.h"
#include "cli/leg.h"
#include "cli/user_key.h"
#include "os/clock.h"
#include "os/file.h"
#include "portmap/map.h"
#include "tunnel/grant.h"

enum { FILE_MAX = 64 << 10, LIFETIME_S = 590 /* the server signs for 600 s */ };

/* A door to the agent on this machine: the agents have no listener of their own.  What passes there is the client's TLS with the agent. */
struct grant {
	const struct cli *cli;
	struct session session;
	struct id device;
	char host[MAP_HOST_SIZE], target[300];
	uint16_t port;
	murmesh_TunnelRequest request;
	char document[GRANT_TEXT_SIZE];
	char folder[256]; /* of the files below; "" = none yet */
	struct map_listener *map;
	struct io_timer *expiry;
	bool expired;
};

static const char *const files[] = { "root.crt", "user.pem", "curl.conf" };

/* ---- the grant ---- */

/* The tunnel that the server prepares with it is left unused. */
static int document_get(struct grant *grant)
{
	static murmesh_Tunnel tunnel;
	murmesh_TunnelRequest *request = &grant->request;
	request->rights = murmesh_Right_CONNECT;
	memcpy(request->device, grant->device.bytes, sizeof request->device);
	int err = target_format(str_from(grant->host), grant->port, request->targets[0], sizeof request->targets[0]);
	request->targets_count = 1;
	if (err == 0)
		err = session_unary(&grant->session, &rpc_Tunnels_Open, request, &tunnel, sizeof tunnel);
	if (err == 0)
		err = user_sign_grant(&grant->session, request, &tunnel.grant);
	return err < 0 ? err : grant_text_write(&tunnel.grant, grant->document);
}

/* ---- files ---- */

static int folder_make(struct grant *grant)
{
	const char *base = getenv("XDG_RUNTIME_DIR");
	int len = snprintf(grant->folder, sizeof grant->folder, "%s/murmesh-grant-XXXXXX", base && base[0] == '/' ? base : "/tmp");
	if ((size_t)len < sizeof grant->folder && mkdtemp(grant->folder))
		return 0;
	grant->folder[0] = 0;
	return errno ? -errno : -E_TOO_LONG;
}

static int file_put(const struct grant *grant, const char *name, const struct buf *content)
{
	char path[300];
	int err = file_path(path, sizeof path, grant->folder, name);
	return err < 0 ? err : file_write(path, buf_head(content), buf_len(content), 0600);
}

static int settings_write(const struct grant *grant, struct buf *out)
{
	char id[ID_TEXT_SIZE];
	unsigned port = map_port(grant->map);
	id_format(&grant->device, id);
	return buf_printf(out,
	                  "proxy = \"https://%s:%u\"\nresolve = \"%s:%u:127.0.0.1\"\nproxytunnel\nnoproxy = \"\"\n"
	                  "proxy-cacert = \"%s/root.crt\"\nproxy-cert = \"%s/user.pem\"\nproxy-key = \"%s/user.pem\"\n"
	                  "proxy-header = \"murmesh-grant: %s\"\n",
	                  id, port, id, port, grant->folder, grant->folder, grant->folder, grant->document);
}

static int files_write(struct grant *grant)
{
	const struct login *login = &grant->session.login;
	struct buf root, user, settings;
	buf_init(&root, FILE_MAX);
	buf_init(&user, FILE_MAX);
	buf_init(&settings, FILE_MAX);
	int err = folder_make(grant);
	if (err == 0)
		err = certificate_write_pem(login->root, &root);
	if (err == 0)
		err = login_write(login, &user);
	if (err == 0)
		err = settings_write(grant, &settings);
	if (err == 0)
		err = file_put(grant, files[0], &root);
	if (err == 0)
		err = file_put(grant, files[1], &user);
	if (err == 0)
		err = file_put(grant, files[2], &settings);
	buf_done(&root);
	buf_wipe(&user);
	buf_done(&settings);
	return err;
}

static void files_remove(const struct grant *grant)
{
	char path[300];
	for (size_t i = 0; grant->folder[0] && i < sizeof files / sizeof *files; i++)
		if (file_path(path, sizeof path, grant->folder, files[i]) == 0)
			unlink(path);
	if (grant->folder[0])
		rmdir(grant->folder);
}

/* ---- the door ---- */

static void on_opened(void *ctx, struct stream *stream, int err, const char *details)
{
	map_connection_open(ctx, stream, 0, err, details);
}

static void on_open(void *ctx, struct map_connection *connection)
{
	struct grant *grant = ctx;
	const struct leg_target target = {
		.device = grant->device, .raw = true, .host = str_from(grant->host), .port = grant->port
	};
	leg_open(&grant->session, &target, on_opened, connection);
}

static void on_failed(void *ctx, int err, const char *details, const struct socks_request *request)
{
	const struct grant *grant = ctx;
	(void)request;
	cli_fail_because(err, *details ? details : NULL, NULL, "a connection to %s was refused", grant->cli->operands[0]);
}

static void on_expired(void *ctx)
{
	struct grant *grant = ctx;
	grant->expired = true;
	io_loop_stop(grant->session.loop);
}

static int door_open(struct grant *grant)
{
	const struct map_settings settings = { .open = on_open, .failed = on_failed, .ctx = grant };
	grant->expiry = io_timer_new(grant->session.loop, on_expired, grant);
	if (!grant->expiry)
		return -E_NO_MEMORY;
	io_timer_start(grant->expiry, (uint64_t)LIFETIME_S * 1000, 0);
	return map_open(grant->session.loop, &settings, &grant->map);
}

/* ---- the command ---- */

static int print(const struct grant *grant)
{
	char url[340], until[CLOCK_TEXT_SIZE];
	target_format(grant->host[0] ? str_from(grant->host) : STR("localhost"), grant->port, url, sizeof url);
	clock_format(clock_wall_s() + LIFETIME_S, until);
	if (cli_format(grant->cli) >= CLI_JSON)
		return cli_json_line(grant->cli,
		                     json_pack("{s:s+, s:i, s:s, s:s}", "config", grant->folder, "/curl.conf", "local_port",
		                               (int)map_port(grant->map), "target", url, "until", until)) < 0;
	fprintf(grant->cli->out, "curl --config %s/curl.conf http://%s/\n", grant->folder, url);
	cli_note(grant->cli, "good until %s, while this command runs; the folder holds a key: keep it to yourself", until);
	return CLI_OK;
}

static int carry_out(struct grant *grant)
{
	murmesh_Device device;
	int code = devices_choose(&grant->session, grant->cli, grant->cli->operands[0], &device);
	if (code)
		return code;
	memcpy(grant->device.bytes, device.id, sizeof grant->device.bytes);
	int err = document_get(grant);
	if (err < 0)
		return session_fail(&grant->session, err, "there is no grant");
	err = door_open(grant);
	if (err == 0)
		err = files_write(grant);
	if (err < 0)
		return cli_fail(err, "the grant cannot be used");
	code = print(grant);
	fflush(grant->cli->out);
	while (code == 0 && !grant->session.interrupted && grant->session.server && !grant->expired)
		io_loop_run(grant->session.loop);
	bool lost = !grant->session.interrupted && !grant->expired;
	return code || !lost ? code : cli_fail(-E_CLOSED, "the server ended the connection");
}

static int run(const struct cli *cli)
{
	static struct grant grant;
	grant.cli = cli;
	int code = leg_target_read(cli->operands[1], grant.host, &grant.port);
	if (code == 0)
		code = session_begin(&grant.session, cli);
	if (code)
		return code;
	session_interrupt_by(&grant.session, SIGTERM);
	session_interrupt_by(&grant.session, SIGHUP);
	code = carry_out(&grant);
	files_remove(&grant);
	map_close(grant.map);
	io_timer_free(grant.expiry);
	session_close(&grant.session);
	return code;
}

static const struct cli_option options[] = {
	DEVICES_STRICT,
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "murmesh grant web02 8000", "prints a curl command; run it elsewhere while this one waits, for at most ten minutes" },
	{ "murmesh grant web02 192.168.1.1:80", "a host in web02's network" },
	{ 0 },
};

const struct cli_command command_grant = {
	.name = "grant",
	.summary = "let curl use a device as its HTTPS proxy",
	.usage = "DEVICE [HOST:]PORT",
	.options = options,
	.examples = examples,
	.run = run,
	.operands_least = 2,
	.operands_most = 2,
};
