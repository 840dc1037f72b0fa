/* What may be called through the link role, and from the orb role, and by whom. */
#include "base/err.h"
#include "server/core.h"

enum {
	LINK_ITSELF, /* the role on its own behalf, or for somebody whose request it has checked; also that of a component */
	NODE_PEER,   /* through it, with a node certificate */
	USER_PEER,   /* through it, with a user certificate */
	USER_HERE,   /* the same, and no component between: a captured one could make itself an administrator */
	COMPONENT_PEER,
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
#define RUN_AT(access, name, type, begin, run, done, row)                                                                          \
	{                                                                                                                          \
		{ &rpc_##name, access, NULL, NULL }, CORE_WHOLE(murmesh_##type), begin, run, done, row                             \
	}
#define RUN(...)  RUN_AT(USER_PEER, __VA_ARGS__)
#define HERE(...) RUN_AT(USER_HERE, __VA_ARGS__)

static const struct core_method methods[] = {
	UNARY(CertificationManager_RequestToken, LINK_ITSELF, core_enrol_token),
	UNARY(Core_Certify, LINK_ITSELF, core_enrol_certify),
	UNARY(Core_ComponentCertificate, LINK_ITSELF, core_enrol_component),
	UNARY(Core_UserLogin, LINK_ITSELF, core_user_login),
	OPEN(Core_Revocations, LINK_ITSELF, core_revoke_follow),
	UNARY(CertificationManager_Split, NODE_PEER, core_copy_split),
	OPEN(Core_CaChanges, LINK_ITSELF, core_policy_follow),
	OPEN(MessageRouter_Link, NODE_PEER, core_link_open),
	OPEN(Components_Attach, COMPONENT_PEER, core_component_attach),
	UNARY(Tunnels_Open, USER_PEER, core_tunnel_open),
	UNARY(Tunnels_Order, USER_PEER, core_tunnel_order),
	RUN(Tunnels_List, MapList, NULL, core_maps_run, core_maps_done, core_maps_row),
	RUN(Tunnels_End, MapName, core_map_end_begin, core_map_end_run, core_map_end_done, NULL),
	RUN(Fleet_ListDevices, ListRequest, core_devices_begin, core_devices_run, NULL, core_device_row),
	RUN(Fleet_GetDevice, DeviceName, NULL, core_device_named_run, core_device_done, NULL),
	RUN(Fleet_Ping, DeviceName, NULL, core_ping_run, core_ping_done, NULL),
	RUN(Fleet_ChangeDevices, DeviceChange, core_change_begin, core_change_run, core_change_done, NULL),
	HERE(Fleet_NewKey, KeyRequest, core_key_begin, core_key_run, NULL, NULL),
	RUN(Fleet_GetReference, DeviceName, core_reference_begin, core_reference_run, NULL, NULL),
	RUN(Fleet_ListApprovals, ApprovalList, NULL, core_approvals_run, NULL, NULL),
	HERE(Fleet_DecideApproval, ApprovalDecision, NULL, core_approval_run, core_approval_done, NULL),
	RUN(Fleet_ListComponents, ComponentList, NULL, core_components_run, NULL, core_component_row),
	HERE(Fleet_RevokeComponent, ComponentName, NULL, core_component_revoke_run, core_component_revoke_done, NULL),
	OPEN(Messages_Send, USER_PEER, core_message_send),
	RUN(Messages_ListQueues, QueueRequest, core_queues_begin, core_devices_run, NULL, core_queue_row),
	RUN(People_ListUsers, UserListRequest, NULL, core_users_run, NULL, NULL),
	HERE(People_AddUser, UserChange, NULL, core_user_add_run, NULL, NULL),
	HERE(People_ChangeUser, UserChange, NULL, core_user_change_run, core_user_change_done, NULL),
	HERE(People_NewUserLink, UserName, NULL, core_user_link_named_run, NULL, NULL),
	RUN(People_ListAudit, AuditQuery, NULL, core_audit_run, NULL, NULL),
	RUN(People_VerifyAudit, AuditVerify, NULL, core_verify_run, core_verify_done, NULL),
};

#define ANY_ROLE      (~0u)
#define SERVING_ROLES (murmesh_ComponentRole_COMPONENT_LINK | murmesh_ComponentRole_COMPONENT_WEB) /* that end TLS */

/* A component calls for itself, or, when it has the role link, in the name of others. */
static bool component_may_call(const struct core *core, unsigned access, const struct rpc_call *call)
{
	const struct identity *peer = rpc_call_peer(call);
	const struct rpc_origin *origin = rpc_call_origin(call);
	if (origin && origin->has_component)
		return core_component_may(core, &origin->component, murmesh_ComponentRole_COMPONENT_LINK);
	if (!peer || peer->kind != IDENTITY_COMPONENT)
		return access != COMPONENT_PEER;
	return core_component_may(core, &peer->id, access == COMPONENT_PEER ? ANY_ROLE : SERVING_ROLES);
}

static int may_call(const struct core *core, unsigned access, const struct rpc_call *call)
{
	static const enum identity_kind kinds[] = { [NODE_PEER] = IDENTITY_NODE,
		                                    [USER_PEER] = IDENTITY_USER,
		                                    [USER_HERE] = IDENTITY_USER,
		                                    [COMPONENT_PEER] = IDENTITY_COMPONENT };
	const struct identity *peer = rpc_call_peer(call);
	const struct rpc_origin *origin = rpc_call_origin(call);
	if (!component_may_call(core, access, call))
		return -E_DENIED;
	if (access != LINK_ITSELF && (!peer || !id_equal(&peer->mesh, &core->mesh_id) || peer->kind != kinds[access]))
		return -E_DENIED;
	return access == USER_HERE && origin && origin->has_component ? -E_AT_SERVER : 0;
}

static int open_row(struct core *core, struct rpc_call *call, const struct core_method *rows, size_t n)
{
	const struct core_method *row = core_method_find(rows, n, rpc_call_path(call));
	int err = row ? may_call(core, row->service.access, call) : -E_UNSUPPORTED;
	return err < 0 ? err : core_serve(core, call, row, false);
}

int core_network_open(void *ctx, struct rpc_call *call)
{
	if (core_console_is(rpc_call_path(call)))
		return core_console_elsewhere(ctx, call);
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
