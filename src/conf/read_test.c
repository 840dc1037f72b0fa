#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/test.h"
#include "conf/conf.h"

static const struct conf_option options[] = {
	{ "Router", "Port", CONF_PORT, "8443", "front port" },
};
static const struct conf_table table = { "Router", options, 1 };

static char path[600];

static int directory_make(void **state)
{
	int err = test_directory_make(state);
	if (err == 0)
		snprintf(path, sizeof path, "%s/test.ini", (const char *)*state);
	return err;
}

static void file_make(const char *text, size_t len, mode_t mode)
{
	FILE *file = fopen(path, "wb");
	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, len, file), len);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(path, mode), 0);
}

static void refused(const char *expected)
{
	struct conf *conf = NULL;
	char error[CONF_ERROR_SIZE] = "", text[sizeof path + CONF_ERROR_SIZE];
	assert_int_equal(conf_read(path, &table, &conf, error), -E_CONFIG);
	assert_null(conf);
	snprintf(text, sizeof text, "%s:%s", path, expected);
	assert_string_equal(error, text);
}

static void port_is(unsigned port)
{
	struct conf *conf = NULL;
	char error[CONF_ERROR_SIZE] = "";
	assert_int_equal(conf_read(path, &table, &conf, error), 0);
	assert_int_equal(conf_port(conf, "Router", "Port"), port);
	conf_free(conf);
}

static void test_file(void **state)
{
	(void)state;
	file_make("Port = 99\n", 10, 0640);
	port_is(99);
	file_make("\n\nPorts = 99\n", 13, 0600);
	refused("3: unknown key \"Ports\" in [Router] (did you mean \"Port\"?)");
	assert_int_equal(unlink(path), 0);
}

static void test_missing_file_means_defaults(void **state)
{
	(void)state;
	port_is(8443);
}

static void test_writable_by_everybody(void **state)
{
	(void)state;
	file_make("Port = 99\n", 10, 0602);
	refused(" everybody may write to it (chmod o-w)");
	assert_int_equal(chmod(path, 0620), 0);
	port_is(99);
	assert_int_equal(unlink(path), 0);
}

static void test_no_ordinary_file(void **state)
{
	(void)state;
	assert_int_equal(mkdir(path, 0755), 0);
	refused(" not an ordinary file");
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	refused(" not an ordinary file");
	assert_int_equal(unlink(path), 0);
}

static void test_size_limit(void **state)
{
	(void)state;
	static char text[CONF_FILE_MAX + 1];
	memset(text, '\n', sizeof text);
	memcpy(text, "Port = 99", 9);
	file_make(text, CONF_FILE_MAX, 0600);
	port_is(99);
	file_make(text, CONF_FILE_MAX + 1, 0600);
	refused(" longer than 1 MiB");
	assert_int_equal(truncate(path, 1 << 30), 0);
	refused(" longer than 1 MiB");
	assert_int_equal(unlink(path), 0);
}

/* A failure never passes for a missing file. */
static int read_99(void *ctx)
{
	(void)ctx;
	struct conf *conf = NULL;
	char error[CONF_ERROR_SIZE] = "";
	int err = conf_read(path, &table, &conf, error);
	if (err == 0)
		assert_int_equal(conf_port(conf, "Router", "Port"), 99);
	else if (err == -E_CONFIG)
		assert_true(strncmp(error, path, strlen(path)) == 0);
	else
		assert_int_equal(err, -E_NO_MEMORY);
	assert_int_equal(conf == NULL, err < 0);
	conf_free(conf);
	return err;
}

static void test_every_failure(void **state)
{
	(void)state;
	file_make("Port = 99\n", 10, 0600);
	assert_true(test_each_fault(read_99, NULL) > 4);
	assert_int_equal(unlink(path), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_file),
		cmocka_unit_test(test_missing_file_means_defaults),
		cmocka_unit_test(test_writable_by_everybody),
		cmocka_unit_test(test_no_ordinary_file),
		cmocka_unit_test(test_size_limit),
		cmocka_unit_test(test_every_failure),
	};
	return cmocka_run_group_tests(tests, directory_make, test_directory_remove);
}
