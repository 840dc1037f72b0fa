/* What goes on on devices: the viz role shows it to whoever has a ticket, for the devices that core names with it. */
#include "base/err.h"
#include "os/log.h"
#include "os/random.h"
#include "server/core.h"

#define ANNOUNCE_MS 5000
#define AGAIN_MS    1000

struct scope {
	const struct user *user;
	struct core_rows *rows; /* ids */
};

static int scope_add(void *ctx, const struct device *device)
{
	const struct scope *scope = ctx;
	if (!account_reaches(scope->user, device->group))
		return 0;
	if (scope->rows->n == sizeof((murmesh_WatchAnnouncement *)0)->devices / sizeof *((murmesh_WatchAnnouncement *)0)->devices)
		return -E_LIMIT;
	return core_rows_add(scope->rows, &device->id, sizeof device->id);
}

static int one_device(struct store_tx *tx, const murmesh_LiveRequest *message, const struct user *user, struct core_rows *rows)
{
	struct device device;
	struct id id;
	if (message->device.size != sizeof id.bytes)
		return -E_ID;
	memcpy(id.bytes, message->device.bytes, sizeof id.bytes);
	int err = core_device_get(tx, user, &id, &device);
	return err < 0 ? err : core_rows_add(rows, &device.id, sizeof device.id);
}

/* No rows: all devices. */
int core_live_run(struct store_tx *tx, struct core_request *request)
{
	const murmesh_LiveRequest *message = request->message;
	static const struct id nobody;
	struct user user;
	struct scope scope = { &user, &request->rows };
	int err = core_caller_check(tx, &request->caller, ACCOUNT_LIST, &user);
	if (err == 0 && message->device.size)
		return one_device(tx, message, &user, &request->rows);
	if (err < 0 || user.all_groups)
		return err;
	err = fleet_device_list(tx, scope_add, &scope);
	if (err == -E_LIMIT)
		snprintf(request->base.why, sizeof request->base.why, "too many devices at once: open the page of one");
	return err == 0 && !request->rows.n ? core_rows_add(&request->rows, &nobody, sizeof nobody) : err;
}

static void on_announced(void *ctx, int err, const char *why, const void *response)
{
	struct core_request *request = ctx;
	(void)response;
	if (err < 0)
		core_job_fail(&request->base, err, why);
	else
		core_request_answer(request);
}

void core_live_done(struct core_request *request)
{
	static murmesh_WatchAnnouncement announcement;
	murmesh_LiveTicket *ticket = request->reply;
	struct id id;
	size_t at = 0;
	random_bytes(ticket->ticket, sizeof ticket->ticket);
	announcement.all = !request->rows.n;
	announcement.fleet = !((const murmesh_LiveRequest *)request->message)->device.size;
	announcement.devices_count = 0;
	memcpy(announcement.user, request->caller.user.bytes, sizeof announcement.user);
	memcpy(announcement.ticket, ticket->ticket, sizeof announcement.ticket);
	while (core_rows_next(&request->rows, &at, &id, sizeof id)) {
		if (id_is_zero(&id))
			continue; /* nobody */
		announcement.devices[announcement.devices_count].size = sizeof id.bytes;
		memcpy(announcement.devices[announcement.devices_count++].bytes, id.bytes, sizeof id.bytes);
	}
	struct rpc_connection *viz = request->base.core->viz;
	int err = viz ? rpc_unary(viz, &rpc_Viz_Announce, &announcement, ANNOUNCE_MS, on_announced, request) : -E_BUSY;
	if (err < 0)
		core_job_fail(&request->base, err, NULL);
}

/* viz may be on another machine, and browsers watch there without us: until it has answered nobody's watches are known to have ended. */
static void on_ended(void *ctx, int err, const char *why, const void *response)
{
	struct core *core = ctx;
	(void)response;
	if (err == 0)
		return;
	if (err != -E_CLOSED)
		log_limited(LOG_WARNING, "watches of what goes on were not ended, which is tried again: %s %s", err_text(err), why);
	io_timer_start(core->watches_again, AGAIN_MS, 0);
}

static void ends_tell(struct core *core, const murmesh_WatchesEnd *end)
{
	int err = core->viz ? rpc_unary(core->viz, &rpc_Viz_EndWatches, end, ANNOUNCE_MS, on_ended, core) : -E_CLOSED;
	if (err < 0)
		on_ended(core, err, "", NULL);
}

void core_live_end(struct core *core, const struct id *user)
{
	murmesh_WatchesEnd end = murmesh_WatchesEnd_init_zero;
	if (user) {
		end.user.size = sizeof user->bytes;
		memcpy(end.user.bytes, user->bytes, sizeof user->bytes);
	}
	ends_tell(core, &end);
}

void core_live_end_again(void *core)
{
	ends_tell(core, &(const murmesh_WatchesEnd){ .everybody = true });
}
