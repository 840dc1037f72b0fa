/* account/password.h: passwords as argon2id (RFC 9106) keeps them: "$argon2id$v=19$m=19456,t=2,p=1$SALT$HASH".
 *
 * Making and verifying take 19 MiB and tens of milliseconds: the hash role's work, never a loop's. */
#ifndef ACCOUNT_PASSWORD_H
#define ACCOUNT_PASSWORD_H
#include <stdbool.h>

#include "base/str.h"

#define PASSWORD_LEAST        10   /* characters */
#define PASSWORD_MOST         1024 /* bytes */
#define PASSWORD_ENCODED_SIZE 128  /* with the NUL */

/* Long enough, UTF-8, and not the account's name in any letter case. */
bool password_acceptable(struct str password, struct str name);
int password_make(struct str password, char out[PASSWORD_ENCODED_SIZE]); /* -E_NO_MEMORY */
/* *ret whether it is the one.  encoded "" is nobody's: false after the same work.  -E_NO_MEMORY, -E_CHECKSUM (encoded is damaged). */
int password_verify(const char *encoded, struct str password, bool *ret);
#endif
