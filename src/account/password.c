#include "account/password.h"

#include <argon2.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "os/random.h"

/* The least that OWASP's password storage cheat sheet asks of argon2id; the stored text carries them, so that later ones may differ. */
#define PASSES     2
#define MEMORY_KIB 19456
#define LANES      1
#define SALT_SIZE  16
#define OUT_SIZE   32

static size_t characters(struct str text)
{
	size_t n = 0;
	for (size_t i = 0; i < text.len; i++)
		n += ((unsigned char)text.ptr[i] & 0xc0) != 0x80;
	return n;
}

bool password_acceptable(struct str password, struct str name)
{
	return password.len <= PASSWORD_MOST && utf8_valid(password) && characters(password) >= PASSWORD_LEAST &&
	       !str_equal_nocase(password, name);
}

int password_make(struct str password, char out[PASSWORD_ENCODED_SIZE])
{
	uint8_t salt[SALT_SIZE];
	random_bytes(salt, sizeof salt);
	int code = argon2id_hash_encoded(PASSES, MEMORY_KIB, LANES, password.ptr, password.len, salt, sizeof salt, OUT_SIZE, out,
	                                 PASSWORD_ENCODED_SIZE);
	return code == ARGON2_OK ? 0 : code == ARGON2_MEMORY_ALLOCATION_ERROR ? -E_NO_MEMORY : -E_INTERNAL;
}

int password_verify(const char *encoded, struct str password, bool *ret)
{
	char nobody[PASSWORD_ENCODED_SIZE];
	if (!*encoded) {
		int err = password_make(password, nobody);
		if (err == 0)
			*ret = false;
		mem_wipe(nobody, sizeof nobody);
		return err;
	}
	int code = argon2id_verify(encoded, password.ptr, password.len);
	if (code != ARGON2_OK && code != ARGON2_VERIFY_MISMATCH)
		return code == ARGON2_MEMORY_ALLOCATION_ERROR ? -E_NO_MEMORY : -E_CHECKSUM;
	*ret = code == ARGON2_OK;
	return 0;
}
