/* h1/head.h: what the parsers and writers of this folder share. */
#ifndef H1_HEAD_H
#define H1_HEAD_H
#include "h1/h1.h"

bool h1_is_token(struct str s); /* RFC 9110 section 5.6.2 */
bool h1_is_token_char(char c);
bool h1_is_method(struct str s); /* upper-case letters only */
bool h1_is_text(struct str s);   /* no control characters but tab: values, reasons */
bool h1_is_origin(struct str s); /* the two forms of a target that need no parsing */
bool h1_is_absolute(struct str s);
bool h1_is_host(struct str host); /* a name or an IPv4 address */
bool h1_is_v6(struct str host);   /* an IPv6 address without brackets */
/* As h1_authority_parse(), but the port may be missing: 0. */
int h1_host_parse(struct str text, struct str *ret_host, uint16_t *ret_port);

/* Walks the lines of a head. */
struct h1_lines {
	struct str rest; /* of the head's first H1_HEAD_MAX bytes */
	bool full;       /* there are no more to come */
};
struct h1_lines h1_lines(struct str bytes);
/* The next line without its CR LF.  Returns 0, -EAGAIN: not complete yet; -E_TOO_LONG, -E_HTTP_HEAD. */
int h1_line(struct h1_lines *lines, struct str *ret_line);
/* The field lines with the empty line behind them.  Returns as the parsers of h1.h do. */
int h1_fields_parse(struct h1_lines *lines, struct h1_fields *fields);
/* "HTTP/1.1".  Returns 0, -E_HTTP_VERSION, or -E_HTTP_HEAD. */
int h1_version(struct str text);
#endif
