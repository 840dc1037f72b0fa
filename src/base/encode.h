/* base/encode.h: bytes as text: hex (lower case), base32 (RFC 4648 section 6, lower case, no padding) and
 * base64url (RFC 4648 section 5, no padding).  Encoders write a NUL; the *_SIZE macros count it.
 * Decoders are strict (one text for one value: no padding, no blanks, unused bits zero), return the number of bytes
 * written or -E_ENCODING, and never write more than size. */
#ifndef BASE_ENCODE_H
#define BASE_ENCODE_H
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/str.h"

#define HEX_SIZE(n)       (2 * (n) + 1)
#define BASE32_SIZE(n)    (((n)*8 + 4) / 5 + 1)
#define BASE64URL_SIZE(n) (((n)*4 + 2) / 3 + 1)

void hex_encode(const uint8_t *bytes, size_t len, char *out);
ssize_t hex_decode(struct str text, uint8_t *out, size_t size);
void base32_encode(const uint8_t *bytes, size_t len, char *out);
ssize_t base32_decode(struct str text, uint8_t *out, size_t size); /* takes upper case too */
void base64url_encode(const uint8_t *bytes, size_t len, char *out);
ssize_t base64url_decode(struct str text, uint8_t *out, size_t size);
#endif
