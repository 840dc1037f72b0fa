#include "base/err.h"
#include "base/test.h"
#include "conf/conf.h"

static const struct conf_option options[] = {
	{ "Router", "ParentAddress", CONF_ADDRESS, NULL, "server or relay that this machine connects to" },
	{ "Router", "ListenAddress", CONF_ADDRESS, "[::]:8443", "where to listen" },
	{ "Router", "Name", CONF_STRING, NULL, "name of this machine", 1, 8 },
	{ "Router", "Note", CONF_STRING, NULL, "free text" },
	{ "Router", "Port", CONF_PORT, "8443", "front port" },
	{ "Router", "DirectPort", CONF_PORT, NULL, "direct tunnels", 1024, 70000 },
	{ "Router", "Links", CONF_UNSIGNED, "100", "most links", 1, 15000 },
	{ "Router", "Bytes", CONF_UNSIGNED, NULL, "any number" },
	{ "Router", "Idle", CONF_DURATION, "90s", "time limit", 1000, 604800000 },
	{ "Router", "Pause", CONF_DURATION, NULL, "any time" },
	{ "Relay", "Enabled", CONF_BOOLEAN, "no", "serve others" },
	{ "Relay", "Partners", CONF_LIST, NULL, "other relays", 2, 3 },
	{ "Relay", "Networks", CONF_LIST, "10.0.0.0/8,  fd00::/8", "networks served" },
};
static const struct conf_table table = { "Router", options, sizeof options / sizeof *options };

static struct conf *good(struct str text)
{
	struct conf *conf = NULL;
	char error[CONF_ERROR_SIZE] = "";
	if (conf_parse(text, "test.ini", &table, &conf, error) < 0)
		fail_msg("%s", error);
	return conf;
}

static void test_defaults(void **state)
{
	(void)state;
	struct conf *conf = good(STR(""));
	struct conf_address address;
	struct str item;
	assert_false(conf_is_set(conf, "Router", "ParentAddress"));
	assert_false(conf_address(conf, "Router", "ParentAddress", &address));
	assert_true(conf_is_set(conf, "Router", "ListenAddress"));
	assert_true(conf_address(conf, "Router", "ListenAddress", &address));
	assert_true(str_is(address.host, "::"));
	assert_true(address.has_port);
	assert_int_equal(address.port, 8443);
	assert_null(conf_string(conf, "Router", "Name"));
	assert_int_equal(conf_port(conf, "Router", "Port"), 8443);
	assert_int_equal(conf_port(conf, "Router", "DirectPort"), 0);
	assert_int_equal(conf_unsigned(conf, "Router", "Links"), 100);
	assert_int_equal(conf_unsigned(conf, "Router", "Bytes"), 0);
	assert_int_equal(conf_duration_ms(conf, "Router", "Idle"), 90000);
	assert_int_equal(conf_duration_ms(conf, "Router", "Pause"), 0);
	assert_false(conf_boolean(conf, "Relay", "Enabled"));
	assert_false(conf_list_item(conf, "Relay", "Partners", 0, &item));
	assert_true(conf_list_item(conf, "Relay", "Networks", 0, &item));
	assert_true(str_is(item, "10.0.0.0/8"));
	assert_true(conf_list_item(conf, "Relay", "Networks", 1, &item));
	assert_true(str_is(item, "fd00::/8"));
	assert_false(conf_list_item(conf, "Relay", "Networks", 2, &item));
	assert_null(conf_free(conf));
	assert_null(conf_free(NULL));
}

static void test_a_whole_file(void **state)
{
	(void)state;
	struct conf *conf = good(STR("\xef\xbb\xbf# a comment = [x]\r\n"
	                             "\tName=web01\r\n"
	                             "ListenAddress =\r\n"
	                             "   ; another\r\n"
	                             "\r\n"
	                             " [Relay] \r\n"
	                             "Enabled = YES\r\n"
	                             "Partners = a:1 ,\tb\r\n"
	                             "[ Router ]\r\n"
	                             "Note = a # b ; c = \"d\" \xc3\xa9\r\n"
	                             "Port = 0\r\n"
	                             "DirectPort = 65535\r\n"
	                             "Links = 15000\r\n"
	                             "Bytes = 18446744073709551615\r\n"
	                             "Idle = 7d\r\n"
	                             "Pause = 250ms\r\n"
	                             "[Relay]\r\n"
	                             "Networks = one\r\n"
	                             "[Router]\r\n"
	                             "ParentAddress = relay_1.my-net.example"));
	struct conf_address address;
	struct str item;
	assert_string_equal(conf_string(conf, "Router", "Name"), "web01");
	assert_string_equal(conf_string(conf, "Router", "Note"), "a # b ; c = \"d\" \xc3\xa9");
	assert_true(conf_address(conf, "Router", "ListenAddress", &address));
	assert_int_equal(address.port, 8443);
	assert_true(conf_address(conf, "Router", "ParentAddress", &address));
	assert_true(str_is(address.host, "relay_1.my-net.example"));
	assert_false(address.has_port);
	assert_int_equal(address.port, 0);
	assert_int_equal(conf_port(conf, "Router", "Port"), 0);
	assert_true(conf_is_set(conf, "Router", "Port"));
	assert_int_equal(conf_port(conf, "Router", "DirectPort"), 65535);
	assert_int_equal(conf_unsigned(conf, "Router", "Links"), 15000);
	assert_true(conf_unsigned(conf, "Router", "Bytes") == UINT64_MAX);
	assert_int_equal(conf_duration_ms(conf, "Router", "Idle"), 604800000);
	assert_int_equal(conf_duration_ms(conf, "Router", "Pause"), 250);
	assert_true(conf_boolean(conf, "Relay", "Enabled"));
	assert_true(conf_list_item(conf, "Relay", "Partners", 0, &item));
	assert_true(str_is(item, "a:1"));
	assert_true(conf_list_item(conf, "Relay", "Partners", 1, &item));
	assert_true(str_is(item, "b"));
	assert_false(conf_list_item(conf, "Relay", "Partners", SIZE_MAX, &item));
	assert_true(conf_list_item(conf, "Relay", "Networks", 0, &item));
	assert_false(conf_list_item(conf, "Relay", "Networks", 1, &item));
	conf_free(conf);
}

static void test_booleans(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		bool value;
	} rows[] = {
		{ "On", true },  { "Yes", true },  { "True", true }, { "1", true },      { "on", true },
		{ "yEs", true }, { "TRUE", true }, { "Off", false }, { "No", false },    { "False", false },
		{ "0", false },  { "OFF", false }, { "nO", false },  { "false", false },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char text[64];
		int len = snprintf(text, sizeof text, "[Relay]\nEnabled = %s\n", rows[i].text);
		struct conf *conf = good((struct str){ text, (size_t)len });
		assert_int_equal(conf_boolean(conf, "Relay", "Enabled"), rows[i].value);
		conf_free(conf);
	}
}

static void test_addresses(void **state)
{
	(void)state;
	static const struct {
		const char *text, *host;
		int port; /* -1 = none */
	} rows[] = {
		{ "server", "server", -1 },
		{ "10.0.0.1", "10.0.0.1", -1 },
		{ "10.0.0.1:8443", "10.0.0.1", 8443 },
		{ "azAZ09-b.c_d:0", "azAZ09-b.c_d", 0 },
		{ "[::1]", "::1", -1 },
		{ "[fe80::1]:65535", "fe80::1", 65535 },
		{ "[::ffff:10.0.0.1]:1", "::ffff:10.0.0.1", 1 },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char text[64];
		int len = snprintf(text, sizeof text, "ParentAddress=%s", rows[i].text);
		struct conf *conf = good((struct str){ text, (size_t)len });
		struct conf_address address;
		assert_true(conf_address(conf, "Router", "ParentAddress", &address));
		assert_true(str_is(address.host, rows[i].host));
		assert_int_equal(address.has_port ? address.port : -1, rows[i].port);
		conf_free(conf);
	}
}

static void test_errors(void **state)
{
	(void)state;
	static const struct {
		struct str text;
		const char *error;
	} rows[] = {
		/* unknown names */
		{ STR("ParentAdress = a"),
		  "test.ini:1: unknown key \"ParentAdress\" in [Router] (did you mean \"ParentAddress\"?)" },
		{ STR("\n\nparentaddress = a"),
		  "test.ini:3: unknown key \"parentaddress\" in [Router] (did you mean \"ParentAddress\"?)" },
		{ STR("PaentAdress = a"), "test.ini:1: unknown key \"PaentAdress\" in [Router] (did you mean \"ParentAddress\"?)" },
		{ STR("PPaarentAddress = a"),
		  "test.ini:1: unknown key \"PPaarentAddress\" in [Router] (did you mean \"ParentAddress\"?)" },
		{ STR("PaentAdres = a"), "test.ini:1: unknown key \"PaentAdres\" in [Router]" },
		{ STR("DirectPrt = 1"), "test.ini:1: unknown key \"DirectPrt\" in [Router] (did you mean \"DirectPort\"?)" },
		{ STR("Prot = 1"), "test.ini:1: unknown key \"Prot\" in [Router] (did you mean \"Port\"?)" },
		{ STR("Zzz = 1"), "test.ini:1: unknown key \"Zzz\" in [Router]" },
		{ STR("Enabled = yes"), "test.ini:1: unknown key \"Enabled\" in [Router]" },
		{ STR("[Relay]\nPort = 1"), "test.ini:2: unknown key \"Port\" in [Relay]" },
		{ STR("[Realy]"), "test.ini:1: unknown section \"Realy\" (did you mean \"Relay\"?)" },
		{ STR("[router]"), "test.ini:1: unknown section \"router\" (did you mean \"Router\"?)" },
		{ STR("[Database]"), "test.ini:1: unknown section \"Database\"" },
		{ STR("[]"), "test.ini:1: unknown section \"\"" },
		{ STR("Na\xe2\x80\xaeme = x"), "test.ini:1: unknown key \"Na\xef\xbf\xbdme\" in [Router]" },
		/* form */
		{ STR("["), "test.ini:1: a section is written [Name], with nothing behind it" },
		{ STR("[Relay"), "test.ini:1: a section is written [Name], with nothing behind it" },
		{ STR("[Relay] # x"), "test.ini:1: a section is written [Name], with nothing behind it" },
		{ STR("Name"), "test.ini:1: a line is written Key = value" },
		{ STR("= x"), "test.ini:1: a line is written Key = value" },
		{ STR("Name: x"), "test.ini:1: a line is written Key = value" },
		{ STR("Name = a\0b"), "test.ini:1: a control character; this is not a text file" },
		{ STR("# \0"), "test.ini:1: a control character; this is not a text file" },
		{ STR("Name = a\rPort = 1"), "test.ini:1: a control character; this is not a text file" },
		{ STR("Name = a\r\r\n"), "test.ini:1: a control character; this is not a text file" },
		{ STR("Name = \x1b[1m"), "test.ini:1: a control character; this is not a text file" },
		{ STR("\n# \x7f"), "test.ini:2: a control character; this is not a text file" },
		{ STR("\xff\xfeN\0"), "test.ini:1: a control character; this is not a text file" },
		{ STR("Name = \xe9\n"), "test.ini:1: the text is not valid UTF-8" },
		/* twice */
		{ STR("Name = a\n\nName = a"), "test.ini:3: Name is already set in line 1" },
		{ STR("Name =\n[Router]\nName = a"), "test.ini:3: Name is already set in line 1" },
		/* values */
		{ STR("Name = 123456789"), "test.ini:1: Name: \"123456789\" is not a text of 1 to 8 bytes" },
		{ STR("Port = 65536"), "test.ini:1: Port: \"65536\" is not a number from 0 to 65535" },
		{ STR("Port = http"), "test.ini:1: Port: \"http\" is not a number from 0 to 65535" },
		{ STR("DirectPort = 80"), "test.ini:1: DirectPort: \"80\" is not a number from 1024 to 65535" },
		{ STR("Links = 0"), "test.ini:1: Links: \"0\" is not a number from 1 to 15000" },
		{ STR("Links = 15001"), "test.ini:1: Links: \"15001\" is not a number from 1 to 15000" },
		{ STR("Links = -1"), "test.ini:1: Links: \"-1\" is not a number from 1 to 15000" },
		{ STR("Links = 1 2"), "test.ini:1: Links: \"1 2\" is not a number from 1 to 15000" },
		{ STR("Bytes = 18446744073709551616"),
		  "test.ini:1: Bytes: \"18446744073709551616\" is not a number from 0 to 18446744073709551615" },
		{ STR("Idle = 999ms"), "test.ini:1: Idle: \"999ms\" is not a duration from 1s to 7d (250ms, 90s, 15m, 12h, 7d)" },
		{ STR("Idle = 8d"), "test.ini:1: Idle: \"8d\" is not a duration from 1s to 7d (250ms, 90s, 15m, 12h, 7d)" },
		{ STR("Pause = 90"), "test.ini:1: Pause: \"90\" is not a duration from 0ms to 3650d (250ms, 90s, 15m, 12h, 7d)" },
		{ STR("[Relay]\nEnabled = maybe"),
		  "test.ini:2: Enabled: \"maybe\" is not On or Off, Yes or No, True or False, 1 or 0" },
		{ STR("[Relay]\nEnabled = 2"), "test.ini:2: Enabled: \"2\" is not On or Off, Yes or No, True or False, 1 or 0" },
		{ STR("[Relay]\nPartners = a"), "test.ini:2: Partners: \"a\" is not a list of 2 to 3 values (a, b, c)" },
		{ STR("[Relay]\nPartners = a,b,c,d"),
		  "test.ini:2: Partners: \"a,b,c,d\" is not a list of 2 to 3 values (a, b, c)" },
		{ STR("[Relay]\nNetworks = a,"), "test.ini:2: Networks: \"a,\" is not a list of 0 to 1024 values (a, b, c)" },
		{ STR("[Relay]\nNetworks = a,,b"), "test.ini:2: Networks: \"a,,b\" is not a list of 0 to 1024 values (a, b, c)" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct conf *conf = NULL;
		char error[CONF_ERROR_SIZE] = "";
		assert_int_equal(conf_parse(rows[i].text, "test.ini", &table, &conf, error), -E_CONFIG);
		assert_null(conf);
		assert_string_equal(error, rows[i].error);
	}
}

static void test_bad_addresses(void **state)
{
	(void)state;
	static const char *const rows[] = { ":80",  "a:", "a:b", "a:65536", "a:80:80", "a b",       "http://a", "u@a",       "::1",
		                            "[::1", "[]", "[a]", "[::1]80", "[::1]:",  "[1.2.3.4]", "[::1]]",   "[::1%eth0]" };
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char text[64], expected[128], error[CONF_ERROR_SIZE];
		struct conf *conf;
		int len = snprintf(text, sizeof text, "ParentAddress = %s", rows[i]);
		snprintf(expected, sizeof expected,
		         "test.ini:1: ParentAddress: \"%s\" is not an address (host, host:port, [IPv6]:port)", rows[i]);
		assert_int_equal(conf_parse((struct str){ text, (size_t)len }, "test.ini", &table, &conf, error), -E_CONFIG);
		assert_string_equal(error, expected);
	}
}

static void test_long_words(void **state)
{
	(void)state;
	struct conf *conf;
	char text[5000], error[CONF_ERROR_SIZE];
	memset(text, 'x', sizeof text);
	memcpy(text, "Note = ", 7);
	conf_free(good((struct str){ text, 7 + 4096 }));
	assert_int_equal(conf_parse((struct str){ text, 7 + 4097 }, "test.ini", &table, &conf, error), -E_CONFIG);
	assert_non_null(strstr(error, "is not a text of 0 to 4096 bytes"));
	text[0] = 'x';
	text[5] = 'x';
	text[4999] = '=';
	assert_int_equal(conf_parse((struct str){ text, sizeof text }, "test.ini", &table, &conf, error), -E_CONFIG);
	assert_non_null(strstr(error, "test.ini:1: unknown key \"xote"));
	assert_null(strstr(error, "did you mean"));
	memset(text, 'p', 600);
	text[600] = 0;
	assert_int_equal(conf_parse(STR("x"), text, &table, &conf, error), -E_CONFIG);
	assert_int_equal(strlen(error), CONF_ERROR_SIZE - 1);
}

static int parse(void *ctx)
{
	(void)ctx;
	struct conf *conf = NULL;
	char error[CONF_ERROR_SIZE];
	int err = conf_parse(STR("Name = a\nPort = 1\n"), "test.ini", &table, &conf, error);
	assert_true(err == 0 || err == -E_NO_MEMORY);
	assert_int_equal(conf == NULL, err < 0);
	conf_free(conf);
	return err;
}

static void test_memory_failures(void **state)
{
	(void)state;
	assert_int_equal(test_each_fault(parse, NULL), 1 + 6 + 2); /* itself, defaults, values */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),   cmocka_unit_test(test_a_whole_file),    cmocka_unit_test(test_booleans),
		cmocka_unit_test(test_addresses),  cmocka_unit_test(test_errors),          cmocka_unit_test(test_bad_addresses),
		cmocka_unit_test(test_long_words), cmocka_unit_test(test_memory_failures),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
