/* Object references as text: what is read is written, and then read the same. */
#include <assert.h>
#include <string.h>

#include "base/buf.h"
#include "orb/ior.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ior ior, again;
	struct buf text;
	if (ior_read((struct str){ (const char *)data, size }, &ior) < 0)
		return 0;
	buf_init(&text, 1 << 16);
	assert(ior_write(&ior, &text) == 0);
	assert(ior_read(buf_str(&text), &again) == 0);
	assert(strcmp(ior.type, again.type) == 0 && ior.tls_port == again.tls_port && ior.n_others == again.n_others &&
	       ior.key_len == again.key_len && memcmp(ior.key, again.key, ior.key_len) == 0);
	buf_done(&text);
	return 0;
}
