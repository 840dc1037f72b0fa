/* probe/modules/network/network.h: connections: by their packets (AF_PACKET), else by the kernel's tables of sockets every second (sock_diag, else
 * /proc/net). */
#ifndef PROBE_MODULES_NETWORK_NETWORK_H
#define PROBE_MODULES_NETWORK_NETWORK_H
#include "base/list.h"
#include "probe/module.h"

enum { PROTOCOL_ICMP = 1, PROTOCOL_TCP = 6, PROTOCOL_UDP = 17, PROTOCOL_ICMPV6 = 58 };

/* ---- packet.c: one IP packet ---- */

enum { PACKET_FIN = 1, PACKET_SYN = 2, PACKET_RST = 4, PACKET_ACK = 16 }; /* as TCP has them */
struct packet {
	struct gg_flow flow; /* source: who sent it; `incoming` is not set */
	uint32_t bytes;      /* with the IP header */
	uint8_t tcp;         /* flags; 0 when it is not TCP */
};
/* bytes: from the IP header on, as much of it as there is; len: of the packet on the wire.  False: not IP, not one of the protocols above,
 * cut too short, or a later fragment. */
bool packet_parse(struct str bytes, uint32_t len, struct packet *ret);

/* ---- flow.c: the table ---- */

#define FLOWS_MAX 16384

enum flow_state { FLOW_NEW, FLOW_OPEN, FLOW_OVER }; /* not announced yet; announced; its end is told */
struct flow {
	struct gg_flow key; /* source: who opened it */
	struct list node;   /* those with something to say */
	struct list place;  /* all of them: the caller's, who puts it there */
	enum flow_state state;
	uint64_t begun_ns, begun_ms, seen_ms, said_ms;
	struct flow_count {
		uint64_t bytes, packets;
	} fresh[2], total[2]; /* fresh: since the last DATA; [0] from the source, [1] to it */
	uint64_t inode;       /* of the socket here; 0 = not known */
	bool by_source;       /* which is the one of the source */
	struct gg_process process;
	char command[64];
	bool gone;     /* its socket is not there any more */
	uint8_t fins;  /* 1 the source's, 2 the destination's */
	int interface; /* where its packets are counted */
	unsigned scan;
};

struct flows;
struct flows *flows_new(void);
struct flows *flows_free(struct flows *flows);
size_t flows_count(const struct flows *flows);
/* The flow between these ends, whoever of them is the source; NULL = there is none. */
struct flow *flows_get(const struct flows *flows, const struct gg_flow *between);
/* NULL: the table is full. */
struct flow *flows_add(struct flows *flows, const struct gg_flow *key);
void flows_remove(struct flows *flows, struct flow *flow);
struct flow *flows_next(const struct flows *flows, size_t *at); /* as map_next() */
bool flow_from_source(const struct flow *flow, const struct gg_flow *sent);
/* Who opened it, as far as one packet tells: a SYN, else the higher port; for what is not TCP the sender. */
bool packet_from_opener(const struct packet *packet);
/* A packet of this flow was seen. */
void flow_count_packet(struct flow *flow, const struct packet *packet, uint64_t now_ms);
/* Over because of what was seen, or because nothing was for so long. */
bool flow_over(const struct flow *flow, uint64_t now_ms);

/* ---- ring.c: packets ---- */

struct ring;
/* NULL with *ret_err: not allowed, or memory is short. */
struct ring *ring_open(int *ret_err);
int ring_fd(const struct ring *ring); /* readable when there are packets */
enum ring_way { RING_IN, RING_OUT, RING_LOOP };
/* Hands over what there is, at most some thousand packets. */
void ring_read(struct ring *ring, void (*packet)(void *ctx, const struct packet *packet, enum ring_way way, int interface),
               void *ctx);
uint64_t ring_drops(struct ring *ring); /* since the last call */
struct ring *ring_close(struct ring *ring);

/* ---- socket.c: what the kernel says of one socket ---- */

struct diag_socket {
	struct gg_flow flow; /* source: this end; `incoming` is not set */
	uint64_t inode, sent, received;
	bool listening; /* TCP */
	bool bound;     /* UDP: has its own end only, and speaks with anybody */
};
uint32_t socket_states(uint8_t protocol); /* the states of those that belong to a process: 1 << TCP_ESTABLISHED ... */
/* What this state makes of the socket, whose addresses are there.  False: it is none of ours. */
bool socket_state_take(struct diag_socket *socket, uint8_t protocol, uint32_t state);

/* ---- diag.c: the kernel's tables of sockets (linux/inet_diag.h) ---- */

int diag_open(void); /* a descriptor, or a negative code */
/* One message of the kernel; false: it describes no socket. */
bool diag_parse(struct str message, uint8_t protocol, struct diag_socket *ret);
/* Every TCP and UDP socket; those that listen first.  0 or a negative code. */
int diag_each(int fd, void (*each)(void *ctx, const struct diag_socket *socket), void *ctx);

/* ---- tables.c: the same as text, without counts of bytes: /proc/net/{tcp,tcp6,udp,udp6} ---- */

#define TABLES_ROWS 16384 /* of each table; what is behind them is left */
struct tables;
/* Opens all that there are of the process's own network; proc: a descriptor of /proc.  NULL with *ret_err. */
struct tables *tables_open(int proc, int *ret_err);
/* One line without its end; false: it describes no socket that diag_each() has. */
bool tables_parse(struct str line, uint8_t protocol, struct diag_socket *ret);
/* The next piece, at most 8 KiB.  1: it goes on, 0: that was the last one, or a negative code; then the next call begins anew.  Sockets that
 * come or go meanwhile may make it miss another one. */
int tables_read(struct tables *tables, void (*each)(void *ctx, const struct diag_socket *socket), void *ctx);
uint64_t tables_left(struct tables *tables); /* how often a table had more rows, since the last call */
struct tables *tables_close(struct tables *tables);
#endif
