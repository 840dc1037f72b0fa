#include "os/user.h"

#include <grp.h>
#include <pwd.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "os/call.h"

#define USER_ROOM ((size_t)256 << 10) /* bytes for one entry: a group's may list thousands of members */

/* The get..._r functions give the error as their result. */
#define USER_CALL(call) (fault_hit() ? -EIO : -(call))

int user_find(const char *name, uid_t *ret_uid, gid_t *ret_gid)
{
	struct passwd entry, *found = NULL;
	char *room = mem_alloc(USER_ROOM);
	if (!room)
		return -E_NO_MEMORY;
	int err = USER_CALL(getpwnam_r(name, &entry, room, USER_ROOM, &found));
	if (err == 0 && found) {
		*ret_uid = entry.pw_uid;
		*ret_gid = entry.pw_gid;
	}
	mem_free(room);
	return err < 0 ? err : found ? 0 : -E_NOT_FOUND;
}

int user_login(uid_t uid, struct user_login *ret)
{
	struct passwd entry, *found = NULL;
	char *room = mem_alloc(USER_ROOM);
	if (!room)
		return -E_NO_MEMORY;
	int err = USER_CALL(getpwuid_r(uid, &entry, room, USER_ROOM, &found));
	if (err == 0)
		err = found ? str_copy(str_from(entry.pw_name), ret->name, sizeof ret->name) : -E_NOT_FOUND;
	if (err == 0)
		err = str_copy(str_from(entry.pw_dir), ret->home, sizeof ret->home);
	if (err == 0)
		err = str_copy(str_from(entry.pw_shell), ret->shell, sizeof ret->shell);
	mem_free(room);
	return err;
}

static int lists_member(char *const *members, const char *name)
{
	for (; *members; members++)
		if (strcmp(*members, name) == 0)
			return 1;
	return 0;
}

int user_in_group(uid_t uid, const char *group_name)
{
	struct passwd user, *user_found = NULL;
	struct group group, *group_found = NULL;
	char *room = mem_alloc(2 * USER_ROOM);
	if (!room)
		return -E_NO_MEMORY;
	int err = USER_CALL(getpwuid_r(uid, &user, room, USER_ROOM, &user_found));
	if (err == 0)
		err = USER_CALL(getgrnam_r(group_name, &group, room + USER_ROOM, USER_ROOM, &group_found));
	if (err == 0 && user_found && group_found)
		err = user.pw_gid == group.gr_gid || lists_member(group.gr_mem, user.pw_name);
	mem_free(room);
	return err;
}

int group_find(const char *name, gid_t *ret_gid)
{
	struct group group, *found = NULL;
	char *room = mem_alloc(USER_ROOM);
	if (!room)
		return -E_NO_MEMORY;
	int err = USER_CALL(getgrnam_r(name, &group, room, USER_ROOM, &found));
	if (err == 0 && found)
		*ret_gid = group.gr_gid;
	mem_free(room);
	return err < 0 ? err : found ? 0 : -E_NOT_FOUND;
}
