/* ca/join_pending.h: the join line of a machine that enrols, for its monitor: kept in a file of mode 0600 until the enrolment is complete, so that a kill in
 * between loses nothing. */
#ifndef CA_JOIN_PENDING_H
#define CA_JOIN_PENDING_H
#include <limits.h>

#include "ca/join_line.h"

int join_pending_path(const char *directory, char ret[PATH_MAX]);
/* The line that stands in fd, which is closed, and is kept from now on; with fd -1 the one that is kept, or "" when there is none.  -E_KEY_LINE. */
int join_pending_read(const char *directory, int fd, char ret[JOIN_LINE_SIZE]);
void join_pending_forget(const char *directory);
#endif
