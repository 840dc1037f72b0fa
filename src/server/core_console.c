/* What the web role may call.  It is trusted to pass on what browsers send, not to say who they are: that is the session's business, in
 * each job anew. */
#include "base/err.h"
#include "server/core.h"

/* Every request with a session begins with it. */
#define BEGINS(type) _Static_assert(offsetof(type, session) == 0 && sizeof(((type *)0)->session) == 32, #type)
BEGINS(murmesh_SessionRequest);
BEGINS(murmesh_TotpCode);
BEGINS(murmesh_SessionEnd);
BEGINS(murmesh_ConsoleKeyRequest);
BEGINS(murmesh_DeviceRequest);
BEGINS(murmesh_ConsoleDeviceChange);
BEGINS(murmesh_ConsoleUserChange);
BEGINS(murmesh_ConsoleAuditQuery);

#define SESSION_ONLY 0, 0

static const struct core_method methods[] = {
	{ .service = { &rpc_Core_ComponentCertificate, 0, core_enrol_component, NULL } },
	/* logins, and what needs a password */
	{ .service = { &rpc_Console_LoginByLink, 0, core_console_by_link, NULL } },
	{ .service = { &rpc_Console_LoginByPassword, 0, core_console_by_password, NULL } },
	{ .service = { &rpc_Console_Setup, 0, core_console_setup, NULL } },
	{ .service = { &rpc_Console_ChangePassword, 0, core_console_change_password, NULL } },
	{ .service = { &rpc_Console_StepUp, 0, core_console_step_up, NULL } },
	{ .service = { &rpc_Console_TotpForget, 0, core_console_totp_forget, NULL } },
	/* a user's own */
	{ { &rpc_Console_Me, 0, NULL, NULL }, SESSION_ONLY, NULL, core_me_run, NULL, NULL },
	{ { &rpc_Console_Logout, 0, NULL, NULL }, SESSION_ONLY, NULL, core_logout_run, core_logout_done, NULL },
	{ { &rpc_Console_ListSessions, 0, NULL, NULL }, SESSION_ONLY, NULL, core_sessions_run, NULL, NULL },
	{ { &rpc_Console_EndSession, 0, NULL, NULL },
	  CORE_WHOLE(murmesh_SessionEnd),
	  NULL,
	  core_session_end_run,
	  core_session_end_done,
	  NULL },
	{ { &rpc_Console_TotpBegin, 0, NULL, NULL }, SESSION_ONLY, NULL, core_totp_begin_run, NULL, NULL },
	{ { &rpc_Console_TotpConfirm, 0, NULL, NULL }, CORE_WHOLE(murmesh_TotpCode), NULL, core_totp_confirm_run, NULL, NULL },
	{ .service = { &rpc_Console_WatchSession, 0, NULL, core_watch_session } },
	/* the fleet */
	{ .service = { &rpc_Console_WatchFleet, 0, NULL, core_watch_fleet } },
	{ { &rpc_Console_GetDevice, 0, NULL, NULL },
	  CORE_WHOLE(murmesh_DeviceRequest),
	  NULL,
	  core_device_run,
	  core_device_done,
	  NULL },
	{ { &rpc_Console_ChangeDevices, 0, NULL, NULL },
	  CORE_PART(murmesh_ConsoleDeviceChange, change),
	  core_change_begin,
	  core_change_run,
	  core_change_done,
	  NULL },
	{ { &rpc_Console_NewKey, 0, NULL, NULL },
	  CORE_PART(murmesh_ConsoleKeyRequest, key),
	  core_key_begin,
	  core_key_run,
	  NULL,
	  NULL },
	/* people and the audit log */
	{ { &rpc_Console_ListUsers, 0, NULL, NULL }, SESSION_ONLY, NULL, core_users_run, NULL, NULL },
	{ { &rpc_Console_AddUser, 0, NULL, NULL },
	  CORE_PART(murmesh_ConsoleUserChange, change),
	  NULL,
	  core_user_add_run,
	  NULL,
	  NULL },
	{ { &rpc_Console_ChangeUser, 0, NULL, NULL },
	  CORE_PART(murmesh_ConsoleUserChange, change),
	  NULL,
	  core_user_change_run,
	  core_user_change_done,
	  NULL },
	{ { &rpc_Console_NewUserLink, 0, NULL, NULL },
	  CORE_PART(murmesh_ConsoleUserChange, change),
	  NULL,
	  core_user_link_run,
	  NULL,
	  NULL },
	{ { &rpc_Console_ListAudit, 0, NULL, NULL },
	  CORE_PART(murmesh_ConsoleAuditQuery, query),
	  NULL,
	  core_audit_run,
	  NULL,
	  NULL },
	{ { &rpc_Console_VerifyAudit, 0, NULL, NULL }, SESSION_ONLY, NULL, core_verify_run, core_verify_done, NULL },
	{ .service = { &rpc_Core_ComponentCertificate, 0, core_enrol_component, NULL } }, /* web's own */
	/* the ways to devices */
	{ .service = { &rpc_Console_UserCertificate, 0, core_enrol_session, NULL } },
	{ .service = { &rpc_Console_OpenTunnel, 0, core_console_tunnel, NULL } },
	{ .service = { &rpc_Console_SignOrder, 0, core_console_order, NULL } },
};

int core_console_open(void *ctx, struct rpc_call *call)
{
	const struct core_method *row = core_method_find(methods, sizeof methods / sizeof *methods, rpc_call_path(call));
	return row ? core_serve(ctx, call, row, true) : -E_UNSUPPORTED;
}
