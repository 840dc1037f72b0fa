/* Revoked certificates, and who is a relay or a component, for the link role: it refuses whoever shows one of the former, and ends who has; those of users for all agents too, which do the same with
 * the legs that they serve, whoever brought these. */
#include "base/err.h"
#include "base/mem.h"
#include "ca/components.h"
#include "ca/records.h"
#include "os/clock.h"
#include "os/log.h"
#include "server/core.h"

struct follower {
	struct core_job base;
	struct list node; /* in core->followers once its first rows are there */
	struct core_rows rows;
	size_t sent;
	bool here; /* of core's machine, where components connect */
};

static int key_add(void *ctx, enum identity_kind kind, const uint8_t key_hash[HASH_SIZE])
{
	murmesh_Revocation row = { 0 };
	(void)kind;
	memcpy(row.key_hash, key_hash, sizeof row.key_hash);
	return core_rows_add(ctx, &row, sizeof row);
}

static int relay_add(void *ctx, const struct device *device)
{
	murmesh_Revocation row = { 0 };
	memcpy(row.relay, device->id.bytes, sizeof row.relay);
	return core_rows_add(ctx, &row, sizeof row);
}

static int component_add(void *ctx, const struct component_record *component)
{
	murmesh_Revocation row = { .roles = component->roles };
	memcpy(row.component, component->id.bytes, sizeof row.component);
	return component->revoked ? 0 : core_rows_add(ctx, &row, sizeof row);
}

static int user_hash_add(void *ctx, enum identity_kind kind, const uint8_t key_hash[HASH_SIZE])
{
	return kind == IDENTITY_USER ? core_rows_add(ctx, key_hash, HASH_SIZE) : 0;
}

int core_revoked_users(struct store_tx *tx, struct core_rows *rows)
{
	return ca_certificate_each_revoked(tx, 0, clock_wall_s(), user_hash_add, rows);
}

bool core_revoked_frame(const struct core_rows *rows, size_t *at, murmesh_Frame *ret)
{
	*ret = (murmesh_Frame){ .which_body = murmesh_Frame_revoked_tag };
	murmesh_RevokedKeys *revoked = &ret->body.revoked;
	size_t most = sizeof revoked->key_hashes / sizeof *revoked->key_hashes;
	while (revoked->key_hashes_count < most &&
	       core_rows_next(rows, at, revoked->key_hashes[revoked->key_hashes_count], HASH_SIZE))
		revoked->key_hashes_count++;
	return revoked->key_hashes_count > 0;
}

static int follow_run(struct store_tx *tx, struct core_job *job)
{
	struct core_rows *rows = &((struct follower *)job)->rows;
	const murmesh_Revocation listed = { .listed = true };
	int err = ca_certificate_each_revoked(tx, 0, clock_wall_s(), key_add, rows);
	if (err == 0)
		err = fleet_relay_list(tx, relay_add, rows);
	if (err == 0 && ((struct follower *)job)->here)
		err = ca_component_each(tx, component_add, rows);
	return err < 0 ? err : core_rows_add(rows, &listed, sizeof listed);
}

static void follower_send(void *ctx)
{
	struct follower *follower = ctx;
	murmesh_Revocation message;
	size_t at = follower->sent;
	int err = 0;
	while (core_rows_next(&follower->rows, &at, &message, sizeof message) &&
	       (err = rpc_call_send(follower->base.call, &message)) == 0)
		follower->sent = at;
	if (err == 0) {
		core_rows_done(&follower->rows);
		follower->sent = 0;
	} else if (err != -E_FULL)
		rpc_call_finish(follower->base.call, err, NULL);
}

static void on_closed(void *ctx, int err, const char *why)
{
	(void)err;
	(void)why;
	core_job_free(ctx);
}

static void follow_done(struct core_job *job)
{
	static const struct rpc_call_events events = { NULL, NULL, follower_send, on_closed };
	struct follower *follower = (struct follower *)job;
	struct core *core = job->core;
	rpc_call_set_events(job->call, &events, follower);
	if (!rpc_call_alive(job->call))
		return core_job_free(job);
	list_append(&core->followers, &follower->node);
	follower_send(follower); /* it may be gone then */
	if (core->revoke_due)
		core_revoke_tell(core);
}

static void follow_ended(struct core_job *job)
{
	struct follower *follower = (struct follower *)job;
	list_remove(&follower->node);
	core_rows_done(&follower->rows);
}

static void on_request(void *ctx, const void *message)
{
	static const struct rpc_call_events working; /* the job owns the call from here */
	struct follower *follower = ctx;
	(void)message;
	rpc_call_set_events(follower->base.call, &working, NULL);
	core_job_submit(&follower->base);
}

int core_revoke_follow(void *ctx, struct rpc_call *call)
{
	static const struct rpc_call_events events = { on_request, NULL, NULL, on_closed };
	struct follower *follower = core_job_new(ctx, call, sizeof *follower);
	if (!follower)
		return 0;
	list_init(&follower->node);
	follower->here = !rpc_call_peer(call);
	follower->base.run = follow_run;
	follower->base.done = follow_done;
	follower->base.ended = follow_ended;
	rpc_call_accept(call, &rpc_Core_Revocations, &events, follower);
	return 0;
}

/* ---- what is new ---- */

#define RECENT_S 60 /* a hash that comes twice does no harm */

struct tell_job {
	struct store_job job;
	struct core *core;
	struct core_rows rows, users;
	bool all; /* also those before */
};

/* Of both the same rows: a worker's job has one walk. */
static int recent_add(void *ctx, enum identity_kind kind, const uint8_t key_hash[HASH_SIZE])
{
	struct tell_job *tell = ctx;
	int err = key_add(&tell->rows, kind, key_hash);
	return err < 0 ? err : user_hash_add(&tell->users, kind, key_hash);
}

static int tell_run(struct store_tx *tx, struct store_job *job)
{
	int64_t now = clock_wall_s();
	return ca_certificate_each_revoked(tx, ((struct tell_job *)job)->all ? 0 : now - RECENT_S, now, recent_add, job);
}

static void rows_tell(struct core *core, const struct core_rows *rows, bool here_only)
{
	LIST_EACH(at, &core->followers) {
		struct follower *follower = LIST_ENTRY(at, struct follower, node);
		murmesh_Revocation row;
		size_t from = 0;
		int err = 0;
		if (here_only && !follower->here)
			continue;
		while (err == 0 && core_rows_next(rows, &from, &row, sizeof row))
			err = core_rows_add(&follower->rows, &row, sizeof row);
		if (err < 0)
			rpc_call_finish(follower->base.call, err, NULL); /* it follows anew */
		else
			follower_send(follower);
	}
}

void core_relay_tell(struct core *core, const struct id *device, bool relay)
{
	murmesh_Revocation row = { .ended = !relay };
	struct core_rows rows = { 0 };
	memcpy(row.relay, device->bytes, sizeof row.relay);
	if (core_rows_add(&rows, &row, sizeof row) == 0)
		rows_tell(core, &rows, false);
	core_rows_done(&rows);
}

void core_component_tell(struct core *core, const struct id *component, unsigned roles)
{
	murmesh_Revocation row = { .ended = !roles, .roles = roles };
	struct core_rows rows = { 0 };
	memcpy(row.component, component->bytes, sizeof row.component);
	if (core_rows_add(&rows, &row, sizeof row) == 0)
		rows_tell(core, &rows, true);
	core_rows_done(&rows);
}

static void users_tell(struct core *core, const struct core_rows *rows)
{
	static murmesh_Frame frame;
	for (size_t at = 0; core_revoked_frame(rows, &at, &frame);)
		core_link_send_all(core, &frame);
}

/* Link asks for all of them again, in a second; agents are told then. */
static void tell_later(struct core *core, int err, const char *why)
{
	log_limited(LOG_WARNING, "revoked certificates are not told of yet: %s %s", err_text(err), why);
	core->revoke_due = true;
	LIST_EACH(at, &core->followers)
		rpc_call_finish(LIST_ENTRY(at, struct follower, node)->base.call, err, NULL);
}

static void tell_done(struct store_job *job, int err)
{
	struct tell_job *tell = (struct tell_job *)job;
	if (err < 0)
		tell_later(tell->core, err, job->detail);
	else {
		rows_tell(tell->core, &tell->rows, false);
		users_tell(tell->core, &tell->users);
	}
	core_rows_done(&tell->rows);
	core_rows_done(&tell->users);
	mem_free(tell);
}

void core_revoke_tell(struct core *core)
{
	core_ended_tell(core);
	bool all = core->revoke_due;
	core->revoke_due = list_empty(&core->followers);
	if (core->revoke_due)
		return;
	struct tell_job *tell = mem_alloc(sizeof *tell);
	if (!tell)
		return tell_later(core, -E_NO_MEMORY, "");
	tell->job.run = tell_run;
	tell->job.done = tell_done;
	tell->core = core;
	tell->all = all;
	int err = store_submit(core->store, &tell->job);
	if (err < 0) {
		mem_free(tell);
		tell_later(core, err, "");
	}
}
