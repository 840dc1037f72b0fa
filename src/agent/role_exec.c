/* The exec role: the root helper.  It talks to net and probe alone, over UNIX sockets; what it may be asked is a closed table with the states in
 * which each request is allowed.  It trusts the mesh root's policy and nothing that net says. */
#include <unistd.h>

#include "agent/agent.h"
#include "agent/inventory.h"
#include "base/err.h"
#include "base/mem.h"
#include "ca/join_line.h"
#include "ca/trusted_time.h"
#include "crypto/tls.h"
#include "manage/record.h"
#include "manage/run/order_journal.h"
#include "manage/run/run.h"
#include "manage/terminal/terminal.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/log.h"
#include "os/user.h"
#include "probe/probe.h"
#include "rpc/rpc.h"
#include "services.h"
#include "store/store.h"
#include "tunnel/result.h"

#define TIME_SLACK_S 300 /* servers of one mesh may differ */

enum { NEW = 1, ENROLLED = 2 }; /* states, as bits of rpc_service.access */

struct exec_role {
	struct priv_child *child;
	struct rpc_connection *net, *probe;
	struct owners *owners; /* being looked for; NULL = none */
	struct store *store;
	struct run_service *run;
	struct terminal_service *terminals;
	struct trust *trust;
	struct record_signer recorder;
	struct keep keep;
	struct join_line line;
	bool has_line;
	unsigned state;
};

/* Signed by the mesh: net's word is not enough, else it could have old orders run. */
static int64_t time_least; /* it was that late once */

static int64_t exec_now(void)
{
	int64_t now = trusted_time_or_wall();
	return now > time_least ? now : time_least;
}

static int enter_enrolled(struct exec_role *role)
{
	struct identity device = role->keep.info.identity;
	struct trust *trust = NULL;
	device.kind = IDENTITY_NODE; /* grants and orders name the device */
	int err = trust_new(role->keep.root, &role->keep.policy, &device, &trust);
	if (err < 0)
		return err;
	trust_free(role->trust);
	role->trust = trust;
	if (role->state != ENROLLED) /* a renewal changes neither, and the database's thread reads them */
		role->recorder = (struct record_signer){ role->keep.key, role->keep.info.identity };
	role->state = ENROLLED;
	return 0;
}

/* net asks at two thirds of the life of its own, which is hardly younger. */
static bool renewal_due(const struct exec_role *role)
{
	return exec_now() > (role->keep.info.not_before + role->keep.info.not_after) / 2;
}

static void on_request(void *ctx, struct rpc_call *call, const void *message)
{
	static murmesh_ManagerCsr reply;
	struct exec_role *role = ctx;
	struct buf csr;
	const murmesh_ManagerRequest *request = message;
	reply = (murmesh_ManagerCsr)murmesh_ManagerCsr_init_zero;
	if (role->state == ENROLLED && !(request->renew && renewal_due(role)))
		return rpc_call_reply(call, &reply);
	buf_init(&csr, sizeof reply.csr.bytes);
	int err = keep_key(&role->keep);
	if (err == 0)
		err = certificate_request_write(role->keep.key, &csr);
	if (err == 0) {
		reply.csr.size = (pb_size_t)buf_len(&csr);
		memcpy(reply.csr.bytes, buf_head(&csr), buf_len(&csr));
		rpc_call_reply(call, &reply);
	} else
		rpc_call_finish(call, err, NULL);
	buf_done(&csr);
}

static void on_install(void *ctx, struct rpc_call *call, const void *message)
{
	murmesh_ManagerInstalled reply = murmesh_ManagerInstalled_init_zero;
	struct exec_role *role = ctx;
	bool renewal = role->state == ENROLLED; /* then the root that it has is the only one */
	int err = renewal ? 0 : role->has_line ? keep_key(&role->keep) : -E_DENIED;
	if (err == 0)
		err = keep_install(&role->keep, message, IDENTITY_MANAGER, renewal ? NULL : role->line.root_hash);
	if (err == 0)
		err = enter_enrolled(role);
	if (err < 0) {
		log_warning("a manager certificate was refused: %s", err_text(err));
		return rpc_call_finish(call, err, NULL);
	}
	rpc_call_reply(call, &reply);
}

static void on_take_inventory(void *ctx, struct rpc_call *call, const void *message)
{
	static murmesh_SignedInventory reply;
	const struct exec_role *role = ctx;
	const murmesh_InventoryRequest *request = message;
	int err = inventory_sign(&role->keep, request->challenge, exec_now(), &reply);
	if (err < 0)
		return rpc_call_finish(call, err, NULL);
	rpc_call_reply(call, &reply);
}

/* Net brings it; the mesh root's signature and the version say whether it counts. */
static void on_set_policy(void *ctx, struct rpc_call *call, const void *message)
{
	murmesh_ManagerInstalled reply = murmesh_ManagerInstalled_init_zero;
	struct exec_role *role = ctx;
	int err = keep_policy(&role->keep, message);
	if (err == 0)
		err = enter_enrolled(role);
	if (err < 0)
		return rpc_call_finish(call, err, NULL);
	rpc_call_reply(call, &reply);
}

/* ---- time ---- */

static int time_keep(const struct exec_role *role)
{
	char path[4096], text[32];
	int len = snprintf(text, sizeof text, "%lld", (long long)time_least);
	int err = keep_file(&role->keep, "time", path);
	return err < 0 ? err : file_write(path, text, (size_t)len, 0600);
}

static void time_load(const struct exec_role *role)
{
	char path[4096];
	struct buf text;
	uint64_t time = 0;
	buf_init(&text, 32);
	if (keep_file(&role->keep, "time", path) == 0 && file_read(path, &text) == 0)
		str_to_u64(buf_str(&text), INT64_MAX, &time);
	time_least = (int64_t)time;
	buf_done(&text);
}

static void on_set_time(void *ctx, struct rpc_call *call, const void *message)
{
	murmesh_ManagerInstalled reply = murmesh_ManagerInstalled_init_zero;
	struct exec_role *role = ctx;
	int64_t told;
	int err = time_check(role->trust, message, &told);
	if (err == 0 && told + TIME_SLACK_S < time_least)
		err = -E_CERTIFICATE_EXPIRED;
	if (err < 0)
		return rpc_call_finish(call, err, NULL);
	trusted_time_set(told);
	if (told > time_least) {
		time_least = told;
		err = time_keep(role);
		if (err < 0)
			log_warning("the time could not be kept: %s", err_text(err));
	}
	rpc_call_reply(call, &reply);
}

static int on_run(void *ctx, struct rpc_call *call)
{
	return run_open(((struct exec_role *)ctx)->run, call);
}

static int on_terminal(void *ctx, struct rpc_call *call)
{
	return terminal_open(((struct exec_role *)ctx)->terminals, call);
}

static const struct rpc_service services[] = {
	{ &rpc_Manager_Request, NEW | ENROLLED, on_request, NULL },
	{ &rpc_Manager_Install, NEW | ENROLLED, on_install, NULL },
	{ &rpc_Manager_TakeInventory, ENROLLED, on_take_inventory, NULL },
	{ &rpc_Manager_SetPolicy, ENROLLED, on_set_policy, NULL },
	{ &rpc_Manager_SetTime, ENROLLED, on_set_time, NULL },
	{ &rpc_Run_Start, ENROLLED, NULL, on_run },
	{ &rpc_Terminal_Open, ENROLLED, NULL, on_terminal },
};

static int on_open(void *ctx, struct rpc_call *call)
{
	struct exec_role *role = ctx;
	const struct rpc_service *row = rpc_service_find(services, sizeof services / sizeof *services, rpc_call_path(call));
	if (!row)
		return -E_UNSUPPORTED;
	return row->access & role->state ? rpc_serve(row, call, role) : -E_DENIED;
}

/* ---- the probe: sees packets, and may ask one thing ---- */

struct owners {
	struct exec_role *role;
	struct rpc_call *call; /* referenced */
	struct probe_search *search;
	murmesh_SocketOwners reply;
};

static void on_owner(void *ctx, uint64_t inode, uint64_t pid)
{
	struct owners *owners = ctx;
	murmesh_SocketOwner *row = &owners->reply.owners[owners->reply.owners_count++];
	row->inode = inode;
	row->pid = (uint32_t)pid;
}

static void owners_free(struct owners *owners)
{
	owners->role->owners = NULL;
	rpc_call_unref(owners->call);
	probe_search_free(owners->search);
	mem_free(owners);
}

static void on_owners_done(void *ctx)
{
	struct owners *owners = ctx;
	rpc_call_reply(owners->call, &owners->reply);
	owners_free(owners);
}

static void on_owners(void *ctx, struct rpc_call *call, const void *message)
{
	struct exec_role *role = ctx;
	const murmesh_SocketQuery *query = message;
	struct owners *owners = mem_alloc(sizeof *owners);
	if (owners)
		owners->search = probe_search_new(priv_child_loop(role->child), query->inodes, query->inodes_count, on_owner,
		                                  on_owners_done, owners);
	if (!owners || !owners->search) {
		mem_free(owners);
		return rpc_call_finish(call, -E_NO_MEMORY, NULL);
	}
	owners->call = rpc_call_ref(call);
	owners->role = role;
	role->owners = owners;
}

static int on_probe_open(void *ctx, struct rpc_call *call)
{
	static const struct rpc_service row = { &rpc_Processes_Owners, 0, on_owners, NULL };
	struct exec_role *role = ctx;
	if (!str_is(rpc_call_path(call), row.method->path))
		return -E_UNSUPPORTED;
	return role->owners ? -E_BUSY : rpc_serve(&row, call, role);
}

static void on_descriptor(void *ctx, const char *name, int fd)
{
	static const struct rpc_connection_events events = { on_open, NULL, NULL }, probe = { on_probe_open, NULL, NULL };
	static const struct rpc_connection_settings settings = { .server = true, .trusted_metadata = true };
	struct exec_role *role = ctx;
	if (str_is(str_from(name), "rpc-from:probe"))
		rpc_connection_replace(&role->probe, priv_child_loop(role->child), fd, &settings, &probe, role);
	else
		rpc_connection_replace(&role->net, priv_child_loop(role->child), fd, &settings, &events, role);
}

static int check_order(void *ctx, const void *signed_order, const uint8_t *devices, size_t devices_len, void *ret)
{
	struct exec_role *role = ctx;
	return order_check(role->trust, signed_order, devices, devices_len, exec_now(), ret);
}

static int sign_result(void *ctx, void *result, void *ret)
{
	const struct exec_role *role = ctx;
	const struct keep *keep = &role->keep;
	const struct result_signer signer = { keep->key, keep->leaf, keep->intermediate, &keep->info.identity };
	return result_sign(&signer, result, ret);
}

/* Asked for each terminal: an administrator may have changed it.  A user without a name gets a plain shell. */
static int login_read(void *ctx, struct user_login *ret)
{
	(void)ctx;
	if (user_login(geteuid(), ret) < 0)
		*ret = (struct user_login){ .home = "/" };
	return 0;
}

struct interrupt_job {
	struct store_job job;
	const struct exec_role *role;
};

static int interrupt_run(struct store_tx *tx, struct store_job *job)
{
	const struct exec_role *role = ((struct interrupt_job *)job)->role;
	char detail[64];
	int err = order_journal_interrupt(tx);
	int64_t n = err < 0 ? 0 : store_changed(tx);
	if (n && role->state == ENROLLED) {
		snprintf(detail, sizeof detail, "%lld orders were cut short", (long long)n);
		const struct audit_event event = { STR("agent"), STR("started again"), STR(""), str_from(detail) };
		err = record_append(tx, &role->recorder, exec_now(), &event);
	}
	return err < 0 ? err : order_journal_prune(tx, clock_wall_s());
}

static int open_database(struct exec_role *role)
{
	struct interrupt_job interrupt = { .job.run = interrupt_run, .role = role };
	char path[4096], detail[STORE_DETAIL_SIZE] = "";
	int err = keep_file(&role->keep, "agent.db", path);
	if (err == 0)
		err = store_open(path, &store_schema_agent, &role->store, detail);
	if (err == 0)
		err = store_run(role->store, &interrupt.job);
	if (err < 0)
		log_error("the database %s cannot be used: %s %s", path, err_text(err), detail);
	return err;
}

static int start(struct exec_role *role)
{
	int err = keep_load(&role->keep);
	if (err < 0) {
		log_error("the management part's certificate cannot be read: %s", err_text(err));
		return err;
	}
	if (err == 1)
		err = enter_enrolled(role);
	role->keep.now = exec_now;
	time_load(role);
	if (err == 0)
		err = open_database(role);
	if (err < 0)
		return err;
	const struct run_settings run = { .store = role->store,
		                          .check = check_order,
		                          .now = exec_now,
		                          .sign = sign_result,
		                          .recorder = &role->recorder,
		                          .ctx = role };
	const struct terminal_settings terminals = { .store = role->store,
		                                     .check = check_order,
		                                     .now = exec_now,
		                                     .sign = sign_result,
		                                     .recorder = &role->recorder,
		                                     .login = login_read,
		                                     .ctx = role,
		                                     .detached_ms = TERMINAL_DETACHED_MS };
	role->run = run_service_new(priv_child_loop(role->child), &run);
	role->terminals = terminal_service_new(priv_child_loop(role->child), &terminals);
	return role->run && role->terminals ? 0 : -E_NO_MEMORY;
}

static int start_worker(void *ctx)
{
	struct exec_role *role = ctx;
	return store_start_worker(role->store, priv_child_loop(role->child));
}

int agent_exec_main(struct priv_child *child)
{
	static const struct priv_child_events events = { on_descriptor, NULL, NULL };
	static struct exec_role role;
	role = (struct exec_role){ .child = child, .state = NEW };
	role.keep = (struct keep){ .directory = priv_child_directory(child), .name = "manager" };
	role.has_line = join_line_parse(str_setting(priv_child_configuration(child), "join"), &role.line) == 0;
	tls_warm_up();
	if (start(&role) < 0)
		return 74;
	priv_child_listen(child, &events, &role);
	if (priv_child_confine_with(child, start_worker, &role) < 0)
		return 77;
	priv_child_ready(child);
	int code = priv_child_run(child);
	rpc_connection_drop(&role.net);
	if (role.owners)
		owners_free(role.owners);
	rpc_connection_drop(&role.probe);
	store_free(role.store);
	run_service_free(role.run);
	terminal_service_free(role.terminals);
	trust_free(role.trust);
	keep_done(&role.keep);
	return code;
}
