/* web/watch.h: what a browser watches over /ws: the fleet, tasks, what happens now, machines that wait, open tunnels.
 *
 * Each subscription is a stream of core (or viz) of its own with the browser's session, so that core decides what it may see and ends it with
 * the session.  Changes pass through a feed (web/feed.h).  When the socket goes, the subscription waits for 60 s: the browser comes back
 * with its epoch and the number it saw last, and gets what came since. */
#ifndef WEB_WATCH_H
#define WEB_WATCH_H
#include "web/json.h"
#include "web/own.h"

#define WATCH_PER_SOCKET 8
#define WATCH_MAX        240   /* subscriptions in all, also those that wait */
#define WATCH_WAIT_MS    60000 /* for a browser to come back */

struct web_socket;
/* Takes the socket of a spent ticket. */
void watch_open(struct web *web, struct web_socket *socket, const uint8_t session[ACCOUNT_SESSION_SIZE]);
void watch_core_changed(struct web *web); /* it, or viz, is there: what broke begins again */
void watch_timer(void *web);              /* web->again */
void watch_free_all(struct web *web);

/* ---- order.c: what a browser says ---- */
enum watch_channel { WATCH_FLEET, WATCH_TASKS, WATCH_LIVE, WATCH_APPROVALS, WATCH_MAPS, WATCH_CHANNELS };
struct watch_order {
	bool subscribe;
	enum watch_channel channel;
	bool has_device, has_since; /* since: with its epoch */
	struct id device;
	uint64_t since, epoch;
};
extern const struct schema schema_order;
const char *watch_channel_name(enum watch_channel channel);
/* 0, or -E_JSON with the reason in why; -E_NO_MEMORY. */
int watch_order_read(struct str text, struct watch_order *ret, char why[JSON_WHY_SIZE]);

/* ---- changes.c: messages of core and viz as changes of a feed ---- */
struct feed;
struct changes {
	struct feed *feed;
	uint64_t rows;
	bool complete; /* the snapshot is whole */
};
/* 0 or a negative code of feed_push(). */
int changes_fleet(struct changes *changes, const void *fleet_event);
int changes_task(struct changes *changes, const void *task_event);
int changes_approval(struct changes *changes, const void *message); /* murmesh_ApprovalEvent */
int changes_map(struct changes *changes, const void *message);      /* murmesh_MapEvent */
int changes_live(struct changes *changes, const void *live_batch);
#endif
