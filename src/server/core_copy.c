/* Copies of a device (ca/continuity.h): noticed when a link or a late renewal begins, frozen until a person has decided, and, where that was let
 * in, made machines of their own. */
#include "base/err.h"
#include "base/mem.h"
#include "ca/approvals.h"
#include "ca/continuity.h"
#include "ca/join_line.h"
#include "os/clock.h"
#include "os/log.h"
#include "server/core.h"

#define LINE_S        ((int64_t)7 * 86400) /* a machine whose server or network is away for a while still becomes one of its own */
#define LINES_PER_DAY 5                    /* of one device: each may be a machine that waits for approval */

/* Also when it has been frozen for long, and what asked people was forgotten. */
int core_copy_check(struct store_tx *tx, const struct device *device, uint64_t shown, const char *address,
                    struct approval *ret_asked)
{
	struct approval before;
	bool now;
	int err = ca_continuity_check(tx, &device->id, shown, clock_wall_s(), &now);
	if (err != -E_FROZEN)
		return err;
	int asked = ca_approval_get(tx, &device->id, APPROVAL_COPY, &before);
	if (asked < 0 && asked != -E_NOT_FOUND)
		return asked;
	if (!now && asked == 0 && before.state == APPROVAL_WAITING)
		return err;
	core_approval_of_device(device, APPROVAL_COPY, ret_asked);
	str_copy(str_from(address), ret_asked->address, sizeof ret_asked->address);
	asked = core_approval_ask(tx, ret_asked);
	return asked < 0 ? asked : err;
}

void core_copy_seen(struct core *core, const struct approval *asked)
{
	log_warning("%s: two machines have shown its identity; it is frozen until somebody decides", asked->name);
	core_link_end(core, &asked->device, -E_FROZEN, NULL);
	core_pairs_close(core, NULL, &asked->device);
	core_watch_approval(core, asked);
}

/* ---- Split ---- */

struct split_job {
	struct core_job base;
	struct id device;
	murmesh_SplitRequest request;
	murmesh_SplitReply reply;
	struct join_line line;
};

/* As a machine of the same group; without anything else of the other's. */
static int key_add(struct store_tx *tx, const struct split_job *split, const struct device *device)
{
	struct join_key key = {
		.id = split->line.key, .uses_left = 1, .approve = split->request.machine_changed, .created_by = device->id
	};
	char full_name[FLEET_FULL_NAME], id[ID_TEXT_SIZE];
	key.created = clock_wall_s();
	key.expires = key.created + LINE_S;
	str_copy(str_from(device->group), key.group, sizeof key.group);
	join_secret_key(split->line.secret, key.secret_key);
	int err = ca_join_key_add(tx, &key);
	mem_wipe(&key, sizeof key);
	fleet_full_name(device, full_name);
	id_format(&split->line.key, id);
	return err < 0 ? err
	               : core_audit(tx, full_name, "join key for a copy made", id,
	                            split->request.machine_changed ? "its machine-id is another" : "as decided");
}

static int split_run(struct store_tx *tx, struct core_job *job)
{
	struct split_job *split = (struct split_job *)job;
	struct device device;
	int64_t recent;
	int err = fleet_device_live(tx, &split->device, &device);
	if (err == 0 && !split->request.machine_changed)
		err = ca_continuity_let_in(tx, &device.id, split->request.continuation);
	if (err == 0)
		err = ca_join_key_count(tx, &device.id, clock_wall_s() - 86400, &recent);
	if (err == 0 && recent >= LINES_PER_DAY)
		err = -E_LIMIT;
	return err < 0 ? err : key_add(tx, split, &device);
}

static void split_done(struct core_job *job)
{
	rpc_call_reply(job->call, &((struct split_job *)job)->reply);
	core_job_free(job);
}

static void split_ended(struct core_job *job)
{
	struct split_job *split = (struct split_job *)job;
	mem_wipe(&split->line, sizeof split->line);
	mem_wipe(&split->reply, sizeof split->reply);
}

void core_copy_split(void *ctx, struct rpc_call *call, const void *message)
{
	struct core *core = ctx;
	struct split_job *job = core_job_new(core, call, sizeof *job);
	if (!job)
		return;
	job->base.run = split_run;
	job->base.done = split_done;
	job->base.ended = split_ended;
	job->device = rpc_call_peer(call)->id;
	job->request = *(const murmesh_SplitRequest *)message;
	int err = core->described ? core_line_make(core, &job->line, job->reply.join) : -E_BUSY;
	if (err < 0)
		return core_job_fail(&job->base, err, NULL);
	core_job_submit(&job->base);
}
