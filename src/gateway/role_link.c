/* The link role: ends TLS and HTTP/2 of agents, relays and command lines, decides by certificate who may call what, and passes the calls
 * on to core.  It holds no state of the mesh and opens no database.  In a relay it serves agents and passes all they call on to net; on another machine
 * of the server it serves users too, and passes all on to uplink. */
#include <errno.h>

#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"
#include "front/front.h"
#include "gateway/certify.h"
#include "gateway/component.h"
#include "gateway/gateway.h"
#include "gateway/link_login.h"
#include "gateway/link_revoked.h"
#include "gateway/providers.h"
#include "io/io.h"
#include "os/fd.h"
#include "os/log.h"
#include "os/socket.h"
#include "rpc/rpc.h"
#include "services.h"
#include "stream/stream.h"

#define CLIENTS_MAX        15000
#define STRANGERS_MAX      500                /* of these through their handshake without a certificate */
#define STRANGER_MS        120000             /* for an enrolment */
#define CALLS_MAX          4                  /* at once, of all but users and relays */
#define SERVING_QUEUED_MAX ((size_t)64 << 20) /* bytes that wait for a machine that serves here */
#define LEAVE_MS           500                /* in which who is shut out hears why */

struct link_role {
	struct priv_child *child;
	struct io_loop *loop;
	struct io_watch *intake; /* the front's packet socket */
	struct rpc_connection *core;
	struct providers providers;
	struct component *component;
	struct list arriving, strangers, known; /* clients: in their handshake; without a certificate; with one; the oldest first */
	size_t n_clients, n_strangers;
	struct io_timer *farewell; /* of strangers */
	struct link_logins *logins;
	struct link_revoked *revoked;
	struct list leaving; /* clients whose certificate was revoked, the oldest first */
	struct io_timer *leave;
	int intake_fd;
	enum gateway_place place;
};

struct client {
	struct list node;
	struct link_role *role;
	struct rpc_connection *connection;
	uint64_t until_ms; /* of a stranger; else 0 */
	uint64_t leave_ms; /* its certificate was revoked: every call is refused until then; else 0 */
	bool relay;        /* it has spoken for others, or it is a component: it may have many calls */
	bool serves;       /* it is called, and calls nobody */
};

enum {
	ANYONE = 1,
	NODES = 2,
	USERS = 4,
	RELAYS = 8,
	DIRECT = 16, /* anyone, without a relay between */
	COMPONENTS = 32,
	LINKS = 64,  /* components that have the role link */
	WEBS = 128,  /* or the role web */
	VIZES = 256, /* or the role viz */
};

/* ---- who calls, and for whom ---- */

static void client_address(const struct rpc_call *call, const struct client *client, char text[64])
{
	const struct rpc_origin *origin = rpc_call_origin(call);
	if (origin)
		str_copy(str_from(origin->address), text, 64);
	else
		socket_peer_host(stream_fd(rpc_connection_stream(client->connection)), text);
}

static bool is_relay(const struct link_role *role, const struct identity *peer)
{
	return peer && peer->kind == IDENTITY_NODE && link_revoked_relay(role->revoked, &peer->id);
}

/* To who is no relay or component: it may be one that is not known of yet, and asks again soon. */
static int no_relay(const struct link_role *role)
{
	static const int unknown[] = {
		[GATEWAY_AT_CORE] = -E_BUSY, [GATEWAY_IN_RELAY] = -E_RELAY_OFFLINE, [GATEWAY_ELSEWHERE] = -E_CORE_OFFLINE
	};
	return link_revoked_listed(role->revoked) ? -E_DENIED : unknown[role->place];
}

/* The client is the last of the relays that it names, all of them are relays, and they speak for nodes of this mesh alone. */
static int origin_check(const struct client *client, const struct identity *peer, const struct rpc_origin *origin)
{
	const struct link_role *role = client->role;
	bool good = peer && origin->n_via && id_equal(&origin->via[origin->n_via - 1], &peer->id) && is_relay(role, peer);
	for (size_t i = 0; good && i < origin->n_via; i++)
		good = link_revoked_relay(role->revoked, &origin->via[i]);
	if (good && origin->has_peer)
		good = origin->peer.kind == IDENTITY_NODE && id_equal(&origin->peer.mesh, &peer->mesh);
	return good ? 0 : no_relay(role);
}

/* Link on another machine of the server: it speaks for users too; not for those behind relays, as class_of() has it. */
static int component_origin_check(const struct client *client, const struct identity *peer, const struct rpc_origin *origin)
{
	const struct link_role *role = client->role;
	bool good = link_revoked_component(role->revoked, &peer->id) & murmesh_ComponentRole_COMPONENT_LINK;
	for (size_t i = 0; good && i < origin->n_via; i++)
		good = link_revoked_relay(role->revoked, &origin->via[i]);
	if (good && origin->has_peer)
		good = (origin->peer.kind == IDENTITY_NODE || origin->peer.kind == IDENTITY_USER) &&
		       id_equal(&origin->peer.mesh, &peer->mesh);
	return good ? 0 : no_relay(role);
}

static void client_allow(struct client *client)
{
	if (!client->relay)
		rpc_connection_allow(client->connection, GATEWAY_RELAY_CALLS);
	client->relay = true;
}

/* What a relay or component says of its clients is believed, but not which component it is; on its own machine link says where they come from. */
static int origin_settle(struct client *client, struct rpc_call *call)
{
	const struct rpc_origin *origin = rpc_call_origin(call);
	const struct identity *peer = rpc_call_peer(call);
	struct rpc_origin settled = { .has_peer = peer != NULL };
	if (!origin && client->role->place == GATEWAY_AT_CORE)
		return 0;
	if (!origin) {
		if (peer)
			settled.peer = *peer;
		client_address(call, client, settled.address);
		return rpc_call_set_origin(call, &settled);
	}
	settled = *origin;
	settled.has_component = peer && peer->kind == IDENTITY_COMPONENT;
	if (settled.has_component)
		settled.component = peer->id;
	int err = settled.has_component ? component_origin_check(client, peer, origin) : origin_check(client, peer, origin);
	if (err == 0)
		client_allow(client);
	return err < 0 ? err : rpc_call_set_origin(call, &settled);
}

/* ---- requests that carry a CSR: it is read here, core and ca get the bare public key ---- */

struct certify {
	struct rpc_call *call;
};

static void certify_done(void *ctx, int err, const char *why, const void *response)
{
	struct certify *certify = ctx;
	if (err < 0)
		rpc_call_finish(certify->call, err, why);
	else
		rpc_call_reply(certify->call, response);
	rpc_call_unref(certify->call);
	mem_free(certify);
}

static void certify(struct link_role *role, struct rpc_call *call, const uint8_t *csr, size_t csr_len,
                    murmesh_CheckedRequest *checked)
{
	struct certify *certify = NULL;
	int err = certify_csr(csr, csr_len, checked);
	if (err == 0) {
		certify = mem_alloc(sizeof *certify);
		err = certify ? 0 : -E_NO_MEMORY;
	}
	if (err == 0 && !role->core)
		err = -E_BUSY;
	if (err == 0) {
		certify->call = rpc_call_ref(call);
		err = rpc_unary(role->core, &rpc_Core_Certify, checked, 20000, certify_done, certify);
		if (err < 0)
			rpc_call_unref(call);
	}
	if (err < 0) {
		mem_free(certify);
		rpc_call_finish(call, err, NULL);
	}
}

static void on_request_certificate(void *ctx, struct rpc_call *call, const void *message)
{
	static murmesh_CheckedRequest checked;
	const murmesh_CertificateRequest *request = message;
	struct client *client = ctx;
	checked = (murmesh_CheckedRequest)murmesh_CheckedRequest_init_zero;
	checked.request = *request;
	checked.request.csr.size = 0;
	client_address(call, client, checked.address);
	certify(client->role, call, request->csr.bytes, request->csr.size, &checked);
}

static void on_renew_certificate(void *ctx, struct rpc_call *call, const void *message)
{
	static murmesh_CheckedRequest checked;
	const murmesh_RenewRequest *request = message;
	struct client *client = ctx;
	const struct identity *peer = rpc_call_peer(call);
	checked = (murmesh_CheckedRequest)murmesh_CheckedRequest_init_zero;
	checked.kind = request->kind;
	client_address(call, client, checked.address);
	int err = peer ? 0
	               : certify_expired(request, component_issuers(client->role->component),
	                                 component_mesh(client->role->component), &checked);
	if (err == 0 && peer && peer->kind != IDENTITY_NODE && peer->kind != IDENTITY_COMPONENT)
		err = -E_DENIED;
	if (err < 0)
		return rpc_call_finish(call, err, NULL);
	if (peer)
		identity_format(peer, checked.peer);
	checked.relayed = rpc_call_origin(call) != NULL;
	memcpy(&checked.node_key, &request->node_key, sizeof checked.node_key);
	memcpy(&checked.node_signature, &request->node_signature, sizeof checked.node_signature);
	certify(client->role, call, request->csr.bytes, request->csr.size, &checked);
}

static void on_certify_server(void *ctx, struct rpc_call *call, const void *message)
{
	static murmesh_CheckedRequest checked;
	const murmesh_RenewRequest *request = message;
	struct client *client = ctx;
	checked = (murmesh_CheckedRequest)murmesh_CheckedRequest_init_zero;
	checked.kind = murmesh_CertificateKind_COMPONENT;
	checked.serves = true;
	identity_format(rpc_call_peer(call), checked.peer);
	client_address(call, client, checked.address);
	certify(client->role, call, request->csr.bytes, request->csr.size, &checked);
}

static void on_login(void *ctx, struct rpc_call *call, const void *message)
{
	struct client *client = ctx;
	link_login(client->role->logins, client->role->core, call, message, stream_fd(rpc_connection_stream(client->connection)));
}

static int on_provided(void *ctx, struct rpc_call *call)
{
	return providers_ask(&((struct client *)ctx)->role->providers, call);
}

/* Methods without a function go to core as they are.  What is not in this table cannot be called from a network. */
static const struct rpc_service services[] = {
	{ &rpc_CertificationManager_RequestToken, ANYONE, NULL, NULL },
	{ &rpc_CertificationManager_RequestCertificate, ANYONE, on_request_certificate, NULL },
	{ &rpc_CertificationManager_RenewCertificate, ANYONE, on_renew_certificate, NULL },
	{ &rpc_CertificationManager_Split, NODES, NULL, NULL },
	{ &rpc_CertificationManager_CertifyServer, LINKS | WEBS, on_certify_server, NULL },
	{ &rpc_Components_Attach, COMPONENTS, NULL, NULL },
	{ &rpc_Login_Password, DIRECT, on_login, NULL },
	{ &rpc_MessageRouter_Link, NODES, NULL, NULL },
	{ &rpc_Reports_Send, NODES, NULL, on_provided },
	{ &rpc_Core_Revocations, RELAYS | LINKS, NULL, NULL },
	{ &rpc_Core_CaChanges, RELAYS | LINKS | WEBS, NULL, NULL },
	{ &rpc_Events_Follow, VIZES, NULL, on_provided },
	{ &rpc_Viz_Watch, WEBS, NULL, on_provided },
	{ &rpc_Fleet_ListDevices, USERS, NULL, NULL },
	{ &rpc_Fleet_GetDevice, USERS, NULL, NULL },
	{ &rpc_Fleet_Ping, USERS, NULL, NULL },
	{ &rpc_Fleet_ChangeDevices, USERS, NULL, NULL },
	{ &rpc_Fleet_NewKey, USERS, NULL, NULL },
	{ &rpc_Fleet_GetReference, USERS, NULL, NULL },
	{ &rpc_Fleet_ListApprovals, USERS, NULL, NULL },
	{ &rpc_Fleet_DecideApproval, USERS, NULL, NULL },
	{ &rpc_Fleet_ListComponents, USERS, NULL, NULL },
	{ &rpc_Fleet_RevokeComponent, USERS, NULL, NULL },
	{ &rpc_Messages_Send, USERS, NULL, NULL },
	{ &rpc_Messages_ListQueues, USERS, NULL, NULL },
	{ &rpc_People_ListUsers, USERS, NULL, NULL },
	{ &rpc_People_AddUser, USERS, NULL, NULL },
	{ &rpc_People_ChangeUser, USERS, NULL, NULL },
	{ &rpc_People_NewUserLink, USERS, NULL, NULL },
	{ &rpc_People_ListAudit, USERS, NULL, NULL },
	{ &rpc_People_VerifyAudit, USERS, NULL, NULL },
	{ &rpc_Tunnels_Open, USERS, NULL, NULL },
	{ &rpc_Tunnels_Order, USERS, NULL, NULL },
	{ &rpc_Tunnels_List, USERS, NULL, NULL },
	{ &rpc_Tunnels_End, USERS, NULL, NULL },
};

static unsigned class_of(const struct link_role *role, const struct rpc_call *call)
{
	const struct identity *peer = rpc_call_peer(call);
	const struct rpc_origin *origin = rpc_call_origin(call);
	unsigned class = ANYONE, component = 0;
	if (peer && peer->kind == IDENTITY_NODE)
		class |= is_relay(role, peer) ? NODES | RELAYS : NODES;
	if (role->place != GATEWAY_IN_RELAY && (!origin || !origin->n_via)) /* users' way is to the server */
		class |= peer && peer->kind == IDENTITY_USER ? DIRECT | USERS : DIRECT;
	if (peer && peer->kind == IDENTITY_COMPONENT)
		component = link_revoked_component(role->revoked, &peer->id);
	if (component)
		class |= COMPONENTS | (component & murmesh_ComponentRole_COMPONENT_LINK ? LINKS : 0) |
		         (component & murmesh_ComponentRole_COMPONENT_WEB ? WEBS : 0) |
		         (component & murmesh_ComponentRole_COMPONENT_VIZ ? VIZES : 0);
	return class;
}

static int call_pass(const struct link_role *role, struct rpc_call *call)
{
	return role->core ? rpc_proxy(call, role->core) : -E_BUSY;
}

/* All of Console, which core has the table of, is there for those who may be a web, and for nobody else. */
static const struct rpc_service *service_find(const struct client *client, const struct rpc_call *call)
{
	static const struct rpc_service console = { .access = WEBS };
	struct str path = rpc_call_path(call);
	const struct identity *peer = rpc_call_peer(call);
	if (!str_starts(path, STR("/murmesh.Console/")))
		return rpc_service_find(services, sizeof services / sizeof *services, path);
	bool web = peer && peer->kind == IDENTITY_COMPONENT &&
	           link_revoked_component(client->role->revoked, &peer->id) & murmesh_ComponentRole_COMPONENT_WEB;
	return web ? &console : NULL;
}

static int on_open(void *ctx, struct rpc_call *call)
{
	struct client *client = ctx;
	const struct rpc_service *row = service_find(client, call);
	if (!row)
		return -E_UNSUPPORTED;
	if (client->leave_ms)
		return -E_REVOKED;
	int err = origin_settle(client, call);
	if (err < 0)
		return err;
	unsigned class = class_of(client->role, call);
	if (class & COMPONENTS)
		client_allow(client);
	if (!(row->access & class))
		return row->access & RELAYS && class & NODES ? no_relay(client->role) : -E_DENIED;
	if (!(class & (USERS | RELAYS)) && !client->relay && rpc_connection_calls(client->connection) > CALLS_MAX)
		return -E_LIMIT;
	if (client->role->place != GATEWAY_AT_CORE)
		return call_pass(client->role, call);
	return row->unary || row->open ? rpc_serve(row, call, client) : call_pass(client->role, call);
}

/* ---- clients ---- */

static void client_free(struct client *client)
{
	list_remove(&client->node);
	client->role->n_clients--;
	client->role->n_strangers -= client->until_ms > 0;
	providers_go(&client->role->providers, client->connection);
	rpc_connection_free(client->connection);
	mem_free(client);
}

static void on_client_closed(void *ctx, int err)
{
	if (err != -E_CLOSED && err != -ECONNRESET)
		log_limited(LOG_INFO, "a connection ended: %s", err_text(err));
	client_free(ctx);
}

static void clients_free(struct list *clients)
{
	LIST_EACH(at, clients)
		client_free(LIST_ENTRY(at, struct client, node));
}

static struct client *client_oldest(const struct list *clients)
{
	return list_empty(clients) ? NULL : LIST_ENTRY(clients->next, struct client, node);
}

/* Who showed no certificate may enrol, but not stay, nor keep others out. */
static void on_farewell(void *ctx)
{
	struct link_role *role = ctx;
	uint64_t now = io_loop_now_ms(role->loop);
	struct client *client;
	while ((client = client_oldest(&role->strangers)) && client->until_ms <= now)
		client_free(client);
	if (client)
		io_timer_start(role->farewell, client->until_ms - now, 0);
}

static void stranger_add(struct client *client)
{
	struct link_role *role = client->role;
	if (role->n_strangers == STRANGERS_MAX)
		client_free(client_oldest(&role->strangers));
	if (list_empty(&role->strangers))
		io_timer_start(role->farewell, STRANGER_MS, 0);
	client->until_ms = io_loop_now_ms(role->loop) + STRANGER_MS;
	role->n_strangers++;
	list_append(&role->strangers, &client->node);
}

/* ---- whose certificate was revoked ---- */

static void on_leave(void *ctx)
{
	struct link_role *role = ctx;
	uint64_t now = io_loop_now_ms(role->loop);
	struct client *client;
	while ((client = client_oldest(&role->leaving)) && client->leave_ms <= now)
		client_free(client);
	if (client)
		io_timer_start(role->leave, client->leave_ms - now, 0);
}

static void client_leave(struct client *client)
{
	struct link_role *role = client->role;
	providers_go(&role->providers, client->connection);
	list_remove(&client->node);
	if (list_empty(&role->leaving))
		io_timer_start(role->leave, LEAVE_MS, 0);
	client->leave_ms = io_loop_now_ms(role->loop) + LEAVE_MS;
	list_append(&role->leaving, &client->node);
}

static const struct certificate_info *client_peer(const struct client *client)
{
	return tls_peer(stream_tls(rpc_connection_stream(client->connection)));
}

static void on_revoked(void *ctx, const uint8_t key_hash[HASH_SIZE])
{
	struct link_role *role = ctx;
	component_revoked(role->component, key_hash); /* of a relay that was ended, and is one again */
	LIST_EACH(at, &role->known) {
		struct client *client = LIST_ENTRY(at, struct client, node);
		if (memcmp(client_peer(client)->key_hash, key_hash, HASH_SIZE) == 0)
			client_leave(client);
	}
}

static void on_relay_ended(void *ctx, const struct id *device)
{
	struct link_role *role = ctx;
	LIST_EACH(at, &role->known) {
		struct client *client = LIST_ENTRY(at, struct client, node);
		if (client->relay && id_equal(&client_peer(client)->identity.id, device))
			client_free(client); /* it comes back, for itself alone */
	}
}

/* Its certificate may have expired since it came: then no key tells that it was shut out. */
static bool shut_out(const struct link_role *role, const struct certificate_info *peer)
{
	return link_revoked_has(role->revoked, peer->key_hash) ||
	       (peer->identity.kind == IDENTITY_COMPONENT && link_revoked_listed(role->revoked) &&
	        !link_revoked_component(role->revoked, &peer->identity.id));
}

static void on_components_changed(void *ctx)
{
	struct link_role *role = ctx;
	LIST_EACH(at, &role->known) {
		struct client *client = LIST_ENTRY(at, struct client, node);
		if (shut_out(role, client_peer(client)))
			client_leave(client);
	}
}

/* Which of them that machine may be.  Nobody's call has gone there before. */
static uint32_t may_provide(const struct link_role *role, const struct certificate_info *peer)
{
	bool component = peer && peer->identity.kind == IDENTITY_COMPONENT;
	return component ? link_revoked_component(role->revoked, &peer->identity.id) & PROVIDER_ROLES : 0;
}

/* Its machine takes the place of its own earlier connection, and of nobody else's. */
static bool serves_now(struct client *client, const struct certificate_info *peer)
{
	struct link_role *role = client->role;
	uint32_t may = may_provide(role, peer);
	if (!may)
		return false;
	LIST_EACH(at, &role->known) {
		struct client *other = LIST_ENTRY(at, struct client, node);
		if (other->serves && id_equal(&client_peer(other)->identity.id, &peer->identity.id))
			client_leave(other);
	}
	if (providers_come(&role->providers, may, client->connection))
		return true;
	log_limited(LOG_WARNING, "collect and viz of %s are not needed: they run here, or another machine has them",
	            peer->common_name);
	return false;
}

static void on_client_ready(void *ctx)
{
	struct client *client = ctx;
	const struct certificate_info *peer = client_peer(client);
	list_remove(&client->node);
	if ((peer && shut_out(client->role, peer)) || (client->serves && !serves_now(client, peer)))
		client_leave(client);
	else if (peer)
		list_append(&client->role->known, &client->node);
	else
		stranger_add(client);
}

/* Makes room: whoever has not said who he is goes first. */
static int client_room(struct link_role *role)
{
	struct client *client = client_oldest(&role->arriving);
	if (role->n_clients < CLIENTS_MAX)
		return 0;
	if (!client)
		client = client_oldest(&role->strangers);
	log_limited(LOG_WARNING, "more than %d connections: %s was closed", CLIENTS_MAX,
	            client ? "one without a certificate" : "a new one");
	if (!client)
		return -E_LIMIT;
	client_free(client);
	return 0;
}

static void client_add(struct link_role *role, int fd, bool serves)
{
	static const struct rpc_connection_events events = { on_open, on_client_ready, on_client_closed };
	static const struct rpc_connection_settings
	        settings = { .server = true, .max_streams = 100, .ping_ms = RPC_PING_MS, .quiet_ms = RPC_QUIET_MS },
	        call = { .server = false, .queued_max = SERVING_QUEUED_MAX, .ping_ms = RPC_PING_MS, .quiet_ms = RPC_QUIET_MS };
	const struct stream_settings tls = { .fd = fd, .tls = component_tls(role->component) };
	static const struct stream_events none;
	if (client_room(role) < 0) {
		fd_close(fd);
		return;
	}
	struct client *client = mem_alloc(sizeof *client);
	struct stream *stream = stream_new(role->loop, &tls, &none, NULL);
	if (!client || !stream) {
		stream_free(stream);
		mem_free(client);
		return;
	}
	client->role = role;
	client->serves = serves;
	list_append(&role->arriving, &client->node);
	role->n_clients++;
	client->connection = rpc_connection_new(role->loop, stream, serves ? &call : &settings, &events, client);
	if (!client->connection)
		client_free(client);
}

static void on_intake(void *ctx, unsigned events)
{
	struct link_role *role = ctx;
	(void)events;
	for (unsigned i = 0; i < 64; i++) { /* a bounded turn: others want the loop too */
		char kind[16] = "";
		int fds[FD_PASS_MAX];
		size_t n = 0;
		ssize_t len = fd_receive(role->intake_fd, kind, sizeof kind, fds, &n);
		if (len <= 0 && len != -EMFILE && len != -EPROTO)
			return;
		for (size_t k = 0; k < n; k++)
			client_add(role, fds[k], kind[0] == FRONT_SERVE);
	}
}

/* Connections wait in the front's queue until there is a certificate to meet them with. */
static void intake_update(struct link_role *role)
{
	if (role->intake)
		io_watch_set(role->intake, component_tls(role->component) ? IO_READABLE : 0);
}

static void on_renewed(void *ctx)
{
	struct link_role *role = ctx;
	intake_update(role);
	priv_child_ready(role->child);
}

/* ---- the role ---- */

static void on_descriptor(void *ctx, const char *name, int fd)
{
	static const struct rpc_connection_events events = { NULL, NULL, NULL };
	static const struct rpc_connection_settings settings = { .server = false };
	struct link_role *role = ctx;
	struct str what = str_from(name);
	if (str_is(what, "rpc-to:core") || str_is(what, "rpc-to:net") || str_is(what, "rpc-to:uplink")) {
		rpc_connection_replace(&role->core, role->loop, fd, &settings, &events, role);
		link_revoked_follow(role->revoked);
		component_follow(role->component);
	} else if (str_is(what, "pass-from:front")) {
		role->intake_fd = fd;
		role->intake = io_watch_new(role->loop, fd, on_intake, role);
		intake_update(role);
	} else if (!providers_descriptor(&role->providers, name, fd))
		fd_close(fd);
}

int gateway_link_main(struct priv_child *child)
{
	static const struct priv_child_events events = { on_descriptor, NULL, NULL };
	static const char *const alpn[] = { "h2", NULL }, *const at_core_alpn[] = { "h2", "murmesh-serve/1", NULL };
	struct tls_settings how = { .verify = TLS_VERIFY_OPTIONAL,
		                    .kinds = 1u << IDENTITY_NODE | 1u << IDENTITY_USER,
		                    .alpn = alpn };
	static const struct link_revoked_events revoked_events = { on_revoked, on_relay_ended, on_components_changed };
	struct link_role role = { .child = child, .loop = priv_child_loop(child), .intake_fd = -1 };
	role.place = gateway_place(priv_child_configuration(child));
	if (role.place == GATEWAY_AT_CORE) {
		how.kinds |= 1u << IDENTITY_COMPONENT;
		how.alpn = at_core_alpn;
	}
	providers_init(&role.providers, role.loop);
	tls_warm_up();
	list_init(&role.arriving);
	list_init(&role.strangers);
	list_init(&role.known);
	list_init(&role.leaving);
	fd_limit_raise();
	role.component = component_new(role.loop, &role.core, role.place, &how, on_renewed, &role);
	role.farewell = io_timer_new(role.loop, on_farewell, &role);
	role.logins = link_logins_new(role.loop);
	role.leave = io_timer_new(role.loop, on_leave, &role);
	role.revoked = link_revoked_new(role.loop, &role.core, &revoked_events, &role);
	if (!role.component || !role.farewell || !role.logins || !role.leave || !role.revoked)
		return 75;
	priv_child_listen(child, &events, &role);
	if (priv_child_confine(child) < 0)
		return 77;
	int code = priv_child_run(child);
	clients_free(&role.arriving);
	clients_free(&role.strangers);
	clients_free(&role.known);
	clients_free(&role.leaving);
	rpc_connection_free(role.core);
	link_revoked_free(role.revoked);
	component_free(role.component);
	io_timer_free(role.leave);
	providers_done(&role.providers);
	link_logins_free(role.logins);
	io_watch_free(role.intake);
	io_timer_free(role.farewell);
	fd_close(role.intake_fd);
	return code;
}
