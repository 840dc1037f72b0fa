/* account/session.h: sessions of the console, and one-time links that open one.
 *
 * Of both only the SHA-256 is kept.  Functions run inside a job (store/store.h) and return the store's errors besides those named;
 * times are seconds since 1970 UTC. */
#ifndef ACCOUNT_SESSION_H
#define ACCOUNT_SESSION_H
#include "account/account.h"
#include "base/encode.h"

#define ACCOUNT_SESSION_SIZE      32 /* random bytes */
#define ACCOUNT_SESSION_SECONDS   43200
#define ACCOUNT_SESSION_IDLE      3600 /* since its last use, which is kept to the minute */
#define ACCOUNT_SESSIONS_PER_USER 100  /* one more ends the oldest */
#define ACCOUNT_ADDRESS_SIZE      64

/* A new one, as its owner gets it. */
int account_session_make(struct store_tx *tx, const struct id *user, struct str address, int64_t now,
                         uint8_t ret_session[ACCOUNT_SESSION_SIZE], int64_t *ret_expires);
/* Whose it is, and that it was used now.  -E_SESSION: unknown, expired, or its user is disabled. */
int account_session_use(struct store_tx *tx, const uint8_t session[ACCOUNT_SESSION_SIZE], int64_t now, struct user *ret);
/* The same without being a use of it. */
int account_session_get(struct store_tx *tx, const uint8_t session[ACCOUNT_SESSION_SIZE], int64_t now, struct user *ret);
int account_session_give(struct store_tx *tx, const uint8_t session[ACCOUNT_SESSION_SIZE], const struct id *user); /* -E_SESSION */
int account_session_end(struct store_tx *tx, const uint8_t session[ACCOUNT_SESSION_SIZE]);                         /* -E_SESSION */

struct account_session {
	int64_t created, expires, seen;
	char address[ACCOUNT_ADDRESS_SIZE]; /* of the browser, cleaned (base/utf8.h) */
};
/* Oldest first.  A negative answer ends the walk and is its result. */
int account_session_list(struct store_tx *tx, const struct id *user, int (*each)(void *ctx, const struct account_session *session),
                         void *ctx);

#define ACCOUNT_LINK_SECONDS 900
#define ACCOUNT_LINK_SIZE    BASE32_SIZE(32)
int account_link_make(struct store_tx *tx, const struct id *user, int64_t now, char ret_token[ACCOUNT_LINK_SIZE]);
/* Once.  -E_LOGIN_LINK: unknown, used, expired, or its user is disabled. */
int account_link_use(struct store_tx *tx, struct str token, int64_t now, struct user *ret);

/* Forgets what has expired, also failed logins (account/login.h). */
int account_prune(struct store_tx *tx, int64_t now);
#endif
