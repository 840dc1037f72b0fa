/* What may be called through the link role, and by whom. */
#include "base/err.h"
#include "server/core.h"

enum {
	LINK_ITSELF, /* the link role on its own behalf, or for somebody whose request it has checked */
	NODE_PEER,   /* through link, with a node certificate */
	USER_PEER,   /* through link, with a user certificate */
};

static const struct core_method methods[] = {
	{ .service = { &rpc_CertificationManager_RequestToken, LINK_ITSELF, core_enrol_token, NULL } },
	{ .service = { &rpc_Core_Certify, LINK_ITSELF, core_enrol_certify, NULL } },
	{ .service = { &rpc_Core_ComponentCertificate, LINK_ITSELF, core_enrol_component, NULL } },
	{ .service = { &rpc_Core_UserLogin, LINK_ITSELF, core_user_login, NULL } },
	{ .service = { &rpc_Core_Revocations, LINK_ITSELF, NULL, core_revoke_follow } },
	{ .service = { &rpc_MessageRouter_Link, NODE_PEER, NULL, core_link_open } },
	{ .service = { &rpc_Tunnels_Open, USER_PEER, core_tunnel_open, NULL } },
	{ .service = { &rpc_Tunnels_Order, USER_PEER, core_tunnel_order, NULL } },
	{ { &rpc_Fleet_ListDevices, USER_PEER, NULL, NULL },
	  CORE_WHOLE(murmesh_ListRequest),
	  core_devices_begin,
	  core_devices_run,
	  NULL,
	  core_device_row },
	{ { &rpc_Fleet_GetDevice, USER_PEER, NULL, NULL },
	  CORE_WHOLE(murmesh_DeviceName),
	  NULL,
	  core_device_named_run,
	  core_device_done,
	  NULL },
	{ { &rpc_Fleet_ChangeDevices, USER_PEER, NULL, NULL },
	  CORE_WHOLE(murmesh_DeviceChange),
	  core_change_begin,
	  core_change_run,
	  core_change_done,
	  NULL },
	{ { &rpc_Fleet_NewKey, USER_PEER, NULL, NULL }, CORE_WHOLE(murmesh_KeyRequest), core_key_begin, core_key_run, NULL, NULL },
	{ { &rpc_People_ListUsers, USER_PEER, NULL, NULL }, CORE_WHOLE(murmesh_UserListRequest), NULL, core_users_run, NULL, NULL },
	{ { &rpc_People_AddUser, USER_PEER, NULL, NULL }, CORE_WHOLE(murmesh_UserChange), NULL, core_user_add_run, NULL, NULL },
	{ { &rpc_People_ChangeUser, USER_PEER, NULL, NULL },
	  CORE_WHOLE(murmesh_UserChange),
	  NULL,
	  core_user_change_run,
	  core_user_change_done,
	  NULL },
	{ { &rpc_People_NewUserLink, USER_PEER, NULL, NULL },
	  CORE_WHOLE(murmesh_UserName),
	  NULL,
	  core_user_link_named_run,
	  NULL,
	  NULL },
	{ { &rpc_People_ListAudit, USER_PEER, NULL, NULL }, CORE_WHOLE(murmesh_AuditQuery), NULL, core_audit_run, NULL, NULL },
	{ { &rpc_People_VerifyAudit, USER_PEER, NULL, NULL },
	  CORE_WHOLE(murmesh_AuditVerify),
	  NULL,
	  core_verify_run,
	  core_verify_done,
	  NULL },
};

static bool may_call(unsigned access, const struct identity *peer, const struct id *mesh)
{
	if (access == LINK_ITSELF)
		return true;
	return peer && id_equal(&peer->mesh, mesh) && peer->kind == (access == NODE_PEER ? IDENTITY_NODE : IDENTITY_USER);
}

int core_network_open(void *ctx, struct rpc_call *call)
{
	struct core *core = ctx;
	const struct core_method *row = core_method_find(methods, sizeof methods / sizeof *methods, rpc_call_path(call));
	if (!row)
		return -E_UNSUPPORTED;
	return may_call(row->service.access, rpc_call_peer(call), &core->mesh_id) ? core_serve(core, call, row, false) : -E_DENIED;
}
