/* h1/h1.h: strict HTTP/1.1 heads (RFC 9110, RFC 9112) on memory, for both sides: no sockets, no allocation while parsing.
 *
 * Units and ownership: lengths in bytes; all views point into the caller's bytes and live as long as those.
 * Limits: a head is at most H1_HEAD_MAX bytes with its empty line and has at most H1_FIELDS_MAX fields.
 * Accepted: lines that end in CR LF; no empty line in front; one space between the parts of the first line; upper-case methods; field names
 * that are tokens, followed by the colon at once; values without control characters except tab; no folded lines.  Of a framing field that
 * is there at all: Content-Length once and digits only.  A Transfer-Encoding is only reported: a server answers it with 501.
 * Percent signs are left alone.  Errors are fatal: answer with h1_status() and close. */
#ifndef H1_H1_H
#define H1_H1_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct buf;

#define H1_HEAD_MAX    8192
#define H1_FIELDS_MAX  64
#define H1_DETAILS_MAX 255 /* longest `details` of a Proxy-Status */

struct h1_field {
	struct str name, value; /* value without the blanks around it */
};

struct h1_fields {
	struct h1_field at[H1_FIELDS_MAX];
	size_t count;
	bool has_transfer_encoding, has_content_length;
	uint64_t content_length; /* 0 when absent */
};

enum h1_target {
	H1_TARGET_ORIGIN,    /* /path?query: any method but CONNECT */
	H1_TARGET_AUTHORITY, /* host:port: CONNECT only */
	H1_TARGET_ABSOLUTE, /* http://host/path: what a proxy gets without CONNECT (curl without -p); answer 405 when that is all you do */
};

struct h1_request {
	struct str method, target;
	enum h1_target form;
	struct str host; /* authority form: a name, an IPv4 address, or an IPv6 address without its brackets; else empty */
	uint16_t port;   /* authority form: 1 to 65535; else 0 */
	struct h1_fields fields;
};

struct h1_response {
	unsigned status; /* 100 to 599 */
	struct str reason;
	struct h1_fields fields;
};

/* Parse the head at the start of bytes, and say how long it is: what follows belongs to the body or the tunnel.
 * Return 0, or -EAGAIN: the head is not complete, call again with all bytes and more; -E_HTTP_HEAD; -E_TOO_LONG: past a limit above;
 * -E_HTTP_METHOD: the method is not in upper-case letters; -E_HTTP_VERSION: another version of HTTP than 1.1.
 * A request has exactly one Host, host or host:port.  What is wrong is found as soon as its line is complete, a control character at once.
 * The results are written only when 0 is returned. */
int h1_request_parse(struct str bytes, struct h1_request *ret, size_t *ret_head_len);
int h1_response_parse(struct str bytes, struct h1_response *ret, size_t *ret_head_len);

/* How often a field is there (names ignore case); *ret_value is the first one's value, and "" without one. */
size_t h1_field(const struct h1_fields *fields, const char *name, struct str *ret_value);
/* For fields that may be there once only.  Returns 0, -E_NOT_FOUND, or -E_HTTP_HEAD when there are several. */
int h1_field_once(const struct h1_fields *fields, const char *name, struct str *ret_value);

/* host:port, [v6]:port (RFC 9110 section 4.3, RFC 3986 section 3.2.2), the port being mandatory.  Host names are at most 253 bytes, of labels of
 * letters, digits, dashes and underscores; what ends in a number is an IPv4 address in four decimal parts and nothing else ("127.1" and
 * "0x7f.0.0.1", which resolvers take for addresses, are refused).  Returns 0, or -E_HTTP_HEAD. */
int h1_authority_parse(struct str text, struct str *ret_host, uint16_t *ret_port);

/* Writers append to out: the first line, fields, then the empty line.  They return 0, -E_HTTP_HEAD for what the parsers would refuse (CR, LF,
 * NUL and other control characters, names that are not tokens), -E_TOO_LONG or -E_NO_MEMORY; out is then unchanged. */
int h1_write_request(struct buf *out, struct str method, struct str target); /* origin or absolute form; the caller adds Host */
int h1_write_connect(struct buf *out, struct str host, uint16_t port);       /* with its Host; an IPv6 address without brackets */
int h1_write_response(struct buf *out, unsigned status);
int h1_write_field(struct buf *out, struct str name, struct str value);
int h1_write_end(struct buf *out);

/* The status that reports one of our errors: 400 -E_HTTP_HEAD, 431 -E_TOO_LONG, 405 -E_HTTP_METHOD, 501 -E_UNSUPPORTED, 505 -E_HTTP_VERSION,
 * 403 -E_GRANT..., -E_SIGNATURE, 502 or 504 -E_TARGET_...; 500 for all others.  Takes either sign. */
unsigned h1_status(int err);

/* Proxy-Status (RFC 9209, a list of RFC 8941): `murmesh; error=connection_refused; details="..."; code=E1300`.
 * `error` is the registered type nearest to ours, `code` an extension parameter that brings our own error back exactly.
 * Writes the whole field; details are printable ASCII, at most H1_DETAILS_MAX bytes; empty: err_text(err).  err: either sign. */
int h1_write_proxy_status(struct buf *out, int err, struct str details);
int h1_proxy_status_write(struct buf *out, int err, struct str details); /* the value alone, for HTTP/2 */

struct h1_proxy_status {
	int err;                          /* E_..., positive */
	char details[H1_DETAILS_MAX + 1]; /* "" without; printable ASCII, still a stranger's words */
};
/* Of the member `murmesh` that has a code which we know; else of the first member whose error type is one of ours.
 * Returns 0, -E_NOT_FOUND: no such member; -E_HTTP_HEAD: malformed, or details too long. */
int h1_proxy_status_parse(struct str value, struct h1_proxy_status *ret);
#endif
