/* server/pair.h: what core knows of a tunnel: for core_pair.c, which keeps and ends them, and core_map.c, which shows them. */
#ifndef SERVER_PAIR_H
#define SERVER_PAIR_H
#include "server/core.h"

enum pair_state {
	PAIR_QUIET,  /* opened; its relay does not tell of it: not yet, no more, or it never tells */
	PAIR_OPEN,   /* as its relay tells */
	PAIR_OVER,   /* ended, which its device does not know yet */
	PAIR_FAILED, /* is none: what people see of one that failed, or was ended by somebody */
};

struct pair {
	struct list node; /* by its state */
	enum pair_state state;
	struct id name;
	struct core_pair_about about;
	struct id through
	        [3]; /* machines of the server where the client and the device come in, and where they meet; zero: core's machine */
	struct id via[RPC_VIA_MAX]; /* relays, the device's parent first */
	size_t n_via;
	uint64_t bytes[2]; /* by side of their sender, 0 the client */
	int64_t since, ended;
	int error;       /* of a failure; negative */
	bool told;       /* of a failure: to who opens the next one; of others: their device has said why it cannot */
	const char *why; /* of a failure: behind the target; "" = nothing more than its error */
	char target[];
};
#define PAIR_AT 2 /* of `through` */

/* ---- core_pair.c ---- */
struct pair *pair_find(const struct core *core, const struct id *name); /* of all states; NULL: it is not there */
/* Of those that people see; the failures last. */
void pair_each(const struct core *core, void (*each)(void *ctx, const struct pair *pair), void *ctx);

/* ---- core_map.c ---- */
bool pair_seen(const struct pair *pair, const struct user *user);
void pair_fill(const struct core *core, const struct pair *pair, murmesh_Map *ret);

/* ---- core_watch.c: tell all who watch.  before: its device's group until now (NULL: the same) ---- */
enum pair_change { PAIR_NEW, PAIR_MOVED /* will again, or a watch that is behind catches up later */, PAIR_GONE };
void pair_publish(struct core *core, const struct pair *pair, const char *before, enum pair_change change);
#endif
