#include "os/memory.h"

#include <stdbool.h>
#include <stdint.h>

#ifdef __linux__
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#define STACK_BYTES ((uintptr_t)128 << 10) /* of it so much at most; the system keeps more than that free below it */

static void pages_release(uintptr_t begin, uintptr_t end)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	begin &= ~(page - 1);
	end = (end + page - 1) & ~(page - 1);
	(void)madvise((void *)begin, end - begin, MADV_DONTNEED);
}

/* Such code was changed when it was loaded, and is not what its file has. */
static bool has_changed_code(const struct dl_phdr_info *object)
{
	for (unsigned i = 0; i < object->dlpi_phnum; i++) {
		if (object->dlpi_phdr[i].p_type != PT_DYNAMIC)
			continue;
		const ElfW(Dyn) *entry = (const void *)(object->dlpi_addr + object->dlpi_phdr[i].p_vaddr);
		for (; entry->d_tag != DT_NULL; entry++)
			if (entry->d_tag == DT_TEXTREL || (entry->d_tag == DT_FLAGS && entry->d_un.d_val & DF_TEXTREL))
				return true;
		return false;
	}
	return true;
}

static int on_object(struct dl_phdr_info *object, size_t size, void *ctx)
{
	(void)size, (void)ctx;
	if (has_changed_code(object))
		return 0;
	for (unsigned i = 0; i < object->dlpi_phnum; i++) {
		const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
		uintptr_t begin = object->dlpi_addr + segment->p_vaddr;
		if (segment->p_type == PT_LOAD && !(segment->p_flags & PF_W))
			pages_release(begin, begin + segment->p_memsz);
	}
	return 0;
}

void memory_release_start(void)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), here = (uintptr_t)__builtin_frame_address(0);
	dl_iterate_phdr(on_object, NULL);
	here = (here & ~(page - 1)) - page; /* what is called from here needs some */
	pages_release(here - STACK_BYTES, here);
}
#else
void memory_release_start(void)
{
}
#endif
