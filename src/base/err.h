/* base/err.h: every error this system reports.  Functions return 0 or a negative code: -E_... from err.def, or
 * -errno (1 to 999) as the kernel gave it.  err_text() and err_try() serve both. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

enum err {
	E_FIRST = 1000,
#define ERR(code, number, text, remedy) code = number,
#include "base/err.def"
#undef ERR
};

const char *err_name(int err); /* "E1003" or the errno's name, e.g. "ENOENT"; takes either sign */
const char *err_text(int err); /* what happened: a clause without capital and full stop */
const char *err_try(int err);  /* what to do next; NULL when there is nothing to say */
/* The code of a name as err_name() prints it ("E1003", "e1003", "1003"); 0 when unknown. */
int err_from_name(const char *name);
/* Walks all codes of err.def: start with 0; 0 at the end. */
int err_next(int err);
/* Whether a number received from a peer is one of ours. */
int err_known(int err);
#endif
