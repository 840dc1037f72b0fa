#include "ca/approvals.h"

#include "base/err.h"
#include "base/utf8.h"
#include "store/store.h"

#define COLUMNS "device, token, name, number, group_name, os, arch, version, key_hash, address, asked, state"

static const char *const states[] = {
	[APPROVAL_WAITING] = "waiting", [APPROVAL_APPROVED] = "approved", [APPROVAL_REJECTED] = "rejected"
};

static int room_check(struct store_tx *tx)
{
	struct store_query *query = store_query(tx, "SELECT count(*) FROM approvals WHERE state = 'waiting'");
	int64_t waiting = store_step(query) > 0 ? store_integer(query, 0) : 0;
	int err = store_error(query);
	return err < 0 ? err : waiting < CA_APPROVALS_WAITING ? 0 : -E_LIMIT;
}

/* What a machine says of itself may be anything. */
static void bind_clean(struct store_query *query, int parameter, const char *text)
{
	char clean[128];
	store_bind_text(query, parameter, str_from(utf8_clean(str_from(text), clean, sizeof clean)));
}

int ca_approval_add(struct store_tx *tx, const struct approval *approval)
{
	int err = room_check(tx);
	if (err < 0)
		return err;
	struct store_query *query =
	        store_query(tx, "INSERT INTO approvals (" COLUMNS ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)");
	store_bind_id(query, 1, &approval->device);
	store_bind_id(query, 2, &approval->token);
	store_bind_text(query, 3, str_from(approval->name));
	store_bind_integer(query, 4, approval->number);
	store_bind_text(query, 5, str_from(approval->group));
	bind_clean(query, 6, approval->os);
	bind_clean(query, 7, approval->arch);
	bind_clean(query, 8, approval->version);
	store_bind_blob(query, 9, approval->key_hash, sizeof approval->key_hash);
	store_bind_text(query, 10, str_from(approval->address));
	store_bind_integer(query, 11, approval->asked);
	store_bind_text(query, 12, str_from(states[approval->state]));
	return store_exec(query);
}

static int approval_read(struct store_query *query, struct approval *ret)
{
	char state[16];
	store_id(query, 0, &ret->device);
	store_id(query, 1, &ret->token);
	store_text(query, 2, ret->name, sizeof ret->name);
	ret->number = store_integer(query, 3);
	store_text(query, 4, ret->group, sizeof ret->group);
	store_text(query, 5, ret->os, sizeof ret->os);
	store_text(query, 6, ret->arch, sizeof ret->arch);
	store_text(query, 7, ret->version, sizeof ret->version);
	store_blob(query, 8, ret->key_hash, sizeof ret->key_hash);
	store_text(query, 9, ret->address, sizeof ret->address);
	ret->asked = store_integer(query, 10);
	store_text(query, 11, state, sizeof state);
	ret->state = str_is(str_from(state), states[APPROVAL_APPROVED])  ? APPROVAL_APPROVED
	             : str_is(str_from(state), states[APPROVAL_WAITING]) ? APPROVAL_WAITING
	                                                                 : APPROVAL_REJECTED;
	return store_error(query);
}

int ca_approval_get(struct store_tx *tx, const struct id *device, struct approval *ret)
{
	struct store_query *query = store_query(tx, "SELECT " COLUMNS " FROM approvals WHERE device = $1");
	store_bind_id(query, 1, device);
	int rows = store_step(query);
	return rows > 0 ? approval_read(query, ret) : rows < 0 ? rows : -E_NOT_FOUND;
}

int ca_approval_each(struct store_tx *tx, int (*each)(void *ctx, const struct approval *approval), void *ctx)
{
	int rows;
	struct approval approval;
	struct store_query *query =
	        store_query(tx, "SELECT " COLUMNS " FROM approvals WHERE state = 'waiting' ORDER BY asked, device");
	while ((rows = store_step(query)) > 0) {
		int err = approval_read(query, &approval);
		if (err == 0)
			err = each(ctx, &approval);
		if (err < 0)
			return err;
	}
	return rows;
}

int ca_approval_decide(struct store_tx *tx, const struct id *device, enum approval_state state)
{
	struct store_query *query = store_query(tx, "UPDATE approvals SET state = $1 WHERE device = $2 AND state = 'waiting'");
	store_bind_text(query, 1, str_from(states[state]));
	store_bind_id(query, 2, device);
	int err = store_exec(query);
	return err < 0 ? err : store_changed(tx) ? 0 : -E_NOT_FOUND;
}

int ca_approval_prune(struct store_tx *tx)
{
	return store_exec(store_query(tx, "DELETE FROM approvals WHERE token NOT IN (SELECT token FROM enrolments)"));
}
