#include "base/mem.h"

#include "base/fault.h"

_Atomic long fault_countdown;

void *mem_alloc(size_t size)
{
	return fault_hit() ? NULL : calloc(1, size ? size : 1);
}

void *mem_alloc_array(size_t n, size_t size)
{
	size_t total;
	return __builtin_mul_overflow(n, size, &total) ? NULL : mem_alloc(total);
}

void *mem_resize(void *ptr, size_t size)
{
	return fault_hit() ? NULL : realloc(ptr, size ? size : 1);
}

void *mem_free(void *ptr)
{
	free(ptr);
	return NULL;
}

char *mem_copy_string(const char *ptr, size_t len)
{
	char *copy = mem_alloc(len + 1);
	if (copy && len)
		memcpy(copy, ptr, len);
	return copy;
}

void mem_wipe(void *ptr, size_t size)
{
	explicit_bzero(ptr, size);
}
