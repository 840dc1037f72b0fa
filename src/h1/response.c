#include "base/err.h"
#include "h1/head.h"

static int status_line_parse(struct str line, struct h1_response *response)
{
	uint64_t status;
	struct str version = str_cut(line, ' ', &line);
	int err = h1_version(version);
	if (err < 0)
		return err;
	/* The second space is mandatory, the reason is not (RFC 9112 section 4). */
	if (line.len < 4 || line.ptr[3] != ' ' || str_to_u64((struct str){ line.ptr, 3 }, 599, &status) < 0 || status < 100)
		return -E_HTTP_HEAD;
	response->status = (unsigned)status;
	response->reason = str_skip(line, 4);
	return 0;
}

int h1_response_parse(struct str bytes, struct h1_response *ret, size_t *ret_head_len)
{
	struct h1_lines lines = h1_lines(bytes);
	struct h1_response response = { 0 };
	struct str line;
	int err = h1_line(&lines, &line);
	if (err == 0)
		err = status_line_parse(line, &response);
	if (err == 0)
		err = h1_fields_parse(&lines, &response.fields);
	if (err < 0)
		return err;
	*ret = response;
	*ret_head_len = (size_t)(lines.rest.ptr - bytes.ptr);
	return 0;
}
