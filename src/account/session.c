#include "account/session.h"

#include "account/login.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "crypto/key.h"
#include "os/random.h"
#include "store/store.h"

#define SEEN_STEP_S 60 /* a use within this time of the last one is not written */

static void bind_hash(struct store_query *query, int position, const void *secret, size_t len)
{
	uint8_t hash[HASH_SIZE];
	hash_sha256(secret, len, hash);
	store_bind_blob(query, position, hash, sizeof hash);
}

static int changed_or(struct store_tx *tx, struct store_query *query, int missing)
{
	int err = store_exec(query);
	return err < 0 ? err : store_changed(tx) ? 0 : missing;
}

/* ---- sessions ---- */

static int make_room(struct store_tx *tx, const struct id *user)
{
	struct store_query *query = store_query(tx, "DELETE FROM sessions WHERE hash IN (SELECT hash FROM sessions WHERE user = $1"
	                                            " ORDER BY created DESC, hash LIMIT -1 OFFSET $2)");
	store_bind_id(query, 1, user);
	store_bind_integer(query, 2, ACCOUNT_SESSIONS_PER_USER - 1);
	return store_exec(query);
}

int account_session_make(struct store_tx *tx, const struct id *user, struct str address, bool by_link, int64_t now,
                         uint8_t ret_session[ACCOUNT_SESSION_SIZE], int64_t *ret_expires)
{
	uint8_t session[ACCOUNT_SESSION_SIZE];
	char clean[ACCOUNT_ADDRESS_SIZE];
	int err = make_room(tx, user);
	if (err == 0)
		err = account_logged_in(tx, user, now);
	if (err < 0)
		return err;
	random_bytes(session, sizeof session);
	struct store_query *query =
	        store_query(tx, "INSERT INTO sessions (hash, user, created, expires, seen, address, proved_until, by_link)"
	                        " VALUES ($1, $2, $3, $4, $3, $5, $6, $7)");
	bind_hash(query, 1, session, sizeof session);
	store_bind_id(query, 2, user);
	store_bind_integer(query, 3, now);
	store_bind_integer(query, 4, now + ACCOUNT_SESSION_SECONDS);
	store_bind_text(query, 5, str_from(utf8_clean(address, clean, sizeof clean)));
	store_bind_integer(query, 6, by_link ? now + ACCOUNT_PROVED_SECONDS : 0);
	store_bind_integer(query, 7, by_link);
	err = store_exec(query);
	if (err == 0) {
		memcpy(ret_session, session, sizeof session);
		*ret_expires = now + ACCOUNT_SESSION_SECONDS;
	}
	mem_wipe(session, sizeof session);
	return err;
}

/* Columns from 1: the hash, then those of struct account_session. */
#define COLUMNS "hash, created, expires, seen, proved_until, by_link, address"

static int session_read(struct store_query *query, struct account_session *ret)
{
	uint8_t hash[HASH_SIZE];
	store_blob(query, 1, hash, sizeof hash);
	memcpy(ret->id, hash, sizeof ret->id);
	ret->created = store_integer(query, 2);
	ret->expires = store_integer(query, 3);
	ret->seen = store_integer(query, 4);
	ret->proved_until = store_integer(query, 5);
	ret->by_link = store_integer(query, 6) == 1;
	store_text(query, 7, ret->address, sizeof ret->address);
	return store_error(query);
}

int account_session_get(struct store_tx *tx, const uint8_t session[ACCOUNT_SESSION_SIZE], int64_t now, struct user *ret,
                        struct account_session *ret_session)
{
	struct account_session got;
	struct user user;
	struct id id;
	struct store_query *query =
	        store_query(tx, "SELECT user, " COLUMNS " FROM sessions WHERE hash = $1 AND expires > $2 AND seen > $3");
	bind_hash(query, 1, session, ACCOUNT_SESSION_SIZE);
	store_bind_integer(query, 2, now);
	store_bind_integer(query, 3, now - ACCOUNT_SESSION_IDLE);
	int rows = store_step(query);
	if (rows <= 0)
		return rows < 0 ? rows : -E_SESSION;
	store_id(query, 0, &id);
	int err = session_read(query, &got);
	if (err == 0)
		err = account_get(tx, &id, &user);
	if (err == -E_NOT_FOUND || (err == 0 && user.disabled))
		return -E_SESSION;
	if (err < 0)
		return err;
	*ret = user;
	if (ret_session)
		*ret_session = got;
	return 0;
}

int account_session_use(struct store_tx *tx, const uint8_t session[ACCOUNT_SESSION_SIZE], int64_t now, struct user *ret,
                        struct account_session *ret_session)
{
	struct account_session got;
	int err = account_session_get(tx, session, now, ret, &got);
	if (err == 0 && ret_session)
		*ret_session = got;
	if (err < 0 || now - got.seen < SEEN_STEP_S)
		return err;
	struct store_query *query = store_query(tx, "UPDATE sessions SET seen = $1 WHERE hash = $2");
	store_bind_integer(query, 1, now);
	bind_hash(query, 2, session, ACCOUNT_SESSION_SIZE);
	return store_exec(query);
}

int account_session_prove(struct store_tx *tx, const uint8_t session[ACCOUNT_SESSION_SIZE], int64_t now)
{
	struct store_query *query = store_query(tx, "UPDATE sessions SET proved_until = $1 WHERE hash = $2");
	store_bind_integer(query, 1, now + ACCOUNT_PROVED_SECONDS);
	bind_hash(query, 2, session, ACCOUNT_SESSION_SIZE);
	return changed_or(tx, query, -E_SESSION);
}

int account_session_give(struct store_tx *tx, const uint8_t session[ACCOUNT_SESSION_SIZE], const struct id *user)
{
	struct store_query *query = store_query(tx, "UPDATE sessions SET user = $1, proved_until = 0, by_link = 0 WHERE hash = $2");
	store_bind_id(query, 1, user);
	bind_hash(query, 2, session, ACCOUNT_SESSION_SIZE);
	return changed_or(tx, query, -E_SESSION);
}

int account_session_end(struct store_tx *tx, const uint8_t session[ACCOUNT_SESSION_SIZE])
{
	struct store_query *query = store_query(tx, "DELETE FROM sessions WHERE hash = $1");
	bind_hash(query, 1, session, ACCOUNT_SESSION_SIZE);
	return changed_or(tx, query, -E_SESSION);
}

int account_session_end_named(struct store_tx *tx, const struct id *user, const uint8_t session_id[16])
{
	struct store_query *query = store_query(tx, "DELETE FROM sessions WHERE user = $1 AND substr(hash, 1, 16) = $2");
	store_bind_id(query, 1, user);
	store_bind_blob(query, 2, session_id, 16);
	return changed_or(tx, query, -E_NOT_FOUND);
}

int account_sessions_end(struct store_tx *tx, const struct id *user, const uint8_t *except)
{
	static const uint8_t none[ACCOUNT_SESSION_SIZE];
	struct store_query *query = store_query(tx, "DELETE FROM sessions WHERE user = $1 AND hash <> $2");
	store_bind_id(query, 1, user);
	bind_hash(query, 2, except ? except : none, ACCOUNT_SESSION_SIZE);
	int err = store_exec(query);
	if (err < 0)
		return err;
	query = store_query(tx, "DELETE FROM login_links WHERE user = $1");
	store_bind_id(query, 1, user);
	return store_exec(query);
}

int account_session_list(struct store_tx *tx, const struct id *user, int64_t now,
                         int (*each)(void *ctx, const struct account_session *session), void *ctx)
{
	int rows;
	struct store_query *query = store_query(tx, "SELECT user, " COLUMNS " FROM sessions WHERE user = $1 AND expires > $2"
	                                            " AND seen > $3 ORDER BY created, hash");
	store_bind_id(query, 1, user);
	store_bind_integer(query, 2, now);
	store_bind_integer(query, 3, now - ACCOUNT_SESSION_IDLE);
	while ((rows = store_step(query)) > 0) {
		struct account_session session;
		int err = session_read(query, &session);
		if (err == 0)
			err = each(ctx, &session);
		if (err < 0)
			return err;
	}
	return rows;
}

void account_session_id(const uint8_t session[ACCOUNT_SESSION_SIZE], uint8_t ret_id[16])
{
	uint8_t hash[HASH_SIZE];
	hash_sha256(session, ACCOUNT_SESSION_SIZE, hash);
	memcpy(ret_id, hash, 16);
}

/* ---- one-time links ---- */

int account_link_make(struct store_tx *tx, const struct id *user, int64_t now, char ret_token[ACCOUNT_LINK_SIZE])
{
	uint8_t secret[32];
	random_bytes(secret, sizeof secret);
	base32_encode(secret, sizeof secret, ret_token);
	struct store_query *query = store_query(tx, "INSERT INTO login_links (hash, user, expires) VALUES ($1, $2, $3)");
	bind_hash(query, 1, secret, sizeof secret);
	store_bind_id(query, 2, user);
	store_bind_integer(query, 3, now + ACCOUNT_LINK_SECONDS);
	mem_wipe(secret, sizeof secret);
	return store_exec(query);
}

int account_link_use(struct store_tx *tx, struct str token, int64_t now, struct user *ret)
{
	uint8_t secret[32];
	struct user user;
	struct id id;
	if (base32_decode(token, secret, sizeof secret) != sizeof secret)
		return -E_LOGIN_LINK;
	struct store_query *query = store_query(tx, "DELETE FROM login_links WHERE hash = $1 AND expires > $2 RETURNING user");
	bind_hash(query, 1, secret, sizeof secret);
	store_bind_integer(query, 2, now);
	mem_wipe(secret, sizeof secret);
	int rows = store_step(query);
	if (rows <= 0)
		return rows < 0 ? rows : -E_LOGIN_LINK;
	store_id(query, 0, &id);
	int err = store_error(query);
	if (err == 0)
		err = store_exec(query);
	if (err == 0)
		err = account_get(tx, &id, &user);
	if (err == -E_NOT_FOUND || (err == 0 && user.disabled))
		return -E_LOGIN_LINK;
	if (err == 0)
		*ret = user;
	return err;
}

/* ---- what has expired ---- */

int account_prune(struct store_tx *tx, int64_t now)
{
	struct store_query *query = store_query(tx, "DELETE FROM sessions WHERE expires <= $1 OR seen <= $2");
	store_bind_integer(query, 1, now);
	store_bind_integer(query, 2, now - ACCOUNT_SESSION_IDLE);
	int err = store_exec(query);
	if (err < 0)
		return err;
	query = store_query(tx, "DELETE FROM login_links WHERE expires <= $1");
	store_bind_integer(query, 1, now);
	err = store_exec(query);
	if (err < 0)
		return err;
	query = store_query(tx, "DELETE FROM login_failures WHERE last <= $1");
	store_bind_integer(query, 1, now - ACCOUNT_FAILURE_SECONDS);
	return store_exec(query);
}
