/* The message router of core: its spool lies beside the database, and is synced by the database's thread. */
#include <inttypes.h>

#include "base/err.h"
#include "base/mem.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/log.h"
#include "os/random.h"
#include "route/peer.h"
#include "server/core.h"

struct core_router {
	struct core *core;
	struct route *route;
	struct spool_disk disk;
	struct peers peers;
	struct io_task soon;
	struct io_timer *tick;
	struct store_job sync_job;
	struct spool_sync *sync; /* under way */
	bool synced;             /* its thread came to it */
};

struct core_envelopes {
	struct core *core;
	struct rpc_call *call;
	struct id device;
	struct peer *peer;
};

/* ---- syncing: what came in one turn of the loop shares a sync, and what comes during that the next one ---- */

static int sync_run(struct store_tx *tx, struct store_job *job)
{
	struct core_router *router = LIST_ENTRY(job, struct core_router, sync_job);
	(void)tx;
	spool_sync_run(router->sync);
	router->synced = true;
	return 0;
}

static void sync_done(struct store_job *job, int err)
{
	struct core_router *router = LIST_ENTRY(job, struct core_router, sync_job);
	if (!router->synced) { /* the database began no transaction; the spool needs none */
		log_limited(LOG_WARNING, "the spool is synced without the database's thread: %s", err_text(err));
		spool_sync_run(router->sync);
	}
	router->sync = NULL;
	route_sync_end(router->route, clock_wall_ms());
	peers_answer(&router->peers);
	core_messages_go_on(router->core);
	core_router_sync(router->core);
}

static void on_soon(void *ctx)
{
	struct core_router *router = ctx;
	if (router->sync)
		return; /* its end comes back here */
	router->sync = route_sync_begin(router->route);
	if (!router->sync)
		return peers_answer(&router->peers); /* what was refused, or is here already */
	router->synced = false;
	router->sync_job.run = sync_run;
	router->sync_job.done = sync_done;
	int err = store_submit(router->core->store, &router->sync_job);
	if (err < 0)
		sync_done(&router->sync_job, err);
}

void core_router_sync(struct core *core)
{
	io_task_schedule(core->loop, &core->router->soon);
}

static void on_tick(void *ctx)
{
	struct core_router *router = ctx;
	route_tick(router->route, clock_wall_ms());
	core_router_sync(router->core);
}

/* ---- what the router tells ---- */

static void on_ready(void *ctx, const struct id *destination)
{
	struct core_router *router = ctx;
	core_envelopes_send(core_link_envelopes(router->core, destination));
	core_receiver_give(router->core, destination);
}

static void on_delivered(void *ctx, const struct id *destination, const struct id *envelope)
{
	(void)destination;
	core_messages_told(((struct core_router *)ctx)->core, envelope, 0);
}

static void on_dead(void *ctx, const struct id *destination, const struct id *envelope, enum route_dead why)
{
	static const int errors[ROUTE_DEADS] = {
		[ROUTE_EXPIRED] = -E_ENVELOPE_EXPIRED, [ROUTE_LIMIT] = -E_ENVELOPE_LIMIT,     [ROUTE_DAMAGED] = -E_CHECKSUM,
		[ROUTE_REFUSED] = -E_DENIED,           [ROUTE_RETIRED] = -E_ENVELOPE_RETIRED, [ROUTE_LOOP] = -E_ENVELOPE_LOOP
	};
	char device[ID_TEXT_SIZE], message[ID_TEXT_SIZE];
	id_format(destination, device);
	id_format(envelope, message);
	log_limited(LOG_INFO, "message %s does not reach device %s: %s", message, device, route_dead_name(why));
	core_messages_told(((struct core_router *)ctx)->core, envelope, errors[why]);
}

static void on_replaced(void *ctx, const struct id *destination, const struct id *envelope)
{
	(void)destination;
	core_messages_told(((struct core_router *)ctx)->core, envelope, -E_ENVELOPE_REPLACED);
}

static void on_damaged(void *ctx, const struct spool_damage *damage)
{
	(void)ctx;
	log_warning("the spool's segment %016" PRIx64 ", bytes %" PRIu64 " to %" PRIu64 ": %s; %s", damage->segment, damage->at,
	            damage->at + damage->len,
	            damage->err    ? err_text(damage->err)
	            : damage->torn ? "the end of what was being written when the server ended"
	                           : "damaged",
	            damage->saved ? "a copy stands beside it (.bad)" : "not copied");
}

/* ---- beginning and end ---- */

struct retired_job {
	struct store_job job;
	struct route *route;
};

/* Those that were deleted when the server ended before their queues were dropped. */
static int retired_run(struct store_tx *tx, struct store_job *job)
{
	struct route *route = ((struct retired_job *)job)->route;
	struct core_rows gone = { 0 };
	struct route_queue queue;
	struct device device;
	const void *walk = NULL;
	size_t at = 0;
	int err = 0;
	while (err == 0 && route_queue_next(route, &walk, &queue)) {
		int found = queue.waiting ? fleet_device_get(tx, &queue.destination, &device) : 0;
		if (found == -E_NOT_FOUND || (found == 0 && queue.waiting && device.retired))
			err = core_rows_add(&gone, &queue.destination, sizeof queue.destination);
	}
	while (core_rows_next(&gone, &at, &queue.destination, sizeof queue.destination))
		route_retire(route, &queue.destination, clock_wall_ms());
	core_rows_done(&gone);
	return err;
}

static int route_begin(struct core_router *router, const char *directory)
{
	static const struct route_events events = { route_giver_tell, on_ready, on_dead, on_delivered, on_damaged, on_replaced };
	struct route_settings settings = route_settings_server;
	char path[4096];
	int err = file_path(path, sizeof path, directory, "spool");
	if (err == 0)
		err = spool_disk_open(path, &router->disk);
	settings.spool.disk = router->disk;
	settings.random = random_bytes;
	random_bytes(settings.spool.seed, sizeof settings.spool.seed);
	return err < 0 ? err : route_open(&settings, &events, router, clock_wall_ms(), &router->route);
}

void core_router_open(struct core *core, const char *directory)
{
	struct core_router *router = core->router = mem_alloc(sizeof *router);
	if (!router)
		return;
	router->core = core;
	io_task_init(&router->soon, on_soon, router);
	router->tick = io_timer_new(core->loop, on_tick, router);
	int err = router->tick ? route_begin(router, directory) : -E_NO_MEMORY;
	if (err < 0) {
		log_error("messages cannot be kept, and are not taken: %s", err_text(err));
		return core_router_free(core);
	}
	struct retired_job retired = { .job = { .run = retired_run }, .route = router->route };
	peers_init(&router->peers, router->route);
	io_timer_start(router->tick, ROUTE_TICK_MS, ROUTE_TICK_MS);
	err = store_run(core->store, &retired.job);
	if (err < 0)
		log_warning("messages to deleted devices wait until they expire: %s", err_text(err));
}

/* After the links, and after the database's thread. */
void core_router_free(struct core *core)
{
	struct core_router *router = core->router;
	if (!router)
		return;
	core->router = NULL;
	io_task_cancel(&router->soon);
	io_timer_free(router->tick);
	route_free(router->route);
	spool_disk_close(&router->disk);
	mem_free(router);
}

struct route *core_route(struct core *core)
{
	return core->router->route;
}

void core_router_retire(struct core *core, const struct id *device)
{
	if (!core->router)
		return;
	route_retire(core->router->route, device, clock_wall_ms());
	core_router_sync(core);
}

/* ---- a device's link ---- */

static int link_send(void *ctx, const murmesh_Frame *frame)
{
	return rpc_call_send(((struct core_envelopes *)ctx)->call, frame);
}

static bool link_crowded(void *ctx)
{
	return rpc_call_crowded(((struct core_envelopes *)ctx)->call);
}

static void link_failed(void *ctx, int err)
{
	rpc_call_finish(((struct core_envelopes *)ctx)->call, err, "its messages cannot be read");
}

/* A device speaks for itself, and to the server alone: how many messages it has lost. */
int core_envelope_take(const struct id *device, const murmesh_Envelope *envelope)
{
	char text[ID_TEXT_SIZE];
	if (envelope->which_to != murmesh_Envelope_server_tag)
		return -E_DENIED;
	if (!str_is(str_from(envelope->type), ROUTE_GAP_TYPE))
		return -E_ENVELOPE_TYPE;
	id_format(device, text);
	log_limited(LOG_INFO, "device %s has lost messages to the server", text);
	return 0;
}

/* Nothing goes on from here. */
static int link_destination(void *ctx, const murmesh_Envelope *envelope, struct id *ret)
{
	(void)ret;
	core_envelope_take(&((const struct core_envelopes *)ctx)->device, envelope);
	return -E_UNSUPPORTED;
}

static const struct peer_events peer_events = { link_send, link_crowded, link_failed, link_destination };

struct core_envelopes *core_envelopes_begin(struct core *core, struct rpc_call *call, const struct id *device)
{
	struct core_envelopes *envelopes = core->router ? mem_alloc(sizeof *envelopes) : NULL;
	if (!envelopes)
		return NULL;
	*envelopes = (struct core_envelopes){ .core = core, .call = call, .device = *device };
	if (peer_new(&core->router->peers, device, &peer_events, envelopes, &envelopes->peer) < 0)
		return mem_free(envelopes);
	return envelopes;
}

struct core_envelopes *core_envelopes_end(struct core_envelopes *envelopes)
{
	if (envelopes && envelopes->core->router)
		peer_free(envelopes->peer);
	return mem_free(envelopes);
}

void core_envelopes_frame(struct core_envelopes *envelopes, const murmesh_Frame *frame)
{
	if (!envelopes)
		return;
	peer_frame(envelopes->peer, frame, clock_wall_ms());
	core_router_sync(envelopes->core);
}

void core_envelopes_send(struct core_envelopes *envelopes)
{
	if (envelopes)
		peer_send(envelopes->peer, clock_wall_ms());
}
