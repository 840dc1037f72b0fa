#include "ca/continuity.h"

#include "base/err.h"
#include "store/store.h"

struct continuity {
	uint64_t acknowledged, issued;
	int64_t frozen;
	uint64_t copies_below; /* who shows less than this is a known copy */
	bool copies_let_in;
};

static int continuity_get(struct store_tx *tx, const struct id *device, struct continuity *ret)
{
	struct store_query *query =
	        store_query(tx, "SELECT acknowledged, issued, frozen, copies_below, copies_let_in FROM continuities"
	                        " WHERE device = $1");
	*ret = (struct continuity){ 0 };
	store_bind_id(query, 1, device);
	int rows = store_step(query);
	if (rows <= 0)
		return rows;
	ret->acknowledged = (uint64_t)store_integer(query, 0);
	ret->issued = (uint64_t)store_integer(query, 1);
	ret->frozen = store_integer(query, 2);
	ret->copies_below = (uint64_t)store_integer(query, 3);
	ret->copies_let_in = store_integer(query, 4) != 0;
	return store_error(query);
}

static int continuity_put(struct store_tx *tx, const struct id *device, const struct continuity *continuity)
{
	struct store_query *query = store_query(
	        tx, "INSERT INTO continuities (device, acknowledged, issued, frozen, copies_below, copies_let_in)"
	            " VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (device) DO UPDATE SET acknowledged = $2, issued = $3,"
	            " frozen = $4, copies_below = $5, copies_let_in = $6");
	store_bind_id(query, 1, device);
	store_bind_integer(query, 2, (int64_t)continuity->acknowledged);
	store_bind_integer(query, 3, (int64_t)continuity->issued);
	store_bind_integer(query, 4, continuity->frozen);
	store_bind_integer(query, 5, (int64_t)continuity->copies_below);
	store_bind_integer(query, 6, continuity->copies_let_in);
	return store_exec(query);
}

int ca_continuity_check(struct store_tx *tx, const struct id *device, uint64_t shown, int64_t now, bool *ret_now)
{
	struct continuity continuity;
	*ret_now = false;
	if (shown > CA_CONTINUATION_MAX)
		return -E_MESSAGE;
	int err = continuity_get(tx, device, &continuity);
	if (err < 0)
		return err;
	if (continuity.frozen)
		return -E_FROZEN;
	if (shown < continuity.copies_below)
		return continuity.copies_let_in ? -E_COPY : -E_COPY_REJECTED;
	if (shown >= continuity.acknowledged)
		return 0;
	continuity.frozen = now;
	*ret_now = true;
	err = continuity_put(tx, device, &continuity);
	return err < 0 ? err : -E_FROZEN;
}

int ca_continuity_check_none(struct store_tx *tx, const struct id *device)
{
	struct continuity continuity;
	int err = continuity_get(tx, device, &continuity);
	if (err < 0)
		return err;
	if (continuity.frozen)
		return -E_FROZEN;
	return continuity.issued ? -E_HAS_AGENT : 0;
}

/* Whoever shows a number has kept it. */
int ca_continuity_next(struct store_tx *tx, const struct id *device, uint64_t shown, uint64_t *ret_next)
{
	struct continuity continuity;
	int err = continuity_get(tx, device, &continuity);
	if (err < 0)
		return err;
	continuity.acknowledged = shown;
	*ret_next = continuity.issued = (continuity.issued > shown ? continuity.issued : shown) + 1;
	return continuity_put(tx, device, &continuity);
}

int ca_continuity_keep(struct store_tx *tx, const struct id *device, uint64_t number)
{
	struct continuity continuity;
	int err = continuity_get(tx, device, &continuity);
	if (err < 0 || number <= continuity.acknowledged || number > continuity.issued)
		return err;
	continuity.acknowledged = number;
	return continuity_put(tx, device, &continuity);
}

int ca_continuity_decide(struct store_tx *tx, const struct id *device, enum ca_copy copy)
{
	struct continuity continuity;
	int err = continuity_get(tx, device, &continuity);
	if (err < 0 || !continuity.frozen)
		return err < 0 ? err : -E_NOT_FOUND;
	continuity.frozen = 0;
	continuity.copies_let_in = copy == CA_COPY_LET_IN;
	if (copy == CA_COPY_NONE)
		continuity.acknowledged = continuity.copies_below = 0;
	else
		continuity.copies_below = continuity.acknowledged;
	return continuity_put(tx, device, &continuity);
}

int ca_continuity_let_in(struct store_tx *tx, const struct id *device, uint64_t shown)
{
	struct continuity continuity;
	int err = continuity_get(tx, device, &continuity);
	if (err < 0)
		return err;
	if (continuity.frozen || !continuity.copies_let_in || shown >= continuity.copies_below)
		return -E_DENIED;
	continuity.copies_let_in = false;
	continuity.copies_below = 0;
	return continuity_put(tx, device, &continuity);
}
