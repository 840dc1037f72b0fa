#include "cli/doctor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static enum doctor_result check(const char *name, const char *directory, const char *wanted)
{
	char text[DOCTOR_TEXT_SIZE] = "";
	for (const struct doctor_check *row = doctor_checks; row->name; row++) {
		if (strcmp(row->name, name) != 0)
			continue;
		enum doctor_result result = row->run(directory, text);
		assert_non_null(strstr(text, wanted));
		return result;
	}
	fail_msg("no check %s", name);
	return DOCTOR_FAILURE;
}

static void every_check_says_something(void **state)
{
	(void)state;
	for (const struct doctor_check *row = doctor_checks; row->name; row++) {
		char text[DOCTOR_TEXT_SIZE] = "";
		assert_in_range(row->run("/", text), DOCTOR_OK, DOCTOR_FAILURE);
		assert_true(*text && *row->remedy);
	}
}

static void directory_belongs_to_its_owner_only(void **state)
{
	char folder[] = "/tmp/doctor-XXXXXX", file[64], missing[64];
	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(file, sizeof file, "%s/file", folder);
	snprintf(missing, sizeof missing, "%s/not/there", folder);
	fclose(fopen(file, "w"));

	assert_int_equal(check("directory", folder, "mode 700"), DOCTOR_OK);
	assert_int_equal(chmod(folder, 0777), 0);
	assert_int_equal(check("directory", folder, "mode 777"), DOCTOR_FAILURE);
	assert_int_equal(chmod(folder, 0770), 0);
	assert_int_equal(check("directory", folder, "mode 770"), DOCTOR_FAILURE);
	assert_int_equal(chmod(folder, 0755), 0);
	assert_int_equal(check("directory", folder, "mode 755"), DOCTOR_OK);
	assert_int_equal(check("directory", file, "not a folder"), DOCTOR_FAILURE);
	assert_int_equal(check("directory", missing, "not made yet"), DOCTOR_OK);
	assert_true(check("disk", missing, folder) != DOCTOR_FAILURE);

	unlink(file);
	rmdir(folder);
}

static void disk_is_examined_where_the_folder_will_be(void **state)
{
	(void)state;
	check("disk", "no/such/folder", "free in .");
	check("disk", "/no-such-folder", "free in /");
	char longest[8192];
	memset(longest, 'x', sizeof longest);
	longest[sizeof longest - 1] = 0;
	assert_int_equal(check("disk", longest, "xxx"), DOCTOR_FAILURE);
	assert_int_equal(check("disk", "/proc/self", "free in /proc"), DOCTOR_FAILURE); /* a file system without room */
}

static void low_limit_is_a_failure(void **state)
{
	struct rlimit limit = { 256, 256 };
	(void)state;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(check("descriptors", "/", "at most 256"), DOCTOR_FAILURE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_check_says_something), cmocka_unit_test(directory_belongs_to_its_owner_only),
		cmocka_unit_test(disk_is_examined_where_the_folder_will_be),
		cmocka_unit_test(low_limit_is_a_failure), /* last: cannot be taken back */
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
