/* route/disk.h: what the spool asks of a disk.  The real one is spool_disk_open()'s; tests and simulations bring others.
 *
 * All return 0 or more, or a negative code as the kernel gives it.  Names have no slash. */
#ifndef ROUTE_DISK_H
#define ROUTE_DISK_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct spool_disk {
	void *ctx;
	/* Calls each for all names, in any order; a negative answer ends the walk and is its result. */
	int (*names)(void *ctx, int (*each)(void *each_ctx, const char *name), void *each_ctx);
	int (*create)(void *ctx, const char *name);                   /* a new file; its handle */
	int (*open)(void *ctx, const char *name, uint64_t *ret_size); /* its handle */
	void (*close)(void *ctx, int file);
	int (*read)(void *ctx, int file, uint64_t at, void *out, size_t len);          /* all of it, or -E_SHORT */
	int (*write)(void *ctx, int file, uint64_t at, const void *bytes, size_t len); /* all of it; any thread, as the next */
	int (*sync)(void *ctx, int file);                                              /* what was written survives a crash */
	int (*sync_names)(void *ctx); /* so do names made and removed; any thread */
	int (*truncate)(void *ctx, int file, uint64_t size);
	int (*remove)(void *ctx, const char *name);
	int (*available)(void *ctx, uint64_t *ret_bytes); /* how much more fits */
};

/* A directory, made (0700) when missing.  It is opened once: later calls need no path. */
int spool_disk_open(const char *directory, struct spool_disk *ret);
void spool_disk_close(struct spool_disk *disk); /* accepts one that is zeroed, or was closed */
#endif
