/* Tunnels: for whom, to which device and through which machines of the server, so that they can be ended and seen (core_map.c).  Relays tell how they go; what core's own relay
 * says to be over is forgotten.  What another machine says, or nobody, is hidden and kept: it could go on there, and has to be ended when that machine is shut out. */
#include <errno.h>

#include "base/err.h"
#include "base/mem.h"
#include "os/clock.h"
#include "os/log.h"
#include "os/random.h"
#include "server/pair.h"

#define PAIRS_MAX    20000 /* the newest */
#define FAILURES_MAX 100   /* the newest */
#define CLOSE_MS     10000
#define AGAIN_MS     1000
#define UNUSED_S     60 /* its tickets are good for 30 */

struct core_pairs {
	struct core *core;
	struct map *by_name;
	struct list quiet, open, over, failed; /* the oldest first */
	size_t n, n_failed;                    /* n: of the first three */
	struct rpc_call *watch;                /* of core's own relay; NULL = not open */
	struct io_timer *again;
	bool whole; /* it has told of all that it carries */
};

/* ---- the table ---- */

int core_pairs_open(struct core *core)
{
	uint8_t seed[16];
	struct core_pairs *pairs = mem_alloc(sizeof *pairs);
	if (!pairs)
		return -E_NO_MEMORY;
	*pairs = (struct core_pairs){ .core = core };
	list_init(&pairs->quiet);
	list_init(&pairs->open);
	list_init(&pairs->over);
	list_init(&pairs->failed);
	random_bytes(seed, sizeof seed);
	pairs->by_name = map_new(seed, PAIRS_MAX + FAILURES_MAX);
	core->pairs = pairs;
	return pairs->by_name ? 0 : -E_NO_MEMORY;
}

static struct list *list_of(struct core_pairs *pairs, enum pair_state state)
{
	struct list *const lists[] = {
		[PAIR_QUIET] = &pairs->quiet, [PAIR_OPEN] = &pairs->open, [PAIR_OVER] = &pairs->over, [PAIR_FAILED] = &pairs->failed
	};
	return lists[state];
}

static bool is_shown(const struct pair *pair)
{
	return pair->state == PAIR_OPEN || pair->state == PAIR_FAILED;
}

static void pair_remove(struct core *core, struct pair *pair)
{
	if (is_shown(pair))
		pair_publish(core, pair, NULL, PAIR_GONE);
	--*(pair->state == PAIR_FAILED ? &core->pairs->n_failed : &core->pairs->n);
	map_remove(core->pairs->by_name, pair->name.bytes, sizeof pair->name.bytes);
	list_remove(&pair->node);
	mem_free(pair);
}

static void pair_state_set(struct core *core, struct pair *pair, enum pair_state state)
{
	bool was = is_shown(pair);
	if (pair->state == state)
		return;
	if (was)
		pair_publish(core, pair, NULL, PAIR_GONE);
	pair->state = state;
	list_remove(&pair->node);
	list_append(list_of(core->pairs, state), &pair->node);
}

static void oldest_remove(struct core *core, enum pair_state state)
{
	struct list *list = list_of(core->pairs, state);
	if (!list_empty(list))
		pair_remove(core, LIST_ENTRY(list->next, struct pair, node));
}

/* NULL: memory is short. */
static struct pair *pair_add(struct core *core, enum pair_state state, const struct id *name, const struct core_pair_about *about,
                             const char *target, const char *why)
{
	size_t target_size = strlen(target) + 1, why_size = strlen(why) + 1;
	struct pair *pair = mem_alloc(sizeof *pair + target_size + why_size);
	if (!pair)
		return NULL;
	*pair = (struct pair){ .state = state, .name = *name, .about = *about, .since = clock_wall_s() };
	memcpy(pair->target, target, target_size);
	pair->why = memcpy(pair->target + target_size, why, why_size);
	if (map_put(core->pairs->by_name, name->bytes, sizeof name->bytes, pair) < 0)
		return mem_free(pair);
	list_append(list_of(core->pairs, state), &pair->node);
	++*(state == PAIR_FAILED ? &core->pairs->n_failed : &core->pairs->n);
	return pair;
}

struct pair *pair_find(const struct core *core, const struct id *name)
{
	return map_get(core->pairs->by_name, name->bytes, sizeof name->bytes);
}

void pair_each(const struct core *core, void (*each)(void *ctx, const struct pair *pair), void *ctx)
{
	LIST_EACH(at, &core->pairs->open)
		each(ctx, LIST_ENTRY(at, struct pair, node));
	LIST_EACH(at, &core->pairs->failed)
		each(ctx, LIST_ENTRY(at, struct pair, node));
}

static void room_make(struct core *core)
{
	const struct core_pairs *pairs = core->pairs;
	if (pairs->n >= PAIRS_MAX)
		oldest_remove(core, !list_empty(&pairs->quiet) ? PAIR_QUIET : !list_empty(&pairs->open) ? PAIR_OPEN : PAIR_OVER);
}

void core_pair_keep(struct core *core, const struct core_meeting *meeting, const struct core_pair_about *about, const char *target)
{
	struct id name;
	memcpy(name.bytes, meeting->announcement.pair, sizeof name.bytes);
	room_make(core);
	struct pair *pair = pair_add(core, PAIR_QUIET, &name, about, target, "");
	if (!pair) {
		log_limited(LOG_WARNING, "a tunnel cannot be seen, nor ended early, for lack of memory");
		return;
	}
	memcpy(pair->through, (const struct id[]){ meeting->client, meeting->agent, meeting->at }, sizeof pair->through);
	pair->n_via = core_link_via(core, &about->device, pair->via);
}

/* ---- failures ---- */

static bool is_same(const struct pair *failure, const struct core_pair_about *about, const char *target)
{
	return id_equal(&failure->about.user, &about->user) && id_equal(&failure->about.device, &about->device) &&
	       str_is(str_from(target), failure->target);
}

/* One that fails again and again is one row. */
static void failure_repeated(struct core *core, const struct core_pair_about *about, const char *target, int err)
{
	LIST_EACH(at, &core->pairs->failed) {
		struct pair *failure = LIST_ENTRY(at, struct pair, node);
		if (failure->error == err && is_same(failure, about, target))
			pair_remove(core, failure);
	}
}

void core_pair_failed(struct core *core, const struct core_pair_about *about, const char *target, int err, const char *why)
{
	struct id name;
	random_id(&name);
	failure_repeated(core, about, target, err);
	if (core->pairs->n_failed >= FAILURES_MAX)
		oldest_remove(core, PAIR_FAILED);
	struct pair *failure = pair_add(core, PAIR_FAILED, &name, about, target, why ? why : "");
	if (!failure)
		return;
	failure->error = err;
	failure->ended = clock_wall_s();
	pair_publish(core, failure, NULL, PAIR_NEW);
}

const char *core_pair_ended_by(struct core *core, const struct core_pair_about *about, const char *target)
{
	LIST_EACH(at, &core->pairs->failed) {
		struct pair *failure = LIST_ENTRY(at, struct pair, node);
		if (failure->error != -E_TUNNEL_ENDED || failure->told || !is_same(failure, about, target))
			continue;
		failure->told = true;
		return failure->why;
	}
	return "";
}

/* A number that came from somewhere else. */
static int err_of(uint32_t told)
{
	int err = told < E_FIRST + 9000u ? (int)told : E_INTERNAL;
	return err < E_FIRST || err_known(err) ? -err : -E_INTERNAL;
}

/* The device's word is shown, and changes nothing else: it could go on with what it says to have refused. */
void core_pair_refused(struct core *core, const struct id *device, const murmesh_TunnelRefusal *refusal)
{
	struct id name;
	memcpy(name.bytes, refusal->pair, sizeof name.bytes);
	struct pair *pair = pair_find(core, &name);
	if (!pair || pair->state == PAIR_FAILED || pair->told || !id_equal(&pair->about.device, device) || !refusal->error)
		return;
	pair->told = true;
	core_pair_failed(core, &pair->about, pair->target, err_of(refusal->error), "");
}

/* ---- what relays tell ---- */

/* A connection that one of its ends resets is nothing that people have to look at. */
static bool is_failure(int err)
{
	return err < 0 && err != -ECONNRESET && err != -EPIPE && err != -E_CANCELLED;
}

static void pair_ended(struct core *core, struct pair *pair, int err)
{
	if (is_failure(err) && !pair->told)
		core_pair_failed(core, &pair->about, pair->target, err, "");
	if (id_is_zero(&pair->through[PAIR_AT]))
		pair_remove(core, pair);
	else
		pair_state_set(core, pair, PAIR_QUIET);
}

static void on_report(struct core *core, const struct id *at, const murmesh_PairReport *report)
{
	struct id name;
	memcpy(name.bytes, report->pair, sizeof name.bytes);
	struct pair *pair = pair_find(core, &name);
	if (!pair || pair->state > PAIR_OPEN || !id_equal(&pair->through[PAIR_AT], at))
		return;
	if (report->ended)
		return pair_ended(core, pair, err_of(report->error));
	bool is_new = pair->state != PAIR_OPEN;
	pair->bytes[0] = report->from_client;
	pair->bytes[1] = report->from_agent;
	pair_state_set(core, pair, PAIR_OPEN);
	pair_publish(core, pair, NULL, is_new ? PAIR_NEW : PAIR_MOVED);
}

void core_pairs_lost(struct core *core, const struct id *at)
{
	LIST_EACH(node, &core->pairs->open) {
		struct pair *pair = LIST_ENTRY(node, struct pair, node);
		if (id_equal(&pair->through[PAIR_AT], at))
			pair_state_set(core, pair, PAIR_QUIET);
	}
	if (id_is_zero(at))
		core->pairs->whole = false;
}

void core_pairs_reports(struct core *core, const struct id *at, const murmesh_PairReports *reports)
{
	if (reports->begins)
		core_pairs_lost(core, at);
	for (pb_size_t i = 0; i < reports->pairs_count; i++)
		on_report(core, at, &reports->pairs[i]);
	if (id_is_zero(at))
		core->pairs->whole |= reports->whole;
}

/* Nobody came with their tickets. */
void core_pairs_minute(struct core *core)
{
	int64_t before = clock_wall_s() - UNUSED_S;
	LIST_EACH(at, &core->pairs->quiet) {
		struct pair *pair = LIST_ENTRY(at, struct pair, node);
		if (core->pairs->whole && pair->since < before && id_is_zero(&pair->through[PAIR_AT]))
			pair_remove(core, pair);
	}
}

static const struct id here;

static void on_reports(void *ctx, const void *message)
{
	core_pairs_reports(ctx, &here, message);
}

static void on_watch_closed(void *ctx, int err, const char *why)
{
	struct core *core = ctx;
	(void)err;
	(void)why;
	rpc_call_unref(core->pairs->watch);
	core->pairs->watch = NULL;
	core_pairs_lost(core, &here);
	if (core->pairs->again)
		io_timer_start(core->pairs->again, AGAIN_MS, 0);
}

static void on_again(void *ctx)
{
	core_pairs_follow(ctx);
}

void core_pairs_follow(struct core *core)
{
	static const struct rpc_call_events events = { on_reports, NULL, NULL, on_watch_closed };
	const murmesh_PairsWatch request = murmesh_PairsWatch_init_zero;
	struct core_pairs *pairs = core->pairs;
	if (!pairs->again)
		pairs->again = io_timer_new(core->loop, on_again, core);
	if (pairs->watch || !core->relay) /* its end, or the next relay, begins anew */
		return;
	struct rpc_call *call = rpc_call_open(core->relay, &rpc_Relay_Watch, NULL, 0, &events, core);
	if (!call) {
		if (pairs->again)
			io_timer_start(pairs->again, AGAIN_MS, 0);
		return;
	}
	pairs->watch = rpc_call_ref(call);
	if (rpc_call_send(call, &request) < 0 || rpc_call_half_close(call) < 0)
		rpc_call_cancel(call);
}

void core_pairs_free(struct core *core)
{
	struct core_pairs *pairs = core->pairs;
	struct pair *pair;
	if (!pairs)
		return;
	for (size_t at = 0; pairs->by_name && (pair = map_next(pairs->by_name, &at));)
		mem_free(pair);
	map_free(pairs->by_name);
	io_timer_free(pairs->again);
	core->pairs = mem_free(pairs);
}

/* ---- the device has another name, or is in another group ---- */

static void about_change(struct core *core, struct list *list, const struct device *device)
{
	LIST_EACH(at, list) {
		struct pair *pair = LIST_ENTRY(at, struct pair, node);
		char before[sizeof pair->about.group];
		if (!id_equal(&pair->about.device, &device->id))
			continue;
		memcpy(before, pair->about.group, sizeof before);
		str_copy(str_from(device->group), pair->about.group, sizeof pair->about.group);
		fleet_full_name(device, pair->about.full_name);
		if (is_shown(pair))
			pair_publish(core, pair, before, PAIR_NEW);
	}
}

void core_pairs_device(struct core *core, const struct device *device)
{
	about_change(core, &core->pairs->quiet, device);
	about_change(core, &core->pairs->open, device);
	about_change(core, &core->pairs->failed, device);
}

/* ---- ends ---- */

static void on_closed(void *ctx, int err, const char *why, const void *response)
{
	(void)ctx;
	(void)response;
	if (err < 0 && err != -E_CLOSED)
		log_limited(LOG_WARNING, "a tunnel was not ended: %s %s", err_text(err), why);
}

/* At all relays: who carries it knows it by this name. */
static void pair_close(struct core *core, const struct pair *pair)
{
	murmesh_PairName request;
	memcpy(request.pair, pair->name.bytes, sizeof request.pair);
	if (!core->relay || rpc_unary(core->relay, &rpc_Relay_ClosePair, &request, CLOSE_MS, on_closed, NULL) < 0)
		log_limited(LOG_WARNING, "a tunnel was not ended: the relay cannot be asked");
	core_components_close_pair(core, &request);
}

static bool is_of(const struct pair *pair, const struct id *user, const struct id *device)
{
	return (!user || id_equal(&pair->about.user, user)) && (!device || id_equal(&pair->about.device, device));
}

static void list_close(struct core *core, struct list *list, const struct id *user, const struct id *device)
{
	LIST_EACH(at, list) {
		struct pair *pair = LIST_ENTRY(at, struct pair, node);
		if (!is_of(pair, user, device))
			continue;
		pair_close(core, pair);
		pair_remove(core, pair);
	}
}

void core_pairs_close(struct core *core, const struct id *user, const struct id *device)
{
	list_close(core, &core->pairs->quiet, user, device);
	list_close(core, &core->pairs->open, user, device);
	LIST_EACH(at, &core->pairs->failed) {
		struct pair *failure = LIST_ENTRY(at, struct pair, node);
		if (device && id_equal(&failure->about.device, device))
			pair_remove(core, failure);
	}
}

static int device_tell(struct core *core, const struct pair *pair)
{
	murmesh_Frame frame = { .which_body = murmesh_Frame_over_tag };
	memcpy(frame.body.over.pair, pair->name.bytes, sizeof frame.body.over.pair);
	return core_link_send(core, &pair->about.device, &frame);
}

bool core_pair_end(struct core *core, const struct id *name, const char *by)
{
	struct pair *pair = pair_find(core, name);
	if (!pair || pair->state != PAIR_OPEN)
		return false;
	pair_close(core, pair);
	device_tell(core, pair); /* which may be nearer than the relay; when it is not there, the relay does */
	core_pair_failed(core, &pair->about, pair->target, -E_TUNNEL_ENDED, by);
	pair_remove(core, pair);
	return true;
}

/* ---- a component that is shut out may go on carrying them: then their devices end them ---- */

static bool goes_through(const struct pair *pair, const struct id *component)
{
	bool does = false;
	for (size_t i = 0; i < sizeof pair->through / sizeof *pair->through; i++)
		does |= id_equal(&pair->through[i], component);
	return does;
}

static void list_close_through(struct core *core, struct list *list, const struct id *component)
{
	struct id by;
	LIST_EACH(at, list) {
		struct pair *pair = LIST_ENTRY(at, struct pair, node);
		if (!goes_through(pair, component))
			continue;
		pair_close(core, pair);
		bool there = core_link_component(core, &pair->about.device, &by) && id_equal(&by, component);
		if (there || device_tell(core, pair) < 0)
			pair_state_set(core, pair, PAIR_OVER);
		else
			pair_remove(core, pair);
	}
}

void core_pairs_close_through(struct core *core, const struct id *component)
{
	list_close_through(core, &core->pairs->quiet, component);
	list_close_through(core, &core->pairs->open, component);
}

int core_pairs_welcome(struct core *core, const struct id *device)
{
	int err = 0;
	LIST_EACH(at, &core->pairs->over) {
		struct pair *pair = LIST_ENTRY(at, struct pair, node);
		if (err == 0 && id_equal(&pair->about.device, device) && (err = device_tell(core, pair)) == 0)
			pair_remove(core, pair);
	}
	return err;
}
