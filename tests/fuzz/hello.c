/* front_classify() on any bytes: it decides, asks for more within its bound, or refuses; and what it decided stays so with more bytes. */
#include <assert.h>
#include <errno.h>

#include "front/front.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum front_kind kind = FRONT_KINDS;
	size_t need = 0;
	int err = front_classify((struct str){ (const char *)data, size }, &kind, &need);
	assert((err == 0) == (kind < FRONT_KINDS));
	assert(err != -EAGAIN || (need > size && need <= FRONT_PEEK_MAX));

	enum front_kind earlier = FRONT_KINDS;
	if (size > 0 && front_classify((struct str){ (const char *)data, size - 1 }, &earlier, &need) == 0)
		assert(err == 0 && kind == earlier);
	return 0;
}
