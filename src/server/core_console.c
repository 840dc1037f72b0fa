/* The console's methods, and what they share.  The web role is trusted to pass on what browsers send, not to say who they are: that is
 * the session's business, in each job anew. */
#include "base/err.h"
#include "base/mem.h"
#include "server/core.h"

/* Every request with a session begins with it. */
#define BEGINS(type) _Static_assert(offsetof(type, session) == 0 && sizeof(((type *)0)->session) == 32, #type)
BEGINS(murmesh_SessionRequest);
BEGINS(murmesh_SetupRequest);
BEGINS(murmesh_TotpCode);
BEGINS(murmesh_RenameRequest);
BEGINS(murmesh_DeviceRequest);

void core_console_reply(struct core_job *job)
{
	rpc_call_reply(job->call, &((struct console_job *)job)->reply);
	core_job_free(job);
}

static void console_ended(struct core_job *base)
{
	struct console_job *job = (struct console_job *)base;
	if (job->login)
		base->core->logins--;
	mem_wipe(&job->request, sizeof job->request);
	mem_wipe(&job->reply, sizeof job->reply);
	mem_wipe(job->encoded, sizeof job->encoded);
	mem_wipe(&job->caller, sizeof job->caller);
}

struct console_job *core_console_job(struct core *core, struct rpc_call *call, const void *request, size_t size,
                                     int (*run)(struct store_tx *tx, struct core_job *job))
{
	struct console_job *job = core_job_new(core, call, sizeof *job);
	if (!job)
		return NULL;
	memcpy(&job->request, request, size);
	memcpy(job->caller.session, request, sizeof job->caller.session);
	job->caller.by_session = true;
	job->base.run = run;
	job->base.done = core_console_reply;
	job->base.ended = console_ended;
	return job;
}

static const struct rpc_service services[] = {
	{ &rpc_Core_ComponentCertificate, 0, core_enrol_component, NULL },
	{ &rpc_Console_LoginByLink, 0, core_console_by_link, NULL },
	{ &rpc_Console_LoginByPassword, 0, core_console_by_password, NULL },
	{ &rpc_Console_Logout, 0, core_console_logout, NULL },
	{ &rpc_Console_Me, 0, core_console_me, NULL },
	{ &rpc_Console_Setup, 0, core_console_setup, NULL },
	{ &rpc_Console_TotpBegin, 0, core_console_totp_begin, NULL },
	{ &rpc_Console_TotpConfirm, 0, core_console_totp_confirm, NULL },
	{ &rpc_Console_WatchFleet, 0, NULL, core_console_watch },
	{ &rpc_Console_NewKey, 0, core_console_new_key, NULL },
	{ &rpc_Console_RenameDevice, 0, core_console_rename, NULL },
	{ &rpc_Console_DeleteDevice, 0, core_console_delete, NULL },
	{ &rpc_Console_ListAudit, 0, NULL, core_console_audit },
};

int core_console_open(void *ctx, struct rpc_call *call)
{
	const struct rpc_service *row = rpc_service_find(services, sizeof services / sizeof *services, rpc_call_path(call));
	return row ? rpc_serve(row, call, ctx) : -E_UNSUPPORTED;
}
