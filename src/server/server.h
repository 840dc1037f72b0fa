/* server/server.h: what the roles of murmesh-server share: their entries, and the names of the settings that the monitor hands them. */
#ifndef SERVER_SERVER_H
#define SERVER_SERVER_H
#include "priv/priv.h"

/* Settings, one "name=value" line each (base/str.h, str_setting()):
 * front_port   the port people connect to
 * address      host:port that other machines reach this server by
 * domain       host[:port] that browsers reach the console by beside it; "" = none
 * machine      the machine's own address, as it finds it out; "" = none
 * ior_port, tls_port, iiop_port  of CORBA (orb); 0 = not open
 * owner        uid of the directory's owner: may use core.sock beside root and group murmesh */

int server_core_main(struct priv_child *child);
int server_ca_main(struct priv_child *child);
int server_hash_main(struct priv_child *child);
int server_web_main(struct priv_child *child);
int server_collect_main(struct priv_child *child);
int server_viz_main(struct priv_child *child);
int server_orb_main(struct priv_child *child);
#endif
