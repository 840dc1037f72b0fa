#include "h2/lend.h"

#include "base/mem.h"

#define FRAME_BUFFER 16394 /* as nghttp2 1.52 asks for it: 16,384 + 9 + 1 */

static uint8_t frame_buffer[FRAME_BUFFER];
static enum { OFF, WAITING, LENT } lending;

static void *lend_malloc(size_t size, void *ctx)
{
	(void)ctx;
	return mem_resize(NULL, size);
}

static void lend_free(void *ptr, void *ctx)
{
	(void)ctx;
	if (ptr != frame_buffer)
		mem_free(ptr);
}

static void *lend_calloc(size_t n, size_t size, void *ctx)
{
	(void)ctx;
	return mem_alloc_array(n, size);
}

static void *lend_realloc(void *ptr, size_t size, void *ctx)
{
	(void)ctx;
	if (!ptr && lending == WAITING && size == FRAME_BUFFER) {
		lending = LENT;
		return frame_buffer;
	}
	if (ptr != frame_buffer)
		return mem_resize(ptr, size);
	if (size <= FRAME_BUFFER)
		return ptr;
	void *larger = mem_resize(NULL, size);
	if (larger)
		memcpy(larger, frame_buffer, FRAME_BUFFER);
	return larger;
}

nghttp2_mem *lend_memory(void)
{
	static nghttp2_mem memory = { NULL, lend_malloc, lend_free, lend_calloc, lend_realloc };
	return &memory;
}

void lend_begin(void)
{
	lending = WAITING;
}

bool lend_end(void)
{
	bool lent = lending == LENT;
	lending = OFF;
	return lent;
}
