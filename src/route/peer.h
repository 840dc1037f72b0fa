/* route/peer.h: envelopes on one control link (proto/router.proto); both ends speak the same.
 *
 * Each end announces credit, sends no more than that, and answers each envelope once, when it is on its disk. */
#ifndef ROUTE_PEER_H
#define ROUTE_PEER_H
#include "route/route.h"
#include "router.pb.h"

#define PEER_CREDIT 64 /* envelopes under way on a link */

/* What route_accept()'s token is: whoever gives an envelope is told. */
struct route_giver {
	void (*accepted)(struct route_giver *giver, int err);
};
void route_giver_tell(void *ctx, void *token, int err); /* route_events.accepted */

/* Those of one router whose answers are to be sent: after each route_sync_end(). */
struct peers {
	struct route *route;
	struct list answering;
};
void peers_init(struct peers *peers, struct route *route);
void peers_answer(struct peers *peers);

struct peer_events {
	int (*send)(void *ctx, const murmesh_Frame *frame); /* -E_FULL: peer_send() comes when there is room */
	bool (*crowded)(void *ctx);                         /* stop, peer_send() comes when there is room */
	void (*failed)(void *ctx, int err);                 /* the link is of no more use; peer_free() may come later */
	/* For whom an envelope is that came here; an error refuses it for good. */
	int (*destination)(void *ctx, const murmesh_Envelope *envelope, struct id *ret);
};

struct peer;
/* The other end's queue is that of this destination.  An older peer of it must be gone. */
int peer_new(struct peers *peers, const struct id *destination, const struct peer_events *events, void *ctx, struct peer **ret);
struct peer *peer_free(struct peer *peer);
/* A frame of these kinds came: envelope, acknowledgement, credit. */
void peer_frame(struct peer *peer, const murmesh_Frame *frame, int64_t now_ms);
void peer_send(struct peer *peer, int64_t now_ms); /* something waits, or there is room */
#endif
