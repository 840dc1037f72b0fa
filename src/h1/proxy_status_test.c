#include <errno.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/test.h"
#include "h1/h1.h"

/* The value that the writer makes, as the parser of the other side gets it. */
static struct str written(struct buf *out, int err, struct str details)
{
	static struct h1_response response;
	struct str value;
	size_t len;
	buf_init(out, 2048);
	assert_int_equal(h1_write_response(out, h1_status(err)), 0);
	assert_int_equal(h1_write_proxy_status(out, err, details), 0);
	assert_int_equal(h1_write_end(out), 0);
	assert_int_equal(h1_response_parse(buf_str(out), &response, &len), 0);
	assert_int_equal(h1_field_once(&response.fields, "Proxy-Status", &value), 0);
	return value;
}

static void test_every_error_comes_back(void **state)
{
	(void)state;
	for (int err = err_next(0); err; err = err_next(err)) {
		struct h1_proxy_status status;
		struct buf out;
		assert_int_equal(h1_proxy_status_parse(written(&out, -err, STR("")), &status), 0);
		assert_int_equal(status.err, err);
		assert_string_equal(status.details, err_text(err));
		buf_done(&out);
	}
}

static void test_what_is_written(void **state)
{
	(void)state;
	static const struct {
		int err;
		unsigned status;
		const char *value;
	} rows[] = {
		{ E_TARGET_REFUSED, 502, "murmesh; error=connection_refused; details=\"d\"; code=E1300" },
		{ E_TARGET_UNREACHABLE, 502, "murmesh; error=destination_ip_unroutable; details=\"d\"; code=E1301" },
		{ E_TARGET_TIMEOUT, 504, "murmesh; error=connection_timeout; details=\"d\"; code=E1302" },
		{ E_TARGET_NAME, 502, "murmesh; error=dns_error; details=\"d\"; code=E1303" },
		{ E_GRANT, 403, "murmesh; error=http_request_denied; details=\"d\"; code=E1215" },
		{ E_GRANT_EXPIRED, 403, "murmesh; error=http_request_denied; details=\"d\"; code=E1216" },
		{ E_SIGNATURE, 403, "murmesh; error=http_request_denied; details=\"d\"; code=E1207" },
		{ E_HTTP_HEAD, 400, "murmesh; error=http_request_error; details=\"d\"; code=E1101" },
		{ E_HTTP_METHOD, 405, "murmesh; error=http_request_error; details=\"d\"; code=E1102" },
		{ E_HTTP_VERSION, 505, "murmesh; error=http_request_error; details=\"d\"; code=E1106" },
		{ E_TOO_LONG, 431, "murmesh; error=http_request_error; details=\"d\"; code=E1002" },
		{ E_UNSUPPORTED, 501, "murmesh; error=http_request_error; details=\"d\"; code=E1016" },
		{ E_OPEN_ID_SEEN, 500, "murmesh; error=proxy_internal_error; details=\"d\"; code=E1306" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct buf out;
		assert_true(str_is(written(&out, rows[i].err, STR("d")), rows[i].value));
		assert_int_equal(h1_status(rows[i].err), rows[i].status);
		assert_int_equal(h1_status(-rows[i].err), rows[i].status);
		buf_done(&out);
	}
}

static void test_details(void **state)
{
	(void)state;
	struct h1_proxy_status status;
	struct buf out;
	struct str value = written(&out, -E_GRANT, STR("no \"web\" on C:\\x; code=E1300, y"));
	assert_true(str_is(value,
	                   "murmesh; error=http_request_denied; details=\"no \\\"web\\\" on C:\\\\x; code=E1300, y\"; code=E1215"));
	assert_int_equal(h1_proxy_status_parse(value, &status), 0);
	assert_int_equal(status.err, E_GRANT);
	assert_string_equal(status.details, "no \"web\" on C:\\x; code=E1300, y");
	buf_done(&out);

	char longest[H1_DETAILS_MAX + 1];
	memset(longest, '"', sizeof longest);
	assert_int_equal(h1_proxy_status_parse(written(&out, -E_GRANT, (struct str){ longest, H1_DETAILS_MAX }), &status), 0);
	assert_memory_equal(status.details, longest, H1_DETAILS_MAX);
	assert_int_equal(status.details[H1_DETAILS_MAX], 0);
	buf_clear(&out);
	assert_int_equal(h1_write_proxy_status(&out, -E_GRANT, (struct str){ longest, sizeof longest }), -E_TOO_LONG);
	assert_int_equal(h1_write_proxy_status(&out, -E_GRANT, STR("a\r\nX: y")), -E_HTTP_HEAD);
	assert_int_equal(h1_write_proxy_status(&out, -E_GRANT, STR("a\0")), -E_HTTP_HEAD);
	assert_int_equal(h1_write_proxy_status(&out, -E_GRANT, STR("\x7f")), -E_HTTP_HEAD);
	assert_int_equal(h1_write_proxy_status(&out, -E_GRANT, STR("\xc3\xa9")), -E_HTTP_HEAD);
	assert_int_equal(buf_len(&out), 0);
	buf_done(&out);
}

static void test_values_of_others(void **state)
{
	(void)state;
	static const struct {
		const char *value, *details;
		int err;
	} rows[] = {
		{ "murmesh;error=connection_refused", "", E_TARGET_REFUSED },
		{ "murmesh; error=http_request_denied", "", E_GRANT },
		{ "\"a proxy, of sorts\"; error=dns_error; details=\"x\"", "x", E_TARGET_NAME },
		{ "squid; received-status=502; error=connection_timeout; next-hop=\"a:1\"; next-protocol=:aDI=:; x; y=?0", "",
		  E_TARGET_TIMEOUT },
		{ "other, murmesh; error=proxy_internal_error; code=E1306", "", E_OPEN_ID_SEEN },
		{ "other; error=dns_error; details=\"no\" , \tmurmesh; code=E1300; details=\"yes\"", "yes", E_TARGET_REFUSED },
		{ "murmesh; code=E1300; details=\"yes\", other; error=dns_error; details=\"no\"", "yes", E_TARGET_REFUSED },
		{ "  a  \t ,\t  b; a0_-.*=1;*z=2 \t , murmesh; error=dns_error  ", "", E_TARGET_NAME },
		{ "murmesh; code=E1300, murmesh; code=E1301", "", E_TARGET_REFUSED },
		/* a code of a stranger, or one that we do not know, counts for nothing */
		{ "other; error=dns_error; code=E1300", "", E_TARGET_NAME },
		{ "\"murmesh\"; error=dns_error; code=E1300", "", E_TARGET_NAME },
		{ "murmesh; error=dns_error; code=E9999", "", E_TARGET_NAME },
		{ "murmesh; error=dns_error; code=1300", "", E_TARGET_NAME },
		{ "murmesh; error=dns_error; code=e1300", "", E_TARGET_NAME },
		{ "murmesh; error=dns_error; code=E01300", "", E_TARGET_NAME },
		{ "murmesh; error=dns_error; code=E13:0", "", E_TARGET_NAME },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct h1_proxy_status status;
		int err = h1_proxy_status_parse(str_from(rows[i].value), &status);
		if (err < 0 || status.err != rows[i].err)
			fail_msg("%s: %s", err_name(err < 0 ? err : status.err), rows[i].value);
		assert_string_equal(status.details, rows[i].details);
	}
	struct h1_proxy_status status;
	assert_int_equal(h1_proxy_status_parse(STR("murmesh"), &status), -E_NOT_FOUND);
	assert_int_equal(h1_proxy_status_parse(STR("murmesh; error=loop_of_sorts, other; next-hop=a"), &status), -E_NOT_FOUND);
}

static void test_bad_values(void **state)
{
	(void)state;
	static const struct str rows[] = {
		STR(""),
		STR(" "),
		STR(","),
		STR("murmesh,"),
		STR("murmesh,,b"),
		STR("murmesh b"),
		STR("murmesh;"),
		STR("murmesh;;error=dns_error"),
		STR("murmesh ;error=dns_error"),
		STR("murmesh; error="),
		STR("murmesh; error= dns_error"),
		STR("murmesh; error =dns_error"),
		STR("murmesh; Error=dns_error"),
		STR("murmesh; =dns_error"),
		STR("murmesh; 1error=dns_error"),
		STR("murmesh; error=\"dns_error\""),
		STR("murmesh; error=dns_error; error=dns_error"),
		STR("murmesh; code=\"E1300\""),
		STR("murmesh; code=E1300; code=E1301"),
		STR("murmesh; code=E1300; details"),
		STR("murmesh; code=E1300; details=words"),
		STR("murmesh; code=E1300; details='words'"),
		STR("murmesh; code=E1300; details=\""),
		STR("murmesh; code=E1300; details=\"open"),
		STR("murmesh; code=E1300; details=\"open\\\""),
		STR("murmesh; code=E1300; details=\"open\\"),
		STR("murmesh; code=E1300; details=\"\\n\""),
		STR("murmesh; code=E1300; details=\"a\"b"),
		STR("murmesh; code=E1300; details=\"a\"\"b\""),
		STR("murmesh; code=E1300; details=\"\"; details=\"\""),
		STR("murmesh; code=E1300; details=\"\t\""),
		STR("murmesh; code=E1300; details=\"\0\""),
		STR("murmesh; code=E1300; details=\"\xc3\xa9\""),
		STR("murmesh; code=E1300; details=\"\x7f\""),
		STR("murmesh; code=E1300\0"),
		STR("(murmesh other); error=dns_error"),
		STR("murmesh; error=(a b)"),
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct h1_proxy_status status = { .err = 7 };
		if (h1_proxy_status_parse(rows[i], &status) != -E_HTTP_HEAD)
			fail_msg("taken: %.*s", STR_ARG(rows[i]));
		assert_int_equal(status.err, 7);
	}
	char longest[400];
	struct h1_proxy_status status = { .err = 7 };
	int len = snprintf(longest, sizeof longest, "murmesh; code=E1300; details=\"%*s\"", H1_DETAILS_MAX + 1, "");
	assert_int_equal(h1_proxy_status_parse((struct str){ longest, (size_t)len }, &status), -E_HTTP_HEAD);
	assert_int_equal(status.err, 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_error_comes_back),
		cmocka_unit_test(test_what_is_written),
		cmocka_unit_test(test_details),
		cmocka_unit_test(test_values_of_others),
		cmocka_unit_test(test_bad_values),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
