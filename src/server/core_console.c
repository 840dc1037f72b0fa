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
BEGINS(murmesh_ConsoleQueueRequest);
BEGINS(murmesh_ConsoleUserChange);
BEGINS(murmesh_ConsoleAuditQuery);
BEGINS(murmesh_LiveRequest);
BEGINS(murmesh_ConsoleMapEnd);
BEGINS(murmesh_TaskStart);
BEGINS(murmesh_TaskRequest);
BEGINS(murmesh_TaskReport);

#define WHOLE(type)       CORE_WHOLE(murmesh_##type)
#define PART(type, field) CORE_PART(murmesh_##type, field)
#define SESSION_ONLY      0, 0
#define UNARY(name, function)                                                                                                      \
	{                                                                                                                          \
		.service = { &rpc_Console_##name, 0, function, NULL }                                                              \
	}
#define OPEN(name, function)                                                                                                       \
	{                                                                                                                          \
		.service = { &rpc_Console_##name, 0, NULL, function }                                                              \
	}
/* part is two values. */
#define RUN(name, part, begin, run, done)                                                                                          \
	{                                                                                                                          \
		{ &rpc_Console_##name, 0, NULL, NULL }, part, begin, run, done, NULL                                               \
	}

/* Whose messages are made of the job's rows. */
#define ROWS(name, part, begin, run, row)                                                                                          \
	{                                                                                                                          \
		{ &rpc_Console_##name, 0, NULL, NULL }, part, begin, run, NULL, row                                                \
	}

static const struct core_method methods[] = {
	{ .service = { &rpc_Core_ComponentCertificate, 0, core_enrol_component, NULL } },
	{ .service = { &rpc_Core_CaChanges, 0, NULL, core_policy_follow } },
	/* logins, and what needs a password */
	UNARY(LoginByLink, core_console_by_link),
	UNARY(LoginByPassword, core_console_by_password),
	UNARY(Refused, core_audit_refused),
	UNARY(Setup, core_console_setup),
	UNARY(ChangePassword, core_console_change_password),
	UNARY(StepUp, core_console_step_up),
	UNARY(TotpForget, core_console_totp_forget),
	/* a user's own */
	RUN(Me, SESSION_ONLY, NULL, core_me_run, NULL),
	RUN(Logout, SESSION_ONLY, NULL, core_logout_run, core_logout_done),
	RUN(ListSessions, SESSION_ONLY, NULL, core_sessions_run, NULL),
	RUN(EndSession, WHOLE(SessionEnd), NULL, core_session_end_run, core_session_end_done),
	RUN(TotpBegin, SESSION_ONLY, NULL, core_totp_begin_run, NULL),
	RUN(TotpConfirm, WHOLE(TotpCode), NULL, core_totp_confirm_run, NULL),
	OPEN(WatchSession, core_watch_session),
	/* the fleet */
	OPEN(WatchFleet, core_watch_fleet),
	RUN(GetDevice, WHOLE(DeviceRequest), NULL, core_device_run, core_device_done),
	RUN(PingDevice, WHOLE(DeviceRequest), NULL, core_ping_by_id_run, core_ping_done),
	RUN(ChangeDevices, PART(ConsoleDeviceChange, change), core_change_begin, core_change_run, core_change_done),
	ROWS(ListQueues, PART(ConsoleQueueRequest, queues), core_queues_begin, core_devices_run, core_queue_row),
	RUN(NewKey, PART(ConsoleKeyRequest, key), core_key_begin, core_key_run, NULL),
	RUN(ListApprovals, SESSION_ONLY, NULL, core_approvals_run, NULL),
	RUN(DecideApproval, WHOLE(ConsoleApprovalDecision), NULL, core_approval_by_id_run, core_approval_done),
	OPEN(WatchApprovals, core_watch_approvals),
	/* people and the audit log */
	RUN(ListUsers, SESSION_ONLY, NULL, core_users_run, NULL),
	RUN(AddUser, PART(ConsoleUserChange, change), NULL, core_user_add_run, NULL),
	RUN(ChangeUser, PART(ConsoleUserChange, change), NULL, core_user_change_run, core_user_change_done),
	RUN(NewUserLink, PART(ConsoleUserChange, change), NULL, core_user_link_run, NULL),
	RUN(ListAudit, PART(ConsoleAuditQuery, query), NULL, core_audit_run, NULL),
	RUN(VerifyAudit, SESSION_ONLY, NULL, core_verify_run, core_verify_done),
	/* the ways to devices, and what goes on there */
	UNARY(UserCertificate, core_enrol_session),
	UNARY(OpenTunnel, core_console_tunnel),
	UNARY(SignOrder, core_console_order),
	RUN(WatchLive, WHOLE(LiveRequest), NULL, core_live_run, core_live_done),
	{ { &rpc_Console_ListMaps, 0, NULL, NULL }, SESSION_ONLY, NULL, core_maps_run, core_maps_done, core_maps_row },
	RUN(EndMap, PART(ConsoleMapEnd, map), core_map_end_begin, core_map_end_run, core_map_end_done),
	OPEN(WatchMaps, core_watch_maps),
	/* tasks */
	RUN(StartTask, WHOLE(TaskStart), core_task_begin, core_task_run, core_task_done),
	RUN(TaskCommand, WHOLE(TaskRequest), NULL, core_task_command_run, NULL),
	RUN(TaskDevices, WHOLE(TaskRequest), NULL, core_task_devices_run, NULL),
	RUN(ReportTask, WHOLE(TaskReport), NULL, core_task_report_run, core_task_report_done),
	RUN(CancelTask, WHOLE(TaskRequest), NULL, core_task_cancel_run, core_task_done),
	OPEN(WatchTasks, core_watch_tasks),
};

bool core_console_is(struct str path)
{
	return str_starts(path, STR("/murmesh.Console/"));
}

/* What browsers ask for there; nothing that a web asks for itself. */
int core_console_elsewhere(void *ctx, struct rpc_call *call)
{
	const struct core *core = ctx;
	const struct identity *peer = rpc_call_peer(call);
	bool may = peer && !rpc_call_origin(call) && peer->kind == IDENTITY_COMPONENT && id_equal(&peer->mesh, &core->mesh_id) &&
	           core_component_may(core, &peer->id, murmesh_ComponentRole_COMPONENT_WEB);
	return may ? core_console_open(ctx, call) : -E_DENIED;
}

int core_console_open(void *ctx, struct rpc_call *call)
{
	const struct core_method *row = core_method_find(methods, sizeof methods / sizeof *methods, rpc_call_path(call));
	return row ? core_serve(ctx, call, row, true) : -E_UNSUPPORTED;
}
