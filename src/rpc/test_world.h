/* rpc/test_world.h: a client and a server of calls on one loop, for the tests of this folder. */
#ifndef RPC_TEST_WORLD_H
#define RPC_TEST_WORLD_H
#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/test.h"
#include "crypto/certificate.h"
#include "io/io.h"
#include "os/fd.h"
#include "rpc/rpc.h"
#include "services.h"

struct world;

/* One side of one call, as its owner sees it.  Messages carry their number and a pattern. */
struct talk {
	struct world *world;
	struct rpc_call *call;
	unsigned to_send, sent, received, half_closed, writable, closed;
	size_t size; /* of the messages it sends */
	bool client, echo, ended, bad, sulks /* pauses at its first message */;
	int err, finish; /* finish: what it ends with */
	char why[600], finish_why[600];
};

enum event { NEVER, OPEN, READY, MESSAGE, HALF_CLOSED, WRITABLE, CLOSED, DONE, LOST };

/* A client and a server on one loop, with another server behind it in the tests of the proxy. */
struct world {
	struct io_loop *loop;
	struct io_timer *watchdog;
	struct rpc_connection *client, *server, *near_target, *target;
	unsigned ready, client_lost, server_lost;
	int client_err, server_err;
	struct talk *served[64];
	size_t n_served;
	struct talk script; /* what the next served call is like */
	bool (*done)(struct world *world);
	enum event client_dies, server_dies; /* where the side frees its connection */
	struct rpc_call *waiting;            /* a unary call that is answered later */
	struct talk *talk;                   /* the test's own */
	char peer[IDENTITY_TEXT_SIZE];       /* whom the target saw */
	struct rpc_origin origin;            /* and where from, if it was told */
	bool has_origin, believes;           /* believes: the proxy does what the client says of that */
	unsigned answers;
	int answer_err;
	char answer_why[600], answer[64];
	int peer_fd;
	struct io_watch *peer_watch;
	bool hung, ignores;
};

extern const struct rpc_method raw_method; /* a stream both ways; its messages are numbered patterns */
extern const struct rpc_call_events talk_events;
extern const struct rpc_connection_events client_events, server_events;

int world_init(struct world *world); /* the loop alone */
int world_connect(struct world *world, const struct rpc_connection_settings *of_server);
void world_open(struct world *world); /* both */
void world_close(struct world *world);
/* Until done, which is asked after each event; fails when that takes too long. */
void world_run(struct world *world, bool (*done)(struct world *world));
void world_check(struct world *world); /* after an event of the test's own */
int world_on_open(void *ctx, struct rpc_call *call);
void world_on_server_lost(void *ctx, int err);
void world_on_answer(void *ctx, int err, const char *why, const void *response);
/* A unary call of Resolve.Lookup: "E1017" fails with that code, "errno" with one of the kernel, "later" waits in world->waiting,
 * "never" is not answered, other names come back with a "!". */
int world_ask(struct world *world, const char *host, unsigned timeout_ms);

bool talk_open(struct world *world, struct talk *talk, struct talk script);
void talk_produce(struct talk *talk); /* sends what it has to, as far as there is room */

bool answered(struct world *world);
bool talk_over(struct world *world);
bool both_over(struct world *world); /* talk and the first served */
bool lost(struct world *world);      /* the client's connection */
bool server_lost(struct world *world);
bool served(struct world *world);
bool served_heard(struct world *world);
#endif
