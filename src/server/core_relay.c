/* Devices that others may link to: their names, as the parents of others, and what they and link are told of it. */
#include "base/err.h"
#include "base/mem.h"
#include "os/log.h"
#include "os/random.h"
#include "server/core.h"

#define RELAYS_MAX 10000

struct relay {
	struct id id;
	char full_name[FLEET_FULL_NAME];
};

static int relay_keep(void *ctx, const struct device *device)
{
	struct core *core = ctx;
	struct relay *relay = map_get(core->relays, device->id.bytes, sizeof device->id.bytes);
	int err = 0;
	if (!relay) {
		relay = mem_alloc(sizeof *relay);
		if (!relay)
			return -E_NO_MEMORY;
		relay->id = device->id;
		err = map_put(core->relays, relay->id.bytes, sizeof relay->id.bytes, relay);
	}
	if (err < 0)
		mem_free(relay);
	else
		fleet_full_name(device, relay->full_name);
	return err;
}

struct load_job {
	struct store_job job;
	struct core *core;
};

static int load_run(struct store_tx *tx, struct store_job *job)
{
	return fleet_relay_list(tx, relay_keep, ((struct load_job *)job)->core);
}

int core_relays_open(struct core *core)
{
	struct load_job load = { .job = { .run = load_run }, .core = core };
	uint8_t seed[16];
	random_bytes(seed, sizeof seed);
	core->relays = map_new(seed, RELAYS_MAX);
	return core->relays ? store_run(core->store, &load.job) : -E_NO_MEMORY;
}

void core_relays_free(struct core *core)
{
	struct relay *relay;
	for (size_t at = 0; core->relays && (relay = map_next(core->relays, &at));)
		mem_free(relay);
	core->relays = map_free(core->relays);
}

const char *core_relay_name(const struct core *core, const struct id *device)
{
	const struct relay *relay = map_get(core->relays, device->bytes, sizeof device->bytes);
	return relay ? relay->full_name : NULL;
}

void core_relay_changed(struct core *core, const struct device *device)
{
	bool was = core_relay_name(core, &device->id), is = device->relay && !device->retired;
	if (is && relay_keep(core, device) < 0)
		log_warning("the relay %s has no name in lists: %s", device->name, err_text(-E_NO_MEMORY));
	if (!is)
		mem_free(map_remove(core->relays, device->id.bytes, sizeof device->id.bytes));
	if (was == is)
		return;
	core_relay_tell(core, &device->id, is);
	core_link_relay(core, &device->id, is); /* one that is offline is told after its welcome */
}
