/* agent/inventory.h: the machine's inventory as a message: exec takes it, net sends it when it is worth that. */
#ifndef AGENT_INVENTORY_H
#define AGENT_INVENTORY_H
#include <stdbool.h>

#include "router.pb.h"

struct rpc_call;

/* Manager.TakeInventory. */
void inventory_take(void *ctx, struct rpc_call *call, const void *request);
/* More than memory that comes and goes (5 % of it) and disks that fill slowly (1 %). */
bool inventory_changed(const murmesh_Inventory *before, const murmesh_Inventory *now);
#endif
