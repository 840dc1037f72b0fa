#include "os/random.h"

#include <errno.h>
#include <sys/random.h>

#include "base/id.h"
#include "os/log.h"

/* No fault point: without randomness the process ends, so there is no error path to test. */
void random_bytes(void *out, size_t len)
{
	for (size_t have = 0; have < len;) {
		ssize_t n = getrandom((char *)out + have, len - have, 0);
		if (n < 0 && errno != EINTR) {
			log_error("the kernel gives no randomness");
			abort();
		}
		have += n > 0 ? (size_t)n : 0;
	}
}

void random_id(struct id *ret)
{
	random_bytes(ret->bytes, sizeof ret->bytes);
}

uint64_t random_below(uint64_t limit)
{
	uint64_t value, uneven = -limit % limit; /* how many values too many there are for an even share */
	do
		random_bytes(&value, sizeof value);
	while (value < uneven);
	return value % limit;
}
