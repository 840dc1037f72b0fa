/* The core role: the services, and who may reach them. */
#include "server/core.h"

#include <errno.h>

#include "account/session.h"
#include "base/err.h"
#include "base/mem.h"
#include "ca/approvals.h"
#include "ca/records.h"
#include "crypto/tls.h"
#include "os/clock.h"
#include "os/fd.h"
#include "os/file.h"
#include "os/log.h"
#include "os/random.h"
#include "os/socket.h"
#include "task/task.h"

#define DEVICES_MAX     100000
#define HOUSEKEEPING_MS 3600000
#define LOCAL_RETRY_MS  100
#define MINUTE_MS       60000
#define SLOW_US         3000000 /* a database that has done nothing for so long is slow */
#define SLOW_CHECK_MS   250
#define SLOW_WHY        "the database is slow at the moment"

/* ---- jobs ---- */

void *core_job_new(struct core *core, struct rpc_call *call, size_t size)
{
	struct core_job *job = mem_alloc(size);
	if (!job) {
		rpc_call_finish(call, -E_NO_MEMORY, NULL);
		return NULL;
	}
	job->core = core;
	job->call = rpc_call_ref(call);
	return job;
}

void core_job_free(struct core_job *job)
{
	if (job->ended)
		job->ended(job);
	rpc_call_unref(job->call);
	mem_free(job);
}

void core_job_fail(struct core_job *job, int err, const char *why)
{
	rpc_call_finish(job->call, err, why);
	core_job_free(job);
}

static bool database_slow(const struct core *core)
{
	struct store_stats stats;
	store_stats(core->store, &stats);
	return stats.stuck_us > SLOW_US;
}

/* What has not begun is refused; what has may still succeed, and is answered when that is known. */
static void on_patience(void *ctx)
{
	struct core *core = ctx;
	if (list_empty(&core->hurried))
		return io_timer_stop(core->patience);
	if (!database_slow(core))
		return;
	LIST_EACH(at, &core->hurried) {
		struct core_job *job = LIST_ENTRY(at, struct core_job, node);
		if (store_withdraw(core->store, &job->job) < 0)
			continue;
		list_remove(&job->node);
		core_job_fail(job, -E_BUSY, SLOW_WHY);
	}
}

int core_jobs_init(struct core *core)
{
	list_init(&core->hurried);
	core->patience = io_timer_new(core->loop, on_patience, core);
	return core->patience ? 0 : -E_NO_MEMORY;
}

void core_jobs_done(struct core *core)
{
	core->patience = io_timer_free(core->patience);
}

static int job_run(struct store_tx *tx, struct store_job *store_job)
{
	struct core_job *job = LIST_ENTRY(store_job, struct core_job, job);
	return job->run(tx, job);
}

static void job_done(struct store_job *store_job, int err)
{
	struct core_job *job = LIST_ENTRY(store_job, struct core_job, job);
	if (job->hurried)
		list_remove(&job->node);
	if (err < 0 && store_job->detail[0])
		log_limited(LOG_WARNING, "a request failed in the database: %s: %s", err_text(err), store_job->detail);
	if (err < 0)
		core_job_fail(job, err, job->why);
	else
		job->done(job);
}

void core_job_submit(struct core_job *job)
{
	job->job.run = job_run;
	job->job.done = job_done;
	struct core *core = job->core;
	if (job->hurried && database_slow(core))
		return core_job_fail(job, -E_BUSY, SLOW_WHY);
	int err = store_submit(core->store, &job->job);
	if (err < 0)
		return core_job_fail(job, err, NULL);
	if (!job->hurried)
		return;
	if (list_empty(&core->hurried))
		io_timer_start(core->patience, SLOW_CHECK_MS, SLOW_CHECK_MS);
	list_append(&core->hurried, &job->node);
}

int core_caller_check(struct store_tx *tx, struct core_caller *caller, enum account_action action, struct user *ret)
{
	int err = caller->by_session ? core_caller_own(tx, caller, ret) : account_get(tx, &caller->user, ret);
	if (err < 0)
		return err == -E_NOT_FOUND ? -E_DENIED : err;
	return account_may(ret, action) ? 0 : -E_DENIED;
}

int core_caller_proved(const struct core_caller *caller)
{
	return !caller->by_session || caller->proved_until > clock_wall_s() ? 0 : -E_STEP_UP;
}

/* ---- services ---- */

static void on_describe(void *ctx, struct rpc_call *call, const void *request)
{
	struct core *core = ctx;
	murmesh_ServerDescription reply = { .front_port = core->front_port };
	struct certificate *root = NULL;
	struct certificate_info info;
	(void)request;
	int err = core->described ? certificate_read(core->mesh.root.bytes, core->mesh.root.size, &root) : -E_BUSY;
	if (err == 0)
		err = certificate_inspect(root, &info);
	certificate_free(root);
	if (err < 0)
		return rpc_call_finish(call, err, NULL);
	memcpy(reply.root_hash, info.key_hash, sizeof reply.root_hash);
	str_copy(str_from(core->address), reply.address, sizeof reply.address);
	str_copy(STR(MURMESH_VERSION), reply.version, sizeof reply.version);
	rpc_call_reply(call, &reply);
}

static const struct rpc_service local_services[] = {
	{ &rpc_Local_Login, 0, core_enrol_login, NULL },
	{ &rpc_Local_LoginLink, 0, core_console_login_link, NULL },
	{ &rpc_Local_Describe, 0, on_describe, NULL },
	{ &rpc_Local_ReloadCa, 0, core_policy_reload, NULL },
};

/* ---- core.sock ---- */

struct local {
	struct list node;
	struct core *core;
	struct rpc_connection *connection;
};

static int on_local_open(void *ctx, struct rpc_call *call)
{
	struct local *local = ctx;
	const struct rpc_service *row =
	        rpc_service_find(local_services, sizeof local_services / sizeof *local_services, rpc_call_path(call));
	return row ? rpc_serve(row, call, local->core) : -E_UNSUPPORTED;
}

static void on_local_closed(void *ctx, int err)
{
	struct local *local = ctx;
	(void)err;
	list_remove(&local->node);
	rpc_connection_free(local->connection);
	mem_free(local);
}

/* Who could open the socket's file at all is root, the owner, or in its group; the group's members are let in by that. */
static bool local_welcome(const struct core *core, int fd)
{
	struct socket_credentials peer;
	if (socket_unix_credentials(fd, &peer) < 0)
		return false;
	log_debug("local connection of uid %u", (unsigned)peer.uid);
	return peer.uid == 0 || peer.uid == core->owner || core->owner == 0;
}

static void on_local_accept(void *ctx, unsigned events)
{
	static const struct rpc_connection_events local_events = { on_local_open, NULL, on_local_closed };
	static const struct rpc_connection_settings settings = { .server = true, .ping_ms = RPC_PING_MS, .quiet_ms = RPC_QUIET_MS };
	struct core *core = ctx;
	(void)events;
	int fd = socket_accept(core->local_fd);
	if (fd < 0) {
		if (fd != -EAGAIN) { /* no descriptors: who connects waits in the kernel's queue */
			io_watch_set(core->local, 0);
			io_timer_start(core->local_retry, LOCAL_RETRY_MS, 0);
		}
		return;
	}
	struct local *local = local_welcome(core, fd) ? mem_alloc(sizeof *local) : NULL;
	if (!local) {
		fd_close(fd);
		return;
	}
	local->core = core;
	list_append(&core->locals, &local->node);
	local->connection = rpc_connection_plain(core->loop, fd, &settings, &local_events, local);
	if (!local->connection)
		on_local_closed(local, 0);
}

static void on_local_retry(void *ctx)
{
	struct core *core = ctx;
	if (core->local)
		io_watch_set(core->local, IO_READABLE);
}

/* ---- other roles ---- */

static void on_described(void *ctx, int err, const char *why, const void *response)
{
	struct core *core = ctx;
	if (err < 0) {
		log_warning("the certification manager does not answer: %s %s", err_text(err), why);
		return;
	}
	core->mesh = *(const murmesh_CertificateReply *)response;
	memcpy(core->mesh_id.bytes, core->mesh.device_id, sizeof core->mesh_id.bytes);
	core->described = true;
	core_time_sign(core);
	core_policy_described(core);
	core_ended_described(core);
	priv_child_ready(core->child);
}

static void describe_ask(struct core *core)
{
	murmesh_CaDescribe request = murmesh_CaDescribe_init_zero;
	if (rpc_unary(core->ca, &rpc_Ca_Describe, &request, 10000, on_described, core) < 0)
		log_warning("the certification manager cannot be asked");
}

static void on_web_closed(void *ctx, int err)
{
	static const struct id here;
	(void)err;
	rpc_connection_drop(&((struct core *)ctx)->web);
	core_tasks_interrupt(ctx, &here);
}

static void on_descriptor(void *ctx, const char *name, int fd)
{
	static const struct rpc_connection_events link_events = { core_network_open, NULL, NULL };
	static const struct rpc_connection_events orb_events = { core_orb_open, NULL, NULL };
	static const struct rpc_connection_events ca_events = { NULL, NULL, NULL };
	static const struct rpc_connection_events relay_events = { NULL, NULL, NULL };
	static const struct rpc_connection_events web_events = { core_console_open, NULL, on_web_closed };
	static const struct rpc_connection_events hash_events = { NULL, NULL, NULL };
	static const struct rpc_connection_events viz_events = { NULL, NULL, NULL };
	static const struct rpc_connection_settings console = { .server = true, .max_streams = 1000 };
	static const struct rpc_connection_settings serve = { .server = true,
		                                              .trusted_metadata = true,
		                                              .max_streams = DEVICES_MAX };
	static const struct rpc_connection_settings orb = { .server = true, .trusted_metadata = true, .max_streams = 4096 };
	static const struct rpc_connection_settings call = { .server = false };
	struct core *core = ctx;
	struct str what = str_from(name);
	if (str_is(what, "rpc-from:link")) {
		rpc_connection_replace(&core->link, core->loop, fd, &serve, &link_events, core);
	} else if (str_is(what, "rpc-from:orb")) {
		rpc_connection_replace(&core->orb, core->loop, fd, &orb, &orb_events, core);
	} else if (str_is(what, "rpc-to:ca")) {
		rpc_connection_replace(&core->ca, core->loop, fd, &call, &ca_events, core);
		if (core->ca)
			describe_ask(core);
	} else if (str_is(what, "rpc-to:relay")) {
		rpc_connection_replace(&core->relay, core->loop, fd, &call, &relay_events, core);
		core_pairs_follow(core);
	} else if (str_is(what, "rpc-to:hash")) {
		rpc_connection_replace(&core->hash, core->loop, fd, &call, &hash_events, core);
	} else if (str_is(what, "rpc-to:viz")) {
		rpc_connection_replace(&core->viz, core->loop, fd, &call, &viz_events, core);
	} else if (str_is(what, "rpc-from:web")) {
		if (core->web)
			on_web_closed(core, 0);
		core->web = rpc_connection_plain(core->loop, fd, &console, &web_events, core);
	} else if (str_is(what, "core.sock")) {
		core->local_fd = fd;
		core->local = io_watch_new(core->loop, fd, on_local_accept, core);
		if (core->local)
			io_watch_set(core->local, IO_READABLE);
	} else
		fd_close(fd);
}

/* ---- housekeeping: what has expired is forgotten, at the start and every hour ---- */

static int prune_run(struct store_tx *tx, struct store_job *job)
{
	(void)job;
	int err = ca_join_prune(tx, clock_wall_s());
	if (err == 0)
		err = ca_approval_prune(tx, clock_wall_s());
	if (err == 0)
		err = ca_certificate_prune(tx, clock_wall_s());
	if (err == 0)
		err = task_prune(tx, clock_wall_s());
	return err < 0 ? err : account_prune(tx, clock_wall_s());
}

static void prune_done(struct store_job *job, int err)
{
	if (err < 0)
		log_warning("expired keys, certificates, sessions and tasks were not removed: %s %s", err_text(err), job->detail);
	mem_free(job);
}

static void on_housekeeping(void *ctx)
{
	struct core *core = ctx;
	struct store_job *job = mem_alloc(sizeof *job);
	if (!job)
		return;
	job->run = prune_run;
	job->done = prune_done;
	if (store_submit(core->store, job) < 0)
		mem_free(job);
}

static void on_minute(void *ctx)
{
	core_watch_check(ctx);
	core_pairs_minute(ctx);
	core_time_sign(ctx);
	core_ended_retry(ctx);
}

/* ---- the role ---- */

struct first_job {
	struct store_job job;
	struct user user;
};

static int first_run(struct store_tx *tx, struct store_job *job)
{
	int err = task_interrupt(tx, NULL, clock_wall_s()); /* whoever carried them out ended with the server */
	return err < 0 ? err : account_ensure_local(tx, clock_wall_s(), &((struct first_job *)job)->user);
}

static int open_database(struct core *core)
{
	struct first_job first = { .job = { .run = first_run } };
	char path[4096], detail[STORE_DETAIL_SIZE] = "";
	int err = file_path(path, sizeof path, priv_child_directory(core->child), "murmesh.db");
	if (err == 0)
		err = store_open(path, &store_schema_server, &core->store, detail);
	if (err == 0)
		err = store_run(core->store, &first.job);
	if (err < 0)
		log_error("the database %s cannot be used: %s %s", path, err_text(err), detail);
	core->local_user = first.user.id;
	return err;
}

static int start_inside(void *ctx)
{
	struct core *core = ctx;
	int err = open_database(core);
	if (err < 0)
		return err;
	err = core_relays_open(core);
	if (err == 0)
		err = core_components_open(core);
	if (err < 0)
		return err;
	core_router_open(core, priv_child_directory(core->child));
	return store_start_worker(core->store, core->loop);
}

static void settings_read(struct core *core)
{
	struct str settings = priv_child_configuration(core->child);
	uint64_t number = 0;
	if (str_to_u64(str_setting(settings, "front_port"), 65535, &number) == 0)
		core->front_port = (uint16_t)number;
	if (str_to_u64(str_setting(settings, "owner"), UINT32_MAX, &number) == 0)
		core->owner = (uid_t)number;
	str_copy(str_setting(settings, "address"), core->address, sizeof core->address);
	str_copy(str_setting(settings, "domain"), core->domain, sizeof core->domain);
}

int server_core_main(struct priv_child *child)
{
	static const struct priv_child_events events = { on_descriptor, NULL, NULL };
	static struct core core;
	uint8_t seed[16];
	core = (struct core){ .child = child, .loop = priv_child_loop(child), .local_fd = -1 };
	list_init(&core.locals);
	list_init(&core.watches);
	list_init(&core.messages);
	list_init(&core.pings);
	list_init(&core.followers);
	list_init(&core.ca_followers);
	list_init(&core.receivers);
	random_bytes(seed, sizeof seed);
	core.online = map_new(seed, DEVICES_MAX);
	settings_read(&core);
	tls_warm_up();
	core.local_retry = io_timer_new(core.loop, on_local_retry, &core);
	core.housekeeping = io_timer_new(core.loop, on_housekeeping, &core);
	core.minute = io_timer_new(core.loop, on_minute, &core);
	core.watches_again = io_timer_new(core.loop, core_live_end_again, &core);
	if (!core.online || !core.local_retry || !core.housekeeping || !core.minute || !core.watches_again ||
	    core_jobs_init(&core) < 0 || core_pairs_open(&core) < 0)
		return 75;
	store_warm_up();
	priv_child_listen(child, &events, &core);
	if (priv_child_confine_with(child, start_inside, &core) < 0)
		return 74;
	io_timer_start(core.housekeeping, 0, HOUSEKEEPING_MS);
	io_timer_start(core.minute, MINUTE_MS, MINUTE_MS);
	int code = priv_child_run(child);
	io_timer_free(core.housekeeping);
	io_timer_free(core.minute);
	core_pings_end(&core);
	LIST_EACH(at, &core.locals)
		on_local_closed(LIST_ENTRY(at, struct local, node), 0);
	rpc_connection_drop(&core.web);
	rpc_connection_drop(&core.link);
	rpc_connection_drop(&core.orb);
	rpc_connection_drop(&core.hash);
	rpc_connection_drop(&core.ca);
	rpc_connection_drop(&core.relay);
	rpc_connection_drop(&core.viz);
	store_free(core.store);
	core_router_free(&core);
	core_jobs_done(&core);
	io_watch_free(core.local);
	io_timer_free(core.local_retry);
	io_timer_free(core.watches_again);
	fd_close(core.local_fd);
	map_free(core.online);
	core_relays_free(&core);
	core_components_free(&core);
	core_pairs_free(&core);
	return code;
}
