/* account/account.h: users, their roles, and what each role may do.
 *
 * Functions with a tx run inside a job (store/store.h) and return the store's errors besides those named.  Times are seconds since
 * 1970 UTC, 0 = never. */
#ifndef ACCOUNT_ACCOUNT_H
#define ACCOUNT_ACCOUNT_H
#include <stdbool.h>
#include <stdint.h>

#include "base/id.h"
#include "base/str.h"

struct store_tx;

/* Each role may all that the one before it may. */
enum account_role { ACCOUNT_VIEWER, ACCOUNT_OPERATOR, ACCOUNT_ADMINISTRATOR };

enum account_action {
	ACCOUNT_LIST,       /* devices, their state and what goes on there */
	ACCOUNT_TUNNEL,     /* maps to devices */
	ACCOUNT_RUN,        /* commands on devices */
	ACCOUNT_LABEL,      /* name, group and tags of devices */
	ACCOUNT_RETIRE,     /* take a device out of the mesh */
	ACCOUNT_KEY_NEW,    /* make join keys */
	ACCOUNT_AUDIT_READ, /* list and verify the audit log: all groups only */
	ACCOUNT_USERS,      /* people: all groups only */
	ACCOUNT_COMPONENTS, /* machines that run roles of the server: all groups only */
};

#define ACCOUNT_GROUP_SIZE 64 /* with the NUL */
#define ACCOUNT_GROUPS_MAX 16 /* of one user */

struct user {
	struct id id;
	char name[64];
	enum account_role role;
	int64_t created, disabled, last_login;
	bool all_groups;                                      /* his role holds everywhere, also where there is no group */
	char groups[ACCOUNT_GROUPS_MAX * ACCOUNT_GROUP_SIZE]; /* else in these, a blank between two */
};

/* Not disabled, and of a role (and reach) that may do that somewhere.  False for anything that is not in the table. */
bool account_may(const struct user *user, enum account_action action);
/* Whether his role holds in this group ("" = none): where it does not, nothing is there for him. */
bool account_reaches(const struct user *user, const char *group);
/* Groups are compared byte by byte: as the fleet writes them, in lower case.  -E_NAME, -E_LIMIT. */
int account_groups_add(struct user *user, struct str group);
const char *account_role_name(enum account_role role);           /* "viewer", "operator", "administrator" */
int account_role_parse(struct str name, enum account_role *ret); /* -E_NOT_FOUND */

/* Names differ in more than letter case: -E_EXISTS, -E_NAME. */
int account_add(struct store_tx *tx, const struct user *user);
/* The administrator `local`, made once.  When somebody disabled it, it stays so. */
int account_ensure_local(struct store_tx *tx, int64_t now, struct user *ret);
/* By id or name (any letter case); disabled ones too.  -E_NOT_FOUND. */
int account_get(struct store_tx *tx, const struct id *id, struct user *ret);
int account_find(struct store_tx *tx, struct str text, struct user *ret);
/* By name.  A negative answer of each() ends the walk and is its result. */
int account_list(struct store_tx *tx, int (*each)(void *ctx, const struct user *user), void *ctx);
/* Keeps role, reach, and whether he is disabled.  -E_NOT_FOUND; -E_LAST_ADMINISTRATOR: nobody else would be left who administrates
 * all groups and can log in (with a password, or as `local`). */
int account_update(struct store_tx *tx, const struct user *user);
int account_logged_in(struct store_tx *tx, const struct id *id, int64_t now); /* for last_login */
#endif
