/* tests/sim/sim.h: a server, relays and agents in one process, under a clock that only the events move.
 *
 * All that happens is an event of the world's queue; all that is random comes from its seed: the same seed is the same run, step by step.
 * Times are microseconds since the beginning.  Whatever must not be ends the program (world_fail()). */
#ifndef SIM_SIM_H
#define SIM_SIM_H
#include "base/list.h"
#include "route/peer.h"
#include "route/test_disk.h"
#include "store/store.h"

#define MILLISECOND ((int64_t)1000)
#define SECOND      (1000 * MILLISECOND)
#define START_MS    ((int64_t)1800000000000) /* wall time when it begins */

enum {
	AGENTS_MAX = 50,
	NODES_MAX = 1 + AGENTS_MAX + 1, /* the server; agents; a copy of one of them */
	RELAYS_MAX = 4,
	HOPS_MAX = RELAYS_MAX,
	PARENTS_MAX = 3,
	MESSAGES_MAX = 400,
	NAMES = 3,
	INBOX_MAX = 6,
};

struct world;
struct node;
struct link;

/* ---- links: link.c ---- */

enum side { AGENT_SIDE, SERVER_SIDE };

/* One direction.  What was sent arrives in its order, or from some frame on nothing does. */
struct way {
	struct list frames;
	size_t queued; /* bytes */
	int64_t last_us;
	bool lost, pumping;
};
struct link {
	struct list node;
	struct world *world;
	struct node *agent;  /* who dialed */
	struct node *device; /* whose identity it showed */
	int relays[HOPS_MAX];
	size_t n_relays;
	struct way ways[2];           /* by the side that sends */
	bool open[2];                 /* that side has not seen its end */
	uint64_t granted[2], came[2]; /* envelopes, by side: that it may send, as it knows; that came to it */
	/* as server/core_link.c has it */
	bool registered, continued, hello;
	struct peer *peer;
};

struct link *link_new(struct node *agent, const int *relays, size_t n_relays);
int link_send(struct link *link, enum side from, const murmesh_Frame *frame);
bool link_crowded(const struct link *link, enum side from);
void link_close(struct link *link, enum side side, int err); /* by this side: the other sees it when it comes there */
/* It breaks: a part of what is under way arrives.  silent: the ends see it only when nothing has come for long. */
void link_cut(struct link *link, bool silent);
void link_starve(struct link *link, int64_t duration_us); /* nothing passes for so long */
void link_abandon(struct link *link);                     /* by its agent: the server is not told */
/* Of a process that ended, or a machine. */
void links_of_node_end(struct node *node, bool silent);
void link_came(struct link *link, enum side side); /* an envelope to this side */
bool link_credit_whole(const struct link *link);   /* all of it is back */
bool link_over_relay(const struct link *link, int relay);
void links_free(struct world *world);

/* ---- nodes: node.c, server.c, agent.c ---- */

struct node {
	struct world *world;
	unsigned index; /* 0: the server */
	struct id id;   /* the server: zeros, as an agent's that has not enrolled */
	bool up;
	unsigned life;            /* another number with each start and end */
	int64_t blocked_until[2]; /* nothing passes its access, by the side that sends */

	/* ---- on its disk ---- */
	struct test_disk disk;
	struct {
		struct id token; /* of its enrolment; zeros: none */
		bool enrolled;
		uint64_t continuation;
		int64_t time_least; /* ms */
	} kept;
	unsigned files;       /* in its inbox */
	int64_t asleep_until; /* nobody takes files away */

	/* ---- of the process, as agent/net_envelope.c and server/core_envelope.c have it ---- */
	struct route_settings settings;
	struct route *route;
	struct peers peers;
	struct spool_sync *sync;         /* under way */
	int64_t ahead_ms;                /* of its clock */
	unsigned files_known, turns;     /* turns: since the last tick */
	bool soon, clean;                /* clean: nothing can be damaged */
	uint16_t laid[2 * MESSAGES_MAX]; /* whose `done` is not synced; the first n_syncing: in the sync under way */
	unsigned n_laid, n_syncing;
	unsigned failures; /* of its disk, when the sync began */
	bool starved;      /* the last sync failed for lack of room */

	/* ---- an agent's ---- */
	int parents[PARENTS_MAX]; /* a relay, or -1: the server */
	unsigned n_parents, parent, tried, asked;
	unsigned attempt; /* to dial, or to enrol */
	int64_t pause_ms;
	struct link *link; /* its own end */
	struct peer *peer;
	uint64_t continuation;
	bool stopped; /* it is out for good */
	/* ---- what the server has of it ---- */
	struct link *online;
	bool retired, out; /* deleted in its database; and its router knows */
};

void node_init(struct world *world, unsigned index);
int node_open(struct node *node); /* its router */
void node_start(struct node *node);
void node_end(struct node *node, enum test_crash how);
void node_soon(struct node *node);
bool node_dying(const struct node *node); /* it is down, or its disk has just ended it: nobody sees what it still does */
int64_t node_now_ms(const struct node *node);
const struct id *node_own(const struct node *node);
void node_free(struct node *node);
bool node_is_server(const struct node *node);
struct node *node_device(const struct node *node); /* whose identity it has: of a copy, the original */
/* A step that ends the process where its disk's next step would. */
bool node_step(struct node *node);

void agent_start(struct node *agent);
void agent_end(struct node *agent);
void agent_frame(struct node *agent, const murmesh_Frame *frame);
void agent_link_closed(struct node *agent, int err);
void agent_roam(struct node *agent, unsigned parent); /* leaves its link without a word, and comes over that parent */
bool agent_reaches(const struct node *agent);         /* its parent, and over it the server */

void server_frame(struct link *link, const murmesh_Frame *frame);
void server_link_closed(struct link *link);
void server_ready(struct world *world, const struct id *destination);
void server_retire(struct node *device);
void server_began(struct world *world);                        /* its router is open */
void server_welcome(struct link *link, uint64_t continuation); /* the database has said yes */

/* ---- the database: registry.c ---- */

void registry_open(void); /* once for all seeds */
void registry_close(void);
void registry_begin(struct world *world);
void registry_ask(struct node *agent); /* token, or certificate */
void registry_hello(struct link *link, uint64_t shown);
void registry_keep(struct link *link, uint64_t number);
void registry_decide(struct node *device); /* which was frozen */
void registry_split(struct node *agent);   /* it is a copy */
void registry_retire(struct node *device);
void registry_back_up(struct world *world); /* the numbers of links */
void registry_restore(struct world *world);

/* ---- messages, and what must hold: message.c ---- */

enum message_state { MESSAGE_NEW, MESSAGE_OFFERED, MESSAGE_KEPT, MESSAGE_REFUSED };
struct message {
	struct route_giver giver;
	struct list owed; /* of its agent's: acknowledged, and not settled */
	struct world *world;
	uint16_t number, serial; /* serial: of its group's first, and its id */
	struct node *from, *to;
	enum message_state state;
	unsigned offers;
	/* as it is sent */
	murmesh_Priority priority;
	uint32_t lifetime_s;
	uint8_t key; /* 0 = no state */
	size_t len;
	int64_t created_least, created_most; /* ms; 0 = never offered */
	/* what became of it */
	unsigned laid, may_repeat;
	bool dead_here, dead_there; /* a dead letter of the sender, of the receiver */
	bool replaced;
	uint64_t found; /* when it was last seen in a queue */
};

void messages_begin(struct world *world);
void message_lay(struct node *node, const murmesh_Envelope *envelope, struct str body);
int message_arrive(struct link *link, enum side side, const murmesh_Envelope *envelope, struct id *ret);
void messages_check(struct world *world);                                  /* I1, for whoever was touched */
const char *messages_unsettled(struct world *world, unsigned *ret_number); /* NULL: all is done */
void messages_synced(struct node *node); /* its log says what it has laid down, if that went well */
void messages_ended(struct node *node);  /* it died */
void message_replaced(struct node *node, const struct id *destination, const struct id *id);
void message_dead(struct node *node, const struct id *destination, const struct id *id, enum route_dead why);

/* ---- faults: fault.c ---- */

void faults_begin(struct world *world); /* makes the nodes, too */

struct relay {
	bool up;
	int parent; /* a relay before it, or -1: the server */
	int64_t blocked_until[2];
};

/* ---- the world: world.c ---- */

struct tally { /* over all seeds */
	uint64_t steps, messages, acknowledged, laid, repeated, replaced, dead[ROUTE_DEADS], gaps;
	uint64_t ends[TEST_CRASHES], cuts, partitions, relays, jumps, roamed, links, tokens, frozen, full, torn, commits_lost,
	        retired;
};
extern struct tally tally;

struct event {
	int64_t at_us;
	uint64_t order;
	void (*run)(void *subject, uint64_t argument);
	void *subject;
	uint64_t argument;
};

struct world {
	uint64_t seed, random, step, hash;
	int64_t now_us;
	bool tracing, calm, over;
	const char *program;
	struct event *events; /* a heap */
	size_t n_events, events_capacity;
	uint64_t order;
	bool small_queues, slow_disks, busy; /* busy: much goes over one link */
	int64_t calm_at, message_us;         /* message_us: one in so long on average */
	struct node nodes[NODES_MAX];
	unsigned n_nodes, n_agents; /* the copy is the one behind the agents */
	struct relay relays[RELAYS_MAX];
	int n_relays;
	struct list links;
	struct node *copied; /* the original of the copy; NULL: there is none (yet) */
	bool clock_jumped, clock_went_back;
	int64_t most_ahead_ms;
	struct message messages[MESSAGES_MAX];
	unsigned n_messages;
	struct list owed[NODES_MAX]; /* by agent */
	uint64_t touched;            /* agents, as bits; the server's means all */
	uint64_t look;
	uint64_t newest[NODES_MAX]; /* the number that a device is known to have kept */
	uint64_t issued[NODES_MAX]; /* the last that it was given */
	int64_t last_number[NAMES];
	struct id join_key;
	int64_t uses;
	unsigned enrolled;
};

/* Runs one seed to its end; returns the hash of all that happened. */
uint64_t world_run(struct world *world, uint64_t seed, bool tracing, const char *program);
void world_later(struct world *world, int64_t delay_us, void (*run)(void *subject, uint64_t argument), void *subject,
                 uint64_t argument);
void world_touch(struct world *world, const struct node *node);
/* What happened; # and $ stand for a and b. */
void trace(struct world *world, const struct node *node, const char *what, uint64_t a, uint64_t b);
void world_fail(struct world *world, const char *invariant, const char *format, ...)
        __attribute__((format(printf, 3, 4), noreturn));

uint64_t chance_below(struct world *world, uint64_t limit);
bool chance(struct world *world, unsigned percent);
int64_t between(struct world *world, int64_t least, int64_t most);
void chance_bytes(struct world *world, void *out, size_t len);
#endif
