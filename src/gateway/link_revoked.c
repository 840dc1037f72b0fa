#include "gateway/link_revoked.h"

#include "base/err.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "ca/components.h"
#include "gateway/gateway.h"
#include "io/io.h"
#include "os/log.h"
#include "os/random.h"
#include "rpc/rpc.h"
#include "services.h"

#define KEYS_MAX   1000000 /* certificates live for a week at most, and those that have expired are not told of */
#define RELAYS_MAX 10000
#define RETRY_MS   1000

struct link_revoked {
	struct map *keys, *relays, *components;
	struct list order; /* the relays too */
	bool listed;
	struct io_timer *retry;
	struct rpc_connection *const *core;
	struct rpc_call *call;
	const struct link_revoked_events *events;
	void *ctx;
};

struct relay {
	struct list node;
	struct id id;
	bool told; /* since the call to core was opened; else it is none for now */
};

static struct relay *relay_find(const struct link_revoked *revoked, const struct id *id)
{
	return map_get(revoked->relays, id->bytes, sizeof id->bytes);
}

static struct relay *relay_add(struct link_revoked *revoked, const struct id *id)
{
	struct relay *relay = mem_alloc(sizeof *relay);
	if (!relay)
		return NULL;
	relay->id = *id;
	if (map_put(revoked->relays, id->bytes, sizeof id->bytes, relay) < 0)
		return mem_free(relay);
	list_append(&revoked->order, &relay->node);
	return relay;
}

static void relay_end(struct link_revoked *revoked, struct relay *relay)
{
	struct id id = relay->id;
	map_remove(revoked->relays, id.bytes, sizeof id.bytes);
	list_remove(&relay->node);
	mem_free(relay);
	if (revoked->events->relay_ended)
		revoked->events->relay_ended(revoked->ctx, &id);
}

static void components_changed(const struct link_revoked *revoked)
{
	if (revoked->events->components_changed)
		revoked->events->components_changed(revoked->ctx);
}

/* Its bits are the value. */
static void component_told(struct link_revoked *revoked, const murmesh_Revocation *message)
{
	if (message->ended || !message->roles) {
		map_remove(revoked->components, message->component, sizeof message->component);
		components_changed(revoked);
	} else if (map_put(revoked->components, message->component, sizeof message->component, (void *)(uintptr_t)message->roles) <
	           0)
		log_limited(LOG_WARNING, "a component cannot be let in: %s", err_text(-E_NO_MEMORY));
}

static void relay_told(struct link_revoked *revoked, const murmesh_Revocation *message)
{
	struct id id;
	memcpy(id.bytes, message->relay, sizeof id.bytes);
	struct relay *relay = relay_find(revoked, &id);
	if (message->ended && relay)
		return relay_end(revoked, relay);
	if (!message->ended && !relay && !(relay = relay_add(revoked, &id)))
		log_limited(LOG_WARNING, "a relay cannot be let in: %s", err_text(-E_NO_MEMORY));
	if (relay)
		relay->told = true;
}

/* Those that core does not know of any more have ended while it could not say so. */
static void all_told(struct link_revoked *revoked)
{
	revoked->listed = true;
	LIST_EACH(at, &revoked->order) {
		struct relay *relay = LIST_ENTRY(at, struct relay, node);
		if (!relay->told)
			relay_end(revoked, relay);
	}
	components_changed(revoked);
}

static void on_message(void *ctx, const void *message)
{
	static const uint8_t none[sizeof((murmesh_Revocation *)0)->relay];
	struct link_revoked *revoked = ctx;
	const murmesh_Revocation *revocation = message;
	if (memcmp(revocation->component, none, sizeof none) != 0)
		return component_told(revoked, revocation);
	if (memcmp(revocation->relay, none, sizeof none) != 0)
		return relay_told(revoked, revocation);
	if (revocation->listed)
		return all_told(revoked);
	int err = map_put(revoked->keys, revocation->key_hash, sizeof revocation->key_hash, revoked);
	if (err < 0)
		log_limited(LOG_WARNING, "a revoked certificate may still connect: %s", err_text(err));
	revoked->events->key(revoked->ctx, revocation->key_hash);
}

/* All are told anew: one that is none any more must not stay. */
static void relays_doubt(struct link_revoked *revoked)
{
	revoked->listed = false;
	LIST_EACH(at, &revoked->order)
		LIST_ENTRY(at, struct relay, node)->told = false;
}

static void components_forget(struct link_revoked *revoked)
{
	uint8_t seed[16];
	random_bytes(seed, sizeof seed);
	struct map *empty = map_new(seed, CA_COMPONENTS_MAX);
	if (!empty)
		return;
	map_free(revoked->components);
	revoked->components = empty;
}

static void on_closed(void *ctx, int err, const char *why)
{
	struct link_revoked *revoked = ctx;
	(void)why;
	revoked->call = NULL;
	relays_doubt(revoked);
	components_forget(revoked);
	io_timer_start(revoked->retry, err == -E_DENIED ? GATEWAY_DENIED_MS : RETRY_MS, 0);
}

static void on_retry(void *ctx)
{
	link_revoked_follow(ctx);
}

void link_revoked_follow(struct link_revoked *revoked)
{
	static const struct rpc_call_events events = { on_message, NULL, NULL, on_closed };
	static const murmesh_RevocationsRequest request = murmesh_RevocationsRequest_init_zero;
	if (revoked->call || !*revoked->core)
		return;
	revoked->call = rpc_call_open(*revoked->core, &rpc_Core_Revocations, NULL, 0, &events, revoked);
	if (!revoked->call || rpc_call_send(revoked->call, &request) < 0)
		io_timer_start(revoked->retry, RETRY_MS, 0);
	if (revoked->call)
		rpc_call_half_close(revoked->call);
}

struct link_revoked *link_revoked_new(struct io_loop *loop, struct rpc_connection *const *core,
                                      const struct link_revoked_events *events, void *ctx)
{
	struct link_revoked *revoked = mem_alloc(sizeof *revoked);
	uint8_t seed[16];
	if (!revoked)
		return NULL;
	list_init(&revoked->order);
	random_bytes(seed, sizeof seed);
	revoked->keys = map_new(seed, KEYS_MAX);
	revoked->relays = map_new(seed, RELAYS_MAX);
	revoked->components = map_new(seed, CA_COMPONENTS_MAX);
	revoked->retry = io_timer_new(loop, on_retry, revoked);
	revoked->core = core;
	revoked->events = events;
	revoked->ctx = ctx;
	return revoked->keys && revoked->relays && revoked->components && revoked->retry ? revoked : link_revoked_free(revoked);
}

struct link_revoked *link_revoked_free(struct link_revoked *revoked)
{
	if (!revoked)
		return NULL;
	io_timer_free(revoked->retry);
	map_free(revoked->keys);
	map_free(revoked->relays);
	LIST_EACH(at, &revoked->order)
		mem_free(LIST_ENTRY(at, struct relay, node));
	map_free(revoked->components);
	return mem_free(revoked);
}

bool link_revoked_listed(const struct link_revoked *revoked)
{
	return revoked->listed;
}

bool link_revoked_has(const struct link_revoked *revoked, const uint8_t key_hash[HASH_SIZE])
{
	return map_get(revoked->keys, key_hash, HASH_SIZE) != NULL;
}

bool link_revoked_relay(const struct link_revoked *revoked, const struct id *device)
{
	const struct relay *relay = relay_find(revoked, device);
	return relay && relay->told;
}

unsigned link_revoked_component(const struct link_revoked *revoked, const struct id *component)
{
	return (unsigned)(uintptr_t)map_get(revoked->components, component->bytes, sizeof component->bytes);
}
