/* cli/router.h: the arguments of MeshCentral Router (seed 003), which `murmesh map` takes unchanged: one dash, names in any case, values behind a
 * colon.  Its -map: and -relaymap: are read by map_spec_parse(), its files by mcrouter.h. */
#ifndef CLI_ROUTER_H
#define CLI_ROUTER_H
#include "cli/session.h"

struct router {
	const char *host, *user; /* NULL = not given */
	const char *pass;        /* the same; wiped out of the argument list: what stands here is the owner's */
	bool all, debug;
	char unused[160]; /* what has no meaning here, in the order given */
	char kept[256];   /* of pass */
};

/* The text behind -map: or -relaymap:, or NULL: the word is none of them. */
const char *router_map(const char *word, bool *ret_relay);
/* Any other word with a dash.  Returns the exit code (why it is refused is printed). */
int router_take(struct router *router, char *word);
/* Says what is worth a warning; opens debug.log.  Returns the exit code. */
int router_ready(const struct router *router, const struct cli *cli);
/* session_begin(), at -host: when it is given: logs in there first when nobody, or somebody else than -user:, is.  Wipes the password. */
int router_session(struct router *router, const struct cli *cli, struct session *session);
#endif
