/* Tunnels that were opened lately: for whom, to which device and through which other machines of the server, so that they can be ended.  Core does not hear when
 * one ends by itself; the relay knows no pair by that name then. */
#include "base/err.h"
#include "base/mem.h"
#include "os/log.h"
#include "server/core.h"

#define PAIRS_MAX 20000 /* the newest */
#define CLOSE_MS  10000

struct pair {
	struct id name, user, device; /* device: zero once it was ended */
	struct id through[3];         /* components; zero: core's machine */
	bool over;                    /* its device does not know yet */
};

struct core_pairs {
	size_t n, next;
	bool over; /* one of them may be */
	struct pair pairs[PAIRS_MAX];
};

void core_pair_keep(struct core *core, const struct core_meeting *meeting, const struct id *user, const struct id *device)
{
	if (!core->pairs)
		core->pairs = mem_alloc(sizeof *core->pairs);
	if (!core->pairs) {
		log_limited(LOG_WARNING, "a tunnel cannot be ended early, for lack of memory");
		return;
	}
	struct pair *pair = &core->pairs->pairs[core->pairs->next];
	core->pairs->next = (core->pairs->next + 1) % PAIRS_MAX;
	core->pairs->n += core->pairs->n < PAIRS_MAX;
	*pair = (struct pair){ .user = *user, .device = *device, .through = { meeting->client, meeting->agent, meeting->at } };
	memcpy(pair->name.bytes, meeting->announcement.pair, sizeof pair->name.bytes);
}

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

void core_pairs_close(struct core *core, const struct id *user, const struct id *device)
{
	for (size_t i = 0; core->pairs && i < core->pairs->n; i++) {
		struct pair *pair = &core->pairs->pairs[i];
		if (id_is_zero(&pair->device) || (user && !id_equal(&pair->user, user)) ||
		    (device && !id_equal(&pair->device, device)))
			continue;
		pair_close(core, pair);
		pair->device = (struct id){ 0 };
	}
}

/* ---- a component that is shut out may go on carrying them: then their devices end them ---- */

static int device_tell(struct core *core, const struct pair *pair)
{
	murmesh_Frame frame = { .which_body = murmesh_Frame_over_tag };
	memcpy(frame.body.over.pair, pair->name.bytes, sizeof frame.body.over.pair);
	return core_link_send(core, &pair->device, &frame);
}

static bool goes_through(const struct pair *pair, const struct id *component)
{
	bool does = false;
	for (size_t i = 0; i < sizeof pair->through / sizeof *pair->through; i++)
		does |= id_equal(&pair->through[i], component);
	return does;
}

void core_pairs_close_through(struct core *core, const struct id *component)
{
	struct id by;
	for (size_t i = 0; core->pairs && i < core->pairs->n; i++) {
		struct pair *pair = &core->pairs->pairs[i];
		if (id_is_zero(&pair->device) || !goes_through(pair, component))
			continue;
		pair_close(core, pair);
		pair->over =
		        (core_link_component(core, &pair->device, &by) && id_equal(&by, component)) || device_tell(core, pair) < 0;
		if (pair->over)
			core->pairs->over = true;
		else
			pair->device = (struct id){ 0 };
	}
}

int core_pairs_welcome(struct core *core, const struct id *device)
{
	int err = 0;
	for (size_t i = 0; core->pairs && core->pairs->over && err == 0 && i < core->pairs->n; i++) {
		struct pair *pair = &core->pairs->pairs[i];
		if (pair->over && id_equal(&pair->device, device) && (err = device_tell(core, pair)) == 0)
			*pair = (struct pair){ 0 };
	}
	return err;
}
