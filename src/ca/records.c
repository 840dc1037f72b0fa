#include "ca/records.h"

#include "base/err.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "os/random.h"
#include "store/store.h"

#define KEY_KEPT_SECONDS ((int64_t)7 * 86400) /* so that a late comer reads "expired", not "unknown" */
#define KEY_COLUMNS      "id, secret_key, created, expires, uses_left, group_name, created_by, approve, network, components"

/* Join keys */

int ca_join_key_add(struct store_tx *tx, const struct join_key *key)
{
	char group[CA_GROUP_SIZE];
	if (key->uses_left < 1 || key->uses_left > CA_USES_MAX)
		return -E_LIMIT;
	struct store_query *query =
	        store_query(tx, "INSERT INTO join_keys (" KEY_COLUMNS ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)");
	store_bind_id(query, 1, &key->id);
	store_bind_blob(query, 2, key->secret_key, sizeof key->secret_key);
	store_bind_integer(query, 3, key->created);
	store_bind_integer(query, 4, key->expires);
	store_bind_integer(query, 5, key->uses_left);
	store_bind_text(query, 6, str_from(utf8_clean(str_from(key->group), group, sizeof group)));
	store_bind_id(query, 7, &key->created_by);
	store_bind_integer(query, 8, key->approve);
	store_bind_text(query, 9, str_from(key->network));
	store_bind_integer(query, 10, key->components);
	return store_exec(query);
}

static int join_key_read(struct store_query *query, struct join_key *ret)
{
	store_id(query, 0, &ret->id);
	store_blob(query, 1, ret->secret_key, sizeof ret->secret_key);
	ret->created = store_integer(query, 2);
	ret->expires = store_integer(query, 3);
	ret->uses_left = store_integer(query, 4);
	store_text(query, 5, ret->group, sizeof ret->group);
	store_id(query, 6, &ret->created_by);
	ret->approve = store_integer(query, 7) != 0;
	store_text(query, 8, ret->network, sizeof ret->network);
	ret->components = (unsigned)store_integer(query, 9);
	return store_error(query);
}

int ca_join_key_get(struct store_tx *tx, const struct id *id, struct join_key *ret)
{
	struct store_query *query = store_query(tx, "SELECT " KEY_COLUMNS " FROM join_keys WHERE id = $1");
	store_bind_id(query, 1, id);
	int rows = store_step(query);
	return rows > 0 ? join_key_read(query, ret) : rows < 0 ? rows : -E_KEY_UNKNOWN;
}

int ca_join_key_find(struct store_tx *tx, const struct id *id, int64_t now, struct join_key *ret)
{
	struct join_key key;
	int err = ca_join_key_get(tx, id, &key);
	if (err == 0 && now >= key.expires)
		err = -E_KEY_EXPIRED;
	if (err == 0 && key.uses_left < 1)
		err = -E_KEY_USED;
	if (err == 0)
		*ret = key;
	mem_wipe(&key, sizeof key);
	return err;
}

int ca_join_key_use(struct store_tx *tx, const struct id *id, int64_t now)
{
	struct join_key key;
	int err = ca_join_key_find(tx, id, now, &key);
	mem_wipe(&key, sizeof key);
	if (err < 0)
		return err;
	struct store_query *query = store_query(tx, "UPDATE join_keys SET uses_left = uses_left - 1 WHERE id = $1");
	store_bind_id(query, 1, id);
	return store_exec(query);
}

int ca_join_key_count(struct store_tx *tx, const struct id *created_by, int64_t since, int64_t *ret_count)
{
	struct store_query *query = store_query(tx, "SELECT count(*) FROM join_keys WHERE created_by = $1 AND created >= $2");
	store_bind_id(query, 1, created_by);
	store_bind_integer(query, 2, since);
	*ret_count = store_step(query) > 0 ? store_integer(query, 0) : 0;
	return store_error(query);
}

int ca_join_key_list(struct store_tx *tx, int (*each)(void *ctx, const struct join_key *key), void *ctx)
{
	int rows;
	struct join_key key;
	struct store_query *query = store_query(tx, "SELECT " KEY_COLUMNS " FROM join_keys ORDER BY created, id");
	while ((rows = store_step(query)) > 0) {
		int err = join_key_read(query, &key);
		if (err == 0)
			err = each(ctx, &key);
		if (err < 0) {
			rows = err;
			break;
		}
	}
	mem_wipe(&key, sizeof key);
	return rows;
}

int ca_join_prune(struct store_tx *tx, int64_t now)
{
	struct store_query *query = store_query(tx, "DELETE FROM join_keys WHERE expires < $1");
	store_bind_integer(query, 1, now - KEY_KEPT_SECONDS);
	int err = store_exec(query);
	if (err < 0)
		return err;
	query = store_query(tx, "DELETE FROM enrolments WHERE device IS NULL AND created < $1");
	store_bind_integer(query, 1, now - CA_ENROLMENT_SECONDS);
	return store_exec(query);
}

/* Enrolments */

static int pending_check(struct store_tx *tx, const struct id *key)
{
	struct store_query *query = store_query(tx, "SELECT count(*) FROM enrolments WHERE key_id = $1 AND csr_hash IS NULL");
	store_bind_id(query, 1, key);
	int64_t pending = store_step(query) > 0 ? store_integer(query, 0) : 0;
	int err = store_error(query);
	return err < 0 ? err : pending < CA_ENROLMENTS_PENDING ? 0 : -E_LIMIT;
}

int ca_enrolment_begin(struct store_tx *tx, const struct id *key, struct str name, int64_t number, int64_t now,
                       struct enrolment *ret)
{
	struct join_key usable;
	struct enrolment enrolment = { .key = *key, .number = number, .created = now };
	if (!name_valid(name) || str_copy(name, enrolment.name, sizeof enrolment.name) < 0)
		return -E_NAME;
	int err = ca_join_key_find(tx, key, now, &usable);
	mem_wipe(&usable, sizeof usable);
	if (err == 0)
		err = pending_check(tx, key);
	if (err < 0)
		return err;
	random_id(&enrolment.token);
	struct store_query *query =
	        store_query(tx, "INSERT INTO enrolments (token, key_id, name, number, created) VALUES ($1, $2, $3, $4, $5)");
	store_bind_id(query, 1, &enrolment.token);
	store_bind_id(query, 2, key);
	store_bind_text(query, 3, name);
	store_bind_integer(query, 4, number);
	store_bind_integer(query, 5, now);
	err = store_exec(query);
	if (err == 0)
		*ret = enrolment;
	return err;
}

static int enrolment_read(struct store_query *query, struct enrolment *ret)
{
	int rows = store_step(query);
	if (rows <= 0)
		return rows < 0 ? rows : -E_NOT_FOUND;
	struct enrolment enrolment = { 0 };
	store_id(query, 0, &enrolment.token);
	store_id(query, 1, &enrolment.key);
	store_text(query, 2, enrolment.name, sizeof enrolment.name);
	enrolment.number = store_integer(query, 3);
	enrolment.created = store_integer(query, 4);
	if (!store_is_null(query, 5))
		store_id(query, 5, &enrolment.device);
	int err = store_error(query);
	if (err == 0)
		*ret = enrolment;
	return err;
}

int ca_enrolment_get(struct store_tx *tx, const struct id *token, struct enrolment *ret)
{
	struct store_query *query =
	        store_query(tx, "SELECT token, key_id, name, number, created, device FROM enrolments WHERE token = $1");
	store_bind_id(query, 1, token);
	return enrolment_read(query, ret);
}

static int enrolment_completed(struct store_tx *tx, const struct id *key, const uint8_t csr_hash[HASH_SIZE], struct enrolment *ret)
{
	struct store_query *query = store_query(tx, "SELECT token, key_id, name, number, created, device FROM enrolments"
	                                            " WHERE key_id = $1 AND csr_hash = $2");
	store_bind_id(query, 1, key);
	store_bind_blob(query, 2, csr_hash, HASH_SIZE);
	return enrolment_read(query, ret);
}

int ca_enrolment_complete(struct store_tx *tx, const struct id *token, const uint8_t csr_hash[HASH_SIZE], const struct id *device,
                          int64_t now, struct enrolment *ret, bool *ret_again)
{
	struct enrolment enrolment;
	int err = ca_enrolment_get(tx, token, &enrolment);
	if (err < 0)
		return err;
	err = enrolment_completed(tx, &enrolment.key, csr_hash, ret);
	*ret_again = err == 0;
	if (err != -E_NOT_FOUND)
		return err;
	if (!id_is_zero(&enrolment.device))
		return -E_EXISTS;
	if (now - enrolment.created > CA_ENROLMENT_SECONDS)
		return -E_NOT_FOUND;
	err = ca_join_key_use(tx, &enrolment.key, now);
	if (err < 0)
		return err;
	struct store_query *query = store_query(tx, "UPDATE enrolments SET csr_hash = $1, device = $2 WHERE token = $3");
	store_bind_blob(query, 1, csr_hash, HASH_SIZE);
	store_bind_id(query, 2, device);
	store_bind_id(query, 3, token);
	err = store_exec(query);
	if (err == 0) {
		*ret = enrolment;
		ret->device = *device;
	}
	return err;
}

/* Certificates */

static int key_is_revoked(struct store_tx *tx, const uint8_t key_hash[HASH_SIZE], bool *ret_revoked)
{
	struct store_query *query = store_query(tx, "SELECT 1 FROM certificates WHERE key_hash = $1 AND revoked_at > 0 LIMIT 1");
	store_bind_blob(query, 1, key_hash, HASH_SIZE);
	int rows = store_step(query);
	*ret_revoked = rows > 0;
	return rows < 0 ? rows : 0;
}

int ca_certificate_add(struct store_tx *tx, const struct certificate_record *record)
{
	bool revoked;
	int err = key_is_revoked(tx, record->key_hash, &revoked);
	if (err < 0 || revoked)
		return err < 0 ? err : -E_REVOKED;
	struct store_query *query =
	        store_query(tx, "INSERT INTO certificates (serial, kind, subject, key_hash, not_before, not_after, revoked_at)"
	                        " VALUES ($1, $2, $3, $4, $5, $6, 0)");
	store_bind_blob(query, 1, record->serial, sizeof record->serial);
	store_bind_text(query, 2, str_from(identity_kind_name(record->kind)));
	store_bind_id(query, 3, &record->subject);
	store_bind_blob(query, 4, record->key_hash, sizeof record->key_hash);
	store_bind_integer(query, 5, record->not_before);
	store_bind_integer(query, 6, record->not_after);
	return store_exec(query);
}

int ca_certificate_has_other_key(struct store_tx *tx, const struct certificate_record *record, bool *ret_other)
{
	struct store_query *query =
	        store_query(tx, "SELECT 1 FROM certificates WHERE subject = $1 AND kind = $2 AND key_hash <> $3 LIMIT 1");
	store_bind_id(query, 1, &record->subject);
	store_bind_text(query, 2, str_from(identity_kind_name(record->kind)));
	store_bind_blob(query, 3, record->key_hash, sizeof record->key_hash);
	int rows = store_step(query);
	*ret_other = rows > 0;
	return rows < 0 ? rows : 0;
}

int ca_certificate_has_key(struct store_tx *tx, const struct certificate_record *record, bool *ret_has)
{
	struct store_query *query = store_query(tx, "SELECT 1 FROM certificates WHERE subject = $1 AND kind = $2 AND key_hash = $3"
	                                            " AND revoked_at = 0 LIMIT 1");
	store_bind_id(query, 1, &record->subject);
	store_bind_text(query, 2, str_from(identity_kind_name(record->kind)));
	store_bind_blob(query, 3, record->key_hash, sizeof record->key_hash);
	int rows = store_step(query);
	*ret_has = rows > 0;
	return rows < 0 ? rows : 0;
}

int ca_certificate_count(struct store_tx *tx, const struct id *subject, enum identity_kind kind, int64_t after, int64_t *ret_count)
{
	struct store_query *query =
	        store_query(tx, "SELECT count(*) FROM certificates WHERE subject = $1 AND not_before > $2 AND kind = $3");
	store_bind_id(query, 1, subject);
	store_bind_integer(query, 2, after);
	store_bind_text(query, 3, str_from(identity_kind_name(kind)));
	int64_t count = store_step(query) > 0 ? store_integer(query, 0) : 0;
	int err = store_error(query);
	if (err == 0)
		*ret_count = count;
	return err;
}

int ca_certificate_revoke(struct store_tx *tx, const struct id *subject, int64_t now)
{
	struct store_query *query =
	        store_query(tx, "UPDATE certificates SET revoked_at = $1 WHERE subject = $2 AND revoked_at = 0");
	store_bind_integer(query, 1, now);
	store_bind_id(query, 2, subject);
	int err = store_exec(query);
	return err < 0 ? err : store_changed(tx) ? 0 : -E_NOT_FOUND;
}

int ca_certificate_revoke_kind(struct store_tx *tx, const struct id *subject, enum identity_kind kind, int64_t now)
{
	struct store_query *query =
	        store_query(tx, "UPDATE certificates SET revoked_at = $1 WHERE subject = $2 AND kind = $3 AND revoked_at = 0");
	store_bind_integer(query, 1, now);
	store_bind_id(query, 2, subject);
	store_bind_text(query, 3, str_from(identity_kind_name(kind)));
	int err = store_exec(query);
	return err < 0 ? err : store_changed(tx) ? 0 : -E_NOT_FOUND;
}

int ca_certificate_expires(struct store_tx *tx, const struct id *subject, enum identity_kind kind, int64_t *ret_expires)
{
	struct store_query *query = store_query(tx, "SELECT coalesce(max(not_after), 0) FROM certificates"
	                                            " WHERE subject = $1 AND kind = $2 AND revoked_at = 0");
	store_bind_id(query, 1, subject);
	store_bind_text(query, 2, str_from(identity_kind_name(kind)));
	int64_t expires = store_step(query) > 0 ? store_integer(query, 0) : 0;
	int err = store_error(query);
	if (err == 0)
		*ret_expires = expires;
	return err;
}

static enum identity_kind kind_read(struct store_query *query, int column)
{
	char name[16];
	unsigned kind = IDENTITY_NODE;
	store_text(query, column, name, sizeof name);
	while (kind < IDENTITY_RELAY && !str_is(str_from(name), identity_kind_name(kind)))
		kind++;
	return (enum identity_kind)kind;
}

int ca_certificate_each_revoked(struct store_tx *tx, int64_t since, int64_t now,
                                int (*each)(void *ctx, enum identity_kind kind, const uint8_t key_hash[HASH_SIZE]), void *ctx)
{
	int rows;
	uint8_t key_hash[HASH_SIZE];
	struct store_query *query =
	        store_query(tx, "SELECT key_hash, kind FROM certificates WHERE revoked_at > 0 AND revoked_at >= $1"
	                        " AND not_after > $2 ORDER BY revoked_at");
	store_bind_integer(query, 1, since);
	store_bind_integer(query, 2, now);
	while ((rows = store_step(query)) > 0) {
		enum identity_kind kind = kind_read(query, 1);
		store_blob(query, 0, key_hash, sizeof key_hash);
		int err = store_error(query);
		if (err == 0)
			err = each(ctx, kind, key_hash);
		if (err < 0)
			return err;
	}
	return rows;
}

int ca_certificate_is_revoked(struct store_tx *tx, const uint8_t serial[CERTIFICATE_SERIAL_SIZE], const uint8_t key_hash[HASH_SIZE],
                              bool *ret_revoked)
{
	int err = key_is_revoked(tx, key_hash, ret_revoked);
	if (err < 0 || *ret_revoked)
		return err;
	struct store_query *query = store_query(tx, "SELECT 1 FROM certificates WHERE serial = $1 AND revoked_at > 0");
	store_bind_blob(query, 1, serial, CERTIFICATE_SERIAL_SIZE);
	int rows = store_step(query);
	*ret_revoked = rows > 0;
	return rows < 0 ? rows : 0;
}

int ca_certificate_prune(struct store_tx *tx, int64_t now)
{
	struct store_query *query = store_query(
	        tx,
	        "DELETE FROM certificates WHERE revoked_at = 0 AND (not_after < $1 AND EXISTS (SELECT 1 FROM certificates AS newer"
	        " WHERE newer.subject = certificates.subject AND newer.kind = certificates.kind AND newer.not_after > "
	        "certificates.not_after)"
	        " OR (not_after < $2 AND kind IN ($3, $4)))");
	store_bind_integer(query, 1, now - CA_RENEWAL_SECONDS);
	store_bind_integer(query, 2, now);
	store_bind_text(query, 3, str_from(identity_kind_name(IDENTITY_USER)));
	store_bind_text(query, 4, str_from(identity_kind_name(IDENTITY_COMPONENT)));
	return store_exec(query);
}
