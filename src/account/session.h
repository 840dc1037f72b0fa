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

#define ACCOUNT_PROVED_SECONDS 600 /* what one proof is good for */

struct account_session {
	uint8_t id[16]; /* of its hash: names it, opens nothing */
	int64_t created, expires, seen;
	int64_t proved_until;               /* what is delicate is allowed, as somebody has just proved that he is its user */
	bool by_link;                       /* opened by a link: its user may choose a password without the old one */
	char address[ACCOUNT_ADDRESS_SIZE]; /* of the browser, cleaned (base/utf8.h) */
};

/* A new one, as its owner gets it.  A link proves who uses it, as long as any proof does. */
int account_session_make(struct store_tx *tx, const struct id *user, struct str address, bool by_link, int64_t now,
                         uint8_t ret_session[ACCOUNT_SESSION_SIZE], int64_t *ret_expires);
/* Whose it is, and that it was used now.  ret_session may be NULL.  -E_SESSION: unknown, expired, or its user is disabled. */
int account_session_use(struct store_tx *tx, const uint8_t session[ACCOUNT_SESSION_SIZE], int64_t now, struct user *ret,
                        struct account_session *ret_session);
/* The same without being a use of it. */
int account_session_get(struct store_tx *tx, const uint8_t session[ACCOUNT_SESSION_SIZE], int64_t now, struct user *ret,
                        struct account_session *ret_session);
int account_session_prove(struct store_tx *tx, const uint8_t session[ACCOUNT_SESSION_SIZE], int64_t now); /* -E_SESSION */
/* To the user who has just chosen a password in it: neither proved nor by link any more.  -E_SESSION. */
int account_session_give(struct store_tx *tx, const uint8_t session[ACCOUNT_SESSION_SIZE], const struct id *user);
int account_session_end(struct store_tx *tx, const uint8_t session[ACCOUNT_SESSION_SIZE]);               /* -E_SESSION */
int account_session_end_named(struct store_tx *tx, const struct id *user, const uint8_t session_id[16]); /* -E_NOT_FOUND */
/* All of a user, and the links that would open one; but not this one (NULL: none is kept). */
int account_sessions_end(struct store_tx *tx, const struct id *user, const uint8_t *except);
/* Oldest first.  A negative answer ends the walk and is its result. */
int account_session_list(struct store_tx *tx, const struct id *user, int64_t now,
                         int (*each)(void *ctx, const struct account_session *session), void *ctx);
void account_session_id(const uint8_t session[ACCOUNT_SESSION_SIZE], uint8_t ret_id[16]);

#define ACCOUNT_LINK_SECONDS 900
#define ACCOUNT_LINK_SIZE    BASE32_SIZE(32)
int account_link_make(struct store_tx *tx, const struct id *user, int64_t now, char ret_token[ACCOUNT_LINK_SIZE]);
/* Once.  -E_LOGIN_LINK: unknown, used, expired, or its user is disabled. */
int account_link_use(struct store_tx *tx, struct str token, int64_t now, struct user *ret);

/* Forgets what has expired, also failed logins (account/login.h). */
int account_prune(struct store_tx *tx, int64_t now);
#endif
