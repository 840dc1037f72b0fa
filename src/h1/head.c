#include "h1/head.h"

#include <errno.h>

#include "base/err.h"

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool h1_is_token_char(char c)
{
	return is_letter(c) || is_digit(c) || (c && strchr("!#$%&'*+-.^_`|~", c));
}

bool h1_is_token(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!h1_is_token_char(s.ptr[i]))
			return false;
	return s.len;
}

bool h1_is_method(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] < 'A' || s.ptr[i] > 'Z')
			return false;
	return s.len;
}

bool h1_is_text(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (((unsigned char)s.ptr[i] < ' ' && s.ptr[i] != '\t') || s.ptr[i] == 0x7f)
			return false;
	return true;
}

struct h1_lines h1_lines(struct str bytes)
{
	bool full = bytes.len >= H1_HEAD_MAX;
	return (struct h1_lines){ { bytes.ptr, full ? H1_HEAD_MAX : bytes.len }, full };
}

int h1_line(struct h1_lines *lines, struct str *ret_line)
{
	struct str rest, line = str_cut(lines->rest, '\n', &rest);
	bool complete = line.len < lines->rest.len;
	bool has_cr = line.len && line.ptr[line.len - 1] == '\r';
	if (has_cr)
		line.len--;
	if ((complete && !has_cr) || !h1_is_text(line))
		return -E_HTTP_HEAD;
	if (!complete)
		return lines->full ? -E_TOO_LONG : -EAGAIN;
	lines->rest = rest;
	*ret_line = line;
	return 0;
}

int h1_version(struct str text)
{
	if (str_is(text, "HTTP/1.1"))
		return 0;
	bool other = text.len == 8 && str_starts(text, STR("HTTP/")) && is_digit(text.ptr[5]) && text.ptr[6] == '.' &&
	             is_digit(text.ptr[7]);
	return other ? -E_HTTP_VERSION : -E_HTTP_HEAD;
}

static int content_length(struct h1_fields *fields)
{
	struct str value;
	int err = h1_field_once(fields, "Content-Length", &value);
	if (err == -E_NOT_FOUND)
		return 0;
	if (err < 0 || str_to_u64(value, INT64_MAX, &fields->content_length) < 0)
		return -E_HTTP_HEAD;
	fields->has_content_length = true;
	return 0;
}

int h1_fields_parse(struct h1_lines *lines, struct h1_fields *fields)
{
	struct str line, value;
	int err;
	*fields = (struct h1_fields){ 0 };
	while ((err = h1_line(lines, &line)) == 0 && line.len) {
		struct str name = str_cut(line, ':', &value);
		if (name.len == line.len || !h1_is_token(name))
			return -E_HTTP_HEAD;
		if (fields->count == H1_FIELDS_MAX)
			return -E_TOO_LONG;
		fields->at[fields->count++] = (struct h1_field){ name, str_trim(value) };
	}
	if (err < 0)
		return err;
	fields->has_transfer_encoding = h1_field(fields, "Transfer-Encoding", &value) > 0;
	return content_length(fields);
}

size_t h1_field(const struct h1_fields *fields, const char *name, struct str *ret_value)
{
	size_t found = 0;
	*ret_value = STR("");
	for (size_t i = 0; i < fields->count; i++) {
		if (!str_equal_nocase(fields->at[i].name, str_from(name)))
			continue;
		if (found++ == 0)
			*ret_value = fields->at[i].value;
	}
	return found;
}

int h1_field_once(const struct h1_fields *fields, const char *name, struct str *ret_value)
{
	size_t found = h1_field(fields, name, ret_value);
	return found == 1 ? 0 : found ? -E_HTTP_HEAD : -E_NOT_FOUND;
}
