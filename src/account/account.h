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
	ACCOUNT_LIST,       /* devices and their state */
	ACCOUNT_TUNNEL,     /* maps to devices */
	ACCOUNT_RUN,        /* commands on devices */
	ACCOUNT_AUDIT_READ, /* list and verify the audit log */
	ACCOUNT_KEY_NEW,    /* join keys: make and list */
	ACCOUNT_RENAME,     /* devices */
	ACCOUNT_RETIRE,     /* take a device out of the mesh */
	ACCOUNT_REVOKE,     /* certificates */
	ACCOUNT_USERS,      /* add and disable users */
};

struct user {
	struct id id;
	char name[64];
	enum account_role role;
	int64_t created, disabled;
};

/* False for anything that is not in the table. */
bool account_may(enum account_role role, enum account_action action);
const char *account_role_name(enum account_role role); /* "viewer", "operator", "administrator" */

/* Names differ in more than letter case: -E_EXISTS, -E_NAME. */
int account_add(struct store_tx *tx, const struct user *user);
/* The administrator `local`, made once.  When somebody disabled it, it stays so. */
int account_ensure_local(struct store_tx *tx, int64_t now, struct user *ret);
/* By id or name (any letter case); disabled ones too.  -E_NOT_FOUND. */
int account_get(struct store_tx *tx, const struct id *id, struct user *ret);
int account_find(struct store_tx *tx, struct str text, struct user *ret);
int account_disable(struct store_tx *tx, const struct id *id, int64_t now); /* -E_NOT_FOUND when unknown or disabled before */
#endif
