/* Join keys. */
#include "base/err.h"
#include "base/mem.h"
#include "ca/components.h"
#include "ca/join_line.h"
#include "ca/records.h"
#include "os/clock.h"
#include "os/network.h"
#include "os/random.h"
#include "server/core.h"

#define USES_UNPROVED     100 /* more, or a longer life, and who asks has to prove himself */
#define LIFETIME_UNPROVED ((uint64_t)30 * 86400)
#define LIFETIME_MAX      ((uint64_t)366 * 86400)

/* The address that the line begins with, and whose root it names. */
static int line_address(const struct core *core, struct join_line *line)
{
	struct str port, host = str_cut_last(str_from(core->address), ':', &port);
	struct certificate *root = NULL;
	struct certificate_info info;
	uint64_t number;
	int err = certificate_read(core->mesh.root.bytes, core->mesh.root.size, &root);
	if (err == 0)
		err = certificate_inspect(root, &info);
	certificate_free(root);
	if (err < 0)
		return err;
	if (str_starts(host, STR("[")))
		host = (struct str){ host.ptr + 1, host.len - 2 };
	if (str_to_u64(port, 65535, &number) < 0 || str_copy(host, line->host, sizeof line->host) < 0)
		return -E_INTERNAL;
	line->port = (uint16_t)number;
	memcpy(line->root_hash, info.key_hash, sizeof line->root_hash);
	return 0;
}

static int key_limits(struct core_request *request, struct join_key *key)
{
	const murmesh_KeyRequest *message = request->message;
	uint64_t lifetime_s = message->lifetime_s ? message->lifetime_s : 86400;
	unsigned uses = message->uses ? message->uses : 1;
	if (lifetime_s > LIFETIME_MAX || uses > CA_USES_MAX) {
		snprintf(request->base.why, sizeof request->base.why, "a join key has at most %d uses and lives at most a year",
		         CA_USES_MAX);
		return -E_LIMIT;
	}
	key->created = clock_wall_s();
	key->expires = key->created + (int64_t)lifetime_s;
	key->uses_left = uses;
	key->approve = message->approve;
	key->components = message->components;
	str_copy(str_from(message->network), key->network, sizeof key->network);
	return key->network[0] ? network_ranges_check(str_from(key->network)) : 0;
}

int core_line_make(const struct core *core, struct join_line *ret, char *ret_text)
{
	int err = line_address(core, ret);
	if (err < 0)
		return err;
	random_id(&ret->key);
	random_bytes(ret->secret, sizeof ret->secret);
	return join_line_format(ret, ret_text);
}

int core_key_begin(struct core_request *request)
{
	struct join_line line;
	murmesh_JoinKey *reply = request->reply;
	int err = request->base.core->described ? core_line_make(request->base.core, &line, reply->join) : -E_BUSY;
	if (err < 0)
		return err;
	memcpy(reply->key_id, line.key.bytes, sizeof reply->key_id);
	mem_wipe(&line, sizeof line);
	return 0;
}

/* The secret is in the line only; the database keeps what checks its proofs. */
static int key_of_line(murmesh_JoinKey *reply, struct join_key *key)
{
	struct join_line line;
	struct str rest;
	int err = join_line_parse(str_from(reply->join), &line);
	if (err < 0)
		return err;
	key->id = line.key;
	join_secret_key(line.secret, key->secret_key);
	mem_wipe(&line, sizeof line);
	str_cut(str_from(reply->join), '#', &rest);
	return str_copy(rest, reply->key, sizeof reply->key);
}

static int key_audit(struct store_tx *tx, const struct user *user, const struct join_key *key)
{
	char detail[512], id[ID_TEXT_SIZE], roles[CA_COMPONENT_ROLES_SIZE];
	id_format(&key->id, id);
	snprintf(detail, sizeof detail, "%lld uses, %lld s, group \"%s\"%s%s%s%s%s", (long long)key->uses_left,
	         (long long)(key->expires - key->created), key->group, key->approve ? ", to approve" : "",
	         key->network[0] ? ", from " : "", key->network, key->components ? ", for a component: " : "",
	         ca_component_roles_format(key->components, roles));
	return core_audit(tx, user->name, "join key made", id, detail);
}

/* Who joins with it speaks for all devices and users, or carries their tunnels. */
static int components_check(struct core_request *request, const struct user *user)
{
	const murmesh_KeyRequest *message = request->message;
	if (!message->components)
		return 0;
	if (message->components & ~CA_COMPONENT_ROLES_ALL)
		return -E_COMPONENT_ROLE;
	if (message->group[0]) {
		snprintf(request->base.why, sizeof request->base.why, "a machine that runs roles of the server is in no group");
		return -E_USAGE;
	}
	if (!account_may(user, ACCOUNT_COMPONENTS)) {
		snprintf(request->base.why, sizeof request->base.why,
		         "roles of the server serve all groups, and your role does not hold in all");
		return -E_DENIED;
	}
	return core_caller_proved(&request->caller);
}

int core_key_run(struct store_tx *tx, struct core_request *request)
{
	const murmesh_KeyRequest *message = request->message;
	murmesh_JoinKey *reply = request->reply;
	struct join_key key = { 0 };
	struct user user;
	int err = core_caller_check(tx, &request->caller, ACCOUNT_KEY_NEW, &user);
	if (err == 0)
		err = key_limits(request, &key);
	if (err == 0 && (key.uses_left > USES_UNPROVED || message->lifetime_s > LIFETIME_UNPROVED))
		err = core_caller_proved(&request->caller);
	if (err == 0)
		err = components_check(request, &user);
	if (err == 0)
		err = fleet_group_parse(str_from(message->group), key.group);
	if (err == 0 && !account_reaches(&user, key.group)) {
		snprintf(request->base.why, sizeof request->base.why, "your role does not hold in that group");
		err = -E_DENIED;
	}
	if (err == 0)
		err = key_of_line(reply, &key);
	key.created_by = user.id;
	reply->expires = key.expires;
	reply->approve = key.approve;
	reply->components = key.components;
	str_copy(str_from(key.network), reply->network, sizeof reply->network);
	if (err == 0)
		err = ca_join_key_add(tx, &key);
	if (err == 0)
		err = key_audit(tx, &user, &key);
	mem_wipe(&key, sizeof key);
	return err;
}
