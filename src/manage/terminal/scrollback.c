#include "manage/terminal/scrollback.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"

int scrollback_init(struct scrollback *scrollback)
{
	*scrollback = (struct scrollback){ .bytes = mem_alloc(SCROLLBACK_SIZE) };
	return scrollback->bytes ? 0 : -E_NO_MEMORY;
}

void scrollback_done(struct scrollback *scrollback)
{
	scrollback->bytes = mem_free(scrollback->bytes);
}

void scrollback_append(struct scrollback *scrollback, const void *bytes, size_t len)
{
	const uint8_t *from = bytes;
	while (len) {
		size_t at = scrollback->end % SCROLLBACK_SIZE, n = SCROLLBACK_SIZE - at < len ? SCROLLBACK_SIZE - at : len;
		memcpy(scrollback->bytes + at, from, n);
		scrollback->end += n;
		from += n;
		len -= n;
	}
}

uint64_t scrollback_begin(const struct scrollback *scrollback)
{
	if (scrollback->end <= SCROLLBACK_SIZE)
		return 0;
	uint64_t oldest = scrollback->end - SCROLLBACK_SIZE;
	for (uint64_t at = oldest; at < scrollback->end; at++)
		if (scrollback->bytes[at % SCROLLBACK_SIZE] == '\n')
			return at + 1;
	return oldest;
}

size_t scrollback_read(const struct scrollback *scrollback, uint64_t from, void *out, size_t size)
{
	size_t at = from % SCROLLBACK_SIZE, n = (size_t)(scrollback->end - from);
	if (n > SCROLLBACK_SIZE - at)
		n = SCROLLBACK_SIZE - at;
	if (n > size)
		n = size;
	memcpy(out, scrollback->bytes + at, n);
	return n;
}
