/* base/mem.h: memory.  Sizes in bytes.  All return NULL when memory is short (or a fault is injected). */
#ifndef BASE_MEM_H
#define BASE_MEM_H
#include <stddef.h>

void *mem_alloc(size_t size);                       /* zeroed; the caller frees with mem_free() */
void *mem_alloc_array(size_t n, size_t size);       /* zeroed; NULL on overflow too */
void *mem_resize(void *ptr, size_t size);           /* as realloc; new bytes are not zeroed */
void *mem_free(void *ptr);                          /* accepts NULL, returns NULL */
char *mem_copy_string(const char *ptr, size_t len); /* NUL-terminated copy of len bytes */
void mem_wipe(void *ptr, size_t size);              /* for secrets: is not optimised away */
#endif
