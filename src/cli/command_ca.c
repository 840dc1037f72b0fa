#include "base/err.h"
#include "cli/ca.h"

static int run(const struct cli *cli)
{
	static const struct {
		const char *name;
		size_t operands;
		int (*run)(const struct cli *cli);
	} operations[] = {
		{ "show", 1, ca_show },       { "init", 1, ca_init },     { "sign-intermediate", 2, ca_sign_intermediate },
		{ "install", 2, ca_install }, { "rotate", 1, ca_rotate }, { "recovery", 1, ca_recovery },
		{ "recover", 2, ca_recover }
	};
	for (size_t i = 0; i < sizeof operations / sizeof *operations; i++) {
		if (!str_is(str_from(cli->operands[0]), operations[i].name))
			continue;
		if (cli->n_operands != operations[i].operands)
			return cli_fail_because(-E_USAGE, NULL, "see `murmesh help ca`", "ca %s: too many or too few words",
			                        operations[i].name);
		return operations[i].run(cli);
	}
	return cli_fail_because(-E_USAGE, NULL, "see `murmesh help ca`", "unknown operation %s", cli->operands[0]);
}

static const struct cli_option options[] = {
	{ "offline-root", 0, NULL, CLI_FLAG, "init: the mesh root's key is, or is made, on another machine", NULL, 0 },
	{ "grant-key", 0, NULL, CLI_FLAG, "rotate: another grant key too, by a new version of the policy", NULL, 0 },
	{ "root", 0, "DIR", CLI_FILE,
	  "the folder with root.key: sign-intermediate makes it where there is none, recover writes it there", NULL, 0 },
	{ "out", 0, "FILE", CLI_FILE,
	  "the file to write (init, rotate: else ca-request.json; sign-intermediate: else ca-answer.json)", NULL, 0 },
	{ "code-file", 0, "FILE", CLI_FILE, "recover: the code in its first line; - is standard input", NULL, 0 },
	{ "yes", 'y', NULL, CLI_FLAG, "sign-intermediate: do not ask", NULL, 0 },
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "murmesh ca show", "root, intermediates and grant key, with their fingerprints" },
	{ "murmesh ca init --offline-root --dir /srv/mesh", "before the first `murmesh up`: writes ca-request.json" },
	{ "murmesh ca sign-intermediate ca-request.json --root /media/root", "on another machine: writes ca-answer.json" },
	{ "murmesh ca install ca-answer.json --dir /srv/mesh", "back at the server; then `murmesh up --dir /srv/mesh`" },
	{ "murmesh ca rotate", "another intermediate; where root.key is elsewhere, a request for it" },
	{ "murmesh ca recovery --out mesh.recovery",
	  "prints a code for a sheet of paper; file and code together bring the mesh back" },
	{ "murmesh ca recover mesh.recovery", "when ca/ is lost: new keys under the old root" },
	{ 0 },
};

const struct cli_command command_ca = {
	.name = "ca",
	.summary = "show the certification manager's keys, and make them with the mesh root elsewhere",
	.usage = "show|init|sign-intermediate|install|rotate|recovery|recover [FILE]",
	.options = options,
	.examples = examples,
	.run = run,
	.operands_least = 1,
	.operands_most = 2,
};
