/* The mesh's policy, as ca described it: what core itself goes by, and agents that have an older one. */
#include <errno.h>
#include <pb_decode.h>

#include "base/err.h"
#include "base/mem.h"
#include "ca/folder.h"
#include "os/log.h"
#include "server/core.h"

static int policy_read(const murmesh_SignedDocument *document, struct core_policy *ret) /* on both threads */
{
	murmesh_Policy policy;
	pb_istream_t in = pb_istream_from_buffer(document->document.bytes, document->document.size);
	if (!pb_decode(&in, murmesh_Policy_fields, &policy))
		return -E_MESSAGE;
	ret->version = policy.version;
	ret->users_sign = !str_is(str_from(policy.mode), "server");
	ret->two_above = policy.two_signatures_above;
	return 0;
}

/* ---- agents ---- */

void core_policy_welcome(const struct core *core, uint64_t version, murmesh_Welcome *welcome)
{
	welcome->has_policy = core->described && version < core->policy.version;
	if (welcome->has_policy)
		welcome->policy = core->mesh.policy;
}

static void tell_links(struct core *core)
{
	static murmesh_Frame frame = { .which_body = murmesh_Frame_policy_tag };
	frame.body.policy = core->mesh.policy;
	core_link_send_all(core, &frame);
}

/* ---- audit ---- */

struct changed_job {
	struct store_job job;
	char version[32];
	const char *mode;
};

static int changed_run(struct store_tx *tx, struct store_job *job)
{
	const struct changed_job *changed = (const struct changed_job *)job;
	return core_audit(tx, "server", "policy changed", changed->version, changed->mode);
}

static void changed_done(struct store_job *job, int err)
{
	if (err < 0)
		log_warning("the audit log does not say that the policy changed: %s %s", err_text(err), job->detail);
	mem_free(job);
}

static void audit_change(const struct core *core)
{
	struct changed_job *changed = mem_alloc(sizeof *changed);
	if (!changed)
		return;
	changed->job.run = changed_run;
	changed->job.done = changed_done;
	snprintf(changed->version, sizeof changed->version, "version %llu", (unsigned long long)core->policy.version);
	changed->mode = core->policy.users_sign ? "mode signed" : "mode server";
	if (store_submit(core->store, &changed->job) < 0)
		mem_free(changed);
}

/* ---- copies: for the day on which ca's folder is lost ---- */

#define COPIES "intermediates.crt"

struct copy_job {
	struct store_job job;
	const char *directory;
	murmesh_CertificateReply mesh;
};

/* Those that were seen before, and what ca says now. */
static int intermediates_copy(const struct copy_job *copy)
{
	struct certificate *all[2 * FORMERS_MAX + 1];
	const murmesh_CertificateReply *mesh = &copy->mesh;
	int kept = folder_certificates_read(copy->directory, COPIES, all, FORMERS_MAX);
	size_t n = kept > 0 ? (size_t)kept : 0;
	int err = kept < 0 && kept != -ENOENT ? kept : 0;
	for (pb_size_t i = 0; err == 0 && i < mesh->former_count; i++, n += err == 0)
		err = certificate_read(mesh->former[i].bytes, mesh->former[i].size, &all[n]);
	if (err == 0) {
		err = certificate_read(mesh->intermediate.bytes, mesh->intermediate.size, &all[n]);
		n += err == 0;
	}
	if (err == 0)
		err = folder_formers_adopt(copy->directory, COPIES, all, n);
	for (size_t i = 0; i < n; i++)
		certificate_free(all[i]);
	return err;
}

/* Never an older one: a certification manager from a backup does not know what has been. */
static int policy_copy(const struct copy_job *copy)
{
	murmesh_SignedDocument *kept = mem_alloc(sizeof *kept);
	struct core_policy old = { 0 }, new;
	int err = kept ? folder_policy_read(copy->directory, kept) : -E_NO_MEMORY;
	if (err == 0)
		err = policy_read(kept, &old);
	mem_free(kept);
	if (err == 0 || err == -ENOENT)
		err = policy_read(&copy->mesh.policy, &new);
	if (err == 0 && new.version > old.version)
		err = folder_policy_write(copy->directory, "policy", &copy->mesh.policy);
	return err;
}

static int copy_run(struct store_tx *tx, struct store_job *job)
{
	const struct copy_job *copy = (const struct copy_job *)job;
	(void)tx;
	int err = intermediates_copy(copy);
	return err < 0 ? err : policy_copy(copy);
}

static void copy_done(struct store_job *job, int err)
{
	if (err < 0)
		log_warning("the certification manager's certificates were not copied: %s", err_text(err));
	mem_free(job);
}

static void copy_begin(const struct core *core)
{
	struct copy_job *copy = core->child ? mem_alloc(sizeof *copy) : NULL;
	if (!copy)
		return;
	copy->job.run = copy_run;
	copy->job.done = copy_done;
	copy->directory = priv_child_directory(core->child);
	copy->mesh = core->mesh;
	if (store_submit(core->store, &copy->job) < 0)
		mem_free(copy);
}

/* ---- roles with a certificate of their own ---- */

struct ca_follower {
	struct list node;
	struct rpc_call *call;
};

static void on_follower_closed(void *ctx, int err, const char *why)
{
	struct ca_follower *follower = ctx;
	(void)err;
	(void)why;
	list_remove(&follower->node);
	mem_free(follower);
}

int core_policy_follow(void *ctx, struct rpc_call *call)
{
	static const struct rpc_call_events events = { NULL, NULL, NULL, on_follower_closed };
	struct core *core = ctx;
	struct ca_follower *follower = mem_alloc(sizeof *follower);
	if (!follower)
		return -E_NO_MEMORY;
	follower->call = call;
	list_append(&core->ca_followers, &follower->node);
	rpc_call_accept(call, &rpc_Core_CaChanges, &events, follower);
	return 0;
}

static void tell_followers(struct core *core)
{
	const murmesh_CaDescribe changed = murmesh_CaDescribe_init_zero;
	LIST_EACH(at, &core->ca_followers)
		rpc_call_send(LIST_ENTRY(at, struct ca_follower, node)->call, &changed);
}

static bool intermediate_changed(struct core *core)
{
	uint8_t hash[HASH_SIZE];
	hash_sha256(core->mesh.intermediate.bytes, core->mesh.intermediate.size, hash);
	bool changed = !hash_equal(hash, core->intermediate_hash);
	memcpy(core->intermediate_hash, hash, sizeof hash);
	return changed;
}

/* ---- ca ---- */

static void reloaded(struct core *core, int err)
{
	const murmesh_Nothing nothing = murmesh_Nothing_init_zero;
	struct rpc_call *call = core->reload;
	core->reload = NULL;
	if (!call)
		return;
	if (err < 0)
		rpc_call_finish(call, err, NULL);
	else
		rpc_call_reply(call, &nothing);
	rpc_call_unref(call);
}

void core_policy_described(struct core *core)
{
	uint64_t before = core->policy.version;
	bool other = intermediate_changed(core);
	int err = policy_read(&core->mesh.policy, &core->policy);
	if (err < 0)
		log_error("the policy of the mesh cannot be read: %s", err_text(err));
	else if (before && core->policy.version != before) {
		audit_change(core);
		tell_links(core);
	}
	if (other)
		tell_followers(core);
	if (err == 0)
		copy_begin(core);
	reloaded(core, err);
}

/* Its end is what was asked for; the next one is described. */
static void on_reload_done(void *ctx, int err, const char *why, const void *response)
{
	(void)response;
	(void)why;
	if (err < 0 && err != -E_CLOSED)
		reloaded(ctx, err);
}

void core_policy_reload(void *ctx, struct rpc_call *call, const void *message)
{
	const murmesh_CaDescribe request = murmesh_CaDescribe_init_zero;
	struct core *core = ctx;
	(void)message;
	reloaded(core, -E_BUSY); /* one that waits */
	core->reload = rpc_call_ref(call);
	int err = core->ca ? rpc_unary(core->ca, &rpc_Ca_Reload, &request, 10000, on_reload_done, core) : -E_BUSY;
	if (err < 0)
		reloaded(core, err);
}
