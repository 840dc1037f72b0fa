/* os/user.h: users and groups of this machine (whatever /etc/nsswitch.conf asks: may read files, may block). */
#ifndef OS_USER_H
#define OS_USER_H
#include <sys/types.h>

/* Returns 0, -E_NOT_FOUND, or what the lookup failed of. */
int user_find(const char *name, uid_t *ret_uid, gid_t *ret_gid);
/* What a login shell has to know of its user. */
struct user_login {
	char name[64], home[256], shell[256];
};
int user_login(uid_t uid, struct user_login *ret); /* -E_NOT_FOUND, -E_TOO_LONG, or what the lookup failed of */
/* 1 when the group is the user's own or lists the user, 0 when not (also when there is no such user or group), or a negative code. */
int user_in_group(uid_t uid, const char *group);
int group_find(const char *name, gid_t *ret_gid); /* as user_find() */
#endif
