/* Which device a connection is for, as seed 003 has it: names in any case, one of several. */
#include "base/err.h"
#include "cli/devices.h"

struct choice {
	struct str name;
	murmesh_Device best;
	unsigned n, online;
};

static bool better(const murmesh_Device *device, const struct choice *choice)
{
	if (!choice->n || device->online != choice->best.online)
		return !choice->n || device->online;
	return device->last_seen >= choice->best.last_seen;
}

static void on_device(void *ctx, const void *message)
{
	struct choice *choice = ctx;
	const murmesh_Device *device = message;
	if (!devices_has_name(device, choice->name))
		return;
	if (better(device, choice))
		choice->best = *device;
	choice->n++;
	choice->online += device->online;
}

static int look_up(struct session *session, struct choice *choice)
{
	murmesh_ListRequest request = murmesh_ListRequest_init_zero;
	session->why[0] = 0;
	if (devices_is_query(choice->name))
		return -E_NAME;
	int err = str_copy(choice->name, request.selector, sizeof request.selector);
	if (err == 0)
		err = session_stream(session, &rpc_Fleet_ListDevices, &request, on_device, choice);
	return err < 0 ? err : choice->n ? 0 : -E_NOT_FOUND;
}

static int refuse(const struct choice *choice, const char *name)
{
	static const char what[] = "the device %s cannot be used";
	if (choice->n > 1)
		return cli_fail(-E_AMBIGUOUS, what, name);
	cli_fail(-E_OFFLINE, what, name);
	return CLI_NOT_FOUND;
}

static void warn(const struct cli *cli, const struct choice *choice, const char *name)
{
	const murmesh_Device *best = &choice->best;
	if (choice->online > 1 || (choice->n > 1 && !choice->online))
		cli_note(cli, "warning: %u devices%s have the name %s; the one seen most recently is used: %s",
		         choice->online ? choice->online : choice->n, choice->online ? " that are online" : "", name,
		         best->full_name);
}

int devices_choose(struct session *session, const struct cli *cli, const char *name, murmesh_Device *ret)
{
	struct choice choice = { .name = str_from(name) };
	int err = look_up(session, &choice);
	if (err < 0)
		return cli_fail_because(err, session->why[0] ? session->why : NULL, NULL, "the device %s cannot be used", name);
	if (cli_flag(cli, "strict") && (choice.n > 1 || !choice.online))
		return refuse(&choice, name);
	warn(cli, &choice, name);
	*ret = choice.best;
	return CLI_OK;
}
