/* gateway/gateway.h: the roles that meet the network, in a server and in a relay (an agent that stands between the server and other agents).
 *
 * What they call is on the other side of one edge: in a server core, which knows the mesh; in a relay its net role, which passes everything on to
 * its parent; on another machine of the server the uplink role, which passes it on to core's machine.
 *
 * Settings: `relay=yes` in a relay; `roles=link,relay` on another machine of the server, with those that run there. */
#ifndef GATEWAY_GATEWAY_H
#define GATEWAY_GATEWAY_H
#include "priv/priv.h"

enum gateway_place { GATEWAY_AT_CORE, GATEWAY_IN_RELAY, GATEWAY_ELSEWHERE };
enum gateway_place gateway_place(struct str settings);

int gateway_front_main(struct priv_child *child);
int gateway_link_main(struct priv_child *child);
int gateway_relay_main(struct priv_child *child);
int gateway_uplink_main(struct priv_child *child);
#endif
