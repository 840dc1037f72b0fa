#include "manage/bearer.h"

#include <string.h>

#include "base/err.h"
#include "rpc/rpc.h"

int bearer_check(const struct rpc_call *call, const murmesh_Order *order)
{
	const struct identity *peer = rpc_call_peer(call);
	bool same = peer && peer->kind == IDENTITY_USER && memcmp(peer->id.bytes, order->user, sizeof order->user) == 0 &&
	            memcmp(peer->mesh.bytes, order->mesh, sizeof order->mesh) == 0;
	return same ? 0 : -E_GRANT;
}
