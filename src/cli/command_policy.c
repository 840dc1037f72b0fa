#include "base/err.h"
#include "cli/policy.h"

static int show(const struct cli *cli)
{
	struct policy_kept kept;
	int code = policy_kept_load(cli, &kept);
	if (code == CLI_OK && cli_format(cli) >= CLI_JSON)
		code = cli_json_line(cli, policy_json(&kept.policy)) < 0;
	else if (code == CLI_OK)
		policy_print(cli->out, &kept.policy);
	policy_kept_done(&kept);
	return code;
}

static int run(const struct cli *cli)
{
	static const struct {
		const char *name;
		size_t operands;
		int (*run)(const struct cli *cli);
	} operations[] = { { "show", 1, show },
		           { "set", 1, policy_set },
		           { "draft", 1, policy_draft },
		           { "sign", 2, policy_sign_draft },
		           { "install", 2, policy_install },
		           { "key", 2, policy_key },
		           { "approve", 2, policy_approve } };
	for (size_t i = 0; i < sizeof operations / sizeof *operations; i++) {
		if (!str_is(str_from(cli->operands[0]), operations[i].name))
			continue;
		if (cli->n_operands != operations[i].operands)
			return cli_fail_because(-E_USAGE, NULL, "see `murmesh help policy`", "policy %s: too many or too few words",
			                        operations[i].name);
		return operations[i].run(cli);
	}
	return cli_fail_because(-E_USAGE, NULL, "see `murmesh help policy`", "unknown operation %s", cli->operands[0]);
}

static const struct cli_option options[] = {
	{ "mode", 0, "MODE", CLI_TEXT, "set, draft: server, or signed: users' own keys sign tunnels and orders too", NULL, 0 },
	{ "approver", 0, "NAME=FILE", CLI_TEXT,
	  "set, draft: the user's key, as `policy key show` printed it into the file (several: with commas)", NULL, 0 },
	{ "remove-approver", 0, "NAME", CLI_TEXT, "set, draft: the user's key counts no more (several: with commas)", NULL, 0 },
	{ "two-signatures-above", 0, "N", CLI_NUMBER, "set, draft: run orders for more devices need two approvers; 0: none does",
	  NULL, 1000000 },
	{ "parent", 0, "HOST:PORT", CLI_TEXT, "set, draft: where devices find the mesh (several: with commas; or none)", NULL, 0 },
	{ "out", 0, "FILE", CLI_FILE, "draft: the file to write", NULL, 0 },
	{ "root", 0, "DIR", CLI_FILE, "sign: the folder with root.key", NULL, 0 },
	{ "yes", 'y', NULL, CLI_FLAG, "sign, approve: do not ask", NULL, 0 },
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "murmesh policy key new > anna.pub", "anna makes her key, on her own machine" },
	{ "murmesh policy set --mode signed --approver anna=anna.pub,otto=otto.pub --two-signatures-above 10",
	  "where root.key is at the server" },
	{ "murmesh policy draft --remove-approver otto --out next.json", "where it is not: a file for the machine that has it" },
	{ "murmesh policy sign next.json --root /media/root", "there" },
	{ "murmesh policy install next.json", "and back at the server" },
	{ "murmesh policy approve order.json", "a second signature for `murmesh run --order-out`" },
	{ "murmesh policy show --json", "what is in force" },
	{ 0 },
};

const struct cli_command command_policy = {
	.name = "policy",
	.summary = "show and change what devices go by, and make the keys that it names",
	.usage = "show|set|draft|sign|install|key|approve [FILE|new|show]",
	.options = options,
	.examples = examples,
	.run = run,
	.operands_least = 1,
	.operands_most = 2,
};
