#include <assert.h>

#include "ca/join_line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct join_line line, again;
	char text[JOIN_LINE_SIZE];
	if (join_line_parse((struct str){ (const char *)data, size }, &line) < 0)
		return 0;
	/* What was accepted can be written, and reads back as the same. */
	assert(join_line_format(&line, text) == 0);
	assert(join_line_parse(str_from(text), &again) == 0);
	assert(memcmp(&line, &again, sizeof line) == 0);
	return 0;
}
