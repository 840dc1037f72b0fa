#include "ca/components.h"

#include "base/err.h"
#include "base/utf8.h"
#include "enrol.pb.h"
#include "store/store.h"

#define COLUMNS "id, name, number, roles, address, created, last_seen, revoked"

static int room_check(struct store_tx *tx)
{
	struct store_query *query = store_query(tx, "SELECT count(*) FROM components WHERE revoked = 0");
	int64_t n = store_step(query) > 0 ? store_integer(query, 0) : 0;
	int err = store_error(query);
	return err < 0 ? err : n < CA_COMPONENTS_MAX ? 0 : -E_LIMIT;
}

int ca_component_add(struct store_tx *tx, const struct component_record *component)
{
	char address[sizeof component->address];
	int err = room_check(tx);
	if (err < 0)
		return err;
	struct store_query *query = store_query(tx, "INSERT INTO components (" COLUMNS ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8)");
	store_bind_id(query, 1, &component->id);
	store_bind_text(query, 2, str_from(component->name));
	store_bind_integer(query, 3, component->number);
	store_bind_integer(query, 4, component->roles);
	store_bind_text(query, 5, str_from(utf8_clean(str_from(component->address), address, sizeof address)));
	store_bind_integer(query, 6, component->created);
	store_bind_integer(query, 7, component->last_seen);
	store_bind_integer(query, 8, component->revoked);
	return store_exec(query);
}

static int component_read(struct store_query *query, struct component_record *ret)
{
	store_id(query, 0, &ret->id);
	store_text(query, 1, ret->name, sizeof ret->name);
	ret->number = store_integer(query, 2);
	ret->roles = (unsigned)store_integer(query, 3);
	store_text(query, 4, ret->address, sizeof ret->address);
	ret->created = store_integer(query, 5);
	ret->last_seen = store_integer(query, 6);
	ret->revoked = store_integer(query, 7);
	return store_error(query);
}

int ca_component_get(struct store_tx *tx, const struct id *id, struct component_record *ret)
{
	struct store_query *query = store_query(tx, "SELECT " COLUMNS " FROM components WHERE id = $1");
	store_bind_id(query, 1, id);
	int rows = store_step(query);
	return rows > 0 ? component_read(query, ret) : rows < 0 ? rows : -E_NOT_FOUND;
}

int ca_component_each(struct store_tx *tx, int (*each)(void *ctx, const struct component_record *component), void *ctx)
{
	int rows;
	struct component_record component;
	struct store_query *query = store_query(tx, "SELECT " COLUMNS " FROM components ORDER BY lower(name), number");
	while ((rows = store_step(query)) > 0) {
		int err = component_read(query, &component);
		if (err == 0)
			err = each(ctx, &component);
		if (err < 0)
			return err;
	}
	return rows;
}

int ca_component_seen(struct store_tx *tx, const struct id *id, int64_t now)
{
	struct store_query *query = store_query(tx, "UPDATE components SET last_seen = $1 WHERE id = $2");
	store_bind_integer(query, 1, now);
	store_bind_id(query, 2, id);
	return store_exec(query);
}

int ca_component_revoke(struct store_tx *tx, const struct id *id, int64_t now)
{
	struct store_query *query = store_query(tx, "UPDATE components SET revoked = $1 WHERE id = $2 AND revoked = 0");
	store_bind_integer(query, 1, now);
	store_bind_id(query, 2, id);
	int err = store_exec(query);
	return err < 0 ? err : store_changed(tx) ? 0 : -E_NOT_FOUND;
}

/* ---- roles ---- */

static const struct {
	const char *name;
	uint32_t bit;
} roles[] = {
	{ "link", murmesh_ComponentRole_COMPONENT_LINK }, { "relay", murmesh_ComponentRole_COMPONENT_RELAY },
	{ "web", murmesh_ComponentRole_COMPONENT_WEB },   { "collect", murmesh_ComponentRole_COMPONENT_COLLECT },
	{ "viz", murmesh_ComponentRole_COMPONENT_VIZ },
};
#define N_ROLES (sizeof roles / sizeof *roles)

int ca_component_roles_parse(struct str text, uint32_t *ret)
{
	uint32_t all = 0;
	for (bool more = true; more;) {
		size_t i = 0;
		more = str_has(text, ',');
		struct str one = str_cut(text, ',', &text);
		while (i < N_ROLES && !str_is(one, roles[i].name))
			i++;
		if (i == N_ROLES || all & roles[i].bit)
			return -E_COMPONENT_ROLE;
		all |= roles[i].bit;
	}
	*ret = all;
	return 0;
}

const char *ca_component_roles_format(uint32_t bits, char out[CA_COMPONENT_ROLES_SIZE])
{
	size_t len = 0;
	out[0] = 0;
	for (size_t i = 0; i < N_ROLES; i++)
		if (bits & roles[i].bit)
			len += (size_t)snprintf(out + len, CA_COMPONENT_ROLES_SIZE - len, "%s%s", len ? "," : "", roles[i].name);
	return out;
}
