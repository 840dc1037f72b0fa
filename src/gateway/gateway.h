/* gateway/gateway.h: the roles that meet the network, in a server and in a relay (an agent that stands between the server and other agents).
 *
 * What they call is on the other side of one edge: in a server core, which knows the mesh; in a relay its net role, which passes everything on to
 * its parent; on another machine of the server the uplink role, which passes it on to core's machine.
 *
 * Settings: `relay=yes` in a relay; `roles=link,relay` on another machine of the server, with those that run there. */
#ifndef GATEWAY_GATEWAY_H
#define GATEWAY_GATEWAY_H
#include "priv/priv.h"

#define GATEWAY_RELAY_CALLS 50000 /* at once, of one relay or component: its own and of all below it */
#define GATEWAY_CORE_NAME                                                                                                          \
	"murmesh-server" /* in certificates of core's machine; other machines of the server have a number behind their names */
#define GATEWAY_DENIED_MS 60000 /* what the server has refused to a relay is asked again after this time */
enum gateway_place { GATEWAY_AT_CORE, GATEWAY_IN_RELAY, GATEWAY_ELSEWHERE };
enum gateway_place gateway_place(struct str settings);

int gateway_front_main(struct priv_child *child);
int gateway_link_main(struct priv_child *child);
int gateway_relay_main(struct priv_child *child);
int gateway_uplink_main(struct priv_child *child);
#endif
