#include <ctype.h>

#include "base/test.h"
#include "base/utf8.h"
#include "os/fd.h"
#include "os/log.h"

static int pair[2], error_output;
static char line[4096];

/* Standard error becomes one end of a packet pair: what one write(2) wrote is one packet. */
static int begin(void **state)
{
	(void)state;
	unsetenv("MURMESH_LOG");
	if (fd_pair_packet(pair) < 0)
		return -1;
	error_output = dup(STDERR_FILENO);
	return dup2(pair[1], STDERR_FILENO) < 0 ? -1 : 0;
}

static int end(void **state)
{
	(void)state;
	dup2(error_output, STDERR_FILENO);
	fd_close(error_output);
	fd_close(pair[0]);
	fd_close(pair[1]);
	return 0;
}

/* The next line written, "" when there is none. */
static const char *written(void)
{
	ssize_t n = fd_read(pair[0], line, sizeof line - 1);
	line[n > 0 ? n : 0] = 0;
	return line;
}

/* The same without its time, whose form is checked. */
static const char *written_text(void)
{
	const char *form = "dddd-dd-ddTdd:dd:ddZ ", *at = written();
	for (; *form; form++, at++)
		if (*form == 'd' ? !isdigit((unsigned char)*at) : *at != *form)
			return "no time";
	return at;
}

static void test_line(void **state)
{
	(void)state;
	log_init("murmesh-server: link");
	log_info("agent %s has %d streams", "web01", 3);
	assert_string_equal(written_text(), "info murmesh-server: link: agent web01 has 3 streams\n");
	log_error("%s", "");
	assert_string_equal(written_text(), "error murmesh-server: link: \n");
	log_warning("a\nb\x1b[2J\xff%c", 0x7f);
	assert_string_equal(written_text(), "warning murmesh-server: link: a\xef\xbf\xbd"
	                                    "b\xef\xbf\xbd[2J\xef\xbf\xbd\xef\xbf\xbd\n");
	assert_string_equal(written(), "");
}

static void test_levels(void **state)
{
	static const struct {
		const char *wanted;
		int lines;
	} rows[] = { { "error", 1 }, { "warning", 2 }, { "info", 3 }, { "debug", 4 }, { "", 3 }, { "DEBUG", 3 } };
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		int lines = 0;
		setenv("MURMESH_LOG", rows[i].wanted, 1);
		log_init("levels");
		log_error("1");
		log_warning("2");
		log_info("3");
		log_debug("4");
		while (*written())
			lines++;
		assert_int_equal(lines, rows[i].lines);
	}
	unsetenv("MURMESH_LOG");
	log_init("levels");
	log_debug("no");
	log_info("yes");
	assert_string_equal(written_text(), "info levels: yes\n");
}

static void test_long_lines(void **state)
{
	(void)state;
	char text[5000], name[2000];
	log_init("name");
	for (size_t i = 0; i + 3 <= sizeof text; i += 3)
		memcpy(text + i, "\xe2\x82\xac", 3);
	text[sizeof text - 2] = 0;
	for (int shift = 0; shift < 3; shift++) {
		log_info("%.*s%s", shift, "xx", text);
		size_t len = strlen(written());
		assert_in_range(len, 1000, 1024);
		assert_int_equal(line[len - 1], '\n');
		line[len - 1] = 0;
		assert_true(utf8_valid(str_from(line)));
	}
	memset(name, 'n', sizeof name - 1);
	name[sizeof name - 1] = 0;
	log_init(name);
	log_info("%s", text);
	assert_in_range(strlen(written()), 1000, 1024);
	log_init("name");
}

static void test_limited(void **state)
{
	(void)state;
	log_init("limited");
	struct log_limit limit = { 0 };
	assert_true(log_allowed(&limit));
	limit.until_us = UINT64_MAX;
	for (int i = 0; i < 7; i++)
		assert_false(log_allowed(&limit));
	assert_int_equal(limit.dropped, 7);
	limit.until_us = 1;
	assert_true(log_allowed(&limit));
	log_info("bad head");
	assert_string_equal(written_text(), "info limited: bad head (7 more left out)\n");
	log_info("another");
	assert_string_equal(written_text(), "info limited: another\n");
	log_limited(LOG_WARNING, "number %d", 1);
	assert_string_equal(written_text(), "warning limited: number 1\n");

	limit = (struct log_limit){ .dropped = 5 };
	assert_true(log_allowed(&limit));
	log_debug("not shown");
	log_info("not of that place");
	assert_string_equal(written_text(), "info limited: not of that place\n");

	char text[3000];
	memset(text, 'x', sizeof text - 1);
	text[sizeof text - 1] = 0;
	limit = (struct log_limit){ .dropped = 4000000000 };
	assert_true(log_allowed(&limit));
	log_info("%s", text);
	assert_non_null(strstr(written(), "x (4000000000 more left out)\n"));
	assert_true(strlen(line) <= 1024);
}

static void test_nobody_reads(void **state)
{
	(void)state;
	log_init("full");
	for (int i = 0; i < 2000; i++)
		log_info("more than the queue holds");
	while (*written())
		;
	close(STDERR_FILENO);
	log_info("lost");
	dup2(pair[1], STDERR_FILENO);
	log_info("seen");
	assert_string_equal(written_text(), "info full: seen\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_line, begin, end),
		cmocka_unit_test_setup_teardown(test_levels, begin, end),
		cmocka_unit_test_setup_teardown(test_long_lines, begin, end),
		cmocka_unit_test_setup_teardown(test_limited, begin, end),
		cmocka_unit_test_setup_teardown(test_nobody_reads, begin, end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
