#include "account/totp.h"

#include <liboath/oath.h>
#include <stdio.h>

#include "base/err.h"

#define STEP_S 30
#define WINDOW 1
#define DIGITS 6

int totp_check(const uint8_t secret[TOTP_SECRET_SIZE], struct str code, int64_t now, int64_t last, int64_t *ret_counter)
{
	char text[DIGITS + 1];
	uint64_t number, counter;
	if (code.len != DIGITS || str_to_u64(code, 999999, &number) < 0 || str_copy(code, text, sizeof text) < 0 || now < 0)
		return -E_LOGIN;
	int found = oath_totp_validate4((const char *)secret, TOTP_SECRET_SIZE, now, STEP_S, 0, WINDOW, NULL, &counter, 0, text);
	if (found < 0 || (int64_t)counter <= last)
		return -E_LOGIN;
	*ret_counter = (int64_t)counter;
	return 0;
}

void totp_text(const uint8_t secret[TOTP_SECRET_SIZE], char out[TOTP_TEXT_SIZE])
{
	base32_encode(secret, TOTP_SECRET_SIZE, out);
	for (char *at = out; *at; at++)
		if (*at >= 'a' && *at <= 'z')
			*at = (char)(*at - 'a' + 'A');
}

void totp_uri(const uint8_t secret[TOTP_SECRET_SIZE], const char *name, char out[TOTP_URI_SIZE])
{
	char text[TOTP_TEXT_SIZE];
	totp_text(secret, text);
	snprintf(out, TOTP_URI_SIZE, "otpauth://totp/murmesh:%s?secret=%s&issuer=murmesh", name, text);
}
