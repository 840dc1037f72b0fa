/* account/totp.h: time-based one-time passwords (RFC 6238: HMAC-SHA-1, 6 digits, 30 s, one step of tolerance each way). */
#ifndef ACCOUNT_TOTP_H
#define ACCOUNT_TOTP_H
#include <stdint.h>

#include "base/encode.h"
#include "base/str.h"

#define TOTP_SECRET_SIZE 20
#define TOTP_TEXT_SIZE   BASE32_SIZE(TOTP_SECRET_SIZE)
#define TOTP_URI_SIZE    256

/* *ret_counter is the step that the code is of: always greater than `last`, the one used last (0 = none), so that no code is good
 * twice.  -E_LOGIN. */
int totp_check(const uint8_t secret[TOTP_SECRET_SIZE], struct str code, int64_t now, int64_t last, int64_t *ret_counter);
/* For people and for authenticator programs. */
void totp_text(const uint8_t secret[TOTP_SECRET_SIZE], char out[TOTP_TEXT_SIZE]);
void totp_uri(const uint8_t secret[TOTP_SECRET_SIZE], const char *name, char out[TOTP_URI_SIZE]);
#endif
