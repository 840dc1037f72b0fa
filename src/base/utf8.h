/* base/utf8.h: text from elsewhere.  UTF-8 as RFC 3629 has it (no overlong forms, no surrogates, at most U+10FFFF). */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H
#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

bool utf8_valid(struct str s);

/* A copy that is safe to show in a terminal, a log or a page: bad UTF-8, control characters (C0, DEL, C1) and
 * bidirectional marks (U+200E/F, U+202A-E, U+2066-9) become U+FFFD; cut to fit at a character's edge.
 * Writes at most size bytes with the NUL (size >= 4) and returns out. */
char *utf8_clean(struct str s, char *out, size_t size);

/* The same, but line feeds and tabs stay. */
char *utf8_clean_lines(struct str s, char *out, size_t size);

/* A name that people give to machines: 1 to 63 of [A-Za-z0-9._-], first a letter or digit. */
bool name_valid(struct str s);
#endif
