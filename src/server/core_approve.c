/* Machines that wait until somebody approves them (ca/approvals.h). */
#include "base/encode.h"
#include "base/err.h"
#include "ca/approvals.h"
#include "os/clock.h"
#include "server/core.h"

#define FINGERPRINT_DIGITS 8 /* of one so many at least */

static void full_name_of(const struct approval *approval, char out[FLEET_FULL_NAME])
{
	struct device device = { .token = approval->number };
	str_copy(str_from(approval->name), device.name, sizeof device.name);
	fleet_full_name(&device, out);
}

/* ---- the machine asks ---- */

int core_approval_ask(struct store_tx *tx, const struct approval *asked)
{
	struct approval approval = *asked;
	char full_name[FLEET_FULL_NAME], detail[192], fingerprint[2 * HASH_SIZE + 1];
	approval.asked = clock_wall_s();
	approval.state = APPROVAL_WAITING;
	full_name_of(&approval, full_name);
	hex_encode(approval.key_hash, sizeof approval.key_hash, fingerprint);
	snprintf(detail, sizeof detail, "from %s, fingerprint %s", approval.address, fingerprint);
	int err = ca_approval_add(tx, &approval);
	return err < 0 ? err : core_audit(tx, full_name, "approval asked for", full_name, detail);
}

/* ---- a user decides ---- */

static void approval_fill(const struct approval *approval, murmesh_Approval *ret)
{
	*ret = (murmesh_Approval){ .asked = approval->asked };
	memcpy(ret->device, approval->device.bytes, sizeof ret->device);
	memcpy(ret->fingerprint, approval->key_hash, sizeof ret->fingerprint);
	str_copy(str_from(approval->name), ret->name, sizeof ret->name);
	full_name_of(approval, ret->full_name);
	str_copy(str_from(approval->group), ret->group, sizeof ret->group);
	str_copy(str_from(approval->os), ret->os, sizeof ret->os);
	str_copy(str_from(approval->arch), ret->arch, sizeof ret->arch);
	str_copy(str_from(approval->version), ret->version, sizeof ret->version);
	str_copy(str_from(approval->address), ret->address, sizeof ret->address);
}

struct walk {
	const struct user *user;
	struct str selector; /* empty: all */
	struct core_rows *rows;
	struct approval found;
	unsigned n_found;
};

static bool is_meant(const struct approval *approval, struct str selector)
{
	char full_name[FLEET_FULL_NAME], id[ID_TEXT_SIZE], fingerprint[2 * HASH_SIZE + 1];
	full_name_of(approval, full_name);
	id_format(&approval->device, id);
	hex_encode(approval->key_hash, sizeof approval->key_hash, fingerprint);
	return str_equal_nocase(selector, str_from(approval->name)) || str_equal_nocase(selector, str_from(full_name)) ||
	       str_is(selector, id) || (selector.len >= FINGERPRINT_DIGITS && str_starts(str_from(fingerprint), selector));
}

static int on_row(void *ctx, const struct approval *approval)
{
	struct walk *walk = ctx;
	murmesh_Approval row;
	if (!account_reaches(walk->user, approval->group))
		return 0;
	approval_fill(approval, &row);
	return core_rows_add(walk->rows, &row, sizeof row);
}

static int on_candidate(void *ctx, const struct approval *approval)
{
	struct walk *walk = ctx;
	if (account_reaches(walk->user, approval->group) && is_meant(approval, walk->selector)) {
		walk->found = *approval;
		walk->n_found++;
	}
	return 0;
}

int core_approvals_run(struct store_tx *tx, struct core_request *request)
{
	struct user user;
	struct walk walk = { .user = &user, .rows = &request->rows };
	int err = core_caller_check(tx, &request->caller, ACCOUNT_KEY_NEW, &user);
	return err < 0 ? err : ca_approval_each(tx, on_row, &walk);
}

static int device_make(struct store_tx *tx, const struct approval *approval, struct device *ret)
{
	struct device device = { .id = approval->device, .token = approval->number };
	const struct device_platform platform = { .os = str_from(approval->os),
		                                  .arch = str_from(approval->arch),
		                                  .version = str_from(approval->version) };
	str_copy(str_from(approval->name), device.name, sizeof device.name);
	str_copy(str_from(approval->group), device.group, sizeof device.group);
	return core_device_make(tx, &device, &platform, ret);
}

static int decide(struct store_tx *tx, struct core_request *request, const struct user *user, const struct approval *approval,
                  bool approve)
{
	char full_name[FLEET_FULL_NAME], detail[96], fingerprint[2 * HASH_SIZE + 1];
	struct device device;
	int err = ca_approval_decide(tx, &approval->device, approve ? APPROVAL_APPROVED : APPROVAL_REJECTED);
	if (err == 0 && approve)
		err = device_make(tx, approval, &device);
	if (err == 0 && approve)
		err = core_rows_device(&request->rows, &device);
	full_name_of(approval, full_name);
	hex_encode(approval->key_hash, sizeof approval->key_hash, fingerprint);
	snprintf(detail, sizeof detail, "fingerprint %s", fingerprint);
	return err < 0 ? err : core_audit(tx, user->name, approve ? "approved" : "rejected", full_name, detail);
}

int core_approval_run(struct store_tx *tx, struct core_request *request)
{
	const murmesh_ApprovalDecision *message = request->message;
	struct user user;
	struct walk walk = { .user = &user, .selector = str_from(message->selector) };
	int err = core_caller_check(tx, &request->caller, ACCOUNT_KEY_NEW, &user);
	if (err == 0)
		err = ca_approval_each(tx, on_candidate, &walk);
	if (err == 0 && !walk.n_found)
		err = -E_NOT_FOUND;
	if (err == 0 && walk.n_found > 1) {
		snprintf(request->base.why, sizeof request->base.why, "%u machines with that name wait for approval", walk.n_found);
		err = -E_AMBIGUOUS;
	}
	if (err < 0)
		return err;
	approval_fill(&walk.found, request->reply);
	return decide(tx, request, &user, &walk.found, message->approve);
}

void core_approval_done(struct core_request *request)
{
	struct device device;
	size_t at = 0;
	if (core_rows_next(&request->rows, &at, &device, sizeof device))
		core_watch_device(request->base.core, &device, NULL);
	core_request_answer(request);
}
