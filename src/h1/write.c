#include "base/buf.h"
#include "base/err.h"
#include "h1/head.h"

/* All parts or none. */
static int append(struct buf *out, const struct str *parts, size_t count)
{
	size_t len = 0;
	uint8_t *room;
	for (size_t i = 0; i < count; i++)
		len += parts[i].len;
	int err = buf_reserve(out, len, &room);
	for (size_t i = 0; err == 0 && i < count; i++)
		err = buf_append_str(out, parts[i]);
	return err;
}
#define APPEND(out, ...)                                                                                                           \
	append(out, (const struct str[]){ __VA_ARGS__ }, sizeof((const struct str[]){ __VA_ARGS__ }) / sizeof(struct str))

int h1_write_request(struct buf *out, struct str method, struct str target)
{
	if (!h1_is_method(method) || str_is(method, "CONNECT") || !(h1_is_origin(target) || h1_is_absolute(target)))
		return -E_HTTP_HEAD;
	return APPEND(out, method, STR(" "), target, STR(" HTTP/1.1\r\n"));
}

int h1_write_connect(struct buf *out, struct str host, uint16_t port)
{
	bool v6 = h1_is_v6(host);
	if (port == 0 || !(v6 || h1_is_host(host)))
		return -E_HTTP_HEAD;
	char digits[8];
	snprintf(digits, sizeof digits, ":%u", port);
	struct str before = str_from(v6 ? "[" : ""), behind = str_from(v6 ? "]" : ""), colon_port = str_from(digits);
	return APPEND(out, STR("CONNECT "), before, host, behind, colon_port, STR(" HTTP/1.1\r\nHost: "), before, host, behind,
	              colon_port, STR("\r\n"));
}

static const char *reason(unsigned status)
{
	static const struct {
		unsigned status;
		const char *reason;
	} rows[] = {
		{ 101, "Switching Protocols" },
		{ 200, "OK" },
		{ 204, "No Content" },
		{ 301, "Moved Permanently" },
		{ 304, "Not Modified" },
		{ 400, "Bad Request" },
		{ 401, "Unauthorized" },
		{ 403, "Forbidden" },
		{ 404, "Not Found" },
		{ 405, "Method Not Allowed" },
		{ 409, "Conflict" },
		{ 413, "Content Too Large" },
		{ 415, "Unsupported Media Type" },
		{ 421, "Misdirected Request" },
		{ 426, "Upgrade Required" },
		{ 429, "Too Many Requests" },
		{ 431, "Request Header Fields Too Large" },
		{ 500, "Internal Server Error" },
		{ 501, "Not Implemented" },
		{ 502, "Bad Gateway" },
		{ 503, "Service Unavailable" },
		{ 504, "Gateway Timeout" },
		{ 505, "HTTP Version Not Supported" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (rows[i].status == status)
			return rows[i].reason;
	return "";
}

int h1_write_response(struct buf *out, unsigned status)
{
	if (status < 100 || status > 599)
		return -E_HTTP_HEAD;
	return buf_printf(out, "HTTP/1.1 %u %s\r\n", status, reason(status));
}

int h1_write_field(struct buf *out, struct str name, struct str value)
{
	if (!h1_is_token(name) || !h1_is_text(value))
		return -E_HTTP_HEAD;
	return APPEND(out, name, STR(": "), value, STR("\r\n"));
}

int h1_write_end(struct buf *out)
{
	return buf_append_str(out, STR("\r\n"));
}
