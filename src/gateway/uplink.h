/* gateway/uplink.h: what the files of the uplink role share: on another machine of the server, the one connection to core's machine.
 *
 * Settings, one "name=value" line each:
 * roles    those that run here (ca/components.h)
 * core     host:port of the front of core's machine
 * address  host:port where others find this machine
 * name     what it calls itself when it enrols
 * join     the join line, while it is not enrolled
 *
 * Reports to the monitor, one line each: enrolled NAME; online NAME; offline E1029 WHY; waiting NAME HASH; refused E1211 WHY (for good). */
#ifndef GATEWAY_UPLINK_H
#define GATEWAY_UPLINK_H
#include "base/buf.h"
#include "ca/join_line.h"
#include "gateway/gateway.h"
#include "gateway/keep.h"
#include "gateway/providers.h"
#include "io/io.h"
#include "os/host.h"
#include "rpc/rpc.h"
#include "services.h"

struct uplink {
	struct priv_child *child;
	struct io_loop *loop;
	struct rpc_connection *link, *web, *viz, *relay, *resolve; /* roles here; perhaps not all of the first ones */
	struct rpc_connection *core;                               /* NULL = not connected, nor connecting */
	struct rpc_connection *serving; /* the same of the one over which core's machine calls collect and viz here */
	struct providers providers;
	void (*connected)(struct uplink *uplink, int err); /* is to be told */
	struct tls_context *dials;                         /* under which a name is looked up; borrowed; NULL = none is */
	struct rpc_call *attached;                         /* NULL = not open */
	bool online, begun;
	char core_host[JOIN_HOST_SIZE], name[64];
	uint16_t core_port;
	struct keep keep;
	struct host host;
	struct join_line line;
	bool has_line, waiting /* for approval */, token_old /* of an earlier start */;
	murmesh_Token token;
	struct buf csr;
	struct tls_context *pin_tls, *tls, *serve_tls;
	struct rpc_call *pairs; /* of the relay here: what core is told of its tunnels; NULL = not open */
	struct io_timer *retry, *renewal, *serve_retry, *pairs_retry;
	uint64_t pause_ms;
	int told_err; /* of the last report that it is offline */
};

/* ---- role_uplink.c ---- */
void uplink_report(struct uplink *uplink, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Connects under that context; `connected` is told once (0: uplink->core is ready), unless it is hung up before. */
void uplink_dial(struct uplink *uplink, struct tls_context *tls, void (*connected)(struct uplink *uplink, int err));
void uplink_hang_up(struct uplink *uplink);
/* Is the other side core's machine?  Other machines of the server have certificates for TLS servers too, and other names. */
bool uplink_is_core(const struct rpc_connection *connection);
void uplink_later(struct uplink *uplink, int err, const char *why); /* hangs up, and tries again after a pause */

/* ---- uplink_attach.c: Components.Attach ---- */
void uplink_attach(struct uplink *uplink); /* it is connected */

/* ---- uplink_pairs.c ---- */
void uplink_pairs(struct uplink *uplink); /* it is attached, or the relay here is another: core is told of its tunnels */
void uplink_pairs_end(struct uplink *uplink);

/* ---- uplink_serve.c: what core's machine calls here ---- */
void uplink_serve(struct uplink *uplink); /* it is attached; from now on, until it is hung up */

/* ---- uplink_enrol.c ---- */
int uplink_load(struct uplink *uplink);   /* 1: it is enrolled; 0: not yet; or an error */
void uplink_enrol(struct uplink *uplink); /* reports, and goes on by uplink_link() */
/* For ever: dials and attaches, renews the certificate in time, or late. */
void uplink_link(struct uplink *uplink);
#endif
