/* server/choice.h: which roles of a program run on this machine. */
#ifndef SERVER_CHOICE_H
#define SERVER_CHOICE_H
#include <stdbool.h>

#include "priv/priv.h"

struct choice {
	struct priv_role roles[16];
	struct priv_edge edges[24];
};

/* Leaves in program, whose tables are those of choice then, the roles that are wanted, and the edges between them.  Who would call a role that is not
 * here calls passes_on instead, by the same name. */
void choice_make(struct priv_program *program, bool (*wanted)(void *ctx, const char *role), void *ctx, const char *passes_on,
                 struct choice *choice);
#endif
