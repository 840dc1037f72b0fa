/* agent/net.h: what the files of the net role share. */
#ifndef AGENT_NET_H
#define AGENT_NET_H
#include "agent/agent.h"
#include "base/list.h"
#include "ca/join_line.h"
#include "crypto/tls.h"
#include "io/io.h"
#include "os/host.h"
#include "os/socket.h"
#include "rpc/rpc.h"
#include "services.h"
#include "tunnel/agent_end.h"

#define NET_RELAYS 4

struct net_role {
	struct priv_child *child;
	struct io_loop *loop;
	struct rpc_connection *exec, *resolve, *probe;
	struct keep keep;
	struct host host;
	struct join_line line;
	bool has_line;
	char name[64];

	/* the parent */
	char parent_host[JOIN_HOST_SIZE];
	uint16_t parent_port;
	struct rpc_connection *parent;
	struct rpc_call *link; /* NULL = not open */
	struct tls_context *pin_tls, *link_tls, *leg_tls;
	struct io_timer *retry, *renewal, *survey, *wait;
	murmesh_Inventory *told; /* to the parent on this link; NULL = nothing yet */
	uint64_t pause_ms;
	bool online, begun;

	/* enrolment under way */
	murmesh_Token token;
	struct buf csr;
	bool waiting; /* for approval */

	struct trust *trust;
	struct agent_end *legs;
	struct net_router *router; /* of messages; NULL until the first link */
	struct list rpc_legs;      /* those with ALPN h2 */
	size_t n_rpc_legs;
};

/* Literal or name to addresses; done comes later, exactly once, unless it returns a negative code. */
int net_resolve(void *ctx, struct str host, agent_end_addresses done, void *done_ctx);
/* One line to the monitor. */
void net_report(struct net_role *net, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Connects to the parent under that context; `connected` is told (err 0: net->parent is ready). */
void net_dial(struct net_role *net, struct tls_context *tls, void (*connected)(struct net_role *net, int err));
void net_hang_up(struct net_role *net);

/* ---- net_enrol.c ---- */
void net_enrol(struct net_role *net);
/* ---- net_link.c ---- */
int net_enter_enrolled(struct net_role *net);           /* contexts, trust, legs out of what is kept */
void net_link(struct net_role *net);                    /* dials, opens the control link, tries again for ever */
int net_reports_open(void *ctx, struct rpc_call *call); /* of the probe: to the parent as it is */
void net_rpc_legs_free(struct net_role *net);
/* ---- net_inventory.c ---- */
int net_inventory_begin(struct net_role *net); /* the parent is there: tells it now, and again when it has changed */
void net_inventory_end(struct net_role *net);  /* the link is closed */
/* ---- net_envelope.c ---- */
void net_envelope_begin(struct net_role *net); /* the parent is there */
void net_envelope_frame(struct net_role *net, const murmesh_Frame *frame);
void net_envelope_send(struct net_role *net); /* there is room on the link */
void net_envelope_end(struct net_role *net);  /* the link is closed */
void net_envelope_free(struct net_role *net);
#endif
