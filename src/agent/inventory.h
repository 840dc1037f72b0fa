/* agent/inventory.h: the machine's inventory as a message: exec takes and signs it, net sends it when it is worth that. */
#ifndef AGENT_INVENTORY_H
#define AGENT_INVENTORY_H
#include <stdbool.h>

#include "router.pb.h"

struct keep;

/* As this machine is now, signed by the manager that is kept, for the link with that challenge (zeros: whose parent takes nothing signed). */
int inventory_sign(const struct keep *keep, const uint8_t challenge[16], int64_t now, murmesh_SignedInventory *ret);
/* More than memory that comes and goes (5 % of it) and disks that fill slowly (1 %). */
bool inventory_changed(const murmesh_Inventory *before, const murmesh_Inventory *now);
#endif
