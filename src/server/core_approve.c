/* What waits until somebody approves it (ca/approvals.h). */
#include "base/encode.h"
#include "base/err.h"
#include "ca/approvals.h"
#include "ca/components.h"
#include "ca/continuity.h"
#include "os/clock.h"
#include "server/core.h"

#define FINGERPRINT_DIGITS 8 /* of one so many at least */

static void full_name_of(const struct approval *approval, char out[FLEET_FULL_NAME])
{
	struct device device = { .token = approval->number };
	str_copy(str_from(approval->name), device.name, sizeof device.name);
	fleet_full_name(&device, out);
}

/* "" of a copy: it has the same key as the machine itself. */
static void fingerprint_of(const struct approval *approval, char out[2 * HASH_SIZE + 1])
{
	out[0] = 0;
	if (approval->kind != APPROVAL_COPY)
		hex_encode(approval->key_hash, sizeof approval->key_hash, out);
}

#define DETAIL_SIZE 384

/* For audit. */
static void detail_of(const struct approval *approval, char out[DETAIL_SIZE])
{
	char fingerprint[2 * HASH_SIZE + 1], roles[CA_COMPONENT_ROLES_SIZE];
	fingerprint_of(approval, fingerprint);
	int len = snprintf(out, DETAIL_SIZE, "%s%s", fingerprint[0] ? "fingerprint " : "", fingerprint);
	if (approval->components)
		snprintf(out + len, DETAIL_SIZE - (size_t)len, ", for %s at %s",
		         ca_component_roles_format(approval->components, roles),
		         approval->reach[0] ? approval->reach : "no address");
}

/* ---- the machine asks ---- */

void core_approval_of_device(const struct device *device, enum approval_kind kind, struct approval *ret)
{
	*ret = (struct approval){ .device = device->id, .kind = kind, .number = device->token };
	str_copy(str_from(device->name), ret->name, sizeof ret->name);
	str_copy(str_from(device->group), ret->group, sizeof ret->group);
	str_copy(str_from(device->os), ret->os, sizeof ret->os);
	str_copy(str_from(device->arch), ret->arch, sizeof ret->arch);
	str_copy(str_from(device->version), ret->version, sizeof ret->version);
}

int core_approval_ask(struct store_tx *tx, struct approval *approval)
{
	static const char *const actions[] = { [APPROVAL_NEW] = "approval asked for",
		                               [APPROVAL_RENEWAL] = "approval of a late renewal asked for",
		                               [APPROVAL_COPY] = "two machines showed one identity" };
	char full_name[FLEET_FULL_NAME], detail[DETAIL_SIZE + 80], what[DETAIL_SIZE];
	approval->asked = clock_wall_s();
	approval->state = APPROVAL_WAITING;
	full_name_of(approval, full_name);
	detail_of(approval, what);
	snprintf(detail, sizeof detail, "%s%s%s%s", approval->address[0] ? "from " : "", approval->address,
	         approval->address[0] && what[0] ? ", " : "", what);
	int err = ca_approval_add(tx, approval);
	return err < 0 ? err : core_audit(tx, full_name, actions[approval->kind], full_name, detail);
}

/* ---- a user decides ---- */

void core_approval_fill(const struct approval *approval, murmesh_Approval *ret)
{
	*ret = (murmesh_Approval){ .asked = approval->asked };
	memcpy(ret->device, approval->device.bytes, sizeof ret->device);
	fingerprint_of(approval, ret->fingerprint);
	str_copy(str_from(approval->name), ret->name, sizeof ret->name);
	full_name_of(approval, ret->full_name);
	str_copy(str_from(approval->group), ret->group, sizeof ret->group);
	str_copy(str_from(approval->os), ret->os, sizeof ret->os);
	str_copy(str_from(approval->arch), ret->arch, sizeof ret->arch);
	str_copy(str_from(approval->version), ret->version, sizeof ret->version);
	str_copy(str_from(approval->address), ret->address, sizeof ret->address);
	if (approval->components)
		ca_component_roles_format(approval->components, ret->roles);
	str_copy(str_from(approval->reach), ret->reach, sizeof ret->reach);
	str_copy(str_from(approval->components ? "component" : ca_approval_kind_name(approval->kind)), ret->kind, sizeof ret->kind);
}

bool core_approval_seen(const struct approval *approval, const struct user *user)
{
	return account_may(user, ACCOUNT_KEY_NEW) && account_reaches(user, approval->group);
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
	fingerprint_of(approval, fingerprint);
	return str_equal_nocase(selector, str_from(approval->name)) || str_equal_nocase(selector, str_from(full_name)) ||
	       str_is(selector, id) || (selector.len >= FINGERPRINT_DIGITS && str_starts(str_from(fingerprint), selector));
}

static int on_row(void *ctx, const struct approval *approval)
{
	struct walk *walk = ctx;
	murmesh_Approval row;
	if (!core_approval_seen(approval, walk->user))
		return 0;
	core_approval_fill(approval, &row);
	return core_rows_add(walk->rows, &row, sizeof row);
}

static int on_candidate(void *ctx, const struct approval *approval)
{
	struct walk *walk = ctx;
	if (core_approval_seen(approval, walk->user) && is_meant(approval, walk->selector)) {
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

int core_approval_device(struct store_tx *tx, const struct approval *approval, struct device *ret)
{
	struct device device = { .id = approval->device, .token = approval->number, .created = clock_wall_s() };
	const struct device_platform platform = { .os = str_from(approval->os),
		                                  .arch = str_from(approval->arch),
		                                  .version = str_from(approval->version) };
	str_copy(str_from(approval->name), device.name, sizeof device.name);
	str_copy(str_from(approval->group), device.group, sizeof device.group);
	int err = fleet_device_add(tx, &device);
	if (err == 0)
		err = fleet_device_update(tx, &device.id, &platform);
	return err < 0 ? err : fleet_device_get(tx, &device.id, ret);
}

struct decision {
	struct str selector;
	bool approve, same;
};

static enum ca_copy copy_of(const struct decision *decision)
{
	return decision->same ? CA_COPY_NONE : decision->approve ? CA_COPY_LET_IN : CA_COPY_SHUT_OUT;
}

static const char *action_of(const struct approval *approval, const struct decision *decision)
{
	static const char *const actions[][2] = { [APPROVAL_NEW] = { "rejected", "approved" },
		                                  [APPROVAL_RENEWAL] = { "late renewal rejected", "late renewal approved" },
		                                  [APPROVAL_COPY] = { "copy shut out", "copy let in as a machine of its own" } };
	return decision->same ? "copy taken for the machine itself" : actions[approval->kind][decision->approve];
}

static int device_join(struct store_tx *tx, const struct approval *approval, struct core_rows *rows)
{
	struct device device;
	int err = core_approval_device(tx, approval, &device);
	return err < 0 ? err : core_rows_device(rows, &device);
}

static int component_join(struct store_tx *tx, const struct approval *approval, struct core_rows *rows)
{
	struct component_record component;
	int err = core_component_join(tx, approval, &component);
	return err < 0 ? err : core_rows_add(rows, &component, sizeof component);
}

/* Leaves the approval in rows, and behind it the device or component when there is a new one. */
static int decide(struct store_tx *tx, struct core_request *request, const struct user *user, struct approval *approval,
                  const struct decision *decision)
{
	char full_name[FLEET_FULL_NAME], detail[DETAIL_SIZE];
	bool joins = approval->kind == APPROVAL_NEW && decision->approve;
	approval->state = decision->approve || decision->same ? APPROVAL_APPROVED : APPROVAL_REJECTED;
	core_approval_fill(approval, request->reply);
	int err = decision->same && approval->kind != APPROVAL_COPY ? -E_USAGE : 0;
	if (err == 0 && joins && approval->components)
		err = core_caller_proved(&request->caller);
	if (err == 0)
		err = ca_approval_decide(tx, &approval->device, approval->kind, approval->state);
	if (err == 0)
		err = core_rows_add(&request->rows, approval, sizeof *approval);
	if (err == 0 && joins)
		err = approval->components ? component_join(tx, approval, &request->rows)
		                           : device_join(tx, approval, &request->rows);
	if (err == 0 && approval->kind == APPROVAL_COPY)
		err = ca_continuity_decide(tx, &approval->device, copy_of(decision));
	full_name_of(approval, full_name);
	detail_of(approval, detail);
	return err < 0 ? err : core_audit(tx, user->name, action_of(approval, decision), full_name, detail);
}

static int selected_run(struct store_tx *tx, struct core_request *request, const struct decision *decision)
{
	struct user user;
	struct walk walk = { .user = &user, .selector = decision->selector };
	int err = core_caller_check(tx, &request->caller, ACCOUNT_KEY_NEW, &user);
	if (err == 0)
		err = ca_approval_each(tx, on_candidate, &walk);
	if (err == 0 && !walk.n_found)
		err = -E_NOT_FOUND;
	if (err == 0 && walk.n_found > 1) {
		snprintf(request->base.why, sizeof request->base.why, "%u machines with that name wait for approval", walk.n_found);
		err = -E_AMBIGUOUS;
	}
	return err < 0 ? err : decide(tx, request, &user, &walk.found, decision);
}

int core_approval_run(struct store_tx *tx, struct core_request *request)
{
	const murmesh_ApprovalDecision *message = request->message;
	const struct decision decision = { str_from(message->selector), message->approve, message->same };
	return selected_run(tx, request, &decision);
}

int core_approval_by_id_run(struct store_tx *tx, struct core_request *request)
{
	const murmesh_ConsoleApprovalDecision *message = request->message;
	char text[ID_TEXT_SIZE];
	hex_encode(message->device, sizeof message->device, text);
	const struct decision decision = { str_from(text), message->approve, message->same };
	return selected_run(tx, request, &decision);
}

void core_approval_done(struct core_request *request)
{
	struct approval approval;
	struct component_record component;
	struct device device;
	size_t at = 0;
	core_rows_next(&request->rows, &at, &approval, sizeof approval);
	core_watch_approval(request->base.core, &approval);
	if (approval.components && core_rows_next(&request->rows, &at, &component, sizeof component))
		core_component_joined(request->base.core, &component);
	else if (core_rows_next(&request->rows, &at, &device, sizeof device))
		core_watch_device(request->base.core, &device, NULL);
	core_request_answer(request);
}
