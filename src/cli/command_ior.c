#include "base/err.h"
#include "cli/session.h"

static int run(const struct cli *cli)
{
	static murmesh_Reference reference;
	murmesh_DeviceName request = murmesh_DeviceName_init_zero;
	struct session session;
	int code = session_begin(&session, cli);
	if (code)
		return code;
	int err = cli->n_operands ? str_copy(str_from(cli->operands[0]), request.selector, sizeof request.selector) : 0;
	if (err == 0)
		err = session_unary(&session, &rpc_Fleet_GetReference, &request, &reference, sizeof reference);
	if (err < 0)
		code = session_fail(&session, err, "there is no object reference");
	else if (cli_format(cli) >= CLI_JSON)
		code = cli_json_line(cli, json_pack("{s:s}", "ior", reference.ior)) < 0 ? CLI_FAILED : CLI_OK;
	else
		fprintf(cli->out, "%s\n", reference.ior);
	session_close(&session);
	return code;
}

static const struct cli_example examples[] = {
	{ "murmesh ior", "the server's object reference, for CORBA clients" },
	{ "murmesh ior site7", "that of a relay, for agents: it names the relay's front" },
	{ "murmesh ior --json", "for a script" },
	{ 0 },
};

const struct cli_command command_ior = {
	.name = "ior",
	.summary = "print the object reference of the server, or of a relay",
	.usage = "[DEVICE]",
	.examples = examples,
	.run = run,
	.operands_least = 0,
	.operands_most = 1,
};
