#include "manage/run/order_journal.h"

#include "base/err.h"
#include "base/utf8.h"
#include "store/store.h"

static const char *const state_names[] = {
	[ORDER_STARTED] = "started",
	[ORDER_FINISHED] = "finished",
	[ORDER_INTERRUPTED] = "interrupted",
};

/* The clock may be set back, also by somebody else; the journal's own times are not. */
static int time_check(struct store_tx *tx, int64_t until, int64_t now)
{
	if (now >= until)
		return -E_GRANT_EXPIRED;
	if (until > now + ORDER_KEPT_SECONDS)
		return -E_GRANT;
	struct store_query *query = store_query(tx, "SELECT max(valid_until) FROM orders");
	bool went_back = store_step(query) > 0 && !store_is_null(query, 0) && now < store_integer(query, 0) - ORDER_KEPT_SECONDS;
	int err = store_error(query);
	return err < 0 ? err : went_back ? -E_GRANT_EXPIRED : 0;
}

int order_journal_start(struct store_tx *tx, const struct id *nonce, int64_t until, int64_t now, struct str command)
{
	char clean[ORDER_COMMAND_SIZE];
	int err = time_check(tx, until, now);
	if (err < 0)
		return err;
	struct store_query *query = store_query(tx, "INSERT INTO orders (nonce, valid_until, state, started, exit_code, command)"
	                                            " VALUES ($1, $2, 'started', $3, 0, $4)");
	store_bind_id(query, 1, nonce);
	store_bind_integer(query, 2, until);
	store_bind_integer(query, 3, now);
	store_bind_text(query, 4, str_from(utf8_clean(command, clean, sizeof clean)));
	err = store_exec(query);
	return err == -E_EXISTS ? -E_ORDER_USED : err;
}

int order_journal_finish(struct store_tx *tx, const struct id *nonce, int exit_code)
{
	struct store_query *query =
	        store_query(tx, "UPDATE orders SET state = 'finished', exit_code = $1 WHERE nonce = $2 AND state = 'started'");
	store_bind_integer(query, 1, exit_code);
	store_bind_id(query, 2, nonce);
	int err = store_exec(query);
	return err < 0 ? err : store_changed(tx) ? 0 : -E_NOT_FOUND;
}

int order_journal_interrupt(struct store_tx *tx)
{
	return store_exec(store_query(tx, "UPDATE orders SET state = 'interrupted' WHERE state = 'started'"));
}

static int state_parse(const char *name, enum order_state *ret)
{
	for (size_t i = 0; i < sizeof state_names / sizeof *state_names; i++)
		if (str_is(str_from(name), state_names[i])) {
			*ret = (enum order_state)i;
			return 0;
		}
	return -E_CHECKSUM;
}

int order_journal_get(struct store_tx *tx, const struct id *nonce, struct order *ret)
{
	char state[16];
	struct store_query *query =
	        store_query(tx, "SELECT nonce, valid_until, started, state, exit_code, command FROM orders WHERE nonce = $1");
	store_bind_id(query, 1, nonce);
	int rows = store_step(query);
	if (rows <= 0)
		return rows < 0 ? rows : -E_NOT_FOUND;
	store_id(query, 0, &ret->nonce);
	ret->until = store_integer(query, 1);
	ret->started = store_integer(query, 2);
	store_text(query, 3, state, sizeof state);
	ret->exit_code = (int)store_integer(query, 4);
	store_text(query, 5, ret->command, sizeof ret->command);
	int err = store_error(query);
	return err < 0 ? err : state_parse(state, &ret->state);
}

int order_journal_prune(struct store_tx *tx, int64_t now)
{
	struct store_query *query = store_query(tx, "DELETE FROM orders WHERE valid_until < $1"
	                                            " AND valid_until < (SELECT max(valid_until) FROM orders) - $2");
	store_bind_integer(query, 1, now - ORDER_KEPT_SECONDS);
	store_bind_integer(query, 2, ORDER_KEPT_SECONDS);
	return store_exec(query);
}
