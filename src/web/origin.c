#include "web/origin.h"

#include <stdio.h>

#include "base/encode.h"
#include "base/err.h"
#include "h1/h1.h"
#include "os/socket.h"

#define HTTPS 443

static void add(struct origin *origin, struct str host, unsigned port)
{
	if (origin->n + 2 > ORIGIN_NAMES || !host.len)
		return;
	snprintf(origin->names[origin->n++], sizeof origin->names[0], "%.*s:%u", STR_ARG(host), port);
	if (port == HTTPS)
		snprintf(origin->names[origin->n++], sizeof origin->names[0], "%.*s", STR_ARG(host));
}

/* host[:port], [v6][:port] */
static void add_address(struct origin *origin, struct str address, unsigned standard)
{
	struct str port, host = str_cut_last(address, ':', &port);
	uint64_t number = standard;
	if (!host.len || str_has(port, ']') || str_to_u64(port, UINT16_MAX, &number) < 0)
		host = address;
	add(origin, host, (unsigned)number);
}

void origin_init(struct origin *origin, struct str address, struct str domain, uint16_t port)
{
	struct str rest;
	origin->n = 0;
	add(origin, STR("localhost"), port);
	add(origin, STR("127.0.0.1"), port);
	add(origin, STR("[::1]"), port);
	add_address(origin, address, port);
	if (domain.len) {
		add_address(origin, domain, port);
		add(origin, str_has(domain, ':') ? str_cut(domain, ':', &rest) : domain, HTTPS);
	}
}

int origin_check_host(const struct origin *origin, struct str host, int fd)
{
	struct socket_address local;
	char own[SOCKET_ADDRESS_TEXT];
	for (size_t i = 0; i < origin->n; i++)
		if (str_equal_nocase(host, str_from(origin->names[i])))
			return 0;
	if (socket_local(fd, &local) < 0)
		return -E_HOST;
	socket_address_format(&local, own);
	struct str port, name = str_cut_last(str_from(own), ':', &port);
	if (str_is(host, own) || (socket_address_port(&local) == HTTPS && str_equal(host, name)))
		return 0;
	return -E_HOST;
}

int origin_check_source(const struct h1_fields *fields, bool with_mark)
{
	struct str origin, host, mark;
	if (h1_field_once(fields, "Origin", &origin) < 0 || h1_field_once(fields, "Host", &host) < 0 ||
	    !str_starts(origin, STR("https://")) || !str_equal(str_skip(origin, 8), host))
		return -E_ORIGIN;
	if (with_mark && (h1_field_once(fields, "x-murmesh", &mark) < 0 || !str_is(mark, "1")))
		return -E_ORIGIN;
	return 0;
}

int origin_session(const struct h1_fields *fields, uint8_t ret_session[32])
{
	struct str cookies, found = STR("");
	size_t n = 0;
	if (h1_field_once(fields, "Cookie", &cookies) < 0)
		return -E_SESSION;
	while (cookies.len) {
		struct str value, pair = str_trim(str_cut(cookies, ';', &cookies));
		if (!str_is(str_cut(pair, '=', &value), SESSION_COOKIE))
			continue;
		found = value;
		n++;
	}
	return n == 1 && base64url_decode(found, ret_session, 32) == 32 ? 0 : -E_SESSION;
}
