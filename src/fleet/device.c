#include "base/err.h"
#include "base/utf8.h"
#include "fleet/fleet.h"
#include "store/store.h"

#define COLUMNS                                                                                                                    \
	"id, name, token, os, arch, version, parent, created, last_seen, retired, group_name, tags, relay, relay_address, signs, " \
	"forged, relay_unsigned"

static int name_check(struct str name)
{
	return !name_valid(name) ? -E_NAME : name.len > FLEET_NAME_MAX ? -E_TOO_LONG : 0;
}

int fleet_token_next(struct store_tx *tx, struct str name, int64_t *ret_token)
{
	int err = name_check(name);
	if (err < 0)
		return err;
	struct store_query *query = store_query(tx, "INSERT INTO tokens (name, last) VALUES (lower($1), 1)"
	                                            " ON CONFLICT (name) DO UPDATE SET last = tokens.last + 1 RETURNING last");
	store_bind_text(query, 1, name);
	int64_t token = store_step(query) > 0 ? store_integer(query, 0) : 0;
	err = store_exec(query);
	if (err < 0)
		return err;
	if (token > FLEET_TOKEN_MAX)
		return -E_LIMIT;
	*ret_token = token;
	return 0;
}

int fleet_device_add(struct store_tx *tx, const struct device *device)
{
	struct str name = str_from(device->name);
	int err = name_check(name);
	if (err < 0)
		return err;
	struct store_query *query = store_query(tx, "INSERT INTO devices (" COLUMNS ")"
	                                            " VALUES ($1, $2, $3, '', '', '', $4, $5, 0, 0, $6, $7, 0, '', 0, 0, 0)");
	store_bind_id(query, 1, &device->id);
	store_bind_text(query, 2, name);
	store_bind_integer(query, 3, device->token);
	store_bind_id(query, 4, &device->parent);
	store_bind_integer(query, 5, device->created);
	store_bind_text(query, 6, str_from(device->group));
	store_bind_text(query, 7, str_from(device->tags));
	return store_exec(query);
}

static int device_read(struct store_query *query, struct device *ret)
{
	store_id(query, 0, &ret->id);
	store_text(query, 1, ret->name, sizeof ret->name);
	ret->token = store_integer(query, 2);
	store_text(query, 3, ret->os, sizeof ret->os);
	store_text(query, 4, ret->arch, sizeof ret->arch);
	store_text(query, 5, ret->version, sizeof ret->version);
	store_id(query, 6, &ret->parent);
	ret->created = store_integer(query, 7);
	ret->last_seen = store_integer(query, 8);
	ret->retired = store_integer(query, 9);
	store_text(query, 10, ret->group, sizeof ret->group);
	store_text(query, 11, ret->tags, sizeof ret->tags);
	ret->relay = store_integer(query, 12) != 0;
	store_text(query, 13, ret->relay_address, sizeof ret->relay_address);
	ret->signs = store_integer(query, 14);
	ret->forged = store_integer(query, 15);
	ret->relay_unsigned = store_integer(query, 16) != 0;
	return store_error(query);
}

/* Walks the rows; *found counts them. */
static int devices_each(struct store_query *query, fleet_each each, void *ctx, size_t *found)
{
	int rows;
	while ((rows = store_step(query)) > 0) {
		struct device device;
		int err = device_read(query, &device);
		if (err == 0)
			err = each(ctx, &device);
		if (err < 0)
			return err;
		++*found;
	}
	return rows;
}

int fleet_device_get(struct store_tx *tx, const struct id *id, struct device *ret)
{
	struct store_query *query = store_query(tx, "SELECT " COLUMNS " FROM devices WHERE id = $1");
	store_bind_id(query, 1, id);
	int rows = store_step(query);
	return rows > 0 ? device_read(query, ret) : rows < 0 ? rows : -E_NOT_FOUND;
}

int fleet_device_live(struct store_tx *tx, const struct id *id, struct device *ret)
{
	int err = fleet_device_get(tx, id, ret);
	return err == -E_NOT_FOUND || (err == 0 && ret->retired) ? -E_REVOKED : err;
}

int fleet_device_list(struct store_tx *tx, fleet_each each, void *ctx)
{
	size_t found = 0;
	struct store_query *query =
	        store_query(tx, "SELECT " COLUMNS " FROM devices WHERE retired = 0 ORDER BY lower(name), token");
	return devices_each(query, each, ctx, &found);
}

struct moving {
	struct fleet_cursor *cursor;
	fleet_each each;
	void *ctx;
};

static int move_behind(void *ctx, const struct device *device)
{
	const struct moving *moving = ctx;
	str_copy(str_from(device->name), moving->cursor->name, sizeof moving->cursor->name);
	moving->cursor->token = device->token;
	return moving->each(moving->ctx, device);
}

int fleet_device_next(struct store_tx *tx, struct fleet_cursor *cursor, size_t most, fleet_each each, void *ctx)
{
	struct moving moving = { cursor, each, ctx };
	size_t found = 0;
	struct store_query *query = store_query(tx, "SELECT " COLUMNS " FROM devices WHERE retired = 0"
	                                            " AND lower(name) >= lower($1) AND (lower(name) > lower($1) OR token > $2)"
	                                            " ORDER BY lower(name), token LIMIT $3");
	store_bind_text(query, 1, str_from(cursor->name));
	store_bind_integer(query, 2, cursor->token);
	store_bind_integer(query, 3, (int64_t)most);
	int err = devices_each(query, move_behind, &moving, &found);
	cursor->end = err == 0 && found < most;
	return err;
}

static int find_by_id(struct store_tx *tx, struct str text, fleet_each each, void *ctx, size_t *found)
{
	struct id id;
	if (id_parse(text, &id) < 0)
		return 0;
	struct store_query *query = store_query(tx, "SELECT " COLUMNS " FROM devices WHERE id = $1 AND retired = 0");
	store_bind_id(query, 1, &id);
	return devices_each(query, each, ctx, found);
}

static int find_by_name(struct store_tx *tx, struct str text, fleet_each each, void *ctx, size_t *found)
{
	struct store_query *query = store_query(tx, "SELECT " COLUMNS " FROM devices"
	                                            " WHERE lower(name) = lower($1) AND retired = 0 ORDER BY token");
	store_bind_text(query, 1, text);
	return devices_each(query, each, ctx, found);
}

static int find_by_full_name(struct store_tx *tx, struct str text, fleet_each each, void *ctx, size_t *found)
{
	uint64_t token;
	struct str number, name = str_cut_last(text, '-', &number);
	if (str_to_u64(number, FLEET_TOKEN_MAX, &token) < 0 || number.ptr[0] == '0')
		return 0;
	struct store_query *query = store_query(tx, "SELECT " COLUMNS " FROM devices"
	                                            " WHERE lower(name) = lower($1) AND token = $2 AND retired = 0");
	store_bind_text(query, 1, name);
	store_bind_integer(query, 2, (int64_t)token);
	return devices_each(query, each, ctx, found);
}

int fleet_device_find(struct store_tx *tx, struct str text, fleet_each each, void *ctx)
{
	size_t found = 0;
	if (!name_valid(text))
		return -E_NOT_FOUND;
	int err = find_by_id(tx, text, each, ctx, &found);
	if (err < 0 || found)
		return err;
	/* Both always: a computer that calls itself web01-17 must not take the place of number 17 of web01. */
	err = find_by_name(tx, text, each, ctx, &found);
	if (err == 0)
		err = find_by_full_name(tx, text, each, ctx, &found);
	return err < 0 ? err : found ? 0 : -E_NOT_FOUND;
}

static int changed_one(struct store_tx *tx, struct store_query *query)
{
	int err = store_exec(query);
	return err < 0 ? err : store_changed(tx) ? 0 : -E_NOT_FOUND;
}

int fleet_device_seen(struct store_tx *tx, const struct id *id, int64_t now)
{
	struct store_query *query =
	        store_query(tx, "UPDATE devices SET last_seen = CASE WHEN last_seen < $1 THEN $1 ELSE last_seen END"
	                        " WHERE id = $2");
	store_bind_integer(query, 1, now);
	store_bind_id(query, 2, id);
	return changed_one(tx, query);
}

static void bind_clean(struct store_query *query, int position, struct str text)
{
	char clean[FLEET_TEXT_SIZE];
	store_bind_text(query, position, str_from(utf8_clean(text, clean, sizeof clean)));
}

int fleet_device_update(struct store_tx *tx, const struct id *id, const struct device_platform *platform)
{
	struct store_query *query = store_query(
	        tx, "UPDATE devices SET os = $1, arch = $2, version = $3, parent = $4, relay_address = $5 WHERE id = $6");
	bind_clean(query, 1, platform->os);
	bind_clean(query, 2, platform->arch);
	bind_clean(query, 3, platform->version);
	store_bind_id(query, 4, &platform->parent);
	bind_clean(query, 5, platform->relay_address);
	store_bind_id(query, 6, id);
	return changed_one(tx, query);
}

int fleet_device_relay(struct store_tx *tx, const struct id *id, bool relay)
{
	struct store_query *query =
	        store_query(tx, "UPDATE devices SET relay = $1, relay_unsigned = relay_unsigned * $1 WHERE id = $2");
	store_bind_integer(query, 1, relay);
	store_bind_id(query, 2, id);
	return changed_one(tx, query);
}

int fleet_device_relay_signs(struct store_tx *tx, const struct id *id)
{
	struct store_query *query = store_query(tx, "UPDATE devices SET relay_unsigned = 0 WHERE id = $1");
	store_bind_id(query, 1, id);
	return changed_one(tx, query);
}

int fleet_relay_list(struct store_tx *tx, fleet_each each, void *ctx)
{
	size_t found = 0;
	struct store_query *query =
	        store_query(tx, "SELECT " COLUMNS " FROM devices WHERE relay = 1 AND retired = 0 ORDER BY lower(name), token");
	return devices_each(query, each, ctx, &found);
}

int fleet_device_label(struct store_tx *tx, const struct device *device)
{
	struct store_query *query = store_query(tx, "UPDATE devices SET group_name = $1, tags = $2 WHERE id = $3");
	store_bind_text(query, 1, str_from(device->group));
	store_bind_text(query, 2, str_from(device->tags));
	store_bind_id(query, 3, &device->id);
	return changed_one(tx, query);
}

/* A token above the last one of a name was never given out there; it then counts as given out. */
static int token_keep(struct store_tx *tx, struct str name, int64_t *token)
{
	struct store_query *query = store_query(tx, "INSERT INTO tokens (name, last) VALUES (lower($1), $2)"
	                                            " ON CONFLICT (name) DO UPDATE SET last = $2 WHERE tokens.last < $2");
	store_bind_text(query, 1, name);
	store_bind_integer(query, 2, *token);
	int err = store_exec(query);
	return err < 0 ? err : store_changed(tx) ? 0 : fleet_token_next(tx, name, token);
}

int fleet_device_rename(struct store_tx *tx, const struct id *id, struct str name, struct device *ret)
{
	struct device device;
	int err = name_check(name);
	if (err == 0)
		err = fleet_device_get(tx, id, &device);
	if (err == 0 && device.retired)
		err = -E_NOT_FOUND;
	if (err == 0 && !str_equal_nocase(name, str_from(device.name)))
		err = token_keep(tx, name, &device.token);
	if (err < 0)
		return err;
	struct store_query *query = store_query(tx, "UPDATE devices SET name = $1, token = $2 WHERE id = $3");
	store_bind_text(query, 1, name);
	store_bind_integer(query, 2, device.token);
	store_bind_id(query, 3, id);
	err = changed_one(tx, query);
	if (err == 0)
		err = str_copy(name, device.name, sizeof device.name);
	if (err == 0)
		*ret = device;
	return err;
}

int fleet_device_retire(struct store_tx *tx, const struct id *id, int64_t now)
{
	struct store_query *query = store_query(tx, "UPDATE devices SET retired = $1 WHERE id = $2 AND retired = 0");
	store_bind_integer(query, 1, now);
	store_bind_id(query, 2, id);
	return changed_one(tx, query);
}

int fleet_inventory_put(struct store_tx *tx, const struct id *id, int64_t now, const uint8_t *bytes, size_t len)
{
	if (len > FLEET_INVENTORY_MAX)
		return -E_TOO_LONG;
	struct store_query *query =
	        store_query(tx, "INSERT INTO inventories (device, time, inventory) SELECT id, $1, $2 FROM devices WHERE id = $3"
	                        " ON CONFLICT (device) DO UPDATE SET time = excluded.time, inventory = excluded.inventory");
	store_bind_integer(query, 1, now);
	store_bind_blob(query, 2, len ? (const void *)bytes : "", len);
	store_bind_id(query, 3, id);
	return changed_one(tx, query);
}

int fleet_inventory_get(struct store_tx *tx, const struct id *id, uint8_t ret_bytes[FLEET_INVENTORY_MAX], size_t *ret_len,
                        int64_t *ret_time)
{
	struct store_query *query = store_query(tx, "SELECT time, inventory FROM inventories WHERE device = $1");
	store_bind_id(query, 1, id);
	int rows = store_step(query);
	if (rows <= 0)
		return rows < 0 ? rows : -E_NOT_FOUND;
	*ret_time = store_integer(query, 0);
	*ret_len = store_bytes(query, 1, ret_bytes, FLEET_INVENTORY_MAX);
	return store_error(query);
}

int fleet_device_signs(struct store_tx *tx, const struct id *id, int64_t now)
{
	struct store_query *query =
	        store_query(tx, "UPDATE devices SET signs = CASE WHEN signs = 0 THEN $1 ELSE signs END WHERE id = $2");
	store_bind_integer(query, 1, now);
	store_bind_id(query, 2, id);
	return changed_one(tx, query);
}

int fleet_device_forged(struct store_tx *tx, const struct id *id, int64_t now)
{
	struct store_query *query = store_query(tx, "UPDATE devices SET forged = $1 WHERE id = $2");
	store_bind_integer(query, 1, now);
	store_bind_id(query, 2, id);
	return changed_one(tx, query);
}

void fleet_full_name(const struct device *device, char out[FLEET_FULL_NAME])
{
	snprintf(out, FLEET_FULL_NAME, "%.*s-%lld", FLEET_NAME_MAX, device->name, (long long)device->token);
}
