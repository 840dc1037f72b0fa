#include "ca/approvals.h"

#include "base/err.h"
#include "base/utf8.h"
#include "store/store.h"

#define COLUMNS                                                                                                                    \
	"device, kind, token, name, number, group_name, os, arch, version, key_hash, address, asked, state, components, reach"

static const char *const states[] = {
	[APPROVAL_WAITING] = "waiting", [APPROVAL_APPROVED] = "approved", [APPROVAL_REJECTED] = "rejected"
};

static const char *const kinds[] = { [APPROVAL_NEW] = "new", [APPROVAL_RENEWAL] = "renewal", [APPROVAL_COPY] = "copy" };

const char *ca_approval_kind_name(enum approval_kind kind)
{
	return kinds[kind];
}

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
	if (err == 0 && approval->kind != APPROVAL_NEW)
		err = ca_approval_forget(tx, &approval->device, approval->kind);
	if (err < 0)
		return err;
	struct store_query *query = store_query(tx, "INSERT INTO approvals (" COLUMNS
	                                            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)");
	store_bind_id(query, 1, &approval->device);
	store_bind_text(query, 2, str_from(kinds[approval->kind]));
	store_bind_id(query, 3, &approval->token);
	store_bind_text(query, 4, str_from(approval->name));
	store_bind_integer(query, 5, approval->number);
	store_bind_text(query, 6, str_from(approval->group));
	bind_clean(query, 7, approval->os);
	bind_clean(query, 8, approval->arch);
	bind_clean(query, 9, approval->version);
	store_bind_blob(query, 10, approval->key_hash, sizeof approval->key_hash);
	store_bind_text(query, 11, str_from(approval->address));
	store_bind_integer(query, 12, approval->asked);
	store_bind_text(query, 13, str_from(states[approval->state]));
	store_bind_integer(query, 14, approval->components);
	bind_clean(query, 15, approval->reach);
	return store_exec(query);
}

static unsigned name_index(const char *const *names, unsigned n, const char *name)
{
	unsigned i = 0;
	while (i < n - 1 && !str_is(str_from(name), names[i]))
		i++;
	return i;
}

static int approval_read(struct store_query *query, struct approval *ret)
{
	char kind[16], state[16];
	store_id(query, 0, &ret->device);
	store_text(query, 1, kind, sizeof kind);
	store_id(query, 2, &ret->token);
	store_text(query, 3, ret->name, sizeof ret->name);
	ret->number = store_integer(query, 4);
	store_text(query, 5, ret->group, sizeof ret->group);
	store_text(query, 6, ret->os, sizeof ret->os);
	store_text(query, 7, ret->arch, sizeof ret->arch);
	store_text(query, 8, ret->version, sizeof ret->version);
	store_blob(query, 9, ret->key_hash, sizeof ret->key_hash);
	store_text(query, 10, ret->address, sizeof ret->address);
	ret->asked = store_integer(query, 11);
	store_text(query, 12, state, sizeof state);
	ret->components = (unsigned)store_integer(query, 13);
	store_text(query, 14, ret->reach, sizeof ret->reach);
	ret->kind = (enum approval_kind)name_index(kinds, sizeof kinds / sizeof *kinds, kind);
	ret->state = (enum approval_state)name_index(states, sizeof states / sizeof *states, state);
	return store_error(query);
}

int ca_approval_get(struct store_tx *tx, const struct id *device, enum approval_kind kind, struct approval *ret)
{
	struct store_query *query = store_query(tx, "SELECT " COLUMNS " FROM approvals WHERE device = $1 AND kind = $2");
	store_bind_id(query, 1, device);
	store_bind_text(query, 2, str_from(kinds[kind]));
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

int ca_approval_decide(struct store_tx *tx, const struct id *device, enum approval_kind kind, enum approval_state state)
{
	struct store_query *query =
	        store_query(tx, "UPDATE approvals SET state = $1 WHERE device = $2 AND kind = $3 AND state = 'waiting'");
	store_bind_text(query, 1, str_from(states[state]));
	store_bind_id(query, 2, device);
	store_bind_text(query, 3, str_from(kinds[kind]));
	int err = store_exec(query);
	return err < 0 ? err : store_changed(tx) ? 0 : -E_NOT_FOUND;
}

int ca_approval_forget(struct store_tx *tx, const struct id *device, enum approval_kind kind)
{
	struct store_query *query = store_query(tx, "DELETE FROM approvals WHERE device = $1 AND kind = $2");
	store_bind_id(query, 1, device);
	store_bind_text(query, 2, str_from(kinds[kind]));
	return store_exec(query);
}

int ca_approval_prune(struct store_tx *tx, int64_t now)
{
	int err = store_exec(
	        store_query(tx, "DELETE FROM approvals WHERE kind = 'new' AND token NOT IN (SELECT token FROM enrolments)"));
	if (err < 0)
		return err;
	struct store_query *query = store_query(tx, "DELETE FROM approvals WHERE kind <> 'new' AND asked < $1");
	store_bind_integer(query, 1, now - CA_APPROVAL_SECONDS);
	return store_exec(query);
}
