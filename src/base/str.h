/* base/str.h: borrowed views of bytes.  A view owns nothing and need not be NUL-terminated. */
#ifndef BASE_STR_H
#define BASE_STR_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct str {
	const char *ptr;
	size_t len; /* bytes */
};

#define STR(literal) ((struct str){ "" literal, sizeof(literal) - 1 })
/* For printf's "%.*s". */
#define STR_ARG(s) (int)(s).len, (s).ptr

struct str str_from(const char *text); /* NULL gives the empty view */
bool str_equal(struct str a, struct str b);
bool str_equal_nocase(struct str a, struct str b); /* ASCII only */
bool str_is(struct str a, const char *text);
bool str_starts(struct str s, struct str prefix);
bool str_has(struct str s, char c);
struct str str_skip(struct str s, size_t n); /* without its first n bytes */
struct str str_trim(struct str s);           /* without blanks and tabs at both ends */

/* Cuts s at its first c: returns what stands before it, leaves in *rest what stands behind; without c all and "". */
struct str str_cut(struct str s, char c, struct str *rest);
/* The same at the last c; without c returns "" and leaves all in *rest. */
struct str str_cut_last(struct str s, char c, struct str *rest);

/* Digits only, at most max.  Returns 0, or -E_NUMBER. */
int str_to_u64(struct str s, uint64_t max, uint64_t *ret);
/* "90s", "15m", "12h", "7d", "250ms": to milliseconds, at most 10 years.  Returns 0, or -E_DURATION. */
int str_to_duration_ms(struct str s, uint64_t *ret_ms);
/* The value behind "name=" in lines that end with a line feed; the empty view when there is no such line. */
struct str str_setting(struct str lines, const char *name);
/* NUL-terminated copy into out of size bytes.  Returns 0, or -E_TOO_LONG (out is then ""). */
int str_copy(struct str s, char *out, size_t size);
#endif
