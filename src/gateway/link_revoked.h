/* gateway/link_revoked.h: the keys whose certificates the link role refuses, and the devices and components that may speak for others, as core tells
 * them (Core.Revocations). */
#ifndef GATEWAY_LINK_REVOKED_H
#define GATEWAY_LINK_REVOKED_H
#include <stdbool.h>

#include "base/id.h"
#include "crypto/key.h"

struct io_loop;
struct rpc_connection;
struct link_revoked;

struct link_revoked_events {
	void (*key)(void *ctx, const uint8_t key_hash[HASH_SIZE]); /* one more is revoked */
	void (*relay_ended)(void *ctx, const struct id *device);   /* it is no relay any more, perhaps since a while; may be NULL */
	void (*components_changed)(void *ctx); /* one may no more what it did, or all were told of anew; may be NULL */
};
/* core: where the connection to core stands, NULL there when there is none; looked at whenever it is needed.
 * NULL when memory is short. */
struct link_revoked *link_revoked_new(struct io_loop *loop, struct rpc_connection *const *core,
                                      const struct link_revoked_events *events, void *ctx);
struct link_revoked *link_revoked_free(struct link_revoked *revoked); /* core's connection ended before */
void link_revoked_follow(struct link_revoked *revoked);               /* core has come (again) */
/* What a component may (bits of ComponentRole); 0: it is none, or this is not the machine that they connect to. */
unsigned link_revoked_component(const struct link_revoked *revoked, const struct id *component);
bool link_revoked_relay(const struct link_revoked *revoked, const struct id *device); /* is it one? */
bool link_revoked_listed(
        const struct link_revoked
                *revoked); /* have all been told of?  Until then who is no relay may be one (always, where core is older) */
bool link_revoked_has(const struct link_revoked *revoked, const uint8_t key_hash[HASH_SIZE]);
#endif
