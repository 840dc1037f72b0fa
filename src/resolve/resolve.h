/* resolve/resolve.h: the resolve role of servers and agents: names to addresses, outside the chroot, with read-only /etc.
 * It serves proto/internal.proto's Resolve to every role that has an RPC edge to it. */
#ifndef RESOLVE_RESOLVE_H
#define RESOLVE_RESOLVE_H

struct priv_child;
int resolve_role_main(struct priv_child *child);
#endif
