/* How long it takes to a device and back, and to each relay on the way. */
#include "base/err.h"
#include "base/mem.h"
#include "os/clock.h"
#include "server/core.h"

#define PINGS_MAX 64 /* under way */
#define ANSWER_MS 5000

struct ping {
	struct list node; /* core->pings */
	struct core_request *request;
	struct io_timer *deadline;
	uint64_t number, sent_us;
	struct id ids[RPC_VIA_MAX + 1]; /* of the reply's hops */
	size_t waiting;
};

static void ping_end(struct ping *ping)
{
	list_remove(&ping->node);
	ping->request->base.core->n_pings--;
	io_timer_free(ping->deadline);
	core_request_answer(ping->request);
	mem_free(ping);
}

static void on_deadline(void *ctx)
{
	ping_end(ctx);
}

static void hop_add(struct ping *ping, const struct id *id, const char *name)
{
	const murmesh_Frame frame = { .which_body = murmesh_Frame_ping_tag, .body.ping.number = ping->number };
	murmesh_Path *path = ping->request->reply;
	int err = core_link_send(ping->request->base.core, id, &frame);
	murmesh_Hop *hop = &path->hops[path->hops_count];
	str_copy(str_from(name ? name : "?"), hop->full_name, sizeof hop->full_name);
	hop->error = err < 0 ? (uint32_t)-err : E_TIMEOUT; /* until it has answered */
	ping->waiting += err == 0;
	ping->ids[path->hops_count++] = *id;
}

void core_ping_done(struct core_request *request)
{
	struct core *core = request->base.core;
	char full_name[FLEET_FULL_NAME];
	struct id via[RPC_VIA_MAX];
	struct device device;
	size_t at = 0;
	if (!core_rows_next(&request->rows, &at, &device, sizeof device)) /* how far the server is */
		return core_request_answer(request);
	struct ping *ping = core->n_pings < PINGS_MAX ? mem_alloc(sizeof *ping) : NULL;
	if (!ping)
		return core_job_fail(&request->base, -E_BUSY, NULL);
	ping->request = request;
	ping->number = ++core->last_ping;
	ping->sent_us = clock_monotonic_us();
	ping->deadline = io_timer_new(core->loop, on_deadline, ping);
	list_append(&core->pings, &ping->node);
	core->n_pings++;
	for (size_t i = core_link_via(core, &device.id, via); i > 0; i--)
		hop_add(ping, &via[i - 1], core_relay_name(core, &via[i - 1]));
	fleet_full_name(&device, full_name);
	hop_add(ping, &device.id, full_name);
	if (!ping->waiting || !ping->deadline)
		return ping_end(ping);
	io_timer_start(ping->deadline, ANSWER_MS, 0);
}

void core_ping_answered(struct core *core, const struct id *device, uint64_t number)
{
	LIST_EACH(at, &core->pings) {
		struct ping *ping = LIST_ENTRY(at, struct ping, node);
		murmesh_Path *path = ping->request->reply;
		for (pb_size_t i = 0; ping->number == number && i < path->hops_count; i++)
			if (path->hops[i].error == E_TIMEOUT && id_equal(&ping->ids[i], device)) {
				path->hops[i].microseconds = clock_monotonic_us() - ping->sent_us;
				path->hops[i].error = 0;
				return --ping->waiting ? (void)0 : ping_end(ping);
			}
	}
}

void core_pings_end(struct core *core)
{
	LIST_EACH(at, &core->pings)
		ping_end(LIST_ENTRY(at, struct ping, node));
}

int core_ping_run(struct store_tx *tx, struct core_request *request)
{
	const murmesh_DeviceName *message = request->message;
	struct device device;
	struct user user;
	if (!message->selector[0])
		return core_caller_check(tx, &request->caller, ACCOUNT_LIST, &user);
	int err = core_device_asked_name(tx, request, &device);
	return err < 0 ? err : core_rows_device(&request->rows, &device);
}

int core_ping_by_id_run(struct store_tx *tx, struct core_request *request)
{
	struct device device;
	int err = core_device_asked_id(tx, request, &device);
	return err < 0 ? err : core_rows_device(&request->rows, &device);
}
