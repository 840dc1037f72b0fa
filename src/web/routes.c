#include "web/routes.h"

#include "base/err.h"
#include "services.h"
#include "web/api.h"

/* ---- what comes in ---- */

#define BODY(name, ...)                                                                                                            \
	static const struct field name##_fields[] = { __VA_ARGS__ };                                                               \
	static const struct schema name = SCHEMA(NULL, name##_fields)

BODY(body_link, FIELD("token", FIELD_TEXT, murmesh_LinkLogin, token));
BODY(body_login, FIELD("name", FIELD_TEXT, murmesh_PasswordLogin, name),
     FIELD("password", FIELD_TEXT, murmesh_PasswordLogin, password),
     FIELD("code", FIELD_TEXT, murmesh_PasswordLogin, code, .optional = true));
BODY(body_setup, FIELD("name", FIELD_TEXT, murmesh_SetupRequest, name),
     FIELD("password", FIELD_TEXT, murmesh_SetupRequest, password));
BODY(body_code, FIELD("code", FIELD_TEXT, murmesh_TotpCode, code));
BODY(body_proof, FIELD("password", FIELD_TEXT, murmesh_StepUpRequest, password),
     FIELD("code", FIELD_TEXT, murmesh_StepUpRequest, code, .optional = true));
BODY(body_password, FIELD("password", FIELD_TEXT, murmesh_PasswordChange, password),
     FIELD("code", FIELD_TEXT, murmesh_PasswordChange, code, .optional = true),
     FIELD("chosen", FIELD_TEXT, murmesh_PasswordChange, chosen));

#define CHANGE_GROUP                                                                                                               \
	FIELD("group", FIELD_TEXT, murmesh_ConsoleDeviceChange, change.group, .optional = true,                                    \
	      .mark = offsetof(murmesh_ConsoleDeviceChange, change.set_group)),                                                    \
	        FIELD_LIST("add_tags", FIELD_TEXT, murmesh_ConsoleDeviceChange, change.add_tags, .optional = true),                \
	        FIELD_LIST("remove_tags", FIELD_TEXT, murmesh_ConsoleDeviceChange, change.remove_tags, .optional = true)
#define CHANGE_PARENT                                                                                                              \
	FIELD("parent", FIELD_TEXT, murmesh_ConsoleDeviceChange, change.parent, .optional = true,                                  \
	      .mark = offsetof(murmesh_ConsoleDeviceChange, change.move))
BODY(body_device, FIELD("name", FIELD_TEXT, murmesh_ConsoleDeviceChange, change.name, .optional = true), CHANGE_GROUP,
     CHANGE_PARENT,
     FIELD("relay", FIELD_FLAG, murmesh_ConsoleDeviceChange, change.relay, .optional = true,
           .mark = offsetof(murmesh_ConsoleDeviceChange, change.set_relay)));
BODY(body_devices, FIELD("query", FIELD_TEXT, murmesh_ConsoleDeviceChange, change.selector),
     FIELD("count", FIELD_U32, murmesh_ConsoleDeviceChange, change.count), CHANGE_GROUP, CHANGE_PARENT,
     FIELD("retire", FIELD_FLAG, murmesh_ConsoleDeviceChange, change.retire, .optional = true));
BODY(body_key, FIELD("uses", FIELD_U32, murmesh_ConsoleKeyRequest, key.uses, .optional = true),
     FIELD("lifetime_s", FIELD_U64, murmesh_ConsoleKeyRequest, key.lifetime_s, .optional = true),
     FIELD("group", FIELD_TEXT, murmesh_ConsoleKeyRequest, key.group, .optional = true),
     FIELD("approve", FIELD_FLAG, murmesh_ConsoleKeyRequest, key.approve, .optional = true),
     FIELD("network", FIELD_TEXT, murmesh_ConsoleKeyRequest, key.network, .optional = true));
BODY(body_decision, FIELD("approve", FIELD_FLAG, murmesh_ConsoleApprovalDecision, approve),
     FIELD("same", FIELD_FLAG, murmesh_ConsoleApprovalDecision, same, .optional = true));

#define CHANGE_GROUPS                                                                                                              \
	FIELD("all_groups", FIELD_FLAG, murmesh_ConsoleUserChange, change.all_groups, .optional = true,                            \
	      .mark = offsetof(murmesh_ConsoleUserChange, change.set_groups)),                                                     \
	        FIELD_LIST("groups", FIELD_TEXT, murmesh_ConsoleUserChange, change.groups, .optional = true,                       \
	                   .mark = offsetof(murmesh_ConsoleUserChange, change.set_groups))
BODY(body_new_user, FIELD("name", FIELD_TEXT, murmesh_ConsoleUserChange, change.name),
     FIELD("role", FIELD_TEXT, murmesh_ConsoleUserChange, change.role, .choices = ROLES), CHANGE_GROUPS);
BODY(body_user, FIELD("role", FIELD_TEXT, murmesh_ConsoleUserChange, change.role, .optional = true, .choices = ROLES),
     CHANGE_GROUPS, FIELD("disabled", FIELD_FLAG, murmesh_ConsoleUserChange, change.disable, .optional = true),
     FIELD("forget_totp", FIELD_FLAG, murmesh_ConsoleUserChange, change.forget_totp, .optional = true));

BODY(query_queues, FIELD("query", FIELD_TEXT, murmesh_ConsoleQueueRequest, queues.selector, .optional = true));
BODY(query_audit, FIELD("limit", FIELD_U32, murmesh_ConsoleAuditQuery, query.limit, .optional = true),
     FIELD("before", FIELD_I64, murmesh_ConsoleAuditQuery, query.before, .optional = true),
     FIELD("text", FIELD_TEXT, murmesh_ConsoleAuditQuery, query.text, .optional = true));

BODY(body_task, FIELD("query", FIELD_TEXT, murmesh_TaskStart, selector, .optional = true),
     FIELD("count", FIELD_U32, murmesh_TaskStart, count, .optional = true),
     FIELD_LIST("argv", FIELD_TEXT, murmesh_TaskStart, argv, .optional = true),
     FIELD("retry", FIELD_BYTES_ID, murmesh_TaskStart, retry, .optional = true));

BODY(body_terminal, FIELD("columns", FIELD_U32, struct api_terminal, columns), FIELD("rows", FIELD_U32, struct api_terminal, rows),
     FIELD("terminal", FIELD_BYTES_ID, struct api_terminal, terminal, .optional = true));

static const struct field ticket_fields[] = { FIELD("ticket", FIELD_TEXT, struct api_ticket, text) };
const struct schema schema_ticket = SCHEMA("Ticket", ticket_fields);

/* ---- the table ---- */

#define OWN     "viewer" /* everybody, about himself */
#define READING "no: nothing changes"
#define TICKET  "no: what is done through the socket is"

const struct route routes[] = {
	{ "loginByLink", "POST", "/api/login/link", ACCESS_ANYONE, NULL, false, "console login", "A one-time link for a session",
	  &body_link, NULL, &schema_login, .call = &rpc_Console_LoginByLink, .prepare = prepare_login_link, .done = done_login },
	{ "login", "POST", "/api/login", ACCESS_ANYONE, NULL, false, "console login", "Name, password and code for a session",
	  &body_login, NULL, &schema_login, .call = &rpc_Console_LoginByPassword, .prepare = prepare_login, .done = done_login },
	{ "logout", "POST", "/api/logout", ACCESS_SESSION, OWN, false, "console logout", "Ends the session", NULL, NULL, NULL,
	  .call = &rpc_Console_Logout, .done = done_logout },

	{ "me", "GET", "/api/me", ACCESS_SESSION, OWN, false, READING, "Who is logged in", NULL, NULL, &schema_account,
	  .call = &rpc_Console_Me },
	{ "setup", "POST", "/api/me/setup", ACCESS_SESSION, OWN, false, "administrator made, password chosen",
	  "Who came by a link chooses a password; the first administrator a name too", &body_setup, NULL, &schema_account,
	  .call = &rpc_Console_Setup },
	{ "newTotp", "POST", "/api/me/totp", ACCESS_SESSION, OWN, false, "no: it counts once it is confirmed",
	  "A new authenticator secret", NULL, NULL, &schema_totp, .call = &rpc_Console_TotpBegin },
	{ "confirmTotp", "PUT", "/api/me/totp", ACCESS_SESSION, OWN, false, "TOTP turned on", "Turns the authenticator on",
	  &body_code, NULL, &schema_account, .call = &rpc_Console_TotpConfirm },
	{ "forgetTotp", "DELETE", "/api/me/totp", ACCESS_SESSION, OWN, false, "TOTP turned off", "Turns the authenticator off",
	  &body_proof, NULL, &schema_account, .call = &rpc_Console_TotpForget },
	{ "changePassword", "PUT", "/api/me/password", ACCESS_SESSION, OWN, false, "password changed", "Another password",
	  &body_password, NULL, &schema_account, .call = &rpc_Console_ChangePassword },
	{ "stepUp", "POST", "/api/me/step-up", ACCESS_SESSION, OWN, false, "proved again",
	  "Proves once more who it is, for ten minutes", &body_proof, NULL, &schema_account, .call = &rpc_Console_StepUp },
	{ "sessions", "GET", "/api/me/sessions", ACCESS_SESSION, OWN, false, READING, "Where one is logged in", NULL, NULL,
	  &schema_session, true, .call = &rpc_Console_ListSessions },
	{ "endSession", "DELETE", "/api/me/sessions/{id}", ACCESS_SESSION, OWN, false, "session ended", "Ends one of them", NULL,
	  NULL, NULL, .call = &rpc_Console_EndSession, .id_at = offsetof(murmesh_SessionEnd, id) },

	{ "device", "GET", "/api/devices/{id}", ACCESS_SESSION, "viewer", false, READING, "One device", NULL, NULL, &schema_detail,
	  .call = &rpc_Console_GetDevice, .id_at = offsetof(murmesh_DeviceRequest, device) },
	{ "pingDevice", "GET", "/api/devices/{id}/ping", ACCESS_SESSION, "viewer", false, READING,
	  "How long it takes to one device and back, and to each relay on the way", NULL, NULL, &schema_path,
	  .call = &rpc_Console_PingDevice, .id_at = offsetof(murmesh_DeviceRequest, device) },
	{ "changeDevice", "PATCH", "/api/devices/{id}", ACCESS_SESSION, "administrator", false,
	  "device renamed, devices labelled, relay enabled, relay disabled", "Changes one device", &body_device, NULL, NULL,
	  .call = &rpc_Console_ChangeDevices, .has = offsetof(murmesh_ConsoleDeviceChange, has_change), .prepare = prepare_device },
	{ "deleteDevice", "DELETE", "/api/devices/{id}", ACCESS_SESSION, "administrator", true, "device deleted",
	  "Takes one out of the mesh", NULL, NULL, NULL, .call = &rpc_Console_ChangeDevices,
	  .has = offsetof(murmesh_ConsoleDeviceChange, has_change), .prepare = prepare_retire },
	{ "changeDevices", "POST", "/api/devices/change", ACCESS_SESSION, "administrator", false,
	  "devices labelled, device deleted", "Changes all devices of a query (taking them out with a fresh proof)", &body_devices,
	  NULL, &schema_changed, .call = &rpc_Console_ChangeDevices, .has = offsetof(murmesh_ConsoleDeviceChange, has_change) },
	{ "queues", "GET", "/api/queues", ACCESS_SESSION, "viewer", false, READING,
	  "What waits for which devices, and what was dropped and why", NULL, &query_queues, &schema_queue, true,
	  .call = &rpc_Console_ListQueues, .has = offsetof(murmesh_ConsoleQueueRequest, has_queues) },
	{ "newKey", "POST", "/api/keys", ACCESS_SESSION, "administrator", false, "join key made",
	  "A line for machines to join with (for more than 100, or for more than 30 days, with a fresh proof)", &body_key, NULL,
	  &schema_key, .call = &rpc_Console_NewKey, .has = offsetof(murmesh_ConsoleKeyRequest, has_key) },

	{ "approvals", "GET", "/api/approvals", ACCESS_SESSION, "administrator", false, READING,
	  "Machines that wait for approval, oldest first", NULL, NULL, &schema_approval, true, .call = &rpc_Console_ListApprovals },
	{ "decideApproval", "POST", "/api/approvals/{id}", ACCESS_SESSION, "administrator", false, "approved, rejected",
	  "Lets a machine in, or refuses it", &body_decision, NULL, &schema_approval, .call = &rpc_Console_DecideApproval,
	  .id_at = offsetof(murmesh_ConsoleApprovalDecision, device) },

	{ "users", "GET", "/api/users", ACCESS_SESSION, "administrator", false, READING, "All users", NULL, NULL, &schema_user,
	  true, .call = &rpc_Console_ListUsers, .everywhere = true },
	{ "addUser", "POST", "/api/users", ACCESS_SESSION, "administrator", true, "user added", "A new user, and his one-time link",
	  &body_new_user, NULL, &schema_user_link, .call = &rpc_Console_AddUser,
	  .has = offsetof(murmesh_ConsoleUserChange, has_change), .everywhere = true },
	{ "changeUser", "PATCH", "/api/users/{id}", ACCESS_SESSION, "administrator", true, "user changed", "Changes a user",
	  &body_user, NULL, &schema_user, .call = &rpc_Console_ChangeUser, .has = offsetof(murmesh_ConsoleUserChange, has_change),
	  .prepare = prepare_user, .everywhere = true },
	{ "newUserLink", "POST", "/api/users/{id}/login-link", ACCESS_SESSION, "administrator", true, "login link made",
	  "A one-time link for a user", NULL, NULL, &schema_link, .call = &rpc_Console_NewUserLink,
	  .has = offsetof(murmesh_ConsoleUserChange, has_change), .prepare = prepare_user, .everywhere = true },

	{ "audit", "GET", "/api/audit", ACCESS_SESSION, "administrator", false, READING, "What was done, the newest first", NULL,
	  &query_audit, &schema_audit, true, .call = &rpc_Console_ListAudit, .has = offsetof(murmesh_ConsoleAuditQuery, has_query),
	  .everywhere = true },
	{ "verifyAudit", "GET", "/api/audit/verify", ACCESS_SESSION, "administrator", false, READING,
	  "Whether nobody has changed it", NULL, NULL, &schema_verdict, .call = &rpc_Console_VerifyAudit, .everywhere = true },

	{ "maps", "GET", "/api/maps", ACCESS_SESSION, "operator", false, READING,
	  "Open tunnels, and those that failed lately: one's own, and those to devices that one may operate", NULL, NULL,
	  &schema_map, true, .call = &rpc_Console_ListMaps },
	{ "endMap", "DELETE", "/api/maps/{id}", ACCESS_SESSION, "operator", false, "tunnel ended", "Ends an open one at once", NULL,
	  NULL, NULL, .call = &rpc_Console_EndMap, .has = offsetof(murmesh_ConsoleMapEnd, has_map),
	  .id_at = offsetof(murmesh_ConsoleMapEnd, map.id) },

	{ "startTask", "POST", "/api/tasks", ACCESS_SESSION, "operator", false, "task started",
	  "Runs a command on all devices of a query", &body_task, NULL, &schema_task, .call = &rpc_Console_StartTask,
	  .done = done_task },
	{ "taskDevices", "GET", "/api/tasks/{id}/devices", ACCESS_SESSION, "viewer", false, READING, "How it went on each device",
	  NULL, NULL, &schema_task_row, true, .call = &rpc_Console_TaskDevices, .id_at = offsetof(murmesh_TaskRequest, task) },
	{ "cancelTask", "POST", "/api/tasks/{id}/cancel", ACCESS_SESSION, "operator", false, "task cancelled",
	  "Stops what is under way", NULL, NULL, &schema_task, .call = &rpc_Console_CancelTask,
	  .id_at = offsetof(murmesh_TaskRequest, task), .done = done_task_cancel },

	{ "openTerminal", "POST", "/api/devices/{id}/terminals", ACCESS_SESSION, "operator", false, TICKET,
	  "A ticket for /ws/terminal", &body_terminal, NULL, &schema_ticket, .call = &rpc_Console_Me,
	  .id_at = offsetof(murmesh_DeviceRequest, device), .message_size = sizeof(struct api_terminal), .done = done_terminal },
	{ "socketTicket", "POST", "/api/ws-ticket", ACCESS_SESSION, "viewer", false, TICKET, "A ticket for /ws", NULL, NULL,
	  &schema_ticket, .call = &rpc_Console_Me, .done = done_ticket },
};
const size_t n_routes = sizeof routes / sizeof *routes;

/* Whether path is of that form; what stands for {id} goes to *ret_id. */
static bool path_fits(const char *form, struct str path, struct str *ret_id)
{
	struct str left = str_from(form), head = str_cut(left, '{', &left);
	*ret_id = STR("");
	if (head.len == strlen(form))
		return str_equal(path, head);
	str_cut(left, '}', &left);
	if (!str_starts(path, head) || path.len <= head.len + left.len)
		return false;
	struct str rest = str_skip(path, head.len);
	*ret_id = (struct str){ rest.ptr, rest.len - left.len };
	return str_equal(str_skip(rest, ret_id->len), left) && !str_has(*ret_id, '/');
}

int route_find(struct str method, struct str path, const struct route **ret, struct str *ret_id, char ret_allow[ROUTE_ALLOW_SIZE])
{
	size_t len = 0;
	ret_allow[0] = 0;
	for (size_t i = 0; i < n_routes; i++) {
		if (!path_fits(routes[i].path, path, ret_id))
			continue;
		if (str_is(method, routes[i].method)) {
			*ret = &routes[i];
			return 0;
		}
		len += (size_t)snprintf(ret_allow + len, ROUTE_ALLOW_SIZE - len, "%s%s", len ? ", " : "", routes[i].method);
	}
	return len ? -E_HTTP_METHOD : -E_NOT_FOUND;
}
