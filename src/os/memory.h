/* os/memory.h: memory that this process holds. */
#ifndef OS_MEMORY_H
#define OS_MEMORY_H

/* To be called once a program has started, and from near the bottom of its stack: gives back what only its start needed.  Code and constants are read
 * from their files again where they are used (a page fault each, no disk while the system has them cached); of the stack everything below the caller.
 * Does nothing where the system has no way to. */
void memory_release_start(void);
#endif
