/* account/login.h: what a user proves himself with, and how often somebody may try.
 *
 * A login is begun (which counts as a failure until it is shown to be none, so that attempts at the same time gain nothing), the password
 * is verified elsewhere (account/password.h), then the login is finished.  Names that nobody has are counted and verified alike.
 * Functions run inside a job (store/store.h) and return the store's errors besides those named; times are seconds since 1970 UTC. */
#ifndef ACCOUNT_LOGIN_H
#define ACCOUNT_LOGIN_H
#include "account/account.h"
#include "account/password.h"
#include "account/totp.h"

#define ACCOUNT_FAILURES_FREE   10    /* then each further failure doubles the wait, from 1 s */
#define ACCOUNT_DELAY_MAX       60    /* s */
#define ACCOUNT_FAILURE_SECONDS 86400 /* after that failures are forgotten */
#define ACCOUNT_UNKNOWN_MAX     1000  /* names that nobody has, of which failures are kept */

/* How long nobody may try after so many failures. */
int64_t account_delay(int64_t failures);

struct account_login {
	char encoded[PASSWORD_ENCODED_SIZE]; /* to verify the password against; "" for an unknown name */
	char name[64];                       /* as it was given: for account_login_finish() */
};
/* -E_LOGIN_DELAY: *ret_wait seconds are left. */
int account_login_begin(struct store_tx *tx, struct str name, int64_t now, struct account_login *ret, int64_t *ret_wait);
/* code: TOTP, "" = none given.  -E_LOGIN: name, password or code is wrong (what failed is kept as counted before).  -E_CODE_WANTED: all is
 * right, but this user has TOTP; counts as no failure.  0: failures are forgotten. */
int account_login_finish(struct store_tx *tx, const struct account_login *login, bool matches, struct str code, int64_t now,
                         struct user *ret);

struct account_proofs {
	bool password, totp;
};
int account_proofs(struct store_tx *tx, const struct id *user, struct account_proofs *ret);
/* Some enabled administrator has a password. */
int account_administrated(struct store_tx *tx, bool *ret);
int account_password_set(struct store_tx *tx, const struct id *user, const char *encoded);
/* A new secret, which counts once account_totp_confirm() has seen a code of it.  -E_DENIED: no password yet; -E_EXISTS: has TOTP. */
int account_totp_begin(struct store_tx *tx, const struct id *user, uint8_t ret_secret[TOTP_SECRET_SIZE]);
int account_totp_confirm(struct store_tx *tx, const struct id *user, struct str code, int64_t now); /* -E_LOGIN */
int account_totp_forget(struct store_tx *tx, const struct id *user);                                /* also when there is none */
#endif
