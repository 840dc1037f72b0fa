#include "base/buf.h"
#include "base/err.h"
#include "h1/head.h"

/* Of rows with the same error type, a type without a code is read as the first. */
static const struct row {
	int err;
	unsigned status;
	const char *error; /* RFC 9209 section 2.3 */
} rows[] = {
	{ E_TARGET_REFUSED, 502, "connection_refused" },  { E_TARGET_UNREACHABLE, 502, "destination_ip_unroutable" },
	{ E_TARGET_TIMEOUT, 504, "connection_timeout" },  { E_TARGET_NAME, 502, "dns_error" },
	{ E_GRANT, 403, "http_request_denied" },          { E_GRANT_EXPIRED, 403, "http_request_denied" },
	{ E_SIGNATURE, 403, "http_request_denied" },      { E_HTTP_HEAD, 400, "http_request_error" },
	{ E_HTTP_METHOD, 405, "http_request_error" },     { E_HTTP_VERSION, 505, "http_request_error" },
	{ E_TOO_LONG, 431, "http_request_error" },        { E_UNSUPPORTED, 501, "http_request_error" },
	{ E_USER_SIGNATURE, 403, "http_request_denied" },
};
static const struct row other = { 0, 500, "proxy_internal_error" };

static const struct row *row_of(int err)
{
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (rows[i].err == err || rows[i].err == -err)
			return &rows[i];
	return &other;
}

unsigned h1_status(int err)
{
	return row_of(err)->status;
}

static bool is_string_char(char c) /* RFC 8941 section 3.3.3 */
{
	return c >= ' ' && c < 0x7f;
}

static int status_write(struct buf *out, const char *before, int err, struct str details, const char *behind)
{
	char quoted[2 * H1_DETAILS_MAX + 1];
	size_t len = 0;
	if (!details.len)
		details = str_from(err_text(err));
	if (details.len > H1_DETAILS_MAX)
		return -E_TOO_LONG;
	for (size_t i = 0; i < details.len; i++) {
		if (!is_string_char(details.ptr[i]))
			return -E_HTTP_HEAD;
		if (details.ptr[i] == '"' || details.ptr[i] == '\\')
			quoted[len++] = '\\';
		quoted[len++] = details.ptr[i];
	}
	quoted[len] = 0;
	return buf_printf(out, "%smurmesh; error=%s; details=\"%s\"; code=%s%s", before, row_of(err)->error, quoted, err_name(err),
	                  behind);
}

int h1_write_proxy_status(struct buf *out, int err, struct str details)
{
	return status_write(out, "Proxy-Status: ", err, details, "\r\n");
}

int h1_proxy_status_write(struct buf *out, int err, struct str details)
{
	return status_write(out, "", err, details, "");
}

/* A value of RFC 8941: the text between its quotes, escapes and all, or the token or number itself. */
struct item {
	enum { ITEM_STRING, ITEM_WORD } type;
	struct str text;
};

static struct str take(struct str *rest, size_t len)
{
	struct str taken = { rest->ptr, len };
	*rest = str_skip(*rest, len);
	return taken;
}

static bool take_char(struct str *rest, char c)
{
	bool there = str_starts(*rest, (struct str){ &c, 1 });
	*rest = str_skip(*rest, there);
	return there;
}

static int string_parse(struct str *rest, struct item *ret)
{
	size_t len = 0;
	for (; len < rest->len && rest->ptr[len] != '"'; len++) {
		bool escape = rest->ptr[len] == '\\';
		len += escape;
		if (len == rest->len || !is_string_char(rest->ptr[len]))
			return -E_HTTP_HEAD;
		if (escape && rest->ptr[len] != '"' && rest->ptr[len] != '\\')
			return -E_HTTP_HEAD;
	}
	*ret = (struct item){ ITEM_STRING, take(rest, len) };
	return take_char(rest, '"') ? 0 : -E_HTTP_HEAD;
}

/* Tokens, numbers, booleans (?1) and bytes (:...:) need no telling apart here, as we look at none but tokens that we know. */
static int item_parse(struct str *rest, struct item *ret)
{
	size_t len = 0;
	if (take_char(rest, '"'))
		return string_parse(rest, ret);
	while (len < rest->len && (h1_is_token_char(rest->ptr[len]) || str_has(STR(":/=?"), rest->ptr[len])))
		len++;
	*ret = (struct item){ ITEM_WORD, take(rest, len) };
	return len ? 0 : -E_HTTP_HEAD;
}

static int key_parse(struct str *rest, struct str *ret)
{
	size_t len = 0;
	while (len < rest->len) {
		char c = rest->ptr[len];
		bool first = (c >= 'a' && c <= 'z') || c == '*';
		if (!first && (len == 0 || !((c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.')))
			break;
		len++;
	}
	*ret = take(rest, len);
	return len ? 0 : -E_HTTP_HEAD;
}

struct member {
	struct item proxy, error, details, code;
};

static int parameter_parse(struct str *rest, struct member *member)
{
	struct str key;
	struct item value = { ITEM_WORD, STR("?1") };
	int err = key_parse(rest, &key);
	if (err == 0 && take_char(rest, '='))
		err = item_parse(rest, &value);
	if (err < 0)
		return err;
	struct item *item = str_is(key, "error")     ? &member->error
	                    : str_is(key, "details") ? &member->details
	                    : str_is(key, "code")    ? &member->code
	                                             : NULL;
	if (!item)
		return 0;
	if (item->text.ptr || value.type != (item == &member->details ? ITEM_STRING : ITEM_WORD))
		return -E_HTTP_HEAD;
	*item = value;
	return 0;
}

static int member_parse(struct str *rest, struct member *ret)
{
	*ret = (struct member){ 0 };
	int err = item_parse(rest, &ret->proxy);
	while (err == 0 && take_char(rest, ';')) {
		while (take_char(rest, ' '))
			;
		err = parameter_parse(rest, ret);
	}
	return err;
}

/* E and four digits, as err_name() writes it; 0 when it is not ours. */
static int code_of(const struct member *member)
{
	char name[6];
	bool ours =
	        member->proxy.type == ITEM_WORD && str_is(member->proxy.text, "murmesh") && str_starts(member->code.text, STR("E"));
	if (!ours || member->code.text.len != 5 || str_copy(member->code.text, name, sizeof name) < 0)
		return 0;
	return err_from_name(name);
}

static int error_of(const struct member *member)
{
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (str_is(member->error.text, rows[i].error))
			return rows[i].err;
	return 0;
}

static int result(int err, struct str details, struct h1_proxy_status *ret)
{
	size_t len = 0;
	for (size_t i = 0; i < details.len; i++) {
		if (details.ptr[i] == '\\')
			i++;
		if (len == H1_DETAILS_MAX)
			return -E_HTTP_HEAD;
		ret->details[len++] = details.ptr[i];
	}
	ret->details[len] = 0;
	ret->err = err;
	return 0;
}

static void skip_blanks(struct str *rest)
{
	while (take_char(rest, ' ') || take_char(rest, '\t'))
		;
}

int h1_proxy_status_parse(struct str value, struct h1_proxy_status *ret)
{
	struct h1_proxy_status status;
	struct member member;
	struct str details = STR("");
	int code = 0, error = 0;
	do {
		skip_blanks(&value);
		int err = member_parse(&value, &member);
		if (err < 0)
			return err;
		if (code == 0 && (code = code_of(&member)))
			details = member.details.text;
		else if (code == 0 && error == 0 && (error = error_of(&member)))
			details = member.details.text;
		skip_blanks(&value);
	} while (take_char(&value, ','));
	if (value.len)
		return -E_HTTP_HEAD;
	if (!code && !error)
		return -E_NOT_FOUND;
	int err = result(code ? code : error, details, &status);
	if (err == 0)
		*ret = status;
	return err;
}
