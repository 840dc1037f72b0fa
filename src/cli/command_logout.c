#include <errno.h>

#include "base/err.h"
#include "cli/cli.h"
#include "cli/logins.h"

static int forget(const struct cli *cli, struct logins *logins, const struct server_address *server)
{
	int err = logins_forget(logins, server);
	if (err == -ENOENT)
		return cli_fail_because(-E_NOT_FOUND, "nobody is logged in there", NULL, "not logged out of %s", server->text);
	if (err < 0)
		return cli_fail(err, "%s cannot be removed", logins->path);
	cli_note(cli, "logged out of %s", server->text);
	return CLI_OK;
}

static int run(const struct cli *cli)
{
	struct server_address known[SERVERS_MAX];
	struct logins logins;
	int code = CLI_OK, err = logins_init(&logins);
	if (err < 0)
		return cli_fail(err, "no folder of logins: HOME is not set");
	if (cli->n_operands) {
		err = logins_named(&logins, cli->operands[0], &known[0]);
		return err < 0 ? cli_fail(err, "cannot log out of %s", cli->operands[0]) : forget(cli, &logins, &known[0]);
	}
	int n = logins_list(&logins, known, SERVERS_MAX);
	if (n <= 0)
		cli_note(cli, "not logged in anywhere");
	for (int i = 0; i < n && code == CLI_OK; i++)
		code = forget(cli, &logins, &known[i]);
	return code;
}

static const struct cli_example examples[] = {
	{ "murmesh logout", "of all servers; their fingerprints stay known" },
	{ "murmesh logout fleet.example.org", "of one" },
	{ 0 },
};

const struct cli_command command_logout = {
	.name = "logout",
	.summary = "remove the keys and certificates of logins",
	.usage = "[HOST[:PORT]]",
	.examples = examples,
	.run = run,
	.operands_most = 1,
};
