#include "base/err.h"
#include "base/mem.h"
#include "ca/components.h"
#include "cli/devices.h"
#include "os/clock.h"

/* The same line, with the address of a relay, or of another machine of the server, for that of the server. */
static int line_through(struct session *session, const struct cli *cli, murmesh_JoinKey *reply)
{
	char address[128], line[sizeof reply->join];
	struct str rest;
	if (!cli_given(cli, "relay"))
		return CLI_OK;
	const char *relay = cli_text(cli, "relay");
	int code = CLI_OK;
	if (!str_has(str_from(relay), ':'))
		code = devices_relay(session, relay, address);
	else if (str_copy(str_from(relay), address, sizeof address) < 0)
		code = cli_fail(-E_TOO_LONG, "the address cannot be used");
	str_cut(str_from(reply->join), '#', &rest);
	snprintf(line, sizeof line, "%s#%.*s", code ? "" : address, STR_ARG(rest));
	str_copy(str_from(line), reply->join, sizeof reply->join);
	mem_wipe(line, sizeof line);
	return code;
}

static int key_new(const struct cli *cli)
{
	murmesh_KeyRequest request = { .uses = (uint32_t)cli_number(cli, "uses"),
		                       .lifetime_s = cli_duration_ms(cli, "ttl") / 1000,
		                       .approve = cli_given(cli, "approve") };
	murmesh_JoinKey reply;
	struct session session;
	char expires[CLOCK_TEXT_SIZE];
	if (cli_given(cli, "from") && str_copy(str_from(cli_text(cli, "from")), request.network, sizeof request.network) < 0)
		return cli_fail(-E_NETWORK_RANGE, "the networks cannot be used");
	if (cli_given(cli, "component") && ca_component_roles_parse(str_from(cli_text(cli, "component")), &request.components) < 0)
		return cli_fail(-E_COMPONENT_ROLE, "no join key was made");
	if (cli_given(cli, "group") && str_copy(str_from(cli_text(cli, "group")), request.group, sizeof request.group) < 0)
		return cli_fail(-E_TOO_LONG, "the group cannot be used");
	int code = session_begin(&session, cli);
	if (code)
		return code;
	int err = session_unary(&session, &rpc_Fleet_NewKey, &request, &reply, sizeof reply);
	if (err == 0 && (reply.approve != request.approve || reply.components != request.components ||
	                 !str_is(str_from(reply.network), request.network)))
		err = -E_UNSUPPORTED; /* an older server: its line would let machines in that must not come in */
	clock_format(reply.expires, expires);
	if (err < 0)
		code = session_fail(&session, err, "no join key was made");
	else
		code = line_through(&session, cli, &reply);
	if (code == CLI_OK && cli_format(cli) >= CLI_JSON)
		code = cli_json_line(cli, json_pack("{s:s, s:s, s:I}", "join", reply.join, "expires", expires, "uses",
		                                    (json_int_t)(request.uses ? request.uses : 1))) < 0;
	else if (code == CLI_OK) {
		fprintf(cli->out, "%s\n", reply.join);
		cli_note(cli, "valid until %s; on the other machine: %s", expires,
		         request.components ? "murmesh-server --role ROLE --core HOST:PORT --join FILE --dir DIR"
		                            : "murmesh join LINE");
	}
	session_close(&session);
	return code;
}

static int run(const struct cli *cli)
{
	if (!str_is(str_from(cli->operands[0]), "new"))
		return cli_fail_because(-E_USAGE, "there is `key new`", NULL, "unknown operation %s", cli->operands[0]);
	return key_new(cli);
}

static const struct cli_option options[] = {
	{ "uses", 0, "N", CLI_NUMBER, "machines that may join with this key", "1", 100000 },
	{ "group", 0, "GROUP", CLI_TEXT, "the group that they come into", NULL, 0 },
	{ "from", 0, "NETWORK", CLI_TEXT, "addresses that it works from, such as 192.0.2.0/24 (several: with commas)", NULL, 0 },
	{ "relay", 0, "DEVICE", CLI_TEXT, "the relay that they join at, and link to afterwards (else the server); or HOST:PORT",
	  NULL, 0 },
	{ "component", 0, "ROLES", CLI_TEXT,
	  "for a machine that runs roles of this server, not for a device: link, relay, web, collect, viz, several with commas",
	  NULL, 0 },
	{ "approve", 0, NULL, CLI_FLAG, "machines wait until somebody lets them in (murmesh approve)", NULL, 0 },
	{ "ttl", 0, "TIME", CLI_DURATION, "how long the key is good", "1d", 0 },
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "murmesh key new", "a line that joins one machine within a day" },
	{ "murmesh key new --uses 20 --ttl 1h --json", "for a script" },
	{ "murmesh key new --uses 20 --relay site7", "for the machines behind that relay" },
	{ "murmesh key new --uses 20 --approve", "twenty machines, each let in by hand" },
	{ "murmesh key new --component link,relay", "for a machine that others connect to instead of this server" },
	{ 0 },
};

const struct cli_command command_key = {
	.name = "key",
	.summary = "make the line that joins another machine",
	.usage = "new",
	.options = options,
	.examples = examples,
	.run = run,
	.operands_least = 1,
	.operands_most = 1,
};
