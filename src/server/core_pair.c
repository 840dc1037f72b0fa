/* Tunnels that were opened lately: for whom and to which device, so that they can be ended.  Core does not hear when one ends by itself;
 * the relay knows no pair by that name then. */
#include "base/err.h"
#include "base/mem.h"
#include "os/log.h"
#include "server/core.h"

#define PAIRS_MAX 20000 /* the newest */
#define CLOSE_MS  10000

struct pair {
	uint8_t name[sizeof((murmesh_PairName *)0)->pair];
	struct id user, device;
};

struct core_pairs {
	size_t n, next;
	struct pair pairs[PAIRS_MAX];
};

void core_pair_keep(struct core *core, const uint8_t name[16], const struct id *user, const struct id *device)
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
	*pair = (struct pair){ .user = *user, .device = *device };
	memcpy(pair->name, name, sizeof pair->name);
}

static void on_closed(void *ctx, int err, const char *why, const void *response)
{
	(void)ctx;
	(void)response;
	if (err < 0 && err != -E_CLOSED)
		log_limited(LOG_WARNING, "a tunnel was not ended: %s %s", err_text(err), why);
}

void core_pairs_close(struct core *core, const struct id *user, const struct id *device)
{
	static const struct id gone;
	for (size_t i = 0; core->pairs && core->relay && i < core->pairs->n; i++) {
		struct pair *pair = &core->pairs->pairs[i];
		murmesh_PairName request;
		if ((user && !id_equal(&pair->user, user)) || (device && !id_equal(&pair->device, device)))
			continue;
		memcpy(request.pair, pair->name, sizeof request.pair);
		if (rpc_unary(core->relay, &rpc_Relay_ClosePair, &request, CLOSE_MS, on_closed, NULL) < 0)
			log_limited(LOG_WARNING, "a tunnel was not ended: the relay cannot be asked");
		core_components_close_pair(core, &request);
		pair->user = pair->device = gone;
	}
}
