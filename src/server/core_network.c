/* What may be called through the link role, and from the orb role, and by whom. */
#include "base/err.h"
#include "server/core.h"

enum {
	LINK_ITSELF, /* the role on its own behalf, or for somebody whose request it has checked */
	NODE_PEER,   /* through it, with a node certificate */
	USER_PEER,   /* through it, with a user certificate */
};

#define UNARY(name, access, function)                                                                                              \
	{                                                                                                                          \
		.service = { &rpc_##name, access, function, NULL }                                                                 \
	}
#define OPEN(name, access, function)                                                                                               \
	{                                                                                                                          \
		.service = { &rpc_##name, access, NULL, function }                                                                 \
	}
/* For users. */
#define RUN(name, type, begin, run, done, row)                                                                                     \
	{                                                                                                                          \
		{ &rpc_##name, USER_PEER, NULL, NULL }, CORE_WHOLE(murmesh_##type), begin, run, done, row                          \
	}

static const struct core_method methods[] = {
	UNARY(CertificationManager_RequestToken, LINK_ITSELF, core_enrol_token),
	UNARY(Core_Certify, LINK_ITSELF, core_enrol_certify),
	UNARY(Core_ComponentCertificate, LINK_ITSELF, core_enrol_component),
	UNARY(Core_UserLogin, LINK_ITSELF, core_user_login),
	OPEN(Core_Revocations, LINK_ITSELF, core_revoke_follow),
	UNARY(CertificationManager_Split, NODE_PEER, core_copy_split),
	OPEN(Core_CaChanges, LINK_ITSELF, core_policy_follow),
	OPEN(MessageRouter_Link, NODE_PEER, core_link_open),
	UNARY(Tunnels_Open, USER_PEER, core_tunnel_open),
	UNARY(Tunnels_Order, USER_PEER, core_tunnel_order),
	RUN(Fleet_ListDevices, ListRequest, core_devices_begin, core_devices_run, NULL, core_device_row),
	RUN(Fleet_GetDevice, DeviceName, NULL, core_device_named_run, core_device_done, NULL),
	RUN(Fleet_Ping, DeviceName, NULL, core_ping_run, core_ping_done, NULL),
	RUN(Fleet_ChangeDevices, DeviceChange, core_change_begin, core_change_run, core_change_done, NULL),
	RUN(Fleet_NewKey, KeyRequest, core_key_begin, core_key_run, NULL, NULL),
	RUN(Fleet_GetReference, DeviceName, core_reference_begin, core_reference_run, NULL, NULL),
	RUN(Fleet_ListApprovals, ApprovalList, NULL, core_approvals_run, NULL, NULL),
	RUN(Fleet_DecideApproval, ApprovalDecision, NULL, core_approval_run, core_approval_done, NULL),
	OPEN(Messages_Send, USER_PEER, core_message_send),
	RUN(Messages_ListQueues, QueueRequest, core_queues_begin, core_devices_run, NULL, core_queue_row),
	RUN(People_ListUsers, UserListRequest, NULL, core_users_run, NULL, NULL),
	RUN(People_AddUser, UserChange, NULL, core_user_add_run, NULL, NULL),
	RUN(People_ChangeUser, UserChange, NULL, core_user_change_run, core_user_change_done, NULL),
	RUN(People_NewUserLink, UserName, NULL, core_user_link_named_run, NULL, NULL),
	RUN(People_ListAudit, AuditQuery, NULL, core_audit_run, NULL, NULL),
	RUN(People_VerifyAudit, AuditVerify, NULL, core_verify_run, core_verify_done, NULL),
};

static bool may_call(unsigned access, const struct identity *peer, const struct id *mesh)
{
	if (access == LINK_ITSELF)
		return true;
	return peer && id_equal(&peer->mesh, mesh) && peer->kind == (access == NODE_PEER ? IDENTITY_NODE : IDENTITY_USER);
}

static int open_row(struct core *core, struct rpc_call *call, const struct core_method *rows, size_t n)
{
	const struct core_method *row = core_method_find(rows, n, rpc_call_path(call));
	if (!row)
		return -E_UNSUPPORTED;
	return may_call(row->service.access, rpc_call_peer(call), &core->mesh_id) ? core_serve(core, call, row, false) : -E_DENIED;
}

int core_network_open(void *ctx, struct rpc_call *call)
{
	return open_row(ctx, call, methods, sizeof methods / sizeof *methods);
}

/* The orb role's own, for CORBA clients. */
static const struct core_method orb_methods[] = {
	UNARY(CertificationManager_RequestToken, LINK_ITSELF, core_enrol_token),
	UNARY(Core_Certify, LINK_ITSELF, core_enrol_certify),
	UNARY(Core_ComponentCertificate, LINK_ITSELF, core_enrol_component),
	OPEN(Core_Revocations, LINK_ITSELF, core_revoke_follow),
	OPEN(Core_CaChanges, LINK_ITSELF, core_policy_follow),
	OPEN(Core_Submit, NODE_PEER, core_orb_submit),
	OPEN(Core_Receive, NODE_PEER, core_orb_receive),
};

int core_orb_open(void *ctx, struct rpc_call *call)
{
	return open_row(ctx, call, orb_methods, sizeof orb_methods / sizeof *orb_methods);
}
