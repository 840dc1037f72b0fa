#include <arpa/inet.h>

#include "base/err.h"
#include "h1/head.h"

#define HOST_MAX  253 /* RFC 1035 section 2.3.4, as text */
#define LABEL_MAX 63

/* ASCII without blanks and without '#', which a client never sends. */
static bool is_uri_text(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] <= ' ' || s.ptr[i] >= 0x7f || s.ptr[i] == '#')
			return false;
	return true;
}

bool h1_is_origin(struct str s)
{
	return str_starts(s, STR("/")) && is_uri_text(s);
}

bool h1_is_absolute(struct str s)
{
	struct str rest, scheme = str_cut(s, ':', &rest);
	for (size_t i = 0; i < scheme.len; i++) {
		char c = scheme.ptr[i];
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
		if (!letter && (i == 0 || !((c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.')))
			return false;
	}
	return scheme.len && str_starts(rest, STR("//")) && rest.len > 2 && is_uri_text(rest);
}

static bool is_label(struct str s)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];
		bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
		if (!word && (c != '-' || i == 0 || i == s.len - 1))
			return false;
	}
	return s.len && s.len <= LABEL_MAX;
}

/* Resolvers take a name whose last label is such a number for an IPv4 address, in one of many spellings. */
static bool is_number(struct str label)
{
	bool hex = str_starts(label, STR("0x")) || str_starts(label, STR("0X"));
	for (size_t i = hex ? 2 : 0; i < label.len; i++) {
		char c = label.ptr[i] | 0x20;
		if (!(label.ptr[i] >= '0' && label.ptr[i] <= '9') && !(hex && c >= 'a' && c <= 'f'))
			return false;
	}
	return true;
}

/* One text for one address: no leading zeros. */
static bool is_v4(struct str s)
{
	unsigned parts = 0;
	for (bool more = true; more; parts++) {
		uint64_t value;
		more = str_has(s, '.');
		struct str part = str_cut(s, '.', &s);
		if (str_to_u64(part, 255, &value) < 0 || (part.len > 1 && part.ptr[0] == '0'))
			return false;
	}
	return parts == 4;
}

bool h1_is_host(struct str host)
{
	struct str last, rest = host;
	if (!host.len || host.len > HOST_MAX)
		return false;
	str_cut_last(host, '.', &last);
	if (is_number(last))
		return is_v4(host);
	for (bool more = true; more;) {
		more = str_has(rest, '.');
		if (!is_label(str_cut(rest, '.', &rest)))
			return false;
	}
	return true;
}

bool h1_is_v6(struct str host)
{
	char text[INET6_ADDRSTRLEN];
	struct in6_addr address;
	return !str_has(host, 0) && str_copy(host, text, sizeof text) == 0 && inet_pton(AF_INET6, text, &address) == 1;
}

static int port_parse(struct str text, uint16_t *ret)
{
	uint64_t value;
	if (str_to_u64(text, UINT16_MAX, &value) < 0 || text.ptr[0] == '0')
		return -E_HTTP_HEAD;
	*ret = (uint16_t)value;
	return 0;
}

int h1_host_parse(struct str text, struct str *ret_host, uint16_t *ret_port)
{
	struct str host, port;
	if (str_starts(text, STR("["))) {
		host = str_cut(str_skip(text, 1), ']', &port);
		if (host.len + 1 == text.len || !h1_is_v6(host))
			return -E_HTTP_HEAD;
	} else {
		host = str_cut(text, ':', &port);
		if (!h1_is_host(host))
			return -E_HTTP_HEAD;
		port = str_skip(text, host.len);
	}
	*ret_port = 0;
	if (port.len && (port.ptr[0] != ':' || port_parse(str_skip(port, 1), ret_port) < 0))
		return -E_HTTP_HEAD;
	*ret_host = host;
	return 0;
}

int h1_authority_parse(struct str text, struct str *ret_host, uint16_t *ret_port)
{
	struct str host;
	uint16_t port;
	if (h1_host_parse(text, &host, &port) < 0 || port == 0)
		return -E_HTTP_HEAD;
	*ret_host = host;
	*ret_port = port;
	return 0;
}
