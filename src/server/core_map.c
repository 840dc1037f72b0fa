/* Open tunnels, and those that failed lately, for people: one's own, and those to devices that one may operate.  Who sees one may end it. */
#include "base/err.h"
#include "server/pair.h"

bool pair_seen(const struct pair *pair, const struct user *user)
{
	return account_may(user, ACCOUNT_TUNNEL) &&
	       (id_equal(&pair->about.user, &user->id) || account_reaches(user, pair->about.group));
}

/* ---- as messages ---- */

static void path_add(murmesh_Map *map, const char *name)
{
	str_copy(str_from(name ? name : "?"), map->path[map->path_count], sizeof map->path[0]);
	map->path_count++;
}

static void machine_add(const struct core *core, murmesh_Map *map, const struct id *component)
{
	path_add(map, id_is_zero(component) ? "server" : core_component_called(core, component));
}

/* From the user's side to the device. */
static void path_fill(const struct core *core, const struct pair *pair, murmesh_Map *ret)
{
	const struct id *client = &pair->through[0], *agent = &pair->through[1], *at = &pair->through[PAIR_AT];
	if (!id_equal(client, at))
		machine_add(core, ret, client);
	machine_add(core, ret, at);
	if (!id_equal(agent, at))
		machine_add(core, ret, agent);
	for (size_t i = pair->n_via; i > 0; i--)
		path_add(ret, core_relay_name(core, &pair->via[i - 1]));
}

static void failure_fill(const struct pair *failure, murmesh_Map *ret)
{
	ret->ended = failure->ended;
	ret->error = (uint32_t)-failure->error;
	if (failure->error == -E_TUNNEL_ENDED)
		snprintf(ret->why, sizeof ret->why, "%s ended it", failure->why);
	else
		str_copy(str_from(failure->why[0] ? failure->why : err_text(failure->error)), ret->why, sizeof ret->why);
}

void pair_fill(const struct core *core, const struct pair *pair, murmesh_Map *ret)
{
	*ret = (murmesh_Map){ .sent = pair->bytes[0], .received = pair->bytes[1], .since = pair->since };
	memcpy(ret->id, pair->name.bytes, sizeof ret->id);
	memcpy(ret->device, pair->about.device.bytes, sizeof ret->device);
	str_copy(str_from(pair->about.user_name), ret->user, sizeof ret->user);
	str_copy(str_from(pair->about.full_name), ret->full_name, sizeof ret->full_name);
	str_copy(str_from(pair->target), ret->target, sizeof ret->target);
	if (pair->state == PAIR_FAILED)
		failure_fill(pair, ret);
	else
		path_fill(core, pair, ret);
}

/* ---- all ---- */

struct walk {
	const struct user *user;
	struct core_rows *names;
	int err;
};

static void on_pair(void *ctx, const struct pair *pair)
{
	struct walk *walk = ctx;
	if (walk->err == 0 && pair_seen(pair, walk->user))
		walk->err = core_rows_add(walk->names, &pair->name, sizeof pair->name);
}

int core_maps_names(const struct core *core, const struct user *user, struct core_rows *names)
{
	struct walk walk = { user, names, 0 };
	pair_each(core, on_pair, &walk);
	return walk.err;
}

/* One that has gone meanwhile is left out. */
bool core_map_row(const struct core *core, const struct core_rows *names, size_t *at, murmesh_Map *ret)
{
	struct id name;
	while (core_rows_next(names, at, &name, sizeof name)) {
		const struct pair *pair = pair_find(core, &name);
		if (!pair)
			continue;
		pair_fill(core, pair, ret);
		return true;
	}
	return false;
}

bool core_maps_row(const struct core_request *request, size_t *at, void *message)
{
	return core_map_row(request->base.core, &request->rows, at, message);
}

/* The rows hold who asks, then what he sees. */
int core_maps_run(struct store_tx *tx, struct core_request *request)
{
	struct user user;
	int err = core_caller_check(tx, &request->caller, ACCOUNT_TUNNEL, &user);
	return err < 0 ? err : core_rows_add(&request->rows, &user, sizeof user);
}

void core_maps_done(struct core_request *request)
{
	struct user user;
	size_t at = 0;
	core_rows_next(&request->rows, &at, &user, sizeof user);
	core_rows_done(&request->rows);
	int err = core_maps_names(request->base.core, &user, &request->rows);
	if (err < 0)
		core_job_fail(&request->base, err, NULL);
	else
		core_request_answer(request);
}

/* ---- the end of one ---- */

/* What the worker is to look at; it cannot see the table. */
struct asked {
	bool there;
	struct core_pair_about about;
	char target[sizeof((murmesh_Map *)0)->target];
};

static struct id name_of(const struct core_request *request)
{
	struct id name;
	memcpy(name.bytes, ((const murmesh_MapName *)request->message)->id, sizeof name.bytes);
	return name;
}

int core_map_end_begin(struct core_request *request)
{
	const struct id name = name_of(request);
	const struct pair *pair = pair_find(request->base.core, &name);
	struct asked asked = { .there = pair && pair->state == PAIR_OPEN };
	if (asked.there) {
		asked.about = pair->about;
		str_copy(str_from(pair->target), asked.target, sizeof asked.target);
		pair_fill(request->base.core, pair, request->reply);
	}
	return core_rows_add(&request->rows, &asked, sizeof asked);
}

int core_map_end_run(struct store_tx *tx, struct core_request *request)
{
	struct asked asked;
	struct pair seen = { .state = PAIR_OPEN };
	struct user user;
	char detail[sizeof asked.target + 80];
	size_t at = 0;
	int err = core_caller_check(tx, &request->caller, ACCOUNT_TUNNEL, &user);
	core_rows_next(&request->rows, &at, &asked, sizeof asked);
	seen.about = asked.about;
	if (err == 0 && (!asked.there || !pair_seen(&seen, &user)))
		err = -E_NOT_FOUND;
	if (err < 0)
		return err;
	core_rows_done(&request->rows);
	err = core_rows_add(&request->rows, &user, sizeof user);
	snprintf(detail, sizeof detail, "of %s%s%s", asked.about.user_name, asked.target[0] ? ", to " : "", asked.target);
	return err < 0 ? err : core_audit(tx, user.name, "tunnel ended", asked.about.full_name, detail);
}

void core_map_end_done(struct core_request *request)
{
	const struct id name = name_of(request);
	struct user user;
	size_t at = 0;
	core_rows_next(&request->rows, &at, &user, sizeof user);
	core_pair_end(request->base.core, &name, user.name); /* or it has ended by itself meanwhile */
	core_request_answer(request);
}
