/* agent/agent.h: what the roles of murmesh-agent share.
 *
 * Settings that the monitor hands to the roles, one "name=value" line each (base/str.h, str_setting()):
 * join          the join line, while this machine is not enrolled
 * name          what this machine calls itself
 * relay         "yes": it has the roles front, link and relay too; "waits": it will, when its port is free
 * relay_address host:port where other agents find it then
 * reference     its object reference
 * ior_port      of parents that give theirs out; 0 = none does
 * parents       host:port, several with commas: instead of the one that it joined at
 * return_ms     about so long after it has taken another parent it asks a better one
 * proxy         of an HTTP proxy on the way to all parents the host; "" = none; proxy_port; proxy_authorization: what it is told
 * probe, probe_network, probe_packets, probe_arguments   "no": switched off
 *
 * Reports of net to the monitor, one line each (priv_report()):
 * enrolled NAME           both certificates are there
 * online NAME             the control link is up
 * offline E1029 WHY       it is not; net tries again
 * waiting NAME HASH       for approval; the hash is that of its key
 * relay on|off            the server wants it to be a relay, or no longer
 * split LINE              this machine is a copy, or was taken out of the mesh: it gives its identity up and enrols with that line
 * refused E1211 WHY       enrolment failed for good */
#ifndef AGENT_AGENT_H
#define AGENT_AGENT_H
#include "base/buf.h"
#include "gateway/keep.h"
#include "priv/priv.h"
#include "tunnel/grant.h"

int agent_net_main(struct priv_child *child);
int agent_exec_main(struct priv_child *child);
int agent_probe_main(struct priv_child *child);

/* ---- way.c ---- */
struct conf;
/* parents, ior_port, return_ms, proxy...; -E_CONFIG: a parent is not host:port, -E_TOO_LONG.  Wipe out. */
int way_settings(const struct conf *conf, bool relay, char *out, size_t size);
#endif
