/* crypto/seal.h: bytes that only who has a key can read or have made: AES-256-GCM (NIST SP 800-38D): 12 bytes nonce, the bytes, 16 bytes tag.
 * A key seals few messages: the nonce is random. */
#ifndef CRYPTO_SEAL_H
#define CRYPTO_SEAL_H
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct buf;

#define SEAL_KEY_SIZE 32
#define SEAL_OVERHEAD 28

/* Appends to out.  context is part of what is proved, as with signatures (key.h). */
int seal_make(const uint8_t key[SEAL_KEY_SIZE], struct str context, struct str plain, struct buf *out);
/* -E_SIGNATURE: another key or context, or not what was sealed; out is then as it was. */
int seal_open(const uint8_t key[SEAL_KEY_SIZE], struct str context, struct str sealed, struct buf *out);
#endif
