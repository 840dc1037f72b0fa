/* What the messages of proto/ look like as JSON. */
#include "services.h"
#include "web/routes.h"

static const struct field account_fields[] = {
	FIELD("id", FIELD_ID, murmesh_Account, id),
	FIELD("name", FIELD_TEXT, murmesh_Account, name),
	FIELD("role", FIELD_TEXT, murmesh_Account, role, .choices = ROLES),
	FIELD("all_groups", FIELD_FLAG, murmesh_Account, all_groups),
	FIELD_LIST("groups", FIELD_TEXT, murmesh_Account, groups),
	FIELD("setup_wanted", FIELD_FLAG, murmesh_Account, setup_wanted),
	FIELD("totp", FIELD_FLAG, murmesh_Account, totp),
	FIELD("proved_until", FIELD_I64, murmesh_Account, proved_until),
};
const struct schema schema_account = SCHEMA("Account", account_fields);

static const struct field login_fields[] = {
	FIELD("account", FIELD_OBJECT, murmesh_SessionReply, account, .schema = &schema_account),
	FIELD("expires", FIELD_I64, murmesh_SessionReply, expires),
};
const struct schema schema_login = SCHEMA("Login", login_fields);

static const struct field totp_fields[] = {
	FIELD("secret", FIELD_TEXT, murmesh_TotpSecret, secret),
	FIELD("uri", FIELD_TEXT, murmesh_TotpSecret, uri),
};
const struct schema schema_totp = SCHEMA("TotpSecret", totp_fields);

static const struct field session_fields[] = {
	FIELD("id", FIELD_ID, murmesh_SessionRow, id),
	FIELD("created", FIELD_I64, murmesh_SessionRow, created),
	FIELD("expires", FIELD_I64, murmesh_SessionRow, expires),
	FIELD("seen", FIELD_I64, murmesh_SessionRow, seen),
	FIELD("address", FIELD_TEXT, murmesh_SessionRow, address),
	FIELD("own", FIELD_FLAG, murmesh_SessionRow, own),
};
const struct schema schema_session = SCHEMA("Session", session_fields);

/* ---- devices ---- */

static const struct field device_fields[] = {
	FIELD("id", FIELD_ID, murmesh_Device, id),
	FIELD("name", FIELD_TEXT, murmesh_Device, name),
	FIELD("full_name", FIELD_TEXT, murmesh_Device, full_name),
	FIELD("online", FIELD_FLAG, murmesh_Device, online),
	FIELD("os", FIELD_TEXT, murmesh_Device, os),
	FIELD("arch", FIELD_TEXT, murmesh_Device, arch),
	FIELD("version", FIELD_TEXT, murmesh_Device, version),
	FIELD("parent", FIELD_TEXT, murmesh_Device, parent),
	FIELD("parent_id", FIELD_BYTES_ID, murmesh_Device, parent_id),
	FIELD("component", FIELD_TEXT, murmesh_Device, component),
	FIELD("relay", FIELD_FLAG, murmesh_Device, relay),
	FIELD("relay_address", FIELD_TEXT, murmesh_Device, relay_address),
	FIELD("last_seen", FIELD_I64, murmesh_Device, last_seen),
	FIELD("group", FIELD_TEXT, murmesh_Device, group),
	FIELD_LIST("tags", FIELD_TEXT, murmesh_Device, tags),
};
const struct schema schema_device = SCHEMA("Device", device_fields);

static const struct field file_system_fields[] = {
	FIELD("path", FIELD_TEXT, murmesh_FileSystem, path),
	FIELD("type", FIELD_TEXT, murmesh_FileSystem, type),
	FIELD("size", FIELD_U64, murmesh_FileSystem, size),
	FIELD("available", FIELD_U64, murmesh_FileSystem, available),
};
static const struct schema schema_file_system = SCHEMA("FileSystem", file_system_fields);

static const struct field interface_fields[] = {
	FIELD("name", FIELD_TEXT, murmesh_NetworkInterface, name),
	FIELD("hardware", FIELD_HARDWARE, murmesh_NetworkInterface, hardware),
	FIELD_LIST("addresses", FIELD_TEXT, murmesh_NetworkInterface, addresses),
};
static const struct schema schema_interface = SCHEMA("NetworkInterface", interface_fields);

static const struct field inventory_fields[] = {
	FIELD("kernel", FIELD_TEXT, murmesh_Inventory, kernel),
	FIELD("os", FIELD_TEXT, murmesh_Inventory, os),
	FIELD("processor", FIELD_TEXT, murmesh_Inventory, processor),
	FIELD("processors", FIELD_U32, murmesh_Inventory, processors),
	FIELD("memory", FIELD_U64, murmesh_Inventory, memory),
	FIELD("memory_available", FIELD_U64, murmesh_Inventory, memory_available),
	FIELD("boot_time", FIELD_I64, murmesh_Inventory, boot_time),
	FIELD_LIST("file_systems", FIELD_OBJECT, murmesh_Inventory, file_systems, .schema = &schema_file_system),
	FIELD_LIST("interfaces", FIELD_OBJECT, murmesh_Inventory, interfaces, .schema = &schema_interface),
};
static const struct schema schema_inventory = SCHEMA("Inventory", inventory_fields);

static const struct field detail_fields[] = {
	FIELD("device", FIELD_OBJECT, murmesh_DeviceDetail, device, .schema = &schema_device),
	FIELD("inventory", FIELD_OBJECT, murmesh_DeviceDetail, inventory, .schema = &schema_inventory,
	      .mark = offsetof(murmesh_DeviceDetail, has_inventory)),
	FIELD("inventory_time", FIELD_I64, murmesh_DeviceDetail, inventory_time),
	FIELD("inventory_refused", FIELD_I64, murmesh_DeviceDetail, forged),
	FIELD("certificate_expires", FIELD_I64, murmesh_DeviceDetail, certificate_expires),
	FIELD("created", FIELD_I64, murmesh_DeviceDetail, created),
};
const struct schema schema_detail = SCHEMA("DeviceDetail", detail_fields);

static const struct field changed_fields[] = {
	FIELD("count", FIELD_U32, murmesh_DevicesChanged, count),
};
const struct schema schema_changed = SCHEMA("DevicesChanged", changed_fields);

static const struct field key_fields[] = {
	FIELD("join", FIELD_TEXT, murmesh_JoinKey, join),
	FIELD("expires", FIELD_I64, murmesh_JoinKey, expires),
};
const struct schema schema_key = SCHEMA("JoinKey", key_fields);

static const struct field approval_fields[] = {
	FIELD("device", FIELD_ID, murmesh_Approval, device),
	FIELD("name", FIELD_TEXT, murmesh_Approval, name),
	FIELD("full_name", FIELD_TEXT, murmesh_Approval, full_name),
	FIELD("group", FIELD_TEXT, murmesh_Approval, group),
	FIELD("os", FIELD_TEXT, murmesh_Approval, os),
	FIELD("arch", FIELD_TEXT, murmesh_Approval, arch),
	FIELD("version", FIELD_TEXT, murmesh_Approval, version),
	FIELD("kind", FIELD_TEXT, murmesh_Approval, kind, .choices = "new renewal copy component"),
	FIELD("fingerprint", FIELD_TEXT, murmesh_Approval, fingerprint),
	FIELD("address", FIELD_TEXT, murmesh_Approval, address),
	FIELD("roles", FIELD_TEXT, murmesh_Approval, roles),
	FIELD("reach", FIELD_TEXT, murmesh_Approval, reach),
	FIELD("asked", FIELD_I64, murmesh_Approval, asked),
};
const struct schema schema_approval = SCHEMA("Approval", approval_fields);

/* ---- messages that wait ---- */

static const struct field queue_fields[] = {
	FIELD("device", FIELD_ID, murmesh_Queue, device),
	FIELD("name", FIELD_TEXT, murmesh_Queue, name),
	FIELD("full_name", FIELD_TEXT, murmesh_Queue, full_name),
	FIELD("online", FIELD_FLAG, murmesh_Queue, online),
	FIELD("waiting", FIELD_U32, murmesh_Queue, waiting),
	FIELD("sent", FIELD_U32, murmesh_Queue, sent),
	FIELD("bytes", FIELD_U64, murmesh_Queue, bytes),
	FIELD("oldest", FIELD_I64, murmesh_Queue, oldest),
	FIELD("expired", FIELD_U64, murmesh_Queue, expired),
	FIELD("limit", FIELD_U64, murmesh_Queue, limit),
	FIELD("damaged", FIELD_U64, murmesh_Queue, damaged),
	FIELD("refused", FIELD_U64, murmesh_Queue, refused),
	FIELD("loop", FIELD_U64, murmesh_Queue, loop),
	FIELD("dead_last", FIELD_I64, murmesh_Queue, dead_last),
};
const struct schema schema_queue = SCHEMA("Queue", queue_fields);

static const struct field hop_fields[] = {
	FIELD("full_name", FIELD_TEXT, murmesh_Hop, full_name),
	FIELD("microseconds", FIELD_U64, murmesh_Hop, microseconds),
	FIELD("error", FIELD_U32, murmesh_Hop, error),
};
static const struct schema schema_hop = SCHEMA("Hop", hop_fields);

static const struct field path_fields[] = {
	FIELD_LIST("hops", FIELD_OBJECT, murmesh_Path, hops, .schema = &schema_hop),
};
const struct schema schema_path = SCHEMA("Path", path_fields);

static const struct field map_fields[] = {
	FIELD("id", FIELD_ID, murmesh_Map, id),
	FIELD("user", FIELD_TEXT, murmesh_Map, user),
	FIELD("device", FIELD_ID, murmesh_Map, device),
	FIELD("full_name", FIELD_TEXT, murmesh_Map, full_name),
	FIELD("target", FIELD_TEXT, murmesh_Map, target),
	FIELD("sent", FIELD_U64, murmesh_Map, sent),
	FIELD("received", FIELD_U64, murmesh_Map, received),
	FIELD_LIST("path", FIELD_TEXT, murmesh_Map, path),
	FIELD("since", FIELD_I64, murmesh_Map, since),
	FIELD("ended", FIELD_I64, murmesh_Map, ended),
	FIELD("error", FIELD_U32, murmesh_Map, error),
	FIELD("why", FIELD_TEXT, murmesh_Map, why),
};
const struct schema schema_map = SCHEMA("PortMap", map_fields);

/* ---- people ---- */

static const struct field user_fields[] = {
	FIELD("id", FIELD_ID, murmesh_User, id),
	FIELD("name", FIELD_TEXT, murmesh_User, name),
	FIELD("role", FIELD_TEXT, murmesh_User, role, .choices = ROLES),
	FIELD("all_groups", FIELD_FLAG, murmesh_User, all_groups),
	FIELD_LIST("groups", FIELD_TEXT, murmesh_User, groups),
	FIELD("totp", FIELD_FLAG, murmesh_User, totp),
	FIELD("password", FIELD_FLAG, murmesh_User, password),
	FIELD("created", FIELD_I64, murmesh_User, created),
	FIELD("disabled", FIELD_I64, murmesh_User, disabled),
	FIELD("last_login", FIELD_I64, murmesh_User, last_login),
};
const struct schema schema_user = SCHEMA("User", user_fields);

static const struct field user_link_fields[] = {
	FIELD("user", FIELD_OBJECT, murmesh_UserLink, user, .schema = &schema_user),
	FIELD("login", FIELD_TEXT, murmesh_UserLink, login),
};
const struct schema schema_user_link = SCHEMA("UserLink", user_link_fields);

static const struct field link_fields[] = {
	FIELD("login", FIELD_TEXT, murmesh_UserLink, login),
};
const struct schema schema_link = SCHEMA("LoginLink", link_fields);

static const struct field audit_fields[] = {
	FIELD("sequence", FIELD_I64, murmesh_AuditRow, sequence), FIELD("time", FIELD_I64, murmesh_AuditRow, time),
	FIELD("actor", FIELD_TEXT, murmesh_AuditRow, actor),      FIELD("action", FIELD_TEXT, murmesh_AuditRow, action),
	FIELD("object", FIELD_TEXT, murmesh_AuditRow, object),    FIELD("detail", FIELD_TEXT, murmesh_AuditRow, detail),
};
const struct schema schema_audit = SCHEMA("AuditRow", audit_fields);

static const struct field verdict_fields[] = {
	FIELD("records", FIELD_I64, murmesh_AuditVerdict, records),
	FIELD("first_bad", FIELD_I64, murmesh_AuditVerdict, first_bad),
};
const struct schema schema_verdict = SCHEMA("AuditVerdict", verdict_fields);

/* ---- tasks ---- */

static const struct field task_fields[] = {
	FIELD("id", FIELD_ID, murmesh_Task, id),
	FIELD("title", FIELD_TEXT, murmesh_Task, title),
	FIELD("selector", FIELD_TEXT, murmesh_Task, selector),
	FIELD("user", FIELD_TEXT, murmesh_Task, user),
	FIELD("started", FIELD_I64, murmesh_Task, started),
	FIELD("ended", FIELD_I64, murmesh_Task, ended),
	FIELD("total", FIELD_U32, murmesh_Task, total),
	FIELD("done", FIELD_U32, murmesh_Task, done),
	FIELD("failed", FIELD_U32, murmesh_Task, failed),
	FIELD("state", FIELD_TEXT, murmesh_Task, state, .choices = "running done cancelled interrupted"),
};
const struct schema schema_task = SCHEMA("Task", task_fields);

static const struct field task_row_fields[] = {
	FIELD("device", FIELD_ID, murmesh_TaskRow, device),
	FIELD("name", FIELD_TEXT, murmesh_TaskRow, name),
	FIELD("state", FIELD_TEXT, murmesh_TaskRow, state, .choices = "waiting running done failed cancelled interrupted"),
	FIELD("code", FIELD_I32, murmesh_TaskRow, code),
	FIELD("error", FIELD_U32, murmesh_TaskRow, error),
	FIELD("output", FIELD_LINES, murmesh_TaskRow, output),
};
const struct schema schema_task_row = SCHEMA("TaskRow", task_row_fields);

/* ---- what happens now ---- */

static const struct field live_node_fields[] = {
	FIELD("id", FIELD_TEXT, murmesh_LiveNode, id),         FIELD("kind", FIELD_TEXT, murmesh_LiveNode, kind),
	FIELD("label", FIELD_TEXT, murmesh_LiveNode, label),   FIELD("device", FIELD_BYTES_ID, murmesh_LiveNode, device),
	FIELD("x", FIELD_FLOAT, murmesh_LiveNode, x),          FIELD("y", FIELD_FLOAT, murmesh_LiveNode, y),
	FIELD("count", FIELD_U32, murmesh_LiveNode, count),    FIELD("pid", FIELD_U32, murmesh_LiveNode, pid),
	FIELD("detail", FIELD_TEXT, murmesh_LiveNode, detail),
};
const struct schema schema_live_node = SCHEMA("LiveNode", live_node_fields);

static const struct field live_edge_fields[] = {
	FIELD("id", FIELD_TEXT, murmesh_LiveEdge, id),      FIELD("from", FIELD_TEXT, murmesh_LiveEdge, from),
	FIELD("to", FIELD_TEXT, murmesh_LiveEdge, to),      FIELD("kind", FIELD_TEXT, murmesh_LiveEdge, kind),
	FIELD("bytes", FIELD_U64, murmesh_LiveEdge, bytes), FIELD("rate", FIELD_U64, murmesh_LiveEdge, rate),
};
const struct schema schema_live_edge = SCHEMA("LiveEdge", live_edge_fields);

static const struct field live_row_fields[] = {
	FIELD("time_us", FIELD_I64, murmesh_LiveRow, time_us),  FIELD("device", FIELD_BYTES_ID, murmesh_LiveRow, device),
	FIELD("module", FIELD_TEXT, murmesh_LiveRow, module),   FIELD("event", FIELD_TEXT, murmesh_LiveRow, event),
	FIELD("subject", FIELD_TEXT, murmesh_LiveRow, subject), FIELD("object", FIELD_TEXT, murmesh_LiveRow, object),
	FIELD("bytes", FIELD_U64, murmesh_LiveRow, bytes),      FIELD("detail", FIELD_TEXT, murmesh_LiveRow, detail),
	FIELD("pid", FIELD_U32, murmesh_LiveRow, pid),
};
const struct schema schema_live_row = SCHEMA("LiveRow", live_row_fields);

static const struct field live_missing_fields[] = {
	FIELD("device", FIELD_BYTES_ID, murmesh_LiveMissing, device),
	FIELD("events", FIELD_U64, murmesh_LiveMissing, events),
	FIELD("since_us", FIELD_I64, murmesh_LiveMissing, since_us),
	FIELD("not_shown", FIELD_FLAG, murmesh_LiveMissing, not_shown),
};
const struct schema schema_live_missing = SCHEMA("LiveMissing", live_missing_fields);

static const struct field live_source_fields[] = {
	FIELD("device", FIELD_BYTES_ID, murmesh_LiveSource, device),
	FIELD("module", FIELD_TEXT, murmesh_LiveSource, module),
	FIELD("text", FIELD_TEXT, murmesh_LiveSource, text),
};
const struct schema schema_live_source = SCHEMA("LiveSource", live_source_fields);
