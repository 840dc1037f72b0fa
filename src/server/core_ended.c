/* Relays and components that have ended, and whose certificates would else still be good: told to all agents, so that none takes such a one for its parent.  Signed, since
 * relays pass it on. */
#include "base/err.h"
#include "base/mem.h"
#include "ca/records.h"
#include "os/clock.h"
#include "os/log.h"
#include "server/core.h"

#define KEYS_MAX (sizeof((murmesh_RelaysEnded *)0)->key_hashes / HASH_SIZE)

struct ended_job {
	struct store_job job;
	struct core *core;
	struct core_rows keys;
};

static void frame_make(const struct core *core, murmesh_Frame *ret)
{
	*ret = (murmesh_Frame){ .which_body = murmesh_Frame_relays_ended_tag, .body.relays_ended = core->relays_ended };
}

static void on_signed(void *ctx, int err, const char *why, const void *response)
{
	static murmesh_Frame frame;
	struct core *core = ctx;
	core->relays_ended_due = err < 0;
	if (err < 0) {
		memset(core->relays_ended_hash, 0, sizeof core->relays_ended_hash);
		log_limited(LOG_WARNING, "agents are not told yet which relays have ended: %s %s", err_text(err), why);
		return;
	}
	core->relays_ended = *(const murmesh_SignedDocument *)response;
	core->has_relays_ended = true;
	frame_make(core, &frame);
	core_link_send_all(core, &frame);
}

static int key_add(void *ctx, enum identity_kind kind, const uint8_t key_hash[HASH_SIZE])
{
	return kind == IDENTITY_RELAY || kind == IDENTITY_COMPONENT ? core_rows_add(ctx, key_hash, HASH_SIZE) : 0;
}

static int ended_run(struct store_tx *tx, struct store_job *job)
{
	return ca_certificate_each_revoked(tx, 0, clock_wall_s(), key_add, &((struct ended_job *)job)->keys);
}

/* The newest, when they are too many. */
static void document_fill(const struct core *core, const struct core_rows *keys, murmesh_RelaysEnded *ret)
{
	size_t skip = keys->n > KEYS_MAX ? keys->n - KEYS_MAX : 0, at = 0;
	*ret = (murmesh_RelaysEnded){ .created_ms = clock_wall_ms() };
	memcpy(ret->mesh, core->mesh_id.bytes, sizeof ret->mesh);
	for (size_t i = 0; i < skip; i++)
		core_rows_next(keys, &at, ret->key_hashes[0], HASH_SIZE);
	while (ret->key_hashes_count < KEYS_MAX && core_rows_next(keys, &at, ret->key_hashes[ret->key_hashes_count], HASH_SIZE))
		ret->key_hashes_count++;
}

static int list_sign(struct core *core, const struct core_rows *keys)
{
	static murmesh_RelaysEnded document;
	static murmesh_SignRequest request;
	uint8_t hash[HASH_SIZE];
	document_fill(core, keys, &document);
	hash_sha256(document.key_hashes, (size_t)document.key_hashes_count * HASH_SIZE, hash);
	if (!document.key_hashes_count || (core->has_relays_ended && hash_equal(hash, core->relays_ended_hash)))
		return 0;
	memcpy(core->relays_ended_hash, hash, sizeof hash);
	int err = core->ca ? core_document(murmesh_RelaysEnded_fields, &document, AUTHORITY_RELAYS_ENDED, &request) : -E_BUSY;
	return err < 0 ? err : rpc_unary(core->ca, &rpc_Ca_Sign, &request, 10000, on_signed, core);
}

static void ended_done(struct store_job *job, int err)
{
	struct ended_job *ended = (struct ended_job *)job;
	if (err == 0)
		err = list_sign(ended->core, &ended->keys);
	if (err < 0)
		on_signed(ended->core, err, job->detail, NULL);
	core_rows_done(&ended->keys);
	mem_free(ended);
}

void core_ended_tell(struct core *core)
{
	struct ended_job *ended = mem_alloc(sizeof *ended);
	core->relays_ended_due = !ended;
	if (!ended)
		return;
	ended->job.run = ended_run;
	ended->job.done = ended_done;
	ended->core = core;
	if (store_submit(core->store, &ended->job) < 0) {
		core->relays_ended_due = true;
		mem_free(ended);
	}
}

void core_ended_described(struct core *core)
{
	core->has_relays_ended = false;
	core_ended_tell(core);
}

void core_ended_retry(struct core *core)
{
	if (core->relays_ended_due)
		core_ended_tell(core);
}

int core_ended_welcome(const struct core *core, struct rpc_call *link)
{
	static murmesh_Frame frame;
	if (!core->has_relays_ended)
		return 0;
	frame_make(core, &frame);
	return rpc_call_send(link, &frame);
}
