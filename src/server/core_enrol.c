/* Enrolment, renewal, and certificates for users and the server's own roles.  Ids, names and rights are decided here; ca only signs. */
#include "account/account.h"
#include "audit/audit.h"
#include "base/err.h"
#include "base/mem.h"
#include "ca/approvals.h"
#include "ca/authority.h"
#include "ca/components.h"
#include "ca/join_line.h"
#include "ca/records.h"
#include "fleet/fleet.h"
#include "gateway/gateway.h"
#include "os/clock.h"
#include "os/log.h"
#include "os/network.h"
#include "os/random.h"
#include "server/core.h"

#define BACKDATE_S                 300   /* clocks of new machines are a little wrong */
#define SERVES_S                   86400 /* of link on another machine: who connects there does not hear when that was shut out */
#define CERTIFICATES_PER_DAY       24    /* of one machine and kind: each is kept for months, and audited for ever */
#define RELAY_CERTIFICATES_PER_DAY 100   /* it keeps none over a restart; core_ended.c lists those of a week */
#define USER_CERTIFICATES_PER_DAY  1000  /* of one user; `local` needs one for every command */

/* ---- RequestToken ---- */

struct token_job {
	struct core_job base;
	murmesh_TokenRequest request;
	murmesh_Token reply;
};

/* The key first: a stranger without one makes nothing be written, not even something that is taken back. */
static int token_run(struct store_tx *tx, struct core_job *job)
{
	struct token_job *token = (struct token_job *)job;
	struct str name = str_from(token->request.name);
	struct enrolment enrolment;
	struct join_key usable;
	struct id key;
	int64_t number;
	memcpy(key.bytes, token->request.key_id, sizeof key.bytes);
	int err = ca_join_key_find(tx, &key, clock_wall_s(), &usable);
	mem_wipe(&usable, sizeof usable);
	if (err == 0)
		err = fleet_token_next(tx, name, &number);
	if (err == 0)
		err = ca_enrolment_begin(tx, &key, name, number, clock_wall_s(), &enrolment);
	if (err < 0)
		return err;
	memcpy(token->reply.enrolment, enrolment.token.bytes, sizeof token->reply.enrolment);
	token->reply.number = (uint32_t)number;
	snprintf(token->reply.full_name, sizeof token->reply.full_name, "%s-%u", enrolment.name, token->reply.number);
	return 0;
}

static void token_done(struct core_job *job)
{
	rpc_call_reply(job->call, &((struct token_job *)job)->reply);
	core_job_free(job);
}

void core_enrol_token(void *ctx, struct rpc_call *call, const void *request)
{
	struct token_job *job = core_job_new(ctx, call, sizeof *job);
	if (!job)
		return;
	job->base.run = token_run;
	job->base.done = token_done;
	job->request = *(const murmesh_TokenRequest *)request;
	core_job_submit(&job->base);
}

/* ---- any certificate: decide (job), sign (ca), keep (job), answer ---- */

struct certificate_job {
	struct core_job base;
	int (*decide)(struct store_tx *tx, struct certificate_job *job); /* fills issue and the texts; -E_... with base.why */
	murmesh_CheckedRequest request;
	struct identity peer;      /* of a renewal */
	struct core_caller caller; /* a user's own */
	murmesh_IssueRequest issue;
	murmesh_Issued issued;
	struct certificate_record record;
	struct device added;            /* a new one; else its id is zero */
	struct component_record joined; /* the same */
	bool pending;                   /* it waits for approval */
	int refused;                    /* after something was kept about it */
	struct approval asked;          /* now; else its id is zero */
	const char *action;             /* for audit */
	char actor[128];
	char too_old[FLEET_FULL_NAME]; /* a relay whose request is not signed; else "" */
};

/* A machine's management part keeps the key that it enrolled with: its net role knows the join key too, and must not get a certificate in the
 * other's name. */
static int manager_check(struct store_tx *tx, const struct certificate_record *record)
{
	bool other = false;
	int err = record->kind == IDENTITY_MANAGER ? ca_certificate_has_other_key(tx, record, &other) : 0;
	return err < 0 ? err : other ? -E_DENIED : 0;
}

static int keep_run(struct store_tx *tx, struct core_job *base)
{
	struct certificate_job *job = (struct certificate_job *)base;
	const struct audit_event event = { str_from(job->actor), str_from(job->action), str_from(job->issue.common_name),
		                           str_from(identity_kind_name(job->record.kind)) };
	int err = manager_check(tx, &job->record);
	if (err == 0)
		err = ca_certificate_add(tx, &job->record);
	return err < 0 ? err : audit_append(tx, clock_wall_s(), &event);
}

/* Made as late as this: jobs that wait stay small, whoever sends many. */
static void keep_done(struct core_job *base)
{
	static murmesh_CertificateReply reply;
	struct certificate_job *job = (struct certificate_job *)base;
	reply = base->core->mesh; /* intermediate, root, policy */
	if (job->issue.kind != murmesh_CertificateKind_COMPONENT && job->issue.kind != murmesh_CertificateKind_RELAY)
		reply.former_count = 0; /* only who meets them needs them */
	reply.status = murmesh_CertificateStatus_ISSUED;
	reply.leaf.size = job->issued.leaf.size;
	memcpy(reply.leaf.bytes, job->issued.leaf.bytes, job->issued.leaf.size);
	memcpy(reply.device_id, job->issue.id, sizeof reply.device_id);
	str_copy(str_from(job->issue.common_name), reply.full_name, sizeof reply.full_name);
	reply.server_time = clock_wall_s();
	rpc_call_reply(base->call, &reply);
	core_job_free(base);
}

static void on_issued(void *ctx, int err, const char *why, const void *response)
{
	struct certificate_job *job = ctx;
	if (err < 0)
		return core_job_fail(&job->base, err, why);
	job->issued = *(const murmesh_Issued *)response;
	job->record.kind = (enum identity_kind)job->issue.kind;
	memcpy(job->record.subject.bytes, job->issue.id, sizeof job->issue.id);
	memcpy(job->record.serial, job->issued.serial, sizeof job->issued.serial);
	memcpy(job->record.key_hash, job->issued.key_hash, sizeof job->issued.key_hash);
	job->record.not_before = job->issue.not_before;
	job->record.not_after = job->issue.not_after;
	job->base.run = keep_run;
	job->base.done = keep_done;
	core_job_submit(&job->base);
}

static void pending_done(struct certificate_job *job)
{
	static murmesh_CertificateReply reply;
	reply = (murmesh_CertificateReply){ .status = murmesh_CertificateStatus_PENDING, .server_time = clock_wall_s() };
	str_copy(str_from(job->issue.common_name), reply.full_name, sizeof reply.full_name);
	rpc_call_reply(job->base.call, &reply);
	if (!id_is_zero(&job->asked.device))
		core_watch_approval(job->base.core, &job->asked);
	core_job_free(&job->base);
}

static void decide_done(struct core_job *base)
{
	struct certificate_job *job = (struct certificate_job *)base;
	if (job->refused) {
		core_copy_seen(base->core, &job->asked);
		return core_job_fail(base, job->refused, NULL);
	}
	if (job->pending)
		return pending_done(job);
	if (!id_is_zero(&job->added.id))
		core_watch_device(base->core, &job->added, NULL);
	if (!id_is_zero(&job->joined.id))
		core_component_joined(base->core, &job->joined);
	job->issue.key.size = job->request.key.size;
	memcpy(job->issue.key.bytes, job->request.key.bytes, job->request.key.size);
	job->issue.not_before = clock_wall_s() - BACKDATE_S;
	job->issue.not_after = clock_wall_s() + (job->issue.kind == murmesh_CertificateKind_USER ? AUTHORITY_USER_S
	                                         : job->request.serves                           ? SERVES_S
	                                                                                         : AUTHORITY_LEAF_S);
	int err = base->core->ca && base->core->described ? 0 : -E_BUSY;
	if (err == 0)
		err = rpc_unary(base->core->ca, &rpc_Ca_Issue, &job->issue, 10000, on_issued, job);
	if (err < 0)
		core_job_fail(base, err, NULL);
}

static int decide_run(struct store_tx *tx, struct core_job *base)
{
	struct certificate_job *job = (struct certificate_job *)base;
	return job->decide(tx, job);
}

static void certificate_ended(struct core_job *base)
{
	const struct certificate_job *job = (const struct certificate_job *)base;
	if (job->too_old[0])
		log_limited(LOG_WARNING, "the relay %s gets no certificate, and serves nobody: update murmesh-agent there",
		            job->too_old);
}

static struct certificate_job *certificate_job_new(struct core *core, struct rpc_call *call, const char *action,
                                                   int (*decide)(struct store_tx *tx, struct certificate_job *job))
{
	struct certificate_job *job = core_job_new(core, call, sizeof *job);
	if (!job)
		return NULL;
	job->base.run = decide_run;
	job->base.done = decide_done;
	job->base.ended = certificate_ended;
	job->decide = decide;
	job->action = action;
	return job;
}

/* The identity that the certificate is for. */
static void issue_for(struct certificate_job *job, murmesh_CertificateKind kind, const struct id *id, const char *common_name)
{
	job->issue.kind = kind;
	memcpy(job->issue.id, id->bytes, sizeof job->issue.id);
	str_copy(str_from(common_name), job->issue.common_name, sizeof job->issue.common_name);
	id_format(id, job->issue.names[0]); /* agents: DNS name = device id, for stock clients */
	job->issue.names_count = kind == murmesh_CertificateKind_NODE || kind == murmesh_CertificateKind_RELAY;
	if (kind == murmesh_CertificateKind_COMPONENT) /* with which it connects: nobody takes it for a server's */
		job->issue.usage = CERTIFICATE_CLIENT;
}

static int proof_check(const struct join_key *key, const murmesh_CheckedRequest *request, const char *full_name)
{
	uint8_t proof[HASH_SIZE];
	join_proof(key->secret_key, request->csr_hash, str_from(full_name), proof);
	bool here = !key->network[0] || network_ranges_have(str_from(key->network), str_from(request->address));
	return !hash_equal(proof, request->request.proof) ? -E_KEY_PROOF : here ? 0 : -E_KEY_NETWORK;
}

/* May this machine, which enrolled before, have another certificate? */
static int device_check(struct store_tx *tx, const struct id *id, enum identity_kind kind, struct device *ret)
{
	int64_t recent;
	int err = fleet_device_live(tx, id, ret);
	if (err == 0)
		err = ca_certificate_count(tx, id, kind, clock_wall_s() - 86400, &recent);
	int most = kind == IDENTITY_RELAY ? RELAY_CERTIFICATES_PER_DAY : CERTIFICATES_PER_DAY;
	return err < 0 ? err : recent < most ? 0 : -E_LIMIT;
}

/* A new machine, into the group that its join key says (one of an older version that is no group any more: none). */
static void new_fill(const struct certificate_job *job, const struct enrolment *enrolment, const struct join_key *key,
                     struct approval *ret)
{
	const murmesh_CertificateRequest *request = &job->request.request;
	*ret = (struct approval){ .device = enrolment->device, .token = enrolment->token, .number = enrolment->number };
	str_copy(str_from(enrolment->name), ret->name, sizeof ret->name);
	if (fleet_group_parse(str_from(key->group), ret->group) < 0)
		ret->group[0] = 0;
	str_copy(str_from(request->os), ret->os, sizeof ret->os);
	str_copy(str_from(request->arch), ret->arch, sizeof ret->arch);
	str_copy(str_from(request->version), ret->version, sizeof ret->version);
	str_copy(str_from(job->request.address), ret->address, sizeof ret->address);
	hash_sha256(job->request.key.bytes, job->request.key.size, ret->key_hash);
	ret->components = key->components;
	char host[JOIN_HOST_SIZE];
	uint16_t port;
	if (key->components && join_address_parse(str_from(request->address), host, &port) == 0)
		str_copy(str_from(request->address), ret->reach, sizeof ret->reach);
}

/* May this component have another certificate? */
static int component_check(struct store_tx *tx, const struct id *id, struct component_record *ret)
{
	int64_t recent;
	int err = ca_component_get(tx, id, ret);
	if (err == -E_NOT_FOUND || (err == 0 && ret->revoked))
		return -E_REVOKED;
	if (err == 0)
		err = ca_certificate_count(tx, id, IDENTITY_COMPONENT, clock_wall_s() - 86400, &recent);
	return err < 0 ? err : recent < RELAY_CERTIFICATES_PER_DAY ? 0 : -E_LIMIT;
}

/* It is there: as a device, or as what its key was made for. */
static int let_in(struct store_tx *tx, struct certificate_job *job, const struct approval *new)
{
	return new->components ? core_component_join(tx, new, &job->joined) : core_approval_device(tx, new, &job->added);
}

static int let_in_again(struct store_tx *tx, const struct approval *new, const struct id *id)
{
	struct component_record component;
	struct device device;
	return new->components ? component_check(tx, id, &component) : device_check(tx, id, IDENTITY_NODE, &device);
}

/* It has asked before: how is it now?  One that nobody knows of any more does not get in. */
static int wait_check(struct store_tx *tx, struct certificate_job *job, const struct id *device)
{
	struct approval approval;
	int err = ca_approval_get(tx, device, APPROVAL_NEW, &approval);
	if (err < 0)
		return err == -E_NOT_FOUND ? -E_REJECTED : err;
	job->pending = approval.state == APPROVAL_WAITING;
	return approval.state == APPROVAL_REJECTED ? -E_REJECTED : 0;
}

static int node_decide(struct store_tx *tx, struct certificate_job *job, const struct join_key *key, struct enrolment *enrolment)
{
	struct approval new;
	struct id id, token = enrolment->token;
	bool again;
	random_id(&id);
	int err = ca_enrolment_complete(tx, &token, job->request.csr_hash, &id, clock_wall_s(), enrolment, &again);
	if (err < 0)
		return err;
	new_fill(job, enrolment, key, &new);
	if (key->approve && !again) {
		job->pending = true;
		err = core_approval_ask(tx, &new);
		job->asked = new;
		return err;
	}
	err = key->approve ? wait_check(tx, job, &enrolment->device) : 0;
	if (err < 0 || job->pending)
		return err;
	return again ? let_in_again(tx, &new, &enrolment->device) : let_in(tx, job, &new);
}

/* The management part's certificate comes after the machine's own. */
static int manager_decide(struct store_tx *tx, const struct enrolment *enrolment)
{
	struct device device;
	return id_is_zero(&enrolment->device) ? -E_DENIED : device_check(tx, &enrolment->device, IDENTITY_MANAGER, &device);
}

static void full_name_of(const struct enrolment *enrolment, char out[FLEET_FULL_NAME])
{
	struct device device = { .token = enrolment->number };
	str_copy(str_from(enrolment->name), device.name, sizeof device.name);
	fleet_full_name(&device, out);
}

static int enrol_decide(struct store_tx *tx, struct certificate_job *job)
{
	const murmesh_CertificateRequest *request = &job->request.request;
	struct enrolment enrolment;
	struct join_key key;
	struct id token;
	char full_name[FLEET_FULL_NAME];
	memcpy(token.bytes, request->enrolment, sizeof token.bytes);
	int err = ca_enrolment_get(tx, &token, &enrolment);
	if (err == 0)
		err = ca_join_key_get(tx, &enrolment.key, &key);
	if (err < 0)
		return err == -E_NOT_FOUND ? -E_KEY_UNKNOWN : err;
	full_name_of(&enrolment, full_name);
	err = proof_check(&key, &job->request, full_name);
	mem_wipe(key.secret_key, sizeof key.secret_key);
	if (err == 0 && request->kind == (key.components ? murmesh_CertificateKind_COMPONENT : murmesh_CertificateKind_NODE))
		err = node_decide(tx, job, &key, &enrolment);
	else if (err == 0)
		err = request->kind == murmesh_CertificateKind_MANAGER && !key.components ? manager_decide(tx, &enrolment)
		                                                                          : -E_DENIED;
	if (err < 0)
		return err;
	full_name_of(&enrolment, full_name);
	snprintf(job->actor, sizeof job->actor, "%s %s", key.components ? "component" : "device", full_name);
	issue_for(job, request->kind, &enrolment.device, full_name);
	return 0;
}

/* ---- renewal ---- */

/* Whose certificate expired long ago waits for a person, as a new machine does; approved, it is renewed once. */
static int late_decide(struct store_tx *tx, struct certificate_job *job, const struct device *device)
{
	struct approval approval;
	int err = ca_approval_get(tx, &device->id, APPROVAL_RENEWAL, &approval);
	if (err == 0 && approval.state == APPROVAL_APPROVED)
		return ca_approval_forget(tx, &device->id, APPROVAL_RENEWAL);
	if (err == 0 && approval.state == APPROVAL_REJECTED)
		return -E_REJECTED;
	if (err < 0 && err != -E_NOT_FOUND)
		return err;
	job->pending = true;
	if (err == 0)
		return 0;
	core_approval_of_device(device, APPROVAL_RENEWAL, &approval);
	str_copy(str_from(job->request.address), approval.address, sizeof approval.address);
	hash_sha256(job->request.key.bytes, job->request.key.size, approval.key_hash);
	err = core_approval_ask(tx, &approval);
	job->asked = approval;
	return err;
}

/* Is it for the key that the device has? */
static int same_key_check(struct store_tx *tx, const struct certificate_job *job, const struct device *device)
{
	struct certificate_record record = { .kind = IDENTITY_NODE, .subject = device->id };
	bool other;
	hash_sha256(job->request.key.bytes, job->request.key.size, record.key_hash);
	int err = ca_certificate_has_other_key(tx, &record, &other);
	return err < 0 ? err : other ? -E_DENIED : 0;
}

static int manager_key_check(struct store_tx *tx, const struct certificate_job *job, const struct device *device)
{
	struct certificate_record record = { .kind = IDENTITY_MANAGER, .subject = device->id };
	bool has;
	hash_sha256(job->request.key.bytes, job->request.key.size, record.key_hash);
	int err = ca_certificate_has_key(tx, &record, &has);
	return err < 0 ? err : has ? 0 : -E_DENIED;
}

/* It showed a certificate that has expired, and that it has the key of it. */
static int expired_decide(struct store_tx *tx, struct certificate_job *job, const struct device *device)
{
	struct certificate_record record = { .kind = IDENTITY_NODE, .subject = device->id };
	bool revoked;
	hash_sha256(job->request.key.bytes, job->request.key.size, record.key_hash);
	int err = ca_certificate_is_revoked(tx, record.serial, record.key_hash, &revoked);
	if (err == 0 && revoked)
		err = -E_REVOKED;
	if (err == 0)
		err = same_key_check(tx, job, device);
	if (err == 0)
		err = core_copy_check(tx, device, job->request.continuation, job->request.address, &job->asked);
	if (err == -E_FROZEN && !id_is_zero(&job->asked.device)) {
		job->refused = err;
		return 0;
	}
	job->action = "certificate renewed after it had expired";
	return err == 0 && clock_wall_s() - job->request.expired > CA_RENEWAL_SECONDS ? late_decide(tx, job, device) : err;
}

static void names_add(murmesh_IssueRequest *issue, struct str host)
{
	for (pb_size_t i = 0; i < issue->names_count; i++)
		if (str_is(host, issue->names[i]))
			return;
	if (host.len && str_copy(host, issue->names[issue->names_count], sizeof issue->names[0]) == 0)
		issue->names_count++;
}

/* Of host or host:port, [v6] or [v6]:port. */
static struct str host_of(struct str address)
{
	struct str rest;
	return str_starts(address, STR("[")) ? str_cut(str_skip(address, 1), ']', &rest) : str_cut(address, ':', &rest);
}

/* Is it of the key that the device has, and of no other?  A relay or link that speaks for it has none. */
static int node_key_check(struct store_tx *tx, const struct certificate_job *job, const struct device *device)
{
	struct certificate_record record = { .kind = IDENTITY_NODE, .subject = device->id };
	bool has = false, other = false;
	hash_sha256(job->request.node_key.bytes, job->request.node_key.size, record.key_hash);
	int err = ca_certificate_has_key(tx, &record, &has);
	if (err == 0)
		err = ca_certificate_has_other_key(tx, &record, &other);
	return err < 0 ? err : has && !other ? 0 : -E_DENIED;
}

static int relay_decide(struct store_tx *tx, struct certificate_job *job, const struct device *device)
{
	const murmesh_CheckedRequest *request = &job->request;
	struct key *key = NULL;
	if (!device->relay)
		return -E_DENIED;
	if (!request->node_signature.size && device->relay_unsigned)
		return 0;
	if (!request->node_signature.size) {
		fleet_full_name(device, job->too_old);
		snprintf(job->base.why, sizeof job->base.why, "the agent on this relay is too old: update murmesh-agent there");
		return -E_RELAY_UNSIGNED;
	}
	int err = node_key_check(tx, job, device);
	if (err == 0)
		err = key_public_read(request->node_key.bytes, request->node_key.size, &key);
	if (err == 0)
		err = key_verify(key, CONTEXT_RELAY_KEY, request->key.bytes, request->key.size, request->node_signature.bytes,
		                 request->node_signature.size);
	key_free(key);
	if (err == 0 && device->relay_unsigned)
		err = fleet_device_relay_signs(tx, &device->id);
	return err == -E_SIGNATURE ? -E_DENIED : err;
}

/* Of a component: its own, with which it connects; or one for its role link or web, with which that meets others. */
static int component_renew(struct store_tx *tx, struct certificate_job *job)
{
	struct component_record component;
	char full_name[FLEET_FULL_NAME];
	int err = component_check(tx, &job->peer.id, &component);
	if (err == 0 && job->request.serves &&
	    !(component.roles & (murmesh_ComponentRole_COMPONENT_LINK | murmesh_ComponentRole_COMPONENT_WEB)))
		err = -E_DENIED;
	if (err == 0 && job->request.expired && clock_wall_s() - job->request.expired > CA_RENEWAL_SECONDS)
		err = -E_CERTIFICATE_EXPIRED;
	if (err < 0)
		return err;
	core_component_name(&component, full_name);
	snprintf(job->actor, sizeof job->actor, "component %s", full_name);
	issue_for(job, murmesh_CertificateKind_COMPONENT, &component.id, full_name);
	if (job->request.serves) {
		job->issue.usage = CERTIFICATE_SERVER;
		names_add(&job->issue, host_of(str_from(component.address)));
	}
	return 0;
}

static int renew_decide(struct store_tx *tx, struct certificate_job *job)
{
	struct device device;
	char full_name[FLEET_FULL_NAME];
	if (job->peer.kind == IDENTITY_COMPONENT)
		return component_renew(tx, job);
	int err = device_check(tx, &job->peer.id, (enum identity_kind)job->request.kind, &device);
	if (err == 0 && job->request.expired)
		err = expired_decide(tx, job, &device);
	if (err == 0 && job->request.relayed &&
	    job->request.kind == murmesh_CertificateKind_NODE) /* or the relay could pose as it to users */
		err = same_key_check(tx, job, &device);
	if (err == 0 && job->request.relayed &&
	    job->request.kind == murmesh_CertificateKind_MANAGER) /* the first one comes with the join key */
		err = manager_key_check(tx, job, &device);
	if (err == 0 && job->request.kind == murmesh_CertificateKind_RELAY)
		err = relay_decide(tx, job, &device);
	if (err < 0 || job->refused)
		return err;
	fleet_full_name(&device, full_name);
	snprintf(job->actor, sizeof job->actor, "device %s", full_name);
	issue_for(job, job->request.kind, &device.id, full_name);
	return 0;
}

static bool renewal_parse(struct certificate_job *job)
{
	if (identity_parse(str_from(job->request.peer), &job->peer) < 0)
		return false;
	if (job->peer.kind == IDENTITY_COMPONENT)
		return job->request.kind == murmesh_CertificateKind_COMPONENT && !job->request.relayed &&
		       !(job->request.serves && job->request.expired);
	return job->peer.kind == IDENTITY_NODE && !job->request.serves &&
	       (job->request.kind == murmesh_CertificateKind_NODE ||
	        ((job->request.kind == murmesh_CertificateKind_MANAGER || job->request.kind == murmesh_CertificateKind_RELAY) &&
	         !job->request.expired));
}

void core_enrol_certify(void *ctx, struct rpc_call *call, const void *message)
{
	const murmesh_CheckedRequest *request = message;
	struct str peer = str_from(request->peer);
	struct certificate_job *job = peer.len ? certificate_job_new(ctx, call, "certificate renewed", renew_decide)
	                                       : certificate_job_new(ctx, call, "certificate issued", enrol_decide);
	if (!job)
		return;
	job->request = *request;
	if (peer.len && !renewal_parse(job))
		return core_job_fail(&job->base, -E_DENIED, NULL);
	core_job_submit(&job->base);
}

/* ---- the server's own roles, and local users ---- */

static int component_decide(struct store_tx *tx, struct certificate_job *job)
{
	struct id id;
	(void)tx;
	random_id(&id);
	str_copy(STR("server"), job->actor, sizeof job->actor);
	issue_for(job, murmesh_CertificateKind_COMPONENT, &id, GATEWAY_CORE_NAME);
	job->issue.usage = CERTIFICATE_BY_KIND;
	names_add(&job->issue, STR("localhost"));
	names_add(&job->issue, STR("127.0.0.1"));
	names_add(&job->issue, STR("::1"));
	names_add(&job->issue, host_of(str_from(job->base.core->address)));
	names_add(&job->issue, host_of(str_from(job->base.core->domain)));
	return 0;
}

void core_enrol_component(void *ctx, struct rpc_call *call, const void *message)
{
	const murmesh_PublicKey *key = message;
	struct certificate_job *job = certificate_job_new(ctx, call, "component certificate issued", component_decide);
	if (!job)
		return;
	job->request.key.size = key->key.size;
	memcpy(job->request.key.bytes, key->key.bytes, key->key.size);
	core_job_submit(&job->base);
}

/* A user, by whichever way he showed who he is. */
static int user_decide(struct store_tx *tx, struct certificate_job *job)
{
	struct user user;
	int64_t recent;
	int err = job->caller.by_session ? core_caller_own(tx, &job->caller, &user) : account_get(tx, &job->caller.user, &user);
	if (err == 0 && user.disabled)
		err = -E_DENIED;
	if (err == 0)
		err = ca_certificate_count(tx, &user.id, IDENTITY_USER, clock_wall_s() - 86400, &recent);
	if (err == 0 && recent >= USER_CERTIFICATES_PER_DAY && !id_equal(&user.id, &job->base.core->local_user))
		err = -E_LIMIT;
	if (err < 0)
		return err;
	str_copy(str_from(user.name), job->actor, sizeof job->actor);
	issue_for(job, murmesh_CertificateKind_USER, &user.id, user.name);
	return 0;
}

static void user_certificate(struct core *core, struct rpc_call *call, const struct core_caller *caller, const char *action,
                             const void *key, size_t key_len)
{
	struct certificate_job *job = certificate_job_new(core, call, action, user_decide);
	if (!job)
		return;
	job->caller = *caller;
	job->request.key.size = (pb_size_t)key_len;
	memcpy(job->request.key.bytes, key, key_len);
	core_job_submit(&job->base);
}

void core_enrol_login(void *ctx, struct rpc_call *call, const void *message)
{
	const murmesh_LoginRequest *request = message;
	core_enrol_user(ctx, call, &((struct core *)ctx)->local_user, request->key.bytes, request->key.size);
}

void core_enrol_user(struct core *core, struct rpc_call *call, const struct id *user, const void *key, size_t key_len)
{
	const struct core_caller caller = { .user = *user };
	user_certificate(core, call, &caller, id_equal(user, &core->local_user) ? "local login" : "certificate issued", key,
	                 key_len);
}

void core_enrol_session(void *ctx, struct rpc_call *call, const void *message)
{
	const murmesh_SessionKey *request = message;
	struct core_caller caller = { .by_session = true, .component = core_component_of(call) };
	if (!id_is_zero(&caller.component) && !key_public_is_plain(request->key.bytes, request->key.size)) /* ca would parse it */
		return rpc_call_finish(call, -E_ENCODING, NULL);
	memcpy(caller.session, request->session, sizeof caller.session);
	user_certificate(ctx, call, &caller, "certificate for the console issued", request->key.bytes, request->key.size);
	mem_wipe(&caller, sizeof caller);
}
