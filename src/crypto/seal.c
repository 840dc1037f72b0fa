#include "crypto/seal.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#include "base/buf.h"
#include "base/err.h"
#include "os/random.h"

enum { NONCE = 12, TAG = 16 };

static bool sealed(EVP_CIPHER_CTX *cipher, const uint8_t *key, struct str context, struct str plain, uint8_t *out)
{
	int n;
	random_bytes(out, NONCE);
	return EVP_EncryptInit_ex2(cipher, EVP_aes_256_gcm(), key, out, NULL) == 1 &&
	       EVP_EncryptUpdate(cipher, NULL, &n, (const uint8_t *)context.ptr, (int)context.len) == 1 &&
	       EVP_EncryptUpdate(cipher, out + NONCE, &n, (const uint8_t *)plain.ptr, (int)plain.len) == 1 &&
	       EVP_EncryptFinal_ex(cipher, out + NONCE + plain.len, &n) == 1 &&
	       EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_GCM_GET_TAG, TAG, out + NONCE + plain.len) == 1;
}

int seal_make(const uint8_t key[SEAL_KEY_SIZE], struct str context, struct str plain, struct buf *out)
{
	uint8_t *room;
	int err = plain.len < INT_MAX - SEAL_OVERHEAD ? buf_reserve(out, plain.len + SEAL_OVERHEAD, &room) : -E_TOO_LONG;
	if (err < 0)
		return err;
	EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
	bool made = cipher && sealed(cipher, key, context, plain, room);
	EVP_CIPHER_CTX_free(cipher);
	ERR_clear_error();
	if (made)
		buf_commit(out, plain.len + SEAL_OVERHEAD);
	return made ? 0 : -E_NO_MEMORY;
}

static bool opened(EVP_CIPHER_CTX *cipher, const uint8_t *key, struct str context, struct str from, uint8_t *out)
{
	const uint8_t *nonce = (const uint8_t *)from.ptr, *tag = nonce + from.len - TAG;
	int n;
	return EVP_DecryptInit_ex2(cipher, EVP_aes_256_gcm(), key, nonce, NULL) == 1 &&
	       EVP_DecryptUpdate(cipher, NULL, &n, (const uint8_t *)context.ptr, (int)context.len) == 1 &&
	       EVP_DecryptUpdate(cipher, out, &n, nonce + NONCE, (int)from.len - SEAL_OVERHEAD) == 1 &&
	       EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_GCM_SET_TAG, TAG, (void *)(uintptr_t)tag) == 1 &&
	       EVP_DecryptFinal_ex(cipher, out + from.len - SEAL_OVERHEAD, &n) == 1;
}

int seal_open(const uint8_t key[SEAL_KEY_SIZE], struct str context, struct str from, struct buf *out)
{
	uint8_t *room;
	if (from.len < SEAL_OVERHEAD || from.len >= INT_MAX)
		return -E_SIGNATURE;
	size_t len = from.len - SEAL_OVERHEAD;
	int err = buf_reserve(out, len + 1, &room);
	if (err < 0)
		return err;
	EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
	bool good = cipher && opened(cipher, key, context, from, room);
	EVP_CIPHER_CTX_free(cipher);
	ERR_clear_error();
	if (good)
		buf_commit(out, len);
	return good ? 0 : cipher ? -E_SIGNATURE : -E_NO_MEMORY;
}
