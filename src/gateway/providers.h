/* gateway/providers.h: who takes what devices report, and who makes pictures of it: roles here, or those of another machine of the server, which is
 * called over a connection that it made.  What either is asked is known by the call's path (live.proto). */
#ifndef GATEWAY_PROVIDERS_H
#define GATEWAY_PROVIDERS_H
#include <stdbool.h>
#include <stdint.h>

#include "enrol.pb.h"

#define PROVIDER_ROLES (murmesh_ComponentRole_COMPONENT_COLLECT | murmesh_ComponentRole_COMPONENT_VIZ)

struct io_loop;
struct rpc_call;
struct rpc_connection;

struct providers {
	struct io_loop *loop;
	struct rpc_connection *collect, *viz;             /* here; NULL = not */
	bool has_collect, has_viz;                        /* here, though perhaps not just now: then nobody elsewhere is asked */
	struct rpc_connection *far_collect, *far_viz;     /* elsewhere; borrowed */
	struct rpc_connection *of_core, *of_web, *of_viz; /* roles here whose calls lead elsewhere */
};

void providers_init(struct providers *providers, struct io_loop *loop);
void providers_done(struct providers *providers);
/* One of theirs: "rpc-to:collect" and "rpc-to:viz"; "rpc-from:core", "rpc-from:web" and "rpc-from:viz" of those that would call them, each for what it
 * may.  It is taken over then. */
bool providers_descriptor(struct providers *providers, const char *name, int fd);
/* -E_BUSY: it is not there now, or takes no more; -E_UNSUPPORTED: no call for either. */
int providers_ask(struct providers *providers, struct rpc_call *call);
/* Returns which of the roles it has now: those that nobody has. */
uint32_t providers_come(struct providers *providers, uint32_t roles, struct rpc_connection *connection);
void providers_go(struct providers *providers, const struct rpc_connection *connection); /* also one that is none */
#endif
