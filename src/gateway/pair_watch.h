/* gateway/pair_watch.h: what the relay role tells of the tunnels whose legs meet in it (Relay.Watch): all of them, then at most every two seconds those over
 * which something went and those that have ended.  Nobody watches: nothing is kept.
 *
 * The newest who asks counts.  One who does not read is ended (-E_FLOW) before more than one message of ends waits for him, and may begin again. */
#ifndef GATEWAY_PAIR_WATCH_H
#define GATEWAY_PAIR_WATCH_H
#include "io/io.h"
#include "relay/relay.h"
#include "rpc/rpc.h"
#include "services.h"

struct pair_watch { /* embedded by its owner */
	struct relay *relay;
	struct rpc_call *call; /* NULL: nobody */
	struct io_timer *timer;
	unsigned every_ms;
	bool timed;                  /* the timer runs */
	bool whole;                  /* he was told of all that there were */
	murmesh_PairReports reports; /* to be sent */
};

#define PAIR_WATCH_MS 2000
int pair_watch_init(struct pair_watch *watch, struct io_loop *loop, unsigned every_ms); /* then set its relay.  -E_NO_MEMORY */
void pair_watch_done(struct pair_watch *watch);                       /* after the connection that calls came over */
int pair_watch_open(struct pair_watch *watch, struct rpc_call *call); /* somebody watches */
void pair_watch_news(struct pair_watch *watch);                       /* the relay's `news` and `ended` */
void pair_watch_ended(struct pair_watch *watch, const struct relay_report *report);
#endif
