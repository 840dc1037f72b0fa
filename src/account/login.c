#include "account/login.h"

#include "base/err.h"
#include "base/mem.h"
#include "crypto/key.h"
#include "os/random.h"
#include "store/store.h"

static int one_changed(struct store_tx *tx, struct store_query *query, int missing)
{
	int err = store_exec(query);
	return err < 0 ? err : store_changed(tx) ? 0 : missing;
}

/* ---- failures, by the hash of the name in lower case ---- */

int64_t account_delay(int64_t failures)
{
	if (failures <= ACCOUNT_FAILURES_FREE)
		return 0;
	int64_t shift = failures - ACCOUNT_FAILURES_FREE - 1;
	return shift < 6 ? (int64_t)1 << shift : ACCOUNT_DELAY_MAX;
}

static void bind_name(struct store_query *query, int position, struct str name)
{
	char lower[64];
	uint8_t hash[HASH_SIZE];
	size_t len = name.len < sizeof lower ? name.len : sizeof lower;
	for (size_t i = 0; i < len; i++)
		lower[i] = (char)(name.ptr[i] >= 'A' && name.ptr[i] <= 'Z' ? name.ptr[i] - 'A' + 'a' : name.ptr[i]);
	hash_sha256(lower, len, hash);
	store_bind_blob(query, position, hash, sizeof hash);
}

struct failures {
	int64_t n, until, last;
};

static int failures_get(struct store_tx *tx, struct str name, struct failures *ret)
{
	struct store_query *query = store_query(tx, "SELECT failures, until, last FROM login_failures WHERE name = $1");
	bind_name(query, 1, name);
	int rows = store_step(query);
	*ret = (struct failures){ 0 };
	if (rows > 0)
		*ret = (struct failures){ store_integer(query, 0), store_integer(query, 1), store_integer(query, 2) };
	return rows > 0 ? store_error(query) : rows;
}

/* The failures of real accounts are never pushed out by those of invented names. */
static int unknown_make_room(struct store_tx *tx)
{
	struct store_query *query =
	        store_query(tx, "DELETE FROM login_failures WHERE name IN (SELECT name FROM login_failures WHERE known = 0"
	                        " ORDER BY last DESC LIMIT -1 OFFSET $1)");
	store_bind_integer(query, 1, ACCOUNT_UNKNOWN_MAX - 1);
	return store_exec(query);
}

static int failures_put(struct store_tx *tx, struct str name, bool known, const struct failures *failures)
{
	struct store_query *query =
	        store_query(tx, "INSERT INTO login_failures (name, known, failures, until, last) VALUES ($1, $2, $3, $4, $5)"
	                        " ON CONFLICT (name) DO UPDATE SET known = $2, failures = $3, until = $4, last = $5");
	bind_name(query, 1, name);
	store_bind_integer(query, 2, known);
	store_bind_integer(query, 3, failures->n);
	store_bind_integer(query, 4, failures->until);
	store_bind_integer(query, 5, failures->last);
	return store_exec(query);
}

static int failure_count(struct store_tx *tx, struct str name, bool known, int64_t now, int64_t *ret_wait)
{
	struct failures failures;
	int err = failures_get(tx, name, &failures);
	if (err < 0)
		return err;
	/* A clock that was set back must not make a long wait of a short one. */
	if (failures.until > now && failures.until - now <= ACCOUNT_DELAY_MAX) {
		*ret_wait = failures.until - now;
		return -E_LOGIN_DELAY;
	}
	if (!known && !failures.n)
		err = unknown_make_room(tx);
	if (err < 0)
		return err;
	failures.n = now - failures.last < ACCOUNT_FAILURE_SECONDS ? failures.n + 1 : 1;
	failures.until = now + account_delay(failures.n);
	failures.last = now;
	return failures_put(tx, name, known, &failures);
}

/* As if it had not been tried, so that a right password without a code neither counts nor forgets wrong codes. */
static int failure_take_back(struct store_tx *tx, struct str name)
{
	struct store_query *query =
	        store_query(tx, "UPDATE login_failures SET failures = max(failures - 1, 0), until = 0 WHERE name = $1");
	bind_name(query, 1, name);
	return store_exec(query);
}

static int failures_forget(struct store_tx *tx, struct str name)
{
	struct store_query *query = store_query(tx, "DELETE FROM login_failures WHERE name = $1");
	bind_name(query, 1, name);
	return store_exec(query);
}

/* ---- proofs ---- */

struct proofs {
	char encoded[PASSWORD_ENCODED_SIZE];
	uint8_t secret[TOTP_SECRET_SIZE], pending[TOTP_SECRET_SIZE];
	int64_t counter;
	bool password, totp, totp_pending;
};

/* All empty for a user without any. */
static int proofs_get(struct store_tx *tx, const struct id *user, struct proofs *ret)
{
	struct store_query *query =
	        store_query(tx, "SELECT password, totp_secret, totp_pending, totp_counter FROM proofs WHERE user = $1");
	store_bind_id(query, 1, user);
	int rows = store_step(query);
	*ret = (struct proofs){ 0 };
	if (rows <= 0)
		return rows;
	ret->password = true;
	store_text(query, 0, ret->encoded, sizeof ret->encoded);
	ret->totp = !store_is_null(query, 1);
	if (ret->totp)
		store_blob(query, 1, ret->secret, sizeof ret->secret);
	ret->totp_pending = !store_is_null(query, 2);
	if (ret->totp_pending)
		store_blob(query, 2, ret->pending, sizeof ret->pending);
	ret->counter = store_integer(query, 3);
	return store_error(query);
}

int account_proofs(struct store_tx *tx, const struct id *user, struct account_proofs *ret)
{
	struct proofs proofs;
	int err = proofs_get(tx, user, &proofs);
	if (err == 0)
		*ret = (struct account_proofs){ proofs.password, proofs.totp };
	mem_wipe(&proofs, sizeof proofs);
	return err;
}

int account_administrated(struct store_tx *tx, bool *ret)
{
	struct store_query *query =
	        store_query(tx, "SELECT 1 FROM proofs JOIN users ON users.id = proofs.user"
	                        " WHERE users.role = 'administrator' AND users.all_groups = 1 AND users.disabled = 0"
	                        " LIMIT 1");
	int rows = store_step(query);
	if (rows >= 0)
		*ret = rows > 0;
	return rows < 0 ? rows : 0;
}

int account_password_set(struct store_tx *tx, const struct id *user, const char *encoded)
{
	struct store_query *query = store_query(tx, "INSERT INTO proofs (user, password, totp_counter) VALUES ($1, $2, 0)"
	                                            " ON CONFLICT (user) DO UPDATE SET password = $2");
	store_bind_id(query, 1, user);
	store_bind_text(query, 2, str_from(encoded));
	return store_exec(query);
}

int account_totp_begin(struct store_tx *tx, const struct id *user, uint8_t ret_secret[TOTP_SECRET_SIZE])
{
	struct account_proofs proofs = { 0 };
	uint8_t secret[TOTP_SECRET_SIZE];
	int err = account_proofs(tx, user, &proofs);
	if (err < 0)
		return err;
	if (!proofs.password || proofs.totp)
		return proofs.totp ? -E_EXISTS : -E_DENIED;
	random_bytes(secret, sizeof secret);
	struct store_query *query = store_query(tx, "UPDATE proofs SET totp_pending = $1 WHERE user = $2");
	store_bind_blob(query, 1, secret, sizeof secret);
	store_bind_id(query, 2, user);
	err = store_exec(query);
	if (err == 0)
		memcpy(ret_secret, secret, sizeof secret);
	mem_wipe(secret, sizeof secret);
	return err;
}

int account_totp_confirm(struct store_tx *tx, const struct id *user, struct str code, int64_t now)
{
	struct proofs proofs;
	int64_t counter;
	int err = proofs_get(tx, user, &proofs);
	if (err == 0)
		err = proofs.totp_pending ? totp_check(proofs.pending, code, now, 0, &counter) : -E_LOGIN;
	mem_wipe(&proofs, sizeof proofs);
	if (err < 0)
		return err;
	struct store_query *query =
	        store_query(tx, "UPDATE proofs SET totp_secret = totp_pending, totp_pending = NULL, totp_counter = $1"
	                        " WHERE user = $2");
	store_bind_integer(query, 1, counter);
	store_bind_id(query, 2, user);
	return one_changed(tx, query, -E_LOGIN);
}

int account_totp_forget(struct store_tx *tx, const struct id *user)
{
	struct store_query *query =
	        store_query(tx, "UPDATE proofs SET totp_secret = NULL, totp_pending = NULL, totp_counter = 0 WHERE user = $1");
	store_bind_id(query, 1, user);
	return store_exec(query);
}

static int code_use(struct store_tx *tx, const struct id *user, const struct proofs *proofs, struct str code, int64_t now)
{
	int64_t counter;
	int err = totp_check(proofs->secret, code, now, proofs->counter, &counter);
	if (err < 0)
		return err;
	struct store_query *query = store_query(tx, "UPDATE proofs SET totp_counter = $1 WHERE user = $2");
	store_bind_integer(query, 1, counter);
	store_bind_id(query, 2, user);
	return store_exec(query);
}

/* ---- logins ---- */

/* Who logs in with a password has this name, not this id.  -E_NOT_FOUND. */
static int user_by_name(struct store_tx *tx, struct str name, struct user *ret)
{
	struct user user;
	int err = account_find(tx, name, &user);
	if (err < 0)
		return err;
	if (user.disabled || !str_equal_nocase(str_from(user.name), name))
		return -E_NOT_FOUND;
	*ret = user;
	return 0;
}

int account_login_begin(struct store_tx *tx, struct str name, int64_t now, struct account_login *ret, int64_t *ret_wait)
{
	struct proofs proofs = { 0 };
	struct account_login login;
	struct user user;
	int err = str_copy(name, login.name, sizeof login.name);
	if (err < 0)
		return -E_LOGIN;
	err = user_by_name(tx, name, &user);
	bool known = err == 0;
	if (known)
		err = proofs_get(tx, &user.id, &proofs);
	if (err == 0 || err == -E_NOT_FOUND)
		err = failure_count(tx, name, known, now, ret_wait);
	if (err == 0) {
		memcpy(login.encoded, proofs.encoded, sizeof login.encoded);
		*ret = login;
	}
	mem_wipe(&proofs, sizeof proofs);
	mem_wipe(&login, sizeof login);
	return err;
}

static int proofs_check(struct store_tx *tx, const struct account_login *login, const struct user *user, struct str code,
                        int64_t now)
{
	struct proofs proofs;
	int err = proofs_get(tx, &user->id, &proofs);
	if (err == 0 && !str_is(str_from(proofs.encoded), login->encoded))
		err = -E_LOGIN; /* changed since it was verified */
	if (err == 0 && proofs.totp)
		err = code.len ? code_use(tx, &user->id, &proofs, code, now) : -E_CODE_WANTED;
	mem_wipe(&proofs, sizeof proofs);
	return err;
}

int account_login_finish(struct store_tx *tx, const struct account_login *login, bool matches, struct str code, int64_t now,
                         struct user *ret)
{
	struct str name = str_from(login->name);
	struct user user;
	if (!matches || !*login->encoded)
		return -E_LOGIN;
	int err = user_by_name(tx, name, &user);
	if (err < 0)
		return err == -E_NOT_FOUND ? -E_LOGIN : err;
	err = proofs_check(tx, login, &user, code, now);
	if (err == -E_CODE_WANTED) {
		int back = failure_take_back(tx, name);
		return back < 0 ? back : err;
	}
	if (err == 0)
		err = failures_forget(tx, name);
	if (err == 0)
		*ret = user;
	return err;
}
