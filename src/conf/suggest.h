/* conf/suggest.h: what a mistyped word may have meant. */
#ifndef CONF_SUGGEST_H
#define CONF_SUGGEST_H
#include "base/str.h"

/* Walks candidates: of those at most two edits away (in any case), the nearest so far. */
struct suggestion {
	struct str word;
	const char *nearest; /* NULL = none yet */
	unsigned edits;
};
void suggest(struct suggestion *suggestion, const char *candidate);
#endif
