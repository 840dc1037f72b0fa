/* web/leg.h: ways to devices on behalf of a session: HTTP/2 in TLS that ends at the device itself, over a socket pair through the relay role.
 *
 * A leg belongs to one session and one device and serves all that this session does there.  Each session has a key of its own here, in memory
 * only, with a user certificate from core.  They end with their session; legs also when nobody has used them for a minute. */
#ifndef WEB_LEG_H
#define WEB_LEG_H
#include "tunnel/result.h"
#include "web/own.h"

#define LEGS_MAX        512
#define LEGS_OF_SESSION 256

struct leg;
/* One who uses a leg; embedded in him. */
struct leg_use {
	struct list node;
	struct leg *leg; /* NULL = not (any more) in use, or the leg has ended */
	/* Once, from the loop only: err 0 and the connection to call on, or why not.  A later end is told by the calls. */
	void (*ready)(void *ctx, int err, const char *why, struct rpc_connection *connection);
	void *ctx;
	bool told;
};
/* Asks for one: a new one, or one that is there.  0; or a negative code: `ready` does not come. */
int leg_use(struct web *web, const uint8_t session[ACCOUNT_SESSION_SIZE], const struct id *device, struct leg_use *use);
/* At any time, also after the leg's end and twice.  keep: for somebody who comes soon; else a leg without users ends at once. */
void leg_leave(struct leg_use *use, bool keep);

/* Has the management part of the leg's device signed that?  As result_check() has it; -E_CLOSED: the leg has ended. */
int leg_proven(const struct leg_use *use, const murmesh_SignedDocument *order, const murmesh_RunExit *exit,
               const struct result_streams *streams);

void legs_session_ended(struct web *web, const uint8_t session[ACCOUNT_SESSION_SIZE]);
void legs_free_all(struct web *web);
#endif
