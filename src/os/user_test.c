#include <grp.h>
#include <pwd.h>

#include "base/err.h"
#include "base/test.h"
#include "os/user.h"

static void test_finds(void **state)
{
	(void)state;
	uid_t uid = 7;
	gid_t gid = 7;
	assert_int_equal(user_find("root", &uid, &gid), 0);
	assert_int_equal(uid, 0);
	assert_int_equal(gid, 0);
	uid = gid = 7;
	assert_int_equal(user_find("no such user", &uid, &gid), -E_NOT_FOUND);
	assert_int_equal(user_find("", &uid, &gid), -E_NOT_FOUND);
	assert_int_equal(uid, 7);
	assert_int_equal(gid, 7);
	assert_int_equal(group_find("root", &gid), 0);
	assert_int_equal(gid, 0);
	gid = 7;
	assert_int_equal(group_find("no such group", &gid), -E_NOT_FOUND);
	assert_int_equal(group_find("", &gid), -E_NOT_FOUND);
	assert_int_equal(gid, 7);
}

static void test_groups(void **state)
{
	(void)state;
	assert_int_equal(user_in_group(0, "root"), 1); /* its own */
	assert_int_equal(user_in_group(0, "no such group"), 0);
	assert_int_equal(user_in_group(0, "nogroup"), 0);
	assert_int_equal(user_in_group(4000000000u, "root"), 0);
	/* Those that list a user, if this machine has such. */
	setgrent();
	for (struct group *group; (group = getgrent());)
		for (char **member = group->gr_mem; *member; member++) {
			struct passwd *user = getpwnam(*member);
			if (user)
				assert_int_equal(user_in_group(user->pw_uid, group->gr_name), 1);
		}
	endgrent();
}

static void test_login(void **state)
{
	(void)state;
	struct user_login login;
	assert_int_equal(user_login(0, &login), 0);
	assert_string_equal(login.name, "root");
	assert_string_equal(login.home, getpwuid(0)->pw_dir);
	assert_string_equal(login.shell, getpwuid(0)->pw_shell);
	assert_int_equal(user_login(4000000000u, &login), -E_NOT_FOUND);
}

static int log_in(void *ctx)
{
	struct user_login login;
	(void)ctx;
	return user_login(0, &login);
}

static int find(void *ctx)
{
	uid_t uid;
	gid_t gid;
	(void)ctx;
	return user_find("root", &uid, &gid);
}

static int in_group(void *ctx)
{
	(void)ctx;
	return user_in_group(0, "root");
}

static int find_group(void *ctx)
{
	gid_t gid;
	(void)ctx;
	return group_find("root", &gid);
}

static void test_faults(void **state)
{
	(void)state;
	assert_int_equal(find(NULL), 0); /* opens what it keeps open */
	assert_int_equal(test_each_fault(find, NULL), 2);
	assert_int_equal(test_each_fault(log_in, NULL), 2);
	assert_int_equal(test_each_fault(in_group, NULL), 3);
	assert_int_equal(test_each_fault(find_group, NULL), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_finds),
		cmocka_unit_test(test_groups),
		cmocka_unit_test(test_login),
		cmocka_unit_test(test_faults),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
