#include "base/err.h"
#include "cli/session.h"

static int run(const struct cli *cli)
{
	murmesh_LoginLinkReply reply;
	char directory[4096];
	int err = cli_directory(cli, directory, sizeof directory);
	if (err == 0)
		err = session_login_link(directory, &reply);
	if (err < 0)
		return cli_fail(err, "no login link was made");
	if (cli_format(cli) >= CLI_JSON)
		return cli_json_line(cli, json_pack("{s:s}", "login", reply.login)) < 0;
	fprintf(cli->out, "%s\n", reply.login);
	cli_note(cli, "good once, for 15 minutes: open it in a browser");
	return 0;
}

static const struct cli_example examples[] = {
	{ "murmesh login-link", "an address that opens the console, on the machine of the server" },
	{ 0 },
};

const struct cli_command command_login_link = {
	.name = "login-link",
	.summary = "make a one-time address that opens the console",
	.usage = "",
	.examples = examples,
	.run = run,
};
