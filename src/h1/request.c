#include "base/err.h"
#include "h1/head.h"

/* The form of a target follows from the method (RFC 9112 section 3.2); the asterisk form is not taken. */
static int target_parse(struct h1_request *request)
{
	if (str_is(request->method, "CONNECT")) {
		request->form = H1_TARGET_AUTHORITY;
		return h1_authority_parse(request->target, &request->host, &request->port);
	}
	request->form = h1_is_origin(request->target) ? H1_TARGET_ORIGIN : H1_TARGET_ABSOLUTE;
	return request->form == H1_TARGET_ORIGIN || h1_is_absolute(request->target) ? 0 : -E_HTTP_HEAD;
}

static int request_line_parse(struct str line, struct h1_request *request)
{
	struct str version;
	request->method = str_cut(line, ' ', &line);
	request->target = str_cut(line, ' ', &version);
	if (!h1_is_token(request->method))
		return -E_HTTP_HEAD;
	int err = h1_version(version);
	if (err < 0)
		return err;
	return h1_is_method(request->method) ? target_parse(request) : -E_HTTP_METHOD;
}

int h1_request_parse(struct str bytes, struct h1_request *ret, size_t *ret_head_len)
{
	struct h1_lines lines = h1_lines(bytes);
	struct h1_request request = { 0 };
	struct str line, host;
	uint16_t port;
	int err = h1_line(&lines, &line);
	if (err == 0)
		err = request_line_parse(line, &request);
	if (err == 0)
		err = h1_fields_parse(&lines, &request.fields);
	if (err < 0)
		return err;
	if (h1_field_once(&request.fields, "Host", &line) < 0 || h1_host_parse(line, &host, &port) < 0)
		return -E_HTTP_HEAD;
	*ret = request;
	*ret_head_len = (size_t)(lines.rest.ptr - bytes.ptr);
	return 0;
}
