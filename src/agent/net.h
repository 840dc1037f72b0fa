/* agent/net.h: what the files of the net role share. */
#ifndef AGENT_NET_H
#define AGENT_NET_H
#include "agent/agent.h"
#include "base/list.h"
#include "base/map.h"
#include "ca/join_line.h"
#include "ca/trusted_time.h"
#include "crypto/tls.h"
#include "io/io.h"
#include "os/host.h"
#include "os/socket.h"
#include "rpc/rpc.h"
#include "services.h"
#include "tunnel/agent_end.h"

/* Whom an agent takes for its parent. */
#define NET_PARENT_KINDS (1u << IDENTITY_COMPONENT | 1u << IDENTITY_RELAY)

#define NET_PARENTS 8
struct net_parent {
	char host[JOIN_HOST_SIZE];
	uint16_t port;
};
struct net_parents {
	struct net_parent all[NET_PARENTS]; /* the one liked best first */
	size_t n, at;                       /* at: that is linked, or tried */
	size_t tried;                       /* of this round, in vain */
	bool again;                         /* the one that was linked is tried once more */
	uint64_t linked_us;                 /* since when it is linked, if it is; monotonic */
	unsigned turn;                      /* which address of an object reference is tried */
	struct io_timer *back;              /* to a better one; NULL until the first welcome */
	size_t asked;                       /* so often was a better one asked */
	struct way_back *way;               /* is asked now; else NULL */
};

struct net_move {
	struct net_parent to;       /* port 0: it was not moved */
	struct io_timer *fall_back; /* NULL until the first */
	int64_t created_ms;         /* of the last order that was taken; 0 = none */
	uint32_t fall_back_s;
	bool reached; /* it was linked to it */
};

struct net_role {
	struct priv_child *child;
	struct io_loop *loop;
	struct rpc_connection *exec, *resolve, *probe;
	struct rpc_connection *below, *relay; /* of a relay: its link role, for agents below; its relay role */
	struct keep keep;
	struct host host;
	struct join_line line;
	bool has_line;
	char name[64];

	/* the parent */
	struct net_parents parents;
	struct net_move move;
	murmesh_RelaysEnded ended; /* as it was told last */
	int64_t duty_ms; /* created_ms of the last signed order to be a relay, or none, that was taken; 0: there was none */
	char parent_address[SOCKET_ADDRESS_TEXT]; /* of the one that is linked, or of the proxy */
	struct list reaching;                     /* connections through a proxy that are not made yet */
	struct list locating;                     /* parents whose object reference is asked for */
	struct net_parent dialed;                 /* last, as the list has it; where it is linked, when it is */
	struct net_parent reached;                /* the same, as its object reference has it */
	struct dial *dial;                        /* that is not connected yet; NULL = none */
	struct rpc_connection *parent;
	struct rpc_call *link; /* NULL = not open */
	struct tls_context *pin_tls, *link_tls, *leg_tls;
	struct io_timer *retry, *renewal, *survey, *wait;
	murmesh_Inventory *told; /* to the parent on this link; NULL = nothing yet */
	uint8_t challenge[16];   /* of this link; zeros = its parent takes nothing that is signed */
	uint64_t pause_ms;
	bool online, begun;
	int told_err;          /* of the last report that it is offline */
	uint64_t continuation; /* of the last welcome; 0 = none */
	int64_t time_least;    /* a server of the mesh has told a time as late as this; 0 = none yet */
	bool copied;           /* this machine has come to its identity as a copy */
	bool machine_changed;  /* and says so itself */
	bool doubtful;         /* the last handshake failed, perhaps for a certificate that has expired */

	/* enrolment under way */
	murmesh_Token token;
	struct buf csr;
	bool token_old; /* of an earlier start */
	bool waiting;   /* for approval */

	struct trust *trust;
	struct agent_end *legs;
	struct map *revoked;       /* keys of users; NULL = none */
	struct net_router *router; /* of messages; NULL until the first link */
	struct list rpc_legs;      /* those with ALPN h2 */
	size_t n_rpc_legs;
	size_t n_udp_flows; /* on all of them */
};

/* Literal or name to addresses; done comes later, exactly once, unless it returns a negative code. */
int net_resolve(void *ctx, struct str host, agent_end_addresses done, void *done_ctx);
/* One line to the monitor. */
void net_report(struct net_role *net, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- net_reach.c ---- */
typedef void (*net_reached)(void *ctx, int fd); /* connected or connecting, to be taken; or a negative code */
/* done comes exactly once, perhaps before it returns. */
void net_reach(struct net_role *net, struct str host, uint16_t port, net_reached done, void *ctx);
void net_reaches_end(struct net_role *net); /* those that are not done, with -E_CANCELLED */

/* ---- net_locate.c ---- */
/* at: where that parent is; valid inside the call. */
typedef void (*net_located)(void *ctx, int err, const struct net_parent *at);
/* What is named by the port of its object reference is asked there; all others are where they say.  done comes exactly once, perhaps before it
 * returns; -E_IOR: that was none to link to. */
void net_locate(struct net_role *net, const struct net_parent *parent, net_located done, void *ctx);
void net_locates_end(struct net_role *net); /* those that are not done, with -E_CANCELLED */

/* ---- net_parent.c ---- */
int net_parents_load(struct net_role *net);                                 /* out of configuration, what is kept, and the policy */
void net_parent_set(struct net_role *net, const char *host, uint16_t port); /* this one alone */
const struct net_parent *net_parent(const struct net_role *net);
bool net_parent_same(const struct net_parent *a, const struct net_parent *b);
/* Connects to the parent under that context; `connected` is told (err 0: net->parent is ready), unless it is hung up before. */
void net_dial(struct net_role *net, struct tls_context *tls, void (*connected)(struct net_role *net, int err));
void net_hang_up(struct net_role *net);
/* It does not answer, or its link has ended (linked): chooses whom to try next, soon (true), or after a pause. */
bool net_parent_next(struct net_role *net, bool linked);
int net_parents_welcome(struct net_role *net); /* it is linked: a better one is asked now and then */
void net_parents_better(struct net_role *net); /* asks a better one than is linked now */
void net_parents_free(struct net_role *net);

/* ---- net_move.c ---- */
int net_move_load(struct net_role *net);                                          /* what is kept */
void net_move_take(struct net_role *net, const murmesh_SignedDocument *document); /* of the parent: a Move */
void net_move_welcome(struct net_role *net);                                      /* it is linked */

/* ---- net_enrol.c ---- */
void net_enrol(struct net_role *net);
/* ---- net_link.c ---- */
int net_enter_enrolled(struct net_role *net);           /* contexts, trust, legs out of what is kept */
void net_link(struct net_role *net);                    /* dials, opens the control link, tries again for ever */
int net_reports_open(void *ctx, struct rpc_call *call); /* of the probe: to the parent as it is */
void net_rpc_legs_free(struct net_role *net);
int net_identity_use(struct net_role *net); /* after a renewal */
void net_link_later(struct net_role *net, int err, const char *why);
void net_order_refuse(struct net_role *net, uint32_t order,
                      int err);            /* tells the server: the order of that number in Frame was not taken */
void net_link_again(struct net_role *net); /* at once, to the parent that is to be from now on */
/* ---- net_renew.c: certificates in time, or late ---- */
int net_renewal_begin(struct net_role *net);
bool net_renewal_late(const struct net_role *net); /* the certificate has expired, it seems */
void net_renew_late(struct net_role *net);         /* dials, without a certificate */
/* ---- net_time.c: what servers tell (trusted_time.h) ---- */
int net_time_check(const struct net_role *net); /* of the parent just dialed: was it valid at a time that can be now? */
int net_time_learn(struct net_role *net, int64_t server_time);              /* -E_CERTIFICATE_EXPIRED: it cannot be now */
int net_time_welcome(struct net_role *net, const murmesh_Welcome *welcome); /* the same, also of a relay */
/* Does what was signed at the one time (ms since 1970) count after what was signed at the other (0: nothing)?  -E_POLICY_OLD; -E_SIGNED_AHEAD: it is of a
 * time that has not come.  Such a one that is kept, of an older version, does not stand in the way. */
int net_time_order(const struct net_role *net, int64_t created_ms, int64_t last_ms);
/* ---- net_thread.c: what runs through all links (ca/continuity.h), and what becomes of a copy ---- */
int net_thread_load(struct net_role *net);
int net_thread_keep(const struct net_role *net);
void net_begin_anew(struct net_role *net, const struct join_line *line); /* gives the identity up, and enrols with the line */
void net_split(struct net_role *net); /* parent is connected: asks for a line, and has the monitor begin anew with it */
/* ---- net_policy.c ---- */
void net_policy_welcome(struct net_role *net, const murmesh_Welcome *welcome);
void net_policy_take(struct net_role *net, const murmesh_SignedDocument *policy); /* of the parent */
void net_policy_tell(struct net_role *net);                                       /* exec: which one is kept */
/* ---- net_relay.c ---- */
bool net_relay_descriptor(struct net_role *net, const char *name, int fd);         /* one of the roles of a relay; false: another */
int net_relay_load(struct net_role *net);                                          /* what is kept */
void net_relay_order(struct net_role *net, const murmesh_RelayOrder *order);       /* of an older server, which does not sign */
void net_relay_duty(struct net_role *net, const murmesh_SignedDocument *document); /* of the server: a RelayDuty */
void net_relay_hello(const struct net_role *net, murmesh_Hello *hello);
void net_relay_forward(struct net_role *net, const murmesh_TunnelForward *message);
void net_relay_free(struct net_role *net);
/* ---- net_ended.c: relays that are none any more ---- */
#define NET_ENDED "the parent is no relay any more, or no machine of the server"
int net_ended_load(struct net_role *net);    /* what is kept; trust is there */
void net_ended_policy(struct net_role *net); /* there is another: what the grant key before has signed does not count */
void net_ended_take(struct net_role *net, const murmesh_SignedDocument *document);      /* of the parent: a RelaysEnded */
bool net_ended_parent(const struct net_role *net, const struct rpc_connection *parent); /* is it one?  TLS is done */
/* ---- net_inventory.c ---- */
/* The parent is there: tells it now, and again when it has changed. */
int net_inventory_begin(struct net_role *net, const murmesh_Welcome *welcome);
void net_inventory_end(struct net_role *net); /* the link is closed */
/* ---- net_envelope.c ---- */
void net_envelope_begin(struct net_role *net); /* the parent is there */
void net_envelope_frame(struct net_role *net, const murmesh_Frame *frame);
void net_envelope_send(struct net_role *net); /* there is room on the link */
void net_envelope_end(struct net_role *net);  /* the link is closed */
void net_envelope_free(struct net_role *net);
#endif
